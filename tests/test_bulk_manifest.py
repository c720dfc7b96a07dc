"""A Bulk Data export is given by its manifest."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.bulk_manifest import with_manifests
from service.json_body import Refusal

CONDITION = {
    "resourceType": "Condition",
    "id": "c1",
    "subject": {"reference": "Patient/p"},
    "code": {"text": "Ligamentum flavum hypertrophy narrows the neural canal at L4-L5"},
}


def manifest(folder: Path, *output: tuple[str, str], **more: Any) -> str:
    files = [{"type": kind, "url": f"https://ehr.example/export/7/{name}"} for kind, name in output]
    page = {"transactionTime": "2026-11-16T08:00:00Z", "request": "x", "requiresAccessToken": True, "error": []}
    (folder / "manifest.json").write_text(json.dumps(page | {"output": files} | more))
    return str(folder / "manifest.json")


def test_a_manifest_stands_for_the_files_beside_it_that_the_batch_judges(tmp_path: Path) -> None:
    for name in ("Condition.1.ndjson", "DiagnosticReport.1.ndjson.gz", "Medication.1.ndjson"):
        (tmp_path / name).touch()
    given = manifest(
        tmp_path,
        ("Condition", "Condition.1.ndjson?token=x"),
        ("Medication", "Medication.1.ndjson"),
        ("DiagnosticReport", "DiagnosticReport.1.ndjson"),
    )
    assert with_manifests(["a.ndjson", given, "-"]) == [
        "a.ndjson",
        str(tmp_path / "Condition.1.ndjson"),
        str(tmp_path / "DiagnosticReport.1.ndjson.gz"),
        "-",
    ]


def test_a_file_that_was_not_downloaded_is_told_by_its_name(tmp_path: Path) -> None:
    given = manifest(tmp_path, ("Condition", "Condition.1.ndjson"))
    with pytest.raises(Refusal) as refused:
        with_manifests([given])
    [issue] = refused.value.issues
    assert issue.diagnostics == f"{given} names Condition.1.ndjson, which does not lie beside it; download it there."


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal):
        with_manifests([manifest(tmp_path, ("Condition", "a/c.ndjson"), ("Condition", "b/c.ndjson"))])


@pytest.mark.parametrize("url", ["", "/..", "%2e%2e", "a%5cb"])
def test_a_url_that_ends_in_no_file_name_is_refused(tmp_path: Path, url: str) -> None:
    given = manifest(tmp_path, output=[{"type": "Condition", "url": f"https://ehr.example/{url}"}])
    with pytest.raises(Refusal):
        with_manifests([given])


@pytest.mark.parametrize("content", ["[]", "{", '{"resourceType": "Bundle", "output": []}', '{"output": 5}'])
def test_another_json_file_is_no_manifest(tmp_path: Path, content: str) -> None:
    (tmp_path / "in.json").write_text(content)
    assert with_manifests([str(tmp_path / "in.json")]) == [str(tmp_path / "in.json")]


def test_the_command_checks_the_files_of_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "c.ndjson.gz").write_bytes(gzip.compress(json.dumps(CONDITION).encode()))
    given = manifest(tmp_path, ("Condition", "c.ndjson"))
    command = [sys.executable, "-m", "service.cli", "check", given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    [line] = [json.loads(each) for each in done.stdout.splitlines()]
    assert (line["condition"], line["input"]) == ("Condition/c1", str(tmp_path / "c.ndjson.gz"))
