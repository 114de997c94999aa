"""``reconciler rollback`` at the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reconciler.cli.main import main
from tests.unit.cli.test_acting import _LOCAL, Write, write

__all__ = ["write"]


def tags(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, str]:
    capsys.readouterr()
    assert main(["get", name, "-o", "json", *_LOCAL]) == 0
    return {tag["key"]: tag["value"] for tag in json.loads(capsys.readouterr().out)["tags"]}


def newest(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["history", "-n", "1", "-o", "json"]) == 0
    return str(json.loads(capsys.readouterr().out)[0]["run"])


def test_the_last_run_is_undone_and_that_in_turn(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write(2)
    assert main(["apply", "-y", *_LOCAL]) == 0
    write(3, tag="y")
    assert main(["apply", "-y", *_LOCAL]) == 0
    run = newest(capsys)

    assert main(["rollback", "--dry-run"]) == 0
    told = capsys.readouterr()
    assert "tags.a: y → x" in told.out
    assert "- Endpoint/e2 will be deleted" in told.out
    assert f"undoing {run}: apply" in told.err
    assert tags(capsys, "e0") == {"a": "y"}, "nothing was done"

    assert main(["rollback"]) == 3, "nobody to ask"
    assert "1 to delete (Endpoint/e2)" in capsys.readouterr().err
    assert main(["rollback", "-y", "--receipt", "r.json"]) == 0
    assert tags(capsys, "e0") == {"a": "x"}
    assert main(["get", "e2", *_LOCAL]) == 1
    receipt = json.loads(Path("r.json").read_text())
    assert (receipt["command"], receipt["rollback_of"], receipt["converged"]) == ("rollback", run, True)
    assert newest(capsys) != run

    assert main(["rollback", "-y"]) == 0, "the rollback is a run"
    assert tags(capsys, "e0") == {"a": "y"}
    assert tags(capsys, "e2") == {"a": "y"}

    assert main(["rollback", run, "-y"]) == 0
    capsys.readouterr()
    assert main(["rollback", run, "-y", "-o", "json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["plan"]["totals"]["write_calls"] == 0, "undone already"


def test_a_rollback_is_refused_as_any_apply_is(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write(12)
    assert main(["apply", "-y", *_LOCAL]) == 0
    assert main(["rollback", "-y"]) == 3
    assert "12 of 12 existing endpoints (100%) would be deleted" in capsys.readouterr().err
    text = Path("manifests/all.yaml").read_text()
    Path("manifests/all.yaml").write_text(text.replace("spec:", "lifecycle: {prevent_destroy: true}\nspec:"))
    assert main(["rollback", "-y", "--max-deletes", "12"]) == 3
    assert "is protected, and would be deleted" in " ".join(capsys.readouterr().err.split())
    Path("manifests/all.yaml").write_text(text)
    assert main(["rollback", "-y", "--max-deletes", "12", "--max-changes", "12"]) == 0


def test_a_destroy_is_undone_and_what_is_lost_is_said(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(1)
    assert main(["apply", "-y", *_LOCAL]) == 0
    assert main(["destroy", "-y", *_LOCAL]) == 0
    capsys.readouterr()
    assert main(["rollback", "-y"]) == 0
    assert "its id, its metrics and its logs do not come back" in capsys.readouterr().out
    assert tags(capsys, "e0") == {"a": "x"}


def test_manifests_that_cannot_be_read_cost_only_their_secrets(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(1)
    assert main(["apply", "-y", *_LOCAL]) == 0
    write(1, tag="y")
    assert main(["apply", "-y", *_LOCAL]) == 0
    Path("manifests/all.yaml").write_text("nonsense: 1")
    assert main(["rollback", "-y"]) == 0
    assert "no write-only value can be sent again" in capsys.readouterr().err
    Path("manifests/all.yaml").unlink()
    assert main(["rollback", "-y"]) == 0
    assert tags(capsys, "e0") == {"a": "y"}


def test_what_there_is_no_record_of(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write(1)
    assert main(["rollback"]) == 1
    assert "there is no run to undo" in capsys.readouterr().err
    assert main(["apply", "-y", *_LOCAL]) == 0
    assert main(["rollback", "1999"]) == 1
    assert main(["rollback", "--journal", "none"]) == 1
    run = newest(capsys)
    file = Path(".reconciler/runs") / f"{run}.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0])
    assert main(["rollback", run]) == 1
    assert "made no call" in capsys.readouterr().err
    garbled = lines[0].replace('"host": "http://local.workspace"', '"host": "https://elsewhere"')
    file.write_text(garbled + "".join(lines[1:]))
    assert main(["rollback", run]) == 3
    assert "the run was made on https://elsewhere" in capsys.readouterr().err
    file.write_text(
        lines[0].replace('"before": {', '"before": {"format_version": "7", "x": {') + "".join(lines[1:])
    )
    assert main(["rollback", run]) == 1


def test_another_run_is_not_undone_in_place_of_the_last(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(1)
    assert main(["apply", "-y", *_LOCAL]) == 0
    run = newest(capsys)
    last = tmp_path / ".reconciler" / "runs" / "20990101T000000.000Z-ffff.jsonl"
    last.write_text('{"record": "run", "format_version": "2.0"}\n')
    assert main(["rollback", "-y"]) == 1
    told = capsys.readouterr().err
    assert "its format 2.0 is not known here" in told
    assert "name the one to undo" in told
    last.write_text('{"record": "ru')
    assert main(["rollback", "--dry-run"]) == 0, "it was killed before its first call"
    assert f"undoing {run}" in capsys.readouterr().err


def test_a_record_that_is_a_pipe_is_not_waited_for(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(1)
    assert main(["apply", "-y", *_LOCAL]) == 0
    os.mkfifo(tmp_path / ".reconciler" / "runs" / "20990101T000000.000Z-ffff.jsonl")
    assert main(["history"]) == 0
    assert "it is not a regular file" in capsys.readouterr().out


def test_help_says_what_cannot_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollback", "--help"]) == 0
    assert "The manifests are not changed" in " ".join(capsys.readouterr().out.split())


def test_a_run_that_wrote_a_gateways_file_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reconciler import targets
    from reconciler.client.file_gateway import FileGatewayClient
    from tests.unit.engine.file_gateway import TARGET, FakeGateway
    from tests.unit.engine.test_file_gateway import PARTS, endpoint

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_KEY", "sk-canary-0123456789")
    config = tmp_path / "gateway.yaml"
    config.write_text("endpoints: []\n")
    gateway = FakeGateway(config)
    monkeypatch.setattr(
        targets, "connect", lambda *_, **named: FileGatewayClient(TARGET, str(config), adapter=gateway)
    )
    head = "apiVersion: reconciler/v1\nkind: Project\nstack: shop\n"
    (tmp_path / "reconciler.yaml").write_text(f"{head}target: {TARGET}\nconfig_path: gateway.yaml\n")
    (tmp_path / "manifests").mkdir()
    manifest = tmp_path / "manifests" / "m.yaml"

    manifest.write_text(PARTS + endpoint("[{model: big}]"))
    assert main(["apply", "-y"]) == 0
    first = config.read_text()
    manifest.write_text(PARTS + endpoint("[{model: big, weight: 3}, {model: small}]"))
    assert main(["apply", "-y"]) == 0
    assert main(["rollback", "-y"]) == 0, capsys.readouterr().err
    manifest.write_text(PARTS + endpoint("[{model: big}]"))
    assert main(["plan", "--detailed-exitcode"]) == 0
    assert config.read_text().startswith(first)  # an empty list of routes stays

    assert main(["destroy", "-y"]) == 0
    assert main(["rollback", "-y"]) == 0, capsys.readouterr().err
    assert main(["plan", "--detailed-exitcode"]) == 0
    capsys.readouterr()
    (tmp_path / "reconciler.yaml").write_text(head)
    assert main(["rollback", "-y"]) == 1
    assert "which one it is is not said" in " ".join(capsys.readouterr().err.split())
