"""The ways through a company's network: proxies, its own authority, client certificates. Loopback only."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import trustme
from requests.adapters import BaseAdapter

from reconciler import errors
from reconciler.client.auth import ClientSecret, Token, client_certificate
from reconciler.client.http import HttpSession
from tests.unit.client.wire import CANARY, Clock, Seen, Server, answer, refusal


class Proxy:
    """Records the first line and the headers of what it is asked; tunnels every CONNECT to ``to``."""

    def __init__(self, to: str) -> None:
        host, _, port = to.partition(":")
        self._to = (host, int(port))
        self.asked: list[str] = []
        self.heads: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self._open: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = connection.recv(1)
            if not piece:
                return
            head += piece
        self.heads.append(head.decode())
        self.asked.append(head.decode().split(" HTTP/")[0])
        with socket.create_connection(self._to) as upstream:
            self._open.append(upstream)
            if head.startswith(b"CONNECT"):
                connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                upstream.sendall(head)
            back = threading.Thread(target=_pump, args=(upstream, connection), daemon=True)
            back.start()
            _pump(connection, upstream)
            back.join()
        connection.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(autouse=True)
def no_client_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECONCILER_CLIENT_CERT", raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A company's own authority."""
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture
def serve(authority: trustme.CA) -> Iterator[Callable[..., Server]]:
    """Starts a server with a certificate of the authority; ``https`` is its address."""
    servers = []

    def start(
        asks_for_certificate: bool = False, name: str = "127.0.0.1", maximum: ssl.TLSVersion | None = None
    ) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = maximum or ssl.TLSVersion.MAXIMUM_SUPPORTED
        authority.issue_cert(name).configure_cert(context)
        if asks_for_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            authority.configure_trust(context)
        servers.append(Server(wrap=context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def https(server: Server) -> str:
    return f"https://{server.host}"


# -- an authority of one's own -----------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_bundle_of_the_environment_is_trusted(
    serve: Callable[..., Server], bundle: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, bundle)
    assert HttpSession(https(serve())).request("GET", "/x") == {}


def test_without_it_the_remedy_is_told_and_nothing_is_sent(
    serve: Callable[..., Server], clock: Clock
) -> None:
    server = serve()
    session = HttpSession(https(server), credentials=Token(CANARY), sleep=clock.sleep, now=clock.now)
    with pytest.raises(errors.ConnectionFailed) as caught:
        session.request("PUT", "/x", json={})
    assert caught.value.what == f"the certificate of {server.host} is not trusted"
    assert "unable to get local issuer certificate" in caught.value.why
    assert caught.value.fix.startswith("set REQUESTS_CA_BUNDLE to a file")
    assert (server.seen, clock.waits) == ([], [])


def test_a_certificate_for_another_name_is_not_trusted(
    serve: Callable[..., Server], bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    with pytest.raises(requests.exceptions.SSLError, match="is not trusted"):
        HttpSession(https(serve(name="other.example"))).request("GET", "/x")


# -- client certificates -----------------------------------------------------------------------------------


def test_a_client_certificate_is_shown(
    serve: Callable[..., Server],
    authority: trustme.CA,
    bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    mine = authority.issue_cert("me@example.com")
    one, cert, key = tmp_path / "one.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    mine.private_key_and_cert_chain_pem.write_to_path(one)
    mine.cert_chain_pems[0].write_to_path(cert)
    mine.private_key_pem.write_to_path(key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    server = serve(asks_for_certificate=True)
    for value in (str(one), f"{cert}, {key}"):
        monkeypatch.setenv("RECONCILER_CLIENT_CERT", value)
        assert HttpSession(https(server)).request("GET", "/x") == {}
    assert len(server.seen) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_misses_one_is_named(
    serve: Callable[..., Server], bundle: str, monkeypatch: pytest.MonkeyPatch, method: str, clock: Clock
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    # In TLS 1.3 the server says so only after the client has begun to send.
    server = serve(asks_for_certificate=True, maximum=ssl.TLSVersion.TLSv1_2)
    session = HttpSession(https(server), sleep=clock.sleep, now=clock.now)
    with pytest.raises(errors.ConnectionFailed, match="refused the TLS handshake") as caught:
        session.request(method, "/x")
    assert "RECONCILER_CLIENT_CERT" in caught.value.fix
    assert isinstance(caught.value, requests.exceptions.SSLError)
    assert (server.seen, clock.waits) == ([], [])


class Alert(BaseAdapter):
    """Fails as TLS 1.3 does where the server waits for the client to read its alert."""

    def send(self, request: object, **options: object) -> requests.Response:  # type: ignore[override]
        words = "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)"
        raise requests.exceptions.SSLError(ssl.SSLError(1, words))

    def close(self) -> None:
        pass


def test_the_alert_of_tls_1_3_is_understood(clock: Clock) -> None:
    session = HttpSession("https://a.example", adapter=Alert(), sleep=clock.sleep, now=clock.now)
    with pytest.raises(errors.ConnectionFailed, match="refused the TLS handshake"):
        session.request("POST", "/x", json={})
    assert clock.waits == []


@pytest.mark.parametrize("value", ["/nowhere.pem", "/nowhere.pem,/nowhere.key", ",", "a,b,c"])
def test_a_client_certificate_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RECONCILER_CLIENT_CERT", value)
    with pytest.raises(errors.UsageError, match="RECONCILER_CLIENT_CERT: there is no file"):
        HttpSession("https://127.0.0.1")


def test_none_is_the_usual_case(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client_certificate() is None
    monkeypatch.setenv("RECONCILER_CLIENT_CERT", " ")
    assert client_certificate() is None


# -- proxies -----------------------------------------------------------------------------------------------


def test_https_goes_through_the_tunnel_of_the_proxy(
    serve: Callable[..., Server], bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(name="workspace.example")
    proxy = Proxy(server.host)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:pw@{proxy.host}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    session = HttpSession("https://workspace.example", credentials=Token(CANARY))
    assert session.request("GET", "/x") == {}
    assert proxy.asked == ["CONNECT workspace.example:443"]
    assert "proxy-authorization: basic dxnlcjpwdw==" in proxy.heads[0].lower()
    assert CANARY not in proxy.heads[0]  # the proxy sees no credential of the workspace
    assert server.seen[0].headers["authorization"] == f"Bearer {CANARY}"
    session.close()
    proxy.close()


def test_http_is_handed_to_the_proxy_as_a_whole(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(server.host)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    session = HttpSession("http://workspace.example")
    assert session.request("GET", "/x") == {}
    assert proxy.asked == ["GET http://workspace.example/x"]
    session.close()
    proxy.close()


def test_no_proxy_goes_straight(
    serve: Callable[..., Server], bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    proxy = Proxy(server.host)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,other.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    assert HttpSession(https(server)).request("GET", "/x") == {}
    assert proxy.asked == []
    proxy.close()


def test_tokens_are_fetched_by_the_same_way(
    serve: Callable[..., Server],
    authority: trustme.CA,
    bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The token route: through the proxy, with the company's authority and our certificate."""
    authority.issue_cert("me@example.com").private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    server = serve(asks_for_certificate=True, name="workspace.example")

    def reply(seen: Seen) -> bytes:
        if seen.method == "POST":
            return answer(200, {"access_token": "t", "token_type": "Bearer", "expires_in": 3600})
        return refusal(404)

    server.respond = reply
    proxy = Proxy(server.host)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    monkeypatch.setenv("RECONCILER_CLIENT_CERT", str(tmp_path / "me.pem"))
    credentials = ClientSecret("https://workspace.example", "id", CANARY)
    assert credentials.headers() == {"Authorization": "Bearer t"}
    assert proxy.asked == ["CONNECT workspace.example:443"] * 2
    proxy.close()
