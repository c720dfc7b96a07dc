"""The databases that the store is kept in: connections that flush at each commit, and tables that are current."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

BUSY_SECONDS = 1.0
PATIENT_SECONDS = 60.0  # of an operator, who would rather wait than ask again
BEGIN = "BEGIN IMMEDIATE"  # of a transaction in SQLite; PostgreSQL's driver begins by itself
MIGRATIONS = Path(__file__).parent / "migrations"


class NewerDatabase(Exception):
    """The database has tables that this release does not know."""


def make_private(path: Path) -> None:
    """A database of SQLite that its owner alone can open; it gives its side files the mode of the database."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def make_engine(address: sa.URL, *, patient: bool = False) -> sa.Engine:
    """Connections that flush at each commit; those that serve calls wait a second at most for a lock."""
    seconds = PATIENT_SECONDS if patient else BUSY_SECONDS
    if address.get_backend_name() == "sqlite":
        # Of the connections the one used last has most in its memory.
        pool: dict[str, Any] = {"pool_timeout": seconds, "pool_use_lifo": True}
        engine = sa.create_engine(address, connect_args={"timeout": seconds}, **pool)
        sa.event.listen(engine, "connect", prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    options = f"-c synchronous_commit=on -c statement_timeout={int(seconds * 1000)}"
    engine = sa.create_engine(address, connect_args={"options": options}, pool_pre_ping=True, pool_timeout=seconds)
    connections = import_module("service.postgresql").Connections(seconds + 1)  # a server that lives says so before
    sa.event.listen(engine, "do_connect", connections.make)
    return engine


def prepare_sqlite(connection: Any, _record: object) -> None:
    """What the store promises, whatever the machine holds for usual."""
    connection.isolation_level = None  # else the driver would begin by itself, and later than we need
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA secure_delete=ON")  # what is removed is overwritten, not only unlinked
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that reads first and then writes would fail at once where another has written meanwhile. What only
    # reads has no need of one: each of its statements sees the whole of what was there when it began.
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql(BEGIN)


def make_current(address: sa.URL) -> None:
    """The tables as this release has them; NewerDatabase where they are of a newer one."""
    engine = make_engine(address, patient=True)
    try:
        if _version(engine) != max(path.name[1:5] for path in MIGRATIONS.glob("versions/v*.py")):
            import_module("service.migrating").migrate(engine, MIGRATIONS)  # see there why so late
    finally:
        engine.dispose()


def _version(engine: sa.Engine) -> str | None:
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    except DBAPIError:
        return None  # no tables yet; or no database, which the migrations tell
