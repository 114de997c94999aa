"""A gateway that serves a file, without its server: it takes the file when somebody looks, as the real one
does within seconds, and can be told to refuse it, to be silent, or to end.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import yaml
from requests.adapters import BaseAdapter
from urllib3.response import HTTPResponse

from reconciler.client.file_gateway import FileGatewayClient
from reconciler.engine.apply import Applied, apply
from reconciler.engine.executor import ExecutionOptions
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.snapshot import read_snapshot
from reconciler.manifest import load
from reconciler.targets import for_target
from reconciler.values import Plan, ProgressEvent, Resource, Snapshot
from tests.unit.engine.workbench import FakeClock

TARGET = "http://127.0.0.1:1"


class FakeGateway(BaseAdapter):
    """Answers the requests of a client from the file that it took last."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.accepts: Callable[[dict[str, Any]], bool] = lambda content: True
        self.is_up = True
        self.requests: list[str] = []
        self.taken: dict[str, Any] = {}
        self.take()

    def take(self) -> None:
        """Read the file, as the real one does when it changes."""
        content = yaml.safe_load(self.path.read_text()) if self.path.exists() else None
        if content and self.accepts(content):
            self.taken = content

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        path = request.path_url
        self.requests.append(f"{request.method} {path}")
        if not self.is_up:
            raise requests.ConnectTimeout("refused", request=request)
        self.take()
        if path == "/api/2.0/endpoints/":
            return _answer(request, 200, {"endpoints": [_told(e) for e in self.taken.get("endpoints") or ()]})
        name = path.rpartition("/")[2]
        route = next((r for r in self.taken.get("routes") or () if r["name"] == name), None)
        return _answer(request, 200 if route else 404, route or {"detail": "not present"})

    def close(self) -> None:
        """Nothing to close."""


def _told(entry: dict[str, Any]) -> dict[str, Any]:
    limit = entry.get("limit")
    return {
        "name": entry["name"],
        "endpoint_type": entry["endpoint_type"],
        "model": {"name": entry["model"].get("name"), "provider": entry["model"]["provider"]},
        "endpoint_url": f"/gateway/{entry['name']}/invocations",
        "limit": {"key": None, **limit} if limit else None,
    }


def _answer(request: requests.PreparedRequest, status: int, content: Any) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.headers["Content-Type"] = "application/json"
    body = io.BytesIO(json.dumps(content).encode())
    response.raw = HTTPResponse(body, status=status, preload_content=False)
    response.request = request
    response.url = request.url or ""
    return response


class Bench:
    """Manifests, a file and a gateway that serves it."""

    def __init__(self, folder: Path, file: str = "endpoints: []\n", **environ: str) -> None:
        self.folder = folder
        self.path = folder / "gateway.yaml"
        self.path.write_text(file)
        self.gateway = FakeGateway(self.path)
        self.client = FileGatewayClient(TARGET, str(self.path), adapter=self.gateway, patience=0.05)
        self.clock = FakeClock()
        self.events: list[ProgressEvent] = []
        self.environ = environ

    @property
    def file(self) -> str:
        """What stands in the file."""
        return self.path.read_text()

    def desired(self, manifests: str) -> tuple[Resource, ...]:
        """The resources of these manifests, as the file holds them."""
        (self.folder / "m.yaml").write_text(manifests)
        found = load(["m.yaml"], environ=self.environ, root=self.folder, allow_unset=True)
        return for_target(TARGET, found.resources, stack="shop", config_path=str(self.path))

    def snapshot(self, desired: tuple[Resource, ...]) -> Snapshot:
        """The live side now."""
        return read_snapshot(self.client, desired, target=TARGET, taken_at="2026-01-01T00:00:00Z")

    def plan(self, manifests: str, *, adopt: bool = False) -> Plan:
        """The plan for these manifests."""
        desired = self.desired(manifests)
        return make_plan(desired, self.snapshot(desired), PlanOptions(stack="shop", adopt=adopt))

    def apply(self, manifests: str, *, plan: Plan | None = None, adopt: bool = False, **how: Any) -> Applied:
        """Plan and apply."""
        return self._carry_out(plan or self.plan(manifests, adopt=adopt), self.desired(manifests), how)

    def destroy(self, manifests: str) -> Applied:
        """Delete what they name."""
        desired = self.desired(manifests)
        return self._carry_out(
            plan_destroy(desired, self.snapshot(desired), PlanOptions(stack="shop")), desired, {}
        )

    def _carry_out(self, plan: Plan, desired: tuple[Resource, ...], how: dict[str, Any]) -> Applied:
        return apply(
            plan,
            self.client,
            desired,
            taken_at=lambda: "2026-01-01T00:00:00Z",
            options=ExecutionOptions(**how),
            progress=self.events.append,
            clock=self.clock,
        )
