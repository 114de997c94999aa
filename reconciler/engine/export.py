"""Live resources → the documents of manifests that say the same. Pure.

Led by the schema, as the comparison is: what the server computes is left out, and so is what a manifest gets
by saying nothing. No value that may be a secret goes into a document: a reference to an environment variable
stands in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.engine.sameness import contains, equal, is_absent
from reconciler.kinds import kind_of
from reconciler.kinds.endpoint import kept_grants
from reconciler.kinds.marks import without_marks
from reconciler.schema import MISSING, Field, derived_default, kinds
from reconciler.shape import item_key
from reconciler.values import Address, Live, Secret

__all__ = ["Manifest", "Variables", "budget_name", "file_name", "manifest_of"]

_LITERAL = Callable[[str], str]
_PLAINTEXT: Final = "_plaintext"
_REFERENCE: Final = re.compile(r"\{\{secrets/[^/{}]+/[^/{}]+\}\}")
_LONGEST_FILE: Final = 100
# Names that Windows keeps for devices, whatever follows the first dot.
_DEVICES: Final = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The document of one live resource.

    ``variables``: the environment variables that it refers to, with the live value where the target tells it.
    ``notes``: what could not be put into it, in sentences.
    """

    address: Address
    document: Mapping[str, Any]
    variables: Mapping[str, Secret | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Variables:
    """Names of environment variables, made of words; no two things share one."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, *words: str) -> str:
        """``OPENAI_API_KEY`` of ("openai", "api_key"), with a number when another has it already."""
        parts = [part for word in words if (part := re.sub(r"[^A-Z0-9]+", "_", word.upper()).strip("_"))]
        last = parts[-1] if parts else "SECRET"
        # A secret that is called like its key (openai_api_key, api_key) does not say it twice.
        before = [part for part in parts[:-1] if not last.startswith(f"{part}_") and part != last]
        if before and (before[-1].endswith(f"_{last}") or before[-1] == last):
            last = before.pop()
        name = "_".join([*before, last])
        name = f"_{name}" if name[0].isdigit() else name
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free


def budget_name(shape: Mapping[str, Any]) -> str:
    """A name for a budget, which has none: ``chat-1-days-reject``. ``shape``: it, normalised."""
    window: Mapping[str, Any] = shape.get("duration") or {}
    whose = shape.get("target_value") or shape.get("target_scope") or "budget"
    words = (whose, window.get("value"), window.get("unit"), shape.get("budget_action"))
    return "-".join(
        str(word) if word is whose and "target_value" in shape else str(word).lower()
        for word in words
        if word
    ).replace("/", "-")


def file_name(address: Address, taken: set[str]) -> str:
    """``gateway-endpoints/chat.yaml``: a path below a folder, safe on every system, and one of its own.

    ``taken``: the paths so far, in small letters; the new one is added.
    """
    folder = kinds()[address.kind].replace("_", "-") + "s"
    stem = (
        re.sub(r"[^A-Za-z0-9._-]+", "-", address.name).strip(".-")[:_LONGEST_FILE].rstrip(".-") or "unnamed"
    )
    stem = f"{stem}_" if _DEVICES.match(stem) else stem
    path, number = f"{folder}/{stem}.yaml", 1
    while path.lower() in taken:
        number += 1
        path = f"{folder}/{stem}-{number}.yaml"
    taken.add(path.lower())
    return path


def manifest_of(live: Live, variables: Variables, *, literal: _LITERAL) -> Manifest:
    """The document of a live resource. ``literal``: how text is written that stands for itself."""
    of = kind_of(live.address)
    shape: dict[str, Any] = dict(of.normalise(live))
    if isinstance(shape.get("tags"), Mapping):
        shape["tags"] = without_marks(shape["tags"])  # whose it is says the next stack itself
    if live.permissions is not None:
        kept = kept_grants(live, {})
        shape["permissions"] = [grant for grant in shape.get("permissions", ()) if grant not in kept]
    walk = _Walk(live.address, {**shape, "name": live.address.name}, variables, literal)
    spec = walk.spec(of.fields, shape)
    if live.address.kind == "GatewaySecret":
        spec = walk.with_secret_values(of.fields, spec, live.raw.get("masked_values") or {})
    document = {
        "apiVersion": "reconciler/v1",
        "kind": live.address.kind,
        "metadata": {"name": literal(live.address.name)},
        **({"lifecycle": {"prevent_destroy": True}} if of.is_protected(live) else {}),
        "spec": spec,
    }
    return Manifest(live.address, document, walk.variables, tuple(walk.notes()))


class _Walk:
    """One resource's way from its shape to a spec."""

    def __init__(
        self, address: Address, root: Mapping[str, Any], names: Variables, literal: _LITERAL
    ) -> None:
        self.variables: dict[str, Secret | None] = {}
        self._address = address
        self._root = root
        self._names = names
        self._literal = literal
        self._unknown: list[str] = []
        self._who: list[str] = []  # keys of the items that the walk is in

    def notes(self) -> Iterable[str]:
        """What was left out though it lives."""
        if self._unknown:
            yield f"fields that this version does not know are left out: {', '.join(sorted(self._unknown))}"

    def spec(self, fields: Field, shape: Mapping[str, Any]) -> dict[str, Any]:
        """The sections, in the order of the schema. One that the server chooses is left out: not managed."""
        self._unknown += [name for name in shape if name not in fields.properties]
        result = {}
        for name, child in fields.properties.items():
            if child.server_chosen or is_absent(shape.get(name)):
                continue
            value = self._written(child, shape[name], (name,), is_required=name in _required(fields))
            if value is not MISSING:
                result[name] = value
        return result

    def with_secret_values(
        self, fields: Field, spec: Mapping[str, Any], masks: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The spec of a gateway's secret, with a reference for each key that the gateway shows a mask of."""
        values = {str(key): self._reference(str(key), None) for key in sorted(masks)}
        whole = {**spec, "secret_value": values}
        return {name: whole[name] for name in fields.properties if name in whole}

    # ---- one field --------------------------------------------------------------------------------------

    def _written(self, field: Field, value: Any, path: tuple[str, ...], *, is_required: bool = False) -> Any:
        """The value as a manifest writes it, MISSING when it does not."""
        if field.computed or field.write_only or field.secret or is_absent(value):
            return MISSING
        if not is_required and self._is_default(field, value):
            return MISSING
        if field.takes_secrets:
            return self._hidden(path[-1], value)
        if isinstance(value, Mapping):
            if field.properties and not field.pairs:
                written = self._object(field, value, path)
                return written if written or is_required else MISSING
            return self._free(value)
        if isinstance(value, (list, tuple)):
            if field.items is not None and field.items.properties:
                return [self._item(field, item, path) for item in value]
            return self._free(value)
        return self._free(value)

    def _is_default(self, field: Field, value: Any) -> bool:
        if field.default is not MISSING and equal(field, field.default, value):
            return True
        if field.default_rule is None:
            return False
        default = derived_default(field.default_rule, self._root)
        return default is not MISSING and contains(value, default)

    def _item(self, field: Field, item: Any, path: tuple[str, ...]) -> Any:
        """An item of a list. What it is known by is written, also where it is the default."""
        assert field.items is not None
        if not isinstance(item, Mapping):
            return self._free(item)
        key, _ = item_key(field, item) if field.is_keyed else ("", False)
        self._who.append(key)
        written = self._object(field.items, item, (*path, key), needed=field.key)
        self._who.pop()
        return written

    def _object(
        self, field: Field, value: Mapping[str, Any], path: tuple[str, ...], needed: Sequence[str] = ()
    ) -> dict[str, Any]:
        known = field.properties
        if not field.extra:
            self._unknown += [".".join(filter(None, (*path, name))) for name in value if name not in known]
        result = {}
        for name, child in known.items():
            is_required = name in needed or name in _required(field)
            written = self._written(child, value.get(name), (*path, name), is_required=is_required)
            if written is not MISSING:
                result[name] = written
        for name, child in known.items():  # of two that exclude each other the server chose one
            if child.server_chosen and any(other in result for other in child.conflicts_with):
                result.pop(name, None)
        self._credentials(field, result, path)
        return {name: result[name] for name in known if name in result}

    # ---- secrets ----------------------------------------------------------------------------------------

    def _credentials(self, field: Field, result: dict[str, Any], path: tuple[str, ...]) -> None:
        """References for the secrets that must be there, and that no answer tells."""
        for group in field.exactly_one:
            if not any(name in result for name in group):
                self._credential(field, group, result, path)
        if field.all_or_none and any(name in result for group in field.all_or_none for name in group):
            for group in field.all_or_none:
                if not any(name in result for name in group):
                    self._credential(field, group, result, path)

    def _credential(
        self, field: Field, group: Sequence[str], result: dict[str, Any], path: tuple[str, ...]
    ) -> None:
        secrets = [name for name in group if field.properties[name].secret]
        beside = [name for name in reversed(secrets) if any(_same_stem(name, other) for other in result)]
        for name in (*beside, *secrets):
            result[name] = self._reference(name.removesuffix(_PLAINTEXT), None)
            return
        for name in reversed(group):
            inner: dict[str, Any] = {}
            if not _required(field.properties[name]):
                self._credentials(field.properties[name], inner, (*path, name))
            if inner:
                result[name] = inner
                return

    def _hidden(self, name: str, value: Any) -> Any:
        """What may hold secrets: references to Databricks secrets stay, everything else becomes one."""
        if isinstance(value, Mapping):
            return {str(key): self._hidden(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._hidden(name, item) for item in value]
        if not isinstance(value, str) or not value or _REFERENCE.fullmatch(value):
            return value
        return self._reference(name, Secret(value))

    def _reference(self, word: str, value: Secret | None) -> str:
        """A reference to a variable named for the resource, the item, and ``word``."""
        name = self._names.name(self._address.name, *self._who, word)
        self.variables[name] = value
        return f"${{env:{name}}}"

    def _free(self, value: Any) -> Any:
        """A value without secrets, text as it stands for itself; whole numbers without a point."""
        if isinstance(value, str):
            return self._literal(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
            return int(value)
        if isinstance(value, Mapping):
            return {str(key): self._free(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._free(item) for item in value]
        return value


def _required(field: Field) -> Sequence[str]:
    return tuple(field.limits.get("required", ()))


def _same_stem(name: str, other: str) -> bool:
    """Both begin with the same two words (``microsoft_entra_…``)."""
    return name.split("_")[:2] == other.split("_")[:2]
