"""``reconciler diff``: in which fields two environments differ."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import completion, inputs
from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json, tell
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.manifest.sides import Pair, Side
    from reconciler.values import Address


def diff(
    left: Annotated[str, typer.Argument(help="One environment.", autocompletion=completion.environments)],
    right: Annotated[str, typer.Argument(help="The other one.", autocompletion=completion.environments)],
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

    scope = opt.Scope.of(None, select, exclude, changed_since)
    reads = [_read(opt.Scope.of([name]), project, live) for name in (left, right)]
    together = pairs(sides_of(reads[0]), sides_of(reads[1]))
    if not scope.is_whole:
        together = _selected(together, reads, scope)
    if live:
        lefts = {pair.left.address for pair in together if pair.left}
        rights = {pair.right.address for pair in together if pair.right}
        together = pairs(_live(reads[0], lefts), _live(reads[1], rights))
    compared = [
        (pair, differences(pair.left, pair.right) if pair.left and pair.right else []) for pair in together
    ]
    if output is opt.Format.JSON:
        answer_json(differences_json(compared, left, right))
    else:
        answer(differences_text(compared, left, right))
    differ = any(found or not (pair.left and pair.right) for pair, found in compared)
    return 2 if detailed_exitcode and differ else 0


def _read(scope: opt.Scope, project: str | None, is_live: bool) -> inputs.Input:
    """All of one environment."""
    if is_live:
        return inputs.load_for(None, None, project, None, scope=scope, allow_unset=True, keep_documents=True)
    return inputs.load(None, project, scope=scope, allow_unset=True, needs_secrets=False, keep_documents=True)


def _selected(together: Sequence[Pair], reads: Sequence[inputs.Input], scope: opt.Scope) -> list[Pair]:
    """The pairs that are meant: a term needs to fit on one side only, and takes the other one along.

    Raises UsageError for a term that fits on neither side, and when nothing is left.
    """
    everything = [resource for read in reads for resource in read.loaded.resources]

    def fitting(terms: opt.Scope) -> set[tuple[int, Address]]:
        found = set(map(id, inputs.chosen(everything, terms, reads[0].project)))
        return {
            (n, r.address) for n, read in enumerate(reads) for r in read.loaded.resources if id(r) in found
        }

    def holds(pair: Pair, meant: set[tuple[int, Address]]) -> bool:
        return any(side and (n, side.address) in meant for n, side in enumerate((pair.left, pair.right)))

    wanted = fitting(replace(scope, exclude=()))
    unwanted = fitting(opt.Scope(select=scope.exclude)) if scope.exclude else set()
    left = [pair for pair in together if holds(pair, wanted) and not holds(pair, unwanted)]
    if not left and wanted:
        raise UsageError(
            "nothing is selected", why="--exclude takes out all of it", fix="leave one of the two out"
        )
    return left


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


def _live(read: inputs.Input, wanted: Collection[Address]) -> list[Side]:
    """What is live of these of an environment, in one shape, without what the server computes."""
    from reconciler.engine.snapshot import READ_PARALLELISM, read_snapshot
    from reconciler.kinds import kind_of
    from reconciler.kinds.marks import without_marks
    from reconciler.manifest.sides import Side
    from reconciler.shape import masked
    from reconciler.targets import connect, describe

    resources = [resource for resource in read.loaded.resources if resource.address in wanted]
    with contextlib.closing(
        connect(read.target, pool_size=READ_PARALLELISM, config_path=read.config_path)
    ) as client:
        tell(f"target: {describe(read.target, client)}{read.aside}")
        seen = read_snapshot(client, resources, target=read.target, taken_at=opt.taken_at())
    sides = []
    for resource in resources:
        found = seen.resources.get(resource.address)
        if found is not None:
            of = kind_of(resource.address)
            shape: Any = _written(of.fields, masked(of.fields, of.normalise(found)))
            shape = shape[of.spec_at] if of.spec_at else shape
            # Each environment has a stack of its own: whose they are is no difference.
            holder = shape["config"] if of.name == "Deployment" else shape
            if isinstance(tags := holder.pop("tags", None), dict) and (theirs := without_marks(tags)):
                holder["tags"] = theirs
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
