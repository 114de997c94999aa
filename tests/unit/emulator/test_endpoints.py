"""What is stored, filled in and shown."""

from __future__ import annotations

from typing import Any

from tests.unit.emulator.conftest import API, START, Clock, custom, external

DETAILS_ONLY = {
    "email_notifications",
    "route_optimized",
    "permission_level",
    "pending_config",
    "endpoint_url",
    "data_plane_info",
}


def test_list_of_nothing(api: API) -> None:
    assert api.ok("GET", "") == {"endpoints": []}


def test_trailing_slashes_mean_nothing(api: API) -> None:
    api.ok("POST", "/api/2.0/serving-endpoints/", {"name": "one"})

    assert api.ok("GET", "/api/2.0/serving-endpoints/")["endpoints"][0]["name"] == "one"
    assert api.ok("GET", "/api/2.0/serving-endpoints/one/")["name"] == "one"


def test_list_is_a_summary_of_get(api: API) -> None:
    whole = api.create(
        config=custom(environment_vars={"A": "b"}),
        description="ranks",
        budget_policy_id="policy",
        route_optimized=True,
        tags=[{"key": "team", "value": "search"}],
        ai_gateway={"usage_tracking_config": {"enabled": True}},
        email_notifications={"on_update_success": ["a@example.com"]},
        rate_limits=[{"calls": 9, "renewal_period": "minute"}],
    )
    entry = api.listed("one")

    assert set(whole) >= DETAILS_ONLY - {"pending_config"}
    assert not set(entry) & DETAILS_ONLY
    assert entry.pop("config") == {
        "served_entities": [
            {"name": "ranker-3", "entity_name": "main.ml.ranker", "entity_version": "3"},
        ],
        "served_models": [
            {"name": "ranker-3", "model_name": "main.ml.ranker", "model_version": "3"},
        ],
    }
    # The budget policy is the other way round: LIST shows it, under both its names, and GET does not.
    assert entry.pop("budget_policy_id") == entry.pop("usage_policy_id") == "policy"
    assert "budget_policy_id" not in whole
    assert "usage_policy_id" not in whole
    assert "rate_limits" not in whole
    assert "rate_limits" not in entry
    assert {name: whole[name] for name in entry} == entry


def test_list_shows_nothing_of_a_config_that_is_not_live(api: API) -> None:
    api.ok("POST", "", {"name": "one", "config": custom()})

    assert "config" not in api.listed("one")


def test_backend_defaults_of_a_custom_model(api: API) -> None:
    config = api.create(config=custom())["config"]
    entity = config["served_entities"][0]

    assert entity["name"] == "ranker-3"
    assert entity["workload_type"] == "CPU"
    assert entity["workload_size"] == "Small"
    assert entity["scale_to_zero_enabled"] is False
    assert (entity["min_provisioned_concurrency"], entity["max_provisioned_concurrency"]) == (4, 4)
    assert config["traffic_config"]["routes"] == [
        {"served_entity_name": "ranker-3", "served_model_name": "ranker-3", "traffic_percentage": 100}
    ]
    assert "environment_vars" not in entity


def test_no_size_is_made_up_beside_a_concurrency(api: API) -> None:
    config = custom(min_provisioned_concurrency=4, max_provisioned_concurrency=8)

    assert "workload_size" not in api.create(config=config)["config"]["served_entities"][0]


def test_backend_defaults_of_an_external_model(api: API) -> None:
    whole = api.create(config=external("gpt-4.1:mini"))
    entity = whole["config"]["served_entities"][0]

    assert entity["name"] == "gpt-4-1-mini"
    assert set(entity) == {"name", "external_model", "creator", "creation_timestamp", "state"}
    assert entity["external_model"]["openai_config"] == {
        "openai_api_key": "{{secrets/llm/openai}}",
        "openai_api_type": "openai",
        "openai_api_base": "https://api.openai.com/v1",
    }
    assert whole["task"] == "llm/v1/chat"


def test_backend_defaults_of_the_rest(api: API) -> None:
    whole = api.create(
        config={**custom(), "auto_capture_config": {"catalog_name": "main", "schema_name": "logs"}},
        ai_gateway={
            "inference_table_config": {"enabled": True},
            "rate_limits": [{"calls": 1, "renewal_period": "minute"}],
            "guardrails": {"input": {"pii": {}}},
        },
    )

    assert whole["description"] == ""
    assert whole["route_optimized"] is False
    assert whole["ai_gateway"] == {
        "inference_table_config": {"enabled": True, "table_name_prefix": "one"},
        "rate_limits": [{"key": "endpoint", "calls": 1, "renewal_period": "minute"}],
        "guardrails": {"input": {"safety": False, "pii": {"behavior": "NONE"}}},
    }
    capture = whole["config"]["auto_capture_config"]
    assert capture["enabled"] is True
    assert capture["state"]["payload_table"]["name"] == f"{capture['table_name_prefix']}_payload"


def test_get_holds_both_spellings_of_served_models(api: API) -> None:
    config = api.create(
        config={"served_models": [{"model_name": "ranker", "model_version": "3", "name": "champion"}]}
    )["config"]
    entity, model = config["served_entities"][0], config["served_models"][0]

    assert (entity["entity_name"], entity["entity_version"]) == ("ranker", "3")
    assert (model["model_name"], model["model_version"]) == ("ranker", "3")
    assert not {"entity_name", "entity_version"} & set(model)
    assert not {"model_name", "model_version"} & set(entity)
    assert model["workload_size"] == entity["workload_size"] == "Small"


def test_a_pay_per_token_model_never_scales_to_zero(api: API) -> None:
    for name, entity in (
        ("token", {"entity_name": "system.ai.llama", "scale_to_zero_enabled": True}),
        ("older", {"entity_name": "databricks-dbrx", "scale_to_zero_enabled": True}),
    ):
        shown = api.create(name, config={"served_entities": [entity]})["config"]["served_entities"][0]
        assert shown["scale_to_zero_enabled"] is False
        assert shown["foundation_model"]["name"] == entity["entity_name"]
        assert "workload_size" not in shown
    provisioned = {
        "entity_name": "system.ai.llama",
        "scale_to_zero_enabled": True,
        "max_provisioned_throughput": 100,
    }
    shown = api.create("own", config={"served_entities": [provisioned]})["config"]["served_entities"][0]
    assert shown["scale_to_zero_enabled"] is True
    assert "foundation_model" not in shown


def test_order_is_the_servers_own_unless_fallback_uses_it(api: API) -> None:
    names = [f"model-{letter}" for letter in "abcdefgh"]
    entities = [{"name": name, "entity_name": "m", "entity_version": "1"} for name in names]
    routes = [{"served_entity_name": name, "traffic_percentage": 0} for name in names]
    routes[0]["traffic_percentage"] = 100
    config = {"served_entities": entities, "traffic_config": {"routes": routes}}

    def shown() -> list[str]:
        return [entity["name"] for entity in api.ok("GET", "one")["config"]["served_entities"]]

    api.create(config=config)
    scrambled = shown()
    assert sorted(scrambled) == names
    assert scrambled not in (names, names[::-1])
    assert shown() == scrambled, "its own, and always the same"
    api.ok("PUT", "one/ai-gateway", {"fallback_config": {"enabled": True}})
    assert shown() == names
    assert [model["name"] for model in api.ok("GET", "one")["config"]["served_models"]] == names
    api.ok("PUT", "one/ai-gateway", {"fallback_config": {"enabled": False}})
    assert shown() == scrambled


def test_fields_that_are_not_echoed(api: API) -> None:
    whole = api.create(
        config={"name": "one", **custom(burst_scaling_enabled=True)},
        telemetry_config={"table_names": {"logs_table": "main.logs.one"}},
    )

    assert "burst_scaling_enabled" not in whole["config"]["served_entities"][0]
    assert "table_names" not in whole["telemetry_config"]
    assert whole["telemetry_config"]["telemetry_profile_id"]
    assert "name" not in whole["config"], "the SDK's config repeats the endpoint's name"


def test_fields_newer_than_the_schema_are_stored_and_echoed(api: API) -> None:
    config = custom(x_entity={"deep": [1]})
    config["x_config"] = []
    whole = api.create(config=config, ai_gateway={"x_gateway": {"on": True}}, x_endpoint="new")

    assert whole["x_endpoint"] == "new"
    assert whole["config"]["x_config"] == []
    assert whole["config"]["served_entities"][0]["x_entity"] == {"deep": [1]}
    assert whole["ai_gateway"]["x_gateway"] == {"on": True}
    assert api.ok("PUT", "one/ai-gateway", {"x_other": 1}) == {"x_other": 1}


def test_nulls_and_computed_fields_count_for_nothing(api: API) -> None:
    config: dict[str, Any] = custom(state={"deployment": "DEPLOYMENT_FAILED"}, workload_size=None)
    whole = api.create(config=config, id="mine", creator="me", tags=None, ai_gateway=None)

    assert whole["id"] != "mine"
    assert whole["creator"] == "local-user@example.com"
    assert whole["config"]["served_entities"][0]["state"]["deployment"] == "DEPLOYMENT_READY"
    assert "tags" not in whole


def test_an_answer_can_be_sent_back(api: API) -> None:
    """Both spellings of one field that agree are no fault."""
    route = {"served_entity_name": "ranker-3", "served_model_name": "ranker-3", "traffic_percentage": 100}
    config = {**custom(), "traffic_config": {"routes": [route]}}

    assert api.create(config=config)["config"]["traffic_config"]["routes"] == [route]


def test_tags(api: API) -> None:
    api.create(tags=[{"key": "a", "value": "1"}, {"key": "b"}])

    answer = api.ok(
        "PATCH",
        "one/tags",
        {"add_tags": [{"key": "a", "value": "2"}, {"key": "c"}], "delete_tags": ["b", "none"]},
    )

    assert sorted(answer["tags"], key=str) == [{"key": "a", "value": "2"}, {"key": "c"}]
    assert api.ok("GET", "one")["tags"] == answer["tags"]
    api.ok("PATCH", "one/tags", {"delete_tags": ["a", "c"]})
    assert "tags" not in api.ok("GET", "one")


def test_ai_gateway_is_replaced_as_a_whole(api: API) -> None:
    api.create(config=external(), ai_gateway={"usage_tracking_config": {"enabled": True}})
    limits = {"rate_limits": [{"key": "user", "calls": 5, "renewal_period": "minute"}]}

    assert api.ok("PUT", "one/ai-gateway", limits) == limits
    assert api.ok("GET", "one")["ai_gateway"] == limits
    assert api.ok("PUT", "one/ai-gateway", {}) == {}
    assert "ai_gateway" not in api.ok("GET", "one")
    api.ok("PUT", "one/ai-gateway", limits)
    api.ok("PUT", "one/ai-gateway")
    assert "ai_gateway" not in api.ok("GET", "one")


def test_notifications_are_replaced(api: API) -> None:
    api.create(email_notifications={"on_update_success": ["a@example.com"]})
    sent = {"email_notifications": {"on_update_failure": ["b@example.com", "b@example.com"]}}

    answer = api.ok("PATCH", "one/notifications", sent)

    assert answer == {"name": "one", "email_notifications": {"on_update_failure": ["b@example.com"]}}
    assert api.ok("GET", "one")["email_notifications"] == answer["email_notifications"]
    api.ok("PATCH", "one/notifications", {})
    assert "email_notifications" not in api.ok("GET", "one")


def test_telemetry_is_replaced_and_removed(api: API) -> None:
    api.create(config=custom())
    sent = {
        "table_names": {"logs_table": "main.logs.one"},
        "inference_table_config": {"sampling_fraction": 0.5},
    }

    shown = api.ok("PATCH", "one/telemetry-config", {"telemetry_config": sent})["telemetry_config"]

    assert shown["inference_table_config"] == {
        "sampling_fraction": 0.5,
        "name": "main.logs.one_payload",
    }
    assert "telemetry_config" not in api.ok("PATCH", "one/telemetry-config", {})
    assert "telemetry_config" not in api.listed("one")


def test_last_updated_moves_with_config_and_telemetry_only(api: API, clock: Clock) -> None:
    def updated() -> int:
        clock.pass_by(60)
        stamp: int = api.ok("GET", "one")["last_updated_timestamp"]
        assert stamp == api.listed("one")["last_updated_timestamp"]
        return stamp

    api.create(config=custom())
    first = updated()
    assert first == START * 1000
    api.ok("PATCH", "one/tags", {"add_tags": [{"key": "a"}]})
    api.ok("PUT", "one/ai-gateway", {"usage_tracking_config": {"enabled": True}})
    api.ok("PATCH", "one/notifications", {"email_notifications": {"on_update_success": ["a"]}})
    api.ok("PUT", "one/rate-limits", {"rate_limits": [{"calls": 1, "renewal_period": "minute"}]})
    assert updated() == first
    api.ok("PATCH", "one/telemetry-config", {"telemetry_config": {"telemetry_profile_id": "p"}})
    second = updated()
    assert second > first
    api.ok("PUT", "one/config", custom("4"))
    assert updated() > second


def test_two_changes_within_a_millisecond_have_two_timestamps(api: API) -> None:
    api.create(config=custom())
    stamps = [api.ok("PATCH", "one/telemetry-config", {})["last_updated_timestamp"] for _ in range(3)]

    api.workspace.provisioning = 0
    stamps += [api.ok("PUT", "one/config", custom())["last_updated_timestamp"] for _ in range(3)]

    assert stamps == sorted(set(stamps))


def test_delete_and_create_again_is_another_endpoint(api: API) -> None:
    before = api.create(tags=[{"key": "a"}])["id"]

    assert api.ok("DELETE", "one") == {}
    assert api.refused("GET", "one")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    assert api.refused("DELETE", "one")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    again = api.create()
    assert again["id"] != before
    assert "tags" not in again


def test_a_route_optimised_endpoint_says_where_it_is(api: API) -> None:
    whole = api.create(config=custom(), route_optimized=True)

    assert whole["endpoint_url"] == "http://local/serving-endpoints/one/invocations"
    assert whole["data_plane_info"]["query_info"]["endpoint_url"] == whole["endpoint_url"]
    assert "endpoint_url" not in api.create("two", config=custom())


def test_provisioned_throughput(api: API) -> None:
    def config(units: int) -> dict[str, Any]:
        return {"served_entities": [{"entity_name": "system.ai.llama", "provisioned_model_units": units}]}

    api.ok("POST", "pt", {"name": "one", "config": config(50)})
    api.clock.pass_by(10)
    assert api.ok("GET", "one")["config"]["served_entities"][0]["provisioned_model_units"] == 50
    api.ok("PUT", "pt/one/config", {"config": config(100)})
    api.clock.pass_by(10)
    assert api.ok("GET", "one")["config"]["served_entities"][0]["provisioned_model_units"] == 100
    assert api.refused("PUT", "pt/one/config", {"config": custom()})[0] == 400
