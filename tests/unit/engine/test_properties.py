"""What must always hold, on random workspaces: apply then plan is empty, and no call too many."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.values import Action, Plan, Resource
from tests.unit.engine.specs import specs
from tests.unit.engine.workbench import Bench, endpoint

_CASES = int(os.environ.get("PROPERTY_CASES", "60"))
_SETTINGS = settings(
    max_examples=_CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_NAMES = ["one", "two", "three"]

workspaces = st.dictionaries(st.sampled_from(_NAMES), specs(), max_size=3)


def _resources(workspace: dict[str, dict[str, Any]]) -> list[Resource]:
    # A section of its own makes the spec a manifest even when all others are left out.
    return [endpoint(name, **{"tags": None, **spec}) for name, spec in workspace.items()]


def _state(bench: Bench, name: str) -> Any:
    found = dict(bench.by_hand.get_endpoint(name))
    found["permissions"] = sorted(
        bench.by_hand.get_endpoint_permissions(found["id"])["access_control_list"], key=str
    )
    return found


@_SETTINGS
@given(first=workspaces, second=workspaces, foreign=specs())
def test_apply_then_plan_is_empty_and_calls_are_fewest(
    first: dict[str, Any], second: dict[str, Any], foreign: dict[str, Any]
) -> None:
    bench = Bench(provisioning=5.0)
    assert bench.apply(endpoint("foreign", **{"tags": None, **foreign})).converged
    before = _state(bench, "foreign")
    for wanted in (first, second):
        resources = _resources(wanted)
        plan = bench.plan(*resources)
        bench.wire.requests.clear()

        applied = bench.apply(*resources, plan=plan)

        assert applied.converged, [(o.error, o.step.changes) for o in applied.outcomes] + [applied.remaining]
        assert len(bench.wire.writes) == _fewest(plan)
        assert bench.plan(*resources).is_empty
        bench.wire.requests.clear()
        assert bench.apply(*resources).converged
        assert bench.wire.writes == [], "applied twice: no call"
    assert _state(bench, "foreign") == before, "what no manifest names is untouched"


def _fewest(plan: Plan) -> int:
    """A model of the fewest calls: one for each changed section, one for a create and its permissions."""
    calls = 0
    for step in plan.steps:
        sections = {change.section for change in step.changes}
        created = 1 + ("permissions" in sections)
        match step.action:
            case Action.CREATE:
                calls += created
            case Action.UPDATE:
                calls += len(sections)
            case Action.REPLACE:
                grants = any(call.section == "permissions" for call in step.calls)
                calls += 2 + grants
    return calls


@_SETTINGS
@given(wanted=specs(), by_hand=specs())
def test_every_managed_drift_is_seen_and_repaired(wanted: dict[str, Any], by_hand: dict[str, Any]) -> None:
    """Whatever somebody makes of the endpoint: the plan is empty only when nothing managed differs."""
    bench = Bench(provisioning=5.0)
    resource = _resources({"one": wanted})[0]
    assert bench.apply(resource).converged
    settled = _state(bench, "one")
    meddled = {k: v for k, v in by_hand.items() if k not in ("description", "route_optimized")}
    if "config" in meddled and "config" in wanted:
        sort = ["external_model" in w["config"]["served_entities"][0] for w in (meddled, wanted)]
        if sort[0] != sort[1]:
            del meddled["config"]
    assert bench.apply(_resources({"one": meddled})[0]).converged

    applied = bench.apply(resource)

    assert applied.converged
    for section in wanted:
        now = _state(bench, "one")
        if section not in ("config", "ai_gateway"):
            assert _unordered(now.get(section)) == _unordered(settled.get(section)), section


def _unordered(value: Any) -> Any:
    if isinstance(value, list):
        return sorted((_unordered(v) for v in value), key=str)
    if isinstance(value, dict):
        return {k: _unordered(v) for k, v in value.items() if v not in ({}, [], None)}
    return value
