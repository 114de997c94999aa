"""A clock that only moves when someone waits, and a server that misbehaves exactly as told."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CANARY = "dapi-CANARY-5c1e"


class Clock:
    """Seconds that pass only through ``sleep``; every wait is kept."""

    def __init__(self) -> None:
        self.moment = 1000.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.waits.append(round(seconds, 6))
        self.moment += seconds


@dataclass
class Seen:
    """One request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Close(bytes):
    """Send these bytes, then close the connection properly."""


class Reset(bytes):
    """Send these bytes, then break the connection with a RST."""


class Drops(bytes):
    """Send these bytes, then ``drop`` again and again until the client goes away."""

    drop = b" "


Reply = bytes | threading.Event


def answer(status: int = 200, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
    """A whole answer on a connection that stays open; ``body`` is bytes, or JSON."""
    content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Word\r\n{head}\r\n".encode() + content


def refusal(status: int, code: str = "", message: str = "", headers: dict[str, str] | None = None) -> bytes:
    return answer(status, {"error_code": code, "message": message}, headers)


@dataclass
class Server:
    """Answers request after request with what it was given, whatever was asked; then with ``otherwise``."""

    replies: list[Reply] = field(default_factory=list)
    otherwise: bytes = field(default_factory=answer)
    seen: list[Seen] = field(default_factory=list)
    respond: Callable[[Seen], bytes] | None = None
    listen_on: int = 0
    wrap: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.listen_on))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self._open: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def methods(self) -> list[str]:
        return [seen.method for seen in self.seen]

    @property
    def connections(self) -> int:
        return len(self._open)

    def drop_connections(self) -> None:
        """Close every kept connection from this side."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        # Closing alone would leave the thread waiting on a number that the next test's socket gets.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.drop_connections()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            number = len(self._open)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self.wrap is not None:
                connection = self.wrap.wrap_socket(connection, server_side=True)
            with connection.makefile("rb") as stream:
                while (request := self._read(stream, number)) is not None:
                    with self._lock:
                        self.seen.append(request)
                        reply = self.replies.pop(0) if self.replies else None
                    if isinstance(reply, threading.Event):
                        reply.wait(20)
                        return
                    if reply is None:
                        reply = self.respond(request) if self.respond is not None else self.otherwise
                    connection.sendall(reply)
                    while isinstance(reply, Drops):
                        connection.sendall(reply.drop)
                    if isinstance(reply, Reset):
                        linger = struct.pack("ii", 1, 0)
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    if isinstance(reply, Close | Reset):
                        break
        except OSError:
            pass
        finally:
            connection.close()

    def _read(self, stream: Any, number: int) -> Seen | None:
        line = stream.readline().decode()
        if not line.strip():
            return None
        method, path, _ = line.split()
        headers = {}
        while (head := stream.readline().decode().strip()) != "":
            name, _, value = head.partition(": ")
            headers[name.lower()] = value
        body = stream.read(int(headers.get("content-length", 0)))
        return Seen(method, path, headers, body, number)
