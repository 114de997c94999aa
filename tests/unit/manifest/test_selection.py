"""Which resources a term selects."""

from __future__ import annotations

import pytest

from reconciler.errors import UsageError
from reconciler.manifest.selection import parse_term, select
from reconciler.values import Address, Resource, Source


def _resource(address: str, file: str = "manifests/a.yaml", **labels: str) -> Resource:
    return Resource(Address.parse(address), {}, Source(file, 1), labels=labels)


_ALL = (
    _resource("Endpoint/chat", team="support", tier="prod"),
    _resource("Endpoint/chat-2", "manifests/b.yaml", team="support"),
    _resource("Endpoint/ranker", "more/c.yaml", team="ml"),
    _resource("Deployment/chat", "more/c.yaml"),
)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("Endpoint/chat", "0"),
        ("Endpoint/ch*", "01"),
        ("*/chat", "03"),
        ("Endpoint/chat-[0-9]", "1"),
        ("kind=Endpoint", "012"),
        ("kind=Deployment", "3"),
        ("label:team=support", "01"),
        ("label:team==support", "01"),
        ("label:team!=support", "23"),
        ("label:team in (support, ml)", "012"),
        ("label:team notin (support)", "23"),
        ("label:tier", "0"),
        ("label:!team", "3"),
        ("label:team=support,!tier", "1"),
        ("label:team in (a,ml),!tier", "2"),
        ("file:manifests/a.yaml", "0"),
        ("file:./manifests", "01"),
        ("file:more/", "23"),
        ("file:*/b.yaml", "1"),
    ],
)
def test_a_term_selects(term: str, expected: str) -> None:
    assert select(_ALL, [term]) == tuple(_ALL[int(at)] for at in expected)
    assert select(_ALL, (), [term]) == tuple(r for at, r in enumerate(_ALL) if str(at) not in expected)


def test_terms_add_up_in_the_order_of_the_manifests_and_exclusion_wins() -> None:
    assert select(_ALL, ["Endpoint/ranker", "Endpoint/chat"]) == (_ALL[0], _ALL[2])
    assert select(_ALL, ["kind=Endpoint"], ["label:team=support"]) == (_ALL[2],)
    assert select(_ALL) == _ALL


@pytest.mark.parametrize(
    ("term", "fix"),
    [
        ("chat", "Kind/name"),
        ("/chat", "Kind/name"),
        ("kind=Endpont", "Endpoint?"),
        ("label:team=(a", "label:team in (a,b)"),
        ("label:", "label:team=support"),
        ("label:team in a", "label:team in (a,b)"),
        ("file:", "file:manifests"),
    ],
)
def test_a_term_that_cannot_be_read(term: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_term(term)
    assert fix in caught.value.fix


@pytest.mark.parametrize("wanted", [True, False])
def test_a_term_that_fits_nothing_is_a_mistake(wanted: bool) -> None:
    with pytest.raises(UsageError, match="Endpoint/rankr: fits no manifest") as caught:
        select(_ALL, ["Endpoint/rankr"] if wanted else [], [] if wanted else ["Endpoint/rankr"])
    assert caught.value.fix == "did you mean Endpoint/ranker?"
    assert "Endpoint/chat-2" in caught.value.why


def test_nothing_left_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="nothing is selected"):
        select(_ALL, ["kind=Deployment"], ["*/*"])
