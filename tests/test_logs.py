"""Logs hold codes, rule ids, times and hashed ids; a patient's words have no way into logs, errors or addresses."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from urllib.parse import unquote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.logs import LOG, configure_logs
from service.settings import Settings
from service.store import Store, open_store
from tests.records import ASSIST, BARE, CANARY, CHECK, HOOK, call, condition

FEEDBACK = f"{HOOK}/feedback"
WORDS = [*CANARY.lower().split(), "neural", "patient/p1", "practitioner/d1"]


@pytest.fixture
def app(assist: Assist) -> Iterator[Flask]:
    store = open_store("sqlite://")
    made = create_app(Settings(audit="sync"), assist, store)
    yield made
    made.extensions["journal"].close()
    store.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    """What the service has logged since it was last asked."""
    root, read = logging.getLogger(), io.StringIO()
    others, level = root.handlers[:], root.level
    root.handlers.clear()  # pytest's own, which are not to be closed
    configure_logs("DEBUG")
    (ours,) = root.handlers
    ours.setStream(read)  # type: ignore[attr-defined]
    root.handlers[:0] = others

    def told() -> str:
        text = read.getvalue()
        read.seek(0)
        read.truncate()
        return text

    yield told
    root.removeHandler(ours)
    root.setLevel(level)


def test_an_answer_is_logged_with_codes_rules_and_hashes(client: FlaskClient, logged: Callable[[], str]) -> None:
    answered = client.post(ASSIST, json=condition())
    line = next(entry for entry in map(json.loads, logged().splitlines()) if entry["event"] == "answered")
    assert line["codes"] == ["M99.41"]
    assert line["rules"]
    assert (line["status"], line["request"]) == (200, answered.headers["X-Request-ID"])
    assert len(line["patient"][0]) == 16


SENT: list[tuple[str, Any]] = [
    (HOOK, call()),
    (HOOK, call(condition(BARE))),
    (HOOK, {**call(), "hook": CANARY}),
    (HOOK, {**call(), "context": {"userId": CANARY, "patientId": CANARY}}),
    (ASSIST, condition()),
    (ASSIST, condition(BARE)),
    (ASSIST, {**condition(), "subject": {"reference": CANARY}}),
    (ASSIST, {**condition(), "id": CANARY}),
    (ASSIST, {**condition(), CANARY: CANARY}),
    (ASSIST, {**condition(), "recordedDate": CANARY}),
    (CHECK, condition()),
    (CHECK, {**condition(), "clinicalStatus": {"coding": [{"code": CANARY}]}}),
    (FEEDBACK, {"feedback": [{"card": CANARY, "outcome": CANARY}]}),
    (
        FEEDBACK,
        {
            "feedback": [
                {
                    "card": CANARY,
                    "outcome": "overridden",
                    "outcomeTimestamp": "2026-11-16T08:00:00Z",
                    "overrideReason": {"userComment": CANARY},
                }
            ]
        },
    ),
]


@pytest.mark.proves("PHI: canary over logs, errors and addresses")
@pytest.mark.parametrize(("door", "body"), SENT)
def test_no_word_of_the_patient_is_logged_or_told_in_an_error(
    client: FlaskClient, logged: Callable[[], str], door: str, body: Any
) -> None:
    answered = client.post(door, json=body)
    told = logged().lower()
    assert "answered" in told
    assert not [word for word in WORDS if word in told]
    assert CANARY.lower() not in str(answered.headers).lower()
    if answered.status_code >= 400:
        assert not [word for word in WORDS if word in answered.text.lower()]


@pytest.mark.proves("PHI: canary over URLs")
@pytest.mark.parametrize(("door", "body"), SENT)
def test_no_address_that_an_answer_gives_names_a_patient_or_quotes_a_record(
    client: FlaskClient, door: str, body: Any
) -> None:
    told = client.post(door, json=body).text
    addresses = [
        *re.findall(r'https?://[^\s"\\<>)]+', told.lower()),
        *re.findall(r'"reference":"(/[^"]*)"', told.lower()),
    ]
    ours = [address for address in addresses if address.startswith(("http://127.0.0.1:8080", "/"))]
    assert not [(word, address) for word in WORDS for address in ours if word in unquote(address)]
    assert ours or "cards" not in told


def test_a_crash_on_a_record_is_logged_by_place_alone(
    client: FlaskClient, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> Any:
        raise ValueError(CANARY)

    monkeypatch.setattr(Assist, "answer", crash)
    assert client.post(ASSIST, json=condition()).status_code == 500
    told = logged()
    assert "ValueError" in told
    assert CANARY not in told


def test_a_store_that_fails_is_logged_without_what_it_was_to_keep(
    client: FlaskClient, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> Any:
        raise ValueError(CANARY)

    monkeypatch.setattr(Store, "append", crash)
    assert client.post(ASSIST, json=condition()).status_code == 503
    told = logged()
    assert "cannot be written" in told
    assert CANARY not in told


def test_a_field_that_is_not_listed_is_not_logged(logged: Callable[[], str]) -> None:
    LOG.info("answered", note=CANARY, codes=["M99.41"])
    assert json.loads(logged())["codes"] == ["M99.41"]
    LOG.info("answered", note=CANARY)
    assert CANARY not in logged()


def test_a_library_that_logs_a_traceback_gets_only_the_kind_of_error_through(logged: Callable[[], str]) -> None:
    try:
        raise ValueError(CANARY)
    except ValueError:
        logging.getLogger("elsewhere").error("it failed", exc_info=sys.exc_info())
    line = json.loads(logged())
    assert (line["event"], line["error"]) == ("it failed", "ValueError")
    assert CANARY not in json.dumps(line)


def test_what_is_no_character_is_logged_all_the_same(logged: Callable[[], str]) -> None:
    logging.getLogger("elsewhere").warning("read %s", "\ud800")
    line = json.loads(logged())
    assert (line["event"], line["level"], line["timestamp"][-1]) == ("read \\ud800", "warning", "Z")


def test_what_the_web_server_logs_names_no_address_of_a_request(caplog: pytest.LogCaptureFixture) -> None:
    import_module("service.serving")
    failed = ValueError(CANARY)
    logging.getLogger("waitress").error("Exception while serving %s", f"/fhir/{CANARY}", exc_info=failed)
    assert "ValueError" in caplog.text
    assert CANARY not in caplog.text
