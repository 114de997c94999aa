"""The planner as data: a spec and a live side in, changes and calls out. One document of cases/*.yaml each.

``spec``, ``lifecycle``, ``live`` (a GET answer; left out: no such endpoint), ``permissions`` (its answer),
``resend``, ``stack``, ``adopt``; then what is
expected: ``action``, ``changes`` (path → [before, after], all of them), ``words``
(path → text), ``calls`` (all, as "METHOD path" → body, in order), ``skipped`` (path → reason; at least
these), ``notes``, ``forced_by`` (paths), ``compared``, ``refusal`` (parts of it; left out: none),
``protected``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan
from reconciler.values import Address, Lifecycle, Live, Resource, Secret, Snapshot, Source, Step

_FILES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
_STATE = {"ready": "READY", "config_update": "NOT_UPDATING"}


def _cases() -> list[Any]:
    found = []
    for file in _FILES:
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            found.append(pytest.param(document, id=f"{file.stem}: {document['case']}"))  # noqa: PERF401
    return found


def _with_secrets(value: Any) -> Any:
    """``!env NAME`` is not for safe YAML: a test writes {$secret: NAME}."""
    if isinstance(value, dict):
        if set(value) == {"$secret"}:
            return Secret("s3cr3t-" + value["$secret"], "${env:" + value["$secret"] + "}")
        return {key: _with_secrets(item) for key, item in value.items()}
    return [_with_secrets(item) for item in value] if isinstance(value, list) else value


def _shown(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list | tuple) else value


def _plan(case: dict[str, Any]) -> tuple[Step, tuple[str, ...]]:
    address = Address("Endpoint", case.get("name", "e"))
    lifecycle = case.get("lifecycle", {})
    resource = Resource(
        address,
        _with_secrets(case["spec"]),
        Source("m.yaml", 1),
        lifecycle=Lifecycle(
            lifecycle.get("prevent_destroy", False), tuple(lifecycle.get("ignore_changes", ()))
        ),
        stack=case.get("stack", ""),
    )
    live = {}
    if "live" in case:
        raw = {"name": address.name, "id": "id-1", "creator": "me@example.com", "state": _STATE}
        live[address] = Live(address, {**raw, **(case["live"] or {})}, case.get("permissions"))
    options = PlanOptions(case.get("stack", ""), case.get("resend", False), case.get("adopt", False))
    plan = make_plan([resource], Snapshot("t", "2026-01-01T00:00:00Z", live), options)
    return plan.steps[0], plan.notes


@pytest.mark.parametrize("case", _cases())
def test_plan_is_as_written(case: dict[str, Any]) -> None:
    step, notes = _plan(case)

    found = {str(c.path): [_shown(c.before), _shown(c.after)] for c in step.changes}
    if "changes" in case:
        assert found == case["changes"]
    assert step.action.value == case["action"], found
    calls = [{f"{call.method} {call.path}": _shown(call.body)} for call in step.calls]
    assert calls == case.get("calls", calls if case["action"] != "no_op" else [])
    for path, words in case.get("words", {}).items():
        assert {str(c.path): c.words for c in step.changes}[path] == words
    skipped = {str(s.path): s.reason.value for s in step.skipped}
    assert case.get("skipped", {}).items() <= skipped.items(), skipped
    assert set(case.get("forced_by", ())) == {str(c.path) for c in step.changes if c.forces_replace}
    for text in case.get("notes", ()):
        assert any(text in note for note in (*step.notes, *notes)), (step.notes, notes)
    if "compared" in case:
        assert step.compared == case["compared"]
    assert all(part in step.refusal for part in case.get("refusal", ())), step.refusal
    assert bool(step.refusal) is ("refusal" in case), step.refusal
    if "protected" in case:
        assert step.protected is case["protected"]
    if "notice" in case:
        assert case["notice"] in step.notice


def test_every_case_file_is_read() -> None:
    assert len(_FILES) >= 4
    assert len({str(p.id) for p in _cases()}) == len(_cases())
