"""Plans for an MLflow AI Gateway: what is read, compared, refused and called. Answers are values here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.gateway_reader import read_gateway_one
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.safety import refusals
from reconciler.engine.snapshot import Prune, read_snapshot, snapshot_from_json, snapshot_to_json
from reconciler.errors import ManifestError
from reconciler.kinds import kind
from reconciler.report.text import plan_text
from reconciler.values import Action, Address, LiveId, Plan, Resource, Secret, Step
from tests.unit.engine.gateway import Gateway, resource

SECRET = resource(
    "GatewaySecret/openai", {"provider": "openai", "secret_value": {"api_key": Secret("sk-x-cdef")}}
)
GPT = resource("GatewayModel/gpt", {"secret": "openai", "provider": "openai", "model_name": "gpt-4o"})
MINI = resource("GatewayModel/mini", {"secret": "openai", "provider": "openai", "model_name": "gpt-4o"})
CHAT = resource("GatewayEndpoint/chat", {"models": [{"model": "gpt"}]})
GUARD = resource(
    "GatewayGuardrail/no-pii",
    {"scorer": "pii", "scorer_version": 1, "stage": "BEFORE", "action": "VALIDATION"},
)


def budget(name: str = "b", **more: Any) -> Resource:
    spec = {"budget_amount": 100, "duration": {"unit": "DAYS", "value": 1}, "target_scope": "GLOBAL"}
    return resource(f"GatewayBudget/{name}", {**spec, "budget_action": "ALERT", **more})


def plan(gateway: Gateway, *desired: Resource, adopt: bool = False) -> Plan:
    seen = read_snapshot(gateway, desired, target="t", taken_at="")
    return make_plan(desired, seen, PlanOptions(adopt=adopt))


def step(gateway: Gateway, *desired: Resource, at: int = -1, adopt: bool = False) -> Step:
    return plan(gateway, *desired, adopt=adopt).steps[at]


def calls(made: Step) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{c.method} {c.path.rpartition('gateway/')[2]}", dict(c.body)) for c in made.calls]


@pytest.fixture
def gateway() -> Gateway:
    """One of each, as declared."""
    made = Gateway()
    made.secret("openai")
    made.model("gpt", "s-openai")
    made.model("mini", "s-openai")
    made.endpoint("chat", "d-gpt")
    return made


# ---- references and order -------------------------------------------------------------------------------


def test_ids_that_are_known_stand_in_the_calls_and_others_are_named() -> None:
    gateway = Gateway()
    gateway.secret("openai")
    made = plan(gateway, SECRET, GPT, CHAT)
    assert made.steps[1].calls[0].body["secret_id"] == "s-openai"
    config = made.steps[2].calls[0].body["model_configs"][0]
    assert config["model_definition_id"] == LiveId(Address("GatewayModel", "gpt"))
    assert str(config["model_definition_id"]) == "<id of GatewayModel/gpt>"


def test_steps_come_after_what_they_name(gateway: Gateway) -> None:
    made = plan(Gateway(), CHAT, GPT, SECRET, budget(target_scope="ENDPOINT", target_value="chat"))
    after = {str(s.address): [str(a) for a in s.depends_on] for s in made.steps}
    assert after == {
        "GatewayEndpoint/chat": ["GatewayModel/gpt"],
        "GatewayModel/gpt": ["GatewaySecret/openai"],
        "GatewaySecret/openai": [],
        "GatewayBudget/b": ["GatewayEndpoint/chat"],
    }


def test_a_name_of_nothing_is_told_and_all_of_them_are(gateway: Gateway) -> None:
    other = resource("GatewayEndpoint/e", {"models": [{"model": "none"}], "fallbacks": ["gpt", "neither"]})
    with pytest.raises(ManifestError) as caught:
        plan(gateway, other)
    told = [(p.path, p.what) for p in caught.value.problems]
    assert told == [
        ("spec.fallbacks[1]", "there is no GatewayModel/neither: it is neither declared nor live"),
        ("spec.models[0].model", "there is no GatewayModel/none: it is neither declared nor live"),
    ]


def test_names_in_a_circle_are_told(gateway: Gateway) -> None:
    gateway.scorer("pii")
    cleaning = {"action": "SANITIZATION", "action_endpoint": "new"}
    guard = resource("GatewayGuardrail/g", {**GUARD.spec, **cleaning})
    guarded = resource("GatewayEndpoint/new", {**CHAT.spec, "guardrails": ["g"]})
    with pytest.raises(ManifestError, match="need each other"):
        plan(gateway, guard, guarded)


def test_a_scorer_of_one_name_in_two_experiments_must_be_told_apart(gateway: Gateway) -> None:
    gateway.scorer("pii", experiment=2)
    gateway.scorer("pii", experiment=3)
    with pytest.raises(ManifestError, match="several experiments have a scorer pii"):
        plan(gateway, GUARD)
    told = resource("GatewayGuardrail/no-pii", {**GUARD.spec, "experiment_id": "3"})
    assert step(gateway, told).calls[0].body["scorer_id"] == "sc-3-pii"


# ---- what is read ---------------------------------------------------------------------------------------


def test_each_list_once_and_only_those_that_are_needed(gateway: Gateway) -> None:
    plan(gateway, SECRET, GPT, MINI, CHAT)
    assert gateway.asked == {"secrets": 1, "models": 1, "endpoints": 1}


def test_guardrails_are_read_of_endpoints_that_declare_some(gateway: Gateway) -> None:
    gateway.endpoint("other", "d-gpt")
    plan(
        gateway,
        resource("GatewayEndpoint/chat", {**CHAT.spec, "guardrails": []}),
        resource("GatewayEndpoint/other", CHAT.spec),
    )
    assert gateway.asked["configs"] == 1


def test_a_snapshot_file_gives_the_same_plan_and_no_mask_of_a_secret(gateway: Gateway) -> None:
    desired = (SECRET, GPT, resource("GatewayEndpoint/chat", {"models": [{"model": "mini"}]}), MINI)
    seen = read_snapshot(gateway, desired, target="t", taken_at="")
    text = snapshot_to_json(seen, salt="s")
    assert "sk-...cdef" not in str(text)
    again = snapshot_from_json(text, where="f")
    assert make_plan(desired, again).steps == make_plan(desired, seen).steps


# ---- comparison and calls -------------------------------------------------------------------------------


def test_what_the_server_fills_in_is_no_change(gateway: Gateway) -> None:
    made = plan(gateway, GPT, MINI, CHAT, resource("GatewayEndpoint/chat2", CHAT.spec))
    assert [s.action for s in made.steps] == [Action.NO_OP, Action.NO_OP, Action.NO_OP, Action.CREATE]


def test_one_update_holds_all_that_changed_and_nothing_else(gateway: Gateway) -> None:
    changed = {"models": [{"model": "gpt"}, {"model": "mini", "weight": 3}], "usage_tracking": False}
    assert calls(step(gateway, resource("GatewayEndpoint/chat", changed))) == [
        (
            "POST endpoints/update",
            {
                "endpoint_id": "e-chat",
                "model_configs": [
                    {"model_definition_id": "d-gpt", "linkage_type": "PRIMARY"},
                    {"model_definition_id": "d-mini", "linkage_type": "PRIMARY", "weight": 3},
                ],
                "usage_tracking": False,
                "updated_by": "reconciler:shop",
            },
        )
    ]


def test_ignored_weights_stay_as_they_live(gateway: Gateway) -> None:
    gateway.endpoints[0]["model_mappings"] = [gateway.mapping("d-gpt", weight=0.3)]
    spec = {"models": [{"model": "gpt", "weight": 1}, {"model": "mini"}]}
    told = resource("GatewayEndpoint/chat", spec, ignore_changes=("models[gpt].weight",))
    configs = calls(step(gateway, told))[0][1]["model_configs"]
    assert [config.get("weight") for config in configs] == [0.3, None]


@pytest.mark.parametrize(
    ("live", "wanted", "sent"),
    [
        ({}, {}, None),
        ({"max_attempts": 2}, {"max_attempts": 2}, None),
        ({"strategy": "SEQUENTIAL"}, {}, None),
        ({}, {"strategy": "SEQUENTIAL"}, None),
        ({"max_attempts": 2}, {"max_attempts": 3}, {"max_attempts": 3}),
        ({"max_attempts": 2}, {}, {}),
        ({"max_attempts": 2}, None, {}),
    ],
)
def test_fallback_config(gateway: Gateway, live: Any, wanted: Any, sent: Any) -> None:
    gateway.endpoints[0]["fallback_config"] = live
    made = step(gateway, resource("GatewayEndpoint/chat", {**CHAT.spec, "fallback_config": wanted}))
    assert (calls(made)[0][1]["fallback_config"] if made.calls else None) == sent


def test_an_orphaned_model_is_drift(gateway: Gateway) -> None:
    gateway.models[0] = {k: v for k, v in gateway.models[0].items() if k not in ("secret_id", "secret_name")}
    made = step(gateway, GPT)
    assert [(str(c.path), c.before, c.after) for c in made.changes] == [("secret", None, "openai")]
    assert calls(made)[0][1]["secret_id"] == "s-openai"


def test_a_budget_is_known_by_scope_target_and_window(gateway: Gateway) -> None:
    gateway.budget()
    gateway.budget("ENDPOINT", "e-chat")
    for_chat = budget(target_scope="ENDPOINT", target_value="chat", budget_amount=5)
    assert calls(step(gateway, for_chat)) == [
        (
            "POST budgets/update",
            {"budget_policy_id": "bp-1", "budget_amount": 5, "updated_by": "reconciler:shop"},
        )
    ]
    assert step(gateway, budget(duration={"unit": "DAYS", "value": 2})).action is Action.CREATE
    assert step(gateway, budget()).action is Action.NO_OP


@pytest.mark.parametrize("adopt", [False, True])
def test_a_budget_of_another_stack_is_neither_changed_nor_deleted(gateway: Gateway, adopt: bool) -> None:
    gateway.budget(by="reconciler:bank")
    made = step(gateway, budget(budget_amount=2), adopt=adopt)
    assert "GatewayBudget/b belongs to stack bank" in made.refusal
    assert step(gateway, budget()).notes == ("GatewayBudget/b belongs to stack bank",)
    seen = read_snapshot(gateway, [budget()], target="t", taken_at="", deleting=True)
    going = plan_destroy([budget()], seen, PlanOptions(adopt=adopt))
    assert "belongs to stack bank" in str(refusals(going))


def test_a_budget_of_nobody_is_whose_manifest_declares_it(gateway: Gateway) -> None:
    gateway.budget(by="ann")
    assert step(gateway, budget(budget_amount=2)).action is Action.UPDATE
    gateway.budgets[0]["last_updated_by"] = "reconciler:bank"
    assert "belongs to stack bank" in step(gateway, budget(budget_amount=2)).refusal


def test_two_of_one_identity_are_noted_and_ours_is_taken(gateway: Gateway) -> None:
    gateway.budget(budget_amount=1.0)
    gateway.budget(budget_amount=2.0, by="reconciler:shop")
    made = step(gateway, budget(budget_amount=2))
    assert made.action is Action.NO_OP
    assert made.notes == ("2 budgets have this scope, target and window: this is about the one of id bp-1",)


def test_a_rename_is_no_change_where_it_is_used(gateway: Gateway) -> None:
    gateway.budget("ENDPOINT", "e-chat")
    made = plan(
        gateway,
        resource("GatewayModel/new", GPT.spec, moved_from="gpt"),
        resource("GatewayEndpoint/talk", {"models": [{"model": "new"}]}, moved_from="chat"),
        budget(target_scope="ENDPOINT", target_value="talk"),
    )
    assert [s.action for s in made.steps] == [Action.UPDATE, Action.UPDATE, Action.NO_OP]
    assert [c.words for s in made.steps for c in s.changes] == ["renamed gpt → new", "renamed chat → talk"]
    assert calls(made.steps[0]) == [
        (
            "POST model-definitions/update",
            {"model_definition_id": "d-gpt", "name": "new", "updated_by": "reconciler:shop"},
        )
    ]


def test_once_renamed_the_line_means_nothing(gateway: Gateway) -> None:
    gateway.model("old", "s-openai", by="somebody")
    assert step(gateway, resource("GatewayModel/gpt", GPT.spec, moved_from="old")).action is Action.NO_OP


@given(
    live=st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 9))), max_size=4),
    wanted=st.lists(st.sampled_from("abcde"), max_size=4, unique=True),
)
def test_guardrails_run_as_declared_afterwards(live: list[tuple[str, int | None]], wanted: list[str]) -> None:
    gateway = Gateway()
    gateway.secret("openai")
    gateway.model("gpt", "s-openai")
    gateway.endpoint("chat", "d-gpt")
    for name in "abcde":
        gateway.guardrail(name)
    there = dict(live)
    for name, order in there.items():
        gateway.guard("e-chat", f"gr-{name}", order)
    made = step(gateway, resource("GatewayEndpoint/chat", {**CHAT.spec, "guardrails": wanted}))
    state: dict[str, Any] = dict(there)
    for call in made.calls:
        name = str(call.body["guardrail_id"]).removeprefix("gr-")
        if call.method == "DELETE":
            del state[name]
        else:
            assert (call.method == "POST") is (name not in state)
            state[name] = call.body["execution_order"]
    # The server's order: by number, those without one last, then by id.
    ran = sorted(state, key=lambda n: (state[n] is None, state[n] or 0, f"gr-{n}"))
    assert ran == wanted
    before = [c["guardrail"]["name"] for c in gateway.list_endpoint_guardrail_configs(endpoint_id="e-chat")]
    if before == wanted:
        assert not made.calls
    changed = set(wanted) ^ set(there)
    assert len(changed) <= len(made.calls) <= len(changed) + len(wanted)


# ---- what belongs to others, what is in use -------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "adopt", "action", "refused"),
    [
        ("reconciler:shop", False, Action.UPDATE, ""),
        ("somebody", False, Action.ADOPT, "was not made by this stack"),
        ("somebody", True, Action.ADOPT, ""),
        ("", True, Action.ADOPT, ""),
        ("reconciler:other", False, Action.ADOPT, "belongs to stack other"),
        ("reconciler:other", True, Action.ADOPT, "belongs to stack other"),
    ],
)
def test_ownership_of_a_model(by: str, adopt: bool, action: Action, refused: str) -> None:
    gateway = Gateway()
    gateway.secret("openai")
    gateway.model("gpt", "s-openai", by=by, model_name="gpt-3")
    made = plan(gateway, GPT, adopt=adopt)
    assert made.steps[0].action is action
    assert refused in made.steps[0].refusal
    assert bool(made.steps[0].refusal) is bool(refused)
    error = refusals(made)
    assert (error is not None) is bool(refused)
    if error:
        assert refused in error.what
        assert error.exit_code == 3


def test_who_wrote_last_owns(gateway: Gateway) -> None:
    gateway.models[0] |= {"created_by": "somebody", "last_updated_by": "reconciler:shop"}
    assert (
        step(gateway, resource("GatewayModel/gpt", {**GPT.spec, "model_name": "x"})).action is Action.UPDATE
    )


def test_the_tag_of_an_endpoint_owns_and_is_set_again(gateway: Gateway) -> None:
    gateway.endpoints[0]["tags"] = []
    assert calls(step(gateway, CHAT)) == [
        ("POST endpoints/set-tag", {"endpoint_id": "e-chat", "key": "reconciler.stack", "value": "shop"})
    ], "made by us, and killed before the tag was set"
    gateway.endpoints[0]["tags"] = [{"key": "reconciler.stack", "value": "other"}]
    made = step(gateway, resource("GatewayEndpoint/chat", {**CHAT.spec, "tags": {"a": "b"}}))
    assert "belongs to stack other" in made.refusal


def test_deletes_go_downwards_and_not_while_others_use_it(gateway: Gateway) -> None:
    desired = (SECRET, GPT, MINI, CHAT, budget(target_scope="ENDPOINT", target_value="chat"))
    gateway.budget("ENDPOINT", "e-chat")
    seen = read_snapshot(gateway, desired, target="t", taken_at="", deleting=True)
    made = plan_destroy(desired, seen)
    after = {s.address.name: sorted(a.name for a in s.depends_on) for s in made.steps}
    assert after == {"openai": ["gpt", "mini"], "gpt": ["chat"], "mini": [], "chat": ["b"], "b": []}
    assert refusals(made) is None

    gateway.model("theirs", "s-openai", by="somebody")
    gateway.endpoint("theirs", "d-mini", by="somebody")
    gateway.bindings.append({"endpoint_id": "e-chat", "resource_type": "scorer", "display_name": "judge"})
    gateway.guardrail("cleaner", action_endpoint_id="chat")
    gateway.budget("ENDPOINT", "e-chat", duration={"unit": "DAYS", "value": 9})
    seen = read_snapshot(gateway, desired, target="t", taken_at="", deleting=True)
    told = {s.address.name: s.refusal.splitlines()[0] for s in plan_destroy(desired, seen).steps if s.refusal}
    assert told == {
        "openai": "GatewaySecret/openai is in use by GatewayModel/theirs",
        "mini": "GatewayModel/mini is in use by GatewayEndpoint/theirs",
        "chat": "GatewayEndpoint/chat is in use by "
        "GatewayBudget/bp-1, GatewayGuardrail/cleaner, scorer/judge",
    }


@pytest.mark.parametrize("name", ["gpt 4o mini", "chat-meta/llama 3", "a/b/c"])
def test_names_with_spaces_and_slashes_are_known_again_where_they_are_used(name: str) -> None:
    gateway = Gateway()
    gateway.model(name, gateway.secret("my key"))
    model = resource(f"GatewayModel/{name}", {**GPT.spec, "secret": "my key"})
    desired = (resource("GatewaySecret/my key", SECRET.spec), model)
    seen = read_snapshot(gateway, desired, target="t", taken_at="", deleting=True)
    made = plan_destroy(desired, seen)
    assert refusals(made) is None
    assert made.steps[0].depends_on == (Address("GatewayModel", name),)


def test_a_replaced_guardrail_is_swapped_wherever_it_runs(gateway: Gateway) -> None:
    gateway.scorer("pii")
    gateway.guardrail("no-pii")
    gateway.endpoint("theirs", "d-gpt", by="somebody")
    gateway.guard("e-chat", "gr-no-pii", 3)
    gateway.guard("e-theirs", "gr-no-pii", None)
    made = step(gateway, resource("GatewayGuardrail/no-pii", {**GUARD.spec, "stage": "AFTER"}))
    new = LiveId(Address("GatewayGuardrail", "no-pii"))
    assert [(name, body.get("endpoint_id"), body.get("guardrail_id")) for name, body in calls(made)] == [
        ("POST guardrails/create", None, None),
        ("POST guardrails/add-to-endpoint", "e-chat", new),
        ("DELETE guardrails/remove-from-endpoint", "e-chat", "gr-no-pii"),
        ("POST guardrails/add-to-endpoint", "e-theirs", new),
        ("DELETE guardrails/remove-from-endpoint", "e-theirs", "gr-no-pii"),
        ("DELETE guardrails/delete", None, "gr-no-pii"),
    ]
    assert "must be replaced (create, then delete)" in plan_text(Plan("t", (made,)))
    assert made.calls[1].body["execution_order"] == 3
    assert "execution_order" not in made.calls[3].body


def test_what_names_each_other_is_refused_and_the_rest_of_it_is_not(gateway: Gateway) -> None:
    """An endpoint runs a guardrail that lets the same endpoint clean: neither can go first."""
    gateway.guardrail("clean", action="SANITIZATION", action_endpoint_id="chat")
    gateway.guard("e-chat", "gr-clean", 1)
    clean = {**GUARD.spec, "action": "SANITIZATION", "action_endpoint": "chat"}
    guard = resource("GatewayGuardrail/clean", clean)
    guarded = resource("GatewayEndpoint/chat", {**CHAT.spec, "guardrails": ["clean"]})
    declared = [guard, guarded, MINI]
    seen = read_snapshot(gateway, declared, target="t", taken_at="", deleting=True)
    made = {str(one.address): one for one in plan_destroy(declared, seen).steps}
    for name in ("GatewayGuardrail/clean", "GatewayEndpoint/chat"):
        assert "name each other: none can be deleted first" in made[name].refusal
        assert made[name].depends_on == ()
    assert made["GatewayModel/mini"].refusal == ""

    left = make_plan([MINI], seen, gone=[guard, guarded]).steps
    assert [(one.action, one.notes) for one in left[1:]] == [
        (Action.NO_OP, ("no longer declared, and left there: in use by GatewayEndpoint/chat",)),
        (Action.NO_OP, ("no longer declared, and left there: in use by GatewayGuardrail/clean",)),
    ]


# ---- the guard before a write ---------------------------------------------------------------------------


def test_one_endpoint_is_read_alone_and_as_the_list_tells_it(gateway: Gateway) -> None:
    told = resource("GatewayEndpoint/talk", {**CHAT.spec, "guardrails": []}, moved_from="chat")
    live = read_gateway_one(gateway, told)
    assert live is not None
    assert live.raw["configs"] == []
    assert gateway.asked == {"endpoint": 2, "configs": 1}
    assert read_gateway_one(gateway, resource("GatewayEndpoint/none", CHAT.spec)) is None


@pytest.mark.parametrize(("wanted", "asked"), [(SECRET, "secrets"), (GPT, "models")])
def test_a_secret_and_a_model_are_read_by_their_own_list(
    gateway: Gateway, wanted: Resource, asked: str
) -> None:
    before = read_snapshot(gateway, [wanted], target="t", taken_at="").resources[wanted.address]
    gateway.asked.clear()
    live = read_gateway_one(gateway, wanted)
    assert gateway.asked == {asked: 1}
    assert live is not None
    of = kind(wanted.address.kind)
    assert of.fingerprint(live, of.normalise(live)) == of.fingerprint(before, of.normalise(before))


# ---- prune and protection ------------------------------------------------------------------------------


def pruned(gateway: Gateway, *desired: Resource) -> dict[str, Step]:
    """The steps of what no manifest declares, by address."""
    kinds = ("GatewaySecret", "GatewayModel", "GatewayEndpoint", "GatewayBudget")
    seen = read_snapshot(gateway, desired, target="t", taken_at="", prune=Prune("shop", kinds))
    made = make_plan(desired, seen, PlanOptions("shop", prune=True))
    declared = {resource.address for resource in desired}
    return {str(one.address): one for one in made.steps if one.address not in declared}


def test_prune_deletes_ours_downwards_and_reads_lists_alone(gateway: Gateway) -> None:
    gateway.budget("ENDPOINT", "e-chat", by="reconciler:shop")
    gateway.secret("theirs", by="reconciler:bank")
    gateway.secret("nobodys", by="root")
    found = pruned(gateway)
    assert {name for name, one in found.items() if one.action is Action.DELETE} == set(found)
    assert {name.partition("-1-")[0] for name in found} == {
        "GatewayBudget/chat",
        "GatewayEndpoint/chat",
        "GatewayModel/gpt",
        "GatewayModel/mini",
        "GatewaySecret/openai",
    }
    after = {name: [str(a).partition("-1-")[0] for a in one.depends_on] for name, one in found.items()}
    assert after["GatewayEndpoint/chat"] == ["GatewayBudget/chat"]
    assert after["GatewayModel/gpt"] == ["GatewayEndpoint/chat"]
    assert after["GatewaySecret/openai"] == ["GatewayModel/gpt", "GatewayModel/mini"]
    assert max(gateway.asked.values()) == 1


def test_prune_leaves_what_is_in_use_and_all_that_it_stands_on(gateway: Gateway) -> None:
    gateway.endpoint("theirs", "d-mini", by="reconciler:bank")
    found = pruned(gateway)
    assert {name: one.action.value for name, one in found.items()} == {
        "GatewayEndpoint/chat": "delete",
        "GatewayModel/gpt": "delete",
        "GatewayModel/mini": "no_op",
        "GatewaySecret/openai": "no_op",
    }
    assert found["GatewayModel/mini"].notes == (
        "no longer declared, and left there: in use by GatewayEndpoint/theirs",
    )
    assert "in use by GatewayModel/mini" in found["GatewaySecret/openai"].notes[0]


def test_prune_waits_for_the_update_that_frees_a_model(gateway: Gateway) -> None:
    chat = resource("GatewayEndpoint/chat", {"models": [{"model": "mini"}]})
    found = pruned(gateway, SECRET, MINI, chat)
    assert found["GatewayModel/gpt"].action is Action.DELETE
    assert found["GatewayModel/gpt"].depends_on == (Address("GatewayEndpoint", "chat"),)


def test_prune_keeps_what_a_new_endpoint_names(gateway: Gateway) -> None:
    new = resource("GatewayEndpoint/new", {"models": [{"model": "mini"}]})
    found = pruned(gateway, SECRET, GPT, CHAT, new)
    assert found["GatewayModel/mini"].action is Action.NO_OP
    assert "in use by GatewayEndpoint/new" in found["GatewayModel/mini"].notes[0]


def test_a_budget_whose_window_was_edited_is_said_to_hold_on(gateway: Gateway) -> None:
    gateway.budget(by="reconciler:shop")
    wanted = [budget(duration={"unit": "DAYS", "value": 2})]
    seen = read_snapshot(gateway, wanted, target="t", taken_at="")
    (note,) = make_plan(wanted, seen, PlanOptions(stack="shop", is_whole=True)).notes
    assert note.startswith("1 owned by stack shop is not declared: GatewayBudget/")
    assert note.endswith("--prune deletes it, and until then a budget holds")


def test_prune_spares_a_declared_budget_whatever_it_is_called(gateway: Gateway) -> None:
    gateway.budget(by="reconciler:shop")
    gateway.budget("USER", "me", by="root")
    assert "GatewayBudget" not in " ".join(pruned(gateway, SECRET, GPT, MINI, CHAT, budget("mine")))


def test_what_is_renamed_is_not_pruned_under_its_old_name(gateway: Gateway) -> None:
    talk = resource("GatewayEndpoint/talk", {"models": [{"model": "gpt"}]}, moved_from="chat")
    assert pruned(gateway, SECRET, GPT, MINI, talk) == {}


def test_protection_of_an_endpoint_is_a_tag_of_its_own(gateway: Gateway) -> None:
    protected = resource("GatewayEndpoint/chat", CHAT.spec, prevent_destroy=True)
    made = step(gateway, SECRET, GPT, protected)
    tag = {"endpoint_id": "e-chat", "key": "reconciler.protected", "value": "true"}
    assert calls(made) == [("POST endpoints/set-tag", tag)]
    new = step(Gateway(), SECRET, GPT, protected)
    assert [call.body.get("key") for call in new.calls] == [None, "reconciler.stack", "reconciler.protected"]

    gateway.endpoints[0]["tags"].append({"key": "reconciler.protected", "value": "true"})
    assert step(gateway, SECRET, GPT, protected).action is Action.NO_OP
    tagged = resource("GatewayEndpoint/chat", {**CHAT.spec, "tags": {}}, prevent_destroy=True)
    assert step(gateway, SECRET, GPT, tagged).action is Action.NO_OP, "an authoritative section keeps it"
    lifted = step(gateway, SECRET, GPT, CHAT)
    assert [change.words for change in lifted.changes] == ["protection lifted"]
    assert calls(lifted) == [
        ("DELETE endpoints/delete-tag", {"endpoint_id": "e-chat", "key": "reconciler.protected"})
    ]
    assert "is protected" in pruned(gateway)["GatewayEndpoint/chat"].refusal
