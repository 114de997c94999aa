"""What policies and freezes say of a plan, for people and for pages. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reconciler.redact import Redactor
from reconciler.report.page import Ink, Item, Level, place_of
from reconciler.report.pen import Pen, count
from reconciler.values import Freeze, Plan, PolicyLevel, Violation

__all__ = ["POLICY", "closing_lines", "violation_items", "violation_lines"]

POLICY: Final = "policy/"
"""How the word of an item begins that tells of a policy; the policy's id follows."""

_SIGNS: Final = {PolicyLevel.DENY: "✗", PolicyLevel.REQUIRE_APPROVAL: "?", PolicyLevel.WARN: "!"}
_STYLES: Final = {PolicyLevel.DENY: "red", PolicyLevel.REQUIRE_APPROVAL: "yellow", PolicyLevel.WARN: "yellow"}
_ORDER: Final = list(_SIGNS)


def _said(violation: Violation) -> str:
    if violation.approved_by:
        return f"approved by {violation.approved_by}"
    return {
        PolicyLevel.DENY: "denied",
        PolicyLevel.REQUIRE_APPROVAL: "needs approval",
        PolicyLevel.WARN: "warning",
    }[violation.level]


def _sorted(violations: Sequence[Violation]) -> list[Violation]:
    return sorted(violations, key=lambda violation: _ORDER.index(violation.level))


def violation_lines(plan: Plan, redactor: Redactor, pen: Pen) -> list[list[str]]:
    """A paragraph for each freeze and each violation, the worst first."""
    paragraphs = [_freeze_lines(freeze, redactor, pen) for freeze in plan.freezes]
    for violation in _sorted(plan.violations):
        style = "green" if violation.approved_by else _STYLES[violation.level]
        sign = "✓" if violation.approved_by else _SIGNS[violation.level]
        place = f"  {violation.source.file}:{violation.source.line}" if violation.source else ""
        head = pen.clean(f"policy {violation.policy}: {redactor.text(_said(violation))}")
        title = f"{pen.paint(style, pen.signs(sign))} {pen.paint('bold', head)}"
        lines = [title + pen.paint("dim", pen.clean(place))]
        lines += pen.paragraph("", redactor.text(violation.message))
        if violation.fix and not violation.approved_by:
            lines += pen.paragraph("next: ", redactor.text(violation.fix))
        if violation.level is PolicyLevel.REQUIRE_APPROVAL and not violation.approved_by:
            lines += pen.paragraph("next: ", f"--approve {violation.policy} allows it, once it was looked at")
        paragraphs.append(lines)
    return paragraphs


def _freeze_lines(freeze: Freeze, redactor: Redactor, pen: Pen) -> list[str]:
    style, sign = ("red", "✗") if freeze.stops else ("yellow", "!")
    place = f"  {freeze.source.file}:{freeze.source.line}" if freeze.source else ""
    head = pen.clean(redactor.text(f"{freeze.what} is frozen until {freeze.until}"))
    title = f"{pen.paint(style, pen.signs(sign))} {pen.paint('bold', head)}"
    lines = [title + pen.paint("dim", pen.clean(place))]
    lines += pen.paragraph("why: ", redactor.text(freeze.reason))
    return lines + pen.paragraph("", redactor.text(_stopped(freeze)))


def _stopped(freeze: Freeze) -> str:
    if not freeze.stops:
        return "nothing of it would be written"
    return f"an apply is refused: {', '.join(map(str, freeze.stops))} would be written"


def closing_lines(plan: Plan, pen: Pen) -> list[str]:
    """What policies come to, for the end of a plan."""
    counts = {
        level: sum(1 for one in plan.violations if one.level is level and not one.approved_by)
        for level in _ORDER
    }
    lines = []
    if number := counts[PolicyLevel.DENY]:
        lines.append(pen.paint("red", f"Denied by policy: {count(number, 'finding')}, see above."))
    if number := counts[PolicyLevel.REQUIRE_APPROVAL]:
        verb = "needs" if number == 1 else "need"
        lines.append(pen.paint("yellow", f"{count(number, 'finding')} {verb} approval, see above."))
    return lines


def violation_items(plan: Plan, known: Redactor | None, *, is_refused: bool = False) -> list[Item]:
    """An item for each freeze and each violation. What denies fails a check; what stops an apply fails one
    that was refused (``is_refused``), and is a warning before."""
    ink = Ink(Redactor.of(*plan.steps), known)
    frozen = [_freeze_item(freeze, ink, is_refused) for freeze in plan.freezes]
    return frozen + [_item(violation, ink, is_refused) for violation in _sorted(plan.violations)]


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
        told=(("why", ink.text(freeze.reason, "\n")), ("note", ink.text(_stopped(freeze)))),
    )


def _item(violation: Violation, ink: Ink, is_refused: bool) -> Item:
    file, line, column = place_of(violation.source, ink)
    told = [("policy", ink.text(f"{violation.policy}: {_said(violation)}"))]
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
        sign="✓" if violation.approved_by else _SIGNS[violation.level],
        ending=ink.text(violation.message, "\n"),
        level=level,
        file=file,
        line=line,
        column=column,
        fails=fails,
        told=tuple(told),
    )
