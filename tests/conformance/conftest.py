"""The real clients against the emulator over HTTP. They are imported in fixtures: collecting stays quick."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator.testing import RunningEmulator, running

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.conformance)


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No client of this process reaches for another machine, by name or by number."""
    outside: list[str] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def is_near(host: Any) -> bool:
        return host in (None, "", "localhost", "::1") or str(host).startswith("127.")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_near(address[0]):
            outside.append(str(address))
            raise OSError(f"the tests do not go to {address}")
        connect(self, address)

    def guarded_look_up(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not is_near(name):
            outside.append(str(name))
            raise OSError(f"the tests do not look up {name}")
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield
    assert outside == []


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """One emulator for all; a rollout is over at the next read, so that no client waits."""
    with running(str(tmp_path_factory.mktemp("emulator") / "workspace.db")) as server:
        yield server


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"endpoint-{next(_numbers)}"


@pytest.fixture(scope="session")
def environment(emulator: RunningEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The variables by which users point both clients at a workspace; nothing else of this machine counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABRICKS_HOST", emulator.url)
        patch.setenv("DATABRICKS_TOKEN", "any-token")
        patch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path_factory.mktemp("home") / "databrickscfg"))
        for variable in ("DATABRICKS_CONFIG_PROFILE", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"):
            patch.delenv(variable, raising=False)
        yield


@pytest.fixture(scope="session")
def workspace_client(environment: None) -> Any:
    """``databricks.sdk.WorkspaceClient`` by DATABRICKS_HOST and DATABRICKS_TOKEN."""
    sdk = pytest.importorskip("databricks.sdk")
    return sdk.WorkspaceClient()


@pytest.fixture(scope="session")
def deploy_client(environment: None) -> Any:
    """``mlflow.deployments.get_deploy_client("databricks")``."""
    deployments = pytest.importorskip("mlflow.deployments")
    return deployments.get_deploy_client("databricks")
