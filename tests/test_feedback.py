"""Feedback on cards: kept before it is acknowledged, once however often it is sent, in HL7's words and in Epic's."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.readiness import EVERY_SECONDS
from service.settings import Settings
from service.store import Feedback, Store, open_store

Json = dict[str, Any]
ADDRESS = "/cds-services/coding-assist/feedback"
CARD = "3a1f0c52-6f2e-5c57-9c8f-0e6f6a7d9c11"
SUGGESTION = "6b0f5a4e-14a7-5bb4-8e4d-2a0f2f2b7a10"
NOW = datetime(2026, 11, 16, 8, 0, tzinfo=UTC)
CANARY = "Zebedee Quux"


@pytest.fixture
def client(assist: Assist, store: Store) -> FlaskClient:
    return create_app(Settings(), assist, store).test_client()


def accepted(**members: Any) -> Json:
    given = {"card": CARD, "outcome": "accepted", "outcomeTimestamp": "2026-11-16T08:15:30Z"}
    return given | {"acceptedSuggestions": [{"id": SUGGESTION}]} | members


def overridden(**members: Any) -> Json:
    return {"card": CARD, "outcome": "overridden", "outcomeTimestamp": "2026-11-16T08:15:30Z", **members}


def sent(client: FlaskClient, *items: Json) -> int:
    return client.post(ADDRESS, json={"feedback": list(items)}).status_code


def kept(store: Store) -> list[Json]:
    return [{name: value for name, value in one.items() if name != "received"} for one in store.export_feedback()]


@pytest.mark.proves("cds-hooks: feedback, accepted")
def test_an_accepted_suggestion_is_kept(client: FlaskClient, store: Store) -> None:
    assert sent(client, accepted()) == 200
    assert kept(store) == [
        {
            "card": CARD,
            "outcome": "accepted",
            "outcomeTimestamp": "2026-11-16T08:15:30.000Z",
            "acceptedSuggestions": [SUGGESTION],
        }
    ]


@pytest.mark.proves("cds-hooks: feedback, overridden with a reason and a comment")
def test_an_override_is_kept_with_its_reason_and_comment(client: FlaskClient, store: Store) -> None:
    reason = {"system": "http://example.org/reasons", "code": "not-now", "display": "Not now"}
    assert sent(client, overridden(overrideReason={"reason": reason, "userComment": "Later."})) == 200
    (one,) = kept(store)
    assert (one["reason"], one["userComment"]) == (reason, "Later.")


@pytest.mark.proves("cds-hooks: cds-fb-3, a comment alone is legal")
def test_a_comment_alone_is_kept(client: FlaskClient, store: Store) -> None:
    assert sent(client, overridden(overrideReason={"userComment": "Later."})) == 200
    assert kept(store)[0]["userComment"] == "Later."


def test_an_override_without_a_reason_is_kept(client: FlaskClient, store: Store) -> None:
    assert sent(client, overridden()) == 200
    assert kept(store)[0]["outcome"] == "overridden"


@pytest.mark.proves("epic: overrideReasons with the reason in an extension")
def test_epics_way_to_give_a_reason_is_understood(client: FlaskClient, store: Store) -> None:
    prefix = "com.epic.cdshooks.feedback.overrideReason."
    extension = {f"{prefix}reasonCategory": "45", f"{prefix}reasonDisplay": "Not for this patient"}
    assert sent(client, overridden(overrideReasons={"extension": extension, "userComment": "Later."})) == 200
    (one,) = kept(store)
    assert one["reason"] == {"system": prefix[:-1], "code": "45", "display": "Not for this patient"}
    assert one["userComment"] == "Later."


@pytest.mark.proves("cds-hooks: the same feedback may come several times")
def test_a_retry_is_acknowledged_and_kept_once(client: FlaskClient, store: Store) -> None:
    again = accepted(outcomeTimestamp="2026-11-16T09:15:30.000+01:00")  # the same moment, written otherwise
    assert [sent(client, accepted()), sent(client, accepted(), again), sent(client, accepted())] == [200, 200, 200]
    assert len(kept(store)) == 1


def test_the_store_says_how_much_was_new(store: Store) -> None:
    items = [Feedback("c1", {"outcome": "accepted"}), Feedback("c2", {"outcome": "accepted"})]
    assert [store.add_feedback("", given, NOW) for given in (items[:1], items, items)] == [1, 1, 0]


def test_two_clients_may_say_the_same_of_the_same_card(store: Store) -> None:
    said, now = [Feedback("c1", {"outcome": "accepted"})], datetime.now(UTC)
    assert [store.add_feedback(client, said, now) for client in ("one", "other", "one")] == [1, 1, 0]


def test_two_different_words_on_one_card_are_both_kept(client: FlaskClient, store: Store) -> None:
    assert sent(client, overridden(), overridden(overrideReason={"userComment": "Later."}), accepted()) == 200
    assert len(kept(store)) == 3


WRONG: list[tuple[str, Any]] = [
    ("feedback", {}),
    ("feedback", {"feedback": []}),
    ("feedback", {"feedback": "all well"}),
    ("feedback", {"feedback": [accepted(), 1]}),
    ("feedback", [accepted()]),
    ("feedback[0].card", {"feedback": [overridden(card="")]}),
    ("feedback[0].card", {"feedback": [overridden(card="x" * 101)]}),
    ("feedback[0].outcome", {"feedback": [overridden(outcome=CANARY)]}),
    ("feedback[0].outcomeTimestamp", {"feedback": [overridden(outcomeTimestamp="2026-11-16T08:15:30")]}),
    ("feedback[0].outcomeTimestamp", {"feedback": [overridden(outcomeTimestamp=CANARY)]}),
    ("feedback[0].acceptedSuggestions", {"feedback": [{**overridden(), "outcome": "accepted"}]}),
    ("feedback[0].acceptedSuggestions", {"feedback": [accepted(acceptedSuggestions=[{"id": 7}])]}),
    ("feedback[1].overrideReason", {"feedback": [accepted(), overridden(overrideReason={"reason": CANARY})]}),
    ("feedback[0].overrideReason", {"feedback": [overridden(overrideReason={"userComment": "x" * 4001})]}),
]


@pytest.mark.parametrize(("member", "body"), WRONG)
def test_wrong_feedback_is_refused_whole_and_names_the_member(
    client: FlaskClient, store: Store, member: str, body: Any
) -> None:
    refused = client.post(ADDRESS, json=body)
    assert refused.status_code == 400
    assert refused.json is not None
    assert refused.json["issue"][0]["expression"] == [member]
    assert CANARY not in refused.text
    assert kept(store) == []


@pytest.mark.proves("cds-hooks: feedback is offered for the services that there are")
def test_feedback_on_another_service_is_404(client: FlaskClient) -> None:
    assert client.post("/cds-services/other/feedback", json={"feedback": [accepted()]}).status_code == 404


def test_feedback_outlives_the_process(assist: Assist, database_url: str) -> None:
    first = open_store(database_url)
    assert sent(create_app(Settings(), assist, first).test_client(), accepted()) == 200
    first.close()
    second = open_store(database_url)
    assert len(kept(second)) == 1
    second.close()


@pytest.mark.proves("reliability: database locked, 503 and Retry-After, then recovery by itself")
def test_a_locked_database_is_said_and_then_works_again(client: FlaskClient, database_url: str) -> None:
    other = sa.create_engine(database_url)
    with other.connect() as connection:
        lock = "BEGIN IMMEDIATE" if other.dialect.name == "sqlite" else "LOCK TABLE feedback, secret"
        connection.exec_driver_sql(lock)
        began = time.monotonic()
        refused = client.post(ADDRESS, json={"feedback": [accepted()]})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert time.monotonic() - began < 10  # it waits one second for the lock
        assert client.get("/readyz").status_code == 503
        connection.rollback()
    other.dispose()
    assert sent(client, accepted()) == 200
    time.sleep(EVERY_SECONDS)  # so long it says what it has found last
    assert client.get("/readyz").json["status"] == "ready"


@pytest.mark.proves("reliability: disk full, 503 and Retry-After, then recovery by itself")
def test_a_full_disk_is_said_and_then_works_again(assist: Assist, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    client = create_app(Settings(), assist, store).test_client()
    many = {"feedback": [overridden(card=f"card-{n}", overrideReason={"userComment": "x" * 4000}) for n in range(50)]}
    with no_file_grows_beyond(max(path.stat().st_size for path in tmp_path.iterdir())):
        refused = client.post(ADDRESS, json=many)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert kept(store) == []
    assert client.post(ADDRESS, json=many).status_code == 200
    assert len(kept(store)) == 50


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """The system refuses to write on, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
