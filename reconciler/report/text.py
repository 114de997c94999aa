"""A plan, the outcome of an apply, problems and errors as text for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from reconciler.errors import ManifestError, Problem, ReconcilerError
from reconciler.redact import Redactor, shown_body
from reconciler.report.changes import COLOURS, change_lines
from reconciler.report.pen import Pen, cells, count, duration
from reconciler.report.policies import closing_lines, violation_lines
from reconciler.report.words import (
    DESTROYS,
    REASONS,
    SIGNS,
    as_declared,
    ending,
    endings,
    totals_line,
    will,
)
from reconciler.values import (
    Action,
    Call,
    Outcome,
    Plan,
    Source,
    Step,
    StepStatus,
    requests_of,
)

__all__ = ["error_text", "outcome_text", "plan_text", "problems_text"]

_LABEL: Final = 9  # "callers: ", the widest label of a step


# ---- the plan -------------------------------------------------------------------------------------------


def plan_text(
    plan: Plan, *, colour: bool = False, width: int = 100, verbose: bool = False, ascii_only: bool = False
) -> str:
    """What an apply would do, one block for each step that does something, and what was left out of it.

    ``verbose`` adds the bodies of the calls, the names of what is as declared, and every field that was not
    compared. ``ascii_only``: for an output that cannot show "→".
    """
    pen = Pen(colour, width, ascii_only)
    paragraphs = [_step(step, pen, verbose) for step in plan.steps if not _is_quiet(step)]
    quiet = [step for step in plan.steps if _is_quiet(step)]
    if verbose and quiet:
        paragraphs += [_quiet_step(step, pen) for step in quiet]
    everything = Redactor.of(*plan.steps) if plan.notes or plan.violations or plan.freezes else Redactor()
    paragraphs += violation_lines(plan, everything, pen)
    if plan.notes:
        paragraphs.append(
            [line for note in plan.notes for line in pen.paragraph("note: ", everything.text(note), 0)]
        )
    paragraphs.append(_closing(plan, pen, verbose))
    return "\n\n".join("\n".join(lines) for lines in paragraphs) + "\n"


def _is_quiet(step: Step) -> bool:
    return step.action is Action.NO_OP and not (step.changes or step.calls or step.notes)


def _closing(plan: Plan, pen: Pen, verbose: bool) -> list[str]:
    unchanged = plan.count(Action.NO_OP)
    lines = []
    if unchanged == len(plan.steps) and plan.is_empty:
        # Notes tell what else there is: of a kept plan, what is left out of it.
        summary = "No changes. " + (as_declared(plan.steps) or ("" if plan.notes else "Nothing is declared."))
        lines += pen.paragraph("", summary, 0)
    else:
        quiet = [step for step in plan.steps if step.action is Action.NO_OP]
        if quiet:
            lines += pen.paragraph("", as_declared(quiet), 0)
        parts = [
            f"{plan.count(action)} to {action.value}"
            for action in (Action.CREATE, Action.UPDATE, Action.REPLACE, Action.DELETE)
        ]
        if adopted := plan.count(Action.ADOPT):
            parts.append(f"{adopted} to adopt")
        summary = f"Plan: {', '.join(parts)}, {unchanged} unchanged; {count(plan.write_calls, 'write call')}."
        lines.append(pen.paint("bold", summary))  # one line, however long: it is what people search for
    if told := [step for step in plan.steps if step.refusal]:
        line = f"{count(len(told), 'step')} {'is' if len(told) == 1 else 'are'} refused: see above."
        lines += [pen.paint("red", part) for part in pen.paragraph("", line, 0)]
    refused = [s for s in plan.steps if s.protected and s.action in DESTROYS and not s.refusal]
    if refused:
        verb = "is" if len(refused) == 1 else "are"
        line = f"{count(len(refused), 'step')} {verb} refused by lifecycle.prevent_destroy: see above."
        lines += [pen.paint("red", part) for part in pen.paragraph("", line, 0)]
    lines += closing_lines(plan, pen)
    if totals := totals_line(plan.steps, verbose):
        lines += [pen.paint("dim", line) for line in pen.paragraph("", totals, 0)]
    return lines


def _quiet_step(step: Step, pen: Pen) -> list[str]:
    lines = _title(SIGNS[step.action], f"{step.address} {will(step)}", step.source, pen)
    return lines + _left_out(step, Redactor(), pen)


def _step(step: Step, pen: Pen, verbose: bool) -> list[str]:
    redactor = Redactor.of(step)
    sign = "✗" if step.failure else SIGNS[step.action]
    lines = _title(sign, f"{step.address} {will(step)}", step.source, pen)
    if changes := change_lines(step, redactor, pen):
        lines += [*changes, ""]
    if step.protected and step.action in DESTROYS and not step.refusal:
        why = "lifecycle.prevent_destroy is set: it may be neither deleted nor replaced"
        lines += [pen.paint("red", line) for line in pen.paragraph("refused: ", why, hang=_LABEL)]
    for at, line in enumerate(step.refusal.splitlines()):
        label = "refused: " if not at else ""
        told = pen.paragraph(label, redactor.text(line), hang=_LABEL)
        lines += [pen.paint("red", part) for part in told] if not at else told
    for note in step.notes:
        lines += pen.paragraph("note:", redactor.text(note), hang=_LABEL)
    if step.notice and step.action is not Action.NO_OP:
        lines += pen.paragraph("callers:", redactor.text(step.notice), hang=_LABEL)
    for at, call in enumerate(step.calls):
        label = "" if at else "calls:" if len(step.calls) > 1 else "call:"
        lines.append("    " + label.ljust(_LABEL) + _request(call, pen))
        if verbose and call.body is not None:
            lines += _body(call, step, redactor, pen)
    if verbose:
        lines += _left_out(step, redactor, pen)
    while lines[-1] == "":
        lines.pop()
    return lines


def _title(sign: str, text: str, source: Source | None, pen: Pen) -> list[str]:
    sign_text, text = pen.signs(sign), pen.clean(text)
    place = pen.clean(f"{source.file}:{source.line}") if source else ""
    head = f"{pen.paint(COLOURS.get(sign, 'bold'), sign_text)} {pen.paint('bold', text)}"
    if not place:
        return [head]
    if cells(sign_text) + cells(text) + cells(place) + 3 <= pen.columns():
        return [f"{head}  {pen.paint('dim', place)}"]
    return [head, "    " + pen.paint("dim", place)]


def _request(call: Call, pen: Pen) -> str:
    return pen.clean(f"{call.method} {call.path}")


def _body(call: Call, step: Step, redactor: Redactor, pen: Pen) -> list[str]:
    body = redactor.value(shown_body(call.body, step.address.kind, call.section))
    text = json.dumps(body, indent=2, ensure_ascii=pen.ascii_only)
    return [" " * (4 + _LABEL) + pen.clean(line) for line in text.split("\n")]


def _left_out(step: Step, redactor: Redactor, pen: Pen) -> list[str]:
    """Every field that was not compared, with its reason; for the verbose text."""
    if not step.skipped:
        return []
    names = [pen.clean(str(one.path)) for one in step.skipped]
    column = min(max(map(cells, names)), pen.columns(6) // 2) + 2
    lines = ["    not compared:"]
    for name, one in zip(names, step.skipped, strict=True):
        why = REASONS[one.reason] + (f": {redactor.text(one.detail)}" if one.detail else "")
        fits = cells(name) + 2 <= column
        label = name + " " * (column - cells(name)) if fits else ""
        lines += [] if fits else ["      " + name]
        lines += pen.paragraph(label, why, 6, hang=column)
    return lines


# ---- the outcome ----------------------------------------------------------------------------------------


def outcome_text(
    plan: Plan,
    outcomes: Sequence[Outcome],
    converged: bool | None,
    remaining: Plan | None = None,
    *,
    unverified: str = "",
    colour: bool = False,
    width: int = 100,
    verbose: bool = False,
    ascii_only: bool = False,
) -> str:
    """What an apply did, step by step, and whether anything is left to do.

    ``converged``: what the second reading showed, None when there was none (``unverified``: why).
    ``remaining``: the plan that the second reading gave.
    """
    pen = Pen(colour, width, ascii_only)
    told = [o for o in outcomes if o.status is not StepStatus.UNCHANGED or o.error or o.seconds]
    paragraphs = [_outcome(outcome, pen, verbose) for outcome in told]
    paragraphs.append(_outcome_closing(plan, outcomes, pen))
    paragraphs.append(_proof(converged, remaining, unverified, outcomes, pen))
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines) + "\n"


def _outcome(outcome: Outcome, pen: Pen, verbose: bool) -> list[str]:
    step = outcome.step
    redactor = Redactor.of(step)
    sign, style, what = ending(outcome)
    text = pen.clean(f"{step.address} {what}")
    lines = [f"{pen.paint(style, pen.signs(sign))} {pen.paint('bold', text)}"]
    for result in outcome.results:
        line = f"    {_request(result.call, pen)}  "
        end = pen.clean(redactor.text(result.outcome))
        line += pen.paint("red", end) if end.startswith("failed") else end
        if result.seconds:
            line += f", {duration(result.seconds)}"
        lines.append(line)
        if result.error and result.error not in outcome.error:
            lines += pen.paragraph("", redactor.text(result.error), 8)
    if outcome.error:
        lines += _explained(outcome, redactor, pen)
    for at, call in enumerate(outcome.not_begun):
        lines.append("    " + ("" if at else "left:").ljust(_LABEL) + _request(call, pen))
        if verbose and call.body is not None:
            lines += _body(call, step, redactor, pen)
    if outcome.log_tail:
        lines.append("    log:")
        lines += ["      | " + pen.clean(redactor.text(line)) for line in outcome.log_tail]
    if outcome.url and step.action is not Action.DELETE:
        lines.append("    " + "url:".ljust(_LABEL) + pen.clean(redactor.text(outcome.url)))
    return lines


_PARTS: Final = {"why: ": "why:", "next: ": "next:"}


def _explained(outcome: Outcome, redactor: Redactor, pen: Pen) -> list[str]:
    """What failed, why, and what to do next, from the four parts of an error's text."""
    label = "error:" if outcome.status in (StepStatus.FAILED, StepStatus.REFUSED) else "because:"
    lines: list[str] = []
    advised = False
    for line in redactor.text(outcome.error).split("\n"):
        start = next((part for part in _PARTS if line.startswith(part)), "")
        advised = advised or start == "next: "
        label = _PARTS.get(start, label)
        part = pen.paragraph(label, line[len(start) :], hang=_LABEL)
        lines += [pen.paint("red", text) for text in part] if label == "error:" else part
        label = ""
    if not advised and outcome.status is StepStatus.FAILED:
        lines += pen.paragraph(
            "next:", "remove the cause and apply again; what is done is not done twice", hang=_LABEL
        )
    return lines


def _outcome_closing(plan: Plan, outcomes: Sequence[Outcome], pen: Pen) -> list[str]:
    unchanged = [outcome.step for outcome in outcomes if outcome.status is StepStatus.UNCHANGED]
    lines = pen.paragraph("", as_declared(unchanged), 0) if unchanged else []
    parts = endings(outcomes)
    planned = plan.write_calls
    made = requests_of(result.call for outcome in outcomes for result in outcome.results)
    if not parts:
        return lines
    calls = count(planned, "write call") if made == planned else f"{made} of {count(planned, 'write call')}"
    text = f"Apply: {', '.join(parts)}; {calls}."
    return [*lines, pen.paint("bold", text)]


def _proof(
    converged: bool | None,
    remaining: Plan | None,
    unverified: str,
    outcomes: Sequence[Outcome],
    pen: Pen,
) -> list[str]:
    if converged:
        return [pen.paint("green", "Converged: read again, nothing left to do.")]
    redactor = Redactor.of(*(outcome.step for outcome in outcomes), *(remaining.steps if remaining else ()))
    why = redactor.text(unverified)
    if converged is None:
        text = f"Not read again: {why}" if why else "Not read again: whether it converged is not known."
        return pen.paragraph("", text, 0)
    left = [step for step in remaining.steps if step.changes] if remaining else []
    fields = sum(len(step.changes) for step in left)
    finished = {o.step.address for o in outcomes if o.status in (StepStatus.DONE, StepStatus.UNCHANGED)}
    if not left:
        heading = f"NOT converged: {why or 'not every step is done.'}"
    elif finished & {step.address for step in left}:
        heading = f"NOT converged: {count(fields, 'field')} did not stick."
    else:
        heading = f"NOT converged: {count(fields, 'field')} still to change."
    lines = [pen.paint("red", line) for line in pen.paragraph("", heading, 0)]
    for step in left:
        lines.append("  " + pen.clean(str(step.address)))
        lines += change_lines(step, redactor, pen)
    return lines


# ---- problems and errors --------------------------------------------------------------------------------


def problems_text(
    problems: ManifestError | Sequence[Problem],
    warnings: Sequence[Problem] = (),
    *,
    colour: bool = False,
    width: int = 100,
    ascii_only: bool = False,
    redactor: Redactor | None = None,
) -> str:
    """Problems and warnings of the manifests, in the order of their places, and how many there are."""
    pen = Pen(colour, width, ascii_only)
    errors = problems.problems if isinstance(problems, ManifestError) else tuple(problems)
    told = sorted([(p, "error") for p in errors] + [(p, "warning") for p in warnings])
    lines: list[str] = []
    for problem, level in told:
        lines += _problem(problem, level, redactor or Redactor(), pen)
    files = len({problem.file for problem, _ in told})
    if told:
        groups = ((errors, "problem"), (warnings, "warning"))
        counts = [count(len(group), noun) for group, noun in groups if group]
        lines += ["", pen.paint("bold", f"{' and '.join(counts)} in {count(files, 'file')}.")]
    return "\n".join(lines) + ("\n" if lines else "")


def _problem(problem: Problem, level: str, redactor: Redactor, pen: Pen) -> list[str]:
    style = "red" if level == "error" else "yellow"
    path = f"{problem.path}: " if problem.path else ""
    rule = f" [{problem.rule}]" if problem.rule else ""
    head = pen.paint("bold", pen.clean(problem.where)) + ": " + pen.paint(style, level)
    lines = [head + pen.paint("dim", pen.clean(rule))]
    lines += pen.paragraph("", redactor.text(path + problem.what))
    if problem.fix:
        lines += pen.paragraph("fix: ", redactor.text(problem.fix))
    return lines


def error_text(
    error: ReconcilerError,
    *,
    colour: bool = False,
    width: int = 100,
    ascii_only: bool = False,
    redactor: Redactor | None = None,
) -> str:
    """An error in its four parts: what, where, why, what next."""
    if isinstance(error, ManifestError):
        return problems_text(error, colour=colour, width=width, ascii_only=ascii_only, redactor=redactor)
    pen = Pen(colour, width, ascii_only)
    redactor = redactor or Redactor()
    lines = [pen.paint("red", line) for line in pen.paragraph("error: ", redactor.text(error.what), 0)]
    for label, part in (("where: ", error.where), ("why: ", error.why), ("next: ", error.fix)):
        if part:
            lines += pen.paragraph(label, redactor.text(part), 0, hang=7)
    return "\n".join(lines) + "\n"
