"""Calls another server over HTTP within bounds: all that ever calls out, for keys, tokens and records.

No redirect is followed, no proxy, cookie or .netrc of the machine is used, no compressed answer is read.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from threading import BoundedSemaphore
from typing import Any, Literal

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from service.json_body import MAX_BYTES

logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # its lines name addresses, and those name patients


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

    def __init__(self, future: Future[Fetched], adapter: _Watched) -> None:
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
        adapter = _Watched()
        future = self._threads.submit(_call, asking, deadline, limit, adapter)
        future.add_done_callback(lambda _: self._free.release())
        return Fetch(future, adapter)


class _Watched(HTTPAdapter):
    """Knows its sockets, so that they can be cut: a time limit of urllib3 counts from the last byte that came.

    Not its connections: one that serves a single answer lets go of its socket before the answer is read.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._is_cut = False
        super().__init__()

    def get_connection_with_tls_context(self, *given: Any, **named: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*given, **named)
        kind = pool.ConnectionCls

        def watched(*a: Any, **k: Any) -> Any:
            connection = kind(*a, **k)
            connect = connection.connect

            def connected() -> None:
                connect()
                self._sockets.append(connection.sock)
                if self._is_cut:
                    self.cut()

            connection.connect = connected
            return connection

        pool.ConnectionCls = watched
        return pool

    def cut(self) -> None:
        self._is_cut = True
        for one in self._sockets:
            with suppress(OSError):  # closed meanwhile
                # Below TLS, whose state belongs to the thread that reads.
                socket.socket.shutdown(one, socket.SHUT_RDWR)


def _call(asking: Asking, deadline: float, limit: int, adapter: _Watched) -> Fetched:
    left = deadline - time.monotonic()
    if left <= 0:
        raise FetchFailed
    try:
        # Not by a Session: it reads a redirect whole and unpacked, even where it is told not to follow it, and it looks
        # for proxies, cookies and .netrc.
        headers = {**asking.headers, "Accept-Encoding": "identity"}
        asked = requests.Request(asking.method, asking.url, headers, data=asking.body).prepare()
        with adapter.send(asked, stream=True, timeout=left) as response:
            return _whole(response, asking.succeeded, limit)
    except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError):
        raise FetchFailed from None  # its text would name the address
    finally:
        adapter.close()


def _whole(response: requests.Response, succeeded: frozenset[int], limit: int) -> Fetched:
    if response.status_code not in succeeded:
        raise FetchFailed(response.status_code, _seconds(response.headers.get("Retry-After", "")))
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed(200)
    body = response.raw.read(limit + 1, decode_content=False)
    # A limited read of urllib3 takes a connection that ends early for the end of the body.
    if len(body) > limit or response.headers.get("Content-Length", str(len(body))) != str(len(body)):
        raise FetchFailed(200)
    return Fetched(body, response.headers.get("Cache-Control", ""), response.headers.get("Location", ""))


def _seconds(written: str) -> float:
    """Retry-After in seconds; a date is taken as unsaid, since the clocks may differ."""
    return float(written) if written.isascii() and written.isdigit() and len(written) < 6 else 0.0
