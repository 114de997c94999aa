"""``reconciler rollback``: put back what a run found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import acting_options as act_opt
from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.acting import How, act
from reconciler.cli.budget import WriteLimit
from reconciler.cli.judging import Approve
from reconciler.cli.output import know, tell
from reconciler.cli.recording import runs_folder
from reconciler.cli.reports import Output, ReportFormat, Reports, ReportTo
from reconciler.errors import RefusedError, UsageError, UserError
from reconciler.values import Address, Plan, Resource, Snapshot

if TYPE_CHECKING:
    from reconciler.engine.journal import RecordedRun
    from reconciler.engine.rollback import Undo
    from reconciler.manifest.document import Loaded

__all__ = ["rollback"]


def rollback(
    run: Annotated[
        str | None,
        typer.Argument(
            help="The run to undo, or how its name begins. Left out: the last that did something.",
            show_default=False,
        ),
    ] = None,
    project: opt.ProjectFile = None,
    output: Output = ReportFormat.TEXT,
    report: ReportTo = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be undone, and stop.")] = False,
    auto_approve: act_opt.AutoApprove = False,
    max_deletes: act_opt.MaxDeletes = None,
    max_changes: act_opt.MaxChanges = None,
    allow_replace: act_opt.AllowReplace = False,
    approve: Approve = None,
    parallelism: act_opt.Parallelism = None,
    wait_timeout: act_opt.WaitTimeout = "45m",
    receipt: act_opt.Receipt = None,
    write_limit: WriteLimit = None,
    journal: act_opt.JournalFolder = None,
    break_lock: act_opt.BreakLock = False,
    verbose: opt.Verbose = False,
) -> int:
    """Undo a run: what it changed is put back as it found it, what it created is deleted, what it deleted is
    created again.

    Planned against what is live now, under the rules of every apply, and a run of its own that can be undone
    in turn. What cannot come back is said: values that no answer shows, and the id and metrics of what was
    deleted. The manifests are not changed: revert them too, else the next apply does the run again.
    """
    reports = Reports.of(output, report, "apply", verbose=verbose)
    found = inputs.project_of(project)
    base = (found.root if found else Path()) / ".reconciler"
    folder = runs_folder(base, journal)
    if folder is None:
        raise UsageError("--journal none: there is no record to undo from")
    recorded, where = _recorded(folder, run)
    read, undone = _read(recorded, where, project)
    how = How(
        "rollback",
        reports,
        auto_approve,
        parallelism,
        wait_timeout,
        max_deletes=max_deletes,
        max_changes=max_changes,
        allow_replace=allow_replace,
        journal=journal,
        break_lock=break_lock,
        write_limit=write_limit,
        receipt=receipt,
        is_dry=dry_run,
        approve=tuple(approve or ()),
        facts={"rollback_of": recorded.run},
    )
    deleted = {resource.address for resource in undone.deleted}

    def planned(snapshot: Snapshot, client: Any) -> Plan:
        from reconciler.engine.planner import make_plan, plan_destroy
        from reconciler.engine.rollback import moved_back

        _same_workspace(recorded, client)
        header = recorded.header
        tell(f"undoing {recorded.run}: {header.get('command', '')} at {header.get('at', '')}")
        # What the run touched it was allowed to: only what another stack took since is refused.
        options = replace(read.plan_options(), adopt=True, is_whole=False)
        back = make_plan(undone.restored, snapshot, options)
        away = plan_destroy(undone.deleted, snapshot, options)
        gone = moved_back(recorded, away.steps, back.steps)
        return replace(back, steps=(*back.steps, *gone), notes=(*undone.notes, *back.notes))

    return act(read, planned, how, deleting=bool(deleted))


def _recorded(folder: Path, name: str | None) -> tuple[RecordedRun, str]:
    """The run to undo. Raises UsageError when there is none."""
    from reconciler.engine.journal import find_run, read_run, runs

    names = [find_run(folder, name)] if name is not None else reversed(runs(folder))
    for one in names:
        path = folder / f"{one}.jsonl"
        try:
            recorded = read_run(path)
        except UsageError as error:
            if name is not None:
                raise
            if _was_begun(path):
                # It is the last run, and may be the one that is meant: another is not undone in its place.
                error.fix = "reconciler history lists the runs: name the one to undo"
                raise
            continue
        if recorded.acted:
            return recorded, str(path)
        if name is not None:
            raise UsageError(f"run {one} made no call: there is nothing to undo")
    raise UsageError(
        "there is no run to undo", where=str(folder), why="no run that did something is on record there"
    )


def _was_begun(path: Path) -> bool:
    """A run's record has more than the beginning of its first line: calls may have been made."""
    from reconciler.engine.bounded import read_bounded

    if not re.match(r"\d{8}T\d{6}", path.name):  # nothing of ours
        return False
    try:
        return b"\n" in read_bounded(path)
    except (OSError, ValueError):
        return True


def _read(recorded: RecordedRun, where: str, project: str | None) -> tuple[inputs.Input, Undo]:
    """The live side read, and the inverse of the run made from it and the record."""
    from reconciler.engine.plan_file import masked_snapshot
    from reconciler.engine.rollback import skeletons, undo
    from reconciler.engine.snapshot import read_snapshot
    from reconciler.kinds.file_parts import DIALECT
    from reconciler.manifest.document import Loaded
    from reconciler.targets import DEFAULT_STACK, connect, for_target

    target = str(recorded.header.get("target", ""))
    stack = str(recorded.header.get("stack", ""))
    loaded, manifests = _manifests(recorded, target, project)
    config = inputs.find_config(None, target, inputs.project_of(project))

    def spoken(resources: tuple[Resource, ...]) -> tuple[Resource, ...]:
        """As their target speaks of them; what a file holds is said so already."""
        if any(resource.address.dialect == DIALECT for resource in resources):
            if not config:
                raise UsageError(
                    "that run wrote a gateway's file, and which one it is is not said",
                    fix="write config_path: beside the target, or set MLFLOW_GATEWAY_CONFIG",
                )
            return tuple(replace(r, stack=stack or DEFAULT_STACK, kept_in=config) for r in resources)
        key = inputs.seal_key(resources, make=False)
        return for_target(target, resources, stack=stack, seal_key=key, config_path=config)

    wanted = spoken(skeletons(recorded, manifests))
    with connect(target, config_path=config) as client:
        _same_workspace(recorded, client)
        live = read_snapshot(client, wanted, target=target, taken_at=opt.taken_at(), deleting=True)
    salt = str((recorded.header.get("before") or {}).get("salt", ""))
    undone = undo(recorded, wanted, live, masked_snapshot(live, salt), manifests, where)
    undone = replace(
        undone,
        restored=spoken(undone.restored),
        deleted=spoken(undone.deleted),
    )
    secrets = loaded.secrets if loaded else ()
    # Freezes and policies ask for labels, which only manifests have.
    labelled = [
        replace(one, labels=manifests[one.address].labels) if one.address in manifests else one
        for one in undone.resources
    ]
    made = Loaded(tuple(labelled), secrets, (), (where,))
    environment = str(recorded.header.get("environment", ""))
    return inputs.Input(made, inputs.project_of(project), stack, target, config, environment), undone


def _manifests(
    recorded: RecordedRun, target: str, project: str | None
) -> tuple[Loaded | None, Mapping[Address, Resource]]:
    """What is declared now, for values that no answer shows; nothing when it cannot be read."""
    named = recorded.header.get("files")
    files = [str(f) for f in named if Path(str(f)).is_file()] if isinstance(named, list) else []
    if not files:
        return None, {}
    try:
        scope = opt.Scope(str(recorded.header.get("environment", "")) or None)
        read = inputs.load(files, project, scope=scope)
    except UserError as error:
        tell(f"warning: the manifests cannot be read, so no write-only value can be sent again\n{error}")
        return None, {}
    know(read.loaded.secrets)
    return read.loaded, {resource.address: resource for resource in read.loaded.resources}


def _same_workspace(recorded: RecordedRun, client: Any) -> None:
    host, then = getattr(client, "host", "") or "", str(recorded.header.get("host", ""))
    if host != then:
        raise RefusedError(
            f"the run was made on {then}, and this is {host}",
            why="what is right for one workspace may be wrong for another",
            fix="log in to that workspace, or name a run of this one",
        )
