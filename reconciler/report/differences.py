"""What differs between two environments, as text or JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from reconciler.manifest.sides import Difference, Pair
from reconciler.redact import control
from reconciler.schema import MISSING

__all__ = ["difference_json", "differences_json", "differences_text", "value_text"]

_WIDE: Final = 100

Compared = Sequence[tuple[Pair, Sequence[Difference]]]


def differences_text(compared: Compared, left: str, right: str) -> str:
    """A block for each resource that differs; the last line counts."""
    lines: list[str] = []
    count = differing = 0
    for pair, found in compared:
        if pair.left is None or pair.right is None:
            only = left if pair.right is None else right
            one = pair.left or pair.right
            place = f"  {one.source.file}:{one.source.line}" if one and one.source else ""
            lines += [f"{pair.address} is in {only} only{place}", ""]
            differing += 1
        elif found:
            other = f" ({pair.right.address} in {right})" if pair.right.address != pair.address else ""
            lines += [f"{pair.address}{other}", *(line for one in found for line in _lines(one)), ""]
            differing += 1
            count += len(found)
    if not lines:
        return f"{left} and {right} are the same: {len(compared)} compared"
    resources = f"{differing} of {len(compared)} resource{'s' if len(compared) != 1 else ''}"
    fields = f"{count} field{'s' if count != 1 else ''} differ{'s' if count == 1 else ''}"
    return "\n".join([*lines, f"{left} → {right}: {fields}, in {resources}."])


def _lines(one: Difference) -> list[str]:
    places = [
        f"{source.file}:{source.line}" if source else "–" for source in (one.left_source, one.right_source)
    ]
    told = f"    {control(str(one.path))}: "
    if one.is_order:
        told += f"order {' '.join(map(str, one.left))} → {' '.join(map(str, one.right))}"
    else:
        told += f"{value_text(one.shown(one.left))} → {value_text(one.shown(one.right))}"
    if not (one.left_source or one.right_source):
        return [told]
    where = places[0] if places[0] == places[1] else f"{places[0]} → {places[1]}"
    if len(told) + len(where) + 3 <= _WIDE:
        return [f"{told}   {where}"]
    return [told, f"        {where}"]


def value_text(value: Any) -> str:
    """A value in one line, as JSON but for simple text."""
    if value is MISSING:
        return "–"
    return control(json.dumps(value, ensure_ascii=False, default=str))


def differences_json(compared: Compared, left: str, right: str) -> dict[str, Any]:
    """The same for machines; ``left`` and ``right`` of a resource or a field are left out where it is not."""
    return {
        "left": left,
        "right": right,
        "resources": [
            {
                "address": str(pair.address),
                **({"right_address": str(pair.right.address)} if pair.left and pair.right else {}),
                "in": [name for name, side in ((left, pair.left), (right, pair.right)) if side is not None],
                "differences": [difference_json(one) for one in found],
            }
            for pair, found in compared
            if found or pair.left is None or pair.right is None
        ],
    }


def difference_json(one: Difference) -> dict[str, Any]:
    """One field."""
    shown: dict[str, Any] = {"path": str(one.path)}
    for name, value, source in (
        ("left", one.left, one.left_source),
        ("right", one.right, one.right_source),
    ):
        if value is not MISSING:
            shown[name] = one.shown(value)
        if source is not None:
            shown[f"{name}_source"] = f"{source.file}:{source.line}"
    if one.is_order:
        shown["order"] = True
    return shown
