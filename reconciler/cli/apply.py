"""``reconciler apply`` and ``reconciler destroy``: carry a plan out, wait, and prove that nothing is left."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import options as opt
from reconciler.cli.output import live_progress, tell
from reconciler.cli.reports import Output, ReportFormat, Reports, ReportTo
from reconciler.errors import RefusedError, UsageError
from reconciler.values import Action, StepStatus

if TYPE_CHECKING:
    from reconciler.engine.apply import Applied
    from reconciler.values import Plan, Snapshot

AutoApprove = Annotated[bool, typer.Option("--auto-approve", "-y", help="Act without asking.")]
Parallelism = Annotated[int, typer.Option(min=1, max=64, help="Endpoints worked on at a time.")]
WaitTimeout = Annotated[
    str, typer.Option("--wait-timeout", help="How long to wait for each endpoint: 45m, 90s, 1h.")
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Do not wait until endpoints are live; proves nothing, then.")
]


def apply(
    paths: opt.Paths = None,
    target: opt.Target = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    output: Output = ReportFormat.TEXT,
    report: ReportTo = None,
    auto_approve: AutoApprove = False,
    parallelism: Parallelism = 8,
    wait_timeout: WaitTimeout = "45m",
    no_wait: NoWait = False,
    resend_secrets: opt.Resend = None,
    check_models: opt.CheckModels = False,
    adopt: opt.Adopt = False,
    verbose: opt.Verbose = False,
) -> int:
    """Make the live side as the manifests say: plan, ask, act, wait until live, and prove the result.

    Before each write the endpoint is read again, and left alone if it changed since the plan. At the end what
    was touched is read and planned again: "converged", or the fields that did not stick (exit 1).
    """
    reports = Reports.of(output, report, "apply", verbose=verbose)
    read = opt.load_for(target, paths, project, stack, makes_key=True)
    resend = opt.parse_resend(resend_secrets, [r.address for r in read.loaded.resources])

    def planned(snapshot: Snapshot) -> Plan:
        from reconciler.engine.planner import make_plan

        return make_plan(read.loaded.resources, snapshot, stack=read.stack, resend=resend, adopt=adopt)

    return _act(read, planned, reports, auto_approve, parallelism, wait_timeout, no_wait, check_models)


def destroy(
    paths: opt.Paths = None,
    target: opt.Target = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    output: Output = ReportFormat.TEXT,
    report: ReportTo = None,
    auto_approve: AutoApprove = False,
    parallelism: Parallelism = 8,
    adopt: opt.Adopt = False,
    verbose: opt.Verbose = False,
) -> int:
    """Delete what the manifests name, and nothing else.

    Refused for what lifecycle.prevent_destroy protects, for what others use, and for what others own.
    """
    reports = Reports.of(output, report, "apply", verbose=verbose)
    # A secret that is not at hand is no reason to keep an endpoint.
    read = opt.load_for(target, paths, project, stack, allow_unset=True)

    def planned(snapshot: Snapshot) -> Plan:
        from reconciler.engine.planner import plan_destroy

        return plan_destroy(read.loaded.resources, snapshot, stack=read.stack, adopt=adopt)

    return _act(read, planned, reports, auto_approve, parallelism, "45m", False, deleting=True)


def _act(
    read: opt.Input,
    planned: Callable[[Snapshot], Plan],
    reports: Reports,
    auto_approve: bool,
    parallelism: int,
    wait_timeout: str,
    no_wait: bool,
    check_models: bool = False,
    deleting: bool = False,
) -> int:
    from reconciler.engine.apply import apply as carry_out
    from reconciler.engine.executor import ExecutionOptions
    from reconciler.engine.safety import failures, refusals
    from reconciler.engine.snapshot import READ_PARALLELISM, read_snapshot
    from reconciler.targets import connect, describe

    gc.enable()  # it may wait for an hour
    options = ExecutionOptions(parallelism, not no_wait, opt.parse_duration(wait_timeout, "--wait-timeout"))
    stop = threading.Event()
    with connect(read.target, pool_size=max(READ_PARALLELISM, parallelism), stop=stop) as client:
        tell(f"target: {describe(read.target, client)}")
        read.tell_warnings()
        if check_models:
            opt.check_models(read)
        resources = read.loaded.resources
        snapshot = read_snapshot(
            client, resources, target=read.target, taken_at=opt.taken_at(), deleting=deleting
        )
        plan = planned(snapshot)
        reports.announce(plan)
        if refused := refusals(plan) or failures(plan):
            reports.plan(plan, is_announced=True)
            raise refused
        if not plan.is_empty and not auto_approve:
            _ask(plan, describe(read.target, client))
        with _stopping(stop), live_progress() as progress:
            applied = carry_out(
                plan,
                client,
                resources,
                taken_at=opt.taken_at,
                options=options,
                progress=progress,
                stop=stop,
            )
    reports.outcome(applied)
    return exit_code(applied)


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


def _ask(plan: Plan, target: str) -> None:
    """Ask before acting. Raises RefusedError without a terminal, UsageError when the answer is no."""
    counts = ", ".join(
        f"{plan.count(action)} to {action.value}"
        for action in (Action.CREATE, Action.UPDATE, Action.REPLACE, Action.ADOPT, Action.DELETE)
        if plan.count(action)
    )
    if not opt.is_interactive():
        raise RefusedError(
            f"{counts} on {target}, and nobody to ask",
            why="there is no terminal, and --auto-approve was not given",
            fix="review the plan, then run it with --auto-approve",
        )
    sys.stderr.write(f"{counts} on {target}. Type yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        raise UsageError("not approved: nothing was changed")


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM finishes the calls in flight and begins no more; the second stops now."""

    def asked(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        tell("stopping: calls in flight are finished, no more are begun; once more stops now")

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
