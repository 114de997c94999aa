"""Logins of clouds and their runners through the real databricks-sdk, of which nothing is patched.

Every request goes by HTTPS_PROXY to one server on loopback that plays all hosts, with certificates of an
authority made for the test: Entra ID, Azure's resource manager, Google's token routes, the runners, the
workspace. No name is looked up, no other machine is asked.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from reconciler.cli.main import main
from reconciler.client.databricks import DatabricksDeploymentClient
from reconciler.errors import AuthError
from tests.conformance.test_sdk_auth import END, jwt
from tests.unit.client.test_auth_network import Proxy
from tests.unit.client.wire import CANARY, Seen, Server, answer, refusal

AZURE, GOVERNMENT, GOOGLE = (
    "adb-1.2.azuredatabricks.net",
    "adb-1.2.databricks.azure.us",
    "1.gcp.databricks.com",
)
ENTRA, ENTRA_US, ARM = "login.microsoftonline.com", "login.microsoftonline.us", "management.azure.com"
TOKENS, IAM = "oauth2.googleapis.com", "iamcredentials.googleapis.com"
GITHUB, DEVOPS = "pipelines.actions.githubusercontent.com", "dev.azure.com"
HOSTS = (AZURE, GOVERNMENT, GOOGLE, ENTRA, ENTRA_US, ARM, TOKENS, IAM, GITHUB, DEVOPS)
# Azure Databricks as an application of Entra ID (Microsoft's docs, "Get Microsoft Entra ID tokens").
DATABRICKS_ID = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"
LOGIN = jwt(exp=END, who="login")


class Internet(Server):
    """All hosts at once. ``forms``: what was posted, as (host, path, fields)."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(wrap=context)
        self.respond = self.reply
        self.forms: list[tuple[str, str, dict[str, str]]] = []

    def reply(self, seen: Seen) -> bytes:
        host, path = seen.headers["host"].partition(":")[0], seen.path.partition("?")[0]
        form = {name: values[0] for name, values in parse_qs(seen.body.decode()).items()}
        if seen.method == "POST":
            self.forms.append((host, path, form))
        routes: dict[str, Callable[[str, dict[str, str], Seen], bytes]] = {
            ENTRA: self._entra,
            ENTRA_US: self._entra,
            ARM: lambda *_: answer(200, {"properties": {"workspaceUrl": AZURE}}),
            TOKENS: self._google,
            IAM: self._iam,
            GITHUB: lambda *_: answer(200, {"value": f"{CANARY}-of-github"}),
            DEVOPS: lambda *_: answer(200, {"oidcToken": f"{CANARY}-of-devops"}),
        }
        return routes.get(host, self._workspace)(path, form, seen)

    def _entra(self, path: str, form: dict[str, str], seen: Seen) -> bytes:
        if form.get("client_secret") == "wrong":
            said = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret"}
            return answer(401, said)
        token = LOGIN if form["resource"] == DATABRICKS_ID else f"for-{form['resource']}"
        return answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": "3600"})

    def _google(self, path: str, form: dict[str, str], seen: Seen) -> bytes:
        if "target_audience" in claims(form["assertion"]):
            return answer(200, {"id_token": LOGIN})
        return answer(200, {"access_token": "of-the-account", "expires_in": 3600})

    def _iam(self, path: str, form: dict[str, str], seen: Seen) -> bytes:
        if path.endswith(":generateIdToken"):
            return answer(200, {"token": LOGIN})
        if path.endswith(":generateAccessToken"):
            return answer(200, {"accessToken": "impersonated", "expireTime": "2099-12-31T23:00:00Z"})
        return refusal(404)

    def _workspace(self, path: str, form: dict[str, str], seen: Seen) -> bytes:
        host = seen.headers["host"].partition(":")[0]
        if path == "/aad/auth":
            where = f"https://{ENTRA}/the-tenant/oauth2/authorize?client_id=x"
            return answer(302, b"", {"Location": where})
        if path == "/oidc/oauth2/v2.0/authorize":
            where = f"https://{ENTRA}/the-tenant/oauth2/v2.0/authorize?client_id=x"
            return answer(302, b"", {"Location": where})
        if path == "/.well-known/databricks-config":
            return answer(200, {"oidc_endpoint": f"https://{host}/oidc"})
        if path == "/oidc/.well-known/oauth-authorization-server":
            routes = {
                "token_endpoint": f"https://{host}/token",
                "authorization_endpoint": f"https://{host}/a",
            }
            return answer(200, routes)
        if path == "/token":
            return answer(200, {"access_token": LOGIN, "token_type": "Bearer", "expires_in": 3600})
        if path == "/api/2.0/preview/scim/v2/Me":
            return answer(200, {"userName": "the-principal", "displayName": "CI"})
        if path == "/api/2.0/serving-endpoints":
            return answer(200, {"endpoints": [{"name": "chat"}]})
        return refusal(404)

    def asked(self, host: str, method: str = "") -> list[Seen]:
        return [
            seen
            for seen in self.seen
            if seen.headers["host"].partition(":")[0] == host and method in ("", seen.method)
        ]


def claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, its signature aside."""
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def internet(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Internet]:
    """The only way out is the proxy, and it leads to one server."""
    pytest.importorskip("databricks.sdk")
    for name in list(os.environ):
        if name.startswith(("DATABRICKS_", "ARM_", "GOOGLE_", "ACTIONS_", "SYSTEM_", "GCE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*HOSTS).configure_cert(context)
    server = Internet(context)
    proxy = Proxy(server.host)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    yield server
    asked = {line.split()[1].removesuffix(":443") for line in proxy.asked}
    proxy.close()
    server.close()
    assert asked <= set(HOSTS), "somebody else was asked"


def log_in() -> tuple[str, dict[str, str]]:
    """Drive a whole client; gives the login's way and the headers that the workspace got."""
    with DatabricksDeploymentClient("databricks") as client:
        assert [endpoint["name"] for endpoint in client.list_endpoints()] == ["chat"]
        credentials = client.http.credentials
    assert credentials is not None
    assert credentials.expires() == datetime.fromtimestamp(END, UTC)
    assert CANARY not in repr(credentials) + credentials.describe()
    assert LOGIN not in repr(credentials) + credentials.describe()
    return credentials.describe().partition(" ")[0], credentials.headers()


def received(internet: Internet, host: str) -> dict[str, str]:
    """The headers of the request for endpoints, as the workspace got them."""
    [seen] = [seen for seen in internet.asked(host) if seen.path == "/api/2.0/serving-endpoints"]
    assert seen.headers["authorization"] == f"Bearer {LOGIN}"
    return seen.headers


# -- Azure -------------------------------------------------------------------------------------------------


def _azure(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in {"ARM_CLIENT_ID": "the-app", "ARM_CLIENT_SECRET": CANARY, **values}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("knows_tenant", [True, False])
def test_azure_client_secret(internet: Internet, monkeypatch: pytest.MonkeyPatch, knows_tenant: bool) -> None:
    _azure(monkeypatch, DATABRICKS_HOST=AZURE, **({"ARM_TENANT_ID": "the-tenant"} if knows_tenant else {}))
    way, _ = log_in()
    assert way == "azure-client-secret"
    posted = {form["resource"]: (path, form) for host, path, form in internet.forms if host == ENTRA}
    assert set(posted) == {DATABRICKS_ID, "https://management.core.windows.net/"}
    for path, form in posted.values():
        assert path == "/the-tenant/oauth2/token"
        assert (form["grant_type"], form["client_id"], form["client_secret"]) == (
            "client_credentials",
            "the-app",
            CANARY,
        )
    management = received(internet, AZURE)["x-databricks-azure-sp-management-token"]
    assert management == "for-https://management.core.windows.net/"
    assert bool([seen for seen in internet.asked(AZURE) if seen.path == "/aad/auth"]) is not knows_tenant


def test_azure_client_secret_finds_the_workspace_by_its_resource_id(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Databricks/workspaces/w"
    _azure(monkeypatch, ARM_TENANT_ID="the-tenant", DATABRICKS_AZURE_RESOURCE_ID=resource)
    assert log_in()[0] == "azure-client-secret"
    [asked] = internet.asked(ARM)
    assert "/" + asked.path.partition("?")[0].lstrip("/") == resource
    assert asked.headers["authorization"] == "Bearer for-https://management.azure.com/"
    assert received(internet, AZURE)["x-databricks-azure-workspace-resource-id"] == resource


def test_azure_of_the_government_asks_its_own_entra_id(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    _azure(
        monkeypatch, DATABRICKS_HOST=GOVERNMENT, ARM_TENANT_ID="the-tenant", ARM_ENVIRONMENT="usgovernment"
    )
    assert log_in()[0] == "azure-client-secret"
    assert {host for host, *_ in internet.forms} == {ENTRA_US}
    assert internet.asked(ENTRA) == []


def test_a_wrong_secret_is_told_in_the_words_of_entra_id(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    _azure(monkeypatch, DATABRICKS_HOST=AZURE, ARM_TENANT_ID="the-tenant", ARM_CLIENT_SECRET="wrong")
    with pytest.raises(AuthError) as caught:
        DatabricksDeploymentClient("databricks").list_endpoints()
    assert "AADSTS7000215" in caught.value.why
    assert "ARM_CLIENT_SECRET" in caught.value.fix


def test_auth_check_says_how_and_for_whom(
    internet: Internet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _azure(monkeypatch, DATABRICKS_HOST=AZURE, ARM_TENANT_ID="the-tenant")
    assert main(["auth", "check", "-t", "databricks", "-o", "json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["way"], report["host"]) == ("azure-client-secret", f"https://{AZURE}")
    assert report["user"] == {"user_name": "the-principal", "display_name": "CI"}
    assert report["expires"] == "2100-01-01T00:00:00Z"
    for secret in (CANARY, LOGIN, "for-https"):
        assert secret not in out + err


# -- runners -----------------------------------------------------------------------------------------------


def _github(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", f"{CANARY}-of-the-job")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"https://{GITHUB}/token?api-version=2.0")


def test_github_oidc(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    _github(monkeypatch)
    monkeypatch.setenv("DATABRICKS_HOST", GOOGLE)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "the-principal")
    assert log_in()[0] == "github-oidc"
    asked = internet.asked(GITHUB)
    assert {seen.headers["authorization"] for seen in asked} == {f"Bearer {CANARY}-of-the-job"}
    assert {parse_qs(urlsplit(seen.path).query)["audience"][0] for seen in asked} == {
        f"https://{GOOGLE}/token"
    }
    [form] = {json.dumps(form) for host, path, form in internet.forms if path == "/token" and host == GOOGLE}
    sent = json.loads(form)
    assert sent["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
    assert (sent["client_id"], sent["subject_token"]) == ("the-principal", f"{CANARY}-of-github")
    received(internet, GOOGLE)


@pytest.mark.parametrize("knows_tenant", [True, False])
def test_github_oidc_azure(internet: Internet, monkeypatch: pytest.MonkeyPatch, knows_tenant: bool) -> None:
    _github(monkeypatch)
    monkeypatch.setenv("DATABRICKS_HOST", AZURE)
    monkeypatch.setenv("ARM_CLIENT_ID", "the-app")
    if knows_tenant:
        monkeypatch.setenv("ARM_TENANT_ID", "the-tenant")
    assert log_in()[0] == "github-oidc-azure"
    [asked] = internet.asked(GITHUB)
    assert parse_qs(urlsplit(asked.path).query)["audience"] == ["api://AzureADTokenExchange"]
    [(path, form)] = [(path, form) for host, path, form in internet.forms if host == ENTRA]
    assert path == "/the-tenant/oauth2/token"
    assert form["client_assertion"] == f"{CANARY}-of-github"
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert (form["resource"], form["client_id"]) == (DATABRICKS_ID, "the-app")
    received(internet, AZURE)


def test_azure_devops_oidc(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", AZURE)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "the-principal")
    for name, value in {
        "ACCESSTOKEN": f"{CANARY}-of-the-step",
        "TEAMFOUNDATIONCOLLECTIONURI": f"https://{DEVOPS}/org/",
        "TEAMPROJECTID": "project",
        "PLANID": "plan",
        "JOBID": "job",
        "HOSTTYPE": "build",
    }.items():
        monkeypatch.setenv(f"SYSTEM_{name}", value)
    assert log_in()[0] == "azure-devops-oidc"
    asked = internet.asked(DEVOPS, "POST")
    assert {seen.path for seen in asked} == {
        "/org/project/_apis/distributedtask/hubs/build/plans/plan/jobs/job/oidctoken?api-version=7.2-preview.1"
    }
    assert {seen.headers["authorization"] for seen in asked} == {f"Bearer {CANARY}-of-the-step"}
    exchanged = [form for host, path, form in internet.forms if (host, path) == (AZURE, "/token")]
    assert {form["subject_token"] for form in exchanged} == {f"{CANARY}-of-devops"}
    received(internet, AZURE)


@pytest.mark.parametrize("way", ["env-oidc", "file-oidc"])
def test_a_token_that_the_runner_left(
    internet: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", GOOGLE)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "the-principal")
    if way == "env-oidc":
        monkeypatch.setenv("DATABRICKS_OIDC_TOKEN_ENV", "GITLAB_ID_TOKEN")
        monkeypatch.setenv("GITLAB_ID_TOKEN", f"{CANARY}-left")
    else:
        (tmp_path / "token").write_text(f"{CANARY}-left")
        monkeypatch.setenv("DATABRICKS_OIDC_TOKEN_FILEPATH", str(tmp_path / "token"))
    assert log_in()[0] == way
    exchanged = [form for host, path, form in internet.forms if (host, path) == (GOOGLE, "/token")]
    assert {form["subject_token"] for form in exchanged} == {f"{CANARY}-left"}
    received(internet, GOOGLE)


# -- Google ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def account() -> dict[str, str]:
    """The key of a service account, as Google gives it; made for this test."""
    from cryptography.hazmat.primitives import serialization as to
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption()).decode()
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k",
        "private_key": pem,
        "client_email": "ci@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"https://{TOKENS}/token",
    }


@pytest.mark.parametrize("form", ["path", "content"])
def test_google_credentials(
    internet: Internet,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    account: dict[str, str],
    form: str,
) -> None:
    (tmp_path / "key.json").write_text(json.dumps(account))
    given = str(tmp_path / "key.json") if form == "path" else json.dumps(account)
    monkeypatch.setenv("DATABRICKS_HOST", GOOGLE)
    monkeypatch.setenv("GOOGLE_CREDENTIALS", given)
    assert log_in()[0] == "google-credentials"
    sent = [claims(form["assertion"]) for host, _, form in internet.forms if host == TOKENS]
    assert {each["iss"] for each in sent} == {account["client_email"]}
    assert {each.get("target_audience") for each in sent} == {f"https://{GOOGLE}", None}
    headers = received(internet, GOOGLE)
    assert headers["x-databricks-gcp-sa-access-token"] == "of-the-account"


def test_google_id(
    internet: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, account: dict[str, str]
) -> None:
    """The machine's own account stands in for another: its key is found as Google's libraries find it."""
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setenv("DATABRICKS_HOST", GOOGLE)
    monkeypatch.setenv("DATABRICKS_GOOGLE_SERVICE_ACCOUNT", "other@p.iam.gserviceaccount.com")
    assert log_in()[0] == "google-id"
    asked = {seen.path.rpartition("/")[2]: seen for seen in internet.asked(IAM, "POST")}
    assert set(asked) == {
        "other@p.iam.gserviceaccount.com:generateAccessToken",
        "other@p.iam.gserviceaccount.com:generateIdToken",
    }
    for_token = asked["other@p.iam.gserviceaccount.com:generateIdToken"]
    assert for_token.json["audience"] == f"https://{GOOGLE}"
    assert received(internet, GOOGLE)["x-databricks-gcp-sa-access-token"] == "impersonated"
