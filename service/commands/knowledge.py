"""`explain`, `rules`, `evaluate`, `add-release`, `compile`: what the service knows, and how it reads."""

from __future__ import annotations

import argparse
import difflib
import json
import os
from collections.abc import Sequence
from itertools import groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.assist import open_assist
from service.batch import Record, parse_record
from service.bulk import records_of
from service.bulk_output import written_whole
from service.coding.model import Setting
from service.commands.terminal import CODES_SHOWN, refuse_missing, show, terminal
from service.compiling import compile_all
from service.envelope import open_envelope
from service.errors import OperatorError
from service.evaluate import SHORT, Evaluation, Miss, predict, read_labels, read_texts
from service.evaluate import evaluate as evaluation_of
from service.explain import clean, print_block, print_rule, print_rules
from service.explain import explain as print_explained
from service.releases import AddedRelease, add_release
from service.settings import read_settings
from service.shipped import terminology_dir

RULES_WIDTH = 140  # a rule id is never cut where a program may read it


def explain(options: argparse.Namespace) -> int:
    refuse_missing(options.file)
    setting: Setting = "claim" if options.claim else "charting"
    request = open_envelope(parse_record(_only_record(options.file)), setting)
    assist = open_assist(read_settings(os.environ))
    answer = assist.answer(request, reads_all=True)
    show(lambda console: print_explained(answer, assist.terminology, console))
    return 0


def _only_record(path: str) -> Record:
    with TemporaryDirectory() as folder:
        records = list(islice(records_of([path], Path(folder)), 2))
    if len(records) != 1:
        held = "several records" if records else "nothing"
        raise OperatorError(f"{path} holds {held}. Give a file with one Condition, Bundle or Parameters.")
    return records[0]


def rules(options: argparse.Namespace) -> int:
    terminology = open_assist(read_settings(os.environ)).terminology
    if options.rule_id is None:
        show(lambda console: print_rules(terminology, console), terminal(piped_width=RULES_WIDTH))
    elif options.rule_id not in (known := [rule.id for rule in terminology.rules()]):
        raise OperatorError(f"There is no rule {options.rule_id!r}. {_nearest(options.rule_id, known)}")
    else:
        show(lambda console: print_rule(options.rule_id, terminology, console))
    return 0


def _nearest(rule_id: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(rule_id, known, n=3, cutoff=0.4)
    return f"Nearest: {', '.join(close)}." if close else "`coding-assist rules` lists all."


def evaluate(options: argparse.Namespace) -> int:
    texts, gold = read_texts(options.texts), read_labels(options.gold)
    read = predict(texts, open_assist(read_settings(os.environ)).terminology.lexicon)
    if options.predictions:
        with written_whole(options.predictions) as stream:
            stream.writelines(json.dumps(page).encode() + b"\n" for page in read.values())
    evaluation = evaluation_of(texts, gold, read)
    show(lambda console: _print_evaluation(evaluation, console))
    return 0


def _print_evaluation(evaluation: Evaluation, console: Console) -> None:
    figures = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("facet", "n", "precision", "recall", "F1", "95 % interval"):
        figures.add_column(column, justify="left" if column == "facet" else "right")
    for facet in evaluation.facets:
        counts, (low, high) = facet.counts, facet.interval
        shown = (f"{value:.3f}" for value in (counts.precision, counts.recall, counts.f1))
        figures.add_row(facet.name, str(counts.right + counts.missed), *shown, f"{low:.3f} to {high:.3f}")
    for share in evaluation.shares:
        low, high = share.interval
        figures.add_row(share.name, str(share.of), "", "", f"{share.value:.3f}", f"{low:.3f} to {high:.3f}")
    console.print(f"{evaluation.documents} texts, {evaluation.short} of them under {SHORT} characters\n")
    console.print(figures)
    if evaluation.misses:
        console.print(f"\nTo look at: {len(evaluation.misses)}")
    for document, misses in groupby(evaluation.misses, key=lambda miss: miss.document):
        print_block(console, clean(document), [_told_miss(miss) for miss in misses])


def _told_miss(miss: Miss) -> Text:
    quote = f" \u201c{clean(miss.quote)}\u201d" if miss.quote else ""
    return Text.assemble(f"{miss.kind}  {miss.facet}: {miss.key}", (quote, "dim"))


def release(options: argparse.Namespace) -> int:
    folder = options.terminology or read_settings(os.environ).terminology or terminology_dir()
    added = add_release(folder, options.file, options.fiscal_year, options.in_force_from, options.in_force_until)
    show(lambda console: _print_added(added, folder, console))
    return 0


def _print_added(added: AddedRelease, folder: Path, console: Console) -> None:
    console.print(
        f"Added ICD-10-CM {added.fiscal_year}, in force {added.in_force_from} to {added.in_force_until}, to {folder}:"
        f" {added.codes} codes, {added.billable} of them billable. Restart the service to use it.\n",
        soft_wrap=True,
    )
    for named, codes in (("New", added.new_codes), ("Dropped", added.dropped_codes)):
        more = f" and {len(codes) - CODES_SHOWN} more" if len(codes) > CODES_SHOWN else ""
        told = Text(", ".join(codes[:CODES_SHOWN]) + more if codes else "none")
        print_block(console, f"{named} codes: {len(codes)}", [told])


def compiled(_options: argparse.Namespace) -> int:
    compile_all(read_settings(os.environ).terminology or terminology_dir())
    return 0
