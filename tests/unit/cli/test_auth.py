"""``auth check``: what is said of a login, and what is never said."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.cli.logins import LOGINS
from reconciler.cli.main import main
from reconciler.emulator.testing import RunningEmulator, running
from reconciler.targets import family
from tests.unit.client.test_plugins import GOOD, install
from tests.unit.client.wire import CANARY, Server, answer, refusal


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("DATABRICKS_", "ARM_", "GOOGLE_", "ACTIONS_", "SYSTEM_", "MLFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    return tmp_path


@pytest.fixture(scope="module")
def emulator() -> Iterator[RunningEmulator]:
    with running(user="ann@example.com") as server:
        yield server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_local_needs_no_login(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["auth", "check", "-t", "local"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("no login is needed")
    assert err == "target: local\n"
    assert main(["auth", "check", "-t", "local", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "target": "local", "login": "none"}


def test_a_token(
    emulator: RunningEmulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", emulator.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", CANARY)
    (folder / ".databrickscfg").write_text("[DEFAULT]\nhost=b.example\ntoken=other\n")
    assert main(["auth", "check", "-t", "databricks"]) == 0
    out, err = capsys.readouterr()
    found = rows(out)
    assert found.pop("passed over").startswith("profile DEFAULT of")
    assert found == {
        "host": emulator.url,
        "way": "pat (a token)",
        "from": "the environment: DATABRICKS_HOST, DATABRICKS_TOKEN",
        "as": "ann@example.com (ann)",
        "until": "no expiry known",
        "proved by": "GET /api/2.0/preview/scim/v2/Me",
    }
    assert "not looked at, the environment comes first" in out
    assert CANARY not in out + err


def test_a_profile_with_a_client_secret_as_json(
    emulator: RunningEmulator, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    path = folder / ".databrickscfg"
    path.write_text(f"[p]\nhost={emulator.url}\nclient_id=the-id\nclient_secret={CANARY}\n")
    assert main(["--log-level", "debug", "auth", "check", "-t", "databricks://p", "-o", "json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["ok"] is True
    assert (report["way"], report["source"]) == ("oauth-m2m", f"profile p of {path}")
    assert report["settings"] == ["host", "client_id", "client_secret"]
    assert report["user"]["user_name"] == "ann@example.com"
    assert report["expires"].endswith("Z")
    assert CANARY not in out + err
    assert "local-" not in out + err  # how the tokens of the emulator begin


def test_no_login_lists_what_was_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["auth", "check", "-t", "databricks", "-o", "json"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["ok"] is False
    assert "the environment: no DATABRICKS_HOST" in report["error"]["why"]
    assert ".databrickscfg: does not exist" in report["error"]["why"]
    assert "no credentials for Databricks" in err


def test_a_refused_token_is_shown_with_where_it_came_from(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.otherwise = refusal(401, "UNAUTHENTICATED", f"{CANARY} is no token")
    monkeypatch.setenv("DATABRICKS_HOST", server.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", CANARY)
    for form in ("text", "json"):
        assert main(["auth", "check", "-t", "databricks", "-o", form]) == 1
        out, err = capsys.readouterr()
        assert "DATABRICKS_TOKEN" in out
        assert "HTTP 401" in err
        assert CANARY not in out + err


def test_an_answer_without_a_user(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.otherwise = answer(200, {"hello": "world"})
    monkeypatch.setenv("DATABRICKS_HOST", server.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", CANARY)
    assert main(["auth", "check", "-t", "databricks"]) == 1
    assert "names no user" in capsys.readouterr().err
    assert [seen.path for seen in server.seen] == ["/api/2.0/preview/scim/v2/Me"]


@pytest.mark.parametrize("target", ["databricks://scope:key", "databricks://"])
def test_a_target_that_names_no_profile(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["auth", "check", "-t", target]) == 1
    assert "names no profile" in capsys.readouterr().err


# -- the AI Gateway ----------------------------------------------------------------------------------------


def jwt(**claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.{CANARY}"


def rows(out: str) -> dict[str, str]:
    return {line[:12].strip(): line[12:].strip() for line in out.splitlines()}


@pytest.fixture
def gateway(server: Server) -> Server:
    """It serves one endpoint, and asks for whatever is sent."""
    server.otherwise = answer(200, {"endpoints": [{"name": "chat"}], "next_page_token": "more"})
    return server


def _basic(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", CANARY)


def _file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    (folder / ".mlflow").mkdir()
    (folder / ".mlflow" / "credentials").write_text(f"[mlflow]\nmlflow_tracking_password={CANARY}\n")


def _token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", CANARY)


def _signed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", jwt(exp=4102444800, email="ann@example.com", sub="1"))


def _nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None: ...


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (
            _basic,
            {
                "way": "basic (user and password)",
                "from": "the environment: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD",
                "as": "ann",
                "until": "no expiry known",
            },
        ),
        (
            _file,
            {
                "from": "FOLDER/.mlflow/credentials: MLFLOW_TRACKING_USERNAME, mlflow_tracking_password",
                "as": "ann",
            },
        ),
        (
            _token,
            {
                "way": "token (a token)",
                "from": "the environment: MLFLOW_TRACKING_TOKEN",
                "as": "not told: this API does not say",
                "until": "no expiry known",
            },
        ),
        (_signed, {"as": "ann@example.com", "until": "2100-01-01T00:00:00Z (in "}),
        (_nothing, {"way": "none (nothing is sent)", "from": "nowhere", "as": "anybody"}),
    ],
)
def test_the_login_of_a_gateway(
    prepare: Callable[[Path, pytest.MonkeyPatch], None],
    expected: dict[str, str],
    gateway: Server,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(folder, monkeypatch)

    assert main(["--log-level", "debug", "auth", "check", "-t", gateway.url]) == 0

    out, err = capsys.readouterr()
    found = rows(out)
    for row, text in expected.items():
        assert found[row].startswith(text.replace("FOLDER", str(folder))), (row, found[row])
    assert found["host"] == gateway.url
    assert found["proved by"] == "GET /api/2.0/endpoints/: 1 endpoint"
    assert [seen.path for seen in gateway.seen] == ["/api/2.0/endpoints/"], "one read, of one page"
    sent = gateway.seen[0].headers.get("authorization", "")
    assert bool(sent) is (prepare is not _nothing)
    for secret in filter(None, (CANARY, sent.partition(" ")[2])):
        assert secret not in out + err


def test_the_login_of_a_tracking_servers_gateway(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    _basic(folder, monkeypatch)
    assert main(["auth", "check", "-t", f"mlflow-gateway+{server.url}"]) == 0
    out, err = capsys.readouterr()
    found = rows(out)
    assert (found["way"], found["as"], found["host"]) == ("basic (user and password)", "ann", server.url)
    assert found["proved by"] == "GET /api/3.0/mlflow/gateway/endpoints/list: 0 endpoints"
    assert [seen.path for seen in server.seen] == ["/api/3.0/mlflow/gateway/endpoints/list"]
    assert CANARY not in out + err


def test_a_gateway_that_refuses_the_login(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    server.otherwise = refusal(401, "", f"{CANARY} is not for us")
    _basic(folder, monkeypatch)
    assert main(["auth", "check", "-t", server.url, "-o", "json"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["ok"], report["way"], report["user"]["user_name"]) == (False, "basic", "ann")
    assert "proof" not in report
    assert "HTTP 401" in err
    assert CANARY not in out + err


# -- OpenAI ------------------------------------------------------------------------------------------------


@pytest.fixture
def openai(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AZURE_")):
            monkeypatch.delenv(name)
    server.otherwise = answer(200, {"object": "list", "data": [{"id": "gpt-4o"}, {"id": "o3"}]})
    return server


def _run(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str], str]:
    code = main(["auth", "check", "-t", "openai"])
    out, err = capsys.readouterr()
    assert CANARY not in out + err
    return code, rows(out), err


def test_the_login_of_openai(
    openai: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{openai.url}/v1")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    code, found, _ = _run(capsys)
    assert code == 0
    assert found == {
        "host": f"{openai.url}/v1",
        "way": "api-key (a key)",
        "from": "the environment: OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_ORG_ID",
        "as": "not told: this API does not say",
        "until": "no expiry known",
        "proved by": "GET /models: 2 models",
    }
    [seen] = openai.seen
    assert (seen.method, seen.path) == ("GET", "/v1/models")
    assert seen.headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize("kind", ["azure", "azure_ad"])
def test_the_login_of_azure_openai(
    openai: Server, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = CANARY if kind == "azure" else jwt(exp=4102444800, upn="ann@example.com")
    for name, value in {"KEY": key, "TYPE": kind, "BASE": openai.url, "VERSION": "2024-10-21"}.items():
        monkeypatch.setenv(f"OPENAI_API_{name}", value)
    code, found, err = _run(capsys)
    assert code == 0, err
    assert found["from"] == (
        "the environment: OPENAI_API_KEY, OPENAI_API_TYPE, OPENAI_API_BASE, OPENAI_API_VERSION"
    )
    [seen] = openai.seen
    assert seen.path == "/openai/models?api-version=2024-10-21"
    if kind == "azure":
        assert (found["way"], seen.headers["api-key"]) == ("api-key (a key)", CANARY)
        return
    assert (found["way"], found["as"]) == ("entra-token (a token of Entra ID)", "ann@example.com")
    assert found["until"].startswith("2100-01-01T00:00:00Z")
    assert "renewed" not in found["until"]
    assert seen.headers["authorization"] == f"Bearer {key}"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "OPENAI_API_KEY is not set"),
        ({"KEY": CANARY, "TYPE": "azure"}, "Azure OpenAI needs OPENAI_API_BASE and OPENAI_API_VERSION"),
        ({"KEY": CANARY, "TYPE": "other"}, "is unknown"),
    ],
)
def test_openai_without_a_login(
    openai: Server,
    settings: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"OPENAI_API_{name}", value)
    code, _, err = _run(capsys)
    assert code == 1
    assert said in err
    assert openai.seen == []


def test_a_key_that_openai_refuses(
    openai: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"Incorrect API key provided: {CANARY}"
    openai.otherwise = answer(401, {"error": {"message": said, "code": "invalid_api_key"}})
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("OPENAI_API_BASE", f"{openai.url}/v1")
    code, found, err = _run(capsys)
    assert code == 1
    assert found["way"] == "api-key (a key)"
    assert "as" not in found
    assert "invalid_api_key" in err


# -- plugins -----------------------------------------------------------------------------------------------


def test_a_plugin_logs_in_by_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    install(folder, "mine", GOOD)
    assert main(["auth", "check", "-t", "mine:/x"]) == 0
    assert rows(capsys.readouterr().out) == {
        "way": "plugin (it logs in by itself; nothing was asked)",
        "from": "toy_mine 1.2 (toy_mine)",
    }
    assert main(["auth", "check", "-t", "mine:/x", "-o", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {"ok": True, "target": "mine:/x", "way": "plugin", "plugin": "toy_mine 1.2 (toy_mine)"}


def test_a_plugin_that_cannot_be_loaded_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    install(folder, "broken", "import no_such_thing")
    assert main(["auth", "check", "-t", "broken"]) == 1
    out, err = capsys.readouterr()
    assert "toy_broken 1.2" in out
    assert "No module named 'no_such_thing'" in err
    assert main(["auth", "check", "-t", "no-such:/x"]) == 1
    assert "there is no client for the deployments target 'no-such'" in capsys.readouterr().err


def test_every_family_of_targets_has_its_login() -> None:
    assert {family(t) for t in ("databricks", "openai", "http://h", "mlflow-gateway+http://h", "x:/")} == set(
        LOGINS
    )
