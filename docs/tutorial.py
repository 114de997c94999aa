"""Writes docs/tutorial.md from the acceptance scenario that is it; a test holds them together. ``make docs``.

Comments of the script are the words, its commands the examples, and what these printed stands in output.txt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parent / "tutorial.md"
SCENARIO = Path(__file__).parent.parent / "tests" / "acceptance" / "gitops"
_HEAD = """\
# Tutorial: from a pull request to production

Generated from `tests/acceptance/gitops` by `make docs`: do not edit.

"""
_RUN = re.compile(r"(?:code (?P<code>\d+) )?run (?P<command>.*)")
_FILE = re.compile(r"cat (?P<name>[\w./-]+)")


@dataclass(slots=True)
class _Block:
    """Commands that follow each other, each with what it printed."""

    lines: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = "\n".join(self.lines).strip("\n")
        return f"```console\n{text}\n```\n" if text else ""


def tutorial(scenario: Path = SCENARIO) -> str:
    """The page as text. Raises ValueError when script and output do not fit together."""
    script = (scenario / "script").read_text(encoding="utf-8").split("\n")
    printed = _printed((scenario / "output.txt").read_text(encoding="utf-8"))
    parts: list[str] = [_HEAD]
    block = _Block()
    words: list[str] = []
    at = 0
    while at < len(script):
        line = script[at]
        at += 1
        if line.startswith("#"):
            if block.lines:
                parts.append(f"{block}\n")
                block = _Block()
            words.append(line[1:].removeprefix(" "))
            continue
        if words:
            parts.append("\n".join(words).strip("\n") + "\n\n")
            words = []
        if not line.strip():
            continue
        if end := re.search(r"<<'?(\w+)'?", line):
            stop = script.index(end[1], at)
            block.lines += [f"$ {line}", *(f"> {inner}" for inner in script[at : stop + 1])]
            at = stop + 1
            continue
        block.lines += _told(line, scenario, printed)
    parts.append(str(block))
    if (left := next(printed, None)) is not None:
        raise ValueError(f"printed, and in no command: {left[0]}")
    return "".join(parts)


def _told(line: str, scenario: Path, printed: Iterator[tuple[str, list[str]]]) -> list[str]:
    """A command as it is typed, and what it printed."""
    if found := _FILE.fullmatch(line):
        return [f"$ {line}", *(scenario / found["name"]).read_text(encoding="utf-8").rstrip("\n").split("\n")]
    found = _RUN.fullmatch(line)
    if not found:
        return [f"$ {line}"]
    command, output = next(printed, ("", []))
    if _bare(command) != _bare(found["command"]):
        raise ValueError(f"{found['command']!r} printed what {command!r} did")
    code = [f"(exit code {found['code']})"] if found["code"] else []
    return [f"$ {found['command']}", *output, *code, ""]


def _bare(command: str) -> str:
    return re.sub(r"['\"\\]", "", command)


def _printed(output: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of an output with its lines."""
    for chunk in re.split(r"^\$ ", output, flags=re.MULTILINE)[1:]:
        command, *lines = chunk.rstrip("\n").split("\n")
        yield command, lines


def main() -> None:
    """Write the page."""
    PAGE.write_text(tutorial(), encoding="utf-8")


if __name__ == "__main__":
    main()
