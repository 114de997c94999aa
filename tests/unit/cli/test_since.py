"""``--since`` and ``--changed-since``, in a real git repository."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import main
from reconciler.targets import connect

_TARGET = "local:w.db?provisioning=0s"
_PROJECT = f"""\
apiVersion: reconciler/v1
kind: Project
stack: shop
target: {_TARGET}
manifests: [manifests]
"""
_CHAT = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: chat}
spec:
  config:
    served_entities:
      - {name: m, entity_name: main.ml.chat, entity_version: "1"}
  tags:
    team: a
    tier: gold
  ai_gateway:
    rate_limits: [{key: user, calls: 10, renewal_period: minute}]
"""
_OLD = _CHAT.replace("chat", "old")


class Repo:
    """A project in a git repository, with one commit by Ada: two endpoints, applied."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.git("init", "-q", "-b", "main")
        self.write(".gitignore", "*.db\n.reconciler/\n")
        self.write("reconciler.yaml", _PROJECT)
        self.write("manifests/chat.yaml", _CHAT)
        self.write("manifests/old.yaml", _OLD)
        self.commit("First", "Ada")

    def git(self, *words: str) -> str:
        who = {f"GIT_{r}_{f}": "t@x" for r in ("AUTHOR", "COMMITTER") for f in ("NAME", "EMAIL")}
        environ = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        command = ["git", *words]
        done = subprocess.run(
            command, cwd=self.folder, env=environ, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, message: str, author: str) -> None:
        self.git("add", "-A")
        self.git(
            "commit", "-q", "-m", message, "--author", f"{author} <a@x>", "--date", "2026-03-01T12:00:00Z"
        )

    def run(self, code: int, *words: str) -> str:
        """A command, its exit code as expected: what it wrote on stdout and stderr."""
        self.capsys.readouterr()
        given = main(list(words))
        streams = self.capsys.readouterr()
        assert given == code, streams.out + streams.err
        return streams.out + streams.err

    def json(self, code: int, *words: str) -> Any:
        self.capsys.readouterr()
        given = main([*words, "-o", "json"])
        streams = self.capsys.readouterr()
        assert given == code, streams.out + streams.err
        return json.loads(streams.out)

    def by_hand(self, **tags: str) -> None:
        """Somebody sets tags in the workspace."""
        with connect(_TARGET) as client:
            client.update_endpoint_tags(
                "chat", {"add_tags": [{"key": k, "value": v} for k, v in tags.items()]}
            )


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Repo:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET", raising=False)
    made = Repo(tmp_path, capsys)
    made.run(0, "apply", "-y")
    return made


def test_what_we_edited_stands_apart_from_what_others_did(repo: Repo) -> None:
    repo.write("manifests/chat.yaml", _CHAT.replace('"1"', '"2"').replace("team: a", "team: b"))
    repo.commit("Chat 2", "Bob")
    repo.by_hand(tier="silver", team="c")
    changes = {
        change["path"]: (change["cause"], change["set_by"])
        for step in repo.json(0, "plan", "--since", "HEAD~1")["steps"]
        for change in step["changes"]
    }
    bob, ada = (repo.git("rev-parse", rev)[:9] for rev in ("HEAD", "HEAD~1"))
    assert changes == {
        "config.served_entities[m].entity_version": ("intended", f"{bob} Bob, 2026-03-01: Chat 2"),
        "tags.tier": ("drift", f"{ada} Ada, 2026-03-01: First"),
        "tags.team": ("both", f"{bob} Bob, 2026-03-01: Chat 2"),
    }
    told = repo.run(0, "plan", "--since", "HEAD~1")
    places = [told.index(f"    {cause}: ") for cause in ("intended", "both", "drift")]
    assert places == sorted(places)
    assert told.index("entity_version") < places[1] < told.index("tags.team") < places[2]
    assert f"changes since HEAD~1 ({ada}): 1 intended, 1 drift, 1 edited on both sides" in told
    assert "intended" not in repo.run(0, "plan"), "nobody asked"


def test_a_line_that_is_not_committed_has_no_author_yet(repo: Repo) -> None:
    repo.write("manifests/chat.yaml", _CHAT.replace("team: a", "team: b"))
    [change] = repo.json(0, "plan", "--since", "HEAD")["steps"][0]["changes"]
    assert (change["cause"], change["set_by"]) == ("intended", "not committed yet")


def test_a_manifest_that_is_gone_is_deleted_and_a_section_cleared(repo: Repo) -> None:
    (repo.folder / "manifests/old.yaml").unlink()
    repo.write("manifests/chat.yaml", _CHAT[: _CHAT.index("  ai_gateway")])
    repo.commit("Less", "Bob")
    assert "No changes" in repo.run(0, "plan"), "what is not written is not managed"
    plan = repo.json(2, "plan", "--since", "HEAD~1", "--detailed-exitcode")
    chat, old = plan["steps"]
    assert [(c["path"], c["cause"]) for c in chat["changes"]] == [("ai_gateway", "intended")]
    assert chat["changes"][0]["set_by"].endswith("Bob, 2026-03-01: Less")
    assert (old["action"], old["source"]) == ("delete", "manifests/old.yaml:1")
    assert old["notes"][0].endswith("Bob, 2026-03-01: Less")
    assert "Converged" in repo.run(0, "apply", "--since", "HEAD~1", "-y")
    with connect(_TARGET) as client:
        assert [one["name"] for one in client.list_endpoints()] == ["chat"]
        assert not client.get_endpoint("chat").get("ai_gateway", {}).get("rate_limits")
    assert repo.json(0, "plan", "--since", "HEAD~1", "--detailed-exitcode")["totals"]["write_calls"] == 0


def test_what_bears_no_marker_goes_by_what_git_says(repo: Repo) -> None:
    where = ["manifests", "--target", "local:plain.db?provisioning=0s"]
    (repo.folder / "reconciler.yaml").unlink()
    repo.commit("No project", "Ada")
    repo.run(0, "apply", *where, "-y")
    (repo.folder / "manifests/old.yaml").unlink()
    assert "No changes" in repo.run(0, "plan", *where)
    [_, old] = repo.json(0, "plan", *where, "--since", "HEAD")["steps"]
    assert (old["address"], old["action"]) == ("Endpoint/old", "delete")


def test_what_is_not_ours_stays(repo: Repo) -> None:
    repo.run(0, "release", "Endpoint/old", "-y")
    (repo.folder / "manifests/old.yaml").unlink()
    plan = repo.json(0, "apply", "--since", "HEAD", "-y")["plan"]
    [old] = [step for step in plan["steps"] if step["address"] == "Endpoint/old"]
    assert (old["action"], old["calls"]) == ("no_op", [])
    assert "left alone" in " ".join(old["notes"])
    with connect(_TARGET) as client:
        assert client.get_endpoint("old")


def test_what_was_protected_is_not_deleted_with_its_file(repo: Repo) -> None:
    repo.write("manifests/old.yaml", _OLD.replace("spec:", "lifecycle: {prevent_destroy: true}\nspec:"))
    repo.commit("Protect", "Ada")
    (repo.folder / "manifests/old.yaml").unlink()
    assert "prevent_destroy" in repo.run(3, "apply", "--since", "HEAD", "-y")
    with connect(_TARGET) as client:
        assert len(client.list_endpoints()) == 2


def test_the_selection_holds_for_what_is_gone_too(repo: Repo) -> None:
    (repo.folder / "manifests/old.yaml").unlink()
    plan = repo.json(0, "plan", "--since", "HEAD", "--select", "Endpoint/old")
    assert [(step["address"], step["action"]) for step in plan["steps"]] == [("Endpoint/old", "delete")]
    plan = repo.json(0, "plan", "--since", "HEAD", "--exclude", "*/old")
    assert [step["address"] for step in plan["steps"]] == ["Endpoint/chat"]


def test_a_kept_plan_is_about_the_commit_and_not_its_name(repo: Repo) -> None:
    (repo.folder / "manifests/old.yaml").unlink()
    repo.run(0, "plan", "--since", "main", "--out", "p.json")
    repo.commit("No old", "Bob")  # main is another commit now
    assert "Endpoint/old" in repo.run(0, "show", "p.json")
    assert "Converged" in repo.run(0, "apply", "p.json")
    with connect(_TARGET) as client:
        assert [one["name"] for one in client.list_endpoints()] == ["chat"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--since", "nothing"], "git knows no revision 'nothing'"),
        (["--since", "--output=x"], "is no revision"),
        (["--since", "HEAD", "-"], "standard input"),
        (["--since", "HEAD", "--rebase", "p.json"], "--rebase takes no --since"),
        (["--changed-since", "nothing"], "git knows no revision 'nothing'"),
    ],
)
def test_what_cannot_be_asked(repo: Repo, words: list[str], told: str) -> None:
    assert told in repo.run(1, "plan", *words)


def test_without_a_repository_git_says_so(tmp_path: Path, repo: Repo) -> None:
    (repo.folder / ".git").rename(repo.folder / "git")
    assert "git rev-parse failed" in repo.run(1, "plan", "--since", "HEAD")


def test_manifests_that_were_broken_are_named_at_their_place(repo: Repo) -> None:
    repo.write("manifests/old.yaml", _OLD.replace("tags:", "tagz:"))
    repo.commit("Broken", "Bob")
    repo.write("manifests/old.yaml", _OLD)
    told = repo.run(1, "plan", "--since", "HEAD")
    assert "the manifests at HEAD cannot be read" in told
    assert "manifests/old.yaml:8" in told


def test_what_did_not_exist_then_is_intended(repo: Repo) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.write("other/new.yaml", _CHAT.replace("chat", "new"))
    plan = repo.json(0, "plan", "--since", first, "other")
    [step] = plan["steps"]
    assert step["action"] == "create"
    assert {change["cause"] for change in step["changes"]} == {"intended"}


def test_environments_and_overlays_are_those_of_then(repo: Repo) -> None:
    project = _PROJECT + "environments: {dev: {}, prod: {overlays: [prod.yaml]}}\n"
    overlay = "apiVersion: reconciler/v1\nkind: Overlay\naddress: Endpoint/chat\nspec: {tags: {tier: iron}}\n"
    repo.write("reconciler.yaml", project)
    repo.write("prod.yaml", overlay)
    repo.commit("Environments", "Ada")
    repo.write("prod.yaml", overlay.replace("iron", "wood"))
    repo.by_hand(team="x")
    plan = repo.json(0, "plan", "-e", "prod", "--since", "HEAD")
    causes = {c["path"]: c["cause"] for step in plan["steps"] for c in step["changes"]}
    assert causes == {"tags.tier": "both", "tags.team": "drift"}  # it is gold: prod was never applied
    repo.run(0, "apply", "-e", "prod", "-y", "--select", "*/chat")
    assert repo.json(0, "plan", "-e", "prod", "--since", "HEAD~1")["totals"]["write_calls"] == 0


@pytest.mark.parametrize(
    ("file", "touched"),
    [
        ("manifests/chat.yaml", ["Endpoint/chat"]),
        ("prod.yaml", ["Endpoint/chat"]),
        ("key.txt", ["Endpoint/old"]),
        ("reconciler.yaml", ["Endpoint/chat", "Endpoint/old"]),
        ("README.md", []),
    ],
)
def test_only_what_was_touched(repo: Repo, file: str, touched: list[str]) -> None:
    repo.write("reconciler.yaml", _PROJECT + "environments: {prod: {overlays: [prod.yaml]}}\n")
    overlay = "apiVersion: reconciler/v1\nkind: Overlay\naddress: Endpoint/chat\nspec: {tags: {tier: iron}}\n"
    repo.write("prod.yaml", overlay)
    repo.write("key.txt", "1234567890")
    key = 'entity_version: "1", environment_vars: {KEY: "${file:../key.txt}"}'
    repo.write("manifests/old.yaml", _OLD.replace('entity_version: "1"', key))
    repo.write("README.md", "")
    repo.commit("All", "Ada")
    repo.write(file, (repo.folder / file).read_text() + "# another line\n")
    answer = repo.json(0, "validate", "-e", "prod", "--changed-since", "HEAD")
    assert answer["resources"] == touched
    if not touched:
        assert "nothing was touched since HEAD" in repo.run(
            0, "plan", "-e", "prod", "--changed-since", "HEAD"
        )


def test_an_overlay_that_takes_something_out_or_is_gone_touches_too(repo: Repo) -> None:
    repo.write("reconciler.yaml", _PROJECT + "environments: {prod: {overlays: [prod]}}\n")
    head = "apiVersion: reconciler/v1\nkind: Overlay\n"
    repo.write("prod/chat.yaml", head + "address: Endpoint/chat\nspec: {tags: {tier: {$remove: true}}}\n")
    repo.write("prod/old.yaml", head + "address: Endpoint/old\nspec: {tags: {tier: iron}}\n")
    repo.commit("Overlays", "Ada")
    question = ("validate", "-e", "prod", "--changed-since", "HEAD")
    assert repo.json(0, *question)["resources"] == []
    repo.write("prod/chat.yaml", head + "address: Endpoint/chat\nspec: {tags: {team: {$remove: true}}}\n")
    assert repo.json(0, *question)["resources"] == ["Endpoint/chat"]
    repo.git("rm", "-q", "prod/old.yaml")
    assert repo.json(0, *question)["resources"] == ["Endpoint/chat", "Endpoint/old"]


@pytest.mark.parametrize("option", ["--since", "--changed-since", "--target"])
def test_an_option_that_is_given_empty_is_not_one_that_is_left_out(repo: Repo, option: str) -> None:
    repo.by_hand(team="x")
    assert f"{option} is given, and empty" in repo.run(1, "apply", "-y", option, "")
    assert repo.json(0, "plan")["totals"]["write_calls"] == 1  # nothing was done


def test_a_project_file_of_another_name_is_looked_for_by_its_own(repo: Repo) -> None:
    repo.write("own/chat.yaml", _CHAT)
    repo.write("own.yaml", _PROJECT.replace("[manifests]", "[own]"))
    plan = repo.json(0, "plan", "--project", "own.yaml", "--since", "HEAD")
    assert [step["address"] for step in plan["steps"]] == ["Endpoint/chat"]  # old is the other project's


def test_an_environment_that_is_named_twice_is_one(repo: Repo) -> None:
    repo.write("reconciler.yaml", _PROJECT + "environments: {prod: {}}\n")
    assert "No changes" in repo.run(0, "plan", "-e", "prod", "-e", "prod")


def test_what_is_gone_and_touched_is_not_taken_for_all_there_is(repo: Repo) -> None:
    repo.git("rm", "-q", "manifests/old.yaml")
    said = repo.run(0, "apply", "-y", "--since", "HEAD", "--changed-since", "HEAD")
    assert "Endpoint/old deleted" in said
    repo.git("rm", "-q", "manifests/chat.yaml")
    repo.write("manifests/new.yaml", _CHAT.replace("chat", "new"))
    said = repo.run(3, "apply", "-y", "--since", "HEAD", "--changed-since", "HEAD")
    assert "nothing that is live is declared" in said


def test_a_snapshot_that_was_saved_for_less_says_so(repo: Repo) -> None:
    repo.git("rm", "-q", "manifests/old.yaml")
    repo.run(0, "plan", "--save-snapshot", "seen.json")
    assert "No changes" in repo.run(0, "plan", "--snapshot", "seen.json")
    told = "the snapshot does not hold Endpoint/old"
    assert told in repo.run(1, "plan", "--snapshot", "seen.json", "--since", "HEAD")
    repo.git("reset", "-q", "--hard")
    assert told in repo.run(1, "plan", "--snapshot", "seen.json")
    assert "No changes" in repo.run(0, "plan", "--snapshot", "seen.json", "--select", "Endpoint/chat")


def test_a_value_that_is_a_variable_was_set_where_the_variable_was(repo: Repo) -> None:
    project = _PROJECT + "variables: {tier: gold}\nenvironments: {prod: {variables: {tier: gold}}}\n"
    repo.write("reconciler.yaml", project)
    repo.write("manifests/chat.yaml", _CHAT.replace("tier: gold", 'tier: "${var.tier}"'))
    repo.commit("Variables", "Ada")
    repo.write("reconciler.yaml", project.replace("{tier: gold}}}", "{tier: iron}}}"))
    [change] = repo.json(0, "plan", "-e", "prod", "--since", "HEAD")["steps"][0]["changes"]
    assert change["set_by"] == "not committed yet (${var.tier} reconciler.yaml:7)"
    repo.commit("Iron", "Zoe")
    [change] = repo.json(0, "plan", "-e", "prod", "--since", "HEAD~1")["steps"][0]["changes"]
    assert change["set_by"].endswith(" Zoe, 2026-03-01: Iron (${var.tier} reconciler.yaml:7)")
    assert change["source"] == "manifests/chat.yaml:10"


def test_what_was_taken_away_is_told_with_who_took_it(repo: Repo) -> None:
    overlay = "apiVersion: reconciler/v1\nkind: Overlay\naddress: Endpoint/old\nspec: {tags: {tier: iron}}\n"
    mails = "  email_notifications:\n    on_update_failure:\n      - a@x\n      - b@x\n"
    repo.write("reconciler.yaml", _PROJECT + "environments: {prod: {overlays: [prod]}}\n")
    repo.write("prod/old.yaml", overlay)
    repo.write("prod/none.yaml", "")
    repo.write("manifests/chat.yaml", _CHAT + mails)
    repo.commit("All", "Ada")
    repo.run(0, "apply", "-e", "prod", "-y")

    text = _CHAT + mails
    for who, old, new in (
        ("Bob", "    tier: gold\n", ""),
        ("Cat", "      - b@x\n", ""),
        ("Dan", _CHAT[:4], "# another line\n" + _CHAT[:4]),
    ):
        text = text.replace(old, new)
        repo.write("manifests/chat.yaml", text)
        repo.commit("Edit", who)
    repo.git("rm", "-q", "prod/old.yaml")
    repo.commit("No overlay", "Fay")
    repo.by_hand(more="x")
    plan = repo.json(0, "plan", "-e", "prod", "--since", "HEAD~4")
    authors = {
        (step["address"], change["path"]): change["set_by"].partition(", ")[0].partition(" ")[2]
        for step in plan["steps"]
        for change in step["changes"]
    }
    assert authors == {
        ("Endpoint/chat", "tags.tier"): "Bob",
        ("Endpoint/chat", "tags.more"): "",  # nobody declared it
        ("Endpoint/chat", "email_notifications.on_update_failure"): "Cat",
        ("Endpoint/old", "tags.tier"): "Fay",
    }


def test_a_list_was_set_by_who_set_its_last_line(repo: Repo) -> None:
    mails = "  email_notifications:\n    on_update_failure:\n      - a@x\n"
    repo.write("manifests/chat.yaml", _CHAT + mails)
    repo.commit("Ada is told", "Ada")
    repo.write("manifests/chat.yaml", _CHAT + mails + "      - b@x\n")
    repo.commit("Bob, too", "Bob")
    [change] = repo.json(0, "plan", "--since", "HEAD~2")["steps"][0]["changes"]
    assert change["set_by"].endswith(" Bob, 2026-03-01: Bob, too")
