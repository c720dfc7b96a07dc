"""Door 4, many records: which lines a file holds, what is joined, what a kill leaves, what a bad line does."""

import gzip
import io
import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service import batch, bulk, bulk_files, bulk_output
from service.assist import Assist
from service.batch import Record, Tally, judge
from service.bulk import Knowledge, check_files, records_of
from service.bulk_output import Journal, unfinished
from service.settings import Settings

STENOSIS = "Biomechanical lesion: ligamentum flavum hypertrophy narrows the neural canal at L4-L5"
DATA = Path(__file__).parent / "data"
Json = dict[str, Any]


def condition(number: int, text: str = STENOSIS, visit: int | None = None, **more: Any) -> Json:
    met = {"encounter": {"reference": f"Encounter/e{visit}"}} if visit is not None else {}
    patient = number if visit is None else visit
    subject = {"reference": f"Patient/p{patient}"}
    return {"resourceType": "Condition", "id": f"c{number}", "subject": subject, "code": {"text": text}, **met, **more}


def encounter(visit: int, on: str = "2026-11-16", **more: Any) -> Json:
    outpatient = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    about = {"subject": {"reference": f"Patient/p{visit}"}, "period": {"start": on, "end": on}}
    return {"resourceType": "Encounter", "id": f"e{visit}", "status": "finished", "class": outpatient, **about, **more}


def report(visit: int, conclusion: str, **more: Any) -> Json:
    about = {
        "code": {"text": "MRI lumbar spine"},
        "subject": {"reference": f"Patient/p{visit}"},
        "encounter": {"reference": f"Encounter/e{visit}"},
        "effectiveDateTime": "2026-11-10",
    }
    return {
        "resourceType": "DiagnosticReport", "id": f"r{visit}", "status": "final", "conclusion": conclusion,
        **about, **more,
    }  # fmt: skip


def ndjson(*resources: Json | bytes) -> bytes:
    lines = (each if isinstance(each, bytes) else json.dumps(each).encode() for each in resources)
    return b"".join(line + b"\n" for line in lines)


def records(folder: Path, name: str, content: bytes) -> list[Record]:
    (folder / name).write_bytes(content)
    return list(records_of([str(folder / name)], folder))


def without_place(line: Json) -> Json:
    return {key: value for key, value in line.items() if key not in ("input", "line")}


class Checked:
    """What a run over some files wrote and counted."""

    def __init__(self, folder: Path, *contents: bytes, names: list[str] | None = None, **options: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.names = [str(folder / (names[n] if names else f"{n}.ndjson")) for n in range(len(contents))]
        for name, content in zip(self.names, contents, strict=True):
            Path(name).write_bytes(content)
        output = io.BytesIO()
        self.tally = check_files(self.names, output, Settings(), folder=folder, **options)
        self.lines: list[Json] = [json.loads(line) for line in output.getvalue().splitlines()]

    def by_condition(self) -> dict[str, Json]:
        found = {line["condition"]: without_place(line) for line in self.lines}
        assert len(found) == len(self.lines)
        return found


# --- which records a file holds


@pytest.mark.parametrize("name", ["in.ndjson", "in.json", "in"])
def test_each_line_of_ndjson_is_a_record_and_blank_lines_count_as_lines(tmp_path: Path, name: str) -> None:
    found = records(tmp_path, name, b'{"a": 1}\n\r\n{"a": 2}\r\n')
    assert [(each.line, json.loads(each.body)) for each in found] == [(1, {"a": 1}), (3, {"a": 2})]


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_a_json_file_is_one_record_however_it_is_indented(tmp_path: Path, indent: int | None) -> None:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": condition(1)}]}
    found = records(tmp_path, "in.json", json.dumps(bundle, indent=indent).encode())
    assert [(each.line, json.loads(each.body)["resourceType"]) for each in found] == [(1, "Bundle")]


def test_a_bundle_with_an_entry_on_each_line_is_still_one_record(tmp_path: Path) -> None:
    content = b'{"resourceType": "Bundle", "type": "collection", "entry": [\n{"resource": {}}\n]}\n'
    assert len(records(tmp_path, "in.json", content)) == 1


def test_ndjson_whose_first_line_is_broken_is_still_ndjson(tmp_path: Path) -> None:
    found = records(tmp_path, "in", b'{"resourceType": "Condi\n' + ndjson(condition(1)))
    assert [each.line for each in found] == [1, 2]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_anything_holds_no_record(tmp_path: Path, content: bytes) -> None:
    assert records(tmp_path, "in.json", content) == []


def test_an_endless_line_is_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_files, "MAX_RECORD", 100)
    monkeypatch.setattr(bulk_files, "PART_BYTES", 50)
    found = records(tmp_path, "in.ndjson", b"x" * 100_000 + b'\n{"a": 1}\n')
    assert [(each.line, each.size) for each in found] == [(1, 100_001), (2, 9)]
    assert len(found[0].body) < 200


@pytest.mark.parametrize("part", [1, 2, 7, 100, 1000])
def test_a_file_has_the_same_lines_wherever_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    lines = [b"a" * n for n in (1, 40, 0, 3, 7, 6, 8, 200, 0, 0, 5)]
    monkeypatch.setattr(bulk_files, "PART_BYTES", part)
    found = records(tmp_path, "in.ndjson", b"\n".join(lines))
    assert [(r.line, r.body) for r in found] == [(n, line) for n, line in enumerate(lines, 1) if line]


def test_a_packed_file_is_read_like_the_file_itself(tmp_path: Path) -> None:
    content = ndjson(condition(1), b"?", condition(2))
    plain = Checked(tmp_path / "a", content).lines
    packed = Checked(tmp_path / "b", gzip.compress(content), names=["in.ndjson.gz"]).lines
    assert [line | {"input": ""} for line in packed] == [line | {"input": ""} for line in plain]


def test_a_packed_file_that_is_cut_off_is_refused_by_name(tmp_path: Path) -> None:
    content = gzip.compress(random.Random(1).randbytes(100_000))
    with pytest.raises(batch.Refusal, match=r"in\.gz is not a whole gzip file"):
        Checked(tmp_path, content[:50_000], names=["in.gz"])


# --- each Condition by itself


@pytest.mark.proves("contract: batch output")
def test_a_bad_line_says_where_and_why_and_the_batch_goes_on(tmp_path: Path) -> None:
    checked = Checked(tmp_path, ndjson(condition(1), b'{"resourceType": "Condition", ', condition(2)))
    first, second, third = checked.lines
    assert (first["line"], third["line"]) == (1, 3)
    assert set(second) == {"input", "line", "error"}
    assert (second["line"], second["error"].split(";")[0]) == (
        2, "The line is not JSON: the first error is at column 30",
    )  # fmt: skip
    tally = checked.tally
    assert (tally.records, tally.conditions, tally.unreadable, tally.exit_status) == (3, 2, 1, 2)


def test_what_lies_outside_the_families_is_counted_and_on_demand_judged_in_full(tmp_path: Path) -> None:
    content = ndjson(condition(1, "Asthma"), condition(2))
    short, full = Checked(tmp_path / "a", content), Checked(tmp_path / "b", content, every=True)
    assert (short.tally.passed_over, [line["line"] for line in short.lines]) == (1, [2])
    assert (full.tally.passed_over, [line["disposition"] for line in full.lines]) == (
        0, ["out-of-scope", "code-supported"],
    )  # fmt: skip


def test_what_turns_out_to_lie_outside_only_when_it_is_read_is_passed_over_all_the_same(
    tmp_path: Path, assist: Assist
) -> None:
    rows = [condition(n, "Root canal stenosis, upper left molar") for n in (1, 2)]
    content = ndjson(*rows, condition(3, "Stenosis of the foramen magnum"))
    assert list(assist.gate.passing(content).indexes) == [0, 1, 2]
    checked = Checked(tmp_path, content)
    assert [line["line"] for line in checked.lines] == [3]
    assert (checked.tally.records, checked.tally.conditions, checked.tally.passed_over) == (3, 1, 2)
    assert checked.tally.issues.total() == len(checked.lines[0]["issues"])


def test_a_copied_answer_is_the_answer_that_the_condition_would_have_got(tmp_path: Path, assist: Assist) -> None:
    rows = [condition(n, recordedDate=f"2026-11-{n:02}") for n in range(10, 20)]
    checked = Checked(tmp_path, ndjson(*rows))
    for row, line in zip(rows, checked.lines, strict=True):
        body = json.dumps(row).encode()
        assert judge(Record(checked.names[0], line["line"], body, len(body), is_line=True), assist).rows == [line]
    assert checked.tally.dispositions == {"code-supported": 10}


def test_words_that_say_the_same_get_the_answer_that_each_would_have_got(
    tmp_path: Path, assist: Assist, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Record] = []
    monkeypatch.setattr(bulk, "judge", lambda record, *_, **every: judged.append(record) or judge(record, *_, **every))
    files = [DATA / "statements.jsonl", DATA / "reports.jsonl"]
    texts = [json.loads(line)["text"] for file in files for line in file.read_text("utf-8").splitlines()]
    bodies = [json.dumps(condition(n, text)).encode() for n, text in enumerate(texts) if len(text) < 250]
    checked = Checked(tmp_path, ndjson(*bodies), every=True)
    alone = [judge(Record(checked.names[0], n, body, len(body), is_line=True), assist, every=True)
             for n, body in enumerate(bodies, 1)]  # fmt: skip
    assert checked.lines == [row for found in alone for row in found.rows]
    assert checked.tally.dispositions == sum((found.tally.dispositions for found in alone), Counter[str]())
    assert len(judged) < 0.8 * len(bodies)


def test_words_on_which_the_reader_fails_are_one_unreadable_line(
    tmp_path: Path, assist: Assist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError

    monkeypatch.setattr(assist.reader, "read", fail)
    content = ndjson(condition(1), condition(2, "Asthma"))
    checked = Checked(tmp_path, content, known=Knowledge(Settings(), assist))
    assert checked.lines[0]["error"].startswith("The service failed on this record (ValueError")
    assert (checked.tally.unreadable, checked.tally.passed_over) == (1, 1)


def test_two_workers_write_the_same_as_one_in_the_order_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_files, "PART_BYTES", 2000)
    content = ndjson(*(each for n in range(70) for each in (condition(n), b"?")))
    one = Checked(tmp_path, content, content, every=True)
    two = Checked(tmp_path, content, content, every=True, workers=2)
    assert two.lines == one.lines
    assert two.tally == one.tally
    assert [line["line"] for line in one.lines] == [*range(1, 141)] * 2


def test_parts_with_little_to_judge_are_taken_several_at_a_time_and_come_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = ndjson(*(condition(n, STENOSIS if n % 60 == 59 or n > 600 else "Asthma") for n in range(700)), b"?")
    whole = Checked(tmp_path, content, b"\n", content)
    taken: list[int] = []
    together = bulk._check_parts
    monkeypatch.setattr(bulk, "_check_parts", lambda parts: taken.append(len(parts)) or together(parts))
    monkeypatch.setattr(bulk_files, "PART_BYTES", 2000)
    found = Checked(tmp_path, content, b"\n", content)
    assert (found.lines, found.tally) == (whole.lines, whole.tally)
    assert set(taken) >= {1, bulk.PARTS_TOGETHER}


def test_workers_of_a_process_with_other_threads_write_the_same(tmp_path: Path) -> None:
    content = ndjson(condition(1), condition(2, "Asthma"))
    with ThreadPoolExecutor(1) as pool:  # its thread must not be copied, so the workers read the knowledge themselves
        pool.submit(abs, 1).result()
        lines = Checked(tmp_path, content, workers=2).lines
    assert lines == Checked(tmp_path, content).lines


def test_reading_runs_only_a_little_ahead_of_what_is_written() -> None:
    read = 0

    def many() -> Iterator[int]:
        nonlocal read
        while read < 1000:
            read += 1
            yield read

    with ThreadPoolExecutor(2) as pool:
        results = bulk._in_processes(pool, abs, many(), 6)  # type: ignore[arg-type]  # threads will do
        next(results)
        assert read < 10


# --- joined


def export(visits: int = 12) -> list[Json]:
    """Of each visit an encounter, a report and two Conditions; what they say differs from visit to visit."""
    texts = ["Lumbar spinal stenosis", STENOSIS, "Low back pain", "Asthma"]
    told = ["Ligamentum flavum hypertrophy narrows the canal at L4-L5.", "Normal chest.", "Canal stenosis at L3-4."]
    return [
        row
        for n in range(visits)
        for row in (
            encounter(n, serviceProvider={"display": f"Clinic {n % 2}"}),
            report(n, told[n % 3]),
            condition(2 * n, texts[n % 4], n),
            condition(2 * n + 1, "Hypertension", n),
        )
    ]


def as_bundles(rows: list[Json], assist: Assist) -> dict[str, Json]:
    """The lines of the same visits, each sent as a Bundle."""
    found = {}
    for visit in {str(row["encounter"]["reference"]) for row in rows if row["resourceType"] == "Condition"}:
        own = [r for r in rows if visit in (f"Encounter/{r['id']}", r.get("encounter", {}).get("reference"))]
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in own]}
        body = json.dumps(bundle).encode()
        for line in judge(Record("", 1, body, len(body), is_line=True), assist).rows:
            found[line["condition"]] = without_place(line)
    return found


def test_a_visit_in_an_export_gets_what_its_bundle_would_get(tmp_path: Path, assist: Assist) -> None:
    rows = export()
    joined = Checked(tmp_path, ndjson(*rows)).by_condition()
    assert joined == as_bundles(rows, assist)
    assert len(joined) >= 6


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_join_holds_in_any_order_and_over_several_files(tmp_path: Path, seed: int) -> None:
    rows = export()
    expected = Checked(tmp_path / "a", ndjson(*rows)).by_condition()
    random.Random(seed).shuffle(rows)
    files = [ndjson(*rows[n::3]) for n in range(3)]
    packed = gzip.compress(files[1])
    found = Checked(tmp_path / "b", files[0], packed, files[2], names=["0.ndjson", "1.ndjson.gz", "2.ndjson"])
    # A visit whose Conditions stand in another order lists them so; what is said of each is the same.
    assert found.by_condition() == expected


def test_a_report_on_the_last_line_still_reaches_the_condition_on_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_files, "PART_BYTES", 1000)
    rows = [condition(1, visit=1), *(condition(n, "Asthma") for n in range(10, 60)), encounter(1)]
    [alone] = Checked(tmp_path / "a", ndjson(*rows)).lines
    [joined] = Checked(tmp_path / "b", ndjson(*rows, report(1, "Facet hypertrophy narrows the canal at L4-5."))).lines
    flags = [{issue["code"] for issue in line["issues"]} for line in (alone, joined)]
    assert ["doc.imaging-missing" in each for each in flags] == [True, False]
    assert alone["line"] == joined["line"] == 1


def test_a_visit_is_judged_on_its_date(tmp_path: Path) -> None:
    coding = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "J45.909"}
    asthma = condition(1, "Asthma", 1) | {"code": {"coding": [coding]}}
    assert Checked(tmp_path / "a", ndjson(asthma, encounter(1))).lines == []
    [line] = Checked(tmp_path / "b", ndjson(asthma, encounter(1, "2014-03-01"))).lines
    assert [issue["code"] for issue in line["issues"]] == ["code.not-valid-on-dos"]


def test_two_codes_of_a_visit_that_exclude_each_other_are_told(tmp_path: Path) -> None:
    def coded(number: int, code: str) -> Json:
        coding = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code}
        return condition(number, "", 1) | {"code": {"coding": [coding]}}

    lines = Checked(tmp_path, ndjson(coded(1, "E10.9"), coded(2, "E11.9"), encounter(1))).lines
    assert [issue["code"] for line in lines for issue in line["issues"]] == ["code.excludes1"]


def test_a_report_of_another_encounter_grounds_only_what_the_visit_is_about(tmp_path: Path) -> None:
    earlier = report(1, "Ligamentum flavum hypertrophy narrows the canal at L4-L5.")
    earlier["encounter"] = {"reference": "Encounter/mri"}
    lumbar = ndjson(condition(1, visit=1), encounter(1), earlier)
    [line] = Checked(tmp_path / "a", lumbar).lines
    assert "doc.imaging-missing" not in {issue["code"] for issue in line["issues"]}
    assert Checked(tmp_path / "b", ndjson(condition(1, "Asthma", 1), encounter(1), earlier)).lines == []


def test_a_bad_row_of_an_export_is_told_once_and_the_rest_of_its_visit_is_judged(tmp_path: Path) -> None:
    bad = report(1, "x", status="nonsense") | {"encounter": {}, "subject": {"reference": "Patient/p1"}}
    rows = [condition(1, visit=1), condition(2, visit=2), encounter(1), encounter(2), bad]
    rows[1]["subject"] = rows[3]["subject"] = {"reference": "Patient/p1"}
    lines = Checked(tmp_path, ndjson(*rows, b"{")).lines
    assert sorted(line["line"] for line in lines if "error" in line) == [5, 6]
    assert sorted(line["condition"] for line in lines if "error" not in line) == ["Condition/c1", "Condition/c2"]


def test_two_workers_join_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_files, "PART_BYTES", 2000)
    content = ndjson(*export(30), b"?")
    one, two = Checked(tmp_path, content), Checked(tmp_path, content, workers=2)
    assert (two.lines, two.tally) == (one.lines, one.tally)


def test_the_figures_name_rule_region_clinic_and_question(tmp_path: Path) -> None:
    tally = Checked(tmp_path, ndjson(*export())).tally
    assert tally.clinics["Clinic 1", "code-supported"] == 3
    assert tally.regions["lumbar", "code-supported"] == 3
    assert tally.rules["tissue-is-stated", "warning"] > 0
    assert tally.asks["tissue"] > 0
    assert tally.records == 48
    assert tally.conditions + tally.passed_over == 24


# --- after a kill


class Killed(BaseException):
    """Stands in for the end of the process."""


@pytest.mark.parametrize("after", [1, 2, 5])
@pytest.mark.parametrize("judged", ["many", "few", "joined"])
def test_a_run_that_was_killed_goes_on_without_a_lost_or_doubled_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, judged: str
) -> None:
    joined = judged == "joined"
    every = {"many": 2, "few": 60, "joined": 1}[judged]
    monkeypatch.setattr(bulk_output, "KEPT_EVERY", 0)
    monkeypatch.setattr(bulk_files, "PART_BYTES", 3000)
    monkeypatch.setattr(bulk, "VISITS_AT_ONCE", 2)
    file, output = tmp_path / "in.ndjson", tmp_path / "out.ndjson"
    rows = export(40) if joined else [condition(n, "Asthma" if n % every else STENOSIS) for n in range(300)]
    file.write_bytes(ndjson(*rows))
    whole = Checked(tmp_path / "whole", file.read_bytes())

    def run(progress: Any = lambda share, records: None) -> Tally:
        with unfinished(output, [str(file)], Settings(), every=False) as work:
            done.append(work.journal.done)
            return check_files(
                [str(file)], work.findings, Settings(), folder=work.folder, journal=work.journal, progress=progress
            )

    done: list[int] = []
    shares: list[float] = []

    def die(share: float, records: int) -> None:
        shares.append(share)
        if (share >= 0.5 or not joined) and sum(each >= 0.5 or not joined for each in shares) > after:
            work = next(tmp_path.glob(".out.ndjson.part/findings.ndjson"))
            with work.open("ab") as stream:
                stream.write(b'{"half a line')
            raise Killed

    with pytest.raises(Killed):
        run(die)
    assert not output.exists()
    tally = run()
    assert done == [0, done[1]]
    assert done[1] >= after
    found = [json.loads(line) | {"input": ""} for line in output.read_text().splitlines()]
    assert found == [line | {"input": ""} for line in whole.lines]
    assert tally == whole.tally
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.ndjson", "out.ndjson", "whole"]


def test_other_inputs_do_not_go_on_where_a_killed_run_ended(tmp_path: Path) -> None:
    path, output = tmp_path / "journal.json", (tmp_path / "f").open("w+b")
    with output:
        output.write(b"found")
        old = Journal(path, "one")
        old._kept_at = 0
        old.keep(output, Tally(records=3), (0, 3))
        new = Journal(path, "other")
        new.resume(output)
        assert (new.done, output.tell()) == (0, 0)
