"""One endpoint as the store keeps it. Computed fields of answers are made of these (``echo.py``)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from reconciler.emulator.wire import Refusal

__all__ = ["Record", "Rollout"]


@dataclass(slots=True)
class Rollout:
    """A config and how far it is.

    ``started``: milliseconds. ``settles``: when it is decided, in seconds of the workspace's clock; None
    when it never is, or when it was. ``failed``: entity → what went wrong, once it has failed.
    ``canceled``: it was stopped instead. ``doomed``: it will fail, whatever its models are called.
    """

    config: dict[str, Any]
    version: int
    started: int
    settles: float | None = None
    failed: dict[str, str] = field(default_factory=dict)
    canceled: bool = False
    doomed: bool = False


@dataclass(slots=True)
class Record:
    """One endpoint.

    ``sections``: what was accepted at create and by the section calls, config apart. ``live``: what serves.
    ``pending``: what is being rolled out, or what failed to be. ``capture``: the inference table that was
    ever set, since it may not be changed later. ``grants``: direct permissions, principal field and name →
    level. ``secrets``: paths of write-only fields that were given; their values are not kept.
    """

    name: str
    id: str
    creator: str
    created: int
    updated: int
    sections: dict[str, Any] = field(default_factory=dict)
    live: Rollout | None = None
    pending: Rollout | None = None
    config_update: str = "NOT_UPDATING"
    capture: dict[str, Any] = field(default_factory=dict)
    grants: list[tuple[str, str, str]] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For the store."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Record:
        """From the store."""
        record = cls(**document)
        record.live = Rollout(**document["live"]) if document["live"] else None
        record.pending = Rollout(**document["pending"]) if document["pending"] else None
        record.grants = [(kind, name, level) for kind, name, level in document["grants"]]
        return record

    @property
    def settles(self) -> float | None:
        """When a read has to look at it again."""
        return self.pending.settles if self.pending is not None else None

    @property
    def is_updating(self) -> bool:
        """A config is being rolled out."""
        return self.config_update == "IN_PROGRESS"

    @property
    def is_ready(self) -> bool:
        """It answers queries."""
        return self.live is not None

    @property
    def entities(self) -> list[dict[str, Any]]:
        """The served entities that count: the live ones, else those that are being rolled out."""
        rollout = self.live or self.pending
        return rollout.config.get("served_entities", []) if rollout is not None else []

    def whole(self) -> dict[str, Any]:
        """The endpoint as one body, for rules that look across its sections."""
        rollout = self.live or self.pending
        config = {"config": rollout.config} if rollout is not None else {}
        return {"name": self.name, "id": self.id, **self.sections, **config}

    def touch(self, now: float) -> None:
        """Moves ``last_updated_timestamp``, always forward: two changes within a millisecond differ."""
        self.updated = max(int(now * 1000), self.updated + 1)

    def refuse_while_updating(self, what: str) -> None:
        """409 while a config is being rolled out."""
        if self.is_updating:
            raise Refusal(
                409,
                "RESOURCE_CONFLICT",
                f"Endpoint '{self.name}' is currently updating."
                f" Wait for the update to complete before {what}.",
            )
