"""Errors and values of expressions in words for people. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from celpy import celtypes
from celpy.evaluation import CELEvalError

from reconciler.engine.cel_functions import CelError, Missing

__all__ = ["marked", "noun", "shown", "told"]

_TYPES: Final = {
    "BoolType": "true or false",
    "IntType": "a whole number",
    "UintType": "a whole number (uint)",
    "DoubleType": "a number with a fraction",
    "StringType": "text",
    "BytesType": "bytes",
    "ListType": "a list",
    "MapType": "a map",
    "TimestampType": "a time",
    "DurationType": "a duration",
    "NoneType": "null",
}


def noun(of: type) -> str:
    """What a value of one of CEL's types is."""
    return _TYPES.get(of.__name__, of.__name__)


def told(error: CELEvalError) -> CelError:
    """celpy's error in words: it names Python's classes, and nests one message in the other."""
    what = str(error.args[0]) if error.args else "it comes to nothing"
    line, column = error.line or 0, error.column or 0
    if found := re.match(r"undeclared reference to '([^']+)'", what):
        return CelError(f"there is no {found[1]!r} here", line, column)
    if any(part is KeyError or part is IndexError for part in error.args):
        known_words = {"no such key": "there is no such key", "invalid_argument": "there is no such item"}
        return Missing(known_words.get(what, what)[:160], line, column)
    classes = re.findall(r"<class '(?:[\w.]*\.)?(\w+)'>", what)
    known = [_TYPES[name] for name in classes if name in _TYPES]
    if "no matching overload" in what or "no such overload" in what:
        between = f": {' and '.join(known)}" if known else ""
        return CelError(f"the types do not go together{between}", line, column)
    if "overflow" in what or "divide by zero" in what or "modulus" in what:
        cause = next((str(part[0]) for part in error.args if isinstance(part, tuple) and part), what)
        return CelError(cause[:160], line, column)
    return CelError(re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", what)[:160], line, column)


def marked(text: str, error: CelError) -> str:
    """The line of an expression with a mark under the place of an error, each on a line; "" without a
    place."""
    if not (error.line and error.column):
        return ""
    line = text.split("\n")[error.line - 1]
    start = max(0, error.column - 60)
    return f"\n{line[start : start + 90]}\n{'·' * (error.column - 1 - start)}^"


def shown(value: Any) -> str:
    """A value in a message."""
    if value is None:
        return "null"
    if isinstance(value, celtypes.BoolType):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {shown(item)}" for name, item in value.items())
    return str(value)
