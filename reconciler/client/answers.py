"""What came back: read within bounds, and everything that is not an answer turned into our errors.

Every error made here is also the ``requests`` error that users of mlflow's client catch: both
``except errors.NotFound`` and ``except requests.HTTPError`` (with ``.response``) work. No error holds a
credential or a secret of the request: they are masked in the server's words, in the kept response and in
the kept request.
"""

from __future__ import annotations

import json
import math
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import requests
import requests.exceptions as rx
import urllib3.exceptions as ux
from urllib3.response import HTTPResponse

from reconciler import errors
from reconciler.client.pacing import Repeats, seconds_asked
from reconciler.client.secrecy import cleared, masked, scrub, secrets_in_header
from reconciler.client.untrusted import Unreadable, read_json

__all__ = [
    "MAX_ANSWER",
    "NOT_JSON",
    "PATIENCE",
    "Asked",
    "Failed",
    "chunks",
    "clean",
    "joined",
    "masked",
    "no_answer",
    "parse",
    "read",
    "reason_of",
    "refusal",
    "scrub",
    "secrets_in_header",
]

MAX_ANSWER = 64 * 1024 * 1024  # bytes, decoded, of an answer to a query; the API's: untrusted.MAX_BYTES
NOT_JSON = "not JSON"  # how the message of an error begins whose body was not the API's
PATIENCE = 5  # times the timeout of one byte: how long a whole answer may take that comes in drops
_MAX_ERROR = 256 * 1024  # bytes of an error's body that are looked at
_MAX_MESSAGE = 2000  # characters
_TAGS = re.compile(r"(?is)<(script|style)\b.*?</\1\s*>|<[^>]*>")
_NO_HANDSHAKE = re.compile("ALERT_(HANDSHAKE_FAILURE|CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA)")
_READ_LIVE = "read the live side to see whether it was carried out"

_E = TypeVar("_E", bound=errors.ReconcilerError)


@dataclass(slots=True)
class Asked:
    """One request over all its tries.

    ``host`` and ``who`` (the credentials, described) are for the texts of errors. ``safe``: repeating it
    does no harm. ``is_query``: a question to an endpoint, not to the API. ``timeout``: seconds without a
    byte. ``sent``: the body as it was given, its secrets still typed. ``secrets``: masked in whatever becomes
    an error.
    """

    method: str
    path: str
    url: str
    host: str
    who: str
    body: bytes | None = field(repr=False)
    sent: Any = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    timeout: float
    safe: bool
    stream: bool
    text: bool
    is_query: bool
    repeats: Repeats
    secrets: set[str] = field(default_factory=set, repr=False)


class Failed(Exception):
    """One try that failed: the error it means, and what its repeating hangs on.

    ``kind``: connect (never reached the server), lost (broke off), timeout, status (an answer that says
    no), unreadable, final (repeating is pointless). ``asked``: seconds from Retry-After.
    """

    def __init__(
        self, kind: str, error: errors.ReconcilerError, status: int = 0, asked: float | None = None
    ) -> None:
        self.kind = kind
        self.error = error
        self.status = status
        self.asked = asked
        super().__init__(kind)

    @property
    def is_busy(self) -> bool:
        """The server said that it takes up nothing for now."""
        return self.status == 429 or (self.status == 503 and self.asked is not None)

    @property
    def was_not_taken_up(self) -> bool:
        """The server did not act on the request."""
        return self.kind == "connect" or self.status == 401 or self.is_busy


class _TooLong(OSError):
    """More bytes than such an answer has."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"it is longer than {limit // 1024 // 1024} MB")


class _TooSlow(OSError):
    """Bytes still come, and no end is in sight."""


class _JSONError(rx.JSONDecodeError):
    # Its parent asks for the document and a position; the document may hold secrets and stays out.
    def __init__(self, what: str) -> None:
        super().__init__(what, "", 0)


_classes: dict[tuple[type, type], type] = {}


def joined(ours: type[_E], theirs: type[Exception]) -> type[_E]:
    """``ours``, caught by ``except theirs`` as well."""
    found = _classes.get((ours, theirs))
    if found is None:
        names: dict[str, Any] = {"__module__": ours.__module__, "__doc__": ours.__doc__}
        # Pickled by what it is made of: by its name it would be found as ``ours`` alone.
        names["__reduce__"] = lambda self: (_joined_as_it_was, (ours, theirs, self.args), self.__dict__)
        found = _classes.setdefault((ours, theirs), type(ours.__name__, (ours, theirs), names))
    return found


def _joined_as_it_was(ours: type[_E], theirs: type[Exception], args: tuple[Any, ...]) -> _E:
    kind = joined(ours, theirs)
    error = kind.__new__(kind, *args)
    error.args = args
    return error


def clean(text: str, limit: int = _MAX_MESSAGE) -> str:
    """Untrusted text made safe to print: bounded, and nothing in it that moves a terminal's cursor."""
    bounded = text if len(text) <= limit else text[:limit] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in bounded)


# -- reading ---------------------------------------------------------------------------------------------


def read(
    response: requests.Response,
    limit: int = MAX_ANSWER,
    patience: float = math.inf,
    now: Callable[[], float] = time.monotonic,
) -> bytes:
    """The whole body of a good answer, the first part of a bad one.

    ``patience``: seconds for all of it, however its bytes come; a bad one is what was there by then. Raises
    what requests and urllib3 raise; OSError when it is longer than ``limit`` bytes, or takes longer.
    """
    if getattr(response, "_content", False) is not False:  # an adapter that filled it in itself
        return response.content
    until = now() + patience
    if response.status_code >= 300:
        return _read_some(response, until, now)
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > limit:
        response.close()
        raise _TooLong(limit)
    parts, size = [], 0
    for chunk in chunks(response):
        parts.append(chunk)
        size += len(chunk)
        if size > limit or now() > until:
            response.close()
            raise _TooLong(limit) if size > limit else _TooSlow
    return b"".join(parts)


def _read_some(response: requests.Response, until: float, now: Callable[[], float]) -> bytes:
    body = b""
    try:
        for chunk in chunks(response):
            body += chunk
            if len(body) >= _MAX_ERROR or now() > until:
                response.close()
                break
    except (requests.RequestException, ux.HTTPError, OSError):
        pass  # the status is known; what it says beside that is a help, no more
    return body[:_MAX_ERROR]


def chunks(response: requests.Response) -> Iterator[bytes]:
    """The body piece by piece, each as soon as it is there."""
    raw = response.raw
    if not isinstance(raw, HTTPResponse) or raw.chunked:
        yield from response.iter_content(65536)
        return
    while piece := raw.read1(65536, decode_content=True):
        yield piece


def parse(asked: Asked, response: requests.Response, content: bytes) -> Any:
    """The JSON of a good answer, within bounds; ``{}`` when it is empty. Raises Failed."""
    if not content or content.isspace():
        return {}
    try:
        return read_json(content, is_query=asked.is_query)
    except Unreadable as unreadable:
        scrub(response.request)
        content = cleared(response, content, asked.secrets)
        what = f"the answer is {_not_json(response, content)}"
        if content.lstrip()[:1] in (b"{", b"["):  # what it holds may be anything: it is not quoted
            what = f"the answer cannot be read: {unreadable}"
        raise _unreadable(asked, what, _JSONError, response, content, kind="unreadable") from None


# -- errors ----------------------------------------------------------------------------------------------

_BY_STATUS: dict[int, tuple[type[errors.APIError], str]] = {
    400: (errors.InvalidRequest, ""),
    401: (errors.Unauthenticated, "check the credentials ({who})"),
    403: (errors.PermissionDenied, "ask for the permission, or use another identity than {who}"),
    404: (errors.NotFound, "check the name, and that {host} is the right target"),
    409: (errors.Conflict, "wait until the update in progress is over, then run it again"),
    422: (errors.InvalidRequest, ""),
    429: (errors.RateLimited, "run it again {wait}, with fewer requests at a time"),
}


def refusal(asked: Asked, response: requests.Response, content: bytes) -> Failed:
    """What an answer with a status of 300 or more means."""
    status = response.status_code
    content = cleared(response, content, asked.secrets)
    if status < 400:
        target = clean(_host_of(response.headers.get("Location", "")) or asked.host, 200)
        what = f"HTTP {status} sends the request on to {target}; it was not followed"
        return _unreadable(asked, what, requests.HTTPError, response, content)
    wait = seconds_asked(response.headers.get("Retry-After"), response.headers.get("Date"))
    code, message = _said(response, content)
    is_theirs = message.startswith(NOT_JSON)
    if status >= 500 and is_theirs and not asked.safe and not (status == 503 and wait is not None):
        why = "something between here and the server answered; the server may have acted"
        return _unreadable(asked, f"HTTP {status}: {message}", requests.HTTPError, response, content, why=why)
    ours, fix = _BY_STATUS.get(status, (errors.APIError, ""))
    if status >= 500:
        ours, fix = errors.ServerFault, "run it again later"
    elif status in {400, 409} and code == "RESOURCE_ALREADY_EXISTS":
        ours, fix = errors.AlreadyExists, "choose another name, or adopt what is there"
    ids = (response.headers.get(name) for name in ("x-request-id", "x-databricks-request-id"))
    later = "later" if wait is None else f"in {wait:.0f} s"
    error = joined(ours, requests.HTTPError)(
        status=status,
        error_code=code,
        message=message,
        method=asked.method,
        path=asked.path,
        request_id=clean(next(filter(None, ids), ""), 100),
        retry_after=wait,
        fix=fix.format(who=asked.who, host=asked.host, wait=later),
    )
    return Failed("status", _with_response(error, response, content), status, wait)


def no_answer(asked: Asked, cause: Exception, begun: bool) -> Failed:
    """What an exception of requests or urllib3 means; ``begun``: the head of an answer had come."""
    why = reason_of(cause, asked.secrets)

    def failed(kind: str, ours: type[errors.TransportError], theirs: type[Exception], *text: str) -> Failed:
        what, fix = text
        return Failed(
            kind, joined(ours, theirs)(what, method=asked.method, path=asked.path, why=why, fix=fix)
        )

    chain = tuple(_chain(cause))

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(link, kinds) for link in chain)

    never = (f"{asked.host} could not be reached", "check the host, the network and the proxy settings")
    if has(ssl.SSLCertVerificationError):
        untrusted = f"the certificate of {asked.host} is not trusted"
        trust = "set REQUESTS_CA_BUNDLE to a file with the authority that signed it"
        return failed("final", errors.ConnectionFailed, rx.SSLError, untrusted, trust)
    if any(isinstance(link, ssl.SSLError) and _NO_HANDSHAKE.search(str(link)) for link in chain):
        show = "if it asks for a client certificate, set RECONCILER_CLIENT_CERT to its PEM file"
        what = f"{asked.host} refused the TLS handshake"
        return failed("final", errors.ConnectionFailed, rx.SSLError, what, show)
    if has(rx.ProxyError):  # urllib3 says so only before the proxy is reached or lets the request through
        return failed("connect", errors.ConnectionFailed, rx.ProxyError, *never)
    if has(rx.ConnectTimeout):
        return failed("connect", errors.ConnectionFailed, rx.ConnectTimeout, *never)
    if has(ux.NewConnectionError):
        return failed("connect", errors.ConnectionFailed, rx.ConnectionError, *never)
    if isinstance(cause, ValueError | ux.LocationValueError):  # a URL or header that cannot be sent
        return failed("final", errors.ConnectionFailed, rx.ConnectionError, *never)
    fix = "" if asked.safe else _READ_LIVE
    bad = errors.BadAnswer if asked.safe else errors.AnswerLost
    if has(rx.Timeout, ux.TimeoutError):
        late = f"no answer within {asked.timeout:g} s"
        return failed("timeout", errors.AnswerLost, rx.ReadTimeout, late, fix)
    if has(_TooLong):
        return failed("final", bad, rx.ConnectionError, "the answer is too long", fix)
    if has(_TooSlow):
        endless = f"the answer was not all there after {PATIENCE * asked.timeout:g} s"
        return failed("final", bad, rx.ReadTimeout, endless, fix)
    if begun:
        return failed("lost", bad, rx.ChunkedEncodingError, "the answer broke off", fix)
    broke = "the connection broke before the answer was there"
    return failed("lost", errors.AnswerLost, rx.ConnectionError, broke, fix)


def _unreadable(
    asked: Asked,
    what: str,
    theirs: type[Exception],
    response: requests.Response,
    content: bytes,
    *,
    kind: str = "final",
    why: str = "",
) -> Failed:
    ours: type[errors.TransportError] = errors.BadAnswer
    fix = f"check that {asked.host} is the target itself, not a proxy or a login page"
    if not asked.safe:
        ours, fix = errors.AnswerLost, _READ_LIVE
    error = joined(ours, theirs)(what, method=asked.method, path=asked.path, why=why, fix=fix)
    return Failed(kind, _with_response(error, response, content), response.status_code)


def _with_response(error: _E, response: requests.Response, content: bytes) -> _E:
    response._content = content
    response._content_consumed = True  # type: ignore[attr-defined]
    cast("Any", error).response = response
    cast("Any", error).request = response.request
    return error


def _said(response: requests.Response, content: bytes) -> tuple[str, str]:
    """The error code and the message, in the shapes of Databricks, FastAPI, OAuth and OpenAI."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        return "", _not_json(response, content)
    inner = data.get("error")
    nested = inner if isinstance(inner, dict) else {"message": inner}
    code = data.get("error_code") or nested.get("code") or ""
    said = (data.get(key) for key in ("message", "detail", "error_description"))
    message = next(filter(None, said), None) or nested.get("message") or ""
    text = message if isinstance(message, str) else json.dumps(message)
    return clean(str(code), 100), clean(text)


def _not_json(response: requests.Response, content: bytes) -> str:
    kind = clean(response.headers.get("Content-Type", "").partition(";")[0] or "no type", 60)
    text = content[:16384].decode("utf-8", "replace")
    words = " ".join(_TAGS.sub(" ", text).split()) if "<" in text else text.strip()
    return f"{NOT_JSON} ({kind}): {clean(words, 200) or 'nothing'}"


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exceptions inside an exception, outermost first (not ``__context__``: that may be the caller's)."""
    link: BaseException | None = error
    for _ in range(12):
        if link is None:
            return
        yield link
        inside = (getattr(link, "reason", None), *link.args, link.__cause__)
        link = next((part for part in inside if isinstance(part, BaseException)), None)


def reason_of(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """The innermost reason in a few words, secrets masked."""
    innermost = list(_chain(error))[-1]
    text = getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__
    return clean(masked(str(text).encode("utf-8", "replace"), secrets).decode("utf-8", "replace"), 300)
