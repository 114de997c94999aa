"""``make fuzz``: every target in turn until the time is over; prints how many inputs were tried.

``python -m tests.fuzz --seconds 3600 [--seed N] [TARGET…]``. What broke something is kept in ``cases/``, a
file of its own that the tests run from then on, and the run ends with 1.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import logging
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.targets import TARGETS, Target

CASES = Path(__file__).parent / "cases"
_ROUND = 400  # inputs of one target before the next has its turn


def kept(value: Any) -> str:
    """An input as the text of a case."""
    if isinstance(value, bytes):
        return json.dumps({"$bytes": base64.b64encode(value).decode()})
    return json.dumps(value)


def case(text: str) -> Any:
    """The input of a case."""
    value = json.loads(text)
    if isinstance(value, dict) and set(value) == {"$bytes"}:
        return base64.b64decode(value["$bytes"])
    return value


def fuzz(target: Target, number: int, until: float, inputs: int = _ROUND) -> tuple[int, Any, str]:
    """Try so many inputs, or until that moment; how many, and the smallest that broke something with how."""
    tried = 0
    last: list[Any] = []

    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @seed(number)
    @given(target.inputs())
    def run(value: Any) -> None:
        nonlocal tried
        if time.monotonic() > until and not last:
            return
        tried += 1
        try:
            target.check(value)
        except BaseException:
            last[:] = [value]
            raise

    try:
        run()
    except Exception:
        return tried, last[0] if last else None, traceback.format_exc()
    return tried, None, ""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("targets", nargs="*", default=[])
    chosen = parser.parse_args()
    names = chosen.targets or list(TARGETS)
    start = random.SystemRandom().randrange(10**9) if chosen.seed is None else chosen.seed
    print(f"seed {start}", flush=True)
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    counts = dict.fromkeys(names, 0)
    broken: dict[str, str] = {}
    turn = 0
    while time.monotonic() < began + chosen.seconds:
        name = names[turn % len(names)]
        tried, value, how = fuzz(TARGETS[name], start + turn, began + chosen.seconds)
        counts[name] += tried
        turn += 1
        if how:
            text = kept(value)
            where = how.strip().splitlines()[-1][:300]
            key = hashlib.sha256(text.encode()).hexdigest()[:8]
            if where not in broken:
                broken[where] = f"{name}-{key}.json"
                (CASES / broken[where]).write_text(text + "\n", encoding="utf-8")
                print(f"BROKEN {name}: {broken[where]}\n{how}", flush=True)
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    seconds = time.monotonic() - began
    print(
        f"{sum(counts.values()):,} inputs in {seconds:.0f} s ({told}); {len(broken)} broke something",
        flush=True,
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
