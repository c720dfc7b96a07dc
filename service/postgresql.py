"""Connections to PostgreSQL that end when it falls silent: the time limits that it keeps itself stand still with it.

Nor does TCP tell: the system takes in what is sent to a process that has been stopped. Apart from the store, since who
keeps things in SQLite need not load the driver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import psycopg
from psycopg.waiting import Ready, Wait

Answer = TypeVar("Answer")
CONNECT_SECONDS = 2  # the driver takes no less
PAUSE_SECONDS = 1.0


class SilentServer(psycopg.OperationalError):
    """PostgreSQL did not answer in time, or did not a moment ago."""


class Connections:
    """Makes connections; after a silence none for a moment, then one at a time until one has been had.

    So it is one call that waits to see whether the server is back, and not all of them in turn.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._again = 0.0  # when a server that fell silent is asked again

    def make(self, _dialect: object, _record: object, given: tuple[Any, ...], named: dict[str, Any]) -> Connection:
        """What SQLAlchemy asks for instead of the driver's own."""
        now = time.monotonic()
        if now < self._again:
            raise SilentServer
        if self._again:
            self._again = now + CONNECT_SECONDS + PAUSE_SECONDS
        try:
            connection = Connection.connect(*given, **{**named, "connect_timeout": CONNECT_SECONDS})
        except psycopg.errors.ConnectionTimeout:
            self._note_silence()
            raise
        self._again = 0.0
        connection.patience, connection.note_silence = self._patience, self._note_silence
        return connection

    def _note_silence(self) -> None:
        self._again = time.monotonic() + PAUSE_SECONDS


class Connection(psycopg.Connection[Any]):
    """Closes itself where an answer takes longer than its patience lasts."""

    patience: float
    note_silence: Callable[[], None]

    def wait(self, gen: Generator[Wait, Ready | int, Answer], *given: Any, **named: Any) -> Answer:
        """What the driver waits with for every answer."""
        return super().wait(self._within_patience(gen), *given, **named)

    def _within_patience(self, steps: Generator[Wait, Ready | int, Answer]) -> Generator[Wait, Ready | int, Answer]:
        deadline = time.monotonic() + self.patience
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if time.monotonic() > deadline:
                    self.pgconn.finish()
                    self.note_silence()
                    raise SilentServer
                wanted = steps.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a generator that ends tells its value untyped
