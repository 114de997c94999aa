"""What goes over the wire: requests, answers, and the refusals that become JSON errors.

Everything behind :meth:`Handler.handle` is plain functions of these values; HTTP itself stands at the doors
(``adapter.py`` in process, ``server.py`` over sockets). A layer that disturbs answers goes around ``handle``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

__all__ = [
    "MAX_BODY",
    "Broken",
    "Handler",
    "Refusal",
    "Request",
    "Response",
    "answer",
    "dumps",
    "identified",
    "json_body",
    "refused",
    "too_large",
]

MAX_BODY: Final = 16 * 1024 * 1024  # the API's payload limit


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``path`` is as sent (percent-encoded), without query. Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def base_url(self) -> str:
        """Scheme and host as the client wrote them: what links in answers begin with."""
        return f"{self.headers.get('x-forwarded-proto', 'http')}://{self.headers.get('host', 'localhost')}"


@dataclass(frozen=True, slots=True)
class Broken:
    """How an answer fails to arrive; the doors carry it out, in this order.

    ``silence``: seconds in which nothing is sent. ``part``: bytes of the body that still arrive, after the
    head of the whole answer; None: not even the head. Then the connection is reset. ``away``: seconds for
    which nobody is let in from then on, as if the server were not there.
    """

    silence: float = 0.0
    part: int | None = None
    away: float = 0.0


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. A body that is an iterator is sent piece by piece as it comes."""

    status: int
    headers: Mapping[str, str]
    body: bytes | Iterator[bytes]
    broken: Broken | None = None


class Handler(Protocol):
    """What the doors open to: a workspace, or a layer around one."""

    def handle(self, request: Request, /) -> Response:
        """Answers one request; never raises for what a client can send."""
        ...


class Refusal(Exception):
    """The API says no. Turned into a JSON error at one place (``routes.py``)."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}
        super().__init__(message)

    @classmethod
    def invalid(cls, message: str) -> Refusal:
        """400: the body is not acceptable."""
        return cls(400, "INVALID_PARAMETER_VALUE", message)

    @classmethod
    def absent(cls, message: str) -> Refusal:
        """404: there is no such resource."""
        return cls(404, "RESOURCE_DOES_NOT_EXIST", message)


def dumps(value: Any) -> bytes:
    """JSON as the answers carry it."""
    return json.dumps(value, separators=(",", ":")).encode()


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; bytes are taken as JSON that is ready."""
    body = value if isinstance(value, bytes) else dumps(value)
    return Response(status, {"content-type": "application/json", **(headers or {})}, body)


def refused(refusal: Refusal) -> Response:
    """The JSON error of a refusal, ready to be sent."""
    body = {"error_code": refusal.code, "message": refusal.message}
    return identified(answer(body, refusal.status, refusal.headers))


def identified(response: Response) -> Response:
    """The same answer with a request id of its own."""
    return replace(response, headers={**response.headers, "x-request-id": str(uuid.uuid4())})


def json_body(request: Request) -> dict[str, Any]:
    """The body as a JSON object; none is an empty one."""
    if len(request.body) > MAX_BODY:
        raise too_large()
    if not request.body.strip():
        return {}
    try:
        body = json.loads(request.body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(
            400, "MALFORMED_REQUEST", f"Invalid JSON given in the body of the request: {error}"
        ) from error
    if not isinstance(body, dict):
        raise Refusal(400, "MALFORMED_REQUEST", "The body of the request must be a JSON object.")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def too_large() -> Refusal:
    """The body is above :data:`MAX_BODY`; said by the doors, which stop reading there, and by ``handle``."""
    said = f"The request body exceeds the limit of {MAX_BODY} bytes."
    return Refusal(413, "BAD_REQUEST", said, headers={"connection": "close"})
