"""Logs as JSON lines of named fields. Only fields listed here get through, so a patient's words have no way in."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

from service.deferred import doing_without

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
structlog.configure(
    processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)
LOG: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("coding_assist")


def configure_logs(level: str) -> None:
    """Everything that is logged in this process as one JSON object a line on standard error."""
    render: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.JSONRenderer(),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=render))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each step of opening the store
