"""Two runs of one machine do not cross; a lock that was left behind is explained."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.engine.lock import Holder, LockedError, locked

_ME = Holder(os.getpid(), platform.node(), "2026-01-01T00:00:00Z", "reconciler apply (run r)")
_OTHER = """
import sys
from pathlib import Path
from reconciler.engine.lock import Holder, locked
with locked(Path(sys.argv[1]), "databricks", "shop", Holder.me("reconciler apply (run other)", "yesterday")):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_kept_out_and_told_who_is_in(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(LockedError) as caught, locked(tmp_path, "databricks", "shop", _ME):
        pass
    assert caught.value.exit_code == 3
    told = str(caught.value)
    assert f"process {other.pid} on {platform.node()}, reconciler apply (run other), since yesterday" in told
    assert "stack shop on databricks" in told
    assert "--break-lock" in told
    with locked(tmp_path, "databricks", "another", _ME), locked(tmp_path, "local", "shop", _ME):
        pass  # another stack and another target are free
    other.communicate("\n")
    with locked(tmp_path, "databricks", "shop", _ME):
        pass


def test_a_killed_holder_holds_nothing_and_is_told_of(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.send_signal(signal.SIGKILL)
    other.communicate()
    told: list[str] = []
    with locked(tmp_path, "databricks", "shop", _ME, tell=told.append):
        assert f"process {other.pid}" in told[0]
        assert "did not end by itself" in told[0]
    told.clear()
    with locked(tmp_path, "databricks", "shop", _ME, tell=told.append):
        assert told == [], "told once"


def test_a_lock_can_be_broken(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    told: list[str] = []
    with locked(tmp_path, "databricks", "shop", _ME, break_it=True, tell=told.append):
        holder = Holder(other.pid, platform.node(), "yesterday", "reconciler apply (run other)")
        assert told == [f"lock broken: it was held by {holder}"]
        other.communicate("\n")  # the other one ends meanwhile, and must not take our note away
        with (
            pytest.raises(LockedError, match=f"process {os.getpid()}"),
            locked(tmp_path, "databricks", "shop", _ME),
        ):
            pass


def test_a_holder_that_is_gone_is_said_to_be(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    """On file systems where the lock outlives its process."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    about = next(tmp_path.glob("*.json"))
    about.write_text(json.dumps({**json.loads(about.read_text()), "pid": gone.pid}))
    with (
        pytest.raises(LockedError, match="that process is gone"),
        locked(tmp_path, "databricks", "shop", _ME),
    ):
        pass
    about.write_text("garbage")
    with pytest.raises(LockedError, match="somebody"), locked(tmp_path, "databricks", "shop", _ME):
        pass
    other.communicate("\n")


def test_odd_names_make_safe_files(tmp_path: Path) -> None:
    with locked(tmp_path, "local:../../x/é\0\n", "", _ME):
        assert all(path.parent == tmp_path for path in tmp_path.rglob("*"))
