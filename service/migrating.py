"""Brings the tables of a database to those of this release.

Apart from the store: to import alembic takes a fifth of a start, and nearly every start finds the tables as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from service.database import NewerDatabase

if TYPE_CHECKING:
    from sqlalchemy import Engine


def migrate(engine: Engine, folder: Path) -> None:
    """Run what the folder of migrations has for the database, in one transaction; NewerDatabase where it is ahead."""
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":  # two replicas that start together
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7205759)")
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise NewerDatabase from error
