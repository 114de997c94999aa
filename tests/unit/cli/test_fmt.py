"""``reconciler fmt`` at the edge: what is written, what is told, which exit code."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from reconciler.cli import files
from reconciler.cli.main import main

_ORDERED = "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {name: e}\nspec: {tags: {a: b}}\n"
_MIXED = "kind: Endpoint\nspec: {tags: {a: b}}\nmetadata: {name: e}\napiVersion: reconciler/v1\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "a.yaml").write_text(_ORDERED)
    (tmp_path / "manifests" / "b.yaml").write_text(_MIXED)
    return tmp_path


def test_check_lists_and_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--check"]) == 1
    out, err = capsys.readouterr()
    assert out == "manifests/b.yaml\n"
    assert err == "1 of 2 files would change\n"
    assert (folder / "manifests" / "b.yaml").read_text() == _MIXED


def test_it_writes_and_then_has_nothing_to_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt"]) == 0
    assert capsys.readouterr().out == "manifests/b.yaml\n"
    assert (folder / "manifests" / "b.yaml").read_text() == _ORDERED
    assert main(["fmt", "--check"]) == 0
    assert main(["fmt"]) == 0
    assert capsys.readouterr().out == ""


def test_the_project_file_is_put_in_order_too(folder: Path) -> None:
    project = folder / "reconciler.yaml"
    project.write_text("stack: shop\nkind: Project\napiVersion: reconciler/v1\nmanifests: [manifests]\n")
    assert main(["fmt"]) == 0
    assert project.read_text().startswith("apiVersion: reconciler/v1\nkind: Project\nstack: shop\n")
    project.write_text("stack: shop\nkind: Project\napiVersion: reconciler/v1\n")
    assert main(["fmt", "--check", "reconciler.yaml"]) == 1


def test_overlays_of_every_environment_are_put_in_order_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "reconciler.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Project\nstack: shop\nmanifests: [manifests]\n"
        "environments:\n  dev: {overlays: [none-yet]}\n  prod: {overlays: [all.yaml, overlays]}\n"
        "  test: {overlays: [all.yaml, empty]}\n"
    )
    (folder / "empty").mkdir()
    (folder / "overlays").mkdir()
    (folder / "all.yaml").write_text("kind: Endpoint\nmetadata: {name: f}\napiVersion: reconciler/v1\n")
    (folder / "overlays" / "e.yaml").write_text("""\
spec:
  tags: {b: x, a: y}
  config:
    served_entities:
      # not here
      - $remove: true
        name: gone
      - entity_version: "2"
        name: main    # by its name
kind: Overlay
lifecycle: {prevent_destroy: true}
address: Endpoint/e
apiVersion: reconciler/v1
""")
    assert main(["fmt", "--check"]) == 1
    assert capsys.readouterr().out.split() == ["manifests/b.yaml", "all.yaml", "overlays/e.yaml"]
    assert main(["fmt"]) == 0
    assert (
        (folder / "overlays" / "e.yaml").read_text()
        == """\
apiVersion: reconciler/v1
kind: Overlay
address: Endpoint/e
lifecycle: {prevent_destroy: true}
spec:
  config:
    served_entities:
      # not here
      - name: gone
        $remove: true
      - name: main    # by its name
        entity_version: "2"
  tags: {b: x, a: y}
"""
    )
    assert main(["fmt", "--check"]) == 0


def test_a_broken_file_is_told_and_the_others_are_put_in_order(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "manifests" / "c.yaml").write_text("kind: [\n")
    assert main(["fmt"]) == 1
    out, err = capsys.readouterr()
    assert out == "manifests/b.yaml\n"
    assert "manifests/c.yaml:" in err
    assert (folder / "manifests" / "b.yaml").read_text() == _ORDERED
    assert (folder / "manifests" / "c.yaml").read_text() == "kind: [\n"


def test_stdin_goes_to_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(_MIXED.encode())))
    assert main(["fmt", "-"]) == 0
    assert capsys.readouterr().out == _ORDERED


def test_nothing_to_look_at_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "manifests").iterdir():
        path.unlink()
    (folder / "manifests").rmdir()
    assert main(["fmt"]) == 1
    assert "no manifests" in capsys.readouterr().err


# ---- files that are written whole -----------------------------------------------------------------------


def test_a_file_keeps_its_permissions_and_its_link(folder: Path) -> None:
    file, link = folder / "a", folder / "b"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    files.write_whole(link, "new\r\n")
    assert file.read_bytes() == b"new\r\n"
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "a"
    file.write_text("old")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_whole(file, "new")
    assert file.read_text() == "old"
    assert sorted(path.name for path in folder.iterdir()) == ["a", "manifests"]
