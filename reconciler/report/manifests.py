"""Manifests as YAML, each value with where it comes from. Pure.

Block style, one value a line, so that a line can carry a comment; what comes out is read back by our own
loader as what went in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from reconciler.manifest.positions import Parts
from reconciler.manifest.scalars import plain

__all__ = ["Note", "yaml_text"]

Note = Callable[[Parts], str]

_PLAIN: Final = re.compile(r"[A-Za-z_./][\w./@-]*(?: [\w./@][\w./@-]*)*\Z", re.ASCII)
# Words that other readers of YAML take for booleans (1.1).
_WORDS: Final = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"))
# What YAML takes for a line break, or does not allow as it is.
_ESCAPED: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_FURTHEST: Final = 64  # the column at which comments stand, if their lines leave room


def yaml_text(documents: Sequence[tuple[Mapping[str, Any], Note | None]]) -> str:
    """The documents, ``---`` between them; each with what gives a value's comment by its path."""
    return "---\n".join(_document(value, note) for value, note in documents)


def _document(value: Mapping[str, Any], note: Note | None) -> str:
    lines = list(_lines(value, 0, ()))
    if note is None:
        return "".join(f"{text}\n" for text, _ in lines)
    column = min(_FURTHEST, max((len(text) for text, path in lines if path is not None), default=0))
    noted = [
        (text, f"  # {said}" if path is not None and (said := note(path)) else "") for text, path in lines
    ]
    return "".join(f"{text:<{column}}{said}\n" if said else f"{text}\n" for text, said in noted)


def _lines(value: Any, depth: int, path: Parts) -> Iterator[tuple[str, Parts | None]]:
    """Each line, with the path of the value that it ends in."""
    pad = "  " * depth
    if isinstance(value, Mapping):
        for name, item in value.items():
            if _is_nested(item):
                yield f"{pad}{_scalar(name)}:", None
                yield from _lines(item, depth + 1, (*path, name))
            else:
                yield f"{pad}{_scalar(name)}: {_scalar(item)}", (*path, name)
        return
    for at, item in enumerate(value):
        if not _is_nested(item):
            yield f"{pad}- {_scalar(item)}", (*path, at)
            continue
        for number, (text, where) in enumerate(_lines(item, depth + 1, (*path, at))):
            yield (f"{pad}- {text[len(pad) + 2 :]}" if number == 0 else text), where


def _is_nested(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple)) and bool(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _WORDS:
        return value if plain(value) == value else json.dumps(value)
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    return json.dumps(value)
