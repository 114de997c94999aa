"""The schemas as a catalogue that editors read: which files have which schema."""

from __future__ import annotations

from typing import Any, Final

from reconciler.schema import kinds, names, read

__all__ = ["catalog"]

_SUFFIXES: Final = ("yaml", "yml", "json")


def catalog(base: str = "") -> dict[str, Any]:
    """A catalogue in the form of https://json.schemastore.org/schema-catalog.json.

    ``base``: what the addresses of the schemas begin with; "" makes them relative to the catalogue. A
    manifest is known by its name, ``chat.endpoint.yaml``: one kind's schema finds fault with any other kind.
    """
    prefix = f"{base.rstrip('/')}/" if base else ""
    patterns = {
        "project": ["reconciler.yaml"],
        "policies": [f"*.policies.{suffix}" for suffix in _SUFFIXES],
    }
    for name in kinds().values():
        stem = name.replace("_", "-")
        patterns[name] = [f"*.{stem}.{suffix}" for suffix in _SUFFIXES]
    schemas = []
    for name in names():
        if name in patterns:
            content = read(name)
            entry = {
                "name": f"reconciler: {content.get('title', name)}",
                "description": content.get("description", "").partition(". ")[0].rstrip("."),
                "fileMatch": patterns[name],
                "url": f"{prefix}{name}.schema.json",
            }
            schemas.append(entry)
    return {"$schema": "https://json.schemastore.org/schema-catalog.json", "version": 1, "schemas": schemas}
