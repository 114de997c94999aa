"""Models as assertions, the opt-in check of external models, and queries, against servers on loopback."""

from __future__ import annotations

import importlib
import json
import threading
from pathlib import Path

import jsonschema
import pytest
from pytest_httpserver import HTTPServer

from reconciler import schema
from reconciler.cli.main import main
from tests.unit.client.test_plugins import GOOD, install

_MODEL = """\
apiVersion: reconciler/v1
kind: Model
metadata: {{name: {name}}}
"""
_CHAT = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: chat}
spec:
  config:
    served_entities:
      - name: main
        external_model:
          provider: openai
          name: MODEL
          task: llm/v1/chat
          openai_config: {openai_api_key: "{{secrets/a/b}}"}
      - name: other
        external_model:
          provider: openai
          name: only-on-azure
          task: llm/v1/chat
          openai_config:
            openai_api_type: azure
            openai_api_base: https://example.azure.test
            openai_api_key: "{{secrets/a/b}}"
    traffic_config:
      routes: [{served_entity_name: main, traffic_percentage: 100}]
"""
_CANARY = "sk-canary-4711"


@pytest.fixture(autouse=True)
def openai(httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", _CANARY)
    monkeypatch.setenv("OPENAI_API_BASE", httpserver.url_for("/v1"))
    monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET", raising=False)
    models = {
        "object": "list",
        "data": [{"id": "gpt-4o", "owned_by": "openai"}, {"id": "o3", "owned_by": "me"}],
    }
    httpserver.expect_request("/v1/models", method="GET").respond_with_json(models)
    return httpserver


def _asked(server: HTTPServer) -> list[str]:
    return [f"{request.method} {request.path}" for request, _ in server.log]


def test_a_model_that_is_there_holds_with_one_list(
    openai: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("m.yaml").write_text(
        _MODEL.format(name="gpt-4o") + "spec: {owned_by: openai}\n---\n" + _MODEL.format(name="o3")
    )

    assert main(["plan", "m.yaml", "--target", "openai"]) == 0
    assert main(["apply", "m.yaml", "--target", "openai"]) == 0, "nothing to approve: nothing is ever written"

    assert _asked(openai) == ["GET /v1/models"] * 2
    streams = capsys.readouterr()
    assert "No changes" in streams.out
    assert _CANARY not in streams.out + streams.err


def test_a_model_that_is_missing_fails_the_plan_at_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.yaml").write_text(_MODEL.format(name="gpt-4o") + "---\n" + _MODEL.format(name="gpt-9"))

    assert main(["plan", "m.yaml", "--target", "openai"]) == 1

    out, told = capsys.readouterr()
    assert "m.yaml:5" in told
    assert "Model/gpt-9 does not exist on this target, or is not available to this key" in told
    assert "gpt-4o" not in told
    assert "✗ Model/gpt-9 is not as asserted" in out
    assert "No changes. 1 model is as declared. 1 model is not as asserted." in out
    assert main(["plan", "m.yaml", "--target", "openai", "-o", "json"]) == 1
    plan = json.loads(capsys.readouterr().out)
    assert [step.get("failure", "")[:14] for step in plan["steps"]] == ["", "does not exist"]
    jsonschema.validate(plan, schema.read("plan"))


def test_nothing_of_an_assertion_is_destroyed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.yaml").write_text(_MODEL.format(name="gpt-4o") + "---\n" + _MODEL.format(name="gpt-9"))
    assert main(["destroy", "m.yaml", "--target", "openai", "--auto-approve"]) == 0
    assert "2 models are only asserted: nothing to delete." in capsys.readouterr().out


def test_a_model_of_somebody_else_fails_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.yaml").write_text(_MODEL.format(name="o3") + "spec: {owned_by: openai}\n")
    assert main(["plan", "m.yaml", "--target", "openai"]) == 1
    assert "owned_by is 'me', not 'openai'" in capsys.readouterr().err


def test_external_models_are_checked_on_request_with_one_list(
    openai: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("e.yaml").write_text(_CHAT.replace("MODEL", "gpt-4o"))
    plan = ["plan", "e.yaml", "--target", "local:w.db"]
    assert main(plan) == 0
    assert _asked(openai) == [], "opt-in"
    assert main([*plan, "--check-models"]) == 0
    assert _asked(openai) == ["GET /v1/models"]

    Path("e.yaml").write_text(_CHAT.replace("MODEL", "gpt-4oo"))
    capsys.readouterr()
    assert main([*plan, "--check-models"]) == 1
    told = capsys.readouterr().err
    assert "e.yaml:10:11" in told
    assert "OpenAI has no model 'gpt-4oo' for this key" in told
    assert "did you mean gpt-4o?" in told
    assert "only-on-azure" not in told
    assert main(["apply", "e.yaml", "--target", "local:w.db", "--check-models", "--auto-approve"]) == 1


def test_get_shows_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "--target", "openai"]) == 0
    out = capsys.readouterr().out
    assert "Model/gpt-4o" in out
    assert "Model/o3" in out


def test_query_shows_the_answer_latency_and_tokens(
    openai: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {
        "choices": [{"message": {"role": "assistant", "content": "Hello\x1b[31m!"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    }
    openai.expect_request("/v1/chat/completions", method="POST").respond_with_json(said)

    assert main(["query", "gpt-4o", "--message", "Hi", "--target", "openai"]) == 0

    streams = capsys.readouterr()
    assert streams.out.startswith("Hello")
    assert "\x1b" not in streams.out, "an answer does not drive the terminal"
    assert "tokens: 3 in, 5 out, 8 in all" in streams.err
    assert "latency: " in streams.err
    body = json.loads(openai.log[-1][0].get_data())
    assert body["messages"] == [{"role": "user", "content": "Hi"}]
    assert main(["query", "Model/gpt-4o", "--message", "Hi", "--target", "openai", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["usage"]["total_tokens"] == 8


def test_query_streams_on_the_embedded_workspace(capsys: pytest.CaptureFixture[str]) -> None:
    local = ["--target", "local:w.db?provisioning=0s"]
    Path("e.yaml").write_text(_CHAT.replace("MODEL", "gpt-4o"))
    assert main(["apply", "e.yaml", "--auto-approve", *local]) == 0
    capsys.readouterr()

    assert main(["query", "Endpoint/chat", "--message", "Hi", *local]) == 0
    whole = capsys.readouterr().out
    assert main(["query", "chat", "--message", "Hi", "--stream", *local]) == 0

    streams = capsys.readouterr()
    assert whole.strip()
    assert streams.out.strip()
    assert "first chunk" in streams.err
    Path("q.json").write_text('{"messages": [{"role": "user", "content": "Hi"}]}')
    assert main(["query", "chat", "--json", "q.json", "-o", "json", *local]) == 0
    assert json.loads(capsys.readouterr().out)["choices"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to ask"),
        (["--message", "x", "--json", "q.json"], "say what to ask"),
        (["--json", "missing.json"], "cannot be read"),
        (["--message", "x", "--target", "local:w.db"], "nobody"),
    ],
)
def test_queries_that_cannot_be_sent(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "nobody", "--target", "local:w.db", *words]) == 1
    assert said in capsys.readouterr().err


# -- get and query on a gateway, a plugin's target -----------------------------------------------------------

_SERVED = {
    "name": "chat",
    "endpoint_type": "llm/v1/chat",
    "model": {"name": "gpt-4o", "provider": "openai"},
    "endpoint_url": "/gateway/chat/invocations",
    "limit": {"calls": 5, "key": None, "renewal_period": "minute"},
}
_SAID = {
    "choices": [{"message": {"role": "assistant", "content": "Hello"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
}
_PARTS = "".join(
    f"data: {json.dumps(part)}\n\n"
    for part in (
        {"choices": [{"delta": {"role": "assistant", "content": "Hel"}}]},
        {"choices": [{"delta": {"content": "lo"}}], "usage": _SAID["usage"]},
    )
)


@pytest.fixture
def gateway(httpserver: HTTPServer) -> list[str]:
    """An MLflow AI Gateway; gives the options that name it."""
    page = {"endpoints": [_SERVED], "next_page_token": None}
    httpserver.expect_request("/api/2.0/endpoints/").respond_with_json(page)
    httpserver.expect_request("/api/2.0/endpoints/chat").respond_with_json(_SERVED)
    httpserver.expect_request("/api/2.0/endpoints/none").respond_with_json({"detail": "no"}, status=404)
    stream = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
    asked = "/endpoints/chat/invocations"
    httpserver.expect_request(asked, method="POST", json=stream).respond_with_data(
        _PARTS, content_type="text/event-stream"
    )
    httpserver.expect_request(asked, method="POST").respond_with_json(_SAID)
    return ["--target", httpserver.url_for("").rstrip("/")]


def test_get_and_query_on_a_gateway(gateway: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", *gateway]) == 0
    assert "Endpoint/chat  -      llm/v1/chat" in capsys.readouterr().out
    assert main(["get", "chat", "-o", "json", *gateway]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["endpoint_url"] == f"{gateway[1]}/gateway/chat/invocations"
    assert shown["limit"]["calls"] == 5
    assert main(["get", "none", *gateway]) == 1
    assert "reconciler get lists what there is" in capsys.readouterr().err

    assert main(["query", "Endpoint/chat", "-m", "Hi", *gateway]) == 0
    streams = capsys.readouterr()
    assert (streams.out, "tokens: 3 in, 5 out, 8 in all" in streams.err) == ("Hello\n", True)
    assert main(["query", "chat", "-m", "Hi", "--stream", *gateway]) == 0
    streams = capsys.readouterr()
    assert streams.out == "Hello\n"
    assert "first chunk" in streams.err
    assert "8 in all" in streams.err


def test_a_gateway_takes_no_manifests(gateway: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("e.yaml").write_text(_CHAT)
    assert main(["plan", "e.yaml", *gateway]) == 1
    assert "it is read-only here" in capsys.readouterr().err


_ENDPOINTS = """
    def list_endpoints(self): return [{"name": "e", "task": "t"}]
    def get_endpoint(self, endpoint): return {"name": endpoint, "task": "t"}
    def get_deployment(self, name, endpoint=None): return {"name": name, "config": {"replicas": 2}}
    def list_deployments(self, endpoint=None): return [self.get_deployment("d")]
    def predict(self, deployment_name=None, inputs=None, endpoint=None):
        return {"predictions": [deployment_name, endpoint, inputs["x"]]}
    def predict_stream(self, deployment_name=None, inputs=None, endpoint=None):
        yield {"n": 1}
        yield {"n": 2}
def run_local"""


def test_get_and_query_on_a_plugins_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "asked", GOOD.replace("\ndef run_local", _ENDPOINTS))
    on = ["--target", "asked:/x"]
    Path("q.json").write_text('{"x": 7}')

    assert main(["get", *on]) == 0
    told = capsys.readouterr().out
    assert "Deployment/d  -      -     -" in told
    assert "Endpoint/e    -      t     -" in told
    assert main(["get", "-o", "json", *on]) == 0
    assert [each["address"] for each in json.loads(capsys.readouterr().out)] == ["Deployment/d", "Endpoint/e"]
    assert main(["get", "d", "-o", "json", *on]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "d", "config": {"replicas": 2}}
    assert main(["get", "Endpoint/e", "-o", "json", *on]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "t"
    for address, expected in (
        ("Deployment/d", ["d", None, 7]),
        ("d", ["d", None, 7]),
        ("Endpoint/e", [None, "e", 7]),
    ):
        assert main(["query", address, "--json", "q.json", *on]) == 0
        assert json.loads(capsys.readouterr().out)["predictions"] == expected
    assert main(["query", "Deployment/d", "--json", "q.json", "--stream", "-o", "json", *on]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"n": 1}, {"n": 2}]


def test_a_plugin_whose_client_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = "    def __init__(self, uri): print('looking'); raise ValueError('none in ' + uri)\ndef run_local"
    install(tmp_path, "unmade", GOOD.replace("def run_local", made))
    assert main(["get", "--target", "unmade:/x"]) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "the plugin gave no client for unmade:/x: ValueError: none in unmade:/x" in streams.err
    assert "Traceback" not in streams.err


# -- environments of a plugin's target -----------------------------------------------------------------------

_KEPT = """
from reconciler.client import BaseDeploymentClient
kept = {}
def entered(): pass
class Keeping(BaseDeploymentClient):
    keeps_tags = True
    def entered(self): entered()
    def _of(self, kind): return kept.setdefault((self.target_uri, kind), {})
    def create_deployment(self, name, model_uri, flavor=None, config=None, endpoint=None):
        self.entered()
        self._of("d")[name] = {"name": name, "model_uri": model_uri, "config": config}
        return {"name": name}
    def update_deployment(self, name, model_uri=None, flavor=None, config=None, endpoint=None):
        self._of("d")[name] |= {"model_uri": model_uri, "config": config}
    def delete_deployment(self, name, config=None, endpoint=None): self._of("d").pop(name, None)
    def list_deployments(self, endpoint=None): return list(self._of("d").values())
    def get_deployment(self, name, endpoint=None): return self._of("d")[name]
    def predict(self, deployment_name=None, inputs=None, endpoint=None): return {}
    def create_endpoint(self, name, config=None): self._of("e")[name] = {"name": name, "config": config}
    def update_endpoint(self, endpoint, config=None): self._of("e")[endpoint]["config"] = config
    def delete_endpoint(self, endpoint): self._of("e").pop(endpoint, None)
    def list_endpoints(self): return list(self._of("e").values())
    def get_endpoint(self, endpoint): return self._of("e")[endpoint]
run_local = target_help = print
"""
_ENVIRONMENTS = """\
apiVersion: reconciler/v1
kind: Project
stack: serving
variables: {n: 2}
environments:
  dev: {target: "keeping:/dev", stack: dev}
  prod: {target: "keeping:/prod", stack: prod, variables: {n: 4}}
"""
_BOTH = """\
apiVersion: reconciler/v1
kind: Deployment
metadata: {name: fraud}
spec: {model_uri: "models:/fraud/1", config: {count: "${var.n}", tags: {team: a}}}
---
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: scoring, allow_unknown_fields: true}
spec: {size: "${var.n}"}
"""


def test_environments_of_a_plugins_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "keeping", _KEPT)
    Path("reconciler.yaml").write_text(_ENVIRONMENTS)
    Path("manifests").mkdir()
    Path("manifests/m.yaml").write_text(_BOTH)

    assert main(["apply", "-e", "dev", "-e", "prod", "--auto-approve"]) == 0
    assert main(["plan", "--all-environments", "--detailed-exitcode"]) == 0
    capsys.readouterr()
    assert main(["diff", "dev", "prod", "--live", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["resources"]
    told = {(one["address"], d["path"]) for one in found for d in one["differences"]}
    assert told == {("Deployment/fraud", "config.count"), ("Endpoint/scoring", "size")}


@pytest.mark.parametrize("at_a_time", [1, 3])
def test_a_plugin_is_called_by_one_thread_at_a_time_unless_more_are_asked_for(
    at_a_time: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    target = f"keeping{at_a_time}"
    install(tmp_path, target, _KEPT)
    plugin = importlib.import_module(f"toy_{target}")
    together, most, lock = threading.Barrier(at_a_time), [0, 0], threading.Lock()

    def entered() -> None:
        with lock:
            most[0] += 1
            most[1] = max(most)
        together.wait(timeout=20)
        threading.Event().wait(0.02)
        with lock:
            most[0] -= 1

    monkeypatch.setattr(plugin, "entered", entered)
    Path("m.yaml").write_text("---\n".join(_BOTH.partition("---")[0].replace("fraud", n) for n in "abc"))
    Path("m.yaml").write_text(Path("m.yaml").read_text().replace('"${var.n}"', "1"))
    words = ["--parallelism", "3"] if at_a_time == 3 else []
    assert main(["apply", "m.yaml", "--target", f"{target}:/x", "--auto-approve", *words]) == 0
    assert most[1] == at_a_time


# -- targets ---------------------------------------------------------------------------------------------


def _targets(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, object]]:
    assert main(["targets", "-o", "json", *words]) == 0
    return {t["name"]: t for t in json.loads(capsys.readouterr().out)}


def test_targets_says_why_something_is_not_available(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOST", "TOKEN", "CONFIG_PROFILE", "CONFIG_FILE"):
        monkeypatch.delenv(f"DATABRICKS_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "good", "print('hello')" + GOOD)
    install(tmp_path, "half", GOOD.replace("def target_help", "def other"))
    install(tmp_path, "gone", "import no_such_thing")

    found = _targets(capsys)

    assert {"local", "databricks", "http", "https", "openai", "good", "half", "gone"} <= set(found)
    ready = {name for name in found if found[name]["available"]} - {"sagemaker"}
    ours = {"local", "mlflow-gateway+http", "mlflow-gateway+https"}
    assert ready == {*ours, "http", "https", "openai", "good"}
    assert "missing: target_help()" in str(found["half"]["why"])
    assert "No module named 'no_such_thing'" in str(found["gone"]["why"])
    assert "the environment: no DATABRICKS_HOST" in str(found["databricks"]["why"])
    quick = _targets(capsys, "--no-check")
    assert quick["half"]["available"] is True, "nothing was loaded"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert main(["targets"]) == 0
    told = capsys.readouterr().out
    assert "not available: OPENAI_API_KEY is not set" in told
    assert "toy_half 1.2" in told
