"""$validate against R4 itself: whole resources made from its definitions, and each thing that it forbids of them.

`data/r4-elements.json` is what R4's StructureDefinitions say of each element of Condition, DiagnosticReport and Claim.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.assist import Assist
from service.resource_validation import KINDS, Asked, validated

Json = dict[str, Any]
Way = tuple[str | int, ...]
R4: dict[str, list[Json]] = json.loads((Path(__file__).parent / "data" / "r4-elements.json").read_text("utf-8"))


def coded(system: str, code: str) -> Json:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/condition-{system}", "code": code}]}


DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
SAMPLES: dict[str, Any] = {
    "base64Binary": "YQ==",
    "boolean": True,
    "canonical": "http://example.org/x",
    "code": "en",
    "date": "2026-03-01",
    "dateTime": "2026-03-01T10:00:00Z",
    "decimal": 1.5,
    "id": "a1",
    "instant": "2026-03-01T10:00:00Z",
    "integer": 1,
    "markdown": "said",
    "positiveInt": 1,
    "string": "said",
    "unsignedInt": 0,
    "uri": "http://example.org/x",
    "url": "http://example.org/x",
    "xhtml": DIV.format("said"),
}
MALFORMED: dict[str, Any] = {
    "boolean": "true",
    "canonical": 1,
    "code": " en ",
    "date": "2026-02-30",
    "dateTime": "2026-13-45",
    "decimal": "1.5",
    "id": "a b",
    "instant": "2026-03-01",
    "integer": 1.5,
    "positiveInt": 0,
    "unsignedInt": -1,
}
# What R4 asks beyond its types: a code that fits its system, bounds in order.
SET: dict[str, Any] = {
    "Condition.clinicalStatus": coded("clinical", "resolved"),
    "Condition.verificationStatus": coded("ver-status", "confirmed"),
    "Age": {"value": 50, "unit": "years", "system": "http://unitsofmeasure.org", "code": "a"},
    "Attachment.contentType": "text/plain",
    "Extension": {"url": "http://example.org/x", "valueString": "said"},
    "Reference.identifier": None,
    "Quantity.comparator": None,  # most of these resources are of the profile SimpleQuantity, which has none
    "Period.end": "2026-03-02T10:00:00Z",
}
PASSED_OVER = frozenset({"id", "extension", "modifierExtension", "contained", "implicitRules"})
MOST_TYPES = max(len(row.get("types", ())) for kind in KINDS for row in R4[kind])
LEFT_OUT = {
    "dom-6": "a narrative is best practice, and EHRs send most resources without one",
    "con-3": "a warning that needs a category of its own; test_resource_validation has it",
}


class Mutant(NamedTuple):
    """A resource with one thing wrong: in what way, and at which element."""

    kind: str
    way: str
    path: str
    resource: Json


# --- a whole resource ---------------------------------------------------------------------------------------------


@cache
def rows_under(kind: str, path: str) -> tuple[Json, ...]:
    depth = path.count(".") + 1
    return tuple(row for row in R4[kind] if row["path"].startswith(f"{path}.") and row["path"].count(".") == depth)


def filled(kind: str, path: str, number: int = 0) -> Json:
    """Every element of a type, or of a part of it, with a value that R4 allows; of a choice the type of that number."""
    made: Json = {"resourceType": kind, "id": "r1", "extension": [SET["Extension"]]} if path in KINDS else {}
    for row in rows_under(kind, path):
        name = row["path"].rpartition(".")[2]
        value = None if name in PASSED_OVER else sample(kind, row, number)
        if value is not None:
            made[named(row, number)] = [value] if row["max"] == "*" else value
    return made


def type_of(row: Json, number: int) -> str:
    types: list[str] = row["types"]
    return types[min(number, len(types) - 1)]


def named(row: Json, number: int) -> str:
    """`onset[x]` goes by the name of its type."""
    name: str = row["path"].rpartition(".")[2]
    kind = type_of(row, number)
    return name.replace("[x]", kind[0].upper() + kind[1:])


def sample(kind: str, row: Json, number: int) -> Any:
    of_type = type_of(row, number)
    for key in (row["path"], of_type):
        if key in SET:
            return copy.deepcopy(SET[key])
    if of_type in SAMPLES:
        return row["required"][0] if "required" in row else SAMPLES[of_type]
    if of_type == "Reference":
        target = next((one for one in row["targets"] if one != "Resource"), "Basic")
        return {"reference": f"{target}/1", "type": target, "display": "said"}
    if of_type == "BackboneElement":
        return filled(kind, row["path"], number)
    return filled(of_type, of_type, number)


# --- what is wrong with it ----------------------------------------------------------------------------------------


@cache
def mutants(kind: str) -> tuple[Mutant, ...]:
    """Each thing wrong once, in resources that have each type of each choice in turn."""
    made: dict[tuple[str, str], Mutant] = {}
    for number in range(MOST_TYPES):
        whole, seen = filled(kind, kind, number), set[str]()
        found = [*single_changes(whole, kind, kind, (), number, seen), *broken_rules(kind, whole, number)]
        for way, path, mutant in found:
            made.setdefault((way, path), Mutant(kind, way, path, mutant))
    return tuple(made.values())


Change = tuple[str, str, Json]  # in what way, at which element, and the resource


def single_changes(whole: Json, kind: str, path: str, at: Way, number: int, seen: set[str]) -> Iterator[Change]:
    """Each change of each element below a place; a data type that stands in many places is changed in the first."""
    yield "unknown element", path, changed(whole, (*at, "nothingOfR4"), "x")
    for row, here in held_rows(whole, kind, path, at, number):
        yield from ((way, row["path"], mutant) for way, mutant in changes_of(whole, here, row, number))
        inner = (*here, 0) if row["max"] == "*" else here
        of_type = type_of(row, number)
        if of_type == "BackboneElement":
            yield from single_changes(whole, kind, row["path"], inner, number, seen)
        elif of_type in R4 and of_type not in seen:
            seen.add(of_type)
            yield from single_changes(whole, of_type, of_type, inner, number, seen)


def held_rows(whole: Json, kind: str, path: str, at: Way, number: int) -> Iterator[tuple[Json, Way]]:
    """The elements below a place that the resource has, and where."""
    for row in rows_under(kind, path):
        here = (*at, named(row, number))
        if here[-1] in holder_of(whole, here):
            yield row, here


def changes_of(whole: Json, here: Way, row: Json, number: int) -> Iterator[tuple[str, Json]]:
    value, of_type = holder_of(whole, here)[here[-1]], type_of(row, number)
    if row["min"]:
        yield "absent", changed(whole, here, None)
    if row["max"] == "*":
        yield from (("no array", changed(whole, here, value[0])), ("empty array", changed(whole, here, [])))
    else:
        yield "doubled", changed(whole, here, [value, value])
    for wrong in ({"of": "another type"} if of_type in SAMPLES else "text", MALFORMED.get(of_type)):
        if wrong is not None:
            yield f"wrong type {of_type}", changed(whole, here, [wrong] if row["max"] == "*" else wrong)
    if "required" in row:
        wrong = "no-such-code" if of_type in SAMPLES else {"coding": [{**value["coding"][0], "code": "no-such-code"}]}
        yield "wrong code", changed(whole, here, wrong)
    if "Resource" not in row.get("targets", ["Resource"]):
        wrong = {"reference": "Basic/1"}
        yield "wrong reference", changed(whole, here, [wrong] if row["max"] == "*" else wrong)
    if len(row["types"]) > 1 and row["path"].endswith("[x]"):
        other = 0 if number else 1
        both = changed(whole, (*here[:-1], named(row, other)), sample(row["path"], row, other))
        yield f"both {of_type} and {type_of(row, other)}", both


def holder_of(whole: Json, here: Way) -> Any:
    held: Any = whole
    for step in here[:-1]:
        held = held[step]
    return held


def changed(whole: Json, here: Way, value: Any) -> Json:
    """The resource with another value at a place; without the element where there is none."""
    mutant = copy.deepcopy(whole)
    holder = holder_of(mutant, here)
    if value is None:
        del holder[here[-1]]
    else:
        holder[here[-1]] = value
    return mutant


def _dropped(*names: str) -> Callable[[Json], None]:
    def drop(value: Json) -> None:
        for name in names:
            value.pop(name, None)

    return drop


def _updated(**members: Any) -> Callable[[Json], None]:
    return lambda value: value.update(members)


HELD = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}}
POINTS = {"extension": [{"url": "http://example.org/x", "valueReference": {"reference": "#b"}}]}
# How each rule is broken at the value that it is a rule of.
BREAKERS: dict[str, Callable[[Json], None]] = {
    "age-1": _updated(value=-1),
    "att-1": _dropped("contentType"),
    "con-1": _dropped("summary", "assessment"),
    "con-2": _dropped("code", "detail"),
    "con-4": _updated(clinicalStatus=coded("clinical", "active")),
    "con-5": _updated(verificationStatus=coded("ver-status", "entered-in-error")),
    "dom-2": _updated(contained=[{**HELD, "contained": [{**HELD, "id": "c"}]}], **POINTS),
    "dom-3": _updated(contained=[HELD]),
    "dom-4": _updated(contained=[{**HELD, "meta": {"versionId": "1"}}], **POINTS),
    "dom-5": _updated(contained=[{**HELD, "meta": {"security": [{"code": "R"}]}}], **POINTS),
    "ext-1": _dropped("valueString"),
    "per-1": _updated(start="2026-03-03", end="2026-03-02"),
    "qty-3": _dropped("system"),
    "sqty-1": _updated(comparator="<"),
    "ref-1": _updated(reference="#nobody"),
    "rng-2": _updated(low={"value": 3}, high={"value": 2}),
    "txt-1": _updated(div=DIV.format("<script>said</script>")),
    "txt-2": _updated(div=DIV.format(" ")),
}
OF_TYPE = {
    "age-1": "Age",
    "att-1": "Attachment",
    "per-1": "Period",
    "qty-3": "Quantity",
    "ref-1": "Reference",
    "rng-2": "Range",
    "sqty-1": "Quantity",
    "txt-1": "Narrative",
    "txt-2": "Narrative",
}


def broken_rules(kind: str, whole: Json, number: int) -> Iterator[Change]:
    """Each rule of the resource, of its parts and of the types that it has, broken in the first place of each row."""
    for key, way, path in rules_of(kind, kind, (), whole, number):
        mutant = copy.deepcopy(whole)
        BREAKERS[key](holder_of(mutant, (*way, "")))
        yield key, path, mutant


def rules_of(kind: str, path: str, at: Way, whole: Json, number: int) -> Iterator[tuple[str, Way, str]]:
    if path == kind:
        root = R4[kind][0]
        yield from ((key, at, path) for key in root.get("rules", ()) if key in BREAKERS)
    for row, here in held_rows(whole, kind, path, at, number):
        inner = (*here, 0) if row["max"] == "*" else here
        of_type = type_of(row, number)
        keys = {*row.get("rules", ()), *(key for key, one in OF_TYPE.items() if one == of_type)}
        keys -= {"sqty-1"} if row["path"].endswith("[x]") else set()
        yield from ((key, inner, row["path"]) for key in sorted(keys) if key in BREAKERS)
        if of_type == "BackboneElement":
            yield from rules_of(kind, row["path"], inner, whole, number)


# --- the figures --------------------------------------------------------------------------------------------------


def issues(resource: Json, kind: str, assist: Assist) -> Counter[tuple[str, str]]:
    told = validated(Asked(kind, resource), assist)["issue"]
    return Counter(
        (one["code"], expression)
        for one in told
        if one["severity"] in ("error", "fatal")
        for expression in one.get("expression", [""])
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_resource_with_every_element_of_r4_is_no_error(kind: str, assist: Assist) -> None:
    assert [issues(filled(kind, kind, number), kind, assist) for number in range(MOST_TYPES)] == [
        Counter()
    ] * MOST_TYPES


@pytest.mark.proves("R4: mutants of every element, of every choice and of every rule are refused")
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_r4_forbids_of_an_element_is_told(kind: str, assist: Assist) -> None:
    missed = [(one.way, one.path) for one in mutants(kind) if not issues(one.resource, kind, assist)]
    assert missed == []


def test_every_rule_of_r4_is_broken_or_left_out_with_a_reason() -> None:
    keys = {key for rows in R4.values() for row in rows for key in row.get("rules", ())}
    broken = {one.way for kind in KINDS for one in mutants(kind)}
    assert keys - broken == set(LEFT_OUT) - broken
    assert BREAKERS.keys() <= broken


def test_the_mutants_are_many() -> None:
    counts = {kind: len(mutants(kind)) for kind in KINDS}
    assert min(counts.values()) >= 150, counts
