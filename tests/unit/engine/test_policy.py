"""Policies over real manifests: every built-in with one that fails, at its line, and one that passes."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.policy import Context, Policies, compiled
from reconciler.engine.verdicts import approved, approved_before, denied, unapproved, waiting
from reconciler.errors import ManifestError
from reconciler.manifest.builtin_policies import BUILTIN
from reconciler.manifest.document import load
from reconciler.manifest.policies import Policy, policies_of
from reconciler.manifest.project import load_project
from reconciler.redact import Redactor
from reconciler.report.json import plan_json
from reconciler.values import (
    Action,
    Address,
    Call,
    FieldChange,
    FieldPath,
    Plan,
    PolicyLevel,
    Resource,
    Secret,
    Snapshot,
    Source,
    Step,
    Violation,
)

_TUESDAY = "2026-11-24T12:00:00Z"
_HEAD = "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {name: chat, labels: {team: search}}\nspec:\n"
_ENTITY = """\
  config:
    served_entities:
      - name: a
        entity_name: main.m.a
        entity_version: "1"
        workload_size: Small
"""
_EXTERNAL = """\
  config:
    served_entities:
      - name: gpt
        external_model:
          provider: openai
          name: gpt-4o
          task: llm/v1/chat
          openai_config: {openai_api_key: "{{secrets/a/b}}"}
"""


def resources_of(folder: Path, text: str, **environ: str) -> tuple[Resource, ...]:
    file = folder / "chat.yaml"
    file.write_text(text, encoding="utf-8")
    return load([file], environ=environ, root=folder).resources


def policies(folder: Path, text: str) -> tuple[Policy, ...]:
    head = "apiVersion: reconciler/v1\nkind: Project\nstack: shop\n"
    file = folder / "reconciler.yaml"
    file.write_text(head + text, encoding="utf-8")
    return policies_of(load_project(file), None)


def judged(folder: Path, text: str, manifest: str, now: str = _TUESDAY) -> tuple[Violation, ...]:
    """What policies say of the plan that creates what a manifest declares."""
    resources = resources_of(folder, manifest, KEY="sk-0123456789")
    plan = make_plan(resources, Snapshot("local", now, {}))
    context = Context(now, "prod", "shop", Redactor.of(*(one.spec for one in resources)))
    return compiled(policies(folder, text)).of_plan(plan, resources, context, judged=resources)


_LIMIT = "  ai_gateway:\n    rate_limits: [{key: user, calls: 5, renewal_period: minute}]\n"

# use → with, a manifest that fails, the line it is told at, one that passes
_CASES: dict[str, tuple[str, str, int, str]] = {
    "rate-limits": (
        "{}",
        _ENTITY + "  ai_gateway:\n    usage_tracking_config: {enabled: true}\n",
        11,
        _LIMIT,
    ),
    "no-plaintext-keys": (
        "{}",
        _EXTERNAL.replace('openai_api_key: "{{secrets/a/b}}"', 'openai_api_key_plaintext: "${env:KEY}"'),
        12,
        _EXTERNAL,
    ),
    "gpu-teams": (
        "{teams: [vision]}",
        _ENTITY + "        workload_type: GPU_SMALL\n",
        11,
        _ENTITY + "        workload_type: CPU\n",
    ),
    "no-scale-to-zero": (
        "{}",
        _ENTITY + "        scale_to_zero_enabled: true\n",
        11,
        _ENTITY + "        scale_to_zero_enabled: false\n",
    ),
    "tags-required": (
        "{tags: [team, cost]}",
        _ENTITY + "  tags: {team: x}\n",
        11,
        "  tags: {team: x, cost: y}\n",
    ),
    "labels-required": ("{labels: [team]}", "", 1, _ENTITY),
    "names": ("{pattern: ^search-}", _ENTITY, 1, ""),
    "inference-tables": (
        "{}",
        _LIMIT,
        5,
        "  ai_gateway:\n    inference_table_config: {enabled: true, catalog_name: m, schema_name: s}\n",
    ),
    "usage-tracking": ("{}", _ENTITY, 1, "  ai_gateway: {usage_tracking_config: {enabled: true}}\n"),
    "pii-guardrails": (
        "{}",
        _EXTERNAL + "  ai_gateway:\n    guardrails:\n      input: {safety: true}\n",
        15,
        _EXTERNAL + "  ai_gateway: {guardrails: {input: {pii: {behavior: BLOCK}}}}\n",
    ),
    "providers": ("{allowed: [anthropic]}", _EXTERNAL, 9, _ENTITY),
    "models": ('{allowed: ["^gpt-3"]}', _EXTERNAL, 10, ""),
    "sizes": ("{allowed: [Medium]}", _ENTITY, 10, _EXTERNAL),
    "no-open-access": (
        "{}",
        _ENTITY + "  permissions:\n    - {group_name: a, permission_level: CAN_QUERY}\n"
        "    - group_name: users\n      permission_level: CAN_QUERY\n",
        13,
        _ENTITY + "  permissions:\n    - {group_name: users, permission_level: CAN_VIEW}\n",
    ),
    "prevent-destroy": ("{}", _ENTITY, 1, ""),
}
_ELSEWHERE = ("change-window", "approve-replace", "approve-delete")  # they judge a plan, below


def test_every_built_in_has_a_case() -> None:
    assert {*_CASES, *_ELSEWHERE} == set(BUILTIN)


@pytest.mark.parametrize("use", _CASES)
def test_a_built_in_fails_at_its_line_and_passes(use: str, tmp_path: Path) -> None:
    given, bad, line, good = _CASES[use]
    text = f"policies:\n  - {{use: {use}, with: {given}}}\n"
    head = _HEAD.replace(", labels: {team: search}", "") if use == "labels-required" else _HEAD
    (found,) = judged(tmp_path, text, head + (bad or _ENTITY))
    assert found.policy == use
    assert found.level == BUILTIN[use].level
    assert found.source is not None
    assert (Path(found.source.file).name, found.source.line) == ("chat.yaml", line)
    assert found.address == Address("Endpoint", "chat")
    assert "Endpoint/chat" in found.message
    assert not found.is_broken
    assert found.fix
    assert "{" not in found.message, "every value was put in"

    fine = _HEAD.replace("spec:", "lifecycle: {prevent_destroy: true}\nspec:").replace(
        "name: chat", "name: search-chat"
    )
    assert (
        judged(tmp_path, text, fine + (good if "config" in good else _ENTITY + good)) == () or use == "models"
    )
    if use == "models":
        assert judged(tmp_path, text.replace("^gpt-3", "^gpt-4o$"), fine + _EXTERNAL) == ()


def test_the_other_spelling_is_no_way_around(tmp_path: Path) -> None:
    text = "policies: [{use: no-scale-to-zero}]\n"
    manifest = _HEAD + _ENTITY.replace("served_entities", "served_models").replace(
        "entity_name: main.m.a", "model_name: main.m.a"
    ).replace('entity_version: "1"', 'model_version: "1"')
    (found,) = judged(tmp_path, text, manifest + "        scale_to_zero_enabled: true\n")
    assert found.source is not None
    assert found.source.line == 11
    assert found.path == "config.served_entities[0].scale_to_zero_enabled"


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-11-24T08:59:59Z", False),
        ("2026-11-24T09:00:00Z", True),
        ("2026-11-24T15:59:59Z", True),
        ("2026-11-24T16:00:00Z", False),
        ("2026-11-27T12:00:00Z", False),  # a Friday
        ("2026-11-24T16:30:00+01:00", True),
    ],
)
def test_the_change_window_is_open_when_it_says(now: str, is_open: bool, tmp_path: Path) -> None:
    found = judged(tmp_path, "policies: [{use: change-window}]\n", _HEAD + _ENTITY, now)
    assert (found == ()) is is_open
    for one in found:
        assert one.address is None
        assert one.source is not None
        assert (Path(one.source.file).name, one.source.line) == ("reconciler.yaml", 4)
        assert one.message == "changes are made mon, tue, wed, thu from 09:00 to 16:00 (UTC)"


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-11-24T21:59:59Z", False),  # a Tuesday
        ("2026-11-24T22:00:00Z", True),
        ("2026-11-25T05:59:59Z", True),  # the night goes on
        ("2026-11-25T06:00:00Z", False),
        ("2026-11-25T22:00:00Z", False),  # another night
        ("2026-11-24T05:00:00Z", False),  # the night of Monday
    ],
)
def test_a_change_window_may_go_over_midnight(now: str, is_open: bool, tmp_path: Path) -> None:
    text = "policies: [{use: change-window, with: {days: [tue], from: '22:00', to: '06:00'}}]\n"
    assert (judged(tmp_path, text, _HEAD + _ENTITY, now) == ()) is is_open


@pytest.mark.parametrize(
    ("use", "given", "told"),
    [
        ("change-window", "days: [tues]", "known: sun, mon, tue, wed, thu, fri, sat"),
        ("change-window", "from: '9'", "when it begins, as 09:00"),
        ("change-window", "to: '24:30'", "24:00 is midnight"),
        ("no-plaintext-keys", "kinds: [Endpont]", "known: Endpoint, Deployment"),
        ("no-open-access", "levels: [CAN_QERY]", "known: CAN_VIEW, CAN_QUERY, CAN_MANAGE"),
    ],
)
def test_a_parameter_with_a_slip_is_found(use: str, given: str, told: str, tmp_path: Path) -> None:
    """With it a policy would judge nothing, or deny everything."""
    with pytest.raises(ManifestError) as raised:
        policies(tmp_path, f"policies: [{{use: {use}, with: {{{given}}}}}]\n")
    (problem,) = raised.value.problems
    assert "cannot be meant" in problem.what
    assert told in problem.fix
    assert problem.line == 4


def test_the_change_window_knows_zones_and_plans_without_changes(tmp_path: Path) -> None:
    text = "policies: [{use: change-window, with: {zone: America/New_York, days: [mon], to: '24:00'}}]\n"
    assert judged(tmp_path, text, _HEAD + _ENTITY, "2026-11-24T03:30:00Z") == (), "it is Monday there"
    resources = resources_of(tmp_path, _HEAD + _ENTITY)
    nothing = Plan("local", (Step(resources[0].address, Action.NO_OP),))
    context = Context("2026-11-29T03:30:00Z")
    assert compiled(policies(tmp_path, text)).of_plan(nothing, resources, context, judged=resources) == ()


def _step(action: Action) -> Plan:
    address = Address("Endpoint", "chat")
    call = Call("x", {}, "PUT", "/x")
    change = FieldChange(FieldPath(("config",)), 1, 2, source=Source("chat.yaml", 7, 1))
    return Plan("local", (Step(address, action, (change,), (call,), source=Source("chat.yaml", 1, 1)),))


@pytest.mark.parametrize("action", ["replace", "delete"])
def test_ends_ask_for_an_approval(action: str, tmp_path: Path) -> None:
    rules = compiled(policies(tmp_path, f"policies: [{{use: approve-{action}}}]\n"))
    plan = _step(Action(action))
    (found,) = rules.of_plan(plan, (), Context(_TUESDAY), judged=())
    assert found.level is PolicyLevel.REQUIRE_APPROVAL
    assert found.source == Source("chat.yaml", 1, 1)
    assert rules.of_plan(_step(Action.UPDATE), (), Context(_TUESDAY), judged=()) == ()

    plan = replace(plan, violations=(found,))
    refused = unapproved(plan)
    assert refused is not None
    assert f"--approve approve-{action}" in refused.fix
    assert waiting(plan) == (f"approve-{action}",)
    assert denied(plan) is None
    done = approved(plan, ["approve-replace", "approve-delete"], "ada", _TUESDAY)
    assert unapproved(done) is None
    assert done.violations[0].approved_by == "ada"


def test_an_approval_is_one_of_this_policy_for_this_thing(tmp_path: Path) -> None:
    def plan(text: str, action: Action = Action.DELETE) -> Plan:
        made = _step(action)
        found = compiled(policies(tmp_path, text)).of_plan(made, (), Context(_TUESDAY), judged=())
        return replace(made, violations=found)

    head = "policies:\n  - id: p\n    level: require_approval\n    message: m\n"
    text = head + "    rule: step.action != 'delete'\n"
    recorded = plan_json(approved(plan(text), ["p"], "ada", _TUESDAY))["policies"]
    assert unapproved(approved_before(plan(text), recorded)) is None
    other = text.replace("!= 'delete'", "== 'create'")
    assert unapproved(approved_before(plan(other), recorded)) is not None, (
        "the policy says something else now"
    )
    moved = plan(text)
    moved = replace(moved, violations=(replace(moved.violations[0], address=Address("Endpoint", "other")),))
    assert unapproved(approved_before(moved, recorded)) is not None, "it was approved for another endpoint"
    garbled = [{**recorded[0], "digest": ["a"]}, {"approved_by": 3}, {"approved_by": "x", "policy": {}}]
    assert unapproved(approved_before(plan(text), garbled)) is not None


# ---- policies of one's own -------------------------------------------------------------------------------


def test_what_a_rule_sees(tmp_path: Path) -> None:
    text = """\
policies:
  - id: sees
    rule: >-
      resource.address == 'Endpoint/chat' && resource.kind == 'Endpoint' && resource.name == 'chat'
      && resource.labels.team == 'search' && !resource.lifecycle.prevent_destroy
      && resource.file.endsWith('chat.yaml') && resource.line == 1
      && environment == 'prod' && stack == 'shop' && params.most == 3
      && resource.plaintext[0].endsWith('[0].external_model.openai_config.openai_api_key_plaintext')
      && resource.spec.config.served_entities.all(e,
      is_plaintext(e.external_model.openai_config.openai_api_key_plaintext))
    message: no
    with: {most: 3}
  - id: sees-step
    rule: >-
      step.action == 'create' && step.changes.size() > 0 && step.calls[0].method == 'POST'
      && step.notice != '' && resource.name == step.name && plan.counts.create == 1
    message: no
  - id: sees-plan
    rule: plan.write_calls == 1 && plan.target == 'local' && plan.steps.all(s, s.kind == 'Endpoint')
    message: no
"""
    key = _EXTERNAL.replace('openai_api_key: "{{secrets/a/b}}"', 'openai_api_key_plaintext: "${env:KEY}"')
    assert judged(tmp_path, text, _HEAD + key) == ()


def test_each_goes_over_lists_and_maps(tmp_path: Path) -> None:
    text = """\
policies:
  - {id: l, each: resource.spec.config.served_entities, rule: item.name != 'a', message: "{item.name}"}
  - {id: m, each: resource.spec.tags, rule: key != 'x', message: "{key} is {item}"}
  - {id: n, each: resource.spec.ai_gateway.rate_limits, rule: "false", message: never}
"""
    found = judged(tmp_path, text, _HEAD + _ENTITY + "  tags:\n    y: q\n    x: z\n")
    assert [(one.policy, one.message, one.source and one.source.line) for one in found] == [
        ("l", "a", 7),
        ("m", "x is z", 13),
    ]


@pytest.mark.parametrize(
    ("entry", "line", "column", "what"),
    [
        ("rule: resource.name ==", 6, 5, "rule of the policy p: it ends too early\nresource.name ==\n"),
        ("rule: resource.nam == 'a'", 6, 5, "resource has no nam; did you mean name?"),
        ("rule: resorce.name == 'a'", 6, 5, "there is no resorce here; did you mean resource?"),
        ("rule: step.acton == 'a'", 6, 5, "step has no acton; did you mean action?"),
        ("rule: plan.counts.created == 1", 6, 5, "plan.counts has no created; did you mean create?"),
        ("rule: item.name == 'a'", 6, 5, "item is there where each: names a list"),
        ("rule: params.x == 1", 6, 5, "params has no x; known: none"),
        (
            "rule: resource.spec.confg.x == 1",
            6,
            5,
            "resource.spec has no confg in any kind; did you mean config?",
        ),
        (
            "rule: has(resource.spec.config.served_models)",
            6,
            5,
            "resource.spec.config.served_models is read as resource.spec.config.served_entities",
        ),
        (
            "on: resource\n    rule: step.action == 'a'",
            7,
            5,
            "step is not there in a policy on resource: write on: step",
        ),
        ('rule: "true"\n    when: resource.name +', 7, 5, "when of the policy p: it ends too early"),
        ('rule: "true"\n    fix: a {resource.nam} b', 7, 5, "fix of the policy p: resource has no nam"),
        ('rule: "true"\n    fix: a {resource', 7, 5, "fix of the policy p: a brace that nothing closes"),
    ],
)
def test_a_broken_rule_is_told_at_its_line(
    entry: str, line: int, column: int, what: str, tmp_path: Path
) -> None:
    text = f"policies:\n  - id: p\n    {entry}\n    message: m\n"
    with pytest.raises(ManifestError) as caught:
        compiled(policies(tmp_path, text))
    (problem,) = caught.value.problems
    assert (Path(problem.file).name, problem.line, problem.column) == ("reconciler.yaml", line, column)
    assert what in problem.what


def test_a_caret_stands_under_the_place(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        compiled(policies(tmp_path, "policies: [{id: p, rule: 1 == resorce.name, message: m}]\n"))
    told = caught.value.problems[0].what.split("\n")
    assert told[1].index("resorce") == told[2].index("^") == 5


@pytest.mark.parametrize("level", ["deny", "require_approval", "warn"])
@pytest.mark.parametrize("field", ["rule", "when", "each", "at"])
def test_an_evaluation_that_fails_never_passes(field: str, level: str, tmp_path: Path) -> None:
    fields = {"rule": "true", field: "resource.labels.nope == 'x'" if field != "at" else "'['"}
    if field == "each":
        fields["each"] = "resource.name"
    if field == "at":
        fields["rule"] = "false"
    written = "".join(f'    {name}: "{text}"\n' for name, text in fields.items())
    text = f"policies:\n  - id: p\n    level: {level}\n    message: m\n{written}"
    (found,) = judged(tmp_path, text, _HEAD + _ENTITY)
    assert found.is_broken
    assert found.level == level
    assert "of the policy cannot be evaluated" in found.message
    assert "reconciler.yaml:" in found.message
    plan = replace(_step(Action.UPDATE), violations=(found,))
    assert (denied(plan) is not None) is (level == "deny")
    assert (unapproved(plan) is not None) is (level == "require_approval")


def test_a_rule_that_gives_no_truth_does_not_hold(tmp_path: Path) -> None:
    (found,) = judged(tmp_path, "policies: [{id: p, rule: resource.name, message: m}]\n", _HEAD + _ENTITY)
    assert found.is_broken
    assert "it gives 'chat', and true or false is needed" in found.message


def test_a_rule_that_takes_too_long_denies(tmp_path: Path) -> None:
    loops = "[1,2,3,4,5,6,7,8,9,10].all(a, " * 6 + "true" + ")" * 6
    text = f'policies:\n  - id: p\n    message: m\n    rule: "{loops}"\n'
    (found,) = judged(tmp_path, text, _HEAD + _ENTITY)
    assert found.is_broken
    assert "it takes too long" in found.message


def test_no_secret_gets_out_by_a_message(tmp_path: Path) -> None:
    secret = "sk-0123456789"
    key = _EXTERNAL.replace('openai_api_key: "{{secrets/a/b}}"', 'openai_api_key_plaintext: "${env:KEY}"')
    text = """\
policies:
  - {id: a, rule: "false", message: "{resource} {resource.spec}"}
  - {id: b, rule: "false", message: "{step} {plan} {resource}", on: step}
  - {id: d, rule: "false", message: "{resource.spec.config}"}
  - {id: c, rule: resource.spec.description.startsWith('sk-0'), message: "reads {resource.spec.description}"}
"""
    other = _HEAD.replace("chat", "other") + _ENTITY + "        environment_vars: {MODE: a-literal}\n"
    manifest = _HEAD + key + f"  description: {secret}\n---\n" + other
    found = judged(tmp_path, text, manifest)
    assert [one.policy for one in found] == ["a", "a", "b", "b", "d", "d", "c", "c"], (
        "a rule cannot find out how a secret begins"
    )
    for one in found:
        assert secret not in str(one)
        assert "a-literal" not in str(one), "what may hold a secret is masked whoever wrote it"
        assert "sk-0" not in one.message.replace("sk-0'", "")
    assert "${env:KEY}" in found[0].message


def test_what_is_deleted_is_judged_as_a_step_only(tmp_path: Path) -> None:
    resources = resources_of(tmp_path, _HEAD + _ENTITY)
    rules = compiled(policies(tmp_path, "policies: [{use: rate-limits}, {use: approve-delete}]\n"))
    plan = plan_destroy(resources, Snapshot("local", _TUESDAY, {}))
    assert rules.of_plan(plan, resources, Context(_TUESDAY), judged=()) == ()


# ---- hypothesis ------------------------------------------------------------------------------------------

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_SECRETS = st.builds(Secret, st.text(min_size=4, max_size=9), st.just("${env:X}"))
_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "config": st.fixed_dictionaries(
            {}, optional={"served_entities": st.lists(_JSON, max_size=3) | _JSON, "other": _JSON | _SECRETS}
        )
        | _JSON,
        "tags": _JSON,
        "ai_gateway": _JSON,
        "permissions": st.lists(_JSON, max_size=2),
    },
)
_WORDS = """
    resource.spec resource.name resource.labels step.action step.changes plan.steps plan.counts item.name now
    params environment 1 -2.5 'a' [] {} true null has(resource.spec.tags) size(resource.spec) [1,2]
    resource.spec.config.served_entities resource.plaintext now.getHours() resource.spec.tags.team
"""
_PIECES = st.sampled_from(_WORDS.split())
_SIGNS = st.sampled_from(["&&", "||", "==", "!=", "<", "in", "+", "-", "*", "/", "?true:"])
_RULES = st.lists(st.tuples(_PIECES, _SIGNS), min_size=1, max_size=4).map(
    lambda parts: " ".join(itertools.chain.from_iterable(parts)) + " true"
)


_BUILTINS = compiled(
    [
        Policy(
            *(name, PolicyLevel(one.level), one.rule, Source("p.yaml", 1, 1)),
            *(one.on, one.when, one.each, one.at),
            message=one.message,
            params={name: given.default or ["a"] for name, given in one.params.items()},
        )
        for name, one in BUILTIN.items()
    ]
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rule=_RULES | st.text(max_size=20),
    each=st.just("") | _PIECES,
    message=st.text(max_size=20) | st.just("{resource.spec} {step} {item}"),
    spec=_SPECS,
    before=_JSON | _SECRETS,
    after=_JSON | _SECRETS,
    action=st.sampled_from(list(Action)),
)
def test_judging_raises_nothing_but_our_errors(
    rule: str, each: str, message: str, spec: Any, before: Any, after: Any, action: Action
) -> None:
    source = Source("m.yaml", 1, 1)
    resource = Resource(Address("Endpoint", "x"), spec, source)
    change = FieldChange(FieldPath(("tags",)), before, after)
    plan = Plan("t", (Step(resource.address, action, (change,)), Step(Address("Model", "y"), action)))
    own = Policy("own", PolicyLevel.DENY, rule, source, each=each, message=message)
    rules = _BUILTINS
    with suppress(ManifestError):
        rules = Policies((*_BUILTINS.rules, *compiled([own]).rules))
    context = Context(_TUESDAY, "prod", "shop")
    found = rules.of_plan(plan, [resource], context, judged=[resource])
    rules.trial([resource], context)
    for one in found:
        assert one.message or not one.is_broken
    plan_json(replace(plan, violations=found))
