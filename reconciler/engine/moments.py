"""Moments as texts (RFC 3339, UTC), and what lies between them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

__all__ = ["age", "is_after", "now", "of_stamp"]


def now() -> str:
    """This moment, with milliseconds: what is over must come before what it led to."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age(moment: str, now: str) -> float | None:
    """Seconds from ``moment`` to ``now``; None when that is not known, or ``moment`` is still to come."""
    try:
        seconds = (datetime.fromisoformat(now) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return None
    return seconds if seconds >= 0 else None


def is_after(one: str, other: str) -> bool:
    """``one`` is not earlier; a moment that cannot be read is not after anything."""
    return age(other, one) is not None


def of_stamp(stamp: Any) -> str:
    """Milliseconds since the epoch as a text of seconds; "" for anything else."""
    if not isinstance(stamp, int) or isinstance(stamp, bool):
        return ""
    try:
        moment = datetime.fromtimestamp(stamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
