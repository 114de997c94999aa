"""The language of faults, and what each fault does to the request it strikes and to nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator import Request, Response, Workspace
from reconciler.emulator.faults import FAULTS, Where, parse_fault
from reconciler.emulator.routes import ROUTES
from reconciler.emulator.troubled import Troubled
from reconciler.emulator.wire import Broken
from reconciler.errors import UsageError
from tests.unit.emulator.conftest import API, AUTHORIZED, START, Clock, custom

# -- the language -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "name", "value", "where"),
    [
        ("reset-before", "reset-before", "", Where()),
        ("500@PUT config#2", "STATUS", 500.0, Where(("config",), "PUT", nth=2, count=1)),
        ("reset-after@create*1", "reset-after", "", Where(("create",), count=1)),
        ("429@*%0.2", "STATUS", 429.0, Where(chance=0.2)),
        ("503@**3", "STATUS", 503.0, Where(count=3)),
        ("503@*3", "STATUS", 503.0, Where(count=3)),
        ("503@#2*3%.5", "STATUS", 503.0, Where(nth=2, count=3, chance=0.5)),
        ("refuse", "refuse", 1.0, Where()),
        ("refuse=0.3@PUT", "refuse", 0.3, Where((), "PUT")),
        ("html=502@write", "html", 502.0, Where(("write",))),
        ("timeout=1.5@get[a b/c]", "timeout", 1.5, Where(("get",), endpoint="a b/c")),
        ("clock-skew=-3600", "clock-skew", -3600.0, Where()),
        (
            "redirect=http://127.0.0.1:9/x?y=1@token",
            "redirect",
            "http://127.0.0.1:9/x?y=1",
            Where(("token",)),
        ),
        ("stale-read=5", "stale-read", 5.0, Where(("list", "get", "permissions"))),
        (
            "never-ready@*#1",
            "never-ready",
            "",
            Where(("create", "create-pt", "config", "config-pt"), count=1),
        ),
        ("404@PUT permissions", "STATUS", 404.0, Where(("permissions",), "PUT")),
    ],
)
def test_a_spec_is_understood(spec: str, name: str, value: Any, where: Where) -> None:
    fault = parse_fault(spec)
    assert (fault.name, fault.value, fault.where) == (name, value, where)
    assert not fault.acted


def test_options_are_understood() -> None:
    assert parse_fault("500:acted@create").acted
    busy = parse_fault("429:retry-after=2.5")
    assert (busy.retry_after, busy.as_date) == (2.5, False)
    for spec, seconds in (("429:retry-after=date", 1.0), ("503:retry-after=date+7", 7.0)):
        dated = parse_fault(spec)
        assert (dated.retry_after, dated.as_date) == (seconds, True)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("reset-befor", "did you mean reset-before?"),
        ("600", "there is no fault '600'"),
        ("STATUS", "there is no fault 'STATUS'"),
        ("", "there is no fault ''"),
        ("timeout", "write timeout=SECONDS"),
        ("timeout=soon", "'soon' is not a number of seconds"),
        ("timeout=-1", "'-1' is not a number of seconds"),
        ("html=99", "99 is not a status"),
        ("deleted=1", "deleted takes no value"),
        ("redirect=ftp://x", "'ftp://x' is not an http or https URL"),
        ("500:later", "STATUS takes :acted and :retry-after, not 'later'"),
        ("truncated:acted", "truncated takes no option, not 'acted'"),
        ("429:retry-after=soon", "retry-after takes seconds, date or date+SECONDS, not 'soon'"),
        ("500@", "'' does not say where"),
        ("500@confg", "did you mean config?"),
        ("500@put config", "'put config' does not say where"),
        ("500@create#0", "'create#0' does not say where"),
        ("500@create%2", "a chance is at most 1, not 2"),
        ("update-failed@get", "it is a fault of create, create-pt, config, config-pt only"),
    ],
)
def test_a_spec_that_is_wrong_is_told(spec: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fault(spec)
    assert told in caught.value.why
    assert "FAULT[=VALUE]" in caught.value.fix


def test_every_route_has_a_name_of_its_own_with_its_method() -> None:
    names = [(route.name, route.method) for route in ROUTES]
    assert len(set(names)) == len(names)


# -- what they do -----------------------------------------------------------------------------------------


class Wire:
    """A workspace with faults, and the same without them."""

    def __init__(self, workspace: Workspace, clock: Clock) -> None:
        self.workspace, self.clock = workspace, clock
        self.plain = API(workspace, clock)
        self.troubled = Troubled(workspace, [])

    def has(self, *faults: str, seed: int = 0) -> None:
        self.troubled = Troubled(self.workspace, faults, seed=seed)

    def ask(self, method: str, path: str = "", body: Any = None) -> Response:
        full = path if path.startswith("/") else f"{API.ENDPOINTS}/{path}".rstrip("/")
        content = b"" if body is None else json.dumps(body).encode()
        return self.troubled.handle(Request(method, full, {}, AUTHORIZED, content))

    def names(self) -> list[str]:
        return [entry["name"] for entry in self.plain.ok("GET", "")["endpoints"]]


@pytest.fixture
def wire(workspace: Workspace, clock: Clock) -> Iterator[Wire]:
    return Wire(workspace, clock)


NEW = {"name": "new", "config": custom()}


@pytest.mark.parametrize(
    ("fault", "acts", "status", "broken"),
    [
        ("reset-before", False, None, Broken()),
        ("reset-after", True, 200, Broken()),
        ("refuse=2", False, None, Broken(away=2.0)),
        ("timeout=3", False, None, Broken(silence=3.0)),
        ("timeout=3:acted", True, 200, Broken(silence=3.0)),
        ("429", False, 429, None),
        ("500", False, 500, None),
        ("502", False, 502, None),
        ("503", False, 503, None),
        ("503:acted", True, 503, None),
        ("not-json", True, 200, None),
        ("truncated", True, 200, None),
        ("html", False, 200, None),
        ("html=502", False, 502, None),
        ("html:acted", True, 200, None),
        ("redirect=http://127.0.0.1:9/", False, 307, None),
    ],
)
def test_an_answer_fails(
    wire: Wire, fault: str, acts: bool, status: int | None, broken: Broken | None
) -> None:
    wire.plain.create("other")
    wire.has(f"{fault}@create*1")
    found = wire.ask("POST", "", NEW)
    assert wire.names() == (["other", "new"] if acts else ["other"])
    assert found.broken == broken
    if status is not None:
        assert found.status == status
    assert [struck.path for struck in wire.troubled.struck] == [API.ENDPOINTS]
    after = wire.ask("POST", "", NEW)
    assert after.status == (409 if acts else 200), "it struck once"


def test_an_answer_breaks_off_in_the_middle(wire: Wire) -> None:
    wire.has("reset-during@create")
    found = wire.ask("POST", "", NEW)
    assert wire.names() == ["new"]
    assert found.broken is not None
    assert found.broken.part == len(found.body) // 2  # type: ignore[arg-type]


def test_the_server_leaves_after_its_answer(wire: Wire) -> None:
    wire.has("refuse=2:acted@create")
    found = wire.ask("POST", "", NEW)
    assert wire.names() == ["new"]
    assert found.broken == Broken(part=len(found.body), away=2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["truncated", "not-json", "html"])
def test_what_is_no_json_is_none(wire: Wire, fault: str) -> None:
    wire.has(f"{fault}@create")
    found = wire.ask("POST", "", NEW)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|Extra"):
        json.loads(found.body)  # type: ignore[arg-type]


def test_errors_look_like_the_apis(wire: Wire) -> None:
    wire.has("429:retry-after=2@list")
    found = wire.ask("GET")
    assert json.loads(found.body)["error_code"] == "REQUEST_LIMIT_EXCEEDED"  # type: ignore[arg-type]
    assert found.headers["retry-after"] == "2"


@pytest.mark.parametrize("skew", [0, 3600, -3600])
def test_dates_are_those_of_the_servers_clock(wire: Wire, skew: int) -> None:
    wire.has("429:retry-after=date+30@list", f"clock-skew={skew}")
    found = wire.ask("GET")
    dates = [parsedate_to_datetime(found.headers[name]).timestamp() for name in ("date", "retry-after")]
    assert dates == [START + skew, START + skew + 30]
    assert "date" in wire.ask("GET", "none").headers


def test_a_redirect_says_where_to(wire: Wire) -> None:
    wire.has("redirect=http://127.0.0.1:9/login@get")
    assert wire.ask("GET", "x").headers["location"] == "http://127.0.0.1:9/login"


def test_an_endpoint_is_deleted_just_before(wire: Wire) -> None:
    wire.plain.create("one")
    wire.plain.create("two")
    wire.has("deleted@config")
    assert wire.ask("PUT", "one/config", custom()).status == 404
    assert wire.names() == ["two"]


def test_an_endpoint_is_recreated_just_before(wire: Wire) -> None:
    before = wire.plain.create("one", tags=[{"key": "a", "value": "b"}])
    two = wire.plain.create("two")
    wire.has("recreated@get[one]")
    after = json.loads(wire.ask("GET", "one").body)  # type: ignore[arg-type]
    assert after["id"] != before["id"]
    assert after["creation_timestamp"] >= before["creation_timestamp"]
    assert after["tags"] == before["tags"]
    assert wire.plain.ok("GET", "two") == two


def test_a_meddler_finds_an_endpoint_by_its_id_too(wire: Wire) -> None:
    made = wire.plain.create("one")
    wire.has("deleted@GET permissions")
    path = f"/api/2.0/permissions/serving-endpoints/{made['id']}"
    assert wire.ask("GET", path).status == 404
    assert wire.names() == []


def test_an_update_fails(wire: Wire) -> None:
    wire.plain.create("other", config=custom())
    wire.has("update-failed@create#1")
    wire.ask("POST", "", NEW)
    wire.clock.pass_by(20)
    assert wire.plain.ok("GET", "new")["state"]["config_update"] == "UPDATE_FAILED"
    assert wire.plain.ok("GET", "other")["state"]["config_update"] == "NOT_UPDATING"
    assert wire.ask("PUT", "new/config", custom()).status == 200
    wire.clock.pass_by(20)
    assert wire.plain.ok("GET", "new")["state"]["ready"] == "READY"


def test_an_update_never_ends(wire: Wire) -> None:
    wire.has("never-ready")
    wire.ask("POST", "", NEW)
    wire.clock.pass_by(1e6)
    assert wire.plain.ok("GET", "new")["state"]["config_update"] == "IN_PROGRESS"
    assert wire.ask("DELETE", "new").status == 200


def test_a_refused_update_dooms_nothing(wire: Wire) -> None:
    wire.plain.create("new", config=custom())
    wire.has("update-failed")
    assert wire.ask("POST", "", NEW).status == 409
    wire.clock.pass_by(20)
    assert wire.plain.ok("GET", "new")["state"]["config_update"] == "NOT_UPDATING"


def test_a_read_lags_behind_the_writes(wire: Wire) -> None:
    wire.has("stale-read=5")
    wire.ask("POST", "", {"name": "one"})
    assert wire.ask("GET", "one").status == 404
    assert json.loads(wire.ask("GET").body) == {"endpoints": []}  # type: ignore[arg-type]
    wire.clock.pass_by(3)
    wire.ask("PATCH", "one/tags", {"add_tags": [{"key": "a", "value": "1"}]})
    wire.clock.pass_by(3)
    assert "tags" not in json.loads(wire.ask("GET", "one").body)  # type: ignore[arg-type]
    wire.clock.pass_by(3)
    told = json.loads(wire.ask("GET", "one").body)  # type: ignore[arg-type]
    assert told == wire.plain.ok("GET", "one")
    assert told["tags"] == [{"key": "a", "value": "1"}]


def test_grants_lag_too(wire: Wire) -> None:
    made = wire.plain.create("one")
    path = f"/api/2.0/permissions/serving-endpoints/{made['id']}"
    wire.has("stale-read=5@permissions")
    before = wire.ask("GET", path).body
    grants = [
        {"user_name": wire.workspace.user, "permission_level": "CAN_MANAGE"},
        {"group_name": "users", "permission_level": "CAN_QUERY"},
    ]
    assert wire.ask("PUT", path, {"access_control_list": grants}).status == 200
    assert wire.ask("GET", path).body == before
    wire.clock.pass_by(6)
    assert wire.ask("GET", path).body != before


def test_chance_is_repeated_by_its_seed(wire: Wire) -> None:
    def statuses(seed: int) -> list[int]:
        wire.has("503@list%0.3", seed=seed)
        return [wire.ask("GET").status for _ in range(200)]

    first = statuses(1)
    assert first == statuses(1)
    assert first != statuses(2)
    assert 30 < first.count(503) < 90


def test_a_count_holds_whatever_the_chance(wire: Wire) -> None:
    wire.has("503@list#3*2%0.5")
    struck = [wire.ask("GET").status == 503 for _ in range(50)]
    assert sum(struck) == 2
    assert not any(struck[:2])


@pytest.mark.parametrize(
    ("where", "struck"),
    [
        ("read", {"GET"}),
        ("write", {"POST", "DELETE"}),
        ("*", {"GET", "POST", "DELETE"}),
        ("DELETE", {"DELETE"}),
    ],
)
def test_groups_of_requests(wire: Wire, where: str, struck: set[str]) -> None:
    wire.has(f"503@{where}")
    for method, path in (("GET", ""), ("GET", "x"), ("POST", ""), ("DELETE", "x")):
        wire.ask(method, path, {"name": "x"} if method == "POST" else None)
    assert {each.method for each in wire.troubled.struck} == struck


def test_an_unknown_path_meets_no_fault(wire: Wire) -> None:
    wire.has("503", "deleted")
    assert wire.ask("GET", "/nowhere").status == 404


def test_of_several_answers_the_first_counts(wire: Wire) -> None:
    wire.has("503@list#1", "429@list")
    assert [wire.ask("GET").status for _ in range(2)] == [503, 429]


def test_every_fault_is_tried_above() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [
        name for name in FAULTS if name != "STATUS" and name not in re.findall(r"[a-z]+(?:-[a-z]+)?", source)
    ] == []
