"""``reconciler history``: the runs on record, and one of them call by call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json

if TYPE_CHECKING:
    from reconciler.engine.journal import RecordedRun

__all__ = ["app", "folder_of"]

app = typer.Typer(
    help="The runs on record, newest first.", rich_markup_mode=None, invoke_without_command=True
)

Folder = Annotated[
    str | None,
    typer.Option("--journal", metavar="FOLDER", help="Where the runs are. Left out: .reconciler/runs."),
]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many runs.")]


def folder_of(option: str | None, project: str | None) -> Path:
    """The folder of the runs: the option, else ``.reconciler/runs`` beside the project file."""
    if option is not None:
        return Path(option)
    found = inputs.project_of(project)
    return (found.root if found else Path()) / ".reconciler" / "runs"


@app.callback()
def history(
    context: typer.Context,
    project: opt.ProjectFile = None,
    journal: Folder = None,
    limit: Limit = 20,
    output: opt.Output = opt.Format.TEXT,
) -> int:
    """List the runs that were put on record, newest first, with how each ended.

    A run that is "cut short" was killed: calls without an outcome were made or not, and the next apply found
    out by reading. The record is no state: deleting it loses the record and the means of a rollback.
    """
    if context.invoked_subcommand is not None:
        return 0
    from reconciler.engine.journal import read_run, runs
    from reconciler.errors import UsageError
    from reconciler.redact import control

    folder = folder_of(journal, project)
    found: list[RecordedRun] = []
    broken: list[str] = []
    for run in reversed(runs(folder)):
        if len(found) == limit:
            break
        try:
            found.append(read_run(folder / f"{run}.jsonl"))
        except UsageError as error:
            broken.append(f"not readable: {error}")
    if output is opt.Format.JSON:
        answer_json([_summary(run) for run in found])
        return 0
    if not found and not broken:
        answer(f"no run is on record in {control(str(folder))}")
        return 0
    rows = [("RUN", "COMMAND", "TARGET", "STACK", "CALLS", "ENDED")]
    for one in found:
        facts = _summary(one)
        rows.append(
            (
                one.run,
                str(facts["command"]),
                str(facts["target"]),
                str(facts["stack"]) or "-",
                _calls(one),
                one.ending,
            )
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    answer("\n".join(control(line) for line in [*lines, *broken]))
    return 0


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Name of the run, or how it begins.")],
    project: opt.ProjectFile = None,
    journal: Folder = None,
    output: opt.Output = opt.Format.TEXT,
) -> int:
    """Show one run: what was planned, and every call with its time, outcome and error."""
    from reconciler.engine.journal import find_run, read_run
    from reconciler.redact import control

    folder = folder_of(journal, project)
    found = read_run(folder / f"{find_run(folder, run)}.jsonl")
    if output is opt.Format.JSON:
        answer_json(
            {
                **_summary(found),
                "calls": [
                    {
                        "call": call.number,
                        "address": str(call.address),
                        "client_method": call.client_method,
                        "method": call.method,
                        "path": call.path,
                        "body": call.body,
                        "at": call.at,
                        "ended": call.ended,
                        "outcome": call.outcome or "in doubt",
                        "error": call.error,
                        "seconds": call.seconds,
                    }
                    for call in found.calls
                ],
                "steps": {str(address): list(ended) for address, ended in found.steps.items()},
            }
        )
        return 0
    answer("\n".join(control(line) for line in _told(found)))
    return 0


def _summary(run: RecordedRun) -> dict[str, Any]:
    header = run.header
    return {
        "run": run.run,
        "at": header.get("at", ""),
        "command": header.get("command", ""),
        "target": header.get("target", ""),
        "host": header.get("host", ""),
        "stack": header.get("stack", ""),
        "approvals": header.get("approvals", []),
        "calls": len(run.calls),
        "in_doubt": sum(1 for call in run.calls if call.is_in_doubt),
        "ended": run.ending,
        "is_torn": run.is_torn,
    }


def _calls(run: RecordedRun) -> str:
    doubtful = sum(1 for call in run.calls if call.is_in_doubt)
    return f"{len(run.calls)} ({doubtful} in doubt)" if doubtful else str(len(run.calls))


def _told(run: RecordedRun) -> list[str]:
    header = run.header
    where = (
        f"{header.get('target', '')} ({header.get('host')})"
        if header.get("host")
        else header.get("target", "?")
    )
    lines = [
        f"{run.run}  {header.get('command', '')} on {where}, {run.ending}",
        f"    by process {header.get('pid', '?')} on {header.get('machine', '?')}, "
        f"reconciler {header.get('version', '?')}, at {header.get('at', '?')}",
    ]
    approvals = header.get("approvals")
    for one in approvals if isinstance(approvals, list) else ():
        if isinstance(one, dict):
            subject = one.get("address") or "the plan"
            lines.append(f"    {one.get('by', '?')} approved {one.get('policy', '?')} for {subject}")
    for call in run.calls:
        doubt = "its answer was lost" if call.ended else "no outcome on record"
        end = f"{call.outcome}, {call.seconds:.1f} s" if call.outcome else f"in doubt: {doubt}"
        lines.append(f"    {call.at}  {call.address}  {call.method} {call.path}  {end}")
        lines += [f"        {line}" for line in call.error.splitlines()]
    if not run.calls:
        lines.append("    no call was begun")
    for address, (status, error) in run.steps.items():
        if error:
            lines.append(f"    {address} {status}: {error.splitlines()[0]}")
    if run.end is None:
        lines.append("    it was cut short: the next run reads everything anew and goes on from there")
    elif run.end.get("unverified"):
        lines.append(f"    {run.end['unverified']}")
    if run.is_torn:
        lines.append("    a line of the record is cut; all others are shown")
    return lines
