"""Everything that a target has, declared or not: for looking at it, and for exporting it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from reconciler.engine.export import budget_name
from reconciler.engine.gateway_reader import KINDS, GatewayView
from reconciler.engine.readers import list_names, read_live
from reconciler.errors import BadAnswer, NotFound, PermissionDenied
from reconciler.kinds import kind
from reconciler.shape import misfit
from reconciler.terminal import control
from reconciler.values import Address, Live, Resource, Source

__all__ = ["Listing", "list_endpoints", "list_gateway"]

_PARALLEL: Final = 8
_LISTS: Final = {
    "GatewaySecret": "list_gateway_secrets",
    "GatewayModel": "list_gateway_model_definitions",
    "GatewayEndpoint": "list_gateway_endpoints",
    "GatewayBudget": "list_gateway_budget_policies",
    "GatewayGuardrail": "list_gateway_guardrails",
}
_Raw = Mapping[str, Any]
_Wanted = Callable[[Address], bool]


def _everything(address: Address) -> bool:
    return True


class Listing:
    """What was found. ``lives``: sorted by kind and name; ``view``: the lists of a gateway, for look-ups;
    ``denied``: the kinds whose list this identity may not see, with the server's words."""

    def __init__(
        self, lives: Sequence[Live], view: GatewayView | None = None, denied: Mapping[str, str] | None = None
    ) -> None:
        self.lives = tuple(lives)
        self.view = view
        self.denied = denied or {}


def list_gateway(
    client: Any,
    names: Collection[str] = KINDS,
    *,
    wanted: _Wanted = _everything,
    guardrails: bool = False,
    parallelism: int = _PARALLEL,
) -> Listing:
    """Everything wanted of these kinds in an MLflow gateway: one list a kind, and the endpoints' for budgets.

    A budget gets a name of its own (:func:`budget_name`), and its endpoint's (``target_name``).
    ``guardrails``: also what each endpoint runs (``configs``), one request an endpoint, where there are
    guardrails at all. A list that only administrators may see (MLflow's basic auth: that of the guardrails)
    counts as ``denied`` as long as another one is answered. Raises TargetError.
    """
    asked = [n for n in KINDS if n in names or (n == "GatewayEndpoint" and "GatewayBudget" in names)]

    def read(name: str) -> list[_Raw] | PermissionDenied:
        try:
            return list(getattr(client, _LISTS[name])())
        except PermissionDenied as error:
            return error

    with ThreadPoolExecutor(parallelism, "list") as pool:
        answers = dict(zip(asked, pool.map(read, asked), strict=True))
        refused = {n: answer for n, answer in answers.items() if isinstance(answer, PermissionDenied)}
        if len(refused) == len(asked):
            raise next(iter(refused.values()))
        lists = {n: [] if isinstance(answer, PermissionDenied) else answer for n, answer in answers.items()}
        for name, raws in lists.items():
            _check(name, raws)
        called = {raw.get("endpoint_id"): raw.get("name") for raw in lists.get("GatewayEndpoint", ())}
        if "GatewayBudget" in lists:
            lists["GatewayBudget"] = [_with_target(raw, called) for raw in lists["GatewayBudget"]]
        lives = [live for name in KINDS if name in names for live in _addressed(name, lists[name])]
        lives = [live for live in lives if wanted(live.address)]
        if guardrails and lists.get("GatewayGuardrail"):
            lives = list(pool.map(lambda live: _with_configs(client, live), lives))
            for live in lives:
                _check(live.address.kind, [live.raw])
    return Listing(lives, GatewayView(lists), {name: error.what for name, error in refused.items()})


def _check(name: str, raws: Sequence[_Raw]) -> None:
    """Answers are not trusted: what follows relies on their shape. Raises BadAnswer."""
    of = kind(name)
    for raw in raws:
        try:
            said = misfit(of.fields, of.normalise(Live(Address(name, ""), raw)))
            hash((raw.get("endpoint_id"), raw.get("target_value"), of.id_of(raw)))
        except (AttributeError, KeyError, TypeError, ValueError):
            said = ".it has another shape"
        if not isinstance(raw.get("masked_values") or {}, Mapping):
            said = ".masked_values is not an object"
        if said:
            raise BadAnswer(
                f"the answer is no {name} of an MLflow gateway: {control(said[1:])}",
                method="GET",
                path=_LISTS[name],
                fix="check that the target is an MLflow tracking server",
            )


def _with_target(raw: _Raw, called: Mapping[Any, Any]) -> _Raw:
    is_for_one = raw.get("target_scope") == "ENDPOINT" and raw.get("target_value") in called
    return {**raw, "target_name": called[raw["target_value"]]} if is_for_one else raw


def _with_configs(client: Any, live: Live) -> Live:
    if live.address.kind != "GatewayEndpoint":
        return live
    try:
        found = client.list_endpoint_guardrail_configs(endpoint_id=str(live.raw.get("endpoint_id")))
    except NotFound:  # gone since the list
        return live
    return replace(live, raw={**live.raw, "configs": found})


def _addressed(name: str, raws: Sequence[_Raw]) -> list[Live]:
    """The answers of one kind with their addresses, sorted; budgets named, the oldest without a number."""
    if name != "GatewayBudget":
        key = "secret_name" if name == "GatewaySecret" else "name"
        return sorted((Live(Address(name, str(raw.get(key, ""))), raw) for raw in raws), key=_place)
    found: dict[str, Live] = {}
    for raw in sorted(raws, key=lambda raw: (_time(raw), kind(name).id_of(raw))):
        stem = budget_name(kind(name).normalise(Live(Address(name, ""), raw)))
        text, number = stem, 1
        while text in found:
            number += 1
            text = f"{stem}-{number}"
        found[text] = Live(Address(name, text), raw)
    return sorted(found.values(), key=_place)


def _time(raw: _Raw) -> float:
    made = raw.get("created_at")
    return float(made) if isinstance(made, (int, float)) else 0.0


def _place(live: Live) -> tuple[Address, str]:
    return live.address, kind(live.address.kind).id_of(live.raw)


def list_endpoints(
    client: Any,
    *,
    wanted: _Wanted = _everything,
    permissions: bool = False,
    parallelism: int = 2 * _PARALLEL,
) -> Listing:
    """The wanted endpoints of a workspace in detail: 1 LIST, 1 GET each, 1 more each with ``permissions``.

    Raises TargetError.
    """
    summaries = list_names(client, "Endpoint", ())
    addresses = sorted(filter(wanted, (Address("Endpoint", name) for name in summaries)))

    def read(address: Address) -> Live | None:
        resource = Resource(address, {}, Source("", 0))
        return read_live(client, resource, summaries[address.name], permissions=permissions)

    with ThreadPoolExecutor(parallelism, "list") as pool:
        return Listing([live for live in pool.map(read, addresses) if live is not None])
