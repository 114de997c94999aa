"""Keeps two runs of this user and machine apart: one lock file for each place that is written, and stack.

The lock is the operating system's own (flock), so it ends with the process that holds it, however that
process ends. Beside it stands who holds it, for whoever finds it taken. Lock files stand in one folder of the
user's, so that two clones of a project know of each other. Against writers elsewhere the read before each
write guards.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from reconciler.errors import RefusedError, UsageError

__all__ = ["Holder", "LockedError", "locked", "user_folder"]


class LockedError(RefusedError):
    """Another run works on this target and stack."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock. ``since``: RFC 3339, UTC. ``command``: with its run in the journal and its folder."""

    pid: int
    machine: str
    since: str
    command: str

    @classmethod
    def me(cls, command: str, since: str) -> Holder:
        """This process."""
        return cls(os.getpid(), platform.node(), since, command)

    @property
    def is_gone(self) -> bool:
        """The process is known to be over: it was one of this machine, which has no such process now."""
        if self.machine != platform.node() or self.pid <= 0:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine}, {self.command}, since {self.since}"


@contextlib.contextmanager
def locked(
    folder: Path,
    place: str,
    stack: str,
    holder: Holder,
    *,
    break_it: bool = False,
    instead: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[None]:
    """Hold the lock of a place and stack. Raises LockedError at once when another run has it.

    ``folder``: where lock files are; it is made. ``instead``: where they are when that cannot be written,
    which is told. ``break_it``: take the lock from whoever has it. ``tell`` hears of a run that ended without
    giving it back, and of a lock that was broken. Raises UsageError when neither folder can be written.
    """
    import filelock

    why = _unfit(folder)
    if why and instead is not None:
        tell(
            f"warning: no lock can be kept in {folder}: {why}\n"
            f"it is kept in {instead}: runs of other folders on the same target are not noticed"
        )
        folder, why = instead, _unfit(instead)
    path = folder / _name(place, stack)
    about = path.with_suffix(".json")
    if why:
        raise UsageError(f"the lock cannot be taken: {why}", where=str(path), fix="make the folder writable")
    try:
        if break_it:
            if left := _read(about):
                tell(f"lock broken: it was held by {left}")
            # The old file, locked or not, is nobody's name any more; the new one is ours.
            path.unlink(missing_ok=True)
            about.unlink(missing_ok=True)
        lock = filelock.FileLock(path, timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise _refusal(_read(about), place, stack, path) from None
    except OSError as error:
        raise UsageError(
            f"the lock cannot be taken: {error.strerror or error}",
            where=str(path),
            fix="make the folder writable",
        ) from error
    try:
        if (left := _read(about)) and left.pid != holder.pid:
            # The system gave the lock back; only its note is left.
            tell(
                f"the last run on this target did not end by itself: {left}\n"
                "what it was doing: reconciler history; this run reads everything anew"
            )
        about.write_text(json.dumps(asdict(holder)) + "\n", encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            if _read(about) == holder:
                about.unlink(missing_ok=True)
        lock.release()


def user_folder() -> Path:
    """Where this user's lock files are (``~/.local/state/reconciler/locks``, by XDG_STATE_HOME)."""
    import platformdirs

    return Path(platformdirs.user_state_dir("reconciler", appauthor=False)) / "locks"


def _unfit(folder: Path) -> str:
    """Why no lock can be kept in a folder, "" when it can; it is made."""
    if not folder.is_absolute() and str(folder).startswith("~"):
        return "there is no home"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


def _name(place: str, stack: str) -> str:
    """A file name for any place and stack, readable where their text allows it."""
    text = f"{place}\0{stack}"
    words = re.sub(r"[^A-Za-z0-9]+", "-", f"{place}-{stack}").strip("-")[-40:]
    return f"{words}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}.lock"


def _read(about: Path) -> Holder | None:
    try:
        content = json.loads(about.read_text(encoding="utf-8"))
        return Holder(
            int(content["pid"]), str(content["machine"]), str(content["since"]), str(content["command"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refusal(holder: Holder | None, place: str, stack: str, path: Path) -> LockedError:
    of = f"stack {stack} on {place}" if stack else place
    who = str(holder) if holder else f"somebody, see {path}"
    gone = holder is not None and holder.is_gone
    return LockedError(
        f"another run works on {of}: {who}",
        why="that process is gone, and its lock was left behind" if gone else "two applies would cross",
        fix="--break-lock takes the lock over"
        if gone
        else "wait until it has ended; if it hangs or is gone, --break-lock takes the lock over",
    )
