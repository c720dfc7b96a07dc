"""What is let go while others write: a page at a time, by several workers at once, and again after a failure."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from service import housekeeping
from service.cli import main
from service.housekeeping import keep_house, start_housekeeping
from service.store import Card, Decision, Entry, Feedback, Store, instant, open_store
from tests.records import CANARY

NOW = datetime(2026, 11, 16, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MANY = 60


def filled(store: Store) -> Store:
    """Two chains with a decision, a card, its feedback and a token for each of their records."""
    for writer in ("one", "other"):
        chain = store.open_chain(writer, NOW)
        for number in range(MANY // 2):
            at = instant(NOW + timedelta(seconds=number))
            name = f"{writer}-{number}"
            decided = Decision(name, at, {}, ("patient",), (Card(f"card-{name}", "code", "visit", ()),))
            chain = store.append(chain, [Entry(at, (json.dumps({"recorded": at}),), decided)])
            store.add_feedback("", [Feedback(f"card-{name}", {"outcome": "overridden"})], NOW)
            store.see_token("ehr", name, NOW)
    return store


def is_empty(store: Store) -> bool:
    kept = [*store.export_audit(), *store.export_feedback(), *store.export_queries(), store.decision("one-0")]
    return kept == [None]


@pytest.mark.proves("retention: what is let go keeps no call waiting")
def test_what_is_old_is_let_go_in_pages_between_which_others_may_write(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.retention.PAGE", 10)
    filled(store)
    deleted, largest = [0], [0]

    def count(_connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            deleted[0] += max(cursor.rowcount, 0)  # type: ignore[attr-defined]

    def commit(_connection: object) -> None:
        largest[0], deleted[0] = max(largest[0], deleted[0]), 0

    sa.event.listen(store._engine, "after_cursor_execute", count)
    sa.event.listen(store._engine, "commit", commit)
    counts = store.retire(NOW + DAY, NOW + DAY)
    assert {
        name: counts[name] for name in ("decision", "card", "feedback", "override", "seen_token", "audit_record")
    } == {**dict.fromkeys(("decision", "card", "feedback", "override", "seen_token", "audit_record"), MANY)}
    assert largest[0] <= 10 * 5  # ten decisions, each with subject, card, feedback and override
    assert is_empty(store)
    assert list(store.chain_faults({})) == []


def test_a_patient_with_more_than_a_page_of_decisions_is_removed_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.retention.PAGE", 25)
    assert filled(store).remove_patient("patient")["decision"] == MANY
    assert store.decision("other-29") is None


def test_between_pages_whoever_writes_is_let_in(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("service.retention.PAGE", 10)
    monkeypatch.setattr("service.retention.time", SimpleNamespace(sleep=pauses.append))
    for number in range(30):
        store.see_token("ehr", str(number), NOW)
    store.forget_expired(NOW + DAY)
    assert len(pauses) == 3 and min(pauses) > 0


def test_workers_that_let_go_at_once_leave_chains_whole(
    database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.retention.PAGE", 3)
    filled(store)
    stores = [open_store(database_url) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda one: keep_house(one, 1, NOW + 2 * DAY), stores))
    for one in stores:
        one.close()
    assert list(store.chain_faults({})) == []
    store.retire(NOW + DAY, NOW + DAY)  # what one left to another that had gone
    assert is_empty(store)
    assert list(store.chain_faults({})) == []


def test_housekeeping_goes_on_after_a_failure(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries, kept = [ValueError(CANARY)], threading.Event()

    def keep(*_: object) -> dict[str, int]:
        if tries:
            raise tries.pop()
        kept.set()
        return {}

    monkeypatch.setattr(housekeeping, "keep_house", keep)
    monkeypatch.setattr(housekeeping, "EVERY_SECONDS", 0.01)
    start_housekeeping(store, 1)
    assert kept.wait(5)
    monkeypatch.setattr(housekeeping, "EVERY_SECONDS", 3600.0)
    assert CANARY not in caplog.text


@pytest.mark.proves("removal: nothing of the patient is left where the command says so")
def test_a_removal_whose_log_others_hold_on_to_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setenv("CODING_ASSIST_DATABASE_URL", url)
    monkeypatch.setattr("service.database.PATIENT_SECONDS", 0.2)
    store = filled(open_store(url))
    reading = sa.create_engine(url).connect()
    reading.exec_driver_sql("BEGIN")
    reading.exec_driver_sql("SELECT count(*) FROM feedback").scalar()
    assert main(["remove-patient", "Patient/p1"]) == 2
    assert "say it again" in capfd.readouterr().err
    reading.close()
    assert main(["remove-patient", "Patient/p1"]) == 0
    store.close()
