"""Which level holds for a sentence that names none: headings ("L4-5: ..."), the sentence before, "at both levels"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from service.coding.model import Finding
from service.coding.scene import FILLERS, JOINERS, Place, Scene

_EVERY = frozenset("every all other others remaining remainder rest elsewhere throughout overall multilevel".split())
_ELSEWHERE = frozenset("other others remaining remainder rest elsewhere".split())
_SAME = frozenset({"this", "that", "same", "these", "those", "such", "both", "said", "above", "fused", "two", "three"})


_LABELS = frozenset({":", "-", "–", "—", "--"})
_OPENS = frozenset('" “ « ( [ - -- * # = _ >'.split())  # 'the report reads: "L3/4: ..."', '--- L3/4 ---'

Opening = tuple[tuple[Place, ...], int]


class Block:
    """The levels in force and the tissues named under them; `heading` where they stand on a line of their own,
    `labelled` where a colon or dash follows them, `passing` where only the sentence before named them."""

    __slots__ = ("heading", "labelled", "passing", "places", "section", "tissues")

    def __init__(
        self,
        places: tuple[Place, ...] = (),
        section: str = "",
        *,
        heading: bool = False,
        labelled: bool = False,
        passing: bool = False,
        tissues: tuple[Finding, ...] = (),
    ) -> None:
        self.places, self.section, self.tissues = places, section, tissues
        self.heading, self.labelled, self.passing = heading, labelled, passing

    def with_tissues(self, added: tuple[Finding, ...]) -> Block:
        """The same levels with more tissues under them."""
        return Block(
            self.places,
            self.section,
            heading=self.heading,
            labelled=self.labelled,
            passing=self.passing,
            tissues=self.tissues + added,
        )

    @property
    def labels(self) -> frozenset[str]:
        return frozenset(label for place in self.places for label in place.labels)


def enter(block: Block, scene: Scene, opened: Opening, *, several_blocks: bool) -> Block:
    """A sentence that opens with a level or a labelled region opens a block; a new section closes it, and so does a new
    line where the text is not laid out in blocks (one level heading in all)."""
    places, end = opened
    if places:
        alone = not any(word.isalnum() for word in scene.words[end + 1 :])
        return Block(places, scene.span.section.name, heading=alone, labelled=scene.words[end] in _LABELS)
    if scene.says("modality") and scene.places and not scene.levels:
        return Block((), scene.span.section.name)  # the title of the next exam
    elsewhere = scene.span.new_paragraph or scene.span.section.name != block.section
    by_line = block.passing or scene.span.section.aspect or not several_blocks
    new_line = by_line and not block.heading and _starts_line(scene)
    if elsewhere or new_line or (block.passing and _is_numbered(scene)):
        return Block((), scene.span.section.name)
    return block


def leave(block: Block, scene: Scene, tissues: tuple[Finding, ...], opened: Opening, *, spoke: bool) -> Block:
    """What a sentence leaves for the next: the levels of its finding, and the tissues that it finds abnormal."""
    levels = scene.levels
    may_close = block.places and not (block.labelled or block.heading or levels)
    if may_close and scene.says("space", "target") and _is_general(scene):
        return Block((), block.section)  # 'The rest of the canal is adequate.'
    if not levels or opened[0]:
        if not tissues:
            return block
        known = {(tissue.value, tissue.detail) for tissue in block.tissues}
        added = tuple(tissue for tissue in tissues if (tissue.value, tissue.detail) not in known)
        return block.with_tissues(added) if added else block
    if block.places and not block.passing:
        return block
    if not spoke and not tissues and not scene.says("space", "function", "framing", "severity"):
        return block
    return Block(levels, scene.span.section.name, passing=True, tissues=tissues)


def _is_general(scene: Scene) -> bool:
    """'elsewhere', 'the rest', 'at all levels'."""
    if not _ELSEWHERE.isdisjoint(scene.said):
        return True
    return "all" in scene.said and any(
        word == "all" and scene.word(p + 1) in ("levels", "segments") for p, word in enumerate(scene.words)
    )


def opening(scene: Scene) -> Opening:
    """The places that a sentence opens with, as a heading or as where it begins, and where the heading ends."""
    if not scene.places:
        return (), 0
    heading: list[Place] = []
    for position, word in enumerate(scene.words):
        place = scene.place_at(position)
        if place:
            if place not in heading:
                heading.append(place)
        elif word == ":" and not heading and scene.word(position - 1) == "level":
            continue  # 'Level: L4-5'
        elif word == ":" or (word in _LABELS and heading):
            return (tuple(heading), position) if all(p.labels or word in (":", "--") for p in heading) else ((), 0)
        elif word not in FILLERS and word not in JOINERS and (heading or word not in _OPENS):
            break
    begins = next((p for p, word in enumerate(scene.words) if word not in _OPENS), 0)
    first = heading and (scene.words[begins] in ("at", "level") or heading[0].first == begins)
    levels = tuple(place for place in heading if place.labels) if first else ()
    return levels, levels[-1].last if levels else 0


def in_force(block: Block, scene: Scene, recent: Sequence[tuple[Place, ...]]) -> tuple[Place, ...]:
    """The places that hold where the sentence names none of its own; `recent` are those of the sentences before."""
    words, said = scene.words, scene.said
    if not (block.places or recent):
        return ()
    if not scene.levels and (not _EVERY.isdisjoint(said) or ("any" in said and _any_level(words))):
        return ()
    if recent and ("level" in said or "levels" in said):
        named = [p for p, word in enumerate(words) if word in ("level", "levels")]
        if any(not _SAME.isdisjoint(words[max(0, p - 2) : p]) for p in named):
            return _referred(words, recent)
    return block.places


def _any_level(words: list[str]) -> bool:
    """'not at any level'; 'clear of any narrowing' is still of the level in force."""
    return words[words.index("any") + 1 :][:1] in (["level"], ["levels"], ["segment"])


def _referred(words: list[str], recent: Sequence[tuple[Place, ...]]) -> tuple[Place, ...]:
    """'at this level', 'at both levels', 'at these levels'."""
    if "level" in words:
        return recent[-1][-1:]
    last = {place.labels: place for place in recent[-1]}
    if len(last) > 1 and "both" not in words:
        return tuple(last.values())
    named = {place.labels: place for places in recent for place in places}
    return tuple(named.values())[-2:]


_ITEM = re.compile(r"(?:\A|[\s(])\d{1,2}[.)]\s*$")


def _is_numbered(scene: Scene) -> bool:
    """An item of a list: its number stands before the sentence, or opens it ('(2) ...')."""
    words, start = scene.words[:3], scene.span.start
    if _ITEM.search(scene.text, max(0, start - 6), start):
        return True
    if len(words) < 3:
        return False
    return (words[0] == "(" and words[1].isdigit()) or (words[0].isdigit() and words[1] in (".", ")"))


def _starts_line(scene: Scene) -> bool:
    start = scene.span.start
    return scene.text[max(0, start - 16) : start].rstrip(" \t-*•").endswith("\n")
