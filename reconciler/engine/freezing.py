"""What of a plan is frozen. Pure: the moment is a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.manifest.freezes import DeclaredFreeze
from reconciler.values import Freeze, Plan, Resource, Source

__all__ = ["with_freezes"]


def with_freezes(
    plan: Plan, freezes: Sequence[DeclaredFreeze], resources: Sequence[Resource], now: float
) -> Plan:
    """The plan with the freezes that are on, and what each of them stops. ``now``: seconds since 1970.

    ``resources``: what is known of the plan's addresses; of what no manifest names only the address is known.
    """
    known = {resource.address: resource for resource in resources}
    writes = [
        known.get(step.address) or Resource(step.address, {}, Source("", 0))
        for step in plan.steps
        if step.calls
    ]
    found = []
    for freeze in freezes:
        if not freeze.is_on(now):
            continue
        stops = tuple(
            resource.address
            for resource in writes
            if not freeze.terms or any(term(resource) for term in freeze.terms)
        )
        found.append(
            Freeze(
                freeze.what,
                freeze.until,
                freeze.reason,
                freeze.source,
                stops,
                freeze.select if len(stops) < len(writes) else (),
            )
        )
    return replace(plan, freezes=tuple(found)) if found else plan
