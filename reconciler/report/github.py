"""Pages as GitHub annotations: workflow commands that a runner takes out of a step's log.

The commands: https://docs.github.com/actions/reference/workflow-commands-for-github-actions. A runner takes
10 of each level from a step, so the worst are told first and the tenth says how many are left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.report.page import Change, Item, Level, Page, Purpose
from reconciler.report.pen import shortened

__all__ = ["github", "guarded"]

_MOST: Final = 10
_LONGEST: Final = 4_000
_COMMANDS: Final = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTICE: "notice"}


def github(pages: Page | Sequence[Page]) -> str:
    """The annotations, one a line; "" when there is nothing to tell."""
    pages = [pages] if isinstance(pages, Page) else list(pages)
    items = [(item, page) for page in pages for item in page.items if item.level is not Level.QUIET]
    lines = []
    for level, command in _COMMANDS.items():
        found = [line for item, page in items if item.level is level for line in _lines(command, item, page)]
        if level is Level.NOTICE:
            told = [_command(command, "", 0, 0, page.title, text) for page in pages for text in page.unseen]
            found = [*told, *found]
        if len(found) > _MOST:
            rest = len(found) - _MOST + 1
            found = [*found[: _MOST - 1], f"::{command} title=reconciler::{rest:,} more: see the full report"]
        lines += found
    return "".join(f"{line}\n" for line in lines)


def guarded(text: str) -> str:
    """``text`` for a step's log, in which the runner sees no commands, whatever it holds.

    The word that ends the pause is a digest of the text: nothing can hold its own.
    """
    word = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    end = "" if text.endswith("\n") else "\n"
    return f"::stop-commands::{word}\n{text}{end}::{word}::\n"


def _lines(command: str, item: Item, page: Page) -> Iterable[str]:
    """One annotation for each change that has a line of its own; what fails says why, once."""
    own = item.placed
    if not own or (item.fails and item.told and page.purpose is not Purpose.DRIFT):
        told = "\n".join(f"{label}: {text}" for label, text in item.told)
        changes = "\n".join(change.sentence for change in item.changes)
        text = "\n".join(part for part in (item.title, changes, told) if part)
        yield _command(command, item.file, item.line, item.column, _title(item, page), text)
        return
    for change in own:
        yield _of_change(command, change, item, page)


def _of_change(command: str, change: Change, item: Item, page: Page) -> str:
    told = [change.sentence]
    told += [f"set by {change.set_by}"] if change.set_by else []
    told += [f"{change.cause}"] if change.cause else []
    if page.purpose is Purpose.DRIFT:
        told += [f"{label}: {text}" for label, text in item.told]
    return _command(command, change.file, change.line, 0, _title(item, page), "\n".join(told))


def _title(item: Item, page: Page) -> str:
    return f"{page.title}: {item.title if item.kind else item.what}"


def _command(command: str, file: str, line: int, column: int, title: str, text: str) -> str:
    properties = []
    if file:
        properties.append(f"file={_property(file)}")
        properties += [f"line={line}"] if line else []
        properties += [f"col={column}"] if line and column else []
    properties.append(f"title={_property(shortened(title, 250))}")
    return f"::{command} {','.join(properties)}::{_escaped(shortened(text, _LONGEST))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
