"""Streams that are slow, cut, odd or endless: each gives its parts or a clear error, none hangs."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from reconciler import errors
from reconciler.client import DatabricksDeploymentClient, MlflowDeploymentClient, OpenAIDeploymentClient
from reconciler.client.auth import Token
from reconciler.client.queries import SSE_FIELDS, parts

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PLAIN = HEAD + b"Connection: close\r\n\r\n"
END = b"0\r\n\r\n"
GUARD = 20.0  # seconds after which a test has hung


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Streamer:
    """Answers one request with ``script``: bytes are sent, an Event is waited for, None resets."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.script: list[bytes | threading.Event | None] = []
        self.body: Any = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as stream:
                length = 0
                while (line := stream.readline().strip().lower()) != b"":
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                self.body = json.loads(stream.read(length))
                for step in self.script:
                    if isinstance(step, threading.Event):
                        step.wait(GUARD)
                    elif step is None:
                        linger = struct.pack("ii", 1, 0)
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    else:
                        connection.sendall(step)

    def close(self) -> None:
        for step in self.script:
            if isinstance(step, threading.Event):
                step.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(GUARD)
        self._listener.close()


@pytest.fixture
def streamer() -> Iterator[Streamer]:
    streamer = Streamer()
    yield streamer
    streamer.close()


Ask = Callable[[], Iterator[Any]]


@pytest.fixture(params=["databricks", "mlflow", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(kind: str, streamer: Streamer, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """``predict_stream`` of each client, pointed at the streamer."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("OPENAI_API_BASE", f"{streamer.url}/v1")
    monkeypatch.setenv("MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT", str(GUARD))
    client: Any = {
        "databricks": lambda: DatabricksDeploymentClient(host=streamer.url, credentials=Token("t")),
        "mlflow": lambda: MlflowDeploymentClient(streamer.url),
        "openai": OpenAIDeploymentClient,
    }[kind]()
    return lambda: client.predict_stream(endpoint="chat", inputs={"messages": []})


def test_each_part_is_given_before_the_next_is_sent(ask: Ask, streamer: Streamer) -> None:
    first, second = threading.Event(), threading.Event()
    streamer.script = [
        CHUNKED + chunk(b'data: {"n": 1}\n\n'),
        first,
        chunk(b'data: {"n": 2}\n\n'),
        second,
        chunk(b"data: [DONE]\n\n") + END,
    ]
    found = ask()
    assert next(found) == {"n": 1}
    first.set()
    assert next(found) == {"n": 2}
    second.set()
    assert list(found) == []
    assert streamer.body["stream"] is True


@pytest.mark.parametrize("cut", [3, 9, 17, 18, 19, 26])
def test_a_chunk_may_end_inside_a_line_and_inside_a_character(ask: Ask, streamer: Streamer, cut: int) -> None:
    text = 'data: {"said": "grüßt"}\n\n'.encode()
    assert text[:19].decode(errors="ignore").encode() != text[:19]  # 19 is inside a character
    streamer.script = [CHUNKED + chunk(text[:cut]), chunk(text[cut:] or b"\n"), END]
    assert list(ask()) == [{"said": "grüßt"}]


@pytest.mark.parametrize("frame", ["chunked", "plain"])
def test_keep_alive_lines_other_spacing_and_line_ends(ask: Ask, streamer: Streamer, frame: str) -> None:
    text = b': ping\n\n:\n\r\ndata:{"n": 1}\r\n\r\ndata:   {"n": 2}   \n\n: ping\n\ndata:[DONE]\n\n'
    streamer.script = [CHUNKED + chunk(text) + END] if frame == "chunked" else [PLAIN + text]
    assert list(ask()) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("last", [b'data: {"n": 2}\n\n', b'data: {"n": 2}'])
def test_an_end_without_done_is_an_end(ask: Ask, streamer: Streamer, last: bytes) -> None:
    streamer.script = [CHUNKED + chunk(b'data: {"n": 1}\n\n') + chunk(last) + END]
    assert list(ask()) == [{"n": 1}, {"n": 2}]


def test_what_comes_after_done_is_not_waited_for(ask: Ask, streamer: Streamer) -> None:
    streamer.script = [CHUNKED + chunk(b'data: {"n": 1}\n\ndata: [DONE]\n\n'), threading.Event()]
    assert list(ask()) == [{"n": 1}]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("data: {broken", "not JSON"),
        ("data: ", "not JSON"),
        ("hello", "expected 'data: <value>'"),
        ("other: 1", "expected 'data: <value>'"),
        ("data", "expected 'data: <value>'"),
    ],
)
def test_a_line_that_is_no_part_is_named(ask: Ask, streamer: Streamer, line: str, why: str) -> None:
    streamer.script = [CHUNKED + chunk(b'data: {"n": 1}\n\n' + line.encode() + b"\n\n"), threading.Event()]
    found = ask()
    assert next(found) == {"n": 1}
    with pytest.raises(errors.BadAnswer) as caught:
        next(found)
    assert repr(line) in caught.value.what
    assert why in caught.value.why
    assert isinstance(caught.value, requests.RequestException)
    assert list(found) == []


@pytest.mark.parametrize("how", ["closed inside a chunk", "reset", "closed before the last chunk"])
def test_a_connection_that_is_cut(ask: Ask, streamer: Streamer, how: str) -> None:
    begin = CHUNKED + chunk(b'data: {"n": 1}\n\n')
    gate = threading.Event()
    ends: dict[str, list[bytes | threading.Event | None]] = {
        "closed inside a chunk": [b"ff\r\ndata: {"],
        "reset": [gate, None],
        "closed before the last chunk": [],
    }
    streamer.script = [begin, *ends[how]]
    found = ask()
    assert next(found) == {"n": 1}
    gate.set()
    with pytest.raises(errors.AnswerLost, match="broke off") as caught:
        list(found)
    assert isinstance(caught.value, requests.ConnectionError)


def test_a_server_that_falls_silent(ask: Ask, streamer: Streamer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT", "0.2")
    streamer.script = [CHUNKED + chunk(b'data: {"n": 1}\n\n'), threading.Event()]
    found = ask()
    assert next(found) == {"n": 1}
    with pytest.raises(errors.AnswerLost, match="broke off") as caught:
        next(found)
    assert "timed out" in caught.value.why.lower()


def test_a_server_that_only_keeps_alive() -> None:
    """Every line is in time, yet no part comes: the patience for all of it ends."""
    seconds = iter(range(0, 10_000, 60))
    lines = iter([": ping"] * 1000)
    with pytest.raises(errors.AnswerLost, match="no part of the answer within 600 s") as caught:
        list(parts(lines, "/p", patience=600.0, now=lambda: next(seconds)))
    assert isinstance(caught.value, requests.Timeout)
    assert "MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT" in caught.value.fix
    assert len(list(lines)) > 900


def test_keep_alive_lines_between_parts_begin_anew() -> None:
    seconds = iter(range(0, 10_000, 250))
    lines = [": ping", ": ping", "data: 1", ": ping", ": ping", "data: 2"]
    assert list(parts(lines, "/p", patience=600.0, now=lambda: next(seconds))) == [1, 2]


def test_the_servers_own_word_that_it_failed(kind: str, ask: Ask, streamer: Streamer) -> None:
    text = b'data: {"n": 1}\n\ndata: {"error": {"message": "overloaded", "type": "x"}}\n\n'
    streamer.script = [CHUNKED + chunk(text) + END]
    found = ask()
    assert next(found) == {"n": 1}
    if kind == "databricks":  # mlflow's client gives it as a part
        assert next(found)["error"]["message"] == "overloaded"
        return
    with pytest.raises(errors.BadAnswer, match="gave up") as caught:
        next(found)
    assert caught.value.why == "overloaded"


def test_fields_beside_data() -> None:
    lines = ["event: message", "id: 7", "retry: 10", "data: 1"]
    assert list(parts(lines, "/p", patience=9.0, skipped=SSE_FIELDS)) == [1]
    with pytest.raises(errors.BadAnswer, match="'event: message'"):
        list(parts(lines, "/p", patience=9.0))


def test_a_stream_left_early_closes_its_connection(ask: Ask, streamer: Streamer) -> None:
    gate = threading.Event()
    streamer.script = [CHUNKED, chunk(b'data: {"n": 1}\n\n'), gate, *[chunk(b": ping\n" * 9000)] * 500]
    found: Any = ask()
    assert next(found) == {"n": 1}
    found.close()
    gate.set()
    streamer._thread.join(GUARD)
    assert not streamer._thread.is_alive()  # it could not go on sending
