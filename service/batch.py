"""Door 4: files of FHIR records in, one flattened line for each Condition out (CONTRACT, "Batch output").

A record is judged as before a claim. One that cannot be read becomes a line that says why, and the batch goes on.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from service.assist import SOFTWARE, Answer, Assist, Judged, open_assist
from service.coding.model import Issue
from service.envelope import open_envelope
from service.fhir_out import release_parts
from service.json_body import Issue as JsonIssue
from service.json_body import Refusal, dump_json, parse_json
from service.settings import Settings

# Room for a Bundle of a long stay with scanned reports; a file without line ends must not fill the memory.
MAX_RECORD = 32 * 1024 * 1024
CHUNK_RECORDS, CHUNK_BYTES = 16, 1024 * 1024
CHUNKS_AHEAD = 3  # for each worker: enough to keep it busy, few enough to keep the file out of memory
REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Record:
    """One line of an NDJSON file, or a whole JSON file; `size` counts the bytes read for it."""

    input: str
    line: int
    body: bytes = field(repr=False)
    size: int
    is_line: bool


@dataclass
class Tally:
    """What a batch found, in figures."""

    records: int = 0
    conditions: int = 0
    unreadable: int = 0
    dispositions: Counter[str] = field(default_factory=Counter)
    suggestions: Counter[str] = field(default_factory=Counter)
    issues: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.records += other.records
        self.conditions += other.conditions
        self.unreadable += other.unreadable
        self.dispositions += other.dispositions
        self.suggestions += other.suggestions
        self.issues += other.issues

    @property
    def exit_status(self) -> int:
        """0 nothing in error, 1 errors found, 2 unreadable lines (CONTRACT)."""
        if self.unreadable:
            return 2
        return int(any(severity == "error" for _, severity in self.issues))


@dataclass(frozen=True, slots=True)
class Findings:
    """What one record came to: its lines of output, its share of the figures, the bytes that it took."""

    lines: bytes
    tally: Tally
    size: int


# --- reading ------------------------------------------------------------------------------------------------------


def read_records(name: str, stream: BinaryIO) -> Iterator[Record]:
    """The records of one input in order: a line each of NDJSON, or the whole of a JSON file."""
    lines = _numbered_lines(stream)
    head = _head(lines)
    first_lines = [line for _, line, _ in head if line.strip()]
    if _is_ndjson(name, first_lines):
        for number, line, size in chain(head, lines):
            if line.strip():
                yield Record(name, number, line.strip(), size, is_line=True)
    elif first_lines:
        yield _document(name, chain(head, lines))


def _numbered_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """(number, line, bytes read); of a line that is too long only so much that it can be told."""
    number = 0
    while line := stream.readline(MAX_RECORD + 2):
        number, size, piece = number + 1, len(line), line
        while len(piece) > MAX_RECORD and not piece.endswith(b"\n"):
            piece = stream.readline(MAX_RECORD + 2)
            size += len(piece)
        yield number, line, size


def _head(lines: Iterator[tuple[int, bytes, int]]) -> list[tuple[int, bytes, int]]:
    """As many lines as it takes to tell NDJSON from a JSON file: two that are not blank."""
    head: list[tuple[int, bytes, int]] = []
    for entry in lines:
        head.append(entry)
        if sum(bool(line.strip()) for _, line, _ in head) == 2:
            break
    return head


def _is_ndjson(name: str, first_lines: Sequence[bytes]) -> bool:
    """By the name, else by a line that is a record of its own: the second may be the one, where the first is broken."""
    if name.lower().endswith((".ndjson", ".jsonl")):
        return True
    objects = [_json_object(line) for line in first_lines]
    return any(found is not None and (index == 0 or "resourceType" in found) for index, found in enumerate(objects))


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _document(name: str, lines: Iterable[tuple[int, bytes, int]]) -> Record:
    parts, kept, size = [], 0, 0
    for _, line, line_size in lines:
        size += line_size
        if kept <= MAX_RECORD:
            parts.append(line)
            kept += len(line)
    return Record(name, 1, b"".join(parts), size, is_line=False)


# --- judging ------------------------------------------------------------------------------------------------------


def judge(record: Record, assist: Assist, *, every: bool = False) -> Findings:
    """The findings of one record; `every` also writes a line for a Condition with nothing to say."""
    try:
        request = open_envelope(parse_record(record), "claim")
        answer = assist.answer(request)
        lines = [_condition_line(record, judged, assist) for judged in answer.judged]
    except Refusal as refusal:
        return _unreadable(record, sentence_of(refusal))
    except Exception as error:  # noqa: BLE001  # not swallowed: the line says so and the exit status is 2
        return _unreadable(record, f"The service failed on this record ({place_of(error)}); report it with this place.")
    tally = Tally(records=1, conditions=len(lines))
    tally.dispositions.update(line["disposition"] for line in lines)
    tally.suggestions.update(code for line in lines for code in line["suggestions"])
    tally.issues.update((issue.flag, issue.severity) for issue in answer.all_issues)
    if answer.issues:
        about = request.claim.reference if request.claim else None
        lines.append(_whole_line(record, about, answer, assist))
    return Findings(_written(line for line in lines if every or _says_something(line)), tally, record.size)


def sentence_of(refusal: Refusal) -> str:
    """Why it was refused; of many reasons the first ones."""
    reasons = [issue.diagnostics for issue in refusal.issues]
    more = [f"And {len(reasons) - REASONS_SHOWN} more."] if len(reasons) > REASONS_SHOWN else []
    return " ".join([*reasons[:REASONS_SHOWN], *more])


def place_of(error: BaseException) -> str:
    """The kind of error and where in the code; never its message, which may hold the patient's words."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f", {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{where}"


def parse_record(record: Record) -> object:
    """The JSON of a record; its size may go beyond what the service takes over HTTP."""
    named = "line" if record.is_line else "file"
    if record.size > MAX_RECORD:
        refuse(f"The {named} has {record.size} bytes and at most {MAX_RECORD} are read at once; split it.")
    try:
        return parse_json(record.body, max_bytes=MAX_RECORD)
    except Refusal as refusal:
        # The parser counts from the start of what it was given, whoever reads the sentence from the start of the file.
        told = sentence_of(refusal).replace("The body", f"The {named}").replace("send it again", "run this again")
        refuse(re.sub(r"\bline 1, column", f"line {record.line}, column", told) if record.is_line else told)


def refuse(sentence: str) -> NoReturn:
    """Raise the Refusal of an input that is no FHIR JSON at all."""
    raise Refusal(400, [JsonIssue("error", "structure", sentence)]) from None


def _unreadable(record: Record, sentence: str) -> Findings:
    line = {"input": record.input, "line": record.line, "error": sentence}
    return Findings(_written([line]), Tally(records=1, unreadable=1), record.size)


def _condition_line(record: Record, judged: Judged, assist: Assist) -> dict[str, Any]:
    assessment = judged.assessment
    on = assessment.documentation.date_of_service or assist.terminology.icd10cm.newest.in_force_from
    return {
        "input": record.input,
        "line": record.line,
        "condition": assessment.documentation.condition,
        "disposition": assessment.disposition,
        "suggestions": [suggestion.code for suggestion in assessment.suggestions],
        "candidates": [candidate.code for candidate in assessment.candidates],
        "ask": list(judged.query.ask) if judged.query else [],
        "issues": [_issue(issue) for issue in assessment.issues],
        "release": _release(on, assist),
    }


def _whole_line(record: Record, about: str | None, answer: Answer, assist: Assist) -> dict[str, Any]:
    """What concerns the claim as a whole belongs to no Condition, so it has a line of its own."""
    return {
        "input": record.input,
        "line": record.line,
        "condition": about,
        "disposition": None,
        "suggestions": [],
        "candidates": [],
        "ask": [],
        "issues": [_issue(issue) for issue in answer.issues],
        "release": _release(answer.dates[0], assist),
    }


def _issue(issue: Issue) -> dict[str, str]:
    return {"code": issue.flag, "severity": issue.severity, "expression": issue.expression, "rule": issue.rule}


def _release(on: str, assist: Assist) -> dict[str, Any]:
    """The `release` of the FHIR answer, flattened."""
    [release] = release_parts([on], assist.terminology, SOFTWARE)
    return {part["name"]: part.get("valueDate") or part.get("valueString") for part in release["part"]}


def _says_something(line: dict[str, Any]) -> bool:
    return any(line[key] for key in ("suggestions", "candidates", "ask", "issues"))


def _written(lines: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(dump_json(line) + b"\n" for line in lines)


# --- several at once ----------------------------------------------------------------------------------------------


def judge_all(records: Iterable[Record], settings: Settings, *, workers: int, every: bool) -> Iterator[Findings]:
    """The findings in the order of the records, whatever the number of workers."""
    assist = _frozen_assist(settings)  # with several workers too: wrong knowledge is told here, by name
    if workers == 1:
        return (judge(record, assist, every=every) for record in records)
    return _judge_in_processes(records, settings, workers, every)


def _judge_in_processes(records: Iterable[Record], settings: Settings, workers: int, every: bool) -> Iterator[Findings]:
    # spawn: the same on every system, and no thread of this process is copied half-way.
    spawning = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawning, _prepare_worker, (settings, every))
    waiting: deque[Future[list[Findings]]] = deque()
    try:
        for chunk in _chunks(records):
            waiting.append(pool.submit(_judge_chunk, chunk))
            if len(waiting) > CHUNKS_AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record.body)
        if len(chunk) == CHUNK_RECORDS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


_worker: dict[str, Any] = {}  # what a worker process keeps from chunk to chunk


def _prepare_worker(settings: Settings, every: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process ends the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.update(assist=_frozen_assist(settings), every=every)


def _end_with_parent() -> None:
    """A worker whose main process was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _frozen_assist(settings: Settings) -> Assist:
    assist = open_assist(settings)
    gc.collect()
    gc.freeze()  # what was loaded stays: the collector need not walk it for each record
    return assist


def _judge_chunk(records: Sequence[Record]) -> list[Findings]:
    return [judge(record, _worker["assist"], every=_worker["every"]) for record in records]


# --- files --------------------------------------------------------------------------------------------------------


def check_files(
    paths: Sequence[str],
    output: BinaryIO,
    settings: Settings,
    *,
    workers: int = 1,
    every: bool = False,
    progress: Callable[[int], object] = lambda size: None,
) -> Tally:
    """Judge all records of these files (`-` is standard input), write what there is to say, return the figures."""
    tally = Tally()
    for findings in judge_all(_records_of(paths), settings, workers=workers, every=every):
        output.write(findings.lines)
        tally.add(findings.tally)
        progress(findings.size)
    return tally


def _records_of(paths: Iterable[str]) -> Iterator[Record]:
    for path in paths:
        with open_input(path) as stream:
            yield from read_records(path, stream)


@contextmanager
def open_input(path: str) -> Iterator[BinaryIO]:
    """The bytes of a file, or of standard input for `-`."""
    if path == "-":
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as stream:
        yield stream


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is complete."""
    target = path.resolve()
    if target.exists() and not target.is_file():  # a pipe or /dev/null is written to, never replaced
        with target.open("wb") as stream:
            yield stream
        return
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as stream:
            yield stream
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
