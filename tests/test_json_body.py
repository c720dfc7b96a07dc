"""Holds the reading of plain bodies in one go against the reading that tells every fault."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import json_body
from service.json_body import Refusal, WrittenDecimal, dump_json, parse_and_write, parse_json

BODIES = [
    b"1", b"-0", b"0.0", b"1.50", b"1e5", b"1E+2", b"-1.5e-10", b"01", b"1.", b".5", b"+1", b"--1",
    b"1E999999", b"9" * 40, b"9" * 41, b"-" + b"9" * 41, b"0." + b"1" * 39, b"0." + b"1" * 41, b"18446744073709551616",
    b"true", b"null", b"nul", b"NaN", b"Infinity", b"", b" ", b"{} x", b"[1,]", b'{"a":1,}', b"{'a':1}", b"[1 2]",
    b'"a', b'"\x00"', b'"\n"', b'"\t"', b'"\\n\\t\\/\\b\\f\\r"', b'"\\x"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"',
    b'"\\u0000"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\\\\u0000"', b'"\\\\"', b'"\\""',
    '"é\u2028\U0001f600"'.encode(), b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"{}\x00", b"\x7f", b'"\x7f"',
    b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'{"a":"\\"","a":""}', b'{"a":{"b":1,"b":2}}', b'[{"a":1},{"a":1}]',
    b'{"":1}', b'{"":1,"":2}', b"[" * 60 + b"]" * 60, b"[" * 61 + b"]" * 61, b'{"a":' * 61 + b"1" + b"}" * 61,
    b"[" * 1000, b"]" * 3, b'["]]]","[[["]', b'["\\"[[[","\\\\"]', b"[}", b"{]", b'{"a":[}]',
]  # fmt: skip


def outcome(read: object, body: bytes) -> object:
    """What is read, with the type and the writing of each number, or what is refused."""
    try:
        return repr(read(body)), dump_json(read(body))  # type: ignore[operator]
    except Refusal as refusal:
        return refusal.status, refusal.issues


def by_hooks(body: bytes) -> object:
    json_body._refuse_size(body, json_body.MAX_BYTES)
    return json_body._read_by_hooks(body, 60)


@pytest.mark.parametrize("body", BODIES, ids=repr)
def test_both_readings_agree(body: bytes) -> None:
    assert outcome(parse_json, body) == outcome(by_hooks, body)


SIGNS = st.sampled_from(
    [*'{}[]:,"\\ua01-.eE \n', "true", "é", "\\u0061", '"a":', '{"a":1,', "\\ud83d\\ude00", "9" * 21]
)


@given(st.one_of(st.lists(SIGNS).map("".join).map(str.encode), st.binary(max_size=20)))
def test_both_readings_agree_on_any_signs(body: bytes) -> None:
    assert outcome(parse_json, body) == outcome(by_hooks, body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_both_readings_agree_on_what_others_write(value: object, is_ascii: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode("utf-8", "surrogatepass")
    assert outcome(parse_json, body) == outcome(by_hooks, body)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", '"', "\\"]), VALUES), max_size=4))
def test_a_name_given_twice_is_refused_wherever_it_stands(members: list[tuple[str, object]]) -> None:
    body = ("[{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members) + "}]").encode()
    names = [name for name, _ in members]
    assert outcome(parse_json, body) == outcome(by_hooks, body)
    if len(set(names)) < len(names):
        with pytest.raises(Refusal):
            parse_json(body)


def test_a_plain_body_is_read_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "_read_by_hooks", None)
    body = '{"a": [{"b": 1.50}, "é \\n \\"x\\" \\\\"], "c": {"a": null}}'.encode()
    assert parse_json(body) == {"a": [{"b": WrittenDecimal("1.50")}, 'é \n "x" \\'], "c": {"a": None}}


def test_what_is_written_to_read_a_body_is_what_is_written_of_it() -> None:
    value, written = parse_and_write('{"b": 1.50, "a": "é"}'.encode())
    assert written == dump_json(value)
