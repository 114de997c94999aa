"""What answers say of an endpoint: LIST a summary, GET the whole (reference: section 3).

Order is scrambled on purpose wherever it means nothing, the same way each time: who compares by position
is found out here and not in production.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

from reconciler.emulator.fill import is_foundation_model, is_of_databricks
from reconciler.emulator.record import Record, Rollout
from reconciler.errors import ReconcilerError
from reconciler.schema import Field, lookup, spec_fields

__all__ = ["detailed", "section", "summary"]

_LIST_SECTIONS: Final = ("tags", "ai_gateway", "description", "budget_policy_id", "telemetry_config")
_LIST_ENTITY: Final = ("name", "entity_name", "entity_version", "external_model", "foundation_model")
_LIST_MODEL: Final = ("name", "model_name", "model_version")


def detailed(record: Record, base_url: str) -> dict[str, Any]:
    """The answer of GET, create, and the config and telemetry calls."""
    spec = spec_fields("Endpoint")
    body = _identity(record)
    for name, value in record.sections.items():
        field = spec.properties.get(name)
        if field is None:
            body[name] = value  # newer than our schema
        elif not field.not_echoed:
            body[name] = section(field, value, record)
    body["permission_level"] = "CAN_MANAGE"
    body["creator_kind"] = "User"
    body["creator_display_name"] = record.creator.split("@")[0]
    if kind := _endpoint_type(record):
        body["endpoint_type"] = kind
    if record.live is not None:
        body["config"] = _config(record, record.live, live=True)
    if record.pending is not None:
        body["pending_config"] = _config(record, record.pending, live=False)
    if body.get("route_optimized"):
        # The SDK documents both for route-optimised endpoints only.
        url = f"{base_url}/serving-endpoints/{record.name}/invocations"
        body["endpoint_url"] = url
        body["data_plane_info"] = {
            "query_info": {"endpoint_url": url, "authorization_details": _authorization(record)}
        }
    return body


def summary(record: Record) -> dict[str, Any]:
    """One entry of LIST."""
    spec = spec_fields("Endpoint")
    body = _identity(record)
    for name in _LIST_SECTIONS:
        field = spec.properties[name]
        if name in record.sections and field.not_echoed != "always":
            for spelling in (name, *field.also_called):
                body[spelling] = section(field, record.sections[name], record)
    if record.live is not None:
        config = _config(record, record.live, live=True)
        body["config"] = {
            "served_entities": [_only(_LIST_ENTITY, entity) for entity in config["served_entities"]],
            "served_models": [_only(_LIST_MODEL, model) for model in config["served_models"]],
        }
    return body


def section(field: Field, value: Any, record: Record) -> Any:
    """A stored value as answers show it: both spellings, nothing that is not echoed, no order of its own."""
    if isinstance(value, list):
        items = field.items
        shown = [item if items is None else section(items, item, record) for item in value]
        if _keeps_order(field, record):
            return shown
        return sorted(shown, key=lambda item: _scramble(field, item))
    if not isinstance(value, dict):
        return value
    body = {}
    for name, child in value.items():
        known = field.properties.get(name)
        if known is not None and (known.not_echoed or _is_empty(known, child)):
            continue
        body[name] = child if known is None else section(known, child, record)
    for name, known in field.properties.items():
        if known.alias_of and known.alias_of in body:
            body[name] = _respelled(known, body[known.alias_of])
    return body


def _is_empty(field: Field, value: Any) -> bool:
    # The API's JSON leaves out a list or map that is empty.
    return value == [] or (value == {} and field.extra is not None)


def _identity(record: Record) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": record.name,
        "id": record.id,
        "creator": record.creator,
        "creation_timestamp": record.created,
        "last_updated_timestamp": record.updated,
        "state": {
            "ready": "READY" if record.is_ready else "NOT_READY",
            "config_update": record.config_update,
        },
    }
    if task := _task(record):
        body["task"] = task
    return body


def _config(record: Record, rollout: Rollout, *, live: bool) -> dict[str, Any]:
    field = spec_fields("Endpoint").properties["config"]
    stored = dict(rollout.config)
    entities = field.properties["served_entities"].items
    if entities is None:
        raise ReconcilerError("the schema does not say what a served entity is")
    stored["served_entities"] = [
        _with_computed(entities, entity, record, rollout, live=live) for entity in stored["served_entities"]
    ]
    if "auto_capture_config" in stored:
        table = f"{stored['auto_capture_config']['table_name_prefix']}_payload"
        stored["auto_capture_config"] = {
            **stored["auto_capture_config"],
            "state": {"payload_table": {"name": table, "status": "", "status_message": ""}},
        }
    config: dict[str, Any] = section(field, stored, record)
    config["config_version"] = rollout.version
    if not live:
        config["start_time"] = rollout.started
    return config


def _with_computed(
    field: Field, entity: Mapping[str, Any], record: Record, rollout: Rollout, *, live: bool
) -> dict[str, Any]:
    full = dict(entity)
    if is_foundation_model(entity):
        name = str(entity["entity_name"]).rsplit(".", 1)[-1]
        full["foundation_model"] = {
            "name": entity["entity_name"],
            "display_name": name.removeprefix("databricks-").replace("-", " ").title(),
            "description": "A foundation model, paid per token.",
            "docs": "",
        }
    for name, known in field.properties.items():
        if known.overridden_when and known.overridden_when["live"] in full:
            full[name] = False
    full["creator"] = record.creator
    full["creation_timestamp"] = rollout.started
    full["state"] = _deployment(entity["name"], rollout, live=live)
    return full


def _deployment(name: str, rollout: Rollout, *, live: bool) -> dict[str, str]:
    if live:
        return {"deployment": "DEPLOYMENT_READY", "deployment_state_message": ""}
    if name in rollout.failed:
        return {"deployment": "DEPLOYMENT_FAILED", "deployment_state_message": rollout.failed[name]}
    if rollout.failed or rollout.canceled:
        return {"deployment": "DEPLOYMENT_ABORTED", "deployment_state_message": "The update was stopped."}
    return {"deployment": "DEPLOYMENT_CREATING", "deployment_state_message": "The container is being made."}


def _task(record: Record) -> str:
    for entity in record.entities:
        if "external_model" in entity:
            return str(entity["external_model"]["task"])
        if is_of_databricks(entity):
            name = str(entity["entity_name"])
            return "llm/v1/embeddings" if "embed" in name or "-e5" in name else "llm/v1/chat"
    return ""


def _endpoint_type(record: Record) -> str:
    for entity in record.entities:
        if "external_model" in entity:
            return "EXTERNAL_MODELS"
        return "FOUNDATION_MODELS" if is_foundation_model(entity) else "CUSTOM_MODELS"
    return ""


def _authorization(record: Record) -> str:
    return (
        f'[{{"type":"workspace_permission","object_type":"serving-endpoints",'
        f'"object_path":"/serving-endpoints/{record.id}","actions":["query_inference_endpoint"]}}]'
    )


def _only(names: tuple[str, ...], value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}


def _respelled(alias: Field, value: Any) -> Any:
    """The value of a field in its other spelling: ``served_entities`` → ``served_models``."""
    if not isinstance(value, list) or alias.items is None:
        return value
    back = {main: name for name, main in alias.items.aliases.items()}
    known = alias.items.properties
    return [
        {back.get(name, name): child for name, child in item.items() if back.get(name, name) in known}
        for item in value
    ]


def _keeps_order(field: Field, record: Record) -> bool:
    if field.order is not None:
        return lookup(record.whole(), field.order["meaningful_when"]) in (True,)
    return not (field.key or field.pairs or field.is_set)


def _scramble(field: Field, item: Any) -> tuple[int, str]:
    names = field.key or ((field.pairs["key"],) if field.pairs else ())
    text = "\0".join(str(item.get(name, "")) for name in names) if names else str(item)
    return zlib.crc32(text.encode()), text
