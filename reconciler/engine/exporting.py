"""A target → files of manifests, each proven: read back, and planned against what it was made of."""

from __future__ import annotations

import fnmatch
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconciler.engine.export import Manifest, Variables, file_name, manifest_of
from reconciler.engine.gateway_reader import GatewayView
from reconciler.engine.listing import Listing, list_endpoints, list_gateway
from reconciler.engine.planner import make_step
from reconciler.errors import ManifestError, UsageError
from reconciler.kinds import kind_of, references
from reconciler.manifest import load
from reconciler.manifest.write import literal, manifest_text
from reconciler.schema import spec_fields
from reconciler.values import Address, FieldPath, Live, Resource, Secret

__all__ = ["Export", "ExportFile", "LeftOut", "export", "selection"]


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One manifest. ``path``: below the folder of the export, with ``/``."""

    address: Address
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What has no manifest, or not all of it in one: ``is_whole`` tells which."""

    address: Address
    why: str
    is_whole: bool = True


@dataclass(frozen=True, slots=True, repr=False)
class Export:
    """``variables``: what the manifests refer to, by name: the address it is for, and the live value where
    the target tells it (None for most: a plan needs the right one from its owner)."""

    files: tuple[ExportFile, ...]
    left_out: tuple[LeftOut, ...] = ()
    variables: Mapping[str, tuple[Address, Secret | None]] = field(default_factory=dict)


def selection(patterns: Sequence[str]) -> Callable[[Address], bool]:
    """Whether an address is selected: by one of the patterns (``*``, ``?``), or by none being given."""
    for pattern in patterns:
        Address.parse(pattern)
    return lambda address: not patterns or any(fnmatch.fnmatchcase(str(address), p) for p in patterns)


def export(
    client: Any,
    *,
    is_gateway: bool,
    select: Sequence[str] = (),
    permissions: bool = False,
    stack: str = "",
    comment: Callable[[Address, str], str] = lambda address, path: "",
) -> Export:
    """The manifests of what lives on a target, or of what ``select`` names. Writes no file.

    ``permissions``: also those of endpoints. ``stack``: where several budgets or guardrails cannot be told
    apart, whose counts. ``comment``: the first line of a file, from its address and path. Raises UsageError
    for a selection that nothing fits, TargetError.
    """
    wanted = selection(select)
    listing = (
        list_gateway(client, wanted=wanted, guardrails=True)
        if is_gateway
        else list_endpoints(client, wanted=wanted, permissions=permissions)
    )
    for pattern in select:
        if not any(fnmatch.fnmatchcase(str(live.address), pattern) for live in listing.lives):
            raise UsageError(
                f"--select: nothing on the target fits {pattern}", fix="reconciler get lists all"
            )
    return _exported(listing, stack, comment)


def _exported(listing: Listing, stack: str, comment: Callable[[Address, str], str]) -> Export:
    files: list[ExportFile] = []
    left_out = [
        LeftOut(Address(name, "*"), f"this identity may not list them: {why}")
        for name, why in listing.denied.items()
    ]
    variables: dict[str, tuple[Address, Secret | None]] = {}
    names, taken = Variables(), set[str]()
    for live in listing.lives:
        made = manifest_of(live, names, literal=literal)
        if why := _odd(made, live):
            left_out.append(LeftOut(live.address, why))
            continue
        trial = manifest_text(made.document)
        resource, why = _read_back(made, trial)
        if resource is not None:
            resource = replace(resource, stack=stack)
            why = _unmeant(resource, live, listing.view) or _different(resource, live)
        if resource is None or why:
            left_out.append(LeftOut(live.address, why))
            continue
        left_out += [LeftOut(live.address, note, is_whole=False) for note in made.notes]
        path = file_name(live.address, taken)
        told = comment(live.address, path)
        files.append(ExportFile(live.address, path, f"# {told}\n{trial}" if told else trial))
        variables |= {name: (live.address, value) for name, value in made.variables.items()}
    return Export(tuple(files), tuple(left_out), variables)


def _odd(made: Manifest, live: Live) -> str:
    """Why no manifest can say it, where a reader's words would not help; "" when nothing is odd."""
    spec = made.document["spec"]
    match live.address.kind:
        case "GatewayModel" if "secret" not in spec:
            return "its secret was deleted, and a model needs one: give it another, or delete it"
        case "GatewaySecret" if not spec["secret_value"]:
            return "the gateway does not tell which keys it has"
        case "Endpoint" if _is_databricks_own(live):
            return "Databricks offers it to every workspace"
    return ""


def _is_databricks_own(live: Live) -> bool:
    """A pay-per-token endpoint: nothing of it is in the workspace's hands."""
    entities = (live.raw.get("config") or {}).get("served_entities") or ()
    return bool(entities) and all(
        entity.get("foundation_model") and not entity.get("entity_name") for entity in entities
    )


def _read_back(made: Manifest, text: str) -> tuple[Resource | None, str]:
    """The resource that the text declares; None and why when it is no manifest."""
    environ = {name: value.reveal() for name, value in made.variables.items() if value is not None}
    try:
        stream = io.BytesIO(text.encode())
        loaded = load(["-"], environ=environ, root=Path(), allow_unset=True, stdin=stream)
    except UnicodeEncodeError:
        return None, "it holds characters that no text file can hold"
    except ManifestError as error:
        told = dict.fromkeys(f"{p.path}: {p.what}" if p.path else p.what for p in error.problems)
        return None, f"no manifest can say it: {'; '.join(told)}"
    return loaded.resources[0], ""


def _unmeant(resource: Resource, live: Live, view: GatewayView | None) -> str:
    """Why the manifest would mean something else than what it was made of; "" when it would not."""
    if view is None:
        return ""
    for reference in references(resource):
        if not view.ids.get(reference.address):
            return f"it names {reference.address}, which does not exist"
    found = view.find(resource)
    id_of = kind_of(resource.address).id_of
    if found is None or id_of(found) != id_of(live.raw):
        what = "scope, target and window" if resource.address.kind == "GatewayBudget" else "name"
        return f"it cannot be told from another one with the same {what}"
    return ""


def _different(resource: Resource, live: Live) -> str:
    """What a plan would change: nothing, or this program is wrong. Values that cannot be read back aside, and
    whose it is: both are told by the plan."""
    sealed = [name for name, f in spec_fields(resource.address.kind).properties.items() if f.sealed]
    spec = {name: value for name, value in resource.spec.items() if name not in sealed}
    step = make_step(replace(resource, spec=spec, stack=_owner(live)), live)
    paths = dict.fromkeys(str(FieldPath(change.path)) for change in step.changes)
    return f"a plan would change {', '.join(paths)}" if paths else ""


def _owner(live: Live) -> str:
    of = kind_of(live.address)
    return str(of.owned_by(live)) if of.owned_by is not None else ""
