"""Ratios of two commands, measured in turn in one run: what holds when the machine's speed does not."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How often longer A takes than B: the medians, and the median of the ratios pair by pair."""

    a: float
    b: float
    ratio: float
    memory_mb: float

    def line(self, name: str, bound: float) -> str:
        """One row of the report."""
        verdict = "ok" if self.ratio <= bound else "ABOVE THE BOUND"
        return (
            f"{name:<58} {self.a:>7.3f} s {self.b:>7.3f} s   {self.ratio:5.2f}× (at most {bound}×)  "
            f"{self.memory_mb:5.0f} MB  {verdict}"
        )


def timed(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Seconds of a whole process, and its peak memory in MB. Raises when it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise SystemExit(f"{command} exited with {process.returncode}: {errors.decode()}")
    return seconds, usage.ru_maxrss / 1024


def compare(
    a: Sequence[str], b: Sequence[str], *, runs: int, environment: Mapping[str, str] | None = None
) -> Ratio:
    """Run both in turn, once to warm up and ``runs`` times counted."""
    timed(a, environment)
    timed(b, environment)
    pairs = [(timed(a, environment), timed(b, environment)) for _ in range(runs)]
    return Ratio(
        statistics.median(x[0] for x, _ in pairs),
        statistics.median(y[0] for _, y in pairs),
        statistics.median(x[0] / y[0] for x, y in pairs),
        max(x[1] for x, _ in pairs),
    )


PYTHON = sys.executable
