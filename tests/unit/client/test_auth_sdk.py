"""Which of databricks-sdk's ways is chosen, and that the SDK is imported for no other reason."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from reconciler.client import sdk_auth
from reconciler.client.auth import ClientSecret, Login, Token, resolve
from reconciler.client.sdk_auth import SdkCredentials, Way
from reconciler.errors import AuthError
from reconciler.values import Secret
from tests.unit.client.wire import CANARY

A, B = "https://a.example", "https://b.example"


class Config:
    """As much of ``databricks.sdk.config.Config`` as is used; keeps what it was made with."""

    made: ClassVar[list[dict[str, Any]]] = []
    fails: ClassVar[dict[str, Exception]] = {}
    found_host: ClassVar[str] = A

    def __init__(self, **given: Any) -> None:
        self.made.append(given)
        if given["auth_type"] in self.fails:
            raise self.fails[given["auth_type"]]
        self.host = given.get("host") or self.found_host
        self.calls = 0

    @classmethod
    def attributes(cls) -> list[Any]:
        auth = {"token": "pat", "client_secret": "oauth", "google_credentials": "google"}
        variables = {
            "host": "DATABRICKS_HOST",
            "token": "DATABRICKS_TOKEN",
            "client_id": "DATABRICKS_CLIENT_ID",
            "client_secret": "DATABRICKS_CLIENT_SECRET",
            **sdk_auth.VARIABLES,
        }
        return [
            SimpleNamespace(
                name=name, env=variable, auth=auth.get(name, "azure" if "azure" in name else None)
            )
            for name, variable in variables.items()
        ]

    def authenticate(self) -> dict[str, str]:
        self.calls += 1
        return {"Authorization": f"Bearer t{self.calls}"}


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("DATABRICKS_", "ARM_", "GOOGLE_", "ACTIONS_", "SYSTEM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> type[Config]:
    """A databricks-sdk that is installed and does what it is told."""
    module: Any = ModuleType("databricks.sdk.config")
    module.Config = Config
    monkeypatch.setitem(sys.modules, "databricks", ModuleType("databricks"))
    monkeypatch.setitem(sys.modules, "databricks.sdk", ModuleType("databricks.sdk"))
    monkeypatch.setitem(sys.modules, "databricks.sdk.config", module)
    monkeypatch.setattr(sdk_auth, "is_installed", lambda: True)
    monkeypatch.setattr(Config, "made", [])
    monkeypatch.setattr(Config, "fails", {})
    monkeypatch.setattr(Config, "found_host", A)
    return Config


def commands(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)


# -- which way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "way"),
    [
        ({"DATABRICKS_AUTH_TYPE": "external-browser"}, "external-browser"),
        ({"DATABRICKS_AUTH_TYPE": "azure-cli", "ARM_CLIENT_ID": "i", "ARM_CLIENT_SECRET": "s"}, "azure-cli"),
        ({"DATABRICKS_USERNAME": "u", "DATABRICKS_PASSWORD": "p"}, "basic"),
        ({"DATABRICKS_METADATA_SERVICE_URL": "http://127.0.0.1/m"}, "metadata-service"),
        ({"DATABRICKS_CLIENT_ID": "i", "DATABRICKS_OIDC_TOKEN": "t"}, "env-oidc"),
        ({"DATABRICKS_CLIENT_ID": "i", "DATABRICKS_OIDC_TOKEN_ENV": "T"}, "env-oidc"),
        ({"DATABRICKS_CLIENT_ID": "i", "DATABRICKS_OIDC_TOKEN_FILEPATH": "/t"}, "file-oidc"),
        ({"DATABRICKS_CLIENT_ID": "i", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}, "github-oidc"),
        ({"DATABRICKS_CLIENT_ID": "i", "SYSTEM_ACCESSTOKEN": "t"}, "azure-devops-oidc"),
        ({"ARM_CLIENT_ID": "i", "ARM_CLIENT_SECRET": "s", "ARM_TENANT_ID": "t"}, "azure-client-secret"),
        ({"ARM_USE_MSI": "true", "ARM_CLIENT_ID": "i"}, "azure-msi"),
        ({"ARM_USE_MSI": "false", "ARM_CLIENT_ID": "i"}, "azure-cli"),
        ({"ARM_CLIENT_ID": "i", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}, "github-oidc-azure"),
        ({"ARM_CLIENT_ID": "i"}, "azure-cli"),
        ({"DATABRICKS_AZURE_RESOURCE_ID": "/subscriptions/s"}, "azure-cli"),
        ({"GOOGLE_CREDENTIALS": "{}"}, "google-credentials"),
        ({"DATABRICKS_GOOGLE_SERVICE_ACCOUNT": "a@b"}, "google-id"),
    ],
)
def test_what_the_environment_asks_for(sdk: type[Config], env: dict[str, str], way: str) -> None:
    login = resolve(env={"DATABRICKS_HOST": A, **env})
    assert (login.way, login.host, login.source) == (way, A, "the environment")
    assert "DATABRICKS_HOST" in login.settings
    assert set(login.settings) <= {"DATABRICKS_HOST", *env}
    assert sdk.made == []  # the login begins with the first request
    assert login.credentials.headers() == {"Authorization": "Bearer t1"}
    assert sdk.made[0]["auth_type"] == way
    assert sdk.made[0]["host"] == A


@pytest.mark.parametrize(
    "more",
    [
        {"ARM_CLIENT_ID": "i", "ARM_CLIENT_SECRET": "s"},
        {"GOOGLE_CREDENTIALS": "{}"},
        {"DATABRICKS_AZURE_RESOURCE_ID": "/subscriptions/s"},
    ],
)
def test_our_own_ways_go_first(sdk: type[Config], more: dict[str, str]) -> None:
    assert isinstance(resolve(env={"DATABRICKS_HOST": A, "DATABRICKS_TOKEN": "t", **more}).credentials, Token)
    secret = {"DATABRICKS_CLIENT_ID": "i", "DATABRICKS_CLIENT_SECRET": "s"}
    assert isinstance(resolve(env={"DATABRICKS_HOST": A, **secret, **more}).credentials, ClientSecret)


def profile(folder: Path, text: str) -> dict[str, str]:
    (folder / "profiles.ini").write_text(text)
    return {"DATABRICKS_CONFIG_FILE": str(folder / "profiles.ini")}


def test_a_profile_asks_by_its_auth_type(sdk: type[Config], tmp_path: Path) -> None:
    env = profile(tmp_path, f"[p]\nhost={B}\nauth_type=databricks-cli\n")
    login = resolve("p", env=env)
    assert (login.way, login.host) == ("databricks-cli", B)
    login.credentials.headers()
    assert sdk.made[0]["profile"] == "p"
    assert sdk.made[0]["config_file"] == env["DATABRICKS_CONFIG_FILE"]


def test_nothing_of_the_environment_joins_a_profile(
    sdk: type[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", A)
    monkeypatch.setenv("DATABRICKS_TOKEN", CANARY)
    monkeypatch.setenv("GOOGLE_CREDENTIALS", CANARY)
    monkeypatch.setenv("ARM_CLIENT_SECRET", CANARY)
    env = profile(tmp_path, f"[p]\nhost={B}\nazure_client_id=i\nazure_client_secret=s\n")
    resolve("p", env={**os.environ, **env}).credentials.headers()
    made = sdk.made[0]
    assert (made["host"], made["azure_client_secret"], made["profile"]) == (B, "s", "")
    assert made["token"] == made["google_credentials"] == ""
    assert CANARY not in str(made)


def test_the_host_may_come_from_azure(sdk: type[Config]) -> None:
    login = resolve(env={"DATABRICKS_AZURE_RESOURCE_ID": "/subscriptions/s"})
    assert login.host == A
    assert "host" not in sdk.made[0]


def test_a_login_for_another_host_is_not_used(sdk: type[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "__init__", lambda self, **_: setattr(self, "host", B))
    credentials = SdkCredentials(A, [Way("runtime")], {}, "the environment")
    with pytest.raises(AuthError, match=f"it is for {B}, not for {A}"):
        credentials.headers()


# -- a host and nothing else ------------------------------------------------------------------------------


def test_a_host_alone_is_served_by_a_command_that_is_there(sdk: type[Config], tmp_path: Path) -> None:
    env = {"DATABRICKS_HOST": A, "PATH": commands(tmp_path, "databricks", "az")}
    login = resolve(env=env)
    assert login.way == "databricks-cli"  # az is asked for hosts of Azure only
    assert any("has no DATABRICKS_TOKEN" in sentence for sentence in login.passed_over)


def test_on_azure_the_second_command_is_asked_when_the_first_fails(
    sdk: type[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "fails", {"azure-cli": ValueError("not logged in")})
    host = "https://adb-1.2.azuredatabricks.net"
    login = resolve(env={"DATABRICKS_HOST": host, "PATH": commands(tmp_path, "databricks", "az")})
    assert login.way == "azure-cli or databricks-cli"
    login.credentials.headers()
    assert isinstance(login.credentials, SdkCredentials)
    assert login.credentials.auth_type == "databricks-cli"


def test_another_source_with_everything_goes_before_a_command(sdk: type[Config], tmp_path: Path) -> None:
    env = {"DATABRICKS_HOST": A, "PATH": commands(tmp_path, "databricks")}
    login = resolve(env={**env, **profile(tmp_path, f"[DEFAULT]\nhost={B}\ntoken=t\n")})
    assert (login.host, login.way) == (B, "pat")


def test_without_commands_every_gap_is_told(sdk: type[Config]) -> None:
    with pytest.raises(AuthError, match="the command databricks is not installed"):
        resolve(env={"DATABRICKS_HOST": A})
    assert sdk.made == []


def test_a_databricks_machine_is_known_by_its_variable(sdk: type[Config]) -> None:
    login = resolve(env={"DATABRICKS_RUNTIME_VERSION": "17.1"})
    assert (login.way, login.host, login.settings) == ("runtime", A, ("DATABRICKS_RUNTIME_VERSION",))


# -- without the extra ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "asking"),
    [
        ({"DATABRICKS_AUTH_TYPE": "azure-cli"}, "DATABRICKS_AUTH_TYPE of the environment"),
        ({"ARM_CLIENT_ID": "i", "ARM_CLIENT_SECRET": CANARY}, "ARM_CLIENT_ID, ARM_CLIENT_SECRET of"),
        ({"GOOGLE_CREDENTIALS": CANARY}, "GOOGLE_CREDENTIALS of the environment"),
        ({"DATABRICKS_AZURE_RESOURCE_ID": "/s"}, "DATABRICKS_AZURE_RESOURCE_ID of the environment"),
        (
            {"DATABRICKS_CLIENT_ID": "i", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": CANARY},
            "DATABRICKS_CLIENT_ID, ACTIONS_ID_TOKEN_REQUEST_TOKEN of the environment",
        ),
    ],
)
def test_what_asks_for_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], asking: str
) -> None:
    monkeypatch.setattr(sdk_auth, "is_installed", lambda: False)
    with pytest.raises(AuthError) as caught:
        resolve(env={"DATABRICKS_HOST": A, **env})
    assert asking in caught.value.what
    assert "pip install 'reconciler[databricks]'" in caught.value.fix
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_profile_that_asks_for_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sdk_auth, "is_installed", lambda: False)
    env = profile(tmp_path, f"[p]\nhost={B}\nauth_type=databricks-cli\n")
    with pytest.raises(AuthError, match=r"auth_type of profile p of .*profiles\.ini asks for"):
        resolve("p", env=env)


def test_a_host_alone_tells_of_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sdk_auth, "is_installed", lambda: False)
    with pytest.raises(AuthError, match=r"databricks-cli: needs pip install 'reconciler\[databricks\]'"):
        resolve(env={"DATABRICKS_HOST": A, "PATH": commands(tmp_path, "databricks")})


def test_an_sdk_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "databricks.sdk.config", None)
    with pytest.raises(AuthError, match="cannot be imported"):
        SdkCredentials(A, [Way("basic")], {}, "the environment").headers()


@pytest.mark.parametrize(
    "env",
    [
        {"DATABRICKS_HOST": A, "DATABRICKS_TOKEN": "t"},
        {"DATABRICKS_HOST": A, "DATABRICKS_CLIENT_ID": "i", "DATABRICKS_CLIENT_SECRET": "s"},
        {"DATABRICKS_CONFIG_PROFILE": "p"},
        {"DATABRICKS_HOST": A},
        {"DATABRICKS_HOST": A, "ARM_CLIENT_ID": "i", "ARM_CLIENT_SECRET": "s"},
    ],
)
def test_the_sdk_is_not_imported_to_find_credentials(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".databrickscfg").write_text(f"[p]\nhost={B}\ntoken=t\n")
    code = (
        "import sys\nfrom reconciler.client.auth import resolve\n"
        "from reconciler.client.http import HttpSession\n"
        "try:\n    login = resolve()\n    HttpSession(login.host, credentials=login.credentials)\n"
        "    login.way == 'pat' and login.credentials.headers()\n"
        "except Exception as error:\n    assert 'no credentials' in str(error), error\n"
        "print(sorted(name for name in sys.modules if name.startswith(('databricks.sdk', 'google.auth'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), **env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


# -- requests ---------------------------------------------------------------------------------------------


def test_the_sdk_is_asked_for_every_request_by_one_thread_at_a_time(sdk: type[Config]) -> None:
    inside = 0
    most = 0
    begin = threading.Barrier(8)

    class Slow(sdk):  # type: ignore[misc, valid-type]
        def authenticate(self) -> dict[str, str]:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            headers: dict[str, str] = super().authenticate()
            threading.Event().wait(0.001)  # lets another thread in, if any may come
            inside -= 1
            return headers

    credentials = SdkCredentials(A, [Way("azure-cli")], {}, "the environment", make=Slow)

    def ask(_: int) -> str:
        begin.wait()
        return credentials.headers()["Authorization"]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 8
    assert most == 1
    assert len(sdk.made) == 1


def test_an_error_of_the_sdk_is_told_without_its_settings(
    sdk: type[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (
        f"default auth: azure-client-secret: invalid {CANARY}\x1b[2J. Config: host=h, x=y. Env: ARM_CLIENT_ID"
    )
    monkeypatch.setattr(sdk, "fails", {"azure-client-secret": ValueError(said)})
    env = {"DATABRICKS_HOST": A, "ARM_CLIENT_ID": "i", "ARM_CLIENT_SECRET": CANARY, "ARM_TENANT_ID": "t"}
    with pytest.raises(AuthError) as caught:
        resolve(env=env).credentials.headers()
    assert "azure-client-secret: invalid ***\\x1b[2J;" in caught.value.why
    assert "Config:" not in str(caught.value)
    assert "check ARM_CLIENT_ID" in caught.value.fix
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_an_error_while_signing_is_told_too(sdk: type[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Config) -> dict[str, str]:
        raise OSError(f"cannot get access token: {CANARY}")

    monkeypatch.setattr(sdk, "authenticate", fail)
    credentials = SdkCredentials(A, [Way("basic")], {"password": CANARY}, "the environment")
    with pytest.raises(AuthError, match=r"cannot get access token: \*\*\*") as caught:
        credentials.headers()
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_descriptions_hold_no_credential(sdk: type[Config]) -> None:
    login: Login = resolve(env={"DATABRICKS_HOST": A, "ARM_CLIENT_ID": "i", "ARM_CLIENT_SECRET": CANARY})
    login.credentials.headers()
    assert (
        login.credentials.describe() == f"azure-client-secret by databricks-sdk, from the environment for {A}"
    )
    for value in (login, login.credentials, vars(login.credentials)):
        assert CANARY not in repr(value)
        assert "Bearer t1" not in repr(value)


def _part(claims: dict[str, int]) -> str:
    """A part of a JWT: JSON in base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("header", "end"),
    [
        (f"Bearer e30.{_part({'exp': 4102444800})}.s", datetime(2100, 1, 1, tzinfo=UTC)),
        ("Bearer e30.e30.s", None),
        ("Bearer e30.W10.s", None),
        ("Bearer a.b.c", None),
        ("Bearer dapi", None),
        ("", None),
    ],
)
def test_the_end_stands_in_a_jwt(header: str, end: datetime | None) -> None:
    credentials = SdkCredentials(A, [Way("azure-cli")], {}, "the environment")
    credentials._seen = Secret(header)
    assert credentials.expires() == end


def test_the_sdk_may_know_the_end(sdk: type[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    end = datetime(2100, 1, 1, tzinfo=UTC)
    token: Callable[[Config], Any] = lambda self: SimpleNamespace(expiry=end)  # noqa: E731
    monkeypatch.setattr(sdk, "oauth_token", token, raising=False)
    credentials = SdkCredentials(A, [Way("oauth-m2m")], {}, "the environment")
    assert credentials.expires() is None
    credentials.headers()
    assert credentials.expires() == end
