"""Whether the ground moved: what differs between two looks at one resource, in field paths. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.engine.compare import compare_sections
from reconciler.kinds import kind_of
from reconciler.schema import Field
from reconciler.shape import item_key
from reconciler.values import Address, FieldPath, ItemKey

__all__ = ["differing", "moved_fields", "moved_unseen"]


def moved_fields(address: Address, before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields in which two normalised live sides differ as the fingerprint sees them, sorted.

    A section is named where its fields cannot be told apart. Empty when it is the identity that differs.
    """
    of = kind_of(address)
    sections = of.moved(before, now)
    found = compare_sections(
        of.fields,
        {name: now.get(name) for name in sections},
        {name: before[name] for name in sections if name in before},
        name=address.name,
    )
    paths = {str(change.path) for change in found.changes}
    paths |= {name for name in sections if not any(c.section == name for c in found.changes)}
    return tuple(sorted(paths))


def moved_unseen(address: Address) -> str:
    """What moved where no field did: the fingerprint knows more of a resource than its fields."""
    if address.dialect == "file":
        return "the file that holds it"
    if address.kind == "GatewaySecret":
        return "it was written again, or is another one of the same name"
    if kind_of(address).owned_by is not None and address.kind.startswith("Gateway"):
        return "whose it is, or it is another one of the same name"
    return "it is another one of the same name"


def differing(field: Field | None, one: Any, other: Any, path: FieldPath) -> list[str]:
    """The paths at which two JSON values of this field differ in meaning.

    Lists whose order means nothing are compared by key, or as sets.
    """
    if one == other:
        return []
    if isinstance(one, Mapping) and isinstance(other, Mapping) and not _is_veiled(one, other):
        return [
            found
            for name in {**one, **other}
            for found in differing(
                None if field is None else field.at(str(name)),
                one.get(name),
                other.get(name),
                path / str(name),
            )
        ]
    if field is not None and isinstance(one, list) and isinstance(other, list):
        if field.is_set and sorted(map(_text, one)) == sorted(map(_text, other)):
            return []
        if field.is_keyed and all(isinstance(item, Mapping) for item in (*one, *other)):
            ours, theirs = _by_key(field, one), _by_key(field, other)
            if list(ours) != list(theirs) and set(ours) == set(theirs) and field.order:
                return [str(path)]
            return [
                found
                for key in {**ours, **theirs}
                for found in differing(field.items, ours.get(key), theirs.get(key), path / ItemKey(key))
            ]
    return [str(path)]


def _is_veiled(*values: Mapping[str, Any]) -> bool:
    """A digest or a reference stands for a value: there is nothing to look into."""
    return any(set(value) in ({"$masked"}, {"$reference"}) for value in values)


def _by_key(field: Field, items: list[Any]) -> dict[str, Any]:
    return {item_key(field, item)[0] or str(at): item for at, item in enumerate(items)}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
