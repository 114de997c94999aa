"""JSON in files that others may have written, within bounds of size, of values and of depth."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Final

__all__ = ["LARGEST", "MAX_DEPTH", "MAX_VALUES", "loads", "read_bounded"]

LARGEST: Final = 32 * 1024 * 1024
"""Bytes; a plan of 1,000 endpoints, the most that a workspace has, takes a third of it."""
MAX_VALUES: Final = 750_000
"""Values in a file: one of three bytes takes a hundred in memory, so that size alone is no bound."""

MAX_DEPTH: Final = 100
"""Lists and objects inside each other; manifests go to 64. What walks them later is recursive."""


def loads(content: bytes) -> Any:
    """The value of a JSON text. Raises ValueError when it is none, or nested too deeply."""
    too_deep = ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    try:
        value = json.loads(content)
    except RecursionError:
        raise too_deep from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return value
    raise too_deep


def read_bounded(path: Path, *, pipes: bool = False) -> bytes:
    """The bytes of a JSON file, or of JSON a line.

    ``pipes``: what is no regular file is read too, and waited for. Raises OSError when it cannot be read,
    ValueError when it is no file or beyond the bounds.
    """
    # Not blocking: whoever opens a pipe that nobody writes to would wait for ever.
    with os.fdopen(
        os.open(path, os.O_RDONLY | (0 if pipes else getattr(os, "O_NONBLOCK", 0))), "rb"
    ) as stream:
        if not pipes and not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ValueError("it is not a regular file")
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MB")
    if content.count(b",") + content.count(b"[") + content.count(b"{") > MAX_VALUES:
        raise ValueError(f"it has more than {MAX_VALUES:,} values")
    return content
