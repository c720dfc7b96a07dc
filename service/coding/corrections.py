"""What a sentence takes back: corrections, places that are named only to be set aside."""

from __future__ import annotations

from collections.abc import Iterable

from service.coding.assertions import is_hedged
from service.coding.lexicon import Mention
from service.coding.scene import FILLERS, JOINERS, Place, Scene


def correct(scene: Scene) -> Scene:
    """What a spoken or typed correction takes back is left out ("lumbar, correction, cervical")."""
    gone: set[int] = set()
    for cue in scene.of("correction"):
        for group in _corrected(scene, cue):
            before = [m for m in scene.mentions if m.last < cue.first and _GROUPS.get(m.kind) == group]
            if before:
                gone.update(range(before[-1].first, before[-1].last + 1))
    for place in scene.places if len(scene.places) > 1 or scene.says("negation", "hedge") else ():
        if (
            _named_before(scene, place)
            or _beside_the_spine(scene, place)
            or _rejected(scene, place)
            or _hedged_apart(scene, place)
        ):
            gone.update(range(place.first, place.last + 1))
    return scene.without(gone, _TAKEN_BACK) if gone else scene


def _corrected(scene: Scene, cue: Mention) -> Iterable[str]:
    """What the words behind a correction replace: the first that they name, or all where they say it again in full."""
    after = [_GROUPS[m.kind] for m in scene.mentions if cue.last < m.first <= cue.last + 10 and m.kind in _GROUPS]
    again = "narrowing" in after and any(m.last < cue.first for m in scene.of("narrowing"))
    named = after if again else [group for group in after if group != "narrowing"][:1]
    return dict.fromkeys(named)


_GROUPS = {
    "region": "place",
    "level": "place",
    "tissue": "tissue",
    "space": "space",
    "laterality": "laterality",
    "narrowing": "narrowing",
}
_TAKEN_BACK = frozenset({*_GROUPS, "function", "framing", "modality"})


_ONCE_CALLED = frozenset("previously formerly originally initially earlier".split())


def _named_before(scene: Scene, place: Place) -> bool:
    """'L2-3 (formerly called L3-4)': how a level was counted once."""
    if "(" not in scene.said or not place.labels:
        return False
    opens = next((p for p in range(place.first - 1, -1, -1) if scene.words[p] in ("(", ")")), -1)
    return opens > 0 and scene.words[opens] == "(" and scene.words[opens + 1] in _ONCE_CALLED


SPINAL = frozenset({"head", "cervical", "thoracic", "lumbar", "sacral", "head-or-cervical"})


def _beside_the_spine(scene: Scene, place: Place) -> bool:
    """A limb or the trunk named beside a spinal place is where it hurts, unless the two are a list."""
    if any(value in SPINAL for value, _ in place.values) or _of_a_space(scene, place):
        return False
    spinal = [other for other in scene.places if any(value in SPINAL for value, _ in other.values)]
    return bool(spinal) and not any(_listed_with(scene, place, other) for other in spinal)


def _of_a_space(scene: Scene, place: Place) -> bool:
    """'neural canal of the pelvic region'."""
    before = [m for m in scene.of("space") if 0 < place.first - m.last <= 4]
    return any(all(word in FILLERS for word in scene.words[m.last + 1 : place.first]) for m in before)


def _listed_with(scene: Scene, one: Place, other: Place) -> bool:
    words = {scene.words[p] for p in scene.between(one.first, other.first) if not scene.place_at(p)}
    return bool(words & {"and", "&", ";"}) and words <= JOINERS | FILLERS | {";"}


def _hedged_apart(scene: Scene, place: Place) -> bool:
    """'..., lumbar involvement suspected': a hedge of its own part of the sentence."""
    if not scene.says("hedge"):
        return False
    start = next((p for p in range(place.first - 1, -1, -1) if scene.words[p] in (",", ";")), -1)
    end = next(
        (p for p in range(place.last + 1, len(scene.words)) if scene.words[p] in (",", ";", ".")),
        len(scene.words),
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
        if cue.concept.scope != "after" or not 0 <= place.first - cue.last - 1 <= 2:
            continue
        gap = scene.words[cue.last + 1 : place.first - 1 + 1]
        earlier = any(p.last < cue.first for p in scene.places)
        ends = scene.words[place.last + 1] if place.last + 1 < len(scene.words) else "."
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
