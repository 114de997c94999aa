"""DatabricksDeploymentClient: which request every method makes, and what it returns."""

from __future__ import annotations

import copy
import json
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from reconciler import errors
from reconciler.client.auth import Anonymous, Token
from reconciler.client.databricks import DatabricksDeploymentClient, DatabricksEndpoint
from reconciler.client.pacing import WritePacer
from reconciler.values import Secret
from tests.unit.client.test_http import Recorder
from tests.unit.client.wire import Clock, Close, Server, answer, refusal

ROOT = "/api/2.0/serving-endpoints"
CONFIG = {"served_entities": [{"name": "a", "environment_vars": {"K": "{{secrets/s/k}}"}}]}


@pytest.fixture
def client(server: Server) -> Iterator[DatabricksDeploymentClient]:
    with DatabricksDeploymentClient("databricks", host=server.url, credentials=Token("t")) as client:
        yield client


# -- one call, one request --------------------------------------------------------------------------------

PERMISSIONS = "/api/2.0/permissions/serving-endpoints"
CALLS: list[tuple[str, tuple[Any, ...], str, str, Any]] = [
    (
        "create_endpoint",
        (None, {"name": "x", "config": CONFIG}),
        "POST",
        ROOT,
        {"name": "x", "config": CONFIG},
    ),
    ("create_endpoint", (None, {"name": "x"}), "POST", ROOT, {"name": "x"}),
    ("update_endpoint_config", ("x", CONFIG), "PUT", f"{ROOT}/x/config", CONFIG),
    ("update_endpoint_tags", ("x", {"add_tags": [], "delete_tags": ["k"]}), "PATCH", f"{ROOT}/x/tags", ...),
    ("update_endpoint_rate_limits", ("x", {"rate_limits": []}), "PUT", f"{ROOT}/x/rate-limits", ...),
    ("update_endpoint_ai_gateway", ("x", {}), "PUT", f"{ROOT}/x/ai-gateway", {}),
    ("delete_endpoint", ("x",), "DELETE", f"{ROOT}/x", None),
    ("list_endpoints", (), "GET", ROOT, None),
    ("get_endpoint", ("x",), "GET", f"{ROOT}/x", None),
    ("predict", (None, {"input": "hi"}, "x"), "POST", "/serving-endpoints/x/invocations", {"input": "hi"}),
    ("create_provisioned_throughput_endpoint", ({"name": "x"},), "POST", f"{ROOT}/pt", {"name": "x"}),
    (
        "update_provisioned_throughput_endpoint_config",
        ("x", {"config": {}}),
        "PUT",
        f"{ROOT}/pt/x/config",
        ...,
    ),
    (
        "update_endpoint_notifications",
        ("x", {"email_notifications": {}}),
        "PATCH",
        f"{ROOT}/x/notifications",
        ...,
    ),
    (
        "update_endpoint_telemetry",
        ("x", {"telemetry_config": {}}),
        "PATCH",
        f"{ROOT}/x/telemetry-config",
        ...,
    ),
    ("get_endpoint_permissions", ("id7",), "GET", f"{PERMISSIONS}/id7", None),
    ("set_endpoint_permissions", ("id7", {"access_control_list": []}), "PUT", f"{PERMISSIONS}/id7", ...),
    ("get_endpoint_permission_levels", ("id7",), "GET", f"{PERMISSIONS}/id7/permissionLevels", None),
    ("get_endpoint_build_logs", ("x", "m"), "GET", f"{ROOT}/x/served-models/m/build-logs", None),
    ("get_endpoint_logs", ("x", "m"), "GET", f"{ROOT}/x/served-models/m/logs", None),
    ("get_endpoint_metrics", ("x",), "GET", f"{ROOT}/x/metrics", None),
    ("get_endpoint_openapi", ("x",), "GET", f"{ROOT}/x/openapi", None),
]


@pytest.mark.parametrize(("name", "arguments", "method", "path", "body"), CALLS)
def test_a_call_is_one_request(
    server: Server,
    client: DatabricksDeploymentClient,
    name: str,
    arguments: Any,
    method: str,
    path: str,
    body: Any,
) -> None:
    before = copy.deepcopy(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(client, name)(*arguments)
    (seen,) = server.seen
    assert (seen.method, seen.path) == (method, path)
    expected = arguments[-1] if body is ... else body
    assert (json.loads(seen.body) if seen.body else None) == expected
    assert seen.headers["authorization"] == "Bearer t"
    assert seen.headers["x-databricks-endpoints-api-client"] == "Databricks Deployment Client"
    assert arguments == before


@pytest.mark.parametrize(
    "name", sorted({name for name, arguments, *_ in CALLS if arguments and isinstance(arguments[0], str)})
)
def test_names_are_quoted_and_never_empty(
    server: Server, client: DatabricksDeploymentClient, name: str
) -> None:
    arguments = next(arguments for each, arguments, *_ in CALLS if each == name)
    getattr(client, name)("a/b?c", *arguments[1:])
    assert "/a%2Fb%3Fc" in server.seen[0].path
    for nothing in ("", "..", None):
        with pytest.raises(errors.UsageError):
            getattr(client, name)(nothing, *arguments[1:])
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (name, arguments)
        for name, arguments, *_ in CALLS
        if name not in {"list_endpoints", "get_endpoint_metrics"}
    ],
)
def test_an_answer_is_an_endpoint_or_an_error(
    server: Server, client: DatabricksDeploymentClient, name: str, arguments: Any
) -> None:
    server.replies = [answer(200, {"state": {"ready": "READY"}, "new_field": 1})]
    found = getattr(client, name)(*arguments)
    assert type(found) is DatabricksEndpoint
    assert (found.state.ready, found.new_field) == ("READY", 1)
    server.replies = [answer(200, b'"text"')]
    writes = name.startswith(("create", "update", "delete", "set"))
    with pytest.raises(errors.AnswerLost if writes else errors.BadAnswer, match="a JSON str where"):
        getattr(client, name)(*arguments)


def test_a_secret_is_revealed_in_the_body(server: Server, client: DatabricksDeploymentClient) -> None:
    client.update_endpoint_config("x", {"k": Secret("s3cret")})
    assert server.seen[0].json == {"k": "s3cret"}


# -- lists and texts --------------------------------------------------------------------------------------


def test_the_list_is_what_is_inside(server: Server, client: DatabricksDeploymentClient) -> None:
    server.replies = [answer(200, {"endpoints": [{"name": "a"}, {"name": "b", "state": {"ready": "READY"}}]})]
    found = client.list_endpoints()
    assert [each.name for each in found] == ["a", "b"]
    assert found[1].state.ready == "READY"
    assert all(type(each) is DatabricksEndpoint for each in found)


@pytest.mark.parametrize("body", [b"{}", b'{"endpoints": []}', b'{"endpoints": null}', b""])
def test_a_list_of_nothing(server: Server, client: DatabricksDeploymentClient, body: bytes) -> None:
    server.replies = [answer(200, body)]
    assert client.list_endpoints() == []


@pytest.mark.parametrize(
    "body", [b"[]", b'{"endpoints": {}}', b'{"endpoints": ["a"]}', b'{"endpoints": "abc"}']
)
def test_a_list_that_is_none(server: Server, client: DatabricksDeploymentClient, body: bytes) -> None:
    server.replies = [answer(200, body)]
    with pytest.raises(errors.BadAnswer):
        client.list_endpoints()


def test_metrics_are_text(server: Server, client: DatabricksDeploymentClient) -> None:
    server.replies = [answer(200, b"# TYPE x gauge\nx 1\n", {"Content-Type": "text/plain"})]
    assert client.get_endpoint_metrics("x") == "# TYPE x gauge\nx 1\n"


def test_older_servers_answer_with_bare_tags(server: Server, client: DatabricksDeploymentClient) -> None:
    server.replies = [answer(200, b'[{"key": "a", "value": "b"}]')]
    assert client.update_endpoint_tags("x", {"add_tags": []}).tags == [{"key": "a", "value": "b"}]


# -- delete -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", ""])
def test_deleting_what_is_not_there_is_done(
    server: Server, client: DatabricksDeploymentClient, code: str
) -> None:
    server.replies = [refusal(404, code, "Endpoint with name 'x' does not exist.")]
    assert client.delete_endpoint("x") == {}


@pytest.mark.parametrize(
    "reply",
    [
        refusal(404, "ENDPOINT_NOT_FOUND", "No API found for 'DELETE /serving-endpoints/x'"),
        refusal(404, "FEATURE_DISABLED", "Model serving is disabled"),
        answer(404, b"<h1>no such page</h1>", {"Content-Type": "text/html"}),
        answer(404, b""),
    ],
)
def test_a_404_about_something_else_is_no_deletion(
    server: Server, client: DatabricksDeploymentClient, reply: bytes
) -> None:
    server.replies = [reply]
    with pytest.raises(errors.NotFound) as caught:
        client.delete_endpoint("x")
    assert isinstance(caught.value, requests.HTTPError)


def test_reading_what_is_not_there_raises(server: Server, client: DatabricksDeploymentClient) -> None:
    server.otherwise = refusal(404, "RESOURCE_DOES_NOT_EXIST", "no x")
    with pytest.raises(errors.NotFound):
        client.get_endpoint("x")
    with pytest.raises(errors.NotFound):
        client.update_endpoint_config("x", {})


# -- create: all forms mlflow takes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "config", "optimized", "sent", "warned"),
    [
        (
            None,
            {"name": "x", "config": CONFIG, "tags": []},
            False,
            {"name": "x", "config": CONFIG, "tags": []},
            "",
        ),
        (None, {"name": "x", "tags": [1]}, False, {"name": "x", "tags": [1]}, ""),
        (None, {"name": "x", "config": {}, "route_optimized": True}, False, ..., ""),
        (None, {"name": "x", "config": {}, "route_optimized": False}, False, ..., ""),
        ("x", {"name": "x", "config": {}}, False, {"name": "x", "config": {}}, "Passing name as"),
        ("x", {"config": {}}, False, {"name": "x", "config": {}}, "Passing name as"),
        (
            None,
            {"name": "x", "config": {}},
            True,
            {"name": "x", "config": {}, "route_optimized": True},
            "route_opt",
        ),
        (None, {"name": "x", "config": {}, "route_optimized": True}, True, ..., "Passing route_optimized as"),
        (
            "x",
            {**CONFIG, "tags": [{"key": "k"}], "rate_limits": [{"calls": 1}]},
            True,
            {
                "name": "x",
                "config": CONFIG,
                "route_optimized": True,
                "tags": [{"key": "k"}],
                "rate_limits": [{"calls": 1}],
            },
            "separately is deprecated",
        ),
        ("x", CONFIG, False, {"name": "x", "config": CONFIG, "route_optimized": False}, "separately"),
        ("x", None, False, {"name": "x", "config": {}, "route_optimized": False}, "separately"),
    ],
)
def test_every_form_of_create(
    server: Server,
    client: DatabricksDeploymentClient,
    name: Any,
    config: Any,
    optimized: bool,
    sent: Any,
    warned: str,
) -> None:
    before = copy.deepcopy(config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client.create_endpoint(name, config, optimized)
    assert server.seen[0].json == (before if sent is ... else sent)
    assert config == before
    assert [w.category for w in caught] == [UserWarning] * bool(warned)
    if warned:
        assert warned in str(caught[0].message)
        assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("name", "config", "optimized", "words"),
    [
        ("y", {"name": "x", "config": {}}, False, "name is 'y' as an argument and 'x' in config"),
        (None, {"name": "x", "config": {}, "route_optimized": False}, True, "route_optimized is True"),
        (None, {"config": {}}, False, "no name"),
        (None, {"name": "", "config": {}}, False, "no name"),
        (None, CONFIG, False, "no name"),
        (None, None, False, "no name"),
    ],
)
def test_a_create_that_contradicts_itself_is_not_sent(
    server: Server, client: DatabricksDeploymentClient, name: Any, config: Any, optimized: bool, words: str
) -> None:
    with pytest.raises(errors.UsageError, match=words):
        client.create_endpoint(name, config, optimized)
    assert server.seen == []


@pytest.mark.parametrize(
    ("config", "section"),
    [({"rate_limits": []}, "rate-limits"), (CONFIG, "config"), ({"rate_limits": [], "x": 1}, "config")],
)
def test_the_deprecated_update_warns_and_chooses(
    server: Server, client: DatabricksDeploymentClient, config: Any, section: str
) -> None:
    with pytest.warns(UserWarning, match="update_endpoint_config"):
        client.update_endpoint("x", config)
    assert (server.seen[0].method, server.seen[0].path) == ("PUT", f"{ROOT}/x/{section}")
    assert server.seen[0].json == config


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_deprecated_update_needs_a_config(server: Server, client: DatabricksDeploymentClient) -> None:
    with pytest.raises(errors.UsageError):
        client.update_endpoint("x")
    assert server.seen == []


# -- queries ----------------------------------------------------------------------------------------------


def test_a_query_is_repeated_and_takes_no_room(server: Server, clock: Clock) -> None:
    pacer = WritePacer(1, 300, now=clock.now, sleep=clock.sleep)
    client = DatabricksDeploymentClient(host=server.url, credentials=Token("t"), pacer=pacer)
    server.replies = [Close(b""), answer(200, {"choices": []})]
    assert client.predict(inputs={}, endpoint="x").choices == []
    assert pacer.remaining() == 1
    client.update_endpoint_tags("x", {})
    assert pacer.remaining() == 0


def test_the_times_of_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = Recorder()
    client = DatabricksDeploymentClient(host="http://h.invalid", credentials=Anonymous(), adapter=adapter)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    client.predict(endpoint="x")
    monkeypatch.setenv("MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT", "900")
    with pytest.warns(UserWarning, match="TOTAL_TIMEOUT"):
        client.predict(endpoint="x")
    assert [call["timeout"] for call in adapter.calls] == [(10.0, 120.0), (10.0, 900.0)]


@pytest.mark.parametrize("endpoint", [None, ""])
def test_a_query_needs_an_endpoint(
    server: Server, client: DatabricksDeploymentClient, endpoint: str | None
) -> None:
    with pytest.raises(errors.UsageError):
        client.predict(inputs={}, endpoint=endpoint)
    with pytest.raises(errors.UsageError):
        next(client.predict_stream(inputs={}, endpoint=endpoint))
    assert server.seen == []


def stream(text: str) -> Close:
    return Close(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + text.encode())


def test_a_stream_is_read_to_its_end(server: Server, client: DatabricksDeploymentClient) -> None:
    server.replies = [
        stream(
            ': hello\n\ndata: {"n": 1}\r\n\ndata:{"n": "a:b\u2028é"}\n\n:\n   \n'
            'data: [DONE]\ndata: {"n": 3}\n'
        )
    ]
    inputs: dict[str, Any] = {"messages": []}
    assert list(client.predict_stream(inputs=inputs, endpoint="x")) == [{"n": 1}, {"n": "a:b\u2028é"}]
    assert server.seen[0].json == {"messages": [], "stream": True}
    assert server.seen[0].path == "/serving-endpoints/x/invocations"
    assert inputs == {"messages": []}


def test_a_stream_may_end_without_a_last_word(server: Server, client: DatabricksDeploymentClient) -> None:
    server.replies = [stream('data: {"n": 1}\n\ndata: {"n": 2}')]
    assert list(client.predict_stream(endpoint="x")) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    "line", ["event: error", '{"error": "busy"}', "data", "data: {cut", "data: ", "datum: {}", "\x1b[2Jdata"]
)
def test_an_unknown_line_is_named(server: Server, client: DatabricksDeploymentClient, line: str) -> None:
    server.replies = [stream(f'data: {{"n": 1}}\n\n{line}\n\ndata: [DONE]\n')]
    parts = client.predict_stream(endpoint="x")
    assert next(parts) == {"n": 1}
    with pytest.raises(errors.BadAnswer) as caught:
        next(parts)
    assert line.replace("\x1b", r"\x1b").strip() in caught.value.what.replace("\\\\", "\\")
    assert "\x1b" not in str(caught.value)
    assert isinstance(caught.value, requests.RequestException)


def test_a_stream_that_breaks_off_is_lost(server: Server, client: DatabricksDeploymentClient) -> None:
    server.replies = [Close(b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\ndata: {"n": 1}\n\nda')]
    parts = client.predict_stream(endpoint="x")
    assert next(parts) == {"n": 1}
    with pytest.raises(errors.AnswerLost):
        next(parts)


def test_a_stream_left_early_is_closed(server: Server, client: DatabricksDeploymentClient) -> None:
    server.replies = [b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\ndata: {"n": 1}\n\n']
    parts = client.predict_stream(endpoint="x")
    next(parts)
    parts.close()  # type: ignore[attr-defined]
    server.replies = [answer(200, {"name": "x"})]
    assert client.get_endpoint("x").name == "x"
    assert server.connections == 2


# -- the client itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("create_deployment", ("x", "models:/m/1")),
        ("update_deployment", ("x",)),
        ("delete_deployment", ("x",)),
        ("list_deployments", ()),
        ("get_deployment", ("x",)),
        ("explain", ()),
    ],
)
def test_there_are_no_deployments(
    client: DatabricksDeploymentClient, method: str, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(NotImplementedError, match=method):
        getattr(client, method)(*arguments)


@pytest.mark.parametrize(
    "uri", ["databricks://", "databricks:/x", "databricks://p/x", "databricks://s:k", "http://h", ""]
)
def test_another_target_is_refused(uri: str) -> None:
    with pytest.raises(errors.UsageError):
        DatabricksDeploymentClient(uri, host="h", credentials=Token("t"))


def test_what_a_client_says_of_itself() -> None:
    client = DatabricksDeploymentClient("databricks", host="H.example/", credentials=Token("dapi-CANARY"))
    assert (client.host, client.target_uri) == ("https://h.example", "databricks")
    assert repr(client) == "DatabricksDeploymentClient('databricks', host='https://h.example')"
    assert "CANARY" not in repr(vars(client))


def test_an_adapter_and_a_stop_reach_the_session() -> None:
    adapter, stop = Recorder(), threading.Event()
    client = DatabricksDeploymentClient(
        host="http://local.invalid", credentials=Anonymous(), adapter=adapter, stop=stop, pool_size=1
    )
    assert client.get_endpoint("x") == {"from": "adapter"}
    assert client.http.counters == {"GET": 1}
    client.close()


# -- results ----------------------------------------------------------------------------------------------


def test_keys_are_attributes() -> None:
    endpoint = DatabricksEndpoint(
        {"name": "chat", "state": {"ready": "READY"}, "tags": [{"key": "k"}], "items": 7}
    )
    assert endpoint.name == "chat"
    assert endpoint.state.ready == "READY"
    assert endpoint.tags == [{"key": "k"}]
    assert endpoint["items"] == 7
    assert callable(endpoint.items)  # a method of dict stays one
    assert copy.deepcopy(endpoint) == endpoint
    with pytest.raises(AttributeError, match="'DatabricksEndpoint' object has no attribute 'nothing'"):
        _ = endpoint.nothing
    assert not hasattr(endpoint, "nothing")
    endpoint.note = 1
    assert endpoint["note"] == 1
    del endpoint.note
    assert "note" not in endpoint
    with pytest.raises(AttributeError, match="note"):
        del endpoint.note
