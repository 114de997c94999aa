"""``drift --refresh fast`` with 1,000 unchanged endpoints, against a process that only asks for the list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import PYTHON, Ratio, compare

_PROJECT = """\
apiVersion: reconciler/v1
kind: Project
stack: bench
target: databricks
manifests: [{}]
"""


def unchanged(manifests: Path, environment: Mapping[str, str], runs: int = 9) -> Ratio:
    """The whole process of a check, once all endpoints are in its cache (the run that is not counted)."""
    project = manifests.parent / "reconciler.yaml"
    project.write_text(_PROJECT.format(manifests.name))
    check = [PYTHON, "-m", "reconciler", "drift", "--project", str(project), "--refresh", "fast"]
    return compare(check, [PYTHON, "-m", "benchmarks.bare_list"], runs=runs, environment=environment)
