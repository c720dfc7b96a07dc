"""The server under clients that hold on to it, under malformed requests, and while it reloads and stops."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.records import ASSIST
from tests.slow_clients import BODY, HEADERS, KINDS, LONG, good_request, held_by

REPO = Path(__file__).resolve().parent.parent
COUNT = 150
JSON = {"Content-Type": "application/json"}


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service as an operator starts it."""
    folder = tmp_path_factory.mktemp("served")
    yield from serve(folder)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Running]:
    """One that a test may stop."""
    yield from serve(tmp_path)


def serve(folder: Path) -> Iterator[Running]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CODING_ASSIST_")}
    environment["CODING_ASSIST_DATABASE_URL"] = f"sqlite:///{folder}/store.db"
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=REPO, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout
    said = re.fullmatch(r"Serving on http://127\.0\.0\.1:(\d+)\n", process.stdout.readline())
    assert said, (folder / "log").read_text()
    yield Running(process, int(said[1]))
    process.kill()
    process.communicate()


@pytest.mark.proves("operation: a good request stays under 2 s beside slow clients")
@pytest.mark.parametrize("kind", KINDS)
def test_a_good_request_does_not_wait_for_those_who_hold_on(server: Running, kind: str) -> None:
    with held_by(kind, server.port, COUNT):
        assert max(good_request(server.port, limit=5) for _ in range(10)) < 2


def test_answers_that_nobody_reads_are_not_piled_up(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as greedy:
        greedy.sendall(LONG * 100)  # 29 MB of answers
        time.sleep(2)
        read = 0
        with suppress(ConnectionError):
            while data := greedy.recv(1_000_000):
                read += len(data)
    assert 0 < read < 15_000_000  # what the system and we had in hand; the other answers were not made


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/9.9 x\r\n\r\n", 400),
        (b"GET /Smith\r\nno header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 300_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
def test_what_is_no_http_is_refused_as_everything_else(server: Running, sent: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(sent)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        told = json.loads(answer.read())
    assert (answer.status, told["resourceType"]) == (status, "OperationOutcome")
    assert "Smith" not in str(told)
    assert answer.headers["X-Request-ID"]
    assert answer.headers["Server"] is None


def test_metrics_sum_over_the_workers(server: Running) -> None:
    def asked() -> float:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        counted = re.search(r'^coding_assist_requests_total\{method="POST",route="[^"]+assist".*\} (\S+)$', text, re.M)
        return float(counted[1]) if counted else 0.0

    before = asked()
    for _ in range(20):
        good_request(server.port)
    assert asked() == before + 20


@pytest.mark.proves("operation: graceful reload on HUP without a failed request")
@pytest.mark.parametrize("keep_alive", [True, False])
def test_no_request_fails_while_the_workers_are_replaced(server: Running, keep_alive: bool) -> None:
    over, load = threading.Event(), Load(server.port, keep_alive)
    threads = [threading.Thread(target=load.run, args=(over,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(1.5)
        server.process.send_signal(signal.SIGHUP)
    time.sleep(3)
    over.set()
    for thread in threads:
        thread.join()
    assert load.failed == []
    assert load.answered > 50


@pytest.mark.proves("operation: stop on TERM answers what was sent")
def test_a_stop_answers_what_has_come(own_server: Running) -> None:
    waiting = [socket.create_connection(("127.0.0.1", own_server.port), timeout=10) for _ in range(20)]
    begun = waiting.pop()
    begun.sendall(HEADERS + BODY[:20])
    for one in waiting:
        one.sendall(HEADERS + BODY)
    own_server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    begun.sendall(BODY[20:])  # its request had begun, too
    for one in [*waiting, begun]:
        answer = http.client.HTTPResponse(one)
        answer.begin()
        assert (answer.status, b"M99.41" in answer.read()) == (200, True)
        one.close()
    assert own_server.process.wait(20) == 0


class Load:
    """One request after the other; what failed is kept."""

    def __init__(self, port: int, keep_alive: bool) -> None:
        self.port = port
        self.keep_alive = keep_alive
        self.answered = 0
        self.failed: list[str] = []

    def run(self, over: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = JSON if self.keep_alive else JSON | {"Connection": "close"}
        while not over.is_set():
            try:
                connection.request("POST", ASSIST, BODY, headers)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200, answer.status
                self.answered += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failed.append(repr(error))
                connection.close()
        connection.close()
