"""Progress of an apply: live lines on a terminal, plain lines elsewhere. No clock: events bring the time."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TextIO

from reconciler.redact import Redactor
from reconciler.report.pen import Pen, cells, duration
from reconciler.values import Address, ProgressEvent

__all__ = ["Progress", "plain", "render"]

_EVERY: Final = 30.0
"""Seconds after which an unchanged wait is told again where lines cannot be rewritten."""

_ENDS: Final = ("done", "failed")
_SIGNS: Final = {"calling": ">", "waiting": "…", "done": "✓", "failed": "✗"}
_STYLES: Final = {"calling": "yellow", "waiting": "yellow", "done": "green", "failed": "red"}


def plain(event: ProgressEvent, previous: ProgressEvent | None, pen: Pen | None = None) -> str | None:
    """The line for an event where nothing can be rewritten; None when it says nothing new.

    ``previous``: the last event of this address for which there was a line. News is another phase, another
    detail, or half a minute gone by.
    """
    if (
        previous is not None
        and (event.phase, event.detail) == (previous.phase, previous.detail)
        and not event.elapsed - previous.elapsed >= _EVERY
    ):
        return None
    pen = pen or Pen()
    return _line(event, pen, pen.clean(str(event.address)))


def render(events: Sequence[ProgressEvent], pen: Pen, height: int = 24) -> list[str]:
    """The live lines: one for each event, aligned, none wider than the terminal, at most ``height`` of them.

    When there are more, the last line says how many are not shown.
    """
    shown = list(events)
    hidden = 0
    if len(shown) > max(height, 1):
        hidden = len(shown) - max(height - 1, 0)
        shown = shown[: len(shown) - hidden]
    names = [pen.clean(str(event.address)) for event in shown]
    widest = min(max(map(cells, names), default=0), pen.columns() // 2)
    lines = [
        _line(event, pen, name + " " * (widest - cells(name)), fit=True)
        for event, name in zip(shown, names, strict=True)
    ]
    if hidden:
        rest = _cut(pen.signs(f"… and {hidden} more"), max(pen.width, 10) - 1, pen)
        lines.append(pen.paint("dim", rest))
    return lines


def _line(event: ProgressEvent, pen: Pen, name: str, *, fit: bool = False) -> str:
    sign = pen.signs(_SIGNS.get(event.phase, " "))
    rest = f"{name}  {duration(event.elapsed)}"
    if event.detail:
        rest += f"  {pen.clean(event.detail)}"
    if fit:
        rest = _cut(rest, max(pen.width, 10) - cells(sign) - 2, pen)
    return f"{pen.paint(_STYLES.get(event.phase, 'dim'), sign)} {rest}"


def _cut(text: str, room: int, pen: Pen) -> str:
    """``text`` in at most ``room`` cells: a line that wraps could not be rewritten."""
    if cells(text) <= room:
        return text
    end = pen.signs("…")
    kept = []
    left = room - cells(end)
    for character in text:
        left -= cells(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + end


class Progress:
    """Writes events to a stream as they come, from any thread.

    ``live``: the stream is a terminal whose lines can be rewritten; None asks the stream. What has ended is
    written once and scrolls away; what goes on stays below, in no more lines than the terminal has.
    ``width`` and ``height``: of the terminal, None asks it each time, for it may be resized. Use as a context
    manager, or call :meth:`close`, to leave the terminal clean.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        live: bool | None = None,
        width: int | None = None,
        height: int | None = None,
        colour: bool = False,
        ascii_only: bool | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self._stream = stream
        self._live = stream.isatty() and os.environ.get("TERM") != "dumb" if live is None else live
        self._size = (width, height)
        if ascii_only is None:
            ascii_only = not (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")
        self._colour, self._ascii_only = colour, ascii_only
        self._redactor = redactor or Redactor()
        self._lock = threading.RLock()  # a signal's words may come while its own thread writes
        self._going: dict[Address, ProgressEvent] = {}
        self._told: dict[Address, ProgressEvent] = {}
        self._drawn = 0

    def __call__(self, event: ProgressEvent) -> None:
        """Take one event."""
        event = replace(event, detail=self._redactor.text(event.detail))
        with self._lock:
            pen, height = self._pen()
            if not self._live:
                line = plain(event, self._told.get(event.address), pen)
                if line is not None:
                    self._told[event.address] = event
                    self._write(line + "\n")
            elif event.phase in _ENDS:
                self._going.pop(event.address, None)
                self._draw(pen, height, above=_line(event, pen, pen.clean(str(event.address))) + "\n")
            else:
                self._going[event.address] = event
                self._draw(pen, height)

    def say(self, text: str) -> None:
        """Write a line of another origin (a log record, say) without tearing the live lines."""
        with self._lock:
            pen, height = self._pen()
            text = pen.clean(self._redactor.text(text), keep="\n\t").rstrip("\n")
            self._draw(pen, height, above=text + "\n")

    def close(self) -> None:
        """Take the live lines away; what had ended stays."""
        with self._lock:
            self._going.clear()
            self._draw(*self._pen())

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _pen(self) -> tuple[Pen, int]:
        width, height = self._size
        if width is None or height is None:
            try:
                asked = os.get_terminal_size(self._stream.fileno())
            except (OSError, ValueError, AttributeError):
                asked = os.terminal_size((80, 24))
            width, height = width or asked.columns, height or asked.lines
        # One line for the prompt below, one for what is being written above.
        return Pen(self._colour, width or 80, self._ascii_only), max((height or 24) - 2, 1)

    def _draw(self, pen: Pen, height: int, above: str = "") -> None:
        """Replace the live lines in one write, so that nothing is seen half done."""
        back = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        lines = render([*self._going.values()], pen, height) if self._live else []
        self._drawn = len(lines)
        if text := back + above + "".join(line + "\n" for line in lines):
            self._write(text)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
