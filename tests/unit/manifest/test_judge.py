"""Two validators, one verdict; and what one alone refuses is still told."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import schema
from reconciler.manifest import judge, text
from reconciler.manifest.positions import Document

_HERE = Path(__file__).parent


def _documents() -> Iterator[Any]:
    for path in sorted((*(_HERE / "bad").iterdir(), *(_HERE / "good").iterdir())):
        if path.suffix != ".txt":
            for document in text.parse(path.read_text(encoding="utf-8"), path.name).documents:
                yield document.value


_ALL = list(_documents())
_ODD = [None, True, 0, -1, 1.0, 1.5, 2**63, "", "x", "chat\n", "a" * 64, "llm/", [], ["a", "a"], {}, {"a": 1}]


def _agree(value: Any) -> bool:
    verdicts = set()
    for lenient in (False, True):
        fast = judge._fast("endpoint", lenient).is_valid(value)
        assert fast == judge._slow("endpoint", lenient).is_valid(value), json.dumps(value)
        verdicts.add(fast)
    return True in verdicts


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, item in (
        value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    ):
        yield from _paths(item, (*path, key))


@pytest.mark.parametrize("number", range(len(_ALL)))
def test_the_validators_agree_on_every_example(number: int) -> None:
    _agree(_ALL[number])


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_the_validators_agree_on_examples_that_were_spoilt(draw: st.DataObject) -> None:
    value = copy.deepcopy(draw.draw(st.sampled_from(_ALL)))
    path = draw.draw(st.sampled_from(list(_paths(value))))
    odd = draw.draw(st.sampled_from(_ODD))
    if not path:
        value = odd
    else:
        holder = value
        for part in path[:-1]:
            holder = holder[part]
        if isinstance(holder, dict) and draw.draw(st.booleans()):
            holder[draw.draw(st.sampled_from(["new", "", "name", "k" * 128]))] = odd
        else:
            holder[path[-1]] = odd
    _agree(value)


def test_good_examples_are_valid() -> None:
    for path in sorted((_HERE / "good").iterdir()):
        for document in text.parse(path.read_text(encoding="utf-8"), path.name).documents:
            if "${env:CALLS}" not in json.dumps(document.value):
                assert judge._slow("endpoint", False).is_valid(document.value)


def test_a_trailing_newline_is_no_name(tmp_path: Path) -> None:
    document = _document({"metadata": {"name": "chat\n"}, "spec": {}})
    (problem,) = judge.schema_problems(document, "endpoint", {})
    assert problem.rule == "wrong-format"


def _document(value: dict[str, Any]) -> Document:
    whole = {"apiVersion": "reconciler/v1", "kind": "Endpoint", **value}
    (document,) = text.parse(json.dumps(whole), "f.json").documents
    return document


def test_what_only_the_fast_validator_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Agreeable:
        def iter_errors(self, _value: Any) -> Iterator[Any]:
            return iter(())

    monkeypatch.setattr(judge, "_slow", lambda _name, _lenient: Agreeable())
    (problem,) = judge.schema_problems(_document({"metadata": {"name": 5}, "spec": {}}), "endpoint", {})
    assert (problem.path, problem.rule) == ("metadata.name", "schema")


def test_a_document_of_absurd_size_is_refused_in_a_second() -> None:
    document = _document({"metadata": {"name": "a"}, "spec": {"tags": [{"key": 1}] * 50_000}})
    began = time.perf_counter()
    (problem,) = judge.schema_problems(document, "endpoint", {})
    assert time.perf_counter() - began < 1
    assert problem.rule == "schema"
    assert "too large" in problem.what


def test_valid_documents_never_reach_the_slow_validator(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the slow validator was asked")

    monkeypatch.setattr(judge, "_slow", fail)
    assert judge.schema_problems(_document({"metadata": {"name": "a"}, "spec": {}}), "endpoint", {}) == []


def test_only_patterns_of_secret_fields_are_left_to_the_checks() -> None:
    def patterns(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            words = node.get("x-reconciler", {})
            if "pattern" in node and not (words.get("secret") or words.get("secret_reference")):
                yield node["pattern"]
            for child in node.values():
                yield from patterns(child)

    written = sorted(patterns(schema.read("endpoint")))
    assert written
    assert sorted(patterns(judge.effective("endpoint"))) == written
