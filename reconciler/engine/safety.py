"""Plan → what it may not do. Pure."""

from __future__ import annotations

from reconciler.errors import ProtectedError, RefusedError
from reconciler.values import Action, Plan, Step

__all__ = ["refusals"]


def refusals(plan: Plan) -> RefusedError | None:
    """Why this plan may not be applied as a whole; None when it may."""
    protected = [s for s in plan.steps if s.protected and s.action in (Action.DELETE, Action.REPLACE)]
    if not protected:
        return None
    return ProtectedError(
        "\n".join(_sentence(step) for step in protected),
        why="lifecycle.prevent_destroy forbids it",
        fix="undo what forces it, or take prevent_destroy out of the manifest in a commit of its own",
    )


def _sentence(step: Step) -> str:
    where = f"{step.source}: " if step.source else ""
    if step.action is Action.DELETE:
        return f"{where}{step.address} is protected, and would be deleted"
    forced = ", ".join(sorted({str(c.path) for c in step.changes if c.forces_replace}))
    return f"{where}{step.address} is protected, and would be deleted and created again, forced by {forced}"
