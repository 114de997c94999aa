"""``reconciler export``: manifests of what is live."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json, know, redacted, tell
from reconciler.errors import RefusedError, UsageError
from reconciler.redact import control
from reconciler.values import Address

if TYPE_CHECKING:
    from reconciler.engine.exporting import Export

_MOST_NAMED = 5


def export(
    out: Annotated[
        str,
        typer.Option("--out", metavar="FOLDER", help="Folder that the manifests go to.", show_default=False),
    ],
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            metavar="ADDRESS…",
            help="Only these: Kind/name, with * and ? for any. Left out: everything.",
            show_default=False,
        ),
    ] = None,
    target: opt.Target = None,
    config_path: opt.ConfigPath = None,
    environment: opt.Environments = None,
    stack: opt.Stack = None,
    project: opt.ProjectFile = None,
    output: opt.Output = opt.Format.TEXT,
    permissions: Annotated[
        bool, typer.Option("--permissions", help="Also the permissions of endpoints: one more request each.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> int:
    """Write manifests of what lives on a target, whose plan is empty.

    What the server computes or fills in by itself is left out. Secrets become ${env:NAME}; the variables that
    must be set for a plan are listed on stderr. No file is overwritten without --force.
    """
    from reconciler.targets import connect, describe, family

    found = inputs.project_of(project)
    where = inputs.where(target, project, environment)
    config = inputs.config_of(config_path, where, project, environment)
    sort = family(where, config)
    if sort not in ("local", "databricks", "mlflow-gateway", "config-file"):
        raise UsageError(
            f"{where} cannot be exported",
            fix="export reads databricks, local and mlflow-gateway+http(s)://… targets, and by --config-path "
            "the file of an http(s)://… gateway",
        )
    root = found.root if found else Path()

    def comment(address: Address, path: str) -> str:
        return f"yaml-language-server: $schema={_schema_path(address, root, Path(out) / path)}"

    whose = stack or (found.stack if found else "")
    with connect(where, config_path=config) as client:
        tell(f"target: {describe(where, client)}")
        if sort == "config-file":
            from reconciler.engine.file_export import export_file

            made = export_file(client, select=select or (), stack=whose, root=root, comment=comment)
        else:
            from reconciler.engine.exporting import export as read_all

            made = read_all(
                client,
                is_gateway=sort == "mlflow-gateway",
                select=select or (),
                permissions=permissions,
                stack=whose,
                comment=comment,
            )
    # Before the live values are known: those stand in no manifest, but words like them may.
    made = _without_credentials(made)
    know(value for _, value in made.variables.values() if value is not None)
    _write(made, Path(out), force)
    _tell(made, root)
    if output is opt.Format.JSON:
        answer_json(_json(made, out))
    elif made.files:
        answer("\n".join(f"wrote {control(str(Path(out) / file.path))}" for file in made.files))
    else:
        answer("nothing to export")
    return 1 if made.left_out and not made.files else 0


def _schema_path(address: Address, root: Path, file: Path) -> str:
    """The schema in the project's folder, as the manifest's editor finds it."""
    from reconciler.schema import kinds

    schema = root / "schemas" / f"{kinds()[address.kind]}.schema.json"
    return os.path.relpath(schema, file.parent).replace(os.sep, "/")


def _without_credentials(made: Export) -> Export:
    """A server may tell in any field what it was sent: that does not go into a file either."""
    files = tuple(replace(file, text=redacted(file.text)) for file in made.files)
    for file, was in zip(files, made.files, strict=True):
        if file.text != was.text:
            tell(f"note: {control(str(file.address))}: the login's credential stood in it, and is masked")
    return replace(made, files=files)


def _write(made: Export, folder: Path, force: bool) -> None:
    """All files, or none when one is in the way. Raises RefusedError, UsageError."""
    there = [] if force else [file.path for file in made.files if os.path.lexists(folder / file.path)]
    if there:
        raise _in_the_way(folder, there)
    for file in made.files:
        place = folder / file.path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if force:
                _replace(place, file.text)
            else:
                with place.open("x", encoding="utf-8", newline="\n") as stream:
                    stream.write(file.text)
        except FileExistsError:  # somebody was quicker
            raise _in_the_way(folder, [file.path]) from None
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}", where=str(place)) from None


def _in_the_way(folder: Path, there: list[str]) -> RefusedError:
    shown = ", ".join(str(folder / path) for path in there[:_MOST_NAMED])
    more = f" and {len(there) - _MOST_NAMED} more" if len(there) > _MOST_NAMED else ""
    verb = "is" if len(there) == 1 else "are"
    return RefusedError(
        f"{shown}{more} {verb} there already",
        why="an export overwrites nothing unasked",
        fix="export into another folder, or overwrite with --force",
    )


def _replace(place: Path, text: str) -> None:
    """The whole new text or the old one, whenever this is ended."""
    descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=".export-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(place)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _tell(made: Export, root: Path) -> None:
    """What the person must know: what is missing, what must be set."""
    for one in made.left_out:
        begin = f"left out: {one.address}: " if one.is_whole else f"note: {one.address}: "
        tell(control(begin + one.why))
    if made.variables:
        tell("set these variables to the live values before the next plan:")
        for name, (address, _) in made.variables.items():
            tell(f"  {name}  ({control(str(address))})")
    if made.files and not (root / "schemas").is_dir():
        tell(f"for your editor: reconciler schema --out {root / 'schemas'}")


def _json(made: Export, out: str) -> dict[str, object]:
    return {
        "files": [{"address": str(f.address), "path": str(Path(out) / f.path)} for f in made.files],
        "variables": [{"name": n, "address": str(a)} for n, (a, _) in made.variables.items()],
        "left_out": [
            {"address": str(one.address), "why": one.why, "whole": one.is_whole} for one in made.left_out
        ],
    }
