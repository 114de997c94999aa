"""A layer around a workspace that has the faults it was told to have (``faults.py``), and no others.

A fault touches the answer it strikes, and the endpoint that the struck request names where it says so; every
other endpoint and every other answer stays as it is.
"""

from __future__ import annotations

import logging
import random
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any, Final, NamedTuple

from reconciler.emulator.faults import Fault, parse_fault
from reconciler.emulator.history import History
from reconciler.emulator.record import Record
from reconciler.emulator.routes import Route, route_of
from reconciler.emulator.wire import Broken, Handler, Refusal, Request, Response, answer, json_body
from reconciler.emulator.workspace import Workspace

__all__ = ["Struck", "Troubled"]

_log = logging.getLogger(__name__)

_STATUSES: Final = {
    400: ("INVALID_PARAMETER_VALUE", "The request was refused."),
    401: ("UNAUTHENTICATED", "The credential is not valid any more."),
    403: ("PERMISSION_DENIED", "You do not have the permission."),
    404: ("RESOURCE_DOES_NOT_EXIST", "There is no such thing."),
    409: ("RESOURCE_CONFLICT", "The endpoint is currently updating."),
    429: ("REQUEST_LIMIT_EXCEEDED", "The rate limit of this workspace was exceeded."),
    500: ("INTERNAL_ERROR", "The server failed."),
    502: ("BAD_GATEWAY", "The gateway had no answer."),
    503: ("TEMPORARILY_UNAVAILABLE", "The service is not available at the moment."),
}
_PAGE: Final = (
    b"<!DOCTYPE html><html><head><title>Proxy</title><style>p{margin:0}</style></head>"
    b"<body><h1>%d</h1><p>A proxy stands between you and the server.</p></body></html>"
)
_ACTED: Final = frozenset({"reset-after", "reset-during", "truncated", "not-json"})


class Struck(NamedTuple):
    """A fault that came about, and on which request."""

    spec: str
    method: str
    path: str


@dataclass(slots=True)
class _Rule:
    """One fault and how far it is: requests that fitted, and that were struck."""

    fault: Fault
    fitted: int = 0
    struck: int = 0


class Troubled:
    """A handler with faults around a workspace.

    ``faults``: specs, or faults. ``seed``: the same requests in the same order meet the same faults.
    ``inner``: what is asked in the end, the workspace itself by default. ``struck`` lists what came about.
    """

    def __init__(
        self,
        workspace: Workspace,
        faults: Sequence[str | Fault],
        *,
        seed: int = 0,
        inner: Handler | None = None,
    ) -> None:
        self._workspace = workspace
        self._inner = inner if inner is not None else workspace
        self._seed = seed
        self._lock = threading.Lock()
        self._rules = [_Rule(parse_fault(each) if isinstance(each, str) else each) for each in faults]
        late = [rule.fault.seconds for rule in self._rules if rule.fault.name == "stale-read"]
        self._history = History(workspace, max(late)) if late else None
        self.latency = workspace.latency
        self.struck: list[Struck] = []

    def handle(self, request: Request) -> Response:
        """Answers one request, or does not, as the faults want."""
        found = route_of(request)
        faults = self._striking(request, *found) if found is not None else []
        skew = next((f.seconds for f in faults if f.name == "clock-skew"), None)
        for fault in faults:
            if fault.name in ("deleted", "recreated") and found is not None:
                self._meddle(self._endpoint(request, *found), again=fault.name == "recreated")
        first = next((fault for fault in faults if fault.name in _DISTORTIONS), None)
        if first is None:
            answered = self._answered(request, faults)
        elif first.acted or first.name in _ACTED:
            answered = self._distorted(first, self._answered(request, faults), skew or 0.0)
        else:
            answered = self._distorted(first, answer({}), skew or 0.0)
        if skew is not None and "date" not in answered.headers:
            answered = replace(answered, headers={**answered.headers, "date": self._date(skew)})
        return answered

    # which ------------------------------------------------------------------------------------------------

    def _striking(self, request: Request, route: Route, values: list[str]) -> list[Fault]:
        endpoint = self._endpoint(request, route, values)
        faults = []
        with self._lock:
            for number, rule in enumerate(self._rules):
                where = rule.fault.where
                if not where.fits(route, endpoint):
                    continue
                rule.fitted += 1
                if rule.fitted < where.nth or (where.count is not None and rule.struck >= where.count):
                    continue
                # One draw for each request that fits: threads that come in another order meet the same.
                draw = random.Random(f"{self._seed}/{number}/{rule.fitted}").random()  # noqa: S311
                if draw < where.chance:
                    rule.struck += 1
                    faults.append(rule.fault)
                    self.struck.append(Struck(rule.fault.spec, request.method, request.path))
        for fault in faults:
            _log.info("fault %s on %s %s", fault.spec, request.method, request.path)
        return faults

    def _endpoint(self, request: Request, route: Route, values: list[str]) -> str:
        """The name of the endpoint that a request is about; "" when it is about none."""
        if route.name in ("create", "create-pt"):
            try:
                return str(json_body(request).get("name", ""))
            except Refusal:
                return ""
        if not values:
            return ""
        if route.path[2] == "permissions":
            try:
                return self._workspace.record_of(values[0]).name
            except Refusal:
                return ""
        return values[0]

    # what -------------------------------------------------------------------------------------------------

    def _answered(self, request: Request, faults: Sequence[Fault]) -> Response:
        names = {fault.name for fault in faults}
        if self._history is not None:
            late = [fault.seconds for fault in faults if fault.name == "stale-read"]
            if late and (old := self._history.told(request, max(late))) is not None:
                return old
            self._history.remember(request)
        if not names & {"update-failed", "never-ready"}:
            return self._inner.handle(request)
        with self._workspace.store.changing():  # nobody reads between the start of the update and its fate
            answered = self._inner.handle(request)
            found = route_of(request)
            if answered.status < 300 and found is not None:
                self._doom(self._endpoint(request, *found), never="never-ready" in names)
        return answered

    def _doom(self, name: str, *, never: bool) -> None:
        loaded = self._workspace.store.load(name)
        if loaded is None:
            return
        record = Record.from_json(loaded[0])
        if record.pending is not None:
            if never:
                record.pending.settles = None
            record.pending.doomed = True
            self._workspace.save(record)

    def _meddle(self, name: str, *, again: bool) -> None:
        """Somebody else deletes the endpoint, and perhaps makes the same again: other id, no grants."""
        store = self._workspace.store
        with store.changing():
            loaded = store.load(name)
            if loaded is None:
                return
            store.remove(name)
            if not again:
                return
            record = Record.from_json(loaded[0])
            record.id = uuid.uuid4().hex
            record.created = int(self._workspace.clock() * 1000)
            record.grants = record.grants[:1]
            record.touch(self._workspace.clock())
            self._workspace.save(record)

    def _distorted(self, fault: Fault, answered: Response, skew: float) -> Response:
        return _DISTORTIONS[fault.name](self, fault, answered, skew)

    def _status(self, fault: Fault, answered: Response, skew: float) -> Response:
        status = int(fault.seconds)
        code, message = _STATUSES.get(
            status, ("INTERNAL_ERROR" if status >= 500 else "BAD_REQUEST", "It failed.")
        )
        headers = {"date": self._date(skew)}
        if fault.retry_after is not None:
            headers["retry-after"] = (
                self._date(skew + fault.retry_after) if fault.as_date else f"{fault.retry_after:g}"
            )
        return answer({"error_code": code, "message": message}, status, headers)

    def _date(self, ahead: float) -> str:
        return formatdate(self._workspace.clock() + ahead, usegmt=True)


def _reset(_: Troubled, fault: Fault, answered: Response, skew: float) -> Response:
    return replace(answered, broken=Broken())


def _reset_during(_: Troubled, fault: Fault, answered: Response, skew: float) -> Response:
    length = len(answered.body) if isinstance(answered.body, bytes) else 2
    return replace(answered, broken=Broken(part=length // 2))


def _refuse(_: Troubled, fault: Fault, answered: Response, skew: float) -> Response:
    whole = len(answered.body) if fault.acted and isinstance(answered.body, bytes) else None
    return replace(answered, broken=Broken(part=whole, away=fault.seconds))


def _timeout(_: Troubled, fault: Fault, answered: Response, skew: float) -> Response:
    return replace(answered, broken=Broken(silence=fault.seconds))


def _truncated(_: Troubled, fault: Fault, answered: Response, skew: float) -> Response:
    body = answered.body if isinstance(answered.body, bytes) else b"".join(answered.body)
    return replace(answered, body=body[: max(1, len(body) // 2)])


def _not_json(_: Troubled, fault: Fault, answered: Response, skew: float) -> Response:
    return replace(answered, body=b"OK, more or less\n")


def _html(_: Troubled, fault: Fault, answered: Response, skew: float) -> Response:
    status = int(fault.seconds)
    return Response(status, {"content-type": "text/html; charset=utf-8", "via": "1.1 proxy"}, _PAGE % status)


def _redirect(_: Troubled, fault: Fault, answered: Response, skew: float) -> Response:
    return Response(307, {"location": str(fault.value), "content-type": "text/html"}, b"")


# Faults that take the place of the answer; of several that strike, the first counts.
_DISTORTIONS: Final[dict[str, Callable[[Any, Fault, Response, float], Response]]] = {
    "reset-before": _reset,
    "reset-after": _reset,
    "reset-during": _reset_during,
    "refuse": _refuse,
    "timeout": _timeout,
    "STATUS": Troubled._status,
    "truncated": _truncated,
    "not-json": _not_json,
    "html": _html,
    "redirect": _redirect,
}
