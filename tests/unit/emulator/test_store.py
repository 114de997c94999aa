"""One file, several threads and processes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator import Request, Workspace, WriteLimit
from reconciler.errors import ReconcilerError, UsageError
from tests.unit.emulator.conftest import API, AUTHORIZED, Clock, custom, external

WRITER = """
import json, sys
from reconciler.emulator import Request, Workspace
workspace = Workspace(sys.argv[1])
for number in range(int(sys.argv[3])):
    body = json.dumps({"add_tags": [{"key": f"{sys.argv[2]}-{number}"}]}).encode()
    path = "/api/2.0/serving-endpoints/one/tags"
    answer = workspace.handle(Request("PATCH", path, {}, {"authorization": "x"}, body))
    assert answer.status == 200, answer
"""


def test_what_was_stored_is_there_again(tmp_path: Path, clock: Clock) -> None:
    path = str(tmp_path / "w.db")
    first = Workspace(path, clock=clock, provisioning=10)
    before = API(first, clock)
    before.create(config=custom())
    before.ok("PUT", "one/config", custom("4"))
    first.close()

    after = API(Workspace(path, clock=clock), clock)
    assert after.ok("GET", "one")["state"]["config_update"] == "IN_PROGRESS"
    clock.pass_by(10)
    assert after.ok("GET", "one")["config"]["served_entities"][0]["entity_version"] == "4"


def test_two_workspaces_on_one_file_see_each_other(tmp_path: Path, clock: Clock) -> None:
    path = str(tmp_path / "w.db")
    one, other = (API(Workspace(path, clock=clock), clock) for _ in range(2))
    one.create(tags=[{"key": "a"}])
    assert other.ok("GET", "one")["tags"] == [{"key": "a"}]

    other.ok("PATCH", "one/tags", {"delete_tags": ["a"]})
    assert "tags" not in one.ok("GET", "one"), "not from its cache"
    assert "tags" not in one.listed("one")
    other.ok("DELETE", "one")
    assert one.refused("GET", "one")[0] == 404
    other.create()
    assert one.ok("GET", "one") == other.ok("GET", "one"), "a new endpoint has no old version"


def test_processes_lose_no_write_of_each_other(tmp_path: Path) -> None:
    path, each = str(tmp_path / "w.db"), 40
    command = [sys.executable, "-c", WRITER, path]
    workspace = Workspace(path)
    workspace.handle(Request("POST", "/api/2.0/serving-endpoints", {}, AUTHORIZED, b'{"name":"one"}'))

    writers = [subprocess.Popen([*command, label, str(each)]) for label in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]

    response = workspace.handle(Request("GET", "/api/2.0/serving-endpoints/one", {}, AUTHORIZED))
    assert isinstance(response.body, bytes)
    assert len(json.loads(response.body)["tags"]) == 3 * each


def test_processes_may_make_the_file_at_the_same_time(tmp_path: Path) -> None:
    opening = "import sys; from reconciler.emulator import Workspace; Workspace(sys.argv[1])"
    command = [sys.executable, "-c", opening, str(tmp_path / "w.db")]

    openers = [subprocess.Popen(command) for _ in range(4)]
    assert [opener.wait(60) for opener in openers] == [0] * 4


@pytest.mark.parametrize("place", [":memory:", "w.db"])
def test_threads_lose_no_write_of_each_other(tmp_path: Path, place: str) -> None:
    path = place if place == ":memory:" else str(tmp_path / place)
    clock = Clock()
    api = API(Workspace(path, clock=clock, write_limit=WriteLimit(10_000, 300)), clock)
    api.create(config=external(), ai_gateway={"rate_limits": [{"calls": 25, "renewal_period": "minute"}]})
    statuses: list[int] = []
    created: list[int] = []

    def work(label: int) -> None:
        for number in range(10):
            api.ok("PATCH", "one/tags", {"add_tags": [{"key": f"{label}-{number}"}]})
            api.ok("GET", "")
            created.append(api.send("POST", "", {"name": f"e{number}"}).status)
            chat = {"messages": []}
            statuses.append(api.send("POST", "/serving-endpoints/one/invocations", chat).status)

    threads = [threading.Thread(target=work, args=(label,)) for label in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(api.ok("GET", "one")["tags"]) == 40
    assert (statuses.count(200), statuses.count(429)) == (25, 15)
    assert (created.count(200), created.count(409)) == (10, 30)
    assert len(api.workspace.store.write_times(0)) == 81


def test_a_change_that_fails_leaves_nothing_behind(api: API) -> None:
    api.create()

    def change() -> None:
        with api.workspace.changing("one") as record:
            record.sections["description"] = "half done"
            api.workspace.save(record)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    assert api.ok("GET", "one")["description"] == ""
    api.ok("PATCH", "one/tags", {"add_tags": [{"key": "a"}]})


def test_a_file_that_is_none_of_ours(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("no database, but long enough to be taken for one by its length " * 20)
    with pytest.raises(ReconcilerError, match="not a local workspace") as caught:
        Workspace(str(text))
    assert str(text) in str(caught.value)
    with pytest.raises(ReconcilerError, match="cannot be opened"):
        Workspace(str(tmp_path / "no" / "folder" / "w.db"))


def test_a_file_of_another_format(tmp_path: Path) -> None:
    path = str(tmp_path / "w.db")
    Workspace(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(UsageError, match="format 99"):
        Workspace(path)


def test_a_workspace_that_stays_busy_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reconciler.emulator import store

    monkeypatch.setattr(store, "_BUSY_SECONDS", 0.05)
    path, clock = str(tmp_path / "w.db"), Clock()
    api = API(Workspace(path, clock=clock), clock)
    api.create()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    assert api.refused("PATCH", "one/tags", {})[:2] == (503, "TEMPORARILY_UNAVAILABLE")
    api.ok("GET", "one")
    blocker.execute("ROLLBACK")
    api.ok("PATCH", "one/tags", {})
    blocker.close()


def test_get_reads_the_document_once(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    api.create(config=custom())
    loads: list[Any] = []
    load = api.workspace.store.load
    monkeypatch.setattr(api.workspace.store, "load", lambda name: loads.append(name) or load(name))

    for _ in range(5):
        api.ok("GET", "one")
        api.ok("GET", "")
    assert len(loads) <= 2
