"""The live side of a config-file gateway: its file, and one list of what it serves.

The file is what is compared, for it is the write path and what the gateway starts from. The list tells
whether the gateway serves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import TargetError
from reconciler.kinds.file_endpoint import CONFIG_FILE
from reconciler.kinds.file_parts import DIALECT
from reconciler.kinds.file_providers import CREDENTIALS, PUBLIC
from reconciler.values import Address, Live, Resource, Secret, Snapshot, Source

__all__ = ["live_of", "lives_in_file", "read_file", "read_file_one", "routes_of"]


def lives_in_file(resources: Iterable[Resource]) -> bool:
    """These resources are kept in a gateway's file."""
    return any(resource.address.dialect == DIALECT for resource in resources)


def read_file(client: Any, desired: Sequence[Resource], *, target: str, taken_at: str) -> Snapshot:
    """The file, one list, and one request for each declared endpoint that is a route there.

    A gateway that does not answer is no error: the file is what counts. Raises UsageError when that cannot be
    read.
    """
    view = client.read_config()
    found = _Found(view, desired)
    gaps: Mapping[str, str] = {}
    silence = ""
    try:
        gaps = client.gaps(view.entries, routes_of(view.entries, found.names()))
    except TargetError as error:
        silence = error.what
    live = {r.address: one for r in desired if (one := found.live(r, gaps, silence)) is not None}
    paths = {resource.kept_in for resource in desired}
    ids = {Address(CONFIG_FILE, path): view.digest for path in paths}
    names = tuple(sorted(Address("GatewayEndpoint", e.name) for e in view.entries if not e.part_of))
    return Snapshot(target, taken_at, live, names=names, ids=ids)


def read_file_one(client: Any, resource: Resource) -> Live | None:
    """One endpoint as it is in the file now; what the gateway serves is not asked."""
    return _Found(client.read_config(), [resource]).live(resource, {}, "")


def live_of(view: Any, name: str, models: Sequence[str], stack: str) -> Live:
    """The entries of an endpoint of these models that is known by its name in the file alone."""
    spec = {"models": [{"model": model} for model in models]}
    address = Address("GatewayEndpoint", name, DIALECT)
    resource = Resource(address, spec, Source("", 0), stack=stack)
    live = _Found(view, [resource]).live(resource, {}, "")
    assert live is not None
    return live


def routes_of(entries: Iterable[Any], names: Iterable[str]) -> list[str]:
    """Those of the names that are routes of the file."""
    known = {entry.name for entry in entries if entry.kind == "routes"}
    return [name for name in names if name in known]


@dataclass(slots=True)
class _Found:
    """A view of the file as the desired resources see it."""

    view: Any
    desired: Sequence[Resource]

    def names(self) -> list[str]:
        """Every name that a desired endpoint may have in the file."""
        return [n for r in self.desired for n in (r.address.name, r.lifecycle.moved_from) if n]

    def live(self, resource: Resource, gaps: Mapping[str, str], silence: str) -> Live | None:
        """The entries of one endpoint, None when there is none."""
        by_name = {entry.name: entry for entry in self.view.entries}
        for name in filter(None, (resource.address.name, resource.lifecycle.moved_from)):
            main = by_name.get(name)
            models = resource.spec["models"]
            wanted = {f"{name}.{model['model']}" for model in models} if len(models) > 1 else set()
            parts = [e for e in by_name.values() if e.part_of == name or (e.name in wanted and e is not main)]
            if main is not None or parts:
                break
        else:
            return None
        known = {text for model in models for text in (model.get("config") or {}).values()}
        ours = [*([main] if main else ()), *parts]
        raw: dict[str, Any] = {
            "name": name,
            "digest": self.view.digest,
            "owner": _owner(ours, resource.stack),
            "main": None if main is None else _raw(main, known),
            "parts": [_raw(part, known) for part in parts],
        }
        if main is not None and main.kind == "routes":
            led_to = [str(d.get("name")) for d in main.content.get("destinations") or ()]
            raw["behind"] = {n: _safe(by_name[n].content, known) for n in led_to if n in by_name}
        if users := self._users(ours):
            raw["used_by"] = users
        names = {entry.name for entry in ours}
        if gap := {n: words for n, words in gaps.items() if n in names}:
            raw["gap"] = gap
        if silence:
            raw["silence"] = silence
        return Live(resource.address, raw)

    def _users(self, ours: Sequence[Any]) -> tuple[str, ...]:
        """Routes of others that lead to one of these entries."""
        names = {entry.name for entry in ours}
        return tuple(
            f"route {entry.name}"
            for entry in self.view.entries
            if entry.kind == "routes" and entry.name not in names
            if names & {str(d.get("name")) for d in entry.content.get("destinations") or ()}
        )


def _owner(entries: Sequence[Any], stack: str) -> str:
    """Whose the entries are together: a stack that is not this one goes first, then nobody."""
    owners = {entry.stack for entry in entries}
    others = sorted(owners - {stack, ""})
    return others[0] if others else "" if "" in owners else stack


def _raw(entry: Any, known: set[Any]) -> dict[str, Any]:
    return {"kind": entry.kind, "name": entry.name, "content": _safe(entry.content, known)}


_KEPT = ("endpoint_type", "task_type", "routing_strategy", "destinations", "limit")


def _safe(content: Mapping[str, Any], known: set[Any]) -> dict[str, Any]:
    """What an entry's content is compared by; a credential that is written out in it becomes a Secret."""
    safe = {name: content[name] for name in _KEPT if name in content}
    model = content.get("model")
    if isinstance(model, Mapping):
        safe["model"] = {name: model[name] for name in ("provider", "name") if name in model}
        config = model.get("config")
        if isinstance(config, Mapping):
            safe["model"]["config"] = {key: _veiled(str(key), value, known) for key, value in config.items()}
    return safe


def _veiled(key: str, value: Any, known: set[Any]) -> Any:
    """The gateway's own rule: ``$NAME`` is a variable, what names a file is that file, else it is the key."""
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    if key in PUBLIC and not isinstance(value, (Mapping, list)):
        return Secret(text) if "@" in text else value
    if key in CREDENTIALS and (text in known or text.startswith("$") or _is_file(text)):
        return value
    return Secret(text)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_absolute() and Path(text).is_file()
    except (OSError, ValueError):
        return False
