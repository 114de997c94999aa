"""Between which moments something drifted: from the record of runs, earlier checks, the server's times."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from reconciler.engine.drift_cache import Sighting
from reconciler.engine.journal import RecordedRun, read_run, runs
from reconciler.engine.moments import is_after, of_stamp
from reconciler.errors import UsageError
from reconciler.values import Address, Live, Step
from reconciler.verdict import Since

__all__ = ["after_runs", "converged_runs", "since", "told_paths"]

_MOST_RUNS: Final = 100
"""Records that are read, the newest first: one may hold what 1,000 endpoints were before it."""


def converged_runs(
    folder: Path, addresses: Collection[Address], *, host: str, target: str, environment: str
) -> dict[Address, tuple[str, str]]:
    """Address → when the last run of this machine left it as declared, and that run.

    Of an address whose last run did something else (failed, deleted it, undid a run) nothing is known.
    """
    left = set(addresses)
    found: dict[Address, tuple[str, str]] = {}
    for run in _newest(folder):
        if not left:
            break
        header = run.header
        if (header.get("host"), header.get("target"), header.get("environment", "")) != (
            host,
            target,
            environment,
        ):
            continue
        touched = left & {call.address for call in run.calls}
        for address in touched:
            done = run.steps.get(address, ("", ""))[0] == "done"
            if run.ending == "converged" and done and header.get("command") == "apply" and run.end:
                found[address] = (str(run.end.get("at", "")), run.run)
        left -= touched
    return found


def _newest(folder: Path) -> Iterator[RecordedRun]:
    for name in runs(folder)[: -_MOST_RUNS - 1 : -1]:
        try:
            yield read_run(folder / f"{name}.jsonl")
        except (OSError, UsageError):
            continue


def told_paths(step: Step) -> tuple[str, ...]:
    """What of a resource is drifted, as sightings remember it: paths, or "" for all of it."""
    paths = tuple(str(change.path) for change in step.changes)
    return paths if step.base is not None and paths else ("",)


def after_runs(
    seen: Mapping[Address, Sighting], left_by: Mapping[Address, tuple[str, str]]
) -> dict[Address, Sighting]:
    """The sightings without those that a later run has ended."""
    result = dict(seen)
    for address, (at, _) in left_by.items():
        if before := seen.get(address):
            fields = {path: first for path, first in before.fields.items() if is_after(first, at)}
            result[address] = replace(before, fields=fields)
    return result


def since(
    step: Step, before: Sighting, after: Sighting, left_by: tuple[str, str] | None, live: Live | None
) -> Since:
    """What is known of when a resource drifted. ``before``/``after``: its sighting without and with this
    check. ``left_by``: the run that left it as declared."""
    clean_at, clean_by = before.clean_at, "a check" if before.clean_at else ""
    if left_by and (not clean_at or is_after(left_by[0], clean_at)):
        clean_at, clean_by = left_by[0], f"run {left_by[1]}"
    raw: Mapping[str, Any] = live.raw if live is not None else {}
    is_new = bool(before.id and raw.get("id") and before.id != raw.get("id"))
    return Since(
        clean_at=clean_at,
        clean_by=clean_by,
        seen_at=min((after.fields[p] for p in told_paths(step) if p in after.fields), default=""),
        fields={path: after.fields[path] for path in told_paths(step) if path in after.fields},
        updated_at=of_stamp(raw.get("last_updated_timestamp")),
        created_at=of_stamp(raw.get("creation_timestamp")) if is_new else "",
    )
