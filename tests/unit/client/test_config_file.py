"""A file is replaced as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.client.config_file import ABSENT, ConfigFile
from reconciler.errors import StaleError, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text("old")
    return path


def test_replaced_with_a_backup_and_put_back(path: Path) -> None:
    path.chmod(0o640)
    file = ConfigFile(str(path))
    text, digest = file.read()
    new = file.replace("new", digest)
    assert (path.read_text(), file.backup.read_text()) == ("new", "old")
    assert [p.stat().st_mode & 0o777 for p in (path, file.backup)] == [0o640, 0o640]
    assert file.read() == ("new", new)
    assert file.restore(text, digest, new) is True
    assert path.read_text() == "old"
    assert sorted(p.name for p in path.parent.iterdir()) == ["gateway.yaml", "gateway.yaml.reconciler.bak"]


def test_a_file_that_changed_meanwhile_is_left_alone(path: Path) -> None:
    file = ConfigFile(str(path))
    _, digest = file.read()
    path.write_text("somebody's")
    with pytest.raises(StaleError, match="the file changed since the plan; nothing was written"):
        file.replace("new", digest)
    assert path.read_text() == "somebody's"
    assert not file.backup.exists()
    assert file.restore("old", digest, digest) is False
    assert path.read_text() == "somebody's"


def test_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    file = ConfigFile(str(tmp_path / "g.yaml"))
    assert file.read() == ("", ABSENT)
    new = file.replace("new", ABSENT)
    assert file.real.read_text() == "new"
    assert not file.backup.exists()
    assert file.restore("", ABSENT, new) is True
    assert list(tmp_path.iterdir()) == []


def test_killed_before_the_renaming_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ConfigFile(str(path))
    _, digest = file.read()

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(ConfigFile, "clean", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            file.replace("new", digest)
    assert path.read_text() == "old"
    left = path.with_name(".gateway.yaml.reconciler.tmp")
    assert left.exists()
    file.replace("new", digest)  # the next run is not in its way
    assert path.read_text() == "new"
    assert not left.exists()


def test_what_a_link_leads_to_is_replaced_and_the_link_made_anew(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    link = folder / "link.yaml"
    link.symlink_to("../gateway.yaml")
    before = os.lstat(link).st_ino
    file = ConfigFile(str(link))
    file.replace("new", file.read()[1])
    assert path.read_text() == "new"
    assert not path.is_symlink()
    assert os.readlink(link) == "../gateway.yaml"  # noqa: PTH115
    assert os.lstat(link).st_ino != before  # the gateway watches the link's folder
    assert [p.name for p in folder.iterdir()] == ["link.yaml"]


@pytest.mark.skipif(not hasattr(os, "fchown"), reason="no owners here")
def test_an_owner_that_cannot_be_kept_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: Path, **options: bool) -> os.stat_result:
        found = list(os.stat(str(self), **options))  # noqa: PTH116
        found[4] += 1
        return os.stat_result(found)

    def refused(*arguments: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    file = ConfigFile(str(path))
    _, digest = file.read()
    monkeypatch.setattr(Path, "stat", other)
    monkeypatch.setattr(os, "fchown", refused)
    with pytest.raises(UsageError, match="cannot be written: Operation not permitted"):
        file.replace("new", digest)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["gateway.yaml"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda p: p.write_bytes(b"\xff"), "it is not UTF-8"),
        (lambda p: p.mkdir(), "Is a directory"),
        (lambda p: os.mkfifo(p), "it is no regular file"),
        (lambda p: None, None),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, make: object, why: str | None) -> None:
    path = tmp_path / "g.yaml"
    make(path)  # type: ignore[operator]
    if why is None:
        with pytest.raises(UsageError) as caught:
            ConfigFile(str(tmp_path / "none" / "g.yaml")).read()
        assert caught.value.why == "its folder does not exist"
        return
    with pytest.raises(UsageError) as caught:
        ConfigFile(str(path)).read()
    assert caught.value.why == why
