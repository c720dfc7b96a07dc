"""Reads free text: sections, sentences, statements on narrowing and findings beside them, each with its quote.

    read(passage, lexicon) -> Reading

What a statement means is linked by grammar: which space is narrow, at which level, by which tissue (POLICY 2.6),
denied, hedged, past or somebody else's (section 4). A level heading ("L4-5: ...") holds for the sentences below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.coding import beside
from service.coding.corrections import correct
from service.coding.lexicon import Lexicon
from service.coding.model import Assertion, Finding, Passage, Reading, Statement
from service.coding.places import place_findings, regions_joined
from service.coding.scene import FILLERS, JOINERS, Place, Scene, lay_out
from service.coding.sentences import Section, find_sections, find_sentences
from service.coding.statements import read_scene

_CORRECTING = frozenset(
    {"addendum", "addenda", "correction", "corrected report", "amended report", "revised impression"}
)


@dataclass(frozen=True)
class _Block:
    """The levels in force and the tissues named under them; `heading` where they stand as a heading of their own line,
    `passing` where only the sentence before named them."""

    places: tuple[Place, ...] = ()
    section: str = ""
    heading: bool = False
    passing: bool = False
    tissues: tuple[Finding, ...] = ()


def read(passage: Passage, lexicon: Lexicon) -> Reading:
    """Every statement on narrowing and every finding of one passage, in order of place."""
    sections = find_sections(passage.text, lexicon.sections)
    statements: list[Statement] = []
    findings: list[Finding] = []
    block = _Block()
    scenes = lay_out(passage.text, find_sentences(passage.text, sections), lexicon)
    several = sum(bool(_opening(scene)) for scene in scenes) > 1
    for laid_out in scenes:
        span = laid_out.span
        scene = correct(laid_out)
        findings.extend(beside.findings(scene, passage))
        if not span.section.is_finding:
            block = _Block()
            continue
        block = _entered(block, scene, several_blocks=several)
        heading = () if _of_all_levels(scene) else block.places
        read_here, aside = read_scene(scene, passage, heading)
        new = [_under(block, statement) for statement in read_here]
        findings.extend(aside)
        if span.section.counts == "uncertain":
            new = [_doubted(s, span.section) for s in new]
        if new:
            statements = _corrected(statements, new, span.section.name)
        else:
            statements = _fragment(
                statements, scene, passage, corrects=bool(laid_out.of("correction")) or span.section.name in _CORRECTING
            )
        statements.extend(new)
        block = _left_by(block, scene, passage, spoke=bool(new))
    return Reading(passage, tuple(_shared_block_tissues(statements)), tuple(findings))


def _doubted(statement: Statement, section: Section) -> Statement:
    """What stands under 'Differential diagnosis:' is uncertain; the heading belongs to the quote."""
    if statement.assertion not in ("affirmed", "uncertain"):
        return statement
    evidence = replace(statement.evidence, start=min(section.start, statement.evidence.start), assertion="uncertain")
    return replace(statement, assertion="uncertain", evidence=evidence)


def _entered(block: _Block, scene: Scene, *, several_blocks: bool) -> _Block:
    """A sentence that opens with a level or a labelled region opens a block; a new section closes it, and so does a new
    line where the text is not laid out in blocks (one level heading in all)."""
    opening = _opening(scene)
    if opening:
        return _Block(opening, scene.span.section.name, heading=len(scene.words) <= opening[-1].last + 2)
    elsewhere = scene.span.new_paragraph or scene.span.section.name != block.section
    new_line = _starts_line(scene) and not block.heading and (block.passing or not several_blocks)
    if elsewhere or new_line or (block.passing and _is_numbered(scene)):
        return _Block((), scene.span.section.name)
    return block


def _left_by(block: _Block, scene: Scene, passage: Passage, *, spoke: bool) -> _Block:
    """What a sentence leaves for the next: the levels of its finding, and tissues that it names without a narrowing."""
    tissues = () if spoke else beside.abnormal_tissues(scene, passage)
    levels = tuple(place for place in scene.places if place.labels and not place.root)
    if not levels or _opening(scene):
        return replace(block, tissues=block.tissues + tissues)
    if block.places and not block.passing:
        return block
    if not spoke and not tissues:
        return block
    return _Block(levels, scene.span.section.name, passing=True, tissues=tissues)


def _under(block: _Block, statement: Statement) -> Statement:
    """A narrowing that names no cause has the tissues of its block beside it."""
    if statement.causes or statement.listed or statement.assertion == "negated" or statement.narrowing == "unstated":
        return statement
    here = {label for place in block.places for label in place.labels}
    return replace(statement, listed=block.tissues) if here & set(statement.levels) else statement


def _of_all_levels(scene: Scene) -> bool:
    """'patent at every level', 'no stenosis at the remaining levels': the level before is not meant."""
    words = scene.words
    general = {"every", "all", "any", "other", "remaining", "remainder", "rest", "elsewhere", "throughout", "overall"}
    return bool(general & set(words)) and not any(place.labels for place in scene.places)


def _is_numbered(scene: Scene) -> bool:
    words = scene.words[:3]
    if len(words) < 3:
        return False
    return (words[0] == "(" and words[1].isdigit()) or (words[0].isdigit() and words[1] in (".", ")"))


def _starts_line(scene: Scene) -> bool:
    return scene.text[: scene.span.start].rstrip(" \t-*•").endswith("\n")


def _opening(scene: Scene) -> tuple[Place, ...]:
    heading = []
    for position, word in enumerate(scene.words):
        place = scene.place_at(position)
        if place:
            if place not in heading:
                heading.append(place)
        elif word == ":" or (word in ("-", "–") and heading):
            return tuple(heading) if all(p.labels or word == ":" for p in heading) else ()
        elif word not in FILLERS and word not in JOINERS:
            break
    at_level = scene.words and scene.words[0] in ("at", "level")
    return tuple(p for p in heading if p.labels) if heading and (at_level or heading[0].first == 0) else ()


def _fragment(statements: list[Statement], scene: Scene, passage: Passage, *, corrects: bool) -> list[Statement]:
    """A sentence without a statement of its own may complete the one before: its site or its cause."""
    if not statements or statements[-1].assertion in ("negated", "historical"):
        return statements
    last = statements[-1]
    doubt = _doubt(scene)
    if doubt:
        evidence = replace(last.evidence, end=max(last.evidence.end, scene.span.end), assertion=doubt)
        return [*statements[:-1], replace(last, assertion=doubt, evidence=evidence)]
    places = scene.places if corrects else _only_places(scene)
    if places and (corrects or not last.regions):
        return [*statements[:-1], _placed(last, scene, places, passage)]
    causes = beside.stated_causes(scene, passage)
    if causes and (corrects or not last.causes):
        return [*statements[:-1], replace(last, causes=causes)]
    return statements


def _placed(statement: Statement, scene: Scene, places: Sequence[Place], passage: Passage) -> Statement:
    return replace(
        statement,
        regions=place_findings(places, passage),
        regions_joined=regions_joined(scene, places),
        levels=tuple(dict.fromkeys(label for place in places for label in place.labels)),
    )


_DOUBTS = frozenset(
    "this that it is remains still yet only diagnosis dx finding at time not being to be as was the".split()
)


def _doubt(scene: Scene) -> Assertion | None:
    """'Not yet confirmed.' 'This is probable only.' 'Ruled out.': the certainty of the sentence before."""
    cues = scene.of("hedge", "negation")
    covered = {p for cue in cues for p in range(cue.first, cue.last + 1)}
    rest = [word for p, word in enumerate(scene.words) if p not in covered and word.isalpha()]
    if not cues or len(scene.words) > 10 or not set(rest) <= _DOUBTS:
        return None
    words = set(scene.words)
    denied = words & {"ruled", "excluded", "error"} or words <= {"no", "none", "negative", "absent", ".", ","}
    denied = denied and not scene.of("hedge")
    return "negated" if denied else "uncertain" if scene.of("hedge") or "confirmed" in words else None


def _only_places(scene: Scene) -> Sequence[Place]:
    covered = {p for place in scene.places for p in range(place.first, place.last + 1)}
    label = {
        "location",
        "site",
        ":",
        "located",
        "involving",
        "involves",
        "affecting",
        "-",
        ".",
        "affected",
        "localized",
        "localised",
    }
    rest = [word for i, word in enumerate(scene.words) if i not in covered]
    plain = all(
        word in FILLERS or word in JOINERS or word in label or scene.at(i, ("laterality", "severity"))
        for i, word in enumerate(scene.words)
        if i not in covered
    )
    return scene.places if plain and len(rest) <= 8 else []


def _corrected(statements: list[Statement], new: Sequence[Statement], section: str) -> list[Statement]:
    """An addendum wins over what it corrects: the earlier statements of the same space and place."""
    if section not in _CORRECTING:
        return statements
    return [s for s in statements if not any(_same_matter(s, later) for later in new)]


def _same_matter(one: Statement, other: Statement) -> bool:
    spaces = {one.space.value if one.space else "", other.space.value if other.space else ""}
    regions = set(one.region_values()), set(other.region_values())
    return (
        (len(spaces) == 1 or "" in spaces)
        and (not all(regions) or bool(regions[0] & regions[1]))
        and (not one.levels or not other.levels or bool(set(one.levels) & set(other.levels)))
    )


def _shared_block_tissues(statements: Sequence[Statement]) -> list[Statement]:
    """Tissue statements ("mild flavum thickening") are indicators of the narrowing stated at the same level."""
    bare = [s for s in statements if s.narrowing == "unstated"]
    narrow = [s for s in statements if s.narrowing != "unstated"]
    alone = [s for s in bare if not any(_beside(n, s) for n in narrow)]
    kept = {id(s) for s in (*narrow, *alone)}
    return [_with_indicators(s, bare) for s in statements if id(s) in kept]


def _with_indicators(statement: Statement, bare: Sequence[Statement]) -> Statement:
    if statement.causes or statement.listed or statement.narrowing == "unstated" or statement.assertion == "negated":
        return statement
    return replace(statement, listed=tuple(f for b in bare if _beside(statement, b) for f in b.listed))


def _beside(narrow: Statement, bare: Statement) -> bool:
    if narrow.levels and bare.levels:
        return bool(set(narrow.levels) & set(bare.levels))
    return (
        not narrow.region_values()
        or not bare.region_values()
        or bool(set(narrow.region_values()) & set(bare.region_values()))
    )
