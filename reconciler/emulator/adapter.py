"""The door for clients in the same process: an adapter for a ``requests`` session, without sockets."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.client import responses
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.exceptions import ConnectionError as Unconnected
from requests.exceptions import ReadTimeout
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers
from urllib3.exceptions import NewConnectionError, ProtocolError
from urllib3.response import HTTPResponse

from reconciler.emulator.wire import Broken, Handler, Request

__all__ = ["EmulatorAdapter"]


class EmulatorAdapter(BaseAdapter):
    """Sends a session's requests to a workspace: ``session.mount("http://local",
    EmulatorAdapter(workspace))``.

    ``latency``: seconds before each answer; by default the workspace's own. A read timeout that is shorter
    ends as it would over a network, after the request was carried out. A broken answer (``Broken``) raises
    what the network's own adapter raises.
    """

    def __init__(self, workspace: Handler, *, latency: float | None = None) -> None:
        super().__init__()
        self.workspace = workspace
        self.latency: float = getattr(workspace, "latency", 0.0) if latency is None else latency
        self._away_until = 0.0

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """One request, one answer; a streamed body is produced while it is read."""
        if time.monotonic() < self._away_until:
            refused = NewConnectionError(None, "Connection refused")  # type: ignore[arg-type]
            raise Unconnected(refused, request=request)
        answer = self.workspace.handle(_as_request(request))
        self._wait(request, self.latency, timeout)
        headers = dict(answer.headers)
        if answer.broken is not None:
            content = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
            headers["content-length"] = str(len(content))
            answer = replace(answer, body=self._broken(request, timeout, content, answer.broken))
        body: io.BufferedIOBase
        if isinstance(answer.body, bytes):
            body = io.BytesIO(answer.body)
        else:
            body = io.BufferedReader(_Pieces(answer.body))
        response = Response()
        response.status_code = answer.status
        response.headers = CaseInsensitiveDict(headers)
        response.encoding = get_encoding_from_headers(response.headers)
        response.raw = HTTPResponse(
            body=body,
            headers=headers,
            status=answer.status,
            preload_content=False,
            request_method=request.method,
        )
        response.reason = responses.get(answer.status, "")
        response.url = request.url or ""
        response.request = request
        if not stream:
            _ = response.content
        return response

    def close(self) -> None:
        """Nothing to close: the workspace belongs to whoever made it."""

    @staticmethod
    def _wait(request: PreparedRequest, seconds: float, timeout: Any) -> None:
        if not seconds:
            return
        read = timeout[1] if isinstance(timeout, tuple) else timeout
        if read is not None and read < seconds:
            time.sleep(read)
            raise ReadTimeout(f"no answer within {read} seconds", request=request)
        time.sleep(seconds)

    def _broken(self, request: PreparedRequest, timeout: Any, content: bytes, broken: Broken) -> bytes:
        """What of the body arrives; the announced length is that of the whole. Raises when nothing does."""
        self._wait(request, broken.silence, timeout)
        self._away_until = time.monotonic() + broken.away
        if broken.part is None:
            reset = ConnectionResetError(104, "Connection reset by peer")
            raise Unconnected(ProtocolError("Connection aborted.", reset), request=request)
        return content[: broken.part]


class _Pieces(io.RawIOBase):
    """An iterator of bytes as a file: each read gives what there is, so that lines arrive as they are
    made.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        taken = self._rest[: len(buffer)]
        self._rest = self._rest[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        stop = getattr(self._pieces, "close", None)
        if stop is not None:
            stop()
        super().close()


def _as_request(request: PreparedRequest) -> Request:
    parts = urlsplit(request.url or "")
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    headers["host"] = parts.netloc.rpartition("@")[2]
    headers["x-forwarded-proto"] = parts.scheme
    return Request(
        method=request.method or "GET",
        path=parts.path or "/",
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers=headers,
        body=_bytes(request.body),
    )


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    if hasattr(body, "read"):
        return _bytes(body.read())
    return b"".join(_bytes(piece) for piece in body)
