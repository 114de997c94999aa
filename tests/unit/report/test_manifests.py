"""Manifests written as YAML are read back as what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifest import text
from reconciler.report.manifests import yaml_text

_ROOT = Path(__file__).parent.parent.parent.parent
_FILES = sorted([*_ROOT.glob("examples/*/*.yaml"), *_ROOT.glob("tests/unit/manifest/good/*.yaml")])


def _values(content: str) -> list[Any]:
    parsed = text.parse(content, "f.yaml")
    assert parsed.problems == ()
    return [document.value for document in parsed.documents]


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.name)
def test_manifests_are_read_back_as_they_were(file: Path) -> None:
    values = _values(file.read_text(encoding="utf-8"))
    assert _values(yaml_text([(value, None) for value in values])) == values
    assert _values(yaml_text([(value, lambda path: "x:1, ${var.a}") for value in values])) == values


_SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(
        ["yes", "on", "007", "1e3", "0x1f", "a: b", "- a", "#a", "~", "null", "*a", "&b", "<<", "=", "a #b"]
    )
)
_KEY = st.text(st.characters(categories=["L", "Nd", "P", "Zs"]), max_size=5)
_VALUE = st.recursive(
    _SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEY, inner, max_size=3)
)


@given(st.dictionaries(_KEY, _VALUE, min_size=1, max_size=4))
def test_any_value_is_read_back_as_it_was(value: dict[str, Any]) -> None:
    assert _values(yaml_text([(value, None)])) == [value]


def test_a_comment_stands_behind_each_value() -> None:
    value = {"a": {"b": [{"c": 1, "d": []}, "x"]}, "e": "text"}
    told = yaml_text([(value, lambda path: ".".join(map(str, path)))])
    assert told.splitlines() == [
        "a:",
        "  b:",
        "    - c: 1   # a.b.0.c",
        "      d: []  # a.b.0.d",
        "    - x      # a.b.1",
        "e: text      # e",
    ]
