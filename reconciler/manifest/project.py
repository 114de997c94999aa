"""The project file ``reconciler.yaml``: stack, target, where the manifests are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reconciler import schema
from reconciler.errors import ManifestError, Problem
from reconciler.manifest import text
from reconciler.manifest.document import masked
from reconciler.manifest.files import PROJECT_FILE, file_name
from reconciler.manifest.judge import schema_problems
from reconciler.manifest.positions import Document, Parts
from reconciler.manifest.scalars import shown
from reconciler.manifest.variables import Reference, Resolver
from reconciler.values import Source

__all__ = ["PROJECT_FILE", "Project", "find_project", "load_project"]

_SCHEMA: Final = "project"


@dataclass(frozen=True, slots=True)
class Project:
    """What a project file says.

    ``target``: "" when it names none. ``manifests``: paths for :func:`reconciler.manifest.load`, made
    relative to where the project file was looked for from; empty when it names none. ``root``: its folder.
    ``config_path``: the file that the target's gateway serves, "" when it names none; relative likewise.
    ``allow_commands``: manifests may hold ``${cmd:command}``.
    ``limits``: as they are written (``max_deletes``, ``max_changes``, ``writes``), those that are.
    """

    stack: str
    target: str
    manifests: tuple[str, ...]
    root: Path
    source: Source
    config_path: str = ""
    allow_commands: bool = False
    limits: Mapping[str, str] = field(default_factory=dict)


def find_project(cwd: Path) -> Path | None:
    """The project file of a folder, None when it has none. Folders above are not searched."""
    path = cwd / PROJECT_FILE
    return path if path.is_file() else None


def load_project(path: Path, *, environ: Mapping[str, str] | None = None) -> Project:
    """Read and check a project file. Raises ManifestError with all its problems.

    ``environ``: what ``${env:NAME}`` may name in its values, nothing by default.
    """
    name = file_name(path)
    if not os.path.lexists(path):
        what = "there is no such project file"
        raise ManifestError([Problem(name, 0, 0, "", what, f"create {PROJECT_FILE}", "no-such-path")])
    content, unreadable = text.read(path, name)
    if unreadable:
        raise ManifestError(unreadable)
    parsed = text.parse(content, name)
    problems = list(parsed.problems)
    if not problems:
        problems += _count_problems(name, parsed.documents)
    resolver = Resolver(environ or {}, path.parent)
    for document in parsed.documents[:1]:
        if not document.is_broken:
            problems += _problems(document, resolver, path.parent)
    if problems:
        raise ManifestError(masked(problems, resolver.secrets))
    return _project(parsed.documents[0], path)


def _count_problems(name: str, documents: tuple[Document, ...]) -> list[Problem]:
    if not documents:
        return [Problem(name, 0, 0, "", "is empty", "write apiVersion, kind and stack", "not-a-manifest")]
    what = "a project file holds one document"
    return [extra.problem((), what, "remove the others", "not-a-manifest") for extra in documents[1:]]


def _problems(document: Document, resolver: Resolver, folder: Path) -> list[Problem]:
    value = document.value
    if not isinstance(value, dict):
        what = "a project file is a mapping"
        return [document.problem((), what, "begin with apiVersion and kind", "not-a-manifest")]
    if isinstance(value.get("kind"), str) and value["kind"] in schema.kinds():
        what = f"{shown(value['kind'])} is a kind of manifest, and this is the project file"
        return [document.problem(("kind",), what, "write kind: Project", "unknown-kind")]
    references: dict[Parts, Reference] = {}
    problems: list[Problem] = []
    if document.has_references:
        references, problems = resolver.resolve(document, schema.document_fields(_SCHEMA), folder)
    unset = {document.problem(path, "").path for path, ref in references.items() if ref.is_unset}
    found = schema_problems(document, _SCHEMA, references)
    return [*problems, *(problem for problem in found if problem.path not in unset)]


def _project(document: Document, path: Path) -> Project:
    value: Mapping[str, Any] = document.value
    folder = path.parent
    return Project(
        stack=value["stack"],
        target=value.get("target", ""),
        manifests=tuple(str(folder / manifest) for manifest in value.get("manifests", ())),
        root=folder,
        source=Source(document.file, document.line, document.column),
        config_path=str(folder / value["config_path"]) if "config_path" in value else "",
        allow_commands=value.get("allow_commands", False),
        limits={name: str(limit) for name, limit in (value.get("limits") or {}).items()},
    )
