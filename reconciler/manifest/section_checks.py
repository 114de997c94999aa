"""Checks of whole sections of a spec, and of the lifecycle block. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.errors import UsageError
from reconciler.manifest.findings import Findings
from reconciler.manifest.positions import Parts
from reconciler.manifest.scalars import shown
from reconciler.manifest.suggest import did_you_mean
from reconciler.schema import Field, lookup
from reconciler.values import FieldPath, ItemKey

__all__ = ["check_ignored", "check_sections"]


def check_sections(fields: Field, spec: Mapping[str, Any], findings: Findings) -> None:
    """Sections that cannot be cleared, that are excluded by another, or that the create call refuses."""
    is_pt = next((name for name in _variant_fields(fields, spec)), None)
    for section, value in spec.items():
        here = fields.properties.get(section)
        if here is None:
            continue
        path: Parts = ("spec", section)
        is_empty = value is None or value == {} or value == []
        if here.clear == "never" and is_empty:
            what = f"{section} cannot be cleared"
            findings.problem(path, what, "leave it out to leave it as it is", "cannot-clear")
        if is_empty or value == here.default:
            continue
        if is_pt and here.create and "pt" not in here.create:
            what = f"{section} is not accepted by endpoints with {is_pt}"
            findings.problem(path, what, f"remove {section} or {is_pt}", "not-in-variant")
        for rule in here.excludes:
            if _exists(fields, spec, rule["path"].split(".")):
                findings.problem(path, rule["why"], f"remove {section}", "excluded-section")


def _variant_fields(here: Field, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            child = here.properties.get(name)
            if child is not None and child.variant and item is not None:
                yield name
            if child is not None and isinstance(item, (dict, list)):
                yield from _variant_fields(child, item)
    elif isinstance(value, list) and here.items is not None:
        for item in value:
            yield from _variant_fields(here.items, item)


def _exists(here: Field | None, value: Any, parts: Sequence[str]) -> bool:
    """Something stands at a path (``*``: any item), in whichever spelling."""
    if not parts:
        return value is not None
    if parts[0] == "*" and isinstance(value, list):
        return any(_exists(here.items if here else None, item, parts[1:]) for item in value)
    if not isinstance(value, dict):
        return False
    spellings = [parts[0]]
    if here is not None:
        spellings += [other for other, main in here.aliases.items() if main == parts[0]]
    return any(
        _exists(here.properties.get(name) if here else None, value[name], parts[1:])
        for name in spellings
        if name in value
    )


# ---- lifecycle ------------------------------------------------------------------------------------------


def check_ignored(fields: Field, document: Mapping[str, Any], findings: Findings) -> None:
    """``lifecycle.ignore_changes`` names fields that exist."""
    ignored = lookup(document, "lifecycle.ignore_changes")
    if not isinstance(ignored, list):
        return
    is_open = lookup(document, "metadata.allow_unknown_fields") is True
    for at, text in enumerate(ignored):
        path: Parts = ("lifecycle", "ignore_changes", at)
        if findings.is_full:
            return
        if not isinstance(text, str) or not text:
            continue
        try:
            pattern = FieldPath.parse(text)
        except UsageError as error:
            findings.problem(path, f"{shown(text)} is not a field path", error.fix, "ignored-path")
            continue
        if not is_open:
            _check_ignored_path(fields, pattern, path, findings)


def _check_ignored_path(fields: Field, pattern: FieldPath, path: Parts, findings: Findings) -> None:
    here: Field | None = fields
    for at, part in enumerate(pattern):
        if here is None or not (here.properties or here.items or here.extra or here.pairs):
            what = f"{FieldPath(pattern[:at])} has no fields of its own"
            findings.problem(path, what, "shorten the path", "ignored-path")
            return
        if isinstance(part, ItemKey):
            here = here.items or here.extra
        elif isinstance(part, str) and part in here.properties:
            here = here.properties[part]
        elif here.extra is not None:
            here = here.extra
        else:
            names: Mapping[str, Field] = here.properties or (here.items.properties if here.items else {})
            fix = did_you_mean(str(part), [name for name, child in names.items() if not child.computed])
            if here.items is not None:
                fix = f"write {FieldPath(pattern[:at])}[*].{part}"
            elif at == 0 and part == "spec":
                fix = "paths begin below spec"
            above = f" in {FieldPath(pattern[:at])}" if at else ""
            findings.problem(path, f"no field {shown(part)}{above}", fix, "ignored-path")
            return
