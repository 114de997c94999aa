"""The tags that are ours: which stack owns what carries them, and what ``prevent_destroy`` protects. Pure.

Where a target keeps tags, ownership and protection stand on the live side, so that they outlive the manifest:
``reconciler.stack: STACK`` and ``reconciler.protected: "true"``. They are part of no spec: a manifest writes
neither, and neither is ever drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reconciler.values import PROTECTED_TAG, STACK_TAG, FieldChange, FieldPath, Resource

__all__ = [
    "KEPT",
    "MARKS",
    "MOST_TAGS",
    "OWNER",
    "PROTECTION",
    "SECTIONS",
    "owner_change",
    "protection_change",
    "wanted",
    "without_marks",
]

OWNER: Final = "owner"
"""Section of the change that makes a resource a stack's, or nobody's."""
PROTECTION: Final = "protected"
"""Section of the change that writes or lifts the protection on the live side."""
SECTIONS: Final[Mapping[str, str]] = {OWNER: STACK_TAG, PROTECTION: PROTECTED_TAG}
"""Section → the tag that it is about."""
MARKS: Final = tuple(SECTIONS.values())
KEPT: Final[Mapping[str, str]] = {
    STACK_TAG: "it says which stack owns the endpoint",
    PROTECTED_TAG: "it says that the endpoint is protected",
}
"""Tag → why it stays, though no manifest names it."""

MOST_TAGS: Final = 20
"""So many tags an endpoint of Databricks takes, ours among them."""
_PROTECTED: Final = "true"


def wanted(resource: Resource) -> Mapping[str, str | None]:
    """The marks that a resource shall carry, None for one that it shall not; without a stack none is told."""
    if resource.marks is not None:
        return resource.marks
    if not resource.stack:
        return {}
    protected = _PROTECTED if resource.lifecycle.prevent_destroy else None
    return {STACK_TAG: resource.stack, PROTECTED_TAG: protected}


def without_marks(tags: Mapping[str, Any]) -> dict[str, Any]:
    """The tags that are the user's."""
    return {key: value for key, value in tags.items() if key not in MARKS}


def owner_change(resource: Resource, carried: Mapping[str, Any]) -> FieldChange | None:
    """The change of its owner; ``carried``: its live tags. None when there is none."""
    marks = wanted(resource)
    before = carried.get(STACK_TAG) or None
    if STACK_TAG not in marks or marks[STACK_TAG] == before:
        return None
    after = marks[STACK_TAG]
    words = "" if after else "given up: nobody's from then on"
    return FieldChange(FieldPath((OWNER,)), before, after, words=words, section=OWNER)


def protection_change(resource: Resource, carried: Mapping[str, Any]) -> FieldChange | None:
    """The change of its protection; ``carried``: its live tags. None when there is none."""
    marks = wanted(resource)
    before = carried.get(PROTECTED_TAG)
    if PROTECTED_TAG not in marks or marks[PROTECTED_TAG] == before:
        return None
    after = marks[PROTECTED_TAG]
    words = "protected on the live side too" if after else "protection lifted"
    return FieldChange(FieldPath((PROTECTION,)), before, after, words=words, section=PROTECTION)
