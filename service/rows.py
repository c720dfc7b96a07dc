"""The rows of an export as the gate takes them in: the few elements that it looks at, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from secrets import token_hex
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


_HELD = token_hex(8)


class _Line(msgspec.Struct, rename={"row": _HELD}, forbid_unknown_fields=True, gc=False):
    """A line of a block, between two pieces of JSON that no line can hold, since it cannot know the name in them."""

    row: Row


_BEGIN, _END = b'{"%b":' % _HELD.encode(), b"}"


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
_read_lines = msgspec.json.Decoder(list[_Line]).decode
_row_of = attrgetter("row")
read_code = msgspec.json.Decoder(_Code).decode
read_codings = msgspec.json.Decoder(tuple[Coding, ...]).decode
_read_kind = msgspec.json.Decoder(_Kind).decode
read_json = msgspec.json.Decoder().decode


def rows_of(block: bytes) -> list[Row] | None:
    """The row that each of these lines holds; None where one of them is no row, or holds more than one.

    To read them at once takes two thirds of the time. A line break within a row would leave fewer rows than lines.
    """
    lines = block.replace(b"\n", _END + b"," + _BEGIN)
    breaks = (len(lines) - len(block)) // len(_END + _BEGIN)
    try:
        rows = list(map(_row_of, _read_lines(b"[%b%b%b]" % (_BEGIN, lines, _END))))
    except UNREADABLE:
        return None
    return rows if len(rows) == breaks + 1 else None


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
