"""Plan files at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.cli.main import main
from tests.unit.cli.test_acting import _LOCAL, Write, write

__all__ = ["write"]


def code(*words: str) -> int:
    return main([*words])


@pytest.fixture
def filed(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Two live endpoints, and a plan file that changes both."""
    write(2)
    assert main(["apply", "-y", *_LOCAL]) == 0
    write(2, tag="y")
    assert main(["plan", "--out", "p.json", *_LOCAL]) == 0
    capsys.readouterr()
    return tmp_path / "p.json"


def by_hand(tag: str) -> None:
    """Somebody else changes e0: from another folder, with a manifest of their own."""
    Path("hand.yaml").write_text(
        f"apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {{name: e0}}\nspec: {{tags: {{a: {tag}}}}}\n"
    )
    assert main(["apply", "-y", "hand.yaml", *_LOCAL]) == 0


def live_tags(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, str]:
    capsys.readouterr()
    assert main(["get", name, "-o", "json", *_LOCAL]) == 0
    return {tag["key"]: tag["value"] for tag in json.loads(capsys.readouterr().out)["tags"]}


def test_what_was_reviewed_is_applied_without_a_question(
    filed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code("apply", "p.json") == 0, "target and manifests stand in the file"
    assert live_tags(capsys, "e0") == {"a": "y"}
    assert code("apply", "p.json") == 3, "it was applied: its ground moved"
    assert "Endpoint/e0: the live side changed: tags.a" in capsys.readouterr().err


def test_a_ground_that_moved_is_refused_whole_or_left_out(
    filed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand("hand")
    capsys.readouterr()
    assert code("apply", "p.json") == 3
    told = capsys.readouterr().err
    assert "Endpoint/e0: the live side changed: tags.a" in told
    assert "Endpoint/e1" not in told
    assert live_tags(capsys, "e1") == {"a": "x"}, "nothing was sent"

    assert code("apply", "p.json", "--skip-stale", "-o", "json") == 3
    outcome = json.loads(capsys.readouterr().out)
    assert {o["address"]: o["status"] for o in outcome["outcomes"]} == {
        "Endpoint/e1": "done",
        "Endpoint/e0": "refused",
    }
    assert outcome["converged"] is False
    assert live_tags(capsys, "e0") == {"a": "hand"}
    assert live_tags(capsys, "e1") == {"a": "y"}


def test_a_file_of_which_nothing_is_left_says_so(filed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code("apply", "p.json") == 0
    capsys.readouterr()
    assert code("apply", "p.json", "--skip-stale") == 3
    told = capsys.readouterr().out
    assert "left out, for they are not what was reviewed: Endpoint/e0, Endpoint/e1" in told
    assert "Nothing is declared" not in told


def test_a_file_is_applied_from_the_folder_where_it_was_made(
    filed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert code("apply", str(filed)) == 1
    assert "a plan file is applied from the folder where it was made" in capsys.readouterr().err


def test_rebase_shows_what_changed_and_makes_a_new_file(
    filed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code("plan", "--rebase", "p.json") == 0
    assert "Nothing changed since the review" in capsys.readouterr().out
    by_hand("hand")
    capsys.readouterr()
    assert code("plan", "--rebase", "p.json", "--out", "q.json") == 0
    told = capsys.readouterr().out
    assert "Endpoint/e0: the live side changed: tags.a" in told
    assert "1 step is as reviewed." in told
    assert "tags.a: hand → y" in told
    assert code("plan", "--rebase", "p.json", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["moved"] == [
        {"address": "Endpoint/e0", "what": "live", "fields": ["tags.a"]}
    ]
    assert code("apply", "q.json") == 0
    assert live_tags(capsys, "e0") == {"a": "y"}
    assert code("plan", "--rebase", "p.json", "manifests") == 1


def test_manifests_that_mean_something_else(
    filed: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("manifests/all.yaml").read_text()
    Path("manifests/all.yaml").write_text("# a comment\n" + text.replace("{a: y}", '{"a": "y"}'))
    assert code("plan", "--rebase", "p.json") == 0
    assert "Nothing changed" in capsys.readouterr().out, "spelling means nothing"
    write(3, tag="z")
    assert code("apply", "p.json") == 3
    told = capsys.readouterr().err
    assert "Endpoint/e0: its manifest changed: tags.a" in told
    assert "Endpoint/e2: no plan was made for it" in told
    write(1, tag="y")
    assert code("apply", "--skip-stale", "p.json") == 3
    assert live_tags(capsys, "e0") == {"a": "y"}
    assert live_tags(capsys, "e1") == {"a": "x"}


def test_another_target_or_stack_is_refused(filed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code("apply", "p.json", "--target", "local:other.db") == 3
    assert "the plan was made for local:w.db" in capsys.readouterr().err
    assert code("apply", "p.json", "--stack", "theirs") == 3


def test_a_file_that_was_edited(filed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filed.write_text(filed.read_text().replace('"y"', '"evil"'))
    assert code("apply", "p.json") == 3
    assert "changed after it was written" in capsys.readouterr().err
    assert code("show", "p.json") == 0
    streams = capsys.readouterr()
    assert "evil" in streams.out
    assert "warning: the file was changed" in streams.err
    filed.write_text(filed.read_text()[:-40])
    assert code("show", "p.json") == 1
    assert code("apply", "p.json") == 1


def test_a_signed_file(
    filed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECONCILER_PLAN_KEY", "canary-key")
    assert code("apply", "p.json") == 3
    assert "not signed" in capsys.readouterr().err
    assert code("plan", "--out", "signed.json", *_LOCAL) == 0
    assert "canary-key" not in Path("signed.json").read_text()
    monkeypatch.delenv("RECONCILER_PLAN_KEY")
    assert code("apply", "signed.json") == 3
    monkeypatch.setenv("RECONCILER_PLAN_KEY", "another")
    assert code("apply", "signed.json") == 3
    monkeypatch.setenv("RECONCILER_PLAN_KEY", "canary-key")
    assert code("apply", "signed.json") == 0
    assert "canary" not in capsys.readouterr().err


def test_show_works_without_target_and_manifests(filed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("manifests/all.yaml").unlink()
    Path("w.db").unlink()
    assert code("show", "p.json") == 0
    told = capsys.readouterr().out
    assert "for local:w.db?provisioning=0s" in told
    assert "tags.a: x → y" in told
    assert "Plan: 0 to create, 2 to update" in told
    assert code("show", "p.json", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["summary"]["update"] == 2
    assert code("show", "nowhere.json") == 1


def test_what_does_not_go_together(filed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code("apply", "--skip-stale", *_LOCAL) == 1
    assert code("apply", "p.json", "--resend-secrets") == 1
    assert code("plan", "--save-snapshot", "s.json", *_LOCAL) == 0
    assert code("plan", "--snapshot", "s.json", "--out", "x.json") == 1
    assert code("plan", "--out", "no/such/folder/x.json", *_LOCAL) == 1
    assert not Path("x.json").exists()
    capsys.readouterr()


def test_a_replacement_in_a_file_needs_its_flag(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write(1)
    assert code("apply", "-y", *_LOCAL) == 0
    write(1, description="other")
    assert code("plan", "--out", "p.json", *_LOCAL) == 0
    assert code("apply", "p.json") == 3
    assert "--allow-replace" in capsys.readouterr().err
    assert code("apply", "p.json", "--allow-replace") == 0


def test_a_hostile_file_cannot_speak_to_the_terminal(filed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(filed.read_text())
    for name in ("made_at", "made_by", "target", "host"):
        content[name] += "\x1b[2J\u202e"
    content["plan"]["steps"][0]["address"] += "\x1b]0;x\x07"
    filed.write_text(json.dumps(content))
    for words in (("show", "p.json"), ("show", "p.json", "-o", "json"), ("apply", "p.json")):
        code(*words)
        streams = capsys.readouterr()
        assert "\x1b" not in streams.out + streams.err
        assert "\u202e" not in streams.out + streams.err
