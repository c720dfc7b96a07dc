"""Lets go of expired tokens and forms that nobody answered, and of what is older than the operator's RETENTION."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from service.logs import LOG
from service.store import Store

EVERY_SECONDS = 3600.0


def keep_house(store: Store, retention_days: int | None, now: datetime) -> dict[str, int]:
    """Remove what has had its time; how many rows of each table. Without a retention only the expired go."""
    if retention_days is None:
        return store.forget_expired(now)
    return store.retire(now - timedelta(days=retention_days), now)


def start_housekeeping(store: Store, retention_days: int | None) -> None:
    """Keep house at once and then every hour, as long as the process lives."""
    threading.Thread(target=_keep_on, args=(store, retention_days), name="housekeeping", daemon=True).start()


def _keep_on(store: Store, retention_days: int | None) -> None:
    pause = threading.Event()
    while True:
        try:
            removed = keep_house(store, retention_days, datetime.now(UTC))
            LOG.info("kept house", removed={name: count for name, count in removed.items() if count})
        except Exception as error:  # noqa: BLE001  # were the thread to end, nothing would be let go any more
            LOG.warning("could not keep house, will try again", error=type(error).__name__)
        pause.wait(EVERY_SECONDS)
