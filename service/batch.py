"""Door 4: a FHIR record in, one flattened line for each Condition out (CONTRACT, "Batch output"); `bulk` has the files.

A record is judged as before a claim. One that cannot be read becomes a line that says why, and the batch goes on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from operator import attrgetter
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from service.assist import Answer, Assist
from service.bulk_files import MAX_RECORD
from service.coding.model import REQUIRED, Assessment, Finding, Issue, Reading, Statement
from service.coding.query import asked_in_order
from service.envelope import open_envelope
from service.json_body import Issue as JsonIssue
from service.json_body import Refusal, parse_json

REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Condition stands: the input as the user named it, and the line."""

    input: str
    line: int


@dataclass(frozen=True, slots=True)
class Record:
    """One line of an NDJSON file, or a whole JSON file; `size` counts the bytes read for it."""

    input: str
    line: int
    body: bytes = field(repr=False)
    size: int
    is_line: bool


@dataclass
class Tally:
    """What a batch found, in figures."""

    records: int = 0
    conditions: int = 0
    passed_over: int = 0
    unreadable: int = 0
    dispositions: Counter[str] = field(default_factory=Counter)
    suggestions: Counter[str] = field(default_factory=Counter)
    issues: Counter[tuple[str, str]] = field(default_factory=Counter)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    regions: Counter[tuple[str, str]] = field(default_factory=Counter)
    clinics: Counter[tuple[str, str]] = field(default_factory=Counter)
    asks: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Take in the figures of another part."""
        self.records += other.records
        self.conditions += other.conditions
        self.passed_over += other.passed_over
        self.unreadable += other.unreadable
        for name in COUNTERS:
            own = getattr(self, name)
            for key, count in getattr(other, name).items():
                own[key] += count

    @property
    def exit_status(self) -> int:
        """0 nothing in error, 1 errors found, 2 unreadable lines (CONTRACT)."""
        if self.unreadable:
            return 2
        return int(any(severity == "error" for _, severity in self.issues))


COUNTERS = ("dispositions", "suggestions", "issues", "rules", "regions", "clinics", "asks")


@dataclass(frozen=True, slots=True)
class Findings:
    """What one record came to: its lines of output, its share of the figures, and whether quotes decide them too."""

    rows: list[dict[str, Any]]
    tally: Tally
    rests_on_quotes: bool = False


# --- judging ------------------------------------------------------------------------------------------------------


def judge(record: Record, assist: Assist, *, every: bool = False) -> Findings:
    """The findings of one record; `every` also has a line for a Condition with nothing to say."""
    try:
        request = open_envelope(parse_record(record), "claim")
        answer = assist.answer(request, sends_forms=False, says_why_not=False)
        at = Place(record.input, record.line)
        findings = findings_of(answer, [at] * len(answer.judged), assist, every=every)
        if answer.issues:
            about = request.claim.reference if request.claim else None
            findings.rows.append(whole_line(at, about, answer, assist))
    except Refusal as refusal:
        return unreadable(record, sentence_of(refusal))
    except Exception as error:  # noqa: BLE001  # not swallowed: the line says so and the exit status is 2
        return unreadable(record, f"The service failed on this record ({place_of(error)}); report it with this place.")
    findings.tally.records = 1
    return findings


def findings_of(
    answer: Answer, places: Sequence[Place], assist: Assist, *, every: bool, clinic: str = "not given"
) -> Findings:
    """The line of each Condition at its place, and the figures of the whole answer."""
    tally = Tally(conditions=len(places))
    for issue in answer.all_issues:  # update() of a Counter takes three times as long
        tally.issues[issue.flag, issue.severity] += 1
        tally.rules[issue.rule, issue.severity] += 1
    rows = []
    for at, judged in zip(places, answer.judged, strict=True):
        row = _condition_line(at, judged.assessment, assist)
        tally.dispositions[row["disposition"]] += 1
        for code in row["suggestions"]:
            tally.suggestions[code] += 1
        for element in row["ask"]:
            tally.asks[element] += 1
        if row["disposition"] in ("code-supported", "query"):
            regions = next((e.values for e in judged.assessment.elements if e.name == "region"), ())
            for region in regions or ("not given",):
                tally.regions[region, row["disposition"]] += 1
            tally.clinics[clinic, row["disposition"]] += 1
        if every or _says_something(row):
            rows.append(row)
    return Findings(rows, tally, any(_rests_on_quotes(judged.assessment) for judged in answer.judged))


def _rests_on_quotes(assessment: Assessment) -> bool:
    """Whether the order of the questions depends on which of the regions that are named can be quoted."""
    documentation = assessment.documentation
    return (
        "region" in assessment.ask
        and len(_REQUIRED.intersection(assessment.ask)) > 1
        and bool(
            documentation.sites
            or documentation.exam_places
            or any(statement.regions for statement in documentation.statements("provider", "report"))
        )
    )


_REQUIRED = frozenset(REQUIRED)


def says_more(found: Findings) -> bool:
    """Whether it is more than that a Condition outside our families lacks a date of service."""
    tally = found.tally
    flags = {flag for flag, _ in tally.issues}
    return tally.unreadable > 0 or not (flags <= {"dos.missing"} and tally.dispositions.keys() <= _OUTSIDE)


_OUTSIDE = frozenset({"out-of-scope", "not-assessed"})


def sentence_of(refusal: Refusal) -> str:
    """Why it was refused; of many reasons the first ones."""
    reasons = [issue.diagnostics for issue in refusal.issues]
    more = [f"And {len(reasons) - REASONS_SHOWN} more."] if len(reasons) > REASONS_SHOWN else []
    return " ".join([*reasons[:REASONS_SHOWN], *more])


def place_of(error: BaseException) -> str:
    """The kind of error and where in the code; never its message, which may hold the patient's words."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f", {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{where}"


def parse_record(record: Record) -> object:
    """The JSON of a record; its size may go beyond what the service takes over HTTP."""
    named = "line" if record.is_line else "file"
    if record.size > MAX_RECORD:
        refuse(f"The {named} has {record.size} bytes and at most {MAX_RECORD} are read at once; split it.")
    try:
        return parse_json(record.body, max_bytes=MAX_RECORD)
    except Refusal as refusal:
        # The parser counts from the start of what it was given; a finding names the line itself.
        told = sentence_of(refusal).replace("The body", f"The {named}").replace("send it again", "run this again")
        refuse(re.sub(r"\bline 1, column", "column", told) if record.is_line else told)


def refuse(sentence: str) -> NoReturn:
    """Raise the Refusal of an input that is no FHIR JSON at all."""
    raise Refusal(400, [JsonIssue("error", "structure", sentence)]) from None


def unreadable(record: Record, sentence: str) -> Findings:
    """A line that says why a record could not be read."""
    line = {"input": record.input, "line": record.line, "error": sentence}
    return Findings([line], Tally(records=1, unreadable=1))


def _condition_line(at: Place, assessment: Assessment, assist: Assist) -> dict[str, Any]:
    on = assessment.documentation.date_of_service or assist.terminology.icd10cm.newest.in_force_from
    return {
        "input": at.input,
        "line": at.line,
        "condition": assessment.documentation.condition,
        "disposition": assessment.disposition,
        "suggestions": [suggestion.code for suggestion in assessment.suggestions],
        "candidates": [candidate.code for candidate in assessment.candidates],
        "ask": list(asked_in_order(assessment, assist.terminology)),
        "issues": [_issue(issue) for issue in assessment.issues],
        "release": assist.release(on),
    }


def whole_line(at: Place, about: str | None, answer: Answer, assist: Assist) -> dict[str, Any]:
    """What concerns the claim as a whole belongs to no Condition, so it has a line of its own."""
    return {
        "input": at.input,
        "line": at.line,
        "condition": about,
        "disposition": None,
        "suggestions": [],
        "candidates": [],
        "ask": [],
        "issues": [_issue(issue) for issue in answer.issues],
        "release": assist.release(answer.dates[0]),
    }


def _issue(issue: Issue) -> dict[str, str]:
    return {"code": issue.flag, "severity": issue.severity, "expression": issue.expression, "rule": issue.rule}


def _says_something(line: Mapping[str, Any]) -> bool:
    return any(line[key] for key in ("suggestions", "candidates", "ask", "issues"))


# --- Conditions that say the same ---------------------------------------------------------------------------------


class _Reference(msgspec.Struct, forbid_unknown_fields=True):
    reference: str


_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_reference = msgspec.json.Decoder(_Reference).decode
_ID = re.compile(rb'"[A-Za-z0-9\-.]{1,64}"')
_DAY = re.compile(
    rb'"(\d{4}-\d\d-\d\d)(?:T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:0\d|1[0-3]):[0-5]\d))?"'
)


Wording = tuple[tuple[str, bytes], ...]


def wording_of(line: bytes) -> tuple[str, Wording] | None:
    """The id of a Condition, and all of it but whose it is and when it was recorded and stored.

    None where a part is unusual.

    In a stream, two Conditions with the same wording have the same answer: one is judged, the other is copied.
    """
    try:
        members = _read_members(line)
        written = dict(zip(members, map(bytes, members.values()), strict=True))
        given = written["id"]
        if written["resourceType"] != b'"Condition"' or not _ID.fullmatch(given) or _hides_a_key(line, written):
            return None
        _read_reference(written["subject"])
        if "encounter" in written:
            _read_reference(written["encounter"])
        if not all(_is_day(written[key]) for key in _DATES & written.keys()):
            return None
        for key in _VARYING & written.keys():
            written[key] = _without_what_varies(key, written[key])
        return given[1:-1].decode(), tuple(written.items())
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, RecursionError, ValueError):
        return None


def _hides_a_key(line: bytes, written: Mapping[str, bytes]) -> bool:
    """Whether a line is longer than its members: of a key that stands twice the decoder keeps one, the reader none."""
    blank = line[line.find(b":") + 1 : line.find(b":") + 2] == b" "
    members = sum(map(len, written.values())) + len("".join(written).encode()) + 2 * len(written)
    return len(line.strip()) != members + (2 if blank else 1) * (2 * len(written) - 1) + 2


def _without_what_varies(key: str, raw: bytes) -> bytes:
    """Of whose it is and when it was recorded nothing; of who asserted or recorded a Condition only what they are.

    Of its meta not which version, and since when.
    """
    if key == "meta":
        stored = _STORED.fullmatch(raw)
        return stored["rest"] if stored and _is_day(b'"%b"' % stored["day"]) else raw
    if key in ("asserter", "recorder"):
        found = _SOMEBODY.fullmatch(raw)
        return found[1] if found else raw
    return b""


_STORED = re.compile(
    rb'\{(?:"versionId": ?"[A-Za-z0-9.-]{1,64}", ?)?"lastUpdated": ?"(?P<day>\d{4}-\d\d-\d\d)'
    rb'T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:0\d|1[0-3]):[0-5]\d)"'
    rb'(?:, ?"source": ?"[A-Za-z0-9:/#.-]+")?(?P<rest>(?!.*"(?:versionId|lastUpdated|source)").*\})'
)
_SOMEBODY = re.compile(
    rb'\{"reference": ?"(Practitioner|PractitionerRole|Patient|RelatedPerson)/[A-Za-z0-9.-]*[0-9.-][A-Za-z0-9.-]*"\}'
)
_DATES = frozenset({"recordedDate", "onsetDateTime"})
_VARYING = _DATES | {"id", "subject", "encounter", "meta", "asserter", "recorder"}


def _is_day(written: bytes) -> bool:
    found = _DAY.fullmatch(written)
    return found is not None and bool(date.fromisoformat(found[1].decode()))


# --- words that say the same --------------------------------------------------------------------------------------

# The words at the end of a code element, where each of their signs is written as it is.
_WORDS = re.compile(rb'(?P<rest>\{(?:.*, ?)?)"text": ?"(?P<words>[!#-\[\]-~][ !#-\[\]-~\x80-\xff]{0,199})"\}', re.S)


def words_apart(wording: Wording) -> tuple[str, Wording] | None:
    """The words that name a diagnosis, and its wording without them.

    None where they are long or unusual, say again what a code is called, or mean the day on which they were written.
    """
    members = dict(wording)
    found = _WORDS.fullmatch(members.get("code", b""))
    if not found or b'"%b"' % found["words"] in found["rest"] or b"today" in found["words"].lower():
        return None
    try:
        return found["words"].decode(), tuple((members | {"code": found["rest"]}).items())
    except UnicodeDecodeError:
        return None


def meaning_of(reading: Reading) -> tuple[Any, ...]:
    """What a text says, wherever in it that stands.

    On that, and not on where it stands, rests what is found on a Condition by itself, unless that `rests_on_quotes`.
    """
    return tuple(map(_stated, reading.statements)), tuple(map(_value_of, reading.findings))


def _stated(statement: Statement) -> tuple[Any, ...]:
    findings = [tuple(map(_value_of, found)) for found in _findings_of(statement)]
    return (*_saying_of(statement), *findings, _value_of(statement.space) if statement.space else None)


_saying_of = attrgetter(
    "assertion", "narrowing", "regions_joined", "cause_uncertain", "levels", "spine_only", "by_code"
)
_findings_of = attrgetter("regions", "causes", "listed", "framings")
_value_of: Callable[[Finding], tuple[str, ...]] = attrgetter("element", "value", "assertion", "detail")
