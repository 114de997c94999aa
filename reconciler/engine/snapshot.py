"""The live side at one moment: LIST, then a GET for each declared resource that LIST shows, and no more."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from reconciler.engine.ownership import moved_from, stand_in, undeclared
from reconciler.engine.readers import list_names, listed_owner, read_live, read_unlisted
from reconciler.errors import TargetError, UsageError
from reconciler.kinds import kind_of
from reconciler.kinds.endpoint import fields, misshapen
from reconciler.schema import Field, kinds
from reconciler.values import Address, Live, Masked, Resource, Secret, Snapshot

__all__ = [
    "Prune",
    "beyond_declared",
    "masked_spec",
    "owners_of",
    "read_snapshot",
    "snapshot_from_json",
    "snapshot_to_json",
    "with_grants",
]

FORMAT_VERSION = "1.0"
READ_PARALLELISM = 16
"""Reads at a time. Reads are not counted against the workspace's write budget."""


@dataclass(frozen=True, slots=True)
class Prune:
    """Whose undeclared resources are read too, and of which kinds."""

    stack: str
    kinds: tuple[str, ...]


def read_snapshot(
    client: Any,
    desired: Sequence[Resource],
    *,
    target: str,
    taken_at: str,
    parallelism: int = READ_PARALLELISM,
    seen: Callable[[Resource, Live | None], None] = lambda resource, live: None,
    deleting: bool = False,
    prune: Prune | None = None,
) -> Snapshot:
    """Read what a plan for ``desired`` needs: 1 LIST for each kind, 1 GET for each declared resource that
    LIST shows, and 1 more for each endpoint that manages permissions. Of an MLflow gateway: lists alone.

    What moved is read under its old name too. ``deleting``: it is for a plan that deletes. ``prune``: what a
    stack owns and ``desired`` does not name is read too, 1 GET each; the list tells whose it is. ``seen`` is
    called in the caller's thread for each resource as soon as it is known, in the order of ``desired``, while
    others are still being read; a client that ``is_serial`` is asked in that thread alone. Raises TargetError
    when a read fails for another reason than the endpoint being gone by then.
    """
    if any(resource.address.dialect == "file" for resource in desired):
        from reconciler.engine.file_reader import read_file

        snapshot = read_file(client, desired, target=target, taken_at=taken_at)
        for resource in desired:
            seen(resource, snapshot.resources.get(resource.address))
        return snapshot
    kinds_read = (*(resource.address.kind for resource in desired), *(prune.kinds if prune else ()))
    if any(name.startswith("Gateway") for name in kinds_read):
        from reconciler.engine.gateway_reader import read_gateway

        stack = prune.stack if prune is not None else ""
        view = read_gateway(client, desired, deleting=deleting or bool(stack), prune=stack)
        for resource in desired:
            seen(resource, view.live.get(resource.address))
        names = tuple(sorted(view.names))
        return Snapshot(target, taken_at, view.live, names=names, ids=view.ids, owners=view.owners)
    found: list[Live] = []
    summaries: dict[Address, Mapping[str, Any]] = {}
    counts: dict[str, int] = {}
    for name in dict.fromkeys(kinds_read):
        of_kind = [resource for resource in desired if resource.address.kind == name]
        listed = list_names(client, name, of_kind)
        counts[name] = len(listed)
        summaries |= {Address(name, one): summary for one, summary in listed.items()}

    def details(resource: Resource) -> Live | None:
        summary = summaries.get(resource.address)
        if summary is None:
            return read_unlisted(client, resource, counts[resource.address.kind])
        return read_live(client, resource, summary)

    owners = owners_of(summaries)
    more = beyond_declared(desired, summaries, owners, prune)

    def take(results: Iterable[Live | None]) -> None:
        for resource, live in zip((*desired, *more), results, strict=True):
            if resource not in more:
                seen(resource, live)
            if live is not None:
                found.append(live)

    if len(desired) + len(more) > 1 and not getattr(client, "is_serial", False):
        with ThreadPoolExecutor(min(parallelism, len(desired) + len(more)), "read") as pool:
            take(pool.map(details, (*desired, *more)))
    else:
        take(map(details, (*desired, *more)))
    return Snapshot(
        target,
        taken_at,
        {live.address: live for live in found},
        names=tuple(sorted(summaries)),
        owners=owners,
    )


def owners_of(summaries: Mapping[Address, Mapping[str, Any]]) -> dict[Address, str]:
    """Whose each of them is, as far as the list tells: endpoints carry their tags there."""
    return {
        address: owner
        for address, summary in summaries.items()
        if address.kind == "Endpoint" and (owner := listed_owner(summary))
    }


def beyond_declared(
    desired: Sequence[Resource],
    summaries: Mapping[Address, Mapping[str, Any]],
    owners: Mapping[Address, str],
    prune: Prune | None,
) -> tuple[Resource, ...]:
    """What is to be read though no manifest declares it: what was moved from, and what is to be pruned."""
    old = [
        stand_in(address, resource.stack)
        for resource in desired
        if (address := moved_from(resource)) is not None and address in summaries
    ]
    if prune is None:
        return tuple(old)
    listed = Snapshot("", "", {}, owners=owners)
    return (*old, *(stand_in(address, prune.stack) for address in undeclared(desired, listed, prune.stack)))


def with_grants(client: Any, snapshot: Snapshot, addresses: Iterable[Address]) -> Snapshot:
    """The snapshot with the permissions of these endpoints where it has none: a delete takes them with it.

    1 GET for each; where they may not be read, it stays as it is.
    """
    wanted = [
        live
        for address in addresses
        if (live := snapshot.resources.get(address)) is not None
        and live.permissions is None
        and (address.kind, address.dialect) == ("Endpoint", "")
    ]

    def read(live: Live) -> Live:
        try:
            return replace(live, permissions=client.get_endpoint_permissions(str(live.raw.get("id", ""))))
        except TargetError:
            return live

    if not wanted:
        return snapshot
    with ThreadPoolExecutor(min(READ_PARALLELISM, len(wanted)), "read") as pool:
        read_again = {live.address: live for live in pool.map(read, wanted)}
    return replace(snapshot, resources={**snapshot.resources, **read_again})


# ---- snapshot files --------------------------------------------------------------------------------------


def snapshot_to_json(snapshot: Snapshot, *, salt: str | None = None) -> dict[str, Any]:
    """The snapshot as JSON, fit for a file: what may hold a secret is replaced by a salted digest.

    A plan made from the file is the plan made from the snapshot: digests can be compared. ``salt`` is
    random when it is not given.
    """
    used = salt or secrets.token_hex(16)
    return {
        "format_version": FORMAT_VERSION,
        "target": snapshot.target,
        "taken_at": snapshot.taken_at,
        "salt": used,
        "names": [str(address) for address in snapshot.names],
        "ids": {str(address): live_id for address, live_id in snapshot.ids.items()},
        "owners": {str(address): owner for address, owner in snapshot.owners.items()},
        "resources": {
            str(address): {
                "raw": _masked(kind_of(address).fields, live.raw, used),
                "permissions": live.permissions,
            }
            for address, live in snapshot.resources.items()
        },
    }


def masked_spec(field: Field, value: Any, salt: str) -> Any:
    """A desired value as JSON, in the same way; what is resolved at apply stays a reference."""
    return _masked(field, value, salt, references=True)


_REFERENCE = re.compile(r"\{\{secrets/[^/{}]+/[^/{}]+\}\}")


def _masked(
    field: Field | None, value: Any, salt: str, sensitive: bool = False, references: bool = False
) -> Any:
    if field is not None:
        sensitive = sensitive or field.takes_secrets or field.write_only
    if isinstance(value, Mapping):
        return {
            name: _masked(_child(field, name), item, salt, sensitive, references)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        items = None if field is None else field.items
        return [_masked(items, item, salt, sensitive, references) for item in value]
    if isinstance(value, Masked):
        return {"$masked": value.digest}
    if isinstance(value, Secret) and references:
        return {"$reference": value.reference}
    if isinstance(value, Secret):
        return {"$masked": Masked.of(value.reveal(), salt).digest}
    # A reference to a Databricks secret is no secret: it is what can be written again.
    if sensitive and isinstance(value, str) and not _REFERENCE.fullmatch(value):
        return {"$masked": Masked.of(str(value), salt).digest}
    return value


def _child(field: Field | None, name: str) -> Field | None:
    if field is None:
        return None
    if name == "pending_config":  # the same fields as the configuration it becomes
        return field.properties.get("config")
    return field.at(name)


def snapshot_from_json(content: Any, *, where: str) -> Snapshot:
    """Read what :func:`snapshot_to_json` wrote. Raises UsageError when it is something else."""
    try:
        if content["format_version"] != FORMAT_VERSION:
            raise UsageError(
                f"snapshot format {content['format_version']!r} is not known here",
                where=where,
                fix=f"this version reads format {FORMAT_VERSION}",
            )
        if not isinstance(salt := content["salt"], str):
            raise TypeError("salt: no text")
        resources = {}
        for text, entry in content["resources"].items():
            address = Address.parse(text)
            live = Live(address, _unmasked(entry["raw"], salt), entry["permissions"])
            if said := _unfit(live):
                raise TypeError(f"{address}: {said}")
            resources[address] = live
        names = tuple(Address.parse(text) for text in content["names"])
        ids = {Address.parse(text): str(live_id) for text, live_id in content.get("ids", {}).items()}
        owners = {Address.parse(text): str(owner) for text, owner in content.get("owners", {}).items()}
        return Snapshot(str(content["target"]), str(content["taken_at"]), resources, names, salt, ids, owners)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "this is not a snapshot file",
            where=where,
            why=f"it lacks or garbles {error}",
            fix="write one with: reconciler plan --save-snapshot FILE",
        ) from error


def _unfit(live: Live) -> str:
    """Why that is no live side of its kind, "" when it is."""
    if live.address.kind not in kinds():
        return f"there is no kind {live.address.kind}"
    if not isinstance(live.raw, dict) or not isinstance(live.permissions, dict | None):
        return "it is not an object"
    return misshapen(live) if kind_of(live.address).fields is fields() else ""


def _unmasked(value: Any, salt: str) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$masked"}:
            return Masked(str(value["$masked"]), salt)
        return {name: _unmasked(item, salt) for name, item in value.items()}
    if isinstance(value, list):
        return [_unmasked(item, salt) for item in value]
    return value
