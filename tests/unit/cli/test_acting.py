"""What apply and destroy refuse, ask and put on record, seen from the command line."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import options
from reconciler.cli.main import main
from reconciler.engine import apply as apply_module
from reconciler.engine.lock import Holder, locked, user_folder
from reconciler.targets import place_of

_LOCAL = ["--target", "local:w.db?provisioning=0s"]
_HEAD = (
    "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {name: %s}\n"
    "spec: {tags: {a: %s}, description: %s}\n"
)

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET", raising=False)
    (tmp_path / "manifests").mkdir()

    def write(count: int, tag: str = "x", description: str = "d") -> None:
        text = "---\n".join(_HEAD % (f"e{at}", tag, description) for at in range(count))
        (tmp_path / "manifests" / "all.yaml").write_text(text)

    return write


def answers(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(options, "is_interactive", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(said))


def test_too_many_changes_are_refused_and_the_flag_allows_them(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(12)
    assert main(["apply", "-y", *_LOCAL]) == 0
    write(12, tag="y")
    capsys.readouterr()
    assert main(["plan", *_LOCAL]) == 0
    assert "an apply of this plan is refused" in capsys.readouterr().err
    assert main(["apply", "-y", "-o", "json", *_LOCAL]) == 3
    streams = capsys.readouterr()
    assert json.loads(streams.out)["summary"]["update"] == 12, "the plan is the answer"
    assert "12 of 12 existing endpoints (100%)" in streams.err
    assert "--max-changes 12 allows it" in streams.err
    assert main(["apply", "-y", "--max-changes", "12", *_LOCAL]) == 0
    assert main(["apply", "-y", "--max-changes", "a few", *_LOCAL]) == 1


def test_the_project_file_sets_limits_and_the_command_line_goes_before_it(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(2)
    (tmp_path / "reconciler.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Project\nstack: s\nlimits: {max_changes: 1}\n"
    )
    assert main(["apply", "-y", *_LOCAL]) == 0
    write(2, tag="y")
    assert main(["apply", "-y", *_LOCAL]) == 3
    assert "the limit is 1" in capsys.readouterr().err
    assert main(["apply", "-y", "--max-changes", "50%", *_LOCAL]) == 0


def test_destroy_is_limited_only_when_it_is_told_to_be(write: Write) -> None:
    write(12)
    assert main(["apply", "-y", *_LOCAL]) == 0
    assert main(["destroy", "-y", "--max-deletes", "50%", *_LOCAL]) == 3
    assert main(["destroy", "-y", *_LOCAL]) == 0


def test_the_question_names_target_and_counts(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(2)
    answers(monkeypatch, "no\n")
    assert main(["apply", *_LOCAL]) == 1
    told = capsys.readouterr().err
    assert "2 to create on local (embedded workspace, w.db). Type yes to go on:" in told
    assert "nothing was changed" in told
    answers(monkeypatch, "yes\n")
    assert main(["apply", *_LOCAL]) == 0
    answers(monkeypatch, "")
    assert main(["destroy", *_LOCAL]) == 1
    assert "2 to delete (Endpoint/e0, Endpoint/e1) on local" in capsys.readouterr().err


def test_a_yes_allows_a_replacement_and_auto_approve_does_not(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(1)
    assert main(["apply", "-y", *_LOCAL]) == 0
    write(1, description="another")
    capsys.readouterr()
    assert main(["apply", "-y", *_LOCAL]) == 3
    assert "--allow-replace" in capsys.readouterr().err
    answers(monkeypatch, "yes\n")
    assert main(["apply", *_LOCAL]) == 0
    assert "1 to replace (Endpoint/e0)" in capsys.readouterr().err


def test_each_run_is_on_record(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(1)
    assert main(["history"]) == 0
    assert "no run is on record" in capsys.readouterr().out
    assert main(["apply", "-y", *_LOCAL]) == 0
    assert main(["apply", "-y", *_LOCAL]) == 0, "nothing to call: nothing to record"
    assert main(["destroy", "-y", *_LOCAL]) == 0
    capsys.readouterr()
    assert main(["history", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["command"], one["calls"], one["ended"]) for one in listed] == [
        ("destroy", 1, "converged"),
        ("apply", 1, "converged"),
    ]
    assert main(["history", "show", listed[1]["run"], "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["calls"][0]["client_method"] == "create_endpoint"
    assert shown["steps"] == {"Endpoint/e0": ["done", ""]}
    assert main(["history", "show", listed[0]["run"]]) == 0
    assert "DELETE /api/2.0/serving-endpoints/e0  done" in capsys.readouterr().out
    assert main(["history", "-n", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["history", "show", "1999"]) == 1


def test_the_record_may_be_elsewhere_or_nowhere(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(1)
    assert main(["apply", "-y", "--journal", "none", *_LOCAL]) == 0
    assert not (tmp_path / ".reconciler" / "runs").exists()
    assert main(["destroy", "-y", "--journal", "kept", *_LOCAL]) == 0
    assert len(list((tmp_path / "kept").iterdir())) == 1
    (tmp_path / "blocked").write_text("")
    assert main(["apply", "-y", "--journal", "blocked/runs", *_LOCAL]) == 1
    assert "--journal none" in capsys.readouterr().err
    assert main(["get", "e0", *_LOCAL]) == 1, "what cannot be recorded is not done"


def test_without_its_record_nothing_is_lost_but_the_record(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(2)
    assert main(["apply", "-y", *_LOCAL]) == 0
    shutil.rmtree(tmp_path / ".reconciler")
    assert main(["plan", "--detailed-exitcode", *_LOCAL]) == 0
    capsys.readouterr()
    assert main(["rollback", "-y"]) == 1
    assert "no run" in capsys.readouterr().err
    write(2, tag="y")
    assert main(["apply", "-y", *_LOCAL]) == 0
    assert main(["rollback", "-y"]) == 0
    write(2)
    assert main(["plan", "--detailed-exitcode", *_LOCAL]) == 0


def test_a_second_run_is_kept_apart(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(1)
    place = place_of(_LOCAL[1], None)
    with locked(user_folder(), place, "", Holder.me("reconciler apply", "2026-01-01T00:00:00Z")):
        assert main(["apply", "-y", *_LOCAL]) == 3
        said = " ".join(capsys.readouterr().err.split())
        assert f"another run works on local:{tmp_path.resolve()}/w.db" in said
        assert main(["plan", *_LOCAL]) == 0, "reading is free"
        assert main(["apply", "-y", "--break-lock", *_LOCAL]) == 0
        assert "lock broken" in capsys.readouterr().err


def test_runs_of_two_folders_on_one_target_are_kept_apart(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clones of a project, and another name for the same database."""
    write(1)
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "m.yaml").write_text(_HEAD % ("e0", "x", "d"))
    (clone / "same.db").symlink_to(tmp_path / "shared.db")
    target = "local:shared.db?provisioning=0s"
    assert main(["apply", "-y", "--target", target]) == 0

    inside: list[int] = []
    carry_out = apply_module.apply

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(apply_module, "apply", carry_out)
        monkeypatch.chdir(clone)
        inside.append(main(["apply", "-y", "m.yaml", "--target", "local:same.db?provisioning=0s"]))
        monkeypatch.chdir(tmp_path)
        return carry_out(*arguments, **named)

    monkeypatch.setattr(apply_module, "apply", meanwhile)
    assert main(["destroy", "-y", "--target", target]) == 0
    assert inside == [3]
    said = " ".join(capsys.readouterr().err.split())
    assert f"in {tmp_path}" in said, "the refusal says where the other run was started"
    assert not (tmp_path / ".reconciler" / "locks").exists()


def test_without_a_home_the_lock_is_kept_in_the_folder(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(1)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert main(["apply", "-y", *_LOCAL]) == 0
    said = capsys.readouterr().err
    assert "warning: no lock can be kept in" in said
    assert "runs of other folders on the same target are not noticed" in said
    assert list((tmp_path / ".reconciler" / "locks").iterdir())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("local:a.db", "local:./a.db?provisioning=0s", True),
        ("local", "local:.reconciler/local.db", True),
        ("local:a.db", "local:b.db", False),
    ],
)
def test_a_place_is_one_whatever_it_is_called(one: str, other: str, same: bool) -> None:
    assert (place_of(one, None) == place_of(other, None)) is same


def test_a_workspace_is_one_for_every_profile() -> None:
    class Client:
        host = "https://DBC-1.cloud.test/"

    assert (
        place_of("databricks", Client())
        == place_of("databricks://prod", Client())
        == "https://dbc-1.cloud.test"
    )
    assert place_of("http://127.0.0.1:5000", Client(), "./g.yaml").startswith("file:/")
