"""The door over HTTP: one process, one thread, many clients."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from reconciler.emulator import server
from reconciler.emulator.testing import RunningEmulator, running
from reconciler.errors import UsageError
from tests.unit.emulator.conftest import external

PATH = "/api/2.0/serving-endpoints"
TOKEN = {"Authorization": "Bearer x"}


@pytest.fixture(scope="module")
def emulator() -> Iterator[RunningEmulator]:
    with running() as emulator:
        yield emulator


def test_answers_and_records(emulator: RunningEmulator) -> None:
    before = emulator.count("POST")
    made = requests.post(emulator.url + PATH, json={"name": "one"}, headers=TOKEN, timeout=5)
    found = requests.get(f"{emulator.url}{PATH}/one", headers=TOKEN, timeout=5)

    assert made.status_code == found.status_code == 200
    assert found.json()["name"] == "one"
    assert found.headers["content-type"] == "application/json"
    assert found.headers["x-request-id"]
    assert emulator.count("POST") == before + 1
    assert emulator.count("GET", "serving-endpoints/one") == 1
    assert json.loads(emulator.log[-2].body) == {"name": "one"}
    assert emulator.log[-1][:2] == ("GET", f"{PATH}/one")


def test_links_name_the_host_that_was_asked(emulator: RunningEmulator) -> None:
    answer = requests.get(f"{emulator.url}/.well-known/databricks-config", timeout=5).json()

    assert answer["oidc_endpoint"] == f"{emulator.url}/oidc"


def test_a_stream_comes_in_chunks(emulator: RunningEmulator) -> None:
    requests.post(emulator.url + PATH, json={"name": "chat", "config": external()}, headers=TOKEN, timeout=5)
    query = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    url = f"{emulator.url}/serving-endpoints/chat/invocations"

    with requests.post(url, json=query, headers=TOKEN, timeout=5, stream=True) as response:
        assert response.headers["transfer-encoding"] == "chunked"
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == b"data: [DONE]"
    assert len(lines) > 3


def test_a_connection_is_kept_and_small_answers_are_not_held_back(emulator: RunningEmulator) -> None:
    host, port = emulator.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        connection.request("GET", "/.well-known/databricks-config")
        connection.getresponse().read()
        times.append(time.perf_counter() - begun)
    connection.close()

    # A delayed ACK costs 40 ms on every one of them, a busy machine only on some.
    assert sorted(times)[len(times) // 2] < 0.02


def test_a_body_above_the_limit_is_refused_before_it_is_read_whole(emulator: RunningEmulator) -> None:
    host, port = emulator.url.removeprefix("http://").split(":")
    before = len(emulator.log)
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**9}\r\n\r\n".encode())
        for _ in range(16):
            client.sendall(b" " * 1024 * 1024)
        client.sendall(b" ")
        assert client.recv(100).startswith(b"HTTP/1.1 413")
    assert len(emulator.log) == before


def test_half_a_body_is_no_request(emulator: RunningEmulator) -> None:
    """The empty beginning of a PUT would clear the AI gateway."""
    gateway = {"usage_tracking_config": {"enabled": True}}
    body = {"name": "half", "ai_gateway": gateway}
    requests.post(emulator.url + PATH, json=body, headers=TOKEN, timeout=5)
    host, port = emulator.url.removeprefix("http://").split(":")
    before = len(emulator.log)
    with socket.create_connection((host, int(port)), timeout=10) as client:
        lines = [f"PUT {PATH}/half/ai-gateway HTTP/1.1", "Host: x", "Authorization: x", "Content-Length: 9"]
        client.sendall("\r\n".join([*lines, "", ""]).encode())
    for _ in range(5):
        found = requests.get(f"{emulator.url}{PATH}/half", headers=TOKEN, timeout=5).json()
        assert found["ai_gateway"] == gateway
    assert [entry.method for entry in emulator.log[before:]] == ["GET"] * 5


def test_requests_wait_for_the_latency_side_by_side() -> None:
    with running(latency=0.2) as emulator, ThreadPoolExecutor(32) as pool:
        begun = time.perf_counter()
        url = emulator.url + PATH
        answers = list(
            pool.map(lambda _: requests.get(url, headers=TOKEN, timeout=10).status_code, range(32))
        )
        elapsed = time.perf_counter() - begun

    assert answers == [200] * 32
    assert 0.2 <= elapsed < 2.0, "one after another would take 6.4 seconds"


def test_a_stopped_emulator_frees_its_port() -> None:
    with running() as emulator:
        port = int(emulator.url.rsplit(":", 1)[1])
    with pytest.raises(requests.ConnectionError):
        requests.get(emulator.url, timeout=5)
    server.listening_socket("127.0.0.1", port).close()


def test_only_loopback_addresses() -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.com"):
        with pytest.raises(UsageError, match="not a loopback address"):
            server.listening_socket(host, 0)
    for host in ("127.0.0.1", "localhost"):
        server.listening_socket(host, 0).close()


def test_a_port_in_use() -> None:
    with running() as emulator:
        port = int(emulator.url.rsplit(":", 1)[1])
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            server.listening_socket("127.0.0.1", port)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    with pytest.raises(UsageError) as caught:
        server.serve(":memory:")
    assert "reconciler[emulator]" in caught.value.fix


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "reconciler.emulator", "--port", "0", *arguments]
    running_process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert running_process.stdout is not None
        line = running_process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        yield running_process, line.removeprefix("listening on ").strip()
    finally:
        running_process.kill()
        running_process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_serves_a_file_and_stops_when_told(tmp_path: Path, number: int) -> None:
    path = tmp_path / "new" / "w.db"
    with process("--db", str(path), "--provisioning", "2m", "--write-limit", "1/5m") as (emulator, url):
        made = requests.post(url + PATH, json={"name": "one", "config": external()}, headers=TOKEN, timeout=5)
        assert made.status_code == 200
        found = requests.get(f"{url}{PATH}/one", headers=TOKEN, timeout=5).json()
        assert found["state"]["config_update"] == "IN_PROGRESS"
        refused = requests.put(f"{url}{PATH}/one/ai-gateway", headers=TOKEN, timeout=5)
        assert refused.status_code == 429

        emulator.send_signal(number)
        output, errors = emulator.communicate(timeout=10)
        assert emulator.returncode == 0
        assert (output, errors) == ("", "")
    with process("--db", str(path)) as (_, url):
        assert requests.get(f"{url}{PATH}/one", headers=TOKEN, timeout=5).status_code == 200


def test_a_command_line_that_is_wrong() -> None:
    command = [sys.executable, "-m", "reconciler.emulator", "--latency", "slow"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    assert "not a duration" in done.stderr
    assert "Traceback" not in done.stderr
