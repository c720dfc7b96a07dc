"""`export`, `verify-audit`, `replay` and `remove-patient`: what the store holds."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.assist import open_assist
from service.bulk_output import written_whole
from service.errors import OperatorError
from service.inputs import KeyFileError
from service.journal import Journal
from service.recording import removal_entry
from service.replay import replay as made_again
from service.settings import PREFIX, Settings, read_settings
from service.store import Store, instant, open_store


@contextmanager
def _store() -> Iterator[Store]:
    store = open_store(read_settings(os.environ).database_url, patient=True)
    try:
        yield store
    finally:
        store.close()


def export(options: argparse.Namespace) -> int:
    with _store() as store:
        held = {"feedback": store.export_feedback, "queries": store.export_queries}
        lines = store.export_audit() if options.what == "audit" else map(json.dumps, held[options.what]())
        for line in lines:
            print(line)
    return 0


def verify_audit(options: argparse.Namespace) -> int:
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
        raise OperatorError(f"{path} does not hold ends of chains; give a file that --note has written.") from None


def replay(options: argparse.Namespace) -> int:
    with _store() as store:
        decision = store.decision(options.decision)
        if decision is None:
            raise OperatorError("There is no decision with this id; the audit records name those that are kept.")
        settings = read_settings(os.environ)
        made = made_again(decision, _sent(options.file, decision, settings), open_assist(settings), store)
    sys.stdout.buffer.write(made.answer)  # nothing added: it is the same bytes
    if made.differs:
        print(made.differs, file=sys.stderr)
    return 1 if made.differs else 0


def _sent(file: str | None, decision: dict[str, Any], settings: Settings) -> bytes:
    """The input of a decision, from where the operator has it."""
    if file is not None:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    if settings.inputs is None or "sealedInput" not in decision:
        raise OperatorError(f"The input was not kept; give FILE. Inputs are kept where {PREFIX}INPUT_KEYS is set.")
    try:
        return settings.inputs.opened(decision["sealedInput"])
    except KeyFileError as wrong:
        raise OperatorError(f"{PREFIX}INPUT_KEYS: {wrong}.") from None


def remove_patient(options: argparse.Namespace) -> int:
    """The audit records stay, as the law asks, and say that it was done."""
    settings, now = read_settings(os.environ), datetime.now(UTC)
    with _store() as store:
        patient = store.hashed(options.client, options.patient)
        counts = store.remove_patient(patient)
        journal = Journal(store, waits=True)
        journal.write(removal_entry(instant(now), patient, settings.base_url, counts))
        journal.close()
        store.empty_log()
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())) + " removed.")
    return 0
