"""Is this body acceptable? Judged by the schema's own words, as the API would: the first fault is the answer.

Fields that the schema does not know are let through (the API may be newer than it): they are stored and
echoed. A JSON null is the same as nothing, as in the API's own JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from reconciler import schema
from reconciler.emulator.wire import Refusal, dumps
from reconciler.schema import Field

__all__ = ["check", "check_excludes", "check_name", "check_sections", "without_nulls"]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_REFERENCE: Final = re.compile(r"\{\{secrets/[^/{}]+/[^/{}]+\}\}")
_LONGEST_TAG_KEY: Final = 127


def without_nulls(value: Any) -> Any:
    """The same value without the members that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [without_nulls(child) for child in value]
    return value


def check_name(name: Any) -> None:
    """The endpoint's own name."""
    node = schema.read("endpoint")["properties"]["metadata"]["properties"]["name"]
    if not isinstance(name, str) or not name:
        raise Refusal.invalid("Endpoint name must be specified.")
    if len(name) > node["maxLength"] or not re.fullmatch(node["pattern"].strip("^$"), name):
        raise Refusal.invalid(
            f"Endpoint name '{name}' is invalid: letters, digits, '-' and '_', at most {node['maxLength']}."
        )


def check_sections(spec: Field, body: Mapping[str, Any], call: str) -> None:
    """The sections of a create body; ``call``: ``standard`` or ``pt``.

    A section that the schema knows and this call does not take is refused: to drop it silently would look
    like success.
    """
    for section, value in body.items():
        field = spec.properties.get(section)
        if field is None or field.computed:
            continue
        if call not in field.create:
            raise Refusal.invalid(f"Field '{section}' is not accepted by this call.")
        check(field, value, section)


def check(field: Field, value: Any, path: str) -> None:
    """Raises for the first thing in ``value`` that the schema does not allow; ``path`` is for the message."""
    if field.computed:
        return
    if field.pairs is not None:
        _check_pairs(field.pairs, value, path)
        return
    _check_type(field, value, path)
    _check_limits(field, value, path)
    if isinstance(value, dict):
        _check_object(field, value, path)
    elif isinstance(value, list) and field.items is not None:
        for position, item in enumerate(value):
            check(field.items, item, f"{path}[{position}]")


def _check_type(field: Field, value: Any, path: str) -> None:
    wanted = [name for name in field.types if name != "null"]
    if field.coerce:  # only manifests may write it another way
        wanted = [field.coerce]
    for name in wanted:
        if isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool)):
            return
    if wanted:
        raise Refusal.invalid(f"Field '{path}' must be of type {' or '.join(wanted)}.")


def _check_limits(field: Field, value: Any, path: str) -> None:
    limits = field.limits
    if field.secret_reference or field.secret:
        # The schema's patterns are about how a manifest writes it; here the API's own form counts.
        if field.secret_reference and not _REFERENCE.fullmatch(value):
            raise Refusal.invalid(f"Field '{path}' must be a secret reference {{{{secrets/scope/key}}}}.")
        if not value:
            raise Refusal.invalid(f"Field '{path}' must not be empty.")
        return
    if "enum" in limits and value not in limits["enum"]:
        raise Refusal.invalid(f"Field '{path}' must be one of {', '.join(map(str, limits['enum']))}.")
    if "pattern" in limits and not re.search(limits["pattern"].replace("$", r"\Z"), value):
        raise Refusal.invalid(f"Field '{path}' has an invalid value.")
    if "minimum" in limits and value < limits["minimum"]:
        raise Refusal.invalid(f"Field '{path}' must be at least {limits['minimum']}.")
    if "maximum" in limits and value > limits["maximum"]:
        raise Refusal.invalid(f"Field '{path}' must be at most {limits['maximum']}.")
    for low, high in (
        ("minLength", "maxLength"),
        ("minItems", "maxItems"),
        ("minProperties", "maxProperties"),
    ):
        if low in limits and len(value) < limits[low]:
            raise Refusal.invalid(f"Field '{path}' must hold at least {limits[low]}.")
        if high in limits and len(value) > limits[high]:
            raise Refusal.invalid(f"Field '{path}' exceeds the limit of {limits[high]}.")


def _check_object(field: Field, value: dict[str, Any], path: str) -> None:
    for name in field.limits.get("required", ()):
        if name not in value:
            raise Refusal.invalid(f"Field '{path}.{name}' is required.")
    _check_groups(field, value, path)
    _check_block(field, value, path)
    for name, child in value.items():
        known = field.properties.get(name) or field.extra
        if known is None:
            continue
        check(known, child, f"{path}.{name}")
        for other in known.conflicts_with:
            if other in value:
                raise Refusal.invalid(f"Fields '{path}.{name}' and '{other}' must not be given together.")


def _check_groups(field: Field, value: Mapping[str, Any], path: str) -> None:
    for group in field.exactly_one:
        if _given(field, value, group) != 1:
            raise Refusal.invalid(f"Exactly one of {', '.join(group)} must be given in '{path}'.")
    for group in field.at_most_one:
        if _given(field, value, group) > 1:
            raise Refusal.invalid(f"At most one of {', '.join(group)} may be given in '{path}'.")
    for group in field.at_least_one:
        if _given(field, value, group) < 1:
            raise Refusal.invalid(f"One of {', '.join(group)} must be given in '{path}'.")
    given = [_given(field, value, group) > 0 for group in field.all_or_none]
    if any(given) and not all(given):
        names = " and ".join("/".join(group) for group in field.all_or_none)
        raise Refusal.invalid(f"{names} must be given together in '{path}'.")


def _given(field: Field, value: Mapping[str, Any], group: Sequence[str]) -> int:
    # Two spellings of one field that say the same are one: answers hold both, and may be sent back.
    aliases = field.aliases
    return len({(aliases.get(name, name), dumps(value[name])) for name in group if name in value})


def _check_block(field: Field, value: Mapping[str, Any], path: str) -> None:
    if field.block_of is None:
        return
    chosen = value.get(field.block_of["field"])
    for owner, block in field.block_of["blocks"].items():
        if owner == chosen and block not in value:
            raise Refusal.invalid(f"'{path}.{block}' is required for '{chosen}'.")
        if owner != chosen and block in value:
            raise Refusal.invalid(f"'{path}.{block}' must not be given for '{chosen}'.")


def _check_pairs(words: Mapping[str, str], value: Any, path: str) -> None:
    if not isinstance(value, list):
        raise Refusal.invalid(f"Field '{path}' must be of type array.")
    for position, pair in enumerate(value):
        here = f"{path}[{position}]"
        if not isinstance(pair, dict):
            raise Refusal.invalid(f"Field '{here}' must be of type object.")
        key = pair.get(words["key"])
        if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_TAG_KEY:
            raise Refusal.invalid(
                f"Field '{here}.{words['key']}' must be 1 to {_LONGEST_TAG_KEY} characters."
            )
        if not isinstance(pair.get(words["value"], ""), str):
            raise Refusal.invalid(f"Field '{here}.{words['value']}' must be of type string.")


def check_excludes(spec: Field, endpoint: Mapping[str, Any]) -> None:
    """Sections that may not stand beside what else the endpoint has, as telemetry beside an external model.

    A section at its default (``route_optimized: false``) is not one: the mlflow client always sends it.
    """
    for section, field in spec.properties.items():
        if endpoint.get(section) in (None, field.default):
            continue
        for rule in field.excludes:
            if any(True for _ in _found(endpoint, rule["path"].split("."))):
                raise Refusal.invalid(f"Field '{section}' is not supported here: {rule['why']}.")


def _found(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if not path:
        yield value
    elif path[0] == "*" and isinstance(value, list):
        for item in value:
            yield from _found(item, path[1:])
    elif isinstance(value, dict) and path[0] in value:
        yield from _found(value[path[0]], path[1:])
