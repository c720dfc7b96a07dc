"""Different causes at different levels of one sentence: 'stenosis L3-4 and L4-5, disc at L3-4, ligament at L4-5'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.coding.levels import region_of
from service.coding.lexicon import Mention
from service.coding.model import Finding, Statement
from service.coding.scene import FILLERS, JOINERS, Place, Scene

_NOWHERE: frozenset[str] = frozenset()


def by_level(scene: Scene, statement: Statement) -> list[Statement]:
    """The statement, or one for each group of its levels that share their causes."""
    if not statement.levels or not scene.says("level"):
        return [statement]
    tissues = (*statement.causes, *statement.listed)
    own = {id(f): labels for f in tissues if (labels := _own_labels(scene, f))}
    if not own:
        return [statement]
    groups: dict[frozenset[int], list[str]] = {}
    for label in statement.levels:
        here = frozenset(id(f) for f in tissues if label in own.get(id(f), statement.levels))
        groups.setdefault(here, []).append(label)
    return [_part(statement, here, labels, whole=len(groups) == 1) for here, labels in groups.items()]


def _part(statement: Statement, here: frozenset[int], labels: Sequence[str], *, whole: bool) -> Statement:
    regions = {region_of(label) for label in labels}
    return statement.but(
        levels=tuple(labels),
        regions=statement.regions if whole else tuple(f for f in statement.regions if f.value in regions),
        causes=tuple(f for f in statement.causes if id(f) in here),
        listed=tuple(f for f in statement.listed if id(f) in here),
    )


def _own_labels(scene: Scene, finding: Finding) -> frozenset[str]:
    """The levels that stand directly behind a tissue, else directly before it."""
    start = finding.evidence.start if finding.evidence else -1
    tissue = next((t for t in scene.of("tissue") if t.start == start), None)
    if tissue is None:
        return _NOWHERE
    return frozenset(_labels_behind(scene, tissue)) or frozenset(_labels_before(scene, tissue))


def _labels_behind(scene: Scene, tissue: Mention) -> Iterator[str]:
    place = _level_from(scene, tissue.last + 1, FILLERS)
    while place:
        yield from place.labels
        place = _level_from(scene, place.last + 1, JOINERS)


def _level_from(scene: Scene, position: int, passed: frozenset[str]) -> Place | None:
    """The level that begins here, or behind at most two of the words that may be passed over."""
    for p in range(position, min(position + 3, len(scene.words))):
        place = scene.place_at(p)
        if place:
            return place if place.labels and not place.root else None
        if scene.words[p] not in passed:
            return None
    return None


def _labels_before(scene: Scene, tissue: Mention) -> Iterator[str]:
    position = tissue.first - 1
    while position >= 0 and scene.at(position, ("severity", "laterality", "pathology")):
        position -= 1
    place = scene.place_at(position) if position >= 0 else None
    while place and place.labels and not place.root:
        yield from place.labels
        joins = place.first > 1 and scene.words[place.first - 1] in JOINERS
        place = scene.place_at(place.first - 2) if joins else None
