"""One call to another server by `requests`; `fetching` keeps it within bounds."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from http.client import HTTPException
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from service.fetching import Asking, Fetched, FetchFailed

logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # its lines name addresses, and those name patients


class Watched(HTTPAdapter):
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
                one.shutdown(socket.SHUT_RDWR)


def call(asking: Asking, deadline: float, limit: int, adapter: Watched) -> Fetched:
    """What came by the deadline, of `limit` bytes at most; FetchFailed else."""
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
