"""What is filled in and not written out: rows, boxes of a table, fields, ditto.

Neural foramina: C3-4 mild left, C4-5 patent. C5-6: severe.     rows of levels under a space
Level | Canal | Foramina / C3-4 | mild | none                     a table
C5-6: Canal: mild. Foramina: right moderate, left none.           fields under a level
C6-7: ditto.                                                      what was said of the level before
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from service.coding.boxes import BAR, MARKS, TICKS
from service.coding.causes import tissue_findings
from service.coding.lexicon import Mention
from service.coding.model import Assertion, Evidence, Finding, Passage, Statement, Step
from service.coding.places import place_findings
from service.coding.scene import FILLERS, JOINERS, Place, Scene, labels_of
from service.coding.sentences import Section

_GRADES = frozenset(
    "minimal mild mildly moderate moderately severe severely marked markedly advanced critical mod sev narrowed".split()
)
_OPEN = frozenset(
    "none no nil normal nl negative patent open ok clear unremarkable adequate preserved capacious wnl".split()
)
_GRADED = _GRADES | _OPEN
_CONTENT = _GRADED - {"narrowed"}  # of a table, below its header
_BESIDE = frozenset("stenosis sten narrowing l r b left right bilateral . : ; - – ( ) to high low grade".split())
_ROW = _GRADED | _BESIDE | FILLERS | JOINERS
_ROW_ENDS = _GRADED | _BESIDE - {".", ";"}
_LONGEST_HEADING = 7  # words


class Column(NamedTuple):
    """The space that a heading names for the rows below it; none where it names but a stenosis."""

    space: Finding | None
    heading: Evidence
    section: Section

    def holds(self, scene: Scene) -> bool:
        """Under the same heading, in the same paragraph."""
        return scene.span.section is self.section and not scene.span.new_paragraph


def column_of(scene: Scene, passage: Passage) -> Column | None:
    """The column that a sentence opens: a space, or stenosis alone, and a colon before the first level there is."""
    end = _end_of_heading(scene)
    words = scene.words[:end]
    if not end or scene.says("tissue", "target", "other-organ") or not _GRADED.isdisjoint(words):
        return None
    named = [(m.start, m.end, _space_of(m)) for m in scene.of("space", "narrowing") if m.last < end]
    named = [one for one in named if one[2]] or (named if words[-1:] == ["stenosis"] else [])
    if not named and words[-1] == "canal":  # alone it may be an ear's; above rows of levels it is not
        named = [(scene.starts[end - 1], scene.ends[end - 1], "canal")]
    if not named:
        return None
    start, stop, space = named[0]
    heading = Evidence(passage, start, stop)
    return Column(Finding("space", space, heading) if space else None, heading, scene.span.section)


def _end_of_heading(scene: Scene) -> int:
    """Where the colon or dash stands that closes a heading of few words; 0 where none does."""
    end = len(scene.words) - 1
    for place in scene.places:
        if place.labels:
            end = place.first - 1
            break
    return end if 0 < end <= _LONGEST_HEADING and scene.words[end] in (":", "-", "–", BAR) else 0


def _space_of(mention: Mention) -> str:
    value = mention.value if mention.kind == "space" else mention.concept.space
    return value if value in ("canal", "foramen") else ""


def rows(scene: Scene, column: Column, passage: Passage) -> list[Statement]:
    """A statement for each row; none where one of them says more than a grade, a side or that it is open."""
    levels = [place for place in scene.places if place.labels]
    found = [_row(scene, place, end, column, passage) for place, end in _parts(scene, levels)]
    return [statement for statement in found if statement] if all(found) else []


def _parts(scene: Scene, levels: list[Place]) -> Iterator[tuple[Place, int]]:
    """Each level with the position behind the last word that is said of it."""
    ends = [*(place.first for place in levels[1:]), len(scene.words)][: len(levels)]
    yield from zip(levels, ends, strict=True)


def _row(scene: Scene, place: Place, end: int, column: Column, passage: Passage) -> Statement | None:
    words = scene.words[place.last + 1 : end]
    graded, is_open = not _GRADES.isdisjoint(words), not _OPEN.isdisjoint(words)
    plain = all(
        word in _GRADES or word in _OPEN or word in _BESIDE or word in FILLERS or word in JOINERS for word in words
    )
    if not plain or not (graded or is_open):
        return None
    assertion: Assertion = "affirmed" if graded else "negated"
    last = max(p for p in range(place.last + 1, end) if scene.words[p] in _ROW_ENDS)
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


# --- a table --------------------------------------------------------------------------------------------------------


class Header(NamedTuple):
    """The spaces that the columns of a table name, by their number; other columns are not in it.

    `asked` are the columns that name a narrowing, so that a mark under them says that it is there.
    """

    spaces: dict[int, Finding]
    asked: frozenset[int]


def header_of(scene: Scene, passage: Passage) -> Header | None:
    """The header of a table, if the sentence is one: spaces, no level, no grade; with bars, or gaps behind 'Level'."""
    if scene.places or (BAR not in scene.said and (scene.words[0] not in _ROW_NAMES or scene.word(1) == ":")):
        return None
    if not _CONTENT.isdisjoint(scene.said):
        return None
    spaces: dict[int, Finding] = {}
    asked: set[int] = set()
    for number, (first, end) in enumerate(_cells(scene)):
        if scene.covered(first, end - 1, "narrowing"):
            asked.add(number)
        named = [m for m in scene.of("space", "narrowing") if first <= m.first < end and _space_of(m)]
        if named:
            spaces[number] = Finding("space", _space_of(named[0]), Evidence(passage, named[0].start, named[0].end))
        elif value := _named_in_short(scene.words[first:end]):
            spaces[number] = Finding("space", value, Evidence(passage, scene.starts[first], scene.ends[end - 1]))
    is_sentence = BAR not in scene.said and max(spaces, default=0) == 0  # 'Disc fragment narrows the canal.'
    return Header(spaces, frozenset(asked)) if spaces and not is_sentence else None


def _named_in_short(words: list[str]) -> str:
    """What alone may be something else, and in a header is a space: 'Canal (AP)', 'NF R'."""
    if words[:1] == ["canal"] or words in (["central", "canal"], ["spinal", "canal"]):
        return "canal"
    return "foramen" if not _FORAMINA.isdisjoint(words) else ""


_FORAMINA = frozenset({"nf", "ivf", "foramen", "foramina"})
_ROW_NAMES = frozenset({"level", "levels", "lvl", "segment", "segments", "disc", "disk"})


def _cells(scene: Scene) -> Iterator[tuple[int, int]]:
    """The first position of each cell, and the one behind its last: between bars, else between wide gaps."""
    barred = BAR in scene.said
    first = 1 if scene.words[0] == BAR else 0
    for position in range(first, len(scene.words) + 1):
        if position == len(scene.words) or (barred and scene.words[position] == BAR):
            yield first, position
            first = position + 1
        elif not barred and position > first and _is_wide_gap(scene, position):
            yield first, position
            first = position


def _is_wide_gap(scene: Scene, position: int) -> bool:
    gap = scene.text[scene.ends[position - 1] : scene.starts[position]]
    return len(gap) > 1 or gap == "\t"


def cells(scene: Scene, header: Header, passage: Passage) -> list[Statement]:
    """A statement for each graded cell of a row that begins with a level."""
    parts = list(_cells(scene))
    place = next((p for p in scene.places if p.labels and p.last < parts[0][1]), None)
    if place is None or len(parts) <= max(header.spaces):
        return []
    found = []
    for number, space in header.spaces.items():
        first, end = parts[number] if number else (0, 0)  # the first names the row
        ticked = number in header.asked and _is_ticked(scene.words[first:end])
        if assertion := "affirmed" if ticked else _graded_cell(scene, first, end):
            statement = _filled(scene, passage, assertion, space, [place], (place.start, scene.ends[end - 1]))
            named = [m for m in scene.of("tissue") if first <= m.first < end] if assertion == "affirmed" else []
            found.append(statement.but(listed=tissue_findings(named, passage)))
    return found


def _is_ticked(words: list[str]) -> bool:
    return not TICKS.isdisjoint(words) and all(word in MARKS for word in words)


_ENDS_GRADE = frozenset({",", "(", ")", ";"})


def _graded_cell(scene: Scene, first: int, end: int) -> Assertion | None:
    """What the first part of a cell says that is a grade alone: 'patent, 12 mm', '8 mm, moderate stenosis'."""
    ends = [p for p in range(first, end) if scene.words[p] in _ENDS_GRADE or scene.words[p].isdigit()]
    begin = first
    for stop in (*ends, end):
        if stop > begin and (assertion := _graded(scene, begin, stop)):
            return assertion
        begin = stop + 1
    return None


# --- fields ---------------------------------------------------------------------------------------------------------

_SIGNS = frozenset({":", "-", "–", "="})
_FIELD_ENDS = _GRADED | {"l", "r", "left", "right"}


def fields(scene: Scene, passage: Passage, places: list[Place]) -> list[Statement]:
    """'Canal: mild; foramina: right moderate, left none': a statement for each space with nothing but a grade.

    `places` hold where the sentence names none.
    """
    if not (scene.says("space") or scene.words[0] == "canal"):
        return []
    if _SIGNS.isdisjoint(scene.said) or _GRADES.isdisjoint(scene.said):
        return []
    where = [place for place in scene.places if place.labels] or list(places)
    named = [(m.first, m.last, _space_of(m)) for m in scene.of("space") if _space_of(m)]
    if where and not named and scene.words[0] == "canal":  # alone it may be an ear's; under a level it is not
        named = [(0, 0, "canal")]
    ends = [*(first for first, _, _ in named[1:]), len(scene.words)][: len(named)]
    return [
        statement
        for field, end in zip(named, ends, strict=True)
        for statement in _field(scene, passage, *field, end, where)
    ]


def _field(
    scene: Scene, passage: Passage, first: int, last: int, value: str, end: int, places: list[Place]
) -> Iterator[Statement]:
    """The statements of the field whose name is at first..last and whose content ends before `end`: 'mild L3-4; severe
    L4-5' are two.
    """
    if last + 1 >= end or scene.words[last + 1] not in _SIGNS:
        return
    space = Finding("space", value, Evidence(passage, scene.starts[first], scene.ends[last]))
    begun = last + 2
    for stop in [*(p for p in range(begun, end) if scene.words[p] == ";"), end]:
        own = [place for place in scene.places if place.labels and begun <= place.first < stop]
        assertion = _graded(scene, begun, stop) if own or begun == last + 2 else None
        if assertion is None or scene.covered(begun, stop - 1, "narrowing"):
            return
        ends = max(p for p in range(stop) if scene.words[p] in _FIELD_ENDS or scene.place_at(p) in own)
        yield _filled(scene, passage, assertion, space, own or places, (scene.starts[first], scene.ends[ends]))
        begun = stop + 1


def _graded(scene: Scene, first: int, end: int) -> Assertion | None:
    """What the words from first to before end say where they are grades, sides and levels alone."""
    words = scene.words[first:end]
    if not all(word in _ROW or scene.place_at(p) is not None for p, word in enumerate(words, first)):
        return None
    if not _GRADES.isdisjoint(words):
        return "affirmed"
    return None if _OPEN.isdisjoint(words) else "negated"


def _filled(
    scene: Scene, passage: Passage, assertion: Assertion, space: Finding, places: list[Place], span: tuple[int, int]
) -> Statement:
    section, (start, stop) = scene.span.section, span
    space_at = space.evidence or Evidence(passage, start, stop)
    return Statement(
        assertion,
        "stated",
        Evidence(passage, start, stop, assertion),
        space,
        place_findings(places, passage),
        levels=labels_of(places),
        steps=(
            Step("section", section.name or "no heading", scene.span.start, scene.span.end),
            Step("narrowing", "a grade alone under its space", start, stop),
            Step("space", "named by field or column", space_at.start, space_at.end),
            *(Step("region", "of the field or row", place.start, place.end) for place in places),
        ),
    )


# --- ditto ----------------------------------------------------------------------------------------------------------

_DITTO = frozenset("ditto same similar similarly likewise identical idem".split())
_OF_DITTO = (
    _DITTO
    | FILLERS
    | JOINERS
    | frozenset(
        (
            "as above findings finding changes change appearance appearances picture pattern process but to "
            "more less lesser greater milder extent degree again seen mild moderate severe slightly . : ; - – ( )"
        ).split()
    )
)


def again(scene: Scene, before: Sequence[Statement], passage: Passage) -> list[Statement]:
    """'C6-7: ditto', 'similar changes at C6-7': what was just said of the level before, of this one."""
    if not scene.places or not before or not before[-1].levels or _DITTO.isdisjoint(scene.said):
        return []
    places = [place for place in scene.places if place.labels]
    covered = {p for place in places for p in range(place.first, place.last + 1)}
    if not places or not all(word in _OF_DITTO for p, word in enumerate(scene.words) if p not in covered):
        return []
    levels = before[-1].levels
    said = [s for s in before[-6:] if s.levels == levels and s.assertion != "historical"]
    return [_moved(statement, scene, places, passage) for statement in said]


def _moved(statement: Statement, scene: Scene, places: list[Place], passage: Passage) -> Statement:
    """The same said of other places; the quote is where it is said."""
    return statement.but(
        evidence=Evidence(passage, scene.starts[0], scene.ends[-1], statement.assertion),
        regions=place_findings(places, passage),
        levels=labels_of(places),
        steps=(*statement.steps, Step("region", "the same again", places[0].start, places[-1].end)),
    )
