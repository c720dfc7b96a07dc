"""What every call asks of the store, said to the database's driver as it is: SQLAlchemy puts a statement together once.

To go through it each time costs some 100 us a statement, ten times what SQLite takes to answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.base import Executable

Values = Mapping[str, Any]


class Prepared:
    """One statement in the words of one dialect, with the values that it is given by name.

    All of them are text or whole numbers, which a driver takes and gives back as they are.
    """

    def __init__(self, statement: Executable, dialect: sa.Dialect, given: Sequence[str] | None = None) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=given)  # type: ignore[attr-defined]
        self._sql = str(compiled)
        self._places: list[str] | None = compiled.positiontup  # None where the driver takes values by name
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def run(self, cursor: Any, values: Values) -> None:
        cursor.execute(self._sql, self._placed(values))

    def run_each(self, cursor: Any, rows: Sequence[Values]) -> None:
        """Once for each of these."""
        if len(rows) == 1:
            self.run(cursor, rows[0])
        elif rows:
            cursor.executemany(self._sql, [self._placed(row) for row in rows])

    def rows(self, cursor: Any, values: Values) -> list[tuple[Any, ...]]:
        """What a query finds."""
        self.run(cursor, values)
        return cursor.fetchall()  # type: ignore[no-any-return]

    def _placed(self, values: Values) -> Any:
        given = {**self._fixed, **values} if self._fixed else values
        return given if self._places is None else [given[name] for name in self._places]


class Transactions:
    """Transactions said to the driver, each with a cursor of its own; `begin` begins one where the driver does not.

    Up to `spare` connections are handed on from one to the next: to go through SQLAlchemy's pool takes as long as to
    read. They are not looked at before, so that is for a database that cannot be lost: a file. After an error a
    connection goes back to the pool, and is not used again where it turns out to be lost.
    """

    def __init__(self, engine: sa.Engine, begin: str = "", spare: int = 0) -> None:
        self._engine = engine
        self._begin = begin
        self._spare = spare
        self._waiting: list[Any] = []

    @contextmanager
    def cursor(self, *, writes: bool) -> Iterator[Any]:
        """In a transaction, which is kept unless something goes wrong."""
        connection = self._connection()
        is_kept = False
        try:
            cursor = connection.cursor()
            if writes and self._begin:
                cursor.execute(self._begin)
            yield cursor
            connection.commit()
            is_kept = len(self._waiting) < self._spare
        except self._engine.dialect.loaded_dbapi.Error as error:
            if self._engine.dialect.is_disconnect(error, connection.driver_connection, None):
                connection.invalidate(error)
            raise
        finally:
            if is_kept:
                self._waiting.append(connection)
            else:
                connection.close()  # which undoes what was not committed

    def _connection(self) -> Any:
        try:
            return self._waiting.pop()  # of what was used last most is in its memory
        except IndexError:
            return self._engine.raw_connection()

    def close(self) -> None:
        """Give back what waits."""
        while self._waiting:
            self._waiting.pop().close()
