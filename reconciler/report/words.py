"""What actions, endings and reasons are called in every report for people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.report.pen import count, duration
from reconciler.values import Action, Outcome, Reason, Step, StepStatus

__all__ = [
    "DESTROYS",
    "DID",
    "NOUNS",
    "REASONS",
    "SIGNS",
    "as_declared",
    "ending",
    "endings",
    "totals_line",
    "will",
]

SIGNS: Final = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "±",
    Action.DELETE: "-",
    Action.ADOPT: "=",
    Action.NO_OP: " ",
}
_WILL: Final = {
    Action.CREATE: "will be created",
    Action.UPDATE: "will be updated in place",
    Action.REPLACE: "must be replaced (delete, then create)",
    Action.DELETE: "will be deleted",
    Action.ADOPT: "will be adopted",
    Action.NO_OP: "is as declared",
}
DID: Final = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.REPLACE: "replaced",
    Action.DELETE: "deleted",
    Action.ADOPT: "adopted",
    Action.NO_OP: "left as it is",
}
NOUNS: Final = {
    Action.CREATE: "create",
    Action.UPDATE: "update",
    Action.REPLACE: "replacement",
    Action.DELETE: "delete",
    Action.ADOPT: "adoption",
    Action.NO_OP: "check",
}
REASONS: Final = {
    Reason.SERVER_CHOSEN: "server-chosen",
    Reason.BACKEND_DEFAULT: "backend default",
    Reason.WRITE_ONLY: "write-only",
    Reason.NOT_ECHOED: "not echoed",
    Reason.IGNORED: "ignored",
    Reason.UNMANAGED: "unmanaged",
    Reason.SERVER_OVERRIDES: "overridden by the server",
    Reason.KEPT: "kept",
    Reason.UNKNOWN: "unknown",
    Reason.COMPUTED: "computed",
}
DESTROYS: Final = (Action.DELETE, Action.REPLACE)


def will(step: Step) -> str:
    """What is planned for a resource, in words. A guardrail's new one is there before the old one goes."""
    if step.action is Action.REPLACE and step.calls and step.calls[0].creates:
        return "must be replaced (create, then delete)"
    if step.failure:
        return "is not as asserted"
    return _WILL[step.action]


def totals_line(steps: Sequence[Step], verbose: bool) -> str:
    """ "183 fields compared, 6 server-chosen, 2 write-only." """
    compared = sum(step.compared for step in steps)
    left_out = Counter(skipped.reason for step in steps for skipped in step.skipped)
    parts = [
        f"{left_out[reason]:,} {name}"
        for reason, name in REASONS.items()
        if left_out[reason] and (verbose or reason is not Reason.COMPUTED)
    ]
    if not (compared or parts):
        return ""
    return ", ".join([f"{count(compared, 'field')} compared", *parts]) + "."


def as_declared(steps: Sequence[Step]) -> str:
    """ "3 endpoints are as declared." Said apart: assertions that do not hold, and what need not be deleted,
    since it does not exist or is only asserted."""
    failed = [s for s in steps if s.failure]
    steps = [s for s in steps if not s.failure]
    # A reading leaves its trace: fields compared or left out. A step without one is about nothing.
    there = [s for s in steps if s.fingerprint or s.compared or s.skipped or not s.notice]
    alone = [s for s in steps if s not in there and s.notice != "nothing"]  # says why
    absent = len(steps) - len(there) - len(alone)
    sentences = []
    if there:
        verb = "is" if len(there) == 1 else "are"
        sentences.append(f"{count(len(there), _noun(there))} {verb} as declared.")
    if absent:
        verb = "does" if absent == 1 else "do"
        sentences.append(f"{count(absent, _noun(steps))} {verb} not exist: nothing to delete.")
    if alone:
        verb = "is" if len(alone) == 1 else "are"
        sentences.append(f"{count(len(alone), _noun(alone))} {verb} only asserted: nothing to delete.")
    if failed:
        verb = "is" if len(failed) == 1 else "are"
        sentences.append(f"{count(len(failed), _noun(failed))} {verb} not as asserted.")
    return " ".join(sentences)


_WORD_ENDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _noun(steps: Iterable[Step]) -> str:
    kinds = {_WORD_ENDS.sub(" ", step.address.kind).lower() for step in steps}
    return kinds.pop() if len(kinds) == 1 else "resource"


def ending(outcome: Outcome) -> tuple[str, str, str]:
    """Sign, colour and words for how a step ended."""
    did = DID[outcome.step.action]
    took = f" in {duration(outcome.seconds)}" if outcome.seconds else ""
    match outcome.status:
        case StepStatus.DONE:
            return "✓", "green", f"{did}{took}"
        case StepStatus.UNCHANGED:
            waited = f": the update that was running ended{took}" if took else ""
            return "✓", "green", f"is as declared{waited}"
        case StepStatus.NOT_WAITED if outcome.step.action is Action.NO_OP:
            return "…", "yellow", "is as declared, and still on its way: not awaited"
        case StepStatus.NOT_WAITED:
            return "…", "yellow", f"is being {did}: not awaited"
        case StepStatus.REFUSED:
            return "✗", "red", "refused" if outcome.results else "refused, nothing was sent"
        case StepStatus.NOT_BEGUN:
            return "–", "yellow", "stopped halfway" if outcome.results else "not begun"
        case StepStatus.FAILED:
            after = f" after {duration(outcome.seconds)}" if outcome.seconds else ""
            return "✗", "red", f"{NOUNS[outcome.step.action]} failed{after}"


def endings(outcomes: Sequence[Outcome]) -> list[str]:
    """How many steps ended how: "1 created", "2 failed"."""
    done = Counter(o.step.action for o in outcomes if o.status is StepStatus.DONE)
    ends = Counter(outcome.status for outcome in outcomes)
    halfway = sum(1 for o in outcomes if o.status is StepStatus.NOT_BEGUN and o.results)
    ends[StepStatus.NOT_BEGUN] -= halfway
    parts = [f"{done[action]} {DID[action]}" for action in Action if done[action]]
    for status, words in (
        (StepStatus.NOT_WAITED, "not awaited"),
        (StepStatus.FAILED, "failed"),
        (StepStatus.REFUSED, "refused"),
        (StepStatus.NOT_BEGUN, "not begun"),
    ):
        if ends[status]:
            parts.append(f"{ends[status]} {words}")
    if halfway:
        parts.append(f"{halfway} stopped halfway")
    return parts
