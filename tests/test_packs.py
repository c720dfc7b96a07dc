"""The cases beside each pack, the strictness of the loader, and a family that is data alone.

A case is written by a coder, in YAML, beside the rule that it proves (terminology/README.md says how). Its id begins
with the rule: `pytest -k tissue-is-stated` runs what proves that rule.
"""

from __future__ import annotations

import gc
import re
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
from service.coding.lexicon import Lexicon, load_lexicon
from service.coding.model import Evidence, Rule
from service.coding.packs import SETTINGS, Terminology, load_packs
from service.coding.yaml_strict import load_yaml
from service.envelope import open_envelope
from service.record import Entry, Request
from service.settings import Settings
from service.shipped import terminology_dir

PACKS = terminology_dir() / "packs"
PATIENT = "Patient/p1"
ICD_10_CM, SNOMED_CT = "http://hl7.org/fhir/sid/icd-10-cm", "http://snomed.info/sct"
HL7 = "http://terminology.hl7.org/CodeSystem/"

# --- the cases: what a coder may write (terminology/README.md) ----------------------------------------------------

CONDITION_KEYS = frozenset(
    {"text", "code", "display", "system", "snomed", "chosen", "site", "note", "verification", "clinical", "category"}
)
RECORD_KEYS = CONDITION_KEYS | {
    "conditions",
    "report",
    "encounter",
    "setting",
    "date",
    "hook",
    "order",
    "claim",
    "coverage",
    "payer",
    "bundle",
}
EXPECTATION_KEYS = frozenset(
    {
        "suggests",
        "candidates",
        "among-candidates",
        "never",
        "asks",
        "not-asks",
        "flags",
        "not-flags",
        "disposition",
        "outcome",
        "quotes",
    }
)
REPORT_KEYS = frozenset({"text", "title", "date", "status", "patient", "encounter", "pdf"})
PART_KEYS = {  # what the parts of a record know
    "conditions": CONDITION_KEYS,
    "note": frozenset({"by", "text"}),
    "report": REPORT_KEYS,
    "encounter": frozenset({"class", "status", "start", "end"}),
    "claim": frozenset({"type", "diagnoses", "lines"}),
    "payer": frozenset({"policies", "manipulation-procedures", "conservative-care"}),
}
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
    assert page.get("proves") == path.stem, (
        f"{path}: proves {page.get('proves')!r}. The file bears the name of the rule that it proves."
    )
    for key in ("holds", "does-not-hold"):
        for entry in page.get(key) or ():
            for where, stranger in _unknown(entry):
                raise AssertionError(
                    f"{path}, case {entry.get('case')!r}: {where}unknown key {stranger!r}. See README.md."
                )
            assert set(entry) & EXPECTATION_KEYS, (
                f"{path}, case {entry.get('case')!r}: expects nothing. Say what follows."
            )
            yield Case(path, path.stem, key == "holds", entry)


def _unknown(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that a case does not know, with the part of the record that they stand in."""
    yield from (("", key) for key in set(entry) - RECORD_KEYS - EXPECTATION_KEYS - {"case"})
    for part, known in PART_KEYS.items():
        inside = entry.get(part, ())
        for one in inside if isinstance(inside, list) else [inside]:
            yield from ((f"{part}: ", key) for key in set(one) - known if isinstance(one, Mapping))


CASES = [case for path in case_files() for case in read_cases(path)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case, assist: Assist) -> None:
    answer = answered(case, assist)
    found = _found(answer)
    wrong = [
        key
        for key in case.page
        if key in EXPECTATIONS and EXPECTATIONS[key](found, case.page[key], case) != case.page[key]
    ]
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


WORDS = [*SETTINGS, *RECORD_KEYS, *EXPECTATION_KEYS, *(key for known in PART_KEYS.values() for key in known)]


@pytest.mark.parametrize("word", dict.fromkeys(sorted(WORDS)))
def test_the_readme_tells_each_kind_of_rule_and_each_key_of_a_case(word: str) -> None:
    told = (terminology_dir() / "README.md").read_text("utf-8")
    assert re.search(rf"`[^`\n]*\b{re.escape(word)}\b[^`\n]*`", told), f"terminology/README.md does not tell `{word}`"


# --- a rule at work -----------------------------------------------------------------------------------------------


def at_work(rule_id: str, pack_id: str, answer: Answer, terminology: Terminology) -> bool:
    """Whether the rule does what it says in this record (terminology/README.md: what `holds` means)."""
    rule = terminology.rule(rule_id)
    assert rule is not None
    by_kind: dict[str, Callable[[], bool]] = {
        "requires": lambda: any(hit.outcome == "met" for hit in _hits(answer, rule_id)),
        "names-code": lambda: any(
            code in _codes_of(pack_id, terminology) and rule_id in rules for code, rules in _suggested(answer)
        ),
        "notes": lambda: any(rule.says in s.notes for one in answer.judged for s in one.assessment.suggestions),
        "default": lambda: bool(_candidates(answer) & _table_codes(rule, terminology)),
        "companions": lambda: bool(_candidates(answer) & _table_codes(rule, terminology)),
    }
    raised = {issue.rule for issue in answer.issues} | {
        hit.rule.id for one in answer.judged for hit in one.assessment.hits
    }
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
        "hits": {hit.rule.id: hit.outcome for a in assessments for hit in a.hits}
        | {issue.rule: "conflict" for issue in answer.issues},
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
    "among-candidates": lambda found, wanted, case: {
        code: found["candidates"].get(code, "no candidate") for code in wanted
    },
    "never": _never,
    "asks": lambda found, wanted, case: _named(found["asks"], wanted),
    "not-asks": lambda found, unwanted, case: _without(found["asks"], unwanted),
    "flags": _flags,
    "not-flags": lambda found, unwanted, case: _without(found["flags"], unwanted),
    "disposition": lambda found, wanted, case: found["disposition"],
    "outcome": lambda found, wanted, case: found["hits"].get(case.rule, "silent"),
    "quotes": lambda found, wanted, case: [
        words for words in wanted if any(words in quote for quote in found["quotes"])
    ],
}


def _told(case: Case, wrong: list[str], found: Mapping[str, Any]) -> str:
    """What a coder reads who sees the case fail."""
    expected = "".join(f"\n  {key}: {case.page[key]}" for key in wrong if key in case.page)
    return f"{case.path}, case {case.page['case']!r}: not as expected: {', '.join(wrong)}{expected}\nfound" + "".join(
        f"\n  {key}: {value}" for key, value in found.items()
    )


# --- from the coder's words to FHIR -------------------------------------------------------------------------------


def answered(case: Case, assist: Assist) -> Answer:
    """What the service answers to the record of a case, through the same door as a caller of the operations."""
    return replace_payer(assist, case.page.get("payer")).answer(_request(case.page))


def replace_payer(assist: Assist, payer: Mapping[str, Any] | None) -> Assist:
    if not payer:
        return assist
    policies = tuple(
        PayerPolicy(
            p["id"],
            p["says"],
            tuple(p.get("coverage", ())),
            tuple(p.get("procedures", ())),
            tuple(p.get("first-diagnosis", ())),
            tuple(p.get("qualifications", ())),
        )
        for p in payer.get("policies", ())
    )
    return replace(
        assist,
        policies=policies,
        manipulation_codes=frozenset(payer.get("manipulation-procedures", ())),
        wants_care=payer.get("conservative-care") is True,
    )


def _request(page: Mapping[str, Any]) -> Request:
    setting = page.get("setting", "charting")
    request = open_envelope(
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in page["bundle"]]}
        if "bundle" in page
        else _parameters(page),
        setting,
    )
    orders = (
        [Entry({"resourceType": "ServiceRequest", "code": {"text": page["order"]}}, "ServiceRequest/o1")]
        if "order" in page
        else []
    )
    return replace(request, orders=orders, hook=page.get("hook", ""))


def _parameters(page: Mapping[str, Any]) -> dict[str, Any]:
    given = [page, *page.get("conditions", ())] if CONDITION_KEYS & set(page) else page.get("conditions", ())
    parts = [{"name": "condition", "resource": _condition(entry, number)} for number, entry in enumerate(given, 1)]
    reports = page.get("report", [])
    for number, entry in enumerate([reports] if isinstance(reports, str | Mapping) else reports, 1):
        parts.append(
            {
                "name": "diagnosticReport",
                "resource": _report({"text": entry} if isinstance(entry, str) else entry, number),
            }
        )
    if "encounter" in page:
        parts.append({"name": "encounter", "resource": _encounter(page["encounter"])})
    if "claim" in page:
        parts.append({"name": "claim", "resource": _claim(page["claim"], len(given))})
    if "coverage" in page:
        parts.append({"name": "coverage", "resource": _coverage(page["coverage"])})
    date = page.get("date", DATE_OF_SERVICE)
    return {
        "resourceType": "Parameters",
        "parameter": [*parts, *([{"name": "dateOfService", "valueDate": date}] if date != "not given" else [])],
    }


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
        condition["note"] = [
            {"text": note} if isinstance(note, str) else {"authorString": note["by"], "text": note["text"]}
            for note in notes
        ]
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
    encounter: dict[str, Any] = {
        "resourceType": "Encounter",
        "id": "e1",
        "status": entry.get("status", "in-progress"),
        "class": {"system": HL7 + "v3-ActCode", "code": entry["class"]},
    }
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
        "diagnosis": [
            {"sequence": place, "diagnosisReference": {"reference": f"Condition/c{number}"}}
            for place, number in enumerate(diagnoses, 1)
        ],
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
    return {
        "resourceType": "Coverage",
        "id": "v1",
        "status": "active",
        "beneficiary": {"reference": PATIENT},
        "type": {"text": payer},
        "payor": [{"display": payer}],
    }


# --- severities: POLICY section 5, written out by hand ------------------------------------------------------------

SEVERITIES = {  # as the policy writes them: while charting / before a claim
    "doc.narrowing-missing": "W/W",
    "doc.space-missing": "W/W",
    "doc.tissue-missing": "W/W",
    "doc.region-missing": "W/W",
    "doc.framing-missing": "W/W",
    "doc.tissue-mixed": "W/E",
    "doc.tissue-conflict": "W/E",
    "doc.region-conflict": "W/E",
    "doc.code-text-mismatch": "W/E",
    "doc.tissue-unsupported": "W/E",
    "doc.foramen-not-canal": "I/I",
    "doc.classified-elsewhere": "W/W",
    "doc.uncertain-outpatient": "I/E",
    "doc.uncertain-not-discharge": "I/E",
    "doc.provider-statement-missing": "I/E",
    "doc.imaging-missing": "I/W",
    "doc.function-missing": "I/W",
    "doc.care-missing": "I/W",
    "code.unknown": "E/E",
    "code.not-billable": "E/E",
    "code.seventh-character": "E/E",
    "code.not-valid-on-dos": "E/E",
    "code.manifestation-first": "E/E",
    "code.excludes1": "W/E",
    "code.unspecified-though-documented": "W/W",
    "code.display-mismatch": "W/E",
    "code.system-not-icd10cm": "I/I",
    "claim.diagnosis-pointer": "-/E",
    "claim.diagnosis-not-sent": "-/E",
    "claim.diagnosis-not-coded": "-/E",
    "claim.diagnosis-of-another": "-/E",
    "code.form": "I/W",
    "claim.external-cause-first": "-/E",
    "claim.diagnosis-sequence": "-/E",
    "cond.code-missing": "I/W",
    "cond.refuted": "-/E",
    "cond.entered-in-error": "-/E",
    "cond.unconfirmed": "W/E",
    "cond.resolved": "I/W",
    "cond.duplicate": "I/W",
    "evidence.modality-unfit": "I/W",
    "evidence.report-not-final": "I/W",
    "evidence.subject-mismatch": "I/W",
    "evidence.report-undated": "I/W",
    "dos.not-covered": "-/W",
    "safety.manipulation-contraindication": "W/W",
    "payer.policy-check": "-/W",
    # POLICY says -/E. CONTRACT, which the world sees, says information while charting.
    "dos.missing": "I/E",
    # Not in POLICY: CONTRACT, "unreadable attachment ...: assessed with what is there, and the flag"; FHIR isModifier.
    "evidence.unreadable": "I/W",
    "record.modifier-extension": "W/W",
    # QUERIES Q0: a form that fails the check is not sent, and the answer says so.
    "query.withheld": "I/I",
}
GRADED = {  # where the record tells more: a code of the families stands, a canal code for a foramen, two unrelated
    ("doc.narrowing-missing", "on-code"): "W/E",
    ("doc.space-missing", "on-code"): "W/E",
    ("doc.tissue-missing", "on-code"): "W/E",
    ("doc.region-missing", "on-code"): "W/E",
    ("doc.framing-missing", "on-code"): "W/E",
    ("doc.foramen-not-canal", "on-code"): "W/E",
    ("code.excludes1", "unrelated"): "W/W",
}
GRADED_BEFORE_A_CLAIM = {
    ("doc.provider-statement-missing", "claim-of-imaging"): "W",
    ("payer.policy-check", "order-broken"): "E",
}
LETTERS = {"information": "I", "warning": "W", "error": "E", None: "-"}


def severities(flag: str, grade: str, terminology: Terminology) -> str:
    shown = terminology.flags[flag]
    return f"{LETTERS[shown.severity('charting', grade)]}/{LETTERS[shown.severity('claim', grade)]}"


@pytest.mark.parametrize("flag", SEVERITIES)
def test_a_flag_is_as_severe_as_the_policy_says(flag: str, terminology: Terminology) -> None:
    assert severities(flag, "", terminology) == SEVERITIES[flag]


@pytest.mark.parametrize(("flag", "grade"), GRADED)
def test_a_flag_is_graded_as_the_policy_says(flag: str, grade: str, terminology: Terminology) -> None:
    assert severities(flag, grade, terminology) == GRADED[flag, grade]


@pytest.mark.parametrize(("flag", "grade"), GRADED_BEFORE_A_CLAIM)
def test_before_a_claim_a_flag_is_graded_as_the_policy_says(flag: str, grade: str, terminology: Terminology) -> None:
    assert severities(flag, grade, terminology)[-1] == GRADED_BEFORE_A_CLAIM[flag, grade]


def test_there_is_no_other_flag_than_those_of_the_policy(terminology: Terminology) -> None:
    assert set(terminology.flags) == set(SEVERITIES)


# --- a wrong pack is refused with file, place and remedy ----------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What a coder might write by mistake, and what the message must name beside the file."""

    page: str
    written: str
    instead_of: str
    told: tuple[str, ...]


M99_4, M99_3 = "m99.4/pack.yaml", "m99.3/pack.yaml"
NARROWING = """\
    kind: requires
    element: narrowing
    strength: required
    flag: doc.narrowing-missing
    in_force_from: "2015-10-01"
    cites: [icd-10-cm-tabular-m99, reference-page-m99-40]
"""
IN_NARROWING = "rule 'narrowing-is-stated'"
CODES = "codes: {head: M99.40, cervical: M99.41,"
FAULTS = {
    "an unknown key": Fault(
        M99_4, NARROWING + "    elemnt: narrowing\n", NARROWING, (IN_NARROWING, "'elemnt'", "Allowed:", "element")
    ),
    "a rule that cites nothing": Fault(
        M99_4,
        NARROWING.replace("    cites: [icd-10-cm-tabular-m99, reference-page-m99-40]\n", ""),
        NARROWING,
        (IN_NARROWING, "cites nothing", "Name what the rule rests on"),
    ),
    "an empty list of citations": Fault(
        M99_4,
        NARROWING.replace("[icd-10-cm-tabular-m99, reference-page-m99-40]", "[]"),
        NARROWING,
        (IN_NARROWING, "cites nothing", "Name what the rule rests on"),
    ),
    "a citation that is not there": Fault(
        M99_4,
        NARROWING.replace("[icd-10-cm-tabular-m99,", "[tabular-26,"),
        NARROWING,
        (IN_NARROWING, "'tabular-26'", "not under citations. Add it there."),
    ),
    "an unknown kind": Fault(
        M99_4,
        NARROWING.replace("kind: requires", "kind: demands"),
        NARROWING,
        (IN_NARROWING, "'demands'", "Allowed:", "requires"),
    ),
    "an unknown value": Fault(
        M99_4,
        NARROWING.replace("strength: required", "strength: mandatory"),
        NARROWING,
        (IN_NARROWING, "'mandatory'", "Allowed: required, supporting"),
    ),
    "an unknown element": Fault(
        M99_4,
        NARROWING.replace("element: narrowing", "element: narrowness"),
        NARROWING,
        (IN_NARROWING, "'narrowness'", "Allowed:", "narrowing"),
    ),
    "an end before the beginning": Fault(
        M99_4,
        NARROWING + '    in_force_until: "2014-09-30"\n',
        NARROWING,
        (IN_NARROWING, "ends before it begins", "Correct the dates"),
    ),
    "a date that is not quoted": Fault(
        M99_4, NARROWING.replace('"2015-10-01"', "2015-10-01"), NARROWING, (IN_NARROWING, "in_force_from", "quoted")
    ),
    "a date that is none": Fault(
        M99_4,
        NARROWING.replace('"2015-10-01"', '"October 2015"'),
        NARROWING,
        (IN_NARROWING, "in_force_from", 'Write it as "2015-10-01", quoted'),
    ),
    "a flag that flags.yaml lacks": Fault(
        M99_4,
        NARROWING.replace("doc.narrowing-missing", "doc.narrowing-mising"),
        NARROWING,
        (IN_NARROWING, "'doc.narrowing-mising'", "flags.yaml", "correct it"),
    ),
    "a rule without what its kind needs": Fault(
        M99_4, NARROWING.replace("    element: narrowing\n", ""), NARROWING, (IN_NARROWING, "`element`")
    ),
    "a redirect that does not say when": Fault(
        M99_4, "", "    when: {framing: [chiari]}\n", ("rule 'chiari-is-elsewhere'", "`when`")
    ),
    "a check that is not named": Fault(
        M99_4,
        "kind: validates, flag: code.unknown",
        "kind: validates, check: unknown, flag: code.unknown",
        ("rule 'code-is-known'", "`check`"),
    ),
    "a rule twice for the same dates": Fault(
        M99_4,
        "rules:\n  - id: space-is-stated\n    says: Twice.\n" + NARROWING,
        "rules:\n",
        ("rule 'space-is-stated'", "stands twice for the same dates", "End one before the other begins"),
    ),
    "a rule without its sentence": Fault(
        M99_4,
        "    # says: A narrowing of",
        "    says: A narrowing of",
        (IN_NARROWING, "`says`", "Add it"),
    ),
    "a code that no release has": Fault(
        M99_4, CODES.replace("M99.41", "M99.4B"), CODES, ("rule 'region-names-the-code'", "M99.4B", "Correct it")
    ),
    "a code of another family": Fault(M99_3, "cervical: M99.41", "cervical: M99.31", ("M99.41", "M99.3", "Correct it")),
    "a code that YAML reads as a number": Fault(
        M99_4, CODES.replace("M99.40", "99.40"), CODES, ("rule 'region-names-the-code'", "99.4", "Correct it")
    ),
    "a region that is none": Fault(
        M99_4, CODES.replace("cervical", "neck"), CODES, ("rule 'region-names-the-code'", "'neck'", "Correct it")
    ),
    "a region without a code": Fault(M99_3, "", "cervical: M99.31, ", ("rule 'region-names-the-code'", "cervical")),
    "a table with a code that no release has": Fault(
        M99_4,
        "cervical: M48.92, thoracic: M48.04",
        "cervical: M48.02, thoracic: M48.04",
        ("table 'M48.0-'", "M48.92", "Correct the code"),
    ),
    "a redirect to a table that is not there": Fault(
        M99_4, "to: [Q07.99]", "to: [Q07.00]", ("rule 'chiari-is-elsewhere'", "'Q07.99'", "Add it there")
    ),
    "an unknown process": Fault(
        M99_4,
        "framing: [chiarri]",
        "framing: [chiari]",
        ("rule 'chiari-is-elsewhere'", "'chiarri'", "Allowed:", "chiari"),
    ),
    "an element without a question": Fault(
        M99_4,
        "  # care: {label:",
        "  care: {label:",
        ("element 'care'", "has no question", "Add label and asks"),
    ),
    "an element with half a question": Fault(
        M99_4,
        "# asks: ",
        'asks: "Which anatomical space does {finding} concern?"',
        ("element 'space'", "asks"),
    ),
    "a region that no question offers": Fault(
        M99_4, "", "      pelvic: Pelvic region\n", ("element 'region'", "options are exactly", "Correct them")
    ),
    "an answer that is no process of the lexicon": Fault(
        M99_4,
        "      worn: Degenerative",
        "      degenerative: Degenerative",
        ("element 'framing'", "'worn'", "no framing"),
    ),
    "a redirect on something else than process and tissue": Fault(
        M99_4,
        "when: {tisue: [scar]}",
        "when: {framing: [after-surgery], tissue: [scar]}",
        ("tisue", "Allowed: framing, tissue"),
    ),
    "a citation without its address": Fault(
        M99_4,
        "",
        "    url: https://www.stedi.com/changelog\n",
        ("citation 'medicare-cmt-edit'", "`url`", "Say what was read, where and when"),
    ),
    "an unknown key of the pack": Fault(
        M99_3, "tisues: [osseous]", "tissues: [osseous]", ("'tisues'", "Allowed:", "tissues")
    ),
    "a tissue that is none": Fault(
        M99_3, "tissues: [bone]", "tissues: [osseous]", ("tissues are of", "osseous", "Correct them")
    ),
    "a version that YAML reads as a number": Fault(M99_3, "version: 2027.1", 'version: "2027.1"', ("version", "quote")),
    "a pack that extends none": Fault(M99_3, "extends: m99.9", "extends: m99.4", ("'m99.9'", "Name one of", "m99.4")),
    "a key twice": Fault(
        M99_4,
        NARROWING.replace("    element: narrowing\n", "    element: narrowing\n    element: space\n"),
        NARROWING,
        ("line ", "'element'", "stands twice", "Keep one of them"),
    ),
    "a key that YAML reads as true": Fault(
        M99_4, NARROWING + '    on: "2015-10-01"\n', NARROWING, ("line ", "'on'", "Quote it")
    ),
    "a region that YAML reads as false": Fault(
        M99_4, CODES.replace("head:", "no:"), CODES, ("line ", "'no'", "Quote it")
    ),
    "a key that YAML reads as a number": Fault(
        M99_4,
        "  99.40: {title: x, section: x, url: x, read: x}\n  ahima-acdis-2022:\n",
        "  ahima-acdis-2022:\n",
        ("line ", "'99.40'", "Quote it"),
    ),
    "a bracket that is not closed": Fault(
        M99_3, "tissues: [osseous", "tissues: [osseous]", ("line ", "not readable as YAML", "Correct that line")
    ),
}


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    """A coder's copy of the packs."""
    return Path(shutil.copytree(PACKS, tmp_path / "packs", ignore=shutil.ignore_patterns("cases")))


def write(path: Path, written: str, instead_of: str) -> None:
    page = path.read_text("utf-8")
    assert instead_of in page, f"{path} no longer says {instead_of!r}"
    path.write_text(page.replace(instead_of, written, 1), "utf-8")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_wrong_pack_is_refused_with_file_place_and_remedy(
    fault: Fault, packs: Path, terminology: Terminology
) -> None:
    write(packs / fault.page, fault.written, fault.instead_of)
    with pytest.raises(PackError) as refused:
        load_packs(packs, terminology.flags, terminology.icd10cm, terminology.lexicon)
    assert [part for part in (str(packs / fault.page), *fault.told) if part not in str(refused.value)] == [], str(
        refused.value
    )


def test_a_code_belongs_to_one_pack(packs: Path, terminology: Terminology) -> None:
    shutil.copytree(packs / "m99.3", packs / "m99.3-again")
    write(packs / "m99.3-again" / "pack.yaml", "pack: m99.3-again", "pack: m99.3")
    with pytest.raises(
        PackError, match=r"M99\.30 is named by packs m99\.3 and m99\.3-again\. A code belongs to one pack\."
    ):
        load_packs(packs, terminology.flags, terminology.icd10cm, terminology.lexicon)


def test_two_packs_bear_two_names(packs: Path, terminology: Terminology) -> None:
    shutil.copytree(packs / "m99.3", packs / "m99.3-again")
    with pytest.raises(PackError, match=r"m99\.3"):
        load_packs(packs, terminology.flags, terminology.icd10cm, terminology.lexicon)


def test_a_rule_may_stand_twice_for_dates_that_do_not_overlap(packs: Path, terminology: Terminology) -> None:
    until = (
        NARROWING
        + '    in_force_until: "2026-09-30"\n  - id: narrowing-is-stated\n    says: As of October 2026.\n'
        + NARROWING.replace('"2015-10-01"', '"2026-10-01"')
    )
    write(packs / M99_4, until, NARROWING)
    loaded = load_packs(packs, terminology.flags, terminology.icd10cm, terminology.lexicon)
    says = [
        rule.says
        for day in ("2026-09-30", "2026-10-01")
        for rule in loaded[0].of_kind("requires", day)
        if rule.id == "narrowing-is-stated"
    ]
    assert says == [
        "A narrowing of the neural canal or of an intervertebral foramen is stated and affirmed for this patient.",
        "As of October 2026.",
    ]


def test_a_folder_without_packs_is_refused(tmp_path: Path, terminology: Terminology) -> None:
    with pytest.raises(PackError, match=r"holds no pack\. A family is a folder with a pack\.yaml in it\."):
        load_packs(tmp_path, terminology.flags, terminology.icd10cm, terminology.lexicon)


TISSUE_YAML = "sources: [made up]\nconcepts:\n  - {kind: tissue, value: connective, terms: [ligament]}\n"
LEXICON_FAULTS = {
    "an unknown kind": (
        TISSUE_YAML.replace("kind: tissue", "kind: tisue"),
        ("'tisue: connective'", "unknown kind", "Allowed:", "tissue"),
    ),
    "an unknown key": (
        TISSUE_YAML.replace("terms:", "anatmy: true, terms:"),
        ("'tissue: connective'", "'anatmy'", "Allowed:", "anatomy"),
    ),
    "no source": (TISSUE_YAML.replace("sources: [made up]\n", ""), ("`sources`", "Name what the terms rest on")),
    "a word that YAML reads as false": (
        TISSUE_YAML.replace("[ligament]", "[ligament, no]"),
        ("'tissue: connective'", "Quote words such as"),
    ),
    "a number that is not quoted": (
        TISSUE_YAML.replace("[ligament]", "[2]"),
        ("'tissue: connective'", "every term must be text", "Quote"),
    ),
    "a concept without terms": (TISSUE_YAML.replace("[ligament]", "[]"), ("'tissue: connective'", "term")),
    "a term twice in one concept": (
        TISSUE_YAML.replace("[ligament]", "[yellow ligament, disc, Yellow-Ligament]"),
        ("'tissue: connective'", "'Yellow-Ligament' stands twice", "Keep one of them"),
    ),
    "a key twice in one page": (
        TISSUE_YAML.replace("concepts:", "concepts: []\nconcepts:"),
        ("line ", "'concepts'", "stands twice", "Keep one of them"),
    ),
}


@pytest.mark.parametrize(("page", "told"), LEXICON_FAULTS.values(), ids=LEXICON_FAULTS)
def test_a_wrong_lexicon_is_refused_with_file_place_and_remedy(
    page: str, told: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "site.yaml").write_text(page, "utf-8")
    with pytest.raises(PackError) as refused:
        load_lexicon(tmp_path)
    assert [part for part in (str(tmp_path / "site.yaml"), *told) if part not in str(refused.value)] == [], str(
        refused.value
    )


# --- a whole folder: start-up, and a family that is data alone ----------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A coder's copy of the whole terminology."""
    return Path(shutil.copytree(terminology_dir(), tmp_path / "terminology", ignore=shutil.ignore_patterns("cases")))


def test_a_wrong_pack_stops_the_service_at_start_up(folder: Path) -> None:
    write(folder / "packs" / M99_4, NARROWING.replace("kind: requires", "kind: demands"), NARROWING)
    with pytest.raises(PackError, match=r"m99\.4/pack\.yaml, rule 'narrowing-is-stated': unknown kind 'demands'"):
        create_app(Settings(terminology=folder))


def test_a_wrong_flag_stops_the_service_at_start_up(folder: Path) -> None:
    write(folder / "flags.yaml", "code.unknown: {charting: fatal,", "code.unknown: {charting: error,")
    with pytest.raises(
        PackError,
        match=r"flags\.yaml, flag 'code\.unknown': give charting and claim one of information, warning, error",
    ):
        create_app(Settings(terminology=folder))


SEVENTH_FAMILY = """\
# A made-up family on real codes: M99.8- has the ten regions and no family of ours.
pack: m99.8
extends: m99.4
version: "2027.1"
title: Adipose stenosis of neural canal
family: M99.8
space: canal
tissues: [adipose]
tissue_names:
  adipose: {is: fatty tissue, option: Fatty tissue}
rules:
  - id: region-names-the-code
    says: The fifth character stands for the region.
    kind: names-code
    by: region
    codes:
      head: M99.80
      cervical: M99.81
      thoracic: M99.82
      lumbar: M99.83
      sacral: M99.84
      pelvic: M99.85
      lower-extremity: M99.86
      upper-extremity: M99.87
      rib-cage: M99.88
      abdomen-other: M99.89
    in_force_from: "2015-10-01"
    cites: [icd-10-cm-tabular-m99]
"""
ADIPOSE = """\
sources: [made up for a test]
concepts:
  - {kind: tissue, value: adipose, modifier: true, own-words: true, terms: [adipose]}
"""


@pytest.fixture
def with_a_seventh_family(folder: Path) -> Assist:
    (folder / "packs" / "m99.8").mkdir()
    (folder / "packs" / "m99.8" / "pack.yaml").write_text(SEVENTH_FAMILY, "utf-8")
    (folder / "lexicon" / "adipose.yaml").write_text(ADIPOSE, "utf-8")
    return load_assist(folder)


def told(assist: Assist, **page: Any) -> dict[str, Any]:
    return _found(assist.answer(_request(page)))


def test_a_family_that_is_data_alone_works(with_a_seventh_family: Assist) -> None:
    """A new tissue, its words and its codes: three YAML edits and no Python."""
    stated = told(with_a_seventh_family, text="Adipose stenosis of neural canal of lumbar region")
    without_region = told(with_a_seventh_family, text="Adipose stenosis of neural canal")
    elsewhere = told(
        with_a_seventh_family, code="M99.83", text="Connective tissue stenosis of neural canal of lumbar region"
    )
    assert (stated["suggests"], without_region["asks"][:1], elsewhere["suggests"]) == (
        ["M99.83"],
        ["region"],
        ["M99.43"],
    )
    assert "doc.code-text-mismatch" in elsewhere["flags"]


def test_a_family_may_take_over_a_tissue_by_data_alone(folder: Path) -> None:
    """Should the Tabular List part M99.7- into ligament and disc: a folder more and one word less."""
    page = (
        SEVENTH_FAMILY.replace("Adipose stenosis of neural canal", "Disc stenosis of intervertebral foramina")
        .replace("space: canal", "space: foramen")
        .replace("[adipose]", "[disc]")
    )
    (folder / "packs" / "m99.8").mkdir()
    (folder / "packs" / "m99.8" / "pack.yaml").write_text(page, "utf-8")
    write(folder / "packs" / "m99.7" / "pack.yaml", "tissues: [connective]", "tissues: [connective, disc]")
    assist = load_assist(folder)
    disc = told(assist, text="Disc stenosis of intervertebral foramina of lumbar region")
    ligament = told(assist, text="Connective tissue stenosis of intervertebral foramina of lumbar region")
    both = told(assist, text="Connective tissue and disc stenosis of intervertebral foramina of lumbar region")
    assert (disc["suggests"], ligament["suggests"], both["suggests"], both["asks"][:1]) == (
        ["M99.83"],
        ["M99.73"],
        [],
        ["tissue"],
    )


LATER_CODES = """\
  - id: region-names-the-code
    says: A made-up later edition gives the neck the other code.
    kind: names-code
    by: region
    codes: {cervical: M99.39, abdomen-other: M99.31, head: M99.30, thoracic: M99.32, lumbar: M99.33, sacral: M99.34,
            pelvic: M99.35, lower-extremity: M99.36, upper-extremity: M99.37, rib-cage: M99.38}
    in_force_from: "2025-10-01"
    cites: [icd-10-cm-tabular-m99]
"""


def test_the_date_of_service_decides_which_codes_a_rule_names(folder: Path) -> None:
    page = folder / "packs" / M99_3
    write(
        page, '    in_force_from: "2015-10-01"\n    in_force_until: "2025-09-30"\n', '    in_force_from: "2015-10-01"\n'
    )
    page.write_text(page.read_text("utf-8") + LATER_CODES, "utf-8")
    assist, text = load_assist(folder), "Osseous stenosis of neural canal of cervical region"
    by_date = {day: told(assist, text=text, date=day)["suggests"] for day in ("2025-09-30", "2025-10-01")}
    assert by_date == {"2025-09-30": ["M99.31"], "2025-10-01": ["M99.39"]}


def test_a_site_adds_its_own_terms_by_data_alone(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(
        "sources: [our clinic]\nconcepts:\n  - {kind: tissue, value: connective, terms: [yellow cord of Smith]}\n",
        "utf-8",
    )
    words = "Biomechanical narrowing of the lumbar spinal canal by the yellow cord of Smith"
    assert told(load_assist(terminology_dir(), site_lexicon=site), text=words)["suggests"] == ["M99.43"]


def test_a_site_adds_its_own_headings_and_turns_by_data_alone(tmp_path: Path) -> None:
    site, text = tmp_path / "site.yaml", "History: neck pain\nfor weeks\nWhat we saw: " + "w " * 160 + "on bench he"
    page = "sources: [our clinic]\nsections: {findings: [what we saw]}\nbodies: [what we saw]\nturns: [on bench]\n"
    site.write_text(page, "utf-8")

    def cut(own: Path | None) -> list[tuple[bool, str]]:
        spans = load_lexicon(terminology_dir() / "lexicon", site=own).sentences(text)
        return [(span.section.is_finding, text[span.start : span.end]) for span in spans]

    assert [cut(site)[1], cut(site)[-1]] == [(False, "for weeks"), (True, "on bench he")]
    assert cut(None)[1] == (True, "for weeks")
    assert "on bench he" not in [words for _, words in cut(None)]


def test_knowledge_that_was_replaced_goes_at_once(assist: Assist) -> None:
    """A reload freezes what it has read for the collector, so a ring in it would stay for ever."""

    def held() -> int:
        return sum(type(one) is Lexicon for one in gc.get_objects())

    before = held()
    read = load_assist(terminology_dir())
    condition = {"resourceType": "Condition", "code": {"text": "Spinal stenosis"}, "recordedDate": "2026-05-01"}
    read.answer(Request("charting", [Entry(condition, "Condition/c1")]))
    assert held() == before + 1
    gc.disable()
    try:
        del read
        assert held() == before
    finally:
        gc.enable()
