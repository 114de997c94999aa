"""Every endpoint method of the real ``mlflow.deployments.get_deploy_client("databricks")``."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator.testing import RunningEmulator

LEFT_OUT = {
    **dict.fromkeys(
        (
            "create_deployment",
            "update_deployment",
            "delete_deployment",
            "list_deployments",
            "get_deployment",
            "explain",
        ),
        "raises NotImplementedError without asking the server",
    ),
}

CHAT = {
    "served_entities": [
        {
            "name": "chat",
            "external_model": {
                "name": "gpt-4o",
                "provider": "openai",
                "task": "llm/v1/chat",
                "openai_config": {"openai_api_key": "{{secrets/llm/openai}}"},
            },
        }
    ]
}
HELLO = {"messages": [{"role": "user", "content": "Hello there"}]}


@pytest.fixture
def client(deploy_client: Any) -> Any:
    return deploy_client


def test_every_public_method_is_called_here(client: Any) -> None:
    public = {name for name, _ in inspect.getmembers(type(client), callable) if not name.startswith("_")}
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "client"
    }

    assert public - called - set(LEFT_OUT) == set()
    assert set(LEFT_OUT) <= public - called


def test_create_get_list_delete(client: Any, emulator: RunningEmulator, name: str) -> None:
    made = client.create_endpoint(config={"name": name, "config": CHAT, "tags": [{"key": "a", "value": "b"}]})
    assert made.name == name
    assert made.state["config_update"] == "IN_PROGRESS"
    assert ("POST", "/api/2.0/serving-endpoints/") in [entry[:2] for entry in emulator.log], "with a slash"

    found = client.get_endpoint(endpoint=name)
    assert found.state == {"ready": "READY", "config_update": "NOT_UPDATING"}
    assert found.task == "llm/v1/chat"
    assert found.tags == [{"key": "a", "value": "b"}]
    assert found.config["served_models"][0]["name"] == "chat"

    listed = next(endpoint for endpoint in client.list_endpoints() if endpoint["name"] == name)
    assert "traffic_config" not in listed["config"]
    assert listed["id"] == found.id

    assert client.delete_endpoint(endpoint=name) == {}
    exceptions = pytest.importorskip("requests.exceptions")
    with pytest.raises(exceptions.HTTPError, match="404"):
        client.get_endpoint(endpoint=name)


def test_create_in_the_older_form(client: Any, name: str) -> None:
    with pytest.warns(UserWarning, match="deprecated"):
        client.create_endpoint(
            name=name,
            config={
                **CHAT,
                "tags": [{"key": "a", "value": "b"}],
                "rate_limits": [{"key": "user", "calls": 10, "renewal_period": "minute"}],
            },
        )

    found = client.get_endpoint(name)
    assert found.tags == [{"key": "a", "value": "b"}]
    assert found.route_optimized is False
    assert "rate_limits" not in found


def test_the_update_calls(client: Any, name: str) -> None:
    client.create_endpoint(config={"name": name, "config": CHAT})
    entity = {**CHAT["served_entities"][0], "name": "renamed"}

    changed = client.update_endpoint_config(endpoint=name, config={"served_entities": [entity]})
    assert changed.pending_config["served_entities"][0]["name"] == "renamed"
    assert client.get_endpoint(name).config["config_version"] == 2
    tags = client.update_endpoint_tags(
        endpoint=name, config={"add_tags": [{"key": "a"}, {"key": "b"}], "delete_tags": ["b"]}
    )
    assert tags == {"tags": [{"key": "a"}]}
    limits = {"rate_limits": [{"key": "user", "calls": 10, "renewal_period": "minute"}]}
    assert client.update_endpoint_rate_limits(endpoint=name, config=limits) == limits
    gateway = {"usage_tracking_config": {"enabled": True}}
    assert client.update_endpoint_ai_gateway(endpoint=name, config=gateway) == gateway
    assert client.get_endpoint(name).ai_gateway == gateway


def test_the_deprecated_update_chooses_its_route_by_the_body(client: Any, name: str) -> None:
    client.create_endpoint(config={"name": name, "config": CHAT})
    limits = {"rate_limits": [{"key": "endpoint", "calls": 10, "renewal_period": "minute"}]}

    with pytest.warns(Warning, match="deprecated"):
        assert client.update_endpoint(endpoint=name, config=limits) == limits
    with pytest.warns(Warning, match="deprecated"):
        answer = client.update_endpoint(endpoint=name, config=CHAT)
    assert answer.state["config_update"] == "IN_PROGRESS"


def test_predict(client: Any, name: str) -> None:
    client.create_endpoint(config={"name": name, "config": CHAT})

    answer = client.predict(endpoint=name, inputs=HELLO)

    assert answer.model == "chat"
    assert answer.choices[0]["message"]["role"] == "assistant"
    assert answer.usage["prompt_tokens"] == 2


def test_predict_stream(client: Any, name: str) -> None:
    client.create_endpoint(config={"name": name, "config": CHAT})
    whole = client.predict(endpoint=name, inputs=HELLO)

    chunks = list(client.predict_stream(endpoint=name, inputs=HELLO))

    assert len(chunks) > 2
    said = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert said == whole.choices[0]["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"] == whole.usage
