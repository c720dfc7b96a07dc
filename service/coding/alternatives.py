"""Why not: for every sibling code and neighbouring family, the element and the words that rule it out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from service.coding.model import Alternative, Candidate, CodingSuggestion, Evidence
from service.coding.packs import RulePack, Terminology
from service.coding.weighing import Weighed

SPACE_NAMES = {"canal": "the neural canal", "foramen": "an intervertebral foramen"}


def alternatives(
    weighed: Sequence[Weighed],
    suggestions: Sequence[CodingSuggestion],
    candidates: Sequence[Candidate],
    terminology: Terminology,
    on: str,
) -> tuple[Alternative, ...]:
    """Siblings of the families at hand, then the other families in the regions at hand, then M48.0-."""
    if not weighed:
        return ()
    taken = {s.code for s in suggestions} | {c.code for c in candidates}
    found: dict[str, Alternative] = {}
    for one in weighed:
        for alternative in _of(one, terminology, on, selected=bool(suggestions)):
            if alternative.code not in taken:
                found.setdefault(alternative.code, alternative)
    return tuple(found.values())


def _of(weighed: Weighed, terminology: Terminology, on: str, *, selected: bool) -> Iterator[Alternative]:
    home = [terminology.main] if weighed.barred or not weighed.packs else weighed.packs
    regions = [f.value for f in weighed.regions if f.value in terminology.main.codes] or ["cervical"]
    for pack in home:
        for region, code in pack.codes.items():
            yield Alternative(code, _why_not_sibling(weighed, pack, terminology, region))
    for pack in terminology.packs:
        if pack not in home and weighed.regions:
            for region in dict.fromkeys(regions):
                yield Alternative(pack.codes[region], _why_not_family(weighed, pack, terminology))
    yield from _usual(weighed, terminology, on, selected=selected)


def _why_not_sibling(weighed: Weighed, pack: RulePack, terminology: Terminology, region: str) -> str:
    if weighed.barred or region in {f.value for f in weighed.regions}:
        return _why_not_family(weighed, pack, terminology)
    name = pack.elements["region"]["options"][region]
    evidence = weighed.elements["region"].evidence
    said = f"the record says {_quotes(evidence)}" if weighed.regions else "the record names no region"
    return f"Region: {pack.codes[region]} is the {name[0].lower()}{name[1:]}; {said}."


def _why_not_family(weighed: Weighed, pack: RulePack, terminology: Terminology) -> str:
    if weighed.barred:
        return _elsewhere(weighed)
    if weighed.space and weighed.space != pack.space:
        said = _quotes(weighed.elements["space"].evidence)
        return f"Space: {pack.family}- is {SPACE_NAMES[pack.space]}; the record says {said}."
    tissues = " or ".join(terminology.tissue_name(t, "is") for t in sorted(pack.tissues))
    evidence = weighed.elements["tissue"].evidence
    said = f"the record says {_quotes(evidence)}" if evidence else "the record names no tissue"
    return f"Tissue: {pack.family}- is {tissues}; {said}."


def _elsewhere(weighed: Weighed) -> str:
    evidence = (
        tuple(f.evidence for f in weighed.statement.framings if f.evidence) or weighed.elements["tissue"].evidence
    )
    return f"Framing: classified elsewhere, the record says {_quotes(evidence)}. {weighed.redirects[0].says}"


def _usual(weighed: Weighed, terminology: Terminology, on: str, *, selected: bool) -> Iterator[Alternative]:
    table = terminology.main.tables.get("M48.0-")
    if table is None or not selected:
        return
    for finding in weighed.regions:
        code = table.code(finding.value, finding.detail, (), on)
        if code:
            evidence = (*weighed.elements["tissue"].evidence[:1], *weighed.elements["framing"].evidence[:1])
            yield Alternative(
                code,
                f"Tissue and framing: {code} is stenosis without a stated tissue, or a degenerative one; "
                f"the record says {_quotes(evidence)}.",
            )


def _quotes(evidence: Sequence[Evidence]) -> str:
    return _quoted(tuple((e.quote, e.passage.expression) for e in evidence[:2]))


@lru_cache(maxsize=64)  # a family's codes are nearly all ruled out by the same words
def _quoted(words: tuple[tuple[str, str], ...]) -> str:
    shown = [f"“{quote}” ({expression})" for written, expression in words if (quote := " ".join(written.split()))]
    return " and ".join(dict.fromkeys(shown)) or "no words on it"
