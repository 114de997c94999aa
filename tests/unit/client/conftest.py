"""Every test begins with an empty environment, a clock that stands still and a server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.client.auth import Token
from reconciler.client.http import HttpSession
from tests.unit.client.wire import CANARY, Clock, Server


@pytest.fixture(autouse=True)
def _nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("HOST", "TOKEN", "CLIENT_ID", "CLIENT_SECRET", "AUTH_TYPE", "CONFIG_PROFILE", "CONFIG_FILE"):
        monkeypatch.delenv(f"DATABRICKS_{name}", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "MLFLOW_DEPLOYMENTS_TARGET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def session(server: Server, clock: Clock) -> Iterator[HttpSession]:
    session = HttpSession(
        server.url, credentials=Token(CANARY), sleep=clock.sleep, now=clock.now, chance=lambda: 0.0
    )
    yield session
    session.close()
