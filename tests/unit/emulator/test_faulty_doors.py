"""Broken answers at both doors: over sockets and in process a client sees the same."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests
import requests.exceptions as rx

from reconciler.emulator import Workspace
from reconciler.emulator.adapter import EmulatorAdapter
from reconciler.emulator.testing import running
from reconciler.emulator.troubled import Troubled

TOKEN = {"Authorization": "Bearer x"}
PATH = "/api/2.0/serving-endpoints"


class Door:
    """A way to a workspace with faults."""

    def __init__(self, session: requests.Session, url: str, workspace: Workspace) -> None:
        self.session, self.url, self.workspace = session, url, workspace

    def ask(
        self, method: str = "GET", path: str = "", timeout: float = 2.0, **more: object
    ) -> requests.Response:
        return self.session.request(
            method, f"{self.url}{PATH}{path}", headers=TOKEN, timeout=timeout, allow_redirects=False, **more
        )  # type: ignore[arg-type]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.workspace.store.stamps()]


Opened = Callable[..., "contextmanager[Door]"]


@contextmanager
def over_http(*faults: str) -> Iterator[Door]:
    with running(faults=faults) as server, requests.Session() as session:
        yield Door(session, server.url, server.workspace)


@contextmanager
def in_process(*faults: str) -> Iterator[Door]:
    workspace = Workspace()
    with requests.Session() as session:
        session.mount("http://local", EmulatorAdapter(Troubled(workspace, faults)))
        yield Door(session, "http://local", workspace)
    workspace.close()


@pytest.fixture(params=[over_http, in_process], ids=["http", "in-process"])
def door(request: pytest.FixtureRequest) -> Opened:
    opened: Opened = request.param
    return opened


@pytest.mark.parametrize(
    ("fault", "raised", "names"),
    [
        ("reset-before@create#1", rx.ConnectionError, []),
        ("reset-after@create#1", rx.ConnectionError, ["one"]),
        ("reset-during@create#1", rx.ChunkedEncodingError, ["one"]),
        ("timeout=0.05@create#1", rx.ConnectionError, []),
        ("timeout=0.05:acted@create#1", rx.ConnectionError, ["one"]),
        ("timeout=5@create#1", rx.ReadTimeout, []),
    ],
)
def test_a_broken_answer_raises_and_the_next_is_whole(
    door: Opened, fault: str, raised: type[Exception], names: list[str]
) -> None:
    with door(fault) as opened:
        with pytest.raises(raised):
            opened.ask("POST", json={"name": "one"}, timeout=0.3)
        assert opened.names == names
        assert opened.ask().status_code == 200
        assert opened.ask("GET", "/one").status_code == (200 if names else 404)


def test_a_client_that_gives_up_does_not_disturb_the_server(door: Opened) -> None:
    with door("timeout=30@get") as opened:
        for _ in range(3):
            with pytest.raises(rx.ReadTimeout):
                opened.ask("GET", "/one", timeout=0.05)
        assert opened.ask().status_code == 200


@pytest.mark.parametrize("acted", [False, True])
def test_a_server_that_leaves_refuses_and_comes_back(door: Opened, acted: bool) -> None:
    with door(f"refuse=0.4{':acted' if acted else ''}@create#1") as opened:
        if acted:
            assert opened.ask("POST", json={"name": "one"}).status_code == 200
        else:
            with pytest.raises(rx.ConnectionError, match="reset"):
                opened.ask("POST", json={"name": "one"})
        assert opened.names == (["one"] if acted else [])
        with pytest.raises(rx.ConnectionError, match="refused"):
            opened.ask()
        until = time.monotonic() + 10
        while True:
            try:
                assert opened.ask().status_code == 200
                break
            except rx.ConnectionError:
                assert time.monotonic() < until
                time.sleep(0.05)


def test_a_truncated_answer_has_the_length_it_says(door: Opened) -> None:
    with door("truncated@list") as opened:
        found = opened.ask()
        with pytest.raises(rx.JSONDecodeError):
            found.json()


def test_a_stream_breaks_off(door: Opened) -> None:
    from tests.unit.emulator.conftest import external

    with door("reset-during@query") as opened:
        opened.ask("POST", json={"name": "chat", "config": external()})
        query = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
        url = f"{opened.url}/serving-endpoints/chat/invocations"
        with pytest.raises((rx.ConnectionError, rx.ChunkedEncodingError)):
            _ = opened.session.post(url, json=query, headers=TOKEN, timeout=2).content


def test_what_was_asked_what_acted_and_what_struck_is_told() -> None:
    with running(faults=["500@create#1"]) as server:
        statuses = [
            requests.post(server.url + PATH, json={"name": "one"}, headers=TOKEN, timeout=5).status_code
            for _ in range(2)
        ]
        assert statuses == [500, 200]
        assert server.count("POST") == 2
        assert [entry.method for entry in server.acted] == ["POST"]
        assert [struck.spec for struck in server.struck] == ["500@create#1"]


def test_the_command_serves_with_faults_and_tells_its_seed() -> None:
    words = ["--port", "0", "--db", ":memory:", "--fault", "503@list#1", "--fault", "429@get%0.5"]
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", "emulator", "serve", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            url = process.stdout.readline().split()[-1]
            told = process.stderr.readline()
            assert told.startswith("faults: 503@list#1, 429@get%0.5 (--seed ")
            statuses = [requests.get(url + PATH, headers=TOKEN, timeout=5).status_code for _ in range(2)]
            assert statuses == [503, 200]
        finally:
            process.terminate()


def test_a_wrong_fault_is_told_and_nothing_is_served() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "emulator", "serve", "--fault", "500@confg"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "did you mean config?" in done.stderr
