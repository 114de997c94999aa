"""The environments of a project: which one is meant, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.errors import UsageError
from reconciler.manifest.substitute import Variable
from reconciler.manifest.suggest import did_you_mean
from reconciler.values import Source

if TYPE_CHECKING:
    from reconciler.manifest.project import Project

__all__ = ["Environment", "choose"]


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment of the project file.

    ``source``: where it is declared. ``stack``: its own name of the stack, "" for the project's.
    ``variables``: its own alone. ``overlays``: files and folders, relative to where the project file was
    looked for from. ``limits``: as those of the project. ``settings``: all that the project file says of it,
    as it is written: what its target refers to is needed only in runs that go there.
    """

    name: str
    source: Source
    stack: str = ""
    variables: Mapping[str, Variable] = field(default_factory=dict)
    overlays: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def choose(project: Project | None, name: str | None) -> Environment | None:
    """The environment of that name, else the default one; None in a project that has none.

    Raises UsageError when there is none of that name, or none was named and there is no default.
    """
    known = project.environments if project else {}
    if project is None or not known:
        if name is None:
            return None
        raise UsageError(
            f"there is no environment {name!r}: "
            + ("reconciler.yaml declares none" if project else "there is no project file"),
            fix="declare it under environments: in reconciler.yaml, or leave -e out",
        )
    told = ", ".join(known)
    where = str(project.source.file)
    if name is None:
        if project.default_environment:
            return known[project.default_environment]
        raise UsageError(
            "which environment is not said",
            where=where,
            why=f"the project has these: {told}",
            fix=f"name one, e.g. -e {next(iter(known))}, or write default_environment: in the project file",
        )
    if name not in known:
        raise UsageError(
            f"there is no environment {name!r}",
            where=where,
            why=f"known: {told}",
            fix=did_you_mean(name, known) or f"declare it under environments: in {where}",
        )
    return known[name]
