"""``-o`` and ``--report``: every format on stdout and in files, errors reported too, and no secret in any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import etree

from reconciler.cli.main import main
from reconciler.cli.reports import ReportFormat, Reports
from reconciler.values import Action, Address, Plan, Step

_MANIFEST = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: e}
spec:
  config:
    served_entities:
      - name: m
        external_model:
          provider: openai
          name: gpt-4o
          task: llm/v1/chat
          openai_config: {openai_api_key_plaintext: "${env:OPENAI_KEY}"}
  tags: {a: b}
"""
_CANARY = "sk-canary-0123456789"
_COMMENT = "<!-- reconciler plan -->\n### reconciler plan: 1 to create"
_ALL = [f"--report={form}=out.{form}" for form in ReportFormat]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setenv("OPENAI_KEY", _CANARY)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "e.yaml").write_text(_MANIFEST)
    return tmp_path


def run(*words: str) -> int:
    return main([*words, "--target", "local:w.db"])


def test_every_format_at_once_and_no_secret_in_any(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", *_ALL) == 0
    files = {form: (folder / f"out.{form}").read_text(encoding="utf-8") for form in ReportFormat}
    assert files[ReportFormat.TEXT] == capsys.readouterr().out
    assert json.loads(files[ReportFormat.JSON])["summary"]["create"] == 1
    assert json.loads(files[ReportFormat.SARIF])["runs"][0]["results"][0]["ruleId"] == "plan/create"
    assert etree.fromstring(files[ReportFormat.JUNIT].encode()).get("tests") == "1"
    assert files[ReportFormat.MARKDOWN].startswith(
        "<!-- reconciler plan -->\n### reconciler plan: 1 to create"
    )
    assert files[ReportFormat.HTML].startswith("<!DOCTYPE html>")
    assert files[ReportFormat.GITHUB].startswith("::notice file=manifests/e.yaml,line=1,")
    assert not [form for form, text in files.items() if _CANARY in text]
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("form", ReportFormat)
def test_the_answer_is_what_the_file_holds(
    form: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan", "-o", form, f"--report={form}=out") == 0
    out = capsys.readouterr().out
    assert _CANARY not in out
    text = (folder / "out").read_text(encoding="utf-8")
    if form == "github":  # on a runner's log the plan itself is read, too
        assert out.startswith("::stop-commands::")
        assert "+ Endpoint/e will be created" in out
        assert out.endswith(f"::\n{text}")
    else:
        assert out == text


@pytest.mark.parametrize("form", ["markdown", "html", "junit", "sarif", "github"])
def test_an_apply_reports_its_outcome(form: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("apply", "--auto-approve", "-o", form, "--report=json=out.json") == 0
    out = capsys.readouterr().out
    assert ("created" in out) or form == "sarif"
    assert _CANARY not in out
    if form == "junit":
        names = etree.fromstring(out.encode()).xpath("//testcase/@name")
        assert names == ["Endpoint/e", "converged"]
    assert json.loads((folder / "out.json").read_text())["converged"] is True


def test_a_refusal_stands_in_the_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("apply", "--auto-approve") == 0
    file = folder / "manifests" / "e.yaml"
    file.write_text(_MANIFEST.replace("spec:", "lifecycle: {prevent_destroy: true}\nspec:"))
    capsys.readouterr()
    assert run("destroy", "--auto-approve", "-o", "github", "--report=junit=out.xml") == 3
    out = capsys.readouterr().out
    assert out.count("Endpoint/e will be deleted") == 3  # in the text, in the title and in the message
    assert "::error file=manifests/e.yaml,line=1," in out
    assert etree.parse(folder / "out.xml").getroot().get("failures") == "1"


@pytest.mark.parametrize("command", ["plan", "apply", "destroy"])
def test_wrong_manifests_are_reported_with_their_lines(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "manifests" / "e.yaml").write_text(_MANIFEST.replace("tags", "tagz"))
    assert run(command, "-o", "github", *_ALL) == 1
    out, err = capsys.readouterr()
    assert out.startswith("::error file=manifests/e.yaml,line=13,col=3,title=")
    assert "manifests/e.yaml:13:3: error [unknown-field]" in err
    assert "manifests/e.yaml:13:3: error [unknown-field]" in (folder / "out.text").read_text()
    result = json.loads((folder / "out.sarif").read_text())["runs"][0]["results"][0]
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 13, "startColumn": 3}
    assert etree.parse(folder / "out.junit").getroot().get("failures") == "1"
    assert not (folder / "out.json").exists()


def test_validate_reports_problems(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-o", "junit"]) == 0
    assert etree.fromstring(capsys.readouterr().out.encode()).get("failures") == "0"
    (folder / "manifests" / "e.yaml").write_text(_MANIFEST.replace("tags", "tagz"))
    assert main(["validate", "-o", "sarif"]) == 1
    assert json.loads(capsys.readouterr().out)["runs"][0]["results"][0]["ruleId"] == "check/unknown-field"


@pytest.mark.parametrize("several", [(), ("--all-environments",)])
def test_validate_tells_of_warnings_beside_problems_in_every_format(
    several: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "reconciler.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Project\nstack: s\nenvironments: {dev: {target: 'local:w.db'}}\n"
        "default_environment: dev\n"
        "policies: [{use: rate-limits, level: warn}, {use: no-plaintext-keys}]\n"
    )
    (folder / "out.json").write_text('{"valid": true}')  # of a run before
    assert main(["validate", *several, *_ALL]) == 1
    assert "warning: manifests/e.yaml:1:1: Endpoint/e has no rate limit" in capsys.readouterr().err
    found = json.loads((folder / "out.json").read_text())
    found = found["environments"]["dev"]["result"] if several else found
    assert [problem["rule"] for problem in found["problems"]] == ["policy/no-plaintext-keys"]
    assert [warning["rule"] for warning in found["warnings"]] == ["policy/rate-limits"]
    assert not found["valid"]
    results = json.loads((folder / "out.sarif").read_text())["runs"][0]["results"]
    assert [(one["ruleId"], one["level"]) for one in results] == [
        ("policy/no-plaintext-keys", "error"),
        ("policy/rate-limits", "warning"),
    ]
    if not several:
        assert main(["validate", "-o", "json"]) == 1
        assert json.loads(capsys.readouterr().out) == found


def test_in_a_check_of_drift_what_differs_fails(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step(Address("Endpoint", "e"), Action.UPDATE)
    for purpose, failures in (("plan", "0"), ("drift", "1")):
        Reports.of(ReportFormat.JUNIT, None, purpose).plan(Plan("t", (step,)))
        root = etree.fromstring(capsys.readouterr().out.encode())
        assert (root.get("name"), root.get("failures")) == (f"reconciler {purpose}", failures)


def test_several_plans_are_one_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plans = [Plan("dev", ()), Plan("prod", (Step(Address("Endpoint", "e"), Action.DELETE),))]
    Reports.of(ReportFormat.JUNIT, ["json=out.json"], "plan").plans(plans)
    names = etree.fromstring(capsys.readouterr().out.encode()).xpath("testsuite/@name")
    assert names == ["reconciler plan dev", "reconciler plan prod"]
    assert [one["target"] for one in json.loads((folder / "out.json").read_text())] == ["dev", "prod"]


def test_two_reports_do_not_go_to_one_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", "--report", "html=a.html", "--report", "json=./a.html") == 1
    assert "--report json=./a.html and --report html=a.html go to one file" in capsys.readouterr().err
    assert not (folder / "a.html").exists()
    assert run("plan", "--report", "html=a.html", "--report", "html=a.html") == 0
    assert run("plan", "--report", "text=/dev/null", "--report", "json=/dev/null") == 0


def test_what_an_earlier_run_asked_for_is_forgotten(folder: Path) -> None:
    assert run("plan", "--report=markdown=out.md") == 0
    before = (folder / "out.md").read_text()
    assert main(["get", "Endpoint/none", "--target", "local:w.db"]) == 1
    assert (folder / "out.md").read_text() == before


def test_on_github_a_summary_of_the_step_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = folder / "summary.md"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert run("plan", "-o", "markdown") == 0
    assert summary.read_text() == "# before\n"
    assert run("plan", "-o", "github") == 0
    assert summary.read_text().startswith(
        "# before\n<!-- reconciler plan -->\n### reconciler plan: 1 to create"
    )


@pytest.mark.parametrize(
    ("report", "told"),
    [
        ("markdown", "is not FORMAT=FILE"),
        ("markdown=", "is not FORMAT=FILE"),
        ("pdf=a.pdf", "the formats are text, json, markdown, html, junit, sarif, github"),
        ("html=nowhere/a.html", "there is no folder nowhere"),
        ("html=manifests", "it is a folder"),
    ],
)
def test_a_report_that_cannot_be_written_is_told_before_anything_is_asked(
    report: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("apply", "--auto-approve", "--report", report) == 1
    assert told in capsys.readouterr().err
    assert not (folder / "w.db").exists()


def test_a_secret_in_a_field_that_is_compared_is_in_no_format_either(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = _MANIFEST.replace("name: gpt-4o", 'name: "${env:OPENAI_KEY}-model"').replace(
        "tags: {a: b}", 'tags: {a: "${env:API_TOKEN}"}'
    )
    (folder / "manifests" / "e.yaml").write_text(manifest)
    monkeypatch.setenv("API_TOKEN", "create")  # a word of ours, too: it stays one where it is one
    for form in ReportFormat:
        assert run("plan", "-o", form, *_ALL) == 0
        assert run("drift", "-o", form, *_ALL) == 2
        told = capsys.readouterr().out + "".join((folder / f"out.{one}").read_text() for one in ReportFormat)
        assert _CANARY not in told
    assert run("plan", "-o", "json") == 0
    step = json.loads(capsys.readouterr().out)["steps"][0]
    assert step["action"] == "create"
    assert {c["path"]: c["after"] for c in step["changes"]}["tags"] == {"a": "***"}
    assert run("apply", "-y", "-o", "json", *_ALL) == 0
    assert _CANARY not in capsys.readouterr().out + (folder / "out.json").read_text()
