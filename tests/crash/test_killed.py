"""Killed at any moment: the next run converges, does nothing twice, loses nothing.

A real process is ended with SIGKILL at every boundary of every call of a plan of 20 steps: before its intent
is on record, before it is sent, after the server acted and before the answer arrives, and after the answer,
before its outcome is on record.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reconciler.engine.journal import read_run
from tests.crash.bench import Bench, bench

pytestmark = pytest.mark.crash

_APPLY = ("apply", "manifests", "-t", "databricks", "-y", "--allow-replace", "--max-changes", "100%")
_BOUNDARIES = ("intent", "before_send", "acted", "outcome")

_HEAD = "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {{name: {name}}}\nspec:\n{spec}"


def _custom(version: int) -> str:
    return (
        f'  config: {{served_entities: [{{name: m, entity_name: main.ml.r, entity_version: "{version}", '
        "workload_size: Small}]}\n"
    )


def manifests(second: bool) -> str:
    """Ten endpoints first; then twenty steps: updates of one to three calls, a replacement, creates."""
    specs: dict[str, str] = {}
    for at in range(4):
        specs[f"config-{at}"] = _custom(2 if second else 1)
    for at in range(3):
        limits = f"{{calls: {20 if second else 10}, renewal_period: minute}}"
        specs[f"gateway-{at}"] = (
            f"  tags: {{step: '{int(second)}'}}\n  ai_gateway: {{rate_limits: [{limits}]}}\n"
        )
    specs["everything"] = (
        _custom(2 if second else 1)
        + f"  tags: {{step: '{int(second)}'}}\n"
        + f"  permissions: [{{group_name: {'ops' if second else 'dev'}, permission_level: CAN_QUERY}}]\n"
    )
    specs["replaced"] = _custom(1) + f"  description: {'second' if second else 'first'}\n"
    specs["granted"] = (
        f"  permissions: [{{group_name: g, permission_level: CAN_{'MANAGE' if second else 'VIEW'}}}]\n"
    )
    if second:
        for at in range(8):
            specs[f"new-{at}"] = _custom(1) + "  tags: {a: b}\n"
        specs["new-granted"] = _custom(1) + "  permissions: [{group_name: new, permission_level: CAN_VIEW}]\n"
        specs["new-external"] = (
            "  config: {served_entities: [{name: gpt, external_model: {provider: openai, name: gpt-4o, "
            "task: llm/v1/chat, openai_config: {openai_api_key_plaintext: '${env:OPENAI_KEY}'}}}]}\n"
        )
    return "---\n".join(_HEAD.format(name=name, spec=spec) for name, spec in specs.items())


class Scene(NamedTuple):
    """Where every case begins, and what an undisturbed run makes of it."""

    bench: Bench
    saved: Path
    state: Any
    effects: Counter[tuple[str, str]]
    calls: int


def prepared(work: Path) -> None:
    (work / "manifests").mkdir(exist_ok=True)
    (work / "manifests" / "all.yaml").write_text(manifests(second=True))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with bench(tmp_path_factory.mktemp("crash")) as made:
        work = made.set_back(None)
        (work / "manifests").mkdir()
        (work / "manifests" / "all.yaml").write_text(manifests(second=False))
        code, told = made.run(work, *_APPLY)
        assert code == 0, told
        saved = made.folder / "saved.db"
        assert made.layer.inner is not None
        made.layer.inner.close()
        shutil.copy(work / "workspace.db", saved)

        work = made.set_back(saved)
        prepared(work)
        code, told = made.run(work, *_APPLY)
        assert code == 0, told
        (record,) = (work / ".reconciler" / "runs").glob("*.jsonl")
        run = read_run(record)
        assert len(run.header["plan"]["steps"]) == 20
        yield Scene(made, saved, made.state(), made.effects, len(run.calls))


@pytest.mark.parametrize("boundary", _BOUNDARIES)
def test_every_boundary_of_every_call(scene: Scene, boundary: str) -> None:
    assert scene.calls >= 26
    for number in range(1, scene.calls + 1):
        killed_and_run_again(scene, boundary, number, "--parallelism", "1")


@pytest.mark.parametrize("boundary", _BOUNDARIES)
def test_side_by_side(scene: Scene, boundary: str) -> None:
    """Eight at a time: what the others had in flight at that moment is lost with the process."""
    for number in range(2, scene.calls, 5):
        killed_and_run_again(scene, boundary, number, "--parallelism", "8")


def killed_and_run_again(scene: Scene, boundary: str, number: int, *more: str) -> None:
    here = f"{boundary} of call {number} {more}"
    work = scene.bench.set_back(scene.saved)
    prepared(work)

    code, told = scene.bench.run(work, *_APPLY, *more, boundary=boundary, number=number)
    assert code == -9, f"{here}: {told}"
    (record,) = (work / ".reconciler" / "runs").glob("*.jsonl")
    run = read_run(record)
    assert run.ending == "cut short", here
    in_doubt = [call for call in run.calls if call.is_in_doubt]
    assert len(in_doubt) <= int(more[1]), here
    if more[1] == "1":
        assert len(in_doubt) == (0 if boundary == "intent" else 1), here
        assert len(run.calls) == (number - 1 if boundary == "intent" else number), here

    code, told = scene.bench.run(work, *_APPLY)
    assert code == 0, f"{here}: {told}"
    assert "Converged" in told or "No changes" in told, here
    assert "the last run on this target did not end by itself" in told, here
    assert scene.bench.state() == scene.state, f"{here}: something was lost"
    assert scene.bench.effects == scene.effects, f"{here}: something was done twice, or not at all"
    for file in (work / ".reconciler").rglob("*"):
        assert not file.is_file() or b"canary" not in file.read_bytes(), file
    shutil.rmtree(work)
