"""``make bench``: every claim of speed, as a ratio measured in this run. Exit code 1: a bound is exceeded."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import client
from benchmarks.drift import unchanged
from benchmarks.gateway import no_op_plan
from benchmarks.measure import PYTHON, Ratio, compare
from reconciler.engine.snapshot import READ_PARALLELISM

_MANIFEST = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata:
  name: endpoint-{n:04}
  labels: {{team: team-{team}, tier: gold}}
spec:
  config:
    served_entities:
      - name: champion
        entity_name: main.models.ranker_{n}
        entity_version: "7"
        min_provisioned_concurrency: 4
        max_provisioned_concurrency: 16
        scale_to_zero_enabled: false
        environment_vars:
          LOG_LEVEL: info
          TOKEN: "{{{{secrets/team-{team}/token}}}}"
      - name: challenger
        entity_name: main.models.ranker_{n}
        entity_version: "8"
        workload_size: Small
        scale_to_zero_enabled: true
    traffic_config:
      routes:
        - {{served_entity_name: champion, traffic_percentage: 90}}
        - {{served_entity_name: challenger, traffic_percentage: 10}}
  ai_gateway:
    usage_tracking_config: {{enabled: true}}
    rate_limits:
      - {{key: user, calls: 60, renewal_period: minute}}
      - {{key: endpoint, calls: 2000, renewal_period: minute}}
  tags: {{team: team-{team}, tier: gold}}
  email_notifications:
    on_update_failure: [oncall@example.com]
"""


def main() -> int:
    """Run all of them; print a table."""
    rows: list[tuple[str, Ratio, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, many = folder / "one", folder / "many"
        _write(one, 1)
        _write(many, 1000)
        with _workspace(folder / "one.db", one, "0ms") as environment:
            imports = [PYTHON, "-c", "import requests, yaml, jsonschema, typer"]
            rows.append(
                (
                    "no-op plan of 1 endpoint / importing four libraries",
                    compare(_plan(one), imports, runs=9, environment=environment),
                    2.0,
                )
            )
        with _workspace(folder / "many.db", many, "40ms") as environment:
            bare = [PYTHON, "-m", "benchmarks.bare_loop", str(READ_PARALLELISM)]
            title = f"no-op plan of 1,000 at 40 ms / bare loop, {READ_PARALLELISM} threads"
            rows.append((title, compare(_plan(many), bare, runs=5, environment=environment), 1.3))
        with _workspace(folder / "many.db", many, "0ms") as environment:
            title = "drift --refresh fast, 1,000 unchanged / process start + 1 LIST"
            rows.append((title, unchanged(many, environment), 1.5))
        validate = [PYTHON, "-m", "reconciler", "validate", str(many)]
        parse = [PYTHON, "-m", "benchmarks.parse_only", str(many)]
        rows.append(
            ("validate 1,000 manifests / PyYAML's C loader alone", compare(validate, parse, runs=7), 4.0)
        )
    title = "no-op plan of an MLflow gateway, 200 endpoints / its bare lists"
    rows.append((title, no_op_plan(), 1.5))
    print(f"{'':<58} {'A':>9} {'B':>9}     A/B")
    for title, ratio, bound in rows:
        print(ratio.line(title, bound))
    plan_memory = rows[1][1].memory_mb
    print(f"peak memory of the no-op plan of 1,000: {plan_memory:.0f} MB (at most 200 MB)")
    is_slow = any(ratio.ratio > bound for _, ratio, bound in rows) or plan_memory > 200
    print()
    return int(is_slow) | client.main()


def _plan(manifests: Path) -> list[str]:
    return [PYTHON, "-m", "reconciler", "plan", str(manifests), "--target", "databricks"]


def _write(folder: Path, count: int) -> None:
    folder.mkdir()
    for n in range(count):
        (folder / f"{n:04}.yaml").write_text(_MANIFEST.format(n=n, team=n % 7))


@contextmanager
def _workspace(db: Path, manifests: Path, latency: str) -> Iterator[dict[str, str]]:
    """A workspace in which the manifests are applied, served over HTTP with this latency."""
    apply = [PYTHON, "-m", "reconciler", "apply", str(manifests), "--auto-approve", "--parallelism", "8"]
    subprocess.run(
        [*apply, "--target", f"local:{db}?provisioning=0s"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    serve = [PYTHON, "-m", "reconciler", "emulator", "serve", "--port", "0", "--db", str(db)]
    server = subprocess.Popen(
        [*serve, "--latency", latency], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().decode().removeprefix("listening on ").strip()
        yield {"DATABRICKS_HOST": url, "DATABRICKS_TOKEN": "x"}
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
