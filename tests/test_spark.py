"""The batch on Apache Spark answers what the batch on one machine does; it needs pyspark and Java (docs/SPARK.md)."""

import gzip
import io
import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.bulk import check_files
from service.settings import Settings
from service.spark import COLUMNS, findings

pyspark_sql = pytest.importorskip("pyspark.sql", reason="pyspark is missing: pip install 'fhir-coding-assist[spark]'")
if not shutil.which("java"):
    pytest.skip("Java is missing, which Spark runs on (Debian: default-jre-headless)", allow_module_level=True)

Json = dict[str, Any]
TISSUES = ["ligamentum flavum hypertrophy", "disc bulge", "facet hypertrophy", "osteophytes", "subluxation", "scar"]
SPACES = ["neural canal", "spinal canal", "intervertebral foramen", "lateral recess", "foramina"]
LEVELS = ["C3-4", "C5-C6", "T11-12", "L3-L4", "L4-5", "L5-S1", "cervical level", "lumbar spine", "sacrum"]
OTHERS = [
    ("J45.909", "Unspecified asthma, uncomplicated"),
    ("I10", "Essential (primary) hypertension"),
    ("E11.9", "Type 2 diabetes mellitus without complications"),
    ("E10.9", "Type 1 diabetes"),
    ("I49", "Cardiac"),
]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    os.environ["PYSPARK_PYTHON"] = sys.executable  # else the workers are whatever python3 is
    building = pyspark_sql.SparkSession.builder.master("local[2]").config("spark.driver.host", "127.0.0.1")
    building = building.config("spark.driver.bindAddress", "127.0.0.1")
    session = building.config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "4").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


def statement(draw: random.Random) -> str:
    """One of many thousand wordings of a narrowing; a few are misspelled."""
    tissue, space, level = draw.choice(TISSUES), draw.choice(SPACES), draw.choice(LEVELS)
    said = draw.choice([f"{tissue} narrows the {space}", f"{space} narrowed by {tissue}", f"stenosis of the {space}"])
    text = f"{draw.choice(['Mild', 'Severe', 'Known'])} {said} at {level}, {draw.randrange(4, 14)} mm"
    at = draw.randrange(len(text) - 1)
    return text if draw.random() < 0.9 else text[:at] + text[at + 1 :]


def condition(number: int, draw: random.Random, visit: int | None, share: float) -> Json:
    code: Json = {"text": statement(draw)}
    if draw.random() > share:
        own, title = draw.choice(OTHERS)
        code = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": own, "display": title}]}
    met = {"encounter": {"reference": f"Encounter/e{visit}"}} if visit is not None and draw.random() < 0.9 else {}
    subject = {"subject": {"reference": f"Patient/p{(number if visit is None else visit) // 2}"}}
    note = {"note": [{"text": statement(draw)}]} if draw.random() < share / 10 else {}
    return {"resourceType": "Condition", "id": f"c{number}", "code": code, **subject, **met, **note}


def visit_rows(visit: int, draw: random.Random) -> dict[str, list[Json]]:
    about = {"subject": {"reference": f"Patient/p{visit // 2}"}}
    day = f"2026-{draw.randrange(1, 12):02}-{draw.randrange(1, 28):02}"
    met = {
        "resourceType": "Encounter", "id": f"e{visit}", "status": "finished", "period": {"start": day, "end": day},
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    }  # fmt: skip
    report = {
        "resourceType": "DiagnosticReport", "id": f"r{visit}", "status": "final", "code": {"text": "MRI lumbar spine"},
        "encounter": {"reference": f"Encounter/e{visit}"}, "effectiveDateTime": day, "conclusion": statement(draw),
    }  # fmt: skip
    conditions = [condition(3 * visit + n, draw, visit, 0.15) for n in range(3)]
    return {"Encounter": [met | about], "DiagnosticReport": [report | about], "Condition": conditions}


def written(folder: Path, rows: dict[str, list[Json | str]]) -> list[str]:
    paths = []
    for name, each in rows.items():
        content = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in each).encode()
        path = folder / f"{name}.ndjson{'.gz' if name == 'Encounter' else ''}"
        path.write_bytes(gzip.compress(content) if name == "Encounter" else content)
        paths.append(str(path))
    return paths


def on_one_machine(paths: list[str], folder: Path) -> Counter[str]:
    output = io.BytesIO()
    check_files(paths, output, Settings(), folder=folder)
    return Counter(compared(json.loads(line)) for line in output.getvalue().splitlines())


def on_spark(spark: Any, paths: list[str]) -> Counter[str]:
    rows = findings(spark, paths).collect()
    return Counter(compared(row.asDict(recursive=True)) for row in rows)


def compared(found: Json) -> str:
    """All that is said of a row but its line, which Spark does not know; of its input the name without the folder."""
    found = {name: found.get(name) for name in COLUMNS}
    return json.dumps(found | {"input": str(found["input"]).rpartition("/")[2]}, sort_keys=True)


def joined(folder: Path, visits: int) -> list[str]:
    draw = random.Random(visits)
    rows: dict[str, list[Json | str]] = {"Condition": [], "DiagnosticReport": [], "Encounter": []}
    for visit in range(visits):
        for kind, each in visit_rows(visit, draw).items():
            rows[kind] += each
    for each in rows.values():
        draw.shuffle(each)
    rows["Condition"].insert(7, '{"resourceType": "Condition", ')
    return written(folder, rows)


def test_conditions_alone_get_the_same_answers_on_spark(spark: Any, tmp_path: Path) -> None:
    draw = random.Random(1)
    rows: list[Json | str] = [condition(n, draw, None, 0.1) for n in range(2000)]
    rows[3:3] = ["?", '{"resourceType": "Condition"', ""]
    paths = written(tmp_path, {"Condition": rows})
    alone = on_one_machine(paths, tmp_path)
    assert sum(alone.values()) > 200
    assert on_spark(spark, paths) == alone


def test_reports_of_other_files_reach_their_conditions_on_spark(spark: Any, tmp_path: Path) -> None:
    paths = joined(tmp_path, 400)
    alone = on_one_machine(paths, tmp_path)
    assert sum(alone.values()) > 100
    assert on_spark(spark, paths) == alone


@pytest.mark.long
def test_a_hundred_thousand_shuffled_rows_get_the_same_answers_on_spark(spark: Any, tmp_path: Path) -> None:
    paths = joined(tmp_path, 20_000)
    lines = [json.loads(line) for line in Path(paths[0]).read_text("utf-8").splitlines() if line.endswith("}")]
    assert len({line["code"].get("text") for line in lines}) >= 5000
    alone = on_one_machine(paths, tmp_path)
    assert sum(alone.values()) > 5000
    assert on_spark(spark, paths) == alone
