"""The configuration file of a real ``mlflow gateway start``: written, taken, refused, put back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.realserver.config_file import Gateway, Shop, until

pytestmark = pytest.mark.realserver

THEIRS = """\
# The gateway of the shop. Ask Ada before you change it.
endpoints:
  # made by hand, and to stay so
  - name: theirs   # never touch
    endpoint_type: llm/v1/chat
    model: {provider: openai, name: gpt-3.5-turbo, config: {openai_api_key: $SHOP_KEY}}
"""
PARTS = """\
apiVersion: reconciler/v1
kind: GatewaySecret
metadata: {name: openai}
spec: {provider: openai, secret_value: {api_key: "${env:SHOP_KEY}"}}
---
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {name: big}
spec: {secret: openai, provider: openai, model_name: gpt-4o}
---
apiVersion: reconciler/v1
kind: GatewayModel
metadata: {name: small}
spec: {secret: openai, provider: openai, model_name: gpt-4o-mini}
"""


def _endpoint(name: str, models: str, more: str = "") -> str:
    return (
        "---\napiVersion: reconciler/v1\nkind: GatewayEndpoint\n"
        f"metadata: {{name: {name}}}\nspec:\n  endpoint_type: llm/v1/chat\n  models: {models}\n{more}"
    )


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    pytest.importorskip("mlflow.gateway.cli", reason="needs mlflow[gateway]")
    pytest.importorskip("psutil")
    folder = tmp_path_factory.mktemp("gateway")
    path = folder / "gateway.yaml"
    path.write_text(THEIRS)
    server = Gateway(path, folder / "log.txt", SHOP_KEY="sk-shop", OTHER_KEY="sk-other")
    yield server
    server.stop()


@pytest.fixture
def shop(gateway: Gateway, tmp_path: Path) -> Iterator[Shop]:
    one = Shop(tmp_path / "shop", gateway, gateway.path)
    yield one
    gateway.path.with_suffix(".new").write_text(THEIRS)
    gateway.path.with_suffix(".new").replace(gateway.path)
    until(lambda: set(gateway.served()) == {"theirs"})


def test_created_drifted_repaired_and_destroyed(gateway: Gateway, shop: Shop) -> None:
    shop.write(
        PARTS
        + _endpoint("chat", "[{model: big, weight: 80}, {model: small, weight: 20}]")
        + _endpoint("fast", "[{model: small}]", "  limit: {calls: 10, renewal_period: minute}\n")
    )
    done = shop.apply()
    assert done["plan"]["totals"]["write_calls"] == 1
    assert gateway.route("chat") == {"chat.big": 80, "chat.small": 20}
    assert gateway.served()["fast"]["limit"] == {"calls": 10, "key": None, "renewal_period": "minute"}
    text = gateway.path.read_text()
    assert text.startswith(THEIRS)
    assert "sk-shop" not in text
    assert shop.run("plan", "--detailed-exitcode").returncode == 0

    # Somebody changes both by hand.
    hand = text.replace("calls: 10", "calls: 99").replace("traffic_percentage: 80", "traffic_percentage: 50")
    hand = hand.replace("traffic_percentage: 20", "traffic_percentage: 50")
    gateway.path.with_suffix(".new").write_text(hand)
    gateway.path.with_suffix(".new").replace(gateway.path)
    until(lambda: gateway.route("chat") == {"chat.big": 50, "chat.small": 50})
    words = shop.run("plan").stdout
    assert "weights 50/50 → 80/20 (big/small)" in words
    assert "limit.calls: 99 → 10" in words

    done = shop.apply()
    assert done["plan"]["totals"]["write_calls"] == 1
    assert gateway.path.read_text() == text
    assert gateway.route("chat") == {"chat.big": 80, "chat.small": 20}

    # From two models to one: the route becomes an endpoint.
    shop.write(PARTS + _endpoint("chat", "[{model: big}]") + _endpoint("fast", "[{model: small}]"))
    shop.apply()
    assert set(gateway.served()) == {"theirs", "chat", "fast"}
    assert gateway.served()["fast"]["limit"]["calls"] == 10  # a section that is left out is not managed
    assert shop.plan()["totals"]["write_calls"] == 0

    assert shop.run("destroy", "-y").returncode == 0
    assert set(gateway.served()) == {"theirs"}
    # The key routes stays, empty: it was made here, and nothing is in it.
    assert gateway.path.read_text() == THEIRS + "routes: []\n"


def test_renamed_in_place_and_a_key_changed(gateway: Gateway, shop: Shop) -> None:
    shop.write(PARTS + _endpoint("old", "[{model: big}, {model: small}]"))
    shop.apply()
    gateway.path.write_text(gateway.path.read_text().replace("- name: old.big", "- name:   old.big"))
    moved = _endpoint("new", "[{model: big}, {model: small}]").replace(
        "spec:", "lifecycle: {moved_from: old}\nspec:"
    )
    shop.write(PARTS + moved)
    assert "renamed old → new" in shop.run("plan").stdout
    shop.apply()
    assert gateway.route("new") == {"new.big": 50, "new.small": 50}
    assert gateway.route("old") == {}

    shop.write(PARTS.replace("SHOP_KEY", "OTHER_KEY") + moved)
    shown = shop.run("plan").stdout
    assert "config.openai_api_key: $SHOP_KEY → $OTHER_KEY" in shown
    assert "it ends if its environment lacks $OTHER_KEY" in " ".join(shown.split())
    done = shop.apply()
    # No answer of the gateway tells its credentials: that is said, not passed over.
    outcome = done["outcomes"][0]["results"][0]["outcome"]
    assert outcome == "done; the gateway answers, and does not tell which credentials it uses"
    assert shop.plan()["totals"]["write_calls"] == 0


def test_what_others_made_is_theirs_until_it_is_adopted(gateway: Gateway, shop: Shop) -> None:
    shop.write(PARTS + _endpoint("theirs", "[{model: big}]"))
    refused = shop.run("apply", "-y")
    assert refused.returncode == 3
    assert "GatewayEndpoint/theirs was not made by this stack" in refused.stdout
    assert gateway.path.read_text() == THEIRS
    assert shop.run("destroy", "-y").returncode == 3

    shop.apply("--adopt")
    assert gateway.served()["theirs"]["model"]["name"] == "gpt-4o"
    text = gateway.path.read_text()
    assert "- name: theirs   # never touch; reconciler.stack: shop" in text
    assert "# made by hand, and to stay so" in text
    assert shop.plan()["totals"]["write_calls"] == 0


def test_what_the_gateway_refuses_is_put_back(gateway: Gateway, shop: Shop) -> None:
    # The gateway knows three models of this provider, and we do not: only it can refuse.
    shop.write(
        PARTS.replace("provider: openai, model_name: gpt-4o}", "provider: ai21labs, model_name: none-such}")
        + _endpoint("chat", "[{model: big}]")
    )
    done = shop.run("apply", "-y", "--wait-timeout", "12s")
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "the gateway did not take the file within 12 s (chat: it does not serve it)" in said
    assert "the old file was put back" in said
    assert "Invalid configuration" in said
    assert gateway.path.read_text() == THEIRS
    assert "Unsupported AI21Labs model" in gateway.log.read_text()
    assert set(gateway.served()) == {"theirs"}


def test_killed_between_the_write_and_the_look(gateway: Gateway, shop: Shop) -> None:
    shop.write(PARTS + _endpoint("chat", "[{model: big}]"))
    running = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "apply", "-y"],
        cwd=shop.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: "reconciler.stack: shop" in gateway.path.read_text())
    os.kill(running.pid, signal.SIGKILL)
    running.wait(20)
    left = gateway.path.with_name(".gateway.yaml.reconciler.tmp")
    left.write_text("half a fi")  # and as if an earlier run had been killed while it wrote

    done = shop.apply()  # it finds the file as declared, and waits until it is served
    assert done["plan"]["totals"]["write_calls"] == 0
    assert "chat" in gateway.served()
    assert not left.exists()
    assert shop.run("plan", "--detailed-exitcode").returncode == 0


def test_a_changed_file_is_refused_and_a_stale_gateway_is_told(gateway: Gateway, shop: Shop) -> None:
    shop.write(PARTS + _endpoint("chat", "[{model: big}]"))
    shop.apply()
    # Valid YAML that the gateway refuses: it goes on serving what it had.
    broken = gateway.path.read_text().replace("gpt-4o\n", "gpt-4o\n      provider: none-such\n")
    gateway.path.with_suffix(".new").write_text(broken)
    gateway.path.with_suffix(".new").replace(gateway.path)
    shown = shop.run("plan").stdout
    assert "provider: none-such → openai" in shown
    assert "the gateway does not serve what its file says" in " ".join(shown.split())
    shop.apply()
    assert gateway.served()["chat"]["model"] == {"name": "gpt-4o", "provider": "openai"}


def test_not_waited_for(gateway: Gateway, shop: Shop) -> None:
    shop.write(PARTS + _endpoint("chat", "[{model: big}]"))
    done = shop.run("apply", "-y", "-o", "json", "--no-wait")
    assert done.returncode == 0, done.stderr
    assert [o["status"] for o in json.loads(done.stdout)["outcomes"]] == ["not_waited"]
    until(lambda: "chat" in gateway.served())


def test_get_and_query_go_on_working(gateway: Gateway, shop: Shop) -> None:
    found = shop.run("get", "-o", "json")
    assert [one["name"] for one in json.loads(found.stdout)] == ["theirs"]
    assert json.loads(shop.run("get", "theirs", "-o", "json").stdout)["model"]["provider"] == "openai"


@pytest.mark.parametrize("is_link", [False, True], ids=["file", "link"])
def test_a_variable_that_the_gateway_lacks_ends_it_and_the_old_file_is_back(
    tmp_path: Path, is_link: bool
) -> None:
    """mlflow 3.17: its workers fail to boot, and it shuts down. Its environment cannot be seen from here."""
    pytest.importorskip("mlflow.gateway.cli", reason="needs mlflow[gateway]")
    real = tmp_path / "real" / "gateway.yaml"
    real.parent.mkdir()
    real.write_text(THEIRS)
    real.chmod(0o640)
    path = real
    if is_link:
        (tmp_path / "etc").mkdir()
        path = tmp_path / "etc" / "gateway.yaml"
        path.symlink_to("../real/gateway.yaml")
    gateway = Gateway(path, tmp_path / "log.txt", SHOP_KEY="sk-shop")
    try:
        shop = Shop(tmp_path / "shop", gateway, path)
        shop.write(PARTS + _endpoint("chat", "[{model: big}]"))
        shop.apply()  # through a link as well: the gateway watches the folder of the link
        assert "chat" in gateway.served()
        assert path.is_symlink() is is_link
        assert real.stat().st_mode & 0o777 == 0o640
        before = real.read_text()

        shop.write(PARTS.replace("SHOP_KEY", "NOBODY_SET_THIS") + _endpoint("chat", "[{model: big}]"))
        done = shop.run("apply", "-y")
        said = " ".join(done.stdout.split())
        assert done.returncode == 1
        assert "the gateway ended when it read the file" in said
        assert "the old file was put back" in said
        assert "start it again with every $NAME in its environment" in said
        assert real.read_text() == before
        assert "'NOBODY_SET_THIS' is not set" in gateway.log.read_text()
    finally:
        gateway.stop()
