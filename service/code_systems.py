"""The code systems that are served: ICD-10-CM by date of service or release, and our own, read from their resources.

An edition is one code system at one moment. What cannot be known is refused, never guessed: a date that no release
covers, a version that is not loaded.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date as iso_date
from functools import lru_cache
from itertools import chain
from typing import Any, NoReturn, Protocol

from service.coding.releases import CODE_FORM, Icd10Cm, fiscal_year, normalise
from service.concepts import LOINC, SNOMED, system_of
from service.fhir_out import ICD10CM
from service.json_body import Issue, Refusal

Json = Mapping[str, Any]
# A plus sign that nobody encoded arrives as a blank.
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T[0-9]{2}(?::[0-9]{2}){1,2}(?:\.[0-9]+)?(?:Z|[ +-][0-9:]{5}))?"
)
OFFICIAL = {"icd-10-cm": ICD10CM, "snomed": SNOMED, "loinc": LOINC}


@dataclass(frozen=True, slots=True)
class CodedConcept:
    """One code of an edition. `abstract`: a header, not to be reported; `inactive`: no longer valid."""

    code: str
    display: str
    definition: str = ""
    abstract: bool = False
    inactive: bool = False
    properties: tuple[tuple[str, tuple[str, Any]], ...] = ()


class Edition(Protocol):
    """One code system at one moment."""

    @property
    def url(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    def concept(self, code: str) -> CodedConcept | None: ...
    def retired(self, code: str) -> CodedConcept | None: ...
    def absence(self, code: str) -> str: ...
    def codes(self, words: Sequence[str] = (), beneath: str = "") -> Collection[str]: ...
    def is_abstract(self, code: str) -> bool: ...
    def parent(self, code: str) -> str | None: ...
    def children(self, code: str) -> tuple[str, ...]: ...


def refuse(status: int, code: str, sentence: str, expression: str = "") -> NoReturn:
    """End the call with one sentence (what, where, what to do) and an R4 issue type."""
    raise Refusal(status, [Issue("error", code, sentence, expression)]) from None


def official(system: str) -> str:
    """The URL of a system that has other names too, an OID say."""
    return OFFICIAL.get(system_of({"system": system}), system)


@dataclass(frozen=True)
class Icd10CmEdition:
    """ICD-10-CM on a date; `version` is the fiscal year that the date falls in."""

    icd10cm: Icd10Cm
    version: str
    on: str
    url: str = ICD10CM
    name: str = "ICD-10-CM"

    def concept(self, code: str) -> CodedConcept | None:
        """The code as it stands on the date; None where it does not; Refusal where nobody can tell."""
        status = self.icd10cm.status(code, self.on) if code == normalise(code) else None
        if status and status.validity == "not-known":
            refuse(
                404, "not-found", f"Whether the code holds on {self.on} is not known: {status.reason}; add a release."
            )
        if status is None or status.validity not in ("valid", "not-billable"):
            return None
        return CodedConcept(code, self._title(code), abstract=status.validity == "not-billable")

    def retired(self, code: str) -> CodedConcept | None:
        """A code of another release that does not hold on this date."""
        if not self.icd10cm.known(code) or code != normalise(code):
            return None
        return CodedConcept(code, self._title(code), inactive=True)

    def absence(self, code: str) -> str:
        """Why there is no such code, in one sentence that repeats only what is a well-formed code."""
        well_formed = normalise(code)
        if not CODE_FORM.fullmatch(well_formed):
            return "The code has not the form of an ICD-10-CM code; give one such as M99.41."
        if well_formed != code:
            return f"FHIR writes ICD-10-CM codes with dot and in capitals; give {well_formed}."
        status = self.icd10cm.status(code, self.on)
        if status.validity == "not-valid":
            return f"{code} is not valid in {self.name} {self.version} on {self.on} ({status.reason}); code another."
        return f"{code} is in no release of {self.name} that is loaded; check the code."

    def codes(self, words: Sequence[str] = (), beneath: str = "") -> Collection[str]:
        """The codes that hold on the date, in order; Refusal where they cannot be known."""
        if not self.icd10cm.tells_of(self.on):
            refuse(404, "not-found", f"No release loaded tells which codes hold on {self.on}; add that release.")
        if beneath and not words:
            return [code for code in self.icd10cm.codes(beneath) if self.concept(code)]
        held = _holding(self.icd10cm, _begun(self.icd10cm, self.on))
        if not words:
            return held.keys()
        found = self.icd10cm.titled(words, self.on)
        return [code for code in found if code in held and code.startswith(beneath) and code != beneath]

    def is_abstract(self, code: str) -> bool:
        return _holding(self.icd10cm, _begun(self.icd10cm, self.on)).get(code) is False

    def parent(self, code: str) -> str | None:
        """The nearest header above: not each that a release has stands on every date."""
        above = self.icd10cm.parent(code)
        return above if above is None or self.concept(above) else self.parent(above)

    def children(self, code: str) -> tuple[str, ...]:
        beneath = ([below] if self.concept(below) else self.children(below) for below in self.icd10cm.children(code))
        return tuple(chain.from_iterable(beneath))

    def _title(self, code: str) -> str:
        return self.icd10cm.title(code, self.on) or code


# The pages of one expansion come one after the other.
@lru_cache(maxsize=8)
def _holding(icd10cm: Icd10Cm, on: str) -> Mapping[str, bool]:
    return icd10cm.holding(on)


def _begun(icd10cm: Icd10Cm, on: str) -> str:
    """The last day on which codes changed: those that held on it hold on the date."""
    days = _days_of_change(icd10cm)
    return days[bisect_right(days, on) - 1]


@lru_cache(maxsize=1)
def _days_of_change(icd10cm: Icd10Cm) -> Sequence[str]:
    return [iso_date.min.isoformat(), *sorted(icd10cm.days_of_change())]


@dataclass(frozen=True)
class ListedEdition:
    """A code system that a CodeSystem resource lists in full."""

    resource: Json
    by_code: Mapping[str, CodedConcept] = field(init=False)
    parents: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        listed = list(_listed(self.resource.get("concept", ()), ""))
        object.__setattr__(self, "by_code", {concept.code: concept for concept, _ in listed})
        object.__setattr__(self, "parents", {concept.code: parent for concept, parent in listed})

    @property
    def url(self) -> str:
        return str(self.resource.get("url", ""))

    @property
    def name(self) -> str:
        return str(self.resource.get("title") or self.resource.get("name", ""))

    @property
    def version(self) -> str:
        return str(self.resource.get("version", ""))

    def concept(self, code: str) -> CodedConcept | None:
        return self.by_code.get(code)

    def retired(self, code: str) -> CodedConcept | None:
        return None

    def absence(self, code: str) -> str:
        return f"The code is not in {self.name}; GET its CodeSystem for the codes that are."

    def is_abstract(self, code: str) -> bool:
        return False

    def codes(self, words: Sequence[str] = (), beneath: str = "") -> Collection[str]:
        return tuple(
            concept.code
            for concept in self.by_code.values()
            if (not beneath or self._is_beneath(concept.code, beneath))
            and all(word in f"{concept.code}\n{concept.display}".lower() for word in words)
        )

    def parent(self, code: str) -> str | None:
        return self.parents.get(code) or None

    def children(self, code: str) -> tuple[str, ...]:
        return tuple(below for below, parent in self.parents.items() if parent == code)

    def _is_beneath(self, code: str, header: str) -> bool:
        parent = self.parents.get(code, "")
        return bool(parent) and (parent == header or self._is_beneath(parent, header))


def _listed(concepts: Sequence[Json], parent: str) -> Iterator[tuple[CodedConcept, str]]:
    for entry in concepts:
        properties = tuple((str(one["code"]), _value_of(one)) for one in entry.get("property", ()))
        code = str(entry["code"])
        yield (
            CodedConcept(
                code, str(entry.get("display", code)), str(entry.get("definition", "")), properties=properties
            ),
            parent,
        )
        yield from _listed(entry.get("concept", ()), code)


def _value_of(entry: Json) -> tuple[str, Any]:
    return next((key, value) for key, value in entry.items() if key.startswith("value"))


@dataclass(frozen=True)
class CodeSystems:
    """Every code system that is served, by canonical URL."""

    icd10cm: Icd10Cm
    listed: Mapping[str, ListedEdition]

    @property
    def icd10cm_versions(self) -> tuple[str, ...]:
        """The fiscal years that can be asked for, oldest first."""
        return tuple(dict.fromkeys(release.fiscal_year for release in self.icd10cm.releases))

    def serves(self, system: str) -> bool:
        return system_of({"system": system}) == "icd-10-cm" or system in self.listed

    def edition(self, system: str, version: str = "", date: str = "") -> Edition:
        """The edition of a version or a date, else the newest; Refusal 404 where it is not loaded."""
        if system_of({"system": system}) == "icd-10-cm":
            return self._icd10cm(version, date)
        edition = self.listed.get(system)
        if edition is None:
            refuse(404, "not-found", "The code system is not served here; GET /fhir/CodeSystem lists those that are.")
        if version and version != edition.version:
            refuse(404, "not-found", f"That version of {edition.name} is not loaded; {edition.version} is.")
        return edition

    def _icd10cm(self, version: str, date: str) -> Icd10CmEdition:
        if date:
            on = day_of(date)
            if version and fiscal_year(on) != version:
                sentence = f"The date falls in fiscal year {fiscal_year(on)} and not in the version; give one of them."
                refuse(400, "invalid", sentence)
            return Icd10CmEdition(self.icd10cm, fiscal_year(on), on)
        of_version = [r for r in self.icd10cm.releases if r.fiscal_year == version or not version]
        if not of_version:
            loaded = ", ".join(self.icd10cm_versions)
            refuse(404, "not-found", f"That version of ICD-10-CM is not loaded; versions are fiscal years: {loaded}.")
        release = of_version[-1]
        # Its last day: on its first one the codes that came in January or April were not there yet.
        return Icd10CmEdition(self.icd10cm, release.fiscal_year, release.in_force_until)


def day_of(written: str) -> str:
    """The day of a dateTime as written; Refusal where it names a month or a year only, in which codes may change."""
    found = _DATE_TIME.fullmatch(written)
    try:
        return iso_date.fromisoformat(found[1] if found else "").isoformat()
    except ValueError:
        refuse(400, "value", "The date names no day that exists; codes change within a year: give it as YYYY-MM-DD.")
