"""The commands, one function each: what goes wrong is one sentence and exit status 2."""

from __future__ import annotations

import argparse
import difflib
import gc
import ipaddress
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from gunicorn.app.base import Application
from gunicorn.errors import ConfigError
from rich.console import Console, Group
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from service import __version__
from service.app import create_app
from service.assist import Assist, open_assist
from service.batch import Record, Tally, parse_record, place_of, sentence_of
from service.bulk import check_files, records_of
from service.bulk_manifest import with_manifests
from service.bulk_output import unfinished, written_whole
from service.bulk_summary import write_summary
from service.coding.errors import PackError
from service.coding.model import Setting
from service.compiling import CannotCompile, compile_core
from service.envelope import open_envelope
from service.evaluate import SHORT, Evaluation, LabelError, Miss, evaluate, predict, read_labels, read_texts
from service.explain import WIDTH, clean, explain, print_block, print_rule, print_rules
from service.housekeeping import start_housekeeping
from service.inputs import KeyFileError
from service.journal import Journal
from service.json_body import Refusal
from service.logs import LOG, configure_logs
from service.metrics import share_counts
from service.recording import removal_entry
from service.releases import AddedRelease, ReleaseRefused, add_release
from service.replay import ReplayRefused, replay
from service.settings import PREFIX, SettingError, Settings, read_settings
from service.shipped import terminology_dir
from service.store import Store, StoreError, StoreUnavailable, instant, open_store

SEVERITIES = ("error", "warning", "information")
HOST, PORT = "127.0.0.1", 8080
CODES_SHOWN = 12
RULES_WIDTH = 140  # a rule id is never cut where a program may read it


class CommandError(Exception):
    """Why a command was not carried out, and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except (
        CommandError,
        SettingError,
        PackError,
        ReleaseRefused,
        LabelError,
        CannotCompile,
        StoreError,
        ReplayRefused,
    ) as error:
        return _fail(str(error))
    except Refusal as refusal:
        return _fail(sentence_of(refusal))
    except StoreUnavailable:
        return _fail("The store cannot be used now; check the database and the disk, then run the command again.")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not find that out once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _fail(f"{error.filename or 'A file'}: {error.strerror}. Check the path and the permissions.")
    except Exception as error:  # noqa: BLE001  # a trace could show the patient's words on the terminal
        return _fail(f"The command failed ({place_of(error)}); report it with this place.")
    return status


def _fail(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="coding-assist", description="FHIR Coding Assist")
    parser.add_argument("--version", action="version", version=f"coding-assist {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], told: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=told, description=told)
        added.set_defaults(run=run)
        return added

    serving = command("serve", _serve, "Start the service.")
    serving.add_argument("--host", help=f"address to listen on ({HOST})")
    serving.add_argument("--port", type=_port, help=f"port to listen on ({PORT}); 0 takes a free one")
    serving.add_argument("--workers", type=_positive, help="processes (2, or 1 on a single core)")
    checking = command("check", _check, "Judge the records of files as before a claim; findings as NDJSON.")
    checking.add_argument("inputs", nargs="+", metavar="INPUT", help="NDJSON, Bundle or resource file; - is stdin")
    checking.add_argument(
        "--output", type=Path, metavar="F", help="file for the findings, NDJSON or F.parquet (stdout)"
    )
    checking.add_argument("--summary", type=Path, metavar="F", help="HTML page with the figures in charts")
    checking.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes (1)")
    checking.add_argument(
        "--all", action="store_true", dest="every", help="a line for each Condition, each read in full"
    )
    explaining = command("explain", _explain, "Show one record with its evidence, elements, rules and questions.")
    explaining.add_argument("file", metavar="FILE", help="a Condition, Bundle or Parameters; - is stdin")
    explaining.add_argument("--claim", action="store_true", help="judge as before a claim")
    listing = command("rules", _rules, "List the rules, or show one whole.")
    listing.add_argument("rule_id", nargs="?", metavar="RULE-ID")
    scoring = command("evaluate", _evaluate, "Score the narrative reader against labelled texts.")
    scoring.add_argument("--texts", type=Path, required=True, metavar="F", help="JSON lines with id and text")
    scoring.add_argument("--gold", type=Path, required=True, metavar="F", help="JSON lines with id, assertions and doc")
    scoring.add_argument("--predictions", type=Path, metavar="F", help="file for what was read, in the gold's format")
    command("compile", _compile, "Compile the core to C; the answers stay, and come sooner.")
    exporting = command("export", _export, "Write what the store holds as NDJSON, oldest first.")
    exporting.add_argument("what", choices=["audit", "feedback", "queries"])
    verifying = command("verify-audit", _verify_audit, "Find audit records that were changed, removed or reordered.")
    verifying.add_argument("--against", type=Path, metavar="F", help="ends of the chains that were noted before")
    verifying.add_argument(
        "--note", type=Path, metavar="F", help="file for the ends of the chains, to be kept elsewhere"
    )
    replaying = command("replay", _replay, "Make a past answer again, byte for byte, from its input.")
    replaying.add_argument("decision", metavar="DECISION", help="its id, as the audit record names it")
    replaying.add_argument(
        "file", metavar="FILE", nargs="?", help="the body that was sent; - is stdin; the one that was kept if left out"
    )
    removing = command("remove-patient", _remove_patient, "Remove what is kept of one patient but for audit records.")
    removing.add_argument("patient", metavar="PATIENT", help="the reference, such as Patient/123")
    removing.add_argument("--client", default="", metavar="ID", help="the client that sent it (none)")
    adding = command("add-release", _add_release, "Add an official ICD-10-CM release to the terminology.")
    adding.add_argument("file", type=Path, metavar="FILE", help="order file, code list or tabular XML, unzipped")
    adding.add_argument("--fiscal-year", required=True, metavar="YEAR")
    adding.add_argument("--in-force-from", required=True, metavar="DATE")
    adding.add_argument("--in-force-until", metavar="DATE", help="end of the fiscal year where not given")
    adding.add_argument("--terminology", type=Path, metavar="DIR", help="folder to change (the one in use)")
    return parser


def _positive(written: str) -> int:
    if not written.isascii() or not written.isdigit() or not 1 <= int(written) <= 256:
        raise argparse.ArgumentTypeError("give a number from 1 to 256")
    return int(written)


def _port(written: str) -> int:
    if not written.isascii() or not written.isdigit() or int(written) > 65535:
        raise argparse.ArgumentTypeError("give a number from 0 to 65535")
    return int(written)


def _console(*, stderr: bool = False, piped_width: int = WIDTH) -> Console:
    """As wide as the terminal, at most WIDTH; piped as wide as asked, without colour."""
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else piped_width
    return console


def _show(print_on: Callable[[Console], None], console: Console | None = None) -> None:
    """Print without the blanks that fill each line up: they spoil what is piped or copied."""
    console = console or _console()
    with console.capture() as captured:
        print_on(console)
    for line in captured.get().splitlines():
        print(line.rstrip(), file=console.file)


# --- serve --------------------------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> int:
    settings = read_settings(os.environ)
    configure_logs(settings.log_level)
    server = _configured(options)
    for address in server.cfg.address:
        _refuse_unprotected(address, settings)
        _refuse_taken(address)
    server.settings = _with_base_url(settings, server.cfg.address[0])
    server.read = _knowledge_files(settings)
    server.assist = open_assist(settings)  # in the main process: wrong knowledge is told before any port is open,
    open_store(settings.database_url).close()  # and so is a wrong database; each worker opens it for itself
    server.share_counts()
    gc.collect()
    gc.freeze()
    server.run()
    return 0


class Server(Application):
    """gunicorn with our defaults; GUNICORN_CMD_ARGS goes before them, and the command line before both."""

    settings: Settings
    assist: Assist
    read: list[tuple[str, int, int]]  # the files that the knowledge was read from
    counts: Path

    def __init__(self, command_line: dict[str, Any]) -> None:
        self.command_line = command_line
        super().__init__(usage="`gunicorn --help` lists what is allowed", prog="GUNICORN_CMD_ARGS")

    def do_load_config(self) -> None:
        """As gunicorn does, but errors go up to `main`, which knows how to tell them."""
        self.load_default_config()
        self.load_config()

    def load_config(self) -> None:
        """Our defaults, then the operator's GUNICORN_CMD_ARGS, then the command line."""
        defaults = {**_server_defaults(), "on_exit": lambda _: shutil.rmtree(self.counts, ignore_errors=True)}
        for name, value in defaults.items():
            if name in self.cfg.settings:  # the control socket came with gunicorn 25
                self.cfg.set(name, value)
        given = vars(self.cfg.parser().parse_args(self.cfg.get_cmd_args_from_env()))
        if given["config"]:
            self.load_config_from_file(given["config"])
        for name, value in [*given.items(), *self.command_line.items()]:
            if value is not None and name != "args":
                self.cfg.set(name, value)

    def load(self) -> Any:  # a Flask application, which gunicorn's types do not see as one
        """The application of one worker: what it opens is its own, the knowledge it shares."""
        store = open_store(self.settings.database_url)
        start_housekeeping(store, self.settings.retention_days)
        return create_app(self.settings, self.assist, store)

    def share_counts(self) -> None:
        """Counts of all workers, past ones too, in a folder that goes when the service stops."""
        self.counts = Path(mkdtemp(prefix="coding-assist-counts-"))
        share_counts(self.counts)

    def reload(self) -> None:
        """On HUP: gunicorn's settings, and the files that ours name, as they are now; what is wrong changes nothing."""
        super().reload()
        try:
            settings = replace(read_settings(os.environ), base_url=self.settings.base_url)
            read = _knowledge_files(settings)
            if (settings, read) != (self.settings, self.read):
                self.assist, self.settings, self.read = open_assist(settings), settings, read
        except (SettingError, PackError) as wrong:
            LOG.error(f"Not reloaded, the service goes on as before: {wrong}")
        gc.unfreeze()  # else what was replaced would stay for ever where anything in it forms a ring
        gc.collect()
        gc.freeze()


def _knowledge_files(settings: Settings) -> list[tuple[str, int, int]]:
    """Each with its time of change and its size."""
    folder = settings.terminology or terminology_dir()
    files = [*folder.rglob("*"), *([settings.lexicon] if settings.lexicon else [])]
    return sorted((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def _server_defaults() -> dict[str, Any]:
    return {
        "bind": f"{HOST}:{PORT}",
        "workers": min(2, os.cpu_count() or 1),
        "worker_class": "service.serving.BufferingWorker",
        "threads": 4,
        "loglevel": "warning",
        "access_log_format": "%(t)s %(m)s %(s)s %(b)s %(M)sms",  # no address of a request: it may name a patient
        "control_socket_disable": True,  # it would lie in the home folder
        "when_ready": _say_ready,
        "post_fork": _keep_inherited,
        "post_worker_init": _freeze,
    }


def _keep_inherited(arbiter: Any, worker: Any) -> None:
    worker.inherited = arbiter.SIG_QUEUE


def _configured(options: argparse.Namespace) -> Server:
    bind = None
    if options.host is not None or options.port is not None:
        bind = _authority(options.host or HOST, PORT if options.port is None else options.port)
    try:
        server = Server({"bind": bind, "workers": options.workers})
        _ = server.cfg.address  # gunicorn reads these two only when they are asked for
        if check := getattr(server.cfg.worker_class, "check_config", None):
            check(server.cfg, None)
    except (ConfigError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        told = str(error).strip().partition("\n")[0].rstrip(" .:")
        raise CommandError(f"GUNICORN_CMD_ARGS is not accepted: {told}. Correct it.") from None
    return server


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _refuse_unprotected(address: object, settings: Settings) -> None:
    if settings.auth == "jwt" or _is_own_machine(address):
        return
    shown = address[0] if isinstance(address, tuple) else address
    if settings.allow_insecure:
        # Critical, so that no LOG_LEVEL keeps it from being said.
        LOG.critical(f"Without authentication on {shown}: whoever reaches it may call ({PREFIX}ALLOW_INSECURE=1).")
    else:
        raise CommandError(
            f"Without authentication ({PREFIX}AUTH=none) the service does not listen on {shown}, where others reach it."
            f" Listen on {HOST}, or set {PREFIX}ALLOW_INSECURE=1 where something in front of it decides who may call."
        )


def _is_own_machine(address: object) -> bool:
    """A loopback address or a Unix socket; an inherited socket could be anything."""
    if not isinstance(address, tuple):
        return isinstance(address, str)
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return bool(address[0] == "localhost")


def _refuse_taken(address: object) -> None:
    if not isinstance(address, tuple):
        return
    host, port = address[:2]
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            told = error.strerror or "no such address"
            raise CommandError(f"Cannot listen on {_authority(host, port)}: {told}. Choose --host or --port.") from None


def _with_base_url(settings: Settings, address: object) -> Settings:
    """Where nobody says how the outside reaches us, the address that we listen on."""
    if f"{PREFIX}BASE_URL" in os.environ or not isinstance(address, tuple) or address[1] == 0:
        return settings
    host = HOST if address[0] in ("0.0.0.0", "::") else address[0]  # noqa: S104  # compared, not bound
    return replace(settings, base_url=f"http://{_authority(host, address[1])}")


def _say_ready(server: Any) -> None:
    print("Serving on " + ", ".join(str(listener) for listener in server.LISTENERS), flush=True)


def _freeze(_worker: object) -> None:
    # What was loaded stays: the collector need not walk it for each large request (measured: four times as fast).
    gc.collect()
    gc.freeze()
    # Nor look 30 times in a call at what is gone without it: what a call makes holds no cycles (measured: 5 to 11 %).
    gc.set_threshold(50_000, 20, 50)


# --- check --------------------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    options.inputs = with_manifests(options.inputs)
    for path in options.inputs:
        _refuse_missing(path)
    if options.output and options.output.suffix == ".parquet" and not find_spec("pyarrow"):
        raise CommandError("Parquet needs pyarrow: install fhir-coding-assist[parquet], or give a name in .ndjson.")
    settings, begun = read_settings(os.environ), time.perf_counter()
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
        )
    if options.summary:
        with written_whole(options.summary) as stream:
            write_summary(stream, tally, options.inputs, open_assist(settings).terminology)
    _summarise(tally, time.perf_counter() - begun)
    return tally.exit_status


def _refuse_missing(path: str) -> None:
    if path != "-" and not Path(path).exists():
        raise CommandError(f"{path} does not exist. Give the path of a file, or - for standard input.")
    if Path(path).is_dir():
        raise CommandError(f"{path} is a folder. Give the files in it, such as {path.rstrip('/')}/*.ndjson.")


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
    console = _console(stderr=True)
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
    _show(lambda console: console.print(shown), _console(stderr=True))


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


# --- explain, rules, evaluate, add-release ------------------------------------------------------------------------


def _explain(options: argparse.Namespace) -> int:
    _refuse_missing(options.file)
    setting: Setting = "claim" if options.claim else "charting"
    request = open_envelope(parse_record(_only_record(options.file)), setting)
    assist = open_assist(read_settings(os.environ))
    answer = assist.answer(request, reads_all=True)
    _show(lambda console: explain(answer, assist.terminology, console))
    return 0


def _only_record(path: str) -> Record:
    with TemporaryDirectory() as folder:
        records = list(islice(records_of([path], Path(folder)), 2))
    if len(records) != 1:
        held = "several records" if records else "nothing"
        raise CommandError(f"{path} holds {held}. Give a file with one Condition, Bundle or Parameters.")
    return records[0]


def _rules(options: argparse.Namespace) -> int:
    terminology = open_assist(read_settings(os.environ)).terminology
    if options.rule_id is None:
        _show(lambda console: print_rules(terminology, console), _console(piped_width=RULES_WIDTH))
    elif options.rule_id not in (known := [rule.id for rule in terminology.rules()]):
        raise CommandError(f"There is no rule {options.rule_id!r}. {_nearest(options.rule_id, known)}")
    else:
        _show(lambda console: print_rule(options.rule_id, terminology, console))
    return 0


def _compile(options: argparse.Namespace) -> int:
    compile_core()
    return 0


def _nearest(rule_id: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(rule_id, known, n=3, cutoff=0.4)
    return f"Nearest: {', '.join(close)}." if close else "`coding-assist rules` lists all."


def _evaluate(options: argparse.Namespace) -> int:
    texts, gold = read_texts(options.texts), read_labels(options.gold)
    read = predict(texts, open_assist(read_settings(os.environ)).terminology.lexicon)
    if options.predictions:
        with written_whole(options.predictions) as stream:
            stream.writelines(json.dumps(page).encode() + b"\n" for page in read.values())
    evaluation = evaluate(texts, gold, read)
    _show(lambda console: _print_evaluation(evaluation, console))
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


def _add_release(options: argparse.Namespace) -> int:
    folder = options.terminology or read_settings(os.environ).terminology or terminology_dir()
    added = add_release(folder, options.file, options.fiscal_year, options.in_force_from, options.in_force_until)
    _show(lambda console: _print_added(added, folder, console))
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


# --- what the store holds -----------------------------------------------------------------------------------------


@contextmanager
def _store() -> Iterator[Store]:
    store = open_store(read_settings(os.environ).database_url)
    try:
        yield store
    finally:
        store.close()


def _export(options: argparse.Namespace) -> int:
    with _store() as store:
        held = {"feedback": store.export_feedback, "queries": store.export_queries}
        lines = store.export_audit() if options.what == "audit" else map(json.dumps, held[options.what]())
        for line in lines:
            print(line)
    return 0


def _verify_audit(options: argparse.Namespace) -> int:
    """Status 1 where something was tampered with. Ends noted elsewhere show also what a chain alone cannot."""
    known = _noted_ends(options.against) if options.against else {}
    with _store() as store:
        faults, ends = list(store.chain_faults(known)), store.chain_ends()
    for fault in faults:
        print(fault)
    if faults:
        return 1
    if options.note:
        with written_whole(options.note) as stream:
            stream.write(json.dumps(ends, indent=1).encode())
    print(
        f"{sum(end['number'] for end in ends.values())} audit records in {len(ends)} chains are as they were written."
    )
    return 0


def _noted_ends(path: Path) -> dict[str, dict[str, Any]]:
    try:
        noted = json.loads(path.read_text("utf-8"))
        return {writer: {"number": int(end["number"]), "hash": str(end["hash"])} for writer, end in noted.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CommandError(f"{path} does not hold ends of chains; give a file that --note has written.") from None


def _replay(options: argparse.Namespace) -> int:
    with _store() as store:
        decision = store.decision(options.decision)
        if decision is None:
            raise CommandError("There is no decision with this id; the audit records name those that are kept.")
        settings = read_settings(os.environ)
        made = replay(decision, _sent(options.file, decision, settings), open_assist(settings), store)
    sys.stdout.buffer.write(made.answer)  # nothing added: it is the same bytes
    if made.differs:
        print(made.differs, file=sys.stderr)
    return 1 if made.differs else 0


def _sent(file: str | None, decision: dict[str, Any], settings: Settings) -> bytes:
    """The input of a decision, from where the operator has it."""
    if file is not None:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    if settings.inputs is None or "sealedInput" not in decision:
        raise CommandError(f"The input was not kept; give FILE. Inputs are kept where {PREFIX}INPUT_KEYS is set.")
    try:
        return settings.inputs.opened(decision["sealedInput"])
    except KeyFileError as wrong:
        raise CommandError(f"{PREFIX}INPUT_KEYS: {wrong}.") from None


def _remove_patient(options: argparse.Namespace) -> int:
    """The audit records stay, as the law asks, and say that it was done."""
    settings, now = read_settings(os.environ), datetime.now(UTC)
    with _store() as store:
        patient = store.hashed(options.client, options.patient)
        counts = store.remove_patient(patient)
        journal = Journal(store, waits=True)
        journal.write(removal_entry(instant(now), patient, settings.base_url, counts))
        journal.close()
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) + " removed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
