"""Target strings."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.emulator import WriteLimit, open_local
from reconciler.emulator.local import parse_duration, parse_write_limit
from reconciler.errors import UsageError


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = open_local()

    assert (tmp_path / ".reconciler" / "local.db").is_file()
    assert workspace.provisioning == 1.0
    assert workspace.write_limit is None
    assert workspace.latency == 0.0


@pytest.mark.parametrize("scheme", ["", "local:"])
def test_options(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "a" / "b c" / "w.db"
    workspace = open_local(
        f"{scheme}{path}?provisioning=2m&write_limit=50/5m&latency=40ms&user=robot@example.com"
    )

    assert path.is_file()
    assert workspace.provisioning == 120.0
    assert workspace.write_limit == WriteLimit(50, 300.0)
    assert workspace.latency == 0.04
    assert workspace.user == "robot@example.com"


def test_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert open_local("local::memory:?provisioning=0").provisioning == 0.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spec",
    ["x.db?latenzy=1s", "x.db?latency=fast", "x.db?latency=-1s", "x.db?write_limit=50", "x.db?provisioning="],
)
def test_what_is_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError) as caught:
        open_local(spec)
    assert caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="folder"):
        open_local(str(tmp_path / "file" / "w.db"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("40ms", 0.04), ("2s", 2.0), ("5m", 300.0), ("1.5s", 1.5), ("3", 3.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "/5m", "0/5m", "-1/5m", "a/5m", "5/0s", "5/x"])
def test_what_is_no_write_limit(text: str) -> None:
    with pytest.raises(UsageError):
        parse_write_limit(text)
