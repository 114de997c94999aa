"""Files that the program wrote and reads again, spoilt: plan files and the journal.

The real ones come from a small project's life: made, planned again, changed, taken back, destroyed.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
import tempfile
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from reconciler.cli import history, plan_files
from reconciler.cli.acting import Judged
from reconciler.cli.options import Format
from reconciler.cli.reports import ReportFormat
from reconciler.engine.journal import Journal, read_run
from reconciler.engine.options import PlanOptions
from reconciler.engine.plan_file import masked_snapshot, stale
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.recent import recent_writes
from reconciler.engine.rollback import skeletons, undo
from reconciler.engine.safety import DEFAULTS, counts, failures, refusals, replacements
from reconciler.engine.signing import sealed
from reconciler.engine.snapshot import read_snapshot, snapshot_from_json, snapshot_to_json
from reconciler.errors import ReconcilerError
from reconciler.manifest import load
from reconciler.redact import Redactor
from reconciler.report.json import plan_json
from reconciler.values import Plan, Resource, Secret, Snapshot
from tests.fuzz.ends import CANARY, Target, harmless, shown, told
from tests.fuzz.mutations import ODD, spoilt, spoilt_bytes
from tests.unit.engine.gateway import Gateway, resource

__all__ = ["FILES"]

_CHAT = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: chat}
spec:
  config:
    served_entities:
      - name: m
        external_model:
          provider: openai
          name: gpt-4o
          task: llm/v1/chat
          openai_config: {openai_api_key_plaintext: "${env:OPENAI_API_KEY}"}
  tags: {team: a}
  permissions: [{group_name: users, permission_level: CAN_QUERY}]
"""
_RANKER = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: ranker}
spec:
  config:
    served_entities:
      - name: a
        entity_name: main.ml.ranker
        entity_version: "1"
        environment_vars: {TOKEN: "${env:OPENAI_API_KEY}"}
      - {name: b, entity_name: main.ml.ranker, entity_version: "2"}
    traffic_config:
      routes:
        - {served_entity_name: a, traffic_percentage: 80}
        - {served_entity_name: b, traffic_percentage: 20}
"""


@functools.cache
def _life() -> tuple[list[bytes], list[bytes], tuple[Resource, ...]]:
    """Plan files and runs as the program wrote them, and what the manifests came to in the end."""
    plans = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chat, ranker = folder / "chat.yaml", folder / "ranker.yaml"
        chat.write_text(_CHAT)
        ranker.write_text(_RANKER)

        def run(*words: str) -> None:
            done = subprocess.run(
                [sys.executable, "-m", "reconciler", *words],
                cwd=folder,
                env={**os.environ, "OPENAI_API_KEY": CANARY, "HOME": name, "XDG_STATE_HOME": name},
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr

        target = ("chat.yaml", "ranker.yaml", "--target", "local:w.db?provisioning=0s")

        def plan() -> None:
            run("plan", *target, "--out", "plan.json")
            plans.append((folder / "plan.json").read_bytes())

        plan()
        run("apply", "-y", *target)
        plan()
        chat.write_text(_CHAT.replace("team: a", "team: b").replace("gpt-4o", "gpt-4o-mini"))
        ranker.write_text(_RANKER.replace("80", "70").replace("20", "30"))
        plan()
        run("apply", "plan.json")
        run("rollback", "-y")
        run("destroy", "-y", *target)
        runs = [file.read_bytes() for file in sorted((folder / ".reconciler" / "runs").iterdir())]
        loaded = load([chat, ranker], environ={"OPENAI_API_KEY": CANARY}, root=folder)
    return plans, runs, loaded.resources


@functools.cache
def _gateway_life() -> tuple[list[bytes], tuple[Resource, ...], Snapshot]:
    """Runs on a gateway: changed, and destroyed; what was declared, and what is live."""
    gateway = Gateway()
    gateway.secret("openai", auth_config={"api_base": "https://a.test"})
    gateway.model("big", "s-openai")
    gateway.endpoint("chat", "d-big")
    gateway.budget("ENDPOINT", "e-chat")
    gateway.endpoints[0]["tags"].append({"key": "team", "value": "a"})
    value = {"api_key": Secret(CANARY, "${env:KEY}")}
    declared = (
        resource("GatewaySecret/openai", {"provider": "openai", "secret_value": value, "auth_config": None}),
        resource("GatewayModel/big", {"secret": "openai", "provider": "openai", "model_name": "gpt-5"}),
        resource(
            "GatewayEndpoint/chat", {"models": [{"model": "big", "weight": 0.5}], "tags": {"team": "b"}}
        ),
    )
    live = read_snapshot(gateway, declared, target="t", taken_at="now", deleting=True)
    records = []
    options = PlanOptions(stack="shop", adopt=True)
    with tempfile.TemporaryDirectory() as folder:
        for plan in (make_plan(declared, live, options), plan_destroy(declared, live, options)):
            path = Path(folder) / f"{len(records)}.jsonl"
            header = {"plan": plan_json(plan), "before": snapshot_to_json(live, salt="s")}
            with Journal(path, header, Redactor.of(value)) as journal:
                for step in plan.steps:
                    for call in step.calls:
                        journal.outcome(journal.intent(step.address, call), None, {})
            records.append(path.read_bytes())
    return records, declared, live


def _redactor() -> Redactor:
    return Redactor.of([resource.spec for resource in _life()[2]])


# -- plan files -------------------------------------------------------------------------------------------


@st.composite
def _plan_files(draw: st.DrawFn) -> Any:
    """A plan file with changes in its text, or in its JSON; these with a fitting digest or without."""
    if draw(st.integers(0, 3)) == 0:
        return {"text": draw(spoilt_bytes(_life()[0])).decode("latin-1")}
    content = (
        draw(spoilt([json.loads(text) for text in _life()[0]])) if draw(st.integers(0, 19)) else draw(ODD)
    )
    return {"content": content, "sealed": draw(st.booleans()), "key": draw(st.sampled_from(["", "a key"]))}


def _check_plan_file(given: Any) -> None:
    """As show, plan --rebase and apply take a file: shown in every form, held against today, judged."""
    content = given.get("content")
    if isinstance(content, dict) and given["sealed"]:
        content = sealed(content, given["key"])
    text = given["text"].encode("latin-1") if "text" in given else json.dumps(content).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "plan.json")
        Path(path).write_bytes(text)
        plan_files.is_plan_file([path])
        for form in ReportFormat:
            try:
                with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
                    plan_files.show(path, output=form, verbose=True)
                if form is ReportFormat.TEXT:
                    harmless(out.getvalue())
            except ReconcilerError as error:
                told(error)
        try:
            _judge(plan_files.opened(path))
        except ReconcilerError as error:
            told(error)


def _judge(found: plan_files.Opened) -> None:
    file, desired = found.file, _life()[2]
    if found.problem is not None:
        told(found.problem)
    for live in (Snapshot(file.target, "now", {}), file.ground):

        def again(snapshot: Snapshot) -> Plan:
            return make_plan(desired, snapshot, replace(file.options, stack=file.stack))

        read: Any = types.SimpleNamespace(resources=desired)
        moved = plan_files.moved_since(file, read, live, again, _redactor())
        told(stale(file, moved, found.path))
        harmless(plan_files.since_text(file, moved))
        judged: Judged = plan_files._without(again(live), moved, file)
        shown(judged.plan)
        for outcome in judged.refused:
            assert outcome.error
        counts(judged.plan)
        for refused in (refusals(judged.plan, DEFAULTS), failures(judged.plan), replacements(judged.plan)):
            if refused is not None:
                told(refused)


# -- the journal ------------------------------------------------------------------------------------------


@st.composite
def _journals(draw: st.DrawFn) -> Any:
    """A run's record with changes in its text, or in the JSON of its lines; or cut off somewhere."""
    if draw(st.booleans()):
        text = draw(spoilt_bytes([*_life()[1], *_gateway_life()[0]]))
        return (
            text[: draw(st.integers(0, len(text)))].decode("latin-1")
            if draw(st.booleans())
            else text.decode("latin-1")
        )
    runs = [*_life()[1], *_gateway_life()[0]]
    lines = draw(spoilt([[json.loads(line) for line in text.splitlines()] for text in runs]))
    return "\n".join(json.dumps(line) for line in lines) if isinstance(lines, list) else json.dumps(lines)


def _check_journal(given: str) -> None:
    """As history, history show, rollback and the write budget read a run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "20260101T000000.000Z-abcd.jsonl"
        path.write_bytes(given.encode("latin-1", "replace"))
        recent_writes(Path(folder), "", 1e12)
        for form in Format:
            for command in (
                lambda form=form: history.history(_NO_COMMAND, journal=folder, output=form),
                lambda form=form: history.show(path.stem, journal=folder, output=form),
            ):
                try:
                    with contextlib.redirect_stdout(io.StringIO()) as out:
                        command()
                    harmless(out.getvalue())
                except ReconcilerError as error:
                    told(error)
        try:
            _undo(path)
        except ReconcilerError as error:
            told(error)


_NO_COMMAND: Any = types.SimpleNamespace(invoked_subcommand=None)


def _undo(path: Path) -> None:
    run = read_run(path)
    manifests = {one.address: one for one in (*_life()[2], *_gateway_life()[1])}
    for declared in (manifests, {}):
        touched = skeletons(run, declared)
        for live in _lives():
            undone = undo(run, touched, live, masked_snapshot(live, "s"), declared, str(path))
            back = make_plan(undone.restored, live)
            away = plan_destroy(undone.deleted, live)
            shown(replace(back, steps=(*back.steps, *away.steps), notes=undone.notes))


@functools.cache
def _lives() -> tuple[Snapshot, ...]:
    """Live sides that a run may meet: nothing, and what the plan files saw."""
    grounds = [json.loads(text)["ground"] for text in _life()[0]]
    return (
        Snapshot("t", "now", {}),
        _gateway_life()[2],
        *(snapshot_from_json(ground, where="") for ground in grounds),
    )


FILES = (
    Target("planfiles", _plan_files, _check_plan_file),
    Target("journals", _journals, _check_journal),
)
