"""Reads YAML and JSON text: bytes → text → documents with positions. Bounded and safe."""

from __future__ import annotations

import functools
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, Final

import yaml

from reconciler.errors import Problem
from reconciler.manifest.events import MAX_DEPTH, Builder, Refused
from reconciler.manifest.positions import Document, Parsed, Positions
from reconciler.manifest.syntax import syntax_problem

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Document", "Parsed", "Positions", "parse", "read"]

MAX_BYTES: Final = 8 * 1024 * 1024

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is 8 times as fast


def read(path: Path, file: str, stream: BinaryIO | None = None) -> tuple[str, tuple[Problem, ...]]:
    """The text of a file (or of ``stream``), and why it cannot be read. ``file``: its name in messages."""
    try:
        if stream is None:
            _check_file(path, file)
            with path.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
        else:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise Refused(_too_large(file))
        return _decoded(content, file), ()
    except Refused as refused:
        return "", (refused.problem,)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "its name is not valid"
        return "", (Problem(file, 0, 0, "", f"cannot be read: {why}", rule="unreadable-file"),)


def _check_file(path: Path, file: str) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise Refused(Problem(file, 0, 0, "", "is not a regular file", rule="unreadable-file"))
    if status.st_size > MAX_BYTES:
        raise Refused(_too_large(file))


def _too_large(file: str) -> Problem:
    what = f"is larger than {MAX_BYTES // 1024 // 1024} MB"
    return Problem(file, 0, 0, "", what, "split it into several files", "file-too-large")


def _decoded(content: bytes, file: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4]:
        raise Refused(
            Problem(file, 1, 1, "", "is not UTF-8 but UTF-16 or UTF-32", "save it as UTF-8", "encoding")
        )
    if content.startswith(b"\xef\xbb\xbf"):
        what = "begins with a byte order mark"
        raise Refused(Problem(file, 1, 1, "", what, "save it as UTF-8 without BOM", "encoding"))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        line, column = _place(before, len(before))
        what = f"is not UTF-8: byte 0x{content[error.start]:02x}"
        raise Refused(Problem(file, line, column, "", what, "save it as UTF-8", "encoding")) from None


def _place(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


_UNPRINTABLE_ASCII: Final = re.compile(r"[^\t\n\r\x20-\x7e]")
_SURROGATE_PAIR: Final = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)


@functools.cache
def _unprintable() -> re.Pattern[str]:
    """What YAML takes for no character of a text; 5 ms to compile, so only for texts beyond ASCII."""
    return re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def parse(text: str, file: str) -> Parsed:
    """Read every document of a text; ``file`` is its name in messages. Never raises."""
    if found := (_UNPRINTABLE_ASCII if text.isascii() else _unprintable()).search(text):
        line, column = _place(text, found.start())
        code = ord(found.group())
        what = f"the character U+{code:04X} is not allowed in a manifest"
        escape = f'"\\u{code:04x}"'
        fix = f"remove it, or write it as an escape: {escape}"
        return Parsed((), (Problem(file, line, column, "", what, fix, "control-character"),))
    if "\\u" in text and file.endswith(".json"):
        text = _SURROGATE_PAIR.sub(_one_character, text)  # JSON's way of writing it; YAML knows no pairs
    builder = Builder(file)
    loader = _Loader(text)
    try:
        builder.run(loader)
    except Refused as refused:
        builder.problems.append(refused.problem)
    except yaml.YAMLError as error:
        builder.problems.append(syntax_problem(error, text, file))
    finally:
        loader.dispose()
    return Parsed(tuple(builder.documents), tuple(builder.problems), frozenset(builder.doubtful))


def _one_character(found: re.Match[str]) -> str:
    high, low = int(found[2], 16), int(found[3], 16)
    return f"{found[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"
