"""A query taken through SDC: what the record answers, the next question, and what the answers make of the record.

Stateless: whoever calls sends the record with the form, as parameters of ours or contained in the response.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from service.assist import Answer as Answered
from service.assist import Assist, Judged
from service.coding.answers import Answer
from service.coding.model import ELEMENTS, Assessment, Element
from service.envelope import KNOWN, reference_of
from service.fhir_out import CANONICAL, INDICATOR, OPTION_INDICATOR, prepopulated, questionnaire_of
from service.json_body import Issue, Refusal, dump_json
from service.record import Entry, Request
from service.responses import ORIGIN, kept_response, read_response
from service.validation import refuse_errors, validate_resource
from service.write_back import Proposal, completed, transaction

Json = dict[str, Any]
FORM = f"{CANONICAL}/Questionnaire/documentation-query"
RECORD = f"{CANONICAL}/StructureDefinition/query-record"
ADAPTIVE = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-questionnaireAdaptive"
_FIELDS = {
    "Condition": "conditions",
    "DiagnosticReport": "reports",
    "Observation": "observations",
    "DocumentReference": "documents",
}


@dataclass(frozen=True)
class Result:
    """What the answers to one form made of the record: before, after, and what goes back."""

    before: Judged
    after: Judged
    response: Json
    proposals: tuple[Proposal, ...]
    bundle: Json


def record_of(resources: Iterable[Mapping[str, Any]]) -> Request:
    """The request that these resources make; the first Encounter and Patient count, other types are passed over."""
    sent = [resource for resource in resources if resource.get("resourceType") in KNOWN - {"Claim"}]
    for resource in sent:
        refuse_errors(validate_resource(resource, allowed=KNOWN))
    entries = [Entry(r, reference_of(r, None, f"#{index}")) for index, r in enumerate(sent)]
    if not any(entry.type == "Condition" for entry in entries):
        sentence = "No Condition is given; send it as parameter `condition`, in `context`, in `data` or contained."
        raise Refusal(400, [Issue("error", "required", sentence)])
    many: Json = {field: [e for e in entries if e.type == kind] for kind, field in _FIELDS.items()}
    single = {kind: next((e for e in entries if e.type == kind), None) for kind in ("Encounter", "Patient")}
    return Request("charting", **many, encounter=single["Encounter"], patient=single["Patient"])


def with_answers(request: Request, condition: str, answers: Iterable[Answer]) -> Request:
    """The request with further answers on one Condition."""
    return replace(request, answers={condition: (*request.answers.get(condition, ()), *answers)})


def asking(answer: Answered) -> Judged:
    """The Condition that something is asked about, else the first."""
    return next((one for one in answer.judged if one.query), answer.judged[0])


def about(request: Request, condition: str, assist: Assist) -> Judged:
    """One Condition of a request, assessed."""
    judged = assist.answer(request).judged
    return next(one for one in judged if one.assessment.documentation.condition == condition)


def form_of(one: Judged) -> Json:
    """The questions of one Condition as a Questionnaire; without questions, only what the record answers."""
    if one.query:
        return questionnaire_of(one.query, one.assessment)
    empty: Json = {"resourceType": "Questionnaire", "status": "active", "title": "Documentation query"}
    return {**empty, "subjectType": ["Patient"]}


# --- $populate ----------------------------------------------------------------------------------------------------


def populated(questionnaire: Mapping[str, Any], assessment: Assessment) -> Json:
    """A QuestionnaireResponse with what the record answers of a form whose linkIds are elements; each marked auto."""
    elements = {element.name: element for element in assessment.elements if element.status == "documented"}
    items = []
    for item in questionnaire.get("item") or ():
        value = _value(item, elements[item["linkId"]]) if item.get("linkId") in elements else None
        if value:
            origin = {"url": ORIGIN, "extension": [{"url": "source", "valueCode": "auto"}]}
            items.append({"linkId": item["linkId"], "answer": [{"extension": [origin], **value}]})
    response: Json = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}
    return {**response, "item": items} if items else response


def _value(item: Mapping[str, Any], element: Element) -> Json | None:
    """The answer in the type of the item; None where the item cannot take it."""
    if item.get("type") in ("string", "text"):
        return {"valueString": ", ".join(element.values)} if element.values else None
    if item.get("type") == "date" and element.name == "imaging.date" and element.values:
        return {"valueDate": element.values[0]}
    codings = [option["valueCoding"] for option in item.get("answerOption") or () if "valueCoding" in option]
    fitting = [coding for coding in codings if coding.get("code") in element.values]
    return {"valueCoding": fitting[0]} if len(fitting) == len(element.values) == 1 else None


def still_open(questionnaire: Mapping[str, Any], response: Mapping[str, Any]) -> list[Issue]:
    """One information for each element that the form asks and the record does not answer."""
    given = {item["linkId"] for item in response.get("item") or ()}
    asked = [item["linkId"] for item in questionnaire.get("item") or () if item.get("linkId") in ELEMENTS]
    return [
        Issue(
            "information",
            "incomplete",
            f"The record does not settle {name}; the form asks for it.",
            f"Questionnaire.item.where(linkId='{name}')",
        )
        for name in asked
        if name not in given
    ]


# --- $next-question -----------------------------------------------------------------------------------------------


def next_question(response: Mapping[str, Any], record: Iterable[Mapping[str, Any]], assist: Assist) -> Json:
    """The response with the next question added to its contained form; completed where nothing is left to ask.

    The answers so far stand in the response, the record and the questions so far are contained in it.
    """
    contained = [dict(one) for one in response.get("contained") or ()]
    forms = [one for one in contained if one.get("resourceType") == "Questionnaire"]
    if len(forms) != 1:
        sentence = "The response contains no Questionnaire, or more than one; contain one, as SDC adaptive forms do."
        raise Refusal(422, [Issue("error", "required", sentence, "QuestionnaireResponse.contained")])
    form = forms[0]
    kept = _each_once([one for one in contained if one is not form], record)
    request = record_of(kept)
    answers = read_response({key: value for key, value in response.items() if key != "contained"}, form)
    condition = asking(assist.answer(request)).assessment.documentation.condition
    one = about(with_answers(request, condition, answers), condition, assist)
    return _answered_form(response, _grown(form, one, {answer.element for answer in answers}), kept, one)


def _each_once(contained: Iterable[Json], sent: Iterable[Mapping[str, Any]]) -> list[Json]:
    """The record as it was sent last: a client may send with each call what the response contains already."""
    kept = {(one.get("resourceType"), one.get("id")): dict(one) for one in contained}
    same = [{key: value for key, value in one.items() if key != "id"} for one in kept.values()]
    fresh = [dict(one) for one in sent if "id" in one or one not in same]
    kept |= {(one.get("resourceType"), one["id"]): one for one in fresh if "id" in one}
    return [*kept.values(), *(one for one in fresh if "id" not in one)]


def _grown(form: Json, one: Judged, answered: set[str]) -> Json:
    """The form with the first question that it lacks, unless one of its own still waits for an answer."""
    held = [item["linkId"] for item in form.get("item") or () if item["linkId"] in ELEMENTS]
    fresh = [name for name in (one.query.ask if one.query else ()) if name not in held]
    if not one.query or not fresh or any(name not in answered for name in held):
        return form
    return {**form, "item": [*(form.get("item") or ()), *_question(fresh[0], form_of(one), form)]}


def _question(name: str, full: Json, form: Json) -> Iterator[Json]:
    """The items of one question and of the indicators that the form does not show yet, numbered on."""
    shown = {_place(item): item["linkId"] for item in form.get("item") or () if item["type"] == "display"}
    number, renamed = len(shown), {}
    for item in (item for item in full["item"] if item["type"] == "display"):
        if _place(item) in shown:
            renamed[item["linkId"]] = shown[_place(item)]
        else:
            number += 1
            renamed[item["linkId"]] = f"indicator-{number}"
            yield {**item, "linkId": renamed[item["linkId"]]}
    for item in (item for item in full["item"] if item["linkId"] in (name, f"{name}.other")):
        yield {**item, **({"answerOption": _renamed(item["answerOption"], renamed)} if "answerOption" in item else {})}


def _place(item: Json) -> str:
    """Where the words of an indicator stand: two with the same place are one."""
    told = next(e["extension"] for e in item["extension"] if e["url"] == INDICATOR)
    return repr([part for part in told if part["url"] in ("source", "expression", "start", "end")])


def _renamed(options: list[Json], renamed: Mapping[str, str]) -> list[Json]:
    def new(extension: Json) -> Json:
        is_link = extension["url"] == OPTION_INDICATOR
        return {**extension, "valueString": renamed[extension["valueString"]]} if is_link else extension

    return [{**o, "extension": [new(e) for e in o["extension"]]} if "extension" in o else o for o in options]


def _answered_form(response: Mapping[str, Any], form: Json, record: list[Json], one: Judged) -> Json:
    """The response that goes back: form and record contained and referred to; completed where nothing is asked."""
    form = {key: value for key, value in form.items() if key not in ("url", "version")}  # sdc-questionnaire-adapt
    form = {"id": "form", "derivedFrom": [FORM], **form}
    form["extension"] = [{"url": ADAPTIVE, "valueBoolean": True}]
    for number, resource in enumerate(record, 1):
        resource.setdefault("id", f"record-{number}")
    kept = [e for e in response.get("extension") or () if e.get("url") != RECORD]
    kept += [{"url": RECORD, "valueReference": {"reference": f"#{resource['id']}"}} for resource in record]
    status = "in-progress" if one.query else "completed"
    whole = {**response, "questionnaire": f"#{form['id']}", "status": status, "extension": kept}
    return {**whole, "contained": [form, *record]}


# --- $extract -----------------------------------------------------------------------------------------------------


def result_of(
    request: Request, condition: str, form: Json, auto: Json, response: Mapping[str, Any], assist: Assist, **kept: Any
) -> Result:
    """What the answers make of one Condition; Refusal where they do not belong to the form or the patient."""
    resource = next(dict(e.resource) for e in request.conditions if e.reference == condition)
    _refuse_other_patient(response, resource)
    answers = read_response(response, form)
    if not answers:
        sentence = "The response answers no question; answer at least one, or decline."
        raise Refusal(422, [Issue("error", "required", sentence, "QuestionnaireResponse.item")])
    before = about(request, condition, assist)
    after = about(with_answers(request, condition, answers), condition, assist)
    subject, encounter = resource.get("subject"), resource.get("encounter")
    stored = kept_response(response, form, auto, subject=subject, encounter=encounter, **kept)
    full_url = f"urn:uuid:{uuid5(NAMESPACE_URL, f'{FORM}|{condition}|{dump_json(stored).decode()}')}"
    full_url = f"QuestionnaireResponse/{stored['id']}" if "id" in stored else full_url
    found = completed(resource, after.assessment, assist.terminology, full_url)
    return Result(before, after, stored, tuple(found), transaction(found, stored, full_url))


def _refuse_other_patient(response: Mapping[str, Any], condition: Mapping[str, Any]) -> None:
    def patient(resource: Mapping[str, Any]) -> str:
        return str((resource.get("subject") or {}).get("reference") or "").split("/_history/")[0].rpartition("/")[2]

    if patient(response) and patient(condition) and patient(response) != patient(condition):
        sentence = "The response is about another patient than the form; nothing was changed."
        raise Refusal(422, [Issue("error", "business-rule", sentence, "QuestionnaireResponse.subject")])


def issues_of(result: Result) -> list[Issue]:
    """What is still open after the answers, as information."""
    asked = result.after.query.ask if result.after.query else ()
    return [Issue("information", "incomplete", f"Still open: {name}; $next-question asks for it.") for name in asked]


def auto_of(form: Json, assessment: Assessment) -> Json:
    """What the record answers on the hidden items of a form of ours."""
    return prepopulated({"item": form.get("item") or []}, assessment)
