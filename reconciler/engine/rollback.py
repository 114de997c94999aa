"""A recorded run and the live side → what the run found, as desired resources: its inverse. Pure.

What was changed is put back as it was, section by section; what was created is deleted; what was deleted is
created again. The plan is then made as any other, against what is live now: it shows what is left to undo,
and what others changed meanwhile. Three things cannot come back, and are said: a value that was never
readable, an old value of which only a digest was kept, and a deleted endpoint's id with its metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.engine.ground import moved_fields
from reconciler.engine.journal import RecordedCall, RecordedRun
from reconciler.engine.snapshot import snapshot_from_json
from reconciler.errors import UsageError
from reconciler.kinds import kind_of, marks
from reconciler.schema import Field
from reconciler.shape import item_key
from reconciler.values import (
    Action,
    Address,
    FieldPath,
    ItemKey,
    Lifecycle,
    Live,
    Masked,
    Reason,
    Resource,
    Secret,
    Snapshot,
    Source,
    Step,
)

__all__ = ["Undo", "moved_back", "skeletons", "undo"]

_UNREADABLE = (Reason.WRITE_ONLY, Reason.NOT_ECHOED)


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
    those that it created. ``resent``: write-only values that it replaced, as paths."""

    address: Address
    action: Action
    is_protected: bool
    sections: tuple[str, ...]
    ids: tuple[str, ...]
    resent: tuple[str, ...]


def skeletons(run: RecordedRun, manifests: Mapping[Address, Resource]) -> tuple[Resource, ...]:
    """The resources that a run touched, fit for reading the live side: with permissions where it was, and
    with what their manifests say where a name is not enough."""
    before = _before(run)
    found = []
    for acted in _acted(run):
        live = before.resources.get(acted.address)
        grants = "permissions" in acted.sections or (live is not None and live.permissions is not None)
        spec: dict[str, Any] = {"permissions": []} if grants else {}
        spec |= _found_by(manifests.get(acted.address))
        found.append(Resource(acted.address, spec, Source(run.run, 1)))
    return tuple(found)


def _found_by(manifest: Resource | None) -> dict[str, Any]:
    """What a target other than Databricks finds a resource by: where a deployment is, what a nameless budget
    is for. An endpoint's name is enough."""
    if manifest is None or manifest.address.kind == "Endpoint":
        return {}
    return dict(manifest.spec)


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
            if moved := moved_fields(acted.address, of.normalise(left), of.normalise(now)):
                notes.append(f"{acted.address} was changed since that run: {', '.join(moved)}")
        undone = Undo(
            (*undone.restored, *found.restored),
            (*undone.deleted, *found.deleted),
            (*undone.notes, *notes),
        )
    return undone


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
        found.append(
            _Acted(
                address,
                Action(step["action"]),
                bool(step["protected"]),
                tuple(dict.fromkeys(section for call in made for section in (call.section, *call.also))),
                tuple(call.id for call in made if call.id and call.client_method.startswith("create_")),
                tuple(change["path"] for change in step["changes"] if change["why"] in _UNREADABLE),
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
        if kind_of(address).name != "Endpoint" or address.dialect:
            return Undo(
                notes=(f"{address} cannot be undone: what its target tells is not what can be written",)
            )
        if action is Action.DELETE and self.now is not None:
            return Undo(notes=(f"{address} exists again, and is left alone",))
        if action in (Action.DELETE, Action.REPLACE):
            self.notes.append(
                f"{address} was deleted by that run: its id, its metrics and its logs do not come back"
            )
            if self.before.permissions is None:
                self.notes.append(f"{address}: its permissions are not on record, and do not come back")
            present = kind_of(address).normalise(self.now) if self.now is not None else {}
            return self._restored(tuple({**self._shape(), **present, **marks.SECTIONS}))
        if self.now is None:
            return Undo(notes=(f"{address} was deleted since, and is left alone",))
        return self._restored(self.acted.sections)

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
        return Undo(deleted=(self._resource(spec, Lifecycle(self.acted.is_protected or kept)),))

    def _restored(self, sections: Sequence[str]) -> Undo:
        """The sections as they were; one that cannot be whole is left as it is, and said."""
        address, action = self.acted.address, self.acted.action
        for path in self.acted.resent:
            self.notes.append(f"{address}: the old value of {path} was never readable: it is lost")
        fields, shape = kind_of(address).fields, self._shape()
        now = kind_of(address).normalise(self.now) if self.now is not None else {}
        wanted: Mapping[str, Any] = self.manifest.spec if self.manifest is not None else {}
        wanted = _main_spellings(fields, wanted)
        spec: dict[str, Any] = {}
        for name in sections:
            known = fields.properties.get(name)
            if known is None or known.computed:
                continue
            if shape.get(name) is None and known.clear == "never" and action is Action.UPDATE:
                self.notes.append(f"{address}: {name} cannot be taken away again: the API has no call for it")
                continue
            filler = _Filler()
            value = filler.filled(known, shape.get(name), now.get(name), wanted.get(name), FieldPath((name,)))
            self.notes += [
                f"{address}: the old value of {path} is not on record: {how}" for path, how in filler.lost
            ]
            missing = list(_missing(known, value, FieldPath((name,))))
            if missing:
                self.notes.append(
                    f"{address}: {name} cannot be undone: no answer shows {', '.join(missing)}, "
                    "and no manifest at hand names it"
                )
                if self.now is None:
                    return Undo(notes=tuple(self.notes))
                continue
            spec[name] = value
        tags = self._carried()
        # What the run did to them is undone; what it left as it was stays as it is now.
        carried = {tag: tags.get(tag) for name, tag in marks.SECTIONS.items() if name in sections}
        if isinstance(spec.get("tags"), Mapping):
            spec["tags"] = marks.without_marks(spec["tags"])
        if not (spec or carried):
            return Undo(notes=tuple(self.notes))
        kept = self.manifest.lifecycle.prevent_destroy if self.manifest else False
        resource = self._resource(spec, Lifecycle(self.acted.is_protected or kept))
        resource = replace(resource, marks=carried)
        return Undo(restored=(resource,), notes=tuple(self.notes))

    def _carried(self) -> Mapping[str, Any]:
        """The tags that were there, ours among them."""
        return self._shape().get("tags") or {}

    def _shape(self) -> Mapping[str, Any]:
        """What was there, in the shape of a spec."""
        assert self.before is not None
        shape: Mapping[str, Any] = kind_of(self.acted.address).normalise(self.before)
        return shape

    def _resource(self, spec: Mapping[str, Any], lifecycle: Lifecycle) -> Resource:
        return Resource(self.acted.address, spec, self.source, lifecycle=lifecycle, allow_unknown_fields=True)


def _main_spellings(fields: Field, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    from reconciler.shape import canonical

    shape: Mapping[str, Any] = canonical(fields, dict(spec))
    return shape


@dataclass(slots=True)
class _Filler:
    """Puts values back where a record holds digests, and where no answer holds any."""

    lost: list[tuple[str, str]] = field(default_factory=list)

    def filled(self, known: Field | None, value: Any, now: Any, wanted: Any, path: FieldPath) -> Any:
        """``value`` of the record, ready to be sent; ``now``: the live value, ``wanted``: the manifest's."""
        if isinstance(value, Masked):
            return self._unmasked(value, now, wanted, path)
        if isinstance(value, Mapping):
            return self._object(known, value, now, wanted, path)
        if isinstance(value, list) and known is not None and known.items is not None:
            theirs, ours = _keyed(known, now), _keyed(known, wanted)
            result = []
            for at, item in enumerate(value):
                key = item_key(known, item)[0] if known.is_keyed and isinstance(item, Mapping) else str(at)
                where = path / (ItemKey(key) if known.is_keyed else at)
                result.append(self.filled(known.items, item, theirs.get(key), ours.get(key), where))
            return result
        return value

    def _object(
        self, known: Field | None, value: Mapping[str, Any], now: Any, wanted: Any, path: FieldPath
    ) -> dict[str, Any]:
        theirs, ours = (side if isinstance(side, Mapping) else {} for side in (now, wanted))
        result: dict[str, Any] = {}
        for name, item in value.items():
            child = known.at(name) if known is not None else None
            # What is empty was absent; a field that no schema knows may not be writable at all.
            if item is None or (known is not None and known.properties and child is None):
                continue
            needed = known is not None and name in known.limits.get("required", ())
            # What the backend fills in when it is left out is left out: not sent, and the same after.
            if child is not None and (child.computed or (item == child.default and not needed)):
                continue
            filled = self.filled(child, item, theirs.get(name), ours.get(name), path / name)
            if filled is not None:
                result[name] = filled
        for name, child in known.properties.items() if known is not None else ():
            secret = ours.get(name)
            if name in result or not isinstance(secret, Secret) or not (child.write_only or child.secret):
                continue
            if not any(value.get(other) for other in (child.twin, *child.conflicts_with) if other):
                result[name] = secret
        return _without_clashes(known, result, ours)

    def _unmasked(self, value: Masked, now: Any, wanted: Any, path: FieldPath) -> Any:
        for candidate in (now, wanted):
            text = candidate.reveal() if isinstance(candidate, Secret) else candidate
            if isinstance(text, str) and value.matches(text):
                return candidate if isinstance(candidate, Secret) else Secret(text)
        if isinstance(now, str):
            self.lost.append((str(path), "it stays as it is"))
            return Secret(now)
        if isinstance(wanted, (Secret, str)):
            self.lost.append((str(path), "the manifest's is sent"))
            return wanted
        self.lost.append((str(path), "it stays absent"))
        return None


def _without_clashes(known: Field | None, value: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Answers tell one thing in two ways that may not be sent together. What the manifest writes stays; else
    the one that stands for several: a size is only told where the numbers are that size's own."""
    if known is None:
        return value
    for name in list(value):
        child = known.properties.get(name)
        rivals = [one for one in child.conflicts_with if value.get(one) is not None] if child else []
        if value.get(name) is None or len(rivals) < 2:
            continue
        numbers = [one for one in rivals if wanted.get(one) is not None]
        out = [name] if numbers and wanted.get(name) is None else rivals
        value = {key: item for key, item in value.items() if key not in out}
    return value


def _keyed(known: Field, items: Any) -> dict[str, Any]:
    if not isinstance(items, list):
        return {}
    if not known.is_keyed:
        return {str(at): item for at, item in enumerate(items)}
    return {item_key(known, item)[0]: item for item in items if isinstance(item, Mapping)}


def _missing(known: Field, value: Any, path: FieldPath) -> Iterator[str]:
    """Secrets that an object needs and does not have: sent without them, it would be refused."""
    if isinstance(value, list) and known.items is not None:
        for at, item in enumerate(value):
            key = item_key(known, item)[0] if known.is_keyed and isinstance(item, Mapping) else ""
            yield from _missing(known.items, item, path / (ItemKey(key) if key else at))
    elif isinstance(value, Mapping):
        for group in (*known.exactly_one, *known.at_least_one):
            secret = [n for n in group if (c := known.properties.get(n)) and (c.secret or c.write_only)]
            if secret and not any(value.get(name) is not None for name in group):
                yield str(path / secret[0])
        for name, item in value.items():
            if (child := known.at(name)) is not None:
                yield from _missing(child, item, path / name)
