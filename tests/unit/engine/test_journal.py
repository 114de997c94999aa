"""The record of a run: on disk before and after each call, readable however it ended, no secret in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator.wire import Request, Response
from reconciler.engine import journal as room
from reconciler.engine.journal import Journal, JournalError, find_run, new_run, read_run, runs
from reconciler.engine.recent import recent_writes
from reconciler.errors import AnswerLost, UsageError
from reconciler.redact import Redactor
from reconciler.values import Address, Call, Secret, StepStatus
from tests.unit.engine.workbench import Bench, custom, endpoint

_CHAT = Address("Endpoint", "chat")
_CALL = Call("update_endpoint_tags", {}, "PATCH", "/api/2.0/serving-endpoints/chat/tags", {"a": 1}, "tags")
_HEADER = {"host": "https://w", "target": "databricks", "command": "apply"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs" / f"{new_run()}.jsonl"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_an_intent_is_on_disk_before_the_call_and_the_outcome_after(file: Path) -> None:
    bench = Bench()
    seen: list[list[str]] = []

    def before(request: Request) -> Response | None:
        if request.method != "GET":
            seen.append([entry["record"] for entry in lines(file)])
        return None

    bench.wire.before = before
    with Journal(file, _HEADER, Redactor()) as journal:
        applied = bench.apply(
            endpoint(permissions=[{"group_name": "g", "permission_level": "CAN_QUERY"}], config=custom()),
            recorder=journal,
        )
        journal.end(applied.outcomes, converged=applied.converged)
    assert seen == [["run", "intent"], ["run", "intent", "outcome", "intent"]]
    run = read_run(file)
    assert [(c.method, c.outcome) for c in run.calls] == [("POST", "done"), ("PATCH", "done")]
    assert run.calls[0].id
    assert run.steps == {_CHAT: ("done", "")}
    assert run.ending == "converged"
    assert not run.is_torn


def test_every_record_is_synced(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (synced.append(number), sync(number)))
    with Journal(file, _HEADER, Redactor()) as journal:
        journal.outcome(journal.intent(_CHAT, _CALL), None, {})
    assert len(synced) == 4, "the folder, the header, the intent, the outcome"


def test_a_torn_last_line_loses_nothing_else(file: Path) -> None:
    with Journal(file, _HEADER, Redactor()) as journal:
        journal.outcome(journal.intent(_CHAT, _CALL), None, {})
        journal.intent(_CHAT, _CALL)
    whole = file.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(last, len(whole) - 1):
        file.write_bytes(whole[:cut])
        run = read_run(file)
        assert [c.outcome for c in run.calls] == ["done"]
        assert run.is_torn is (cut > last)
    file.write_bytes(whole)
    run = read_run(file)
    assert [c.is_in_doubt for c in run.calls] == [False, True]
    assert run.ending == "cut short"


@pytest.mark.parametrize(
    "content", ["", "no\n", '{"record": "run"}\n', '{"record": "run", "format_version": "9"}\n', "[1]\n"]
)
def test_what_is_no_record(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(UsageError):
        read_run(file)


def test_garbage_between_records_is_passed_over(file: Path) -> None:
    with Journal(file, _HEADER, Redactor()) as journal:
        journal.outcome(journal.intent(_CHAT, _CALL), None, {})
    head, *rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(head + b'\xff\xfe\n{"record": "outcome", "call": 77}\n[]\n' + b"".join(rest))
    run = read_run(file)
    assert [c.outcome for c in run.calls] == ["done"]
    assert run.is_torn


def test_no_secret_in_it(file: Path) -> None:
    bench = Bench()
    key = Secret("canary-in-the-key", "${env:KEY}")
    external = {
        "provider": "openai",
        "name": "m",
        "task": "llm/v1/chat",
        "openai_config": {"openai_api_key_plaintext": key},
    }
    resource = endpoint(config={"served_entities": [{"name": "m", "external_model": external}]})

    def before(request: Request) -> Response | None:
        if request.method == "POST":
            return Response(
                400,
                {"content-type": "application/json"},
                b'{"error_code": "BAD", "message": "not canary-in-the-key"}',
            )
        return None

    bench.wire.before = before
    with Journal(file, _HEADER, Redactor([key])) as journal:
        applied = bench.apply(resource, recorder=journal)
        journal.end(applied.outcomes, converged=False)
    assert applied.outcomes[0].status is StepStatus.FAILED
    text = file.read_text(encoding="utf-8")
    assert "canary" not in text
    assert "${env:KEY}" in text, "the reference is"
    assert file.stat().st_mode & 0o077 == 0, "and nobody else reads it"


def test_what_cannot_be_recorded_is_not_done(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    with Journal(file, _HEADER, Redactor()) as journal:

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(room.os, "write", full)
        applied = bench.apply(endpoint(), recorder=journal)
        monkeypatch.undo()
    assert bench.wire.writes == []
    assert applied.outcomes[0].status is StepStatus.FAILED
    assert "No space left" in applied.outcomes[0].error


def test_an_outcome_that_cannot_be_recorded_stops_the_next_call(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(file, _HEADER, Redactor()) as journal:
        number = journal.intent(_CHAT, _CALL)
        monkeypatch.setattr(
            room.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error"))
        )
        journal.outcome(number, None, {})
        assert "Input/output error" in journal.trouble
        with pytest.raises(JournalError):
            journal.intent(_CHAT, _CALL)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UsageError, match="--journal"):
        Journal(tmp_path / "runs" / "x.jsonl", _HEADER, Redactor())


@pytest.mark.parametrize("is_done", [None, True, False])
def test_a_lost_answer_is_in_doubt_until_a_read_settles_it(file: Path, is_done: bool | None) -> None:
    with Journal(file, _HEADER, Redactor()) as journal:
        number = journal.intent(_CHAT, Call("x", {}, "POST", "/x"))
        journal.outcome(number, AnswerLost("the connection broke"), None)
        assert journal.calls[0].is_in_doubt
        if is_done is not None:
            journal.settled(number, is_done, "id-1" if is_done else "")
    run = read_run(file)
    assert run.calls == journal.calls
    (call,) = run.calls
    assert call.outcome == {None: "", True: "done", False: "failed"}[is_done]
    assert ("the connection broke" in call.error) is (is_done is not True)
    assert (call in run.acted) is (is_done is not False), "what may have been done is to be undone"
    assert call.id == ("id-1" if is_done else "")


def test_runs_sort_by_time_and_are_found_by_their_beginning(tmp_path: Path) -> None:
    for run in ("20260101T000000Z-aa", "20260101T000001Z-bb", "20260102T000000Z-cc"):
        Journal(tmp_path / f"{run}.jsonl", _HEADER, Redactor()).close()
    assert runs(tmp_path)[0].endswith("aa")
    assert find_run(tmp_path, "20260102") == "20260102T000000Z-cc"
    with pytest.raises(UsageError, match="2 runs begin"):
        find_run(tmp_path, "20260101")
    with pytest.raises(UsageError, match="no run"):
        find_run(tmp_path, "1999")


def test_recent_writes_are_those_of_the_workspace_and_the_window(file: Path) -> None:
    with Journal(file, _HEADER, Redactor()) as journal:
        for method in ("POST", "DELETE", "PUT"):
            journal.intent(_CHAT, Call("x", {}, method, "/x"))
    moment = file.stat().st_mtime
    assert len(recent_writes(file.parent, "https://w", 300, clock=lambda: moment + 10)) == 2
    assert all(
        9 < age < 12 for age in recent_writes(file.parent, "https://w", 300, clock=lambda: moment + 10)
    )
    assert recent_writes(file.parent, "https://other", 300, clock=lambda: moment + 10) == []
    assert recent_writes(file.parent, "https://w", 300, clock=lambda: moment + 301) == []
