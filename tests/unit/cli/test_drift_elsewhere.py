"""Checks of drift where no timestamps are, of answers that are wrong, and side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from reconciler.cli.main import main
from tests.unit.cli.test_ownership import _PLUGIN
from tests.unit.client.test_plugins import install

_ENDPOINT = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: e}
spec: {tags: {a: b}}
"""
_MODEL = """\
apiVersion: reconciler/v1
kind: Model
metadata: {name: NAME}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_DEPLOYMENTS_TARGET", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_an_assertion_that_does_not_hold_is_drift(
    folder: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    monkeypatch.setenv("OPENAI_API_BASE", httpserver.url_for("/v1"))
    models = {"object": "list", "data": [{"id": "gpt-4o", "owned_by": "openai"}]}
    httpserver.expect_request("/v1/models", method="GET").respond_with_json(models)
    (folder / "m.yaml").write_text(_MODEL.replace("NAME", "gpt-4o"))
    words = ["drift", "m.yaml", "--target", "openai"]
    assert main(words) == 0
    (folder / "m.yaml").write_text(_MODEL.replace("NAME", "gpt-5"))
    assert main([*words, "--refresh", "fast", "-o", "json"]) == 2
    out = capsys.readouterr()
    assert "the lists of this target hold everything" in out.err
    found = json.loads(out.out[out.out.index("{") :])
    assert [(one["kind"], one["failure"][:14]) for one in found["drifted"]] == [
        ("assertion", "does not exist")
    ]
    assert found["refresh"]["mode"] == "full"
    assert main([*words, "--fail-on", "update"]) == 0


def test_a_plugins_target_is_read_in_full_and_that_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(folder, "toy", _PLUGIN)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "toy_toy", raising=False)
    document = {
        "apiVersion": "reconciler/v1",
        "kind": "Deployment",
        "metadata": {"name": "m"},
        "spec": {"model_uri": "models:/m/1", "config": {"size": 2}},
    }
    (folder / "m.yaml").write_text(json.dumps(document))
    words = ["m.yaml", "--target", "toy:/x", "--stack", "shop"]
    assert main(["apply", *words, "--auto-approve"]) == 0
    assert main(["drift", *words, "--refresh", "fast"]) == 0
    assert "a plugin tells no times of its target, so all of it was read" in capsys.readouterr().err
    sys.modules["toy_toy"].made["m"]["config"]["size"] = 3
    assert main(["drift", *words, "--refresh", "fast"]) == 2
    assert "3 → 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "e", "id": "1", "state": "READY", "last_updated_timestamp": 1},
        {"name": "e", "id": {"a": 1}, "tags": 5, "last_updated_timestamp": "soon"},
        {"name": "e", "last_updated_timestamp": 10**30, "state": []},
        {"name": "e"},
    ],
)
def test_answers_are_not_trusted(
    entry: Any, folder: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever LIST holds, the endpoint itself decides, and is read again the next time."""
    (folder / "e.yaml").write_text(_ENDPOINT)
    monkeypatch.setenv("DATABRICKS_HOST", httpserver.url_for("").rstrip("/"))
    monkeypatch.setenv("DATABRICKS_TOKEN", "x")
    detail = {"name": "e", "id": "1", "state": {}, "tags": [{"key": "a", "value": "c"}]}
    listed = httpserver.expect_request("/api/2.0/serving-endpoints", method="GET")
    listed.respond_with_json({"endpoints": [entry]})
    httpserver.expect_request("/api/2.0/serving-endpoints/e", method="GET").respond_with_json(detail)
    for _ in range(2):
        httpserver.clear_log()
        assert main(["drift", "e.yaml", "--target", "databricks", "--refresh", "fast"]) == 2
        assert len(httpserver.log) == 2


def test_checks_side_by_side_do_no_harm(folder: Path) -> None:
    (folder / "e.yaml").write_text(_ENDPOINT)
    words = [sys.executable, "-m", "reconciler"]
    target = ["e.yaml", "--target", "local:w.db?provisioning=0s"]
    subprocess.run([*words, "apply", *target, "--auto-approve"], check=True, capture_output=True, cwd=folder)
    checks = [
        subprocess.Popen(
            [*words, "drift", *target, "--refresh", "fast"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
        )
        for _ in range(4)
    ]
    told = [check.communicate()[0].decode() for check in checks]
    assert [check.returncode for check in checks] == [0] * 4
    assert all("No drift." in text for text in told)
    kept = sorted((folder / ".reconciler" / "drift").iterdir())
    assert [path.suffix for path in kept].count(".json") == 1
    assert all(json.loads(path.read_text()) for path in kept), (
        "each is whole, and nothing half is left behind"
    )


def test_the_target_is_named_before_what_is_wrong_with_a_term(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "e.yaml").write_text(_ENDPOINT)
    assert main(["drift", "e.yaml", "--target", "local:w.db", "--ignore", "Endpoint/x"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == "target: local:w.db"
