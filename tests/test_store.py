"""The store over SQLite and PostgreSQL: what is flushed, what is kept once, what nobody else can open."""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from service import database, postgresql
from service.store import (
    _CLOSED_FORMS,
    _OVERRIDES,
    SPARE,
    TRANSIENT,
    Binding,
    Card,
    Chain,
    Decision,
    Entry,
    Feedback,
    Form,
    NewForm,
    Store,
    StoreError,
    StoreUnavailable,
    instant,
    open_store,
)
from service.tables import tables
from tests.postgres import hanging, new_database
from tests.test_survival import until

NOW = datetime(2026, 11, 16, 8, 0, tzinfo=UTC)


def test_the_migrations_make_the_tables_that_the_code_knows(database_url: str, store: Store) -> None:
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables) == []
    engine.dispose()


def test_a_database_of_a_newer_release_is_refused_with_a_sentence(database_url: str, store: Store) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="newer release"):
        open_store(database_url)


def test_replicas_that_start_together_make_the_tables_one_after_the_other(postgres: str) -> None:
    url = new_database(postgres, "together")
    engine = sa.create_engine(url)
    with ThreadPoolExecutor(1) as replica, engine.connect() as other:
        other.exec_driver_sql("SELECT pg_advisory_xact_lock(7205759)")
        starting = replica.submit(open_store, url)
        with pytest.raises(TimeoutError):
            starting.result(3)
        other.rollback()
        starting.result(20).close()
    engine.dispose()


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = shutil.copytree(database.MIGRATIONS, tmp_path / "migrations") / "versions"
    newest = max(path.name[1:5] for path in versions.glob("v*.py"))
    (versions / "v9999_fails.py").write_text(
        f"from alembic import op\nrevision = '9999'\ndown_revision = '{newest}'\n"
        "def upgrade() -> None:\n    op.execute('DROP TABLE never_made')\n"
    )
    monkeypatch.setattr(database, "MIGRATIONS", tmp_path / "migrations")
    with pytest.raises(StoreError):
        open_store(f"sqlite:///{tmp_path}/store.db")
    left = sqlite3.connect(tmp_path / "store.db")
    assert left.execute("SELECT name FROM sqlite_master").fetchall() == []
    left.close()


def test_the_service_may_lie_in_a_folder_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MIGRATIONS", shutil.copytree(database.MIGRATIONS, tmp_path / "100%(here)s"))
    open_store(f"sqlite:///{tmp_path}/store.db").close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("var/store.db", "is not one that can be used"),
        ("mysql://x/y", "is not one that can be used"),
        ("no-such-database://x/y", "is not one that can be used"),
        ("postgresql+psycopg://127.0.0.1:1/none", "cannot be opened (OperationalError)"),
        ("sqlite:////proc/none/store.db", "The folder of the database cannot be used"),
    ],
)
def test_a_database_that_cannot_be_opened_is_told_in_one_sentence_without_its_address(url: str, told: str) -> None:
    with pytest.raises(StoreError, match=re.escape(told) + r".+\.$") as error:
        open_store(url)
    assert url not in str(error.value)


def test_who_starts_while_another_writes_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.database.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.5, other.rollback).start()
    open_store(f"sqlite:///{tmp_path}/store.db").close()
    other.close()


def test_a_fault_while_the_first_connection_is_set_up_is_told(
    database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise sa.exc.OperationalError("SELECT version()", None, Exception("lost"))

    other = open_store(database_url, is_current=True)
    monkeypatch.setattr(other._engine.dialect, "initialize", lost)
    with pytest.raises(StoreUnavailable):
        other.see_token("ehr", "one", NOW)
    other.close()


def test_who_only_reads_does_not_wait_for_who_writes(database_url: str, store: Store) -> None:
    opened(store)
    other = sa.create_engine(database_url)
    with other.connect() as connection:
        is_sqlite = other.dialect.name == "sqlite"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_sqlite else "LOCK TABLE form IN EXCLUSIVE MODE")
        assert about(store, "form-1") == {"note": "said"}
        assert closed(store) == ()
        connection.rollback()
    other.dispose()


@pytest.mark.proves("reliability: what cannot be kept whole is not kept")
def test_what_fails_in_the_middle_leaves_nothing_behind(database_url: str, store: Store) -> None:
    nothing: Any = None
    with pytest.raises(StoreUnavailable):
        store.add_feedback("", [Feedback("c1", {}), Feedback(nothing, {})], NOW)
    with pytest.raises(StoreUnavailable):
        store.open_forms([NewForm("form-1", "call-1", {}), NewForm(nothing, "call-2", {})], MINE, {}, NOW, DAY)
    assert list(store.export_feedback()) == []
    assert store.form("form-1", NOW) is None


@pytest.mark.proves("PHI: no words of the record in errors")
def test_what_could_not_be_kept_is_not_told_in_the_error(database_url: str, store: Store) -> None:
    other = sa.create_engine(database_url)
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if other.dialect.name == "sqlite" else "LOCK TABLE feedback")
        with pytest.raises(StoreUnavailable) as told:
            store.add_feedback("", [Feedback("c1", {"userComment": "Zebedee Quux"})], NOW)
        connection.rollback()
    other.dispose()
    assert not [word for word in ("Zebedee", "INSERT", "c1") if word in str(told.value)]


def test_the_sqlite_database_is_open_to_its_owner_alone(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/var/store.db")
    store.add_feedback("", [Feedback("c1", {})], NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "var").iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700
    store.close()


TWENTY_COMMITS = """
import sys
from datetime import UTC, datetime
from service.store import Binding, Feedback, open_store
store = open_store(sys.argv[1])
print("opened", file=sys.stderr, flush=True)
for number in range(20):
    store.add_feedback("", [Feedback(f"card-{number}", {})], datetime.now(UTC))
"""


@pytest.mark.proves("reliability: what is acknowledged is flushed; fdatasync at least as often as commits")
def test_each_commit_on_sqlite_is_flushed_to_the_disk(tmp_path: Path) -> None:
    if subprocess.run(["which", "strace"], capture_output=True, check=False).returncode:
        pytest.skip("strace is not installed, so the flushes were not counted.")
    program = [sys.executable, "-c", TWENTY_COMMITS, f"sqlite:///{tmp_path}/store.db"]
    strace = ["strace", "-f", "-e", "trace=fdatasync,fsync,write"]
    traced = subprocess.run([*strace, *program], capture_output=True, text=True, timeout=120, check=False)
    assert traced.returncode == 0, traced.stderr[-2000:]
    after_opening = traced.stderr.partition('"opened')[2]
    assert after_opening.count("fdatasync(") + after_opening.count("fsync(") >= 20


@pytest.mark.proves("store: SQLite with WAL, synchronous FULL; what is removed is overwritten")
def test_each_connection_to_sqlite_is_made_as_promised_whatever_the_machine_holds_for_usual(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/store.db"
    open_store(address).close()
    engine = sa.create_engine(address)
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw
        for usual in ("synchronous=OFF", "secure_delete=OFF", "journal_mode=DELETE"):
            raw.cursor().execute(f"PRAGMA {usual}")
        database.prepare_sqlite(raw, None)
        told = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    engine.dispose()
    assert told == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def test_writers_that_read_first_do_not_fail_for_one_another(database_url: str, store: Store) -> None:
    def write(name: str) -> None:
        one = open_store(database_url, patient=True)  # what fails for another's write does so at once
        chain = one.open_chain(name, NOW)
        for number in range(40):
            chain = one.append(chain, [Entry("x", (f'{{"recorded":"x","number":{number}}}',))])
        one.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, ["a", "b", "c", "d"]))
    assert list(store.chain_faults({})) == []
    assert len(list(store.export_audit())) == 4 * 40


def test_postgresql_flushes_at_each_commit_even_where_the_server_would_not(postgres: str) -> None:
    url = new_database(postgres, "lazy")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("ALTER DATABASE lazy SET synchronous_commit = off")
    engine.dispose()
    store = open_store(url)
    with store._transaction() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    store.close()


@pytest.mark.proves("operation: a database that comes back is noticed by itself")
def test_a_connection_that_the_server_has_ended_is_replaced_and_no_call_fails(postgres: str) -> None:
    address = new_database(postgres, uuid4().hex)
    store, operator = open_store(address), sa.create_engine(address)
    store.probe(NOW)
    with operator.connect() as connection:
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
        assert connection.exec_driver_sql(f"{ended} AND pid <> pg_backend_pid()").scalar() == 1
    operator.dispose()
    store.probe(NOW)
    store.close()


def test_a_connection_lost_in_the_middle_is_told_once_and_not_used_again(
    postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = new_database(postgres, "lost")
    store, engine = open_store(url), sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with pytest.raises(StoreUnavailable), store._driver() as cursor:
        with engine.connect() as other:
            mine = "datname = 'lost' AND pid <> pg_backend_pid()"
            other.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
        cursor.execute("SELECT 1")
    assert store.see_token("ehr", "one", datetime.now(UTC))
    assert caplog.text == ""  # to take it back would fail once more, with a trace in the log
    engine.dispose()
    store.close()


def test_a_call_that_waited_for_a_lock_in_vain_leaves_nothing_waiting_in_the_server(postgres: str) -> None:
    url = new_database(postgres, "locked")
    store, engine = open_store(url), sa.create_engine(url)
    with engine.connect() as operator:
        operator.exec_driver_sql("LOCK TABLE feedback")
        with pytest.raises(StoreUnavailable):
            store.add_feedback("", [Feedback("c1", {})], NOW)
        assert operator.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar() == 0
    engine.dispose()
    store.close()


def test_who_finds_no_connection_free_is_told_so(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.database.BUSY_SECONDS", 0.1)
    store = open_store(database_url)
    with ThreadPoolExecutor(1) as caller, ExitStack() as taken:
        for _ in range(15):  # five, and ten more where they are needed
            taken.enter_context(store._engine.connect())
        for ask in (lambda: store.decision("none"), lambda: store.see_token("ehr", "one", NOW)):
            with pytest.raises(StoreUnavailable):
                caller.submit(ask).result(10)
    store.close()


# --- a PostgreSQL that says nothing -------------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing on them, until it ends them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        end = threading.Timer(15, listening.close)
        end.start()
        yield f"postgresql+psycopg://127.0.0.1:{listening.getsockname()[1]}/none"
        end.cancel()


def test_a_server_that_is_silent_at_the_start_is_told(silent: str) -> None:
    with pytest.raises(StoreError, match="SilentServer"):
        open_store(silent)


@pytest.mark.proves("reliability: a database that hangs, an answer within seconds, then recovery by itself")
def test_a_server_that_falls_silent_is_waited_for_for_a_moment_only(postgres: str) -> None:
    store = open_store(new_database(postgres, "silent"))
    store.probe(NOW)
    with ThreadPoolExecutor(1) as caller, hanging(postgres):
        for ask in (store.probe, store.probe):  # over a connection that there is, and over a new one
            with pytest.raises(StoreUnavailable):
                caller.submit(ask, NOW).result(10)

    def is_back() -> bool:
        with suppress(StoreUnavailable):
            store.probe(NOW)
            return True
        return False

    until(is_back)
    with store._engine.connect(), store._engine.connect():
        pass  # who calls at the same time is let in as well
    store.close()


def test_a_connection_that_fell_silent_is_closed_and_none_is_made_for_a_moment(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.database.BUSY_SECONDS", 0.5)
    monkeypatch.setattr(postgresql, "PAUSE_SECONDS", 60)
    store = open_store(new_database(postgres, "fallen"))
    with store._engine.connect() as connection, hanging(postgres):
        used = connection.connection.driver_connection
        with pytest.raises(sa.exc.OperationalError):
            connection.exec_driver_sql("SELECT 1")
        assert used is not None and used.closed
        with pytest.raises(sa.exc.OperationalError, match="SilentServer"):
            store._engine.connect()
    store.close()


def test_a_server_that_was_silent_is_left_alone_for_a_moment(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "PAUSE_SECONDS", 60)
    engine = database.make_engine(sa.make_url(silent))
    for told in ("ConnectionTimeout", "SilentServer", "SilentServer"):
        with pytest.raises(sa.exc.OperationalError, match=told):
            engine.connect()


def test_one_call_at_a_time_sees_whether_a_silent_server_is_back(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "PAUSE_SECONDS", 0)
    engine = database.make_engine(sa.make_url(silent))
    with ThreadPoolExecutor(2) as callers:
        for told in (["ConnectionTimeout"] * 2, ["ConnectionTimeout", "SilentServer"]):
            asked = [callers.submit(engine.connect) for _ in range(2)]
            faults: list[Any] = [one.exception(20) for one in asked]
            assert sorted(type(fault.orig).__name__ for fault in faults) == told


@pytest.mark.proves("PHI: ids as hashes under the store's own key")
def test_an_id_has_another_hash_in_every_store_and_the_same_one_in_each_for_ever(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "other", "one")]
    hashes = []
    for url in urls:
        store = open_store(url)
        hashes.append((store.hashed("ehr", "Patient/p1"), store.signature("Patient/p1")))
        store.close()
    assert hashes[0] == hashes[2]
    assert len({one for pair in hashes for one in pair}) == 4


def test_of_the_connections_that_calls_have_used_a_few_are_handed_on_and_all_are_closed(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    pool: Any = store._engine.pool
    with ExitStack() as calls:
        for _ in range(SPARE + 2):
            calls.enter_context(store._driver(writes=False))
    assert (pool.checkedout(), pool.checkedin()) == (SPARE, 2)
    store.close()
    assert (pool.checkedout(), pool.checkedin()) == (0, 0)


def test_a_database_that_goes_with_the_process_leaves_nothing_behind() -> None:
    store = open_store(TRANSIENT)
    folder = Path(str(store._engine.url.database)).parent
    assert folder.exists()
    store.close()
    assert not folder.exists()


def test_writers_that_begin_at_once_get_chains_of_their_own(store: Store) -> None:
    start = threading.Barrier(8)

    def begin(name: str) -> Chain:
        start.wait()
        return store.open_chain(name, NOW)

    with ThreadPoolExecutor(8) as threads:
        chains = list(threads.map(begin, "abcdefgh"))
    assert {chain.writer for chain in chains} == set("abcdefgh")
    assert list(store.chain_faults({})) == []


def test_a_writer_that_others_always_come_before_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "_add_once", lambda *_: False)
    with pytest.raises(StoreUnavailable, match="too many writers"):
        store.open_chain("one", NOW)


def test_what_is_exported_comes_in_the_order_in_which_it_was_kept(database_url: str, store: Store) -> None:
    def keep(number: int) -> None:
        store.add_feedback("", [Feedback(f"c{number}", {})], NOW)
        store.add_answer("q", "answered", {"number": number}, NOW)

    for number in range(3):
        keep(number)
    engine = sa.create_engine(database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for table in ("feedback", "answer"):
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE number = 1")
            connection.exec_driver_sql("VACUUM" if engine.dialect.name == "sqlite" else f"VACUUM {table}")
    engine.dispose()
    keep(3)  # where the first was
    assert [one["card"] for one in store.export_feedback()] == ["c1", "c2", "c3"]
    assert [told["number"] for told in store._answers("q")] == [1, 2, 3]


def test_a_launch_is_found_by_its_key_until_it_is_over(store: Store) -> None:
    store.keep_launch("key", "sealed", instant(NOW + DAY))
    found = [store.launch(key, at) for key, at in (("key", NOW), ("other", NOW), ("key", NOW + DAY))]
    assert found == ["sealed", None, None]


def test_a_log_that_cannot_be_emptied_is_told(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    store._engine.dispose()
    (tmp_path / "store.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreUnavailable):
        store.empty_log()
    store.close()


# --- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.proves("security: replay race, exactly one accepted")
def test_of_many_who_show_one_token_at_once_one_is_let_in(database_url: str, store: Store) -> None:
    workers = [store, open_store(database_url)]
    start, seen = threading.Barrier(8), []

    def show(worker: Store) -> None:
        start.wait()
        seen.append(worker.see_token("https://ehr.example", "jti-1", NOW + timedelta(minutes=5)))

    threads = [threading.Thread(target=show, args=[workers[number % 2]]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [False] * 7 + [True]
    workers[1].close()


def test_the_same_token_id_of_two_issuers_is_two_tokens(store: Store) -> None:
    later = NOW + timedelta(minutes=5)
    assert [store.see_token(issuer, "jti-1", later) for issuer in ("one", "two", "one")] == [True, True, False]


def test_a_token_is_remembered_until_it_expires(store: Store) -> None:
    store.see_token("one", "jti-1", NOW + timedelta(minutes=5))
    assert store.forget_expired(NOW + timedelta(minutes=5))["seen_token"] == 0
    assert store.forget_expired(NOW + timedelta(minutes=6))["seen_token"] == 1


# --- forms --------------------------------------------------------------------------------------------------------

DAY = timedelta(hours=24)
MINE = Binding("ehr", "Patient/p1", "Practitioner/d1")


def opened(store: Store, form_id: str = "form-1", key: str = "call-1") -> str:
    store.open_forms([NewForm(form_id, key, {"questionnaire": {"item": []}})], MINE, {"note": "said"}, NOW, DAY)
    return form_id


TOLD: tuple[str, dict[str, object]] = ("card-1", {"answers": {"region": "cervical"}})


def test_a_form_is_given_back_as_it_was_kept(store: Store) -> None:
    form = store.form(opened(store), NOW)
    assert form is not None
    assert (form.state, form.content, form.about) == ("open", {"questionnaire": {"item": []}}, {"note": "said"})


def about(store: Store, form_id: str) -> dict[str, object]:
    form = store.form(form_id, NOW)
    assert form is not None
    return form.about


def records(database_url: str) -> int:
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        count: int = connection.execute(sa.text("SELECT COUNT(*) FROM record")).scalar_one()
    engine.dispose()
    return count


def test_the_record_of_a_call_is_kept_once_and_until_its_last_form_is_done(database_url: str, store: Store) -> None:
    forms = [NewForm(f"form-{number}", f"call-{number}", {}) for number in (1, 2)]
    for _ in range(2):  # the second is a retry
        store.open_forms(forms, MINE, {"note": "said"}, NOW, DAY)
    opened(store, "form-3", "call-3")
    assert records(database_url) == 2
    assert store.close_form("form-1", "declined", {}, TOLD, NOW)
    assert (about(store, "form-2"), records(database_url)) == ({"note": "said"}, 2)
    assert store.close_form("form-2", "declined", {}, TOLD, NOW)
    assert (about(store, "form-2"), records(database_url)) == ({}, 1)
    store.open_forms(forms, MINE, {"note": "said"}, NOW, DAY)  # a late retry brings nothing back
    assert records(database_url) == 1
    assert store.forget_expired(NOW + 2 * DAY)["record"] == 1


def test_the_record_of_an_open_form_goes_with_the_patient(database_url: str, store: Store) -> None:
    opened(store)
    assert store.remove_patient(store.hashed("ehr", "Patient/p1"))["record"] == 1
    assert records(database_url) == 0


def test_a_retry_of_the_same_call_finds_the_form_that_it_opened(store: Store) -> None:
    for form_id, key in (("form-1", "call-1"), ("form-2", "call-1"), ("form-3", "call-2")):
        opened(store, form_id, key)
    assert [store.form(f"form-{number}", NOW) is not None for number in (1, 2, 3)] == [True, False, True]


def test_neither_patient_nor_user_of_a_form_can_be_read_in_the_database(database_url: str, store: Store) -> None:
    opened(store)
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        row = " ".join(map(str, connection.execute(sa.text("SELECT * FROM form")).one()))
    engine.dispose()
    assert not any(word in row for word in ("Patient", "Practitioner"))


def test_a_form_expires_and_says_nothing_more(store: Store) -> None:
    form_id = opened(store)
    before, after = (store.form(form_id, at) for at in (NOW + DAY - timedelta(seconds=1), NOW + DAY))
    assert before is not None and after is not None
    assert (before.state, after.state, after.content) == ("open", "expired", {})
    assert not store.close_form(form_id, "answered", {}, TOLD, NOW + DAY)


def test_the_first_answer_to_a_form_stands(store: Store) -> None:
    form_id = opened(store)
    assert store.close_form(form_id, "answered", {"region": "cervical"}, TOLD, NOW)
    assert not store.close_form(form_id, "declined", {}, TOLD, NOW)
    assert [told["outcome"] for told in store._answers("card-1")] == ["answered"]
    form = store.form(form_id, NOW + 2 * DAY)
    assert form is not None
    assert (form.state, form.content) == ("answered", {"region": "cervical"})


def closed(store: Store, patient: str = "Patient/p1", since: datetime = NOW - DAY) -> tuple[Form, ...]:
    return store.past(Binding("ehr", patient, ""), "visit-1", since, NOW + DAY).closed


def test_the_closed_forms_of_an_encounter_are_found_whoever_closed_them(store: Store) -> None:
    for number, user in enumerate(("Practitioner/d1", "Practitioner/d2")):
        bound = replace(MINE, user=user)
        store.open_forms([NewForm(f"form-{number}", f"call-{number}", {})], bound, {}, NOW, DAY)
        store.close_form(f"form-{number}", "answered", {"number": number}, TOLD, NOW + timedelta(hours=number))
    opened(store, "form-open", "call-open")
    assert [form.content for form in closed(store)] == [{"number": 0}, {"number": 1}]
    assert [form.id for form in closed(store, since=NOW)] == ["form-1"]
    assert closed(store, "Patient/p2") == ()


def test_a_form_that_nobody_answered_is_let_go_when_it_has_expired(store: Store) -> None:
    opened(store, "form-1", "call-1")
    assert store.close_form(opened(store, "form-2", "call-2"), "declined", {}, TOLD, NOW)
    assert store.forget_expired(NOW + 2 * DAY)["form"] == 1
    assert store.form("form-1", NOW) is None
    assert store.form("form-2", NOW) is not None


# --- cards that were overridden -------------------------------------------------------------------------------------

CARD = Card("card-1", "code-suggestion", "visit-1", ("matter-1", "matter-2"))
DECISION = Decision("decision-1", "2026-11-16T08:00:00.000Z", {}, ("patient-1",), (CARD, replace(CARD, uuid="card-2")))


def record(store: Store) -> None:
    chain = store.open_chain("writer", NOW)
    store.append(chain, [Entry(DECISION.recorded, ('{"recorded":"2026-11-16T08:00:00.000Z"}',), DECISION)])


def overridden(store: Store, outcome: str = "overridden", comment: str = "") -> None:
    store.add_feedback("", [Feedback("card-1", {"outcome": outcome, "userComment": comment})], NOW)


def away(store: Store, until: timedelta = DAY, visit: str = "visit-1") -> frozenset[str]:
    return store.past(MINE, visit, NOW - DAY, NOW + until).overridden


@pytest.mark.parametrize("steps", [(record, overridden), (overridden, record), (record, overridden, overridden)])
def test_what_was_overridden_is_known_whichever_is_written_first(
    steps: tuple[Callable[[Store], None], ...], store: Store
) -> None:
    for step in steps:
        step(store)
    assert away(store) == {"matter-1", "matter-2"}
    assert (away(store, -DAY / 2), away(store, visit="visit-2")) == (frozenset(), frozenset())
    assert store.past(MINE, "visit-1", NOW, NOW + DAY).overridden == frozenset()


def test_a_card_that_was_accepted_counts_as_no_override_whatever_the_comment_says(store: Store) -> None:
    record(store)
    overridden(store, "accepted", comment='"outcome":"overridden"')
    assert away(store) == frozenset()


def test_what_was_overridden_goes_with_the_patient(store: Store) -> None:
    record(store)
    overridden(store)
    assert store.remove_patient("patient-1")["override"] == 1
    assert away(store) == frozenset()


def test_what_was_overridden_before_the_table_for_it_came_is_known(database_url: str, store: Store) -> None:
    record(store)
    overridden(store)
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        for statement in (
            "DROP TABLE record",
            "DROP INDEX ix_form_record",
            "ALTER TABLE form DROP COLUMN record",
            "DROP TABLE override",
            "DROP INDEX ix_form_closed",
            "CREATE INDEX ix_card_visit ON card (visit)",
            "CREATE INDEX ix_form_patient ON form (patient)",
            "UPDATE alembic_version SET version_num = '0003'",
        ):
            connection.execute(sa.text(statement))
    engine.dispose()
    opened = open_store(database_url)
    assert away(opened) == {"matter-1", "matter-2"}
    opened.close()


def test_what_each_call_asks_for_is_found_by_an_index(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    with sa.create_engine(f"sqlite:///{tmp_path}/store.db").connect() as connection:
        for statement, index in (
            (_OVERRIDES, "ix_override_visit (visit=?)"),
            (_CLOSED_FORMS, "ix_form_closed (patient=? AND encounter=? AND closed>? AND closed<?)"),
        ):
            values = dict.fromkeys(statement.compile().params, "x")
            plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {statement}"), values).all()
            assert index in str(plan)
    store.close()


# --- kill -9 ------------------------------------------------------------------------------------------------------

ACKNOWLEDGE = """
import itertools, sys
from datetime import UTC, datetime
from service.store import Feedback, open_store
store = open_store(sys.argv[1])
for number in itertools.count():
    for _ in range(2 if number % 3 == 0 else 1):  # every third is sent twice
        store.add_feedback("", [Feedback(f"{sys.argv[2]}-{number}", {"outcome": "accepted"})], datetime.now(UTC))
    print(f"{sys.argv[2]}-{number}", flush=True)
"""


@pytest.mark.proves("reliability: kill -9, nothing acknowledged is lost or kept twice")
def test_what_was_acknowledged_before_kill_9_is_there_once(database_url: str, store: Store) -> None:
    acknowledged: list[str] = []
    for round_ in range(3):
        program = [sys.executable, "-c", ACKNOWLEDGE, database_url, str(round_)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged += [process.stdout.readline().strip() for _ in range(40 + round_)]
            process.kill()
            acknowledged += process.stdout.read().split("\n")[:-1]
    kept = [one["card"] for one in store.export_feedback()]
    assert set(acknowledged) - set(kept) == set()
    assert len(kept) == len(set(kept))
    assert len(kept) - len(acknowledged) <= 3  # at most what was under way at each kill
