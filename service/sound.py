"""Lets through at once what is plainly valid FHIR R4, so that only what is not plain pays for the whole validation.

`is_sound` answers True only where `validation` would find nothing, no warning either; where it is not sure it answers
False, and the whole validation decides. It refuses nothing itself. Each type is laid out once as a msgspec Struct from
the same definitions (r4_types.json, see scripts/build_r4_types.py), and msgspec holds a resource against it: that takes
2 us for a Condition, with fhir.resources 94.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import cache
from operator import attrgetter
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Annotated, Any, ForwardRef, List, Literal, Union  # noqa: UP035 - list and | take no forward references

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.json_body import dump_json
from service.required_bindings import REQUIRED_CODES, REQUIRED_CONCEPTS

_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
# Days that each month has; the 29th of February is left to who can count leap years.
_DAY = r"[12][0-9]{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_PART_OF_DATE = r"[12][0-9]{3}(?:-(?:0[1-9]|1[0-2]))?"
_HOST = r"[a-z0-9](?:[a-z0-9-]|\.(?=[a-z0-9]))*"


# A string that begins with a blank of Unicode, in its UTF-8, or with an escape (of a tab, say).
_BLANK = re.compile(
    rb'"(?:[ \\]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)'
)
_MAYBE_BLANK = re.compile(rb'"[ \\\xc2\xe1\xe2\xe3]')  # by its first byte alone, which is told in half the time


class _Number(Decimal):
    """Stands for a FHIR decimal; msgspec would take a string for one too."""


class _Unknown:
    """Stands for a primitive whose values are left to the whole validation."""


def _matching(pattern: str) -> Any:
    return Annotated[str, Meta(pattern=rf"\A(?:{pattern})\Z")]


def _whole(least: int) -> Any:
    return Annotated[int, Meta(ge=least, le=2_147_483_647)]


_TEXT = Annotated[str, Meta(min_length=1)]
_PRIMITIVES: Mapping[str, Any] = {
    "base64Binary": _TEXT,
    "boolean": bool,
    "canonical": _matching(r"[!-~]+"),
    "code": _matching(r"[!-~]++(?: [!-~]++)*+"),
    "date": _matching(f"{_DAY}|{_PART_OF_DATE}"),
    "dateTime": _matching(f"{_DAY}(?:T{_TIME})?|{_PART_OF_DATE}"),
    "decimal": _Number,
    "id": _matching(r"[A-Za-z0-9\-.]{1,64}"),
    "instant": _matching(f"{_DAY}T{_TIME}"),
    "integer": _whole(-2_147_483_648),
    "markdown": _TEXT,
    "positiveInt": _whole(1),
    "string": _TEXT,
    "unsignedInt": _whole(0),
    "uri": _matching(r"[!-~]+"),
    "url": _matching(rf"https?://{_HOST}(?::[0-9]{{2,5}})?(?:/[A-Za-z0-9._~/-]*)?"),
    "xhtml": _TEXT,
}


def is_sound(resource: object, allowed: frozenset[str]) -> bool:
    """Whether a resource of one of the allowed types is certainly valid, with all that lies in it."""
    resource_type = resource.get("resourceType") if isinstance(resource, dict) else None
    return isinstance(resource_type, str) and resource_type in allowed and are_sound([resource], resource_type)


def are_sound(resources: Sequence[Any], resource_type: str) -> bool:
    """The same of resources that are all of one type, at once."""
    try:
        return _has_no_blanks(resources) and _all_sound(resources, resource_type)
    except (msgspec.MsgspecError, LookupError, TypeError, RecursionError):
        return False


def _has_no_blanks(held: object) -> bool:
    """Whether there is certainly no empty object and no string of blanks: none begins as one of them could."""
    written = dump_json(held)
    written = written.replace(b'\\"', b"'") if b"\\" in written else written
    return b"{}" not in written and not (_MAYBE_BLANK.search(written) and _BLANK.search(written))


def _is_sound(resource: Any, resource_type: str) -> bool:
    return _all_sound([resource], resource_type)


def _all_sound(resources: Sequence[Any], resource_type: str) -> bool:
    struct = _struct(resource_type)
    msgspec.convert(resources, list[struct], dec_hook=_read)  # type: ignore[valid-type]  # a type made when run
    if resource_type not in _HOLDING:
        resources = [resource for resource in resources if "contained" in resource]
    return all(_is_sound(held, held["resourceType"]) for one in resources for held in _held(one, resource_type))


_HOLDING = frozenset({"Bundle", "Parameters"})


def _held(resource: Any, resource_type: str) -> Iterator[Any]:
    """The resources in a resource, wherever R4 has a place for one."""
    yield from resource.get("contained", ())
    if resource_type == "Bundle":
        for entry in resource.get("entry", ()):
            yield from (
                holder[name]
                for holder, name in ((entry, "resource"), (entry.get("response", {}), "outcome"))
                if name in holder
            )
    yield from _in_parameters(resource.get("parameter", ()))


def _in_parameters(parameters: Any) -> Iterator[Any]:
    for parameter in parameters:
        if "resource" in parameter:
            yield parameter["resource"]
        yield from _in_parameters(parameter.get("part", ()))


def _read(_kind: type, value: object) -> object:
    if type(value) is int or isinstance(value, Decimal):
        return _Number(0)  # which msgspec takes for nothing else that is asked for
    raise ValueError


# --- the types as structs -----------------------------------------------------------------------------------------

# Where the structs find each other by name, since types of R4 lie in themselves: an Extension in an Extension.
_TYPES = ModuleType(f"{__name__}.types")
sys.modules[_TYPES.__name__] = _TYPES
_LAYING_OUT = Lock()
_FILE = Path(__file__).parent / "r4_types.json"


class _Element(msgspec.Struct, array_like=True):
    type_name: str
    repeats: bool
    is_complex: bool


class _Type(msgspec.Struct):
    """A type of R4; `choices` holds for each element[x] whether it is required and its names."""

    is_resource: bool
    elements: dict[str, _Element]
    required: list[str]
    choices: list[tuple[bool, list[str]]]


@cache
def _types() -> dict[str, _Type]:
    return msgspec.json.decode(_FILE.read_bytes(), type=dict[str, _Type])


@cache
def _struct(resource_type: str) -> type[msgspec.Struct]:
    """LookupError for a type that is not among those."""
    with _LAYING_OUT:  # half of them laid out, another thread could not tell what they name
        struct = _laid_out(resource_type)
        with suppress(msgspec.ValidationError):
            msgspec.convert({}, struct)  # what it notes of a type at the first time must not be noted by two at once
        return struct


def _laid_out(name: str) -> type[msgspec.Struct]:
    """The Struct of a type, and of all that lie in it."""
    known = getattr(_TYPES, name, None)
    if known is not None:
        return known  # type: ignore[no-any-return]
    definition = _types()[name]  # without siblings of primitives (`_birthDate`), which are rare, and so not plain
    elements = {n: e for n, e in definition.elements.items() if not n.startswith("abatement")}  # con-4 and con-5
    required = frozenset(definition.required)
    kinds = {n: _kind(name, n, element) for n, element in elements.items()}
    fields = [
        (f"{n}_", kind) if n in required else (f"{n}_", Union[kind, UnsetType], UNSET)  # noqa: UP007
        for n, kind in kinds.items()
    ]
    struct = msgspec.defstruct(
        name,
        fields,
        kw_only=True,
        module=_TYPES.__name__,
        namespace=_checks(definition, elements, _plain_only_with(name)),
        rename={f"{n}_": n for n in elements},  # `class` is an element too
        tag_field="resourceType" if definition.is_resource else None,
        forbid_unknown_fields=True,
        gc=False,
    )
    setattr(_TYPES, name, struct)
    for element in elements.values():
        if element.is_complex and element.type_name != "Resource":
            _laid_out(element.type_name)
    return struct


def _plain_only_with(name: str) -> dict[str, str]:
    """What con-3 may ask for beside another element."""
    return {"category_": "clinicalStatus_"} if name == "Condition" else {}


def _status(name: str, system: str, codes: tuple[str, ...]) -> Any:
    """A concept with one coding, of this system and with one of these codes."""
    one_of: Any = Literal[tuple(code for code in codes if code != "entered-in-error")]
    parts: list[Any] = [
        ("system", Literal[system]),
        ("code", one_of),
        ("display", _TEXT, "-"),
        ("userSelected", bool, False),
    ]
    coding = msgspec.defstruct(f"{name}Coding", parts, forbid_unknown_fields=True, gc=False)
    codings: Any = Annotated[list[coding], Meta(min_length=1, max_length=1)]  # type: ignore[valid-type]
    fields: list[Any] = [("coding", codings), ("text", _TEXT, "-")]
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True, gc=False)


_STATUSES = {path: _status(path.rpartition(".")[2], *bound) for path, bound in REQUIRED_CONCEPTS.items()}


def _kind(type_name: str, name: str, element: _Element) -> Any:
    path = f"{type_name}.{name}"
    kind: Any
    if path in _STATUSES:
        kind = _STATUSES[path]
    elif element.is_complex:
        kind = dict if element.type_name == "Resource" else ForwardRef(element.type_name)
    elif codes := REQUIRED_CODES.get(path):
        kind = Literal[codes]
    else:
        kind = _PRIMITIVES.get(element.type_name, _Unknown)
    return Annotated[List[kind], Meta(min_length=1)] if element.repeats else kind  # noqa: UP006


def _checks(definition: _Type, elements: Mapping[str, _Element], beside: Mapping[str, str]) -> dict[str, Any]:
    """That of each element[x] at most one is given, and one where R4 asks for it; and what stands beside another."""
    groups = [(needed, [f"{n}_" for n in names if n in elements]) for needed, names in definition.choices]
    looks = [(needed, len(names), attrgetter(*names)) for needed, names in groups if len(names) > 1]
    if not looks and not beside:
        return {}

    def __post_init__(self: msgspec.Struct) -> None:
        for needed, size, values in looks:
            given = size - values(self).count(UNSET)
            if given > 1 or (needed and not given):
                raise ValueError
        for name, other in beside.items():
            if getattr(self, name) is not UNSET and getattr(self, other) is UNSET:
                raise ValueError

    return {"__post_init__": __post_init__}
