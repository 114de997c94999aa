"""Freezes: which moments they hold, with zones and dates, and what is wrong with them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from reconciler.errors import ManifestError
from reconciler.manifest.environments import choose
from reconciler.manifest.freezes import DeclaredFreeze, freezes_of
from reconciler.manifest.project import load_project

_HEAD = "apiVersion: reconciler/v1\nkind: Project\nstack: shop\n"


def read(folder: Path, text: str, environment: str | None = None) -> tuple[DeclaredFreeze, ...]:
    file = folder / "reconciler.yaml"
    file.write_text(_HEAD + text, encoding="utf-8")
    project = load_project(file)
    return freezes_of(project, choose(project, environment))


@pytest.mark.parametrize(
    ("until", "zone", "last", "over"),
    [
        ("2026-12-31", "UTC", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        ("2026-12-31", "Europe/Berlin", "2026-12-31T22:59:59Z", "2026-12-31T23:00:00Z"),
        ("2026-07-31", "America/New_York", "2026-08-01T03:59:59Z", "2026-08-01T04:00:00Z"),
        ("2026-12-31T18:00:00Z", "Europe/Berlin", "2026-12-31T17:59:59Z", "2026-12-31T18:00:00Z"),
        ("2026-12-31T18:00:00+02:00", "UTC", "2026-12-31T15:59:59Z", "2026-12-31T16:00:00Z"),
    ],
)
def test_until_is_clear_in_every_zone(until: str, zone: str, last: str, over: str, tmp_path: Path) -> None:
    (freeze,) = read(tmp_path, f"freeze: {{until: '{until}', zone: {zone}, reason: r}}\n")
    assert freeze.is_on(datetime.fromisoformat(last).timestamp())
    assert not freeze.is_on(datetime.fromisoformat(over).timestamp())
    assert freeze.is_on(0)


def test_from_says_when_it_begins(tmp_path: Path) -> None:
    (freeze,) = read(tmp_path, "freeze: {from: 2026-12-20, until: 2026-12-31, reason: r}\n")
    assert not freeze.is_on(datetime.fromisoformat("2026-12-19T23:59:59Z").timestamp())
    assert freeze.is_on(datetime.fromisoformat("2026-12-20T00:00:00Z").timestamp())


def test_project_and_environment_add_up(tmp_path: Path) -> None:
    text = """\
freeze:
  - {until: 2026-12-31, reason: a}
  - until: 2026-12-30
    reason: b
    select: ["label:team=search", Endpoint/x]
environments:
  prod: {freeze: {until: 2026-12-29, reason: c}}
  dev: {}
"""
    found = read(tmp_path, text, "prod")
    assert [(one.what, one.reason, one.source.line) for one in found] == [
        ("the stack shop", "a", 5),
        ("label:team=search, Endpoint/x in the stack shop", "b", 6),
        ("the environment prod", "c", 10),
    ]
    assert [one.reason for one in read(tmp_path, text, "dev")] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("{until: tomorrow-or, reason: r}", 4, '"tomorrow-or" is no time; write a date (2026-12-31)'),
        ("{until: 2026-02-30, reason: r}", 4, '"2026-02-30" is no time'),
        ("{until: '2026-12-31T18:00:00', reason: r}", 4, "names no time zone; write 2026-12-31T18:00:00Z"),
        ("{until: 2026-12-31, reason: r, zone: Mars/Base}", 4, 'there is no time zone "Mars/Base"'),
        ("{until: 2026-12-31, reason: r, zone: ../x}", 4, 'there is no time zone "../x"'),
        ("{until: 2026-12-31, from: 2027-12-31, reason: r}", 4, "it ends before it begins"),
        ("{until: 2026-12-31, reason: r, select: [search]}", 4, "'search' is no selection"),
        ("{until: 9999-12-31, reason: r}", 4, "is no time"),
        ("{until: 2026-12-31}", 4, "reason"),
        ("{reason: r}", 4, "until"),
    ],
)
def test_what_is_wrong_is_told_at_its_line(text: str, line: int, what: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, f"freeze: {text}\n")
    problem = caught.value.problems[0]
    assert (Path(problem.file).name, problem.line) == ("reconciler.yaml", line)
    assert what in f"{problem.path} {problem.what}"
