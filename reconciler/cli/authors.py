"""Who last set what a plan changes, as git knows it; for ``--since``."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.git import Commit, Repository
from reconciler.manifest.positions import Positions
from reconciler.values import FieldChange, ItemKey, Resource, Source

if TYPE_CHECKING:
    from reconciler.manifest.substitute import Variable

__all__ = ["Authors"]

_UNCOMMITTED: Final = str(Commit("", "", "", "", 0))


class Authors:
    """The commits behind the lines of today's manifests.

    ``commit``: that of the revision, all 40 digits. ``resources``: as they are declared today; ``variables``:
    those that may stand in them.
    """

    def __init__(
        self,
        repository: Repository,
        commit: str,
        resources: Sequence[Resource],
        variables: Mapping[str, Variable],
    ) -> None:
        self._repository = repository
        self._commit = commit
        self._parts = _parts(resources, variables)

    def of(self, change: FieldChange) -> str:
        """The commit that last set the value of a change, with the variable that it stands in; "" when git
        does not know the file, or when nobody declared anything there.

        A mapping or a list was set by who set the last of its lines. What an edit took away has no line any
        more: then it is who took its name, or an item of it, out of the file since. An edit that no line of
        today explains was made elsewhere: in an overlay that is gone, or in the project file.
        """
        source = change.source
        if source is None:
            return ""
        parts = self._parts.get(source, {source: ""})
        is_holder = any(not told for place, told in parts.items() if place != source)
        if change.after is None or (is_holder and not isinstance(change.after, (dict, list))):
            lost = _words(change)
            return (
                ""
                if change.cause == "drift"
                else self._taken(source.file, lost) or self._elsewhere(source.file)
            )
        commits = {place: commit for place in parts if (commit := self._last_set(place)) is not None}
        if not commits:
            return ""
        last = self._repository.latest(tuple(commits.values()))
        if change.cause != "drift" and last.sha and self._repository.contains(self._commit, last.sha):
            lost = _words(change) if isinstance(change.after, list) else []
            return self._taken(source.file, lost) or self._elsewhere(source.file)
        return f"{last}{next(parts[place] for place, commit in commits.items() if commit is last)}"

    def removed_from(self, file: str) -> str:
        """The commit since the revision that took something away which a file declared: the last that touched
        it, or the project file, or an overlay."""
        return self._taken(file, [""]) or self._elsewhere(file)

    def _taken(self, file: str, words: Sequence[str]) -> str:
        """The last commit that changed how often one of these stands in the file ("": that changed it); "" if
        it was none."""
        path = Path(os.path.abspath(file))  # noqa: PTH100
        tries = (self._repository.last_touched(path, self._commit, word) for word in words)
        if (commit := next(filter(None, tries), None)) is not None:
            return str(commit)
        return _UNCOMMITTED if words and Path(os.path.realpath(path)) in self._edited else ""

    def _elsewhere(self, file: str) -> str:
        """It was an overlay, or the project file: the last commit that touched other files of the project."""
        here = self._repository.folder
        path = Path(os.path.abspath(file))  # noqa: PTH100
        commit = self._repository.last_touched(here, self._commit, but=path)
        return str(commit) if commit is not None else _UNCOMMITTED

    @functools.cached_property
    def _edited(self) -> frozenset[Path]:
        return self._repository.changed_since("HEAD")

    def _last_set(self, source: Source) -> Commit | None:
        return self._repository.last_set(replace(source, file=os.path.abspath(source.file)))  # noqa: PTH100


def _words(change: FieldChange) -> list[str]:
    """What stood in the file and does no more: the items that a list has lost, else the name of the field."""
    if isinstance(change.before, list) and isinstance(change.after, list) and not change.sensitive:
        return [one for one in change.before if isinstance(one, str) and one not in change.after]
    name = change.path[-1] if change.path else ""
    text = name.text if isinstance(name, ItemKey) else str(name)
    return ["prevent_destroy"] if text == "protected" else [text]


def _parts(
    resources: Sequence[Resource], variables: Mapping[str, Variable]
) -> dict[Source, dict[Source, str]]:
    """The place of each value → the places that it is made of, its own first; beside a variable's, which."""
    found: dict[Source, dict[Source, str]] = {}
    for resource in resources:
        places = resource.positions
        if not isinstance(places, Positions):
            continue
        for path in places:
            source, names = places.origin(path)
            if source is None:
                continue
            made_of = {source: ""}
            for one in (variables[name] for name in names if name in variables):
                made_of[one.source] = f" (${{var.{one.name}}} {one.source.file}:{one.source.line})"
            for depth in range(1, len(path) + 1):
                above = places.origin(path[:depth])[0]
                if above is not None:
                    found.setdefault(above, {above: ""}).update(made_of)
    return found
