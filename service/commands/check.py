"""`check`: the records of files judged as before a claim."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Group
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from service.assist import open_assist
from service.batch import Tally
from service.bulk import Knowledge, check_files
from service.bulk_manifest import with_manifests
from service.bulk_output import unfinished, written_whole
from service.bulk_summary import write_summary
from service.commands.terminal import CODES_SHOWN, refuse_missing, show, terminal
from service.errors import OperatorError
from service.settings import read_settings

SEVERITIES = ("error", "warning", "information")


def check(options: argparse.Namespace) -> int:
    options.inputs = with_manifests(options.inputs)
    for path in options.inputs:
        refuse_missing(path)
    if options.output and options.output.suffix == ".parquet" and not find_spec("pyarrow"):
        raise OperatorError("Parquet needs pyarrow: install fhir-coding-assist[parquet], or give a name in .ndjson.")
    settings, begun = read_settings(os.environ), time.perf_counter()
    known = Knowledge(settings, open_assist(settings))
    gc.enable()
    with (
        _stopped_once(),
        unfinished(options.output, options.inputs, settings, every=options.every) as work,
        _progress(options) as progress,
    ):
        if work.journal.done:
            print(f"Going on after {work.journal.tally.records} records of the run before.", file=sys.stderr)
        tally = check_files(
            options.inputs,
            work.findings,
            settings,
            folder=work.folder,
            workers=options.workers,
            every=options.every,
            progress=progress,
            journal=work.journal,
            known=known,
        )
    if options.summary:
        with written_whole(options.summary) as stream:
            write_summary(stream, tally, options.inputs, known.assist.terminology)
    _summarise(tally, time.perf_counter() - begun)
    return tally.exit_status


@contextmanager
def _stopped_once() -> Iterator[None]:
    """The first signal ends the batch in good order; a second one would break into that and leave workers behind."""

    def stop(number: int, _frame: object) -> None:
        for each in handlers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _progress(options: argparse.Namespace) -> Iterator[Callable[[float, int], object]]:
    """A bar on a terminal that the findings do not go to as well; else nothing is shown."""
    console = terminal(stderr=True)
    if not console.is_terminal or (options.output is None and sys.stdout.isatty()):
        yield lambda share, records: None
        return
    columns = TextColumn("checking"), BarColumn(), TaskProgressColumn(show_speed=False), TimeRemainingColumn()
    bar = Progress(*columns, TextColumn("{task.fields[told]}"), console=console, transient=True)
    task, begun = bar.add_task("", total=1.0, told=""), time.perf_counter()

    def show(share: float, records: int) -> None:
        bar.start()  # not sooner: its thread would be copied half-way with the process
        rate = records / (time.perf_counter() - begun)
        bar.update(task, completed=share, told=f"{records:,} records, {rate:,.0f} a second")

    try:
        yield show
    finally:
        bar.stop()


def _summarise(tally: Tally, seconds: float) -> None:
    suggestions = tally.suggestions.most_common(CODES_SHOWN)
    by_condition = [
        _counts("disposition", ["conditions"], tally.dispositions.most_common()),
        *([_counts("\nsuggestion", [""], suggestions)] if suggestions else []),
    ]
    tables = Table.grid(padding=(0, 4))
    tables.add_row(Group(*by_condition), _counts("flag", SEVERITIES, _rows_by_flag(tally.issues)))
    rate = tally.records / seconds if seconds else 0.0
    unreadable = Text(f"{tally.unreadable} unreadable", style="bold red" if tally.unreadable else "")
    told = Text.assemble(f"{tally.records} records, {tally.conditions} conditions, ", unreadable)
    if tally.passed_over:
        told.append(f", {tally.passed_over} conditions out of scope")
    told.append(f", {seconds:.1f} s, {rate:.0f} rows/s")
    shown = Group(Padding(tables, (0, 0, 1, 0)), told) if tally.conditions else told
    show(lambda console: console.print(shown), terminal(stderr=True))


def _counts(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(title)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(str(cell) if cell else "" for cell in row))
    return table


def _rows_by_flag(issues: Counter[tuple[str, str]]) -> list[list[object]]:
    flags = Counter[str]()
    for (flag, _), count in issues.items():
        flags[flag] += count
    return [[flag, *(issues[flag, severity] for severity in SEVERITIES)] for flag, _ in flags.most_common()]
