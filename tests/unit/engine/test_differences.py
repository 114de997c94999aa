"""Where two documents differ, and what of it may travel."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given

from reconciler.engine.differences import differences, pairs
from reconciler.engine.promotion import moves
from reconciler.manifest.sides import Pair, Side
from reconciler.schema import MISSING
from reconciler.values import Address, Source
from tests.unit.manifest.test_overlay import _SPEC

_CHAT = Address("Endpoint", "chat")


def _side(spec: Any, address: Address = _CHAT, line: int = 1) -> Side:
    spec = yaml.safe_load(spec) if isinstance(spec, str) else spec
    return Side(address, {"metadata": {"name": address.name}, "spec": spec}, Source("m.yaml", line))


def _told(left: Any, right: Any) -> list[tuple[str, Any, Any]]:
    return [(str(one.path), one.left, one.right) for one in differences(_side(left), _side(right))]


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        ("{tags: {a: b}}", "{tags: {a: b}}", []),
        ("{tags: {a: b}}", "{tags: [{key: a, value: b}]}", []),
        ("{tags: {a: b}}", "{tags: {a: c, d: e}}", [("tags.a", "b", "c"), ("tags.d", MISSING, "e")]),
        ("{tags: {a: b}}", "{}", [("tags.a", "b", MISSING)]),
        ("{tags: {}}", "{}", [("tags", {}, MISSING)]),
        ("{tags: null}", "{tags: {a: b}}", [("tags", None, {"a": "b"})]),
        (
            "{config: {served_entities: [{name: x, entity_name: m}, {name: y, entity_name: n}]}}",
            "{config: {served_models: [{name: x, model_name: m}, {name: y, model_name: o}]}}",
            [("config.served_entities[y].entity_name", "n", "o")],
        ),
        (
            "{config: {served_entities: [{entity_name: m, entity_version: '1'}]}}",
            "{config: {served_entities: [{entity_name: m, entity_version: '2'}]}}",
            [("config.served_entities[m-1].entity_version", "1", "2")],
        ),
        (
            "{permissions: [{group_name: g, permission_level: CAN_VIEW}]}",
            "{permissions: [{group_name: h, permission_level: CAN_VIEW}]}",
            [
                ("permissions[group_name=g]", {"group_name": "g", "permission_level": "CAN_VIEW"}, MISSING),
                ("permissions[group_name=h]", MISSING, {"group_name": "h", "permission_level": "CAN_VIEW"}),
            ],
        ),
    ],
)
def test_differences_by_the_keys_of_the_schema(left: str, right: str, told: Any) -> None:
    assert _told(left, right) == told


def test_the_order_counts_where_it_means_something() -> None:
    left = "{config: {served_entities: [{name: x, entity_name: m}, {name: y, entity_name: n}]}}"
    right = "{config: {served_entities: [{name: y, entity_name: n}, {name: x, entity_name: m}]}}"
    (one,) = differences(_side(left), _side(right))
    assert one.is_order
    assert (one.left, one.right) == (["x", "y"], ["y", "x"])


def test_what_may_hold_a_secret_is_masked_and_a_reference_is_not() -> None:
    left = "{config: {served_entities: [{name: x, environment_vars: {A: secret, B: '${env:B}'}}]}}"
    right = "{config: {served_entities: [{name: x, environment_vars: {A: other, B: '{{secrets/a/b}}'}}]}}"
    found = differences(_side(left), _side(right))
    assert [(one.shown(one.left), one.shown(one.right)) for one in found] == [
        ("***", "***"),
        ("${env:B}", "{{secrets/a/b}}"),
    ]


def test_pairs_are_made_by_address_and_then_by_manifest() -> None:
    dev, prod = (_side("{}", Address("Endpoint", name), 3) for name in ("chat-dev", "chat-prod"))
    other = _side("{}", Address("Endpoint", "other"), 9)
    assert pairs([dev], [prod, other]) == [Pair(dev, prod), Pair(None, other)]
    assert pairs([dev, other], [other]) == [Pair(dev, None), Pair(other, other)]


@given(_SPEC, _SPEC)
def test_no_difference_means_the_same_and_the_other_way_round(left: Any, right: Any) -> None:
    one, other = _side(left["spec"]), _side(right["spec"])
    assert differences(one, one) == []
    there, back = differences(one, other), differences(other, one)
    assert {str(d.path) for d in there if not d.is_order} == {str(d.path) for d in back if not d.is_order}
    assert [(d.left, d.right) for d in sorted(there, key=lambda d: str(d.path)) if not d.is_order] == [
        (d.right, d.left) for d in sorted(back, key=lambda d: str(d.path)) if not d.is_order
    ]


@pytest.mark.parametrize(
    ("allowed", "travels"),
    [
        ([], []),
        (["tags"], ["tags.a"]),
        (["config.served_entities[*].entity_version"], ["config.served_entities[x].entity_version"]),
        (["config.served_entities[y]"], ["config.served_entities[y]"]),
        (
            ["config.served_entities"],
            ["config.served_entities[x].entity_version", "config.served_entities[y]"],
        ),
        (["config.served_entities[*].workload_size"], []),
    ],
)
def test_what_may_travel(allowed: list[str], travels: list[str]) -> None:
    to = "{tags: {a: b}, config: {served_entities: [{name: x, entity_version: '1'}]}}"
    source = "{tags: {a: c}, config: {served_entities: [{name: x, entity_version: '2'}, {name: y}]}}"
    (move,) = moves([Pair(_side(to), _side(source))], {"Endpoint": allowed})
    assert [str(one.path) for one in move.travelling] == travels
    assert len(move.travelling) + len(move.staying) == 3
