"""The calls of kind ``Endpoint``: fewest, in order, as data; and the section as it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from reconciler import schema
from reconciler.kinds import endpoint, marks
from reconciler.shape import canonical, item_key
from reconciler.values import Action, Call, FieldChange, FieldPath, ItemKey, Live, Resource, Secret

__all__ = ["calls", "delete", "variant"]

_API: Final = "/api/2.0/serving-endpoints"
_PERMISSIONS: Final = "/api/2.0/permissions/serving-endpoints"

# Section → what changes it. The order is the order of the calls: the configuration first, and once it is live
# the rest; telemetry is refused during an update, permissions need the live id (reference, section 5).
_ORDER: Final = (
    "config",
    "tags",
    "rate_limits",
    "ai_gateway",
    "email_notifications",
    "telemetry_config",
    "permissions",
)

# ---- calls ----------------------------------------------------------------------------------------------


def calls(
    resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
) -> tuple[Call, ...]:
    """The exact calls of a step, fewest and in order. ``live`` is None when the endpoint does not exist."""
    match action:
        case Action.CREATE:
            return _create(resource)
        case Action.DELETE:
            return (delete(resource.address.name),)
        case Action.REPLACE:
            return (delete(resource.address.name), *_create(resource))
        case Action.UPDATE | Action.ADOPT:
            assert live is not None
            return tuple(_update(resource, live, changes))
        case _:
            return ()


def delete(name: str) -> Call:
    """The call that deletes an endpoint."""
    return Call("delete_endpoint", {"endpoint": name}, "DELETE", f"{_API}/{quote(name, safe='')}")


def variant(spec: Mapping[str, Any]) -> str:
    """Which API makes this endpoint: "standard" or "pt" (provisioned throughput by model units)."""
    config = canonical(endpoint.fields().properties["config"], dict(spec.get("config") or {}))
    entity = endpoint.fields().at("config", "served_entities", 0)
    assert entity is not None
    marks = {name: child.variant for name, child in entity.properties.items() if child.variant}
    for item in config.get("served_entities") or ():
        for name, mark in marks.items():
            if isinstance(item, Mapping) and item.get(name) is not None:
                return mark
    return "standard"


def _create(resource: Resource) -> tuple[Call, ...]:
    kind = variant(resource.spec)
    body: dict[str, Any] = {"name": resource.address.name}
    for name, value in resource.spec.items():
        section = endpoint.fields().properties.get(name)
        accepted = section is None or kind in section.create
        if accepted and not endpoint.is_empty(value):
            body[name] = _as_pairs(section, value)
    if ours := {key: value for key, value in marks.wanted(resource).items() if value is not None}:
        # What marks it as its stack's goes with the create itself: no call more, and no moment without it.
        field = endpoint.fields().properties["tags"]
        theirs = canonical(field, resource.spec.get("tags")) or {}
        body["tags"] = _as_pairs(field, {**theirs, **ours})
    operation, path = (
        ("create_provisioned_throughput_endpoint", f"{_API}/pt")
        if kind == "pt"
        else ("create_endpoint", _API)
    )
    made = [Call(operation, {"config": body}, "POST", path, body, section="", waits=True)]
    grants = resource.spec.get("permissions")
    if grants:
        # Adding is enough on a new endpoint, and leaves the creator's own grant alone.
        config = {"access_control_list": list(grants)}
        made.append(
            Call(
                "update_endpoint_permissions",
                {"endpoint_id": "{id}", "config": config},
                "PATCH",
                f"{_PERMISSIONS}/{{id}}",
                config,
                section="permissions",
            )
        )
    return tuple(made)


def _as_pairs(section: schema.Field | None, value: Any) -> Any:
    """A map in the API's own form, a list of pairs."""
    if section is None or section.pairs is None or not isinstance(value, Mapping):
        return value
    return [_pair(section.pairs, key, item) for key, item in canonical(section, value).items()]


def _pair(words: Mapping[str, str], key: str, value: Any) -> dict[str, Any]:
    return {words["key"]: key, words["value"]: value} if value != "" else {words["key"]: key}


def _update(resource: Resource, live: Live, changes: Sequence[FieldChange]) -> Iterable[Call]:
    name = resource.address.name
    base = f"{_API}/{quote(name, safe='')}"
    by_section: dict[str, list[FieldChange]] = {}
    for change in changes:
        by_section.setdefault(change.section, []).append(change)
    for section in _ORDER:
        mine = [name for name in marks.SECTIONS if section == "tags" and name in by_section]
        if section not in by_section and not mine:
            continue
        written = kept_as_live(resource, live, section)
        match section:
            case "config" if variant(resource.spec) == "pt":
                body: dict[str, Any] = {"config": written}
                yield _put(
                    "update_provisioned_throughput_endpoint_config",
                    name,
                    f"{_API}/pt/{quote(name, safe='')}/config",
                    body,
                    section,
                )
            case "config":
                yield _put("update_endpoint_config", name, f"{base}/config", written, section)
            case "tags":
                # What marks it as ours goes with the tags that change anyway.
                sections = [s for s in ("tags", *mine) if s in by_section]
                body = _tag_changes([change for s in sections for change in by_section[s]])
                call = _call("update_endpoint_tags", name, "PATCH", f"{base}/tags", body, sections[0])
                yield replace(call, also=tuple(sections[1:]))
            case "rate_limits":
                body = {"rate_limits": written or []}
                yield _call("update_endpoint_rate_limits", name, "PUT", f"{base}/rate-limits", body, section)
            case "ai_gateway":
                yield _call(
                    "update_endpoint_ai_gateway", name, "PUT", f"{base}/ai-gateway", written or {}, section
                )
            case "email_notifications":
                removed: dict[str, list[str]] = {
                    str(c.path[1]): [] for c in by_section[section] if len(c.path) > 1 and not c.after
                }
                if not written:
                    removed = {key: [] for key in endpoint.normalise(live).get(section) or {}}
                body = {section: {**removed, **(written or {})}}
                yield _call(
                    "update_endpoint_notifications", name, "PATCH", f"{base}/notifications", body, section
                )
            case "telemetry_config":
                body = {section: written} if written else {}
                yield Call(
                    "update_endpoint_telemetry",
                    {"endpoint": name, "config": body},
                    "PATCH",
                    f"{base}/telemetry-config",
                    body,
                    section=section,
                    waits=True,
                    needs_settled=True,
                )
            case "permissions":
                grants = [*(written or ()), *endpoint.kept_grants(live, resource.spec)]
                body = {"access_control_list": grants}
                live_id = str(live.raw.get("id", ""))
                yield Call(
                    "set_endpoint_permissions",
                    {"endpoint_id": live_id, "config": body},
                    "PUT",
                    f"{_PERMISSIONS}/{quote(live_id, safe='')}",
                    body,
                    section=section,
                )


def _put(operation: str, name: str, path: str, body: Any, section: str) -> Call:
    arguments = {"endpoint": name, "config": body}
    return Call(operation, arguments, "PUT", path, body, section=section, waits=True, needs_settled=True)


def _call(operation: str, name: str, method: str, path: str, body: Any, section: str) -> Call:
    return Call(operation, {"endpoint": name, "config": body}, method, path, body, section=section)


def _tag_changes(changes: Sequence[FieldChange]) -> dict[str, Any]:
    pairs = endpoint.fields().properties["tags"].pairs
    assert pairs is not None
    body: dict[str, Any] = {}
    after = {marks.SECTIONS.get(c.section) or str(c.path[1]): c.after for c in changes}
    added = [_pair(pairs, key, value) for key, value in after.items() if value is not None]
    deleted = [key for key, value in after.items() if value is None]
    if added:
        body["add_tags"] = added
    if deleted:
        body["delete_tags"] = deleted
    return body


# ---- ignore_changes ---------------------------------------------------------------------------------------


def kept_as_live(resource: Resource, live: Live, section: str) -> Any:
    """The section as written, with ignored fields as the live side has them.

    A PUT replaces its whole section: sending the manifest's value of an ignored field would undo what the
    user asked to leave alone. A live value that may not be sent beside what is written stays out
    (terraform-provider-databricks#5111).
    """
    written = resource.spec.get(section)
    patterns = [FieldPath.parse(text) for text in resource.lifecycle.ignore_changes]
    patterns = [p for p in patterns if p[0] == section and len(p) > 1]
    if not patterns or not isinstance(written, (Mapping, list)):
        return written
    theirs = endpoint.normalise(live).get(section)
    return _merged(endpoint.fields().properties[section], written, theirs, FieldPath((section,)), patterns)


def _merged(
    field: schema.Field, written: Any, theirs: Any, path: FieldPath, patterns: Sequence[FieldPath]
) -> Any:
    if isinstance(written, list) and field.items is not None and isinstance(theirs, list):
        if not field.is_keyed:
            return written
        spelled = [canonical(field.items, item) for item in written]
        by_key = {item_key(field, item)[0]: item for item in theirs}
        keys = [item_key(field, item)[0] for item in spelled]
        return [
            _merged(field.items, item, by_key.get(key, {}), path / ItemKey(key), patterns)
            for key, item in zip(keys, written, strict=True)
        ]
    if not isinstance(written, Mapping) or not isinstance(theirs, Mapping):
        return written
    result: dict[str, Any] = {}
    mains = {field.aliases.get(name, name): name for name in written}
    for name in [*written, *(n for n in theirs if n not in mains)]:
        main = field.aliases.get(name, name)
        child = field.properties.get(name) or field.properties.get(main)
        where = path / main
        if any(p.covers(where) for p in patterns) and not isinstance(written.get(name), Secret):
            clashes = child is not None and any(
                written.get(other) is not None for other in child.conflicts_with
            )
            if main in theirs and not clashes and not (child is not None and child.computed):
                result[name] = theirs[main]
            elif name in written and main not in theirs:
                continue
        elif name in written:
            value = written[name]
            result[name] = (
                value if child is None else _merged(child, value, theirs.get(main), where, patterns)
            )
    return result
