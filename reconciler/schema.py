"""What is this field? Loads the JSON Schemas and answers from their annotations (schemas/README.md).

The schemas stand in ``schemas/`` of a checkout and in ``reconciler/_schemas`` of an installed wheel; this is
the only module that knows. Everything is read once and cached; the trees are immutable and shared.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from reconciler.errors import ReconcilerError

__all__ = [
    "MISSING",
    "Field",
    "derived_default",
    "derived_name",
    "document_fields",
    "kinds",
    "lookup",
    "names",
    "read",
    "spec_fields",
]

_KIND_FILES: Final = {
    "Endpoint": "endpoint",
    "Deployment": "deployment",
    "Model": "model",
    "GatewaySecret": "gateway_secret",
    "GatewayModel": "gateway_model",
    "GatewayEndpoint": "gateway_endpoint",
    "GatewayBudget": "gateway_budget",
    "GatewayGuardrail": "gateway_guardrail",
}
# What is compared in another shape than it is written in: name → file.
_SHAPE_FILES: Final = {"ConfigFileEndpoint": "config_file_endpoint"}
_LIMITS: Final = (
    "enum",
    "pattern",
    "required",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
)


class _Missing:
    """No value at all, where None is a value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field of a kind, with everything its schema says; the words are those of schemas/README.md.

    ``properties``: the fields of an object by name. ``items``: of a list. ``extra``: of a free-form map's
    values. ``types``: JSON Schema type names, empty when any is allowed. A field with neither
    properties, items nor extra is a scalar or an opaque value. ``limits``: the standard keywords that bound
    its value (enum, pattern, minimum, required …), as the schema has them. ``aliases``: other spelling →
    name, of the properties. ``is_plain``: a scalar of which two equal sides need no second look.
    """

    name: str
    types: tuple[str, ...] = ()
    description: str = ""
    properties: Mapping[str, Field] = field(default_factory=dict)
    items: Field | None = None
    extra: Field | None = None
    closed: bool = False
    computed: bool = False
    write_only: bool = False
    deprecated: bool = False
    default: Any = MISSING
    default_rule: Mapping[str, Any] | None = None
    name_rule: Mapping[str, str] | None = None
    server_chosen: bool = False
    not_echoed: str = ""
    silent: bool = False
    immutable: bool | str = False
    one_way: Mapping[str, Any] | None = None
    variant: str = ""
    key: tuple[str, ...] = ()
    key_one_of: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    order: Mapping[str, str] | None = None
    is_set: bool = False
    is_sequence: bool = False
    pairs: Mapping[str, str] | None = None
    shares: str = ""
    secret: bool = False
    secret_reference: bool = False
    sensitive: bool = False
    takes_secrets: bool = False
    sealed: bool = False
    refers_to: str = ""
    refers_when: Mapping[str, str] | None = None
    twin: str = ""
    alias_of: str = ""
    also_called: tuple[str, ...] = ()
    coerce: str = ""
    one_of: tuple[str, ...] = ()
    case_insensitive: bool = False
    overridden_when: Mapping[str, str] | None = None
    conflicts_with: tuple[str, ...] = ()
    exactly_one: tuple[tuple[str, ...], ...] = ()
    at_most_one: tuple[tuple[str, ...], ...] = ()
    at_least_one: tuple[tuple[str, ...], ...] = ()
    all_or_none: tuple[tuple[str, ...], ...] = ()
    block_of: Mapping[str, Any] | None = None
    excludes: tuple[Mapping[str, str], ...] = ()
    clear: str = ""
    create: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    unit: str = ""
    reason: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    is_plain: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        needs_a_look = (
            self.properties
            or self.items
            or self.extra
            or self.computed
            or self.write_only
            or self.secret
            or self.not_echoed
            or self.overridden_when
        )
        object.__setattr__(self, "is_plain", not needs_a_look)

    @property
    def is_keyed(self) -> bool:
        """Its items are matched by key."""
        return bool(self.key or self.key_one_of)

    def at(self, *path: str | int) -> Field | None:
        """The field below this one, by names (positions and keys stand for any item), None when unknown."""
        here: Field | None = self
        for part in path:
            if here is None:
                return None
            if here.items is not None and (isinstance(part, int) or part not in here.properties):
                here = here.items
            elif isinstance(part, str) and part in here.properties:
                here = here.properties[part]
            else:
                here = here.extra
        return here

    def walk(self, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Field]]:
        """Every field below this one with its path; ``*`` stands for the items of a list or a map."""
        for name, child in self.properties.items():
            yield (*prefix, name), child
            yield from child.walk((*prefix, name))
        for below in (self.items, self.extra):
            if below is not None:
                yield (*prefix, "*"), below
                yield from below.walk((*prefix, "*"))


def _aliases(properties: Mapping[str, Field]) -> Mapping[str, str]:
    spellings = {name: child.alias_of for name, child in properties.items() if child.alias_of}
    for name, child in properties.items():
        spellings.update(dict.fromkeys(child.also_called, name))
    return MappingProxyType(spellings)


@functools.cache
def _folder() -> Path:
    package = Path(__file__).parent
    for folder in (package / "_schemas", package.parent / "schemas"):
        if (folder / "endpoint.schema.json").is_file():
            return folder
    raise ReconcilerError(
        "the schemas are missing from this installation", where=str(package), fix="install reconciler again"
    )


@functools.cache
def read(name: str) -> dict[str, Any]:
    """The schema file ``schemas/<name>.schema.json`` as parsed JSON. Do not change what it gives."""
    text = (_folder() / f"{name}.schema.json").read_text(encoding="utf-8")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


@functools.cache
def names() -> tuple[str, ...]:
    """The names of all schema files, for :func:`read`, sorted."""
    return tuple(sorted(path.name.removesuffix(".schema.json") for path in _folder().glob("*.schema.json")))


def kinds() -> Mapping[str, str]:
    """Kind → the name of its schema file (for :func:`read`)."""
    return MappingProxyType(_KIND_FILES)


@functools.cache
def spec_fields(kind: str) -> Field:
    """The tree of fields below ``spec`` of a kind, or of a shape that one is compared in.

    Raises KeyError for a kind that has no schema.
    """
    document = read({**_KIND_FILES, **_SHAPE_FILES}[kind])
    return _build("spec", document["properties"]["spec"], document)


@functools.cache
def document_fields(name: str) -> Field:
    """The tree of fields of a whole document, by the name of its schema file (as for :func:`read`)."""
    document = read(name)
    return _build("", document, document)


def _build(name: str, node: Mapping[str, Any], document: Mapping[str, Any]) -> Field:
    node = _resolved(node, document)
    words: dict[str, Any] = dict(node.get("x-reconciler", {}))
    variants = [_resolved(v, document) for v in node.get("anyOf", ())]
    types: tuple[str, ...] = ()
    for variant in (node, *variants):
        stated = variant.get("type", ())
        types += (stated,) if isinstance(stated, str) else tuple(stated)
    properties = {key: _build(key, child, document) for key, child in node.get("properties", {}).items()}
    items = node.get("items")
    extra = node.get("additionalProperties")
    if "pairs" in words:  # compared as a map, whichever way it is written
        extra = next(v["additionalProperties"] for v in variants if v.get("type") == "object")
    label = words.get("label", ())
    return Field(
        name=name,
        types=types,
        description=node.get("description", ""),
        properties=MappingProxyType(properties),
        items=_build("*", items, document) if isinstance(items, dict) else None,
        extra=_build("*", extra, document) if isinstance(extra, dict) else None,
        closed=node.get("additionalProperties") is False,
        computed=node.get("readOnly", False),
        write_only=node.get("writeOnly", False),
        deprecated=node.get("deprecated", False),
        default=node.get("default", words.get("default", MISSING)),
        default_rule=words.get("default_rule"),
        name_rule=words.get("name_rule"),
        server_chosen=words.get("server_chosen", False),
        not_echoed=words.get("not_echoed", ""),
        silent=words.get("silent", False),
        immutable=words.get("immutable", False),
        one_way=words.get("one_way"),
        variant=words.get("variant", ""),
        key=tuple(words.get("key", ())),
        key_one_of=tuple(words.get("key_one_of", ())),
        match=tuple(words.get("match", ())),
        order=words.get("order"),
        is_set=words.get("set", False),
        is_sequence=words.get("sequence", False),
        pairs=words.get("pairs"),
        shares=words.get("shares", ""),
        secret=words.get("secret", False),
        secret_reference=words.get("secret_reference", False),
        sensitive=words.get("sensitive") is True,
        takes_secrets="sensitive" in words or "secret" in words,
        sealed=words.get("sealed", False),
        refers_to=words.get("refers_to", ""),
        refers_when=words.get("refers_when"),
        twin=words.get("twin", ""),
        alias_of=words.get("alias_of", ""),
        also_called=tuple(words.get("also_called", ())),
        coerce=words.get("coerce", ""),
        one_of=tuple(words.get("one_of", ())),
        case_insensitive=words.get("case_insensitive", False),
        overridden_when=words.get("overridden_when"),
        conflicts_with=tuple(words.get("conflicts_with", ())),
        exactly_one=_groups(words, "exactly_one"),
        at_most_one=_groups(words, "at_most_one"),
        at_least_one=_groups(words, "at_least_one"),
        all_or_none=_groups(words, "all_or_none"),
        block_of=words.get("block_of"),
        excludes=tuple(words.get("excludes", ())),
        clear=words.get("clear", ""),
        create=tuple(words.get("create", ())),
        label=(label,) if isinstance(label, str) else tuple(label),
        unit=words.get("unit", ""),
        reason=words.get("reason", ""),
        limits=MappingProxyType({word: node[word] for word in _LIMITS if word in node}),
        aliases=_aliases(properties),
    )


def _groups(words: Mapping[str, Any], word: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group) for group in words.get(word, ()))


def _resolved(node: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in node:
        return node
    target: Mapping[str, Any] = document
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **{k: v for k, v in node.items() if k != "$ref"}}


def lookup(value: Any, path: str) -> Any:
    """The value at a dotted path of nested mappings, MISSING when there is none."""
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    return value


def derived_name(rule: Mapping[str, str], item: Mapping[str, Any]) -> str:
    """The name that the server gives an item without one; "" when the item has nothing to make it of.

    The rule is the Terraform provider's and the CLI's (reference: serving endpoints, field ``name``).
    """
    if external := lookup(item, rule["external"]):
        return str(external).replace(".", "-").replace(":", "-")
    entity = lookup(item, rule["entity"])
    if not entity:
        return ""
    version = lookup(item, rule["version"])
    base = str(entity).rsplit(".", 1)[-1]
    return f"{base}-{version}" if version or version == 0 else base


def derived_default(rule: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """What the backend fills in, following other fields of ``root`` (the whole endpoint, with its name).

    MISSING when the rule has nothing to go by.
    """
    match rule["rule"]:
        case "copy":
            return lookup(root, rule["from"])
        case "all_to_the_only_item":
            items = lookup(root, rule["list"])
            if not isinstance(items, list) or len(items) != 1:
                return MISSING
            route = {rule["key"]: items[0].get(rule["item_key"]), rule["share"]: 100}
            return {rule["into"]: [route]}
        case unknown:
            raise ReconcilerError(f"the schema names an unknown default rule {unknown!r}")
