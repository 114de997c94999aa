"""What the kinds of an MLflow AI Gateway (in a tracking server) share: marks of ownership, calls, digests.

Facts: mlflow 3.17, ``/api/3.0/mlflow/gateway/``. Nothing there has a state: what is answered is live.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.values import (
    MASK,
    Action,
    Address,
    Call,
    FieldChange,
    FieldPath,
    Live,
    LiveId,
    Masked,
    Resource,
    Secret,
    Status,
)

__all__ = [
    "API",
    "OWNER",
    "call",
    "digest",
    "live_id",
    "mark",
    "moved",
    "notes",
    "owner_change",
    "renamed",
    "stack_of",
    "stamped_by",
    "status",
    "written",
]

API: Final = "/api/3.0/mlflow/gateway"
OWNER: Final = "owner"
"""Section of the change that makes a resource ours."""

# What stands in created_by and last_updated_by of what we write: the stack, and for secrets a fingerprint.
_MARK: Final = re.compile(r"reconciler:(?P<stack>[A-Za-z0-9_-]+)(?: seal:(?P<seal>\S+))?\Z")


def mark(stack: str, seal: str = "") -> str:
    """The text by which what a stack writes is known again."""
    return f"reconciler:{stack}" + (f" seal:{seal}" if seal else "")


def stamped_by(text: Any) -> tuple[str, str]:
    """The stack and the seal in a mark; both "" when it is none of ours."""
    found = _MARK.match(text) if isinstance(text, str) else None
    return (found["stack"], found["seal"] or "") if found else ("", "")


def stack_of(live: Live) -> str:
    """The stack that owns a secret or a model definition: who wrote it last, else who made it; "" nobody's.

    ``created_by`` never changes; what was adopted carries its mark in ``last_updated_by``.
    """
    raw = live.raw
    return stamped_by(raw.get("last_updated_by"))[0] or stamped_by(raw.get("created_by"))[0]


def owner_change(resource: Resource, before: str) -> FieldChange:
    """The change that makes a resource this stack's."""
    return FieldChange(
        FieldPath((OWNER,)), before or None, resource.stack, section=OWNER, why="so that it is known as ours"
    )


def renamed(resource: Resource, name: str) -> FieldChange | None:
    """The change of name, when it lives under another one (``lifecycle.moved_from``)."""
    if name == resource.address.name:
        return None
    after = resource.address.name
    words = f"renamed {name} → {after}"
    return FieldChange(FieldPath(("name",)), name, after, words=words, section="name")


def live_id(kind: str, name: str) -> LiveId:
    """The id of a resource that a manifest names."""
    return LiveId(Address(kind, name))


def call(
    operation: str, method: str, route: str, body: Mapping[str, Any], section: str = "", *also: str
) -> Call:
    """One request; what is sent and the client method's arguments are the same."""
    return Call(operation, body, method, f"{API}/{route}", body, section=section, also=also)


def written(resource: Resource, *names: str) -> dict[str, Any]:
    """Those of the spec's fields that are written and not empty."""
    spec = resource.spec
    return {name: spec[name] for name in names if spec.get(name) not in (None, {}, [])}


def digest(*parts: Any) -> str:
    """Of JSON-like values, whatever the order of their keys."""

    def shown(item: Any) -> str:
        return item.digest if isinstance(item, Masked) else MASK if isinstance(item, Secret) else str(item)

    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=shown).encode()).hexdigest()


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """The sections that differ."""
    names = sorted({*before, *after})
    return tuple(name for name in names if digest(before.get(name)) != digest(after.get(name)))


def status(raw: Mapping[str, Any]) -> tuple[Status, str]:
    """A gateway has no rollouts: what it answers, it does."""
    return Status.READY, "ready"


def notes(live: Live) -> tuple[str, ...]:
    """What the reader found out about it (two of one name, and the like)."""
    return tuple(str(note) for note in live.raw.get("notes") or ())


def notice(noun: str, action: Action, changes: Sequence[FieldChange]) -> str:
    """What callers of an endpoint notice of a change to what stands behind it."""
    match action:
        case Action.CREATE | Action.NO_OP:
            return "nothing"
        case Action.ADOPT if all(change.section == OWNER for change in changes):
            return "nothing"
        case Action.DELETE:
            return "nothing: it is deleted only while nothing uses it"
        case Action.REPLACE:
            return f"the {noun} has another id"
        case _:
            return f"requests that begin from now on use the new {noun}"
