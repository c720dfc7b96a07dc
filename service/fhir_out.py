"""Assessment -> FHIR: CodeableConcept, Parameters, Questionnaire, QuestionnaireResponse, OperationOutcome.

Plain dicts: writing through models costs more than reading (measured), so the tests validate what is built here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from service.coding.lexicon import Lexicon
from service.coding.model import Assessment, Element, Evidence, Issue, Query, Question
from service.coding.packs import Terminology

ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
CANONICAL = "http://example.org/fhir-coding-assist"
TISSUE_SYSTEM = f"{CANONICAL}/CodeSystem/tissue"
REGION_SYSTEM = f"{CANONICAL}/CodeSystem/region"
SPACE_SYSTEM = f"{CANONICAL}/CodeSystem/space"
VALUE_SYSTEM = f"{CANONICAL}/CodeSystem/documentation-element-value"
VALUE_SYSTEMS = {"tissue": TISSUE_SYSTEM, "region": REGION_SYSTEM, "space": SPACE_SYSTEM}
CITATION = f"{CANONICAL}/StructureDefinition/citation"
FLAG_SYSTEM = f"{CANONICAL}/CodeSystem/documentation-flag"
OPTION_SYSTEM = f"{CANONICAL}/CodeSystem/query-option"
OPTION_INDICATOR = f"{CANONICAL}/StructureDefinition/option-indicator"
INDICATOR = f"{CANONICAL}/StructureDefinition/query-indicator"
HIDDEN = "http://hl7.org/fhir/StructureDefinition/questionnaire-hidden"
_ISSUE_CODES = {
    "code.unknown": "code-invalid",
    "code.not-billable": "code-invalid",
    "code.seventh-character": "code-invalid",
    "code.not-valid-on-dos": "code-invalid",
    "code.display-mismatch": "code-invalid",
    "cond.duplicate": "duplicate",
    "evidence.subject-mismatch": "business-rule",
    "dos.missing": "business-rule",
}
_ORIGINS = {"provider": "Provider", "report": "Report", "ancillary": "Other documentation"}
_KINDS = {
    "Condition": "problem or diagnosis",
    "Claim": "recorded diagnosis",
    "DiagnosticReport": "diagnostic report",
    "DocumentReference": "note",
    "Observation": "observation",
    "QuestionnaireResponse": "answer to a query",
}
Json = dict[str, Any]


def part(name: str, **content: Any) -> Json:
    return {"name": name, **content}


def concept(code: str, terminology: Terminology, on: str) -> Json:
    """A CodeableConcept whose first coding is ICD-10-CM, with the official title."""
    title = terminology.icd10cm.title(code, on) or terminology.icd10cm.title(code) or code
    return {"coding": [{"system": ICD10CM, "code": code, "display": title}], "text": title}


def assessment_part(assessment: Assessment, query: Query | None, terminology: Terminology, base_url: str) -> Json:
    """The `assessment` parameter of $coding-assist and $check."""
    on = assessment.documentation.date_of_service or terminology.icd10cm.newest.in_force_from
    parts = [
        part("condition", valueReference={"reference": assessment.documentation.condition}),
        part("disposition", valueCode=assessment.disposition),
        part("reason", valueString=reason(assessment)),
    ]
    for suggestion in assessment.suggestions:
        inner = [part("concept", valueCodeableConcept=concept(suggestion.code, terminology, on))]
        inner += [part("rule", valueUri=f"{base_url}/rules/{rule}") for rule in suggestion.rules]
        inner += [part("note", valueString=note) for note in suggestion.notes]
        inner += [evidence_part(e, terminology.lexicon) for e in suggestion.evidence]
        parts.append(part("suggestion", part=inner))
    for candidate in assessment.candidates:
        parts.append(
            part(
                "candidate",
                part=[
                    part("concept", valueCodeableConcept=concept(candidate.code, terminology, on)),
                    *(part("awaits", valueCode=name) for name in candidate.awaits),
                ],
            )
        )
    for alternative in assessment.alternatives:
        parts.append(
            part(
                "alternative",
                part=[
                    part("concept", valueCodeableConcept=concept(alternative.code, terminology, on)),
                    part("reason", valueString=alternative.reason),
                ],
            )
        )
    parts += [element_part(element, terminology.lexicon) for element in assessment.elements]
    parts += _extracted_texts(assessment)
    parts += [part("ask", valueCode=name) for name in (query.ask if query else assessment.ask)]
    if query:
        form = built_form(query, assessment)
        parts += [
            part("questionnaire", resource=form.questionnaire),
            part("questionnaireResponse", resource=form.response),
        ]
    if assessment.issues:
        parts.append(part("outcome", resource=outcome(assessment.issues)))
    return part("assessment", part=parts)


def reason(assessment: Assessment) -> str:
    """Why the answer is what it is, in one sentence without the patient's words."""
    unused = (
        assessment.documentation.verification
        if assessment.documentation.verification in ("refuted", "entered-in-error")
        else assessment.documentation.clinical
    )
    if assessment.disposition == "not-applicable" and unused in (
        "refuted",
        "entered-in-error",
        "resolved",
        "inactive",
        "remission",
    ):
        return f"The Condition is {unused}, so nothing is suggested or asked."
    if assessment.disposition == "not-applicable" and assessment.documentation.answered:
        return "The questions are answered, and the answers select no code; what they leave possible is listed."
    if assessment.disposition == "not-applicable" and assessment.candidates:
        return "The condition is classified elsewhere and complete there, so nothing is asked."
    return {
        "code-supported": "The provider's own statement documents every required element, so a code is selected.",
        "query": "A required element is missing, uncertain or in conflict, so no code is selected and it is asked for.",
        "not-applicable": "The narrowing is denied, historical, hypothetical or another person's: nothing to say.",
        "not-assessed": "The recorded code belongs to a family without a rule pack; only its validity was checked.",
        "out-of-scope": "The record names no stenosis, canal or code of these families, so there is nothing to say.",
    }[assessment.disposition]


def element_part(element: Element, lexicon: Lexicon) -> Json:
    values = [part("value", valueCoding=_value_coding(element.name, value)) for value in element.values]
    return part(
        "element",
        part=[
            part("name", valueCode=element.name),
            part("status", valueCode=element.status),
            *values,
            *(evidence_part(e, lexicon) for e in element.evidence if e.quote),
        ],
    )


def _value_coding(element: str, value: str) -> Json:
    """A value of an element; a date is of no code system."""
    if element == "imaging.date":
        return {"code": value}
    return {"system": VALUE_SYSTEMS.get(element, VALUE_SYSTEM), "code": value}


def _extracted_texts(assessment: Assessment) -> Iterator[Json]:
    """The text that was taken out of a PDF or RTF, once for each attachment that is quoted: offsets count in it."""
    quoted = [e for s in assessment.suggestions for e in s.evidence] + [
        e for x in assessment.elements for e in x.evidence
    ]
    texts = {(e.passage.source, e.passage.expression): e.passage.text for e in quoted if e.passage.extracted}
    for (source, expression), text in texts.items():
        parts = [
            part("source", valueReference={"reference": source}),
            part("expression", valueString=expression),
            part("content", valueString=text),
        ]
        yield part("text", part=parts)


def evidence_part(evidence: Evidence, lexicon: Lexicon) -> Json:
    """A quote with its place; `correction` says which misspelt words were read as which."""
    passage = evidence.passage
    parts = [
        part("quote", valueString=evidence.quote),
        part("source", valueReference={"reference": passage.source}),
        part("expression", valueString=passage.expression),
        part("start", valueInteger=evidence.start),
        part("end", valueInteger=evidence.end),
    ]
    if passage.date:
        parts.append(part("date", valueDate=passage.date))
    parts.append(part("assertion", valueCode=evidence.assertion))
    for written, read in lexicon.corrections(evidence.quote):
        inner = [part("written", valueString=written), part("read", valueString=read)]
        parts.append(part("correction", part=inner))
    return part("evidence", part=parts)


def outcome(issues: Iterable[Issue]) -> Json:
    """OperationOutcome: the flag in details, the rule in diagnostics, where in expression, what the rule rests on."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues]}


def _issue(issue: Issue) -> Json:
    built: Json = {
        "severity": issue.severity,
        "code": _ISSUE_CODES.get(issue.flag, "business-rule"),
        "details": {
            "coding": [{"system": FLAG_SYSTEM, "code": issue.flag}],
            "text": f"{issue.says} {issue.remedy}".rstrip(),
        },
        "diagnostics": issue.rule,
    }
    if issue.cites:
        built["extension"] = [{"url": CITATION, "valueString": f"{c.title}: {c.section}"} for c in issue.cites]
    if issue.expression:
        built["expression"] = [issue.expression]
    return built


def release_parts(dates: Iterable[str], terminology: Terminology, software: str) -> Iterator[Json]:
    """One `release` for each date of service judged."""
    for on in dict.fromkeys(dates):
        main = terminology.main
        year = terminology.icd10cm.status(next(iter(main.codes.values())), on).release
        inner = [
            part("date", valueDate=on),
            part("pack", valueString=main.id),
            part("packVersion", valueString=main.version),
        ]
        inner += [part("icd10cm", valueString=str(year))] if year else []
        yield part("release", part=[*inner, part("software", valueString=software)])


# --- the query as a form ------------------------------------------------------------------------------------------


class BuiltForm(NamedTuple):
    """A query as it is sent: the Questionnaire, and what of it the record already answers."""

    questionnaire: Json
    response: Json


def built_form(query: Query, assessment: Assessment) -> BuiltForm:
    """Built once, then checked, shown and kept."""
    questionnaire = questionnaire_of(query, assessment)
    return BuiltForm(questionnaire, prepopulated(questionnaire, assessment))


def questionnaire_of(query: Query, assessment: Assessment) -> Json:
    """The query as a Questionnaire: indicators as display items, one item for each question (QUERIES)."""
    items: list[Json] = [_indicator_item(number, evidence) for number, evidence in enumerate(query.indicators, 1)]
    for question in query.questions:
        items += _question_items(question)
    asked = set(query.ask)
    items += [
        _documented_item(element)
        for element in assessment.elements
        if element.name not in asked and element.status == "documented" and element.values
    ]
    return {
        "resourceType": "Questionnaire",
        "status": "active",
        "title": "Documentation query",
        "subjectType": ["Patient"],
        "item": items,
    }


def _documented_item(element: Element) -> Json:
    """What the record already answers, hidden and read-only: a place for the prepopulated answer."""
    return {
        "linkId": element.name,
        "type": "string",
        "readOnly": True,
        "extension": [{"url": HIDDEN, "valueBoolean": True}],
    }


def _indicator_item(number: int, evidence: Evidence) -> Json:
    passage = evidence.passage
    label = source_label(evidence)
    extension = [
        {"url": "quote", "valueString": evidence.quote},
        {"url": "source", "valueReference": {"reference": passage.source}},
        {"url": "expression", "valueString": passage.expression},
        {"url": "start", "valueInteger": evidence.start},
        {"url": "end", "valueInteger": evidence.end},
        {"url": "priorEncounter", "valueBoolean": passage.earlier_encounter},
    ]
    if passage.date:
        extension.append({"url": "date", "valueDate": passage.date})
    if passage.status:
        extension.append({"url": "status", "valueCode": passage.status})
    return {
        "linkId": f"indicator-{number}",
        "type": "display",
        "text": f"“{evidence.quote}” — {label}",
        "extension": [{"url": INDICATOR, "extension": extension}],
    }


def source_label(evidence: Evidence) -> str:
    passage = evidence.passage
    kind = passage.expression.partition(".")[0]  # the source may be an absolute URL or a urn:uuid
    date = f"dated {passage.date}" if passage.date else "undated"
    prior = ", prior encounter" if passage.earlier_encounter else ""
    return (
        f"{_ORIGINS[passage.author]}, {_KINDS.get(kind, kind)}, {date}, status {passage.status or 'not stated'}{prior}"
    )


def _question_items(question: Question) -> list[Json]:
    item: Json = {"linkId": question.element, "text": question.text, "required": False}
    if question.shown_after:
        item |= {"enableWhen": [_enabled(*option) for option in question.shown_after], "enableBehavior": "any"}
    if question.kind != "choice":
        return [{**item, "type": "date" if question.kind == "date" else "text"}]
    options = [_option(o.code, o.text, o.indicators) for o in question.options]
    options += [_option("other", "Other"), _option("unable-to-determine", "Unable to determine")]
    other = {
        "linkId": f"{question.element}.other",
        "text": "Other (please specify)",
        "type": "text",
        "required": False,
        "enableWhen": [_enabled(question.element, "other")],
    }
    return [{**item, "type": "choice", "answerOption": options}, other]


def _enabled(element: str, code: str) -> Json:
    return {"question": element, "operator": "=", "answerCoding": {"system": OPTION_SYSTEM, "code": code}}


def _option(code: str, text: str, indicators: Sequence[int] = ()) -> Json:
    option: Json = {"valueCoding": {"system": OPTION_SYSTEM, "code": code, "display": text}}
    if indicators:
        option["extension"] = [{"url": OPTION_INDICATOR, "valueString": f"indicator-{number}"} for number in indicators]
    return option


def prepopulated(questionnaire: Mapping[str, Any], assessment: Assessment) -> Json:
    """What the record already answers; never an answer to a question that is asked."""
    hidden = {item["linkId"] for item in questionnaire["item"] if item.get("readOnly")}
    items = [
        {"linkId": element.name, "answer": [{"valueString": ", ".join(element.values)}]}
        for element in assessment.elements
        if element.name in hidden
    ]
    response: Json = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}
    return {**response, "item": items} if items else response
