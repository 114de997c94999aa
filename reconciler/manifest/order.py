"""Files of a project in the schema's order of fields: text in, text out, nothing lost but the order.

Pieces of the text are moved whole, so that comments, quotes and every way of writing a value stay as they
are; a comment goes with the field below it, or with the one that it stands beside or inside of. (A round trip
through ruamel.yaml ties a comment to the field *above* it: a field that moves leaves its comment behind.)
What has no order keeps the one it has: lists, free maps (tags, labels, variables), unknown fields (which go
last), documents of other tools, documents with aliases, whose anchors must come before them, and what holds a
text with ``|+``, to which every empty line behind it belongs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import yaml

from reconciler import schema
from reconciler.manifest import text as manifest_text
from reconciler.schema import Field

__all__ = ["in_order", "is_same"]

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # as YAML 1.1's readers count lines
_PROJECT: Final = "Project"
_OVERLAY: Final = "Overlay"


def in_order(text: str, file: str) -> str:
    """The text of a manifest, overlay or project file with fields in order, and no stray white space.

    The text as it is, where it cannot be read or where nothing can be moved without changing what it means.
    """
    before = manifest_text.parse(text, file)
    if before.problems:
        return text
    for candidate in (_tidied(_ordered(_closed(text))), _tidied(_ordered(text)), _tidied(text)):
        after = manifest_text.parse(candidate, file)
        documents = zip(before.documents, after.documents, strict=False)
        if (
            not after.problems
            and len(before.documents) == len(after.documents)
            and all(is_same(old.value, new.value) for old, new in documents)
        ):
            return candidate
    return text


def is_same(one: Any, other: Any) -> bool:
    """Two parsed values mean the same: ``1`` is neither ``true`` nor ``1.0``; a map has no order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(item, other[key]) for key, item in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other or repr(one) == repr(other)  # nan is not equal to itself


def _closed(text: str) -> str:
    """A literal text that runs to the end of a file without a line end has none in its value either: written
    with ``|-`` it means the same with one, and other fields may follow it."""
    if not text or _BREAK.search(text[-1:]):
        return text
    last: Any = None
    try:
        for event in yaml.parse(text, Loader=_Loader):
            last = event if isinstance(event, yaml.ScalarEvent) else last
    except yaml.YAMLError:
        return text
    if last is None or last.style not in ("|", ">"):
        return text
    place = _Page(text).at(last.start_mark)
    found = re.compile(r"[|>]\d?(?![\d+-])").match(text, place)
    return text if found is None else f"{text[: found.end()]}-{text[found.end() :]}"


# ---- the order ------------------------------------------------------------------------------------------


def _ordered(text: str) -> str:
    """Fields in order. What is in a mapping stays within its span, so that no place moves but inside."""
    page = _Page(text if _BREAK.search(text[-2:]) else text + "\n")
    try:
        nodes = list(yaml.compose_all(page.text, Loader=_Loader))
    except yaml.YAMLError:
        return text
    for node in nodes:
        fields = _fields(node)
        if fields is not None and not _has_aliases(node):
            _order(node, fields, page)
    return "".join(page.signs)


def _fields(node: Any) -> Field | None:
    """What the schema says of a document, None when it is none of ours."""
    if not isinstance(node, yaml.MappingNode):
        return None
    scalars = {key.value: value.value for key, value in node.value if isinstance(value, yaml.ScalarNode)}
    if not str(scalars.get("apiVersion", "")).startswith("reconciler/"):
        return None
    kind = scalars.get("kind")
    if kind == _PROJECT:
        return schema.document_fields("project")
    if kind == _OVERLAY:
        return _patch_fields(str(scalars.get("address", "")).partition("/")[0])
    name = schema.kinds().get(str(kind))
    return schema.document_fields(name) if name else None


def _patch_fields(kind: str) -> Field:
    """Those of an overlay: what it patches has the order that it has in a manifest of that kind."""
    own = schema.document_fields("overlay")
    if kind not in schema.kinds():
        return own
    patched = schema.document_fields(schema.kinds()[kind]).properties
    return replace(own, properties={name: patched.get(name, one) for name, one in own.properties.items()})


def _has_aliases(root: Any) -> bool:
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            return True
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return False


@dataclass(slots=True)
class _Page:
    """A text whose characters are moved; ``lines``: where each line begins."""

    text: str
    signs: list[str] = field(init=False)
    lines: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.signs = list(self.text)
        self.lines = [0, *(found.end() for found in _BREAK.finditer(self.text))]

    def at(self, mark: Any) -> int:
        """The place of a mark, as an index."""
        line = min(int(mark.line), len(self.lines) - 1)
        return min(self.lines[line] + int(mark.column), len(self.text))

    def line_of(self, place: int) -> int:
        """The line on which a place is."""
        return bisect_right(self.lines, place) - 1

    def begin(self, line: int) -> int:
        """Where a line begins; the end of the text for the line after the last."""
        return self.lines[line] if line < len(self.lines) else len(self.text)

    def now(self, start: int, end: int) -> str:
        """What stands there by now."""
        return "".join(self.signs[start:end])


def _order(node: Any, known: Field | None, page: _Page) -> None:
    """Bring everything below a node into order, from the inside out."""
    if known is None:
        return
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _order(item, known.items, page)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _order(value, known.at(str(key.value)), page)
        places = _places(node, known)
        if places != sorted(places) and not _ends_open(node, page):
            (_move_in_line if node.flow_style else _move_lines)(node, places, page)


def _places(node: Any, known: Field) -> list[int]:
    """Which place each field of a mapping should have, by the numbers that they have now."""
    names = list(known.properties)
    ranks = {name: at for at, name in enumerate(names)}
    found = [
        ranks.get(known.aliases.get(str(key.value), str(key.value)), len(names)) for key, _ in node.value
    ]
    return sorted(range(len(found)), key=lambda at: (found[at], at)) if names else list(range(len(found)))


def _ends_open(node: Any, page: _Page) -> bool:
    """A text with ``|+`` or ``>+`` is below: each empty line behind it is part of it, whosever it was."""
    if isinstance(node, yaml.ScalarNode):
        start = page.at(node.start_mark)
        header = page.text[start : page.begin(page.line_of(start) + 1)]
        return node.style in ("|", ">") and "+" in header.partition("#")[0]
    below = node.value if isinstance(node, yaml.SequenceNode) else [value for _, value in node.value]
    return any(_ends_open(one, page) for one in below)


def _move_in_line(node: Any, places: list[int], page: _Page) -> None:
    """``{b: 1, a: 2}``: the fields change places, what stands between them stays."""
    spans = [(page.at(key.start_mark), page.at(value.end_mark)) for key, value in node.value]
    gaps = [page.now(end, start) for (_, end), (start, _) in pairwise(spans)]
    if any("#" in gap for gap in (*gaps, page.now(spans[-1][1], page.at(node.end_mark)))):
        return
    pieces = [page.now(*spans[at]) for at in places]
    if any("#" in piece and _BREAK.search(piece) for piece in pieces):
        return
    parts = [part for pair in zip(pieces, [*gaps, ""], strict=True) for part in pair]
    page.signs[spans[0][0] : spans[-1][1]] = list("".join(parts))


@dataclass(slots=True)
class _Piece:
    """A field with the lines above that belong to it, from its own line on."""

    above: str
    body: str


def _move_lines(node: Any, places: list[int], page: _Page) -> None:
    """A block mapping: its fields with their lines change places."""
    keys = [page.at(key.start_mark) for key, _ in node.value]
    column = node.value[0][0].start_mark.column
    first = page.line_of(keys[0])
    prefix = page.now(page.begin(first), keys[0])
    if not re.fullmatch(r"[ -]*", prefix) or any(key.start_mark.column != column for key, _ in node.value):
        return
    ends = [_end(value, page) for _, value in node.value]
    top = _own_comments(first, column, page) if not prefix.strip() and column else first
    pieces = []
    above = top
    for at, (key, end) in enumerate(zip(keys, ends, strict=True)):
        following = page.line_of(keys[at + 1]) if at + 1 < len(keys) else None
        end = _with_inner_comments(end, following, column, page)
        line = page.line_of(key)
        pieces.append(_Piece(page.now(page.begin(above), page.begin(line)), page.now(key, page.begin(end))))
        above = end
    moved = [pieces[at] for at in places]
    _keep_gap(moved[0], pieces[0])
    if prefix.strip() and moved[0].above:
        moved[0].above = _beside_dash(moved[0].above, prefix.index("-"))
    parts = [moved[0].above, prefix, moved[0].body]
    for piece in moved[1:]:
        parts += [piece.above, " " * column, piece.body]
    page.signs[page.begin(top) : page.begin(above)] = list("".join(parts))


def _beside_dash(above: str, column: int) -> str:
    """Comments that come to stand above an item's dash: at its column, else they could be read as the end of
    a text in the item before. What they lose at their beginning comes at their end, and is tidied away.
    """

    def moved(found: re.Match[str]) -> str:
        return " " * column + found[2] + " " * (len(found[1]) - column)

    return re.sub(r"^([ \t]*)(#[^\r\n]*)", moved, above, flags=re.MULTILINE)


def _keep_gap(new_first: _Piece, old_first: _Piece) -> None:
    """An empty line stays between the fields and does not come before all of them."""
    gap = re.match(r"(?:[ \t]*(?:\r\n|[\n\r]))*", new_first.above)
    if gap and gap.end() and not old_first.above[:1].isspace():
        new_first.above = new_first.above[gap.end() :]
        old_first.above = gap[0] + old_first.above


def _end(node: Any, page: _Page) -> int:
    """The line after the last one that a value stands on."""
    while not isinstance(node, yaml.ScalarNode) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    place = page.at(node.end_mark)
    line = page.line_of(place)
    is_block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
    return line if is_block and page.begin(line) == place else line + 1


def _comment_column(line: int, page: _Page) -> int | None:
    """Where the comment begins of a line that holds nothing else; None for any other line."""
    found = re.match(r"([ \t]*)#", page.text[page.begin(line) : page.begin(line + 1)])
    return len(found[1]) if found else None


def _own_comments(first: int, column: int, page: _Page) -> int:
    """The line where the comments begin that stand right above the first field of a mapping."""
    while first > 0 and _comment_column(first - 1, page) == column:
        first -= 1
    return first


def _with_inner_comments(end: int, following: int | None, column: int, page: _Page) -> int:
    """The end of a field, with the comments below that are written inside of it.

    Behind the last field (``following`` is None) those of its mapping are meant, too.
    """
    line, inside = end, end
    while line < len(page.lines) and (following is None or line < following):
        found = _comment_column(line, page)
        content = page.text[page.begin(line) : page.begin(line + 1)]
        if found is None and content.strip():
            break
        if found is not None and (found > column or (following is None and found == column and column)):
            inside = line + 1
        elif found is not None and following is None:
            break
        line += 1
    return inside


# ---- white space ----------------------------------------------------------------------------------------


def _tidied(text: str) -> str:
    """No white space at the ends of lines, no two empty lines in a row, one line end at the end."""
    page = _Page(text)
    kept = set(_text_lines(text))
    lines: list[str] = []
    last_kept = 0
    is_open = False  # an empty line may follow
    for at, start in enumerate(page.lines):
        line = text[start : page.begin(at + 1)]
        if at in kept:
            lines.append(line)
            is_open = True
            last_kept = len(lines)
            continue
        content = line.rstrip("\r\n")
        if content.strip() or is_open:
            lines.append(content.rstrip(" \t") + line[len(content) :])
        is_open = bool(content.strip())
    while lines and not lines[-1].strip() and len(lines) > last_kept:
        lines.pop()
    result = "".join(lines)
    return result if not result or result.endswith("\n") else result + ("\r\n" if "\r\n" in text else "\n")


def _text_lines(text: str) -> Iterator[int]:
    """The lines inside of values that take several, where white space counts."""
    try:
        for event in yaml.parse(text, Loader=_Loader):
            first: Any = event.start_mark
            last: Any = event.end_mark
            if isinstance(event, yaml.ScalarEvent) and first.line < last.line:
                yield from range(first.line, last.line + (last.column > 0))
    except yaml.YAMLError:
        yield from range(len(_BREAK.findall(text)) + 1)
