"""`serve`: gunicorn over our WSGI application, with the knowledge read once and shared by the workers."""

from __future__ import annotations

import argparse
import gc
import ipaddress
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from gunicorn.app.base import Application
from gunicorn.errors import ConfigError

from service.app import create_app
from service.assist import Assist, open_assist
from service.coding.errors import PackError
from service.commands import HOST, PORT
from service.errors import OperatorError
from service.housekeeping import start_housekeeping
from service.logs import LOG, configure_logs
from service.metrics import share_counts
from service.settings import PREFIX, SettingError, Settings, read_settings
from service.shipped import terminology_dir
from service.store import open_store


def serve(options: argparse.Namespace) -> int:
    settings = read_settings(os.environ)
    configure_logs(settings.log_level)
    server = _configured(options)
    for address in server.cfg.address:
        _refuse_unprotected(address, settings)
        _refuse_taken(address)
    server.settings = _with_base_url(settings, server.cfg.address[0])
    server.read = _knowledge_files(settings)
    server.assist = open_assist(settings)  # in the main process: wrong knowledge is told before any port is open,
    open_store(settings.database_url).close()  # and so is a wrong database; each worker opens it for itself
    server.counts = Path(mkdtemp(prefix="coding-assist-counts-"))
    gc.freeze()  # not collected before: of a hundred thousand objects there were 53 to be freed, for 55 ms
    gc.enable()
    server.run()
    return 0


class Server(Application):
    """gunicorn with our defaults; GUNICORN_CMD_ARGS goes before them, and the command line before both."""

    settings: Settings
    assist: Assist
    read: list[tuple[str, int, int]]  # the files that the knowledge was read from
    counts: Path  # the folder of what all workers count, past ones too; it goes when the service stops

    def __init__(self, command_line: dict[str, Any]) -> None:
        self.command_line = command_line
        super().__init__(usage="`gunicorn --help` lists what is allowed", prog="GUNICORN_CMD_ARGS")

    def do_load_config(self) -> None:
        """As gunicorn does, but errors go up to `main`, which knows how to tell them."""
        self.load_default_config()
        self.load_config()

    def load_config(self) -> None:
        """Our defaults, then the operator's GUNICORN_CMD_ARGS, then the command line."""
        defaults = {**_server_defaults(), "on_exit": lambda _: shutil.rmtree(self.counts, ignore_errors=True)}
        for name, value in defaults.items():
            self.cfg.set(name, value)
        given = vars(self.cfg.parser().parse_args(self.cfg.get_cmd_args_from_env()))
        if given["config"]:
            self.load_config_from_file(given["config"])
        for name, value in [*given.items(), *self.command_line.items()]:
            if value is not None and name != "args":
                self.cfg.set(name, value)

    def load(self) -> Any:  # a Flask application, which gunicorn's types do not see as one
        """The application of one worker: what it opens is its own, the knowledge it shares.

        A worker that cannot begin ends the service, so the database, which was there at the start, may be away now.
        """
        share_counts(self.counts)
        store = open_store(self.settings.database_url, is_current=True)
        start_housekeeping(store, self.settings.retention_days)
        return create_app(self.settings, self.assist, store)

    def reload(self) -> None:
        """On HUP: gunicorn's settings, and the files that ours name, as they are now; what is wrong changes nothing."""
        super().reload()
        try:
            settings = replace(read_settings(os.environ), base_url=self.settings.base_url)
            read = _knowledge_files(settings)
            if (settings, read) != (self.settings, self.read):
                self.assist, self.settings, self.read = open_assist(settings), settings, read
        except (SettingError, PackError) as wrong:
            LOG.error(f"Not reloaded, the service goes on as before: {wrong}")
        gc.unfreeze()  # else what was replaced would stay for ever where anything in it forms a ring
        gc.collect()
        gc.freeze()


def _knowledge_files(settings: Settings) -> list[tuple[str, int, int]]:
    """Each with its time of change and its size."""
    folder = settings.terminology or terminology_dir()
    files = [*folder.rglob("*"), *([settings.lexicon] if settings.lexicon else [])]
    return sorted((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def _server_defaults() -> dict[str, Any]:
    return {
        "bind": f"{HOST}:{PORT}",
        "workers": min(2, os.cpu_count() or 1),
        "worker_class": "service.serving.BufferingWorker",
        "threads": 4,
        "loglevel": "warning",
        "access_log_format": "%(t)s %(m)s %(s)s %(b)s %(M)sms",  # no address of a request: it may name a patient
        "control_socket_disable": True,  # it would lie in the home folder
        "when_ready": _say_ready,
        "post_fork": _keep_inherited,
        "post_worker_init": _freeze,
    }


def _keep_inherited(arbiter: Any, worker: Any) -> None:
    worker.inherited = arbiter.SIG_QUEUE


def _configured(options: argparse.Namespace) -> Server:
    bind = None
    if options.host is not None or options.port is not None:
        bind = _authority(options.host or HOST, PORT if options.port is None else options.port)
    try:
        server = Server({"bind": bind, "workers": options.workers})
        _ = server.cfg.address  # gunicorn reads these two only when they are asked for
        if check := getattr(server.cfg.worker_class, "check_config", None):
            check(server.cfg, None)
    except (ConfigError, ValueError, TypeError, RuntimeError) as error:
        told = str(error).strip().partition("\n")[0].rstrip(" .:")
        raise OperatorError(f"GUNICORN_CMD_ARGS is not accepted: {told}. Correct it.") from None
    return server


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _refuse_unprotected(address: object, settings: Settings) -> None:
    if settings.auth == "jwt" or _is_own_machine(address):
        return
    shown = address[0] if isinstance(address, tuple) else address
    if settings.allow_insecure:
        # Critical, so that no LOG_LEVEL keeps it from being said.
        LOG.critical(f"Without authentication on {shown}: whoever reaches it may call ({PREFIX}ALLOW_INSECURE=1).")
    else:
        raise OperatorError(
            f"Without authentication ({PREFIX}AUTH=none) the service does not listen on {shown}, where others reach it."
            f" Listen on {HOST}, or set {PREFIX}ALLOW_INSECURE=1 where something in front of it decides who may call."
        )


def _is_own_machine(address: object) -> bool:
    """A loopback address or a Unix socket; an inherited socket could be anything."""
    if not isinstance(address, tuple):
        return isinstance(address, str)
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return bool(address[0] == "localhost")


def _refuse_taken(address: object) -> None:
    if not isinstance(address, tuple):
        return
    host, port = address[:2]
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            told = error.strerror or "no such address"
            raise OperatorError(
                f"Cannot listen on {_authority(host, port)}: {told}. Choose --host or --port."
            ) from None


def _with_base_url(settings: Settings, address: object) -> Settings:
    """Where nobody says how the outside reaches us, the address that we listen on."""
    if f"{PREFIX}BASE_URL" in os.environ or not isinstance(address, tuple) or address[1] == 0:
        return settings
    host = HOST if address[0] in ("0.0.0.0", "::") else address[0]  # noqa: S104  # compared, not bound
    return replace(settings, base_url=f"http://{_authority(host, address[1])}")


def _say_ready(server: Any) -> None:
    print("Serving on " + ", ".join(str(listener) for listener in server.LISTENERS), flush=True)


def _freeze(_worker: object) -> None:
    # What was loaded stays: the collector need not walk it for each large request (measured: four times as fast).
    gc.collect()
    gc.freeze()
