"""Edits of a gateway's file: what they are about changes, and nothing else does."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.client.config_edit import edited, merged
from reconciler.client.config_text import Entry, objections, read_entries
from reconciler.errors import UsageError

FILE = """\
# the head
endpoints:
    # above theirs
    - name: theirs   # made by hand
      endpoint_type: llm/v1/chat
      model: {provider: openai, name: "x", config: {openai_api_key: $A}}

    # above ours
    - name: chat  # our main one; reconciler.stack: shop
      # inside
      endpoint_type: llm/v1/chat   # its type
      model:
         provider: openai
         name: 'gpt-4o'
         config:
            openai_api_key: $OLD   # rotate in May
    # below ours
    - {name: flow, endpoint_type: llm/v1/chat, model: {provider: p}}  # reconciler.stack: shop, part of x
    - name: last
      endpoint_type: llm/v1/chat
      note: "name: chat  # reconciler.stack: other"
# the foot
unknown: [1, 2]
"""


def _changes(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def _put(name: str, content: dict[str, Any], kind: str = "endpoints", stack: str = "shop") -> Entry:
    return Entry(kind, name, content, stack)


def test_entries_are_read_with_whose_they_are() -> None:
    found = read_entries(FILE, "g.yaml")
    assert [(e.name, e.stack, e.part_of, e.line) for e in found] == [
        ("theirs", "", "", 4),
        ("chat", "shop", "", 9),
        ("flow", "shop", "x", 18),
        ("last", "", "", 19),
    ]
    assert found[1].content == yaml.safe_load(FILE)["endpoints"][1]


def test_a_change_touches_its_own_lines_and_keeps_their_comments() -> None:
    patch = {"model": {"config": {"openai_api_key": "$NEW"}}, "limit": {"calls": 5}}
    assert _changes(FILE, edited(FILE, [_put("chat", patch)], where="g.yaml")) == [
        "-            openai_api_key: $OLD   # rotate in May",
        "+            openai_api_key: $NEW   # rotate in May",
        "+      limit:",
        "+         calls: 5",
    ]


def test_what_is_new_is_put_last_and_what_goes_leaves_all_comments() -> None:
    fresh = _put("fresh", {"endpoint_type": "llm/v1/chat", "model": {"provider": "openai", "name": "yes"}})
    after = edited(FILE, [fresh], [("endpoints", "chat"), ("endpoints", "last")], where="g.yaml")
    removed = [line for line in _changes(FILE, after) if line.startswith("-")]
    assert [line for line in removed if line.strip("- ").startswith("#")] == ["-      # inside"]
    assert (
        "    - name: fresh  # reconciler.stack: shop\n      endpoint_type: llm/v1/chat\n      model:\n"
        "        provider: openai\n        name: 'yes'\n# the foot\n"
    ) in after
    assert "# below ours" in after
    assert after.endswith("# the foot\nunknown: [1, 2]\n")


def test_an_adopted_entry_keeps_the_comment_behind_its_name() -> None:
    assert _changes(FILE, edited(FILE, [_put("theirs", {})], where="g.yaml")) == [
        "-    - name: theirs   # made by hand",
        "+    - name: theirs   # made by hand; reconciler.stack: shop",
    ]


def test_a_renamed_entry_stays_where_it_is() -> None:
    after = edited(FILE, [_put("talk", {})], renames={("endpoints", "chat"): "talk"}, where="g.yaml")
    assert _changes(FILE, after) == [
        "-    - name: chat  # our main one; reconciler.stack: shop",
        "+    - name: talk  # our main one; reconciler.stack: shop",
    ]


def test_nothing_to_change_changes_nothing() -> None:
    assert edited(FILE, [_put("chat", {"endpoint_type": "llm/v1/chat"})], where="g.yaml") == FILE


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("", "endpoints:\n- name: a"),
        ("endpoints: []\n", "endpoints:\n- name: a"),
        ("endpoints: []  # none yet", "endpoints:  # none yet\n- name: a"),
        ("endpoints:\n", "endpoints:\n- name: a"),
        ("endpoints: null\nother: 1\n", "endpoints:\n- name: a"),
        ("# just this", "# just this\nendpoints:\n- name: a"),
        ("endpoints:\r\n- name: b\r\n", "endpoints:\r\n- name: b\r\n- name: a"),
    ],
)
def test_the_first_entry_of_a_file(text: str, begin: str) -> None:
    after = edited(text, [_put("a", {"model": {"name": "1"}})], where="g.yaml")
    assert after.startswith(begin)
    assert yaml.safe_load(after)["endpoints"][-1] == {"name": "a", "model": {"name": "1"}}
    # And out again: a list without entries is written, for a key without a value ends the gateway.
    left = edited(after, [], [("endpoints", e.name) for e in read_entries(after, "")], where="g.yaml")
    assert yaml.safe_load(left)["endpoints"] == []


def test_text_that_yaml_1_1_would_take_for_something_else_is_quoted() -> None:
    patch = {"model": {"name": "on", "config": {"anthropic_version": "2023-06-01", "a": "0o7", "b": "1:20"}}}
    after = edited(FILE, [_put("chat", patch)], where="g.yaml")
    model = yaml.safe_load(after)["endpoints"][1]["model"]
    assert model["name"] == "on"
    assert model["config"] | patch["model"]["config"] == model["config"]  # type: ignore[operator,index]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("endpoints: [{name: a}]\n", "endpoints is written as [ … ]"),
        ("{endpoints: []}\n", "it is no block mapping (endpoints: on a line of its own)"),
        ("endpoints:\n- just text\n", "an item of endpoints is no mapping"),
        ("endpoints:\n- type: x\n", "an item of endpoints has no name"),
        ("endpoints: 5\n", "endpoints is no list"),
        ("endpoints: []\nendpoints: []\n", "it has endpoints twice"),
        ("endpoints:\n- name: 'sk-secret\n", "it is no valid YAML document"),
    ],
)
def test_a_file_that_cannot_be_worked_with(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_entries(text, "g.yaml")
    assert caught.value.why == why
    assert caught.value.where.startswith("g.yaml")
    assert "sk-secret" not in str(caught.value)


def test_an_edit_that_would_change_what_others_refer_to_is_refused() -> None:
    text = (
        "endpoints:\n- name: ours  # reconciler.stack: shop\n  model: &m\n    provider: openai\n"
        "- name: theirs\n  model: *m\n"
    )
    with pytest.raises(UsageError, match="would not say what was meant; it was not written"):
        edited(text, [_put("ours", {"model": {"provider": "cohere"}})], where="g.yaml")


def test_a_merge_patch() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None, "e": [4]}, "d": None}) == {
        "a": {"c": 2, "e": [4]}
    }


def test_what_the_gateway_would_say() -> None:
    a = Entry("endpoints", "a", {"endpoint_type": "llm/v1/chat"})
    b = Entry("endpoints", "b", {"endpoint_type": "llm/v1/embeddings"})

    def route(*shares: tuple[str, int]) -> Entry:
        destinations = [{"name": name, "traffic_percentage": share} for name, share in shares]
        return Entry("routes", "r", {"task_type": "llm/v1/chat", "destinations": destinations})

    assert objections([a, b, route(("a", 100))]) == []
    assert objections([a, b, route(("a", 60), ("b", 30), ("c", 5))]) == [
        "route r leads to b, which is of another type",
        "route r leads to c, which is no endpoint",
        "the percentages of route r sum to 95, not to 100",
    ]
    assert objections([a, a]) == ["a is there twice"]


_NAMES = st.sampled_from([f"n{i}" for i in range(6)])
_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
_CONTENT = st.fixed_dictionaries(
    {"endpoint_type": st.just("llm/v1/chat")},
    optional={"model": st.dictionaries(_NAMES, _TEXTS | st.integers(), max_size=3), "limit": st.none()},
)


@settings(max_examples=150, deadline=None)
@given(
    have=st.dictionaries(_NAMES, _CONTENT, max_size=5),
    puts=st.dictionaries(_NAMES, _CONTENT, max_size=4),
    gone=st.sets(_NAMES, max_size=3),
    indent=st.sampled_from(["", "  ", "      "]),
)
def test_any_edit_says_what_was_meant_and_keeps_what_it_is_not_about(
    have: dict[str, Any], puts: dict[str, Any], gone: set[str], indent: str
) -> None:
    text = "# head\nendpoints:\n" if have else "endpoints: []\n"
    for name, content in have.items():
        block = yaml.safe_dump([{"name": name, **content}], sort_keys=False, allow_unicode=True)
        text += f"{indent}# about {name}\n" + "".join(f"{indent}{line}\n" for line in block.splitlines())
    text += "# foot\n"
    gone -= set(puts)
    after = edited(text, [_put(n, c) for n, c in puts.items()], [("endpoints", n) for n in gone], where="g")
    wanted = {n: {"name": n, **c} for n, c in have.items() if n not in gone}
    wanted |= {n: merged(wanted.get(n, {}), {"name": n, **c}) for n, c in puts.items()}
    found = {entry.name: entry for entry in read_entries(after, "g")}
    assert {name: entry.content for name, entry in found.items()} == wanted
    assert {name for name, entry in found.items() if entry.stack} == set(puts)
    for name in have:
        assert f"# about {name}\n" in after
    # Blocks of others are there to the byte.
    for name, content in have.items():
        if name not in gone and name not in puts:
            block = yaml.safe_dump([{"name": name, **content}], sort_keys=False, allow_unicode=True)
            assert "".join(f"{indent}{line}\n" for line in block.splitlines()) in after
