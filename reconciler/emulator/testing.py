"""For tests: an emulator over HTTP in a thread of this process, with a record of what was asked.

``with running() as server:`` gives the address as ``server.url``, the workspace as ``server.workspace`` and
the requests so far as ``server.log``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reconciler.emulator.faults import Fault
from reconciler.emulator.server import Running
from reconciler.emulator.troubled import Struck, Troubled
from reconciler.emulator.wire import Handler, Request, Response
from reconciler.emulator.workspace import Workspace

__all__ = ["Logged", "Logging", "RunningEmulator", "running"]


class Logged(NamedTuple):
    """One request as it came; ``path`` is without query."""

    method: str
    path: str
    body: bytes


class Logging:
    """A layer that records every request before it is answered."""

    def __init__(self, inner: Handler) -> None:
        self.inner = inner
        self.log: list[Logged] = []

    def handle(self, request: Request) -> Response:
        """Records and passes on. What carries the header ``X-By-Hand`` is a test's own meddling: not
        recorded.
        """
        if "x-by-hand" not in request.headers:
            self.log.append(Logged(request.method, request.path, request.body))
        return self.inner.handle(request)


@dataclass(slots=True)
class RunningEmulator:
    """What :func:`running` gives. ``log``: what was asked; ``acted``: what reached the workspace in spite of
    faults; ``struck``: the faults that came about."""

    url: str
    workspace: Workspace
    log: list[Logged] = field(default_factory=list)
    acted: list[Logged] = field(default_factory=list)
    struck: list[Struck] = field(default_factory=list)

    def count(self, method: str = "", containing: str = "") -> int:
        """How many requests had this method and this text in their path; "" stands for any."""
        return sum(method in ("", entry.method) and containing in entry.path for entry in self.log)


@contextmanager
def running(
    path: str = ":memory:",
    *,
    latency: float = 0.0,
    faults: Sequence[str | Fault] = (),
    seed: int = 0,
    **options: Any,
) -> Iterator[RunningEmulator]:
    """Runs an emulator on a free port. ``options`` are those of :class:`Workspace`, ``faults`` and ``seed``
    those of :class:`Troubled`.
    """
    workspace = Workspace(path, **options)
    acted = Logging(workspace)
    troubled = Troubled(workspace, faults, seed=seed, inner=acted)
    layer = Logging(troubled)
    server = Running(layer, latency=latency)
    thread = threading.Thread(target=server.run, name="emulator", daemon=True)
    thread.start()
    try:
        yield RunningEmulator(server.url, workspace, layer.log, acted.log, troubled.struck)
    finally:
        server.stop()
        thread.join(timeout=10)
        workspace.close()
