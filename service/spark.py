"""The batch on Apache Spark: rows of text in, a table of findings out; the judging is that of `bulk`, part by part.

    spark.read.text ──► gate, in Spark SQL ──► mapInPandas(bulk.check_files) ──► findings    Conditions alone
                   └──► all of a patient in one partition ──► the same, joined ──► findings  with reports, encounters

A partition is laid down as a file on the executor's disk and judged as `coding-assist check` would, so that the answers
are the same; only the number of a line is not known, since Spark does not number the lines of a file that it cuts.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from service.bulk import Knowledge, check_files, read_knowledge
from service.bulk_export import JOINED, PASSED_OVER
from service.bulk_output import Journal
from service.settings import Settings

if TYPE_CHECKING:
    from pandas import DataFrame as Pandas
    from pyspark.sql import Column, DataFrame, SparkSession

_ISSUE = "struct<code: string, severity: string, expression: string, rule: string>"
_RELEASE = "struct<date: string, pack: string, packVersion: string, icd10cm: string, software: string>"
COLUMNS = {
    "input": "string",
    "condition": "string",
    "disposition": "string",
    "suggestions": "array<string>",
    "candidates": "array<string>",
    "ask": "array<string>",
    "issues": f"array<{_ISSUE}>",
    "release": _RELEASE,
    "error": "string",
}
SCHEMA = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
# What the gate reads of a row, each as the text of its JSON.
_ROW = "resourceType string, subject string, code string, verificationStatus string, note string, evidence string, " \
    "modifierExtension string"  # fmt: skip
_WHO = "subject struct<reference: string>, encounter struct<reference: string>"

Judge = Callable[[Iterator["Pandas"]], Iterator["Pandas"]]


def findings(
    spark: SparkSession,
    paths: Sequence[str],
    settings: Settings | None = None,
    *,
    every: bool = False,
    partitions: int | None = None,
) -> DataFrame:
    """The findings on the NDJSON files at these paths (as `spark.read.text` takes them, packed or not).

    They have the columns of the Parquet that `coding-assist check` writes, but for `line`. `settings` are read on each
    executor from the folders that they name. `partitions` is how many the rows of an export are laid out in.
    """
    from pyspark.sql import functions as sql  # noqa: PLC0415  # an extra: only who runs on Spark has it

    settings = settings or Settings()
    text = spark.read.text(list(paths)).where(sql.length(sql.trim("value")) > 0)
    rows = text.select("value", sql.col("_metadata.file_path").alias("input"))
    is_export = bool(rows.where(_kind().isin(*JOINED)).take(1))
    if is_export:
        together = (partitions, _patient()) if partitions else (_patient(),)
        chosen = rows.where(~sql.coalesce(_kind(), sql.lit("")).isin(*PASSED_OVER)).repartition(*together)
    else:
        chosen = rows if every else _let_through(rows, settings)
    return chosen.mapInPandas(_judge(settings, every=every, is_export=is_export), SCHEMA)


def _kind() -> Column:
    from pyspark.sql import functions as sql  # noqa: PLC0415

    return sql.get_json_object("value", "$.resourceType")


def _patient() -> Column:
    """What the rows of one patient have in common; a row that names none is held to its encounter."""
    from pyspark.sql import functions as sql  # noqa: PLC0415

    who = sql.from_json("value", _WHO)
    named = sql.coalesce(who["subject"]["reference"], who["encounter"]["reference"], sql.col("value"))
    plain = sql.regexp_replace(sql.regexp_replace(named, "/_history/.*$", ""), "/$", "")
    return sql.regexp_extract(plain, "([^/]+/)?[^/]*$", 0)


# --- the gate, in Spark SQL ---------------------------------------------------------------------------------------


def _let_through(rows: DataFrame, settings: Settings) -> DataFrame:
    """The rows that the gate lets through. It is asked once about each code element; Spark applies what it said."""
    from pyspark.sql import functions as sql  # noqa: PLC0415

    read = rows.withColumn("row", sql.from_json("value", _ROW))
    row = read["row"]
    plain = (
        (row["resourceType"] == "Condition")
        & row["subject"].isNotNull()
        & row["code"].isNotNull()
        & row["note"].isNull()
        & row["evidence"].isNull()
        & row["modifierExtension"].isNull()
    )
    looked_at = sql.to_json(sql.struct(row["code"].alias("code"), row["verificationStatus"].alias("status")))
    keyed = read.withColumn("looked_at", sql.when(plain, looked_at))
    quiet = keyed.select("looked_at").where("looked_at is not null").distinct()
    quiet = quiet.mapInPandas(_quiet(settings), "looked_at string")
    return keyed.join(quiet, "looked_at", "left_anti").select("value", "input")


def _quiet(settings: Settings) -> Judge:
    def quiet(pieces: Iterator[Pandas]) -> Iterator[Pandas]:
        gate = _knowledge(settings).assist.gate
        for piece in pieces:
            yield piece[[not gate.passes(_condition(looked_at)) for looked_at in piece["looked_at"]]]

    return quiet


def _condition(looked_at: str) -> bytes:
    """A Condition with this code and status and nothing else."""
    parts = json.loads(looked_at)
    status = f',"verificationStatus":{parts["status"]}' if "status" in parts else ""
    return f'{{"resourceType":"Condition","subject":{{}},"code":{parts["code"]}{status}}}'.encode()


# --- judging a partition ------------------------------------------------------------------------------------------


def _judge(settings: Settings, *, every: bool, is_export: bool) -> Judge:
    def judge(pieces: Iterator[Pandas]) -> Iterator[Pandas]:
        with TemporaryDirectory(prefix="coding-assist-") as made:
            folder = Path(made)
            inputs = _lay_down(pieces, folder / "rows.ndjson")
            if inputs:
                with (folder / "findings.ndjson").open("w+b") as output:
                    journal = Journal()
                    journal.joined = is_export
                    rows = [str(folder / "rows.ndjson")]
                    check_files(
                        rows, output, settings, folder=folder, every=every, journal=journal, known=_knowledge(settings)
                    )
                    output.seek(0)
                    yield from _tables(output, inputs)

    return judge


ROWS_AT_ONCE = 10_000


def _lay_down(pieces: Iterator[Pandas], file: Path) -> list[tuple[int, str]]:
    """Write the rows as lines of a file; returned is from which line on they come from which input."""
    inputs: list[tuple[int, str]] = []
    line = 1
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for piece in pieces:
            for value, source in zip(piece["value"], piece["input"], strict=True):
                if not inputs or inputs[-1][1] != source:
                    inputs.append((line, source))
                stream.write(value + "\n")
                line += 1
    return inputs


def _tables(output: Any, inputs: list[tuple[int, str]]) -> Iterator[Pandas]:
    import pandas  # noqa: PLC0415

    while lines := [json.loads(line) for _, line in zip(range(ROWS_AT_ONCE), output, strict=False)]:
        for line in lines:
            line["input"] = inputs[bisect_right(inputs, line["line"], key=lambda each: each[0]) - 1][1]
        yield pandas.DataFrame([[line.get(name) for name in COLUMNS] for line in lines], columns=list(COLUMNS))


@cache
def _knowledge(settings: Settings) -> Knowledge:
    """Read once in each Python worker, which Spark keeps from task to task."""
    return read_knowledge(settings)
