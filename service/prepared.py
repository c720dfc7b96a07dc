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


@contextmanager
def driver(engine: sa.Engine, begin: str = "") -> Iterator[Any]:
    """A cursor of the driver in a transaction of its own, which `begin` begins where the driver does not.

    A connection that turns out to be lost is not used again.
    """
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        if begin:
            cursor.execute(begin)
        yield cursor
        connection.commit()
    except engine.dialect.loaded_dbapi.Error as error:
        if engine.dialect.is_disconnect(error, connection.driver_connection, None):
            connection.invalidate(error)
        raise
    finally:
        connection.close()  # which undoes what was not committed
