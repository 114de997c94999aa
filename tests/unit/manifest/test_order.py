"""``reconciler fmt``: order comes, and nothing else goes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.manifest import text as manifest_text
from reconciler.manifest.order import in_order, is_same

_ROOT = Path(__file__).parent.parent.parent.parent
_HEAD = "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {name: e}\n"


def ordered(text: str) -> str:
    return in_order(dedent(text), "m.yaml")


def test_fields_stand_in_the_schema_s_order_and_comments_go_with_them() -> None:
    before = """\
        # yaml-language-server: $schema=schemas/endpoint.schema.json
        # The chat of the support team.
        spec:
          # Who may ask.
          permissions: []   # nobody yet

          tags: {team: support}  # free: zebra stays before ant
          config:
            traffic_config:
              # All of it.
              routes:
                - {traffic_percentage: 100, served_entity_name: main}
            served_entities:
              - scale_to_zero_enabled: true
                # The version that was measured.
                entity_version: "3"
                # name: old
                entity_name: main.a.b
                name: main
                environment_vars: {ZEBRA: a, ANT: b}
              # A second one may follow.
        kind: Endpoint
        metadata:
            labels: {b: x, a: y}
            name: chat
        apiVersion: reconciler/v1
        """
    assert ordered(before) == dedent("""\
        # yaml-language-server: $schema=schemas/endpoint.schema.json
        # The chat of the support team.
        apiVersion: reconciler/v1
        kind: Endpoint
        metadata:
            name: chat
            labels: {b: x, a: y}
        spec:
          config:
            served_entities:
              - name: main
                # name: old
                entity_name: main.a.b
                # The version that was measured.
                entity_version: "3"
                scale_to_zero_enabled: true
                environment_vars: {ZEBRA: a, ANT: b}
              # A second one may follow.
            traffic_config:
              # All of it.
              routes:
                - {served_entity_name: main, traffic_percentage: 100}

          tags: {team: support}  # free: zebra stays before ant
          # Who may ask.
          permissions: []   # nobody yet
        """)


def test_a_comment_above_an_item_s_first_field_stands_at_the_dash() -> None:
    spec = """\
spec:
  config:
    served_entities:
      - entity_version: |
          text
{first}
"""
    before = """\
      - entity_name: a
        # The name.
        name: b"""
    after = """\
      # The name.
      - name: b
        entity_name: a"""
    assert ordered(_HEAD + spec.format(first=before)) == _HEAD + spec.format(first=after)


def test_json_is_put_in_order_too() -> None:
    before = '{\n  "kind": "Endpoint",\n  "spec": {"tags": {"b": 1, "a": 2}},\n  "apiVersion": "x"\n}\n'
    after = '{\n  "apiVersion": "x",\n  "kind": "Endpoint",\n  "spec": {"tags": {"b": 1, "a": 2}}\n}\n'
    before, after = before.replace('"x"', '"reconciler/v1"'), after.replace('"x"', '"reconciler/v1"')
    assert in_order(before, "m.json") == after


def test_the_project_file_and_gateways_have_an_order_as_well() -> None:
    project = ordered("stack: shop\nmanifests: [manifests]\nkind: Project\napiVersion: reconciler/v1\n")
    assert project.split("\n")[:3] == ["apiVersion: reconciler/v1", "kind: Project", "stack: shop"]


@pytest.mark.parametrize(
    "text",
    [
        "b: 1\na: 2\n",
        "kind: Endpoint\napiVersion: apps/v1\n",
        "kind: Deployment\nmetadata: {name: x}\napiVersion: apps/v1\n",
        "kind: Nothing\napiVersion: reconciler/v1\n",
        "- kind: Endpoint\n- apiVersion: reconciler/v1\n",
        "kind: Endpoint\nspec: &a {tags: {x: y}}\nlifecycle: *a\napiVersion: reconciler/v1\n",
        "kind: Endpoint\nkind: Endpoint\napiVersion: reconciler/v1\n",
        "kind: [\n",
        "",
    ],
)
def test_what_is_not_ours_or_has_aliases_or_is_broken_stays(text: str) -> None:
    assert in_order(text, "m.yaml") == text


def test_white_space_that_says_nothing_goes() -> None:
    before = (
        _HEAD
        + "\n\n\nspec:   \n  tags:\t\n    a: |\n      x  \n\n\n      y\n  description: 'a  \n\n\n    b'"
        + "\n\n\n"
    )
    after = _HEAD + "\nspec:\n  tags:\n    a: |\n      x  \n\n\n      y\n  description: 'a  \n\n\n    b'\n"
    assert in_order(before, "m.yaml") == after
    assert in_order(after.replace("\n", "\r\n"), "m.yaml") == after.replace("\n", "\r\n")


@pytest.mark.parametrize("style", ["|", "|-", "|+", ">", ">-", ">+"])
def test_a_block_of_text_moves_with_its_empty_lines(style: str) -> None:
    before = _HEAD + f"spec:\n  description: {style}\n    a\n    b\n\n\n  tags: {{}}\n"
    after = in_order(before, "m.yaml")
    assert (after.index("tags") < after.index("description")) is ("+" not in style)
    assert values(after) == values(before)
    assert in_order(after, "m.yaml") == after


def test_several_documents_are_put_in_order_each() -> None:
    one = "kind: Endpoint\n# version\napiVersion: reconciler/v1\n"
    assert ordered(f"{one}---\n# second\n{one}...\n---\nb: 1\na: 2\n") == (
        "# version\napiVersion: reconciler/v1\nkind: Endpoint\n---\n# second\n"
        "# version\napiVersion: reconciler/v1\nkind: Endpoint\n...\n---\nb: 1\na: 2\n"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), ("1", 1), ([1, 2], [2, 1]), ({"a": 1}, {"a": 2})],
)
def test_what_does_not_mean_the_same(one: Any, other: Any) -> None:
    assert not is_same(one, other)
    assert is_same(one, one)
    assert is_same({"a": 1, "b": float("nan")}, {"b": float("nan"), "a": 1})


@pytest.mark.parametrize("path", sorted((_ROOT / "examples").rglob("*.y*ml")), ids=lambda path: path.name)
def test_our_own_examples_are_in_order(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert in_order(text, path.name) == text, f"run reconciler fmt {path}"


# ---- random manifests -----------------------------------------------------------------------------------


def values(text: str) -> list[Any]:
    parsed = manifest_text.parse(text, "m.yaml")
    assert not parsed.problems, (parsed.problems, text)
    return [document.value for document in parsed.documents]


_texts = st.sampled_from(
    [
        "plain", '"quoted # no comment"', "'a: b'", '"{{secrets/a/b}}"', "${env:X}", "3", "true", "null", "",
        "|\n{i}  line\n\n{i}  # not a comment\n", ">-\n{i}  folded\n{i}  more\n", "[1,  2, x]",
        "{b: 1, a: 2}", "{}", "|+\n{i}  x\n\n", "a plain text\n{i}  over two lines",
        '"a quoted\n{i}  text"', '"é 🙂"',
    ]
)  # fmt: skip
_SHAPE: dict[str, Any] = {
    "config": {
        "served_entities": [
            {"name": None, "entity_name": None, "entity_version": None, "environment_vars": None}
        ],
        "traffic_config": {"routes": [{"served_entity_name": None, "traffic_percentage": None}]},
    },
    "tags": None,
    "ai_gateway": {
        "usage_tracking_config": None,
        "rate_limits": [{"key": None, "calls": None}],
        "unknown": None,
    },
    "email_notifications": None,
    "description": None,
    "zzz_unknown": None,
    "aaa_unknown": {"b": None, "a": None},
}


class Writer:
    """Writes a manifest in a random order, with comments that say what they are about."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.lines: list[str] = []
        self.count = 0

    def noise(self, indent: str, name: str) -> None:
        if self.draw(st.integers(0, 4)) == 0:
            self.lines.append("")
        if self.draw(st.integers(0, 2)) == 0:
            self.count += 1
            self.lines.append(f"{indent}# above {name} {self.count}")

    def mapping(self, shape: dict[str, Any], indent: str, first: str | None = None) -> None:
        names = self.draw(st.lists(st.sampled_from(sorted(shape)), unique=True, min_size=1))
        for at, name in enumerate(names):
            if first is None or at:
                self.noise(indent, name)
            start = first if first is not None and not at else indent
            self.field(name, shape[name], start, indent)

    def field(self, name: str, shape: Any, start: str, indent: str) -> None:
        if isinstance(shape, dict):
            self.lines.append(f"{start}{name}:{self.beside(name)}")
            self.mapping(shape, indent + " " * self.draw(st.integers(1, 4)))
        elif isinstance(shape, list):
            self.lines.append(f"{start}{name}:{self.beside(name)}")
            deeper = indent + " " * self.draw(st.integers(0, 3))
            for _ in range(self.draw(st.integers(1, 3))):
                gap = " " * self.draw(st.integers(1, 3))
                self.mapping(shape[0], deeper + " " + gap, f"{deeper}-{gap}")
        else:
            value = self.draw(_texts).replace("{i}", indent)
            many = "\n" in value
            self.lines.append(f"{start}{name}: {value}".rstrip(" ") + ("" if many else self.beside(name)))
        if self.draw(st.integers(0, 5)) == 0:
            self.count += 1
            self.lines.append(f"{indent}   # inside {name} {self.count}")

    def beside(self, name: str) -> str:
        if self.draw(st.integers(0, 3)):
            return ""
        self.count += 1
        return f"  # beside {name} {self.count}"


@st.composite
def manifests(draw: st.DrawFn) -> str:
    writer = Writer(draw)
    parts = draw(
        st.permutations(["apiVersion: reconciler/v1", "kind: Endpoint", "metadata: {name: e}", "spec"])
    )
    for part in parts:
        if part != "spec":
            writer.noise("", part.split(":")[0])
            writer.lines.append(part)
        else:
            writer.noise("", "spec")
            writer.field("spec", _SHAPE, "", "")
    return "\n".join(writer.lines) + draw(st.sampled_from(["\n", "", "\n\n\n"]))


def is_readable(text: str) -> bool:
    return not manifest_text.parse(text, "m.yaml").problems


def comments(text: str) -> list[str]:
    return re.findall(r"# (?:above|beside|inside) \w+ \d+", text)


@settings(max_examples=300, deadline=None)
@given(manifests().filter(is_readable))
@example(
    "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {name: e}\nspec:\n description: plain\n"
    " email_notifications: |\n  line\n  # a line of the text"
)
def test_random_manifests(before: str) -> None:
    after = in_order(before, "m.yaml")
    assert in_order(after, "m.yaml") == after, "once is enough"
    assert all(map(is_same, values(before), values(after))), "it means the same"
    assert Counter(comments(after)) == Counter(comments(before)), "no comment is lost"
    assert "|+" in before or is_in_order(after), "everything with an order has it"
    lines = after.split("\n")
    for at, line in enumerate(lines):
        if found := re.fullmatch(r"( *)# above (\w+) \d+", line):
            below = next(one for one in lines[at + 1 :] if one.strip() and not one.strip().startswith("#"))
            header = before.lstrip().startswith(line)  # what stands on top stays there
            assert re.match(rf"[ -]*{found[2]}:", below) or header, (line, below, after)


def is_in_order(text: str) -> bool:
    def check(node: Any, shape: Any) -> bool:
        if isinstance(node, yaml.MappingNode) and isinstance(shape, dict):
            names = [key.value for key, _ in node.value if key.value in shape]
            wanted = [name for name in shape if name in names]
            return names == wanted and all(check(value, shape.get(key.value)) for key, value in node.value)
        if isinstance(node, yaml.SequenceNode) and isinstance(shape, list):
            return all(check(item, shape[0]) for item in node.value)
        return True

    # As the schema has it, not as the writer above does.
    gateway = {"usage_tracking_config": None, "rate_limits": [{"key": None, "calls": None}]}
    entity = {"name": None, "entity_name": None, "entity_version": None, "environment_vars": None}
    spec = {
        "config": {"served_entities": [entity], "traffic_config": _SHAPE["config"]["traffic_config"]},
        "tags": None,
        "ai_gateway": gateway,
        "email_notifications": None,
        "description": None,
    }
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return check(root, {"apiVersion": None, "kind": None, "metadata": None, "spec": spec})
