"""Apply as one function: carry the plan out, read what was touched, plan again, and say what is left."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.engine.executor import ExecutionOptions, execute
from reconciler.engine.file_apply import execute_file
from reconciler.engine.file_reader import lives_in_file
from reconciler.engine.journal import Recorder
from reconciler.engine.options import PlanOptions
from reconciler.engine.ownership import stand_in
from reconciler.engine.planner import make_plan, make_step, plan_destroy
from reconciler.engine.snapshot import read_snapshot
from reconciler.engine.waiting import Clock, SystemClock
from reconciler.errors import ManifestError, TargetError
from reconciler.kinds import kind_of
from reconciler.values import (
    Action,
    Address,
    Outcome,
    Plan,
    ProgressEvent,
    Resource,
    Snapshot,
    Status,
    StepStatus,
)

__all__ = ["Applied", "apply"]

_LATER = (1.0, 2.0, 4.0)
"""Seconds until the proof is read again when it shows a difference: a read may lag behind the writes."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply came to.

    ``remaining``: the second plan, of what was touched; None when nothing was, or it could not be made
    (``unverified`` says why). ``converged``: every step is done, live, and the second plan is empty.
    ``after``: what the second reading read.
    """

    plan: Plan
    outcomes: tuple[Outcome, ...]
    remaining: Plan | None
    converged: bool
    unverified: str = ""
    after: Snapshot | None = None


def apply(
    plan: Plan,
    client: Any,
    desired: Sequence[Resource],
    *,
    taken_at: Callable[[], str],
    options: ExecutionOptions | None = None,
    progress: Callable[[ProgressEvent], None] = lambda event: None,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
    recorder: Recorder | None = None,
) -> Applied:
    """Carry ``plan`` out against ``client`` and prove the result by a second plan.

    ``taken_at`` gives the time of a reading as RFC 3339. ``recorder`` hears of each call. Raises nothing that
    a server can cause: failures stand in the outcomes, a failed proof in ``unverified``.
    """
    stands = [stand_in(step.address, plan.stack, step.source, step.base) for step in plan.steps]
    resources: Mapping[Address, Resource] = {resource.address: resource for resource in (*stands, *desired)}
    adopted = any(step.action is Action.ADOPT for step in plan.steps)
    options_again = PlanOptions(stack=plan.stack, adopt=adopted)
    carry_out = execute_file if lives_in_file(desired) else execute
    outcomes = carry_out(
        plan,
        client,
        resources,
        replan=functools.partial(make_step, options=options_again),
        options=options,
        progress=progress,
        stop=stop,
        clock=clock,
        recorder=recorder,
    )
    finished = all(o.status in (StepStatus.DONE, StepStatus.UNCHANGED) for o in outcomes)
    # What was only waited for took its time, and is proven too.
    touched = [resources[o.step.address] for o in outcomes if o.results or (o.step.is_busy and o.seconds)]
    if not touched:
        return Applied(plan, outcomes, None, finished)
    deleted = {o.step.address for o in outcomes if o.step.action is Action.DELETE}
    kept = [resource for resource in touched if resource.address not in deleted]
    for wait in (*_LATER, None):
        try:
            snapshot = read_snapshot(client, touched, target=plan.target, taken_at=taken_at())
            remaining = make_plan(kept, snapshot, options_again)
        except (TargetError, ManifestError) as error:
            return Applied(plan, outcomes, None, False, f"what was done could not be read again: {error}")
        told = {step.address for step in remaining.steps}
        away = [r for r in touched if r.address in deleted - told]
        again = plan_destroy(away, snapshot, options_again)
        remaining = Plan(plan.target, (*remaining.steps, *again.steps), plan.stack, remaining.notes)
        if wait is None or remaining.is_empty or not finished or (stop is not None and stop.is_set()):
            break
        (clock or SystemClock()).sleep(wait)
    ready = all(
        kind_of(address).status(live.raw)[0] is Status.READY
        for address, live in snapshot.resources.items()
        if address not in deleted
    )
    return Applied(plan, outcomes, remaining, finished and remaining.is_empty and ready, after=snapshot)
