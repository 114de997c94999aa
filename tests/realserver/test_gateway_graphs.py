"""Random graphs of secrets, models and endpoints on a real server: applied, changed, applied again.

What must always hold: after an apply the plan is empty; what others made is as it was. The program's own
functions are called in this process, so that hundreds of cases are possible.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.engine.apply import apply
from reconciler.engine.gateway_reader import KINDS
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.snapshot import Prune, read_snapshot
from reconciler.kinds.gateway_budget import identity
from reconciler.seal import SealKey
from reconciler.targets import connect, for_target
from reconciler.values import Address, Lifecycle, Plan, Resource, Secret, Source
from tests.realserver.tracking import Tracking

CASES = int(os.environ.get("GATEWAY_CASES", "200"))
_KEY = SealKey(Secret("a key that is long enough"), "test")
_NAMES = [f"n{i}" for i in range(4)]


def _resource(kind: str, name: str, spec: dict[str, Any], moved_from: str = "") -> Resource:
    lifecycle = Lifecycle(moved_from=moved_from)
    return Resource(Address(kind, name), spec, Source("m.yaml", 1), lifecycle=lifecycle)


@st.composite
def graphs(draw: st.DrawFn) -> list[Resource]:
    """Resources that name each other, all of them declared."""
    secrets = draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3, unique=True))
    resources = [
        _resource(
            "GatewaySecret",
            f"s-{name}",
            {
                "provider": "openai",  # it cannot be changed while in use
                "secret_value": {"api_key": Secret("sk-" + draw(st.sampled_from(["aaaa", "bbbb"])) * 4)},
                **draw(st.sampled_from([{}, {"auth_config": {"auth_mode": "api_key"}}, {"auth_config": {}}])),
            },
        )
        for name in secrets
    ]
    models = draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=4, unique=True))
    resources += [
        _resource(
            "GatewayModel",
            f"m-{name}",
            {
                "secret": "s-" + draw(st.sampled_from(secrets)),
                "provider": draw(st.sampled_from(["openai", "anthropic"])),
                "model_name": draw(st.sampled_from(["a", "b"])),
            },
        )
        for name in models
    ]
    for name in draw(st.lists(st.sampled_from(_NAMES), max_size=3, unique=True)):
        resources.append(_resource("GatewayEndpoint", f"e-{name}", draw(_endpoints(models))))
    endpoints = [r.address.name for r in resources if r.address.kind == "GatewayEndpoint"]
    if draw(st.booleans()):
        resources.append(_resource("GatewayBudget", "b", draw(_budgets(endpoints))))
    return draw(st.permutations(resources))


@st.composite
def _endpoints(draw: st.DrawFn, models: list[str]) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(models), min_size=1, max_size=3, unique=True))
    items: list[dict[str, Any]] = []
    for name in chosen:
        weight = draw(st.sampled_from([None, 1, 0.5, 0.25]))
        items.append({"model": f"m-{name}"} | ({} if weight is None else {"weight": weight}))
    spec: dict[str, Any] = {"models": items}
    spec |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "fallbacks": st.lists(st.sampled_from([f"m-{m}" for m in models]), max_size=3, unique=True),
                "fallback_config": st.sampled_from(
                    [{}, {"max_attempts": 2}, {"strategy": "SEQUENTIAL", "max_attempts": 1}]
                ),
                "routing_strategy": st.just("REQUEST_BASED_TRAFFIC_SPLIT"),
                "usage_tracking": st.booleans(),
                "tags": st.dictionaries(
                    st.sampled_from(["a", "b.c", "d e"]), st.sampled_from(["", "1", "ü"])
                ),
            },
        )
    )
    return spec


@st.composite
def _budgets(draw: st.DrawFn, endpoints: list[str]) -> dict[str, Any]:
    spec = {
        "budget_amount": draw(st.sampled_from([1, 2.5])),
        "duration": {"unit": draw(st.sampled_from(["DAYS", "MONTHS"])), "value": 1},
        "target_scope": "GLOBAL",
        "budget_action": draw(st.sampled_from(["ALERT", "REJECT"])),
    }
    if endpoints and draw(st.booleans()):
        spec |= {"target_scope": "ENDPOINT", "target_value": draw(st.sampled_from(endpoints))}
    return spec


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """What others do to the server meanwhile: an edit, of which object, to which value."""
    what = st.sampled_from(["models", "tag", "model", "secret", "budget", "orphan"])
    return draw(st.lists(st.tuples(what, st.integers(0, 3), st.integers(0, 3)), max_size=3))


def _edit(tracking: Tracking, edit: tuple[str, int, int]) -> None:
    what, at, value = edit
    ours = {k: [i for i in tracking.list(k) if "foreign" not in str(i)] for k in ("endpoints", "models")}
    secrets = [i for i in tracking.list("secrets") if "foreign" not in i["secret_name"]]
    budgets = tracking.list("budgets")
    if what == "models" and ours["endpoints"] and ours["models"]:
        endpoint = ours["endpoints"][at % len(ours["endpoints"])]
        model = ours["models"][value % len(ours["models"])]["model_definition_id"]
        config = {"model_definition_id": model, "linkage_type": "PRIMARY", "weight": 0.1}
        body = {"endpoint_id": endpoint["endpoint_id"], "model_configs": [config]}
        tracking.call("POST", "endpoints/update", body)
    elif what == "tag" and ours["endpoints"]:
        endpoint = ours["endpoints"][at % len(ours["endpoints"])]
        body = {"endpoint_id": endpoint["endpoint_id"], "key": "by hand", "value": str(value)}
        tracking.call("POST", "endpoints/set-tag", body)
    elif what == "model" and ours["models"]:
        model = ours["models"][at % len(ours["models"])]["model_definition_id"]
        body = {"model_definition_id": model, "model_name": f"by-hand-{value}"}
        tracking.call("POST", "model-definitions/update", body)
    elif what == "secret" and secrets:
        secret = secrets[at % len(secrets)]["secret_id"]
        body = {"secret_id": secret, "secret_value": {"api_key": f"by hand {value} xyz"}}
        tracking.call("POST", "secrets/update", body)
    elif what == "budget" and budgets:
        body = {"budget_policy_id": budgets[0]["budget_policy_id"], "budget_amount": 99 + value}
        tracking.call("POST", "budgets/update", body)
    elif what == "orphan" and secrets:
        tracking.call("DELETE", "secrets/delete", {"secret_id": secrets[at % len(secrets)]["secret_id"]})


def _foreign(tracking: Tracking) -> dict[str, Any]:
    return {
        what: [
            i for i in tracking.everything()[what] if "foreign" in str(i.get("name") or i.get("secret_name"))
        ]
        for what in ("secrets", "models", "endpoints")
    }


def _known(resources: list[Resource]) -> set[Any]:
    """What the server knows them by. A budget of another scope, target or window is another budget."""
    return {identity(r.spec) if r.address.kind == "GatewayBudget" else r.address.name for r in resources}


@settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(first=graphs(), changed=graphs(), by_hand=edits())
def test_apply_leaves_nothing_to_do_and_others_alone(
    server: Tracking, first: list[Resource], changed: list[Resource], by_hand: list[tuple[str, int, int]]
) -> None:
    server.clear()
    server.endpoint("foreign", server.model("foreign", server.secret("foreign")))
    others = _foreign(server)
    with connect(server.target) as client:

        def plan(desired: list[Resource]) -> tuple[list[Resource], Plan]:
            ready = list(for_target(server.target, desired, stack="shop", seal_key=_KEY))
            seen = read_snapshot(client, ready, target=server.target, taken_at="")
            return ready, make_plan(ready, seen, PlanOptions(stack="shop"))

        for desired in (first, changed):
            ready, planned = plan(desired)
            done = apply(planned, client, ready, taken_at=lambda: "")
            assert done.converged, [o.error for o in done.outcomes if o.error] or done.remaining
            assert plan(desired)[1].is_empty
            assert apply(plan(desired)[1], client, ready, taken_at=lambda: "").remaining is None
            assert _foreign(server) == others
            for edit in by_hand:
                _edit(server, edit)
        ready, planned = plan(changed)
        assert apply(planned, client, ready, taken_at=lambda: "").converged, "what was changed by hand"
        assert plan(changed)[1].is_empty

        seen = read_snapshot(client, ready, target=server.target, taken_at="", deleting=True)
        going = plan_destroy(ready, seen, PlanOptions(stack="shop"))
        if any(step.refusal for step in going.steps):
            assert _known(first) - _known(changed), "something of the first graph uses it still"
            seen = read_snapshot(client, ready, target=server.target, taken_at="", prune=Prune("shop", KINDS))
            pruning = make_plan(ready, seen, PlanOptions(stack="shop", prune=True))
            assert apply(pruning, client, ready, taken_at=lambda: "").converged
            seen = read_snapshot(client, ready, target=server.target, taken_at="", deleting=True)
            going = plan_destroy(ready, seen, PlanOptions(stack="shop"))
        if any(step.refusal for step in going.steps):
            # An endpoint may use it by a section that its manifest left out.
            notes = [note for step in pruning.steps for note in step.notes]
            assert any("left there: in use by GatewayEndpoint" in note for note in notes)
        else:
            assert apply(going, client, ready, taken_at=lambda: "").converged
        assert _foreign(server) == others
