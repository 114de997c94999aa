"""Plan → what it may not do. Pure.

Limits are there for the day on which a manifest folder is half empty by mistake: a plan that would delete or
change too large a share of what exists is refused before its first call, with the flag that allows it. As in
octoDNS, a share counts only once enough exists: of two endpoints, one is not a catastrophe but a task.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.engine.verdicts import denied
from reconciler.errors import ManifestError, Problem, ProtectedError, RefusedError, UsageError
from reconciler.kinds.deployment import owner_of
from reconciler.kinds.marks import SECTIONS
from reconciler.values import STACK_TAG, Action, Plan, Step

__all__ = [
    "DEFAULTS",
    "MINIMUM_POPULATION",
    "UNLIMITED",
    "Limit",
    "Limits",
    "counts",
    "failures",
    "over_limits",
    "refusals",
    "replacements",
]

MINIMUM_POPULATION = 10
"""So many resources must exist before a limit in percent says anything (octoDNS has the same number)."""

_NAMED = 5
"""Addresses named in a message; the plan above it names all."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``number`` resources, or ``percent`` of those that exist; both None: no limit."""

    number: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str, option: str) -> Limit:
        """Read ``5`` or ``30%``. Raises UsageError that names ``option``."""
        found = re.fullmatch(r"(\d{1,9})|(\d{1,3}(?:\.\d{1,3})?)\s*%", text.strip(), re.ASCII)
        if not found or (found[2] and float(found[2]) > 100):
            raise UsageError(
                f"{option}: {text!r} is neither a number nor a percentage", fix="write it like 5 or 30%"
            )
        return cls(number=int(found[1])) if found[1] else cls(percent=float(found[2]))

    def allows(self, count: int, population: int) -> bool:
        """Whether so many, of so many that exist, are within the limit."""
        if self.number is not None:
            return count <= self.number
        if self.percent is None or population < MINIMUM_POPULATION:
            return True
        return count * 100 <= self.percent * population

    def __str__(self) -> str:
        if self.number is not None:
            return str(self.number)
        return "no limit" if self.percent is None else f"{self.percent:g}%"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one plan may do to what exists.

    ``deletes``: deletions and replacements together, for both end what callers use. ``changes``: these and
    updates. What is created is not limited, for it takes nothing from anybody; nor is what is only marked as
    ours. ``is_asked``: how many may be deleted was said for this run alone.
    """

    deletes: Limit = Limit()
    changes: Limit = Limit()
    is_asked: bool = False


DEFAULTS = Limits(deletes=Limit(percent=30), changes=Limit(percent=50))
UNLIMITED = Limits(is_asked=True)


def refusals(plan: Plan, limits: Limits = UNLIMITED) -> RefusedError | None:
    """Why this plan may not be applied as a whole; None when it may."""
    if refused := [step for step in plan.steps if step.refusal]:
        return _refused(refused)
    protected = [s for s in plan.steps if s.protected and s.action in (Action.DELETE, Action.REPLACE)]
    if protected:
        return ProtectedError(
            "\n".join(_sentence(step) for step in protected),
            why="lifecycle.prevent_destroy forbids it",
            fix="undo what forces it, or take prevent_destroy out of the manifest in a commit of its own",
        )
    return _foreign(plan) or denied(plan) or over_limits(plan, limits)


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


def over_limits(plan: Plan, limits: Limits) -> RefusedError | None:
    """The limit that this plan exceeds, with count, threshold and flag; None when it exceeds none."""
    there = [step for step in plan.steps if _exists(step)]
    population = len(there)
    if there and all(step.is_undeclared for step in there) and not limits.is_asked:
        return RefusedError(
            f"nothing that is live is declared: all that stack {plan.stack} owns would be deleted: "
            f"{_named(there)}",
            why="so many manifests gone at once are more often a mistake than a wish",
            fix=f"if it is meant, --max-deletes {population} allows it",
        )
    deleted = [s for s in plan.steps if s.action in (Action.DELETE, Action.REPLACE)]
    changed = [s for s in plan.steps if s.calls and s.action in _CHANGES and not _is_marked_only(s)]
    for steps, limit, flag, verb in (
        (deleted, limits.deletes, "--max-deletes", "deleted or replaced"),
        (changed, limits.changes, "--max-changes", "changed, replaced or deleted"),
    ):
        if not limit.allows(len(steps), population):
            share = f" ({len(steps) / population:.0%})" if population else ""
            return RefusedError(
                f"{len(steps)} of {population} existing {_noun(steps, population)}{share} would be {verb}, "
                f"and the limit is {limit}: {_named(steps)}",
                why="so much at once is more often a mistake than a wish",
                fix=f"look at the plan; if it is meant, {flag} {len(steps)} allows it",
            )
    return None


_CHANGES = (Action.UPDATE, Action.ADOPT, Action.REPLACE, Action.DELETE)


def _is_marked_only(step: Step) -> bool:
    """It is taken over, or given up, and nothing else of it changes."""
    return bool(step.changes) and all(change.section in SECTIONS for change in step.changes)


def _exists(step: Step) -> bool:
    """The resource is live. A step that does nothing leaves the trace of a comparison when it is."""
    if step.action is Action.NO_OP:
        return bool(step.compared or step.skipped)
    return step.action is not Action.CREATE


def _noun(steps: Sequence[Step], number: int) -> str:
    kinds = {step.address.kind.lower() for step in steps}
    noun = kinds.pop() if len(kinds) == 1 else "resource"
    return noun if number == 1 else f"{noun}s"


def _named(steps: Sequence[Step]) -> str:
    names = [str(step.address) for step in steps[:_NAMED]]
    more = len(steps) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


_SERVING = ("Endpoint", "Deployment", "GatewayEndpoint")


def replacements(plan: Plan) -> RefusedError | None:
    """Why replacements of what serves need somebody's word; None when the plan has none."""
    replaced = [s for s in plan.steps if s.action is Action.REPLACE and s.address.kind in _SERVING]
    if moved := [step for step in plan.steps if step.moved_to is not None]:
        return RefusedError(
            "\n".join(f"{s.address} would be deleted once {s.moved_to} is live" for s in moved),
            why="the API cannot rename an endpoint: who still calls the old name gets errors from then on",
            fix="if that is meant, --allow-replace allows it",
        )
    if not replaced:
        return None
    forced = sorted({str(c.path) for step in replaced for c in step.changes if c.forces_replace})
    return RefusedError(
        f"{_named(replaced)} would be deleted and created again",
        why=f"{', '.join(forced)} cannot be changed in place; until the new one is ready, callers get errors",
        fix="if that is meant, --allow-replace allows it",
    )


def counts(plan: Plan) -> str:
    """What a plan does, for a question: "2 to create, 1 to delete (Endpoint/old)"."""
    parts = []
    for action in (Action.CREATE, Action.UPDATE, Action.REPLACE, Action.DELETE, Action.ADOPT):
        steps = [step for step in plan.steps if step.action is action]
        if steps:
            ends = action in (Action.REPLACE, Action.DELETE)
            parts.append(f"{len(steps)} to {action.value}" + (f" ({_named(steps)})" if ends else ""))
    return ", ".join(parts)


def failures(plan: Plan) -> ManifestError | None:
    """Assertions that do not hold, each with the line that makes it; None when all do."""
    problems = []
    for step in plan.steps:
        if step.failure:
            place = step.source
            where = (place.file, place.line, place.column) if place else ("", 0, 0)
            problems.append(Problem(*where, "", f"{step.address} {step.failure}", "", "assertion"))
    return ManifestError(problems) if problems else None
