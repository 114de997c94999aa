"""What a target of the fuzzing is, and what all of them end in: a plan that is shown, or an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from reconciler.errors import ReconcilerError
from reconciler.redact import Redactor
from reconciler.report.json import dumps, masked, plan_json
from reconciler.report.text import error_text, plan_text
from reconciler.values import Plan

__all__ = ["CANARY", "Target", "harmless", "shown", "told"]

_NOTHING = Redactor()
CANARY = "sk-canary-0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Target:
    """``inputs``: a strategy. ``check``: raises nothing for any input but what is a bug."""

    name: str
    inputs: Callable[[], st.SearchStrategy[Any]]
    check: Callable[[Any], None]


def shown(plan: Plan, known: Redactor = _NOTHING) -> None:
    """A plan is shown in every form; no sign that a terminal obeys gets out, and no secret.

    ``known``: what the command line masks besides.
    """
    for text in (
        known.text(plan_text(plan)),
        known.text(plan_text(plan, verbose=True, width=60, ascii_only=True)),
        dumps(masked(plan_json(plan), known)),
    ):
        harmless(text)


def harmless(text: str) -> None:
    assert CANARY not in text
    bad = [c for c in text if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028")]
    assert not bad, bad
    text.encode()


def told(error: ReconcilerError) -> None:
    harmless(error_text(error))
    assert "Traceback" not in str(error)
