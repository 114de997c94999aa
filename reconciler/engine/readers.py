"""How each kind is read from a client: what its list holds, and one resource in detail."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.errors import BadAnswer, NotFound, TargetError
from reconciler.kinds import kind_of
from reconciler.kinds.endpoint import misshapen
from reconciler.terminal import control
from reconciler.values import STACK_TAG, Live, Resource

__all__ = ["list_names", "listed_owner", "read_live", "read_unlisted"]

_PAGE = 10
"""A plugin's list of so many may be one page of more: SageMaker's API gives 10 unless it is asked for more
(its reference, ListEndpoints), and mlflow's client does not ask (3.17)."""


def list_names(client: Any, name: str, desired: Sequence[Resource]) -> Mapping[str, Mapping[str, Any]]:
    """Name → what LIST says of it, for all resources of one kind: one request for endpoints and models, one
    for each endpoint of the target that deployments of ``desired`` belong to (without any: for all).

    Raises TargetError when the list cannot be read.
    """
    match name:
        case "Deployment":
            wheres = dict.fromkeys(resource.spec.get("endpoint") for resource in desired) or {None: None}
            return {_name_of(item): item for where in wheres for item in _listed(client, where)}
        case "Model":
            answer = client.list_endpoints()
            found = list(answer.get("data") or ()) if isinstance(answer, Mapping) else list(answer)
        case _:
            found = list(client.list_endpoints())
    return {str(item.get("name") or item.get("id")): item for item in found}


def listed_owner(summary: Mapping[str, Any]) -> str:
    """The stack whose marker an endpoint's entry of LIST shows, "" for none. Answers are not trusted."""
    tags = summary.get("tags")
    pairs = tags if isinstance(tags, list) else ()
    found = [
        pair.get("value") for pair in pairs if isinstance(pair, Mapping) and pair.get("key") == STACK_TAG
    ]
    return str(found[0] or "") if found else ""


def _listed(client: Any, endpoint: str | None) -> list[Mapping[str, Any]]:
    answer = client.list_deployments(endpoint=endpoint) if endpoint else client.list_deployments()
    return [item if isinstance(item, Mapping) else {} for item in answer or ()]


_NAMES = re.compile(r"(?:deployment|endpoint)?_?name", re.IGNORECASE)


def _name_of(item: Mapping[str, Any]) -> str:
    """A deployment's name. The API promises ``name``; mlflow's own SageMaker client says ``EndpointName``.

    Raises BadAnswer when there is none.
    """
    found = item.get("name") or next((v for k, v in item.items() if _NAMES.fullmatch(str(k)) and v), None)
    if not found:
        raise BadAnswer("list_deployments gave a deployment without a name", why=f"it has {', '.join(item)}")
    return str(found)


def read_live(
    client: Any,
    resource: Resource,
    summary: Mapping[str, Any] | None = None,
    *,
    permissions: bool | None = None,
    deleting: bool = False,
) -> Live | None:
    """One resource as it is now, None when there is none.

    ``summary``: its entry of LIST, for fields that only LIST shows. ``permissions`` (of endpoints): whether
    they are read too; None = when the manifest manages them. ``deleting``: who uses it is read too, where a
    target does not look after that itself.
    """
    match resource.address.kind:
        case _ if resource.address.dialect == "file":
            from reconciler.engine.file_reader import read_file_one

            return read_file_one(client, resource)
        case name if name.startswith("Gateway"):
            from reconciler.engine.gateway_reader import read_gateway_one

            return read_gateway_one(client, resource, deleting=deleting)
        case "Deployment":
            return _deployment(client, resource, summary)
        case "Model":
            # LIST shows the whole of a model: nothing more to ask.
            return None if summary is None else Live(resource.address, dict(summary))
        case _ if resource.address.dialect.startswith("plugin"):
            return _plugin_endpoint(client, resource, summary)
        case _:
            return _endpoint(client, resource, summary, permissions)


def _deployment(client: Any, resource: Resource, summary: Mapping[str, Any] | None) -> Live | None:
    name, where = resource.address.name, resource.spec.get("endpoint")
    if summary is None:
        listed = list_names(client, "Deployment", [resource])
        if name not in listed:
            return read_unlisted(client, resource, len(listed))
    arguments = {"endpoint": where} if where else {}
    try:
        return Live(resource.address, dict(client.get_deployment(name, **arguments)))
    except NotFound:
        return None


def read_unlisted(client: Any, resource: Resource, listed: int) -> Live | None:
    """One resource that LIST did not show among ``listed`` of its kind: None, or what a list cut off.

    How a plugin says that there is no such deployment is its own; its list says it clearly, unless that may
    have been cut: then the deployment is asked for, and any error means that it is not there.
    """
    if resource.address.kind != "Deployment" or listed < _PAGE:
        return None
    where = resource.spec.get("endpoint")
    try:
        found = client.get_deployment(resource.address.name, **({"endpoint": where} if where else {}))
    except TargetError:
        return None
    return Live(resource.address, dict(found)) if isinstance(found, Mapping) and found else None


def _plugin_endpoint(client: Any, resource: Resource, summary: Mapping[str, Any] | None) -> Live | None:
    name = resource.address.name
    if summary is None and name not in list_names(client, "Endpoint", [resource]):
        return None
    return Live(resource.address, dict(client.get_endpoint(name)))


def _endpoint(
    client: Any, resource: Resource, summary: Mapping[str, Any] | None, permissions: bool | None
) -> Live | None:
    try:
        raw = dict(client.get_endpoint(resource.address.name))
        wants_grants = "permissions" in resource.spec if permissions is None else permissions
        grants = None
        if wants_grants:
            # The id of the detailed answer, not of LIST: an endpoint recreated by hand has a new one
            # (databricks/cli, acceptance drift/recreated_same_name).
            if not (live_id := str(raw.get("id") or "")):
                raise _no_endpoint(resource, "it has no id")
            grants = client.get_endpoint_permissions(live_id)
    except NotFound:
        return None
    if summary is not None:
        for name, field in kind_of(resource.address).fields.properties.items():
            spellings = (name, *field.also_called)
            if field.not_echoed == "get" and not any(raw.get(s) for s in spellings):
                raw.update({s: summary[s] for s in spellings if summary.get(s)})
    live = Live(resource.address, raw, grants)
    if said := misshapen(live):
        raise _no_endpoint(resource, said)
    return live


def _no_endpoint(resource: Resource, said: str) -> BadAnswer:
    return BadAnswer(
        f"the answer is not an endpoint of the API: {control(said)}",
        method="GET",
        path=str(resource.address),
        fix="check that the host is the workspace itself",
    )
