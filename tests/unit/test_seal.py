"""The fingerprint key: where it comes from, that it stays where it is, and what its seals tell."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import UsageError
from reconciler.seal import VARIABLE, SealKey, key_file, load_key
from reconciler.values import Address, Resource, Secret, Source

_GIVEN = "a-key-of-the-environment"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this user's key stands in these tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return key_file()


def _resource(
    name: str = "openai", value: Any = "sk-1", kind: str = "GatewaySecret", **more: Any
) -> Resource:
    secret_value = {"api_key": Secret(value, "${env:A}")} if isinstance(value, str) else value
    spec = {"provider": "openai", "secret_value": secret_value, **more}
    return Resource(Address(kind, name), spec, Source("m.yaml", 1))


def _key(text: str = _GIVEN) -> SealKey:
    found = load_key({VARIABLE: text})
    assert found is not None
    return found


# ---- where the key comes from ---------------------------------------------------------------------------


def test_the_environment_goes_first_and_no_file_is_made(place: Path) -> None:
    found = load_key({VARIABLE: f"  {_GIVEN}\n"}, make=True)
    assert found is not None
    assert (found.key.reveal(), found.source) == (_GIVEN, VARIABLE)
    assert not place.exists()


def test_without_any_there_is_none_and_looking_makes_none(place: Path) -> None:
    assert load_key({}) is None
    assert load_key({VARIABLE: "  "}) is None
    assert not place.parent.exists()


def test_one_is_made_for_this_user_alone_and_kept(place: Path) -> None:
    before = os.umask(0)
    try:
        made = load_key({}, make=True)
    finally:
        os.umask(before)
    assert made is not None
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert len(made.key.reveal()) >= 40
    assert made.source == str(place)
    assert load_key({}) == made
    assert load_key({}, make=True) == made
    assert [path.name for path in place.parent.iterdir()] == [place.name], "nothing is left over"


def test_two_users_have_two_keys(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = load_key({}, make=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    theirs = load_key({}, make=True)
    assert mine is not None
    assert theirs is not None
    assert mine.key_id != theirs.key_id


def test_two_processes_at_once_end_with_one_key(place: Path) -> None:
    code = (
        "import sys; from reconciler.seal import load_key; print('ready', flush=True); sys.stdin.readline(); "
        "print(load_key({}, make=True).key_id)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # all of them wait at the same point
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = {process.communicate(timeout=60)[0].strip() for process in processes}
    kept = load_key({})
    assert kept is not None
    assert told == {kept.key_id}
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_a_key_that_another_made_meanwhile_counts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def late(source: Path, destination: Path) -> None:
        place.write_text("the-key-of-the-quicker-process\n")
        link(source, destination)

    monkeypatch.setattr(os, "link", late)
    found = load_key({}, make=True)
    assert found is not None
    assert found.key.reveal() == "the-key-of-the-quicker-process"


@pytest.mark.parametrize("text", ["tiny", "fifteen-letters"])
def test_a_key_that_can_be_guessed_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_key({VARIABLE: text})
    assert "too short" in str(caught.value)
    assert "token_urlsafe" in caught.value.fix
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"short\n", "this is no fingerprint key"),
        (b"", "this is no fingerprint key"),
        (b"\xff" * 40, "not text"),
    ],
)
def test_a_broken_file_is_told_with_what_to_do(place: Path, content: bytes, what: str) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    for make in (False, True):
        with pytest.raises(UsageError) as caught:
            load_key({}, make=make)
        assert what in str(caught.value)
        assert str(place) in str(caught.value)
    assert place.read_bytes() == content, "nobody's file is overwritten"


def test_a_place_that_cannot_be_written_is_told(place: Path) -> None:
    place.parent.parent.mkdir(parents=True)
    place.parent.write_text("a file where a folder should be")
    with pytest.raises(UsageError, match="cannot be used"):
        load_key({}, make=True)


# ---- what a seal tells ----------------------------------------------------------------------------------


def test_a_seal_is_short_has_the_keys_id_and_is_the_same_each_time() -> None:
    seal = _key().seal(_resource())
    key_id, _, mac = seal.partition(".")
    assert len(seal) == 31
    assert (key_id, len(mac)) == (_key().key_id, 22)
    assert _key().seal(_resource()) == seal


def test_equal_values_under_different_names_cannot_be_told_from_their_seals() -> None:
    assert _key().seal(_resource("openai")) != _key().seal(_resource("other"))


def test_another_value_key_or_place_of_a_value_is_another_seal() -> None:
    values = [
        {"api_key": Secret("a")},
        {"api_key": Secret("b")},
        {"api_kez": Secret("a")},
        {"api_key": Secret("a"), "b": Secret("")},
        {"x": Secret("a"), "y": Secret("b")},
        {"x": Secret("b"), "y": Secret("a")},
    ]
    seals = {_key().seal(_resource(value=value)) for value in values}
    assert len(seals) == len(values)
    assert _key("another-key-that-is-long").seal(_resource()) != _key().seal(_resource())


def test_what_can_be_read_back_and_the_order_of_keys_do_not_matter() -> None:
    two = {"a": Secret("1"), "b": Secret("2")}
    turned = {"b": Secret("2"), "a": Secret("1")}
    assert _key().seal(_resource(value=two)) == _key().seal(_resource(value=turned))
    assert _key().seal(_resource(auth_config={"a": "b"})) == _key().seal(_resource())


def test_what_holds_no_such_value_has_no_seal() -> None:
    model = Resource(Address("GatewayModel", "m"), {"secret": "openai"}, Source("m.yaml", 1))
    assert _key().seal(model) == ""


def test_neither_key_nor_value_shows() -> None:
    key = _key()
    seal = key.seal(_resource(value="sk-canary-0123456789"))
    for text in (repr(key), str(key), key.source, key.key_id, seal):
        assert _GIVEN not in text
        assert "canary" not in text
