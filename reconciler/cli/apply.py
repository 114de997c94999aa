"""``reconciler apply`` and ``reconciler destroy``: carry a plan out, wait, and prove that nothing is left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import acting_options as act_opt
from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.acting import How, act
from reconciler.cli.budget import WriteLimit
from reconciler.cli.judging import Approve
from reconciler.cli.plan_files import From, apply_file, is_plan_file
from reconciler.cli.pruning import prune_of
from reconciler.cli.reports import Output, ReportFormat, Reports, ReportTo
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.values import Plan, Snapshot

__all__ = ["apply", "destroy"]


@opt.each_environment(stops=True)
def apply(
    paths: opt.Paths = None,
    environment: opt.Environments = None,
    all_environments: opt.AllEnvironments = False,
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    changed_since: opt.ChangedSince = None,
    target: opt.Target = None,
    config_path: opt.ConfigPath = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    output: Output = ReportFormat.TEXT,
    report: ReportTo = None,
    auto_approve: act_opt.AutoApprove = False,
    max_deletes: act_opt.MaxDeletes = None,
    max_changes: act_opt.MaxChanges = None,
    allow_replace: act_opt.AllowReplace = False,
    parallelism: act_opt.Parallelism = None,
    wait_timeout: act_opt.WaitTimeout = "45m",
    no_wait: act_opt.NoWait = False,
    resend_secrets: opt.Resend = None,
    since: opt.Since = None,
    skip_stale: Annotated[
        bool,
        typer.Option("--skip-stale", help="Of a plan file: leave out the steps whose ground moved (exit 3)."),
    ] = False,
    check_models: opt.CheckModels = False,
    adopt: opt.Adopt = False,
    approve: Approve = None,
    prune: opt.Prune = False,
    allow_commands: opt.AllowCommands = None,
    receipt: act_opt.Receipt = None,
    write_limit: WriteLimit = None,
    journal: act_opt.JournalFolder = None,
    break_lock: act_opt.BreakLock = False,
    verbose: opt.Verbose = False,
) -> int:
    """Make the live side as the manifests say: plan, ask, act, wait until live, and prove the result.

    Before each write the endpoint is read again, and left alone if it changed since the plan. At the end what
    was touched is read and planned again: "converged", or the fields that did not stick (exit 1).

    PATHS may be one plan file (plan --out): what was reviewed is done, without a question; and nothing is
    (exit 3) when the live side, the target or what the manifests mean changed since, field by field.

    Ctrl-C once finishes the calls in flight and begins no more; twice stops now. Every call is on record:
    reconciler history.
    """
    how = How(
        "apply",
        Reports.of(output, report, "apply", verbose=verbose),
        auto_approve,
        parallelism,
        wait_timeout,
        no_wait,
        max_deletes,
        max_changes,
        allow_replace,
        journal,
        break_lock,
        write_limit,
        receipt,
        check_models,
        approve=tuple(approve or ()),
    )
    scope = opt.Scope.of(environment, select, exclude, changed_since)
    if is_plan_file(paths):
        assert paths is not None
        flags = {"--resend-secrets": resend_secrets, "--adopt": adopt, "--prune": prune, "--since": since}
        if flag := next((name for name, given in flags.items() if given), ""):
            raise UsageError(
                f"{flag} has no place beside a plan file",
                fix="give it to plan --out, where it can be reviewed",
            )
        how = replace(how, is_reviewed=True)
        return apply_file(
            paths[0],
            From(target, stack, project, config_path, allow_commands, scope),
            how,
            skip_stale=skip_stale,
        )
    if skip_stale:
        raise UsageError("--skip-stale is about a plan file, and none is named")
    read = inputs.load_for(
        target,
        paths,
        project,
        stack,
        scope=scope,
        allow_commands=allow_commands,
        makes_key=True,
        config_path=config_path,
        since=since or "",
    )
    options = read.plan_options(resend_secrets, adopt=adopt, prune=prune)

    def planned(snapshot: Snapshot, client: Any) -> Plan:
        return read.plan(snapshot, options)

    return act(read, planned, how, deleting=bool(read.gone), prune=prune_of(read, options))


def destroy(
    paths: opt.Paths = None,
    environment: opt.Environments = None,
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    changed_since: opt.ChangedSince = None,
    target: opt.Target = None,
    config_path: opt.ConfigPath = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    output: Output = ReportFormat.TEXT,
    report: ReportTo = None,
    auto_approve: act_opt.AutoApprove = False,
    max_deletes: act_opt.DestroyMaxDeletes = None,
    parallelism: act_opt.Parallelism = None,
    adopt: opt.Adopt = False,
    approve: Approve = None,
    receipt: act_opt.Receipt = None,
    write_limit: WriteLimit = None,
    journal: act_opt.JournalFolder = None,
    break_lock: act_opt.BreakLock = False,
    verbose: opt.Verbose = False,
) -> int:
    """Delete what the manifests name, and nothing else.

    Refused for what lifecycle.prevent_destroy protects, for what others use, and for what others own. Deletes
    without a limit, unless --max-deletes sets one.
    """
    reports = Reports.of(output, report, "apply", verbose=verbose)
    # A secret that is not at hand is no reason to keep an endpoint.
    scope = opt.Scope.of(environment, select, exclude, changed_since)
    read = inputs.load_for(
        target, paths, project, stack, scope=scope, allow_unset=True, config_path=config_path
    )

    def planned(snapshot: Snapshot, client: Any) -> Plan:
        from reconciler.engine.planner import plan_destroy

        return plan_destroy(read.loaded.resources, snapshot, read.plan_options(adopt=adopt))

    how = How(
        "destroy",
        reports,
        auto_approve,
        parallelism,
        max_deletes=max_deletes,
        journal=journal,
        break_lock=break_lock,
        write_limit=write_limit,
        receipt=receipt,
        approve=tuple(approve or ()),
    )
    return act(read, planned, how, deleting=True)
