"""Lays a patch over a manifest: values and their places in, values and their places out. Pure.

    a mapping            is merged, name by name
    a keyed list         is merged, item by item: items of one key are one item, others are added at the end
    anything else        replaces what is there: text, numbers, sets, lists whose order counts
    null, {} and []      replace a field of the spec too, for there they mean that it is cleared
    {$remove: true}      takes the field away; in an item, beside its key, the item
    $replace: true       in a mapping: it replaces; as the first item of a list: the list replaces

Laying one patch over another and both over a manifest gives the same either way (it is associative), as long
as no patch removes, replaces, or turns a mapping or a list into something else, which clearing does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler.manifest.positions import Marks, Origin, Parts
from reconciler.manifest.scalars import shown
from reconciler.manifest.suggest import did_you_mean
from reconciler.schema import MISSING, Field, lookup
from reconciler.shape import canonical, item_key

__all__ = ["REMOVE", "REPLACE", "Told", "laid_over"]

REMOVE: Final = "$remove"
REPLACE: Final = "$replace"
_MARKERS: Final = (REMOVE, REPLACE)

_SECTION: Final = 2  # the document and its blocks are nothing that could be cleared; spec.tags is

Told = tuple[Parts, str, str, str]  # path in the patch, what, fix, rule


def laid_over(
    base: Any, base_marks: Marks, patch: Any, patch_marks: Marks, field: Field, file: str
) -> tuple[Any, Marks, list[Told]]:
    """The patch over the base, and what is wrong with the patch. Neither is changed.

    ``field``: what both are. ``file``: the patch's. Both may write names in any spelling that the schema
    knows; the base's stays. A place that comes from the patch has an Origin that names its file.
    """
    merge = _Merge(file)
    spelling = _Spelling(field, field)
    value, marks, _ = merge.either(_Node(base, base_marks), _Node(patch, patch_marks), spelling, field, ())
    return value, marks or {}, merge.told


@dataclass(frozen=True, slots=True)
class _Node:
    value: Any
    marks: Marks | None

    def below(self, part: str | int) -> _Node:
        entry = (self.marks or {}).get(part)
        return _Node(self.value[part], entry[2] if entry else None)


@dataclass(frozen=True, slots=True)
class _Spelling:
    """A field as the schema means it, and as it was written: ``served_models`` has names of its own."""

    main: Field | None
    written: Field | None

    def name(self, written: str) -> str:
        """The one name of a field that was written so."""
        return self.written.aliases.get(written, written) if self.written else written

    def written_as(self, main: str) -> str:
        """How a field of that one name is written here."""
        if self.written is None or main in self.written.properties:
            return main
        return next((alias for alias, name in self.written.aliases.items() if name == main), main)

    def child(self, written: str) -> _Spelling:
        name = self.name(written)
        main = self.main and (self.main.properties.get(name) or self.main.extra)
        own = self.written and (self.written.properties.get(written) or self.written.properties.get(name))
        return _Spelling(main, own or (self.written.extra if self.written else None))

    @property
    def items(self) -> _Spelling:
        return _Spelling(self.main and self.main.items, self.written and self.written.items)


class _Merge:
    def __init__(self, file: str) -> None:
        self.told: list[Told] = []
        self._file = file

    def tell(self, path: Parts, what: str, fix: str, rule: str = "overlay-patch") -> None:
        self.told.append((path, what, fix, rule))

    def either(
        self, base: _Node, patch: _Node, here: _Spelling, written: Field | None, path: Parts
    ) -> tuple[Any, Marks | None, bool]:
        """Merge or replace, and which it was. ``here``: the base's spelling; ``written``: the patch's."""
        theirs = _Spelling(here.main, written)
        if here.main is not None and here.main.pairs is not None:
            base, patch = _as_map(base, here.main.pairs), _as_map(patch, here.main.pairs)
        if isinstance(base.value, dict) and isinstance(patch.value, dict):
            is_merged = bool(patch.value) or len(path) < _SECTION
            if is_merged and REPLACE not in patch.value:
                return (*self._mapping(base, patch, here, theirs, path), True)
        elif isinstance(base.value, list) and isinstance(patch.value, list) and patch.value:
            is_keyed = here.main is not None and here.main.is_keyed
            if is_keyed and not _replaces(patch.value) and all(isinstance(i, dict) for i in base.value):
                return (*self._items(base, patch, here, theirs, path), True)
        return (*self._whole(patch, here, theirs, path), False)

    def _entry(self, patch: _Node, part: str | int, below: Marks | None) -> Any:
        """The place of one thing that the patch wrote."""
        entry = (patch.marks or {}).get(part)
        if entry is None:
            return None
        origin = entry[3] if len(entry) == 4 else Origin(self._file)
        return (entry[0], entry[1], below, origin)

    # ---- mappings ---------------------------------------------------------------------------------------

    def _mapping(
        self, base: _Node, patch: _Node, here: _Spelling, theirs: _Spelling, path: Parts
    ) -> tuple[Any, Marks]:
        value, marks = dict(base.value), dict(base.marks or {})
        there = {here.name(name): name for name in base.value}
        for written, item in patch.value.items():
            if written.startswith("$"):
                self._marker(written, item, (*path, written))
                continue
            name = theirs.name(written)
            mine = there.get(name)
            child = here.child(mine or here.written_as(name))
            if _is_removal(item):
                self._values(item, (*path, written))
                if mine is None:
                    near = did_you_mean(written, map(str, there))
                    what = f"there is no {shown(written)} to remove"
                    self.tell((*path, written), what, near or "take this line out", "overlay-removes-nothing")
                else:
                    del value[mine]
                    marks.pop(mine, None)
                continue
            own = theirs.child(written)
            if mine is None:
                into = here.written_as(name)
                value[into], below = self._whole(patch.below(written), child, own, (*path, written))
                marks[into] = self._entry(patch, written, below)
                continue
            value[mine], below, is_merged = self.either(
                base.below(mine), patch.below(written), child, own.written, (*path, written)
            )
            marks[mine] = self._place(base, mine, below) if is_merged else self._entry(patch, written, below)
        return value, {name: entry for name, entry in marks.items() if entry is not None}

    @staticmethod
    def _place(base: _Node, part: str | int, below: Marks | None) -> Any:
        """What is merged stays where it was, with new places below it."""
        entry = (base.marks or {}).get(part)
        return None if entry is None else (entry[0], entry[1], below, *entry[3:])

    # ---- keyed lists ------------------------------------------------------------------------------------

    def _items(
        self, base: _Node, patch: _Node, here: _Spelling, theirs: _Spelling, path: Parts
    ) -> tuple[Any, Marks]:
        assert here.main is not None
        mine, yours = here.items, theirs.items
        result: list[tuple[Any, Any]] = [
            (item, (base.marks or {}).get(at)) for at, item in enumerate(base.value)
        ]
        shapes = [_shape(mine, item) for item in base.value]
        gone: set[int] = set()
        seen: set[str] = set()
        for at, item in enumerate(patch.value):
            where: Parts = (*path, at)
            if not isinstance(item, dict):
                self.tell(where, "an item of this list is a mapping", "", "wrong-type")
                continue
            key, found = self._found(here.main, shapes, _shape(yours, item), where)
            if key is None:
                continue
            if key in seen:
                self.tell(where, f"{key} is patched twice in one list", "write it once", "duplicate-item")
                continue
            seen.add(key)
            if REMOVE in item:
                self._values(item, where, alone=False)
                if found is None:
                    near = did_you_mean(key, [item_key(here.main, shape)[0] for shape in shapes])
                    what = f"there is no item {key} to remove"
                    self.tell(where, what, near or "take this item out", "overlay-removes-nothing")
                else:
                    gone.add(found)
            elif found is None:
                whole, below = self._whole(patch.below(at), mine, yours, where)
                result.append((whole, self._entry(patch, at, below)))
            else:
                merged, below, is_merged = self.either(
                    base.below(found), patch.below(at), mine, yours.written, where
                )
                place = self._entry(patch, at, below)
                if is_merged:
                    place = self._place(base, found, below)
                    _keep_keys(here.main, mine, base.below(found), merged, below)
                result[found] = (merged, place)
        kept = [pair for at, pair in enumerate(result) if at not in gone]
        marks: Marks = {at: entry for at, (_, entry) in enumerate(kept) if entry is not None}
        return [item for item, _ in kept], marks

    def _found(
        self, field: Field, shapes: Sequence[Mapping[str, Any]], item: Mapping[str, Any], where: Parts
    ) -> tuple[str | None, int | None]:
        """The key of the patch's item, None when it has none, and which item of the base it means."""
        key, is_written = item_key(field, item)
        if not key:
            names = " or ".join(field.key or field.key_one_of)
            what = f"which item is meant is not said: {names} is missing"
            self.tell(where, what, f"write its {names}", "overlay-item-without-key")
            return None, None
        for at, shape in enumerate(shapes):
            if item_key(field, shape)[0] == key:
                return key, at
        if is_written:
            return key, None
        like = [at for at, shape in enumerate(shapes) if _same_subject(field.match, item, shape)]
        if len(like) > 1:
            keys = ", ".join(item_key(field, shapes[at])[0] for at in like)
            what = f"which item is meant is not said: it may be {keys}"
            self.tell(where, what, f"write its {' and '.join(field.key)}", "overlay-item-without-key")
            return None, None
        return key, like[0] if like else None

    # ---- what replaces ----------------------------------------------------------------------------------

    def _whole(
        self, patch: _Node, here: _Spelling, theirs: _Spelling, path: Parts
    ) -> tuple[Any, Marks | None]:
        """What the patch writes, in the spelling of the place that it goes to, without its markers."""
        value = patch.value
        if isinstance(value, dict):
            return self._whole_mapping(patch, here, theirs, path)
        if not isinstance(value, list):
            return value, None
        items: list[Any] = []
        marks: Marks = {}
        for at, item in enumerate(value):
            if at == 0 and _replaces(value):
                self._values(item, (*path, at))
                continue
            if isinstance(item, dict) and REMOVE in item:
                what, fix = "there is nothing here to remove", "take this item out"
                self.tell((*path, at), what, fix, "overlay-removes-nothing")
                continue
            new, below = self._whole(patch.below(at), here.items, theirs.items, (*path, at))
            if entry := self._entry(patch, at, below):
                marks[len(items)] = entry
            items.append(new)
        return items, marks

    def _whole_mapping(
        self, patch: _Node, here: _Spelling, theirs: _Spelling, path: Parts
    ) -> tuple[Any, Marks]:
        value: dict[str, Any] = {}
        marks: Marks = {}
        for written, item in patch.value.items():
            where: Parts = (*path, written)
            if written.startswith("$"):
                self._marker(written, item, where)
                continue
            if _is_removal(item):
                what, fix = "there is nothing here to remove", "take this line out"
                self.tell(where, what, fix, "overlay-removes-nothing")
                continue
            into = here.written_as(theirs.name(written))
            value[into], below = self._whole(
                patch.below(written), here.child(into), theirs.child(written), where
            )
            if entry := self._entry(patch, written, below):
                marks[into] = entry
        return value, marks

    # ---- markers ----------------------------------------------------------------------------------------

    def _marker(self, name: str, value: Any, path: Parts) -> None:
        if name not in _MARKERS:
            near = did_you_mean(name, _MARKERS)
            self.tell(path, f"unknown marker {shown(name)}", near or f"known: {', '.join(_MARKERS)}")
        elif value is not True:
            self.tell(path, f"{name} is true, or left out", f"write {name}: true")
        elif name == REMOVE:
            # Its own mapping was asked for it before: it stands where nothing can be removed.
            self.tell(path, f"{REMOVE} stands alone in a field, or beside its key in an item", "")

    def _values(self, holder: Mapping[str, Any], path: Parts, *, alone: bool = True) -> None:
        """The markers of a mapping are true, and nothing stands beside them that would be lost."""
        for name, value in holder.items():
            if name in _MARKERS and value is not True:
                self.tell((*path, name), f"{name} is true, or left out", f"write {name}: true")
            elif alone and name not in _MARKERS:
                what = f"{shown(name)} stands beside a marker that leaves no room for it"
                self.tell((*path, name), what, "take one of the two out")


def _keep_keys(field: Field, item: _Spelling, base: _Node, merged: Any, marks: Marks | None) -> None:
    """The key that says which item is patched stands where it stood; in place."""
    for name in (*field.key, *field.key_one_of):
        written = item.written_as(name)
        if marks and base.marks and written in base.marks and merged[written] == base.value[written]:
            marks[written] = base.marks[written]


def _is_removal(value: Any) -> bool:
    return isinstance(value, dict) and REMOVE in value


def _replaces(items: Sequence[Any]) -> bool:
    return bool(items) and isinstance(items[0], dict) and set(items[0]) == {REPLACE}


def _shape(spelling: _Spelling, item: Mapping[str, Any]) -> Mapping[str, Any]:
    plain = {name: value for name, value in item.items() if name not in _MARKERS}
    shape: Mapping[str, Any] = canonical(spelling.written, plain) if spelling.written else plain
    return shape


def _same_subject(match: Sequence[str], one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return any(
        lookup(one, path) not in (MISSING, None, "") and lookup(one, path) == lookup(other, path)
        for path in match
    )


def _as_map(node: _Node, pairs: Mapping[str, str]) -> _Node:
    """A list of pairs as the map that it means; anything else as it is."""
    value = node.value
    if not (
        isinstance(value, list) and value and all(isinstance(p, dict) and pairs["key"] in p for p in value)
    ):
        return node
    result: dict[str, Any] = {}
    marks: Marks = {}
    for at, pair in enumerate(value):
        key = str(pair[pairs["key"]])
        result[key] = {REMOVE: pair[REMOVE]} if REMOVE in pair else pair.get(pairs["value"], "")
        entry = (node.marks or {}).get(at)
        if entry is not None:
            marks[key] = (entry[2] or {}).get(pairs["value"], entry)
    return _Node(result, marks)
