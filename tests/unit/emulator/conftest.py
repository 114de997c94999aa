"""A workspace in memory on a clock that stands still until a test moves it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from reconciler.emulator import Request, Response, Workspace

START = 1_700_000_000.0
AUTHORIZED = {"authorization": "Bearer any", "host": "local"}


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


class API:
    """Calls a workspace the short way."""

    ENDPOINTS = "/api/2.0/serving-endpoints"

    def __init__(self, workspace: Workspace, clock: Clock) -> None:
        self.workspace = workspace
        self.clock = clock

    def send(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = AUTHORIZED
    ) -> Response:
        """One request; ``path`` is below the serving endpoints unless it begins with a slash."""
        full = path if path.startswith("/") else f"{self.ENDPOINTS}/{path}".rstrip("/")
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.workspace.handle(Request(method, full, {}, headers, data))

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer that has to be good."""
        response = self.send(method, path, body)
        assert response.status == 200, response.body
        assert isinstance(response.body, bytes)
        return json.loads(response.body)

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
        """Status, code and message of an answer that has to be a refusal."""
        response = self.send(method, path, body)
        assert isinstance(response.body, bytes)
        error = json.loads(response.body)
        assert response.status >= 400, error
        assert set(error) == {"error_code", "message"}
        assert response.headers["x-request-id"]
        return response.status, error["error_code"], error["message"]

    def create(self, name: str = "one", **sections: Any) -> Any:
        """Creates an endpoint and lets it go live; gives the answer of GET."""
        self.ok("POST", "", {"name": name, **sections})
        self.clock.pass_by(self.workspace.provisioning)
        return self.ok("GET", name)

    def listed(self, name: str) -> Any:
        """The endpoint's entry of LIST."""
        return next(entry for entry in self.ok("GET", "")["endpoints"] if entry["name"] == name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workspace(clock: Clock) -> Iterator[Workspace]:
    workspace = Workspace(clock=clock, provisioning=10.0)
    yield workspace
    workspace.close()


@pytest.fixture
def api(workspace: Workspace, clock: Clock) -> API:
    return API(workspace, clock)


def custom(*versions: str, **more: Any) -> dict[str, Any]:
    """A config of one custom model, or of several with equal shares."""
    versions = versions or ("3",)
    entities = [{"entity_name": "main.ml.ranker", "entity_version": version, **more} for version in versions]
    if len(versions) == 1:
        return {"served_entities": entities}
    routes = [
        {"served_entity_name": f"ranker-{version}", "traffic_percentage": 100 // len(versions)}
        for version in versions
    ]
    return {"served_entities": entities, "traffic_config": {"routes": routes}}


def external(model: str = "gpt-4o", task: str = "llm/v1/chat", **key: str) -> dict[str, Any]:
    """A config of one external model."""
    return {
        "served_entities": [
            {
                "external_model": {
                    "provider": "openai",
                    "name": model,
                    "task": task,
                    "openai_config": key or {"openai_api_key": "{{secrets/llm/openai}}"},
                }
            }
        ]
    }
