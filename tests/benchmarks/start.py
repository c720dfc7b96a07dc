"""How long a start takes, from its command to the first right answer, and what memory a worker holds then.

    python -m tests.benchmarks.start [--rounds 5]

Ours as it is shipped with one worker, compiled (`coding-assist compile`), over a new database and over the one of the
start before, and beside it bare Flask on gunicorn, in turns. The memory is the proportional set size (PSS) that Linux
tells.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.benchmarks import hook, load
from tests.benchmarks.figures import Goal, heading, pss, tell

NEW, KEPT = "ours, a new database", "ours, the database of the start before"
FLOOR = "bare Flask, gunicorn"
LOOK_SECONDS = 0.005
PATIENCE_SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")


class Start(NamedTuple):
    """Milliseconds to the first answer and of CPU until then; MiB of the worker, and of it with the main process."""

    elapsed: float
    cpu: float
    worker: float
    both: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time to the first right answer, and memory.")
    parser.add_argument("--rounds", type=int, default=5)
    tell_starts(measure(parser.parse_args().rounds))


def measure(rounds: int) -> dict[str, list[Start]]:
    """The starts of each, in turns."""
    ours = load.own_servers()[load.OURS]
    gunicorn = [sys.executable, "-m", "gunicorn", "--threads", "4", "--bind", "127.0.0.1:{port}"]
    floor = load.Server([*gunicorn, "--no-control-socket", "tests.benchmarks.bare:app"])
    starts: dict[str, list[Start]] = {name: [] for name in (NEW, KEPT, FLOOR)}
    for _ in range(rounds):
        with TemporaryDirectory() as name:
            for which, server in ((NEW, ours), (KEPT, ours), (FLOOR, floor)):
                starts[which].append(_start(server, Path(name)))
    return starts


def tell_starts(starts: dict[str, list[Start]]) -> None:
    heading("Start to the first right answer")
    for which, found in starts.items():
        goal = Goal(700) if which == KEPT else None
        tell(f"{which}, ms", [start.elapsed for start in found], goal)
        tell(f"{which}, CPU ms", [start.cpu for start in found])
    print()
    heading("Memory after the first answer, MiB of PSS")
    for which in (KEPT, FLOOR):
        tell(f"{which}: the worker", [start.worker for start in starts[which]], Goal(80) if which == KEPT else None, 1)
        tell(f"{which}: with the main process", [start.both for start in starts[which]], None, 1)


def _start(server: load.Server, folder: Path) -> Start:
    port, body = load.free_port(), hook.calls()[hook.IN_SCOPE]
    begun = time.monotonic()
    with _running(server, port, folder) as process:
        _wait(port, server.path, body, begun)
        elapsed = time.monotonic() - begun
        [worker, *_] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        both = [process.pid, int(worker)]
        memory = [pss(pid) for pid in both]
        return Start(1000 * elapsed, 1000 * sum(map(_cpu_seconds, both)), memory[1], sum(memory))


@contextmanager
def _running(server: load.Server, port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    # With byte code, as where pip has installed it; what forbids Python to keep it would have each start compile anew.
    left_out = ("CODING_ASSIST_", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    environment |= {"CODING_ASSIST_DATABASE_URL": f"sqlite:///{folder}/store.db", "TMPDIR": str(folder)}
    command = [part.replace("{port}", str(port)) for part in server.command]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=load.REPO, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(port: int, path: str, body: bytes, begun: float) -> None:
    while time.monotonic() - begun < PATIENCE_SECONDS:
        with suppress(ConnectionError):
            if not load.answered(port, path, body)["cards"]:
                raise RuntimeError("The server gave no cards: see that its terminology is the shipped one.")
            return
        time.sleep(LOOK_SECONDS)
    raise RuntimeError(f"The server did not answer within {PATIENCE_SECONDS} seconds.")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
