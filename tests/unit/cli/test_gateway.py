"""``get``, ``query``, ``export`` and ``targets`` on the gateway of a tracking server, over loopback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from reconciler.cli.main import main

_API = "/api/3.0/mlflow/gateway"
_SECRET = {
    "secret_id": "s-1",
    "secret_name": "openai",
    "masked_values": {"api_key": "sk-...9f3a"},  # of a value of eight characters: seven of them
    "provider": "openai",
    "last_updated_by": "reconciler:shop seal:12345678.aaaaaaaaaaaaaaaaaaaaaa",
    "created_by": "reconciler:shop seal:12345678.aaaaaaaaaaaaaaaaaaaaaa",
}
_MODEL = {
    "model_definition_id": "d-1",
    "name": "gpt-4o",
    "secret_id": "s-1",
    "secret_name": "openai",
    "provider": "openai",
    "model_name": "gpt-4o",
    "created_by": "ann",
}
_BUDGET = {
    "budget_policy_id": "bp-1",
    "budget_unit": "USD",
    "budget_amount": 1500.0,
    "duration": {"unit": "DAYS", "value": 1},
    "target_scope": "ENDPOINT",
    "target_value": "e-1",
    "budget_action": "REJECT",
    "created_by": "",
}


_DECLARED = """\
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {name: gpt-4o}
spec: {secret: openai, provider: openai, model_name: gpt-4o}
"""


def _mapping(model: str, linkage: str, weight: float, **more: Any) -> dict[str, Any]:
    found = {**_MODEL, "name": model}
    return {
        "model_definition_id": f"d-{model}",
        "model_definition": found,
        "linkage_type": linkage,
        "weight": weight,
        **more,
    }


_ENDPOINT = {
    "endpoint_id": "e-1",
    "name": "chat",
    "model_mappings": [
        _mapping("gpt-4o", "PRIMARY", 3.0),
        _mapping("mini", "PRIMARY", 1.0),
        _mapping("claude", "FALLBACK", 1.0, fallback_order=1),
    ],
    "usage_tracking": True,
    "created_by": "ann\x1b[2J",
}
_GUARDRAIL = {
    "guardrail_id": "gr-1",
    "name": "no-pii",
    "stage": "BEFORE",
    "action": "VALIDATION",
    "scorer": {"scorer_name": "pii", "scorer_version": 2, "experiment_id": 1},
}


@pytest.fixture
def target(httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A gateway with one of each kind."""
    monkeypatch.chdir(tmp_path)
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for route, inner, item in (
        ("secrets/list", "secrets", _SECRET),
        ("model-definitions/list", "model_definitions", _MODEL),
        ("endpoints/list", "endpoints", _ENDPOINT),
        ("budgets/list", "budget_policies", _BUDGET),
        ("guardrails/list", "guardrails", _GUARDRAIL),
    ):
        httpserver.expect_request(f"{_API}/{route}", method="GET").respond_with_json({inner: [item]})
    httpserver.expect_request("/api/3.0/mlflow/scorers/list").respond_with_json({})
    httpserver.expect_request(f"{_API}/endpoints/get", query_string="name=chat").respond_with_json(
        {"endpoint": _ENDPOINT}
    )
    httpserver.expect_request(f"{_API}/guardrails/list-for-endpoint").respond_with_json(
        {"configs": [{"endpoint_id": "e-1", "guardrail_id": "gr-1", "guardrail": _GUARDRAIL}]}
    )
    return "mlflow-gateway+" + httpserver.url_for("/").rstrip("/")


def _asked(server: HTTPServer) -> list[str]:
    return [f"{request.method} {request.path.removeprefix(_API)}" for request, _ in server.log]


def test_get_lists_all_kinds_with_their_own_columns_and_whose_they_are(
    target: str, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", "--target", target]) == 0

    out = capsys.readouterr().out
    assert out == (
        "NAME                  PROVIDER  KEYS     OWNER\n"
        "GatewaySecret/openai  openai    api_key  stack shop\n"
        "\n"
        "NAME                 PROVIDER  MODEL   SECRET  OWNER\n"
        "GatewayModel/gpt-4o  openai    gpt-4o  openai  ann\n"
        "\n"
        "NAME                  MODELS                  FALLBACKS  OWNER\n"
        "GatewayEndpoint/chat  gpt-4o 75 %, mini 25 %  claude     ann\\x1b[2J\n"
        "\n"
        "NAME                              AMOUNT     WINDOW  TARGET         ACTION  OWNER\n"
        "GatewayBudget/chat-1-days-reject  1,500 USD  1 days  endpoint chat  REJECT  -\n"
        "\n"
        "NAME                     SCORER  STAGE   ACTION      OWNER\n"
        "GatewayGuardrail/no-pii  pii 2   BEFORE  VALIDATION  -\n"
    )
    assert len(_asked(httpserver)) == 5


def test_get_as_json_has_every_field_and_masks_the_mask(
    target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", "--target", target, "-o", "json"]) == 0
    out = capsys.readouterr().out
    found = {item["address"]: item for item in json.loads(out)}
    assert found["GatewaySecret/openai"]["masked_values"] == {"api_key": "***"}
    assert found["GatewayBudget/chat-1-days-reject"]["target_value"] == "e-1"
    assert "9f3a" not in out


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("chat", "fallback_order: 1"),
        ("GatewayEndpoint/chat", "name: no-pii"),
        ("GatewaySecret/openai", "api_key: '***'"),
        ("GatewayModel/gpt-4o", "secret_name: openai"),
        ("GatewayBudget/chat-1-days-reject", "budget_policy_id: bp-1"),
        ("GatewayBudget/bp-1", "target_name: chat"),
        ("GatewayGuardrail/no-pii", "scorer_version: 2"),
    ],
)
def test_get_shows_one_with_every_field(
    target: str, capsys: pytest.CaptureFixture[str], address: str, shown: str
) -> None:
    assert main(["get", address, "--target", target]) == 0
    out = capsys.readouterr().out
    assert shown in out
    assert "9f3a" not in out


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("GatewaySecret/none", "the gateway has no GatewaySecret/none"),
        ("Endpoint/chat", "an MLflow gateway has no kind Endpoint"),
    ],
)
def test_get_of_what_is_not_there(
    target: str, capsys: pytest.CaptureFixture[str], address: str, told: str
) -> None:
    assert main(["get", address, "--target", target]) == 1
    assert told in capsys.readouterr().err


def test_get_of_an_empty_gateway(httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]) -> None:
    for route in ("secrets", "model-definitions", "endpoints", "budgets", "guardrails"):
        httpserver.expect_request(f"{_API}/{route}/list").respond_with_json({})
    assert main(["get", "--target", "mlflow-gateway+" + httpserver.url_for("/")]) == 0
    assert capsys.readouterr().out == "nothing there\n"


@pytest.mark.parametrize("address", ["chat", "GatewayEndpoint/chat"])
def test_query_asks_the_endpoint(
    target: str, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    answer = {
        "choices": [{"message": {"role": "assistant", "content": "Good day"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    messages = {"messages": [{"role": "user", "content": "Hello"}]}
    httpserver.expect_request(
        "/gateway/chat/mlflow/invocations", method="POST", json=messages
    ).respond_with_json(answer)
    assert main(["query", address, "--message", "Hello", "--target", target]) == 0
    streams = capsys.readouterr()
    assert streams.out == "Good day\n"
    assert "3 in, 2 out" in streams.err


def test_query_streams(target: str, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [{"choices": [{"delta": {"content": word}}]} for word in ("Good ", "day")]
    body = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"
    httpserver.expect_request("/gateway/chat/mlflow/invocations", method="POST").respond_with_data(
        body, content_type="text/event-stream"
    )
    assert main(["query", "chat", "-m", "Hello", "--stream", "--target", target]) == 0
    assert capsys.readouterr().out == "Good day\n"


def test_only_an_endpoint_is_queried(
    target: str, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["query", "GatewaySecret/openai", "-m", "Hello", "--target", target]) == 1
    assert "ask a GatewayEndpoint" in capsys.readouterr().err
    assert _asked(httpserver) == []


def test_export_then_plan_is_empty(
    target: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The endpoint's other models are in no list of this gateway: that it names them is told."""
    assert main(["export", "--target", target, "--out", "out"]) == 0
    streams = capsys.readouterr()
    assert "left out: GatewayEndpoint/chat: it names GatewayModel/mini, which does not exist" in streams.err
    assert "OPENAI_API_KEY  (GatewaySecret/openai)" in streams.err
    assert "9f3a" not in streams.out + streams.err
    monkeypatch.setenv("OPENAI_API_KEY", "sk-9f3a9f3a")
    assert main(["plan", "out", "--target", target, "--detailed-exitcode"]) == 0


def test_drift_with_prune_sees_what_the_stack_owns_and_declares_no_more(
    target: str, httpserver: HTTPServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = {**_BUDGET, "created_by": "reconciler:shop", "last_updated_by": "reconciler:shop"}
    answered = {"budget_policies": [ours]}
    httpserver.expect_oneshot_request(f"{_API}/budgets/list").respond_with_json(answered)
    httpserver.expect_request(f"{_API}/endpoints/bindings/list").respond_with_json({})
    (tmp_path / "m.yaml").write_text(_DECLARED)
    words = ["m.yaml", "--target", target, "--stack", "shop"]
    assert main(["drift", *words, "--prune"]) == 2
    assert "GatewayBudget/chat-1-days-reject-bp-1 exists, and should not" in capsys.readouterr().out
    assert main(["drift", *words]) == 0


@pytest.mark.parametrize(
    "target", ["mlflow-gateway://h:5000", "mlflow-gateway", "mlflow-gateway+ftp://h:5000"]
)
@pytest.mark.parametrize("words", [("get",), ("auth", "check"), ("plan", "m.yaml")])
def test_a_scheme_that_is_nearly_right_is_no_plugin(
    target: str, words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "m.yaml"
    manifest.write_text(_DECLARED)
    words = tuple(str(manifest) if word == "m.yaml" else word for word in words)
    assert main([*words, "--target", target]) == 1
    assert "mlflow-gateway+http://h" in "".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("scheme", ["mlflow-gateway+http", "http", "mlflow-gateway", "toy"])
@pytest.mark.parametrize("login", ["ann:pass-word-1", "to-ken-pass-word-1"])
@pytest.mark.parametrize(
    "words", [("get",), ("auth", "check"), ("auth", "check", "-o", "json"), ("plan", "m.yaml")]
)
def test_a_login_in_a_target_is_not_shown(
    scheme: str,
    login: str,
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_text(_DECLARED.replace("model_name", "modelname"))
    assert main([*words, "--target", f"{scheme}://{login}@h:5000/x"]) == 1
    streams = capsys.readouterr()
    assert "pass-word-1" not in streams.out + streams.err
    assert "bug" not in streams.err


def test_the_target_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--no-check"]) == 0
    assert "mlflow-gateway+http " in capsys.readouterr().out


@pytest.mark.parametrize("command", [("get",), ("get", "-o", "json"), ("export", "--out", "out")])
@pytest.mark.parametrize(
    ("route", "inner", "item"),
    [
        ("secrets/list", "secrets", {**_SECRET, "masked_values": ["a", 1]}),
        ("secrets/list", "secrets", {**_SECRET, "masked_values": "text"}),
        ("secrets/list", "secrets", {**_SECRET, "auth_config": 7}),
        ("model-definitions/list", "model_definitions", {**_MODEL, "model_name": {"a": 1}}),
        ("endpoints/list", "endpoints", {**_ENDPOINT, "model_mappings": "text"}),
        ("endpoints/list", "endpoints", {**_ENDPOINT, "model_mappings": ["text", None]}),
        ("endpoints/list", "endpoints", {**_ENDPOINT, "endpoint_id": ["a"]}),
        ("endpoints/list", "endpoints", {**_ENDPOINT, "tags": [3]}),
        ("endpoints/list", "endpoints", {**_ENDPOINT, "tags": {"a": "b"}}),
        ("endpoints/list", "endpoints", {**_ENDPOINT, "fallback_config": ["a"]}),
        ("budgets/list", "budget_policies", {**_BUDGET, "duration": [1]}),
        ("budgets/list", "budget_policies", {**_BUDGET, "duration": "a day"}),
        ("budgets/list", "budget_policies", {**_BUDGET, "target_value": {"a": 1}}),
        ("budgets/list", "budget_policies", {**_BUDGET, "budget_amount": "much", "created_at": "then"}),
        ("guardrails/list", "guardrails", {**_GUARDRAIL, "scorer": "text"}),
        ("guardrails/list-for-endpoint", "configs", {"guardrail": None}),
        ("guardrails/list-for-endpoint", "configs", {"guardrail": {"name": ["a"]}}),
    ],
)
def test_answers_that_are_no_gateways_give_an_error_and_no_traceback(
    target: str,
    httpserver: HTTPServer,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    route: str,
    inner: str,
    item: Any,
) -> None:
    httpserver.expect_oneshot_request(f"{_API}/{route}").respond_with_json({inner: [item]})
    code = main([*command, "--target", target])
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "bug" not in told
    assert code == 0 or "is no Gateway" in told or "left out" in told or "HTTP" in told
