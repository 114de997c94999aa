"""mlflow's clients and ours, driven with the same calls against the same recording server."""

from __future__ import annotations

import inspect
import json
import re
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import Any, NamedTuple

import pytest
import requests

import reconciler.client as ours
from docs import parity as docs
from reconciler import errors
from reconciler.client import base, databricks
from tests.conformance import parity
from tests.conformance.parity import CASES, EXCUSED, FUNCTIONS, NOT_OFFERED, Case, D, M, O, essence, plain
from tests.unit.client.wire import Seen, Server

theirs = pytest.importorskip("mlflow.deployments")

CLASSES = {D: "databricks", M: "{url}", O: "openai"}


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Server]:
    """One server for both, named by the environment; retries that do not wait."""
    server = Server()
    for name, value in {
        "HOME": str(tmp_path),
        "DATABRICKS_HOST": server.url,
        "DATABRICKS_TOKEN": "dapi-x",
        "DATABRICKS_CONFIG_FILE": str(tmp_path / "none"),
        "MLFLOW_TRACKING_TOKEN": "mlf-x",
        "OPENAI_API_KEY": "sk-x",
        "OPENAI_API_BASE": f"{server.url}/v1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
        "MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT": "1",
        "MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT": "1",
        "MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("MLFLOW_DEPLOYMENTS_TARGET", "OPENAI_API_TYPE", "DATABRICKS_CONFIG_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("reconciler.client.http.backoff", lambda repeat, chance: 0.0)
    monkeypatch.setattr("databricks.sdk.retries.random", lambda: 0.0, raising=False)
    wait = "openai._base_client.BaseClient._calculate_retry_timeout"
    monkeypatch.setattr(wait, lambda *arguments: 0.0)
    monkeypatch.setattr(base, "_target", None)
    monkeypatch.setattr("mlflow.deployments.utils._deployments_target", None)
    get = requests.get  # mlflow lists OpenAI's models on the public host, whatever the base URL says
    monkeypatch.setattr(
        requests, "get", lambda url, **rest: get(url.replace("https://api.openai.com", server.url), **rest)
    )
    yield server
    server.close()


class Outcome(NamedTuple):
    """What a call did."""

    requests: list[tuple[Any, ...]]
    result: Any
    error: BaseException | None
    deprecations: list[tuple[set[str], set[str]]]


def drive(package: Any, server: Server, client: str, call: Callable[[Any], Any]) -> Outcome:
    """Make a client of one package by its URI, call it, and keep what happened."""
    server.seen.clear()
    result, error = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = package.get_deploy_client(CLASSES[client].format(url=server.url))
            assert type(found).__name__ == client
            result = call(found)
        except Exception as raised:
            error = raised
    asked = [essence(seen) for seen in server.seen if not seen.path.startswith("/.well-known/")]
    return Outcome(asked, plain(result), error, _deprecations(caught))


_DEPRECATED = re.compile(r"\b(name|route_optimized|update_endpoint(?:_\w+)?)\b")


def _deprecations(caught: list[warnings.WarningMessage]) -> list[tuple[set[str], set[str]]]:
    """What may be caught, and what is named, of all warnings of a call that speak of a deprecation."""
    told = [each for each in caught if "deprecated" in str(each.message)]
    kinds = {kind.__name__ for each in told for kind in each.category.__mro__ if kind in _CATEGORIES}
    named = {name for each in told for name in _DEPRECATED.findall(str(each.message))}
    return [(kinds, named)] if told else []


_CATEGORIES = (UserWarning, FutureWarning, DeprecationWarning)


def both(server: Server, case: Case, status: int = 200) -> tuple[Outcome, Outcome]:
    """The outcome with mlflow's client, and with ours."""
    server.respond = lambda seen: parity.reply(case, seen, status)
    return drive(theirs, server, case.client, case.call), drive(ours, server, case.client, case.call)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_same_request_and_the_same_result(server: Server, case: Case) -> None:
    mlflow, here = both(server, case)

    assert (mlflow.error, here.error) == (None, None)
    assert here.requests == mlflow.requests
    assert here.requests
    assert here.deprecations == mlflow.deprecations
    if (case.client, case.method) == (O, "predict"):
        assert _answered(mlflow.result, here.result)
    else:
        assert here.result == mlflow.result


def _answered(theirs: Any, here: Any) -> bool:
    """The same, but for the None that objects of ``openai`` hold where nothing was answered: DIFFERENCES."""
    if isinstance(here, dict):
        more = {key: value for key, value in theirs.items() if key not in here}
        same = all(_answered(theirs[key], value) for key, value in here.items())
        return same and all(value is None for value in more.values())
    if isinstance(here, list):
        return len(theirs) == len(here) and all(map(_answered, theirs, here))
    return bool(theirs == here)


_FIRST = {(case.client, case.method): case for case in reversed(CASES)}
_ERRORS = [
    (case, status)
    for case in _FIRST.values()
    for status in (400, 403, 404, 429, 500)
    # databricks-sdk repeats a 429 for at least a second: that one is compared for one method only
    if case.client != D or status != 429 or case.method == "get_endpoint"
]


@pytest.mark.parametrize(("case", "status"), _ERRORS, ids=lambda value: str(value))
def test_the_same_refusal(server: Server, case: Case, status: int) -> None:
    mlflow, here = both(server, case, status)

    if (case.client, status) == (D, 429):
        assert isinstance(mlflow.error, TimeoutError)  # DIFFERENCES
    elif (case.client, case.method) == (O, "predict"):
        assert type(mlflow.error).__module__.partition(".")[0] == "openai"  # DIFFERENCES
        assert mlflow.error.status_code == status  # type: ignore[union-attr]
    else:
        assert isinstance(mlflow.error, requests.HTTPError)
        assert mlflow.error.response.status_code == status
    # how often is not compared: the two repeat by rules of their own
    assert set(map(_said, here.requests)) == set(map(_said, mlflow.requests))
    if (case.method, status) == ("delete_endpoint", 404):
        assert (here.result, here.error) == ({}, None)  # DIFFERENCES
        return
    assert isinstance(here.error, requests.HTTPError)
    assert isinstance(here.error, errors.APIError)
    assert here.error.response.status_code == status
    assert here.error.status == status
    assert here.error.message == "because"


def _said(request: tuple[Any, ...]) -> str:
    return json.dumps(request, sort_keys=True)


@pytest.mark.parametrize(
    ("client", "method", "call"), NOT_OFFERED, ids=[f"{client}.{method}" for client, method, _ in NOT_OFFERED]
)
def test_the_same_is_not_implemented(server: Server, client: str, method: str, call: Any) -> None:
    for package in (theirs, ours):
        outcome = drive(package, server, client, call)
        assert isinstance(outcome.error, NotImplementedError)
        assert outcome.requests == []


@pytest.mark.parametrize("client", [D, M, O])
def test_explain_is_an_error_on_both(server: Server, client: str) -> None:
    for package in (theirs, ours):
        outcome = drive(package, server, client, lambda found: found.explain("x", None))
        assert outcome.error is not None
        assert outcome.requests == []


@pytest.mark.parametrize(
    ("label", "call"),
    [
        ("two names", lambda c: c.create_endpoint(name="a", config={"name": "b", "config": {}})),
        ("no name", lambda c: c.create_endpoint(config={"config": {}})),
        (
            "two of route_optimized",
            lambda c: c.create_endpoint(
                config={"name": "a", "config": {}, "route_optimized": False}, route_optimized=True
            ),
        ),
    ],
)
def test_contradictions_are_refused_by_both(server: Server, label: str, call: Any) -> None:
    for package in (theirs, ours):
        outcome = drive(package, server, D, call)
        assert outcome.error is not None, label
        assert outcome.requests == []
    assert isinstance(outcome.error, errors.UsageError)


@pytest.mark.parametrize(
    ("config", "theirs_sent", "ours_sent"),
    [
        ({**parity.PAYLOAD, "route_optimized": True}, None, {**parity.PAYLOAD, "route_optimized": True}),
        (
            {"name": "a", "ai_gateway": {}},
            {"name": None, "config": {"name": "a", "ai_gateway": {}}, "route_optimized": False},
            {"name": "a", "ai_gateway": {}},
        ),
        (parity.CONFIG, {"name": None, "config": parity.CONFIG, "route_optimized": False}, None),
    ],
)
def test_creations_that_differ_on_purpose(
    server: Server, config: dict[str, Any], theirs_sent: Any, ours_sent: Any
) -> None:
    """DIFFERENCES: the three rows about create_endpoint."""
    case = Case(D, "create_endpoint", "", lambda c: c.create_endpoint(config=config), parity.ENDPOINT)
    for outcome, sent in zip(both(server, case), (theirs_sent, ours_sent), strict=True):
        assert [request[2] for request in outcome.requests] == ([] if sent is None else [sent])
        assert (outcome.error is None) is (sent is not None)
    assert outcome.deprecations == []


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [("get_endpoint", b"", {}), ("predict_stream", b': ping\n\ndata: {"n": 1}\n\n', [{"n": 1}])],
)
def test_answers_that_only_ours_reads(server: Server, method: str, body: bytes, expected: Any) -> None:
    """DIFFERENCES: an answer without a body, comments in a stream."""
    call = next(case.call for case in CASES if (case.client, case.method) == (D, method))
    mlflow, here = both(server, Case(D, method, "", call, body))
    assert mlflow.error is not None
    assert (here.error, here.result) == (None, expected)


def test_without_a_login_ours_says_so_when_the_client_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """DIFFERENCES: the login to Databricks."""
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        monkeypatch.delenv(name)
    assert type(theirs.get_deploy_client("databricks")).__name__ == D
    with pytest.raises(errors.AuthError):
        ours.get_deploy_client("databricks")
    assert type(theirs.get_deploy_client("databricks://scope:prefix")).__name__ == D
    with pytest.raises(errors.UsageError, match="secret scope"):
        ours.get_deploy_client("databricks://scope:prefix")


@pytest.mark.parametrize(("stream", "line"), [(b"event: x\n\n", "event: x"), (b"nothing\n\n", "nothing")])
def test_a_bad_line_of_a_stream_is_named_by_both(server: Server, stream: bytes, line: str) -> None:
    case = Case(D, "predict_stream", "", lambda c: list(c.predict_stream(None, {}, "chat")), stream)
    for outcome in both(server, case):
        assert line in str(outcome.error)


def test_a_slow_gateway_is_an_error_that_names_the_setting(server: Server) -> None:
    """mlflow has a text for it, which a read that times out does not reach (3.17): DIFFERENCES."""
    hold = threading.Event()
    server.replies = [hold] * 3  # mlflow asks twice
    case = next(case for case in CASES if (case.client, case.method) == (M, "predict"))
    try:
        mlflow, here = both(server, case)
    finally:
        hold.set()
    assert "timed out" in str(mlflow.error)
    assert "raise MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT (now 1 seconds)" in str(here.error)
    assert isinstance(here.error, requests.Timeout)
    assert len(here.requests) == 1


@pytest.mark.parametrize("client", [D, M, O])
def test_basic_credentials_and_no_key(server: Server, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pw")
    monkeypatch.delenv("OPENAI_API_KEY")
    case = next(case for case in CASES if (case.client, case.method) == (client, "get_endpoint"))
    mlflow, here = both(server, case)
    assert here.requests == mlflow.requests
    if client == O:
        for outcome in (mlflow, here):
            assert "OPENAI_API_KEY" in str(outcome.error)
        assert isinstance(here.error, errors.AuthError)


@pytest.mark.parametrize("kind", ["azure", "azure_ad"])
@pytest.mark.parametrize("deployment", ["", "mine"])
def test_azure_is_asked_the_same(
    server: Server, kind: str, deployment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_TYPE", kind)
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    if deployment:
        monkeypatch.setenv("OPENAI_DEPLOYMENT_NAME", deployment)
    case = next(case for case in CASES if (case.client, case.method) == (O, "predict"))

    mlflow, here = both(server, case)

    assert (mlflow.error, here.error) == (None, None)
    [(*asked, headers)], [(*expected, theirs_headers)] = here.requests, mlflow.requests
    assert asked == expected
    assert (theirs_headers["authorization"], theirs_headers["api-key"]) == (None, "sk-x")
    as_token = (headers["authorization"], headers["api-key"]) == ("Bearer sk-x", None)  # DIFFERENCES
    assert as_token if kind == "azure_ad" else headers == theirs_headers
    for method in ("list_endpoints", "get_endpoint"):
        case = next(case for case in CASES if (case.client, case.method) == (O, method))
        for outcome in both(server, case):
            assert isinstance(outcome.error, NotImplementedError)
            assert outcome.requests == []


@pytest.mark.parametrize("client", [M, O])
def test_a_server_that_is_not_there(server: Server, client: str) -> None:
    """mlflow raises its own exception or one of requests; ours is always one of requests too.

    Not driven for Databricks: mlflow's client tries for five minutes there.
    """
    server.close()
    case = next(case for case in CASES if (case.client, case.method) == (client, "get_endpoint"))
    for outcome in both(server, case):
        assert outcome.error is not None
    assert isinstance(outcome.error, requests.ConnectionError)
    assert isinstance(outcome.error, errors.ConnectionFailed)


# -- functions and PredictionsResponse ---------------------------------------------------------------------


@pytest.mark.parametrize("uri", [None, "", "//host", "?x", "no-such-target", "no-such-target:/x"])
def test_get_deploy_client_without_a_client(uri: str | None) -> None:
    found: list[Any] = []
    for package in (theirs, ours):
        try:
            found.append(package.get_deploy_client(uri))
        except Exception:
            found.append("an error")
    assert found[0] == found[1]
    assert found[0] in (None, "an error")


@pytest.mark.parametrize(
    "target", ["databricks", "databricks://p", "http://h:1", "x://y", "", "h", "a:/b", "http://["]
)
def test_the_same_targets_are_taken(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    for package in (theirs, ours):
        try:
            package.set_deployments_target(target)
            found.append(package.get_deployments_target())
        except Exception:
            found.append("an error")
            with pytest.raises((errors.UsageError, Exception), match="target"):
                package.get_deployments_target()
            monkeypatch.setenv("MLFLOW_DEPLOYMENTS_TARGET", "databricks")
            assert package.get_deployments_target() == "databricks"
            monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET")
    assert found[0] == found[1]


def test_run_local_hands_the_same_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.deployments.interface import plugin_store

    module = types.ModuleType("parity_plugin")
    calls: list[Any] = []
    body = dict.fromkeys(
        ("create_deployment", "update_deployment", "delete_deployment", "list_deployments", "get_deployment"),
        lambda self, *rest: None,
    )
    module.Toy = type("Toy", (theirs.BaseDeploymentClient,), {**body, "predict": print})  # type: ignore[attr-defined]
    module.run_local = lambda *arguments: calls.append(arguments) or "done"  # type: ignore[attr-defined]
    module.target_help = lambda: "help"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "parity_plugin", module)
    entry = EntryPoint("parity", "parity_plugin", "mlflow.deployments")
    monkeypatch.setitem(plugin_store.registry, "parity", entry)
    monkeypatch.setattr("reconciler.client.plugins._installed", lambda: [entry])

    for package in (theirs, ours):
        assert package.run_local("parity", "n", "models:/m/1", config={"a": 1}) == "done"
        assert type(package.get_deploy_client("parity:/x")).__name__ == "Toy"
        with pytest.raises(Exception, match="no-such"):
            package.run_local("no-such", "n", "m")
    assert calls[0] == calls[1] == ("n", "models:/m/1", None, {"a": 1})
    assert ours.target_help("parity") == theirs.interface._target_help("parity") == "help"


SHAPES: list[Any] = [
    [1, 2],
    [[1, 2], [3, 4]],
    [{"a": 1, "b": 2}, {"a": 3, "b": 4}],
    {"a": [1, 2], "b": [3, 4]},
    {"a": 1, "b": "x"},
    {"a": {"x": 1}, "b": [1]},
    "one text",
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", ["dataframe", "ndarray"])
def test_the_same_predictions(shape: Any, form: str) -> None:
    text = theirs.PredictionsResponse({"predictions": shape, "more": 1}).to_json()
    found: list[Any] = []
    for package in (theirs, ours):
        response = package.PredictionsResponse.from_json(text)
        assert response.to_json() == text
        try:
            found.append(response.get_predictions(form))
        except Exception as error:
            found.append(error)
    assert type(found[0]) is type(found[1])
    if isinstance(found[0], Exception):
        assert str(found[0]) == str(found[1])
    elif form == "dataframe":
        assert found[0].equals(found[1])
    else:
        assert found[0].dtype == found[1].dtype
        assert found[0].tolist() == found[1].tolist()


@pytest.mark.parametrize("text", ["{", "[]", "{}", "null", '{"predictions": 1}', "NaN"])
def test_the_same_texts_are_predictions(text: str, tmp_path: Any) -> None:
    found: list[Any] = []
    for package in (theirs, ours):
        path = tmp_path / package.__name__
        try:
            response = package.PredictionsResponse.from_json(text)
        except Exception:
            found.append("an error")
            continue
        assert response.to_json(str(path)) is None
        found.append((dict(response), path.read_text()))
    assert found[0] == found[1]


def test_the_dtype_and_an_unknown_format() -> None:
    for package in (theirs, ours):
        response = package.PredictionsResponse({"predictions": [1, 2]})
        assert response.get_predictions("ndarray", "float32").dtype == "float32"
        assert response.get_predictions(predictions_format="ndarray", dtype=None).dtype == "int64"
        with pytest.raises(Exception, match="nothing"):
            response.get_predictions("nothing")


# -- nothing is left out -----------------------------------------------------------------------------------


def _public(kind: type[Any]) -> set[str]:
    own = [each for each in kind.__mro__ if each.__module__.startswith("mlflow.")]
    names = {name for each in own for name in vars(each) if callable(getattr(kind, name))}
    return {name for name in names if not name.startswith("_")}


def test_every_public_method_is_compared_or_excused() -> None:
    compared = {f"{case.client}.{case.method}" for case in CASES}
    compared |= {f"{client}.{method}" for client, method, _ in NOT_OFFERED} | set(FUNCTIONS)
    wanted: set[str] = set()
    for name in theirs.__all__:
        value = getattr(theirs, name)
        if not inspect.isclass(value):
            wanted.add(name)
        elif name != "BaseDeploymentClient":
            wanted |= {f"{name}.{method}" for method in _public(value)}

    assert wanted - compared - set(EXCUSED) == set()
    assert (compared | set(EXCUSED)) - wanted == set(), "no longer there"
    assert set(EXCUSED) & compared == set()


@pytest.mark.parametrize("client", [D, M, O, "PredictionsResponse"])
def test_the_same_arguments_and_defaults(client: str) -> None:
    for method in sorted(_public(getattr(theirs, client))):
        found: list[Any] = []
        for package in (theirs, ours):
            signature = inspect.signature(getattr(getattr(package, client), method))
            found.append([(each.name, each.default) for each in signature.parameters.values()])
        assert found[0] == found[1], method


def test_the_same_names_are_public() -> None:
    assert set(theirs.__all__) <= set(ours.__all__)
    assert ours.DatabricksEndpoint is databricks.DatabricksEndpoint


def test_a_difference_would_be_seen() -> None:
    one = Seen("GET", "/a?x=1", {"authorization": "Bearer t"}, b"", 1)
    for other in (
        Seen("POST", "/a?x=1", {"authorization": "Bearer t"}, b"", 1),
        Seen("GET", "/a/?x=1", {"authorization": "Bearer t"}, b"", 1),
        Seen("GET", "/a?x=2", {"authorization": "Bearer t"}, b"", 1),
        Seen("GET", "/a?x=1", {"authorization": "Bearer u"}, b"", 1),
        Seen("GET", "/a?x=1", {"authorization": "Bearer t"}, b"{}", 1),
    ):
        assert essence(one) != essence(other)


def test_the_docs_hold_what_was_compared() -> None:
    page = docs.PAGE.read_text(encoding="utf-8")
    assert docs.with_tables(page) == page, "run: python -m docs.parity"
