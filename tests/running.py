"""The service as an operator starts it, in processes of its own, and steady load on it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.records import ASSIST
from tests.slow_clients import BODY

REPO = Path(__file__).resolve().parent.parent
JSON = {"Content-Type": "application/json"}


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int

    @property
    def workers(self) -> set[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {int(child) for child in children.read_text().split()}


@contextmanager
def serving(
    folder: Path, settings: Mapping[str, str] | None = None, *, port: int = 0, workers: int = 2, gunicorn: str = ""
) -> Iterator[Running]:
    """The service with its store in the folder unless the settings say otherwise; killed at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CODING_ASSIST_")}
    environment |= {"TMPDIR": str(folder), "CODING_ASSIST_DATABASE_URL": f"sqlite:///{folder}/store.db"}
    environment |= {f"CODING_ASSIST_{name}": value for name, value in (settings or {}).items()}
    environment |= {"GUNICORN_CMD_ARGS": gunicorn}
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port), "--workers", str(workers)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=REPO, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    assert process.stdout
    said = re.fullmatch(r"Serving on http://127\.0\.0\.1:(\d+)\n", process.stdout.readline())
    assert said, (folder / "log").read_text()
    try:
        yield Running(process, int(said[1]))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the workers, too
        process.communicate()


class Load:
    """One request after the other; what failed is kept, and each answer that was had."""

    def __init__(self, port: int, keep_alive: bool) -> None:
        self.port = port
        self.keep_alive = keep_alive
        self.answered = 0
        self.failed: list[str] = []
        self.answers: set[bytes] = set()

    def run(self, over: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not over.is_set():
            self._call(connection)
        connection.close()

    def once(self) -> bytes:
        """The answer to one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        body = self._call(connection)
        connection.close()
        return body

    def _call(self, connection: http.client.HTTPConnection) -> bytes:
        try:
            connection.request("POST", ASSIST, BODY, JSON if self.keep_alive else JSON | {"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, answer.status
        except (OSError, http.client.HTTPException, AssertionError) as error:
            self.failed.append(repr(error))
            connection.close()
            return b""
        self.answers.add(body)
        self.answered += 1
        return body
