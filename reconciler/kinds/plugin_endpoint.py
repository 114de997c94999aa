"""Kind ``Endpoint`` on a plugin's target: what its settings are is the plugin's affair, as with a deployment.

Facts: mlflow.deployments.BaseDeploymentClient (create_endpoint(name, config), update_endpoint(endpoint,
config), delete_endpoint(endpoint), list_endpoints, get_endpoint).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler.kinds import deployment
from reconciler.kinds.deployment import fingerprint, moved, notes, owned_by, query_path, status
from reconciler.values import Action, Call, FieldChange, Live, Resource, Skipped

__all__ = [
    "SPEC_AT",
    "calls",
    "comparable",
    "fingerprint",
    "moved",
    "normalise",
    "notes",
    "notice",
    "owned_by",
    "query_path",
    "status",
]

SPEC_AT: Final = "config"
"""Compared as a deployment's config is; a manifest has no such level."""


def normalise(live: Live) -> dict[str, Any]:
    """The answer's own ``config``, or the answer itself when it has none."""
    return {SPEC_AT: deployment.told_config(live)}


def comparable(
    resource: Resource, live: Live, shape: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]:
    """The spec is the endpoint's config."""
    return deployment.comparable(replace(resource, spec={SPEC_AT: dict(resource.spec)}), live, shape)


def notice(action: Action, changes: Sequence[FieldChange]) -> str:
    """What callers of the endpoint will notice."""
    return (
        deployment.notice(action, changes)
        .replace("a deployment", "an endpoint")
        .replace("deployment", "endpoint")
    )


def calls(
    resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
) -> tuple[Call, ...]:
    """One call for a step."""
    name, config = resource.address.name, dict(resource.spec)
    match action:
        case Action.CREATE:
            arguments = {"name": name, "config": config}
            return (Call("create_endpoint", arguments, "POST", f"create_endpoint/{name}", config),)
        case Action.UPDATE | Action.ADOPT:
            if live is not None:
                config = deployment.kept_as_told(resource, config, deployment.told_config(live))
            config = deployment.with_their_tags(config, live)
            arguments = {"endpoint": name, "config": config}
            path = f"update_endpoint/{name}"
            return (Call("update_endpoint", arguments, "PUT", path, config, section="config"),)
        case Action.DELETE:
            return (Call("delete_endpoint", {"endpoint": name}, "DELETE", f"delete_endpoint/{name}"),)
        case _:
            return ()
