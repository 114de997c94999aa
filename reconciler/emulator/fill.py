"""What is kept of a body that was accepted: one spelling, no secrets, the backend's defaults filled in.

Which fields those are is the schema's knowledge. Only what a backend makes up by itself (``server_chosen``)
stands here, because no schema can say it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from reconciler.emulator.wire import Refusal
from reconciler.schema import MISSING, Field, derived_default, derived_name

__all__ = ["completed", "is_foundation_model", "is_of_databricks", "kept", "named", "without_secrets"]

_PLAINTEXT: Final = "_plaintext"
_PAY_PER_TOKEN: Final = ("databricks-", "system.ai.")
_THROUGHPUT: Final = ("min_provisioned_throughput", "max_provisioned_throughput", "provisioned_model_units")
# Lowest and highest concurrency of each size (public documentation of served models).
_SIZES: Final = {"Small": (4, 4), "Medium": (8, 16), "Large": (16, 64)}
_LOW: Final = "min_provisioned_concurrency"
_HIGH: Final = "max_provisioned_concurrency"


def kept(field: Field, value: Any, secrets: list[str], path: str = "") -> Any:
    """``value`` as it is stored: the main spelling, nothing computed, nothing write-only.

    The paths of the write-only fields that were given are added to ``secrets``: that one was given is all
    that is remembered. An unknown field that is named like a plaintext secret is taken for one.
    """
    if field.pairs is not None:
        words = (field.pairs["key"], field.pairs["value"])
        pairs = [{word: pair[word] for word in words if word in pair} for pair in value]
        return _unique(pairs, words[:1], path)
    if isinstance(value, dict):
        return _kept_object(field, value, secrets, path)
    if isinstance(value, list):
        items = field.items
        if items is None:
            return list(value)
        if field.is_set:
            return list(dict.fromkeys(value))
        stored = [kept(items, item, secrets, f"{path}[{position}]") for position, item in enumerate(value)]
        return _unique(stored, field.key, path, items) if field.key else stored
    return value.lower() if field.case_insensitive and isinstance(value, str) else value


def _kept_object(field: Field, value: Mapping[str, Any], secrets: list[str], path: str) -> dict[str, Any]:
    stored: dict[str, Any] = {}
    for name, child in value.items():
        here = f"{path}.{name}" if path else name
        known = field.properties.get(name)
        if known is None and field.extra is None and name.endswith(_PLAINTEXT):
            secrets.append(here)
            continue
        if known is not None and known.write_only:
            secrets.append(here)
            continue
        if known is not None and known.computed:
            continue
        main = field.aliases.get(name, name)
        known = known or field.extra
        result = kept(known, child, secrets, here) if known else without_secrets(child, secrets, here)
        if main in stored and stored[main] != result:
            raise Refusal.invalid(f"Fields '{path}.{main}' and '{name}' contradict each other.")
        stored[main] = result
    return stored


def without_secrets(value: Any, secrets: list[str], path: str) -> Any:
    """What is kept of a field newer than our schema: all of it but what is named like a plaintext secret."""
    if isinstance(value, list):
        return [without_secrets(item, secrets, path) for item in value]
    if not isinstance(value, dict):
        return value
    inside = f"{path}." if path else ""
    secrets.extend(f"{inside}{name}" for name in value if name.endswith(_PLAINTEXT))
    return {
        name: without_secrets(child, secrets, f"{inside}{name}")
        for name, child in value.items()
        if not name.endswith(_PLAINTEXT)
    }


def _unique(
    items: list[dict[str, Any]], key: tuple[str, ...], path: str, field: Field | None = None
) -> list[dict[str, Any]]:
    seen = set()
    for item in items:
        values = []
        for name in key:
            known = field.properties.get(name) if field is not None else None
            default = known.default if known is not None else MISSING
            values.append(item.get(name, None if default is MISSING else default))
        if all(value is None for value in values):
            continue  # the server names it later; names are compared again then
        if tuple(values) in seen:
            said = ", ".join(str(value) for value in values if value is not None)
            raise Refusal.invalid(f"Duplicate entry '{said}' in '{path}'.")
        seen.add(tuple(values))
    return items


def named(field: Field, config: dict[str, Any]) -> None:
    """Gives the items that have no name the one that follows from the schema's rule, in place."""
    for section, child in field.properties.items():
        if child.items is None or not isinstance(config.get(section), list):
            continue
        for name, known in child.items.properties.items():
            if known.name_rule is None:
                continue
            for item in config[section]:
                if name not in item:
                    item[name] = derived_name(known.name_rule, item)[: known.limits.get("maxLength", 63)]
            _unique(config[section], (name,), section)


def completed(field: Field, value: Any, root: Mapping[str, Any], path: tuple[str, ...] = ()) -> Any:
    """``value`` with the backend's defaults; ``root`` is the whole endpoint, with its name.

    Defaults that are lists or maps are left out, as everywhere in the API's JSON.
    """
    if isinstance(value, list) and field.items is not None:
        return [completed(field.items, item, root, (*path, "*")) for item in value]
    if not isinstance(value, dict):
        return value
    full = dict(value)
    takes_defaults = path != ("config", "served_entities", "*") or _is_custom(value)
    for name, child in field.properties.items():
        if name in full or child.computed or child.alias_of:
            continue
        default = child.default if takes_defaults and not isinstance(child.default, (list, dict)) else MISSING
        if child.default_rule is not None:
            default = derived_default(child.default_rule, root)
        if default is not MISSING:
            full[name] = default
    if choose := _CHOICES.get(path):
        full = {**choose(full, root), **full}
    return {
        name: completed(field.properties[name], child, root, (*path, name))
        if name in field.properties
        else child
        for name, child in full.items()
    }


def is_foundation_model(entity: Mapping[str, Any]) -> bool:
    """A pay-per-token foundation model of Databricks: no throughput of its own was provisioned."""
    return is_of_databricks(entity) and not _has_throughput(entity)


def is_of_databricks(entity: Mapping[str, Any]) -> bool:
    """A model that Databricks offers, paid per token or with provisioned throughput."""
    return str(entity.get("entity_name", "")).startswith(_PAY_PER_TOKEN)


def _is_custom(entity: Mapping[str, Any]) -> bool:
    """It runs on machines of its own; only then it has a size and a type."""
    return not ("external_model" in entity or is_foundation_model(entity) or _has_throughput(entity))


def _has_throughput(entity: Mapping[str, Any]) -> bool:
    return any(entity.get(field) for field in _THROUGHPUT)


# What a backend makes up: the parent object as far as it is filled, and the endpoint → more fields.


def _for_entity(entity: Mapping[str, Any], _: Mapping[str, Any]) -> dict[str, Any]:
    if "external_model" in entity:
        return {}
    if not _is_custom(entity):
        return {"entity_version": "1", "scale_to_zero_enabled": False}
    chosen: dict[str, Any] = {"entity_version": "", "scale_to_zero_enabled": False}
    if _LOW not in entity and _HIGH not in entity:
        size = entity.get("workload_size", "Small")
        low, high = _SIZES.get(size, _SIZES["Small"])
        to_zero = entity.get("scale_to_zero_enabled", False)
        chosen |= {"workload_size": size, _LOW: 0 if to_zero else low, _HIGH: high}
    return chosen


def _for_capture(_: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    return {"enabled": True, "table_name_prefix": str(root["name"]).replace("-", "_")}


def _for_openai(config: Mapping[str, Any], _: Mapping[str, Any]) -> dict[str, Any]:
    public = config.get("openai_api_type", "openai") == "openai"
    return {"openai_api_base": "https://api.openai.com/v1"} if public else {}


def _for_cohere(_: Mapping[str, Any], __: Mapping[str, Any]) -> dict[str, Any]:
    return {"cohere_api_base": "https://api.cohere.ai/v1"}


def _for_telemetry(_: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    profile = uuid.uuid5(uuid.NAMESPACE_URL, f"telemetry/{root.get('id', root['name'])}")
    return {
        "telemetry_profile_id": str(profile),
        "enabled_telemetry_features": ["TELEMETRY_FEATURE_LOGS", "TELEMETRY_FEATURE_METRICS"],
    }


def _for_sampling(_: Mapping[str, Any], __: Mapping[str, Any]) -> dict[str, Any]:
    return {"sampling_fraction": 1.0}


_Choice = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
_EXTERNAL: Final = ("config", "served_entities", "*", "external_model")
_CHOICES: Final[Mapping[tuple[str, ...], _Choice]] = {
    ("config", "served_entities", "*"): _for_entity,
    ("config", "auto_capture_config"): _for_capture,
    (*_EXTERNAL, "openai_config"): _for_openai,
    (*_EXTERNAL, "cohere_config"): _for_cohere,
    ("telemetry_config",): _for_telemetry,
    ("telemetry_config", "inference_table_config"): _for_sampling,
}
