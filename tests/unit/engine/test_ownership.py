"""Whose it is: what prune deletes, what it never touches, moves, and what a kill between two calls leaves."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.emulator.wire import Request, Response
from reconciler.engine.apply import Applied, apply
from reconciler.engine.executor import ExecutionOptions
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.safety import (
    DEFAULTS,
    UNLIMITED,
    Limit,
    Limits,
    over_limits,
    refusals,
    replacements,
)
from reconciler.engine.snapshot import Prune, read_snapshot, snapshot_from_json, snapshot_to_json
from reconciler.values import PROTECTED_TAG, STACK_TAG, Action, Lifecycle, Plan, Resource, StepStatus
from tests.unit.engine.workbench import Bench, custom, endpoint

_AT = "2026-01-01T00:00:00Z"
_CASES = int(os.environ.get("PROPERTY_CASES", "60"))
_WHOLE = PlanOptions("shop", is_whole=True)
_PRUNE = replace(_WHOLE, prune=True)


def ours(
    name: str, *, stack: str = "shop", moved_from: str = "", protect: bool = False, **spec: Any
) -> Resource:
    """A declared endpoint of a stack; without a configuration unless the spec has one: live at once."""
    resource = endpoint(name, **(spec or {"tags": {"team": "x"}}))
    return replace(resource, stack=stack, lifecycle=Lifecycle(protect, moved_from=moved_from))


def planned(bench: Bench, *desired: Resource, options: PlanOptions = _WHOLE) -> Plan:
    prune = Prune(options.stack, ("Endpoint",)) if options.prune else None
    return make_plan(
        desired, read_snapshot(bench.client, desired, target="t", taken_at=_AT, prune=prune), options
    )


def applied(bench: Bench, plan: Plan, *desired: Resource, **options: Any) -> Applied:
    return apply(
        plan,
        bench.client,
        desired,
        taken_at=lambda: _AT,
        options=ExecutionOptions(**options),
        clock=bench.clock,
    )


def made(bench: Bench, *desired: Resource) -> None:
    """Make them, and let them become live."""
    assert applied(bench, planned(bench, *desired), *desired).converged
    bench.settle()
    bench.wire.requests.clear()


def by_hand(bench: Bench, name: str, **tags: str) -> None:
    """An endpoint that somebody made past us."""
    pairs = [{"key": key.replace("__", "."), "value": value} for key, value in tags.items()]
    bench.by_hand.create_endpoint(config={"name": name, "tags": pairs})


def names(bench: Bench) -> list[str]:
    return sorted(item["name"] for item in bench.by_hand.list_endpoints())


def tags_of(bench: Bench, name: str) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in bench.by_hand.get_endpoint(name).get("tags", ())}


# ---- prune ------------------------------------------------------------------------------------------------


def test_prune_deletes_what_is_ours_and_undeclared_and_reads_no_more_than_that() -> None:
    bench = Bench()
    made(bench, ours("kept"), ours("left"))
    by_hand(bench, "nobodys")
    by_hand(bench, "banks", **{STACK_TAG: "bank"})
    plan = planned(bench, ours("kept"), options=_PRUNE)

    assert sorted(bench.wire.requests) == [
        "GET /api/2.0/serving-endpoints",
        "GET /api/2.0/serving-endpoints/kept",
        "GET /api/2.0/serving-endpoints/left",
    ]
    assert [(str(s.address), s.action, s.is_undeclared) for s in plan.steps if s.calls] == [
        ("Endpoint/left", Action.DELETE, True)
    ]
    assert "no longer declared" in plan.steps[-1].notes[0]
    assert plan.steps[-1].source is None
    bench.wire.requests.clear()
    assert applied(bench, plan, ours("kept")).converged
    assert bench.wire.writes == ["DELETE /api/2.0/serving-endpoints/left"]
    assert names(bench) == ["banks", "kept", "nobodys"]
    assert planned(bench, ours("kept"), options=_PRUNE).is_empty


def test_without_prune_a_note_tells_and_no_call_more_is_made() -> None:
    bench = Bench()
    made(bench, ours("kept"), ours("left"))
    by_hand(bench, "banks", **{STACK_TAG: "bank"})
    plan = planned(bench, ours("kept"))
    assert plan.is_empty
    assert plan.notes == ("1 owned by stack shop is not declared: Endpoint/left; --prune deletes it",)
    assert sorted(bench.wire.requests) == [
        "GET /api/2.0/serving-endpoints",
        "GET /api/2.0/serving-endpoints/kept",
    ]
    part = replace(_WHOLE, is_whole=False)
    assert planned(bench, ours("kept"), options=part).notes == (), "of a part nothing can be said"


def test_what_changed_or_changed_hands_after_the_plan_is_not_pruned() -> None:
    bench = Bench()
    made(bench, ours("kept"), ours("left"), ours("other"))
    plan = planned(bench, ours("kept"), options=_PRUNE)
    bench.by_hand.update_endpoint_tags("left", {"add_tags": [{"key": STACK_TAG, "value": "bank"}]})
    outcome = applied(bench, plan, ours("kept"))
    ended = {o.step.address.name: o for o in outcome.outcomes}
    assert ended["left"].status is StepStatus.REFUSED
    assert ended["left"].error.startswith("it changed since the plan: owner")
    assert ended["other"].status is StepStatus.DONE
    assert names(bench) == ["kept", "left"]


def test_an_empty_set_of_manifests_prunes_only_what_was_counted() -> None:
    bench = Bench()
    made(bench, ours("a"), ours("b"))
    plan = planned(bench, options=_PRUNE)
    assert plan.count(Action.DELETE) == 2
    for limits in (DEFAULTS, Limits(deletes=Limit(number=9))):
        refused = over_limits(plan, limits)
        assert refused is not None
        assert "nothing that is live is declared: all that stack shop owns" in str(refused)
        assert "--max-deletes 2" in refused.fix
    assert over_limits(plan, Limits(deletes=Limit(number=2), is_asked=True)) is None
    assert over_limits(plan, UNLIMITED) is None
    renamed = planned(bench, ours("c"), options=_PRUNE)
    assert over_limits(renamed, DEFAULTS) is not None, "what is new makes no difference"
    too_few = over_limits(plan, Limits(deletes=Limit(number=1), is_asked=True))
    assert too_few is not None


def test_prune_counts_against_what_the_stack_owns() -> None:
    bench = Bench()
    declared = [ours(f"kept-{n}") for n in range(6)]
    made(bench, *declared, *(ours(f"left-{n}") for n in range(4)))
    refused = over_limits(planned(bench, *declared, options=_PRUNE), DEFAULTS)
    assert refused is not None
    assert "4 of 10 existing endpoints (40%) would be deleted" in str(refused)


def test_a_saved_snapshot_prunes_alike() -> None:
    bench = Bench()
    made(bench, ours("kept"), ours("left"))
    prune = Prune("shop", ("Endpoint",))
    seen = read_snapshot(bench.client, [ours("kept")], target="t", taken_at=_AT, prune=prune)
    again = snapshot_from_json(snapshot_to_json(seen), where="")
    assert make_plan([ours("kept")], again, _PRUNE).steps == make_plan([ours("kept")], seen, _PRUNE).steps


# ---- protection -------------------------------------------------------------------------------------------


def test_what_was_protected_stays_so_when_its_manifest_is_gone() -> None:
    bench = Bench()
    made(bench, ours("kept"), ours("precious", protect=True))
    plan = planned(bench, ours("kept"), options=_PRUNE)
    refused = refusals(plan)
    assert refused is not None
    assert "Endpoint/precious is protected, and would be deleted" in str(refused)
    assert "which lifts the protection" in refused.fix

    seen = read_snapshot(bench.client, [ours("precious")], target="t", taken_at=_AT)
    for desired in (ours("precious"), replace(ours("precious"), stack="")):
        assert refusals(plan_destroy([desired], seen, PlanOptions(desired.stack))) is not None

    lifted = planned(bench, ours("kept"), ours("precious"))
    assert [c.words for s in lifted.steps for c in s.changes] == ["protection lifted"]
    bench.wire.requests.clear()
    assert applied(bench, lifted, ours("kept"), ours("precious")).converged
    assert bench.wire.writes == ["PATCH /api/2.0/serving-endpoints/precious/tags"]
    assert PROTECTED_TAG not in tags_of(bench, "precious")
    assert refusals(planned(bench, ours("kept"), options=_PRUNE)) is None


# ---- adoption ---------------------------------------------------------------------------------------------


def test_an_endpoint_that_appears_under_another_owner_is_not_taken_for_our_create() -> None:
    bench = Bench()
    for owner in ({}, {STACK_TAG: "bank"}):
        plan = planned(bench, ours("chat"))
        by_hand(bench, "chat", team="x", **owner)
        outcome = applied(bench, plan, ours("chat")).outcomes[0]
        assert outcome.status is StepStatus.REFUSED
        assert "not this stack's" in outcome.error
        bench.by_hand.delete_endpoint("chat")


def test_a_create_whose_answer_was_lost_is_known_again_by_its_marker() -> None:
    bench = Bench()
    lost = iter([True])

    def after(request: Request, response: Response) -> Response:
        if request.method == "POST" and next(lost, False):
            raise ConnectionError("the line went dead")
        return response

    bench.wire.after = after
    assert applied(bench, planned(bench, ours("chat")), ours("chat")).converged
    assert [line for line in bench.wire.writes if line.startswith("POST")] == [
        "POST /api/2.0/serving-endpoints"
    ]


# ---- moves ------------------------------------------------------------------------------------------------

_SERVING = {"config": {"served_entities": [{"name": "m", "entity_name": "a.b.c", "entity_version": "1"}]}}


def test_a_move_makes_the_new_one_waits_and_deletes_the_old() -> None:
    bench = Bench()
    made(bench, ours("old", **_SERVING))
    new = ours("new", moved_from="old", **_SERVING)
    plan = planned(bench, new, options=_PRUNE)
    assert [(s.address.name, s.action) for s in plan.steps] == [
        ("new", Action.CREATE),
        ("old", Action.DELETE),
    ], "once, with --prune too"
    assert replacements(plan) is not None
    assert over_limits(plan, Limits(deletes=Limit(number=0))) is not None, "it counts as a deletion"

    ready: list[str] = []

    def before(request: Request) -> Response | None:
        if request.method == "DELETE":
            ready.append(bench.by_hand.get_endpoint("new")["state"]["ready"])
        return None

    bench.wire.before = before
    assert applied(bench, plan, new).converged
    assert ready == ["READY"], "the old one served until the new one did"
    assert names(bench) == ["new"]

    again = planned(bench, new)
    assert again.is_empty
    assert again.steps[0].notes == ("Endpoint/old is gone: lifecycle.moved_from can be taken out",)


def test_a_move_that_was_cut_short_goes_on_where_it_was() -> None:
    bench = Bench(provisioning=60.0)
    made(bench, ours("old", **_SERVING))
    new = ours("new", moved_from="old", **_SERVING)
    bench.by_hand.create_endpoint(
        config={"name": "new", **_SERVING, "tags": [{"key": STACK_TAG, "value": "shop"}]}
    )
    plan = planned(bench, new)
    assert [(s.address.name, s.action) for s in plan.steps] == [
        ("new", Action.NO_OP),
        ("old", Action.DELETE),
    ]
    late = applied(bench, plan, new, wait=False)
    assert {o.step.address.name: o.status for o in late.outcomes}["old"] is StepStatus.NOT_BEGUN
    assert names(bench) == ["new", "old"], "the new one is not live yet"
    assert applied(bench, plan, new).converged
    assert names(bench) == ["new"]


def test_the_old_one_is_kept_when_the_new_one_fails() -> None:
    bench = Bench()
    made(bench, ours("old", **_SERVING))
    new = ours("new", moved_from="old", config=custom(entity="main.ml.fail-to-deploy"))
    first = applied(bench, planned(bench, new), new).outcomes
    assert [outcome.status for outcome in first] == [StepStatus.FAILED, StepStatus.NOT_BEGUN]
    bench.settle()
    assert names(bench) == ["new", "old"]
    new = ours("new", moved_from="old", tags={})  # its configuration is not managed: nothing to repair
    plan = planned(bench, new)
    assert [step.action for step in plan.steps] == [Action.NO_OP, Action.DELETE]
    again = applied(bench, plan, new).outcomes[1]
    assert again.status is StepStatus.REFUSED
    assert again.error.startswith("Endpoint/new is not live: the creation failed")
    assert names(bench) == ["new", "old"]


@pytest.mark.parametrize(
    ("owner", "adopt", "refusal"),
    [
        ("bank", True, "Endpoint/old belongs to stack bank"),
        ("", False, "Endpoint/old was not made by this stack"),
        ("", True, ""),
        ("shop", False, ""),
    ],
)
def test_only_what_is_ours_moves(owner: str, adopt: bool, refusal: str) -> None:
    bench = Bench()
    by_hand(bench, "old", **({STACK_TAG: owner} if owner else {}))
    plan = planned(bench, ours("new", moved_from="old"), options=replace(_WHOLE, adopt=adopt))
    assert plan.steps[1].refusal.partition("\n")[0] == refusal


@pytest.mark.parametrize("where", ["line", "mark"])
def test_what_is_protected_does_not_move(where: str) -> None:
    bench = Bench()
    made(bench, ours("old", protect=where == "mark"))
    refused = refusals(planned(bench, ours("new", moved_from="old", protect=where == "line")))
    assert refused is not None
    assert "Endpoint/old is protected, and would be deleted" in str(refused)


def test_a_move_to_what_is_not_ours_keeps_the_old_one() -> None:
    bench = Bench()
    made(bench, ours("old"))
    by_hand(bench, "new", team="x")
    plan = planned(bench, ours("new", moved_from="old"))
    assert (
        "Endpoint/new is there already, and not this stack's: Endpoint/old is kept" in plan.steps[1].refusal
    )


# ---- any workspace ----------------------------------------------------------------------------------------

_OWNERS = st.sampled_from(["shop", "bank", ""])
workspaces = st.dictionaries(
    st.sampled_from("abcdef"),
    st.fixed_dictionaries({"owner": _OWNERS, "protected": st.booleans(), "declared": st.booleans()}),
    max_size=6,
)


def _world(states: dict[str, dict[str, Any]]) -> tuple[Bench, list[Resource]]:
    bench = Bench()
    for name, state in states.items():
        marks = {STACK_TAG: state["owner"]} if state["owner"] else {}
        by_hand(bench, name, **marks, **({PROTECTED_TAG: "true"} if state["protected"] else {}))
    declared = [
        ours(name, protect=state["protected"], tags={}) for name, state in states.items() if state["declared"]
    ]
    return bench, declared


@settings(max_examples=_CASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(states=workspaces)
def test_prune_deletes_exactly_what_is_ours_undeclared_and_unprotected(states: dict[str, Any]) -> None:
    bench, declared = _world(states)
    plan = planned(bench, *declared, options=_PRUNE)
    undeclared = {n for n, s in states.items() if s["owner"] == "shop" and not s["declared"]}
    doomed = {s.address.name for s in plan.steps if s.action is Action.DELETE}
    assert doomed == undeclared
    refused = {s.address.name for s in plan.steps if s.action is Action.DELETE and s.refusal}
    assert refused == {name for name in undeclared if states[name]["protected"]}

    # What may not be carried out is taken out, as somebody would who declares it again.
    allowed = replace(plan, steps=tuple(s for s in plan.steps if not s.refusal))
    assert refusals(allowed) is None
    applied(bench, allowed, *declared)
    assert set(names(bench)) == set(states) - (undeclared - refused)
    rest = planned(bench, *declared, options=_PRUNE)
    assert {s.address.name for s in rest.steps if s.calls} <= refused


class Killed(BaseException):
    """The process ends here."""


@settings(max_examples=_CASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(states=workspaces, at=st.integers(1, 12), is_sent=st.booleans(), moves=st.booleans())
def test_a_kill_between_two_calls_costs_nothing_but_a_second_run(
    states: dict[str, Any], at: int, is_sent: bool, moves: bool
) -> None:
    states = {name: {**state, "protected": False} for name, state in states.items()}
    bench, declared = _world(states)
    options = replace(_PRUNE, adopt=True)
    declared = [r for r in declared if states[r.address.name]["owner"] != "bank"]
    gone = sorted(n for n, s in states.items() if s["owner"] == "shop" and not s["declared"])
    if moves and gone:
        declared.append(ours("moved", moved_from=gone[0], tags={}))
    seen = 0

    def ends(request: Request) -> None:
        nonlocal seen
        seen += 1
        if seen >= at:
            raise Killed

    def before(request: Request) -> Response | None:
        if not is_sent:
            ends(request)
        return None

    def after(request: Request, response: Response) -> Response:
        if is_sent:
            ends(request)
        return response

    bench.wire.before, bench.wire.after = before, after
    with contextlib.suppress(Killed):
        applied(bench, planned(bench, *declared, options=options), *declared, parallelism=1)
    bench.wire.before, bench.wire.after = lambda request: None, lambda request, response: response
    bench.settle()
    assert applied(bench, planned(bench, *declared, options=options), *declared).converged
    assert planned(bench, *declared, options=options).is_empty
    others = {n for n, s in states.items() if s["owner"] != "shop"}
    assert set(names(bench)) == others | {resource.address.name for resource in declared}
