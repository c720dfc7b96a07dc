"""A gunicorn worker that takes in requests and hands out answers at the clients' pace, without a thread for each.

gunicorn starts, reloads and stops the workers; inside each, waitress holds the connections. A thread is busy only from
the last byte of a request to the last of its answer, so slow, silent and never reading clients keep nobody waiting.
Measured (docs/OPERATION.md): gunicorn's own threads and granian stood still under some of them.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

from gunicorn.config import Config
from gunicorn.errors import ConfigError
from gunicorn.workers.base import Worker
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from service.json_body import MAX_BYTES, Issue, dump_json, issues_to_operation_outcome

RECEIVE_SECONDS = 30  # for a whole request, and for a client to read on or to begin another
LINGER_SECONDS = 2.0  # a stopping worker keeps silent connections so long: a request may be on its way
MAX_UNREAD_BYTES = 262_144  # of answers that wait to be read; a connection with more is served no further meanwhile
# What the system takes in of answers for one client, so that it takes no thousand of them for 150 who never read; it
# doubles the number. A client 50 ms away still gets 5 MB a second.
SEND_BUFFER_BYTES = 131_072
TICK_SECONDS = 0.5
SWITCH_SECONDS = 0.0005  # Python's 5 ms, for which a thread that computes keeps the others waiting, show in the answers
SENTENCES = {
    400: ("structure", "The request is not HTTP as RFC 9112 has it; correct its lines, headers and lengths."),
    413: ("too-long", "The body is larger than 1 MiB; send less at once."),
    431: ("too-long", "The headers are too long; send less in them."),
    501: ("not-supported", "The body is in a transfer coding that is not taken; send it chunked or with its length."),
}


class BufferingWorker(Worker):
    """Serves until told to stop, then finishes what has begun.

    `inherited` is the worker's copy of the main process's signals. What comes after the fork and before a worker has
    handlers of its own goes there, and is not sent again.
    """

    inherited: SimpleQueue[int] = SimpleQueue()

    @classmethod
    def check_config(cls, cfg: Config, _log: object) -> None:
        if cfg.is_ssl:
            raise ConfigError("certificates are for the proxy in front; without one add --worker-class gthread")
        if cfg.max_requests:
            raise ConfigError("max_requests is not known here; the workers need not be renewed")

    def run(self) -> None:
        """Until a signal ends it, or the main process is gone."""
        sys.setswitchinterval(SWITCH_SECONDS)
        self.connections: dict[int, Any] = {}
        self.threads = ThreadedTaskDispatcher()
        self.threads.set_thread_count(self.cfg.threads)
        self.servers = [self._listen(listener) for listener in self.sockets]
        self.alive = self.alive and not _holds_a_stop(self.inherited)
        while self.alive and self.ppid == os.getppid():
            self._turn()
        self._finish()
        self.threads.shutdown()

    def _listen(self, listening: Any) -> Any:
        listener = listening.sock
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # its connections inherit it
        adjustments = Adjustments(
            backlog=self.cfg.backlog,
            connection_limit=self.cfg.worker_connections,
            channel_timeout=RECEIVE_SECONDS,
            cleanup_interval=1,
            max_request_body_size=2 * MAX_BYTES,  # up to there app.py says what is too much; chunks have a frame
            ident=None,
            clear_untrusted_proxy_headers=False,  # app.py believes those of TRUSTED_PROXIES
        )
        kind = _UnixServer if listener.family.name == "AF_UNIX" else _TcpServer
        known = {"dispatcher": self.threads, "adj": adjustments, "bind_socket": False, "map": self.connections}
        sockinfo = (listener.family, listener.type, listener.proto, listener.getsockname())
        return kind(self.wsgi, _sock=listener, sockinfo=sockinfo, **known)

    def _turn(self) -> None:
        self.notify()
        wasyncore.loop(TICK_SECONDS, use_poll=True, map=self.connections, count=1)  # select() ends at descriptor 1024

    def _finish(self) -> None:
        """Answer what has come, each with `Connection: close`; then end the connections on which nothing comes."""
        for server in self.servers:
            server.stop()
        begun = time.monotonic()
        while self._open() and time.monotonic() - begun < self.cfg.graceful_timeout:
            if time.monotonic() - begun > LINGER_SECONDS:
                for channel in self._open():
                    channel.end_if_idle()
            self._turn()

    def _open(self) -> list[_Channel]:
        return [channel for server in self.servers for channel in server.active_channels.values()]


def _holds_a_stop(signals: SimpleQueue[int]) -> bool:
    return any(signals.get_nowait() == signal.SIGTERM for _ in range(signals.qsize()))


class _Task(WSGITask):
    def build_response_header(self) -> Any:
        if self.channel.server.stopping:
            self.request.headers["CONNECTION"] = "close"
        return super().build_response_header()

    def finish(self) -> None:
        super().finish()
        self.channel.flush()


class _Refused(ErrorTask):
    """What the server itself refuses, told as the application tells it; the sentence repeats nothing of the request."""

    def execute(self) -> None:
        error = self.request.error
        code, sentence = SENTENCES.get(error.code, ("exception", "The service failed on this request."))
        body = dump_json(issues_to_operation_outcome([Issue("error", code, sentence)]))
        # RFC 9112, 6.1 would have a 501 for an unknown transfer coding; alarms would count it as a mistake of ours.
        self.status = "400 Bad Request" if error.code == 501 else f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", "application/fhir+json; charset=utf-8"),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Request-ID", uuid4().hex),
        ]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    task_class = _Task
    error_task_class = _Refused
    begun = 0.0
    parked = False  # requests wait until the client has read

    def received(self, data: bytes) -> Any:
        if self.request is None:
            self.begun = time.time()
        return super().received(data)

    def flush(self) -> None:
        """Send from the thread that answers, without waking the one that holds the connections first."""
        with self.outbuf_lock:
            self._flush_exception(self._flush_some, do_close=False)

    def writable(self) -> bool:
        return self.parked or bool(super().writable())

    def handle_write(self) -> None:
        super().handle_write()
        if self.parked and self.total_outbufs_len <= MAX_UNREAD_BYTES:
            self.parked = False
            self.server.task_dispatcher.add_task(self)

    def is_too_slow(self, now: float) -> bool:
        """Neither sends its request nor reads its answers in time."""
        receiving = self.request is not None and not self.requests
        return (receiving and now - self.begun > RECEIVE_SECONDS) or (
            self.parked and now - self.last_activity > RECEIVE_SECONDS
        )

    def end_if_idle(self) -> None:
        if self.parked or not (self.requests or self.request or self.total_outbufs_len):
            self.will_close = True


class _Stopping:
    """What both kinds of waitress' servers lack: an orderly end, and limits on clients that hold on."""

    channel_class = _Channel
    stopping = False

    def stop(self: Any) -> None:
        """Accept what the system has taken in on our behalf, then leave the rest to the other workers."""
        self.stopping = True
        before = -1
        while before != len(self.active_channels):
            before = len(self.active_channels)
            self.handle_accept()
        wasyncore.dispatcher.close(self)  # its own would let go of what wakes the loop, too

    def add_task(self: Any, channel: _Channel) -> None:
        """Serve the next request of a connection, once its client has read the answers before."""
        if channel.total_outbufs_len > MAX_UNREAD_BYTES:
            channel.parked = True
        else:
            self.task_dispatcher.add_task(channel)

    def maintenance(self: Any, now: float) -> None:
        TcpWSGIServer.maintenance(self, now)
        for channel in self.active_channels.values():
            if channel.is_too_slow(now):
                channel.will_close = True


class _TcpServer(_Stopping, TcpWSGIServer):
    pass


class _UnixServer(_Stopping, UnixWSGIServer):
    pass


def _tell_no_path(record: logging.LogRecord) -> bool:
    """waitress names the path of a request that failed; a path may name a patient."""
    error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
    record.msg, record.args, record.exc_info = f"the web server: {error or 'a connection failed'}", (), None
    return True


logging.getLogger("waitress").addFilter(_tell_no_path)
logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a line for each request that waits for a thread
