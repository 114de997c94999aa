"""JSON of files, within bounds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.engine import bounded
from reconciler.engine.bounded import MAX_DEPTH, loads, read_bounded


def test_what_is_deeper_than_any_file_of_ours_is_refused() -> None:
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert loads(deep) is not None
    for content in (b"[" + deep + b"]", b'{"a":' * 500 + b"1" + b"}" * 500, b"[" * 10**6):
        with pytest.raises(ValueError, match="nested more than 100 levels deep"):
            loads(content)


def test_a_small_file_of_many_values_is_refused_before_they_are_made(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"[" + b"[]," * 5_000_000 + b"[]]")
    with pytest.raises(ValueError, match="more than 750,000 values"):
        read_bounded(path)


def test_no_more_is_read_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGEST", 3 << 20)
    (tmp_path / "f").write_bytes(b" " * (4 << 20))
    with pytest.raises(ValueError, match="larger than 3 MB"):
        read_bounded(tmp_path / "f")
    with pytest.raises(ValueError, match="larger than 3 MB"):
        read_bounded(Path("/dev/zero"), pipes=True)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(ValueError, match="not a regular file"):
        read_bounded(tmp_path / "f")
