"""JSON that a server answers: the right value, or a reason; at once, and in little memory."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.client.untrusted import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Unreadable, read_json
from tests.unit.memory import measured

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_json_is_read_as_json(value: Any, is_query: bool) -> None:
    assert read_json(json.dumps(value).encode(), is_query=is_query) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode(), is_query=is_query) == value


@given(st.binary(max_size=60) | st.text('{}[],:"\\ud0eE.-9truflsn ', max_size=40).map(str.encode))
def test_nothing_else_is_ever_raised(content: bytes) -> None:
    try:
        read_json(content)
    except Unreadable:
        return


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a": 1, "a": 2}', "it has a key twice in one object"),
        (b'{"tags": [{"key": "a", "value": 1, "value": 2}]}', "it has a key twice in one object"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "it has a number that is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "it has a number of too many digits"),
        (b"[" * 101 + b"]" * 101, "it is nested more than 100 levels deep"),
        (b'{"a":' * 10**5, "it is nested more than 100 levels deep"),
        (b'["[", ' * 101 + b"1" + b"]" * 101, "it is nested more than 100 levels deep"),
        (b'{"a": "', "Unterminated string starting at at character 7"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8"),
        (b'{"a": 1} {', "Extra data at character 10"),
        (b"[" + b"1," * MAX_VALUES + b"1]", f"it has more than {MAX_VALUES:,} values"),
    ],
)
def test_what_is_refused_is_refused_at_once_and_not_quoted(content: bytes, why: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unreadable) as caught:
        read_json(content)
    assert str(caught.value) == why
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "content",
    [
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        json.dumps(["[" * 500, "{" * 500, '"[[' * 200, "\\"]).encode(),
        b'{"a": "' + b"[" * 10**6 + b'"}',
    ],
)
def test_brackets_in_texts_are_no_depth(content: bytes) -> None:
    assert read_json(content) == json.loads(content)


def test_a_query_may_answer_with_many_numbers_and_any_keys() -> None:
    assert len(read_json(b"[" + b"0.5," * 10**6 + b"1]", is_query=True)) == 10**6 + 1
    assert read_json(b'{"a": 1, "a": 2}', is_query=True) == {"a": 2}


def test_half_characters_are_replaced() -> None:
    assert read_json(b'{"a\\ud800": ["\\uDC00x", "\\ud83d\\ude00"]}') == {"a\ufffd": ["\ufffdx", "😀"]}


_MEASURED = """
from reconciler.client import http
from reconciler.client.untrusted import Unreadable, read_json
content = CONTENT
assert len(content) <= LIMIT
try:
    read_json(content)
except Unreadable as error:
    print(error)
"""


@pytest.mark.parametrize(
    "content",
    [
        # a billion tags, or as many as fit
        """b'{"tags":[' + b'{"key":"k","value":"v"},' * 340_000 + b'{}]}'""",
        "b'[' + b'{},' * (LIMIT // 3 - 1) + b'1]'",
        "b'[' + b'[],' * 99_000 + b'1]'",
        "b'[' + b'{\"a\":{}},' * 66_000 + b'1]'",
        "('[\"' + '😀' * (LIMIT // 4 - 4) + '\"]').encode()",
        "('[\"a' + 'ö' * (LIMIT // 2 - 4) + '\"]').encode()",
        "b'[' * LIMIT",
    ],
)
def test_the_largest_answers_fit_into_little_memory(content: str) -> None:
    done = measured(_MEASURED.replace("CONTENT", content).replace("LIMIT", str(MAX_BYTES)))
    assert done.code == 0, done.err
    assert done.peak < 200
