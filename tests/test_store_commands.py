"""What the operator asks of the store: export, verify-audit, replay, remove-patient, retention."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.cli import main
from service.housekeeping import keep_house
from service.settings import SettingError, Settings, read_settings
from service.store import Binding, Feedback, NewForm, Store, instant
from tests.records import ASSIST, BARE, CANARY, CHECK, COMPLETE, HOOK, call, condition

Json = dict[str, Any]
NOW = datetime(2026, 11, 16, 8, 0, tzinfo=UTC)
MINE = Binding("", "Patient/p1", "Practitioner/d1")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("CODING_ASSIST_DATABASE_URL", database_url)


@pytest.fixture
def client(assist: Assist, store: Store) -> Iterator[FlaskClient]:
    app = create_app(Settings(audit="sync"), assist, store)
    yield app.test_client()
    app.extensions["journal"].close()


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    printed = capfd.readouterr()
    return status, printed.out, printed.err


def lines(capfd: pytest.CaptureFixture[str], what: str) -> list[Json]:
    status, out, _ = run(capfd, "export", what)
    assert status == 0
    return [json.loads(line) for line in out.splitlines()]


def decisions(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """The decisions that the audit records name, oldest first."""
    entities = [entity for event in lines(capfd, "audit") for entity in event["entity"]]
    return [str(e["what"]["identifier"]["value"]) for e in entities if e["type"]["code"] == "decision"]


def decision_of(capfd: pytest.CaptureFixture[str]) -> str:
    """The decision that the newest audit record names."""
    return decisions(capfd)[-1]


# --- export -------------------------------------------------------------------------------------------------------


def test_the_exports_are_ndjson_oldest_first(
    client: FlaskClient, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        client.post(ASSIST, json=condition(BARE, patient=f"p{number}", condition_id=f"c{number}"))
    store.add_feedback("", [Feedback(f"card-{number}", {"outcome": "accepted"}) for number in range(1100)], NOW)
    patients = [event["entity"][2]["what"]["reference"] for event in lines(capfd, "audit")]
    assert patients == ["Patient/p0", "Patient/p1", "Patient/p2"]
    assert [one["card"] for one in lines(capfd, "feedback")] == [f"card-{number}" for number in range(1100)]
    assert [one["condition"] for one in lines(capfd, "queries")] == [f"Condition/c{number}" for number in range(3)]


def test_a_query_is_exported_with_the_uuid_of_its_card(client: FlaskClient, capfd: pytest.CaptureFixture[str]) -> None:
    cards = client.post(HOOK, json=call(condition(BARE))).get_json()["cards"]
    queries = [card["uuid"] for card in cards if card["source"]["topic"]["code"] == "documentation-query"]
    assert queries
    assert [one["card"] for one in lines(capfd, "queries")] == queries


def test_a_retry_of_a_call_does_not_ask_twice(client: FlaskClient, capfd: pytest.CaptureFixture[str]) -> None:
    assert [client.post(HOOK, json=call(condition(BARE))).status_code for _ in range(2)] == [200, 200]
    assert len(lines(capfd, "queries")) == 1
    assert len(lines(capfd, "audit")) == 2


# --- verify-audit -------------------------------------------------------------------------------------------------


def test_verify_audit_says_that_all_is_as_written_and_notes_the_ends(
    client: FlaskClient, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    client.post(ASSIST, json=condition())
    status, out, _ = run(capfd, "verify-audit", "--note", str(tmp_path / "ends"))
    assert (status, out) == (0, "1 audit records in 1 chains are as they were written.\n")
    assert run(capfd, "verify-audit", "--against", str(tmp_path / "ends"))[0] == 0


def test_verify_audit_ends_with_1_and_the_place_of_what_was_tampered_with(
    client: FlaskClient, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    client.post(ASSIST, json=condition())
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE audit_record SET event = replace(event, 'Patient/p1', 'Patient/p2')"))
    engine.dispose()
    status, out, _ = run(capfd, "verify-audit")
    assert (status, out) == (1, "Chain 1, record 1: changed, or not in its place.\n")


def test_verify_audit_refuses_a_file_that_holds_no_ends(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ends").write_text("[1]")
    status, _, err = run(capfd, "verify-audit", "--against", str(tmp_path / "ends"))
    assert status == 2
    assert "--note" in err


# --- replay -------------------------------------------------------------------------------------------------------

CALLS = [(HOOK, call(condition(BARE))), (HOOK, call()), (ASSIST, condition(BARE)), (CHECK, condition(COMPLETE))]
CALLS += [(HOOK, {**call(condition(BARE)), "fhirAuthorization": {"access_token": "t"}})]  # of which no trace is kept


@pytest.mark.proves("replay: the same bytes when the input is supplied again")
@pytest.mark.parametrize(("door", "body"), CALLS)
def test_a_past_answer_is_replayed_to_the_same_bytes(
    client: FlaskClient, capfd: pytest.CaptureFixture[str], tmp_path: Path, door: str, body: Json
) -> None:
    given = client.post(door, data=json.dumps(body), content_type="application/json").get_data(as_text=True)
    without_token = {name: value for name, value in body.items() if name != "fhirAuthorization"}
    (tmp_path / "body.json").write_text(json.dumps(without_token, indent=3))
    assert run(capfd, "replay", decision_of(capfd), str(tmp_path / "body.json")) == (0, given, "")


def test_a_replay_knows_what_the_encounter_had_answered_by_then(
    client: FlaskClient, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    body = json.dumps(call(condition(BARE)))
    (tmp_path / "body.json").write_text(body)
    asked = client.post(HOOK, data=body, content_type="application/json").get_data(as_text=True)
    before = decision_of(capfd)
    [address] = [link["url"] for card in json.loads(asked)["cards"] for link in card.get("links", ())]
    time.sleep(0.01)  # times are kept to the millisecond
    assert client.post(f"{address}/decline", json={"reason": "declined"}).status_code == 200
    time.sleep(0.01)
    silent = client.post(HOOK, data=body, content_type="application/json").get_data(as_text=True)
    after = next(d for d in decisions(capfd) if d != before)
    assert json.loads(silent) == {"cards": []}
    assert run(capfd, "replay", before, str(tmp_path / "body.json")) == (0, asked, "")
    assert run(capfd, "replay", after, str(tmp_path / "body.json")) == (0, silent, "")


def test_a_replay_opens_no_form(
    client: FlaskClient, store: Store, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    body = json.dumps(call(condition(BARE)))
    (tmp_path / "body.json").write_text(body)
    client.post(HOOK, data=body, content_type="application/json")
    assert store.forget_expired(datetime.now(UTC) + timedelta(days=2))["form"] == 1
    assert run(capfd, "replay", decision_of(capfd), str(tmp_path / "body.json"))[0] == 0
    assert store.forget_expired(datetime.now(UTC) + timedelta(days=2))["form"] == 0


def test_another_input_is_not_replayed(client: FlaskClient, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    client.post(ASSIST, json=condition())
    (tmp_path / "body.json").write_text(json.dumps(condition(BARE)))
    status, out, err = run(capfd, "replay", decision_of(capfd), str(tmp_path / "body.json"))
    assert (status, out) == (2, "")
    assert "not the one of this decision" in err
    assert CANARY not in err


def test_a_replay_over_other_knowledge_says_what_differs(
    client: FlaskClient, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps(condition("Biomechanical narrowing of the lumbar spinal canal by the yellow cord of Smith"))
    client.post(ASSIST, data=body, content_type="application/json")
    (tmp_path / "body.json").write_text(body)
    page = "sources: [our clinic]\nconcepts:\n  - {kind: tissue, value: connective, terms: [yellow cord of Smith]}\n"
    (tmp_path / "site.yaml").write_text(page)
    decision = decision_of(capfd)
    monkeypatch.setenv("CODING_ASSIST_LEXICON", str(tmp_path / "site.yaml"))
    status, out, err = run(capfd, "replay", decision, str(tmp_path / "body.json"))
    assert (status, "M99.43" in out) == (1, True)
    assert "rested on other knowledge" in err


def test_a_decision_that_is_not_kept_is_told(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = run(capfd, "replay", "none", str(tmp_path))
    assert status == 2
    assert "no decision with this id" in err


def test_a_decision_names_codes_rules_and_offsets(
    client: FlaskClient, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    body = condition()
    client.post(ASSIST, json=body)
    decision = store.decision(decision_of(capfd))
    assert decision is not None
    (assessed,) = decision["assessments"]
    (suggested,) = assessed["suggestions"]
    place = suggested["evidence"][0]
    assert (suggested["code"], bool(suggested["rules"])) == ("M99.41", True)
    assert "stenosis" in body["code"]["text"][place["start"] : place["end"]]
    assert decision["packVersion"]


# --- removal and retention ----------------------------------------------------------------------------------------


def rows(database_url: str) -> dict[str, int]:
    """How many rows the tables hold in which something hangs on a patient."""
    engine = sa.create_engine(database_url)
    names = ("decision", "subject", "card", "query", "answer", "feedback", "form", "record")
    with engine.connect() as connection:
        counts = {name: int(connection.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar_one()) for name in names}
    engine.dispose()
    return counts


def test_one_patients_data_is_removed_and_the_others_stay(
    client: FlaskClient, store: Store, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (card,) = client.post(HOOK, json=call(condition(BARE))).get_json()["cards"][:1]
    client.post(ASSIST, json=condition(BARE, patient="p2", condition_id="c2"))
    store.add_feedback("", [Feedback(card["uuid"], {"outcome": "overridden", "userComment": CANARY})], NOW)
    store.add_answer(next(store.export_queries())["id"], "answered", {"note": CANARY}, NOW)
    store.open_forms([NewForm("form-1", "call-1", {"quote": CANARY})], MINE, {}, NOW, timedelta(hours=24))
    status, out, _ = run(capfd, "remove-patient", "Patient/p1")
    assert (status, out) == (
        0,
        "1 answer, 1 card, 1 decision, 1 feedback, 2 form, 1 override, 1 query, 2 record removed.\n",
    )
    assert lines(capfd, "feedback") == []
    assert [one["condition"] for one in lines(capfd, "queries")] == ["Condition/c2"]
    assert store.form("form-1", NOW) is None
    others = {"decision": 1, "subject": 1, "query": 1}
    assert {name: count for name, count in rows(database_url).items() if count} == others
    removal = lines(capfd, "audit")[-1]
    assert (removal["action"], "p1" in json.dumps(removal["entity"][0]["what"])) == ("D", False)
    assert run(capfd, "verify-audit")[0] == 0
    if database_url.startswith("sqlite"):
        folder = Path(database_url.removeprefix("sqlite:///")).parent
        assert not [path.name for path in folder.iterdir() if CANARY.encode() in path.read_bytes()]


def test_without_a_retention_nothing_but_tokens_is_let_go(client: FlaskClient, store: Store) -> None:
    client.post(ASSIST, json=condition(BARE))
    store.see_token("ehr", "jti", datetime.now(UTC))
    later = datetime.now(UTC) + timedelta(days=4000)
    assert keep_house(store, None, later) == {"seen_token": 1, "launch": 0, "form": 0, "record": 0}
    assert len(list(store.export_queries())) == 1


def test_what_is_older_than_the_retention_is_let_go(client: FlaskClient, store: Store, database_url: str) -> None:
    client.post(ASSIST, json=condition(BARE))
    store.add_feedback("", [Feedback("c", {"outcome": "accepted"})], datetime.now(UTC))
    store.open_forms([NewForm("form-1", "call-1", {})], MINE, {}, datetime.now(UTC), timedelta(days=31))
    store.open_forms([NewForm("form-2", "call-2", {})], MINE, {}, datetime.now(UTC), timedelta(days=1))
    store.close_form("form-2", "answered", {}, ("c", {}), datetime.now(UTC))
    soon, late = (datetime.now(UTC) + timedelta(days=days) for days in (29, 32))
    assert sum(keep_house(store, 30, soon).values()) == 0
    counts = keep_house(store, 30, late)
    assert {name for name, count in counts.items() if count} == {
        "answer",
        "audit_record",
        "decision",
        "feedback",
        "form",
        "query",
        "record",
    }
    assert [*store.export_audit(), *store.export_queries(), *store.export_feedback()] == []
    assert set(rows(database_url).values()) == {0}
    assert list(store.chain_faults({})) == []


@pytest.mark.parametrize("days", ["0", "-1", "a year", "36501", "9" * 30])
def test_a_retention_that_is_no_number_of_days_is_refused(days: str) -> None:
    with pytest.raises(SettingError, match="number of days"):
        read_settings({"CODING_ASSIST_RETENTION": days})


def test_a_command_on_a_database_that_cannot_be_opened_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CODING_ASSIST_DATABASE_URL", "postgresql+psycopg://secret@127.0.0.1:1/none")
    status, _, err = run(capfd, "export", "audit")
    assert status == 2
    assert err.count("\n") == 1
    assert "secret" not in err


def test_times_are_written_in_utc_and_sort() -> None:
    assert instant(datetime.fromisoformat("2026-11-16T09:15:30.1234+01:00")) == "2026-11-16T08:15:30.123Z"
