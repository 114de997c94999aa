"""``reconciler plan``: what would be called, and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_report, is_ascii, sum_up, tell, wants_colour, width_of
from reconciler.errors import UsageError
from reconciler.values import Action

if TYPE_CHECKING:
    from reconciler.values import Address, Plan, Snapshot


@opt.each_environment()
def plan(
    paths: opt.Paths = None,
    environment: opt.Environments = None,
    all_environments: opt.AllEnvironments = False,
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    target: opt.Target = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    output: opt.Output = opt.Format.TEXT,
    detailed_exitcode: opt.DetailedExitcode = False,
    resend_secrets: opt.Resend = None,
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", help="Plan against a saved snapshot: no target is asked, no credentials."),
    ] = None,
    save_snapshot: Annotated[
        str | None,
        typer.Option("--save-snapshot", help="Save what was read, secrets masked, for --snapshot."),
    ] = None,
    check_models: opt.CheckModels = False,
    adopt: opt.Adopt = False,
    verbose: opt.Verbose = False,
) -> int:
    """Show what an apply would call, and why. Changes nothing.

    A section that a manifest leaves out is not managed; one that it writes is authoritative. Each field that
    was not compared is counted, and named with its reason with -v or -o json.
    """
    from reconciler.engine.planner import make_plan
    from reconciler.engine.safety import failures, refusals

    scope = opt.Scope.of(environment, select, exclude)
    ahead = opt.read_ahead(target, project, scope) if snapshot is None else None
    if snapshot is not None:
        seen = _replayed(snapshot)
        tell(f"target: {seen.target}, as of {seen.taken_at} (from {snapshot})")
        read = opt.load_for(seen.target, paths, project, stack, scope=scope, is_told=True)
    else:
        read = opt.load_for(target, paths, project, stack, scope=scope)
    resend = opt.parse_resend(resend_secrets, [r.address for r in read.loaded.resources])
    if snapshot is not None:
        read.tell_warnings()
        made = make_plan(read.loaded.resources, seen, stack=read.stack, resend=resend, adopt=adopt)
    else:
        seen, made = _live(read, resend, check_models, adopt, ahead)
    if save_snapshot is not None:
        from reconciler.engine.snapshot import snapshot_to_json

        _write(Path(save_snapshot), snapshot_to_json(seen))
    show(made, output, verbose=verbose)
    if refused := refusals(made) or failures(made):
        raise refused
    return 2 if detailed_exitcode and not made.is_empty else 0


def _live(
    read: opt.Input, resend: set[Address] | bool, check_models: bool, adopt: bool, ahead: Any
) -> tuple[Snapshot, Plan]:
    """Read and plan; the first line on stderr says which target it is."""
    from reconciler.engine.planning import read_and_plan
    from reconciler.engine.snapshot import READ_PARALLELISM
    from reconciler.targets import connect, describe

    with ahead or connect(read.target, pool_size=READ_PARALLELISM) as client:
        tell(f"target: {describe(read.target, client)}{read.aside}")
        read.tell_warnings()
        if check_models:
            opt.check_models(read)
        return read_and_plan(
            client,
            read.loaded.resources,
            target=read.target,
            taken_at=opt.taken_at(),
            stack=read.stack,
            resend=resend,
            adopt=adopt,
        )


def show(made: Plan, output: opt.Format, *, verbose: bool = False) -> None:
    """The plan as the command's answer."""
    sum_up(counted(made))
    if output is opt.Format.JSON:
        from reconciler.report.json import plan_json

        answer_report(plan_json(made))
    else:
        from reconciler.report.text import plan_text

        answer(
            plan_text(
                made,
                colour=wants_colour(sys.stdout),
                width=width_of(sys.stdout),
                verbose=verbose,
                ascii_only=is_ascii(sys.stdout),
            )
        )


def counted(made: Plan) -> str:
    """What a plan would do, in one line."""
    acting = (Action.CREATE, Action.UPDATE, Action.REPLACE, Action.ADOPT, Action.DELETE)
    return (
        ", ".join(f"{made.count(action)} to {action.value}" for action in acting if made.count(action))
        or "nothing to do"
    )


def _replayed(file: str) -> Snapshot:
    from reconciler.engine.snapshot import snapshot_from_json

    try:
        content: Any = json.loads(Path(file).read_text(encoding="utf-8"))
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
