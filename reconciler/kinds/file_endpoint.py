"""Kind ``GatewayEndpoint`` in the configuration file of a gateway.

One model: an entry of ``endpoints``. Several: an entry for each of them, called ``NAME.MODEL``, and one of
``routes`` that splits the traffic among them (mlflow 3.17, mlflow/gateway/config.py). The live side (``raw``)
is what :mod:`reconciler.engine.file_reader` found of it: ``main`` and ``parts`` are entries of the file,
``behind`` what a route leads to, ``owner`` the stack whose mark they carry, ``digest`` the file's, ``gap``
and ``silence`` what the gateway itself says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from reconciler.kinds import gateway
from reconciler.kinds.file_providers import CREDENTIALS, PUBLIC, is_default
from reconciler.kinds.gateway import OWNER, digest, moved
from reconciler.values import (
    Action,
    Address,
    Call,
    FieldChange,
    FieldPath,
    ItemKey,
    Live,
    LiveId,
    Masked,
    Resource,
    Secret,
    Skipped,
    Status,
)

__all__ = ["CONFIG_FILE", "HIDDEN", "UNSERVED", "moved"]

CONFIG_FILE: Final = "ConfigFile"
"""Kind of the address whose id is the file's digest."""
HIDDEN: Final = "(a literal value)"
"""Stands for a credential that is written out in the file."""
UNSERVED: Final = "the gateway does not serve what its file says"
"""How the note about that begins."""
_RELOAD: Final = "all endpoints of this gateway pause for some seconds while it reads its file again"
_Raw = Mapping[str, Any]


# ---- one shape ------------------------------------------------------------------------------------------


def normalise(live: Live) -> dict[str, Any]:
    """The entries in the shape of ``ConfigFileEndpoint``. Credentials that are written out are never in
    it."""
    main: _Raw = live.raw.get("main") or {}
    content: _Raw = main.get("content") or {}
    shape: dict[str, Any] = {}
    if main.get("kind") == "routes":
        shape |= {"endpoint_type": content.get("task_type"), "routing_strategy": "TRAFFIC_SPLIT"}
        shape["models"] = [
            {"model": _model_of(live, str(d.get("name"))), "weight": d.get("traffic_percentage")}
            | _inside((live.raw.get("behind") or {}).get(str(d.get("name"))) or {})
            for d in content.get("destinations") or ()
        ]
    elif main:
        inside = _inside(content)
        shape |= {"endpoint_type": content.get("endpoint_type"), "limit": _limit(content.get("limit"))}
        shape["models"] = [{"model": str(inside.get("model_name", "?")), "weight": 100, **inside}]
    led_to = {str(d.get("name")) for d in content.get("destinations") or ()}
    left = [part for part in live.raw.get("parts") or () if part["name"] not in led_to]
    for part in left:  # it answers under its own name, and gets nothing of the traffic
        one = {"model": _model_of(live, str(part["name"])), "weight": 0, **_inside(part["content"])}
        shape["models"] = [*shape.get("models", ()), one]
    return {name: value for name, value in shape.items() if value not in (None, {}, [])}


def _model_of(live: Live, name: str) -> str:
    return name.removeprefix(f"{name_of(live.raw)}.")


def _limit(limit: Any) -> dict[str, Any] | None:
    if not isinstance(limit, Mapping):
        return None
    return {name: limit[name] for name in ("calls", "renewal_period") if limit.get(name) is not None}


def _inside(content: _Raw) -> dict[str, Any]:
    model: _Raw = content.get("model") or {}
    config: _Raw = model.get("config") or {}
    shown = {str(key): _shown(str(key), value) for key, value in config.items() if not is_default(key, value)}
    inside = {"provider": model.get("provider"), "model_name": model.get("name"), "config": shown}
    return {name: value for name, value in inside.items() if value not in (None, {})}


def _shown(key: str, value: Any) -> Any:
    if isinstance(value, (Secret, Masked, Mapping, list)):
        return HIDDEN
    if key in PUBLIC or isinstance(value, bool):
        return value if isinstance(value, (str, int)) else str(value)
    text = str(value)
    is_reference = key in CREDENTIALS and text.startswith(("$", "/"))
    return text if is_reference else HIDDEN


def comparable(
    resource: Resource, live: Live, shape: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], list[Skipped]]:
    """Both sides in one shape. The file does not say which GatewayModel an entry is of: the one that fits it
    best."""
    desired, theirs = dict(resource.spec), dict(shape)
    if (live.raw.get("main") or {}).get("kind") == "endpoints":
        first, *others = theirs["models"]
        theirs["models"] = [{**first, "model": _best(desired["models"], first)}, *others]
    return desired, theirs, []


def _best(models: Sequence[_Raw], found: _Raw) -> str:
    for names in (("provider", "model_name", "config"), ("provider", "model_name")):
        for model in models:
            if all((model.get(name) or None) == found.get(name) for name in names):
                return str(model["model"])
    return str(models[0]["model"] if len(models) == 1 else found["model"])


# ---- what is known of it --------------------------------------------------------------------------------


def id_of(raw: _Raw) -> str:
    """A file has no ids."""
    return ""


def name_of(raw: _Raw) -> str:
    """Its name in the file."""
    return str(raw.get("name", ""))


def fingerprint(live: Live, shape: Mapping[str, Any]) -> str:
    """Digest of what a plan is judged by: the file, whole, for it is written whole."""
    return digest(live.raw.get("digest"))


def owned_by(live: Live) -> str:
    """The stack whose mark its entries carry, "" when one has none."""
    return str(live.raw.get("owner", ""))


def owner_change(resource: Resource, live: Live) -> FieldChange | None:
    """What makes it ours, when it is not."""
    owner = owned_by(live)
    return None if owner == resource.stack else gateway.owner_change(resource, owner)


def renamed(resource: Resource, live: Live) -> FieldChange | None:
    """Its new name, when it stands there under the one it moves from."""
    return gateway.renamed(resource, name_of(live.raw))


def status(raw: _Raw) -> tuple[Status, str]:
    """Ready when the gateway serves what the file says."""
    if raw.get("silence"):
        return Status.WAITING, "the gateway does not answer"
    if gap := raw.get("gap"):
        return Status.WAITING, "; ".join(gap.values())
    return Status.READY, "ready"


def notes(live: Live) -> tuple[str, ...]:
    """What the gateway itself says."""
    if silence := live.raw.get("silence"):
        return (f"the gateway did not answer, so what it serves is not known: {silence}",)
    if gap := live.raw.get("gap"):
        told = "; ".join(f"{name}: {words}" for name, words in gap.items())
        return (f"{UNSERVED} ({told}): it may have refused the file, its log says why; or start it again",)
    return ()


def notice(action: Action, changes: Sequence[FieldChange]) -> str:
    """What callers notice."""
    sections = {change.section for change in changes}
    if action is Action.NO_OP:
        return "nothing"
    told = {
        Action.CREATE: "new endpoint",
        Action.DELETE: "the endpoint is gone",
    }.get(action, "the endpoint's new settings hold for requests that begin after it")
    if changes and sections == {OWNER}:
        told = "its settings stay as they are"
    if "name" in sections:
        told = "the URL changes: the endpoint answers under its new name only"
    names = sorted(set(_variables(change.after for change in changes)))
    lacks = f"; it ends if its environment lacks {' or '.join(names)}" if names else ""
    return f"{told}; {_RELOAD}{lacks}"


def _variables(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if isinstance(value, Mapping):
            yield from _variables(value.values())
        elif isinstance(value, (list, tuple)):
            yield from _variables(value)
        elif isinstance(value, str) and value.startswith("$"):
            yield value


def query_path(name: str) -> str:
    """The path of an endpoint's invocations, below the gateway's URL."""
    from urllib.parse import quote

    return f"/gateway/{quote(name, safe='')}/invocations"


# ---- calls ----------------------------------------------------------------------------------------------


def calls(
    resource: Resource, live: Live | None, action: Action, changes: Sequence[FieldChange]
) -> tuple[Call, ...]:
    """Its part in the one replacement of the file."""
    if action is Action.NO_OP:
        return ()
    name = resource.address.name
    body: dict[str, Any] = {}
    if action is Action.DELETE:
        assert live is not None
        body["remove"] = _by_list(_entries(live))
    else:
        wanted = _effective(resource, live) if live else resource.spec
        if live is not None and _ignores(resource, "models"):
            puts, part_of = _puts_around_models(resource, wanted, live)
        else:
            puts, part_of = _puts(name, wanted, live)
        body["put"] = puts
        if part_of:
            body["part_of"] = part_of
        if live is not None:
            body |= _moves(resource, live, puts)
    body["stack"] = resource.stack
    body["if_match"] = live.raw["digest"] if live else LiveId(Address(CONFIG_FILE, resource.kept_in))
    return (Call("write_config", body, "WRITE", resource.kept_in, body, shared=True),)


def _entries(live: Live) -> list[_Raw]:
    main = live.raw.get("main")
    return [*([main] if main else ()), *(live.raw.get("parts") or ())]


def _by_list(entries: Iterable[_Raw]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(str(entry["kind"]), []).append(str(entry["name"]))
    return found


def _moves(resource: Resource, live: Live, puts: Mapping[str, Sequence[_Raw]]) -> dict[str, Any]:
    """The entries that are called otherwise now, and those that go."""
    old, new = name_of(live.raw), resource.address.name
    put = {(kind, str(entry["name"])) for kind, entries in puts.items() for entry in entries}
    renames: dict[str, dict[str, str]] = {}
    gone = []
    for entry in _entries(live):
        kind, name = str(entry["kind"]), str(entry["name"])
        if (kind, name) in put:
            continue
        called = new if name == old else new + name.removeprefix(old)
        if called != name and (kind, called) in put:
            renames.setdefault(kind, {})[name] = called
        else:
            gone.append(entry)
    return {key: value for key, value in (("remove", _by_list(gone)), ("rename", renames)) if value}


def _puts(
    name: str, spec: Mapping[str, Any], live: Live | None
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """The entries as merge patches (null takes a key away), and which of them are parts of it."""
    kind, models = spec["endpoint_type"], spec["models"]
    if len(models) == 1:
        entry = {"name": name, "endpoint_type": kind, "model": _patch(models[0], _old(live, name))}
        if "limit" in spec and (spec["limit"] or live):
            entry["limit"] = spec["limit"] or None
        return {"endpoints": [entry]}, {}
    parts = []
    for model in models:
        called = f"{name}.{model['model']}"
        old = _old(live, called) or _old(live, f"{name_of(live.raw)}.{model['model']}" if live else "")
        parts.append({"name": called, "endpoint_type": kind, "model": _patch(model, old)})
    route = {
        "name": name,
        "task_type": kind,
        "routing_strategy": "TRAFFIC_SPLIT",
        "destinations": [
            {"name": part["name"], "traffic_percentage": model["weight"]}
            for part, model in zip(parts, models, strict=True)
        ],
    }
    return {"endpoints": parts, "routes": [route]}, {str(part["name"]): name for part in parts}


def _old(live: Live | None, name: str) -> _Raw:
    """The model of an entry as it is now, empty when there is none of that name."""
    if live is None:
        return {}
    for entry in _entries(live):
        is_main = entry["kind"] == "endpoints" and entry is live.raw.get("main")
        if entry["kind"] == "endpoints" and (entry["name"] == name or is_main):
            return dict(entry["content"].get("model") or {})
    return {}


def _patch(model: _Raw, old: _Raw) -> dict[str, Any]:
    wanted = dict(model.get("config") or {})
    config: _Raw = old.get("config") or {}
    gone: dict[str, Any] = {
        key: None for key, value in config.items() if key not in wanted and not is_default(key, value)
    }
    return {"provider": model["provider"], "name": model["model_name"], "config": {**wanted, **gone}}


# ---- what is ignored ------------------------------------------------------------------------------------


def _ignores(resource: Resource, *path: str | ItemKey) -> bool:
    patterns = map(FieldPath.parse, resource.lifecycle.ignore_changes)
    return any(pattern.covers(FieldPath(path)) for pattern in patterns)


def _effective(resource: Resource, live: Live) -> dict[str, Any]:
    """What is to stand there: as written; what is ignored as it lives."""
    spec = dict(resource.spec)
    if not resource.lifecycle.ignore_changes:
        return spec
    _, theirs, _ = comparable(resource, live, normalise(live))
    for name in ("endpoint_type", "limit"):
        if _ignores(resource, name):
            spec[name] = theirs.get(name)
    weights = {str(model["model"]): model["weight"] for model in theirs.get("models", ())}
    spec["models"] = [
        {**model, "weight": weights[key]}
        if (key := str(model["model"])) in weights and _ignores(resource, "models", ItemKey(key), "weight")
        else model
        for model in spec["models"]
    ]
    return spec


def _puts_around_models(
    resource: Resource, spec: Mapping[str, Any], live: Live
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """The entries with everything but their models, which are ignored and stay whatever they are."""
    old, name, kind = name_of(live.raw), resource.address.name, spec["endpoint_type"]
    main: _Raw = live.raw.get("main") or {}
    if main.get("kind") == "endpoints":
        limit = {"limit": spec["limit"] or None} if "limit" in spec else {}
        return {"endpoints": [{"name": name, "endpoint_type": kind, **limit}]}, {}

    def called(part: Any) -> str:
        return f"{name}.{str(part).removeprefix(f'{old}.')}" if str(part).startswith(f"{old}.") else str(part)

    parts = [called(part["name"]) for part in live.raw.get("parts") or ()]
    split = [
        {**one, "name": called(one.get("name"))}
        for one in (main.get("content") or {}).get("destinations") or ()
    ]
    puts = {
        "endpoints": [{"name": part, "endpoint_type": kind} for part in parts],
        "routes": [{"name": name, "task_type": kind, "destinations": split}] if main else [],
    }
    return puts, dict.fromkeys(parts, name)
