"""Kind ``Endpoint``: a model-serving endpoint of a Databricks workspace (or of a target that speaks its API).

What a field is stands in ``schemas/endpoint.schema.json``. Here stands what a schema cannot say: where an
answer keeps the desired state, which call changes which section, in which order, and what its callers notice.
Facts: https://docs.databricks.com/api/workspace/servingendpoints and the calls of databricks-sdk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from reconciler import schema
from reconciler.kinds import marks
from reconciler.shape import canonical, misfit
from reconciler.values import (
    MASK,
    PROTECTED_TAG,
    STACK_TAG,
    Action,
    FieldChange,
    FieldPath,
    ItemKey,
    Live,
    Masked,
    Reason,
    Resource,
    Skipped,
    Status,
)

__all__ = [
    "KIND",
    "comparable",
    "fields",
    "fingerprint",
    "is_empty",
    "is_protected",
    "is_updating",
    "kept_grants",
    "misshapen",
    "moved",
    "normalise",
    "notes",
    "notice",
    "owned_by",
    "owner_change",
    "protection_change",
    "query_path",
    "status",
]

KIND: Final = "Endpoint"


def fields() -> schema.Field:
    """The fields of the kind."""
    return schema.spec_fields(KIND)


# ---- one shape ------------------------------------------------------------------------------------------


def normalise(live: Live) -> dict[str, Any]:
    """The live side in the shape of a spec: sections by name, other spellings merged.

    While an update runs, ``config`` is what is being rolled out (``pending_config``): the state that the
    endpoint is heading for is what a manifest must be held against.
    """
    raw = live.raw
    own = ("name", "config", "pending_config", "permissions")
    shape: dict[str, Any] = canonical(fields(), {n: v for n, v in raw.items() if n not in own})
    pending = raw.get("pending_config")
    config = pending if is_updating(raw) and pending else raw.get("config")
    if config:
        shape["config"] = canonical(fields().properties["config"], config)
    if live.permissions is not None:
        shape["permissions"] = _grants(live.permissions)
    return shape


def misshapen(live: Live) -> str:
    """What of an answer is no such thing as the API has there, in one sentence; "" when it will do.

    Answers are not trusted: everything else in this file, and whoever compares, relies on it.
    """
    raw, spec = live.raw, fields()
    own = {
        name: value for name, value in raw.items() if name not in ("permissions", "pending_config", "state")
    }
    if said := misfit(spec, own):
        return said[1:]
    if said := misfit(spec.properties["config"], raw.get("pending_config")):
        return f"pending_config{said}"
    for block in ("config", "pending_config"):
        for name in ("served_entities", "served_models"):
            for at, entity in enumerate((raw.get(block) or {}).get(name) or ()):
                if said := _not_an_object(entity.get("state")):
                    return f"{block}.{name}[{at}].state {said}"
    if said := _not_an_object(raw.get("state")):
        return f"state {said}"
    for name in ("id", "name", "creator", "endpoint_url"):
        if isinstance(raw.get(name), (dict, list)):
            return f"{name} is not a single value"
    return _misshapen_grants(live.permissions)


def _not_an_object(value: Any) -> str:
    return "" if value is None or isinstance(value, Mapping) else "is not an object"


def _misshapen_grants(answer: Any) -> str:
    entries = (answer or {}).get("access_control_list")
    if entries is not None and not isinstance(entries, list):
        return "access_control_list is not a list"
    for at, entry in enumerate(entries or ()):
        where = f"access_control_list[{at}]"
        if not isinstance(entry, Mapping):
            return f"{where} is not an object"
        if any(isinstance(entry.get(name), (dict, list)) for name in _IDENTITIES):
            return f"{where} names nobody"
        given = entry.get("all_permissions")
        if given is not None and not isinstance(given, list):
            return f"{where}.all_permissions is not a list"
        for each in given or ():
            if not isinstance(each, Mapping) or isinstance(each.get("permission_level"), (dict, list)):
                return f"{where}.all_permissions holds something else than permissions"
    return ""


def is_updating(raw: Mapping[str, Any]) -> bool:
    """An update (or the creation) is in progress."""
    return bool((raw.get("state") or {}).get("config_update") == "IN_PROGRESS")


_IDENTITIES: Final = ("user_name", "group_name", "service_principal_name")
_LEVELS: Final = ("CAN_VIEW", "CAN_QUERY", "CAN_MANAGE")


def _grants(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The grants given on this endpoint itself, the highest level of each identity; not what it inherits."""
    grants = []
    for entry in answer.get("access_control_list") or ():
        levels = [
            permission.get("permission_level")
            for permission in entry.get("all_permissions") or ()
            if not permission.get("inherited")
        ]
        identity = {name: entry[name] for name in _IDENTITIES if entry.get(name)}
        if levels and identity:
            best = max(levels, key=lambda lv: _LEVELS.index(lv) if lv in _LEVELS else -1)
            grants.append({**identity, "permission_level": best})
    return sorted(grants, key=json.dumps)


def kept_grants(live: Live, desired: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Grants that stay though no manifest names them: the creator's own CAN_MANAGE.

    The API refuses a list that takes the caller's own CAN_MANAGE away; who the caller is, is not known
    without a request of its own, and the creator is who applied first.
    """
    if live.permissions is None:
        return []
    creator = live.raw.get("creator")
    named = {grant.get(name) for grant in desired.get("permissions") or () for name in _IDENTITIES}
    return [
        grant
        for grant in _grants(live.permissions)
        if creator
        and creator not in named
        and grant["permission_level"] == "CAN_MANAGE"
        and creator in (grant.get("user_name"), grant.get("service_principal_name"))
    ]


def comparable(
    resource: Resource, live: Live, shape: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]:
    """Desired and live in one shape, ready to be compared, and what was taken out beforehand.

    ``shape``: the live side, normalised.
    """
    desired: dict[str, Any] = canonical(fields(), dict(resource.spec))
    theirs = dict(shape)
    skipped: list[Skipped] = []
    for side in (desired, theirs):
        if isinstance(side.get("tags"), Mapping):
            side["tags"] = marks.without_marks(side["tags"])
    skipped += [
        Skipped(FieldPath(("tags", key)), Reason.KEPT, detail)
        for key, detail in marks.KEPT.items()
        if "tags" in desired and key in (shape.get("tags") or {})
    ]
    if "permissions" in desired:
        kept = kept_grants(live, desired)
        theirs["permissions"] = [g for g in theirs.get("permissions", ()) if g not in kept]
        for grant in kept:
            key = next(f"{name}={grant[name]}" for name in _IDENTITIES if name in grant)
            path = FieldPath(("permissions", ItemKey(key)))
            skipped.append(Skipped(path, Reason.KEPT, "the creator keeps CAN_MANAGE: the API insists on it"))
    return desired, theirs, skipped


def fingerprint(live: Live, shape: Mapping[str, Any]) -> str:
    """Digest of everything about a live endpoint that a plan may be judged by. ``shape``: it, normalised.

    What changes by itself stays out: computed fields, fields no schema knows, what only LIST shows, the order
    of an answer. An update that finishes as it was meant to does not move it.
    """
    return _digest({"id": live.raw.get("id"), **_judged(shape)})


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """The sections of two normalised live sides that differ as the fingerprint sees them, sorted."""
    then, now = _judged(before), _judged(after)
    for side in (then, now):
        tags = side.pop("tags", None) or {}
        side |= {section: tags[key] for section, key in marks.SECTIONS.items() if key in tags}
        if theirs := marks.without_marks(tags):
            side["tags"] = theirs
    return tuple(
        sorted(name for name in {**then, **now} if _digest(then.get(name)) != _digest(now.get(name)))
    )


def _judged(shape: Mapping[str, Any]) -> dict[str, Any]:
    known = {
        name: value
        for name, value in shape.items()
        if (field := fields().properties.get(name)) and not field.computed and not field.not_echoed
    }
    result: dict[str, Any] = _without_computed(fields(), known)
    return result


def _digest(value: Any) -> str:
    text = json.dumps(
        value, sort_keys=True, default=lambda item: item.digest if isinstance(item, Masked) else MASK
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _without_computed(field: schema.Field, value: Any) -> Any:
    if isinstance(value, Mapping) and field.properties:
        return {
            name: _without_computed(child, item)
            for name, item in value.items()
            if (child := field.properties.get(name)) and not child.computed and not is_empty(item)
        }
    if isinstance(value, list) and field.items is not None:
        items = [_without_computed(field.items, item) for item in value]
        # The order of an answer means nothing, and differs from one read to the next.
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True, default=str))
    return value


def is_empty(value: Any) -> bool:
    """Nothing that the API would tell from absence."""
    return value is None or value in ({}, [], "")


# ---- ownership ------------------------------------------------------------------------------------------


def _tags(live: Live) -> Mapping[str, Any]:
    tags = canonical(fields().properties["tags"], live.raw.get("tags"))
    return tags if isinstance(tags, Mapping) else {}


def owned_by(live: Live) -> str:
    """The stack whose tag it carries, "" when nobody's."""
    return str(_tags(live).get(STACK_TAG) or "")


def owner_change(resource: Resource, live: Live) -> FieldChange | None:
    """The tag that makes it a stack's, or nobody's."""
    return marks.owner_change(resource, _tags(live))


def is_protected(live: Live) -> bool:
    """It carries the tag of what may not be deleted."""
    return _tags(live).get(PROTECTED_TAG) == "true"


def protection_change(resource: Resource, live: Live) -> FieldChange | None:
    """The tag that protects it, written or taken away."""
    return marks.protection_change(resource, _tags(live))


# ---- state ----------------------------------------------------------------------------------------------


def status(raw: Mapping[str, Any]) -> tuple[Status, str]:
    """Where a live endpoint stands, and a line about it: the state, with the servers' own messages."""
    state = raw.get("state") or {}
    update, ready = state.get("config_update"), state.get("ready")
    messages = _deployment_messages(raw)
    if update == "IN_PROGRESS":
        return Status.WAITING, messages or ("updating" if ready == "READY" else "being created")
    if update in ("UPDATE_FAILED", "UPDATE_CANCELED"):
        what = "last update" if raw.get("config") else "creation"
        words = f"the {what} {'failed' if update == 'UPDATE_FAILED' else 'was cancelled'}"
        return Status.FAILED, f"{words}: {messages}" if messages else words
    if ready == "NOT_READY":
        # An endpoint without a configuration is complete as it stands: it serves nothing yet.
        if not raw.get("config") and not raw.get("pending_config"):
            return Status.READY, "no configuration yet"
        return Status.WAITING, messages or "not ready"
    return Status.READY, "ready"


def _deployment_messages(raw: Mapping[str, Any]) -> str:
    seen: dict[str, None] = {}
    for block in ("pending_config", "config"):
        config = raw.get(block) or {}
        for entity in config.get("served_entities") or config.get("served_models") or ():
            state = entity.get("state") or {}
            message = state.get("deployment_state_message")
            if message and state.get("deployment") != "DEPLOYMENT_READY":
                seen[f"{entity.get('name', '?')}: {message}"] = None
    return "; ".join(seen)


def notes(live: Live) -> tuple[str, ...]:
    """What a reader of the plan must know about the live side."""
    state, message = status(live.raw)
    if is_updating(live.raw):
        return ("an update is in progress: compared with the configuration that is being rolled out",)
    return (message,) if state is Status.FAILED else ()


def notice(action: Action, changes: Sequence[FieldChange]) -> str:
    """What callers of the endpoint will notice."""
    match action:
        case Action.CREATE:
            return "new endpoint; it answers once it is ready"
        case Action.DELETE:
            return "the endpoint is gone from the delete on"
        case Action.REPLACE:
            return "the endpoint is gone from the delete until the new one is ready; its id and URL change"
        case Action.UPDATE | Action.ADOPT:
            if any(change.path == ("config",) and change.before is None for change in changes):
                return "it answers once it is ready"
            if any(change.section == "config" for change in changes):
                return "the old configuration serves until the new one is ready"
            return "nothing: served without a break"
        case _:
            return "nothing"


def query_path(name: str) -> str:
    """The path of an endpoint's invocations, below the workspace's URL."""
    return f"/serving-endpoints/{quote(name, safe='')}/invocations"
