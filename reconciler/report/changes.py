"""The changes of a step as lines: words first where there are some, else the values as YAML has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from reconciler.redact import Redactor, shown
from reconciler.report.blocks import SENSITIVE, block, differing, inline, items_changed
from reconciler.report.pen import Pen, cells, count
from reconciler.values import Action, FieldChange, Reason, Source, Step

__all__ = ["COLOURS", "Row", "change_lines", "change_rows"]

COLOURS: Final = {"+": "green", "~": "yellow", "±": "magenta", "-": "red", "=": "yellow", " ": "dim"}
"""The colour of each sign."""


@dataclass(frozen=True, slots=True)
class Row:
    """One change: what happens, beside it where (path, line), below it what does not fit on a line."""

    sign: str
    text: str
    path: str
    place: str
    below: tuple[str, ...] = ()
    cause: str = ""
    set_by: str = ""


def change_rows(step: Step, redactor: Redactor, pen: Pen) -> list[Row]:
    """Every change of a step, in its order, for reports that lay it out themselves."""
    return [_row(change, step, redactor, pen) for change in step.changes]


def change_lines(step: Step, redactor: Redactor, pen: Pen) -> list[str]:
    """Every change of a step; where it stands beside it, or below where the terminal is too narrow."""
    rows = change_rows(step, redactor, pen)
    if not rows:
        return []
    causes = list(dict.fromkeys(row.cause for row in sorted(rows, key=lambda row: _CAUSES.index(row.cause))))
    if causes == [""]:
        return _lines(rows, pen)
    lines = []
    for cause in causes:
        lines.append(f"    {pen.paint('bold', _HEADINGS[cause])}")
        lines += _lines([row for row in rows if row.cause == cause], pen)
    return lines


_HEADINGS: Final = {
    "intended": "intended: the manifests were edited",
    "both": "both: the manifests were edited, and the live side too",
    "drift": "drift: the live side was edited, and is put back",
    "": "others",
}
_CAUSES: Final = tuple(_HEADINGS)


def _lines(rows: list[Row], pen: Pen) -> list[str]:
    room = pen.columns(6)
    said = [row for row in rows if row.path]
    column = max((cells(row.text) for row in said), default=0) + 3
    beside = all(column + cells(_where(row)) <= room for row in said)
    lines = []
    for row in rows:
        where = _where(row)
        used = cells(row.text)
        gap = max(column - used, 3) if beside else 3
        if used + gap + cells(where) > room:
            gap = 3
        fits = used + gap + cells(where) <= room and (beside or not row.path)
        line = f"    {pen.paint(COLOURS[row.sign], pen.signs(row.sign))} {row.text}"
        if where:
            line += (" " * gap if fits else "\n        ") + pen.paint("dim", where)
        lines += [line, *("        " + below for below in row.below)]
        if row.set_by:
            lines += [pen.paint("dim", told) for told in pen.paragraph("", f"by {row.set_by}", 8)]
    return lines


def _where(row: Row) -> str:
    return "  ".join(part for part in (row.path, row.place) if part)


def _row(change: FieldChange, step: Step, redactor: Redactor, pen: Pen) -> Row:
    before, after = (redactor.value(side) for side in shown(change, step.address.kind))
    path = pen.clean(str(change.path))
    words = pen.clean(redactor.text(change.words))
    room = pen.columns(8)
    below: list[str] = []
    if words and _tell(change.words, before, after):
        text, beside = words, path
        if isinstance(before, dict) != isinstance(after, dict):
            below = block(after if isinstance(after, dict) else before, room)
    else:
        text, below = _values(path, before, after, words, room, pen)
        beside = ""
    below = [pen.signs(line) for line in below]
    if change.forces_replace:
        why = change.why if change.why not in ("", "immutable") else "it cannot be changed in place"
        told = pen.paragraph("", redactor.text(f"forces replacement: {why}"), 8)
        below += [pen.paint("magenta", line.strip()) for line in told]
    place = _line(change.source, step.source, pen)
    by = pen.clean(redactor.text(change.set_by))
    return Row(_sign(change, step), pen.signs(text), beside, place, tuple(below), change.cause, by)


def _sign(change: FieldChange, step: Step) -> str:
    if change.forces_replace and step.action is Action.REPLACE:
        return "±"
    if change.before is None and change.after is None:
        return "~"
    if change.before is None:
        # A value that cannot be read back is there already, and is sent again.
        return "~" if change.why in (Reason.WRITE_ONLY, Reason.NOT_ECHOED) else "+"
    return "-" if change.after is None else "~"


def _line(source: Source | None, step: Source | None, pen: Pen) -> str:
    """Where a change is wanted, when the step's own place does not say it."""
    if source is None:
        return ""
    if step is None or source.file != step.file:
        return pen.clean(f"{source.file}:{source.line}")
    return "" if source.line == step.line else f"line {source.line}"


def _tell(words: str, before: Any, after: Any) -> bool:
    """The words say both values, so that these need not be repeated."""
    if isinstance(before, (dict, list)) or isinstance(after, (dict, list)):
        return "→" in words or not (isinstance(before, dict) or isinstance(after, dict))
    return all(_says(words, side) for side in (before, after)) and "→" in words


def _says(words: str, value: Any) -> bool:
    if value is None:
        return True
    number = isinstance(value, (int, float))
    return str(value) in words or (number and f"{value:,}" in words)


def _values(path: str, before: Any, after: Any, words: str, room: int, pen: Pen) -> tuple[str, list[str]]:
    """A change by its values: on one line when both fit, else in lines below the path.

    ``room``: cells of a line below; the first line stands two cells further left.
    """
    tail = f" ({words})" if words else ""
    if before is None or after is None:
        value = after if before is None else before
        one = "changed" if value is None else inline(value, room - cells(tail))
        if one is None:
            return f"{path}:{tail}", block(value, room)
        fits = cells(path) + 2 + cells(one) + cells(tail) <= room + 2
        return (f"{path}: {one}{tail}", []) if fits else (f"{path}:", [one + tail])
    if isinstance(before, list) and isinstance(after, list):
        text, below = _list_values(path, before, after, room, pen)
        return text + tail, below
    if isinstance(before, str) and isinstance(after, str):
        old, new = differing(before, after, room - 2)
    else:
        old, new = inline(before, room - 2) or "", inline(after, room - 2) or ""
    if old == new == SENSITIVE:
        return f"{path}: {SENSITIVE}{tail}", []
    if old and new and cells(path) + cells(old) + cells(new) + cells(tail) + 5 <= room + 2:
        return f"{path}: {old} → {new}{tail}", []
    return f"{path}:{tail}", _marked("-", before, old, room, pen) + _marked("+", after, new, room, pen)


def _marked(sign: str, value: Any, one: str, room: int, pen: Pen) -> list[str]:
    lines = [one] if one else block(value, room - 2)
    return [f"{pen.paint(COLOURS[sign], sign) if i == 0 else ' '} {line}" for i, line in enumerate(lines)]


def _list_values(
    path: str, before: list[Any], after: list[Any], room: int, pen: Pen
) -> tuple[str, list[str]]:
    removed, added, stayed, order = items_changed(before, after)
    reordered = order != sorted(order)
    old, new = inline(before, room), inline(after, room)
    if old is not None and new is not None and cells(path) + cells(old) + cells(new) + 5 <= room + 2:
        return f"{path}: {old} → {new}", []
    below = []
    for sign, items in (("-", removed), ("+", added)):
        for item in items:
            below += _marked(sign, item, inline(item, room - 2) or "", room, pen)
    if reordered:
        others = " of the others" if removed or added else ""
        line = f"order{others} {', '.join(map(str, sorted(order)))} → {', '.join(map(str, order))}"
        below.append(line if cells(line) <= room else f"order{others}: another one")
    elif stayed:
        below.append(f"({count(stayed, 'item')} unchanged)")
    return f"{path}:" if removed or added else f"{path}: reordered", below
