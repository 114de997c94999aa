"""A promotion as the text of a pull request: Markdown, its first line the title. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.manifest.sides import Difference, Move
from reconciler.report.differences import difference_json, value_text

__all__ = ["promotion_json", "promotion_text"]


def promotion_text(
    moves: Sequence[Move],
    source: str,
    destination: str,
    *,
    files: Mapping[str, str],
    missing: Sequence[str] = (),
    checked_at: str = "",
    probes: Sequence[str] = (),
) -> str:
    """``files``: address → the overlay that holds it. ``missing``: addresses that the destination has not.
    ``probes``: names of those that the source answered."""
    travelling = [move for move in moves if move.travelling]
    if not travelling:
        lines = [f"Nothing to promote from {source} to {destination}."]
    else:
        names = [str(move.pair.address) for move in travelling]
        told = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        lines = [f"Promote {source} to {destination}: {told}", ""]
        for move in travelling:
            address = str(move.pair.address)
            lines += [f"### {address}", f"in `{files[address]}`", ""]
            lines += [_line(one, one.left, one.right) for one in move.travelling]
            lines.append("")
    staying = [(move, one) for move in moves for one in move.staying]
    if staying or missing:
        lines += ["", f"Stays as {destination} has it ({source} differs):"]
        lines += [
            f"- {move.pair.address} `{one.path}`: {_value(one, one.left)}"
            f" ({source}: {_value(one, one.right)})"
            for move, one in staying
        ]
        lines += [f"- {address}: not declared for {destination}" for address in missing]
    if travelling:
        state = "converged, ready and answering" if probes else "converged and ready"
        aside = f" (probes: {', '.join(probes)})" if probes else ""
        lines += ["", f"{source} was {state}{aside} at {checked_at}. Nothing is applied yet: review"]
        lines += [f"`reconciler plan -e {destination}`, merge, then `reconciler apply -e {destination}`."]
    return "\n".join(_without_doubles(lines))


def _line(one: Difference, before: Any, after: Any) -> str:
    place = f" (from {one.right_source.file}:{one.right_source.line})" if one.right_source else ""
    return f"- `{one.path}`: {_value(one, before)} → {_value(one, after)}{place}"


def _value(one: Difference, value: Any) -> str:
    if one.is_order:
        return " ".join(map(str, value))
    return value_text(one.shown(value))


def _without_doubles(lines: Sequence[str]) -> list[str]:
    """No two empty lines in a row."""
    return [line for at, line in enumerate(lines) if line or (at > 0 and lines[at - 1])]


def promotion_json(
    moves: Sequence[Move],
    source: str,
    destination: str,
    *,
    files: Mapping[str, str],
    missing: Sequence[str] = (),
    checked_at: str = "",
    is_written: bool = False,
    probes: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The same for machines. In each difference left is the destination, right the source."""
    return {
        "from": source,
        "to": destination,
        "source_checked_at": checked_at,
        "written": is_written,
        "resources": [
            {
                "address": str(move.pair.address),
                **({"file": files[str(move.pair.address)]} if move.travelling else {}),
                "travelling": [difference_json(one) for one in move.travelling],
                "staying": [difference_json(one) for one in move.staying],
            }
            for move in moves
        ],
        "not_declared": list(missing),
        "probes": list(probes),
    }
