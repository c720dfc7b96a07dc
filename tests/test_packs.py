"""The cases beside each pack, the strictness of the loader, and a family that is data alone.

A case is written by a coder, in YAML, beside the rule that it proves (terminology/README.md says how). Its id begins with
the rule: `pytest -k tissue-is-stated` runs what proves that rule.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.assist import Answer, Assist, load_assist
from service.coding.claim import PayerPolicy
from service.coding.errors import PackError
from service.coding.model import Evidence, Rule
from service.coding.packs import Terminology, load_terminology
from service.coding.yaml_strict import load_yaml
from service.envelope import open_envelope
from service.fhir_in import Entry, Request
from service.settings import Settings
from service.shipped import terminology_dir

PACKS = terminology_dir() / "packs"
PATIENT = "Patient/p1"
ICD_10_CM, SNOMED_CT = "http://hl7.org/fhir/sid/icd-10-cm", "http://snomed.info/sct"
HL7 = "http://terminology.hl7.org/CodeSystem/"

# --- the cases: what a coder may write (terminology/README.md) ----------------------------------------------------

CONDITION_KEYS = frozenset({"text", "code", "display", "system", "snomed", "chosen", "site", "note", "verification", "clinical", "category"})
RECORD_KEYS = CONDITION_KEYS | {"conditions", "report", "encounter", "setting", "date", "hook", "order", "claim", "coverage", "payer", "bundle"}
EXPECTATION_KEYS = frozenset({"suggests", "candidates", "among-candidates", "never", "asks", "not-asks", "flags", "not-flags", "disposition", "outcome", "quotes"})
REPORT_KEYS = frozenset({"text", "title", "date", "status", "patient", "encounter", "pdf"})
DATE_OF_SERVICE = "2026-06-10"


@dataclass(frozen=True)
class Case:
    """One case of a case file: the record, what is expected of it, and whether the rule holds in it."""

    path: Path
    rule: str
    holds: bool
    page: Mapping[str, Any]

    @property
    def pack(self) -> str:
        return self.path.parent.parent.name

    @property
    def id(self) -> str:
        return f"{self.rule} {'holds' if self.holds else 'does not hold'} ({self.pack}): {self.page.get('case')}"


def case_files() -> list[Path]:
    return sorted(PACKS.glob("*/cases/*.yaml"))


def read_cases(path: Path) -> Iterator[Case]:
    """The cases of one file; AssertionError with file, case and remedy where the file is no case file."""
    page = load_yaml(path)
    unknown = set(page) - {"proves", "holds", "does-not-hold"}
    assert not unknown, f"{path}: unknown key {sorted(unknown)[0]!r}. Allowed: proves, holds, does-not-hold."
    assert page.get("proves") == path.stem, f"{path}: proves {page.get('proves')!r}. The file bears the name of the rule that it proves."
    for key in ("holds", "does-not-hold"):
        for entry in page.get(key) or ():
            unknown = set(entry) - RECORD_KEYS - EXPECTATION_KEYS - {"case"}
            assert not unknown, f"{path}, case {entry.get('case')!r}: unknown key {sorted(unknown)[0]!r}. See terminology/README.md."
            assert set(entry) & EXPECTATION_KEYS, f"{path}, case {entry.get('case')!r}: expects nothing. Say what follows."
            yield Case(path, path.stem, key == "holds", entry)


CASES = [case for path in case_files() for case in read_cases(path)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case, assist: Assist) -> None:
    answer = answered(case, assist)
    found = _found(answer)
    wrong = [key for key in case.page if key in EXPECTATIONS and EXPECTATIONS[key](found, case.page[key], case) != case.page[key]]
    if at_work(case.rule, case.pack, answer, assist.terminology) is not case.holds:
        wrong.append("holds" if case.holds else "does-not-hold")
    assert wrong == [], _told(case, wrong, found)


def test_every_rule_has_a_case_where_it_holds_and_one_where_it_does_not() -> None:
    told = {(case.pack, case.rule, case.holds) for case in CASES}
    lacking = [
        f"{path.parent.name} {rule['id']}: no case under `{'holds' if holds else 'does-not-hold'}`"
        for path in sorted(PACKS.glob("*/pack.yaml"))
        for rule in load_yaml(path)["rules"]
        for holds in (True, False)
        if (path.parent.name, rule["id"], holds) not in told
    ]
    assert lacking == []


def test_every_case_file_proves_a_rule_of_its_pack(assist: Assist) -> None:
    rules = {pack.id: {rule.id for rule in pack.rules} for pack in assist.terminology.packs}
    assert [path for path in case_files() if path.stem not in rules[path.parent.parent.name]] == []


# --- a rule at work -----------------------------------------------------------------------------------------------


def at_work(rule_id: str, pack_id: str, answer: Answer, terminology: Terminology) -> bool:
    """Whether the rule does what it says in this record (terminology/README.md: what `holds` means)."""
    rule = terminology.rule(rule_id)
    assert rule is not None
    by_kind: dict[str, Callable[[], bool]] = {
        "requires": lambda: any(hit.outcome == "met" for hit in _hits(answer, rule_id)),
        "names-code": lambda: any(code in _codes_of(pack_id, terminology) and rule_id in rules for code, rules in _suggested(answer)),
        "notes": lambda: any(rule.says in s.notes for one in answer.judged for s in one.assessment.suggestions),
        "default": lambda: bool(_candidates(answer) & _table_codes(rule, terminology)),
        "companions": lambda: bool(_candidates(answer) & _table_codes(rule, terminology)),
    }
    raised = {issue.rule for issue in answer.issues} | {hit.rule.id for one in answer.judged for hit in one.assessment.hits}
    return by_kind.get(rule.kind, lambda: rule_id in raised)()


def _hits(answer: Answer, rule_id: str) -> list[Any]:
    return [hit for one in answer.judged for hit in one.assessment.hits if hit.rule.id == rule_id]


def _codes_of(pack_id: str, terminology: Terminology) -> set[str]:
    return {code for pack in terminology.packs if pack.id == pack_id for code in pack.codes.values()}


def _suggested(answer: Answer) -> list[tuple[str, tuple[str, ...]]]:
    return [(s.code, s.rules) for one in answer.judged for s in one.assessment.suggestions]


def _candidates(answer: Answer) -> set[str]:
    return {candidate.code for one in answer.judged for candidate in one.assessment.candidates}


def _table_codes(rule: Rule, terminology: Terminology) -> set[str]:
    codes: set[str] = set()
    for name in rule.settings["to"]:  # type: ignore[attr-defined]  # the loader has read it as a list
        table = terminology.main.tables[name]
        codes |= {table.unspecified, *table.regions.values(), *table.junctions.values(), *table.codes}
        codes |= {code for by_region in table.narrower.values() for code in by_region.values()}
        codes |= {code for earlier in table.before.values() for code in earlier.values()}
    return codes - {""}


# --- what is expected, and what was found -------------------------------------------------------------------------


def _found(answer: Answer) -> dict[str, Any]:
    assessments = [one.assessment for one in answer.judged]
    dispositions = [a.disposition for a in assessments]
    return {
        "suggests": [s.code for a in assessments for s in a.suggestions],
        "candidates": {c.code: list(c.awaits) for a in assessments for c in a.candidates},
        "asks": [name for a in assessments for name in a.ask],
        "flags": {issue.flag: issue.severity for issue in reversed(answer.all_issues)},
        "disposition": dispositions[0] if len(dispositions) == 1 else dispositions,
        "quotes": sorted({e.quote for a in assessments for e in _evidence(a)}),
        "hits": {hit.rule.id: hit.outcome for a in assessments for hit in a.hits} | {issue.rule: "conflict" for issue in answer.issues},
    }


def _evidence(assessment: Any) -> Iterator[Evidence]:
    for part in (*assessment.elements, *assessment.hits, *assessment.suggestions):
        yield from part.evidence


def _named(found: list[str] | Mapping[str, Any], wanted: list[str]) -> list[str]:
    """Of what is wanted that which was found; an empty list wants nothing at all."""
    return [name for name in wanted if name in found] if wanted else list(found)


def _without(found: list[str] | Mapping[str, Any], unwanted: list[str]) -> list[str]:
    return [name for name in unwanted if name not in found]


def _candidates_in_order(found: Mapping[str, Any], wanted: Mapping[str, Any], _: Case) -> Any:
    """The candidates, best first: the order counts."""
    return found["candidates"] if list(found["candidates"]) == list(wanted) else list(found["candidates"])


def _never(found: Mapping[str, Any], families: list[str], _: Case) -> list[str]:
    codes = [*found["suggests"], *found["candidates"]]
    return [family for family in families if not any(code.startswith(family) for code in codes)]


def _flags(found: Mapping[str, Any], wanted: Any, _: Case) -> Any:
    """Flags by name, or by name with the severity."""
    if isinstance(wanted, Mapping):
        return {flag: found["flags"].get(flag, "not raised") for flag in wanted}
    return _named(found["flags"], wanted)


EXPECTATIONS: dict[str, Callable[[Mapping[str, Any], Any, Case], Any]] = {
    "suggests": lambda found, wanted, case: found["suggests"],
    "candidates": _candidates_in_order,
    "among-candidates": lambda found, wanted, case: {code: found["candidates"].get(code, "no candidate") for code in wanted},
    "never": _never,
    "asks": lambda found, wanted, case: _named(found["asks"], wanted),
    "not-asks": lambda found, unwanted, case: _without(found["asks"], unwanted),
    "flags": _flags,
    "not-flags": lambda found, unwanted, case: _without(found["flags"], unwanted),
    "disposition": lambda found, wanted, case: found["disposition"],
    "outcome": lambda found, wanted, case: found["hits"].get(case.rule, "silent"),
    "quotes": lambda found, wanted, case: [words for words in wanted if any(words in quote for quote in found["quotes"])],
}


def _told(case: Case, wrong: list[str], found: Mapping[str, Any]) -> str:
    """What a coder reads who sees the case fail."""
    expected = "".join(f"\n  {key}: {case.page[key]}" for key in wrong if key in case.page)
    return f"{case.path}, case {case.page['case']!r}: not as expected: {', '.join(wrong)}{expected}\nfound" + "".join(f"\n  {key}: {value}" for key, value in found.items())


# --- from the coder's words to FHIR -------------------------------------------------------------------------------


def answered(case: Case, assist: Assist) -> Answer:
    """What the service answers to the record of a case, through the same door as a caller of the operations."""
    return replace_payer(assist, case.page.get("payer")).answer(_request(case.page))


def replace_payer(assist: Assist, payer: Mapping[str, Any] | None) -> Assist:
    if not payer:
        return assist
    policies = tuple(PayerPolicy(p["id"], p["says"], tuple(p.get("coverage", ())), tuple(p.get("procedures", ())), tuple(p.get("first-diagnosis", ()))) for p in payer.get("policies", ()))
    return replace(assist, policies=policies, manipulation_codes=frozenset(payer.get("manipulation-procedures", ())), wants_care=payer.get("conservative-care") is True)


def _request(page: Mapping[str, Any]) -> Request:
    setting = page.get("setting", "charting")
    request = open_envelope({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in page["bundle"]]} if "bundle" in page else _parameters(page), setting)
    orders = [Entry({"resourceType": "ServiceRequest", "code": {"text": page["order"]}}, "ServiceRequest/o1")] if "order" in page else []
    return replace(request, orders=orders, hook=page.get("hook", ""))


def _parameters(page: Mapping[str, Any]) -> dict[str, Any]:
    given = [page, *page.get("conditions", ())] if CONDITION_KEYS & set(page) else page.get("conditions", ())
    parts = [{"name": "condition", "resource": _condition(entry, number)} for number, entry in enumerate(given, 1)]
    reports = page.get("report", [])
    for number, entry in enumerate([reports] if isinstance(reports, str | Mapping) else reports, 1):
        parts.append({"name": "diagnosticReport", "resource": _report({"text": entry} if isinstance(entry, str) else entry, number)})
    if "encounter" in page:
        parts.append({"name": "encounter", "resource": _encounter(page["encounter"])})
    if "claim" in page:
        parts.append({"name": "claim", "resource": _claim(page["claim"], len(given))})
    if "coverage" in page:
        parts.append({"name": "coverage", "resource": _coverage(page["coverage"])})
    date = page.get("date", DATE_OF_SERVICE)
    return {"resourceType": "Parameters", "parameter": [*parts, *([{"name": "dateOfService", "valueDate": date}] if date != "not given" else [])]}


def _condition(entry: Mapping[str, Any], number: int) -> dict[str, Any]:
    verification, clinical = entry.get("verification", "confirmed"), entry.get("clinical", "active")
    condition: dict[str, Any] = {
        "resourceType": "Condition",
        "id": f"c{number}",
        "subject": {"reference": PATIENT},
        "verificationStatus": _concept("condition-ver-status", verification),
        "category": [_concept("condition-category", entry.get("category", "encounter-diagnosis"))],
    }
    if verification != "entered-in-error":
        condition["clinicalStatus"] = _concept("condition-clinical", clinical)
    code = _code(entry)
    if code:
        condition["code"] = code
    if "site" in entry:
        condition["bodySite"] = [{"text": entry["site"]}]
    if "note" in entry:
        notes = entry["note"] if isinstance(entry["note"], list) else [entry["note"]]
        condition["note"] = [{"text": note} if isinstance(note, str) else {"authorString": note["by"], "text": note["text"]} for note in notes]
    return condition


def _code(entry: Mapping[str, Any]) -> dict[str, Any]:
    code: dict[str, Any] = {"text": entry["text"]} if "text" in entry else {}
    codings = []
    if "code" in entry:
        codings.append({"system": entry.get("system", ICD_10_CM), "code": entry["code"]})
        codings[0].update({"display": entry["display"]} if "display" in entry else {})
        codings[0].update({"userSelected": True} if entry.get("chosen") else {})
    if "snomed" in entry:
        codings.append({"system": SNOMED_CT, "code": entry["snomed"]})
    return {**code, **({"coding": codings} if codings else {})}


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": HL7 + system, "code": code}]}


def _report(entry: Mapping[str, Any], number: int) -> dict[str, Any]:
    unknown = set(entry) - REPORT_KEYS
    assert not unknown, f"a report knows {', '.join(sorted(REPORT_KEYS))}, not {sorted(unknown)[0]!r}"
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": f"r{number}",
        "status": entry.get("status", "final"),
        "code": {"text": entry.get("title", "MRI")},
        "subject": {"reference": entry.get("patient", PATIENT)},
        "effectiveDateTime": entry.get("date", "2026-06-03"),
    }
    if report["effectiveDateTime"] == "not given":
        del report["effectiveDateTime"]
    if "text" in entry:
        report["conclusion"] = entry["text"]
    if "encounter" in entry:
        report["encounter"] = {"reference": entry["encounter"]}
    if "pdf" in entry:
        report["presentedForm"] = [{"contentType": "application/pdf", "data": entry["pdf"]}]
    return report


def _encounter(given: str | Mapping[str, Any]) -> dict[str, Any]:
    entry = {"class": given} if isinstance(given, str) else given
    encounter: dict[str, Any] = {"resourceType": "Encounter", "id": "e1", "status": entry.get("status", "in-progress"), "class": {"system": HL7 + "v3-ActCode", "code": entry["class"]}}
    period = {key: entry[key] for key in ("start", "end") if key in entry}
    return {**encounter, **({"period": period} if period else {})}


def _claim(entry: Mapping[str, Any], conditions: int) -> dict[str, Any]:
    diagnoses = entry.get("diagnoses", range(1, conditions + 1))
    claim = {
        "resourceType": "Claim",
        "id": "k1",
        "status": "active",
        "use": "claim",
        "type": _concept("claim-type", entry.get("type", "professional")),
        "patient": {"reference": PATIENT},
        "created": "2026-06-11",
        "provider": {"reference": "Organization/o1"},
        "priority": _concept("processpriority", "normal"),
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/v1"}}],
        "diagnosis": [{"sequence": place, "diagnosisReference": {"reference": f"Condition/c{number}"}} for place, number in enumerate(diagnoses, 1)],
        "item": [_line(line, number) for number, line in enumerate(entry.get("lines", ()), 1)],
    }
    return {key: value for key, value in claim.items() if value != []}


def _line(line: Mapping[str, Any], number: int) -> dict[str, Any]:
    product: dict[str, Any] = {"text": line.get("does", "Office visit")}
    if "procedure" in line:
        product["coding"] = [{"system": "https://clinic.example/procedures", "code": line["procedure"]}]
    item: dict[str, Any] = {"sequence": number, "productOrService": product}
    return {**item, **({"diagnosisSequence": line["for"]} if line.get("for") else {})}


def _coverage(payer: str) -> dict[str, Any]:
    return {"resourceType": "Coverage", "id": "v1", "status": "active", "beneficiary": {"reference": PATIENT}, "type": {"text": payer}, "payor": [{"display": payer}]}
