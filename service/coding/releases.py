"""ICD-10-CM by date: which codes hold on a date of service, what they are called, which exclude each other.

Dates are ISO strings, 'YYYY-MM-DD'. Codes may come undotted and in lower case; answers carry the dotted form.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
import sys
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from service.coding.code_lines import HEADING, CodeLines, CodeRow, Overview, overview_from, overview_of, plain, unquoted
from service.coding.errors import PackError
from service.coding.kept import kept, key_of
from service.coding.yaml_strict import load_yaml

Validity = Literal["valid", "not-billable", "not-valid", "unknown", "not-known"]
CODES = "codes"  # the kind of what is kept of codes.csv.gz

# The second character was a digit until QA0 came with FY2026.
CODE_FORM = re.compile(r"[A-Z][0-9A][0-9A-Z](?:\.[0-9A-Z]{1,4})?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class CodeSystemRelease:
    """One official release, or (`checked`) an older one whose codes were checked to hold on."""

    fiscal_year: str
    edition: str
    in_force_from: str
    in_force_until: str
    checked: bool = False

    def in_force(self, on: str) -> bool:
        return self.in_force_from <= on <= self.in_force_until


@dataclass(frozen=True, slots=True)
class Periods:
    """The days on which each code may be reported, for dates of which no official file is loaded.

    `of_code` has the first and the last day of each code that did not hold from the first to the last day told of.
    """

    first: str
    last: str
    of_code: Mapping[str, tuple[str, str]]

    def tell_of(self, on: str) -> bool:
        return self.first <= on <= self.last


@dataclass(frozen=True, slots=True)
class CodeStatus:
    """Whether a code may be reported on a date; `release` is the fiscal year that was asked."""

    code: str
    validity: Validity
    release: str
    reason: str


@dataclass(frozen=True, slots=True)
class Excludes1Note:
    """A note 'Excludes1' of the tabular list: `at` carries it, `excludes` is what may not be coded with it."""

    at: str
    note: str
    excludes: tuple[str, ...]
    releases: tuple[str, ...]

    def forbids(self, other: str, release: str) -> bool:
        """Whether the note excludes a code, in a fiscal year."""
        return release in self.releases and any(_within(other, pattern) for pattern in self.excludes)


class Excludes1:
    """All Excludes1 notes, looked up by the code at which they stand or beneath which it lies."""

    def __init__(self, rows: Iterable[list[str]]) -> None:
        """`rows` are those of excludes1.csv; few are ever asked for, so a note is made when it is."""
        self._at_code: dict[str, list[list[str]]] = {}
        self._at_range: dict[str, list[list[str]]] = {}  # by the first letter of the codes within
        combinations = set[str]()
        for row in rows:
            at, _, releases, _ = row
            combinations.add(releases)
            if "-" in at:
                for letter in range(ord(at[0]), ord(at.partition("-")[2][0]) + 1):
                    self._at_range.setdefault(chr(letter), []).append(row)
            else:
                self._at_code.setdefault(at, []).append(row)
        self._releases = {release for combination in combinations for release in combination.split()}

    def between(self, code: str, other: str, on: str) -> Excludes1Note | None:
        """The first note at a code that excludes the other, in the tabular list that is nearest to the date."""
        release = self.release(on)
        return next((note for note in self._standing_at(code) if note.forbids(other, release)), None)

    def release(self, on: str) -> str:
        """The newest that has begun; notes seldom change, so that the first stands for the years before it."""
        begun = [release for release in sorted(self._releases) if release <= fiscal_year(on)]
        return begun[-1] if begun else min(self._releases, default="")

    def _standing_at(self, code: str) -> Iterator[Excludes1Note]:
        for length in range(len(code), 2, -1):
            for row in self._at_code.get(code[:length], ()):
                yield _note(row)
        for row in self._at_range.get(code[:1], ()):
            if _within(code, row[0]):
                yield _note(row)


def _note(row: Sequence[str]) -> Excludes1Note:
    at, excludes, releases, note = row
    return Excludes1Note(at, note, tuple(excludes.split()), tuple(releases.split()))


def normalise(code: str) -> str:
    """The usual dotted form: ' m9941' is M99.41."""
    compact = code.strip().upper()
    return compact[:3] + "." + compact[3:] if len(compact) > 3 and "." not in compact else compact


def fiscal_year(on: str) -> str:
    """The fiscal year, October to September, that a date falls in: 2026-10-01 is in '2027'."""
    day = _day(on)
    return str(day.year + (day.month >= 10))


class Icd10Cm:
    """The releases of ICD-10-CM that are loaded, and what is known for dates beside them."""

    def __init__(
        self,
        begins: str,
        releases: Sequence[CodeSystemRelease],
        periods: Periods,
        lines: CodeLines,
        overview: Overview,
        excludes1: Excludes1,
        manifestations: Sequence[str],
    ) -> None:
        self.begins = begins
        # An official release that comes after the check of the same months stands for more than the check.
        self.releases = tuple(sorted(releases, key=lambda release: (release.in_force_from, not release.checked)))
        self._periods, self._codes_with_period = periods, sorted(periods.of_code)
        self._official = tuple(release for release in self.releases if not release.checked)
        self._lines, self._overview = lines, overview
        self._excludes1 = excludes1
        self._manifestations = tuple(manifestations)

    @property
    def newest(self) -> CodeSystemRelease:
        """The release that holds latest; its `in_force_from` is a date in it."""
        return self.releases[-1]

    def covers(self, on: str) -> bool:
        """Is it known of a date which codes hold on it?"""
        _day(on)
        return any(release.in_force(on) for release in self.releases)

    def days_of_change(self) -> frozenset[str]:
        """Every day on which a code may begin to hold, or has ceased to."""
        spans = [(each.in_force_from, each.in_force_until) for each in self.releases]
        spans += set(self._periods.of_code.values())
        ended = {(_day(last) + timedelta(days=1)).isoformat() for _, last in spans}
        return frozenset({self.begins, *(first for first, _ in spans)} | ended)

    def known(self, code: str) -> bool:
        """Was it ever a code, billable or not?"""
        return self._is_code(normalise(code))

    def title(self, code: str, on: str | None = None) -> str | None:
        """The title on the date, or the newest one when the code has none on it; None for an unknown code."""
        rows = self._lines.rows(normalise(code))
        if not rows:
            return None
        release = None if on is None else self._release_for_title(on)
        return next((title for _, title, years in rows if release in years), rows[-1][1])

    def is_title_of_another(self, title: str, code: str) -> bool:
        """Whether this is the title of a code, in any release, and was never that of this code or of one above it."""
        asked = plain(title)
        return asked not in self._own_titles(normalise(code)) and self._overview.has_title(asked)

    def _own_titles(self, code: str) -> set[str]:
        """Of a code and of the headers above it: 'Asthma' is true of J45.909."""
        found, at = set[str](), code if code in self._lines else None
        while at:
            found.update(plain(row[1]) for row in self._lines.rows(at))
            at = self._parent(at)
        return found

    def is_billable(self, code: str, on: str) -> bool:
        """May the code be reported on the date, as far as we know?"""
        return self.status(code, on).validity == "valid"

    def children(self, code: str) -> tuple[str, ...]:
        """The codes directly beneath a header, of all releases loaded."""
        parent = normalise(code)
        return tuple(below for below in self._beneath(parent) if self._parent(below) == parent)

    def parent(self, code: str) -> str | None:
        """The header directly above a code, of all releases loaded; None for a category."""
        return self._parent(normalise(code))

    def codes(self, beneath: str = "") -> Iterator[str]:
        """The codes of all releases, in order; those beneath a header where one is given."""
        header = normalise(beneath)
        return (code for code in self._beginning_with(header) if code != header)

    def titled(self, words: Sequence[str], on: str) -> list[str]:
        """The codes of all releases, in order, with each of the lower-case words in the code or its title on a date."""
        release, found = self._release_for_title(on), set[str]()
        for line in self._lines.lines_with(max(words, key=len)):
            code, _, years, title = line.split(",", 3)
            known = code.upper()
            shown = unquoted(title) if release in years else (self.title(known, on) or "").lower()
            if all(word in f"{code}\n{shown}" for word in words):
                found.add(known)
        dated = (code for code in self._codes_with_period if all(word in code.lower() for word in words))
        return sorted(found.union(dated))

    def tells_of(self, on: str) -> bool:
        """Can it be told of a code whether it holds on the date?"""
        return on < self.begins or self._periods.tell_of(on) or any(r.in_force(on) for r in self._official)

    def holding(self, on: str) -> dict[str, bool]:
        """Each code that holds on a date, in order, and whether it may be reported: all of `status` in one reading."""
        release = next((each.fiscal_year for each in self._official if each.in_force(on)), "")
        if on < self.begins or not self.tells_of(on):
            return {}
        return self._of_release(release) if release else self._of_day(on)

    def _of_release(self, release: str) -> dict[str, bool]:
        fields = (line.split(",", 3) for line in self._lines)
        return {sys.intern(code): billable == "1" for code, billable, years, _ in fields if release in years}

    def _of_day(self, on: str) -> dict[str, bool]:
        billable = dict[str, bool]()
        for line in self._lines:
            code, told, _ = line.split(",", 2)
            billable[code] = told == "1" or billable.get(code, False)
        for code, (first, last) in self._periods.of_code.items():
            billable[code] = first <= on <= last
        held, below = dict[str, bool](), ""
        for code in sorted(billable, reverse=True):
            below = code if billable[code] else below
            if below.startswith(code):
                held[sys.intern(code)] = billable[code]
        return dict(reversed(held.items()))

    def is_extension_of(self, code: str) -> str | None:
        """The complete code that an unknown one adds characters to: M99.40XA extends M99.40, which takes none."""
        extended = normalise(code)
        parent = None if self._is_code(extended) else self._parent(extended)
        return None if parent is None or self.children(parent) else parent

    def seventh_characters(self, code: str) -> tuple[str, ...]:
        """The codes that a header, or the part of an unknown code that is one, makes with its 7th character."""
        asked = normalise(code)
        header = asked if self._is_code(asked) else self._parent(asked)
        below = self.children(header) if header else ()
        return below if all(len(child) == len("S06.0X0A") for child in below) else ()

    def status(self, code: str, on: str) -> CodeStatus:
        """Valid, a header, not valid, unknown, or not to be known, judged by the date alone."""
        asked, year = normalise(code), fiscal_year(on)
        validity, reason = self._judge(asked, on)
        return CodeStatus(asked, validity, year, reason)

    def excludes1(self, code_a: str, code_b: str, on: str) -> Excludes1Note | None:
        """The note that forbids the two together on a date, whichever of them carries it (Guidelines I.A.12.a).

        None too for a date of which nothing is known; `tabular_list` tells whose notes are taken.
        """
        a, b = sorted((normalise(code_a), normalise(code_b)))
        if a == b or not self.covers(on):
            return None
        return self._excludes1.between(a, b, on) or self._excludes1.between(b, a, on)

    def tabular_list(self, on: str) -> str:
        """The fiscal year of the tabular list whose notes are taken on a date."""
        return self._excludes1.release(on)

    def is_manifestation(self, code: str) -> bool:
        """Can the code never be listed first? (Guidelines I.A.13, as far as title and 'Code first' note tell.)"""
        asked = normalise(code)
        return any(_within(asked, pattern) for pattern in self._manifestations)

    def vocabulary(self) -> frozenset[str]:
        """The words of all titles in lower case, three letters and more: a list of correct spellings."""
        return self._overview.words

    def _judge(self, code: str, on: str) -> tuple[Validity, str]:
        if on < self.begins:
            return self._absent(code, f"ICD-10-CM begins on {self.begins}")
        for release in self._official:
            if release.in_force(on):
                return self._as_release(code, release.fiscal_year, f"FY{release.fiscal_year} {release.edition} edition")
        if self._periods.tell_of(on):
            return self._by_period(code, on)
        if not CODE_FORM.fullmatch(code):
            return "unknown", "not the form of an ICD-10-CM code"
        return "not-known", f"no release loaded tells of {on}"

    def _as_release(self, code: str, release: str, says: str) -> tuple[Validity, str]:
        row = self._row(code, release)
        if row is None:
            return self._absent(code, says)
        return ("valid" if row[0] else "not-billable"), says

    def _by_period(self, code: str, on: str) -> tuple[Validity, str]:
        says = next((release.edition for release in self.releases if release.in_force(on)), f"validity on {on}")
        if self._holds(code, on):
            return "valid", says
        if any(self._holds(below, on) for below in self._beneath(code)):
            return "not-billable", says
        first, last = self._periods.of_code.get(code, ("", ""))
        return self._absent(code, f"it holds from {first} to {last}" if first else says)

    def _holds(self, code: str, on: str) -> bool:
        first, last = self._periods.of_code.get(code, ("", ""))
        return first <= on <= last if first else any(billable for billable, _, _ in self._lines.rows(code))

    def _is_code(self, code: str) -> bool:
        return code in self._lines or code in self._periods.of_code

    def _absent(self, code: str, says: str) -> tuple[Validity, str]:
        return ("not-valid", says) if self._is_code(code) else ("unknown", f"no code of ICD-10-CM; {says}")

    def _row(self, code: str, release: str) -> CodeRow | None:
        return next((row for row in self._lines.rows(code) if release in row[2]), None)

    def _release_for_title(self, on: str) -> str:
        """The newest official release begun by the date, else the first: titles seldom change."""
        _day(on)
        begun = [release for release in self._official if release.in_force_from <= on]
        return (begun[-1] if begun else self._official[0]).fiscal_year

    def _beneath(self, code: str) -> Iterator[str]:
        # A category's codes begin with its dot; M80.00XA stands beneath M80.00 though M80.00X is no code.
        for below in self._beginning_with(code):
            if below != code:
                yield below

    def _beginning_with(self, start: str) -> Iterator[str]:
        """Each code that begins so, in order."""
        dated, at = self._codes_with_period, bisect_left(self._codes_with_period, start)
        for code in self._lines.beginning_with(start):
            while at < len(dated) and dated[at] < code:
                yield dated[at]
                at += 1
            at += at < len(dated) and dated[at] == code
            yield code
        while at < len(dated) and dated[at].startswith(start):
            yield dated[at]
            at += 1

    def _parent(self, code: str) -> str | None:
        shorter = (code[:length].rstrip(".") for length in range(len(code) - 1, 2, -1))
        return next((parent for parent in shorter if self._is_code(parent)), None)


def load_icd10cm(folder: Path) -> Icd10Cm:
    """Reads terminology/icd-10-cm; PackError when a file is damaged or says what cannot be."""
    official, checksum = _official(folder / "releases.yaml")
    begins, checked, told = _dates(folder / "dates.yaml")
    lines, overview = _codes(folder / "codes.csv.gz", checksum, {release.fiscal_year for release in official})
    _check_releases(folder / "releases.yaml", official)
    releases = [*official, *checked]
    periods = Periods(*told, _periods(folder / "validity.csv"))
    return Icd10Cm(
        begins, releases, periods, lines, overview, _excludes1(folder / "excludes1.csv"), _manifestations(folder)
    )


def _official(path: Path) -> tuple[list[CodeSystemRelease], str]:
    page = load_yaml(path)
    try:
        return [_release(entry, checked=False) for entry in page["releases"]], page["codes"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise PackError(f"{path}: lacks or misspells {error}. Build it again with scripts/build_icd10cm.py.") from None


def _dates(path: Path) -> tuple[str, list[CodeSystemRelease], tuple[str, str]]:
    """When ICD-10-CM began, the years told of without an official file, and the first and last day of them."""
    page = load_yaml(path)
    try:
        for entry in (page["begins"], page["validity"], *page["checked"]):
            if not entry["cites"] or set(entry["cites"]) - page["citations"].keys():
                raise PackError(f"{path}: an entry cites nothing, or what is not under `citations`. Add it there.")
        checked = [_release(entry, checked=True) for entry in page["checked"]]
        told = _iso(page["validity"]["from"]), _iso(page["validity"]["until"])
        return _iso(page["begins"]["day"]), checked, told
    except (KeyError, TypeError, ValueError) as error:
        raise PackError(f"{path}: lacks or misspells {error}. Its first lines tell what it holds.") from None


def _periods(path: Path) -> dict[str, tuple[str, str]]:
    try:
        heading, *lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise PackError(f"{path}: cannot be read ({error}). Build it again with scripts/build_icd10cm.py.") from None
    rows = [line.split(",") for line in lines]
    if heading != "code,from,until" or any(len(row) != 3 or not row[1] <= row[2] for row in rows):
        raise PackError(f"{path}: each line needs code,from,until. Build it again with scripts/build_icd10cm.py.")
    return {code: (first, last) for code, first, last in rows}


def _release(entry: Mapping[str, Any], *, checked: bool) -> CodeSystemRelease:
    edition = entry["label"] if checked else entry["edition"]
    return CodeSystemRelease(
        str(entry["fiscal_year"]), edition, _iso(entry["in_force_from"]), _iso(entry["in_force_until"]), checked
    )


def _codes(path: Path, checksum: str, years: set[str]) -> tuple[CodeLines, Overview]:
    packed = _packed(path, checksum)
    lines = CodeLines(_unpacked(path, packed))
    told = kept(CODES, packed)
    try:
        overview = overview_from(told) if told else overview_of(lines)
    except ValueError as error:
        raise PackError(f"{path}: a line has not four fields, or is out of order ({error}). Build it again.") from None
    if overview.years != years:
        raise PackError(
            f"{path}: holds releases {sorted(overview.years)}, not {sorted(years)}. Restore both from one version."
        )
    return lines, overview


def _packed(path: Path, checksum: str) -> bytes:
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise PackError(f"{path}: cannot be read ({error.strerror or error}). Restore the file.") from None
    if hashlib.sha256(packed).hexdigest() != checksum:
        raise PackError(f"{path}: its SHA-256 is not the one in releases.yaml. Restore both from one version.")
    return packed


def _unpacked(path: Path, packed: bytes) -> str:
    """The lines beneath the heading."""
    try:
        text = gzip.decompress(packed).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise PackError(f"{path}: cannot be unpacked ({error}). Build it again.") from None
    if not text.startswith(HEADING) or not text.endswith("\n"):
        raise PackError(f"{path}: the first line is not {HEADING.rstrip()}. Build it again.")
    return text.removeprefix(HEADING)


def entries_to_keep(folder: Path) -> dict[str, Any]:
    """What `coding-assist compile` keeps of this folder; PackError where it is not sound."""
    load_icd10cm(folder)
    packed = (folder / "codes.csv.gz").read_bytes()
    return {key_of(CODES, packed): overview_of(CodeLines(_unpacked(folder / "codes.csv.gz", packed))).to_json()}


def _check_releases(path: Path, releases: Sequence[CodeSystemRelease]) -> None:
    ordered = sorted(releases, key=lambda release: release.in_force_from)
    if not ordered:
        raise PackError(f"{path}: lists no release. Build it again with scripts/build_icd10cm.py.")
    for earlier, later in pairwise(ordered):
        if later.in_force_from <= earlier.in_force_until:
            raise PackError(f"{path}: FY{earlier.fiscal_year} and FY{later.fiscal_year} overlap. Correct their dates.")


def _excludes1(path: Path) -> Excludes1:
    try:
        heading, *rows = csv.reader(path.read_text("utf-8").splitlines())
    except OSError as error:
        raise PackError(f"{path}: cannot be read ({error.strerror or error}). Restore the file.") from None
    if heading != ["at", "excludes", "releases", "note"] or any(len(row) != 4 for row in rows):
        raise PackError(f"{path}: each line needs at,excludes,releases,note. Build it again.")
    return Excludes1(rows)


def _manifestations(folder: Path) -> list[str]:
    path = folder / "manifestation.yaml"
    codes = load_yaml(path).get("codes")
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise PackError(f"{path}: `codes` is no list of codes. Write one code or prefix on each line.")
    return codes


def _within(code: str, pattern: str) -> bool:
    """M43.5X2 is within M43, within M43.5 and within M43.3-M43.5X9."""
    first, dash, last = pattern.partition("-")
    return code.startswith(first) or (bool(dash) and first <= code and (code <= last or code.startswith(last)))


def _iso(day: object) -> str:
    """YAML reads an unquoted date as a date; both spellings are meant."""
    return _day(str(day)).isoformat()


def _day(on: str) -> date:
    # date.fromisoformat alone would let 20261116 and 2026-W46-7 pass, which do not compare with our dates.
    if not _DATE.fullmatch(on):
        raise ValueError(f"{on!r} is no full date: give year, month and day as YYYY-MM-DD")
    return date.fromisoformat(on)
