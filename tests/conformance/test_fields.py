"""Every field that the real databricks-sdk knows of an endpoint is in our schema."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest

from reconciler.schema import Field, spec_fields

pytestmark = pytest.mark.conformance


def _described(hint: Any) -> list[Any]:
    """The dataclasses inside a type hint."""
    if dataclasses.is_dataclass(hint):
        return [hint]
    return [found for part in typing.get_args(hint) for found in _described(part)]


def _missing(described: Any, field: Field, path: str) -> list[str]:
    gaps = []
    hints = typing.get_type_hints(described)
    for one in dataclasses.fields(described):
        child = field.properties.get(one.name)
        if child is None:
            gaps.append(f"{path}{one.name}")
            continue
        for inner in _described(hints[one.name]):
            below = child.items or child
            if below.properties:
                gaps += _missing(inner, below, f"{path}{one.name}.")
    return gaps


def test_every_field_of_the_sdk_is_in_the_schema() -> None:
    from databricks.sdk.service import serving

    fields = spec_fields("Endpoint")
    config = fields.properties["config"]
    gaps = _missing(serving.ServingEndpointDetailed, fields, "")
    gaps += _missing(serving.EndpointCoreConfigInput, _with_name(config), "config.")
    entity = fields.at("config", "served_entities", 0)
    model = fields.at("config", "served_models", 0)
    assert entity is not None
    assert model is not None
    gaps += _missing(serving.ServedEntityInput, entity, "served_entities.")
    gaps += _missing(serving.PtServedModel, entity, "served_entities(pt).")
    gaps += _missing(serving.ServedModelInput, model, "served_models.")
    assert not gaps


def _with_name(config: Field) -> Field:
    """The SDK puts the endpoint's name, a part of the path, among the fields of the configuration."""
    return dataclasses.replace(config, properties={**config.properties, "name": Field("name")})


def test_every_provider_of_the_sdk_is_in_the_schema() -> None:
    from databricks.sdk.service import serving

    external = spec_fields("Endpoint").at("config", "served_entities", 0, "external_model")
    assert external is not None
    assert external.block_of is not None
    assert {p.value for p in serving.ExternalModelProvider} <= set(external.block_of["blocks"])
