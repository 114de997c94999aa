"""Manifests as git knows them: what was touched since a revision, and what they said then."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import ManifestError, UsageError
from reconciler.git import Repository
from reconciler.manifest.files import file_name
from reconciler.values import Resource

if TYPE_CHECKING:
    from reconciler.cli.scope import Scope
    from reconciler.manifest.project import Project

__all__ = ["Base", "base_of", "commit_of", "touched"]


@dataclass(frozen=True, slots=True)
class Base:
    """What was declared at ``revision`` (a name; ``commit``: all 40 digits of what it means), fit for the
    target of today. ``repository``: who set which line.
    """

    revision: str
    commit: str
    resources: tuple[Resource, ...]
    repository: Repository

    @property
    def name(self) -> str:
        """The revision as people read it: with the commit that it means."""
        short = self.commit[:9]
        return short if self.revision.startswith(short) else f"{self.revision} ({short})"


def touched(
    resources: Sequence[Resource], project: Project | None, scope: Scope, revision: str
) -> frozenset[int]:
    """The places, in ``resources``, of those whose files differ from a revision: the manifest's, those of
    overlays of it, then or now, and those whose content it holds. All of them when the project file does:
    its variables may stand anywhere.

    Raises UsageError when git cannot tell.
    """
    repository = _repository(project)
    changed = {str(path) for path in repository.changed_since(revision)}
    patched = _patched(changed, project, scope, repository, revision)

    def is_touched(file: str) -> bool:
        return os.path.realpath(file) in changed

    if project is not None and is_touched(project.source.file):
        return frozenset(range(len(resources)))
    return frozenset(
        at
        for at, resource in enumerate(resources)
        if str(resource.address) in patched or "" in patched or any(map(is_touched, _files(resource)))
    )


def _patched(
    changed: Iterable[str], project: Project | None, scope: Scope, repository: Repository, revision: str
) -> set[str]:
    """The addresses of the overlays in changed files, then or now; "" for one that is not known. One that
    only takes something out sets no value, and one that is gone none any more."""
    from reconciler.manifest import text
    from reconciler.manifest.environments import choose

    environment = choose(project, scope.environment)
    places = [os.path.realpath(path) for path in (environment.overlays if environment else ())]
    found: set[str] = set()
    for file in changed:
        if not any(file == place or file.startswith(place + os.sep) for place in places):
            continue
        then = repository.content(Path(file), revision)
        now = Path(file).read_bytes() if Path(file).is_file() else b""
        for content in (then, now):
            for document in text.parse(content.decode(errors="replace"), file).documents:
                address = document.value.get("address") if isinstance(document.value, dict) else None
                if isinstance(address, str):
                    found.add("" if "${" in address else address)
    return found


def _files(resource: Resource) -> set[str]:
    from reconciler.values import Secret

    files = {resource.source.file} | {place.file for place in resource.positions.values()}

    def gather(value: Any) -> None:
        if isinstance(value, Secret) and value.origin is not None and value.origin.scheme == "file":
            files.add(value.origin.argument)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            gather(item)

    gather(resource.spec)
    return files


def base_of(
    revision: str,
    paths: Sequence[str],
    project: Project | None,
    scope: Scope,
    fit: Callable[[tuple[Resource, ...]], tuple[Resource, ...]],
) -> Base:
    """What the manifests said at a revision, in the same environment. ``paths``: as the command line names
    them; ``fit``: makes resources those of a target.

    What was not there then declares nothing. Values that cannot be resolved any more are not known, and no
    command is run. Raises UsageError when git cannot tell, or when the manifests were not valid then.
    """
    repository = _repository(project)
    commit = repository.resolve(revision)
    with repository.at(commit) as folder:
        try:
            resources = _declared(folder, repository, paths, project, scope)
            resources = fit(tuple(_as_here(one, folder, repository) for one in resources))
        except ManifestError as error:
            first = error.problems[0]
            where = _here(first.file, folder, repository)
            raise UsageError(
                f"the manifests at {revision} cannot be read",
                where=f"{where}:{first.line}" if first.line else where,
                why=first.what + (f" (and {len(error.problems) - 1} more)" if error.problems[1:] else ""),
                fix="name a revision at which reconciler validate finds nothing",
            ) from error
    return Base(revision, commit, resources, repository)


def commit_of(revision: str, project: Project | None) -> str:
    """The commit that a revision means, all 40 digits. Raises UsageError when it means none."""
    return _repository(project).resolve(revision)


def _repository(project: Project | None) -> Repository:
    return Repository((project.root if project else Path()).absolute())


def _declared(
    folder: Path, repository: Repository, paths: Sequence[str], project: Project | None, scope: Scope
) -> tuple[Resource, ...]:
    from reconciler.manifest.document import load
    from reconciler.manifest.environments import choose
    from reconciler.manifest.layers import Layers
    from reconciler.manifest.project import load_project

    def there(path: str | Path) -> Path:
        return folder / repository.inside(Path(path))

    then: Project | None = None
    if project is not None and (file := there(project.root / Path(project.source.file).name)).is_file():
        then = load_project(file, environ=os.environ)
    environment = None
    if scope.environment or (then is not None and then.environments):
        if then is None or (scope.environment or then.default_environment) not in then.environments:
            return ()
        environment = choose(then, scope.environment)
    if paths:
        named = [str(there(path)) for path in paths]
    else:
        # A project file may have come later than its manifests: these stood where it looks for them today.
        listed = (
            then.manifests if then is not None else [there(p) for p in (project.manifests if project else ())]
        )
        named = list(map(str, listed)) or [str(there("manifests"))]
    named = [path for path in named if os.path.lexists(path) and not _is_bare(path)]
    layers = None
    if then is not None and (then.environments or then.variables):
        layers = Layers(then, environment, is_whole=False)
    if not named and layers is None:
        return ()
    return load(
        named,
        environ=os.environ,
        root=then.root if then is not None else folder,
        allow_unset=True,
        commands="skip",
        layers=layers,
    ).resources


def _is_bare(path: str) -> bool:
    """A folder in which there was no manifest yet."""
    from reconciler.manifest.files import find

    return Path(path).is_dir() and not find([path])[0]


def _as_here(resource: Resource, folder: Path, repository: Repository) -> Resource:
    """The resource with the file that it would stand in today."""
    file = _here(resource.source.file, folder, repository)
    return replace(resource, source=replace(resource.source, file=file), positions={})


def _here(file: str, folder: Path, repository: Repository) -> str:
    inside = os.path.relpath(os.path.realpath(file), os.path.realpath(folder))
    if inside.startswith(".."):
        return file
    return file_name(os.path.relpath(os.path.realpath(repository.root / inside)))
