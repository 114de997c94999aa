"""Pages to render: of plans and outcomes that matter, and random ones in which every text is hostile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from reconciler.errors import ManifestError, Problem
from reconciler.report.endings import page_of_error, page_of_outcome, page_of_problems
from reconciler.report.page import Change, Item, Level, Page, Purpose, page_of_plan
from reconciler.report.traffic import Share, Split
from reconciler.values import (
    Action,
    Call,
    CallResult,
    FieldChange,
    FieldPath,
    ItemKey,
    Outcome,
    Plan,
    PolicyLevel,
    Source,
    Step,
    StepStatus,
    Violation,
)

from . import plans
from .plans import API, CREATED, DELETED, EVERYTHING, REPLACED, SAME

ROUTES = ("config", "traffic_config", "routes")


def route(name: str, before: int | None, after: int | None) -> FieldChange:
    path = FieldPath((*ROUTES, ItemKey(name), "traffic_percentage"))
    words = f"traffic to {name} {before} → {after}%"
    return FieldChange(path, before, after, words=words, source=Source("manifests/ranker.yaml", 27))


def routed(**shares: int) -> dict[str, Any]:
    routes = [{"served_entity_name": name, "traffic_percentage": share} for name, share in shares.items()]
    return {"config": {"traffic_config": {"routes": routes}}}


SHIFTED = plans.step(
    "ranker",
    Action.UPDATE,
    route("champion", 90, 70),
    route("challenger", 10, 30),
    base=routed(champion=90, challenger=10),
    calls=(Call("update_endpoint_config", {}, "PUT", f"{API}/ranker/config", {}),),
    notice="the old configuration serves until the new one is ready",
)
PLAN = replace(EVERYTHING, steps=(*EVERYTHING.steps, SHIFTED))
PAGE = page_of_plan(PLAN)
DRIFT = page_of_plan(PLAN, purpose=Purpose.DRIFT)
OUTCOMES = (
    Outcome(
        SHIFTED,
        StepStatus.DONE,
        (CallResult(SHIFTED.calls[0], "done", 3.2),),
        seconds=41.0,
        url="https://x/r",
    ),
    Outcome(
        CREATED,
        StepStatus.FAILED,
        (CallResult(CREATED.calls[0], "done", 0.2),),
        error="the build failed: no module named torch\nwhy: it is not in the requirements\nnext: add it",
        log_tail=("Collecting torch", "ERROR: no matching distribution"),
        seconds=4000.0,
    ),
    Outcome(REPLACED, StepStatus.REFUSED, error="it changed since the plan\nnext: plan again"),
    Outcome(DELETED, StepStatus.NOT_BEGUN, not_begun=DELETED.calls),
    Outcome(SAME, StepStatus.UNCHANGED),
)
ENDED = page_of_outcome(PLAN, OUTCOMES, converged=False, remaining=replace(PLAN, steps=(CREATED,)))
CONVERGED = page_of_outcome(Plan("prod", (SHIFTED,)), OUTCOMES[:1], converged=True)
PROBLEMS = (
    Problem(
        "manifests/a.yaml", 3, 5, "spec.tagz", "there is no such field", "did you mean tags?", "unknown-field"
    ),
    Problem("manifests/b.yaml", 0, 0, "", "is empty", rule="not-a-manifest"),
)
WRONG = page_of_problems(PROBLEMS, (replace(PROBLEMS[0], what="is deprecated", rule="deprecated"),))
UNREADABLE = page_of_error(ManifestError(PROBLEMS), purpose=Purpose.PLAN)
NOTHING = page_of_plan(Plan("prod", (SAME,)))
EMPTY = page_of_plan(Plan("prod", ()))
_LINE = Source("manifests/ranker.yaml", 9, 5)
VIOLATIONS = (
    Violation(
        "rate-limits",
        PolicyLevel.DENY,
        "Endpoint/ranker has no rate limit",
        SHIFTED.address,
        _LINE,
        "ai_gateway",
        "add one under ai_gateway.rate_limits",
        Source("reconciler.yaml", 7, 5),
    ),
    Violation(
        "approve-replace", PolicyLevel.REQUIRE_APPROVAL, "a break", REPLACED.address, _LINE, fix="look"
    ),
    Violation(
        "approve-delete",
        PolicyLevel.REQUIRE_APPROVAL,
        "it ends",
        DELETED.address,
        approved_by="ada",
        approved_at="2026-11-24T12:00:00Z",
    ),
    Violation("window", PolicyLevel.WARN, "<b>@all</b> ::error::", None, Source("reconciler.yaml", 9, 5)),
)
JUDGED_PLAN = replace(PLAN, violations=VIOLATIONS)
JUDGED = page_of_plan(JUDGED_PLAN)
JUDGED_END = page_of_outcome(JUDGED_PLAN, OUTCOMES, converged=False)
ALL = (PAGE, DRIFT, ENDED, CONVERGED, WRONG, UNREADABLE, NOTHING, EMPTY, JUDGED, JUDGED_END)

# ---- hostile text ---------------------------------------------------------------------------------------

MARKUP = (
    "<script>alert(1)</script>", "</code>", "</details>", "</summary>", "-->", "<!--", "]]>",
    "<img src=x onerror=a>", "&lt;b&gt;", "`", "```", "````",
    "a\n```\n<b>x</b>", "|", "\\|", "@octocat", "#1", "org/repo#1",
    "[a](http://evil)", "![a](b)",
    "**", "__", "~~", "www.evil.example", "https://evil.example", ":tada:", "\n", "\n\n# head", "::error::x",
    "##[add-mask]x", "::stop-commands::x", "%0A::warning::x", "{{ 7 * 7 }}", "{% raw %}", "\"", "'",
    "\uffff", "%", "日本語", "🙂", "\\](", "](", "javascript:alert(1)", "a" * 300,
)  # fmt: skip
hostile = st.lists(st.one_of(st.sampled_from(MARKUP), st.text(max_size=6)), max_size=4).map("".join)


def hostile_plan(text: str) -> Plan:
    """A plan with this text in every place that manifests or servers fill."""
    address = plans.endpoint(text)
    source = Source(text, 3)
    change = FieldChange(
        FieldPath((text, ItemKey(text))), text, {text: [text]}, words=text, why=text, source=source
    )
    shares = [route(text, 10, 90), route(text + "x", 90, 10)]
    step = Step(
        address,
        Action.REPLACE,
        (change, replace(change, words="", after=text + text), *shares),
        (Call("x", {}, "PUT", f"/{text}", {}),),
        notice=text,
        notes=(text,),
        source=source,
        refusal=f"{text}\nwhy: {text}\nnext: {text}",
    )
    return Plan(
        text, (step, replace(step, action=Action.NO_OP, refusal="", changes=(), calls=())), text, (text,)
    )


def hostile_pages(text: str) -> list[Page]:
    plan = hostile_plan(text)
    outcome = Outcome(
        plan.steps[0],
        StepStatus.FAILED,
        (CallResult(plan.steps[0].calls[0], text, 1.0, text),),
        plan.steps[0].calls,
        text,
        (text, text),
        text,
        2.0,
    )
    problem = Problem(text, 1, 1, text, text, text, text)
    return [
        page_of_plan(plan),
        page_of_plan(plan, purpose=Purpose.DRIFT),
        page_of_outcome(plan, [outcome], converged=False, remaining=plan, unverified=text),
        page_of_problems([problem], [problem]),
    ]


def many(number: int, size: int = 40) -> Page:
    """A page of so many resources, each with changes of so many characters."""
    changes = tuple(
        Change("~", f"words {'é' * size}", f"path.{at}", ("x" * size,), "m.yaml", 3) for at in range(4)
    )
    items = tuple(
        Item(
            f"Endpoint/e{at}",
            "Endpoint",
            "update",
            "~",
            "will be updated in place",
            Level.NOTICE if at else Level.ERROR,
            "m.yaml",
            at + 1,
            changes=changes,
            told=(("callers", "nothing: served without a break"),),
            traffic=(Split("config.routes", (Share("a", 1, 2), Share("b", 2, 1))),),
        )
        for at in range(number)
    )
    return Page(Purpose.PLAN, f"{number} to update", Level.ERROR, items, target="prod", closing=("Done.",))
