"""Which file of a gateway is meant, and what is said when none is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.cli.inputs import find_config
from reconciler.cli.main import main
from reconciler.errors import UsageError
from reconciler.manifest import load_project
from tests.unit.engine.test_file_gateway import PARTS, endpoint

GATEWAY = "http://127.0.0.1:9"
PROJECT = (
    f"apiVersion: reconciler/v1\nkind: Project\nstack: shop\ntarget: {GATEWAY}\nconfig_path: etc/g.yaml\n"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_GATEWAY_CONFIG", raising=False)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "m.yaml").write_text(PARTS + endpoint())
    return tmp_path


def test_the_option_then_the_project_then_mlflows_own_variable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "reconciler.yaml").write_text(PROJECT)
    project = load_project(folder / "reconciler.yaml")
    assert project.config_path == str(folder / "etc" / "g.yaml")
    monkeypatch.setenv("MLFLOW_GATEWAY_CONFIG", "/from/the/environment.yaml")
    assert find_config("given.yaml", GATEWAY, project) == "given.yaml"
    assert find_config(None, GATEWAY, project) == project.config_path
    assert find_config(None, GATEWAY, None) == "/from/the/environment.yaml"
    assert find_config(None, "local", project) == ""
    assert find_config(None, "mlflow-gateway+http://h", project) == ""
    with pytest.raises(UsageError, match="--config-path goes with a gateway that serves a file"):
        find_config("given.yaml", "databricks", project)


def test_a_plan_needs_neither_the_gateway_nor_its_keys(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "reconciler.yaml").write_text(PROJECT)
    (folder / "etc").mkdir()
    assert main(["plan", "-o", "json", "--detailed-exitcode"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"target: {GATEWAY} (file etc/g.yaml)\n")
    (step,) = json.loads(said.out)["steps"]
    (call,) = step["calls"]
    assert (call["method"], call["path"], call["shared"]) == ("WRITE", "etc/g.yaml", True)
    assert call["body"]["if_match"] == "absent"
    assert call["body"]["put"]["endpoints"][0]["model"]["config"] == {"openai_api_key": "$OPENAI_KEY"}
    assert not (folder / "etc" / "g.yaml").exists()


def test_without_a_file_the_gateway_is_read_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--target", GATEWAY, "manifests/m.yaml"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "environment variable OPENAI_KEY is not set" in said


def test_a_file_that_is_no_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "g.yaml").write_text("endpoints: 5\n")
    assert main(["plan", "--target", GATEWAY, "--config-path", "g.yaml"]) == 1
    said = capsys.readouterr().err
    assert "error: the gateway's file cannot be worked with\nwhere: g.yaml:1\nwhy: endpoints is no list" in (
        said.replace("       ", "").replace("why:   ", "why: ")
    )


def test_a_reviewed_plan_and_a_file_that_changed_beside_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "reconciler.yaml").write_text(PROJECT)
    (folder / "etc").mkdir()
    assert main(["apply", "--auto-approve", "--no-wait"]) == 0
    manifest = folder / "manifests" / "m.yaml"
    manifest.write_text(manifest.read_text().replace("model_name: gpt-4o", "model_name: gpt-5"))
    assert main(["plan", "--out", "p.json"]) == 0
    file = folder / "etc" / "g.yaml"
    file.write_text(file.read_text() + "# somebody's remark\n")
    capsys.readouterr()
    assert main(["apply", "p.json", "--no-wait"]) == 3
    assert "the live side changed: the file that holds it" in capsys.readouterr().err
    assert file.read_text().endswith("# somebody's remark\n")
