"""HttpSession: what goes over the wire, and what a good answer becomes."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import requests.adapters

from reconciler import errors
from reconciler.client.auth import Credentials, Token
from reconciler.client.http import HttpSession, quote
from reconciler.values import Secret
from tests.unit.client.wire import CANARY, Clock, Server, answer


def test_an_answer_is_its_json(server: Server, session: HttpSession) -> None:
    server.replies = [answer(200, {"name": "chät", "n": [1, 2.5, None]})]
    assert session.request("GET", "/api/2.0/x") == {"name": "chät", "n": [1, 2.5, None]}
    seen = server.seen[0]
    assert (seen.method, seen.path) == ("GET", "/api/2.0/x")
    assert seen.headers["authorization"] == f"Bearer {CANARY}"
    assert seen.headers["accept"] == "application/json"
    assert "content-type" not in seen.headers


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_answer_is_an_empty_object(server: Server, session: HttpSession, body: bytes) -> None:
    server.replies = [answer(200, body)]
    assert session.request("DELETE", "/x") == {}


def test_a_204_is_an_empty_object(server: Server, session: HttpSession) -> None:
    server.replies = [b"HTTP/1.1 204 No Content\r\n\r\n", answer(200, {"next": 1})]
    assert session.request("POST", "/x") == {}
    assert session.request("GET", "/x") == {"next": 1}


def test_what_is_not_an_object_is_passed_up(server: Server, session: HttpSession) -> None:
    server.replies = [answer(200, b"[1, 2]"), answer(200, b'"text"')]
    assert session.request("GET", "/x") == [1, 2]
    assert session.request("GET", "/x") == "text"


def test_compressed_and_chunked_answers_are_read(server: Server, session: HttpSession) -> None:
    packed = gzip.compress(b'{"a": 1}')
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"b"\r\n4\r\n: 2}\r\n0\r\n\r\n'
    server.replies = [answer(200, packed, {"Content-Encoding": "gzip"}), chunked]
    assert session.request("GET", "/x") == {"a": 1}
    assert session.request("GET", "/x") == {"b": 2}
    assert server.connections == 1


def test_text_is_returned_as_it_is(server: Server, session: HttpSession) -> None:
    server.replies = [answer(200, "cpu_usage 0.5 é\n".encode(), {"Content-Type": "text/plain"})]
    assert session.request("GET", "/metrics", text=True) == "cpu_usage 0.5 é\n"
    assert server.seen[0].headers["accept"] == "text/plain"


def test_secrets_are_revealed_only_on_the_wire(server: Server, session: HttpSession) -> None:
    body = {"a": [{"key": Secret("s3cret", "${env:K}")}], "b": "plain"}
    session.request("POST", "/x", json=body)
    assert server.seen[0].json == {"a": [{"key": "s3cret"}], "b": "plain"}
    assert server.seen[0].headers["content-type"] == "application/json"
    assert isinstance(body["a"][0]["key"], Secret)  # type: ignore[index]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), object(), {1, 2}, {Secret("kkkk"): 1}])
def test_a_body_that_is_not_json_is_not_sent(server: Server, session: HttpSession, bad: object) -> None:
    with pytest.raises(errors.UsageError) as caught:
        session.request("POST", "/x", json={"v": bad, "k": Secret(CANARY)})
    assert server.seen == []
    assert CANARY not in str(caught.value)


def test_parameters_and_forms_are_encoded(server: Server, session: HttpSession) -> None:
    session.request("GET", "/x", params={"q": "a b&c", "many": ["1", "2"]})
    session.request("POST", "/x", form={"scope": "all apis"})
    assert server.seen[0].path == "/x?q=a+b%26c&many=1&many=2"
    assert server.seen[1].body == b"scope=all+apis"
    assert server.seen[1].headers["content-type"] == "application/x-www-form-urlencoded"


def test_a_write_without_a_body_says_so(server: Server, session: HttpSession) -> None:
    session.request("POST", "/x")
    assert server.seen[0].headers["content-length"] == "0"


def test_names_become_one_path_segment() -> None:
    assert quote("a/b c?d#é%") == "a%2Fb%20c%3Fd%23%C3%A9%25"
    for name in ("", ".", ".."):
        with pytest.raises(errors.UsageError):
            quote(name)


@pytest.mark.parametrize("path", ["x", "/a b", "/x\r\nHost: evil", "/x?y=1", "/x#y", "//é", ""])
def test_an_unquoted_path_is_not_sent(server: Server, session: HttpSession, path: str) -> None:
    with pytest.raises(errors.UsageError):
        session.request("GET", path)
    assert server.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h",
        "h",
        "http://",
        "http://u:p@h",
        "http://h?x=1",
        "file:///x",
        "http://[x",
        "http://*.h",
        "http://h:port",
    ],
)
def test_only_plain_http_urls_are_targets(url: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        HttpSession(url)
    assert "u:p" not in str(caught.value)


def test_the_base_path_stays(server: Server) -> None:
    HttpSession(f"{server.url}/gateway/").request("GET", "/x")
    assert server.seen[0].path == "/gateway/x"


def test_one_connection_serves_one_thread(server: Server, session: HttpSession) -> None:
    for _ in range(5):
        session.request("GET", "/x")
    session.request("POST", "/x", json={})
    assert server.connections == 1
    assert session.counters == {"GET": 5, "POST": 1}


def test_64_threads_share_a_session(
    server: Server, session: HttpSession, caplog: pytest.LogCaptureFixture
) -> None:
    server.respond = lambda seen: answer(200, {"path": seen.path})
    begin = threading.Barrier(64)

    def ask(n: int) -> bool:
        begin.wait()
        return all(session.request("GET", f"/x{n}-{i}") == {"path": f"/x{n}-{i}"} for i in range(5))

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(ask, range(64)))
    assert session.counters == {"GET": 320}
    assert server.connections <= 64
    assert "pool is full" not in caplog.text


def test_the_proxy_of_the_environment_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    HttpSession("http://workspace.invalid").request("GET", "/x")
    assert server.seen[0].path == "http://workspace.invalid/x"
    assert server.seen[0].headers["host"] == "workspace.invalid"


def test_no_proxy_is_honoured(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert HttpSession(server.url).request("GET", "/x") == {}


def test_the_environment_is_read_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    session = HttpSession(server.url)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert session.request("GET", "/x") == {}


def test_a_missing_ca_bundle_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(errors.UsageError, match=r"/nowhere/ca\.pem"):
        HttpSession("https://workspace.invalid")


class Recorder(requests.adapters.BaseAdapter):
    """An adapter that keeps how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, object]] = []

    def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:  # type: ignore[override]
        self.calls.append({"url": request.url, **options})
        response = requests.Response()
        response.status_code = 200
        response.request = request
        response._content = b'{"from": "adapter"}'
        return response

    def close(self) -> None:
        pass


def test_an_adapter_answers_instead_of_the_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    adapter = Recorder()
    session = HttpSession("https://local.invalid", adapter=adapter)
    assert session.request("GET", "/x") == {"from": "adapter"}
    assert adapter.calls[0]["url"] == "https://local.invalid/x"
    assert adapter.calls[0]["verify"] == str(bundle)


@pytest.mark.parametrize(("given", "asked"), [(None, (10.0, 120.0)), ("30", (10.0, 30.0)), ("4", (4.0, 4.0))])
def test_timeouts_come_from_mlflows_variable(
    monkeypatch: pytest.MonkeyPatch, given: str | None, asked: tuple[float, float]
) -> None:
    if given is not None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", given)
    adapter = Recorder()
    HttpSession("http://local.invalid", adapter=adapter).request("GET", "/x")
    assert adapter.calls[0]["timeout"] == asked


@pytest.mark.parametrize("given", ["soon", "0", "-1", "inf", "nan"])
def test_a_timeout_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", given)
    with pytest.raises(errors.UsageError, match="MLFLOW_HTTP_REQUEST_TIMEOUT"):
        HttpSession("http://local.invalid")


class Renewable(Credentials):
    """Credentials whose second token is the good one."""

    def __init__(self, hopeful: bool = True) -> None:
        self.tokens = ["first", "second", "third"]
        self.hopeful = hopeful
        self.refusals: list[str] = []

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[0]}"}

    def describe(self) -> str:
        return "a renewable token"

    def refused(self, headers: object) -> bool:
        self.refusals.append(dict(headers)["Authorization"])  # type: ignore[call-overload]
        self.tokens.pop(0)
        return self.hopeful


def test_a_401_is_repeated_once_with_new_credentials(server: Server) -> None:
    server.replies = [answer(401)]
    credentials = Renewable()
    assert HttpSession(server.url, credentials=credentials).request("POST", "/x", json={"a": 1}) == {}
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer first", "Bearer second"]
    assert [seen.json for seen in server.seen] == [{"a": 1}, {"a": 1}]
    assert credentials.refusals == ["Bearer first"]


def test_a_second_401_is_final(server: Server) -> None:
    server.otherwise = answer(401)
    with pytest.raises(errors.Unauthenticated):
        HttpSession(server.url, credentials=Renewable()).request("GET", "/x")
    assert len(server.seen) == 2


def test_a_401_is_final_for_credentials_that_do_not_change(server: Server, session: HttpSession) -> None:
    server.otherwise = answer(401)
    with pytest.raises(errors.Unauthenticated):
        session.request("GET", "/x")
    assert len(server.seen) == 1


class Broken(Credentials):
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {CANARY}\r\nX-Evil: 1"}

    def describe(self) -> str:
        return "broken"


def test_a_credential_that_breaks_a_header_is_not_sent(server: Server) -> None:
    with pytest.raises(errors.AuthError) as caught:
        HttpSession(server.url, credentials=Broken()).request("GET", "/x")
    assert server.seen == []
    assert CANARY not in str(caught.value)


def test_the_debug_log_says_what_was_asked_and_no_more(
    server: Server, session: HttpSession, caplog: pytest.LogCaptureFixture
) -> None:
    server.replies = [answer(200, {"answer": "ANSWER-BODY"})]
    with caplog.at_level(logging.DEBUG):
        session.request("POST", "/x", json={"k": Secret("BODY-SECRET")}, params={"q": "QUERY"})
    ours = [r.getMessage() for r in caplog.records if r.name == "reconciler.client"]
    assert ours == ["POST /x 200 0 ms"]
    for hidden in (CANARY, "BODY-SECRET", "ANSWER-BODY"):
        assert hidden not in caplog.text


def test_reprs_hold_no_credential(session: HttpSession, clock: Clock) -> None:
    for value in (session, session.credentials, Token(CANARY), vars(Token(CANARY))):
        assert CANARY not in repr(value)


def test_the_package_does_not_import_requests() -> None:
    code = "import sys, reconciler.client as c; c.get_deploy_client; print('requests' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
