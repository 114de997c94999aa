"""What is called on mlflow's clients and on ours. Tables of docs/coming-from-mlflow.md are made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.unit.client.wire import Close, Seen, answer

CONFIG = {"served_entities": [{"name": "a", "entity_name": "main.m.a", "entity_version": "1"}]}
LIMITS = {"rate_limits": [{"key": "user", "calls": 10, "renewal_period": "minute"}]}
TAGS = {"add_tags": [{"key": "team", "value": "x"}], "delete_tags": ["old"]}
GATEWAY = {"usage_tracking_config": {"enabled": True}}
HELLO = {"messages": [{"role": "user", "content": "Grüße"}]}
CHAT = {
    "id": "c1",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}],
}
ENDPOINT = {"name": "chat", "id": "1", "state": {"ready": "READY"}, "tags": [{"key": "team"}]}
GATEWAY_ENDPOINT = {
    "name": "chat",
    "endpoint_type": "llm/v1/chat",
    "model": {"name": "gpt-4o", "provider": "openai", "newer": 1},
    "endpoint_url": "/gateway/chat/invocations",
    "limit": {"calls": 5, "key": None, "renewal_period": "minute"},
    "newer": True,
}
ELSEWHERE = {**GATEWAY_ENDPOINT, "name": "far", "endpoint_url": "https://far.example/x", "limit": None}
MODELS = {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}
STREAM = b'data: {"n": 1}\n\ndata: {"n": "\xc3\xa9"}\n\ndata: [DONE]\n\n'

Call = Callable[[Any], Any]


@dataclass(frozen=True)
class Case:
    """One call; ``body``: the server's answer (JSON, or bytes of a stream), or a function of the request."""

    client: str
    method: str
    label: str
    call: Call
    body: Any

    def __str__(self) -> str:
        return f"{self.client}.{self.method}: {self.label}"


def _pages(seen: Seen) -> dict[str, Any]:
    if "page_token=t1" in seen.path:
        return {"endpoints": [ELSEWHERE], "next_page_token": None}
    return {"endpoints": [GATEWAY_ENDPOINT], "next_page_token": "t1"}


D, M, O = "DatabricksDeploymentClient", "MlflowDeploymentClient", "OpenAIDeploymentClient"  # noqa: E741
PAYLOAD = {"name": "chat", "config": CONFIG}
CASES = [
    Case(D, "create_endpoint", "whole payload", lambda c: c.create_endpoint(config=PAYLOAD), ENDPOINT),
    Case(
        D,
        "create_endpoint",
        "older form, tags and rate limits lifted",
        lambda c: c.create_endpoint(name="chat", config={**CONFIG, "tags": [{"key": "k"}], **LIMITS}),
        ENDPOINT,
    ),
    Case(
        D,
        "create_endpoint",
        "older form, route optimized",
        lambda c: c.create_endpoint("chat", CONFIG, True),
        ENDPOINT,
    ),
    Case(
        D,
        "create_endpoint",
        "the same name twice",
        lambda c: c.create_endpoint(name="chat", config=PAYLOAD),
        ENDPOINT,
    ),
    Case(
        D,
        "create_endpoint",
        "name beside a payload without one",
        lambda c: c.create_endpoint(name="chat", config={"config": CONFIG}),
        ENDPOINT,
    ),
    Case(
        D,
        "create_endpoint",
        "route_optimized beside the payload",
        lambda c: c.create_endpoint(config=PAYLOAD, route_optimized=True),
        ENDPOINT,
    ),
    Case(D, "update_endpoint", "configuration", lambda c: c.update_endpoint("chat", CONFIG), ENDPOINT),
    Case(D, "update_endpoint", "rate limits", lambda c: c.update_endpoint("chat", config=LIMITS), LIMITS),
    Case(
        D,
        "update_endpoint_config",
        "configuration",
        lambda c: c.update_endpoint_config(endpoint="chat", config=CONFIG),
        ENDPOINT,
    ),
    Case(
        D,
        "update_endpoint_tags",
        "add and delete",
        lambda c: c.update_endpoint_tags(endpoint="chat", config=TAGS),
        {"tags": [{"key": "team"}]},
    ),
    Case(
        D,
        "update_endpoint_rate_limits",
        "rate limits",
        lambda c: c.update_endpoint_rate_limits(endpoint="chat", config=LIMITS),
        LIMITS,
    ),
    Case(
        D,
        "update_endpoint_ai_gateway",
        "AI gateway",
        lambda c: c.update_endpoint_ai_gateway(endpoint="chat", config=GATEWAY),
        GATEWAY,
    ),
    Case(D, "delete_endpoint", "one that exists", lambda c: c.delete_endpoint("chat"), {}),
    Case(D, "list_endpoints", "two", lambda c: c.list_endpoints(), {"endpoints": [ENDPOINT, {"name": "b"}]}),
    Case(D, "get_endpoint", "by name", lambda c: c.get_endpoint(endpoint="chat"), ENDPOINT),
    Case(D, "predict", "chat", lambda c: c.predict(endpoint="chat", inputs=HELLO), CHAT),
    Case(
        D, "predict_stream", "chat", lambda c: list(c.predict_stream(endpoint="chat", inputs=HELLO)), STREAM
    ),
    Case(M, "get_endpoint", "URL made absolute", lambda c: c.get_endpoint("chat"), GATEWAY_ENDPOINT),
    Case(M, "get_endpoint", "URL absolute already", lambda c: c.get_endpoint(endpoint="far"), ELSEWHERE),
    Case(M, "list_endpoints", "two pages", lambda c: c.list_endpoints(), _pages),
    Case(M, "list_endpoints", "none", lambda c: c.list_endpoints(), {"endpoints": []}),
    Case(M, "predict", "chat", lambda c: c.predict(endpoint="chat", inputs=HELLO), CHAT),
    Case(O, "list_endpoints", "models", lambda c: c.list_endpoints(), MODELS),
    Case(O, "get_endpoint", "one model", lambda c: c.get_endpoint("gpt-4o"), MODELS["data"][0]),
    Case(O, "predict", "chat", lambda c: c.predict(endpoint="gpt-4o", inputs=HELLO), CHAT),
]

_DEPLOYMENTS: dict[str, Call] = {
    "create_deployment": lambda c: c.create_deployment("n", "models:/m/1"),
    "update_deployment": lambda c: c.update_deployment("n"),
    "delete_deployment": lambda c: c.delete_deployment("n"),
    "list_deployments": lambda c: c.list_deployments(),
    "get_deployment": lambda c: c.get_deployment("n"),
}
_WRITES: dict[str, Call] = {
    "create_endpoint": lambda c: c.create_endpoint("n"),
    "update_endpoint": lambda c: c.update_endpoint("n"),
    "delete_endpoint": lambda c: c.delete_endpoint("n"),
}
# Both raise NotImplementedError and send nothing.
NOT_OFFERED = [
    *((D, method, call) for method, call in _DEPLOYMENTS.items()),
    *((M, method, call) for method, call in (_DEPLOYMENTS | _WRITES).items()),
    *((O, method, call) for method, call in (_DEPLOYMENTS | _WRITES).items()),
]
# Compared in tests of their own.
FUNCTIONS = {
    "get_deploy_client": "the class for every kind of URI; None with a hint without one; errors",
    "get_deployments_target": "set, from the environment, missing",
    "set_deployments_target": "what is taken and what is refused",
    "run_local": "a plugin's function gets the same arguments; an unknown target",
    "PredictionsResponse.get_predictions": "frames and arrays from seven shapes; an unknown format",
    "PredictionsResponse.to_json": "as text and to a file",
    "PredictionsResponse.from_json": "good and bad texts",
}
# Not compared call by call, with the reason.
EXCUSED = {
    f"{D}.explain": "no server is asked: mlflow raises MlflowException, ours NotImplementedError",
    f"{M}.explain": "no server is asked: mlflow raises MlflowException, ours NotImplementedError",
    f"{O}.explain": "no server is asked: mlflow raises MlflowException, ours NotImplementedError",
    f"{M}.predict_stream": "mlflow's client has none (NotImplementedError); ours streams",
    f"{O}.predict_stream": "mlflow's client has none (NotImplementedError); ours streams",
}
# Every difference in what is sent or given back that is meant: what, mlflow, here, why.
DIFFERENCES = [
    (
        "a Databricks workspace that goes on answering 429",
        "the built-in `TimeoutError`, from databricks-sdk",
        "`RateLimited`, an `HTTPError` with `.response`",
        "so it is for every other status, and on every other target",
    ),
    (
        "the login to Databricks",
        "looked for by each call",
        "looked for when the client is made, which raises `AuthError` without one, and kept",
        "what is missing shows at once",
    ),
    (
        "`databricks://SCOPE:PREFIX`, a secret scope",
        "read by the Databricks runtime",
        "`UsageError`",
        "a profile or the environment says who we are",
    ),
    (
        "`create_endpoint`: `route_optimized` in the payload and no argument",
        "a `UserWarning` for `false`, `MlflowException` for `true`",
        "sent as it is",
        "nothing contradicts it",
    ),
    (
        "`create_endpoint`: a payload without `config`",
        "taken for the older form: `name` is lost",
        "sent as it is, when no `name` stands beside it",
        "the API takes it",
    ),
    (
        "`create_endpoint` with no name anywhere",
        "the older form sends `name: null`",
        "`UsageError`",
        "the API would refuse it",
    ),
    (
        "requests for one call to Databricks",
        "asks `/.well-known/databricks-config` first",
        "one",
        "nothing in the answer is needed",
    ),
    (
        "paths of list and create on Databricks",
        "`/api/2.0/serving-endpoints/`",
        "without the last slash",
        "as the REST reference writes them",
    ),
    (
        "deleting an endpoint that is not there",
        "`HTTPError` 404",
        "`{}`",
        "the documented base class promises that deletion is idempotent",
    ),
    (
        "an empty list of Databricks endpoints (`{}`)",
        "`AttributeError`",
        "`[]`",
        "a new workspace answers so",
    ),
    (
        "an answer without a body",
        "`JSONDecodeError`",
        "`{}`",
        "some calls answer so",
    ),
    (
        "comments (`: ping`) in a stream of Databricks",
        "`MlflowException`",
        "passed over",
        "they keep the connection alive",
    ),
    (
        "writes that were answered 500, 502 or 503, or not at all",
        "sent again",
        "an error; sent again only when the server cannot have acted",
        "a second create may find the first",
    ),
    (
        "names in paths",
        "as they are",
        "percent-encoded; `..` and empty ones are refused",
        "`a/b` would be another route",
    ),
    (
        "errors that are no `HTTPError`",
        "`MlflowException`",
        "`reconciler.errors`, which are `requests` exceptions where a request failed",
        "mlflow's exception cannot be had without mlflow",
    ),
    (
        "`explain` and what a plugin's class does not define",
        "`MlflowException`",
        "`NotImplementedError`",
        "it is not implemented",
    ),
    ("`run_local` on a built-in target", "does nothing", "`NotImplementedError`", "nothing was run"),
    ("`target_help` of a built-in target", "`None`", "a text", ""),
    (
        "an AI Gateway that does not answer in time",
        "`MlflowException` about a connection; its text that names the setting is not reached",
        "a `requests.Timeout` that names the setting to raise",
        "it is what the user needs to know",
    ),
    (
        "endpoints of the AI Gateway",
        "pydantic models",
        "frozen dataclasses with `.dict()` and `.model_dump()`",
        "no pydantic",
    ),
    ("a gateway endpoint without `limit`", "`ValidationError`", "`limit` is `None`", "older gateways"),
    (
        "`predict_stream` on the AI Gateway and OpenAI",
        "`NotImplementedError`",
        "streams",
        "both servers can",
    ),
    (
        "OpenAI: `list_endpoints` and `get_endpoint`",
        "always `api.openai.com`",
        "`OPENAI_API_BASE`",
        "local servers",
    ),
    (
        "OpenAI: `predict`",
        "needs the package `openai`; sends `messages` only; fills the answer with `None`",
        "sends all of `inputs`; the answer as it came",
        "`temperature` is not lost",
    ),
    (
        "OpenAI: a refused `predict`",
        "an exception of `openai` (`openai.NotFoundError` …)",
        "`HTTPError` with `.response`, as for every other call",
        "`openai` is not needed",
    ),
    (
        "OpenAI: `OPENAI_API_TYPE=azure_ad`",
        "the token in `api-key`",
        "the token in `Authorization`",
        "where Azure looks for tokens of Entra ID",
    ),
    (
        "OpenAI: an unknown `OPENAI_API_TYPE`",
        "means `openai`",
        "an error",
        "the key would go to the wrong server",
    ),
]


def reply(case: Case, seen: Seen, status: int = 200) -> bytes:
    """The server's whole answer to one request of a case."""
    if seen.path.startswith("/.well-known/"):
        return answer(404, {"error_code": "ENDPOINT_NOT_FOUND", "message": "no"})
    if status != 200:
        return answer(status, {"error_code": CODES[status], "message": "because"})
    if isinstance(case.body, bytes):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        return Close(head + case.body)
    return answer(200, case.body(seen) if callable(case.body) else case.body)


CODES = {
    400: "INVALID_PARAMETER_VALUE",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
}


def essence(seen: Seen) -> tuple[Any, ...]:
    """What counts of a request: method, path with query, body, the headers that matter."""
    path, mark, query = seen.path.partition("?")
    if path == "/api/2.0/serving-endpoints/":
        path = path.rstrip("/")  # DIFFERENCES
    headers = {
        name: seen.headers.get(name)
        for name in ("authorization", "api-key", "x-databricks-endpoints-api-client")
    }
    kind = seen.headers.get("content-type", "").partition(";")[0] if seen.body else ""
    return seen.method, path + mark + query, json.loads(seen.body) if seen.body else None, kind, headers


def plain(result: Any) -> Any:
    """A result in JSON's own types, so that only its content is compared."""
    if isinstance(result, list):
        return [plain(each) for each in result]
    if isinstance(result, dict):
        return {key: plain(value) for key, value in result.items()}
    return plain(result.model_dump()) if hasattr(result, "model_dump") else result
