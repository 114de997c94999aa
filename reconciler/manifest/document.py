"""Manifest files → desired resources, or every problem of every file at once."""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from reconciler import schema
from reconciler.errors import ManifestError, Problem
from reconciler.manifest import text
from reconciler.manifest.checks import check, unknown_fields
from reconciler.manifest.commands import Mode
from reconciler.manifest.files import Found, find
from reconciler.manifest.judge import schema_problems
from reconciler.manifest.positions import Document, Parts
from reconciler.manifest.scalars import shown
from reconciler.manifest.suggest import nearest
from reconciler.manifest.variables import Reference, Resolver, with_secrets
from reconciler.schema import Field, lookup
from reconciler.values import MASK, Address, Lifecycle, Resource, Secret, Source

if TYPE_CHECKING:
    from reconciler.manifest.layers import Layers

__all__ = ["Loaded", "load", "masked"]

_SHORTEST_MASKED: Final = 4  # masking shorter values would make messages unreadable, and hide nothing


@dataclass(frozen=True, slots=True, repr=False)
class Loaded:
    """What the manifests say.

    ``resources``: in the order of the files. ``secrets``: everything resolved that is secret or looks so, for
    masking outputs. ``warnings``: sorted by place. ``files``: what was read, as messages name it.
    ``documents``: what the resources were made of, variables and overlays in place, other references as they
    are written; in the order of the resources, and empty unless they were asked for. ``looked_up``,
    ``opened``: environment variables and files that references name.
    """

    resources: tuple[Resource, ...]
    secrets: tuple[Secret, ...] = ()
    warnings: tuple[Problem, ...] = ()
    files: tuple[str, ...] = ()
    documents: tuple[Document, ...] = ()
    looked_up: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()

    def __repr__(self) -> str:
        # Short: fields that are compared with the server hold plain text, from secret-looking names too.
        return f"Loaded({len(self.resources)} resources of {len(self.files)} files)"


def load(
    paths: Sequence[str | Path],
    *,
    environ: Mapping[str, str],
    root: Path,
    allow_unset: bool = False,
    commands: Mode = "refuse",
    stdin: BinaryIO | None = None,
    layers: Layers | None = None,
    keep_documents: bool = False,
    is_draft: bool = False,
) -> Loaded:
    """Read, resolve and check manifests. Raises ManifestError with all problems of all files.

    ``paths``: files, folders, or ``-`` for the standard input (``stdin``, else the process's own).
    ``environ``: what ``${env:NAME}`` may name. ``root``: the project's folder; ``${file:path}`` stays inside
    of it or of the manifest's own folder. ``allow_unset``: variables that are not set and files that are
    missing are no problems; a placeholder Secret stands for their values, for checks only. ``commands``:
    whether ``${cmd:command}`` may run one; skipped, the same placeholder stands for its value. ``layers``:
    what the environment lays over the manifests. ``keep_documents``: give the documents too. ``is_draft``:
    more edits follow, so that what the fields of a document say of each other is not judged yet.
    """
    files, problems = find(paths)
    variables = layers.variables if layers is not None else ()
    resolver = Resolver(environ, root, allow_unset=allow_unset, variables=variables, commands=commands)
    load = _Load(resolver, layers, keep_documents, is_draft)
    for file in files:
        load.file(file, root, stdin)
    load.rest()
    problems += load.problems
    if files and not load.documents and not problems:
        problems.append(
            Problem(files[0].name, 0, 0, "", "no manifest in any of the files", "", "no-manifest")
        )
    secrets = load.resolver.secrets
    warnings = tuple(sorted(set(masked(load.warnings, secrets))))
    if problems:
        raise ManifestError(masked(problems, secrets), warnings)
    names = (*(file.name for file in files), *(layers.files if layers is not None else ()))
    kept, read = tuple(load.kept), (tuple(resolver.looked_up), tuple(resolver.opened))
    return Loaded(tuple(load.resources), secrets, warnings, names, kept, *read)


def masked(problems: Iterable[Problem], secrets: Sequence[Secret]) -> list[Problem]:
    """The same problems without any secret value in their words: a second net, the first is not to say it."""
    values = sorted(
        {s.reveal() for s in secrets if len(s.reveal()) >= _SHORTEST_MASKED}, key=len, reverse=True
    )
    return [_masked(problem, values) for problem in problems]


def _masked(problem: Problem, values: Sequence[str]) -> Problem:
    what, fix, path = problem.what, problem.fix, problem.path
    for value in values:
        if value in what or value in fix or value in path:
            what, fix, path = (part.replace(value, MASK) for part in (what, fix, path))
    return replace(problem, what=what, fix=fix, path=path)


class _Load:
    """One run over files; gathers resources, problems and warnings."""

    def __init__(
        self, resolver: Resolver, layers: Layers | None = None, keeps: bool = False, is_draft: bool = False
    ) -> None:
        self.resolver = resolver
        self.kept: list[Document] = []
        self._layers = layers
        self._keeps = keeps
        self._is_draft = is_draft
        self._is_partial = False
        self.resources: list[Resource] = []
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.documents = 0
        self._names: dict[Address, Source] = {}
        self._budgets: dict[tuple[str, ...], Source] = {}
        self._moves: list[tuple[Address, Document]] = []

    def file(self, file: Found, root: Path, stdin: BinaryIO | None) -> None:
        """Read one file and take all its documents."""
        if self._layers is not None and self._layers.holds(file.path):
            return
        stream = None if file.path is not None else stdin or sys.stdin.buffer
        content, problems = text.read(file.path or Path(), file.name, stream)
        self.problems += problems
        if problems:
            self._is_partial = True
            return
        parsed = text.parse(content, file.name)
        self.problems += parsed.problems
        told = parsed.doubtful | {(problem.line, problem.column) for problem in parsed.problems}
        self.documents += len(parsed.documents)
        folder = file.path.parent if file.path is not None else root
        for document in parsed.documents:
            if not document.is_broken:
                # What could not be read is reported already; more about the same place is noise.
                found = self._layered(document, folder)
                self.problems += [p for p in found if (p.line, p.column) not in told or p.file != file.name]
        self._is_partial = self._is_partial or bool(parsed.problems)

    def rest(self) -> None:
        """What the layers hold besides: manifests of their own, and what fits nothing; then what only all
        documents together tell."""
        if self._layers is not None:
            self._rest_of(self._layers)
        self.problems += self._moved()

    def _rest_of(self, layers: Layers) -> None:
        self.problems += layers.problems
        for document, folder in layers.manifests:
            self.documents += 1
            self.problems += self._layered(document, folder)
        if not self._is_partial and not layers.problems:
            self.problems += layers.left_over(tuple(self._names))

    def _layered(self, document: Document, folder: Path) -> list[Problem]:
        if self._layers is None:
            return self._document(document, folder)
        laid, problems = self._layers.laid(document)
        if laid is not None:
            problems += self._document(laid, folder)
        return problems

    def _document(self, document: Document, folder: Path) -> list[Problem]:
        """Take one document; its problems, empty when it became a resource."""
        value = document.value
        if problem := _wrong_head(document):
            return [problem]
        kind = value["kind"]
        name = schema.kinds()[kind]
        written = replace(document, value=copy.deepcopy(value)) if self._keeps else None
        references: dict[Parts, Reference] = {}
        problems: list[Problem] = []
        if document.has_references:
            fields = schema.document_fields(name)
            references, problems = self.resolver.resolve(document, fields, folder)
        is_open = lookup(value, "metadata.allow_unknown_fields") is True
        found = schema_problems(document, name, references, lenient=is_open)
        findings = check(kind, document, references)
        if is_open:
            unknown_fields(kind, document, findings)
        told = found if self._is_draft else [*found, *findings.problems]
        problems += _certain(told, document, references)
        self.warnings += _certain(findings.warnings, document, references)
        problems += self._duplicate_name(kind, document)
        moved = lookup(document.value, "lifecycle.moved_from")
        if isinstance(moved, str) and moved != lookup(document.value, "metadata.name"):
            self._moves.append((Address(kind, moved), document))
        if not problems:
            self.resources.append(_resource(kind, document, references))
            if written is not None:
                self.kept.append(written)
        return problems

    def _moved(self) -> list[Problem]:
        """Moves that cannot be: what moved is declared still, or went to two places."""
        path: Parts = ("lifecycle", "moved_from")
        first: dict[Address, Source] = {}
        problems = []
        for old, document in self._moves:
            here = document.positions.get(path, Source(document.file, document.line, document.column))
            if old in self._names:
                what = f"{old} is declared too, at {self._names[old]}: it has not moved"
                fix = "remove one of the two declarations, or this line"
                problems.append(document.problem(path, what, fix, "moved-and-declared"))
            elif (before := first.setdefault(old, here)) is not here:
                what = f"{old} moved to another one already, at {before}"
                problems.append(document.problem(path, what, "keep one of the two lines", "moved-twice"))
        return problems

    def _duplicate_name(self, kind: str, document: Document) -> list[Problem]:
        name = lookup(document.value, "metadata.name")
        if not isinstance(name, str):
            return []
        path: Parts = ("metadata", "name")
        here = document.positions[path]
        first = self._names.setdefault(Address(kind, name), here)
        if first is here:
            return self._duplicate_budget(document) if kind == "GatewayBudget" else []
        what = f"{kind} {shown(name)} is declared twice, first at {first}"
        return [document.problem(path, what, "keep one of them", "duplicate-name")]

    def _duplicate_budget(self, document: Document) -> list[Problem]:
        """The gateway knows a budget by other things than a name."""
        spec = document.value.get("spec")
        if not isinstance(spec, dict) or not isinstance(spec.get("duration"), dict):
            return []
        window = spec["duration"]
        key = tuple(map(str, (spec.get("target_scope"), spec.get("target_value"), *sorted(window.items()))))
        here = document.positions[("spec",)]
        first = self._budgets.setdefault(key, here)
        if first is here:
            return []
        what = f"a budget of this scope, target and window is declared twice, first at {first}"
        return [document.problem(("spec",), what, "keep one of them", "duplicate-budget")]


_NO_MANIFESTS: Final = {
    "Project": ("a project file is no manifest", "name it reconciler.yaml"),
    "Overlay": ("an overlay is no manifest", "list it under overlays: of an environment in reconciler.yaml"),
}


def _wrong_head(document: Document) -> Problem | None:
    """Why a document is of no kind we know."""
    value = document.value
    if not isinstance(value, dict):
        what = f"a manifest is a mapping, and this is {shown(value) if value == [] else _noun(value)}"
        return document.problem((), what, "begin with apiVersion and kind", "not-a-manifest")
    kind = value.get("kind")
    known = schema.kinds()
    if kind is None:
        what = (
            "kind is missing" if "apiVersion" in value else "is no manifest: apiVersion and kind are missing"
        )
        fix = f"add kind: {' or '.join(known)}"
        return document.problem((), what, fix, "missing-kind")
    if not isinstance(kind, str) or kind not in known:
        if isinstance(kind, str) and kind in _NO_MANIFESTS:
            return document.problem(("kind",), *_NO_MANIFESTS[kind], "unknown-kind")
        near = nearest(kind, known) if isinstance(kind, str) else ""
        fix = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
        return document.problem(("kind",), f"unknown kind {shown(kind)}", fix, "unknown-kind")
    return None


def _noun(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a single value"


def _certain(
    problems: Sequence[Problem], document: Document, references: Mapping[Parts, Reference]
) -> list[Problem]:
    """Without what is about values that are not known, and without one place's second telling of a thing."""
    unset = [path for path, reference in references.items() if reference.is_unset]
    hidden = {document.problem(path, "").path for path in unset}
    kept = []
    cleared = {p.path for p in problems if p.rule == "cannot-clear"}
    for problem in problems:
        if problem.path in hidden or (problem.path in cleared and problem.rule != "cannot-clear"):
            continue
        kept.append(problem)
    return kept


# ---- resources ------------------------------------------------------------------------------------------


def _resource(kind: str, document: Document, references: Mapping[Parts, Reference]) -> Resource:
    """The resource of a document that has no problems; the document's value becomes the resource's."""
    value = document.value
    if references:
        with_secrets(value, {path: ref for path, ref in references.items() if path[0] == "spec"})
    metadata, lifecycle = value["metadata"], value.get("lifecycle") or {}
    spec = value.get("spec", {})
    _take_types(schema.spec_fields(kind), spec)
    return Resource(
        address=Address(kind, metadata["name"]),
        spec=spec,
        source=Source(document.file, document.line, document.column),
        labels=metadata.get("labels") or {},
        lifecycle=Lifecycle(
            prevent_destroy=lifecycle.get("prevent_destroy") is True,
            ignore_changes=tuple(lifecycle.get("ignore_changes") or ()),
            moved_from=lifecycle.get("moved_from") or "",
        ),
        allow_unknown_fields=metadata.get("allow_unknown_fields") is True,
        positions=document.positions.below("spec"),
    )


@functools.cache
def _has_types(here: Field) -> bool:
    """A value at or below this field may be written as another type than the API takes."""
    below = (*here.properties.values(), *(f for f in (here.items, here.extra) if f is not None))
    return here.coerce == "string" or "integer" in here.types or any(map(_has_types, below))


@functools.cache
def _typed_children(here: Field) -> Mapping[str, Field]:
    return {name: child for name, child in here.properties.items() if _has_types(child)}


def _take_types(here: Field, holder: Any) -> None:
    """Numbers become text where the API takes text, and 4.0 becomes 4 where it takes integers; in place."""
    if here.pairs is not None:
        _take_text(here.pairs["value"], holder)
    elif isinstance(holder, dict):
        for name, child in _typed_children(here).items():
            if name in holder:
                holder[name] = _typed(child, holder[name])
    elif isinstance(holder, list) and here.items is not None and _has_types(here.items):
        for at, item in enumerate(holder):
            holder[at] = _typed(here.items, item)


def _typed(here: Field, value: Any) -> Any:
    if isinstance(value, (dict, list)):
        _take_types(here, value)
    elif here.coerce == "string" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    elif isinstance(value, float) and "integer" in here.types:
        return str(int(value)) if here.coerce == "string" else int(value)
    return value


def _take_text(member: str, pairs: Any) -> None:
    holders = [(pairs, name) for name in pairs] if isinstance(pairs, dict) else []
    if isinstance(pairs, list):
        holders = [(pair, member) for pair in pairs if member in pair]
    for holder, name in holders:
        item = holder[name]
        if isinstance(item, (int, float)) and not isinstance(item, bool):
            holder[name] = str(int(item))
