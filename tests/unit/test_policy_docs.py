"""docs/policies.md names every built-in policy with its parameters, as they are; the example can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.engine.policy import compiled
from reconciler.manifest.builtin_policies import BUILTIN, Builtin
from reconciler.manifest.policies import policies_of
from reconciler.manifest.project import load_project

_ROOT = Path(__file__).parents[2]


def row(name: str, policy: Builtin) -> str:
    """The line of the table in the docs."""
    level = "" if policy.level == "deny" else f" Level: `{policy.level}`."
    given = []
    for parameter, one in policy.params.items():
        default = ", ".join(one.default) if isinstance(one.default, list) else one.default
        given.append(f"`{parameter}`: {one.about} ({f'`{default}`' if default else 'must be given'})")
    return f"| `{name}` | {policy.about}{level} | {'; '.join(given)} |".replace("  |", " |")


@pytest.mark.parametrize("name", BUILTIN)
def test_the_docs_say_what_a_built_in_is(name: str) -> None:
    assert row(name, BUILTIN[name]) in (_ROOT / "docs/policies.md").read_text(encoding="utf-8")


def test_the_example_is_right(tmp_path: Path) -> None:
    example = _ROOT / "examples/policies/platform.policies.yaml"
    (tmp_path / "reconciler.yaml").write_text(
        f"apiVersion: reconciler/v1\nkind: Project\nstack: a\npolicies: [{{file: '{example}'}}]\n"
    )
    assert len(compiled(policies_of(load_project(tmp_path / "reconciler.yaml"), None)).rules) == 8
