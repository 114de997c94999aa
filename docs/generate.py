"""Writes docs/fields.md and schemas/catalog.json from the schemas; tests hold both to them. ``make docs``."""

from __future__ import annotations

import json
from pathlib import Path

from reconciler.cli.catalog import catalog
from reconciler.schema import MISSING, Field, kinds, spec_fields

_HEAD = """\
# Fields

Generated from `schemas/` by `make docs`: do not edit. What the words mean stands in
[schemas/README.md](../schemas/README.md).
"""


def catalogue() -> str:
    """The text of schemas/catalog.json: addresses are relative to it."""
    return json.dumps(catalog(), indent=2, ensure_ascii=False) + "\n"


def fields_page() -> str:
    """The page as text."""
    parts = [_HEAD]
    for kind in kinds():
        parts.append(f"\n## {kind}\n\n| field of `spec` | behaviour | what it is |\n|---|---|---|\n")
        for path, field in spec_fields(kind).walk():
            if field.name != "*" or field.description:
                name = ".".join(path).replace(".*", "[*]")
                parts.append(f"| `{name}` | {_behaviour(field)} | {_cell(field.description)} |\n")
    return "".join(parts)


def _behaviour(field: Field) -> str:
    words = []
    if field.computed:
        words.append("computed")
    if field.write_only:
        words.append("write-only")
    if field.secret:
        words.append("secret")
    if field.secret_reference:
        words.append("reference to a secret")
    if field.default is not MISSING:
        words.append(
            f"backend default `{field.default!r}`" if field.default != "" else "backend default empty"
        )
    if field.default_rule:
        words.append("backend default")
    if field.server_chosen:
        words.append("chosen by the server")
    if field.not_echoed:
        words.append("not echoed" if field.not_echoed == "always" else "not echoed by GET")
    if field.immutable:
        immutable = {"once_set": "immutable once set", "presence": "can neither come nor go"}
        words.append(immutable.get(str(field.immutable), "immutable"))
    if field.one_way:
        words.append(f"`{field.one_way['from']}` → `{field.one_way['to']}` replaces")
    if field.key or field.key_one_of:
        words.append(f"list keyed by {', '.join(field.key or field.key_one_of)}")
    if field.is_set:
        words.append("set")
    if field.pairs:
        words.append("map, or list of pairs")
    if field.alias_of:
        words.append(f"same as {field.alias_of}")
    if field.overridden_when:
        words.append("overridden by the server for some models")
    if field.deprecated:
        words.append("deprecated")
    return _cell(", ".join(words))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Write the page and the catalogue."""
    (Path(__file__).parent / "fields.md").write_text(fields_page(), encoding="utf-8")
    (Path(__file__).parent.parent / "schemas" / "catalog.json").write_text(catalogue(), encoding="utf-8")


if __name__ == "__main__":
    main()
