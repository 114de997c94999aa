"""Plans with what policies and freezes say of them, and how each step of one ended."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from reconciler.values.places import Address, Source
from reconciler.values.steps import Action, Call, Step, requests_of

__all__ = [
    "CallResult",
    "Freeze",
    "Outcome",
    "Plan",
    "PolicyLevel",
    "ProgressEvent",
    "StepStatus",
    "Violation",
]


class PolicyLevel(enum.StrEnum):
    """What comes of a policy that does not hold."""

    DENY = "deny"
    REQUIRE_APPROVAL = "require_approval"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Violation:
    """A policy that does not hold, once for each thing that it is about.

    ``policy``: its id. ``address``: None when it is about the whole plan. ``source``: the nearest known line
    that it is about; ``path``: the field below spec there, "" when none is meant. ``fix``: what to do next.
    ``declared``: where the policy stands. ``digest``: of the policy, so that an approval is one of this
    text. ``approved_by``, ``approved_at``: who allowed it, and when (RFC 3339); "" when nobody did.
    ``is_broken``: the rule came to nothing.
    """

    policy: str
    level: PolicyLevel
    message: str
    address: Address | None = None
    source: Source | None = None
    path: str = ""
    fix: str = ""
    declared: Source | None = None
    digest: str = ""
    approved_by: str = ""
    approved_at: str = ""
    is_broken: bool = False


@dataclass(frozen=True, slots=True)
class Freeze:
    """A freeze that is on. ``what``: all that is frozen, in words. ``until``: as it is declared. ``stops``:
    what the plan would write of it. ``around``: terms that leave it out, where something else is left to
    write.
    """

    what: str
    until: str
    reason: str
    source: Source | None = None
    stops: tuple[Address, ...] = ()
    around: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that an apply would do, for one target. ``notes`` concern the whole plan.

    ``violations``: what policies say of it. ``freezes``: what must not be changed now.
    """

    target: str
    steps: tuple[Step, ...]
    stack: str = ""
    notes: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    freezes: tuple[Freeze, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing would be called."""
        return not any(step.calls for step in self.steps)

    @property
    def write_calls(self) -> int:
        """How many requests would be made: what several steps share is one."""
        return requests_of(call for step in self.steps for call in step.calls)

    def count(self, action: Action) -> int:
        """How many steps have this action."""
        return sum(1 for step in self.steps if step.action is action)


class StepStatus(enum.StrEnum):
    """How a step of an apply ended."""

    DONE = "done"
    UNCHANGED = "unchanged"
    NOT_WAITED = "not_waited"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_BEGUN = "not_begun"


@dataclass(frozen=True, slots=True)
class CallResult:
    """One call that was made (or found to be done already). ``seconds``: its duration."""

    call: Call
    outcome: str
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one step ended, with the calls that were made and those that were not begun.

    An unchanged one that took ``seconds`` was waited for: an update was running.
    """

    step: Step
    status: StepStatus
    results: tuple[CallResult, ...] = ()
    not_begun: tuple[Call, ...] = ()
    error: str = ""
    log_tail: tuple[str, ...] = ()
    url: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """News of one step while an apply runs.

    ``phase``: "calling", "waiting", "done" or "failed". ``detail``: the call, the server's state or its
    message (untrusted text). ``elapsed``: seconds since the step began.
    """

    address: Address
    phase: str
    detail: str = ""
    elapsed: float = 0.0
