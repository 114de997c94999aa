"""What ``reconciler get`` shows of the AI Gateway in an MLflow tracking server."""

from __future__ import annotations

from typing import Any

from reconciler.cli.output import tell
from reconciler.engine.gateway_reader import KINDS
from reconciler.engine.listing import list_gateway
from reconciler.errors import UsageError
from reconciler.kinds import kind
from reconciler.shape import masked
from reconciler.terminal import control
from reconciler.values import Address, Live

__all__ = ["everything", "one", "shown"]


def everything(client: Any) -> tuple[Live, ...]:
    """All that it has, by kind and name; five lists. A kind that may not be listed is told on stderr."""
    found = list_gateway(client)
    for name, why in found.denied.items():
        tell(f"left out: {name}/*: this identity may not list them: {control(why)}")
    return found.lives


def one(client: Any, address: Address) -> Live:
    """One of it with every field. An endpoint is asked for by itself, with its guardrails: lists do not show
    one without models. A budget goes by the name that the list shows, or by its id.

    Raises UsageError when there is none, or no such kind; NotFound for an endpoint.
    """
    if address.kind not in KINDS:
        raise UsageError(
            f"{address}: an MLflow gateway has no kind {address.kind}", fix=f"it has {', '.join(KINDS)}"
        )
    if address.kind == "GatewayEndpoint":
        raw = dict(client.get_gateway_endpoint(name=address.name))
        if configs := client.list_endpoint_guardrail_configs(endpoint_id=str(raw.get("endpoint_id"))):
            raw["guardrails"] = configs
        return Live(address, raw)
    id_of = kind(address.kind).id_of
    for live in list_gateway(client, [address.kind]).lives:
        if live.address == address or id_of(live.raw) == address.name:
            return live
    raise UsageError(f"the gateway has no {address}", fix="reconciler get lists what there is")


def shown(live: Live) -> dict[str, Any]:
    """Its fields fit to be shown: a mask shows nearly all of a short secret, and is masked itself."""
    found: dict[str, Any] = masked(kind(live.address.kind).fields, dict(live.raw))
    return found
