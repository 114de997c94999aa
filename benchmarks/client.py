"""``python -m benchmarks.client``: ours against mlflow's, in one run. Exit code 1: a bound is missed."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import PYTHON, compare

CALLS = 200
FASTER_CALLS, FASTER_IMPORT = 2.0, 5.0
_OURS = "from reconciler.client import get_deploy_client, DatabricksDeploymentClient"
_THEIRS = "from mlflow.deployments import get_deploy_client, DatabricksDeploymentClient"
_CHAT = {
    "name": "gpt",
    "external_model": {
        "name": "gpt-4o",
        "provider": "openai",
        "task": "llm/v1/chat",
        "openai_config": {"openai_api_key": "{{secrets/s/k}}"},
    },
}


def main() -> int:
    """Measure both; print what was seen."""
    with tempfile.TemporaryDirectory() as name, _workspace(Path(name) / "w.db") as url:
        os.environ |= {"DATABRICKS_HOST": url, "DATABRICKS_TOKEN": "x"}
        from mlflow.deployments import get_deploy_client as theirs

        from reconciler.client import get_deploy_client as ours

        mine, other = ours("databricks"), theirs("databricks")
        mine.create_endpoint(config={"name": "chat", "config": {"served_entities": [_CHAT]}})
        pairs = [(_seconds(mine.get_endpoint), _seconds(other.get_endpoint)) for _ in range(3)]
    imports = compare([PYTHON, "-c", _THEIRS], [PYTHON, "-c", _OURS], runs=5)
    rows = [
        (
            f"{CALLS} sequential get_endpoint",
            statistics.median(a for a, _ in pairs),
            statistics.median(b for _, b in pairs),
            statistics.median(b / a for a, b in pairs),
            FASTER_CALLS,
        ),
        ("a process that imports the client", imports.b, imports.a, imports.ratio, FASTER_IMPORT),
    ]
    print(f"{'':<36} {'ours':>9} {'mlflow':>9}   mlflow/ours")
    for title, a, b, ratio, bound in rows:
        verdict = "ok" if ratio >= bound else "BELOW THE BOUND"
        print(f"{title:<36} {a:>7.3f} s {b:>7.3f} s   {ratio:5.1f}× (at least {bound}×)  {verdict}")
    return int(any(ratio < bound for *_, ratio, bound in rows))


def _seconds(get: Callable[[str], Any]) -> float:
    get("chat")
    began = time.perf_counter()
    for _ in range(CALLS):
        get("chat")
    return time.perf_counter() - began


@contextmanager
def _workspace(db: Path) -> Iterator[str]:
    serve = [PYTHON, "-m", "reconciler", "emulator", "serve", "--port", "0", "--db", str(db)]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().decode().removeprefix("listening on ").strip()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
