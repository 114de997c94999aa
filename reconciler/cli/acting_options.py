"""Options of the commands that act: apply, destroy, rollback."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "AllowReplace",
    "AutoApprove",
    "BreakLock",
    "DestroyMaxDeletes",
    "JournalFolder",
    "MaxChanges",
    "MaxDeletes",
    "NoWait",
    "Parallelism",
    "Receipt",
    "WaitTimeout",
]

AutoApprove = Annotated[bool, typer.Option("--auto-approve", "-y", help="Act without asking.")]
Parallelism = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="Resources worked on at a time. Left out: 8, and 1 on a plugin's target, whose client may not "
        "be made for threads.",
        show_default=False,
    ),
]
WaitTimeout = Annotated[
    str,
    typer.Option(
        "--wait-timeout", metavar="DURATION", help="How long to wait for each endpoint: 45m, 90s, 1h."
    ),
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Do not wait until endpoints are live; proves nothing, then.")
]
MaxDeletes = Annotated[
    str | None,
    typer.Option(
        "--max-deletes",
        metavar="N|P%",
        help="Refuse a plan that deletes or replaces more: a number, or a share of what exists (which counts "
        "from 10 on). Left out: reconciler.yaml's, else 30%.",
        show_default=False,
    ),
]
DestroyMaxDeletes = Annotated[
    str | None,
    typer.Option(
        "--max-deletes",
        metavar="N|P%",
        help="Refuse a plan that deletes more: a number, or a share of what exists (which counts from 10 "
        "on). Left out: no limit.",
        show_default=False,
    ),
]
MaxChanges = Annotated[
    str | None,
    typer.Option(
        "--max-changes",
        metavar="N|P%",
        help="Refuse a plan that updates, replaces or deletes more. Left out: reconciler.yaml's, else 50%.",
        show_default=False,
    ),
]
AllowReplace = Annotated[
    bool, typer.Option("--allow-replace", help="Delete and create again what cannot be changed in place.")
]
JournalFolder = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FOLDER",
        help="Where each call is put on record. Left out: .reconciler/runs. none: nowhere, and no rollback.",
        show_default=False,
    ),
]
BreakLock = Annotated[
    bool, typer.Option("--break-lock", help="Take the lock of a run that hangs or was left behind.")
]
Receipt = Annotated[
    str | None,
    typer.Option(
        "--receipt", metavar="FILE", help="Write the proof: digests, every call, the empty second plan."
    ),
]
