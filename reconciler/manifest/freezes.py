"""Freezes of a project and an environment: until when, why, and what is frozen, as reconciler.yaml says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from reconciler.errors import ManifestError, Problem, UsageError
from reconciler.manifest.environments import Environment
from reconciler.manifest.positions import Parts
from reconciler.manifest.project import Project
from reconciler.manifest.scalars import shown
from reconciler.manifest.selection import Term, parse_term
from reconciler.values import Source

__all__ = ["DeclaredFreeze", "freezes_of"]

_RULE = "freeze"


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredFreeze:
    """One freeze. ``begins`` and ``ends``: seconds since 1970, the end not included; ``begins`` 0: it has
    begun.

    ``until``: the end as it is written, with its zone. ``select``: terms, empty for everything; ``terms``:
    the same, as they are asked. ``what``: all that is frozen, in words.
    """

    what: str
    begins: float
    ends: float
    until: str
    reason: str
    source: Source
    select: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()

    def is_on(self, now: float) -> bool:
        """Whether it holds at this moment."""
        return self.begins <= now < self.ends


def freezes_of(project: Project | None, environment: Environment | None) -> tuple[DeclaredFreeze, ...]:
    """The freezes of the project and of the environment, over or not. Raises ManifestError with all
    problems."""
    if project is None or project.document is None:
        return ()
    holders: list[tuple[Parts, str]] = [(("freeze",), f"the stack {project.stack}")]
    if environment is not None:
        path = ("environments", environment.name, "freeze")
        holders.append((path, f"the environment {environment.name}"))
    problems: list[Problem] = []
    found = []
    for holder, what in holders:
        value: Any = project.document.value
        for part in holder:
            value = (value or {}).get(part)
        several = isinstance(value, list)
        for at, entry in enumerate(value if several else [value] if value else []):
            freeze = _freeze(project, (*holder, at) if several else holder, entry, what, problems)
            found += [freeze] if freeze else []
    if problems:
        raise ManifestError(problems)
    return tuple(found)


def _freeze(
    project: Project, path: Parts, entry: Mapping[str, Any], what: str, problems: list[Problem]
) -> DeclaredFreeze | None:
    document = project.document
    assert document is not None
    count = len(problems)

    def read(name: str, how: Callable[[str], Any], text: str) -> Any:
        try:
            return how(text)
        except (ValueError, UsageError) as error:
            told = error.what if isinstance(error, UsageError) else str(error)
            problems.append(document.problem((*path, name), told, "", _RULE))
            return None

    zone = read("zone", _zone, entry.get("zone", "UTC"))
    terms = tuple(read("select", _term, text) for text in entry.get("select", ()))
    if zone is None:
        return None
    begins = read("from", lambda text: _moment(text, zone, 0), entry["from"]) if "from" in entry else 0.0
    ends = read("until", lambda text: _moment(text, zone, 1), entry["until"])
    if len(problems) > count:
        return None
    if begins >= ends:
        problems.append(document.problem((*path, "from"), "it ends before it begins", "", _RULE))
        return None
    select = tuple(entry.get("select", ()))
    aside = f" ({entry.get('zone', 'UTC')})" if _DATE.fullmatch(entry["until"]) else ""
    return DeclaredFreeze(
        f"{', '.join(select)} in {what}" if select else what,
        begins,
        ends,
        entry["until"] + aside,
        entry["reason"],
        document.positions.nearest(path) or project.source,
        select,
        terms,
    )


_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {shown(name)}; write it like Europe/Berlin") from error


def _term(text: str) -> Term:
    return parse_term(text, "select")


def _moment(text: str, zone: tzinfo, days: int) -> float:
    """The moment that a time says; of a date, its begin, so many days later."""
    try:
        read = datetime.fromisoformat(text)
        if _DATE.fullmatch(text):
            return (read + timedelta(days=days)).replace(tzinfo=zone).timestamp()
    except (ValueError, OverflowError) as error:
        fix = "write a date (2026-12-31) or a time with its zone (2026-12-31T18:00:00Z)"
        raise ValueError(f"{shown(text)} is no time; {fix}") from error
    if read.tzinfo is None:
        raise ValueError(
            f"{shown(text)} names no time zone; write {text}Z, or the offset, as in {text}+01:00"
        )
    return read.timestamp()
