"""One sentence laid out for reading: its words, mentions and places, and what stands next to what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from service.coding.levels import Level, find_levels
from service.coding.lexicon import Concept, Lexicon, Mention, Token
from service.coding.sentences import Span

JOINERS = frozenset("and or & , / and/or plus as well + nor also together".split())
FILLERS = frozenset(
    (
        "of the a an in within at to on upon both its his her this that these those into region regions level "
        "levels spine spinal area side aspect segment segments zone motion bilaterally column vertebral vertebra "
        "vertebrae body there is are was were be been being has have now with it which period comma noted seen "
        "present identified demonstrated evident"
    ).split()
)
LEVEL = Concept("level", "level")
CLAUSE_STARTERS = frozenset({"there", "however", "when"})


@dataclass(frozen=True, slots=True)
class Place:
    """A region or level that the sentence names, as (region, junction) pairs."""

    first: int
    last: int
    start: int
    end: int
    values: tuple[tuple[str, str], ...]
    labels: tuple[str, ...] = ()
    root: bool = False


@dataclass
class Scene:
    """A sentence with everything found in it; token positions are those of this sentence."""

    text: str
    span: Span
    tokens: list[Token]
    mentions: list[Mention]
    places: list[Place]
    clauses: list[int] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Mention]:
        return [mention for mention in self.mentions if mention.kind in kinds]

    def covered(self, first: int, last: int, *kinds: str) -> bool:
        return any(m.first <= last and m.last >= first for m in self.mentions if m.kind in kinds)

    def same_clause(self, one: int, other: int) -> bool:
        return self.clauses[one] == self.clauses[other]

    def words(self, first: int, last: int) -> list[str]:
        return [token.word for token in self.tokens[first : last + 1]]

    def between(self, one: int, other: int) -> range:
        """The token positions strictly between two positions."""
        return range(min(one, other) + 1, max(one, other))

    def at(self, position: int, kinds: Iterable[str]) -> Mention | None:
        wanted = frozenset(kinds)
        hits = [m for m in self.mentions if m.kind in wanted and m.first <= position <= m.last]
        return max(hits, key=lambda m: m.last - m.first, default=None)

    def place_at(self, position: int) -> Place | None:
        return next((place for place in self.places if place.first <= position <= place.last), None)


def lay_out(text: str, span: Span, lexicon: Lexicon) -> Scene:
    """Tokens, mentions with only the senses that hold here, places and clauses of one sentence."""
    tokens = _shifted(lexicon.tokens(text[span.start : span.end]), span.start)
    levels = [_place(level, tokens, span.start) for level in find_levels(text[span.start : span.end])]
    level_places = [place for place in levels if place is not None]
    masked = {position for place in level_places for position in range(place.first, place.last + 1)}
    found = [
        m
        for m in lexicon.find(tokens)
        if not (m.kind != "function" and all(p in masked for p in range(m.first, m.last + 1)))
    ]
    found += [Mention(LEVEL, place.first, place.last, place.start, place.end) for place in level_places]
    mentions = sorted(_supported(found, tokens), key=lambda m: (m.first, -m.last))
    places = sorted([*level_places, *_named_places(mentions, masked)], key=lambda p: p.first)
    scene = Scene(text, span, tokens, mentions, places)
    scene.clauses = _clauses(scene)
    return scene


def _shifted(tokens: Sequence[Token], by: int) -> list[Token]:
    return [Token(token.text, token.word, token.start + by, token.end + by, token.stem) for token in tokens]


def _place(level: Level, tokens: Sequence[Token], offset: int) -> Place | None:
    start, end = level.start + offset, level.end + offset
    inside = [index for index, token in enumerate(tokens) if token.start < end and token.end > start]
    if not inside:
        return None
    return Place(inside[0], inside[-1], start, end, level.places(), level.labels, level.root)


def _named_places(mentions: Iterable[Mention], masked: set[int]) -> Iterator[Place]:
    for mention in mentions:
        region = mention.value if mention.kind == "region" else mention.concept.says("region")
        if region and mention.kind in ("region", "space", "narrowing") and mention.first not in masked:
            yield Place(
                mention.first, mention.last, mention.start, mention.end, ((region, mention.concept.says("junction")),)
            )


def _supported(found: list[Mention], tokens: Sequence[Token]) -> Iterator[Mention]:
    """Of a homonym, the senses whose neighbours speak for them (`needs`, `unless` ... of the lexicon)."""
    plain = [m for m in found if not any(m.concept.words(key) for key in ("needs", "needs-adjacent"))]
    for mention in found:
        if _holds(mention, plain, tokens):
            yield mention


def _holds(mention: Mention, plain: Sequence[Mention], tokens: Sequence[Token]) -> bool:
    needs, adjacent = mention.concept.words("needs"), mention.concept.words("needs-adjacent")
    unless, unless_adjacent = mention.concept.words("unless"), mention.concept.words("unless-adjacent")
    others = [m for m in plain if m.last < mention.first or m.first > mention.last]
    if (
        needs
        and not any(m.kind in needs for m in others)
        and not ("laterality" in needs and any(m.kind == "laterality" for m in others))
    ):
        return False
    if adjacent and not (
        _adjacent(mention, others, adjacent, tokens) or ("date" in adjacent and _digit_near(mention, tokens))
    ):
        return False
    if unless & {token.word for token in tokens[max(0, mention.first - 4) : mention.last + 5]}:
        return False
    if unless_adjacent and any(m.kind in unless_adjacent and 0 <= m.first - mention.last <= 1 for m in others):
        return False
    following = tokens[mention.last + 1].word if mention.last + 1 < len(tokens) else ""
    return following not in mention.concept.words("unless-next")


def _adjacent(mention: Mention, others: Sequence[Mention], kinds: frozenset[str], tokens: Sequence[Token]) -> bool:
    near = [m for m in others if m.kind in kinds or (m.kind == "narrowing" and "narrowing-of" in kinds)]
    for other in near:
        gap = (
            range(other.last + 1, mention.first) if other.last < mention.first else range(mention.last + 1, other.first)
        )
        if len(gap) <= 2 and all(tokens[p].word in FILLERS for p in gap):
            return True
    return False


def _digit_near(mention: Mention, tokens: Sequence[Token]) -> bool:
    return any(token.word[0].isdigit() for token in tokens[mention.last + 1 : mention.last + 3])


def _clauses(scene: Scene) -> list[int]:
    """A clause number for each token; contrast words, semicolons and ', there is' begin a new one."""
    contrasts = {m.first for m in scene.of("contrast")}
    numbers, current = [], 0
    for position, token in enumerate(scene.tokens):
        before = scene.tokens[position - 1].word if position else ""
        if position in contrasts or token.word == ";" or (before == "," and token.word in CLAUSE_STARTERS):
            current += 1
        numbers.append(current)
    return numbers


def walk(scene: Scene, start: int, step: int, keep_on: Callable[[int], bool]) -> Iterator[int]:
    """Token positions from `start` in one direction, as long as `keep_on` holds and the clause lasts."""
    position = start
    while 0 <= position < len(scene.tokens) and scene.same_clause(position, start) and keep_on(position):
        yield position
        position += step
