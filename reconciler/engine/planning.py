"""Reading and planning side by side: a resource is planned while others are still on their way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import assemble, make_step
from reconciler.engine.snapshot import Prune, read_snapshot
from reconciler.values import Live, Plan, Resource, Snapshot, Step

__all__ = ["read_and_plan"]


def read_and_plan(
    client: Any,
    desired: Sequence[Resource],
    options: PlanOptions,
    *,
    target: str,
    taken_at: str,
    prune: Prune | None = None,
) -> tuple[Snapshot, Plan]:
    """What :func:`read_snapshot` and then ``make_plan`` give, in the time of the reading alone.

    Raises TargetError as ``read_snapshot`` does, ManifestError as ``make_plan`` does.
    """
    steps: list[Step] = []

    def seen(resource: Resource, live: Live | None) -> None:
        steps.append(make_step(resource, live, options))

    snapshot = read_snapshot(client, desired, target=target, taken_at=taken_at, seen=seen, prune=prune)
    return snapshot, assemble(snapshot, desired, steps, options)
