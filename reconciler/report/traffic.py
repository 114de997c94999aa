"""How a step shifts traffic: the shares before and after, of every list whose schema says that it shares."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler import schema
from reconciler.schema import Field
from reconciler.values import Action, FieldChange, FieldPath, ItemKey, Step

__all__ = ["Share", "Split", "splits"]


@dataclass(frozen=True, slots=True)
class Share:
    """What one item of a list gets, before and after; None where it is not in the list."""

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Split:
    """One list of shares; ``path``: where it stands in the spec. A side without any share has none at all."""

    path: str
    shares: tuple[Share, ...]

    @property
    def is_change(self) -> bool:
        """Some share differs."""
        return any(share.before != share.after for share in self.shares)


def splits(step: Step) -> tuple[Split, ...]:
    """The splits that a step touches, in the schema's order: those that it changes, makes or ends."""
    found = []
    for path, field in _sharing(step.address.kind):
        before = {} if step.action is Action.CREATE else _shares(_at(step.base, path), field)
        after = dict(before) if step.action is not Action.DELETE else {}
        for change in step.changes:
            _note(change, path, field, before, after)
        names = [*before, *(name for name in after if name not in before)]
        split = Split(".".join(path), tuple(Share(name, before.get(name), after.get(name)) for name in names))
        if split.is_change:
            found.append(split)
    return tuple(found)


@functools.cache
def _sharing(kind: str) -> tuple[tuple[tuple[str, ...], Field], ...]:
    if kind not in schema.kinds():
        return ()
    fields = schema.spec_fields(kind).walk()
    return tuple((path, field) for path, field in fields if field.shares and field.key and not field.alias_of)


def _note(
    change: FieldChange,
    path: tuple[str, ...],
    field: Field,
    before: dict[str, float],
    after: dict[str, float],
) -> None:
    """Take one change into both sides, when it is about this list."""
    if change.sensitive:
        return
    parts = tuple(change.path)
    if parts == path[: len(parts)]:  # the list itself, or something that holds it
        old, new = (_shares(_at(side, path[len(parts) :]), field) for side in (change.before, change.after))
        if not before:
            before.update(old)
        after.clear()
        after.update(new)
    elif parts[: len(path)] == path:
        _note_item(change, FieldPath(parts[len(path) :]), field, before, after)


def _note_item(
    change: FieldChange, below: FieldPath, field: Field, before: dict[str, float], after: dict[str, float]
) -> None:
    name = below[0].text if isinstance(below[0], ItemKey) else str(below[0])
    if len(below) == 1:
        old, new = (_number(_at(side, (field.shares,))) for side in (change.before, change.after))
    elif below[1:] == (field.shares,):
        old, new = _number(change.before), _number(change.after)
    else:
        return
    for side, number in ((before, old), (after, new)):
        if number is None:
            side.pop(name, None)
        else:
            side[name] = number


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _shares(items: Any, field: Field) -> dict[str, float]:
    shares = {}
    for item in items if isinstance(items, (list, tuple)) else ():
        number = _number(_at(item, (field.shares,)))
        if number is not None:
            shares["/".join(str(item.get(key, "")) for key in field.key)] = number
    return shares


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return max(value, 0)
    return None
