"""A form and its answer are on the disk before anybody is told of them, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from service.app import create_app
from service.assist import Assist
from service.open_forms import Forms
from service.settings import Settings
from service.store import Store, open_store
from tests.lforms_export import exported
from tests.test_forms import CONTEXT, INSTANCE, answer, bundle, condition, form_of, opened
from tests.test_survival import until

Json = dict[str, Any]
CALL: Json = {
    "hook": "patient-view",
    "hookInstance": INSTANCE,
    "context": CONTEXT,
    "prefetch": {"conditions": bundle(condition()), "reports": bundle()},
}


@pytest.fixture
def browser(assist: Assist, store: Store) -> Iterator[FlaskClient]:
    app = create_app(Settings(), assist, store)
    yield app.test_client()
    app.extensions["journal"].close()


def condition_of(number: int) -> Json:
    """A record of its own, which has a form of its own."""
    return {**condition(), "id": f"c{number}"}


@contextmanager
def locked(database_url: str) -> Iterator[None]:
    """Somebody else holds what a form is written to."""
    other = sa.create_engine(database_url)
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if other.dialect.name == "sqlite" else "LOCK TABLE form, answer")
        try:
            yield
        finally:
            connection.rollback()
    other.dispose()


@pytest.mark.proves("reliability: no card leads to a form that was not kept")
def test_a_form_that_cannot_be_kept_is_a_503_and_no_card(browser: FlaskClient, database_url: str) -> None:
    with locked(database_url):
        refused = browser.post("/cds-services/coding-assist", json=CALL)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert "cards" not in refused.text
    until(lambda: browser.post("/cds-services/coding-assist", json=CALL).status_code == 200)
    until(lambda: not browser.application.extensions["journal"]._waiting)
    address = opened(browser)
    until(lambda: browser.get(address).status_code == 200)


@pytest.mark.proves("reliability: an answer is durable before it is acknowledged")
@pytest.mark.parametrize(("way", "body"), [("", None), ("/decline", {"reason": "other-provider"})])
def test_an_answer_that_cannot_be_kept_is_a_503_and_may_be_sent_again(
    browser: FlaskClient, database_url: str, way: str, body: Json | None
) -> None:
    address = opened(browser)
    sent = body or exported(form_of(browser, address), tissue="#connective")
    with locked(database_url):
        refused = browser.post(f"{address}{way}", json=sent)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    until(lambda: browser.post(f"{address}{way}", json=sent).status_code == 200)  # once the journal writes again


@pytest.mark.proves("reliability: no answer is kept that is not acknowledged")
def test_while_no_record_can_be_written_no_answer_is_kept(browser: FlaskClient) -> None:
    address, journal = opened(browser), browser.application.extensions["journal"]
    sent = exported(form_of(browser, address), tissue="#connective")
    until(lambda: not journal._waiting)
    journal._failing = True
    assert browser.post(address, json=sent).status_code == 503
    journal._failing = False
    assert browser.post(address, json=sent).status_code == 200


def test_an_answer_whose_record_cannot_be_written_any_more_is_acknowledged(
    browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUDIT=group: the record follows, as that of any request whose flush fails."""
    address, journal = opened(browser), browser.application.extensions["journal"]
    close = Forms.close

    def fails_meanwhile(*given: Any) -> bool:
        journal._failing = True
        return close(*given)

    monkeypatch.setattr(Forms, "close", fails_meanwhile)
    assert answer(browser, address, tissue="#connective").status_code == 200
    journal._failing = False


def test_what_was_answered_is_there_for_whoever_opens_the_store_next(browser: FlaskClient, database_url: str) -> None:
    address = opened(browser)
    assert answer(browser, address, tissue="#connective").status_code == 200
    browser.application.extensions["journal"].close()  # the query is in the store with its decision
    after = open_store(database_url)  # beside the first, which is not closed
    told = [one["answers"] for query in after.export_queries() for one in query["answers"]]
    after.close()
    assert told == [{"tissue": "connective"}]


def test_the_record_of_a_call_is_kept_once_however_many_forms_it_opens(browser: FlaskClient, database_url: str) -> None:
    many = [{**condition(), "id": f"c{number}"} for number in range(20)]
    sent = {**CALL, "prefetch": {**CALL["prefetch"], "conditions": bundle(*many)}}
    assert len(browser.post("/cds-services/coding-assist", json=sent).get_json()["cards"]) == len(many)
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        contents = connection.execute(sa.text("SELECT content FROM form")).scalars().all()
        [record] = connection.execute(sa.text("SELECT content FROM record")).scalars().all()
    engine.dispose()
    assert len(contents) == len(many)
    assert all(f'"c{number}"' in record for number in range(20))
    assert not [content for content in contents if '"recordedDate"' in content]


def test_a_form_that_stands_there_already_needs_no_flush(browser: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(browser)
    monkeypatch.setattr(Store, "open_forms", None)
    assert opened(browser, hookInstance=str(uuid4())) == first


def test_what_waits_is_flushed_with_the_forms_of_the_next_call(
    browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUDIT=group: one flush for both, and the chain goes on where it ends."""
    monkeypatch.setattr("service.journal.GATHER_SECONDS", 20)
    services = browser.application.extensions
    for number in range(3):
        assert opened(browser, condition_of(number))
    assert len(services["journal"]._waiting) == 1
    assert len(list(services["store"].export_audit())) == 2
    assert list(services["store"].chain_faults({})) == []


def test_what_could_not_be_flushed_with_forms_is_flushed_once_all_the_same(
    browser: FlaskClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.journal.GATHER_SECONDS", 2)
    services = browser.application.extensions
    assert opened(browser, condition_of(2))
    with locked(database_url):
        assert browser.post("/cds-services/coding-assist", json=CALL).status_code == 503
    until(lambda: not services["journal"]._waiting)
    assert len(list(services["store"].export_audit())) == 2
    assert list(services["store"].chain_faults({})) == []
