"""The state machine of a config, by the clock."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.emulator import states
from tests.unit.emulator.conftest import API, Clock, custom, external


def state(answer: Any) -> tuple[str, str]:
    return answer["state"]["ready"], answer["state"]["config_update"]


def deployment(config: Any, position: int = 0) -> str:
    said: str = config["served_entities"][position]["state"]["deployment"]
    return said


def model(name: str, version: str = "1") -> dict[str, Any]:
    return {"served_entities": [{"name": "it", "entity_name": name, "entity_version": version}]}


def test_create(api: API, clock: Clock) -> None:
    answer = api.ok("POST", "", {"name": "one", "config": custom()})
    assert state(answer) == ("NOT_READY", "IN_PROGRESS")
    assert "config" not in answer
    assert deployment(answer["pending_config"]) == "DEPLOYMENT_CREATING"

    clock.pass_by(9.9)
    assert api.ok("GET", "one") == answer
    assert state(api.listed("one")) == ("NOT_READY", "IN_PROGRESS")
    clock.pass_by(0.1)
    live = api.ok("GET", "one")
    assert state(live) == ("READY", "NOT_UPDATING")
    assert "pending_config" not in live
    assert live["config"]["config_version"] == 1
    assert deployment(live["config"]) == "DEPLOYMENT_READY"


def test_list_settles_too(api: API, clock: Clock) -> None:
    api.ok("POST", "", {"name": "one", "config": custom()})
    clock.pass_by(10)

    assert state(api.listed("one")) == ("READY", "NOT_UPDATING")


def test_an_update_leaves_the_old_config_serving(api: API, clock: Clock) -> None:
    api.create(config=custom("3"))

    answer = api.ok("PUT", "one/config", custom("4"))
    assert state(answer) == ("READY", "IN_PROGRESS")
    assert answer["config"]["config_version"] == 1
    assert answer["config"]["served_entities"][0]["entity_version"] == "3"
    assert answer["pending_config"]["config_version"] == 2
    assert answer["pending_config"]["start_time"] == answer["last_updated_timestamp"]
    clock.pass_by(10)
    live = api.ok("GET", "one")
    assert state(live) == ("READY", "NOT_UPDATING")
    assert live["config"]["config_version"] == 2
    assert live["config"]["served_entities"][0]["entity_version"] == "4"
    assert "pending_config" not in live


def test_what_is_refused_while_updating_and_what_is_not(api: API, clock: Clock) -> None:
    api.ok("POST", "", {"name": "one", "config": custom()})

    conflict = (409, "RESOURCE_CONFLICT")
    assert api.refused("PUT", "one/config", custom("4"))[:2] == conflict
    assert api.refused("PATCH", "one/telemetry-config", {})[:2] == conflict
    api.ok("PATCH", "one/tags", {"add_tags": [{"key": "a"}]})
    api.ok("PUT", "one/ai-gateway", {})
    api.ok("PUT", "one/rate-limits", {})
    api.ok("PATCH", "one/notifications", {})
    clock.pass_by(10)
    api.ok("PATCH", "one/telemetry-config", {})
    api.ok("PUT", "one/config", custom("4"))
    api.ok("DELETE", "one")


def test_a_change_of_another_section_does_not_prolong_the_update(api: API, clock: Clock) -> None:
    api.ok("POST", "", {"name": "one", "config": custom()})
    clock.pass_by(9)
    api.ok("PATCH", "one/tags", {"add_tags": [{"key": "a"}]})
    clock.pass_by(1)

    assert state(api.ok("GET", "one")) == ("READY", "NOT_UPDATING")


def test_without_a_config_there_is_nothing_to_wait_for(api: API) -> None:
    answer = api.ok("POST", "", {"name": "one"})

    assert state(answer) == ("NOT_READY", "NOT_UPDATING")
    assert not {"config", "pending_config"} & set(answer)
    api.ok("PUT", "one/config", custom())
    api.clock.pass_by(10)
    assert api.ok("GET", "one")["config"]["config_version"] == 1


@pytest.mark.parametrize(
    "config",
    [model(f"main.ml.{states.FAIL}"), external(f"gpt-{states.FAIL}")],
    ids=["custom", "external"],
)
def test_a_create_that_fails(api: API, clock: Clock, config: Any) -> None:
    answer = api.ok("POST", "", {"name": "one", "config": config})
    assert state(answer) == ("NOT_READY", "IN_PROGRESS")
    clock.pass_by(10)

    failed = api.ok("GET", "one")
    assert state(failed) == state(api.listed("one")) == ("NOT_READY", "UPDATE_FAILED")
    assert "config" not in failed
    entity = failed["pending_config"]["served_entities"][0]
    assert entity["state"]["deployment"] == "DEPLOYMENT_FAILED"
    message = entity["state"]["deployment_state_message"]
    assert message in api.ok("GET", f"one/served-models/{entity['name']}/build-logs")["logs"]


def test_an_update_that_fails_and_is_mended(api: API, clock: Clock) -> None:
    api.create(config=custom("3"))
    api.ok("PUT", "one/config", model(f"m-{states.FAIL}"))
    clock.pass_by(10)

    failed = api.ok("GET", "one")
    assert state(failed) == ("READY", "UPDATE_FAILED")
    assert failed["config"]["served_entities"][0]["entity_version"] == "3"
    assert deployment(failed["pending_config"]) == "DEPLOYMENT_FAILED"
    api.ok("PUT", "one/config", custom("5"))
    clock.pass_by(10)
    mended = api.ok("GET", "one")
    assert state(mended) == ("READY", "NOT_UPDATING")
    assert mended["config"]["served_entities"][0]["entity_version"] == "5"
    assert "pending_config" not in mended


def test_an_update_that_is_canceled(api: API, clock: Clock) -> None:
    api.create(config=custom("3"))
    api.ok("PUT", "one/config", model(f"m-{states.CANCEL}"))
    clock.pass_by(10)

    canceled = api.ok("GET", "one")
    assert state(canceled) == ("READY", "UPDATE_CANCELED")
    assert deployment(canceled["pending_config"]) == "DEPLOYMENT_ABORTED"


def test_an_update_that_never_ends(api: API, clock: Clock) -> None:
    api.ok("POST", "", {"name": "one", "config": model(f"m-{states.STALL}")})
    clock.pass_by(1_000_000)

    assert state(api.ok("GET", "one")) == ("NOT_READY", "IN_PROGRESS")
    assert api.refused("PUT", "one/config", custom())[0] == 409
    api.ok("DELETE", "one")
