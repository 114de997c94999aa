"""What a plan does because we edited the manifests, and what because somebody edited the workspace. Pure.

Three sides: the manifests as they were at a revision (base), as they are (desired), and live. A change that
a plan of the base would make too is *drift*; one that it would not make is *intended*; where both differ from
live and from each other it is *both*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan, make_step
from reconciler.kinds import kind_of
from reconciler.values import Action, Address, FieldChange, Plan, Resource, Snapshot, Step

__all__ = ["BOTH", "DRIFT", "INTENDED", "labelled", "plan_since", "removed", "with_removed_sections"]

INTENDED: Final = "intended"
DRIFT: Final = "drift"
BOTH: Final = "both"


def plan_since(
    desired: Sequence[Resource],
    base: Sequence[Resource],
    gone: Sequence[Resource],
    snapshot: Snapshot,
    options: PlanOptions,
    *,
    since: str,
    set_by: Callable[[FieldChange], str],
    removed_by: Callable[[Resource], str],
) -> Plan:
    """The plan of ``desired``, its changes labelled by what ``base`` would have changed, and ``gone`` deleted
    as far as it is ours.

    ``since``: the revision of ``base``, for people. ``set_by`` tells who last set what a change, with its
    cause, wants; ``removed_by`` who took a declaration away. Raises ManifestError as :func:`make_plan` does.
    """
    made = make_plan(desired, snapshot, options, gone)
    declared = {resource.address: resource for resource in (*desired, *gone)}
    away = {
        resource.address: f"declared at {since}, and no more: {removed_by(resource)}" for resource in gone
    }
    steps = tuple(
        replace(step, notes=(told, *step.notes)) if (told := away.get(step.address)) else step
        for step in made.steps
    )
    before = [make_step(resource, snapshot.resources.get(resource.address), options) for resource in base]

    def who(step: Step, change: FieldChange) -> str:
        resource = declared[step.address]
        if (
            change.section in resource.spec
            and (change.section,) not in resource.positions
            and resource.positions
        ):
            return removed_by(resource)  # the section stands there no more: nobody set its line
        return set_by(change)

    whole = labelled(replace(made, steps=steps), Plan(snapshot.target, tuple(before)), who)
    return replace(whole, notes=(*_summary(whole, since), *whole.notes))


def _summary(plan: Plan, since: str) -> tuple[str, ...]:
    causes = Counter(change.cause for step in plan.steps for change in step.changes)
    words = {INTENDED: "intended", DRIFT: "drift", BOTH: "edited on both sides"}
    parts = [f"{causes[cause]} {word}" for cause, word in words.items() if causes[cause]]
    if gone := sum(1 for step in plan.steps if step.is_undeclared):
        parts.append(f"{gone} no longer declared")
    return (f"changes since {since}: {', '.join(parts)}",) if parts else ()


def labelled(
    plan: Plan, base: Plan, set_by: Callable[[Step, FieldChange], str] = lambda step, change: ""
) -> Plan:
    """The plan with the cause of each change, and the commit that last set its value.

    ``base``: the plan of the manifests as they were, against the same live side. ``set_by`` tells who last
    set what a change of a step wants, "" when that is not known.
    """
    before = {step.address: step for step in base.steps}
    return replace(plan, steps=tuple(_step(step, before.get(step.address), set_by) for step in plan.steps))


def _step(step: Step, base: Step | None, set_by: Callable[[Step, FieldChange], str]) -> Step:
    caused = (replace(change, cause=_cause(change, base, step.action)) for change in step.changes)
    return replace(step, changes=tuple(replace(c, set_by=set_by(step, c)) for c in caused))


def _cause(change: FieldChange, base: Step | None, action: Action) -> str:
    if base is None:
        return INTENDED  # it was not declared then
    if (base.action is Action.CREATE) is not (action is Action.CREATE):
        return BOTH
    same = [other for other in base.changes if other.path == change.path]
    if same:
        return DRIFT if _equal(same[0].after, change.after) else BOTH
    overlapping = [
        other for other in base.changes if other.path.covers(change.path) or change.path.covers(other.path)
    ]
    return BOTH if overlapping else INTENDED


def _equal(mine: Any, theirs: Any) -> bool:
    return bool(mine == theirs)


def with_removed_sections(desired: Sequence[Resource], base: Sequence[Resource]) -> tuple[Resource, ...]:
    """The desired resources; a section that the base managed and that is written no more is cleared.

    Left out, a section is not managed, and would stay as it is for ever: somebody who deletes it in a commit
    means it to go. Sections that the API cannot clear in place are left alone.
    """
    before = {resource.address: resource for resource in base}
    return tuple(_without(resource, before.get(resource.address)) for resource in desired)


def _without(resource: Resource, base: Resource | None) -> Resource:
    if base is None:
        return resource
    fields = kind_of(resource.address).fields.properties
    written = {fields[name].alias_of or name if name in fields else name for name in resource.spec}
    gone: Mapping[str, Any] = {
        name: None
        for name, value in base.spec.items()
        if name in fields
        and (fields[name].alias_of or name) not in written
        and fields[name].clear in ("empty", "omitted")
        and not fields[name].immutable
        and value not in (None, {}, [])
    }
    return replace(resource, spec={**resource.spec, **gone}) if gone else resource


def removed(desired: Sequence[Resource], base: Sequence[Resource]) -> tuple[Resource, ...]:
    """What the base declared and no manifest declares any more, under this name or as what it moved from."""
    kept = {resource.address for resource in desired}
    kept |= {
        Address(r.address.kind, r.lifecycle.moved_from, r.address.dialect)
        for r in desired
        if r.lifecycle.moved_from
    }
    return tuple(resource for resource in base if resource.address not in kept)
