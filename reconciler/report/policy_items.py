"""What policies and freezes say of a plan, as items of a page. Pure."""

from __future__ import annotations

from reconciler.redact import Redactor
from reconciler.report.page import Ink, Item, Level, place_of
from reconciler.report.policies import POLICY, SIGNS, said, stopped, worst_first
from reconciler.values import Freeze, Plan, PolicyLevel, Violation

__all__ = ["violation_items"]


def violation_items(plan: Plan, known: Redactor | None, *, is_refused: bool = False) -> list[Item]:
    """An item for each freeze and each violation. What denies fails a check; what stops an apply fails one
    that was refused (``is_refused``), and is a warning before."""
    ink = Ink(Redactor.of(*plan.steps), known)
    frozen = [_freeze_item(freeze, ink, is_refused) for freeze in plan.freezes]
    return frozen + [_item(violation, ink, is_refused) for violation in worst_first(plan.violations)]


def _without_subject(violation: Violation) -> str:
    """The message, behind an address that says already whom it is about."""
    subject = str(violation.address) if violation.address else ""
    rest = violation.message.removeprefix(subject)
    return (
        rest.lstrip(": ")
        if subject and rest != violation.message and rest[:1] in (" ", ":")
        else violation.message
    )


def _freeze_item(freeze: Freeze, ink: Ink, is_refused: bool) -> Item:
    fails = is_refused and bool(freeze.stops)
    file, line, column = place_of(freeze.source, ink)
    return Item(
        address=ink.text(freeze.what),
        kind="Freeze",
        what="freeze",
        sign="✗" if freeze.stops else "!",
        ending=ink.text(f"is frozen until {freeze.until}"),
        level=Level.ERROR if fails else Level.WARNING if freeze.stops else Level.NOTICE,
        file=file,
        line=line,
        column=column,
        fails=fails,
        told=(("why", ink.text(freeze.reason, "\n")), ("note", ink.text(stopped(freeze)))),
    )


def _item(violation: Violation, ink: Ink, is_refused: bool) -> Item:
    file, line, column = place_of(violation.source, ink)
    told = [("policy", ink.text(f"{violation.policy}: {said(violation)}"))]
    if violation.approved_at:
        told.append(("approved", ink.text(f"by {violation.approved_by} at {violation.approved_at}")))
    elif violation.fix:
        told.append(("next", ink.text(violation.fix, "\n")))
    asks = violation.level is PolicyLevel.REQUIRE_APPROVAL and not violation.approved_by
    if asks:
        told.append(("next", ink.text(f"--approve {violation.policy} allows it, once it was looked at")))
    if violation.declared:
        told.append(("declared", ink.text(f"{violation.declared.file}:{violation.declared.line}")))
    fails = violation.level is PolicyLevel.DENY or (is_refused and asks)
    level = Level.ERROR if fails else Level.NOTICE if violation.approved_by else Level.WARNING
    return Item(
        address=ink.text(str(violation.address)) if violation.address else "plan",
        kind=ink.text(violation.address.kind) if violation.address else "Plan",
        what=f"{POLICY}{violation.policy}",
        sign="✓" if violation.approved_by else SIGNS[violation.level],
        ending=ink.text(_without_subject(violation), "\n"),
        level=level,
        file=file,
        line=line,
        column=column,
        fails=fails,
        told=tuple(told),
    )
