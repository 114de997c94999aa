"""Every rule has bad examples and expected words: ``bad/<rule>[-more].yaml`` with a ``.txt`` beside it.

``UPDATE_EXPECTED=1`` rewrites the expectations; read them before they are committed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from reconciler.errors import ManifestError
from reconciler.manifest import load
from reconciler.manifest.rules import PROBLEMS, WARNINGS
from tests.unit.manifest.conftest import CANARY, ENVIRON

_HERE = Path(__file__).parent
_BAD = sorted(path for path in (_HERE / "bad").iterdir() if path.suffix != ".txt")
_GOOD = sorted((_HERE / "good").iterdir())
_PACKAGE = _HERE.parent.parent.parent / "reconciler" / "manifest"
_TESTED_ELSEWHERE = {
    "no-such-path",  # about files, not about what stands in them: test_document.py
    "unreadable-file",
    "file-too-large",
    "encoding",
    "too-many-values",
    "too-many-problems",
    "unused-variable",  # about environments: test_layers.py and test_overlay.py
    "variable-of-variable",
    "unknown-environment",
    "promoted-path",
    "overlay-of-nothing",
    "overlay-patch",
    "overlay-removes-nothing",
    "overlay-item-without-key",
    "bad-command",  # only where commands are allowed: test_commands.py
    "command-failed",
    "schema",  # only if the validators disagree: test_judge.py
}


def _told(path: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        load([path], environ=ENVIRON, root=path.parent)
    lines = [f"{problem} [{problem.rule}]" for problem in caught.value.problems]
    return "\n".join(lines).replace(str(path), path.name) + "\n"


@pytest.mark.parametrize("path", _BAD, ids=lambda path: path.stem)
def test_bad_manifest_is_told_in_these_words(path: Path) -> None:
    told = _told(path)
    expected = path.with_suffix(".txt")
    if os.environ.get("UPDATE_EXPECTED"):
        expected.write_text(told, encoding="utf-8")
    assert told == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", _BAD, ids=lambda path: path.stem)
def test_bad_manifest_breaks_the_rule_of_its_name_and_tells_where(path: Path) -> None:
    told = _told(path)
    rules = set(re.findall(r"\[([a-z-]+)\]$", told, re.MULTILINE))
    assert any(path.stem == rule or path.stem.startswith(f"{rule}-") for rule in rules)
    assert CANARY not in told
    assert "canary" not in told


@pytest.mark.parametrize("path", _GOOD, ids=lambda path: path.stem)
def test_good_manifest_has_neither_problems_nor_warnings(path: Path) -> None:
    loaded = load([path], environ=ENVIRON, root=path.parent)
    assert loaded.resources
    assert loaded.warnings == ()


def test_every_rule_is_listed_and_has_a_bad_example() -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in (_HERE / "bad").glob("*.txt"))
    used = set(re.findall(r"\[([a-z-]+)\]$", shown, re.MULTILINE))
    assert used <= set(PROBLEMS)
    assert set(PROBLEMS) - used == _TESTED_ELSEWHERE


def test_every_listed_rule_stands_in_the_code() -> None:
    modules = [path for path in _PACKAGE.glob("*.py") if path.name != "rules.py"]
    code = "".join(path.read_text(encoding="utf-8") for path in modules)
    for rule in (*PROBLEMS, *WARNINGS):
        assert f'"{rule}"' in code, rule
