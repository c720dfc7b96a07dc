"""Puts together what belongs together in an export: a visit's Conditions, its Encounter, the reports of its patient.

The rows may lie in any file and in any order, so where each one lies is kept in a database on disk; the rows are read
again when their turn comes. A visit is judged like a Bundle of its resources. Which reports it gets:

    those that name the same encounter, that name none but the same patient, or that a Condition names as evidence;
    of other encounters those not later than the visit, where a Condition of the visit is in our families itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from service.assist import Assist
from service.bulk_files import Line
from service.fhir_values import code_of
from service.gate import Gate, document_speaks, report_speaks
from service.rows import element_of, read_row

JOINED = frozenset({"DiagnosticReport", "Encounter", "Observation", "DocumentReference"})
# Of an export they say nothing about a Condition; a claim is judged with what it carries itself.
PASSED_OVER = frozenset({"Patient", "Coverage", "PractitionerRole", "Organization"})

_SCHEMA = """
CREATE TABLE condition (visit TEXT, patient TEXT, encounter TEXT, source INTEGER, line INTEGER, start INTEGER,
    size INTEGER, speaks INTEGER, quiet_days INTEGER, codes TEXT, alike TEXT, details TEXT);
CREATE TABLE support (kind TEXT, own TEXT, patient TEXT, encounter TEXT, source INTEGER, line INTEGER, start INTEGER,
    size INTEGER, speaks INTEGER, first TEXT, last TEXT, used INTEGER DEFAULT 0);
CREATE TABLE alone (source INTEGER, line INTEGER, start INTEGER, size INTEGER);
"""
_INDEXES = """
CREATE INDEX by_visit ON condition (visit);
CREATE INDEX by_own ON support (own);
CREATE INDEX by_encounter ON support (encounter);
CREATE INDEX by_patient ON support (patient);
"""
_CACHE_KB = 32_768


class Located(NamedTuple):
    """Where a row lies: the number of its source, its line, its first byte and its length."""

    source: int
    line: int
    start: int
    size: int


class ConditionRow(NamedTuple):
    """What the join keeps of a Condition."""

    visit: str
    patient: str
    encounter: str
    at: Located
    speaks: bool
    quiet_days: int
    codes: str
    alike: str
    details: str


class SupportRow(NamedTuple):
    """What the join keeps of a report, document, observation or encounter; `first` and `last` are its dates."""

    kind: str
    own: str
    patient: str
    encounter: str
    at: Located
    speaks: bool
    first: str
    last: str


class Visit(NamedTuple):
    """The rows to be judged together, Conditions first; `untold` are those that no earlier visit has read."""

    conditions: tuple[Located, ...]
    support: tuple[Located, ...]
    untold: frozenset[Located]
    alone: bool = False


# --- one row ------------------------------------------------------------------------------------------------------


def index_row(line: Line, source: int, number: int, gate: Gate) -> ConditionRow | SupportRow | Located | None:
    """What the join has to know of a row; a Located where the row is judged alone, None where it is of no matter."""
    at = Located(source, number, line.start, line.size)
    try:
        row: Any = msgspec.json.decode(line.body)
        kind = row["resourceType"]
        if kind == "Condition":
            return _condition_row(row, line.body, at, gate)
        if kind in JOINED:
            return _support_row(row, kind, at, gate)
        return None if kind in PASSED_OVER else at
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, AttributeError, TypeError):
        return at  # what is wrong with it is told where it is judged


def _condition_row(row: Mapping[str, Any], body: bytes, at: Located, gate: Gate) -> ConditionRow:
    patient, encounter = _named(row["subject"]), _named(row.get("encounter"))
    read = read_row(body)
    quiet_days = gate.quiet_days(element_of(read.code))
    codings = row.get("code", {}).get("coding") or ()
    categories = sorted(code_of(category) for category in row.get("category") or ())
    alike = code_of(row.get("code")) or str(row.get("code", {}).get("text") or "").strip().lower()
    details = (_named(detail) for each in row.get("evidence") or () for detail in each.get("detail") or ())
    return ConditionRow(
        encounter or (f"of {patient}" if patient else f"at {at.source} {at.start}"),
        patient,
        encounter,
        at,
        not quiet_days or gate.speaks_beside(read),
        quiet_days,
        " ".join(str(coding.get("code") or "").replace(" ", "") for coding in codings),
        "|".join([alike, *categories]),
        " ".join(details),
    )


def _support_row(row: Mapping[str, Any], kind: str, at: Located, gate: Gate) -> SupportRow:
    own = f"{kind}/{row.get('id')}"
    patient = _named(row.get("subject"))
    if kind == "Encounter":
        period = row.get("period") or {}
        first, last = str(period.get("start") or "")[:10], str(period.get("end") or "")[:10]
        return SupportRow(kind, own, patient, "", at, False, first, last)
    if kind == "DocumentReference":
        named = ((row.get("context") or {}).get("encounter") or [None])[0]
        return SupportRow(kind, own, patient, _named(named), at, document_speaks(gate, row), "", "")
    period = row.get("effectivePeriod") or {}
    first = str(row.get("effectiveDateTime") or period.get("start") or period.get("end") or "")[:10]
    speaks = kind == "DiagnosticReport" and report_speaks(gate, row)
    return SupportRow(kind, own, patient, _named(row.get("encounter")), at, speaks, first, "")


def _named(reference: Any) -> str:
    """'Patient/p1' of every way to refer to it: absolute, with a version, as a urn."""
    written = str(reference.get("reference") or "") if isinstance(reference, dict) else ""
    parts = written.split("/_history/", maxsplit=1)[0].rstrip("/").split("/")
    return "/".join(parts[-2:])


# --- all rows -----------------------------------------------------------------------------------------------------


class Export:
    """The index of an export, on disk."""

    def __init__(self, file: Path, gate: Gate, assist: Assist) -> None:
        file.unlink(missing_ok=True)
        self._gate, self._icd10cm = gate, assist.terminology.icd10cm
        self._db = sqlite3.connect(file, isolation_level=None)
        # It is made anew by every run: no need to keep it through a crash.
        self._db.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE_KB};"
        )
        self._db.executescript(_SCHEMA)
        self._unforbidden: dict[tuple[str, str, int], bool] = {}

    def close(self) -> None:
        """Give back the file."""
        self._db.close()

    def add(self, rows: Iterable[ConditionRow | SupportRow | Located], before: int) -> None:
        """Keep the rows of a part, whose lines are numbered from behind those before it."""
        conditions: list[Sequence[Any]] = []
        support: list[Sequence[Any]] = []
        alone: list[Sequence[Any]] = []
        for row in rows:
            if isinstance(row, Located):
                alone.append(_behind(row, before))
            elif isinstance(row, ConditionRow):
                conditions.append((*row[:3], *_behind(row.at, before), *row[4:]))
            else:
                support.append((*row[:4], *_behind(row.at, before), *row[5:]))
        self._db.execute("BEGIN")
        self._insert("condition", conditions, 12)
        self._insert("support (kind, own, patient, encounter, source, line, start, size, speaks, first, last)",
                     support, 11)  # fmt: skip
        self._insert("alone", alone, 4)
        self._db.execute("COMMIT")

    def _insert(self, table: str, rows: Sequence[Sequence[Any]], width: int) -> None:
        marks = ", ".join("?" * width)
        self._db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608  # our own table names

    def visits(self, *, every: bool) -> Iterator[Visit]:
        """What is to be judged, in the order of the files: rows that stand alone, then visit by visit."""
        self._db.executescript(_INDEXES)
        for at in self._db.execute("SELECT * FROM alone ORDER BY source, line"):
            yield Visit((Located(*at),), (), frozenset(), alone=True)
        visits = self._db.execute("SELECT visit, min(rowid) AS first FROM condition GROUP BY visit ORDER BY first")
        for visit, _ in visits:
            found = self._visit(visit, every=every)
            if found:
                yield found

    def count(self) -> int:
        """How many Conditions there are."""
        return int(self._db.execute("SELECT count(*) FROM condition").fetchone()[0])

    def _visit(self, visit: str, *, every: bool) -> Visit | None:
        conditions = self._db.execute(
            "SELECT rowid, * FROM condition WHERE visit = ? ORDER BY rowid", [visit]
        ).fetchall()
        _, _, patient, encounter, *_ = conditions[0]
        met = self._one_encounter(encounter)
        beside = self._beside(patient, encounter, conditions)
        speaks = any(row[8] for row in conditions)
        if not (every or speaks or any(row[9] for row in beside) or self._quarrel(conditions, met)):
            return None
        if speaks and encounter and patient:
            beside += self._of_other_encounters(patient, encounter, met)
        rows = {row[0]: row for row in [*met, *beside]}
        untold = frozenset(Located(*row[5:9]) for row in rows.values() if not row[-1])
        self._db.executemany("UPDATE support SET used = 1 WHERE rowid = ?", [[number] for number in rows])
        support = tuple(Located(*rows[number][5:9]) for number in sorted(rows))
        return Visit(tuple(Located(*row[4:8]) for row in conditions), support, untold)

    def _one_encounter(self, encounter: str) -> list[Any]:
        """The newest row of an encounter that stands there more than once."""
        return (
            self._support("kind = 'Encounter' AND own = ? ORDER BY rowid DESC LIMIT 1", encounter) if encounter else []
        )

    def _beside(self, patient: str, encounter: str, conditions: Sequence[Any]) -> list[Any]:
        found: list[Any] = []
        if encounter:
            found += self._support("encounter = ?", encounter)
        if patient:
            found += self._support("patient = ? AND encounter = '' AND kind != 'Encounter'", patient)
        for own in " ".join(row[12] for row in conditions).split():
            found += self._support("own = ? AND kind != 'Encounter'", own)
        return found

    def _of_other_encounters(self, patient: str, encounter: str, met: Sequence[Any]) -> list[Any]:
        until = next((row[11] or row[10] for row in met), "") or "~"
        where = "patient = ? AND encounter NOT IN ('', ?) AND kind = 'DiagnosticReport' AND first <= ?"
        return self._support(where, patient, encounter, until)

    def _support(self, where: str, *values: str) -> list[Any]:
        return self._db.execute(f"SELECT rowid, * FROM support WHERE {where}", values).fetchall()  # noqa: S608

    def _quarrel(self, conditions: Sequence[Any], met: Sequence[Any]) -> bool:
        """Whether quiet Conditions have something against each other, or against the date of their visit."""
        days = {day for row in met for day in row[10:12] if len(day) == 10} or {self._icd10cm.newest.in_force_from}
        if not all(map(_is_date, days)):
            return True  # the core tells that it is none
        bits = [1 << self._gate.day_of(day) for day in days]
        if any(not row[9] & bit for row in conditions for bit in bits):
            return True
        if len(conditions) == 1:
            return False
        alike = [row[11] for row in conditions]
        codes = [code for row in conditions for code in row[10].split()]
        return len(set(alike)) < len(alike) or any(
            self._forbidden(one, other, day) for one, other in combinations(codes, 2) for day in days
        )

    def _forbidden(self, one: str, other: str, day: str) -> bool:
        key = one, other, self._gate.day_of(day)
        found = self._unforbidden.get(key)
        if found is None:
            found = self._icd10cm.excludes1(one, other, day) is not None
            if len(self._unforbidden) < 1_000_000:
                self._unforbidden[key] = found
        return found


def _is_date(day: str) -> bool:
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def _behind(at: Located, before: int) -> tuple[int, int, int, int]:
    """Where a row lies, its line counted from the start of the file."""
    return at.source, before + at.line, at.start, at.size
