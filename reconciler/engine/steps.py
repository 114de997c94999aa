"""One step of a plan, carried out: guard read, call, settle what is in doubt, wait, next call.

A step is a generator: it does its requests itself and yields when there is nothing to do but wait, so that a
waiting endpoint occupies no worker. What to do was decided at plan time; here is only judged whether the
ground moved, and whether a call whose answer was lost was carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.engine.ground import moved_fields, moved_unseen
from reconciler.engine.journal import Recorder
from reconciler.engine.links import in_use, with_ids
from reconciler.engine.waiting import is_before
from reconciler.errors import (
    AlreadyExists,
    AnswerLost,
    APIError,
    BadAnswer,
    Conflict,
    NotFound,
    PluginFailed,
    ReconcilerError,
    ServerFault,
)
from reconciler.errors import Stopped as NotSent
from reconciler.kinds import kind_of
from reconciler.values import (
    Action,
    Address,
    Call,
    CallResult,
    FieldChange,
    Live,
    Outcome,
    Status,
    Step,
    StepStatus,
)

__all__ = ["Gone", "Settled", "StepRun", "Stopped", "Wait"]

_TRIES = 3
"""How often a call is made whose answer was lost and that was seen not to have been carried out."""

LOG_LINES = 20

_GONE = "it was deleted, or made anew, since it was read"


@dataclass(frozen=True, slots=True)
class Wait:
    """Yielded by a step: resume me with :class:`Settled` once the endpoint is ready or failed, or with
    :class:`Gone`. ``for_gone``: it is the going that is awaited. ``is_old``: a ready or failed endpoint may
    be what was before the call; it is believed only when it stays so (``executor.LAG``). ``look``: reads what
    is waited for, where that is another resource."""

    for_gone: bool = False
    look: Callable[[], Live | None] | None = None
    is_old: Callable[[Live], bool] = lambda live: False


@dataclass(frozen=True, slots=True)
class Settled:
    """The endpoint stopped changing."""

    live: Live
    status: Status
    message: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The endpoint does not exist (any more)."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The waiting ended without a result: ``why`` says so. ``timed_out`` or asked to stop."""

    why: str
    timed_out: bool = True


Result = Settled | Gone | Stopped
Progress = Callable[[str, str], None]


class _Ended(Exception):
    def __init__(self, status: StepStatus, error: str = "") -> None:
        self.status = status
        self.error = error


@dataclass(slots=True)
class StepRun:
    """One step being carried out.

    ``client``: whatever has the calls' methods. ``read``: the resource as it is now, None when there is
    none. ``replan``: what would be left to do for a live side. ``waits``: wait until it is live.
    ``stopping``: begin no more calls. ``now``: seconds. ``ids``: the ids of what this apply created so far,
    shared by all its steps. ``recorder`` hears of each call. ``successor``: reads what takes its place.
    """

    step: Step
    client: Any
    read: Callable[[], Live | None]
    replan: Callable[[Live | None], Step]
    waits: bool
    stopping: Callable[[], bool]
    now: Callable[[], float]
    tell: Progress
    recorder: Recorder | None = None
    ids: dict[Address, str] = field(default_factory=dict)
    successor: Callable[[], Live | None] | None = None
    results: list[CallResult] = field(default_factory=list)
    log_tail: tuple[str, ...] = ()
    url: str = ""
    _left: list[Call] = field(default_factory=list)
    _seen: Live | None = None
    _settled: bool = True

    def run(self) -> Generator[Wait, Result, Outcome]:
        """Carry the step out. Never raises for anything a server or a user can cause."""
        began = self.now()
        self._left = list(self.step.calls)
        status, error = StepStatus.UNCHANGED, ""
        try:
            if self._left:
                if self.stopping():
                    raise _Ended(StepStatus.NOT_BEGUN, "stopped before it began")
                yield from self._guard()
                yield from self._carry_out()
                yield from self._wait_for_others()
                status = StepStatus.DONE if self.waits or self._settled else StepStatus.NOT_WAITED
            elif self.step.is_busy:
                yield from self._wait_for_theirs()
        except _Ended as ended:
            status, error = ended.status, ended.error
        except ReconcilerError as problem:
            status, error = StepStatus.FAILED, str(problem)
        phase = "failed" if error else "done"
        self.tell(phase, error.splitlines()[0] if error else status.value)
        return Outcome(
            self.step,
            status,
            tuple(self.results),
            tuple(self._left),
            error,
            self.log_tail,
            self.url,
            self.now() - began,
        )

    # ---- before the first write -----------------------------------------------------------------------

    def _guard(self) -> Generator[Wait, Result, None]:
        """Read again; refuse when the live side is not what the plan was judged by."""
        if self.step.action is Action.CREATE:
            return  # the create itself is the guard: the API answers 409 when the name is in use
        if self.successor is not None:
            yield from self._await_successor(self.successor)
        self.tell("calling", "reading it again")
        live = self.read()
        if live is not None and self._left[0].needs_settled and self._is_waiting(live):
            if not self.waits:
                raise _Ended(
                    StepStatus.REFUSED,
                    "an update is in progress, and the API refuses another one until it is over\n"
                    "next: apply without --no-wait, or later",
                )
            self._live_of((yield Wait()))
            live = self.read()
        self._judge(live)
        self._seen = live

    def _await_successor(self, look: Callable[[], Live | None]) -> Generator[Wait, Result, None]:
        """What takes its place must be live before this one goes: until then callers have only this one."""
        to, live = self.step.moved_to, look()
        if live is None:
            raise _Ended(StepStatus.REFUSED, f"{to} does not exist: this one is kept\nnext: plan again")
        status, message = kind_of(self.step.address).status(live.raw)
        if status is Status.WAITING:
            if not self.waits:
                why = f"{to} is not live yet: until it is, this one serves\nnext: apply again later"
                raise _Ended(StepStatus.NOT_BEGUN, why)
            result = yield Wait(look=look)
            if self._live_of(result) is None:
                raise _Ended(StepStatus.REFUSED, f"{to} was deleted: this one is kept\nnext: plan again")
            assert isinstance(result, Settled)
            status, message = result.status, result.message
        if status is not Status.READY:
            raise _Ended(
                StepStatus.REFUSED, f"{to} is not live: {message}\nnext: repair it; this one is kept"
            )

    def _judge(self, live: Live | None) -> None:
        if live is None:
            if self.step.action is Action.DELETE:
                self._left.clear()
                self.results.append(CallResult(self.step.calls[0], "gone already"))
                raise _Ended(StepStatus.DONE)
            raise _Ended(StepStatus.REFUSED, "it was deleted since the plan\nnext: plan again")
        of = kind_of(self.step.address)
        if self._left[0].deletes and (users := live.raw.get("used_by")):
            raise _Ended(StepStatus.REFUSED, in_use(self.step.address, ", ".join(users)))
        shape = of.normalise(live)
        if self.step.fingerprint and of.fingerprint(live, shape) != self.step.fingerprint:
            raise _Ended(
                StepStatus.REFUSED, f"it changed since the plan: {self._moved(shape)}\nnext: plan again"
            )

    def _judge_again(self) -> None:
        """After a conflict: is what is still to be written as the plan saw it? Earlier calls were ours."""
        live = self.read()
        if live is None or not self.results:
            self._judge(live)
        else:
            self._unmoved(live)

    def _moved(self, live: Mapping[str, Any]) -> str:
        """What moved, in field paths where they can be told."""
        moved = moved_fields(self.step.address, self.step.base or {}, live)
        return ", ".join(moved) or moved_unseen(self.step.address)

    def _is_waiting(self, live: Live) -> bool:
        return kind_of(self.step.address).status(live.raw)[0] is Status.WAITING

    def _live_of(self, result: Result) -> Live | None:
        if isinstance(result, Stopped):
            if result.timed_out:
                raise _Ended(StepStatus.FAILED, result.why)
            raise _Ended(StepStatus.NOT_BEGUN if self._left else StepStatus.NOT_WAITED, result.why)
        return None if isinstance(result, Gone) else result.live

    # ---- the calls ------------------------------------------------------------------------------------

    def _carry_out(self) -> Generator[Wait, Result, None]:
        replaced = self.step.action is Action.REPLACE
        while self._left:
            call = self._left[0]
            if self.results and self.stopping():
                raise _Ended(StepStatus.NOT_BEGUN, "stopped before its last calls")
            if call.needs_settled and not self._settled:
                raise _Ended(
                    StepStatus.NOT_WAITED,
                    "" if not self._left else "left for the next apply: refused while an update runs",
                )
            call = self._filled(call)
            yield from self._make(call)
            self._left.pop(0)
            if replaced and call.deletes and self._left:
                result = yield Wait(for_gone=True)
                if not isinstance(result, Gone):
                    self._live_of(result)
                    raise _Ended(StepStatus.FAILED, "it is still there after its delete\nnext: apply again")
            elif call.waits:
                yield from self._wait_until_live(call)

    def _filled(self, call: Call) -> Call:
        """The call with the live ids, which are known only since the creates."""
        call = with_ids(call, self.ids)
        if "{id}" not in call.path:
            return call
        live_id = str(self._seen.raw.get("id", "")) if self._seen else ""
        arguments = {k: live_id if v == "{id}" else v for k, v in call.arguments.items()}
        return replace(call, path=call.path.replace("{id}", live_id), arguments=arguments)

    def _make(self, call: Call) -> Generator[Wait, Result, None]:
        """Make one call; settle by reading what its answer did not tell."""
        for attempt in range(1, _TRIES + 1):
            self.tell("calling", f"{call.method} {call.path}")
            began = self.now()

            def done(outcome: str, began: float = began) -> None:
                self.results.append(CallResult(call, outcome, self.now() - began))

            try:
                answer = self._send(call)
            except AlreadyExists as error:
                if call.creates:
                    self._appeared(call, error)
                elif not self._was_carried_out(call, error):
                    self._failed(call, began)
                    raise
                return done("there already, with the same content")
            except NotFound as error:
                if call.method == "DELETE":
                    return done("gone already")
                self._failed(call, began)
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # else it is the route that is missing
                    raise _Ended(
                        StepStatus.FAILED, f"{_GONE}\nwhy: {error.message}\nnext: plan again"
                    ) from None
                raise
            except Conflict:
                if not (call.needs_settled and self.waits and attempt < _TRIES):
                    self._failed(call, began)
                    raise
                self._live_of((yield Wait()))
                self._judge_again()
            except (AnswerLost, BadAnswer, ServerFault) as error:
                if self._was_carried_out(call, error):
                    return done("done; its answer was lost, a read showed it")
                if attempt == _TRIES:
                    self._failed(call, began)
                    raise
            except PluginFailed as error:
                if self._was_carried_out(call, error):
                    return done("done; the plugin failed after it, a read showed it")
                self._failed(call, began)
                raise
            except NotSent as error:
                raise _Ended(StepStatus.NOT_BEGUN, str(error)) from None
            except ReconcilerError:
                self._failed(call, began)
                raise
            else:
                if call.path.startswith("/") and call.creates and isinstance(answer, Mapping):
                    self._learn(Live(self.step.address, dict(answer)))
                    if path := kind_of(self.step.address).query_path(self.step.address.name):
                        host = getattr(self.client, "host", "")
                        self.url = str(answer.get("endpoint_url") or f"{host}{path}")
                return done("done")
        return None

    def _send(self, call: Call) -> Any:
        """Make one request; its intent and its outcome are on record before and after."""
        number = self.recorder.intent(self.step.address, call) if self.recorder else 0
        try:
            answer = getattr(self.client, call.operation)(**call.arguments)
        except BaseException as error:
            if self.recorder:
                self.recorder.outcome(number, error, None)
            raise
        if self.recorder:
            self.recorder.outcome(number, None, answer)
        return answer

    def _learn(self, live: Live) -> None:
        """The resource exists, and so does its id."""
        self._seen = live
        if found := kind_of(self.step.address).id_of(live.raw):
            self.ids[self.step.address] = found

    def _failed(self, call: Call, began: float) -> None:
        self.results.append(CallResult(call, "failed", self.now() - began))
        self._left.pop(0)

    def _appeared(self, call: Call, error: APIError) -> None:
        """A create of a name in use: success when what is there is what was wanted."""
        live = self.read()
        left = self.replan(live)
        later = {c.section for c in self._left[1:]}
        names = sorted({str(c.path) for c in left.changes if c.section not in later})
        if live is not None and left.is_foreign:
            self.results.append(CallResult(call, "failed"))
            raise _Ended(
                StepStatus.REFUSED,
                "one of this name appeared since the plan, and it is not this stack's\n"
                f"why: {error}\nnext: plan again",
            )
        if live is None or names:
            self.results.append(CallResult(call, "failed"))
            raise _Ended(
                StepStatus.REFUSED,
                f"one of this name appeared since the plan, with other content: {', '.join(names)}\n"
                f"why: {error}\nnext: plan again",
            )
        self._learn(live)

    def _was_carried_out(self, call: Call, error: ReconcilerError) -> bool:
        """Settle a call in doubt by reading. Raises the error when that cannot tell."""
        try:
            live = self.read()
        except ReconcilerError:
            raise error from None
        if call.deletes:
            return live is None
        if live is None:
            if call.creates:
                return False
            raise _Ended(StepStatus.FAILED, "it was deleted meanwhile\nnext: plan again")
        left = self.replan(live)
        same = not any(_covers(call, change) for change in left.changes)
        if call.creates:
            later = {c.section for c in self._left[1:]}
            same = not left.is_foreign and all(change.section in later for change in left.changes)
            if not same:
                raise _Ended(
                    StepStatus.REFUSED,
                    "one of this name appeared meanwhile, with other content\nnext: plan again",
                )
        if same and call.creates:
            self._learn(live)
        resent = any(_covers(call, change) and change.why for change in self.step.changes)
        return same and not (resent and not self._is_waiting(live))

    def _wait_until_live(self, call: Call | None) -> Generator[Wait, Result, None]:
        if not self.waits:
            self._settled = False
            return

        seen = self._seen
        is_change = call is not None and not call.creates

        def is_old(live: Live) -> bool:
            if kind_of(self.step.address).status(live.raw)[0] is Status.FAILED:
                return seen is not None and is_before(live.raw, seen.raw, is_ours=is_change)
            if call is None or not call.section:
                return False
            return any(_covers(call, change) for change in self.replan(live).changes)

        result = yield Wait(is_old=is_old)
        if isinstance(result, Gone):
            raise _Ended(StepStatus.FAILED, "it was deleted while it was awaited\nnext: plan again")
        self._live_of(result)
        if not isinstance(result, Settled):
            return
        self.url = str(result.live.raw.get("endpoint_url") or self.url)
        if result.status is Status.FAILED:
            self.log_tail = self._build_log(result.live)
            kept = "\nwhy: it is left as it is, for inspection" if self.step.action is Action.CREATE else ""
            raise _Ended(StepStatus.FAILED, result.message + kept)
        self._unmoved(result.live)
        self._seen = result.live

    def _wait_for_others(self) -> Generator[Wait, Result, None]:
        """An update that ran before we came (of a run that was killed) is awaited too: done means live."""
        busy = self._seen is not None and self._is_waiting(self._seen)
        if self.waits and busy and self.step.action is not Action.DELETE:
            yield from self._wait_until_live(None)

    def _wait_for_theirs(self) -> Generator[Wait, Result, None]:
        """Nothing is to be written, and an update is on its way: it is awaited, for done means live."""
        if self.stopping():
            raise _Ended(StepStatus.NOT_WAITED, "stopped before it was awaited")
        self.tell("waiting", "an update is in progress")
        self._seen = self.read()
        yield from self._wait_until_live(None)

    def _unmoved(self, live: Live) -> None:
        """What is still to be written is as the plan saw it: the wait may have been long."""
        if self.step.base is None or self.step.action not in (Action.UPDATE, Action.ADOPT):
            return
        of = kind_of(self.step.address)
        left = {section for call in self._left for section in (call.section, *call.also)}
        if live.permissions is None:
            left.discard("permissions")
        moved = [name for name in of.moved(self.step.base, of.normalise(live)) if name in left]
        if moved:
            what = ", ".join(moved)
            raise _Ended(StepStatus.REFUSED, f"it changed since the plan: {what}\nnext: plan again")

    def _build_log(self, live: Live) -> tuple[str, ...]:
        """The last lines of the failed model's build log; empty when there is none to be had."""
        for block in ("pending_config", "config"):
            entities: Sequence[Mapping[str, Any]] = (live.raw.get(block) or {}).get("served_entities") or ()
            for entity in entities:
                if (entity.get("state") or {}).get("deployment") != "DEPLOYMENT_FAILED":
                    continue
                try:
                    answer = self.client.get_endpoint_build_logs(
                        endpoint=self.step.address.name, served_model=str(entity.get("name"))
                    )
                except ReconcilerError:
                    return ()
                text = str(answer.get("logs", "")) if isinstance(answer, Mapping) else str(answer)
                return tuple(text.splitlines()[-LOG_LINES:])
        return ()


def _covers(call: Call, change: FieldChange) -> bool:
    """The call is what makes this change; a call without a section makes all of them."""
    return not call.section or change.section in ("", call.section, *call.also)
