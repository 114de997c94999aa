"""The wheel works alone: it carries the schemas, and runs outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent.parent
_MANIFEST = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: e}
spec: {tagz: {a: b}}
"""


@pytest.mark.package
def test_the_wheel_validates_and_plans_without_the_checkout(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(_ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    work = tmp_path / "work"
    work.mkdir()
    (work / "e.yaml").write_text(_MANIFEST)
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "reconciler", *words]
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)

    where = "import reconciler; print(reconciler.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=work, env=environment, capture_output=True, text=True, check=True
    )
    assert str(installed) in found.stdout
    wrong = run("validate", "e.yaml")
    assert wrong.returncode == 1
    assert "did you mean tags?" in wrong.stderr
    (work / "e.yaml").write_text(_MANIFEST.replace("tagz", "tags"))
    planned = run("plan", "e.yaml", "--target", "local:w.db")
    assert planned.returncode == 0, planned.stderr
    assert "1 to create" in planned.stdout
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tests/")]
