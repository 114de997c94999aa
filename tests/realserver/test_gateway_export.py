"""Export from a real MLflow server, and back: the plan is empty, by whatever hands things were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.realserver.test_gateway import ALL
from tests.realserver.tracking import Project, Tracking

_CANARY = "sk-canary-of-somebody-else-7777"


def _by_hand(tracking: Tracking) -> None:
    """What other people made, some of it odd."""
    keys = {"aws_access_key_id": "AKIA-canary-0001", "aws_secret_access_key": "short"}
    body = {"secret_name": "aws Ü 1", "secret_value": keys, "provider": "bedrock"}
    aws = tracking.call("POST", "secrets/create", {**body, "auth_config": {"aws_region_name": "eu-1"}})
    secret = str(aws["secret"]["secret_id"])
    claude = tracking.model("claude ${3}", secret, "1e3")
    gone = tracking.secret("gone", _CANARY)
    orphaned = tracking.model("orphaned", gone)
    tracking.call("DELETE", "secrets/delete", {"secret_id": gone})
    configs = [
        {"model_definition_id": claude, "linkage_type": "PRIMARY", "weight": 0.3},
        {"model_definition_id": orphaned, "linkage_type": "PRIMARY", "weight": 0.7},
        {"model_definition_id": claude, "linkage_type": "FALLBACK", "fallback_order": 1},
    ]
    made = tracking.endpoint("Chat", claude, model_configs=configs, fallback_config={"max_attempts": 1})
    for key, value in {"on": "yes", "version": "007", "text": "${env:HOME}\n a "}.items():
        tracking.call("POST", "endpoints/set-tag", {"endpoint_id": made, "key": key, "value": value})
    month = {"duration": {"unit": "MONTHS", "value": 1}, "target_scope": "GLOBAL"}
    for amount in (100, 200):
        budget = {"budget_unit": "USD", "budget_amount": amount, **month, "budget_action": "ALERT"}
        tracking.call("POST", "budgets/create", budget)


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.yaml"))


def _plan(project: Project, *words: str) -> Any:
    return project.json("plan", "out", "--detailed-exitcode", *words)


def test_what_was_exported_has_an_empty_plan(tracking: Tracking, project: Project) -> None:
    project.write(ALL)
    project.apply()
    _by_hand(tracking)
    before = tracking.everything()

    told = project.run("export", "--out", "out")

    assert _files(project.folder / "out") == [
        "gateway-budgets/chat-1-days-reject.yaml",
        "gateway-budgets/global-1-months-alert.yaml",
        "gateway-endpoints/Chat.yaml",
        "gateway-endpoints/chat-2.yaml",
        "gateway-endpoints/plain.yaml",
        "gateway-models/claude-3.yaml",
        "gateway-models/claude.yaml",
        "gateway-models/gpt.yaml",
        "gateway-models/mini.yaml",
        "gateway-secrets/anthropic.yaml",
        "gateway-secrets/aws-1.yaml",
        "gateway-secrets/openai.yaml",
    ]
    assert "left out: GatewayModel/orphaned: its secret was deleted" in told
    assert "left out: GatewayBudget/global-1-months-alert-2: it cannot be told from another" in told
    text = "".join(path.read_text() for path in (project.folder / "out").rglob("*.yaml"))
    assert "canary" not in text + told
    variables = {"AWS_1_AWS_ACCESS_KEY_ID": "AKIA-canary-0001", "AWS_1_AWS_SECRET_ACCESS_KEY": "short"}
    assert all(name in told for name in (*variables, "OPENAI_API_KEY", "ANTHROPIC_API_KEY"))
    assert "AWS_1_AWS_ACCESS_KEY_ID" in project.run("plan", "out", code=1), "it must be set first"

    project.environment |= variables
    plan = _plan(project)
    assert plan["totals"]["write_calls"] == 0
    assert _plan(project, "--stack", "another")["totals"]["write_calls"] == 0
    assert tracking.everything() == before, "nobody wrote anything"


def test_another_value_shows_and_adopting_settles_it(tracking: Tracking, project: Project) -> None:
    tracking.endpoint("chat", tracking.model("gpt", tracking.secret("mine", _CANARY)))
    project.run("export", "--out", "out")
    project.environment["MINE_API_KEY"] = "sk-another-value-0000"
    project.run("plan", "out", code=3)
    project.environment["MINE_API_KEY"] = _CANARY
    assert _plan(project)["totals"]["write_calls"] == 0

    project.apply("out", "--adopt", "--resend-secrets")

    assert tracking.one("secrets", "mine")["last_updated_by"].startswith("reconciler:shop seal:")
    assert _plan(project)["totals"]["write_calls"] == 0
    project.environment["MINE_API_KEY"] = _CANARY[:8] + "x" + _CANARY[9:]  # the mask is the same
    told = project.run("plan", "out", "--detailed-exitcode", code=2)
    assert "value changed" in told
    assert "canary" not in told
