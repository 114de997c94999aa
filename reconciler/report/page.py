"""What a report says, before it has a format: titles, changes, calls, traffic, the verdict. Pure.

Everything untrusted in a Page went through here: known secrets are taken out, marked fields are masked,
control and hidden characters are escaped. What is left to a format is its own markup.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import Final

from reconciler.redact import Redactor
from reconciler.report.changes import change_rows
from reconciler.report.pen import Pen, count
from reconciler.report.traffic import Share, Split, splits
from reconciler.report.words import DESTROYS, REASONS, SIGNS, as_declared, totals_line, will
from reconciler.values import Action, Call, Plan, PolicyLevel, Skipped, Source, Step

__all__ = ["Change", "Item", "Level", "Page", "Purpose", "page_of_plan"]


_ACTING: Final = tuple(action for action in Action if action is not Action.NO_OP)


class Purpose(enum.StrEnum):
    """Why a page is written. In a plan changes are news; in a drift check they are what is wrong."""

    PLAN = "plan"
    APPLY = "apply"
    DRIFT = "drift"
    CHECK = "check"


class Level(enum.IntEnum):
    """How much an item asks for attention; the higher, the more."""

    QUIET = 0
    NOTICE = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One change. ``text``: in words or values; ``path``: "" when the text begins with it; ``below``: lines
    of values under it. ``file``/``line``: where it is wanted, "" and 0 when nobody knows.
    """

    sign: str
    text: str
    path: str = ""
    below: tuple[str, ...] = ()
    file: str = ""
    line: int = 0
    cause: str = ""
    set_by: str = ""

    @property
    def sentence(self) -> str:
        """The change on one line, with its path."""
        text = " ".join(" ".join((self.text, *self.below)).split())
        return f"{text} ({self.path})" if self.path else text


@dataclass(frozen=True, slots=True)
class Item:
    """One resource (or, in a check, one problem).

    ``what``: a stable word for machines (an action, "refused", "failed", a rule's id). ``ending``: the rest
    of the title. ``fails``: it makes the check fail; ``skipped``: nothing was done to it. ``told``: labelled
    sentences (refused, note, callers, error, why, next). ``left_out``: field and reason of what was not
    compared. ``log``: the end of a server's log.
    """

    address: str
    kind: str
    what: str
    sign: str
    ending: str
    level: Level
    file: str = ""
    line: int = 0
    column: int = 0
    fails: bool = False
    skipped: bool = False
    changes: tuple[Change, ...] = ()
    told: tuple[tuple[str, str], ...] = ()
    requests: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    traffic: tuple[Split, ...] = ()
    log: tuple[str, ...] = ()
    url: str = ""
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """Address and ending."""
        return f"{self.address} {self.ending}".strip()

    @property
    def placed(self) -> tuple[Change, ...]:
        """The changes that are told at a line of their own: of what is new, its first line tells all."""
        if self.what == Action.CREATE:
            return ()
        return tuple(change for change in self.changes if change.file and change.line)

    @property
    def place(self) -> str:
        """``file:line``, "" when unknown."""
        return f"{self.file}:{self.line}" if self.file and self.line else self.file


@dataclass(frozen=True, slots=True)
class Page:
    """One report about one target. ``headline``: the result in a few words; ``quiet``: what is as declared;
    ``closing``: sentences after everything. ``unseen``: those of the notes that say what was not looked at.
    ``converged``: of an apply, None when it was not read again.
    """

    purpose: Purpose
    headline: str
    level: Level
    items: tuple[Item, ...]
    quiet: tuple[Item, ...] = ()
    target: str = ""
    stack: str = ""
    counts: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()
    converged: bool | None = None
    unseen: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What this is: "reconciler plan"."""
        return f"reconciler {self.purpose}"

    @property
    def about(self) -> str:
        """Of which stack, for which target: "shop → prod"."""
        return " → ".join(part for part in (self.stack, self.target) if part)


class Ink:
    """Makes text harmless: first what the step's own secrets say, then what the whole run knows."""

    pen = Pen()

    def __init__(self, redactor: Redactor, known: Redactor | None) -> None:
        self.redactor = redactor
        self._known = known

    def text(self, text: str, keep: str = "") -> str:
        """``text`` without known secrets and control characters."""
        text = self.redactor.text(text)
        return self.pen.clean(self._known.text(text) if self._known else text, keep)

    def finished(self, text: str) -> str:
        """A text that is escaped already, searched once more for what the run knows."""
        return self._known.text(text) if self._known else text


def page_of_plan(
    plan: Plan,
    *,
    purpose: Purpose = Purpose.PLAN,
    known: Redactor | None = None,
    is_refused: bool = False,
) -> Page:
    """The page of a plan, or of a drift check. ``known``: secrets of this run beyond those in the steps.

    ``is_refused``: of an apply that was refused: what waits for an approval, or is frozen, fails.
    """
    is_drift = purpose is Purpose.DRIFT
    from reconciler.report.policy_items import violation_items  # it is made of what stands here

    items = violation_items(plan, known, is_refused=is_refused)
    items += [planned_item(step, known, is_drift) for step in plan.steps]
    loud = [item for item in items if item.level is not Level.QUIET or item.told]
    quiet = [item for item in items if item.level is Level.QUIET and not item.told]
    still = [step for step in plan.steps if step.action is Action.NO_OP]
    everything = Ink(Redactor.of(*plan.steps), known)
    counts = [(action.value, plan.count(action)) for action in Action if plan.count(action)]
    closing = [as_declared(still)] if still else []
    if totals := totals_line(plan.steps, verbose=True):
        closing.append(totals)
    return Page(
        purpose,
        _headline(plan, is_drift),
        max((item.level for item in items), default=Level.QUIET),
        tuple(loud),
        tuple(quiet),
        everything.text(plan.target),
        everything.text(plan.stack),
        tuple(counts),
        tuple(everything.text(note, "\n") for note in plan.notes),
        tuple(closing),
    )


def _headline(plan: Plan, is_drift: bool) -> str:
    counts = Counter(step.action for step in plan.steps)
    refused = sum(1 for step in plan.steps if _is_refused(step))
    failed = sum(1 for step in plan.steps if step.failure)
    denied = sum(1 for one in plan.violations if one.level is PolicyLevel.DENY)
    asks = [one for one in plan.violations if one.level is PolicyLevel.REQUIRE_APPROVAL]
    waits = sum(1 for one in asks if not one.approved_by)
    parts = [f"{counts[action]} to {action.value}" for action in _ACTING if counts[action]]
    parts += [f"{refused} refused"] if refused else []
    parts += [count(failed, "failed assertion")] if failed else []
    parts += [f"{denied} denied by policy"] if denied else []
    parts += [f"{waits} to approve"] if waits else []
    if not parts:
        return "No drift" if is_drift else "No changes"
    if is_drift:
        fields = sum(len(step.changes) for step in plan.steps)
        return f"Drift: {', '.join(parts)} ({count(fields, 'field')} differ{'s' if fields == 1 else ''})"
    return f"{', '.join(parts)}; {count(plan.write_calls, 'write call')}"


def _is_refused(step: Step) -> bool:
    return bool(step.refusal) or (step.protected and step.action in DESTROYS)


def planned_item(step: Step, known: Redactor | None, is_drift: bool = False) -> Item:
    """A step that is still to be carried out."""
    ink = Ink(Redactor.of(step), known)
    refused = _is_refused(step)
    acts = step.action is not Action.NO_OP
    fails = refused or bool(step.failure) or (is_drift and acts)
    if refused or step.failure:
        level = Level.ERROR
    elif step.action in DESTROYS or (is_drift and acts):
        level = Level.WARNING
    else:
        level = Level.NOTICE if acts or step.changes or step.calls else Level.QUIET
    file, line, column = place_of(step.source, ink)
    return Item(
        address=ink.text(str(step.address)),
        kind=ink.text(step.address.kind),
        what="failed" if step.failure else "refused" if refused else step.action.value,
        sign=SIGNS[step.action].strip(),
        ending=_ending(step, refused, ink),
        level=level,
        file=file,
        line=line,
        column=column,
        fails=fails,
        changes=changes_of(step, ink),
        told=_told(step, ink),
        requests=tuple(request(call, ink) for call in step.calls),
        left_out=tuple(
            (
                ink.text(str(one.path)),
                ink.text(REASONS[one.reason] + (f": {one.detail}" if one.detail else "")),
            )
            for one in step.skipped
        ),
        traffic=traffic_of(step, ink),
    )


def _ending(step: Step, refused: bool, ink: Ink) -> str:
    if step.failure:
        return ink.text(step.failure)
    return will(step) + (": refused" if refused else "")


def _why(skipped: Skipped, ink: Ink) -> str:
    reason = REASONS[skipped.reason]
    return ink.text(f"{reason}: {skipped.detail}" if skipped.detail else reason)


def _told(step: Step, ink: Ink) -> tuple[tuple[str, str], ...]:
    told: list[tuple[str, str]] = []
    if step.protected and step.action in DESTROYS and not step.refusal:
        told.append(("refused", "lifecycle.prevent_destroy is set: it may be neither deleted nor replaced"))
    if step.refusal:
        told += parts_of(step.refusal, "refused", ink)
    told += [("note", ink.text(note, "\n")) for note in step.notes]
    if step.notice and step.action is not Action.NO_OP:
        told.append(("callers", ink.text(step.notice, "\n")))
    return tuple(told)


def parts_of(text: str, label: str, ink: Ink) -> list[tuple[str, str]]:
    """The parts of an error's text (what, then lines ``why: `` and ``next: ``) with their labels."""
    parts: list[tuple[str, str]] = []
    for line in ink.text(text, "\n").split("\n"):
        named, _, rest = line.partition(": ")
        if named in ("why", "next") and rest:
            parts.append((named, rest))
        elif parts:
            parts[-1] = (parts[-1][0], f"{parts[-1][1]}\n{line}")
        else:
            parts.append((label, line))
    return parts


def changes_of(step: Step, ink: Ink) -> tuple[Change, ...]:
    """The changes of a step with the place of each."""
    found = []
    for row, change in zip(change_rows(step, ink.redactor, ink.pen), step.changes, strict=True):
        file, line, _ = place_of(change.source or step.source, ink)
        found.append(
            Change(
                row.sign,
                ink.finished(row.text),
                ink.finished(row.path),
                tuple(ink.finished(one) for one in row.below),
                file,
                line,
                ink.text(change.cause),
                ink.text(change.set_by),
            )
        )
    return tuple(found)


def traffic_of(step: Step, ink: Ink) -> tuple[Split, ...]:
    """The splits that a step touches, their names made harmless."""
    return tuple(
        Split(split.path, tuple(Share(ink.text(s.name), s.before, s.after) for s in split.shares))
        for split in splits(step)
    )


def place_of(source: Source | None, ink: Ink) -> tuple[str, int, int]:
    """File, line and column, with "" and 0 where there is none."""
    return (ink.text(source.file), source.line, source.column) if source else ("", 0, 0)


def request(call: Call, ink: Ink) -> str:
    """``PUT /api/…``."""
    return ink.text(f"{call.method} {call.path}")
