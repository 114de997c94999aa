"""The no-op plan of a gateway with 200 endpoints, 40 models and 5 secrets, on a real MLflow server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import PYTHON, Ratio, compare
from tests.realserver.tracking import tracking_server

_KEYS = """\
apiVersion: reconciler/v1
kind: GatewaySecret
metadata: {{name: secret-{n}}}
spec: {{provider: openai, secret_value: {{api_key: "${{env:GATEWAY_KEY}}"}}}}
---
"""
_MODEL = """\
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {{name: model-{n}}}
spec: {{secret: secret-{secret}, provider: openai, model_name: gpt-{n}}}
---
"""
_ENDPOINT = """\
apiVersion: reconciler/v1
kind: GatewayEndpoint
metadata: {{name: endpoint-{n:03}}}
spec:
  models: [{{model: model-{a}, weight: 0.8}}, {{model: model-{b}, weight: 0.2}}]
  fallbacks: [model-{c}]
  tags: {{team: team-{team}}}
  usage_tracking: false
---
"""


def no_op_plan(runs: int = 7) -> Ratio:
    """The whole process of a plan, against one that only fetches the lists that it needs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifests = folder / "gateway.yaml"
        parts = [_KEYS.format(n=n) for n in range(5)]
        parts += [_MODEL.format(n=n, secret=n % 5) for n in range(40)]
        parts += [
            _ENDPOINT.format(n=n, a=n % 40, b=(n + 1) % 40, c=(n + 2) % 40, team=n % 7) for n in range(200)
        ]
        manifests.write_text("".join(parts))
        environment = {"GATEWAY_KEY": "sk-for-the-benchmark", "XDG_CONFIG_HOME": str(folder)}
        with tracking_server(folder) as server:
            words = [str(manifests), "--target", server.target]
            apply = [PYTHON, "-m", "reconciler", "apply", *words, "--auto-approve"]
            subprocess.run(
                apply,
                check=True,
                env={**os.environ, **environment},
                stdout=subprocess.DEVNULL,
                stderr=sys.stderr,
            )
            plan = [PYTHON, "-m", "reconciler", "plan", *words]
            bare = [PYTHON, "-m", "benchmarks.bare_lists", server.url]
            return compare(plan, bare, runs=runs, environment=environment)
