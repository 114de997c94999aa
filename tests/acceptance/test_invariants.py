"""What holds for every example manifest; a new example joins by being there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_EXAMPLES = Path(__file__).parent.parent.parent / "examples"
_FILES = sorted(file for file in _EXAMPLES.glob("*/*.yaml") if not file.match("*.policies.yaml"))
_CANARY = "canary-0815-secret"


class Shop:
    """An empty folder with one manifest, and an embedded workspace."""

    def __init__(self, folder: Path, manifest: str) -> None:
        self.folder = folder
        (folder / "m.yaml").write_text(manifest, encoding="utf-8")

    def run(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *words, "--target", "local:w.db?provisioning=0s"],
            cwd=self.folder,
            env={**os.environ, "CANARY_KEY": _CANARY},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert _CANARY not in done.stdout + done.stderr
        return done.stdout

    def plan(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run("plan", "m.yaml", "-o", "json", "--detailed-exitcode", *words, code=code))

    def apply(self) -> Any:
        return json.loads(self.run("apply", "m.yaml", "-o", "json", "--auto-approve"))


@pytest.fixture(params=_FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def manifest(request: pytest.FixtureRequest) -> str:
    text: str = request.param.read_text(encoding="utf-8")
    # A plaintext twin from the environment in place of one reference to a secret: the canary.
    twin = r'\1_plaintext: "${env:CANARY_KEY}"'
    return re.sub(r'(openai_api_key|cohere_api_key): "\{\{.*?\}\}"', twin, text)


def test_there_are_examples() -> None:
    assert len(_FILES) >= 5


def test_apply_converges_and_is_idempotent(manifest: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, manifest)
    assert shop.plan(code=2)["summary"]["create"] == manifest.count("kind: Endpoint")

    assert shop.apply()["converged"] is True

    plan = shop.plan()
    assert plan["summary"]["no_op"] == len(plan["steps"])
    assert plan["totals"]["write_calls"] == 0
    again = shop.apply()["outcomes"]
    assert all(not outcome["results"] for outcome in again), "applied twice: no call"


def test_destroy_leaves_nothing(manifest: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, manifest.replace("prevent_destroy: true", "prevent_destroy: false"))
    shop.apply()
    shop.run("destroy", "m.yaml", "--auto-approve")
    assert shop.run("get", "-o", "json").strip() == "[]"


def test_a_replayed_snapshot_gives_the_same_plan(manifest: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, manifest)
    shop.apply()
    (tmp_path / "m.yaml").write_text(manifest.replace("{team: ", "{changed: "), encoding="utf-8")
    code = 2 if "{team: " in manifest.replace("labels: {team", "") else 0
    live = shop.plan("--save-snapshot", "snapshot.json", code=code)

    assert shop.plan("--snapshot", "snapshot.json", code=code) == live


def test_no_canary_in_any_file(manifest: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path, manifest)
    shop.plan("--save-snapshot", "snapshot.json", code=2)
    shop.apply()
    shop.plan("--save-snapshot", "snapshot.json")
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or _CANARY.encode() not in file.read_bytes(), file
