"""A config that was sent → the config that is rolled out: stored form, names, defaults, and the rules across
fields that no schema says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reconciler.emulator.fill import completed, kept, named
from reconciler.emulator.record import Record
from reconciler.emulator.wire import Refusal
from reconciler.schema import spec_fields

__all__ = ["prepared"]

# Refused beside an external model even when zero (terraform-provider-databricks#3676); scale_to_zero_enabled
# is not: that provider has always sent it.
_COMPUTE: Final = (
    "workload_size",
    "workload_type",
    "min_provisioned_concurrency",
    "max_provisioned_concurrency",
    "min_provisioned_throughput",
    "max_provisioned_throughput",
    "provisioned_model_units",
)


def prepared(record: Record, sent: Mapping[str, Any], *, throughput: bool) -> dict[str, Any]:
    """The config to roll out, or a refusal. ``sent`` has passed the schema's checks.

    ``throughput``: it came by a call of the provisioned-throughput API. What ``record`` remembers of
    secrets and of its inference table is brought up to date.
    """
    field = spec_fields("Endpoint").properties["config"]
    secrets: list[str] = []
    # The SDK's EndpointCoreConfigInput says the endpoint's name once more; it is no field of the config.
    config = kept(field, {name: value for name, value in sent.items() if name != "name"}, secrets, "config")
    named(field, config)
    if not config.get("traffic_config", {}).get("routes"):
        config.pop("traffic_config", None)
    _check_kinds(config["served_entities"], record.entities, throughput)
    _check_routes(config)
    if "auto_capture_config" in config:
        config["auto_capture_config"] = _capture(record, config["auto_capture_config"])
    root = {**record.whole(), "config": config}
    full: dict[str, Any] = completed(field, config, root, ("config",))
    record.capture = full.get("auto_capture_config") or {**record.capture, "enabled": False}
    record.secrets = [path for path in record.secrets if not path.startswith("config.")] + secrets
    return full


def _check_kinds(entities: list[dict[str, Any]], before: list[dict[str, Any]], throughput: bool) -> None:
    external = {"external_model" in entity for entity in entities}
    if len(external) > 1:
        raise Refusal.invalid("External models and other models cannot be served by one endpoint.")
    if before and ("external_model" in before[0]) not in external:
        raise Refusal.invalid("An endpoint cannot change between an external model and other models.")
    if len({entity["external_model"]["task"] for entity in entities if "external_model" in entity}) > 1:
        raise Refusal.invalid("All external models of an endpoint must have the same task.")
    for entity in entities:
        name = entity["name"]
        if "external_model" in entity and (given := [field for field in _COMPUTE if field in entity]):
            raise Refusal.invalid(
                f"{given[0]} is not supported for endpoints with external models ('{name}')."
            )
        if throughput and "provisioned_model_units" not in entity:
            raise Refusal.invalid(f"provisioned_model_units is required for served entity '{name}'.")
        for what in ("concurrency", "throughput"):
            low, high = entity.get(f"min_provisioned_{what}", 0), entity.get(f"max_provisioned_{what}")
            if high is not None and low > high:
                raise Refusal.invalid(f"min_provisioned_{what} is above max_provisioned_{what} for '{name}'.")


def _check_routes(config: Mapping[str, Any]) -> None:
    names = [entity["name"] for entity in config["served_entities"]]
    if "traffic_config" not in config:
        if len(names) > 1:
            raise Refusal.invalid("traffic_config is required when there are several served entities.")
        return
    routes = config["traffic_config"].get("routes", [])
    for route in routes:
        if route["served_entity_name"] not in names:
            raise Refusal.invalid(f"Route to unknown served entity '{route['served_entity_name']}'.")
    total = sum(route["traffic_percentage"] for route in routes)
    if total != 100:
        raise Refusal.invalid(f"The traffic percentages must sum to 100, they sum to {total}.")


def _capture(record: Record, sent: dict[str, Any]) -> dict[str, Any]:
    """The inference table with what stays as it was; its schema says what may not change."""
    field = spec_fields("Endpoint").properties["config"].properties["auto_capture_config"]
    before = record.capture
    after = dict(sent)
    for name, known in field.properties.items():
        if name not in before:
            continue
        if known.server_chosen:
            after.setdefault(name, before[name])
        if known.immutable == "once_set" and after.get(name) != before[name]:
            raise Refusal.invalid(f"auto_capture_config.{name} cannot be changed once it is set.")
        way = known.one_way
        if way and before[name] == way["from"] and after.get(name) == way["to"]:
            raise Refusal.invalid(f"auto_capture_config.{name} cannot be set to {way['to']} again.")
    return after
