"""Carries a plan out: steps in the order of their dependencies, what is worth most first, side by side, each
stopping at its failure.

One loop for many waits: workers make requests, the loop keeps the times at which to look again.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

from reconciler.engine.journal import Recorder
from reconciler.engine.order import by_value
from reconciler.engine.readers import read_live
from reconciler.engine.steps import Gone, Result, Settled, StepRun, Stopped, Wait
from reconciler.engine.waiting import Clock, Patience, SystemClock
from reconciler.errors import ReconcilerError, TargetError
from reconciler.kinds import kind_of
from reconciler.values import (
    Address,
    Live,
    Outcome,
    Plan,
    ProgressEvent,
    Resource,
    Status,
    Step,
    StepStatus,
)

__all__ = ["ExecutionOptions", "execute"]

_READ_MISSES = 20
"""Failed reads in a row while waiting, after which the wait is given up."""


LAG = 10.0
"""Seconds that a read may lag behind a write: for so long, one that shows what was before is not believed."""


@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """How a plan is carried out. ``wait_timeout``: seconds for each endpoint (Terraform waits 45 minutes)."""

    parallelism: int = 8
    wait: bool = True
    wait_timeout: float = 2700.0


@dataclass(slots=True)
class _Task:
    """One step on its way. ``waiting`` is what it waits for, None while it runs."""

    step: Step
    run: StepRun
    generator: Generator[Wait, Result, Outcome]
    began: float
    peek: Callable[[], Live | None]
    waiting: Wait | None = None
    patience: Patience | None = None


@dataclass(slots=True)
class _Loop:
    client: Any
    resources: Mapping[Address, Resource]
    replan: Callable[[Resource, Live | None], Step]
    options: ExecutionOptions
    progress: Callable[[ProgressEvent], None]
    stop: threading.Event
    clock: Clock
    recorder: Recorder | None = None
    events: queue.SimpleQueue[tuple[_Task, Wait | Outcome | Result | BaseException | None]] = field(
        default_factory=queue.SimpleQueue
    )
    looks: list[tuple[float, int, _Task]] = field(default_factory=list)
    ids: dict[Address, str] = field(default_factory=dict)
    busy: int = 0
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def task(self, step: Step) -> _Task:
        resource = self.resources[step.address]
        deleting = any(call.deletes for call in step.calls)
        grants = any(call.section == "permissions" for call in step.calls) or (
            step.base is not None and "permissions" in step.base
        )

        def read() -> Live | None:
            return read_live(self.client, resource, permissions=grants, deleting=deleting)

        began = self.clock.now()

        def tell(phase: str, detail: str) -> None:
            self.progress(ProgressEvent(step.address, phase, detail, self.clock.now() - began))

        run = StepRun(
            step,
            self.client,
            read=read,
            replan=lambda live: self.replan(resource, live),
            waits=self.options.wait,
            stopping=self.stop.is_set,
            now=self.clock.now,
            tell=tell,
            recorder=self.recorder,
            ids=self.ids,
            successor=None if step.moved_to is None else self._reader(step.moved_to),
        )

        def peek() -> Live | None:
            return read_live(self.client, resource, permissions=False)

        return _Task(step, run, run.run(), began, peek)

    def _reader(self, address: Address) -> Callable[[], Live | None]:
        resource = self.resources[address]
        return lambda: read_live(self.client, resource, permissions=False)

    def advance(self, task: _Task, result: Result | None) -> None:
        """Let a step run on in a worker until it waits or ends. Runs in a worker."""
        try:
            wait = next(task.generator) if result is None else task.generator.send(result)
            self.events.put((task, wait))
        except StopIteration as end:
            self.events.put((task, end.value))
        except BaseException as error:
            self.events.put((task, error))

    def look(self, task: _Task) -> None:
        """Read a waiting endpoint once. Runs in a worker."""
        try:
            self.events.put((task, self._seen(task)))
        except BaseException as error:
            self.events.put((task, error))

    def _seen(self, task: _Task) -> Result | None:
        patience, wait = task.patience, task.waiting
        assert patience is not None
        assert wait is not None
        now = self.clock.now()
        over = patience.is_over(now)
        may_be_old = not (wait.for_gone or wait.look) and now - patience.since < LAG
        try:
            live = (wait.look or task.peek)()
        except TargetError as error:
            patience.misses += 1
            if over or patience.misses >= _READ_MISSES:
                return Stopped(f"waiting was given up, it could not be read: {error}")
            return None
        patience.misses = 0
        if live is None:
            return None if may_be_old else Gone()
        status, message = kind_of(task.step.address).status(live.raw)
        if may_be_old and status in (Status.READY, Status.FAILED) and wait.is_old(live):
            return None
        if not wait.for_gone and status is not Status.WAITING:
            return Settled(live, status, message)
        task.run.tell("waiting", message if not wait.for_gone else "being deleted")
        if over:
            seconds = int(patience.limit)
            return Stopped(
                f"not ready after {seconds} s: {message}\n"
                "next: it goes on by itself; apply again to wait for it, or raise --wait-timeout"
            )
        return None


def execute(
    plan: Plan,
    client: Any,
    resources: Mapping[Address, Resource],
    *,
    replan: Callable[[Resource, Live | None], Step],
    options: ExecutionOptions | None = None,
    progress: Callable[[ProgressEvent], None] = lambda event: None,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
    recorder: Recorder | None = None,
) -> tuple[Outcome, ...]:
    """Carry out every step that has calls, and wait for those whose update runs already; the outcomes stand
    in the plan's order.

    ``client`` has the methods that the calls name. ``resources``: the desired resources by address.
    ``replan``: the step that would be left for a live side, for settling what is in doubt. ``stop``:
    once set, calls in flight are finished and no more are begun. ``recorder`` hears of each call before it is
    made, and after. One step's failure stops its own later calls and the steps that depend on it, not the
    others. Raises nothing that a server can cause.
    """
    loop = _Loop(
        client,
        resources,
        replan,
        options or ExecutionOptions(),
        progress,
        stop or threading.Event(),
        clock or SystemClock(),
        recorder,
    )
    waits = loop.options.wait
    acting = {step.address: step for step in plan.steps if step.calls or (step.is_busy and waits)}
    order: TopologicalSorter[Address] = TopologicalSorter(
        {a: [d for d in step.depends_on if d in acting] for a, step in acting.items()}
    )
    order.prepare()
    outcomes: dict[Address, Outcome] = {
        step.address: Outcome(step, StepStatus.UNCHANGED) for step in plan.steps if step.address not in acting
    }
    with ThreadPoolExecutor(loop.options.parallelism, "apply") as pool:
        while order.is_active():
            for step in by_value([acting[address] for address in order.get_ready()]):
                address = step.address
                failed = [d for d in step.depends_on if d in outcomes and outcomes[d].error]
                if failed:
                    why = f"not begun: {', '.join(map(str, failed))} failed"
                    outcomes[address] = Outcome(step, StepStatus.NOT_BEGUN, not_begun=step.calls, error=why)
                    order.done(address)
                    continue
                loop.busy += 1
                pool.submit(loop.advance, loop.task(step), None)
            if not order.is_active():
                break
            _turn(loop, pool, outcomes, order)
    return tuple(outcomes[step.address] for step in plan.steps)


def _turn(
    loop: _Loop,
    pool: ThreadPoolExecutor,
    outcomes: dict[Address, Outcome],
    order: TopologicalSorter[Address],
) -> None:
    """One turn of the loop: start the looks that are due, then take the next event."""
    now = loop.clock.now()
    stopping = loop.stop.is_set()
    while loop.looks and (stopping or loop.looks[0][0] <= now):
        _, _, task = heapq.heappop(loop.looks)
        loop.busy += 1
        if stopping:
            pool.submit(loop.advance, task, Stopped("stopped while it was awaited", timed_out=False))
            task.waiting = None
        else:
            pool.submit(loop.look, task)
    until = loop.looks[0][0] - now if loop.looks else None
    if not loop.busy:
        if until is not None:
            loop.clock.sleep(min(until, 0.5))
        return
    event = loop.clock.take(loop.events, 0.5 if until is None else min(until, 0.5))
    if event is None:
        return
    loop.busy -= 1
    task, what = event
    if isinstance(what, Outcome):
        outcomes[task.step.address] = what
        order.done(task.step.address)
    elif isinstance(what, Wait) or what is None:
        if isinstance(what, Wait):
            task.waiting = what
            task.patience = Patience(loop.clock.now(), loop.options.wait_timeout)
        assert task.patience is not None
        due = loop.clock.now() + task.patience.next_delay()
        heapq.heappush(loop.looks, (due, next(loop._count), task))
    elif isinstance(what, BaseException):
        if not isinstance(what, ReconcilerError):
            raise what
        outcomes[task.step.address] = Outcome(task.step, StepStatus.FAILED, error=str(what))
        order.done(task.step.address)
    else:
        loop.busy += 1
        task.waiting = None
        pool.submit(loop.advance, task, what)
