"""A run's inverse: what it found is put back; what cannot come back is said."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from reconciler.engine.journal import Journal, read_run
from reconciler.engine.options import PlanOptions
from reconciler.engine.plan_file import masked_snapshot
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.rollback import Undo, skeletons, undo
from reconciler.engine.snapshot import read_snapshot, snapshot_to_json, with_grants
from reconciler.redact import Redactor
from reconciler.report.json import plan_json
from reconciler.values import Action, Plan, Resource, Secret, Snapshot
from tests.unit.engine.specs import specs
from tests.unit.engine.workbench import Bench, custom, endpoint

_GRANT = {"group_name": "g", "permission_level": "CAN_VIEW"}
_TAKEN = "2026-01-01T00:00:00Z"


class Recorded:
    """A bench whose applies are on record, and can be undone."""

    def __init__(self, folder: Path, provisioning: float = 0.0) -> None:
        self.folder = folder
        self.bench = Bench(provisioning=provisioning)
        self.count = 0

    def seen(self, *resources: Resource) -> Snapshot:
        return read_snapshot(self.bench.client, resources, target="t", taken_at=_TAKEN)

    def run(
        self, *desired: Resource, destroy: bool = False, cut: int | None = None, resend: bool = False
    ) -> Path:
        """Apply, on record. ``cut``: keep only so many lines of the record."""
        before = self.seen(*desired)
        plan = (
            plan_destroy(desired, before)
            if destroy
            else make_plan(desired, before, PlanOptions(resend=resend))
        )
        return self.carry_out(plan, desired, before, cut)

    def carry_out(self, plan: Plan, desired: Any, before: Snapshot, cut: int | None = None) -> Path:
        self.count += 1
        path = self.folder / f"run-{self.count}.jsonl"
        ended = [s.address for s in plan.steps if s.action in (Action.DELETE, Action.REPLACE)]
        before = with_grants(self.bench.client, before, ended)
        header = {"plan": plan_json(plan), "before": snapshot_to_json(before, salt="salt")}
        with Journal(path, header, Redactor()) as journal:
            applied = self.bench.apply(*desired, plan=plan, recorder=journal)
            assert all(not o.error for o in applied.outcomes), [o.error for o in applied.outcomes]
            after = snapshot_to_json(applied.after, salt="salt") if applied.after else None
            journal.end(applied.outcomes, converged=applied.converged, after=after)
        if cut is not None:
            path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:cut]))
        return path

    def undo(self, path: Path, *manifests: Resource) -> Undo:
        run = read_run(path)
        declared = {resource.address: resource for resource in manifests}
        touched = skeletons(run, declared)
        live = self.seen(*touched)
        return undo(run, touched, live, masked_snapshot(live, "salt"), declared, "run.jsonl")

    def roll_back(self, path: Path, *manifests: Resource) -> tuple[Undo, Path]:
        undone = self.undo(path, *manifests)
        now = self.seen(*undone.resources)
        back, away = make_plan(undone.restored, now), plan_destroy(undone.deleted, now)
        plan = Plan("t", (*back.steps, *away.steps))
        return undone, self.carry_out(plan, undone.resources, now)

    def state(self, name: str) -> Any:
        raw = dict(self.bench.by_hand.get_endpoint(name))
        grants = self.bench.by_hand.get_endpoint_permissions(raw["id"])["access_control_list"]
        kept = {
            n: v
            for n, v in raw.items()
            if n not in ("id", "endpoint_url", "data_plane_info") and "timestamp" not in n
        }
        config = kept.get("config")
        if config:
            kept["config"] = {n: v for n, v in config.items() if n != "config_version"}
            kept["config"]["served_entities"] = [
                {n: v for n, v in item.items() if "timestamp" not in n and n != "creation_timestamp"}
                for item in config["served_entities"]
            ]
            kept["config"].pop("served_models", None)
        return {**kept, "permissions": sorted(grants, key=str)}


@pytest.fixture
def desk(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


def test_changes_creates_and_deletes_are_undone(desk: Recorded) -> None:
    first = [
        endpoint(config=custom(), tags={"a": "1", "b": "2"}, ai_gateway={"rate_limits": []}),
        endpoint("gone", config=custom("7"), tags={"x": "y"}),
    ]
    desk.run(*first)
    before = desk.state("chat"), desk.state("gone")
    run = desk.run(
        endpoint(
            config=custom("2"),
            tags={"a": "9"},
            permissions=[{"group_name": "g", "permission_level": "CAN_VIEW"}],
        ),
        endpoint("new"),
    )
    desk.run(first[1], destroy=True)
    undone, again = desk.roll_back(run)
    assert undone.notes == ()
    assert desk.state("chat") == before[0]
    assert "Endpoint/new is gone already" in desk.undo(run).notes

    deleting = desk.folder / "run-3.jsonl"
    undone, _ = desk.roll_back(deleting)
    assert undone.notes == (
        "Endpoint/gone was deleted by that run: its id, its metrics and its logs do not come back",
    )
    assert desk.state("gone") == before[1]

    desk.roll_back(again)  # a rollback is a run like any other: undone in turn
    assert desk.state("chat")["config"]["served_entities"][0]["entity_version"] == "2"
    assert desk.state("new")


def test_only_what_the_run_changed_is_put_back(desk: Recorded) -> None:
    desk.run(endpoint(config=custom(), tags={"a": "1"}))
    run = desk.run(endpoint(config=custom(), tags={"a": "2"}))
    desk.bench.apply(endpoint(config=custom("5")))
    desk.roll_back(run)
    state = desk.state("chat")
    assert state["tags"] == [{"key": "a", "value": "1"}]
    assert state["config"]["served_entities"][0]["entity_version"] == "5"


def test_what_others_changed_since_is_said(desk: Recorded) -> None:
    desk.run(endpoint(tags={"a": "1"}))
    run = desk.run(endpoint(tags={"a": "2"}))
    assert desk.undo(run).notes == ()
    desk.bench.by_hand.update_endpoint_tags("chat", {"add_tags": [{"key": "who", "value": "me"}]})
    assert desk.undo(run).notes == ("Endpoint/chat was changed since that run: tags.who",)


def test_grants_that_were_not_read_at_the_end_of_a_run_are_no_change(desk: Recorded) -> None:
    desk.run(endpoint(config=custom(), route_optimized=False))
    run = desk.run(endpoint(config=custom(), route_optimized=True))
    assert [note for note in desk.undo(run).notes if "changed since" in note] == []


def test_what_is_another_one_is_left_alone(desk: Recorded) -> None:
    run = desk.run(endpoint(), endpoint("b"))
    desk.bench.by_hand.delete_endpoint("chat")
    desk.bench.apply(endpoint())
    undone, _ = desk.roll_back(run)
    assert [r.address.name for r in undone.resources] == ["b"]
    assert undone.notes == ("Endpoint/chat is another one than that run created, and is left alone",)
    assert desk.state("chat")
    updated = desk.run(endpoint(tags={"a": "2"}))
    desk.bench.by_hand.delete_endpoint("chat")
    assert desk.undo(updated) == Undo(notes=("Endpoint/chat was deleted since, and is left alone",))


def test_protection_outlives_the_run(desk: Recorded) -> None:
    run = desk.run(endpoint("kept", prevent_destroy=True))
    (resource,) = desk.undo(run).deleted
    assert plan_destroy([resource], desk.seen(resource)).steps[0].protected
    run = desk.run(endpoint("later"))
    (resource,) = desk.undo(run, endpoint("later", prevent_destroy=True)).deleted
    assert resource.lifecycle.prevent_destroy


def test_a_replacement_is_replaced_back(desk: Recorded) -> None:
    desk.run(endpoint(config=custom(), description="one", tags={"a": "1"}))
    before = desk.state("chat")
    run = desk.run(endpoint(config=custom("2"), description="two"))
    undone = desk.undo(run)
    (step,) = make_plan(undone.restored, desk.seen(*undone.restored)).steps
    assert step.action is Action.REPLACE
    desk.roll_back(run)
    assert desk.state("chat") == before


def test_a_run_that_was_cut_short_is_undone_as_far_as_it_went(desk: Recorded) -> None:
    desk.run(endpoint(tags={"a": "1"}), endpoint("b", tags={"a": "1"}))
    run = desk.run(endpoint(tags={"a": "2"}), endpoint("b", tags={"a": "2"}), endpoint("c"), cut=3)
    recorded = read_run(run)
    assert len(recorded.acted) <= 2, "an intent and its outcome, or two intents in doubt"
    undone, _ = desk.roll_back(run)
    assert {str(r.address) for r in undone.resources} == {str(call.address) for call in recorded.acted}


# ---- secrets -----------------------------------------------------------------------------------------------

_KEY = Secret("canary-key", "${env:KEY}")


def external(model: str, key: Any = _KEY) -> dict[str, Any]:
    return {
        "served_entities": [
            {
                "name": "m",
                "external_model": {
                    "provider": "openai",
                    "name": model,
                    "task": "llm/v1/chat",
                    "openai_config": {"openai_api_key_plaintext": key},
                },
            }
        ]
    }


def test_a_write_only_value_comes_from_the_manifest_or_the_section_stays(desk: Recorded) -> None:
    desk.run(endpoint(config=external("gpt-4o"), tags={"a": "1"}))
    run = desk.run(endpoint(config=external("gpt-5"), tags={"a": "2"}))
    path = "config.served_entities[m].external_model.openai_config.openai_api_key_plaintext"
    undone = desk.undo(run)
    assert undone.notes == (
        f"Endpoint/chat: config cannot be undone: no answer shows {path}, and no manifest at hand names it",
    )
    assert set(undone.restored[0].spec) == {"tags"}
    undone, _ = desk.roll_back(run, endpoint(config=external("gpt-5"), tags={"a": "2"}))
    assert undone.notes == ()
    assert desk.state("chat")["config"]["served_entities"][0]["external_model"]["name"] == "gpt-4o"
    assert "canary" not in run.read_text()


def test_a_resent_key_does_not_come_back(desk: Recorded) -> None:
    desk.run(endpoint(config=external("gpt-4o")))
    run = desk.run(endpoint(config=external("gpt-4o", Secret("other", "${env:KEY}"))), resend=True)
    (note,) = desk.undo(run, endpoint(config=external("gpt-4o"))).notes
    assert "openai_api_key_plaintext was never readable: it is lost" in note


def test_references_come_back_and_digests_only_where_they_can_be_filled(desk: Recorded) -> None:
    def variables(**named: str) -> Resource:
        return endpoint(config=custom(environment_vars=named))

    desk.run(variables(KEPT="canary-1", CHANGED="canary-2", REF="{{secrets/a/b}}"))
    run = desk.run(variables(KEPT="canary-1", CHANGED="canary-3", REF="{{secrets/c/d}}"))
    assert "canary" not in run.read_text()
    undone, _ = desk.roll_back(run)
    path = "config.served_entities[m].environment_vars.CHANGED"
    assert undone.notes == (f"Endpoint/chat: the old value of {path} is not on record: it stays as it is",)
    entity = desk.state("chat")["config"]["served_entities"][0]
    assert entity["environment_vars"] == {"KEPT": "canary-1", "CHANGED": "canary-3", "REF": "{{secrets/a/b}}"}
    undone, _ = desk.roll_back(run, variables(KEPT="canary-1", CHANGED="canary-2"))
    assert desk.state("chat")["config"]["served_entities"][0]["environment_vars"]["CHANGED"] == "canary-2"


# ---- any workspace -----------------------------------------------------------------------------------------


@settings(
    max_examples=int(os.environ.get("PROPERTY_CASES", "60")),
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(first=specs(), second=specs())
def test_rolling_back_any_change_gives_the_state_before(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, Any], second: dict[str, Any]
) -> None:
    desk = Recorded(tmp_path_factory.mktemp("runs"))
    make: Callable[..., Resource] = lambda **spec: endpoint("one", **{"tags": None, **spec})  # noqa: E731
    desk.run(make(**first))
    before = desk.state("one")
    run = desk.run(make(**second))
    if not read_run(run).calls:
        return
    # Somebody who undoes a run has its manifests reverted too: old secrets are filled in from there.
    undone, _ = desk.roll_back(run, make(**first))
    if any("cannot be taken away" in note for note in undone.notes):
        stays = ("config", "state", "endpoint_type", "task")  # a configuration, and what follows from it
        before |= {name: value for name, value in desk.state("one").items() if name in stays}
    assert _unordered(desk.state("one")) == _unordered(before), undone.notes


_SIZES = {(4, 4): "Small", (8, 16): "Medium", (16, 64): "Large"}
"""What the embedded workspace takes a size for."""


def _unordered(value: Any) -> Any:
    """A state without what means nothing: the order, what is empty, and the size of an entity where its
    concurrency says exactly the same (4 to 4 is Small, by either name): any other size counts."""
    if isinstance(value, list):
        return sorted((_unordered(v) for v in value), key=str)
    if isinstance(value, dict):
        named = _SIZES.get(
            (value.get("min_provisioned_concurrency"), value.get("max_provisioned_concurrency"))
        )
        return {
            k: _unordered(v)
            for k, v in value.items()
            if v not in ({}, [], None) and not (k == "workload_size" and v == named)
        }
    return value
