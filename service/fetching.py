"""Calls another server over HTTP within bounds: all that ever calls out, for keys, tokens and records.

No redirect is followed, no proxy, cookie or .netrc of the machine is used, no compressed answer is read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Literal

from service.deferred import Deferred
from service.json_body import MAX_BYTES

if TYPE_CHECKING:
    from service import calling
else:
    calling = Deferred("service.calling")


class FetchFailed(Exception):
    """Nothing usable came. `status` is the answer's, 0 where none came; `retry_after` in seconds, 0 where unsaid."""

    def __init__(self, status: int = 0, retry_after: float = 0) -> None:
        super().__init__("The answer could not be had; see that the server is up and that it may be asked.")
        self.status = status
        self.retry_after = retry_after

    @property
    def is_outage(self) -> bool:
        """Is the server down or overburdened? 401, 404 and the like are answers."""
        return self.status in (0, 429) or self.status >= 500


class NoFreeSlot(FetchFailed):
    """As many calls as may be are under way; the server asked has nothing to do with it."""


@dataclass(frozen=True)
class Fetched:
    """The whole body of an answer that brought what was asked, its Cache-Control and its Location."""

    body: bytes = field(repr=False)
    cache_control: str = ""
    location: str = field(default="", repr=False)


@dataclass(frozen=True)
class Asking:
    """What is asked of an address; `body` goes with POST and PUT."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    method: Literal["GET", "POST", "PUT"] = "GET"
    body: bytes | None = field(default=None, repr=False)

    @property
    def succeeded(self) -> frozenset[int]:
        """The statuses that bring what was asked: of a GET only the whole document."""
        return frozenset({200}) if self.method == "GET" else frozenset({200, 201, 204})


class Fetch:
    """One call under way."""

    def __init__(self, future: Future[Fetched], adapter: calling.Watched) -> None:
        self._future = future
        self._adapter = adapter

    def result(self, deadline: float) -> Fetched:
        """What came by the deadline (time.monotonic()); FetchFailed else, and then the connection is cut."""
        try:
            return self._future.result(max(0.0, deadline - time.monotonic()))
        except TookTooLong:
            self._adapter.cut()
            raise FetchFailed from None


class Fetcher:
    """At most `slots` calls at once (a bulkhead): a server that hangs takes no thread that answers others."""

    def __init__(self, slots: int) -> None:
        self._threads = ThreadPoolExecutor(slots, "fetch")
        self._free = BoundedSemaphore(slots)

    def start(self, url: str, deadline: float, headers: Mapping[str, str], limit: int = MAX_BYTES) -> Fetch:
        """Begin a GET that may take until the deadline and bring `limit` bytes; NoFreeSlot where all are taken."""
        return self.send(Asking(url, headers), deadline, limit)

    def send(self, asking: Asking, deadline: float, limit: int = MAX_BYTES) -> Fetch:
        """Begin a call that may take until the deadline and bring `limit` bytes; NoFreeSlot where all are taken."""
        if not self._free.acquire(blocking=False):
            raise NoFreeSlot
        adapter = calling.Watched()
        future = self._threads.submit(calling.call, asking, deadline, limit, adapter)
        future.add_done_callback(lambda _: self._free.release())
        return Fetch(future, adapter)
