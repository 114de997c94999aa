"""Expressions: what they come to, where they are wrong, and that each of them ends."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.engine import cel

_KNOWN = {
    "resource": {
        "name": "chat",
        "labels": {"team": "a"},
        "spec": {"config": {"served_entities": [{"name": "m", "size": 3}]}, "tags": None, "ten": [1] * 10},
    }
}


def run(text: str, **more: Any) -> Any:
    variables = {name: cel.to_cel(value) for name, value in {**_KNOWN, **more}.items()}
    variables["now"] = cel.moment("2026-11-27T15:30:00Z")
    return cel.evaluate(cel.parse(text), variables, cel.Budget())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("resource.name == 'chat'", True),
        ("resource.spec.config.served_entities.all(e, e.size < 4)", True),
        ("resource.spec.config.served_entities.filter(e, e.size > 4).size() == 0", True),
        ("has(resource.spec.ai_gateway.rate_limits)", False),
        ("has(resource.spec.tags.team)", False),
        ("has(resource.spec.tags)", False),
        ("has(resource.spec.config.served_entities)", True),
        ("'team' in resource.labels && resource.labels['team'] in ['a', 'b']", True),
        ("resource.name.matches('^[a-z]+$')", True),
        ("now.getDayOfWeek() == 5 && now.getHours('Europe/Berlin') == 16", True),
        ("minutes('09:30') == 570 && minutes('24:00') == 1440", True),
        ("is_reference('{{secrets/a/b}}') && !is_reference('x')", True),
        ("is_plaintext('***') && is_plaintext('${env:KEY}') && !is_plaintext('{{secrets/a/b}}')", True),
        ("true || 1 / 0 == 1", True),
        ("type(1) == int", True),
    ],
)
def test_values(text: str, value: bool) -> None:
    assert bool(run(text)) is value


@pytest.mark.parametrize(
    ("text", "what", "column"),
    [
        ("resource.name ==", "it ends too early", 17),
        ("a b", "'b' does not fit here", 3),
        ("resource.?name", "'?' does not fit here", 10),
        ("resource.name.lowerAscii()", "there is no function lowerAscii", 15),
        ("nothing(1)", "there is no function nothing", 1),
        ("[1].reduce(r, i, 0, r + i)", "there is no macro reduce", 5),
        ("has(resource)", "has() asks for a field, as in has(resource.spec.tags)", 1),
        ("[1].all(1, true)", "all() takes the name of a variable and an expression", 5),
        ("[1].all(x)", "all() takes the name of a variable and an expression", 5),
        ("a.b{c: 1}", "messages and packages of protocol buffers are not known here", 1),
        ("(" * 100 + "1" + ")" * 100, "it is nested too deeply", 31),
        ("!" * 3000 + "true", "it is nested too deeply", 61),
    ],
)
def test_what_cannot_be_read_is_told_with_its_column(text: str, what: str, column: int) -> None:
    with pytest.raises(cel.CelError) as caught:
        cel.parse(text)
    assert (caught.value.what, caught.value.column) == (what, column)


def test_an_expression_has_a_length() -> None:
    with pytest.raises(cel.CelError, match="too long"):
        cel.parse("1 + " * 1000 + "1 ")


@pytest.mark.parametrize(
    ("text", "what", "column"),
    [
        ("1 + 'a' == 2", "the types do not go together: a whole number and text", 1),
        ("resource.name < 3", "the types do not go together: text and a whole number", 1),
        ("resource.spec.config.served_entities.all(e, e.nope == 1)", "there is no 'nope' here", 47),
        ("resource.spec.nope.more", "there is no 'nope' here", 15),
        ("resource.name.first", "text has no fields, and 'first' is asked of it", 15),
        ("has(resource.name.first)", "text has no fields, and 'first' is asked of it", 19),
        ("resource.spec.tags.team", "null has no field 'team'", 20),
        ("[1][4]", "there is no such item", 1),
        ("'a'.matches('(')", "'(' is no pattern of RE2", 5),
        ("'a' * 9223372036854775807 == ''", "the types do not go together: text and a whole number", 1),
        ("[1] * 9223372036854775807 == []", "the types do not go together: a list and a whole number", 1),
        ("'%99999999999d' % 1 == ''", "the types do not go together: text and a whole number", 1),
        ("1 / 0", "integer division or modulo by zero", 1),
        ("minutes('9')", "minutes('9'): not a time of day such as 09:30", 1),
    ],
)
def test_what_cannot_be_evaluated_is_told_with_its_column(
    text: str, what: str, column: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(cel.CelError) as caught:
        run(text)
    assert (caught.value.what, caught.value.column) == (what, column)
    assert capfd.readouterr().err == "", "RE2 keeps its words to itself"


_TEN = "[1,2,3,4,5,6,7,8,9,10]"


@pytest.mark.parametrize(
    "text",
    [
        "resource.spec.ten.all(a, " * 6 + "true" + ")" * 6,
        f"{_TEN}.all(a, " * 6 + "true" + ")" * 6,
        "[1]" + ".map(x, [x, x])" * 30 + " == []",
        "['aaaa']" + ".map(x, x + x + x)" * 30 + " == ['b']",
        "[1]" + ".map(x, [x,x,x,x,x,x,x,x,x,x])" * 10 + ".exists(x, string(x) == 'a')",
        "[[1]]" + ".map(x, x + x)" * 40 + ".all(x, x == x)",
    ],
    ids=["loops", "loops in loops", "nested lists", "long text", "text of lists", "long lists"],
)
def test_each_evaluation_ends(text: str) -> None:
    began = time.process_time()
    with pytest.raises(cel.Exhausted):
        run(text)
    assert time.process_time() - began < 5


def test_a_spent_budget_is_no_undecided_value() -> None:
    loops = f"{_TEN}.all(a, " * 5 + "true" + ")" * 5
    with pytest.raises(cel.Exhausted):
        run(f"true || {loops}")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="resource.specnamelab()[]{}!&|?:'\"<>=+-*/%,12 \n\\$#", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(cel.CelError):
        run(text)
