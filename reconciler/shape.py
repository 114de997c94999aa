"""Turns a written spec and a server's answer into one shape, by the schema and nothing else.

A dumb copy on purpose: other spellings to the one name, lists of pairs to maps, numbers to text where the
API wants text. Cleverness here would hide real drift; judging is the comparison's work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reconciler.schema import MISSING, Field, derived_name, lookup
from reconciler.values import MASK, Source

__all__ = ["canonical", "canonical_sources", "item_key", "label_of", "masked", "misfit"]


_WHOLE = re.compile(r"-?[0-9]{1,18}\Z")


def canonical(field: Field, value: Any) -> Any:
    """``value`` in the one spelling. Unknown fields are kept as they are; the input is not changed.

    Where an answer holds a field in both spellings the main one counts. Values are JSON-like: objects are
    dicts.
    """
    if isinstance(value, str):  # most values, and the quickest way out
        # JSON made from protocol buffers has long numbers as text (protobuf.dev, "ProtoJSON Format").
        return int(value) if field.types == ("integer",) and _WHOLE.match(value) else value
    if field.pairs is not None:
        return _as_map(field.pairs, value)
    if isinstance(value, dict):
        return _canonical_object(field, value)
    if isinstance(value, (list, tuple)):
        if field.items is None:
            return list(value)
        return [canonical(field.items, item) for item in value]
    if field.coerce == "string" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _canonical_object(field: Field, value: Mapping[str, Any]) -> dict[str, Any]:
    shape: dict[str, Any] = {}
    aliases, properties = field.aliases, field.properties
    for name, child_value in value.items():
        if name in aliases:
            main = aliases[name]
            if value.get(main) is None:
                # The alias' own schema knows the spelling below it (served_models → model_name).
                spelling = properties.get(name) or properties[main]
                shape[main] = canonical(spelling, child_value)
            continue
        child = properties.get(name) or field.extra
        if child is None or child.computed:
            shape[name] = child_value
        else:
            shape[name] = canonical(child, child_value)
    return shape


def _as_map(pairs: Mapping[str, str], value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return {
            str(pair.get(pairs["key"])): _text(pair.get(pairs["value"]))
            for pair in value
            if isinstance(pair, Mapping)
        }
    return value


def _text(value: Any) -> Any:
    """Text of a pair's value; absent is empty. A bool or number of an answer is shown as JSON shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


def misfit(field: Field, value: Any) -> str:
    """Where an answer is no such thing as the schema has there (a list, an object, neither), and what it is.

    "" when it fits. Null fits everywhere but in a list, what no schema knows is not looked at, of scalars any
    will do: they are the comparison's work. Whoever walks an answer may then rely on its lists and objects.
    """
    if isinstance(value, dict):
        if not (field.properties or field.extra or field.pairs or _takes(field, "object")):
            return f" is an object, not {_expected(field)}"
        for name, item in value.items():
            child = field.properties.get(name) or field.extra
            # A scalar fits everywhere but in a container's place; most values are scalars in a scalar's.
            if child is not None and not (child.is_plain and not isinstance(item, (dict, list))):
                if child.computed and not child.properties:
                    continue
                if said := misfit(child, item):
                    return f".{name}{said}"
        return ""
    if isinstance(value, list):
        if not (field.items or field.pairs or _takes(field, "array")):
            return f" is a list, not {_expected(field)}"
        for at, item in enumerate(value):
            if field.pairs is not None and not isinstance(item, dict):
                return f"[{at}] is {_noun(item)}, not an object"
            if field.items is not None and (said := misfit(field.items, item)):
                return f"[{at}]{said}"
            if field.items is not None and item is None:
                return f"[{at}] is null, not {_expected(field.items)}"
        return ""
    if value is None or not (field.properties or field.extra or field.items or field.pairs):
        return ""
    return f" is {_noun(value)}, not {_expected(field)}"


def _takes(field: Field, name: str) -> bool:
    return not field.types or name in field.types


def _expected(field: Field) -> str:
    if field.items is not None or field.pairs is not None:
        return "a list"
    return "an object" if field.properties or field.extra is not None else "a single value"


def _noun(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    nouns = {dict: "an object", list: "a list", type(None): "null"}
    return nouns.get(type(value), "text")


def canonical_sources(
    field: Field, spec: Any, positions: Mapping[tuple[str | int, ...], Source]
) -> dict[tuple[str | int, ...], Source]:
    """The places of a spec's fields, by their path in the one spelling (list items by position)."""
    return {_canonical_path(field, spec, path): source for path, source in positions.items()}


def _canonical_path(field: Field, spec: Any, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    here: Field | None = field
    value: Any = spec
    result: list[str | int] = []
    for part in path:
        below = value[part] if _has(value, part) else None
        if here is not None and here.pairs is not None and isinstance(part, int):
            key = below.get(here.pairs["key"]) if isinstance(below, Mapping) else None
            return (*result, str(key))
        if here is not None and isinstance(part, str):
            result.append(here.aliases.get(part, part))
        else:
            result.append(part)
        here = None if here is None else here.at(part)
        value = below
    return tuple(result)


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value)


def item_key(field: Field, item: Mapping[str, Any]) -> tuple[str, bool]:
    """The text of an item's key in a keyed list, and whether the key was written (not derived).

    Key fields that are left out count with their backend default (``key`` of a rate limit).
    """
    assert field.items is not None
    for name in field.key_one_of:
        if item.get(name):
            return f"{name}={item[name]}", True
    texts = []
    written = True
    for name in field.key:
        child = field.items.properties[name]
        part = item.get(name)
        if part is None and child.name_rule is not None:
            part = derived_name(child.name_rule, item)
            written = False
        if part is None and child.default is not MISSING:
            part = child.default
        if part is not None and part != "":
            texts.append(str(part))
    return "/".join(texts), written


def label_of(field: Field, item: Mapping[str, Any] | None) -> str:
    """The field's label in words, from the item's fields; "" when it has none.

    Of several templates the first whose fields all exist is taken.
    """
    values = {name: child.default for name, child in field.properties.items() if child.default is not MISSING}
    values.update({name: value for name, value in (item or {}).items() if value is not None})
    for template in field.label:
        names = re.findall(r"\{(\w+)\}", template)
        if all(lookup(values, name) not in (MISSING, None, "") for name in names):
            return template.format(**{name: values[name] for name in names})
    return ""


def masked(field: Field | None, value: Any) -> Any:
    """A live value fit to be shown: what may hold a secret is masked, references to secrets are not."""
    if field is not None and (field.sensitive or field.secret or field.secret_reference):
        if isinstance(value, Mapping):
            return {key: _mask(item) for key, item in value.items()}
        return _mask(value)
    if isinstance(value, Mapping):
        return {key: masked(None if field is None else field.at(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(None if field is None else field.items, item) for item in value]
    return value


_REFERENCE = re.compile(r"\{\{secrets/[^/{}]+/[^/{}]+\}\}")


def _mask(value: Any) -> Any:
    shown = value is None or (isinstance(value, str) and _REFERENCE.fullmatch(value))
    return value if shown else MASK
