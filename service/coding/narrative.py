"""Reads free text: sections, sentences, statements on narrowing and findings beside them, each with its quote.

    read(passage, lexicon) -> Reading

What a statement means is linked by grammar: which space is narrow, at which level, by which tissue (POLICY 2.6),
denied, hedged, past or somebody else's (section 4). A level heading ("L4-5: ...") holds for the sentences below it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from service.coding import beside
from service.coding.anaphora import from_before, of_it, other_side, pointed_at
from service.coding.blocks import Block, enter, in_force, leave, opening
from service.coding.corrections import correct
from service.coding.events import names_its_canal
from service.coding.lexicon import Lexicon
from service.coding.model import Assertion, Finding, Passage, Reading, Statement
from service.coding.places import place_findings, regions_joined
from service.coding.scene import FILLERS, JOINERS, Place, Scene, is_silent, labels_of, lay_out
from service.coding.sentences import Section
from service.coding.statements import read_scene
from service.coding.tables import Column, Header, again, cells, column_of, fields, header_of, rows

_CORRECTING = frozenset(
    {"addendum", "addenda", "addendum begins", "correction", "corrected report", "amended report", "revised impression"}
)


def read(passage: Passage, lexicon: Lexicon) -> Reading:
    """Every statement on narrowing and every finding of one passage, in order of place."""
    tokens = lexicon.tokens(passage.text)
    if is_silent(tokens, lexicon):
        return Reading(passage)
    scenes = lay_out(passage.text, tokens, lexicon.sentences(passage.text), lexicon)
    openings = [opening(scene) for scene in scenes]
    several = sum(bool(places) for places, _ in openings) > 1
    statements: list[Statement] = []
    findings: list[Finding] = []
    revised: list[Statement] = []
    recent: deque[tuple[Place, ...]] = deque(maxlen=4)
    by_level: dict[str, tuple[Finding, ...]] = {}
    block = Block()
    before: tuple[Finding, ...] = ()
    column: Column | None = None
    header: Header | None = None
    of_an_organ = False
    original: Section | None = None
    for laid_out, opened in zip(scenes, openings, strict=True):
        is_finding = _is_finding(laid_out)
        block = enter(block, laid_out, opened, several_blocks=several) if is_finding else Block()
        column = column_of(laid_out, passage) or (column if column and column.holds(laid_out) else None)
        if named := header_of(laid_out, passage):
            header = named
            continue
        if not laid_out.mentions:
            continue
        scene = correct(laid_out)
        if scene.span.new_paragraph and _is_title(scene):
            original = scene.span.section
        findings.extend(beside.findings(scene, passage))
        if not is_finding:
            statements.extend(_past(scene, passage))
            continue
        table = rows(scene, column, passage) if column and scene.places else []
        table = table or again(scene, statements, passage)
        heading = list(in_force(block, scene, recent))
        new, aside = (table, []) if table else read_scene(scene, passage, heading)
        boxes = cells(scene, header, passage) if header else [] if table else fields(scene, passage, heading)
        new = [*boxes, *(s for s in new if s.space or s.narrowing == "unstated")] if boxes else new
        new = of_it(scene, other_side(scene, new, statements, passage), statements, passage)
        goes_on = not (scene.span.new_paragraph or scene.places or scene.says("modality"))
        of_an_organ = names_its_canal(scene) or (of_an_organ and goes_on)
        if of_an_organ and not block.places:
            new = [statement for statement in new if not _is_of_bare_canal(statement)]
        findings.extend(aside)
        tissues = beside.abnormal_tissues(scene, passage) if scene.says("tissue") else ()
        meant = pointed_at(scene, before, block.tissues)
        if meant:
            new = [from_before(scene, statement, meant) for statement in new]
        before = tissues or meant
        if new and _tells_cause(statements, new, scene, passage):
            new = []
        if new:
            corrects = scene.span.section.name in _CORRECTING and scene.span.section is not original
            new = _stands(statements, new, revised, corrects=corrects)
            if scene.says("own-reading"):
                statements[:] = [s for s in statements if not any(_contradicts(s, own) for own in new)]
            if statements and new and _goes_on(statements[-1], new[0], scene):
                statements.pop()
            statements.extend(_in_section(_under(block, statement), scene.span.section) for statement in new)
        elif statements:
            _complete(statements, scene, passage, corrects=_corrects(laid_out))
        block = leave(block, scene, tissues, opened, spoke=bool(new))
        if block.tissues and not block.passing:
            by_level |= dict.fromkeys(block.labels, block.tissues)
        if levels := scene.levels:
            recent.append(levels)
    told = _shared_block_tissues(_without_asides(statements), by_level)
    return Reading(passage, tuple(told), tuple(findings))


def _without_asides(statements: Sequence[Statement]) -> list[Statement]:
    """'Severe canal stenosis at C5-6. The cord is not compressed.' does not deny the narrowing."""
    narrow = {_place_of(s) for s in statements if s.assertion == "affirmed" and s.narrowing == "stated"}
    return [
        s
        for s in statements
        if s.assertion != "negated"
        or s.narrowing != "implied"
        or (_place_of(s) not in narrow if s.regions else not any(place[0] == _place_of(s)[0] for place in narrow))
    ]


def _place_of(statement: Statement) -> tuple[object, ...]:
    return statement.space.value if statement.space else "", statement.levels, statement.region_values()


def _goes_on(last: Statement, new: Statement, scene: Scene) -> bool:
    """'Moderate stenosis at C4-5. This stenosis is foraminal.': the second says what the first spoke of."""
    opens = scene.words[0] in ("this", "these", "such") and any(m.first <= 2 for m in scene.of("narrowing"))
    return opens and not last.space and new.space is not None and last.assertion == new.assertion


def _is_of_bare_canal(statement: Statement) -> bool:
    """'The bony canal is narrowed' under an external auditory canal, 'canals calcified' under a tooth."""
    named = statement.space.evidence if statement.space else None
    return named is not None and named.quote.lower() in ("canal", "canals", "bony canal")


def _is_finding(scene: Scene) -> bool:
    """In its section, or where a comparison tells what is so now ('COMPARISON 2022: progression of ...')."""
    section = scene.span.section
    return section.is_finding or (section.counts == "brief" and scene.says("present") and scene.says("narrowing"))


def _past(scene: Scene, passage: Passage) -> list[Statement]:
    """'PMH: lumbar stenosis, decompressed 2012': of a history what it calls past or denies; the rest may hold."""
    if scene.span.section.counts != "history":
        return []
    return [s for s in read_scene(scene, passage, [])[0] if s.assertion in ("historical", "negated")]


def _in_section(statement: Statement, section: Section) -> Statement:
    """What stands under 'Differential diagnosis:' is uncertain."""
    return _doubted(statement, section) if section.counts == "uncertain" else statement


def _corrects(scene: Scene) -> bool:
    return scene.says("correction") or scene.span.section.name in _CORRECTING


def _at_level(block: Block, statement: Statement) -> Statement:
    """Under 'L4-5:' the 'lumbar canal', and what is said of L4 or of its root, is that of L4-5."""
    if not block.places or len(statement.levels) > 1:
        return statement
    is_segment = bool(statement.levels) and "-" in statement.levels[0]
    if is_segment or not (statement.levels or block.labelled or block.heading):
        return statement
    segments = [label for label in block.labels if "-" in label]
    part_of_it = len(statement.levels) == 1 and any(statement.levels[0] in label.split("-") for label in segments)
    regions = {region for place in block.places for region, _ in place.values}
    general = (
        not statement.levels and (block.labelled or block.heading) and {f.value for f in statement.regions} <= regions
    )
    if not segments or not (part_of_it or (general and statement.regions)):
        return statement
    passage = statement.evidence.passage
    levels = labels_of(block.places)
    return statement.but(regions=place_findings(block.places, passage), levels=levels, regions_joined=True)


def _doubted(statement: Statement, section: Section) -> Statement:
    """What stands under 'Differential diagnosis:' is uncertain; the heading belongs to the quote."""
    if statement.assertion not in ("affirmed", "uncertain"):
        return statement
    own = statement.evidence
    evidence = own.over(min(section.start, own.start), own.end, "uncertain")
    return statement.but(assertion="uncertain", evidence=evidence)


def _under(block: Block, statement: Statement) -> Statement:
    """A narrowing that names no cause has the tissues of its block beside it, and the level of its block."""
    statement = _at_level(block, statement)
    if statement.causes or statement.listed or statement.assertion == "negated" or statement.narrowing == "unstated":
        return statement
    here = block.tissues and not block.labels.isdisjoint(statement.levels)
    return statement.but(listed=block.tissues) if here else statement


_OF_THIS = FILLERS | frozenset("cause causes caused etiology aetiology narrowing stenosis due they".split())


def _tells_cause(statements: Sequence[Statement], new: Sequence[Statement], scene: Scene, passage: Passage) -> bool:
    """'Canal stenosis L3-4. It is caused by a thick ligament.': no thickening of its own, but the cause of that."""
    if not statements or scene.places or any(s.narrowing != "unstated" for s in new):
        return False
    last = statements[-1]
    if last.assertion not in ("affirmed", "uncertain") or last.causes or last.narrowing == "unstated":
        return False
    link = next((m for m in scene.of("link") if m.value == "because"), None)
    plain = link is not None and all(word in _OF_THIS or not word.isalpha() for word in scene.words[: link.first])
    return (plain or scene.words[0] == "cause") and bool(beside.stated_causes(scene, passage))


def _complete(statements: list[Statement], scene: Scene, passage: Passage, *, corrects: bool) -> None:
    """A sentence without a statement of its own may complete the one before: its site, its cause or its certainty."""
    last, doubt = statements.pop(), _doubt(scene)
    if last.assertion in ("negated", "historical"):
        if doubt != "negated" or "error" not in scene.words:
            statements.append(last)
        return
    statements.append(_completed(last, scene, passage, doubt, corrects=corrects))


def _completed(
    last: Statement, scene: Scene, passage: Passage, doubt: Assertion | None, *, corrects: bool
) -> Statement:
    if doubt:
        evidence = last.evidence.over(last.evidence.start, max(last.evidence.end, scene.span.end), doubt)
        return last.but(assertion=doubt, evidence=evidence)
    places = scene.places if corrects else _only_places(scene)
    if places and (corrects or not last.regions):
        return _placed(last, scene, places, passage)
    causes = beside.stated_causes(scene, passage) if scene.says("tissue") else ()
    return last.but(causes=causes) if causes and (corrects or not last.causes) else last


def _placed(statement: Statement, scene: Scene, places: list[Place], passage: Passage) -> Statement:
    return statement.but(
        regions=place_findings(places, passage),
        regions_joined=regions_joined(scene, places),
        levels=labels_of(places),
    )


_DOUBTS = frozenset(
    (
        "this that it is a an transcription typographical dictation clerical remains still yet only diagnosis dx "
        "finding at time not being to be as was the"
    ).split()
)


_DENIALS = frozenset("no none n nil neg negative absent it this that is was not so . , ( )".split())


def _doubt(scene: Scene) -> Assertion | None:
    """'Not yet confirmed.' 'This is probable only.' 'I do not agree.': the certainty of the sentence before."""
    if len(scene.words) > 10 or not scene.says("hedge", "negation"):
        return None
    cues = scene.of("hedge", "negation")
    covered = {p for cue in cues for p in range(cue.first, cue.last + 1)}
    rest = [word for p, word in enumerate(scene.words) if p not in covered and word.isalpha()]
    if not set(rest) <= _DOUBTS:
        return None
    words = set(scene.words)
    twice = "not" in words and not words.isdisjoint(("absent", "negative", "neg", "nil", "none"))  # 'it is not absent'
    denied = words & {"ruled", "excluded", "error"} or (words <= _DENIALS and not twice)
    denied = denied or any(cue.value == "disputed" for cue in cues)
    denied = denied and not scene.of("hedge")
    return "negated" if denied else "uncertain" if scene.of("hedge") or "confirmed" in words else None


def _only_places(scene: Scene) -> list[Place]:
    if not scene.places:
        return []
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


def _stands(
    statements: list[Statement], new: list[Statement], revised: list[Statement], *, corrects: bool
) -> list[Statement]:
    """An addendum wins over what it corrects, whether that stands before it or behind; `revised` is what it says."""
    if corrects:
        statements[:] = [s for s in statements if not any(_same_matter(s, later) for later in new)]
        revised.extend(new)
    elif revised:
        return [s for s in new if not any(_is_revised(s, other) for other in revised)]
    return new


def _is_revised(statement: Statement, other: Statement) -> bool:
    differs = statement.assertion != other.assertion or bool(other.causes)
    return differs and other.narrowing == "stated" and _same_matter(statement, other)


def _is_title(scene: Scene) -> bool:
    """'MRI LUMBAR SPINE': below it stands a report, and no more the addendum that stood above."""
    named = scene.says("modality") and scene.places and not scene.levels
    return bool(named) and not scene.says("narrowing", "mass-effect", "adequate")


def _contradicts(told: Statement, own: Statement) -> bool:
    """Of the same place the report says it, and 'on my review' it is not so, or the other way round."""
    return {told.assertion, own.assertion} == {"affirmed", "negated"} and _place_of(told) == _place_of(own)


def _same_matter(one: Statement, other: Statement) -> bool:
    spaces = {one.space.value if one.space else "", other.space.value if other.space else ""}
    regions = set(one.region_values()), set(other.region_values())
    return (
        (len(spaces) == 1 or "" in spaces)
        and (not all(regions) or bool(regions[0] & regions[1]))
        and (not one.levels or not other.levels or bool(set(one.levels) & set(other.levels)))
    )


def _shared_block_tissues(
    statements: Sequence[Statement], by_level: Mapping[str, tuple[Finding, ...]]
) -> list[Statement]:
    """Tissue statements ("mild flavum thickening") are indicators of the narrowing stated at the same level."""
    bare = _of_one_place(s for s in statements if s.narrowing == "unstated")
    narrow = _of_one_place(s for s in statements if s.narrowing != "unstated") if bare else []
    joined = {_site_of(b) for b in bare if any(_beside(n, b) for n in narrow)}
    settled = {spot for s in statements if s.causes for spot in _spots(s)}
    return [
        _at_its_levels(_with_indicators(s, bare), by_level, settled)
        for s in statements
        if s.narrowing != "unstated" or _site_of(s) not in joined
    ]


def _site_of(statement: Statement) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return statement.levels, statement.region_values()


def _of_one_place(statements: Iterable[Statement]) -> list[Statement]:
    """One for each place, with the tissues of all, so that a long text is not compared statement by statement."""
    groups: dict[object, list[Statement]] = {}
    for statement in statements:
        groups.setdefault(_site_of(statement), []).append(statement)
    return [
        group[0] if len(group) == 1 else group[0].but(listed=_distinct(f for s in group for f in s.listed))
        for group in groups.values()
    ]


def _distinct(tissues: Iterable[Finding]) -> tuple[Finding, ...]:
    found: dict[tuple[str, str], Finding] = {}
    for tissue in tissues:
        found.setdefault((tissue.value, tissue.detail), tissue)
    return tuple(found.values())


def _spots(statement: Statement) -> Iterator[tuple[str, str]]:
    return ((statement.space.value if statement.space else "", level) for level in statement.levels)


def _at_its_levels(
    statement: Statement, by_level: Mapping[str, tuple[Finding, ...]], settled: Container[tuple[str, str]]
) -> Statement:
    """The impression's "canal stenosis at L4-5" has beside it what the findings of L4-5 told without a cause."""
    if any(spot in settled for spot in _spots(statement)):
        return statement
    if statement.causes or statement.listed or statement.assertion == "negated" or statement.narrowing == "unstated":
        return statement
    told = tuple(f for level in statement.levels for f in by_level.get(level, ()))
    return statement.but(listed=told) if told else statement


def _with_indicators(statement: Statement, bare: Sequence[Statement]) -> Statement:
    if statement.causes or statement.listed or statement.narrowing == "unstated" or statement.assertion == "negated":
        return statement
    near = [one for one in bare if _beside(statement, one)]
    return statement.but(listed=_distinct(f for one in near for f in one.listed)) if near else statement


def _beside(narrow: Statement, bare: Statement) -> bool:
    if narrow.levels and bare.levels:
        return bool(set(narrow.levels) & set(bare.levels))
    return (
        not narrow.region_values()
        or not bare.region_values()
        or bool(set(narrow.region_values()) & set(bare.region_values()))
    )
