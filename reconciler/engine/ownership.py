"""What a plan does beyond the resources that manifests declare: it prunes, and it moves. Pure.

What carries the marker of our stack and is declared no more is deleted (``--prune``), never what another
stack or nobody owns. What moved is made under its new name, and the old one deleted once the new one is live:
the API cannot rename an endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from reconciler.engine.links import circle, foreign, users
from reconciler.engine.options import PlanOptions
from reconciler.kinds import kind_of, references
from reconciler.values import PROTECTED_TAG, Action, Address, Live, Resource, Snapshot, Source, Step

__all__ = [
    "beyond",
    "deletion",
    "moved_from",
    "moved_notes",
    "ownership_notes",
    "protection",
    "stand_in",
    "undeclared",
]

_NAMED = 5
"""Addresses named in a note."""


def stand_in(
    address: Address, stack: str, source: Source | None = None, base: Mapping[str, Any] | None = None
) -> Resource:
    """A resource that no manifest declares, fit for reading and deleting it. ``base``: its live side,
    normalised: a budget of a gateway has no name that it could be found by."""
    spec = dict(base or {}) if address.kind == "GatewayBudget" else {}
    return Resource(address, spec, source or Source("", 0), stack=stack)


def moved_from(resource: Resource) -> Address | None:
    """The address that a resource had before, where its kind cannot be renamed in place; None when none."""
    if not resource.lifecycle.moved_from or kind_of(resource.address).renamed is not None:
        return None
    return replace(resource.address, name=resource.lifecycle.moved_from)


def undeclared(desired: Iterable[Resource], snapshot: Snapshot, stack: str) -> tuple[Address, ...]:
    """What carries the marker of the stack, and no manifest names: not now, and not as what something moved
    from. Sorted."""
    named = {resource.address for resource in desired}
    named |= {replace(r.address, name=r.lifecycle.moved_from) for r in desired if r.lifecycle.moved_from}
    return tuple(sorted(a for a, owner in snapshot.owners.items() if owner == stack and a not in named))


def beyond(
    desired: Sequence[Resource],
    steps: Sequence[Step],
    snapshot: Snapshot,
    options: PlanOptions,
    gone: Sequence[Resource] = (),
) -> Iterator[Step]:
    """The steps of what no manifest declares: what was moved from, what was declared and is ``gone``, and
    with ``prune`` what is left over.

    What vanished between the list and its reading needs no step; what is gone and not ours has one of which
    nothing comes.
    """
    by_address = {step.address: step for step in steps}
    for resource in desired:
        old = moved_from(resource)
        if old is not None and (live := snapshot.resources.get(old)) is not None:
            yield _move(resource, by_address[resource.address], old, live, options)
    going = []
    for resource in gone:
        if (live := snapshot.resources.get(resource.address)) is not None:
            step = deletion(resource, live, options)
            why = step.refusal.partition("\n")[0]
            left = Step(resource.address, Action.NO_OP, source=resource.place, notice="nothing")
            if step.is_foreign:
                yield replace(left, is_foreign=True, notes=(f"declared no more, and left alone: {why}",))
            else:
                going.append(replace(step, is_undeclared=True))
    for address in undeclared((*desired, *gone), snapshot, options.stack) if options.prune else ():
        if (live := snapshot.resources.get(address)) is not None:
            step = deletion(stand_in(address, options.stack), live, options)
            why = f"no longer declared; it carries the marker of stack {options.stack}"
            going.append(replace(step, is_undeclared=True, notes=(why, *step.notes)))
    if going:
        yield from _unless_used(going, desired, steps, snapshot)


def _unless_used(
    deletions: Sequence[Step], desired: Sequence[Resource], steps: Sequence[Step], snapshot: Snapshot
) -> Iterator[Step]:
    """The deletions, each after those of what uses it; what stays in use is left there, and said.

    What a declared resource uses until now, and names no more, is free once that one is updated.
    """
    going = {step.address: users(snapshot.resources[step.address]) for step in deletions}
    named: dict[Address, list[Address]] = {}
    for resource in desired:
        for reference in references(resource):
            named.setdefault(reference.address, []).append(resource.address)
    acting = {step.address for step in steps if step.calls}
    in_use: dict[Address, tuple[Address, ...]] = {}
    while stays := _staying(going, named, acting):
        in_use |= stays
        going = {address: using for address, using in going.items() if address not in stays}
    for step in deletions:
        if step.address in going:
            yield replace(step, depends_on=tuple(dict.fromkeys(going[step.address])))
            continue
        told = ", ".join(map(str, dict.fromkeys(in_use[step.address])))
        alone = Step(step.address, Action.NO_OP, notice="nothing", compared=1, source=step.source)
        yield replace(alone, notes=(f"no longer declared, and left there: in use by {told}",))


def _staying(
    going: Mapping[Address, Sequence[Address]],
    named: Mapping[Address, Sequence[Address]],
    acting: Set[Address],
) -> dict[Address, tuple[Address, ...]]:
    """What cannot go, with who uses it: what stays, or what could itself go only after it."""
    stays = {
        address: (*named.get(address, ()), *(u for u in using if u not in going and u not in acting))
        for address, using in going.items()
        if named.get(address) or any(u not in going and u not in acting for u in using)
    }
    if stays:
        return stays
    around = circle({address: [u for u in using if u in going] for address, using in going.items()})
    return {address: tuple(u for u in going[address] if u in around) for address in around}


def deletion(resource: Resource, live: Live, options: PlanOptions) -> Step:
    """The step that deletes a live resource."""
    of = kind_of(resource.address)
    shape = of.normalise(live)
    refusal = foreign(of, resource, live, options.adopt)
    return Step(
        resource.address,
        Action.DELETE,
        calls=of.calls(resource, live, Action.DELETE, ()),
        notice=of.notice(Action.DELETE, ()),
        notes=of.notes(live),
        source=resource.place,
        fingerprint=of.fingerprint(live, shape),
        base=shape,
        protected=resource.lifecycle.prevent_destroy or of.is_protected(live),
        refusal=refusal or protection(resource, live, Action.DELETE),
        is_foreign=bool(refusal),
    )


def protection(resource: Resource, live: Live, action: Action) -> str:
    """Why what carries the marker of protection may not be deleted or replaced; "" when it may.

    Where the line still stands in the manifest that is the reason, and told as such.
    """
    if action not in (Action.DELETE, Action.REPLACE) or resource.lifecycle.prevent_destroy:
        return ""
    if not kind_of(resource.address).is_protected(live):
        return ""
    what = "deleted" if action is Action.DELETE else "deleted and created again"
    lift = (
        "apply a manifest of it without prevent_destroy, which lifts the protection, and delete it after that"
    )
    if action is Action.REPLACE:
        lift = "undo what forces it, apply, which lifts the protection, and make the change after that"
    return (
        f"{resource.address} is protected, and would be {what}\n"
        f"why: its tag {PROTECTED_TAG} says so, whatever manifests say now\n"
        f"next: {lift}"
    )


def _move(resource: Resource, step: Step, old: Address, live: Live, options: PlanOptions) -> Step:
    """The deletion of what a resource moved from, once what takes its place is live."""
    source = resource.source_of(("lifecycle", "moved_from"))
    # The line stands in the block that moved: it protects what the block was about before, too.
    before = replace(
        stand_in(old, resource.stack, source), lifecycle=replace(resource.lifecycle, moved_from="")
    )
    made = deletion(before, live, options)
    refusal = made.refusal
    if not refusal and step.is_foreign and not options.adopt:
        refusal = (
            f"{step.address} is there already, and not this stack's: {old} is kept\n"
            "why: what takes its place must be ours\n"
            "next: --adopt takes it over"
        )
    return replace(
        made,
        source=source,
        refusal=refusal,
        depends_on=(step.address,),
        moved_to=step.address,
        notice=f"the old name is gone once {step.address} is live: callers must use the new one by then",
        notes=(f"moved to {step.address}; the API cannot rename", *made.notes),
    )


def ownership_notes(desired: Iterable[Resource], snapshot: Snapshot, options: PlanOptions) -> tuple[str, ...]:
    """What the stack owns and no manifest names, when it is left there."""
    if options.prune or not (options.stack and options.is_whole):
        return ()
    left = undeclared(desired, snapshot, options.stack)
    if not left:
        return ()
    named = ", ".join(map(str, left[:_NAMED])) + (f" and {len(left) - _NAMED} more" if left[_NAMED:] else "")
    verb, them = ("is", "it") if len(left) == 1 else ("are", "them")
    whose = f"owned by stack {options.stack}"
    # One whose scope, target or window was edited is another one to the gateway, beside the new one.
    holds = ", and until then a budget holds" if any(a.kind == "GatewayBudget" for a in left) else ""
    return (f"{len(left)} {whose} {verb} not declared: {named}; --prune deletes {them}{holds}",)


def moved_notes(resource: Resource, lives: Mapping[Address, Live]) -> tuple[str, ...]:
    """That a line about a move has done its work."""
    old = moved_from(resource)
    if old is None or old in lives:
        return ()
    return (f"{old} is gone: lifecycle.moved_from can be taken out",)
