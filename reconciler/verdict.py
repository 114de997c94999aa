"""What a check of drift found: frozen values, as those of :mod:`reconciler.values`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.values import Action, Address, FieldPath, Plan, Step

__all__ = ["ASSERTION", "KINDS", "Aside", "Drift", "Drifted", "Reading", "Since", "Unseen", "kind_of_drift"]

ASSERTION: Final = "assertion"
KINDS: Final = (*(action.value for action in Action if action is not Action.NO_OP), ASSERTION)
"""Kinds of drift, named for what would repair it; an assertion that does not hold is repaired elsewhere."""


def kind_of_drift(step: Step) -> str:
    """One of :data:`KINDS`, "" when the resource is as declared."""
    if step.failure:
        return ASSERTION
    return "" if step.action is Action.NO_OP else step.action.value


@dataclass(frozen=True, slots=True)
class Aside:
    """Drift that does not count, since a term says so. ``path``: None for the whole resource."""

    address: Address
    path: FieldPath | None
    why: str


@dataclass(frozen=True, slots=True)
class Since:
    """Between which moments something drifted, as far as this machine knows (RFC 3339, UTC; "" unknown).

    ``clean_at``: when it was last known to be as declared, ``clean_by``: by what. ``seen_at``: the first
    check that saw it as it is. ``fields``: the same of each field. ``updated_at``: the server's
    ``last_updated_timestamp``; ``created_at``: its ``creation_timestamp``, when this is another resource of
    that name than the one that was seen before.
    """

    clean_at: str = ""
    clean_by: str = ""
    seen_at: str = ""
    fields: Mapping[str, str] | None = None
    updated_at: str = ""
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Drifted:
    """One resource that is not as declared. ``counts``: it is of a kind that fails the check."""

    step: Step
    kind: str
    counts: bool
    since: Since


@dataclass(frozen=True, slots=True)
class Unseen:
    """A section that was not looked at: of so many resources, as they were read at ``since`` the latest."""

    section: str
    addresses: tuple[Address, ...]
    since: str


@dataclass(frozen=True, slots=True)
class Reading:
    """How the live side was looked at.

    ``mode``: "full" or "fast". ``detail``: read in detail, ``reused``: taken from the cache. ``why``: why it
    was full though fast was asked for, "" otherwise.
    """

    mode: str
    detail: int
    reused: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Drift:
    """What a check found. ``plan``: sifted, a step for each resource. ``checked_at``: RFC 3339, UTC."""

    plan: Plan
    drifted: tuple[Drifted, ...]
    aside: tuple[Aside, ...]
    unseen: tuple[Unseen, ...]
    reading: Reading
    checked_at: str
    environment: str = ""

    @property
    def fails(self) -> bool:
        """Something drifted in a way that counts."""
        return any(one.counts for one in self.drifted)

    @property
    def put_aside(self) -> frozenset[Address]:
        """Resources of which something is left out of the verdict."""
        return frozenset(one.address for one in self.aside)
