"""What engine tests stand on: an emulated workspace, a real client for it, and time in hand."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from reconciler.client.auth import Token
from reconciler.client.databricks import DatabricksDeploymentClient
from reconciler.emulator.adapter import EmulatorAdapter
from reconciler.emulator.wire import Request, Response
from reconciler.emulator.workspace import Workspace
from reconciler.engine.apply import Applied, apply
from reconciler.engine.executor import ExecutionOptions
from reconciler.engine.journal import Recorder
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.snapshot import read_snapshot
from reconciler.values import Address, Lifecycle, Plan, ProgressEvent, Resource, Source


class FakeClock:
    """Time passes when somebody sleeps, and at once."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.sleeps: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds
        self.on_sleep()

    def take(self, events: queue.SimpleQueue[Any], timeout: float | None) -> Any:
        return events.get(timeout=30)


class Interceptor:
    """Stands before a workspace: counts requests, and lets a test meddle before and after one."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.latency = 0.0
        self.requests: list[str] = []
        self.before: Callable[[Request], Response | None] = lambda request: None
        self.after: Callable[[Request, Response], Response] = lambda request, response: response

    def handle(self, request: Request) -> Response:
        self.requests.append(f"{request.method} {request.path}")
        answered = self.before(request)
        if answered is not None:
            return answered
        return self.after(request, self.workspace.handle(request))

    @property
    def writes(self) -> list[str]:
        return [line for line in self.requests if not line.startswith("GET ")]


class Bench:
    """A workspace, a client, a clock; and plan and apply in one word each."""

    def __init__(self, provisioning: float = 60.0) -> None:
        self.clock = FakeClock()
        self.workspace = Workspace(":memory:", clock=self.clock.now, provisioning=provisioning)
        self.wire = Interceptor(self.workspace)
        self.client = self._client(EmulatorAdapter(self.wire))
        self.by_hand = self._client(EmulatorAdapter(self.workspace))
        self.events: list[ProgressEvent] = []

    @staticmethod
    def _client(adapter: EmulatorAdapter) -> DatabricksDeploymentClient:
        return DatabricksDeploymentClient(
            "databricks", host="http://emulator.test", credentials=Token("t"), adapter=adapter
        )

    def plan(self, *resources: Resource, destroy: bool = False, resend: bool = False) -> Plan:
        snapshot = read_snapshot(self.client, resources, target="t", taken_at="2026-01-01T00:00:00Z")
        if destroy:
            return plan_destroy(resources, snapshot)
        return make_plan(resources, snapshot, PlanOptions(resend=resend))

    def apply(
        self,
        *resources: Resource,
        plan: Plan | None = None,
        destroy: bool = False,
        recorder: Recorder | None = None,
        **options: Any,
    ) -> Applied:
        made = plan or self.plan(*resources, destroy=destroy)
        return apply(
            made,
            self.client,
            resources,
            taken_at=lambda: "2026-01-01T00:00:00Z",
            options=ExecutionOptions(**options),
            progress=self.events.append,
            clock=self.clock,
            recorder=recorder,
        )

    def settle(self) -> None:
        """Let every update in the workspace finish."""
        self.clock.time += 100_000


def endpoint(name: str = "chat", *, prevent_destroy: bool = False, **spec: Any) -> Resource:
    """A desired endpoint; without a spec one with a small custom model."""
    return Resource(
        Address("Endpoint", name),
        spec or {"config": custom()},
        Source("m.yaml", 1),
        lifecycle=Lifecycle(prevent_destroy),
    )


def custom(version: str = "1", entity: str = "main.ml.ranker", **more: Any) -> dict[str, Any]:
    """A configuration with one custom model."""
    return {"served_entities": [{"name": "m", "entity_name": entity, "entity_version": version, **more}]}
