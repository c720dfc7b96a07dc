"""Requests a second and waits over real sockets: ours, bare Flask, and the trivial card of HealthChain.

    python -m tests.benchmarks.load PYTHON_OF_THE_PEERS [--seconds 4] [--rounds 3]

Closed loop over connections that stay open, each request a call of its own. Every server is one worker, pinned on one
core, the client (wrk) on another, for all alike. The servers take turns in each round. Ours validates, reads, rules,
answers with cards, writes its audit to SQLite and its log to a file; HealthChain answers with a card made beforehand.
wrk counts for the percentiles also what would have been sent while it waited for a late answer, for all alike.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks import hook
from tests.benchmarks.figures import Goal, heading, tell

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
OURS, OURS_ON_GRANIAN = "ours", "ours on granian (WSGI)"
FLOOR, PEER = "bare Flask on the server of ours", "HealthChain's card on granian (ASGI)"
CONNECTIONS = (1, 8, 64)
TIMES_PEER = {1: 1.0, 8: 1.2, 64: 1.5}
# Ours alone has granian beside it, which lies in the environment of the peers: its packages come after all of ours.
ON_GRANIAN = (
    "import sys; sys.path.append(sys.argv.pop(1)); sys.argv[0] = 'granian'; "
    "from granian.cli import entrypoint; entrypoint()"
)
_runs = count(1)


@dataclass(frozen=True)
class Server:
    """How a server is started that listens on {port}, and the address that takes the call."""

    command: list[str]
    path: str = hook.ADDRESS


@dataclass(frozen=True)
class Run:
    """Answers a second; milliseconds that half of them and 99 in 100 took at most."""

    rate: float
    p50: float
    p99: float


Runs = dict[tuple[str, int], list[Run]]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Requests a second of ours, of bare Flask and of HealthChain.")
    parser.add_argument("peers", help="Python of the environment that has the peers")
    parser.add_argument("--seconds", type=float, default=4, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    calls = hook.calls()
    two = own_servers()
    everyone = {**two, **peers(options.peers)}
    tell_in_scope(measure(everyone, calls[hook.IN_SCOPE], options.seconds, options.rounds))
    tell_out_of_scope(measure(two, calls[hook.OUT_OF_SCOPE], options.seconds, options.rounds))
    tell_large(measure(two, calls[hook.LARGE], options.seconds, options.rounds, (1,)))


def own_servers() -> dict[str, Server]:
    """Ours as it is shipped, and the floor on the same server."""
    serve = [sys.executable, "-m", "service.cli", "serve", "--port", "{port}", "--workers", "1"]
    gunicorn = [sys.executable, "-m", "gunicorn", "--worker-class", "service.serving.BufferingWorker", "--threads", "4"]
    gunicorn += ["--bind", "127.0.0.1:{port}", "--no-control-socket", "--log-level", "warning"]
    return {OURS: Server(serve), FLOOR: Server([*gunicorn, "tests.benchmarks.bare:app"])}


def peers(python: str) -> dict[str, Server]:
    """What needs the environment of the peers."""
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    options = ["--workers", "1", "--port", "{port}", "--log-level", "warning", "--factory"]
    options += ["--working-dir", str(HERE)]
    ours = [sys.executable, "-c", ON_GRANIAN, packages, *options, "--interface", "wsgi", "--blocking-threads", "1"]
    peer = [python, "-m", "granian", *options, "--interface", "asgi"]
    return {
        PEER: Server([*peer, "peers:healthchain_app"], "/cds/cds-services/bench"),
        OURS_ON_GRANIAN: Server([*ours, "ours:application"]),
    }


def measure(
    servers: Mapping[str, Server], body: bytes, seconds: float, rounds: int, connections: tuple[int, ...] = CONNECTIONS
) -> Runs:
    """The runs of each server at each number of connections; RuntimeError when an answer fails."""
    require_tools()
    runs: Runs = {}
    with TemporaryDirectory() as name, ExitStack() as stack:
        call = Path(name) / "call.json"
        call.write_bytes(body)
        addresses = {
            which: stack.enter_context(started(server, body, Path(name) / str(number)))
            for number, (which, server) in enumerate(servers.items())
        }
        for address in addresses.values():
            _load(address, call, 8, min(1, seconds))  # warms up
        for _ in range(rounds):
            for width in connections:
                for which, address in addresses.items():
                    runs.setdefault((which, width), []).append(_load(address, call, width, seconds))
    return runs


def require_tools() -> None:
    """End the run when what it is measured with is missing."""
    for tool, package in (("wrk", "wrk"), ("taskset", "util-linux")):
        if not shutil.which(tool):
            sys.exit(
                f"{tool} is not on the PATH: nothing is measured. Install it (Debian, Ubuntu: apt install {package})."
            )


def tell_in_scope(runs: Runs) -> None:
    print(f"The call: {hook.IN_SCOPE}; {_places()}")
    for width in sorted({width for _, width in runs}):
        heading(f"{width} connection{'s' if width > 1 else ''}")
        for which in _names(runs):
            tell(f"{which}, requests/s", [run.rate for run in runs[which, width]])
        for which in _names(runs):
            one = which == OURS and width == 1
            tell(f"{which}, p50 ms", [run.p50 for run in runs[which, width]], Goal(1) if one else None, 2)
            tell(f"{which}, p99 ms", [run.p99 for run in runs[which, width]], Goal(4) if one else None, 2)
        for which in (OURS, OURS_ON_GRANIAN):
            if (which, width) in runs and (PEER, width) in runs:
                goal = Goal(TIMES_PEER[width], at_least=True) if width in TIMES_PEER else None
                tell(f"{which}: requests/s, times HealthChain's", _ratios(runs, which, PEER, width), goal, 2)
        tell("ours: requests/s, times bare Flask's", _ratios(runs, OURS, FLOOR, width), None, 2)
        print()


def tell_out_of_scope(runs: Runs) -> None:
    heading(f"The call: {hook.OUT_OF_SCOPE}")
    for width in sorted({width for _, width in runs}):
        for which in _names(runs):
            tell(f"{which}, requests/s at {width}", [run.rate for run in runs[which, width]])
        tell(f"{OURS}, p99 ms at {width}", [run.p99 for run in runs[OURS, width]], None, 2)
        goal = Goal(0.4, at_least=True)
        tell(f"ours: requests/s at {width}, times bare Flask's", _ratios(runs, OURS, FLOOR, width), goal, 2)


def tell_large(runs: Runs) -> None:
    print()
    heading(f"The call: {hook.LARGE}; 1 connection")
    tell(f"{OURS}, p50 ms", [run.p50 for run in runs[OURS, 1]], None, 2)
    tell(f"{OURS}, p99 ms", [run.p99 for run in runs[OURS, 1]], Goal(50), 2)


def _names(runs: Runs) -> list[str]:
    return list(dict.fromkeys(which for which, _ in runs))


def _ratios(runs: Runs, one: str, other: str, width: int) -> list[float]:
    """Of each round, in which the two took turns."""
    return [a.rate / b.rate for a, b in zip(runs[one, width], runs[other, width], strict=True)]


def _places() -> str:
    client, server = _cores()
    return f"servers on core {server}, the client on core {client}."


def _cores() -> tuple[int, int]:
    """The core of the client and that of the servers."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


@contextmanager
def started(server: Server, body: bytes, folder: Path) -> Iterator[str]:
    """The address of a server that has answered the call; it and its workers are gone at the end."""
    folder.mkdir()
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CODING_ASSIST_")}
    environment |= {"CODING_ASSIST_DATABASE_URL": f"sqlite:///{folder}/store.db", "TMPDIR": str(folder)}
    command = ["taskset", "-c", str(_cores()[1]), *(part.replace("{port}", str(port)) for part in server.command)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=REPO, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for_answer(process, port, server.path, body, folder / "log")
        yield f"http://127.0.0.1:{port}{server.path}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait_for_answer(process: subprocess.Popen[bytes], port: int, path: str, body: bytes, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with suppress(ConnectionError):
            answer = answered(port, path, body)
            if not isinstance(answer.get("cards"), list):
                raise RuntimeError(f"{' '.join(process.args)} gave no cards: {str(answer)[:200]}")  # type: ignore[arg-type]
            return
        time.sleep(0.1)
    raise RuntimeError(f"The server did not answer within a minute: {log.read_text()[-2000:]}")


def answered(port: int, path: str, body: bytes) -> dict[str, Any]:
    """The answer to one call; RuntimeError when its status is not 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}, so nothing is measured.")
    found: dict[str, Any] = json.loads(told)
    return found


def _load(address: str, call: Path, connections: int, seconds: float) -> Run:
    command = ["taskset", "-c", str(_cores()[0]), "wrk", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{max(1, round(seconds))}s", "--timeout", "20s", "--script", str(HERE / "calls.lua")]
    told = subprocess.run(
        [*command, address, "--", str(call), str(next(_runs))], check=True, capture_output=True, text=True
    )
    found = json.loads(told.stdout.splitlines()[-1])
    if found["failed"] or not found["answers"]:
        raise RuntimeError(f"{address}: {found['failed']} of {found['answers']} failed, so nothing is measured.")
    return Run(found["answers"] / found["seconds"], found["p50"], found["p99"])


if __name__ == "__main__":
    main()
