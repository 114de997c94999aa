"""The deployments API of mlflow, as an abstract client, and the way from a target URI to a client.

Names, arguments and defaults are those of ``mlflow.deployments`` (documented API, 3.17).
"""

from __future__ import annotations

import abc
import importlib
import logging
import os
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

from reconciler.errors import UsageError

__all__ = [
    "BaseDeploymentClient",
    "NotOffered",
    "client_of",
    "get_deploy_client",
    "get_deployments_target",
    "register_client",
    "set_deployments_target",
    "target_of",
    "targets",
]

_VARIABLE = "MLFLOW_DEPLOYMENTS_TARGET"
_HINT = f"set a target with set_deployments_target() or the environment variable {_VARIABLE}"

_log = logging.getLogger("reconciler.client")
_target: str | None = None
# Target (the scheme of a URI, or the whole of one without) → "module:class", imported when asked for.
_clients: dict[str, str] = {
    "databricks": "reconciler.client.databricks:DatabricksDeploymentClient",
    "http": "reconciler.client.mlflow:MlflowDeploymentClient",
    "https": "reconciler.client.mlflow:MlflowDeploymentClient",
    "openai": "reconciler.client.openai:OpenAIDeploymentClient",
}


class NotOffered(UsageError, NotImplementedError):
    """The target has no such operation. Also a NotImplementedError, as mlflow's clients raise it."""


class BaseDeploymentClient(abc.ABC):
    """What every deployment client offers; ``target_uri`` says where it deploys to.

    A deployment or endpoint is returned as a dict that holds at least ``name``. Deletions are idempotent:
    deleting what is not there is no error. What a target lacks raises :class:`NotOffered`.

    ``keeps_tags``: a plugin says True when the config of a deployment (and of an endpoint, if it has those)
    may hold ``tags``, texts by name, that are kept and given back by get_deployment: in the answer's
    ``config``, or beside it. Then who owns a deployment is marked there. (Not part of mlflow's API.)
    """

    keeps_tags: ClassVar[bool] = False

    def __init__(self, target_uri: str) -> None:
        self.target_uri = target_uri

    @abc.abstractmethod
    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: dict[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> Any:
        """Deploy a model under a name that is not in use; returns the deployment."""

    @abc.abstractmethod
    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: dict[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> Any:
        """Change a deployment: its model, the model's flavor, its configuration."""

    @abc.abstractmethod
    def delete_deployment(
        self, name: str, config: dict[str, Any] | None = None, endpoint: str | None = None
    ) -> Any:
        """Delete a deployment; no error when there is none."""

    @abc.abstractmethod
    def list_deployments(self, endpoint: str | None = None) -> Any:
        """All deployments, unpaged."""

    @abc.abstractmethod
    def get_deployment(self, name: str, endpoint: str | None = None) -> Any:
        """One deployment by name."""

    @abc.abstractmethod
    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Any:
        """Query a deployment or an endpoint."""

    def predict_stream(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Query and yield the parts of the answer as they arrive."""
        raise self._not_offered("predict_stream")

    def explain(self, deployment_name: str | None = None, df: Any = None, endpoint: str | None = None) -> Any:
        """Explain predictions for a DataFrame of inputs."""
        raise self._not_offered("explain")

    def create_endpoint(self, name: str, config: dict[str, Any] | None = None) -> Any:
        """Create an endpoint; returns it."""
        raise self._not_offered("create_endpoint")

    def update_endpoint(self, endpoint: str, config: dict[str, Any] | None = None) -> Any:
        """Change an endpoint."""
        raise self._not_offered("update_endpoint")

    def delete_endpoint(self, endpoint: str) -> Any:
        """Delete an endpoint; no error when there is none."""
        raise self._not_offered("delete_endpoint")

    def list_endpoints(self) -> Any:
        """All endpoints, unpaged."""
        raise self._not_offered("list_endpoints")

    def get_endpoint(self, endpoint: str) -> Any:
        """One endpoint by name."""
        raise self._not_offered("get_endpoint")

    def _not_offered(self, method: str) -> NotOffered:
        return NotOffered(f"{type(self).__name__} does not offer {method}")


def register_client(target: str, client: str) -> None:
    """Make ``module:class`` the client of a target (``databricks``, ``https``, …) for this process."""
    _clients[target] = client


def targets() -> list[str]:
    """The targets that need no plugin."""
    return sorted(_clients)


def client_of(target: str) -> Any:
    """The client class of a target that needs no plugin."""
    module, _, name = _clients[target].partition(":")
    return getattr(importlib.import_module(module), name)


def get_deploy_client(target_uri: str | None = None) -> Any:
    """The deployment client for a target.

    ``databricks``, ``databricks://profile``, ``http://host`` and ``https://host`` (an MLflow AI Gateway),
    ``openai``, ``<plugin>[:/…]``.

    Without a URI: that of :func:`set_deployments_target`, then MLFLOW_DEPLOYMENTS_TARGET; with neither, a
    hint is logged and None returned. Targets that are not built in are looked up among the installed
    plugins (entry points of the group ``mlflow.deployments``). Raises UsageError for a URI that names no
    target, or one nothing is installed for, and what the client's constructor raises.
    """
    if not target_uri:
        try:
            target_uri = get_deployments_target()
        except UsageError:
            _log.info("no deployments target is set: %s", _HINT)
            return None
    target = target_of(target_uri)
    if target in _clients:
        return client_of(target)(target_uri)
    from reconciler.client.plugins import plugin_client  # importlib.metadata is slow to import

    return plugin_client(target)(target_uri)


def get_deployments_target() -> str:
    """The target set in this process, else MLFLOW_DEPLOYMENTS_TARGET. Raises UsageError with neither."""
    target = _target or os.environ.get(_VARIABLE)
    if not target:
        raise UsageError("no deployments target is set", fix=_HINT)
    return target


def set_deployments_target(target: str) -> None:
    """Set the target of this process: ``databricks``, or a URI with scheme and host. Raises UsageError."""
    global _target
    try:
        parts = urlsplit(target)
        is_target = target == "databricks" or bool(parts.scheme and parts.netloc)
    except ValueError:
        is_target = False
    if not is_target:
        raise UsageError(
            f"{target!r} is not a deployments target", fix="give 'databricks', or a URI with scheme and host"
        )
    _target = target


def target_of(uri: str) -> str:
    """The target a URI names: its scheme, or the whole of one without. Raises UsageError."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        parts = urlsplit("")
    target = parts.scheme or parts.path
    if not target:
        raise UsageError(
            f"{uri!r} is not a deployments target", fix="write name, name:/suffix or name://host"
        )
    return target
