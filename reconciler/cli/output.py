"""Where text leaves the program: stdout for the answer, stderr for everything else, all of it redacted."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable
from typing import Any

from reconciler.errors import ReconcilerError, UsageError
from reconciler.redact import Redactor
from reconciler.values import Secret

__all__ = [
    "answer",
    "answer_json",
    "bug_report",
    "know",
    "setup_logging",
    "stderr_text",
    "tell",
    "wants_colour",
]

_redactor = Redactor(())


def know(secrets: Iterable[Secret]) -> None:
    """From here on every output masks these values."""
    global _redactor
    _redactor = Redactor(secrets)
    for handler in logging.getLogger("reconciler").handlers:
        handler.setFormatter(_redactor.formatter(_LOG_FORMAT))


def redacted(text: str) -> str:
    """The text with every known secret masked."""
    return _redactor.text(text)


def answer(text: str) -> None:
    """The command's answer, on stdout; at once, for what follows on stderr must not overtake it."""
    sys.stdout.write(redacted(text) + ("" if text.endswith("\n") else "\n"))
    sys.stdout.flush()


def answer_json(content: Any) -> None:
    """The command's answer as JSON, on stdout."""
    answer(json.dumps(_redactor.value(content), indent=2, ensure_ascii=False, allow_nan=False))


def tell(text: str) -> None:
    """A line for the person at the terminal, on stderr."""
    sys.stderr.write(redacted(text) + "\n")
    sys.stderr.flush()


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

    tell(error_text(error, colour=wants_colour(sys.stderr)))


def bug_report(error: BaseException) -> None:
    """A traceback is our bug: say so, and mask what it may hold."""
    import traceback

    text = "".join(traceback.format_exception(error))
    tell(f"{text}\nThis is a bug in reconciler, not your mistake. Please report it with the text above.")


_LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"


def setup_logging(level: str) -> None:
    """Log to stderr from this level on. Raises UsageError for a level that does not exist."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise UsageError(f"log level {level!r} does not exist", fix="use debug, info, warning or error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_redactor.formatter(_LOG_FORMAT))
    root = logging.getLogger("reconciler")
    root.handlers[:] = [handler]
    root.setLevel(number)
    root.propagate = False
