"""The command line: `coding-assist COMMAND`. What a command does stands in `commands`, and is imported with it."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from service import __version__
from service.batch import place_of, sentence_of
from service.coding.errors import PackError
from service.commands import HOST, PORT
from service.errors import OperatorError
from service.json_body import Refusal


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit status."""
    options = _parser().parse_args(arguments)
    # What a start makes stays: to look through it for rings takes a twentieth of it, and finds none. What runs for long
    # looks for them once it has begun, and seldom: neither calls nor records leave any (measured: 5 to 11 % of a call).
    gc.disable()
    gc.set_threshold(50_000, 20, 50)
    try:
        status = _carried_out(options)
        sys.stdout.flush()
    except (OperatorError, PackError) as error:
        return _fail(str(error))
    except Refusal as refusal:
        return _fail(sentence_of(refusal))
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
    finally:
        gc.enable()
    return status


def _carried_out(options: argparse.Namespace) -> int:
    """The exit status; `run` names the module of the command and its function."""
    module, _, function = options.run.partition(":")
    status: int = getattr(import_module(f"service.commands.{module}"), function)(options)
    return status


def _fail(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="coding-assist", description="FHIR Coding Assist")
    parser.add_argument("--version", action="version", version=f"coding-assist {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: str, told: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=told, description=told)
        added.set_defaults(run=run)
        return added

    serving = command("serve", "serve:serve", "Start the service.")
    serving.add_argument("--host", help=f"address to listen on ({HOST})")
    serving.add_argument("--port", type=_port, help=f"port to listen on ({PORT}); 0 takes a free one")
    serving.add_argument("--workers", type=_positive, help="processes (2, or 1 on a single core)")
    checking = command("check", "check:check", "Judge the records of files as before a claim; findings as NDJSON.")
    checking.add_argument("inputs", nargs="+", metavar="INPUT", help="NDJSON, Bundle or resource file; - is stdin")
    checking.add_argument(
        "--output", type=Path, metavar="F", help="file for the findings, NDJSON or F.parquet (stdout)"
    )
    checking.add_argument("--summary", type=Path, metavar="F", help="HTML page with the figures in charts")
    checking.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes (1)")
    checking.add_argument(
        "--all", action="store_true", dest="every", help="a line for each Condition, each read in full"
    )
    explaining = command(
        "explain", "knowledge:explain", "Show one record with its evidence, elements, rules and questions."
    )
    explaining.add_argument("file", metavar="FILE", help="a Condition, Bundle or Parameters; - is stdin")
    explaining.add_argument("--claim", action="store_true", help="judge as before a claim")
    listing = command("rules", "knowledge:rules", "List the rules, or show one whole.")
    listing.add_argument("rule_id", nargs="?", metavar="RULE-ID")
    scoring = command("evaluate", "knowledge:evaluate", "Score the narrative reader against labelled texts.")
    scoring.add_argument("--texts", type=Path, required=True, metavar="F", help="JSON lines with id and text")
    scoring.add_argument("--gold", type=Path, required=True, metavar="F", help="JSON lines with id, assertions and doc")
    scoring.add_argument("--predictions", type=Path, metavar="F", help="file for what was read, in the gold's format")
    command("compile", "knowledge:compiled", "Make starts and answers quicker: run it after installing.")
    exporting = command("export", "store:export", "Write what the store holds as NDJSON, oldest first.")
    exporting.add_argument("what", choices=["audit", "feedback", "queries"])
    verifying = command(
        "verify-audit", "store:verify_audit", "Find audit records that were changed, removed or reordered."
    )
    verifying.add_argument("--against", type=Path, metavar="F", help="ends of the chains that were noted before")
    verifying.add_argument(
        "--note", type=Path, metavar="F", help="file for the ends of the chains, to be kept elsewhere"
    )
    replaying = command("replay", "store:replay", "Make a past answer again, byte for byte, from its input.")
    replaying.add_argument("decision", metavar="DECISION", help="its id, as the audit record names it")
    replaying.add_argument(
        "file", metavar="FILE", nargs="?", help="the body that was sent; - is stdin; the one that was kept if left out"
    )
    removing = command(
        "remove-patient", "store:remove_patient", "Remove what is kept of one patient but for audit records."
    )
    removing.add_argument("patient", metavar="PATIENT", help="the reference, such as Patient/123")
    removing.add_argument("--client", default="", metavar="ID", help="the client that sent it (none)")
    adding = command("add-release", "knowledge:release", "Add an official ICD-10-CM release to the terminology.")
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


if __name__ == "__main__":
    sys.exit(main())
