"""A document against the JSON Schema of its kind, in words for people.

The compiled validator looks first; only what it refuses goes to jsonschema, whose errors become sentences.
Patterns of fields that hold secrets are left to :mod:`reconciler.manifest.checks`: those fields must be told
apart by where their value comes from, and their values never shown.
"""

from __future__ import annotations

import copy
import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reconciler import schema
from reconciler.errors import Problem
from reconciler.manifest.positions import Document, Parts
from reconciler.manifest.scalars import shown
from reconciler.manifest.suggest import did_you_mean, nearest, same_word
from reconciler.manifest.variables import Reference
from reconciler.schema import Field

__all__ = ["effective", "schema_problems"]

_MOST_PROBLEMS: Final = 200  # of one document; more are the same mistake over again
_LARGEST_EXPLAINED: Final = (
    50_000  # keys and values; jsonschema would take seconds, and no manifest has as many
)
_LONGEST_SHOWN: Final = 60

_Told = tuple[Parts, str, str, str]  # path, what, fix, rule


def schema_problems(
    document: Document, name: str, references: Mapping[Parts, Reference], *, lenient: bool = False
) -> list[Problem]:
    """What the schema ``name`` finds wrong with a document.

    ``lenient``: fields of the spec that the schema does not know are passed.
    """
    if _fast(name, lenient).is_valid(document.value):
        return []
    if document.size > _LARGEST_EXPLAINED:
        what = "does not fit the schema of its kind, and is too large to say where"
        return [document.problem((), what, f"it holds {document.size:,} keys and values", "schema")]
    told = _explained(document, name, references, lenient)
    if not told:  # the validators disagree: a bug of ours, yet no reason to let the document pass
        refused = itertools.islice(_fast(name, lenient).iter_errors(document.value), _MOST_PROBLEMS)
        told = [
            (tuple(error.instance_path), "is not allowed by the schema", "", "schema") for error in refused
        ]
    return [document.problem(path, what, fix, rule) for path, what, fix, rule in told]


def _explained(
    document: Document, name: str, references: Mapping[Parts, Reference], lenient: bool
) -> list[_Told]:
    words = _Words(schema.document_fields(name), references)
    told: list[_Told] = []
    for error in _slow(name, lenient).iter_errors(document.value):
        told += itertools.islice(words.sentences(error), _MOST_PROBLEMS)
        if len(told) >= _MOST_PROBLEMS:
            break
    return told


# ---- the two validators -------------------------------------------------------------------------------


@functools.cache
def effective(name: str, lenient: bool = False) -> dict[str, Any]:
    """The schema as both validators use it. Do not change what it gives."""
    document = copy.deepcopy(schema.read(name))
    _without_secret_patterns(document)
    if lenient:
        _opened(document["properties"]["spec"])
        _opened(document.get("$defs", {}))
    return document


def _without_secret_patterns(node: Any) -> None:
    for child in _nodes(node):
        words = child.get("x-reconciler")
        if isinstance(words, dict) and (words.get("secret") or words.get("secret_reference")):
            child.pop("pattern", None)


def _opened(node: Any) -> None:
    for child in _nodes(node):
        if child.get("additionalProperties") is False:
            del child["additionalProperties"]


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in list(node.values()):
            yield from _nodes(child)
    elif isinstance(node, list):
        for child in node:
            yield from _nodes(child)


@functools.cache
def _fast(name: str, lenient: bool) -> Any:
    import jsonschema_rs  # 30 ms that commands without manifests need not pay

    return jsonschema_rs.Draft202012Validator(effective(name, lenient))


@functools.cache
def _slow(name: str, lenient: bool) -> Any:
    import jsonschema  # 100 ms, and only for the wording

    document = copy.deepcopy(effective(name, lenient))
    for node in _nodes(document):
        pattern = node.get("pattern")
        if isinstance(pattern, str) and pattern.endswith("$"):
            node["pattern"] = pattern[:-1] + r"\Z"  # in Python $ also stands before a last newline
    return jsonschema.Draft202012Validator(document)


# ---- sentences ----------------------------------------------------------------------------------------

_TYPES: Final = {
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "empty",
}
_END: Final = r"\Z"
_PATTERNS: Final = {
    r"^[A-Za-z0-9][A-Za-z0-9_-]*$": "holds letters, digits, - and _ only, and begins with a letter or digit",
    "^llm/": 'must begin with "llm/"',
}
_BOOLEANS: Final = {
    **dict.fromkeys(("yes", "y", "on", "true"), "true"),
    **dict.fromkeys(("no", "n", "off", "false"), "false"),
}


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    for kind, name in (
        (bool, "boolean"),
        (str, "string"),
        (int, "integer"),
        (float, "number"),
        (dict, "object"),
    ):
        if isinstance(value, kind):
            return name
    return "array"


@functools.cache
def _homes(fields: Field) -> tuple[tuple[str, ...], ...]:
    """The path of every field that a manifest should write."""
    walked = list(fields.walk())
    stale = {path for path, field in walked if field.deprecated or field.alias_of or field.computed}
    return tuple(
        path
        for path, _ in walked
        if path[-1] != "*" and not any(path[: at + 1] in stale for at in range(len(path)))
    )


class _Words:
    """Turns validation errors into sentences."""

    def __init__(self, fields: Field, references: Mapping[Parts, Reference]) -> None:
        self._fields = fields
        self._references = references

    def sentences(self, error: Any) -> Iterator[_Told]:
        """One error may be several sentences (each unknown field is one)."""
        tell = getattr(self, f"_{error.validator}", None)
        if "propertyNames" in list(error.relative_schema_path)[-2:]:
            yield self._bad_key(error)
        elif tell is None:
            yield self._path(error), "is not allowed by the schema", "", "schema"
        else:
            yield from tell(error)

    def _path(self, error: Any) -> Parts:
        return tuple(error.absolute_path)

    def _seen(self, path: Parts, value: Any, *, hidden: bool = False) -> str:
        """What stands there now, as far as it may be shown."""
        kind = _type_of(value)
        name = {"boolean": "a boolean", "integer": "a number", "null": "empty (null)"}.get(kind, _TYPES[kind])
        reference = self._references.get(path)
        if reference is not None:
            return f"{name} from {reference.text}"
        if kind in ("object", "array", "null") or hidden or self._hides(path):
            return name
        if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
            return f"{name} ({len(value)} characters)"
        return f"{name} ({shown(value)})"

    def _hides(self, path: Parts) -> bool:
        here: Field | None = self._fields
        for part in path:
            here = here.at(part) if here is not None else None
            if here is not None and (here.takes_secrets or here.secret_reference):
                return True
        return False

    # ---- one method for each keyword ----------------------------------------------------------------------

    def _additionalProperties(self, error: Any) -> Iterator[_Told]:  # noqa: N802
        known = error.schema.get("properties", {})
        writable = [name for name, node in known.items() if not node.get("readOnly")]
        path = self._path(error)
        for name in error.instance:
            if name not in known:
                near = nearest(name, writable)
                what = f"unknown field {shown(name)}" + (f", did you mean {near}?" if near else "")
                yield (*path, name), what, "" if near else self._elsewhere(name, path), "unknown-field"

    def _elsewhere(self, name: str, path: Parts) -> str:
        """Where a field of that name belongs, if it does somewhere."""
        homes = [
            ".".join(where).replace(".*", "[*]")
            for where in _homes(self._fields)
            if same_word(where[-1], name) and where[:-1] != path
        ]
        if 1 <= len(homes) <= 2:
            return f"it belongs at {' or '.join(homes)}"
        if path[:1] == ("spec",):
            return "if the API knows it, metadata.allow_unknown_fields: true passes it"
        return "remove it"

    def _required(self, error: Any) -> Iterator[_Told]:
        # jsonschema gives one error for each missing name, and the name in its message only.
        for name in error.validator_value:
            if name not in error.instance and error.message.startswith(repr(name)):
                examples = error.schema.get("properties", {}).get(name, {}).get("examples", ())
                scalar = next((e for e in examples if isinstance(e, (str, int))), None)
                fix = f"add it, e.g. {name}: {scalar}" if scalar is not None else "add it"
                yield self._path(error), f"{name} is missing", fix, "missing-field"

    def _type(self, error: Any) -> Iterator[_Told]:
        wanted = error.validator_value
        yield self._wrong_type(error, [wanted] if isinstance(wanted, str) else list(wanted))

    def _wrong_type(self, error: Any, wanted: list[str]) -> _Told:
        path, value = self._path(error), error.instance
        names = [_TYPES[name] for name in wanted if name != "null" or len(wanted) == 1]
        fix = ""
        if isinstance(value, str) and path not in self._references:
            if "boolean" in wanted and value.lower() in _BOOLEANS:
                fix = f"write {_BOOLEANS[value.lower()]}, without quotes"
            elif {"integer", "number"} & {*wanted} and re.fullmatch(r"-?[0-9]{1,18}", value):
                fix = (
                    "write it without quotes"
                    if str(int(value)) == value
                    else "write it without leading zeros"
                )
        elif "string" in wanted and isinstance(value, (bool, int, float)):
            fix = "write it in quotes"
        # Text where a mapping belongs may be a secret that slipped.
        seen = self._seen(path, value, hidden="object" in wanted or "array" in wanted)
        return path, f"must be {' or '.join(names)}, is {seen}", fix, "wrong-type"

    def _enum(self, error: Any) -> Iterator[_Told]:
        path, value = self._path(error), error.instance
        allowed = [str(choice) for choice in error.validator_value]
        what = f"must be one of {', '.join(allowed)}, is {self._seen(path, value)}"
        near = isinstance(value, str) and path not in self._references and did_you_mean(value, allowed)
        yield path, what, near or "", "unknown-value"

    def _const(self, error: Any) -> Iterator[_Told]:
        path = self._path(error)
        what = f"must be {shown(error.validator_value)}, is {self._seen(path, error.instance)}"
        yield path, what, "", "unknown-value"

    def _pattern(self, error: Any) -> Iterator[_Told]:
        path = self._path(error)
        pattern = error.validator_value.replace(r"\Z", "$")
        what = _PATTERNS.get(pattern, f"must fit the pattern {pattern}")
        examples = [str(e) for e in error.schema.get("examples", ())]
        fix = f"e.g. {', '.join(examples[:3])}" if examples else ""
        yield path, f"{what}; is {self._seen(path, error.instance)}", fix, "wrong-format"

    def _minimum(self, error: Any) -> Iterator[_Told]:
        yield self._bound(error, "at least")

    def _maximum(self, error: Any) -> Iterator[_Told]:
        yield self._bound(error, "at most")

    def _bound(self, error: Any, word: str) -> _Told:
        path = self._path(error)
        reference = self._references.get(path)
        seen = reference.text if reference is not None else shown(error.instance)
        return path, f"must be {word} {error.validator_value}, is {seen}", "", "out-of-range"

    def _minLength(self, error: Any) -> Iterator[_Told]:  # noqa: N802
        least = error.validator_value
        yield (
            self._path(error),
            f"must have at least {least} character{'s' * (least != 1)}",
            "",
            "wrong-length",
        )

    def _maxLength(self, error: Any) -> Iterator[_Told]:  # noqa: N802
        length = len(error.instance)
        what = f"may have at most {error.validator_value} characters, has {length}"
        yield self._path(error), what, "", "wrong-length"

    def _minItems(self, error: Any) -> Iterator[_Told]:  # noqa: N802
        yield self._path(error), f"must hold at least {error.validator_value}", "", "too-few"

    def _maxItems(self, error: Any) -> Iterator[_Told]:  # noqa: N802
        what = f"may hold at most {error.validator_value}, holds {len(error.instance)}"
        yield self._path(error), what, "", "too-many"

    def _uniqueItems(self, error: Any) -> Iterator[_Told]:  # noqa: N802
        items = error.instance
        for at, item in enumerate(items):
            if item in items[:at]:
                what = f"{shown(item)} is here twice, first as item {items.index(item) + 1} of the list"
                yield (*self._path(error), at), what, "keep one of them", "duplicate-item"

    def _exclusiveMinimum(self, error: Any) -> Iterator[_Told]:  # noqa: N802
        yield self._bound(error, "more than")

    _minProperties = _minItems  # noqa: N815
    _maxProperties = _maxItems  # noqa: N815

    def _bad_key(self, error: Any) -> _Told:
        least, most = error.schema.get("minLength", 0), error.schema.get("maxLength")
        words = f"a key must have {least} to {most} characters"
        if error.validator == "pattern":
            words = f"a name {_PATTERNS.get(error.validator_value.replace(_END, '$'), 'is not allowed')}"
        return (*self._path(error), error.instance), words, "", "wrong-length"

    def _anyOf(self, error: Any) -> Iterator[_Told]:  # noqa: N802
        """The errors of the variant that is of the value's own type, else all the types."""
        variants = error.validator_value
        kind = _type_of(error.instance)
        for at, variant in enumerate(variants):
            if variant.get("type") == kind:
                for below in error.context:
                    if below.relative_schema_path[0] == at:
                        yield from self.sentences(below)
                return
        yield self._wrong_type(error, [variant["type"] for variant in variants if "type" in variant])
