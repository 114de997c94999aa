"""Text → documents: what scalars mean, where fields stand, and that no text does harm."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import Problem
from reconciler.manifest import text
from reconciler.manifest.positions import Document
from reconciler.values import Source


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both parsers: the C one, and the one of installations without it."""
    monkeypatch.setattr(text, "_Loader", getattr(yaml, request.param))
    return str(request.param)


def _one(content: str) -> Document:
    parsed = text.parse(content, "f.yaml")
    assert parsed.problems == ()
    (document,) = parsed.documents
    return document


def _problem(content: str) -> Problem:
    (problem,) = text.parse(content, "f.yaml").problems
    return problem


# ---- scalars ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("18446744073709551615", 2**64 - 1),
        # Text, whatever YAML 1.1 made of it.
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("007", "007"),
        ("-08", "-08"),
        ("0b11", "0b11"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ('"12"', "12"),
        ("'true'", "true"),
        ('"~"', "~"),
    ],
)
def test_scalars_mean_what_editors_take_them_for(loader: str, written: str, meant: Any) -> None:
    value = _one(f"a: {written}\n").value["a"]
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize("written", [".nan", ".inf", "-.INF", "1e999", "9" * 30, "9" * 6000, "0x" + "f" * 20])
def test_numbers_that_json_cannot_carry_are_refused(loader: str, written: str) -> None:
    problem = _problem(f"a:\n  b: {written}\n")
    assert (problem.rule, problem.line, problem.column) == ("bad-number", 2, 6)


# ---- documents and places -----------------------------------------------------------------------------


def test_every_field_has_the_place_of_its_key_and_every_item_its_own(loader: str) -> None:
    document = _one("# head\na: 1\nb:\n  - c: x\n    d: [p, q]\n  - {e: 2}\n")
    assert dict(document.positions) == {
        ("a",): Source("f.yaml", 2, 1),
        ("b",): Source("f.yaml", 3, 1),
        ("b", 0): Source("f.yaml", 4, 5),
        ("b", 0, "c"): Source("f.yaml", 4, 5),
        ("b", 0, "d"): Source("f.yaml", 5, 5),
        ("b", 0, "d", 0): Source("f.yaml", 5, 9),
        ("b", 0, "d", 1): Source("f.yaml", 5, 12),
        ("b", 1): Source("f.yaml", 6, 5),
        ("b", 1, "e"): Source("f.yaml", 6, 6),
    }
    assert len(document.positions) == 9
    assert document.positions.nearest(("b", 0, "unknown", "x")) == Source("f.yaml", 4, 5)
    assert document.positions.nearest(()) is None
    assert ("b", 7) not in document.positions


def test_columns_count_characters_not_bytes(loader: str) -> None:
    assert _one('{"ü€😀": 1, b: 2}').positions[("b",)].column == 12


def test_documents_that_hold_nothing_are_skipped(loader: str) -> None:
    parsed = text.parse("---\n# nothing\n---\na: 1\n---\n...\n---\nnull\n", "f.yaml")
    assert [document.value for document in parsed.documents] == [{"a": 1}]
    assert (parsed.documents[0].line, parsed.documents[0].column) == (4, 1)
    assert text.parse("", "f.yaml") == text.Parsed((), ())


def test_what_comes_before_a_syntax_error_is_still_read(loader: str) -> None:
    parsed = text.parse("a: 1\n---\nb: [\n", "f.yaml")
    assert [document.value for document in parsed.documents] == [{"a": 1}]
    assert [problem.rule for problem in parsed.problems] == ["yaml-syntax"]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=30), inner),
        max_leaves=20,
    )
)
def test_json_is_read_as_json(value: Any) -> None:
    parsed = text.parse(json.dumps({"v": value}), "f.json")
    assert not [p for p in parsed.problems if "control" not in p.rule]
    if not parsed.problems:
        assert parsed.documents[0].value == {"v": value}


_AWKWARD = "ab:-# {}[]'\"\n%@&*!|>?,=<"


@given(st.dictionaries(st.text(_AWKWARD, max_size=6), st.lists(st.text(_AWKWARD, max_size=9))))
def test_yaml_that_pyyaml_writes_is_read_back_the_same(value: dict[str, list[str]]) -> None:
    parsed = text.parse(yaml.safe_dump({"v": value}, allow_unicode=False), "f.yaml")
    assert parsed.problems == ()
    assert parsed.documents[0].value == {"v": value}


# ---- anchors, merge keys ------------------------------------------------------------------------------


def test_aliases_are_copies(loader: str) -> None:
    document = _one("a: &x {l: [1]}\nb: *x\nc: &s text\nd: *s\n&k key: *k\n")
    assert document.value == {"a": {"l": [1]}, "b": {"l": [1]}, "c": "text", "d": "text", "key": "key"}
    document.value["a"]["l"].append(2)
    assert document.value["b"]["l"] == [1]
    assert document.positions[("b",)].line == 2
    assert document.positions[("b", "l", 0)] == Source("f.yaml", 1, 12)  # where the text stands


def test_merge_keys_follow_yaml(loader: str) -> None:
    document = _one(
        "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\n"
        "one: {y: 0, <<: *a}\nlist: {<<: [*b, *a], w: 5}\nwritten: {<<: {v: 6}}\n"
    )
    assert document.value["one"] == {"x": 1, "y": 0}
    assert document.value["list"] == {"x": 1, "y": 3, "z": 4, "w": 5}
    assert document.value["written"] == {"v": 6}
    assert document.positions[("one", "x")].line == 1
    assert document.positions[("one", "y")].line == 3


def test_a_quoted_merge_key_is_a_key(loader: str) -> None:
    assert _one('a: {"<<": 1}').value == {"a": {"<<": 1}}


def test_anchors_end_with_their_document(loader: str) -> None:
    assert _problem("a: &x 1\n---\nb: *x\n").rule == "bad-alias"


@pytest.mark.parametrize(
    "content",
    ["a: &x {b: *x}", "a: &x [*x]", "&x {*x : 1}", "a: *gone", "{*gone : 1}"],
)
def test_an_alias_of_itself_or_of_nothing_is_refused(loader: str, content: str) -> None:
    assert _problem(content).rule == "bad-alias"


# ---- refused ------------------------------------------------------------------------------------------


def test_a_duplicate_key_names_both_places(loader: str) -> None:
    problem = _problem("a:\n  k: 1\n  l: 2\n  k: {m: 3}\n")
    assert (problem.line, problem.column, problem.rule) == (4, 3, "duplicate-key")
    assert "first at line 2, column 3" in problem.what
    parsed = text.parse("a: {k: 1, k: {m: 3}, l: 2, l: [4], l: 5}\n", "f.yaml")
    assert parsed.documents[0].value == {"a": {"k": 1, "l": 2}}  # the first one counts
    assert len(parsed.problems) == 3


@pytest.mark.parametrize(
    "value", ["!!python/object/apply:os.system [ls]", "!x 1", "!!str 5", "! 5", "!!binary aGk="]
)
def test_tags_are_refused_and_not_obeyed(loader: str, value: str) -> None:
    problem = _problem(f"a: {value}\n")
    assert (problem.rule, problem.line, problem.column) == ("tag", 1, 4)


@pytest.mark.parametrize("content", ["1: a", "true: a", "~: a", "1.5: a", "? [x]\n: a", "{{a}}", "a: {{b}}"])
def test_keys_are_text(loader: str, content: str) -> None:
    assert _problem(content).rule == "key-not-text"


@pytest.mark.parametrize(
    "secret", ["*canary-secret", "!canary-secret", "&canary-secret", "@canary", "%canary", "`canary"]
)
def test_what_may_be_a_password_is_not_repeated(loader: str, secret: str) -> None:
    for problem in text.parse(f"a: 1\npassword: {secret}\n", "f.yaml").problems:
        assert "canary" not in str(problem)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("a:\n\tb: 1\n", (2, 1)),
        ("a: b: c\n", (1, 5)),
        ("a: [1, 2\nb: 3\n", (2, 2)),
        ("a: }\n", (1, 4)),
        ("a: @b\n", (1, 4)),
        ("a:\n  b: 1\n c: 2\n", (3, 2)),
        ('a: "\\q"\n', (1, 5)),
    ],
)
def test_syntax_errors_have_a_place_and_words_of_ours(content: str, place: tuple[int, int]) -> None:
    problem = _problem(content)
    assert (problem.line, problem.column) == place
    assert problem.rule == "yaml-syntax"
    assert problem.fix
    assert "token" not in problem.what


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\x9f", "\ufeff", "\ufffe"])
def test_control_characters_are_refused_with_their_place(loader: str, character: str) -> None:
    problem = _problem(f"a: 1\nb: x{character}\n")
    assert (problem.rule, problem.line, problem.column) == ("control-character", 2, 5)
    assert character not in str(problem)


# ---- hostile ------------------------------------------------------------------------------------------

_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)
_MERGE_BOMB = (
    "a0: &a0 {"
    + ", ".join(f"k{n}: x" for n in range(1000))
    + "}\n"
    + "".join(f"b{n}: {{<<: *a0}}\n" for n in range(1000))
)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("[" * 100_000, "too-deep"),
        ("{a: " * 100_000, "too-deep"),
        ("- " * 100_000, "too-deep"),
        ("? " * 100_000, "too-deep"),
        ("".join(" " * n + "a:\n" for n in range(3000)), "too-deep"),
        (_BOMB, "too-many-aliases"),
        (_MERGE_BOMB, "too-many-aliases"),
        ("a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 10 + "*a" + "]" * 10, "too-deep"),
    ],
    ids=["brackets", "braces", "dashes", "questions", "indentation", "bomb", "merge bomb", "deep alias"],
)
def test_hostile_text_is_refused_at_once(content: str, rule: str) -> None:
    tracemalloc.start()
    began = time.perf_counter()
    problems = text.parse(content, "f.yaml").problems
    took = time.perf_counter() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problems[-1].rule == rule
    assert took < 1
    assert peak < 64 * 1024 * 1024


def test_more_values_than_any_manifest_needs_are_refused() -> None:
    assert _problem("a: [" + "x," * 1_100_000 + "{}]").rule == "too-many-values"


def test_a_file_full_of_problems_is_not_read_to_its_end() -> None:
    problems = text.parse("a: 1\n" * 200_000, "f.yaml").problems
    assert len(problems) == 1001
    assert problems[-1].rule == "too-many-problems"


def test_sixty_levels_are_fine(loader: str) -> None:
    assert _one("[" * 60 + "]" * 60).value


@settings(max_examples=400, deadline=None)
@given(st.text() | st.text("{}[]:,-?&*!|>'\"%@`# \n\tab1~<\\u", max_size=60))
def test_no_text_raises(content: str) -> None:
    for name in ("f.yaml", "f.json"):
        parsed = text.parse(content, name)
        for document in parsed.documents:
            json.dumps(document.value)  # plain values, finite, no cycles
            assert len(dict(document.positions)) == len(document.positions)


# ---- reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ("a: ü".encode("utf-16"), (1, 1), "UTF-16"),
        ("a: ü".encode("utf-16-le"), (1, 1), "UTF-16"),
        ("a: ü".encode("utf-32"), (1, 1), "UTF-16"),
        (b"\xef\xbb\xbfa: 1", (1, 1), "byte order mark"),
        (b"a: 1\nb: \xff\n", (2, 4), "0xff"),
        ("a: 1\nü: ü".encode("latin-1"), (2, 1), "0xfc"),
    ],
)
def test_other_encodings_are_named(
    tmp_path: Path, content: bytes, place: tuple[int, int], words: str
) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    _, (problem,) = text.read(path, "f.yaml")
    assert (problem.line, problem.column) == place
    assert words in problem.what
    assert problem.rule == "encoding"


def test_a_file_of_9_mb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    with path.open("wb") as stream:
        stream.truncate(9 * 1024 * 1024)
    _, (problem,) = text.read(path, "f.yaml")
    assert problem.rule == "file-too-large"


def test_what_is_no_file_is_not_waited_for() -> None:
    _, (problem,) = text.read(Path("/dev/zero"), "zero")
    assert problem.rule == "unreadable-file"
