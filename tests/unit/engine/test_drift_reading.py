"""Fast checks: which endpoints are read, which are taken from the cache, and what is never claimed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from reconciler.emulator.wire import Request, Response
from reconciler.engine.drift_cache import Cache, digest_of, from_json, to_json
from reconciler.redact import Redactor
from reconciler.values import Action, Resource, Secret
from tests.unit.engine.drift_desk import SALT, Desk, drift_of
from tests.unit.engine.workbench import custom, endpoint

_LIST = "GET serving-endpoints"


def many(count: int, **spec: Any) -> tuple[Resource, ...]:
    return tuple(endpoint(f"e{n}", config=custom("1"), tags={"team": "a"}, **spec) for n in range(count))


def ready(count: int = 3, **spec: Any) -> tuple[Desk, tuple[Resource, ...]]:
    """A workspace as declared, and a first check that filled the cache."""
    desk, desired = Desk(), many(count, **spec)
    assert desk.bench.apply(*desired).converged
    desk.pass_time()
    first = desk.check(*desired)
    assert first.reading.detail == count
    assert first.plan.is_empty
    return desk, desired


def test_unchanged_endpoints_cost_one_request() -> None:
    desk, desired = ready(20)
    for _ in range(2):
        desk.pass_time()
        found = desk.check(*desired)
        assert desk.requests == [_LIST]
        assert (found.reading.detail, found.reading.reused) == (0, 20)
        assert found.plan.is_empty
        assert all(step.compared for step in found.plan.steps)


def test_each_changed_endpoint_costs_one_more() -> None:
    desk, desired = ready(20)
    desk.bench.by_hand.update_endpoint_config("e3", custom("2"))
    desk.bench.by_hand.update_endpoint_tags("e7", {"add_tags": [{"key": "team", "value": "x"}]})
    desk.bench.settle()
    found = desk.check(*desired, max_age=1e9)
    assert sorted(desk.requests) == [_LIST, "GET serving-endpoints/e3", "GET serving-endpoints/e7"]
    assert {s.address.name for s in found.plan.steps if s.action is Action.UPDATE} == {"e3", "e7"}
    again = desk.check(*desired, max_age=1e9)
    assert desk.requests == [_LIST], "drift that lasts is not read again"
    assert drift_of(again) == drift_of(found)


def test_a_timestamp_that_stays_says_nothing_when_the_entry_differs() -> None:
    """Tags and the AI gateway do not move last_updated_timestamp."""
    desk, desired = ready()
    before = {e["name"]: e["last_updated_timestamp"] for e in desk.bench.by_hand.list_endpoints()}
    desk.bench.by_hand.update_endpoint_ai_gateway("e1", {"usage_tracking_config": {"enabled": True}})
    desk.bench.by_hand.update_endpoint_tags("e2", {"delete_tags": ["team"]})
    assert before == {e["name"]: e["last_updated_timestamp"] for e in desk.bench.by_hand.list_endpoints()}
    found = desk.check(*desired)
    assert sorted(desk.requests) == [_LIST, "GET serving-endpoints/e1", "GET serving-endpoints/e2"]
    assert [s.address.name for s in found.plan.steps if s.changes] == ["e2"]


def test_an_endpoint_recreated_by_hand_is_read() -> None:
    desk, desired = ready()
    desk.bench.by_hand.delete_endpoint("e1")
    desk.bench.by_hand.create_endpoint(config={"name": "e1", "config": custom("9")})
    desk.bench.settle()
    found = desk.check(*desired, max_age=1e9)
    assert desk.requests == [_LIST, "GET serving-endpoints/e1"]
    assert found.plan.steps[1].action is Action.UPDATE


def test_another_id_is_another_endpoint_whatever_the_entry_says() -> None:
    """Should a digest ever be the same by mistake: permissions hang on the id."""
    desk, desired = ready()
    held = desk.cache.held[desired[0].address]
    other = replace(held, live=replace(held.live, raw={**held.live.raw, "id": "somebody-else"}))
    desk.cache = replace(desk.cache, held={**desk.cache.held, desired[0].address: other})
    desk.check(*desired)
    assert desk.requests == [_LIST, "GET serving-endpoints/e0"]


def test_a_deleted_endpoint_is_missing_and_leaves_the_cache() -> None:
    desk, desired = ready()
    desk.bench.by_hand.delete_endpoint("e1")
    found = desk.check(*desired)
    assert desk.requests == [_LIST]
    assert [s.action for s in found.plan.steps] == [Action.NO_OP, Action.CREATE, Action.NO_OP]
    assert desired[1].address not in desk.cache.held


def test_a_manifest_that_changes_is_held_against_the_cache() -> None:
    desk, desired = ready()
    changed = endpoint("e1", config=custom("2"), tags={"team": "a"})
    found = desk.check(desired[0], changed, desired[2])
    assert desk.requests == [_LIST]
    assert [str(c.path) for c in found.plan.steps[1].changes] == ["config.served_entities[m].entity_version"]
    assert desk.check(*desired).plan.is_empty
    new = endpoint("other", config=custom("1"))
    assert desk.check(*desired, new).plan.steps[-1].action is Action.CREATE


def test_what_was_not_asked_for_stays_in_the_cache() -> None:
    desk, desired = ready()
    desk.check(desired[0])
    desk.check(*desired)
    assert desk.requests == [_LIST]


def test_what_is_old_is_read_again_and_so_is_what_comes_from_the_future() -> None:
    desk, desired = ready(1)
    desk.pass_time(3600)
    assert desk.check(*desired, max_age=3600).reading.detail == 0
    desk.pass_time(1)
    assert desk.check(*desired, max_age=3600).reading.detail == 1
    assert desk.check(*desired, max_age=3600).reading.detail == 0
    # The clock is put back: how old the cache is cannot be told.
    assert desk.check(*desired, now="1970-01-01T00:00:00Z").reading.detail == 1


def test_a_full_check_reads_all_of_it_and_fills_the_cache() -> None:
    desk, desired = ready()
    assert desk.check(*desired, fast=False).reading.detail == 3
    assert len(desk.requests) == 4
    assert desk.check(*desired).reading.detail == 0


def test_while_an_update_runs_nothing_is_taken_for_granted() -> None:
    desk, desired = ready()
    desk.bench.by_hand.update_endpoint_config("e1", custom("2"))
    for _ in range(2):
        found = desk.check(*desired)
        assert desk.requests == [_LIST, "GET serving-endpoints/e1"]
        assert found.plan.steps[1].notes
    desk.bench.settle()
    assert desk.check(*desired, max_age=1e9).reading.detail == 1
    assert desk.check(*desired, max_age=1e9).reading.detail == 0


def test_a_detail_that_lags_behind_the_list_is_not_kept() -> None:
    desk, desired = ready(1)
    stale = dict(desk.bench.by_hand.get_endpoint("e0"))
    desk.bench.by_hand.update_endpoint_config("e0", custom("2"))
    desk.bench.settle()

    def lagging(request: Request) -> Response | None:
        if request.path.endswith("/e0"):
            return Response(200, {"content-type": "application/json"}, json.dumps(stale).encode())
        return None

    desk.bench.wire.before = lagging
    assert desk.check(*desired, max_age=1e9).plan.is_empty, "all that there is to see"
    desk.bench.wire.before = lambda request: None
    found = desk.check(*desired, max_age=1e9)
    assert desk.requests == [_LIST, "GET serving-endpoints/e0"]
    assert not found.plan.is_empty


def test_a_timestamp_of_whole_seconds_is_young_for_two_of_them() -> None:
    desk, desired = ready(1)
    desk.bench.clock.time = float(int(desk.bench.clock.time)) + 10.0
    desk.bench.by_hand.update_endpoint_config("e0", custom("2"))
    desk.pass_time(100)
    desk.bench.by_hand.list_endpoints()  # settles it
    stamp = next(iter(desk.bench.by_hand.list_endpoints()))["last_updated_timestamp"]
    assert stamp % 1000 == 0, "the emulator's clock stands at a whole second"
    at = f"1970-01-{1 + stamp // 86_400_000:02}T" + _clock(stamp // 1000 % 86_400 + 1)
    desk.check(*desired, now=at)
    assert desired[0].address not in desk.cache.held, "changed within the second of the reading"
    desk.check(*desired, max_age=1e9)
    assert desired[0].address in desk.cache.held


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"


# ---- what LIST is silent about ----------------------------------------------------------------------------

_GRANT = {"group_name": "analysts", "permission_level": "CAN_QUERY"}


def test_silent_sections_are_named_with_the_moment_of_their_reading() -> None:
    desk, desired = ready(
        2, email_notifications={"on_update_failure": ["a@example.com"]}, permissions=[_GRANT]
    )
    read_at = desk.now
    assert desk.check(*desired, fast=False).unseen == ()
    desk.pass_time()
    desk.bench.by_hand.update_endpoint_notifications(
        "e0", {"email_notifications": {"on_update_failure": ["somebody@example.com"]}}
    )
    found = desk.check(*desired)
    assert desk.requests == [_LIST]
    assert [(u.section, [a.name for a in u.addresses], u.since) for u in found.unseen] == [
        ("email_notifications", ["e0", "e1"], read_at),
        ("permissions", ["e0", "e1"], read_at),
    ]
    seen = desk.check(*desired, fast=False)
    assert [str(c.path) for c in seen.plan.steps[0].changes] == ["email_notifications.on_update_failure"]


def test_drift_in_a_silent_section_is_looked_at_before_it_is_told() -> None:
    desk, desired = ready(2, email_notifications={"on_update_failure": ["a@example.com"]})
    desk.bench.by_hand.update_endpoint_notifications(
        "e0", {"email_notifications": {"on_update_failure": ["b@example.com"]}}
    )
    assert not desk.check(*desired, fast=False).plan.is_empty
    assert not desk.check(*desired).plan.is_empty
    assert desk.requests == [_LIST, "GET serving-endpoints/e0"], "it might be repaired: LIST cannot tell"
    desk.bench.by_hand.update_endpoint_notifications(
        "e0", {"email_notifications": {"on_update_failure": ["a@example.com"]}}
    )
    assert desk.check(*desired).plan.is_empty
    assert desk.requests == [_LIST, "GET serving-endpoints/e0"]
    assert desk.check(*desired).plan.is_empty
    assert desk.requests == [_LIST]


def test_permissions_are_read_once_a_manifest_manages_them() -> None:
    desk, _ = ready(1)
    managed = endpoint("e0", config=custom("1"), tags={"team": "a"}, permissions=[_GRANT])
    found = desk.check(managed)
    assert desk.requests[:2] == [_LIST, "GET serving-endpoints/e0"]
    assert desk.requests[2].startswith("GET permissions/serving-endpoints/")
    assert [c.section for c in found.plan.steps[0].changes] == ["permissions"]


def test_permissions_that_were_never_read_are_not_as_declared() -> None:
    """Cleared in the manifest, and unknown in the cache: that looks the same, and is not."""
    desk, desired = ready(1)
    live_id = desk.bench.by_hand.get_endpoint("e0")["id"]
    desk.bench.by_hand.update_endpoint_permissions(live_id, {"access_control_list": [_GRANT]})
    cleared = endpoint("e0", config=custom("1"), tags={"team": "a"}, permissions=[])
    assert [c.section for c in desk.check(cleared).plan.steps[0].changes] == ["permissions"]
    assert desk.check(*desired).plan.is_empty


# ---- the file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d | {"drift_cache": 2},
        lambda d: d | {"target": "another"},
        lambda d: d | {"salt": None},
        lambda d: d | {"salt": ""},
        lambda d: d | {"endpoints": [1]},
        lambda d: d | {"endpoints": {"Endpoint/e0": {"entry": "x", "read_at": "y"}}},
        lambda d: d | {"endpoints": {"Endpoint/e0": d["endpoints"]["Endpoint/e0"] | {"live": {"raw": 1}}}},
        lambda d: d | {"endpoints": {"nothing": d["endpoints"]["Endpoint/e0"]}},
        lambda d: {k: v for k, v in d.items() if k != "seen"},
        lambda d: d | {"seen": {"Endpoint/e0": {}}},
        lambda d: [],
        lambda d: None,
        lambda d: "text",
    ],
)
def test_what_is_broken_or_foreign_is_no_cache(change: Any) -> None:
    desk, _ = ready(1)
    content = change(json.loads(desk.text))
    assert from_json(content, target="t", program="p", now=desk.now) is None


def test_another_version_reads_all_of_it_and_still_knows_since_when() -> None:
    desk, desired = ready(1)
    content = json.loads(desk.text)
    content["seen"] = {"Endpoint/e0": {"clean_at": desk.now, "fields": {}, "id": "x"}}
    read = from_json(content, target="t", program="newer", now=desk.now)
    assert read is not None
    assert not read.held
    assert read.seen[desired[0].address].clean_at == desk.now
    # What is told of the future is not believed.
    past = from_json(content, target="t", program="p", now="1970-01-01T00:00:00Z")
    assert past is not None
    assert past.seen[desired[0].address].clean_at == ""


def test_no_secret_is_in_the_file_and_a_plan_from_it_is_the_same() -> None:
    desk = Desk()
    config = custom("1", environment_vars={"TOKEN": Secret("canary-0123456789", "${env:T}"), "B": "plain"})
    wanted = endpoint("e0", config=config)
    assert desk.bench.apply(wanted).converged
    desk.pass_time()
    desk.check(wanted)
    assert "canary" not in desk.text
    assert "$masked" in desk.text
    assert desk.check(wanted).plan.is_empty
    assert desk.requests == [_LIST]
    rotated = custom("1", environment_vars={"TOKEN": Secret("another-0123456789", "${env:T}"), "B": "plain"})
    found = desk.check(endpoint("e0", config=rotated))
    assert desk.requests == [_LIST]
    assert [str(c.path) for c in found.plan.steps[0].changes] == [
        "config.served_entities[m].environment_vars.TOKEN"
    ]


def test_what_the_redactor_would_change_is_not_kept() -> None:
    desk, desired = ready(1)
    found = desk.check(*desired, fast=False)
    content = to_json(
        Cache(SALT, found.held, {}),
        target="t",
        program="p",
        redactor=Redactor([Secret("main.ml.ranker")]),
    )
    assert content["endpoints"] == {}, "a masked name would be taken for a difference"


def test_the_order_of_an_entry_means_nothing() -> None:
    one = {"name": "e", "tags": [{"key": "a"}, {"key": "b", "value": "1"}], "state": {"ready": "READY"}}
    other = {"state": {"ready": "READY"}, "tags": [{"value": "1", "key": "b"}, {"key": "a"}], "name": "e"}
    assert digest_of(one) == digest_of(other)
    assert digest_of(one) != digest_of({**one, "tags": [{"key": "a"}]})
