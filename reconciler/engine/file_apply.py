"""Carries a plan out that lives in one file: one replacement for all steps, then waiting until the gateway
shows it.

A step cannot fail alone here: the gateway takes the file as a whole or not at all. What it does not take is
put back, so that a gateway which is started again finds a file that it can read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.engine.executor import ExecutionOptions
from reconciler.engine.file_reader import routes_of
from reconciler.engine.journal import Recorder
from reconciler.engine.waiting import Clock, Patience, SystemClock
from reconciler.errors import ConnectionFailed, ReconcilerError, RefusedError, Stopped, TargetError
from reconciler.kinds.file_endpoint import UNSERVED
from reconciler.values import (
    Action,
    Address,
    CallResult,
    Live,
    Outcome,
    Plan,
    ProgressEvent,
    Resource,
    Step,
    StepStatus,
)

__all__ = ["LONGEST", "execute_file"]

LONGEST: Final = 120.0
"""Seconds that are waited at most. The gateway reads its file within seconds; one that has not by then
refused it, and a refused file must not lie there until somebody starts the gateway again."""

_SETTLING: Final = 6.0
"""Seconds after which a gateway that answers has read the file: it looks every 1.6 s, and stops its workers
at once."""
_DEAD: Final = 10.0
"""Seconds of refused connections that mean its end. While it only starts its workers anew, connections
wait."""
_LOG: Final = "the log of `mlflow gateway start` says why (Invalid configuration, or an error of its worker)"


@dataclass(slots=True)
class _Run:
    plan: Plan
    client: Any
    options: ExecutionOptions
    progress: Callable[[ProgressEvent], None]
    stop: threading.Event
    clock: Clock
    recorder: Recorder | None = None
    acting: list[Step] = field(default_factory=list)
    began: float = 0.0

    def tell(self, phase: str, detail: str) -> None:
        """News of the one write: while it is on its way told once, its end for every step."""
        elapsed = self.clock.now() - self.began
        ends = phase in ("done", "failed")
        for step in self.acting if ends else self.acting[:1]:
            self.progress(ProgressEvent(step.address, phase, detail, elapsed))

    def ended(self, status: StepStatus, outcome: str = "", error: str = "") -> tuple[Outcome, ...]:
        """The outcomes of all steps; ``outcome``: of the write, "" when it was not made."""
        self.tell("failed" if error else "done", error.splitlines()[0] if error else status.value)
        seconds = self.clock.now() - self.began
        acting = {step.address for step in self.acting}
        outcomes = []
        for step in self.plan.steps:
            if step.address not in acting:
                outcomes.append(Outcome(step, StepStatus.UNCHANGED))
                continue
            results = tuple(CallResult(call, outcome, seconds) for call in step.calls if outcome)
            left = () if outcome else step.calls
            outcomes.append(Outcome(step, status, results, left, error, seconds=seconds))
        return tuple(outcomes)


def execute_file(
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
    """Carry every step out by one replacement of the file; the outcomes stand in the plan's order.

    Arguments and manners are those of :func:`reconciler.engine.executor.execute`. Steps that are as declared,
    but not served, are waited for. Raises nothing that the gateway or the file can cause.
    """
    run = _Run(
        plan,
        client,
        options or ExecutionOptions(),
        progress,
        stop or threading.Event(),
        clock or SystemClock(),
        recorder,
    )
    run.began = run.clock.now()
    run.acting = [step for step in plan.steps if step.calls]
    client.config.clean()
    try:
        if run.acting:
            return _write(run)
        run.acting = [step for step in plan.steps if any(note.startswith(UNSERVED) for note in step.notes)]
        return _only_wait(run) if run.acting and run.options.wait else _nothing(run)
    except RefusedError as error:
        return run.ended(StepStatus.REFUSED, error=str(error))
    except ReconcilerError as error:
        return run.ended(StepStatus.FAILED, error=str(error))


def _nothing(run: _Run) -> tuple[Outcome, ...]:
    return tuple(Outcome(step, StepStatus.UNCHANGED) for step in run.plan.steps)


def _write(run: _Run) -> tuple[Outcome, ...]:
    client, path = run.client, run.client.config.path
    if run.stop.is_set():
        return run.ended(StepStatus.NOT_BEGUN, error="stopped before it began")
    if run.options.wait:
        try:
            client.list_endpoints()
        except TargetError as problem:
            told = f"the gateway does not answer, so nothing was written: {problem.what}"
            fix = "next: start it, or write the file with --no-wait"
            return run.ended(StepStatus.FAILED, error=f"{told}\n{fix}")
    run.tell("calling", f"WRITE {path}")
    numbers = _on_record(run)
    try:
        written = client.write_config(call.arguments for step in run.acting for call in step.calls)
    except ReconcilerError as problem:
        _recorded(run, numbers, problem)
        raise
    _recorded(run, numbers)
    if not run.options.wait:
        return run.ended(StepStatus.NOT_WAITED, "written")
    told = _await(run, written.entries, _unseen(run.acting))
    if told == _STOPPED:
        return run.ended(StepStatus.NOT_WAITED, "written", "stopped while it was awaited")
    if not told:
        return run.ended(StepStatus.DONE, "done" if not _unseen(run.acting) else _DONE_UNSEEN)
    try:
        is_back = client.put_back(written)
        where = "the old file was put back" if is_back else "the file was changed meanwhile, and left so"
    except ReconcilerError as problem:
        where = f"{problem.what} ({problem.fix})"
    why = f"{told}; {where}\nwhy: {_LOG}\nnext: {_next(told)}"
    return run.ended(StepStatus.FAILED, "failed", why)


def _on_record(run: _Run) -> list[int]:
    """The intent of every step's part of the one write, before it is made."""
    if run.recorder is None:
        return []
    return [run.recorder.intent(step.address, call) for step in run.acting for call in step.calls]


def _recorded(run: _Run, numbers: Sequence[int], error: ReconcilerError | None = None) -> None:
    """What came of the one write, for each part of it."""
    for number in numbers:
        assert run.recorder is not None
        run.recorder.outcome(number, error, None)


_STOPPED: Final = "stopped"
_ENDED: Final = "the gateway ended when it read the file"
_DONE_UNSEEN: Final = "done; the gateway answers, and does not tell which credentials it uses"


def _next(told: str) -> str:
    if told.startswith(_ENDED):
        return "start it again with every $NAME in its environment, and psutil installed; then apply again"
    return "correct what it refuses and apply again"


def _only_wait(run: _Run) -> tuple[Outcome, ...]:
    """The file is as declared; see whether the gateway comes to serve it (a run before this one was cut
    short)."""
    told = _await(run, run.client.read_config().entries, unseen=False)
    if not told:
        run.tell("done", "the gateway serves it")
        return _nothing(run)
    status = StepStatus.NOT_WAITED if told == _STOPPED else StepStatus.FAILED
    error = (
        f"{told}\nwhy: {_LOG}\nnext: correct the file, or start the gateway again"
        if told != _STOPPED
        else told
    )
    return run.ended(status, error=error)


def _await(run: _Run, entries: Any, unseen: bool) -> str:
    """Wait until the gateway serves these entries; why it does not, "" when it does. ``unseen``: nothing that
    it tells changes, so that it is looked at until it must have read the file."""
    routes = routes_of(entries, [entry.name for entry in entries if entry.stack])
    since = run.clock.now()
    patience = Patience(since, min(run.options.wait_timeout, LONGEST), longest=2.0)
    refused_since: float | None = None
    while True:
        try:
            gaps = run.client.gaps(entries, routes)
            refused_since = None
            told = "; ".join(f"{name}: {words}" for name, words in list(gaps.items())[:3])
        except Stopped:
            return _STOPPED
        except ReconcilerError as error:
            told = error.what
            is_refused = isinstance(error, ConnectionFailed)
            refused_since = (refused_since or run.clock.now()) if is_refused else None
        now = run.clock.now()
        if not told and not (unseen and now - since < _SETTLING):
            return ""
        if run.stop.is_set():
            return _STOPPED
        if refused_since is not None and now - refused_since >= _DEAD:
            return f"{_ENDED}: it takes no connections any more"
        if patience.is_over(now):
            return (
                f"the gateway did not take the file within {int(patience.limit)} s ({told or 'it answers'})"
            )
        run.tell("waiting", told or "the gateway reads its file")
        run.clock.sleep(patience.next_delay())


def _unseen(steps: list[Step]) -> bool:
    """Nothing that the gateway tells is changed by these steps: credentials, addresses and whose they are."""
    return all(
        step.action in (Action.UPDATE, Action.ADOPT)
        and all("config" in change.path or change.section == "owner" for change in step.changes)
        for step in steps
    )
