"""The wire format of every method of every client, pinned: replayed from tests/cassettes with no server.

``RECORD_CASSETTES=1 pytest tests/unit/client/test_cassettes.py`` records them anew: Databricks against the
emulator, OpenAI against a stand-in on port 25055, the AI Gateway against a real one (``mlflow gateway start``
of mlflow 3.17) at RECORD_GATEWAY, which serves ``chat`` by the provider openai with
``openai_api_base: http://127.0.0.1:25055/v1``. What is kept names hosts of ``.test`` and holds no credential.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.client import DatabricksDeploymentClient, MlflowDeploymentClient, OpenAIDeploymentClient
from reconciler.client.auth import Token
from tests.unit.client.wire import CANARY, Close, Seen, Server, answer, refusal

vcr = pytest.importorskip("vcr")

FOLDER = Path(__file__).parents[2] / "cassettes"
RECORD = bool(os.environ.get("RECORD_CASSETTES"))
HOST = "http://workspace.test"
GATEWAY, OPENAI = "http://gateway.test", "http://openai.test"
OPENAI_PORT = 25055
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
# The AI Gateway and OpenAI: what asks a server. Everything else is not offered (test_parity.py).
ASKING: dict[str, Callable[[Any], Any]] = {
    "get_endpoint": lambda c: c.get_endpoint("chat"),
    "list_endpoints": lambda c: c.list_endpoints(),
    "prove_login": lambda c: c.prove_login(),
    "predict": lambda c: c.predict(endpoint="chat", inputs={**HELLO, "temperature": 0.5}),
    "predict_stream": lambda c: list(c.predict_stream(endpoint="chat", inputs=HELLO)),
}
CLASSES = {
    "databricks": DatabricksDeploymentClient,
    "mlflow": MlflowDeploymentClient,
    "openai": OpenAIDeploymentClient,
}
# They ask no server.
SILENT = {"close", "explain"} | {
    name for name in dir(DatabricksDeploymentClient) if name.endswith(("_deployment", "_deployments"))
}
_READ_ONLY = SILENT | {"login", "create_endpoint", "update_endpoint", "delete_endpoint"}


def _request(request: Any, host: str) -> Any:
    request.uri = re.sub(r"http://[^/]+", host, request.uri)
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
def tape(name: str, record: bool = False, host: str = HOST) -> Iterator[Any]:
    """One cassette; without ``record`` a request that is not on it is an error."""
    path = FOLDER / f"{name}.yaml"
    if record:
        path.unlink(missing_ok=True)
    recorder = vcr.VCR(
        before_record_request=lambda request: _request(request, host), before_record_response=_response
    )
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
            with tape(f"databricks/{method}", record=True):
                METHODS[method](client, endpoint_id)
            return
        found = re.findall(
            r"permissions/serving-endpoints/(\w+)", (FOLDER / "databricks" / f"{method}.yaml").read_text()
        )
        with tape(f"databricks/{method}") as cassette:
            result = METHODS[method](client, found[0] if found else "")
    assert cassette.all_played
    assert cassette.play_count == 1
    assert result or method == "delete_endpoint"


def _stand_in(seen: Seen) -> bytes:
    """Answers of OpenAI's API reference: models, chat completions, their stream."""
    model = {"id": "chat", "object": "model", "created": 1686935002, "owned_by": "openai"}
    if seen.path == "/v1/models":
        return answer(200, {"object": "list", "data": [model]})
    if seen.path == "/v1/models/chat":
        return answer(200, model)
    if seen.path != "/v1/chat/completions":
        return refusal(404)
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1686935002, "model": "gpt-4o"}
    if not seen.json.get("stream"):
        message = {"role": "assistant", "content": "Hello!"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
        return answer(200, {**head, "choices": [choice], "usage": usage})
    head["object"] = "chat.completion.chunk"
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": "Hel"}, None),
        ({"content": "lo!"}, None),
        ({}, "stop"),
    ]
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas
    ]
    lines = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    begin = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    return Close((begin + lines).encode())


@pytest.fixture(scope="module")
def read_only() -> Iterator[dict[str, str]]:
    """Addresses of the AI Gateway and OpenAI while recording; else names that no server has."""
    if not RECORD:
        yield {"mlflow": GATEWAY, "openai": OPENAI}
        return
    server = Server(respond=_stand_in, listen_on=OPENAI_PORT)
    yield {"mlflow": os.environ["RECORD_GATEWAY"], "openai": server.url}
    server.close()


@pytest.mark.parametrize("kind", ["mlflow", "openai"])
@pytest.mark.parametrize("method", ASKING)
def test_gateway_and_openai_replayed_without_a_server(
    kind: str, method: str, read_only: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", CANARY)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("OPENAI_API_BASE", f"{read_only['openai']}/v1")
    host = {"mlflow": GATEWAY, "openai": OPENAI}[kind]
    client = CLASSES[kind](read_only["mlflow"] if kind == "mlflow" else "openai")
    with client, tape(f"{kind}/{method}", record=RECORD, host=host) as cassette:
        result = ASKING[method](client)
    assert result
    if not RECORD:
        assert cassette.all_played
        assert cassette.play_count == 1
    if method == "predict":
        assert result["choices"][0]["message"]["content"] == "Hello!"
    elif method == "predict_stream":
        said = [part["choices"][0]["delta"].get("content") or "" for part in result]
        assert "".join(said) == "Hello!"


def test_every_method_has_its_cassette() -> None:
    for kind, client in CLASSES.items():
        public = {
            name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")
        }
        wanted = public - (SILENT if kind == "databricks" else _READ_ONLY)
        assert wanted == set(METHODS if kind == "databricks" else ASKING)
        assert {path.stem for path in (FOLDER / kind).glob("*.yaml")} == wanted


def test_no_cassette_holds_a_credential_or_a_machine() -> None:
    for path in FOLDER.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8").lower()
        for word in (CANARY.lower(), "authorization", "bearer", "127.0.0.1", "localhost"):
            assert word not in text, path.name


def test_another_request_is_not_answered() -> None:
    with (
        DatabricksDeploymentClient(host=HOST, credentials=Token("t")) as client,
        tape("databricks/get_endpoint"),
        pytest.raises(Exception, match="record_mode"),
    ):
        client.get_endpoint("another")
