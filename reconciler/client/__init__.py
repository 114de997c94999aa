"""Clients for model-serving targets, with the API of ``mlflow.deployments`` and without its weight.

>>> from reconciler.client import get_deploy_client
>>> client = get_deploy_client("databricks")  # doctest: +SKIP

Clients are imported when first asked for: importing this package does not import ``requests``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.client.base import (
    BaseDeploymentClient,
    get_deploy_client,
    get_deployments_target,
    set_deployments_target,
)

if TYPE_CHECKING:
    from reconciler.client.databricks import DatabricksDeploymentClient, DatabricksEndpoint

__all__ = [
    "BaseDeploymentClient",
    "DatabricksDeploymentClient",
    "DatabricksEndpoint",
    "get_deploy_client",
    "get_deployments_target",
    "set_deployments_target",
]


def __getattr__(name: str) -> Any:
    if name in {"DatabricksDeploymentClient", "DatabricksEndpoint"}:
        from reconciler.client import databricks

        return getattr(databricks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
