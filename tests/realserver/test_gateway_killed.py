"""The apply is killed at each of its writes, before and after the server did it: the next one converges."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

from tests.realserver.killer import killing
from tests.realserver.tracking import Project, Tracking

_MANIFEST = """\
apiVersion: reconciler/v1
kind: GatewaySecret
metadata: {name: openai}
spec: {provider: openai, secret_value: {api_key: "${env:OPENAI_API_KEY}"}}
---
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {name: gpt}
spec: {secret: openai, provider: openai, model_name: gpt-4o}
---
apiVersion: reconciler/v1
kind: GatewayEndpoint
metadata: {name: chat}
spec: {models: [{model: gpt}], usage_tracking: false, tags: {team: support}}
---
apiVersion: reconciler/v1
kind: GatewayBudget
metadata: {name: daily}
spec:
  budget_amount: 9
  duration: {unit: DAYS, value: 1}
  target_scope: ENDPOINT
  target_value: chat
  budget_action: ALERT
"""
_WRITES = 6


def test_killed_anywhere_the_next_run_converges(tracking: Tracking, tmp_path: Path) -> None:
    with killing(tracking.url) as killer:
        project = Project(tmp_path, f"mlflow-gateway+{killer.url}")
        project.environment["OPENAI_API_KEY"] = "sk-canary-0123456789abcdef"
        project.environment["RECONCILER_FINGERPRINT_KEY"] = "a key that is long enough"
        project.write(_MANIFEST)
        for at in range(1, _WRITES + 1):
            for after in (False, True):
                tracking.clear()
                foreign = tracking.model("foreign", tracking.secret("foreign"))
                killer.aim(at, after=after)
                process = project.process("apply", "--auto-approve")
                killer.victim = process.pid
                process.communicate(timeout=120)
                assert process.returncode == -signal.SIGKILL, (at, after)
                first = list(killer.writes)

                killer.aim(0, after=False)
                project.apply()
                project.assert_nothing_to_do()
                done = Counter(first if after else first[:-1]) + Counter(killer.writes)
                assert sum(done.values()) == _WRITES, ("nothing twice", at, after, done)
                assert tracking.names("secrets") == ["foreign", "openai"]
                assert tracking.names("models") == ["foreign", "gpt"]
                assert tracking.names("endpoints") == ["chat"]
                assert len(tracking.list("budgets")) == 1
                assert tracking.one("models", "foreign")["model_definition_id"] == foreign
