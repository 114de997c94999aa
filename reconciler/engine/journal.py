"""What a run was about to do and what came of it, on disk before and after each call.

One file a run, ``.reconciler/runs/RUN.jsonl``: a JSON object a line, appended and synced one by one, so that
a process killed at any moment leaves all but the line that it was writing. It is a record and no state: no
plan reads it. Who deletes it loses the record and the means of a rollback.

Nothing in it is a secret: bodies are masked by the schema, text by what the run knows of secrets.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from reconciler.engine.bounded import loads, read_bounded
from reconciler.errors import APIError, ReconcilerError, UsageError
from reconciler.redact import Redactor, shown_body
from reconciler.values import Address, Call, Outcome

__all__ = [
    "FORMAT_VERSION",
    "Journal",
    "JournalError",
    "RecordedCall",
    "RecordedRun",
    "Recorder",
    "find_run",
    "new_run",
    "now",
    "read_run",
    "recent_writes",
    "runs",
]

FORMAT_VERSION = "1.0"
_WRITES = frozenset({"POST", "PUT", "PATCH"})


class JournalError(ReconcilerError):
    """The journal cannot be written; the call that it was to announce is not made."""


class Recorder(Protocol):
    """Who hears of each call, before it is made and after."""

    def intent(self, address: Address, call: Call) -> int:
        """A call is about to be made. Gives its number in this run. Raises JournalError: do not make it."""

    def outcome(self, number: int, error: BaseException | None, answer: Any) -> None:
        """What came of it: an answer, or an error."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call of a recorded run.

    ``at``: when its intent was written, ``ended``: its outcome (RFC 3339, UTC; "" when the run was cut short
    before). ``outcome``: "done", "failed" or "" (in doubt: made or not, nobody wrote it down). ``id``: of
    the resource, when the answer had one.
    """

    number: int
    address: Address
    client_method: str
    method: str
    path: str
    at: str
    body: Any = None
    section: str = ""
    also: tuple[str, ...] = ()
    ended: str = ""
    outcome: str = ""
    error: str = ""
    seconds: float = 0.0
    id: str = ""

    @property
    def is_in_doubt(self) -> bool:
        """Its intent is on record and its outcome is not."""
        return not self.outcome


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run as its file tells it. ``end`` is None when it was cut short; ``is_torn``: a line is cut."""

    run: str
    header: Mapping[str, Any]
    calls: tuple[RecordedCall, ...] = ()
    steps: Mapping[Address, tuple[str, str]] = field(default_factory=dict)
    end: Mapping[str, Any] | None = None
    is_torn: bool = False

    @property
    def ending(self) -> str:
        """How it ended, in a word or two."""
        if self.end is None:
            return "cut short"
        return "converged" if self.end.get("converged") else "not converged"

    @property
    def acted(self) -> tuple[RecordedCall, ...]:
        """The calls that were carried out, or may have been."""
        return tuple(call for call in self.calls if call.outcome != "failed")


def now() -> str:
    """This moment, RFC 3339 with milliseconds, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_run() -> str:
    """A name for a run: names sort by time (milliseconds), and two runs of one moment differ."""
    moment = datetime.now(UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z-{secrets.token_hex(2)}"


class Journal:
    """Writes the record of one run; safe to use from several threads.

    ``path``: the file, None to keep the record in memory only. ``calls`` is the record so far.
    """

    def __init__(self, path: Path | None, header: Mapping[str, Any], redactor: Redactor) -> None:
        self.path = path
        self._redactor = redactor
        self._lock = threading.Lock()
        self._calls: list[RecordedCall] = []
        self._begun: dict[int, float] = {}
        self._file: int | None = None
        self.trouble = ""
        if path is not None:
            self._file = _create(path)
            self._write({"record": "run", "format_version": FORMAT_VERSION, **header})

    @property
    def calls(self) -> tuple[RecordedCall, ...]:
        """Every call so far, in the order in which they were begun."""
        with self._lock:
            return tuple(self._calls)

    def intent(self, address: Address, call: Call) -> int:
        """Note that a call is about to be made; it is on disk when this returns."""
        body = self._redactor.value(shown_body(call.body, address.kind, call.section))
        with self._lock:
            number = len(self._calls) + 1
            noted = RecordedCall(
                number, address, call.operation, call.method, call.path, now(), body, call.section, call.also
            )
            entry = {
                "record": "intent",
                "at": noted.at,
                "call": number,
                "address": str(address),
                "client_method": call.operation,
                "method": call.method,
                "path": call.path,
                "section": call.section,
                "also": list(call.also),
                "body": body,
            }
            self._write(entry)
            self._calls.append(noted)
            self._begun[number] = time.monotonic()
        return number

    def outcome(self, number: int, error: BaseException | None, answer: Any) -> None:
        """Note what came of a call.

        That it cannot be written undoes nothing: ``trouble`` says so, and the next intent is refused.
        """
        with self._lock:
            seconds = round(time.monotonic() - self._begun.pop(number), 3)
            at = now()
            outcome = "done" if error is None else "failed"
            told = "" if error is None else self._redactor.text(_words(error))
            live_id = str(answer.get("id", "")) if error is None and isinstance(answer, Mapping) else ""
            self._calls[number - 1] = replace(
                self._calls[number - 1],
                ended=at,
                outcome=outcome,
                error=told,
                seconds=seconds,
                id=live_id,
            )
            entry = {"record": "outcome", "at": at, "call": number, "outcome": outcome, "seconds": seconds}
            if told:
                entry["error"] = told
                if isinstance(error, APIError):
                    entry["status"] = error.status
            if live_id:
                entry["id"] = live_id
            self._note(entry)

    def end(self, outcomes: Iterable[Outcome], **facts: Any) -> None:
        """Note how each step ended, and the run. ``facts`` are JSON: whether it converged, what was left."""
        with self._lock:
            for one in outcomes:
                if one.step.calls:
                    self._note(
                        {
                            "record": "step",
                            "at": now(),
                            "address": str(one.step.address),
                            "status": one.status.value,
                            "error": self._redactor.text(one.error),
                        }
                    )
            self._note({"record": "end", "at": now(), **self._redactor.value(facts)})

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _note(self, entry: Mapping[str, Any]) -> None:
        try:
            self._write(entry)
        except JournalError as error:
            self.trouble = self.trouble or str(error)

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self.path is None:
            return
        if self._file is None:
            raise JournalError("the journal is closed", where=str(self.path))
        line = json.dumps(entry, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace") + b"\n"
        try:
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        except OSError as error:
            raise JournalError(
                f"the journal cannot be written: {error.strerror or error}",
                where=str(self.path),
                why="what is not on record is not done",
                fix="make room, or name another folder with --journal FOLDER",
            ) from error


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, ReconcilerError) else type(error).__name__


def _create(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name itself survives a power cut
        finally:
            os.close(folder)
        return file
    except OSError as error:
        raise UsageError(
            f"the journal cannot be written: {error.strerror or error}",
            where=str(path),
            fix="make the folder writable, name another with --journal FOLDER, or do without: --journal none",
        ) from error


# ---- reading ---------------------------------------------------------------------------------------------


def runs(folder: Path) -> list[str]:
    """The names of the recorded runs, oldest first."""
    return sorted(path.stem for path in folder.glob("*.jsonl"))


def find_run(folder: Path, text: str) -> str:
    """The recorded run of this name, or of the only name that begins so. Raises UsageError."""
    known = runs(folder)
    found = [run for run in known if run == text] or [run for run in known if text and run.startswith(text)]
    if len(found) == 1:
        return found[0]
    raise UsageError(
        f"{len(found)} runs begin with {text!r}" if found else f"there is no run {text!r}",
        where=str(folder),
        fix="reconciler history lists the runs",
    )


def read_run(path: Path) -> RecordedRun:
    """Read a run, also one that was cut short. Raises UsageError when it is no record of a run."""
    try:
        content = read_bounded(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"the run cannot be read: {why}", where=str(path)) from error
    header: Mapping[str, Any] = {}
    calls: dict[int, RecordedCall] = {}
    steps: dict[Address, tuple[str, str]] = {}
    end: Mapping[str, Any] | None = None
    torn = False
    for entry in _entries(content):
        try:
            match entry and entry["record"]:
                case "run" if entry:
                    header = entry
                case "intent" if entry:
                    calls[entry["call"]] = _intent(entry)
                case "outcome" if entry:
                    calls[entry["call"]] = replace(
                        calls[entry["call"]],
                        ended=str(entry["at"]),
                        outcome=str(entry["outcome"]),
                        error=str(entry.get("error", "")),
                        seconds=float(entry["seconds"]),
                        id=str(entry.get("id", "")),
                    )
                case "step" if entry:
                    steps[Address.parse(entry["address"])] = (str(entry["status"]), str(entry["error"]))
                case "end" if entry:
                    end = entry
                case _:
                    torn = torn or entry is None
        except (KeyError, TypeError, ValueError, AttributeError, UsageError):
            torn = True
    version = str(header.get("format_version", ""))
    if not version.startswith("1."):
        what = f"its format {version} is not known here" if version else "this is no record of a run"
        raise UsageError(what, where=str(path))
    return RecordedRun(path.stem, header, tuple(calls.values()), steps, end, torn)


def _entries(content: bytes) -> Iterator[dict[str, Any] | None]:
    """Each line as an object; None for one that is cut or garbled."""
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        try:
            entry = loads(line)
        except ValueError:
            yield None
        else:
            yield entry if isinstance(entry, dict) else None


def _intent(entry: Mapping[str, Any]) -> RecordedCall:
    return RecordedCall(
        int(entry["call"]),
        Address.parse(entry["address"]),
        str(entry["client_method"]),
        str(entry["method"]),
        str(entry["path"]),
        str(entry["at"]),
        entry.get("body"),
        str(entry.get("section", "")),
        tuple(str(section) for section in entry.get("also", ())),
    )


def recent_writes(
    folder: Path, host: str, window: float, *, clock: Callable[[], float] = time.time
) -> Sequence[float]:
    """How many seconds ago this machine sent create and update calls to ``host``, within ``window`` seconds.

    What the record cannot tell (another machine's calls, a deleted record) is not known: the server's 429
    says it then. A record that cannot be read says nothing.
    """
    ages: list[float] = []
    moment = clock()
    for path in folder.glob("*.jsonl"):
        try:
            if path.stat().st_mtime < moment - window:
                continue
            run = read_run(path)
        except (OSError, UsageError):
            continue
        if run.header.get("host") != host:
            continue
        for call in run.calls:
            try:
                age = moment - datetime.fromisoformat(call.at).timestamp()
            except ValueError:
                continue
            if call.method in _WRITES and 0 <= age < window:
                ages.append(age)
    return sorted(ages, reverse=True)
