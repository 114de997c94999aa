"""Who and where: addresses, places in files, ways to a field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from reconciler.errors import UsageError

__all__ = [
    "_PART",
    "_PLAIN",
    "_PLAIN_ITEM",
    "Address",
    "FieldPath",
    "ItemKey",
    "Source",
]


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Who a resource is, in every output: ``Endpoint/chat``.

    ``dialect``: how its target speaks of it, "" for the kind's own API; it makes no other resource of it.
    """

    kind: str
    name: str
    dialect: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``Kind/name``. Raises UsageError when there is no kind or no name."""
        kind, slash, name = text.partition("/")
        if not (kind and slash and name):
            raise UsageError(f"{text!r} is not an address", fix="write Kind/name, e.g. Endpoint/chat")
        return cls(kind, name)


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A place in a manifest; line and column count from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class ItemKey:
    """One item of a keyed list inside a FieldPath, by the text of its key."""

    text: str


_PLAIN = re.compile(r"^[A-Za-z_][\w-]*$")
_PLAIN_ITEM = re.compile(r"^[^\[\]\"\s]+$")


class FieldPath(tuple[str | int | ItemKey, ...]):
    """The way to a field: names, list positions, keys of keyed lists.

    Text form: ``config.served_entities[main].workload_size``, ``tags["cost.center"]``, ``list[0]``.
    """

    __slots__ = ()

    def __new__(cls, parts: Iterable[str | int | ItemKey] = ()) -> FieldPath:
        return super().__new__(cls, tuple(parts))

    def __truediv__(self, part: str | int | ItemKey) -> FieldPath:
        return FieldPath((*self, part))

    def __str__(self) -> str:
        text = ""
        for part in self:
            if isinstance(part, ItemKey):
                plain = _PLAIN_ITEM.match(part.text)
                text += f"[{part.text}]" if plain else f"[{_quote(part.text)}]"
            elif isinstance(part, int):
                text += f"[{part}]"
            elif _PLAIN.match(part):
                text += f".{part}" if text else part
            else:
                text += f"[{_quote(part)}]"
        return text

    def __repr__(self) -> str:
        return f"FieldPath({str(self)!r})"

    @classmethod
    def parse(cls, text: str) -> FieldPath:
        """Read the text form; ``[*]`` stands for any item. Raises UsageError naming what cannot be read."""
        parts: list[str | int | ItemKey] = []
        at = 0
        while at < len(text):
            found = _PART.match(text, at)
            if not found or (found["name"] and bool(parts) != text.startswith(".", at)):
                raise UsageError(
                    f"{text!r} is not a field path: cannot read {text[at:]!r}",
                    fix="write it like config.served_entities[*].workload_size",
                )
            if found["name"]:
                parts.append(found["name"])
            elif found["quoted"] is not None:
                parts.append(ItemKey(re.sub(r"\\(.)", r"\1", found["quoted"])))
            else:
                parts.append(ItemKey(found["item"]))
            at = found.end()
        if not parts:
            raise UsageError("an empty field path", fix="name a field, e.g. tags")
        return cls(parts)

    def covers(self, other: FieldPath) -> bool:
        """This pattern is ``other`` or something above it; ``[*]`` fits any item, ``[x]`` also a name x."""
        return len(self) <= len(other) and all(map(_fits, self, other))


_PART = re.compile(
    r"""\.?(?P<name>[A-Za-z_][\w-]*)|\["(?P<quoted>(?:[^"\\]|\\.)*)"\]|\[(?P<item>[^\[\]"]+)\]"""
)


def _fits(pattern: str | int | ItemKey, part: str | int | ItemKey) -> bool:
    if isinstance(pattern, ItemKey):
        if pattern.text == "*":
            return True
        return pattern.text == (part.text if isinstance(part, ItemKey) else str(part))
    return pattern == part


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
