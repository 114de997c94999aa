"""Plan → what it may not do. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.errors import ManifestError, Problem, ProtectedError, RefusedError
from reconciler.kinds.deployment import owner_of
from reconciler.values import STACK_TAG, Action, Plan, Step

__all__ = ["failures", "refusals"]


def refusals(plan: Plan) -> RefusedError | None:
    """Why this plan may not be applied as a whole; None when it may."""
    if refused := [step for step in plan.steps if step.refusal]:
        return _refused(refused)
    protected = [s for s in plan.steps if s.protected and s.action in (Action.DELETE, Action.REPLACE)]
    if not protected:
        return _foreign(plan)
    return ProtectedError(
        "\n".join(_sentence(step) for step in protected),
        why="lifecycle.prevent_destroy forbids it",
        fix="undo what forces it, or take prevent_destroy out of the manifest in a commit of its own",
    )


def _foreign(plan: Plan) -> RefusedError | None:
    """Refused: what bears the marker of another stack."""
    owned = [
        (step, owner)
        for step in plan.steps
        if step.address.dialect.startswith("plugin") and step.calls
        if (owner := owner_of(step.base or {}, plan.stack)) not in ("", plan.stack)
    ]
    if not owned:
        return None
    mine = f"this run is for the stack {plan.stack!r}" if plan.stack else "this run names no stack"
    return RefusedError(
        "\n".join(f"{step.address} belongs to the stack {owner!r}" for step, owner in owned),
        why=f"its tag {STACK_TAG} says so, and {mine}",
        fix="give it another name in the manifest, or run with --stack and that name if it is yours",
    )


def _refused(steps: Sequence[Step]) -> RefusedError:
    """One error of all of them; what is the same for several is said once."""
    parts: dict[str, dict[str, None]] = {"": {}, "why: ": {}, "next: ": {}}
    for step in steps:
        for line in step.refusal.splitlines():
            start = next((start for start in ("why: ", "next: ") if line.startswith(start)), "")
            where = f"{step.source}: " if step.source and not start else ""
            parts[start][where + line.removeprefix(start)] = None
    return RefusedError("\n".join(parts[""]), why="; ".join(parts["why: "]), fix="; ".join(parts["next: "]))


def _sentence(step: Step) -> str:
    where = f"{step.source}: " if step.source else ""
    if step.action is Action.DELETE:
        return f"{where}{step.address} is protected, and would be deleted"
    forced = ", ".join(sorted({str(c.path) for c in step.changes if c.forces_replace}))
    return f"{where}{step.address} is protected, and would be deleted and created again, forced by {forced}"


def failures(plan: Plan) -> ManifestError | None:
    """Assertions that do not hold, each with the line that makes it; None when all do."""
    problems = []
    for step in plan.steps:
        if step.failure:
            place = step.source
            where = (place.file, place.line, place.column) if place else ("", 0, 0)
            problems.append(Problem(*where, "", f"{step.address} {step.failure}", "", "assertion"))
    return ManifestError(problems) if problems else None
