"""What `serve` listens on, how gunicorn is set up for it, and what a reload keeps."""

from __future__ import annotations

import argparse
import gc
import os
import socket
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from service.assist import Assist
from service.cli import main
from service.commands import serve
from service.errors import OperatorError
from service.logs import configure_logs
from service.settings import Settings, read_settings
from tests.running import REPO
from tests.test_settings import clients


@pytest.fixture(autouse=True)
def nothing_set_and_nothing_served(monkeypatch: pytest.MonkeyPatch, assist: Assist) -> None:
    for name in [name for name in os.environ if name.startswith("CODING_ASSIST_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)
    monkeypatch.setattr(serve, "open_assist", lambda _: assist)
    monkeypatch.setattr(serve.Server, "run", lambda _: pytest.fail("what had to be refused is served"))


def configured(host: str | None = None, port: int | None = None, workers: int | None = None) -> serve.Server:
    return serve._configured(argparse.Namespace(host=host, port=port, workers=workers))


# --- what it listens on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "is_own"),
    [
        (("127.0.0.1", 80), True),
        (("::1", 80), True),
        (("localhost", 80), True),
        ("/run/coding-assist.sock", True),
        (("0.0.0.0", 80), False),
        (("ehr.example.org", 80), False),
        (3, False),  # a socket that was handed over
    ],
)
def test_without_authentication_only_what_nobody_else_reaches_is_listened_on(address: Any, is_own: bool) -> None:
    if is_own:
        serve._refuse_unprotected(address, Settings())
    else:
        with pytest.raises(OperatorError, match="does not listen on"):
            serve._refuse_unprotected(address, Settings())


def test_with_tokens_any_address_is_listened_on_and_no_warning_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CODING_ASSIST_AUTH", "jwt")
    monkeypatch.setenv("CODING_ASSIST_TRUSTED_CLIENTS", clients(tmp_path))
    configure_logs("INFO")
    serve._refuse_unprotected(("0.0.0.0", 80), read_settings(os.environ))
    assert capfd.readouterr().err == ""


def test_a_port_whose_last_connections_have_just_ended_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        calling = socket.create_connection(("127.0.0.1", port))
        listening.accept()[0].close()
        calling.recv(1)
        calling.close()
    serve._refuse_taken(("127.0.0.1", port))


def test_a_port_of_the_other_family_is_looked_at_too() -> None:
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with taken:
        serve._refuse_taken(("::1", 0))
        with pytest.raises(OperatorError, match=r"Cannot listen on \[::1\]:"):
            serve._refuse_taken(taken.getsockname())


def test_a_database_that_cannot_be_opened_is_told_before_anything_is_served(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CODING_ASSIST_DATABASE_URL", "mysql://x/y")
    assert main(["serve", "--port", "0"]) == 2
    assert "DATABASE_URL is not one that can be used" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("address", "given", "base"),
    [
        (("127.0.0.1", 8090), "", "http://127.0.0.1:8090"),
        (("0.0.0.0", 8090), "", "http://127.0.0.1:8090"),
        (("::", 8090), "", "http://127.0.0.1:8090"),
        (("::1", 8090), "", "http://[::1]:8090"),
        (("127.0.0.1", 0), "", Settings.base_url),
        ("/run/coding-assist.sock", "", Settings.base_url),
        (("127.0.0.1", 8090), "https://coding.example.org", "https://coding.example.org"),
    ],
)
def test_the_service_names_itself_as_it_is_told_or_by_what_it_listens_on(
    address: Any, given: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given:
        monkeypatch.setenv("CODING_ASSIST_BASE_URL", given)
    assert serve._with_base_url(read_settings(os.environ), address).base_url == base


def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    environment = {**os.environ, "GUNICORN_CMD_ARGS": f"--bind unix:{path} --workers 1", "TMPDIR": str(tmp_path)}
    environment["CODING_ASSIST_DATABASE_URL"] = f"sqlite:///{tmp_path}/store.db"
    command = [sys.executable, "-m", "service.cli", "serve"]
    with subprocess.Popen(command, cwd=REPO, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == f"Serving on unix:{path}\n"
            with socket.socket(socket.AF_UNIX) as calling:
                calling.settimeout(20)
                calling.connect(str(path))
                calling.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert calling.recv(100).startswith(b"HTTP/1.1 200 OK")
        finally:
            process.terminate()
        assert process.wait(20) == 0
    assert not list(tmp_path.glob("coding-assist-counts-*"))


# --- gunicorn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "file", "told"),
    [
        ("--workers -1", "", "Value must be positive"),
        ("--bind 127.0.0.1:x", "", "'x' is not a valid port number"),
        ("", "workers = []", "int()"),
        ("--certfile clients.pem", "", "certificates are for the proxy in front"),
        ("--max-requests 5", "", "max_requests is not known here"),
    ],
)
def test_gunicorn_settings_that_cannot_be_are_told_in_a_sentence(
    given: str, file: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.py"
    config.write_text(file)
    monkeypatch.setenv("GUNICORN_CMD_ARGS", f"{given} --config {config}")
    with pytest.raises(OperatorError, match=f"GUNICORN_CMD_ARGS is not accepted: .*{told}".replace("()", r"\(\)")):
        configured()


def test_the_command_line_goes_before_the_operators_arguments_and_those_before_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--workers 3 --threads 1 --worker-class sync")
    config = configured(workers=1).cfg
    assert (config.workers, config.threads, config.worker_class.__name__) == (1, 1, "SyncWorker")


# --- reload -------------------------------------------------------------------------------------------------------


def reloaded(**settings: Any) -> serve.Server:
    server = configured()
    server.settings = Settings(database_url="sqlite://", **settings)
    server.read = serve._knowledge_files(server.settings)
    server.reload()
    return server


def test_a_reload_keeps_the_name_that_the_service_has_by_what_it_listens_on() -> None:
    assert reloaded(base_url="http://127.0.0.1:8090").settings.base_url == "http://127.0.0.1:8090"


def test_a_reload_lets_go_of_what_it_replaced_though_that_is_a_ring() -> None:
    class Ring:
        itself: Ring

    ring = Ring()
    ring.itself = ring
    replaced = weakref.ref(ring)
    gc.collect()
    gc.freeze()
    del ring
    try:
        reloaded()
    finally:
        gc.unfreeze()
    assert replaced() is None


def test_a_changed_lexicon_is_read_at_a_reload(tmp_path: Path) -> None:
    lexicon = tmp_path / "site.yaml"
    lexicon.write_text("sources: [our clinic]\n")
    before = serve._knowledge_files(Settings(lexicon=lexicon))
    lexicon.write_text("sources: [our clinic, another]\n")
    assert serve._knowledge_files(Settings(lexicon=lexicon)) != before
