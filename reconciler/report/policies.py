"""What policies and freezes say of a plan, for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reconciler.redact import Redactor
from reconciler.report.pen import Pen, count
from reconciler.values import Freeze, Plan, PolicyLevel, Violation

__all__ = ["POLICY", "SIGNS", "closing_lines", "said", "stopped", "violation_lines", "worst_first"]

POLICY: Final = "policy/"
"""How the word of an item begins that tells of a policy; the policy's id follows."""

SIGNS: Final = {PolicyLevel.DENY: "✗", PolicyLevel.REQUIRE_APPROVAL: "?", PolicyLevel.WARN: "!"}
"""How each level is marked."""
_STYLES: Final = {PolicyLevel.DENY: "red", PolicyLevel.REQUIRE_APPROVAL: "yellow", PolicyLevel.WARN: "yellow"}
_ORDER: Final = list(SIGNS)


def said(violation: Violation) -> str:
    """What comes of it, in a word or two."""
    if violation.approved_by:
        return f"approved by {violation.approved_by}"
    return {
        PolicyLevel.DENY: "denied",
        PolicyLevel.REQUIRE_APPROVAL: "needs approval",
        PolicyLevel.WARN: "warning",
    }[violation.level]


def worst_first(violations: Sequence[Violation]) -> list[Violation]:
    """What denies before what asks, and that before what warns."""
    return sorted(violations, key=lambda violation: _ORDER.index(violation.level))


def violation_lines(plan: Plan, redactor: Redactor, pen: Pen) -> list[list[str]]:
    """A paragraph for each freeze and each violation, the worst first."""
    paragraphs = [_freeze_lines(freeze, redactor, pen) for freeze in plan.freezes]
    for violation in worst_first(plan.violations):
        style = "green" if violation.approved_by else _STYLES[violation.level]
        sign = "✓" if violation.approved_by else SIGNS[violation.level]
        place = f"  {violation.source.file}:{violation.source.line}" if violation.source else ""
        head = pen.clean(f"policy {violation.policy}: {redactor.text(said(violation))}")
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
    return lines + pen.paragraph("", redactor.text(stopped(freeze)))


def stopped(freeze: Freeze) -> str:
    """What a freeze stops."""
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
