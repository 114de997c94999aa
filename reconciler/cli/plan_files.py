"""Plan files at the command line: written by ``plan --out``, shown, held against today, applied."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_report, everything_known, tell
from reconciler.cli.pruning import check_prune, prune_of
from reconciler.cli.reports import Output, ReportFormat, Reports, ReportTo
from reconciler.errors import RefusedError, StaleError, UsageError, UserError
from reconciler.redact import control
from reconciler.values import Address, Plan, Snapshot

if TYPE_CHECKING:
    from reconciler.cli.acting import How, Judged
    from reconciler.engine.options import PlanOptions
    from reconciler.engine.plan_file import Moved, PlanFile
    from reconciler.redact import Redactor

__all__ = ["From", "apply_file", "is_plan_file", "rebase", "save", "show", "write_json"]

KEY_VARIABLE = "RECONCILER_PLAN_KEY"

Again = Callable[[Snapshot], Plan]


@dataclass(frozen=True, slots=True)
class Opened:
    """A plan file with what there is to say of its seal, and where it is."""

    path: str
    content: dict[str, Any]
    file: PlanFile
    problem: RefusedError | None


def is_plan_file(paths: Sequence[str] | None) -> bool:
    """What the command line names is one plan file, and not manifests."""
    if not paths or len(paths) != 1 or paths[0] == "-":
        return False
    try:
        if not Path(paths[0]).is_file():  # what a pipe gives can be read only once
            return False
        with Path(paths[0]).open("rb") as stream:
            return re.match(rb'\s*\{\s*"plan_file"\s*:', stream.read(256)) is not None
    except OSError:
        return False


def write_json(path: Path, content: Any, what: str) -> None:
    """Write a file whole or not at all. Raises UsageError that calls it ``what``.

    What is no file (a pipe, ``/dev/stdout``) is written as it stands: renaming another over it would end it.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"
    beside: Path | None = None
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text)
            return
        real = path.resolve()  # a link stays one, and leads to the new content
        beside = real.with_name(f".{real.name}.{os.getpid()}")
        with beside.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(real)
    except OSError as error:
        if beside is not None:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
        why = error.strerror or str(error)
        raise UsageError(f"the {what} cannot be written: {why}", where=str(path)) from error


def save(
    out: str,
    read: inputs.Input,
    again: Again,
    snapshot: Snapshot,
    *,
    host: str,
    paths: Sequence[str],
    project: str | None,
    options: PlanOptions,
) -> None:
    """Write the plan that ``again`` makes, with its ground and a seal."""
    import secrets

    from reconciler import __version__
    from reconciler.cli.since import commit_of
    from reconciler.engine.plan_file import masked_snapshot, plan_file_json
    from reconciler.report.json import plan_json

    if "-" in paths:
        raise UsageError(
            "a plan of manifests from the standard input cannot be saved",
            why="an apply reads the manifests again",
            fix="name their files",
        )
    ground = masked_snapshot(snapshot, secrets.token_hex(16))
    content = plan_file_json(
        plan_json(again(ground)),
        read.resources,
        ground,
        host=host,
        made_at=opt.taken_at(),
        made_by=f"reconciler {__version__}",
        paths=paths,
        project=project,
        environment=read.environment,
        select=read.scope.select,
        exclude=read.scope.exclude,
        changed_since=commit_of(read.scope.changed_since, read.project) if read.scope.changed_since else "",
        since=read.base.commit if read.base is not None else "",
        options=options,
        redactor=everything_known(),
        key=os.environ.get(KEY_VARIABLE, ""),
    )
    write_json(Path(out), content, "plan file")
    tell(f"wrote {out}; apply exactly this with: reconciler apply {out}")


def opened(path: str) -> Opened:
    """Read a plan file. Raises UsageError when it is none."""
    from reconciler.engine.bounded import loads, read_bounded
    from reconciler.engine.plan_file import read_plan_file
    from reconciler.engine.signing import seal_problem

    try:
        if not Path(path).is_file():
            raise UsageError("there is no such plan file", where=path)
        content = loads(read_bounded(Path(path)))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the plan file cannot be read: {error}", where=path, fix="write one with: reconciler plan --out"
        ) from error
    file = read_plan_file(content, where=path)
    return Opened(path, content, file, seal_problem(content, os.environ.get(KEY_VARIABLE, "")))


# ---- held against today ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class From:
    """What the command line says of where the manifests of a plan file lead to."""

    target: str | None = None
    stack: str | None = None
    project: str | None = None
    config_path: str | None = None
    allow_commands: bool | None = None
    scope: opt.Scope = field(default_factory=opt.Scope)


def _input(opened: Opened, given: From) -> inputs.Input:
    """The manifests that the file was made of, as they are today. Raises UsageError for another scope."""
    file = opened.file
    scope = opt.Scope(file.environment or None, file.select, file.exclude, file.changed_since)
    if not given.scope.is_whole or given.scope.environment not in (None, scope.environment):
        made = f"for environment {file.environment}" if file.environment else "without an environment"
        of = "of a selection of its own" if not replace(scope, environment=None).is_whole else "of everything"
        raise UsageError(
            f"the plan file was made {made}, {of}",
            where=opened.path,
            fix="leave -e, --select, --exclude and --changed-since out: the file says them",
        )
    try:
        return inputs.load_for(
            given.target or file.target,
            list(file.paths),
            given.project or file.project,
            given.stack or file.stack,
            scope=scope,
            allow_commands=given.allow_commands,
            makes_key=True,
            config_path=given.config_path,
            since=file.since,
        )
    except UserError:
        if Path(opened.path).resolve().parent != Path.cwd():
            tell(
                "a plan file is applied from the folder where it was made: its manifests are looked for here"
            )
        raise


def moved_since(
    file: PlanFile, read: inputs.Input, snapshot: Snapshot, again: Again, redactor: Redactor
) -> tuple[Moved, ...]:
    """What is no longer as the file saw it."""
    from reconciler.engine.plan_file import compared_with, masked_snapshot
    from reconciler.report.json import plan_json

    ground = masked_snapshot(snapshot, file.salt)
    return compared_with(file, read.resources, ground, plan_json(again(ground)), redactor)


def _same_target(opened: Opened, read: inputs.Input, host: str) -> None:
    file = opened.file
    if (read.target, host) != (file.target, file.host):
        raise StaleError(
            f"the plan was made for {file.target} ({file.host}), and this is {read.target} ({host})",
            where=opened.path,
            why="what is right for one workspace may be wrong for another",
            fix="plan for this target, and review that",
        )
    if read.stack != file.stack:
        raise StaleError(
            f"the plan was made for stack {file.stack!r}, and this is {read.stack!r}", where=opened.path
        )


def apply_file(path: str, given: From, how: How, *, skip_stale: bool = False) -> int:
    """Carry out a plan file, if its ground is as it was. Gives the exit code."""
    from reconciler.cli.acting import act

    found = opened(path)
    file = found.file
    if found.problem:
        tell(f"target: {control(given.target or file.target)}")
        found.problem.where = path
        raise found.problem
    read = _input(found, given)
    if file.options.prune:
        check_prune(read)

    def again(snapshot: Snapshot) -> Plan:
        return read.plan(snapshot, replace(file.options, stack=read.stack))

    def planned(snapshot: Snapshot, client: Any) -> Judged:
        from reconciler.engine.plan_file import stale

        _same_target(found, read, getattr(client, "host", "") or "")
        moved = moved_since(file, read, snapshot, again, everything_known())
        if moved and not skip_stale:
            raise stale(file, moved, path)
        return _without(again(snapshot), moved, file)

    how = replace(how, approved_before=file.plan.get("policies", ()))
    return act(read, planned, how, deleting=bool(read.gone), prune=prune_of(read, file.options))


def _without(plan: Plan, moved: Sequence[Moved], file: PlanFile) -> Judged:
    """The plan without the steps whose ground moved; they are refused, each with its reasons."""
    from reconciler.cli.acting import Judged
    from reconciler.values import Action, Outcome, Step, StepStatus

    reasons: dict[Address, list[str]] = {}
    for one in moved:
        reasons.setdefault(one.address, []).append(str(one).partition(": ")[2])
    steps = {step.address: step for step in plan.steps}
    refused = [
        Outcome(
            steps.get(address) or Step(address, Action(file.steps[str(address)]["action"])),
            StepStatus.REFUSED,
            not_begun=steps[address].calls if address in steps else (),
            error="\n".join(why) + "\nnext: plan again, and review it",
        )
        for address, why in reasons.items()
        if str(address) in file.steps
    ]
    for address in reasons.keys() - {Address.parse(name) for name in file.steps}:
        tell(f"left out: {address}: {'; '.join(reasons[address])}")
    # A step that waits for another which is left out is left out with it: it would stand on nothing.
    out = set(reasons)
    while more := {s.address for s in plan.steps if s.address not in out and out & set(s.depends_on)}:
        refused += [
            Outcome(steps[a], StepStatus.REFUSED, not_begun=steps[a].calls, error="what it needs is left out")
            for a in more
        ]
        out |= more
    kept = tuple(step for step in plan.steps if step.address not in out)
    notes = plan.notes
    if left := [str(outcome.step.address) for outcome in refused]:
        notes = (*notes, f"left out, for they are not what was reviewed: {', '.join(left)}")
    return Judged(replace(plan, steps=kept, notes=notes), tuple(refused), {"plan_file": file.digest})


def rebase(
    path: str, given: From
) -> tuple[PlanFile, inputs.Input, Callable[[Snapshot, Again, str], tuple[Moved, ...]]]:
    """What a plan file was made of, and how to hold it against a new reading."""

    found = opened(path)
    if found.problem:
        tell(f"warning: {found.problem.what}")
    read = _input(found, given)

    def compare(snapshot: Snapshot, again: Again, host: str) -> tuple[Moved, ...]:
        _same_target(found, read, host)
        return moved_since(found.file, read, snapshot, again, everything_known())

    return found.file, read, compare


def since_text(file: PlanFile, moved: Sequence[Moved]) -> str:
    """What changed since the review, a line each, for people."""
    if not moved:
        return control(f"Nothing changed since the review of {file.made_at}.") + "\n"
    touched = {str(one.address) for one in moved}
    same = len([name for name in file.steps if name not in touched])
    lines = [control(f"Since the review of {file.made_at}:")]
    lines += [f"  {control(str(one))}" for one in moved]
    lines.append(f"  {same} {'step is' if same == 1 else 'steps are'} as reviewed.")
    return "\n".join(lines) + "\n"


# ---- show ------------------------------------------------------------------------------------------------


def show(
    file: Annotated[str, typer.Argument(help="A plan file.")],
    output: Output = ReportFormat.TEXT,
    report: ReportTo = None,
    verbose: opt.Verbose = False,
) -> int:
    """Show a plan file as it was made, stale or not. Asks no server, reads no manifest.

    A file that was changed after it was written is shown all the same, with a warning; it is not applied.
    """
    from reconciler.report.reread import plan_from_json

    reports = Reports.of(output, report, "plan", verbose=verbose)
    found = opened(file)
    made = found.file
    if found.problem:
        tell(f"warning: {found.problem.what}: it will not be applied\n{found.problem.why}")
    if output is ReportFormat.JSON:
        answer_report(dict(made.plan))
        if not report:
            return 0
    try:
        again = plan_from_json(made.plan)
    except UsageError as error:
        error.where = file
        raise
    signed = "signed" if "signature" in found.content else "not signed"
    where = f"{made.target} ({made.host})" if made.host else made.target
    if output is not ReportFormat.JSON:
        said = answer if output is ReportFormat.TEXT else tell
        said(control(f"Plan of {made.made_at} by {made.made_by} for {where}; {signed}.") + "\n")
    reports.plan(again, is_answered=output is ReportFormat.JSON)
    return 0
