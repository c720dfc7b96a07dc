"""Links the words of one sentence into statements: space, place, cause and process of each narrowing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from service.coding.assertions import (
    Said,
    as_assertion,
    hedges_cause_only,
    is_hedged,
    is_negated,
    said_of,
    then_not_now,
)
from service.coding.lexicon import Mention
from service.coding.model import Assertion, Evidence, Finding, Narrowing, Passage, Statement
from service.coding.scene import FILLERS, JOINERS, Place, Scene

_NOT_OURS = ("al", "ar", "ic", "ary", "ous", "eal", "ian", "ine")
_PLAIN_ADJECTIVES = frozenset(
    "focal global general typical additional clinical local initial final overall several critical significant minimal usual possible total partial surgical radiographic "
    "radiologic symptomatic anatomic anatomical dynamic chronic physical neurologic neurological structural functional obvious serious continuous previous previously similar particular "
    "medical historical individual real actual early necessary primary secondary multiple biomechanical mechanical central spinal neural regular circular linear angular tubular".split()
)
_LINK_GAP = frozenset(
    "a an the of his her its both some any combination combined bulky more mild moderate severe marked hypertrophic thickened redundant buckled localized chronic known with - : ( , and or & / also underlying associated concomitant diffuse broad based".split()
)
_STOPS = frozenset(
    {"with", "associated", "accompanied", "along", "alongside", "beside", "besides", "adjacent", "without", "plus"}
)
_PASSIVE = frozenset({"is", "are", "was", "were", "being", "been"})


@dataclass(frozen=True, slots=True)
class Event:
    """A narrowing, a pressure or an open space: the word that says so and the space that it is said of."""

    trigger: Mention
    space: Mention | None
    space_value: str
    narrowing: Narrowing
    adequate: bool = False
    spine_only: bool = False

    @property
    def first(self) -> int:
        return min(self.trigger.first, self.space.first) if self.space else self.trigger.first

    @property
    def last(self) -> int:
        return max(self.trigger.last, self.space.last) if self.space else self.trigger.last


def read_scene(scene: Scene, passage: Passage, heading: Sequence[Place]) -> list[Statement]:
    """The statements of one sentence; `heading` holds the level in force where the sentence names none."""
    events = find_events(scene)
    if not events:
        return _thickening(scene, passage, heading)
    statements = []
    for event in events:
        statement = _statement(scene, passage, event, events, heading)
        if statement is not None:
            statements.append(statement)
    return _without_repeats(statements)


def correct(scene: Scene) -> Scene:
    """What a spoken or typed correction takes back is left out ("lumbar, correction, cervical")."""
    gone: set[int] = set()
    for cue in scene.of("correction"):
        after = [m for m in scene.mentions if cue.last < m.first <= cue.last + 10 and m.kind in _GROUPS]
        if after:
            group = _GROUPS[after[0].kind]
            before = [m for m in scene.mentions if m.last < cue.first and _GROUPS.get(m.kind) == group]
            if before:
                gone.update(range(before[-1].first, before[-1].last + 1))
    for place in scene.places:
        if _beside_the_spine(scene, place) or _rejected(scene, place) or _hedged_apart(scene, place):
            gone.update(range(place.first, place.last + 1))
    gone |= _unticked(scene)
    if not gone:
        return scene
    keep = [
        m
        for m in scene.mentions
        if not (m.first in gone and (m.kind in _GROUPS or m.kind in ("narrowing", "function", "framing", "modality")))
    ]
    return replace(scene, mentions=keep, places=[p for p in scene.places if p.first not in gone])


_GROUPS = {"region": "place", "level": "place", "tissue": "tissue", "space": "space", "laterality": "laterality"}


_SPINAL = frozenset({"head", "cervical", "thoracic", "lumbar", "sacral", "head-or-cervical"})


def _beside_the_spine(scene: Scene, place: Place) -> bool:
    """A limb or the trunk named beside a spinal place is where it hurts, unless the two are a list."""
    if any(value in _SPINAL for value, _ in place.values):
        return False
    spinal = [other for other in scene.places if any(value in _SPINAL for value, _ in other.values)]
    return bool(spinal) and not any(_listed_with(scene, place, other) for other in spinal)


def _listed_with(scene: Scene, one: Place, other: Place) -> bool:
    words = {scene.tokens[p].word for p in scene.between(one.first, other.first) if not scene.place_at(p)}
    return bool(words & {"and", "&", ";"}) and words <= JOINERS | FILLERS | {";"}


_TICKS = frozenset({"x", "✓", "✔", "☑"})


def _unticked(scene: Scene) -> set[int]:
    """'[ ] cervical [x] thoracic': what stands behind an empty box is not chosen."""
    words = [token.word for token in scene.tokens]
    boxes = [
        p
        for p, word in enumerate(words[:-1])
        if word in ("[", "(")
        and (words[p + 1] in ("]", ")") or (words[p + 1] in _TICKS | {"_"} and words[p + 2 : p + 3] in (["]"], [")"])))
    ]
    gone: set[int] = set()
    for box, following in pairwise([*boxes, len(words)]):
        if words[box + 1] not in _TICKS:
            gone.update(range(box, following))
    return gone


def _hedged_apart(scene: Scene, place: Place) -> bool:
    """'..., lumbar involvement suspected': a hedge of its own part of the sentence."""
    start = next((p for p in range(place.first - 1, -1, -1) if scene.tokens[p].word in (",", ";")), -1)
    end = next(
        (p for p in range(place.last + 1, len(scene.tokens)) if scene.tokens[p].word in (",", ";", ".")),
        len(scene.tokens),
    )
    if (
        start < 0
        or scene.covered(start + 1, end - 1, "narrowing", "mass-effect", "space")
        or not any(p.last < start for p in scene.places)
    ):
        return False
    return is_hedged(scene, place.first, place.last) and any(start < m.first < end for m in scene.of("hedge"))


def _rejected(scene: Scene, place: Place) -> bool:
    """'cervical, not lumbar', 'rather than lumbar', 'cannot exclude cervical involvement'."""
    for cue in scene.of("negation", "hedge"):
        if cue.concept.says("scope") != "after" or not 0 <= place.first - cue.last - 1 <= 2:
            continue
        gap = scene.words(cue.last + 1, place.first - 1)
        earlier = any(p.last < cue.first for p in scene.places)
        ends = scene.tokens[place.last + 1].word if place.last + 1 < len(scene.tokens) else "."
        if (
            earlier
            and all(word in FILLERS for word in gap)
            and (
                ends in (".", ",", ")", ";", "involvement", "region", "spine", "extension", "area", "level")
                and not scene.covered(place.last + 1, place.last + 3, "narrowing")
            )
        ):
            return True
    return False


# --- events -------------------------------------------------------------------------------------------------------


def find_events(scene: Scene) -> list[Event]:
    """Every narrowing, pressure and open space of the sentence, each with one space, in order of place."""
    triggers = [m for m in scene.of("narrowing", "mass-effect") if not _inside_other(scene, m)]
    events: list[Event] = []
    for trigger in triggers:
        events.extend(_narrowed(scene, trigger, triggers))
    taken = {event.space.first for event in events if event.space}
    for opening in scene.of("adequate"):
        events.extend(
            e for e in _open_spaces(scene, opening, triggers) if e.space is None or e.space.first not in taken
        )
    return _shared_space(scene, sorted(events, key=lambda event: (event.trigger.first, event.first)))


def _shared_space(scene: Scene, events: list[Event]) -> list[Event]:
    """'stenosis narrowing the neural canal', 'the canal is free at L3-4; at L4-5 it is narrowed': one space for both."""
    named = [event for event in events if event.space_value]
    values = {event.space_value for event in named}
    if len(values) != 1 or len(named) == len(events):
        return events
    space = named[0]
    return [
        replace(e, space=space.space, space_value=space.space_value, spine_only=False) if not e.space_value else e
        for e in events
        if e is not space or not _doubled(e, events)
    ]


def _doubled(verb: Event, events: Sequence[Event]) -> bool:
    """The verb of a stenosis that is said already: 'stenosis narrowing the canal'."""
    return not verb.adequate and any(not e.space_value and 0 < verb.trigger.first - e.trigger.last <= 2 for e in events)


def _inside_other(scene: Scene, trigger: Mention) -> bool:
    """Part of a longer word of another kind: 'thickening' of a name, 'impression' as a heading."""
    return any(
        m.first <= trigger.first and trigger.last <= m.last and m.last - m.first > trigger.last - trigger.first
        for m in scene.of(
            "historical", "not-negation", "severity", *(("framing",) if trigger.kind == "mass-effect" else ())
        )
    )


def _narrowed(scene: Scene, trigger: Mention, triggers: Sequence[Mention]) -> list[Event]:
    own = trigger.concept.says("space")
    spaces = _spaces_of(scene, trigger, triggers)
    if _either_space(scene, trigger):
        return [Event(trigger, None, "", "stated", spine_only=False)]
    if own and not any(s.kind == "space" for s in spaces):
        return [Event(trigger, None, own, "stated")]
    ours = [
        space
        for space in spaces
        if space.kind in ("space", "target") and space.value in ("canal", "foramen") and not _of_an_organ(scene, space)
    ]
    if spaces and not ours:
        return []
    if ours:
        return [Event(trigger, space, space.value, _strength(trigger, space)) for space in ours]
    if trigger.kind == "narrowing" and trigger.value == "stenosis" and not _of_something_else(scene, trigger):
        return [Event(trigger, None, "", "stated", spine_only=_spinal_place(scene, trigger))]
    return []


def _either_space(scene: Scene, trigger: Mention) -> bool:
    """'canal versus foramen': the space is left open."""
    spaces = [s for s in scene.of("space") if scene.same_clause(s.first, trigger.first)]
    return any(
        one.value != other.value
        and {scene.tokens[p].word for p in scene.between(one.last, other.first)} & {"versus", "vs"}
        for one, other in pairwise(spaces)
    )


def _of_an_organ(scene: Scene, space: Mention) -> bool:
    """'femoral medullary canal': the canal of something else."""
    before = scene.at(space.first - 1, ("other-organ",)) if space.first else None
    return before is not None and before.last < space.first


def _strength(trigger: Mention, space: Mention) -> Narrowing:
    if space.kind == "space":
        return "stated"
    return (
        "stated"
        if (trigger.kind == "narrowing"
        and trigger.value in ("stenosis", "verb")
        and trigger.value == "stenosis")
        or (trigger.kind == "narrowing" and "narrow" in trigger.concept.kind and trigger.value != "encroachment")
        else "implied"
    )


def _spaces_of(scene: Scene, trigger: Mention, triggers: Sequence[Mention]) -> list[Mention]:
    left = _np_left(scene, trigger)
    right = _np_right(scene, trigger)
    if is_verb(scene, trigger):
        found = right or (left if _passive(scene, trigger) else [])
    else:
        found = left or right
    return found or _nearest_space(scene, trigger, triggers)


def is_verb(scene: Scene, trigger: Mention) -> bool:
    """'narrows the canal', 'narrowing both foramina': the word has a subject and an object."""
    if trigger.value == "verb":
        return True
    if scene.tokens[trigger.last].word not in ("narrowing", "narrow") or trigger.first != trigger.last:
        return False
    for p in range(trigger.last + 1, min(trigger.last + 6, len(scene.tokens))):
        space = _space_at(scene, p)
        if space:
            return space.kind != "other-organ" and not _np_left(scene, trigger)
        if scene.tokens[p].word not in ("the", "both", "his", "her", "its", "a", "their") and not scene.at(
            p, ("severity", "laterality", "region", "level")
        ):
            return False
    return False


def _space_at(scene: Scene, position: int) -> Mention | None:
    return scene.at(position, ("space", "target", "other-organ"))


def _np_left(scene: Scene, trigger: Mention) -> list[Mention]:
    """Spaces directly before the word: 'central canal and neural foraminal stenosis'."""
    found: list[Mention] = []
    position = trigger.first - 1
    while position >= 0 and scene.same_clause(position, trigger.first):
        space = _space_at(scene, position)
        word = scene.tokens[position].word
        if space:
            found.insert(0, space)
            position = space.first - 1
            continue
        modifier = scene.at(position, ("severity", "laterality", "region", "level", "tissue"))
        if (
            not modifier
            and not (word in JOINERS and _space_behind(scene, position))
            and word not in ("high", "grade", "neural", "-")
        ):
            break
        if modifier and modifier.kind == "tissue" and not modifier.concept.is_("modifier"):
            break
        position = (modifier.first if modifier else position) - 1
    return found


def _space_behind(scene: Scene, position: int) -> bool:
    """A joiner counts only where another space (after adjectives) stands before it: 'canal, lateral recess or foraminal'."""
    for p in range(position - 1, max(-1, position - 5), -1):
        if _space_at(scene, p) or scene.tokens[p].word in JOINERS:
            return True
        if not scene.at(p, ("severity", "laterality", "region", "level")):
            return False
    return False


_COMPLEMENT = frozenset(
    "of the in within at to on upon both its into this a an around along bilateral across for - any one each either onto over his her".split()
)


def _np_right(scene: Scene, trigger: Mention) -> list[Mention]:
    """Spaces in the complement: 'narrowing of the neural canal', 'narrows the canal and both foramina'."""
    found: list[Mention] = []
    position = trigger.last + 1
    while position < len(scene.tokens) and scene.same_clause(position, trigger.first):
        space = _space_at(scene, position)
        word = scene.tokens[position].word
        if space:
            found.append(space)
            position = space.last + 1
            continue
        modifier = scene.at(position, ("severity", "laterality", "region", "level"))
        if (
            not modifier
            and word not in _COMPLEMENT
            and not (found and word in JOINERS and _space_ahead(scene, position))
        ):
            if not (
                word
                in (
                    "aspect",
                    "portion",
                    "part",
                    "surface",
                    "side",
                    "anterior",
                    "posterior",
                    "ventral",
                    "dorsal",
                    "part",
                    "lumen",
                    "width",
                    "diameter",
                    "exiting",
                    "central",
                    "inferior",
                )
                or (word == ","
                and not found
                and trigger.value == "stenosis"
                and _space_ahead(scene, position))
            ):
                break
        position = (modifier.last if modifier else position) + 1
    return found


def _space_ahead(scene: Scene, position: int) -> bool:
    for p in range(position + 1, min(len(scene.tokens), position + 6)):
        if _space_at(scene, p):
            return not scene.covered(p + 1, p + 3, "narrowing", "adequate", "mass-effect") or True
        if not (
            scene.at(p, ("severity", "laterality", "region", "level")) or scene.tokens[p].word in _COMPLEMENT | JOINERS
        ):
            return False
    return False


def _passive(scene: Scene, trigger: Mention) -> bool:
    return any(scene.tokens[p].word in _PASSIVE for p in range(max(0, trigger.first - 4), trigger.first))


def _nearest_space(scene: Scene, trigger: Mention, triggers: Sequence[Mention]) -> list[Mention]:
    """'the canal is moderately narrowed', 'Central canal: severe stenosis', 'in the foramen, which is narrowed'."""
    best: tuple[int, Mention] | None = None
    for space in scene.of("space", "target", "other-organ"):
        if (
            not scene.same_clause(space.first, trigger.first)
            or (space.kind == "target" and space.value == "root")
            or scene.tokens[space.last].word == "central"
        ):
            continue
        gap = (
            scene.between(space.last, trigger.first)
            if space.last < trigger.first
            else scene.between(trigger.last, space.first)
        )
        if any(other.first in gap for other in triggers) or any(m.first in gap for m in scene.of("adequate")):
            continue
        after = space.first > trigger.last
        if after and (len(gap) > 8 or (trigger.kind == "mass-effect" and len(gap) > 6)):
            continue
        if after and _belongs_to_next(scene, space, triggers, trigger):
            continue
        distance = len(gap) + (4 if after and trigger.value != "verb" else 0)
        if distance <= 14 and (best is None or distance < best[0]):
            best = (distance, space)
    return [best[1]] if best else []


def _belongs_to_next(scene: Scene, space: Mention, triggers: Sequence[Mention], trigger: Mention) -> bool:
    """The space is the left neighbour of another narrowing word or is called open."""
    nearby = [m for m in [*triggers, *scene.of("adequate")] if m is not trigger and 0 < m.first - space.last <= 3]
    return bool(nearby)


def _of_something_else(scene: Scene, trigger: Mention) -> bool:
    """'esophageal stenosis', 'narrowing of the airway': an organ that the lexicon does not know is not the neural canal."""
    position = trigger.first - 1
    while position >= 0 and scene.at(position, ("severity", "laterality", "region", "level")):
        position -= 1
    if position >= 0:
        word = scene.tokens[position].word
        known = [m for m in scene.mentions if m.first <= position <= m.last]
        if (
            not known
            and word.isalpha()
            and len(word) > 4
            and word.endswith(_NOT_OURS)
            and word not in _PLAIN_ADJECTIVES
        ):
            return True
        if any(
            m.kind == "tissue" and m.value == "disc" and m.concept.is_("anatomy") for m in known
        ) and not scene.covered(0, len(scene.tokens), "space"):
            return scene.tokens[trigger.first].word == "narrowing"
    return _unknown_complement(scene, trigger)


def _unknown_complement(scene: Scene, trigger: Mention) -> bool:
    position = trigger.last + 1
    if position >= len(scene.tokens) or scene.tokens[position].word not in ("of", "in"):
        return False
    for p in range(position + 1, min(position + 5, len(scene.tokens))):
        if scene.at(p, ("region", "level", "space", "target", "narrowing")):
            return False
        word = scene.tokens[p].word
        if (
            word.isalpha()
            and word not in FILLERS
            and not scene.at(p, ("severity", "laterality", "tissue", "hedge", "framing"))
        ):
            return True
    return False


def _spinal_place(scene: Scene, trigger: Mention) -> bool:
    """'cervical stenosis' without canal or spinal: the place is the spine, the space is taken for granted."""
    return any(
        value in _SPINAL
        for place in scene.places
        if not place.labels and scene.same_clause(place.first, trigger.first)
        for value, _ in place.values
    )


def _open_spaces(scene: Scene, opening: Mention, triggers: Sequence[Mention]) -> list[Event]:
    """'adequate spinal canal', 'the canal and foramina are widely patent'."""
    loose = scene.tokens[opening.first].word in (
        "normal",
        "preserved",
        "maintained",
        "clear",
        "intact",
        "free",
        "good",
        "unremarkable",
        "satisfactory",
        "sufficient",
    )
    found = []
    for space in scene.of("space", "target"):
        if not scene.same_clause(space.first, opening.first) or space.value == "root":
            continue
        if space.kind == "target" and scene.tokens[space.first].word not in (
            "thecal",
            "dural",
            "theca",
            "csf",
            "subarachnoid",
        ):
            continue
        gap = (
            scene.between(space.last, opening.first)
            if space.last < opening.first
            else scene.between(opening.last, space.first)
        )
        blocked = any(t.first in gap for t in triggers) or any(
            scene.tokens[p].word == "," for p in gap if space.first > opening.last
        )
        if blocked or len(gap) > (3 if loose and space.first > opening.last else 7):
            continue
        if space.first > opening.last and any(not _modifies(scene, p) for p in gap):
            continue
        found.append(Event(opening, space, space.value, "stated", adequate=True))
    return found


def _modifies(scene: Scene, position: int) -> bool:
    word = scene.tokens[position].word
    return (
        bool(scene.at(position, ("region", "level", "laterality", "severity", "space", "target")))
        or word in FILLERS
        or word in JOINERS
    )


# --- statements ---------------------------------------------------------------------------------------------------


def _statement(
    scene: Scene, passage: Passage, event: Event, events: Sequence[Event], heading: Sequence[Place]
) -> Statement | None:
    said = _said(scene, event)
    assertion = as_assertion(said)
    if assertion is None:
        return None
    places = places_of(scene, event, events)
    used = places or list(heading)
    evidence = _evidence(scene, passage, event, places, assertion)
    causes, listed, cause_uncertain = tissues_of(scene, passage, event, events)
    space = _space_finding(passage, event, assertion)
    return Statement(
        assertion=assertion,
        narrowing=event.narrowing,
        evidence=evidence,
        space=space,
        regions=place_findings(used, passage),
        regions_joined=regions_joined(scene, places) if places else True,
        causes=causes,
        listed=listed,
        framings=framings_of(scene, passage, event, causes),
        cause_uncertain=cause_uncertain,
        levels=tuple(dict.fromkeys(label for place in used for label in place.labels)),
        spine_only=event.spine_only,
    )


def _said(scene: Scene, event: Event) -> Said:
    trigger = event.trigger
    if event.adequate:
        said = said_of(scene, trigger.first, trigger.last)
        if said == "negated":
            return "affirmed"
        if said in ("affirmed", "uncertain"):
            return "historical" if then_not_now(scene, trigger.first) else "negated"
        return said
    first = min(trigger.first, event.space.first) if event.space and event.space.last < trigger.first else trigger.first
    said = said_of(scene, first, trigger.last, is_verb=is_verb(scene, trigger))
    if said == "affirmed" and first != trigger.first:
        said = said_of(scene, trigger.first, trigger.last, is_verb=is_verb(scene, trigger))
    if (
        said == "affirmed"
        and event.space
        and event.space.first > trigger.last
        and is_negated(scene, trigger.first, event.space.last)
    ):
        return "negated"
    return said


def _evidence(scene: Scene, passage: Passage, event: Event, places: Sequence[Place], assertion: Assertion) -> Evidence:
    """The quote: from the first to the last word that takes part, inside the sentence."""
    starts = [scene.tokens[event.first].start, *(place.start for place in places)]
    ends = [scene.tokens[event.last].end, *(place.end for place in places)]
    return Evidence(passage, min(starts), max(ends), assertion)


def _space_finding(passage: Passage, event: Event, assertion: Assertion) -> Finding | None:
    if not event.space_value:
        return None
    mention = event.space or event.trigger
    return Finding(
        "space",
        event.space_value,
        Evidence(passage, mention.start, mention.end, assertion),
        assertion,
        detail="" if mention.kind != "target" else "target",
    )


def place_findings(places: Iterable[Place], passage: Passage) -> tuple[Finding, ...]:
    found: dict[tuple[str, str], Finding] = {}
    for place in places:
        for region, junction in place.values:
            found.setdefault(
                (region, junction),
                Finding("region", region, Evidence(passage, place.start, place.end), detail=junction),
            )
    return tuple(found.values())


def places_of(scene: Scene, event: Event, events: Sequence[Event]) -> list[Place]:
    """The places of this narrowing: its own part of the sentence, else what the sentence shares out."""
    free = [place for place in scene.places if _next_to(scene, place, event) or not _taken(scene, place)]
    named = [place for place in free if not place.root]
    free = named or free
    groups = _shares(scene, events)
    mine = [
        place
        for place in free
        if _share_at(groups, place.first) == groups[id(event)][2]
        and scene.same_clause(place.first, event.trigger.first)
    ]
    if mine:
        return mine + _listed_after(scene, free, event)
    in_clause = [place for place in free if scene.same_clause(place.first, event.trigger.first)]
    if in_clause:
        nearest = min(in_clause, key=lambda place: min(abs(place.first - event.last), abs(place.last - event.first)))
        share = _share_at(groups, nearest.first)
        return [place for place in in_clause if _share_at(groups, place.first) == share]
    return _trailing(scene, free, event)


def _next_to(scene: Scene, place: Place, event: Event) -> bool:
    """Directly behind the narrowed space ('neural canal cerv'), so no part of an exam's name."""
    gap = range(event.last + 1, place.first)
    return place.first > event.last and len(gap) <= 2 and all(scene.tokens[p].word in FILLERS for p in gap)


def _listed_after(scene: Scene, free: Sequence[Place], event: Event) -> list[Place]:
    """'...of head region; cervical region': a clause of places alone goes on with the list."""
    following = scene.clauses[event.trigger.first] + 1
    inside = [p for p, clause in enumerate(scene.clauses) if clause == following]
    plain = inside and all(scene.place_at(p) or scene.tokens[p].word in FILLERS | JOINERS | {";", "."} for p in inside)
    return (
        [place for place in free if scene.clauses[place.first] == following]
        if plain and scene.tokens[inside[0]].word == ";"
        else []
    )


def _trailing(scene: Scene, free: Sequence[Place], event: Event) -> list[Place]:
    """A clause of places only ('...of head region; cervical region') belongs to the clause before."""
    before = [place for place in free if scene.clauses[place.first] < scene.clauses[event.trigger.first]]
    return (
        before
        if before
        else [place for place in free if scene.clauses[place.first] == scene.clauses[event.trigger.first] + 1]
    )


def _shares(scene: Scene, events: Sequence[Event]) -> dict[int, tuple[int, int, int]]:
    """Cuts the sentence at the joiner between one event and the next; (start, end, share number) for each event."""
    ordered = sorted(events, key=lambda e: e.trigger.first)
    shares: dict[int, tuple[int, int, int]] = {}
    start = number = 0
    for index, event in enumerate(ordered):
        end = len(scene.tokens)
        if index + 1 < len(ordered):
            following = ordered[index + 1]
            if following.trigger is event.trigger:
                end = start
            else:
                cuts = [
                    p
                    for p in range(event.last + 1, following.first)
                    if scene.tokens[p].word in ("and", ",", "with", ";", "but", "&", "/", ".", "or", "plus", "while")
                ]
                end = (
                    (cuts[-1] if not cuts or not _places_between(scene, cuts[0], following.first) else cuts[0])
                    if cuts
                    else event.last + 1
                )
        shares[id(event)] = (start, end, number)
        if end > start:
            start, number = end, number + 1
    return shares


def _places_between(scene: Scene, first: int, last: int) -> bool:
    """Places stand before the next event's words: 'at L3-4, and at L4-5 foraminal stenosis'."""
    return any(first < place.first < last for place in scene.places) and scene.tokens[last - 1].word not in JOINERS


def _share_at(shares: dict[int, tuple[int, int, int]], position: int) -> int:
    for start, end, number in shares.values():
        if start <= position < end:
            return number
    return -1


def _chunk(scene: Scene, position: int) -> tuple[int, int]:
    """The part between commas that holds a token."""
    start = next((p + 1 for p in range(position - 1, -1, -1) if scene.tokens[p].word in (",", ";")), 0)
    end = next(
        (p for p in range(position + 1, len(scene.tokens)) if scene.tokens[p].word in (",", ";")), len(scene.tokens)
    )
    return start, end


def _taken(scene: Scene, place: Place) -> bool:
    """The place belongs to an exam, a symptom, an operation, another organ: no site of the narrowing."""
    if place.root:
        return False
    start, end = _chunk(scene, place.first)
    if scene.covered(start, end - 1, "function", "modality", "care", "root-word") and not scene.covered(
        start, end - 1, "narrowing", "mass-effect", "space", "target", "tissue", "adequate"
    ):
        return True
    if place.labels and place.last + 1 < len(scene.tokens) and scene.at(place.last + 1, ("modality",)):
        return False
    before = [
        m
        for m in scene.mentions
        if m.first >= 0 and 0 < place.first - m.last <= 2 and m.kind in ("modality", "care", "other-organ")
    ]
    if any(all(scene.tokens[p].word in FILLERS for p in range(m.last + 1, place.first)) for m in before):
        return True
    after = place.last + 1
    while after < len(scene.tokens) and scene.tokens[after].word in (
        "spine",
        "region",
        "nerve",
        "root",
        "(",
        "muscle",
        "-",
    ):
        after += 1
    if after >= len(scene.tokens):
        return False
    word = scene.tokens[after].word
    if scene.at(after, ("modality", "root-word")) or word in _SYMPTOMS:
        return True
    hit = scene.at(after, ("function", "care", "framing"))
    return bool(hit) and (hit.kind != "framing" or hit.value in ("after-surgery",))


_SYMPTOMS = frozenset(
    "pain ache aching headache strain sprain surgery fusion laminectomy lordosis kyphosis scoliosis curvature curve flexion extension rotation rom paraspinal muscles muscle spasm musculature adjustment adjusted adjustments exam radicular radiculopathy myelopathy "
    "discectomy decompression puncture plexus discomfort tenderness facets mri ct xray lesion symptoms involvement stiffness vertebrae".split()
) - {"vertebrae", "involvement", "lesion"}


def regions_joined(scene: Scene, places: Sequence[Place]) -> bool:
    """Several regions are meant together only where joiners tie each to the next."""
    distinct: list[Place] = []
    for place in sorted(places, key=lambda p: p.first):
        if distinct and _same_region(distinct[-1], place):
            distinct[-1] = place
            continue
        if distinct:
            gap = [t.word for t in scene.tokens[distinct[-1].last + 1 : place.first]]
            if any(place_values & set(place.values) for place_values in (set(distinct[-1].values),)):
                continue
            if bool(distinct[-1].labels) != bool(place.labels) and not set(gap) & {
                "and",
                "&",
                ";",
                "or",
                "both",
                "to",
                "through",
            }:
                return False
            if (
                not gap
                or not set(gap) & (JOINERS | {";", "to", "through", "both", "-", "–"})
                or not set(gap)
                <= JOINERS
                | FILLERS
                | {";", "through", "-", "–", "(", ")", "both", "respectively", "lower", "upper", "mid"}
            ):
                return False
        distinct.append(place)
    return True


def _same_region(one: Place, other: Place) -> bool:
    regions = {value for value, _ in one.values} | {value for value, _ in other.values}
    return len(regions) == 1


# --- tissues ------------------------------------------------------------------------------------------------------


def tissues_of(
    scene: Scene, passage: Passage, event: Event, events: Sequence[Event]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...], bool]:
    """(causes, listed, cause uncertain) of one event: linked by words, or merely beside it (POLICY section 2.6)."""
    if event.adequate:
        return (), (), False
    named = [
        t
        for t in scene.of("tissue")
        if (not is_negated(scene, t.first, t.last)
        and scene.same_clause(t.first, event.trigger.first))
        or _linked_across(scene, t, event)
    ]
    named = [t for t in named if not _named_away(scene, t) and not is_negated(scene, t.first, t.last)]
    linked = [t for t in named if _is_cause(scene, t, event, events)]
    linked += [t for t in named if t not in linked and any(_joined_to(scene, t, cause) for cause in linked)]
    others = [
        t
        for t in named
        if t not in linked and (not t.concept.is_("anatomy") or _abnormal(scene, t) or not t.concept.is_("own-words"))
    ]
    uncertain = any(hedges_cause_only(scene, event.last, t.first, t.last) for t in linked)
    return _tissue_findings(linked, passage), _tissue_findings(others, passage), uncertain


def _linked_across(scene: Scene, tissue: Mention, event: Event) -> bool:
    return False


def _named_away(scene: Scene, tissue: Mention) -> bool:
    """'disc space narrowing', 'extraforaminal disc': part of a structure that is not the cause."""
    other = scene.at(tissue.first, ("other-organ",))
    return bool(other and other.last > tissue.last) or bool(
        scene.at(tissue.first, ("framing",)) and _framing_covers(scene, tissue)
    )


def _framing_covers(scene: Scene, tissue: Mention) -> bool:
    """'ossification of the posterior longitudinal ligament' is a framing of its own, not a thick ligament."""
    return any(
        m.first <= tissue.first and tissue.last <= m.last and (m.last - m.first) > (tissue.last - tissue.first)
        for m in scene.of("framing")
    )


def _tissue_findings(mentions: Iterable[Mention], passage: Passage) -> tuple[Finding, ...]:
    found: dict[tuple[str, str], Finding] = {}
    for mention in mentions:
        for value in mention.value.split("+"):
            detail = mention.concept.says("elsewhere") or ("own-words" if mention.concept.is_("own-words") else "")
            found.setdefault(
                (value, detail), Finding("tissue", value, Evidence(passage, mention.start, mention.end), detail=detail)
            )
    return tuple(found.values())


def _abnormal(scene: Scene, tissue: Mention) -> bool:
    """A normal structure with a word of disease close by and no other tissue between."""
    for word in scene.of("pathology"):
        gap = (
            scene.between(tissue.last, word.first)
            if word.first > tissue.last
            else scene.between(word.last, tissue.first)
        )
        if (
            len(gap) <= 4
            and not any(t.first in gap for t in scene.of("tissue"))
            and scene.same_clause(word.first, tissue.first)
        ):
            return True
    return False


def _is_cause(scene: Scene, tissue: Mention, event: Event, events: Sequence[Event]) -> bool:
    return (
        _acts(scene, tissue, event, events)
        or _follows_because(scene, tissue, event)
        or _modifies_event(scene, tissue, event)
        or _leads(scene, tissue, event)
    )


def _acts(scene: Scene, tissue: Mention, event: Event, events: Sequence[Event]) -> bool:
    """The tissue is the subject of the narrowing: 'thick ligament narrows the canal', '... causing stenosis'."""
    start = event.trigger.first
    if tissue.last >= start:
        return False
    causing = [m for m in scene.of("link") if m.value == "causing" and tissue.last < m.first and m.last < start]
    verb = is_verb(scene, event.trigger) and not _passive(scene, event.trigger)
    if not verb and not causing:
        return False
    if _because_before(scene, tissue, start) and not causing:
        return False
    between = [
        e
        for e in events
        if e is not event
        and tissue.last < e.trigger.first
        and e.trigger.last < start
        and e.trigger is not event.trigger
    ]
    if not between:
        return True
    nearest = max(between, key=lambda e: e.trigger.last)
    return not any(t.first > nearest.trigger.last and t.last < start for t in scene.of("tissue")) and _is_cause(
        scene, tissue, nearest, [e for e in events if e is not event]
    )


def _because_before(scene: Scene, tissue: Mention, start: int) -> bool:
    """The tissue answers an earlier 'due to' of another narrowing."""
    earlier = [m for m in scene.of("link") if m.value == "because" and m.last < tissue.first]
    return bool(earlier) and any(n.last < earlier[-1].first for n in scene.of("narrowing") if n.first < start)


def _follows_because(scene: Scene, tissue: Mention, event: Event) -> bool:
    """'stenosis due to X and Y', 'narrowed by X', 'because of X the canal is narrow'."""
    for link in scene.of("link"):
        if link.value != "because" or link.last >= tissue.first or not scene.same_clause(link.first, tissue.first):
            continue
        if not _link_governs(scene, link, tissue):
            continue
        if link.first > event.trigger.last:
            later = [m for m in scene.of("narrowing", "mass-effect") if event.trigger.last < m.first < link.first]
            if all(_coordinated(scene, event, m) for m in later):
                return True
        elif tissue.last < event.trigger.first and not any(m.last < link.first for m in scene.of("narrowing")):
            return True
    return False


def _link_governs(scene: Scene, link: Mention, tissue: Mention) -> bool:
    """Between 'due to' and the tissue stand only modifiers and tissues that are joined to it."""
    position = link.last + 1
    while position < tissue.first:
        inner = scene.at(position, ("tissue", "pathology", "severity", "laterality", "framing", "hedge"))
        word, place = scene.tokens[position].word, scene.place_at(position)
        if not inner and word not in _LINK_GAP and not word.endswith("ed") and not place:
            return False
        if word in _STOPS - {"plus"} and not _together(scene, position):
            return False
        if (
            place
            and not scene.covered(link.last + 1, position, "tissue")
            and not _names_the_tissue(scene, place, tissue)
        ):
            return False
        position = (inner.last if inner else place.last if place else position) + 1
    return True


def _names_the_tissue(scene: Scene, place: Place, tissue: Mention) -> bool:
    """'from T7-8 disc extrusion': the level is the tissue's own."""
    return all(
        scene.at(p, ("severity", "laterality", "pathology")) or scene.tokens[p].word in ("level",)
        for p in range(place.last + 1, tissue.first)
    )


def _together(scene: Scene, position: int) -> bool:
    return any(
        scene.tokens[p].word in ("together", "combined", "along")
        for p in range(max(0, position - 1), min(len(scene.tokens), position + 2))
    )


def _coordinated(scene: Scene, event: Event, other: Mention) -> bool:
    gap = {scene.tokens[p].word for p in scene.between(event.trigger.last, other.first)}
    return not gap & {"but", "without", "no", "with"} or "and" in gap


def _modifies_event(scene: Scene, tissue: Mention, event: Event) -> bool:
    """'ligamentous stenosis', 'stenosis of the neural canal, connective tissue', '(fibrous)'."""
    if not tissue.concept.is_("modifier") or event.trigger.kind != "narrowing":
        return False
    if tissue.concept.is_("own-words") and scene.covered(tissue.last + 1, tissue.last + 1, "pathology"):
        return False
    if tissue.last < event.trigger.first:
        return all(_light(scene, p, event) for p in range(tissue.last + 1, event.trigger.first))
    gap = [p for p in range(event.trigger.last + 1, tissue.first)]
    if [scene.tokens[p].word for p in gap] == ["of"] and tissue.concept.is_("own-words"):
        return True
    end = scene.tokens[tissue.last + 1].word if tissue.last + 1 < len(scene.tokens) else "."
    closes = (
        end
        in (
            ",",
            ")",
            ".",
            ";",
            "-",
            "/",
            "and",
            "or",
            "origin",
            "type",
            "etiology",
            "in",
            "nature",
            "cause",
            ":",
            "+",
            "related",
            "mediated",
        )
        or scene.place_at(tissue.last + 1) is not None
    )
    comma = any(scene.tokens[p].word in (",", "(", "-", ":", "–") for p in gap) or end in (
        "origin",
        "type",
        "etiology",
        "related",
        "mediated",
    )
    return (
        closes
        and comma
        and all(_light(scene, p, event) or scene.tokens[p].word in (",", "(", "-", ":", ")", "–") for p in gap)
    )


def _light(scene: Scene, position: int, event: Event) -> bool:
    if scene.at(
        position, ("severity", "laterality", "region", "level", "space", "tissue", "framing", "modality", "pathology")
    ):
        return not (scene.at(position, ("pathology",)) and position < event.trigger.first)
    return scene.tokens[position].word in FILLERS | JOINERS | {"-", "neural", "(", ")"} and scene.tokens[
        position
    ].word not in ("with", "seen", "noted", "there")


def _leads(scene: Scene, tissue: Mention, event: Event) -> bool:
    """'Ligamentum flavum: narrowing the canal'; 'ligamentum flavum hypertrophy -> stenosis' is a link already."""
    return False


def _joined_to(scene: Scene, tissue: Mention, cause: Mention) -> bool:
    """Listed together with a cause: 'X, Y and Z narrow the canal'."""
    low, high = sorted((tissue, cause), key=lambda m: m.first)
    gap = range(low.last + 1, high.first)
    if any(scene.covered(p, p, "narrowing", "mass-effect") for p in gap):
        return False
    words = [scene.tokens[p].word for p in gap]
    tied = set(words) & {"and", "&", "/", "+", "or", "plus", "together", "combined", "alongside"} or words == [","]
    return bool(tied) and all(
        word in JOINERS | {"with", "combined", "alongside", "a", "an", "the"}
        or bool(scene.at(p, ("tissue", "pathology", "severity", "laterality")))
        for p, word in zip(gap, words, strict=True)
    )


def framings_of(scene: Scene, passage: Passage, event: Event, causes: Sequence[Finding]) -> tuple[Finding, ...]:
    """Processes named in the clause of the statement, and the category's own words (POLICY section 2.2)."""
    found = []
    for mention in scene.of("framing"):
        if mention.value in ("biomechanical", "dysfunction") or is_negated(scene, mention.first, mention.last):
            continue
        value = surgery_value(scene, mention) if mention.value == "after-surgery" else mention.value
        if value and _of_this_clause(scene, mention, event) and not _long_ago(scene, mention):
            found.append(Finding("framing", value, Evidence(passage, mention.start, mention.end)))
    own = [f for f in causes if f.detail == "own-words"]
    if own and event.trigger.value == "stenosis" and event.space_value:
        found.append(replace(own[0], element="framing", value="category-words", detail=_space_words(scene, event)))
    return tuple(found)


def _space_words(scene: Scene, event: Event) -> str:
    return " ".join(scene.words(event.space.first, event.space.last)) if event.space else ""


def _of_this_clause(scene: Scene, mention: Mention, event: Event) -> bool:
    """In the clause of the statement, or in a clause that states nothing else ('DISH; flowing ossification narrows ...')."""
    if scene.same_clause(mention.first, event.trigger.first):
        return True
    clause = scene.clauses[mention.first]
    return clause < scene.clauses[event.trigger.first] and not any(
        scene.clauses[m.first] == clause for m in scene.of("narrowing", "mass-effect", "contrast")
    )


def _long_ago(scene: Scene, mention: Mention) -> bool:
    """Only a current injury is classified to chapter 19 (Guidelines I.C.13.b)."""
    words = set(scene.words(max(0, mention.first - 4), min(len(scene.tokens) - 1, mention.last + 5)))
    return mention.value == "traumatic" and bool(
        words & {"old", "remote", "healed", "chronic", "prior", "previous", "ago", "history", "past", "childhood"}
    )


def surgery_value(scene: Scene, surgery: Mention) -> str:
    """'post-surgical' where the text ties the finding to the operation, 'after-surgery' where it only comes later."""
    for link in scene.of("link"):
        if link.value == "because" and 0 < surgery.first - link.last <= 6:
            return "post-surgical"
    return "after-surgery" if any(0 <= surgery.first - cue.last <= 6 for cue in scene.of("after")) else ""


def _thickening(scene: Scene, passage: Passage, heading: Sequence[Place]) -> list[Statement]:
    """A thickened ligament without a word on the canal: an indicator, and the question about narrowing (POLICY 2.7)."""
    thick = [
        t
        for t in scene.of("tissue")
        if t.value == "connective"
        and (not t.concept.is_("anatomy") or _abnormal(scene, t))
        and not (t.concept.is_("modifier") and not _abnormal(scene, t))
        and said_of(scene, t.first, t.last) == "affirmed"
        and not _framing_covers(scene, t)
        and not scene.covered(t.first, t.last, "other-organ")
    ]
    places = [place for place in scene.places if not place.root and not _taken(scene, place)] or list(heading)
    spinal = any(
        place.labels or value in ("head", "cervical", "thoracic", "lumbar", "sacral")
        for place in places
        for value, _ in place.values
    )
    named = [t for t in thick if _spinal_tissue(scene, t) or (spinal and any(p.labels for p in places))]
    if not named:
        return _pure_framing(scene, passage, places)
    listed = _tissue_findings(named, passage)
    framings = tuple(f for f in _framing_findings(scene, passage))
    start, end = scene.tokens[named[0].first].start, scene.tokens[named[-1].last].end
    evidence = Evidence(
        passage,
        min([start, *(p.start for p in places if p in scene.places)]),
        max([end, *(p.end for p in places if p in scene.places)]),
    )
    return [
        Statement(
            "affirmed",
            "unstated",
            evidence,
            regions=place_findings(places, passage),
            regions_joined=regions_joined(scene, [p for p in places if p in scene.places]),
            listed=listed,
            framings=framings,
            levels=tuple(dict.fromkeys(label for p in places for label in p.labels)),
        )
    ]


def _pure_framing(scene: Scene, passage: Passage, places: Sequence[Place]) -> list[Statement]:
    """An ossified ligament named alone is a diagnosis of its own (M48.8X-)."""
    ossified = [
        m
        for m in scene.of("framing")
        if m.value in ("opll", "ossified-flavum") and said_of(scene, m.first, m.last) in ("affirmed", "uncertain")
    ]
    if not ossified:
        return []
    first = ossified[0]
    said = said_of(scene, first.first, first.last)
    evidence = Evidence(
        passage,
        min([first.start, *(p.start for p in places if p in scene.places)]),
        max([first.end, *(p.end for p in places if p in scene.places)]),
    )
    return [
        Statement(
            "uncertain" if said == "uncertain" else "affirmed",
            "unstated",
            evidence,
            regions=place_findings(places, passage),
            framings=tuple(_framing_findings(scene, passage)),
            levels=tuple(dict.fromkeys(label for p in places for label in p.labels)),
        )
    ]


def _framing_findings(scene: Scene, passage: Passage) -> list[Finding]:
    return [
        Finding("framing", m.value, Evidence(passage, m.start, m.end))
        for m in scene.of("framing")
        if m.value not in ("biomechanical", "dysfunction", "after-surgery") and not is_negated(scene, m.first, m.last)
    ]


_SPINAL_TISSUE = frozenset(
    {
        "flavum",
        "flava",
        "flaval",
        "lfh",
        "hlf",
        "longitudinal",
        "pll",
        "hpll",
        "tectorial",
        "dural",
        "yellow",
        "lf",
        "epidural",
        "meningeal",
        "cruciate",
        "alar",
        "atlantal",
    }
)


def _spinal_tissue(scene: Scene, tissue: Mention) -> bool:
    return bool(set(scene.words(tissue.first, tissue.last)) & _SPINAL_TISSUE)


def _without_repeats(statements: Sequence[Statement]) -> list[Statement]:
    """One statement for each space and assertion of a sentence where the same is said twice."""
    kept: dict[tuple[object, ...], Statement] = {}
    for statement in statements:
        key = (
            statement.space.value if statement.space else "",
            statement.assertion,
            statement.narrowing,
            statement.region_values(),
            statement.levels,
        )
        if key in kept:
            old = kept[key]
            kept[key] = replace(old, causes=old.causes + tuple(c for c in statement.causes if c not in old.causes))
        else:
            kept[key] = statement
    return list(kept.values())
