"""Invariants of R4 that the model of a resource does not check: of its parts by their type, and of what it contains.

The rules of R4 (4.0.1) on references, extensions, narratives, quantities, periods and their like, the types that a
reference may name, and a modifier extension that is not understood. Each is judged on a resource of sound shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, NamedTuple

from service.fhir_definitions import ElementDefinition, definition_of, resource_model
from service.json_body import Issue

if TYPE_CHECKING:
    from service.fhir_definitions import Model

Resource = Mapping[str, Any]
_TYPED = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?\Z")
_DEFINITION = "http://hl7.org/fhir/StructureDefinition/"  # before the name of a type, it stands for the type
_UCUM = "http://unitsofmeasure.org"
# Of R4's SimpleQuantity, which the model takes for a Quantity.
_SIMPLE_QUANTITY = re.compile(r"\AClaim\.item\[.*\.quantity\Z|\.(?:low|high)\Z")
# XHTML that a narrative may hold (R4 "Narrative", txt-1): chapters 7-11 and 15 of HTML 4.0, links and images.
_ELEMENTS = frozenset(
    (
        "a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i "
        "img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var"
    ).split()
)


class _Part(NamedTuple):
    """An object inside a resource, with its place and what R4 says of the element that it is."""

    value: Resource
    path: str
    element: ElementDefinition


def broken_invariants(resource: Resource) -> Iterator[Issue]:
    """What R4 forbids of this resource beside its shape, as errors; each with the place and what to do."""
    kind = str(resource["resourceType"])
    model = resource_model(kind)
    assert model is not None  # noqa: S101 - of sound shape
    parts = list(_parts(resource, model, kind))
    held = {str(one.get("id")): str(one.get("resourceType")) for one in resource.get("contained") or ()}
    yield from _contained(resource, kind, {str(part.value.get("reference")) for part in parts})
    for part in parts:
        yield from _broken(part)
        if part.element.type_name == "Reference":
            yield from _reference(part, held)


def _parts(value: Resource, model: Model, path: str) -> Iterator[_Part]:
    """Every object of a resource with its place, and those of what it contains."""
    elements = definition_of(model).elements
    for name, held in value.items():
        element = elements.get(name)
        if element is None or element.model is None:
            continue
        for place, one in _each(held, f"{path}.{name}"):
            of = resource_model(one.get("resourceType")) if name == "contained" else element.model
            yield _Part(one, place, element)
            yield from _parts(one, of, place) if of else ()


def _each(held: Any, path: str) -> Iterator[tuple[str, Resource]]:
    if isinstance(held, Mapping):
        yield path, held
    elif isinstance(held, list):
        yield from ((f"{path}[{index}]", one) for index, one in enumerate(held) if isinstance(one, Mapping))


def _broken(part: _Part) -> Iterator[Issue]:
    """The rules of the part's own type."""
    if part.path.rpartition(".")[2].startswith("modifierExtension"):
        text = "The modifier extension is not understood here and may change the meaning; send the resource without it."
        yield Issue("error", "extension", text, part.path)
    if "comparator" in part.value and _SIMPLE_QUANTITY.search(part.path):
        yield Issue("error", "invariant", "This quantity takes no comparator (sqty-1); leave it out.", part.path)
    place = f"{part.path}.div" if part.element.type_name == "Narrative" else part.path
    for key, holds, text in _RULES.get(part.element.type_name, ()):
        if not holds(part.value):
            yield Issue("error", "invariant", text.replace("*", f"({key})"), place)


# --- the rules of types -------------------------------------------------------------------------------------------


def _has_either(value: Resource) -> bool:
    return any(name.startswith("value") for name in value) != bool(value.get("extension"))


def _has_unit_system(quantity: Resource) -> bool:
    return "code" not in quantity or "system" in quantity


def _is_in_ucum(quantity: Resource) -> bool:
    coded = "code" in quantity or "value" not in quantity
    return coded and quantity.get("system", _UCUM) == _UCUM


def _is_age(age: Resource) -> bool:
    return _is_in_ucum(age) and age.get("value", 1) > 0


def _is_count(count: Resource) -> bool:
    return _is_in_ucum(count) and count.get("code", "1") == "1" and "." not in str(count.get("value", ""))


def _is_duration(duration: Resource) -> bool:
    return "code" not in duration or (duration.get("system") == _UCUM and "value" in duration)


def _is_ordered(value: Resource) -> bool:
    """R4 compares the bounds as quantities of the same unit; other units are not compared."""
    low, high = value.get("low") or {}, value.get("high") or {}
    comparable = "value" in low and "value" in high and low.get("code") == high.get("code")
    return not comparable or bool(low["value"] <= high["value"])


def _ends_after_start(period: Resource) -> bool:
    start, end = str(period.get("start") or ""), str(period.get("end") or "")
    if "T" in start and "T" in end:
        return datetime.fromisoformat(start) <= datetime.fromisoformat(end)
    known = min(len(start.partition("T")[0]), len(end.partition("T")[0]))
    return start[:known] <= end[:known]


_QUANTITY = ("qty-3", _has_unit_system, "A quantity with a code needs the system of its unit *; give it.")
_Rule = tuple[str, Callable[[Resource], bool], str]
_RULES: Mapping[str, tuple[_Rule, ...]] = {
    "Age": (
        _QUANTITY,
        ("age-1", _is_age, f"The age has no positive value with a code of UCUM *; give its code and {_UCUM}."),
    ),
    "Attachment": (
        ("att-1", lambda one: "data" not in one or "contentType" in one, "The data lack their contentType *; give it."),
    ),
    "ConditionEvidence": (
        ("con-2", lambda one: "code" in one or "detail" in one, "Evidence has a code or a detail *; give one of them."),
    ),
    "ConditionStage": (
        (
            "con-1",
            lambda one: "summary" in one or "assessment" in one,
            "A stage has a summary or an assessment *; give one of them.",
        ),
    ),
    "ContactPoint": (
        ("cpt-2", lambda one: "value" not in one or "system" in one, "The contact point lacks its system *; give it."),
    ),
    "Count": (_QUANTITY, ("cnt-3", _is_count, f"A count is a whole number with the code 1 of {_UCUM} *; correct it.")),
    "Distance": (
        _QUANTITY,
        ("dis-1", _is_in_ucum, f"The distance has no code of UCUM *; give its code and {_UCUM}."),
    ),
    "Duration": (
        _QUANTITY,
        ("drt-1", _is_duration, f"The duration has a code without a value, or of another system than {_UCUM} *."),
    ),
    "Extension": (
        ("ext-1", _has_either, "An extension has a value or extensions of its own, and one of them *; keep one."),
    ),
    "Expression": (
        ("exp-1", lambda one: "expression" in one or "reference" in one, "It has neither expression nor reference *."),
    ),
    "Narrative": (
        (
            "txt-1",
            lambda one: not _read(one).is_foreign,
            "The narrative holds markup that FHIR does not allow *; keep to plain formatting.",
        ),
        (
            "txt-2",
            lambda one: _read(one).says,
            "The narrative says nothing *; write what the resource says, or leave it out.",
        ),
    ),
    "Period": (("per-1", _ends_after_start, "The period ends before it starts *; correct one of them."),),
    "Quantity": (_QUANTITY,),
    "Range": (("rng-2", _is_ordered, "The range's low is above its high *; exchange them."),),
    "Ratio": (
        (
            "rat-1",
            lambda one: ("numerator" in one) == ("denominator" in one) and ("numerator" in one or "extension" in one),
            "A ratio has a numerator and a denominator *; give both.",
        ),
    ),
}


class _Narrative(HTMLParser):
    """What a narrative holds: foreign elements, attributes of events, and whether it says anything."""

    def __init__(self) -> None:
        super().__init__()
        self.is_foreign: bool = False
        self.says: bool = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        events = any(name.startswith("on") or (value or "").lower().startswith("javascript:") for name, value in attrs)
        self.is_foreign = self.is_foreign or tag not in _ELEMENTS or events
        self.says = self.says or tag == "img"

    def handle_data(self, data: str) -> None:
        self.says = self.says or bool(data.strip())


def _read(narrative: Resource) -> _Narrative:
    read = _Narrative()
    read.feed(str(narrative.get("div", "")))
    read.close()
    return read


# --- references and what is contained -----------------------------------------------------------------------------


def _reference(part: _Part, held: Mapping[str, str]) -> Iterator[Issue]:
    """What is wrong with a reference; `held` are the types of what is contained, by id."""
    named, at = part.value.get("reference"), f"{part.path}.reference"
    if not isinstance(named, str):
        return
    if re.search(r"\s", named):
        yield Issue("error", "value", "The reference is no address, for it holds a blank; correct it.", at)
    if named.startswith("#") and len(named) > 1 and named[1:] not in held:
        text = "The reference names a contained resource that is not there (ref-1); contain it, or correct it."
        yield Issue("error", "invariant", text, at)
    yield from _of_another_type(part, held.get(named[1:], "") if named.startswith("#") else _type_of(named))


def _of_another_type(part: _Part, kind: str) -> Iterator[Issue]:
    """A reference to a type that its element `type` does not say, or that the element here does not take."""
    said = str(part.value.get("type") or "").removeprefix(_DEFINITION)
    if kind and said and said != kind:
        text = "The reference names a resource of another type than its element type says; correct one of them."
        yield Issue("error", "value", text, f"{part.path}.type")
    wanted = part.element.targets
    if (kind or said) and wanted and not {kind or said, "Resource"} & {*wanted}:
        text = f"The reference names a resource of another type; {part.path} takes {' or '.join(sorted(wanted))}."
        yield Issue("error", "value", text, f"{part.path}.reference")


def _type_of(named: str) -> str:
    found = _TYPED.search(named)
    return found[1] if found else ""


def _contained(resource: Resource, kind: str, named: set[str]) -> Iterator[Issue]:
    """dom-2 to dom-5: what is contained is referred to or refers to its container, and has no record of its own."""
    for index, inner in enumerate(resource.get("contained") or ()):
        meta = inner.get("meta") or {}
        broken = {
            "Nothing refers to the contained resource (dom-3); refer to it, or leave it out.": f"#{inner.get('id')}"
            not in named
            and "#" not in _references(inner),
            "A contained resource contains others (dom-2); contain them in the resource itself.": "contained" in inner,
            "A contained resource has a version of its own (dom-4); leave out meta.versionId and meta.lastUpdated.": (
                "versionId" in meta or "lastUpdated" in meta
            ),
            "A contained resource has a security label (dom-5); label the resource itself.": "security" in meta,
        }
        yield from (
            Issue("error", "invariant", text, f"{kind}.contained[{index}]") for text, is_so in broken.items() if is_so
        )


def _references(value: Any) -> set[str]:
    """Every reference in a resource, whatever its type."""
    if isinstance(value, list):
        return {reference for one in value for reference in _references(one)}
    if not isinstance(value, Mapping):
        return set()
    own = {value["reference"]} if isinstance(value.get("reference"), str) else set()
    return own.union(*(_references(one) for one in value.values()))
