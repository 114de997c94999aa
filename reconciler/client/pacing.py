"""When a request may be sent, and when it may be sent again.

The write budget: Databricks allows 50 create/update operations per 5 minutes a workspace (public limits
page of Model Serving, 2026). All threads that write to one workspace share one :class:`WritePacer`.

Repeats: a read may be repeated whatever happened to it. A write only when the server cannot have acted:
it said so (429, 503 with Retry-After) or was never reached. Queries stand between: repeating one is
harmless, but a query that ran into its timeout would only do so again (mlflow's clients decide alike:
429, 500, 502 and 503, not timeouts).
"""

from __future__ import annotations

import email.utils
import math
import threading
import time
from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reconciler.errors import Stopped, UsageError

__all__ = [
    "QUERIES",
    "READS",
    "WINDOW",
    "WRITES",
    "WRITES_PER_WINDOW",
    "Quiet",
    "Repeats",
    "WritePacer",
    "backoff",
    "seconds_asked",
]

WRITES_PER_WINDOW = 50
WINDOW = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Repeats:
    """How a kind of request is repeated after a failure.

    ``statuses``: after these answers. ``busy``: also after a 503 that carries Retry-After. ``lost``: when
    the connection broke before the answer was complete. ``timeouts``: when no answer came in time.
    ``connects``: at most so many repeats when the server could not be reached. ``limit``: at most so many
    in all. ``total``: seconds for all tries and waits together (time spent in the write budget's queue
    does not count).
    """

    statuses: frozenset[int]
    busy: bool
    lost: bool
    timeouts: bool
    connects: int
    limit: int
    total: float


READS = Repeats(frozenset({429, 500, 502, 503, 504}), True, True, True, connects=6, limit=6, total=120.0)
QUERIES = Repeats(frozenset({429, 500, 502, 503}), True, True, False, connects=6, limit=6, total=600.0)
# Twice the window of the write budget: after that long, a 429 has another cause than the budget.
WRITES = Repeats(frozenset({429}), True, False, False, connects=3, limit=6, total=600.0)


def backoff(repeat: int, chance: float) -> float:
    """Seconds to wait before repeat number ``repeat`` (from 0) when the server named no time.

    Doubles from 0.5 to 30 seconds; ``chance`` (0 to 1, random) spreads it between half and all of that.
    """
    return float(min(30.0, 0.5 * 2**repeat)) * (0.5 + 0.5 * chance)


def seconds_asked(retry_after: str | None, date: str | None = None) -> float | None:
    """What a Retry-After header asks for, in seconds from now; None when it is absent or unreadable.

    Both forms of RFC 9110 §10.2.3 are read: seconds, and a date. A date is measured against the answer's
    own ``Date`` header where there is one, so that a clock that is wrong here does no harm.
    """
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        until, now = _moment(retry_after), _moment(date or "")
        if until is None:
            return None
        seconds = until - (time.time() if now is None else now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _moment(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


class Quiet:
    """What a 429 to one read asks of all who read from the same server: nobody does until then.

    Shared by threads. ``now`` gives seconds from any fixed point.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until = float("-inf")

    def keep(self, seconds: float) -> None:
        """From now on for so long, or longer when that was asked for before."""
        self._until = max(self._until, self._now() + seconds)

    def left(self) -> float:
        """Seconds until it is over, 0.0 when it is."""
        left = self._until - self._now()
        return left if left > 0.001 else 0.0  # less is a rounding error


class WritePacer:
    """A sliding-window budget, safe to share between threads; who asks first gets the first turn.

    ``limit`` writes in any ``window`` seconds. ``now`` gives seconds from any fixed point and ``sleep``
    waits; both are replaced in tests. Setting ``stop`` ends every wait with :class:`Stopped`; a write
    that need not wait still gets its turn, for whether it should begin is the caller's question.
    ``waiting`` hears of each wait, in seconds, when it begins.
    """

    def __init__(
        self,
        limit: int = WRITES_PER_WINDOW,
        window: float = WINDOW,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        stop: threading.Event | None = None,
        waiting: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        if limit < 1 or window <= 0:
            raise UsageError(f"a write budget of {limit} in {window:g} seconds allows nothing")
        self.limit = limit
        self.window = window
        self.stop = stop
        self.waiting = waiting
        self._now = now
        self._sleep = sleep if sleep is not None else (stop.wait if stop is not None else time.sleep)
        self._lock = threading.Lock()
        self._turns: list[float] = []  # of the writes inside the window, and of those that wait; oldest first
        self._closed_until = float("-inf")  # a penalty: nothing passes before this moment

    def recall(self, ages: Iterable[float]) -> None:
        """Count writes that were made before this pacer was: so many seconds ago each."""
        with self._lock:
            moment = self._now()
            for age in ages:
                if 0 <= age < self.window:
                    insort(self._turns, moment - age)

    def acquire(self) -> float:
        """Wait for room, take it, and return the turn (a moment of ``now``), for :meth:`give_back`.

        Raises Stopped when ``stop`` is set while there is no room.
        """
        while True:
            with self._lock:
                moment = self._now()
                turn = self._next_turn(moment)
                # Taken before it has come: who asked first goes first, however long the others sleep.
                insort(self._turns, turn)
            if turn <= moment:
                return turn
            try:
                self._wait(turn - moment)
            except BaseException:
                self.give_back(turn)
                raise
            with self._lock:
                if self._closed_until <= turn:
                    return turn
                self._turns.remove(turn)  # a penalty came meanwhile: ask anew

    def pause(self) -> None:
        """Wait until a penalty is over, taking no room: for calls the server does not count (DELETE)."""
        while (wait := self._closed_until - self._now()) > 0:
            self._wait(wait)

    def give_back(self, turn: float) -> None:
        """Return the room of a write that the server never took up (refused with 429, or never reached)."""
        with self._lock:
            if turn in self._turns:
                self._turns.remove(turn)

    def penalise(self, seconds: float) -> None:
        """Let nothing through for ``seconds`` from now: what a 429 asks of everybody, not of one thread."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._now() + seconds)

    def remaining(self) -> int:
        """How many writes would pass right now without waiting; 0 while a penalty runs."""
        with self._lock:
            moment = self._now()
            self._forget(moment)
            return 0 if moment < self._closed_until else max(0, self.limit - len(self._turns))

    def eta(self, n: int) -> float:
        """The least number of seconds until ``n`` more writes have been let through (0.0: at once)."""
        with self._lock:
            moment = self._now()
            self._forget(moment)
            turns, closed_until = list(self._turns), self._closed_until
        turn = moment
        for _ in range(n):
            freed = turns[-self.limit] + self.window if len(turns) >= self.limit else moment
            turn = max(moment, closed_until, freed)
            turns.append(turn)
        return turn - moment

    def _next_turn(self, moment: float) -> float:
        self._forget(moment)
        freed = self._turns[-self.limit] + self.window if len(self._turns) >= self.limit else moment
        return max(moment, self._closed_until, freed)

    def _forget(self, moment: float) -> None:
        gone = 0
        while gone < len(self._turns) and self._turns[gone] + self.window <= moment:
            gone += 1
        del self._turns[:gone]

    def _wait(self, seconds: float) -> None:
        if self.stop is None or not self.stop.is_set():
            self.waiting(seconds)
            self._sleep(seconds)
        if self.stop is not None and self.stop.is_set():
            raise Stopped("stopped while waiting for room in the write budget", why="it was not sent")
