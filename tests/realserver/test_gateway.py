"""The AI Gateway of a real MLflow server: what users do, what others do to it, what must not happen."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from reconciler.engine.snapshot import read_snapshot
from reconciler.errors import AlreadyExists, Conflict, NotFound
from reconciler.manifest import load
from reconciler.targets import connect, for_target
from tests.realserver.tracking import Project, Tracking, called

SECRETS = """\
apiVersion: reconciler/v1
kind: GatewaySecret
metadata: {name: openai}
spec: {provider: openai, secret_value: {api_key: "${env:OPENAI_API_KEY}"}}
---
apiVersion: reconciler/v1
kind: GatewaySecret
metadata: {name: anthropic}
spec: {provider: anthropic, secret_value: {api_key: "${env:ANTHROPIC_API_KEY}"}}
"""
MODELS = """\
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {name: gpt}
spec: {secret: openai, provider: openai, model_name: gpt-4o}
---
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {name: mini}
spec: {secret: openai, provider: openai, model_name: gpt-4o-mini}
---
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {name: claude}
spec: {secret: anthropic, provider: anthropic, model_name: claude-sonnet}
"""
CHAT = """\
apiVersion: reconciler/v1
kind: GatewayEndpoint
metadata: {name: chat}
spec:
  models: [{model: gpt, weight: 0.8}, {model: mini, weight: 0.2}]
  fallbacks: [claude, mini]
  fallback_config: {max_attempts: 2}
  tags: {team: support, tier: gold}
"""
PLAIN = """\
apiVersion: reconciler/v1
kind: GatewayEndpoint
metadata: {name: plain}
spec: {models: [{model: gpt}]}
"""
BUDGET = """\
apiVersion: reconciler/v1
kind: GatewayBudget
metadata: {name: chat-a-day}
spec:
  budget_amount: 100
  duration: {unit: DAYS, value: 1}
  target_scope: ENDPOINT
  target_value: chat
  budget_action: REJECT
"""
ALL = "---\n".join([SECRETS, MODELS, CHAT, PLAIN, BUDGET])


@pytest.fixture
def applied(project: Project) -> Project:
    """Everything is live."""
    project.write(ALL)
    project.apply()
    return project


# ---- the main job ---------------------------------------------------------------------------------------


def test_create_in_order_then_nothing_is_left(project: Project, tracking: Tracking) -> None:
    project.write(ALL)
    told = project.apply()
    assert Counter(called(told)) == {
        "POST secrets/create": 2,
        "POST model-definitions/create": 3,
        "POST endpoints/create": 2,
        "POST endpoints/set-tag": 4,  # two tags of the user's, and each endpoint's stack
        "POST budgets/create": 1,
    }
    project.assert_nothing_to_do()
    chat = tracking.one("endpoints", "chat")
    assert [
        (m["model_definition"]["name"], m["linkage_type"], m["weight"], m.get("fallback_order"))
        for m in chat["model_mappings"]
    ] == [
        ("gpt", "PRIMARY", 0.8, None),
        ("mini", "PRIMARY", 0.2, None),
        ("claude", "FALLBACK", 1.0, 1),
        ("mini", "FALLBACK", 1.0, 2),
    ]
    assert {tag["key"]: tag["value"] for tag in chat["tags"]} == {
        "team": "support",
        "tier": "gold",
        "reconciler.stack": "shop",
    }
    assert tracking.list("budgets")[0]["target_value"] == chat["endpoint_id"]
    assert {secret["created_by"].split(" ")[0] for secret in tracking.list("secrets")} == {"reconciler:shop"}


def test_what_the_server_fills_in_is_no_drift(applied: Project, tracking: Tracking) -> None:
    plain = tracking.one("endpoints", "plain")
    assert plain["usage_tracking"] is True
    assert plain["experiment_id"], "made by the server"
    assert plain["model_mappings"][0]["weight"] == 1.0
    plan = applied.json("plan", "--detailed-exitcode")
    assert plan["summary"]["no_op"] == 8


def test_drift_is_seen_and_repaired_with_one_update_and_one_call_a_tag(
    applied: Project, tracking: Tracking
) -> None:
    chat, mini = tracking.one("endpoints", "chat"), tracking.one("models", "mini")
    only = [{"model_definition_id": mini["model_definition_id"], "linkage_type": "PRIMARY", "weight": 0.5}]
    tracking.call("POST", "endpoints/update", {"endpoint_id": chat["endpoint_id"], "model_configs": only})
    tag = {"endpoint_id": chat["endpoint_id"], "key": "tier"}
    tracking.call("POST", "endpoints/set-tag", {**tag, "value": "lead"})
    tracking.call("POST", "endpoints/set-tag", {**tag, "key": "extra", "value": "x"})
    model = {"model_definition_id": mini["model_definition_id"], "model_name": "gpt-4o-nano"}
    tracking.call("POST", "model-definitions/update", model)
    budget = tracking.list("budgets")[0]
    changed = {"budget_policy_id": budget["budget_policy_id"], "budget_amount": 5}
    tracking.call("POST", "budgets/update", changed)

    plan = applied.json("plan", "--detailed-exitcode", code=2)
    changes = {
        f"{s['address']} {c['path']}": (c["before"], c["after"]) for s in plan["steps"] for c in s["changes"]
    }
    assert changes == {
        "GatewayModel/mini model_name": ("gpt-4o-nano", "gpt-4o-mini"),
        "GatewayEndpoint/chat models[gpt]": (None, {"model": "gpt", "weight": 0.8}),
        "GatewayEndpoint/chat models[mini].weight": (0.5, 0.2),
        "GatewayEndpoint/chat fallbacks": (None, ["claude", "mini"]),
        "GatewayEndpoint/chat fallback_config": (None, {"max_attempts": 2}),
        "GatewayEndpoint/chat tags.tier": ("lead", "gold"),
        "GatewayEndpoint/chat tags.extra": ("x", None),
        "GatewayBudget/chat-a-day budget_amount": (5.0, 100),
    }
    assert called(applied.apply()) == [
        "POST model-definitions/update",
        "POST endpoints/update",
        "POST endpoints/set-tag",
        "DELETE endpoints/delete-tag",
        "POST budgets/update",
    ]
    applied.assert_nothing_to_do()


def test_an_update_renews_the_ids_of_mappings_and_that_is_no_drift(
    applied: Project, tracking: Tracking
) -> None:
    before = tracking.one("endpoints", "plain")
    mapping = before["model_mappings"][0]
    same = [{"model_definition_id": mapping["model_definition_id"], "linkage_type": "PRIMARY", "weight": 1.0}]
    tracking.call("POST", "endpoints/update", {"endpoint_id": before["endpoint_id"], "model_configs": same})
    assert tracking.one("endpoints", "plain")["model_mappings"][0]["mapping_id"] != mapping["mapping_id"]
    applied.assert_nothing_to_do()


def test_fallbacks_are_reordered_added_and_cleared(applied: Project, tracking: Tracking) -> None:
    def fallbacks() -> list[str]:
        mappings = tracking.one("endpoints", "chat")["model_mappings"]
        found = [m for m in mappings if m["linkage_type"] == "FALLBACK"]
        return [m["model_definition"]["name"] for m in sorted(found, key=lambda m: m["fallback_order"])]

    for text, expected in (
        ("fallbacks: [mini, claude]", ["mini", "claude"]),
        ("fallbacks: [mini, gpt, claude]", ["mini", "gpt", "claude"]),
        ("fallbacks: []", []),
    ):
        applied.write(ALL.replace("fallbacks: [claude, mini]", text))
        assert called(applied.apply()) == ["POST endpoints/update"]
        assert fallbacks() == expected
        assert tracking.one("endpoints", "chat")["fallback_config"]["max_attempts"] == 2
        applied.assert_nothing_to_do()


def test_what_is_not_managed_survives_an_update_of_the_models(applied: Project, tracking: Tracking) -> None:
    """The server replaces the whole list of models, fallbacks too, and resets fallback_config with it."""
    unmanaged = ALL.replace("  fallbacks: [claude, mini]\n  fallback_config: {max_attempts: 2}\n", "")
    applied.write(unmanaged.replace("weight: 0.8", "weight: 0.7"))
    assert called(applied.apply()) == ["POST endpoints/update"]
    chat = tracking.one("endpoints", "chat")
    kept = [m["model_definition"]["name"] for m in chat["model_mappings"] if m["linkage_type"] == "FALLBACK"]
    assert sorted(kept) == ["claude", "mini"]
    assert chat["fallback_config"]["max_attempts"] == 2


def test_rename_in_place_keeps_ids_and_what_refers_to_them(applied: Project, tracking: Tracking) -> None:
    chat, gpt = tracking.one("endpoints", "chat"), tracking.one("models", "gpt")
    moved = ALL.replace("{name: chat}", "{name: support}\nlifecycle: {moved_from: chat}")
    moved = moved.replace("target_value: chat", "target_value: support")
    moved = moved.replace("{name: gpt}", "{name: gpt-4o}\nlifecycle: {moved_from: gpt}")
    moved = moved.replace("{model: gpt", "{model: gpt-4o")
    applied.write(moved)
    told = applied.apply()
    assert called(told) == ["POST model-definitions/update", "POST endpoints/update"]
    assert tracking.names("endpoints") == ["plain", "support"]
    assert tracking.one("endpoints", "support")["endpoint_id"] == chat["endpoint_id"]
    assert tracking.one("models", "gpt-4o")["model_definition_id"] == gpt["model_definition_id"]
    applied.assert_nothing_to_do()


def test_a_name_that_is_taken_is_told_apart_from_other_refusals(tracking: Tracking) -> None:
    secret = tracking.secret("s")
    model = tracking.model("m", secret)
    endpoint = tracking.endpoint("e", model)
    config = [{"model_definition_id": model, "linkage_type": "PRIMARY"}]
    with connect(tracking.target) as client:
        with pytest.raises(AlreadyExists):
            client.create_gateway_secret(secret_name="s", secret_value={"api_key": "other-key"})
        with pytest.raises(AlreadyExists):
            client.create_gateway_model_definition(name="m", secret_id=secret, provider="p", model_name="n")
        with pytest.raises(AlreadyExists, match="in use") as caught:
            client.create_gateway_endpoint(name="e", model_configs=config)
        assert "INSERT" not in str(caught.value), "no words of the database"
        with pytest.raises(Conflict, match="in use by endpoints"):
            client.delete_gateway_model_definition(model_definition_id=model)
        client.delete_gateway_endpoint(endpoint_id=endpoint)
        with pytest.raises(NotFound):
            client.delete_gateway_endpoint(endpoint_id=endpoint)


def test_a_plan_asks_one_list_a_kind_and_nothing_else(applied: Project, tracking: Tracking) -> None:
    loaded = load([applied.folder / "manifests"], environ=applied.environment, root=applied.folder)
    desired = for_target(tracking.target, loaded.resources, stack="shop")
    with connect(tracking.target) as client:
        snapshot = read_snapshot(client, desired, target=tracking.target, taken_at="")
        assert client.http.counters == {"GET": 4}, "secrets, model definitions, endpoints, budgets"
    assert len(snapshot.resources) == 8


# ---- secrets --------------------------------------------------------------------------------------------


def test_a_rotated_key_shows_and_an_unchanged_one_does_not(applied: Project, tracking: Tracking) -> None:
    applied.assert_nothing_to_do()
    # The same first and last characters: the server's own mask does not tell them apart.
    applied.environment["OPENAI_API_KEY"] = "sk-canary-other-one-9876cdef"
    plan = applied.json("plan", "--detailed-exitcode", code=2)
    (step,) = [step for step in plan["steps"] if step["action"] == "update"]
    assert [(c["path"], c["words"], c["sensitive"]) for c in step["changes"]] == [
        ("secret_value", "value changed", True)
    ]
    assert called(applied.apply()) == ["POST secrets/update"]
    applied.assert_nothing_to_do()


def test_a_value_set_by_somebody_else_shows(applied: Project, tracking: Tracking) -> None:
    secret = tracking.one("secrets", "openai")["secret_id"]
    tracking.call(
        "POST", "secrets/update", {"secret_id": secret, "secret_value": {"api_key": "sk-by-hand-1234"}}
    )
    text = applied.run("plan", "--detailed-exitcode", code=2)
    assert "value changed" in text
    applied.apply()
    applied.assert_nothing_to_do()


def test_without_a_key_the_plan_says_so_and_resend_secrets_works(
    applied: Project, tracking: Tracking
) -> None:
    applied.environment["RECONCILER_FINGERPRINT_KEY"] = "another key than the one of before"
    text = applied.run("plan", "-v", "--detailed-exitcode")
    assert "its fingerprint was made with another key" in text
    applied.environment["OPENAI_API_KEY"] = "sk-canary-rotated-0000abcdef"
    applied.run("plan", "--detailed-exitcode")
    assert called(applied.apply("--resend-secrets", "GatewaySecret/openai")) == ["POST secrets/update"]
    applied.environment["OPENAI_API_KEY"] = "sk-canary-rotated-1111abcdef"
    applied.run("plan", "--detailed-exitcode", code=2)


def test_auth_config_is_set_and_cleared(applied: Project, tracking: Tracking) -> None:
    for text, expected in (("{auth_mode: api_key}", {"auth_mode": "api_key"}), ("{}", None)):
        applied.write(
            ALL.replace("spec: {provider: openai,", f"spec: {{auth_config: {text}, provider: openai,")
        )
        assert called(applied.apply()) == ["POST secrets/update"]
        assert tracking.one("secrets", "openai").get("auth_config") == expected
        applied.assert_nothing_to_do()


def test_no_secret_in_any_output_or_file(project: Project, tracking: Tracking) -> None:
    project.write(ALL)
    told = project.run("plan", "-v") + project.run("apply", "--auto-approve", "-v")
    told += project.run("plan", "-v", "-o", "json", "--save-snapshot", "seen.json")
    told += project.run("--log-level", "debug", "plan", "--resend-secrets")
    files = [path for path in project.folder.rglob("*") if path.is_file() and path.name != "fingerprint.key"]
    told += "".join(path.read_text(errors="replace") for path in files)
    key = next(project.folder.rglob("fingerprint.key")).read_text().strip()
    for secret in (project.environment["OPENAI_API_KEY"], project.environment["ANTHROPIC_API_KEY"], key):
        assert secret not in told


# ---- what belongs to others -----------------------------------------------------------------------------


def test_what_others_made_is_neither_changed_nor_deleted_unasked(
    project: Project, tracking: Tracking
) -> None:
    secret = tracking.secret("openai", project.environment["OPENAI_API_KEY"])
    model = tracking.model("gpt", secret, "gpt-3.5")
    tracking.endpoint("plain", model)
    before = tracking.everything()
    project.write("---\n".join([SECRETS.split("---\n")[0], MODELS.split("---\n")[0], PLAIN]))
    text = project.run("plan", code=3)
    assert "GatewayModel/gpt was not made by this stack" in text
    assert "--adopt" in text
    project.run("apply", "--auto-approve", code=3)
    project.run("destroy", "--auto-approve", code=3)
    assert tracking.everything() == before

    assert sorted(called(project.apply("--adopt"))) == [
        "POST endpoints/set-tag",
        "POST model-definitions/update",
        "POST secrets/update",
    ]
    assert tracking.one("models", "gpt")["model_name"] == "gpt-4o"
    project.assert_nothing_to_do()
    project.run("destroy", "--auto-approve")
    assert tracking.names("secrets") == tracking.names("endpoints") == []


def test_what_others_made_and_is_as_declared_is_left_alone(project: Project, tracking: Tracking) -> None:
    secret = tracking.secret("openai", project.environment["OPENAI_API_KEY"])
    tracking.endpoint("plain", tracking.model("gpt", secret))
    before = tracking.everything()
    project.write("---\n".join([SECRETS.split("---\n")[0], MODELS.split("---\n")[0], PLAIN]))
    project.assert_nothing_to_do()
    assert "was not made by this stack" in project.run("plan")
    assert tracking.everything() == before


def test_another_stack_is_refused_even_with_adopt(applied: Project, tracking: Tracking) -> None:
    before = tracking.everything()
    applied.write(ALL.replace("tier: gold", "tier: lead").replace("gpt-4o-mini", "gpt-5"))
    text = applied.run("plan", "--stack", "other", "--adopt", code=3)
    assert "GatewayEndpoint/chat belongs to stack shop" in text
    assert "GatewayModel/mini belongs to stack shop" in text
    applied.run("destroy", "--auto-approve", "--stack", "other", "--adopt", code=3)
    assert tracking.everything() == before


def test_a_secret_in_use_is_not_deleted_whoever_uses_it(applied: Project, tracking: Tracking) -> None:
    """The server would delete it and leave the model definition without one, saying nothing."""
    tracking.model("somebody-elses", tracking.one("secrets", "openai")["secret_id"])
    text = applied.run("destroy", "--auto-approve", code=3)
    assert "GatewaySecret/openai is in use by GatewayModel/somebody-elses" in text
    applied.write(SECRETS.split("---\n")[0].replace("provider: openai", "provider: azure"))
    text = applied.run("apply", "--auto-approve", code=3)
    assert "is in use by GatewayModel/gpt, GatewayModel/mini, GatewayModel/somebody-elses" in text
    assert tracking.one("models", "somebody-elses")["secret_name"] == "openai"


def test_an_orphaned_model_definition_gets_its_secret_back(applied: Project, tracking: Tracking) -> None:
    tracking.call(
        "DELETE", "secrets/delete", {"secret_id": tracking.one("secrets", "anthropic")["secret_id"]}
    )
    assert "secret_name" not in tracking.one("models", "claude")
    assert called(applied.apply()) == ["POST secrets/create", "POST model-definitions/update"]
    assert tracking.one("models", "claude")["secret_name"] == "anthropic"
    applied.assert_nothing_to_do()


def test_deletion_goes_in_order_and_leaves_nothing_of_ours(applied: Project, tracking: Tracking) -> None:
    tracking.endpoint("foreign", tracking.model("m", tracking.secret("s")))
    told = applied.json("destroy", "--auto-approve")
    done = [call.split("/")[0].removeprefix("DELETE ") for call in called(told)]
    assert Counter(done) == {"budgets": 1, "endpoints": 2, "model-definitions": 3, "secrets": 2}
    assert tracking.names("secrets") == ["s"]
    assert tracking.names("models") == ["m"]
    assert tracking.names("endpoints") == ["foreign"]
    assert tracking.list("budgets") == []


# ---- before anything is sent ----------------------------------------------------------------------------


def test_a_reference_to_nothing_is_told_with_its_place(project: Project, tracking: Tracking) -> None:
    project.write(CHAT + "---\n" + BUDGET)
    text = project.run("apply", "--auto-approve", code=1)
    missing = "error [missing-reference]"
    assert f"gateway.yaml:5:13: {missing} spec.models[0].model: there is no GatewayModel/gpt" in text
    assert f"gateway.yaml:6:15: {missing} spec.fallbacks[0]: there is no GatewayModel/claude" in text
    assert tracking.names("endpoints") == []


def test_a_reference_to_what_others_made_is_one(project: Project, tracking: Tracking) -> None:
    tracking.model("gpt", tracking.secret("somebody-elses"))
    project.write(PLAIN)
    assert called(project.apply()) == ["POST endpoints/create", "POST endpoints/set-tag"]
    project.assert_nothing_to_do()


def test_a_snapshot_replays_the_plan_without_the_server(applied: Project, tracking: Tracking) -> None:
    applied.write(ALL.replace("weight: 0.8", "weight: 0.6"))
    live = applied.json("plan", "--save-snapshot", "seen.json")
    tracking.clear()
    assert applied.json("plan", "--snapshot", "seen.json")["steps"] == live["steps"]


# ---- guardrails -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def scorers(server: Tracking) -> dict[str, Any]:
    """Two registered judges, made by mlflow's own client."""
    os.environ["MLFLOW_TRACKING_URI"] = server.url
    try:
        import mlflow
        from mlflow.genai.judges import make_judge

        mlflow.set_tracking_uri(server.url)
        experiment = mlflow.set_experiment("guardrails").experiment_id
        for name in ("pii", "toxic"):
            ask = f"Is there {name} in {{{{ inputs }}}}? Answer yes or no."
            make_judge(name=name, instructions=ask, model="openai:/gpt-4o").register()
    finally:
        del os.environ["MLFLOW_TRACKING_URI"]
    return {"experiment": experiment}


GUARDRAILS = """\
apiVersion: reconciler/v1
kind: GatewayGuardrail
metadata: {name: no-pii}
spec: {scorer: pii, scorer_version: 1, stage: BEFORE, action: VALIDATION}
---
apiVersion: reconciler/v1
kind: GatewayGuardrail
metadata: {name: no-toxic}
spec: {scorer: toxic, scorer_version: 1, stage: AFTER, action: VALIDATION}
"""
GUARDED = "---\n".join(
    [SECRETS, MODELS, PLAIN.replace("}]}", "}], guardrails: [no-pii, no-toxic]}"), GUARDRAILS]
)


def _guards(tracking: Tracking, name: str = "plain") -> list[str]:
    endpoint = tracking.one("endpoints", name)["endpoint_id"]
    answer = tracking.call("GET", f"guardrails/list-for-endpoint?endpoint_id={endpoint}")
    return [config["guardrail"]["name"] for config in answer.get("configs", [])]


def test_guardrails_are_made_put_on_reordered_and_taken_off(
    project: Project, tracking: Tracking, scorers: dict[str, Any]
) -> None:
    project.write(GUARDED)
    project.apply()
    assert _guards(tracking) == ["no-pii", "no-toxic"]
    project.assert_nothing_to_do()
    for text, expected, count in (
        ("[no-toxic, no-pii]", ["no-toxic", "no-pii"], 1),
        ("[no-pii]", ["no-pii"], 1),
        ("[]", [], 1),
    ):
        project.write(GUARDED.replace("[no-pii, no-toxic]", text))
        assert len(called(project.apply())) == count
        assert _guards(tracking) == expected
        project.assert_nothing_to_do()


def test_a_changed_guardrail_is_swapped_on_every_endpoint(
    project: Project, tracking: Tracking, scorers: dict[str, Any]
) -> None:
    project.write(GUARDED)
    project.apply()
    old = next(g for g in tracking.list("guardrails") if g["name"] == "no-pii")["guardrail_id"]
    foreign = tracking.endpoint("foreign", tracking.one("models", "gpt")["model_definition_id"])
    config = {"endpoint_id": foreign, "guardrail_id": old, "execution_order": 7}
    tracking.call("POST", "guardrails/add-to-endpoint", config)
    project.write(GUARDED.replace("stage: BEFORE", "stage: AFTER"))
    assert called(project.apply()) == [
        "POST guardrails/create",
        *["POST guardrails/add-to-endpoint", "DELETE guardrails/remove-from-endpoint"] * 2,
        "DELETE guardrails/delete",
    ]
    assert _guards(tracking) == ["no-pii", "no-toxic"]
    assert _guards(tracking, "foreign") == ["no-pii"], "nobody loses the guardrail"
    project.assert_nothing_to_do()
    text = project.run("destroy", "--auto-approve", code=3)
    assert "GatewayGuardrail/no-pii is in use by GatewayEndpoint/foreign" in text


def test_a_scorer_that_is_not_registered_is_told_with_its_place(
    project: Project, tracking: Tracking, scorers: dict[str, Any]
) -> None:
    project.write(GUARDED.replace("scorer: pii", "scorer: missing"))
    text = project.run("plan", code=1)
    assert "spec.scorer: no scorer missing is registered" in text
