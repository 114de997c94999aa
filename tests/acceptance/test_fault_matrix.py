"""docs/faults.md tells what comes of each fault at each call; and what other hosts get to see of us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from docs.faults import PAGE, faults_table, routes_list, with_table
from reconciler import errors
from reconciler.client.auth import ClientSecret, Credentials, Token
from reconciler.client.databricks import DatabricksDeploymentClient
from reconciler.client.http import HttpSession
from reconciler.emulator.testing import running
from tests.acceptance.fault_matrix import FAULTS, Kept, row, served
from tests.unit.client.wire import CANARY, Clock, Server

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    with served() as kept:
        yield kept


@pytest.mark.parametrize("fault", FAULTS)
def test_every_call_survives_it_or_says_why(kept: Kept, fault: str) -> None:
    assert row(kept, fault) in PAGE.read_text(encoding="utf-8").splitlines(), "run make docs, and review"


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(with_table(page, "faults", faults_table()), "routes", routes_list()) == page
    table = page.partition("| fault | once |")[2]
    assert table.count("\n| `") == len(FAULTS)


# -- credentials stay at home -----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["list", "get", "create", "config", "delete"])
def test_no_call_follows_a_redirect(where: str) -> None:
    other = Server()
    with running(faults=[f"redirect={other.url}/login@{where}"]) as server:
        client = DatabricksDeploymentClient(host=server.url, credentials=Token(CANARY))
        calls = {
            "list": client.list_endpoints,
            "get": lambda: client.get_endpoint("chat"),
            "create": lambda: client.create_endpoint(config={"name": "chat"}),
            "config": lambda: client.update_endpoint_config("chat", {}),
            "delete": lambda: client.delete_endpoint("chat"),
        }
        with pytest.raises(errors.TransportError, match=r"sends the request on to 127\.0\.0\.1") as caught:
            calls[where]()
        assert CANARY not in str(caught.value)
        assert len(server.log) == 1
        assert server.acted == []
    assert other.seen == [], "nothing at all was sent to another host"
    other.close()


@pytest.mark.parametrize("where", ["oauth-server", "token"])
def test_no_token_route_follows_a_redirect(where: str) -> None:
    other = Server()
    with running(faults=[f"redirect={other.url}/token@{where}"]) as server:
        login = ClientSecret(server.url, "the-id", CANARY)
        client = DatabricksDeploymentClient(host=server.url, credentials=login)
        with pytest.raises(errors.AuthError) as caught:
            client.list_endpoints()
        assert CANARY not in str(caught.value)
    assert other.seen == []
    other.close()


@pytest.mark.parametrize(
    "fault", ["html@token#1", "500@token#1", "429:retry-after=1@token#1", "reset-after@token#1"]
)
def test_a_token_route_that_stumbles_is_asked_again(fault: str) -> None:
    clock = Clock()

    def session(base_url: str, *, credentials: Credentials | None) -> HttpSession:
        return HttpSession(base_url, credentials=credentials, sleep=clock.sleep, now=clock.now)

    with running(faults=[fault]) as server:
        login = ClientSecret(server.url, "the-id", CANARY, open_session=session)
        client = DatabricksDeploymentClient(host=server.url, credentials=login)
        assert client.list_endpoints() == []
        assert server.struck


@pytest.mark.parametrize("skew", [0, 86_400, -86_400])
@pytest.mark.parametrize("call", ["list", "create"])
def test_a_date_to_come_back_at_is_that_of_the_servers_clock(skew: int, call: str) -> None:
    clock = Clock()
    faults = [f"429:retry-after=date+20@{call}#1", f"clock-skew={skew}"]
    with running(faults=faults) as server:
        client = DatabricksDeploymentClient(host=server.url, credentials=Token("t"))
        client.http = HttpSession(
            server.url, credentials=Token("t"), sleep=clock.sleep, now=clock.now, chance=lambda: 0.0
        )
        if call == "list":
            assert client.list_endpoints() == []
        else:
            assert client.create_endpoint(config={"name": "one"})["name"] == "one"
    assert clock.waits == [20.0]
