"""For tests of drift checks: a workspace, and checks of it, each with the last one's cache."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from reconciler.engine.drift_cache import Cache, from_json, kept, to_json
from reconciler.engine.drift_reading import Look, look
from reconciler.engine.options import PlanOptions
from reconciler.redact import Redactor
from reconciler.report.json import plan_json
from reconciler.values import Address, Resource
from tests.unit.engine.workbench import Bench

SALT = "0123456789abcdef" * 2


class Desk:
    """``bench`` with a cache that goes through a file's text between two checks."""

    def __init__(self, provisioning: float = 5.0) -> None:
        self.bench = Bench(provisioning=provisioning)
        self.cache = Cache(SALT)
        self.text = ""

    @property
    def now(self) -> str:
        """The workspace's time as the check knows it."""
        moment = datetime.fromtimestamp(self.bench.clock.time, UTC)
        return moment.isoformat(timespec="seconds").replace("+00:00", "Z")

    def pass_time(self, seconds: float = 60.0) -> None:
        self.bench.clock.time += seconds

    def check(self, *desired: Resource, fast: bool = True, max_age: float = 86_400.0, now: str = "") -> Look:
        """One check; its requests are ``bench.wire.requests``."""
        self.bench.wire.requests.clear()
        moment = now or self.now
        found = look(
            self.bench.client,
            desired,
            PlanOptions(),
            self.cache,
            target="t",
            now=moment,
            fast=fast,
            max_age=max_age,
        )
        listed = [Address("Endpoint", name) for name in found.entries]
        after = Cache(
            self.cache.salt,
            kept(self.cache, found.held, [r.address for r in desired], listed),
            self.cache.seen,
        )
        self.text = json.dumps(to_json(after, target="t", program="p", redactor=Redactor()))
        read = from_json(json.loads(self.text), target="t", program="p", now=moment)
        assert read is not None
        self.cache = read
        return found

    @property
    def requests(self) -> list[str]:
        """What the last check asked, without the API's prefix."""
        return [line.replace("/api/2.0/", "") for line in self.bench.wire.requests]


def drift_of(found: Look) -> Any:
    """What a check says, without when and how it looked."""
    plan = plan_json(found.plan)
    for step in plan["steps"]:
        del step["fingerprint"]
    return plan
