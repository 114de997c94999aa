"""Exported manifests have an empty plan, hold no secret, and say what they cannot say."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.engine.export import Variables, budget_name, file_name
from reconciler.engine.exporting import Export, export
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan
from reconciler.engine.snapshot import read_snapshot
from reconciler.errors import UsageError
from reconciler.manifest import load
from reconciler.targets import for_target
from reconciler.values import Address, Plan, Resource
from tests.unit.engine.gateway import Gateway
from tests.unit.engine.specs import specs
from tests.unit.engine.workbench import Bench, custom, endpoint

_CANARY = "sk-canary-0123456789abcdef"
_NAMES = ["one", "two", "three"]
_CASES = int(os.environ.get("PROPERTY_CASES", "60"))


def _loaded(exported: Export, environ: Mapping[str, str] | None = None) -> tuple[Resource, ...]:
    """The resources of the exported files, their variables set to what lives (or to ``environ``)."""
    values = {name: value.reveal() for name, (_, value) in exported.variables.items() if value is not None}
    text = "---\n".join(file.text for file in exported.files)
    stream = io.BytesIO(text.encode())
    return load(["-"], environ={**values, **(environ or {})}, root=Path(), stdin=stream).resources


def _export(bench: Bench, **options: Any) -> Export:
    return export(bench.client, is_gateway=False, **options)


def _secret_specs() -> st.SearchStrategy[dict[str, Any]]:
    """Endpoints that hold secrets in the clear: no answer tells them, or every answer does."""
    key = st.sampled_from([_CANARY, "{{secrets/a/b}}"])
    variables = st.dictionaries(st.sampled_from(["A", "log.level", "API_KEY"]), key, min_size=1)
    return variables.map(lambda found: {"config": custom(environment_vars=found)})


@settings(max_examples=_CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(st.sampled_from(_NAMES), st.one_of(specs(), _secret_specs()), min_size=1, max_size=3),
    st.booleans(),
)
def test_the_plan_of_what_was_exported_is_empty(workspace: dict[str, Any], permissions: bool) -> None:
    bench = Bench(provisioning=5.0)
    made = [endpoint(name, **{"tags": None, **spec}) for name, spec in workspace.items()]
    assert bench.apply(*made).converged

    exported = _export(bench, permissions=permissions)

    whole = [one for one in exported.left_out if one.is_whole]
    assert whole == []
    assert [file.address.name for file in exported.files] == sorted(workspace)
    assert not any(_CANARY in file.text for file in exported.files)
    assert bench.plan(*_loaded(exported)).is_empty


def test_each_endpoint_costs_one_get_and_the_list_one() -> None:
    bench = Bench()
    assert bench.apply(endpoint("one"), endpoint("two")).converged
    bench.wire.requests.clear()
    _export(bench)
    assert sorted(bench.wire.requests) == [
        "GET /api/2.0/serving-endpoints",
        "GET /api/2.0/serving-endpoints/one",
        "GET /api/2.0/serving-endpoints/two",
    ]
    bench.wire.requests.clear()
    _export(bench, select=["Endpoint/t*"], permissions=True)
    assert len(bench.wire.requests) == 3


def test_a_secret_that_no_answer_tells_becomes_a_reference() -> None:
    bench = Bench()
    external = {"provider": "openai", "name": "gpt-4o", "task": "llm/v1/chat"}
    external["openai_config"] = {"openai_api_key_plaintext": _CANARY}  # type: ignore[assignment]
    bench.client.create_endpoint(
        config={
            "name": "chat",
            "config": {"served_entities": [{"name": "gpt", "external_model": external}]},
        }
    )
    exported = _export(bench)

    (file,) = exported.files
    assert "openai_api_key_plaintext: ${env:CHAT_GPT_OPENAI_API_KEY}\n" in file.text
    assert exported.variables == {"CHAT_GPT_OPENAI_API_KEY": (Address("Endpoint", "chat"), None)}
    assert bench.plan(*_loaded(exported, {"CHAT_GPT_OPENAI_API_KEY": _CANARY})).is_empty


@pytest.mark.parametrize(
    ("block", "written"),
    [
        (
            {"aws_region": "eu", "bedrock_provider": "anthropic"},
            {"aws_access_key_id_plaintext", "aws_secret_access_key_plaintext"},
        ),
        (
            {"microsoft_entra_client_id": "a", "openai_api_type": "azuread"},
            {"microsoft_entra_client_secret_plaintext"},
        ),
        ({"custom_provider_url": "https://example.com"}, {"bearer_token_auth"}),
    ],
)
def test_the_credential_that_goes_with_the_rest(block: dict[str, str], written: set[str]) -> None:
    """Of a hand-made answer: what must be there, and is told by none."""
    from reconciler.engine.export import manifest_of
    from reconciler.values import Live

    names = {"aws_region": "amazon_bedrock_config", "custom_provider_url": "custom_provider_config"}
    name = names.get(next(iter(block)), "openai_config")
    entity = {"name": "e", "external_model": {"provider": "p", "name": "m", "task": "t", name: block}}
    live = Live(Address("Endpoint", "chat"), {"config": {"served_entities": [entity]}})

    made = manifest_of(live, Variables(), literal=str)

    found = made.document["spec"]["config"]["served_entities"][0]["external_model"][name]
    assert set(found) - set(block) == written


def test_only_what_is_asked_for_and_an_error_for_what_is_not_there() -> None:
    bench = Bench()
    assert bench.apply(endpoint("one"), endpoint("two")).converged
    assert [f.address.name for f in _export(bench, select=["Endpoint/on?"]).files] == ["one"]
    with pytest.raises(UsageError, match="nothing on the target fits Endpoint/three"):
        _export(bench, select=["Endpoint/*", "Endpoint/three"])
    with pytest.raises(UsageError, match="not an address"):
        _export(bench, select=["one"])


def test_what_databricks_offers_to_everybody_is_left_out() -> None:
    bench = Bench()
    own = {"name": "llama", "foundation_model": {"name": "system.ai.llama"}}
    bench.client.list_endpoints = lambda: [{"name": "databricks-llama"}]  # type: ignore[method-assign]
    bench.client.get_endpoint = lambda name: {  # type: ignore[method-assign]
        "name": name,
        "config": {"served_entities": [own]},
    }
    exported = _export(bench)
    assert exported.files == ()
    assert [one.why for one in exported.left_out] == ["Databricks offers it to every workspace"]


def test_fields_newer_than_this_version_are_named() -> None:
    bench = Bench()
    assert bench.apply(endpoint("one")).converged
    raw = dict(bench.client.get_endpoint("one"))
    raw["config"]["served_entities"][0]["quantum"] = {"on": True}
    bench.client.get_endpoint = lambda name: raw  # type: ignore[method-assign]
    exported = _export(bench)
    assert [(one.is_whole, one.why) for one in exported.left_out] == [
        (
            False,
            "fields that this version does not know are left out: config.served_entities.m.quantum",
        )
    ]
    assert "quantum" not in exported.files[0].text


# ---- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("openai", "api_key"), "OPENAI_API_KEY"),
        (("openai_api_key", "api_key"), "OPENAI_API_KEY"),
        (("open ai!", "api_key"), "OPEN_AI_API_KEY"),
        (("chat", "gpt-4o", "openai_api_key"), "CHAT_GPT_4O_OPENAI_API_KEY"),
        (("4you", "api_key"), "_4YOU_API_KEY"),
        (("Größe", "api_key"), "GR_SSE_API_KEY"),
        (("日本", "日本"), "SECRET"),
    ],
)
def test_a_variable_is_named_for_what_it_holds(words: tuple[str, ...], name: str) -> None:
    assert Variables().name(*words) == name


def test_no_two_things_share_a_variable() -> None:
    names = Variables()
    assert [names.name("a-b", "k"), names.name("a_b", "k"), names.name("a b", "k")] == [
        "A_B_K",
        "A_B_K_2",
        "A_B_K_3",
    ]


def test_file_names_are_safe_and_their_own() -> None:
    taken: set[str] = set()
    names = [
        "chat",
        "Chat",
        "../../etc/passwd",
        ".hidden",
        "a b/c",
        "con",
        "NUL.x",
        "日本",
        "",
        "x" * 300,
        "a.",
    ]
    found = [file_name(Address("GatewayEndpoint", name), taken) for name in names]
    assert found == [
        "gateway-endpoints/chat.yaml",
        "gateway-endpoints/Chat-2.yaml",
        "gateway-endpoints/etc-passwd.yaml",
        "gateway-endpoints/hidden.yaml",
        "gateway-endpoints/a-b-c.yaml",
        "gateway-endpoints/con_.yaml",
        "gateway-endpoints/NUL.x_.yaml",
        "gateway-endpoints/unnamed.yaml",
        "gateway-endpoints/unnamed-2.yaml",
        f"gateway-endpoints/{'x' * 100}.yaml",
        "gateway-endpoints/a.yaml",
    ]


def test_a_budget_is_named_for_what_it_is_known_by() -> None:
    window = {"unit": "DAYS", "value": 1}
    on_chat = {
        "target_scope": "ENDPOINT",
        "target_value": "Chat",
        "duration": window,
        "budget_action": "REJECT",
    }
    assert budget_name(on_chat) == "Chat-1-days-reject"
    everybody = {"target_scope": "GLOBAL", "duration": window, "budget_action": "ALERT"}
    assert budget_name(everybody) == "global-1-days-alert"


# ---- the gateway of a tracking server -------------------------------------------------------------------


def _gateway() -> Gateway:
    """One of everything, and what is odd: an orphaned model, budgets that nothing tells apart."""
    gateway = Gateway()
    openai = gateway.secret("openai", "ann", auth_config={"auth_mode": "api_key"})
    masks = {"aws_access_key_id": "AKI...0001", "aws_secret_access_key": "***"}
    aws = gateway.secret("aws", "", masked_values=masks)
    gpt = gateway.model("gpt-4o", openai, "ann")
    claude = gateway.model("claude", aws, "", model_name="${not} a reference")
    orphaned = gateway.model("orphaned", "s-gone", "")
    gateway.endpoint("Chat", gpt)
    chat = gateway.endpoint("chat", gpt, by="")
    gateway.endpoints[1] |= {
        "model_mappings": [
            gateway.mapping(gpt, weight=0.8),
            gateway.mapping(orphaned, weight=0.2),
            gateway.mapping(claude, "FALLBACK", 1),
        ],
        "tags": [{"key": "team", "value": "007"}, {"key": "on", "value": ""}],
        "fallback_config": {"strategy": "SEQUENTIAL", "max_attempts": 2},
    }
    gateway.budget("ENDPOINT", chat, budget_amount=12.5)
    gateway.budget()
    gateway.budget(budget_amount=200.0)
    gateway.budget("ENDPOINT", "e-gone")
    pii = gateway.guardrail("no-pii")
    clean = gateway.guardrail("clean", action="SANITIZATION", action_endpoint_id="chat")
    gateway.guard(chat, clean, 1)
    gateway.guard(chat, pii, 2)
    return gateway


_SET = {
    "OPENAI_API_KEY": _CANARY,
    "AWS_ACCESS_KEY_ID": "AKIAxxxx0001",
    "AWS_SECRET_ACCESS_KEY": "short",
}


def _planned(gateway: Gateway, resources: tuple[Resource, ...], **options: Any) -> Plan:
    resources = for_target("mlflow-gateway+http://127.0.0.1", resources, stack="here")
    snapshot = read_snapshot(gateway, resources, target="t", taken_at="2026-01-01T00:00:00Z")
    return make_plan(resources, snapshot, PlanOptions(**options))


def test_a_gateway_is_exported_whole_and_its_plan_is_empty() -> None:
    gateway = _gateway()

    exported = export(gateway, is_gateway=True)

    lists = dict.fromkeys(("secrets", "models", "endpoints", "budgets", "guardrails"), 1)
    assert gateway.asked == {**lists, "configs": 2}
    assert [str(file.address) for file in exported.files] == [
        "GatewaySecret/aws",
        "GatewaySecret/openai",
        "GatewayModel/claude",
        "GatewayModel/gpt-4o",
        "GatewayEndpoint/Chat",
        "GatewayEndpoint/chat",
        "GatewayBudget/chat-1-days-alert",
        "GatewayBudget/global-1-days-alert",
        "GatewayGuardrail/clean",
        "GatewayGuardrail/no-pii",
    ]
    assert [(str(one.address), one.why) for one in exported.left_out] == [
        (
            "GatewayModel/orphaned",
            "its secret was deleted, and a model needs one: give it another, or delete it",
        ),
        ("GatewayBudget/e-gone-1-days-alert", "it names GatewayEndpoint/e-gone, which does not exist"),
        (
            "GatewayBudget/global-1-days-alert-2",
            "it cannot be told from another one with the same scope, target and window",
        ),
    ]
    assert set(exported.variables) == set(_SET)
    plan = _planned(gateway, _loaded(exported, _SET))
    assert plan.is_empty
    assert any("was not made by this stack" in note for step in plan.steps for note in step.notes)


def test_a_model_that_mlflows_page_named_after_its_endpoint_is_exported() -> None:
    """ENDPOINT-MODEL it calls it, and models of many providers have a slash in their names."""
    gateway = Gateway()
    gateway.endpoint(
        "chat", gateway.model("chat-meta/llama 3", gateway.secret("openai", "ann"), "ann"), by="ann"
    )
    exported = export(gateway, is_gateway=True)
    assert exported.left_out == ()
    assert [str(file.address) for file in exported.files] == [
        "GatewaySecret/openai",
        "GatewayModel/chat-meta/llama 3",
        "GatewayEndpoint/chat",
    ]
    assert _planned(gateway, _loaded(exported, _SET)).is_empty


def test_a_gateways_endpoint_reads_well() -> None:
    exported = export(
        _gateway(), is_gateway=True, select=["GatewayEndpoint/chat"], comment=lambda address, path: path
    )
    assert (
        exported.files[0].text
        == """\
# gateway-endpoints/chat.yaml
apiVersion: reconciler/v1
kind: GatewayEndpoint
metadata:
  name: chat
spec:
  models:
    - model: gpt-4o
      weight: 0.8
    - model: orphaned
      weight: 0.2
  fallbacks:
    - claude
  fallback_config:
    max_attempts: 2
  usage_tracking: true
  tags:
    team: '007'
    'on': ''
  guardrails:
    - clean
    - no-pii
"""
    )


def test_another_value_than_the_live_one_shows_in_the_plan() -> None:
    gateway = _gateway()
    resources = _loaded(export(gateway, is_gateway=True), {**_SET, "OPENAI_API_KEY": "sk-another-key"})
    plan = _planned(gateway, resources, adopt=True)
    (step,) = [step for step in plan.steps if step.address.name == "openai"]
    assert "value changed" in [change.words for change in step.changes]


def test_the_budget_of_this_stack_counts_among_several_of_one_identity() -> None:
    gateway = _gateway()
    gateway.budgets[2]["created_by"] = "reconciler:shop"
    exported = export(gateway, is_gateway=True, select=["GatewayBudget/global*"], stack="shop")
    (file,) = exported.files
    assert "budget_amount: 200\n" in file.text


def test_names_that_no_manifest_can_hold_are_told() -> None:
    gateway = _gateway()
    gateway.endpoints[1]["tags"] = [{"key": "${x}", "value": "a"}]
    exported = export(gateway, is_gateway=True, select=["GatewayEndpoint/chat"])
    assert exported.files == ()
    assert "references are not allowed in keys" in exported.left_out[0].why
