"""Kind ``Deployment``: a deployment of a target that speaks mlflow's deployments API (a plugin).

What such a target answers has a shape of its own; only what can be found in it again is compared, and the
rest is left out with its reason. Facts: mlflow.deployments.BaseDeploymentClient (create_deployment,
update_deployment, delete_deployment, get_deployment; every returned dict holds ``name``).

Ownership. The API has no place for a marker. A plugin that keeps tags says so (``keeps_tags`` of our base
class): there the stack's name is one more tag, written on create and compared like any other. Of the
published plugins that were looked at none gives tags back: mlflow's SageMaker client takes them, and does not
tell them (mlflow 3.17).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler.values import (
    MASK,
    STACK_TAG,
    Action,
    Call,
    FieldChange,
    FieldPath,
    Live,
    Masked,
    Resource,
    Secret,
    Skipped,
    Status,
)

__all__ = [
    "KIND",
    "MARKED",
    "calls",
    "comparable",
    "fingerprint",
    "kept_as_told",
    "marked",
    "moved",
    "normalise",
    "notes",
    "notice",
    "owned_by",
    "owner_of",
    "status",
    "told_config",
    "with_their_tags",
]

KIND: Final = "Deployment"
MARKED: Final = "plugin+tags"
"""Dialect of a plugin's target that keeps tags: resources of it bear the marker of their stack."""
_TOP: Final = ("model_uri", "flavor")


def normalise(live: Live) -> dict[str, Any]:
    """The answer in the shape of a spec: ``model_uri`` and ``flavor`` where they stand, and as ``config``
    everything of the answer's own ``config``, or of the answer itself when it has none."""
    raw = live.raw
    shape: dict[str, Any] = {name: raw[name] for name in _TOP if isinstance(raw.get(name), str)}
    shape["config"] = told_config(live, without=_TOP)
    return shape


def told_config(live: Live, without: Sequence[str] = ()) -> dict[str, Any]:
    """The answer's own ``config``, or the answer itself when it has none; with the tags that stand beside it,
    where they are known to be those that were sent."""
    raw = live.raw
    config = raw.get("config")
    told = config if isinstance(config, Mapping) else {k: v for k, v in raw.items() if k not in without}
    found = {str(key): value for key, value in told.items() if key != "name"}
    beside = raw.get("tags")
    if isinstance(beside, Mapping) and (live.address.dialect == MARKED or STACK_TAG in beside):
        found.setdefault("tags", beside)
    return found


def marked(resource: Resource, stack: str) -> Resource:
    """The resource with the marker of its stack among its tags; as it is when these are no map."""
    spec = dict(resource.spec)
    config = dict(spec.get("config") or {}) if resource.address.kind == KIND else spec
    tags = config.get("tags") or {}
    if not isinstance(tags, Mapping):
        return resource
    config["tags"] = {**tags, STACK_TAG: stack}
    return replace(resource, spec={**spec, "config": config} if resource.address.kind == KIND else config)


def owner_of(shape: Mapping[str, Any], mine: str) -> str:
    """The stack whose marker a live resource bears, by its normalised answer: "" without one, ``mine`` also
    when that is all that can be told of a saved snapshot's digest."""
    config = shape.get("config")
    tags = config.get("tags") if isinstance(config, Mapping) else None
    marker = tags.get(STACK_TAG) if isinstance(tags, Mapping) else None
    if isinstance(marker, Masked) and marker.matches(mine):
        return mine
    return str(marker or "")


def owned_by(live: Live) -> str | Masked:
    """The stack whose marker it bears, where the plugin says that it keeps tags; "" when nobody's."""
    tags = told_config(live).get("tags") if live.address.dialect == MARKED else None
    marker = tags.get(STACK_TAG) if isinstance(tags, Mapping) else None
    return marker if isinstance(marker, Masked) else str(marker or "")


def with_their_tags(config: Mapping[str, Any], live: Live | None) -> dict[str, Any]:
    """What an update sends: where the manifest writes no tags, what is there stays beside the marker."""
    theirs = told_config(live).get("tags") if live is not None else None
    if set(config.get("tags") or ()) != {STACK_TAG} or not isinstance(theirs, Mapping):
        return dict(config)
    return {**config, "tags": {**theirs, **config["tags"]}}


def kept_as_told(resource: Resource, written: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """What an update sends: as written, and what is ignored as the target tells it. An update may set all
    that it is sent: the manifest's value would undo what was to be left alone."""
    patterns = [FieldPath.parse(text) for text in resource.lifecycle.ignore_changes]
    return _kept(written, told, patterns, FieldPath()) if patterns else dict(written)


def _kept(
    written: Mapping[str, Any], told: Mapping[str, Any], patterns: Sequence[FieldPath], path: FieldPath
) -> dict[str, Any]:
    kept = dict(written)
    for name, mine in written.items():
        theirs, where = told.get(name), path / str(name)
        if isinstance(mine, Mapping):
            if isinstance(theirs, Mapping):
                kept[name] = _kept(mine, theirs, patterns, where)
        elif isinstance(mine, Secret) or not _same_sort(mine, theirs):
            continue
        elif any(pattern.covers(where) for pattern in patterns):
            kept[name] = theirs if type(mine) is type(theirs) else _as_told(mine, theirs)
    return kept


def _tags_compared(wanted: Mapping[str, Any], told: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer's tags as far as they are this manifest's affair."""
    mine, theirs = wanted.get("tags"), told.get("tags", {})
    if not (isinstance(mine, Mapping) and isinstance(theirs, Mapping)):
        return told
    if STACK_TAG not in mine:
        seen = {key: value for key, value in theirs.items() if key != STACK_TAG}
        return {**told, "tags": seen} if "tags" in told else told
    if set(mine) == {STACK_TAG}:
        theirs = {key: value for key, value in theirs.items() if key == STACK_TAG}
    return {**told, "tags": theirs}


def comparable(
    resource: Resource, live: Live, shape: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]:
    """What both sides hold in one shape. A key of ``config`` that the answer lacks, or holds as another
    sort of value, cannot be compared; one that only the answer has is the target's own."""
    desired = dict(resource.spec)
    theirs = {name: shape[name] for name in _TOP if name in shape}
    wanted: Mapping[str, Any] = resource.spec.get("config") or {}
    told = _tags_compared(wanted, shape["config"])
    found = {key: told[key] for key, value in wanted.items() if key in told and _same_sort(value, told[key])}
    if wanted:
        desired["config"] = {k: _told_as(v, found[k]) if k in found else v for k, v in wanted.items()}
        theirs["config"] = found
    return desired, theirs, []


def _same_sort(mine: Any, theirs: Any) -> bool:
    """Both are values of one sort; a number or a truth that the target tells as text is one too."""
    if isinstance(mine, (dict, list)) or isinstance(theirs, (dict, list)):
        return type(mine) is type(theirs)
    if isinstance(theirs, Masked):
        return isinstance(mine, (str, Secret))
    if isinstance(mine, Secret):
        return isinstance(theirs, str) and set(theirs) != {"*"}
    return theirs is not None and (type(mine) is type(theirs) or _as_told(mine, theirs) is not None)


def _told_as(mine: Any, theirs: Any) -> Any:
    """My value as the target would tell it."""
    if isinstance(mine, Secret) or type(mine) is type(theirs):
        return mine
    said = _as_told(mine, theirs)
    return theirs if said == mine else mine


def _as_told(mine: Any, theirs: Any) -> Any:
    """The target's text as a value of my sort; None when it is none."""
    if not isinstance(theirs, str):
        return theirs if isinstance(mine, (int, float)) and isinstance(theirs, (int, float)) else None
    try:
        if isinstance(mine, bool):
            return {"true": True, "false": False}.get(theirs.lower())
        return type(mine)(theirs) if isinstance(mine, (int, float)) else None
    except ValueError:
        return None


def fingerprint(live: Live, shape: Mapping[str, Any]) -> str:
    """Digest of what a plan may be judged by. Answers hold times and counters: only the model, its flavor,
    the values of the answer's own ``config``, and tags count."""
    config = shape["config"]
    judged = config if "config" in live.raw else {key: config[key] for key in ("tags",) if key in config}
    return _digest({**_judged(shape), "config": judged})


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between two normalised answers."""
    names = sorted({*before, *after})
    return tuple(name for name in names if _digest(before.get(name)) != _digest(after.get(name)))


def _judged(shape: Mapping[str, Any]) -> dict[str, Any]:
    return {name: shape[name] for name in _TOP if name in shape}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=lambda item: MASK).encode()).hexdigest()


def status(raw: Mapping[str, Any]) -> tuple[Status, str]:
    """The API has no state: create and update return when the target is done."""
    return Status.READY, "ready"


def notes(live: Live) -> tuple[str, ...]:
    """Nothing beyond what the fields say."""
    return ()


def notice(action: Action, changes: Sequence[FieldChange]) -> str:
    """What callers of the deployment will notice."""
    match action:
        case Action.CREATE:
            return "new deployment"
        case Action.UPDATE | Action.ADOPT:
            return "what the target does while it updates a deployment"
        case Action.DELETE:
            return "the deployment is gone from the delete on"
        case _:
            return "nothing"


def query_path(name: str) -> str:
    """A plugin's deployment has no URL that is known here."""
    return ""


def calls(
    resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
) -> tuple[Call, ...]:
    """One call for a step; an update sends what is written, for what the target lacks it cannot be asked."""
    name = resource.address.name
    spec = resource.spec
    where = {"endpoint": spec["endpoint"]} if spec.get("endpoint") else {}
    arguments: dict[str, Any] = {"name": name}
    if action in (Action.CREATE, Action.UPDATE, Action.ADOPT):
        arguments |= {
            key: spec[key] for key in ("model_uri", "flavor", "config") if spec.get(key) is not None
        }
    if action in (Action.UPDATE, Action.ADOPT):
        arguments = kept_as_told(resource, arguments, normalise(live)) if live is not None else arguments
        if "config" in arguments:
            arguments["config"] = with_their_tags(arguments["config"], live)
    operation = {
        Action.CREATE: "create_deployment",
        Action.UPDATE: "update_deployment",
        Action.ADOPT: "update_deployment",
        Action.DELETE: "delete_deployment",
    }.get(action)
    if operation is None:
        return ()
    body = {key: value for key, value in arguments.items() if key != "name"} | where
    # Not HTTP: the plugin decides how. The verb says what kind of write it is, the path which method.
    verb = {"create_deployment": "POST", "update_deployment": "PUT", "delete_deployment": "DELETE"}[operation]
    return (Call(operation, arguments | where, verb, f"{operation}/{name}", body or None),)
