"""A proxy on loopback that kills its client (SIGKILL) at one of its writes, before or after it is done."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests


class Killer(ThreadingHTTPServer):
    """``at``: which write (from 1), 0 for none. ``after``: the server has done it by then."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.upstream = upstream
        self.session = requests.Session()
        self.session.trust_env = False
        self.lock = threading.Lock()
        self.victim = 0
        self.at = 0
        self.after = False
        self.writes: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def aim(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.writes = at, after, []


class _Door(BaseHTTPRequestHandler):
    server: Killer
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_aimed_at = False
        if self.command != "GET":
            with self.server.lock:
                self.server.writes.append(f"{self.command} {self.path}")
                is_aimed_at = len(self.server.writes) == self.server.at
        if is_aimed_at and not self.server.after:
            os.kill(self.server.victim, signal.SIGKILL)
            self.close_connection = True
            return
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        url = f"{self.server.upstream}{self.path}"
        answer = self.server.session.request(self.command, url, data=body, headers=headers, timeout=60)
        if is_aimed_at:
            os.kill(self.server.victim, signal.SIGKILL)
            self.close_connection = True
            return
        with contextlib.suppress(OSError):
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    do_GET = do_POST = do_PATCH = do_DELETE = _pass  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on the console."""


@contextlib.contextmanager
def killing(upstream: str) -> Iterator[Killer]:
    """The proxy for as long as the block lasts."""
    server = Killer(upstream)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
