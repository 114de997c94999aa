"""Two environments beside each other: the nouns of ``diff`` and ``promote``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.manifest.positions import Parts
from reconciler.schema import MISSING
from reconciler.values import MASK, Address, FieldPath, Source

__all__ = ["Difference", "Move", "Pair", "Side"]


@dataclass(frozen=True, slots=True)
class Side:
    """One document: ``value`` with ``metadata``, ``lifecycle`` and ``spec`` as they are written, references
    unresolved; ``source``: where it is declared; ``positions``: of its fields."""

    address: Address
    value: Mapping[str, Any]
    source: Source | None = None
    positions: Mapping[Parts, Source] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs. ``path``: below spec, or from metadata or lifecycle on. ``left``, ``right``:
    MISSING where there is none. ``is_order``: the items are the same, and their order differs."""

    path: FieldPath
    left: Any
    right: Any
    left_source: Source | None = None
    right_source: Source | None = None
    is_order: bool = False
    sensitive: bool = False
    in_spec: bool = True

    def shown(self, value: Any) -> Any:
        """One of the two values, fit to be shown: what may hold a secret is masked, a reference is not."""
        if not self.sensitive or value is MISSING:
            return value
        return _hidden(value)


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _hidden(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hidden(item) for item in value]
    is_reference = isinstance(value, str) and value.startswith(("${", "{{secrets/")) and value.endswith("}")
    return value if value is None or is_reference else MASK


@dataclass(frozen=True, slots=True)
class Pair:
    """One resource on both sides, or on one of them."""

    left: Side | None
    right: Side | None

    @property
    def address(self) -> Address:
        """The left one's, else the right one's."""
        one = self.left or self.right
        assert one is not None
        return one.address


@dataclass(frozen=True, slots=True)
class Move:
    """One resource of both environments. ``pair``: the destination's side, then the source's.

    ``travelling``: what the destination gets from the source; ``staying``: what differs and may not travel.
    """

    pair: Pair
    travelling: tuple[Difference, ...]
    staying: tuple[Difference, ...]
