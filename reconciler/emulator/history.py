"""What reads told a little while ago: for a workspace whose reads lag behind its writes."""

from __future__ import annotations

import threading
from typing import NamedTuple
from urllib.parse import quote

from reconciler.emulator.routes import route_of
from reconciler.emulator.wire import Refusal, Request, Response, json_body
from reconciler.emulator.workspace import Workspace

__all__ = ["History"]

_ENDPOINTS = "/api/2.0/serving-endpoints"
_PERMISSIONS = "/api/2.0/permissions/serving-endpoints"


class _Told(NamedTuple):
    """What a read answered until a moment, in seconds of the workspace's clock."""

    until: float
    answer: Response


class History:
    """What reads answered before each write of the last ``seconds``.

    Only writes are looked at: an update that settles is seen at once.
    """

    def __init__(self, workspace: Workspace, seconds: float) -> None:
        self._workspace = workspace
        self._seconds = seconds
        self._lock = threading.Lock()
        self._told: dict[str, list[_Told]] = {}

    def remember(self, request: Request) -> None:
        """To be called before a write is carried out; does nothing for others."""
        if request.method == "GET":
            return
        now = self._workspace.clock()
        for path in self._touched(request):
            read = Request("GET", path, {}, request.headers)
            told = _Told(now, self._workspace.handle(read))
            with self._lock:
                kept = [old for old in self._told.get(path, ()) if old.until > now - self._seconds]
                self._told[path] = [*kept, told]

    def told(self, request: Request, seconds: float) -> Response | None:
        """What this read answered so many seconds ago; None when that is what it answers now."""
        then = self._workspace.clock() - seconds
        with self._lock:
            for old in self._told.get(request.path, ()):
                if request.method == "GET" and old.until > then:
                    return old.answer
        return None

    def _touched(self, request: Request) -> list[str]:
        """The reads that a write may change."""
        found = route_of(request)
        if found is None or found[0].name in ("query", "token"):
            return []
        route, values = found
        try:
            if route.name in ("create", "create-pt"):
                name = str(json_body(request).get("name", ""))
                return [_ENDPOINTS, f"{_ENDPOINTS}/{quote(name, safe='')}"]
            by_id = route.name == "permissions"
            record = self._workspace.record_of(values[0]) if by_id else self._workspace.record(values[0])
        except Refusal:
            return []
        return [_ENDPOINTS, f"{_ENDPOINTS}/{quote(record.name, safe='')}", f"{_PERMISSIONS}/{record.id}"]
