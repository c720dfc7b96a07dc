"""Door 4: files in, findings out, with as many processes as there are cores.

    files ──► parts ──► gate ──► judge ──► lines               Conditions, Bundles, Parameters, Claims
                          └────► visits ──► judge ──► lines    Conditions with reports and encounters (bulk_export)

Whether there is something to join is known only when all is read: the batch begins without, and begins again with the
first row that needs it. The order of the findings is that of the input, whatever the number of processes.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from service.assist import Assist, open_assist
from service.batch import (
    Findings,
    Place,
    Record,
    Tally,
    Wording,
    findings_of,
    judge,
    meaning_of,
    parse_record,
    place_of,
    refuse,
    says_more,
    sentence_of,
    unreadable,
    whole_line,
    wording_of,
    words_apart,
)
from service.bulk_export import JOINED, PASSED_OVER, Export, Located, Visit, index_row
from service.bulk_files import (
    Line,
    Part,
    Source,
    lay_down,
    lines_of,
    parts_of,
    pieces_of,
    read_at,
    read_document,
)
from service.bulk_output import Journal
from service.coding.model import Passage
from service.envelope import reference_of, request_of
from service.gate import Gate
from service.json_body import Refusal, dump_json
from service.record import Entry
from service.rows import kind_of
from service.settings import Settings
from service.validation import refuse_unsound

PARTS_TOGETHER, FEW = 4, 50  # where fewer than one line in fifty is judged
PARTS_LEARNED = 8  # of a large file, before there are workers
PARTS_AHEAD = 3  # for each worker: enough to keep it busy, few enough to keep the file out of memory
VISITS_AT_ONCE = 32
REMEMBERED = 20_000  # answers on Conditions of the same wording, or whose words say the same
LONGEST_WORDING = 4096  # bytes

Progress = Callable[[float, int], object]  # the share of the work done, and the records read


class Knowledge(NamedTuple):
    """What is read once, and by which settings."""

    settings: Settings
    assist: Assist


def read_knowledge(settings: Settings) -> Knowledge:
    """The knowledge that these settings name."""
    return Knowledge(settings, open_assist(settings))


class Written(NamedTuple):
    """What a line came to: its findings from behind their line on, and the figures."""

    rows: list[bytes]
    tally: Tally


class Judging(NamedTuple):
    """What a process needs to judge parts of the inputs."""

    assist: Assist
    sources: Sequence[Source]
    every: bool
    same_wording: dict[Any, Written]
    same_meaning: dict[Any, Written]


class Chosen(NamedTuple):
    """A line to be judged: its number in the part, its bytes, and how many it takes in the file."""

    number: int
    body: bytes
    size: int


class Checked(NamedTuple):
    """What a part came to: (number of the line in the part, the finding from its condition on), and the figures."""

    findings: list[tuple[int, bytes]]
    lines: int
    tally: Tally
    needs_join: bool = False


class IndexedPart(NamedTuple):
    """The rows of a part as the join needs them, their lines numbered from 1 in the part."""

    rows: list[Any]
    lines: int
    records: int


class CheckedVisits(NamedTuple):
    """The written findings of some visits, and the figures."""

    written: bytes
    tally: Tally


# --- the whole run ------------------------------------------------------------------------------------------------


def check_files(
    names: Sequence[str],
    output: BinaryIO,
    settings: Settings,
    *,
    folder: Path,
    workers: int = 1,
    every: bool = False,
    progress: Progress = lambda share, records: None,
    journal: Journal | None = None,
    known: Knowledge | None = None,
) -> Tally:
    """Judge all records of these files (`-` is standard input), write what there is to say, return the figures.

    `output` can be read and cut; what the run lays down meanwhile goes into `folder`. With a journal that was kept
    by an interrupted run over the same inputs, the output goes on where that one ended. For several batches the
    knowledge can be read once and given to each.
    """
    sources = lay_down(names, folder)
    run = Run(output, progress, journal or Journal(), sources)
    with _workers(known or read_knowledge(settings), sources, every, workers) as in_order:
        if not run.journal.joined and not _begins_with_a_row_to_join(sources):
            if run.check_parts(in_order):
                return run.tally
            run.begin_again()
        run.check_visits(in_order, folder / "export.sqlite", every=every)
    return run.tally


def _begins_with_a_row_to_join(sources: Iterable[Source]) -> bool:
    """As the files of a bulk export do that hold no Conditions: each has resources of one type."""
    return any(kind_of(line.body) in JOINED for source in sources if source.is_ndjson for line in _first_line(source))


def _first_line(source: Source) -> Iterator[Line]:
    return islice(lines_of(source.path, Part(0, 0, min(source.size, 4096))), 1)


class Run:
    """One run over the inputs: the output as far as it is written, and the figures of that much."""

    def __init__(self, output: BinaryIO, progress: Progress, journal: Journal, sources: Sequence[Source]) -> None:
        self._output, self._progress, self.journal, self._sources = output, progress, journal, sources
        self.tally = journal.tally
        self._few = False  # whether little was judged in the last part

    def begin_again(self) -> None:
        """Forget what was written: it lacks what the rows should have been joined with."""
        self._output.seek(0)
        self._output.truncate()
        self.journal.begin_joined()
        self.tally = self.journal.tally

    def check_parts(self, in_order: InOrder) -> bool:
        """Judge part by part; False as soon as a row shows that the parts cannot be judged by themselves."""
        parts = list(parts_of(self._sources))
        total = sum(part.end - part.start for part in parts) or 1
        done = sum(part.end - part.start for part in parts[: self.journal.done])
        source, before = self.journal.at
        waiting = parts[self.journal.done :]
        results = chain.from_iterable(in_order(_check_parts, _together(waiting, lambda: self._few)))
        for part, checked in zip(waiting, results, strict=True):
            if checked.needs_join:
                return False
            before = before if part.source == source else 0
            source = part.source
            self._output.writelines(self._numbered(source, before, checked.findings))
            before += checked.lines
            done += part.end - part.start
            self._few = (checked.tally.records - checked.tally.passed_over) * FEW < checked.tally.records
            self._count(checked.tally, done / total, (source, before))
        return True

    def _numbered(self, source: int, before: int, findings: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
        head = b'{"input":' + dump_json(self._sources[source].name) + b',"line":'
        return (head + b"%d," % (before + number) + finding + b"\n" for number, finding in findings)

    def check_visits(self, in_order: InOrder, file: Path, *, every: bool) -> None:
        """Note where each row lies, then judge visit by visit."""
        export = Export(file, _judging().assist.gate, _judging().assist)
        try:
            records = self._index(in_order, export)
            visits = iter(export.visits(every=every))
            batches = iter(lambda: list(islice(visits, VISITS_AT_ONCE)), [])
            waiting = islice(batches, self.journal.done, None)
            if not self.journal.done:
                self.tally.records = records
                self.tally.passed_over = export.count()
            for number, checked in enumerate(in_order(_check_visits, waiting), self.journal.done + 1):
                self._output.write(checked.written)
                self._count(checked.tally, 0.5 + 0.5 * number / (number + 1), (0, 0))
        finally:
            export.close()

    def _index(self, in_order: InOrder, export: Export) -> int:
        parts = list(parts_of(self._sources))
        total = sum(part.end - part.start for part in parts) or 1
        source, before, done, records = 0, 0, 0, 0
        for part, indexed in zip(parts, in_order(_index_part, parts), strict=True):
            before = before if part.source == source else 0
            source = part.source
            export.add(indexed.rows, before)
            before += indexed.lines
            records += indexed.records
            done += part.end - part.start
            self._progress(0.5 * done / total, records)
        return records

    def _count(self, tally: Tally, share: float, at: tuple[int, int]) -> None:
        self.tally.add(tally)
        self.journal.keep(self._output, self.tally, at)
        self._progress(share, self.tally.records)


def records_of(names: Sequence[str], folder: Path) -> Iterator[Record]:
    """The records of the inputs one by one, each with its line; what has to be unpacked goes into the folder."""
    sources = lay_down(names, folder)
    at, before = 0, 0
    for part in parts_of(sources):
        source = sources[part.source]
        if not source.is_ndjson:
            body, size = read_document(source)
            yield from [Record(source.name, 1, body, size, is_line=False)] if body.strip() else []
            continue
        at, before, lines = part.source, before if part.source == at else 0, 0
        for line in lines_of(source.path, part):
            lines = line.number
            if line.body.strip():
                yield Record(source.name, before + lines, line.body.strip(), line.size, is_line=True)
        before += lines


# --- one part -----------------------------------------------------------------------------------------------------


def _together(parts: Iterable[Part], are_few: Callable[[], bool]) -> Iterator[list[Part]]:
    """The parts one by one, or several together as long as there is little to judge in them."""
    rest = iter(parts)
    while together := list(islice(rest, PARTS_TOGETHER if are_few() else 1)):
        yield together


def _check_parts(parts: Sequence[Part]) -> list[Checked]:
    """The findings of the lines that begin in each part.

    All are looked at before the first line is judged: to take turns would cost more, since what the one works with
    pushes out of the processor's cache what the other does.
    """
    judging = _judging()
    chosen = [_chosen(part, judging) for part in parts]
    return [_check_part(part, *found, judging) for part, found in zip(parts, chosen, strict=True)]


def _check_part(part: Part, lines: int, chosen: Sequence[Chosen], judging: Judging) -> Checked:
    source = judging.sources[part.source]
    if not source.is_ndjson:
        body, size = read_document(source)
        found = judge(Record(source.name, 1, body, size, is_line=False), judging.assist, every=judging.every)
        return Checked([(1, _finding(row)) for row in found.rows], 1, found.tally) if body.strip() else _NOTHING
    findings: list[tuple[int, bytes]] = []
    tally = Tally(records=lines - len(chosen), passed_over=lines - len(chosen))
    for number, body, size in chosen:
        if not body:
            continue
        record = Record(source.name, 0, body, size, is_line=True)
        wording = wording_of(body) if size < LONGEST_WORDING else None
        if not wording:
            if (kind := kind_of(body)) in JOINED:
                return Checked([], 0, Tally(), needs_join=True)
            if kind in PASSED_OVER:
                tally.records += 1
                continue
        told = _known(record, *wording, judging) if wording else _written(_found(record, judging))
        findings += [(number, row) for row in told.rows]
        tally.add(told.tally)
    return Checked(findings, lines, tally)


def _chosen(part: Part, judging: Judging) -> tuple[int, list[Chosen]]:
    """How many lines begin in a part of NDJSON, and those to be judged."""
    source = judging.sources[part.source]
    chosen: list[Chosen] = []
    before = 0
    for piece in pieces_of(source.path, part) if source.is_ndjson else ():
        count, passing = judging.assist.gate.passing(piece.block)
        if judging.every or passing:
            indexes = range(count) if judging.every else set(passing)
            lines = enumerate(piece.lines(), before + 1)
            chosen += [Chosen(at, body.strip(), size) for at, (body, size) in lines if at - before - 1 in indexes]
        before += count
    return before, chosen


_NOTHING = Checked([], 0, Tally())


def _known(record: Record, own: str, wording: Wording, judging: Judging) -> Written:
    """The findings of a Condition; what was found on one that says the same, in these or other words, is not sought
    again."""
    known = judging.same_wording.get(wording)
    if known is None:
        meaning = _meaning(wording, judging)
        known = judging.same_meaning.get(meaning)
        if known is None:
            found = _found(record, judging)
            if any(row.get("condition") != f"Condition/{own}" for row in found.rows):
                return _written(found)
            known = Written([_after_condition(row) for row in found.rows], found.tally)
            if meaning and not found.rests_on_quotes:
                _remember(judging.same_meaning, meaning, known)
        _remember(judging.same_wording, wording, known)
    head = b'"condition":"Condition/%b",' % own.encode()
    return Written([head + row for row in known.rows], known.tally)


def _remember(told: dict[Any, Written], key: Any, known: Written) -> None:
    if len(told) >= REMEMBERED:
        told.clear()
    told[key] = known


def _meaning(wording: Wording, judging: Judging) -> Any:
    """What a Condition says, its words read; None where their findings may rest on more."""
    if (apart := words_apart(wording)) is None:
        return None
    words, rest = apart
    try:
        return meaning_of(judging.assist.reader.read(Passage(words, "", ""))), rest
    except Exception:  # noqa: BLE001  # not swallowed: it fails again where the record is judged, and is told there
        return None


def _written(found: Findings) -> Written:
    return Written([_finding(row) for row in found.rows], found.tally)


def _found(record: Record, judging: Judging) -> Findings:
    """What a line comes to; nothing where the gate would not have let it through, had it read all of its words."""
    found = judge(record, judging.assist, every=judging.every)
    if judging.every or says_more(found) or judging.assist.gate.passes(record.body):
        return found
    return Findings([], Tally(records=1, passed_over=1))


def _finding(row: dict[str, Any]) -> bytes:
    """A finding from behind its line on."""
    return dump_json({key: value for key, value in row.items() if key not in ("input", "line")})[1:]


def _after_condition(row: dict[str, Any]) -> bytes:
    return dump_json({key: value for key, value in row.items() if key not in ("input", "line", "condition")})[1:]


def _index_part(part: Part) -> IndexedPart:
    judging = _judging()
    source = judging.sources[part.source]
    if not source.is_ndjson:
        body, size = read_document(source)
        return IndexedPart([Located(part.source, 1, 0, size)] if body.strip() else [], 1, int(bool(body.strip())))
    rows, number, records = [], 0, 0
    for line in lines_of(source.path, part):
        number = line.number
        if line.body.strip():
            records += 1
            row = index_row(line, part.source, number, judging.assist.gate)
            if row is not None:
                rows.append(row)
    return IndexedPart(rows, number, records)


# --- one visit ----------------------------------------------------------------------------------------------------


def _check_visits(visits: Sequence[Visit]) -> CheckedVisits:
    judging, tally, written = _judging(), Tally(), []
    with ExitStack() as opened:
        streams = [opened.enter_context(source.path.open("rb")) for source in judging.sources]
        for visit in visits:
            found = _check_visit(visit, streams, judging)
            found.tally.records = 0
            found.tally.passed_over = 0 if visit.alone else -len(visit.conditions)
            tally.add(found.tally)
            written += [dump_json(row) + b"\n" for row in found.rows]
    return CheckedVisits(b"".join(written), tally)


def _check_visit(visit: Visit, streams: Sequence[BinaryIO], judging: Judging) -> Findings:
    """The findings of a visit; a row of it that cannot be read has a line of its own, and the others are judged."""
    bad, entries, places = Findings([], Tally()), list[Entry](), list[Place]()
    for at in (*visit.conditions, *visit.support):
        record = _record(at, streams, judging)
        if visit.alone:
            return judge(record, judging.assist, every=judging.every)
        try:
            entry = _entry(record, len(places))
        except Refusal as refusal:
            if at in visit.conditions or at in visit.untold:
                told = unreadable(record, sentence_of(refusal))
                bad.rows.extend(told.rows)
                bad.tally.add(told.tally)
            continue
        entries.append(entry)
        if entry.type == "Condition":
            places.append(Place(record.input, record.line))
    if not places:
        return bad
    try:
        answer = judging.assist.answer(request_of(entries, "claim"), sends_forms=False, says_why_not=False)
    except Exception as error:  # noqa: BLE001  # not swallowed: the line says so and the exit status is 2
        sentence = f"The service failed on this record ({place_of(error)}); report it with this place."
        found = unreadable(_record(visit.conditions[0], streams, judging), sentence)
    else:
        encounter = next((entry for entry in entries if entry.type == "Encounter"), None)
        found = findings_of(answer, places, judging.assist, every=judging.every, clinic=_clinic(encounter))
        if answer.issues:
            found.rows.append(whole_line(places[0], encounter.reference if encounter else None, answer, judging.assist))
    found.tally.add(bad.tally)
    return Findings([*found.rows, *bad.rows], found.tally)


def _record(at: Located, streams: Sequence[BinaryIO], judging: Judging) -> Record:
    source = judging.sources[at.source]
    body = read_at(streams[at.source], at.start, at.size).strip()
    return Record(source.name, at.line, body, at.size, is_line=source.is_ndjson)


def _entry(record: Record, number: int) -> Entry:
    resource = parse_record(record)
    if not isinstance(resource, dict):
        refuse("The line is not a JSON object; give a FHIR resource.")
    refuse_unsound(resource, allowed=JOINED | {"Condition"})
    return Entry(resource, reference_of(resource, None, f"#{number}"))


def _clinic(encounter: Entry | None) -> str:
    """Who provides the care: the name where it is given, else the reference."""
    resource = encounter.resource if encounter else {}
    locations = [each.get("location") for each in resource.get("location") or ()]
    named = [one for one in (resource.get("serviceProvider"), *locations) if isinstance(one, dict)]
    return next((str(one.get(key)) for one in named for key in ("display", "reference") if one.get(key)), "not given")


# --- several at once ----------------------------------------------------------------------------------------------

InOrder = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
_worker: list[Judging] = []  # what a process keeps from part to part


def _judging() -> Judging:
    return _worker[-1]


@contextmanager
def _workers(known: Knowledge, sources: Sequence[Source], every: bool, workers: int) -> Iterator[InOrder]:
    """A map that keeps the order, in this process or in several."""
    _prepare(known, sources, every)
    try:
        if workers == 1:
            yield map
            return
        # A copy of this process has the knowledge already; of one with other threads it might have their locks too, so
        # there, and on systems that do not copy, each worker reads the knowledge.
        copied = sys.platform == "linux" and threading.active_count() == 1
        knowledge = None if copied else (known.settings, sources, every)
        if copied:
            _learn_beforehand(known.assist.gate, sources)
        context = multiprocessing.get_context("fork" if copied else "spawn")
        pool = ProcessPoolExecutor(workers, context, _prepare_worker, (knowledge,))
        pool.submit(_ready)  # the copies are made now, before the progress has a thread and the join a database
        try:
            yield lambda function, tasks: _in_processes(pool, function, tasks, PARTS_AHEAD * workers)
        finally:
            pool.shutdown(cancel_futures=True)
    finally:
        _worker.pop()
        gc.unfreeze()


def _learn_beforehand(gate: Gate, sources: Sequence[Source]) -> None:
    """Look at the first rows, so that each copy need not learn anew what most rows have in common."""
    parts = list(parts_of(sources))
    for part in parts[: min(PARTS_LEARNED, len(parts) // 16)]:
        source = sources[part.source]
        for piece in pieces_of(source.path, part) if source.is_ndjson else ():
            gate.passing(piece.block)


def _in_processes(
    pool: ProcessPoolExecutor, function: Callable[[Any], Any], tasks: Iterable[Any], ahead: int
) -> Iterator[Any]:
    waiting: deque[Future[Any]] = deque()
    for task in tasks:
        waiting.append(pool.submit(function, task))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _prepare(known: Knowledge, sources: Sequence[Source], every: bool) -> None:
    _worker.append(Judging(known.assist, sources, every, {}, {}))
    gc.freeze()  # what was loaded stays: the collector need not walk it for each record


def _prepare_worker(knowledge: tuple[Settings, Sequence[Source], bool] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what the main process does at its end is not for its copies
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if knowledge:
        settings, sources, every = knowledge
        _prepare(read_knowledge(settings), sources, every)


def _ready() -> bool:
    return bool(_worker)


def _end_with_parent() -> None:
    """A worker whose main process was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
