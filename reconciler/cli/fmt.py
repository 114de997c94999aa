"""``reconciler fmt``: manifests in one order. Asks no server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.output import answer, put, tell
from reconciler.errors import ManifestError, Problem, UsageError


def fmt(
    paths: opt.Paths = None,
    project: opt.ProjectFile = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; list what would change, and exit with 1.")
    ] = False,
) -> int:
    """Put the fields of manifests and overlays into the schema's order, and take stray white space away.

    Comments stay with what they are about. No file is written whose meaning would change. Lists, tags, labels
    and documents with aliases keep their order.
    """
    from reconciler.cli.files import write_whole
    from reconciler.manifest import text as manifest_text
    from reconciler.manifest.order import in_order

    problems: list[Problem] = []
    changed = []
    files = _files(paths, project, problems)
    for path, name in files:
        stream = sys.stdin.buffer if path is None else None
        content, unreadable = manifest_text.read(path or Path(), name, stream)
        found = unreadable or manifest_text.parse(content, name).problems
        problems += found
        result = content if found else in_order(content, name)
        if path is None:
            if not check:
                put(result, is_document=True)
        elif result != content and not check:
            try:
                write_whole(path, result)
            except OSError as error:
                why = error.strerror or str(error)
                problems.append(Problem(name, 0, 0, "", f"cannot be written: {why}", "", "unwritable-file"))
                continue
        if result != content:
            changed.append(name)
    if changed and (check or None not in [path for path, _ in files]):
        answer("\n".join(changed))
    number = f"{len(changed)} of {len(files)} file{'s' if len(files) != 1 else ''}"
    tell(f"{number} would change" if check else f"{number} changed")
    if problems:
        raise ManifestError(problems)
    return 1 if check and changed else 0


def _files(
    paths: list[str] | None, project_file: str | None, problems: list[Problem]
) -> list[tuple[Path | None, str]]:
    """The files to look at: those named, else those of the project, overlays too, and its own file."""
    from reconciler.manifest.files import PROJECT_FILE, file_name, find
    from reconciler.manifest.project import find_project

    named = list(paths or ())
    projects: list[Path] = []
    if not named:
        project = inputs.project_of(project_file)
        own = Path(project_file) if project_file else find_project(Path())
        projects += [own] if own else []
        named = list(project.manifests) if project and project.manifests else []
        if not named and not Path("manifests").is_dir() and not projects:
            raise UsageError(
                "no manifests: no paths were given, and there is no reconciler.yaml and no folder manifests",
                fix="name files or folders: reconciler fmt FOLDER",
            )
        named = named or (["manifests"] if Path("manifests").is_dir() else [])
        # A folder of overlays may be empty still, or be made by promote.
        environments = project.environments.values() if project else ()
        overlays = dict.fromkeys(path for one in environments for path in one.overlays)
        named += [path for path in overlays if Path(path).exists() and find([path])[0]]
    else:
        projects = [Path(name) for name in named if Path(name).name == PROJECT_FILE and Path(name).is_file()]
        named = [name for name in named if Path(name) not in projects]
    found, wrong = find(named)
    problems += wrong
    return [(path, file_name(path)) for path in projects] + [(one.path, one.name) for one in found]
