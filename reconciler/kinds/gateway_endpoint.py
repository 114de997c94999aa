"""Kind ``GatewayEndpoint``: an endpoint of an MLflow AI Gateway.

What the server does with an update, and what follows: its list of models is replaced whole, fallbacks
included, so what the manifest does not manage of it is sent as it is; ``fallback_config`` is reset with it,
so it goes along; the ids of the mappings are new each time, so they mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler import schema
from reconciler.kinds import gateway, marks
from reconciler.kinds.gateway import OWNER, call, digest, mark, moved, notes, stamped_by, status
from reconciler.shape import canonical
from reconciler.values import (
    PROTECTED_TAG,
    STACK_TAG,
    Action,
    Call,
    FieldChange,
    FieldPath,
    Live,
    Reason,
    Resource,
    Skipped,
)

__all__ = ["KIND", "moved", "notes", "status"]

KIND: Final = "GatewayEndpoint"
_LISTS: Final = ("models", "fallbacks")
_PLAIN: Final = ("routing_strategy", "usage_tracking", "experiment_id")


def id_of(raw: Mapping[str, Any]) -> str:
    """The gateway's id."""
    return str(raw.get("endpoint_id", ""))


def name_of(raw: Mapping[str, Any]) -> str:
    """The gateway's name."""
    return str(raw.get("name", ""))


# ---- one shape ------------------------------------------------------------------------------------------


def normalise(live: Live) -> dict[str, Any]:
    """The answer in the shape of a spec. Our own mark is no tag of the user's; guardrails are there when they
    were read (``configs``)."""
    raw = live.raw
    shape: dict[str, Any] = {
        "models": [{"model": _model(m), "weight": m.get("weight", 1.0)} for m in _mappings(raw, "PRIMARY")],
        "fallbacks": [_model(mapping) for mapping in _fallbacks(raw)],
        "fallback_config": {k: v for k, v in (raw.get("fallback_config") or {}).items() if v is not None},
        "tags": marks.without_marks(_tags(raw)),
    }
    shape |= {name: raw[name] for name in _PLAIN if raw.get(name) is not None}
    if raw.get("configs") is not None:
        shape["guardrails"] = [str(config["guardrail"]["name"]) for config in raw["configs"]]
    return {name: value for name, value in shape.items() if value not in ({}, [])}


def _mappings(raw: Mapping[str, Any], linkage: str) -> list[Mapping[str, Any]]:
    return [m for m in raw.get("model_mappings") or () if m.get("linkage_type") == linkage]


def _fallbacks(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """In the order in which they are tried; those without a number come last."""
    mappings = _mappings(raw, "FALLBACK")
    return sorted(mappings, key=lambda m: (m.get("fallback_order") is None, m.get("fallback_order") or 0))


def _model(mapping: Mapping[str, Any]) -> str:
    return str((mapping.get("model_definition") or {}).get("name", mapping.get("model_definition_id", "?")))


def _tags(raw: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag.get("key")): str(tag.get("value", "")) for tag in raw.get("tags") or ()}


def comparable(
    resource: Resource, live: Live, shape: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]:
    """Both sides in one shape. The mark of a stack stands apart (:func:`owner_change`)."""
    desired: dict[str, Any] = canonical(schema.spec_fields(KIND), dict(resource.spec))
    carried = _tags(live.raw) if "tags" in desired else {}
    skipped = [
        Skipped(FieldPath(("tags", key)), Reason.KEPT, detail)
        for key, detail in marks.KEPT.items()
        if key in carried
    ]
    return desired, dict(shape), skipped


def fingerprint(live: Live, shape: Mapping[str, Any]) -> str:
    """Digest of what a plan is judged by: models by their ids, for a name may change in the same run;
    guardrails only where they were read."""
    names = ("linkage_type", "model_definition_id", "weight", "fallback_order")
    models = sorted(tuple(str(m.get(n)) for n in names) for m in live.raw.get("model_mappings") or ())
    rest = {name: value for name, value in shape.items() if name not in _LISTS}
    whose = (owned_by(live), *(("protected",) if is_protected(live) else ()))
    return digest(id_of(live.raw), name_of(live.raw), models, rest, *whose)


# ---- ownership ------------------------------------------------------------------------------------------


def owned_by(live: Live) -> str:
    """The stack whose tag it carries; without a tag the stack that made it, "" when nobody's.

    The tag cannot be set with the create: between the two, ``created_by`` tells.
    """
    return _tags(live.raw).get(STACK_TAG) or stamped_by(live.raw.get("created_by"))[0]


def owner_change(resource: Resource, live: Live) -> FieldChange | None:
    """The tag that makes it ours, when it does not carry it."""
    carried = _tags(live.raw).get(STACK_TAG, "")
    return None if carried == resource.stack else gateway.owner_change(resource, carried)


def is_protected(live: Live) -> bool:
    """It carries the tag of what may not be deleted."""
    return _tags(live.raw).get(PROTECTED_TAG) == "true"


def protection_change(resource: Resource, live: Live) -> FieldChange | None:
    """The tag that protects it, written or taken away."""
    return marks.protection_change(resource, _tags(live.raw))


def renamed(resource: Resource, live: Live) -> FieldChange | None:
    """Its new name, when it lives under the one it moves from."""
    return gateway.renamed(resource, name_of(live.raw))


def notice(action: Action, changes: Sequence[FieldChange]) -> str:
    """What callers notice."""
    sections = {change.section for change in changes}
    match action:
        case Action.CREATE:
            return "new endpoint; it answers at once"
        case Action.DELETE:
            return "the endpoint is gone from the delete on"
        case Action.UPDATE | Action.ADOPT if "name" in sections:
            return "the URL changes: the endpoint answers under its new name only"
        case Action.UPDATE | Action.ADOPT if sections & {*_LISTS, "fallback_config", "routing_strategy"}:
            return "requests that begin from now on are routed the new way"
        case Action.UPDATE | Action.ADOPT if "guardrails" in sections:
            return "requests that begin from now on pass the new guardrails"
        case _:
            return "nothing"


def query_path(name: str) -> str:
    """The path of an endpoint's invocations, below the server's URL."""
    from urllib.parse import quote

    return f"/gateway/{quote(name, safe='')}/mlflow/invocations"


# ---- calls ----------------------------------------------------------------------------------------------


def calls(
    resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
) -> tuple[Call, ...]:
    """One request that makes or updates it, one for each changed tag and guardrail."""
    match action:
        case Action.CREATE:
            return tuple(_create(resource))
        case Action.UPDATE | Action.ADOPT:
            assert live is not None
            return tuple(_update(resource, live, changes))
        case Action.DELETE:
            assert live is not None
            body = {"endpoint_id": id_of(live.raw)}
            return (call("delete_gateway_endpoint", "DELETE", "endpoints/delete", body),)
        case _:
            return ()


def _create(resource: Resource) -> Iterable[Call]:
    spec = resource.spec
    body: dict[str, Any] = {"name": resource.address.name, "model_configs": _configs(spec["models"])}
    body["model_configs"] += _fallback_configs(spec.get("fallbacks") or ())
    body |= gateway.written(resource, *_PLAIN, "fallback_config")
    body["created_by"] = mark(resource.stack)
    yield call("create_gateway_endpoint", "POST", "endpoints/create", body)
    here = gateway.live_id(KIND, resource.address.name)
    yield _set_tag(here, STACK_TAG, resource.stack, OWNER)
    if protected := marks.wanted(resource).get(PROTECTED_TAG):
        yield _set_tag(here, PROTECTED_TAG, protected, marks.PROTECTION)
    tags = canonical(schema.spec_fields(KIND).properties["tags"], spec.get("tags")) or {}
    for key, value in tags.items():
        yield _set_tag(here, key, value)
    for order, name in enumerate(spec.get("guardrails") or (), 1):
        yield _add_guardrail(here, name, order)


def _update(resource: Resource, live: Live, changes: Sequence[FieldChange]) -> Iterable[Call]:
    sections = {change.section for change in changes}
    here = id_of(live.raw)
    body: dict[str, Any] = {}
    if "name" in sections:
        body["name"] = resource.address.name
    if sections & set(_LISTS):
        body["model_configs"] = _models_as_sent(resource, live)
    if "fallback_config" in sections or ("model_configs" in body and _keeps_config(resource, live)):
        wanted = resource.spec if "fallback_config" in resource.spec else normalise(live)
        body["fallback_config"] = wanted.get("fallback_config") or {}
    body |= {name: resource.spec[name] for name in _PLAIN if name in sections}
    if body:
        covered = [s for s in ("name", *_LISTS, "fallback_config", *_PLAIN) if s in sections]
        body = {"endpoint_id": here, **body, "updated_by": mark(resource.stack)}
        yield call("update_gateway_endpoint", "POST", "endpoints/update", body, covered[0], *covered[1:])
    if OWNER in sections:
        yield _set_tag(here, STACK_TAG, resource.stack, OWNER)
    for change in changes:
        if change.section == marks.PROTECTION:
            change = replace(change, path=FieldPath(("tags", PROTECTED_TAG)))
            yield from _tag_calls(here, change)
        elif change.section == "tags":
            yield from _tag_calls(here, change)
    if "guardrails" in sections:
        yield from _guardrail_calls(here, resource.spec.get("guardrails") or (), live)


def _keeps_config(resource: Resource, live: Live) -> bool:
    """An update of the models would reset a fallback_config that is to stay."""
    wanted = resource.spec if "fallback_config" in resource.spec else normalise(live)
    return bool(wanted.get("fallback_config"))


def _models_as_sent(resource: Resource, live: Live) -> list[dict[str, Any]]:
    """The whole list: as written; what is not managed or ignored as it lives."""
    patterns = [FieldPath.parse(text) for text in resource.lifecycle.ignore_changes]

    def is_ignored(*path: str) -> bool:
        return any(pattern.covers(FieldPath(path)) for pattern in patterns)

    weights = {_model(m): m.get("weight") for m in _mappings(live.raw, "PRIMARY")}
    models = []
    for item in resource.spec["models"]:
        name = item["model"]
        kept = name in weights and is_ignored("models", name, "weight")
        models.append({**item, "weight": weights[name]} if kept else item)
    sent = _as_live(live, "PRIMARY") if is_ignored("models") else _configs(models)
    if "fallbacks" in resource.spec and not is_ignored("fallbacks"):
        return sent + _fallback_configs(resource.spec["fallbacks"] or ())
    return sent + _as_live(live, "FALLBACK")


def _as_live(live: Live, linkage: str) -> list[dict[str, Any]]:
    names = ("model_definition_id", "linkage_type", "weight", "fallback_order")
    return [{n: m[n] for n in names if m.get(n) is not None} for m in _mappings(live.raw, linkage)]


def _configs(models: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    configs = []
    for item in models:
        config = {
            "model_definition_id": gateway.live_id("GatewayModel", item["model"]),
            "linkage_type": "PRIMARY",
        }
        if item.get("weight") is not None:
            config["weight"] = item["weight"]
        configs.append(config)
    return configs


def _fallback_configs(names: Iterable[str]) -> list[dict[str, Any]]:
    return [
        {
            "model_definition_id": gateway.live_id("GatewayModel", name),
            "linkage_type": "FALLBACK",
            "fallback_order": order,
        }
        for order, name in enumerate(names, 1)
    ]


def _tag_calls(endpoint: Any, change: FieldChange) -> Iterable[Call]:
    key = str(change.path[1])
    if change.after is None:
        body = {"endpoint_id": endpoint, "key": key}
        yield call("delete_gateway_endpoint_tag", "DELETE", "endpoints/delete-tag", body, change.section)
    else:
        yield _set_tag(endpoint, key, change.after, change.section)


def _set_tag(endpoint: Any, key: str, value: Any, section: str = "tags") -> Call:
    body = {"endpoint_id": endpoint, "key": key, "value": str(value)}
    return call("set_gateway_endpoint_tag", "POST", "endpoints/set-tag", body, section)


def _add_guardrail(endpoint: Any, name: str, order: int) -> Call:
    body = {
        "endpoint_id": endpoint,
        "guardrail_id": gateway.live_id("GatewayGuardrail", name),
        "execution_order": order,
    }
    return call("add_guardrail_to_endpoint", "POST", "guardrails/add-to-endpoint", body, "guardrails")


def _guardrail_calls(endpoint: Any, wanted: Sequence[str], live: Live) -> Iterable[Call]:
    """First what is new, then the order, last what goes: nothing is unguarded meanwhile."""
    left = list(live.raw.get("configs") or ())
    last = 0
    moves = []
    for name in wanted:
        config = next((c for c in left if str(c["guardrail"]["name"]) == name), None)
        if config is not None:
            left.remove(config)
        order = None if config is None else config.get("execution_order")
        if order is not None and order > last:
            last = order
            continue
        last += 1
        if config is None:
            yield _add_guardrail(endpoint, name, last)
        else:
            moves.append((config, last))
    for config, order in moves:
        body = {"endpoint_id": endpoint, "guardrail_id": config["guardrail_id"], "execution_order": order}
        yield call(
            "update_endpoint_guardrail_config", "PATCH", "guardrails/update-config", body, "guardrails"
        )
    for config in left:
        body = {"endpoint_id": endpoint, "guardrail_id": config["guardrail_id"]}
        yield call(
            "remove_guardrail_from_endpoint", "DELETE", "guardrails/remove-from-endpoint", body, "guardrails"
        )
