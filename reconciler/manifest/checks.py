"""What a JSON Schema cannot say, said by the schema's annotations (schemas/README.md). Pure.

One walk over a spec, led by its fields; it goes only where some annotation has something to check, and takes
any shape: a value that the schema refused is passed over. What only a kind knows is registered by kind.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from reconciler import schema
from reconciler.manifest.endpoint_checks import check_endpoint
from reconciler.manifest.findings import Findings
from reconciler.manifest.gateway_checks import check_gateway_budget, check_gateway_endpoint
from reconciler.manifest.positions import Document, Parts
from reconciler.manifest.scalars import shown
from reconciler.manifest.section_checks import check_ignored, check_sections
from reconciler.manifest.suggest import did_you_mean
from reconciler.manifest.variables import Reference, looks_secret
from reconciler.schema import MISSING, Field, derived_name, lookup

__all__ = ["check", "unknown_fields"]


_KIND_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any], Field, Findings], None]]] = {
    "Endpoint": check_endpoint,
    "GatewayEndpoint": check_gateway_endpoint,
    "GatewayBudget": check_gateway_budget,
}


def check(kind: str, document: Document, references: Mapping[Parts, Reference]) -> Findings:
    """Every semantic check of a document of a known kind.

    Secrets and unset references still stand in it as text: ``references`` tells them.
    """
    findings = Findings(document, references)
    fields = schema.spec_fields(kind)
    spec = document.value.get("spec")
    if isinstance(spec, dict):
        _walk(fields, spec, ("spec",), findings)
        check_sections(fields, spec, findings)
        if kind in _KIND_CHECKS:
            _KIND_CHECKS[kind](spec, fields, findings)
    check_ignored(fields, document.value, findings)
    moved_from = lookup(document.value, "lifecycle.moved_from")
    told = ("", "")
    if moved_from is not MISSING and moved_from == lookup(document.value, "metadata.name"):
        told = ("it moves from its own name", "write the name that it had before")
    elif isinstance(moved_from, str) and moved_from.startswith(f"{kind}/"):
        told = ("is an address, and a name is meant", f"write {moved_from.partition('/')[2] or 'the name'}")
    if told[0]:
        findings.problem(("lifecycle", "moved_from"), *told, "moved-nowhere")
    return findings


def unknown_fields(kind: str, document: Document, findings: Findings) -> None:
    """Warn of every field of the spec that no schema knows and that ``allow_unknown_fields`` lets pass."""
    for path in _unknown(schema.spec_fields(kind), document.value.get("spec"), ("spec",)):
        what = f"unknown field {shown(path[-1])} is passed to the API as it is"
        findings.warning(path, what, "", "unknown-field-passed")


def _unknown(here: Field, value: Any, path: Parts) -> Iterator[Parts]:
    if isinstance(value, dict):
        for name, item in value.items():
            child = here.properties.get(name) or here.extra
            if child is not None:
                yield from _unknown(child, item, (*path, name))
            elif here.properties:
                yield (*path, name)
    elif isinstance(value, list) and here.items is not None:
        for at, item in enumerate(value):
            yield from _unknown(here.items, item, (*path, at))


# ---- the walk -----------------------------------------------------------------------------------------

_Check = Callable[[Field, Any, Parts, Findings], None]


@functools.cache
def _checks_of(here: Field) -> tuple[_Check, ...]:
    """What there is to check at a field itself."""
    found: list[_Check] = []
    if any(child.computed for child in here.properties.values()):
        found.append(_computed)
    if here.exactly_one or here.at_most_one or here.at_least_one:
        found.append(_counts)
    if here.all_or_none:
        found.append(_all_or_none)
    if any(child.conflicts_with for child in here.properties.values()):
        found.append(_conflicts)
    if here.block_of is not None:
        found.append(_block)
    if _ranges(here):
        found.append(_order_of_range)
    if here.is_keyed:
        found.append(_duplicate_items)
    if here.pairs is not None:
        found.append(_duplicate_pairs)
    if here.secret:
        found.append(_literal_secret)
    if here.secret_reference:
        found.append(_secret_reference)
    if here.sensitive:
        found.append(_literal_credentials)
    if here.one_of:
        found.append(_known_words)
    return tuple(found)


@functools.cache
def _matters(here: Field) -> bool:
    """Something is to be checked at this field or below it."""
    below = (*here.properties.values(), *(f for f in (here.items, here.extra) if f is not None))
    return bool(_checks_of(here)) or any(_matters(child) for child in below)


@functools.cache
def _children(here: Field) -> Mapping[str, Field]:
    return {name: child for name, child in here.properties.items() if _matters(child)}


def _walk(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    for run in _checks_of(here):
        run(here, value, path, findings)
    if isinstance(value, dict):
        for name, child in _children(here).items():
            if name in value:
                _walk(child, value[name], (*path, name), findings)
        if here.extra is not None and _matters(here.extra):
            for name, item in value.items():
                if name not in here.properties:
                    _walk(here.extra, item, (*path, name), findings)
    elif isinstance(value, list) and here.items is not None and _matters(here.items):
        for at, item in enumerate(value):
            _walk(here.items, item, (*path, at), findings)


# ---- objects --------------------------------------------------------------------------------------------


def _computed(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    if isinstance(value, dict):
        for name in value:
            child = here.properties.get(name)
            if child is not None and child.computed:
                fix = "remove it" if name != "name" or len(path) > 1 else "name it in metadata.name"
                findings.problem((*path, name), f"{name} is computed by the server", fix, "computed-field")


def _counts(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    if not isinstance(value, dict):
        return
    crowded = [group for group in here.at_most_one if _written(value, group) > 1]
    for group in crowded:
        _too_many(here, value, group, path, findings, "at-most-one")
    for group in here.exactly_one:
        if (count := _written(value, group)) == 0:
            what = f"exactly one of {_names(group)} is needed"
            findings.problem(path, what, "write one of them", "exactly-one")
        elif count > 1 and not any(set(told) <= set(group) for told in crowded):
            _too_many(here, value, group, path, findings, "exactly-one")
    for group in here.at_least_one:
        if not _written(value, group):
            findings.problem(path, f"one of {_names(group)} is needed", "write at least one", "at-least-one")


def _written(value: Mapping[str, Any], group: Sequence[str]) -> int:
    return sum(name in value for name in group)


def _too_many(
    here: Field, value: Mapping[str, Any], group: Sequence[str], path: Parts, findings: Findings, rule: str
) -> None:
    both = [name for name in group if name in value]
    what = f"{_names(both, 'and')} may not be written together"
    child = here.properties.get(both[0])
    twins = child is not None and child.twin == both[1]
    fix = "keep the reference or the plaintext field, not both" if twins else "keep one of them"
    findings.problem((*path, both[1]), what, fix, rule)


def _names(group: Sequence[str], word: str = "or") -> str:
    return group[0] if len(group) == 1 else f"{', '.join(group[:-1])} {word} {group[-1]}"


def _all_or_none(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    if not isinstance(value, dict):
        return
    missing = [group for group in here.all_or_none if not _written(value, group)]
    if missing and len(missing) < len(here.all_or_none):
        present = next(name for group in here.all_or_none for name in group if name in value)
        for group in missing:
            findings.problem(path, f"{present} needs {_names(group)}", "write both or none", "all-or-none")


def _conflicts(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    if not isinstance(value, dict):
        return
    told: set[frozenset[str]] = set()
    for name in value:
        child = here.properties.get(name)
        for other in child.conflicts_with if child is not None else ():
            pair = frozenset((name, other))
            if other in value and pair not in told:
                told.add(pair)
                what = f"{name} and {other} may not be written together"
                findings.problem((*path, other), what, "keep one of them", "conflicting-fields")


def _block(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    assert here.block_of is not None
    if not isinstance(value, dict):
        return
    owner, blocks = here.block_of["field"], here.block_of["blocks"]
    chosen = value.get(owner)
    if not isinstance(chosen, str) or chosen not in blocks:
        return
    right = blocks[chosen]
    for block in blocks.values():
        if block != right and block in value:
            what = f"{block} does not go with {owner} {chosen}"
            findings.problem((*path, block), what, f"write {right}", "wrong-block")
    if right not in value:
        findings.problem(path, f"{owner} {chosen} needs {right}", "add it", "missing-block")


@functools.cache
def _ranges(here: Field) -> tuple[tuple[str, str], ...]:
    """Pairs of sibling fields min_x, max_x."""
    pairs = (
        (name, "max_" + name.removeprefix("min_")) for name in here.properties if name.startswith("min_")
    )
    return tuple((low, high) for low, high in pairs if high in here.properties)


def _order_of_range(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    if not isinstance(value, dict):
        return
    for low, high in _ranges(here):
        least, most = value.get(low, 0), value.get(high, 0)
        if {low, high} <= value.keys() and _is_number(least) and _is_number(most) and least > most:
            seen = [findings.shown((*path, name), value[name]) for name in (low, high)]
            what = f"{low} ({seen[0]}) is more than {high} ({seen[1]})"
            findings.problem((*path, low), what, "swap or change them", "min-over-max")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# ---- lists ----------------------------------------------------------------------------------------------


def _duplicate_items(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    if not isinstance(value, list) or len(value) < 2:
        return
    seen: dict[Any, int] = {}
    for at, item in enumerate(value):
        if not isinstance(item, dict) or (key := _key_of(here, item)) is None:
            continue
        if key in seen:
            what = f"{_shown_key(here, key)} is here twice, first as item {seen[key] + 1} of the list"
            findings.problem((*path, at), what, "keep one of them", "duplicate-item")
        seen.setdefault(key, at)


def _key_of(here: Field, item: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The values an item is matched by, with defaults and derived names; None when it has none."""
    assert here.items is not None
    for name in here.key_one_of:
        if isinstance(item.get(name), str):
            return (name, item[name])
    spellings: dict[str, str] = {main: other for other, main in here.items.aliases.items()}
    values = []
    for name in here.key:
        child = here.items.properties[name]
        part = item.get(name, item.get(spellings.get(name, name)))
        if part is None and child.name_rule is not None:
            part = derived_name(child.name_rule, item)
        if part is None and child.default is not MISSING:
            part = child.default
        values.append(part if isinstance(part, (str, int)) else "")
    return tuple(values) if any(value != "" for value in values) else None


def _shown_key(here: Field, key: tuple[Any, ...]) -> str:
    if here.key_one_of:
        return f"{key[0]} {shown(key[1])}"
    return " ".join(shown(part) for part in key if part != "")


def _duplicate_pairs(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    assert here.pairs is not None
    if not isinstance(value, list):
        return
    seen: set[str] = set()
    for at, pair in enumerate(value):
        key = pair.get(here.pairs["key"]) if isinstance(pair, dict) else None
        if isinstance(key, str):
            if key in seen:
                what = f"the {here.pairs['key']} {shown(key)} is here twice"
                findings.problem((*path, at), what, "keep one of them", "duplicate-item")
            seen.add(key)


# ---- scalars --------------------------------------------------------------------------------------------

_SECRET_REFERENCE: Final = re.compile(r"\{\{secrets/[^/{}]+/[^/{}]+\}\}\Z")


def _literal_secret(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    if not isinstance(value, str):
        return
    reference = findings.references.get(path)
    if reference is not None and not reference.has_text:
        return
    what = "a plaintext secret in a manifest" if reference is None else "a part of a secret in a manifest"
    fix = "put it in an environment variable and write ${env:NAME}"
    if here.twin:
        fix += f', or in a Databricks secret and write {here.twin}: "{{{{secrets/scope/key}}}}"'
    findings.problem(path, what, fix, "plaintext-secret")


# Formats that are credentials and nothing else: Databricks, OpenAI and Anthropic, Hugging Face, GitHub,
# Slack, AWS, PEM.
_CREDENTIAL: Final = re.compile(
    r"\bdapi[0-9a-f]{32}\b|\bsk-[A-Za-z0-9_-]{20,}|\bhf_[A-Za-z0-9]{30,}|\bgh[pousr]_[A-Za-z0-9]{36}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bA[KS]IA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
)
_LONGEST_SEARCHED: Final = 64 * 1024
_SHORTEST_DOUBTED: Final = 16


def _literal_credentials(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    """A map or text that may hold secrets: what is surely one is refused, what may be one is warned of."""
    fix = 'write ${env:NAME}, or "{{secrets/scope/key}}" for a Databricks secret'
    entries = [((*path, name), item) for name, item in value.items()] if isinstance(value, dict) else []
    for where, item in entries or [(path, value)]:
        if not isinstance(item, str) or _SECRET_REFERENCE.match(item):
            continue
        reference = findings.references.get(where)
        if reference is not None and not reference.has_text:
            continue
        if _CREDENTIAL.search(item[:_LONGEST_SEARCHED]):
            findings.problem(where, "a plaintext secret in a manifest", fix, "plaintext-secret")
        elif reference is None and looks_secret(str(where[-1])) and _may_be_secret(item):
            what = "by its name this is a secret, and it stands here in plain text"
            findings.warning(where, what, fix, "maybe-secret")


def _may_be_secret(text: str) -> bool:
    return len(text) >= _SHORTEST_DOUBTED and not any(c.isspace() for c in text)


def _secret_reference(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    if not isinstance(value, str) or _SECRET_REFERENCE.match(value):
        return
    reference = findings.references.get(path)
    seen = f", not {reference.text}" if reference is not None else ""
    what = f"takes a reference to a Databricks secret{seen}"
    fix = 'write "{{secrets/scope/key}}"'
    if here.twin:
        fix += f", or {here.twin}: ${{env:NAME}} for a secret from the environment"
    findings.problem(path, what, fix, "secret-reference")


def _known_words(here: Field, value: Any, path: Parts, findings: Findings) -> None:
    if isinstance(value, str) and value not in here.one_of:
        what = f"{findings.shown(path, value)} is none of {', '.join(here.one_of)}; it is sent as it is"
        near = "" if path in findings.references else did_you_mean(value, here.one_of)
        findings.warning(path, what, near, "unknown-word")
