"""Live lines that a terminal can rewrite, plain lines for everything else."""

from __future__ import annotations

import io
import os
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.redact import Redactor
from reconciler.report.pen import Pen, cells, duration
from reconciler.report.progress import Progress, plain, render
from reconciler.values import Address, ProgressEvent, Secret

from .plans import nasty


def event(name: str, phase: str, detail: str = "", elapsed: float = 0.0) -> ProgressEvent:
    return ProgressEvent(Address("Endpoint", name), phase, detail, elapsed)


def screen(written: str) -> list[str]:
    """What a terminal shows: enough of one for "up n lines" and "clear from here"."""
    lines = [""]
    row = 0
    for part in re.split(r"(\x1b\[\d+F|\x1b\[J|\n)", written):
        if up := re.fullmatch(r"\x1b\[(\d+)F", part):
            row = max(0, row - int(up[1]))
        elif part == "\x1b[J":
            lines[row:] = [""]
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        else:
            lines[row] += part
    return [line for line in lines if line]


def test_plain_lines_only_for_news() -> None:
    first = event("a", "waiting", "creating", 1)
    assert plain(first, None) == "… Endpoint/a  1.0 s  creating"
    assert plain(event("a", "waiting", "creating", 20), first) is None
    assert plain(event("a", "waiting", "creating", 31), first) == "… Endpoint/a  31 s  creating"
    assert plain(event("a", "waiting", "pulling", 2), first) == "… Endpoint/a  2.0 s  pulling"
    assert plain(event("a", "done", "creating", 2), first) == "✓ Endpoint/a  2.0 s  creating"


def test_not_a_terminal_gets_no_escape_codes() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        for at in range(0, 70, 10):
            progress(event("a", "waiting", "creating", at))
            progress(event("b", "waiting", f"step {at // 40}", at))
        progress(event("a", "done", "live", 71))
    assert stream.getvalue().splitlines() == [
        "… Endpoint/a  0.0 s  creating",
        "… Endpoint/b  0.0 s  step 0",
        "… Endpoint/a  30 s  creating",
        "… Endpoint/b  30 s  step 0",
        "… Endpoint/b  40 s  step 1",
        "… Endpoint/a  1 min  creating",
        "✓ Endpoint/a  1 min 11 s  live",
    ]


def test_a_terminal_is_rewritten_in_place() -> None:
    stream = io.StringIO()
    progress = Progress(stream, live=True, width=60, height=24)
    progress(event("a", "calling", "PUT /a"))
    progress(event("long-name", "waiting", "creating", 5))
    progress(event("a", "waiting", "updating", 9))
    assert screen(stream.getvalue()) == [
        "… Endpoint/a          9.0 s  updating",
        "… Endpoint/long-name  5.0 s  creating",
    ]
    progress(event("a", "failed", "no memory", 12))
    progress.say("a log line")
    assert screen(stream.getvalue()) == [
        "✗ Endpoint/a  12 s  no memory",
        "a log line",
        "… Endpoint/long-name  5.0 s  creating",
    ]
    progress.close()
    assert screen(stream.getvalue()) == ["✗ Endpoint/a  12 s  no memory", "a log line"]


def test_no_more_lines_than_the_terminal_has() -> None:
    stream = io.StringIO()
    progress = Progress(stream, live=True, width=60, height=6)
    for at in range(10):
        progress(event(f"e{at}", "waiting"))
    assert screen(stream.getvalue()) == [
        "… Endpoint/e0  0.0 s",
        "… Endpoint/e1  0.0 s",
        "… Endpoint/e2  0.0 s",
        "… and 7 more",
    ]


class OneAtATime(io.StringIO):
    """A stream that notices two writers at once."""

    inside = 0

    def write(self, text: str) -> int:
        assert not self.inside
        self.inside += 1
        os.sched_yield()  # the others get their chance to write in between
        self.inside -= 1
        return super().write(text)


def test_events_from_many_threads_keep_lines_whole() -> None:
    stream = OneAtATime()
    progress = Progress(stream, live=True, width=80, height=24)

    def work(name: str) -> None:
        for at in range(50):
            progress(event(name, "waiting", "creating", at))
        progress(event(name, "done", "live", 50))

    threads = [threading.Thread(target=work, args=(f"e{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(screen(stream.getvalue())) == [f"✓ Endpoint/e{n}  50 s  live" for n in range(8)]


def test_details_are_redacted_and_harmless() -> None:
    stream = io.StringIO()
    progress = Progress(stream, redactor=Redactor([Secret("hunter22")]))
    progress(event("a", "failed", "key hunter22 \x1b[2J\nrefused"))
    progress.say("hunter22\x1b")
    assert stream.getvalue() == "✗ Endpoint/a  0.0 s  key *** \\x1b[2J\\nrefused\n***\\x1b\n"


def test_ascii_where_the_stream_knows_no_more() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    Progress(stream)(event("a", "done", "→ live"))
    stream.seek(0)
    assert stream.read() == "ok Endpoint/a  0.0 s  -> live\n"


@given(
    st.lists(
        st.builds(event, nasty, st.sampled_from(["calling", "waiting", "done", "?"]), nasty), max_size=6
    ),
    st.integers(10, 90),
    st.integers(1, 8),
    st.booleans(),
)
def test_live_lines_fit_any_terminal(
    events: list[ProgressEvent], width: int, height: int, ascii_only: bool
) -> None:
    lines = render(events, Pen(width=width, ascii_only=ascii_only), height)
    assert len(lines) <= height
    assert all(cells(line) < width and "\n" not in line and "\x1b" not in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min"), (192, "3 min 12 s"), (3840, "1 h 4 min"),
     (-1, "0.0 s"), (float("nan"), "?"), (float("inf"), "?")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
