"""Routes, identity, limits, and what can go wrong before any of them."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any
from urllib.parse import quote

import pytest

from reconciler.emulator import Request, Workspace, WriteLimit, routes
from tests.unit.emulator.conftest import API, AUTHORIZED, Clock, custom

# The table of the reference, as it is written there.
TABLE = {
    "GET /api/2.0/serving-endpoints",
    "GET /api/2.0/serving-endpoints/{}",
    "POST /api/2.0/serving-endpoints",
    "POST /api/2.0/serving-endpoints/pt",
    "PUT /api/2.0/serving-endpoints/{}/config",
    "PUT /api/2.0/serving-endpoints/pt/{}/config",
    "PATCH /api/2.0/serving-endpoints/{}/tags",
    "PUT /api/2.0/serving-endpoints/{}/rate-limits",
    "PUT /api/2.0/serving-endpoints/{}/ai-gateway",
    "PATCH /api/2.0/serving-endpoints/{}/notifications",
    "PATCH /api/2.0/serving-endpoints/{}/telemetry-config",
    "DELETE /api/2.0/serving-endpoints/{}",
    "GET /api/2.0/serving-endpoints/{}/served-models/{}/build-logs",
    "GET /api/2.0/serving-endpoints/{}/served-models/{}/logs",
    "GET /api/2.0/serving-endpoints/{}/metrics",
    "GET /api/2.0/serving-endpoints/{}/openapi",
    "POST /serving-endpoints/{}/invocations",
    "GET /api/2.0/permissions/serving-endpoints/{}",
    "PUT /api/2.0/permissions/serving-endpoints/{}",
    "PATCH /api/2.0/permissions/serving-endpoints/{}",
    "GET /api/2.0/permissions/serving-endpoints/{}/permissionLevels",
    "GET /.well-known/databricks-config",
}
OURS = {
    "GET /api/2.0/preview/scim/v2/Me",
    "GET /oidc/.well-known/oauth-authorization-server",
    "POST /oidc/v1/token",
}


def test_the_routes_are_those_of_the_reference() -> None:
    assert {f"{route.method} /{'/'.join(route.path)}" for route in routes.ROUTES} == TABLE | OURS


def test_what_needs_a_token_is_refused_without(workspace: Workspace) -> None:
    for route in routes.ROUTES:
        response = workspace.handle(Request(route.method, "/" + "/".join(route.path).replace("{}", "x")))
        if route.public:
            assert route.path[0] in (".well-known", "oidc")
            continue
        assert response.status == 401
        assert isinstance(response.body, bytes)
        assert json.loads(response.body)["error_code"] == "UNAUTHENTICATED"


def test_every_answer_has_a_request_id_of_its_own(api: API) -> None:
    paths = ("", "none", "/nowhere", "/.well-known/databricks-config")
    answers = [api.send("GET", path).headers["x-request-id"] for path in paths * 2]

    assert all(answers)
    assert len(set(answers)) == len(answers)


def test_unknown_routes_and_methods(api: API) -> None:
    assert api.refused("GET", "/api/2.0/nothing")[:2] == (404, "ENDPOINT_NOT_FOUND")
    assert api.refused("GET", "/")[:2] == (404, "ENDPOINT_NOT_FOUND")
    status, code, message = api.refused("PUT", "one")
    assert (status, code) == (405, "METHOD_NOT_ALLOWED")
    assert "GET, DELETE" in message
    assert api.send("PUT", "one").headers["allow"] == "GET, DELETE"


def test_names_in_paths_are_decoded(api: API) -> None:
    for odd in ("a/b", "ä", "50%", "a b"):
        assert f"'{odd}'" in api.refused("GET", quote(odd, safe=""))[2]


def test_an_endpoint_may_be_called_pt(api: API) -> None:
    api.create("pt", config=custom())

    api.ok("PUT", "pt/config", custom("4"))
    assert api.ok("GET", "pt")["name"] == "pt"


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"text"', b'{"a": NaN}', b"\xff", b"[" * 100_000, b'{"name": 1' + b"0" * 5000 + b"}"],
)
def test_malformed_bodies(api: API, body: bytes) -> None:
    assert api.refused("POST", "", body)[:2] == (400, "MALFORMED_REQUEST")


def test_half_a_surrogate_is_no_reason_to_fail(api: API) -> None:
    api.create(description="\ud800")

    assert api.ok("GET", "one")["description"] == "\ud800"


def test_a_body_above_the_limit(api: API) -> None:
    assert api.refused("POST", "", b" " * (16 * 1024 * 1024 + 1))[0] == 413


def test_a_fault_of_ours_is_an_answer_too(
    api: API, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Workspace, "summaries", fail)
    with caplog.at_level(logging.ERROR):
        assert api.refused("GET", "")[:2] == (500, "INTERNAL_ERROR")
    assert "ZeroDivisionError" in caplog.text


def basic(text: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode(), "host": "local:1"}


def test_oauth(workspace: Workspace, api: API) -> None:
    server = api.ok("GET", "/oidc/.well-known/oauth-authorization-server")
    assert server["token_endpoint"] == "http://local/oidc/v1/token"
    metadata = api.ok("GET", "/.well-known/databricks-config")
    assert metadata == {"oidc_endpoint": "http://local/oidc"}

    form = b"grant_type=client_credentials&scope=all-apis"
    response = workspace.handle(Request("POST", "/oidc/v1/token", {}, basic("id:secret"), form))
    assert response.status == 200
    assert isinstance(response.body, bytes)
    token = json.loads(response.body)
    assert token["token_type"] == "Bearer"
    assert token["expires_in"] == 3600
    assert token["access_token"]
    for headers, body, status in (
        ({}, form, 401),
        (AUTHORIZED, form, 401),
        (basic("id:"), form, 401),
        ({"authorization": "Basic !"}, form, 401),
        (basic("id:secret"), b"grant_type=password", 400),
        (basic("id:secret"), b"", 400),
    ):
        response = workspace.handle(Request("POST", "/oidc/v1/token", {}, headers, body))
        assert response.status == status


def test_me(clock: Clock) -> None:
    api = API(Workspace(clock=clock, user="robot@example.com"), clock)

    assert api.ok("GET", "/api/2.0/preview/scim/v2/Me")["userName"] == "robot@example.com"
    assert api.create()["creator"] == "robot@example.com"


def test_the_write_limit(clock: Clock) -> None:
    api = API(Workspace(clock=clock, write_limit=WriteLimit(3, 300)), clock)
    api.create("a")
    clock.pass_by(100)
    api.ok("PATCH", "a/tags", {})
    api.refused("POST", "", {})  # refused for its body, and counted all the same

    response = api.send("PUT", "a/ai-gateway", {})
    assert response.status == 429
    assert response.headers["retry-after"] == "200"
    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["error_code"] == "REQUEST_LIMIT_EXCEEDED"
    identifier = api.ok("GET", "a")["id"]
    api.ok("GET", "")
    api.ok("PATCH", f"/api/2.0/permissions/serving-endpoints/{identifier}", {})
    clock.pass_by(199)
    assert api.refused("PUT", "a/ai-gateway", {})[0] == 429
    clock.pass_by(1)
    api.ok("PUT", "a/ai-gateway", {})
    assert api.send("PUT", "a/ai-gateway", {}).headers["retry-after"] == "100"
    api.ok("DELETE", "a")


def test_every_write_of_endpoints_spends(clock: Clock) -> None:
    spending = {f"{route.method} {'/'.join(route.path[3:])}" for route in routes.ROUTES if route.spends}

    assert spending == {
        "POST ",
        "POST pt",
        "PUT {}/config",
        "PUT pt/{}/config",
        "PATCH {}/tags",
        "PUT {}/rate-limits",
        "PUT {}/ai-gateway",
        "PATCH {}/notifications",
        "PATCH {}/telemetry-config",
    }
