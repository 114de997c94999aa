"""The client of the AI Gateway: what its answers may hold, its times, its login and its TLS; on loopback."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from reconciler import errors
from reconciler.client import MlflowDeploymentClient
from tests.unit.client.wire import CANARY, Seen, Server, answer, refusal

ENDPOINT: dict[str, Any] = {
    "name": "chat",
    "endpoint_type": "llm/v1/chat",
    "model": {"name": "gpt-4o", "provider": "openai"},
    "endpoint_url": "/gateway/chat/invocations",
    "limit": {"calls": 5, "key": None, "renewal_period": "minute"},
}


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("USERNAME", "PASSWORD", "TOKEN", "SERVER_CERT_PATH", "CLIENT_CERT_PATH", "INSECURE_TLS"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "RECONCILER_CLIENT_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("reconciler.client.http.backoff", lambda repeat, chance: 0.0)


# -- endpoints ---------------------------------------------------------------------------------------------


def test_an_endpoint_is_an_object_with_dict(server: Server) -> None:
    server.otherwise = answer(200, ENDPOINT)
    with MlflowDeploymentClient(server.url) as client:
        found = client.get_endpoint("chat")
    assert (found.name, found.model.provider, found.limit and found.limit.calls) == ("chat", "openai", 5)
    url = f"{server.url}/gateway/chat/invocations"
    assert found.dict() == found.model_dump() == {**ENDPOINT, "endpoint_url": url}


def test_a_path_of_the_target_stays_in_front(server: Server) -> None:
    server.otherwise = answer(200, {**ENDPOINT, "limit": None, "newer": 1})
    found = MlflowDeploymentClient(f"{server.url}/team/").get_endpoint("chat")
    assert server.seen[0].path == "/team/api/2.0/endpoints/chat"
    assert found.endpoint_url == f"{server.url}/team/gateway/chat/invocations"
    assert found.limit is None


@pytest.mark.parametrize(
    "found",
    [{}, {**ENDPOINT, "model": None}, {**ENDPOINT, "name": 3}, {**ENDPOINT, "limit": {"calls": 1}}, "text"],
)
def test_an_endpoint_without_what_the_api_promises(server: Server, found: Any) -> None:
    server.otherwise = answer(200, {"endpoints": [found]})
    with pytest.raises(errors.BadAnswer, match="lacks what the API promises"):
        MlflowDeploymentClient(server.url).list_endpoints()


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        ([{"endpoints": [], "next_page_token": "a"}] * 3, "the pages never end"),
        ([{"endpoints": [], "next_page_token": {}}], "the pages never end"),
        ([{"endpoints": {}}], "not a list"),
        ([[]], "promises an object"),
    ],
)
def test_pages_that_are_none(server: Server, pages: list[Any], why: str) -> None:
    server.replies = [answer(200, page) for page in pages]
    with pytest.raises(errors.BadAnswer, match=why) as caught:
        MlflowDeploymentClient(server.url).list_endpoints()
    assert isinstance(caught.value, requests.RequestException)


# -- times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "call"),
    [
        ("MLFLOW_DEPLOYMENT_CLIENT_HTTP_REQUEST_TIMEOUT", lambda c: c.list_endpoints()),
        ("MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT", lambda c: c.predict(endpoint="chat", inputs={})),
    ],
)
def test_a_gateway_that_is_late(
    server: Server, monkeypatch: pytest.MonkeyPatch, variable: str, call: Callable[[Any], Any]
) -> None:
    monkeypatch.setenv(variable, "0.2")
    hold = threading.Event()
    server.replies = [hold] * 8
    try:
        with pytest.raises(requests.Timeout, match=f"raise {variable}") as caught:
            call(MlflowDeploymentClient(server.url))
    finally:
        hold.set()
    assert isinstance(caught.value, errors.AnswerLost)


def test_a_query_without_an_endpoint(server: Server) -> None:
    client = MlflowDeploymentClient(server.url)
    for ask in (client.predict, lambda: list(client.predict_stream())):
        with pytest.raises(errors.UsageError, match="needs the name of an endpoint"):
            ask()
    assert server.seen == []


# -- the login ---------------------------------------------------------------------------------------------


def _headers(server: Server) -> str:
    MlflowDeploymentClient(server.url).prove_login()
    return server.seen[-1].headers.get("authorization", "")


def test_user_and_password_go_before_a_token(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.otherwise = answer(200, {"endpoints": []})
    assert _headers(server) == ""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    assert _headers(server) == "Bearer t"
    (tmp_path / ".mlflow").mkdir()
    file = tmp_path / ".mlflow" / "credentials"
    file.write_text("[mlflow]\nmlflow_tracking_username=ann\nmlflow_tracking_password=%x\n")
    assert _headers(server) == "Basic YW5uOiV4"
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pw")
    assert _headers(server) == "Basic Ym9iOnB3"
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    file.write_text(f"no section {CANARY}")
    with pytest.raises(errors.UsageError, match="cannot be read") as caught:
        MlflowDeploymentClient(server.url)
    assert CANARY not in str(caught.value)


def test_a_login_that_is_refused_is_no_proof(server: Server) -> None:
    server.otherwise = refusal(403, "PERMISSION_DENIED", "no")
    with pytest.raises(errors.APIError, match="403"):
        MlflowDeploymentClient(server.url).prove_login()
    server.otherwise = answer(200, {"hello": 1})
    with pytest.raises(errors.BadAnswer, match="not a list"):
        MlflowDeploymentClient(server.url).prove_login()


# -- TLS ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("me@example.com").private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    return {"ca": str(tmp_path / "ca.pem"), "me": str(tmp_path / "me.pem")}


@pytest.fixture(params=[False, True], ids=["open", "asks for a certificate"])
def strict(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def https(authority: trustme.CA, strict: bool) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if strict:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)

    def reply(seen: Seen) -> bytes:
        return answer(200, {"endpoints": []})

    server = Server(wrap=context, respond=reply)
    yield f"https://{server.host}"
    server.close()


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("bundle", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "INSECURE"])
@pytest.mark.parametrize("cert", ["MLFLOW_TRACKING_CLIENT_CERT_PATH", "RECONCILER_CLIENT_CERT"])
def test_the_authority_and_the_certificate_by_either_name(
    https: str, strict: bool, files: dict[str, str], monkeypatch: pytest.MonkeyPatch, bundle: str, cert: str
) -> None:
    if bundle == "INSECURE":
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    else:
        monkeypatch.setenv(bundle, files["ca"])
    if strict:
        monkeypatch.setenv(cert, files["me"])
    assert MlflowDeploymentClient(https).list_endpoints() == []


def test_without_the_authority_nothing_is_trusted(https: str, strict: bool) -> None:
    with pytest.raises(errors.ConnectionFailed, match="is not trusted"):
        MlflowDeploymentClient(https).list_endpoints()


def test_tls_settings_that_cannot_be(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", "/nowhere.pem")
    with pytest.raises(errors.UsageError, match=r"no certificate at /nowhere\.pem"):
        MlflowDeploymentClient("https://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", files["ca"])
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "1")
    with pytest.raises(errors.UsageError, match="exclude each other"):
        MlflowDeploymentClient("https://127.0.0.1:1")
