"""A PostgreSQL server of the tests' own: on loopback, as a user without privileges, gone when they end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

UNPRIVILEGED = ("postgres", "nobody")  # the server refuses to run as root


def find(program: str) -> str:
    """Debian keeps the server's programs off the PATH. Without them a test is skipped, but in CI it fails."""
    newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, newest_first)]))
    if found is None:
        sentence = "PostgreSQL's server is not installed, so the store was not tested on it (Debian: postgresql)."
        (pytest.fail if "CI" in os.environ else pytest.skip)(sentence)
    return found


def user() -> str | None:
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in names)


@contextmanager
def running_server() -> Iterator[str]:
    """The address of a server without a database name, while it runs."""
    initdb, postgres, account = find("initdb"), find("postgres"), user()
    folder = Path(tempfile.mkdtemp(prefix="coding-assist-postgres-"))
    data = folder / "data"
    if account:
        shutil.chown(folder, account)
    try:
        arguments = [initdb, "-D", data, "-U", "tester", "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(arguments, user=account, check=True, capture_output=True, timeout=60, cwd=folder)
        port = free_port()
        arguments = [postgres, "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(arguments, user=account, stdout=log, stderr=log, cwd=folder)
        try:
            wait_for(port, server)
            yield f"127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGQUIT)  # "immediate": nothing need be flushed
            server.wait(30)
    finally:
        shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert server.poll() is None, "the server stopped at once"
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="tester", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise AssertionError("the server does not answer")


@contextmanager
def hanging(server: str) -> Iterator[None]:
    """As on a machine that stands still: connections are taken by the system, and nobody answers on them."""
    with psycopg.connect(f"postgresql://tester@{server}/postgres") as connection:
        [[written]] = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchall()
    main = int(written.split()[0])
    stopped = [main, *map(int, Path(f"/proc/{main}/task/{main}/children").read_text().split())]

    def tell(what: signal.Signals) -> None:
        for process in stopped:
            with suppress(ProcessLookupError):  # it was about to end
                os.kill(process, what)

    tell(signal.SIGSTOP)
    try:
        yield
    finally:
        tell(signal.SIGCONT)


def new_database(server: str, name: str) -> str:
    """The DATABASE_URL of an empty database."""
    with psycopg.connect(f"postgresql://tester@{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return f"postgresql+psycopg://tester@{server}/{name}"
