"""Values of a record, made ready to be sent again: what was masked is put back, what is lost is named.

Pure, and led by the schema, as the comparison is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.schema import Field
from reconciler.shape import canonical, item_key
from reconciler.values import FieldPath, ItemKey, Masked, Secret

__all__ = ["Filler", "main_spellings", "missing"]


def main_spellings(fields: Field, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec in the spellings that answers have."""
    shape: Mapping[str, Any] = canonical(fields, dict(spec))
    return shape


@dataclass(slots=True)
class Filler:
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


def missing(known: Field, value: Any, path: FieldPath) -> Iterator[str]:
    """Secrets that an object needs and does not have: sent without them, it would be refused."""
    if isinstance(value, list) and known.items is not None:
        for at, item in enumerate(value):
            key = item_key(known, item)[0] if known.is_keyed and isinstance(item, Mapping) else ""
            yield from missing(known.items, item, path / (ItemKey(key) if key else at))
    elif isinstance(value, Mapping):
        for group in (*known.exactly_one, *known.at_least_one):
            secret = [n for n in group if (c := known.properties.get(n)) and (c.secret or c.write_only)]
            if secret and not any(value.get(name) is not None for name in group):
                yield str(path / secret[0])
        for name, item in value.items():
            if (child := known.at(name)) is not None:
                yield from missing(child, item, path / name)
