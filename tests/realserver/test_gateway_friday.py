"""Plan files, the record and a rollback, against the AI Gateway of a real MLflow server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.realserver.test_gateway import ALL
from tests.realserver.tracking import Project


def test_a_reviewed_plan_is_applied_on_record_and_undone(project: Project) -> None:
    project.write(ALL)
    project.run("plan", "--out", "plan.json")
    project.run("apply", "plan.json", "--receipt", "receipt.json")
    project.assert_nothing_to_do()
    receipt = json.loads((project.folder / "receipt.json").read_text())
    assert receipt["converged"] is True
    assert {call["outcome"] for call in receipt["calls"]} == {"done"}
    project.run("apply", "plan.json", code=3)

    assert (
        "sk-" not in _everything(project.folder / ".reconciler") + (project.folder / "plan.json").read_text()
    )

    project.write(ALL.replace("weight: 0.8", "weight: 0.7").replace("weight: 0.2", "weight: 0.3"))
    project.run("plan", "--out", "plan.json")
    project.write(ALL.replace("weight: 0.8", "weight: 0.6").replace("weight: 0.2", "weight: 0.4"))
    project.run("apply", "plan.json", code=3)

    project.write(ALL)
    project.run("rollback", "--auto-approve", "--max-deletes", "100%", "--max-changes", "100%")
    plan = project.json("plan")
    assert plan["summary"]["create"] == len(plan["steps"]), "everything that the run created is gone"


def _everything(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
