"""What is to be done: changes, calls, steps."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.values.places import Address, FieldPath, Source

__all__ = [
    "Action",
    "Call",
    "FieldChange",
    "Reason",
    "Skipped",
    "Step",
    "requests_of",
]


class Action(enum.StrEnum):
    """What a step does to its resource."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    ADOPT = "adopt"
    NO_OP = "no_op"


class Reason(enum.StrEnum):
    """Why the comparison left a field out."""

    BACKEND_DEFAULT = "backend_default"
    SERVER_CHOSEN = "server_chosen"
    SERVER_OVERRIDES = "server_overrides"
    WRITE_ONLY = "write_only"
    NOT_ECHOED = "not_echoed"
    IGNORED = "ignored"
    UNMANAGED = "unmanaged"
    COMPUTED = "computed"
    UNKNOWN = "unknown"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One difference between desired and live.

    ``before`` and ``after`` are normalised values; None means absent. ``sensitive``: both are shown
    masked. ``words``: the change as people say it, "" when the values say it best. ``forces_replace``:
    no call can make this change in place. ``section``: the part of the spec that is sent for it. ``cause``:
    "intended" (the manifests changed), "drift" (the live side did), "both", or "" when nobody asked.
    ``set_by``: the commit that last set the value, as people read it.
    """

    path: FieldPath
    before: Any
    after: Any
    sensitive: bool = False
    words: str = ""
    forces_replace: bool = False
    why: str = ""
    section: str = ""
    source: Source | None = None
    cause: str = ""
    set_by: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A field that was not compared, and why. ``detail`` is a sentence for people, "" when none is needed."""

    path: FieldPath
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One write, as data: the client method with its arguments, and the HTTP request that it makes.

    ``path`` may hold ``{id}`` where the live id is known only after the create before it. ``body`` may
    hold :class:`Secret` values and :class:`LiveId`s. ``section``: the part of the spec that it changes, ""
    for all of it; ``also``: more of them. ``waits``: the endpoint is awaited ready before the next call.
    ``needs_settled``: the call is refused by the server while an update is in progress. ``shared``: one
    request carries this call of every step of the plan.
    """

    operation: str
    arguments: Mapping[str, Any]
    method: str
    path: str
    body: Any = None
    section: str = ""
    waits: bool = False
    needs_settled: bool = False
    also: tuple[str, ...] = ()
    shared: bool = False

    @property
    def creates(self) -> bool:
        """It makes the resource."""
        return self.operation.startswith("create_")

    @property
    def deletes(self) -> bool:
        """It ends the resource, and not only a part of it."""
        return self.operation.startswith("delete_") and not self.section


def requests_of(calls: Iterable[Call]) -> int:
    """How many requests these calls are."""
    shares = [call.shared for call in calls]
    return shares.count(False) + (True in shares)


@dataclass(frozen=True, slots=True)
class Step:
    """What a plan does to one resource; complete in itself.

    ``changes``: why. ``skipped``: what was left out of the comparison, and why. ``compared``: how many
    fields were compared. ``notice``: what callers of the endpoint will notice. ``notes``: sentences for
    people (an update in progress, a failed one …). ``fingerprint``: digest of the live side this step
    was judged by, "" when the resource did not exist. ``base``: the normalised live side behind that
    digest, for naming what moved. ``depends_on``: steps that must be done before. ``failure``: an assertion
    that does not hold. ``refusal``: why it may not be carried out (what, then lines ``why: ``, ``next: ``).
    ``is_foreign``: it is live, and not this stack's. ``is_undeclared``: it is deleted because no manifest
    names it any more. ``moved_to``: it is deleted because that one, once it is live, takes its place.
    ``is_busy``: nothing is to be written, and what is declared is still on its way: an apply waits for it.
    """

    address: Address
    action: Action
    changes: tuple[FieldChange, ...] = ()
    calls: tuple[Call, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    compared: int = 0
    notice: str = ""
    notes: tuple[str, ...] = ()
    source: Source | None = None
    fingerprint: str = ""
    base: Mapping[str, Any] | None = None
    protected: bool = False
    depends_on: tuple[Address, ...] = ()
    failure: str = ""
    refusal: str = ""
    is_foreign: bool = False
    is_undeclared: bool = False
    moved_to: Address | None = None
    is_busy: bool = False
