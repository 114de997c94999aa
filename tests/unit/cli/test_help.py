"""Every option of every command says what it is for and what it takes, and says the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from reconciler.cli.main import main, program

# Named alike, and another thing for each command: its help says which.
_OWN = {
    "--stack",
    "--check",
    "--out",
    "--write-limit",
    "--max-deletes",
    "--output",
    "--prune",
    "--journal",
    "--select",
}


def _commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for word, below in command.commands.items():
            yield from _commands(below, f"{name} {word}".strip())
    yield name, command


def _options() -> list[tuple[str, Any]]:
    return [
        (name, parameter)
        for name, command in _commands(typer.main.get_command(program()))
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name != "help"
    ]


def test_every_option_is_explained() -> None:
    found = _options()
    assert len(found) > 200
    assert [(name, option.opts) for name, option in found if not option.help] == []


def test_every_value_of_an_option_has_a_word_for_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for name, _ in _commands(typer.main.get_command(program())):
        main([*name.split(), "--help"])
        if name:  # the program itself has --log-level, which lists its words
            options = capsys.readouterr().out.partition("Options:")[2]
            assert "<str>" not in options, name


def test_an_option_means_the_same_everywhere() -> None:
    told: dict[str, set[tuple[str | None, str | None]]] = {}
    for _, option in _options():
        told.setdefault(option.opts[0], set()).add((option.help, option.metavar))
    assert {option for option, words in told.items() if len(words) > 1} <= _OWN


def test_destroy_says_that_it_has_no_limit_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    main(["destroy", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Left out: no limit." in text
    assert "30%" not in text
