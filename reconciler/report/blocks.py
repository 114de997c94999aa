"""JSON-like values as people write them in YAML: one line where it fits, else an indented block."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from reconciler.redact import control
from reconciler.report.pen import cells, shortened
from reconciler.values import MASK

__all__ = ["SENSITIVE", "block", "differing", "inline", "items_changed", "scalar"]

SENSITIVE: Final = "(sensitive)"
_NARROWEST: Final = 24
_PAIRS_ON_ONE_LINE: Final = 2
_MAP_ON_ONE_LINE: Final = 40

_REFERENCE = re.compile(r"\$\{[^{}\s]+\}|\{\{secrets/[^/{}\s]+/[^/{}\s]+\}\}")
_HARMLESS = re.compile(r"[\w./$+<=~][^\"'#,\[\]{}`→]*", re.UNICODE)
_OTHER_TYPE = re.compile(
    r"(?i:true|false|yes|no|on|off|null|none|~)|[-+.]?[0-9][0-9_.,:eE+-]*|0[xo][0-9a-fA-F]+|(?i:[-+]?\.?(?:inf|nan))"
)


def scalar(value: Any, limit: int = 80) -> str:
    """A scalar as YAML has it; text unquoted where that is harmless, and cut in the middle when too long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return shortened(str(value), limit)
    if value == MASK:
        return SENSITIVE
    if _is_harmless(value):
        return shortened(value, limit)
    if len(value) <= limit:
        return _quoted(value)
    short = shortened(value, limit)
    body, _, tail = short.rpartition(" (")
    return f"{_quoted(body)} ({tail}"


def _is_harmless(text: str) -> bool:
    if _REFERENCE.fullmatch(text):
        return control(text) == text
    return (
        _HARMLESS.fullmatch(text) is not None
        and _OTHER_TYPE.fullmatch(text) is None
        and text == text.strip()
        and ": " not in text
        and not text.endswith(":")
        and "->" not in text
        and control(text) == text
    )


def _quoted(text: str) -> str:
    return '"' + control(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def inline(value: Any, limit: int) -> str | None:
    """The value on one line, None when it needs a block. A scalar always fits: it is cut."""
    if isinstance(value, dict):
        return _inline_map(value, limit)
    if isinstance(value, list):
        if any(isinstance(item, (dict, list)) for item in value):
            return None
        text = "[" + ", ".join(scalar(item, 1_000_000) for item in value) + "]"
        return text if cells(text) <= limit else None
    return scalar(value, limit)


def _inline_map(value: dict[str, Any], limit: int) -> str | None:
    if len(value) > _PAIRS_ON_ONE_LINE or any(isinstance(item, (dict, list)) for item in value.values()):
        return "{}" if not value else None
    pairs = [f"{scalar(key, 200)}: {scalar(item, 1_000_000)}" for key, item in value.items()]
    text = "{" + ", ".join(pairs) + "}"
    return text if cells(text) <= min(limit, _MAP_ON_ONE_LINE) else None


def block(value: Any, width: int) -> list[str]:
    """The value as lines of a YAML block, for at most ``width`` cells (but never less than 24)."""
    width = max(width, _NARROWEST)
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            name = scalar(key, 80)
            one = inline(item, max(width - cells(name) - 2, _NARROWEST))
            if one is not None:
                lines.append(f"{name}: {one}")
            else:
                lines += [f"{name}:", *("  " + line for line in block(item, width - 2))]
        return lines
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            one = inline(item, width - 2)
            first, *rest = [one] if one is not None else block(item, width - 2)
            lines += [f"- {first}", *("  " + line for line in rest)]
        return lines
    return [inline(value, width) or scalar(value, width)]


def differing(before: str, after: str, limit: int) -> tuple[str, str]:
    """Two long texts, each reduced to where they differ, so that a cut does not hide the difference."""
    if max(len(before), len(after)) <= limit:
        return scalar(before, limit), scalar(after, limit)
    room = max(limit - 24, 16)
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    left = max(0, start - room // 4)
    right = max(0, end - room // 4)
    return _window(before, left, right, room), _window(after, left, right, room)


def _window(text: str, left: int, right: int, room: int) -> str:
    middle = text[left : len(text) - right]
    if len(middle) > room:
        middle = f"{middle[: room // 2]}…{middle[len(middle) - room // 2 :]}"
    cut = ("…" if left else "") + middle + ("…" if right else "")
    return f"{_quoted(cut)} ({len(text):,} characters)"


def items_changed(before: Sequence[Any], after: Sequence[Any]) -> tuple[list[Any], list[Any], int, list[int]]:
    """Items removed, items added, how many stayed, and the order of those that stayed as old positions."""
    places: dict[str, list[int]] = {}
    for at, item in enumerate(before):
        places.setdefault(_text(item), []).append(at)
    added = []
    order = []
    for item in after:
        known = places.get(_text(item))
        if known:
            order.append(known.pop(0))
        else:
            added.append(item)
    gone = sorted(at for left in places.values() for at in left)
    ranks = {at: rank for rank, at in enumerate(sorted(order), start=1)}
    return [before[at] for at in gone], added, len(order), [ranks[at] for at in order]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
