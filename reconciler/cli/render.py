"""``reconciler render``: the manifests as an environment has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json

if TYPE_CHECKING:
    from reconciler.manifest.positions import Document, Parts
    from reconciler.manifest.substitute import Variable


def render(
    paths: opt.Paths = None,
    environment: opt.Environments = None,
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    changed_since: opt.ChangedSince = None,
    project: opt.ProjectFile = None,
    origins: Annotated[
        bool,
        typer.Option("--origins", help="Say behind each value which file and line, or variable, gave it."),
    ] = False,
    output: Annotated[opt.Rendered, typer.Option("--output", "-o", help="Format of the answer.")] = (
        opt.Rendered.YAML
    ),
) -> int:
    """Print the manifests with variables and overlays in place; asks no server.

    What comes out is a manifest again. References to secrets, environment variables and files stay such.
    """
    scope = opt.Scope.of(environment, select, exclude, changed_since)
    read = inputs.load(
        paths, project, scope=scope, allow_unset=True, needs_secrets=False, keep_documents=True
    )
    read.tell_warnings()
    variables = inputs.variables_of(read)
    if output is opt.Rendered.JSON:
        answer_json([_as_json(document, variables, origins) for document in read.loaded.documents])
        return 0
    from reconciler.report.manifests import yaml_text

    answer(
        yaml_text(
            [
                (document.value, _noted(document, variables) if origins else None)
                for document in read.loaded.documents
            ]
        ),
        is_document=True,
    )
    return 0


def _noted(document: Document, variables: Mapping[str, Variable]) -> Any:
    def note(path: Parts) -> str:
        source, names = document.positions.origin(path)
        place = f"{source.file}:{source.line}" if source else f"{document.file}:{document.line}"
        told = [f"${{var.{name}}} {_place(variables[name])}" for name in names]
        return ", ".join([place, *told])

    return note


def _place(variable: Variable) -> str:
    return f"{variable.source.file}:{variable.source.line}"


def _as_json(document: Document, variables: Mapping[str, Variable], origins: bool) -> dict[str, Any]:
    from reconciler.values import FieldPath

    value = document.value
    shown: dict[str, Any] = {
        "address": f"{value['kind']}/{value['metadata']['name']}",
        "source": f"{document.file}:{document.line}",
        "manifest": value,
    }
    if origins:
        shown["origins"] = {}
        for path in _leaves(value, ()):
            source, names = document.positions.origin(path)
            entry: dict[str, Any] = {
                "file": source.file if source else document.file,
                "line": source.line if source else document.line,
                "column": source.column if source else document.column,
            }
            if names:
                entry["variables"] = {name: _place(variables[name]) for name in names}
            shown["origins"][str(FieldPath(path))] = entry
    return shown


def _leaves(value: Any, path: Parts) -> Any:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(item, (*path, name))
    elif isinstance(value, list) and value:
        for at, item in enumerate(value):
            yield from _leaves(item, (*path, at))
    else:
        yield path
