"""What machines read: exact for one plan, valid for any."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from referencing import Registry, Resource

from reconciler import schema
from reconciler.report.json import dumps, outcome_json, plan_json
from reconciler.values import Action, CallResult, FieldChange, FieldPath, Outcome, Plan, Secret, StepStatus

from . import plans
from .plans import CANARY, EVERYTHING, UPDATED

REGISTRY: Registry[Any] = Registry().with_resources(
    (document["$id"], Resource.from_contents(document))
    for document in (schema.read("plan"), schema.read("outcome"))
)


def check(document: Any, name: str) -> None:
    jsonschema.Draft202012Validator(schema.read(name), registry=REGISTRY).validate(document)
    assert json.loads(dumps(document)) == document


def test_a_step_says_all_of_it() -> None:
    document = plan_json(Plan("prod", (UPDATED,), stack="shop"))
    check(document, "plan")
    assert document["format_version"] == "1.0"
    assert (document["target"], document["stack"]) == ("prod", "shop")
    assert document["summary"] == {
        "create": 0,
        "update": 1,
        "replace": 0,
        "delete": 0,
        "adopt": 0,
        "no_op": 0,
    }
    assert document["totals"] == {
        "compared": 31,
        "skipped": {"server_chosen": 1, "computed": 1},
        "write_calls": 2,
    }
    step = document["steps"][0]
    assert step["changes"][0] == {
        "path": "ai_gateway.rate_limits[user].calls",
        "before": 100,
        "after": 60,
        "sensitive": False,
        "words": "user limit 100 → 60 calls a minute (−40 %)",
        "forces_replace": False,
        "why": "",
        "source": "manifests/chat.yaml:24",
    }
    assert step["calls"][0] == {
        "client_method": "update_endpoint_config",
        "method": "PUT",
        "path": "/api/2.0/serving-endpoints/chat/config",
        "body": {"served_entities": [{"environment_vars": {"KEY": "${env:K}"}}]},
    }
    assert step["skipped"][0] == {
        "path": "config.served_entities[main].name",
        "reason": "server_chosen",
        "detail": "the server names an entity that has no name",
    }
    assert {name: step[name] for name in ("address", "action", "source", "fingerprint", "protected")} == {
        "address": "Endpoint/chat",
        "action": "update",
        "source": "manifests/chat.yaml:1",
        "fingerprint": "f0",
        "protected": False,
    }
    assert "base" not in step


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("old", "new", ("***", "***")),
        ("old", None, ("***", None)),
        (None, 5, (None, "***")),
        ("old", Secret("new", "${env:K}"), ("***", "${env:K}")),
        ("{{secrets/a/b}}", "{{secrets/a/c}}", ("{{secrets/a/b}}", "{{secrets/a/c}}")),
        (
            {"A": "x", "B": None},
            {"A": Secret("s", "${file:s}")},
            ({"A": "***", "B": None}, {"A": "${file:s}"}),
        ),
    ],
)
def test_sensitive_values_are_masked_and_references_are_not(before: Any, after: Any, shown: Any) -> None:
    change = FieldChange(FieldPath(("x",)), before, after, sensitive=True)
    rendered = plan_json(Plan("t", (plans.step("a", Action.UPDATE, change),)))["steps"][0]["changes"][0]
    assert (rendered["before"], rendered["after"]) == shown


def test_an_object_that_comes_is_shown_but_for_its_sensitive_parts() -> None:
    entity = {
        "entity_name": "main.ml.a",
        "environment_vars": {"LEVEL": "debug", "K": Secret("s3", "${env:K}")},
    }
    change = plans.change("config.served_entities[a]", None, entity, sensitive=True)
    rendered = plan_json(Plan("t", (plans.step("a", Action.UPDATE, change),)))["steps"][0]["changes"][0]
    assert rendered["after"] == {
        "entity_name": "main.ml.a",
        "environment_vars": {"LEVEL": "***", "K": "${env:K}"},
    }


def test_an_outcome_says_what_was_done_and_what_is_left() -> None:
    done, left = UPDATED.calls
    outcome = Outcome(
        UPDATED,
        StepStatus.FAILED,
        (CallResult(done, "failed", 1.23456),),
        (left,),
        "no\nnext: look",
        ("line",),
        "https://host/x",
        2.0,
    )
    document = outcome_json(
        EVERYTHING, [outcome], converged=False, remaining=Plan("prod", (UPDATED, plans.SAME))
    )
    check(document, "outcome")
    assert document["plan"] == plan_json(EVERYTHING)
    assert document["converged"] is False
    assert document["summary"]["failed"] == 1
    assert [step["address"] for step in document["remaining"]] == ["Endpoint/chat"]
    (ended,) = document["outcomes"]
    assert ended["results"] == [
        {
            "client_method": "update_endpoint_config",
            "method": "PUT",
            "path": "/api/2.0/serving-endpoints/chat/config",
            "outcome": "failed",
            "seconds": 1.235,
            "error": "",
        }
    ]
    assert [call["client_method"] for call in ended["not_begun"]] == ["update_endpoint_ai_gateway"]
    assert (ended["error"], ended["log_tail"], ended["url"]) == ("no\nnext: look", ["line"], "https://host/x")


def test_the_text_of_a_document_holds_nothing_a_terminal_obeys() -> None:
    nasty = "\x1b[2J \x9b \u202e \ud800 \U000e0041 →"
    text = dumps({"a": nasty})
    assert not set(text) & set("\x1b\x9b\u202e\ud800\U000e0041")
    assert "→" in text
    assert json.loads(text) == {"a": nasty}


def test_every_property_is_described() -> None:
    def walk(node: Any, where: str) -> None:
        if isinstance(node, dict):
            for name, child in node.get("properties", {}).items():
                assert child.get("description"), f"{where}.{name}"
            for key, child in node.items():
                walk(child, f"{where}.{key}")
        elif isinstance(node, list):
            for child in node:
                walk(child, where)

    for name in ("plan", "outcome"):
        document = schema.read(name)
        jsonschema.Draft202012Validator.check_schema(document)
        walk(document, name)


@settings(max_examples=150, deadline=None)
@given(plans.plans)
def test_any_plan_is_valid_and_holds_no_secret(plan: Plan) -> None:
    document = plan_json(plan)
    check(document, "plan")
    assert dumps(document) == dumps(plan_json(plan))
    assert CANARY not in str(document)


@settings(max_examples=75, deadline=None)
@given(st.data())
def test_any_outcome_is_valid_and_holds_no_secret(data: st.DataObject) -> None:
    plan = data.draw(plans.plans)
    document = outcome_json(
        plan,
        data.draw(plans.outcomes(plan)),
        converged=data.draw(st.sampled_from([True, False, None])),
        remaining=data.draw(st.one_of(st.none(), plans.plans)),
    )
    check(document, "outcome")
    assert CANARY not in str(document)
