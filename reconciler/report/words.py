"""What actions, endings and reasons are called in every report for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.report.pen import count
from reconciler.values import Action, Reason, Step

__all__ = ["DESTROYS", "DID", "NOUNS", "REASONS", "SIGNS", "WILL", "as_declared", "totals_line"]

SIGNS: Final = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "±",
    Action.DELETE: "-",
    Action.ADOPT: "=",
    Action.NO_OP: " ",
}
WILL: Final = {
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
    """ "3 endpoints are as declared." What does not exist and need not be deleted is said apart."""
    # A reading leaves its trace: fields compared or left out. A step without one is about nothing.
    there = [s for s in steps if s.fingerprint or s.compared or s.skipped or not s.notice]
    absent = len(steps) - len(there)
    sentences = []
    if there:
        verb = "is" if len(there) == 1 else "are"
        sentences.append(f"{count(len(there), _noun(there))} {verb} as declared.")
    if absent:
        verb = "does" if absent == 1 else "do"
        sentences.append(f"{count(absent, _noun(steps))} {verb} not exist: nothing to delete.")
    return " ".join(sentences)


def _noun(steps: Iterable[Step]) -> str:
    kinds = {step.address.kind.lower() for step in steps}
    return kinds.pop() if len(kinds) == 1 else "resource"
