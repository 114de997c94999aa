"""``${cmd:command}``: a secret from a password manager's program. Off unless it was allowed.

No shell reads the text: it is split into words as a shell would, and the program is run with them. The
standard input is closed, time and output are bounded, and each command is run once in a run. What it prints
is a secret, whatever it is called.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal

from reconciler.redact import Redactor, control
from reconciler.values import Secret

if TYPE_CHECKING:
    import subprocess

__all__ = ["MAX_BYTES", "TIMEOUT", "CommandProblem", "Commands", "Mode"]

TIMEOUT: Final = 30.0
"""Seconds that a command may take."""

MAX_BYTES: Final = 64 * 1024
"""What it may print."""

Mode = Literal["refuse", "run", "skip"]
"""What is done with commands: ``refuse`` tells that they are not allowed, ``skip`` leaves them unresolved."""

_KEPT_OF_STDERR: Final = 4096
_LONGEST_LINE: Final = 200
_LONGEST_PROGRAM: Final = 60
_PATIENCE: Final = 1.0  # seconds for the last of the output once a program has ended
_CHUNK: Final = 16 * 1024


class CommandProblem(Exception):
    """Why a command gives no value, as the parts of a Problem. ``is_skipped``: it was not to be run."""

    def __init__(self, what: str, fix: str, rule: str, *, is_skipped: bool = False) -> None:
        self.what = what
        self.fix = fix
        self.rule = rule
        self.is_skipped = is_skipped
        super().__init__(what)


class Commands:
    """Runs commands in ``folder``, each once: a second asking gets the same value, or the same problem.

    ``environ``: their environment variables. ``hidden``: secrets that no message may show. ``timeout``:
    seconds for one of them.
    """

    def __init__(
        self,
        mode: Mode,
        folder: Path,
        environ: Mapping[str, str],
        *,
        hidden: Sequence[str] = (),
        timeout: float = TIMEOUT,
    ) -> None:
        self.mode = mode
        self._hidden = hidden
        self._folder = folder
        self._environ = dict(environ)
        self._timeout = timeout
        self._known: dict[str, str | CommandProblem] = {}

    def value(self, text: str) -> str:
        """What a command prints, without the last end of line. Raises CommandProblem."""
        if self.mode == "skip":
            raise CommandProblem("commands are not run here", "", "command-not-allowed", is_skipped=True)
        if self.mode == "refuse":
            what = "${cmd:…} runs a command, and commands are not allowed here"
            fix = "--allow-commands allows them for this run, allow_commands: true in reconciler.yaml always"
            raise CommandProblem(what, fix, "command-not-allowed")
        if text not in self._known:
            try:
                self._known[text] = self._run(text)
            except CommandProblem as problem:
                self._known[text] = problem
        found = self._known[text]
        if isinstance(found, CommandProblem):
            raise found
        return found

    def _run(self, text: str) -> str:
        words = _words(text)
        program = _program(words[0])
        done = self._carried_out(words, program)
        if done.is_late:
            what = f"{program} did not end within {self._timeout:g} seconds, and was stopped"
            fix = "its standard input is closed: it must not ask for anything; log in to it first"
            raise CommandProblem(what, fix, "command-failed")
        if done.is_flood:
            what = f"{program} printed more than {MAX_BYTES // 1024} KB, and was stopped"
            raise CommandProblem(what, "a secret is shorter", "command-failed")
        if done.code:
            ended = f"exit code {done.code}" if done.code > 0 else f"signal {-done.code}"
            said = self._first_line(done)
            what = f"{program} failed with {ended}" + (f": {said}" if said else "")
            raise CommandProblem(what, "run it by hand to see why", "command-failed")
        try:
            printed = done.output.decode("utf-8")
        except UnicodeDecodeError:
            printed = "\0"
        if "\0" in printed:
            raise CommandProblem(f"what {program} printed is not UTF-8 text", "", "command-failed")
        return printed.removesuffix("\n").removesuffix("\r")

    def _carried_out(self, words: list[str], program: str) -> _Done:
        import subprocess

        try:
            # A group of its own: what it starts is stopped with it.
            process = subprocess.Popen(  # noqa: S603 - allowed by the user, and no shell reads it
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=self._environ,
                start_new_session=True,
            )
        except FileNotFoundError:
            what = f"there is no program {program}"
            raise CommandProblem(what, "install it, or correct its name", "command-failed") from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "its words are not valid"
            raise CommandProblem(f"{program} cannot be run: {why}", "", "command-failed") from None
        assert process.stdout is not None
        assert process.stderr is not None
        out = _Pipe(process.stdout, MAX_BYTES, full=lambda: _stop(process))
        err = _Pipe(process.stderr, _KEPT_OF_STDERR)
        is_late = False
        try:
            process.wait(self._timeout)
        except subprocess.TimeoutExpired:
            is_late = True
        finally:
            if process.poll() is None:
                _stop(process)
                process.wait()
        # A helper that it left running may hold the pipes open: what is there by now is all.
        return _Done(out.content(), err.content(), process.returncode, is_late, out.is_full)

    def _first_line(self, done: _Done) -> str:
        """The first line of its errors, fit to be shown: nothing secret that is known, no control signs."""
        lines = done.errors.decode("utf-8", "replace").strip().splitlines()
        if not lines:
            return ""
        printed = done.output.decode("utf-8", "replace")
        known = {printed.strip(), *printed.split(), *map(str.strip, printed.splitlines())}
        redactor = Redactor([Secret(value) for value in (*known, *self._hidden)])
        line = control(redactor.text(lines[0].strip()))
        return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"


@dataclass(frozen=True, slots=True, repr=False)
class _Done:
    """How a command ended."""

    output: bytes
    errors: bytes
    code: int
    is_late: bool
    is_flood: bool


class _Pipe:
    """Reads a pipe to its end in a thread; keeps the first ``most`` bytes, and one more when there is more.

    ``full``: called when there is more; without it the rest is read and dropped.
    """

    def __init__(self, stream: IO[bytes], most: int, full: Callable[[], None] | None = None) -> None:
        self.is_full = False
        self._stream = stream
        self._most = most
        self._full = full
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, name="command", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._stream:
            while chunk := os.read(self._stream.fileno(), _CHUNK):
                self._kept += chunk[: self._most + 1 - len(self._kept)]
                if self._full is not None and len(self._kept) > self._most:
                    self.is_full = True
                    self._full()
                    return

    def content(self) -> bytes:
        """What was read, once the program has ended."""
        self._thread.join(_PATIENCE)
        return bytes(self._kept)


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError:
        what = "the command cannot be split into words: a quote is not closed"
        raise CommandProblem(what, "close it", "bad-command") from None
    if not words or not words[0]:
        raise CommandProblem("${cmd:…} names no program", "write ${cmd:program words…}", "bad-command")
    return words


def _program(word: str) -> str:
    """The program's name for messages; its arguments are never shown."""
    name = control(word)
    return name if len(name) <= _LONGEST_PROGRAM else "…" + name[1 - _LONGEST_PROGRAM :]


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
