"""Queries: by share, by task, under limits."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from reconciler.emulator import Response
from tests.unit.emulator.conftest import API, Clock, custom, external

CHAT = {"messages": [{"role": "user", "content": "Hello there"}]}
AT = "/serving-endpoints/one/invocations"


def split(api: API, **shares: int) -> None:
    entities = [{"name": name, "entity_name": "m", "entity_version": "1"} for name in shares]
    routes = [{"served_entity_name": name, "traffic_percentage": share} for name, share in shares.items()]
    api.create(config={"served_entities": entities, "traffic_config": {"routes": routes}})


def served(response: Response) -> str:
    assert response.status == 200, response.body
    return response.headers["served-model-name"]


@pytest.mark.parametrize(
    "shares", [{"a": 100}, {"a": 80, "b": 20}, {"a": 33, "b": 33, "c": 34}, {"a": 1, "b": 99, "c": 0}]
)
def test_any_hundred_requests_in_a_row_are_split_as_the_routes_say(api: API, shares: dict[str, int]) -> None:
    split(api, **shares)
    answers = [served(api.send("POST", AT, {"instances": [1]})) for _ in range(250)]

    for start in (0, 17, 99, 150):
        counted = Counter(answers[start : start + 100])
        assert counted == Counter({name: share for name, share in shares.items() if share})


def test_the_split_is_interleaved(api: API) -> None:
    split(api, a=50, b=50)

    assert len({served(api.send("POST", AT, {"instances": [1]})) for _ in range(2)}) == 2


def test_chat(api: API) -> None:
    api.create(config=external())
    answer = api.ok("POST", AT, CHAT)

    assert answer["object"] == "chat.completion"
    assert answer["model"] == "gpt-4o"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    usage = answer["usage"]
    assert usage["prompt_tokens"] == 2
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_stream(api: API) -> None:
    api.create(config=external())
    response = api.send("POST", AT, {**CHAT, "stream": True})

    assert response.headers["content-type"] == "text/event-stream"
    assert not isinstance(response.body, bytes)
    events = [piece.decode() for piece in response.body]
    assert all(event.startswith("data: ") and event.endswith("\n\n") for event in events)
    assert events.pop() == "data: [DONE]\n\n"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    said = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert said == api.ok("POST", AT, CHAT)["choices"][0]["message"]["content"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "stop"]


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ({"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}}, 2),
        ({"dataframe_records": [{"a": 1}, {"a": 2}, {"a": 3}]}, 3),
        ({"instances": [1]}, 1),
        ({"inputs": [[1], [2]]}, 2),
        ({"inputs": {"a": [1, 2, 3]}}, 3),
        ({"inputs": 1}, 1),
        ({"instances": []}, 0),
    ],
)
def test_tables(api: API, body: Any, rows: int) -> None:
    api.create(config=custom())

    assert len(api.ok("POST", AT, body)["predictions"]) == rows


@pytest.mark.parametrize(
    ("task", "good", "bad"),
    [
        ("llm/v1/chat", CHAT, {"prompt": "a"}),
        ("llm/v1/completions", {"prompt": "a"}, CHAT),
        ("llm/v1/embeddings", {"input": ["a", "b"]}, CHAT),
    ],
)
def test_a_task_takes_its_own_queries(api: API, task: str, good: Any, bad: Any) -> None:
    api.create(config=external(task=task))

    api.ok("POST", AT, good)
    assert api.refused("POST", AT, bad)[0] == 400
    assert api.refused("POST", AT, {})[0] == 400


def test_a_table_that_is_none(api: API) -> None:
    api.create(config=custom())

    assert api.refused("POST", AT, {"dataframe_split": 1})[0] == 400
    assert api.refused("POST", AT, {"instances": {"a": 1}})[0] == 400


def test_one_that_is_not_ready(api: API) -> None:
    api.ok("POST", "", {"name": "one", "config": custom()})

    assert "not ready" in api.refused("POST", AT, {"instances": [1]})[2]


def test_the_old_config_answers_while_the_new_one_is_made(api: API) -> None:
    api.create(config=custom("3"))
    api.ok("PUT", "one/config", custom("4"))

    assert served(api.send("POST", AT, {"instances": [1]})) == "ranker-3"
    api.clock.pass_by(10)
    assert served(api.send("POST", AT, {"instances": [1]})) == "ranker-4"


@pytest.mark.parametrize("section", ["ai_gateway", "rate_limits"])
@pytest.mark.parametrize("key", ["endpoint", "user"])
def test_a_limit_of_calls(api: API, clock: Clock, section: str, key: str) -> None:
    limits = [{"key": key, "calls": 3, "renewal_period": "minute"}]
    api.create(config=external(), **{section: {"rate_limits": limits} if section == "ai_gateway" else limits})
    clock.pass_by(-(clock.now % 60) + 60)

    for _ in range(3):
        api.ok("POST", AT, CHAT)
    response = api.send("POST", AT, CHAT)
    assert response.status == 429
    assert response.headers["retry-after"] == "60"
    clock.pass_by(59)
    assert api.refused("POST", AT, CHAT)[1] == "REQUEST_LIMIT_EXCEEDED"
    clock.pass_by(1)
    api.ok("POST", AT, CHAT)


def test_a_limit_of_tokens(api: API) -> None:
    limits = [{"key": "user", "tokens": 20, "renewal_period": "minute"}]
    api.create(config=external(), ai_gateway={"rate_limits": limits})

    used = api.ok("POST", AT, CHAT)["usage"]["total_tokens"]
    assert used == 11
    api.ok("POST", AT, CHAT)
    assert api.refused("POST", AT, CHAT)[0] == 429


def test_limits_of_others_do_not_count(api: API) -> None:
    limits = [
        {"key": "user", "principal": "someone@example.com", "calls": 1, "renewal_period": "minute"},
        {"key": "service_principal", "principal": "robot", "calls": 1, "renewal_period": "minute"},
        {"key": "user_group", "principal": "others", "calls": 1, "renewal_period": "minute"},
        {"key": "user_group", "principal": "users", "calls": 3, "renewal_period": "minute"},
    ]
    api.create(config=external(), ai_gateway={"rate_limits": limits})

    for _ in range(3):
        api.ok("POST", AT, CHAT)
    assert "user_group" in api.refused("POST", AT, CHAT)[2]


def test_a_limit_of_zero_switches_the_endpoint_off(api: API) -> None:
    api.create(config=external(), ai_gateway={"rate_limits": [{"calls": 0, "renewal_period": "minute"}]})

    assert api.refused("POST", AT, CHAT)[:2] == (403, "PERMISSION_DENIED")


def test_logs_and_metrics_count_what_was_served(api: API) -> None:
    split(api, a=50, b=50)
    for _ in range(4):
        api.send("POST", AT, {"instances": [1]})

    response = api.send("GET", "one/metrics")
    assert isinstance(response.body, bytes)
    lines = response.body.decode().splitlines()
    assert 'request_count_total{endpoint_name="one",served_model_name="a"} 2' in lines
    assert lines[-1] == "# EOF"
    assert "2 requests" in api.ok("GET", "one/served-models/b/logs")["logs"]
    assert api.refused("GET", "one/served-models/c/logs")[0] == 404
    assert set(api.ok("GET", "one/openapi")["paths"]) == {
        "/served-models/a/invocations",
        "/served-models/b/invocations",
    }
