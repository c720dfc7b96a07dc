"""Door 4: which records a file holds, the line that each Condition gets, and that a bad line stops nothing."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from service import batch
from service.assist import Assist
from service.batch import Findings, Record, check_files, judge, read_records, written_whole
from service.settings import Settings

KEYS = {"input", "line", "condition", "disposition", "suggestions", "candidates", "ask", "issues", "release"}
STENOSIS = "Biomechanical lesion: ligamentum flavum hypertrophy narrows the neural canal at L4-L5"


def condition(text: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "subject": {"reference": "Patient/p"}, "code": {"text": text}, **more}


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in resources]}


def parameters(on: str, *conditions: dict[str, Any]) -> dict[str, Any]:
    given = [{"name": "condition", "resource": each} for each in conditions]
    return {"resourceType": "Parameters", "parameter": [*given, {"name": "dateOfService", "valueDate": on}]}


def ndjson(*resources: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(resource).encode() + b"\n" for resource in resources)


def records(name: str, content: bytes) -> list[Record]:
    return list(read_records(name, io.BytesIO(content)))


def record(resource: dict[str, Any] | bytes, line: int = 1) -> Record:
    body = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
    return Record("in.ndjson", line, body, len(body), is_line=True)


def lines(findings: Findings) -> list[dict[str, Any]]:
    return [json.loads(line) for line in findings.lines.splitlines()]


# --- which records a file holds


@pytest.mark.parametrize("name", ["in.ndjson", "in.json", "-"])
def test_each_line_of_ndjson_is_a_record_and_blank_lines_count_as_lines(name: str) -> None:
    found = records(name, b'{"a": 1}\n\r\n{"a": 2}\r\n')
    assert [(each.line, json.loads(each.body)) for each in found] == [(1, {"a": 1}), (3, {"a": 2})]


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_a_json_file_is_one_record_however_it_is_indented(indent: int | None) -> None:
    found = records("in.json", json.dumps(bundle(condition("a"), condition("b")), indent=indent).encode())
    assert [(each.line, json.loads(each.body)["resourceType"]) for each in found] == [(1, "Bundle")]


def test_a_bundle_with_an_entry_on_each_line_is_still_one_record() -> None:
    content = b'{"resourceType": "Bundle", "type": "collection", "entry": [\n{"resource": {}}\n]}\n'
    assert len(records("in.json", content)) == 1


def test_ndjson_whose_first_line_is_broken_is_still_ndjson() -> None:
    found = records("-", b'{"resourceType": "Condi\n' + ndjson(condition("a")))
    assert [each.line for each in found] == [1, 2]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_anything_holds_no_record(content: bytes) -> None:
    assert records("in.json", content) == []


def test_an_endless_line_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_RECORD", 100)
    found = records("in.ndjson", b"x" * 100_000 + b'\n{"a": 1}\n')
    assert [(each.line, each.size) for each in found] == [(1, 100_001), (2, 9)]
    assert len(found[0].body) < 200


def test_the_sizes_of_the_records_add_up_to_the_file() -> None:
    content = ndjson(condition("a"), condition("b"))
    assert sum(each.size for each in records("in.ndjson", content)) == len(content)


# --- the line that a Condition gets


@pytest.mark.proves("contract: batch output")
def test_a_condition_gets_a_line_with_exactly_these_keys(assist: Assist) -> None:
    [line] = lines(judge(record(parameters("2026-11-16", condition(STENOSIS, id="c1")), line=7), assist))
    assert set(line) == KEYS
    assert (line["input"], line["line"], line["condition"]) == ("in.ndjson", 7, "Condition/c1")
    assert (line["disposition"], line["suggestions"]) == ("code-supported", ["M99.43"])
    assert "function" in line["ask"]
    assert all(set(issue) == {"code", "severity", "expression", "rule"} for issue in line["issues"])


@pytest.mark.proves("contract: batch output")
def test_the_release_is_that_of_the_date_of_service(assist: Assist) -> None:
    [line] = lines(judge(record(parameters("2025-11-16", condition(STENOSIS))), assist))
    assert set(line["release"]) == {"date", "pack", "packVersion", "icd10cm", "software"}
    assert (line["release"]["date"], line["release"]["icd10cm"]) == ("2025-11-16", "2026")


@pytest.mark.proves("date-of-service-is-given")
def test_a_bare_condition_is_judged_as_before_a_claim_where_recorded_date_is_no_date_of_service(assist: Assist) -> None:
    [line] = lines(judge(record(condition(STENOSIS, recordedDate="2026-11-16")), assist))
    assert {"code": "dos.missing", "severity": "error"}.items() <= line["issues"][-1].items()


def test_a_condition_with_nothing_to_say_gets_a_line_only_on_demand(assist: Assist) -> None:
    asthma = record(parameters("2026-11-16", condition("Asthma")))
    assert lines(judge(asthma, assist)) == []
    [line] = lines(judge(asthma, assist, every=True))
    assert (line["disposition"], line["issues"]) == ("out-of-scope", [])
    assert judge(asthma, assist).tally.dispositions == {"out-of-scope": 1}


def test_what_concerns_the_claim_as_a_whole_has_a_line_of_its_own(assist: Assist) -> None:
    def diagnosis(sequence: int, code: str) -> dict[str, Any]:
        coding = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code}
        return {"sequence": sequence, "diagnosisCodeableConcept": {"coding": [coding]}}

    claim = {
        "resourceType": "Claim", "id": "k1", "status": "active", "use": "claim", "type": {"text": "professional"},
        "patient": {"reference": "Patient/p"}, "provider": {"reference": "Practitioner/d"}, "created": "2026-11-16",
        "priority": {"text": "normal"}, "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "x"}}],
        "diagnosis": [diagnosis(1, "G99.2"), diagnosis(2, "M99.41")],
        "billablePeriod": {"start": "2026-11-16"},
        "item": [{"sequence": 1, "productOrService": {"text": "visit"}, "diagnosisSequence": [1]}],
    }  # fmt: skip
    findings = judge(record(claim), assist)
    whole = lines(findings)[-1]
    assert set(whole) == KEYS
    assert (whole["condition"], whole["disposition"]) == ("Claim/k1", None)
    assert [issue["code"] for issue in whole["issues"]] == ["code.manifestation-first"]
    assert findings.tally.conditions == 2


# --- what cannot be read


@pytest.mark.proves("contract: batch output")
def test_a_bad_line_says_where_and_why_and_the_batch_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "in.ndjson"
    file.write_bytes(ndjson(condition(STENOSIS)) + b'{"resourceType": "Condition", \n' + ndjson(condition(STENOSIS)))
    output = io.BytesIO()
    tally = check_files([str(file)], output, Settings())
    first, second, third = map(json.loads, output.getvalue().splitlines())
    assert (first["line"], third["line"]) == (1, 3)
    assert set(second) == {"input", "line", "error"}
    assert second["error"].startswith("The line is not JSON: the first error is at line 2, column 30")
    assert (tally.records, tally.conditions, tally.unreadable, tally.exit_status) == (3, 2, 1, 2)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", "not a JSON object"),
        (b'{"resourceType": "Patient"}', "Neither a Condition nor a Claim"),
        (b'{"resourceType": "Condition", "code": {"text": "x"}}', "Condition.subject is missing"),
        (b"\xff\xfe{}", "UTF-8"),
        (b"\x00", "not JSON"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_an_unreadable_record_is_one_line_with_a_sentence(assist: Assist, body: bytes, why: str) -> None:
    [line] = lines(judge(record(body), assist))
    assert why in line["error"]


def test_of_many_faults_the_first_are_told_and_the_others_counted(assist: Assist) -> None:
    [line] = lines(judge(record({"resourceType": "Claim"}), assist))
    assert line["error"].startswith("Claim.created is missing")
    assert line["error"].endswith("And 5 more.")


def test_a_record_that_is_too_large_is_told_with_its_size(assist: Assist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_RECORD", 100)
    [too_large] = records("in.ndjson", b"x" * 5000)
    assert "The line has 5000 bytes and at most 100" in lines(judge(too_large, assist))[0]["error"]


def test_a_crash_on_one_record_is_told_without_the_patients_words(
    assist: Assist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyError("Mrs Smith")

    monkeypatch.setattr(Assist, "answer", crash)
    findings = judge(record(condition("Mrs Smith")), assist)
    [line] = lines(findings)
    assert "KeyError, test_batch.py:" in line["error"]
    assert "Smith" not in line["error"]
    assert findings.tally.exit_status == 2


# --- the whole run


@pytest.mark.parametrize(
    ("resource", "status"),
    [(parameters("2026-11-16", condition("Asthma")), 0), (condition("Asthma"), 1), ({"resourceType": "Patient"}, 2)],
)
@pytest.mark.proves("contract: exit status 0 nothing in error, 1 errors found, 2 unreadable lines")
def test_the_exit_status_tells_errors_and_unreadable_lines(
    assist: Assist, resource: dict[str, Any], status: int
) -> None:
    assert judge(record(resource), assist).tally.exit_status == status


def test_two_workers_write_the_same_as_one_in_the_order_of_the_input(tmp_path: Path) -> None:
    file = tmp_path / "in.ndjson"
    file.write_bytes(b"".join(ndjson(condition(STENOSIS, id=f"c{n}")) + b"?\n" for n in range(70)))
    one, two = io.BytesIO(), io.BytesIO()
    figures = [
        check_files([str(file)] * 2, output, Settings(), workers=n, every=True) for n, output in ((1, one), (2, two))
    ]
    assert two.getvalue() == one.getvalue()
    assert figures[0] == figures[1]
    assert [json.loads(line)["line"] for line in one.getvalue().splitlines()] == [*range(1, 141)] * 2


def test_reading_runs_only_a_little_ahead_of_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "CHUNK_RECORDS", 2)
    read = 0

    def many() -> Any:
        nonlocal read
        for read in range(1, 1001):  # noqa: B007  # counted for the assertion below
            yield record(b"?")

    findings = batch.judge_all(many(), Settings(), workers=2, every=False)
    next(findings)
    findings.close()  # type: ignore[attr-defined]
    assert read < 30


def test_a_file_appears_under_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "out.ndjson"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), written_whole(target) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old"
    with written_whole(target) as stream:
        stream.write(b"whole")
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]
