"""What is wrong with a policy before anything is judged by it: names that nothing has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from reconciler import schema
from reconciler.engine import cel
from reconciler.engine.policy_text import Template
from reconciler.manifest.policies import Policy
from reconciler.manifest.suggest import did_you_mean
from reconciler.schema import Field

__all__ = ["problems_of", "scope_of"]

_STEP: Final = ("address", "kind", "name", "action", "changes", "calls", "notice", "notes", "protected")
_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "resource": {
        "address": None,
        "kind": None,
        "name": None,
        "labels": None,
        "spec": None,
        "lifecycle": {"prevent_destroy": None, "ignore_changes": None, "moved_from": None},
        "file": None,
        "line": None,
        "plaintext": None,
        "references": None,
    },
    "step": dict.fromkeys(_STEP),
    "plan": {
        "target": None,
        "environment": None,
        "stack": None,
        "counts": dict.fromkeys(("create", "update", "replace", "delete", "adopt", "no_op")),
        "write_calls": None,
        "steps": None,
    },
}
_SEEN: Final = {
    "resource": ("resource",),
    "step": ("step", "resource", "plan"),
    "plan": ("plan",),
}
_ALWAYS: Final = ("environment", "stack", "now", "params")
_TYPES: Final = ("int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type")


def scope_of(policy: Policy, expressions: Mapping[str, cel.Expression]) -> str:
    """What a policy is about: what it says, else what its expressions name."""
    if policy.on:
        return policy.on
    named = {name for expression in expressions.values() for name in expression.names}
    if "step" in named or {"resource", "plan"} <= named:
        return "step"
    return "plan" if "plan" in named else "resource"


def problems_of(
    policy: Policy, on: str, expressions: Mapping[str, cel.Expression], texts: Mapping[str, Template]
) -> Iterator[tuple[str, cel.CelError]]:
    """The names in a policy that nothing has, with the field of the policy that holds them."""
    has_items = "each" in expressions
    for name, expression in expressions.items():
        items = has_items and name in ("rule", "at")
        yield from ((name, error) for error in _unknown(policy, on, expression, items))
    for name, text in texts.items():
        for piece in text.pieces:
            if not isinstance(piece, str):
                yield from ((name, _unplaced(error)) for error in _unknown(policy, on, piece, has_items))


def _unplaced(error: cel.CelError) -> cel.CelError:
    return cel.CelError(error.what)


def _unknown(policy: Policy, on: str, expression: cel.Expression, items: bool) -> Iterable[cel.CelError]:
    known = (*_SEEN[on], *_ALWAYS, *(("item", "key") if items else ()))
    for chain in expression.chains:
        first, *rest = chain.parts
        if first not in known and not (first in _TYPES and not rest):
            elsewhere = [scope for scope, names in _SEEN.items() if first in names]
            if elsewhere:
                what = f"{first} is not there in a policy on {on}: write on: {elsewhere[0]}"
            elif first in ("item", "key"):
                what = f"{first} is there where each: names a list"
            else:
                fix = did_you_mean(first, known) or f"known: {', '.join(known)}"
                what = f"there is no {first} here; {fix}"
            yield cel.CelError(what, chain.line, chain.column)
            continue
        if first == "params":
            fields: Mapping[str, Any] | None = dict.fromkeys(policy.params)
        else:
            fields = _FIELDS.get(first)
        if wrong := _wrong(first, rest, fields, _kinds(policy)):
            yield cel.CelError(wrong, chain.line, chain.column)


def _kinds(policy: Policy) -> Sequence[str]:
    """The kinds that a policy is about, where it says so in so many words; else all."""
    named = re.fullmatch(r"resource\.kind == '(\w+)'(?: && .*)?", policy.when.strip(), re.DOTALL)
    return [named[1]] if named and named[1] in schema.kinds() else list(schema.kinds())


def _wrong(path: str, rest: list[str], fields: Mapping[str, Any] | None, kinds: Sequence[str]) -> str:
    for at, part in enumerate(rest):
        if path == "resource.spec":
            return _not_in_spec(rest[at:], kinds)
        if fields is None:
            return ""
        if part not in fields:
            fix = did_you_mean(part, fields) or f"known: {', '.join(fields) or 'none'}"
            return f"{path} has no {part}; {fix}"
        path, fields = f"{path}.{part}", fields[part]
    return ""


def _not_in_spec(parts: list[str], kinds: Sequence[str]) -> str:
    """Why none of the kinds has such a field; "" when one has, or nobody can say."""
    roots = [schema.spec_fields(kind) for kind in kinds]
    path = "resource.spec"
    for part in parts:
        if aliased := next((root.aliases[part] for root in roots if part in root.aliases), ""):
            return f"{path}.{part} is read as {path}.{aliased}, in whichever spelling it is written"
        if any(_is_open(root) for root in roots):
            return ""
        below = [root.properties[part] for root in roots if part in root.properties]
        if not below:
            fix = did_you_mean(part, sorted({name for root in roots for name in root.properties}))
            where = kinds[0] if len(kinds) == 1 else "any kind"
            return f"{path} has no {part} in {where}" + (f"; {fix}" if fix else "")
        roots, path = below, f"{path}.{part}"
    return ""


def _is_open(field: Field) -> bool:
    """A field that may hold any name, or no names at all: only its value can tell."""
    return field.extra is not None or field.pairs is not None or not field.properties
