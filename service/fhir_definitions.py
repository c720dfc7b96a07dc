"""What R4 says of each type and element, read from the models of fhir.resources."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module

from service.json_body import safe_name

if typing.TYPE_CHECKING:
    from fhir_core.fhirabstractmodel import FHIRAbstractModel

    Model = type[FHIRAbstractModel]

# Real records lack these though R4 demands them; POLICY assesses what is there. Nothing reads a narrative without div.
MAY_BE_MISSING = frozenset({"Encounter.class", "EncounterClassHistory.class", "Narrative.div"})


@dataclass(frozen=True, slots=True)
class ElementDefinition:
    """What R4 says of one element of a type.

    `model` is None for a primitive; `targets` are the types that a Reference may name.
    """

    name: str
    type_name: str
    repeats: bool
    model: Model | None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """What R4 says of one type; `choices` holds for each element[x] whether it is required and its names."""

    name: str
    is_resource: bool
    elements: Mapping[str, ElementDefinition]
    required: tuple[str, ...]
    choices: Mapping[str, tuple[bool, tuple[str, ...]]]


def resource_model(resource_type: object) -> Model | None:
    """Return the model of a resource type, imported on first use: all of them would take 1.6 s and 100 MiB."""
    if not safe_name(resource_type):
        return None
    try:
        model: Model = resource_package().get_fhir_model_class(resource_type)
    except ValueError:
        return None
    is_concrete = model.has_resource_base() and model.__name__ not in ("Resource", "DomainResource")
    return model if is_concrete else None


def resource_package() -> typing.Any:
    # R4B and not R4, which fhir.resources 8 has no more; the types named in this module are the same in both.
    return import_module("fhir.resources.R4B")


@cache
def definition_of(model: Model) -> TypeDefinition:
    fields = {field.alias or name: field for name, field in model.model_fields.items() if name != "fhir_comments"}
    facts = {name: _facts(field.json_schema_extra) for name, field in fields.items()}
    required = [name for name, field in fields.items() if field.is_required() or facts[name].get("element_required")]
    choices: dict[str, tuple[bool, tuple[str, ...]]] = {}
    for name, fact in facts.items():
        if group := fact.get("one_of_many"):
            _, names = choices.get(group, (False, ()))
            choices[group] = (bool(fact.get("one_of_many_required")), (*names, name))
    return TypeDefinition(
        name=model.__name__,
        is_resource=model.has_resource_base(),
        elements={
            name: _element_definition(name, field.annotation, facts[name].get("enum_reference_types") or ())
            for name, field in fields.items()
        },
        required=tuple(name for name in required if f"{model.__name__}.{name}" not in MAY_BE_MISSING),
        choices=choices,
    )


def _facts(json_schema_extra: object) -> dict[str, typing.Any]:
    return json_schema_extra if isinstance(json_schema_extra, dict) else {}


def _element_definition(name: str, annotation: object, targets: Iterable[str]) -> ElementDefinition:
    """Read `List[Annotated[str, Code()]] | None` and its like."""
    inner = _without_none(annotation)
    repeats = typing.get_origin(inner) is list
    if repeats:
        inner = _without_none(typing.get_args(inner)[0])
    if hasattr(inner, "get_model_klass"):
        model: Model = inner.get_model_klass()
        return ElementDefinition(name, model.__name__, repeats, model, tuple(targets))
    return ElementDefinition(name, _primitive_name(inner), repeats, None)


def _without_none(annotation: object) -> typing.Any:
    kinds = typing.get_args(annotation)
    return kinds[0] if type(None) in kinds else annotation


def _primitive_name(annotation: object) -> str:
    if annotation is bool:
        return "boolean"
    names = [kind.__visit_name__ for kind in typing.get_args(annotation) if hasattr(kind, "__visit_name__")]
    return names[-1] if names else "uuid"
