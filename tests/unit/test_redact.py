"""Known values get out in no form; marked fields are masked; terminals are shown text, not commands."""

from __future__ import annotations

import base64
import io
import json
import logging
import unicodedata
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.redact import Redactor, control, plain, secrets_in, shown, shown_body
from reconciler.values import MASK, Action, Address, Call, FieldChange, FieldPath, Masked, Secret, Step

VALUE = 'p4ss/w+rd "ü"\\='
REDACTOR = Redactor([Secret(VALUE, "${env:K}")])


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False),
        repr(VALUE),
        quote(VALUE),
        quote(VALUE, safe=""),
        quote_plus(VALUE),
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
        *(base64.b64encode(f"{'u' * n}:{VALUE}:{'x' * n}".encode()).decode() for n in range(4)),
    ],
)
def test_a_value_is_found_in_the_forms_text_carries(form: str) -> None:
    text = REDACTOR.text(f"before {form} after")
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert "***" in text
    assert "p4ss" not in text
    assert base64.b64encode(VALUE.encode())[3:12].decode() not in text


def test_longer_values_and_overlaps_leave_nothing_behind() -> None:
    redactor = Redactor([Secret("abcd"), Secret("abcdef"), Secret("efghij")])
    assert redactor.text("abcd abcdef abcdefghij!") == "*** *** ***!"


def test_values_under_four_characters_are_not_searched_for() -> None:
    redactor = Redactor([Secret("on"), Secret("443"), Secret("")])
    assert redactor.text("on port 443, nothing is masked") == "on port 443, nothing is masked"
    assert redactor.value({"a": Secret("on", "${env:A}")}) == {"a": "${env:A}"}


def test_a_key_file_is_found_line_by_line() -> None:
    lines = ["-----BEGIN KEY-----", "MIIEvQIBADANBgkqhkiG9w0B", "short", "-----END KEY-----"]
    redactor = Redactor([Secret("\n".join(lines))])
    assert redactor.text(f"read: {lines[1]}") == "read: ***"
    assert redactor.text("short") == "short"
    assert redactor.text(control("\n".join(lines))) == "***"


def test_many_values_are_found_as_few_are() -> None:
    redactor = Redactor(Secret(f"{n:04}-secret-of-some-length") for n in range(0, 200, 2))
    text = " ".join(f"{n:04}-secret-of-some-length" for n in range(200))
    expected = " ".join("***" if n % 2 == 0 else f"{n:04}-secret-of-some-length" for n in range(200))
    assert redactor.text(text) == expected
    assert redactor.value({"a": [text, 1]}) == {"a": [expected, 1]}
    for width in (4, 7, 11, 12, 13):
        redactor = Redactor(Secret(f"{n:0{width}}") for n in range(100))
        zeros = "0" * (width - 4)
        assert redactor.text(f"{zeros}0007 {zeros}0100 {zeros}0099!") == f"*** {zeros}0100 ***!"


def test_more_can_be_known_later() -> None:
    redactor = Redactor()
    assert redactor.text("hunter22") == "hunter22"
    redactor.add(Secret("hunter22"))
    assert redactor.text("hunter22") == "***"


def test_values_are_walked() -> None:
    value = {
        "a": [Secret("hunter22", "${env:K}"), Masked("d", "s"), "is hunter22", 1, None, True],
        "hunter22": {"b": ("x", {"y"})},
    }
    known = Redactor.of(value)
    assert known.value(value) == {
        "a": ["${env:K}", "***", "is ***", 1, None, True],
        "***": {"b": ["x", ["y"]]},
    }


def test_plain_is_json_without_nan() -> None:
    value = {1: float("nan"), "b": [float("inf"), b"bytes"], "c": Action.UPDATE}
    assert plain(value) == {"1": "nan", "b": ["inf", "***"], "c": "update"}
    json.dumps(plain(value), allow_nan=False)


def test_secrets_of_a_step_are_found_in_all_its_places() -> None:
    a, b, c, d = (Secret(f"value-{n}") for n in range(4))
    step = Step(
        Address("Endpoint", "x"),
        Action.UPDATE,
        changes=(FieldChange(FieldPath(("a",)), {"x": [a]}, b),),
        calls=(Call("u", {"k": (c,)}, "PUT", "/", {"x": {"y": d}}),),
    )
    assert set(secrets_in(step)) == {a, b, c, d}


# ---- by the schema --------------------------------------------------------------------------------------

LIVE: Any = {"served_entities": [{"name": "a", "environment_vars": {"KEY": "live-value", "NONE": None}}]}


@pytest.mark.parametrize(
    ("body", "section"),
    [(LIVE, "config"), ({"config": LIVE}, "config"), ({"name": "x", "config": LIVE}, "")],
)
def test_a_live_value_of_a_marked_field_is_masked_in_any_body(body: Any, section: str) -> None:
    text = json.dumps(shown_body(body, "Endpoint", section))
    assert "live-value" not in text
    assert '{"KEY": "***", "NONE": null}' in text
    assert '"name": "a"' in text


def test_a_name_that_is_marked_elsewhere_is_not_masked() -> None:
    # "value" is a secret of external_model.custom_provider_config.api_key_auth, and harmless in a tag.
    tags = {"add_tags": [{"key": "team", "value": "x"}]}
    assert shown_body(tags, "Endpoint", "tags") == tags
    auth = {"api_key_auth": {"key": "X-Key", "value": "{{secrets/a/b}}", "value_plaintext": "k"}}
    assert shown_body(auth, "Endpoint", "config") == {
        "api_key_auth": {"key": "X-Key", "value": "{{secrets/a/b}}", "value_plaintext": "***"}
    }


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("old-key", Secret("new", "${env:K}"), ("***", "${env:K}")),
        ({"a": "old", "b": 1}, {"a": Secret("new", "${env:K}"), "b": 2},
         ({"a": "***", "b": 1}, {"a": "${env:K}", "b": 2})),
        (["old"], [Secret("new", "${env:K}")], (["***"], ["${env:K}"])),
        (None, Secret("new", "${env:K}"), (None, "${env:K}")),
        ("{{secrets/a/b}}", Secret("new", "${env:K}"), ("{{secrets/a/b}}", "${env:K}")),
    ],
)  # fmt: skip
def test_what_stood_where_a_secret_comes_is_masked(before: Any, after: Any, expected: Any) -> None:
    assert shown(FieldChange(FieldPath(("unknown",)), before, after), "Endpoint") == expected


def test_a_field_below_a_marked_one_is_masked_by_its_path() -> None:
    path = FieldPath.parse("config.served_entities[a].environment_vars.KEY")
    assert shown(FieldChange(path, "x", "y"), "Endpoint") == ("***", "***")


def test_a_sensitive_change_of_an_unknown_kind_is_masked_whole() -> None:
    change = FieldChange(FieldPath(("a",)), {"environment_vars": "x", "b": "y"}, None, sensitive=True)
    assert shown(change, "Gateway") == ({"environment_vars": "***", "b": "***"}, None)


# ---- terminals and logs ---------------------------------------------------------------------------------


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert control("a\x1b[31m\x00\x7f\x9b\u202e\u2066\u200b\ud800\U000e0041\r\n\tz") == (
        r"a\x1b[31m\x00\x7f\x9b\u202e\u2066\u200b\ud800\U000e0041\r\n\tz"
    )
    assert control("one\ntwo\x1b", keep="\n") == "one\ntwo\\x1b"
    assert control("Zürich 日本 → 🙂") == "Zürich 日本 → 🙂"


def logged(log: Any) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(REDACTOR.formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.Logger("reconciler.test")
    logger.addHandler(handler)
    log(logger)
    return stream.getvalue()


def test_a_log_record_is_redacted_with_its_arguments_and_traceback() -> None:
    def log(logger: logging.Logger) -> None:
        try:
            raise ValueError(f"cannot use {VALUE}")
        except ValueError:
            logger.exception("key %s, %r", VALUE, {"k": VALUE}, stack_info=True)

    text = logged(log)
    assert text.startswith("ERROR reconciler.test: key ***")
    assert "ValueError: cannot use ***" in text
    assert "p4ss" not in text


def test_a_message_cannot_pretend_to_be_another_record() -> None:
    text = logged(lambda logger: logger.warning("no\nERROR reconciler: all is lost\x1b[2J"))
    assert text == "WARNING reconciler.test: no\n    ERROR reconciler: all is lost\\x1b[2J\n"


def test_a_broken_logging_call_is_still_logged() -> None:
    assert logged(lambda logger: logger.warning("%d items", "no")) == "WARNING reconciler.test: %d items\n"


# ---- anything -------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_characters="*"), max_size=12)


@given(st.lists(st.one_of(words, st.just("\ud800")), min_size=1, max_size=4), st.lists(words, max_size=5))
def test_no_known_value_is_left(secrets: list[str], around: list[str]) -> None:
    redactor = Redactor(Secret(value) for value in secrets)
    text = redactor.text("".join(part for pair in zip(around, secrets * 5, strict=False) for part in pair))
    assert not [value for value in secrets if len(value) >= 4 and value in text]


@given(st.text(st.characters()))
def test_control_leaves_only_what_can_be_printed(text: str) -> None:
    assert not {unicodedata.category(c) for c in control(text)} & {"Cc", "Cs", "Zl", "Zp"}
    assert control(control(text)) == control(text)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({"openai_config": {"openai_api_key_plaintext": "sk-1"}}, "***"),
        ({"served_entities": [{"environment_vars": {"A": "v-1"}}]}, "***"),
        ({"access_token": "t-1", "expires_in": 3600}, "***"),
        ({"key": Secret("k-12345", "${env:K}")}, "${env:K}"),
    ],
)
@pytest.mark.parametrize("name", ["sent", "answered"])
def test_bodies_of_requests_are_logged_without_what_is_marked(body: Any, shown: str, name: str) -> None:
    record = logging.makeLogRecord({"msg": "PUT /x 200 3 ms", "levelname": "DEBUG", name: body})
    told = Redactor().formatter().format(record)
    assert told.startswith(f"PUT /x 200 3 ms\n    {name}: {{")
    assert shown in told
    for value in ("sk-1", "v-1", "t-1", "k-12345"):
        assert value not in told


def test_bytes_of_an_answer_are_logged_as_json_or_counted() -> None:
    def told(content: bytes) -> str:
        return Redactor().formatter().format(logging.makeLogRecord({"msg": "m", "answered": content}))

    assert told(b'{"client_secret": "s", "name": "\\u001b[2J"}') == (
        'm\n    answered: {"client_secret": "***", "name": "\\u001b[2J"}'
    )
    assert told(b"<html>secret</html>") == "m\n    answered: 19 bytes that are not JSON"
    assert told(b"") == "m"
    assert "10,000 characters" in told(b'"' + b"x" * 9_998 + b'"')
    assert "nested too deeply" in told(b"[" * 900 + b"]" * 900)


def test_secrets_that_are_found_out_later_are_masked() -> None:
    found: list[Secret] = []
    redactor = Redactor((), more=lambda: found)
    assert redactor.text("token-4711") == "token-4711"
    found.append(Secret("token-4711"))
    assert redactor.text("token-4711") == MASK
    assert redactor.value({"a": "token-4711"}) == {"a": MASK}
