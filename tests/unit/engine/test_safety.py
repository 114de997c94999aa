"""What a plan may not do: limits with a minimum population, protection, replacements."""

from __future__ import annotations

import pytest

from reconciler.engine.safety import (
    DEFAULTS,
    MINIMUM_POPULATION,
    Limit,
    Limits,
    counts,
    over_limits,
    refusals,
    replacements,
)
from reconciler.errors import ProtectedError, UsageError
from reconciler.values import Action, Address, Call, FieldChange, FieldPath, Plan, Step

_CALL = Call("update_endpoint_config", {}, "PUT", "/x")


def plan_of(**numbers: int) -> Plan:
    """A plan with so many steps of each action; ``no_op`` ones exist."""
    steps = []
    for name, number in numbers.items():
        action = Action(name)
        for at in range(number):
            calls = () if action is Action.NO_OP else (_CALL,)
            changes = (
                (FieldChange(FieldPath(("route_optimized",)), True, False, forces_replace=True),)
                if action is Action.REPLACE
                else ()
            )
            address = Address("Endpoint", f"{name}-{at}")
            steps.append(Step(address, action, changes, calls, compared=3))
    return Plan("databricks", tuple(steps))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("5", Limit(number=5)),
        ("0", Limit(number=0)),
        ("30%", Limit(percent=30)),
        ("2.5 %", Limit(percent=2.5)),
    ],
)
def test_limits_are_numbers_or_percentages(text: str, limit: Limit) -> None:
    assert Limit.parse(text, "--max-deletes") == limit


@pytest.mark.parametrize("text", ["", "many", "-1", "101%", "1e3", "%", "٣", "5 of 10"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(UsageError, match="--max-deletes"):
        Limit.parse(text, "--max-deletes")


@pytest.mark.parametrize(
    ("limit", "count", "population", "allowed"),
    [
        (Limit(number=2), 2, 2, True),
        (Limit(number=2), 3, 1000, False),
        (Limit(number=0), 1, 1, False),
        (Limit(percent=30), 9, MINIMUM_POPULATION - 1, True),  # too few exist for a share to say anything
        (Limit(percent=30), 3, MINIMUM_POPULATION, True),
        (Limit(percent=30), 4, MINIMUM_POPULATION, False),
        (Limit(percent=0), 1, MINIMUM_POPULATION, False),
        (Limit(), 1000, 1000, True),
    ],
)
def test_a_limit_and_its_population(limit: Limit, count: int, population: int, allowed: bool) -> None:
    assert limit.allows(count, population) is allowed


def test_the_defaults_stop_a_half_empty_folder() -> None:
    refused = over_limits(plan_of(delete=6, no_op=6), DEFAULTS)
    assert refused is not None
    assert refused.exit_code == 3
    assert "6 of 12 existing endpoints (50%) would be deleted or replaced, and the limit is 30%" in str(
        refused
    )
    assert "Endpoint/delete-0, " in str(refused)
    assert "and 1 more" in str(refused)
    assert "--max-deletes 6 allows it" in str(refused)


def test_the_flag_that_the_message_names_allows_it() -> None:
    plan = plan_of(delete=6, no_op=6)
    assert over_limits(plan, Limits(Limit.parse("6", ""), DEFAULTS.changes)) is None


def test_replacements_count_as_deletes_and_as_changes() -> None:
    plan = plan_of(replace=2, update=2, no_op=20)
    assert over_limits(plan, Limits(deletes=Limit(number=1))) is not None
    refused = over_limits(plan, Limits(changes=Limit(number=3)))
    assert refused is not None
    assert "4 of 24" in str(refused)
    assert "--max-changes 4" in str(refused)


def test_creates_are_never_limited_and_are_no_population() -> None:
    assert over_limits(plan_of(create=500), Limits(Limit(number=0), Limit(number=0))) is None
    # 4 of 9 that exist: the 50 new ones do not make it a small share of many, nor enough to count shares
    assert over_limits(plan_of(delete=4, no_op=5, create=50), DEFAULTS) is None


def test_what_does_not_exist_is_no_population() -> None:
    absent = Step(Address("Endpoint", "gone"), Action.NO_OP, notice="nothing")
    plan = Plan("t", (*plan_of(delete=4, no_op=5).steps, *[absent] * 20))
    assert over_limits(plan, DEFAULTS) is None


def test_protection_goes_before_limits() -> None:
    step = Step(Address("Endpoint", "kept"), Action.DELETE, calls=(_CALL,), protected=True)
    refused = refusals(Plan("t", (step,)), Limits(deletes=Limit(number=0)))
    assert isinstance(refused, ProtectedError)
    assert "prevent_destroy" in str(refused)


def test_a_replacement_needs_a_word() -> None:
    assert replacements(plan_of(update=3, delete=1)) is None
    refused = replacements(plan_of(replace=1))
    assert refused is not None
    assert "Endpoint/replace-0 would be deleted and created again" in str(refused)
    assert "route_optimized" in str(refused)
    assert "--allow-replace" in str(refused)


def test_a_question_names_what_ends() -> None:
    assert counts(plan_of(create=2, update=1, delete=1)) == (
        "2 to create, 1 to update, 1 to delete (Endpoint/delete-0)"
    )
