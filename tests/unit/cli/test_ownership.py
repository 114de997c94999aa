"""Whose a deployment is: marked where a plugin keeps tags, checked before each change, else told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import main
from tests.unit.client.test_plugins import install

_PLUGIN = """
from reconciler.client import BaseDeploymentClient
made, sent = {}, []
class Toy(BaseDeploymentClient):
    keeps_tags = True
    def _put(self, how, name, config):
        sent.append((how, name, config))
        config = dict(config or {})
        tags = {"tags": config.pop("tags")} if "tags" in config else {}
        made[name] = {"name": name, "config": {**config, **tags}}
        return made[name]
    def create_deployment(self, name, model_uri, flavor=None, config=None, endpoint=None):
        return self._put("create", name, config)
    def update_deployment(self, name, model_uri=None, flavor=None, config=None, endpoint=None):
        return self._put("update", name, config)
    def delete_deployment(self, name, config=None, endpoint=None):
        sent.append(("delete", name, None))
        made.pop(name, None)
    def list_deployments(self, endpoint=None): return list(made.values())
    def get_deployment(self, name, endpoint=None): return made[name]
    def predict(self, deployment_name=None, inputs=None, endpoint=None): ...
    def create_endpoint(self, name, config=None): return self._put("create", name, config)
    def update_endpoint(self, endpoint, config=None): return self._put("update", endpoint, config)
    def delete_endpoint(self, endpoint): return self.delete_deployment(endpoint)
    list_endpoints = list_deployments
    get_endpoint = get_deployment
def run_local(name, model_uri, flavor=None, config=None): ...
def target_help(): ...
"""
_BESIDE = _PLUGIN.replace('"config": {**config, **tags}}', '"config": config, **tags}')
_TELLS_NONE = _PLUGIN.replace("keeps_tags = True", "").replace("{**config, **tags}", "config")
_ECHOES = _PLUGIN.replace("keeps_tags = True", "")
_TAG = "reconciler.stack"
Run = Callable[..., tuple[int, str, str]]


class Toy:
    """The plugin's memory and our program, on manifests of one deployment or endpoint."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    @property
    def module(self) -> Any:
        return sys.modules["toy_toy"]

    def write(self, kind: str = "Deployment", **config: Any) -> None:
        spec = {"model_uri": "models:/m/1", "config": config} if kind == "Deployment" else config
        about = {"name": "m", **({"allow_unknown_fields": True} if kind == "Endpoint" else {})}
        document = {"apiVersion": "reconciler/v1", "kind": kind, "metadata": about, "spec": spec}
        (self.folder / "m.yaml").write_text(json.dumps(document))

    def run(self, command: str, *words: str, stack: str = "shop") -> tuple[int, str, str]:
        named = ["--stack", stack] if stack else []
        sure = ["--auto-approve"] if command != "plan" else ["--detailed-exitcode"]
        code = main([command, "m.yaml", "--target", "toy:/x", *sure, *named, *words])
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture
def toy(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Toy:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toy_toy", raising=False)
    install(tmp_path, "toy", getattr(request, "param", _PLUGIN))
    return Toy(tmp_path, capsys)


@pytest.mark.parametrize("kind", ["Deployment", "Endpoint"])
@pytest.mark.parametrize("toy", [_PLUGIN, _BESIDE], indirect=True, ids=["in config", "beside config"])
def test_the_marker_is_written_shown_and_no_drift(toy: Toy, kind: str) -> None:
    toy.write(kind, replicas=1)
    code, out, _ = toy.run("plan", "-v")
    assert code == 2
    assert f'"{_TAG}": "shop"' in out, "the plan shows what is sent"

    assert toy.run("apply")[0] == 0
    assert toy.module.sent == [("create", "m", {"replicas": 1, "tags": {_TAG: "shop"}})]
    assert toy.run("plan")[0] == 0

    # Tags that the manifest does not write are not its affair: neither drift, nor lost in an update.
    tags = toy.module.made["m"].get("tags") or toy.module.made["m"]["config"]["tags"]
    tags["by"] = "hand"
    assert toy.run("plan")[0] == 0
    toy.write(kind, replicas=2)
    assert toy.run("apply")[0] == 0
    assert toy.module.sent[1:] == [("update", "m", {"replicas": 2, "tags": {"by": "hand", _TAG: "shop"}})]
    # Those that it writes are: all of them.
    toy.write(kind, replicas=2, tags={"team": "x"})
    assert toy.run("apply")[0] == 0
    assert toy.module.sent[-1] == ("update", "m", {"replicas": 2, "tags": {"team": "x", _TAG: "shop"}})
    assert toy.run("plan")[0] == 0
    assert toy.run("destroy")[0] == 0
    assert toy.module.made == {}


@pytest.mark.parametrize(
    "toy", [_PLUGIN, _BESIDE, _ECHOES], indirect=True, ids=["in", "beside", "undeclared"]
)
@pytest.mark.parametrize("kind", ["Deployment", "Endpoint"])
@pytest.mark.parametrize("stack", ["other", ""])
def test_what_another_stack_owns_is_refused(toy: Toy, kind: str, stack: str) -> None:
    toy.write(kind, replicas=1, tags={"by": "hand"})
    assert toy.run("apply", stack="")[0] == 0
    made = toy.module.made["m"]
    (made.get("tags") or made["config"]["tags"])[_TAG] = "shop"
    toy.write(kind, replicas=2)
    for command in ("plan", "apply", "destroy"):
        code, _, err = toy.run(command, stack=stack)
        assert code == 3, (command, err)
        assert f"{kind}/m belongs to " in err
        assert "stack shop" in err.replace("the stack 'shop'", "stack shop")
        told = err.replace("this run is for the stack 'other'", "this is stack other")
        assert ("this is stack other" if stack else "this run names no stack") in told
    assert [how for how, *_ in toy.module.sent] == ["create"]


@pytest.mark.parametrize("toy", [_PLUGIN, _BESIDE], indirect=True, ids=["in", "beside"])
@pytest.mark.parametrize("kind", ["Deployment", "Endpoint"])
def test_one_without_a_marker_is_taken_over_when_that_is_said(toy: Toy, kind: str) -> None:
    toy.write(kind, replicas=1, tags={"by": "hand"})
    assert toy.run("apply", stack="")[0] == 0
    sent = {"replicas": 1, "tags": {"by": "hand"}}
    assert toy.module.sent == [("create", "m", sent)], "no stack, no marker"
    code, out, _ = toy.run("plan")
    assert code == 0
    assert "was not made by this stack; as declared, and left alone: --adopt takes it" in out
    toy.write(kind, replicas=2, tags={"by": "hand"})
    for command in ("plan", "apply", "destroy"):
        code, out, err = toy.run(command)
        assert code == 3
        assert "--adopt takes it over" in err
    assert len(toy.module.sent) == 1
    code, out, _ = toy.run("plan", "--adopt")
    assert code == 2
    assert f"= {kind}/m will be adopted" in out
    where = "config." if kind == "Deployment" else ""
    assert f'+ {where}tags["reconciler.stack"]: ' in out
    assert toy.run("apply", "--adopt")[0] == 0
    assert toy.module.sent[1:] == [("update", "m", {"replicas": 2, "tags": {"by": "hand", _TAG: "shop"}})]
    assert toy.run("plan")[0] == 0


def test_a_marker_that_changes_after_the_plan_stops_the_apply(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.write(replicas=1)
    assert toy.run("apply")[0] == 0
    toy.write(replicas=2)
    read = toy.module.Toy.get_deployment
    times: list[int] = []

    def taken(self: Any, name: str, endpoint: Any = None) -> Any:
        times.append(1)
        if len(times) == 2:  # the guard's read
            toy.module.made["m"]["config"]["tags"] = {_TAG: "other"}
        return read(self, name)

    monkeypatch.setattr(toy.module.Toy, "get_deployment", taken)
    code, out, _ = toy.run("apply")
    assert code == 3
    assert "it changed since the plan: config" in out
    assert [how for how, *_ in toy.module.sent] == ["create"]


@pytest.mark.parametrize("toy", [_TELLS_NONE], indirect=True)
def test_where_no_marker_is_kept_nothing_is_sent_and_the_plan_says_so(toy: Toy) -> None:
    toy.write(replicas=1)
    assert toy.run("apply")[0] == 0
    assert toy.module.sent == [("create", "m", {"replicas": 1})]
    toy.write(replicas=2)
    for command in ("plan", "destroy"):
        _, out, _ = toy.run(command)
        assert "the target keeps no marker of ownership" in out


def test_a_saved_snapshot_gives_the_same_plan(toy: Toy) -> None:
    toy.write(replicas=1)
    toy.run("apply")
    for replicas, expected in ((1, 0), (2, 2)):
        toy.write(replicas=replicas)
        code, now, _ = toy.run("plan", "--save-snapshot", "s.json", "-v")
        assert code == expected
        words = ["plan", "m.yaml", "--snapshot", "s.json", "--stack", "shop", "--detailed-exitcode", "-v"]
        assert main(words) == expected
        assert toy._capsys.readouterr().out == now
