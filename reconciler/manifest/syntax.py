"""A syntax error of the YAML parser in words for people."""

from __future__ import annotations

import re
from typing import Final

import yaml

from reconciler.errors import Problem
from reconciler.manifest.events import MAX_DEPTH

__all__ = ["syntax_problem"]

_INDENTATION: Final = "check the indentation, and quotes that close too early"
# What the parser says → what we say, and what to do; the first that fits counts.
_FRIENDLY: Final = (
    (
        "unknown escape|hexdecimal|hexadecimal",
        "the escape is not known",
        "write text with \\ in single quotes",
    ),
    ("quoted scalar", "a quote is not closed", "close it, on the same line where possible"),
    (
        "flow (sequence|mapping)|in this flow",
        "a list or a mapping in brackets is not closed",
        "add , or the bracket",
    ),
    (
        "mapping values are not allowed",
        "a colon is not expected here",
        "check the indentation; quote text with ': '",
    ),
    ("expected ':'", "a colon is missing after this key", "write key: value"),
    ("cannot start any token", "a value cannot begin with this character", "write the value in quotes"),
    ("tag", "tags are not allowed", "manifests hold plain values only"),
    (
        "anchor|alias",
        "the anchor or alias has no proper name",
        "write &name or *name; quote text that begins so",
    ),
    (
        "directive|incompatible",
        "the line with % cannot be read",
        "remove it, or quote text that begins with %",
    ),
    ("block scalar", "text cannot begin here", "begin it on the line below the | or >"),
    ("document start", "this does not belong to the document above", _INDENTATION),
    ("sequence entries", "a list item is not expected here", "begin the list on the line below its key"),
    ("block|mapping|collection|key", "a key of the mapping is expected here", _INDENTATION),
)


def syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """What is wrong with ``text``, and where. Nothing of the text itself is repeated but a bracket."""
    mark = getattr(error, "problem_mark", None)
    began = getattr(error, "context_mark", None)
    told = " ".join(str(getattr(error, part, None) or "") for part in ("context", "problem"))
    what, fix = "is not valid YAML", "check brackets, quotes and indentation"
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    if (
        "nesting depth" in told
    ):  # the parser's own limit, which it may reach before it tells of the first level
        what, fix = f"is nested deeper than {MAX_DEPTH} levels", "manifests need far fewer"
        return Problem(file, line, column, "", what, fix, "too-deep")
    lines = text.split("\n", line) if mark else []
    before = lines[line - 1][: column - 1] if line <= len(lines) else ""
    here = lines[line - 1][column - 1 : column] if line <= len(lines) else ""
    if here == "\t":
        what, fix = "a tab cannot indent", "indent with spaces"
    elif here and here in "]},":
        what, fix = f"{here!r} is not expected here", "check brackets; quote text that begins so"
    elif "flow" in told and re.search(r"\$\s*\{?$", before):
        what, fix = "a reference inside { } or [ ] needs quotes", 'write it as "${env:NAME}"'
    else:
        for pattern, friendly, remedy in _FRIENDLY:
            if re.search(pattern, told):
                what, fix = friendly, remedy
                break
        else:
            if not here:
                what, fix = "the text ends too early", "close brackets and quotes"
    if began and mark and began.line != mark.line:
        what += f"; it belongs to what begins at line {began.line + 1}"
    return Problem(file, line, column, "", what, fix, "yaml-syntax")
