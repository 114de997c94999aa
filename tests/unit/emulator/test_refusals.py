"""Bodies that the API does not take: one line each."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.emulator.conftest import API, custom, external


def entity(**fields: Any) -> dict[str, Any]:
    return {"name": "e", "entity_name": "m", "entity_version": "1", **fields}


def config(*entities: dict[str, Any], **shares: int) -> dict[str, Any]:
    routes = [{"served_entity_name": name, "traffic_percentage": share} for name, share in shares.items()]
    return {
        "served_entities": list(entities),
        **({"traffic_config": {"routes": routes}} if routes else {}),
    }


def openai(**fields: Any) -> dict[str, Any]:
    model = {"provider": "openai", "name": "gpt", "task": "llm/v1/chat", **fields}
    return {"name": "x", "external_model": model}


KEY = {"openai_config": {"openai_api_key": "{{secrets/a/b}}"}}
A, B = entity(name="a"), entity(name="b")

CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "no entities": ({}, "served_entities"),
    "an empty list": ({"served_entities": []}, "at least 1"),
    "both spellings": ({**custom(), "served_models": [{"model_name": "m"}]}, "Exactly one"),
    "sixteen entities": (config(*[entity(name=f"e{i}") for i in range(16)], e1=100), "limit of 15"),
    "the same name twice": (config(A, A, a=100), "Duplicate entry 'a'"),
    "the same derived name twice": (
        {"served_entities": custom()["served_entities"] * 2},
        "Duplicate entry 'ranker-3'",
    ),
    "a name with a dot": (config(entity(name="a.b")), "name"),
    "a name with a line end": (config(entity(name="a\n")), "name' has an invalid value"),
    "two spellings that contradict": (
        {"served_models": [{"name": "a", "model_name": "m", "entity_name": "n"}]},
        "contradict each other",
    ),
    "no model": (config({"name": "a"}), "entity_name"),
    "a model and an external one": (config({**openai(**KEY), "entity_name": "m"}), "Exactly one"),
    "size and concurrency": (
        config(entity(workload_size="Small", max_provisioned_concurrency=8)),
        "must not be given together",
    ),
    "concurrency upside down": (
        config(entity(min_provisioned_concurrency=8, max_provisioned_concurrency=4)),
        "above",
    ),
    "an unknown machine": (config(entity(workload_type="TPU")), "must be one of"),
    "thirty-one variables": (
        config(entity(environment_vars={f"V{i}": "" for i in range(31)})),
        "limit of 30",
    ),
    "a variable that is no text": (config(entity(environment_vars={"A": 1})), "type string"),
    "a version that is no text": (config(entity(entity_version=1)), "type string"),
    "a bool that is a number": (config(entity(scale_to_zero_enabled=1)), "type boolean"),
    "a number that is a bool": (config(entity(max_provisioned_concurrency=True)), "type integer"),
    "several entities without routes": (config(A, B), "traffic_config is required"),
    "a route to nobody": (config(A, c=100), "unknown served entity 'c'"),
    "shares below 100": (config(A, B, a=50, b=49), "sum to 99"),
    "shares above 100": (config(A, B, a=100, b=100), "sum to 200"),
    "a share above 100": (config(A, B, a=101, b=-1), "traffic_percentage"),
    "two routes to one": (
        {
            **config(A),
            "traffic_config": {"routes": [{"served_entity_name": "a", "traffic_percentage": 50}] * 2},
        },
        "Duplicate entry 'a'",
    ),
    "a route with two different names": (
        {
            **config(A),
            "traffic_config": {
                "routes": [{"served_entity_name": "a", "served_model_name": "b", "traffic_percentage": 100}]
            },
        },
        "Exactly one",
    ),
    "external beside custom": (config(openai(**KEY), A, a=100), "cannot be served by one endpoint"),
    "two tasks": (
        config(openai(**KEY), {**openai(**KEY, task="llm/v1/embeddings"), "name": "y"}, x=100),
        "same task",
    ),
    "a zero beside an external model": (
        config({**openai(**KEY), "min_provisioned_throughput": 0}),
        "not supported for endpoints with external models",
    ),
    "no provider block": (config(openai()), "openai_config' is required"),
    "another provider's block": (
        config(openai(**KEY, cohere_config={"cohere_api_key": "{{secrets/a/b}}"})),
        "must not be given",
    ),
    "no key": (config(openai(openai_config={})), "Exactly one"),
    "reference and plaintext": (
        config(openai(openai_config={**KEY["openai_config"], "openai_api_key_plaintext": "sk"})),
        "one of",
    ),
    "a literal as reference": (config(openai(openai_config={"openai_api_key": "sk-1"})), "secret reference"),
    "an empty key": (config(openai(openai_config={"openai_api_key_plaintext": ""})), "must not be empty"),
    "an unknown provider": (config(openai(provider="acme")), "must be one of"),
    "a task that is none": (config(openai(**KEY, task="chat")), "task"),
    "an access key without its secret": (
        config(
            openai(
                provider="amazon-bedrock",
                amazon_bedrock_config={
                    "aws_region": "r",
                    "bedrock_provider": "cohere",
                    "aws_access_key_id_plaintext": "a",
                },
            )
        ),
        "given together",
    ),
    "a block without its region": (
        config(
            openai(
                provider="amazon-bedrock",
                amazon_bedrock_config={"bedrock_provider": "cohere", "instance_profile_arn": "a"},
            )
        ),
        "aws_region",
    ),
}

BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({}, "name must be specified"),
    "a name with a dot": ({"name": "a.b"}, "invalid"),
    "a name with a line end": ({"name": "a\n"}, "invalid"),
    "a name of 64 characters": ({"name": "a" * 64}, "at most 63"),
    "a name that is no text": ({"name": 1}, "name must be specified"),
    "permissions, which create does not take": ({"name": "a", "permissions": []}, "not accepted"),
    "tags as a map": ({"name": "a", "tags": {"a": "b"}}, "type array"),
    "the same tag twice": ({"name": "a", "tags": [{"key": "k"}, {"key": "k"}]}, "Duplicate entry 'k'"),
    "a tag without key": ({"name": "a", "tags": [{"value": "v"}]}, "key"),
    "a tag value that is no text": ({"name": "a", "tags": [{"key": "k", "value": 1}]}, "type string"),
    "a limit of nothing": (
        {"name": "a", "ai_gateway": {"rate_limits": [{"renewal_period": "minute"}]}},
        "calls, tokens",
    ),
    "a limit without period": (
        {"name": "a", "ai_gateway": {"rate_limits": [{"calls": 1}]}},
        "renewal_period",
    ),
    "the same limit twice, once by default": (
        {
            "name": "a",
            "ai_gateway": {
                "rate_limits": [
                    {"calls": 1, "renewal_period": "minute"},
                    {"key": "endpoint", "calls": 2, "renewal_period": "minute"},
                ]
            },
        },
        "Duplicate entry 'endpoint'",
    ),
    "route optimisation of an external model": (
        {"name": "a", "route_optimized": True, "config": external()},
        "custom models only",
    ),
    "telemetry of an external model": (
        {"name": "a", "telemetry_config": {"telemetry_profile_id": "p"}, "config": external()},
        "custom models only",
    ),
    "a sampling above one": (
        {"name": "a", "telemetry_config": {"inference_table_config": {"sampling_fraction": 1.5}}},
        "at most 1",
    ),
}


@pytest.mark.parametrize(("body", "words"), CONFIGS.values(), ids=CONFIGS.keys())
def test_configs(api: API, body: dict[str, Any], words: str) -> None:
    for method, path, sent in (
        ("POST", "", {"name": "new", "config": body}),
        ("PUT", "empty/config", body),
    ):
        if method == "PUT":
            api.ok("POST", "", {"name": "empty"})
        status, code, message = api.refused(method, path, sent)
        assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
        assert words in message
    assert api.refused("GET", "new")[0] == 404, "nothing was made"
    assert api.ok("GET", "empty")["state"]["config_update"] == "NOT_UPDATING"


@pytest.mark.parametrize(("body", "words"), BODIES.values(), ids=BODIES.keys())
def test_create_bodies(api: API, body: dict[str, Any], words: str) -> None:
    status, code, message = api.refused("POST", "", body)

    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert words in message
    assert api.ok("GET", "")["endpoints"] == []


def test_route_optimized_false_may_stand_beside_an_external_model(api: API) -> None:
    """The mlflow client always sends it."""
    assert api.create(config=external(), route_optimized=False)["route_optimized"] is False


def test_a_section_that_the_throughput_call_does_not_take(api: API) -> None:
    body = {
        "name": "a",
        "description": "d",
        "config": {"served_entities": [entity(provisioned_model_units=1)]},
    }

    assert "'description' is not accepted" in api.refused("POST", "pt", body)[2]
    body = {"name": "a", "config": {"served_entities": [entity()]}}
    assert "provisioned_model_units is required" in api.refused("POST", "pt", body)[2]


def test_a_name_in_use(api: API) -> None:
    api.create()

    assert api.refused("POST", "", {"name": "one"})[:2] == (409, "RESOURCE_ALREADY_EXISTS")


def test_a_change_between_external_and_custom(api: API) -> None:
    api.create("custom", config=custom())
    api.create("external", config=external())

    assert "cannot change between" in api.refused("PUT", "custom/config", external())[2]
    assert "cannot change between" in api.refused("PUT", "external/config", custom())[2]


def test_an_inference_table_of_a_config_cannot_move_or_come_back(api: API) -> None:
    table = {"catalog_name": "main", "schema_name": "logs"}

    def put(**fields: Any) -> tuple[int, Any]:
        response = api.send("PUT", "one/config", {**custom(), "auto_capture_config": {**table, **fields}})
        api.clock.pass_by(10)
        return response.status, response.body

    api.create(config={**custom(), "auto_capture_config": {**table, "table_name_prefix": "mine"}})
    assert put(catalog_name="other")[0] == 400
    assert put(schema_name="other")[0] == 400
    assert put(table_name_prefix="other")[0] == 400
    assert put()[0] == 200
    shown = api.ok("GET", "one")["config"]["auto_capture_config"]
    assert shown["table_name_prefix"] == "mine", "left out means as it was"
    assert put(enabled=False)[0] == 200
    assert put(enabled=True)[0] == 400
    assert put()[0] == 200
    assert api.ok("GET", "one")["config"]["auto_capture_config"]["enabled"] is False
    api.ok("PUT", "one/config", custom())
    api.clock.pass_by(10)
    assert put(enabled=True)[0] == 400, "nor by way of leaving it out"


def test_an_inference_table_of_the_gateway_moves_only_when_it_is_off(api: API) -> None:
    def table(catalog: str, *, enabled: bool) -> dict[str, Any]:
        return {"inference_table_config": {"enabled": enabled, "catalog_name": catalog, "schema_name": "s"}}

    api.create(config=external(), ai_gateway=table("a", enabled=True))
    assert "Disable the inference table" in api.refused("PUT", "one/ai-gateway", table("b", enabled=True))[2]
    api.ok("PUT", "one/ai-gateway", table("b", enabled=False))
    api.ok("PUT", "one/ai-gateway", table("b", enabled=True))


def test_telemetry_needs_a_custom_model(api: API) -> None:
    api.create("external", config=external())
    api.create("empty")
    body = {"telemetry_config": {"telemetry_profile_id": "p"}}

    for name, kind in (("external", "EXTERNAL_MODELS"), ("empty", "NO_CONFIG")):
        status, code, message = api.refused("PATCH", f"{name}/telemetry-config", body)
        assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
        assert kind in message


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "none"),
        ("DELETE", "none"),
        ("PATCH", "none/tags"),
        ("PUT", "none/rate-limits"),
        ("PUT", "none/ai-gateway"),
        ("PATCH", "none/notifications"),
        ("PATCH", "none/telemetry-config"),
        ("GET", "none/served-models/x/build-logs"),
        ("GET", "none/served-models/x/logs"),
        ("GET", "none/metrics"),
        ("GET", "none/openapi"),
        ("POST", "/serving-endpoints/none/invocations"),
        ("GET", "/api/2.0/permissions/serving-endpoints/none"),
        ("GET", "/api/2.0/permissions/serving-endpoints/none/permissionLevels"),
        ("PATCH", "/api/2.0/permissions/serving-endpoints/none"),
    ],
)
def test_calls_on_an_endpoint_that_is_not_there(api: API, method: str, path: str) -> None:
    assert api.refused(method, path)[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_the_config_of_an_endpoint_that_is_not_there(api: API) -> None:
    assert api.refused("PUT", "none/config", custom())[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    pt = {"config": {"served_entities": [entity(provisioned_model_units=1)]}}
    assert api.refused("PUT", "pt/none/config", pt)[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_thousand_endpoints_are_the_limit(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.emulator import endpoints

    assert endpoints.MAX_ENDPOINTS == 1000
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 2)
    api.create("a")
    api.create("b")

    assert api.refused("POST", "", {"name": "c"})[1] == "RESOURCE_LIMIT_EXCEEDED"
    api.ok("DELETE", "a")
    api.create("c")
