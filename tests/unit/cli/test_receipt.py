"""The proof of an apply."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry
from referencing import Resource as Document

from reconciler import schema
from reconciler.cli.main import main
from reconciler.engine.receipt import desired_digest
from reconciler.engine.signing import seal_problem
from reconciler.redact import Redactor
from reconciler.values import Secret
from tests.unit.cli.test_acting import _LOCAL, Write, write
from tests.unit.engine.workbench import custom, endpoint

__all__ = ["write"]


def receipt(*words: str, code: int = 0) -> Any:
    assert main([*words, "--receipt", "r.json", *_LOCAL]) == code
    document = json.loads(Path("r.json").read_text(encoding="utf-8"))
    registry: Registry[Any] = Registry().with_resources(
        (one["$id"], Document.from_contents(one)) for one in (schema.read("plan"), schema.read("receipt"))
    )
    jsonschema.Draft202012Validator(schema.read("receipt"), registry=registry).validate(document)
    assert seal_problem(document) is None
    return document


def test_it_proves_an_apply(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write(2)
    proof = receipt("apply", "-y")
    assert proof["converged"] is True
    assert proof["host"] == "http://local.workspace"
    assert [one["status"] for one in proof["resources"]] == ["done", "done"]
    assert all(one["live"] and one["read_again"] for one in proof["resources"])
    assert sorted(call["outcome"] for call in proof["calls"]) == ["done", "done"]
    assert all(
        proof["began_at"] <= call["at"] <= call["ended"] <= proof["ended_at"] for call in proof["calls"]
    )
    assert proof["second_plan"]["totals"]["write_calls"] == 0
    assert proof["second_plan"]["summary"]["no_op"] == 2
    capsys.readouterr()
    assert main(["history", "show", proof["run"]]) == 0

    again = receipt("apply", "-y")
    assert again["calls"] == []
    assert [one["read_again"] for one in again["resources"]] == [False, False]
    assert [(o["desired"], o["live"]) for o in again["resources"]] == [
        (o["desired"], o["live"]) for o in proof["resources"]
    ], "the same in the proof of a run that had nothing to do"
    assert again["second_plan"]["totals"]["write_calls"] == 0


def test_it_tells_of_a_destroy_and_of_a_plan_file(write: Write) -> None:
    write(1)
    assert main(["plan", "--out", "p.json", *_LOCAL]) == 0
    applied = receipt("apply", "p.json")
    assert applied["plan_file"] == json.loads(Path("p.json").read_text())["digest"]
    gone = receipt("destroy", "-y")
    assert gone["resources"][0]["live"] is None
    assert gone["converged"] is True


def test_a_receipt_that_cannot_be_written_is_told_before_anything_is_done(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(1)
    assert main(["apply", "-y", "--receipt", "no/such/r.json", *_LOCAL]) == 1
    assert main(["get", "e0", *_LOCAL]) == 1
    capsys.readouterr()


def test_digests_are_of_meaning_and_tell_nothing_of_secrets() -> None:
    nobody = Redactor()
    one = endpoint(config=custom(environment_vars={"A": Secret("one", "${env:A}"), "B": "x"}))
    two = endpoint(config=custom(environment_vars={"B": "y", "A": Secret("two", "${env:A}")}))
    three = endpoint(config=custom("2"))
    assert desired_digest(one, nobody) == desired_digest(two, nobody)
    assert desired_digest(one, nobody) != desired_digest(three, nobody)
    pairs = endpoint(tags=[{"key": "a", "value": "1"}])
    assert desired_digest(pairs, nobody) == desired_digest(endpoint(tags={"a": "1"}), nobody)


@pytest.mark.parametrize("where", [".", "nowhere/r.json"])
def test_where_none_can_be_written_nothing_is_done(
    write: Write, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(1)
    assert main(["apply", "-y", "--receipt", where, *_LOCAL]) == 1
    assert "the receipt cannot be written" in capsys.readouterr().err
    assert main(["plan", "--detailed-exitcode", *_LOCAL]) == 2, "nothing was done"


def test_a_link_or_a_pipe_stays_what_it_is(write: Write, tmp_path: Path) -> None:
    """Renamed over, the device of somebody's standard output would be gone."""
    write(1)
    (tmp_path / "real").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "real" / "r.json")
    assert main(["apply", "-y", "--receipt", "link.json", *_LOCAL]) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real" / "r.json").read_text())["converged"] is True

    os.mkfifo(tmp_path / "pipe")
    heard: list[str] = []
    listener = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_text()), daemon=True)
    listener.start()
    assert main(["plan", "--out", "pipe", *_LOCAL]) == 0
    listener.join(timeout=10)
    assert json.loads(heard[0])["plan_file"] == "1.0"
    assert (tmp_path / "pipe").is_fifo()
