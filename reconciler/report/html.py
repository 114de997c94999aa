"""Pages as one HTML file that needs nothing else: no script, no font, no image, no request.

Jinja2 escapes whatever is put in (autoescape); the page's own Content-Security-Policy forbids the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from reconciler import __version__
from reconciler.report.page import Page
from reconciler.report.traffic import Split

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["html"]

_NAMES: Final = {
    "create": "to create",
    "update": "to update",
    "replace": "to replace",
    "delete": "to delete",
    "adopt": "to adopt",
    "no_op": "unchanged",
    "not_waited": "not awaited",
    "not_begun": "not begun",
}
_BAD: Final = ("refused", "error", "where", "why", "next")
_CLASSES: Final = {"+": "added", "-": "removed", "±": "forced"}


def html(pages: Page | Sequence[Page]) -> str:
    """The file, UTF-8."""
    pages = [pages] if isinstance(pages, Page) else list(pages)
    return _template().render(
        pages=pages,
        version=__version__,
        names=_NAMES,
        classes=_CLASSES,
        bad=_BAD,
        totals=_total,
        spoken=_spoken,
        number_of=_number,
    )


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # takes longer than a plan to render

    environment = Environment(
        loader=PackageLoader("reconciler.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _side(split: Split, side: str) -> list[tuple[str, float]]:
    numbers = [(share.name, share.before if side == "before" else share.after) for share in split.shares]
    return [(name, number) for name, number in numbers if number is not None]


def _total(split: Split, side: str) -> float | None:
    """The sum of a side, None when nothing is in it."""
    shares = _side(split, side)
    return sum(number for _, number in shares) if shares else None


def _spoken(split: Split, side: str) -> str:
    """What a screen reader says of a bar."""
    return ", ".join(f"{name} {_number(number)}" for name, number in _side(split, side)) or "none"


def _number(number: float | None) -> str:
    return "–" if number is None else f"{number:g}"
