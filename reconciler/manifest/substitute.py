"""``${var.name}`` inside the values of a document → the project's variables. Pure.

A value that is one reference takes the variable as it is: a number stays a number, a list a list. Inside
other text a variable gives its text. What a variable holds may itself be ``${env:NAME}`` or ``${file:path}``:
it is put in as it is written, and resolved where it then stands, so that a secret is still known as one.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from reconciler.manifest.positions import Document, Marks, Origin, Positions
from reconciler.values import Source

__all__ = ["VARIABLE", "Variable", "named", "substituted"]

VARIABLE: Final = re.compile(r"\$\$\{|\$\{var\.([A-Za-z0-9][A-Za-z0-9_-]*)\}")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the project file; ``source``: where its value stands."""

    name: str
    value: Any
    source: Source


def named(value: Any) -> Iterator[str]:
    """The names of all variables that a value refers to."""
    if isinstance(value, str):
        if "${var." in value:
            yield from (found[1] for found in VARIABLE.finditer(value) if found[1])
    elif isinstance(value, dict):
        for item in value.values():
            yield from named(item)
    elif isinstance(value, list):
        for item in value:
            yield from named(item)


def substituted(document: Document, variables: Mapping[str, Variable]) -> Document:
    """The document with its variables in place, each place with an Origin that names them.

    What is not declared, or cannot stand inside text, is left as it is written: resolving the document's
    other references finds it, with the place that it has by then.
    """
    if not document.has_references or next(named(document.value), None) is None:
        return document
    walk = _Walk(document.file, variables)
    value, marks = walk.below(document.value, document.positions.marks)
    return replace(document, value=value, positions=Positions(document.file, marks))


class _Walk:
    def __init__(self, file: str, variables: Mapping[str, Variable]) -> None:
        self._file = file
        self._variables = variables

    def below(self, value: Any, marks: Marks | None) -> tuple[Any, Marks | None]:
        """A mapping or a list with what it holds; copied, for anchors share places."""
        new_marks: Marks = {}
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        result: dict[Any, Any] = {}
        for part, item in entries:
            entry: Any = (marks or {}).get(part)
            if isinstance(item, (dict, list)):
                result[part], below = self.below(item, entry[2] if entry else None)
                entry = entry and (*entry[:2], below, *entry[3:])
            elif isinstance(item, str) and "${var." in item:
                result[part], used = self._text(item)
                if used:
                    entry = entry and (*entry[:2], None, Origin(self._file, used))
            else:
                result[part] = item
            if entry:
                new_marks[part] = entry
        return (result if isinstance(value, dict) else list(result.values())), new_marks

    def _text(self, text: str) -> tuple[Any, tuple[str, ...]]:
        whole = VARIABLE.fullmatch(text)
        if whole and whole[1] in self._variables:
            return copy.deepcopy(self._variables[whole[1]].value), (whole[1],)
        used: dict[str, None] = {}

        def put(found: re.Match[str]) -> str:
            variable = self._variables.get(found[1] or "")
            told = None if variable is None else _as_text(variable.value)
            if told is None:
                return found[0]
            used[found[1]] = None
            return told

        return VARIABLE.sub(put, text), tuple(used)


def _as_text(value: Any) -> str | None:
    """A variable inside text; None when it has none there: a list, a mapping, nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else None
