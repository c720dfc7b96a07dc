"""Finds what a sentence says of a space: a narrowing, a pressure, or that it is open."""

from __future__ import annotations

from itertools import pairwise

from service.coding.corrections import SPINAL
from service.coding.lexicon import Mention
from service.coding.model import Narrowing
from service.coding.scene import FILLERS, JOINERS, Scene

_NOT_OURS = ("al", "ar", "ic", "ary", "ous", "eal", "ian", "ine")


_PLAIN_ADJECTIVES = frozenset(
    (
        "focal global general typical additional clinical local initial final overall several critical "
        "significant minimal usual possible total partial surgical radiographic radiologic symptomatic anatomic "
        "anatomical dynamic chronic physical neurologic neurological structural functional obvious serious "
        "continuous previous previously similar particular medical historical individual real actual early "
        "necessary primary secondary multiple biomechanical mechanical central spinal neural regular circular "
        "linear angular tubular"
    ).split()
)


_PASSIVE = frozenset({"is", "are", "was", "were", "being", "been"})


MOST_NARROWINGS = 12  # in one sentence; what says more is no sentence, and each is compared with each


class Event:
    """A narrowing, a pressure or an open space: the word that says so and the space that it is said of.

    Both lie between the positions `first` and `last`.
    """

    __slots__ = ("adequate", "first", "last", "link", "narrowing", "space", "space_value", "spine_only", "trigger")

    def __init__(
        self,
        trigger: Mention,
        space: Mention | None,
        space_value: str,
        narrowing: Narrowing,
        *,
        adequate: bool = False,
        spine_only: bool = False,
        link: str = "",
    ) -> None:
        self.trigger, self.space, self.space_value, self.narrowing = trigger, space, space_value, narrowing
        self.adequate, self.spine_only, self.link = adequate, spine_only, link
        self.first = min(trigger.first, space.first) if space else trigger.first
        self.last = max(trigger.last, space.last) if space else trigger.last


def find_events(scene: Scene) -> list[Event]:
    """Every narrowing, pressure and open space of the sentence, each with one space, in order of place."""
    if not scene.says("narrowing", "mass-effect", "adequate"):
        return []
    named = scene.of("narrowing", "mass-effect")[:MOST_NARROWINGS]
    triggers = [m for m in named if not (_inside_other(scene, m) or _names_a_test(scene, m) or _is_of_a_disc(scene, m))]
    events: list[Event] = []
    for trigger in triggers:
        events.extend(_narrowed(scene, trigger, triggers))
    taken = {event.space.first for event in events if event.space}
    for opening in scene.of("adequate"):
        events.extend(
            e for e in _open_spaces(scene, opening, triggers) if e.space is None or e.space.first not in taken
        )
    if len(events) < 2:
        return events
    return _shared_space(scene, sorted(events, key=lambda event: (event.trigger.first, event.first)))


def _shared_space(scene: Scene, events: list[Event]) -> list[Event]:
    """'stenosis narrowing the canal', 'the canal is free at L3-4; at L4-5 it is narrowed': one space for both."""
    named = [event for event in events if event.space_value]
    values = {event.space_value for event in named}
    if len(values) != 1 or len(named) == len(events):
        return events
    space = named[0]
    return [
        e if e.space_value else _with_space_of(space, e) for e in events if e is not space or not _doubled(e, events)
    ]


def _with_space_of(other: Event, event: Event) -> Event:
    """The space is named elsewhere: what is denied there need not be denied here."""
    link = "the one space of the sentence"
    shared = Event(event.trigger, other.space, other.space_value, event.narrowing, adequate=event.adequate, link=link)
    shared.first, shared.last = event.first, event.last
    return shared


def _doubled(verb: Event, events: list[Event]) -> bool:
    """The verb of a stenosis that is said already: 'stenosis narrowing the canal'."""
    return not verb.adequate and any(not e.space_value and 0 < verb.trigger.first - e.trigger.last <= 2 for e in events)


_TESTS = frozenset(
    "test tests sign signs maneuver manoeuvre fracture fractures reproduces reproducing provokes elicits".split()
)


_RESULTS = frozenset({"positive", "negative", "pos", "neg", "+", "-"})


def _names_a_test(scene: Scene, trigger: Mention) -> bool:
    """'foraminal compression test positive' is an examination; so is 'Spurling's test (foraminal compression)'."""
    before = scene.words[max(0, trigger.first - 3) : trigger.first] if "(" in scene.said else []
    if "(" in before and not _TESTS.isdisjoint(before):
        return True
    following = scene.word(trigger.last + 1)
    if trigger.kind == "mass-effect":
        result = scene.word(trigger.last + 2) if following == "(" else following
        if result in _RESULTS:
            return True
    if _TESTS.isdisjoint(scene.said):
        return False
    named: Mention | None = trigger
    if following in ("and", "or", ",", "/"):
        named = next((m for m in scene.of(trigger.kind) if 0 < m.first - trigger.last <= 4), None)
    return named is not None and not _TESTS.isdisjoint(scene.words[named.last + 1 : named.last + 3])


def _inside_other(scene: Scene, trigger: Mention) -> bool:
    """Part of a longer word of another kind: 'thickening' of a name, 'impression' as a heading."""
    kinds = _LONGER_THAN_PRESSURE if trigger.kind == "mass-effect" else _LONGER
    return any(
        m.first <= trigger.first
        and trigger.last <= m.last
        and m.last - m.first > trigger.last - trigger.first
        and m.kind in kinds
        for m in scene.mentions
    ) or any(  # 'cause of the stenosis: ...'
        m.value == "because" and m.first < trigger.first and trigger.last <= m.last for m in scene.of("link")
    )


def _is_of_a_disc(scene: Scene, trigger: Mention) -> bool:
    """'disc narrowing C5-6', 'narrowed disc', 'the L5-S1 disc is narrowed': it has lost height, no canal its width."""
    if scene.words[trigger.last] not in _LOSES_HEIGHT or trigger.first != trigger.last:
        return False
    discs = [m for m in scene.of("tissue") if m.value == "disc" and m.concept.anatomy]
    if not discs or _np_left(scene, trigger) or _np_right(scene, trigger):
        return False
    return any(_is_narrowed_disc(scene, disc, trigger) for disc in discs)


_LOSES_HEIGHT = frozenset({"narrow", "narrowed", "narrowing", "narrowings"})


def _is_narrowed_disc(scene: Scene, disc: Mention, trigger: Mention) -> bool:
    if disc.last < trigger.first:
        return _leads_to(scene, disc.last + 1, trigger.first) and (
            disc.last + 1 == trigger.first or not _hangs_on_a_preposition(scene, disc)
        )
    follows = scene.words[trigger.first] in ("narrow", "narrowed") or scene.word(trigger.last + 1) == "of"
    joined = scene.word(disc.last + 1) in JOINERS and _space_ahead(scene, disc.last + 1)
    return follows and not joined and _leads_to(scene, trigger.last + 1, disc.first)


def _leads_to(scene: Scene, start: int, end: int) -> bool:
    """Only places, degrees and small words stand between a disc and what is said of it."""
    return end - start <= _FAR and all(
        scene.words[p] in _OF_A_DISC
        or scene.at(p, ("severity", "laterality", "region", "level")) is not None
        or (scene.words[p] in JOINERS and scene.place_at(p + 1) is not None)
        for p in range(start, end)
    )


def _hangs_on_a_preposition(scene: Scene, disc: Mention) -> bool:
    """'the canal at the C5-6 disc is narrowed'."""
    position = disc.first - 1
    while position >= 0 and (scene.at(position, ("region", "level", "severity")) or scene.words[position] in _ARTICLES):
        position -= 1
    return position >= 0 and scene.words[position] in _PREPOSITIONS


_ARTICLES = frozenset("the this that these those a an".split())
_PREPOSITIONS = frozenset("at of by in near from behind opposite above below across between over with to".split())
_OF_A_DISC = (
    _PASSIVE
    | _ARTICLES
    | frozenset(
        (
            "of all at in and : appears appear remains remain again also has have been height signal decreased reduced "
            "diminished lost desiccated dehydrated degenerated thin thinned collapsed"
        ).split()
    )
)


_LONGER = frozenset({"historical", "not-negation", "severity", "adequate"})
_LONGER_THAN_PRESSURE = _LONGER | {"framing"}


def _narrowed(scene: Scene, trigger: Mention, triggers: list[Mention]) -> list[Event]:
    own = trigger.concept.space
    spaces, link = _linked_spaces(scene, trigger, triggers)
    spaces = [space for space in spaces if not _merely_near(scene, trigger, space)]
    if _either_space(scene, trigger):
        return [Event(trigger, None, "", "stated", spine_only=False)]
    if own and not any(s.kind == "space" for s in spaces):
        return [Event(trigger, None, own, "stated", link="in the word itself")]
    ours = [
        space
        for space in spaces
        if space.kind in ("space", "target") and space.value in ("canal", "foramen") and not _of_an_organ(scene, space)
    ]
    if spaces and spaces[0].kind == "other-organ" and "of" in scene.words[trigger.first : spaces[0].first]:
        return []  # 'narrowing of the right vertebral artery in the C5-6 foramen'
    if spaces and not ours:
        return _pinched_inside(scene, trigger, spaces[-1])
    if ours:
        return [Event(trigger, space, space.value, _strength(trigger, space), link=link) for space in ours]
    if (
        scene.word(trigger.last + 1) in ("it", "them")
        and not _root_before(scene, trigger)
        and (trigger.value == "verb" or scene.words[trigger.last] == "narrow")
    ):
        return [Event(trigger, None, "", "stated")]
    if trigger.kind == "narrowing" and trigger.value == "stenosis" and not _of_something_else(scene, trigger):
        if scene.says("other-organ") and not scene.places:
            return []  # 'carotid plaque; degree of stenosis not quantified'
        return [Event(trigger, None, "", "stated", spine_only=_spinal_place(scene, trigger))]
    return []


def _merely_near(scene: Scene, trigger: Mention, target: Mention) -> bool:
    """'stenosis and cord changes': the cord is not what is stenosed."""
    noun = trigger.kind == "narrowing" and trigger.value == "stenosis" and target.kind == "target"
    return noun and target.first > trigger.last and "and" in scene.words[trigger.last + 1 : target.first]


def _root_before(scene: Scene, trigger: Mention) -> bool:
    """'touching the L5 roots without displacing them' is about the roots."""
    before = [m for m in scene.of("space", "target") if m.last < trigger.first]
    return bool(before) and before[-1].value == "root"


def _pinched_inside(scene: Scene, trigger: Mention, target: Mention) -> list[Event]:
    """'compressing the L4 root inside the foramen', 'root pinched in the lateral recess': implied where it happens."""
    if trigger.kind != "mass-effect" or target.value != "root":
        return []
    start = max(trigger.last, target.last) + 1
    inside = next((p for p in range(start, min(start + 3, len(scene.words))) if scene.words[p] in _INSIDE), None)
    if inside is None:
        return []
    spaces = [m for m in scene.of("space") if 0 < m.first - inside <= 6]
    return [Event(trigger, spaces[0], spaces[0].value, "implied", link="where the root is pressed")] if spaces else []


_INSIDE = frozenset({"in", "within", "inside", "at"})


def _either_space(scene: Scene, trigger: Mention) -> bool:
    """'canal versus foramen': the space is left open."""
    if scene.said.isdisjoint(("versus", "vs")):
        return False
    spaces = [s for s in scene.of("space") if scene.same_clause(s.first, trigger.first)]
    return any(
        one.value != other.value and {scene.words[p] for p in scene.between(one.last, other.first)} & {"versus", "vs"}
        for one, other in pairwise(spaces)
    )


def _of_an_organ(scene: Scene, space: Mention) -> bool:
    """'femoral medullary canal', 'central vein', 'canal stenosis found at hysteroscopy': that of something else."""
    if not scene.says("other-organ"):
        return False
    if scene.words[space.last] == "central" and scene.at(space.last + 1, ("other-organ",)):
        return True
    if not scene.places and " ".join(scene.words[space.first : space.last + 1]) in _OF_MANY_ORGANS:
        return True
    before = scene.at(space.first - 1, ("other-organ",)) if space.first else None
    return before is not None and before.last < space.first


_OF_MANY_ORGANS = frozenset({"canal", "canals", "cervical canal", "cord"})


def names_its_canal(scene: Scene) -> bool:
    """Whether an organ's canal is named: 'external auditory canal', 'root canal', 'canalplasty'."""
    organs = scene.of("other-organ")
    return any(any("canal" in word or word == "tympanic" for word in scene.words[m.first : m.last + 1]) for m in organs)


def _strength(trigger: Mention, space: Mention) -> Narrowing:
    """Pressure on the thecal sac or the cord implies a narrow canal; narrowing of them states it (POLICY 2.7)."""
    states = trigger.kind == "narrowing" and trigger.value != "encroachment"
    return "stated" if space.kind == "space" or states else "implied"


def _linked_spaces(scene: Scene, trigger: Mention, triggers: list[Mention]) -> tuple[list[Mention], str]:
    """The spaces that a word is said of, and by which rule of linking."""
    if is_verb(scene, trigger):
        if right := _np_right(scene, trigger):
            return right, "object of the verb"
        if passive(scene, trigger) and (left := _np_left(scene, trigger)):
            return left, "subject of the passive"
    else:
        left = _np_left(scene, trigger)
        if left and not _is_apart(scene, left[-1], trigger):
            return left, "directly before"
        if right := _np_right(scene, trigger):
            return right, "complement"
        if left:
            return left, "directly before"
    return _nearest_space(scene, trigger, triggers), "nearest in the clause"


def _is_apart(scene: Scene, space: Mention, trigger: Mention) -> bool:
    """'... of neural canal, cervical region, and osseous stenosis of neural canal': the first canal is another's."""
    return any(scene.words[p] in (",", "and", ";") for p in range(space.last + 1, trigger.first))


def is_verb(scene: Scene, trigger: Mention) -> bool:
    """'narrows the canal', 'narrowing both foramina': the word has a subject and an object."""
    if trigger.value == "verb":
        return True
    if scene.words[trigger.last] not in ("narrowing", "narrow") or trigger.first != trigger.last:
        return False
    for p in range(trigger.last + 1, min(trigger.last + 6, len(scene.words))):
        space = _space_at(scene, p)
        if space:
            return space.kind != "other-organ" and not _np_left(scene, trigger)
        if scene.words[p] not in ("the", "both", "his", "her", "its", "a", "their") and not scene.at(
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
        word = scene.words[position]
        if space:
            found.insert(0, space)
            position = space.first - 1
            continue
        modifier = scene.at(position, ("severity", "laterality", "region", "level", "tissue"))
        if word in JOINERS and position == trigger.first - 1 and _np_right(scene, trigger):
            break  # 'compressing the sac and narrowing both foramina'
        if (
            not modifier
            and not (word in JOINERS and _space_behind(scene, position))
            and word not in ("high", "grade", "neural", "-")
        ):
            break
        if modifier and modifier.kind == "tissue" and not modifier.concept.modifier:
            break
        position = (modifier.first if modifier else position) - 1
    return found


def _space_behind(scene: Scene, position: int) -> bool:
    """A joiner counts only where another space stands before it: 'canal, lateral recess or foraminal'."""
    for p in range(position - 1, max(-1, position - 5), -1):
        if _space_at(scene, p) or scene.words[p] in JOINERS:
            return True
        if not scene.at(p, ("severity", "laterality", "region", "level")):
            return False
    return False


_COMPLEMENT = frozenset(
    (
        "of the in within at to on upon both its into this a an around along bilateral across for - any one each "
        "either onto over his her aspect portion part surface side anterior posterior ventral dorsal lumen width "
        "diameter exiting traversing descending central inferior teh entire whole"
    ).split()
)


def _np_right(scene: Scene, trigger: Mention) -> list[Mention]:
    """Spaces in the complement: 'narrowing of the neural canal', 'narrows the canal and both foramina'."""
    found: list[Mention] = []
    position = trigger.last + 1
    while position < len(scene.words) and scene.same_clause(position, trigger.first):
        space = _space_at(scene, position)
        modifier = scene.at(position, ("severity", "laterality", "region", "level"))
        if space:
            found.append(space)
        elif not modifier and not _complement_goes_on(scene, trigger, position, listed=bool(found)):
            break
        position = (space.last if space else modifier.last if modifier else position) + 1
    return found


def _complement_goes_on(scene: Scene, trigger: Mention, position: int, *, listed: bool) -> bool:
    """'of the', 'L3-4 and L4-5', 'the canal to 8 mm and both foramina'."""
    word = scene.words[position]
    if word in _COMPLEMENT:
        return True
    if listed and (word in ("to", "mm", "cm") or word[0].isdigit()):
        return True
    if word in JOINERS and scene.place_at(position - 1) and scene.place_at(position + 1):
        return True
    joins = word in JOINERS if listed else word == "," and trigger.value == "stenosis"
    return joins and _space_ahead(scene, position)


def _space_ahead(scene: Scene, position: int) -> bool:
    """The list goes on with a space that has no predicate of its own ('..., spinal canal adequate')."""
    for p in range(position + 1, min(len(scene.words), position + 6)):
        space = _space_at(scene, p)
        if space:
            return not scene.covered(space.last + 1, space.last + 3, "adequate", "narrowing", "mass-effect")
        modifies = scene.at(p, ("severity", "laterality", "region", "level"))
        if not (modifies or scene.words[p] in _COMPLEMENT | JOINERS):
            return False
    return False


def passive(scene: Scene, trigger: Mention) -> bool:
    """'is compressed by', not 'is noted compressing' nor 'is narrowing the canal'; 'there is narrowing of' acts not."""
    acts = scene.words[trigger.first].endswith("ing") and scene.word(trigger.first + 1) != "of"
    if acts or scene.words[trigger.last].endswith("ing"):
        return False
    return any(scene.words[p] in _PASSIVE for p in range(max(0, trigger.first - 4), trigger.first))


def _nearest_space(scene: Scene, trigger: Mention, triggers: list[Mention]) -> list[Mention]:
    """'the canal is moderately narrowed', 'Central canal: severe stenosis', 'in the foramen, which is narrowed'."""
    best: tuple[int, Mention] | None = None
    for space in scene.of("space", "target", "other-organ"):
        if (
            not scene.same_clause(space.first, trigger.first)
            or space.value == "root"
            or (trigger.value == "noun" and space.value == "foramen")  # what is compressed there is the root
            or scene.words[space.last] == "central"
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
        if distance > _NEAR and (distance > _FAR or not _goes_on_with_subject(scene, trigger)):
            continue
        if best is None or distance < best[0]:
            best = (distance, space)
    return [*_coordinated_before(scene, best[1]), best[1]] if best else []


_NEAR, _FAR = 14, 24  # words; far only where the subject goes on


def _goes_on_with_subject(scene: Scene, trigger: Mention) -> bool:
    """'the foramen is filled by a spur and a fragment and is considerably narrowed': still of the foramen."""
    words = scene.words[max(0, trigger.first - 4) : trigger.first]
    return any(word in ("and", "which") and not _PASSIVE.isdisjoint(words[n + 1 :][:1]) for n, word in enumerate(words))


def _coordinated_before(scene: Scene, space: Mention) -> list[Mention]:
    """'Neither the canal nor the exit foramina are narrowed': what is joined before the nearest one."""
    found: list[Mention] = []
    position, joined = space.first - 1, False
    while position >= 0:
        other = scene.at(position, ("space",))
        if other and joined:
            found.insert(0, other)
            position, joined = other.first - 1, False
            continue
        word = scene.words[position]
        joined = joined or word in ("and", "nor", "or")
        if other or not (joined or word in ("the", "both", "exit") or scene.at(position, ("laterality", "severity"))):
            break
        position -= 1
    return found


def _belongs_to_next(scene: Scene, space: Mention, triggers: list[Mention], trigger: Mention) -> bool:
    """The space is the left neighbour of another narrowing word or is called open."""
    nearby = [m for m in [*triggers, *scene.of("adequate")] if m is not trigger and 0 < m.first - space.last <= 3]
    return bool(nearby)


def _of_something_else(scene: Scene, trigger: Mention) -> bool:
    """'esophageal stenosis', 'narrowing of the airway': an organ unknown to the lexicon is not the canal."""
    position = trigger.first - 1
    while position >= 0 and scene.at(position, ("severity", "laterality", "region", "level", "framing")):
        position -= 1
    if position >= 0:
        word = scene.words[position]
        known = [m for m in scene.mentions if m.first <= position <= m.last]
        if (
            not known
            and word.isalpha()
            and len(word) > 4
            and word.endswith(_NOT_OURS)
            and word not in _PLAIN_ADJECTIVES
        ):
            return True
        if any(_is_joint(scene, m) for m in known) and not scene.says("space"):
            return scene.words[trigger.first] == "narrowing"
    return _unknown_complement(scene, trigger)


def _is_joint(scene: Scene, mention: Mention) -> bool:
    """'facet joint narrowing': the joint has become narrow."""
    named = mention.kind == "tissue" and mention.concept.anatomy
    return named and scene.words[mention.last] in ("joint", "joints")


def _unknown_complement(scene: Scene, trigger: Mention) -> bool:
    position = trigger.last + 1
    if position >= len(scene.words) or scene.words[position] not in ("of", "in"):
        return False
    for p in range(position + 1, min(position + 5, len(scene.words))):
        if scene.at(p, ("region", "level", "space", "target", "narrowing")):
            return False
        word = scene.words[p]
        if (
            word.isalpha()
            and word not in FILLERS
            and not scene.at(p, ("severity", "laterality", "tissue", "hedge", "framing"))
        ):
            return True
    return False


def _spinal_place(scene: Scene, trigger: Mention) -> bool:
    """'cervical stenosis' without canal or spinal: the place is the spine, the space is taken for granted."""
    position = trigger.first - 1
    while position >= 0 and scene.at(position, ("severity", "laterality", "pathology", "level")):
        position -= 1
    before = scene.place_at(position)
    return before is not None and not before.labels and any(value in SPINAL for value, _ in before.values)


def _open_spaces(scene: Scene, opening: Mention, triggers: list[Mention]) -> list[Event]:
    """'adequate spinal canal', 'the canal and foramina are widely patent'."""
    if _is_a_part(scene, opening):
        return []
    loose = scene.words[opening.first] in (
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
        if not scene.same_clause(space.first, opening.first) or space.value == "root" or _of_an_organ(scene, space):
            continue
        if scene.words[space.first] == "csf" and scene.words[opening.first] == "clear":
            continue  # as it drips
        if any(t.first <= space.first <= t.last for t in triggers):
            continue  # 'no central stenosis and the foramina are patent'
        if loose and scene.words[opening.last + 1 : opening.last + 2] in _OF_ITSELF:
            continue
        if space.kind == "target" and not _may_be_wide(scene, space, opening):
            continue
        if not _CONTACTS.isdisjoint(scene.words[max(0, space.first - 3) : space.first]):
            continue  # 'disc abutting the thecal sac, exit canals clear'
        gap = (
            scene.between(space.last, opening.first)
            if space.last < opening.first
            else scene.between(opening.last, space.first)
        )
        blocked = any(t.first in gap for t in triggers) or any(
            scene.words[p] == "," for p in gap if space.first > opening.last
        )
        apart = sum(not scene.place_at(p) and scene.words[p] not in FILLERS for p in gap)
        reach = 3 if loose and space.first > opening.last else 6
        if blocked or (apart > reach and (apart > _FAR or not _goes_on_with_subject(scene, opening))):
            continue
        if space.first > opening.last and any(not _modifies(scene, p) for p in gap):
            continue
        found.append(Event(opening, space, space.value, "stated", adequate=True, link="called wide enough"))
    return found


def _is_a_part(scene: Scene, opening: Mention) -> bool:
    """'half of its normal width', '50 % of normal', 'smaller than normal': not so wide."""
    if not scene.words[opening.first].startswith("normal"):
        return False
    before = range(max(0, opening.first - 4), opening.first)
    return any(scene.words[p] in _LESS and scene.place_at(p) is None for p in before)


_LESS = frozenset("half third thirds quarter quarters fraction percent % / than below less smaller narrower".split())


def _may_be_wide(scene: Scene, target: Mention, opening: Mention) -> bool:
    """'the thecal sac is capacious', 'the sac is of normal size'; what is clear or free may be something else."""
    word = scene.words[target.first]
    return word in _ROOMS or (word == "sac" and scene.words[opening.first] not in ("free", "clear", "intact"))


_ROOMS = frozenset({"thecal", "dural", "theca", "csf", "subarachnoid"})
_OF_ITSELF = [[word] for word in ("position", "signal", "alignment", "height", "variant", "marrow", "lordosis")]
_CONTACTS = frozenset("abut abuts abutting touch touches touching contact contacts contacting".split())


def _modifies(scene: Scene, position: int) -> bool:
    word = scene.words[position]
    return (
        bool(scene.at(position, ("region", "level", "laterality", "severity", "space", "target")))
        or word in FILLERS
        or word in JOINERS
    )
