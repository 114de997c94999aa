"""Apply against the emulated workspace through the real client, with time in hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from requests import ConnectionError as ConnectionBroke

from reconciler.emulator.troubled import Troubled
from reconciler.emulator.wire import Request, Response
from reconciler.engine.apply import apply
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan
from reconciler.engine.planning import read_and_plan
from reconciler.values import Action, StepStatus
from tests.unit.engine.workbench import Bench, custom, endpoint

BASE = "/api/2.0/serving-endpoints"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def _full(name: str = "chat", version: str = "1") -> Any:
    return endpoint(
        name,
        config=custom(version),
        tags={"team": "x"},
        ai_gateway={"usage_tracking_config": {"enabled": True}},
        email_notifications={"on_update_failure": ["a@example.com"]},
        permissions=[{"group_name": "analysts", "permission_level": "CAN_QUERY"}],
    )


def test_create_waits_and_proves(bench: Bench) -> None:
    applied = bench.apply(_full())

    assert applied.converged
    assert bench.wire.writes[0] == f"POST {BASE}"
    assert len(bench.wire.writes) == 2
    assert bench.wire.writes[1].startswith("PATCH /api/2.0/permissions/serving-endpoints/")
    assert applied.outcomes[0].status is StepStatus.DONE
    assert applied.outcomes[0].url.endswith("/serving-endpoints/chat/invocations")
    assert any(e.phase == "waiting" for e in bench.events)
    assert bench.plan(_full()).is_empty


def test_second_apply_makes_no_call(bench: Bench) -> None:
    bench.apply(_full())
    bench.wire.requests.clear()

    applied = bench.apply(_full())

    assert applied.converged
    assert bench.wire.writes == []


def test_requests_of_a_no_op_plan(bench: Bench) -> None:
    """1 LIST + 1 GET for each declared endpoint that LIST shows + 1 for each that manages permissions."""
    bench.apply(_full("a"), endpoint("b"), endpoint("c", tags={"k": "v"}))
    bench.wire.requests.clear()

    bench.plan(_full("a"), endpoint("b"), endpoint("c", tags={"k": "v"}), endpoint("not-there"))

    permissions = [line for line in bench.wire.requests if "/permissions/" in line]
    others = sorted(line for line in bench.wire.requests if "/permissions/" not in line)
    assert others == [f"GET {BASE}", f"GET {BASE}/a", f"GET {BASE}/b", f"GET {BASE}/c"]
    assert len(permissions) == 1


def test_update_sends_config_first_and_the_rest_once_it_is_live(bench: Bench) -> None:
    bench.apply(_full())
    bench.wire.requests.clear()
    changed = endpoint(
        "chat",
        config=custom("2"),
        tags={"team": "y"},
        ai_gateway={},
        permissions=[{"group_name": "analysts", "permission_level": "CAN_MANAGE"}],
    )

    applied = bench.apply(changed)

    assert applied.converged
    lines = bench.wire.requests
    put = lines.index(f"PUT {BASE}/chat/config")
    tags = lines.index(f"PATCH {BASE}/chat/tags")
    assert lines[put + 1 : tags].count(f"GET {BASE}/chat") >= 2, "the wait lies between them"
    assert [line.split(" ")[0] for line in bench.wire.writes] == ["PUT", "PATCH", "PUT", "PUT"]


def test_calls_are_what_the_plan_shows(bench: Bench) -> None:
    seen: list[tuple[str, str, Any]] = []

    def note(request: Request) -> None:
        if request.method != "GET":
            seen.append((request.method, request.path, json.loads(request.body)))

    bench.apply(_full())
    bench.wire.before = note
    plan = bench.plan(_full(version="2"), endpoint("new", tags={"a": "b"}))

    bench.apply(_full(version="2"), endpoint("new", tags={"a": "b"}), plan=plan)

    promised = [(c.method, c.path, json.loads(json.dumps(c.body))) for s in plan.steps for c in s.calls]
    assert sorted(seen, key=str) == sorted(promised, key=str)


def test_changed_since_the_plan_is_refused(bench: Bench) -> None:
    bench.apply(_full())
    plan = bench.plan(_full(version="2"))
    bench.by_hand.update_endpoint_tags("chat", {"add_tags": [{"key": "team", "value": "by-hand"}]})
    bench.wire.requests.clear()

    applied = bench.apply(_full(version="2"), plan=plan)

    assert applied.outcomes[0].status is StepStatus.REFUSED
    assert "changed since the plan: tags.team" in applied.outcomes[0].error
    assert bench.wire.writes == []
    assert not applied.converged


def test_another_endpoint_of_the_same_name_is_refused(bench: Bench) -> None:
    bench.apply(endpoint())
    plan = bench.plan(endpoint(config=custom("2")))
    bench.by_hand.delete_endpoint("chat")
    bench.by_hand.create_endpoint(config={"name": "chat", "config": custom()})
    bench.settle()

    applied = bench.apply(endpoint(config=custom("2")), plan=plan)

    assert applied.outcomes[0].status is StepStatus.REFUSED
    assert "another one of the same name" in applied.outcomes[0].error


def test_deleted_since_the_plan_is_refused(bench: Bench) -> None:
    bench.apply(endpoint())
    plan = bench.plan(endpoint(config=custom("2")))
    bench.by_hand.delete_endpoint("chat")

    applied = bench.apply(endpoint(config=custom("2")), plan=plan)

    assert applied.outcomes[0].status is StepStatus.REFUSED
    assert "deleted since the plan" in applied.outcomes[0].error


def test_an_update_that_finishes_meanwhile_is_no_change(bench: Bench) -> None:
    bench.apply(endpoint())
    bench.by_hand.update_endpoint_config("chat", custom("2"))
    plan = bench.plan(endpoint(config=custom("2"), tags={"a": "b"}))
    assert plan.steps[0].notes
    bench.settle()

    assert bench.apply(endpoint(config=custom("2"), tags={"a": "b"}), plan=plan).converged


def test_a_running_update_is_awaited_before_the_next_one(bench: Bench) -> None:
    bench.apply(endpoint())
    bench.by_hand.update_endpoint_config("chat", custom("2"))

    applied = bench.apply(endpoint(config=custom("3")))

    assert applied.converged
    assert bench.wire.writes.count(f"PUT {BASE}/chat/config") == 1


def test_create_of_one_that_appeared_with_the_same_content_is_success(bench: Bench) -> None:
    plan = bench.plan(_full())
    bench.by_hand.create_endpoint(
        config={
            "name": "chat",
            "config": custom(),
            "tags": [{"key": "team", "value": "x"}],
            "ai_gateway": {"usage_tracking_config": {"enabled": True}},
            "email_notifications": {"on_update_failure": ["a@example.com"]},
        }
    )

    applied = bench.apply(_full(), plan=plan)

    assert applied.converged
    assert applied.outcomes[0].results[0].outcome.startswith("there already")


def test_create_of_one_that_appeared_with_other_content_is_refused(bench: Bench) -> None:
    plan = bench.plan(_full())
    bench.by_hand.create_endpoint(config={"name": "chat", "config": custom("9")})

    applied = bench.apply(_full(), plan=plan)

    assert applied.outcomes[0].status is StepStatus.REFUSED
    assert "entity_version" in applied.outcomes[0].error
    assert bench.by_hand.get_endpoint("chat")["name"] == "chat"


def test_delete_of_what_is_gone_is_success(bench: Bench) -> None:
    bench.apply(endpoint("a"), endpoint("b"))
    plan = bench.plan(endpoint("a"), endpoint("b"), destroy=True)
    bench.by_hand.delete_endpoint("a")

    applied = bench.apply(endpoint("a"), endpoint("b"), plan=plan)

    assert applied.converged
    assert [o.status for o in applied.outcomes] == [StepStatus.DONE, StepStatus.DONE]
    assert bench.by_hand.list_endpoints() == []


def test_destroy_touches_only_what_is_named(bench: Bench) -> None:
    bench.apply(endpoint("a"), endpoint("b"))

    assert bench.apply(endpoint("a"), destroy=True).converged

    assert [e["name"] for e in bench.by_hand.list_endpoints()] == ["b"]


def test_replace_deletes_then_creates(bench: Bench) -> None:
    bench.apply(endpoint(config=custom(), description="old"))
    before = bench.by_hand.get_endpoint("chat")["id"]
    bench.wire.requests.clear()

    applied = bench.apply(endpoint(config=custom(), description="new"))

    assert applied.plan.steps[0].action is Action.REPLACE
    assert applied.converged
    assert bench.wire.writes == [f"DELETE {BASE}/chat", f"POST {BASE}"]
    assert bench.by_hand.get_endpoint("chat")["id"] != before


def test_failed_create_is_left_for_inspection_with_its_log(bench: Bench) -> None:
    doomed = endpoint(config=custom(entity="main.ml.fail-to-deploy"))

    applied = bench.apply(doomed, endpoint("fine"))

    failed, fine = applied.outcomes
    assert failed.status is StepStatus.FAILED
    assert "left as it is, for inspection" in failed.error
    assert failed.log_tail
    assert fine.status is StepStatus.DONE
    assert not applied.converged
    assert bench.by_hand.get_endpoint("chat")["state"]["config_update"] == "UPDATE_FAILED"


def test_failed_update_stops_the_later_calls_of_its_endpoint_only(bench: Bench) -> None:
    bench.apply(endpoint("bad", config=custom(), tags={"a": "1"}), endpoint("good", tags={"a": "1"}))
    bad = endpoint("bad", config=custom(entity="main.ml.fail-to-deploy"), tags={"a": "2"})

    applied = bench.apply(bad, endpoint("good", tags={"a": "2"}))

    assert [o.status for o in applied.outcomes] == [StepStatus.FAILED, StepStatus.DONE]
    assert [c.section for c in applied.outcomes[0].not_begun] == ["tags"]
    assert bench.by_hand.get_endpoint("bad")["tags"] == [{"key": "a", "value": "1"}]


def test_wait_timeout_says_what_to_do(bench: Bench) -> None:
    applied = bench.apply(endpoint(), wait_timeout=30)

    assert applied.outcomes[0].status is StepStatus.FAILED
    assert "not ready after 30 s" in applied.outcomes[0].error
    assert "--wait-timeout" in applied.outcomes[0].error
    assert sum(bench.clock.sleeps) < 60


def test_no_wait_makes_the_calls_and_leaves_what_an_update_forbids(bench: Bench) -> None:
    bench.apply(endpoint(config=custom(), tags={"a": "1"}))
    wanted = endpoint(
        config=custom("2"),
        tags={"a": "2"},
        telemetry_config={"inference_table_config": {"name": "main.logs.chat", "sampling_fraction": 0.5}},
    )

    bench.clock.sleeps.clear()

    applied = bench.apply(wanted, wait=False)

    assert applied.outcomes[0].status is StepStatus.NOT_WAITED
    assert [r.call.section for r in applied.outcomes[0].results] == ["config", "tags"]
    assert [c.section for c in applied.outcomes[0].not_begun] == ["telemetry_config"]
    assert bench.clock.sleeps == []
    bench.settle()
    assert bench.apply(wanted).converged


def test_telemetry_waits_for_the_update(bench: Bench) -> None:
    bench.apply(endpoint())
    wanted = endpoint(
        config=custom("2"),
        telemetry_config={"inference_table_config": {"name": "main.logs.chat", "sampling_fraction": 0.5}},
    )

    applied = bench.apply(wanted)

    assert applied.converged
    assert [line.rsplit("/", 1)[-1] for line in bench.wire.writes][-2:] == ["config", "telemetry-config"]


def _lose_the_answer(times: int, method: str) -> Callable[[Request, Response], Response]:
    left = [times]

    def after(request: Request, response: Response) -> Response:
        if request.method == method and left[0]:
            left[0] -= 1
            raise ConnectionBroke("reset by peer")
        return response

    return after


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_lost_answer_is_settled_by_reading(bench: Bench, method: str) -> None:
    if method != "POST":
        bench.apply(_full())
    bench.wire.requests.clear()
    wanted = _full(version="2") if method == "PUT" else _full()
    if method == "PATCH":
        wanted = endpoint(config=custom(), tags={"team": "other"})
    bench.wire.after = _lose_the_answer(1, method)

    applied = bench.apply(wanted)

    assert applied.converged
    sent = [line for line in bench.wire.writes if line.startswith(method) and "permissions" not in line]
    assert len(sent) == 1, "never repeated blindly"
    assert any("answer was lost" in r.outcome for r in applied.outcomes[0].results)


def test_a_lost_delete_is_settled_by_reading(bench: Bench) -> None:
    bench.apply(endpoint())
    bench.wire.after = _lose_the_answer(1, "DELETE")

    applied = bench.apply(endpoint(), destroy=True)

    assert applied.converged
    assert bench.wire.writes.count(f"DELETE {BASE}/chat") == 1


def test_a_request_that_never_arrived_is_made_again_after_reading(bench: Bench) -> None:
    bench.apply(endpoint())
    left = [1]

    def lost(request: Request) -> Response | None:
        if request.method == "PUT" and left[0]:
            left[0] -= 1
            raise ConnectionBroke("reset by peer")
        return None

    bench.wire.before = lost

    applied = bench.apply(endpoint(config=custom("2")))

    assert applied.converged
    assert bench.wire.writes.count(f"PUT {BASE}/chat/config") == 2


def test_a_field_that_does_not_stick_is_told(bench: Bench) -> None:
    def forgets(request: Request, response: Response) -> Response:
        if request.method == "GET" and request.path.endswith("/chat") and isinstance(response.body, bytes):
            content = json.loads(response.body)
            content["tags"] = []
            return Response(response.status, response.headers, json.dumps(content).encode())
        return response

    bench.apply(endpoint())
    bench.wire.after = forgets

    applied = bench.apply(endpoint(tags={"a": "b"}))

    assert not applied.converged
    assert applied.remaining is not None
    assert [str(c.path) for c in applied.remaining.steps[0].changes] == ["tags.a"]


def test_an_error_of_the_server_is_the_outcome(bench: Bench) -> None:
    bench.apply(endpoint("a"), endpoint("b"))

    def forbidden(request: Request) -> Response | None:
        if request.method == "PATCH" and "/a/" in request.path:
            body = json.dumps({"error_code": "PERMISSION_DENIED", "message": "no, not you"}).encode()
            return Response(403, {"content-type": "application/json"}, body)
        return None

    bench.wire.before = forbidden

    applied = bench.apply(endpoint("a", tags={"k": "v"}), endpoint("b", tags={"k": "v"}))

    assert [o.status for o in applied.outcomes] == [StepStatus.FAILED, StepStatus.DONE]
    assert "no, not you" in applied.outcomes[0].error
    assert applied.outcomes[0].results[0].outcome == "failed"


def test_stopping_finishes_calls_in_flight_and_begins_no_more(bench: Bench) -> None:
    stop = threading.Event()
    bench.clock.on_sleep = stop.set
    resource = _full()
    plan = bench.plan(resource)

    applied = apply(
        plan,
        bench.client,
        [resource],
        taken_at=lambda: "2026-01-01T00:00:00Z",
        stop=stop,
        clock=bench.clock,
    )

    assert applied.outcomes[0].status is StepStatus.NOT_BEGUN
    assert [c.section for c in applied.outcomes[0].not_begun] == ["permissions"]
    bench.clock.on_sleep = lambda: None
    bench.settle()
    assert bench.apply(resource).converged, "the next run converges"


def test_many_endpoints_wait_together(bench: Bench) -> None:
    """Waiting occupies no worker: 30 endpoints with 2 workers take one build's time, not fifteen."""
    began = bench.clock.time

    applied = bench.apply(*(endpoint(f"e{i}") for i in range(30)), parallelism=2)

    assert applied.converged
    assert bench.clock.time - began < 3 * 60


def test_reading_and_planning_side_by_side_gives_the_same_plan(bench: Bench) -> None:
    bench.apply(_full("a"), endpoint("b"), endpoint("c", tags={"k": "v"}))
    wanted = [endpoint("new"), _full("a", version="2"), endpoint("c", tags={"k": "w"}), endpoint("b")]

    snapshot, plan = read_and_plan(
        bench.client, wanted, PlanOptions(stack="s", resend=True), target="t", taken_at="2026-01-01T00:00:00Z"
    )

    assert plan == make_plan(wanted, snapshot, PlanOptions(stack="s", resend=True))
    assert [step.action.value for step in plan.steps] == ["create", "update", "update", "no_op"]


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("tags", {"team": "b"}),
        ("config", custom("2")),
        ("permissions", [{"group_name": "users", "permission_level": "CAN_QUERY"}]),
    ],
)
def test_what_goes_away_before_the_write_is_said_to_be_gone(bench: Bench, section: str, value: Any) -> None:
    before = {"config": custom(), "tags": {"team": "a"}}
    bench.apply(endpoint(**before))

    def delete(request: Request) -> Response | None:
        if request.method != "GET":
            bench.by_hand.delete_endpoint("chat")
        return None

    bench.wire.before = delete
    outcome = bench.apply(endpoint(**{**before, section: value})).outcomes[0]
    assert outcome.status is StepStatus.FAILED
    assert outcome.error.startswith("it was deleted, or made anew, since it was read\nwhy: ")
    assert outcome.error.endswith("next: plan again")


@pytest.mark.parametrize("section", ["config", "tags", "permissions", "ai_gateway"])
def test_reads_that_lag_behind_deceive_nobody(bench: Bench, section: str) -> None:
    bench.wire.workspace = Troubled(bench.workspace, ["stale-read=3"])  # type: ignore[assignment]
    assert bench.apply(_full()).converged
    changed = {
        "config": custom("2"),
        "tags": {"team": "y"},
        "permissions": [],
        "ai_gateway": {"usage_tracking_config": {"enabled": False}},
    }
    resource = endpoint(**{**_full().spec, section: changed[section]})
    bench.settle()
    bench.wire.requests.clear()
    assert bench.apply(resource).converged
    assert len(bench.wire.writes) == 1
    bench.settle()
    assert bench.apply(resource, destroy=True).converged
    assert bench.by_hand.list_endpoints() == []


def test_what_never_sticks_is_not_waited_for_long(bench: Bench) -> None:
    bench.apply(endpoint(config=custom("1")))

    def drop(request: Request) -> Response | None:
        body = {"name": "chat"}
        return Response(200, {}, json.dumps(body).encode()) if request.method == "PUT" else None

    bench.wire.before = drop
    began = bench.clock.time
    applied = bench.apply(endpoint(config=custom("2")))
    assert not applied.converged
    assert applied.remaining is not None
    assert [str(change.path) for change in applied.remaining.steps[0].changes] == [
        "config.served_entities[m].entity_version"
    ]
    assert bench.clock.time - began < 30
