"""The schemas are sound, and the field trees answer what they annotate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from docs.generate import fields_page
from reconciler import schema

_ROOT = Path(__file__).parent.parent.parent


def _nodes(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from _nodes(item, f"{path}/{key}")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _nodes(item, f"{path}/{at}")


@pytest.mark.parametrize("name", schema.names())
def test_schema_is_a_valid_draft_2020_12_schema(name: str) -> None:
    content = schema.read(name)
    Draft202012Validator.check_schema(content)
    assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert content["$id"] == f"urn:reconciler:schema:{name}:v1"


@pytest.mark.parametrize("name", schema.names())
def test_every_annotation_is_a_known_word(name: str) -> None:
    judge = Draft202012Validator(schema.read("annotations"))
    for path, node in _nodes(schema.read(name)):
        if "x-reconciler" in node:
            assert not list(judge.iter_errors(node["x-reconciler"])), path


def test_every_word_is_explained() -> None:
    page = (_ROOT / "schemas" / "README.md").read_text(encoding="utf-8")
    for word in schema.read("annotations")["properties"]:
        assert f"`{word}" in page, word


@pytest.mark.parametrize("kind", schema.kinds())
def test_every_field_is_described_for_editors(kind: str) -> None:
    for path, field in schema.spec_fields(kind).walk():
        if path[-1] != "*":
            assert field.description, ".".join(path)


@pytest.mark.parametrize("kind", schema.kinds())
def test_names_in_annotations_exist(kind: str) -> None:
    def check(field: schema.Field, path: tuple[str, ...]) -> None:
        inside = set(field.properties)
        items = set(field.items.properties) if field.items else set()
        groups = (field.exactly_one, field.at_most_one, field.at_least_one, field.all_or_none)
        for group in [names for each in groups for names in each]:
            assert set(group) <= inside, path
        assert set(field.key) | set(field.key_one_of) <= items, path
        assert not field.shares or field.shares in items, path
        for child in field.properties.values():
            for sibling in (child.twin, *child.conflicts_with):
                assert not sibling or sibling in inside, (path, child.name)
            # Below another spelling of a list the names are those of the main one.
            main = fields.at("config", "served_entities", 0) if "served_models" in path else field
            assert main is not None
            assert not child.alias_of or child.alias_of in main.properties, (path, child.name)
            if child.overridden_when:
                assert child.overridden_when["live"] in inside, (path, child.name)
            if child.block_of:
                assert set(child.block_of["blocks"].values()) <= set(child.properties)

    fields = schema.spec_fields(kind)
    check(fields, ())
    for path, field in fields.walk():
        check(field, path)


def test_a_default_stands_on_leaves_and_containers_that_the_server_fills() -> None:
    fields = schema.spec_fields("Endpoint")
    assert fields.at("config", "served_entities", 3, "workload_type").default == "CPU"  # type: ignore[union-attr]
    assert fields.at("config", "nonsense") is None


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"external_model": {"name": "gpt-4.1"}}, "gpt-4-1"),
        ({"external_model": {"name": "anthropic.claude-v1:0"}}, "anthropic-claude-v1-0"),
        ({"entity_name": "main.ml.ranker", "entity_version": "3"}, "ranker-3"),
        ({"entity_name": "ranker", "entity_version": 3}, "ranker-3"),
        ({"entity_name": "main.f.spec"}, "spec"),
        ({}, ""),
    ],
)
def test_names_that_the_server_makes_up(item: dict[str, Any], name: str) -> None:
    entity = schema.spec_fields("Endpoint").at("config", "served_entities", 0, "name")
    assert entity is not None
    assert entity.name_rule is not None
    assert schema.derived_name(entity.name_rule, item) == name


def test_derived_defaults() -> None:
    traffic = schema.spec_fields("Endpoint").at("config", "traffic_config")
    assert traffic is not None
    assert traffic.default_rule is not None
    one = {"config": {"served_entities": [{"name": "a"}]}}
    assert schema.derived_default(traffic.default_rule, one) == {
        "routes": [{"served_entity_name": "a", "traffic_percentage": 100}]
    }
    two = {"config": {"served_entities": [{"name": "a"}, {"name": "b"}]}}
    assert schema.derived_default(traffic.default_rule, two) is schema.MISSING


def test_the_page_of_fields_is_up_to_date() -> None:
    assert (_ROOT / "docs" / "fields.md").read_text(encoding="utf-8") == fields_page(), "run make docs"
