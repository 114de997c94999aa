"""What apply, destroy and rollback have in common: lock, read, plan, refuse, ask, act on record, report."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import options as opt
from reconciler.cli.output import (
    answer,
    answer_report,
    is_ascii,
    live_progress,
    tell,
    wants_colour,
    width_of,
)
from reconciler.errors import RefusedError, UsageError
from reconciler.values import StepStatus

if TYPE_CHECKING:
    from reconciler.engine.apply import Applied
    from reconciler.engine.journal import Journal
    from reconciler.engine.safety import Limits
    from reconciler.values import Outcome, Plan, Snapshot

__all__ = [
    "AllowReplace",
    "AutoApprove",
    "BreakLock",
    "How",
    "JournalFolder",
    "Judged",
    "MaxChanges",
    "MaxDeletes",
    "NoWait",
    "Parallelism",
    "WaitTimeout",
    "act",
    "exit_code",
    "home",
    "limits_of",
    "runs_folder",
]

AutoApprove = Annotated[bool, typer.Option("--auto-approve", "-y", help="Act without asking.")]
Parallelism = Annotated[int, typer.Option(min=1, max=64, help="Endpoints worked on at a time.")]
WaitTimeout = Annotated[
    str, typer.Option("--wait-timeout", help="How long to wait for each endpoint: 45m, 90s, 1h.")
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Do not wait until endpoints are live; proves nothing, then.")
]
MaxDeletes = Annotated[
    str | None,
    typer.Option(
        "--max-deletes",
        metavar="N|P%",
        help="Refuse a plan that deletes or replaces more: a number, or a share of what exists (which counts "
        "from 10 on). Left out: reconciler.yaml's, else 30%.",
        show_default=False,
    ),
]
MaxChanges = Annotated[
    str | None,
    typer.Option(
        "--max-changes",
        metavar="N|P%",
        help="Refuse a plan that updates, replaces or deletes more. Left out: reconciler.yaml's, else 50%.",
        show_default=False,
    ),
]
AllowReplace = Annotated[
    bool, typer.Option("--allow-replace", help="Delete and create again what cannot be changed in place.")
]
JournalFolder = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FOLDER",
        help="Where each call is put on record. Left out: .reconciler/runs. none: nowhere, and no rollback.",
        show_default=False,
    ),
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Take the lock of a run that hangs or was left behind.")
]


@dataclass(frozen=True, slots=True)
class How:
    """How a plan is carried out, as the command line says it. ``command``: which one it is."""

    command: str
    output: opt.Format = opt.Format.TEXT
    verbose: bool = False
    auto_approve: bool = False
    parallelism: int = 8
    wait_timeout: str = "45m"
    no_wait: bool = False
    max_deletes: str | None = None
    max_changes: str | None = None
    allow_replace: bool = False
    journal: str | None = None
    break_lock: bool = False
    check_models: bool = False
    is_reviewed: bool = False
    """The plan was seen before: it stands in a file, and the file is the yes."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The plan to carry out, and what was taken out of it, already refused."""

    plan: Plan
    refused: tuple[Outcome, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    """More for the run's record, as JSON."""


Planned = Callable[["Snapshot", Any], "Plan | Judged"]


def home(read: opt.Input) -> Path:
    """The folder for what runs leave behind: ``.reconciler`` beside the project file, else here."""
    return (read.project.root if read.project else Path()) / ".reconciler"


def runs_folder(base: Path, option: str | None) -> Path | None:
    """Where runs are on record; None when they are not."""
    if option is None:
        return base / "runs"
    return None if option == "none" else Path(option)


def limits_of(read: opt.Input, how: How) -> Limits:
    """The limits: the command line's, else the project file's, else the defaults.

    A destroy deletes everything because that is what it is for: only the command line limits it.
    """
    from reconciler.engine.safety import DEFAULTS, UNLIMITED, Limit, Limits

    written = dict(read.project.limits) if read.project and how.command != "destroy" else {}
    base = UNLIMITED if how.command == "destroy" else DEFAULTS
    deletes = how.max_deletes or written.get("max_deletes")
    changes = how.max_changes or written.get("max_changes")
    return Limits(
        Limit.parse(deletes, "--max-deletes") if deletes else base.deletes,
        Limit.parse(changes, "--max-changes") if changes else base.changes,
    )


def act(read: opt.Input, planned: Planned, how: How) -> int:
    """Read, plan by ``planned``, refuse or ask, carry out, report. Gives the exit code."""
    from reconciler.engine.executor import ExecutionOptions
    from reconciler.engine.journal import new_run, now
    from reconciler.engine.lock import Holder, locked
    from reconciler.engine.snapshot import READ_PARALLELISM, read_snapshot
    from reconciler.targets import connect, describe

    options = ExecutionOptions(
        how.parallelism, not how.no_wait, opt.parse_duration(how.wait_timeout, "--wait-timeout")
    )
    limits = limits_of(read, how)
    stop = threading.Event()
    run = new_run()
    holder = Holder.me(f"reconciler {how.command} (run {run})", now())
    with connect(read.target, pool_size=max(READ_PARALLELISM, how.parallelism), stop=stop) as client:
        tell(f"target: {describe(read.target, client)}")
        read.tell_warnings()
        if how.check_models:
            opt.check_models(read)
        locks = home(read) / "locks"
        with locked(locks, read.target, read.stack, holder, break_it=how.break_lock, tell=tell):
            snapshot = read_snapshot(
                client,
                read.loaded.resources,
                target=read.target,
                taken_at=opt.taken_at(),
                deleting=how.command == "destroy",
            )
            judged = planned(snapshot, client)
            judged = judged if isinstance(judged, Judged) else Judged(judged)
            _approve(judged.plan, limits, how, describe(read.target, client))
            applied = _carry_out(judged, read, client, snapshot, options, stop, how, run)
    if judged.refused:
        applied = replace(applied, outcomes=(*applied.outcomes, *judged.refused), converged=False)
    _report(applied, how)
    return exit_code(applied)


def _approve(plan: Plan, limits: Limits, how: How, target: str) -> None:
    """Show the plan; go on only when nothing forbids it and somebody said yes. Raises RefusedError."""
    from reconciler.cli.plan import show
    from reconciler.engine.safety import failures, refusals, replacements

    if how.output is opt.Format.TEXT:
        show(plan, how.output, verbose=how.verbose)
    refused = refusals(plan, limits) or failures(plan)
    asks = not plan.is_empty and not how.auto_approve and not how.is_reviewed
    if refused is None and not how.allow_replace and not (asks and opt.is_interactive()):
        refused = replacements(plan)
    if refused:
        if how.output is opt.Format.JSON:
            show(plan, how.output)
        raise refused
    if asks:
        _ask(plan, target)


def _ask(plan: Plan, target: str) -> None:
    """Ask before acting. Raises RefusedError without a terminal, UsageError when the answer is no."""
    from reconciler.engine.safety import counts

    if not opt.is_interactive():
        raise RefusedError(
            f"{counts(plan)} on {target}, and nobody to ask",
            why="there is no terminal, and --auto-approve was not given",
            fix="review the plan, then run it with --auto-approve",
        )
    sys.stderr.write(f"{counts(plan)} on {target}. Type yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        raise UsageError("not approved: nothing was changed")


def _carry_out(
    judged: Judged,
    read: opt.Input,
    client: Any,
    snapshot: Snapshot,
    options: Any,
    stop: threading.Event,
    how: How,
    run: str,
) -> Applied:
    from reconciler.engine.apply import apply as carry_out

    with _recording(judged, read, client, snapshot, how, run) as journal:
        with _stopping(stop, journal), live_progress() as progress:
            applied = carry_out(
                judged.plan,
                client,
                read.loaded.resources,
                taken_at=opt.taken_at,
                options=options,
                progress=progress,
                stop=stop,
                recorder=journal,
            )
        journal.end(
            applied.outcomes,
            converged=applied.converged and not judged.refused,
            unverified=applied.unverified,
            left=sum(len(o.not_begun) for o in applied.outcomes),
        )
        if journal.trouble:
            tell(f"warning: {journal.trouble}")
        if stop.is_set() and journal.path is not None:
            tell(f"stopped; what was done: reconciler history show {run}")
    return applied


@contextmanager
def _recording(
    judged: Judged, read: opt.Input, client: Any, snapshot: Snapshot, how: How, run: str
) -> Iterator[Journal]:
    """The run's journal, begun; in memory only when there is nothing to call."""
    from reconciler import __version__
    from reconciler.engine.journal import Journal, now
    from reconciler.engine.lock import Holder
    from reconciler.engine.snapshot import snapshot_to_json
    from reconciler.redact import Redactor
    from reconciler.report.json import plan_json

    redactor = Redactor(read.loaded.secrets)
    folder = runs_folder(home(read), how.journal)
    if folder is None or judged.plan.is_empty:
        yield Journal(None, {}, redactor)
        return
    acting = {step.address for step in judged.plan.steps if step.calls}
    before = replace(
        snapshot,
        resources={a: live for a, live in snapshot.resources.items() if a in acting},
        names=tuple(a for a in snapshot.names if a in acting),
    )
    plan = plan_json(replace(judged.plan, steps=tuple(s for s in judged.plan.steps if s.calls)))
    for step in plan["steps"]:
        step["fingerprint"] = ""  # a digest of what may be a secret; the snapshot below tells as much
    me = Holder.me(how.command, now())
    header = {
        "run": run,
        "at": me.since,
        "command": how.command,
        "target": read.target,
        "host": getattr(client, "host", "") or "",
        "stack": read.stack,
        "version": __version__,
        "pid": me.pid,
        "machine": me.machine,
        "files": list(read.loaded.files),
        **judged.facts,
        "plan": plan,
        "before": snapshot_to_json(before),
    }
    with Journal(folder / f"{run}.jsonl", header, redactor) as journal:
        yield journal


def exit_code(applied: Applied) -> int:
    """0 when it converged (or nothing was waited for, on request), 3 when all that went wrong was refused."""
    if applied.converged:
        return 0
    ended = {outcome.status for outcome in applied.outcomes}
    if StepStatus.FAILED in ended or StepStatus.NOT_BEGUN in ended:
        return 1
    if StepStatus.REFUSED in ended:
        return 3
    left = any(outcome.not_begun for outcome in applied.outcomes)
    if StepStatus.NOT_WAITED in ended and not left and not applied.unverified:
        return 0
    return 1


def _report(applied: Applied, how: How) -> None:
    if how.output is opt.Format.JSON:
        from reconciler.report.json import outcome_json

        answer_report(
            outcome_json(
                applied.plan,
                applied.outcomes,
                converged=applied.converged,
                remaining=applied.remaining,
                unverified=applied.unverified,
            )
        )
        return
    from reconciler.report.text import outcome_text

    answer(
        outcome_text(
            applied.plan,
            applied.outcomes,
            converged=applied.converged,
            remaining=applied.remaining,
            unverified=applied.unverified,
            colour=wants_colour(sys.stdout),
            width=width_of(sys.stdout),
            verbose=how.verbose,
            ascii_only=is_ascii(sys.stdout),
        )
    )


@contextmanager
def _stopping(stop: threading.Event, journal: Journal) -> Iterator[None]:
    """The first SIGINT or SIGTERM finishes the calls in flight and begins no more; the second stops now.

    Now means now: a worker may sit in a request for two minutes, and Python would wait for it. What was in
    flight is on record without an outcome, and the next run finds out by reading.
    """

    def asked(number: int, frame: Any) -> None:
        if stop.is_set():
            flying = sum(1 for call in journal.calls if call.is_in_doubt)
            tell(f"stopped now; calls in flight: {flying}. The next run reads what came of them")
            sys.stdout.flush()
            os._exit(128 + number)
        stop.set()
        tell("stopping: calls in flight are finished, no more are begun; once more stops now")

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
