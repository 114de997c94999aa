"""What a scalar means, by the core schema of YAML 1.2, and how a value is shown in a message.

As editors do: ``yes``, ``on``, ``1:30`` and dates are text. One deviation: a number with a leading zero
(``007``) is text too, because turning it into 7 would lose what was written.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Bad", "plain", "shown"]

_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_OTHER_BASE: Final = re.compile(r"0x[0-9a-fA-F]+\Z|0o[0-7]+\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_WORDS: Final = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_BEGINS: Final = frozenset("-+.0123456789")
_LONGEST_NUMBER: Final = 64
_QUOTE_IT: Final = "if it is text, write it in quotes"


@dataclass(frozen=True, slots=True)
class Bad:
    """A scalar that has no value that a manifest can hold: why, and what to do."""

    what: str
    fix: str


def plain(text: str) -> Any:
    """The value of a plain scalar, or a :class:`Bad` that says why it has none."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_BEGINS:
        return text
    if _INTEGER.match(text):
        value = int(text) if len(text) <= _LONGEST_NUMBER else 1 << 64
    elif _OTHER_BASE.match(text):
        value = int(text, 0) if len(text) <= _LONGEST_NUMBER else 1 << 64
    elif _FLOAT.match(text):
        number = float(text)
        return number if math.isfinite(number) else Bad("the number is too large", _QUOTE_IT)
    elif _NOT_FINITE.match(text):
        return Bad(f"{text} is not a number that JSON can carry", "write a finite number, or quote the text")
    else:
        return text
    return value if -(1 << 63) <= value < 1 << 64 else Bad("the number is too large", _QUOTE_IT)


def shown(value: Any, longest: int = 60) -> str:
    """A value fit for a message: quoted, printable, cut when it is long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = str(value)
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return f'"{text}"' if isinstance(value, str) else text
