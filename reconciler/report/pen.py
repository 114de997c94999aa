"""How text gets onto a terminal: colours, width, an ASCII fallback, wrapped lines, durations.

Plain ANSI codes; rich takes longer to import than a plan takes to render.
"""

from __future__ import annotations

import textwrap
import unicodedata
from dataclasses import dataclass
from typing import Final

from reconciler.redact import control

__all__ = ["Pen", "cells", "count", "duration", "shortened"]

_STYLES: Final = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "bold": "1",
    "dim": "2",
}
_ASCII: Final = str.maketrans(
    {
        "→": "->",
        "−": "-",
        "–": "-",
        "…": "...",
        "±": "-/+",
        "✓": "ok",
        "✗": "x",
        "×": "x",
        "\N{NO-BREAK SPACE}": " ",
    }
)


@dataclass(frozen=True, slots=True)
class Pen:
    """What the reader's terminal can take. ``width`` counts cells; below 40 it is taken as 40."""

    colour: bool = False
    width: int = 100
    ascii_only: bool = False

    def clean(self, text: str, keep: str = "") -> str:
        """Untrusted text made harmless, in ASCII where that is asked for."""
        return self.signs(control(text, keep))

    def signs(self, text: str) -> str:
        """Our own text with its signs in ASCII where that is asked for."""
        if not self.ascii_only:
            return text
        return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")

    def paint(self, style: str, text: str) -> str:
        """``text`` in a style of the palette; as it is when no colour is wanted."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colour and text else text

    def columns(self, indent: int = 0) -> int:
        """Cells that a line has, right of an indentation."""
        return max(40, self.width) - indent

    def paragraph(self, label: str, text: str, indent: int = 4, hang: int | None = None) -> list[str]:
        """Untrusted text wrapped behind a label; its own line breaks are kept, long words are not cut."""
        hang = len(label) if hang is None else hang
        room = max(20, self.columns(indent + hang))
        lines: list[str] = []
        for line in self.clean(text, keep="\n").replace("\r", "").split("\n"):
            lines += textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""]
        rest = " " * (indent + hang)
        first = " " * indent + label.ljust(hang)
        return [(first if i == 0 else rest) + line for i, line in enumerate(lines)]


def cells(text: str) -> int:
    """How many cells a text without escape codes takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def shortened(text: str, limit: int) -> str:
    """``text``, cut in the middle when it is longer than ``limit``, with its length."""
    if len(text) <= limit:
        return text
    tail = f" ({len(text):,} characters)"
    room = max(8, limit - len(tail) - 1)
    head = (room + 1) // 2
    return f"{text[:head]}…{text[len(text) - (room - head) :]}{tail}"


def count(number: int, noun: str) -> str:
    """ "1 call", "2 calls"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration as people say it: "0.4 s", "12 s", "3 min 12 s", "1 h 4 min"."""
    if not seconds < 360_000_000:  # also NaN
        return "?"
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 // 60 else "")
