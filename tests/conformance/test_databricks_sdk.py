"""Every method of the real SDK's ``WorkspaceClient().serving_endpoints``, judged by its typed objects."""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator.testing import RunningEmulator

LEFT_OUT = {
    "http_request": "calls a Unity Catalog connection, /api/2.0/external-function: no serving endpoint",
}


@pytest.fixture
def api(workspace_client: Any) -> Any:
    return workspace_client.serving_endpoints


@pytest.fixture(scope="session")
def serving(environment: None) -> Any:
    return pytest.importorskip("databricks.sdk.service.serving")


@pytest.fixture(scope="session")
def errors(environment: None) -> Any:
    return pytest.importorskip("databricks.sdk.errors")


def custom(serving: Any, version: str = "3", **more: Any) -> Any:
    return serving.EndpointCoreConfigInput(
        name="the-endpoint",
        served_entities=[
            serving.ServedEntityInput(
                entity_name="main.ml.ranker", entity_version=version, scale_to_zero_enabled=True, **more
            )
        ],
    )


def external(serving: Any, task: str = "llm/v1/chat") -> Any:
    return serving.EndpointCoreConfigInput(
        name="the-endpoint",
        served_entities=[
            serving.ServedEntityInput(
                external_model=serving.ExternalModel(
                    provider=serving.ExternalModelProvider.OPENAI,
                    name="gpt-4o",
                    task=task,
                    openai_config=serving.OpenAiConfig(openai_api_key="{{secrets/llm/openai}}"),
                )
            )
        ],
    )


def test_every_public_method_is_called_here(serving: Any) -> None:
    public = {
        name
        for name, value in vars(serving.ServingEndpointsAPI).items()
        if callable(value) and not name.startswith("_")
    }
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "api"
    }

    assert public - called - set(LEFT_OUT) == set()
    assert set(LEFT_OUT) <= public - called


def test_create_answers_before_it_is_live_and_the_wait_ends_when_it_is(
    api: Any, serving: Any, emulator: RunningEmulator, name: str
) -> None:
    emulator.workspace.provisioning = 0.2
    try:
        waiting = api.create(name, config=custom(serving))
    finally:
        emulator.workspace.provisioning = 0.0

    first = waiting.response
    assert first.name == name
    assert first.state.config_update is serving.EndpointStateConfigUpdate.IN_PROGRESS
    assert first.state.ready is serving.EndpointStateReady.NOT_READY
    assert first.config is None
    assert first.pending_config.config_version == 1
    pending = first.pending_config.served_entities[0]
    assert pending.state.deployment is serving.ServedModelStateDeployment.DEPLOYMENT_CREATING

    seen: list[Any] = []
    live = waiting.result(timeout=timedelta(seconds=30), callback=lambda poll: seen.append(poll.state))
    assert seen, "the first poll came before the config was live"
    assert live.state.config_update is serving.EndpointStateConfigUpdate.NOT_UPDATING
    assert live.state.ready is serving.EndpointStateReady.READY
    assert live.pending_config is None
    assert live.config.config_version == 1


def test_create_and_wait_gives_the_whole_endpoint(api: Any, serving: Any, name: str) -> None:
    live = api.create_and_wait(
        name,
        config=custom(serving, environment_vars={"LEVEL": "info"}),
        description="ranks",
        budget_policy_id="policy",
        route_optimized=True,
        tags=[serving.EndpointTag(key="team", value="search"), serving.EndpointTag(key="bare")],
        email_notifications=serving.EmailNotifications(on_update_failure=["a@example.com"]),
        ai_gateway=serving.AiGatewayConfig(
            usage_tracking_config=serving.AiGatewayUsageTrackingConfig(enabled=True),
            inference_table_config=serving.AiGatewayInferenceTableConfig(
                enabled=True, catalog_name="main", schema_name="logs"
            ),
        ),
        telemetry_config=serving.TelemetryConfig(
            table_names=serving.UnityCatalogTableNames(logs_table="main.logs.ranker")
        ),
        rate_limits=[
            serving.RateLimit(calls=100, renewal_period=serving.RateLimitRenewalPeriod.MINUTE),
        ],
    )

    entity = live.config.served_entities[0]
    assert entity.name == "ranker-3"
    assert (entity.entity_name, entity.entity_version) == ("main.ml.ranker", "3")
    assert entity.workload_type is serving.ServingModelWorkloadType.CPU
    assert entity.workload_size == "Small"
    assert entity.scale_to_zero_enabled is True
    assert entity.environment_vars == {"LEVEL": "info"}
    assert entity.state.deployment is serving.ServedModelStateDeployment.DEPLOYMENT_READY
    model = live.config.served_models[0]
    assert (model.model_name, model.model_version, model.name) == ("main.ml.ranker", "3", "ranker-3")
    route = live.config.traffic_config.routes[0]
    assert (route.served_entity_name, route.served_model_name) == ("ranker-3", "ranker-3")
    assert route.traffic_percentage == 100
    assert live.description == "ranks"
    assert live.route_optimized is True
    assert live.budget_policy_id is None, "GET does not echo it"
    assert {tag.key: tag.value for tag in live.tags} == {"team": "search", "bare": None}
    assert live.email_notifications.on_update_failure == ["a@example.com"]
    assert live.ai_gateway.usage_tracking_config.enabled is True
    assert live.ai_gateway.inference_table_config.table_name_prefix == name
    assert live.telemetry_config.table_names is None, "write-only"
    assert live.telemetry_config.telemetry_profile_id
    assert live.permission_level is serving.ServingEndpointDetailedPermissionLevel.CAN_MANAGE
    assert live.endpoint_url.endswith(f"/serving-endpoints/{name}/invocations")
    assert live.data_plane_info.query_info.endpoint_url == live.endpoint_url
    assert live.creator
    assert live.id
    assert live.creation_timestamp <= live.last_updated_timestamp


def test_list_is_a_summary(api: Any, serving: Any, name: str) -> None:
    api.create_and_wait(name, config=custom(serving), budget_policy_id="policy", description="short")

    listed = next(endpoint for endpoint in api.list() if endpoint.name == name)

    assert listed.budget_policy_id == "policy"
    assert listed.usage_policy_id == "policy"
    assert listed.description == "short"
    assert listed.state.ready is serving.EndpointStateReady.READY
    assert listed.config.served_entities[0].as_dict() == {
        "name": "ranker-3",
        "entity_name": "main.ml.ranker",
        "entity_version": "3",
    }
    assert listed.config.served_models[0].as_dict() == {
        "name": "ranker-3",
        "model_name": "main.ml.ranker",
        "model_version": "3",
    }
    assert listed.id == api.get(name).id


def test_update_config_serves_the_old_one_until_the_new_one_is_live(
    api: Any, serving: Any, emulator: RunningEmulator, name: str
) -> None:
    api.create_and_wait(name, config=custom(serving))
    emulator.workspace.provisioning = 0.2
    try:
        waiting = api.update_config(name, served_entities=custom(serving, "4").served_entities)
    finally:
        emulator.workspace.provisioning = 0.0

    assert waiting.response.config.served_entities[0].entity_version == "3"
    assert waiting.response.pending_config.served_entities[0].entity_version == "4"
    assert waiting.response.state.ready is serving.EndpointStateReady.READY
    live = api.wait_get_serving_endpoint_not_updating(name, timeout=timedelta(seconds=30))
    assert live.config.served_entities[0].entity_version == "4"
    assert live.config.config_version == 2


def test_update_config_and_wait_splits_traffic_in_the_legacy_spelling(
    api: Any, serving: Any, name: str
) -> None:
    api.create_and_wait(name, config=custom(serving))

    live = api.update_config_and_wait(
        name,
        served_models=[
            serving.ServedModelInput(
                name=label, model_name="main.ml.ranker", model_version=version, scale_to_zero_enabled=False
            )
            for label, version in (("champion", "3"), ("challenger", "4"))
        ],
        traffic_config=serving.TrafficConfig(
            routes=[
                serving.Route(served_model_name="champion", traffic_percentage=80),
                serving.Route(served_model_name="challenger", traffic_percentage=20),
            ]
        ),
    )

    assert {entity.name: entity.entity_version for entity in live.config.served_entities} == {
        "champion": "3",
        "challenger": "4",
    }
    routes = {
        route.served_entity_name: route.traffic_percentage for route in live.config.traffic_config.routes
    }
    assert routes == {"champion": 80, "challenger": 20}


def test_a_failed_update_ends_the_wait_and_leaves_the_old_config_serving(
    api: Any, serving: Any, errors: Any, name: str
) -> None:
    api.create_and_wait(name, config=custom(serving))
    broken = serving.ServedEntityInput(
        name="broken", entity_name="main.ml.fail-to-deploy", entity_version="1"
    )

    with pytest.raises(errors.OperationFailed, match="UPDATE_FAILED"):
        api.update_config_and_wait(name, served_entities=[broken])

    found = api.get(name)
    assert found.state.ready is serving.EndpointStateReady.READY
    assert found.config.served_entities[0].entity_version == "3"
    failed = found.pending_config.served_entities[0].state
    assert failed.deployment is serving.ServedModelStateDeployment.DEPLOYMENT_FAILED
    assert failed.deployment_state_message in api.build_logs(name, "broken").logs


def test_provisioned_throughput(api: Any, serving: Any, name: str) -> None:
    def config(units: int) -> Any:
        return serving.PtEndpointCoreConfig(
            served_entities=[
                serving.PtServedModel(
                    name="llama",
                    entity_name="system.ai.llama-4",
                    entity_version="1",
                    provisioned_model_units=units,
                    burst_scaling_enabled=True,
                )
            ]
        )

    waiting = api.create_provisioned_throughput_endpoint(
        name, config(50), tags=[serving.EndpointTag(key="team", value="llm")]
    )
    assert waiting.result().config.served_entities[0].provisioned_model_units == 50
    waiting = api.update_provisioned_throughput_endpoint_config(name, config(100))
    assert waiting.result().config.served_entities[0].provisioned_model_units == 100
    live = api.update_provisioned_throughput_endpoint_config_and_wait(name, config(150))
    assert live.config.served_entities[0].provisioned_model_units == 150
    assert live.config.served_entities[0].burst_scaling_enabled is None, "not echoed"
    assert live.config.config_version == 3
    other = api.create_provisioned_throughput_endpoint_and_wait(f"{name}-b", config(50))
    assert other.state.ready is serving.EndpointStateReady.READY


def test_a_pay_per_token_model_has_a_foundation_model_and_never_scales_to_zero(
    api: Any, serving: Any, name: str
) -> None:
    live = api.create_and_wait(
        name,
        config=serving.EndpointCoreConfigInput(
            name=name,
            served_entities=[
                serving.ServedEntityInput(
                    name="llama", entity_name="system.ai.llama-4", scale_to_zero_enabled=True
                )
            ],
        ),
    )

    assert live.config.served_entities[0].scale_to_zero_enabled is False
    assert live.config.served_entities[0].foundation_model.name == "system.ai.llama-4"
    assert live.task == "llm/v1/chat"


def test_patch_tags(api: Any, serving: Any, name: str) -> None:
    api.create(name, tags=[serving.EndpointTag(key="a", value="1"), serving.EndpointTag(key="b", value="2")])

    answer = api.patch(name, add_tags=[serving.EndpointTag(key="c", value="3")], delete_tags=["a"])

    assert {tag.key: tag.value for tag in answer.tags} == {"b": "2", "c": "3"}
    assert {tag.key: tag.value for tag in api.get(name).tags} == {"b": "2", "c": "3"}


def test_put_rate_limits_are_answered_once_and_never_echoed(api: Any, serving: Any, name: str) -> None:
    api.create(name)

    answer = api.put(
        name, rate_limits=[serving.RateLimit(calls=7, renewal_period=serving.RateLimitRenewalPeriod.MINUTE)]
    )

    assert answer.rate_limits[0].calls == 7
    assert answer.rate_limits[0].key is serving.RateLimitKey.ENDPOINT
    assert "rate_limits" not in api.get(name).as_dict()


def test_put_ai_gateway_replaces_the_whole_and_nothing_clears_it(api: Any, serving: Any, name: str) -> None:
    api.create(name, config=external(serving))
    limit = serving.AiGatewayRateLimit(
        calls=5,
        key=serving.AiGatewayRateLimitKey.USER,
        renewal_period=serving.AiGatewayRateLimitRenewalPeriod.MINUTE,
    )

    answer = api.put_ai_gateway(
        name,
        rate_limits=[limit],
        guardrails=serving.AiGatewayGuardrails(
            input=serving.AiGatewayGuardrailParameters(
                pii=serving.AiGatewayGuardrailPiiBehavior(
                    behavior=serving.AiGatewayGuardrailPiiBehaviorBehavior.BLOCK
                )
            )
        ),
        fallback_config=serving.FallbackConfig(enabled=True),
    )
    assert answer.rate_limits[0].as_dict() == {"calls": 5, "key": "user", "renewal_period": "minute"}
    assert answer.guardrails.input.safety is False
    assert answer.fallback_config.enabled is True

    api.put_ai_gateway(name, usage_tracking_config=serving.AiGatewayUsageTrackingConfig(enabled=True))
    assert api.get(name).ai_gateway.as_dict() == {"usage_tracking_config": {"enabled": True}}

    assert api.put_ai_gateway(name).as_dict() == {}
    assert api.get(name).ai_gateway is None


def test_update_notifications(api: Any, serving: Any, name: str) -> None:
    api.create(name)

    answer = api.update_notifications(
        name, email_notifications=serving.EmailNotifications(on_update_success=["a@example.com"])
    )

    assert answer.name == name
    assert answer.email_notifications.on_update_success == ["a@example.com"]
    assert api.get(name).email_notifications.on_update_success == ["a@example.com"]


def test_telemetry_is_replaced_removed_and_refused(
    api: Any, serving: Any, errors: Any, emulator: RunningEmulator, name: str
) -> None:
    api.create_and_wait(name, config=custom(serving))
    config = serving.TelemetryConfig(
        table_names=serving.UnityCatalogTableNames(logs_table="main.logs.ranker"),
        inference_table_config=serving.TelemetryInferenceTableConfig(sampling_fraction=0.5),
    )

    answer = api.patch_telemetry_config(name, telemetry_config=config)
    assert answer.telemetry_config.inference_table_config.sampling_fraction == 0.5
    assert answer.telemetry_config.table_names is None
    assert api.patch_telemetry_config(name).telemetry_config is None

    emulator.workspace.provisioning = 60.0
    try:
        api.update_config(name, served_entities=custom(serving, "4").served_entities)
    finally:
        emulator.workspace.provisioning = 0.0
    with pytest.raises(errors.ResourceConflict, match="currently updating"):
        api.patch_telemetry_config(name, telemetry_config=config)
    api.create_and_wait(f"{name}-external", config=external(serving))
    with pytest.raises(errors.InvalidParameterValue, match="EXTERNAL_MODELS"):
        api.patch_telemetry_config(f"{name}-external", telemetry_config=config)


def test_delete_and_the_errors_of_names(api: Any, serving: Any, errors: Any, name: str) -> None:
    api.create(name)
    with pytest.raises(errors.ResourceAlreadyExists):
        api.create(name)

    api.delete(name)

    with pytest.raises(errors.NotFound):
        api.get(name)
    with pytest.raises(errors.NotFound):
        api.delete(name)


def test_a_change_during_an_update_is_refused(
    api: Any, serving: Any, errors: Any, emulator: RunningEmulator, name: str
) -> None:
    emulator.workspace.provisioning = 60.0
    try:
        api.create(name, config=custom(serving))
        with pytest.raises(errors.ResourceConflict, match="currently updating"):
            api.update_config(name, served_entities=custom(serving, "4").served_entities)
    finally:
        emulator.workspace.provisioning = 0.0


def test_logs_metrics_and_openapi(api: Any, serving: Any, name: str) -> None:
    api.create_and_wait(name, config=custom(serving))
    for _ in range(3):
        api.query(name, instances=[1])

    assert "ranker-3" in api.build_logs(name, "ranker-3").logs
    assert "3 requests" in api.logs(name, "ranker-3").logs
    metrics = api.export_metrics(name).contents.read().decode()
    assert f'request_count_total{{endpoint_name="{name}",served_model_name="ranker-3"}} 3\n' in metrics
    document = api.get_open_api(name).contents.read().decode()
    assert "/served-models/ranker-3/invocations" in document


def test_query_chat(api: Any, serving: Any, name: str) -> None:
    api.create_and_wait(name, config=external(serving))

    answer = api.query(
        name,
        messages=[serving.ChatMessage(role=serving.ChatMessageRole.USER, content="two words")],
        max_tokens=10,
    )

    assert answer.served_model_name == "gpt-4o"
    assert answer.model == "gpt-4o"
    assert answer.object is serving.QueryEndpointResponseObject.CHAT_COMPLETION
    assert answer.choices[0].message.role is serving.ChatMessageRole.ASSISTANT
    assert answer.choices[0].message.content
    assert answer.usage.prompt_tokens == 2
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_query_completions_and_embeddings(api: Any, serving: Any, name: str) -> None:
    api.create_and_wait(f"{name}-text", config=external(serving, "llm/v1/completions"))
    api.create_and_wait(f"{name}-vector", config=external(serving, "llm/v1/embeddings"))

    text = api.query(f"{name}-text", prompt="Hello")
    assert text.object is serving.QueryEndpointResponseObject.TEXT_COMPLETION
    assert text.choices[0].text
    vectors = api.query(f"{name}-vector", input=["one", "two"])
    assert vectors.object is serving.QueryEndpointResponseObject.LIST
    assert [element.index for element in vectors.data] == [0, 1]
    assert vectors.data[0].embedding != vectors.data[1].embedding


def test_query_tables(api: Any, serving: Any, name: str) -> None:
    api.create_and_wait(name, config=custom(serving))

    split = api.query(name, dataframe_split=serving.DataframeSplitInput(columns=["a"], data=[[1], [2], [3]]))
    assert len(split.predictions) == 3
    assert split.served_model_name == "ranker-3"
    assert len(api.query(name, dataframe_records=[{"a": 1}, {"a": 2}]).predictions) == 2
    assert len(api.query(name, inputs=[[1.0], [2.0]]).predictions) == 2
    assert len(api.query(name, instances=[1, 2]).predictions) == 2


def test_query_of_none_and_of_one_that_is_not_ready(api: Any, errors: Any, name: str) -> None:
    with pytest.raises(errors.NotFound):
        api.query(name, instances=[1])
    api.create(name)
    with pytest.raises(errors.BadRequest, match="not ready"):
        api.query(name, instances=[1])


def test_permissions(api: Any, serving: Any, errors: Any, workspace_client: Any, name: str) -> None:
    me = workspace_client.current_user.me().user_name
    identifier = api.create(name).response.id
    level = serving.ServingEndpointPermissionLevel
    request = serving.ServingEndpointAccessControlRequest

    def grants(answer: Any) -> dict[str, list[tuple[Any, bool]]]:
        return {
            entry.user_name or entry.group_name: [
                (permission.permission_level, permission.inherited) for permission in entry.all_permissions
            ]
            for entry in answer.access_control_list
        }

    untouched = {me: [(level.CAN_MANAGE, False)], "admins": [(level.CAN_MANAGE, True)]}
    assert grants(api.get_permissions(identifier)) == untouched
    assert api.get_permissions(identifier).object_id == f"/serving-endpoints/{identifier}"
    answer = api.update_permissions(
        identifier,
        access_control_list=[request(group_name="analysts", permission_level=level.CAN_QUERY)],
    )
    assert grants(answer) == {**untouched, "analysts": [(level.CAN_QUERY, False)]}
    answer = api.set_permissions(
        identifier,
        access_control_list=[
            request(user_name=me, permission_level=level.CAN_MANAGE),
            request(group_name="readers", permission_level=level.CAN_VIEW),
        ],
    )
    assert grants(answer) == {**untouched, "readers": [(level.CAN_VIEW, False)]}
    with pytest.raises(errors.InvalidParameterValue, match="must retain CAN_MANAGE"):
        api.set_permissions(identifier, access_control_list=[])
    levels = api.get_permission_levels(identifier).permission_levels
    assert {entry.permission_level for entry in levels} == set(level)
    admins = next(e for e in api.get_permissions(identifier).access_control_list if e.group_name == "admins")
    assert admins.all_permissions[0].inherited_from_object == ["/serving-endpoints/"]

    api.delete(name)
    api.create(name)
    with pytest.raises(errors.NotFound):
        api.get_permissions(identifier)


def test_oauth_for_machines(environment: None, emulator: RunningEmulator) -> None:
    sdk = pytest.importorskip("databricks.sdk")
    client = sdk.WorkspaceClient(
        host=emulator.url,
        client_id="application",
        client_secret="secret",
        auth_type="oauth-m2m",
        token=None,
    )
    before = emulator.count("POST", "/oidc/v1/token")

    assert client.current_user.me().user_name == emulator.workspace.user
    list(client.serving_endpoints.list())

    assert emulator.count("POST", "/oidc/v1/token") == before + 1, "one token for both calls"
