"""What ties the steps of a plan together: references, their order, ids, and who owns what. Pure.

    create and update      GatewaySecret → GatewayModel → GatewayGuardrail → GatewayEndpoint → GatewayBudget
    delete                 the other way round

as far as one names the other: what is independent runs side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from reconciler.errors import ManifestError, Problem
from reconciler.kinds import Kind, kind_of, references
from reconciler.values import (
    Action,
    Address,
    Call,
    FieldPath,
    Live,
    LiveId,
    Masked,
    Reference,
    Resource,
    Snapshot,
    Step,
)

__all__ = ["circle", "foreign", "in_use", "linked_steps", "ordered_deletes", "owner_of", "users", "with_ids"]


def linked_steps(desired: Sequence[Resource], steps: Sequence[Step], snapshot: Snapshot) -> tuple[Step, ...]:
    """The steps, each after those whose resources it names, with the ids that are known by now.

    Raises ManifestError with every name that is neither declared nor live, and for names in a circle.
    """
    if not any(step.address.kind.startswith("Gateway") for step in steps):
        return tuple(steps)
    named = {resource.address: references(resource) for resource in desired}
    by_address = {step.address: step for step in steps}
    ids = {**snapshot.ids, **{a: kind_of(a).id_of(live.raw) for a, live in snapshot.resources.items()}}
    problems = [
        _missing(resource, reference)
        for resource in desired
        for reference in named[resource.address]
        if reference.address not in by_address and not ids.get(reference.address)
    ]
    anew = {step.address for step in steps if step.action in (Action.CREATE, Action.REPLACE)}
    known = {address: live_id for address, live_id in ids.items() if address not in anew}
    for resource in desired:
        problems += _unregistered(resource, by_address[resource.address], known)
    linked = []
    for step in steps:
        after = dict.fromkeys(r.address for r in named.get(step.address, ()) if r.address in by_address)
        calls = tuple(with_ids(call, known) for call in step.calls)
        step = replace(step, calls=calls, depends_on=tuple(after))
        if step.action is Action.REPLACE and step.calls and step.calls[0].deletes:
            step = _unless_used(step, users(snapshot.resources[step.address]))
        linked.append(step)
    if problems := problems or _circles(linked, desired):
        raise ManifestError(problems)
    return tuple(linked)


def _circles(steps: Sequence[Step], desired: Sequence[Resource]) -> list[Problem]:
    """Steps that would each have to be done before the other."""
    acting = {step.address for step in steps if step.calls}
    graph = {s.address: [a for a in s.depends_on if a in acting] for s in steps if s.address in acting}
    if around := circle(graph):
        places = {resource.address: resource.source for resource in desired}
        place = places[around[0]]
        what = f"{' and '.join(map(str, around))} need each other: none can be made first"
        fix = "make one of them without the other, apply, then add it"
        return [Problem(place.file, place.line, place.column, "", what, fix, "reference-circle")]
    return []


def circle(graph: Mapping[Address, Sequence[Address]]) -> tuple[Address, ...]:
    """Addresses that come each after the next one, the last after the first; none when there is an order."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return tuple(dict.fromkeys(found.args[1]))
    return ()


def _missing(resource: Resource, reference: Reference) -> Problem:
    place = resource.source_of(reference.path)
    what = f"there is no {reference.address}: it is neither declared nor live"
    fix = "declare it beside this one (and select it too), or name one that exists"
    shown = str(FieldPath(("spec", *reference.path)))
    return Problem(place.file, place.line, place.column, shown, what, fix, "missing-reference")


def _unregistered(resource: Resource, step: Step, known: Mapping[Address, str]) -> list[Problem]:
    """Scorers that a call names, and that are not there, or there several times."""
    problems = []
    for wanted in {i.address for call in step.calls for i in _live_ids(call.body)}:
        if wanted.kind != "Scorer" or known.get(wanted):
            continue
        place = resource.source_of(("scorer",))
        what, fix = f"no scorer {wanted.name} is registered", "register it with mlflow, or correct the name"
        if wanted in known:
            what, fix = f"several experiments have a scorer {wanted.name}", "say which with experiment_id"
        problems.append(
            Problem(place.file, place.line, place.column, "spec.scorer", what, fix, "missing-reference")
        )
    return problems


def _live_ids(value: Any) -> list[LiveId]:
    if isinstance(value, LiveId):
        return [value]
    if isinstance(value, Mapping):
        return [found for item in value.values() for found in _live_ids(item)]
    if isinstance(value, (list, tuple)):
        return [found for item in value for found in _live_ids(item)]
    return []


def with_ids(call: Call, ids: Mapping[Address, str]) -> Call:
    """The call with every id that is known in its place."""
    if not _live_ids(call.body):
        return call
    body = _filled(call.body, ids)
    arguments = body if call.arguments is call.body else _filled(call.arguments, ids)
    return replace(call, body=body, arguments=arguments)


def _filled(value: Any, ids: Mapping[Address, str]) -> Any:
    if isinstance(value, LiveId):
        return ids.get(value.address) or value
    if isinstance(value, Mapping):
        return {name: _filled(item, ids) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_filled(item, ids) for item in value]
    return value


# ---- deletion -------------------------------------------------------------------------------------------


def ordered_deletes(
    desired: Sequence[Resource], steps: Sequence[Step], snapshot: Snapshot
) -> tuple[Step, ...]:
    """The steps, each deletion after those of what uses or names it; refused is one of what stays in use."""
    named: dict[Address, list[Address]] = {}
    for resource in desired:
        for reference in references(resource):
            named.setdefault(reference.address, []).append(resource.address)
    going = {step.address for step in steps if step.action is Action.DELETE}
    result = []
    for step in steps:
        if step.address in going:
            using = users(snapshot.resources[step.address])
            after = [user for user in (*using, *named.get(step.address, ())) if user in going]
            step = replace(step, depends_on=tuple(dict.fromkeys(after)))
            step = _unless_used(step, [user for user in using if user not in going])
        result.append(step)
    return _unless_around(result)


def _unless_around(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps; refused are deletions that would each have to be done after the other."""
    by_address = {step.address: step for step in steps}
    while around := circle({step.address: step.depends_on for step in by_address.values()}):
        told = " and ".join(map(str, around))
        for address in around:
            step = by_address[address]
            refusal = (
                f"{told} name each other: none can be deleted first\n"
                "why: what is in use is not deleted\n"
                "next: apply a manifest of one of them that does not name the other, then delete them"
            )
            by_address[address] = replace(step, depends_on=(), refusal=step.refusal or refusal)
    return tuple(by_address.values())


def users(live: Live) -> tuple[Address, ...]:
    """Who uses it; what is no resource of ours (a scorer) as an address all the same."""
    return tuple(_user(str(text)) for text in live.raw.get("used_by") or ())


def _user(text: str) -> Address:
    """``Kind/name``, whatever the name is made of; of others ``sort name``."""
    is_address = "/" in text.partition(" ")[0]
    return Address.parse(text if is_address else text.replace(" ", "/", 1))


def _unless_used(step: Step, users: Sequence[Address]) -> Step:
    if not users or step.refusal:
        return step
    shown = ", ".join(map(str, users[:5])) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
    return replace(step, refusal=in_use(step.address, shown))


def in_use(address: Address, users: str) -> str:
    """Why something that is used is not deleted."""
    if address.dialect == "file":
        return (
            f"{address} is in use by {users}\n"
            "why: the gateway refuses a file with a route that leads nowhere\n"
            "next: take it from there first"
        )
    return (
        f"{address} is in use by {users}\n"
        "why: the server would delete it all the same, and break what uses it without a word\n"
        "next: take it from them first"
    )


# ---- ownership ------------------------------------------------------------------------------------------


def owner_of(of: Kind, resource: Resource, live: Live) -> str:
    """The stack that owns a live resource, "" when none does; of a digest can only be told whether it is that
    of ``resource``."""
    # As its target speaks of it: a saved snapshot does not tell that.
    owner = of.owned_by(replace(live, address=resource.address)) if of.owned_by is not None else ""
    if isinstance(owner, Masked):
        return resource.stack if owner.matches(resource.stack) else str(owner)
    return owner


def foreign(of: Kind, resource: Resource, live: Live, adopt: bool) -> str:
    """Why a live resource may not be changed or deleted by this stack; "" when it may."""
    if of.owned_by is None:
        return ""
    owner = owner_of(of, resource, live)
    if owner == resource.stack or (not owner and (adopt or resource.marks or of.unowned_is_ours)):
        return ""
    if owner and not resource.stack:
        return (
            f"{resource.address} belongs to stack {owner}\n"
            "why: this run names no stack\n"
            f"next: run it with --stack {owner} if it is yours"
        )
    if owner:
        return (
            f"{resource.address} belongs to stack {owner}\n"
            f"why: this is stack {resource.stack}\n"
            "next: take it out of one of the two"
        )
    return (
        f"{resource.address} was not made by this stack\n"
        "why: what others made is neither changed nor deleted unasked\n"
        "next: --adopt takes it over"
    )
