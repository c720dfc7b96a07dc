"""Clients that hold on to a server: slow with their headers or body, silent, or never reading what they asked for."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.records import ASSIST, condition

BODY = json.dumps(condition()).encode()
HEADERS = (
    f"POST {ASSIST} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n"
).encode()
LONG = b"GET /fhir/StructureDefinition?_count=100 HTTP/1.1\r\nHost: localhost\r\n\r\n"
Held = Callable[[socket.socket, int], None]


def _headers(held: socket.socket, step: int) -> None:
    held.sendall(HEADERS[step : step + 1] if step < len(HEADERS) - 40 else b"")


def _body(held: socket.socket, step: int) -> None:
    held.sendall(HEADERS if step == 0 else BODY[step : step + 1] if step < len(BODY) - 1 else b"")


def _idle(_held: socket.socket, _step: int) -> None:
    pass


def _never_reading(held: socket.socket, step: int) -> None:
    if step == 0:
        held.sendall(LONG * 100)


KINDS: dict[str, Held] = {"headers": _headers, "body": _body, "idle": _idle, "never reading": _never_reading}


@contextmanager
def held_by(kind: str, port: int, count: int = 150) -> Iterator[None]:
    """So many connections of one kind, kept up (and made again where the server ends them) until the block ends."""
    over = threading.Event()
    keeper = threading.Thread(target=_keep, args=(KINDS[kind], port, count, over), daemon=True)
    keeper.start()
    time.sleep(1)
    try:
        yield
    finally:
        over.set()
        keeper.join(10)


def _keep(act: Held, port: int, count: int, over: threading.Event) -> None:
    held: list[tuple[socket.socket, int]] = []
    while not over.wait(0.2):
        kept = []
        for one, step in held:
            with suppress(OSError):
                act(one, step)
                kept.append((one, step + 1))
        while len(kept) < count and (one := _connected(port)):
            kept.append((one, 0))
        held = kept
    for one, _ in held:
        one.close()


def _connected(port: int) -> socket.socket | None:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.settimeout(0.5)
    try:
        one.connect(("127.0.0.1", port))
    except OSError:
        one.close()
        return None
    one.setblocking(False)
    return one


def good_request(port: int, limit: float = 20) -> float:
    """Seconds until a whole answer came to a request as it should be, on a connection of its own."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    connection.request("POST", ASSIST, BODY, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    assert answer.status == 200, answer.status
    assert b"M99.41" in told
    return time.perf_counter() - began


def worst_of(kind: str, port: int, seconds: float, count: int = 150) -> list[float]:
    """What good requests took, one after the other, while the server is held so."""
    took: list[float] = []
    with held_by(kind, port, count):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                took.append(good_request(port))
            except OSError:
                took.append(float("inf"))
            time.sleep(0.05)
    return sorted(took)
