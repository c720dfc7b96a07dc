"""What was acknowledged survives: killed processes, a full disk, replays over two workers, reloads under load.

Each runs in a short form with `make test` and in the long one with `make test-long`.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.app import create_app
from service.assist import load_assist
from service.settings import Settings
from service.shipped import terminology_dir
from service.store import open_store
from tests.postgres import free_port, hanging, new_database
from tests.records import ASSIST, HOOK, condition
from tests.running import JSON, REPO, Load, Running, serving
from tests.slow_clients import BODY, good_request
from tests.test_clients import BASE, CALL, CLIENTS, bearer, claims, signed

FEEDBACK = f"{HOOK}/feedback"
AT_ONCE = 20  # records of one call


class Sender:
    """Sends feedback on one card after the other; what was acknowledged is kept, every third call is sent twice."""

    def __init__(self, port: int, numbers: Iterator[int]) -> None:
        self.port = port
        self.numbers = numbers
        self.acknowledged: list[str] = []
        self.wrong: list[int] = []

    def run(self, over: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        while not over.is_set():
            cards = [f"card-{next(self.numbers)}" for _ in range(AT_ONCE)]
            outcome = {"outcome": "accepted", "outcomeTimestamp": "2026-11-16T08:00:00Z", "acceptedSuggestions": []}
            body = json.dumps({"feedback": [{"card": card, **outcome} for card in cards]})
            for _ in range(2 if hash(cards[0]) % 3 == 0 else 1):
                try:
                    connection.request("POST", FEEDBACK, body, JSON)
                    answer = connection.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException):
                    connection.close()
                    time.sleep(0.02)
                    continue
                if answer.status == 200:
                    self.acknowledged += cards
                elif answer.status != 503:
                    self.wrong.append(answer.status)
        connection.close()


def kill_all(running: Running) -> None:
    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait(10)


def kill_one_worker(running: Running) -> None:
    for worker in list(running.workers)[:1]:
        os.kill(worker, signal.SIGKILL)


@pytest.mark.proves("reliability: kill -9, nothing acknowledged lost or kept twice")
@pytest.mark.parametrize(
    ("rounds", "records"), [(4, 200), pytest.param(200, 10_000, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_what_was_acknowledged_is_there_once_after_every_kill(
    database_url: str, tmp_path: Path, rounds: int, records: int
) -> None:
    port, numbers = free_port(), itertools.count()
    senders = [Sender(port, numbers) for _ in range(3)]
    done = 0
    while done < rounds:
        with serving(tmp_path, {"DATABASE_URL": database_url}, port=port) as running:
            over = threading.Event()
            threads = [threading.Thread(target=sender.run, args=(over,)) for sender in senders]
            for thread in threads:
                thread.start()
            for _ in range(min(9, rounds - done - 1)):  # the worker comes back by itself
                wait_for_more(senders, records // rounds)
                kill_one_worker(running)
                done += 1
            wait_for_more(senders, records // rounds)
            kill_all(running)
            done += 1
            over.set()
            for thread in threads:
                thread.join()
    acknowledged = {card for sender in senders for card in sender.acknowledged}
    store = open_store(database_url)
    kept = Counter(record["card"] for record in store.export_feedback())
    faults = list(store.chain_faults({}))
    store.close()
    assert [sender.wrong for sender in senders] == [[], [], []]
    assert len(acknowledged) >= records
    assert acknowledged - set(kept) == set()  # none lost
    assert [card for card, times in kept.items() if times > 1] == []  # none twice
    assert faults == []


def wait_for_more(senders: Sequence[Sender], records: int) -> None:
    """A while, and as long as a busy machine needs to acknowledge so many more."""
    before = sum(len(sender.acknowledged) for sender in senders)
    time.sleep(0.3)
    until(lambda: sum(len(sender.acknowledged) for sender in senders) >= before + records)


@pytest.mark.proves("reliability: acknowledged is flushed: fdatasync >= commits")
def test_each_acknowledged_commit_is_flushed_by_the_system(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed, so the flushes were not counted (Debian: strace)")
    script = (
        "import sys; from datetime import UTC, datetime; from service.store import Feedback, open_store\n"
        "store = open_store(sys.argv[1])\n"
        "for n in range(100): store.add_feedback('c', [Feedback(f'card-{n}', {})], datetime.now(UTC))\n"
    )
    log = tmp_path / "calls"
    command = [strace, "-f", "-o", log, "-e", "trace=fsync,fdatasync", sys.executable, "-c", script]
    traced = subprocess.run(
        [*command, f"sqlite:///{tmp_path}/store.db"], cwd=REPO, capture_output=True, text=True, timeout=120, check=False
    )
    if "ptrace" in traced.stderr:
        pytest.skip("processes may not be traced here")
    assert traced.returncode == 0, traced.stderr
    assert len(re.findall(r"(?:fsync|fdatasync)\(\d+\) += 0", log.read_text())) >= 100


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if not mount or not umount or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run([umount, "-l", folder], check=True)


@pytest.mark.proves("reliability: disk full, 503 and not ready, then recovery by itself")
def test_a_full_disk_is_said_and_then_works_again(small_disk: Path, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": f"sqlite:///{small_disk}/store.db", "AUDIT": "sync"}
    with serving(tmp_path, settings) as running:
        assert good_request(running.port) < 5
        (small_disk / "other").write_bytes(b"x" * shutil.disk_usage(small_disk).free)
        until(lambda: status(running.port, "POST", ASSIST, condition()) == 503)
        assert status(running.port, "POST", FEEDBACK, feedback("x" * 4000)) == 503
        until(lambda: status(running.port, "GET", "/readyz") == 503)
        assert status(running.port, "GET", "/healthz") == 200
        (small_disk / "other").unlink()
        until(lambda: status(running.port, "GET", "/readyz") == 200)
        until(lambda: status(running.port, "POST", ASSIST, condition()) == 200)
        assert status(running.port, "POST", FEEDBACK, feedback("x" * 4000)) == 200


def feedback(comment: str) -> object:
    told = {"card": "c", "outcome": "overridden", "outcomeTimestamp": "2026-11-16T08:00:00Z"}
    return {"feedback": [{**told, "card": f"c{n}", "overrideReason": {"userComment": comment}} for n in range(50)]}


def status(port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, json.dumps(body) if body else None, JSON | (headers or {}))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def until(holds: Callable[[], bool]) -> None:
    for _ in range(100):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to hold within ten seconds")


@pytest.mark.proves(
    "reliability: a database that hangs, 503 within seconds for all who call, reloads, recovery by itself"
)
def test_a_database_that_hangs_keeps_nobody_waiting(tmp_path: Path, postgres: str) -> None:
    settings = {"DATABASE_URL": new_database(postgres, "hanging"), "AUDIT": "sync"}
    with serving(tmp_path, settings, workers=1) as running, ThreadPoolExecutor(24) as callers:
        assert good_request(running.port) < 5
        with hanging(postgres):
            called = [callers.submit(answered, running.port, ASSIST, BODY, {}) for _ in range(24)]
            assert {one.result(8)[0] for one in called} == {503}
            past = running.workers
            running.process.send_signal(signal.SIGHUP)
            until(lambda: bool(running.workers) and not running.workers & past)
            assert status(running.port, "GET", "/readyz") == 503
        until(lambda: status(running.port, "POST", ASSIST, condition()) == 200)


@pytest.mark.proves("cds-hooks: jti is seen once, over two workers")
@pytest.mark.parametrize("races", [5, pytest.param(200, marks=pytest.mark.long)], ids=["short", "long"])
def test_of_a_replay_race_over_two_workers_exactly_one_is_accepted(tmp_path: Path, races: int) -> None:
    clients = tmp_path / "clients.json"
    clients.write_text(json.dumps(CLIENTS))
    settings = {"AUTH": "jwt", "TRUSTED_CLIENTS": str(clients), "BASE_URL": BASE, "RATE_LIMIT": "1000000"}
    with serving(tmp_path, settings, workers=2) as running, ThreadPoolExecutor(24) as threads:
        for _ in range(races):
            header = bearer(signed(claims()))
            told = list(
                threads.map(lambda _, header=header: status(running.port, "POST", HOOK, CALL, header), range(24))
            )
            assert sorted(told) == [200, *[401] * 23]


@pytest.mark.proves("issue 7: two replicas on one PostgreSQL, answers identical, replay protection shared")
def test_two_replicas_on_one_postgresql_answer_alike_and_let_a_token_in_once(tmp_path: Path, postgres: str) -> None:
    clients = tmp_path / "clients.json"
    clients.write_text(json.dumps(CLIENTS))
    settings = {"AUTH": "jwt", "TRUSTED_CLIENTS": str(clients), "BASE_URL": BASE}
    settings |= {"DATABASE_URL": new_database(postgres, "replicas")}
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    with serving(folders[0], settings, workers=1) as one, serving(folders[1], settings, workers=1) as other:
        ports = [one.port, other.port]
        answers = [answered(port, ASSIST, BODY, bearer(signed(claims(ASSIST)))) for port in ports]
        token = bearer(signed(claims()))
        again = [status(port, "POST", HOOK, CALL, token) for port in (*ports, *ports)]

    assert answers[0] == answers[1] and answers[0][0] == 200 and b"M99.41" in answers[0][1]
    assert again == [200, 401, 401, 401]


def answered(port: int, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """The status and the body of one call."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, body, JSON | headers)
    answer = connection.getresponse()
    told = answer.status, answer.read()
    connection.close()
    return told


@pytest.mark.proves("issue 4: 1,000 swaps of terminology under load, each answer of one version, none failed")
@pytest.mark.proves("operation: 50,000 requests under HUP every 2 s, none failed")
@pytest.mark.parametrize(
    ("swaps", "requests"), [(3, 20), pytest.param(1000, 50_000, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_each_answer_is_of_one_version_while_the_terminology_is_swapped(
    tmp_path: Path, swaps: int, requests: int
) -> None:
    folders = [knowledge(tmp_path, version) for version in ("2027.1", "2027.2")]
    known = [answer_of(folder) for folder in folders]
    assert [version in answer for version, answer in zip((b"2027.1", b"2027.2"), known, strict=True)] == [True, True]
    point(tmp_path / "current", folders[0])
    with serving(tmp_path, {"TERMINOLOGY": str(tmp_path / "current")}) as running, loaded(running.port, 4) as loads:
        probe = Load(running.port, keep_alive=False)
        number = 0
        while number < swaps or sum(load.answered for load in loads) < requests:
            number += 1
            point(tmp_path / "current", folders[number % 2])
            running.process.send_signal(signal.SIGHUP)
            until(lambda wanted=known[number % 2]: probe.once() == wanted)  # type: ignore[misc]
            assert [load.failed for load in loads] == [[]] * 4
        (folders[1 - number % 2] / "packs" / "m99.4" / "pack.yaml").write_text("no: pack")
        point(tmp_path / "current", folders[1 - number % 2])
        running.process.send_signal(signal.SIGHUP)
        until(lambda: "Not reloaded" in (tmp_path / "log").read_text())
        assert probe.once() == known[number % 2]
    assert [load.failed for load in [*loads, probe]] == [[]] * 5
    assert set().union(*(load.answers for load in loads)) == set(known)


def knowledge(folder: Path, version: str) -> Path:
    """The shipped terminology as another version of its pack."""
    made = folder / version
    shutil.copytree(terminology_dir(), made)
    pack = made / "packs" / "m99.4" / "pack.yaml"
    pack.write_text(re.sub(r'version: "[^"]+"', f'version: "{version}"', pack.read_text("utf-8"), count=1), "utf-8")
    return made


def answer_of(folder: Path) -> bytes:
    client = create_app(Settings(), load_assist(folder)).test_client()
    return client.post(ASSIST, data=BODY, content_type="application/json").get_data()


def point(link: Path, folder: Path) -> None:
    """At once, so that no reload finds it missing."""
    new = link.with_suffix(".new")
    new.symlink_to(folder)
    new.replace(link)


@contextmanager
def loaded(port: int, clients: int) -> Iterator[list[Load]]:
    """Clients that call until the end, half of them over one connection."""
    over, loads = threading.Event(), [Load(port, keep_alive=index % 2 == 0) for index in range(clients)]
    threads = [threading.Thread(target=load.run, args=(over,)) for load in loads]
    for thread in threads:
        thread.start()
    try:
        yield loads
    finally:
        over.set()
        for thread in threads:
            thread.join()
