"""Whether the store can be written, for whoever asks: a load balancer, and anybody else who reaches the service."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

from service.store import Store, StoreUnavailable

EVERY_SECONDS = 1.0


class Readiness:
    """Writes to the store once a second at most: however often it is asked, no call waits for that."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = Lock()
        self._asked = -EVERY_SECONDS
        self._fault: StoreUnavailable | None = None

    def check(self) -> None:
        """StoreUnavailable where the store could not be written within the last second."""
        with self._lock:
            if self._clock() - self._asked >= EVERY_SECONDS:
                self._fault = self._probed()
                self._asked = self._clock()
            fault = self._fault
        if fault:
            raise StoreUnavailable(*fault.args)

    def _probed(self) -> StoreUnavailable | None:
        try:
            self._store.probe(datetime.now(UTC))
        except StoreUnavailable as fault:
            return fault
        return None
