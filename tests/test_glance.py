"""Holds that what is saved makes no difference: a Condition told at a glance, and why not, where nobody asks."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from service.assist import Answer, Assist
from service.record import Entry, Request, date_of_service

DATA = Path(__file__).parent / "data"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
Json = dict[str, Any]
RECORDS = [json.loads(line)["input"] for line in (DATA / "records.jsonl").read_text("utf-8").splitlines()]
STATEMENTS = [json.loads(line)["text"] for line in (DATA / "statements.jsonl").read_text("utf-8").splitlines()]
NOTES = ["Stable on current treatment.", "See the MRI of the neck.", "Numbness of both hands.", "No canal stenosis."]
CODES: list[Json] = [
    {"coding": [{"system": ICD, "code": "I10", "display": "Essential (primary) hypertension"}]},
    {"coding": [{"system": ICD, "code": "E119"}], "text": "Type 2 diabetes"},
    {"coding": [{"system": ICD, "code": "E11"}], "text": "Type 2 diabetes"},
    {"coding": [{"system": ICD, "code": "Q99.99"}]},
    {"coding": [{"system": ICD, "code": "M54.2", "display": "Cervicalgia"}]},
    {"coding": [{"system": ICD, "code": "M48.02", "display": "Spinal stenosis, cervical region"}]},
    {"coding": [{"system": ICD, "code": "G95.20"}]},
    {"coding": [{"system": "http://snomed.info/sct", "code": "195967001"}], "text": "Asthma"},
    {"coding": [{"system": "http://snomed.info/sct", "code": "76107001", "display": "Spinal stenosis"}]},
    {"text": "Gout"},
    {"text": "Low back pain"},
]
STATUSES = ["confirmed", "provisional", "refuted", "entered-in-error"]


def other(draw: random.Random, number: int) -> Json:
    """A Condition as it may stand on any problem list, mostly of no matter here."""
    found: Json = {"resourceType": "Condition", "id": f"o{number}", "subject": {"reference": "Patient/p1"}}
    found["code"] = draw.choice(CODES)
    found["clinicalStatus"] = {"coding": [{"code": draw.choice(["active", "active", "resolved"])}]}
    maybe: Json = {
        "verificationStatus": {"coding": [{"code": draw.choice(STATUSES)}]},
        "recordedDate": draw.choice(["2026-05-01", "2016-09-30", "2026-05"]),
        "note": [{"text": draw.choice(NOTES)}],
        "bodySite": [{"text": "neck"}],
        "modifierExtension": [{"url": "urn:x", "valueBoolean": True}],
        "evidence": [{"code": [{"text": draw.choice(NOTES)}]}],
        "abatementDateTime": "2020",
    }
    chances = {"verificationStatus": 0.9, "recordedDate": 0.8, "note": 0.4}
    return found | {name: value for name, value in maybe.items() if draw.random() < chances.get(name, 0.05)}


def entries(resources: list[Json]) -> list[Entry]:
    return [Entry(one, f"{one['resourceType']}/{one.get('id', n)}") for n, one in enumerate(resources)]


def requested(record: Json, others: list[Json], draw: random.Random) -> Request:
    """A record of the cases while it is charted, with more on its problem list."""
    conditions = [*record.get("conditions", ()), *others]
    draw.shuffle(conditions)
    encounter = record.get("encounter") if draw.random() < 0.8 else None
    return Request(
        "charting",
        entries(conditions),
        reports=entries(record.get("diagnosticReports", [])),
        encounter=Entry(encounter, f"Encounter/{encounter['id']}") if encounter else None,
        date_of_service=record.get("dateOfService"),
    )


def told(answer: Answer) -> list[object]:
    said = attrgetter("disposition", "suggestions", "candidates", "alternatives", "elements", "ask", "issues")
    judged = [
        (one.assessment.documentation.condition, one.assessment.documentation.codes, said(one.assessment), one.query)
        for one in answer.judged
    ]
    return [judged, answer.issues, answer.dates]


def glances(assist: Assist, request: Request) -> int:
    """How many are told at a glance, and the same with and without it."""
    assert told(assist.answer(request)) == told(assist.answer(request, reads_all=True))
    return len(assist._glance.quiet(request, date_of_service(request, {})))


@pytest.mark.parametrize("number", range(len(RECORDS)))
def test_a_case_is_judged_the_same_beside_whatever_else_is_on_the_problem_list(number: int, assist: Assist) -> None:
    draw = random.Random(number)
    for _ in range(3):
        others = [other(draw, n) for n in range(draw.randrange(6))]
        glances(assist, requested(RECORDS[number], others, draw))


@pytest.mark.parametrize("number", range(len(RECORDS)))
def test_who_does_not_ask_why_not_is_told_all_else_the_same(number: int, assist: Assist) -> None:
    request = requested(RECORDS[number], [], random.Random(number))
    whole, lean = assist.answer(request), assist.answer(request, says_why_not=False)
    without = [replace(one, assessment=one.assessment._replace(alternatives=())) for one in whole.judged]
    assert told(replace(whole, judged=tuple(without))) == told(lean)


def test_a_problem_list_of_no_matter_is_judged_the_same(assist: Assist) -> None:
    draw = random.Random(1)
    seen = sum(glances(assist, requested({}, [other(draw, n) for n in range(8)], draw)) for _ in range(300))
    assert seen > 150


def test_cards_of_such_a_list_rest_on_the_same_answer(assist: Assist) -> None:
    draw, silent = random.Random(3), 0
    for _ in range(300):
        plain = [{"code": draw.choice([CODES[0], CODES[7], CODES[9]]), "recordedDate": "2026-05-01"} for _ in range(3)]
        others = [other(draw, n) | own for n, own in enumerate(plain[: draw.randrange(4)])]
        request = requested({}, others, draw)
        whole, lean = assist.answer(request), assist.answer_for_cards(request)
        silent += bool(lean.outside)
        assert (lean.dates, lean.issues) == (whole.dates, whole.issues)
        dispositions = [one.assessment.disposition for one in lean.judged] + list(lean.outside)
        assert dispositions == [one.assessment.disposition for one in whole.judged]
        assert not lean.outside or not any(one.assessment.issues for one in whole.judged)
    assert silent > 30


@pytest.mark.parametrize("number", range(0, len(STATEMENTS), 5))
def test_a_statement_is_judged_the_same_as_the_code_or_a_note(number: int, assist: Assist) -> None:
    draw = random.Random(number)
    text = STATEMENTS[number]
    as_code = other(draw, 1) | {"code": {"text": text}}
    as_note = other(draw, 2) | {"note": [{"text": text}]}
    glances(assist, requested({}, [as_code, as_note, other(draw, 3)], draw))


def test_a_single_problem_takes_what_its_reports_say(assist: Assist) -> None:
    condition = other(random.Random(0), 1) | {"code": CODES[0], "recordedDate": "2026-05-01"}
    report = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "effectiveDateTime": "2026-04-20"}
    report |= {"subject": {"reference": "Patient/p1"}, "code": {"text": "MRI"}}
    report |= {"conclusion": "Ligamentum flavum hypertrophy with severe canal stenosis at C5-C6."}
    alone = Request("charting", entries([condition]), reports=entries([report]))
    assert glances(assist, alone) == 0
    assert assist.answer(alone).judged[0].assessment.disposition == "query"


def test_the_only_problem_of_each_of_two_patients_takes_what_its_reports_say(assist: Assist) -> None:
    conditions = [other(random.Random(0), n) | {"code": CODES[0], "recordedDate": "2026-05-01"} for n in (1, 2)]
    conditions[1]["subject"] = {"reference": "Patient/p2"}
    report = {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "effectiveDateTime": "2026-04-20"}
    report |= {"subject": {"reference": "Patient/p2"}, "code": {"text": "MRI"}}
    report |= {"conclusion": "Ligamentum flavum hypertrophy with severe canal stenosis at C5-C6."}
    both = Request("charting", entries(conditions), reports=entries([report]))
    assert glances(assist, both) == 0
    assert [one.assessment.disposition for one in assist.answer(both).judged] == ["not-assessed", "query"]


@pytest.mark.parametrize(
    ("more", "is_quiet"),
    [({}, True), ({"bodySite": [{"text": "neck"}]}, False), ({"modifierExtension": [{"url": "urn:x"}]}, False)],
)
def test_what_places_or_changes_a_condition_has_it_read(more: Json, is_quiet: bool, assist: Assist) -> None:
    plain: Json = {"resourceType": "Condition", "subject": {"reference": "Patient/p1"}, "recordedDate": "2026-05-01"}
    request = Request("charting", entries([plain | {"code": CODES[0]} | more, plain | {"code": CODES[9]}]))
    assert (0 in assist._glance.quiet(request, date_of_service(request, {}))) == is_quiet
