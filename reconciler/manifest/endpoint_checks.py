"""Checks that only kind ``Endpoint`` has: routes against entities, external models, fallback. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.manifest.findings import Findings
from reconciler.manifest.gateway_checks import check_reserved_tags
from reconciler.manifest.positions import Parts
from reconciler.manifest.scalars import shown
from reconciler.manifest.suggest import did_you_mean
from reconciler.schema import Field, derived_name, lookup

__all__ = ["check_endpoint"]

_ALL_TRAFFIC: Final = 100
_MOST_NAMED: Final = 15


def check_endpoint(spec: Mapping[str, Any], fields: Field, findings: Findings) -> None:
    """What the schema cannot say about an endpoint. Shapes that the schema refused are passed over."""
    check_reserved_tags(spec.get("tags"), findings)
    config = spec.get("config")
    if not isinstance(config, dict):
        return
    known = fields.properties["config"]
    for spelling in ("served_entities", "served_models"):
        items = known.properties[spelling].items
        entities = config.get(spelling)
        if items is None or not isinstance(entities, list):
            continue
        if not all(isinstance(entity, dict) for entity in entities):
            continue
        fallback = lookup(spec, "ai_gateway.fallback_config.enabled") is True
        names = [_name(entity, items) for entity in entities]
        _check_external_models(entities, ("spec", "config", spelling), findings)
        _check_routes(config, names, has_fallback=fallback and _all_external(entities), findings=findings)
        if fallback and len(entities) == 1:
            path = ("spec", "ai_gateway", "fallback_config")
            what = "fallback needs more than one served entity to do anything"
            findings.warning(path, what, "add an entity to fall back to", "fallback-needs-several")


def _name(entity: Mapping[str, Any], items: Field) -> str:
    """The entity's name, or the one that the server will derive; "" when it cannot be known here."""
    name = entity.get("name")
    if isinstance(name, str):
        return name
    rule = items.properties["name"].name_rule
    shape = {items.aliases.get(field, field): value for field, value in entity.items()}
    return derived_name(rule, shape) if rule is not None else ""


def _all_external(entities: Sequence[Mapping[str, Any]]) -> bool:
    return all("external_model" in entity for entity in entities)


def _check_external_models(entities: Sequence[Mapping[str, Any]], path: Parts, findings: Findings) -> None:
    """One endpoint serves custom models or external ones; several external ones do the same task."""
    external = [at for at, entity in enumerate(entities) if "external_model" in entity]
    if not external:
        return
    for at, entity in enumerate(entities):
        if "external_model" not in entity and ("entity_name" in entity or "model_name" in entity):
            what = "an endpoint with an external model serves no custom model beside it"
            findings.problem((*path, at), what, "give it an endpoint of its own", "mixed-models")
    tasks = {at: lookup(entities[at], "external_model.task") for at in external}
    first = tasks[external[0]]
    for at, task in tasks.items():
        if isinstance(task, str) and isinstance(first, str) and task != first:
            where = (*path, at, "external_model", "task")
            others = findings.shown((*path, external[0], "external_model", "task"), first)
            what = f"the task {findings.shown(where, task)} differs from that of the first entity, {others}"
            findings.problem(where, what, "all external models of an endpoint do one task", "mixed-tasks")


def _check_routes(
    config: Mapping[str, Any], names: Sequence[str], *, has_fallback: bool, findings: Findings
) -> None:
    routes = lookup(config, "traffic_config.routes")
    path: Parts = ("spec", "config", "traffic_config", "routes")
    if not isinstance(routes, list):
        if len(names) > 1 and not has_fallback and not isinstance(config.get("traffic_config"), str):
            what = f"{len(names)} served entities need routes that split the traffic"
            findings.problem(path, what, "add traffic_config.routes", "missing-routes")
        return
    _check_route_names(routes, names, path, findings)
    shares: list[Any] = [route.get("traffic_percentage") for route in routes if isinstance(route, dict)]
    if len(shares) == len(routes) and all(type(share) is int for share in shares):
        total = sum(shares)
        if total != _ALL_TRAFFIC:
            what = f"the shares of the routes sum to {total}, not {_ALL_TRAFFIC}"
            findings.problem(path, what, "change traffic_percentage", "traffic-sum")


def _check_route_names(routes: Sequence[Any], names: Sequence[str], path: Parts, findings: Findings) -> None:
    known = set(names)
    if "" in known or any("${" in name for name in known):
        return  # a name that only the server knows, or that is not set here
    for at, route in enumerate(routes):
        if findings.is_full:
            return
        for field in ("served_entity_name", "served_model_name"):
            name = route.get(field) if isinstance(route, dict) else None
            if isinstance(name, str) and name not in known:
                where = (*path, at, field)
                what = f"no served entity is named {findings.shown(where, name)}"
                near = "" if where in findings.references else did_you_mean(name, names[:_MOST_NAMED])
                fix = near or f"the entities are {', '.join(map(shown, names[:_MOST_NAMED]))}"
                findings.problem(where, what, fix, "unknown-entity")
