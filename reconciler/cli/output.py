"""Where text leaves the program: stdout for the answer, stderr for everything else, all of it redacted."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from reconciler.errors import ReconcilerError, UsageError
from reconciler.redact import Redactor
from reconciler.values import Secret

__all__ = [
    "answer",
    "answer_json",
    "answer_report",
    "bug_report",
    "collected",
    "everything_known",
    "is_ascii",
    "know",
    "known",
    "live_progress",
    "redacted",
    "setup_logging",
    "stderr_text",
    "sum_up",
    "tell",
    "wants_colour",
    "width_of",
]


def _used() -> Sequence[Secret]:
    """The credentials that were sent so far; asks for no module that is not there yet."""
    http = sys.modules.get("reconciler.client.http")
    found: Sequence[Secret] = http.credentials_used() if http is not None else ()
    return found


_redactor = Redactor((), more=_used)


def know(secrets: Iterable[Secret]) -> None:
    """From here on every output masks these values too."""
    _redactor.add(*secrets)


def known() -> Redactor:
    """What masks the secrets of this run, for reports that are redacted as they are made."""
    return _redactor


# What logins are read from (client/auth.py, client/openai.py, client/gateway.py, databricks-sdk): masked
# before it is ever sent.
_CREDENTIALS = (
    "DATABRICKS_TOKEN",
    "DATABRICKS_CLIENT_SECRET",
    "DATABRICKS_PASSWORD",
    "ARM_CLIENT_SECRET",
    "GOOGLE_CREDENTIALS",
    "OPENAI_API_KEY",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)


def _from_environment() -> Iterator[Secret]:
    for name in _CREDENTIALS:
        value = os.environ.get(name, "").strip()
        if len(value) >= 8:  # a placeholder ("x", "token") would mask words
            yield Secret(value)


def everything_known() -> Redactor:
    """The one redactor of this run: manifests' secrets, the environment's credentials, those that were sent.

    Whatever is written to a file passes it: a server may tell in any field what it was sent.
    """
    return _redactor


def redacted(text: str) -> str:
    """The text with every known secret masked."""
    return _redactor.text(text)


def answer(text: str) -> None:
    """The command's answer, on stdout; at once, for what follows on stderr must not overtake it."""
    sys.stdout.write(redacted(text) + ("" if text.endswith("\n") else "\n"))
    sys.stdout.flush()


def answer_json(content: Any) -> None:
    """The command's answer as JSON, on stdout. A report masks by itself; for others every value is masked."""
    from reconciler.report.json import dumps

    masked = _redactor.value(content)
    if not _keep(masked):
        answer(dumps(masked))


def answer_report(content: Any) -> None:
    """A plan, an outcome or a check as JSON: masked where a secret may stand; its own words stay."""
    from reconciler.report.json import dumps, masked

    content = masked(content, _redactor)
    if _keep(content):
        return
    sys.stdout.write(dumps(content) + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Kept:
    """What one of several runs answered: its reports, when they are kept for later, and one line of it."""

    keeps_reports: bool
    reports: list[Any] = field(default_factory=list)
    summary: str = ""


_kept: Kept | None = None


@contextmanager
def collected(keeps_reports: bool) -> Iterator[Kept]:
    """Meanwhile reports are kept for one answer over several runs, if asked for, and summaries always."""
    global _kept
    _kept = Kept(keeps_reports)
    try:
        yield _kept
    finally:
        _kept = None


def _keep(report: Any) -> bool:
    if _kept is None or not _kept.keeps_reports:
        return False
    _kept.reports.append(report)
    return True


def sum_up(text: str) -> None:
    """The run in one line, for an overview of several runs."""
    if _kept is not None:
        _kept.summary = redacted(text)


_say: Callable[[str], None] | None = None


def tell(text: str) -> None:
    """A line for the person at the terminal, on stderr; above the live lines while there are some."""
    if _say is not None:
        _say(text)
        return
    sys.stderr.write(redacted(text).rstrip("\n") + "\n")
    sys.stderr.flush()


@contextmanager
def live_progress() -> Iterator[Any]:
    """Progress on stderr; what is told or logged meanwhile does not tear its lines."""
    from reconciler.report.progress import Progress

    global _say
    with Progress(sys.stderr, colour=wants_colour(sys.stderr), redactor=_redactor) as progress:
        _say = progress.say
        try:
            yield progress
        finally:
            _say = None


class _ToTell(logging.Handler):
    """Log records go the way of everything else that is told."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record))


def width_of(stream: TextIO) -> int:
    """Columns of a terminal; 100 where there is none, so that a log or a file looks the same everywhere."""
    return shutil.get_terminal_size((100, 24)).columns if stream.isatty() else 100


def wants_colour(stream: Any) -> bool:
    """A terminal that was not told to be plain (https://no-color.org)."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_ascii(stream: Any) -> bool:
    """The stream cannot show more than ASCII."""
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    return not encoding.startswith("utf")


def stderr_text(error: ReconcilerError) -> None:
    """An error for people, on stderr."""
    from reconciler.report.text import error_text

    told = error_text(
        error,
        colour=wants_colour(sys.stderr),
        width=width_of(sys.stderr),
        ascii_only=is_ascii(sys.stderr),
        redactor=_redactor,
    )
    tell(told)


def bug_report(error: BaseException) -> None:
    """A traceback is our bug: say so, and mask what it may hold."""
    import traceback

    text = "".join(traceback.format_exception(error))
    tell(f"{text}\nThis is a bug in reconciler, not your mistake. Please report it with the text above.")


_LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"


def setup_logging(level: str) -> None:
    """Log to stderr from this level on. Raises UsageError for a level that does not exist."""
    global _redactor
    _redactor = Redactor(_from_environment(), more=_used)  # one run knows the secrets of that run
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise UsageError(f"log level {level!r} does not exist", fix="use debug, info, warning or error")
    know(())
    handler = _ToTell()
    handler.setFormatter(_redactor.formatter(_LOG_FORMAT))
    root = logging.getLogger("reconciler")
    root.handlers[:] = [handler]
    root.setLevel(number)
    root.propagate = False
