"""Inputs for fuzzing: values that nobody expects, and good documents that were spoilt."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

__all__ = ["ODD", "nodes", "spoilt", "spoilt_bytes"]

_SCALARS: list[Any] = [None, True, False, 0, -1, 2**53 + 1, 2**70, 1.5, 1e308, -0.0]
_TEXTS = ["", " ", "0", "1", "NaN", "null", "9" * 40, "***", "x" * 2000, "😀" * 40, "ﬀ", "a\nb: c"]
_TERMINALS = ["\x1b[2J", "\x9b31m", "\u202etxt", "\u2028", "\x00", "\ufeff"]
_WORDS = ["{{secrets/a/b}}", "${env:OPENAI_API_KEY}", "${env:", "$${", "../../etc/passwd", "a/b?c#d%2F"]
_STATES = ["IN_PROGRESS", "READY", "NOT_READY", "UPDATE_FAILED", "DEPLOYMENT_FAILED", "CAN_MANAGE"]
_CONTAINERS: list[Any] = [
    [],
    {},
    [[]],
    [None],
    [1, "a"],
    {"": ""},
    {"name": None},
    [{"name": "m"}, {"name": "m"}],
    {"key": "a", "value": 1},
    [{"key": "a"}, {"key": "a", "value": "b"}],
    {"$masked": "x"},
]
ODD = st.one_of(
    st.sampled_from([*_SCALARS, *_TEXTS, *_TERMINALS, *_WORDS, *_STATES, *_CONTAINERS]),
    st.text(max_size=12),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
_OPERATIONS = ("replace", "delete", "twice", "in a list", "in an object", "rename", "first item", "swap")

Path = tuple[str | int, ...]


def nodes(value: Any, path: Path = ()) -> list[Path]:
    """The paths of everything inside a JSON-like value, but for the root."""
    found: list[Path] = []
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        found += [(*path, key), *nodes(child, (*path, key))]
    return found


def _change(document: Any, path: Path, operation: str, value: Any) -> None:
    holder: Any = document
    for part in path[:-1]:
        holder = holder[part]
    key: Any = path[-1]
    here = holder[key]
    match operation:
        case "replace":
            holder[key] = value
        case "delete":
            del holder[key]
        case "twice" if isinstance(holder, list):
            holder.append(copy.deepcopy(here))
        case "in a list":
            holder[key] = [here]
        case "in an object":
            holder[key] = {"name": here}
        case "first item" if isinstance(here, list) and here:
            holder[key] = here[0]
        case "rename" if isinstance(holder, dict):
            holder[value if isinstance(value, str) else "x"] = holder.pop(key)
        case "swap" if isinstance(here, list):
            here.reverse()


@st.composite
def spoilt(draw: st.DrawFn, documents: list[Any], most: int = 5) -> Any:
    """One of the documents, with up to ``most`` changes anywhere in it."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(0, most))):
        paths = nodes(document)
        if not paths:
            break
        path = paths[draw(st.integers(0, len(paths) - 1))]
        _change(document, path, draw(st.sampled_from(_OPERATIONS)), copy.deepcopy(draw(ODD)))
    return document


_SIGNS = [
    b"\n",
    b": ",
    b"- ",
    b"  ",
    b"\t",
    b"#",
    b"|",
    b">-",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"'",
    b",",
    b"? ",
]
_YAML = [
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!python/object ",
    b"---\n",
    b"...\n",
    b"%YAML 1.1\n",
    b"~",
    b"yes",
    b".nan",
]
_REFERENCES = [b"${env:OPENAI_API_KEY}", b"${file:m.yaml}", b"${file:../x}", b"$${", b"${"]
_BYTES = [b"\xff", b"\xef\xbb\xbf", b"\x00", b"\x1b[2J", "\u202e".encode(), b"\\u0000", b"\\ud800"]
_NUMBERS = [b"1e999", b"0x1F", b"2026-01-01", b"null", b"9" * 400, b"[" * 70, b"{a: " * 70]
_LINES = [b"  name: chat\n", b"spec:\n", b"config: ", b"tags: {a: b}\n", b"allow_unknown_fields: true\n"]
_PIECES = [*_SIGNS, *_YAML, *_REFERENCES, *_BYTES, *_NUMBERS, *_LINES]


@st.composite
def spoilt_bytes(draw: st.DrawFn, documents: list[bytes], most: int = 6) -> bytes:
    """One of the texts with pieces put in, taken out, doubled or overwritten; or no such text at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200) | st.lists(st.sampled_from(_PIECES), max_size=30).map(b"".join))
    content = draw(st.sampled_from(documents))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 0, 1, 3, 20, 200]))
        piece = draw(st.sampled_from(_PIECES) | st.binary(max_size=4))
        if draw(st.integers(0, 4)) == 0:
            piece = content[at : at + length] * 2
        content = content[:at] + piece + content[at + length :]
    return content
