"""Functions and operators of expressions: the language's, as celpy has them, and ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from celpy import celtypes
from celpy.evaluation import base_functions

__all__ = ["ARITHMETIC", "FUNCTIONS", "CelError", "Exhausted", "Missing"]


class CelError(Exception):
    """What is wrong with an expression. ``line`` and ``column`` count from 1; 0 where nobody knows."""

    def __init__(self, what: str, line: int = 0, column: int = 0) -> None:
        self.what = what
        self.line = line
        self.column = column
        super().__init__(what)


class Missing(CelError):
    """A field or an item that is not there."""


class Exhausted(CelError):
    """The budget is spent. No ``||`` takes this for an undecided value."""


def _is_reference(value: Any) -> Any:
    return celtypes.BoolType(bool(re.fullmatch(r"\{\{secrets/[^/{}]+/[^/{}]+\}\}", _text_of(value))))


def _is_plaintext(value: Any) -> Any:
    text = _text_of(value)
    return celtypes.BoolType(text == "***" or bool(re.search(r"\$\{(env|file|cmd):", text)))


def _matches(text: Any, pattern: Any) -> Any:
    """As celpy's, without RE2's own words on stderr."""
    import re2  # comes with celpy, in C++

    options = re2.Options()
    options.log_errors = False
    try:
        return celtypes.BoolType(re2.compile(_text_of(pattern), options).search(_text_of(text)) is not None)
    except re2.error as error:
        raise ValueError(f"{str(pattern)[:40]!r} is no pattern of RE2") from error


def _minutes(value: Any) -> Any:
    found = re.fullmatch(r"([01]?\d|2[0-4]):([0-5]\d)", _text_of(value))
    if not found:
        raise ValueError(f"minutes({str(value)[:20]!r}): not a time of day such as 09:30")
    return celtypes.IntType(int(found[1]) * 60 + int(found[2]))


def _text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text is needed")
    return value


_OWN: Final[Mapping[str, Callable[..., Any]]] = {
    "is_reference": _is_reference,
    "is_plaintext": _is_plaintext,
    "minutes": _minutes,
    "matches": _matches,
}
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {**base_functions, **_OWN}


def _of_numbers(name: str) -> Callable[[Any, Any], Any]:
    """An operator of numbers alone: Python's, which celpy takes, repeat texts and fill in formats."""
    operation = base_functions[name]

    def run(left: Any, right: Any) -> Any:
        if any(isinstance(side, (str, bytes, list, dict)) or side is None for side in (left, right)):
            raise TypeError("numbers are needed")
        return operation(left, right)

    return run


ARITHMETIC: Final = {name: _of_numbers(name) for name in ("_-_", "_*_", "_/_", "_%_")}
