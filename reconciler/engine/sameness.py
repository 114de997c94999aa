"""When two values mean the same, and where two free-form ones differ. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.schema import MISSING, Field
from reconciler.values import FieldChange, FieldPath, Masked, Secret

__all__ = ["contains", "equal", "explained", "is_absent"]


def is_absent(value: Any) -> bool:
    """Nothing that the API would tell from absence."""
    return value is MISSING or value is None or value == {} or value == []


def equal(definition: Field | None, desired: Any, live: Any) -> bool:
    """Whether two scalars mean the same. Booleans are no numbers; 1 and 1.0 are one number."""
    if isinstance(desired, Secret):
        desired = desired.reveal()
    if isinstance(live, Masked):
        return isinstance(desired, Masked | str) and (
            live == desired if isinstance(desired, Masked) else live.matches(desired)
        )
    if isinstance(desired, bool) != isinstance(live, bool):
        return False
    if (
        definition is not None
        and definition.case_insensitive
        and isinstance(desired, str)
        and isinstance(live, str)
    ):
        return desired.casefold() == live.casefold()
    return bool(desired == live)


def contains(live: Any, default: Any) -> bool:
    """Everything that ``default`` says stands in ``live`` (an answer may say it in both spellings)."""
    if isinstance(default, Mapping):
        return isinstance(live, Mapping) and all(
            name in live and contains(live[name], value) for name, value in default.items()
        )
    if isinstance(default, list):
        return isinstance(live, list) and len(live) == len(default) and all(map(contains, live, default))
    return bool(live == default)


def explained(before: Mapping[str, Any], after: Mapping[str, Any], path: FieldPath) -> list[FieldChange]:
    """Where two free-form values differ; deepdiff is imported only here, for it is heavy."""
    from deepdiff import DeepDiff

    difference = DeepDiff(before, after, view="tree", verbose_level=2)
    changes = []
    for group in difference.values():
        for one in group:
            where = path
            for part in one.path(output_format="list"):
                where = where / part
            old = None if "added" in one.report_type else one.t1
            new = None if "removed" in one.report_type else one.t2
            changes.append(FieldChange(where, old, new))
    return sorted(changes, key=lambda change: str(change.path))
