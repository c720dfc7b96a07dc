"""The server under clients that hold on to it, under malformed requests, and while it reloads and stops."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer

from service.commands.serve import _server_defaults
from service.json_body import MAX_BYTES
from service.serving import BufferingWorker, _Channel, _Stopping
from service.store import open_store
from tests.records import ASSIST, CANARY, HOOK, call
from tests.running import JSON, Load, Running, serving
from tests.slow_clients import BODY, HEADERS, KINDS, LONG, good_request, held_by
from tests.test_clients import BASE, CALL, CLIENTS, bearer, claims, signed
from tests.test_survival import status, until

COUNT = 150


@pytest.mark.proves("operation: a good request stays under 2 s beside slow clients")
@pytest.mark.parametrize("kind", KINDS)
def test_a_good_request_does_not_wait_for_those_who_hold_on(server: Running, kind: str) -> None:
    with held_by(kind, server.port, COUNT):
        assert max(good_request(server.port, limit=5) for _ in range(10)) < 2


def test_answers_that_nobody_reads_are_not_piled_up(server: Running) -> None:
    before = counted(server, "/fhir/StructureDefinition")
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as greedy:
        greedy.sendall(LONG * 100)  # 29 MB of answers
        time.sleep(2)
        made = counted(server, "/fhir/StructureDefinition") - before
        told = b""
        while told.count(b"HTTP/1.1 200 OK") < 100:
            told += greedy.recv(1_000_000)
    assert 1 <= made < 30  # what the system and we had in hand; the others were made as they were read


def test_for_those_who_never_read_no_more_is_made_than_they_could_have_at_once(server: Running) -> None:
    before = counted(server, "/fhir/StructureDefinition")
    with held_by("never reading", server.port, COUNT):
        time.sleep(2)
        made = counted(server, "/fhir/StructureDefinition") - before
    assert 1 <= made < 4 * COUNT  # of 100 that each asks for; ten and more went into buffers that the system let grow


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/9.9 x\r\n\r\n", 400),
        (b"GET /Smith\r\nno header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 300_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
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
    told = {name: answer.headers[name] for name in ("Content-Type", "Cache-Control", "X-Content-Type-Options")}
    assert list(told.values()) == ["application/fhir+json; charset=utf-8", "no-store", "nosniff"]
    assert answer.headers["Connection"] == "close"  # where a next request would begin is not known


def test_a_body_of_the_largest_size_may_come_in_small_chunks(server: Running) -> None:
    body = BODY + b" " * (MAX_BYTES - len(BODY))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", ASSIST, (body[at : at + 64] for at in range(0, MAX_BYTES, 64)), JSON)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    ("channel", "seconds", "slow"),
    [
        ({"request": True}, 31, True),
        ({"request": True}, 29, False),
        ({"request": True, "requests": [True]}, 31, False),  # one before it is being answered
        ({"parked": True}, 31, True),
        ({"parked": True}, 29, False),
        ({}, 31, False),  # silent between two requests: waitress' own limit
    ],
)
def test_who_neither_sends_nor_reads_for_half_a_minute_is_let_go(
    channel: dict[str, Any], seconds: float, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"request": None, "requests": [], "parked": False, "begun": 100.0, "last_activity": 100.0, **channel}
    held = SimpleNamespace(**state, will_close=False)
    held.is_too_slow = lambda now: _Channel.is_too_slow(held, now)  # type: ignore[arg-type]
    monkeypatch.setattr(TcpWSGIServer, "maintenance", lambda *_: None)
    _Stopping.maintenance(SimpleNamespace(active_channels={1: held}), 100.0 + seconds)
    assert held.will_close is slow


def counted(server: Running, route: str) -> float:
    """How many requests of a route were answered, by any worker."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.findall(r'^coding_assist_requests_total\{method="\w+",route="([^"]+)",.*\} (\S+)$', text, re.M)
    return sum(float(number) for one, number in found if one.startswith(route))


def test_metrics_sum_over_the_workers(server: Running) -> None:
    before = counted(server, ASSIST)
    for _ in range(20):
        good_request(server.port)
    assert counted(server, ASSIST) == before + 20


def test_counts_outlive_their_workers_in_no_more_files_than_there_are_workers_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as running:
        for _ in range(4):
            good_request(running.port)
            past = running.workers
            running.process.send_signal(signal.SIGHUP)
            until(lambda past=past: len(running.workers) == 1 and not running.workers & past)  # type: ignore[misc]
        good_request(running.port)
        assert counted(running, ASSIST) == 5
        assert len(list(tmp_path.glob("coding-assist-counts-*/*.db"))) == 2 * 2  # the old and the new of a reload


def test_a_service_keeps_house_and_sees_who_calls_behind_its_proxy(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    store.see_token("ehr", "over", datetime.now(UTC) - timedelta(days=1))
    with serving(tmp_path, {"TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT": "1"}, workers=1) as running:
        callers = [{"X-Forwarded-For": address} for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]
        assert [status(running.port, "GET", "/cds-services", headers=one) for one in callers] == [200, 200, 429]
        until(lambda: store.see_token("ehr", "over", datetime.now(UTC) + timedelta(days=1)))  # it was forgotten
    store.close()


def test_a_request_that_waits_for_a_thread_is_no_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("waitress.queue").warning("Task queue depth is 1")
    assert caplog.text == ""


def test_an_access_log_that_an_operator_turns_on_names_no_address_of_a_request() -> None:
    told = re.findall(r"%\(([^)]*)\)s", _server_defaults()["access_log_format"])
    assert set(told) <= {"t", "m", "s", "b", "M"}  # time, method, status, bytes, milliseconds


@pytest.mark.proves("PHI: canary over the process list")
def test_the_process_list_names_no_patient_and_no_secret(own_server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", own_server.port, timeout=20)
    secret = {"Authorization": f"Bearer {CANARY}", "Content-Type": "application/json"}
    connection.request("POST", f"{HOOK}?patient=Zebedee", json.dumps(call()), secret)
    assert connection.getresponse().status == 200
    connection.close()
    listed = b""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getpgid(int(process.name)) == own_server.process.pid:
                listed += (process / "cmdline").read_bytes()
                listed += b"".join(comm.read_bytes() for comm in process.glob("task/*/comm"))
    assert b"serve" in listed
    assert [word for word in (b"Zebedee", b"Quux", b"sqlite:", b"Bearer") if word in listed] == []


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


def test_a_reload_reads_the_files_anew_and_goes_on_as_before_where_they_are_wrong(tmp_path: Path) -> None:
    file = tmp_path / "clients.json"
    file.write_text(json.dumps(CLIENTS[1:]))
    settings = {"AUTH": "jwt", "TRUSTED_CLIENTS": str(file), "BASE_URL": BASE}

    def admitted() -> bool:
        return status(running.port, "POST", HOOK, CALL, bearer(signed(claims()))) == 200

    with serving(tmp_path, settings) as running:
        assert not admitted()
        file.write_text(json.dumps(CLIENTS))
        running.process.send_signal(signal.SIGHUP)
        until(lambda: all(admitted() for _ in range(4)))
        file.write_text("no JSON")
        running.process.send_signal(signal.SIGHUP)
        until(lambda: "Not reloaded" in (tmp_path / "log").read_text())
        assert admitted()


@pytest.mark.proves("operation: stop on TERM answers what was sent")
def test_a_stop_answers_what_has_come_and_loses_no_record_of_it(own_server: Running, tmp_path: Path) -> None:
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
    assert answer.headers["Connection"] == "close"  # of the last, which came when the worker was stopping
    assert own_server.process.wait(20) == 0
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    assert len(list(store.export_audit())) == len(waiting) + 1
    store.close()


def test_a_worker_that_is_stopped_before_it_listens_to_signals_stops(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text(
        "import os, pathlib, signal\n"
        "from service.commands.serve import _keep_inherited\n"
        "def post_fork(arbiter, worker):\n"
        f"    told = pathlib.Path({str(tmp_path)!r}, 'told')\n"
        "    if not told.exists():\n"
        "        told.write_text(str(os.getpid()))\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    _keep_inherited(arbiter, worker)\n"
    )
    with serving(tmp_path, {"LOG_LEVEL": "INFO"}, gunicorn=f"--config {config}") as one:
        told = tmp_path / "told"
        until(lambda: told.exists() and told.read_text() != "")
        until(lambda: not Path("/proc", told.read_text()).exists())
        assert status(one.port, "GET", "/healthz") == 200


def test_a_connection_whose_answers_were_read_goes_on_with_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it came that nothing is left to be sent: the thread that answers sends, too."""
    added: list[Any] = []
    monkeypatch.setattr(HTTPChannel, "handle_write", lambda _: None)
    channel: Any = _Channel.__new__(_Channel)
    nothing_left = {"total_outbufs_len": 0, "will_close": False, "close_when_flushed": False, "parked": True}
    vars(channel).update(nothing_left, server=SimpleNamespace(task_dispatcher=SimpleNamespace(add_task=added.append)))
    assert channel.writable()
    for _ in range(2):
        channel.handle_write()
    assert (added, bool(channel.writable())) == ([channel], False)


@contextmanager
def listening_server(connections: int = 8) -> Iterator[tuple[Any, socket.socket]]:
    """What a worker listens with, and the same socket as the other workers have it."""
    cfg = SimpleNamespace(backlog=7, worker_connections=connections)
    worker: Any = SimpleNamespace(cfg=cfg, threads=None, wsgi=None, connections={})
    with socket.create_server(("127.0.0.1", 0)) as listening, listening.dup() as others:
        made = BufferingWorker._listen(worker, SimpleNamespace(sock=listening))
        yield made, others
        made.trigger.close()


def test_a_worker_that_stops_leaves_new_connections_to_the_others() -> None:
    with listening_server() as (server, others):
        server.stop()
        with socket.create_connection(others.getsockname()):
            wasyncore.loop(0.1, use_poll=True, map=server._map, count=1)
            assert server.active_channels == {}
            others.accept()[0].close()


def test_a_worker_takes_as_many_connections_as_the_operator_says() -> None:
    for connections, takes_more in ((3, True), (2, False)):  # the listening one counts, and what wakes the loop
        with listening_server(connections) as (server, _):
            assert (server.readable(), server.adj.backlog) == (takes_more, 7)


def test_every_second_who_was_silent_for_half_a_minute_is_let_go() -> None:
    with listening_server() as (server, _):
        for silent, ends in ((29, False), (31, True)):
            state = {"requests": [], "last_activity": time.time() - silent, "is_too_slow": lambda _: False}
            held = SimpleNamespace(**state, will_close=False)
            server.active_channels, server.next_channel_cleanup = {1: held}, time.time()
            server.readable()
            assert held.will_close is ends
        assert server.next_channel_cleanup <= time.time() + 1


def test_the_time_for_a_request_counts_from_its_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HTTPChannel, "received", lambda *_: None)
    channel: Any = _Channel.__new__(_Channel)
    begun = []
    for request in (None, "begun", "begun"):
        monkeypatch.setattr("service.serving.time", SimpleNamespace(time=lambda: 100 + len(begun)))
        channel.request = request
        channel.received(b"x")
        begun.append(channel.begun)
    assert begun == [100, 100, 100]


def test_a_worker_ends_when_its_time_is_over_whoever_holds_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(50))
    monkeypatch.setattr("service.serving.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    busy = SimpleNamespace(end_if_idle=lambda: None)
    worker: Any = SimpleNamespace(servers=[], cfg=SimpleNamespace(graceful_timeout=20), _open=lambda: [busy])
    worker._turn = lambda: None
    BufferingWorker._finish(worker)


@pytest.mark.parametrize(
    ("channel", "ends"),
    [
        ({}, True),
        ({"parked": True, "requests": [True], "total_outbufs_len": 300_000}, True),
        ({"requests": [True]}, False),
        ({"request": True}, False),
        ({"total_outbufs_len": 1}, False),
    ],
)
def test_at_a_stop_silent_connections_end_and_those_in_use_do_not(channel: dict[str, Any], ends: bool) -> None:
    state = {"requests": [], "request": None, "parked": False, "total_outbufs_len": 0, "will_close": False, **channel}
    held: Any = SimpleNamespace(**state)
    _Channel.end_if_idle(held)
    assert held.will_close is ends


def test_a_worker_that_holds_more_than_1024_descriptors_answers(tmp_path: Path) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < 2048:
        pytest.skip("no process may have so many descriptors here")
    config = tmp_path / "config.py"
    config.write_text(
        "import os, resource\n"
        "from service.commands.serve import _keep_inherited\n"
        "def post_fork(arbiter, worker):\n"
        f"    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, {most}))\n"
        "    worker.held = [os.dup(0) for _ in range(1100)]\n"
        "    _keep_inherited(arbiter, worker)\n"
    )
    with serving(tmp_path, workers=1, gunicorn=f"--config {config}") as one:
        assert good_request(one.port, limit=10)


def test_a_worker_that_hangs_is_replaced_and_one_that_waits_for_calls_is_not(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1, gunicorn="--timeout 2") as one:
        good_request(one.port)
        begun = one.workers
        time.sleep(5)
        assert one.workers == begun
        os.kill(*begun, signal.SIGSTOP)
        until(lambda: not one.workers & begun)
        good_request(one.port)


def test_workers_end_when_their_main_process_is_gone(own_server: Running) -> None:
    good_request(own_server.port)
    own_server.process.kill()

    def is_nobody_left() -> bool:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", own_server.port)).close()
            return False
        return True

    until(is_nobody_left)


def test_a_silent_connection_does_not_hold_up_a_stop(own_server: Running) -> None:
    with socket.create_connection(("127.0.0.1", own_server.port), timeout=10):
        time.sleep(0.5)  # until a worker has it
        own_server.process.send_signal(signal.SIGTERM)
        assert own_server.process.wait(20) == 0  # 30 s are what a stop may take at most
