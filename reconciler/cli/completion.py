"""What a shell offers for a value: environments and addresses of the project that one is in."""

from __future__ import annotations

from pathlib import Path

from reconciler.errors import ReconcilerError

__all__ = ["addresses", "environments"]

_MOST = 500  # files; a key is pressed, and an answer expected at once


def environments(incomplete: str) -> list[str]:
    """The environments of ``reconciler.yaml`` that begin like this; none when it cannot be read."""
    try:
        from reconciler.cli.inputs import project_of

        project = project_of(None)
    except (ReconcilerError, OSError):
        return []
    return [name for name in (project.environments if project else ()) if name.startswith(incomplete)]


def addresses(incomplete: str) -> list[str]:
    """The addresses that manifests declare and that begin like this, right manifests or not."""
    from reconciler import schema
    from reconciler.cli.inputs import project_of
    from reconciler.manifest import text
    from reconciler.manifest.files import find

    try:
        project = project_of(None)
    except (ReconcilerError, OSError):
        project = None
    files, _ = find((project.manifests if project else ()) or ("manifests",))
    found: dict[str, None] = {}
    for file in files[:_MOST]:
        content, problems = text.read(file.path or Path(), file.name)
        for document in () if problems else text.parse(content, file.name).documents:
            value = document.value if isinstance(document.value, dict) else {}
            metadata = value.get("metadata")
            name = metadata.get("name") if isinstance(metadata, dict) else None
            if value.get("kind") in schema.kinds() and isinstance(name, str):
                found[f"{value['kind']}/{name}"] = None
    return [address for address in found if address.startswith(incomplete)]
