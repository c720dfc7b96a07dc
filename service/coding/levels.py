"""Vertebral levels as they are written: L4-5, L4/L5, L45, L4 on L5, C3 through C6, D11-12, C0-C1, occiput-C1.

A motion segment belongs to the region of its upper vertebra (POLICY section 3): C7-T1 is cervical, T12-L1 thoracic,
L5-S1 lumbar. C0-C1 is head. C1-C2 has no entry in the Alphabetic Index: `head-or-cervical`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

ORDER = (
    "C0",
    *(f"C{n}" for n in range(1, 8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 6)),
    *(f"S{n}" for n in range(1, 6)),
)
_PLACE = {vertebra: index for index, vertebra in enumerate(ORDER)}
_REGION = {"C": "cervical", "T": "thoracic", "L": "lumbar", "S": "sacral"}
_JUNCTIONS = {
    ("C0", "C1"): "occipitocervical",
    ("C1", "C2"): "atlantoaxial",
    ("C7", "T1"): "cervicothoracic",
    ("T12", "L1"): "thoracolumbar",
    ("L5", "S1"): "lumbosacral",
}

SPOKEN = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
}
# A text without a word of both names no level.
LETTERS = frozenset({"lwk", "hwk", "bwk", "swk", "c", "t", "th", "d", "l", "s", "o", "oc", "occ", "occiput"})
NUMBERS = frozenset(
    {"atlas", *SPOKEN}
    | {f"{zero}{number}" for zero in ("", "0") for number in range(100)}
    | {f"{upper}.{lower}" for upper in range(13) for lower in range(13)}
)
_NUMBER = rf"(?:[0-9]{{1,2}}|(?i:{'|'.join(SPOKEN)})\b)"
_LETTER = r"(?:[LHBS]WK|[Tt][Hh]|[CcTtDdLlSs])"
_SEPARATOR = r"(?:\s?[-‐‑‒–—/]\s?|\s?&\s?|\s(?i:dash|hyphen|slash|to|through|thru|on|upon|over|down to)\s)"
LEVEL = re.compile(
    rf"(?<![A-Za-z0-9.])(?:"
    rf"(?P<whole>(?i:occiput|occ|oc|C ?0)|O)(?:\s?[-‐‑‒–—/]\s?|\s+(?i:to|through|thru|on)\s+)"
    rf"(?:[Cc] ?-?(?P<under>[1-7])|(?i:atlas))"
    rf"|(?P<letter>{_LETTER})(?P<upper>[ -]{_NUMBER}|[0-9]{{1,2}})"
    rf"(?:(?P<separator>{_SEPARATOR}|\s(?=(?:[CcTtDdLlSs]\s)?(?i:{'|'.join(SPOKEN)})))(?P<lowerletter>{_LETTER}?)\s?-?(?P<lower>{_NUMBER}|(?<=S)[lI](?!\s?joint))(?P<more>(?:[/-][1-9](?![0-9/]))*)|(?P<glued>[CcLlSsTtDd])(?P<gluednumber>[0-9]{{1,2}}))?"
    rf")(?![0-9A-Za-z])(?!\s?(?i:mm|cm|millimet|percent|%))"
)
_SEQUENCES = frozenset({"T1", "T2"})  # of MR too: 'T2-weighted'
_NOT_A_LEVEL = re.compile(
    r"[ -]?(?:weighted|w\b(?!/)|wi\b|signal|sequence|hyper|hypo|bright|dark|(?:high|low)\b(?!.?grade)|image|fat|stir"
    r"|flair|relaxation)",
    re.I,
)
_BEFORE_SEQUENCE = re.compile(r"\b(?:ax|axial|axials|sag|sagittal|cor|coronal|fse|tse)\s$", re.I)
_ROOT = re.compile(r"\s*(?:exiting |traversing |exit )?(?:nerve|root|roots|radicul|dermatom|myotom|radicular)", re.I)
_RANGE = frozenset({"to", "through", "thru", "down to"})
_CHAIN = frozenset({"-", "‐", "‑", "‒", "/", "–", "—"})
_RUN_TOGETHER = {
    "L": ("12", "23", "34", "45", "56"),
    "C": ("12", "23", "34", "45", "56", "67"),
    "S": ("12",),
    "T": ("23", "34", "45", "56", "67", "78", "89"),
}


class Level:
    """One written level or range by its vertebrae; `root` when a nerve root is meant, `ranged` when 'to' ties it."""

    __slots__ = ("end", "ranged", "root", "start", "vertebrae")

    def __init__(
        self, start: int, end: int, vertebrae: tuple[str, ...], *, root: bool = False, ranged: bool = False
    ) -> None:
        self.start, self.end, self.vertebrae, self.root, self.ranged = start, end, vertebrae, root, ranged

    @property
    def labels(self) -> tuple[str, ...]:
        """Normalised: a vertebra 'L1', a segment 'L4-L5', each segment of a range."""
        return _labels(self.vertebrae)

    def places(self) -> tuple[tuple[str, str], ...]:
        """(region, junction) of each part, in order, without repeats."""
        return _places(self.vertebrae)

    def places_to(self, last: str) -> tuple[tuple[str, str], ...]:
        """The same of all from here to another vertebra."""
        return _places(_between(self.vertebrae[0], last))


@lru_cache(maxsize=1024)
def _labels(vertebrae: tuple[str, ...]) -> tuple[str, ...]:
    if len(vertebrae) == 1:
        return vertebrae
    return tuple(f"{upper}-{lower}" for upper, lower in pairwise(vertebrae))


@lru_cache(maxsize=1024)
def _places(vertebrae: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys(_place_of(label) for label in _labels(vertebrae)))


def _place_of(label: str) -> tuple[str, str]:
    upper, _, lower = label.partition("-")
    junction = _JUNCTIONS.get((upper, lower), "") if lower else ""
    if upper == "C0":
        return "head", junction or "occipitocervical"
    if junction == "atlantoaxial":
        return "head-or-cervical", junction
    return _REGION[upper[0]], junction


def region_of(label: str) -> str:
    """The region of a normalised label: 'L4-L5' is lumbar, 'C1-C2' head-or-cervical."""
    return _place_of(label)[0]


def find_levels(text: str, start: int = 0, end: int | None = None) -> list[Level]:
    """The levels of a text, or of a part of it, in order; MR sequences (T1-weighted), grades and dates are none."""
    return _tied(text, LEVEL.finditer(text, start, len(text) if end is None else end))


def find_levels_at(text: str, starts: Sequence[int], end: int) -> list[Level]:
    """The same where it is known at which places a level may begin: `starts`, in order."""
    matches: list[re.Match[str]] = []
    beyond = 0
    for start in starts:
        match = LEVEL.match(text, start, end) if start >= beyond else None
        if match:
            matches.append(match)
            beyond = match.end()
    return _tied(text, matches)


def _tied(text: str, matches: Iterable[re.Match[str]]) -> list[Level]:
    found: list[Level] = []
    for match in matches:
        level = _level(text, match)
        if level is None:
            continue
        if found and _chains(found[-1], level, text[found[-1].end : level.start]):
            level = _chained(found.pop(), level)
        found.append(level)
    return found


def _chains(first: Level, second: Level, gap: str) -> bool:
    """Tied by a dash or slash, a range of segments ('L1-2 through L3-4', 'L1 L2 to L3 L4'), or the next vertebra."""
    beside = gap.isspace() and "\n" not in gap
    following = _PLACE[second.vertebrae[0]] - _PLACE[first.vertebrae[-1]] == 1
    if beside and following and (first.ranged or second.ranged) and 1 in (len(first.vertebrae), len(second.vertebrae)):
        return True
    if len(second.vertebrae) > 1:
        return gap.strip().lower() in _RANGE and _PLACE[second.vertebrae[0]] > _PLACE[first.vertebrae[0]]
    return gap.strip() in _CHAIN or (beside and following and len(first.vertebrae) == 1)


def _chained(first: Level, second: Level) -> Level:
    """'L4-5-S1' and 'C5/C6/C7' are one range."""
    vertebrae = _between(first.vertebrae[0], second.vertebrae[-1])
    return Level(first.start, second.end, vertebrae, ranged=first.ranged or second.ranged)


def _level(text: str, match: re.Match[str]) -> Level | None:
    start, end = match.span()
    written = text[start:end]
    known = _KNOWN.get(written)
    if known is None:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        vertebrae = _between("C0", f"C{match['under'] or 1}") if match["whole"] else _vertebrae(match)
        known = _KNOWN[written] = vertebrae, (match["separator"] or "").strip().lower() in _RANGE
    vertebrae, ranged = known
    if not vertebrae or (vertebrae[0] in _SEQUENCES and _is_sequence(text, start, end, vertebrae)):
        return None
    root = len(vertebrae) == 1 and _ROOT.match(text, end) is not None
    return Level(start, end, vertebrae, root=root, ranged=ranged)


def _is_sequence(text: str, start: int, end: int, vertebrae: tuple[str, ...]) -> bool:
    """'T2-weighted', 'sagittal T1': of an MR."""
    if not _SEQUENCES.issuperset(vertebrae):
        return False
    if _NOT_A_LEVEL.match(text, end):
        return True
    behind_blank = start > 0 and text[start - 1].isspace()
    return behind_blank and _BEFORE_SEQUENCE.search(text, max(0, start - 12), start) is not None


# What was read of a level by how it is written: there are few, and a report names each again and again.
_KNOWN: dict[str, tuple[tuple[str, ...], bool]] = {}
_MOST_KNOWN = 1024


def _vertebrae(match: re.Match[str]) -> tuple[str, ...]:
    letter, number = _letter(match["letter"]), _digits(match["upper"].lstrip(" -"))
    if match["lower"] is None and match["glued"] is None:
        return _single(letter, number)
    lower_letter = _letter(match["lowerletter"] or match["glued"] or letter)
    lower_number = _digits(match["lower"] or match["gluednumber"])
    upper, lower = _name(letter, number), _name(lower_letter, lower_number)
    if not match["lowerletter"] and not match["glued"] and lower not in _PLACE:
        lower = ""
    if not match["lowerletter"] and upper and not lower and number.isdigit():
        lower = _next_region(letter, lower_number)
        if not lower and "/" in (match["separator"] or ""):
            return ()  # 'MRI L/S 1/14' is a date
    return _between(upper, _last(lower, match["more"] or ""))


def _last(lower: str, more: str) -> str:
    """The last vertebra of 'C4/5/6', where each follows on the one before."""
    for number in more[1::2]:
        if not lower or int(number) != int(lower[1:]) + 1 or f"{lower[0]}{number}" not in _PLACE:
            return lower
        lower = f"{lower[0]}{number}"
    return lower


def _letter(written: str) -> str:
    """'Th' and 'D' are T; in German a vertebra is named by its column: 'HWK 5/6' is C5-6."""
    return _OTHER_LETTERS.get(written.upper(), written.upper())


_OTHER_LETTERS = {"TH": "T", "D": "T", "HWK": "C", "BWK": "T", "LWK": "L", "SWK": "S"}


def _digits(written: str) -> str:
    """'4' and the spoken 'four' alike; of a scanned 'L5-Sl' the 1."""
    return "1" if written in ("l", "I") else str(SPOKEN.get(written.lower(), written))


def _next_region(letter: str, number: str) -> str:
    """'L5-1' means L5-S1, 'C7-1' C7-T1, 'T12-1' T12-L1."""
    return {"C": "T1", "T": "L1", "L": "S1"}.get(letter, "") if number == "1" else ""


def _single(letter: str, number: str) -> tuple[str, ...]:
    if number in _RUN_TOGETHER.get(letter, ()) and not (letter == "T" and number in ("10", "11", "12")):
        return f"{letter}{number[0]}", f"{letter}{number[1]}"
    name = _name(letter, number)
    return (name,) if name else ()


def _name(letter: str, number: str) -> str:
    name = f"{letter}{int(number)}"
    if name == "L6":
        return "L5"
    return name if name in _PLACE and not (len(number) > 1 and number[0] == "0") else ""


def _between(upper: str, lower: str) -> tuple[str, ...]:
    if not upper or not lower:
        return (upper,) if upper else ()
    first, last = _PLACE[upper], _PLACE[lower]
    if first == last:
        return (upper,)
    if first > last:
        # 'C5-1' or 'L5-L4': the smaller one first, but a segment written upwards is still that segment.
        number = lower[1:]
        if upper[0] == lower[0] and number == "1" and first + 1 < len(ORDER) and ORDER[first + 1][0] != upper[0]:
            return upper, ORDER[first + 1]
        first, last = last, first
    return ORDER[first : last + 1]


def joined(levels: Sequence[Level]) -> Iterator[str]:
    """All normalised labels of several levels, without repeats."""
    yield from dict.fromkeys(label for level in levels for label in level.labels)
