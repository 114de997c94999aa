"""A plan as a file: what it would do, what it was judged by, and a seal. Values in, values out.

The file holds the plan as people and machines read it, what the manifests meant, and what the live side
looked like; secrets as references, or as salted digests that can be compared and not read. An apply of the
file reads manifests and live side again, plans again, and carries out only steps whose ground is the same.
So what is sent is made from today's manifests, and is what was reviewed; no call is ever taken from a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reconciler.engine.ground import differing, moved_fields, moved_unseen
from reconciler.engine.options import PlanOptions
from reconciler.engine.signing import digest_of, sealed
from reconciler.engine.snapshot import masked_spec, snapshot_from_json, snapshot_to_json
from reconciler.errors import StaleError, UsageError
from reconciler.kinds import kind_of
from reconciler.redact import Redactor
from reconciler.shape import canonical
from reconciler.values import Address, FieldPath, Live, Resource, Snapshot

__all__ = [
    "FORMAT_VERSION",
    "MARK",
    "Moved",
    "PlanFile",
    "compared_with",
    "masked_snapshot",
    "plan_file_json",
    "read_plan_file",
    "stale",
]

FORMAT_VERSION = "1.0"
MARK = "plan_file"
"""The first key of every plan file: how one is told from a manifest."""


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan file as read. ``plan``: as ``plan -o json`` prints it. ``desired``: what manifests meant.

    ``options``: what was asked of the plan. ``salt``: of the digests that stand for what may be secret.
    ``digest``: of the whole file. ``environment``: "" for none; ``select``, ``exclude``: terms, as the
    command line had them; ``changed_since``, ``since``: git commits, "" for none.
    """

    made_at: str
    made_by: str
    target: str
    host: str
    stack: str
    paths: tuple[str, ...]
    project: str | None
    options: PlanOptions
    desired: Mapping[str, Mapping[str, Any]]
    plan: Mapping[str, Any]
    ground: Snapshot
    digest: str
    salt: str
    environment: str = ""
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    changed_since: str = ""
    since: str = ""

    @property
    def steps(self) -> Mapping[str, Mapping[str, Any]]:
        """The recorded steps by address."""
        return {step["address"]: step for step in self.plan["steps"]}


@dataclass(frozen=True, slots=True)
class Moved:
    """Why a step is not what was reviewed.

    ``what``: "live", "manifest", "new", "gone" or "effect" (the same ground, and another step: the value
    behind a reference changed, or the program did). ``fields``: where.
    """

    address: Address
    what: str
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = {
            "live": "the live side changed",
            "manifest": "its manifest changed",
            "new": "no plan was made for it: it is declared since",
            "gone": "it is no longer declared",
            "effect": "another value or version gives another step",
        }[self.what]
        return f"{self.address}: {told}" + (f": {', '.join(self.fields)}" if self.fields else "")


# ---- writing ---------------------------------------------------------------------------------------------


def masked_snapshot(snapshot: Snapshot, salt: str) -> Snapshot:
    """The snapshot with digests in place of what may be secret: what a file may know of it."""
    return snapshot_from_json(snapshot_to_json(snapshot, salt=salt), where="")


def plan_file_json(
    plan: Mapping[str, Any],
    desired: Sequence[Resource],
    ground: Snapshot,
    *,
    host: str,
    made_at: str,
    made_by: str,
    paths: Sequence[str],
    project: str | None,
    options: PlanOptions,
    redactor: Redactor,
    environment: str = "",
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    changed_since: str = "",
    since: str = "",
    key: str = "",
) -> dict[str, Any]:
    """The file's content, sealed.

    ``plan``: JSON of the plan that was made against ``ground``, a masked snapshot: its fingerprints are those
    of digests. ``paths`` and ``project``: where the manifests are read again from. ``key``: to sign with.
    """
    meant = meaning(desired, ground.salt)
    content = {
        "made_at": made_at,
        "made_by": made_by,
        "target": ground.target,
        "host": host,
        "stack": options.stack,
        "manifests": {
            "paths": list(paths),
            "project": project,
            "environment": environment,
            "select": list(select),
            "exclude": list(exclude),
            "changed_since": changed_since,
            "since": since,
        },
        **options.to_json(),
        "meaning": digest_of(meant),
        "plan": plan,
        "desired": meant,
        "ground": snapshot_to_json(ground, salt=ground.salt),
    }
    return sealed({MARK: FORMAT_VERSION, **redactor.value(content)}, key)


def meaning(desired: Sequence[Resource], salt: str) -> dict[str, Any]:
    """What manifests mean, by address: without spelling, order of the file, comments and places."""
    return {
        str(resource.address): {
            "spec": masked_spec(
                kind_of(resource.address).fields,
                canonical(kind_of(resource.address).fields, dict(resource.spec)),
                salt,
            ),
            "prevent_destroy": resource.lifecycle.prevent_destroy,
            "ignore_changes": sorted(resource.lifecycle.ignore_changes),
            "allow_unknown_fields": resource.allow_unknown_fields,
            # Only where it is written: files that were made before it was known have none.
            **({"moved_from": moved} if (moved := resource.lifecycle.moved_from) else {}),
        }
        for resource in desired
    }


# ---- reading ---------------------------------------------------------------------------------------------


def read_plan_file(content: Any, *, where: str) -> PlanFile:
    """A file's content as a value. Raises UsageError when it is something else; asks nothing of its seal."""
    try:
        if content[MARK] != FORMAT_VERSION:
            raise UsageError(
                f"plan file format {content[MARK]!r} is not known here",
                where=where,
                fix=f"this version reads format {FORMAT_VERSION}",
            )
        plan = content["plan"]
        for step in plan["steps"]:
            Address.parse(_text(step["address"]))
            for name in ("action", "fingerprint"):
                _text(step[name])
            for change in _list(step["changes"]):
                _text(change["path"])
                change["before"], change["after"]
            for call in _list(step["calls"]):
                call["body"], *(_text(call[name]) for name in ("client_method", "method", "path"))
        for violation in _list(plan.get("policies", [])):
            _mapping(violation)
        manifests = content["manifests"]
        desired = {
            str(Address.parse(address)): {**_mapping(meant), "spec": _mapping(meant["spec"])}
            for address, meant in content["desired"].items()
        }
        return PlanFile(
            made_at=_text(content["made_at"]),
            made_by=_text(content["made_by"]),
            target=_text(content["target"]),
            host=_text(content["host"]),
            stack=_text(content["stack"]),
            paths=tuple(_text(path) for path in _list(manifests["paths"])),
            project=None if manifests["project"] is None else _text(manifests["project"]),
            options=PlanOptions.from_json(content, stack=_text(content["stack"])),
            desired=desired,
            plan=_mapping(plan),
            ground=snapshot_from_json(content["ground"], where=where),
            digest=_text(content["digest"]),
            salt=_text(content["ground"]["salt"]),
            # Files that were written before there were environments have none.
            environment=_text(manifests.get("environment", "")),
            select=tuple(_text(term) for term in _list(manifests.get("select", []))),
            exclude=tuple(_text(term) for term in _list(manifests.get("exclude", []))),
            changed_since=_text(manifests.get("changed_since", "")),
            since=_text(manifests.get("since", "")),
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise UsageError(
            "this is not a plan file",
            where=where,
            why=f"it lacks or garbles {error}",
            fix="write one with: reconciler plan --out FILE",
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text: {str(value)[:40]}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a list: {str(value)[:40]}")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"an object: {str(value)[:40]}")
    return value


# ---- judging ---------------------------------------------------------------------------------------------


def compared_with(
    file: PlanFile,
    desired: Sequence[Resource],
    ground: Snapshot,
    plan: Mapping[str, Any],
    redactor: Redactor,
) -> tuple[Moved, ...]:
    """What is no longer as it was when the file was made, in the order of the manifests; empty: nothing.

    ``ground``: today's snapshot, masked with the file's salt; ``plan``: JSON of the plan made against it.
    """
    then, now = file.steps, {step["address"]: step for step in redactor.value(plan)["steps"]}
    meant = redactor.value(meaning(desired, file.salt))
    moved = [
        found
        for resource in desired
        for found in _judged(file, resource.address, then, now, meant, ground, redactor)
    ]
    declared = {str(resource.address) for resource in desired}
    for name in dict.fromkeys((*then, *now)):
        if name not in declared:
            moved += _undeclared(file, Address.parse(name), then, now, ground, redactor)
    return tuple(moved)


def _undeclared(
    file: PlanFile,
    address: Address,
    then: Mapping[str, Mapping[str, Any]],
    now: Mapping[str, Mapping[str, Any]],
    ground: Snapshot,
    redactor: Redactor,
) -> list[Moved]:
    """What moved of something that is deleted because no manifest declares it (any more)."""
    name = str(address)
    if name in file.desired:
        return [Moved(address, "gone")]
    if name not in then:
        return [Moved(address, "live", ("it is there, and no longer declared",))]
    if (fields := _live_moved(file, address, then[name], ground, redactor)) is not None:
        return [Moved(address, "live", fields)]
    if name not in now:
        return [Moved(address, "effect", ("it is not to be deleted now",))]
    other = _effects(then[name], now[name])
    return [Moved(address, "effect", other)] if other else []


def _judged(
    file: PlanFile,
    address: Address,
    then: Mapping[str, Mapping[str, Any]],
    now: Mapping[str, Mapping[str, Any]],
    meant: Mapping[str, Any],
    ground: Snapshot,
    redactor: Redactor,
) -> list[Moved]:
    name = str(address)
    if name not in then or name not in file.desired:
        return [Moved(address, "new")]
    step, again = then[name], now.get(name)
    moved = []
    if edited := _edited(address, file.desired[name], meant[name]):
        moved.append(Moved(address, "manifest", tuple(edited)))
    if (fields := _live_moved(file, address, step, ground, redactor)) is not None:
        moved.append(Moved(address, "live", fields))
    if not moved and again is not None and (other := _effects(step, again)):
        # The ground that a step without calls stood on is not held in detail: what it would change now is.
        drifted = step["action"] == "no_op"
        moved.append(Moved(address, "live" if drifted else "effect", other))
    return moved


def _edited(address: Address, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = differing(kind_of(address).fields, then["spec"], now["spec"], FieldPath())
    for name in ("prevent_destroy", "ignore_changes", "moved_from", "allow_unknown_fields"):
        if then.get(name) != now.get(name):
            found.append(f"lifecycle.{name}" if name != "allow_unknown_fields" else f"metadata.{name}")
    return found


def _live_moved(
    file: PlanFile, address: Address, step: Mapping[str, Any], ground: Snapshot, redactor: Redactor
) -> tuple[str, ...] | None:
    """The fields that moved under a step that writes; None when the ground is as it was."""
    if step["action"] == "no_op":
        return None
    of = kind_of(address)
    live, before = ground.resources.get(address), file.ground.resources.get(address)
    if live is None:
        return None if not step["fingerprint"] else ("it was deleted",)
    if not step["fingerprint"]:
        return ("it exists now",)
    shape = of.normalise(live)
    if of.fingerprint(live, shape) == step["fingerprint"]:
        return None
    if before is None:
        return (moved_unseen(address),)
    fields = moved_fields(address, of.normalise(before), of.normalise(_as_filed(live, ground, redactor)))
    return fields or (moved_unseen(address),)


def _as_filed(live: Live, ground: Snapshot, redactor: Redactor) -> Live:
    """A live side as a file has it: known secrets taken out of plain text too."""
    alone = replace(ground, resources={live.address: live}, names=())
    content = redactor.value(snapshot_to_json(alone, salt=ground.salt))
    return snapshot_from_json(content, where="").resources[live.address]


def _effects(step: Mapping[str, Any], again: Mapping[str, Any]) -> tuple[str, ...]:
    """What a step would do otherwise than the reviewed one: field paths, or calls when these tell it."""
    then = {change["path"]: (change["before"], change["after"]) for change in step["changes"]}
    now = {change["path"]: (change["before"], change["after"]) for change in again["changes"]}
    paths = sorted(path for path in {**then, **now} if then.get(path) != now.get(path))
    if paths:
        return tuple(paths)
    calls = [[_call(call) for call in one["calls"]] for one in (step, again)]
    if step["action"] != again["action"] or calls[0] != calls[1]:
        names = [f"{call['method']} {call['path']}" for call in again["calls"] if _call(call) not in calls[0]]
        return tuple(names) or (f"{step['action']} → {again['action']}",)
    return ()


def _call(call: Mapping[str, Any]) -> tuple[Any, ...]:
    return call["client_method"], call["method"], call["path"], call["body"]


def stale(file: PlanFile, moved: Sequence[Moved], where: str) -> StaleError:
    """The refusal of a file whose ground moved, with every difference."""
    return StaleError(
        "\n".join(map(str, moved)),
        where=where,
        why=f"the plan was made at {file.made_at}, and is not what would be done now",
        fix=f"reconciler plan --rebase {where} shows what changed since the review; "
        "--skip-stale applies the other steps",
    )
