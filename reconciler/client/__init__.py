"""Clients for model-serving targets, with the API of ``mlflow.deployments`` and without its weight.

>>> from reconciler.client import get_deploy_client
>>> client = get_deploy_client("databricks")  # doctest: +SKIP

Everything but the base class is imported when first asked for: importing this package does not import
``requests``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from reconciler.client.base import (
    BaseDeploymentClient,
    get_deploy_client,
    get_deployments_target,
    set_deployments_target,
)

if TYPE_CHECKING:
    from reconciler.client.databricks import DatabricksDeploymentClient, DatabricksEndpoint
    from reconciler.client.mlflow import MlflowDeploymentClient
    from reconciler.client.openai import OpenAIDeploymentClient
    from reconciler.client.plugins import available_targets, run_local, target_help
    from reconciler.client.predictions import PredictionsResponse

__all__ = [
    "BaseDeploymentClient",
    "DatabricksDeploymentClient",
    "DatabricksEndpoint",
    "MlflowDeploymentClient",
    "OpenAIDeploymentClient",
    "PredictionsResponse",
    "available_targets",
    "get_deploy_client",
    "get_deployments_target",
    "run_local",
    "set_deployments_target",
    "target_help",
]

_WHERE = {
    "DatabricksDeploymentClient": "databricks",
    "DatabricksEndpoint": "databricks",
    "MlflowDeploymentClient": "mlflow",
    "OpenAIDeploymentClient": "openai",
    "PredictionsResponse": "predictions",
    "available_targets": "plugins",
    "run_local": "plugins",
    "target_help": "plugins",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
