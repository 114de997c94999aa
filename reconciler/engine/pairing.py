"""Which items of two keyed lists belong together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.schema import MISSING, Field, lookup
from reconciler.shape import item_key

__all__ = ["match_items", "shares_of"]


def match_items(
    definition: Field, wanted: Sequence[Any], existing: Sequence[Any]
) -> list[tuple[str, Any, Any]]:
    """Match items by key; a desired item whose key the server chose also by what ``match`` names.

    Gives (key, desired, live) in the desired order, then what only the live side has. Two items with one
    key (an answer may hold them) are told apart by a number.
    """
    theirs: dict[str, Any] = {}
    for item in existing:
        key, _ = item_key(definition, item)
        while key in theirs:
            key += "#"
        theirs[key] = item
    mine = [(*item_key(definition, item), item) for item in wanted]
    taken: dict[int, str] = {}
    for at, (key, _, _) in enumerate(mine):
        if key in theirs and key not in taken.values():
            taken[at] = key
    for at, (_, written, item) in enumerate(mine):
        if at in taken or written or not definition.match:
            continue
        for key, candidate in theirs.items():
            if key not in taken.values() and _same_subject(definition.match, item, candidate):
                taken[at] = key
                break
    pairs: list[tuple[str, Any, Any]] = [
        (key, item, theirs[taken[at]] if at in taken else MISSING) for at, (key, _, item) in enumerate(mine)
    ]
    pairs += [(key, MISSING, item) for key, item in theirs.items() if key not in taken.values()]
    return pairs


def _same_subject(match: Sequence[str], mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return any(
        lookup(mine, path) not in (MISSING, None, "") and lookup(mine, path) == lookup(theirs, path)
        for path in match
    )


def shares_of(definition: Field, items: Sequence[Any], order: Sequence[str]) -> dict[str, Any]:
    """Each item's share of the whole, by key, in this order of the keys."""
    shares = {item_key(definition, item)[0]: item.get(definition.shares, 0) for item in items}
    return {key: shares[key] for key in order if key in shares}
