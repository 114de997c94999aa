"""Writes values into the text of an overlay: comments, order and spelling of everything else stay.

Only the document that changes is read and written again, by ruamel.yaml; the others stay byte for byte.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler.manifest.overlay import REMOVE, REPLACE
from reconciler.schema import MISSING, Field, lookup
from reconciler.shape import canonical, item_key
from reconciler.values import Address, FieldPath, ItemKey

__all__ = ["Edit", "added", "edited"]

_SEPARATOR: Final = re.compile(r"---(?:\s|$)")
_HEAD: Final = "apiVersion: reconciler/v1\nkind: Overlay\naddress: {address}\n"


@dataclass(frozen=True, slots=True)
class Edit:
    """One value that an overlay shall bring about. ``path``: below spec, in the schema's own spelling.

    ``value``: MISSING takes away what is there. ``item``: the whole item of each keyed list on the way, by
    which a new item is known.
    """

    path: FieldPath
    value: Any
    items: Sequence[Mapping[str, Any]] = ()


def added(text: str, address: Address) -> str:
    """The text with an empty overlay of this address at its end."""
    head = _HEAD.format(address=address)
    if not text.strip():
        return text + head
    return f"{text}{'' if text.endswith(chr(10)) else chr(10)}---\n{head}"


def edited(text: str, line: int, edits: Sequence[Edit], fields: Field) -> str:
    """The text with these edits made in the overlay that begins at this line (from 1).

    ``fields``: of the spec.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").splitlines(keepends=True)
    begin = next((at + 1 for at in range(line - 1, -1, -1) if _SEPARATOR.match(lines[at])), 0)
    end = next((at for at in range(line, len(lines)) if _SEPARATOR.match(lines[at])), len(lines))
    section = "".join(lines[begin:end])
    yaml = _round_trip(section)
    document = yaml.load(section)
    for edit in edits:
        if document.get("spec") is None:
            document["spec"] = {}
        if edit.value is MISSING:
            _take_away(document["spec"], fields, edit)
        else:
            _put(document["spec"], fields, edit)
        if not document["spec"]:
            del document["spec"]
    stream = io.StringIO()
    yaml.dump(document, stream)
    whole = "".join([*lines[:begin], stream.getvalue(), *lines[end:]])
    return whole.replace("\n", newline) if newline != "\n" else whole


def _round_trip(section: str) -> Any:
    """A reader and writer that keeps this text's own indentation."""
    from ruamel.yaml import YAML  # 0.1 s, and only for what changes files

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    dash = 2
    previous = ""
    for line in section.splitlines():
        bare = line.strip()
        if bare.startswith("- ") and previous.rstrip().endswith(":"):
            dash = _indent(line) - _indent(previous)
            break
        if bare and not bare.startswith("#"):
            previous = line
    dash = dash if 0 <= dash <= 8 else 2
    yaml.indent(mapping=2, sequence=dash + 2, offset=dash)
    return yaml


def _indent(line: str) -> int:
    """Where the words of a line begin: behind a dash, if it has one."""
    bare = line.lstrip()
    return len(line) - len(bare) + (2 if bare.startswith("- ") and bare.endswith(":") else 0)


# ---- one edit -------------------------------------------------------------------------------------------


def _put(root: Any, fields: Field, edit: Edit) -> None:
    here, definition = root, fields
    written: Field | None = fields
    items = list(edit.items)
    for at, part in enumerate(edit.path):
        is_last = at == len(edit.path) - 1
        if isinstance(part, ItemKey):
            item = items.pop(0)
            found = _item(here, definition, written, item)
            own = written.items if written else None
            if is_last:
                is_removal = isinstance(edit.value, dict) and REMOVE in edit.value
                value = {**_known_by(definition, item), REMOVE: True} if is_removal else edit.value
                _put_item(here, found, value)
                return
            if found is None:
                here.append(_known_by(definition, item))
                found = len(here) - 1
            here, definition, written = here[found], definition.items or fields, own
            here.pop(REMOVE, None)
            continue
        name = str(part)
        if definition.pairs is not None and isinstance(here, list):
            _put_pair(here, definition.pairs, name, edit.value)
            return
        key = _spelled(here, written, name)
        if is_last:
            here[key] = _quoted_like(here.get(key), _plain(edit.value))
            return
        if not isinstance(here.get(key), (dict, list)) or (not here[key] or REMOVE in here[key]):
            # What was cleared or taken away does not come back beside what is put here.
            mark = {REPLACE: True} if key in here else {}
            here[key] = [mark] * bool(mark) if isinstance(edit.path[at + 1], ItemKey) else mark
        definition, written = _below(definition, written, name, key)
        here = here[key]


def _take_away(root: Any, fields: Field, edit: Edit) -> None:
    """Take the value out of the overlay, or, where the overlay does not bring it in, say that it goes."""
    here, definition = root, fields
    written: Field | None = fields
    items = list(edit.items)
    trail: list[tuple[Any, Any]] = []
    for at, part in enumerate(edit.path):
        key: Any
        below: tuple[Field, Field | None]
        if isinstance(part, ItemKey):
            key = _item(here, definition, written, items.pop(0))
            below = (definition.items or fields, written.items if written else None)
        elif definition.pairs is not None and isinstance(here, list):
            name = definition.pairs["key"]
            key = next((i for i, pair in enumerate(here) if str(pair.get(name)) == str(part)), None)
            below = (definition, written)
        else:
            key = _spelled(here, written, str(part))
            below = _below(definition, written, str(part), key)
            key = key if key in here else None
        is_removal = key is not None and isinstance(here[key], dict) and REMOVE in here[key]
        if key is None or is_removal:
            _put(root, fields, Edit(edit.path, {REMOVE: True}, edit.items))
            return
        trail.append((here, key))
        if at == len(edit.path) - 1:
            for holder, name in reversed(trail):
                del holder[name]
                if holder:
                    return
            return
        here, (definition, written) = here[key], below


def _put_item(items: Any, found: int | None, value: Any) -> None:
    if found is None:
        items.append(_plain(value))
    elif REMOVE in items[found] and REMOVE not in value:
        # The manifest has an item of this key: it is this one now, whatever the manifest says of it.
        items[found] = _plain({**value, REPLACE: True})
    else:
        items[found] = _plain(value)


def _put_pair(pairs: Any, names: Mapping[str, str], key: str, value: Any) -> None:
    pair = next((pair for pair in pairs if str(pair.get(names["key"])) == key), None)
    if pair is None:
        pair = {names["key"]: key}
        pairs.append(pair)
    pair.pop(REMOVE, None)
    if isinstance(value, dict):
        pair.pop(names["value"], None)
        pair[REMOVE] = True
    else:
        pair[names["value"]] = value


def _item(items: Any, definition: Field, written: Field | None, wanted: Mapping[str, Any]) -> int | None:
    """Where the overlay speaks of this item, None when it does not."""
    key, _ = item_key(definition, wanted)
    own = written.items if written and written.items else definition.items
    assert own is not None
    shapes = [canonical(own, {k: v for k, v in i.items() if not k.startswith("$")}) for i in items]
    for at, shape in enumerate(shapes):
        if set(items[at]) != {REPLACE} and item_key(definition, shape)[0] == key:
            return at
    for at, shape in enumerate(shapes):
        if not item_key(definition, shape)[1] and any(
            lookup(shape, path) not in (MISSING, None, "") and lookup(shape, path) == lookup(wanted, path)
            for path in definition.match
        ):
            return at
    return None


def _known_by(definition: Field, item: Mapping[str, Any]) -> dict[str, Any]:
    """A new item of an overlay: no more than says which one is meant."""
    names = [name for name in definition.key if name in item] or [
        name for name in definition.key_one_of if item.get(name)
    ]
    if names:
        return {name: item[name] for name in names}
    new: dict[str, Any] = {}
    for path in definition.match:
        value = lookup(item, path)
        if value not in (MISSING, None, ""):
            here = new
            *above, last = path.split(".")
            for name in above:
                here = here.setdefault(name, {})
            here[last] = value
    return new


def _spelled(holder: Mapping[str, Any], written: Field | None, name: str) -> str:
    """How the overlay writes a field, or would."""
    if name in holder or written is None:
        return name
    others = [alias for alias, main in written.aliases.items() if main == name]
    there = next((alias for alias in others if alias in holder), None)
    return there or (name if name in written.properties or not others else others[0])


def _below(definition: Field, written: Field | None, name: str, key: str) -> tuple[Field, Field | None]:
    main = definition.properties.get(name) or definition.extra or definition
    own = written and (written.properties.get(key) or written.properties.get(name) or written.extra)
    return main, own


def _quoted_like(before: Any, value: Any) -> Any:
    """Text in the quotes that stood there."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

    for quoted in (DoubleQuotedScalarString, SingleQuotedScalarString):
        if isinstance(value, str) and isinstance(before, quoted):
            return quoted(value)
    return value


def _plain(value: Any) -> Any:
    """A copy of plain lists and mappings: one object in two places would be written as an anchor."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
