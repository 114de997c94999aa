"""What an environment lays over the manifests: its variables and overlays, read once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from reconciler import schema
from reconciler.errors import Problem
from reconciler.manifest import text
from reconciler.manifest.environments import Environment
from reconciler.manifest.files import Found, find
from reconciler.manifest.judge import schema_problems
from reconciler.manifest.overlay import REMOVE, laid_over
from reconciler.manifest.positions import Document, Positions
from reconciler.manifest.project import Project
from reconciler.manifest.scalars import shown
from reconciler.manifest.substitute import Variable, named, substituted
from reconciler.manifest.suggest import nearest
from reconciler.values import Address

__all__ = ["KIND", "Layers"]

KIND: Final = "Overlay"
_HEAD: Final = ("apiVersion", "kind", "address", REMOVE)


@dataclass(slots=True)
class _Overlay:
    document: Document
    folder: Path
    is_used: bool = False


class Layers:
    """The variables and overlays of one environment (of a project without environments: its variables).

    ``is_whole``: all manifests of the project are read, so that what fits none of them is a mistake.
    ``instead``: file → its text, where not what is on the disk counts; a file that is not there yet is laid
    over last. ``problems``: what is wrong with the overlays themselves.
    """

    def __init__(
        self,
        project: Project,
        environment: Environment | None,
        *,
        is_whole: bool,
        instead: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        own = environment.variables if environment else {}
        self.variables: Mapping[str, Variable] = {**project.variables, **own}
        self.problems: list[Problem] = []
        self.manifests: list[tuple[Document, Path]] = []
        self.files: tuple[str, ...] = ()
        self._project = project
        self._is_whole = is_whole
        self._used: set[str] = set()
        self._overlays: dict[str, list[_Overlay]] = {}
        self._texts = {name: text.parse(content, name) for name, content in instead.items()}
        self._everybodys = self._found(e.overlays for e in project.environments.values())
        if environment is not None:
            self._read(environment)

    def _found(self, paths: Iterator[Sequence[str]]) -> dict[str, Found]:
        """Every overlay file of every environment, by its real path."""
        files, _ = find([path for some in paths for path in some])
        return {os.path.realpath(file.path): file for file in files if file.path is not None}

    def holds(self, path: Path | None) -> bool:
        """The file is an overlay of some environment, and no manifest."""
        return path is not None and bool(self._everybodys) and os.path.realpath(path) in self._everybodys

    def _parsed(self, file: Found) -> text.Parsed:
        if file.name not in self._texts:
            content, unreadable = text.read(file.path or Path(), file.name)
            parsed = text.Parsed((), unreadable) if unreadable else text.parse(content, file.name)
            self._texts[file.name] = parsed
        return self._texts[file.name]

    def _read(self, environment: Environment) -> None:
        files, problems = find(environment.overlays)
        # A folder in which nothing is yet is a fine place for what comes.
        self.problems += [p for p in problems if p.rule != "no-manifest"]
        there = {file.name for file in files}
        files += [Found(Path(name), name) for name in self._texts if name not in there]
        self.files = tuple(file.name for file in files)
        for file in files:
            assert file.path is not None
            parsed = self._parsed(file)
            self.problems += parsed.problems
            for document in parsed.documents:
                if not document.is_broken:
                    self._take(document, file.path.parent)

    def _take(self, document: Document, folder: Path) -> None:
        value = document.value
        if not isinstance(value, dict) or value.get("kind") in schema.kinds():
            self.manifests.append((document, folder))
            return
        self._used.update(named(value))
        document = substituted(document, self.variables)
        if value.get("kind") != KIND:
            known = (KIND, *schema.kinds())
            near = nearest(str(value.get("kind")), known)
            what = "kind is missing" if value.get("kind") is None else f"unknown kind {shown(value['kind'])}"
            fix = f"did you mean {near}?" if near else f"write kind: {KIND}"
            rule = "missing-kind" if value.get("kind") is None else "unknown-kind"
            self.problems.append(document.problem(("kind",), what, fix, rule))
            return
        found = schema_problems(document, "overlay", {})
        self.problems += found
        if any(problem.path in ("", "address", "$remove") for problem in found):
            return
        address = document.value["address"]
        if "${" in address:
            what, fix = "an address holds ${var.name} of declared variables only", "write the name"
            self.problems.append(document.problem(("address",), what, fix, "undefined-variable"))
            return
        self._overlays.setdefault(address, []).append(_Overlay(document, folder))

    def laid(self, document: Document) -> tuple[Document | None, list[Problem]]:
        """The document as this environment has it, None when it has it not; and what is wrong with patches.

        The parts that come from overlays stand in their files, as the document's places say.
        """
        if self._project.variables or self.variables:
            self._used.update(named(document.value))
            document = substituted(document, self.variables)
        value = document.value
        if not self._overlays or not isinstance(value, dict) or value.get("kind") not in schema.kinds():
            return document, []
        metadata = value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        problems: list[Problem] = []
        for overlay in self._overlays.get(f"{value['kind']}/{name}", ()):
            overlay.is_used = True
            if REMOVE in overlay.document.value:
                return None, problems
            document, told = _patched(document, overlay)
            problems += told
        return document, problems

    def last_of(self, address: Address) -> Document | None:
        """The overlay that is laid over this address last: it has the last word."""
        found = self._overlays.get(str(address))
        return found[-1].document if found else None

    def left_over(self, declared: Sequence[Address]) -> list[Problem]:
        """Overlays of what is declared nowhere, and variables that nothing uses; for whole projects."""
        if not self._is_whole:
            return []
        problems = []
        names = [str(address) for address in declared]
        for address, overlays in self._overlays.items():
            for overlay in overlays:
                if not overlay.is_used:
                    near = nearest(address, names)
                    what = f"no manifest declares {address}"
                    fix = (
                        f"did you mean {near}?" if near else f"declared: {', '.join(names[:10]) or 'nothing'}"
                    )
                    problems.append(overlay.document.problem(("address",), what, fix, "overlay-of-nothing"))
        return problems + self._unused()

    def _unused(self) -> list[Problem]:
        everybodys = [self._project.variables, *(e.variables for e in self._project.environments.values())]
        if not any(everybodys):
            return []
        for file in self._everybodys.values():
            for document in self._parsed(file).documents:
                self._used.update(named(document.value))
        what, fix = "this variable is used nowhere", "use it as ${var.name}, or take it out"
        return [
            Problem(
                variable.source.file,
                variable.source.line,
                variable.source.column,
                f"variables.{variable.name}",
                what,
                fix.replace("name", variable.name),
                "unused-variable",
            )
            for variables in everybodys
            for variable in variables.values()
            if variable.name not in self._used
        ]


def _patched(document: Document, overlay: _Overlay) -> tuple[Document, list[Problem]]:
    patch = overlay.document
    body: dict[str, Any] = {name: item for name, item in patch.value.items() if name not in _HEAD}
    fields = schema.document_fields(schema.kinds()[document.value["kind"]])
    value, marks, told = laid_over(
        document.value, document.positions.marks, body, patch.positions.marks, fields, patch.file
    )
    merged = replace(
        document,
        value=value,
        positions=Positions(document.file, marks),
        has_references=document.has_references or patch.has_references,
        size=document.size + patch.size,
        folders={**document.folders, patch.file: overlay.folder},
    )
    return merged, [patch.problem(path, what, fix, rule) for path, what, fix, rule in told]
