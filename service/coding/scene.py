"""One sentence laid out for reading: its words, mentions and places, and what stands next to what."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Container, Sequence
from operator import attrgetter

from service.coding.boxes import filled_in
from service.coding.levels import LETTERS, NUMBERS, Level, find_levels_at
from service.coding.lexicon import Concept, Lexicon, Mention
from service.coding.sentences import Span
from service.coding.spelling import Tokens

JOINERS = frozenset("and or & , / and/or plus as well + nor also together".split())
FILLERS = frozenset(
    (
        "of the a an in within at to on upon both its his her this that these those into region regions level "
        "levels spine spinal area side aspect segment segments zone motion bilaterally column vertebral vertebra "
        "vertebrae body there is are was were be been being has have now with it which period comma noted seen "
        "present identified demonstrated evident itself"
    ).split()
)
LEVEL = Concept("level", "level")
BE = frozenset({"is", "are", "was", "were", "be", "remains", "appears"})
OBJECTS = frozenset({"it", "this", "these", "them"})  # 'due to it'
CLAUSE_STARTERS = frozenset({"there", "however", "when"})


class Place:
    """A region or level that the sentence names at tokens `first` to `last`: `values` are (region, junction) pairs."""

    __slots__ = ("end", "first", "labels", "last", "root", "start", "values")

    def __init__(
        self,
        span: tuple[int, int],
        start: int,
        end: int,
        values: tuple[tuple[str, str], ...],
        labels: tuple[str, ...] = (),
        *,
        root: bool = False,
    ) -> None:
        self.first, self.last = span
        self.start, self.end, self.values, self.labels, self.root = start, end, values, labels, root


_NONE: list[Mention] = []


class Scene:
    """A sentence with everything found in it; positions are those of its words, and `said` has them in no order."""

    __slots__ = (
        "_by_kind",
        "_by_kinds",
        "_clauses",
        "_is_one_clause",
        "_levels",
        "ends",
        "mentions",
        "places",
        "said",
        "span",
        "starts",
        "text",
        "tokens",
        "words",
    )

    def __init__(self, text: str, span: Span, tokens: Tokens, mentions: list[Mention], places: list[Place]) -> None:
        self.text, self.span, self.mentions, self.places = text, span, mentions, places
        self.tokens, self.words, self.starts, self.ends = tokens, tokens.words, tokens.starts, tokens.ends
        self.said = tokens.said
        self._clauses: list[int] = []
        self._is_one_clause = False
        self._levels: tuple[Place, ...] | None = None if places else ()
        self._by_kind: dict[str, list[Mention]] = {}
        for mention in mentions:
            same = self._by_kind.get(mention.kind)
            if same is None:
                self._by_kind[mention.kind] = [mention]
            else:
                same.append(mention)
        self._by_kinds: dict[tuple[str, ...], list[Mention]] = {}

    def without(self, gone: Container[int], kinds: Container[str]) -> Scene:
        """The same sentence without the places, and the mentions of these kinds, that begin at words that are gone."""
        kept = [m for m in self.mentions if not (m.first in gone and m.kind in kinds)]
        places = [place for place in self.places if place.first not in gone]
        return Scene(self.text, self.span, self.tokens, kept, places)

    @property
    def clauses(self) -> list[int]:
        """The number of the clause in which each word stands."""
        if not self._clauses:
            self._clauses = _clauses(self)
            self._is_one_clause = self._clauses[-1] == 0
        return self._clauses

    @property
    def levels(self) -> tuple[Place, ...]:
        """The levels that the sentence names; of 'L3-4 disc, behind the body of L4' the segment."""
        if self._levels is None:
            self._levels = tuple(without_parts([place for place in self.places if place.labels and not place.root]))
        return self._levels

    @property
    def kinds(self) -> list[str]:
        """Every kind that is mentioned."""
        return list(self._by_kind)

    def says(self, kind: str, *others: str) -> bool:
        """Whether any of these kinds is mentioned."""
        return kind in self._by_kind or any(other in self._by_kind for other in others)

    def of(self, kind: str, *others: str) -> list[Mention]:
        """The mentions of these kinds, in order of place."""
        if not others:
            return self._by_kind.get(kind, _NONE)
        found = self._by_kind.get(kind)
        for other in others:
            more = self._by_kind.get(other)
            if found is None:
                found = more
            elif more is not None:
                return self._of_several((kind, *others))
        return _NONE if found is None else found

    def _of_several(self, kinds: tuple[str, ...]) -> list[Mention]:
        found = self._by_kinds.get(kinds)
        if found is None:
            found = self._by_kinds[kinds] = [mention for mention in self.mentions if mention.kind in kinds]
        return found

    def covered(self, first: int, last: int, *kinds: str) -> bool:
        """Whether a mention of these kinds lies over a word of a stretch."""
        for m in self.mentions:
            if m.first > last:
                return False
            if m.last >= first and m.kind in kinds:
                return True
        return False

    def same_clause(self, one: int, other: int) -> bool:
        clauses = self._clauses or self.clauses
        return self._is_one_clause or clauses[one] == clauses[other]

    def between(self, one: int, other: int) -> range:
        """The positions strictly between two positions."""
        return range(min(one, other) + 1, max(one, other))

    def at(self, position: int, kinds: Container[str]) -> Mention | None:
        """The longest mention of these kinds over a word."""
        longest: Mention | None = None
        for m in self.mentions:
            if m.first > position:
                break
            covers = m.last >= position and m.kind in kinds
            if covers and (not longest or m.last - m.first > longest.last - longest.first):
                longest = m
        return longest

    def word(self, position: int) -> str:
        """The word at a position; empty before the first and behind the last."""
        return self.words[position] if 0 <= position < len(self.words) else ""

    def place_at(self, position: int) -> Place | None:
        return next((place for place in self.places if place.first <= position <= place.last), None)


def labels_of(places: Sequence[Place]) -> tuple[str, ...]:
    """The levels that places name, each once."""
    if len(places) == 1:
        return places[0].labels
    return tuple(dict.fromkeys([label for place in places for label in place.labels]))


def without_parts(places: list[Place]) -> list[Place]:
    """Without single vertebrae that belong to a segment named beside them."""
    if len(places) < 2:
        return places
    whole = {vertebra for place in places for label in place.labels if "-" in label for vertebra in label.split("-")}
    return [place for place in places if len(place.labels) != 1 or place.labels[0] not in whole]


def is_silent(tokens: Tokens, lexicon: Lexicon) -> bool:
    """Whether a text certainly says nothing of what is read here: it names no level, and no term that tells."""
    may_name_a_level = not LETTERS.isdisjoint(tokens.words) and not NUMBERS.isdisjoint(tokens.words)
    return not may_name_a_level and not lexicon.names(tokens, _TELLING)


def lay_out(text: str, tokens: Tokens, spans: Sequence[Span], lexicon: Lexicon) -> list[Scene]:
    """Each sentence with its words, its mentions in only those senses that hold there, and its places."""
    sentences = filled_in(_parted(tokens, spans))
    found = lexicon.find_all(text, sentences)
    return [_scene(text, spans[n], sentences[n], found[n]) for n in range(len(spans)) if sentences[n].words]


def _parted(tokens: Tokens, spans: Sequence[Span]) -> list[Tokens]:
    """The words of each sentence."""
    starts, parts, at = tokens.starts, list[Tokens](), 0
    for span in spans:  # they are in order
        while at < len(starts) and starts[at] < span.start:
            at += 1
        first = at
        while at < len(starts) and starts[at] < span.end:
            at += 1
        parts.append(tokens.part(first, at))
    return parts


def _scene(text: str, span: Span, tokens: Tokens, found: list[Mention]) -> Scene:
    levels = _levels(text, span, tokens)
    if levels:
        found = _beside_levels(found, levels)
    elif not _matters(found, tokens):
        return Scene(text, span, tokens, [], [])
    mentions = _supported(found, tokens.words)
    places = [place for mention in mentions if (place := _named_place(mention, levels))]
    if levels:
        places = sorted([*levels, *places], key=attrgetter("first")) if places else levels
    return Scene(text, span, tokens, mentions, places)


# What alone makes a sentence worth reading; a doubt or denial only where it may be about the sentence before.
_TELLING = frozenset(
    (
        "region space target narrowing mass-effect adequate tissue framing function intact modality no-imaging care "
        "undetermined correction"
    ).split()
)


def _matters(found: list[Mention], tokens: Tokens) -> bool:
    return len(tokens.words) <= 10 or any(mention.kind in _TELLING for mention in found)


def _beside_levels(found: list[Mention], levels: list[Place]) -> list[Mention]:
    """The letter and the number of a level are no words of their own ('C', 'T1')."""
    masked = {position for place in levels for position in range(place.first, place.last + 1)}
    free = [m for m in found if m.first not in masked or not _all_in(m, masked)]
    named = [Mention(LEVEL, p.first, p.last, p.start, p.end) for p in levels]
    beside: list[Mention] = []
    at = 0
    for mention in free:  # both are in order of place, the longer of two that begin together first
        while at < len(named) and _stands_before(named[at], mention):
            beside.append(named[at])
            at += 1
        beside.append(mention)
    return beside + named[at:]


def _all_in(mention: Mention, positions: set[int]) -> bool:
    return mention.first == mention.last or positions.issuperset(range(mention.first, mention.last + 1))


def _stands_before(one: Mention, other: Mention) -> bool:
    return one.first < other.first or (one.first == other.first and one.last > other.last)


def _levels(text: str, span: Span, tokens: Tokens) -> list[Place]:
    starts, ends = tokens.starts, tokens.ends
    letters = [starts[n] for n, word in enumerate(tokens.words) if word in LETTERS]
    if not letters or NUMBERS.isdisjoint(tokens.words):
        return []
    places: list[Place] = []
    first = beyond = 0
    for level in find_levels_at(text, letters, span.end):
        while first < len(ends) and ends[first] <= level.start:
            first += 1
        while beyond < len(starts) and starts[beyond] < level.end:
            beyond += 1
        if first < beyond:
            places.append(_place(text, level, first, beyond - 1, starts))
    return places


def _place(text: str, level: Level, first: int, last: int, starts: list[int]) -> Place:
    opened = _OPEN_RANGE.match(text, level.end) if len(level.vertebrae) == 1 else None
    labels = () if opened else level.labels
    if opened is None or not opened[0].lower().endswith("sacrum"):
        return Place((first, last), level.start, level.end, level.places(), labels, root=level.root)
    end = opened.end()
    span = first, bisect_left(starts, end) - 1
    return Place(span, level.start, end, level.places_to("S1"), labels, root=level.root)


# 'from T4 down', 'from L4 to the sacrum', which is L4 to S1 though no level is named
_OPEN_RANGE = re.compile(r"\s(?:(?:down )?to (?:the )?(?:sacrum|coccyx)|(?:on )?down|downwards?)\b(?! to\b)", re.I)


def _named_place(mention: Mention, levels: list[Place]) -> Place | None:
    """The region that a mention names, unless its words are those of a level."""
    kind, concept = mention.kind, mention.concept
    region = concept.value if kind == "region" else concept.region if kind in ("space", "narrowing") else ""
    if not region or any(level.first <= mention.first <= level.last for level in levels):
        return None
    return Place((mention.first, mention.last), mention.start, mention.end, ((region, concept.junction),))


def _supported(found: list[Mention], words: list[str]) -> list[Mention]:
    """Of a homonym, the senses whose neighbours speak for them (`needs`, `unless` ... of the lexicon)."""
    kept = [m for m in found if not m.concept.conditional or _is_not_elsewhere(m, words)]
    if not any(m.concept.needy for m in kept):
        return kept
    # 'canal ok': each speaks for the other
    plain = [m for m in kept if not m.concept.needy or m.kind in ("space", "adequate")]
    return [m for m in kept if not m.concept.needy or _holds(m, plain, words)]


def _is_not_elsewhere(mention: Mention, words: list[str]) -> bool:
    """No word stands near that gives the term another sense ('cervical cytology')."""
    concept = mention.concept
    if concept.unless and not concept.unless.isdisjoint(words[max(0, mention.first - 4) : mention.last + 9]):
        return False
    return not concept.unless_next or concept.unless_next.isdisjoint(words[mention.last + 1 : mention.last + 2])


def _holds(mention: Mention, plain: list[Mention], words: list[str]) -> bool:
    concept = mention.concept
    others = [m for m in plain if m.last < mention.first or m.first > mention.last]
    if concept.needs and not any(m.kind in concept.needs for m in others):
        return False
    if concept.needs_near and not any(m.kind in concept.needs_near and _near(m, mention) for m in others):
        return False
    if concept.needs_adjacent and not _has_neighbour(mention, others, words):
        return False
    return not any(m.kind in concept.unless_adjacent and 0 <= m.first - mention.last <= 1 for m in others)


def _near(one: Mention, other: Mention) -> bool:
    """At most four words apart."""
    return -5 <= one.first - other.last <= 5 or -5 <= other.first - one.last <= 5


_BETWEEN = FILLERS | JOINERS | {":", "[", "left", "right", "l", "r", "lt", "rt", "bilateral"}


def _has_neighbour(mention: Mention, others: list[Mention], words: list[str]) -> bool:
    kinds = mention.concept.needs_adjacent
    if "date" in kinds and any(word[0].isdigit() for word in words[mention.last + 1 : mention.last + 3]):
        return True
    near = [m for m in others if m.kind in kinds or (m.kind == "narrowing" and "narrowing-of" in kinds)]
    gaps = [words[m.last + 1 : mention.first] or words[mention.last + 1 : m.first] for m in near]
    return any(len(gap) <= 2 and all(word in _BETWEEN for word in gap) for gap in gaps)


_MID_SENTENCE = frozenset({"nonetheless", "nevertheless"})  # 'the canal nonetheless measures 15 mm'


def _turns(scene: Scene, contrast: Mention) -> bool:
    """Not in 'is otherwise capacious', nor in 'while living in Ohio'."""
    following = scene.words[contrast.last + 1] if contrast.last + 1 < len(scene.words) else ""
    if contrast.first and scene.words[contrast.first - 1] == "not":
        return False  # 'is not otherwise narrowed'
    if scene.words[contrast.first] in _MID_SENTENCE and contrast.first and scene.words[contrast.first - 1].isalpha():
        return False
    return not (contrast.first and scene.words[contrast.first - 1] in BE) and not following.endswith("ing")


_PARTS_CLAUSES = CLAUSE_STARTERS | {";"}


def _clauses(scene: Scene) -> list[int]:
    """A clause number for each word; contrast words, semicolons and ', there is' begin a new one."""
    contrasts = {m.first for m in scene.of("contrast") if _turns(scene, m)}
    if not contrasts and _PARTS_CLAUSES.isdisjoint(scene.said):
        return [0] * len(scene.words)
    numbers, current, before = [], 0, ""
    for position, word in enumerate(scene.words):
        if word == ";" or position in contrasts or (word in CLAUSE_STARTERS and before in (",", "and")):
            current += 1
        numbers.append(current)
        before = word
    return numbers
