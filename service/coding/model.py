"""The nouns of the core: what was documented, where it was read, and what the rules found.

All values are frozen. The words of the patient's record stay out of every repr (PHI).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Assertion = Literal["affirmed", "negated", "uncertain", "historical"]
Author = Literal["provider", "report", "ancillary"]
Narrowing = Literal["stated", "implied", "unstated"]
Severity = Literal["information", "warning", "error"]
Setting = Literal["charting", "claim"]
Outcome = Literal["met", "gap", "conflict"]
Disposition = Literal["code-supported", "query", "not-applicable", "not-assessed", "out-of-scope"]
ElementStatus = Literal["documented", "missing", "conflicting", "uncertain", "negated"]

REQUIRED = ("narrowing", "space", "tissue", "region", "framing", "certainty")
SUPPORTING = ("imaging.modality", "imaging.date", "imaging.finding", "function", "care")
ELEMENTS = REQUIRED + SUPPORTING


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of the record and where it stands; `author` says whose words they are."""

    text: str = field(repr=False)
    source: str
    expression: str
    author: Author = "provider"
    date: str | None = None
    status: str | None = None
    earlier_encounter: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a finding was read: `quote` is exactly `passage.text[start:end]` (Unicode code points)."""

    passage: Passage
    start: int
    end: int
    assertion: Assertion = "affirmed"

    @property
    def quote(self) -> str:
        return self.passage.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Finding:
    """One documentation element with its value; `detail` narrows the value (a junction, a kind of change)."""

    element: str
    value: str
    evidence: Evidence | None
    assertion: Assertion = "affirmed"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement about one space: is it narrow, where, by what, in which framing.

    `causes` are tissues tied to the narrowing by words (due to, causing, narrowing ...); `listed` are tissues
    that merely stand beside it (POLICY section 2.6). `regions_joined` is true where several regions are a list
    or a range (each is meant), false where one is named without being listed (a conflict).
    """

    assertion: Assertion
    narrowing: Narrowing
    evidence: Evidence
    space: Finding | None = None
    regions: tuple[Finding, ...] = ()
    regions_joined: bool = True
    causes: tuple[Finding, ...] = ()
    listed: tuple[Finding, ...] = ()
    framings: tuple[Finding, ...] = ()
    cause_uncertain: bool = False
    levels: tuple[str, ...] = ()
    spine_only: bool = False
    by_code: bool = False

    @property
    def author(self) -> Author:
        return self.evidence.passage.author

    def region_values(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(finding.value for finding in self.regions))

    def tissue_values(self, *, linked: bool) -> tuple[str, ...]:
        return tuple(dict.fromkeys(finding.value for finding in (self.causes if linked else self.listed)))


@dataclass(frozen=True, slots=True)
class Reading:
    """What one passage says: statements on narrowing, and findings outside of them."""

    passage: Passage
    statements: tuple[Statement, ...] = ()
    findings: tuple[Finding, ...] = ()

    def of(self, element: str) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.element == element)
