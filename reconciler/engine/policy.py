"""Policies over desired state and plan: rules in CEL → :class:`Violation`s. Pure; the clock is a value.

A rule sees what a report may show and nothing else: a secret stands as its reference, what may hold one as
``***``. A rule that comes to nothing does not hold: an error of a policy that denies denies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reconciler.engine import cel
from reconciler.engine.policy_checks import problems_of, scope_of
from reconciler.engine.policy_text import Template, template
from reconciler.engine.policy_values import plan_value, resource_value, step_value
from reconciler.engine.signing import digest_of
from reconciler.errors import ManifestError, Problem
from reconciler.kinds import kind_of
from reconciler.manifest.policies import EXPRESSIONS, Policy
from reconciler.redact import Redactor
from reconciler.shape import canonical_sources
from reconciler.values import Action, Address, FieldPath, ItemKey, Plan, Resource, Source, Step, Violation

__all__ = ["Context", "Policies", "Rule", "compiled"]

_MOST: Final = 2_000_000
"""What one policy may spend in a run, over all that it judges; an evaluation has a budget of its own."""
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class Context:
    """What is judged besides resources and plan. ``now``: RFC 3339. ``redactor``: knows the run's secrets."""

    now: str
    environment: str = ""
    stack: str = ""
    redactor: Redactor = field(default_factory=Redactor)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A policy that can be read. ``on``: resource, step or plan."""

    policy: Policy
    on: str
    expressions: Mapping[str, cel.Expression]
    message: Template
    fix: Template
    params: Any
    digest: str


def compiled(policies: Sequence[Policy]) -> Policies:
    """The policies with their expressions read. Raises ManifestError with all that is wrong with them."""
    rules = []
    problems: list[Problem] = []
    for policy in policies:
        expressions: dict[str, cel.Expression] = {}
        told: list[Problem] = []
        for name in EXPRESSIONS:
            text = getattr(policy, name)
            if text or name == "rule":
                try:
                    expressions[name] = cel.parse(text)
                except cel.CelError as error:
                    told.append(_problem(policy, name, text, error))
        templates = {}
        for name in ("message", "fix"):
            try:
                templates[name] = template(getattr(policy, name))
            except cel.CelError as error:
                told.append(_problem(policy, name, getattr(policy, name), error))
        if not told:
            on = scope_of(policy, expressions)
            told += [
                _problem(policy, name, getattr(policy, name), wrong)
                for name, wrong in problems_of(policy, on, expressions, templates)
            ]
        problems += told
        if not told:
            meant = {name: getattr(policy, name) for name in (*EXPRESSIONS, "id", "level")}
            digest = digest_of({**meant, "on": on, "params": dict(policy.params)})
            params = cel.to_cel(policy.params)
            rules.append(
                Rule(policy, on, expressions, templates["message"], templates["fix"], params, digest)
            )
    if problems:
        raise ManifestError(problems)
    return Policies(tuple(rules))


def _problem(policy: Policy, name: str, text: str, error: cel.CelError) -> Problem:
    """The problem at the rule's own line, with the place inside of it under the text."""
    place = policy.place_of(name)
    what = f"{name} of the policy {policy.id}: {error.what}{cel.marked(text, error)}"
    return Problem(place.file, place.line, place.column, "", what, "", "policy")


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """What a rule is judged for. ``at``: where a field of it stands, by its path below spec."""

    address: Address | None
    variables: Mapping[str, Any]
    source: Source | None
    at: Callable[[tuple[str | int, ...]], Source | None]
    step: Step | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Policies:
    """Policies that can be judged by."""

    rules: tuple[Rule, ...] = ()

    def of_resources(self, resources: Sequence[Resource], context: Context) -> tuple[Violation, ...]:
        """What the rules over resources say, in the order of policies and manifests."""
        subjects = [_of_resource(resource, context) for resource in resources]
        return tuple(self._judged("resource", subjects, context))

    def of_plan(
        self, plan: Plan, resources: Sequence[Resource], context: Context, *, judged: Sequence[Resource]
    ) -> tuple[Violation, ...]:
        """What all rules say of a plan. ``resources``: what is declared; ``judged``: of these, those that
        the rules over resources are for (not what is to be deleted)."""
        values = {resource.address: _of_resource(resource, context) for resource in resources}
        found = [*self._judged("resource", [values[one.address] for one in judged], context)]
        if all(rule.on == "resource" for rule in self.rules):
            return tuple(found)
        whole = cel.to_cel(context.redactor.value(plan_value(plan, context.environment)))
        found += self._judged(
            "step", [_of_step(step, values, whole, context) for step in plan.steps], context
        )
        of_plan = _Subject(None, {"plan": whole}, None, lambda path: None)
        found += self._judged("plan", [of_plan], context)
        order = {rule.policy.id: at for at, rule in enumerate(self.rules)}
        return tuple(sorted(found, key=lambda violation: order[violation.policy]))

    def trial(self, resources: Sequence[Resource], context: Context) -> list[Problem]:
        """What is wrong with rules over steps and plans whatever the plan is: types that do not go together.

        They are tried on a plan that changes nothing; what depends on its changes shows in a plan only.
        """
        plan = Plan("", tuple(Step(one.address, Action.NO_OP, source=one.source) for one in resources[:1]))
        whole = cel.to_cel(plan_value(plan, context.environment))
        values = {one.address: _of_resource(one, context) for one in resources[:1]}
        subjects = {
            "step": [_of_step(step, values, whole, context) for step in plan.steps],
            "plan": [_Subject(None, {"plan": whole}, None, lambda path: None)],
        }
        problems = []
        for rule in self.rules:
            for subject in subjects.get(rule.on, ()):
                known = {**_fixed(context), **subject.variables, "params": rule.params}
                for name in ("when", "each", "rule"):
                    if name in rule.expressions and not (name == "rule" and "each" in rule.expressions):
                        try:
                            value = cel.evaluate(rule.expressions[name], known, cel.Budget())
                            if name != "each":
                                _truth(value)
                        except cel.Missing:
                            continue
                        except cel.CelError as error:
                            text = getattr(rule.policy, name)
                            problems.append(_problem(rule.policy, name, text, error))
        return problems

    def _judged(self, on: str, subjects: Sequence[_Subject], context: Context) -> Iterable[Violation]:
        fixed = _fixed(context)
        for rule in self.rules:
            if rule.on == on:
                purse = cel.Budget(_MOST)
                for subject in subjects:
                    yield from _judged(rule, subject, fixed, purse, context.redactor)


def _fixed(context: Context) -> dict[str, Any]:
    return {
        "now": cel.moment(context.now),
        "environment": cel.to_cel(context.environment),
        "stack": cel.to_cel(context.stack),
    }


def _of_resource(resource: Resource, context: Context) -> _Subject:
    value = cel.to_cel(context.redactor.value(resource_value(resource)))
    fields = kind_of(resource.address).fields
    places: dict[tuple[str | int, ...], Source] = {}

    def at(path: tuple[str | int, ...]) -> Source | None:
        if not places:
            places.update(canonical_sources(fields, dict(resource.spec), resource.positions))
        parts = path
        while parts:
            if found := places.get(parts):
                return found
            parts = parts[:-1]
        return resource.source

    return _Subject(resource.address, {"resource": value}, resource.source, at)


def _of_step(step: Step, resources: Mapping[Address, _Subject], plan: Any, context: Context) -> _Subject:
    desired = resources.get(step.address)
    variables = {
        "step": cel.to_cel(context.redactor.value(step_value(step))),
        "resource": desired.variables["resource"] if desired else None,
        "plan": plan,
    }
    return _Subject(step.address, variables, step.source, desired.at if desired else lambda path: None, step)


# ---- one rule and one subject ----------------------------------------------------------------------------


def _judged(
    rule: Rule, subject: _Subject, fixed: Mapping[str, Any], purse: cel.Budget, redactor: Redactor
) -> Iterable[Violation]:
    variables = {**fixed, **subject.variables, "params": rule.params}

    def value(name: str, more: Mapping[str, Any]) -> Any:
        return _spent(rule.expressions[name], {**variables, **more}, purse)

    def broken(name: str, error: cel.CelError, more: Mapping[str, Any], path: FieldPath | None) -> Violation:
        where = rule.policy.place_of(name)
        place = f", column {error.column}" if error.column else ""
        message = f"{name} of the policy cannot be evaluated: {error.what} ({where.file}:{where.line}{place})"
        fix = "mend the policy: has(…) asks whether a field is there"
        return replace(_violation(rule, subject, message, path), fix=fix, is_broken=True)

    try:
        if "when" in rule.expressions and not _truth(value("when", {})):
            return
    except cel.CelError as error:
        yield broken("when", error, {}, None)
        return
    try:
        items = _items(rule, value)
    except cel.CelError as error:
        yield broken("each", error, {}, None)
        return
    for part, item in items:
        path = _path(rule, part)
        try:
            holds = _truth(value("rule", item))
            if not holds and "at" in rule.expressions:
                path = _parsed(value("at", item))
        except cel.CelError as error:
            yield broken("rule", error, item, path)
            continue
        if not holds:
            known = {**variables, **item}
            told = [
                redactor.text(one.text(lambda expression: _spent(expression, known, purse)))  # noqa: B023
                for one in (rule.message, rule.fix)
            ]
            yield replace(_violation(rule, subject, told[0][:_LONGEST], path), fix=told[1][:_LONGEST])


def _spent(expression: cel.Expression, variables: Mapping[str, Any], purse: cel.Budget) -> Any:
    """An evaluation that a policy pays from its purse."""
    budget = cel.Budget(min(cel.Budget().left, max(purse.left, 0)))
    before = budget.left
    try:
        return cel.evaluate(expression, variables, budget)
    finally:
        purse.left -= before - max(budget.left, 0)


def _truth(value: Any) -> bool:
    if not cel.is_truth(value):
        raise cel.CelError(f"it gives {cel.shown(value)[:40]!r}, and true or false is needed")
    return bool(value)


Item = tuple[str | int | None, Mapping[str, Any]]


def _items(rule: Rule, value: Callable[[str, Mapping[str, Any]], Any]) -> list[Item]:
    """What a rule is judged for: each item with its index or name; one thing without either when it has no
    each."""
    if "each" not in rule.expressions:
        return [(None, {})]
    try:
        found = value("each", {})
    except cel.Missing:
        return []  # a list that is not there has no items
    if found is None:
        return []
    if isinstance(found, Mapping):
        return [(str(name), {"item": item, "key": name}) for name, item in found.items()]
    if isinstance(found, list):
        return list(enumerate({"item": item} for item in found))
    raise cel.CelError("it gives neither a list nor a map")


def _path(rule: Rule, part: str | int | None) -> FieldPath | None:
    """Which field below spec a rule is about: an item of ``each``, else the deepest that is named."""
    each = rule.expressions.get("each")
    if each is not None and (chain := each.chain) is not None and chain.parts[:2] == ("resource", "spec"):
        return FieldPath((*chain.parts[2:], part if part is not None else 0, *_of_item(rule)))
    if each is not None:
        return None
    for name in ("rule", "when"):
        chains = rule.expressions[name].chains if name in rule.expressions else ()
        named = [chain.parts[2:] for chain in chains if chain.parts[:2] == ("resource", "spec")]
        if deepest := max(named, key=len, default=()):
            return FieldPath(deepest)
    return None


def _of_item(rule: Rule) -> tuple[str, ...]:
    """The deepest field of an item that a rule names."""
    named = (chain.parts[1:] for chain in rule.expressions["rule"].chains if chain.parts[0] == "item")
    return max(named, key=len, default=())


def _parsed(value: Any) -> FieldPath | None:
    if not isinstance(value, str):
        raise cel.CelError("at gives no text")
    try:
        path = FieldPath.parse(value)
    except Exception as error:
        raise cel.CelError(f"at gives {value[:40]!r}, which is no field path") from error
    return FieldPath(int(p.text) if isinstance(p, ItemKey) and p.text.isdigit() else p for p in path)


def _violation(rule: Rule, subject: _Subject, message: str, path: FieldPath | None) -> Violation:
    source = subject.source
    if path is not None:
        parts = tuple(p.text if isinstance(p, ItemKey) else p for p in path)
        source = subject.at(parts) or source
    return Violation(
        rule.policy.id,
        rule.policy.level,
        message,
        subject.address,
        # A plan has no line of its own: the policy's is where somebody can do something.
        source if source is not None or subject.address is not None else rule.policy.source,
        str(path) if path is not None else "",
        declared=rule.policy.source,
        digest=rule.digest,
    )


def acting(plan: Plan) -> frozenset[Address]:
    """What a plan writes to and does not delete."""
    return frozenset(step.address for step in plan.steps if step.calls and step.action is not Action.DELETE)
