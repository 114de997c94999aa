"""A gateway's file as a target: from manifests to its one replacement, and what may go wrong on the way."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.engine.file_apply import execute_file
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan
from reconciler.engine.snapshot import snapshot_from_json, snapshot_to_json
from reconciler.errors import ManifestError
from reconciler.report.json import outcome_json, plan_json
from reconciler.report.text import outcome_text, plan_text
from reconciler.targets import for_target
from reconciler.values import Action, Plan, StepStatus
from tests.unit.engine.file_gateway import TARGET, Bench

PARTS = """\
apiVersion: reconciler/v1
kind: GatewaySecret
metadata: {name: openai}
spec:
  provider: openai
  secret_value: {api_key: "${env:OPENAI_KEY}"}
---
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {name: big}
spec: {secret: openai, provider: openai, model_name: gpt-4o}
---
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {name: small}
spec: {secret: openai, provider: openai, model_name: gpt-4o-mini}
"""
OPENAI = "{provider: openai, name: gpt-4o, config: {openai_api_key: $OPENAI_KEY}}"
THEIRS = f"endpoints:\n- name: chat\n  endpoint_type: llm/v1/chat\n  model: {OPENAI}\n"


def endpoint(models: str = "[{model: big}]", name: str = "chat", more: str = "", head: str = "") -> str:
    return (
        f"---\napiVersion: reconciler/v1\nkind: GatewayEndpoint\nmetadata: {{name: {name}}}\n{head}"
        f"spec:\n  endpoint_type: llm/v1/chat\n  models: {models}\n{more}"
    )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda opened: None)  # a busy disk takes seconds for it
    return Bench(tmp_path)


def everything(plan: Plan) -> str:
    return plan_text(plan, verbose=True, width=200) + json.dumps(plan_json(plan))


# ---- one replacement ----------------------------------------------------------------------------------


def test_many_endpoints_are_one_write_and_then_there_is_nothing_to_do(bench: Bench) -> None:
    manifests = PARTS + endpoint("[{model: big, weight: 3}, {model: small}]")
    manifests += endpoint(name="fast", more="  limit: {calls: 10, renewal_period: minute}\n")
    plan = bench.plan(manifests)
    assert plan.write_calls == 1
    assert plan_json(plan)["totals"]["write_calls"] == 1
    assert [str(step.address) for step in plan.steps] == ["GatewayEndpoint/chat", "GatewayEndpoint/fast"]
    assert "1 write call." in plan_text(plan)

    applied = bench.apply(manifests, plan=plan)
    assert applied.converged
    text = outcome_text(applied.plan, applied.outcomes, True)
    assert "Apply: 2 created; 1 write call." in text
    assert outcome_json(applied.plan, applied.outcomes, converged=True)["summary"]["done"] == 2
    content = yaml.safe_load(bench.file)
    assert [(e["name"], e["model"]["name"]) for e in content["endpoints"]] == [
        ("chat.big", "gpt-4o"),
        ("chat.small", "gpt-4o-mini"),
        ("fast", "gpt-4o"),
    ]
    assert content["routes"][0]["destinations"] == [
        {"name": "chat.big", "traffic_percentage": 75},
        {"name": "chat.small", "traffic_percentage": 25},
    ]
    assert content["endpoints"][0]["model"]["config"] == {"openai_api_key": "$OPENAI_KEY"}
    assert bench.plan(manifests).is_empty
    before = bench.file
    bench.gateway.requests.clear()
    assert bench.apply(manifests).converged
    assert bench.file == before
    # A plan asks for one list, and for each route that is declared.
    assert bench.gateway.requests == ["GET /api/2.0/endpoints/", "GET /api/3.0/gateway/route/chat"]


def test_the_step_is_worded_and_says_where_it_is_wanted(bench: Bench) -> None:
    bench.apply(PARTS + endpoint("[{model: big, weight: 80}, {model: small, weight: 20}]"))
    changed = PARTS.replace("gpt-4o-mini", "gpt-4.1").replace("OPENAI_KEY", "NEW_KEY")
    text = plan_text(bench.plan(changed + endpoint("[{model: big}, {model: small}]")), width=200)
    assert "weights 80/20 → 50/50 (big/small)" in text
    assert "models[small].model_name: gpt-4o-mini → gpt-4.1   line 16" in text
    assert "models[big].config.openai_api_key: $OPENAI_KEY → $NEW_KEY   line 6" in text
    assert "it ends if its environment lacks $NEW_KEY" in " ".join(text.split())


def test_one_model_becomes_a_route_and_back(bench: Bench) -> None:
    one, two = PARTS + endpoint(), PARTS + endpoint("[{model: big}, {model: small}]")
    bench.apply(PARTS + endpoint(more="  limit: {calls: 5, renewal_period: hour}\n"))
    plan = bench.plan(two)
    assert "limit: {calls: 5, renewal_period: hour}" in plan_text(plan)  # it goes: a route has none
    assert bench.apply(two).converged
    assert [e["name"] for e in yaml.safe_load(bench.file)["endpoints"]] == ["chat.big", "chat.small"]
    assert bench.apply(one).converged
    content = yaml.safe_load(bench.file)
    assert [e["name"] for e in content["endpoints"]] == ["chat"]
    assert content["routes"] == []


def test_renamed_with_its_parts(bench: Bench) -> None:
    bench.apply(PARTS + endpoint("[{model: big}, {model: small}]", name="old"))
    moved = PARTS + endpoint(
        "[{model: big}, {model: small}]", name="new", head="lifecycle: {moved_from: old}\n"
    )
    (step,) = bench.plan(moved).steps
    assert [change.words for change in step.changes] == ["renamed old → new"]
    assert step.calls[0].body["rename"] == {
        "endpoints": {"old.big": "new.big", "old.small": "new.small"},
        "routes": {"old": "new"},
    }
    assert bench.apply(moved).converged
    assert "old" not in bench.file
    assert bench.plan(moved).is_empty


def test_what_is_ignored_stays_as_it_lives(bench: Bench) -> None:
    ignoring = 'lifecycle: {ignore_changes: ["models[*].weight", limit]}\n'
    two = "[{model: big}, {model: small}]"
    bench.apply(PARTS + endpoint("[{model: big, weight: 90}, {model: small, weight: 10}]"))
    assert bench.plan(PARTS + endpoint(two, head=ignoring)).is_empty
    bench.apply(PARTS.replace("gpt-4o}", "gpt-5}") + endpoint(two, head=ignoring))
    content = yaml.safe_load(bench.file)
    assert content["endpoints"][0]["model"]["name"] == "gpt-5"
    assert content["routes"][0]["destinations"][0] == {"name": "chat.big", "traffic_percentage": 90}

    bench.apply(PARTS + endpoint(name="one", more="  limit: {calls: 1, renewal_period: day}\n"))
    wanted = endpoint("[{model: small}]", "one", "  limit: {calls: 9, renewal_period: day}\n", ignoring)
    bench.apply(PARTS + wanted)
    entry = yaml.safe_load(bench.file)["endpoints"][-1]
    assert (entry["model"]["name"], entry["limit"]["calls"]) == ("gpt-4o-mini", 1)


def test_models_that_are_ignored_stay_whatever_they_are(bench: Bench) -> None:
    ignoring = "lifecycle: {ignore_changes: [models], moved_from: old}\n"
    bench.path.write_text(THEIRS.replace("$OPENAI_KEY", "sk-by-hand"))
    limited = endpoint(head=ignoring, more="  limit: {calls: 9, renewal_period: day}\n")
    bench.apply(PARTS + limited, adopt=True)
    entry = yaml.safe_load(bench.file)["endpoints"][0]
    assert entry["model"]["config"] == {"openai_api_key": "sk-by-hand"}
    assert entry["limit"] == {"calls": 9, "renewal_period": "day"}

    two = "[{model: big}, {model: small}]"
    bench.apply(PARTS + endpoint(two, name="old"))
    moved = PARTS + endpoint("[{model: small}, {model: big, weight: 4}]", name="new", head=ignoring)
    assert bench.apply(moved).converged
    content = yaml.safe_load(bench.file)
    assert [e["name"] for e in content["endpoints"]] == ["chat", "new.big", "new.small"]
    assert content["routes"][0]["destinations"][0] == {"name": "new.big", "traffic_percentage": 50}


def test_what_a_manifest_leaves_out_stays_and_defaults_are_no_drift(bench: Bench) -> None:
    bench.path.write_text(
        THEIRS.replace("- name: chat", "- name: chat  # reconciler.stack: shop").replace(
            "$OPENAI_KEY",
            "$OPENAI_KEY, openai_api_type: openai, openai_api_base: 'https://api.openai.com/v1'",
        )
        + "  limit: {calls: 3, renewal_period: day}\n  owner: ada\n"
    )
    assert bench.plan(PARTS + endpoint()).is_empty
    bench.apply(PARTS.replace("OPENAI_KEY", "NEW") + endpoint())
    entry = yaml.safe_load(bench.file)["endpoints"][0]
    assert entry["limit"] == {"calls": 3, "renewal_period": "day"}
    assert entry["owner"] == "ada"
    assert entry["model"]["config"]["openai_api_type"] == "openai"
    bench.apply(PARTS.replace("OPENAI_KEY", "NEW") + endpoint(more="  limit: null\n"))
    assert "limit" not in yaml.safe_load(bench.file)["endpoints"][0]


# ---- whose it is --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "adopt", "words"),
    [
        ("", False, "GatewayEndpoint/chat was not made by this stack"),
        ("  # reconciler.stack: other", False, "GatewayEndpoint/chat belongs to stack other"),
        ("  # reconciler.stack: other", True, "GatewayEndpoint/chat belongs to stack other"),
        ("", True, ""),
    ],
)
def test_what_others_own_is_refused(bench: Bench, mark: str, adopt: bool, words: str) -> None:
    bench.path.write_text(THEIRS.replace("chat\n", f"chat{mark}\n", 1))
    (step,) = bench.plan(PARTS + endpoint("[{model: small}]"), adopt=adopt).steps
    assert step.refusal.splitlines()[:1] == ([words] if words else [])
    assert step.action is Action.ADOPT


def test_a_part_that_others_made_is_refused_too(bench: Bench) -> None:
    bench.path.write_text(THEIRS.replace("chat\n", "chat.big\n", 1))
    (step,) = bench.plan(PARTS + endpoint("[{model: big}, {model: small}]")).steps
    assert step.refusal.startswith("GatewayEndpoint/chat was not made by this stack")


def test_destroyed_is_what_is_ours_and_not_what_others_need(bench: Bench) -> None:
    bench.path.write_text(THEIRS.replace("chat", "theirs", 1))
    wanted = PARTS + endpoint("[{model: big}, {model: small}]") + endpoint(name="fast")
    bench.apply(wanted)
    taken = bench.file
    route = "  - {name: chat.big, traffic_percentage: 100}\n"
    bench.path.write_text(taken + "- name: by-hand\n  task_type: llm/v1/chat\n  destinations:\n" + route)
    refused = bench.destroy(wanted).plan.steps[0]
    assert refused.refusal.splitlines() == [
        "GatewayEndpoint/chat is in use by route/by-hand",
        "why: the gateway refuses a file with a route that leads nowhere",
        "next: take it from there first",
    ]
    bench.path.write_text(taken)
    assert bench.destroy(wanted).converged
    assert bench.file == THEIRS.replace("chat", "theirs", 1) + "routes: []\n"


# ---- what goes wrong ----------------------------------------------------------------------------------


def test_a_file_that_changed_since_the_plan_is_left_alone(bench: Bench) -> None:
    wanted = PARTS + endpoint()
    plan = bench.plan(wanted)
    bench.path.write_text("endpoints: []  # somebody was here\n")
    applied = bench.apply(wanted, plan=plan)
    assert [o.status for o in applied.outcomes] == [StepStatus.REFUSED]
    assert "the file changed since the plan; nothing was written" in applied.outcomes[0].error
    assert bench.file == "endpoints: []  # somebody was here\n"
    assert applied.outcomes[0].not_begun


def test_what_the_gateway_does_not_take_is_put_back(bench: Bench) -> None:
    bench.gateway.accepts = lambda content: not content["endpoints"]
    applied = bench.apply(PARTS + endpoint(), wait_timeout=30.0)
    (outcome,) = applied.outcomes
    assert outcome.status is StepStatus.FAILED
    assert outcome.error.splitlines() == [
        "the gateway did not take the file within 30 s (chat: it does not serve it); the old file "
        "was put back",
        "why: the log of `mlflow gateway start` says why (Invalid configuration, or an error of its worker)",
        "next: correct what it refuses and apply again",
    ]
    assert bench.file == "endpoints: []\n"
    assert not applied.converged
    assert any(event.phase == "waiting" for event in bench.events)


def test_nobody_waits_three_quarters_of_an_hour_for_a_refused_file(bench: Bench) -> None:
    bench.gateway.accepts = lambda content: not content["endpoints"]
    began = bench.clock.now()
    bench.apply(PARTS + endpoint())  # the default of --wait-timeout
    assert 120 <= bench.clock.now() - began < 130


def test_a_stop_leaves_what_was_written_and_the_next_run_goes_on(bench: Bench) -> None:
    bench.gateway.accepts = lambda content: not content["endpoints"]
    stop = threading.Event()
    bench.clock.on_sleep = stop.set
    wanted = PARTS + endpoint()
    desired = bench.desired(wanted)
    plan = bench.plan(wanted)
    (outcome,) = execute_file(plan, bench.client, {}, replan=_never, stop=stop, clock=bench.clock)
    assert (outcome.status, outcome.error) == (StepStatus.NOT_WAITED, "stopped while it was awaited")
    assert "name: chat" in bench.file
    bench.gateway.accepts = lambda content: True
    assert bench.apply(
        wanted, plan=make_plan(desired, bench.snapshot(desired), PlanOptions(stack="shop"))
    ).converged


def _never(*arguments: Any) -> Any:
    raise AssertionError("nothing is planned anew while it is carried out")


def test_a_gateway_that_ends_is_noticed_soon(bench: Bench) -> None:
    def ends(content: dict[str, Any]) -> bool:
        bench.gateway.is_up = not content["endpoints"]
        return bench.gateway.is_up

    bench.gateway.accepts = ends
    send = bench.gateway.send

    def down(*args: Any, **kwargs: Any) -> Any:
        bench.gateway.take()
        return send(*args, **kwargs)

    bench.gateway.send = down  # type: ignore[method-assign]
    began = bench.clock.now()
    (outcome,) = bench.apply(PARTS + endpoint()).outcomes
    assert outcome.error.startswith(
        "the gateway ended when it read the file: it takes no connections any more"
    )
    assert "start it again with every $NAME in its environment" in outcome.error
    assert bench.file == "endpoints: []\n"
    assert bench.clock.now() - began < 20


def test_a_gateway_that_does_not_answer(bench: Bench) -> None:
    wanted = PARTS + endpoint()
    bench.apply(wanted)
    bench.gateway.is_up = False
    (step,) = bench.plan(wanted).steps
    assert step.action is Action.NO_OP
    assert step.notes[0].startswith("the gateway did not answer, so what it serves is not known")
    changed = PARTS + endpoint("[{model: small}]")
    before = bench.file
    (outcome,) = bench.apply(changed).outcomes
    assert outcome.status is StepStatus.FAILED
    assert "so nothing was written" in outcome.error
    assert bench.file == before
    # Without waiting the file is all that is needed: it may be there before its gateway is.
    bench.path.unlink()
    applied = bench.apply(changed, wait=False)
    assert [o.status for o in applied.outcomes] == [StepStatus.NOT_WAITED]
    assert applied.remaining is not None
    assert applied.remaining.is_empty
    assert yaml.safe_load(bench.file)["endpoints"][0]["name"] == "chat"


def test_a_gateway_that_serves_something_else_is_told_and_waited_for(bench: Bench) -> None:
    wanted = PARTS + endpoint()
    bench.apply(wanted)
    bench.gateway.taken = {}
    bench.gateway.accepts = lambda content: False
    (step,) = bench.plan(wanted).steps
    assert step.action is Action.NO_OP
    assert step.notes == (
        "the gateway does not serve what its file says (chat: it does not serve it): it may have refused the "
        "file, its log says why; or start it again",
    )
    applied = bench.apply(wanted, wait_timeout=5.0)
    assert [o.status for o in applied.outcomes] == [StepStatus.FAILED]
    assert "the gateway did not take the file within 5 s" in applied.outcomes[0].error
    bench.gateway.accepts = lambda content: True
    assert bench.apply(wanted, plan=bench.plan(wanted)).converged


def test_a_result_that_the_gateway_would_refuse_is_not_written(bench: Bench) -> None:
    bench.path.write_text(
        THEIRS.replace("chat\n", "chat  # reconciler.stack: shop\n", 1)
        + "routes:\n- name: by-hand\n  task_type: llm/v1/chat\n  destinations:\n"
        "  - {name: chat, traffic_percentage: 100}\n"
    )
    before = bench.file
    (outcome,) = bench.apply(PARTS + endpoint("[{model: big}, {model: small}]")).outcomes
    assert "route by-hand leads to chat, which is no endpoint" in outcome.error
    assert bench.file == before


# ---- nothing leaks ------------------------------------------------------------------------------------


def test_a_key_that_is_written_out_in_the_file_shows_nowhere(bench: Bench) -> None:
    secret = "/sk+canary/of-base64"  # it may look like a path
    bench.path.write_text(
        THEIRS.replace(
            "$OPENAI_KEY", f'"{secret}", aws_config: {{aws_secret_access_key: "{secret}"}}, pin: 12345678'
        )
        + f'  note: "{secret}"\n'
    )
    wanted = PARTS + endpoint()
    desired = bench.desired(wanted)
    snapshot = bench.snapshot(desired)
    saved = json.dumps(snapshot_to_json(snapshot))
    plan = bench.plan(wanted, adopt=True)
    shown = everything(plan) + repr(plan) + repr(snapshot) + saved
    assert secret not in shown
    assert "12345678" not in shown
    assert 'openai_api_key: "(a literal value)" → $OPENAI_KEY' in everything(plan)
    again = snapshot_from_json(json.loads(saved), where="s.json")
    assert again.resources.keys() == snapshot.resources.keys()
    applied = bench.apply(wanted, adopt=True)
    assert applied.converged
    assert secret not in repr(applied)
    assert secret in bench.path.with_name("gateway.yaml.reconciler.bak").read_text()
    assert f'note: "{secret}"' in bench.file


_FILED = "{secret: filed, provider: openai, model_name: gpt-4o-mini"


def test_the_value_of_a_key_is_needed_nowhere_and_stands_nowhere(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.txt").write_text("sk-canary-file")
    bench = Bench(tmp_path, OPENAI_KEY="sk-canary-env")
    two = PARTS.replace("${env:OPENAI_KEY}", "${file:key.txt}").replace("openai}", "filed}", 1)
    manifests = PARTS + "---\n" + two.partition("---")[0].rstrip() + "\n" + endpoint()
    manifests = manifests.replace("{secret: openai, provider: openai, model_name: gpt-4o-mini", _FILED)
    plan = bench.plan(manifests + endpoint("[{model: small}]", name="fast"))
    applied = bench.apply(manifests + endpoint("[{model: small}]", name="fast"))
    assert applied.converged
    assert "sk-canary" not in everything(plan) + repr(applied) + bench.file
    configs = [e["model"]["config"]["openai_api_key"] for e in yaml.safe_load(bench.file)["endpoints"]]
    assert configs == ["$OPENAI_KEY", str(tmp_path / "key.txt")]


# ---- any of it ----------------------------------------------------------------------------------------

_MODELS = st.lists(st.sampled_from(["big", "small"]), min_size=1, max_size=2, unique=True)
_WANTED = st.dictionaries(
    st.sampled_from(["a", "b", "c", "a.x"]),
    st.tuples(_MODELS, st.sampled_from([(50, 50), (80, 20), (100, 0)]), st.sampled_from(["", "5", "null"])),
    max_size=4,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_WANTED, min_size=1, max_size=4))
def test_apply_and_then_the_plan_is_empty_and_nothing_foreign_changes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    theirs = (
        f"# theirs\nendpoints:\n  - name: theirs # x\n    endpoint_type: llm/v1/chat\n    model: {OPENAI}\n"
    )
    bench = Bench(folder, theirs)
    bench.desired = lambda manifests: _desired(bench, manifests)  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda opened: None)
        _apply_each(bench, steps, theirs)


def _apply_each(bench: Bench, steps: list[dict[str, Any]], theirs: str) -> None:
    for wanted in steps:
        manifests = PARTS
        for name, (models, shares, calls) in wanted.items():
            listed = ", ".join(f"{{model: {m}, weight: {s}}}" for m, s in zip(models, shares, strict=False))
            limit = f"  limit: {{calls: {calls}, renewal_period: day}}\n" if calls == "5" else ""
            limit = "  limit: null\n" if calls == "null" else limit
            manifests += endpoint(f"[{listed}]", name=name, more="" if len(models) > 1 else limit)
        if not wanted:
            continue
        assert bench.apply(manifests).converged
        assert bench.plan(manifests).is_empty
        assert bench.file.startswith(theirs)


def _desired(bench: Bench, manifests: str) -> Any:
    from reconciler.manifest import load

    path = bench.folder / "m.yaml"
    path.write_text(manifests)
    found = load([path], environ={}, root=bench.folder, allow_unset=True)
    return for_target(TARGET, found.resources, stack="shop", config_path=str(bench.path))


def test_a_stack_has_a_name_also_without_a_project(bench: Bench) -> None:
    (one,) = bench.desired(PARTS + endpoint())
    assert one.stack == "shop"
    with pytest.raises(ManifestError):
        for_target(
            TARGET, [replace(one, address=replace(one.address, kind="GatewayBudget"))], config_path="x"
        )
