"""What an MLflow gateway holds, as tables: one for each kind that has something. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from reconciler.kinds import kind
from reconciler.kinds.gateway import stamped_by
from reconciler.redact import control
from reconciler.values import Live

__all__ = ["gateway_tables", "owner_of"]

_Shape = Mapping[str, Any]
_Column = tuple[str, Callable[[_Shape], str]]


def _field(name: str) -> Callable[[_Shape], str]:
    return lambda shape: str(shape.get(name, "-"))


def _keys(shape: _Shape) -> str:
    return ", ".join(sorted(shape.get("masked_values") or ())) or "-"


def _models(shape: _Shape) -> str:
    """The models with their shares of the traffic, where there are several."""
    models: Sequence[_Shape] = shape.get("models") or ()
    weights = [_number(model.get("weight")) for model in models]
    whole = sum(weights)
    if len(models) < 2 or not whole:
        return ", ".join(str(model["model"]) for model in models) or "-"
    shares = zip(models, weights, strict=True)
    return ", ".join(f"{model['model']} {100 * weight / whole:.3g} %" for model, weight in shares)


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) else 0


def _names(field: str, between: str) -> Callable[[_Shape], str]:
    return lambda shape: between.join(map(str, shape.get(field) or ())) or "-"


def _amount(shape: _Shape) -> str:
    amount = shape.get("budget_amount")
    shown = f"{amount:,g}" if isinstance(amount, (int, float)) else str(amount)
    return f"{shown} {shape.get('budget_unit', '')}".rstrip()


def _window(shape: _Shape) -> str:
    duration = shape.get("duration") or {}
    return f"{duration.get('value', '?')} {str(duration.get('unit', '?')).lower()}"


def _target(shape: _Shape) -> str:
    return " ".join(
        filter(None, (str(shape.get("target_scope", "-")).lower(), str(shape.get("target_value") or "")))
    )


def _scorer(shape: _Shape) -> str:
    return f"{shape.get('scorer', '-')} {shape.get('scorer_version', '')}".rstrip()


_COLUMNS: Final[Mapping[str, Sequence[_Column]]] = {
    "GatewaySecret": (("PROVIDER", _field("provider")), ("KEYS", _keys)),
    "GatewayModel": (
        ("PROVIDER", _field("provider")),
        ("MODEL", _field("model_name")),
        ("SECRET", _field("secret")),
    ),
    "GatewayEndpoint": (("MODELS", _models), ("FALLBACKS", _names("fallbacks", " → "))),
    "GatewayBudget": (
        ("AMOUNT", _amount),
        ("WINDOW", _window),
        ("TARGET", _target),
        ("ACTION", _field("budget_action")),
    ),
    "GatewayGuardrail": (("SCORER", _scorer), ("STAGE", _field("stage")), ("ACTION", _field("action"))),
}


def owner_of(live: Live) -> str:
    """Whose it is, for people: ``stack shop``, else who made it, else ``-``."""
    of = kind(live.address.kind)
    stack = of.owned_by(live) if of.owned_by is not None else stamped_by(live.raw.get("created_by"))[0]
    return f"stack {stack}" if stack else str(live.raw.get("created_by") or "-")


def gateway_tables(lives: Sequence[Live]) -> str:
    """The tables, each with its own columns, sorted as given; "" of nothing."""
    tables = []
    for name, columns in _COLUMNS.items():
        rows = [
            [
                str(live.address),
                *(cell(kind(name).normalise(live)) for _, cell in columns),
                owner_of(live),
            ]
            for live in lives
            if live.address.kind == name
        ]
        if rows:
            tables.append(_table([["NAME", *(title for title, _ in columns), "OWNER"], *rows]))
    return "\n\n".join(tables)


def _table(rows: Sequence[Sequence[str]]) -> str:
    shown = [[control(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in shown) for at in range(len(shown[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    )
