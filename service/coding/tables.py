"""Levels in rows under the space that all speak of: 'Neural foramina: C3-4 mild left, C4-5 patent. C5-6: severe.'"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from service.coding.lexicon import Mention
from service.coding.model import Assertion, Evidence, Finding, Passage, Statement, Step
from service.coding.places import place_findings
from service.coding.scene import FILLERS, JOINERS, Place, Scene
from service.coding.sentences import Section

_GRADES = frozenset(
    "minimal mild mildly moderate moderately severe severely marked markedly advanced critical mod sev narrowed".split()
)
_OPEN = frozenset(
    "none no nil normal negative patent open ok clear unremarkable adequate preserved capacious wnl".split()
)
_BESIDE = frozenset("stenosis narrowing l r b left right bilateral . : ; - – ( ) to high low grade".split())
_ROW = _GRADES | _OPEN | _BESIDE | FILLERS | JOINERS
_LONGEST_HEADING = 7  # words


class Column(NamedTuple):
    """The space that a heading names for the rows below it."""

    space: Finding
    heading: Evidence
    section: Section

    def holds(self, scene: Scene) -> bool:
        """Under the same heading, in the same paragraph."""
        return scene.span.section is self.section and not scene.span.new_paragraph


def column_of(scene: Scene, passage: Passage) -> Column | None:
    """The column that a sentence opens: a space and a colon before the first level, if there is one."""
    end = _end_of_heading(scene)
    words = scene.words[:end]
    if not end or scene.says("tissue", "target", "other-organ") or not (_GRADES | _OPEN).isdisjoint(words):
        return None
    named = [(m.start, m.end, _space_of(m)) for m in scene.of("space", "narrowing") if m.last < end and _space_of(m)]
    if not named and words[-1] == "canal":  # alone it may be an ear's; above rows of levels it is not
        named = [(scene.starts[end - 1], scene.ends[end - 1], "canal")]
    if not named:
        return None
    start, stop, space = named[0]
    heading = Evidence(passage, start, stop)
    return Column(Finding("space", space, heading), heading, scene.span.section)


def _end_of_heading(scene: Scene) -> int:
    """Where the colon or dash stands that closes a heading of few words; 0 where none does."""
    level = next((place.first for place in scene.places if place.labels), len(scene.words))
    end = level - 1
    return end if 0 < end <= _LONGEST_HEADING and scene.words[end] in (":", "-", "–") else 0


def _space_of(mention: Mention) -> str:
    value = mention.value if mention.kind == "space" else mention.concept.space
    return value if value in ("canal", "foramen") else ""


def rows(scene: Scene, column: Column, passage: Passage) -> list[Statement]:
    """A statement for each row; none where one of them says more than a grade, a side or that it is open."""
    levels = [place for place in scene.places if place.labels]
    found = [_row(scene, place, end, column, passage) for place, end in _parts(scene, levels)]
    return [statement for statement in found if statement] if all(found) else []


def _parts(scene: Scene, levels: Sequence[Place]) -> Iterator[tuple[Place, int]]:
    """Each level with the position behind the last word that is said of it."""
    yield from zip(levels, [*(place.first for place in levels[1:]), len(scene.words)], strict=True)


def _row(scene: Scene, place: Place, end: int, column: Column, passage: Passage) -> Statement | None:
    words = scene.words[place.last + 1 : end]
    graded, is_open = not _GRADES.isdisjoint(words), not _OPEN.isdisjoint(words)
    plain = all(
        word in _GRADES or word in _OPEN or word in _BESIDE or word in FILLERS or word in JOINERS for word in words
    )
    if not plain or not (graded or is_open):
        return None
    assertion: Assertion = "affirmed" if graded else "negated"
    last = max(p for p in range(place.last + 1, end) if scene.words[p] in _GRADES | _OPEN | _BESIDE - {".", ";"})
    start, stop = place.start, scene.ends[last]
    section = scene.span.section
    return Statement(
        assertion,
        "stated",
        Evidence(passage, start, stop, assertion),
        column.space,
        place_findings([place], passage),
        levels=place.labels,
        steps=(
            Step("section", section.name or "no heading", scene.span.start, scene.span.end),
            Step("narrowing", "a row under its space", start, stop),
            Step("space", "named by the heading", column.heading.start, column.heading.end),
            Step("region", "in the row", start, place.end),
        ),
    )
