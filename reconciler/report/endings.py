"""Pages of what ended: the outcome of an apply, an error, the problems of manifests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from reconciler.errors import ManifestError, Problem, ReconcilerError, RefusedError
from reconciler.redact import Redactor
from reconciler.report.page import (
    Ink,
    Item,
    Level,
    Page,
    Purpose,
    changes_of,
    parts_of,
    place_of,
    planned_item,
    request,
    traffic_of,
)
from reconciler.report.pen import count, duration
from reconciler.report.policy_items import violation_items
from reconciler.report.words import SIGNS, as_declared, ending, endings
from reconciler.values import Action, Outcome, Plan, StepStatus

__all__ = ["page_of_error", "page_of_outcome", "page_of_problems"]

_LEVELS: Final = {
    StepStatus.DONE: Level.NOTICE,
    StepStatus.UNCHANGED: Level.QUIET,
    StepStatus.NOT_WAITED: Level.NOTICE,
    StepStatus.FAILED: Level.ERROR,
    StepStatus.REFUSED: Level.ERROR,
    StepStatus.NOT_BEGUN: Level.WARNING,
}


def page_of_outcome(
    plan: Plan,
    outcomes: Sequence[Outcome],
    *,
    converged: bool | None,
    remaining: Plan | None = None,
    unverified: str = "",
    known: Redactor | None = None,
) -> Page:
    """The page of an apply. The arguments are those of :func:`reconciler.report.text.outcome_text`."""
    items = violation_items(plan, known)
    items += [_ended_item(outcome, known) for outcome in outcomes]
    left = [step for step in remaining.steps if step.changes] if remaining else []
    items += [_left_item(planned_item(step, known)) for step in left]
    everything = Ink(Redactor.of(*plan.steps, *(remaining.steps if remaining else ())), known)
    parts = endings(outcomes)
    why = everything.text(unverified)
    if converged:
        parts, proof = [*parts, "converged"], "Converged: read again, nothing left to do."
    elif converged is None:
        proof = f"Not read again: {why or 'whether it converged is not known.'}"
    else:
        fields = sum(len(step.changes) for step in left)
        parts.append("NOT converged")
        proof = f"NOT converged: {count(fields, 'field')} differ." if left else f"NOT converged: {why}"
        proof = proof if left or why else "NOT converged: not every step is done."
    unchanged = [outcome.step for outcome in outcomes if outcome.status is StepStatus.UNCHANGED]
    closing = [as_declared(unchanged)] if unchanged else []
    lowest = Level.ERROR if converged is False else Level.QUIET
    return Page(
        Purpose.APPLY,
        ", ".join(parts) or "Nothing to do",
        max([lowest, *(item.level for item in items)]),
        tuple(item for item in items if item.level is not Level.QUIET),
        tuple(item for item in items if item.level is Level.QUIET),
        everything.text(plan.target),
        everything.text(plan.stack),
        tuple(
            (status.value, number)
            for status in StepStatus
            if (number := sum(1 for outcome in outcomes if outcome.status is status))
        ),
        tuple(everything.text(note, "\n") for note in plan.notes),
        (*closing, proof),
        converged=converged,
    )


def _ended_item(outcome: Outcome, known: Redactor | None) -> Item:
    step = outcome.step
    ink = Ink(Redactor.of(step, *(result.call.body for result in outcome.results)), known)
    file, line, column = place_of(step.source, ink)
    sign, _, words = ending(outcome)
    done = outcome.status in (StepStatus.DONE, StepStatus.NOT_WAITED)
    told = parts_of(outcome.error, "error", ink) if outcome.error else []
    told += [("note", ink.text(note, "\n")) for note in step.notes]
    requests = [
        f"{request(result.call, ink)}  {ink.text(result.outcome)}"
        + (f", {duration(result.seconds)}" if result.seconds else "")
        for result in outcome.results
    ]
    requests += [f"{request(call, ink)}  not begun" for call in outcome.not_begun]
    gone = step.action is Action.DELETE
    level = _LEVELS[outcome.status]
    if outcome.error and level is Level.QUIET:
        level = Level.ERROR
    return Item(
        address=ink.text(str(step.address)),
        kind=ink.text(step.address.kind),
        what=step.action.value if done else outcome.status.value,
        sign=SIGNS[step.action].strip() if done else sign,
        ending=ink.text(words),
        level=level,
        file=file,
        line=line,
        column=column,
        fails=level is Level.ERROR,
        skipped=outcome.status is StepStatus.NOT_BEGUN,
        changes=changes_of(step, ink),
        told=tuple(told),
        requests=tuple(requests),
        traffic=traffic_of(step, ink),
        log=tuple(ink.text(line) for line in outcome.log_tail),
        url="" if gone else ink.text(outcome.url),
        seconds=outcome.seconds,
    )


def _left_item(item: Item) -> Item:
    """What the second plan still wants: it did not stick, or was not come to."""
    return Item(
        address=item.address,
        kind=item.kind,
        what="left",
        sign=item.sign,
        ending=f"still differs: {count(len(item.changes), 'field')}",
        level=Level.ERROR,
        file=item.file,
        line=item.line,
        column=item.column,
        fails=True,
        changes=item.changes,
    )


def page_of_problems(
    problems: Sequence[Problem],
    warnings: Sequence[Problem] = (),
    *,
    purpose: Purpose = Purpose.CHECK,
    valid: str = "Valid",
    known: Redactor | None = None,
) -> Page:
    """The page of a check of manifests. ``valid``: the headline when there is nothing to tell."""
    ink = Ink(Redactor(), known)
    told = sorted([(p, Level.ERROR) for p in problems] + [(p, Level.WARNING) for p in warnings])
    groups = ((problems, "problem"), (warnings, "warning"))
    counts = [count(len(group), noun) for group, noun in groups if group]
    files = len({problem.file for problem, _ in told})
    return Page(
        purpose,
        f"{' and '.join(counts)} in {count(files, 'file')}" if told else ink.text(valid),
        max((level for _, level in told), default=Level.QUIET),
        tuple(_problem_item(problem, level, ink) for problem, level in told),
    )


def _problem_item(problem: Problem, level: Level, ink: Ink) -> Item:
    what = ink.text(problem.what, "\n")
    path = ink.text(problem.path)
    return Item(
        address=ink.text(problem.where) or "manifests",
        kind="",
        what=ink.text(problem.rule) or "manifest",
        sign="✗" if level is Level.ERROR else "!",
        ending=f"{path}: {what}" if path else what,
        level=level,
        file=ink.text(problem.file),
        line=problem.line,
        column=problem.column,
        fails=level is Level.ERROR,
        told=(("fix", ink.text(problem.fix, "\n")),) if problem.fix else (),
    )


_PLACE: Final = re.compile(
    r"(?P<file>[^\s:]+\.(?:ya?ml|json)):(?P<line>[1-9]\d{0,6})(?::(?P<column>\d{1,6}))?"
)


def page_of_error(error: ReconcilerError, *, purpose: Purpose, known: Redactor | None = None) -> Page:
    """The page of a run that came to nothing, so that a report stands where one was asked for."""
    if isinstance(error, ManifestError):
        return page_of_problems(error.problems, error.warnings, purpose=purpose, known=known)
    ink = Ink(Redactor(), known)
    told = [
        (label, ink.text(part, "\n"))
        for label, part in (("where", error.where), ("why", error.why), ("next", error.fix))
        if part
    ]
    what = ink.text(error.what, "\n")
    place = _PLACE.match(error.where)
    item = Item(
        address="refused:" if isinstance(error, RefusedError) else "error:",
        kind="",
        what="refused" if isinstance(error, RefusedError) else "error",
        sign="✗",
        ending=what,
        level=Level.ERROR,
        file=ink.text(place["file"]) if place else "",
        line=int(place["line"]) if place else 0,
        column=int(place["column"] or 0) if place else 0,
        fails=True,
        told=tuple(told),
    )
    headline = "Refused" if isinstance(error, RefusedError) else "Failed"
    return Page(purpose, headline, Level.ERROR, (item,))
