"""What a stack of a real MLflow server owns and declares no more is pruned; what is protected is not."""

from __future__ import annotations

from tests.realserver.test_gateway import ALL, MODELS, PLAIN, SECRETS
from tests.realserver.tracking import Project


def test_prune_takes_away_what_is_no_longer_declared_in_order(project: Project) -> None:
    project.write(ALL)
    project.run("apply", "--auto-approve")
    kept = "---\n".join([SECRETS, MODELS.split("---\n")[0], PLAIN])
    project.write(kept)
    told = "3 owned by stack shop are not declared"  # of the lists that are read anyway: budgets' is not
    assert told in project.run("plan")

    project.run("apply", "--prune", "--auto-approve", "--max-deletes", "3", code=3)
    text = project.run("apply", "--prune", "--auto-approve", "--max-deletes", "4")
    for address in ("GatewayEndpoint/chat", "GatewayModel/mini", "GatewayModel/claude"):
        assert f"{address} deleted" in text
    assert "GatewayBudget/chat-1-days-reject" in text
    assert "Converged" in text
    project.assert_nothing_to_do()
    plan = project.json("plan", "--prune")
    assert plan["summary"]["delete"] == 0
    assert {step["address"] for step in plan["steps"]} == {
        "GatewaySecret/openai",
        "GatewaySecret/anthropic",
        "GatewayModel/gpt",
        "GatewayEndpoint/plain",
    }


def test_what_another_stack_still_uses_is_left_there(project: Project) -> None:
    project.write("---\n".join([SECRETS, MODELS]))
    project.run("apply", "--auto-approve")
    (project.folder / "theirs.yaml").write_text(PLAIN)
    project.run("apply", "theirs.yaml", "--stack", "bank", "--auto-approve")
    project.write("\n".join(SECRETS.split("---\n")[1:]))
    text = project.run("apply", "--prune", "--auto-approve", "--max-deletes", "9")
    assert "GatewayModel/gpt" in text
    assert "left there: in use by GatewayEndpoint/plain" in text
    assert "GatewayModel/mini deleted" in text
    addresses = {step["address"]: step["action"] for step in project.json("plan", "--prune")["steps"]}
    assert addresses == {
        "GatewaySecret/anthropic": "no_op",
        "GatewaySecret/openai": "no_op",
        "GatewayModel/gpt": "no_op",
    }


def test_protection_of_an_endpoint_outlives_its_manifest(project: Project) -> None:
    protected = PLAIN.replace("spec:", "lifecycle: {prevent_destroy: true}\nspec:")
    project.write("---\n".join([SECRETS, MODELS, protected]))
    project.run("apply", "--auto-approve")
    project.assert_nothing_to_do()
    project.write("---\n".join([SECRETS, MODELS]))
    text = project.run("apply", "--prune", "--auto-approve", code=3)
    assert "GatewayEndpoint/plain is protected, and would be deleted" in text
    project.write("---\n".join([SECRETS, MODELS, PLAIN]))
    text = project.run("apply", "--auto-approve")
    assert "protection lifted" in text
    project.assert_nothing_to_do()
    project.run("rollback", "--auto-approve")
    assert "protection lifted" in project.run("apply", "--auto-approve"), "the rollback had put it back"
    project.write("---\n".join([SECRETS, MODELS]))
    assert "GatewayEndpoint/plain deleted" in project.run("apply", "--prune", "--auto-approve")
