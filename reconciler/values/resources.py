"""Both sides of a comparison: what is declared, and what is live."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.values.places import Address, Source

__all__ = [
    "PROTECTED_TAG",
    "STACK_TAG",
    "Lifecycle",
    "Live",
    "LiveId",
    "Reference",
    "Resource",
    "Snapshot",
    "Status",
]

STACK_TAG = "reconciler.stack"
"""Key of the tag that says which stack owns what carries it."""
PROTECTED_TAG = "reconciler.protected"
"""Key of the tag, with the value "true", of what lifecycle.prevent_destroy protects."""


@dataclass(frozen=True, slots=True)
class LiveId:
    """The server's id of a resource that does not exist yet: known once its create was answered."""

    address: Address

    def __str__(self) -> str:
        return f"<id of {self.address}>"


@dataclass(frozen=True, slots=True)
class Reference:
    """A field of a spec that names another resource; ``path``: where, below the spec."""

    address: Address
    path: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The manifest's ``lifecycle`` block."""

    prevent_destroy: bool = False
    ignore_changes: tuple[str, ...] = ()
    moved_from: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """One desired resource.

    ``spec``: the manifest's spec with references resolved (secrets are :class:`Secret`), in the user's
    spelling. ``positions``: FieldPath text without list keys (``spec.config.served_entities.0.name``
    as a tuple of names and indices) → where it stands. ``stack``: who will own it, where the target can
    carry that. ``marks``: the tags of ours that it shall carry, None for one that is taken away, what is
    left out stays as it is; None: as stack and lifecycle say. ``seal``: the keyed fingerprint of its
    write-only values, "" without a key. ``kept_in``: the file that it lives in, "" when it lives on a server.
    """

    address: Address
    spec: Mapping[str, Any]
    source: Source
    labels: Mapping[str, str] = field(default_factory=dict)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    allow_unknown_fields: bool = False
    stack: str = ""
    marks: Mapping[str, str | None] | None = None
    seal: str = ""
    kept_in: str = ""
    positions: Mapping[tuple[str | int, ...], Source] = field(default_factory=dict)

    @property
    def place(self) -> Source | None:
        """Where it is declared; None for what no manifest declares."""
        return self.source if self.source.file else None

    def source_of(self, path: Iterable[str | int]) -> Source:
        """Where a field of the spec stands: the nearest known place at or above ``path``."""
        parts = tuple(path)
        while parts:
            if found := self.positions.get(parts):
                return found
            parts = parts[:-1]
        return self.source


@dataclass(frozen=True, slots=True)
class Live:
    """One resource as the target has it.

    ``raw``: the answer of the detailed read, unknown fields included, with what only the list says
    merged in. ``permissions``: the answer of the permissions read, None when it was not asked.
    """

    address: Address
    raw: Mapping[str, Any]
    permissions: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The live side at one moment. ``names``: every address that the list showed, read in detail or not.

    ``taken_at``: RFC 3339, UTC. ``salt``: of the digests that replaced secret-bearing values when it was
    saved. ``ids``: the server's ids of what references may name, declared or not. ``owners``: the stack that
    owns each of those that the list shows a marker of.
    """

    target: str
    taken_at: str
    resources: Mapping[Address, Live]
    names: tuple[Address, ...] = ()
    salt: str = ""
    ids: Mapping[Address, str] = field(default_factory=dict)
    owners: Mapping[Address, str] = field(default_factory=dict)


class Status(enum.StrEnum):
    """What a live resource is doing."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"
