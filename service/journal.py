"""Writes what each request leaves behind, in chains of audit records, one chain for each writer (a worker process).

One thread writes, so that what comes in together is flushed together; a call that opens forms, which it has to flush
itself, takes along what waits. `group`: a request does not wait, and what came
in within the last 50 ms can be lost when the power fails or the process is killed; a stop in order loses nothing.
`sync`: the answer goes out when its record is on the disk. In both, once a write has failed the following requests are
refused until it has succeeded, so that a patient's data is not touched unrecorded for longer than that.
"""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotWritten
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

from service.store import Chain, Entry, Store, StoreUnavailable

LOG = logging.getLogger("coding_assist")
GATHER_SECONDS = 0.02  # leaves the flush 30 of the 50 ms that `group` promises
RETRY_SECONDS = 0.5
# SQLite lets in who asks at the right moment and not who has waited longest, so among four workers, two of them on
# their way out, one may go without the lock for all the second that the store waits for it.
TRIES = 2
PATIENCE_SECONDS = 3.0  # longer than the store waits for a lock in as many tries
BATCH = 1000
Waiting = tuple[Entry, Future[None] | None]  # and, in `sync`, who is to be told


class Journal:
    """What is written is in the order given; a request that is told StoreUnavailable goes unanswered."""

    def __init__(self, store: Store, *, waits: bool) -> None:
        self._store = store
        self._waits = waits
        lock = threading.RLock()
        self._changed, self._filled = threading.Condition(lock), threading.Condition(lock)
        self._waiting: list[Waiting] = []
        self._thread: threading.Thread | None = None
        self._writing = threading.Lock()
        self._chain: Chain | None = None
        self._tried = 0  # how many were in a flush of unknown end, which is to be made again as it was
        self._failing = self._closing = False
        self._began = math.inf  # when the write that is under way began

    def write(self, entry: Entry, *, is_promised: bool = False) -> None:
        """Keep an entry; StoreUnavailable where that has just failed, or fails now in `sync`.

        `is_promised` says that refuse_failing() had nothing against it when the request began, which counts.
        """
        written: Future[None] | None = Future() if self._waits else None
        with self._changed:
            if not is_promised:
                self.refuse_failing()
            self._waiting.append((entry, written))
            self._start()
            # A writer that gathers is let sleep: to wake it for nothing would cost each call two changes of thread.
            if len(self._waiting) == 1:
                self._changed.notify_all()
            elif len(self._waiting) == BATCH:
                self._filled.notify_all()
        if written:
            try:
                written.result(PATIENCE_SECONDS)
            except NotWritten:
                raise StoreUnavailable("The audit record was not written in time.") from None

    def open_forms(self, *opening: Any) -> None:
        """Have the store open the forms of a call, and flush with them what waits: to flush takes most of the time."""
        if not self._writing.acquire(timeout=PATIENCE_SECONDS):
            raise StoreUnavailable("The forms could not be written in time.")
        self._began = time.monotonic()
        try:
            if batch := self._batch():
                appending = self._open_chain(), [entry for entry, _ in batch]
                self._chain = self._store.open_forms(*opening, appending=appending)  # type: ignore[misc]  # by position
                self._told_success(batch)
            else:
                self._store.open_forms(*opening)
        finally:
            self._began = math.inf
            self._writing.release()

    def refuse_failing(self) -> None:
        """StoreUnavailable where the last write has failed, or does not come to an end."""
        is_stuck = time.monotonic() - self._began > PATIENCE_SECONDS
        if self._failing or self._closing or is_stuck:
            raise StoreUnavailable("The audit records cannot be written now.")

    def close(self) -> None:
        """Write what is waiting and stop; what cannot be written within seconds is given up."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._filled.notify_all()
            thread = self._thread
        atexit.unregister(self.close)
        if thread:
            thread.join(PATIENCE_SECONDS)

    def _start(self) -> None:
        """Not before it is needed: a thread does not survive the fork that makes a worker."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
            self._thread.start()
            atexit.register(self.close)

    def _run(self) -> None:
        while self._gathered():
            for tried in count(1):
                try:
                    with self._writing:
                        self._began = time.monotonic()
                        self._append()
                except Exception as error:  # noqa: BLE001  # were the thread to end, nothing would be recorded any more
                    if tried >= TRIES and not self._told_failure(error):
                        return
                else:
                    break

    def _gathered(self) -> bool:
        """Once something waits, in `group` a moment later; False when closed and all is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waits:
                self._filled.wait_for(lambda: self._closing or len(self._waiting) >= BATCH, GATHER_SECONDS)
            return bool(self._waiting) or not self._closing

    def _append(self) -> None:
        batch = self._batch()
        if batch:  # else a call that opened forms has written it meanwhile
            self._chain = self._store.append(self._open_chain(), [entry for entry, _ in batch])
        self._told_success(batch)

    def _open_chain(self) -> Chain:
        self._chain = self._chain or self._store.open_chain(uuid4().hex, datetime.now(UTC))
        return self._chain

    def _batch(self) -> Sequence[Waiting]:
        batch = self._waiting[: self._tried or BATCH]
        self._tried = len(batch)
        return batch

    def _told_success(self, batch: Sequence[Waiting]) -> None:
        with self._changed:
            self._failing, self._began, self._tried = False, math.inf, 0
            del self._waiting[: len(batch)]
        for _, written in batch:
            if written and not written.done():
                written.set_result(None)

    def _told_failure(self, error: Exception) -> bool:
        """Refuse those who wait, and try the same batch again in a while; False where there is no time for that.

        It is not dropped: whether a commit that failed was kept is not known, and one record too many is better
        than one too few. So there may be a record of a request that was refused.
        """
        with self._changed:
            if not self._failing:
                LOG.error("the audit records cannot be written: %s", type(error).__name__)
            self._failing = True
            refused = StoreUnavailable("The audit record could not be written.")
            for _, written in self._waiting[: self._tried]:
                if written and not written.done():
                    written.set_exception(refused)
            self._changed.wait_for(lambda: self._closing, RETRY_SECONDS)
            return not self._closing
