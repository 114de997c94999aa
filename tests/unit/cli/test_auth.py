"""``auth check``: what is said of a login, and what is never said."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.main import main
from reconciler.emulator.testing import RunningEmulator, running
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
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if not line.startswith("passed"))
    assert lines == {
        "host": emulator.url,
        "way": "pat (a token)",
        "from": "the environment: DATABRICKS_HOST, DATABRICKS_TOKEN",
        "as": "ann@example.com (ann)",
        "until": "no expiry known",
    }
    assert "profile DEFAULT of" in out
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


@pytest.mark.parametrize("target", ["http://127.0.0.1:1", "databricks://scope:key", "databricks://"])
def test_other_targets(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["auth", "check", "-t", target]) == 1
    assert "auth check does not know the login of" in capsys.readouterr().err
