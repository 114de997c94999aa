"""Whether a gateway's secret has the desired value, as far as it can be told; and what is sent for it."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.kinds import kind
from reconciler.kinds.gateway_secret import sealed
from reconciler.values import (
    Action,
    Address,
    FieldChange,
    FieldPath,
    Live,
    Masked,
    Resource,
    Secret,
    Source,
)

_ADDRESS = Address("GatewaySecret", "openai")
_VALUE = "sk-abcdefgh-cdef"
_MASK = "sk-...cdef"
_SEAL = "12345678.aaaaaaaaaaaaaaaaaaaaaa"
_OTHER = "12345678.bbbbbbbbbbbbbbbbbbbbbb"
_OTHER_KEY = "87654321.aaaaaaaaaaaaaaaaaaaaaa"


def _resource(seal: str = _SEAL, values: dict[str, Any] | None = None, **more: Any) -> Resource:
    found = values if values is not None else {"api_key": Secret(_VALUE)}
    spec = {"provider": "openai", "secret_value": found, **more}
    return Resource(_ADDRESS, spec, Source("m.yaml", 1), stack="shop", seal=seal)


def _live(by: str | None = f"reconciler:shop seal:{_SEAL}", masks: Any = None, **more: Any) -> Live:
    raw = {"secret_id": "s-1", "secret_name": "openai", "provider": "openai", **more}
    raw["masked_values"] = {"api_key": _MASK} if masks is None else masks
    return Live(_ADDRESS, raw if by is None else {**raw, "last_updated_by": by})


# ---- verdicts -------------------------------------------------------------------------------------------


def test_the_same_seal_is_the_same_value() -> None:
    assert sealed(_resource(), _live()).verdict == "same"


def test_another_seal_of_the_same_key_is_another_value() -> None:
    found = sealed(_resource(_OTHER), _live())
    assert (found.verdict, found.why) == ("changed", "it is another value than was sent last")


def test_a_seal_of_another_stack_counts_too() -> None:
    assert sealed(_resource(), _live(f"reconciler:other seal:{_SEAL}")).verdict == "same"


@pytest.mark.parametrize(
    ("seal", "by", "why"),
    [
        (_SEAL, "ann", "it was set by ann, not from here: send it with --resend-secrets"),
        (_SEAL, "", "it was set by somebody, not from here: send it with --resend-secrets"),
        (_SEAL, None, "it was set by somebody, not from here: send it with --resend-secrets"),
        (_SEAL, "reconciler:shop", "there is no fingerprint of what was sent last"),
        ("", f"reconciler:shop seal:{_SEAL}", "there is no fingerprint of what was sent last"),
        ("", "reconciler:shop", "there is no fingerprint of what was sent last"),
        (_OTHER_KEY, f"reconciler:shop seal:{_SEAL}", "its fingerprint was made with another key"),
        (_SEAL, f"not reconciler:shop seal:{_SEAL}", "it was set by not reconciler"),
    ],
)
def test_what_cannot_be_told_is_said_to_be_unknown(seal: str, by: str | None, why: str) -> None:
    found = sealed(_resource(seal), _live(by))
    assert found.verdict == "unknown"
    assert found.why.startswith(why)


@pytest.mark.parametrize(
    "masks",
    [
        {"api_key": "sk-...0000"},
        {"api_key": "xx-...cdef"},
        {"api_key": "***"},
        {},
        {"other": _MASK},
        {"api_key": _MASK, "other": "***"},
    ],
)
@pytest.mark.parametrize("by", [f"reconciler:shop seal:{_SEAL}", "ann", None])
def test_another_mask_is_another_value_whoever_set_it(masks: dict[str, str], by: str | None) -> None:
    found = sealed(_resource(), _live(by, masks))
    assert (found.verdict, found.why) == ("changed", "the gateway's mask shows another value")


@pytest.mark.parametrize(
    ("value", "mask"),
    [
        ("1234567", "***"),
        ("12345678", "123...5678"),
        ("a", "***"),
        ("sk-" + "x" * 100 + "last", "sk-...last"),
        ("ключ-ключ", "клю...ключ"),
    ],
)
def test_the_mask_is_the_servers(value: str, mask: str) -> None:
    """As mlflow 3.17 shows values: nothing below 8 characters, else the first three and the last four."""
    resource = _resource(values={"api_key": Secret(value)})
    assert sealed(resource, _live(masks={"api_key": mask})).verdict == "same"
    assert sealed(resource, _live(masks={"api_key": mask + "!"})).verdict == "changed"


def test_masks_of_a_saved_snapshot_are_digests_and_tell_the_same() -> None:
    salt = "salt"
    assert sealed(_resource(), _live(masks={"api_key": Masked.of(_MASK, salt)})).verdict == "same"
    assert sealed(_resource(), _live(masks={"api_key": Masked.of("sk-...0000", salt)})).verdict == "changed"


# ---- what is sent ---------------------------------------------------------------------------------------


def _sent(resource: Resource, live: Live | None, action: Action, *sections: str) -> list[dict[str, Any]]:
    changes = [FieldChange(FieldPath((name,)), None, None, section=name) for name in sections]
    return [dict(call.body) for call in kind("GatewaySecret").calls(resource, live, action, changes)]


def test_a_create_carries_the_mark_and_the_seal() -> None:
    (body,) = _sent(_resource(auth_config={}), None, Action.CREATE)
    assert body == {
        "secret_name": "openai",
        "provider": "openai",
        "secret_value": {"api_key": Secret(_VALUE)},
        "created_by": f"reconciler:shop seal:{_SEAL}",
    }


def test_without_a_key_there_is_a_mark_alone() -> None:
    (body,) = _sent(_resource(""), None, Action.CREATE)
    assert body["created_by"] == "reconciler:shop"


def test_a_value_that_is_sent_takes_its_seal_along() -> None:
    (body,) = _sent(_resource(_OTHER), _live(), Action.UPDATE, "secret_value")
    assert body == {
        "secret_id": "s-1",
        "secret_value": {"api_key": Secret(_VALUE)},
        "updated_by": f"reconciler:shop seal:{_OTHER}",
    }


@pytest.mark.parametrize(
    ("by", "kept"),
    [
        (f"reconciler:shop seal:{_SEAL}", f"reconciler:shop seal:{_SEAL}"),
        ("ann", "reconciler:shop"),  # a seal would say that our value was sent
        (f"reconciler:shop seal:{_OTHER_KEY}", "reconciler:shop"),
    ],
)
def test_another_update_keeps_a_seal_only_where_it_is_true(by: str, kept: str) -> None:
    resource = _resource(auth_config={"auth_mode": "api_key"})
    (body,) = _sent(resource, _live(by), Action.UPDATE, "auth_config")
    assert body == {"secret_id": "s-1", "auth_config": {"auth_mode": "api_key"}, "updated_by": kept}


def test_an_empty_auth_config_is_sent_so_that_the_server_clears_it() -> None:
    (body,) = _sent(_resource(auth_config=None), _live(), Action.UPDATE, "auth_config")
    assert body["auth_config"] == {"api_base": ""}


def test_adopting_sends_no_value_and_claims_none() -> None:
    (body,) = _sent(_resource(), _live("ann"), Action.ADOPT, "owner")
    assert body == {"secret_id": "s-1", "updated_by": "reconciler:shop"}


def test_another_provider_is_a_new_secret() -> None:
    bodies = _sent(_resource(), _live(), Action.REPLACE, "provider")
    assert [sorted(body) for body in bodies] == [
        ["secret_id"],
        ["created_by", "provider", "secret_name", "secret_value"],
    ]
