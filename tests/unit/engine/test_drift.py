"""Which drift counts: terms of --ignore and --only, kinds of --fail-on."""

from __future__ import annotations

import pytest

from reconciler.engine.drift import parse_kinds, parse_terms, sifted
from reconciler.errors import UsageError
from reconciler.values import Action, Plan
from reconciler.verdict import kind_of_drift
from tests.unit.engine.workbench import Bench, custom, endpoint

_WANTED = (
    endpoint("chat", config=custom("1"), tags={"team": "a", "owner": "b"}),
    endpoint("rank", config=custom("1", workload_size="Small"), tags={"team": "a"}),
    endpoint("new", config=custom("1")),
)
_KNOWN = tuple(resource.address for resource in _WANTED)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """chat: two tags and a version differ; rank: its size and a tag; new: is missing."""
    bench = Bench()
    live = (
        endpoint("chat", config=custom("2"), tags={"team": "x", "extra": "y"}),
        endpoint("rank", config=custom("1", workload_size="Large"), tags={"team": "x"}),
    )
    assert bench.apply(*live).converged
    return bench.plan(*_WANTED)


def left(plan: Plan, *, ignore: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> set[str]:
    """What still counts: ``address:path``, or the kind of what has no paths."""
    kept, aside = sifted(plan, parse_terms(ignore, "--ignore", _KNOWN), parse_terms(only, "--only", _KNOWN))
    assert all(not step.calls for step in kept.steps)
    told = set()
    for step in kept.steps:
        if kind_of_drift(step) == "create":
            told.add(f"{step.address.name}:create")
        elif kind_of_drift(step):
            told |= {f"{step.address.name}:{change.path}" for change in step.changes}
    before = sum(1 if s.action is Action.CREATE else len(s.changes) for s in plan.steps)
    whole = {one.address for one in aside if one.path is None}
    hidden = sum(
        1 if step.action is Action.CREATE else len(step.changes)
        for step in plan.steps
        if step.address in whole
    )
    assert len(told) + hidden + sum(one.path is not None for one in aside) == before, "nothing is lost"
    return told


_CHAT = {
    "chat:config.served_entities[m].entity_version",
    "chat:tags.team",
    "chat:tags.owner",
    "chat:tags.extra",
}
_RANK = {"rank:config.served_entities[m].workload_size", "rank:tags.team"}
_NEW = {"new:create"}


@pytest.mark.parametrize(
    ("terms", "gone"),
    [
        ([], set()),
        (["Endpoint/chat"], _CHAT),
        (["Endpoint/*"], _CHAT | _RANK | _NEW),
        (["Endpoint"], _CHAT | _RANK | _NEW),
        (["*"], _CHAT | _RANK | _NEW),
        (["*/ch*", "Endpoint/new"], _CHAT | _NEW),
        (["*:tags"], {"chat:tags.team", "chat:tags.owner", "chat:tags.extra", "rank:tags.team"}),
        (["*:tags.*"], {"chat:tags.team", "chat:tags.owner", "chat:tags.extra", "rank:tags.team"}),
        (["*:tags.team"], {"chat:tags.team", "rank:tags.team"}),
        (['Endpoint/chat:tags["team"]'], {"chat:tags.team"}),
        (["Endpoint/rank:tags.extra"], set()),
        (
            ["*:config.served_entities[*].workload_size"],
            {"rank:config.served_entities[m].workload_size"},
        ),
        (["*:config.served_models[m].model_version"], {"chat:config.served_entities[m].entity_version"}),
        (["*:config"], {c for c in _CHAT | _RANK if "config" in c}),
    ],
)
def test_ignore(plan: Plan, terms: list[str], gone: set[str]) -> None:
    assert left(plan, ignore=tuple(terms)) == (_CHAT | _RANK | _NEW) - gone


@pytest.mark.parametrize(
    ("terms", "kept"),
    [
        (["Endpoint/chat"], _CHAT),
        (["Endpoint/rank:tags"], {"rank:tags.team"}),
        # What is missing lacks that field as well: it is never left aside for a field's sake.
        (["*:tags.team"], {"chat:tags.team", "rank:tags.team"} | _NEW),
        (["Endpoint/chat:config", "Endpoint/new"], {"chat:config.served_entities[m].entity_version"} | _NEW),
    ],
)
def test_only(plan: Plan, terms: list[str], kept: set[str]) -> None:
    assert left(plan, only=tuple(terms)) == kept


def test_what_is_ignored_says_by_what(plan: Plan) -> None:
    kept, aside = sifted(plan, parse_terms(["*:tags.team"], "--ignore", _KNOWN), ())
    assert {(str(a.address), str(a.path), a.why) for a in aside} == {
        ("Endpoint/chat", "tags.team", "--ignore *:tags.team"),
        ("Endpoint/rank", "tags.team", "--ignore *:tags.team"),
    }
    _, others = sifted(plan, (), parse_terms(["Endpoint/new"], "--only", _KNOWN))
    assert {(str(a.address), a.path, a.why) for a in others} == {
        ("Endpoint/chat", None, "not named by --only"),
        ("Endpoint/rank", None, "not named by --only"),
    }
    assert len(kept.steps) == len(plan.steps)


def test_a_replacement_whose_reason_is_ignored_is_an_update() -> None:
    bench = Bench()
    assert bench.apply(endpoint(config=custom(), description="old", tags={"a": "1"})).converged
    wanted = endpoint(config=custom(), description="new", tags={"a": "2"})
    plan = bench.plan(wanted)
    assert plan.steps[0].action is Action.REPLACE

    terms = parse_terms(["*:description"], "--ignore", [wanted.address])
    kept, aside = sifted(plan, terms, ())

    assert kept.steps[0].action is Action.UPDATE
    assert [str(one.path) for one in aside] == ["description"]
    both = parse_terms(["*:description", "*:tags"], "--ignore", [wanted.address])
    assert kind_of_drift(sifted(plan, both, ())[0].steps[0]) == ""


@pytest.mark.parametrize(
    ("term", "told"),
    [
        ("Endpoint/chatt", "did you mean Endpoint/chat?"),
        ("Endpont", "did you mean Endpoint?"),
        ("Endpoint/", "is no term"),
        ("", "is no term"),
        ("Endpoint/chat:", "is no term"),
        ("Endpoint/chat:tgas", "no such field"),
        ("*:config.served_entities.workload_size", "no such field"),
        ("*:config.served_entities[*].workload_sizes", "no such field"),
        ("*:config..x", "not a field path"),
    ],
)
def test_a_term_that_means_nothing_is_an_error(term: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_terms([term], "--ignore", _KNOWN)
    assert told in f"{raised.value.what} {raised.value.fix}"
    assert "--ignore" in raised.value.what


def test_kinds() -> None:
    assert parse_kinds([]) == frozenset()
    assert parse_kinds(["delete,replace", "create"]) == {"delete", "replace", "create"}
    with pytest.raises(UsageError, match="no kind of drift") as raised:
        parse_kinds(["delet"])
    assert raised.value.fix == "did you mean delete?"
