"""Plan files, the record and a rollback, against the AI Gateway of a real MLflow server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.realserver.test_gateway import ALL
from tests.realserver.tracking import Project, Tracking


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


def test_a_run_that_changed_and_deleted_is_undone(project: Project, tracking: Tracking) -> None:
    """Updates and deletions: what the server tells is put back, a secret as its manifest has it."""
    project.write(ALL)
    project.run("apply", "--auto-approve")
    before = _told(tracking)
    changed = ALL.replace("weight: 0.8", "weight: 0.7").replace("weight: 0.2", "weight: 0.3")
    assert changed != ALL
    project.write(changed)
    project.run("apply", "--auto-approve", "--max-changes", "100%")
    assert _told(tracking) != before
    project.run("rollback", "--auto-approve", "--max-changes", "100%")
    assert _told(tracking) == before
    project.write(ALL)
    project.assert_nothing_to_do()

    project.run("destroy", "--auto-approve")
    said = project.run("rollback", "--auto-approve")
    assert "its id does not come back" in said
    assert _told(tracking) == before
    project.assert_nothing_to_do()


def _told(tracking: Tracking) -> Any:
    """What is live, without what only the server chooses."""
    return _without_times(tracking.everything())


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        chosen = ("_id", "_at", "_by", "target_value")  # of a budget: the id of its endpoint
        return {k: _without_times(v) for k, v in value.items() if not k.endswith(chosen) and k != "id"}
    return sorted(map(_without_times, value), key=json.dumps) if isinstance(value, list) else value
