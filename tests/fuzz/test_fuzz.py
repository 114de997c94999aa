"""A few seconds of what ``make fuzz`` does for an hour, and everything that it ever broke."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.fuzz.__main__ import CASES, case, fuzz, kept
from tests.fuzz.targets import TARGETS

_SECONDS = float(os.environ.get("FUZZ_SECONDS", "2"))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_in_a_few_seconds(name: str) -> None:
    fuzz(TARGETS[name], 1, time.monotonic() + 60, inputs=1)  # what they are made from is made first
    tried, value, how = fuzz(TARGETS[name], 0, time.monotonic() + _SECONDS)
    assert not how, f"{kept(value)}\n{how}"
    assert tried, "not even one input"


@pytest.mark.parametrize("file", sorted(CASES.glob("*.json")), ids=lambda file: file.stem)
def test_what_once_broke_something_does_not(file: Path) -> None:
    TARGETS[file.stem.partition("-")[0]].check(case(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("value", [b"\xff\x00", {"a": [1, None, "\ud800"]}, "text"])
def test_an_input_is_kept_as_it_was(value: object) -> None:
    assert case(kept(value)) == value


def test_what_breaks_is_found_and_made_small() -> None:
    from dataclasses import replace

    def breaks(value: object) -> None:
        assert "config" not in str(value)

    tried, value, how = fuzz(replace(TARGETS["documents"], check=breaks), 0, time.monotonic() + 20)
    assert how
    assert tried >= 1
    assert "config" in str(value)
