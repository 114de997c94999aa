"""When to look again, and what was seen: polling as values, so that one loop can wait for many."""

from __future__ import annotations

import queue
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

__all__ = ["Clock", "Patience", "SystemClock", "is_before"]

T = TypeVar("T")


class Clock(Protocol):
    """Time as the executor sees it; tests bring their own."""

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def take(self, events: queue.SimpleQueue[T], timeout: float | None) -> T | None:
        """The next event, None when none came within ``timeout`` seconds (None = however long it takes)."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Really wait."""
        time.sleep(seconds)

    def take(self, events: queue.SimpleQueue[T], timeout: float | None) -> T | None:
        """The queue's own wait."""
        try:
            return events.get(timeout=timeout)
        except queue.Empty:
            return None


@dataclass(slots=True)
class Patience:
    """How often to look and when to give up: quickly at first, then ever more rarely.

    ``first`` and ``longest`` seconds between two looks, ``limit`` seconds in all from ``since``.
    """

    since: float
    limit: float
    first: float = 0.25
    longest: float = 10.0
    factor: float = 1.5
    misses: int = 0
    _delay: float = 0.0

    def next_delay(self) -> float:
        """Seconds until the next look."""
        self._delay = min(self.longest, self._delay * self.factor if self._delay else self.first)
        return self._delay

    def is_over(self, now: float) -> bool:
        """The limit has passed."""
        return now - self.since >= self.limit


def is_before(read: Mapping[str, Any], seen: Mapping[str, Any], *, is_ours: bool) -> bool:
    """A failure that a read tells is that of an earlier update: the read lags behind what was ``seen``.

    ``is_ours``: a call of ours was taken up after that, so that what is as it was then does not know of it.
    Every update moves ``last_updated_timestamp`` (https://docs.databricks.com/api/workspace/servingendpoints/get);
    another endpoint of the same name, that was there before, has another id.
    """
    if seen.get("id") and read.get("id") and seen["id"] != read["id"]:
        return True
    then, now = seen.get("last_updated_timestamp"), read.get("last_updated_timestamp")
    if not (isinstance(then, int) and isinstance(now, int)):
        return is_ours and read.get("state") == seen.get("state") and _versions(read) == _versions(seen)
    return now < then or (is_ours and now == then and _versions(read) == _versions(seen))


def _versions(raw: Mapping[str, Any]) -> list[Any]:
    """What tells one rollout of an endpoint from another."""
    blocks = (raw.get("config") or {}, raw.get("pending_config") or {})
    return [block.get(name) for block in blocks for name in ("config_version", "start_time")]
