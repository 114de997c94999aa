"""Each fault × each call: a plan and an apply over HTTP against an emulator that has the fault.

The rows and columns are data; :func:`cell` runs one and holds it to what must always be true.
``docs/faults.md`` shows the results, ``test_fault_matrix.py`` holds the page to them. The client's and the
engine's waits pass at once: they, the workspace and the server share one clock.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from reconciler.cli.acting import exit_code
from reconciler.client.auth import Token
from reconciler.client.databricks import DatabricksDeploymentClient
from reconciler.client.http import HttpSession
from reconciler.emulator.adapter import EmulatorAdapter
from reconciler.emulator.routes import route_of
from reconciler.emulator.server import Running
from reconciler.emulator.states import FAIL
from reconciler.emulator.troubled import Troubled
from reconciler.emulator.wire import Handler, Request, Response
from reconciler.emulator.workspace import Workspace
from reconciler.engine.apply import Applied, apply
from reconciler.engine.executor import ExecutionOptions
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.snapshot import read_snapshot
from reconciler.errors import ReconcilerError
from reconciler.values import Plan, Resource, StepStatus
from tests.unit.engine.workbench import FakeClock, custom, endpoint

__all__ = ["CALLS", "FAULTS", "Call", "Cell", "Kept", "cell", "row", "said", "served"]

_ALWAYS = 10**6


@dataclass(frozen=True, slots=True)
class Call:
    """A column: a call of the client's path. ``where``: what a fault is put at, ``nth`` of them. ``before``:
    the spec that is live, None when nothing is; ``wanted``: what the manifest says, None to destroy it.
    ``resend``: it cannot be read back, and is sent on request. ``failed``: the update before it
    failed."""

    name: str
    where: str
    before: dict[str, Any] | None
    wanted: dict[str, Any] | None
    nth: int = 1
    resend: bool = False
    failed: bool = False

    def selector(self, *, always: bool) -> str:
        """The fault's WHERE: the one call, or it and all that follow."""
        return f"{self.where}[chat]#{self.nth}*{_ALWAYS if always else 1}"


_ONE = {"config": custom("1"), "tags": {"team": "a"}}
_PT = {
    "served_entities": [
        {"name": "llama", "entity_name": "system.ai.llama-4-maverick", "provisioned_model_units": 50}
    ]
}
_MORE_PT = {"served_entities": [{**_PT["served_entities"][0], "provisioned_model_units": 100}]}
_TELEMETRY = {"inference_table_config": {"name": "main.logs.chat", "sampling_fraction": 0.5}}
_TAGGED = {**_ONE, "tags": {"team": "b"}}
_GRANTS = [{"group_name": "users", "permission_level": "CAN_QUERY"}]


CALLS = (
    Call("list", "GET list", None, _ONE),
    Call("get (plan)", "GET get", _ONE, _TAGGED),
    Call("get (guard)", "GET get", _ONE, _TAGGED, 2),
    Call("get (wait)", "GET get", None, _ONE),
    Call("create", "POST create", None, _ONE),
    Call("create pt", "POST create-pt", None, {"config": _PT}),
    Call("config", "PUT config", _ONE, {**_ONE, "config": custom("2")}),
    Call("config (the last failed)", "PUT config", _ONE, {**_ONE, "config": custom("2")}, failed=True),
    Call("config pt", "PUT config-pt", {"config": _PT}, {"config": _MORE_PT}),
    Call("tags", "PATCH tags", _ONE, _TAGGED),
    Call(
        "rate limits",
        "PUT rate-limits",
        _ONE,
        {**_ONE, "rate_limits": [{"key": "user", "calls": 9, "renewal_period": "minute"}]},
        resend=True,
    ),
    Call(
        "ai gateway",
        "PUT ai-gateway",
        _ONE,
        {**_ONE, "ai_gateway": {"usage_tracking_config": {"enabled": True}}},
    ),
    Call(
        "notifications",
        "PATCH notifications",
        _ONE,
        {**_ONE, "email_notifications": {"on_update_failure": ["a@example.com"]}},
    ),
    Call("telemetry", "PATCH telemetry", _ONE, {**_ONE, "telemetry_config": _TELEMETRY}),
    Call("get permissions", "GET permissions", _ONE, {**_ONE, "permissions": _GRANTS}),
    Call("put permissions", "PUT permissions", _ONE, {**_ONE, "permissions": _GRANTS}),
    Call("delete", "DELETE delete", _ONE, None),
    Call("delete (replace)", "DELETE delete", _ONE, {**_ONE, "route_optimized": True}),
)

FAULTS = (
    "reset-before",
    "reset-after",
    "reset-during",
    "refuse=0.05",
    "refuse=0.05:acted",
    "timeout=30",
    "timeout=30:acted",
    "429",
    "429:retry-after=2",
    "429:retry-after=date+2",
    "500",
    "500:acted",
    "502",
    "503",
    "503:retry-after=2",
    "truncated",
    "not-json",
    "html",
    "html:acted",
    "html=502",
    "redirect=http://localhost:9/login",
    "clock-skew=-86400",
    "stale-read=3",
    "deleted",
    "recreated",
    "update-failed",
    "never-ready",
)


@dataclass(slots=True)
class Cell:
    """What came of one: ``converged``, or ``code`` and ``message``; how often the fault ``struck``."""

    converged: bool
    code: int
    message: str
    struck: int


# -- the workspace ----------------------------------------------------------------------------------------


class Kept:
    """A handler whose inside is changed from cell to cell: one server for all of them."""

    def __init__(self) -> None:
        self.inner: Handler | None = None
        self.url = ""

    def handle(self, request: Request) -> Response:
        """Passes on."""
        assert self.inner is not None
        return self.inner.handle(request)


@contextmanager
def served() -> Iterator[Kept]:
    """A server for many cells."""
    kept = Kept()
    server = Running(kept)
    kept.url = server.url
    thread = threading.Thread(target=server.run, name="emulator", daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.stop()
        thread.join(timeout=10)


@dataclass(slots=True)
class _Acted:
    """Between the faults and the workspace: what was carried out, and well."""

    workspace: Workspace
    done: Counter[str] = field(default_factory=Counter)

    def handle(self, request: Request) -> Response:
        answered = self.workspace.handle(request)
        found = route_of(request)
        if answered.status < 300 and request.method != "GET" and found is not None:
            self.done[found[0].name] += 1
        return answered


class _World:
    """A workspace with two endpoints at most: ``chat``, which the manifests name, and somebody else's."""

    def __init__(self, kept: Kept, call: Call, fault: str, always: bool) -> None:
        self.clock = FakeClock()
        self.workspace = Workspace(clock=self.clock.now, provisioning=5.0)
        self.by_hand = DatabricksDeploymentClient(
            host="http://emulator.test", credentials=Token("t"), adapter=EmulatorAdapter(self.workspace)
        )
        self.wanted = endpoint("chat", **(call.wanted or {}))
        self.destroys, self.resend = call.wanted is None, call.resend
        self._run(self.by_hand, endpoint("foreign", **_ONE))
        if call.before is not None:
            self._run(self.by_hand, endpoint("chat", **call.before))
        if call.failed:
            self.by_hand.update_endpoint_config("chat", custom("1", f"main.ml.{FAIL}"))
            self.clock.time += 20
            assert self.by_hand.get_endpoint("chat")["state"]["config_update"] == "UPDATE_FAILED"
        self.foreign = self.by_hand.get_endpoint("foreign")
        self.acted = _Acted(self.workspace)
        self.troubled = Troubled(self.workspace, [f"{fault}@{_where(call, fault, always)}"], inner=self.acted)
        kept.inner = self.troubled
        self.client = DatabricksDeploymentClient(host=kept.url, credentials=Token("t"))
        is_away = fault.startswith("refuse=0")

        def sleep(seconds: float) -> None:
            self.clock.sleep(seconds)
            if is_away:
                time.sleep(0.04)  # really

        self.client.http = HttpSession(
            kept.url,
            credentials=Token("t"),
            timeout=0.1 if fault.startswith("timeout") else 30,
            sleep=sleep,
            now=self.clock.now,
            chance=lambda: 0.5,
        )

    def close(self) -> None:
        self.client.close()
        self.workspace.close()

    def _run(
        self, client: Any, resource: Resource, *, destroy: bool = False, resend: bool = False
    ) -> Applied:
        resources = [resource]
        snapshot = read_snapshot(client, resources, target="t", taken_at="now")
        plan = (
            plan_destroy(resources, snapshot)
            if destroy
            else make_plan(resources, snapshot, PlanOptions(resend=resend))
        )
        return apply(
            plan,
            client,
            resources,
            taken_at=lambda: "now",
            options=ExecutionOptions(wait_timeout=100.0),
            clock=self.clock,
        )

    def run(self) -> Cell:
        """The run with the fault."""
        try:
            applied = self._run(self.client, self.wanted, destroy=self.destroys, resend=self.resend)
        except ReconcilerError as error:
            return Cell(False, error.exit_code, str(error), len(self.troubled.struck))
        said = [outcome.error for outcome in applied.outcomes if outcome.error] + [applied.unverified]
        left = (
            []
            if applied.remaining is None
            else [str(c.path) for s in applied.remaining.steps for c in s.changes]
        )
        message = next(filter(None, said), f"did not stick: {', '.join(left)}" if left else "")
        return Cell(applied.converged, exit_code(applied), message, len(self.troubled.struck))

    def run_again(self) -> tuple[Applied, Plan]:
        """The next run, when the faults are over and every update has ended; and a plan after it."""
        self.clock.time += 100_000
        applied = self._run(self.by_hand, self.wanted, destroy=self.destroys)
        snapshot = read_snapshot(self.by_hand, [self.wanted], target="t", taken_at="now")
        of = plan_destroy if self.destroys else make_plan
        return applied, of([self.wanted], snapshot)


def _where(call: Call, fault: str, always: bool) -> str:
    """A list is about no endpoint. What lasts beyond one answer is put where it can begin."""
    if fault.startswith("clock-skew"):
        return "*"
    if fault.startswith("stale-read"):
        return f"read*{_ALWAYS if always else 2}"
    if fault in ("update-failed", "never-ready"):
        return f"write*{_ALWAYS if always else 1}"
    return call.selector(always=always).replace("list[chat]", "list")


def cell(kept: Kept, call: Call, fault: str, *, always: bool) -> Cell:
    """Run one, and hold it to what must be true whatever the fault: nothing of others touched, nothing made
    twice, no success that is none, and the next run converges."""
    world = _World(kept, call, fault, always)
    try:
        found = world.run()
        assert world.by_hand.get_endpoint("foreign") == world.foreign, "somebody else's is untouched"
        # What cannot be read back is sent again when its answer was lost: it replaces, so twice does no harm.
        twice = {name: count for name, count in world.acted.done.items() if count > 1 and not call.resend}
        assert not twice, f"carried out more than once: {twice}"
        if found.converged:
            assert found.code == 0
            plan = _plan(world)
            assert plan.is_empty, [str(step) for step in plan.steps]
        else:
            assert found.code in (1, 3), found
            assert found.message, "it says why"
            assert "Traceback" not in found.message
        applied, plan = world.run_again()
        if applied.converged:
            assert plan.is_empty
        else:  # a build that failed or never ends stays so until somebody acts: it is told again
            assert fault in ("update-failed", "never-ready"), [o.error for o in applied.outcomes]
            assert all(o.status in (StepStatus.FAILED, StepStatus.UNCHANGED) for o in applied.outcomes)
        return found
    finally:
        world.close()


def _plan(world: _World) -> Plan:
    snapshot = read_snapshot(world.by_hand, [world.wanted], target="t", taken_at="now")
    return (plan_destroy if world.destroys else make_plan)([world.wanted], snapshot)


_NEUTRAL = (
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r"(?<=serving-endpoints/)[0-9a-f]{32}", "ID"),
    (r" \(request [^)]*\)", ""),
    (r"\b[A-Z]+ /\S+: ", ""),
    (r"(not JSON \([^)]*\)).*", r"\1"),
    (r"(failed|after 100 s): \w+: .*", r"\1"),
    (r"(the answer cannot be read): .*", r"\1"),
    (r" within 0\.1 s", " in time"),
    (r"did not stick: .*", "did not stick"),
    (r"with other content: .*", "with other content"),
)


def said(message: str) -> str:
    """The first line of a message, without what differs from run to run."""
    first = message.splitlines()[0] if message else ""
    for pattern, name in _NEUTRAL:
        first = re.sub(pattern, name, first)
    return first


def _cell_of(kept: Kept, call: Call, fault: str, *, always: bool) -> Cell:
    """A server that stays away is one of its own."""
    if not (always and fault.startswith("refuse")):
        return cell(kept, call, fault, always=always)
    with served() as own:
        return cell(own, call, fault.replace("0.05", "600"), always=True)


def row(kept: Kept, fault: str) -> str:
    """A row of the table in docs/faults.md: the fault, once and from then on, at every call."""
    words = []
    for always in (False, True):
        found: dict[str, list[str]] = {}
        for call in CALLS:
            one = _cell_of(kept, call, fault, always=always)
            assert one.struck, f"{fault} did not come about at {call.name}"
            what = "converges" if one.converged else f"*{said(one.message)}* ({one.code})"
            found.setdefault(what, []).append(call.name)
        usual = max(found, key=lambda what: len(found[what]))
        parts = [what if what == usual else f"{', '.join(found[what])}: {what}" for what in found]
        parts.sort(key=lambda part: part != usual)
        words.append("; ".join(parts))
    return f"| `{fault}` | {words[0]} | {words[1]} |"


def main() -> None:
    """Print every cell, for people at work on it."""
    logging.getLogger("reconciler").setLevel(logging.ERROR)
    with served() as kept:
        for always in (False, True):
            for fault in FAULTS:
                for call in CALLS:
                    began = time.monotonic()
                    try:
                        found = _cell_of(kept, call, fault, always=always)
                        what = "ok" if found.converged else f"{found.code} {said(found.message)}"
                        what += "" if found.struck else " (not struck)"
                    except AssertionError as error:
                        what = f"WRONG {str(error)[:400]}"
                    except Exception as error:
                        what = f"RAISED {error!r}"
                    row = [always, fault, call.name, what, round(time.monotonic() - began, 2)]
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
