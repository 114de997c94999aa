"""Whatever others do to a workspace: a fast check says what a full one says, where it says that it looked."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.values import Resource
from tests.unit.engine.drift_desk import Desk, drift_of
from tests.unit.engine.specs import specs
from tests.unit.engine.workbench import endpoint

_CASES = int(os.environ.get("PROPERTY_CASES", "40"))
_SETTINGS = settings(
    max_examples=_CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_NAMES = ["one", "two", "three"]
_SILENT = ("email_notifications", "permissions")

workspaces = st.dictionaries(st.sampled_from(_NAMES), specs(), min_size=1, max_size=3)
edits = st.lists(
    st.tuples(
        st.sampled_from(_NAMES),
        st.none() | specs(),
        st.sampled_from([0.0, 0.0004, 1.0, 100.0]),
        st.booleans(),
    ),
    max_size=4,
)


def _resource(name: str, spec: dict[str, Any]) -> Resource:
    return endpoint(name, **{"tags": None, **spec})


@_SETTINGS
@given(wanted=workspaces, edits=edits, silent=st.booleans())
def test_fast_and_full_give_the_same_answer(
    wanted: dict[str, dict[str, Any]], edits: list[tuple[str, Any, float, bool]], silent: bool
) -> None:
    """``edits``: endpoint, what somebody makes of it (None: deletes it), seconds until then, and whether its
    update has finished when it is looked at. ``silent``: also sections that LIST is silent about."""
    desk = Desk(provisioning=5.0)
    desired = [_resource(name, spec) for name, spec in wanted.items()]
    assert desk.bench.apply(*desired).converged
    desk.check(*desired, max_age=1e9)
    for name, spec, wait, settles in edits:
        desk.pass_time(wait)
        _edit(desk, name, spec, silent)
        if settles:
            desk.bench.settle()
        before = desk.cache
        fast = desk.check(*desired, max_age=1e9)
        after, desk.cache = desk.cache, before
        full = desk.check(*desired, fast=False)
        desk.cache = after
        unseen = {(str(a), one.section) for one in fast.unseen for a in one.addresses}
        assert _seen(drift_of(fast), unseen) == _seen(drift_of(full), unseen)


def _edit(desk: Desk, name: str, spec: dict[str, Any] | None, silent: bool) -> None:
    there = {e["name"]: e for e in desk.bench.by_hand.list_endpoints()}
    if spec is None:
        if name in there:
            desk.bench.by_hand.delete_endpoint(name)
        return
    if not silent:
        spec = {section: value for section, value in spec.items() if section not in _SILENT}
    desk.bench.apply(_resource(name, spec), wait=False)


def _seen(plan: dict[str, Any], unseen: set[tuple[str, str]]) -> Any:
    """The plan without what the fast check said it had not looked at, and silent sections that no manifest
    manages: whether there is anything in them is nobody's business."""
    told = []
    for step in plan["steps"]:
        hidden = {section for address, section in unseen if address == step["address"]}
        changes = [c for c in step["changes"] if c["path"].split(".")[0].split("[")[0] not in hidden]
        skipped = [s for s in step["skipped"] if s["path"].split(".")[0].split("[")[0] not in _SILENT]
        kept = {"address": step["address"], "changes": changes, "skipped": skipped, "notes": step["notes"]}
        told.append(kept if hidden else {**kept, "action": step["action"], "compared": step["compared"]})
    return told
