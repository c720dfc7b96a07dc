"""Claim, Coverage and orders -> Billing: what is claimed, in which order, for which lines, from whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from service.coding.claim import Billing, ClaimDiagnosis, ServiceLine
from service.coding.model import Assessment
from service.fhir_in import words_of
from service.fhir_values import code_of, icd10cm_codes, line_dates, period_dates
from service.record import Entry, Request, is_of_another
from service.validation import modifier_extensions

Resource = Mapping[str, Any]
# What is billed for a stay or without a provider's diagnosis has no pointers on its lines (X12 837 I and D, NCPDP).
_NOT_LISTED = frozenset({"admitting", "patientreasonforvisit"})
_WITHOUT_POINTERS = frozenset({"institutional", "oral", "pharmacy", "vision"})


def with_claim(request: Request) -> Request:
    """A claim's inline diagnoses are judged as Conditions named `Claim#diagnosis[n]` (CONTRACT).

    What the claim names is judged by the day of the lines that point to it.
    """
    if request.claim is None:
        return request
    claim, source = request.claim.resource, request.claim.reference
    inline = []
    for index, diagnosis in enumerate(claim.get("diagnosis") or ()):
        concept = diagnosis.get("diagnosisCodeableConcept")
        if isinstance(concept, dict):
            condition = {"resourceType": "Condition", "subject": claim.get("patient"), "code": concept}
            condition |= {} if _is_listed(diagnosis) else {"category": diagnosis["type"]}  # and so no duplicate
            path = f"Claim.diagnosis[{index}].diagnosisCodeableConcept"
            inline.append(Entry(condition, f"Claim#diagnosis[{index}]", source, path))
    conditions = [*request.conditions, *inline]
    return replace(request, conditions=conditions, claimed=_claimed(claim, conditions))


def _claimed(claim: Resource, conditions: Sequence[Entry]) -> dict[str, str | None]:
    """The Conditions that the diagnoses name, and those with the code of an inline one, each with the day of a line."""
    days: dict[int, str] = {}
    for item in claim.get("item") or ():
        on = next((on for on, _ in line_dates(item, "")), None)
        for pointer in (item.get("diagnosisSequence") or ()) if on else ():
            days.setdefault(int(pointer), str(on))
    found: dict[str, str | None] = {}
    codes = [(entry, icd10cm_codes(entry.resource.get("code"))) for entry in conditions]
    for index, diagnosis in enumerate(claim.get("diagnosis") or ()):
        reference = (diagnosis.get("diagnosisReference") or {}).get("reference")
        place = place_of(str(reference or f"Claim#diagnosis[{index}]"), conditions)
        inline = icd10cm_codes(diagnosis.get("diagnosisCodeableConcept"))
        same = [entry for entry, of_entry in codes if inline & of_entry]
        for entry in [*([conditions[place]] if place is not None else []), *same]:
            found.setdefault(entry.reference, days.get(int(diagnosis.get("sequence") or index + 1)))
    return found


def billing_of(request: Request, assessments: Sequence[Assessment], on: str, **operators: Any) -> Billing:
    """What stands on the claim, else on the orders, judged on a date; `assessments` are those of the Conditions.

    `operators` is what the operator has given: policies and the codes of manipulation.
    """
    if request.claim is None:
        recorded, lines = tuple(_recorded(assessments)), tuple(_order_lines(request.orders))
        return Billing(request.setting, on, recorded, lines, **operators)
    return Billing(
        request.setting,
        on,
        tuple(_claim_diagnoses(request.claim.resource, request.conditions, assessments)),
        tuple(_claim_lines(request.claim.resource, request)),
        tuple(_coverage_words(request)),
        tuple(_qualifications(request)),
        is_claim=True,
        **operators,
        modifiers=tuple(modifier_extensions(request.claim.resource)),
    )


def _icd_code(assessment: Assessment) -> str:
    return next((code.code for code in assessment.documentation.codes if code.system == "icd-10-cm"), "")


def _claim_diagnoses(
    claim: Resource, conditions: Sequence[Entry], assessments: Sequence[Assessment]
) -> Iterator[ClaimDiagnosis]:
    for index, diagnosis in enumerate(claim.get("diagnosis") or ()):
        at = f"Claim.diagnosis[{index}]"
        reference = (diagnosis.get("diagnosisReference") or {}).get("reference")
        place = place_of(str(reference or f"Claim#diagnosis[{index}]"), conditions)
        assessment = None if place is None else assessments[place]
        yield ClaimDiagnosis(
            int(diagnosis.get("sequence") or index + 1),
            _icd_code(assessment) if assessment else "",
            at,
            assessment,
            listed=_is_listed(diagnosis),
            principal="principal" in _types_of(diagnosis),
            words="; ".join(words_of(conditions[place])) if place is not None else "",
            of_another=place is not None and is_of_another(claim.get("patient"), conditions[place]),
        )


def _types_of(diagnosis: Resource) -> set[str]:
    return {code_of(concept) for concept in diagnosis.get("type") or ()}


def _is_listed(diagnosis: Resource) -> bool:
    """Whether it is billed: what a patient was admitted with or came for stands in places of its own (UB-04 69, 70)."""
    types = _types_of(diagnosis)
    return not types or not types <= _NOT_LISTED


def place_of(reference: str, entries: Sequence[Entry]) -> int | None:
    """Which entry a reference names: by `Type/id`, by an absolute address that ends in it, or by fullUrl."""
    asked = reference.partition("/_history/")[0]
    return next((place for place, entry in enumerate(entries) if _is_named(asked, entry)), None)


def _is_named(asked: str, entry: Entry) -> bool:
    if asked in (entry.reference, entry.full_url):
        return True
    elsewhere = entry.full_url.startswith("http")  # another server may have another resource of that id
    return not elsewhere and asked.endswith(f"/{entry.reference}")


def _recorded(assessments: Iterable[Assessment]) -> Iterator[ClaimDiagnosis]:
    for index, assessment in enumerate(
        a
        for a in assessments
        if a.documentation.verification not in ("refuted", "entered-in-error")
        and not a.documentation.clinical.startswith("resolv")
    ):
        for code in assessment.documentation.codes:
            if code.system == "icd-10-cm":
                yield ClaimDiagnosis(index + 1, code.code, code.expression, assessment)
                break


def _claim_lines(claim: Resource, request: Request) -> Iterator[ServiceLine]:
    points = code_of(claim.get("type")) not in _WITHOUT_POINTERS
    dated = not request.date_of_service and not request.by_discharge
    period = tuple(period_dates(claim, "billablePeriod", "Claim"))
    for index, item in enumerate(claim.get("item") or ()):
        at = f"Claim.item[{index}]"
        words, codes = _procedure(item.get("productOrService") or {})
        pointers = tuple(int(n) for n in item.get("diagnosisSequence") or ())
        dates = (tuple(line_dates(item, at)) or period) if dated else ()
        yield ServiceLine(at, words, codes, pointers if pointers or points else None, dates)
    for index, procedure in enumerate(claim.get("procedure") or ()):
        words, codes = _procedure(procedure.get("procedureCodeableConcept") or {})
        yield ServiceLine(f"Claim.procedure[{index}]", words, codes)


def _order_lines(orders: Sequence[Entry]) -> Iterator[ServiceLine]:
    for order in orders:
        words, codes = _procedure(order.resource.get("code") or {})
        yield ServiceLine(f"{order.type}.code", words, codes)


def _procedure(concept: Resource) -> tuple[str, tuple[str, ...]]:
    codings = concept.get("coding") or ()
    words = " ".join(str(t) for t in [concept.get("text"), *(c.get("display") for c in codings)] if t)
    return words, tuple(str(c["code"]) for c in codings if c.get("code"))


def _coverage_words(request: Request) -> Iterator[str]:
    """What names the plan and who pays: of the Coverage, and of the Organizations that it or the claim refers to."""
    coverage = request.coverage.resource if request.coverage else {}
    kind = coverage.get("type") or {}
    yield str(kind.get("text") or "")
    yield from (str(coding.get("display") or "") for coding in kind.get("coding") or ())
    claim = request.claim.resource if request.claim else {}
    insured = [i.get("coverage") or {} for i in claim.get("insurance") or ()]
    for reference in [*(coverage.get("payor") or ()), claim.get("insurer") or {}, *insured]:
        yield str(reference.get("display") or "")
        payer = place_of(str(reference.get("reference") or ""), request.organizations)
        if payer is not None:
            yield str(request.organizations[payer].resource.get("name") or "")


def _qualifications(request: Request) -> Iterator[str]:
    """The codes of who provides: of the care team, and of the PractitionerRole that was sent."""
    claim = request.claim.resource if request.claim else {}
    role = request.practitioner_role.resource if request.practitioner_role else {}
    concepts = [member.get("qualification") or {} for member in claim.get("careTeam") or ()]
    for concept in (*concepts, *(role.get("code") or ()), *(role.get("specialty") or ())):
        yield from (str(coding["code"]) for coding in concept.get("coding") or () if coding.get("code"))
