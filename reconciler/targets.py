"""A target's name → a client for it. The one place where a client and the embedded workspace meet.

``local`` and ``local:PATH`` are the embedded workspace, ``databricks`` and ``databricks://profile`` a
Databricks workspace.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.client.databricks import DatabricksDeploymentClient

__all__ = ["HOW_TO_TRY", "LOCAL_HOST", "connect", "describe", "is_local"]

LOCAL_HOST = "http://local.workspace"
"""The embedded workspace's host in URLs. No request to it leaves the process."""

HOW_TO_TRY = "try it without an account: --target local"


def is_local(target: str) -> bool:
    """The target is the embedded workspace."""
    return target == "local" or target.startswith("local:")


def connect(
    target: str, *, pool_size: int = 16, stop: threading.Event | None = None
) -> DatabricksDeploymentClient:
    """A client for ``target``; the caller closes it.

    ``pool_size``: connections kept open. ``stop``: once set, the client stops waiting to repeat a request.
    Raises UsageError for a target that is not known here, AuthError when there are no credentials for it.
    """
    if is_local(target):
        from reconciler.client.auth import Token
        from reconciler.client.databricks import DatabricksDeploymentClient
        from reconciler.emulator.adapter import EmulatorAdapter
        from reconciler.emulator.local import open_local

        workspace = open_local(target.removeprefix("local").removeprefix(":"))
        return DatabricksDeploymentClient(
            "databricks",
            host=LOCAL_HOST,
            credentials=Token("local"),
            adapter=EmulatorAdapter(workspace),
            pool_size=pool_size,
            stop=stop,
        )
    if target == "databricks" or target.startswith("databricks://"):
        from reconciler.client.databricks import DatabricksDeploymentClient

        return DatabricksDeploymentClient(target, pool_size=pool_size, stop=stop)
    raise UsageError(
        f"target {target!r} is not known here",
        fix=f"use databricks, databricks://PROFILE, local or local:PATH; {HOW_TO_TRY}",
    )


def describe(target: str, client: DatabricksDeploymentClient) -> str:
    """The target for people: its name and where it is. Never a credential."""
    if is_local(target):
        path = target.removeprefix("local").removeprefix(":").partition("?")[0]
        return f"local (embedded workspace, {path or '.reconciler/local.db'})"
    return f"{target} ({client.host})"
