"""Pages as Markdown for a comment on a pull request: the summary first, details folded, within a budget.

GitHub takes 65,536 characters in a comment; GitLab and Azure take more. Untrusted text stands only in code:
in ``<code>`` with every sign of punctuation as a character reference, or in a fence longer than any run of
backticks in it. There neither markup, HTML, mentions, issue numbers nor emoji codes mean anything
(https://github.github.com/gfm/, sections 4.5 and 6.2; mentions are left alone inside ``code`` and ``pre``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from reconciler.report.page import Change, Item, Level, Page, Purpose
from reconciler.report.pen import count, shortened
from reconciler.report.traffic import Split

__all__ = ["BUDGET", "markdown"]

BUDGET: Final = 65_000
"""Bytes of a comment."""
_LEAST: Final = 12_000
_NAME: Final = 72
_PLACE: Final = 160
_TOLD: Final = 1_200
_TABLE: Final = 0.35
_CLOSING: Final = 2_500
_DETAIL: Final = 1_500
_OPEN: Final = 2


def markdown(pages: Page | Sequence[Page], budget: int = BUDGET) -> str:
    """One comment for all pages, in UTF-8 not longer than ``budget`` bytes (taken as 12,000 when less)."""
    pages = [pages] if isinstance(pages, Page) else list(pages)
    room = max(budget, _LEAST)
    told = pages[: max(1, room // _LEAST)]
    more = len(pages) - len(told)
    tail = f"\n… and {count(more, 'more report')}: see the full report.\n" if more else ""
    share = (room - _size(tail)) // max(len(told), 1)
    return "\n".join(_page(page, share - 1) for page in told) + tail


def _page(page: Page, budget: int) -> str:
    parts = [_head(page)]
    used = _size(parts[0]) + _CLOSING
    table = _table(page.items, int((budget - used) * _TABLE))
    parts.append(table)
    used += _size(table)
    # What needs attention is told first, so that a cut takes what is harmless.
    items = sorted(page.items, key=lambda item: -item.level)
    folded = [item for item in items if _has_more(item)]
    told = 0
    for item in folded:
        left = budget - used
        room = max(left // (len(folded) - told), min(_DETAIL, left))
        if room < _DETAIL:
            break
        detail = _detail(item, room, is_open=len(folded) <= _OPEN or item.level is Level.ERROR)
        parts.append(detail)
        used += _size(detail)
        told += 1
    if left_over := len(folded) - told:
        parts.append(f"… details of {left_over:,} more: see the full report.\n\n")
    parts.append(_closing(page))
    return "".join(parts)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _head(page: Page) -> str:
    marks = {Level.ERROR: "❌ ", Level.WARNING: "⚠️ ", Level.NOTICE: "", Level.QUIET: "✅ "}
    lines = [f"<!-- {page.title} -->", f"### {marks[page.level]}{page.title}: {page.headline}", ""]
    about = [(label, name) for label, name in (("stack", page.stack), ("target", page.target)) if name]
    if about:
        lines += [" · ".join(f"{label} {_code(name, _NAME)}" for label, name in about), ""]
    if worst := [item for item in page.items if item.level is Level.ERROR and item.kind]:
        lines += ["> [!CAUTION]", f"> {_named('Needs a decision', worst)}", ""]
    ends = [item for item in page.items if item.level is Level.WARNING and item.what in _ENDS]
    if ends and page.purpose is not Purpose.DRIFT:  # a check of drift deletes nothing
        lines += ["> [!WARNING]", f"> {_named('Deletes what is live', ends)}", ""]
    return "\n".join(lines) + "\n"


_ENDS: Final = ("delete", "replace")
_FEW: Final = 5


def _named(what: str, items: Sequence[Item]) -> str:
    names = ", ".join(_code(item.address, _NAME) for item in items[:_FEW])
    more = f" and {len(items) - _FEW:,} more" if len(items) > _FEW else ""
    return f"{what}: {names}{more}"


def _table(items: Sequence[Item], budget: int) -> str:
    """One row a resource; the columns are few so that a phone shows them."""
    if not items:
        return ""
    text = "| | | | |\n|---|---|---|---|\n"
    used = _size(text)
    for at, item in enumerate(items):
        changes = count(len(item.changes), "change") if item.changes else ""
        cells = [_code(item.sign, 3) if item.sign else "", _code(item.address, _NAME), _ending(item, changes)]
        place = _code(item.place, _PLACE) if item.place and item.kind else ""
        row = f"| {' | '.join(cells)} | {place} |\n"
        if used + _size(row) > budget:
            return f"{text}\n… and {len(items) - at:,} more.\n\n"
        text += row
        used += _size(row)
    return text + "\n"


def _ending(item: Item, changes: str) -> str:
    # Of a problem the ending is untrusted text; of a step it is one of our words, and stays safe as code.
    ending = item.ending if item.kind and item.ending.isascii() and _PLAIN.fullmatch(item.ending) else ""
    return " · ".join(part for part in (ending or _code(item.ending, _PLACE), changes) if part)


_PLAIN: Final = re.compile(r"[A-Za-z ,()0-9]*(: refused)?")


def _has_more(item: Item) -> bool:
    return bool(item.changes or item.told or item.requests or item.traffic or item.log)


def _detail(item: Item, budget: int, *, is_open: bool) -> str:
    title = f"{item.sign} {item.address}" if item.sign else item.address
    summary = f"<code>{_entities(shortened(title, _PLACE))}</code>"
    opening = f"<details{' open' if is_open else ''}><summary>{summary}</summary>\n\n"
    closing = "\n</details>\n\n"
    blocks = [("diff", list(_change_lines(item))), ("text", list(_told_lines(item)))]
    room = budget - _size(opening) - _size(closing)
    told = ""
    for info, lines in blocks:
        if lines:
            block = _fence(info, lines, room - _size(told))
            told += block
    return opening + told + closing


def _change_lines(item: Item) -> Iterable[str]:
    for change in item.changes:
        yield f"{_DIFF.get(change.sign, change.sign)} {change.text}{_beside(change, item)}"
        yield from (f"      {line}" for line in change.below)
    for split in item.traffic:
        yield from _traffic_lines(split)


_DIFF: Final = {"~": "!", "±": "!"}
"""The signs that a ``diff`` block colours: ``!`` is a change."""


def _beside(change: Change, item: Item) -> str:
    where = f"{change.file}:{change.line}" if change.file and change.file != item.file else ""
    if change.line and change.file == item.file and change.line != item.line:
        where = f"line {change.line}"
    parts = [part for part in (change.path, where, change.cause, change.set_by) if part]
    return f"   # {', '.join(parts)}" if parts else ""


_BAR: Final = 20


def _traffic_lines(split: Split) -> Iterable[str]:
    """The shares as bars: what stands in a comment is read on a phone, too."""
    yield f"# traffic ({split.path})"
    column = max(len(shortened(share.name, 32)) for share in split.shares)
    for sign, side in (("-", "before"), ("+", "after")):
        shares = [(share.name, getattr(share, side)) for share in split.shares]
        total = sum(number for _, number in shares if number is not None)
        for name, number in shares:
            if number is not None:
                filled = round(number / total * _BAR) if total else 0
                bar = "█" * filled + "░" * (_BAR - filled)
                yield f"{sign} {shortened(name, 32).ljust(column)} {bar} {number:g}"


def _told_lines(item: Item) -> Iterable[str]:
    if not item.kind and item.ending:
        yield from _wrapped(item.ending)
    for label, text in item.told:
        first, *rest = _wrapped(text) or [""]
        yield f"{label}: {first}"
        yield from (f"  {line}" for line in rest)
    for at, request in enumerate(item.requests):
        yield f"{'calls:' if not at else '      '} {request}"
    yield from (f"log: {line}" for line in item.log)


def _wrapped(text: str) -> list[str]:
    return [line for line in shortened(text, _TOLD).split("\n") if line.strip()]


def _fence(info: str, lines: Sequence[str], budget: int) -> str:
    """A block of code that holds as many of the lines as fit."""
    longest = max((len(run) for line in lines for run in _BACKTICKS.findall(line)), default=0)
    fence = "`" * max(3, longest + 1)
    frame = f"{fence}{info}\n{fence}\n"
    room = budget - _size(frame) - 40
    kept: list[str] = []
    for line in lines:
        line = shortened(line, _TOLD)
        room -= _size(line) + 1
        if room < 0:
            break
        kept.append(line)
    if len(kept) < len(lines):
        if budget < _size(frame) + 40:
            return ""
        kept.append(f"… {count(len(lines) - len(kept), 'more line')}")
    return "\n".join([f"{fence}{info}", *kept, fence]) + "\n"


_BACKTICKS: Final = re.compile(r"`+")


def _closing(page: Page) -> str:
    lines: list[str] = []
    if page.notes:
        # The fence is cut to what the closing has been promised.
        lines.append(
            _fence("text", [f"note: {line}" for note in page.notes for line in _wrapped(note)], 1_500)
        )
    told = [sentence for sentence in page.closing if sentence]
    if told:
        lines.append(f"<sub>{_code(' '.join(told), 600, tag='span')}</sub>\n")
    return "\n".join(lines)


def _code(text: str, limit: int, tag: str = "code") -> str:
    return f"<{tag}>{_entities(shortened(text, limit))}</{tag}>"


def _entities(text: str) -> str:
    """Each ASCII sign that could be markup as a character reference, which is never markup."""
    return _SIGNS.sub(lambda found: f"&#{ord(found[0])};", text.replace("\n", " "))


_SIGNS: Final = re.compile(r"[!-,:-@\[-`{-~]")
