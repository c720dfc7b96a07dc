"""Door 4: the line that each Condition gets, that a bad record is told, and which answers may be copied."""

import json
from inspect import isdatadescriptor
from pathlib import Path
from typing import Any

import pytest

from service import batch
from service.assist import Assist
from service.batch import Findings, Record, judge, meaning_of, wording_of, words_apart
from service.bulk_output import written_whole
from service.coding.model import Finding, Passage, Reading, Statement

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


def record(resource: dict[str, Any] | bytes, line: int = 1) -> Record:
    body = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
    return Record("in.ndjson", line, body, len(body), is_line=True)


def lines(findings: Findings) -> list[dict[str, Any]]:
    return findings.rows


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


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", "must be a JSON object"),
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
    assert "The line has 5000 bytes and at most 100" in lines(judge(record(b"x" * 5000), assist))[0]["error"]


def test_a_crash_on_one_record_is_told_without_the_patients_words(
    assist: Assist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
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


# --- Conditions of the same wording


def worded(line: dict[str, Any] | bytes) -> Any:
    found = wording_of(line if isinstance(line, bytes) else json.dumps(line).encode())
    return found and found[1]


def test_conditions_that_differ_in_whose_they_are_and_when_they_were_recorded_have_the_same_wording() -> None:
    one = condition(STENOSIS, id="a", recordedDate="2026-11-16", encounter={"reference": "Encounter/1"})
    other = one | {"id": "b", "recordedDate": "2020-01-01T08:00:00Z", "subject": {"reference": "Patient/q"}}
    assert worded(one) == worded(other) is not None
    assert (
        worded(one | by("Practitioner/d1")) == worded(other | by("Practitioner/d2")) != worded(one | by("Patient/p1"))
    )


def test_conditions_that_differ_in_when_they_were_stored_have_the_same_wording() -> None:
    def stored(version: str, on: str, *profile: str) -> Any:
        meta = {"versionId": version, "lastUpdated": f"{on}T08:00:00.123Z", "source": f"#{version}x"}
        return worded(condition(STENOSIS, id="a", meta=meta | ({"profile": profile} if profile else {})))

    assert stored("1", "2026-11-16") == stored("2", "2026-11-17") != stored("1", "2026-11-16", "http://example.org/p")
    assert stored("1", "2026-02-30") is None


@pytest.mark.parametrize("rest", ["versionId", "lastUpdated", "source"])
def test_a_key_that_stands_twice_in_meta_is_not_overlooked(rest: str) -> None:
    meta = b'"meta":{"versionId":"1","lastUpdated":"2026-11-16T08:00:00Z","source":"#1","%b":"x"}' % rest.encode()
    line = b'{"resourceType":"Condition","id":"a","subject":{"reference":"Patient/p"},%b}'
    assert ("meta", meta.partition(b":")[2]) in worded(line % meta)


def by(reference: str) -> dict[str, Any]:
    return {"asserter": {"reference": reference}}


@pytest.mark.parametrize(
    "changed",
    [
        {"code": {"text": "Asthma"}},
        {"note": [{"text": "x"}]},
        {"verificationStatus": {"text": "x"}},
        {"clinicalStatus": {"text": "x"}},
        {"onsetString": "x"},
    ],
)
def test_conditions_that_differ_in_anything_else_have_another_wording(changed: dict[str, Any]) -> None:
    assert worded(condition(STENOSIS, id="a") | changed) != worded(condition(STENOSIS, id="a"))


@pytest.mark.parametrize(
    "line",
    [
        condition(STENOSIS),
        condition(STENOSIS, id="a", recordedDate="2026-02-30"),
        condition(STENOSIS, id="a", recordedDate=2026),
        condition(STENOSIS, id="a b"),
        condition(STENOSIS, id="a", encounter={"reference": "Encounter/1", "x": 1}),
        {**condition(STENOSIS, id="a"), "subject": {"display": "x"}},
        b'{"resourceType":"Condition","id":"a","code":{"text":"x"},"code":{"text":"y"},"subject":{"reference":"Patient/p"}}',
        b"[]",
        b"?",
    ],
)
def test_a_condition_that_the_reader_might_refuse_is_never_answered_by_a_copy(line: dict[str, Any] | bytes) -> None:
    assert worded(line) is None


# --- words that say the same


def test_a_meaning_holds_all_that_is_said_but_where_it_stands() -> None:
    def fields(kind: type) -> set[str]:
        own = {name for name, member in vars(kind).items() if isdatadescriptor(member) and name[0] != "_"}
        return own - {"evidence", "steps", "author", "passage"}

    said = {"statements", "findings"}, {"element", "value", "assertion", "detail"}
    assert (fields(Reading), fields(Finding)) == said
    assert fields(Statement) == {
        "assertion", "narrowing", "space", "regions", "regions_joined", "causes", "listed", "framings",
        "cause_uncertain", "levels", "spine_only", "by_code",
    }  # fmt: skip


def test_words_that_say_the_same_have_one_meaning_and_others_another(assist: Assist) -> None:
    def meaning(text: str) -> Any:
        return meaning_of(assist.reader.read(Passage(text, "", "")))

    assert meaning(STENOSIS) == meaning(f"(3) {STENOSIS}, seen twice")
    for change in [
        ("L4-L5", "C4-C5"),
        ("narrows", "may narrow"),
        ("ligamentum flavum", "disc"),
        ("Biomechanical lesion: ", ""),
    ]:
        assert meaning(STENOSIS) != meaning(STENOSIS.replace(*change))


@pytest.mark.parametrize(
    ("text", "rests"),
    [
        ("Cervical canal narrowed by thick ligament at L4-L5", True),
        ("Canal narrowed by thick ligament, level not recorded", False),
        (STENOSIS, False),
    ],
)
def test_questions_rest_on_quotes_only_where_regions_that_are_named_are_asked_for(
    assist: Assist, text: str, rests: bool
) -> None:
    assert judge(record(condition(text)), assist).rests_on_quotes is rests


def test_words_stand_apart_from_the_wording_that_they_stand_in() -> None:
    coding = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M99.43"}]}
    one, other, coded = ({"text": "Stenosis"}, {"text": "Asthma"}, coding | {"text": "Stenosis"})
    found = [words_apart(worded(condition(STENOSIS, id="a") | {"code": code})) for code in (one, other, coded)]
    assert [each and each[0] for each in found] == ["Stenosis", "Asthma", "Stenosis"]
    [first, second, third] = [each and each[1] for each in found]
    assert first == second != third


def test_words_beyond_ascii_stand_apart_only_where_they_are_utf_8() -> None:
    line = '{"resourceType":"Condition","id":"a","code":{"text":"L4\u2013L5"},"subject":{"reference":"Patient/p"}}'
    apart = words_apart(worded(line.encode()))
    assert apart and apart[0] == "L4\u2013L5"
    cut = worded(line.encode().replace("\u2013".encode(), b"\xe2"))
    assert cut is None or words_apart(cut) is None


@pytest.mark.parametrize(
    "code",
    [
        {"text": "MRI of today: stenosis"},
        {"text": "L4\u2013L5 stenosis"},
        {"text": 'Stenosis of "neural" canal'},
        {"text": " stenosis"},
        {"text": "stenosis " * 30},
        {"text": ""},
        {"text": "stenosis", "id": "1"},
        {"coding": [{"display": "stenosis"}], "text": "stenosis"},
        {"coding": [{"display": "stenosis"}]},
    ],
)
def test_words_that_may_be_more_than_words_are_left_in_their_wording(code: dict[str, Any]) -> None:
    assert words_apart(worded(condition(STENOSIS, id="a") | {"code": code})) is None


# --- the output


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
