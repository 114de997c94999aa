"""The state machine of a config, on the workspace's clock. No threads: whoever reads lets it settle first.

What happens is written into the model's name, for tests and demonstrations: an ``entity_name`` or
the name of an external model that contains one of these words ends accordingly, every other one goes live.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reconciler.emulator.record import Record, Rollout

__all__ = ["CANCEL", "FAIL", "STALL", "begin", "settle"]

FAIL: Final = "fail-to-deploy"
"""The update ends UPDATE_FAILED, the entity DEPLOYMENT_FAILED with a message."""
CANCEL: Final = "cancel-deploy"
"""The update ends UPDATE_CANCELED, the entity DEPLOYMENT_ABORTED."""
STALL: Final = "never-deploys"
"""The update stays IN_PROGRESS for ever; only a delete ends it."""


def begin(record: Record, config: dict[str, Any], now: float, provisioning: float) -> None:
    """Starts to roll out ``config``; the live one goes on serving. ``provisioning``: seconds until it
    settles.
    """
    record.refuse_while_updating("changing its configuration")
    stalls = any(STALL in _model(entity) for entity in config["served_entities"])
    record.touch(now)
    record.pending = Rollout(
        config=config,
        version=(record.live.version if record.live else 0) + 1,
        started=record.updated,
        settles=None if stalls else now + provisioning,
    )
    record.config_update = "IN_PROGRESS"


def settle(record: Record, now: float) -> bool:
    """Ends the rollout when its time has come; says whether anything changed.

    A failed one leaves the old config serving and stays visible as ``pending_config``, so that GET tells
    which entity failed and why.
    """
    pending = record.pending
    if pending is None or pending.settles is None or pending.settles > now:
        return False
    pending.settles = None
    entities = pending.config["served_entities"]
    pending.failed = {
        entity["name"]: f"Container for '{_model(entity)}' exited before it became ready: see the build logs."
        for entity in entities
        if pending.doomed or FAIL in _model(entity)
    }
    pending.canceled = not pending.failed and any(CANCEL in _model(entity) for entity in entities)
    if pending.failed:
        record.config_update = "UPDATE_FAILED"
    elif pending.canceled:
        record.config_update = "UPDATE_CANCELED"
    else:
        record.live, record.pending = pending, None
        record.config_update = "NOT_UPDATING"
    return True


def _model(entity: Mapping[str, Any]) -> str:
    external = entity.get("external_model", {})
    return str(entity.get("entity_name") or external.get("name", ""))
