"""What a kind is: a handful of functions. What its *fields* are stands in its schema.

A kind turns answers into the shape of a spec, says which calls a difference takes, and what a live
resource is doing. Everything here is pure: values in, values out.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from reconciler.schema import Field, spec_fields
from reconciler.values import (
    Action,
    Address,
    Call,
    FieldChange,
    Live,
    Masked,
    Reference,
    Resource,
    Skipped,
    Status,
)

__all__ = ["Kind", "kind", "kind_of", "references"]


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


class IsSo(Protocol):
    """A claim about the live side."""

    def __call__(self, live: Live) -> bool: ...


def _never(live: Live) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Kind:
    """The functions of one kind. ``is_assertion``: it only says what must hold; nothing is written for it.

    ``owned_by`` gives the stack that owns a live resource, "" when none does, and ``owner_change`` the change
    that makes it a stack's; both None for a kind whose resources carry no mark. ``unowned_is_ours``: what no
    stack owns is the stack's whose manifest declares it. ``is_protected``: its live side says that it may not
    be deleted; ``protection_change``: what makes it say so, or not. ``renamed``: the change of name when it
    lives under another one. ``id_of``: the server's id in an answer, "" when it has none. ``spec_at``: the
    section of the compared shape that is the whole spec, "" when that shape is the spec's own.
    """

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
    query_path: PathOf
    id_of: IdOf
    owned_by: OwnerOf | None = None
    owner_change: ChangeOf | None = None
    unowned_is_ours: bool = False
    is_protected: IsSo = _never
    protection_change: ChangeOf | None = None
    renamed: ChangeOf | None = None
    is_assertion: bool = False
    spec_at: str = ""


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


class IdOf(Protocol):
    """The server's id in an answer."""

    def __call__(self, raw: Mapping[str, Any]) -> str: ...


class OwnerOf(Protocol):
    """The stack that owns a live resource; of a saved snapshot it may be a digest."""

    def __call__(self, live: Live) -> str | Masked: ...


class ChangeOf(Protocol):
    """A change that no field of the spec tells, None when there is none."""

    def __call__(self, resource: Resource, live: Live) -> FieldChange | None: ...


def kind_of(address: Address) -> Kind:
    """The kind of a resource, as its target speaks of it."""
    return kind(address.kind, address.dialect)


# Kind and dialect → module of its functions, module of its calls, kind whose schema it has. Imported when
# asked for: a plan needs one or two of them.
_MODULES: Final[Mapping[tuple[str, str], tuple[str, str, str]]] = {
    ("Endpoint", ""): ("endpoint", "endpoint_calls", "Endpoint"),
    # What an endpoint's settings are is the plugin's affair: they are compared as a deployment's are.
    ("Endpoint", "plugin"): ("plugin_endpoint", "plugin_endpoint", "Deployment"),
    ("Endpoint", "plugin+tags"): ("plugin_endpoint", "plugin_endpoint", "Deployment"),
    ("Deployment", ""): ("deployment", "deployment", "Deployment"),
    ("Model", ""): ("model", "model", "Model"),
    ("GatewaySecret", ""): ("gateway_secret", "gateway_secret", "GatewaySecret"),
    ("GatewayModel", ""): ("gateway_model", "gateway_model", "GatewayModel"),
    ("GatewayEndpoint", ""): ("gateway_endpoint", "gateway_endpoint", "GatewayEndpoint"),
    ("GatewayBudget", ""): ("gateway_budget", "gateway_budget", "GatewayBudget"),
    # In a gateway's configuration file: secrets and models are parts of the endpoints there.
    ("GatewayEndpoint", "file"): ("file_endpoint", "file_endpoint", "ConfigFileEndpoint"),
    ("GatewayGuardrail", ""): ("gateway_guardrail", "gateway_guardrail", "GatewayGuardrail"),
}


@functools.cache
def kind(name: str, dialect: str = "") -> Kind:
    """The kind of this name. Raises KeyError when there is none."""
    module_name, calls_name, fields = _MODULES[name, dialect if (name, dialect) in _MODULES else ""]
    module: Any = importlib.import_module(f"reconciler.kinds.{module_name}")
    calls: Any = importlib.import_module(f"reconciler.kinds.{calls_name}")
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
        query_path=module.query_path,
        id_of=getattr(module, "id_of", _plain_id),
        owned_by=getattr(module, "owned_by", None),
        owner_change=getattr(module, "owner_change", None),
        unowned_is_ours=getattr(module, "UNOWNED_IS_OURS", False),
        is_protected=getattr(module, "is_protected", _never),
        protection_change=getattr(module, "protection_change", None),
        renamed=getattr(module, "renamed", None),
        is_assertion=name == "Model",
        spec_at=getattr(module, "SPEC_AT", ""),
    )


def _plain_id(raw: Mapping[str, Any]) -> str:
    return str(raw.get("id", ""))


def references(resource: Resource) -> tuple[Reference, ...]:
    """The resources that a spec names, with the fields that do, as the schema says (``refers_to``).

    None for a resource that was put together from what it names, as a dialect may want it.
    """
    naming = frozenset() if resource.address.dialect else _naming(resource.address.kind)
    if not naming:
        return ()
    return tuple(_references(naming, spec_fields(resource.address.kind), resource.spec, ()))


@functools.cache
def _naming(kind_name: str) -> frozenset[int]:
    """The fields of a kind that name a resource, or hold one that does, by ``id``: none else is looked at."""
    found: set[int] = set()

    def names(field: Field) -> bool:
        inner = [names(one) for one in (*field.properties.values(), *filter(None, (field.items,)))]
        if is_naming := bool(field.refers_to) or any(inner):
            found.add(id(field))
        return is_naming

    names(spec_fields(kind_name))
    return frozenset(found)


def _references(
    naming: frozenset[int], field: Field, value: Any, path: tuple[str | int, ...]
) -> Iterator[Reference]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            child = field.properties.get(name)
            if child is None or id(child) not in naming:
                continue
            rule = child.refers_when
            if child.refers_to and isinstance(item, str):
                if rule is None or value.get(rule["field"]) == rule["value"]:
                    yield Reference(Address(child.refers_to, item), (*path, name))
            else:
                yield from _references(naming, child, item, (*path, name))
    elif isinstance(value, (list, tuple)) and field.items is not None:
        for at, item in enumerate(value):
            if field.items.refers_to and isinstance(item, str):
                yield Reference(Address(field.items.refers_to, item), (*path, at))
            else:
                yield from _references(naming, field.items, item, (*path, at))
