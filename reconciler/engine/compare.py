"""Two values in one shape → field changes, and a reason for every field that was left out. Pure.

The walk is led by the schema: objects field by field, lists by key, as sets or in order. What a
field is comes from its annotations; this module knows none by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.engine.pairing import match_items, shares_of
from reconciler.engine.sameness import contains, equal, explained, is_absent
from reconciler.engine.words import order_change, shares_change, value_change
from reconciler.schema import MISSING, Field, derived_default, lookup
from reconciler.shape import label_of, masked
from reconciler.values import FieldChange, FieldPath, ItemKey, Reason, Sealed, Skipped

__all__ = ["SENT_AGAIN", "Comparison", "compare_sections"]

SENT_AGAIN = "sent again"
"""Words of a change that is none: a value that cannot be read back and was asked to be sent again."""


@dataclass(slots=True)
class Comparison:
    """What a comparison found. ``compared`` counts the fields whose two sides were held together."""

    changes: list[FieldChange] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    compared: int = 0

    def take(self, other: Comparison) -> None:
        """Add what another comparison found."""
        self.changes += other.changes
        self.skipped += other.skipped
        self.compared += other.compared


def compare_sections(
    fields: Field,
    desired: Mapping[str, Any],
    live: Mapping[str, Any],
    *,
    name: str,
    ignore: Iterable[FieldPath] = (),
    resend: bool = False,
) -> Comparison:
    """Compare a desired spec with the live one, both in one shape (:func:`reconciler.shape.canonical`).

    A section (a field directly below the spec) that ``desired`` leaves out is not managed; one that it holds
    is authoritative, and ``None``, ``{}`` or ``[]`` means it shall be empty. ``name``: of the resource, for
    defaults that follow from it. ``ignore``: paths whose differences do not count. ``resend``: values that
    cannot be read back count as changed. Paths in the result are in the one spelling.
    """
    walk = _Walk({**live, "name": name}, {**live, **desired, "name": name}, tuple(ignore), resend)
    found = Comparison()
    for section, child in fields.properties.items():
        path = FieldPath((section,))
        if section in desired:
            part = walk.field(child, desired[section], live.get(section, MISSING), path)
            part.changes = [replace(change, section=section) for change in part.changes]
            found.take(part)
        elif not (child.alias_of or is_absent(live.get(section))):
            reason = Reason.COMPUTED if child.computed else Reason.UNMANAGED
            found.skipped.append(Skipped(path, reason))
    for section in desired:
        if section not in fields.properties:
            found.take(walk.passed_through(desired[section], live.get(section, MISSING), section))
    for section in live:
        if section not in fields.properties and section not in desired:
            found.skipped.append(Skipped(FieldPath((section,)), Reason.UNKNOWN))
    return found


@dataclass(slots=True)
class _Walk:
    """One comparison's surroundings: both roots, for rules that look at other fields."""

    live_root: Mapping[str, Any]
    desired_root: Mapping[str, Any]
    ignore: tuple[FieldPath, ...]
    resend: bool

    # ---- one field ------------------------------------------------------------------------------

    def field(
        self,
        definition: Field,
        desired: Any,
        live: Any,
        path: FieldPath,
        *,
        live_parent: Mapping[str, Any] | None = None,
        sensitive: bool = False,
    ) -> Comparison:
        """Compare one field; either side may be MISSING."""
        found = Comparison()
        wants = not is_absent(desired)
        exists = not is_absent(live)
        if not (wants or exists):
            if desired is not MISSING and definition.default is not MISSING:
                found.compared += 1
            if definition.not_echoed and desired is not MISSING:
                self._unreadable(found, definition, desired, path, Reason.NOT_ECHOED)
            return found
        if self.ignore and any(pattern.covers(path) for pattern in self.ignore):
            found.skipped.append(Skipped(path, Reason.IGNORED, "listed in lifecycle.ignore_changes"))
            return found
        if definition.computed:
            found.skipped.append(Skipped(path, Reason.COMPUTED))
            return found
        sensitive = sensitive or definition.sensitive
        if definition.sealed and isinstance(live, Sealed) and wants and not self.resend:
            self._sealed(found, definition, desired, live, path)
            return found
        if definition.write_only or definition.secret:
            if wants:
                self._unreadable(found, definition, desired, path, Reason.WRITE_ONLY)
            return found
        if definition.not_echoed and not exists:
            self._unreadable(found, definition, desired, path, Reason.NOT_ECHOED)
            return found
        forced = definition.overridden_when
        if forced and wants and live_parent is not None and live_parent.get(forced["live"]):
            found.skipped.append(Skipped(path, Reason.SERVER_OVERRIDES, forced["reason"]))
            return found
        if not wants and (left_out := self._left_out(definition, live, path)):
            found.skipped.append(left_out)
            return found
        found.take(self._shape(definition, desired, live, path, sensitive))
        return self._marked(definition, found, wants=wants, exists=exists, path=path)

    def _left_out(self, definition: Field, live: Any, path: FieldPath) -> Skipped | None:
        """Why a field that only the live side has is no difference; None when it is one."""
        if definition.server_chosen:
            return Skipped(path, Reason.SERVER_CHOSEN, definition.reason)
        if definition.default is not MISSING and equal(definition, definition.default, live):
            return Skipped(path, Reason.BACKEND_DEFAULT, definition.reason)
        if definition.default_rule is not None:
            default = derived_default(definition.default_rule, self.live_root)
            if default is not MISSING and contains(live, default):
                return Skipped(path, Reason.BACKEND_DEFAULT, definition.reason)
        return None

    @staticmethod
    def _sealed(found: Comparison, definition: Field, desired: Any, live: Sealed, path: FieldPath) -> None:
        """A value that cannot be read back, by what its fingerprint tells."""
        if live.verdict == "changed":
            found.compared += 1
            found.changes.append(
                FieldChange(path, None, desired, sensitive=True, words="value changed", why=live.why)
            )
        elif live.verdict == "same":
            found.compared += 1
        else:
            found.skipped.append(Skipped(path, Reason.WRITE_ONLY, live.why or definition.reason))

    def _unreadable(
        self, found: Comparison, definition: Field, desired: Any, path: FieldPath, reason: Reason
    ) -> None:
        if self.resend and not definition.immutable:
            found.changes.append(
                FieldChange(
                    path, None, desired, sensitive=definition.secret, words=SENT_AGAIN, why=reason.value
                )
            )
        else:
            found.skipped.append(Skipped(path, reason, definition.reason))

    def _shape(
        self, definition: Field, desired: Any, live: Any, path: FieldPath, sensitive: bool
    ) -> Comparison:
        if definition.pairs is not None or definition.extra is not None:
            return self._map(definition, desired, live, path, sensitive)
        if definition.properties:
            return self._object(definition, desired, live, path)
        if definition.is_keyed:
            return self._keyed(definition, desired, live, path)
        if definition.is_set:
            return self._set(definition, desired, live, path)
        if definition.is_sequence:
            return self._sequence(definition, desired, live, path)
        if isinstance(desired, (Mapping, list)) or isinstance(live, (Mapping, list)):
            return self.free_form(desired, live, path)
        return self._scalar(definition, desired, live, path, sensitive)

    def _marked(
        self, definition: Field, found: Comparison, *, wants: bool, exists: bool, path: FieldPath
    ) -> Comparison:
        """Mark the changes that no call can make in place."""
        kind = definition.immutable
        arrives_or_goes = wants != exists
        forces = kind is True or (kind == "once_set" and exists) or (kind == "presence" and arrives_or_goes)
        if forces:
            found.changes = [
                replace(c, forces_replace=True, why=definition.reason or "immutable") for c in found.changes
            ]
        elif definition.one_way:
            found.changes = [
                replace(c, forces_replace=True, why=definition.reason)
                if (c.path, c.before, c.after) == (path, *definition.one_way.values())
                else c
                for c in found.changes
            ]
        return found

    # ---- shapes ---------------------------------------------------------------------------------

    def _scalar(
        self, definition: Field, desired: Any, live: Any, path: FieldPath, sensitive: bool
    ) -> Comparison:
        found = Comparison(compared=1)
        default = None if definition.default is MISSING else definition.default
        before = default if is_absent(live) else live
        after = default if is_absent(desired) else desired
        if not equal(definition, after, before):
            label = label_of(definition, None) or (
                "" if not definition.unit else str(path[-1]).replace("_", " ")
            )
            told = label and not sensitive
            words = value_change(label, before, after, definition.unit) if told else ""
            found.changes.append(FieldChange(path, before, after, sensitive=sensitive, words=words))
        return found

    def _object(self, definition: Field, desired: Any, live: Any, path: FieldPath) -> Comparison:
        wants, exists = not is_absent(desired), not is_absent(live)
        if (wants and not isinstance(desired, Mapping)) or (exists and not isinstance(live, Mapping)):
            return Comparison([FieldChange(path, _shown(live), _shown(desired))], compared=1)
        wanted: Mapping[str, Any] = desired if wants else {}
        existing: Mapping[str, Any] = live if exists else {}
        found = Comparison()
        quick = not self.ignore
        for name, child in definition.properties.items():
            if name in wanted:
                if quick and child.is_plain and name in existing:
                    mine = wanted[name]
                    if mine == existing[name] and type(mine) is type(existing[name]) and mine is not None:
                        found.compared += 1
                        continue
            elif name not in existing:
                continue
            found.take(
                self.field(
                    child,
                    wanted.get(name, MISSING),
                    existing.get(name, MISSING),
                    path / name,
                    live_parent=existing,
                )
            )
        for name in [*wanted, *(n for n in existing if n not in wanted)]:
            if name in definition.properties:
                continue
            if name in wanted:
                found.take(self.free_form(wanted[name], existing.get(name, MISSING), path / name))
            else:
                found.skipped.append(Skipped(path / name, Reason.UNKNOWN))
        resent = [change for change in found.changes if change.words == SENT_AGAIN]
        real = [change for change in found.changes if change.words != SENT_AGAIN]
        if real and wants != exists:
            # A whole object came or went: one change says it; the parts' reasons stay. What forces a
            # replacement below keeps forcing it.
            inner = next((c for c in real if c.forces_replace), None)
            whole = FieldChange(
                path,
                masked(definition, _shown(live)),
                _shown(desired),
                sensitive=any(c.sensitive for c in real),
                words=self._words_for(definition, wanted or existing, real),
                forces_replace=inner is not None,
                why=inner.why if inner else "",
            )
            found.changes = [whole, *resent]
        elif definition.label:
            label = label_of(definition, {**existing, **wanted})
            found.changes = [_labelled(c, definition, path, label) for c in found.changes]
        return found

    def _words_for(self, definition: Field, item: Mapping[str, Any], changes: Sequence[FieldChange]) -> str:
        """Words for an object that came or went, when it has a label and a number with a unit."""
        label = label_of(definition, item)
        for change in changes:
            child = definition.properties.get(str(change.path[-1]))
            if label and child is not None and child.unit:
                return value_change(label, change.before, change.after, child.unit)
        return ""

    def _map(
        self, definition: Field, desired: Any, live: Any, path: FieldPath, sensitive: bool
    ) -> Comparison:
        wanted = desired if isinstance(desired, Mapping) else {}
        existing = live if isinstance(live, Mapping) else {}
        found = Comparison()
        for key in [*wanted, *(k for k in existing if k not in wanted)]:
            where = path / str(key)
            if self.ignore and any(pattern.covers(where) for pattern in self.ignore):
                found.skipped.append(Skipped(where, Reason.IGNORED, "listed in lifecycle.ignore_changes"))
                continue
            if definition.extra is not None and definition.extra.not_echoed and key not in existing:
                self._unreadable(found, definition.extra, wanted[key], where, Reason.NOT_ECHOED)
                continue
            before, after = existing.get(key), wanted.get(key)
            if isinstance(before, Mapping) and isinstance(after, Mapping):
                found.take(self.free_form(after, before, where))
                continue
            found.compared += 1
            if not equal(definition.extra, after, before):
                shown = masked(definition, {key: before})[key] if sensitive else before
                found.changes.append(FieldChange(where, shown, after, sensitive=sensitive))
        return found

    def _set(self, definition: Field, desired: Any, live: Any, path: FieldPath) -> Comparison:
        found = Comparison(compared=1)
        wanted = sorted({_sortable(v) for v in (desired if not is_absent(desired) else ())})
        existing = sorted({_sortable(v) for v in (live if not is_absent(live) else ())})
        if wanted != existing:
            plus = [f"+{v}" for v in wanted if v not in existing]
            minus = [f"−{v}" for v in existing if v not in wanted]
            words = f"{path[-1]!s}: {' '.join(plus + minus)}"
            found.changes.append(FieldChange(path, existing, wanted, words=words))
        return found

    @staticmethod
    def _sequence(definition: Field, desired: Any, live: Any, path: FieldPath) -> Comparison:
        """A list whose order counts."""
        found = Comparison(compared=1)
        wanted = [] if is_absent(desired) else list(desired)
        existing = [] if is_absent(live) else list(live)
        if wanted != existing:
            label = definition.label[0] if definition.label else str(path[-1])
            words = order_change(label, list(map(str, existing)), list(map(str, wanted)))
            found.changes.append(FieldChange(path, existing or None, wanted or None, words=words))
        return found

    # ---- keyed lists ----------------------------------------------------------------------------

    def _keyed(self, definition: Field, desired: Any, live: Any, path: FieldPath) -> Comparison:
        assert definition.items is not None
        wanted = [] if is_absent(desired) else list(desired)
        existing = [] if is_absent(live) else list(live)
        found = Comparison()
        pairs = match_items(definition, wanted, existing)
        for key, mine, theirs in pairs:
            where = path / ItemKey(key)
            part = self.field(definition.items, mine, theirs, where)
            if MISSING in (mine, theirs):
                self._came_or_went(definition, part, mine, theirs, where)
            found.take(part)
        found.changes = self._flips(definition.items, wanted, existing, found.changes)
        order = definition.order
        if order and lookup(self.desired_root, order["meaningful_when"]) is True:
            self._order(order.get("label", "order"), pairs, existing, path, found)
        if definition.shares and found.changes:
            order_of = [key for key, _, _ in pairs]
            before, after = (shares_of(definition, side, order_of) for side in (existing, wanted))
            if before != after:
                words = shares_change(definition.label[0], before, after)
                found.changes[0] = replace(found.changes[0], words=words)
        return found

    @staticmethod
    def _came_or_went(definition: Field, part: Comparison, mine: Any, theirs: Any, where: FieldPath) -> None:
        """An item of its own is a difference, unless it is ignored or its share of the whole is nothing.

        It forces no replacement: what cannot be changed in place was not changed, but is there or gone. That
        all items turn to another sort is for :meth:`_flips` to say.
        """
        only = theirs if mine is MISSING else mine
        part.changes = [
            replace(c, forces_replace=False, why="") if c.forces_replace else c for c in part.changes
        ]
        if definition.shares and isinstance(only, Mapping) and only.get(definition.shares) == 0:
            part.changes.clear()
        elif not part.changes and not any(s.path == where for s in part.skipped):
            part.changes.append(FieldChange(where, masked(definition.items, _shown(theirs)), _shown(mine)))

    @staticmethod
    def _flips(
        item: Field, wanted: Sequence[Any], existing: Sequence[Any], changes: list[FieldChange]
    ) -> list[FieldChange]:
        """Mark changes when all items together turn from one sort to the other (external ↔ custom)."""
        if not (wanted and existing):
            return changes
        for name, child in item.properties.items():
            if child.immutable != "presence" and not child.variant:
                continue
            now, then = (
                any(isinstance(i, Mapping) and not is_absent(i.get(name)) for i in side)
                for side in (wanted, existing)
            )
            if now != then:
                why = child.reason or f"{name} can neither come nor go in place"
                changes = [replace(c, forces_replace=True, why=c.why or why) for c in changes]
        return changes

    @staticmethod
    def _order(
        label: str,
        pairs: Sequence[tuple[str, Any, Any]],
        existing: Sequence[Any],
        path: FieldPath,
        found: Comparison,
    ) -> None:
        common = [
            (key, theirs) for key, mine, theirs in pairs if mine is not MISSING and theirs is not MISSING
        ]
        found.compared += 1
        mine_order = [key for key, _ in common]
        theirs_order = [key for item in existing for key, theirs in common if theirs is item]
        if mine_order != theirs_order:
            words = order_change(label, theirs_order, mine_order)
            found.changes.append(FieldChange(path, theirs_order, mine_order, words=words))

    # ---- values no schema describes -------------------------------------------------------------

    def passed_through(self, desired: Any, live: Any, section: str) -> Comparison:
        """A section newer than the schema: sent with a create, and no call is known that changes it."""
        found = self.free_form(desired, live, FieldPath((section,)))
        for change in found.changes:
            detail = f"differs, and no call is known that changes {section}: it is sent with a create only"
            found.skipped.append(Skipped(change.path, Reason.UNKNOWN, detail))
        found.changes.clear()
        return found

    def free_form(self, desired: Any, live: Any, path: FieldPath) -> Comparison:
        """Values without a schema: equal or not, and where. A field newer than the schema lands here."""
        found = Comparison(compared=1)
        before, after = _shown(live), _shown(desired)
        if before == after:
            return found
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            # A Secret is no str, and may yet be the same value.
            differences = explained(before, after, path)
            found.changes += [c for c in differences if not equal(None, c.after, c.before)]
        else:
            found.changes.append(FieldChange(path, before, after))
        return found


def _labelled(change: FieldChange, definition: Field, path: FieldPath, label: str) -> FieldChange:
    """Put an item's label into the words of a number directly below it."""
    below = change.path[len(path) :]
    child = definition.properties.get(str(below[0])) if len(below) == 1 else None
    if not (label and child is not None and child.unit):
        return change
    return replace(change, words=value_change(label, change.before, change.after, child.unit))


def _shown(value: Any) -> Any:
    return None if value is MISSING else value


def _sortable(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
