"""What every test of the manifests shares: an environment, and a way to load one text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ManifestError, Problem
from reconciler.manifest import Loaded, load

CANARY = "sk-canary-0123456789abcdef"
ENVIRON: Mapping[str, str] = {
    "OPENAI_API_KEY": CANARY,
    "EMPTY": "",
    "LIMIT": "ten",
    "CALLS": "7",
    "REGION": "eu",
}

HEAD = "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata:\n  name: chat\n"


class Loader:
    """Loads the text of one manifest from a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, text: str, name: str = "m.yaml", **options: Any) -> Loaded:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        options.setdefault("environ", ENVIRON)
        return load([path], root=self.folder, **options)

    def spec(self, body: str, **options: Any) -> dict[str, Any]:
        """The spec of an endpoint whose spec is ``body`` (indented by two)."""
        return dict(self(f"{HEAD}spec:\n{body}", **options).resources[0].spec)

    def problems(self, text: str, name: str = "m.yaml", **options: Any) -> list[Problem]:
        """What is wrong with a text; fails when nothing is."""
        with pytest.raises(ManifestError) as caught:
            self(text, name, **options)
        return list(caught.value.problems)

    def rules(self, text: str, name: str = "m.yaml", **options: Any) -> list[str]:
        """The rules that a text breaks, in the order of their places."""
        return [problem.rule for problem in self.problems(text, name, **options)]


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a file below the test's folder."""

    def writer(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return writer
