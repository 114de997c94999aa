"""An apply waits until endpoints are live, whoever began their update; no failure of the past is believed."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from reconciler.cli.acting import exit_code
from reconciler.emulator.wire import Request, Response
from reconciler.engine.apply import apply
from reconciler.engine.receipt import receipt_json
from reconciler.engine.snapshot import read_snapshot
from reconciler.engine.waiting import is_before
from reconciler.redact import Redactor
from reconciler.report.text import outcome_text
from reconciler.values import Action, StepStatus
from tests.unit.engine.workbench import Bench, custom, endpoint

FAILING = "main.ml.fail-to-deploy"


def _updating(entity: str = "main.ml.ranker") -> tuple[Bench, Any]:
    """A bench where somebody's update to what the manifest declares is under way."""
    bench = Bench()
    bench.apply(endpoint(config=custom("1")))
    bench.by_hand.update_endpoint_config("chat", custom("2", entity))
    return bench, endpoint(config=custom("2", entity))


def test_an_update_that_runs_already_is_waited_for_without_a_write() -> None:
    bench, wanted = _updating()
    plan = bench.plan(wanted)
    assert plan.is_empty
    assert plan.steps[0].is_busy
    bench.wire.requests.clear()
    applied = bench.apply(wanted, plan=plan)
    assert bench.wire.writes == []
    assert applied.converged
    assert applied.after is not None, "it was read again"
    [outcome] = applied.outcomes
    assert (outcome.status, outcome.step.action) == (StepStatus.UNCHANGED, Action.NO_OP)
    assert outcome.seconds >= 50
    state = bench.by_hand.get_endpoint("chat")["state"]
    assert state == {"ready": "READY", "config_update": "NOT_UPDATING"}
    told = outcome_text(applied.plan, applied.outcomes, converged=applied.converged)
    assert "Endpoint/chat is as declared: the update that was running ended in 1 min" in told
    assert any(event.phase == "waiting" for event in bench.events)
    before = read_snapshot(bench.client, [wanted], target="t", taken_at="now")
    receipt = receipt_json(applied, [wanted], before, (), None, facts={}, redactor=Redactor())
    assert receipt["resources"][0]["read_again"]
    assert receipt["converged"]


def test_it_is_not_waited_for_on_request() -> None:
    bench, wanted = _updating()
    began = bench.clock.time
    applied = bench.apply(wanted, wait=False)
    assert exit_code(applied) == 0
    assert bench.clock.time == began


def test_a_running_update_that_fails_fails_the_apply_with_its_log() -> None:
    bench, wanted = _updating(FAILING)
    applied = bench.apply(wanted)
    [outcome] = applied.outcomes
    assert outcome.status is StepStatus.FAILED
    assert outcome.error.startswith("the last update failed")
    assert outcome.log_tail
    assert not applied.converged
    assert exit_code(applied) == 1
    assert all("PUT" not in line for line in bench.wire.writes)


def test_what_changed_while_it_was_waited_for_is_told() -> None:
    bench, wanted = _updating()
    plan = bench.plan(wanted)

    def meddle() -> None:
        bench.clock.on_sleep = lambda: None
        bench.settle()
        bench.by_hand.update_endpoint_config("chat", custom("9"))
        bench.settle()

    bench.clock.on_sleep = meddle
    applied = bench.apply(wanted, plan=plan)
    assert not applied.converged
    assert applied.remaining is not None
    assert [str(c.path) for c in applied.remaining.steps[0].changes]


def test_a_stop_ends_the_waiting() -> None:
    bench, wanted = _updating()
    plan, stop = bench.plan(wanted), threading.Event()
    bench.clock.on_sleep = stop.set
    applied = apply(plan, bench.client, [wanted], taken_at=lambda: "now", clock=bench.clock, stop=stop)
    assert applied.outcomes[0].status is StepStatus.NOT_WAITED
    assert not applied.converged
    assert exit_code(applied) == 1, "nobody knows whether it will be live"


def test_a_stop_after_the_last_call_is_no_success() -> None:
    bench, stop = Bench(), threading.Event()
    wanted = endpoint(config=custom("1"))
    bench.clock.on_sleep = stop.set
    plan = bench.plan(wanted)
    applied = apply(plan, bench.client, [wanted], taken_at=lambda: "now", clock=bench.clock, stop=stop)
    assert [result.outcome for result in applied.outcomes[0].results] == ["done"]
    assert exit_code(applied) == 1
    assert exit_code(bench.apply(endpoint("other", config=custom("1")), wait=False)) == 0


def test_a_read_that_tells_the_failure_before_is_not_believed() -> None:
    bench = Bench()
    bench.apply(endpoint(config=custom("1")))
    bench.apply(endpoint(config=custom("2", FAILING)))
    failed = bench.by_hand.get_endpoint("chat")
    assert failed["state"]["config_update"] == "UPDATE_FAILED"
    bench.clock.time += 100
    stale = 3

    def lagging(request: Request, response: Response) -> Response:
        nonlocal stale
        was_put = any(line.startswith("PUT") and line.endswith("/config") for line in bench.wire.requests)
        if request.method == "GET" and request.path.endswith("/chat") and was_put and stale:
            stale -= 1
            return Response(200, response.headers, json.dumps(failed).encode())
        return response

    bench.wire.requests.clear()
    bench.wire.after = lagging
    applied = bench.apply(endpoint(config=custom("3")))
    assert stale == 0
    assert applied.converged, applied.outcomes[0].error


def test_a_failure_of_the_update_itself_is_told_at_once() -> None:
    bench = Bench(provisioning=1.0)
    bench.apply(endpoint(config=custom("1")))
    bench.apply(endpoint(config=custom("2", FAILING)))
    bench.clock.time += 100
    began = bench.clock.time
    applied = bench.apply(endpoint(config=custom("3", FAILING)))
    assert applied.outcomes[0].status is StepStatus.FAILED
    assert bench.clock.time - began < 8, "it is not taken for an old one"
    created = bench.apply(endpoint("new", config=custom("1", FAILING)))
    assert created.outcomes[0].error.startswith("the creation failed")
    assert bench.clock.time - began < 12


_SEEN = {"id": "a", "last_updated_timestamp": 5, "state": {"config_update": "UPDATE_FAILED"}}


@pytest.mark.parametrize(
    ("read", "is_ours", "is_old"),
    [
        ({**_SEEN, "last_updated_timestamp": 4}, True, True),
        ({**_SEEN, "last_updated_timestamp": 4}, False, True),
        (_SEEN, True, True),
        (_SEEN, False, False),
        ({**_SEEN, "last_updated_timestamp": 6}, True, False),
        ({**_SEEN, "pending_config": {"config_version": 3}}, True, False),
        ({**_SEEN, "id": "b"}, False, True),
        ({"state": _SEEN["state"]}, True, True),
        ({"state": {"config_update": "UPDATE_CANCELED"}}, True, False),
        ({"state": _SEEN["state"]}, False, False),
    ],
)
def test_which_failure_is_one_of_the_past(read: dict[str, Any], is_ours: bool, is_old: bool) -> None:
    assert is_before(read, _SEEN, is_ours=is_ours) is is_old
