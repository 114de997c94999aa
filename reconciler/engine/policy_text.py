"""Texts of policies, with expressions in braces: ``{resource.name} is too long``. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reconciler.engine import cel

__all__ = ["Template", "template"]


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A text in pieces: words, and expressions whose values go between them."""

    pieces: tuple[str | cel.Expression, ...]

    def text(self, value: Callable[[cel.Expression], Any]) -> str:
        """The text with values. What cannot be evaluated is shown as it is written: the rule counts, not
        this."""
        told = []
        for piece in self.pieces:
            if isinstance(piece, str):
                told.append(piece)
                continue
            try:
                told.append(cel.shown(value(piece)))
            except cel.CelError:
                told.append("{" + piece.text + "}")
        return "".join(told)


def template(text: str) -> Template:
    """Read a text. Raises CelError for a brace without its other half, or an expression that cannot be
    read."""
    pieces: list[str | cel.Expression] = []
    words = ""
    at = 0
    while at < len(text):
        sign = text[at]
        if text[at : at + 2] in ("{{", "}}"):
            words += sign
            at += 2
        elif sign == "{":
            end = text.find("}", at)
            if end < 0:
                raise cel.CelError("a brace that nothing closes; {{ stands for one", *_place(text, at))
            pieces += [words, _read(text, at + 1, end)]
            words = ""
            at = end + 1
        elif sign == "}":
            raise cel.CelError("a brace that nothing opens; }} stands for one", *_place(text, at))
        else:
            words += sign
            at += 1
    return Template((*pieces, words))


def _read(text: str, start: int, end: int) -> cel.Expression:
    try:
        return cel.parse(text[start:end])
    except cel.CelError as error:
        line, column = _place(text, start)
        inner = (line + error.line - 1, column + error.column - 1 if error.line == 1 else error.column)
        raise cel.CelError(error.what, *(inner if error.line else (line, column))) from error


def _place(text: str, at: int) -> tuple[int, int]:
    before = text[:at].split("\n")
    return len(before), len(before[-1]) + 1
