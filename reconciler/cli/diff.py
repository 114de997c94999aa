"""``reconciler diff``: in which fields two environments differ."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json, tell

if TYPE_CHECKING:
    from reconciler.manifest.sides import Side


def diff(
    left: Annotated[str, typer.Argument(help="One environment.")],
    right: Annotated[str, typer.Argument(help="The other one.")],
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    changed_since: opt.ChangedSince = None,
    project: opt.ProjectFile = None,
    live: Annotated[
        bool, typer.Option("--live", help="Compare what is live on both sides, not what is declared.")
    ] = False,
    output: opt.Output = opt.Format.TEXT,
    detailed_exitcode: opt.DetailedExitcode = False,
) -> int:
    """Compare two environments field by field, each with the line that says so on either side.

    Asks no server, except with --live: then what is declared for an environment is read from its target.
    """
    from reconciler.engine.differences import differences, pairs
    from reconciler.report.differences import differences_json, differences_text

    sides = [
        (_live if live else _declared)(opt.Scope.of([name], select, exclude, changed_since), project)
        for name in (left, right)
    ]
    compared = [
        (pair, differences(pair.left, pair.right) if pair.left and pair.right else [])
        for pair in pairs(sides[0], sides[1])
    ]
    if output is opt.Format.JSON:
        answer_json(differences_json(compared, left, right))
    else:
        answer(differences_text(compared, left, right))
    differ = any(found or not (pair.left and pair.right) for pair, found in compared)
    return 2 if detailed_exitcode and differ else 0


def _declared(scope: opt.Scope, project: str | None) -> list[Side]:
    return sides_of(
        inputs.load(None, project, scope=scope, allow_unset=True, needs_secrets=False, keep_documents=True)
    )


def sides_of(read: inputs.Input) -> list[Side]:
    """The documents of a run as sides of a comparison; what is a variable stands where its value does."""
    from reconciler.manifest.sides import Side

    variables = inputs.variables_of(read)
    sides = []
    for resource, document in zip(read.loaded.resources, read.loaded.documents, strict=True):
        places = dict(document.positions)
        for path in places:
            _, names = document.positions.origin(path)
            if len(names) == 1:
                places[path] = variables[names[0]].source
        sides.append(Side(resource.address, document.value, resource.source, places))
    return sides


def _live(scope: opt.Scope, project: str | None) -> list[Side]:
    """What is live of what an environment declares, in one shape, without what the server computes."""
    from reconciler.engine.snapshot import READ_PARALLELISM, read_snapshot
    from reconciler.kinds import kind_of
    from reconciler.kinds.marks import without_marks
    from reconciler.manifest.sides import Side
    from reconciler.shape import masked
    from reconciler.targets import connect, describe

    read = inputs.load_for(None, None, project, None, scope=scope, allow_unset=True)
    with contextlib.closing(
        connect(read.target, pool_size=READ_PARALLELISM, config_path=read.config_path)
    ) as client:
        tell(f"target: {describe(read.target, client)}{read.aside}")
        seen = read_snapshot(client, read.loaded.resources, target=read.target, taken_at=opt.taken_at())
    sides = []
    for resource in read.loaded.resources:
        found = seen.resources.get(resource.address)
        if found is not None:
            of = kind_of(resource.address)
            shape: Any = _written(of.fields, masked(of.fields, of.normalise(found)))
            # Each environment has a stack of its own: whose they are is no difference.
            if isinstance(tags := shape.pop("tags", None), dict) and (theirs := without_marks(tags)):
                shape["tags"] = theirs
            sides.append(Side(resource.address, {"spec": shape}, resource.source))
    return sides


def _written(field: Any, value: Any) -> Any:
    """Without computed fields, and without what is newer than the schema: ids and times are no difference."""
    if isinstance(value, dict) and field is not None and field.properties:
        return {
            name: _written(field.properties[name], item)
            for name, item in value.items()
            if name in field.properties and not field.properties[name].computed
        }
    if isinstance(value, list) and field is not None and field.items is not None:
        return [_written(field.items, item) for item in value]
    return value
