"""The gate of the batch lets go only what the core has nothing to say about."""

from __future__ import annotations

import csv
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.assist import Assist, open_assist
from service.batch import Record, judge
from service.settings import Settings
from service.shipped import terminology_dir

DATA = Path(__file__).parent / "data"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
ASSIST = open_assist(Settings())
GATE = ASSIST.gate
STATEMENTS = [json.loads(line)["text"] for line in (DATA / "statements.jsonl").read_text("utf-8").splitlines()]
REPORTS = [json.loads(line)["text"] for line in (DATA / "reports.jsonl").read_text("utf-8").splitlines()]
RECORDS = [
    condition
    for line in (DATA / "records.jsonl").read_text("utf-8").splitlines()
    for condition in json.loads(line)["input"].get("conditions", ())
]
CODE_LINES = gzip.decompress((terminology_dir() / "icd-10-cm" / "codes.csv.gz").read_bytes()).decode().splitlines()
CODES = list(csv.reader(CODE_LINES))[1:]
Json = dict[str, Any]


def condition(text: str = "", **more: Any) -> Json:
    code = {"code": {"text": text}} if text else {}
    return {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"}, **code, **more}


def coded(code: str, display: str = "", system: str = ICD, **more: Any) -> Json:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return condition(code={"coding": [coding]}, **more)


def passes(row: Json | bytes) -> bool:
    """Whether a row passes with its words read; then it passes unread all the more."""
    line = row if isinstance(row, bytes) else json.dumps(row).encode()
    found = GATE.passes(line)
    assert bool(GATE.passing(line + b"\n").indexes) >= found
    return found


def is_spoken_about(row: Json, assist: Assist = ASSIST) -> bool:
    """Whether the core says more about a row that it can read than that it lacks a date of service."""
    body = json.dumps(row).encode()
    lines = judge(Record("", 1, body, len(body), is_line=True), assist, every=True).rows
    return any(
        line["disposition"] not in ("out-of-scope", "not-assessed")
        or line["suggestions"] or line["candidates"] or line["ask"]
        or any(issue["code"] != "dos.missing" for issue in line["issues"])
        for line in lines
        if "error" not in line
    )  # fmt: skip


def misspelled(text: str, draw: random.Random, times: int) -> str:
    """A text with letters left out, doubled, swapped or replaced, and blanks gone or become hyphens."""
    for _ in range(times):
        at = draw.randrange(max(1, len(text) - 1))
        left, one, two, right = text[:at], text[at : at + 1], text[at + 1 : at + 2], text[at + 2 :]
        other = draw.choice("aeinrst")
        changed = [two, one + one + two, two + one, other + two, one.upper() + two]
        text = left + draw.choice(changed if one.isalpha() else [*changed, two, f"-{two}"]) + right
    return text


# --- a superset


@pytest.mark.parametrize("text", STATEMENTS, ids=range(len(STATEMENTS)))
def test_every_statement_that_the_core_speaks_about_passes(text: str) -> None:
    assert passes(condition(text)) >= is_spoken_about(condition(text))


@pytest.mark.parametrize("broken", ["steno sis", "steno-\nsis", "STENO\nSIS"])
def test_a_word_broken_by_a_blank_or_a_line_passes(broken: str) -> None:
    row = coded("M54.50", note=[{"text": f"Low back. Lumbar canal {broken} at L4/5 due to disc herniation."}])
    assert is_spoken_about(row)
    assert passes(row)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(STATEMENTS), st.integers(0, 2**32), st.integers(1, 8))
def test_a_misspelled_statement_that_the_core_speaks_about_passes(text: str, seed: int, times: int) -> None:
    row = condition(misspelled(text, random.Random(seed), times))
    assert passes(row) >= is_spoken_about(row)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(REPORTS), st.integers(0, 2**32), st.sampled_from(["note", "evidence", "code"]))
def test_a_text_that_the_core_speaks_about_passes_wherever_it_stands(text: str, seed: int, where: str) -> None:
    words = misspelled(text, random.Random(seed), 3)
    beside = {"note": [{"text": words}], "evidence": [{"code": [{"text": words}]}], "code": {"text": words}}
    row = condition("Asthma") | {where: beside[where]}
    assert passes(row) >= is_spoken_about(row)


@pytest.mark.parametrize("number", range(len(RECORDS)))
def test_every_recorded_condition_that_the_core_speaks_about_passes(number: int) -> None:
    assert passes(RECORDS[number]) >= is_spoken_about(RECORDS[number])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(RECORDS), st.integers(0, 2**32))
def test_a_record_with_a_piece_changed_that_the_core_speaks_about_passes(row: Json, seed: int) -> None:
    draw = random.Random(seed)
    mutant = json.loads(json.dumps(row))
    code = mutant.setdefault("code", {})
    codings = code.setdefault("coding", [])
    change = draw.randrange(7)
    if change == 0:
        codings.append({"system": ICD, "code": draw.choice(CODES)[0]})
    elif change == 1:
        codings[:] = [{"system": draw.choice([ICD, "urn:oid:2.16.840.1.113883.6.90", "x"]), "code": "M9943"}]
    elif change == 2:
        code["text"] = draw.choice(STATEMENTS)
    elif change == 3:
        mutant["verificationStatus"] = {"coding": [{"code": draw.choice(["refuted", "entered-in-error", "x"])}]}
    elif change == 4:
        mutant["modifierExtension"] = [{"url": "http://example.org/x", "valueBoolean": True}]
    elif change == 5:
        mutant.pop(draw.choice(sorted(mutant.keys() - {"resourceType"})))
    else:
        codings[:] = [{"system": ICD, "code": draw.choice(CODES)[0], "display": draw.choice(CODES)[3]}]
    code["coding"] = codings or [{"display": "x"}]
    assert passes(mutant) >= is_spoken_about(mutant)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(CODES), st.sampled_from(CODES), st.sampled_from(["", "own", "other"]), st.booleans())
def test_a_code_that_the_core_speaks_about_passes(row: list[str], other: list[str], shown: str, extended: bool) -> None:
    display = {"": "", "own": row[3], "other": other[3]}[shown]
    given_code = coded(row[0] + ("XA" if extended else ""), display)
    assert passes(given_code) >= is_spoken_about(given_code)


@pytest.mark.parametrize("on", ["2014-01-01", "2016-05-05", "2020-12-31", "2025-03-31", "2026-10-01", "2040-01-01"])
def test_a_code_is_quiet_only_on_the_days_on_which_the_core_has_nothing_against_it(on: str) -> None:
    for row in random.Random(on).sample(CODES, 60):
        one = coded(row[0], row[3])
        body = {
            "resourceType": "Parameters",
            "parameter": [{"name": "condition", "resource": one}, {"name": "dateOfService", "valueDate": on}],
        }
        quiet = GATE.quiet_days(one["code"]) >> GATE.day_of(on) & 1
        assert not quiet or not is_spoken_about(body), (row[0], on)


# --- and a cheap one


@pytest.mark.parametrize(
    "row",
    [
        condition("Asthma"),
        condition("High blood pressure, well controlled"),
        condition("Closed fracture of bone of left hand"),
        coded("J45.909", "Unspecified asthma, uncomplicated"),
        coded("195967001", "Asthma", "http://snomed.info/sct"),
        condition("Asthma", note=[{"text": "Uses an inhaler; normal chest film."}]),
    ],
)
def test_what_lies_outside_the_families_does_not_pass(row: Json) -> None:
    assert not passes(row)


def test_a_long_text_with_a_word_that_may_matter_is_left_to_the_core() -> None:
    long = "Stenosis of the pylorus. " + "Vomiting since May. " * 100
    assert not passes(condition(long[:200]))
    assert passes(condition(long))
    assert not passes(condition("Vomiting since May. " * 100))


def test_of_the_titles_of_other_chapters_few_pass() -> None:
    others = [row for row in CODES if not row[0].startswith(("M", "Q", "S", "G"))]
    titles = [row[3] for row in random.Random(7).sample(others, 500)]
    assert sum(passes(condition(title)) for title in titles) <= 10


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b"\xff", b'{"resourceType":"Condition","code":5,"subject":{}}', b"[" * 100_000,
     b'{"resourceType":"Condition","code":{"text":"Asthma"}}', b'{"resourceType":"Condition","subject":{}}',
     b'{"resourceType":"Claim"}', b'{"resourceType":"Condition","subject":{},"code":{"coding":[5]}}',
     b'{"resourceType":"Condition","subject":{},"code":{"text":"Asthma"},"verificationStatus":"confirmed"}',
     b'{"resourceType":"Condition","subject":{},"code":{"text":"Asthma"},"verificationStatus":{"coding":[5]}}',
     b'{"resourceType":"Condition","subject":5,"code":{"text":"Asthma"}}'],
)  # fmt: skip
def test_what_the_core_would_refuse_to_read_passes(line: bytes) -> None:
    assert passes(line)


def test_rows_looked_at_together_pass_as_each_would_alone() -> None:
    own = [json.dumps(row).encode() for row in (*RECORDS[:20], condition("Asthma"), condition(STATEMENTS[0]))]
    odd = [b"{", b"", b"\xff", b'{"code":{}}{"code":{}}', b"[1]", own[0][:-1], b" "]
    lines = [each for row in own for each in (row, *odd)]
    alone = [index for index, line in enumerate(lines) if GATE.passing(line + b"\n").indexes]
    assert GATE.passing(b"\n".join(lines)) == (len(lines), alone)
    assert {own.index(line) for index, line in enumerate(lines) if line in own and index not in alone}


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize(
    "bad",
    [
        [b"%(row)b %(row)b", b""], [b"%(row)b,%(row)b", b""], [b"%(row)b,", b"%(row)b"], [b"{", b"%(inner)b}"],
        [b'{"a":"', b'",%(inner)b}', b"%(row)b,%(row)b"], [b'{"a":[1', b"2],%(inner)b}", b"%(row)b,%(row)b"],
        [b"%(row)b", b"", b"%(row)b%(row)b"], [b"%(row)b]", b"[%(row)b"], [b"%(row)b,%(row)b", b"{", b"%(inner)b}"],
    ],
)  # fmt: skip
def test_a_line_that_is_not_one_row_passes_whatever_lines_stand_around_it(bad: list[bytes], end: bytes) -> None:
    row = json.dumps(condition("Asthma")).encode()
    lines = [row, *[line % {b"row": row, b"inner": row[1:-1]} for line in bad], row]
    found = GATE.passing(b"\n".join(lines) + end)
    assert found.lines == len(lines)
    assert set(found.indexes) == {index for index, line in enumerate(lines) if line != row}


def test_a_sites_own_term_opens_the_gate(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    entry = {"kind": "narrowing", "value": "stenosis", "terms": ["pinchosis"]}
    file.write_text(
        json.dumps({"sources": {"ours": "a list of our own"}, "concepts": [entry], "spelled": ["pinchosis"]})
    )
    assist = open_assist(Settings(lexicon=file))
    gate = assist.gate
    row = condition("Pinchosis of the lumbar canal")
    assert is_spoken_about(row, assist)
    assert gate.passes(json.dumps(row).encode())
    assert not passes(row)
