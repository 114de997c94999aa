"""What goes first when calls are scarce."""

from __future__ import annotations

from typing import Any

from reconciler.engine.order import by_value, value_of
from reconciler.values import Action, Address, Call, Step
from tests.unit.engine.workbench import Bench, custom, endpoint


def step(name: str, action: Action, *sections: str) -> Step:
    calls = tuple(Call("x", {}, "PUT", "/x", section=section) for section in sections)
    return Step(Address("Endpoint", name), action, calls=calls)


def test_creates_and_repairs_go_before_cosmetics() -> None:
    steps = [
        step("tags", Action.UPDATE, "tags"),
        step("old", Action.DELETE, ""),
        step("mail", Action.UPDATE, "email_notifications", "tags"),
        step("limits", Action.UPDATE, "tags", "ai_gateway"),
        step("config", Action.UPDATE, "config"),
        step("new", Action.CREATE, "", "permissions"),
        step("again", Action.REPLACE, "", ""),
        step("also-new", Action.CREATE, ""),
    ]
    assert [s.address.name for s in by_value(steps)] == [
        "new",
        "also-new",
        "again",
        "config",
        "limits",
        "mail",
        "tags",
        "old",
    ]
    assert value_of(step("nothing", Action.NO_OP)) == 5


def test_an_apply_sends_in_this_order() -> None:
    bench = Bench(provisioning=0.0)
    bench.apply(endpoint("a", tags={"x": "1"}), endpoint("b", config=custom()))
    wanted: list[Any] = [endpoint("a", tags={"x": "2"}), endpoint("b", config=custom("2")), endpoint("c")]
    plan = bench.plan(*wanted)
    bench.wire.requests.clear()
    assert bench.apply(*wanted, plan=plan, parallelism=1).converged
    assert [line.split("serving-endpoints")[1] for line in bench.wire.writes] == ["", "/b/config", "/a/tags"]
