"""Kind ``GatewayModel``: a model definition of an MLflow AI Gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.kinds import gateway
from reconciler.kinds.gateway import call, digest, mark, moved, notes, stack_of, status
from reconciler.values import Action, Call, FieldChange, Live, Resource, Skipped

__all__ = ["KIND", "moved", "notes", "status"]

KIND: Final = "GatewayModel"


def id_of(raw: Mapping[str, Any]) -> str:
    """The gateway's id."""
    return str(raw.get("model_definition_id", ""))


def name_of(raw: Mapping[str, Any]) -> str:
    """The gateway's name."""
    return str(raw.get("name", ""))


def normalise(live: Live) -> dict[str, Any]:
    """The answer in the shape of a spec. A definition whose secret was deleted has none."""
    raw = live.raw
    shape = {name: raw[name] for name in ("provider", "model_name") if raw.get(name)}
    if raw.get("secret_name"):
        shape["secret"] = raw["secret_name"]
    return shape


def comparable(
    resource: Resource, live: Live, shape: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]:
    """Both sides in one shape."""
    return dict(resource.spec), dict(shape), []


def fingerprint(live: Live, shape: Mapping[str, Any]) -> str:
    """Digest of what a plan is judged by."""
    return digest(id_of(live.raw), name_of(live.raw), live.raw.get("secret_id"), shape, stack_of(live))


def owned_by(live: Live) -> str:
    """The stack that owns it, "" when nobody's."""
    return stack_of(live)


def owner_change(resource: Resource, live: Live) -> FieldChange | None:
    """What makes it ours, when it is not."""
    owner = stack_of(live)
    return None if owner == resource.stack else gateway.owner_change(resource, owner)


def renamed(resource: Resource, live: Live) -> FieldChange | None:
    """Its new name, when it lives under the one it moves from."""
    return gateway.renamed(resource, name_of(live.raw))


def notice(action: Action, changes: Sequence[FieldChange]) -> str:
    """What callers notice."""
    if action is Action.UPDATE and all(change.section == "name" for change in changes):
        return "nothing"
    return gateway.notice("model", action, changes)


def query_path(name: str) -> str:
    """A model definition is queried through an endpoint."""
    return ""


def calls(
    resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
) -> tuple[Call, ...]:
    """One request for a step."""
    match action:
        case Action.CREATE:
            body = {
                "name": resource.address.name,
                **_sent(resource, ("secret", "provider", "model_name")),
                "created_by": mark(resource.stack),
            }
            return (call("create_gateway_model_definition", "POST", "model-definitions/create", body),)
        case Action.UPDATE | Action.ADOPT:
            assert live is not None
            sections = [change.section for change in changes]
            body = {"model_definition_id": id_of(live.raw)}
            if "name" in sections:
                body["name"] = resource.address.name
            body |= {**_sent(resource, sections), "updated_by": mark(resource.stack)}
            return (call("update_gateway_model_definition", "POST", "model-definitions/update", body),)
        case Action.DELETE:
            assert live is not None
            body = {"model_definition_id": id_of(live.raw)}
            return (call("delete_gateway_model_definition", "DELETE", "model-definitions/delete", body),)
        case _:
            return ()


def _sent(resource: Resource, sections: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in ("secret", "provider", "model_name"):
        if name in sections:
            value = resource.spec[name]
            if name == "secret":
                fields["secret_id"] = gateway.live_id("GatewaySecret", value)
            else:
                fields[name] = value
    return fields
