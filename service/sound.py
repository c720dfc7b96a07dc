"""Lets through at once what is plainly valid FHIR R4, so that only what is not plain pays for the whole validation.

`is_sound` answers True only where `validation` would find nothing, no warning either; where it is not sure it answers
False, and the whole validation decides. It refuses nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from service.fhir_definitions import ElementDefinition, definition_of, resource_model
from service.required_bindings import CONDITION_CLINICAL, CONDITION_VER_STATUS, REQUIRED_CODES, REQUIRED_CONCEPTS

if TYPE_CHECKING:
    from service.fhir_definitions import Model

Check = Callable[[object], bool]
_DEEPEST = 40  # levels; what is deeper goes to the whole validation
_CODE = re.compile(r"[!-~](?:[!-~]| (?=[!-~]))*")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_URI = re.compile(r"[!-~]+")
_URL = re.compile(r"https?://[a-z0-9](?:[a-z0-9-]|\.(?=[a-z0-9]))*(?::[0-9]{2,5})?(?:/[A-Za-z0-9._~/-]*)?")
_PART_OF_DATE = re.compile(r"[12][0-9]{3}(?:-(?:0[1-9]|1[0-2]))?")
_DAY = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


def is_sound(resource: object, allowed: frozenset[str]) -> bool:
    """Whether a resource of one of the allowed types is certainly valid, with all that lies in it."""
    resource_type = resource.get("resourceType") if isinstance(resource, dict) else None
    return isinstance(resource_type, str) and resource_type in allowed and _resource_is_sound(resource, 0)


def _resource_is_sound(value: object, depth: int) -> bool:
    if not isinstance(value, dict):
        return False
    resource_type = value.get("resourceType")
    model = _model(resource_type) if isinstance(resource_type, str) else None
    return model is not None and _object_is_sound(value, _shape(model), depth)


class _Element(NamedTuple):
    """How one element is checked: a primitive by `check`, else by the shape of its type (None: any resource)."""

    repeats: bool
    check: Check | None
    model: Model | None


class _Shape(NamedTuple):
    elements: Mapping[str, _Element]
    required: tuple[str, ...]
    choices: tuple[tuple[bool, frozenset[str]], ...]
    is_condition: bool


def _object_is_sound(members: dict[str, object], shape: _Shape, depth: int) -> bool:
    if not members or depth > _DEEPEST:
        return False
    elements = shape.elements
    for name, value in members.items():
        element = elements.get(name)
        if element is None or not _element_is_sound(element, value, depth):
            return False
    if any(name not in members for name in shape.required):
        return False
    for is_required, names in shape.choices:
        given = len(names & members.keys())
        if given > 1 or (is_required and not given):
            return False
    return not shape.is_condition or _condition_is_sound(members)


def _element_is_sound(element: _Element, value: object, depth: int) -> bool:
    repeats, check, model = element
    if not repeats:
        return check(value) if check else _value_is_sound(value, model, depth)
    if not isinstance(value, list) or not value:
        return False
    return all(map(check, value)) if check else all(_value_is_sound(one, model, depth) for one in value)


def _value_is_sound(value: object, model: Model | None, depth: int) -> bool:
    if model is None:
        return _resource_is_sound(value, depth + 1)
    return isinstance(value, dict) and _object_is_sound(value, _shape(model), depth + 1)


def _condition_is_sound(condition: dict[str, object]) -> bool:
    """With a known coding of its clinical status, and nothing that con-3, con-4 and con-5 speak of."""
    if any(name.startswith("abatement") for name in condition):
        return False
    verification = condition.get("verificationStatus")
    is_clinical = _is_coded(condition.get("clinicalStatus"), CONDITION_CLINICAL, _CLINICAL)
    return is_clinical and (verification is None or _is_coded(verification, CONDITION_VER_STATUS, _VERIFIED))


def _is_coded(concept: object, system: str, codes: frozenset[str]) -> bool:
    """Whether a concept has one coding, of this system and with one of these codes."""
    codings = concept.get("coding") if isinstance(concept, dict) else None
    if not isinstance(codings, list) or len(codings) != 1:
        return False
    code = codings[0].get("code") if isinstance(codings[0], dict) else None
    return isinstance(code, str) and code in codes and codings[0].get("system") == system


_CLINICAL, _VERIFIED = (
    frozenset(codes) - {"entered-in-error"}
    for _, codes in (REQUIRED_CONCEPTS[f"Condition.{name}"] for name in ("clinicalStatus", "verificationStatus"))
)


@cache
def _model(resource_type: str) -> Model | None:
    return resource_model(resource_type)


@cache
def _shape(model: Model) -> _Shape:
    """What a type asks for. Siblings of primitives (`_birthDate`) are left out: they are rare, and so not plain."""
    definition = definition_of(model)
    elements = {
        name: _element(definition.name, element)
        for name, element in definition.elements.items()
        if not name.startswith("_")
    }
    if definition.is_resource:
        elements["resourceType"] = _Element(False, lambda value: value == definition.name, None)
    choices = tuple((is_required, frozenset(names)) for is_required, names in definition.choices.values())
    return _Shape(elements, definition.required, choices, definition.name == "Condition")


def _element(type_name: str, element: ElementDefinition) -> _Element:
    if element.model is not None:
        return _Element(element.repeats, None, None if element.type_name == "Resource" else element.model)
    codes = REQUIRED_CODES.get(f"{type_name}.{element.name}")
    check = _one_of(codes) if codes else _CHECKS.get(element.type_name, _never)
    return _Element(element.repeats, check, None)


def _never(value: object) -> bool:
    return False


def _one_of(codes: tuple[str, ...]) -> Check:
    return lambda value: isinstance(value, str) and value in codes


def _text(value: object) -> bool:
    return isinstance(value, str) and value != "" and not value.isspace()


def _matching(pattern: re.Pattern[str]) -> Check:
    matches = pattern.fullmatch
    return lambda value: isinstance(value, str) and matches(value) is not None


def _whole(least: int) -> Check:
    return lambda value: type(value) is int and least <= value <= 2_147_483_647


def _number(value: object) -> bool:
    return type(value) is int or (isinstance(value, Decimal) and value.is_finite())


def _date(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return _is_day(value) if _DAY.fullmatch(value) else _PART_OF_DATE.fullmatch(value) is not None


def _date_time(value: object) -> bool:
    return _moment(value) or _date(value)


def _moment(value: object) -> bool:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_day(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


_CHECKS: Mapping[str, Check] = {
    "base64Binary": _text,
    "boolean": lambda value: isinstance(value, bool),
    "canonical": _matching(_URI),
    "code": _matching(_CODE),
    "date": _date,
    "dateTime": _date_time,
    "decimal": _number,
    "id": _matching(_ID),
    "instant": _moment,
    "integer": _whole(-2_147_483_648),
    "markdown": _text,
    "positiveInt": _whole(1),
    "string": _text,
    "unsignedInt": _whole(0),
    "uri": _matching(_URI),
    "url": _matching(_URL),
    "xhtml": _text,
}
