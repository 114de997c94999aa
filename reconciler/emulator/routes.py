"""Method and path → function; the one place where a refusal becomes a JSON error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from reconciler.emulator import endpoints, identity, invocations, observe, permissions
from reconciler.emulator.wire import Refusal, Request, Response, identified, refused

if TYPE_CHECKING:
    from reconciler.emulator.workspace import Workspace

__all__ = ["ROUTES", "Route", "dispatch", "route_of"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """``name``: what people call it, with the method where several share it (``PUT permissions``). ``path``:
    segments, ``{}`` stands for any one. ``spends``: counts as a create or update operation. ``public``: needs
    no Authorization header.
    """

    name: str
    method: str
    path: tuple[str, ...]
    function: Callable[..., Response]
    spends: bool = False
    public: bool = False


def _route(
    name: str,
    method: str,
    path: str,
    function: Callable[..., Response],
    *,
    spends: bool = False,
    public: bool = False,
) -> Route:
    return Route(name, method, tuple(path.strip("/").split("/")), function, spends, public)


_E: Final = "/api/2.0/serving-endpoints"
_P: Final = "/api/2.0/permissions/serving-endpoints/{}"

ROUTES: Final = (
    _route("list", "GET", _E, endpoints.list_endpoints),
    _route("create", "POST", _E, endpoints.create_endpoint, spends=True),
    _route("create-pt", "POST", f"{_E}/pt", endpoints.create_throughput_endpoint, spends=True),
    _route("get", "GET", f"{_E}/{{}}", endpoints.get_endpoint),
    _route("delete", "DELETE", f"{_E}/{{}}", endpoints.delete_endpoint),
    _route("config", "PUT", f"{_E}/{{}}/config", endpoints.put_config, spends=True),
    _route("config-pt", "PUT", f"{_E}/pt/{{}}/config", endpoints.put_throughput_config, spends=True),
    _route("tags", "PATCH", f"{_E}/{{}}/tags", endpoints.patch_tags, spends=True),
    _route("rate-limits", "PUT", f"{_E}/{{}}/rate-limits", endpoints.put_rate_limits, spends=True),
    _route("ai-gateway", "PUT", f"{_E}/{{}}/ai-gateway", endpoints.put_ai_gateway, spends=True),
    _route("notifications", "PATCH", f"{_E}/{{}}/notifications", endpoints.patch_notifications, spends=True),
    _route("telemetry", "PATCH", f"{_E}/{{}}/telemetry-config", endpoints.patch_telemetry, spends=True),
    _route("build-logs", "GET", f"{_E}/{{}}/served-models/{{}}/build-logs", observe.build_logs),
    _route("logs", "GET", f"{_E}/{{}}/served-models/{{}}/logs", observe.server_logs),
    _route("metrics", "GET", f"{_E}/{{}}/metrics", observe.metrics),
    _route("openapi", "GET", f"{_E}/{{}}/openapi", observe.openapi),
    _route("query", "POST", "/serving-endpoints/{}/invocations", invocations.invoke),
    _route("permissions", "GET", _P, permissions.get_permissions),
    _route("permissions", "PUT", _P, permissions.put_permissions),
    _route("permissions", "PATCH", _P, permissions.patch_permissions),
    _route("permission-levels", "GET", f"{_P}/permissionLevels", permissions.get_levels),
    _route("me", "GET", "/api/2.0/preview/scim/v2/Me", identity.me),
    _route("host-metadata", "GET", "/.well-known/databricks-config", identity.host_metadata, public=True),
    _route(
        "oauth-server",
        "GET",
        "/oidc/.well-known/oauth-authorization-server",
        identity.authorization_server,
        public=True,
    ),
    _route("token", "POST", "/oidc/v1/token", identity.token, public=True),
)


def _by_length() -> dict[int, list[Route]]:
    table: dict[int, list[Route]] = {}
    for route in ROUTES:
        table.setdefault(len(route.path), []).append(route)
    return table


_TABLE: Final = _by_length()


def dispatch(workspace: Workspace, request: Request) -> Response:
    """The answer to a request, with its ``x-request-id``. Never raises."""
    try:
        return identified(_answered(workspace, request))
    except Refusal as refusal:
        return refused(refusal)
    except Exception:
        _log.exception("the emulator failed on %s %s", request.method, request.path)
        return refused(Refusal(500, "INTERNAL_ERROR", "The emulator failed; its log says where."))


def route_of(request: Request) -> tuple[Route, list[str]] | None:
    """The route of a request and what stands for its ``{}``, decoded; None when the API has no such route."""
    try:
        return _found(request)
    except Refusal:
        return None


def _answered(workspace: Workspace, request: Request) -> Response:
    route, values = _found(request)
    if not route.public and not request.headers.get("authorization"):
        raise Refusal(401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type.")
    if route.spends:
        workspace.spend_write()
    return route.function(workspace, request, *values)


def _found(request: Request) -> tuple[Route, list[str]]:
    segments = request.path.strip("/").split("/")
    others = []
    for route in _TABLE.get(len(segments), ()):
        if not all(a in (b, "{}") for a, b in zip(route.path, segments, strict=True)):
            continue
        if route.method == request.method:
            return route, [unquote(b) for a, b in zip(route.path, segments, strict=True) if a == "{}"]
        others.append(route.method)
    where = f"{request.method} {request.path}"
    if others:
        raise Refusal(
            405,
            "METHOD_NOT_ALLOWED",
            f"{where}: this path takes {', '.join(others)}.",
            headers={"allow": ", ".join(others)},
        )
    raise Refusal(404, "ENDPOINT_NOT_FOUND", f"No API found for '{where}'.")
