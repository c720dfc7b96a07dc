"""What a coder expects of statements and records, written apart from the code by people who did not see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.assist import Assist
from service.envelope import open_envelope
from tests.expectations import disagreements

DATA = Path(__file__).parent / "data"
PARAMETERS = {
    "diagnosticReports": "diagnosticReport",
    "observations": "observation",
    "documentReferences": "documentReference",
}
SINGLE = ("encounter", "patient", "claim", "coverage", "practitionerRole")


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


def outpatient_condition(text: str) -> dict[str, Any]:
    """An active, confirmed encounter diagnosis of an office visit with nothing but these words."""
    system = "http://terminology.hl7.org/CodeSystem/"
    condition = {
        "resourceType": "Condition",
        "id": "c1",
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "recordedDate": "2026-11-10",
        "code": {"text": text},
        "clinicalStatus": {"coding": [{"system": system + "condition-clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": system + "condition-ver-status", "code": "confirmed"}]},
        "category": [{"coding": [{"system": system + "condition-category", "code": "encounter-diagnosis"}]}],
    }
    encounter = {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "finished",
        "class": {"system": system + "v3-ActCode", "code": "AMB"},
        "subject": {"reference": "Patient/p1"},
        "period": {"start": "2026-11-10", "end": "2026-11-10"},
    }
    return {"mode": "charting", "conditions": [condition], "encounter": encounter}


def parameters(record: dict[str, Any]) -> dict[str, Any]:
    """The record as Parameters of $coding-assist or $check."""
    parts = [{"name": "condition", "resource": c} for c in record.get("conditions", ())]
    parts += [{"name": name, "resource": r} for key, name in PARAMETERS.items() for r in record.get(key) or ()]
    parts += [
        {"name": name, "resource": record[name]}
        for name in SINGLE
        if record.get(name) and not (record.get("mode") == "charting" and name in SINGLE[2:])
    ]
    if record.get("dateOfService") and record.get("mode") != "charting":
        parts.append({"name": "dateOfService", "valueDate": record["dateOfService"]})
    return {"resourceType": "Parameters", "parameter": parts}


@pytest.mark.parametrize("line", _lines("statements.jsonl"), ids=lambda line: line["id"])
def test_a_short_statement_is_decided_as_a_coder_would(assist: Assist, line: dict[str, Any]) -> None:
    answer = assist.answer(open_envelope(parameters(outpatient_condition(line["text"])), "charting"))
    assert disagreements(answer, line["expected"]) == [], line["why"]


@pytest.mark.parametrize(
    "line",
    [line for line in _lines("records.jsonl") if "payer-policy" not in line.get("requires", ())],
    ids=lambda line: line["id"],
)
def test_a_whole_record_is_decided_as_a_coder_would(assist: Assist, line: dict[str, Any]) -> None:
    setting = "charting" if line["input"].get("mode", "charting") == "charting" else "claim"
    answer = assist.answer(open_envelope(parameters(line["input"]), setting))  # type: ignore[arg-type]
    assert disagreements(answer, line["expected"]) == [], line["title"]
