"""Reads a request body as strict JSON and writes JSON back, every decimal as it was written.

RFC 8259 lets parsers disagree on duplicate keys, NaN and lone surrogates; two readers would then see two records,
so such a body is refused here. A refusal says where and what to do, and never repeats the patient's words.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any, Literal, NoReturn

# msgspec reads and writes: a call of 9 kB in 15 us where simplejson takes 60. But it merges duplicate keys and says of
# a fault only where it lies, so what it does not read to the last sign is read again by simplejson, which takes hooks.
import msgspec
import simplejson

Severity = Literal["fatal", "error", "warning", "information"]

MAX_BYTES = 1_048_576
MAX_NUMBER_DIGITS = 40
MAX_EXPONENT_DIGITS = 3  # int(Decimal("1E999999999")) would fill the memory of whoever calls it

ELEMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# The closing quote is optional and the repeats possessive: an unterminated string costs one pass, not one per quote.
JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'"[]{}'))
_ONE_KIND = bytes.maketrans(b"[]", b"{}")
_ONE_DIGIT = bytes.maketrans(b"123456789", b"000000000")
_HIDING = re.compile(rb"\\u(?:00[0-7]|[dD][89a-fA-F])")
_TOO_MANY_DIGITS = b"0" * (MAX_NUMBER_DIGITS + 1)
DEPTH_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
SUSPECT_ESCAPE = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")
WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # UTF-32 LE begins with the first of them


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing to say about an input: a FHIR issue type, one sentence, and the FHIRPath of the element."""

    severity: Severity
    code: str
    diagnostics: str
    expression: str = ""


class Refusal(Exception):
    """The input cannot be accepted: an HTTP status and the issues that say why."""

    def __init__(self, status: int, issues: Sequence[Issue]) -> None:
        super().__init__("; ".join(issue.diagnostics for issue in issues))
        self.status = status
        self.issues = tuple(issues)


class WrittenDecimal(Decimal):
    """A decimal that remembers how it was written: FHIR R4 "decimal", precision is part of the value."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, written: str) -> WrittenDecimal:
        number = super().__new__(cls, written)
        number.written = written
        return number

    def __str__(self) -> str:
        return self.written

    def __reduce__(self) -> tuple[type[WrittenDecimal], tuple[str]]:
        return type(self), (self.written,)  # else a copy in another process would lose what was written


def parse_json(body: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = 60) -> object:
    """Return the value of a strict JSON body, or raise Refusal.

    A UTF-8 byte order mark is passed over (RFC 8259, 8.1 allows that); UTF-16 and UTF-32 are refused.
    Numbers with a fraction or an exponent come back as WrittenDecimal.
    """
    return parse_and_write(body, max_bytes=max_bytes, max_depth=max_depth)[0]


def parse_and_write(body: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = 60) -> tuple[object, bytes]:
    """The same, and what `dump_json` writes of it where that was made to read it; else b''."""
    _refuse_size(body, max_bytes)
    return _plain(body, max_depth) or (_read_by_hooks(body, max_depth), b"")


def _plain(body: bytes, max_depth: int) -> tuple[object, bytes] | None:
    """The value of a body that can be read in one way only, and what is written of it; None where that is not sure.

    Written again, a body has as many quotation marks as before, unless a member was lost that another of the same name
    has replaced. Some escapes by number could hide that, or stand for what is no character.
    """
    has_long_number = _TOO_MANY_DIGITS in body.translate(_ONE_DIGIT)  # or a text that looks like one
    if has_long_number or _HIDING.search(body) or not _is_shallow(body, max_depth):
        return None
    try:
        value: object = _read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    written = _write(value)
    return (value, written) if written.count(b'"') == body.count(b'"') else None


def _is_shallow(body: bytes, max_depth: int) -> bool:
    """Whether brackets that are JSON are certainly not nested deeper: each round takes the innermost away."""
    brackets = _brackets(body)
    for _ in range(max_depth):
        brackets = brackets.replace(b"{}", b"")
        if not brackets:
            return True
    return False


def _brackets(body: bytes) -> bytes:
    """Those that stand outside of strings, as if of one kind. Two quotation marks in a row end where they began."""
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    marks = plain.translate(_ONE_KIND, _NEITHER_BRACKET_NOR_QUOTE).replace(b'""', b"")
    return b"".join(marks.split(b'"')[::2])


def _read_by_hooks(body: bytes, max_depth: int) -> object:
    """The same with every fault told."""
    _refuse_depth(body, max_depth)
    text = _decode(body)
    try:
        value: object = simplejson.loads(
            text,
            parse_float=_read_decimal,
            parse_int=_read_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_read_object,
        )
    except simplejson.JSONDecodeError as error:
        # error.msg may quote the input, so only the place is told.
        _refuse(
            "structure",
            f"The body is not JSON: the first error is at line {error.lineno}, column {error.colno}; "
            "correct it and send it again.",
        )
    _refuse_unwritable_characters(text)
    return value


Written = msgspec.Raw  # JSON as it was written, to stand in a value that is yet to be


def dump_json(value: object) -> bytes:
    """Write compact UTF-8 JSON, each decimal as it was read."""
    return _write(value)


def dump_sorted(value: object) -> str:
    """The one text of a value, whatever the order of its members."""
    return _write_sorted(value).decode()


def _as_written(value: object) -> msgspec.Raw:
    if isinstance(value, WrittenDecimal):
        return msgspec.Raw(value.written.encode("ascii"))
    raise TypeError(f"JSON has no {type(value).__name__}.")


def _decimal(written: str) -> WrittenDecimal:
    """ValueError, which msgspec passes on as its own, for a number that is refused."""
    try:
        return _read_decimal(written)
    except Refusal:
        raise ValueError from None


_read = msgspec.json.Decoder(float_hook=_decimal).decode
_write = msgspec.json.Encoder(enc_hook=_as_written, decimal_format="number").encode
_write_sorted = msgspec.json.Encoder(enc_hook=_as_written, decimal_format="number", order="sorted").encode


def kept_json(text: str) -> Any:
    """The value of what `dump_json` wrote, each decimal as it was written."""
    return simplejson.loads(text, parse_float=WrittenDecimal)


def readable_json(value: object) -> str:
    """The same for people: indented."""
    text: str = simplejson.dumps(value, use_decimal=True, allow_nan=False, ensure_ascii=False, indent=2)
    return text


def issues_to_operation_outcome(issues: Sequence[Issue]) -> dict[str, object]:
    """Return an R4 OperationOutcome as a plain dict; without issues it says so, since R4 demands one at least."""
    told = issues or [Issue("information", "informational", "No issues were found.")]
    return {"resourceType": "OperationOutcome", "issue": [_outcome_issue(issue) for issue in told]}


def safe_name(name: object) -> str:
    """Return an element name of the input if it is safe to repeat, else ''."""
    return name if isinstance(name, str) and ELEMENT_NAME.fullmatch(name) else ""


def _outcome_issue(issue: Issue) -> dict[str, object]:
    told: dict[str, object] = {"severity": issue.severity, "code": issue.code, "diagnostics": issue.diagnostics}
    return told | {"expression": [issue.expression]} if issue.expression else told


def _refuse(code: str, sentence: str, status: int = 400) -> NoReturn:
    raise Refusal(status, [Issue("error", code, sentence)]) from None


def _refuse_size(body: bytes, max_bytes: int) -> None:
    if len(body) > max_bytes:
        _refuse(
            "too-long",
            f"The body has {len(body)} bytes and at most {max_bytes} are accepted; send less at a time.",
            status=413,
        )
    if not body.strip():
        _refuse("structure", "The body is empty; send a FHIR resource as JSON.")


def _refuse_depth(body: bytes, max_depth: int) -> None:
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    brackets = JSON_STRING.sub(b"", body).translate(None, NOT_BRACKETS)
    if max(accumulate(map(DEPTH_STEP.__getitem__, brackets)), default=0) > max_depth:
        _refuse("structure", f"The body is nested more than {max_depth} levels deep; send a flatter one.")


def _decode(body: bytes) -> str:
    if body.startswith(WIDE_BOMS):
        _refuse("structure", "The body is UTF-16 or UTF-32; send JSON in UTF-8.")
    try:
        return body.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse("structure", f"The body is not UTF-8: byte {error.start} cannot be read; send JSON in UTF-8.")


def _read_object(members: list[tuple[str, object]]) -> dict[str, object]:
    read = dict(members)
    if len(read) != len(members):
        _refuse_duplicate([name for name, _ in members])
    return read


def _refuse_duplicate(names: list[str]) -> NoReturn:
    [(duplicate, _)] = Counter(names).most_common(1)
    named = f" '{duplicate}'" if safe_name(duplicate) else ""
    _refuse("structure", f"A JSON object of the body has the key{named} more than once; keep one of them.")


def _read_decimal(written: str) -> WrittenDecimal:
    _refuse_long_number(written)
    _, _, exponent = written.lower().partition("e")
    if len(exponent.lstrip("+-")) > MAX_EXPONENT_DIGITS:
        _refuse("value", f"A number has an exponent of more than {MAX_EXPONENT_DIGITS} digits; write it shorter.")
    return WrittenDecimal(written)


def _read_integer(written: str) -> int:
    _refuse_long_number(written)
    return int(written)


def _refuse_long_number(written: str) -> None:
    if len(written) > MAX_NUMBER_DIGITS and sum(map(str.isdigit, written)) > MAX_NUMBER_DIGITS:
        _refuse("value", f"A number has more than {MAX_NUMBER_DIGITS} digits; write it shorter.")


def _refuse_constant(_name: str) -> NoReturn:
    _refuse("structure", "NaN and Infinity are not JSON numbers; leave the element out or give it a number.")


def _refuse_unwritable_characters(text: str) -> None:
    """Refuse escapes that stand for no character (half of a surrogate pair) or that databases cannot keep (NUL)."""
    if not SUSPECT_ESCAPE.search(text):
        return
    high_ends_at = -1  # where the low half of a pair must begin
    for escape in JSON_ESCAPE.finditer(text):
        unit = int(escape[1] or "20", 16)
        is_low = 0xDC00 <= unit <= 0xDFFF
        is_paired = is_low and escape.start() == high_ends_at
        if unit == 0 or (not is_paired and (is_low or high_ends_at >= 0)):
            _refuse_character(text, escape.start())
        high_ends_at = escape.end() if 0xD800 <= unit <= 0xDBFF else -1
    if high_ends_at >= 0:
        _refuse_character(text, high_ends_at)


def _refuse_character(text: str, position: int) -> NoReturn:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    _refuse(
        "value",
        f"A string holds half of a surrogate pair or a NUL near line {line}, column {column}; "
        "write the whole character.",
    )
