"""The project file ``reconciler.yaml``: stack, target, where the manifests are, environments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from reconciler import schema
from reconciler.errors import ManifestError, Problem, UsageError
from reconciler.manifest import text
from reconciler.manifest.document import masked
from reconciler.manifest.environments import Environment
from reconciler.manifest.files import PROJECT_FILE, file_name
from reconciler.manifest.judge import schema_problems
from reconciler.manifest.positions import Document, Parts
from reconciler.manifest.scalars import shown
from reconciler.manifest.substitute import Variable, named
from reconciler.manifest.suggest import did_you_mean
from reconciler.manifest.variables import Reference, Resolver
from reconciler.values import FieldPath, ItemKey, Source

__all__ = ["PROJECT_FILE", "Project", "config_path_of", "find_project", "load_project", "target_of"]

_SCHEMA: Final = "project"
# What these hold is resolved where it is used: not every run has what another environment refers to.
_RESOLVED_LATER: Final = ("variables", "environments", "policies", "freeze", "probes")


@dataclass(frozen=True, slots=True)
class Project:
    """What a project file says.

    ``target``: "" when it names none. ``manifests``: paths for :func:`reconciler.manifest.load`, made
    relative to where the project file was looked for from; empty when it names none. ``root``: its folder.
    ``config_path``: the file that the target's gateway serves, "" when it names none; relative likewise.
    ``allow_commands``: manifests may hold ``${cmd:command}``.
    ``limits``: as they are written (``max_deletes``, ``max_changes``, ``writes``), those that are.
    ``variables``: those that every environment has. ``promote``: kind → the fields that may travel from one
    environment to another, as paths below ``spec``. ``document``: the file itself, with its places.
    """

    stack: str
    target: str
    manifests: tuple[str, ...]
    root: Path
    source: Source
    config_path: str = ""
    allow_commands: bool = False
    limits: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, Environment] = field(default_factory=dict)
    default_environment: str = ""
    variables: Mapping[str, Variable] = field(default_factory=dict)
    promote: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    document: Document | None = field(default=None, compare=False, repr=False)


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
        later = {name: value.pop(name) for name in _RESOLVED_LATER if name in value}
        references, problems = resolver.resolve(document, schema.document_fields(_SCHEMA), folder)
        value.update(later)
    unset = {document.problem(path, "").path for path, ref in references.items() if ref.is_unset}
    found = schema_problems(document, _SCHEMA, references)
    problems += (problem for problem in found if problem.path not in unset)
    return problems or [*_variable_problems(document), *_environment_problems(document)]


def _variable_problems(document: Document) -> list[Problem]:
    """A variable refers to no other: which came first would be a riddle."""
    holders: dict[Parts, Any] = {("variables",): document.value.get("variables")}
    for name, environment in (document.value.get("environments") or {}).items():
        holders["environments", name, "variables"] = (environment or {}).get("variables")
    what, fix = "a variable does not refer to other variables", "write its value"
    return [
        document.problem((*path, name), what, fix, "variable-of-variable")
        for path, variables in holders.items()
        for name, value in (variables or {}).items()
        if next(named(value), None) is not None
    ]


def _environment_problems(document: Document) -> list[Problem]:
    value = document.value
    known = value.get("environments") or {}
    problems = []
    if (default := value.get("default_environment")) is not None and default not in known:
        fix = did_you_mean(default, known) or f"known: {', '.join(known) or 'none'}"
        what = f"there is no environment {shown(default)}"
        problems.append(document.problem(("default_environment",), what, fix, "unknown-environment"))
    for kind, paths in (value.get("promote") or {}).items():
        if kind not in schema.kinds():
            fix = did_you_mean(kind, schema.kinds()) or f"known: {', '.join(schema.kinds())}"
            problems.append(
                document.problem(("promote", kind), f"unknown kind {shown(kind)}", fix, "unknown-kind")
            )
            continue
        for at, text_of_path in enumerate(paths):
            try:
                path = FieldPath.parse(text_of_path)
            except UsageError as error:
                problems.append(
                    document.problem(("promote", kind, at), error.what, error.fix, "promoted-path")
                )
                continue
            parts = [part.text if isinstance(part, ItemKey) else part for part in path]
            if schema.spec_fields(kind).at(*parts) is None:
                what = f"{kind} has no field {shown(text_of_path)}"
                fix = "write a path below spec, e.g. config.served_entities[*].entity_version"
                problems.append(document.problem(("promote", kind, at), what, fix, "promoted-path"))
    return problems


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
        environments={
            name: _environment(document, name, settings or {}, folder)
            for name, settings in value.get("environments", {}).items()
        },
        default_environment=value.get("default_environment", ""),
        variables=_variables(document, ("variables",), value.get("variables")),
        promote={kind: tuple(paths) for kind, paths in value.get("promote", {}).items()},
        document=document,
    )


def _environment(document: Document, name: str, settings: Mapping[str, Any], folder: Path) -> Environment:
    path: Parts = ("environments", name)
    return Environment(
        name=name,
        stack=settings.get("stack", ""),
        variables=_variables(document, (*path, "variables"), settings.get("variables")),
        overlays=tuple(str(folder / overlay) for overlay in settings.get("overlays", ())),
        limits={name: str(limit) for name, limit in (settings.get("limits") or {}).items()},
        source=document.positions[path],
        settings=settings,
    )


def _variables(document: Document, path: Parts, values: Mapping[str, Any] | None) -> dict[str, Variable]:
    return {
        name: Variable(name, value, document.positions[(*path, name)])
        for name, value in (values or {}).items()
    }


def target_of(project: Project, environment: Environment, environ: Mapping[str, str]) -> str:
    """Where the environment is: its own target, else the project's; "" when neither names one.

    ``environ``: what ``${env:NAME}`` in it may name. Raises ManifestError when it cannot be resolved.
    """
    return _resolved(project, environment, "target", environ) or project.target


def config_path_of(project: Project, environment: Environment, environ: Mapping[str, str]) -> str:
    """The file that the environment's gateway serves: its own, else the project's; likewise."""
    own = _resolved(project, environment, "config_path", environ)
    return str(project.root / own) if own else project.config_path


def _resolved(project: Project, environment: Environment, name: str, environ: Mapping[str, str]) -> str:
    written = environment.settings.get(name, "")
    if "${" not in written or project.document is None:
        return str(written)
    holder: dict[str, Any] = {name: written}
    positions = project.document.positions.below("environments").below(environment.name)
    document = replace(project.document, value=holder, positions=positions)
    resolver = Resolver(environ, project.root)
    _, problems = resolver.resolve(document, None, project.root)
    if problems:
        raise ManifestError(masked(problems, resolver.secrets))
    return str(holder[name])
