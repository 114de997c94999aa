"""A recorded run and the live side → what the run found, as desired resources: its inverse. Pure.

What was changed is put back as it was, section by section; what was created is deleted; what was deleted is
created again. The plan is then made as any other, against what is live now: it shows what is left to undo,
and what others changed meanwhile. What cannot come back is said: a value that was never readable, an old
value of which only a digest was kept, a deleted endpoint's id with its metrics, what names something that is
gone. What a target tells in a shape of its own is put back as far as that tells it (:mod:`.redeploying`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.engine.filling import Filler, main_spellings, missing
from reconciler.engine.ground import moved_fields
from reconciler.engine.journal import RecordedCall, RecordedRun
from reconciler.engine.redeploying import deployment_spec, file_spec, standing
from reconciler.engine.snapshot import snapshot_from_json
from reconciler.errors import UsageError
from reconciler.kinds import kind_of, marks
from reconciler.kinds.file_parts import DIALECT
from reconciler.schema import Field
from reconciler.values import (
    PROTECTED_TAG,
    Action,
    Address,
    FieldPath,
    Lifecycle,
    Live,
    Reason,
    Resource,
    Snapshot,
    Source,
    Step,
)

__all__ = ["Undo", "moved_back", "skeletons", "undo"]

_UNREADABLE = (Reason.WRITE_ONLY, Reason.NOT_ECHOED)
_STAYS = {
    "owner": "it stays this stack's",
    "name": "its new name stays: moved_from in its manifest renames it back",
}
# Sections that are tags of ours, which a run may have set or taken away.
_BEARS: Mapping[str, Mapping[str, str]] = {
    "Endpoint": marks.SECTIONS,
    "GatewayEndpoint": {marks.PROTECTION: PROTECTED_TAG},
}
# By what a resource that has no name is found, beside what its schema requires.
_KNOWN_BY = {"GatewayBudget": ("target_value",)}


@dataclass(frozen=True, slots=True)
class Undo:
    """The inverse of a run.

    ``restored``: resources as they were. ``deleted``: what the run created. ``notes``: what cannot be undone,
    what is left alone, what others changed since; sentences for people, of untrusted text.
    """

    restored: tuple[Resource, ...] = ()
    deleted: tuple[Resource, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Both, for reading and acting."""
        return (*self.restored, *self.deleted)


@dataclass(frozen=True, slots=True)
class _Acted:
    """What a run did to one resource. ``sections``: those that its calls changed, "" for all of it. ``ids``:
    those that it created. ``resent``: write-only values that it replaced, as paths. ``changed``: all of
    them."""

    address: Address
    action: Action
    is_protected: bool
    sections: tuple[str, ...]
    ids: tuple[str, ...]
    resent: tuple[str, ...]
    changed: tuple[str, ...] = ()


def skeletons(run: RecordedRun, manifests: Mapping[Address, Resource]) -> tuple[Resource, ...]:
    """The resources that a run touched, fit for reading the live side: with permissions where it was, and
    with what their manifests say where a name is not enough."""
    before, after = _before(run), _after(run)
    found = []
    for acted in _acted(run):
        address = acted.address
        live = before.resources.get(address) or after.get(address)
        grants = "permissions" in acted.sections or (live is not None and live.permissions is not None)
        spec: dict[str, Any] = {"permissions": []} if grants else {}
        if address.dialect == DIALECT:
            spec = {"models": [], **(_normalised(address, live) if live else {})}
        elif address.kind.startswith("Gateway"):
            spec = {**_found_by(manifests.get(address)), **(_normalised(address, live) if live else {})}
        elif address.kind != "Endpoint":
            spec |= _found_by(manifests.get(address))
        found.append(Resource(address, spec, Source(run.run, 1)))
    return tuple(found)


def _found_by(manifest: Resource | None) -> dict[str, Any]:
    """What a target other than Databricks finds a resource by: where a deployment is, what a nameless budget
    is for."""
    return dict(manifest.spec) if manifest is not None else {}


def undo(
    run: RecordedRun,
    touched: Sequence[Resource],
    live: Snapshot,
    masked: Snapshot,
    manifests: Mapping[Address, Resource],
    where: str,
) -> Undo:
    """What puts the live side back as ``run`` found it.

    ``touched``: its skeletons, as their target speaks of them. ``live``: as it is now; ``masked``: the same,
    masked with the run's salt. ``manifests``: what is declared now, for values that no answer shows.
    ``where``: the record's file, as the source of what it wants.
    """
    before, after = _before(run), _after(run)
    undone = Undo()
    spoken = {resource.address: resource.address for resource in touched}
    for acted in _acted(run):
        acted = replace(acted, address=spoken.get(acted.address, acted.address))
        one = _Undoing(
            acted,
            before.resources.get(acted.address),
            live.resources.get(acted.address),
            manifests.get(acted.address),
            Source(where, 1),
        )
        found = one.undo()
        notes = list(found.notes)
        left, now = after.get(acted.address), masked.resources.get(acted.address)
        if left is not None and now is not None and found.resources:
            of = kind_of(acted.address)
            if left.permissions is None or now.permissions is None:  # not read then, or not now: no change
                left, now = replace(left, permissions=None), replace(now, permissions=None)
            if moved := moved_fields(acted.address, _normalised(acted.address, left), of.normalise(now)):
                notes.append(f"{acted.address} was changed since that run: {', '.join(moved)}")
        undone = Undo(
            (*undone.restored, *found.restored),
            (*undone.deleted, *found.deleted),
            (*undone.notes, *notes),
        )
    restored, notes = standing(undone.restored, undone.deleted, live)
    return replace(undone, restored=restored, notes=(*undone.notes, *notes))


def moved_back(run: RecordedRun, away: Sequence[Step], back: Sequence[Step]) -> tuple[Step, ...]:
    """The deletions of ``away``; what a run moved goes only once what it came from is live again."""
    recorded = (run.header.get("plan") or {}).get("steps", ())
    came_from = {step["moved_to"]: str(step["address"]) for step in recorded if step.get("moved_to")}
    there = {str(step.address): step.address for step in back}
    return tuple(
        replace(step, depends_on=(*step.depends_on, old), moved_to=old)
        if step.calls and (old := there.get(came_from.get(str(step.address), ""))) is not None
        else step
        for step in away
    )


# ---- what the record says --------------------------------------------------------------------------------


def _before(run: RecordedRun) -> Snapshot:
    return snapshot_from_json(run.header.get("before"), where=run.run)


def _normalised(address: Address, live: Live) -> Mapping[str, Any]:
    """What a record says of a live side, as a spec. Raises UsageError when it is no such thing."""
    try:
        shape: Mapping[str, Any] = kind_of(address).normalise(live)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"the record garbles what {address} was", why=f"{error}") from error
    return shape


def _after(run: RecordedRun) -> Mapping[Address, Live]:
    content = (run.end or {}).get("after")
    return snapshot_from_json(content, where=run.run).resources if content else {}


def _acted(run: RecordedRun) -> list[_Acted]:
    """What the run did. Raises UsageError for a record that somebody, or a broken disk, made another."""
    try:
        return _acted_on(run)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"the record of run {run.run} cannot be undone from: what was planned is garbled",
            why=f"it lacks or garbles {error}",
            fix=f"reconciler history show {run.run} tells what was called",
        ) from error


def _acted_on(run: RecordedRun) -> list[_Acted]:
    calls: dict[Address, list[RecordedCall]] = {}
    for call in run.acted:
        calls.setdefault(call.address, []).append(call)
    steps = {step["address"]: step for step in (run.header.get("plan") or {}).get("steps", ())}
    found = []
    for address, made in calls.items():
        step = steps.get(str(address))
        if step is None:
            continue
        action = Action(step["action"])
        sections = dict.fromkeys(section for call in made for section in (call.section, *call.also))
        changed = [FieldPath.parse(str(change["path"])) for change in step["changes"]]
        if "" in sections and action not in (Action.CREATE, Action.DELETE, Action.REPLACE):
            sections |= {str(path[0]): None for path in changed}
        if made[0].client_method == "write_config":
            address = replace(address, dialect=DIALECT)
        found.append(
            _Acted(
                address,
                action,
                bool(step["protected"]),
                tuple(sections),
                tuple(call.id for call in made if call.id and call.client_method.startswith("create_")),
                tuple(change["path"] for change in step["changes"] if change["why"] in _UNREADABLE),
                tuple(map(str, changed)),
            )
        )
    return found


# ---- one resource ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Undoing:
    acted: _Acted
    before: Live | None
    now: Live | None
    manifest: Resource | None
    source: Source
    notes: list[str] = field(default_factory=list)

    def undo(self) -> Undo:
        address, action = self.acted.address, self.acted.action
        if action is Action.CREATE:
            return self._uncreate()
        if self.before is None:
            return Undo(notes=(f"{address} cannot be undone: the record does not say what it was",))
        if action is Action.DELETE and self.now is not None:
            return Undo(notes=(f"{address} exists again, and is left alone",))
        if self.now is None and action not in (Action.DELETE, Action.REPLACE):
            return Undo(notes=(f"{address} was deleted since, and is left alone",))
        if address.dialect == DIALECT:
            return self._rewritten()
        if address.kind == "Deployment":
            return self._redeployed()
        if address.dialect:
            return Undo(
                notes=(f"{address} cannot be undone: what its target tells is not what can be written",)
            )
        if action in (Action.DELETE, Action.REPLACE):
            self._told_as_deleted()
            present = kind_of(address).normalise(self.now) if self.now is not None else {}
            return self._restored(tuple({**self._shape(), **present, **marks.SECTIONS}))
        for name, told in _STAYS.items():
            if name in self.acted.sections and address.kind != "Endpoint":
                self.notes.append(f"{address}: {told}")
        return self._restored(self.acted.sections)

    def _told_as_deleted(self) -> None:
        address = self.acted.address
        what = "its id, its metrics and its logs do not" if address.kind == "Endpoint" else "its id does not"
        self.notes.append(f"{address} was deleted by that run: {what} come back")
        if address.kind == "Endpoint" and self.before is not None and self.before.permissions is None:
            self.notes.append(f"{address}: its permissions are not on record, and do not come back")

    def _rewritten(self) -> Undo:
        """An endpoint of a gateway's file: whole, as the file is written whole."""
        spec, why = file_spec(self._shape())
        if why:
            return Undo(notes=(f"{self.acted.address} cannot be undone: {why}",))
        return Undo(restored=(self._resource(spec, Lifecycle(self.acted.is_protected)),))

    def _redeployed(self) -> Undo:
        """A plugin's deployment, as far as its target tells what it was."""
        address, wanted = self.acted.address, self.manifest.spec if self.manifest else {}
        if self.acted.action is Action.DELETE:
            self._told_as_deleted()
        changed = None if self.acted.action is Action.DELETE else self.acted.changed
        now = kind_of(address).normalise(self.now) if self.now is not None else {}
        spec, lost = deployment_spec(self._shape(), now, wanted, changed)
        notes = (*self.notes, *(f"{address}: {note}" for note in lost))
        if spec is None:
            return Undo(notes=notes)
        kept = self.manifest.lifecycle.prevent_destroy if self.manifest else False
        return Undo((self._resource(spec, Lifecycle(self.acted.is_protected or kept)),), (), notes)

    def _uncreate(self) -> Undo:
        address = self.acted.address
        if self.now is None:
            unknown = self.manifest is None and address.kind != "Endpoint"
            told = "is gone already" + (", or is not found without its manifest" if unknown else "")
            return Undo(notes=(f"{address} {told}",))
        live_id = kind_of(address).id_of(self.now.raw)
        if self.acted.ids and live_id not in self.acted.ids:
            return Undo(notes=(f"{address} is another one than that run created, and is left alone",))
        kept = self.manifest.lifecycle.prevent_destroy if self.manifest else False
        spec = _found_by(self.manifest)
        if address.dialect == DIALECT:
            spec = dict(kind_of(address).normalise(self.now))
        return Undo(deleted=(self._resource(spec, Lifecycle(self.acted.is_protected or kept)),))

    def _restored(self, sections: Sequence[str]) -> Undo:
        """The sections as they were; one that cannot be whole is left as it is, and said."""
        address, action = self.acted.address, self.acted.action
        for path in self.acted.resent:
            self.notes.append(f"{address}: the old value of {path} was never readable: it is lost")
        fields, shape = kind_of(address).fields, self._shape()
        now = kind_of(address).normalise(self.now) if self.now is not None else {}
        wanted: Mapping[str, Any] = self.manifest.spec if self.manifest is not None else {}
        wanted = main_spellings(fields, wanted)
        spec: dict[str, Any] = {}
        for name in sections:
            known = fields.properties.get(name)
            if known is None or known.computed:
                continue
            if known.sealed and self.now is not None:
                self.notes.append(f"{address}: the old value of {name} was never readable: it is lost")
                continue
            if shape.get(name) is None and known.clear == "never" and action is Action.UPDATE:
                self.notes.append(f"{address}: {name} cannot be taken away again: the API has no call for it")
                continue
            filler = Filler()
            value = filler.filled(known, shape.get(name), now.get(name), wanted.get(name), FieldPath((name,)))
            self.notes += [
                f"{address}: the old value of {path} is not on record: {how}" for path, how in filler.lost
            ]
            lacking = list(missing(known, value, FieldPath((name,))))
            if lacking:
                self.notes.append(
                    f"{address}: {name} cannot be undone: no answer shows {', '.join(lacking)}, "
                    "and no manifest at hand names it"
                )
                if self.now is None:
                    return Undo(notes=tuple(self.notes))
                continue
            spec[name] = value
        tags = self._carried()
        # What the run did to them is undone; what it left as it was stays as it is now.
        bears = {} if address.dialect else _BEARS.get(address.kind, {})
        carried = {tag: tags.get(tag) for name, tag in bears.items() if name in sections}
        if isinstance(spec.get("tags"), Mapping):
            spec["tags"] = marks.without_marks(spec["tags"])
        if not (spec or carried):
            return Undo(notes=tuple(self.notes))
        if address.kind != "Endpoint" and (lacking := self._complete(spec, fields, shape, now, wanted)):
            self.notes.append(
                f"{address} cannot come back: no answer shows {', '.join(lacking)}, and no manifest names it"
            )
            return Undo(notes=tuple(self.notes))
        kept = self.manifest.lifecycle.prevent_destroy if self.manifest else False
        resource = self._resource(spec, Lifecycle(self.acted.is_protected or kept))
        resource = replace(resource, marks=carried) if bears else resource
        return Undo(restored=(resource,), notes=tuple(self.notes))

    def _complete(
        self,
        spec: dict[str, Any],
        fields: Field,
        shape: Mapping[str, Any],
        now: Mapping[str, Any],
        wanted: Mapping[str, Any],
    ) -> list[str]:
        """Put what every manifest of this kind has beside what is restored; gives what is not to be had."""
        lacking = []
        for name in (*fields.limits.get("required", ()), *_KNOWN_BY.get(self.acted.address.kind, ())):
            if spec.get(name) is not None or (fields.properties[name].sealed and self.now is not None):
                continue
            value = now.get(name) if self.now is not None else shape.get(name)
            value = wanted.get(name) if value is None and self.now is None else value
            if value is not None:
                spec[name] = value
            elif name in fields.limits.get("required", ()):
                lacking.append(name)
        return lacking

    def _carried(self) -> Mapping[str, Any]:
        """The tags that were there, ours among them."""
        assert self.before is not None
        protected = kind_of(self.acted.address).is_protected(self.before)
        return {**(self._shape().get("tags") or {}), **({PROTECTED_TAG: "true"} if protected else {})}

    def _shape(self) -> Mapping[str, Any]:
        """What was there, in the shape of a spec."""
        assert self.before is not None
        return _normalised(self.acted.address, self.before)

    def _resource(self, spec: Mapping[str, Any], lifecycle: Lifecycle) -> Resource:
        return Resource(self.acted.address, spec, self.source, lifecycle=lifecycle, allow_unknown_fields=True)
