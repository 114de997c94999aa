"""Edits of a config-file gateway's file that keep everything else.

An edit replaces the lines of the entries that it is about, and no others: what people wrote, and how, stays
to the byte. Inside of an entry comments stay too (ruamel.yaml's round trip). What comes out is read again as
the gateway will read it, and held against what was meant, before anybody gets it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from reconciler.client.config_text import LISTS, Content, Entry, Item, List, read_entries, read_lists
from reconciler.errors import UsageError

__all__ = ["edited", "merged"]


def merged(content: Content, patch: Content) -> dict[str, Any]:
    """``content`` with a JSON merge patch (RFC 7396): null takes a key away, a list replaces a list."""
    result = dict(content)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            old = result.get(key)
            result[key] = merged(old if isinstance(old, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def edited(
    text: str,
    puts: Sequence[Entry],
    removals: Iterable[tuple[str, str]] = (),
    renames: Mapping[tuple[str, str], str] | None = None,
    *,
    where: str,
) -> str:
    """The text with these changes and no others.

    ``puts``: entries whose content is a merge patch for the entry of that list and name, which is made when
    there is none; each gets its mark. ``removals``: (list, name) of entries that go. ``renames``: (list,
    name) → the name by which ``puts`` calls it. Raises UsageError when the text is one that cannot be worked
    with.
    """
    renames = renames or {}
    lists = read_lists(text, where)
    goes = set(removals)
    line_end = "\r\n" if "\r\n" in text else "\n"
    splices: list[tuple[int, int, str]] = []
    wanted: list[Entry] = []
    for kind in LISTS:
        here = lists[kind]
        put = {entry.name: entry for entry in puts if entry.kind == kind}
        stays = False
        for item in here.items:
            name = renames.get((kind, item.entry.name), item.entry.name)
            patch = put.pop(name, None)
            if patch is not None:
                after = _put(item.entry, patch)
                if after != item.entry:
                    splices.append((item.begin, item.end, _changed(text, item, after, line_end)))
                wanted.append(after)
            elif (kind, item.entry.name) in goes:
                splices.append((item.begin, item.end, ""))
                continue
            else:
                wanted.append(item.entry)
            stays = True
        fresh = [_put(None, entry) for entry in put.values()]
        wanted += fresh
        splices += _appended(text, kind, here, fresh, stays, line_end)
    for begin, end, new in sorted(splices, reverse=True):
        text = text[:begin] + new + text[end:]
    _check(text, wanted, where)
    return text


def _put(old: Entry | None, patch: Entry) -> Entry:
    content = merged(old.content if old else {}, {"name": patch.name, **patch.content})
    return Entry(patch.kind, patch.name, content, patch.stack, patch.part_of, old.line if old else 0)


def _check(text: str, wanted: Iterable[Entry], where: str) -> None:
    def told(entries: Iterable[Entry]) -> list[tuple[Any, ...]]:
        each = ((e.kind, e.name, e.stack, e.part_of, repr(_sorted(e.content))) for e in entries)
        return sorted(each)

    try:
        is_so = told(read_entries(text, where)) == told(wanted)
    except UsageError:
        is_so = False
    if not is_so:
        raise UsageError(
            "the edited file would not say what was meant; it was not written",
            where=where,
            why="it is laid out in a way that this version cannot edit (anchors that others refer to?)",
            fix="write its entries as plain blocks (- name: …), one below the other",
        )


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return sorted((str(key), repr(_sorted(item))) for key, item in value.items())
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _appended(
    text: str, kind: str, here: List, fresh: Sequence[Entry], stays: bool, line_end: str
) -> list[tuple[int, int, str]]:
    """The splices for entries that are new, and for a list that becomes empty or ceases to be so."""
    rendered = "".join(_indented(_rendered(entry), here.column, line_end) for entry in fresh)
    if here.key_end < 0:
        if not fresh:
            return []
        gap = "" if not text or text.endswith("\n") else line_end
        return [(len(text), len(text), f"{gap}{kind}:{line_end}{rendered}")]
    if here.items:
        if not (stays or fresh):
            return [(here.key_end, here.key_end, " []")]
        end = here.items[-1].end
        gap = "" if not rendered or text[:end].endswith("\n") else line_end
        return [(end, end, gap + rendered)] if rendered else []
    if not fresh:
        return []
    assert here.node is not None
    end = text.find("\n", here.node.end_mark.index if here.node.value != "" else here.key_end)
    splices = []
    if here.node.start_mark.index < here.node.end_mark.index:  # the [] or null goes
        begin = here.key_end
        splices.append((begin, here.node.end_mark.index, ""))
    if end < 0:
        return [*splices, (len(text), len(text), line_end + rendered)]
    return [*splices, (end + 1, end + 1, rendered)]


def _rendered(entry: Entry) -> str:
    """A new entry as a list of one, with its mark."""
    content = {"name": entry.name, **entry.content}
    text: str = yaml.safe_dump(
        [content], sort_keys=False, default_flow_style=False, allow_unicode=True, width=10_000
    )
    first, _, rest = text.partition("\n")
    return f"{first}{_mark(entry)}\n{rest}"


def _mark(entry: Entry) -> str:
    whole = f", part of {entry.part_of}" if entry.part_of else ""
    return f"  # reconciler.stack: {entry.stack}{whole}"


def _indented(text: str, column: int, line_end: str) -> str:
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return "".join((" " * column + line if line else "") + line_end for line in lines)


def _changed(text: str, item: Item, after: Entry, line_end: str) -> str:
    """An entry's lines after the change; comments stay where the layout allows it."""
    if item.node.flow_style:
        return _indented(_rendered(after), item.column, line_end)
    lines = text[item.begin : item.end].replace("\r\n", "\n").split("\n")
    snippet = "\n".join(line[item.column :] if not line[: item.column].strip() else line for line in lines)
    has_mark = (item.entry.stack, item.entry.part_of) == (after.stack, after.part_of)
    new = _round_trip(snippet, after, _layout(item), has_mark)
    return _indented(new if new is not None else _rendered(after), item.column, line_end)


def _layout(item: Item) -> tuple[int, int, int]:
    """How far the entry's keys stand behind its dash, its mappings behind their key, its lists' dashes."""
    start = item.node.start_mark.column
    mapping, offset = 2, 0
    for key, value in item.node.value:
        if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
            mapping = max(1, value.start_mark.column - start)
        if isinstance(value, yaml.SequenceNode) and not value.flow_style and value.value:
            offset = max(0, value.start_mark.column - key.start_mark.column)
    return start - item.column, mapping, offset


def _round_trip(snippet: str, after: Entry, layout: tuple[int, int, int], has_mark: bool) -> str | None:
    """The snippet with the content of ``after``; None when it cannot be edited by itself (an anchor
    elsewhere)."""
    import io

    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    editor = YAML(typ="rt")
    editor.preserve_quotes = True
    editor.allow_duplicate_keys = True
    editor.width = 10_000
    behind, mapping, offset = layout
    editor.indent(mapping=mapping, sequence=behind + offset, offset=offset)
    try:
        document = editor.load(snippet)
        _patch(document[0], after.content)
        stream = io.StringIO()
        editor.dump(document, stream)
    except (YAMLError, KeyError, TypeError, IndexError, AttributeError):
        return None
    lines = stream.getvalue().split("\n")
    margin = len(lines[0]) - len(lines[0].lstrip(" "))
    new = "\n".join(line[margin:] if not line[:margin].strip() else line for line in lines)
    try:
        new = new if has_mark else _marked(new, after)
        same = [Entry("", e.name, e.content, e.stack, e.part_of) for e in _alone(new)]
    except (UsageError, ValueError):
        return None
    return new if same == [Entry("", after.name, after.content, after.stack, after.part_of)] else None


_AROUND: Final = "endpoints:\n"


def _alone(snippet: str) -> tuple[Entry, ...]:
    return read_entries(_AROUND + snippet, "")


def _patch(target: Any, content: Content) -> None:
    """Make a round-trip mapping say ``content``, touching only what differs."""
    for key in [key for key in target if key not in content]:
        del target[key]
    for key, value in content.items():
        old = target.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            _patch(old, value)
        elif key not in target or old != value or type(old) is bool:
            target[key] = _quoted(value)


def _quoted(value: Any) -> Any:
    """Text in quotes where the gateway's YAML 1.1 would take it for something else."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, str):
        return value if yaml.safe_dump(value).split("\n")[0] == value else DoubleQuotedScalarString(value)
    if isinstance(value, Mapping):
        return {key: _quoted(item) for key, item in value.items()}
    return [_quoted(item) for item in value] if isinstance(value, list) else value


def _marked(snippet: str, entry: Entry) -> str:
    """The snippet with its mark behind the name; a comment that stands there stays before it."""
    (item,) = read_lists(_AROUND + snippet, "")["endpoints"].items
    name = next(value for key, value in item.node.value if key.value == "name")
    begin = name.end_mark.index - len(_AROUND)
    end = snippet.find("\n", begin)
    end = len(snippet) if end < 0 else end
    old = re.sub(
        r"[;,]?\s*\breconciler\.stack: [A-Za-z0-9_-]+(, part of [A-Za-z0-9_.-]+)?", "", snippet[begin:end]
    )
    is_told = old.strip(" \t#")
    mark = f"{old.rstrip()}; {_mark(entry).strip(' #')}" if is_told else _mark(entry)
    return snippet[:begin] + mark + snippet[end:]
