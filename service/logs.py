"""Logs as JSON lines of named fields. Only fields listed here get through, so a patient's words have no way in."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from service.json_body import dump_json

# Ids only as hashes under the store's own key; what a rule or a code system names; numbers.
FIELDS = frozenset(
    "event level timestamp request door status milliseconds patient user client codes rules asked cards records removed"
    " error".split()
)


class _Named(logging.LoggerAdapter[logging.Logger]):
    """Takes what a line tells by name: LOG.info("answered", status=200)."""

    def process(self, msg: str, kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        return msg, {"extra": {"told": kwargs}}


LOG = _Named(logging.getLogger("coding_assist"))


class _Lines(logging.Formatter):
    """Our lines, and in the same form what others log."""

    def format(self, record: logging.LogRecord) -> str:
        """Without a traceback, whose last line may quote what could not be read: only the kind of the error."""
        line = {name: value for name, value in getattr(record, "told", {}).items() if name in FIELDS}
        line["event"] = record.getMessage().encode(errors="backslashreplace").decode()  # half of a pair is no JSON
        line["level"] = record.levelname.lower()
        line["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        return dump_json(line).decode()


def configure_logs(level: str) -> None:
    """Everything that is logged in this process as one JSON object a line on standard error."""
    # Nothing that FIELDS lists: where in the code a line is from, in which thread and which process.
    logging._srcfile = None  # as Python's "Logging HOWTO: Optimization" has it
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each step of opening the store
