"""JSON from a server, which is not trusted: read within bounds, or refused with a reason that holds none."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "Unreadable", "read_json"]

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of an answer of the API. A list of 1,000 endpoints, the most that a workspace has, is about 1 MB."""
MAX_VALUES: Final = 200_000
"""Values in an answer of the API: a value of two bytes takes a hundred in memory."""
MAX_DEPTH: Final = 100
"""Lists and objects inside each other. The API's go to 10; what walks them later is recursive."""

_TOO_MANY: Final = f"it has more than {MAX_VALUES:,} values"
_NO_BRACKET: Final = bytes(code for code in range(256) if code not in b"[]{}")
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_LONE: Final = re.compile("[\ud800-\udfff]")


class Unreadable(ValueError):
    """Why an answer is not read."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("it has a key twice in one object")
    return found


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Unreadable("it has a number that is too large")
    return number


def _constant(name: str) -> Any:
    raise Unreadable(f"{name} is not JSON")


# An answer to a query is the model's affair: many numbers, any keys, and NaN, which mlflow's model servers
# write where a prediction is none (mlflow 3.17, scoring_server: json.dump of what the model gave).
_QUERIES: Final = json.JSONDecoder()
_API: Final = json.JSONDecoder(parse_constant=_constant, parse_float=_number, object_pairs_hook=_object)


def read_json(content: bytes, *, is_query: bool = False) -> Any:
    """The value of a JSON text in UTF-8. ``is_query``: an answer to a query, of any number of values, with
    any keys and any numbers, NaN and Infinity too.

    Refused are keys that stand twice in an object, NaN and numbers beyond all bounds, more than MAX_DEPTH
    levels, and more than MAX_VALUES values. Halves of surrogate pairs, which no encoding takes, become
    U+FFFD. Raises Unreadable; its text holds nothing of the content.
    """
    if not is_query and content.count(b'"') - content.count(b'\\"') > 4 * MAX_VALUES:
        raise Unreadable(_TOO_MANY)  # a value is one text at most, and has one for its key
    if (why := _excess(content, is_query)) and (why := _excess(_TEXT.sub(b'""', content), is_query)):
        raise Unreadable(why)  # not only in texts
    try:
        value = (_QUERIES if is_query else _API).decode(content.decode("utf-8-sig"))
    except Unreadable:
        raise
    except json.JSONDecodeError as error:
        raise Unreadable(f"{error.msg} at character {error.pos + 1:,}") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"byte {error.start + 1:,} is not UTF-8") from None
    except (ValueError, RecursionError):
        raise Unreadable("it has a number of too many digits") from None
    return _whole(value) if b"\\ud" in content or b"\\uD" in content else value


def _excess(content: bytes, is_query: bool) -> str:
    """What there may be too much of, "" when there is not; texts are looked at as if they were not."""
    if not is_query and content.count(b",") + content.count(b"[") + content.count(b"{") > MAX_VALUES:
        return _TOO_MANY
    brackets = content.translate(None, _NO_BRACKET)
    if len(brackets) > MAX_DEPTH and _depth(brackets) > MAX_DEPTH:
        return f"it is nested more than {MAX_DEPTH} levels deep"
    return ""


def _depth(brackets: bytes) -> int:
    """How deep they are nested, as far as MAX_DEPTH; each turn takes the innermost level off, at C's speed.

    Brackets that do not close count as one level too many: the parser will not like them either.
    """
    depth = 0
    while brackets and depth <= MAX_DEPTH:
        less = brackets.replace(b"[]", b"").replace(b"{}", b"")
        depth = depth + 1 if len(less) < len(brackets) else MAX_DEPTH + 1
        brackets = less
    return depth


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value
