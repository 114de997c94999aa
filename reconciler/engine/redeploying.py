"""What a target tells in a shape of its own, as a spec that can be sent again. Pure.

An endpoint of a gateway's configuration file is told whole, but for credentials that are written out there. A
plugin's deployment is told as its target likes: what is not told is taken from the manifest, or named as
lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.engine.filling import Filler
from reconciler.kinds import references
from reconciler.kinds.file_endpoint import HIDDEN
from reconciler.values import MASK, STACK_TAG, FieldPath, Masked, Resource, Snapshot

__all__ = ["deployment_spec", "file_spec", "standing"]

_TOP = ("model_uri", "flavor")
_UNTOLD = "its target does not tell config.{}: the old value is lost"


def file_spec(shape: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The spec of a file's endpoint from what it was, and why there is none ("" when there is one)."""
    models = shape.get("models") or ()
    if not shape.get("endpoint_type") or not models:
        return {}, "the file did not say all of it"
    for model in models:
        if not model.get("provider") or not model.get("model_name"):
            return {}, "the file did not say all of its models"
        if HIDDEN in (model.get("config") or {}).values():
            return {}, "a credential was written out in the file, and is on no record"
    is_split = len(models) > 1
    strategy = "TRAFFIC_SPLIT" if is_split else None
    limit = None if is_split else shape.get("limit")
    return {**shape, "limit": limit, "routing_strategy": strategy}, ""


def deployment_spec(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    wanted: Mapping[str, Any],
    changed: Sequence[str] | None,
) -> tuple[dict[str, Any] | None, list[str]]:
    """The spec of a deployment as it was, None when it cannot be put back; and what of it is lost.

    ``before``, ``now``: what the target told and tells, normalised; ``wanted``: the manifest's spec, empty
    without one; ``changed``: the paths that the run changed, None when it deleted all of it.
    """
    spec: dict[str, Any] = {name: wanted[name] for name in ("endpoint",) if name in wanted}
    lost: list[str] = []
    touched = [FieldPath.parse(path) for path in changed or ()]
    for name in _TOP:
        if changed is not None and not any(path[0] == name for path in touched):
            continue
        if name in before:
            spec[name] = before[name]
        elif changed is not None:
            lost.append(f"its target does not tell {name}: the old value is lost")
        elif name in wanted:
            spec[name] = wanted[name]
            lost.append(f"its target does not tell {name}: the manifest's is sent")
    if changed is None and "model_uri" not in spec:
        return None, [
            *lost,
            "it cannot come back: its target does not tell model_uri, and no manifest names it",
        ]
    keys = {str(path[1]) for path in touched if path[0] == "config" and len(path) > 1}
    sides = [side.get("config") or {} for side in (before, now, wanted)]
    told, tells, written = sides
    config: dict[str, Any] = {}
    for key in sorted({*keys, *written}):
        # What the run did not change is sent as it is: an update of some targets replaces all of it.
        is_old = changed is None or key in keys
        value = _plain(key, told if is_old else tells, tells, written)
        if value is None and key in written and (changed is None or not is_old):
            value = written[key]
            if changed is None:
                lost.append(f"its target does not tell config.{key}: the manifest's is sent")
        if value is None:
            lost.append(
                f"the old value of config.{key} is not on record" if key in told else _UNTOLD.format(key)
            )
            keys.discard(key)
            value = _plain(key, tells, tells, written) if changed is not None else None
        if value is not None:
            config[key] = _unmarked(value) if key == "tags" else value
    if config:
        spec["config"] = config
    is_something = any(name in spec for name in (*_TOP, "config"))
    restored = changed is None or any(name in spec for name in _TOP) or bool(keys & set(config))
    return (spec if is_something and restored else None), lost


def standing(
    restored: Sequence[Resource], deleted: Sequence[Resource], live: Snapshot
) -> tuple[tuple[Resource, ...], list[str]]:
    """Those that name nothing but what is live or comes back, too; and a sentence on each of the others."""
    kept = list(restored)
    notes: list[str] = []
    there = {address for address, live_id in live.ids.items() if live_id} | {*live.resources}
    there -= {resource.address for resource in deleted}
    while True:
        known = there | {resource.address for resource in kept}
        lost = {r.address: [o.address for o in references(r) if o.address not in known] for r in kept}
        lost = {address: missing for address, missing in lost.items() if missing}
        if not lost:
            return tuple(kept), notes
        for address, missing in lost.items():
            notes.append(
                f"{address} cannot be undone: it needs {', '.join(map(str, missing))}, which is gone"
            )
        kept = [resource for resource in kept if resource.address not in lost]


def _plain(key: str, side: Mapping[str, Any], now: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
    """One value of a config, None when it is not known. A digest is known where it is that of a value that
    the target tells now, or of the manifest's."""
    filler = Filler()
    value = filler.filled(None, side.get(key), now.get(key), wanted.get(key), FieldPath((key,)))
    return None if filler.lost or _is_veiled(value) else value


def _is_veiled(value: Any) -> bool:
    """It is a digest, or a mask, or has one inside: nothing that can be sent."""
    if isinstance(value, Mapping):
        return any(map(_is_veiled, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_is_veiled, value))
    return isinstance(value, Masked) or (isinstance(value, str) and MASK in value)


def _unmarked(tags: Any) -> Any:
    """Tags without the mark of a stack, which is put there anew."""
    return {k: v for k, v in tags.items() if k != STACK_TAG} if isinstance(tags, Mapping) else tags
