"""Invariants of R4 that the model of a resource does not check: references, what is contained, extensions, ages, text.

ref-1, dom-3, ext-1, age-1, txt-1 and txt-2 of R4 (4.0.1), what a reference of a Condition may name, and a modifier
extension that is not understood. Each is judged on a resource of sound shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

from service.json_body import Issue

Resource = Mapping[str, Any]
_ACTORS = frozenset({"Practitioner", "PractitionerRole", "Patient", "RelatedPerson"})
TARGETS: Mapping[str, frozenset[str]] = {
    "Condition.subject": frozenset({"Patient", "Group"}),
    "Condition.encounter": frozenset({"Encounter"}),
    "Condition.recorder": _ACTORS,
    "Condition.asserter": _ACTORS,
    "Condition.stage.assessment": frozenset({"ClinicalImpression", "DiagnosticReport", "Observation"}),
}
_TYPED = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?\Z")
_INDEX = re.compile(r"\[\d+\]")
_UCUM = "http://unitsofmeasure.org"
_AGES = ("onsetAge", "abatementAge")
# XHTML that a narrative may hold (R4 "Narrative", txt-1): chapters 7-11 and 15 of HTML 4.0, links and images.
_ELEMENTS = frozenset(
    (
        "a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i "
        "img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var"
    ).split()
)


def broken_invariants(resource: Resource) -> Iterator[Issue]:
    """What R4 forbids of this resource beside its shape, as errors; each with the place and what to do."""
    kind = str(resource["resourceType"])
    yield from _contained(resource, kind)
    for value, path in _objects(resource, kind):
        yield from _reference(value, path, resource)
        yield from _extensions(value, path)
    yield from _ages(resource, kind)
    yield from _narrative(resource, kind)


def _objects(value: Any, path: str) -> Iterator[tuple[Resource, str]]:
    """Every object of the resource with its place; contained resources are judged for themselves by nobody here."""
    if isinstance(value, Mapping):
        yield value, path
        for name, inner in value.items():
            if name != "contained":
                yield from _objects(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _objects(inner, f"{path}[{index}]")


# --- references and what is contained -----------------------------------------------------------------------------


def _reference(value: Resource, path: str, resource: Resource) -> Iterator[Issue]:
    named = value.get("reference")
    if not isinstance(named, str):
        return
    held = {str(one.get("id")): str(one.get("resourceType")) for one in resource.get("contained") or ()}
    if named.startswith("#") and len(named) > 1 and named[1:] not in held:
        text = (
            "The reference names a contained resource that is not there (ref-1); contain it, or correct the reference."
        )
        yield Issue("error", "invariant", text, f"{path}.reference")
    kind = held.get(named[1:], "") if named.startswith("#") else _type_of(named, value)
    wanted = TARGETS.get(_INDEX.sub("", path))
    if kind and wanted and kind not in wanted:
        text = f"The reference names a resource of another type; {path} takes {' or '.join(sorted(wanted))}."
        yield Issue("error", "value", text, f"{path}.reference")


def _type_of(named: str, value: Resource) -> str:
    found = _TYPED.search(named)
    return found[1] if found else str(value.get("type") or "")


def _contained(resource: Resource, kind: str) -> Iterator[Issue]:
    """dom-3: what is contained is referred to, or refers to what contains it."""
    named = {str(value.get("reference")) for value, _ in _objects(resource, kind)}
    for index, inner in enumerate(resource.get("contained") or ()):
        within = {str(value.get("reference")) for value, _ in _objects(inner, "")}
        if f"#{inner.get('id')}" not in named and "#" not in within:
            text = "Nothing refers to the contained resource (dom-3); refer to it, or leave it out."
            yield Issue("error", "invariant", text, f"{kind}.contained[{index}]")


# --- extensions ---------------------------------------------------------------------------------------------------


def _extensions(value: Resource, path: str) -> Iterator[Issue]:
    for index, extension in enumerate(value.get("extension") or ()):
        has_value = any(name.startswith("value") for name in extension)
        if has_value == bool(extension.get("extension")):
            text = "An extension has a value or extensions of its own, and one of them (ext-1); keep one."
            yield Issue("error", "invariant", text, f"{path}.extension[{index}]")
    for index, _ in enumerate(value.get("modifierExtension") or ()):
        text = "The modifier extension is not understood here and may change the meaning; send the resource without it."
        yield Issue("error", "extension", text, f"{path}.modifierExtension[{index}]")


# --- ages ---------------------------------------------------------------------------------------------------------


def _ages(resource: Resource, kind: str) -> Iterator[Issue]:
    """age-1: a UCUM code where there is a value, and no value below zero."""
    for name in (name for name in _AGES if name in resource):
        age = resource[name]
        coded = "value" not in age or ("code" in age and age.get("system") == _UCUM)
        if not coded or ("system" in age and age["system"] != _UCUM) or age.get("value", 1) <= 0:
            text = f"The age has no positive value with a code of UCUM (age-1); give its code and {_UCUM}."
            yield Issue("error", "invariant", text, f"{kind}.{name}")


# --- the narrative ------------------------------------------------------------------------------------------------


class _Narrative(HTMLParser):
    """What a narrative holds: foreign elements, attributes of events, and whether it says anything."""

    def __init__(self) -> None:
        super().__init__()
        self.is_foreign = self.says = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        events = any(name.startswith("on") or (value or "").lower().startswith("javascript:") for name, value in attrs)
        self.is_foreign = self.is_foreign or tag not in _ELEMENTS or events
        self.says = self.says or tag == "img"

    def handle_data(self, data: str) -> None:
        self.says = self.says or bool(data.strip())


def _narrative(resource: Resource, kind: str) -> Iterator[Issue]:
    markup = (resource.get("text") or {}).get("div")
    if not isinstance(markup, str):
        return
    read = _Narrative()
    read.feed(markup)
    read.close()
    wrong = {
        "The narrative holds markup that FHIR does not allow (txt-1); keep to plain formatting.": read.is_foreign,
        "The narrative says nothing (txt-2); write what the resource says, or leave it out.": not read.says,
    }
    yield from (Issue("error", "invariant", text, f"{kind}.text.div") for text, is_so in wrong.items() if is_so)
