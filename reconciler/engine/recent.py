"""What the records of runs tell of the write budget that is used already."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from reconciler.engine.journal import read_run
from reconciler.errors import UsageError

__all__ = ["recent_writes"]

_WRITES = frozenset({"POST", "PUT", "PATCH"})


def recent_writes(
    folder: Path, host: str, window: float, *, clock: Callable[[], float] = time.time
) -> Sequence[float]:
    """How many seconds ago this machine sent create and update calls to ``host``, within ``window`` seconds.

    What the record cannot tell (another machine's calls, a deleted record) is not known: the server's 429
    says it then. A record that cannot be read says nothing.
    """
    ages: list[float] = []
    moment = clock()
    for path in folder.glob("*.jsonl"):
        try:
            if path.stat().st_mtime < moment - window:
                continue
            run = read_run(path)
        except (OSError, UsageError):
            continue
        if run.header.get("host") != host:
            continue
        for call in run.calls:
            try:
                age = moment - datetime.fromisoformat(call.at).timestamp()
            except ValueError:
                continue
            if call.method in _WRITES and 0 <= age < window:
                ages.append(age)
    return sorted(ages, reverse=True)
