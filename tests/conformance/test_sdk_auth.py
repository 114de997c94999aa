"""Logins through the real databricks-sdk, against the emulator and servers on loopback."""

from __future__ import annotations

import base64
import json
import logging
import os
import ssl
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trustme

from reconciler.client.auth import resolve
from reconciler.client.databricks import DatabricksDeploymentClient
from reconciler.client.sdk_auth import SdkCredentials, Way
from reconciler.emulator.testing import RunningEmulator
from reconciler.errors import AuthError
from tests.unit.client.test_auth_network import Proxy
from tests.unit.client.wire import CANARY, Seen, Server, answer, refusal

END = 4102444800  # 2100-01-01T00:00:00Z


def jwt(**claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2lnbmF0dXJl"


class Workspace(Server):
    """Host metadata and a token route as a workspace has them, and what a runner asks for its own token."""

    def __init__(self) -> None:
        super().__init__()
        self.respond = self.reply

    def reply(self, seen: Seen) -> bytes:
        path = seen.path.partition("?")[0]
        if path == "/.well-known/databricks-config":
            return answer(200, {"oidc_endpoint": f"{self.url}/oidc"})
        if path == "/oidc/.well-known/oauth-authorization-server":
            return answer(
                200, {"token_endpoint": f"{self.url}/token", "authorization_endpoint": f"{self.url}/a"}
            )
        if path == "/runner":
            return answer(200, {"value": f"{CANARY}-of-the-runner"})
        if path == "/token":
            return answer(200, {"access_token": jwt(exp=END), "token_type": "Bearer", "expires_in": 3600})
        if path == "/metadata":
            return answer(200, {"access_token": f"{CANARY}m", "token_type": "Bearer", "expires_on": END})
        return refusal(404)

    def asked(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path.startswith(path)]


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("databricks.sdk")
    for name in list(os.environ):
        if name.startswith(("DATABRICKS_", "ARM_", "GOOGLE_", "ACTIONS_", "SYSTEM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    workspace = Workspace()
    yield workspace
    workspace.close()


def through_sdk(host: str) -> SdkCredentials:
    values = {"client_id": "the-id", "client_secret": CANARY}
    return SdkCredentials(host, [Way("oauth-m2m")], values, "the environment")


def test_a_whole_client_signs_its_requests_with_the_sdk(
    emulator: RunningEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = through_sdk(emulator.url)
    before = emulator.count("POST", "/oidc/v1/token")
    with (
        caplog.at_level(logging.DEBUG),
        DatabricksDeploymentClient("databricks", host=emulator.url, credentials=credentials) as client,
    ):
        assert isinstance(client.list_endpoints(), list)
        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(lambda _: client.list_endpoints(), range(8)):
                pass
    assert emulator.count("POST", "/oidc/v1/token") == before + 1
    end = credentials.expires()
    assert end is not None
    assert 3500 < (end - datetime.now(UTC)).total_seconds() <= 3600
    token = credentials.headers()["Authorization"].removeprefix("Bearer ")
    told = credentials.describe() + repr(credentials) + repr(vars(credentials)) + caplog.text
    assert f"oauth-m2m by databricks-sdk, from the environment for {emulator.url}" in told
    assert CANARY not in told
    assert token not in told


def test_a_profile_is_not_mixed_with_the_environment(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "https://other.invalid")
    monkeypatch.setenv("DATABRICKS_TOKEN", CANARY)
    monkeypatch.setenv("GOOGLE_CREDENTIALS", CANARY)
    (tmp_path / ".databrickscfg").write_text(f"[p]\nhost={workspace.url}\nusername=u\npassword=w\n")
    login = resolve("p")
    assert (login.way, login.settings) == ("basic", ("host", "username", "password"))
    expected = "Basic " + base64.b64encode(b"u:w").decode()
    assert login.credentials.headers() == {"Authorization": expected}
    assert {seen.path for seen in workspace.seen} == {"/.well-known/databricks-config"}


def test_github_runner(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "the-principal")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", CANARY)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{workspace.url}/runner?v=1")
    login = resolve()
    assert workspace.seen == []  # nothing is asked before the first request
    assert login.credentials.headers() == {"Authorization": f"Bearer {jwt(exp=END)}"}
    assert login.way == "github-oidc"
    sent = parse_qs(workspace.asked("/token")[0].body.decode())
    assert sent["subject_token"] == [f"{CANARY}-of-the-runner"]
    assert sent["client_id"] == ["the-principal"]
    assert login.credentials.expires() == datetime.fromtimestamp(END, UTC)


def test_gitlab_runner(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "the-principal")
    monkeypatch.setenv("DATABRICKS_OIDC_TOKEN_ENV", "GITLAB_ID_TOKEN")
    monkeypatch.setenv("GITLAB_ID_TOKEN", CANARY)
    login = resolve()
    assert login.credentials.headers() == {"Authorization": f"Bearer {jwt(exp=END)}"}
    assert login.way == "env-oidc"
    assert parse_qs(workspace.asked("/token")[0].body.decode())["subject_token"] == [CANARY]


def test_a_refused_runner_is_told_without_its_token(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "the-principal")
    monkeypatch.setenv("DATABRICKS_OIDC_TOKEN", CANARY)
    kept = workspace.reply
    refused = answer(400, {"error": "invalid_grant", "error_description": f"{CANARY} is not for us"})
    workspace.respond = lambda seen: refused if seen.path == "/token" else kept(seen)
    with caplog.at_level(logging.DEBUG), pytest.raises(AuthError, match="invalid_grant") as caught:
        resolve().credentials.headers()
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert caught.value.__context__ is None


def test_metadata_service(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_METADATA_SERVICE_URL", f"{workspace.url}/metadata")
    login = resolve()
    assert login.credentials.headers() == {"Authorization": f"Bearer {CANARY}m"}
    assert login.way == "metadata-service"


@pytest.fixture
def databricks_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command that answers as `databricks auth token` does; padded, for the SDK takes no small one."""
    command = tmp_path / "bin" / "databricks"
    command.parent.mkdir()
    token = {"access_token": jwt(exp=END), "token_type": "Bearer", "expiry": "2099-12-31T23:00:00Z"}
    lines = f"#!/bin/sh\necho \"$@\" >> {command.parent}/calls\necho '{json.dumps(token)}'\nexit\n"
    command.write_text(lines + "#" * 1024 * 1024)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    return command


def test_a_host_alone_is_served_by_the_databricks_command(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, databricks_command: Path
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    login = resolve()
    assert not (databricks_command.parent / "calls").exists()
    assert login.credentials.headers() == {"Authorization": f"Bearer {jwt(exp=END)}"}
    assert login.way == "databricks-cli"
    assert f"--host {workspace.url}" in (databricks_command.parent / "calls").read_text()
    assert login.credentials.expires() == datetime.fromtimestamp(END, UTC)
    assert any("has no DATABRICKS_TOKEN" in sentence for sentence in login.passed_over)


def test_a_login_that_ended_says_what_to_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, databricks_command: Path
) -> None:
    text = databricks_command.read_text().replace("\nexit\n", "\nexit 1\n", 1)
    databricks_command.write_text(text.replace("echo '{", "echo no token; false '{", 1))
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    with pytest.raises(AuthError, match=f"databricks auth login --host {workspace.url}") as caught:
        resolve().credentials.headers()
    assert "databricks-cli:" in caught.value.why


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"azure_use_msi": "true"}, "az login --identity"),
        ({"google_credentials": json.dumps({"private_key": CANARY})}, "GOOGLE_CREDENTIALS"),
        ({"google_credentials": CANARY}, "GOOGLE_CREDENTIALS"),
        ({"auth_type": "made-up"}, "made-up"),
    ],
)
def test_what_does_not_work_says_what_to_do(
    workspace: Workspace, tmp_path: Path, values: dict[str, str], words: str
) -> None:
    lines = "".join(f"{key}={value}\n" for key, value in values.items())
    (tmp_path / ".databrickscfg").write_text(f"[p]\nhost={workspace.url}\n{lines}")
    with pytest.raises(AuthError) as caught:
        resolve("p").credentials.headers()
    assert words in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


_AZURE_HOST = "adb-1.2.azuredatabricks.net"


@pytest.fixture
def az_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command that answers as `az account …` does for a person."""
    folder = tmp_path / "bin"
    folder.mkdir()
    token = {"tokenType": "Bearer", "accessToken": jwt(exp=END, upn="me"), "expiresOn": "2099-12-31 23:00:00"}
    (folder / "az").write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/calls\n'
        f"case $2 in show) echo '{{}}';; *) echo '{json.dumps(token)}';; esac\n"
    )
    (folder / "az").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.mark.parametrize("knows_host", [True, False])
def test_the_az_command_through_a_proxy_with_an_authority_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, az_command: Path, knows_host: bool
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(_AZURE_HOST, "management.azure.com").configure_cert(context)
    server = Server(wrap=context)
    found = answer(200, {"properties": {"workspaceUrl": _AZURE_HOST}})
    server.respond = lambda seen: found if "/subscriptions/" in seen.path else refusal(404)
    proxy = Proxy(server.host)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("ARM_TENANT_ID", "the-tenant")
    if knows_host:
        monkeypatch.setenv("DATABRICKS_HOST", _AZURE_HOST)
    else:
        monkeypatch.setenv("DATABRICKS_AZURE_RESOURCE_ID", "/subscriptions/s/resourceGroups/g/workspaces/w")
    login = resolve()
    assert login.credentials.headers()["Authorization"] == f"Bearer {jwt(exp=END, upn='me')}"
    assert (login.host, login.way) == (f"https://{_AZURE_HOST}", "azure-cli")
    assert "--tenant the-tenant" in (az_command / "calls").read_text()
    expected = {_AZURE_HOST} if knows_host else {"management.azure.com"}
    assert {line.split()[1].removesuffix(":443") for line in proxy.asked} == expected
    proxy.close()
    server.close()
