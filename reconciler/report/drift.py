"""What a check of drift found: as text for people, as JSON, and as a page for the other formats. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from reconciler.redact import Redactor
from reconciler.report.changes import COLOURS, change_lines
from reconciler.report.json import FORMAT_VERSION, plan_json
from reconciler.report.page import Ink, Item, Level, Page, Purpose, page_of_plan
from reconciler.report.pen import Pen, count
from reconciler.report.words import SIGNS, as_declared, totals_line
from reconciler.values import Address
from reconciler.verdict import KINDS, Aside, Drift, Drifted, Since, Unseen, kind_of_drift

__all__ = ["drift_json", "drift_text", "headline", "page_of_drift"]

_IS: Final = {
    "create": "does not exist",
    "update": "differs",
    "replace": "differs in what cannot be changed in place",
    "delete": "exists, and should not",
    "adopt": "is not owned by this stack",
    "assertion": "is not as asserted",
}
_LABEL: Final = 9
_NAMED: Final = 3
_MOVES: Final = "tells of configuration and telemetry"


def headline(drift: Drift) -> str:
    """The verdict in a line: "Drift: 1 differs, 1 does not exist"."""
    counts = Counter(one.kind for one in drift.drifted)
    parts = [f"{counts[kind]} {_SHORT[kind]}" for kind in KINDS if counts[kind]]
    if not parts:
        return "No drift"
    uncounted = sum(1 for one in drift.drifted if not one.counts)
    tail = f"; {uncounted} of them not counted by --fail-on" if uncounted else ""
    return f"Drift: {', '.join(parts)}{tail}"


_SHORT: Final = {
    "create": "missing",
    "update": "changed",
    "replace": "changed beyond repair in place",
    "delete": "not declared",
    "adopt": "not owned",
    "assertion": "not as asserted",
}


# ---- text -----------------------------------------------------------------------------------------------


def drift_text(
    drift: Drift, *, colour: bool = False, width: int = 100, verbose: bool = False, ascii_only: bool = False
) -> str:
    """What drifted, a block for each resource, and what was left out of the verdict. Values stand as in a
    plan: live → declared. ``verbose``: each field's own moment, and what was not compared."""
    pen = Pen(colour, width, ascii_only)
    paragraphs = [_block(one, pen, verbose) for one in drift.drifted]
    notes = [*drift.plan.notes, *_step_notes(drift)]
    if notes:
        everything = Redactor.of(*drift.plan.steps)
        lines = [line for note in notes for line in pen.paragraph("note: ", everything.text(note), 0)]
        paragraphs.append(lines)
    paragraphs.append(_closing(drift, pen, verbose))
    return "\n\n".join("\n".join(lines) for lines in paragraphs) + "\n"


def _block(one: Drifted, pen: Pen, verbose: bool) -> list[str]:
    step = one.step
    redactor = Redactor.of(step)
    sign = SIGNS[step.action] if not step.failure else "~"
    title = pen.clean(f"{step.address} {_IS[one.kind]}") + ("" if one.counts else " (not counted: --fail-on)")
    place = pen.clean(f"{step.source.file}:{step.source.line}") if step.source else ""
    lines = [
        f"{pen.paint(COLOURS.get(sign, 'bold'), pen.signs(sign))} {pen.paint('bold', title)}"
        + (f"  {pen.paint('dim', place)}" if place else "")
    ]
    if one.kind != "create":
        lines += change_lines(step, redactor, pen)
    if step.failure:
        lines += pen.paragraph("why:", redactor.text(step.failure), hang=_LABEL)
    for note in step.notes:
        lines += pen.paragraph("note:", redactor.text(note), hang=_LABEL)
    for label, told in _told_since(one.since, verbose):
        lines += pen.paragraph(f"{label}:", told, hang=_LABEL)
    return lines


def _step_notes(drift: Drift) -> list[str]:
    """Notes of resources that are as declared: an update that runs, one that failed."""
    return [
        f"{step.address}: {note}"
        for step in drift.plan.steps
        if not kind_of_drift(step) and step.address not in drift.put_aside
        for note in step.notes
    ]


def _told_since(since: Since, verbose: bool = False) -> list[tuple[str, str]]:
    """Labelled sentences about when it happened; only what is known."""
    told = []
    if since.created_at:
        told.append(
            ("since", f"created anew at {since.created_at}: another one than this machine saw before")
        )
    seen, clean = _second(since.seen_at), _second(since.clean_at)
    found = "a check found" if since.clean_by == "a check" else f"{since.clean_by} left"
    if clean and seen:
        told.append(("since", f"after {clean} ({found} it as declared), first seen {seen}"))
    elif seen:
        told.append(("since", f"first seen {seen}; before that this machine knows nothing of it"))
    if since.updated_at:
        told.append(("server", f"last updated {since.updated_at} ({_MOVES})"))
    if verbose and since.fields:
        told += [("seen", f"{path} {_second(at)}") for path, at in since.fields.items() if path]
    return told


def _second(moment: str) -> str:
    """A moment for people: nobody reads milliseconds."""
    return f"{moment[:19]}Z" if moment else ""


def _closing(drift: Drift, pen: Pen, verbose: bool) -> list[str]:
    lines: list[str] = []
    for sentence in _sentences(drift):
        lines += pen.paragraph("", sentence, 0)
    style = "red" if drift.fails else "bold"
    lines.append(pen.paint(style, pen.clean(f"{headline(drift)}.")))
    if totals := totals_line(drift.plan.steps, verbose):
        lines += [pen.paint("dim", line) for line in pen.paragraph("", totals, 0)]
    return lines


def _sentences(drift: Drift, *, unseen: bool = True) -> list[str]:
    """What is as declared, ignored, and (``unseen``) not looked at."""
    still = [s for s in drift.plan.steps if not kind_of_drift(s) and s.address not in drift.put_aside]
    told = [as_declared(still)] if still else []
    if not drift.plan.steps:
        told.append("Nothing is declared.")
    told += _ignored(drift)
    told += [_unseen(one) for one in drift.unseen] if unseen else []
    if any(one.step.changes for one in drift.drifted if one.kind != "create"):
        told.append("Values stand as live → declared; + is declared and not live, − the other way round.")
    if drift.reading.mode == "fast":
        read, reused = drift.reading.detail, drift.reading.reused
        told.append(
            f"Read in detail: {read} of {read + reused}; of the others the list shows that their "
            "configuration, telemetry, tags and AI gateway have not changed."
            if reused
            else f"Read in detail: all {read}."
        )
    return told


def _ignored(drift: Drift) -> list[str]:
    counts = Counter(one.why for one in drift.aside)
    return [
        f"Ignored ({why}): {count(number, 'difference')} in {_addresses(_of(drift.aside, why))}."
        for why, number in counts.items()
    ]


def _of(aside: Iterable[Aside], why: str) -> list[Address]:
    return [one.address for one in aside if one.why == why]


def _addresses(addresses: Iterable[Address]) -> str:
    names = list(dict.fromkeys(map(str, addresses)))
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _unseen(one: Unseen) -> str:
    who, since = _addresses(one.addresses), _second(one.since)
    return (
        f"Not looked at in this mode: {one.section} of {who}, taken as read at {since} or later; "
        "--refresh full looks at it."
    )


# ---- JSON -----------------------------------------------------------------------------------------------


def drift_json(drift: Drift) -> dict[str, Any]:
    """The check as ``schemas/drift.schema.json`` describes it. Nothing in it is a secret."""
    plan = plan_json(drift.plan)
    steps = {step["address"]: step for step in plan["steps"]}
    return {
        "format_version": FORMAT_VERSION,
        "target": plan["target"],
        "stack": plan["stack"],
        "environment": drift.environment,
        "checked_at": drift.checked_at,
        "drift": bool(drift.drifted),
        "fails": drift.fails,
        "summary": {
            **{kind: sum(1 for one in drift.drifted if one.kind == kind) for kind in KINDS},
            "as_declared": len(_declared(drift)),
            "ignored": len(drift.aside),
        },
        "drifted": [_drifted(one, steps[str(one.step.address)]) for one in drift.drifted],
        "as_declared": _declared(drift),
        "ignored": [
            {
                "address": str(one.address),
                "path": None if one.path is None else str(one.path),
                "why": one.why,
            }
            for one in drift.aside
        ],
        "not_looked_at": [
            {"section": one.section, "addresses": list(map(str, one.addresses)), "read_at": one.since}
            for one in drift.unseen
        ],
        "refresh": {
            "mode": drift.reading.mode,
            "read": drift.reading.detail,
            "reused": drift.reading.reused,
            "why_full": drift.reading.why,
        },
        "notes": [*plan["notes"], *_step_notes(drift)],
        "totals": {name: plan["totals"][name] for name in ("compared", "skipped")},
    }


def _declared(drift: Drift) -> list[str]:
    return [
        str(step.address)
        for step in drift.plan.steps
        if not kind_of_drift(step) and step.address not in drift.put_aside
    ]


def _drifted(one: Drifted, step: dict[str, Any]) -> dict[str, Any]:
    changes = [] if one.kind == "create" else step["changes"]
    since = one.since
    fields = since.fields or {}
    return {
        "address": step["address"],
        "kind": one.kind,
        "counts": one.counts,
        "source": step["source"],
        "changes": [
            {
                "path": change["path"],
                "live": change["before"],
                "declared": change["after"],
                **{name: change[name] for name in ("sensitive", "words", "forces_replace", "why", "source")},
                "first_seen_at": fields.get(change["path"]) or None,
            }
            for change in changes
        ],
        "failure": Redactor.of(one.step).text(one.step.failure),
        "notes": step["notes"],
        "since": {
            "declared_at": since.clean_at or None,
            "declared_by": since.clean_by or None,
            "first_seen_at": since.seen_at or None,
            "last_updated_at": since.updated_at or None,
            "created_anew_at": since.created_at or None,
        },
    }


# ---- the page of the other formats ----------------------------------------------------------------------


def page_of_drift(drift: Drift, *, known: Redactor | None = None) -> Page:
    """The page of a check: what counts fails, what does not is a notice; what was not looked at is told."""
    page = page_of_plan(drift.plan, purpose=Purpose.DRIFT, known=known)
    ink = Ink(Redactor.of(*drift.plan.steps), known)
    found = {ink.text(str(one.step.address)): one for one in drift.drifted}
    items = tuple(_item(item, found[item.address], ink) for item in page.items if item.address in found)
    quiet = tuple(i for i in (*page.items, *page.quiet) if i.address not in found)
    aside = {ink.text(str(address)) for address in drift.put_aside}
    level = max((item.level for item in items), default=Level.QUIET)
    totals = totals_line(drift.plan.steps, verbose=True)
    unseen = tuple(ink.text(_unseen(one)) for one in drift.unseen)
    return replace(
        page,
        headline=headline(drift),
        level=level,
        items=items,
        quiet=tuple(_ignored_item(i) if i.address in aside else i for i in quiet),
        counts=_counts(drift),
        notes=(*unseen, *(ink.text(note, "\n") for note in [*drift.plan.notes, *_step_notes(drift)])),
        closing=tuple(ink.text(one) for one in [*_sentences(drift, unseen=False), totals] if one),
        unseen=unseen,
    )


def _counts(drift: Drift) -> tuple[tuple[str, int], ...]:
    counts = Counter(one.kind for one in drift.drifted)
    named = [(_SHORT[kind], counts[kind]) for kind in KINDS if counts[kind]]
    return (*named, ("as declared", len(_declared(drift))))


def _item(item: Item, one: Drifted, ink: Ink) -> Item:
    told = tuple((label, text) for label, text in item.told if label == "note")
    why = (("why", ink.text(one.step.failure)),) if one.step.failure else ()
    level = Level.ERROR if one.step.failure else Level.WARNING
    return replace(
        item,
        what=one.step.action.value if not one.step.failure else "failed",
        ending=_IS[one.kind],
        fails=one.counts,
        level=level if one.counts else Level.NOTICE,
        told=(*why, *told, *((label, ink.text(text)) for label, text in _told_since(one.since))),
        requests=(),
    )


def _ignored_item(item: Item) -> Item:
    return replace(item, ending="is ignored: its drift does not count", skipped=True)
