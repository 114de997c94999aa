"""One HTTP session per target: repeats, pacing, and the only place where secrets are revealed."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import requests
import urllib3.exceptions as ux
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.structures import CaseInsensitiveDict

from reconciler import errors
from reconciler.client import answers
from reconciler.client.answers import MAX_ANSWER, Asked, Failed, clean, joined
from reconciler.client.auth import client_certificate
from reconciler.client.pacing import QUERIES, READS, WRITES, Quiet, WritePacer, backoff
from reconciler.client.untrusted import MAX_BYTES
from reconciler.client.urls import checked, quote
from reconciler.values import Secret

if TYPE_CHECKING:
    from reconciler.client.auth import Credentials

__all__ = ["HttpSession", "credentials_used", "quote", "seconds_from_environment"]

_CONNECT_TIMEOUT = 10.0  # seconds
_MAX_LINE = 16 * 1024 * 1024  # bytes
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PACED = frozenset({"POST", "PUT", "PATCH"})
_PATH = re.compile(r"/[A-Za-z0-9/._~!$&'()*+,;=:@%-]*\Z")
_TRANSPORT = (requests.RequestException, ux.HTTPError, OSError)

_log = logging.getLogger("reconciler.client")


_used: dict[Secret, None] = {}


def credentials_used() -> tuple[Secret, ...]:
    """Every credential that this process has sent: for whoever prints, to mask what a server echoes.

    Those of less than 8 characters are left out: they are placeholders ("local"), and words.
    """
    return tuple(_used)


def seconds_from_environment(variable: str, default: float) -> float:
    """A positive number of seconds from an environment variable. Raises UsageError when it is not one."""
    text = os.environ.get(variable, "").strip()
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise errors.UsageError(f"{variable}={text!r} is not a number of seconds above 0")
    return seconds


class HttpSession:
    """Requests to one target, from any number of threads.

    ``base_url``: http or https, with or without a path. Its proxy, NO_PROXY and CA bundle settings and the
    client certificate (RECONCILER_CLIENT_CERT) are read from the environment once, here, and not for each
    request as ``requests`` does; ``.netrc`` is not read, for it would replace the credential.
    ``credentials``: asked for headers before every try.
    ``timeout``: seconds without a byte of answer, by default MLFLOW_HTTP_REQUEST_TIMEOUT or 120
    (connecting: 10). ``pacer``: the budget that POST, PUT and PATCH wait for, queries excepted.
    ``adapter``: answers instead of the network. ``pool_size``: connections kept open. ``stop``: once set,
    nothing waits any more: what would have been repeated raises what it failed with. ``sleep``, ``now``
    (seconds from any fixed point) and ``chance`` (0 to 1) are replaced in tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        credentials: Credentials | None = None,
        headers: Mapping[str, str] | None = None,
        adapter: BaseAdapter | None = None,
        pool_size: int = 64,
        timeout: float | None = None,
        pacer: WritePacer | None = None,
        stop: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.base_url = checked(base_url)
        self.host = urlsplit(self.base_url).netloc
        self.credentials = credentials
        self._pacer = pacer
        self._stop = stop
        self._sleep = sleep if sleep is not None else (stop.wait if stop is not None else time.sleep)
        self._now = now
        self._quiet = Quiet(now)
        self._chance = chance
        self._timeout = timeout or seconds_from_environment("MLFLOW_HTTP_REQUEST_TIMEOUT", 120.0)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._session = requests.Session()
        network = HTTPAdapter(pool_connections=4, pool_maxsize=max(1, pool_size))
        self._session.mount(self.base_url, adapter if adapter is not None else network)
        self._headers = {
            "User-Agent": "reconciler",
            "Accept-Encoding": str(self._session.headers["Accept-Encoding"]),
            "Connection": "keep-alive",
            **(headers or {}),
        }
        settings = self._session.merge_environment_settings(self.base_url, {}, None, None, None)
        self._settings: dict[str, Any] = {key: settings[key] for key in ("proxies", "verify")}
        self._settings["cert"] = client_certificate() if adapter is None else None
        bundle = settings["verify"]
        if adapter is None and isinstance(bundle, str) and not Path(bundle).exists():
            raise errors.UsageError(
                f"there is no CA bundle at {bundle}", fix="set REQUESTS_CA_BUNDLE to one, or unset it"
            )

    def __repr__(self) -> str:
        return f"HttpSession({self.base_url!r})"

    @property
    def counters(self) -> dict[str, int]:
        """How many requests were sent so far, by method; every try counts."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """Close the kept connections. The session opens new ones if it is used again."""
        self._session.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        total: float | None = None,
        stream: bool = False,
        text: bool = False,
        headers: Mapping[str, str] | None = None,
        retry_safe: bool | None = None,
    ) -> Any:
        """Send a request, repeating it where that is safe, and return the parsed JSON of the answer.

        ``path`` begins with ``/`` and its names are quoted (:func:`quote`). ``json`` may hold
        :class:`Secret` values anywhere; ``form`` is sent as a form instead. ``retry_safe``: sending it
        twice does no harm; by default so for GET and HEAD. ``total``: seconds for all tries together.
        An empty answer is ``{}``. With ``text`` the answer's text is returned, with ``stream`` the open
        ``requests.Response``, which the caller closes.

        Raises APIError (its class by status), ConnectionFailed when the server was never reached,
        BadAnswer for an answer that cannot be read, AnswerLost when no answer came; for what is not
        ``retry_safe`` AnswerLost wherever it may have been carried out. UsageError when it cannot be
        sent; AuthError when there is no credential; Stopped when it was called off waiting for its turn.
        """
        method = method.upper()
        safe = method in _SAFE if retry_safe is None else retry_safe
        repeats = WRITES if not safe else READS if method in _SAFE else QUERIES
        if not _PATH.match(path):
            raise errors.UsageError(f"{clean(path, 200)!r} is not a quoted path")
        secrets: set[str] = set()
        body, kind = _body(json, form, secrets)
        sent = json if form is None else dict(form)
        asked = Asked(
            method=method,
            path=path,
            url=f"{self.base_url}{path}" + (f"?{urlencode(params, doseq=True)}" if params else ""),
            host=self.host,
            who=self.credentials.describe() if self.credentials is not None else "none",
            body=body,
            sent=sent,
            headers={
                **self._headers,
                "Accept": "text/plain" if text else "application/json",
                **kind,
                **(headers or {}),
            },
            timeout=timeout or self._timeout,
            safe=safe,
            stream=stream,
            text=text,
            is_query=repeats is QUERIES and form is None,  # a form asks for a token
            repeats=repeats,
            secrets=secrets,
        )
        return self._with_repeats(asked, repeats.total if total is None else total)

    def lines(self, method: str, path: str, **options: Any) -> Iterator[str]:
        """The answer's lines as they arrive, without their line ends; arguments as for :meth:`request`.

        Raises as :meth:`request` does; AnswerLost when the answer breaks off between lines.
        """
        response: requests.Response = self.request(method, path, stream=True, **options)
        rest: list[bytes] = []
        size = 0
        try:
            for chunk in answers.chunks(response):
                head, *more = chunk.split(b"\n")
                rest.append(head)
                size += len(head)
                if size > _MAX_LINE:
                    raise errors.BadAnswer("a line without end", method=method, path=path)
                for following in more:
                    yield b"".join(rest).rstrip(b"\r").decode("utf-8", "replace")
                    rest, size = [following], len(following)
            if size:
                yield b"".join(rest).decode("utf-8", "replace")
        except _TRANSPORT as cause:
            answers.scrub(response.request)
            error = joined(errors.AnswerLost, requests.ConnectionError)(
                "the answer broke off", method=method, path=path, why=answers.reason_of(cause)
            )
            raise error from cause
        finally:
            response.close()

    # -- tries -------------------------------------------------------------------------------------------

    def _with_repeats(self, asked: Asked, total: float) -> Any:
        spent, repeat, renewed = 0.0, 0, False
        failed: Failed | None = None
        while True:
            try:
                turn = self._take_turn(asked)
            except errors.Stopped:
                if failed is None:
                    raise
                raise failed.error from failed.__cause__
            began = self._now()
            try:
                return self._try(asked)
            except Failed as failure:
                failed = failure  # handled outside, so that the next try's errors have no false context
            except errors.AuthError:
                self._give_back(turn)  # there was no credential to send it with
                raise
            spent += self._now() - began
            if failed.was_not_taken_up:
                self._give_back(turn)
            if failed.status == 401 and not renewed and self._may_renew(asked):
                renewed = True
                continue
            wait = self._wait_before(asked, failed, repeat)
            if wait is None or spent + wait > total:
                raise failed.error from failed.__cause__
            # A wait that a person notices is told to them.
            level = logging.WARNING if wait >= 2 else logging.DEBUG
            _log.log(level, "%s %s again in %.1f s (%s)", asked.method, asked.path, wait, failed.kind)
            if self._pacer is not None and failed.is_busy and not asked.safe:
                self._pacer.penalise(wait)  # everybody who writes waits, this request in its next turn
            else:
                if failed.is_busy and asked.repeats is READS:
                    self._quiet.keep(wait)  # everybody who reads waits, too
                if not self._waited(wait):
                    raise failed.error from failed.__cause__
            spent, repeat = spent + wait, repeat + 1

    def _take_turn(self, asked: Asked) -> float | None:
        if asked.repeats is READS and (left := self._quiet.left()):
            self._waited(left)
        if self._pacer is None or asked.safe:
            return None
        if asked.method in _PACED:
            return self._pacer.acquire()
        self._pacer.pause()
        return None

    def _give_back(self, turn: float | None) -> None:
        if self._pacer is not None and turn is not None:
            self._pacer.give_back(turn)

    def _may_renew(self, asked: Asked) -> bool:
        return self.credentials is not None and self.credentials.refused(asked.headers)

    def _wait_before(self, asked: Asked, failed: Failed, repeat: int) -> float | None:
        """Seconds until the next try; None when there is none."""
        rule = asked.repeats
        allowed = {
            "connect": repeat < rule.connects,
            "lost": rule.lost,
            "timeout": rule.timeouts,
            "status": failed.status in rule.statuses or (rule.busy and failed.is_busy),
            # A proxy's hiccup passes, a login page does not, and what a model answered was paid for.
            "unreadable": asked.safe and not asked.is_query and repeat < 2,
        }.get(failed.kind, False)
        if not allowed or repeat >= rule.limit:
            return None
        if failed.kind == "lost" and repeat == 0:
            return 0.0  # most likely a kept connection that the server had closed meanwhile
        if failed.asked:
            return failed.asked * (1 + 0.1 * self._chance())  # so that threads told alike spread out
        return backoff(repeat, self._chance())

    def _waited(self, seconds: float) -> bool:
        if self._stop is not None and self._stop.is_set():
            return False
        if seconds > 0:
            self._sleep(seconds)
        return self._stop is None or not self._stop.is_set()

    def _try(self, asked: Asked) -> Any:
        prepared = self._prepare(asked)
        with self._lock:
            self._counts[asked.method] += 1
        began = self._now()
        status, content = 0, b""
        try:
            response = self._session.get_adapter(asked.url).send(
                prepared,
                stream=True,
                timeout=(min(_CONNECT_TIMEOUT, asked.timeout), asked.timeout),
                **self._settings,
            )
            status = response.status_code
            if status < 300 and asked.stream:
                return response
            limit = MAX_ANSWER if asked.is_query or asked.text else MAX_BYTES
            content = answers.read(response, limit, answers.PATIENCE * asked.timeout, self._now)
        except _TRANSPORT as cause:
            answers.scrub(prepared)
            raise answers.no_answer(asked, cause, begun=status > 0) from cause
        finally:
            if _log.isEnabledFor(logging.DEBUG):
                self._log(asked, status, content, self._now() - began)
        if status >= 300:
            answers.scrub(prepared)
            raise answers.refusal(asked, response, content)
        if asked.text:
            return content.decode("utf-8", "replace")
        return answers.parse(asked, response, content)

    @staticmethod
    def _log(asked: Asked, status: int, content: bytes, seconds: float) -> None:
        # The bodies go along beside the text: only who knows what may be shown of them shows them.
        _log.debug(
            "%s %s %s %.0f ms",
            asked.method,
            asked.path,
            status or "failed",
            1000 * seconds,
            extra={"sent": asked.sent, "answered": answers.masked(content, asked.secrets)},
        )

    def _prepare(self, asked: Asked) -> requests.PreparedRequest:
        # Filled in by hand: every part is known to be good, and preparing it costs half of a request.
        if self.credentials is not None:
            for name, value in self.credentials.headers().items():
                if not (value.isascii() and value.isprintable()):
                    # http.client would quote the whole value in its complaint
                    raise errors.AuthError(
                        f"the credential cannot be sent as header {name}", why="odd characters"
                    )
                asked.headers[name] = value
                if not asked.secrets.issuperset(found := answers.secrets_in_header(value)):
                    asked.secrets |= found
                    _used.update(dict.fromkeys(Secret(each) for each in found if len(each) >= 8))
        prepared = requests.PreparedRequest()
        prepared.method = asked.method
        prepared.url = asked.url
        prepared.headers = CaseInsensitiveDict(asked.headers)
        prepared.hooks = {"response": []}
        if asked.body is not None:
            prepared.body = asked.body
            prepared.headers["Content-Length"] = str(len(asked.body))
        return prepared


def _body(
    content: Any, form: Mapping[str, str] | None, secrets: set[str]
) -> tuple[bytes | None, dict[str, str]]:
    """The bytes to send with their headers; every Secret inside is revealed, and noted in ``secrets``."""
    if form is not None:
        return urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    if content is None:
        return None, {}

    def reveal(value: Any) -> str:
        if isinstance(value, Secret):
            secrets.add(value.reveal())
            return value.reveal()
        raise TypeError(f"a {type(value).__name__} is not JSON")

    try:
        text = json.dumps(content, default=reveal, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, TypeError) else "NaN, Infinity or a circle"
        raise errors.UsageError("the body cannot be sent as JSON", why=why) from None
    return text.encode(), {"Content-Type": "application/json"}
