"""Door 2: the FHIR operations Condition/$coding-assist, Claim/$check, and $validate of what they take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, current_app, g, request

from service.assist import SOFTWARE, Answer, Assist
from service.coding.model import Setting
from service.decisions import Visit, patients_of
from service.envelope import open_envelope, refuse_crowd
from service.fhir_http import fhir_response, is_strict
from service.fhir_out import Json, assessment_part, outcome, part, release_parts
from service.json_body import parse_json
from service.record import Entry, Request
from service.resource_validation import KINDS, read_call, validated

DOORS: dict[Setting, str] = {"charting": "/fhir/Condition/$coding-assist", "claim": "/fhir/Claim/$check"}
fhir = Blueprint("fhir", __name__, url_prefix="/fhir")


@fhir.post("/Condition/$coding-assist")
def coding_assist() -> Response:
    """While charting: the code, the question or a reasoned silence for each Condition."""
    return _operation("charting")


@fhir.post("/Claim/$check")
def check() -> Response:
    """Before a claim: the same rules with the claim's severities, and `result`."""
    return _operation("claim")


def validate(kind: str, identifier: str) -> Response:
    """What is wrong with a resource: as FHIR, by profile, and for a Condition by the documentation rules."""
    assist: Assist = current_app.extensions["assist"]
    body = parse_json(request.get_data()) if request.method == "POST" else None
    asked = read_call(body, kind, identifier, request.args, strict=is_strict())
    if isinstance(asked.resource, dict):  # a patient's data, whatever is wrong with it
        shown = Request("charting", [Entry(asked.resource, "")])
        g.visit = Visit(f"/fhir/{kind}/$validate", {}, patients_of(shown), datetime.now(UTC))
    return fhir_response(validated(asked, assist))


for _kind in KINDS:
    at_type = {"defaults": {"kind": _kind, "identifier": ""}, "methods": ["GET", "POST"]}
    fhir.route(f"/{_kind}/$validate", **at_type)(validate)
    fhir.route(f"/{_kind}/<identifier>/$validate", defaults={"kind": _kind}, methods=["GET", "POST"])(validate)


def _operation(setting: Setting) -> Response:
    assist: Assist = current_app.extensions["assist"]
    visit, record = open_visit(request.get_data(), setting, datetime.now(UTC))
    g.visit = visit  # from here on there is an access to a patient's data to be recorded, whatever comes
    g.visit = visit._replace(answer=assist.answer(record))
    return fhir_response(answer_parameters(g.visit.answer, assist, setting, str(current_app.config["BASE_URL"])))


def open_visit(sent: bytes, setting: Setting, at: datetime) -> tuple[Visit, Request]:
    """The record that was sent, and whose it is."""
    body: Any = parse_json(sent)
    record = open_envelope(body, setting)
    refuse_crowd(record.conditions)
    return Visit(DOORS[setting], body, patients_of(record), at), record


def answer_parameters(answer: Answer, assist: Assist, setting: Setting, base_url: str) -> Json:
    """The answer of both operations as Parameters (CONTRACT)."""
    parts = [assessment_part(one.assessment, one.query, assist.terminology, base_url) for one in answer.judged]
    parts += list(release_parts(answer.dates, assist.terminology, SOFTWARE))
    if answer.issues:
        parts.append(part("outcome", resource=outcome(answer.issues)))
    if setting == "claim":
        parts.append(part("result", valueBoolean=not any(issue.severity == "error" for issue in answer.all_issues)))
    return {"resourceType": "Parameters", "parameter": parts}
