"""A document as plain values, and where each of them stands in its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.errors import Problem
from reconciler.values import FieldPath, Source

__all__ = ["Document", "Marks", "Parsed", "Parts", "Positions"]

_LONGEST_NAME: Final = 60

Parts = tuple[str | int, ...]  # a path inside a document: names and indices

# The places of what a mapping or a list holds: name or index → line, column, the places below it.
Marks = dict[Any, tuple[int, int, "Marks | None"]]


class Positions(Mapping[Parts, Source]):
    """Path (names and indices) → place, read from the tree of places when it is asked for."""

    __slots__ = ("_file", "_marks")

    def __init__(self, file: str, marks: Marks | None) -> None:
        self._file = file
        self._marks: Marks = marks or {}

    def __getitem__(self, path: Parts) -> Source:
        here: Marks | None = self._marks
        line = column = 0
        for part in path:
            if here is None:
                raise KeyError(path)
            line, column, here = here[part]
        if not path:
            raise KeyError(path)
        return Source(self._file, line, column)

    def __iter__(self) -> Iterator[Parts]:
        waiting: list[tuple[Parts, Marks]] = [((), self._marks)]
        while waiting:
            prefix, marks = waiting.pop()
            for part, (_, _, below) in marks.items():
                yield (*prefix, part)
                if below:
                    waiting.append(((*prefix, part), below))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Positions({self._file!r}, {len(self)} fields)"

    def below(self, name: str) -> Positions:
        """The places below one entry of the root, with paths that begin there."""
        entry = self._marks.get(name)
        return Positions(self._file, entry[2] if entry else None)

    def nearest(self, path: Parts) -> tuple[int, int] | None:
        """Line and column of the deepest known place at or above ``path``."""
        here: Marks | None = self._marks
        found: tuple[int, int] | None = None
        for part in path:
            entry = here.get(part) if here is not None else None
            if entry is None:
                break
            line, column, here = entry
            found = (line, column)
        return found


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    ``value``: plain Python values, a tree (nothing is shared), owned by the caller. ``has_references``: a
    string in it holds ``${``. ``is_broken``: a part of it could not be read; its problem is reported.
    ``size``: how many keys and values it holds.
    """

    value: Any
    positions: Positions
    file: str
    line: int
    column: int
    has_references: bool = False
    is_broken: bool = False
    size: int = 0

    def problem(self, path: Parts, what: str, fix: str = "", rule: str = "") -> Problem:
        """A problem at the place of a field, or of the nearest thing above it that stands in the file."""
        line, column = self.positions.nearest(path) or (self.line, self.column)
        short = (part if isinstance(part, int) else _short(part) for part in path)
        return Problem(self.file, line, column, str(FieldPath(short)), what, fix, rule)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text holds: the documents that could be read, and everything that is wrong with it.

    ``doubtful``: places (line, column) whose value is not what the user meant, as ``problems`` say.
    """

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    doubtful: frozenset[tuple[int, int]] = frozenset()
