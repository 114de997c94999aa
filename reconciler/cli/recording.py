"""What a run leaves behind: its journal, and a receipt when one is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli import inputs
from reconciler.cli.output import everything_known, tell
from reconciler.errors import UsageError
from reconciler.values import Action

if TYPE_CHECKING:
    from reconciler.engine.apply import Applied
    from reconciler.engine.journal import Journal, RecordedCall
    from reconciler.values import Plan, Snapshot

__all__ = ["check_receipt", "home", "recording", "runs_folder", "write_receipt"]


def home(read: inputs.Input) -> Path:
    """The folder for what runs leave behind: ``.reconciler`` beside the project file, else here."""
    return (read.project.root if read.project else Path()) / ".reconciler"


def runs_folder(base: Path, option: str | None) -> Path | None:
    """Where runs are on record; None when they are not."""
    if option is None:
        return base / "runs"
    return None if option == "none" else Path(option)


@contextmanager
def recording(
    plan: Plan,
    read: inputs.Input,
    client: Any,
    snapshot: Snapshot,
    run: str,
    *,
    salt: str,
    command: str,
    folder: Path | None,
    facts: Mapping[str, Any],
) -> Iterator[Journal]:
    """The run's journal, begun; in memory only when there is nothing to call."""
    from reconciler import __version__
    from reconciler.engine.journal import Journal, now
    from reconciler.engine.lock import Holder
    from reconciler.engine.snapshot import snapshot_to_json, with_grants
    from reconciler.report.json import plan_json

    redactor = everything_known()
    if folder is None or plan.is_empty:
        yield Journal(None, {}, redactor)
        return
    acting = {step.address for step in plan.steps if step.calls}
    ended = [s.address for s in plan.steps if s.action in (Action.DELETE, Action.REPLACE)]
    snapshot = with_grants(client, snapshot, ended)
    before = replace(
        snapshot,
        resources={a: live for a, live in snapshot.resources.items() if a in acting},
        names=tuple(a for a in snapshot.names if a in acting),
    )
    told = plan_json(replace(plan, steps=tuple(s for s in plan.steps if s.calls)))
    for step in told["steps"]:
        step["fingerprint"] = ""  # a digest of what may be a secret; the snapshot below tells as much
    me = Holder.me(command, now())
    header = {
        "run": run,
        "at": me.since,
        "command": command,
        "target": read.target,
        "host": getattr(client, "host", "") or "",
        "stack": read.stack,
        "environment": read.environment,
        "version": __version__,
        "pid": me.pid,
        "machine": me.machine,
        "files": list(read.loaded.files),
        **facts,
        "plan": redactor.value(told),
        "before": redactor.value(snapshot_to_json(before, salt=salt)),
    }
    with Journal(folder / f"{run}.jsonl", header, redactor) as journal:
        yield journal


def check_receipt(path: Path) -> None:
    """Raises UsageError when no receipt can be written there: said before anything is done, not after."""
    why = ""
    if path.is_dir():
        why = "that is a folder"
    elif not path.parent.is_dir():
        why = "there is no such folder"
    elif not os.access(path if path.exists() and not path.is_file() else path.parent, os.W_OK):
        why = "the folder may not be written to"
    if why:
        raise UsageError(f"the receipt cannot be written: {why}", where=str(path))


def write_receipt(
    path: str,
    applied: Applied,
    read: inputs.Input,
    before: Snapshot,
    calls: Sequence[RecordedCall],
    facts: Mapping[str, Any],
) -> None:
    from reconciler import __version__
    from reconciler.cli.plan_files import KEY_VARIABLE, write_json
    from reconciler.engine.journal import now
    from reconciler.engine.ownership import stand_in
    from reconciler.engine.receipt import receipt_json
    from reconciler.report.json import plan_json

    proof = applied.remaining or (applied.plan if applied.plan.is_empty else None)
    second = plan_json(proof) if proof is not None else None
    for step in second["steps"] if second else ():
        step["fingerprint"] = ""
    named = {resource.address for resource in read.resources}
    beyond = [stand_in(s.address, read.stack) for s in applied.plan.steps if s.address not in named]
    content = receipt_json(
        applied,
        (*read.resources, *beyond),
        before,
        calls,
        second,
        facts={
            "made_by": f"reconciler {__version__}",
            "target": read.target,
            "stack": read.stack,
            "plan_file": "",
            "ended_at": now(),
            **facts,
        },
        redactor=everything_known(),
        key=os.environ.get(KEY_VARIABLE, ""),
    )
    write_json(Path(path), content, "receipt")
    tell(f"wrote {path}")
