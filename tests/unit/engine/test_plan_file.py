"""A plan as a file: no secret in it, a seal on it, and held against today field by field."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from referencing import Registry
from referencing import Resource as Document

from reconciler import schema
from reconciler.engine.options import PlanOptions
from reconciler.engine.plan_file import (
    Moved,
    PlanFile,
    compared_with,
    masked_snapshot,
    plan_file_json,
    read_plan_file,
    stale,
)
from reconciler.engine.planner import make_plan
from reconciler.engine.signing import seal_problem, sealed
from reconciler.engine.snapshot import read_snapshot
from reconciler.errors import ReconcilerError, UsageError
from reconciler.redact import Redactor
from reconciler.report.json import plan_json
from reconciler.report.reread import plan_from_json
from reconciler.report.text import plan_text
from reconciler.values import Action, Address, FieldChange, FieldPath, Lifecycle, Plan, Resource, Secret, Step
from tests.unit.engine.workbench import Bench, custom, endpoint

_KEY = Secret("canary-of-the-key", "${env:KEY}")


def external(version: str = "gpt-4o", key: Any = _KEY) -> dict[str, Any]:
    model = {"provider": "openai", "name": version, "task": "llm/v1/chat", "openai_config": {}}
    model["openai_config"] = {"openai_api_key_plaintext": key}
    return {"served_entities": [{"name": "m", "external_model": model}]}


class Desk:
    """A bench where plans are filed, and held against the bench as it is later."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.redactor = Redactor([_KEY])

    def file(self, *desired: Resource, key: str = "") -> dict[str, Any]:
        ground = masked_snapshot(self._seen(desired), "salt")
        content = plan_file_json(
            plan_json(make_plan(desired, ground)),
            desired,
            ground,
            host="https://w",
            made_at="2026-01-01T00:00:00Z",
            made_by="reconciler",
            paths=["m.yaml"],
            project=None,
            options=PlanOptions(stack="shop"),
            redactor=self.redactor,
            key=key,
        )
        return json.loads(json.dumps(content))

    def moved(self, content: dict[str, Any], *desired: Resource) -> tuple[Moved, ...]:
        file = read_plan_file(content, where="p.json")
        ground = masked_snapshot(self._seen(desired), file.salt)
        plan = plan_json(make_plan(desired, ground))
        return compared_with(file, desired, ground, plan, self.redactor)

    def _seen(self, desired: Sequence[Resource]) -> Any:
        return read_snapshot(self.bench.client, desired, target="t", taken_at="2026-01-01T00:00:00Z")


@pytest.fixture
def desk() -> Desk:
    return Desk()


def told(moved: Sequence[Moved]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.address.name, one.what, one.fields) for one in moved]


# ---- what the file holds -----------------------------------------------------------------------------------


def test_it_fits_its_schema_and_shows_as_the_plan(desk: Desk) -> None:
    chat = endpoint(config=external(), tags={"cost.center": "7", "a b": ""})
    desk.bench.apply(chat)
    desired = [endpoint(config=external("gpt-5"), tags={"cost.center": "8"}), endpoint("new")]
    content = desk.file(*desired, key="k")
    registry: Registry[Any] = Registry().with_resources(
        (document["$id"], Document.from_contents(document))
        for document in (schema.read("plan"), schema.read("plan_file"))
    )
    jsonschema.Draft202012Validator(schema.read("plan_file"), registry=registry).validate(content)
    shown = plan_text(plan_from_json(content["plan"]), verbose=True)
    assert shown == plan_text(make_plan(desired, desk._seen(desired)), verbose=True)
    assert "${env:KEY}" in shown


def test_refusals_causes_and_authors_are_shown_again() -> None:
    path = FieldPath(("tags", "a"))
    change = FieldChange(path, "1", "2", cause="drift", set_by="1234 Ada, 2026-01-01: First")
    step = Step(Address("Endpoint", "a"), Action.UPDATE, (change,), refusal="it is not ours\nnext: ask them")
    plan = Plan("t", (step,))
    shown = plan_text(plan_from_json(plan_json(plan)))
    assert shown == plan_text(plan)
    assert "refused: it is not ours" in shown
    assert "by 1234 Ada, 2026-01-01: First" in shown


def test_no_secret_in_it_neither_ours_nor_a_live_one(desk: Desk) -> None:
    by_hand = endpoint("m", config=custom(environment_vars={"A": "canary-by-hand"}))
    desk.bench.apply(by_hand, endpoint(config=external()))
    desired = [
        endpoint("m", config=custom(environment_vars={"A": "canary-written"})),
        endpoint(config=external("gpt-5"), tags={"told": "canary-of-the-key"}),
    ]
    text = json.dumps(desk.file(*desired))
    assert "canary" not in text
    assert "${env:KEY}" in text


# ---- the seal ----------------------------------------------------------------------------------------------


def test_every_edit_is_noticed(desk: Desk) -> None:
    content = desk.file(endpoint(config=external()))
    assert seal_problem(content) is None
    assert seal_problem(dict(reversed(content.items()))) is None, "the order of keys says nothing"
    for name in content.keys() - {"signature"}:
        edited = copy.deepcopy(content)
        edited[name] = "else"
        assert seal_problem(edited) is not None, name
    edited = copy.deepcopy(content)
    edited["plan"]["steps"][0]["calls"][0]["path"] = "/api/2.0/serving-endpoints/other"
    problem = seal_problem(edited)
    assert problem is not None
    assert problem.exit_code == 3
    assert "changed after it was written" in str(problem)


def test_a_signature_notices_who_can_make_digests(desk: Desk) -> None:
    signed = desk.file(endpoint(), key="key")
    assert seal_problem(signed, "key") is None
    assert "another key" in str(seal_problem(signed, "other"))
    assert "cannot be checked" in str(seal_problem(signed))
    assert "not signed" in str(seal_problem(desk.file(endpoint()), "key"))
    forged = sealed({**signed, "target": "prod"}, "guess")
    assert seal_problem(forged, "key") is not None
    stripped = sealed({**signed, "target": "prod"})
    assert seal_problem(stripped, "key") is not None


# ---- held against today ------------------------------------------------------------------------------------


def test_nothing_moved(desk: Desk) -> None:
    desk.bench.apply(endpoint(tags={"a": "1"}), endpoint("still"))
    desired = [endpoint(tags={"a": "2"}), endpoint("still"), endpoint("new", config=external())]
    content = desk.file(*desired)
    assert desk.moved(content, *desired) == ()
    # Spelling, order and place of manifests mean nothing; neither does what a reference stands for.
    other = Secret("another value", "${env:KEY}")
    again = [
        replace(endpoint("new", config=external(key=other)), source=replace(desired[0].source, line=9)),
        *desired[:2],
    ]
    assert desk.moved(content, *again) == ()


def test_the_live_side_moved(desk: Desk) -> None:
    desk.bench.apply(
        endpoint(tags={"a": "1"}), endpoint("b", tags={"a": "1"}), endpoint("gone", tags={"a": "1"})
    )
    desired = [endpoint(n, tags={"a": "2"}) for n in ("chat", "b", "gone", "new")]
    content = desk.file(*desired)
    desk.bench.by_hand.update_endpoint_tags("chat", {"add_tags": [{"key": "who", "value": "me"}]})
    desk.bench.by_hand.delete_endpoint("gone")
    desk.bench.apply(endpoint("new"))
    assert told(desk.moved(content, *desired)) == [
        ("chat", "live", ("tags.who",)),
        ("gone", "live", ("it was deleted",)),
        ("new", "live", ("it exists now",)),
    ]


def test_another_of_the_same_name_is_another(desk: Desk) -> None:
    desk.bench.apply(endpoint(tags={"a": "1"}))
    content = desk.file(endpoint(tags={"a": "2"}))
    desk.bench.by_hand.delete_endpoint("chat")
    desk.bench.apply(endpoint(tags={"a": "1"}))
    assert told(desk.moved(content, endpoint(tags={"a": "2"}))) == [
        ("chat", "live", ("it is another one of the same name",))
    ]


def test_what_was_as_declared_and_drifted(desk: Desk) -> None:
    desk.bench.apply(endpoint(tags={"a": "1"}))
    content = desk.file(endpoint(tags={"a": "1"}))
    desk.bench.by_hand.update_endpoint_tags("chat", {"add_tags": [{"key": "a", "value": "9"}]})
    assert told(desk.moved(content, endpoint(tags={"a": "1"}))) == [("chat", "live", ("tags.a",))]


def test_a_live_secret_that_moved_is_named_and_not_shown(desk: Desk) -> None:
    desk.bench.apply(endpoint(config=custom(environment_vars={"A": "canary-1"})))
    desired = endpoint(config=custom("2", environment_vars={"A": "canary-1"}))
    content = desk.file(desired)
    assert desk.moved(content, desired) == ()
    desk.bench.apply(endpoint(config=custom(environment_vars={"A": "canary-2"})))
    desk.bench.settle()
    moved = desk.moved(content, desired)
    assert told(moved) == [("chat", "live", ("config.served_entities[m].environment_vars.A",))]
    assert "canary" not in str(stale(read_plan_file(content, where=""), moved, "p.json"))


def test_the_manifests_meaning_moved(desk: Desk) -> None:
    first = [
        endpoint(tags={"a": "1"}, config=custom(environment_vars={"A": "x"})),
        endpoint("key", config=external()),
        endpoint("kept"),
        endpoint("dropped"),
    ]
    content = desk.file(*first)
    second = [
        endpoint(tags={"a": "2"}, config=custom(environment_vars={"A": "y"})),
        endpoint("key", config=external(key=Secret("canary-of-the-key", "${env:OTHER}"))),
        replace(endpoint("kept"), lifecycle=Lifecycle(True, ("tags",))),
        endpoint("added"),
    ]
    key = "config.served_entities[m].external_model.openai_config.openai_api_key_plaintext"
    assert told(desk.moved(content, *second)) == [
        ("chat", "manifest", ("tags.a", "config.served_entities[m].environment_vars.A")),
        ("key", "manifest", (key,)),
        ("kept", "manifest", ("lifecycle.prevent_destroy", "lifecycle.ignore_changes")),
        ("added", "new", ()),
        ("dropped", "gone", ()),
    ]


def test_a_value_behind_a_reference_that_makes_another_step(desk: Desk) -> None:
    first, second = (Secret(value, "${env:A}") for value in ("one-value", "two-value"))
    desk.bench.apply(endpoint(config=custom(environment_vars={"A": "one-value"})))
    content = desk.file(endpoint(config=custom("2", environment_vars={"A": first})))
    assert desk.moved(content, endpoint(config=custom("2", environment_vars={"A": first}))) == ()
    moved = desk.moved(content, endpoint(config=custom("2", environment_vars={"A": second})))
    assert told(moved) == [("chat", "effect", ("config.served_entities[m].environment_vars.A",))]


def test_the_refusal_names_every_difference(desk: Desk) -> None:
    content = desk.file(endpoint(), endpoint("b"))
    moved = desk.moved(content, endpoint(tags={"a": "1"}))
    error = stale(read_plan_file(content, where=""), moved, "p.json")
    assert error.exit_code == 3
    assert "Endpoint/chat: its manifest changed: config, tags" in str(error)
    assert "Endpoint/b: it is no longer declared" in str(error)
    assert "plan --rebase p.json" in str(error)
    assert "--skip-stale" in str(error)


# ---- hostile files -----------------------------------------------------------------------------------------


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        found += _paths(item, (*path, name))
    return found


_SAMPLE = None


@settings(max_examples=int(os.environ.get("PROPERTY_CASES", "150")), deadline=None)
@given(data=st.data())
def test_a_garbled_file_is_refused_or_read_and_never_a_crash(data: st.DataObject) -> None:
    global _SAMPLE
    if _SAMPLE is None:
        desk = Desk()
        desk.bench.apply(endpoint(tags={"a": "1"}))
        _SAMPLE = desk.file(endpoint(tags={"a": "2"}), endpoint("b", config=external()))
    content = copy.deepcopy(_SAMPLE)
    path = data.draw(st.sampled_from(_paths(content)))
    junk = st.one_of(
        st.none(), st.integers(), st.text(max_size=5), st.just([]), st.just({}), st.just([[]]), st.booleans()
    )
    spot: Any = content
    for part in path[:-1]:
        spot = spot[part]
    if data.draw(st.booleans()) and isinstance(spot, dict):
        del spot[path[-1]]
    else:
        spot[path[-1]] = data.draw(junk)
    assert seal_problem(content) is not None or content == _SAMPLE
    try:
        file: PlanFile = read_plan_file(content, where="p.json")
        plan_text(plan_from_json(file.plan))
    except ReconcilerError:
        pass


@pytest.mark.parametrize("content", [None, [], {}, "x", {"plan_file": "9"}, {"plan_file": "1.0", "plan": 5}])
def test_what_is_no_plan_file(content: Any) -> None:
    with pytest.raises(UsageError):
        read_plan_file(content, where="p.json")


def test_addresses_of_the_sample_are_what_they_say() -> None:
    assert str(Moved(Address("Endpoint", "x"), "gone")) == "Endpoint/x: it is no longer declared"
