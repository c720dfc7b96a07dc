"""ConceptMap/$translate: what a code of one system stands for in another, by the maps that are published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from service.code_systems import refuse
from service.fhir_out import Json

NO_MATCH = frozenset({"unmatched", "disjoint"})
# Read from target to source, wider becomes narrower (FHIR R4 "ConceptMapEquivalence").
_REVERSED = {"wider": "narrower", "narrower": "wider", "subsumes": "specializes", "specializes": "subsumes"}


@dataclass(frozen=True)
class Question:
    """What is to be translated; `dependencies` are further values by the element that they belong to."""

    system: str
    code: str
    target_system: str = ""
    dependencies: Mapping[str, str] = field(default_factory=dict)
    reverse: bool = False


@dataclass(frozen=True)
class Match:
    """One translation; `products` are values of further elements that belong to it."""

    equivalence: str
    system: str
    code: str
    display: str
    source: str
    products: tuple[tuple[str, str, str], ...] = ()


def translate(maps: Sequence[Json], question: Question) -> list[Match]:
    """Every match of the maps, each once, in their order."""
    return list(dict.fromkeys(match for one in maps for match in _in_map(one, question)))


def _in_map(concept_map: Json, question: Question) -> Iterator[Match]:
    source, target = ("target", "source") if question.reverse else ("source", "target")
    for group in concept_map.get("group", ()):
        if group.get(source) != question.system or question.target_system not in ("", group.get(target)):
            continue
        _refuse_unmapped(group, question)
        for element in group["element"]:
            for mapped in element.get("target", ()):
                if _asked(element, mapped, question) and _agrees(mapped, question):
                    yield _match(element, mapped, question, group.get(target, ""), concept_map.get("url", ""))


def _refuse_unmapped(group: Json, question: Question) -> None:
    """What a map would do with a code that it does not list is not carried out, and not passed over either."""
    if "unmapped" in group and not question.reverse and all(e.get("code") != question.code for e in group["element"]):
        sentence = "The map sends codes that it does not list elsewhere (unmapped); list them as its elements."
        refuse(422, "not-supported", sentence, "conceptMap")


def _asked(element: Json, mapped: Json, question: Question) -> bool:
    return bool((mapped if question.reverse else element).get("code") == question.code)


def _agrees(mapped: Json, question: Question) -> bool:
    """No value that was given is another than the one that the mapping depends on."""
    depends = {one["property"]: one["value"] for one in mapped.get("dependsOn", ())}
    return all(depends.get(name, value) == value for name, value in question.dependencies.items())


def _match(element: Json, mapped: Json, question: Question, system: str, url: str) -> Match:
    equivalence = mapped["equivalence"]
    if question.reverse:
        products, named = mapped.get("dependsOn", ()), element
        equivalence = _REVERSED.get(equivalence, equivalence)
    else:
        products, named = mapped.get("product", ()), mapped
    told = tuple((one["property"], one.get("system", ""), one["value"]) for one in products)
    return Match(equivalence, system, named.get("code", ""), named.get("display", ""), url, told)
