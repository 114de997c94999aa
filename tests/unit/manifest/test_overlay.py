"""Patches laid over manifests, as values: how each shape is merged, and what holds for all of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler import schema
from reconciler.manifest import text
from reconciler.manifest.overlay import laid_over

_FIELDS = schema.document_fields("endpoint")


def _laid(base: str, patch: str) -> tuple[Any, list[tuple[str, str]]]:
    """Both as YAML of a spec."""
    before = text.parse(base, "base.yaml").documents[0]
    over = text.parse(patch, "patch.yaml").documents[0]
    kept = copy.deepcopy((before.value, over.value, before.positions.marks, over.positions.marks))
    value, _, told = laid_over(
        {"spec": before.value}, {"spec": (1, 1, before.positions.marks)},
        {"spec": over.value}, {"spec": (1, 1, over.positions.marks)},
        _FIELDS, "patch.yaml",
    )  # fmt: skip
    assert kept == (before.value, over.value, before.positions.marks, over.positions.marks), (
        "nothing is changed"
    )
    return value["spec"], [(".".join(map(str, path[1:])), rule) for path, _, _, rule in told]


_ENTITIES = (
    "{config: {served_entities: [{name: a, entity_name: m, entity_version: '1'}, {name: b, entity_name: n}]}}"
)


@pytest.mark.parametrize(
    ("base", "patch", "expected"),
    [
        # mappings by name
        ("{description: a}", "{budget_policy_id: b}", "{description: a, budget_policy_id: b}"),
        ("{tags: {a: '1', b: '2'}}", "{tags: {b: '3', c: '4'}}", "{tags: {a: '1', b: '3', c: '4'}}"),
        # single values, sets and sequences are replaced
        ("{description: a}", "{description: b}", "{description: b}"),
        (
            "{email_notifications: {on_update_failure: [a, b]}}",
            "{email_notifications: {on_update_failure: [c]}}",
            "{email_notifications: {on_update_failure: [c]}}",
        ),
        # keyed lists by key: one changed, one new, the rest as it was
        (
            _ENTITIES,
            "{config: {served_entities: [{name: b, entity_version: '5'}, {name: c, entity_name: o}]}}",
            "{config: {served_entities: [{name: a, entity_name: m, entity_version: '1'},"
            " {name: b, entity_name: n, entity_version: '5'}, {name: c, entity_name: o}]}}",
        ),
        # an item without a name is known by its subject
        (
            "{config: {served_entities: [{entity_name: m, entity_version: '1'}]}}",
            "{config: {served_entities: [{entity_name: m, entity_version: '2'}]}}",
            "{config: {served_entities: [{entity_name: m, entity_version: '2'}]}}",
        ),
        # keys of which parts have a default
        (
            "{ai_gateway: {rate_limits: [{calls: 1, renewal_period: minute}, {key: user, calls: 2}]}}",
            "{ai_gateway: {rate_limits: [{key: endpoint, calls: 3}]}}",
            "{ai_gateway: {rate_limits: [{calls: 3, renewal_period: minute, key: endpoint},"
            " {key: user, calls: 2}]}}",
        ),
        (
            "{permissions: [{group_name: g, permission_level: CAN_VIEW}]}",
            "{permissions: [{group_name: g, permission_level: CAN_QUERY}, {user_name: g}]}",
            "{permissions: [{group_name: g, permission_level: CAN_QUERY}, {user_name: g}]}",
        ),
        # both spellings, either way round; the manifest's stays
        (
            _ENTITIES,
            "{config: {served_models: [{name: a, model_version: '2', scale_to_zero_enabled: true}]}}",
            "{config: {served_entities: [{name: a, entity_name: m, entity_version: '2',"
            " scale_to_zero_enabled: true}, {name: b, entity_name: n}]}}",
        ),
        (
            "{config: {served_models: [{name: a, model_name: m}]}}",
            "{config: {served_entities: [{name: a, entity_version: '2'}, {name: b, entity_name: n}]}}",
            "{config: {served_models: [{name: a, model_name: m, model_version: '2'},"
            " {name: b, model_name: n}]}}",
        ),
        (
            "{config: {traffic_config: {routes: [{served_model_name: a, traffic_percentage: 100}]}}}",
            "{config: {traffic_config: {routes: [{served_entity_name: a, traffic_percentage: 50}]}}}",
            "{config: {traffic_config: {routes: [{served_model_name: a, traffic_percentage: 50}]}}}",
        ),
        # pairs are a map, whichever way they are written
        ("{tags: [{key: a, value: '1'}]}", "{tags: {b: '2'}}", "{tags: {a: '1', b: '2'}}"),
        ("{tags: {a: '1', b: '2'}}", "{tags: [{key: a, value: '3'}]}", "{tags: {a: '3', b: '2'}}"),
        ("{tags: {a: '1', b: '2'}}", "{tags: [{key: a, $remove: true}]}", "{tags: {b: '2'}}"),
        # null, {} and [] are what they are in a manifest
        ("{tags: {a: '1'}}", "{tags: null}", "{tags: null}"),
        ("{tags: {a: '1'}}", "{tags: {}}", "{tags: {}}"),
        (_ENTITIES, "{config: {served_entities: []}}", "{config: {served_entities: []}}"),
        # removing
        ("{tags: {a: '1'}, description: x}", "{tags: {$remove: true}}", "{description: x}"),
        ("{tags: {a: '1', b: '2'}}", "{tags: {a: {$remove: true}}}", "{tags: {b: '2'}}"),
        (
            _ENTITIES,
            "{config: {served_entities: [{name: a, $remove: true}]}}",
            "{config: {served_entities: [{name: b, entity_name: n}]}}",
        ),
        # replacing
        ("{tags: {a: '1'}}", "{tags: {$replace: true, b: '2'}}", "{tags: {b: '2'}}"),
        (
            _ENTITIES,
            "{config: {served_entities: [{$replace: true}, {name: c, entity_name: o}]}}",
            "{config: {served_entities: [{name: c, entity_name: o}]}}",
        ),
        (
            _ENTITIES,
            "{config: {served_entities: [{name: a, $replace: true, entity_name: z}]}}",
            "{config: {served_entities: [{name: a, entity_name: z}, {name: b, entity_name: n}]}}",
        ),
    ],
)
def test_how_a_shape_is_merged(base: str, patch: str, expected: str) -> None:
    value, told = _laid(base, patch)
    assert told == []
    assert value == yaml.safe_load(expected)
    assert list(value) == list(yaml.safe_load(expected)), "in the manifest's order"


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        ("{tags: {b: {$remove: true}}}", ("tags.b", "overlay-removes-nothing")),
        ("{description: {$remove: true}}", ("description", "overlay-removes-nothing")),
        (
            "{config: {served_entities: [{name: c, $remove: true}]}}",
            ("config.served_entities.0", "overlay-removes-nothing"),
        ),
        (
            "{config: {traffic_config: {routes: [{served_entity_name: a, $remove: true}]}}}",
            ("config.traffic_config.routes.0", "overlay-removes-nothing"),
        ),
        ("{tags: {a: {$remove: false}}}", ("tags.a.$remove", "overlay-patch")),
        ("{tags: {a: {$remove: true, b: c}}}", ("tags.a.b", "overlay-patch")),
        ("{tags: {$replace: 1, b: c}}", ("tags.$replace", "overlay-patch")),
        ("{tags: {$delete: true}}", ("tags.$delete", "overlay-patch")),
        (
            "{config: {served_entities: [{entity_version: '3'}]}}",
            ("config.served_entities.0", "overlay-item-without-key"),
        ),
        ("{config: {served_entities: [text]}}", ("config.served_entities.0", "wrong-type")),
        (
            "{config: {served_entities: [{name: a}, {name: a}]}}",
            ("config.served_entities.1", "duplicate-item"),
        ),
    ],
)
def test_what_is_wrong_with_a_patch(patch: str, told: tuple[str, str]) -> None:
    assert _laid("{tags: {a: '1'}, " + _ENTITIES[1:], patch)[1] == [told]


def test_a_subject_that_fits_several_items_is_no_key() -> None:
    base = "{config: {served_entities: [{name: x, entity_name: m}, {name: y, entity_name: m}]}}"
    _, told = _laid(base, "{config: {served_entities: [{entity_name: m, entity_version: '2'}]}}")
    assert told == [("config.served_entities.0", "overlay-item-without-key")]


# ---- properties -----------------------------------------------------------------------------------------

_TEXT = st.sampled_from(["a", "b", "c"])
_ITEM = st.fixed_dictionaries(
    {"name": _TEXT},
    optional={
        "entity_name": _TEXT,
        "entity_version": _TEXT,
        "environment_vars": st.dictionaries(_TEXT, _TEXT, min_size=1),
    },
)
_ROUTE = st.fixed_dictionaries(
    {"served_entity_name": _TEXT}, optional={"traffic_percentage": st.integers(0, 3)}
)


def _keyed(item: st.SearchStrategy[Any], key: str) -> st.SearchStrategy[Any]:
    return st.lists(item, min_size=1, max_size=3, unique_by=lambda one: one[key])


_CONFIG = st.fixed_dictionaries(
    {"served_entities": _keyed(_ITEM, "name")},
    optional={"traffic_config": st.fixed_dictionaries({"routes": _keyed(_ROUTE, "served_entity_name")})},
)
_SPEC = st.fixed_dictionaries(
    {},
    optional={
        "config": _CONFIG,
        "tags": st.dictionaries(_TEXT, _TEXT, min_size=1),
        "description": _TEXT,
        "email_notifications": st.fixed_dictionaries({"on_update_success": st.lists(_TEXT, min_size=1)}),
    },
).map(lambda spec: {"spec": spec})


def _over(base: Any, patch: Any) -> Any:
    value, _, told = laid_over(base, {}, patch, {}, _FIELDS, "p.yaml")
    assert not told
    return value


@given(_SPEC, _SPEC, _SPEC)
def test_laying_over_is_associative_without_removing_replacing_or_clearing(
    base: Any, first: Any, second: Any
) -> None:
    assert _over(_over(base, first), second) == _over(base, _over(first, second))


@given(_SPEC)
def test_a_patch_of_nothing_and_a_patch_of_the_same_change_nothing(base: Any) -> None:
    assert _over(base, {}) == base
    assert _over(base, base) == base


@given(_SPEC, _SPEC)
def test_what_a_patch_writes_is_what_comes_out(base: Any, patch: Any) -> None:
    """Laid over once more, it finds everything as it wants it."""
    once = _over(base, patch)
    assert _over(once, patch) == once
