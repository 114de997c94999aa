"""The write budget at the command line: how large it is, what of it is used up, and what that means."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.output import tell
from reconciler.errors import UsageError
from reconciler.values import Plan, ProgressEvent

if TYPE_CHECKING:
    from reconciler.client.pacing import WritePacer

__all__ = ["WriteLimit", "counted", "pacer_for", "recalled", "with_budget", "with_note"]

WriteLimit = Annotated[
    str | None,
    typer.Option(
        "--write-limit",
        metavar="CALLS/TIME",
        help="Create and update calls that the workspace takes, as 50/5m; none: as many as there are. Left "
        "out: reconciler.yaml's, else 50/5m on Databricks.",
        show_default=False,
    ),
]

_COUNTED = frozenset({"POST", "PUT", "PATCH"})
_TOLD_EVERY = 15.0  # seconds


def pacer_for(
    read: inputs.Input, option: str | None, stop: threading.Event | None = None
) -> WritePacer | None:
    """The pacer of a target's writes; None where nothing limits them. Raises UsageError.

    Only Databricks is known to have a limit; elsewhere one is kept when it is written down.
    """
    from reconciler.client.pacing import WINDOW, WRITES_PER_WINDOW, WritePacer
    from reconciler.targets import family

    where = family(read.target)
    if where not in ("databricks", "local"):
        return None
    written = option or read.limits.get("writes")
    if (written is None and where == "local") or written == "none":
        return None
    limit, window = _parsed(written) if written else (WRITES_PER_WINDOW, WINDOW)
    last = 0.0

    def waiting(seconds: float) -> None:
        nonlocal last
        moment = time.monotonic()
        if seconds >= 1 and (not last or moment - last >= _TOLD_EVERY):
            last = moment
            tell(f"the write budget of {limit} calls in {_time(window)} is used up: next in {_time(seconds)}")

    return WritePacer(limit, window, stop=stop, waiting=waiting)


def _parsed(text: str) -> tuple[int, float]:
    calls, slash, period = text.partition("/")
    if not slash or not calls.strip().isascii() or not calls.strip().isdigit():
        raise UsageError(f"--write-limit: {text!r} is not a budget", fix="write it like 50/5m")
    return int(calls), opt.parse_duration(period, "--write-limit")


def recalled(pacer: WritePacer | None, runs: Path | None, client: Any, plan: Plan) -> None:
    """Count what earlier runs of this machine sent to the same workspace, as far as it is on record.

    A plan that spends nothing of the budget has no use for it, and records are long.
    """
    host = getattr(client, "host", "") or ""
    if pacer is None or runs is None or not host or not counted(plan):
        return
    from reconciler.engine.recent import recent_writes

    pacer.recall(recent_writes(runs, host, pacer.window))


def counted(plan: Plan) -> int:
    """How many calls of a plan count against the budget."""
    return sum(1 for step in plan.steps for call in step.calls if call.method in _COUNTED)


def with_note(plan: Plan, pacer: WritePacer | None) -> Plan:
    """The plan, with a note when its calls do not all pass at once: how many, and how long at least."""
    if pacer is None or not (wait := pacer.eta(number := counted(plan))):
        return plan
    left = pacer.remaining()
    note = (
        f"{number} of its calls count against the workspace's budget of {pacer.limit} writes in "
        f"{_time(pacer.window)}, of which {left} {'is' if left == 1 else 'are'} left now: "
        f"the apply takes at least {_time(wait)}"
    )
    return replace(plan, notes=(*plan.notes, note))


def with_budget(
    progress: Callable[[ProgressEvent], None], pacer: WritePacer | None
) -> Callable[[ProgressEvent], None]:
    """Progress that says beside each counted call what is left of the budget."""
    if pacer is None:
        return progress

    def told(event: ProgressEvent) -> None:
        if event.phase == "calling" and event.detail.partition(" ")[0] in _COUNTED:
            detail = f"{event.detail}  ({pacer.remaining()} of {pacer.limit} writes left)"
            event = replace(event, detail=detail)
        progress(event)

    return told


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"
