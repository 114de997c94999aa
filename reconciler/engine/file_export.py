"""The entries of a gateway's configuration file → manifests of its endpoints, whose plan has nothing but
adoptions. Each is proven: read back, and planned against the entries that it was made of.

An endpoint takes its models and their secrets along, for a file has none of its own. What no manifest can say
is left out, with its reason.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from reconciler.engine.export import file_name
from reconciler.engine.exporting import Export, ExportFile, LeftOut, selection
from reconciler.engine.file_reader import live_of
from reconciler.engine.planner import make_step
from reconciler.errors import ManifestError, UsageError
from reconciler.kinds.file_endpoint import HIDDEN, normalise, owned_by
from reconciler.kinds.file_parts import in_file
from reconciler.kinds.file_providers import PROVIDERS, why_not
from reconciler.manifest import load
from reconciler.manifest.write import literal, manifest_text
from reconciler.values import Address, FieldPath, Live

__all__ = ["export_file"]

_Document = dict[str, Any]
_VARIABLE: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)\Z")
_OTHERS: Final = re.compile(r"[^A-Za-z0-9._-]+")


class _Unsayable(Exception):
    """No manifest can say it: why."""


@dataclass(slots=True)
class _Parts:
    """Secrets and models so far, by name: those that are alike are one."""

    secrets: dict[str, _Document] = field(default_factory=dict)
    models: dict[str, _Document] = field(default_factory=dict)

    def secret(self, spec: _Document) -> str:
        """The name of a secret like this."""
        return _named(self.secrets, spec["provider"], spec)

    def model(self, spec: _Document, name: str, *, is_fixed: bool) -> str:
        """The name of a model like this. ``is_fixed``: no other name will do."""
        if not is_fixed:
            return _named(self.models, _OTHERS.sub("-", name).strip("-.") or "model", spec)
        if self.models.setdefault(name, spec) != spec:
            raise _Unsayable(f"another endpoint has a model called {name} that is not the same")
        return name


def _named(there: dict[str, _Document], name: str, spec: _Document) -> str:
    free, number = name, 1
    while there.setdefault(free, spec) != spec:
        number += 1
        free = f"{name}-{number}"
    return free


def export_file(
    client: Any,
    *,
    select: Sequence[str] = (),
    stack: str = "",
    root: Path = Path(),
    comment: Callable[[Address, str], str] = lambda address, path: "",
) -> Export:
    """The manifests of what a gateway's file says, or of the endpoints that ``select`` names, with what they
    need. Writes no file, and asks the gateway nothing.

    ``stack``, ``comment``: as for :func:`reconciler.engine.exporting.export`. ``root``: the project's folder,
    where files with credentials must be. Raises UsageError for a file that cannot be read and a selection
    that nothing fits.
    """
    wanted = selection(select)
    view = client.read_config()
    lives = [live for live in _lives(view, stack) if wanted(live.address)]
    for pattern in select:
        if not any(map(selection([pattern]), (live.address for live in lives))):
            raise UsageError(
                f"--select: no endpoint of the file fits {pattern}",
                fix="name endpoints: they take their models and secrets along",
            )
    parts = _Parts()
    made: dict[Address, _Document] = {}
    left_out: list[LeftOut] = []
    # Models of a split have names that are given: they go first.
    for live in sorted(lives, key=lambda one: len(normalise(one)["models"]) == 1):
        trial = _Parts(dict(parts.secrets), dict(parts.models))
        try:
            spec = _spec(live, trial)
            _prove(live, _documents(live.address.name, spec, trial), root)
        except _Unsayable as unsayable:
            left_out.append(LeftOut(_plain(live.address), str(unsayable)))
        else:
            made |= dict(_documents(live.address.name, spec, trial))
            parts = trial
    taken: set[str] = set()
    files = []
    for address, document in sorted(made.items(), key=lambda one: (_ORDER.index(one[0].kind), one[0])):
        path = file_name(address, taken)
        told, text = comment(address, path), manifest_text(document)
        files.append(ExportFile(address, path, f"# {told}\n{text}" if told else text))
    return Export(tuple(files), tuple(sorted(left_out, key=lambda one: one.address)))


_ORDER: Final = ("GatewaySecret", "GatewayModel", "GatewayEndpoint")


def _plain(address: Address) -> Address:
    return replace(address, dialect="")


def _lives(view: Any, stack: str) -> Iterable[Live]:
    """What the file has by endpoints: routes with their parts, and every other entry by itself."""
    routes = [entry for entry in view.entries if entry.kind == "routes"]
    inside = {entry.name for entry in view.entries if entry.part_of}
    for entry in routes:
        led_to = [str(one.get("name")) for one in entry.content.get("destinations") or ()]
        own = [name for name in led_to if name.startswith(f"{entry.name}.")]
        if own == led_to:
            inside |= set(own)
        yield live_of(view, entry.name, [name.removeprefix(f"{entry.name}.") for name in led_to], stack)
    for entry in view.entries:
        if entry.kind == "endpoints" and entry.name not in inside:
            yield live_of(view, entry.name, ["?"], stack)


def _spec(live: Live, parts: _Parts) -> _Document:
    """The endpoint's spec; its models and secrets go into ``parts``. Raises _Unsayable."""
    shape = normalise(live)
    is_split = (live.raw.get("main") or {}).get("kind") == "routes"
    models = []
    for one in shape["models"]:
        if "provider" not in one:
            raise _Unsayable(f"it leads to {one['model']}, which is not in the file")
        item = {"model": _model(one, parts, is_split=is_split)}
        models.append({**item, "weight": one["weight"]} if is_split else item)
    limit = {"limit": shape["limit"]} if "limit" in shape else {}
    return {"endpoint_type": shape.get("endpoint_type"), "models": models, **limit}


def _model(one: Mapping[str, Any], parts: _Parts, *, is_split: bool) -> str:
    told, name = one.get("provider"), str(one.get("model_name"))
    provider = PROVIDERS.get(str(told))
    if provider is None:
        raise _Unsayable(why_not(str(told)))
    values: dict[str, str] = {}
    settings: dict[str, Any] = {}
    secrets = {key: named for named, key in provider.secrets.items()}
    others = {key: named for named, key in provider.settings.items()}
    for key, value in (one.get("config") or {}).items():
        if key in secrets:
            values[secrets[key]] = _reference(key, value)
        elif key in others and value != HIDDEN:
            settings[others[key]] = literal(value) if isinstance(value, str) else value
        elif provider.fixed.get(key, "").format(model_name=name) != value:
            raise _Unsayable(f"nothing in a manifest becomes {key} of {told}")
    if not values:
        raise _Unsayable("no credential stands in it, and a GatewayModel has one")
    auth = {"auth_config": settings} if settings else {}
    secret = parts.secret({"provider": told, "secret_value": values, **auth})
    spec = {"secret": secret, "provider": told, "model_name": literal(name)}
    return parts.model(spec, str(one["model"]) if is_split else name, is_fixed=is_split)


def _reference(key: str, value: Any) -> str:
    """``${env:NAME}`` for ``$NAME``, ``${file:path}`` for a path."""
    text = str(value)
    if found := _VARIABLE.match(text):
        return f"${{env:{found[1]}}}"
    if text.startswith("/") and "}" not in text:
        return f"${{file:{text}}}"
    raise _Unsayable(f"{key} stands in the file as a value: put it into the gateway's environment first")


def _documents(name: str, spec: Mapping[str, Any], parts: _Parts) -> dict[Address, _Document]:
    """The endpoint with the models and secrets that it needs."""
    found = {Address("GatewayEndpoint", name): spec}
    for item in spec["models"]:
        model = parts.models[item["model"]]
        found[Address("GatewayModel", item["model"])] = model
        found[Address("GatewaySecret", model["secret"])] = parts.secrets[model["secret"]]
    return {
        address: {
            "apiVersion": "reconciler/v1",
            "kind": address.kind,
            "metadata": {"name": literal(address.name)},
            "spec": dict(content),
        }
        for address, content in found.items()
    }


def _prove(live: Live, documents: Mapping[Address, _Document], root: Path) -> None:
    """Raises _Unsayable unless the manifests are valid, and a plan of them would change nothing."""
    text = "---\n".join(map(manifest_text, documents.values()))
    try:
        loaded = load(["-"], environ={}, root=root, allow_unset=True, stdin=io.BytesIO(text.encode()))
        (resource,) = in_file(loaded.resources, stack=owned_by(live), config_path="")
    except UnicodeEncodeError:
        raise _Unsayable("it holds characters that no text file can hold") from None
    except ManifestError as error:
        told = dict.fromkeys(f"{p.path}: {p.what}" if p.path else p.what for p in error.problems)
        raise _Unsayable(f"no manifest can say it: {'; '.join(told)}") from None
    changes = make_step(replace(resource, stack=owned_by(live)), live).changes
    if paths := dict.fromkeys(str(FieldPath(change.path)) for change in changes):
        raise _Unsayable(f"a plan would change {', '.join(paths)}")
