"""``reconciler drift``: what is live and not as declared, since when, and whether that fails a check."""

from __future__ import annotations

import enum
from contextlib import ExitStack
from typing import Annotated, Final

import typer

from reconciler.cli import options as opt
from reconciler.cli.drift_check import Asked, check, unchanged
from reconciler.cli.reports import Output, ReportFormat, Reports, ReportTo

_MAX_AGE: Final = "24h"


class Refresh(enum.StrEnum):
    """How much of the live side a check reads."""

    FULL = "full"
    FAST = "fast"


@opt.each_environment()
def drift(
    paths: opt.Paths = None,
    environment: opt.Environments = None,
    all_environments: opt.AllEnvironments = False,
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    target: opt.Target = None,
    config_path: opt.ConfigPath = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore",
            metavar="TERM",
            help="Drift that does not count: Kind/name, a pattern of it, a kind or *, and :field.path behind "
            "it. May be given several times; what is ignored is counted.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="TERM",
            help="Only this drift counts; written like --ignore.",
            show_default=False,
        ),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            metavar="KIND,…",
            help="Exit with 2 only for these: create (missing), update, replace, delete, adopt, assertion. "
            "Others are shown and counted.",
            show_default=False,
        ),
    ] = None,
    refresh: Annotated[
        Refresh,
        typer.Option(
            "--refresh",
            help="full reads every endpoint; fast reads the list, and what it shows to "
            "have changed since the last check; it says what it cannot see.",
        ),
    ] = Refresh.FULL,
    max_age: Annotated[
        str,
        typer.Option(
            "--max-age", metavar="DURATION", help="With --refresh fast: read again what was read so long ago."
        ),
    ] = _MAX_AGE,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="What the stack owns and no manifest declares is drift, too (kind delete)."
        ),
    ] = False,
    output: Output = ReportFormat.TEXT,
    report: ReportTo = None,
    allow_commands: opt.AllowCommands = None,
    verbose: opt.Verbose = False,
) -> int:
    """Check whether what is live is still as declared. Changes nothing.

    Exit code 0: no drift, 2: drift, 1: an error. Values stand as in a plan: live → declared.

    --ignore and --only take Endpoint/chat, Endpoint/ch*, Endpoint, *, and a field behind a colon:
    '*:tags.*', 'Endpoint/chat:config.served_entities[*].workload_size'.

    --refresh fast is for every five minutes: one request while nothing changes.
    """
    reports = Reports.of(output, report, "drift", verbose=verbose)
    asked = Asked(
        words={
            "paths": paths,
            "environment": environment,
            "select": select,
            "exclude": exclude,
            "target": target,
            "config_path": config_path,
            "stack": stack,
            "project": project,
            "ignore": ignore,
            "only": only,
            "fail_on": fail_on,
            "allow_commands": allow_commands,
            "prune": prune,
        },
        fast=refresh is Refresh.FAST,
        max_age=opt.parse_duration(max_age, "--max-age"),
        keeps=refresh is Refresh.FAST and output is ReportFormat.TEXT and not report and not verbose,
    )
    with ExitStack() as open_clients:
        ahead = unchanged(asked, open_clients) if asked.keeps else None
        if isinstance(ahead, int):
            return ahead
        return check(asked, reports, opt.Scope.of(environment, select, exclude), ahead, open_clients)
