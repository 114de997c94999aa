"""What apply, destroy and rollback have in common: lock, read, plan, refuse, ask, act on record, report."""

from __future__ import annotations

import gc
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.budget import pacer_for, recalled, with_budget, with_note
from reconciler.cli.judging import judge_of, who
from reconciler.cli.output import everything_known, live_progress, tell
from reconciler.cli.recording import check_receipt, home, recording, runs_folder, write_receipt
from reconciler.cli.reports import ReportFormat, Reports
from reconciler.errors import RefusedError, UsageError
from reconciler.redact import control
from reconciler.values import StepStatus

if TYPE_CHECKING:
    from reconciler.client.pacing import WritePacer
    from reconciler.engine.apply import Applied
    from reconciler.engine.journal import Journal, RecordedCall
    from reconciler.engine.safety import Limits
    from reconciler.engine.snapshot import Prune
    from reconciler.values import Outcome, Plan, Snapshot

__all__ = ["How", "Judged", "act", "exit_code", "limits_of"]


@dataclass(frozen=True, slots=True)
class How:
    """How a plan is carried out, as the command line says it. ``command``: which one it is."""

    command: str
    reports: Reports = field(default_factory=lambda: Reports(ReportFormat.TEXT))
    auto_approve: bool = False
    parallelism: int | None = None
    wait_timeout: str = "45m"
    no_wait: bool = False
    max_deletes: str | None = None
    max_changes: str | None = None
    allow_replace: bool = False
    journal: str | None = None
    break_lock: bool = False
    write_limit: str | None = None
    receipt: str | None = None
    check_models: bool = False
    is_reviewed: bool = False
    """The plan was seen before: it stands in a file, and the file is the yes."""
    is_dry: bool = False
    """The plan is shown, and nothing else happens."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More for the run's record and receipt, as JSON."""
    approve: tuple[str, ...] = ()
    """Policies that the command line approves."""
    approved_before: Sequence[Mapping[str, Any]] = ()
    """What policies said of the plan in a file, as JSON, approvals among it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The plan to carry out, and what was taken out of it, already refused."""

    plan: Plan
    refused: tuple[Outcome, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    """More for the run's record, as JSON."""


Planned = Callable[["Snapshot", Any], "Plan | Judged"]


def limits_of(read: inputs.Input, how: How) -> Limits:
    """The limits: the command line's, else the project file's, else the defaults.

    A destroy deletes everything because that is what it is for: only the command line limits it. So it is
    with adopt and release, which name what they are about.
    """
    from reconciler.engine.safety import DEFAULTS, UNLIMITED, Limit, Limits

    is_free = how.command in ("destroy", "adopt", "release")
    written = {} if is_free else read.limits
    base = UNLIMITED if is_free else DEFAULTS
    deletes = how.max_deletes or written.get("max_deletes")
    changes = how.max_changes or written.get("max_changes")
    return Limits(
        Limit.parse(deletes, "--max-deletes") if deletes else base.deletes,
        Limit.parse(changes, "--max-changes") if changes else base.changes,
        # What is named by a selection is no accident; and beside what it leaves out it is not all there is.
        is_asked=how.max_deletes is not None or bool(read.scope.select) or read.is_part,
    )


def act(
    read: inputs.Input,
    planned: Planned,
    how: How,
    *,
    deleting: bool = False,
    prune: Prune | None = None,
) -> int:
    """Read, plan by ``planned``, refuse or ask, carry out, report. Gives the exit code.

    ``deleting``: the plan may delete, and who uses what is read too. ``prune``: what else is read.
    """
    from reconciler.engine.executor import ExecutionOptions
    from reconciler.engine.journal import new_run, now
    from reconciler.engine.lock import Holder, locked, user_folder
    from reconciler.engine.snapshot import READ_PARALLELISM, read_snapshot
    from reconciler.engine.verdicts import approvals_json, approved_before
    from reconciler.targets import connect, describe, family, place_of

    gc.enable()  # it may wait for an hour
    parallelism = how.parallelism or (1 if family(read.target) == "plugin" else 8)
    options = ExecutionOptions(
        parallelism, not how.no_wait, opt.parse_duration(how.wait_timeout, "--wait-timeout")
    )
    limits = limits_of(read, how)
    judge = judge_of(read, how.approve)
    stop = threading.Event()
    run = new_run()
    holder = Holder.me(f"reconciler {how.command} (run {run}) in {Path.cwd()}", now())
    if how.receipt is not None:
        check_receipt(Path(how.receipt))
    pacer = pacer_for(read, how.write_limit, stop)
    pool = max(READ_PARALLELISM, parallelism)
    acting = threading.Event()
    with (
        _ending(stop, acting),
        connect(read.target, pool_size=pool, stop=stop, pacer=pacer, config_path=read.config_path) as client,
    ):
        tell(f"target: {describe(read.target, client)}{read.aside}")
        read.tell_warnings()
        if how.check_models:
            inputs.check_models(read)
        place = place_of(read.target, client, read.config_path)
        near = home(read) / "locks"

        def told(text: str) -> None:
            tell(control(text, keep="\n"))

        with locked(
            user_folder(), place, read.stack, holder, break_it=how.break_lock, instead=near, tell=told
        ):
            snapshot = read_snapshot(
                client,
                read.resources,
                target=read.target,
                taken_at=opt.taken_at(),
                deleting=deleting,
                prune=prune,
            )
            judged = planned(snapshot, client)
            judged = judged if isinstance(judged, Judged) else Judged(judged)
            recalled(pacer, runs_folder(home(read), how.journal), client, judged.plan)
            plan = judge.plan(
                with_note(judged.plan, pacer),
                only_acting=how.command == "rollback",
                only_steps=how.command in ("destroy", "adopt", "release"),
            )
            judged = replace(judged, plan=approved_before(plan, how.approved_before))
            if how.is_dry:
                how.reports.plan(judged.plan)
                return 0
            plan = _approve(judged.plan, limits, how, describe(read.target, client))
            if given := approvals_json(plan):
                judged = replace(judged, facts={**judged.facts, "approvals": given})
            judged = replace(judged, plan=plan)
            began = now()
            acting.set()
            applied, calls = _carry_out(judged, read, client, snapshot, options, stop, pacer, how, run)
        host = getattr(client, "host", "") or ""
    how.reports.outcome(applied)
    if how.receipt is not None:
        facts = {
            "began_at": began,
            "run": run,
            "command": how.command,
            "host": host,
            **how.facts,
            **judged.facts,
        }
        write_receipt(how.receipt, applied, read, snapshot, calls, facts)
    return exit_code(applied)


def _approve(plan: Plan, limits: Limits, how: How, target: str) -> Plan:
    """Show the plan; go on only when nothing forbids it and somebody said yes. Raises RefusedError.

    Gives the plan with the approvals that the yes meant: of the policies that the question named.
    """
    from reconciler.engine.safety import failures, refusals, replacements
    from reconciler.engine.verdicts import approved, frozen, unapproved, waiting

    how.reports.announce(plan)
    refused = refusals(plan, limits) or failures(plan) or frozen(plan)
    policies = waiting(plan)
    asks = not plan.is_empty and not how.auto_approve and not (how.is_reviewed and not policies)
    may_ask = asks and opt.is_interactive()
    if refused is None and not how.allow_replace and not may_ask:
        refused = replacements(plan)
    if refused is None and not may_ask:
        refused = unapproved(plan)
    if refused:
        how.reports.plan(plan, is_announced=True, is_refused=True)
        raise refused
    if asks:
        _ask(plan, target, policies)
        return approved(plan, policies, who(), opt.taken_at())
    return plan


def _ask(plan: Plan, target: str, policies: Sequence[str]) -> None:
    """Ask before acting. Raises RefusedError without a terminal, UsageError when the answer is no."""
    from reconciler.engine.safety import counts

    if not opt.is_interactive():
        raise RefusedError(
            f"{counts(plan)} on {target}, and nobody to ask",
            why="there is no terminal, and --auto-approve was not given",
            fix="review the plan, then run it with --auto-approve",
        )
    approves = f" A yes approves: {', '.join(policies)}." if policies else ""
    sys.stderr.write(f"{counts(plan)} on {target}.{approves} Type yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        raise UsageError("not approved: nothing was changed")


def _carry_out(
    judged: Judged,
    read: inputs.Input,
    client: Any,
    snapshot: Snapshot,
    options: Any,
    stop: threading.Event,
    pacer: WritePacer | None,
    how: How,
    run: str,
) -> tuple[Applied, tuple[RecordedCall, ...]]:
    from reconciler.engine.apply import apply as carry_out
    from reconciler.engine.snapshot import snapshot_to_json

    salt = secrets.token_hex(16)
    record = recording(
        judged.plan,
        read,
        client,
        snapshot,
        run,
        salt=salt,
        command=how.command,
        folder=runs_folder(home(read), how.journal),
        facts={**how.facts, **judged.facts},
    )
    with record as journal:
        with _stopping(stop, journal), live_progress() as progress:
            applied = carry_out(
                judged.plan,
                client,
                read.resources,
                taken_at=opt.taken_at,
                options=options,
                progress=with_budget(progress, pacer),
                stop=stop,
                recorder=journal,
            )
        if judged.refused:
            applied = replace(applied, outcomes=(*applied.outcomes, *judged.refused), converged=False)
        journal.end(
            applied.outcomes,
            converged=applied.converged,
            unverified=applied.unverified,
            left=sum(len(o.not_begun) for o in applied.outcomes),
            after=everything_known().value(snapshot_to_json(applied.after, salt=salt))
            if applied.after and journal.path
            else None,
        )
        if journal.trouble:
            tell(f"warning: {journal.trouble}")
        if stop.is_set() and journal.path is not None:
            tell(f"stopped; what was done: reconciler history show {run}")
        calls = journal.calls
    return applied, calls


def exit_code(applied: Applied) -> int:
    """0 when it converged (or nothing was waited for, on request), 3 when all that went wrong was refused."""
    if applied.converged:
        return 0
    ended = {outcome.status for outcome in applied.outcomes}
    if StepStatus.FAILED in ended or StepStatus.NOT_BEGUN in ended:
        return 1
    if StepStatus.REFUSED in ended:
        return 3
    # What was not awaited on request has nothing to say; what was stopped while it was awaited has.
    left = any(outcome.not_begun or outcome.error for outcome in applied.outcomes)
    if StepStatus.NOT_WAITED in ended and not left and not applied.unverified:
        return 0
    return 1


@contextmanager
def _on_signal(asked: Callable[[int, Any], None]) -> Iterator[None]:
    """Meanwhile SIGINT and SIGTERM call ``asked``; then what they did before."""
    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ending(stop: threading.Event, acting: threading.Event) -> Iterator[None]:
    """While a run reads, plans and asks, SIGINT and SIGTERM end it, and its lock is given back.

    The second one does not wait for the reads that are on their way. ``acting``: calls may have been made.
    """

    def asked(number: int, frame: Any) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        tell("stopping" if acting.is_set() else "stopping: nothing was sent")
        raise KeyboardInterrupt

    with _on_signal(asked):
        yield


@contextmanager
def _stopping(stop: threading.Event, journal: Journal) -> Iterator[None]:
    """The first SIGINT or SIGTERM finishes the calls in flight and begins no more; the second stops now.

    Now means now: a worker may sit in a request for two minutes, and Python would wait for it. What was in
    flight is on record without an outcome, and the next run finds out by reading.
    """

    def asked(number: int, frame: Any) -> None:
        if stop.is_set():
            flying = sum(1 for call in journal.calls if call.is_in_doubt)
            # Past every lock and buffer: the first signal's own words may still be on their way.
            text = f"stopped now; calls in flight: {flying}. The next run reads what came of them\n"
            os.write(2, text.encode())
            os._exit(128 + number)
        stop.set()
        tell("stopping: calls in flight are finished, no more are begun; once more stops now")

    with _on_signal(asked):
        yield
