"""Logs as JSON lines of named fields. Only fields listed here get through, so a patient's words have no way in."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from service.deferred import doing_without
from service.json_body import dump_json

with doing_without("rich"):  # for logs in colours: half the time of importing structlog, and 5 MB
    import structlog

# Ids only as hashes under the store's own key; what a rule or a code system names; numbers.
FIELDS = frozenset(
    "event level timestamp request door status milliseconds patient user client codes rules asked cards records removed"
    " error".split()
)


def _only_known_fields(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Without what is not listed, a traceback too: its last line may quote what could not be read."""
    error = event.get("exc_info")
    if isinstance(error, tuple) and error[0] is not None:
        event["error"] = error[0].__name__
    return {name: value for name, value in event.items() if name in FIELDS or name in ("_record", "_from_structlog")}


_SHARED: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _only_known_fields,
]
_RENDER = structlog.processors.JSONRenderer()
_LINE = {"extra": {"is_line": True}}


def _as_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> tuple[tuple[Any], Mapping[str, Any]]:
    """The line itself, with a mark for the formatter, which then has nothing left to do."""
    return (dump_json(event).decode(),), _LINE


structlog.configure(
    processors=[structlog.stdlib.filter_by_level, *_SHARED, _as_line],
    logger_factory=logging.getLogger,
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
LOG: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("coding_assist")


class _Lines(structlog.stdlib.ProcessorFormatter):
    """What others log in the same form as our lines."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if hasattr(record, "is_line") else super().format(record)


def configure_logs(level: str) -> None:
    """Everything that is logged in this process as one JSON object a line on standard error."""
    # Nothing that FIELDS lists: where in the code a line is from, in which thread and which process.
    logging._srcfile = None  # as Python's "Logging HOWTO: Optimization" has it
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    render: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _RENDER]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(foreign_pre_chain=_SHARED, processors=render))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each step of opening the store
