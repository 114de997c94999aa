"""What the last checks of drift saw, kept so that the next one need not look at everything again.

It is a cache and no state: who deletes it loses time and "since when". An endpoint is taken from it only
while the whole of its entry in LIST (``last_updated_timestamp`` among it) is what it was when the endpoint
was read. What cannot be read, or was written by another version, is no cache.

Nothing in it is a secret: what may hold one is a salted digest, as in a saved snapshot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from reconciler.engine.moments import age
from reconciler.engine.snapshot import snapshot_from_json, snapshot_to_json
from reconciler.errors import ReconcilerError
from reconciler.kinds.endpoint import is_updating
from reconciler.redact import Redactor
from reconciler.values import Address, Live, Snapshot

__all__ = [
    "Cache",
    "Held",
    "Sighting",
    "digest_of",
    "from_json",
    "is_moving",
    "is_settled",
    "kept",
    "sighted",
    "to_json",
]

FORMAT: Final = 1
_COARSE: Final = 2.0
"""Seconds: what was changed so shortly before it was read may have been changed again within the same second,
when that is all that the server's timestamp tells."""


@dataclass(frozen=True, slots=True)
class Held:
    """One endpoint as it was read. ``entry``: digest of its entry in LIST then; ``read_at``: RFC 3339, UTC.

    ``content``: the live side as a file has it, masked.
    """

    entry: str
    live: Live
    read_at: str
    content: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What checks saw of one resource. ``clean_at``: the last one that found it as declared, "" for never.

    ``fields``: path of what is drifted → the first check that saw it so ("" as path: all of it). ``id``: the
    server's id when it was last as declared, else when it was first seen.
    """

    clean_at: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Cache:
    """Everything that is kept for one target. ``salt``: of the digests; the same as long as it lives."""

    salt: str
    held: Mapping[Address, Held] = field(default_factory=dict)
    seen: Mapping[Address, Sighting] = field(default_factory=dict)


def digest_of(entry: Mapping[str, Any]) -> str:
    """Digest of an entry of LIST. The order of lists in an answer means nothing, and may change."""
    text = json.dumps(_ordered(entry), sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _ordered(item) for name, item in value.items()}
    if isinstance(value, list):
        return sorted(map(_ordered, value), key=lambda item: json.dumps(item, sort_keys=True, default=str))
    return value


def is_moving(entry: Mapping[str, Any]) -> bool:
    """Of this entry of LIST an update is running, or nobody can tell: answers are not trusted."""
    state = entry.get("state")
    return is_updating(entry) if isinstance(state, Mapping) else state is not None


def is_settled(entry: Mapping[str, Any], live: Live, read_at: str) -> bool:
    """A later entry that is the same as this one means that the endpoint is the same as this answer.

    Not while an update runs; not when LIST and GET speak of different states (one of them lags behind); and
    not when the timestamp tells whole seconds only, and the last change is just over.
    """
    if is_updating(live.raw) or is_moving(entry):
        return False
    both = [name for name in entry if name in live.raw and name not in ("config", "served_models")]
    stamps = ("id", "last_updated_timestamp")
    if not all(name in both for name in stamps):
        return False
    if digest_of({name: entry[name] for name in both}) != digest_of({name: live.raw[name] for name in both}):
        return False
    stamp = entry["last_updated_timestamp"]
    if not isinstance(stamp, int) or isinstance(stamp, bool):
        return False
    if stamp % 1000:
        return True
    read = datetime.fromisoformat(read_at).timestamp()
    return stamp / 1000 < read - _COARSE


def to_json(cache: Cache, *, target: str, program: str, redactor: Redactor) -> dict[str, Any]:
    """The cache, fit for a file. What ``redactor`` would change is left out: it would compare wrong."""
    fresh = [held.live for held in cache.held.values() if held.content is None]
    made = snapshot_to_json(_snapshot(target, fresh), salt=cache.salt)
    endpoints = {}
    for address, held in cache.held.items():
        content = held.content
        if content is None:
            content = made["resources"][str(address)]
            if redactor.value(content) != content:
                continue
        endpoints[str(address)] = {"entry": held.entry, "read_at": held.read_at, "live": content}
    return {
        "drift_cache": FORMAT,
        "program": program,
        "target": target,
        "salt": cache.salt,
        "endpoints": endpoints,
        "seen": {
            str(address): {"clean_at": one.clean_at, "fields": dict(one.fields), "id": one.id}
            for address, one in cache.seen.items()
        },
    }


def _snapshot(target: str, lives: Iterable[Live]) -> Snapshot:
    return Snapshot(target, "", {live.address: live for live in lives})


def from_json(content: Any, *, target: str, program: str, now: str) -> Cache | None:
    """Read back what :func:`to_json` wrote; None when it is anything else, or of another version or target.

    What this version has not written may still tell since when something is drifted, and nothing more.
    """
    try:
        if content["drift_cache"] != FORMAT or content["target"] != target:
            return None
        salt = content["salt"]
        if not isinstance(salt, str) or len(salt) < 16:
            return None
        seen = {
            Address.parse(text): Sighting(
                _moment(one["clean_at"], now),
                {str(path): _moment(at, now) for path, at in one["fields"].items()},
                str(one["id"]),
            )
            for text, one in content["seen"].items()
        }
        if content["program"] != program:
            return Cache(salt, {}, seen)
        endpoints = content["endpoints"]
        document = {
            "format_version": "1.0",
            "target": target,
            "taken_at": "",
            "salt": salt,
            "names": [],
            "resources": {text: one["live"] for text, one in endpoints.items()},
        }
        snapshot = snapshot_from_json(document, where="")
        held = {
            address: Held(str(one["entry"]), snapshot.resources[address], str(one["read_at"]), one["live"])
            for text, one in endpoints.items()
            if (address := Address.parse(text)).kind == "Endpoint"
        }
        return Cache(salt, held, seen)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, ReconcilerError):
        return None


def _moment(text: Any, now: str) -> str:
    """A moment that is past, "" for anything else: a clock that was put back must not tell of the future."""
    return str(text) if text and age(str(text), now) is not None else ""


def kept(
    cache: Cache, held: Mapping[Address, Held], looked: Collection[Address], listed: Iterable[Address]
) -> Mapping[Address, Held]:
    """What stays: ``held``, and of endpoints that were not ``looked`` at those that are still listed."""
    there = set(listed).difference(looked)
    return {**{a: one for a, one in cache.held.items() if a in there}, **held}


def sighted(
    seen: Mapping[Address, Sighting],
    drifted: Mapping[Address, Iterable[str]],
    clean: Iterable[Address],
    ids: Mapping[Address, str],
    now: str,
) -> dict[Address, Sighting]:
    """The sightings after this check: what is drifted keeps the moment at which it was first seen so."""
    after = dict(seen)
    for address in clean:
        after[address] = Sighting(now, {}, ids.get(address, ""))
    for address, paths in drifted.items():
        before = seen.get(address, Sighting())
        fields = {path: before.fields.get(path) or now for path in paths}
        after[address] = replace(before, fields=fields, id=before.id or ids.get(address, ""))
    return after
