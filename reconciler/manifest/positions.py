"""A document as plain values, and where each of them stands in its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reconciler.errors import Problem
from reconciler.values import FieldPath, Source

__all__ = ["Document", "Marks", "Origin", "Parsed", "Parts", "Positions"]

_LONGEST_NAME: Final = 60

Parts = tuple[str | int, ...]  # a path inside a document: names and indices


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from that does not stand as it is in the document's own file.

    ``file``: of this value and of all below it. ``variables``: the names of those that it was made of.
    """

    file: str
    variables: tuple[str, ...] = ()


# The places of what a mapping or a list holds: name or index → line, column, the places below it; and its
# Origin, if it has one.
Marks = dict[Any, "tuple[int, int, Marks | None] | tuple[int, int, Marks | None, Origin]"]


class Positions(Mapping[Parts, Source]):
    """Path (names and indices) → place, read from the tree of places when it is asked for."""

    __slots__ = ("_file", "_marks")

    def __init__(self, file: str, marks: Marks | None) -> None:
        self._file = file
        self._marks: Marks = marks or {}

    def __getitem__(self, path: Parts) -> Source:
        here: Marks | None = self._marks
        file = self._file
        line = column = 0
        for part in path:
            if here is None:
                raise KeyError(path)
            entry = here[part]
            line, column, here = entry[0], entry[1], entry[2]
            if len(entry) == 4:
                file = entry[3].file
        if not path:
            raise KeyError(path)
        return Source(file, line, column)

    def __iter__(self) -> Iterator[Parts]:
        waiting: list[tuple[Parts, Marks]] = [((), self._marks)]
        while waiting:
            prefix, marks = waiting.pop()
            for part, entry in marks.items():
                yield (*prefix, part)
                if entry[2]:
                    waiting.append(((*prefix, part), entry[2]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Positions({self._file!r}, {len(self)} fields)"

    @property
    def marks(self) -> Marks:
        """The tree of places itself. Do not change it: anchors share parts of it."""
        return self._marks

    def below(self, name: str) -> Positions:
        """The places below one entry of the root, with paths that begin there."""
        entry = self._marks.get(name)
        if entry is None:
            return Positions(self._file, None)
        return Positions(entry[3].file if len(entry) == 4 else self._file, entry[2])

    def nearest(self, path: Parts) -> Source | None:
        """The deepest known place at or above ``path``."""
        return self.origin(path)[0]

    def origin(self, path: Parts) -> tuple[Source | None, tuple[str, ...]]:
        """The deepest known place at or above ``path``, and the variables that the value there is made of."""
        here: Marks | None = self._marks
        file = self._file
        found: Source | None = None
        variables: tuple[str, ...] = ()
        for part in path:
            entry = here.get(part) if here is not None else None
            if entry is None:
                break
            here = entry[2]
            variables = ()
            if len(entry) == 4:
                file, variables = entry[3].file, entry[3].variables
            found = Source(file, entry[0], entry[1])
        return found, variables


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    ``value``: plain Python values, a tree (nothing is shared), owned by the caller. ``has_references``: a
    string in it holds ``${``. ``is_broken``: a part of it could not be read; its problem is reported.
    ``size``: how many keys and values it holds. ``folders``: file → its folder, for the files besides
    ``file`` that parts of it come from.
    """

    value: Any
    positions: Positions
    file: str
    line: int
    column: int
    has_references: bool = False
    is_broken: bool = False
    size: int = 0
    folders: Mapping[str, Path] = field(default_factory=dict)

    def problem(self, path: Parts, what: str, fix: str = "", rule: str = "") -> Problem:
        """A problem at the place of a field, or of the nearest thing above it that stands in the file."""
        place = self.positions.nearest(path) or Source(self.file, self.line, self.column)
        short = (part if isinstance(part, int) else _short(part) for part in path)
        return Problem(place.file, place.line, place.column, str(FieldPath(short)), what, fix, rule)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text holds: the documents that could be read, and everything that is wrong with it.

    ``doubtful``: places (line, column) whose value is not what the user meant, as ``problems`` say.
    """

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    doubtful: frozenset[tuple[int, int]] = frozenset()
