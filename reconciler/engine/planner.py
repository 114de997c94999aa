"""Desired resources + snapshot → plan. Pure: no client, no file, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler.engine.compare import Comparison, compare_sections
from reconciler.engine.links import foreign, linked_steps, ordered_deletes, owner_of
from reconciler.engine.options import PlanOptions
from reconciler.engine.ownership import beyond, deletion, moved_notes, ownership_notes, protection
from reconciler.kinds import kind_of
from reconciler.shape import canonical, canonical_sources
from reconciler.values import (
    STACK_TAG,
    Action,
    FieldChange,
    FieldPath,
    ItemKey,
    Live,
    Plan,
    Reason,
    Resource,
    Skipped,
    Snapshot,
    Status,
    Step,
)

__all__ = ["assemble", "make_plan", "make_step", "plan_destroy"]

_PLAIN: Final = PlanOptions()


def make_plan(
    desired: Sequence[Resource],
    snapshot: Snapshot,
    options: PlanOptions = _PLAIN,
    gone: Sequence[Resource] = (),
) -> Plan:
    """What has to be done for the live side to be as desired; a step for each resource, also a no-op.

    Live resources that no manifest names do not appear, except what moved to one that is named, what is
    ``gone`` (it was declared), and with ``options.prune`` what the stack owns: everything else is nobody's
    business here.
    Raises ManifestError when a manifest names something that is neither declared nor live.
    """
    steps = [make_step(resource, snapshot.resources.get(resource.address), options) for resource in desired]
    return assemble(snapshot, desired, steps, options, gone)


def assemble(
    snapshot: Snapshot,
    desired: Sequence[Resource],
    steps: Sequence[Step],
    options: PlanOptions = _PLAIN,
    gone: Sequence[Resource] = (),
) -> Plan:
    """The plan of these steps: in the order of their references, with the ids that are known, and with what
    concerns all of them said once. Raises ManifestError as :func:`make_plan` does."""
    steps = [
        replace(step, notes=(*step.notes, *told))
        if step.action is not Action.CREATE and (told := moved_notes(resource, snapshot.resources))
        else step
        for resource, step in zip(desired, steps, strict=True)
    ]
    linked = linked_steps(desired, steps, snapshot)
    more = tuple(beyond(desired, steps, snapshot, options, gone))
    notes = (*_notes(steps), *_unmarked(steps), *ownership_notes((*desired, *gone), snapshot, options))
    return Plan(snapshot.target, (*linked, *more), stack=options.stack, notes=notes)


def plan_destroy(desired: Sequence[Resource], snapshot: Snapshot, options: PlanOptions = _PLAIN) -> Plan:
    """What has to be done to delete what the manifests name, and nothing else.

    What nobody's stack owns only with ``adopt``.
    """
    steps = []
    for resource in desired:
        live = snapshot.resources.get(resource.address)
        is_asserted = kind_of(resource.address).is_assertion
        if live is not None and not is_asserted:
            steps.append(deletion(resource, live, options))
        else:
            notice = "nothing: it is only asserted" if is_asserted else "nothing"
            steps.append(Step(resource.address, Action.NO_OP, source=resource.place, notice=notice))
    ordered = ordered_deletes(desired, steps, snapshot)
    return Plan(snapshot.target, ordered, stack=options.stack, notes=_unmarked(steps))


def make_step(resource: Resource, live: Live | None, options: PlanOptions = _PLAIN) -> Step:
    """The step of one resource, complete but for its order. ``live`` is None when it does not exist."""
    of = kind_of(resource.address)
    if of.is_assertion:
        return _asserted(resource, live)
    if live is None:
        created = _as_created(resource)
        return Step(
            resource.address,
            Action.CREATE,
            changes=created,
            calls=of.calls(resource, None, Action.CREATE, ()),
            notice=of.notice(Action.CREATE, created),
            source=resource.source,
            protected=resource.lifecycle.prevent_destroy,
        )
    shape = of.normalise(live)
    desired, theirs, taken_out = of.comparable(resource, live, shape)
    above = (of.spec_at,) if of.spec_at else ()
    found = compare_sections(
        of.fields,
        desired,
        theirs,
        name=resource.address.name,
        ignore=[FieldPath((*above, *FieldPath.parse(t))) for t in resource.lifecycle.ignore_changes],
        resend=options.resends(resource.address),
    )
    if above:
        desired = _as_written(desired, found, of.spec_at)
    found.skipped[:0] = taken_out
    if of.renamed is not None and (renaming := of.renamed(resource, live)):
        found.changes.insert(0, renaming)
    refusal = foreign(of, resource, live, options.adopt)
    is_taken = False
    if refusal:  # a marker among tags that are compared: whose it is changes by adoption alone
        found.changes = [change for change in found.changes if STACK_TAG not in change.path]
    elif of.owner_change is None and of.owned_by is not None and not of.unowned_is_ours:
        is_taken = owner_of(of, resource, live) != resource.stack
    elif of.owner_change is not None and (owning := of.owner_change(resource, live)):
        found.changes.append(owning)
        is_taken = owner_of(of, resource, live) != resource.stack
    if of.protection_change is not None and not refusal:
        found.changes += filter(None, (of.protection_change(resource, live),))
    changes = _with_sources(resource, desired, found.changes)
    action = _action(found)
    if action is Action.UPDATE and (is_taken or refusal):
        action = Action.ADOPT
    writes = action is not Action.NO_OP
    is_foreign = bool(refusal)
    refusal = refusal or protection(resource, live, action)
    return Step(
        resource.address,
        action,
        changes=changes,
        calls=of.calls(resource, live, action, changes),
        skipped=tuple(found.skipped),
        compared=found.compared,
        notice=of.notice(action, changes),
        notes=(
            *of.notes(live),
            *(f"{s.path} {s.detail}" for s in found.skipped if s.reason is Reason.UNKNOWN and s.detail),
            *((_left_alone(refusal),) if refusal and not writes else ()),
        ),
        source=resource.place,
        # Only a step that writes is ever held against them.
        fingerprint=of.fingerprint(live, shape) if writes else "",
        base=shape if writes else None,
        protected=resource.lifecycle.prevent_destroy or of.is_protected(live),
        refusal=refusal if writes else "",
        is_foreign=is_foreign,
        is_busy=not writes and not is_foreign and of.status(live.raw)[0] is Status.WAITING,
    )


def _as_written(desired: Mapping[str, Any], found: Comparison, section: str) -> dict[str, Any]:
    """The spec, when it was compared as one section; what was found gets the paths of the manifest."""
    found.changes = [replace(change, path=FieldPath(change.path[1:])) for change in found.changes]
    found.skipped = [
        replace(skipped, path=FieldPath(skipped.path[1:])) for skipped in found.skipped if skipped.path[1:]
    ]
    return dict(desired[section])


def _left_alone(refusal: str) -> str:
    """What is not ours and as declared: nothing is refused, for nothing would be done."""
    what, _, _ = refusal.partition("\n")
    return what if "belongs to" in what else f"{what}; as declared, and left alone: --adopt takes it"


def _asserted(resource: Resource, live: Live | None) -> Step:
    """A step of which nothing can be done: what the manifest says holds, or the plan fails."""
    of = kind_of(resource.address)
    step = Step(resource.address, Action.NO_OP, notice="nothing", source=resource.source)
    if live is None:
        failure = "does not exist on this target, or is not available to this key"
        return replace(step, failure=failure, notes=(failure,))
    desired, theirs, _ = of.comparable(resource, live, of.normalise(live))
    found = compare_sections(of.fields, desired, theirs, name=resource.address.name)
    said = [f"{c.path} is {c.before!r}, not {c.after!r}" for c in found.changes]
    return replace(step, compared=1 + found.compared, failure="; ".join(said), notes=tuple(said))


def _action(found: Comparison) -> Action:
    if not found.changes:
        return Action.NO_OP
    if any(change.forces_replace for change in found.changes):
        return Action.REPLACE
    return Action.UPDATE


def _as_created(resource: Resource) -> tuple[FieldChange, ...]:
    """Every section of a new resource, as a change from nothing."""
    fields = kind_of(resource.address).fields
    shape: Mapping[str, Any] = canonical(fields, dict(resource.spec))
    changes = [
        FieldChange(FieldPath((name,)), None, value, section=name)
        for name, value in shape.items()
        if value not in (None, {}, [])
    ]
    return _with_sources(resource, shape, changes)


def _with_sources(
    resource: Resource, desired: Mapping[str, Any], changes: Sequence[FieldChange]
) -> tuple[FieldChange, ...]:
    """The changes, each with the place in the manifest that wants it."""
    if not changes or resource.place is None:
        return tuple(changes)
    of = kind_of(resource.address)
    places = canonical_sources(of.fields, resource.spec, resource.positions)
    located = replace(resource, positions=places)
    return tuple(
        replace(change, source=located.source_of(_positions(of.fields.at, desired, change.path)))
        for change in changes
    )


def _positions(field_at: Callable[..., Any], desired: Mapping[str, Any], path: FieldPath) -> list[str | int]:
    """A change's path with the position of each keyed item, as places are known by."""
    from reconciler.shape import item_key

    result: list[str | int] = []
    value: Any = desired
    for part in path:
        if isinstance(part, ItemKey):
            field = field_at(*result)
            items = value if isinstance(value, list) else []
            at = next((i for i, item in enumerate(items) if item_key(field, item)[0] == part.text), None)
            if at is None:
                break
            result.append(at)
            value = items[at]
        else:
            result.append(part)
            value = value.get(part) if isinstance(value, Mapping) else None
    return result


def _notes(steps: Sequence[Step]) -> tuple[str, ...]:
    """What concerns the whole plan, said once."""
    notes = []
    unknown = sorted(
        {_pattern(s) for step in steps for s in step.skipped if s.reason is Reason.UNKNOWN and not s.detail}
    )
    if unknown:
        notes.append(f"API fields that this version does not know, left alone: {', '.join(unknown)}")
    held = [step.address for step in steps if any(s.reason is Reason.WRITE_ONLY for s in step.skipped)]
    if held:
        notes.append(
            "write-only values cannot be compared; to send them again: --resend-secrets "
            + (" ".join(map(str, held)) if len(held) <= 3 else f"ADDRESS… ({len(held)} resources hold some)")
        )
    untold = sorted(
        {_pattern(s) for step in steps for s in step.skipped if s.reason is Reason.NOT_ECHOED and s.path}
    )
    if untold:
        notes.append(f"the target does not tell, and so it cannot be compared: {', '.join(untold)}")
    return tuple(notes)


def _unmarked(steps: Sequence[Step]) -> tuple[str, ...]:
    """That nobody can tell whose they are, where something of a plugin's target is changed or deleted."""
    touched = (Action.UPDATE, Action.REPLACE, Action.DELETE)
    if not any(s.address.dialect == "plugin" and s.action in touched for s in steps):
        return ()
    return ("the target keeps no marker of ownership: what has a name of these manifests counts as theirs",)


def _pattern(skipped: Skipped) -> str:
    return str(FieldPath(ItemKey("*") if isinstance(part, ItemKey) else part for part in skipped.path))
