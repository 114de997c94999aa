"""Plans to render: one that shows every sign, and random ones with nasty text in every place."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from reconciler.values import (
    Action,
    Address,
    Call,
    CallResult,
    FieldChange,
    FieldPath,
    ItemKey,
    Masked,
    Outcome,
    Plan,
    Reason,
    Secret,
    Skipped,
    Source,
    Step,
    StepStatus,
)

API = "/api/2.0/serving-endpoints"


def endpoint(name: str) -> Address:
    return Address("Endpoint", name)


def change(path: str, before: Any, after: Any, line: int = 0, **more: Any) -> FieldChange:
    source = Source("manifests/chat.yaml", line) if line else None
    return FieldChange(FieldPath.parse(path), before, after, source=source, **more)


def step(name: str, action: Action, *changes: FieldChange, **more: Any) -> Step:
    source = Source(f"manifests/{name}.yaml", 1)
    return Step(endpoint(name), action, changes, **{"source": source, **more})


UPDATED = step(
    "chat",
    Action.UPDATE,
    change(
        "ai_gateway.rate_limits[user].calls",
        100,
        60,
        24,
        words="user limit 100 → 60 calls a minute (−40 %)",
    ),
    change("config.served_entities[main].entity_version", "3", "4", 9, words="model version 3 → 4"),
    change(
        "config.served_entities[main].environment_vars.KEY",
        "old",
        Secret("k-123456", "${env:K}"),
        12,
        sensitive=True,
    ),
    change("tags.team", "search", "chat", 30),
    change("tags.old", "", None),
    change(
        "permissions[group_name=analysts]",
        None,
        {"group_name": "analysts", "permission_level": "CAN_QUERY"},
        33,
    ),
    calls=(
        Call(
            "update_endpoint_config",
            {},
            "PUT",
            f"{API}/chat/config",
            {"served_entities": [{"environment_vars": {"KEY": Secret("k-123456", "${env:K}")}}]},
            section="config",
            waits=True,
        ),
        Call("update_endpoint_ai_gateway", {}, "PUT", f"{API}/chat/ai-gateway", {}, section="ai_gateway"),
    ),
    skipped=(
        Skipped(
            FieldPath(("config", "served_entities", ItemKey("main"), "name")),
            Reason.SERVER_CHOSEN,
            "the server names an entity that has no name",
        ),
        Skipped(FieldPath(("id",)), Reason.COMPUTED),
    ),
    compared=31,
    notice="the old configuration serves until the new one is ready",
    fingerprint="f0",
)
CREATED = step(
    "new",
    Action.CREATE,
    change(
        "config",
        None,
        {
            "served_entities": [
                {
                    "name": "gpt",
                    "external_model": {
                        "provider": "openai",
                        "openai_config": {"openai_api_key": "{{secrets/llm/key}}"},
                    },
                }
            ]
        },
    ),
    change("tags", None, {"team": "chat"}),
    calls=(Call("create_endpoint", {}, "POST", API, {"name": "new"}, waits=True),),
    notice="new endpoint; it answers once it is ready",
)
REPLACED = step(
    "rank",
    Action.REPLACE,
    change(
        "route_optimized", False, True, forces_replace=True, why="an endpoint chooses this when it is created"
    ),
    calls=(
        Call("delete_endpoint", {}, "DELETE", f"{API}/rank"),
        Call("create_endpoint", {}, "POST", API, {"name": "rank"}, waits=True),
    ),
    compared=12,
    notice="the endpoint is gone from the delete until the new one is ready; its id and URL change",
    fingerprint="f1",
    protected=True,
)
DELETED = step(
    "old",
    Action.DELETE,
    calls=(Call("delete_endpoint", {}, "DELETE", f"{API}/old"),),
    notice="the endpoint is gone from the delete on",
    fingerprint="f2",
)
SAME = step(
    "same",
    Action.NO_OP,
    compared=20,
    fingerprint="f3",
    notice="nothing",
    skipped=(Skipped(FieldPath(("config", "x")), Reason.WRITE_ONLY),),
)
FAILED_BEFORE = step(
    "sick", Action.NO_OP, compared=20, fingerprint="f4", notes=("the last update failed: main: no memory",)
)
EVERYTHING = Plan(
    "prod",
    (UPDATED, CREATED, REPLACED, DELETED, SAME, FAILED_BEFORE),
    stack="shop",
    notes=("write-only values cannot be compared; to send them again: --resend-secrets Endpoint/same",),
)

# ---- random plans ---------------------------------------------------------------------------------------

CANARY = "cAnArY-7f/3+e=äöü"
"""In every secret and in every live value of random plans: it must turn up in no output, in no form."""

_PIECES = (
    "\x1b[2J", "\x1b]8;;http://x\x07", "\r", "\n", "\t", "\x00", "\x7f", "\x9b31m", "\u202e", "\u2066",
    "\u200b", "\ufeff", "\ud800", "\U000e0041", "→", "…", "\"", "\\", "'", ": ", " #", "true", "- ", "日本語",
    "e\u0301", "🙂", "{{secrets/a/b}}", "${env:X}", "***", "x" * 300, "a b " * 200,
)  # fmt: skip
nasty = st.lists(st.one_of(st.sampled_from(_PIECES), st.text(max_size=8)), max_size=4).map("".join)
secrets = st.builds(
    Secret, st.sampled_from([CANARY, f"{CANARY}\n{CANARY}", f"Bearer {CANARY}"]), st.just("${env:KEY}")
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), nasty, secrets, st.just(Masked("d", "s"))
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(nasty, inner, max_size=3)),
    max_leaves=8,
)
hidden = st.one_of(st.just(CANARY), st.just({"A": CANARY, "B": [CANARY, {"C": CANARY}]}), values)
paths = st.lists(st.one_of(nasty, st.builds(ItemKey, nasty), st.integers(0, 9)), min_size=1, max_size=4).map(
    FieldPath
)
sources = st.one_of(st.none(), st.builds(Source, nasty, st.integers(1, 10**6)))
more_of_a_change = {
    "words": nasty,
    "forces_replace": st.booleans(),
    "why": st.one_of(nasty, st.just("write_only")),
    "source": sources,
}
changes = st.one_of(
    st.builds(FieldChange, paths, values, values, sensitive=st.just(False), **more_of_a_change),
    st.builds(FieldChange, paths, hidden, hidden, sensitive=st.just(True), **more_of_a_change),
    st.builds(FieldChange, paths, st.just(CANARY), secrets, sensitive=st.just(False), **more_of_a_change),
)
calls = st.builds(
    Call,
    operation=st.sampled_from(["create_endpoint", "delete_endpoint"]),
    arguments=st.dictionaries(nasty, values, max_size=2),
    method=st.sampled_from(["PUT", "POST", "PATCH", "DELETE"]),
    path=nasty,
    body=st.one_of(values, st.just({"served_entities": [{"environment_vars": {"A": CANARY}}]})),
    section=st.sampled_from(["", "config", "tags"]),
)
addresses = st.builds(Address, st.sampled_from(["Endpoint", "Gateway"]), nasty)
endpoints = st.builds(Address, st.just("Endpoint"), nasty)
steps = st.builds(
    Step,
    address=endpoints,
    action=st.sampled_from(Action),
    changes=st.lists(changes, max_size=3).map(tuple),
    calls=st.lists(calls, max_size=2).map(tuple),
    skipped=st.lists(st.builds(Skipped, paths, st.sampled_from(Reason), nasty), max_size=3).map(tuple),
    compared=st.integers(0, 2000),
    notice=nasty,
    notes=st.lists(nasty, max_size=2).map(tuple),
    source=sources,
    fingerprint=st.sampled_from(["", "f"]),
    base=st.just({"config": {"key": CANARY}}),
    protected=st.booleans(),
)
plans = st.builds(
    Plan,
    target=nasty,
    steps=st.lists(steps, max_size=3).map(tuple),
    stack=nasty,
    notes=st.lists(nasty, max_size=2).map(tuple),
)


@st.composite
def outcomes(draw: st.DrawFn, plan: Plan) -> tuple[Outcome, ...]:
    """An outcome for each step; the server's words repeat a secret that the step's calls hold."""
    ended = []
    for one in plan.steps:
        known = Call("update", {}, "PUT", "/x", {"key": Secret(CANARY, "${env:KEY}")})
        one = Step(one.address, one.action, one.changes, (*one.calls, known))
        told = draw(st.one_of(nasty, st.just(f"no: {CANARY}\nnext: look"), st.just(f"no: {CANARY!r}")))
        results = [
            CallResult(c, draw(nasty), draw(st.floats()), draw(st.sampled_from(["", CANARY])))
            for c in one.calls
        ]
        ended.append(
            Outcome(
                one,
                draw(st.sampled_from(StepStatus)),
                tuple(results),
                tuple(one.calls),
                told,
                (draw(nasty), f"log {CANARY}"),
                draw(nasty),
                draw(st.floats()),
            )
        )
    return tuple(ended)
