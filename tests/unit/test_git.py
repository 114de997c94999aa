"""The git module, in real repositories made by the tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.git import Repository
from reconciler.values import Source


class Repo:
    """A repository with two commits by two people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "-q", "-b", "main")
        (folder / "m").mkdir()
        self.write("m/a.yaml", "one\ntwo\nthree\n")
        self.commit("First", "Ada", "2026-01-02T23:30:00+0200")
        self.write("m/a.yaml", "one\n2\nthree\n")
        self.commit("Second: the middle", "Bob", "2026-02-03T01:00:00+0000")

    def git(self, *words: str, **environ: str) -> str:
        who = {
            f"GIT_{r}_{f}": v for r in ("AUTHOR", "COMMITTER") for f, v in (("NAME", "T"), ("EMAIL", "t@x"))
        }
        done = subprocess.run(
            ["git", *words],
            cwd=self.folder,
            env={**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null", **environ},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def commit(self, message: str, author: str, date: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message, GIT_AUTHOR_NAME=author, GIT_AUTHOR_DATE=date)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path)


def test_files_as_they_were_and_gone_afterwards(repo: Repo) -> None:
    with Repository(repo.folder).at("HEAD~1") as folder:
        assert (folder / "m" / "a.yaml").read_text() == "one\ntwo\nthree\n"
    assert not folder.exists()
    assert (repo.folder / "m" / "a.yaml").read_text() == "one\n2\nthree\n"


def test_links_that_lead_out_are_left_out(repo: Repo) -> None:
    (repo.folder / "out").symlink_to("/etc/passwd")
    (repo.folder / "up").symlink_to("../elsewhere")
    (repo.folder / "m" / "in.yaml").symlink_to("a.yaml")
    repo.commit("Links", "Eve", "2026-03-01T00:00:00+0000")
    with Repository(repo.folder).at("HEAD") as folder:
        assert not (folder / "out").is_symlink()
        assert not (folder / "up").is_symlink()
        assert (folder / "m" / "in.yaml").read_text() == "one\n2\nthree\n"


def test_who_last_set_a_line(repo: Repo) -> None:
    here = Repository(repo.folder)
    first, second = (here.last_set(Source("m/a.yaml", line)) for line in (1, 2))
    assert first is not None
    assert second is not None
    assert str(first).endswith("Ada, 2026-01-02: First")
    assert str(second) == f"{repo.git('rev-parse', 'HEAD')[:9]} Bob, 2026-02-03: Second: the middle"
    repo.write("m/a.yaml", "one\n2\nthree\nfour\n")
    assert str(Repository(repo.folder).last_set(Source("m/a.yaml", 4))) == "not committed yet"
    assert here.last_set(Source("m/a.yaml", 99)) is None
    assert here.last_set(Source("nowhere.yaml", 1)) is None
    repo.write("new.yaml", "one\n")
    assert str(here.last_set(Source("new.yaml", 1))) == "not committed yet"
    repo.git("add", "new.yaml")
    assert str(Repository(repo.folder).last_set(Source("new.yaml", 1))) == "not committed yet"
    repo.write(".gitignore", "kept-out.yaml\n")
    repo.write("kept-out.yaml", "one\n")
    assert here.last_set(Source("kept-out.yaml", 1)) is None


def test_what_changed_since(repo: Repo) -> None:
    here = Repository(repo.folder / "m")
    repo.write("m/b.yaml", "not added")
    repo.write("m/ünï codé.yaml", "x")
    names = {path.name for path in here.changed_since("HEAD~1")}
    assert names == {"a.yaml", "b.yaml", "ünï codé.yaml"}
    assert {path.name for path in here.changed_since("HEAD")} == {"b.yaml", "ünï codé.yaml"}


@pytest.mark.parametrize("revision", ["nope", "--upload-pack=touch x", "-x", "HEAD~99", ""])
def test_what_is_no_revision_is_told(repo: Repo, revision: str) -> None:
    with pytest.raises(UsageError, match="revision"):
        Repository(repo.folder).resolve(revision)


def test_outside_of_a_repository(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("plain")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    with pytest.raises(UsageError, match="not a git repository"):
        Repository(folder)


def test_without_git(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="not installed"):
        Repository(repo.folder)


def test_a_path_inside_and_outside(repo: Repo, tmp_path_factory: pytest.TempPathFactory) -> None:
    here = Repository(repo.folder / "m")
    assert here.inside(repo.folder / "m" / "a.yaml") == Path("m/a.yaml")
    with pytest.raises(UsageError, match="is not in the git repository"):
        here.inside(tmp_path_factory.mktemp("other"))


def test_a_revision_holds_what_releases_leave_out_and_nothing_too_large(repo: Repo) -> None:
    repo.write(".gitattributes", "m export-ignore\n")
    repo.write("large.bin", "x" * 70_000)
    repo.commit("Attributes", "Eve", "2026-03-01T00:00:00+0000")
    repo.git("sparse-checkout", "set", "--no-cone", "/.gitattributes")
    with Repository(repo.folder).at("HEAD") as folder:
        assert (folder / "m" / "a.yaml").read_text() == "one\n2\nthree\n"
        assert not (folder / "large.bin").exists()


def test_a_list_of_revisions_to_ignore_that_is_not_there(repo: Repo) -> None:
    repo.git("config", "blame.ignoreRevsFile", ".git-blame-ignore-revs")
    assert str(Repository(repo.folder).last_set(Source("m/a.yaml", 1))).endswith("Ada, 2026-01-02: First")
    repo.write("m/a.yaml", "one\n2\n  three\n")
    repo.commit("Indented", "Eve", "2026-03-01T00:00:00+0000")
    repo.write(".git-blame-ignore-revs", repo.git("rev-parse", "HEAD") + "\n")
    assert str(Repository(repo.folder).last_set(Source("m/a.yaml", 3))).endswith("Ada, 2026-01-02: First")


def test_a_shallow_clone_does_not_know_who_set_a_line(
    repo: Repo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("clone")
    repo.git("clone", "-q", "--depth", "1", f"file://{repo.folder}", str(folder))
    told = str(Repository(folder).last_set(Source("m/a.yaml", 1)))
    assert told.endswith(" or an earlier commit: the history of this shallow clone ends there")
    assert "Bob" not in told


def test_in_a_hook_of_another_work_tree(
    repo: Repo, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path_factory.mktemp("trees") / "tree"
    repo.git("worktree", "add", "-q", "--detach", str(tree))
    monkeypatch.setenv("GIT_DIR", str(repo.folder / ".git" / "worktrees" / "tree"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repo.folder / ".git" / "worktrees" / "tree" / "index.lock"))
    here = Repository(tree / "m")
    assert here.root == tree
    assert here.changed_since("HEAD~1") == {tree / "m" / "a.yaml"}
    assert here.changed_since("HEAD") == frozenset()


def test_a_repository_named_with_its_work_tree(
    repo: Repo, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path_factory.mktemp("kept") / "repository"
    (repo.folder / ".git").rename(kept)
    monkeypatch.chdir(repo.folder)
    monkeypatch.setenv("GIT_DIR", os.path.relpath(kept))
    monkeypatch.setenv("GIT_WORK_TREE", ".")
    assert Repository(repo.folder / "m").changed_since("HEAD~1") == {repo.folder / "m" / "a.yaml"}


def test_a_submodule_is_read_as_the_revision_has_it(
    repo: Repo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outer = Repo(tmp_path_factory.mktemp("outer"))
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo.folder), "sub")
    outer.commit("With a module", "Cat", "2026-04-01T00:00:00+0000")
    here, inner = Repository(outer.folder), outer.folder / "sub" / "m" / "a.yaml"
    assert here.changed_since("HEAD") == frozenset()
    assert str(here.last_set(Source("sub/m/a.yaml", 2))).endswith("Bob, 2026-02-03: Second: the middle")

    inner.write_text("one\n2\n3\n")
    assert here.changed_since("HEAD") == {inner}
    inner.unlink()
    subprocess.run(
        ["git", "-C", inner.parent, "-c", "user.name=Dan", "-c", "user.email=d@x", "commit", "-qam", "Gone"],
        check=True,
    )
    assert here.changed_since("HEAD") == {inner}
    assert "Gone" in str(here.last_touched(inner, "HEAD"))
    with here.at("HEAD") as folder:
        assert (folder / "sub" / "m" / "a.yaml").read_text() == "one\n2\nthree\n"
    assert here.changed_since("HEAD~1") == {outer.folder / ".gitmodules"}
