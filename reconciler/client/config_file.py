"""A file that is replaced as a whole or not at all, and can be put back: the write path of a config-file
gateway.

The new text is written beside the file, synced, and renamed over it; the text before it is kept in
``NAME.reconciler.bak`` in the same way. A kill at any moment leaves the old file or the new one, and at most
a temporary file that nobody reads and the next run takes away.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from reconciler.errors import StaleError, UsageError

__all__ = ["ABSENT", "ConfigFile", "digest_of"]

ABSENT: Final = "absent"
"""The digest of a file that is not there."""

_LARGEST: Final = 16 * 1024 * 1024  # bytes


def digest_of(content: bytes) -> str:
    """By which a file's content is known again."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class ConfigFile:
    """One file. A symbolic link stays one: what it leads to is replaced, and then the link is made anew, for
    the gateway watches the folder of the path that it was given (watchfiles; seen with mlflow 3.17)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = Path(path)
        self.real = Path(os.path.realpath(path))

    @property
    def backup(self) -> Path:
        """Where the content before the last write is kept."""
        return self.real.with_name(self.real.name + ".reconciler.bak")

    @property
    def _temporary(self) -> Path:
        return self.real.with_name(f".{self.real.name}.reconciler.tmp")

    def read(self) -> tuple[str, str]:
        """Text and digest; ("", ABSENT) when there is no such file. Raises UsageError when it cannot be
        read."""
        content = self._bytes()
        if content is None:
            return "", ABSENT
        try:
            return content.decode("utf-8"), digest_of(content)
        except UnicodeDecodeError:
            raise self._unusable("it is not UTF-8", "save it as UTF-8") from None

    def _bytes(self) -> bytes | None:
        try:
            # A pipe is never waited for.
            opened = os.open(self.real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(opened, "rb") as stream:
                if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                    raise self._unusable("it is no regular file", "name the file that the gateway reads")
                content = stream.read(_LARGEST + 1)
        except FileNotFoundError:
            if self.real.parent.is_dir():
                return None
            raise self._unusable("its folder does not exist", "correct config_path") from None
        except OSError as error:
            raise self._unusable(error.strerror or str(error), "name a file that can be read") from error
        if len(content) > _LARGEST:
            raise self._unusable("it is larger than 16 MB", "name the file that the gateway reads")
        return content

    def _unusable(self, why: str, fix: str) -> UsageError:
        return UsageError("the gateway's file cannot be used", where=self.path, why=why, fix=fix)

    def replace(self, text: str, if_match: str) -> str:
        """Replace the content, if its digest is ``if_match``; the content before goes into the backup.

        Gives the new digest. Mode, owner and group stay. Raises StaleError when the file is another one by
        now, UsageError when it cannot be written; the file is untouched, then.
        """
        old = self._bytes()
        if (ABSENT if old is None else digest_of(old)) != if_match:
            raise StaleError(
                "the file changed since the plan; nothing was written", where=self.path, fix="plan again"
            )
        new = text.encode("utf-8")
        try:
            if old is not None:
                self._put(self.backup, old)
            self._put(self.real, new)
            self._touch_link()
        except OSError as error:
            raise UsageError(
                f"the gateway's file cannot be written: {error.strerror or error}",
                where=str(error.filename or self.path),
                why="a new one is renamed over it, and that needs the right to write in its folder",
                fix="run as who may; a file that is mounted by itself, or read-only, cannot be replaced",
            ) from error
        finally:
            self.clean()
        return digest_of(new)

    def restore(self, text: str, digest: str, if_match: str) -> bool:
        """Put ``text`` back (nothing, when ``digest`` is ABSENT), if what is there is still ``if_match``;
        whether that was so. Raises UsageError when it cannot be written."""
        now = self._bytes()
        if (ABSENT if now is None else digest_of(now)) != if_match:
            return False
        try:
            if digest == ABSENT:
                self.real.unlink()
            else:
                self._put(self.real, text.encode("utf-8"))
            self._touch_link()
        except OSError as error:
            raise UsageError(
                f"the old file cannot be put back: {error.strerror or error}",
                where=self.path,
                fix=f"copy {self.backup} over it",
            ) from error
        finally:
            self.clean()
        return True

    def clean(self) -> None:
        """Take away what a killed run may have left."""
        for path in (self._temporary, self._temporary_link):
            with contextlib.suppress(OSError):
                path.unlink()

    @property
    def _temporary_link(self) -> Path:
        return self.name.with_name(f".{self.name.name}.reconciler.link")

    def _put(self, path: Path, content: bytes) -> None:
        like = self.real.stat() if self.real.exists() else None
        self.clean()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        opened = os.open(self._temporary, flags, 0o600 if like is not None else 0o666)
        with os.fdopen(opened, "wb") as stream:
            if like is not None:
                _like(stream.fileno(), like)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        self._temporary.replace(path)
        _sync_folder(path.parent)

    def _touch_link(self) -> None:
        if not self.name.is_symlink():
            return
        with contextlib.suppress(FileNotFoundError):
            self._temporary_link.unlink()
        self._temporary_link.symlink_to(self.name.readlink())
        self._temporary_link.replace(self.name)
        _sync_folder(self.name.parent)


def _like(opened: int, other: os.stat_result) -> None:
    """Mode, owner and group of another file; raises OSError when the owner cannot be kept."""
    mine = os.fstat(opened)
    if hasattr(os, "fchown") and (mine.st_uid, mine.st_gid) != (other.st_uid, other.st_gid):
        os.fchown(opened, other.st_uid, other.st_gid)
    if hasattr(os, "fchmod"):
        os.fchmod(opened, stat.S_IMODE(other.st_mode))


def _sync_folder(folder: Path) -> None:
    """So that the renaming outlives a power cut; where folders can be synced."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
