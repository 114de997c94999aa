"""Kind ``GatewayBudget``: a budget policy of an MLflow AI Gateway. It has no name there: scope, target and
window are what it is known by (:func:`identity`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.kinds import gateway
from reconciler.kinds.gateway import call, digest, mark, moved, notes, stack_of, status
from reconciler.values import Action, Call, FieldChange, Live, Resource, Skipped

__all__ = ["KIND", "UNOWNED_IS_OURS", "identity", "moved", "notes", "status"]

KIND: Final = "GatewayBudget"
UNOWNED_IS_OURS: Final = True
"""It has no name that two could give by chance: who declares scope, target and window means that budget."""
_KNOWN_BY: Final = ("target_scope", "target_value", "duration")
_CHANGES: Final = ("budget_amount", "budget_unit", "budget_action")


def identity(shape: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a budget is known by, of a spec or of a normalised answer."""
    window: Mapping[str, Any] = shape.get("duration") or {}
    return (shape.get("target_scope"), shape.get("target_value"), window.get("unit"), window.get("value"))


def id_of(raw: Mapping[str, Any]) -> str:
    """The gateway's id."""
    return str(raw.get("budget_policy_id", ""))


def name_of(raw: Mapping[str, Any]) -> str:
    """It has none."""
    return ""


def normalise(live: Live) -> dict[str, Any]:
    """The answer in the shape of a spec; its endpoint by name, as the reader found it (``target_name``)."""
    raw = live.raw
    shape = {name: raw[name] for name in (*_CHANGES, *_KNOWN_BY) if raw.get(name) not in (None, "")}
    if raw.get("target_name"):
        shape["target_value"] = raw["target_name"]
    return shape


def comparable(
    resource: Resource, live: Live, shape: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]:
    """Both sides in one shape."""
    return dict(resource.spec), dict(shape), []


def fingerprint(live: Live, shape: Mapping[str, Any]) -> str:
    """Digest of what a plan is judged by."""
    return digest(id_of(live.raw), shape, stack_of(live))


def owned_by(live: Live) -> str:
    """The stack that wrote it last, "" when it was nobody's."""
    return stack_of(live)


def renamed(resource: Resource, live: Live) -> FieldChange | None:
    """A budget has no name to change."""
    return None


def notice(action: Action, changes: Sequence[FieldChange]) -> str:
    """What callers notice."""
    rejects = "a REJECT budget refuses requests once it is spent"
    return {Action.NO_OP: "nothing", Action.DELETE: "requests are no longer held to it"}.get(action, rejects)


def query_path(name: str) -> str:
    """A budget is not queried."""
    return ""


def calls(
    resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
) -> tuple[Call, ...]:
    """One request for a step."""
    spec = resource.spec
    match action:
        case Action.CREATE:
            body = gateway.written(resource, *_CHANGES, "target_scope", "duration")
            body.setdefault("budget_unit", "USD")  # required by the API, with one value only
            if target := spec.get("target_value"):
                is_endpoint = spec["target_scope"] == "ENDPOINT"
                body["target_value"] = gateway.live_id("GatewayEndpoint", target) if is_endpoint else target
            body["created_by"] = mark(resource.stack)
            return (call("create_gateway_budget_policy", "POST", "budgets/create", body),)
        case Action.UPDATE:
            assert live is not None
            sections = {change.section for change in changes}
            body = {"budget_policy_id": id_of(live.raw)}
            body |= {name: spec[name] for name in _CHANGES if name in sections and name in spec}
            body["updated_by"] = mark(resource.stack)
            return (call("update_gateway_budget_policy", "POST", "budgets/update", body),)
        case Action.DELETE:
            assert live is not None
            body = {"budget_policy_id": id_of(live.raw)}
            return (call("delete_gateway_budget_policy", "DELETE", "budgets/delete", body),)
        case _:
            return ()
