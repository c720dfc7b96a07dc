"""The rows of an export as the gate takes them in: the few elements that it looks at, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

ABSENT = msgspec.Raw(b"")
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Object(msgspec.Struct, gc=False):
    """An object, whatever is in it."""


class Row(msgspec.Struct, rename="camel", tag_field="resourceType", tag="Condition", gc=False):
    """What the gate reads of a Condition; what is none, or is nobody's, is not read."""

    subject: _Object
    code: msgspec.Raw = ABSENT
    verification_status: msgspec.Raw = ABSENT
    note: msgspec.Raw = ABSENT
    evidence: msgspec.Raw = ABSENT
    modifier_extension: msgspec.Raw = ABSENT


class Coding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What is looked at of a coding."""

    system: str = ""
    code: str = ""
    display: str = ""


class _Code(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A code element as most are: with nothing in it but what is looked at."""

    coding: msgspec.Raw = ABSENT
    text: str = ""


class _Kind(msgspec.Struct, rename="camel"):
    resource_type: str = ""


read_row = msgspec.json.Decoder(Row).decode
read_code = msgspec.json.Decoder(_Code).decode
read_codings = msgspec.json.Decoder(tuple[Coding, ...]).decode
_read_kind = msgspec.json.Decoder(_Kind).decode
read_json = msgspec.json.Decoder().decode


def element_of(raw: msgspec.Raw) -> Any:
    """What a member holds; None where the row has none."""
    return read_json(raw) if raw is not ABSENT else None


def kind_of(line: bytes) -> str:
    """The resourceType of a row; the empty string where it cannot be told."""
    try:
        return _read_kind(line).resource_type
    except UNREADABLE:
        return ""


def coding_of(given: Mapping[str, Any]) -> Coding:
    """The same of a coding that is read already."""
    return Coding(*[str(given.get(name) or "") for name in ("system", "code", "display")])
