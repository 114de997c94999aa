"""When to look again, and what was seen: polling as values, so that one loop can wait for many."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from typing import Protocol, TypeVar

__all__ = ["Clock", "Patience", "SystemClock"]

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
