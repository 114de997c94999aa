"""Reading and planning side by side: a resource is planned while others are still on their way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from reconciler.engine.planner import assemble, make_step
from reconciler.engine.snapshot import read_snapshot
from reconciler.values import Address, Live, Plan, Resource, Snapshot, Step

__all__ = ["read_and_plan"]


def read_and_plan(
    client: Any,
    desired: Sequence[Resource],
    *,
    target: str,
    taken_at: str,
    stack: str = "",
    resend: Collection[Address] | bool = False,
    adopt: bool = False,
) -> tuple[Snapshot, Plan]:
    """What :func:`read_snapshot` and then ``make_plan`` give, in the time of the reading alone.

    Raises TargetError as ``read_snapshot`` does, ManifestError as ``make_plan`` does.
    """
    steps: list[Step] = []

    def seen(resource: Resource, live: Live | None) -> None:
        again = resend if isinstance(resend, bool) else resource.address in resend
        steps.append(make_step(resource, live, resend=again, adopt=adopt))

    snapshot = read_snapshot(client, desired, target=target, taken_at=taken_at, seen=seen)
    return snapshot, assemble(snapshot, desired, steps, stack=stack)
