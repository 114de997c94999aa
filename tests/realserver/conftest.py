"""Real servers of MLflow on loopback. Leave them out with ``-m 'not realserver'``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.realserver.tracking import Project, Tracking, tracking_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.realserver)
            # One process of a parallel run takes all of them: one server is enough.
            item.add_marker(pytest.mark.xdist_group("realserver"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    pytest.importorskip("mlflow.server")
    with tracking_server(tmp_path_factory.mktemp("tracking")) as running:
        yield running


@pytest.fixture
def tracking(server: Tracking) -> Tracking:
    """The server, with nothing on it."""
    server.clear()
    return server


@pytest.fixture
def project(tracking: Tracking, tmp_path: Path) -> Project:
    made = Project(tmp_path, tracking.target)
    made.environment["OPENAI_API_KEY"] = "sk-canary-0123456789abcdef"
    made.environment["ANTHROPIC_API_KEY"] = "ak-canary-0123456789abcdef"
    return made
