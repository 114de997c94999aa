"""The project file."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import ManifestError
from reconciler.manifest import Project, find_project, load_project
from reconciler.values import Source

_HEAD = "apiVersion: reconciler/v1\nkind: Project\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("reconciler.yaml")


def _rules(path: Path, text: str) -> list[tuple[int, str]]:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError) as caught:
        load_project(path)
    return [(problem.line, problem.rule) for problem in caught.value.problems]


def test_a_project_says_stack_target_and_manifests(file: Path) -> None:
    file.write_text(
        f"{_HEAD}stack: ml\ntarget: databricks://prod\nmanifests: [endpoints, ../shared/a.yaml]\n"
    )
    assert load_project(file) == Project(
        stack="ml",
        target="databricks://prod",
        manifests=("endpoints", "../shared/a.yaml"),
        root=Path(),
        source=Source("reconciler.yaml", 1, 1),
    )


def test_manifests_are_relative_to_the_file(file: Path) -> None:
    folder = Path("infra")
    folder.mkdir()
    (folder / "p.yaml").write_text(f"{_HEAD}stack: ml\nmanifests: [endpoints]\n")
    project = load_project(folder / "p.yaml")
    assert project.manifests == ("infra/endpoints",)
    assert project.root == folder


def test_limits_are_kept_as_they_are_written(file: Path) -> None:
    file.write_text(f"{_HEAD}stack: ml\nlimits: {{max_deletes: 10%, max_changes: 20, writes: 40/5m}}\n")
    assert load_project(file).limits == {"max_deletes": "10%", "max_changes": "20", "writes": "40/5m"}


def test_only_the_stack_is_needed(file: Path) -> None:
    file.write_text(f"{_HEAD}stack: ml\n")
    project = load_project(file)
    assert (project.target, project.manifests) == ("", ())


def test_values_may_come_from_the_environment(file: Path) -> None:
    file.write_text(f"{_HEAD}stack: ml\ntarget: databricks://${{env:STAGE}}\n")
    assert load_project(file, environ={"STAGE": "prod"}).target == "databricks://prod"
    with pytest.raises(ManifestError, match="STAGE is not set"):
        load_project(file)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", [(0, "not-a-manifest")]),
        ("- x\n", [(1, "not-a-manifest")]),
        ("[", [(2, "yaml-syntax")]),
        (f"{_HEAD}stack: a\n---\nx: 1\n", [(5, "not-a-manifest")]),
        ("kind: Project\n", [(1, "missing-field"), (1, "missing-field")]),
        ("apiVersion: reconciler/v1\nkind: Endpoint\n", [(2, "unknown-kind")]),
        (
            f"{_HEAD}stack: a b\ntargt: x\nmanifests: x\n",
            [(3, "wrong-format"), (4, "unknown-field"), (5, "wrong-type")],
        ),
        (f"{_HEAD}stack: a\nstack: b\nmanifests: []\n", [(4, "duplicate-key"), (5, "too-few")]),
        (
            f"{_HEAD}stack: a\nlimits: {{max_deletes: many, writes: 50, most: 1}}\n",
            [(4, "wrong-format"), (4, "wrong-type"), (4, "unknown-field")],
        ),
        (f"{_HEAD}stack: a\nmanifests: ['', 5]\n", [(4, "wrong-length"), (4, "wrong-type")]),
    ],
)
def test_all_problems_of_a_project_file_are_told(file: Path, text: str, told: list[tuple[int, str]]) -> None:
    assert _rules(file, text) == told


def test_a_project_file_that_is_not_there_is_told(file: Path) -> None:
    with pytest.raises(ManifestError, match="no such project file"):
        load_project(Path("gone.yaml"))
    Path("folder.yaml").mkdir()
    with pytest.raises(ManifestError, match="not a regular file"):
        load_project(Path("folder.yaml"))


def test_the_project_file_is_found_in_the_folder_itself_only(file: Path, tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    assert find_project(tmp_path) is None
    file.write_text("")
    assert find_project(tmp_path) == tmp_path / "reconciler.yaml"
    assert find_project(below) is None
