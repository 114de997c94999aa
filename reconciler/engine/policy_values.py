"""What a policy may see, as JSON: the same that a report may show. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.kinds import kind_of
from reconciler.redact import shown, shown_body
from reconciler.shape import canonical
from reconciler.values import Action, FieldPath, Plan, Resource, Secret, Step

__all__ = ["plan_value", "resource_value", "step_value"]


def resource_value(resource: Resource) -> dict[str, Any]:
    """A desired resource. ``spec`` is in the one spelling: a rule about served_entities sees served_models
    too.

    ``plaintext`` and ``references``: paths of what is sent in plain text, and of references to secrets.
    """
    of = kind_of(resource.address)
    shape = canonical(of.fields, dict(resource.spec))
    found = list(_secrets(shape, ()))
    lifecycle = resource.lifecycle
    return {
        "address": str(resource.address),
        "kind": resource.address.kind,
        "name": resource.address.name,
        "labels": dict(resource.labels),
        "spec": shown_body(shape, resource.address.kind),
        "lifecycle": {
            "prevent_destroy": lifecycle.prevent_destroy,
            "ignore_changes": list(lifecycle.ignore_changes),
            "moved_from": lifecycle.moved_from,
        },
        "file": resource.source.file,
        "line": resource.source.line,
        "plaintext": [path for path, is_plain in found if is_plain],
        "references": [path for path, is_plain in found if not is_plain],
    }


def _secrets(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, bool]]:
    """The paths of secrets, each with whether the value itself is sent."""
    if isinstance(value, Secret):
        yield str(FieldPath(path)), True
    elif isinstance(value, str):
        if value.startswith("{{secrets/") and value.endswith("}}"):
            yield str(FieldPath(path)), False
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _secrets(item, (*path, str(name)))
    elif isinstance(value, (list, tuple)):
        for at, item in enumerate(value):
            yield from _secrets(item, (*path, at))


def step_value(step: Step) -> dict[str, Any]:
    """A step of a plan, with what changes as a report shows it."""
    changes = []
    for change in step.changes:
        before, after = shown(change, step.address.kind)
        changes.append(
            {
                "path": str(change.path),
                "section": change.section,
                "before": before,
                "after": after,
                "words": change.words,
                "sensitive": change.sensitive,
                "forces_replace": change.forces_replace,
                "cause": change.cause,
            }
        )
    return {
        "address": str(step.address),
        "kind": step.address.kind,
        "name": step.address.name,
        "action": step.action.value,
        "changes": changes,
        "calls": [{"method": call.method, "path": call.path, "section": call.section} for call in step.calls],
        "notice": step.notice,
        "notes": list(step.notes),
        "protected": step.protected,
    }


def plan_value(plan: Plan, environment: str) -> dict[str, Any]:
    """The plan: how many steps do what, where it goes, and its steps."""
    return {
        "target": plan.target,
        "environment": environment,
        "stack": plan.stack,
        "counts": {action.value: plan.count(action) for action in Action},
        "write_calls": plan.write_calls,
        "steps": [step_value(step) for step in plan.steps],
    }
