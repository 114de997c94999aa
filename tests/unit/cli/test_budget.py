"""The write budget at the command line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from reconciler.cli import budget, inputs
from reconciler.cli.budget import pacer_for, with_budget, with_note
from reconciler.cli.main import main
from reconciler.client.pacing import WritePacer
from reconciler.emulator.testing import running
from reconciler.errors import UsageError
from reconciler.manifest.document import Loaded
from reconciler.manifest.project import Project
from reconciler.values import Action, Address, Call, Plan, ProgressEvent, Source, Step
from tests.unit.cli.test_acting import Write, write

__all__ = ["write"]


def read(target: str, **limits: str) -> inputs.Input:
    project = Project("s", target, (), Path(), Source("reconciler.yaml", 1), limits=limits)
    return inputs.Input(Loaded(()), project, "s", target)


def plan_of(writes: int, deletes: int = 0) -> Plan:
    calls = [Call("x", {}, method, "/x") for method in ["PUT"] * writes + ["DELETE"] * deletes]
    return Plan("databricks", (Step(Address("Endpoint", "e"), Action.UPDATE, calls=tuple(calls)),))


def test_only_databricks_has_a_budget_that_nobody_wrote_down() -> None:
    pacer = pacer_for(read("databricks://prod"), None)
    assert pacer is not None
    assert (pacer.limit, pacer.window) == (50, 300)
    assert pacer_for(read("local"), None) is None
    assert pacer_for(read("openai"), "5/1s") is None
    assert pacer_for(read("databricks"), "none") is None


def test_the_command_line_goes_before_the_project_file() -> None:
    pacer = pacer_for(read("databricks", writes="20/1m"), None)
    assert pacer is not None
    assert (pacer.limit, pacer.window) == (20, 60)
    pacer = pacer_for(read("local", writes="20/1m"), "3/10s")
    assert pacer is not None
    assert (pacer.limit, pacer.window) == (3, 10)


@pytest.mark.parametrize("text", ["50", "/5m", "many/5m", "0/5m", "5/0s", "-1/5m", "5/soon", "٣/5m"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UsageError):
        pacer_for(read("databricks"), text)


def test_a_plan_says_how_long_it_takes_when_its_calls_do_not_pass_at_once() -> None:
    pacer = WritePacer(50, 300)
    assert with_note(plan_of(50, deletes=500), pacer).notes == ()
    pacer.recall([200.0] * 20)
    (note,) = with_note(plan_of(60), pacer).notes
    assert note == (
        "60 of its calls count against the workspace's budget of 50 writes in 5 min, of which 30 are left "
        "now: the apply takes at least 5 min"
    )
    assert with_note(plan_of(60), None).notes == ()


def test_progress_says_what_is_left() -> None:
    told: list[str] = []
    pacer = WritePacer(3, 300)
    pacer.acquire()
    tell = with_budget(lambda event: told.append(event.detail), pacer)
    address = Address("Endpoint", "e")
    tell(ProgressEvent(address, "calling", "PUT /x"))
    tell(ProgressEvent(address, "calling", "DELETE /x"))
    tell(ProgressEvent(address, "waiting", "updating"))
    assert told == ["PUT /x  (2 of 3 writes left)", "DELETE /x", "updating"]


def test_writes_wait_for_the_budget_and_say_so(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(3)
    monkeypatch.setattr(budget, "_TOLD_EVERY", 0.0)
    began = time.monotonic()
    assert main(["apply", "-y", "--write-limit", "2/1.2s", "--target", "local:w.db?provisioning=0s"]) == 0
    assert time.monotonic() - began >= 1.0
    told = capsys.readouterr()
    assert "3 of its calls count against the workspace's budget of 2 writes in 1 s" in told.out
    assert "the write budget of 2 calls in 1 s is used up: next in 1 s" in told.err
    assert "writes left)" in told.err


def test_the_server_never_has_to_refuse_and_the_next_run_remembers(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reconciler.emulator.workspace import WriteLimit

    with running(write_limit=WriteLimit(4, 1.0)) as server:
        monkeypatch.setenv("DATABRICKS_HOST", server.url)
        monkeypatch.setenv("DATABRICKS_TOKEN", "t")
        there = ["--target", "databricks"]
        write(4)
        assert main(["apply", "-y", "--write-limit", "4/2s", *there]) == 0
        write(6)
        capsys.readouterr()
        assert main(["plan", "-o", "json", "--write-limit", "4/5m", *there]) == 0
        (note,) = json.loads(capsys.readouterr().out)["notes"]
        assert "of which 0 are left now" in note
        assert main(["apply", "-y", "--write-limit", "4/2s", *there]) == 0
        assert server.count("POST") == 6, "no call was refused and repeated"
    capsys.readouterr()
