"""Who the caller is: host metadata, OAuth for machines, and the one user that every token stands for."""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from reconciler.emulator.wire import Request, Response, answer

if TYPE_CHECKING:
    from reconciler.emulator.workspace import Workspace

__all__ = ["authorization_server", "host_metadata", "me", "token"]

_EXPIRES_IN: Final = 3600


def host_metadata(workspace: Workspace, request: Request) -> Response:
    """GET /.well-known/databricks-config. The SDK (0.156) finds the OAuth server by nothing else."""
    return answer({"oidc_endpoint": f"{request.base_url}/oidc"})


def authorization_server(workspace: Workspace, request: Request) -> Response:
    """GET /oidc/.well-known/oauth-authorization-server."""
    issuer = f"{request.base_url}/oidc"
    return answer(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/v1/authorize",
            "token_endpoint": f"{issuer}/v1/token",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }
    )


def token(workspace: Workspace, request: Request) -> Response:
    """POST /oidc/v1/token: client credentials by HTTP basic; any id and secret will do."""
    if not _has_basic(request.headers.get("authorization", "")):
        return answer(
            {"error": "invalid_client", "error_description": "Client authentication failed"},
            401,
            {"www-authenticate": "Basic"},
        )
    form = parse_qs(request.body.decode("utf-8", "replace"))
    if form.get("grant_type") != ["client_credentials"]:
        return answer(
            {"error": "unsupported_grant_type", "error_description": "only client_credentials"}, 400
        )
    return answer(
        {
            "access_token": f"local-{uuid.uuid4().hex}",
            "token_type": "Bearer",
            "expires_in": _EXPIRES_IN,
            "scope": "all-apis",
        }
    )


def _has_basic(header: str) -> bool:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        identifier, colon, secret = base64.b64decode(encoded, validate=True).partition(b":")
    except ValueError:
        return False
    return bool(identifier and colon and secret)


def me(workspace: Workspace, request: Request) -> Response:
    """GET /api/2.0/preview/scim/v2/Me."""
    name = workspace.user
    return answer(
        {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "id": "1000000000000001",
            "userName": name,
            "displayName": name.split("@")[0],
            "active": True,
            "emails": [{"type": "work", "value": name, "primary": True}],
            "groups": [{"display": "admins", "type": "direct"}, {"display": "users", "type": "direct"}],
        }
    )
