"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Replace a file's content, UTF-8 with the text's own line ends; whoever reads sees the old or the new.

    A link is followed, permissions stay. What is no regular file (a pipe, /dev/stdout) is written as it is.
    Raises OSError.
    """
    real = Path(os.path.realpath(path))
    content = text.encode("utf-8", "backslashreplace")
    if real.exists() and not real.is_file():
        with real.open("wb") as stream:
            stream.write(content)
        return
    mode = stat.S_IMODE(real.stat().st_mode) if real.exists() else 0o666 & ~_umask()
    number, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name[:100]}.", suffix=".new")
    try:
        with os.fdopen(number, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(mode)
        Path(name).replace(real)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
