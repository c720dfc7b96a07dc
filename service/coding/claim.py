"""The claim as a whole: order of diagnoses, pairs that do not go together, lines, safety, a payer's order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from service.coding.levels import find_levels
from service.coding.model import Assessment, Evidence, Issue, Rule, RuleHit, Setting
from service.coding.packs import Terminology
from service.coding.unspecified import better_code


@dataclass(frozen=True, slots=True)
class ClaimDiagnosis:
    """One diagnosis in the order of the claim (or of the request where there is none).

    `assessment` is None where the claim refers to a Condition that was not sent. What is not `listed` is told of the
    visit and not billed: why the patient came, with what they were admitted. `of_another`: of another patient.
    `words` are those that name the diagnosis.
    """

    sequence: int
    code: str
    expression: str
    assessment: Assessment | None = None
    listed: bool = True
    principal: bool = False
    of_another: bool = False
    words: str = field(default="", repr=False)

    @property
    def judged_on(self) -> str | None:
        return self.assessment.documentation.date_of_service if self.assessment else None


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """A claim line or an order: what is done, and the diagnoses that it points to (None: it need not point to any).

    `dates` are the days on which its diagnoses have to be valid, each with the element that gives it.
    """

    expression: str
    words: str = field(repr=False)
    codes: tuple[str, ...] = ()
    pointers: tuple[int, ...] | None = None
    dates: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PayerPolicy:
    """A payer's rule from the operator's file: for which coverage, procedures and providers, which code comes first."""

    id: str
    says: str
    coverage: tuple[str, ...] = ()
    procedures: tuple[str, ...] = ()
    first_diagnosis: tuple[str, ...] = ()
    qualifications: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Billing:
    """What stands on a claim or an order beside the conditions.

    `modifiers` are where something stands that may change its meaning and is not understood.
    """

    setting: Setting
    on: str
    diagnoses: tuple[ClaimDiagnosis, ...] = ()
    lines: tuple[ServiceLine, ...] = ()
    coverage: tuple[str, ...] = ()
    qualifications: tuple[str, ...] = ()
    is_claim: bool = False
    modifiers: tuple[str, ...] = ()
    policies: tuple[PayerPolicy, ...] = ()
    manipulation_codes: frozenset[str] = frozenset()

    @property
    def listed(self) -> tuple[ClaimDiagnosis, ...]:
        """The diagnoses that are billed, in the order in which they stand."""
        return tuple(diagnosis for diagnosis in self.diagnoses if diagnosis.listed)

    @property
    def ordered(self) -> tuple[ClaimDiagnosis, ...]:
        """The diagnoses that are billed, the principal one first and then by their sequence."""
        return tuple(sorted(self.listed, key=lambda diagnosis: (not diagnosis.principal, diagnosis.sequence)))


def assess_billing(billing: Billing, assessments: Sequence[Assessment], terminology: Terminology) -> tuple[Issue, ...]:
    """The issues of the claim as a whole."""
    hits = [
        *_sequence(billing, terminology),
        *_pointers(billing, terminology),
        *_line_dates(billing, terminology),
        *_modifiers(billing, terminology),
        *_left_open(billing, terminology),
        *_pairs(billing, terminology),
        *safety_hits(billing, assessments, terminology),
        *_policies(billing, terminology),
    ]
    return tuple(issue for hit in hits if (issue := terminology.issue(hit, billing.setting)))


def _rules(terminology: Terminology, kind: str, check: str, on: str) -> Iterator[Rule]:
    return (rule for rule in terminology.main.of_kind(kind, on) if rule.settings.get("check") == check)


_EXTERNAL_CAUSES = frozenset("VWXY")  # chapter 20


def _sequence(billing: Billing, terminology: Terminology) -> Iterator[RuleHit]:
    if not billing.is_claim:
        return
    ordered = billing.ordered
    first = {
        "manifestation-first": bool(ordered) and terminology.icd10cm.is_manifestation(ordered[0].code),
        "external-cause-first": bool(ordered) and ordered[0].code[:1] in _EXTERNAL_CAUSES,
    }
    for check in (check for check, is_wrong in first.items() if is_wrong):
        for rule in _rules(terminology, "sequences", check, billing.on):
            yield RuleHit(rule, "conflict", (), ordered[0].expression)
    seen, judged = set[int](), list[Assessment]()
    for diagnosis in billing.diagnoses:
        wrong = {
            "diagnosis-sent": diagnosis.assessment is None,
            "diagnosis-coded": diagnosis.assessment is not None and not diagnosis.code,
            "patient": diagnosis.of_another,
            "sequence-once": diagnosis.sequence in seen,
            "stated-once": diagnosis.listed and any(diagnosis.assessment is other for other in judged),
        }
        for check in (check for check, is_wrong in wrong.items() if is_wrong):
            for rule in _rules(terminology, "sequences", check, billing.on):
                yield RuleHit(rule, "conflict", (), diagnosis.expression)
        seen.add(diagnosis.sequence)
        judged += [diagnosis.assessment] if diagnosis.assessment and diagnosis.listed else []


def _pointers(billing: Billing, terminology: Terminology) -> Iterator[RuleHit]:
    """Lines that point to no diagnosis, or to one that the claim has not."""
    known = {diagnosis.sequence for diagnosis in billing.diagnoses}
    for line in billing.lines:
        wrong = [place for place, pointer in enumerate(line.pointers or ()) if pointer not in known]
        at = [f"{line.expression}.diagnosisSequence[{place}]" for place in wrong]
        if line.pointers == ():
            at = [line.expression]
        for rule in _rules(terminology, "sequences", "pointer", billing.on):
            yield from (RuleHit(rule, "conflict", (), expression) for expression in at)


def _line_dates(billing: Billing, terminology: Terminology) -> Iterator[RuleHit]:
    """Codes that hold on the date by which they are judged and not on that of a further line that points to them."""
    release = terminology.icd10cm
    known = {diagnosis.sequence: diagnosis for diagnosis in billing.diagnoses}
    for line in billing.lines:
        for diagnosis in (known[pointer] for pointer in line.pointers or () if pointer in known):
            if not release.is_billable(diagnosis.code, diagnosis.judged_on or billing.on):
                continue  # told of the diagnosis itself
            for on, expression in line.dates:
                status = release.status(diagnosis.code, on)
                for rule in _rules(terminology, "validates", status.validity, on):
                    says = f"{diagnosis.code} {_NOT_THEN[status.validity]} {on}, a date of this line: {status.reason}."
                    yield RuleHit(rule, "conflict", (), expression, says=says)


def _modifiers(billing: Billing, terminology: Terminology) -> Iterator[RuleHit]:
    for rule in _rules(terminology, "records", "modifier-extension", billing.on):
        yield from (RuleHit(rule, "conflict", (), expression) for expression in billing.modifiers)


def _left_open(billing: Billing, terminology: Terminology) -> Iterator[RuleHit]:
    """Unspecified codes beside words that a sibling names; those of our families have a rule of their own."""
    for diagnosis in billing.listed if billing.is_claim else ():
        if not diagnosis.words or _is_ours(diagnosis, terminology):
            continue
        on = diagnosis.judged_on or billing.on
        if better := better_code(diagnosis.code, diagnosis.words, terminology.icd10cm, on):
            says = f"{diagnosis.code} leaves open what {better} ({terminology.icd10cm.title(better, on)}) names."
            for rule in _rules(terminology, "sequences", "left-open", billing.on):
                yield RuleHit(rule, "conflict", (), diagnosis.expression, says=says)


_NOT_THEN = {
    "not-valid": "is not valid on",
    "not-billable": "is a header and not billable on",
    "unknown": "is no code on",
    "not-known": "is in no loaded release for",
}


def _paired(billing: Billing, terminology: Terminology) -> Iterator[tuple[ClaimDiagnosis, ClaimDiagnosis]]:
    """The pairs whose codes may not stand together; of many diagnoses with few codes nearly all are told by these."""
    parted = _parted(billing, terminology)
    codes = {code for pair in parted for code in pair}
    for one, other in combinations([d for d in _compared(billing) if d.code in codes], 2):
        if (one.code, other.code) in parted:
            yield one, other


def _parted(billing: Billing, terminology: Terminology) -> set[tuple[str, str]]:
    """By their codes; while a note is written, what else is on the problem list is no matter of ours."""
    by_code = {d.code: d for d in _compared(billing) if d.code}
    ours = [d for d in by_code.values() if billing.setting != "charting" or _is_ours(d, terminology)]
    beside = [str(r.settings["with"]) for r in _rules(terminology, "excludes", "category-note", billing.on)]
    pairs = ((one, other) for one in ours for other in by_code.values())
    found = [
        (one.code, other.code)
        for one, other in pairs
        if terminology.icd10cm.excludes1(one.code, other.code, billing.on)
        or any(_beside(one, other, neighbour, terminology) for neighbour in beside)
    ]
    return {*found, *((other, one) for one, other in found)}


def _compared(billing: Billing) -> Sequence[ClaimDiagnosis]:
    return billing.diagnoses if billing.setting == "charting" else billing.listed


def _pairs(billing: Billing, terminology: Terminology) -> Iterator[RuleHit]:
    for one, other in _paired(billing, terminology):
        note = terminology.icd10cm.excludes1(one.code, other.code, billing.on) if one.code and other.code else None
        if note:
            for rule in _rules(terminology, "excludes", "excludes1", billing.on):
                yield RuleHit(
                    rule,
                    "conflict",
                    (),
                    other.expression,
                    grade="unrelated" if _unrelated(one, other) else "",
                    says=f"{one.code} and {other.code}: the Excludes1 note at {note.at} of the FY"
                    f"{terminology.icd10cm.tabular_list(billing.on)} tabular list ({note.note}) parts them unless the "
                    "conditions are unrelated.",
                )
        for rule in _rules(terminology, "excludes", "category-note", billing.on):
            pair = _beside(one, other, str(rule.settings["with"]), terminology)
            if pair:
                yield RuleHit(
                    rule,
                    "conflict",
                    (),
                    pair.expression,
                    says=f"{one.code} beside {other.code}: {terminology.main.citation_quote()}",
                )


def _is_ours(diagnosis: ClaimDiagnosis, terminology: Terminology) -> bool:
    return terminology.pack_of(diagnosis.code) is not None or diagnosis.code.startswith("M48.0")


def _unrelated(one: ClaimDiagnosis, other: ClaimDiagnosis) -> bool:
    """Other region or other cause in the record's words (Guidelines I.A.12.a)."""
    first, second = _documented(one), _documented(other)
    return bool(first and second and not first & second)


def _documented(diagnosis: ClaimDiagnosis) -> set[str]:
    if diagnosis.assessment is None:
        return set()
    documentation = diagnosis.assessment.documentation
    return (
        {f.value for s in documentation.statements("provider") for f in s.regions}
        | {f.value for f in documentation.sites}
        | set(documentation.named_regions[:1])
    )


def _beside(
    one: ClaimDiagnosis, other: ClaimDiagnosis, neighbour: str, terminology: Terminology
) -> ClaimDiagnosis | None:
    for ours, theirs in ((one, other), (other, one)):
        pack = terminology.pack_of(ours.code)
        if pack and theirs.code.startswith(neighbour):
            table = terminology.main.tables["M48.0-"]
            region = pack.region_of(ours.code)
            same = {
                table.unspecified,
                table.regions.get(region, ""),
                *(code for code in table.junctions.values()),
                *(m.get(region, "") for m in table.narrower.values()),
            }
            return ours if not region or theirs.code in same else None
    return None


def safety_hits(billing: Billing, assessments: Iterable[Assessment], terminology: Terminology) -> Iterator[RuleHit]:
    """Stenosis with signs of myelopathy or cauda equina syndrome where spinal manipulation is ordered or claimed."""
    for rule in terminology.main.of_kind("safeguards", billing.on):
        line = next((line for line in billing.lines if _is_manipulation(line, rule, billing)), None)
        if line is None:
            return
        for assessment in assessments:
            evidence = _danger_signs(assessment, rule)
            if evidence and assessment.disposition != "out-of-scope" and _has_stenosis(assessment, terminology):
                yield RuleHit(rule, "conflict", evidence, line.expression)
                return


def _has_stenosis(assessment: Assessment, terminology: Terminology) -> bool:
    stated = any(
        s.assertion == "affirmed" and s.narrowing != "unstated"
        for s in assessment.documentation.statements("provider", "report")
    )
    return stated or any(
        terminology.pack_of(code.code) or code.code.startswith("M48.0") for code in assessment.documentation.codes
    )


def _is_manipulation(line: ServiceLine, rule: Rule, billing: Billing) -> bool:
    if set(line.codes) & billing.manipulation_codes:
        return True
    words = {word.strip(".,;:()").lower() for word in line.words.replace("-", " ").replace("/", " ").split()}
    is_spinal = bool(words & set(rule.names("spinal_words")) or find_levels(line.words))
    is_elsewhere = bool(words & set(rule.names("elsewhere_words"))) and not is_spinal
    is_done = not words & {"brochure", "declined", "contraindicated"}
    return bool(words & set(rule.names("procedure_words"))) and is_done and not is_elsewhere


def _danger_signs(assessment: Assessment, rule: Rule) -> tuple[Evidence, ...]:
    documentation = assessment.documentation
    found = (*documentation.findings("function", "provider", "report", "ancillary"), *documentation.signs_beside)
    return tuple(
        f.evidence for f in found if f.assertion == "affirmed" and f.detail in rule.when["safety"] and f.evidence
    )


def _policies(billing: Billing, terminology: Terminology) -> Iterator[RuleHit]:
    """A payer's order of diagnoses, from the operator's configuration; never shown to a clinician."""
    if not billing.is_claim:
        return
    ordered = billing.ordered
    ours = [d for d in ordered if terminology.pack_of(d.code)]
    for policy in billing.policies:
        concerned = ours or (ordered if policy.procedures else [])
        if not concerned or not _covers(policy, billing):
            continue
        broken = bool(policy.first_diagnosis) and not any(
            ordered[0].code == code or (code.endswith("-") and ordered[0].code.startswith(code[:-1]))
            for code in policy.first_diagnosis
        )
        for rule in terminology.main.of_kind("policies", billing.on):
            yield RuleHit(
                rule,
                "conflict",
                (),
                ordered[0].expression if broken else concerned[0].expression,
                grade="order-broken" if broken else "",
                says=policy.says,
            )


def _covers(policy: PayerPolicy, billing: Billing) -> bool:
    paid = not policy.coverage or any(_names(name, words) for name in policy.coverage for words in billing.coverage)
    done = not policy.procedures or any(set(line.codes) & set(policy.procedures) for line in billing.lines)
    fit = not policy.qualifications or any(
        held == asked or (asked.endswith("-") and held.startswith(asked[:-1]))
        for held in billing.qualifications
        for asked in policy.qualifications
    )
    return paid and done and fit


def _names(name: str, words: str) -> bool:
    """'Medicare Part B' names Medicare; 'not Medicare', 'non-Medicare' and 'Medicareful Ltd' do not."""
    asked, said = name.lower().split(), re.findall(r"\w+", words.lower())
    places = [p for p in range(len(said)) if said[p : p + len(asked)] == asked]
    return any(p == 0 or said[p - 1] not in ("not", "non", "no") for p in places)
