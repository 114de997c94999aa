"""Which of two steps goes first when calls are scarce. Pure.

A workspace takes 50 create and update calls in 5 minutes. So what callers wait for goes before what only
people read: first what does not exist yet, or must come back; then what serves (configuration), what guards
it (gateway, limits, permissions), who is told of it; tags last. Deletes take no budget and nobody waits for
them. Dependencies go before all of this.
"""

from __future__ import annotations

from typing import Final

from reconciler.values import Action, Step

__all__ = ["by_value", "value_of"]

_LAST: Final = ("tags", "owner", "protected")
_SECTIONS: Final = {
    "": 2,
    "config": 2,
    "email_notifications": 4,
    "telemetry_config": 4,
    **dict.fromkeys(_LAST, 5),
}
_GUARDS: Final = 3
_ACTIONS: Final = {Action.CREATE: 0, Action.REPLACE: 1, Action.DELETE: 6}


def value_of(step: Step) -> int:
    """The step's place in the order above, 0 first: that of its most valuable call."""
    if step.action in _ACTIONS:
        return _ACTIONS[step.action]
    return min((_SECTIONS.get(call.section, _GUARDS) for call in step.calls), default=5)


def by_value(steps: list[Step]) -> list[Step]:
    """The most valuable first; steps of one value stay in the plan's order."""
    return sorted(steps, key=value_of)
