"""Which files the given paths mean."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.errors import Problem

__all__ = ["PROJECT_FILE", "STDIN", "Found", "file_name", "find"]

PROJECT_FILE: Final = "reconciler.yaml"
STDIN: Final = "<stdin>"
_SUFFIXES: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Found:
    """One file to read: where it is (None: the standard input), and what messages call it."""

    path: Path | None
    name: str


def find(paths: Sequence[str | Path]) -> tuple[list[Found], list[Problem]]:
    """The manifest files of files, folders and ``-``, each once, in the order of the paths.

    Folders are searched to the bottom, in the order of names; what is hidden, is no YAML or JSON, or is the
    project file is left out, and so is a folder further down with a project file: it is a project of its own.
    """
    files: list[Found] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for given in map(str, paths):
        if given == "-":
            found = [Found(None, STDIN)]
        elif _is_folder(given):
            found = list(_below(given, problems))
            if not found and not any(p.file == file_name(given) for p in problems):
                what = "no manifest in this folder"
                fix = f"manifests end in {', '.join(_SUFFIXES)}"
                problems.append(Problem(file_name(given), 0, 0, "", what, fix, "no-manifest"))
        else:
            found = list(_one(given, problems))
        for file in found:
            real = os.path.realpath(file.path) if file.path is not None else STDIN
            if real not in seen:
                seen.add(real)
                files.append(file)
    return files, problems


def file_name(path: str | Path) -> str:
    """A path as messages show it: with ``/``, without ``./``, printable."""
    text = os.fsencode(str(path)).decode("utf-8", "replace").replace(os.sep, "/")
    text = text.removeprefix("./") or "."
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _one(given: str, problems: list[Problem]) -> Iterator[Found]:
    path = Path(given)
    name = file_name(given)
    if not os.path.lexists(path):
        problems.append(Problem(name, 0, 0, "", "there is no such file or folder", "", "no-such-path"))
    elif path.name == PROJECT_FILE:
        what = "is the project file, not a manifest"
        problems.append(Problem(name, 0, 0, "", what, "name it with --project", "no-manifest"))
    elif path.suffix.lower() not in _SUFFIXES:
        what = f"is no manifest: its name does not end in {', '.join(_SUFFIXES)}"
        problems.append(Problem(name, 0, 0, "", what, "rename it", "no-manifest"))
    else:
        yield Found(path, name)


def _is_folder(path: str | Path) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # too long a name, no permission to look
        return False


def _below(folder: str, problems: list[Problem]) -> Iterator[Found]:
    waiting = [Path(folder)]
    seen: set[str] = set()
    while waiting:
        here = waiting.pop()
        if not _is_folder(here):
            yield Found(here, file_name(here))
            continue
        real = os.path.realpath(here)
        if real in seen:  # a link back up
            continue
        seen.add(real)
        try:
            entries = sorted(here.iterdir(), reverse=True)
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            problems.append(Problem(file_name(here), 0, 0, "", what, "", "unreadable-file"))
            continue
        waiting += [entry for entry in entries if not entry.name.startswith(".") and _belongs(entry)]


def _belongs(entry: Path) -> bool:
    if _is_folder(entry):
        return not (entry / PROJECT_FILE).is_file()
    return entry.suffix.lower() in _SUFFIXES and entry.name != PROJECT_FILE
