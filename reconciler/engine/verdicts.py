"""What policies and freezes come to for an apply: approvals, and the refusals that are left. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.errors import RefusedError
from reconciler.values import Plan, PolicyLevel, Violation

__all__ = ["approvals_json", "approved", "approved_before", "denied", "frozen", "unapproved", "waiting"]

_NAMED = 20


def waiting(plan: Plan) -> tuple[str, ...]:
    """The policies that ask for an approval and have none, each once."""
    return tuple(dict.fromkeys(violation.policy for violation in plan.violations if _waits(violation)))


def _waits(violation: Violation) -> bool:
    return violation.level is PolicyLevel.REQUIRE_APPROVAL and not violation.approved_by


def approved(plan: Plan, policies: Iterable[str], by: str, at: str) -> Plan:
    """The plan with these policies approved by somebody, at a time (RFC 3339)."""
    names = frozenset(policies)
    if not names:
        return plan
    return replace(
        plan,
        violations=tuple(
            replace(one, approved_by=by, approved_at=at) if _waits(one) and one.policy in names else one
            for one in plan.violations
        ),
    )


def approved_before(plan: Plan, recorded: Sequence[Mapping[str, Any]]) -> Plan:
    """The plan with the approvals of an earlier one, whose violations are in ``recorded`` as JSON.

    An approval is one of a policy as it stood, for the thing that it was about.
    """
    # Text of it all: what stands in a file may be anything.
    names = ("policy", "digest", "address", "path")
    known = {tuple(str(one.get(name)) for name in names): one for one in recorded if one.get("approved_by")}
    violations = []
    for violation in plan.violations:
        found = known.get((violation.policy, violation.digest, str(violation.address), violation.path))
        if found and _waits(violation):
            by, at = str(found.get("approved_by")), str(found.get("approved_at", ""))
            violation = replace(violation, approved_by=by, approved_at=at)
        violations.append(violation)
    return replace(plan, violations=tuple(violations))


def approvals_json(plan: Plan) -> list[dict[str, str]]:
    """The approvals of a plan, for the record of a run and its receipt."""
    return [
        {
            "policy": violation.policy,
            "address": str(violation.address) if violation.address else "",
            "message": violation.message,
            "by": violation.approved_by,
            "at": violation.approved_at,
        }
        for violation in plan.violations
        if violation.approved_by
    ]


def denied(plan: Plan) -> RefusedError | None:
    """Why policies forbid this plan; None when none does."""
    found = [violation for violation in plan.violations if violation.level is PolicyLevel.DENY]
    if not found:
        return None
    names = dict.fromkeys(violation.policy for violation in found)
    fixes = dict.fromkeys(violation.fix for violation in found if violation.fix)
    return RefusedError(
        _sentences(found),
        why=f"denied by the {'policy' if len(names) == 1 else 'policies'} {', '.join(names)}",
        fix="; ".join(fixes),
    )


def frozen(plan: Plan) -> RefusedError | None:
    """Why nothing may be written now; None when nothing frozen would be.

    All is refused, not what is frozen alone: half of a reviewed plan is another plan. --exclude asks for it.
    """
    found = [freeze for freeze in plan.freezes if freeze.stops]
    if not found:
        return None
    lines = []
    for freeze in found:
        where = f"{freeze.source}: " if freeze.source else ""
        named = ", ".join(map(str, freeze.stops[:_NAMED]))
        more = f" and {len(freeze.stops) - _NAMED} more" if len(freeze.stops) > _NAMED else ""
        lines.append(f"{where}{freeze.what} is frozen until {freeze.until}: {named}{more} would be written")
    fix = "wait, or take the freeze out in a commit of its own"
    around = dict.fromkeys(term for freeze in found for term in freeze.around)
    if around and all(freeze.around for freeze in found):
        fix += "; the rest goes with " + " ".join(f"--exclude '{term}'" for term in around)
    return RefusedError("\n".join(lines), why="; ".join(dict.fromkeys(one.reason for one in found)), fix=fix)


def unapproved(plan: Plan) -> RefusedError | None:
    """Which approvals this plan waits for; None when it waits for none, or changes nothing."""
    found = [violation for violation in plan.violations if _waits(violation) and not plan.is_empty]
    if not found:
        return None
    names = waiting(plan)
    return RefusedError(
        _sentences(found),
        why=f"{', '.join(names)} {'asks' if len(names) == 1 else 'ask'} for an approval",
        fix="look at the plan; if it is meant, " + " ".join(f"--approve {name}" for name in names),
    )


def _sentences(violations: Sequence[Violation]) -> str:
    lines = [
        f"{f'{violation.source}: ' if violation.source else ''}{violation.message} [{violation.policy}]"
        for violation in violations[:_NAMED]
    ]
    if more := len(violations) - _NAMED:
        lines += [f"and {more} more"] if more > 0 else []
    return "\n".join(lines)
