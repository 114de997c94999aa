"""What people read: whole texts for plans that matter, and no harm from any text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import ManifestError, NotFound, Problem, ReconcilerError
from reconciler.redact import Redactor
from reconciler.report.text import error_text, outcome_text, plan_text, problems_text
from reconciler.values import Action, CallResult, Outcome, Plan, Secret, Source, StepStatus

from . import plans
from .plans import CANARY, CREATED, DELETED, EVERYTHING, REPLACED, SAME, UPDATED

OURS = re.compile(r"\x1b\[(?:[12]|3[1235]|0)m")


def body_of(*changes: Any, width: int = 100, **more: Any) -> str:
    """The lines of the changes of one step."""
    text = plan_text(Plan("t", (plans.step("a", Action.UPDATE, *changes),)), width=width, **more)
    return "\n".join(line for line in text.split("\n\n")[0].split("\n")[1:])


# ---- whole plans ----------------------------------------------------------------------------------------


def test_a_plan_with_everything() -> None:
    assert (
        plan_text(EVERYTHING)
        == """\
~ Endpoint/chat will be updated in place  manifests/chat.yaml:1
    ~ user limit 100 → 60 calls a minute (−40 %)
        ai_gateway.rate_limits[user].calls  line 24
    ~ model version 3 → 4
        config.served_entities[main].entity_version  line 9
    ~ config.served_entities[main].environment_vars.KEY: (sensitive) → ${env:K}   line 12
    ~ tags.team: search → chat   line 30
    - tags.old: ""
    + permissions[group_name=analysts]:   line 33
        group_name: analysts
        permission_level: CAN_QUERY

    callers: the old configuration serves until the new one is ready
    calls:   PUT /api/2.0/serving-endpoints/chat/config
             PUT /api/2.0/serving-endpoints/chat/ai-gateway

+ Endpoint/new will be created  manifests/new.yaml:1
    + config:
        served_entities:
          - name: gpt
            external_model:
              provider: openai
              openai_config: {openai_api_key: {{secrets/llm/key}}}
    + tags: {team: chat}

    callers: new endpoint; it answers once it is ready
    call:    POST /api/2.0/serving-endpoints

± Endpoint/rank must be replaced (delete, then create)  manifests/rank.yaml:1
    ± route_optimized: false → true
        forces replacement: an endpoint chooses this when it is created

    refused: lifecycle.prevent_destroy is set: it may be neither deleted nor replaced
    callers: the endpoint is gone from the delete until the new one is ready; its id and URL change
    calls:   DELETE /api/2.0/serving-endpoints/rank
             POST /api/2.0/serving-endpoints

- Endpoint/old will be deleted  manifests/old.yaml:1
    callers: the endpoint is gone from the delete on
    call:    DELETE /api/2.0/serving-endpoints/old

  Endpoint/sick is as declared  manifests/sick.yaml:1
    note:    the last update failed: main: no memory

note: write-only values cannot be compared; to send them again: --resend-secrets Endpoint/same

2 endpoints are as declared.
Plan: 1 to create, 1 to update, 1 to replace, 1 to delete, 2 unchanged; 6 write calls.
1 step is refused by lifecycle.prevent_destroy: see above.
83 fields compared, 1 server-chosen, 1 write-only.
"""
    )


def test_a_wide_terminal_has_the_path_beside_the_words() -> None:
    text = plan_text(Plan("prod", (UPDATED,)), width=120)
    assert (
        text.split("\n    callers")[0]
        == """\
~ Endpoint/chat will be updated in place  manifests/chat.yaml:1
    ~ user limit 100 → 60 calls a minute (−40 %)   ai_gateway.rate_limits[user].calls  line 24
    ~ model version 3 → 4                          config.served_entities[main].entity_version  line 9
    ~ config.served_entities[main].environment_vars.KEY: (sensitive) → ${env:K}   line 12
    ~ tags.team: search → chat                     line 30
    - tags.old: ""
    + permissions[group_name=analysts]:            line 33
        group_name: analysts
        permission_level: CAN_QUERY
"""
    )


def test_eighty_columns_put_the_path_below_the_words() -> None:
    text = plan_text(Plan("prod", (UPDATED,)), width=80)
    assert (
        text
        == """\
~ Endpoint/chat will be updated in place  manifests/chat.yaml:1
    ~ user limit 100 → 60 calls a minute (−40 %)
        ai_gateway.rate_limits[user].calls  line 24
    ~ model version 3 → 4
        config.served_entities[main].entity_version  line 9
    ~ config.served_entities[main].environment_vars.KEY: (sensitive) → ${env:K}
        line 12
    ~ tags.team: search → chat   line 30
    - tags.old: ""
    + permissions[group_name=analysts]:   line 33
        group_name: analysts
        permission_level: CAN_QUERY

    callers: the old configuration serves until the new one is ready
    calls:   PUT /api/2.0/serving-endpoints/chat/config
             PUT /api/2.0/serving-endpoints/chat/ai-gateway

Plan: 0 to create, 1 to update, 0 to replace, 0 to delete, 0 unchanged; 2 write calls.
31 fields compared, 1 server-chosen.
"""
    )
    assert max(map(len, text.splitlines()[:-2])) <= 80


def test_verbose_shows_bodies_and_every_field_left_out() -> None:
    text = plan_text(Plan("prod", (UPDATED, SAME)), verbose=True)
    assert (
        text.split("calls:   ")[1]
        == """\
PUT /api/2.0/serving-endpoints/chat/config
             {
               "served_entities": [
                 {
                   "environment_vars": {
                     "KEY": "${env:K}"
                   }
                 }
               ]
             }
             PUT /api/2.0/serving-endpoints/chat/ai-gateway
             {}
    not compared:
      config.served_entities[main].name  server-chosen: the server names an entity that has no name
      id                                 computed

  Endpoint/same is as declared  manifests/same.yaml:1
    not compared:
      config.x  write-only

1 endpoint is as declared.
Plan: 0 to create, 1 to update, 0 to replace, 0 to delete, 1 unchanged; 2 write calls.
51 fields compared, 1 server-chosen, 1 write-only, 1 computed.
"""
    )


def test_no_changes_is_one_sentence_and_the_counts() -> None:
    same = [replace(SAME, address=plans.endpoint(name)) for name in "abc"]
    assert plan_text(Plan("prod", tuple(same))) == (
        "No changes. 3 endpoints are as declared.\n60 fields compared, 3 write-only.\n"
    )
    assert plan_text(Plan("prod", ())) == "No changes. Nothing is declared.\n"


def test_what_does_not_exist_is_not_called_declared() -> None:
    absent = plans.step("a", Action.NO_OP, notice="nothing")
    assert plan_text(Plan("prod", (absent,))) == "No changes. 1 endpoint does not exist: nothing to delete.\n"


def test_colour_only_when_asked_and_only_ours() -> None:
    plain, coloured = plan_text(EVERYTHING), plan_text(EVERYTHING, colour=True)
    assert "\x1b" not in plain
    assert OURS.sub("", coloured) == plain
    for sign, code in (("+", 32), ("~", 33), ("-", 31), ("±", 35)):
        assert f"\x1b[{code}m{sign}\x1b[0m \x1b[1mEndpoint/" in coloured


def test_ascii_for_outputs_that_cannot_show_more() -> None:
    text = plan_text(EVERYTHING, ascii_only=True)
    assert text.isascii()
    assert "user limit 100 -> 60 calls a minute (-40 %)" in text
    assert "-/+ Endpoint/rank must be replaced" in text
    assert r"tags.a: caf\xe9" in body_of(plans.change("tags.a", None, "café"), ascii_only=True)


# ---- changes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (plans.change("x", 1, 2), "    ~ x: 1 → 2"),
        (plans.change("x", "1", 1), '    ~ x: "1" → 1'),
        (plans.change("x", None, "a b"), "    + x: a b"),
        (plans.change("x", True, None), "    - x: true"),
        (plans.change("x", "a", ""), '    ~ x: a → ""'),
        (plans.change("x", "a", "yes"), '    ~ x: a → "yes"'),
        (plans.change("x", "a", "b: c"), '    ~ x: a → "b: c"'),
        (plans.change("x", "a", " b"), '    ~ x: a → " b"'),
        (plans.change("x", "a", "b → c"), '    ~ x: a → "b → c"'),
        (plans.change("x", "a", "\x1b[31mb\n\u202e"), r'    ~ x: a → "\x1b[31mb\n\u202e"'),
        (plans.change("x", "a", Secret("s3cr3t", "${env:K}")), "    ~ x: (sensitive) → ${env:K}"),
        (plans.change("x", "a", "b", sensitive=True), "    ~ x: (sensitive)"),
        (plans.change("x", ["a"], ["a", "b"]), "    ~ x: [a] → [a, b]"),
        (plans.change("x", None, {}), "    + x: {}"),
        (plans.change("x", None, []), "    + x: []"),
        (
            plans.change("x", ["a", "b"], ["b", "a"], words="fallback order a, b → b, a"),
            "    ~ fallback order a, b → b, a   x",
        ),
        (plans.change("x", ["a"], ["b"], words="principals: +b −a"), "    ~ principals: +b −a   x"),
        (
            plans.change("k", None, Secret("s3cr3t", "${env:K}"), sensitive=True, words="sent again",
                         why="write_only"),
            "    ~ k: ${env:K} (sent again)",
        ),
        (
            plans.change("r[user]", None, {"key": "user", "calls": 60, "unit": None},
                         words="user limit none → 60 calls a minute"),
            "    + user limit none → 60 calls a minute   r[user]\n"
            "        key: user\n        calls: 60\n        unit: null",
        ),
        (
            plans.change("x", {"a": 1}, [{"b": "c", "d": [1, 2], "e": [{"f": "g"}]}]),
            "    ~ x:\n        - {a: 1}\n        + - b: c\n            d: [1, 2]\n"
            "            e:\n              - {f: g}",
        ),
    ],
)  # fmt: skip
def test_a_change_reads(change: Any, lines: str) -> None:
    assert body_of(change) == lines


def test_a_list_shows_items_that_come_go_and_move() -> None:
    items = [{"id": n, "of": ["x", n], "as": "item"} for n in range(1, 5)]
    assert (
        body_of(plans.change("x", items[:3], [items[1], items[0], items[3]]))
        == """\
    ~ x:
        - id: 3
          of: [x, 3]
          as: item
        + id: 4
          of: [x, 4]
          as: item
        order of the others 1, 2 → 2, 1"""
    )
    assert body_of(plans.change("x", items[:3], items[:2])).endswith("\n        (2 items unchanged)")
    assert body_of(plans.change("x", items, items[::-1])) == (
        "    ~ x: reordered\n        order 1, 2, 3, 4 → 4, 3, 2, 1"
    )


def test_long_text_is_cut_in_the_middle_and_tells_its_length() -> None:
    (line,) = body_of(plans.change("x", None, "a" * 5000 + "z" * 5000)).split("\n")[1:]
    assert re.fullmatch(r" {8}a+…z+ \(10,000 characters\)", line)
    assert len(line) <= 100


def test_a_cut_does_not_hide_the_difference() -> None:
    text = body_of(plans.change("x", "a" * 500 + "old" + "z" * 500, "a" * 500 + "new!" + "z" * 500))
    assert re.search(r'- "…a+oldz+…" \(1,003 characters\)\n +\+ "…a+new!z+…" \(1,004 characters\)', text)


def test_places_name_the_file_only_when_it_is_another() -> None:
    there = replace(plans.change("x", 1, 2), source=Source("overlay.yaml", 7))
    here = replace(there, source=Source("manifests/a.yaml", 7))
    same = replace(there, source=Source("manifests/a.yaml", 1))
    assert body_of(there) == "    ~ x: 1 → 2   overlay.yaml:7"
    assert body_of(here) == "    ~ x: 1 → 2   line 7"
    assert body_of(same) == "    ~ x: 1 → 2"


def test_protection_refuses_only_what_destroys() -> None:
    change = plans.change("x", 1, 2)
    for action, refused in ((Action.UPDATE, 0), (Action.CREATE, 0), (Action.DELETE, 2), (Action.REPLACE, 2)):
        text = plan_text(Plan("t", (plans.step("a", action, change, protected=True),)))
        assert text.count("refused") == refused


def test_forced_without_a_reason_says_so_in_words() -> None:
    change = plans.change("x", 1, 2, forces_replace=True, why="immutable")
    text = plan_text(Plan("t", (plans.step("a", Action.REPLACE, change),)))
    assert "    ± x: 1 → 2\n        forces replacement: it cannot be changed in place\n" in text


# ---- outcomes -------------------------------------------------------------------------------------------


def results(*ends: tuple[str, float]) -> tuple[CallResult, ...]:
    return tuple(CallResult(call, end, took) for call, (end, took) in zip(UPDATED.calls, ends, strict=False))


def test_a_converged_outcome() -> None:
    outcomes = [
        Outcome(UPDATED, StepStatus.DONE, results(("done", 171.6), ("done", 0.42)), seconds=192.3,
                url="https://host/serving-endpoints/chat/invocations"),
        Outcome(SAME, StepStatus.UNCHANGED),
    ]  # fmt: skip
    assert (
        outcome_text(Plan("prod", (UPDATED, SAME)), outcomes, True)
        == """\
✓ Endpoint/chat updated in 3 min 12 s
    PUT /api/2.0/serving-endpoints/chat/config  done, 2 min 52 s
    PUT /api/2.0/serving-endpoints/chat/ai-gateway  done, 0.4 s
    url:     https://host/serving-endpoints/chat/invocations

1 endpoint is as declared.
Apply: 1 updated; 2 write calls.

Converged: read again, nothing left to do.
"""
    )


def test_a_failed_outcome_says_what_why_and_what_next() -> None:
    failed = Outcome(
        UPDATED,
        StepStatus.FAILED,
        results(("failed", 2.0)),
        UPDATED.calls[1:],
        "PUT /x (request r-1): HTTP 400 BAD: no such model\nwhy: it was deleted",
        ("Traceback (most recent call last):", "\x1b[31mboom"),
        seconds=12,
    )
    outcomes = [
        failed,
        Outcome(REPLACED, StepStatus.REFUSED, (), REPLACED.calls, "it changed: tags.a\nnext: plan again"),
        Outcome(DELETED, StepStatus.NOT_BEGUN, (), DELETED.calls, "not begun: Endpoint/chat failed"),
        Outcome(CREATED, StepStatus.NOT_WAITED, (CallResult(CREATED.calls[0], "done"),)),
    ]
    left = Plan("prod", (plans.step("chat", Action.UPDATE, UPDATED.changes[0]), SAME))
    assert (
        outcome_text(EVERYTHING, outcomes, False, left)
        == """\
✗ Endpoint/chat update failed after 12 s
    PUT /api/2.0/serving-endpoints/chat/config  failed, 2.0 s
    error:   PUT /x (request r-1): HTTP 400 BAD: no such model
    why:     it was deleted
    next:    remove the cause and apply again; what is done is not done twice
    left:    PUT /api/2.0/serving-endpoints/chat/ai-gateway
    log:
      | Traceback (most recent call last):
      | \\x1b[31mboom

✗ Endpoint/rank refused, nothing was sent
    error:   it changed: tags.a
    next:    plan again
    left:    DELETE /api/2.0/serving-endpoints/rank
             POST /api/2.0/serving-endpoints

– Endpoint/old not begun
    because: not begun: Endpoint/chat failed
    left:    DELETE /api/2.0/serving-endpoints/old

… Endpoint/new is being created: not awaited
    POST /api/2.0/serving-endpoints  done

Apply: 1 not awaited, 1 failed, 1 refused, 1 not begun; 2 of 6 write calls.

NOT converged: 1 field still to change.
  Endpoint/chat
    ~ user limit 100 → 60 calls a minute (−40 %)   ai_gateway.rate_limits[user].calls  line 24
"""
    )


def test_what_did_not_stick_is_called_so() -> None:
    outcomes = [Outcome(UPDATED, StepStatus.DONE, results(("done", 1), ("done", 1)))]
    text = outcome_text(Plan("t", (UPDATED,)), outcomes, False, Plan("t", (UPDATED,)))
    assert "\nNOT converged: 6 fields did not stick.\n  Endpoint/chat\n" in text


def test_the_proof_tells_when_there_was_none() -> None:
    def last(converged: bool | None, unverified: str = "") -> str:
        outcomes = [Outcome(UPDATED, StepStatus.NOT_WAITED, results(("done", 1)))]
        text = outcome_text(Plan("t", (UPDATED,)), outcomes, converged, unverified=unverified)
        return text.rstrip("\n").split("\n")[-1]

    assert last(None) == "Not read again: whether it converged is not known."
    assert last(None, "the target is away") == "Not read again: the target is away"
    assert last(False) == "NOT converged: not every step is done."
    assert last(False, "the target is away") == "NOT converged: the target is away"


# ---- problems and errors --------------------------------------------------------------------------------


def test_problems_stand_in_the_order_of_their_places() -> None:
    error = ManifestError(
        [
            Problem("m/b.yaml", 3, 4, "spec.confg", "unknown field", "write config", "unknown-field"),
            Problem("m/a.yaml", 0, 0, "", "not YAML: \x1b"),
        ]
    )
    warning = Problem("m/a.yaml", 9, 1, "spec.x", "not known to this version")
    assert (
        problems_text(error, [warning])
        == """\
m/a.yaml: error
    not YAML: \\x1b
m/a.yaml:9:1: warning
    spec.x: not known to this version
m/b.yaml:3:4: error [unknown-field]
    spec.confg: unknown field
    fix: write config

2 problems and 1 warning in 2 files.
"""
    )
    assert error_text(error) == problems_text(error)
    assert problems_text([]) == ""


def test_an_error_in_four_parts() -> None:
    error = NotFound(status=404, error_code="GONE", message="no\x1b[2J thing", method="GET", path="/p",
                     request_id="r-1", fix="look")  # fmt: skip
    assert error_text(error) == (
        "error: HTTP 404 GONE: no\\x1b[2J thing\nwhere: GET /p (request r-1)\nnext:  look\n"
    )
    known = Redactor([Secret("hunter22")])
    assert error_text(ReconcilerError("is hunter22"), redactor=known) == "error: is ***\n"


# ---- anything -------------------------------------------------------------------------------------------

widths = st.integers(1, 200)


def harmless(text: str, *, colour: bool) -> None:
    if colour:
        text = OURS.sub("", text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    text.encode()
    assert CANARY not in text
    assert "cAnArY" not in text.replace("\n", "").replace(" ", "")


@settings(max_examples=250, deadline=None)
@given(plans.plans, st.booleans(), widths, st.booleans(), st.booleans())
def test_any_plan_renders_without_harm(
    plan: Plan, colour: bool, width: int, verbose: bool, ascii_only: bool
) -> None:
    text = plan_text(plan, colour=colour, width=width, verbose=verbose, ascii_only=ascii_only)
    harmless(text, colour=colour)
    assert not ascii_only or text.isascii()


@settings(max_examples=100, deadline=None)
@given(st.data(), st.booleans(), widths)
def test_any_outcome_renders_without_harm(data: st.DataObject, colour: bool, width: int) -> None:
    plan = data.draw(plans.plans)
    text = outcome_text(
        plan,
        data.draw(plans.outcomes(plan)),
        data.draw(st.sampled_from([True, False, None])),
        data.draw(st.one_of(st.none(), plans.plans)),
        unverified=data.draw(plans.nasty),
        colour=colour,
        width=width,
        verbose=data.draw(st.booleans()),
    )
    harmless(text, colour=colour)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds(Problem, plans.nasty, st.integers(0, 99), st.integers(1, 99), plans.nasty,
                          plans.nasty, plans.nasty, plans.nasty), max_size=3), widths)  # fmt: skip
def test_any_problem_renders_without_harm(problems: list[Problem], width: int) -> None:
    harmless(problems_text(problems, problems, width=width), colour=False)


def test_what_was_stopped_halfway_was_begun() -> None:
    halfway = Outcome(UPDATED, StepStatus.NOT_BEGUN, results(("done", 1.0)), UPDATED.calls[1:], "stopped")
    never = Outcome(DELETED, StepStatus.NOT_BEGUN, (), DELETED.calls, "stopped before it began")
    told = outcome_text(EVERYTHING, [halfway, never], False, None)
    assert "\nApply: 1 not begun, 1 stopped halfway; 1 of " in told
