"""The nouns of the core: what was documented, where it was read, and what the rules found.

All values are frozen: as a dataclass, or, where a call makes many, as a NamedTuple, which is made in a fifth of the
time. The words of the patient's record stay out of every repr (PHI).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

Assertion = Literal["affirmed", "negated", "uncertain", "historical"]
Author = Literal["provider", "report", "ancillary"]
Narrowing = Literal["stated", "implied", "unstated"]
Severity = Literal["information", "warning", "error"]
Setting = Literal["charting", "claim"]
Outcome = Literal["met", "gap", "conflict"]
Disposition = Literal["code-supported", "query", "not-applicable", "not-assessed", "out-of-scope"]
ElementStatus = Literal["documented", "missing", "conflicting", "uncertain", "negated"]

_TAG = re.compile(r"<[^>]*>")
REQUIRED = ("narrowing", "space", "tissue", "region", "framing", "certainty")
SUPPORTING = ("imaging.modality", "imaging.date", "imaging.finding", "function", "care")
ELEMENTS = REQUIRED + SUPPORTING


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of the record and where it stands; `author` says whose words they are.

    `markup` is the HTML source where there is one: `text` then is the same source with its tags blanked out, so that
    offsets hold in both. `extracted` is true where the text was taken out of a PDF or RTF: offsets count in it.
    """

    text: str = field(repr=False)
    source: str
    expression: str
    author: Author = "provider"
    date: str | None = None
    status: str | None = None
    earlier_encounter: bool = False
    markup: str = field(default="", repr=False)
    extracted: bool = False


class Evidence:
    """Where a finding was read: `quote` is exactly `passage.text[start:end]` (Unicode code points)."""

    # Written out, as are Finding, Step and Statement: a report makes hundreds, and mypyc makes a plain class the
    # fastest.
    __slots__ = ("assertion", "end", "passage", "start")

    def __init__(self, passage: Passage, start: int, end: int, assertion: Assertion = "affirmed") -> None:
        self.passage: Final = passage
        self.start: Final = start
        self.end: Final = end
        self.assertion: Final = assertion

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evidence) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash((self.start, self.end, self.assertion, self.passage.expression))

    def __repr__(self) -> str:
        return f"Evidence{self._all()}"

    def over(self, start: int, end: int, assertion: Assertion | None = None) -> Evidence:
        """The same passage's characters `start` to `end`, and what they say where that is another."""
        return Evidence(self.passage, start, end, assertion or self.assertion)

    def at(self, passage: Passage) -> Evidence:
        """The same characters of a passage of the same words."""
        return Evidence(passage, self.start, self.end, self.assertion)

    def together(self, start: int, end: int) -> Evidence:
        """These characters with those from `start` to `end`, and what stands between."""
        return self.over(min(start, self.start), max(end, self.end))

    def _all(self) -> tuple[object, ...]:
        return self.passage, self.start, self.end, self.assertion

    @property
    def quote(self) -> str:
        if self.passage.markup:
            return " ".join(html.unescape(_TAG.sub("", self.passage.markup[self.start : self.end])).split())
        return self.passage.text[self.start : self.end]


class Finding:
    """One documentation element with its value; `detail` narrows the value (a junction, a kind of change)."""

    __slots__ = ("assertion", "detail", "element", "evidence", "value")

    def __init__(
        self,
        element: str,
        value: str,
        evidence: Evidence | None,
        assertion: Assertion = "affirmed",
        detail: str = "",
    ) -> None:
        self.element: Final = element
        self.value: Final = value
        self.evidence: Final = evidence
        self.assertion: Final = assertion
        self.detail: Final = detail

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Finding) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"Finding{self._all()}"

    def at(self, passage: Passage) -> Finding:
        evidence = self.evidence.at(passage) if self.evidence else None
        return Finding(self.element, self.value, evidence, self.assertion, self.detail)

    def _all(self) -> tuple[object, ...]:
        return self.element, self.value, self.evidence, self.assertion, self.detail


def found_at(passage: Passage, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """What was found in other words that are the same as these of a passage."""
    return tuple([finding.at(passage) for finding in findings])


Role = Literal["section", "narrowing", "space", "region", "tissue", "assertion"]


class Step:
    """One step of the reading: what was read, from which characters, by which rule of linking."""

    __slots__ = ("end", "role", "rule", "start")

    def __init__(self, role: Role, rule: str, start: int, end: int) -> None:
        self.role: Final = role
        self.rule: Final = rule
        self.start: Final = start
        self.end: Final = end

    def __repr__(self) -> str:
        return f"Step({self.role}, {self.rule}, {self.start}, {self.end})"


class Statement:
    """One statement about one space: is it narrow, where, by what, in which framing.

    `causes` are tissues tied to the narrowing by words (due to, causing, narrowing ...); `listed` are tissues
    that merely stand beside it (POLICY section 2.6). `regions_joined` is true where several regions are a list
    or a range (each is meant), false where one is named without being listed (a conflict).
    """

    __slots__ = (
        "assertion",
        "by_code",
        "cause_uncertain",
        "causes",
        "evidence",
        "framings",
        "levels",
        "listed",
        "narrowing",
        "regions",
        "regions_joined",
        "space",
        "spine_only",
        "steps",
    )

    def __init__(
        self,
        assertion: Assertion,
        narrowing: Narrowing,
        evidence: Evidence,
        space: Finding | None = None,
        regions: tuple[Finding, ...] = (),
        regions_joined: bool = True,
        causes: tuple[Finding, ...] = (),
        listed: tuple[Finding, ...] = (),
        framings: tuple[Finding, ...] = (),
        cause_uncertain: bool = False,
        levels: tuple[str, ...] = (),
        spine_only: bool = False,
        by_code: bool = False,
        steps: tuple[Step, ...] = (),
    ) -> None:
        self.assertion: Final = assertion
        self.narrowing: Final = narrowing
        self.evidence: Final = evidence
        self.space: Final = space
        self.regions: Final = regions
        self.regions_joined: Final = regions_joined
        self.causes: Final = causes
        self.listed: Final = listed
        self.framings: Final = framings
        self.cause_uncertain: Final = cause_uncertain
        self.levels: Final = levels
        self.spine_only: Final = spine_only
        self.by_code: Final = by_code
        self.steps: Final = steps

    def but(
        self,
        *,
        assertion: Assertion | None = None,
        narrowing: Narrowing | None = None,
        evidence: Evidence | None = None,
        space: Finding | None = None,
        regions: tuple[Finding, ...] | None = None,
        regions_joined: bool | None = None,
        causes: tuple[Finding, ...] | None = None,
        listed: tuple[Finding, ...] | None = None,
        framings: tuple[Finding, ...] | None = None,
        cause_uncertain: bool | None = None,
        levels: tuple[str, ...] | None = None,
        spine_only: bool | None = None,
        by_code: bool | None = None,
        steps: tuple[Step, ...] | None = None,
    ) -> Statement:
        """The same statement but for what is given; None leaves a thing as it is."""
        return Statement(
            self.assertion if assertion is None else assertion,
            self.narrowing if narrowing is None else narrowing,
            self.evidence if evidence is None else evidence,
            self.space if space is None else space,
            self.regions if regions is None else regions,
            self.regions_joined if regions_joined is None else regions_joined,
            self.causes if causes is None else causes,
            self.listed if listed is None else listed,
            self.framings if framings is None else framings,
            self.cause_uncertain if cause_uncertain is None else cause_uncertain,
            self.levels if levels is None else levels,
            self.spine_only if spine_only is None else spine_only,
            self.by_code if by_code is None else by_code,
            self.steps if steps is None else steps,
        )

    def __repr__(self) -> str:
        return f"Statement({self.assertion}, {self.narrowing}, {self.levels}, {self.evidence})"

    @property
    def author(self) -> Author:
        return self.evidence.passage.author

    def at(self, passage: Passage) -> Statement:
        return self.but(
            evidence=self.evidence.at(passage),
            space=self.space.at(passage) if self.space else None,
            regions=found_at(passage, self.regions),
            causes=found_at(passage, self.causes),
            listed=found_at(passage, self.listed),
            framings=found_at(passage, self.framings),
        )

    def region_values(self) -> tuple[str, ...]:
        if len(self.regions) == 1:  # as most have
            return (self.regions[0].value,)
        return tuple(dict.fromkeys([finding.value for finding in self.regions]))

    def tissue_values(self, *, linked: bool) -> tuple[str, ...]:
        return tuple(dict.fromkeys(finding.value for finding in (self.causes if linked else self.listed)))


@dataclass(frozen=True, slots=True)
class Reading:
    """What one passage says: statements on narrowing, and findings outside of them."""

    passage: Passage
    statements: tuple[Statement, ...] = ()
    findings: tuple[Finding, ...] = ()

    def at(self, passage: Passage) -> Reading:
        """What a passage of the same words and date says."""
        statements = tuple([statement.at(passage) for statement in self.statements])
        return Reading(passage, statements, found_at(passage, self.findings))

    def of(self, element: str) -> tuple[Finding, ...]:
        found: list[Finding] = []  # a loop, which mypyc makes several times as fast as a generator
        for finding in self.findings:
            if finding.element == element:
                found.append(finding)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class RecordedCode:
    """A code of the record; `system` is icd-10-cm, snomed, other-icd or other, `written` is what was sent."""

    system: str
    code: str
    expression: str
    display: str = field(default="", repr=False)
    chosen: bool = False
    written: str = ""


@dataclass(frozen=True, slots=True)
class RecordFault:
    """Something about the record itself (a report not final, a missing date): which check, and where."""

    check: str
    expression: str


class Documentation(NamedTuple):
    """All that is documented on one condition at one date of service, with the code as recorded.

    A claim may name it (`on_claim`), or name others (`beside_claim`); neither where no claim is judged.

    `signs_beside` are the neurological and functional findings that the patient's other conditions state.

    `answers` are what the provider answered to a query on required elements; `answered` names every element that was
    asked and answered, also where the answer settles nothing ("unable to determine").
    """

    condition: str
    setting: Setting
    date_of_service: str | None
    readings: tuple[Reading, ...] = ()
    codes: tuple[RecordedCode, ...] = ()
    sites: tuple[Finding, ...] = ()
    exam_places: tuple[Finding, ...] = ()
    imaging: tuple[Finding, ...] = ()
    faults: tuple[RecordFault, ...] = ()
    verification: str = ""
    clinical: str = ""
    inpatient: bool = False
    discharged: bool = False
    imaging_encounter: bool = False
    takes_reports: bool = True
    regions_claimed_elsewhere: tuple[str, ...] = ()
    wants_care: bool = False
    named_regions: tuple[str, ...] = ()
    signs_beside: tuple[Finding, ...] = ()
    code_path: str = "Condition.code"
    on_claim: bool = False
    beside_claim: bool = False
    answers: tuple[Finding, ...] = ()
    answered: tuple[str, ...] = ()

    def statements(self, *authors: Author) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for reading in self.readings:
            if reading.statements and reading.passage.author in authors:
                found.extend(reading.statements)
        return tuple(found)

    def findings(self, element: str, *authors: Author) -> tuple[Finding, ...]:
        found: list[Finding] = []
        for reading in self.readings:
            if reading.findings and reading.passage.author in authors:
                found.extend(reading.of(element))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Citation:
    """What a rule rests on."""

    id: str
    title: str
    section: str
    url: str
    read: str
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a pack. `kind` says which small function applies it, `settings` hold what that kind needs.

    `when` is what must be named for the rule to hold: each key with the values of which one suffices.
    """

    id: str
    says: str
    kind: str
    pack: str
    flag: str
    in_force_from: str
    in_force_until: str
    cites: tuple[Citation, ...]
    element: str = ""
    strength: str = ""
    settings: Mapping[str, object] = field(default_factory=dict, hash=False)
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def names(self, key: str) -> tuple[str, ...]:
        """A list among the settings; empty where it is not given."""
        value = self.settings.get(key, ())
        return tuple(str(name) for name in value) if isinstance(value, list | tuple) else ()

    def in_force(self, on: str) -> bool:
        """Whether the rule holds on a date of service (ISO 8601)."""
        return self.in_force_from <= on <= self.in_force_until


class RuleHit(NamedTuple):
    """What one rule found: met, a gap, or a conflict; with the evidence and where it points to."""

    rule: Rule
    outcome: Outcome
    evidence: tuple[Evidence, ...] = ()
    expression: str = ""
    flag: str = ""
    grade: str = ""
    says: str = ""


@dataclass(frozen=True, slots=True)
class Issue:
    """A flag with its severity in this setting, the rule that raised it, where it points to and what to do about it."""

    flag: str
    severity: Severity
    rule: str
    says: str
    expression: str = ""
    remedy: str = ""
    cites: tuple[Citation, ...] = ()


class Element(NamedTuple):
    """The state of one documentation element of one condition."""

    name: str
    status: ElementStatus
    values: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class CodingSuggestion:
    """A code that the documentation supports."""

    code: str
    rules: tuple[str, ...]
    notes: tuple[str, ...]
    evidence: tuple[Evidence, ...]


class Candidate(NamedTuple):
    """A code that the record points to, and the elements it waits for (none: complete outside our families)."""

    code: str
    awaits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alternative:
    """A code that is not it, and why not."""

    code: str
    reason: str = field(repr=False)


class Option(NamedTuple):
    """One answer of a question; `indicators` are the positions of the quotes it rests on."""

    code: str
    text: str
    indicators: tuple[int, ...] = ()


class Question(NamedTuple):
    """One question: open (no options) or a choice; Other and Unable to determine belong to each choice.

    Where `shown_after` names options of another question of the form, it is shown once one of them is chosen.
    """

    element: str
    text: str
    options: tuple[Option, ...] = ()
    kind: Literal["choice", "text", "date"] = "text"
    indicators: tuple[int, ...] = ()
    shown_after: tuple[tuple[str, str], ...] = ()  # element and code of an option


@dataclass(frozen=True, slots=True)
class Query:
    """The questions of one condition in the order asked, with the record's own words as indicators."""

    questions: tuple[Question, ...]
    indicators: tuple[Evidence, ...]

    @property
    def ask(self) -> tuple[str, ...]:
        return tuple(question.element for question in self.questions)

    def without(self, put_away: Set[str]) -> Query | None:
        """The questions that are left, less those shown only after one that falls away; None where none is."""
        left = [
            question
            for question in self.questions
            if put_away.isdisjoint((question.element, *(element for element, _ in question.shown_after)))
        ]
        return replace(self, questions=tuple(left)) if left else None


class Assessment(NamedTuple):
    """What each rule found on one condition, and what follows from it."""

    documentation: Documentation
    disposition: Disposition
    suggestions: tuple[CodingSuggestion, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    elements: tuple[Element, ...] = ()
    ask: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()
    hits: tuple[RuleHit, ...] = ()
    query: Query | None = None
