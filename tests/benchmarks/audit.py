"""What a record of each access costs: AUDIT=group against AUDIT=sync, on SQLite and PostgreSQL.

    python tests/benchmarks/audit.py [DATABASE_URL]

Without an address: SQLite in a temporary folder. Absolute times belong to this disk and this minute; compare the two
columns, which are measured in turns in the same run. A request here is one `write` of the journal with a record of a
usual size; `flushed` is the time from that call until another connection can read the record.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from service.audit import Access, audit_event, written
from service.journal import Journal
from service.store import Decision, Entry, Store, instant, open_store

REQUESTS = 300
ROUNDS = 3
THREADS = (1, 4)


def main() -> None:
    """Print the table."""
    with TemporaryDirectory(dir=Path.cwd()) as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/store.db"
        store = open_store(url)
        print(f"{'':28}{'group':>12}{'sync':>12}   group / sync")
        for threads in THREADS:
            group, sync = _in_turns(store, threads)
            rates = [len(one) / seconds for one, seconds in (group, sync)]
            _print(f"{threads} threads, requests/s", rates, 0)
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                waits = [_percentile(one, share) * 1000 for one, _ in (group, sync)]
                _print(f"{threads} threads, {name} wait in ms", waits, 3)
        flushed = [[_seconds_until_kept(store, waits=waits) for _ in range(40)] for waits in (False, True)]
        _print("flushed after, p50 in ms", [statistics.median(one) * 1000 for one in flushed], 1)
        _print("flushed after, worst in ms", [max(one) * 1000 for one in flushed], 1)
        print("" if not list(store.chain_faults({})) else "THE CHAINS HAVE FAULTS")
        store.close()


def _print(name: str, values: list[float], digits: int) -> None:
    shown = "".join(f"{value:12.{digits}f}" for value in values)
    print(f"{name:28}{shown}   {values[0] / values[1]:8.3f}")


def _in_turns(store: Store, threads: int) -> list[tuple[list[float], float]]:
    waits: tuple[list[float], list[float]] = ([], [])
    seconds = [0.0, 0.0]
    for _ in range(ROUNDS):
        for which, waiting in enumerate((False, True)):
            began = time.perf_counter()
            waits[which].extend(_load(store, threads, waits=waiting))
            seconds[which] += time.perf_counter() - began  # until all is flushed, in both
    return [(waits[which], seconds[which]) for which in (0, 1)]


def _load(store: Store, threads: int, *, waits: bool) -> list[float]:
    """Every request's wait for its record, in seconds."""
    journal, waited = Journal(store, waits=waits), list[float]()

    def work() -> None:
        for _ in range(REQUESTS // threads):
            entry, began = _entry(), time.perf_counter()
            journal.write(entry)
            waited.append(time.perf_counter() - began)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    journal.close()
    return waited


def _seconds_until_kept(store: Store, *, waits: bool) -> float:
    journal, entry = Journal(store, waits=waits), _entry()
    journal.write(_entry())  # opens the chain
    time.sleep(0.06)
    began = time.perf_counter()
    journal.write(entry)
    while entry.decision and store.decision(entry.decision.id) is None:
        time.sleep(0.0005)
    seconds = time.perf_counter() - began
    journal.close()
    return seconds


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


def _entry() -> Entry:
    """A record and a decision of the size that a chart with two conditions leaves."""
    at, decision_id = instant(datetime.now(UTC)), str(uuid4())
    access = Access(
        recorded=at,
        method="POST",
        path="/cds-services/coding-assist",
        status=200,
        request_id=uuid4().hex,
        client="https://ehr.example",
        address="10.0.0.7",
        user="Practitioner/d1",
        patient="Patient/p1",
        decision=decision_id,
        server="https://coding.example",
    )
    place = {"source": "Condition/c1", "expression": "Condition.code.text", "start": 22, "end": 83}
    content = {"assessments": [{"condition": "Condition/c1", "suggestions": [{"evidence": [place] * 8}]}] * 2}
    decision = Decision(decision_id, at, json.loads(json.dumps(content)), ("0" * 64,))
    return Entry(at, (written(audit_event(access)),), decision)


if __name__ == "__main__":
    main()
