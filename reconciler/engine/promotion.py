"""What may travel from one environment to another, and what stays. Pure."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler import schema
from reconciler.engine.differences import differences
from reconciler.manifest.edit import Edit
from reconciler.manifest.sides import Difference, Move, Pair, Side
from reconciler.schema import Field
from reconciler.shape import canonical, item_key
from reconciler.values import FieldPath, ItemKey

__all__ = ["beyond", "edits", "moves"]


def moves(pairs: Sequence[Pair], allowed: Mapping[str, Sequence[str]]) -> list[Move]:
    """A move for each pair that differs. ``allowed``: kind → paths below spec of what may travel.

    A path covers what is at it and below. So a path to a list lets its items come and go, one below its items
    only changes those that both sides have. The order of a list never travels by itself.
    """
    found = []
    for pair in pairs:
        if pair.left is None or pair.right is None:
            continue
        patterns = [FieldPath.parse(path) for path in allowed.get(pair.address.kind, ())]
        travelling: list[Difference] = []
        staying: list[Difference] = []
        covered = functools.partial(_covered, patterns)
        for one in differences(pair.left, pair.right, covered):
            may = one.in_spec and not one.is_order and covered(one.path)
            (travelling if may else staying).append(one)
        if travelling or staying:
            found.append(Move(pair, tuple(travelling), tuple(staying)))
    return found


def _covered(patterns: Sequence[FieldPath], path: FieldPath) -> bool:
    return any(pattern.covers(path) for pattern in patterns)


def beyond(before: Side, after: Side, allowed: Sequence[FieldPath]) -> list[Difference]:
    """What differs of one resource besides what is allowed, or below it.

    A mapping that lost all of what it held is no more than that.
    """

    def is_allowed(one: Difference) -> bool:
        if _covered(allowed, one.path):
            return True
        is_emptied = one.right in ({}, []) and isinstance(one.left, Mapping) and bool(one.left)
        return is_emptied and all(_covered(allowed, one.path / name) for name in one.left)

    return [one for one in differences(before, after) if not (one.in_spec and is_allowed(one))]


def edits(move: Move) -> list[Edit]:
    """What the destination's overlay must say for the travelling values to be the source's."""
    assert move.pair.left is not None
    assert move.pair.right is not None
    fields = schema.spec_fields(move.pair.address.kind)
    sides = [
        canonical(fields, dict(side.value.get("spec") or {})) for side in (move.pair.left, move.pair.right)
    ]
    return [Edit(one.path, one.right, _items(fields, sides, one.path)) for one in move.travelling]


def _items(fields: Field, sides: Sequence[Any], path: FieldPath) -> list[Mapping[str, Any]]:
    """The item of each keyed list on the way: the destination's, else the source's."""
    here: list[Any] = list(sides)
    definition: Field | None = fields
    found: list[Mapping[str, Any]] = []
    for part in path:
        if isinstance(part, ItemKey):
            assert definition is not None
            here = [_of_key(definition, side, part.text) for side in here]
            if here[0] is None:
                here = [here[1], here[1]]
            found.append(here[0] or {})
            definition = definition.items
        else:
            here = [side.get(part) if isinstance(side, Mapping) else None for side in here]
            definition = definition and (definition.properties.get(str(part)) or definition.extra)
    return found


def _of_key(definition: Field, items: Any, key: str) -> Any:
    if not isinstance(items, list):
        return None
    return next((item for item in items if item_key(definition, item)[0] == key), None)
