"""``reconciler plan``: what would be called, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.budget import WriteLimit, pacer_for, recalled, with_note
from reconciler.cli.judging import Approve, judge_of
from reconciler.cli.output import answer, answer_report, everything_known, tell
from reconciler.cli.pruning import prune_of
from reconciler.cli.recording import home
from reconciler.cli.reports import Output, ReportFormat, Reports, ReportTo
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.cli.plan_files import From
    from reconciler.engine.options import PlanOptions
    from reconciler.engine.plan_file import Moved, PlanFile
    from reconciler.values import Plan, Snapshot


@opt.each_environment()
def plan(
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
    since: opt.Since = None,
    detailed_exitcode: opt.DetailedExitcode = False,
    resend_secrets: opt.Resend = None,
    snapshot: Annotated[
        str | None,
        typer.Option(
            "--snapshot",
            metavar="FILE",
            help="Plan against a saved snapshot: no target is asked, no credentials.",
        ),
    ] = None,
    save_snapshot: Annotated[
        str | None,
        typer.Option(
            "--save-snapshot", metavar="FILE", help="Save what was read, secrets masked, for --snapshot."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", metavar="FILE", help="Keep the plan, for reconciler show FILE and reconciler apply FILE."
        ),
    ] = None,
    rebase: Annotated[
        str | None,
        typer.Option(
            "--rebase", metavar="FILE", help="Plan anew what FILE planned, and show what changed since."
        ),
    ] = None,
    write_limit: WriteLimit = None,
    check_models: opt.CheckModels = False,
    adopt: opt.Adopt = False,
    approve: Approve = None,
    prune: opt.Prune = False,
    allow_commands: opt.AllowCommands = None,
    verbose: opt.Verbose = False,
) -> int:
    """Show what an apply would call, and why. Changes nothing.

    A section that a manifest leaves out is not managed; one that it writes is authoritative. Each field that
    was not compared is counted, and named with its reason with -v or -o json.

    --out keeps the plan in a file: readable, without a secret, with a digest, and signed when
    RECONCILER_PLAN_KEY is set.
    """
    reports = Reports.of(output, report, "plan", verbose=verbose)
    if snapshot is not None and (out is not None or rebase is not None):
        raise UsageError("--snapshot goes with neither --out nor --rebase", why="they need the live side")
    scope = opt.Scope.of(environment, select, exclude, changed_since)
    ahead = inputs.read_ahead(target, project, scope) if snapshot is None and rebase is None else None
    # Imported while the server works on what was just asked.
    from reconciler.cli.acting import How, limits_of
    from reconciler.engine.safety import failures, over_limits, refusals
    from reconciler.engine.verdicts import frozen, unapproved

    held: Held | None = None
    if rebase is not None and since is not None:
        raise UsageError("--rebase takes no --since", why="it plans what the file planned")
    if rebase is not None:
        from reconciler.cli.plan_files import From

        given = From(target, stack, project, config_path, allow_commands, scope)
        read, options, held = _rebased(rebase, paths, given)
        paths, project = list(held.file.paths), project or held.file.project
    elif snapshot is not None:
        seen = _replayed(snapshot)
        tell(f"target: {seen.target}, as of {seen.taken_at} (from {snapshot})")
        read = inputs.load_for(
            seen.target,
            paths,
            project,
            stack,
            scope=scope,
            allow_commands=allow_commands,
            is_told=True,
            config_path=config_path,
            since=since or "",
        )
        options = read.plan_options(resend_secrets, adopt=adopt, prune=prune)
        _check_replayed(read, options, seen, snapshot)
    else:
        read = inputs.load_for(
            target,
            paths,
            project,
            stack,
            scope=scope,
            allow_commands=allow_commands,
            # Fingerprints of write-only values must be the same when the kept plan is applied.
            makes_key=out is not None,
            config_path=config_path,
            since=since or "",
        )
        options = read.plan_options(resend_secrets, adopt=adopt, prune=prune)

    judge = judge_of(read, approve)

    def again(seen: Snapshot) -> Plan:
        return judge.plan(read.plan(seen, options))

    host = ""
    if snapshot is not None:
        read.tell_warnings()
        made = again(seen)
    else:
        if ahead is not None:
            reports.import_ahead()
        seen, made, host = _live(read, options, check_models, write_limit, ahead)
        made = judge.plan(made)
    if save_snapshot is not None:
        from reconciler.engine.snapshot import snapshot_to_json

        _write(Path(save_snapshot), everything_known().value(snapshot_to_json(seen)))
    if held is not None:
        held.tell(seen, again, host, made, output)
    reports.plan(made, is_answered=held is not None and output is ReportFormat.JSON)
    if refused := refusals(made) or failures(made):
        raise refused
    if over := over_limits(made, limits_of(read, How("plan"))) or frozen(made) or unapproved(made):
        tell(f"an apply of this plan is refused:\n{over}")
    if out is not None:
        from reconciler.cli.plan_files import save

        save(out, read, again, seen, host=host, paths=paths or (), project=project, options=options)
    return 2 if detailed_exitcode and not made.is_empty else 0


@dataclass(frozen=True, slots=True)
class Held:
    """A plan file to hold the new plan against."""

    file: PlanFile
    compare: Callable[[Snapshot, Callable[[Snapshot], Plan], str], tuple[Moved, ...]]

    def tell(
        self,
        seen: Snapshot,
        again: Callable[[Snapshot], Plan],
        host: str,
        made: Plan,
        output: ReportFormat,
    ) -> None:
        """What changed since the review; with the new plan when the answer is JSON."""
        from reconciler.cli.plan_files import since_text

        moved = self.compare(seen, again, host)
        if output is not ReportFormat.JSON:
            # What reads another format of stdout finds a report there and nothing else.
            (answer if output is ReportFormat.TEXT else tell)(since_text(self.file, moved) + "\n")
            return
        from reconciler.report.json import plan_json

        told = [{"address": str(m.address), "what": m.what, "fields": list(m.fields)} for m in moved]
        answer_report({"reviewed_at": self.file.made_at, "moved": told, "plan": plan_json(made)})


def _rebased(file: str, paths: list[str] | None, given: From) -> tuple[inputs.Input, PlanOptions, Held]:
    from reconciler.cli import plan_files

    if paths:
        raise UsageError("--rebase takes no PATHS", why="it plans what the file planned")
    made, read, compare = plan_files.rebase(file, given)
    return read, made.options, Held(made, compare)


def _live(
    read: inputs.Input,
    options: PlanOptions,
    check_models: bool,
    write_limit: str | None,
    ahead: Any,
) -> tuple[Snapshot, Plan, str]:
    """Read and plan; the first line on stderr says which target it is. Gives the host too."""
    from reconciler.engine.planning import read_and_plan
    from reconciler.engine.snapshot import READ_PARALLELISM, read_snapshot
    from reconciler.targets import connect, describe

    pool, config = READ_PARALLELISM, read.config_path
    with ahead or connect(read.target, pool_size=pool, config_path=config) as client:
        tell(f"target: {describe(read.target, client)}{read.aside}")
        read.tell_warnings()
        if check_models:
            inputs.check_models(read)
        now, prune = opt.taken_at(), prune_of(read, options)
        if read.base is None:
            seen, made = read_and_plan(
                client, read.loaded.resources, options, target=read.target, taken_at=now, prune=prune
            )
        else:
            gone = bool(read.gone)
            seen = read_snapshot(
                client, read.resources, target=read.target, taken_at=now, deleting=gone, prune=prune
            )
            made = read.plan(seen, options)
        pacer = pacer_for(read, write_limit)
        recalled(pacer, home(read) / "runs", client, made)
        return seen, with_note(made, pacer), getattr(client, "host", "") or ""


def _check_replayed(read: inputs.Input, options: PlanOptions, seen: Snapshot, file: str) -> None:
    """Raises UsageError when something was there that the snapshot holds the name of alone: it was saved for
    other manifests, or without what deletes it. The plan would take it for missing."""
    from reconciler.engine.ownership import moved_from, undeclared

    wanted = {resource.address: "" for resource in read.resources}
    wanted |= {old: "" for resource in read.resources if (old := moved_from(resource)) is not None}
    if options.prune:
        deleted = undeclared(read.resources, seen, options.stack)
        wanted |= dict.fromkeys(deleted, ", which --prune would delete")
    for address, why in wanted.items():
        if address in seen.names and address not in seen.resources:
            raise UsageError(
                f"the snapshot does not hold {address}{why}",
                where=file,
                why="it was there, and was not read: the snapshot was saved for less than this plan is about",
                fix="save it with --prune too" if why else "save it with the same manifests and options",
            )


def _replayed(file: str) -> Snapshot:
    from reconciler.engine.bounded import loads, read_bounded
    from reconciler.engine.snapshot import snapshot_from_json

    try:
        content = loads(read_bounded(Path(file), pipes=True))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the snapshot cannot be read: {error}", where=file, fix="write one with --save-snapshot FILE"
        ) from error
    return snapshot_from_json(content, where=file)


def _write(path: Path, content: Any) -> None:
    try:
        # A plugin's answers may hold times and other values that JSON has no words for.
        text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the snapshot cannot be written: {error}", where=str(path)) from error
