"""``reconciler schema``: the JSON Schemas, for editors."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.output import answer, tell
from reconciler.errors import UsageError


def schema(
    name: Annotated[
        str | None,
        typer.Argument(help="Endpoint, project, plan or outcome. Left out: lists them.", show_default=False),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Write all schemas and their catalogue into this folder.",
            show_default=False,
        ),
    ] = None,
    base_url: Annotated[
        str,
        typer.Option(
            "--base-url",
            metavar="URL",
            help="Where the folder of --out will be served, for its catalogue.",
            show_default=False,
        ),
    ] = "",
) -> int:
    """Print a JSON Schema. For editors: # yaml-language-server: $schema=PATH on a manifest's first line."""
    from reconciler.schema import names, read

    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        for one in names():
            text = json.dumps(read(one), indent=2, ensure_ascii=False) + "\n"
            (folder / f"{one}.schema.json").write_text(text, encoding="utf-8")
        from reconciler.cli.catalog import catalog

        listed = json.dumps(catalog(base_url), indent=2, ensure_ascii=False) + "\n"
        (folder / "catalog.json").write_text(listed, encoding="utf-8")
        tell(f"{len(names())} schemas written to {out}")
        return 0
    if name is None:
        answer("\n".join(f"{one:<12} {read(one).get('title', '')}" for one in names()))
        return 0
    if name.lower() not in names():
        near = difflib.get_close_matches(name.lower(), names(), 1)
        raise UsageError(
            f"there is no schema {name!r}", fix=f"did you mean {near[0]}?" if near else ", ".join(names())
        )
    answer(json.dumps(read(name.lower()), indent=2, ensure_ascii=False), is_document=True)
    return 0
