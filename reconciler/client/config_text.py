"""The text of a config-file gateway's file: its entries, where they stand, and whose they are.

An entry is one item of the list ``endpoints`` or ``routes`` (mlflow 3.17, mlflow/gateway/config.py). Whose it
is stands in a comment behind its name, which the gateway does not read::

    - name: chat  # reconciler.stack: shop

It is read as the gateway reads it: by PyYAML, which means YAML 1.1. Edits:
:mod:`reconciler.client.config_edit`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from reconciler.errors import UsageError

__all__ = ["LISTS", "Content", "Entry", "Item", "List", "objections", "read_entries", "read_lists"]

LISTS: Final = ("endpoints", "routes")
_MARK: Final = re.compile(
    r"[ \t]+#.*\breconciler\.stack: (?P<stack>[A-Za-z0-9][A-Za-z0-9_-]*)"
    r"(?:, part of (?P<whole>[A-Za-z0-9_.-]+))?"
)
Content = Mapping[str, Any]
"""What an entry says, as the gateway has it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``kind``: the list it stands in. ``stack``: whose it is, "" when it carries no mark.
    ``part_of``: the entry that it belongs to, "" when it stands for itself. ``line``: from 1."""

    kind: str
    name: str
    content: Content
    stack: str = ""
    part_of: str = ""
    line: int = 0


# ---- reading --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Item:
    """An entry with the place of its lines: ``begin`` and ``end`` (behind its last line end) in the text."""

    entry: Entry
    node: yaml.MappingNode
    begin: int
    end: int
    column: int


@dataclass(slots=True)
class List:
    """One of the two lists. ``key_end``: behind its key's colon, -1 when the file has no such key."""

    node: yaml.Node | None
    items: list[Item]
    key_end: int = -1
    column: int = 0


def read_entries(text: str, where: str) -> tuple[Entry, ...]:
    """The entries of the file, in order. Raises UsageError for a text that the gateway could not read."""
    lists = read_lists(text, where)
    return tuple(item.entry for kind in LISTS for item in lists[kind].items)


def _root(text: str, where: str) -> yaml.MappingNode | None:
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        # The words of the parser may hold a piece of the file, and so of a key: they are not repeated.
        raise _unreadable(place, "it is no valid YAML document") from error
    if root is None:
        return None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise _unreadable(where, "it is no block mapping (endpoints: on a line of its own)")
    return root


def _unreadable(where: str, why: str) -> UsageError:
    return UsageError(
        "the gateway's file cannot be worked with",
        where=where,
        why=why,
        fix="correct it by hand, as: endpoints: and below it one item for each (- name: …)",
    )


def read_lists(text: str, where: str) -> dict[str, List]:
    """Both lists with the places of their entries, by name. Raises UsageError as :func:`read_entries`
    does."""
    lists = {kind: List(None, []) for kind in LISTS}
    root = _root(text, where)
    for key, value in root.value if root is not None else ():
        if key.value not in LISTS:
            continue
        found = lists[key.value]
        if found.key_end >= 0:
            raise _unreadable(f"{where}:{key.start_mark.line + 1}", f"it has {key.value} twice")
        colon = text.index(":", key.end_mark.index)
        found.node, found.key_end, found.column = value, colon + 1, key.start_mark.column
        if isinstance(value, yaml.SequenceNode):
            if value.flow_style and value.value:
                raise _unreadable(f"{where}:{key.start_mark.line + 1}", f"{key.value} is written as [ … ]")
            found.items = [_item(text, key.value, node, where) for node in value.value]
            found.column = value.start_mark.column if value.value else found.column
        elif value.tag != "tag:yaml.org,2002:null":
            raise _unreadable(f"{where}:{key.start_mark.line + 1}", f"{key.value} is no list")
    return lists


def _item(text: str, kind: str, node: yaml.Node, where: str) -> Item:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        raise _unreadable(f"{where}:{line}", f"an item of {kind} is no mapping")
    try:
        content = _constructed(node)
    except yaml.YAMLError as error:
        raise _unreadable(f"{where}:{line}", "it is no valid YAML document") from error
    name = next((value for key, value in node.value if key.value == "name"), None)
    if not isinstance(content.get("name"), str) or name is None:
        raise _unreadable(f"{where}:{line}", f"an item of {kind} has no name")
    begin = text.rfind("\n", 0, node.start_mark.index) + 1
    dash = text.find("-", begin)
    last = max(node.start_mark.index, _last(node))
    end = text.find("\n", last)
    end = len(text) if end < 0 else end + 1
    behind = node.end_mark.index if node.flow_style else name.end_mark.index
    mark = _MARK.match(text, behind)  # it does not go beyond the line
    stack, whole = (mark["stack"], mark["whole"] or "") if mark else ("", "")
    entry = Entry(kind, content["name"], content, stack, whole, line)
    return Item(entry, node, begin, end, dash - begin)


def _constructed(node: yaml.Node) -> dict[str, Any]:
    """The value of a node as the gateway has it. The node is not changed (merge keys are resolved in a
    copy)."""
    loader = yaml.SafeLoader("")
    try:
        value: dict[str, Any] = loader.construct_document(copy.deepcopy(node))
    finally:
        loader.dispose()
    return value


def _last(node: yaml.Node) -> int:
    """Where the text of a node ends, without the blank lines and comments that follow it."""
    if isinstance(node, yaml.ScalarNode):
        is_block = node.style in ("|", ">")
        return int(node.end_mark.index) - (1 if is_block else 0)
    assert isinstance(node, (yaml.SequenceNode, yaml.MappingNode))
    if node.flow_style or not node.value:
        return int(node.end_mark.index)
    if isinstance(node, yaml.SequenceNode):
        return max(map(_last, node.value))
    return max(max(_last(key), _last(value)) for key, value in node.value)


# ---- what the gateway will say --------------------------------------------------------------------------


def objections(entries: Iterable[Entry]) -> list[str]:
    """Why the gateway would refuse these entries together, as far as it can be told from here.

    Names are used once; a route's destinations are endpoints of its own type whose percentages sum to 100
    (mlflow 3.17, check_configuration_route_name_collisions).
    """
    found = []
    names: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in names:
            found.append(f"{entry.name} is there twice")
        names[entry.name] = entry
    for route in [entry for entry in names.values() if entry.kind == "routes"]:
        total = 0
        for destination in route.content.get("destinations") or ():
            one = names.get(str(destination.get("name")))
            if one is None or one.kind != "endpoints":
                found.append(f"route {route.name} leads to {destination.get('name')}, which is no endpoint")
            elif one.content.get("endpoint_type") != route.content.get("task_type"):
                found.append(f"route {route.name} leads to {one.name}, which is of another type")
            total += destination.get("traffic_percentage") or 0
        if total != 100:
            found.append(f"the percentages of route {route.name} sum to {total}, not to 100")
    return found
