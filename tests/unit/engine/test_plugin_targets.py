"""Deployments and endpoints of plugin targets, with a plugin that remembers what was asked of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.engine.apply import Applied, apply
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.snapshot import read_snapshot
from reconciler.errors import BadAnswer, ManifestError, PluginFailed, TargetError
from reconciler.plugin_target import PluginTarget
from reconciler.targets import for_target
from reconciler.values import (
    Action,
    Address,
    Lifecycle,
    Plan,
    Reason,
    Resource,
    Secret,
    Source,
    StepStatus,
)

_CANARY = "canary-4711"


class Shelf:
    """A plugin's client: it keeps what it gets, and tells less."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.before: Callable[[str], None] = lambda method: None
        self.after: Callable[[str], None] = lambda method: None

    def _write(self, method: str, name: str, told: dict[str, Any] | None) -> dict[str, Any]:
        self.calls.append((method, name))
        self.before(method)
        if told is None:
            self.kept.pop(name, None)
        else:
            self.kept[name] = {"name": name, "started": len(self.calls), **told}
        self.after(method)
        return self.kept.get(name, {})

    def create_deployment(
        self, name: str, model_uri: str, flavor: str | None = None, config: Any = None, endpoint: Any = None
    ) -> dict[str, Any]:
        if name in self.kept:
            raise ValueError(f"{name} exists")
        return self._write("create", name, self._told(config))

    def update_deployment(
        self, name: str, model_uri: Any = None, flavor: Any = None, config: Any = None, endpoint: Any = None
    ) -> dict[str, Any]:
        return self._write("update", name, self._told(config))

    @staticmethod
    def _told(config: dict[str, Any] | None) -> dict[str, Any]:
        return {"config": {k: v for k, v in (config or {}).items() if k != "untold"}}

    def delete_deployment(self, name: str, config: Any = None, endpoint: Any = None) -> None:
        self._write("delete", name, None)

    def list_deployments(self, endpoint: Any = None) -> list[dict[str, Any]]:
        self.calls.append(("list", ""))
        return [{"name": name} for name in self.kept]

    def get_deployment(self, name: str, endpoint: Any = None) -> dict[str, Any]:
        self.calls.append(("get", name))
        return self.kept[name]

    def create_endpoint(self, name: str, config: Any = None) -> dict[str, Any]:
        return self._write("create_endpoint", name, self._told(config))

    def update_endpoint(self, endpoint: str, config: Any = None) -> dict[str, Any]:
        return self._write("update_endpoint", endpoint, self._told(config))

    def delete_endpoint(self, endpoint: str) -> None:
        self._write("delete_endpoint", endpoint, None)

    list_endpoints = list_deployments
    get_endpoint = get_deployment


class Mapped:
    """An answer as an object, as mlflow's own are."""

    def dict(self) -> dict[str, Any]:
        return {"name": "a"}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def _deployment(name: str = "fraud", **config: Any) -> Resource:
    spec = {"model_uri": "models:/fraud/1", "config": config}
    return Resource(Address("Deployment", name), spec, Source("m.yaml", 1))


def _plan(shelf: Shelf, *wanted: Resource, destroy: bool = False, resend: bool = False) -> Plan:
    fitting = for_target("shelf:/", wanted)
    snapshot = read_snapshot(PluginTarget(shelf, "shelf:/"), fitting, target="shelf:/", taken_at="")
    return (
        plan_destroy(fitting, snapshot)
        if destroy
        else make_plan(fitting, snapshot, PlanOptions(resend=resend))
    )


def _apply(shelf: Shelf, *wanted: Resource, plan: Plan | None = None, destroy: bool = False) -> Applied:
    made = plan or _plan(shelf, *wanted, destroy=destroy)
    fitting = for_target("shelf:/", wanted)
    return apply(made, PluginTarget(shelf, "shelf:/"), fitting, taken_at=lambda: "")


def _writes(shelf: Shelf) -> list[tuple[str, str]]:
    return [call for call in shelf.calls if call[0] not in ("list", "get")]


def test_create_then_nothing_then_update_then_delete(shelf: Shelf) -> None:
    assert _apply(shelf, _deployment(replicas=1)).converged
    shelf.calls.clear()
    assert _plan(shelf, _deployment(replicas=1)).is_empty
    assert shelf.calls == [("list", ""), ("get", "fraud")]
    assert _apply(shelf, _deployment(replicas=2)).converged
    assert _apply(shelf, _deployment(replicas=2), destroy=True).converged
    assert _writes(shelf) == [("update", "fraud"), ("delete", "fraud")]
    assert shelf.kept == {}


def test_what_the_target_does_not_tell_is_named_and_sent_again_on_request(shelf: Shelf) -> None:
    wanted = _deployment(replicas=1, untold="x")
    _apply(shelf, wanted)

    plan = _plan(shelf, wanted)

    untold = {str(s.path) for s in plan.steps[0].skipped if s.reason is Reason.NOT_ECHOED}
    assert untold == {"model_uri", "config.untold"}
    assert any("config.untold" in note for note in plan.notes)
    again = _plan(shelf, wanted, resend=True)
    assert [c.operation for c in again.steps[0].calls] == ["update_deployment"]
    assert {str(c.path) for c in again.steps[0].changes} == untold


@pytest.mark.parametrize(
    ("mine", "told", "differs"),
    [
        (2, "2", False),
        (2, "3", True),
        (True, "true", False),
        (True, "False", True),
        (2, 2.0, False),
        ("a", "b", True),
        (2, "two", False),  # another shape: not comparable
        ({"a": 1}, "text", False),
        ({"a": 1}, {"a": 1}, False),
        ({"a": 1}, {"a": 2}, True),
    ],
)
def test_only_what_has_one_shape_is_compared(shelf: Shelf, mine: Any, told: Any, differs: bool) -> None:
    shelf.kept["fraud"] = {"name": "fraud", "config": {"key": told, "own": "the target's"}}

    step = _plan(shelf, _deployment(key=mine)).steps[0]

    assert (step.action is Action.UPDATE) is differs, step.changes


def test_times_in_an_answer_are_no_change_since_the_plan(shelf: Shelf) -> None:
    _apply(shelf, _deployment(replicas=1))
    plan = _plan(shelf, _deployment(replicas=2))
    shelf.kept["fraud"]["started"] = 99

    assert _apply(shelf, _deployment(replicas=2), plan=plan).converged


def test_changed_since_the_plan_is_refused(shelf: Shelf) -> None:
    _apply(shelf, _deployment(replicas=1))
    plan = _plan(shelf, _deployment(replicas=2))
    shelf.kept["fraud"]["config"] = {"replicas": 7}

    applied = _apply(shelf, _deployment(replicas=2), plan=plan)

    assert applied.outcomes[0].status is StepStatus.REFUSED
    assert _writes(shelf) == [("create", "fraud")]


def test_a_list_that_was_cut_hides_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        shelf.kept[f"other-{number}"] = {"name": f"other-{number}"}
    whole = shelf.list_deployments
    monkeypatch.setattr(shelf, "list_deployments", lambda endpoint=None: whole(endpoint)[:10])

    assert _apply(shelf, _deployment(replicas=1)).converged
    shelf.calls.clear()
    assert _plan(shelf, _deployment(replicas=1)).is_empty
    assert shelf.calls == [("list", ""), ("get", "fraud")]
    assert _apply(shelf, _deployment(replicas=2)).converged
    assert _apply(shelf, _deployment(replicas=2), destroy=True).converged
    assert _writes(shelf) == [("update", "fraud"), ("delete", "fraud")]


@pytest.mark.parametrize("count", [0, 9])
def test_a_short_list_is_whole(shelf: Shelf, count: int) -> None:
    shelf.kept |= {f"other-{number}": {"name": f"other-{number}"} for number in range(count)}
    assert _plan(shelf, _deployment(replicas=1)).steps[0].action is Action.CREATE
    assert shelf.calls == [("list", "")]


@pytest.mark.parametrize("method", ["create", "update", "delete"])
def test_a_plugin_that_fails_after_it_acted_is_settled_by_reading(shelf: Shelf, method: str) -> None:
    if method != "create":
        _apply(shelf, _deployment(replicas=1))
    shelf.calls.clear()

    def fail(done: str) -> None:
        raise RuntimeError("the answer got lost")

    shelf.after = fail

    applied = _apply(shelf, _deployment(replicas=2), destroy=method == "delete")

    assert applied.converged
    assert _writes(shelf) == [(method, "fraud")]


@pytest.mark.parametrize("method", ["create", "update"])
def test_a_plugin_that_fails_before_it_acts_is_not_asked_twice(shelf: Shelf, method: str) -> None:
    if method == "update":
        _apply(shelf, _deployment(replicas=1))
    shelf.calls.clear()

    def fail(begun: str) -> None:
        raise RuntimeError("no")

    shelf.before = fail

    applied = _apply(shelf, _deployment(replicas=2))

    assert applied.outcomes[0].status is StepStatus.FAILED
    assert not applied.converged
    assert _writes(shelf) == [(method, "fraud")]


def test_a_create_of_what_appeared_with_the_same_content_is_success(shelf: Shelf) -> None:
    plan = _plan(shelf, _deployment(replicas=1))
    shelf.kept["fraud"] = {"name": "fraud", "config": {"replicas": 1}}

    assert _apply(shelf, _deployment(replicas=1), plan=plan).converged


def test_secrets_are_revealed_to_the_plugin_and_to_nobody_else(shelf: Shelf) -> None:
    secret = Secret(_CANARY, "${env:KEY}")
    assert _apply(shelf, _deployment(key=secret, replicas=1)).converged
    assert shelf.kept["fraud"]["config"] == {"key": _CANARY, "replicas": 1}

    def fail(begun: str) -> None:
        raise RuntimeError(f"cannot use {_CANARY}")

    shelf.before = fail
    applied = _apply(shelf, _deployment(key=secret, replicas=2))
    assert "cannot use ***" in applied.outcomes[0].error
    assert _CANARY not in repr(applied.outcomes[0].error)


def test_a_secret_deep_inside_is_compared_by_its_value(shelf: Shelf) -> None:
    wanted = _deployment(env={"key": Secret(_CANARY, "${env:KEY}"), "mode": "a"})
    assert _apply(shelf, wanted).converged
    assert _plan(shelf, wanted).is_empty

    shelf.kept["fraud"]["config"]["env"] = {"key": "another", "mode": "b"}
    changes = _plan(shelf, wanted).steps[0].changes
    assert {str(c.path) for c in changes} == {"config.env.key", "config.env.mode"}
    assert _CANARY not in repr(changes)


def test_endpoints_of_a_plugin_are_endpoints_too(shelf: Shelf) -> None:
    wanted = Resource(Address("Endpoint", "e"), {"tags": {"a": "b"}, "untold": 1}, Source("m.yaml", 1))

    assert _apply(shelf, wanted).converged
    assert _plan(shelf, wanted).is_empty
    shelf.kept["e"]["config"]["tags"] = {"a": "by hand"}
    assert [str(c.path) for c in _plan(shelf, wanted).steps[0].changes] == ["tags.a"]
    assert _apply(shelf, wanted).converged
    assert _apply(shelf, wanted, destroy=True).converged
    assert _writes(shelf) == [("create_endpoint", "e"), ("update_endpoint", "e"), ("delete_endpoint", "e")]


def test_paths_of_a_plugins_endpoint_are_those_of_its_manifest(shelf: Shelf) -> None:
    wanted = Resource(
        Address("Endpoint", "e"),
        {"size": "S", "count": 2, "untold": 1},
        Source("m.yaml", 1),
        lifecycle=Lifecycle(ignore_changes=("count",)),
        positions={("size",): Source("m.yaml", 7)},
    )
    shelf.kept["e"] = {"name": "e", "config": {"size": "S", "count": 5}}
    step = _plan(shelf, wanted).steps[0]
    assert step.action is Action.NO_OP
    assert {str(s.path): s.reason for s in step.skipped} == {
        "count": Reason.IGNORED,
        "untold": Reason.NOT_ECHOED,
    }

    shelf.kept["e"]["config"]["size"] = "L"
    [change] = _plan(shelf, wanted).steps[0].changes
    assert (str(change.path), change.before, change.after) == ("size", "L", "S")
    assert str(change.source).startswith("m.yaml:7")
    _apply(shelf, wanted)
    assert shelf.kept["e"]["config"] == {"size": "S", "count": 5}


@pytest.mark.parametrize(
    ("ignored", "sent"),
    [
        ("config.replicas", {"replicas": 9, "env": {"a": "1"}, "kind": "new", "untold": 1}),
        ("config.env", {"replicas": 2, "env": {"a": "8"}, "kind": "new", "untold": 1}),
        ("config.untold", {"replicas": 2, "env": {"a": "1"}, "kind": "new", "untold": 1}),
    ],
)
def test_an_update_leaves_alone_what_is_ignored(shelf: Shelf, ignored: str, sent: dict[str, Any]) -> None:
    """An autoscaler's count is not set back by an update of something else."""
    wanted = replace(
        _deployment(replicas=2, env={"a": "1"}, kind="new", untold=1),
        lifecycle=Lifecycle(ignore_changes=(ignored,)),
    )
    told = {"replicas": "9", "env": {"a": "8", "b": "own"}, "kind": "old", "more": True}
    shelf.kept["fraud"] = {"name": "fraud", "config": told}

    [call] = _plan(shelf, wanted).steps[0].calls

    assert call.arguments["config"] == sent


def test_a_method_that_a_plugin_lacks_is_told() -> None:
    class Bare:
        def list_deployments(self) -> list[Any]:
            raise NotImplementedError("not here")

        def get_deployment(self, name: str) -> None:
            raise KeyError(name)

    target = PluginTarget(Bare(), "bare:/")
    with pytest.raises(TargetError, match="bare:/ does not offer list_deployments"):
        target.list_deployments()
    with pytest.raises(PluginFailed, match="KeyError"):
        target.get_deployment("x")
    with pytest.raises(AttributeError):
        target.something_else()


def test_a_kind_that_the_target_does_not_have_is_told_with_its_line() -> None:
    with pytest.raises(
        ManifestError, match=r"m\.yaml:1:1: kind: Deployment/fraud cannot live on target local"
    ):
        for_target("local", [_deployment()])
    with pytest.raises(ManifestError, match="it takes Model"):
        for_target("openai", [_deployment()])


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, []),
        ((), []),
        ({"deployments": [{"name": "a"}], "next_page_token": None}, [{"name": "a"}]),
        (iter([Mapped()]), [{"name": "a"}]),
        (5, "int"),
        ("a", "str"),
        (["a"], "str"),
        ([None], "NoneType"),
    ],
)
def test_a_list_of_another_shape_is_taken_or_named(told: Any, expected: Any) -> None:
    target = PluginTarget(SimpleNamespace(list_deployments=lambda: told), "odd:/x")
    if isinstance(expected, list):
        assert target.list_deployments() == expected
        return
    with pytest.raises(BadAnswer, match=f"list_deployments of the plugin gave {expected}") as caught:
        target.list_deployments()
    assert (caught.value.where, caught.value.fix) == ("odd:/x", "tell the plugin's authors")


@pytest.mark.parametrize("told", [None, "text", ["a"], object()])
def test_one_resource_of_another_shape_is_named(told: Any) -> None:
    target = PluginTarget(SimpleNamespace(get_endpoint=lambda name: told), "odd:/x")
    with pytest.raises(BadAnswer, match=r"get_endpoint of the plugin gave .* promises a dict"):
        target.get_endpoint("a")


def test_a_plugin_that_leaves_or_breaks_off_is_an_error_of_its_own() -> None:
    def leave(name: str) -> None:
        raise SystemExit(3)

    def parts() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    target = PluginTarget(SimpleNamespace(delete_endpoint=leave, predict_stream=parts), "odd:/x")
    with pytest.raises(PluginFailed, match="delete_endpoint failed: SystemExit: 3"):
        target.delete_endpoint("a")
    stream = target.predict_stream()
    assert next(stream) == 1
    with pytest.raises(PluginFailed, match="predict_stream failed: ValueError: no more"):
        next(stream)


def test_a_plugin_is_read_by_one_thread(shelf: Shelf) -> None:
    asked_by: set[int] = set()
    names = [f"d{i}" for i in range(5)]
    shelf.kept = {name: {"name": name, "config": {}} for name in names}
    read = shelf.get_deployment

    def get(name: str, endpoint: Any = None) -> dict[str, Any]:
        asked_by.add(threading.get_ident())
        return read(name, endpoint)

    shelf.get_deployment = get  # type: ignore[method-assign]
    assert len(_plan(shelf, *map(_deployment, names)).steps) == 5
    assert asked_by == {threading.get_ident()}


def test_what_a_plugin_prints_is_not_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    both = threading.Barrier(2, timeout=10)

    def chatty(name: str) -> dict[str, Any]:
        both.wait()
        print(f"looking for {name}")
        both.wait()
        return {"name": name}

    target = PluginTarget(SimpleNamespace(get_deployment=chatty), "odd:/x")
    threads = [threading.Thread(target=target.get_deployment, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("the answer")
    streams = capsys.readouterr()
    assert streams.out == "the answer\n"
    assert sorted(streams.err.splitlines()) == ["looking for a", "looking for b"]
