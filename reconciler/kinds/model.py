"""Kind ``Model``: an assertion about a read-only target: this model exists and is available to this key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.values import Action, Call, FieldChange, Live, Resource, Skipped, Status

__all__ = ["KIND"]

KIND: Final = "Model"


def normalise(live: Live) -> dict[str, Any]:
    """The model as the list shows it."""
    return dict(live.raw)


def comparable(
    resource: Resource, live: Live, shape: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]:
    """What the manifest asserts, and what the target says of it."""
    return dict(resource.spec), {name: shape[name] for name in resource.spec if name in shape}, []


def fingerprint(live: Live, shape: Mapping[str, Any]) -> str:
    """Nothing is ever written: nothing can be out of date."""
    return ""


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Nothing is ever written."""
    return ()


def status(raw: Mapping[str, Any]) -> tuple[Status, str]:
    """What is listed can be used."""
    return Status.READY, "available"


def notes(live: Live) -> tuple[str, ...]:
    """Nothing beyond what the fields say."""
    return ()


def notice(action: Action, changes: Sequence[FieldChange]) -> str:
    """Callers notice nothing of an assertion."""
    return "nothing"


def query_path(name: str) -> str:
    """All models are asked at one path."""
    return "/v1/chat/completions"


def calls(
    resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
) -> tuple[Call, ...]:
    """A read-only target takes no writes."""
    return ()
