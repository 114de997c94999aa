"""Where two documents of one kind differ, field by field, with the place of each in both. Pure.

Written against written (two environments) or live against live; the schema says which lists have keys, and
the order of such a list is no difference unless it means something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler import schema
from reconciler.engine.pairing import match_items
from reconciler.manifest.positions import Parts
from reconciler.manifest.sides import Difference, Pair, Side
from reconciler.schema import MISSING, Field
from reconciler.shape import canonical, canonical_sources
from reconciler.values import Address, FieldPath, ItemKey, Source

__all__ = ["differences", "pairs"]


def pairs(left: Sequence[Side], right: Sequence[Side]) -> list[Pair]:
    """Which belong together: those of one address, then those of one manifest (a name may hold a variable).

    In the order of the left side, then what only the right side has.
    """
    by_address = {side.address: side for side in right}
    by_source = {side.source: side for side in right if side.source is not None}
    lefts = {side.address for side in left}
    found: list[Pair] = []
    taken: set[Address] = set()
    for side in left:
        other = by_address.get(side.address)
        if other is None and side.source is not None:
            other = by_source.get(side.source)
            if other is not None and other.address in lefts:
                other = None
        if other is not None:
            taken.add(other.address)
        found.append(Pair(side, other))
    return found + [Pair(None, side) for side in right if side.address not in taken]


_NOT_COMPARED: Final = ("apiVersion", "kind")
_SECTION: Final = 2  # the document and its blocks cannot be cleared; spec.tags: {} says more than nothing


def differences(
    left: Side, right: Side, whole: Callable[[FieldPath], bool] = lambda path: False
) -> list[Difference]:
    """Every field in which two documents of one kind differ, in the order of the left one.

    ``whole``: for which paths below spec a thing that only one side has is one difference, not one for each
    field of it.
    """
    fields = schema.document_fields(schema.kinds()[left.address.kind])
    places = [canonical_sources(fields, dict(side.value), side.positions) for side in (left, right)]
    shapes = [canonical(fields, dict(side.value)) for side in (left, right)]
    for shape in shapes:
        for name in _NOT_COMPARED:
            shape.pop(name, None)
    # What is live stands in no file.
    otherwise = [side.source if side.positions else None for side in (left, right)]
    walk = _Walk(places[0], places[1], otherwise[0], otherwise[1], whole)
    return list(walk.field(fields, shapes[0], shapes[1], (), (), ()))


@dataclass(frozen=True, slots=True)
class _Walk:
    left_places: Mapping[Parts, Source]
    right_places: Mapping[Parts, Source]
    left_source: Source | None
    right_source: Source | None
    whole: Callable[[FieldPath], bool]

    def field(
        self,
        definition: Field | None,
        left: Any,
        right: Any,
        path: tuple[str | int | ItemKey, ...],
        left_at: Parts,
        right_at: Parts,
        sensitive: bool = False,
    ) -> Iterator[Difference]:
        """``left_at``, ``right_at``: the path with positions instead of keys, by which places are known."""
        if left == right and type(left) is type(right):
            return
        if definition is not None:
            sensitive = sensitive or definition.sensitive or definition.secret or definition.secret_reference
        if MISSING in (left, right) and len(path) >= _SECTION and self.whole(FieldPath(path[1:])):
            yield self._difference(left, right, path, left_at, right_at, sensitive)
        elif _both(left, right, Mapping, len(path) < _SECTION):
            mine: Mapping[str, Any] = {} if left is MISSING else left
            theirs: Mapping[str, Any] = {} if right is MISSING else right
            for name in [*mine, *(n for n in theirs if n not in mine)]:
                yield from self.field(
                    None if definition is None else definition.properties.get(name) or definition.extra,
                    mine.get(name, MISSING),
                    theirs.get(name, MISSING),
                    (*path, name),
                    (*left_at, name),
                    (*right_at, name),
                    sensitive,
                )
        elif definition is not None and definition.is_keyed and _both(left, right, list):
            yield from self._items(definition, left, right, path, left_at, right_at, sensitive)
        else:
            yield self._difference(left, right, path, left_at, right_at, sensitive)

    def _items(
        self,
        definition: Field,
        left: Any,
        right: Any,
        path: Any,
        left_at: Parts,
        right_at: Parts,
        sensitive: bool,
    ) -> Iterator[Difference]:
        mine = [] if left is MISSING else left
        theirs = [] if right is MISSING else right
        if not all(isinstance(item, Mapping) for item in (*mine, *theirs)):
            yield self._difference(left, right, path, left_at, right_at, sensitive)
            return
        here = {id(item): at for at, item in enumerate(mine)}
        there = {id(item): at for at, item in enumerate(theirs)}
        common: list[tuple[int, int]] = []
        for key, one, other in match_items(definition, mine, theirs):
            at, beside = here.get(id(one)), there.get(id(other))
            where = (*path, ItemKey(key))
            mine_at = left_at if at is None else (*left_at, at)
            theirs_at = right_at if beside is None else (*right_at, beside)
            if at is None or beside is None:
                yield self._difference(one, other, where, mine_at, theirs_at, sensitive)
                continue
            common.append((at, beside))
            yield from self.field(definition.items, one, other, where, mine_at, theirs_at, sensitive)
        order = [beside for _, beside in sorted(common)]
        if definition.order and order != sorted(order):
            keys = [key for key, one, other in match_items(definition, mine, theirs) if one and other]
            swapped = [key for key, _, other in match_items(definition, theirs, mine) if other]
            found = self._difference(keys, swapped, path, left_at, right_at, False)
            yield Difference(
                found.path, keys, swapped, found.left_source, found.right_source, True, False, found.in_spec
            )

    def _difference(
        self, left: Any, right: Any, path: Any, left_at: Parts, right_at: Parts, sensitive: bool
    ) -> Difference:
        in_spec = path[:1] == ("spec",)
        return Difference(
            FieldPath(path[1:] if in_spec and len(path) > 1 else path),
            left,
            right,
            None if left is MISSING else _place(self.left_places, left_at, self.left_source),
            None if right is MISSING else _place(self.right_places, right_at, self.right_source),
            sensitive=sensitive,
            in_spec=in_spec,
        )


def _both(left: Any, right: Any, kind: Any, empty: bool = False) -> bool:
    """Both are of this kind, or one is and the other is not there; ``empty``: holding nothing is no value."""
    sides = [side for side in (left, right) if side is not MISSING]
    return all(isinstance(side, kind) and (side or empty) for side in sides)


def _place(places: Mapping[Parts, Source], path: Parts, otherwise: Source | None) -> Source | None:
    while path:
        if found := places.get(path):
            return found
        path = path[:-1]
    return otherwise
