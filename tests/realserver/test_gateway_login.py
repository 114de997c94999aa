"""A tracking server with basic auth on: the login that MLflow's users have set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.realserver.tracking import Project, Tracking, tracking_server

_MANIFEST = """\
apiVersion: reconciler/v1
kind: GatewaySecret
metadata: {name: openai}
spec: {provider: openai, secret_value: {api_key: "${env:OPENAI_API_KEY}"}}
---
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {name: gpt}
spec: {secret: openai, provider: openai, model_name: gpt-4o}
---
apiVersion: reconciler/v1
kind: GatewayEndpoint
metadata: {name: chat}
spec: {models: [{model: gpt}]}
"""


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    with tracking_server(tmp_path_factory.mktemp("guarded"), basic_auth=True) as running:
        running.session.auth = ("admin", "not-the-default-one-9")
        yield running


def test_user_and_password_open_it_and_the_wrong_ones_are_told(guarded: Tracking, tmp_path: Path) -> None:
    project = Project(tmp_path, guarded.target)
    project.environment["OPENAI_API_KEY"] = "sk-canary-0123456789abcdef"
    project.write(_MANIFEST)
    text = project.run("plan", code=1)
    assert "401" in text
    project.environment |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "wrong-password"}
    text = project.run("plan", code=1)
    assert "401" in text
    assert "wrong-password" not in text
    project.environment["MLFLOW_TRACKING_PASSWORD"] = "not-the-default-one-9"
    project.apply()
    project.assert_nothing_to_do()
    assert guarded.one("secrets", "openai")["created_by"].startswith("reconciler:shop")
