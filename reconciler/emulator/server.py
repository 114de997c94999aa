"""The door for clients over HTTP: one ASGI application, served by uvicorn on a loopback address.

uvicorn stands in the extra ``reconciler[emulator]`` and is imported when a server starts, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import signal
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl

from reconciler.emulator.troubled import Troubled
from reconciler.emulator.wire import MAX_BODY, Broken, Handler, Refusal, Request, Response, refused, too_large
from reconciler.emulator.workspace import Workspace, WriteLimit
from reconciler.errors import UsageError

if TYPE_CHECKING:
    import uvicorn

__all__ = ["Running", "application", "listening_socket", "serve"]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_Leave = Callable[[float, asyncio.Transport], None]
_Application = Callable[[_Message, _Receive, _Send], Awaitable[None]]
_GRACE: Final = 2  # seconds that open requests get when the server stops
_TRANSPORT: Final = "reconciler.transport"  # an extension of the scope: the connection itself, to break it
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


def application(
    workspace: Handler, *, latency: float = 0.0, leave: _Leave = lambda seconds, but: None
) -> _Application:
    """The ASGI application. ``latency``: seconds before each answer; requests wait for it side by side.

    ``leave``: lets nobody in for so many seconds, where an answer says that the server is away; it closes all
    connections but that one.
    """

    async def app(scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        try:
            body = await _body(receive)
        except Refusal as refusal:
            await _send(send, refused(refusal))
            return
        if body is None:
            return
        response = workspace.handle(_as_request(scope, body))
        if latency:
            await asyncio.sleep(latency)
        broken = response.broken
        if broken is None:
            await _send(send, response)
        else:
            if broken.away:  # first: who has the answer must find nobody there
                leave(broken.away, _transport(scope))
                response = replace(response, headers={**response.headers, "connection": "close"})
            await _break(scope, receive, send, response, broken)

    return app


async def _break(scope: _Message, receive: _Receive, send: _Send, response: Response, broken: Broken) -> None:
    """Sends what still arrives of a broken answer, then resets the connection."""
    if broken.silence:
        with contextlib.suppress(TimeoutError):  # the client may go away first
            await asyncio.wait_for(receive(), broken.silence)
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    if broken.part is not None:
        if broken.part >= len(body):
            await _send(send, response)
            return
        headers = [*_encoded(response), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body[: broken.part], "more_body": True})
        await asyncio.sleep(0.002)  # what was sent shall arrive before the reset does
    transport = _transport(scope)
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        transport.abort()
        await receive()  # until the server has noticed


def _transport(scope: _Message) -> asyncio.Transport:
    transport: asyncio.Transport = scope["extensions"][_TRANSPORT]["transport"]
    return transport


def _encoded(response: Response) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]


async def _body(receive: _Receive) -> bytes | None:
    """The whole body, never more than the API takes; None when the client went away while sending it.

    What did arrive is no request then: an AI gateway would be cleared by the empty beginning of its PUT.
    """
    pieces: list[bytes] = []
    length = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece: bytes = message.get("body", b"")
        length += len(piece)
        if length > MAX_BODY:
            raise too_large()
        pieces.append(piece)
        more = message.get("more_body", False)
    return b"".join(pieces)


def _as_request(scope: _Message, body: bytes) -> Request:
    query: bytes = scope["query_string"]
    return Request(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {},
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def _send(send: _Send, response: Response) -> None:
    headers = _encoded(response)
    body = response.body
    if isinstance(body, bytes):
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    for piece in body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def listening_socket(host: str, port: int, *, any_address: bool = False) -> socket.socket:
    """A socket that listens. Port 0 picks a free one. Only loopback addresses, unless ``any_address``.

    The emulator takes any token for the one user, so it must not be reachable from elsewhere by accident.
    """
    if not any_address and not _is_loopback(host):
        raise UsageError(
            f"{host} is not a loopback address", fix="the emulator takes any token: listen on 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by the connections: small answers go out at once, not after the other side's delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}:{port}", why=str(error), fix="name another port, or 0 for a free one"
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _uvicorn_server(app: _Application) -> uvicorn.Server:
    try:
        import uvicorn
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError as error:
        raise UsageError(
            "the emulator's HTTP server is not installed", fix="pip install 'reconciler[emulator]'"
        ) from error

    class WithTransport(HttpToolsProtocol):
        """Hands the connection to the application, which else could not break it."""

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["extensions"] = {_TRANSPORT: {"transport": self.transport}}

    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http=WithTransport,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=_GRACE,
        )
    )


class Running:
    """A server around a workspace, with a handle to stop it. ``port``: where it listens, from the start."""

    def __init__(
        self,
        workspace: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float = 0.0,
        any_address: bool = False,
    ) -> None:
        self._server = _uvicorn_server(application(workspace, latency=latency, leave=self._leave))
        self._socket = listening_socket(host, port, any_address=any_address)
        self._host, self._any_address = host, any_address
        self._returning: asyncio.TimerHandle | None = None
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self) -> None:
        """Serves until :meth:`stop`, or, in the main thread, until SIGTERM or SIGINT."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Ends :meth:`run`; from any thread. Open requests get a moment to finish."""
        self._server.should_exit = True

    def _leave(self, seconds: float, but: asyncio.Transport) -> None:
        """Close the port and every connection but one, and come back after so many seconds."""
        if self._returning is not None:
            return
        for listener in self._server.servers:
            listener.close()
        self._server.servers.clear()
        for connection in list(self._server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None and transport is not but:
                transport.close()  # what was answered still arrives
        self._returning = asyncio.get_running_loop().call_later(seconds, self._return)

    def _return(self) -> None:
        self._returning = None
        if self._server.should_exit:
            return
        config = self._server.config
        make = functools.partial(
            cast("Callable[..., asyncio.Protocol]", config.http_protocol_class),
            config=config,
            server_state=self._server.server_state,
            app_state=self._server.lifespan.state,
        )
        self._socket = listening_socket(self._host, self.port, any_address=self._any_address)
        loop = asyncio.get_running_loop()

        async def listen() -> None:
            self._server.servers.append(await loop.create_server(make, sock=self._socket))

        self._listening = loop.create_task(listen())


def serve(
    path: str,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    latency: float = 0.0,
    provisioning: float = 0.0,
    write_limit: WriteLimit | None = None,
    faults: Sequence[str] = (),
    seed: int = 0,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Serves the workspace of a file until SIGTERM or SIGINT. Prints nothing.

    ``ready`` is called with the port once connections are taken: the socket listens by then, so a client that
    is faster than the server only waits. ``faults`` and ``seed``: as for :class:`Troubled`.
    """
    workspace = Workspace(path, provisioning=provisioning, write_limit=write_limit)
    try:
        handler: Handler = Troubled(workspace, faults, seed=seed) if faults else workspace
        running = Running(handler, host=host, port=port, latency=latency)
        if ready is not None:
            ready(running.port)
        with _stopped_by_signals():
            running.run()
    finally:
        workspace.close()


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Lets uvicorn stop at SIGTERM and SIGINT; the signal that it then raises again does not kill us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _ignored) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignored(_: int, __: object) -> None:
    return
