"""Base, desired and live: who caused a change."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.engine.planner import make_plan
from reconciler.engine.three_way import BOTH, DRIFT, INTENDED, labelled, removed, with_removed_sections
from reconciler.values import Address, Lifecycle, Live, Plan, Resource, Snapshot, Source


def endpoint(name: str = "chat", **spec: Any) -> Resource:
    lifecycle = Lifecycle(moved_from=spec.pop("moved_from", ""))
    return Resource(Address("Endpoint", name), spec, Source("m.yaml", 1), lifecycle=lifecycle)


def live(**raw: Any) -> Snapshot:
    address = Address("Endpoint", "chat")
    state = {"ready": "READY", "config_update": "NOT_UPDATING"}
    return Snapshot("t", "", {address: Live(address, {"name": "chat", "id": "1", "state": state, **raw})})


def tags(**values: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def causes(plan: Plan) -> dict[str, str]:
    return {str(change.path): change.cause for step in plan.steps for change in step.changes}


def three(base: Resource | None, desired: Resource, seen: Snapshot) -> dict[str, str]:
    before = make_plan([base] if base else [], seen)
    return causes(labelled(make_plan([desired], seen), before))


@pytest.mark.parametrize(
    ("base", "desired", "now", "cause"),
    [
        ("a", "b", "a", INTENDED),  # we edited it
        ("a", "a", "x", DRIFT),  # somebody edited the workspace
        ("a", "b", "x", BOTH),
        (None, "b", None, INTENDED),  # a new tag
        ("a", "a", None, DRIFT),  # somebody took it away
        ("a", None, "a", INTENDED),  # we take it away
        (None, None, "x", DRIFT),  # somebody added one
        ("a", None, "x", BOTH),
    ],
)
def test_cause(base: str | None, desired: str | None, now: str | None, cause: str) -> None:
    def values(value: str | None) -> dict[str, str]:
        return {"keep": "it"} | ({} if value is None else {"tag": value})

    told = three(endpoint(tags=values(base)), endpoint(tags=values(desired)), live(tags=tags(**values(now))))
    assert told == {"tags.tag": cause}


def test_edited_to_what_is_live_is_no_change() -> None:
    assert three(endpoint(tags={"a": "1"}), endpoint(tags={"a": "2"}), live(tags=tags(a="2"))) == {}


def test_a_section_that_is_new_in_the_manifest_is_intended() -> None:
    assert three(endpoint(), endpoint(tags={"a": "1"}), live()) == {"tags.a": INTENDED}


def test_what_was_not_declared_is_intended_and_what_vanished_is_drift() -> None:
    nothing = Snapshot("t", "", {})
    assert set(three(None, endpoint(tags={"a": "1"}), nothing).values()) == {INTENDED}
    same = endpoint(tags={"a": "1"})
    assert set(three(same, same, nothing).values()) == {DRIFT}


def test_the_commit_that_set_the_value_is_told() -> None:
    seen = live(tags=tags(a="0"))
    made = make_plan([endpoint(tags={"a": "1"})], seen)
    told = labelled(made, made, lambda step, change: f"commit of {change.source.file}")
    assert [c.set_by for s in told.steps for c in s.changes] == ["commit of m.yaml"]


def test_a_section_taken_out_of_the_manifest_is_cleared_where_the_api_can() -> None:
    base = endpoint(tags={"a": "1"}, ai_gateway={"usage_tracking_config": {"enabled": True}}, description="d")
    (told,) = with_removed_sections([endpoint(config={})], [base])
    assert told.spec == {"config": {}, "tags": None, "ai_gateway": None}
    (same,) = with_removed_sections([endpoint("other", config={})], [base])
    assert same.spec == {"config": {}}


def test_what_is_declared_no_more() -> None:
    base = [endpoint("a"), endpoint("b"), endpoint("c")]
    assert [r.address.name for r in removed([endpoint("a"), endpoint("d", moved_from="c")], base)] == ["b"]
