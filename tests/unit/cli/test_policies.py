"""Policies at the edge: what validate, plan, apply, destroy and rollback do about them, and who approved."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler import schema
from reconciler.cli.main import main
from tests.unit.manifest.projects import OVERLAY, RANKER, Shop

_DENY = "policies: [{use: rate-limits}]\n"
_LIMITED = RANKER + "  ai_gateway: {rate_limits: [{calls: 5, renewal_period: minute}]}\n"
_ASK = """\
policies:
  - id: big-steps
    on: step
    level: require_approval
    rule: step.action == 'no_op'
    message: "{step.address} would be changed"
    fix: look at it
"""
_LOCAL = "target: local:w.db?provisioning=0s\n"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET", raising=False)
    made = Shop(tmp_path)
    made.project(_LOCAL + _DENY)
    return made


def told(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> tuple[str, str]:
    capsys.readouterr()
    got = main([*words])
    streams = capsys.readouterr()
    assert got == code, streams.out + streams.err
    return streams.out, streams.err


def answered(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> Any:
    return json.loads(told(capsys, code, *words, "-o", "json")[0])


def clock(monkeypatch: pytest.MonkeyPatch, now: str) -> None:
    monkeypatch.setattr("reconciler.cli.options.taken_at", lambda: now)


def live(capsys: pytest.CaptureFixture[str]) -> bool:
    capsys.readouterr()
    code = main(["get", "ranker"])
    capsys.readouterr()
    return code == 0


# ---- deny ------------------------------------------------------------------------------------------------


def test_validate_finds_what_a_policy_denies(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = told(capsys, 1, "validate")
    assert "manifests/ranker.yaml:1:1: error [policy/rate-limits]" in err
    assert "fix: add one under ai_gateway.rate_limits" in err
    document = answered(capsys, 1, "validate")
    assert document["problems"][0]["rule"] == "policy/rate-limits"
    shop.write("manifests/ranker.yaml", _LIMITED)
    told(capsys, 0, "validate")


def test_validate_warns_of_the_rest(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    names = "  - {use: names, with: {pattern: ^x}, level: require_approval}\n"
    shop.project(_LOCAL + "policies:\n  - {use: rate-limits, level: warn}\n" + names)
    _, err = told(capsys, 0, "validate")
    assert "warning: manifests/ranker.yaml:1:1: Endpoint/ranker has no rate limit" in err
    assert "does not fit ^x (needs approval)" in err


def test_a_denied_plan_is_shown_and_exits_with_3(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(capsys, 3, "plan", "--detailed-exitcode")
    assert "✗ policy rate-limits: denied  manifests/ranker.yaml:1" in out
    assert "Denied by policy: 1 finding, see above." in out
    assert "why:   denied by the policy rate-limits" in err
    told(capsys, 3, "plan", "--out", "p.json")
    assert not Path("p.json").exists(), "no plan file of what may not be applied"


def test_apply_refuses_what_is_denied(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = told(capsys, 3, "apply", "-y")
    assert "manifests/ranker.yaml:1:1: Endpoint/ranker has no rate limit" in err
    assert not live(capsys)
    shop.write("manifests/ranker.yaml", _LIMITED)
    told(capsys, 0, "apply", "-y")
    assert live(capsys)


def test_what_is_wrong_may_be_deleted(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(_LOCAL)
    told(capsys, 0, "apply", "-y")
    shop.project(_LOCAL + _DENY)
    told(capsys, 3, "apply", "-y")
    told(capsys, 0, "destroy", "-y")
    assert not live(capsys)


def test_rollback_is_judged_by_what_it_would_write(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(_LOCAL)
    told(capsys, 0, "apply", "-y")
    shop.write("manifests/ranker.yaml", RANKER + "  tags: {tier: gold}\n")
    told(capsys, 0, "apply", "-y")
    shop.project(_LOCAL + "policies:\n  - {use: tags-required, with: {tags: [tier]}}\n")
    _, err = told(capsys, 3, "rollback", "-y")
    assert "Endpoint/ranker has no tag tier" in err
    shop.project(_LOCAL)
    told(capsys, 0, "rollback", "-y")


# ---- the formats -----------------------------------------------------------------------------------------


def test_every_report_tells_of_policies(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["text", "json", "markdown", "html", "junit", "sarif", "github"]
    told(capsys, 3, "plan", *(word for name in names for word in ("--report", f"{name}={name}.out")))
    texts = {name: Path(f"{name}.out").read_text() for name in names}
    for name, text in texts.items():
        assert "rate-limits" in text, name
        assert "has no rate limit" in text or name == "markdown", name
    assert json.loads(texts["json"])["policies"] == [
        {
            "policy": "rate-limits",
            "level": "deny",
            "message": "Endpoint/ranker has no rate limit for endpoint, user, user_group",
            "address": "Endpoint/ranker",
            "path": "ai_gateway.rate_limits",
            "source": "manifests/ranker.yaml:1",
            "next": "add one under ai_gateway.rate_limits",
            "declared": "reconciler.yaml:6",
            "digest": json.loads(texts["json"])["policies"][0]["digest"],
            "approved_by": "",
            "approved_at": "",
            "broken": False,
        }
    ]
    (result,) = [r for r in json.loads(texts["sarif"])["runs"][0]["results"] if r["level"] == "error"]
    assert result["ruleId"] == "policy/rate-limits"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "manifests/ranker.yaml"
    assert place["region"] == {"startLine": 1, "startColumn": 1}
    assert '<failure message="Endpoint/ranker has no rate limit' in texts["junit"]
    assert "::error file=manifests/ranker.yaml,line=1" in texts["github"]


def test_the_json_is_as_its_schema_says(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    from jsonschema import Draft202012Validator

    document = answered(capsys, 3, "plan")
    Draft202012Validator(schema.read("plan")).validate(document)


# ---- approvals -------------------------------------------------------------------------------------------


def test_an_approval_is_asked_for_given_and_on_record(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(_LOCAL + _ASK)
    _, err = told(capsys, 2, "plan", "--detailed-exitcode")
    assert "an apply of this plan is refused" in err
    assert "--approve big-steps" in err
    _, err = told(capsys, 3, "apply", "-y")
    assert "Endpoint/ranker would be changed [big-steps]" in err
    assert not live(capsys)
    assert "failure" not in told(capsys, 0, "plan", "-o", "junit")[0].replace('failures="0"', "")
    out, _ = told(capsys, 3, "apply", "-y", "-o", "junit")
    assert '<failure message="Endpoint/ranker would be changed"' in out, "what was refused failed"
    told(capsys, 0, "apply", "-y", "--approve", "big-steps", "--receipt", "r.json")
    assert live(capsys)

    receipt = json.loads(Path("r.json").read_text())
    (approval,) = receipt["approvals"]
    assert (approval["policy"], approval["address"]) == ("big-steps", "Endpoint/ranker")
    assert approval["by"]
    assert approval["at"].endswith("Z")
    (run,) = Path(".reconciler/runs").glob("*.jsonl")
    header = json.loads(run.read_text().splitlines()[0])
    assert header["approvals"] == [approval]
    assert (
        f"{approval['by']} approved big-steps for Endpoint/ranker"
        in told(capsys, 0, "history", "show", "2")[0]
    )
    told(capsys, 0, "apply", "-y"), "nothing to do needs no approval"


def test_an_approval_of_what_is_no_policy_is_a_mistake(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = told(capsys, 1, "apply", "-y", "--approve", "rate-limit")
    assert "--approve rate-limit: there is no such policy" in err
    assert "did you mean rate-limits?" in err
    _, err = told(capsys, 3, "apply", "-y", "--approve", "rate-limits")
    assert "denied by the policy" in err, "what is denied cannot be approved"


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("no", 1)])
def test_the_question_names_what_a_yes_approves(
    shop: Shop, answer: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.project(_LOCAL + _ASK)
    monkeypatch.setattr("reconciler.cli.options.is_interactive", lambda: True)
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer + "\n"))
    _, err = told(capsys, code, "apply", "--receipt", "r.json")
    assert "A yes approves: big-steps. Type yes to go on: " in err
    assert live(capsys) is (answer == "yes")
    if answer == "yes":
        assert json.loads(Path("r.json").read_text())["approvals"][0]["policy"] == "big-steps"


def test_a_plan_file_bears_approvals_of_the_policies_as_they_were(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.project(_LOCAL + _ASK)
    told(capsys, 0, "plan", "--out", "no.json")
    _, err = told(capsys, 3, "apply", "no.json")
    assert "big-steps asks for an approval" in err
    told(capsys, 0, "plan", "--out", "p.json", "--approve", "big-steps")
    assert "✓ policy big-steps: approved by" in told(capsys, 0, "show", "p.json")[0]

    shop.project(_LOCAL + _ASK.replace("rule: step", "rule: false || step"))
    told(capsys, 3, "apply", "p.json")
    assert not live(capsys), "the policy is another one by now"
    shop.project(_LOCAL + _ASK)
    told(capsys, 0, "apply", "p.json")
    assert live(capsys)


def test_a_plan_file_is_judged_by_todays_clock_and_policies(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.project(_LOCAL + "policies: [{use: change-window}]\n")
    clock(monkeypatch, "2026-11-24T12:00:00Z")
    told(capsys, 0, "plan", "--out", "p.json")
    clock(monkeypatch, "2026-11-27T12:00:00Z")
    _, err = told(capsys, 3, "apply", "p.json")
    assert "changes are made mon, tue, wed, thu from 09:00 to 16:00 (UTC)" in err
    assert not live(capsys)
    clock(monkeypatch, "2026-11-30T12:00:00Z")
    shop.project(_LOCAL + "policies: [{use: change-window}, {use: rate-limits}]\n")
    told(capsys, 3, "apply", "p.json")
    shop.project(_LOCAL + "policies: [{use: change-window}]\n")
    told(capsys, 0, "apply", "p.json")
    assert live(capsys)


# ---- declared --------------------------------------------------------------------------------------------


def test_an_environment_adds_replaces_and_switches_off(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.project(
        """\
policies: [{use: rate-limits}]
environments:
  dev: {target: "local:d.db?provisioning=0s", policies: [{use: rate-limits, level: "off"}]}
  test: {target: "local:t.db", policies: [{use: rate-limits, level: warn}]}
  prod: {target: "local:p.db", policies: [{use: prevent-destroy}]}
"""
    )
    told(capsys, 0, "apply", "-e", "dev", "-y")
    assert "warning" in told(capsys, 0, "plan", "-e", "test")[0]
    out, _ = told(capsys, 3, "plan", "-e", "prod")
    assert "policy rate-limits: denied" in out
    assert "policy prevent-destroy: denied" in out
    assert told(capsys, 1, "validate", "--all-environments")[0].count("  1 ") >= 1


def test_what_an_overlay_says_is_told_in_the_overlay(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(
        "environments:\n"
        "  prod: {target: local:p.db, overlays: [overlays], policies: [{use: no-scale-to-zero}]}\n"
    )
    shop.write(
        "overlays/ranker.yaml",
        OVERLAY + "spec:\n  config:\n    served_entities:\n      - name: challenger\n"
        "        scale_to_zero_enabled: true\n",
    )
    (found,) = answered(capsys, 3, "plan", "-e", "prod")["policies"]
    assert (found["source"], found["message"]) == (
        "overlays/ranker.yaml:8",
        "Endpoint/ranker: challenger scales to zero",
    )


def test_several_environments_are_judged_each_by_its_own(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.project(
        "environments:\n  dev: {target: 'local:d.db?provisioning=0s'}\n"
        "  prod: {target: local:p.db, policies: [{use: rate-limits}]}\n"
    )
    results = answered(capsys, 3, "plan", "--all-environments")["environments"]
    assert [results[name]["exit_code"] for name in ("dev", "prod")] == [0, 3]
    assert results["prod"]["result"]["policies"][0]["policy"] == "rate-limits"


def test_a_file_of_policies_is_shared(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(_LOCAL + "policies: [{file: policies/platform.yaml}]\n")
    _, err = told(capsys, 1, "validate")
    assert "there is no file policies/platform.yaml" in err
    head = "apiVersion: reconciler/v1\nkind: Policies\npolicies:\n"
    shop.write(
        "policies/platform.yaml",
        head + "  - {use: rate-limits}\n  - {id: x, rule: resource.nam, message: m}\n",
    )
    _, err = told(capsys, 1, "validate")
    assert "policies/platform.yaml:5:13: error [policy]" in err
    shop.write("policies/platform.yaml", head + "  - {use: rate-limits}\n  - {use: rate-limits}\n")
    _, err = told(capsys, 1, "validate")
    assert "policies/platform.yaml:5:5" in err
    assert 'there is a policy "rate-limits" already' in err
    shop.write("policies/platform.yaml", head + "  - {use: rate-limits}\n")
    assert answered(capsys, 3, "plan")["policies"][0]["declared"] == "policies/platform.yaml:4"


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("{use: rate-limit}", 'there is no built-in policy "rate-limit"'),
        ("{use: gpu-teams}", "gpu-teams needs teams: who may have one"),
        ("{use: gpu-teams, with: {team: [a]}}", 'gpu-teams has no parameter "team"'),
        ("{use: gpu-teams, with: {teams: a}}", "teams of gpu-teams is a list of texts"),
        ("{use: rate-limits, rule: 'true'}", "rule has no place beside use"),
        ("{id: x}", "a policy has rule, use or file"),
        ("{rule: 'true', message: m}", "id is missing"),
        ("{id: x, rule: 'true'}", "message is missing"),
        (
            "{id: x, rule: resource.name + 1 == 'a', message: m, on: plan}",
            "resource is not there in a policy on plan",
        ),
        (
            "{id: x, rule: plan.write_calls == 'a' || plan.target < 1, message: m}",
            "the types do not go together",
        ),
        (
            "{id: x, rule: step.action + 1 == 2, message: m}",
            "the types do not go together: text and a whole number",
        ),
        ("{id: x, rule: step.action, message: m}", "true or false is needed"),
        ("{id: x, rule: 'resource.labels.nope == 1', message: m}", "rule of the policy cannot be evaluated"),
    ],
)
def test_a_policy_that_is_wrong_is_found_by_validate(
    entry: str, what: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.project(_LOCAL + f"policies:\n  - {entry}\n")
    _, err = told(capsys, 1, "validate")
    assert what in " ".join(err.split())
    assert "reconciler.yaml:7" in err


def test_validate_tells_of_manifests_and_policies_at_once(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.project(_LOCAL + "policies: [{use: rate-limit}]\nfreeze: {until: 2026-02-30, reason: r}\n")
    shop.write("manifests/ranker.yaml", RANKER.replace("config:", "confg:"))
    _, err = told(capsys, 1, "validate")
    assert "there is no built-in policy" in err
    assert "confg" in err


def test_without_policies_nothing_of_it_is_imported(shop: Shop) -> None:
    shop.project(_LOCAL)
    code = (
        "import sys; from reconciler.cli.main import main; main(['plan']); main(['validate']);"
        "late = 'engine.policy engine.cel engine.freezing manifest.policies manifest.freezes';"
        "late = {f'reconciler.{name}' for name in late.split()};"
        "assert not {'celpy', 'lark', 're2', *late} & set(sys.modules), late & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
