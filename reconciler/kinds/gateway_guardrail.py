"""Kind ``GatewayGuardrail``: a scorer that judges the requests or answers of endpoints.

The gateway cannot change a guardrail. A change makes a new one, puts it on every endpoint in the old one's
place, and deletes the old one last: no endpoint is unguarded for a moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.kinds import gateway
from reconciler.kinds.gateway import call, digest, moved, notes, status
from reconciler.values import Action, Address, Call, FieldChange, Live, LiveId, Resource, Skipped

__all__ = ["KIND", "moved", "notes", "scorer_address", "status"]

KIND: Final = "GatewayGuardrail"


def id_of(raw: Mapping[str, Any]) -> str:
    """The gateway's id."""
    return str(raw.get("guardrail_id", ""))


def name_of(raw: Mapping[str, Any]) -> str:
    """The gateway's name."""
    return str(raw.get("name", ""))


def scorer_address(spec: Mapping[str, Any]) -> Address:
    """By what the scorer of a spec is looked up: its name, and its experiment where that is said."""
    experiment = spec.get("experiment_id")
    return Address("Scorer", f"{experiment}/{spec['scorer']}" if experiment else str(spec["scorer"]))


def normalise(live: Live) -> dict[str, Any]:
    """The answer in the shape of a spec. ``action_endpoint_id`` of an answer is the endpoint's name."""
    raw = live.raw
    scorer: Mapping[str, Any] = raw.get("scorer") or {}
    shape = {
        "scorer": scorer.get("scorer_name"),
        "scorer_version": scorer.get("scorer_version"),
        "experiment_id": None if scorer.get("experiment_id") is None else str(scorer["experiment_id"]),
        "stage": raw.get("stage"),
        "action": raw.get("action"),
        "action_endpoint": raw.get("action_endpoint_id"),
    }
    return {name: value for name, value in shape.items() if value not in (None, "")}


def comparable(
    resource: Resource, live: Live, shape: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]:
    """Both sides in one shape."""
    return dict(resource.spec), dict(shape), []


def fingerprint(live: Live, shape: Mapping[str, Any]) -> str:
    """Digest of what a plan is judged by."""
    return digest(id_of(live.raw), shape)


def renamed(resource: Resource, live: Live) -> FieldChange | None:
    """The gateway cannot rename a guardrail."""
    return None


def notice(action: Action, changes: Sequence[FieldChange]) -> str:
    """What callers notice."""
    match action:
        case Action.REPLACE:
            return "requests are judged by the new guardrail; no moment is unguarded"
        case Action.DELETE:
            return "nothing: it is deleted only while no endpoint runs it"
        case _:
            return "nothing until an endpoint runs it"


def query_path(name: str) -> str:
    """A guardrail is not queried."""
    return ""


def calls(
    resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
) -> tuple[Call, ...]:
    """A creation, a deletion, or a replacement that swaps the new one in on every endpoint."""
    match action:
        case Action.CREATE:
            return (_create(resource),)
        case Action.DELETE:
            assert live is not None
            return (_delete(live),)
        case Action.REPLACE:
            assert live is not None
            new = LiveId(resource.address)
            swaps = [swap for config in live.raw.get("configs") or () for swap in _swap(config, live, new)]
            return (_create(resource), *swaps, _delete(live))
        case _:
            return ()


def _create(resource: Resource) -> Call:
    spec = resource.spec
    body = {
        "name": resource.address.name,
        "scorer_id": LiveId(scorer_address(spec)),
        **gateway.written(resource, "scorer_version", "stage", "action"),
    }
    if endpoint := spec.get("action_endpoint"):
        body["action_endpoint_id"] = gateway.live_id("GatewayEndpoint", endpoint)
    return call("create_gateway_guardrail", "POST", "guardrails/create", body)


def _swap(config: Mapping[str, Any], live: Live, new: LiveId) -> tuple[Call, Call]:
    endpoint = {"endpoint_id": config["endpoint_id"]}
    add = {**endpoint, "guardrail_id": new}
    if config.get("execution_order") is not None:
        add["execution_order"] = config["execution_order"]
    remove = {**endpoint, "guardrail_id": id_of(live.raw)}
    return (
        call("add_guardrail_to_endpoint", "POST", "guardrails/add-to-endpoint", add, "endpoints"),
        call(
            "remove_guardrail_from_endpoint", "DELETE", "guardrails/remove-from-endpoint", remove, "endpoints"
        ),
    )


def _delete(live: Live) -> Call:
    body = {"guardrail_id": id_of(live.raw)}
    return call("delete_gateway_guardrail", "DELETE", "guardrails/delete", body)
