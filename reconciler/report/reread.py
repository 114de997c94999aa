"""A plan from its JSON: to show again what a file holds. Nothing that is read here is ever carried out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reconciler.errors import UsageError
from reconciler.values import (
    Action,
    Address,
    Call,
    FieldChange,
    FieldPath,
    Freeze,
    Plan,
    PolicyLevel,
    Reason,
    Secret,
    Skipped,
    Source,
    Step,
    Violation,
)

__all__ = ["plan_from_json"]


class _Written(FieldPath):
    """A path of which only the text is known."""

    text: str

    @classmethod
    def of(cls, text: str) -> _Written:
        path = cls()
        path.text = text
        return path

    def __str__(self) -> str:
        return self.text


def plan_from_json(document: Mapping[str, Any]) -> Plan:
    """The plan that ``plan_json`` gave this document for. Raises UsageError when it is something else."""
    try:
        return Plan(
            str(document["target"]),
            tuple(_step(step) for step in document["steps"]),
            str(document["stack"]),
            tuple(str(note) for note in document["notes"]),
            tuple(_violation(one) for one in document.get("policies", ())),
            tuple(_freeze(one) for one in document.get("freezes", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError("this is not a plan", why=f"it lacks or garbles {error}") from error


def _step(step: Mapping[str, Any]) -> Step:
    return Step(
        Address.parse(str(step["address"])),
        Action(step["action"]),
        changes=tuple(_change(change) for change in step["changes"]),
        calls=tuple(_call(call) for call in step["calls"]),
        skipped=tuple(
            Skipped(_Written.of(str(one["path"])), Reason(one["reason"]), str(one["detail"]))
            for one in step["skipped"]
        ),
        compared=int(step["compared"]),
        notice=str(step["notice"]),
        notes=tuple(str(note) for note in step["notes"]),
        source=_place(step["source"]),
        fingerprint=str(step["fingerprint"]),
        protected=bool(step["protected"]),
        failure=str(step.get("failure", "")),
        refusal=str(step.get("refusal", "")),
        depends_on=tuple(Address.parse(str(address)) for address in step.get("depends_on", ())),
        is_undeclared=bool(step.get("undeclared", False)),
        moved_to=Address.parse(str(step["moved_to"])) if step.get("moved_to") else None,
    )


def _freeze(one: Mapping[str, Any]) -> Freeze:
    stops = tuple(Address.parse(str(address)) for address in one["stops"])
    return Freeze(str(one["what"]), str(one["until"]), str(one["reason"]), _place(one["source"]), stops)


def _violation(one: Mapping[str, Any]) -> Violation:
    return Violation(
        str(one["policy"]),
        PolicyLevel(one["level"]),
        str(one["message"]),
        Address.parse(str(one["address"])) if one["address"] is not None else None,
        _place(one["source"]),
        str(one["path"]),
        str(one["next"]),
        _place(one["declared"]),
        str(one["digest"]),
        str(one["approved_by"]),
        str(one["approved_at"]),
        bool(one["broken"]),
    )


def _change(change: Mapping[str, Any]) -> FieldChange:
    return FieldChange(
        _Written.of(str(change["path"])),
        _value(change["before"]),
        _value(change["after"]),
        sensitive=bool(change["sensitive"]),
        words=str(change["words"]),
        forces_replace=bool(change["forces_replace"]),
        why=str(change["why"]),
        source=_place(change["source"]),
        cause=str(change.get("cause", "")),
        set_by=str(change.get("set_by", "")),
    )


def _call(call: Mapping[str, Any]) -> Call:
    return Call(str(call["client_method"]), {}, str(call["method"]), str(call["path"]), _value(call["body"]))


_REFERENCE = re.compile(r"\$\{[a-z]+:")


def _value(value: Any) -> Any:
    """A value as it was; a reference is shown where its secret would be masked."""
    if isinstance(value, str) and _REFERENCE.search(value):
        return Secret("", value)
    if isinstance(value, Mapping):
        return {str(name): _value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_value(item) for item in value]
    return value


def _place(text: str | None) -> Source | None:
    if text is None:
        return None
    file, _, line = text.rpartition(":")
    return Source(file, int(line))
