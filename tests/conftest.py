"""The program sets up logging for its process; a test gives it back as it was. Locks are a test's own.

Random cases are the same in every run of the same tests, so that what CI says is about the change and can
be seen again. Where a number of cases is asked for (``make soak``), they are new ones each time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

_EXPLORES = bool(os.environ.get("PROPERTY_CASES") or os.environ.get("GATEWAY_CASES"))
settings.register_profile("same", derandomize=True)
if not _EXPLORES:
    settings.load_profile("same")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("reconciler")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture(autouse=True)
def state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lock files stand in a folder of the user's: not in that of whoever runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
