"""``reconciler drift``: exit codes, what counts, since when, every report, what fast mode asks and says."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests
import time_machine
from jsonschema import Draft202012Validator
from lxml import etree

from reconciler import schema
from reconciler.cli import inputs
from reconciler.cli.main import main
from reconciler.cli.reports import ReportFormat
from reconciler.emulator.testing import RunningEmulator, running

_MANIFEST = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {{name: {name}}}
spec:
  config:
    served_entities:
      - name: m
        entity_name: main.ml.ranker
        entity_version: "1"
        workload_size: Small
        scale_to_zero_enabled: true
  tags:
    team: a
    tier: "${{env:TIER}}"
  ai_gateway:
    rate_limits:
      - {{key: user, calls: 60, renewal_period: minute}}
  email_notifications: {{on_update_failure: [a@example.com]}}
"""
_NAMES = ("chat", "rank", "score")
_CANARY = "dapi-canary-0123456789"
_FAST = ("drift", "--refresh", "fast")


@pytest.fixture
def server() -> Iterator[RunningEmulator]:
    """Its clock is an hour late: nothing that it tells of is young, also when a stamp is a whole second."""
    with running(clock=lambda: time.time() - 3600) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: RunningEmulator) -> Path:
    """A project of three endpoints, applied."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_DEPLOYMENTS_TARGET", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABRICKS_HOST", server.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", _CANARY)
    monkeypatch.setenv("TIER", "gold")
    (tmp_path / "manifests").mkdir()
    for name in _NAMES:
        (tmp_path / "manifests" / f"{name}.yaml").write_text(_MANIFEST.format(name=name))
    (tmp_path / "reconciler.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Project\nstack: shop\ntarget: databricks\nmanifests: [manifests]\n"
    )
    assert main(["apply", "--auto-approve"]) == 0
    server.log.clear()
    return tmp_path


def change(server: RunningEmulator, name: str, what: str, body: Any, method: str = "PUT") -> None:
    """Somebody changes the workspace by hand."""
    path = "/".join(part for part in ("/api/2.0/serving-endpoints", name, what) if part)
    headers = {"X-By-Hand": "1", "Authorization": "Bearer x"}
    requests.request(method, server.url + path, json=body, headers=headers, timeout=30).raise_for_status()


def limit(server: RunningEmulator, calls: int, name: str = "chat") -> None:
    limits = [{"key": "user", "calls": calls, "renewal_period": "minute"}]
    change(server, name, "ai-gateway", {"rate_limits": limits})


def tag(server: RunningEmulator, team: str, name: str = "chat") -> None:
    change(server, name, "tags", {"add_tags": [{"key": "team", "value": team}]}, "PATCH")


def asked(server: RunningEmulator) -> list[str]:
    """What was asked since the last time, by endpoint; "" is LIST."""
    told = sorted(one.path.removeprefix("/api/2.0/serving-endpoints").strip("/") for one in server.log)
    assert all(one.method == "GET" for one in server.log)
    server.log.clear()
    return told


def at(moment: str) -> AbstractContextManager[Any]:
    return time_machine.travel(moment, tick=False)


def drift_json(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> Any:
    capsys.readouterr()
    assert main(["drift", "-o", "json", *words]) == code
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(schema.read("drift")).validate(document)
    return document


def flat(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


# ---- the verdict ------------------------------------------------------------------------------------------


def test_no_drift(capsys: pytest.CaptureFixture[str], server: RunningEmulator) -> None:
    capsys.readouterr()
    assert main(["drift"]) == 0
    out = capsys.readouterr()
    assert out.out.startswith("3 endpoints are as declared.\nNo drift.\n")
    assert out.err.startswith("target: databricks (http://")
    assert asked(server) == ["", "chat", "rank", "score"]


def test_drift_tells_what_where_and_in_which_direction(
    capsys: pytest.CaptureFixture[str], server: RunningEmulator
) -> None:
    limit(server, 100)
    change(server, "rank", "", None, "DELETE")
    assert main(["drift"]) == 2
    out = capsys.readouterr().out
    assert "~ Endpoint/chat differs  manifests/chat.yaml:1" in out
    assert "user limit 100 → 60 calls a minute" in out
    assert "line 17" in out
    assert "live → declared" in out
    assert "+ Endpoint/rank does not exist  manifests/rank.yaml:1" in out
    assert "1 endpoint is as declared.\n" in out
    assert "Drift: 1 missing, 1 changed.\n" in out
    assert "will be" not in out, "nothing is going to happen"
    assert "/api/" not in out


def test_an_error_is_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIER")
    assert main(["drift"]) == 1
    assert "TIER is not set" in capsys.readouterr().err


def test_selection_and_paths(server: RunningEmulator) -> None:
    limit(server, 100)
    assert main(["drift", "--exclude", "Endpoint/chat"]) == 0
    assert main(["drift", "--select", "Endpoint/chat"]) == 2
    assert main(["drift", "manifests/rank.yaml", "--target", "databricks"]) == 0


# ---- ignored, and what counts -----------------------------------------------------------------------------


def test_what_is_ignored_is_counted(capsys: pytest.CaptureFixture[str], server: RunningEmulator) -> None:
    limit(server, 100)
    tag(server, "x", "rank")
    term = "*:ai_gateway.rate_limits"
    capsys.readouterr()
    assert main(["drift", "--ignore", term, "--ignore", "Endpoint/rank"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 endpoint is as declared.\n"), "not those that are ignored"
    assert f"Ignored (--ignore {term}): 1 difference in Endpoint/chat.\n" in out
    assert "Ignored (--ignore Endpoint/rank): 1 difference in Endpoint/rank.\n" in out

    found = drift_json(capsys, "--ignore", term, code=2)
    assert [one["address"] for one in found["drifted"]] == ["Endpoint/rank"]
    assert [(one["address"], one["path"]) for one in found["ignored"]] == [
        ("Endpoint/chat", "ai_gateway.rate_limits[user].calls")
    ]
    assert found["summary"]["ignored"] == 1
    assert found["as_declared"] == ["Endpoint/score"]

    only = drift_json(capsys, "--only", "Endpoint/rank:tags", code=2)
    assert [one["address"] for one in only["drifted"]] == ["Endpoint/rank"]
    assert only["ignored"][0]["why"] == "not named by --only"


def test_a_term_that_fits_nothing_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--ignore", "Endpoint/chatt"], ["--only", "*:tgas"], ["--fail-on", "updates"]):
        assert main(["drift", *words]) == 1
        assert words[0] in capsys.readouterr().err


def test_fail_on(capsys: pytest.CaptureFixture[str], server: RunningEmulator) -> None:
    limit(server, 100)
    assert main(["drift", "--fail-on", "create,delete"]) == 0
    out = capsys.readouterr().out
    assert "~ Endpoint/chat differs (not counted: --fail-on)" in out
    assert "Drift: 1 changed; 1 of them not counted by --fail-on." in out
    change(server, "rank", "", None, "DELETE")
    found = drift_json(capsys, "--fail-on", "create", code=2)
    assert {one["address"]: one["counts"] for one in found["drifted"]} == {
        "Endpoint/chat": False,
        "Endpoint/rank": True,
    }
    assert not drift_json(capsys, "--fail-on", "replace", code=0)["fails"]
    assert main(["drift", "--fail-on", "replace", "-o", "junit"]) == 0
    assert etree.fromstring(capsys.readouterr().out.encode()).xpath("//testsuite/@failures") == ["0"]
    assert main(["drift", "--fail-on", "update", "-o", "junit"]) == 2
    assert etree.fromstring(capsys.readouterr().out.encode()).xpath("//testcase[failure]/@name") == [
        "Endpoint/chat"
    ]


def test_what_is_declared_no_more_is_drift_with_prune(
    capsys: pytest.CaptureFixture[str], server: RunningEmulator, folder: Path
) -> None:
    (folder / "manifests" / "score.yaml").unlink()
    assert main(["drift"]) == 0
    assert main([*_FAST, "--prune"]) == 2
    capsys.readouterr()
    asked(server)
    assert main([*_FAST, "--prune"]) == 2
    out = capsys.readouterr().out
    assert asked(server) == [""]
    assert "- Endpoint/score exists, and should not\n" in out
    assert "Drift: 1 not declared." in out
    assert main([*_FAST, "--prune", "--fail-on", "update"]) == 0
    assert main([*_FAST, "--prune", "--ignore", "Endpoint/score"]) == 0
    assert main([*_FAST, "--ignore", "Endpoint/score"]) == 1, "nobody asked about it"
    assert main([*_FAST, "--prune", "--select", "Endpoint/chat"]) == 1
    found = drift_json(capsys, "--prune", code=2)["drifted"][0]
    assert (found["address"], found["kind"], found["source"]) == ("Endpoint/score", "delete", None)


def test_an_endpoint_of_nobodys_is_told(capsys: pytest.CaptureFixture[str], server: RunningEmulator) -> None:
    change(server, "chat", "tags", {"delete_tags": ["reconciler.stack"]}, "PATCH")
    limit(server, 100)
    found = drift_json(capsys, code=2)
    assert [one["kind"] for one in found["drifted"]] == ["adopt"]
    assert drift_json(capsys, "--fail-on", "update", code=0)["summary"]["adopt"] == 1


# ---- since when -------------------------------------------------------------------------------------------


def test_since_when(capsys: pytest.CaptureFixture[str], server: RunningEmulator) -> None:
    run = next(Path(".reconciler/runs").glob("*.jsonl")).stem
    limit(server, 100)
    with at("2037-01-01T10:00:00Z"):
        first = drift_json(capsys, code=2)["drifted"][0]
    assert first["since"]["declared_by"] == f"run {run}"
    assert first["since"]["declared_at"] < "2037"
    assert first["since"]["first_seen_at"] == "2037-01-01T10:00:00.000Z"
    assert first["since"]["last_updated_at"] < "2037"
    assert first["since"]["created_anew_at"] is None

    tag(server, "x")
    with at("2037-01-01T11:00:00Z"):
        second = drift_json(capsys, code=2)["drifted"][0]
    assert {c["path"]: c["first_seen_at"] for c in second["changes"]} == {
        "ai_gateway.rate_limits[user].calls": "2037-01-01T10:00:00.000Z",
        "tags.team": "2037-01-01T11:00:00.000Z",
    }
    assert second["since"]["first_seen_at"] == "2037-01-01T10:00:00.000Z"

    limit(server, 60)
    tag(server, "a")
    with at("2037-01-01T12:00:00Z"):
        assert main([*_FAST]) == 0
    asked(server)
    with at("2037-01-01T12:05:00Z"):
        assert main([*_FAST]) == 0
    assert asked(server) == [""], "the verdict of 12:00 stands, and is seen to stand at 12:05"
    limit(server, 90)
    with at("2037-01-01T12:10:00Z"):
        capsys.readouterr()
        assert main([*_FAST]) == 2
    assert (
        "since: after 2037-01-01T12:05:00Z (a check found it as declared), first seen 2037-01-01T12:10:00Z"
        in flat(capsys.readouterr().out)
    )


def test_an_apply_ends_what_was_seen_before_it(
    capsys: pytest.CaptureFixture[str], server: RunningEmulator
) -> None:
    limit(server, 100)
    with at("2020-01-01T10:00:00Z"):
        assert main(["drift"]) == 2
    assert main(["apply", "--auto-approve"]) == 0
    limit(server, 100)
    with at("2037-01-01T10:00:00Z"):
        since = drift_json(capsys, code=2)["drifted"][0]["since"]
    assert since["first_seen_at"] == "2037-01-01T10:00:00.000Z"
    assert since["declared_by"].startswith("run ")


def test_an_endpoint_made_anew_is_told(capsys: pytest.CaptureFixture[str], server: RunningEmulator) -> None:
    assert main(["drift"]) == 0
    change(server, "chat", "", None, "DELETE")
    change(server, "", "", {"name": "chat"}, "POST")
    assert drift_json(capsys, code=2)["drifted"][0]["since"]["created_anew_at"]
    assert main(["drift"]) == 2
    assert "another one than this machine saw before" in flat(capsys.readouterr().out)


def test_nothing_is_claimed_without_a_record(
    capsys: pytest.CaptureFixture[str], server: RunningEmulator, folder: Path
) -> None:
    for file in (folder / ".reconciler" / "runs").glob("*"):
        file.unlink()
    limit(server, 100)
    since = drift_json(capsys, code=2)["drifted"][0]["since"]
    assert (since["declared_at"], since["declared_by"]) == (None, None)


# ---- reports ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refresh", ["full", "fast"])
def test_every_report_says_what_drifted_where_and_what_was_not_seen(
    refresh: str, folder: Path, server: RunningEmulator
) -> None:
    assert main(["drift"]) == 0
    limit(server, 100)
    files = [f"--report={form}=out.{form}" for form in ReportFormat]
    assert main(["drift", "--refresh", refresh, *files]) == 2
    told = {form: (folder / f"out.{form}").read_text(encoding="utf-8") for form in ReportFormat}
    run = json.loads(told[ReportFormat.SARIF])["runs"][0]
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    assert [(p["artifactLocation"]["uri"], p["region"]["startLine"]) for p in places] == [
        ("manifests/chat.yaml", 17)
    ]
    assert run["results"][0]["ruleId"] == "drift/update"
    assert "since: after" in run["results"][0]["message"]["text"]
    case = etree.fromstring(told[ReportFormat.JUNIT].encode()).xpath("//testcase[failure]")[0]
    assert case.get("name") == "Endpoint/chat"
    assert "manifests/chat.yaml:17" in case.findtext("failure")
    assert (
        "::warning file=manifests/chat.yaml,line=17,title=reconciler drift%3A Endpoint/chat differs::"
        in told[ReportFormat.GITHUB]
    )
    assert told[ReportFormat.MARKDOWN].startswith(
        "<!-- reconciler drift -->\n### ⚠️ reconciler drift: Drift: 1 changed"
    )
    assert "reconciler drift" in told[ReportFormat.HTML]
    Draft202012Validator(schema.read("drift")).validate(json.loads(told[ReportFormat.JSON]))
    for form, text in told.items():
        assert _CANARY not in text
        assert "PUT /api" not in text, f"{form}: a check of drift calls nothing"
        said = re.search(r"not.looked.at.*email_notifications", flat(html.unescape(text)).lower())
        assert bool(said) is (refresh == "fast"), form


@pytest.mark.parametrize("form", ReportFormat)
def test_the_answer_is_what_the_file_holds(
    form: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    with at("2037-01-01T10:00:00Z"):
        assert main(["drift", "-o", form, f"--report={form}=out"]) == 0
    out = capsys.readouterr().out
    text = (folder / "out").read_text(encoding="utf-8")
    assert out.endswith(text)
    assert out == text or form == "github"


# ---- fast -------------------------------------------------------------------------------------------------


def test_fast_asks_once_and_says_what_it_cannot_see(
    capsys: pytest.CaptureFixture[str], server: RunningEmulator
) -> None:
    capsys.readouterr()
    assert main([*_FAST]) == 0
    assert len(asked(server)) == 4, "there is no cache yet"
    first = capsys.readouterr().out
    assert "Read in detail: all 3." in first
    assert "Not looked at" not in first
    for _ in range(2):
        assert main([*_FAST]) == 0
        assert asked(server) == [""]
        out = flat(capsys.readouterr().out)
        assert "Read in detail: 0 of 3" in out
        assert "Not looked at in this mode: email_notifications of Endpoint/chat, Endpoint/rank" in out
    limit(server, 100)
    limit(server, 100, "rank")
    assert main([*_FAST]) == 2
    assert asked(server) == ["", "chat", "rank"]
    assert main([*_FAST]) == 2
    assert asked(server) == [""]
    limit(server, 60)
    limit(server, 60, "rank")
    assert main([*_FAST]) == 0
    assert asked(server) == ["", "chat", "rank"]


def test_a_verdict_stands_only_as_long_as_everything_is_the_same(
    capsys: pytest.CaptureFixture[str],
    server: RunningEmulator,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    real = inputs.load_for

    def counted(*words: Any, **named: Any) -> Any:
        read.append(1)
        return real(*words, **named)

    monkeypatch.setattr(inputs, "load_for", counted)

    def check(code: int, *, reads: bool) -> str:
        read.clear()
        capsys.readouterr()
        assert main([*_FAST]) == code
        assert bool(read) is reads
        assert "" in asked(server), "LIST is asked in any case"
        return capsys.readouterr().out

    check(0, reads=True)
    assert check(0, reads=False) == check(0, reads=False)
    file = folder / "manifests" / "chat.yaml"
    text = file.read_text()
    file.write_text(text.replace("calls: 60", "calls: 50"))
    assert "user limit 60 → 50" in check(2, reads=True), "a manifest alone: the cache holds live, no verdict"
    check(2, reads=True)
    file.write_text(text)
    check(0, reads=True)
    check(0, reads=False)
    (folder / "manifests" / "new.yaml").write_text(_MANIFEST.format(name="new"))
    check(2, reads=True)
    (folder / "manifests" / "new.yaml").unlink()
    check(0, reads=True)
    monkeypatch.setenv("TIER", "silver")
    assert "gold → silver" in check(2, reads=True)
    monkeypatch.setenv("TIER", "gold")
    check(0, reads=True)
    check(0, reads=False)
    project = folder / "reconciler.yaml"
    project.write_text(project.read_text().replace("stack: shop", "stack: other"))
    check(0, reads=True)
    check(0, reads=False)
    limit(server, 100)
    check(2, reads=True)


def test_what_another_check_has_seen_since_ends_a_verdict(
    server: RunningEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the blind check would go on saying that all is well."""
    assert main([*_FAST]) == 0
    change(server, "chat", "notifications", {"email_notifications": {"on_update_failure": []}}, "PATCH")
    assert main([*_FAST]) == 0, "LIST does not tell"
    assert main(["drift"]) == 2
    asked(server)
    for _ in range(2):
        assert main([*_FAST]) == 2
        assert asked(server) == ["", "chat"], "it is looked at before it is told"
    assert main([*_FAST, "--exclude", "Endpoint/chat"]) == 0


def test_checks_of_two_sorts_leave_each_other_their_verdicts(
    server: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = inputs.load_for
    for words in ([], ["--exclude", "Endpoint/chat"], []):
        assert main([*_FAST, *words]) == 0
    monkeypatch.setattr(inputs, "load_for", lambda *w, **n: (read.append(1), real(*w, **n))[1])
    for words in ([], ["--exclude", "Endpoint/chat"], []):
        assert main([*_FAST, *words]) == 0
    assert read == []


def test_another_program_takes_no_verdict_for_granted(
    server: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.cli import drift_files

    assert main([*_FAST]) == 0
    read: list[int] = []
    real = inputs.load_for
    monkeypatch.setattr(inputs, "load_for", lambda *w, **n: (read.append(1), real(*w, **n))[1])
    assert main([*_FAST]) == 0
    assert read == []
    monkeypatch.setattr(drift_files, "program", lambda: "newer")
    asked(server)
    assert main([*_FAST]) == 0
    assert read == [1]
    assert asked(server) == [""], "what was read is still what was read"
    monkeypatch.setattr(drift_files, "reader", lambda: "newer")
    monkeypatch.setattr(drift_files, "program", lambda: "newest")
    assert main([*_FAST]) == 0
    assert len(asked(server)) == 4


def test_a_verdict_is_not_kept_where_it_cannot_be_known_to_stand(folder: Path) -> None:
    verdicts = folder / ".reconciler" / "drift"
    for words in (["-o", "json"], ["-v"], ["--report=text=out"]):
        assert main([*_FAST, *words]) == 0
        assert not list(verdicts.glob("*.verdict"))
    for name in _NAMES:
        file = folder / "manifests" / f"{name}.yaml"
        file.write_text(file.read_text().replace("${env:TIER}", "${file:tier.txt}"))
    (folder / "manifests" / "tier.txt").write_text("gold\n")
    assert main([*_FAST]) == 0
    assert not list(verdicts.glob("*.verdict")), "a file's value may change"
    (folder / "manifests" / "tier.txt").write_text("silver\n")
    assert main([*_FAST]) == 2


def test_old_or_broken_files_are_no_error_and_no_answer(folder: Path, server: RunningEmulator) -> None:
    for content in (b"", b"{", b"[]", b"\xff\xfe", b'{"verdict": 1}', b'{"drift_cache": 1}', b"[" * 100_000):
        assert main([*_FAST]) == 0
        files = list((folder / ".reconciler" / "drift").iterdir())
        assert {file.suffix for file in files} == {".json", ".seen", ".verdict"}
        for file in files:
            file.write_bytes(content)
        asked(server)
        assert main([*_FAST]) == 0
        assert len(asked(server)) == 4
    limit(server, 100)
    assert main([*_FAST]) == 2


def test_max_age(server: RunningEmulator) -> None:
    with at("2037-01-01T10:00:00Z"):
        assert main(["drift"]) == 0
    asked(server)
    for moment, count in (("10:59:00", 1), ("11:30:00", 4), ("12:20:00", 1)):
        with at(f"2037-01-01T{moment}Z"):
            assert main([*_FAST, "--max-age", "1h"]) == 0
        assert len(asked(server)) == count
    with at("2036-01-01T10:00:00Z"):
        assert main([*_FAST, "--max-age", "1h"]) == 0
    assert len(asked(server)) == 4, "the clock was put back"


def test_the_files_are_private_and_hold_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "canary-token-0123456789")
    file = folder / "manifests" / "chat.yaml"
    secret = '        environment_vars: {TOKEN: "${env:TOKEN}"}\n        workload_size'
    file.write_text(file.read_text().replace("        workload_size", secret))
    assert main(["apply", "--auto-approve"]) == 0
    for _ in range(2):
        assert main([*_FAST]) == 0
    files = list((folder / ".reconciler" / "drift").iterdir())
    assert len(files) == 3
    for written in files:
        assert "canary" not in written.read_text()
        assert written.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_costs_a_warning(
    folder: Path, capsys: pytest.CaptureFixture[str], server: RunningEmulator
) -> None:
    (folder / ".reconciler" / "drift").write_text("in the way")
    assert main([*_FAST]) == 0
    assert "cannot be kept" in capsys.readouterr().err
    assert len(asked(server)) == 4


def test_another_host_has_a_cache_of_its_own(
    server: RunningEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*_FAST]) == 0
    with running() as other:
        monkeypatch.setenv("DATABRICKS_HOST", other.url)
        assert main([*_FAST]) == 2
        assert "3 missing" in capsys.readouterr().out
    asked(server)
    monkeypatch.setenv("DATABRICKS_HOST", server.url)
    assert main([*_FAST]) == 0
    assert asked(server) == [""]


def test_another_name_of_the_host_is_another_host(
    server: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        assert main([*_FAST]) == 0
    asked(server)
    monkeypatch.setenv("DATABRICKS_HOST", server.url.replace("127.0.0.1", "localhost"))
    assert main([*_FAST]) == 0
    assert len(asked(server)) == 4


def test_hundreds_of_unchanged_endpoints_cost_one_request(folder: Path, server: RunningEmulator) -> None:
    names = [f"e{n:03}" for n in range(200)]
    manifests = "---\n".join(_MANIFEST.format(name=name) for name in names)
    (folder / "manifests" / "many.yaml").write_text(manifests)
    assert main(["apply", "--auto-approve", "--write-limit", "none"]) == 0
    assert main(["drift"]) == 0
    server.log.clear()
    for words in ([], ["-o", "json"], []):
        assert main([*_FAST, *words]) == 0
        assert asked(server) == [""]
    limit(server, 1, "e007")
    assert main([*_FAST]) == 2
    assert asked(server) == ["", "e007"]


# ---- several environments ---------------------------------------------------------------------------------

_PROJECT = """\
apiVersion: reconciler/v1
kind: Project
stack: shop
manifests: [manifests]
environments:
  dev: {target: "local:dev.db?provisioning=0s"}
  prod: {target: databricks}
"""


def test_several_environments_side_by_side(
    folder: Path, server: RunningEmulator, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "reconciler.yaml").write_text(_PROJECT)
    capsys.readouterr()
    assert main(["drift", "--all-environments"]) == 2
    out = capsys.readouterr().out
    assert "== environment dev ==" in out
    assert "dev          2     Drift: 3 missing" in out
    assert "prod         0     No drift" in out
    assert main(["apply", "-e", "dev", "--auto-approve"]) == 0
    both = ["-e", "dev", "-e", "prod"]
    assert main([*_FAST, *both]) == 0
    capsys.readouterr()
    assert main([*_FAST, *both, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["environments"]
    assert [one["result"]["environment"] for one in told.values()] == ["dev", "prod"]
    asked(server)
    assert main([*_FAST, *both]) == 0
    assert asked(server) == [""]
    assert "prod         0     No drift" in capsys.readouterr().out
    (folder / "reconciler.yaml").write_text(_PROJECT.replace("databricks", "databricks://nobody"))
    assert main(["drift", "--all-environments"]) == 1, "an error is the worst"
