"""Runs on gateways and plugins are undone, too, as far as their answers can be written again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.journal import Journal, read_run
from reconciler.engine.options import PlanOptions
from reconciler.engine.plan_file import masked_snapshot
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.redeploying import file_spec
from reconciler.engine.rollback import Undo, skeletons, undo
from reconciler.engine.snapshot import read_snapshot, snapshot_to_json
from reconciler.kinds.file_endpoint import HIDDEN
from reconciler.plugin_target import PluginTarget
from reconciler.redact import Redactor
from reconciler.report.json import plan_json
from reconciler.targets import DEFAULT_STACK, for_target
from reconciler.values import Plan, Resource, Secret, Snapshot
from tests.unit.engine.file_gateway import Bench
from tests.unit.engine.gateway import Gateway, resource
from tests.unit.engine.test_file_gateway import PARTS, endpoint
from tests.unit.engine.test_plugin_targets import Shelf

_SHOP = PlanOptions(stack="shop")
_VALUE = {"api_key": Secret("sk-new-0123456789", "${env:KEY}")}


def seen(client: Any, desired: Sequence[Resource], *, deleting: bool = False) -> Snapshot:
    return read_snapshot(client, desired, target="t", taken_at="now", deleting=deleting)


def on_record(path: Path, plan: Plan, before: Snapshot) -> None:
    """A run that did all of its plan, as its journal tells it."""
    acting = {step.address for step in plan.steps if step.calls}
    kept = Snapshot("t", "now", {a: live for a, live in before.resources.items() if a in acting})
    header = {"plan": plan_json(plan), "before": snapshot_to_json(kept, salt="salt")}
    with Journal(path, header, Redactor()) as journal:
        for step in plan.steps:
            for call in step.calls:
                journal.outcome(journal.intent(step.address, call), None, {})


class Run:
    """A plan that is put on record; what it did is done to the gateway by hand."""

    def __init__(
        self, path: Path, gateway: Any, *desired: Resource, destroy: bool = False, adopt: bool = False
    ) -> None:
        self.path, self.gateway = path, gateway
        before = seen(gateway, desired, deleting=destroy)
        options = PlanOptions(stack="shop", adopt=adopt)
        plan = plan_destroy(desired, before, options) if destroy else make_plan(desired, before, options)
        assert not plan.is_empty
        on_record(path, plan, before)

    def undo(self, *manifests: Resource) -> tuple[Undo, Plan]:
        run = read_run(self.path)
        declared = {one.address: one for one in manifests}
        touched = for_target("mlflow-gateway+http://127.0.0.1:1", skeletons(run, declared), stack="shop")
        live = seen(self.gateway, touched, deleting=True)
        found = undo(run, touched, live, masked_snapshot(live, "salt"), declared, "run.jsonl")
        restored = for_target("mlflow-gateway+http://127.0.0.1:1", found.restored, stack="shop")
        now = seen(self.gateway, restored, deleting=True)
        return found, make_plan(restored, now, _SHOP)


def calls(plan: Plan) -> list[tuple[str, Mapping[str, Any]]]:
    return [(call.operation, call.body) for step in plan.steps for call in step.calls]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run-1.jsonl"


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.secret("openai")
    made.model("big", "s-openai", model_name="gpt-4o")
    made.model("small", "s-openai", model_name="gpt-4o-mini")
    return made


# -- a tracking server's gateway --------------------------------------------------------------------------


def test_a_model_gets_its_name_at_the_provider_back(gateway: Gateway, path: Path) -> None:
    spec = {"secret": "openai", "provider": "openai", "model_name": "gpt-5"}
    run = Run(path, gateway, resource("GatewayModel/big", spec))
    gateway.models[0]["model_name"] = "gpt-5"
    undone, plan = run.undo()
    assert not undone.notes
    assert [(c.path, c.before, c.after) for c in plan.steps[0].changes] == [
        (("model_name",), "gpt-5", "gpt-4o")
    ]
    assert calls(plan) == [
        (
            "update_gateway_model_definition",
            {"model_definition_id": "d-big", "model_name": "gpt-4o", "updated_by": "reconciler:shop"},
        )
    ]


def test_weights_fallbacks_and_tags_of_an_endpoint_come_back(gateway: Gateway, path: Path) -> None:
    gateway.endpoint("chat", "d-big", "d-small")
    chat = gateway.endpoints[0]
    before = [dict(mapping) for mapping in chat["model_mappings"]]
    for mapping, weight in zip(before, (0.8, 0.2), strict=True):
        mapping["weight"] = weight
    chat["model_mappings"] = before
    chat["tags"] = [*chat["tags"], {"key": "team", "value": "a"}]
    wanted = {
        "models": [{"model": "big", "weight": 0.5}],
        "fallbacks": ["small"],
        "tags": {"team": "b", "tier": "gold"},
        "usage_tracking": True,
    }
    run = Run(path, gateway, resource("GatewayEndpoint/chat", wanted))
    chat["model_mappings"] = [
        {**before[0], "weight": 0.5},
        gateway.mapping("d-small", "FALLBACK", 1),
    ]
    chat["tags"] = [chat["tags"][0], {"key": "team", "value": "b"}, {"key": "tier", "value": "gold"}]
    undone, plan = run.undo()
    assert not undone.notes
    made = dict(calls(plan))
    configs = made["update_gateway_endpoint"]["model_configs"]
    assert [(c["model_definition_id"], c["linkage_type"], c.get("weight")) for c in configs] == [
        ("d-big", "PRIMARY", 0.8),
        ("d-small", "PRIMARY", 0.2),
    ]
    assert made["set_gateway_endpoint_tag"] == {"endpoint_id": "e-chat", "key": "team", "value": "a"}
    assert made["delete_gateway_endpoint_tag"] == {"endpoint_id": "e-chat", "key": "tier"}
    assert len(calls(plan)) == 3


def test_what_the_run_did_not_change_is_left_alone(gateway: Gateway, path: Path) -> None:
    gateway.endpoint("chat", "d-big")
    run = Run(
        path, gateway, resource("GatewayEndpoint/chat", {"models": [{"model": "big"}], "tags": {"team": "a"}})
    )
    gateway.endpoints[0]["tags"].append({"key": "team", "value": "a"})
    gateway.endpoints[0]["model_mappings"] = [gateway.mapping("d-small")]  # somebody, since
    _, plan = run.undo()
    assert calls(plan) == [("delete_gateway_endpoint_tag", {"endpoint_id": "e-chat", "key": "team"})]


def test_a_budget_is_found_without_its_manifest(gateway: Gateway, path: Path) -> None:
    gateway.endpoint("chat", "d-big")
    gateway.budget("ENDPOINT", "e-chat", by="reconciler:shop")
    spec = {
        "budget_amount": 500,
        "budget_action": "REJECT",
        "target_scope": "ENDPOINT",
        "target_value": "chat",
        "duration": {"unit": "DAYS", "value": 1},
    }
    run = Run(path, gateway, resource("GatewayBudget/daily", spec))
    gateway.budgets[0] |= {"budget_amount": 500.0, "budget_action": "REJECT"}
    undone, plan = run.undo()
    assert not undone.notes
    body = {"budget_amount": 100.0, "budget_action": "ALERT", "updated_by": "reconciler:shop"}
    assert calls(plan) == [("update_gateway_budget_policy", {"budget_policy_id": "bp-0", **body})]


def test_a_guardrail_is_swapped_back(gateway: Gateway, path: Path) -> None:
    gateway.endpoint("chat", "d-big")
    for scorer in ("pii", "other"):
        gateway.scorer(scorer)
    gateway.guardrail("no-pii")
    gateway.guard("e-chat", "gr-no-pii", 1)
    spec = {"scorer": "other", "stage": "BEFORE", "action": "VALIDATION"}
    run = Run(path, gateway, resource("GatewayGuardrail/no-pii", spec))
    gateway.guardrails[0]["scorer"] = {
        "experiment_id": 2,
        "scorer_name": "other",
        "scorer_version": 1,
        "scorer_id": "sc-other",
    }
    undone, plan = run.undo()
    assert undone.notes == ("GatewayGuardrail/no-pii was deleted by that run: its id does not come back",)
    assert [name for name, _ in calls(plan)] == [
        "create_gateway_guardrail",
        "add_guardrail_to_endpoint",
        "remove_guardrail_from_endpoint",
        "delete_gateway_guardrail",
    ]
    assert calls(plan)[0][1]["scorer_id"] == "sc-2-pii"


def _destroyed(gateway: Gateway, path: Path) -> tuple[Run, list[Resource]]:
    gateway.endpoint("chat", "d-big")
    gateway.models.pop(1)
    manifests = [
        resource("GatewaySecret/openai", {"provider": "openai", "secret_value": _VALUE}),
        resource("GatewayModel/big", {"secret": "openai", "provider": "openai", "model_name": "gpt-4o"}),
        resource("GatewayEndpoint/chat", {"models": [{"model": "big"}]}),
    ]
    run = Run(path, gateway, *manifests, destroy=True)
    for items in (gateway.secrets, gateway.models, gateway.endpoints):
        items.clear()
    return run, manifests


def test_what_was_deleted_comes_back_with_the_secret_that_the_manifest_names(
    gateway: Gateway, path: Path
) -> None:
    run, manifests = _destroyed(gateway, path)
    undone, plan = run.undo(*manifests)
    assert {note.partition(" ")[0] for note in undone.notes} == {
        "GatewaySecret/openai",
        "GatewayModel/big",
        "GatewayEndpoint/chat",
    }
    made = dict(calls(plan))
    assert set(made) >= {
        "create_gateway_secret",
        "create_gateway_model_definition",
        "create_gateway_endpoint",
    }
    assert made["create_gateway_secret"]["secret_value"]["api_key"].reveal() == "sk-new-0123456789"
    order = {step.address.kind: step.depends_on for step in plan.steps}
    assert [a.kind for a in order["GatewayEndpoint"]] == ["GatewayModel"]
    assert [a.kind for a in order["GatewayModel"]] == ["GatewaySecret"]


def test_without_its_secret_nothing_that_needs_it_comes_back(gateway: Gateway, path: Path) -> None:
    run, _ = _destroyed(gateway, path)
    undone, plan = run.undo()
    assert plan.is_empty
    notes = "\n".join(undone.notes)
    assert "GatewaySecret/openai cannot come back: no answer shows secret_value, and no manifest" in notes
    assert "GatewayModel/big cannot be undone: it needs GatewaySecret/openai, which is gone" in notes
    assert "GatewayEndpoint/chat cannot be undone: it needs GatewayModel/big, which is gone" in notes


def test_a_rotated_secret_is_lost_and_keeps_the_seal_of_what_was_sent(gateway: Gateway, path: Path) -> None:
    spec = {
        "provider": "openai",
        "secret_value": _VALUE,
        "auth_config": {"api_base": "https://new.test"},
    }
    gateway.secrets[0]["auth_config"] = {"api_base": "https://old.test"}
    run = Run(path, gateway, resource("GatewaySecret/openai", spec))
    gateway.secrets[0] |= {
        "auth_config": {"api_base": "https://new.test"},
        "last_updated_by": "reconciler:shop seal:abcdefgh.0123",
    }
    undone, plan = run.undo()
    assert undone.notes == (
        "GatewaySecret/openai: the old value of secret_value was never readable: it is lost",
    )
    [(name, body)] = calls(plan)
    assert name == "update_gateway_secret"
    assert body["auth_config"] == {"api_base": "https://old.test"}
    assert "secret_value" not in body
    assert body["updated_by"] == "reconciler:shop seal:abcdefgh.0123"


def test_what_was_adopted_stays_ours(gateway: Gateway, path: Path) -> None:
    gateway.endpoint("theirs", "d-big", by="root")
    spec = {"models": [{"model": "big"}], "tags": {"team": "a"}}
    run = Run(path, gateway, resource("GatewayEndpoint/theirs", spec), adopt=True)
    gateway.endpoints[0]["tags"] = [
        {"key": "reconciler.stack", "value": "shop"},
        {"key": "team", "value": "a"},
    ]
    undone, plan = run.undo()
    assert undone.notes == ("GatewayEndpoint/theirs: it stays this stack's",)
    assert [name for name, _ in calls(plan)] == ["delete_gateway_endpoint_tag"]


# -- a gateway's configuration file -----------------------------------------------------------------------


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda opened: None)
    return Bench(tmp_path)


class FileRun:
    """An apply to a file, on record as the program puts it there."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.path = bench, bench.folder / name

    def apply(self, manifests: str, *, destroy: bool = False) -> None:
        desired = self.bench.desired(manifests)
        before = self.bench.snapshot(desired)
        plan = plan_destroy(desired, before, _SHOP) if destroy else make_plan(desired, before, _SHOP)
        on_record(self.path, plan, before)
        assert (self.bench.destroy if destroy else self.bench.apply)(manifests).converged

    def undo(self) -> tuple[Undo, Plan]:
        run = read_run(self.path)
        touched = self._here(skeletons(run, {}))
        live = self.bench.snapshot(touched)
        found = undo(run, touched, live, masked_snapshot(live, "salt"), {}, "run.jsonl")
        back, away = self._here(found.restored), self._here(found.deleted)
        now = self.bench.snapshot((*back, *away))
        steps = (*make_plan(back, now, _SHOP).steps, *plan_destroy(away, now, _SHOP).steps)
        plan = Plan(now.target, steps, "shop")
        applied = self.bench._carry_out(plan, (*back, *away), {})
        assert all(not outcome.error for outcome in applied.outcomes), applied.outcomes
        return found, plan

    def _here(self, resources: Sequence[Resource]) -> tuple[Resource, ...]:
        from dataclasses import replace

        return tuple(replace(r, stack="shop", kept_in=str(self.bench.path)) for r in resources)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("[{model: big}]", "[{model: small}]"),
        ("[{model: big, weight: 3}, {model: small}]", "[{model: big, weight: 1}, {model: small}]"),
        ("[{model: big}]", "[{model: big, weight: 3}, {model: small}]"),
        ("[{model: big, weight: 3}, {model: small}]", "[{model: small}]"),
    ],
)
def test_an_endpoint_of_a_file_is_put_back(bench: Bench, first: str, then: str) -> None:
    bench.apply(PARTS + endpoint(first))
    before = bench.file
    run = FileRun(bench, "run.jsonl")
    run.apply(PARTS + endpoint(then))
    assert bench.file != before
    undone, plan = run.undo()
    assert not undone.notes
    assert plan.write_calls == 1
    assert bench.plan(PARTS + endpoint(first)).is_empty


def test_an_endpoint_that_was_taken_from_the_file_is_written_again(bench: Bench) -> None:
    manifests = PARTS + endpoint("[{model: big, weight: 3}, {model: small}]")
    bench.apply(manifests)
    run = FileRun(bench, "run.jsonl")
    run.apply(manifests, destroy=True)
    undone, _ = run.undo()
    assert [str(one.address) for one in undone.restored] == ["GatewayEndpoint/chat"]
    assert bench.plan(manifests).is_empty


def test_an_endpoint_that_a_run_wrote_into_the_file_is_taken_out(bench: Bench) -> None:
    run = FileRun(bench, "run.jsonl")
    run.apply(PARTS + endpoint("[{model: big, weight: 3}, {model: small}]"))
    run.undo()
    assert "chat" not in bench.file


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ({"models": [{"model": "m"}]}, "did not say all of it"),
        ({"endpoint_type": "llm/v1/chat", "models": []}, "did not say all of it"),
        ({"endpoint_type": "llm/v1/chat", "models": [{"model": "m", "provider": "p"}]}, "all of its models"),
        (
            {
                "endpoint_type": "llm/v1/chat",
                "models": [
                    {"model": "m", "provider": "p", "model_name": "m", "config": {"openai_api_key": HIDDEN}}
                ],
            },
            "a credential was written out",
        ),
    ],
)
def test_what_a_file_did_not_tell_is_not_put_back(shape: dict[str, Any], why: str) -> None:
    assert why in file_spec(shape)[1]


# -- a plugin's deployments -------------------------------------------------------------------------------


def deployment(**config: Any) -> Resource:
    spec = {"model_uri": "models:/fraud/3", "flavor": "python_function", "config": config}
    return resource("Deployment/fraud", spec)


def _plugin_run(
    shelf: Shelf,
    path: Path,
    first: Resource | None,
    then: Resource,
    *manifests: Resource,
    destroy: bool = False,
) -> tuple[Undo, Plan]:
    client = PluginTarget(shelf, "shelf:/x")

    def spoken(resources: Sequence[Resource]) -> tuple[Resource, ...]:
        return for_target("shelf:/x", resources, stack=DEFAULT_STACK)

    shelf.create_deployment("fraud", "models:/fraud/3", config=first.spec["config"])
    desired = spoken([then])
    before = seen(client, desired)
    on_record(path, plan_destroy(desired, before) if destroy else make_plan(desired, before), before)
    if destroy:
        shelf.delete_deployment("fraud")
    else:
        shelf.kept["fraud"] = {"name": "fraud", **shelf._told(then.spec["config"])}
    run, declared = read_run(path), {one.address: one for one in manifests}
    touched = spoken(skeletons(run, declared))
    live = seen(client, touched)
    found = undo(run, touched, live, masked_snapshot(live, "salt"), declared, "run.jsonl")
    restored = spoken(found.restored)
    return found, make_plan(restored, seen(client, restored))


def test_the_config_of_a_deployment_comes_back_where_it_is_known(path: Path) -> None:
    first, then = deployment(size="S", count=1), deployment(size="L", count=2)
    undone, plan = _plugin_run(Shelf(), path, first, then, first)  # the manifest is reverted already
    assert not undone.notes
    [(name, body)] = calls(plan)
    config = {key: getattr(value, "reveal", lambda v=value: v)() for key, value in body["config"].items()}
    assert (name, config) == ("update_deployment", {"size": "S", "count": 1})


def test_an_old_text_of_which_only_a_digest_is_on_record_is_lost(path: Path) -> None:
    first, then = deployment(size="S", count=1), deployment(size="L", count=2)
    undone, plan = _plugin_run(Shelf(), path, first, then, then)
    assert undone.notes == ("Deployment/fraud: the old value of config.size is not on record",)
    # The update of some plugins replaces the config whole: what stays is sent with it.
    [(_, body)] = calls(plan)
    assert body["config"] == {"count": 1, "size": "L"}


def test_a_deleted_deployment_comes_back_where_its_model_is_known(path: Path) -> None:
    shelf, manifest = Shelf(), deployment(size="S")
    undone, plan = _plugin_run(shelf, path, manifest, manifest, manifest, destroy=True)
    assert "Deployment/fraud: its target does not tell model_uri: the manifest's is sent" in undone.notes
    [(name, body)] = calls(plan)
    assert name == "create_deployment"
    assert body["model_uri"] == "models:/fraud/3"
    assert body["config"]["size"].reveal() == "S"


def test_and_does_not_where_it_is_not(path: Path) -> None:
    manifest = deployment(size="S")
    undone, plan = _plugin_run(Shelf(), path, manifest, manifest, destroy=True)
    assert plan.is_empty
    assert any("cannot come back: its target does not tell model_uri" in note for note in undone.notes)
