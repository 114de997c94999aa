"""Changes as people say them: "user limit 100 → 60 calls a minute (−40 %)". Pure text from values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["order_change", "shares_change", "value_change"]


def value_change(label: str, before: Any, after: Any, unit: str) -> str:
    """A changed value in words, numbers with unit and percentage. Absent (None) reads as "none"."""
    if not (_is_number(before) or _is_number(after)):
        return f"{label} {_number(before)} → {_number(after)}"
    tail = f" {unit}" if unit and unit != "%" else unit
    percent = ""
    if _is_number(before) and _is_number(after) and before and unit != "%":
        change = round((after - before) / abs(before) * 100)
        percent = f" ({'+' if change > 0 else '−' if change < 0 else '±'}{abs(change)} %)"
    if after is None:
        return f"{label} {_number(before)}{tail} → none"
    return f"{label} {_number(before)} → {_number(after)}{tail}{percent}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return str(value)


def shares_change(label: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """How a whole is split, before and after: "traffic 80/20 → 50/50 (champion/challenger)"."""
    if list(before) == list(after) and before:
        old, new = ("/".join(str(share) for share in side.values()) for side in (before, after))
        return f"{label} {old} → {new} ({'/'.join(before)})"
    return f"{label} {_named(before)} → {_named(after)}"


def _named(shares: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {share}" for name, share in shares.items()) or "none"


def order_change(label: str, before: Sequence[str], after: Sequence[str]) -> str:
    """An order that changed: "fallback order a, b → b, a"."""
    return f"{label} {', '.join(before) or 'none'} → {', '.join(after) or 'none'}"
