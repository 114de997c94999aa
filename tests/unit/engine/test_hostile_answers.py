"""Answers that are JSON and no endpoints: an error that names the field, or the right plan all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.emulator.wire import Request, Response
from reconciler.engine.snapshot import read_snapshot, snapshot_from_json, snapshot_to_json
from reconciler.errors import BadAnswer, UsageError
from reconciler.values import Address, Live, Snapshot
from tests.unit.engine.workbench import Bench, custom, endpoint

GRANTS = [{"group_name": "analysts", "permission_level": "CAN_QUERY"}]


def _spoil(bench: Bench, where: str, **fields: Any) -> None:
    """Every answer to a GET of this path has these fields, at the top or below a dotted path."""

    def after(request: Request, response: Response) -> Response:
        if request.method != "GET" or not request.path.partition("2.0/")[2].startswith(where):
            return response
        body = json.loads(response.body)  # type: ignore[arg-type]
        for path, value in fields.items():
            holder = body
            *above, last = path.split("__")
            for part in above:
                holder = holder[int(part) if part.isdigit() else part]
            holder[last] = value
        return Response(200, response.headers, json.dumps(body).encode())

    bench.wire.after = after


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.apply(endpoint(config=custom(), tags={"a": "b"}, permissions=GRANTS))
    return bench


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"state": True}, "state is not an object"),
        ({"state": []}, "state is not an object"),
        ({"config": "x"}, "config is text, not an object"),
        ({"config": [1]}, "config is a list, not an object"),
        ({"config__served_entities": {"a": 1}}, "config.served_entities is an object, not a list"),
        ({"config__served_entities": 7}, "config.served_entities is a number, not a list"),
        ({"config__served_entities": ["m"]}, "config.served_entities[0] is text, not an object"),
        ({"config__served_entities": [None]}, "config.served_entities[0] is null, not an object"),
        ({"config__served_entities__0__state": "x"}, "config.served_entities[0].state is not an object"),
        (
            {"config__served_entities__0__entity_name": {"a": 1}},
            "config.served_entities[0].entity_name is an object, not a single value",
        ),
        ({"config__traffic_config": False}, "config.traffic_config is true or false, not an object"),
        ({"pending_config": "x"}, "pending_config is text, not an object"),
        ({"tags": "x"}, "tags is text, not a list"),
        ({"tags": ["x"]}, "tags[0] is text, not an object"),
        ({"ai_gateway": []}, "ai_gateway is a list, not an object"),
        ({"id": {"a": 1}}, "id is not a single value"),
    ],
)
def test_what_is_no_endpoint_is_refused(bench: Bench, fields: dict[str, Any], told: str) -> None:
    _spoil(bench, "serving-endpoints/chat", **fields)
    with pytest.raises(BadAnswer) as caught:
        bench.plan(endpoint(config=custom()))
    assert caught.value.what == f"the answer is not an endpoint of the API: {told}"
    assert caught.value.path == "Endpoint/chat"


@pytest.mark.parametrize("value", ["", None])
def test_without_an_id_there_are_no_grants_to_read(bench: Bench, value: Any) -> None:
    _spoil(bench, "serving-endpoints/chat", id=value)
    with pytest.raises(BadAnswer, match="not an endpoint of the API: it has no id"):
        bench.plan(endpoint(config=custom(), permissions=GRANTS))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("x", "access_control_list is not a list"),
        ([1], "access_control_list[0] is not an object"),
        ([{"user_name": {}}], "access_control_list[0] names nobody"),
        ([{"all_permissions": {}}], "access_control_list[0].all_permissions is not a list"),
        ([{"all_permissions": [1]}], "all_permissions holds something else than permissions"),
    ],
)
def test_what_are_no_grants_is_refused(bench: Bench, value: Any, told: str) -> None:
    _spoil(bench, "permissions", access_control_list=value)
    with pytest.raises(BadAnswer, match="not an endpoint of the API") as caught:
        bench.plan(endpoint(config=custom(), permissions=GRANTS))
    assert told in caught.value.what


def test_while_an_apply_waits_too(bench: Bench) -> None:
    _spoil(bench, "serving-endpoints/new", config="x", pending_config="x")
    applied = bench.apply(endpoint("new", config=custom()))
    assert not applied.converged
    assert "config is text, not an object" in applied.outcomes[0].error


@pytest.mark.parametrize(
    "fields",
    [
        {"config__served_entities__0__min_provisioned_concurrency": "4"},
        {"config__served_entities__0__entity_version": 1},
        {"config__traffic_config__routes__0__traffic_percentage": "100"},
        {"newer": [[{"deep": [1]}]], "state__newer": {"a": 1}},
        {"ai_gateway": None, "rate_limits": None},
        {"data_plane_info": [], "creator_kind": {"a": 1}},
        {"tags": {"a": "b"}},
    ],
)
def test_what_means_the_same_is_no_difference(bench: Bench, fields: dict[str, Any]) -> None:
    wanted = endpoint(
        config={
            **custom(min_provisioned_concurrency=4, max_provisioned_concurrency=4),
            "traffic_config": {"routes": [{"served_entity_name": "m", "traffic_percentage": 100}]},
        },
        tags={"a": "b"},
    )
    assert bench.apply(wanted).converged
    _spoil(bench, "serving-endpoints/chat", **fields)
    assert bench.plan(wanted).is_empty


@pytest.mark.parametrize(
    "name", [None, 5, "", "a\x1b[2Jb", "\u202egnp", "x" * 100_000, "../chat", "a/b", "é"]
)
def test_other_names_in_the_list_do_no_harm(bench: Bench, name: Any) -> None:
    listed = bench.by_hand.list_endpoints()
    _spoil(bench, "serving-endpoints", endpoints=[*listed, {"name": name}, {}])
    bench.wire.after, spoilt = bench.wire.after, bench.wire.after

    def only_list(request: Request, response: Response) -> Response:
        return spoilt(request, response) if request.path.endswith("serving-endpoints") else response

    bench.wire.after = only_list
    assert bench.plan(endpoint(config=custom(), tags={"a": "b"})).is_empty


# -- snapshot files ---------------------------------------------------------------------------------------


def _saved(**more: Any) -> Any:
    address = Address("Endpoint", "chat")
    live = Live(address, {"name": "chat", "config": custom()})
    return {**snapshot_to_json(Snapshot("t", "now", {address: live}, (address,)), salt="s"), **more}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "x",
        {},
        _saved(resources=[]),
        _saved(resources={"Endpoint/chat": None}),
        _saved(resources={"Endpoint/chat": {"raw": "x", "permissions": None}}),
        _saved(resources={"Endpoint/chat": {"raw": {"config": "x"}, "permissions": None}}),
        _saved(resources={"Endpoint/chat": {"raw": {}, "permissions": [1]}}),
        _saved(resources={"Gadget/chat": {"raw": {}, "permissions": None}}),
        _saved(resources={"chat": {"raw": {}, "permissions": None}}),
        _saved(names=[1]),
        _saved(names=None),
        _saved(format_version=[]),
    ],
)
def test_a_file_that_is_no_snapshot_is_told(content: Any) -> None:
    with pytest.raises(UsageError):
        snapshot_from_json(content, where="snapshot.json")


def test_a_snapshot_is_read_back() -> None:
    assert (
        snapshot_from_json(_saved(), where="f").resources[Address("Endpoint", "chat")].raw["name"] == "chat"
    )


def test_reading_again_is_what_was_read(bench: Bench) -> None:
    resource = endpoint(config=custom(), permissions=GRANTS)
    snapshot = read_snapshot(bench.client, [resource], target="t", taken_at="now")
    again = snapshot_from_json(json.loads(json.dumps(snapshot_to_json(snapshot))), where="f")
    assert set(again.resources) == set(snapshot.resources)
