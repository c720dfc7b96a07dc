"""Which regions and levels of a sentence belong to which narrowing."""

from __future__ import annotations

from collections.abc import Iterable

from service.coding.corrections import SPINAL
from service.coding.events import Event, is_verb
from service.coding.model import Evidence, Finding, Passage
from service.coding.scene import FILLERS, JOINERS, Place, Scene


def place_findings(places: Iterable[Place], passage: Passage) -> tuple[Finding, ...]:
    found: dict[tuple[str, str], Finding] = {}
    for place in places:
        for value in place.values:
            if value not in found:
                region, junction = value
                found[value] = Finding("region", region, Evidence(passage, place.start, place.end), detail=junction)
    return tuple(found.values())


Shares = dict[int, tuple[int, int, int]]


def places_of(scene: Scene, event: Event, shares: Shares) -> list[Place]:
    """The places of this narrowing: its own part of the sentence, else what the sentence shares out."""
    if not scene.places:
        return []
    if event.space and event.space.concept.region:
        own_place = scene.place_at(event.space.first)
        return [own_place] if own_place else []
    if beside := _named_with_the_space(scene, event):
        return [beside]
    if _everywhere(scene, event):
        return []
    free = [place for place in scene.places if _next_to(scene, place, event) or not taken(scene, place)]
    named = [place for place in free if not place.root]
    free = named or free
    mine = [
        place
        for place in free
        if _share_at(shares, place.first) == shares[id(event)][2]
        and scene.same_clause(place.first, event.trigger.first)
    ]
    mine = _without_other_heads(scene, mine, event)
    if len(mine) == 1 and _is_of_another(scene, mine[0], event, free):
        mine = []
    own = _own_complement(scene, mine, event)
    if own:
        return own
    if mine:
        return mine + _listed_after(scene, free, event)
    in_clause = [place for place in free if scene.same_clause(place.first, event.trigger.first)]
    in_clause = [place for place in in_clause if place.first < event.first] or in_clause
    if in_clause:
        nearest = min(in_clause, key=lambda place: min(abs(place.first - event.last), abs(place.last - event.first)))
        share = _share_at(shares, nearest.first)
        return [place for place in in_clause if _share_at(shares, place.first) == share]
    return _trailing(scene, free, event)


def _everywhere(scene: Scene, event: Event) -> bool:
    """'canal narrowed at C6-7; foramina clear at all levels': at no level of another clause."""
    if _ALL.isdisjoint(scene.said):
        return False
    words = scene.words[event.last + 1 : event.last + 5]
    at = next((n for n, word in enumerate(words) if word in _ALL), None)
    if at is None or _LEVELS.isdisjoint(words[at + 1 :]):
        return False
    return not any(scene.same_clause(place.first, event.trigger.first) for place in scene.places)


_ALL = frozenset({"all", "every"})
_LEVELS = frozenset({"level", "levels", "segments"})


def _named_with_the_space(scene: Scene, event: Event) -> Place | None:
    """'Tarlov cyst S2, sacral foramina patent': the region before the space, where all else is parted from it."""
    own = scene.place_at(event.space.first - 1) if event.space and event.space.first else None
    if own is None or own.labels or own.root or scene.places[-1] is not own:
        return None
    return own if all(_is_parted_by(scene, place, own) for place in scene.places if place is not own) else None


def _is_parted_by(scene: Scene, place: Place, own: Place) -> bool:
    words = scene.words[place.last + 1 : own.first]
    return not _COMMAS.isdisjoint(words) and len(words) > 2


_COMMAS = frozenset({",", ";"})
_PARTS = frozenset({",", ";", "and", "&", "with", "w", "plus", "+", "while"})
_OF_THE_SAME = ("narrowing", "mass-effect", "space", "target", "adequate", "severity", "laterality", "hedge", "present")
_MORE_OR_LESS = frozenset(
    (
        "worse worst most more less lesser greatest greater extent degree especially particularly predominantly "
        "maximal also mainly primarily notably similar similarly mostly pronounced prominent again from through "
        "between including includes namely followed by then as"
    ).split()
)


def _without_other_heads(scene: Scene, places: list[Place], event: Event) -> list[Place]:
    """'canal stenosis L4-5, disc bulge L5-S1': what has a place of its own does not take that of another finding."""
    if len(places) < 2:
        return places
    own = [place for place in places if not _is_parted(scene, place, event)]
    return [p for p in places if p in own or _is_shared(scene, p, event)] if own else places


def _is_shared(scene: Scene, place: Place, event: Event) -> bool:
    """Not of a tissue that narrows nothing: 'L3-4 disc bulge and severe L4-5 canal stenosis'."""
    if place.first > event.first:
        return _goes_on(scene, place)
    named = scene.at(place.last + 1, ("tissue",))
    acts = any(m.value == "causing" and m.first < event.trigger.first for m in scene.of("link"))
    return named is None or acts or scene.word(named.last + 1) not in _PARTS or is_verb(scene, event.trigger)


def _is_of_another(scene: Scene, place: Place, event: Event, free: list[Place]) -> bool:
    """'bulges at L3-4 & L4-5 narrow the foramina, with flavum hypertrophy at L4-5': the last place is the flavum's."""
    behind = place.first > event.last and any(other.last < event.first for other in free)
    named = scene.covered(event.last + 1, place.first - 1, "tissue", "framing")
    return behind and named and _is_parted(scene, place, event) and not _goes_on(scene, place)


def is_elsewhere(scene: Scene, event: Event) -> bool:
    """'other foramina clear', 'the remaining levels': not at the places that the sentence names."""
    return scene.word(event.first - 1) in ("other", "remaining") and bool(scene.places)


def _is_parted(scene: Scene, place: Place, event: Event) -> bool:
    low, high = (place.last, event.first) if place.first < event.first else (event.last, place.first)
    return any(scene.words[p] in _PARTS for p in range(low + 1, high))


def _goes_on(scene: Scene, place: Place) -> bool:
    """Between the place and the joiner before it stands nothing that could be there instead."""
    start = next((p + 1 for p in range(place.first - 1, -1, -1) if scene.words[p] in _PARTS), 0)
    return (bool(place.labels) and scene.covered(start, place.first - 1, "link")) or all(
        not scene.words[p].isalpha()
        or scene.words[p] in FILLERS
        or scene.words[p] in JOINERS
        or scene.words[p] in _MORE_OR_LESS
        or scene.at(p, _OF_THE_SAME)
        or scene.place_at(p)
        for p in range(start, place.first)
    )


def _own_complement(scene: Scene, mine: list[Place], event: Event) -> list[Place]:
    """'bulges from C3 to C6 with narrowing at C4-5': the place behind the narrowing, not those before the 'with'."""
    behind = [place for place in mine if place.first > event.last]
    before = [place for place in mine if place.last < event.first]
    parted = any(scene.words[p] in ("with", ",") for place in before for p in range(place.last + 1, event.first))
    near = behind and all(scene.words[p] in FILLERS for p in range(event.last + 1, behind[0].first))
    return behind if before and near and parted else []


def _next_to(scene: Scene, place: Place, event: Event) -> bool:
    """Directly behind the narrowed space ('neural canal cerv'), so no part of an exam's name."""
    gap = range(event.last + 1, place.first)
    return place.first > event.last and len(gap) <= 2 and all(scene.words[p] in FILLERS for p in gap)


def _listed_after(scene: Scene, free: list[Place], event: Event) -> list[Place]:
    """'...of head region; cervical region': a clause of places alone goes on with the list."""
    following = scene.clauses[event.trigger.first] + 1
    inside = [p for p, clause in enumerate(scene.clauses) if clause == following]
    plain = inside and all(scene.place_at(p) or scene.words[p] in FILLERS | JOINERS | {";", "."} for p in inside)
    return (
        [place for place in free if scene.clauses[place.first] == following]
        if plain and scene.words[inside[0]] == ";"
        else []
    )


def _trailing(scene: Scene, free: list[Place], event: Event) -> list[Place]:
    """A clause of places only ('...of head region; cervical region') belongs to the clause before."""
    clause = scene.clauses[event.trigger.first]
    before = [place for place in free if scene.clauses[place.first] < clause]
    if before or any(
        scene.clauses[m.first] == clause + 1 for m in scene.of("narrowing", "mass-effect", "tissue", "space")
    ):
        return before
    return [place for place in free if scene.clauses[place.first] == clause + 1]


def shares_of(scene: Scene, events: list[Event]) -> Shares:
    """Cuts the sentence at the joiner between one event and the next; (start, end, share number) for each event."""
    ordered = sorted(events, key=lambda e: e.trigger.first)
    shares: Shares = {}
    start = number = 0
    for index, event in enumerate(ordered):
        end = len(scene.words)
        if index + 1 < len(ordered):
            following = ordered[index + 1]
            if following.trigger is event.trigger:
                end = start
            else:
                end = _cut(scene, event, following)
        shares[id(event)] = (start, end, number)
        if end > start:
            start, number = end, number + 1
    return shares


_CUTS = frozenset({"and", ",", "with", ";", "but", "&", "/", ".", "or", "plus", "while", "whereas"})


def _cut(scene: Scene, event: Event, following: Event) -> int:
    """Where the words of one event end and those of the next begin: at a clause, else at the joiner between them."""
    for p in range(event.last + 1, following.first):
        if not scene.same_clause(p, event.trigger.first):
            return p
    cuts = [p for p in range(event.last + 1, following.first) if scene.words[p] in _CUTS]
    cuts = [p for p in cuts if not (scene.place_at(p - 1) and scene.place_at(p + 1))] or cuts
    if not cuts:
        return event.last + 1
    aside = scene.place_at(cuts[0] + 1)
    if aside and aside.last + 1 in cuts:
        return cuts[-1]  # 'stenosis of neural canal, cervical region, and osseous stenosis ...'
    return cuts[0] if _places_between(scene, cuts[0], following.first) else cuts[-1]


def _places_between(scene: Scene, first: int, last: int) -> bool:
    """Places stand before the next event's words: 'at L3-4, and at L4-5 foraminal stenosis'."""
    return any(first < place.first < last for place in scene.places) and scene.words[last - 1] not in JOINERS


def _share_at(shares: Shares, position: int) -> int:
    for start, end, number in shares.values():
        if start <= position < end:
            return number
    return -1


def _chunk(scene: Scene, position: int) -> tuple[int, int]:
    """The part between commas that holds a token."""
    start = next((p + 1 for p in range(position - 1, -1, -1) if scene.words[p] in (",", ";", ":")), 0)
    end = next(
        (p for p in range(position + 1, len(scene.words)) if scene.words[p] in (",", ";", "(")), len(scene.words)
    )
    return start, end


def _without_with(scene: Scene, place: Place, start: int, end: int) -> tuple[int, int]:
    """'lumbar region with neurogenic claudication': what stands behind the 'with' does not take the place."""
    parts = [p for p in range(start, end) if scene.words[p] in ("with", "w", "without", "causing", "and")]
    before = max((p + 1 for p in parts if p < place.first), default=start)
    return before, min((p for p in parts if p > place.last), default=end)


def taken(scene: Scene, place: Place) -> bool:
    """The place belongs to an exam, a symptom, an operation, another organ: no site of the narrowing."""
    if place.root:
        return False
    if _is_denied(scene, place) or _is_of_an_alternative(scene, place) or _is_of_the_conus(scene, place):
        return True
    if _is_next_to_operated(scene, place):
        return True
    if scene.words[max(0, place.first - 2) : place.first] == ["to", "the"] and scene.place_at(place.first - 3):
        return True  # 'from L1 to the sacrum'
    if scene.says("function", "modality", "care", "root-word") and _is_part_of_no_site(scene, place):
        return True
    if place.labels and place.last + 1 < len(scene.words) and scene.at(place.last + 1, ("modality",)):
        return False
    before = [m for m in scene.of("modality", "care", "other-organ") if 0 < place.first - m.last <= 2]
    if any(all(scene.words[p] in FILLERS for p in range(m.last + 1, place.first)) for m in before):
        return True
    after = place.last + 1
    while after < len(scene.words) and scene.words[after] in (_PASSED_BY if not place.labels else _PASSED_BY - {"("}):
        after += 1
    if after >= len(scene.words):
        return False
    word = scene.words[after]
    if scene.at(after, ("modality", "root-word")) or word in _SYMPTOMS:
        return True
    if word in ("w", "with", "and", "+", "c"):
        return False
    hit = scene.at(after, ("function", "care", "framing"))
    return hit is not None and (hit.kind != "framing" or hit.value in ("after-surgery",))


_NEXT_TO = frozenset({"above", "below", "over", "beneath"})
_TREATED = frozenset("fused decompressed operated instrumented stabilised stabilized laminectomised plated".split())


def _is_next_to_operated(scene: Scene, place: Place) -> bool:
    """'stenosis at L3-4 above the decompressed L4-5': only where the operation was."""
    before = scene.words[max(0, place.first - 4) : place.first]
    return not _TREATED.isdisjoint(before[-2:]) and not _NEXT_TO.isdisjoint(before)


def _is_of_the_conus(scene: Scene, place: Place) -> bool:
    """'..., conus at L1', 'the conus ends at L1-2': where the cord ends."""
    if "conus" not in scene.said:
        return False
    at = place.first - 1
    while at >= 0 and (scene.words[at] in FILLERS or scene.words[at] in _ENDS):
        at -= 1
    before = scene.word(at - 2) if scene.word(at - 1) == "the" else scene.word(at - 1)
    return scene.word(at) in ("conus", "medullaris") and before not in _BESIDE


_BESIDE = frozenset("behind opposite around over beside at compressing".split())  # 'stenosis behind the conus at L1'
_ENDS = frozenset("ends terminates terminating ending lies tip approximately".split())


def _is_of_an_alternative(scene: Scene, place: Place) -> bool:
    """'foraminal stenosis vs piriformis syndrome vs hip OA': the hip is where something else may be."""
    if scene.said.isdisjoint(("vs", "versus")) or any(value in SPINAL for value, _ in place.values):
        return False
    return not {"vs", "versus"}.isdisjoint(scene.words[max(0, place.first - 4) : place.first])


def _is_part_of_no_site(scene: Scene, place: Place) -> bool:
    """Its part of the sentence names an exam, a symptom or a treatment, and nothing that could be narrow."""
    if _goes_on_with_level(scene, place):
        return False
    start, end = _without_with(scene, place, *_chunk(scene, place.first))
    return scene.covered(start, end - 1, "function", "modality", "care", "root-word") and not scene.covered(
        start, end - 1, "narrowing", "mass-effect", "space", "target", "tissue", "adequate"
    )


def _goes_on_with_level(scene: Scene, place: Place) -> bool:
    """'The MRI shows moderate L3-4 and severe L4-5 canal stenosis': one of several, each with its grade."""
    following = next((other for other in scene.places if other.first > place.last), None)
    if following is None or not place.labels or not following.labels or scene.word(place.last + 1) not in JOINERS:
        return False
    return scene.covered(following.first - 2, following.first - 1, "severity") and all(
        scene.words[p] in JOINERS or scene.at(p, ("severity", "laterality"))
        for p in range(place.last + 1, following.first)
    )


def _is_denied(scene: Scene, place: Place) -> bool:
    """'not cervical but lumbar', 'lumbar rather than sacral'."""
    before = scene.word(place.first - 1)
    if before == "than":
        return scene.word(place.first - 2) == "rather"
    return before == "not" and scene.word(place.last + 1) == "but"


_PASSED_BY = frozenset({"spine", "region", "nerve", "root", "(", "muscle", "-"})
_SYMPTOMS = frozenset(
    (
        "pain ache aching headache strain sprain surgery fusion laminectomy lordosis kyphosis scoliosis curvature "
        "curve flexion extension rotation rom paraspinal muscles muscle spasm musculature adjustment adjusted "
        "adjustments exam radicular radiculopathy myelopathy discectomy decompression puncture plexus discomfort "
        "tenderness facets mri ct xray lesion symptoms involvement stiffness vertebrae"
    ).split()
) - {"vertebrae", "involvement", "lesion"}


def regions_joined(scene: Scene, places: list[Place]) -> bool:
    """Several regions are meant together only where joiners tie each to the next."""
    distinct: list[Place] = []
    for place in sorted(places, key=lambda p: p.first):
        if distinct and _same_region(distinct[-1], place):
            distinct[-1] = place
            continue
        if distinct:
            gap = scene.words[distinct[-1].last + 1 : place.first]
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
