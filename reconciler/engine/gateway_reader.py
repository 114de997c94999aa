"""The live side of an MLflow AI Gateway, from its lists: one list a kind, however many resources there are.

What a list lacks is put together here, so that one answer tells all of a resource: the name of the endpoint
that a budget is for (``target_name``), an endpoint's guardrails (``configs``), who uses what (``used_by``),
what is odd (``notes``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from reconciler.engine.export import budget_name
from reconciler.engine.ownership import stand_in, undeclared
from reconciler.errors import NotFound
from reconciler.kinds import kind, references
from reconciler.kinds.gateway import stack_of
from reconciler.kinds.gateway_budget import identity
from reconciler.values import Address, Live, Resource, Snapshot

__all__ = ["KINDS", "GatewayView", "read_gateway", "read_gateway_one"]

KINDS: Final = ("GatewaySecret", "GatewayModel", "GatewayEndpoint", "GatewayBudget", "GatewayGuardrail")
_LISTS: Final = {
    "GatewaySecret": "list_gateway_secrets",
    "GatewayModel": "list_gateway_model_definitions",
    "GatewayEndpoint": "list_gateway_endpoints",
    "GatewayBudget": "list_gateway_budget_policies",
    "GatewayGuardrail": "list_gateway_guardrails",
    "Scorer": "list_scorers",
    "Binding": "list_endpoint_bindings",
}
# Who may use a resource of a kind: what must be known before one is deleted.
_USERS: Final = {"GatewaySecret": "GatewayModel", "GatewayModel": "GatewayEndpoint"}
_ALL: Final = (*KINDS, "Binding")
_PARALLEL: Final = 8
_USED: Final = ("GatewaySecret", "GatewayModel", "GatewayEndpoint")
_Raw = Mapping[str, Any]
_Lists = Mapping[str, Sequence[_Raw]]


class GatewayView:
    """What the lists say. ``live``: of what is wanted, by address; ``names``: of everything; ``ids``: of
    everything that a manifest may name."""

    def __init__(self, lists: Mapping[str, Sequence[_Raw]]) -> None:
        self.lists = lists
        self.live: dict[Address, Live] = {}
        self.ids: dict[Address, str] = {}
        self.owners: dict[Address, str] = {}
        self._known: dict[tuple[str, Any], list[_Raw]] = {}
        for name in KINDS:
            for raw in lists.get(name, ()):
                key = _budget_key(raw) if name == "GatewayBudget" else _name(name, raw)
                self._known.setdefault((name, key), []).append(raw)
                if isinstance(key, str):
                    self.ids.setdefault(Address(name, key), kind(name).id_of(raw))
        self.names = tuple(self.ids)
        for raw in lists.get("Scorer", ()):
            self._scorer(raw)

    def _scorer(self, raw: _Raw) -> None:
        """A scorer by its name alone when only one experiment has it, and always with its experiment."""
        name, scorer_id = str(raw.get("scorer_name")), str(raw.get("scorer_id"))
        self.ids[Address("Scorer", f"{raw.get('experiment_id')}/{name}")] = scorer_id
        short = Address("Scorer", name)
        is_other = self.ids.get(short, scorer_id) != scorer_id
        self.ids[short] = "" if is_other else scorer_id

    def find(self, resource: Resource) -> _Raw | None:
        """The answer that a resource is about: by name, by the name it moves from, or by identity."""
        name = resource.address.kind
        if name == "GatewayBudget":
            found = self._known.get((name, identity(resource.spec)), ())
            return _chosen(found, resource, "budgets have this scope, target and window")
        for key in filter(None, (resource.address.name, resource.lifecycle.moved_from)):
            if named := self._known.get((name, key)):
                return _chosen(named, resource, "guardrails have this name")
        return None


def _name(kind_name: str, raw: _Raw) -> str:
    return str(raw.get("secret_name" if kind_name == "GatewaySecret" else "name", ""))


def _budget_key(raw: _Raw) -> tuple[Any, ...]:
    of = kind("GatewayBudget")
    return identity(of.normalise(Live(Address(of.name, ""), raw)))


def _chosen(found: Sequence[_Raw], resource: Resource, what: str) -> _Raw | None:
    """The one that is this stack's, else the oldest; that there are others is noted."""
    if not found:
        return None
    ours = [raw for raw in found if stack_of(Live(resource.address, raw)) == resource.stack]
    first = min(ours or found, key=lambda raw: raw.get("created_at") or 0)
    if len(found) == 1:
        return first
    note = f"{len(found)} {what}: this is about the one of id {kind(resource.address.kind).id_of(first)}"
    return {**first, "notes": (note,)}


def read_gateway(
    client: Any,
    desired: Sequence[Resource],
    *,
    deleting: bool = False,
    prune: str = "",
    parallelism: int = _PARALLEL,
) -> GatewayView:
    """Everything that a plan for ``desired`` needs: a list for each kind that is declared, named by a
    reference, or may use what is declared; the guardrails of endpoints that declare some.

    ``deleting``: also what other parts of MLflow hold on to endpoints. ``prune``: also what this stack owns
    and ``desired`` does not name. Raises TargetError.
    """
    with ThreadPoolExecutor(parallelism, "read") as pool:
        wanted = tuple(dict.fromkeys((*_wanted(desired, deleting), *(_ALL if prune else ()))))
        found = dict(zip(wanted, pool.map(lambda name: getattr(client, _LISTS[name])(), wanted), strict=True))
        view = GatewayView(_with_uses(_with_new_names(found, _renames(found, desired))))
        raws = {r.address: raw for r in desired if (raw := view.find(r)) is not None}
        by_address = {resource.address: resource for resource in desired}
        owned = _owned(view.lists, desired)
        view.owners = {address: owner for address, (owner, _) in owned.items()}
        if prune:
            listed = Snapshot("", "", {}, owners=view.owners)
            for address in undeclared(desired, listed, prune):
                raws[address] = owned[address][1]
                by_address[address] = stand_in(address, prune)
        guarded = [a for a in raws if a.kind == "GatewayEndpoint" and "guardrails" in by_address[a].spec]
        swapped = _swapped(by_address, raws, deleting)
        ids = {kind("GatewayEndpoint").id_of(raws[address]) for address in guarded}
        if swapped:
            ids |= {kind("GatewayEndpoint").id_of(raw) for raw in view.lists["GatewayEndpoint"]}
        configs = _configs(client, sorted(ids), pool.map)
    for address in guarded:
        found_configs = configs.get(kind("GatewayEndpoint").id_of(raws[address]), [])
        raws[address] = {**raws[address], "configs": found_configs}
    if deleting:
        _take_late_users(view, raws)
    for address in swapped:
        raws[address] = _with_users(view, raws[address], configs)
    view.live = {address: Live(address, raw) for address, raw in raws.items()}
    return view


def read_gateway_one(client: Any, resource: Resource, *, deleting: bool = False) -> Live | None:
    """One resource as it is now, None when there is none; ``deleting``: with who uses it.

    As long as nothing is deleted one request tells all of a secret, a model or an endpoint.
    """
    name = resource.address.kind
    if name in _USERS and not deleting:
        raw = GatewayView({name: getattr(client, _LISTS[name])()}).find(resource)
        return None if raw is None else Live(resource.address, raw)
    if name != "GatewayEndpoint" or deleting:
        return read_gateway(client, [resource], deleting=deleting).live.get(resource.address)
    for name in filter(None, (resource.address.name, resource.lifecycle.moved_from)):
        try:
            raw = dict(client.get_gateway_endpoint(name=name))
        except NotFound:
            continue
        if "guardrails" in resource.spec:
            raw["configs"] = client.list_endpoint_guardrail_configs(endpoint_id=str(raw.get("endpoint_id")))
        return Live(resource.address, raw)
    return None


def _owned(lists: _Lists, desired: Sequence[Resource]) -> dict[Address, tuple[str, _Raw]]:
    """Whose each is, with its answer. Of budgets, which have no names, those that none declared is like."""
    declared = {identity(r.spec) for r in desired if r.address.kind == "GatewayBudget"}
    found: dict[Address, tuple[str, _Raw]] = {}
    for name in ("GatewaySecret", "GatewayModel", "GatewayEndpoint"):
        owned_by = kind(name).owned_by
        for raw in lists.get(name, ()):
            address = Address(name, _name(name, raw))
            if owned_by is not None and (owner := str(owned_by(Live(address, raw)))):
                found[address] = (owner, raw)
    of = kind("GatewayBudget")
    for raw in lists.get(of.name, ()):
        shape = of.normalise(Live(Address(of.name, ""), raw))
        owner = stack_of(Live(Address(of.name, ""), raw))
        address = Address(of.name, f"{budget_name(shape)}-{of.id_of(raw)}")
        if owner and identity(shape) not in declared:
            found[address] = (owner, raw)
    return found


def _wanted(desired: Sequence[Resource], deleting: bool) -> tuple[str, ...]:
    declared = dict.fromkeys(resource.address.kind for resource in desired)
    named = dict.fromkeys(reference.address.kind for r in desired for reference in references(r))
    users = {_USERS[name]: None for name in declared if name in _USERS}
    extra: dict[str, None] = {}
    if "GatewayGuardrail" in declared:
        extra |= {"Scorer": None, "GatewayEndpoint": None}
    if deleting and "GatewayEndpoint" in declared:
        extra |= {"Binding": None, "GatewayBudget": None, "GatewayGuardrail": None}
    return tuple({**declared, **named, **users, **extra})


def _renames(lists: _Lists, desired: Sequence[Resource]) -> Mapping[Address, str]:
    """Old address → new name, of what a plan for ``desired`` renames."""
    taken = {Address(name, _name(name, raw)) for name in _USED for raw in lists.get(name, ())}
    return {
        Address(r.address.kind, r.lifecycle.moved_from): r.address.name
        for r in desired
        if r.lifecycle.moved_from and r.address not in taken
    }


def _with_new_names(lists: _Lists, renames: Mapping[Address, str]) -> _Lists:
    """The lists with model definitions and endpoints named, where others name them, as they will be called:
    else a renaming would look like another model everywhere it is used. Budgets tell their endpoint's id;
    its name is put beside it."""

    def called(kind_name: str, name: Any) -> Any:
        return renames.get(Address(kind_name, str(name)), name)

    def endpoint(raw: _Raw) -> _Raw:
        mappings = [
            {**mapping, "model_definition": {**model, "name": called("GatewayModel", model.get("name"))}}
            for mapping in raw.get("model_mappings") or ()
            for model in (mapping.get("model_definition") or {},)
        ]
        return {**raw, "model_mappings": mappings}

    def guardrail(raw: _Raw) -> _Raw:
        return {**raw, "action_endpoint_id": called("GatewayEndpoint", raw.get("action_endpoint_id"))}

    names = {
        raw.get("endpoint_id"): called("GatewayEndpoint", raw.get("name"))
        for raw in lists.get("GatewayEndpoint", ())
    }

    def budget(raw: _Raw) -> _Raw:
        is_for_one = raw.get("target_scope") == "ENDPOINT" and raw.get("target_value") in names
        return {**raw, "target_name": names[raw["target_value"]]} if is_for_one else raw

    changes: dict[str, Callable[[_Raw], _Raw]] = {"GatewayBudget": budget}
    if renames:
        changes |= {"GatewayEndpoint": endpoint, "GatewayGuardrail": guardrail}
    return {
        name: [changes[name](raw) for raw in items] if name in changes else items
        for name, items in lists.items()
    }


def _with_uses(lists: _Lists) -> _Lists:
    """The lists with who uses what (``used_by``)."""
    uses: dict[str, dict[str, None]] = {}
    for raw in lists.get("GatewayModel", ()):
        uses.setdefault(str(raw.get("secret_id")), {})[f"GatewayModel/{raw.get('name')}"] = None
    for raw in lists.get("GatewayEndpoint", ()):
        for mapping in raw.get("model_mappings") or ():
            users = uses.setdefault(str(mapping.get("model_definition_id")), {})
            users[f"GatewayEndpoint/{raw.get('name')}"] = None
    for raw in lists.get("Binding", ()):
        shown = f"{raw.get('resource_type')} {raw.get('display_name') or raw.get('resource_id')}"
        uses.setdefault(str(raw.get("endpoint_id")), {})[shown] = None

    def with_users(name: str, raw: _Raw) -> _Raw:
        users = uses.get(kind(name).id_of(raw))
        return {**raw, "used_by": tuple(sorted(users))} if users else raw

    return {
        name: [with_users(name, raw) for raw in items] if name in _USED else items
        for name, items in lists.items()
    }


def _take_late_users(view: GatewayView, raws: dict[Address, _Raw]) -> None:
    """Who names an endpoint without being part of it: budgets for it, guardrails that let it clean."""
    declared = {kind(a.kind).id_of(raw): a for a, raw in raws.items() if a.kind == "GatewayBudget"}
    users: dict[str, set[str]] = {}
    for raw in view.lists.get("GatewayBudget", ()):
        budget = kind("GatewayBudget").id_of(raw)
        told = declared.get(budget, Address("GatewayBudget", budget))
        users.setdefault(str(raw.get("target_value")), set()).add(str(told))
    for raw in view.lists.get("GatewayGuardrail", ()):
        users.setdefault(str(raw.get("action_endpoint_id")), set()).add(f"GatewayGuardrail/{raw.get('name')}")
    for address, raw in raws.items():
        if address.kind == "GatewayEndpoint":
            late = users.get(str(raw.get("endpoint_id")), set()) | users.get(str(raw.get("name")), set())
            if late:
                raws[address] = {**raw, "used_by": tuple(sorted({*raw.get("used_by", ()), *late}))}


def _swapped(
    by_address: Mapping[Address, Resource], raws: Mapping[Address, _Raw], deleting: bool
) -> list[Address]:
    """Guardrails of which one must know who runs them: those to be deleted or replaced by another."""
    found = []
    for address, raw in raws.items():
        if address.kind != "GatewayGuardrail":
            continue
        of = kind(address.kind)
        shape, spec = of.normalise(Live(address, raw)), by_address[address].spec
        if deleting or any(shape.get(name) != value for name, value in spec.items()):
            found.append(address)
    return found


def _configs(
    client: Any, ids: Sequence[str], map_: Callable[..., Iterable[Any]]
) -> dict[str, list[dict[str, Any]]]:
    def read(endpoint_id: str) -> list[dict[str, Any]]:
        try:
            return list(client.list_endpoint_guardrail_configs(endpoint_id=endpoint_id))
        except NotFound:  # gone since the list
            return []

    return dict(zip(ids, map_(read, ids), strict=True))


def _with_users(view: GatewayView, raw: _Raw, configs: Mapping[str, Sequence[_Raw]]) -> _Raw:
    guardrail = raw.get("guardrail_id")
    runs = [c for each in configs.values() for c in each if c.get("guardrail_id") == guardrail]
    names = {one.get("endpoint_id"): one.get("name") for one in view.lists["GatewayEndpoint"]}
    users = tuple(sorted(f"GatewayEndpoint/{names.get(config.get('endpoint_id'))}" for config in runs))
    return {**raw, "configs": runs, "used_by": users}
