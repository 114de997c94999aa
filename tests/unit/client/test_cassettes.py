"""The wire format of every method, pinned: replayed from tests/cassettes with no server.

``RECORD_CASSETTES=1 pytest tests/unit/client/test_cassettes.py`` records them anew against the emulator. What
is kept names ``http://workspace.test`` and holds no credential.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.client import DatabricksDeploymentClient
from reconciler.client.auth import Token
from tests.unit.client.wire import CANARY

vcr = pytest.importorskip("vcr")

FOLDER = Path(__file__).parents[2] / "cassettes"
RECORD = bool(os.environ.get("RECORD_CASSETTES"))
HOST = "http://workspace.test"
_KEPT = {"content-type", "content-length", "accept", "x-databricks-endpoints-api-client"}

CONFIG = {
    "served_entities": [
        {
            "name": "gpt",
            "external_model": {
                "name": "gpt-4o",
                "provider": "openai",
                "task": "llm/v1/chat",
                "openai_config": {"openai_api_key": "{{secrets/llm/openai}}"},
            },
        }
    ]
}
LIMITS = {"rate_limits": [{"key": "user", "calls": 10, "renewal_period": "minute"}]}
HELLO = {"messages": [{"role": "user", "content": "Hello there"}]}
PT = {
    "name": "pt",
    "config": {
        "served_entities": [
            {
                "name": "llama",
                "entity_name": "system.ai.llama_v3_3_70b_instruct",
                "entity_version": "1",
                "provisioned_model_units": 50,
            }
        ]
    },
}
CUSTOM = {
    "served_entities": [
        {
            "entity_name": "main.ml.ranker",
            "entity_version": "3",
            "workload_size": "Small",
            "scale_to_zero_enabled": True,
        }
    ]
}
ACL = {
    "access_control_list": [
        {"user_name": "local-user@example.com", "permission_level": "CAN_MANAGE"},
        {"user_name": "a@example.com", "permission_level": "CAN_QUERY"},
    ]
}
Call = Callable[[DatabricksDeploymentClient, str], Any]

METHODS: dict[str, Call] = {
    "create_endpoint": lambda c, _: c.create_endpoint(config={"name": "made", "config": CONFIG}),
    "update_endpoint": lambda c, _: c.update_endpoint("chat", LIMITS),
    "update_endpoint_config": lambda c, _: c.update_endpoint_config("chat", CONFIG),
    "update_endpoint_tags": lambda c, _: c.update_endpoint_tags("chat", {"add_tags": [{"key": "k"}]}),
    "update_endpoint_rate_limits": lambda c, _: c.update_endpoint_rate_limits("chat", LIMITS),
    "update_endpoint_ai_gateway": lambda c, _: c.update_endpoint_ai_gateway("chat", LIMITS),
    "update_endpoint_notifications": lambda c, _: c.update_endpoint_notifications(
        "chat", {"email_notifications": {"on_update_failure": ["a@example.com"]}}
    ),
    "update_endpoint_telemetry": lambda c, _: c.update_endpoint_telemetry(
        "chat", {"telemetry_config": {"table_names": {"logs_table": "main.logs.ranker"}}}
    ),
    "delete_endpoint": lambda c, _: c.delete_endpoint("chat"),
    "list_endpoints": lambda c, _: c.list_endpoints(),
    "get_endpoint": lambda c, _: c.get_endpoint("chat"),
    "predict": lambda c, _: c.predict(endpoint="chat", inputs=HELLO),
    "predict_stream": lambda c, _: list(c.predict_stream(endpoint="chat", inputs=HELLO)),
    "create_provisioned_throughput_endpoint": lambda c, _: c.create_provisioned_throughput_endpoint(PT),
    "update_provisioned_throughput_endpoint_config": lambda c, _: (
        c.update_provisioned_throughput_endpoint_config("pt", {"config": PT["config"]})
    ),
    "get_endpoint_permissions": lambda c, i: c.get_endpoint_permissions(i),
    "set_endpoint_permissions": lambda c, i: c.set_endpoint_permissions(i, ACL),
    "update_endpoint_permissions": lambda c, i: c.update_endpoint_permissions(i, ACL),
    "get_endpoint_permission_levels": lambda c, i: c.get_endpoint_permission_levels(i),
    "get_endpoint_build_logs": lambda c, _: c.get_endpoint_build_logs("chat", "gpt"),
    "get_endpoint_logs": lambda c, _: c.get_endpoint_logs("chat", "gpt"),
    "get_endpoint_metrics": lambda c, _: c.get_endpoint_metrics("chat"),
    "get_endpoint_openapi": lambda c, _: c.get_endpoint_openapi("chat"),
}
# They ask no server.
SILENT = {"close", "explain"} | {
    name for name in dir(DatabricksDeploymentClient) if name.endswith(("_deployment", "_deployments"))
}


def _request(request: Any) -> Any:
    request.uri = re.sub(r"http://[^/]+", HOST, request.uri)
    for name in list(request.headers):
        if name.lower() not in _KEPT:
            del request.headers[name]
    return request


def _response(response: Any) -> Any:
    headers = {name: value for name, value in response["headers"].items() if name.lower() == "content-type"}
    body = re.sub(rb"http://127\.0\.0\.1:\d+", HOST.encode(), response["body"]["string"])
    return {**response, "headers": headers, "body": {"string": body}}


def _same_headers(one: Any, other: Any) -> None:
    assert dict(one.headers) == dict(other.headers)


@contextmanager
def tape(name: str, record: bool = False) -> Iterator[Any]:
    """One cassette; without ``record`` a request that is not on it is an error."""
    path = FOLDER / f"{name}.yaml"
    if record:
        path.unlink(missing_ok=True)
    recorder = vcr.VCR(before_record_request=_request, before_record_response=_response)
    recorder.register_matcher("same_headers", _same_headers)
    matched = ["method", "uri", "raw_body", "same_headers"]
    with recorder.use_cassette(
        str(path), record_mode="once" if record else "none", match_on=matched
    ) as cassette:
        yield cassette


@pytest.fixture(scope="module")
def workspace() -> Iterator[str]:
    """The emulator's address while recording; else a name that no server has."""
    if not RECORD:
        yield HOST
        return
    from reconciler.emulator.testing import running

    with running() as server:
        yield server.url


def _prepare(client: DatabricksDeploymentClient, method: str) -> str:
    for name in ("made", "chat", "pt"):
        client.delete_endpoint(name)
    config = CUSTOM if "telemetry" in method else CONFIG
    made = client.create_endpoint(config={"name": "chat", "config": config})
    if method.startswith("update_provisioned"):
        client.create_provisioned_throughput_endpoint(PT)
        client.get_endpoint("pt")
    client.get_endpoint("chat")
    return str(made.id)


@pytest.mark.filterwarnings("ignore:update_endpoint is deprecated")
@pytest.mark.parametrize("method", METHODS)
def test_replayed_without_a_server(method: str, workspace: str) -> None:
    with DatabricksDeploymentClient(host=workspace, credentials=Token(CANARY)) as client:
        if RECORD:
            endpoint_id = _prepare(client, method)
            with tape(method, record=True):
                METHODS[method](client, endpoint_id)
            return
        found = re.findall(r"permissions/serving-endpoints/(\w+)", (FOLDER / f"{method}.yaml").read_text())
        with tape(method) as cassette:
            result = METHODS[method](client, found[0] if found else "")
    assert cassette.all_played
    assert cassette.play_count == 1
    assert result or method == "delete_endpoint"


def test_every_method_has_its_cassette() -> None:
    public = {
        name
        for name, _ in inspect.getmembers(DatabricksDeploymentClient, inspect.isfunction)
        if not name.startswith("_")
    }
    assert public - SILENT == set(METHODS)
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(METHODS)


def test_no_cassette_holds_a_credential_or_a_machine() -> None:
    for path in FOLDER.glob("*.yaml"):
        text = path.read_text(encoding="utf-8").lower()
        for word in (CANARY.lower(), "authorization", "bearer", "127.0.0.1", "localhost"):
            assert word not in text, path.name


def test_another_request_is_not_answered() -> None:
    with (
        DatabricksDeploymentClient(host=HOST, credentials=Token("t")) as client,
        tape("get_endpoint"),
        pytest.raises(Exception, match="record_mode"),
    ):
        client.get_endpoint("another")
