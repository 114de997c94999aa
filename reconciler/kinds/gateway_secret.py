"""Kind ``GatewaySecret``: a credential in an MLflow AI Gateway.

Its value cannot be read back. Whether it changed is told by two things: the gateway's own mask of the value
(another mask is another value, whoever set it), and a keyed fingerprint of what was sent last, which stands
in ``last_updated_by``. That is written by the same request as the value, so both are there or neither; and
whoever changes the secret by other means overwrites it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.kinds import gateway
from reconciler.kinds.gateway import call, digest, mark, moved, notes, stack_of, stamped_by, status
from reconciler.values import (
    Action,
    Call,
    FieldChange,
    Live,
    Masked,
    Resource,
    Sealed,
    Secret,
    Skipped,
)

__all__ = ["KIND", "moved", "notes", "status"]

KIND: Final = "GatewaySecret"


def id_of(raw: Mapping[str, Any]) -> str:
    """The gateway's id."""
    return str(raw.get("secret_id", ""))


def name_of(raw: Mapping[str, Any]) -> str:
    """The gateway's name."""
    return str(raw.get("secret_name", ""))


def normalise(live: Live) -> dict[str, Any]:
    """The answer in the shape of a spec; the value is never in it."""
    raw = live.raw
    return {name: raw[name] for name in ("provider", "auth_config", "masked_values") if raw.get(name)}


def comparable(
    resource: Resource, live: Live, shape: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]:
    """Both sides in one shape; in place of the live value stands what is known of it."""
    theirs = dict(shape)
    if resource.spec.get("secret_value"):
        theirs["secret_value"] = sealed(resource, live)
    return dict(resource.spec), theirs, []


def sealed(resource: Resource, live: Live) -> Sealed:
    """Whether the live value is the desired one, as far as it can be told."""
    raw = live.raw
    masks: Mapping[str, Any] = raw.get("masked_values") or {}
    value: Mapping[str, Any] = resource.spec["secret_value"]
    if set(masks) != set(value) or not all(_fits(masks[key], value[key]) for key in value):
        return Sealed("changed", "the gateway's mask shows another value")
    stack, seal = stamped_by(raw.get("last_updated_by"))
    if not stack:
        who = raw.get("last_updated_by") or "somebody"
        return Sealed("unknown", f"it was set by {who}, not from here: send it with --resend-secrets")
    if not seal or not resource.seal:
        return Sealed("unknown", "there is no fingerprint of what was sent last")
    if seal.partition(".")[0] != resource.seal.partition(".")[0]:
        return Sealed("unknown", "its fingerprint was made with another key")
    if seal == resource.seal:
        return Sealed("same")
    return Sealed("changed", "it is another value than was sent last")


def _fits(shown: Any, value: Any) -> bool:
    mask = _mask(value.reveal() if isinstance(value, Secret) else str(value))
    return shown.matches(mask) if isinstance(shown, Masked) else bool(shown == mask)


def _mask(value: str) -> str:
    """A value as the gateway shows it: nothing of less than 8 characters, else the first 3 and the last 4."""
    return "***" if len(value) < 8 else f"{value[:3]}...{value[-4:]}"


def fingerprint(live: Live, shape: Mapping[str, Any]) -> str:
    """Digest of what a plan is judged by; that somebody set the value again shows in the time of it."""
    raw = live.raw
    return digest(id_of(raw), shape, raw.get("last_updated_at"), stack_of(live))


def owned_by(live: Live) -> str:
    """The stack that owns it, "" when nobody's."""
    return stack_of(live)


def owner_change(resource: Resource, live: Live) -> FieldChange | None:
    """What makes it ours, when it is not."""
    owner = stack_of(live)
    return None if owner == resource.stack else gateway.owner_change(resource, owner)


def renamed(resource: Resource, live: Live) -> FieldChange | None:
    """The gateway cannot rename a secret."""
    return None


def notice(action: Action, changes: Sequence[FieldChange]) -> str:
    """What callers notice."""
    return gateway.notice("secret", action, changes)


def query_path(name: str) -> str:
    """A secret is not queried."""
    return ""


def calls(
    resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
) -> tuple[Call, ...]:
    """One request for a step; a replacement is a deletion and a creation."""
    match action:
        case Action.CREATE:
            return (_create(resource),)
        case Action.UPDATE | Action.ADOPT:
            assert live is not None
            return (_update(resource, live, changes),)
        case Action.DELETE | Action.REPLACE:
            assert live is not None
            delete = call("delete_gateway_secret", "DELETE", "secrets/delete", {"secret_id": id_of(live.raw)})
            return (delete,) if action is Action.DELETE else (delete, _create(resource))
        case _:
            return ()


def _create(resource: Resource) -> Call:
    body = {
        "secret_name": resource.address.name,
        **gateway.written(resource, "provider", "secret_value", "auth_config"),
        # The server takes it as last_updated_by too, so that the seal stands there from the first day.
        "created_by": mark(resource.stack, resource.seal),
    }
    return call("create_gateway_secret", "POST", "secrets/create", body)


def _update(resource: Resource, live: Live, changes: Sequence[FieldChange]) -> Call:
    sections = {change.section for change in changes}
    body: dict[str, Any] = {"secret_id": id_of(live.raw)}
    is_sent = "secret_value" in sections
    if is_sent:
        body["secret_value"] = resource.spec["secret_value"]
    if "auth_config" in sections:
        # An empty map means "no change" to the server; one that is blank once it is read clears it.
        body["auth_config"] = resource.spec.get("auth_config") or {"api_base": ""}
    # A seal says "this value was sent": it stays only where that is so.
    if "secret_value" in resource.spec:
        seal = resource.seal if is_sent or sealed(resource, live).verdict == "same" else ""
    else:
        seal = stamped_by(live.raw.get("last_updated_by"))[1]
    body["updated_by"] = mark(resource.stack, seal)
    return call("update_gateway_secret", "POST", "secrets/update", body)
