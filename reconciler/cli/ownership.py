"""``reconciler adopt`` and ``reconciler release``: whose an endpoint is, and nothing else of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import acting_options as act_opt
from reconciler.cli import completion, inputs
from reconciler.cli import options as opt
from reconciler.cli.acting import How, act
from reconciler.cli.budget import WriteLimit
from reconciler.cli.judging import Approve
from reconciler.cli.reports import Output, ReportFormat, Reports, ReportTo
from reconciler.errors import RefusedError, UsageError
from reconciler.targets import family
from reconciler.values import STACK_TAG, Address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.values import Plan, Resource, Snapshot

__all__ = ["adopt", "release"]


def adopt(
    addresses: Annotated[
        list[str],
        typer.Argument(
            help="What to take, as manifests declare it: Kind/name, with * and ?.",
            autocompletion=completion.addresses,
        ),
    ],
    environment: opt.Environments = None,
    target: opt.Target = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    output: Output = ReportFormat.TEXT,
    report: ReportTo = None,
    auto_approve: act_opt.AutoApprove = False,
    parallelism: act_opt.Parallelism = None,
    approve: Approve = None,
    receipt: act_opt.Receipt = None,
    write_limit: WriteLimit = None,
    journal: act_opt.JournalFolder = None,
    break_lock: act_opt.BreakLock = False,
    verbose: opt.Verbose = False,
) -> int:
    """Take declared endpoints that no stack owns: each gets the marker of this stack, and nothing more.

    What their manifests want otherwise shows in the next plan. What another stack owns is refused: there it
    is released first.
    """
    reports = Reports.of(output, report, "apply", verbose=verbose)
    scope = opt.Scope.of(environment, addresses)
    try:
        read = inputs.load_for(target, None, project, stack, scope=scope, allow_unset=True)
    except UsageError as error:
        raise _as_arguments(error) from None
    _check(read, "adopt")
    marks = {STACK_TAG: read.stack}
    read = _about(read, [replace(one, spec={}, marks=marks) for one in read.loaded.resources])
    how = How(
        "adopt",
        reports,
        auto_approve,
        parallelism,
        journal=journal,
        break_lock=break_lock,
        write_limit=write_limit,
        receipt=receipt,
        approve=tuple(approve or ()),
    )

    def planned(snapshot: Snapshot, client: Any) -> Plan:
        return _planned(read, snapshot, "it belongs to this stack already")

    return act(read, planned, how)


def release(
    addresses: Annotated[
        list[str], typer.Argument(help="What to give up: Kind/name.", autocompletion=completion.addresses)
    ],
    environment: opt.Environments = None,
    target: opt.Target = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    output: Output = ReportFormat.TEXT,
    report: ReportTo = None,
    auto_approve: act_opt.AutoApprove = False,
    parallelism: act_opt.Parallelism = None,
    approve: Approve = None,
    receipt: act_opt.Receipt = None,
    write_limit: WriteLimit = None,
    journal: act_opt.JournalFolder = None,
    break_lock: act_opt.BreakLock = False,
    verbose: opt.Verbose = False,
) -> int:
    """Give up what this stack owns, without deleting it: the marker is taken away, and nothing else changes.

    No manifest is needed: whoever declares it still must adopt it again. What is protected stays so.
    """
    from reconciler.engine.ownership import stand_in

    reports = Reports.of(output, report, "apply", verbose=verbose)
    read = inputs.without_manifests(target, project, stack, opt.Scope.of(environment))
    _check(read, "release")
    wanted = dict.fromkeys(map(Address.parse, addresses))
    for address in wanted:
        if address.kind != "Endpoint":
            raise UsageError(f"{address} cannot be released on {read.target}", fix="write Endpoint/NAME")
    marks = {STACK_TAG: None}
    read = _about(read, [replace(stand_in(one, read.stack), marks=marks) for one in wanted])
    how = How(
        "release",
        reports,
        auto_approve,
        parallelism,
        journal=journal,
        break_lock=break_lock,
        write_limit=write_limit,
        receipt=receipt,
        approve=tuple(approve or ()),
    )

    def planned(snapshot: Snapshot, client: Any) -> Plan:
        return _planned(read, snapshot, "it belongs to no stack")

    return act(read, planned, how)


def _as_arguments(error: UsageError) -> UsageError:
    """What is wrong with terms that were no option; and how something comes to a manifest, which it
    needs: the next prune would delete what is owned and declared nowhere."""
    what = error.what.removeprefix("--select").lstrip(": ")
    term = what.removesuffix(": fits no manifest")
    if term == what:
        return UsageError(what, where=error.where, why=error.why, fix=error.fix)
    wanted = f"reconciler export --select {term} --out manifests writes its manifest"
    fix = f"{error.fix} else: {wanted}" if error.fix else wanted
    return UsageError(f"{term} is declared nowhere", where=error.where, why=error.why, fix=fix)


def _check(read: inputs.Input, command: str) -> None:
    """Raises UsageError where there is nobody to own it, or nothing to say so on."""
    if not read.stack:
        raise UsageError(
            f"{command} is about what a stack owns, and no stack is named",
            fix="name it: stack: in reconciler.yaml, or --stack",
        )
    if family(read.target, read.config_path) not in ("local", "databricks"):
        raise UsageError(
            f"{command} is for endpoints of Databricks and of the embedded workspace, not for {read.target}",
            fix="apply --adopt takes over what manifests name",
        )


def _about(read: inputs.Input, resources: Sequence[Resource]) -> inputs.Input:
    return replace(read, loaded=replace(read.loaded, resources=tuple(resources)))


def _planned(read: inputs.Input, snapshot: Snapshot, nothing_to_do: str) -> Plan:
    """The plan of the marks alone. Raises UsageError for what does not exist, RefusedError for what is
    another stack's."""
    from reconciler.engine.links import foreign
    from reconciler.engine.options import PlanOptions
    from reconciler.engine.planner import make_plan
    from reconciler.kinds import kind_of

    lives: Mapping[Address, Any] = snapshot.resources
    for resource in read.loaded.resources:
        if resource.address not in lives:
            raise UsageError(
                f"{resource.address} does not exist on {read.target}", fix="reconciler get lists all"
            )
    refused = [
        why
        for resource in read.loaded.resources
        if (why := foreign(kind_of(resource.address), resource, lives[resource.address], adopt=True))
    ]
    if refused:
        raise RefusedError(
            "\n".join(why.splitlines()[0] for why in refused),
            why=f"this is stack {read.stack}",
            fix="let its stack release it first",
        )
    made = make_plan(read.loaded.resources, snapshot, PlanOptions(read.stack))
    steps = (s if s.calls else replace(s, notes=(*s.notes, nothing_to_do)) for s in made.steps)
    return replace(made, steps=tuple(steps))
