"""A plan, or the outcome of an apply, as JSON for machines: ``schemas/plan.schema.json`` and ``outcome``.

Stable: fields are added, never renamed, while ``format_version`` begins with ``1.``. Nothing here holds a
secret, and a step's ``base`` (the live side it was judged by) is never shown.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from reconciler.redact import Redactor, shown, shown_body
from reconciler.values import (
    Action,
    Call,
    CallResult,
    FieldChange,
    Outcome,
    Plan,
    Reason,
    Source,
    Step,
    StepStatus,
)

__all__ = ["FORMAT_VERSION", "dumps", "masked", "outcome_json", "plan_json"]

FORMAT_VERSION: Final = "1.0"
_COUNTED: Final = (
    Action.CREATE,
    Action.UPDATE,
    Action.REPLACE,
    Action.DELETE,
    Action.ADOPT,
    Action.NO_OP,
)


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as ``schemas/plan.schema.json`` describes it."""
    skipped = [skipped.reason for step in plan.steps for skipped in step.skipped]
    everything = Redactor.of(*plan.steps)
    return {
        "format_version": FORMAT_VERSION,
        "target": plan.target,
        "stack": plan.stack,
        "summary": {action.value: plan.count(action) for action in _COUNTED},
        "steps": [_step(step) for step in plan.steps],
        "notes": [everything.text(note) for note in plan.notes],
        # Left out where no policy has anything to say.
        **({"policies": _violations(plan, everything)} if plan.violations else {}),
        **({"freezes": _freezes(plan, everything)} if plan.freezes else {}),
        "totals": {
            "compared": sum(step.compared for step in plan.steps),
            "skipped": {reason.value: skipped.count(reason) for reason in Reason if reason in skipped},
            "write_calls": plan.write_calls,
        },
    }


def outcome_json(
    plan: Plan,
    outcomes: Sequence[Outcome],
    *,
    converged: bool | None,
    remaining: Plan | None = None,
    unverified: str = "",
) -> dict[str, Any]:
    """What an apply did, as ``schemas/outcome.schema.json`` describes it.

    ``converged``: what the second reading showed, None when there was none (``unverified``: why).
    ``remaining``: the plan that it gave; its steps with nothing to do are left out.
    """
    statuses = [outcome.status for outcome in outcomes]
    left = None if remaining is None else [step for step in remaining.steps if step.changes or step.calls]
    return {
        "format_version": FORMAT_VERSION,
        "target": plan.target,
        "stack": plan.stack,
        "converged": converged,
        "unverified": Redactor.of(*plan.steps).text(unverified),
        "summary": {status.value: statuses.count(status) for status in StepStatus},
        "outcomes": [_outcome(outcome) for outcome in outcomes],
        "remaining": None if left is None else [_step(step) for step in left],
        "plan": plan_json(plan),
    }


_WORDS: Final = frozenset(
    ("action", "cause", "client_method", "digest", "fingerprint", "format_version", "kind", "level", "method")
) | {"mode", "outcome", "reason", "section", "status", "what", "why_full"}
_FREE: Final = frozenset(("before", "after", "body"))


def masked(document: Any, known: Redactor) -> Any:
    """A plan, an outcome or a check as JSON without what the run knows to be secret: a manifest may put
    ``${env:KEY}`` into a field that is compared, and is plain text therefore."""
    return known.document(document, _WORDS, _FREE)


def dumps(document: Any) -> str:
    """The text of a document: readable, and safe to print on a terminal as it is."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(_escape, text)


# Inside a JSON document these can only stand in strings, where an escape means the same.
_UNSAFE = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def _freezes(plan: Plan, redactor: Redactor) -> list[dict[str, Any]]:
    return [
        {
            "what": redactor.text(freeze.what),
            "until": freeze.until,
            "reason": redactor.text(freeze.reason),
            "source": _place(freeze.source),
            "stops": [str(address) for address in freeze.stops],
        }
        for freeze in plan.freezes
    ]


def _violations(plan: Plan, redactor: Redactor) -> list[dict[str, Any]]:
    """The violations as ``schemas/plan.schema.json`` describes them."""
    return [
        {
            "policy": violation.policy,
            "level": violation.level.value,
            "message": redactor.text(violation.message),
            "address": str(violation.address) if violation.address else None,
            "path": violation.path,
            "source": _place(violation.source),
            "next": redactor.text(violation.fix),
            "declared": _place(violation.declared),
            "digest": violation.digest,
            "approved_by": redactor.text(violation.approved_by),
            "approved_at": violation.approved_at,
            "broken": violation.is_broken,
        }
        for violation in plan.violations
    ]


def _step(step: Step) -> dict[str, Any]:
    redactor = Redactor.of(step)
    beyond: dict[str, Any] = {"undeclared": True} if step.is_undeclared else {}
    beyond |= {"failure": redactor.text(step.failure)} if step.failure else {}
    beyond |= {"moved_to": str(step.moved_to)} if step.moved_to is not None else {}
    return {
        "address": str(step.address),
        "action": step.action.value,
        "changes": [_change(change, step, redactor) for change in step.changes],
        "calls": [_call(call, step, redactor) for call in step.calls],
        "skipped": [
            {"path": str(one.path), "reason": one.reason.value, "detail": redactor.text(one.detail)}
            for one in step.skipped
        ],
        "compared": step.compared,
        "notice": redactor.text(step.notice),
        "notes": [redactor.text(note) for note in step.notes],
        "protected": step.protected,
        "refusal": redactor.text(step.refusal),
        "depends_on": [str(address) for address in step.depends_on],
        "source": _place(step.source),
        "fingerprint": step.fingerprint,
        **beyond,
    }


def _change(change: FieldChange, step: Step, redactor: Redactor) -> dict[str, Any]:
    before, after = shown(change, step.address.kind)
    asked = {"cause": change.cause, "set_by": redactor.text(change.set_by)} if change.cause else {}
    return {
        "path": str(change.path),
        "before": redactor.value(before),
        "after": redactor.value(after),
        "sensitive": change.sensitive,
        "words": redactor.text(change.words),
        "forces_replace": change.forces_replace,
        "why": redactor.text(change.why),
        "source": _place(change.source),
        **asked,
    }


def _call(call: Call, step: Step, redactor: Redactor) -> dict[str, Any]:
    shared = {"shared": True} if call.shared else {}
    return {
        "client_method": call.operation,
        "method": call.method,
        "path": call.path,
        "body": redactor.value(shown_body(call.body, step.address.kind, call.section)),
        **shared,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    step = outcome.step
    redactor = Redactor.of(step, *(result.call.body for result in outcome.results))
    return {
        "address": str(step.address),
        "action": step.action.value,
        "status": outcome.status.value,
        "seconds": _seconds(outcome.seconds),
        "error": redactor.text(outcome.error),
        "results": [_result(result, redactor) for result in outcome.results],
        "not_begun": [_call(call, step, redactor) for call in outcome.not_begun],
        "url": redactor.text(outcome.url),
        "log_tail": _texts(redactor, outcome.log_tail),
    }


def _result(result: CallResult, redactor: Redactor) -> dict[str, Any]:
    return {
        "client_method": result.call.operation,
        "method": result.call.method,
        "path": result.call.path,
        "outcome": redactor.text(result.outcome),
        "seconds": _seconds(result.seconds),
        "error": redactor.text(result.error),
    }


def _texts(redactor: Redactor, lines: Iterable[str]) -> list[str]:
    return [redactor.text(line) for line in lines]


def _seconds(seconds: float) -> float:
    return round(max(seconds, 0.0), 3) if math.isfinite(seconds) else 0.0


def _place(source: Source | None) -> str | None:
    return f"{source.file}:{source.line}" if source else None
