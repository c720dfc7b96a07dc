"""One AuditEvent for each access to a patient's data, in chains that show what was changed, removed or reordered."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from fhir.resources.R4B.auditevent import AuditEvent
from flask import Flask
from flask.testing import FlaskClient

from service import retention
from service.app import create_app
from service.assist import Assist
from service.audit import chained
from service.journal import Journal
from service.settings import SettingError, Settings, read_settings
from service.store import Chain, Entry, Store, StoreUnavailable, open_store
from tests.records import ASSIST, BARE, CANARY, CHECK, COMPLETE, HOOK, bundle, call, condition
from tests.running import REPO

Json = dict[str, Any]
NOW = datetime(2026, 11, 16, 8, 0, tzinfo=UTC)


@pytest.fixture
def app(assist: Assist, store: Store) -> Iterator[Flask]:
    """The service with the record on the disk before the answer."""
    made = create_app(Settings(audit="sync", base_url="https://coding.example"), assist, store)
    yield made
    made.extensions["journal"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def events(store: Store) -> list[Json]:
    return [json.loads(line) for line in store.export_audit()]


def entity(event: Json, code: str) -> Json:
    (found,) = [one for one in event["entity"] if one["type"]["code"] == code and "query" not in one]
    return found


# --- what is recorded ---------------------------------------------------------------------------------------------

DECIDING = [(HOOK, call()), (ASSIST, condition()), (CHECK, condition())]
DOORS = [*DECIDING, ("/fhir/Condition/$validate", condition())]


@pytest.mark.parametrize(("door", "body"), DOORS)
def test_each_door_leaves_one_audit_event_that_names_the_patient(
    client: FlaskClient, store: Store, door: str, body: Json
) -> None:
    answered = client.post(door, json=body)
    assert answered.status_code == 200
    (event,) = events(store)
    assert entity(event, "1")["what"] == {"reference": "Patient/p1"}
    assert entity(event, "XrequestId")["what"]["identifier"]["value"] == answered.headers["X-Request-ID"]
    assert event["outcome"] == "0"


@pytest.mark.proves("BALP: PatientQuery")
def test_an_audit_event_is_r4_and_has_the_slices_of_the_balp_profile(client: FlaskClient, store: Store) -> None:
    client.post(HOOK, json=call())
    (event,) = events(store)
    AuditEvent.model_validate(event)
    assert event["meta"]["profile"] == [
        "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientQuery"
    ]
    assert (event["type"]["code"], event["action"]) == ("rest", "E")
    agents = {agent["type"]["coding"][0]["code"]: agent for agent in event["agent"]}
    assert {"110153", "110152", "IRCP"} == set(agents)
    assert all({"who", "network"} <= set(agents[code]) for code in ("110153", "110152"))
    assert agents["IRCP"]["who"] == {"reference": "Practitioner/d1"}
    (query,) = [one for one in event["entity"] if "query" in one]
    assert base64.b64decode(query["query"]).decode() == f"POST {HOOK}"


@pytest.mark.parametrize(("door", "body"), DECIDING)
def test_no_word_of_the_patient_is_in_an_audit_event_or_a_decision(
    client: FlaskClient, store: Store, door: str, body: Json
) -> None:
    client.post(door, json=body)
    (line,) = store.export_audit()
    decision_id = entity(json.loads(line), "decision")["what"]["identifier"]["value"]
    kept = line + json.dumps(store.decision(decision_id))
    assert not [word for word in (*CANARY.lower().split(), "neural canal", "token") if word in kept.lower()]


def test_each_patient_of_a_bundle_has_an_audit_event(client: FlaskClient, store: Store) -> None:
    client.post(ASSIST, json=bundle(condition(), condition(patient="p2", condition_id="c2")))
    assert [entity(event, "1")["what"]["reference"] for event in events(store)] == ["Patient/p1", "Patient/p2"]


@pytest.mark.proves("issue 6: X-Forwarded headers are believed only from configured proxies")
@pytest.mark.parametrize(("peer", "recorded"), [("10.0.0.1", "198.51.100.1"), ("192.0.2.1", "192.0.2.1")])
def test_an_audit_event_names_the_address_behind_a_trusted_proxy_alone(
    assist: Assist, store: Store, peer: str, recorded: str
) -> None:
    app = create_app(
        replace(read_settings({"CODING_ASSIST_TRUSTED_PROXIES": "10.0.0.0/8"}), audit="sync"), assist, store
    )
    forwarded: Json = {"headers": {"X-Forwarded-For": f"{CANARY}, 198.51.100.1"}, "environ_base": {"REMOTE_ADDR": peer}}
    assert app.test_client().post(ASSIST, json=condition(), **forwarded).status_code == 200
    app.extensions["journal"].close()
    (event,) = events(store)
    [client] = [agent for agent in event["agent"] if agent["type"]["coding"][0]["code"] == "110153"]
    assert client["network"]["address"] == recorded
    assert CANARY not in json.dumps(event)


def test_a_subject_that_is_no_plain_reference_is_recorded_as_a_hash(client: FlaskClient, store: Store) -> None:
    client.post(ASSIST, json={**condition(), "subject": {"identifier": {"value": CANARY}}})
    (event,) = events(store)
    assert len(entity(event, "1")["what"]["identifier"]["value"]) == 64
    assert CANARY not in json.dumps(event)


def test_a_body_that_cannot_be_opened_is_no_access(client: FlaskClient, store: Store) -> None:
    assert client.post(ASSIST, json={"resourceType": "Condition"}).status_code >= 400
    assert events(store) == []


def test_an_access_that_ends_in_a_crash_is_recorded_as_failed(
    client: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Assist, "answer", lambda *_: 1 / 0)
    assert client.post(ASSIST, json=condition()).status_code == 500
    (event,) = events(store)
    assert event["outcome"] == "8"
    assert "meta" not in event  # the profile is one of successful accesses


def test_of_an_answer_that_did_not_go_out_no_decision_is_kept(
    client: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.fhir_api.answer_parameters", lambda *_: 1 / 0)
    assert client.post(ASSIST, json=condition(BARE)).status_code == 500
    (event,) = events(store)
    assert "decision" not in {one["type"]["code"] for one in event["entity"]}
    assert list(store.export_queries()) == []


def test_the_setting_takes_group_and_sync_alone() -> None:
    assert read_settings({}).audit == "group"
    with pytest.raises(SettingError, match="group, sync"):
        read_settings({"CODING_ASSIST_AUDIT": "never"})


# --- the chain ----------------------------------------------------------------------------------------------------


def entry(number: int, at: datetime = NOW) -> Entry:
    recorded = (at + timedelta(seconds=number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Entry(recorded, (json.dumps({"number": number, "recorded": recorded}),))


@pytest.fixture
def filled(store: Store) -> Store:
    """Two writers that have written in turns, four records each."""
    one, other = store.open_chain("one", NOW), store.open_chain("other", NOW)
    for number in range(0, 8, 2):
        one = store.append(one, [entry(number)])
        other = store.append(other, [entry(number + 1)])
    return store


def tampered(database_url: str, *statements: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


def faults(store: Store, known: Json | None = None) -> list[str]:
    return list(store.chain_faults(known or {}))


def test_records_as_they_were_written_have_no_fault(filled: Store) -> None:
    assert faults(filled) == []
    assert [json.loads(line)["number"] for line in filled.export_audit()] == list(range(8))


def test_records_are_exported_by_their_time_and_checked_whole_over_many_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.PAGE", 2)
    one, other = store.open_chain("one", NOW), store.open_chain("other", NOW)
    store.append(other, [entry(number) for number in (1, 3, 5, 7)])
    store.append(one, [entry(number) for number in (0, 2, 4, 6)])
    assert [json.loads(line)["number"] for line in store.export_audit()] == list(range(8))
    assert faults(store) == []


@pytest.mark.parametrize(
    ("removed", "told"),
    [
        (["DELETE FROM audit_record WHERE writer = 'one' AND number = 2"], "Chain 1, record 2: removed."),
        (
            ["DELETE FROM audit_record WHERE writer = 'one'", "DELETE FROM audit_chain WHERE writer = 'one'"],
            "Chain 1 is missing: its records were removed.",
        ),
    ],
)
def test_what_was_removed_is_told_once_and_the_rest_is_not_blamed(
    filled: Store, database_url: str, removed: list[str], told: str
) -> None:
    filled.open_chain("third", NOW)
    tampered(database_url, *removed)
    assert faults(filled) == [told]


SECOND = "writer = 'one' AND number = 2"
THIRD = "writer = 'one' AND number = 3"
TAMPERING = {
    "changed": ([f"UPDATE audit_record SET event = replace(event, 'number', 'numbxr') WHERE {SECOND}"], "record 2"),
    "its time changed": ([f"UPDATE audit_record SET recorded = '2020-01-01T00:00:00.000Z' WHERE {SECOND}"], "record 2"),
    "removed from the middle": ([f"DELETE FROM audit_record WHERE {SECOND}"], "record 2: removed"),
    "removed from the front": (["DELETE FROM audit_record WHERE writer = 'one' AND number = 1"], "record 1: removed"),
    "removed from the end": (["DELETE FROM audit_record WHERE writer = 'one' AND number = 4"], "after 3: removed"),
    "reordered": (
        [
            f"UPDATE audit_record SET number = 99 WHERE {SECOND}",
            f"UPDATE audit_record SET number = 2 WHERE {THIRD}",
            "UPDATE audit_record SET number = 3 WHERE writer = 'one' AND number = 99",
        ],
        "record 2",
    ),
    "added": (
        ["INSERT INTO audit_record VALUES ('one', 0, '2026-11-16T08:00:00.000Z', '{}', 'x')"],
        "record 0: stands where none belongs",
    ),
    "added by a stranger": (
        ["INSERT INTO audit_record VALUES ('x', 1, '2026-11-16T08:00:00.000Z', '{}', 'x')"],
        "Writer x has records and no chain",
    ),
    "a whole chain removed": (
        ["DELETE FROM audit_record WHERE writer = 'one'", "DELETE FROM audit_chain WHERE writer = 'one'"],
        "Chain 1 is missing",
    ),
    "a whole chain removed and the next one put in its place": (
        [
            "DELETE FROM audit_record WHERE writer = 'one'",
            "DELETE FROM audit_chain WHERE writer = 'one'",
            "UPDATE audit_chain SET number = 1 WHERE writer = 'other'",
        ],
        "Chain 1 does not follow",
    ),
    "all records of a chain removed": (["DELETE FROM audit_record WHERE writer = 'other'"], "after 0: removed"),
}


@pytest.mark.proves("verify-audit: changed, removed, reordered")
@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_found_and_told_where(filled: Store, database_url: str, how: str) -> None:
    statements, told = TAMPERING[how]
    tampered(database_url, *statements)
    assert any(told in fault for fault in faults(filled)), faults(filled)


def test_a_record_written_anew_with_its_own_hash_does_not_lead_to_the_next(filled: Store, database_url: str) -> None:
    first, second = list(filled._chain_records("one"))[:2]
    forged = second.event.replace("number", "numbxr")
    tampered(
        database_url,
        f"UPDATE audit_record SET event = '{forged}', hash = '{chained(first.hash, 'one', 2, forged)}' WHERE {SECOND}",
    )
    assert any("record 3: changed" in fault for fault in faults(filled))


def test_the_hash_of_a_record_holds_what_came_before_its_writer_its_place_and_its_text() -> None:
    made = [("before", "one", 1, "{}"), ("", "one", 1, "{}"), ("before", "other", 1, "{}"), ("before", "one", 2, "{}"),
            ("before", "one", 1, "{ }")]  # fmt: skip
    assert len({chained(*record) for record in made}) == len(made)


def test_ends_noted_elsewhere_show_what_was_cut_off_with_its_traces(filled: Store, database_url: str) -> None:
    known = filled.chain_ends()
    cut = [json.loads(json.dumps(known["other"]))["number"] - 1]
    tampered(
        database_url,
        "DELETE FROM audit_record WHERE writer = 'other' AND number = 4",
        "UPDATE audit_chain SET last_number = 3, last_hash = "
        "(SELECT hash FROM audit_record WHERE writer = 'other' AND number = 3) WHERE writer = 'other'",
    )
    assert faults(filled) == []
    assert any(f"records after {cut[0]}: removed" in fault for fault in faults(filled, known))


def test_ends_noted_elsewhere_show_that_a_chain_was_written_anew_to_its_end(filled: Store, database_url: str) -> None:
    known = filled.chain_ends()
    *_, before, last = filled._chain_records("one")
    forged = last.event.replace("number", "numbxr")
    made = chained(before.hash, "one", last.number, forged)
    tampered(
        database_url,
        f"UPDATE audit_record SET event = '{forged}', hash = '{made}' WHERE writer = 'one' AND number = {last.number}",
        f"UPDATE audit_chain SET last_hash = '{made}' WHERE writer = 'one'",
    )
    assert faults(filled) == []  # whoever may write it all can make it all fit
    assert faults(filled, known) == [f"Chain 1, record {last.number}: not the one that was noted before."]


def test_ends_noted_elsewhere_show_that_the_newest_chain_is_gone(filled: Store, database_url: str) -> None:
    known = filled.chain_ends()
    tampered(
        database_url,
        "DELETE FROM audit_record WHERE writer = 'other'",
        "DELETE FROM audit_chain WHERE writer = 'other'",
    )
    assert faults(filled) == []
    assert faults(filled, known) == ["Chain of writer other, which was noted before, is missing."]


def test_what_is_written_on_after_the_ends_were_noted_is_no_fault(filled: Store) -> None:
    known = filled.chain_ends()
    filled.append(Chain("one", known["one"]["number"], known["one"]["hash"]), [entry(9)])
    assert faults(filled, known) == []


def test_a_batch_written_again_after_a_commit_of_unknown_end_is_kept_once(store: Store) -> None:
    chain = store.open_chain("one", NOW)
    assert store.append(chain, [entry(0), entry(1)]) == store.append(chain, [entry(0), entry(1)])
    assert len(events(store)) == 2
    assert faults(store) == []


@pytest.mark.proves("retention: what is old is let go, and the chain still verifies")
def test_old_records_are_let_go_and_the_rest_still_verifies(filled: Store, database_url: str) -> None:
    known = filled.chain_ends()
    counts = filled.retire(NOW + timedelta(seconds=4), NOW)
    assert counts["audit_record"] == 4
    assert [event["number"] for event in events(filled)] == [4, 5, 6, 7]
    assert faults(filled, known) == []
    tampered(database_url, f"DELETE FROM audit_record WHERE {THIRD}")
    assert faults(filled) != []


def test_the_oldest_records_are_let_go_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.retention.PAGE", 2)
    one, other = store.open_chain("one", NOW), store.open_chain("other", NOW)
    store.append(other, [entry(number) for number in (4, 5, 6, 7)])
    store.append(one, [entry(number) for number in (0, 1, 2, 3)])
    with store._transaction() as connection:
        assert retention._cut_chains(connection, entry(9).recorded) == 2
    assert [event["number"] for event in events(store)] == [2, 3, 4, 5, 6, 7]


def test_a_chain_begins_where_the_worker_that_came_further_says(filled: Store) -> None:
    with filled._transaction() as connection:
        assert [retention._cut_chain(connection, "one", last) for last in (3, 2, 3)] == [3, 0, 0]
    assert faults(filled) == []


# --- the writer ---------------------------------------------------------------------------------------------------


class Failing:
    """A store whose disk is full until it is not."""

    def __init__(self, store: Store) -> None:
        self.store, self.full = store, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def append(self, *arguments: Any) -> Chain:
        if self.full:
            raise StoreUnavailable("full")
        return self.store.append(*arguments)


def until(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold within some seconds."""
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


@pytest.mark.proves("AUDIT=sync: on the disk before the answer")
def test_in_sync_an_entry_is_kept_when_write_returns(database_url: str, store: Store) -> None:
    journal = Journal(store, waits=True)
    for number in range(3):
        journal.write(entry(number))
        reader = open_store(database_url)
        assert len(events(reader)) == number + 1
        reader.close()
    journal.close()


@pytest.mark.proves("AUDIT=group: kept within a moment, none lost at a stop in order")
def test_in_group_entries_are_kept_soon_and_all_of_them_at_the_stop(store: Store) -> None:
    journal = Journal(store, waits=False)
    journal.write(entry(0))
    assert until(lambda: len(events(store)) == 1)
    for number in range(1, 50):
        journal.write(entry(number))
    journal.close()
    assert [event["number"] for event in events(store)] == list(range(50))
    assert faults(store) == []


@pytest.mark.proves("AUDIT=group: on the disk within 50 ms")
def test_in_group_a_record_waits_no_50_ms_though_others_keep_coming(database_url: str, store: Store) -> None:
    """The best of ten: a busy machine can hold up any one of them."""
    journal, reader, took, written = Journal(store, waits=False), open_store(database_url), list[float](), 0
    for _ in range(11):  # the first opens the chain
        began = time.monotonic()
        while len(events(reader)) == written and time.monotonic() < began + 1:
            journal.write(entry(written))
            time.sleep(0.001)
        took.append(time.monotonic() - began)
        journal.write(entry(written))
        assert until(lambda: not journal._waiting)
        written = len(events(reader))
    journal.close()
    reader.close()
    assert min(took[1:]) < 0.05


@pytest.mark.parametrize("waits", [True, False])
def test_an_entry_whose_write_failed_is_kept_once_as_soon_as_there_is_room(store: Store, waits: bool) -> None:
    failing = Failing(store)
    journal = Journal(failing, waits=waits)  # type: ignore[arg-type]
    if waits:
        with pytest.raises(StoreUnavailable):
            journal.write(entry(0))
    else:
        journal.write(entry(0))
        assert until(lambda: journal._failing)
    with pytest.raises(StoreUnavailable):
        journal.write(entry(1))
    failing.full = False
    assert until(lambda: not journal._failing)
    journal.write(entry(2))
    journal.close()
    assert [event["number"] for event in events(store)] == [0, 2]


def test_a_lock_that_was_not_had_once_is_asked_for_again_before_anybody_is_refused(store: Store) -> None:
    busy, tries = Failing(store), [StoreUnavailable("locked"), None]

    def append(*given: Any) -> Any:
        if tries and (fault := tries.pop(0)):
            raise fault
        return store.append(*given)

    busy.append = append  # type: ignore[method-assign]
    journal = Journal(busy, waits=True)  # type: ignore[arg-type]
    journal.write(entry(0))
    journal.close()
    assert [event["number"] for event in events(store)] == [0]


@pytest.mark.proves("reliability: no answer about a patient without its record; 503, then recovery by itself")
def test_without_a_record_there_is_no_answer(assist: Assist, store: Store) -> None:
    failing = Failing(store)
    app = create_app(Settings(audit="sync"), assist, failing)  # type: ignore[arg-type]
    client = app.test_client()
    refused = client.post(HOOK, json=call())
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert "cards" not in refused.text
    failing.full = False
    assert until(lambda: client.post(HOOK, json=call()).status_code == 200)
    app.extensions["journal"].close()


def test_readyz_tells_that_the_journal_cannot_write(assist: Assist, store: Store) -> None:
    failing = Failing(store)
    app = create_app(Settings(audit="sync"), assist, failing)  # type: ignore[arg-type]
    assert app.test_client().get("/readyz").status_code == 200
    app.test_client().post(HOOK, json=call())
    assert app.test_client().get("/readyz").status_code == 503
    failing.full = False
    assert until(lambda: app.test_client().get("/readyz").status_code == 200)
    app.extensions["journal"].close()


def test_in_sync_a_write_that_does_not_end_is_not_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.journal.PATIENCE_SECONDS", 0.2)
    go_on, hanging = threading.Event(), Failing(store)
    hanging.append = lambda *given: go_on.wait(20) and store.append(*given)  # type: ignore[method-assign]
    journal, began = Journal(hanging, waits=True), time.monotonic()  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        journal.write(entry(0))
    assert time.monotonic() - began < 10
    go_on.set()
    assert until(lambda: len(events(store)) == 1)
    journal.close()


def test_while_a_write_does_not_end_nothing_more_is_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.journal.PATIENCE_SECONDS", 0.2)
    go_on, hanging = threading.Event(), Failing(store)
    hanging.append = lambda *given: go_on.wait(5) and store.append(*given)  # type: ignore[method-assign]
    journal = Journal(hanging, waits=False)  # type: ignore[arg-type]
    journal.write(entry(0))
    time.sleep(0.4)
    with pytest.raises(StoreUnavailable):
        journal.write(entry(1))
    go_on.set()
    assert until(lambda: not journal._waiting)
    journal.write(entry(2))
    journal.close()
    assert [event["number"] for event in events(store)] == [0, 2]


def test_after_its_stop_a_journal_takes_nothing_more(store: Store) -> None:
    journal = Journal(store, waits=False)
    journal.write(entry(0))
    journal.close()
    with pytest.raises(StoreUnavailable):
        journal.write(entry(1))
    assert [event["number"] for event in events(store)] == [0]


def test_a_process_that_ends_in_order_writes_what_is_waiting(database_url: str, store: Store) -> None:
    script = (
        "import json, sys; from service.journal import Journal; from service.store import Entry, open_store\n"
        "journal = Journal(open_store(sys.argv[1]), waits=False)\n"
        "for number in range(200): journal.write(Entry('x', (json.dumps({'number': number, 'recorded': 'x'}),)))\n"
    )
    subprocess.run([sys.executable, "-c", script, database_url], cwd=REPO, check=True, timeout=60)
    assert [event["number"] for event in events(store)] == list(range(200))


def test_a_fault_that_was_not_foreseen_does_not_end_the_writer(store: Store) -> None:
    broken, faults = Failing(store), [ValueError(CANARY), ValueError(CANARY)]

    def append(*given: Any) -> Any:
        if faults:
            raise faults.pop()
        return store.append(*given)

    broken.append = append  # type: ignore[method-assign]
    journal = Journal(broken, waits=False)  # type: ignore[arg-type]
    journal.write(entry(0))
    assert until(lambda: not journal._waiting)
    journal.write(entry(1))
    journal.close()
    assert [event["number"] for event in events(store)] == [0, 1]


def test_requests_at_once_share_flushes_and_lose_none(store: Store) -> None:
    journal = Journal(store, waits=True)
    threads = [threading.Thread(target=journal.write, args=[entry(number)]) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert sorted(event["number"] for event in events(store)) == list(range(40))
    assert faults(store) == []


def test_a_record_that_asks_is_in_the_export_of_queries_with_what_it_asks(client: FlaskClient, store: Store) -> None:
    client.post(ASSIST, json=condition(BARE))
    (asked,) = store.export_queries()
    assert asked["condition"] == "Condition/c1"
    assert "region" in asked["ask"]
    assert store.add_answer(asked["id"], "answered", {"region": "cervical"}, NOW)
    assert not store.add_answer(asked["id"], "answered", {"region": "cervical"}, NOW)
    (told,) = store.export_queries()
    assert told["answers"] == [{"answered": "2026-11-16T08:00:00.000Z", "outcome": "answered", "region": "cervical"}]


def test_a_complete_record_asks_nothing_about_the_code(client: FlaskClient, store: Store) -> None:
    client.post(ASSIST, json=condition(COMPLETE))
    assert all("region" not in query["ask"] for query in store.export_queries())
