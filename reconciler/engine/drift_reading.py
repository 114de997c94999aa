"""The live side for a check of drift: all of it, or only what LIST and the cache say may have changed.

``fast`` asks for LIST and then for the endpoints of which the cache cannot answer: those it does not know,
whose entry in LIST differs in anything, whose update runs, or that were read too long ago. A difference in a
section that LIST is silent about (``silent`` in the schema) is looked at before it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from reconciler.engine.drift_cache import Cache, Held, digest_of, is_moving, is_settled
from reconciler.engine.moments import age
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import assemble, make_step
from reconciler.engine.readers import list_names, read_live
from reconciler.engine.snapshot import READ_PARALLELISM, Prune, beyond_declared, owners_of
from reconciler.kinds import kind_of
from reconciler.values import Address, Live, Plan, Resource, Snapshot, Step
from reconciler.verdict import Reading, Unseen

__all__ = ["Look", "can_be_fast", "look", "unseen"]

_Entries = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at endpoints gave. ``held``: what may be kept of it. ``entries``: the whole of LIST."""

    snapshot: Snapshot
    plan: Plan
    reading: Reading
    unseen: tuple[Unseen, ...] = ()
    held: Mapping[Address, Held] = field(default_factory=dict)
    entries: _Entries = field(default_factory=dict)

    @property
    def oldest(self) -> str:
        """When the oldest of what the plan stands on was read; "" when it is not known of all of it."""
        read = [self.held[a].read_at if a in self.held else "" for a in self.snapshot.resources]
        return min(read, default=self.snapshot.taken_at)


def can_be_fast(desired: Sequence[Resource]) -> bool:
    """All of it are endpoints of a workspace, whose LIST tells when they changed."""
    return all((r.address.kind, r.address.dialect) == ("Endpoint", "") for r in desired)


def look(
    client: Any,
    desired: Sequence[Resource],
    options: PlanOptions,
    cache: Cache,
    *,
    target: str,
    now: str,
    fast: bool,
    max_age: float,
    prune: Prune | None = None,
) -> Look:
    """Look at endpoints and plan them. 1 LIST; in full 1 GET for each that is there, fast only where it is
    needed; 1 more where permissions are managed. ``prune``: as for :func:`read_snapshot`.

    ``now``: RFC 3339, UTC. ``max_age``: seconds after which what was read is read again. Raises TargetError
    when a read fails, ManifestError as ``make_plan`` does.
    """
    entries = list_names(client, "Endpoint", desired)
    summaries = {Address("Endpoint", name): entry for name, entry in entries.items()}
    owners = owners_of(summaries)
    everything = (*desired, *beyond_declared(desired, summaries, owners, prune))
    digests = {r.address: digest_of(summaries[r.address]) for r in everything if r.address in summaries}
    reused: dict[Address, Held] = {}
    if fast:
        for resource in everything:
            known = cache.held.get(resource.address)
            entry = entries.get(resource.address.name)
            if known and entry and _holds(known, entry, digests[resource.address], resource, now, max_age):
                reused[resource.address] = known
    held: dict[Address, Held] = dict(reused)
    lives: dict[Address, Live] = {address: one.live for address, one in reused.items()}

    def read(resource: Resource) -> Live | None:
        entry = entries.get(resource.address.name)
        return None if entry is None else read_live(client, resource, entry)

    def take(resource: Resource, live: Live | None) -> Step:
        address = resource.address
        held.pop(address, None)
        lives.pop(address, None)
        if live is not None:
            lives[address] = live
            if is_settled(entries[address.name], live, now):
                held[address] = Held(digests[address], live, now)
        return make_step(resource, live, options)

    steps: dict[Address, Step] = {}
    wanted = [r for r in everything if r.address not in reused]
    _each(read, wanted, lambda resource, live: steps.__setitem__(resource.address, take(resource, live)))
    for resource in desired:
        if resource.address in reused:
            steps[resource.address] = make_step(resource, lives[resource.address], options)
    doubtful = [r for r in desired if r.address in reused and _is_doubtful(steps[r.address])]
    _each(read, doubtful, lambda resource, live: steps.__setitem__(resource.address, take(resource, live)))
    for resource in doubtful:
        del reused[resource.address]
    snapshot = Snapshot(
        target,
        now,
        {r.address: lives[r.address] for r in everything if r.address in lives},
        names=tuple(sorted(summaries)),
        owners=owners,
    )
    plan = assemble(snapshot, desired, [steps[r.address] for r in desired], options)
    detail = sum(1 for r in [*wanted, *doubtful] if r.address.name in entries)
    reading = Reading("fast" if fast else "full", detail, len(reused))
    return Look(snapshot, plan, reading, unseen(desired, reused), held, entries)


def _holds(
    held: Held, entry: Mapping[str, Any], digest: str, resource: Resource, now: str, max_age: float
) -> bool:
    """The cache can answer for this endpoint."""
    passed = age(held.read_at, now)
    return (
        held.entry == digest
        and held.live.raw.get("id") == entry.get("id")
        and not is_moving(entry)
        and passed is not None
        and passed <= max_age
        and ("permissions" not in resource.spec or held.live.permissions is not None)
    )


def _is_doubtful(step: Step) -> bool:
    """It tells of a difference that nobody looked at in this check."""
    sections = kind_of(step.address).fields.properties
    return any((known := sections.get(c.section)) is not None and known.silent for c in step.changes)


def unseen(desired: Sequence[Resource], reused: Mapping[Address, Held]) -> tuple[Unseen, ...]:
    """Sections that manifests manage, of endpoints that were not read, and of which LIST is silent."""
    found: dict[str, list[Address]] = {}
    for resource in desired:
        if resource.address in reused:
            for name in resource.spec:
                known = kind_of(resource.address).fields.properties.get(name)
                if known is not None and known.silent:
                    found.setdefault(name, []).append(resource.address)
    return tuple(
        Unseen(name, tuple(addresses), min(reused[a].read_at for a in addresses))
        for name, addresses in sorted(found.items())
    )


def _each(
    read: Callable[[Resource], Live | None],
    resources: Sequence[Resource],
    take: Callable[[Resource, Live | None], None],
) -> None:
    """Read side by side; take in this thread, in order, while others are still on their way."""
    if len(resources) < 2:
        results: Iterable[Live | None] = map(read, resources)
        for resource, live in zip(resources, results, strict=True):
            take(resource, live)
        return
    with ThreadPoolExecutor(min(READ_PARALLELISM, len(resources)), "read") as pool:
        for resource, live in zip(resources, pool.map(read, resources), strict=True):
            take(resource, live)
