"""WritePacer: the budget, and when a request may be sent again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconciler.client.pacing import WritePacer, backoff, seconds_asked
from reconciler.errors import Stopped, UsageError
from tests.unit.client.wire import Clock


def pacer_of(clock: Clock, limit: int = 50, window: float = 300.0) -> WritePacer:
    return WritePacer(limit, window, now=clock.now, sleep=clock.sleep)


def test_the_budget_passes_at_once_and_the_next_one_waits(clock: Clock) -> None:
    pacer = pacer_of(clock)
    for _ in range(50):
        pacer.acquire()
    assert clock.waits == []
    assert pacer.remaining() == 0
    pacer.acquire()
    assert clock.waits == [300.0]


def test_the_window_slides(clock: Clock) -> None:
    pacer = pacer_of(clock, limit=2, window=10)
    moments = []
    for _ in range(6):
        moments.append(pacer.acquire() - 1000)
        clock.moment += 3
    assert moments == [0, 3, 10, 13, 20, 23]


@pytest.mark.parametrize("pause", [0.0, 0.1, 7.3, 33.3])
def test_no_window_ever_holds_more_than_the_budget(clock: Clock, pause: float) -> None:
    pacer = pacer_of(clock, limit=7, window=30)
    moments = []
    for _ in range(100):
        moments.append(pacer.acquire())
        clock.moment += pause
    for first, eighth in zip(moments, moments[7:], strict=False):
        assert eighth - first >= 30 - 1e-9


@pytest.mark.parametrize(
    ("n", "seconds"), [(0, 0), (1, 0), (50, 0), (51, 300), (100, 300), (101, 600), (1000, 5700)]
)
def test_eta_of_an_unused_budget(clock: Clock, n: int, seconds: float) -> None:
    assert pacer_of(clock).eta(n) == seconds


def test_eta_is_what_it_takes(clock: Clock) -> None:
    pacer = pacer_of(clock, limit=5, window=60)
    for _ in range(4):
        pacer.acquire()
        clock.moment += 9
    pacer.penalise(20)
    for n in (1, 2, 3, 9, 17):
        told, began = pacer.eta(n), clock.moment
        fresh = Clock()
        fresh.moment = clock.moment
        copy = pacer_of(fresh, limit=5, window=60)
        copy._turns, copy._closed_until = list(pacer._turns), pacer._closed_until
        for _ in range(n):
            copy.acquire()
        assert fresh.moment - began == pytest.approx(told)
    assert pacer.remaining() == 0  # asking took nothing, and the penalty still runs


def test_a_penalty_holds_everybody(clock: Clock) -> None:
    pacer = pacer_of(clock)
    pacer.penalise(30)
    pacer.penalise(5)  # a shorter one does not lift it
    assert pacer.remaining() == 0
    pacer.pause()
    assert clock.waits == [30.0]
    assert pacer.remaining() == 50
    pacer.pause()
    assert clock.waits == [30.0]


def test_what_was_not_used_is_given_back(clock: Clock) -> None:
    pacer = pacer_of(clock, limit=1)
    turn = pacer.acquire()
    pacer.give_back(turn)
    pacer.give_back(turn)
    assert pacer.remaining() == 1
    pacer.acquire()
    assert clock.waits == []


def test_a_stop_ends_a_wait_that_has_begun() -> None:
    stop = threading.Event()
    pacer = WritePacer(1, 3600, stop=stop)
    pacer.acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pacer.acquire)
        began = time.monotonic()
        stop.set()
        with pytest.raises(Stopped):
            waiting.result(timeout=10)
    assert time.monotonic() - began < 10


def test_after_a_stop_only_waits_are_refused(clock: Clock) -> None:
    stop = threading.Event()
    pacer = WritePacer(1, 300, now=clock.now, sleep=clock.sleep, stop=stop)
    stop.set()
    pacer.acquire()
    with pytest.raises(Stopped):
        pacer.acquire()
    pacer.penalise(5)
    with pytest.raises(Stopped):
        pacer.pause()
    assert clock.waits == []


def test_threads_share_one_budget() -> None:
    # 40 threads, room for 10 at a time: a real clock, a window short enough not to matter
    pacer = WritePacer(10, 0.05)
    with ThreadPoolExecutor(40) as pool:
        moments = sorted(pool.map(lambda _: pacer.acquire(), range(40)))
    for first, eleventh in zip(moments, moments[10:], strict=False):
        assert eleventh - first >= 0.05 - 1e-9


def test_who_asks_first_goes_first(clock: Clock) -> None:
    """Threads that sleep until their turns wake in any order; the turns are theirs from when they asked."""
    order: list[str] = []
    nested: list[WritePacer] = []

    def sleep(seconds: float) -> None:
        if len(order) == 0 and not nested:
            nested.append(pacer)
            order.append("first asks")
            later = pacer.acquire()  # another thread asks while the first one sleeps
            order.append(f"second at {later - 1000:g}")
        clock.sleep(seconds)

    pacer = WritePacer(1, 10, now=clock.now, sleep=sleep)
    pacer.acquire()
    first = pacer.acquire()
    assert first - 1000 == 10
    assert order == ["first asks", "second at 20"]


def test_a_penalty_that_comes_during_a_wait_counts(clock: Clock) -> None:
    def sleep(seconds: float) -> None:
        if clock.moment < 1005:
            pacer.penalise(30)
        clock.sleep(seconds)

    pacer = WritePacer(1, 10, now=clock.now, sleep=sleep)
    pacer.acquire()
    assert pacer.acquire() - 1000 == 30


def test_what_was_sent_before_is_recalled(clock: Clock) -> None:
    pacer = pacer_of(clock, limit=3)
    pacer.recall([299.0, 10.0, 300.0, 4000.0])
    assert pacer.remaining() == 1
    pacer.acquire()
    assert pacer.eta(1) == pytest.approx(1.0)
    pacer.acquire()
    assert clock.waits == [pytest.approx(1.0)]


def test_each_wait_is_told_as_it_begins(clock: Clock) -> None:
    told: list[float] = []
    pacer = WritePacer(1, 60, now=clock.now, sleep=clock.sleep, waiting=told.append)
    pacer.acquire()
    assert told == []
    pacer.acquire()
    assert told == [60.0]


@pytest.mark.parametrize(("limit", "window"), [(0, 300), (-1, 300), (50, 0), (50, -1)])
def test_a_budget_of_nothing_is_refused(limit: int, window: float) -> None:
    with pytest.raises(UsageError):
        WritePacer(limit, window)


def test_backoff_doubles_to_a_bound_and_is_spread() -> None:
    assert [backoff(n, 1.0) for n in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert [backoff(n, 0.0) for n in range(3)] == [0.25, 0.5, 1]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("-5", 0.0),
        ("12", 12.0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Thursday, 01-Jan-26 00:01:00 GMT", 60.0),
        ("Thu, 99 Jan 2026 00:01:00 GMT", None),
    ],
)
def test_both_forms_of_retry_after(header: str | None, seconds: float | None) -> None:
    assert seconds_asked(header, "Thu, 01 Jan 2026 00:00:00 GMT") == seconds
