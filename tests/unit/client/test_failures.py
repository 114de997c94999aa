"""HttpSession: what is repeated, what is not, and what every failure becomes."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import pickle
import shutil
import socket
import ssl
import subprocess
import threading
import traceback
from pathlib import Path

import pytest
import requests
import requests.adapters
import requests.exceptions as rx

from reconciler import errors
from reconciler.client import answers, http
from reconciler.client.auth import Token
from reconciler.client.http import HttpSession
from reconciler.client.pacing import WritePacer
from reconciler.values import Secret
from tests.unit.client.test_http import Broken
from tests.unit.client.wire import CANARY, Clock, Close, Drops, Reset, Server, answer, refusal

WRITES = ["POST", "PUT", "PATCH", "DELETE"]
OK = answer(200, {"ok": True})
HTML = b"<html><head><style>p {}</style></head><body><h1>502 Bad   Gateway</h1><p>nginx</p></body></html>"
TYPE_HTML = {"Content-Type": "text/html; charset=utf-8"}


def cut(body: bytes = b'{"ok": tr') -> Close:
    """An answer that ends before its announced length."""
    return Close(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + body)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


# -- statuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "INVALID_PARAMETER_VALUE", errors.InvalidRequest),
        (400, "RESOURCE_ALREADY_EXISTS", errors.AlreadyExists),  # the gateway of MLflow says it so
        (401, "UNAUTHENTICATED", errors.Unauthenticated),
        (403, "PERMISSION_DENIED", errors.PermissionDenied),
        (404, "RESOURCE_DOES_NOT_EXIST", errors.NotFound),
        (409, "RESOURCE_ALREADY_EXISTS", errors.AlreadyExists),
        (409, "RESOURCE_CONFLICT", errors.Conflict),
        (413, "TOO_LARGE", errors.APIError),
        (422, "", errors.InvalidRequest),
        (429, "REQUEST_LIMIT_EXCEEDED", errors.RateLimited),
        (500, "INTERNAL_ERROR", errors.ServerFault),
        (503, "TEMPORARILY_UNAVAILABLE", errors.ServerFault),
    ],
)
def test_a_status_becomes_its_error(
    server: Server, session: HttpSession, status: int, code: str, kind: type[errors.APIError]
) -> None:
    server.otherwise = refusal(status, code, "because", {"x-request-id": "req-7"})
    with pytest.raises(kind) as caught:
        session.request("PUT", "/api/2.0/serving-endpoints/chat/config", json={})
    error = caught.value
    assert isinstance(error, kind)
    assert type(error).__mro__[1] is kind
    assert (error.status, error.error_code, error.message) == (status, code, "because")
    assert (error.method, error.path) == ("PUT", "/api/2.0/serving-endpoints/chat/config")
    assert error.request_id == "req-7"
    assert isinstance(error, requests.HTTPError)
    assert isinstance(error.response, requests.Response)
    assert error.response.status_code == status
    assert error.response.json() == {"error_code": code, "message": "because"}


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"detail": "no such endpoint"}', "", "no such endpoint"),
        (b'{"detail": [{"loc": ["body"]}]}', "", '[{"loc": ["body"]}]'),
        (b'{"error": {"code": "invalid", "message": "bad key"}}', "invalid", "bad key"),
        (b'{"error": "denied"}', "", "denied"),
        (b'{"error": "invalid_client", "error_description": "unknown client"}', "", "unknown client"),
        (b"{}", "", ""),
        (b"[1]", "", "not JSON (application/json): [1]"),
        (b"", "", "not JSON (application/json): nothing"),
        (b"\xff\xfe", "", "not JSON (application/json): ��"),
    ],
)
def test_other_servers_words_are_found(
    server: Server, session: HttpSession, body: bytes, code: str, message: str
) -> None:
    server.replies = [answer(400, body)]
    with pytest.raises(errors.InvalidRequest) as caught:
        session.request("GET", "/x")
    assert (caught.value.error_code, caught.value.message) == (code, message)


def test_a_proxys_page_is_told_in_a_few_words(server: Server, session: HttpSession) -> None:
    server.replies = [answer(404, HTML, TYPE_HTML)]
    with pytest.raises(errors.NotFound) as caught:
        session.request("GET", "/x")
    assert caught.value.message == "not JSON (text/html): 502 Bad Gateway nginx"


def test_what_a_server_says_is_bounded_and_harmless(server: Server, session: HttpSession) -> None:
    server.replies = [
        refusal(400, "C" * 5000, "\x1b[2Jred\nnext\u202eflipped" + "x" * 9000, {"x-request-id": "r" * 999})
    ]
    with pytest.raises(errors.InvalidRequest) as caught:
        session.request("GET", "/x")
    error = caught.value
    assert error.message.startswith(r"\x1b[2Jred\nnext\u202eflipped")
    assert len(error.message) < 2100
    assert len(error.error_code) < 110
    assert len(error.request_id) < 110


def test_a_huge_error_page_is_not_read_to_its_end(server: Server, session: HttpSession) -> None:
    server.replies = [answer(400, b'{"message": "' + b"x" * 3_000_000 + b'"}'), OK]
    with pytest.raises(errors.InvalidRequest) as caught:
        session.request("GET", "/x")
    assert len(str(caught.value)) < 1000
    assert session.request("GET", "/x") == {"ok": True}
    assert server.connections == 2  # the rest of the page was not worth waiting for


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "a token given by the caller"), (404, "right target"), (429, "run it again in 7 s")],
)
def test_errors_say_what_to_do_next(server: Server, clock: Clock, status: int, words: str) -> None:
    stop = threading.Event()
    stop.set()
    session = HttpSession(server.url, credentials=Token(CANARY), stop=stop)
    server.otherwise = refusal(status, headers={"Retry-After": "7"})
    with pytest.raises(errors.APIError) as caught:
        session.request("GET", "/x")
    assert words in caught.value.fix


# -- redirects --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_redirect_is_not_followed(server: Server, session: HttpSession, status: int, method: str) -> None:
    other = Server()
    server.otherwise = answer(
        status, b"", {"Location": f"{other.url.replace('127.0.0.1', 'localhost')}/login"}
    )
    kind = errors.BadAnswer if method == "GET" else errors.AnswerLost
    with pytest.raises(kind, match="localhost"):
        session.request(method, "/x", json={} if method == "POST" else None)
    assert other.seen == []
    assert len(server.seen) == 1
    other.close()


# -- reads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_read_is_repeated_with_growing_waits(
    server: Server, session: HttpSession, clock: Clock, status: int
) -> None:
    server.replies = [refusal(status)] * 6
    server.otherwise = OK
    assert session.request("GET", "/x") == {"ok": True}
    assert clock.waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]


def test_a_read_is_given_up_after_six_repeats(server: Server, session: HttpSession) -> None:
    server.otherwise = refusal(500, "INTERNAL_ERROR", "boom")
    with pytest.raises(errors.ServerFault, match="boom"):
        session.request("GET", "/x")
    assert len(server.seen) == 7
    assert session.counters == {"GET": 7}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 501])
def test_a_refusal_is_not_repeated(server: Server, session: HttpSession, status: int) -> None:
    server.otherwise = refusal(status)
    with pytest.raises(errors.APIError):
        session.request("GET", "/x")
    assert len(server.seen) == 1


def test_the_jitter_is_half_of_the_wait(server: Server, clock: Clock) -> None:
    session = HttpSession(server.url, sleep=clock.sleep, now=clock.now, chance=lambda: 1.0)
    server.replies = [refusal(500), refusal(500), OK]
    session.request("GET", "/x")
    assert clock.waits == [0.5, 1.0]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:42 GMT", "Date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 42.0),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:00 GMT", "Date": "Thu, 01 Jan 2026 00:01:00 GMT"}, 0.25),
        ({"Retry-After": "0"}, 0.25),
        ({"Retry-After": "soon"}, 0.25),
        ({}, 0.25),
    ],
)
def test_a_429_waits_as_long_as_the_server_asks(
    server: Server, session: HttpSession, clock: Clock, method: str, headers: dict[str, str], wait: float
) -> None:
    server.replies = [refusal(429, headers=headers), OK]
    assert session.request(method, "/x") == {"ok": True}
    assert clock.waits == [wait]


def test_a_date_without_the_servers_clock_is_held_against_ours(
    server: Server, session: HttpSession, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.client.pacing.time.time", lambda: 1767225600.0)  # 2026-01-01T00:00:00Z
    server.replies = [refusal(503, headers={"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT"}), OK]
    session.request("GET", "/x")
    assert clock.waits == [30.0]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wait_beyond_all_patience_is_told_at_once(
    server: Server, session: HttpSession, clock: Clock, method: str
) -> None:
    server.otherwise = refusal(429, headers={"Retry-After": "86400"})
    with pytest.raises(errors.RateLimited) as caught:
        session.request(method, "/x")
    assert caught.value.retry_after == 86400.0
    assert clock.waits == []


def test_time_spent_asking_counts_too(server: Server, session: HttpSession, clock: Clock) -> None:
    def slow(_: object) -> bytes:
        clock.moment += 50  # each try takes that long
        return refusal(500)

    server.respond = slow
    with pytest.raises(errors.ServerFault):
        session.request("GET", "/x")
    assert len(server.seen) == 3


def test_time_spent_waiting_counts_too(server: Server, session: HttpSession, clock: Clock) -> None:
    server.otherwise = refusal(429, headers={"Retry-After": "50"})
    with pytest.raises(errors.RateLimited):
        session.request("GET", "/x")
    assert clock.waits == [50.0, 50.0]


def test_after_a_stop_nothing_is_waited_for(server: Server, clock: Clock) -> None:
    stop = threading.Event()
    stop.set()
    server.otherwise = refusal(500)
    with pytest.raises(errors.ServerFault):
        HttpSession(server.url, sleep=clock.sleep, now=clock.now, stop=stop).request("GET", "/x")
    assert (len(server.seen), clock.waits) == (1, [])


def test_a_stop_during_a_wait_is_not_followed_by_a_try(server: Server, clock: Clock) -> None:
    stop = threading.Event()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        stop.set()

    server.otherwise = refusal(500)
    with pytest.raises(errors.ServerFault):
        HttpSession(server.url, sleep=sleep, now=clock.now, stop=stop).request("GET", "/x")
    assert (len(server.seen), len(clock.waits)) == (1, 1)


def test_a_stop_ends_the_waiting(server: Server) -> None:
    stop = threading.Event()
    session = HttpSession(server.url, stop=stop)

    def answer_and_stop(_: object) -> bytes:
        stop.set()
        return refusal(500, message="last words")

    server.respond = answer_and_stop
    with pytest.raises(errors.ServerFault, match="last words"):
        session.request("GET", "/x")
    assert len(server.seen) == 1


@pytest.mark.parametrize("reply", [Close(b""), Reset(b""), Reset(b"HTTP/1.1 200"), cut()], ids=repr)
def test_a_read_survives_a_broken_answer(
    server: Server, session: HttpSession, clock: Clock, reply: bytes
) -> None:
    server.replies = [reply, OK]
    assert session.request("GET", "/x") == {"ok": True}
    assert clock.waits == []  # at once: most likely a stale connection


def test_a_read_survives_the_server_dropping_kept_connections(server: Server, session: HttpSession) -> None:
    session.request("GET", "/x")
    server.drop_connections()
    assert session.request("GET", "/x") == {}
    assert server.connections == 2


@pytest.mark.parametrize(
    ("reply", "kind", "theirs"),
    [
        (Close(b""), errors.AnswerLost, requests.ConnectionError),
        (Reset(b""), errors.AnswerLost, requests.ConnectionError),
        (cut(), errors.BadAnswer, requests.exceptions.ChunkedEncodingError),
        (
            Close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
            errors.BadAnswer,
            requests.exceptions.ChunkedEncodingError,
        ),
        (answer(200, b"not gzip", {"Content-Encoding": "gzip"}), errors.BadAnswer, requests.RequestException),
    ],
    ids=["closed", "reset", "cut", "chunks", "gzip"],
)
def test_a_read_that_keeps_breaking_is_given_up(
    server: Server,
    session: HttpSession,
    reply: bytes,
    kind: type[errors.TransportError],
    theirs: type[Exception],
) -> None:
    server.otherwise = reply
    with pytest.raises(kind) as caught:
        session.request("GET", "/x")
    assert isinstance(caught.value, theirs)
    assert (caught.value.method, caught.value.path) == ("GET", "/x")
    assert caught.value.why
    assert len(server.seen) == 7


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (HTML, "the answer is not JSON (text/html): 502 Bad Gateway nginx"),
        (b"\xff{}", "the answer is not JSON (text/html): �{}"),
        (b"1" * 5000, "the answer is not JSON (text/html): 111"),
        (b'{"cut": "canary', "the answer cannot be read: Unterminated string starting at at character 9"),
        (b'{"n": NaN}', "the answer cannot be read: NaN is not JSON"),
        (b"[Infinity]", "the answer cannot be read: Infinity is not JSON"),
        (b"[" * 100_000, "the answer cannot be read: it is nested more than 100 levels deep"),
    ],
)
def test_an_answer_that_is_not_json_is_a_bad_answer(
    server: Server, session: HttpSession, body: bytes, told: str
) -> None:
    server.otherwise = answer(200, body, TYPE_HTML)
    with pytest.raises(errors.BadAnswer) as caught:
        session.request("GET", "/x")
    assert len(server.seen) == 3
    assert caught.value.what.startswith(told)
    assert "canary" not in str(caught.value), "what may be anything is not quoted"
    assert len(str(caught.value)) < 1000
    assert isinstance(caught.value, requests.exceptions.JSONDecodeError)
    assert caught.value.response is not None


def test_an_answer_to_a_query_may_hold_nan_and_is_not_asked_for_twice(
    server: Server, session: HttpSession
) -> None:
    """A model server writes NaN where there is no prediction; mlflow's client reads it."""
    server.replies = [answer(200, b'{"predictions": [1.5, NaN, -Infinity]}'), answer(200, HTML, TYPE_HTML)]
    found = session.request("POST", "/x", json={}, retry_safe=True)["predictions"]
    assert (found[0], math.isnan(found[1]), found[2]) == (1.5, True, -math.inf)
    with pytest.raises(errors.BadAnswer, match="not JSON"):
        session.request("POST", "/x", json={}, retry_safe=True)
    assert len(server.seen) == 2


@pytest.mark.parametrize("status", [404, 500])
def test_an_error_comes_home_from_a_worker_process(server: Server, session: HttpSession, status: int) -> None:
    server.otherwise = refusal(status, "CODE", "because")
    with pytest.raises(errors.APIError) as caught:
        session.request("POST", "/x", json={})
    home = pickle.loads(pickle.dumps(caught.value))
    assert type(home) is type(caught.value)
    assert isinstance(home, requests.HTTPError)
    assert (str(home), home.status, home.error_code) == (str(caught.value), status, "CODE")
    assert home.response.json()["message"] == "because"
    problem = errors.ManifestError([errors.Problem("m.yaml", 1, 1, "spec", "wrong")])
    assert str(pickle.loads(pickle.dumps(problem))) == str(problem)


def test_a_hiccup_of_a_proxy_passes(server: Server, session: HttpSession) -> None:
    server.replies = [answer(200, HTML, TYPE_HTML), OK]
    assert session.request("GET", "/x") == {"ok": True}


@pytest.mark.parametrize("announced", [True, False])
def test_an_endless_answer_is_not_kept(
    server: Server, session: HttpSession, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    monkeypatch.setattr(http, "MAX_BYTES", 100_000)
    body = b'"' + b"x" * 200_000 + b'"'
    server.otherwise = answer(200, body) if announced else Close(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    with pytest.raises(errors.BadAnswer, match="the answer is too long"):
        session.request("GET", "/x")
    assert len(server.seen) == 1


def dripping(head: bytes, drop: bytes = b" ") -> Drops:
    reply = Drops(b"HTTP/1.1 " + head + b"\r\n\r\n")
    reply.drop = drop
    return reply


def _ticking(server: Server) -> HttpSession:
    """Its clock goes on by a hundred seconds with every look at it."""
    seconds = itertools.count(0.0, 100.0)
    return HttpSession(server.url, timeout=30.0, now=lambda: next(seconds))


DRIPPING = [
    dripping(b"200 OK\r\nContent-Length: 1000000"),
    dripping(b"200 OK"),
    dripping(b"200 OK\r\nTransfer-Encoding: chunked", b"1\r\n \r\n"),
]


@pytest.mark.parametrize("reply", DRIPPING)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_answer_that_comes_in_drops_is_given_up(server: Server, reply: Drops, method: str) -> None:
    """No drop is late, so nothing but the whole can be: five times what one may take."""
    server.otherwise = reply
    with contextlib.closing(_ticking(server)) as session:
        told = "the answer was not all there after 150 s"
        with pytest.raises((errors.BadAnswer, errors.AnswerLost), match=told) as caught:
            session.request(method, "/x")
    assert isinstance(caught.value, errors.BadAnswer) is (method == "GET")
    assert len(server.seen) == 1


def test_an_error_that_comes_in_drops_is_told_as_far_as_it_came(server: Server) -> None:
    server.otherwise = dripping(b"400 Bad\r\nContent-Length: 1000000")
    with contextlib.closing(_ticking(server)) as session, pytest.raises(errors.InvalidRequest):
        session.request("GET", "/x")


# -- writes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(
    "reply",
    [
        Close(b""),
        Reset(b""),
        cut(),
        answer(200, HTML, TYPE_HTML),
        answer(200, b'{"cut": '),
        answer(502, HTML, TYPE_HTML),
        answer(504, b"upstream timed out", {"Content-Type": "text/plain"}),
        answer(500, b""),
        answer(503, HTML, TYPE_HTML),
    ],
    ids=["closed", "reset", "cut", "html", "half", "502", "504", "500", "503"],
)
def test_a_write_whose_answer_is_lost_is_sent_once(
    server: Server, session: HttpSession, method: str, reply: bytes
) -> None:
    server.otherwise = reply
    with pytest.raises(errors.AnswerLost) as caught:
        session.request(method, "/x", json={"a": 1})
    assert len(server.seen) == 1
    assert isinstance(caught.value, requests.RequestException)
    assert "read the live side" in caught.value.fix


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_readable_fault_is_told_and_not_repeated(
    server: Server, session: HttpSession, method: str, status: int
) -> None:
    server.otherwise = refusal(status, "INTERNAL_ERROR", "boom")
    with pytest.raises(errors.ServerFault, match="boom"):
        session.request(method, "/x")
    assert len(server.seen) == 1


def test_an_unreadable_fault_on_a_write_is_an_http_error_too(server: Server, session: HttpSession) -> None:
    server.otherwise = answer(502, HTML, TYPE_HTML)
    with pytest.raises(requests.HTTPError) as caught:
        session.request("POST", "/x")
    assert caught.value.response is not None
    assert caught.value.response.status_code == 502


def test_a_write_on_a_stale_connection_is_lost_not_repeated(server: Server, session: HttpSession) -> None:
    server.replies = [OK, Reset(b"")]
    session.request("GET", "/x")
    with pytest.raises(errors.AnswerLost):
        session.request("PUT", "/x", json={})
    assert server.methods == ["GET", "PUT"]
    assert server.connections == 1


@pytest.mark.parametrize("method", WRITES)
def test_a_503_that_asks_to_come_back_is_repeated(
    server: Server, session: HttpSession, clock: Clock, method: str
) -> None:
    server.replies = [answer(503, HTML, {**TYPE_HTML, "Retry-After": "3"}), OK]
    assert session.request(method, "/x", json={"a": 1}) == {"ok": True}
    assert clock.waits == [3.0]


def test_a_429_on_a_write_is_given_up_in_the_end(server: Server, session: HttpSession, clock: Clock) -> None:
    server.otherwise = refusal(429, headers={"Retry-After": "10"})
    with pytest.raises(errors.RateLimited) as caught:
        session.request("POST", "/x")
    assert caught.value.retry_after == 10.0
    assert len(server.seen) == 7


def test_no_answer_in_time(server: Server, session: HttpSession) -> None:
    hang = threading.Event()
    server.replies = [hang] * 10
    with pytest.raises(errors.AnswerLost, match=r"no answer within 0\.1 s") as caught:
        session.request("POST", "/x", json={}, timeout=0.1)
    assert isinstance(caught.value, requests.exceptions.ReadTimeout)
    assert len(server.seen) == 1
    with pytest.raises(requests.exceptions.Timeout):
        session.request("GET", "/x", timeout=0.1)
    assert server.methods == ["POST"] + ["GET"] * 7
    hang.set()


def test_a_body_that_stalls_is_no_answer_in_time(server: Server, session: HttpSession) -> None:
    server.otherwise = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"
    with pytest.raises(errors.AnswerLost, match="no answer within"):
        session.request("PUT", "/x", timeout=0.1)
    assert len(server.seen) == 1


@pytest.mark.parametrize(("method", "tries"), [("GET", 7), ("POST", 4), ("DELETE", 4)])
def test_a_server_that_is_not_there_is_tried_again(clock: Clock, method: str, tries: int) -> None:
    session = HttpSession(f"http://127.0.0.1:{unused_port()}", sleep=clock.sleep, now=clock.now)
    with pytest.raises(errors.ConnectionFailed) as caught:
        session.request(method, "/x", json={})
    assert isinstance(caught.value, requests.ConnectionError)
    assert "refused" in caught.value.why.lower()
    assert session.counters == {method: tries}


def test_a_write_waits_for_a_server_that_comes_up(clock: Clock) -> None:
    port = unused_port()
    server: list[Server] = []

    def start(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.waits) == 2:
            server.append(Server(listen_on=port))

    session = HttpSession(f"http://127.0.0.1:{port}", sleep=start, now=clock.now)
    assert session.request("POST", "/x", json={"a": 1}) == {}
    assert [seen.json for seen in server[0].seen] == [{"a": 1}]
    server[0].close()


@pytest.mark.parametrize(
    ("raised", "kind", "theirs", "tries"),
    [
        (rx.ConnectTimeout(), errors.ConnectionFailed, rx.ConnectTimeout, 4),
        (rx.InvalidURL("no"), errors.ConnectionFailed, rx.ConnectionError, 1),
        (rx.SSLError("eof"), errors.AnswerLost, rx.ConnectionError, 1),
        (OSError("odd"), errors.AnswerLost, rx.ConnectionError, 1),
    ],
)
def test_what_an_adapter_raises(
    clock: Clock, raised: Exception, kind: type[Exception], theirs: type[Exception], tries: int
) -> None:
    class Raising(requests.adapters.HTTPAdapter):
        def send(self, *args: object, **options: object) -> requests.Response:
            raise raised

    session = HttpSession("http://h.invalid", adapter=Raising(), sleep=clock.sleep, now=clock.now)
    with pytest.raises(kind) as caught:
        session.request("POST", "/x")
    assert isinstance(caught.value, theirs)
    assert caught.value.__cause__ is raised
    assert session.counters == {"POST": tries}


def test_a_name_that_does_not_resolve_was_never_reached(clock: Clock) -> None:
    session = HttpSession("http://no-such-host.invalid", sleep=clock.sleep, now=clock.now)
    with pytest.raises(errors.ConnectionFailed, match=r"no-such-host\.invalid could not be reached"):
        session.request("POST", "/x")


def test_a_proxy_that_is_not_there_was_never_reached(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{CANARY}@127.0.0.1:{unused_port()}")
    session = HttpSession("http://workspace.invalid", sleep=clock.sleep, now=clock.now)
    with pytest.raises(errors.ConnectionFailed) as caught:
        session.request("POST", "/x")
    assert isinstance(caught.value, requests.exceptions.ProxyError)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_an_untrusted_certificate_is_named_and_nothing_is_sent(clock: Clock, tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {cert}"
    subprocess.run(command.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = Server(wrap=context)
    url = server.url.replace("http:", "https:")
    session = HttpSession(url, credentials=Token(CANARY), sleep=clock.sleep, now=clock.now)
    with pytest.raises(errors.ConnectionFailed, match="is not trusted") as caught:
        session.request("POST", "/x", json={})
    assert isinstance(caught.value, requests.exceptions.SSLError)
    assert "REQUESTS_CA_BUNDLE" in caught.value.fix
    assert (server.seen, clock.waits) == ([], [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(cert))
        assert HttpSession(url).request("GET", "/x") == {}
    server.close()


# -- queries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [refusal(429), refusal(500), refusal(502), refusal(503), Close(b"")])
def test_a_query_is_repeated(server: Server, session: HttpSession, reply: bytes) -> None:
    server.replies = [reply, OK]
    assert session.request("POST", "/x", json={"a": 1}, retry_safe=True) == {"ok": True}
    assert [seen.json for seen in server.seen] == [{"a": 1}] * 2


def test_a_query_is_not_repeated_after_a_timeout(server: Server, session: HttpSession) -> None:
    hang = threading.Event()
    server.replies = [hang, OK]
    with pytest.raises(requests.exceptions.ReadTimeout):
        session.request("POST", "/x", json={}, retry_safe=True, timeout=0.1)
    assert len(server.seen) == 1
    hang.set()


def test_a_query_has_its_own_patience(server: Server, session: HttpSession, clock: Clock) -> None:
    server.replies = [refusal(429, headers={"Retry-After": "500"}), OK]
    assert session.request("POST", "/x", retry_safe=True) == {"ok": True}
    server.replies = [refusal(429, headers={"Retry-After": "500"}), OK]
    with pytest.raises(errors.RateLimited):
        session.request("POST", "/x", retry_safe=True, total=400)


def test_a_read_that_must_not_be_repeated(server: Server, session: HttpSession) -> None:
    server.otherwise = Close(b"")
    with pytest.raises(errors.AnswerLost):
        session.request("GET", "/x", retry_safe=False)
    assert len(server.seen) == 1


# -- pacing -----------------------------------------------------------------------------------------------


def paced(server: Server, clock: Clock, limit: int = 2, **more: object) -> tuple[HttpSession, WritePacer]:
    pacer = WritePacer(limit, 300, now=clock.now, sleep=clock.sleep, **more)  # type: ignore[arg-type]
    session = HttpSession(server.url, pacer=pacer, sleep=clock.sleep, now=clock.now, chance=lambda: 0.0)
    return session, pacer


def test_only_writes_wait_for_the_budget(server: Server, clock: Clock) -> None:
    session, pacer = paced(server, clock)
    session.request("GET", "/x")
    session.request("DELETE", "/x")
    session.request("POST", "/x/invocations", retry_safe=True)
    assert pacer.remaining() == 2
    for method in ("POST", "PUT"):
        session.request(method, "/x")
    assert (pacer.remaining(), clock.waits) == (0, [])
    session.request("PATCH", "/x")
    assert clock.waits == [300.0]


def test_a_429_slows_every_writer(server: Server, clock: Clock) -> None:
    session, pacer = paced(server, clock, limit=50)
    server.replies = [refusal(429, headers={"Retry-After": "40"})]
    session.request("PUT", "/x")
    assert clock.waits == [40.0]
    assert pacer.remaining() == 49  # the refused one did not count
    server.replies = [refusal(429, headers={"Retry-After": "86400"})]
    with pytest.raises(errors.RateLimited):
        session.request("PUT", "/x")
    assert pacer.eta(1) == 0.0  # nobody waits for a day: each is told at once


def test_a_refused_delete_slows_writers_too(server: Server, clock: Clock) -> None:
    session, pacer = paced(server, clock)
    server.replies = [refusal(429, headers={"Retry-After": "40"})]
    session.request("DELETE", "/x")
    assert clock.waits == [40.0]
    assert pacer.remaining() == 2


def test_a_429_to_a_read_slows_every_reader(server: Server, clock: Clock) -> None:
    others: list[float] = []

    def sleep(seconds: float) -> None:
        if not others:  # while the first one waits, another wants to read
            others.append(0.0)
            session.request("GET", "/other")
            others.append(clock.now())
        clock.sleep(seconds)

    session = HttpSession(server.url, sleep=sleep, now=clock.now, chance=lambda: 0.0)
    began = clock.now()
    server.replies = [refusal(429, headers={"Retry-After": "40"}), OK, OK]
    session.request("GET", "/x")
    assert others[1] - began == 40.0
    assert clock.waits[0] == 40.0


def test_a_429_to_a_query_slows_no_reader(server: Server, clock: Clock) -> None:
    session = HttpSession(server.url, sleep=clock.sleep, now=clock.now, chance=lambda: 0.0)
    server.otherwise = refusal(429, headers={"Retry-After": "400"})
    with pytest.raises(errors.RateLimited):
        session.request("POST", "/x/invocations", retry_safe=True)
    server.otherwise = OK
    waits = len(clock.waits)
    session.request("GET", "/x")
    assert len(clock.waits) == waits, "it is one endpoint's limit"


def test_reads_do_not_slow_writers(server: Server, clock: Clock) -> None:
    session, pacer = paced(server, clock)
    server.replies = [refusal(429, headers={"Retry-After": "40"})]
    session.request("GET", "/x")
    assert pacer.eta(1) == 0.0


def test_a_write_that_never_left_takes_no_room(clock: Clock) -> None:
    pacer = WritePacer(2, 300, now=clock.now, sleep=clock.sleep)
    url = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(errors.ConnectionFailed):
        HttpSession(url, pacer=pacer, sleep=clock.sleep, now=clock.now).request("POST", "/x")
    assert pacer.remaining() == 2


def test_a_write_without_a_credential_takes_no_room(server: Server, clock: Clock) -> None:
    session, pacer = paced(server, clock)
    session.credentials = Broken()
    with pytest.raises(errors.AuthError):
        session.request("POST", "/x")
    assert (pacer.remaining(), server.seen) == (2, [])


def test_a_write_that_may_have_arrived_takes_room(server: Server, clock: Clock) -> None:
    session, pacer = paced(server, clock)
    server.replies = [Close(b"")]
    with pytest.raises(errors.AnswerLost):
        session.request("POST", "/x")
    assert pacer.remaining() == 1


def test_waiting_in_the_queue_does_not_use_up_patience(server: Server, clock: Clock) -> None:
    session, _ = paced(server, clock, limit=1)
    for _ in range(4):
        server.replies = [OK, refusal(429, headers={"Retry-After": "400"}), OK]
        session.request("POST", "/x")
        session.request("POST", "/x")
    assert len(server.seen) == 12


def test_a_stop_in_the_queue_sends_nothing(server: Server, clock: Clock) -> None:
    stop = threading.Event()
    session, _ = paced(server, clock, limit=1, stop=stop)
    session.request("POST", "/x")
    stop.set()
    with pytest.raises(errors.Stopped):
        session.request("POST", "/x")
    assert len(server.seen) == 1


def test_a_stop_after_a_429_tells_of_the_429(server: Server, clock: Clock) -> None:
    stop = threading.Event()
    session, _ = paced(server, clock, stop=stop)

    def answer_and_stop(_: object) -> bytes:
        stop.set()
        return refusal(429, headers={"Retry-After": "9"})

    server.respond = answer_and_stop
    with pytest.raises(errors.RateLimited):
        session.request("POST", "/x")
    assert len(server.seen) == 1


# -- streams ----------------------------------------------------------------------------------------------


def test_lines_arrive_as_they_are_sent(server: Server, session: HttpSession) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [b"first\r\nsec", b"ond\n\nth\xc3", b"\xa9\xe2\x80\xa8ird"]
    body = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"
    server.replies = [head + body]
    assert list(session.lines("GET", "/x")) == ["first", "second", "", "thé\u2028ird"]
    server.replies = [Close(b"HTTP/1.1 200 OK\r\n\r\none\ntwo\n")]
    assert list(session.lines("GET", "/x")) == ["one", "two"]


def test_a_line_is_yielded_before_the_answer_ends(server: Server, session: HttpSession) -> None:
    # nothing but these bytes ever comes: reading ahead would run into the timeout
    for head in (
        b"Transfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n",
        b"Content-Length: 999\r\n\r\nfirst\n",
    ):
        server.replies = [b"HTTP/1.1 200 OK\r\n" + head]
        lines = session.lines("POST", "/x", retry_safe=True, timeout=0.3)
        assert next(lines) == "first"
        with pytest.raises(errors.AnswerLost, match="broke off"):
            next(lines)


@pytest.mark.parametrize("leave_early", [True, False])
def test_a_stream_is_closed_when_it_is_left(
    server: Server, session: HttpSession, monkeypatch: pytest.MonkeyPatch, leave_early: bool
) -> None:
    closed: list[requests.Response] = []
    monkeypatch.setattr(requests.Response, "close", lambda self: closed.append(self))
    server.replies = [answer(200, b"one\ntwo\n")]
    lines = session.lines("GET", "/x")
    next(lines)
    assert closed == []
    if leave_early:
        lines.close()  # type: ignore[attr-defined]
    else:
        list(lines)
    assert len(closed) == 1


def test_a_stream_that_is_refused_is_an_error(server: Server, session: HttpSession) -> None:
    server.replies = [refusal(404, "RESOURCE_DOES_NOT_EXIST", "no chat")]
    with pytest.raises(errors.NotFound, match="no chat"):
        next(session.lines("POST", "/x", retry_safe=True))


def test_a_line_without_end_is_not_kept(
    server: Server, session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.client.http._MAX_LINE", 1000)
    server.replies = [answer(200, b"x" * 100_000)]
    with pytest.raises(errors.BadAnswer, match="line without end"):
        list(session.lines("GET", "/x"))


# -- secrets ----------------------------------------------------------------------------------------------


def everything_about(error: BaseException) -> str:
    """All text that a traceback, a log or a curious exception hook could show, kept objects included."""
    found = [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
    for link in answers._chain(error):
        for holder in (link, getattr(link, "response", None)):
            request = getattr(holder, "request", None)
            if request is not None:
                found += [repr(dict(request.headers)), repr(request.body), str(request.url)]
        response = getattr(link, "response", None)
        if response is not None:
            found += [response.text, repr(vars(response))]
    return "\n".join(found)


@pytest.mark.parametrize(
    "reply",
    [
        *(
            answer(status, {"message": f'I saw {CANARY} and A SECRET/\n"quoted"'})
            for status in (400, 401, 404, 500)
        ),
        answer(400, f"<p>{CANARY} A SECRET/\n&quot;quoted&quot;</p>".encode(), TYPE_HTML),
        answer(502, f"<p>{CANARY} A+SECRET%2F%0A%22quoted%22</p>".encode(), TYPE_HTML),
        answer(200, f'{CANARY} A SECRET/\n"quoted"'.encode(), TYPE_HTML),
        answer(302, CANARY.encode(), {"Location": f"https://other.invalid/?{CANARY}"}),
        Reset(b""),
        cut(CANARY.encode()),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_no_error_holds_a_secret(
    server: Server, session: HttpSession, caplog: pytest.LogCaptureFixture, method: str, reply: bytes
) -> None:
    server.otherwise = reply
    secret = 'A SECRET/\n"quoted"'
    with caplog.at_level(logging.DEBUG), pytest.raises(errors.TargetError) as caught:
        session.request(method, "/x", json={"key": Secret(secret)})
    told = everything_about(caught.value) + caplog.text
    assert CANARY not in told
    for form in ("A SECRET", "A+SECRET", "A%20SECRET"):
        assert form not in told


def test_the_kept_request_still_says_what_was_asked(server: Server, session: HttpSession) -> None:
    server.replies = [refusal(404)]
    with pytest.raises(requests.HTTPError) as caught:
        session.request("GET", "/x")
    request = caught.value.request
    assert request is not None
    assert (request.method, request.url) == ("GET", f"{server.url}/x")
    assert request.headers["Authorization"] == "***"
