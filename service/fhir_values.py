"""Small readers of FHIR datatypes: what a concept, a reference or a date says, by whatever way it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from service.concepts import system_of

Resource = Mapping[str, Any]
_DATED = re.compile(r"\s*\d{4}(-\d\d(-\d\d)?)?(T|\s|$)")


# --- concepts -----------------------------------------------------------------------------------------------------


def code_of(concept: Any) -> str:
    """The first code of a CodeableConcept."""
    for coding in (concept or {}).get("coding") or ():
        if coding.get("code"):
            return str(coding["code"])
    return ""


def icd10cm_codes(concept: Any) -> set[str]:
    """The codes of ICD-10-CM of a CodeableConcept, with their dots."""
    codings = (concept or {}).get("coding") or ()
    return {dotted(str(c["code"])) for c in codings if c.get("code") and system_of(c) == "icd-10-cm"}


def dotted(code: str) -> str:
    plain = code.strip().upper()
    return plain if "." in plain or len(plain) <= 3 else f"{plain[:3]}.{plain[3:]}"


def concept_texts(concept: Any, path: str, *, skip_icd: bool = False) -> Iterator[tuple[str, str]]:
    """(expression, text) of a CodeableConcept: its text, and displays that are no mere code titles."""
    if not isinstance(concept, dict):
        return
    text = concept.get("text")
    if isinstance(text, str) and text.strip():
        yield f"{path}.text", text
    for index, coding in enumerate(concept.get("coding") or ()):
        display = coding.get("display")
        if not isinstance(display, str) or not display.strip() or display == text:
            continue
        if not (skip_icd and system_of(coding) in ("icd-10-cm", "other-icd")):
            yield f"{path}.coding[{index}].display", display


def clinical_status(condition: Resource) -> str:
    status = code_of(condition.get("clinicalStatus"))
    if status in ("resolved", "inactive", "remission"):
        return status
    for element in condition:
        if element.startswith("abatement"):
            return "resolved"
    return ""


# --- references ---------------------------------------------------------------------------------------------------


def reference_in(value: Any) -> str:
    return str(value.get("reference") or "") if isinstance(value, dict) else ""


def is_same(one: str, other: str) -> bool:
    """'Patient/p1', 'https://ehr.example/fhir/Patient/p1' and 'Patient/p1/_history/2' are the same patient."""
    return bool(one and other) and short(one) == short(other)


def short(reference: str) -> str:
    if reference.count("/") == 1 and not reference.endswith("/"):
        return reference  # as nearly all are
    parts = reference.split("/_history/", maxsplit=1)[0].rstrip("/").split("/")
    return "/".join(parts[-2:]) if len(parts) > 1 else reference


def is_provider(reference: Any) -> bool:
    named = reference_in(reference)
    return not named.split("/")[-2:-1] or named.split("/")[-2] not in ("Patient", "RelatedPerson")


def is_practitioner(reference: Any) -> bool:
    return any(part in ("Practitioner", "PractitionerRole") for part in reference_in(reference).split("/"))


# --- dates --------------------------------------------------------------------------------------------------------


def date_in(value: Any) -> str | None:
    return value.strip()[:10] if isinstance(value, str) and _DATED.match(value) else None


def full_date(value: Any) -> str | None:
    """A complete date, as written, in its own offset; a year or a month alone is none."""
    date = date_in(value)
    return date if date and len(date) == 10 else None


def line_dates(item: Resource, at: str) -> Iterator[tuple[str, str]]:
    """The complete dates of a claim line, each with the element below `at` that gives it."""
    if date := full_date(item.get("servicedDate")):
        yield date, f"{at}.servicedDate"
    yield from period_dates(item, "servicedPeriod", at)


def period_dates(holder: Resource, name: str, at: str) -> Iterator[tuple[str, str]]:
    """The complete dates of a period, each with the element below `at` that gives it."""
    period = holder.get(name) or {}
    for end in ("start", "end"):
        if date := full_date(period.get(end)):
            yield date, f"{at}.{name}.{end}"
