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
from reconciler.cli.output import (
    answer,
    answer_report,
    is_ascii,
    live_progress,
    sum_up,
    tell,
    wants_colour,
    width_of,
)
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


@opt.each_environment(stops=True)
def apply(
    paths: opt.Paths = None,
    environment: opt.Environments = None,
    all_environments: opt.AllEnvironments = False,
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    target: opt.Target = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    output: opt.Output = opt.Format.TEXT,
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
    scope = opt.Scope.of(environment, select, exclude)
    read = opt.load_for(target, paths, project, stack, scope=scope, makes_key=True)
    resend = opt.parse_resend(resend_secrets, [r.address for r in read.loaded.resources])

    def planned(snapshot: Snapshot) -> Plan:
        from reconciler.engine.planner import make_plan

        return make_plan(read.loaded.resources, snapshot, stack=read.stack, resend=resend, adopt=adopt)

    return _act(
        read, planned, output, auto_approve, parallelism, wait_timeout, no_wait, verbose, check_models
    )


def destroy(
    paths: opt.Paths = None,
    environment: opt.Environments = None,
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    target: opt.Target = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    output: opt.Output = opt.Format.TEXT,
    auto_approve: AutoApprove = False,
    parallelism: Parallelism = 8,
    adopt: opt.Adopt = False,
    verbose: opt.Verbose = False,
) -> int:
    """Delete what the manifests name, and nothing else.

    Refused for what lifecycle.prevent_destroy protects, for what others use, and for what others own.
    """
    # A secret that is not at hand is no reason to keep an endpoint.
    scope = opt.Scope.of(environment, select, exclude)
    read = opt.load_for(target, paths, project, stack, scope=scope, allow_unset=True)

    def planned(snapshot: Snapshot) -> Plan:
        from reconciler.engine.planner import plan_destroy

        return plan_destroy(read.loaded.resources, snapshot, stack=read.stack, adopt=adopt)

    return _act(read, planned, output, auto_approve, parallelism, "45m", False, verbose, deleting=True)


def _act(
    read: opt.Input,
    planned: Callable[[Snapshot], Plan],
    output: opt.Format,
    auto_approve: bool,
    parallelism: int,
    wait_timeout: str,
    no_wait: bool,
    verbose: bool,
    check_models: bool = False,
    deleting: bool = False,
) -> int:
    from reconciler.cli.plan import show
    from reconciler.engine.apply import apply as carry_out
    from reconciler.engine.executor import ExecutionOptions
    from reconciler.engine.safety import failures, refusals
    from reconciler.engine.snapshot import READ_PARALLELISM, read_snapshot
    from reconciler.targets import connect, describe

    gc.enable()  # it may wait for an hour
    options = ExecutionOptions(parallelism, not no_wait, opt.parse_duration(wait_timeout, "--wait-timeout"))
    stop = threading.Event()
    with connect(read.target, pool_size=max(READ_PARALLELISM, parallelism), stop=stop) as client:
        tell(f"target: {describe(read.target, client)}{read.aside}")
        read.tell_warnings()
        if check_models:
            opt.check_models(read)
        resources = read.loaded.resources
        snapshot = read_snapshot(
            client, resources, target=read.target, taken_at=opt.taken_at(), deleting=deleting
        )
        plan = planned(snapshot)
        if output is opt.Format.TEXT:
            show(plan, output, verbose=verbose)
        if refused := refusals(plan) or failures(plan):
            if output is opt.Format.JSON:
                show(plan, output)
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
    _report(applied, output, verbose)
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


def _report(applied: Applied, output: opt.Format, verbose: bool) -> None:
    sum_up("converged" if applied.converged else "not converged")
    if output is opt.Format.JSON:
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
            verbose=verbose,
            ascii_only=is_ascii(sys.stdout),
        )
    )


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
