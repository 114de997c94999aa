"""The parser's events → documents: values and places in one pass, bounded in depth, size and aliases.

There is no node tree, no object made from a tag, and no recursion that a hostile file could exhaust.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from reconciler.errors import Problem
from reconciler.manifest.positions import Document, Marks, Positions
from reconciler.manifest.scalars import Bad, plain, shown

__all__ = ["MAX_DEPTH", "Builder", "Refused"]

MAX_DEPTH: Final = 64
_MAX_NODES: Final = 1_000_000
_MAX_FROM_ALIASES: Final = 100_000
_MAX_PROBLEMS: Final = 1_000


class Refused(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__()


class _Sign:
    """A key that is no key of the user's."""

    __slots__ = ()


_WANTED: Final = _Sign()  # the next node of this mapping is a key
_DROPPED: Final = _Sign()  # the next value of this mapping has no usable key
_MERGE: Final = _Sign()  # the key <<
_OPEN: Final = _Sign()  # an anchor whose node is not finished


class Builder:
    """Builds the documents of one file from the parser's events.

    ``value`` is the container that is open, ``marks`` the places of what it holds, ``key`` what the next
    value goes to: None in a list, ``_WANTED`` where the next node is itself a key.
    """

    __slots__ = (
        "anchor",
        "anchors",
        "begun_at",
        "documents",
        "doubtful",
        "file",
        "first_node",
        "from_aliases",
        "has_references",
        "is_broken",
        "key",
        "marks",
        "nodes",
        "plain",
        "problems",
        "stack",
        "value",
    )

    def __init__(self, file: str) -> None:
        self.file = file
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self.doubtful: set[tuple[int, int]] = set()
        self.plain: dict[str, Any] = {}  # what plain scalars of this file mean
        self.nodes = 0
        self.from_aliases = 0
        self._begin()

    def _begin(self) -> None:
        self.stack: list[tuple[Any, Marks, Any, str | None, int]] = []
        self.value: Any = []
        self.marks: Marks = {}
        self.key: Any = None
        self.anchors: dict[str, Any] = {}
        self.anchor: str | None = None
        self.begun_at = self.nodes
        self.first_node = 0
        self.has_references = False
        self.is_broken = False

    def run(self, loader: Any) -> None:
        """Take every event of the loader."""
        take = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentEndEvent: self._finish,
        }
        next_event = loader.get_event
        while (kind := (event := next_event()).__class__) is not yaml.StreamEndEvent:
            if kind in take:
                take[kind](event)

    def _scalar(self, event: Any) -> None:
        self.nodes += 1
        content = event.value
        if event.tag is not None:
            self._tag(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = (content, None, 1)
        if event.implicit[0]:
            try:
                content = self.plain[content]
            except KeyError:
                content = self.plain[content] = plain(content)
            if content.__class__ is not str or content == "<<":
                content = self._unusual(event, content)
        if content.__class__ is str and "${" in content:
            self.has_references = True
        key = self.key
        if key is _WANTED:
            self._key(content, event.start_mark)
            return
        if key is None:
            mark = event.start_mark
            self.marks[len(self.value)] = (mark.line + 1, mark.column + 1, None)
            self.value.append(content)
        else:
            if key is not _DROPPED:
                self.value[key] = content
            self.key = _WANTED

    def _unusual(self, event: Any, content: Any) -> Any:
        """A plain scalar that is no text, or the merge key."""
        if self.key is _WANTED:
            if content == "<<":
                return _MERGE
            what = f"a key must be text, and {shown(event.value)} without quotes is not"
            self._problem(event.start_mark, what, f"write it in quotes: {shown(event.value)}", "key-not-text")
            return event.value
        if content.__class__ is Bad:
            self._problem(event.start_mark, content.what, content.fix, "bad-number")
            self._doubt(event.start_mark)
            return event.value
        if event.anchor is not None:
            self.anchors[event.anchor] = (content, None, 1)
        return content

    def _key(self, key: Any, mark: Any) -> None:
        if key in self.marks:
            line, column = self.marks[key][:2]
            name = "<<" if key is _MERGE else key
            what = f"the key {shown(name)} is written twice, first at line {line}, column {column}"
            self._problem(mark, what, "keep one of them", "duplicate-key")
            self.key = _DROPPED
            return
        self.marks[key] = (mark.line + 1, mark.column + 1, None)
        self.key = key

    def _start(self, event: Any) -> None:
        self.nodes += 1
        if event.tag is not None:
            self._tag(event)
        if len(self.stack) >= MAX_DEPTH or self.nodes > _MAX_NODES:
            raise self._too_much(event.start_mark)
        is_mapping = event.__class__ is yaml.MappingStartEvent
        child: Any = {} if is_mapping else []
        marks: Marks = {}
        if self.key is _WANTED:
            self._no_key(event.start_mark)
        else:
            self._attach(child, marks, event.start_mark)
        self.stack.append((self.value, self.marks, self.key, self.anchor, self.first_node))
        self.value, self.marks, self.key = child, marks, _WANTED if is_mapping else None
        self.anchor, self.first_node = event.anchor, self.nodes
        if event.anchor is not None:
            self.anchors[event.anchor] = _OPEN

    def _attach(self, child: Any, below: Marks | None, mark: Any) -> None:
        key = self.key
        if key is None:
            self.marks[len(self.value)] = (mark.line + 1, mark.column + 1, below)
            self.value.append(child)
            return
        if key is not _DROPPED:
            line, column = self.marks[key][:2]
            self.marks[key] = (line, column, below)
            self.value[key] = child
        self.key = _WANTED

    def _end(self, _event: Any) -> None:
        if _MERGE in self.marks:
            self._merge()
        if self.anchor is not None:
            self.anchors[self.anchor] = (self.value, self.marks, self.nodes - self.first_node + 1)
        self.value, self.marks, self.key, self.anchor, self.first_node = self.stack.pop()

    def _finish(self, _event: Any) -> None:
        if self.value and self.value[0] is not None:
            line, column, below = self.marks[0][:3]
            positions = Positions(self.file, below)
            self.documents.append(
                Document(
                    self.value[0],
                    positions,
                    self.file,
                    line,
                    column,
                    has_references=self.has_references,
                    is_broken=self.is_broken,
                    size=self.nodes - self.begun_at,
                )
            )
        self._begin()

    # ---- anchors and merge keys -----------------------------------------------------------------------

    def _alias(self, event: Any) -> None:
        mark = event.start_mark
        found = self.anchors.get(event.anchor)
        if found is None or found is _OPEN:
            # The name is not repeated: it may be a password that begins with *.
            what, fix = "the alias stands inside its own anchor", "an alias may not contain itself"
            if found is None:
                what = "there is no anchor for this alias"
                fix = "define it earlier in the same document, or quote text that begins with *"
            self._problem(mark, what, fix, "bad-alias")
            self.is_broken = True
            if self.key is _WANTED:
                self.key = _DROPPED
                return
            found = (None, None, 1)
        content, marks, size = found
        if self.key is _WANTED:
            if isinstance(content, str):
                self._key(content, mark)
            else:
                self._no_key(mark)
            return
        self.nodes += size
        self.from_aliases += size
        if self.from_aliases > _MAX_FROM_ALIASES:
            raise self._too_much(mark)
        if isinstance(content, str) and "${" in content:
            self.has_references = True
        self._attach(self._copied(content, len(self.stack), mark), marks, mark)

    def _copied(self, value: Any, depth: int, mark: Any) -> Any:
        if not isinstance(value, (dict, list)):
            return value
        if depth >= MAX_DEPTH:
            raise self._too_much(mark)
        if isinstance(value, dict):
            return {key: self._copied(item, depth + 1, mark) for key, item in value.items()}
        return [self._copied(item, depth + 1, mark) for item in value]

    def _merge(self) -> None:
        line, column, below = self.marks.pop(_MERGE)[:3]
        merged = self.value.pop(_MERGE)
        sources = [(merged, below)]
        if isinstance(merged, list):
            sources = [(item, (below or {})[at][2]) for at, item in enumerate(merged)]
        for source, marks in sources:
            if not isinstance(source, dict):
                what = "<< takes a mapping or a list of mappings"
                self.problems.append(
                    Problem(self.file, line, column, "", what, "write <<: *anchor", "bad-merge")
                )
                continue
            for key, item in source.items():
                if key not in self.value:
                    self.value[key] = item
                    self.marks[key] = (marks or {})[key]

    # ---- problems ---------------------------------------------------------------------------------------

    def _problem(self, mark: Any, what: str, fix: str, rule: str) -> None:
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, "", what, fix, rule))
        if len(self.problems) >= _MAX_PROBLEMS:
            what = f"{_MAX_PROBLEMS:,} problems are enough: the rest of the file was not read"
            raise Refused(
                Problem(self.file, mark.line + 1, mark.column + 1, "", what, "", "too-many-problems")
            )

    def _doubt(self, mark: Any) -> None:
        """The value that begins here is not what the user meant: what follows from it is no news."""
        key = self.key
        if key.__class__ is str and key in self.marks:
            line, column = self.marks[key][:2]
            self.doubtful.add((line, column))
        self.doubtful.add((mark.line + 1, mark.column + 1))

    def _tag(self, event: Any) -> None:
        what, fix = "tags are not allowed", "remove it, or quote text that begins with !"
        if event.tag.startswith("tag:yaml.org,2002:"):
            # Only a standard tag is repeated: any other may be a password that begins with !.
            what = f"the tag {shown(event.tag.replace('tag:yaml.org,2002:', '!!'))} is not allowed"
            fix = "remove it: manifests hold plain values only"
        self._problem(event.start_mark, what, fix, "tag")
        self._doubt(event.start_mark)

    def _no_key(self, mark: Any) -> None:
        """A mapping, a list or an alias of one stands where a key should."""
        fix = 'quote what begins with a brace or bracket, as in "{{secrets/scope/key}}"'
        self._problem(mark, "a mapping or a list cannot be a key", fix, "key-not-text")
        self.is_broken = True
        self.key = _DROPPED

    def _too_much(self, mark: Any) -> Refused:
        if self.from_aliases > _MAX_FROM_ALIASES:
            what = f"aliases expand to more than {_MAX_FROM_ALIASES:,} values"
            rule, fix = "too-many-aliases", "write fewer aliases of aliases"
        elif self.nodes > _MAX_NODES:
            what = f"holds more than {_MAX_NODES:,} values"
            rule, fix = "too-many-values", "split it into several files"
        else:
            what = f"is nested deeper than {MAX_DEPTH} levels"
            rule, fix = "too-deep", "manifests need far fewer"
        return Refused(Problem(self.file, mark.line + 1, mark.column + 1, "", what, fix, rule))
