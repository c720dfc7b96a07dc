"""Door 2: the FHIR operations Condition/$coding-assist, Claim/$check and Condition/$validate."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from service.assist import SOFTWARE, Answer, Assist
from service.coding.model import Setting
from service.condition_validation import read_call, validate_condition
from service.envelope import open_envelope
from service.fhir_http import fhir_response
from service.fhir_out import Json, assessment_part, outcome, part, release_parts
from service.json_body import parse_json

fhir = Blueprint("fhir", __name__, url_prefix="/fhir")


@fhir.post("/Condition/$coding-assist")
def coding_assist() -> Response:
    """While charting: the code, the question or a reasoned silence for each Condition."""
    return _operation("charting")


@fhir.post("/Claim/$check")
def check() -> Response:
    """Before a claim: the same rules with the claim's severities, and `result`."""
    return _operation("claim")


@fhir.post("/Condition/$validate", defaults={"identifier": ""})
@fhir.post("/Condition/<identifier>/$validate")
def validate(identifier: str) -> Response:
    """What is wrong with a Condition: as FHIR, by profile and by the documentation rules."""
    assist: Assist = current_app.extensions["assist"]
    return fhir_response(validate_condition(read_call(parse_json(request.get_data()), identifier), assist))


def _operation(setting: Setting) -> Response:
    assist: Assist = current_app.extensions["assist"]
    answer = assist.answer(open_envelope(parse_json(request.get_data()), setting))
    return fhir_response(answer_parameters(answer, assist, setting, str(current_app.config["BASE_URL"])))


def answer_parameters(answer: Answer, assist: Assist, setting: Setting, base_url: str) -> Json:
    """The answer of both operations as Parameters (CONTRACT)."""
    parts = [assessment_part(one.assessment, one.query, assist.terminology, base_url) for one in answer.judged]
    parts += list(release_parts(answer.dates, assist.terminology, SOFTWARE))
    if answer.issues:
        parts.append(part("outcome", resource=outcome(answer.issues)))
    if setting == "claim":
        parts.append(part("result", valueBoolean=not any(issue.severity == "error" for issue in answer.all_issues)))
    return {"resourceType": "Parameters", "parameter": parts}
