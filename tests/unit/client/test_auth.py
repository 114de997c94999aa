"""Where credentials come from, and how a client secret becomes tokens."""

from __future__ import annotations

import base64
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from reconciler.client import auth, credentials, sdk_auth
from reconciler.client.auth import Anonymous, ClientSecret, Credentials, Login, Settings, Token, resolve
from reconciler.client.http import HttpSession
from reconciler.errors import AuthError
from reconciler.values import Secret
from tests.unit.client.wire import CANARY, Clock, Close, Seen, Server, answer, refusal

A, B = "https://a.example", "https://b.example"


def token_of(login: Login) -> str:
    return login.credentials.headers()["Authorization"]


@pytest.fixture
def profiles(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Write a file of profiles; returns an environment that points to it."""

    def write(text: str) -> dict[str, str]:
        path = tmp_path / "profiles.ini"
        path.write_text(text, encoding="utf-8")
        return {"DATABRICKS_CONFIG_FILE": str(path)}

    return write


# -- hosts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("a.example", A),
        (" https://A.example/ ", A),
        ("https://a.example/?o=123#x", A),
        ("a.example/path", A),
        ("https://a.example:8443", "https://a.example:8443"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("localhost:5000", "https://localhost:5000"),
    ],
)
def test_hosts_are_written_in_many_ways(written: str, host: str) -> None:
    assert auth.normalise_host(written) == host


@pytest.mark.parametrize(
    "written", ["", "ftp://a.example", "https://", "a b", "https://a:port", f"https://u:{CANARY}@a"]
)
def test_what_is_no_host_is_refused(written: str) -> None:
    with pytest.raises(AuthError) as caught:
        auth.normalise_host(written)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


# -- sources ----------------------------------------------------------------------------------------------


def test_the_caller_comes_first() -> None:
    env = {"DATABRICKS_HOST": A, "DATABRICKS_TOKEN": "from-env"}
    login = resolve(host="b.example", credentials=Token("given"), env=env)
    assert (login.host, token_of(login)) == (B, "Bearer given")
    assert resolve(credentials=Anonymous(), env=env).host == A
    assert resolve(credentials=Anonymous(), env=env).credentials.headers() == {}


def test_host_and_token_of_the_environment() -> None:
    login = resolve(env={"DATABRICKS_HOST": "a.example", "DATABRICKS_TOKEN": " t0k\n"})
    assert (login.host, token_of(login)) == (A, "Bearer t0k")
    assert login.credentials.describe() == "DATABRICKS_TOKEN of the environment"


def test_the_environment_goes_before_the_default_profile(profiles: Callable[[str], dict[str, str]]) -> None:
    env = profiles(f"[DEFAULT]\nhost = {B}\ntoken = from-file\n")
    assert token_of(resolve(env=env)) == "Bearer from-file"
    login = resolve(env={**env, "DATABRICKS_HOST": A, "DATABRICKS_TOKEN": "from-env"})
    assert (login.host, token_of(login)) == (A, "Bearer from-env")


def test_a_token_goes_before_a_client_secret() -> None:
    env = {"DATABRICKS_HOST": A, "DATABRICKS_CLIENT_ID": "id", "DATABRICKS_CLIENT_SECRET": "s"}
    assert isinstance(resolve(env=env).credentials, ClientSecret)
    assert isinstance(resolve(env={**env, "DATABRICKS_TOKEN": "t"}).credentials, Token)
    forced = resolve(env={**env, "DATABRICKS_TOKEN": "t", "DATABRICKS_AUTH_TYPE": "oauth-m2m"})
    assert isinstance(forced.credentials, ClientSecret)


def test_a_profile_named_by_the_caller_goes_before_the_environment(
    profiles: Callable[[str], dict[str, str]],
) -> None:
    env = profiles(f"[DEFAULT]\nhost={A}\ntoken=default\n[prod]\nhost = {B}\ntoken = from-prod\n")
    env |= {"DATABRICKS_HOST": A, "DATABRICKS_TOKEN": "from-env", "DATABRICKS_CONFIG_PROFILE": "DEFAULT"}
    login = resolve("prod", env=env)
    assert (login.host, token_of(login)) == (B, "Bearer from-prod")
    assert "prod" in login.credentials.describe()


def test_the_variable_names_the_profile(profiles: Callable[[str], dict[str, str]]) -> None:
    env = profiles(f"[DEFAULT]\nhost={A}\ntoken=default\n[prod]\nhost={B}\ntoken=100%x\n")
    login = resolve(env={**env, "DATABRICKS_CONFIG_PROFILE": "prod"})
    assert (login.host, token_of(login)) == (B, "Bearer 100%x")


def test_the_file_names_its_own_default(profiles: Callable[[str], dict[str, str]]) -> None:
    env = profiles(
        f"[__settings__]\ndefault_profile = prod\n[DEFAULT]\nhost={A}\ntoken=d\n[prod]\nhost={B}\ntoken=p\n"
    )
    assert resolve(env=env).host == B


def test_profiles_do_not_inherit(profiles: Callable[[str], dict[str, str]]) -> None:
    env = profiles(f"[DEFAULT]\nhost={A}\ntoken=default\n[bare]\nhost={B}\n")
    with pytest.raises(AuthError, match="no token"):
        resolve("bare", env=env)


def test_a_profile_with_a_client_secret(profiles: Callable[[str], dict[str, str]]) -> None:
    env = profiles(f"[sp]\nhost={A}\nclient_id=the-id\nclient_secret={CANARY}\n")
    credentials = resolve("sp", env=env).credentials
    assert isinstance(credentials, ClientSecret)
    assert credentials.host == A
    assert "the-id" in credentials.describe()
    assert CANARY not in credentials.describe() + repr(credentials) + repr(vars(credentials))


def test_the_usual_file_is_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".databrickscfg").write_text(f"[DEFAULT]\nhost={A}\ntoken=at-home\n", encoding="utf-8-sig")
    assert token_of(resolve(env={})) == "Bearer at-home"


def test_a_token_is_not_sent_to_another_host(profiles: Callable[[str], dict[str, str]]) -> None:
    env = profiles(f"[DEFAULT]\nhost={B}\ntoken=for-b\n")
    assert token_of(resolve(host=B, env=env)) == "Bearer for-b"
    with pytest.raises(AuthError, match=f"is for {B}, not for {A}"):
        resolve(host=A, env=env)
    with pytest.raises(AuthError, match=f"the environment: is for {A}"):
        resolve(host="https://c.example", env={**env, "DATABRICKS_HOST": A, "DATABRICKS_TOKEN": "for-a"})
    # sources are not mixed: the host of one, the token of the other
    login = resolve(env={**env, "DATABRICKS_TOKEN": "for-a"})
    assert (login.host, token_of(login)) == (B, "Bearer for-b")


def test_a_token_without_a_host_serves_the_host_that_is_asked_for() -> None:
    login = resolve(host=A, env={"DATABRICKS_TOKEN": "t"})
    assert (login.host, token_of(login)) == (A, "Bearer t")


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (
            {},
            [
                "the environment: no DATABRICKS_HOST",
                ".databrickscfg: does not exist",
                "next: set DATABRICKS_HOST",
            ],
        ),
        ({"DATABRICKS_TOKEN": CANARY}, ["the environment: no DATABRICKS_HOST"]),
        (
            {"DATABRICKS_HOST": A},
            ["has no DATABRICKS_TOKEN", "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET"],
        ),
        ({"DATABRICKS_HOST": A, "DATABRICKS_CLIENT_ID": "i"}, ["not both of DATABRICKS_CLIENT_ID and"]),
        ({"DATABRICKS_HOST": "ftp://x", "DATABRICKS_TOKEN": CANARY}, ["'ftp://x' is not a workspace host"]),
        (
            {"DATABRICKS_HOST": A, "DATABRICKS_TOKEN": f"{CANARY} {CANARY}"},
            ["DATABRICKS_TOKEN of the environment is not"],
        ),
        (
            {"DATABRICKS_HOST": A, "DATABRICKS_AUTH_TYPE": "azure-cli"},
            ["'azure-cli'", "pip install 'reconciler[databricks]'"],
        ),
        (
            {"DATABRICKS_HOST": A, "DATABRICKS_AUTH_TYPE": "pat", "DATABRICKS_CLIENT_ID": "i"},
            ["no DATABRICKS_TOKEN"],
        ),
    ],
)
def test_every_gap_is_named(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], words: list[str]) -> None:
    monkeypatch.setattr(sdk_auth, "is_installed", lambda: False)
    with pytest.raises(AuthError) as caught:
        resolve(env=env)
    for expected in words:
        assert expected in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "named", "words"),
    [
        (f"[one]\nhost={A}\n[two]\nhost={A}\n", "prod", "has no profile prod"),
        (f"[prod]\ntoken={CANARY}\n", "prod", "no host"),
        (f"[prod]\nhost={A}\nauth_type=databricks-cli\n", "prod", "'databricks-cli'"),
        (f"token={CANARY}\n[prod]\n", "prod", "profiles.ini:1"),
        (f"[prod]\nhost={A}\n{CANARY}\n", "prod", "profiles.ini:3"),
        (f"[prod]\nhost={A}\n[prod]\ntoken={CANARY}\n", "prod", "profiles.ini:3"),
        (f"[prod]\nhost={A}\ntoken={CANARY}\n", "__settings__", "has no profile __settings__"),
    ],
)
def test_every_fault_of_a_file_is_named(
    monkeypatch: pytest.MonkeyPatch,
    profiles: Callable[[str], dict[str, str]],
    text: str,
    named: str,
    words: str,
) -> None:
    monkeypatch.setattr(sdk_auth, "is_installed", lambda: False)
    with pytest.raises(AuthError) as caught:
        resolve(named, env=profiles(text))
    assert words in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_the_profiles_that_exist_are_listed(profiles: Callable[[str], dict[str, str]]) -> None:
    env = profiles("[__settings__]\nx=1\n[one]\nhost=a\n[two]\nhost=a\n")
    with pytest.raises(AuthError, match=r"its profiles: one, two\n"):
        resolve("prod", env=env)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AuthError, match="cannot be read"):
        resolve(env={"DATABRICKS_CONFIG_FILE": str(tmp_path)})


def test_another_way_to_authenticate_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cli(Credentials):
        def headers(self) -> dict[str, str]:
            return {"Authorization": "Bearer from-cli"}

        def describe(self) -> str:
            return "a command"

    def by_cli(settings: Settings, host: str) -> Credentials | None:
        return Cli() if settings.get("auth_type") == "azure-cli" else None

    monkeypatch.setitem(auth.METHODS, "azure-cli", by_cli)
    login = resolve(env={"DATABRICKS_HOST": A, "DATABRICKS_AUTH_TYPE": "azure-cli"})
    assert token_of(login) == "Bearer from-cli"


# -- client secrets ---------------------------------------------------------------------------------------


class Workspace(Server):
    """A workspace that hands out tokens t1, t2, … and takes the newest one only."""

    def __init__(self, life: object = 3600, route: str | None = "/oidc/v1/token") -> None:
        super().__init__()
        self.life, self.route, self.issued = life, route, 0
        self.respond = self.reply

    def reply(self, seen: Seen) -> bytes:
        if seen.path == "/oidc/.well-known/oauth-authorization-server":
            if self.route is None:
                return refusal(404)
            return answer(
                200, {"token_endpoint": self.route if "//" in self.route else self.url + self.route}
            )
        if seen.path.startswith("/oidc") or seen.path == "/tokens":
            self.issued += 1
            token = {"access_token": f"t{self.issued}", "token_type": "Bearer", "expires_in": self.life}
            return answer(200, {key: value for key, value in token.items() if value is not None})
        good = seen.headers["authorization"] == f"Bearer t{self.issued}"
        return answer(200, {}) if good else refusal(401)

    @property
    def fetches(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "POST" and "invoc" not in seen.path]


@pytest.fixture
def workspace() -> object:
    workspace = Workspace()
    yield workspace
    workspace.close()


def secret_for(workspace: Server, clock: Clock, secret: str = CANARY) -> ClientSecret:
    def open_session(url: str, **options: object) -> HttpSession:
        return HttpSession(url, sleep=clock.sleep, now=clock.now, **options)  # type: ignore[arg-type]

    return ClientSecret(workspace.url, "the id", Secret(secret), now=clock.now, open_session=open_session)


def test_a_token_is_fetched_as_oauth_says(workspace: Workspace, clock: Clock) -> None:
    assert secret_for(workspace, clock).headers() == {"Authorization": "Bearer t1"}
    discovery, fetch = workspace.seen
    assert "authorization" not in discovery.headers
    assert (fetch.method, fetch.path) == ("POST", "/oidc/v1/token")
    assert parse_qs(fetch.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["all-apis"]}
    assert fetch.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (
        base64.b64decode(fetch.headers["authorization"].removeprefix("Basic ")) == f"the id:{CANARY}".encode()
    )


def test_the_usual_route_is_taken_where_none_is_named(workspace: Workspace, clock: Clock) -> None:
    workspace.route = None
    secret_for(workspace, clock).headers()
    assert workspace.seen[-1].path == "/oidc/v1/token"


def test_the_named_route_is_taken(workspace: Workspace, clock: Clock) -> None:
    workspace.route = "/tokens"
    secret_for(workspace, clock).headers()
    assert workspace.seen[-1].path == "/tokens"


@pytest.mark.parametrize(
    ("life", "good_for"), [(3600, 3539), ("3600", 3539), (100, 49), (None, 3539), ("soon", 3539), (-5, 3539)]
)
def test_a_token_is_kept_until_shortly_before_its_end(
    workspace: Workspace, clock: Clock, life: object, good_for: float
) -> None:
    workspace.life = life
    credentials = secret_for(workspace, clock)
    credentials.headers()
    clock.moment += good_for
    assert credentials.headers() == {"Authorization": "Bearer t1"}
    clock.moment += 2
    assert credentials.headers() == {"Authorization": "Bearer t2"}
    assert len(workspace.fetches) == 2
    assert workspace.methods.count("GET") == 1  # the route is asked for once


def test_many_threads_fetch_one_token(workspace: Workspace, clock: Clock) -> None:
    credentials = secret_for(workspace, clock)
    begin = threading.Barrier(24)

    def ask(_: int) -> str:
        begin.wait()
        return credentials.headers()["Authorization"]

    with ThreadPoolExecutor(24) as pool:
        assert set(pool.map(ask, range(24))) == {"Bearer t1"}
        clock.moment += 3590
        assert set(pool.map(ask, range(24))) == {"Bearer t2"}
    assert len(workspace.fetches) == 2


def test_a_revoked_token_is_renewed_once_for_all_threads(workspace: Workspace, clock: Clock) -> None:
    credentials = secret_for(workspace, clock)
    session = HttpSession(workspace.url, credentials=credentials)
    session.request("GET", "/x")
    workspace.issued += 1  # t1 is no longer taken; the next one is t3
    begin = threading.Barrier(16)

    def ask(_: int) -> object:
        begin.wait()
        return session.request("PUT", "/x", json={})

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [{}] * 16
    assert len(workspace.fetches) == 2


def test_a_token_that_is_still_good_outlives_a_failing_route(workspace: Workspace, clock: Clock) -> None:
    credentials = secret_for(workspace, clock)
    credentials.headers()
    clock.moment += 3545
    workspace.replies = [refusal(400)]
    assert credentials.headers() == {"Authorization": "Bearer t1"}
    clock.moment += 60
    workspace.replies = [refusal(400)]
    with pytest.raises(AuthError):
        credentials.headers()
    assert credentials.headers() == {"Authorization": "Bearer t2"}


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ([refusal(401, "invalid_client", f"{CANARY} is wrong")], "check the client id and secret"),
        ([answer(400, {"error": "invalid_client", "error_description": CANARY})], "gave no token"),
        ([answer(200, {"token_type": "Bearer"})], "without a bearer token"),
        ([answer(200, {"access_token": 7, "token_type": "Bearer"})], "without a bearer token"),
        ([answer(200, {"access_token": "x y", "token_type": "Bearer"})], "is not a token"),
        ([answer(200, {"access_token": "x", "token_type": "mac"})], "without a bearer token"),
        ([answer(200, b"[]")], "without a bearer token"),
        ([Close(b"")] * 9, "check DATABRICKS_HOST"),
    ],
)
def test_a_failing_route_is_an_auth_error(
    workspace: Workspace, clock: Clock, replies: list[bytes], words: str
) -> None:
    workspace.route = None
    workspace.replies = [refusal(404), *replies]
    with pytest.raises(AuthError) as caught:
        secret_for(workspace, clock).headers()
    assert words in str(caught.value)
    told = "".join(traceback.format_exception(caught.value))
    assert CANARY not in told
    assert base64.b64encode(f"the id:{CANARY}".encode()).decode() not in told


@pytest.mark.parametrize(
    ("route", "host", "trusted"),
    [
        ("https://a.example/oidc/v1/token", A, True),
        ("https://login.other.example/token", A, True),
        ("http://a.example/oidc/v1/token", A, False),
        ("http://127.0.0.1:5000/t", "http://127.0.0.1:5000", True),
        ("http://127.0.0.1:5001/t", "http://127.0.0.1:5000", False),
        ("http://127.0.0.1:5000/t", "https://127.0.0.1:5000", False),
        ("http://evil.example/t", "http://127.0.0.1:5000", False),
        ("https://user:pw@a.example/t", A, False),
        ("https://a.example/t?next=1", A, False),
        ("https://a.example:port/t", A, False),
        ("file:///etc/passwd", A, False),
        ("/oidc/v1/token", A, False),
        ("", A, False),
    ],
)
def test_where_a_client_secret_may_go(route: str, host: str, trusted: bool) -> None:
    assert credentials._is_trusted(route, host) is trusted


def test_a_secret_is_not_sent_to_an_untrusted_route(workspace: Workspace, clock: Clock) -> None:
    other = Server()
    workspace.route = f"{other.url}/token"
    with pytest.raises(AuthError, match="not sent to"):
        secret_for(workspace, clock).headers()
    assert other.seen == []
    other.close()


def test_a_redirected_token_route_is_not_followed(workspace: Workspace, clock: Clock) -> None:
    other = Server()
    workspace.replies = [refusal(404), answer(307, b"", {"Location": f"{other.url}/token"})]
    with pytest.raises(AuthError):
        secret_for(workspace, clock).headers()
    assert other.seen == []
    other.close()


@pytest.mark.parametrize(("client_id", "secret"), [("", "s"), ("i", ""), (" ", "s")])
def test_half_a_client_secret_is_refused(client_id: str, secret: str) -> None:
    with pytest.raises(AuthError):
        ClientSecret(A, client_id, secret)
