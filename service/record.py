"""What came in with a request, by role; and whose it is and when it counts, which all of it decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.coding.answers import Answer
from service.coding.model import Setting
from service.fhir_values import Resource, code_of, full_date, line_dates, reference_in, short

COUNTED_REPORTS = frozenset({"final", "amended", "corrected", "appended"})
INPATIENT = frozenset({"IMP", "ACUTE", "NONAC"})
PROFESSIONAL = frozenset({"professional", "vision", "oral", "pharmacy"})


@dataclass(frozen=True)
class Entry:
    """A resource of the request and the reference that names it.

    `full_url` is the entry's in a Bundle. A diagnosis that stands on the claim itself is read as a Condition;
    `stands_in` and `code_path` then say where.
    """

    resource: Resource
    reference: str
    stands_in: str = ""
    code_path: str = "Condition.code"
    full_url: str = ""

    @property
    def source(self) -> str:
        """The resource that holds the words."""
        return self.stands_in or self.reference

    @property
    def type(self) -> str:
        return str(self.resource.get("resourceType", ""))


@dataclass(frozen=True)
class Request:
    """What came in, by role; `hook` is the CDS hook or the empty string.

    `claimed` are the Conditions that the claim names, by reference, each with the day of the first line that points to
    it; None where there is no claim. `answers` are those to a query, by the reference of the Condition asked about.
    """

    setting: Setting
    conditions: Sequence[Entry]
    reports: Sequence[Entry] = ()
    observations: Sequence[Entry] = ()
    documents: Sequence[Entry] = ()
    encounter: Entry | None = None
    patient: Entry | None = None
    claim: Entry | None = None
    coverage: Entry | None = None
    practitioner_role: Entry | None = None
    orders: Sequence[Entry] = ()
    organizations: Sequence[Entry] = ()
    date_of_service: str | None = None
    hook: str = ""
    wants_care: bool = False
    claimed: Mapping[str, str | None] | None = None
    answers: Mapping[str, Sequence[Answer]] = field(default_factory=dict)

    @property
    def inpatient(self) -> bool:
        """Whether the encounter is an inpatient stay."""
        return _class(self.encounter) in INPATIENT

    @property
    def by_discharge(self) -> bool:
        """Whether one date, that of discharge, stands for the whole: the stay itself, and what a facility bills for it.

        What a professional bills within a stay is judged by the lines, and so is a facility's claim without a period.
        """
        if self.claim is None:
            return self.inpatient
        kind = code_of(self.claim.resource.get("type"))
        return kind not in PROFESSIONAL and (self.inpatient or (kind == "institutional" and self.encounter is None))


def _class(encounter: Entry | None) -> str:
    value = (encounter.resource.get("class") if encounter else None) or {}
    if isinstance(value, list):
        value = value[0] if value else {}
    return str(value.get("code") or "").upper()


def date_of_service(request: Request, condition: Resource, of_line: str | None = None) -> str | None:
    """Before a claim: given, claim, encounter. While charting also recordedDate. As written (POLICY section 5).

    `of_line` is the day of the first line that points to the diagnosis.
    """
    encounter = request.encounter.resource if request.encounter else {}
    period = encounter.get("period") or {}
    stay = full_date(period.get("end")) if request.inpatient else None
    candidates = [full_date(request.date_of_service)]
    if request.claim:
        candidates += [stay] if request.by_discharge else []
        candidates += _claim_dates(request.claim.resource, of_line, at_end=request.by_discharge)
    candidates += [stay, full_date(period.get("start")), full_date(period.get("end"))]
    if request.setting == "charting":
        candidates.append(charted_on(condition))
    return next((date for date in candidates if date), None)


def charted_on(condition: Resource) -> str | None:
    """When it was recorded, which counts while charting where nothing else tells the date of service."""
    return full_date(condition.get("recordedDate"))


def _claim_dates(claim: Resource, of_line: str | None, *, at_end: bool) -> Iterator[str | None]:
    billable = claim.get("billablePeriod") or {}
    lines = [[on for on, _ in line_dates(item, "")] for item in claim.get("item") or ()]
    if at_end:
        yield full_date(billable.get("end")) or max((on for dates in lines for on in dates), default=None)
    yield of_line
    yield from (dates[0] for dates in lines if dates)
    yield full_date(billable.get("start")) or full_date(billable.get("end"))


def is_of_another(patient: Any, entry: Entry) -> bool:
    """Of another patient, as far as the references tell: an address by URN names nobody outside its Bundle."""
    theirs, ours = patient_of(entry), short(reference_in(patient))
    return theirs.startswith("Patient/") and ours.startswith("Patient/") and theirs != ours


def patient_of(entry: Entry) -> str:
    return short(reference_in(entry.resource.get("subject")))


def by_patient(conditions: Sequence[Entry]) -> dict[str, list[int]]:
    """The places of the Conditions in their list by patient; one without a subject stands by the first patient."""
    patients = [patient_of(condition) for condition in conditions]
    first = next(filter(None, patients), "")
    places: dict[str, list[int]] = {}
    for index, patient in enumerate(patients):
        places.setdefault(patient or first, []).append(index)
    return places


def of_patient(patient: str, places: Sequence[int], request: Request) -> Request:
    """What a request brings of one patient; a report that names nobody speaks to each."""
    others = {patient_of(condition) for condition in request.conditions} - {patient, ""}
    reports = [report for report in request.reports if patient_of(report) not in others]
    return replace(request, conditions=[request.conditions[i] for i in places], reports=reports)


def duplicates(conditions: Sequence[Entry]) -> set[int]:
    """Later Conditions with the same code and category; a problem-list item beside an encounter diagnosis is none, nor
    is the Condition behind a diagnosis that stands on the claim itself."""
    codes = [_called(entry.resource.get("code")) for entry in conditions]
    seen: set[tuple[str, tuple[str, ...], bool]] = set()
    found: set[int] = set()
    if len(set(codes)) == len(codes):
        return found
    for index, (code, entry) in enumerate(zip(codes, conditions, strict=True)):
        key = code, tuple(sorted(code_of(c) for c in entry.resource.get("category") or ())), bool(entry.stands_in)
        if code and key in seen:
            found.add(index)
        seen.add(key)
    return found


def _called(code: Any) -> str:
    """Its first code, else its words, whatever their case."""
    return code_of(code) or str((code or {}).get("text") or "").strip().lower()
