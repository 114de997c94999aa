"""The door in process: what a ``requests`` session sees."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from reconciler.emulator import Handler, Request, Response, Workspace
from reconciler.emulator.adapter import EmulatorAdapter
from tests.unit.emulator.conftest import external

URL = "http://local/api/2.0/serving-endpoints"


def session_of(handler: Handler, **options: Any) -> requests.Session:
    session = requests.Session()
    session.mount("http://local", EmulatorAdapter(handler, **options))
    session.headers["Authorization"] = "Bearer x"
    return session


@pytest.fixture
def session(workspace: Workspace) -> Iterator[requests.Session]:
    with session_of(workspace) as session:
        yield session


class Recorder:
    """Answers the same always and keeps what was asked."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.seen: list[Request] = []

    def handle(self, request: Request) -> Response:
        self.seen.append(request)
        return self.response


def test_json_both_ways(session: requests.Session) -> None:
    made = session.post(URL, json={"name": "one", "description": "ä"})

    assert made.status_code == 200
    assert made.reason == "OK"
    assert made.url == URL
    assert made.headers["Content-Type"] == "application/json"
    assert made.headers["X-Request-Id"]
    assert made.request.method == "POST"
    assert session.get(f"{URL}/one").json()["description"] == "ä"


def test_an_error_is_raised_as_by_any_server(session: requests.Session) -> None:
    response = session.get(f"{URL}/none")

    with pytest.raises(requests.HTTPError, match="404 Client Error"):
        response.raise_for_status()
    assert response.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_what_the_workspace_is_given() -> None:
    recorder = Recorder(Response(200, {}, b"{}"))
    session = session_of(recorder)

    session.put("http://local/a%2Fb/c?x=1&y=", data="text", headers={"X-Name": "value"})
    session.post("http://local/", data=iter([b"a", b"b"]))

    request = recorder.seen[0]
    assert (request.method, request.path) == ("PUT", "/a%2Fb/c")
    assert request.query == {"x": "1", "y": ""}
    assert request.headers["x-name"] == "value"
    assert request.headers["authorization"] == "Bearer x"
    assert request.base_url == "http://local"
    assert request.body == b"text"
    assert recorder.seen[1].body == b"ab"


def test_a_stream_arrives_piece_by_piece_and_can_be_left() -> None:
    made: list[int] = []
    ended: list[bool] = []

    def pieces() -> Iterator[bytes]:
        try:
            for number in range(5):
                made.append(number)
                yield f"data: {number}\n\n".encode()
        finally:
            ended.append(True)

    streaming = session_of(Recorder(Response(200, {"content-type": "text/event-stream"}, pieces())))
    response = streaming.get("http://local/", stream=True)
    lines = response.iter_lines(chunk_size=1)
    assert next(lines) == b"data: 0"
    assert made == [0]
    response.close()
    assert ended == [True]


def test_a_stream_of_the_emulator(session: requests.Session, workspace: Workspace) -> None:
    workspace.provisioning = 0
    session.post(URL, json={"name": "one", "config": external()})
    query = {"messages": [{"role": "user", "content": "hi"}], "stream": True}

    with session.post("http://local/serving-endpoints/one/invocations", json=query, stream=True) as response:
        lines = [line for line in response.iter_lines(decode_unicode=True) if line]
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: "))["model"] == "gpt-4o" for line in lines[:-1])


def test_latency_and_timeout(workspace: Workspace) -> None:
    session = session_of(workspace, latency=0.05)

    begun = time.perf_counter()
    session.get(URL)
    assert time.perf_counter() - begun >= 0.05
    with pytest.raises(requests.ReadTimeout):
        session.post(URL, json={"name": "one"}, timeout=(5, 0.01))
    assert workspace.store.count() == 1, "it was carried out; only its answer is lost"


def test_the_workspaces_own_latency_counts_when_none_is_given() -> None:
    assert EmulatorAdapter(Workspace(latency=0.5)).latency == 0.5
    assert EmulatorAdapter(Workspace(latency=0.5), latency=0).latency == 0


def test_closing_the_session_leaves_the_workspace_open(workspace: Workspace) -> None:
    with session_of(workspace) as session:
        session.post(URL, json={"name": "one"})

    assert session_of(workspace).get(f"{URL}/one").status_code == 200
