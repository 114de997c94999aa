"""Permissions: keyed by id, inherited ones beside direct ones, in no order."""

from __future__ import annotations

from typing import Any

from tests.unit.emulator.conftest import API

ME = "local-user@example.com"
MINE = {"user_name": ME, "permission_level": "CAN_MANAGE"}


def path(identifier: str) -> str:
    return f"/api/2.0/permissions/serving-endpoints/{identifier}"


def direct(answer: Any) -> dict[tuple[str, str], str]:
    return {
        (kind, entry[kind]): permission["permission_level"]
        for entry in answer["access_control_list"]
        for kind in ("user_name", "group_name", "service_principal_name")
        if kind in entry
        for permission in entry["all_permissions"]
        if not permission["inherited"]
    }


def test_a_new_endpoint_has_its_creator_and_the_inherited_admins(api: API) -> None:
    identifier = api.create()["id"]

    answer = api.ok("GET", path(identifier))

    assert answer["object_id"] == f"/serving-endpoints/{identifier}"
    assert answer["object_type"] == "serving-endpoint"
    assert direct(answer) == {("user_name", ME): "CAN_MANAGE"}
    admins = next(e for e in answer["access_control_list"] if e.get("group_name") == "admins")
    assert admins["all_permissions"] == [
        {
            "permission_level": "CAN_MANAGE",
            "inherited": True,
            "inherited_from_object": ["/serving-endpoints/"],
        }
    ]


def test_patch_adds_and_changes_and_put_replaces(api: API) -> None:
    at = path(api.create()["id"])
    group = {"group_name": "g", "permission_level": "CAN_QUERY"}
    robot = {"service_principal_name": "s", "permission_level": "CAN_VIEW"}

    api.ok("PATCH", at, {"access_control_list": [group]})
    answer = api.ok("PATCH", at, {"access_control_list": [robot, {**group, "permission_level": "CAN_VIEW"}]})
    assert direct(answer) == {
        ("user_name", ME): "CAN_MANAGE",
        ("group_name", "g"): "CAN_VIEW",
        ("service_principal_name", "s"): "CAN_VIEW",
    }
    answer = api.ok("PUT", at, {"access_control_list": [MINE, group]})
    assert direct(answer) == {("user_name", ME): "CAN_MANAGE", ("group_name", "g"): "CAN_QUERY"}
    assert direct(api.ok("GET", at)) == direct(answer)


def test_a_direct_grant_stands_beside_an_inherited_one(api: API) -> None:
    at = path(api.create()["id"])
    grant = {"group_name": "admins", "permission_level": "CAN_QUERY"}

    answer = api.ok("PATCH", at, {"access_control_list": [grant]})

    admins = next(e for e in answer["access_control_list"] if e.get("group_name") == "admins")
    assert sorted(p["permission_level"] for p in admins["all_permissions"]) == ["CAN_MANAGE", "CAN_QUERY"]
    assert direct(answer)["group_name", "admins"] == "CAN_QUERY"


def test_the_caller_cannot_lose_its_own_can_manage(api: API) -> None:
    at = path(api.create()["id"])

    for method, grants in (
        ("PUT", []),
        ("PUT", [{**MINE, "permission_level": "CAN_QUERY"}]),
        ("PATCH", [{**MINE, "permission_level": "CAN_VIEW"}]),
    ):
        status, code, message = api.refused(method, at, {"access_control_list": grants})
        assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
        assert "CAN_MANAGE" in message
    assert direct(api.ok("GET", at)) == {("user_name", ME): "CAN_MANAGE"}


def test_bad_grants(api: API) -> None:
    at = path(api.create()["id"])

    for grant in (
        {"user_name": "u"},
        {"user_name": "u", "permission_level": "CAN_DANCE"},
        {"permission_level": "CAN_VIEW"},
        {"user_name": "u", "group_name": "g", "permission_level": "CAN_VIEW"},
        {"user_name": "", "permission_level": "CAN_VIEW"},
    ):
        assert api.refused("PATCH", at, {"access_control_list": [grant]})[0] == 400
    twice = {"group_name": "g", "permission_level": "CAN_VIEW"}
    assert api.refused("PATCH", at, {"access_control_list": [twice, twice]})[0] == 400


def test_permissions_follow_the_id_and_not_the_name(api: API) -> None:
    before = api.create()["id"]
    api.ok(
        "PATCH", path(before), {"access_control_list": [{"group_name": "g", "permission_level": "CAN_VIEW"}]}
    )
    api.ok("DELETE", "one")
    after = api.create()["id"]

    assert api.refused("GET", path(before))[0] == 404
    assert api.refused("GET", path("one"))[0] == 404
    assert direct(api.ok("GET", path(after))) == {("user_name", ME): "CAN_MANAGE"}


def test_the_order_of_entries_is_not_stable(api: API) -> None:
    grants = [{"group_name": f"g{n}", "permission_level": "CAN_VIEW"} for n in range(6)]
    orders = set()
    for number in range(5):
        at = path(api.create(f"e{number}")["id"])
        answer = api.ok("PATCH", at, {"access_control_list": grants})
        orders.add(tuple(entry.get("group_name", "me") for entry in answer["access_control_list"]))

    assert len(orders) > 1


def test_levels(api: API) -> None:
    levels = api.ok("GET", f"{path(api.create()['id'])}/permissionLevels")["permission_levels"]

    assert {level["permission_level"] for level in levels} == {"CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"}


def test_permissions_change_no_timestamp(api: API) -> None:
    whole = api.create()
    api.clock.pass_by(60)
    api.ok(
        "PATCH",
        path(whole["id"]),
        {"access_control_list": [{"group_name": "g", "permission_level": "CAN_VIEW"}]},
    )

    assert api.ok("GET", "one") == whole
