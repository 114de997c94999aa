"""What a page says: verdicts and levels, traffic before and after, and no secret anywhere in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import ProtectedError, UsageError
from reconciler.redact import Redactor
from reconciler.report.endings import page_of_error, page_of_outcome
from reconciler.report.github import github
from reconciler.report.html import html
from reconciler.report.junit import junit
from reconciler.report.markdown import markdown
from reconciler.report.page import Level, Purpose, page_of_plan
from reconciler.report.sarif import sarif
from reconciler.report.traffic import Share, splits
from reconciler.values import Action, FieldChange, FieldPath, ItemKey, Plan, Secret, StepStatus

from . import plans
from .pages import CONVERGED, DRIFT, EMPTY, ENDED, NOTHING, PAGE, PLAN, ROUTES, SHIFTED, WRONG, route, routed
from .plans import CANARY


def test_a_plan_says_what_it_would_do() -> None:
    assert PAGE.headline == "1 to create, 2 to update, 1 to replace, 1 to delete, 1 refused; 7 write calls"
    assert PAGE.level is Level.ERROR
    assert [(item.address, item.what, item.level.name) for item in PAGE.items] == [
        ("Endpoint/chat", "update", "NOTICE"),
        ("Endpoint/new", "create", "NOTICE"),
        ("Endpoint/rank", "refused", "ERROR"),
        ("Endpoint/old", "delete", "WARNING"),
        ("Endpoint/sick", "no_op", "QUIET"),
        ("Endpoint/ranker", "update", "NOTICE"),
    ]
    assert [item.address for item in PAGE.quiet] == ["Endpoint/same"]
    assert [item.address for item in PAGE.items if item.fails] == ["Endpoint/rank"]


def test_in_a_check_of_drift_every_difference_fails() -> None:
    assert DRIFT.headline.startswith("Drift: ")
    acting = [item for item in DRIFT.items if item.what != "no_op"]
    assert all(item.fails and item.level >= Level.WARNING for item in acting)
    assert page_of_plan(Plan("t", (plans.SAME,)), purpose=Purpose.DRIFT).headline == "No drift"


def test_an_outcome_says_how_each_ended_and_what_is_left() -> None:
    assert ENDED.headline == "1 updated, 1 failed, 1 refused, 1 not begun, NOT converged"
    assert [(item.address, item.what, item.fails) for item in ENDED.items] == [
        ("Endpoint/ranker", "update", False),
        ("Endpoint/new", "failed", True),
        ("Endpoint/rank", "refused", True),
        ("Endpoint/old", "not_begun", False),
        ("Endpoint/new", "left", True),
    ]
    failed = ENDED.items[1]
    assert failed.told == (
        ("error", "the build failed: no module named torch"),
        ("why", "it is not in the requirements"),
        ("next", "add it"),
    )
    assert failed.log[-1] == "ERROR: no matching distribution"
    assert CONVERGED.headline == "1 updated, converged"
    assert CONVERGED.level is Level.NOTICE


def test_nothing_to_do() -> None:
    assert (NOTHING.headline, NOTHING.level, NOTHING.items) == ("No changes", Level.QUIET, ())
    assert EMPTY.headline == "No changes"


def test_problems_stand_at_their_places() -> None:
    assert WRONG.headline == "2 problems and 1 warning in 2 files"
    assert {(item.file, item.line, item.column, item.what) for item in WRONG.items} == {
        ("manifests/a.yaml", 3, 5, "unknown-field"),
        ("manifests/a.yaml", 3, 5, "deprecated"),
        ("manifests/b.yaml", 0, 0, "not-a-manifest"),
    }


def test_an_error_is_a_page_with_its_four_parts() -> None:
    error = ProtectedError("it is protected", why="prevent_destroy", fix="lift it")
    page = page_of_error(error, purpose=Purpose.PLAN)
    assert (page.headline, page.items[0].what) == ("Refused", "refused")
    assert page.items[0].told == (("why", "prevent_destroy"), ("next", "lift it"))
    placed = page_of_error(UsageError("no", where="m/a.yaml:7:2"), purpose=Purpose.PLAN)
    assert (placed.items[0].file, placed.items[0].line, placed.items[0].column) == ("m/a.yaml", 7, 2)


# ---- traffic --------------------------------------------------------------------------------------------


def test_a_shift_of_traffic_keeps_what_does_not_change() -> None:
    step = plans.step("e", Action.UPDATE, route("a", 50, 20), base=routed(a=50, b=30, c=20))
    (split,) = splits(step)
    assert split.path == "config.traffic_config.routes"
    assert split.shares == (Share("a", 50, 20), Share("b", 30, 30), Share("c", 20, 20))


def test_routes_that_come_and_go() -> None:
    gone = FieldChange(
        FieldPath((*ROUTES, ItemKey("b"))), {"served_entity_name": "b", "traffic_percentage": 40}, None
    )
    new = FieldChange(
        FieldPath((*ROUTES, ItemKey("c"))), None, {"served_entity_name": "c", "traffic_percentage": 40}
    )
    (split,) = splits(plans.step("e", Action.UPDATE, gone, new, base=routed(a=60, b=40)))
    assert split.shares == (Share("a", 60, 60), Share("b", 40, None), Share("c", None, 40))


@pytest.mark.parametrize("action", [Action.CREATE, Action.DELETE])
def test_what_is_made_or_ended(action: Action) -> None:
    made = FieldChange(FieldPath(("config",)), None, routed(a=60, b=40)["config"])
    changes = (made,) if action is Action.CREATE else ()
    (split,) = splits(plans.step("e", action, *changes, base=routed(a=60, b=40)))
    sides = [(share.before, share.after) for share in split.shares]
    assert sides == ([(None, 60), (None, 40)] if action is Action.CREATE else [(60, None), (40, None)])


def test_no_bars_where_traffic_stays() -> None:
    assert splits(plans.step("e", Action.UPDATE, plans.change("tags.a", "1", "2"), base=routed(a=100))) == ()


# ---- secrets --------------------------------------------------------------------------------------------

_RENDERERS = (markdown, html, junit, sarif, github)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_secret_gets_out_of_any_format(data: st.DataObject) -> None:
    plan = data.draw(plans.plans)
    pages = [page_of_plan(plan), page_of_plan(plan, purpose=Purpose.DRIFT)]
    outcomes = data.draw(plans.outcomes(plan))
    ended = Plan(plan.target, tuple(outcome.step for outcome in outcomes), plan.stack, plan.notes)
    pages.append(page_of_outcome(ended, outcomes, converged=None, unverified=data.draw(plans.nasty)))
    for render in _RENDERERS:
        text = render(pages)
        assert CANARY not in text, render
        assert CANARY[:12] not in text, render


def test_what_the_run_knows_is_taken_out_of_every_place() -> None:
    known = Redactor([Secret("s3cr3t-token", "${env:T}")])
    change = plans.change("tags.s3cr3t-token", "s3cr3t-token", "a s3cr3t-token", 3, words="to s3cr3t-token")
    step = plans.step("s3cr3t-token", Action.UPDATE, change, notice="s3cr3t-token", notes=("s3cr3t-token",))
    page = page_of_plan(Plan("s3cr3t-token", (step,), "s3cr3t-token", ("s3cr3t-token",)), known=known)
    for render in _RENDERERS:
        assert "s3cr3t" not in render(page), render
    assert "***" in markdown(page)


def test_a_short_secret_takes_no_markup_away() -> None:
    known = Redactor([Secret("table", "${env:T}"), Secret("testcase", "${env:T}")])
    page = page_of_plan(PLAN, known=known)
    assert "<table" in html(page)
    assert "<testcase " in junit(page)


def test_every_status_has_a_page() -> None:
    for status in StepStatus:
        page = page_of_outcome(Plan("t", (SHIFTED,)), [plans.Outcome(SHIFTED, status)], converged=None)
        assert len(page.items) + len(page.quiet) == 1
