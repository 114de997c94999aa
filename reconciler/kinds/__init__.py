"""What a kind is: a handful of functions. What its *fields* are stands in its schema.

A kind turns answers into the shape of a spec, says which calls a difference takes, and what a live
resource is doing. Everything here is pure: values in, values out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reconciler.schema import Field, spec_fields
from reconciler.values import Action, Address, Call, FieldChange, Live, Resource, Skipped, Status

__all__ = ["Kind", "kind", "kind_of"]


class Comparable(Protocol):
    """Desired and live in one shape, and what was taken out beforehand."""

    def __call__(
        self, resource: Resource, live: Live, shape: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]: ...


class Calls(Protocol):
    """The exact calls of a step, fewest and in order."""

    def __call__(
        self, resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
    ) -> tuple[Call, ...]: ...


class OneArgument(Protocol):
    """A function of the live side."""

    def __call__(self, live: Live) -> Any: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """The functions of one kind. ``is_assertion``: it only says what must hold; nothing is written for it."""

    name: str
    fields: Field
    comparable: Comparable
    calls: Calls
    normalise: OneArgument
    fingerprint: FingerprintOf
    moved: MovedBetween
    notes: OneArgument
    status: StatusOf
    notice: NoticeOf
    references: ReferencesOf
    query_path: PathOf
    is_assertion: bool = False


class FingerprintOf(Protocol):
    """Digest of what a plan may be judged by; ``shape`` is the live side, normalised."""

    def __call__(self, live: Live, shape: Mapping[str, Any]) -> str: ...


class MovedBetween(Protocol):
    """The sections that differ between two normalised live sides, as the fingerprint sees them."""

    def __call__(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]: ...


class StatusOf(Protocol):
    """What a live resource is doing, from the raw answer, with a line about it."""

    def __call__(self, raw: Mapping[str, Any]) -> tuple[Status, str]: ...


class NoticeOf(Protocol):
    """What callers will notice."""

    def __call__(self, action: Action, changes: Sequence[FieldChange]) -> str: ...


class PathOf(Protocol):
    """The path below the target's URL where a resource of this name is queried."""

    def __call__(self, name: str) -> str: ...


class ReferencesOf(Protocol):
    """Addresses (as text) that must exist before this one."""

    def __call__(self, resource: Resource) -> tuple[str, ...]: ...


def kind_of(address: Address) -> Kind:
    """The kind of a resource, as its target speaks of it."""
    return kind(address.kind, address.dialect)


@functools.cache
def kind(name: str, dialect: str = "") -> Kind:
    """The kind of this name. Raises KeyError when there is none."""
    from reconciler.kinds import deployment, endpoint, endpoint_calls, model, plugin_endpoint

    modules: dict[tuple[str, str], tuple[Any, Any, str]] = {
        ("Endpoint", ""): (endpoint, endpoint_calls, "Endpoint"),
        # What an endpoint's settings are is the plugin's affair: they are compared as a deployment's are.
        ("Endpoint", "plugin"): (plugin_endpoint, plugin_endpoint, "Deployment"),
        ("Endpoint", deployment.MARKED): (plugin_endpoint, plugin_endpoint, "Deployment"),
        ("Deployment", dialect): (deployment, deployment, "Deployment"),
        ("Model", dialect): (model, model, "Model"),
    }
    module, calls, fields = modules[name, dialect]
    return Kind(
        name=name,
        fields=spec_fields(fields),
        comparable=module.comparable,
        calls=calls.calls,
        normalise=module.normalise,
        fingerprint=module.fingerprint,
        moved=module.moved,
        notes=module.notes,
        status=module.status,
        notice=module.notice,
        references=module.references,
        query_path=module.query_path,
        is_assertion=name == "Model",
    )
