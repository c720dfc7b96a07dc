"""Puts statements together: what the record says of one narrowing, in however many sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from service.coding.model import Assertion, Finding, Statement

_EITHER = "head-or-cervical"
_FIRMEST = ("stated", "implied", "unstated")


def put_together(statements: Iterable[Statement]) -> list[Statement]:
    """One statement for each narrowing: restatements are united; a denial elsewhere undoes nothing here."""
    spoken = [s for s in statements if s.assertion in ("affirmed", "uncertain")]
    matters: list[Statement] = []
    for statement in sorted(spoken, key=_fullness):
        for index, matter in enumerate(matters):
            if _same_matter(matter, statement):
                matters[index] = unite(matter, statement)
                break
        else:
            matters.append(statement)
    stated = [m for m in matters if m.narrowing == "stated"]
    return [m for m in matters if m.narrowing != "unstated" or not any(_places_agree(m, s) for s in stated)]


def _fullness(statement: Statement) -> tuple[int, int, int]:
    """Stated before implied before unstated; those with cause and place first, so that the barer ones join them."""
    return _FIRMEST.index(statement.narrowing), -bool(statement.causes), -bool(statement.regions)


def _same_matter(one: Statement, other: Statement) -> bool:
    spaces = {s.space.value for s in (one, other) if s.space}
    if len(spaces) > 1 or not _places_agree(one, other):
        return False
    return not _causes_differ(one, other)


def _places_agree(one: Statement, other: Statement) -> bool:
    first, second = set(one.region_values()), set(other.region_values())
    if not first or not second or first & second:
        return True
    return _EITHER in first | second and bool((first | second) & {"head", "cervical"})


def _causes_differ(one: Statement, other: Statement) -> bool:
    """Different levels with different causes are two narrowings."""
    if not one.levels or not other.levels or set(one.levels) & set(other.levels):
        return False
    first, second = set(one.tissue_values(linked=True)), set(other.tissue_values(linked=True))
    return bool(first and second and first != second)


def unite(one: Statement, other: Statement) -> Statement:
    """The fuller statement with what the other adds. A tissue that one links to the narrowing is its cause for both."""
    causes = merged(one.causes, other.causes)
    linked = {finding.value for finding in causes}
    listed = tuple(f for f in merged(one.listed, other.listed) if f.value not in linked)
    regions = settled(merged(one.regions, other.regions))
    return one.but(
        narrowing=min(one.narrowing, other.narrowing, key=_FIRMEST.index),
        assertion=_surer(one, other),
        space=one.space or other.space,
        regions=regions,
        regions_joined=one.regions_joined and other.regions_joined,
        causes=causes,
        listed=listed,
        framings=merged(one.framings, other.framings),
        cause_uncertain=_cause_uncertain(one, other),
        levels=tuple(dict.fromkeys(one.levels + other.levels)),
        spine_only=one.spine_only or other.spine_only,
        by_code=one.by_code or other.by_code,
    )


def _surer(one: Statement, other: Statement) -> Assertion:
    """Certain where some statement of the same matter is certain, unless the diagnosis itself (code.text) is hedged."""
    hedged_diagnosis = any(
        s.assertion == "uncertain" and s.evidence.passage.expression.endswith("code.text") for s in (one, other)
    )
    both = one.assertion == other.assertion == "uncertain"
    return "uncertain" if both or hedged_diagnosis else "affirmed"


def _cause_uncertain(one: Statement, other: Statement) -> bool:
    if one.causes and other.causes:
        return one.cause_uncertain and other.cause_uncertain
    return one.cause_uncertain or other.cause_uncertain


def merged(one: Sequence[Finding], other: Sequence[Finding]) -> tuple[Finding, ...]:
    found = {(f.value, f.detail): f for f in reversed([*one, *other])}
    return tuple(sorted(found.values(), key=[*one, *other].index))


def settled(regions: Sequence[Finding]) -> tuple[Finding, ...]:
    """C1-C2 is settled where the provider names head or cervical beside it."""
    if {f.value for f in regions} & {"head", "cervical"}:
        return tuple(f for f in regions if f.value != _EITHER)
    return tuple(regions)


def agree(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two sources of a region can both be right."""
    first, second = set(one), set(other)
    if _EITHER in first:
        first |= {"head", "cervical"}
    if _EITHER in second:
        second |= {"head", "cervical"}
    return bool(first & second)
