"""The client of OpenAI: its settings, its refusals, its login. Requests are compared in test_parity.py."""

from __future__ import annotations

import os
from typing import Any

import pytest
import requests

from reconciler import errors
from reconciler.client import OpenAIDeploymentClient
from tests.unit.client.wire import CANARY, Server, answer

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> OpenAIDeploymentClient:
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("OPENAI_API_BASE", f"{server.url}/v1/")
    monkeypatch.setattr("reconciler.client.http.backoff", lambda repeat, chance: 0.0)
    return OpenAIDeploymentClient()


def test_the_base_url_holds_for_every_call(server: Server, client: OpenAIDeploymentClient) -> None:
    server.otherwise = answer(200, {"data": []})
    client.list_endpoints()
    client.get_endpoint("ft:gpt/x")
    client.predict(endpoint="gpt-4o", inputs={**HELLO, "temperature": 0})
    assert [seen.path for seen in server.seen] == [
        "/v1/models",
        "/v1/models/ft%3Agpt%2Fx",
        "/v1/chat/completions",
    ]
    assert server.seen[-1].json == {**HELLO, "temperature": 0, "model": "gpt-4o"}


def test_settings_are_read_with_every_call(
    server: Server, client: OpenAIDeploymentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.list_endpoints()
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    client.list_endpoints()
    first, second = (seen.headers for seen in server.seen)
    assert (first["authorization"], "openai-organization" in first) == (f"Bearer {CANARY}", False)
    assert second["authorization"] == "Bearer another"
    assert (second["openai-organization"], second["openai-project"]) == ("org-1", "proj-1")


def test_without_settings_it_is_the_public_host(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL", "OPENAI_API_TYPE"):
        monkeypatch.delenv(name, raising=False)
    assert OpenAIDeploymentClient().host == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert OpenAIDeploymentClient().host == server.url


def test_a_refusal_in_the_words_of_openai(server: Server, client: OpenAIDeploymentClient) -> None:
    said = {"error": {"message": f"Incorrect API key provided: {CANARY}", "code": "invalid_api_key"}}
    server.otherwise = answer(401, said)
    with pytest.raises(requests.HTTPError) as caught:
        client.predict(endpoint="gpt-4o", inputs=HELLO)
    assert isinstance(caught.value, errors.APIError)
    assert (caught.value.status, caught.value.error_code) == (401, "invalid_api_key")
    assert CANARY not in str(caught.value) + caught.value.response.text
    assert len(server.seen) == 1


@pytest.mark.parametrize("inputs", [None, {}, [], {"prompt": "x"}])
def test_a_query_without_messages(server: Server, client: OpenAIDeploymentClient, inputs: Any) -> None:
    with pytest.raises(errors.UsageError, match="needs messages"):
        client.predict(endpoint="gpt-4o", inputs=inputs)
    with pytest.raises(errors.UsageError, match="needs the name of a model"):
        client.predict(inputs=HELLO)
    assert server.seen == []


@pytest.mark.parametrize("answered", [[], {"object": "list"}, {"data": {}}])
def test_an_answer_without_models_proves_no_login(
    server: Server, client: OpenAIDeploymentClient, answered: Any
) -> None:
    server.otherwise = answer(200, answered)
    with pytest.raises(errors.BadAnswer):
        client.prove_login()
