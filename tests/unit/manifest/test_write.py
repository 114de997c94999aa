"""What is written is read back as it was, and looks as people write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.manifest.text import parse
from reconciler.manifest.variables import Resolver
from reconciler.manifest.write import literal, manifest_text
from reconciler.terminal import control


def _back(text: str) -> Any:
    parsed = parse(text, "m.yaml")
    assert parsed.problems == ()
    return parsed.documents[0].value


# What YAML 1.1, YAML 1.2 and people read in different ways.
_SHORT = """
~ null yes no on Off y true FALSE 1 0o17 0x1F 017 1_000 1e3 -1.5 .5 5. .inf .nan 1:30 = << 2026-01-01
#a &a *a !a | > %a @a `a ' " {a} [a] a,b --- ... - ? : , \\n a\\ ü 😀
"""
_TRAPS = [
    *_SHORT.split(),
    *("", "a: b", "a #b", "- a", " a", "a ", "a\nb", "a\n", "\n", "a\n\nb\n", "  a\n b", "a\n ", "\ta"),
    *("a\tb\n", "a\r\nb", "\u2028", "\x85", "\u200b", "\ufeff", "\u202ea", "\x07", "long " * 60),
]
_WORDS = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(_TRAPS),
)
_VALUES = st.recursive(
    st.one_of(_WORDS, st.integers(-(2**60), 2**60), st.booleans(), st.floats(-1e9, 1e9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_WORDS, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_WORDS, _VALUES, min_size=1, max_size=4))
def test_what_is_written_is_read_back(document: dict[str, Any]) -> None:
    text = manifest_text(document)
    found = _back(text)
    assert found == document
    assert control(text, keep="\n") == text, "nothing is hidden from whoever reads it"
    assert list(found) == list(document), "the order stays"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("$${}a:env"), max_size=12))
def test_text_that_looks_like_a_reference_stays_text(text: str) -> None:
    parsed = parse(manifest_text({"spec": {"a": literal(text)}}), "m.yaml")
    document = parsed.documents[0]
    references, problems = Resolver({}, Path()).resolve(document, None, Path())
    assert (references, problems) == ({}, [])
    assert document.value["spec"]["a"] == text


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("gpt-4o", "v: gpt-4o"),
        ("007", "v: '007'"),
        ("1e3", "v: '1e3'"),
        ("${env:OPENAI_API_KEY}", "v: ${env:OPENAI_API_KEY}"),
        ("{{secrets/a/b}}", "v: '{{secrets/a/b}}'"),
        ("Größe", "v: Größe"),
        ("one\ntwo\n", "v: |\n  one\n  two"),
        (["a", {"b": 1}], "v:\n  - a\n  - b: 1"),
        ("\x07", 'v: "\\a"'),
        ("ü\u202e", 'v: "\\xFC\\u202E"'),
    ],
)
def test_it_looks_as_people_write_it(value: Any, line: str) -> None:
    assert manifest_text({"v": value}, comment="c") == f"# c\n{line}\n"
