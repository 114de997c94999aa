"""Long lives of a workspace: manifests change, others meddle, applies are stopped, plans grow stale.

Whatever came before: an apply that nobody disturbs converges with the fewest calls; one that is disturbed
overwrites nothing that it did not see, and the next one converges; what no manifest names is never touched.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reconciler.emulator.wire import Request, Response
from reconciler.engine.apply import apply
from reconciler.engine.executor import ExecutionOptions
from reconciler.errors import ReconcilerError
from reconciler.values import Action, Plan, Resource, StepStatus
from tests.unit.engine.specs import specs
from tests.unit.engine.test_properties import _fewest, _resources, _state
from tests.unit.engine.workbench import Bench

_NAMES = ["one", "two", "three"]
_CASES = int(os.environ.get("PROPERTY_CASES", "60"))

names = st.sampled_from(_NAMES)
edits = st.sampled_from(["tags", "limits", "permissions", "delete", "recreate"])


class LifeOfAWorkspace(RuleBasedStateMachine):
    """``declared``: the manifests. ``left``: live endpoints that no manifest names, as they must stay."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(provisioning=5.0)
        self.declared: dict[str, dict[str, Any]] = {}
        self.left: dict[str, Any] = {}
        self.count = 0

    @initialize(spec=specs())
    def somebody_elses(self, spec: dict[str, Any]) -> None:
        assert self.bench.apply(*_resources({"foreign": spec})).converged
        self.left["foreign"] = _state(self.bench, "foreign")

    # ---- the manifests ----

    @rule(name=names, spec=specs())
    def write_a_manifest(self, name: str, spec: dict[str, Any]) -> None:
        self.declared[name] = spec
        self.left.pop(name, None)

    @precondition(lambda self: self.declared)
    @rule(data=st.data())
    def drop_a_manifest(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.declared)))
        del self.declared[name]
        if self._exists(name):
            self.bench.settle()
            self.left[name] = _state(self.bench, name)

    # ---- others ----

    def _exists(self, name: str) -> bool:
        return any(item["name"] == name for item in self.bench.by_hand.list_endpoints())

    def _meddle(self, name: str, edit: str) -> None:
        """Somebody does something to an endpoint, past the manifests; a refusal of the server is theirs."""
        self.count += 1
        hand, mark = self.bench.by_hand, str(self.count)
        try:
            match edit:
                case "tags":
                    hand.update_endpoint_tags(name, {"add_tags": [{"key": "by-hand", "value": mark}]})
                case "limits":
                    limit = {"calls": 1000 + self.count, "renewal_period": "minute"}
                    hand.update_endpoint_ai_gateway(name, {"rate_limits": [limit]})
                case "permissions":
                    live_id = hand.get_endpoint(name)["id"]
                    grant = {"user_name": f"{mark}@example.com", "permission_level": "CAN_VIEW"}
                    hand.update_endpoint_permissions(live_id, {"access_control_list": [grant]})
                case "delete":
                    hand.delete_endpoint(name)
                case "recreate":
                    hand.delete_endpoint(name)
                    hand.create_endpoint(config={"name": name, "tags": [{"key": "new", "value": mark}]})
        except ReconcilerError:
            pass

    @precondition(lambda self: self.declared)
    @rule(data=st.data(), edit=edits)
    def meddle(self, data: st.DataObject, edit: str) -> None:
        self._meddle(data.draw(st.sampled_from(sorted(self.declared))), edit)

    # ---- applies ----

    def _desired(self) -> list[Resource]:
        return _resources(self.declared)

    @rule()
    def apply_in_peace(self) -> None:
        desired = self._desired()
        plan = self.bench.plan(*desired)
        self.bench.wire.requests.clear()
        applied = self.bench.apply(*desired, plan=plan)
        assert applied.converged, [(o.step.address, o.error) for o in applied.outcomes]
        assert len(self.bench.wire.writes) == _fewest(plan)
        assert self.bench.plan(*desired).is_empty
        self.bench.wire.requests.clear()
        assert self.bench.apply(*desired).converged
        assert self.bench.wire.writes == []

    @precondition(lambda self: self.declared)
    @rule(data=st.data(), edit=st.sampled_from(["tags", "recreate"]))
    def apply_a_plan_that_grew_stale(self, data: st.DataObject, edit: str) -> None:
        desired = self._desired()
        self.bench.settle()
        plan = self.bench.plan(*desired)
        changing = [s.address.name for s in plan.steps if s.action in (Action.UPDATE, Action.REPLACE)]
        if not changing:
            return
        name = data.draw(st.sampled_from(changing))
        self._meddle(name, edit)
        before = _state(self.bench, name)
        applied = self.bench.apply(*desired, plan=plan)
        ended = {o.step.address.name: o.status for o in applied.outcomes}
        assert ended[name] is StepStatus.REFUSED
        assert _state(self.bench, name) == before, "what the plan did not see is not overwritten"
        others = {status for other, status in ended.items() if other != name}
        assert others <= {StepStatus.DONE, StepStatus.UNCHANGED}

    @precondition(lambda self: self.declared)
    @rule(data=st.data(), edit=edits, at=st.integers(1, 6))
    def apply_while_somebody_meddles(self, data: st.DataObject, edit: str, at: int) -> None:
        """Somebody's edit lands between two of our requests, reads and writes alike."""
        name = data.draw(st.sampled_from(sorted(self.declared)))
        applied = self._disturbed(self._desired(), at, lambda: self._meddle(name, edit))
        # Only the endpoint that was meddled with may have come to something else than planned.
        for outcome in applied.outcomes:
            if outcome.step.address.name != name:
                assert outcome.status in (StepStatus.DONE, StepStatus.UNCHANGED), outcome.error

    @precondition(lambda self: self.declared)
    @rule(at=st.integers(1, 8))
    def apply_and_be_stopped(self, at: int) -> None:
        stop = threading.Event()
        self._disturbed(self._desired(), at, stop.set, stop)

    def _disturbed(
        self, desired: list[Resource], at: int, disturb: Callable[[], object], stop: Any = None
    ) -> Any:
        plan: Plan = self.bench.plan(*desired)
        seen = 0
        lock = threading.Lock()

        def before(request: Request) -> Response | None:
            nonlocal seen
            with lock:
                seen += 1
                if seen == at:
                    disturb()
            return None

        self.bench.wire.before = before
        try:
            return apply(
                plan,
                self.bench.client,
                desired,
                taken_at=lambda: "2026-01-01T00:00:00Z",
                options=ExecutionOptions(parallelism=2),
                stop=stop,
                clock=self.bench.clock,
            )
        finally:
            self.bench.wire.before = lambda request: None

    # ---- always ----

    @invariant()
    def what_no_manifest_names_is_untouched(self) -> None:
        for name, state in self.left.items():
            assert _state(self.bench, name) == state, name


LifeOfAWorkspace.TestCase.settings = settings(
    max_examples=max(10, _CASES // 4),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestLifeOfAWorkspace = LifeOfAWorkspace.TestCase
