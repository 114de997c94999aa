"""Asked to stop: once finishes the calls in flight and begins no more; twice stops now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.emulator.server import Running
from reconciler.emulator.wire import Request, Response
from reconciler.emulator.workspace import Workspace
from reconciler.engine.journal import read_run
from tests.crash.bench import Killing

_MANIFEST = "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {{name: e{at}}}\nspec: {{tags: {{a: b}}}}\n"


class Held:
    """A server whose writes are held until the test lets them go, and the program at work on it."""

    def __init__(self, folder: Path, layer: Killing | None = None) -> None:
        self.folder = folder
        self.layer = layer or Killing()
        self.layer.inner = Workspace(":memory:")
        self.layer.hold = threading.Event()
        self.server = Running(self.layer)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        (folder / "manifests").mkdir()
        text = "---\n".join(_MANIFEST.format(at=at) for at in range(6))
        (folder / "manifests" / "all.yaml").write_text(text)

    def start(self, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "reconciler", "apply", "-y", "-t", "databricks", *more],
            cwd=self.folder,
            env={**os.environ, "DATABRICKS_HOST": self.server.url, "DATABRICKS_TOKEN": "t"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until_told(self, process: subprocess.Popen[str], words: str) -> str:
        """What the program says until it says this."""
        assert process.stderr is not None
        told = ""
        for line in process.stderr:
            told += line
            if words in line:
                return told
        raise AssertionError(f"it never said {words!r}: {told}")

    def names(self) -> set[str]:
        return {name for what, name in self.layer.acted if what == "create"}

    def close(self) -> None:
        assert self.layer.hold is not None
        self.layer.hold.set()
        self.server.stop()
        self.thread.join(timeout=10)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    made = Held(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_finishes_what_is_in_flight_and_begins_no_more(held: Held, number: signal.Signals) -> None:
    process = held.start("--parallelism", "2")
    assert held.layer.arrived.wait(30)
    process.send_signal(number)
    held.until_told(process, "stopping: calls in flight are finished")
    assert held.layer.hold is not None
    held.layer.hold.set()
    out, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "not begun" in out
    assert "reconciler history show" in told
    done = held.names()
    assert 1 <= len(done) <= 2

    (record,) = (held.folder / ".reconciler" / "runs").glob("*.jsonl")
    run = read_run(record)
    assert {call.address.name for call in run.calls} == done
    assert all(call.outcome == "done" for call in run.calls), "nothing is in doubt"
    assert run.ending == "not converged"

    again = held.start()
    out, _ = again.communicate(timeout=30)
    assert again.returncode == 0, out
    assert held.names() == {f"e{at}" for at in range(6)}
    assert len(held.layer.acted) == 6, "nothing twice"


def test_twice_stops_now_however_long_a_call_takes(held: Held) -> None:
    process = held.start("--parallelism", "2")
    assert held.layer.arrived.wait(30)
    process.send_signal(signal.SIGINT)
    held.until_told(process, "stopping: calls in flight are finished")
    process.send_signal(signal.SIGINT)  # while the server holds its answer back
    _, told = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "stopped now; calls in flight:" in told
    assert "Traceback" not in told
    (record,) = (held.folder / ".reconciler" / "runs").glob("*.jsonl")
    run = read_run(record)
    assert run.ending == "cut short"
    assert any(call.is_in_doubt for call in run.calls)

    assert held.layer.hold is not None
    held.layer.hold.set()  # the server acts all the same, after the client is gone
    again = held.start()
    out, told = again.communicate(timeout=30)
    assert again.returncode == 0, out + told
    assert held.names() == {f"e{at}" for at in range(6)}
    assert len(held.layer.acted) == 6, "nothing twice"


def test_a_stop_while_waiting_for_the_budget_sends_nothing(held: Held) -> None:
    assert held.layer.hold is not None
    held.layer.hold.set()
    process = held.start("--write-limit", "2/10m")
    held.until_told(process, "the write budget of 2 calls in 10 min is used up")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert len(held.names()) == 2
    assert "4 not begun" in out
    assert "failed" not in out


class Waiting(Killing):
    """A workspace that answers no read until the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = threading.Event()
        self.answers = threading.Event()

    def handle(self, request: Request) -> Response:
        self.reading.set()
        self.answers.wait(30)
        return super().handle(request)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_before_anything_is_sent_it_ends_at_once_and_gives_its_lock_back(
    tmp_path: Path, number: signal.Signals
) -> None:
    layer = Waiting()
    held = Held(tmp_path, layer)
    assert layer.hold is not None
    layer.hold.set()  # it is reads that are held here
    try:
        process = held.start()
        assert layer.reading.wait(30)
        process.send_signal(number)
        out, told = process.communicate(timeout=10)
        assert process.returncode == 130, told
        assert "stopping: nothing was sent" in told
        assert "Traceback" not in out + told
        layer.answers.set()
        again = held.start()
        out, told = again.communicate(timeout=30)
        assert again.returncode == 0, out + told
        assert "did not end by itself" not in told
    finally:
        layer.answers.set()
        held.close()
