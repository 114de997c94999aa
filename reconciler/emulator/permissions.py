"""Permissions of an endpoint, keyed by its id: they die with it and do not follow its name.

Any principal is taken: there is no directory to look it up in. Every grant that is sent counts once for each
principal; inherited ones cannot be changed here.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from reconciler.emulator.check import check, without_nulls
from reconciler.emulator.record import Record
from reconciler.emulator.wire import Refusal, Request, Response, answer, json_body
from reconciler.schema import spec_fields

if TYPE_CHECKING:
    from reconciler.emulator.workspace import Workspace

__all__ = ["get_levels", "get_permissions", "patch_permissions", "put_permissions"]

_LEVELS: Final = {
    "CAN_MANAGE": "Can Manage Serving Endpoint",
    "CAN_QUERY": "Can Query Serving Endpoint",
    "CAN_VIEW": "Can View Serving Endpoint",
}
_INHERITED_FROM: Final = "/serving-endpoints/"

Grant = tuple[str, str, str]  # the principal's field, its name, the level


def get_permissions(workspace: Workspace, request: Request, identifier: str) -> Response:
    """GET /api/2.0/permissions/serving-endpoints/{id}."""
    return _shown(workspace.record_of(identifier))


def get_levels(workspace: Workspace, request: Request, identifier: str) -> Response:
    """GET /api/2.0/permissions/serving-endpoints/{id}/permissionLevels."""
    workspace.record_of(identifier)
    levels = [{"permission_level": level, "description": words} for level, words in _LEVELS.items()]
    return answer({"permission_levels": levels})


def put_permissions(workspace: Workspace, request: Request, identifier: str) -> Response:
    """PUT: replaces all direct grants. The caller's own CAN_MANAGE has to be among them."""
    grants = _grants(request)
    if ("user_name", workspace.user, "CAN_MANAGE") not in grants:
        raise Refusal.invalid(f"User {workspace.user} must retain CAN_MANAGE on the endpoint.")
    with workspace.changing(workspace.record_of(identifier).name) as record:
        record.grants = grants
    return _shown(record)


def patch_permissions(workspace: Workspace, request: Request, identifier: str) -> Response:
    """PATCH: adds grants; a principal that has one gets the new level."""
    grants = _grants(request)
    with workspace.changing(workspace.record_of(identifier).name) as record:
        named = {grant[:2]: grant for grant in [*record.grants, *grants]}
        if named.get(("user_name", workspace.user), ("", "", ""))[2] != "CAN_MANAGE":
            raise Refusal.invalid(f"User {workspace.user} must retain CAN_MANAGE on the endpoint.")
        record.grants = list(named.values())
    return _shown(record)


def _grants(request: Request) -> list[Grant]:
    field = spec_fields("Endpoint").properties["permissions"]
    entries = without_nulls(json_body(request)).get("access_control_list", [])
    check(field, entries, "access_control_list")
    grants: dict[tuple[str, str], Grant] = {}
    for entry in entries:
        kind = next(kind for kind in field.key_one_of if kind in entry)
        principal = (kind, entry[kind])
        if not entry[kind]:
            raise Refusal.invalid(f"Field '{kind}' must not be empty.")
        if principal in grants:
            raise Refusal.invalid(f"Duplicate entry '{entry[kind]}' in 'access_control_list'.")
        grants[principal] = (kind, entry[kind], entry["permission_level"])
    return list(grants.values())


def _shown(record: Record) -> Response:
    entries: dict[tuple[str, str], dict[str, Any]] = {
        ("group_name", "admins"): {
            "group_name": "admins",
            "all_permissions": [
                {
                    "permission_level": "CAN_MANAGE",
                    "inherited": True,
                    "inherited_from_object": [_INHERITED_FROM],
                }
            ],
        }
    }
    for kind, name, level in record.grants:
        entry = entries.setdefault((kind, name), {kind: name, "display_name": name, "all_permissions": []})
        entry["all_permissions"].insert(0, {"permission_level": level, "inherited": False})
    # The real order is not stable either: another one for each endpoint, and after each change of the grants.
    salt = f"{record.id}{sorted(record.grants)}"
    order = sorted(entries, key=lambda principal: zlib.crc32(f"{salt}{principal}".encode()))
    return answer(
        {
            "object_id": f"/serving-endpoints/{record.id}",
            "object_type": "serving-endpoint",
            "access_control_list": [entries[principal] for principal in order],
        }
    )
