"""Ownership at the command line: prune, adopt, release, kept plans, rollback, reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from reconciler import schema
from reconciler.cli.main import main
from reconciler.targets import connect
from reconciler.values import PROTECTED_TAG, STACK_TAG

_PROJECT = """apiVersion: reconciler/v1
kind: Project
stack: shop
target: local:w.db
manifests: [manifests]
"""


def fits(document: Any, name: str) -> None:
    """Raises ValidationError when a document is not what its schema says."""
    known = [(one["$id"], Resource.from_contents(one)) for one in map(schema.read, ("plan", name))]
    registry: Registry[Any] = Registry().with_resources(known)
    jsonschema.Draft202012Validator(schema.read(name), registry=registry).validate(document)


class Shop:
    """A project on an embedded workspace of its own, and our program."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        (folder / "manifests").mkdir()
        (folder / "reconciler.yaml").write_text(_PROJECT)

    def write(self, name: str, lifecycle: dict[str, Any] | None = None, **spec: Any) -> Path:
        document = {
            "apiVersion": "reconciler/v1",
            "kind": "Endpoint",
            "metadata": {"name": name},
            **({"lifecycle": lifecycle} if lifecycle else {}),
            "spec": spec or {"tags": {"team": "x"}},
        }
        path = self.folder / "manifests" / f"{name}.yaml"
        path.write_text(json.dumps(document))
        return path

    def run(self, *words: str, expect: int = 0) -> tuple[str, str]:
        code = main(list(words))
        out, err = self._capsys.readouterr()
        assert code == expect, out + err
        return out, " ".join(err.split())  # however it was wrapped

    def apply(self, *words: str, expect: int = 0) -> tuple[str, str]:
        return self.run("apply", "--auto-approve", *words, expect=expect)

    def live(self) -> dict[str, dict[str, str]]:
        with connect("local:w.db") as client:
            return {
                item["name"]: {tag["key"]: tag.get("value", "") for tag in item.get("tags", ())}
                for item in client.list_endpoints()
            }

    def by_hand(self, name: str, **tags: str) -> None:
        with connect("local:w.db") as client:
            pairs = [{"key": key, "value": value} for key, value in tags.items()]
            client.create_endpoint(config={"name": name, "tags": pairs})


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shop:
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path, capsys)


@pytest.fixture
def left_over(shop: Shop) -> Shop:
    """``kept`` is declared; ``left`` was."""
    shop.write("kept")
    left = shop.write("left")
    shop.apply()
    left.unlink()
    return shop


# ---- prune ------------------------------------------------------------------------------------------------


def test_plan_notes_what_is_undeclared_and_prune_deletes_it(left_over: Shop) -> None:
    out, _ = left_over.run("plan")
    assert "note: 1 owned by stack shop is not declared: Endpoint/left; --prune deletes it" in out
    out, _ = left_over.run("plan", "--prune", "--detailed-exitcode", expect=2)
    assert "- Endpoint/left will be deleted\n    note:    no longer declared" in out
    out, _ = left_over.apply("--prune")
    assert "✓ Endpoint/left deleted" in out
    assert "Converged" in out
    assert list(left_over.live()) == ["kept"]
    out, _ = left_over.run("plan", "--prune", "--detailed-exitcode")
    assert "No changes" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--select", "Endpoint/kept"], "not with --select"),
        (["--exclude", "Endpoint/other"], "not with --exclude"),
        (["manifests/kept.yaml"], "not with PATHS without"),
    ],
)
def test_a_part_of_the_manifests_prunes_nothing(left_over: Shop, words: list[str], told: str) -> None:
    left_over.write("other")
    for command in ("plan", "apply"):
        _, err = left_over.run(command, "--prune", *words, expect=1)
        assert told in err
        assert "what only the others declare would be deleted" in err
    assert "left" in left_over.live()
    out, _ = left_over.run("plan", *words)
    assert "not declared" not in out, "of a part nothing is said either"


def test_paths_that_are_all_of_them_may_prune(left_over: Shop) -> None:
    left_over.apply("manifests", "--prune")
    assert list(left_over.live()) == ["kept"]


def test_prune_needs_a_stack(left_over: Shop) -> None:
    (left_over.folder / "reconciler.yaml").unlink()
    _, err = left_over.run("plan", "manifests", "--target", "local:w.db", "--prune", expect=1)
    assert "no stack is named" in err
    left_over.apply("manifests", "--target", "local:w.db", "--prune", "--stack", "shop")
    assert list(left_over.live()) == ["kept"]


def test_prune_on_a_target_whose_lists_tell_no_owner(left_over: Shop) -> None:
    _, err = left_over.run("plan", "--prune", "--target", "sagemaker:/us-east-1", expect=1)
    assert "no list of sagemaker:/us-east-1 tells which stack owns what" in err


def test_environments_that_share_target_and_stack_do_not_prune(left_over: Shop) -> None:
    environments = "environments: {{a: {{}}, b: {{{}}}}}\n"
    project = left_over.folder / "reconciler.yaml"
    project.write_text(_PROJECT + environments.format(""))
    _, err = left_over.run("plan", "-e", "a", "--prune", expect=1)
    assert "the environments a and b share target and stack shop" in err
    project.write_text(_PROJECT + environments.format("stack: other"))
    left_over.apply("-e", "a", "--prune")
    assert list(left_over.live()) == ["kept"]


def test_prune_of_everything_must_be_counted(shop: Shop) -> None:
    path = shop.write("one")
    shop.apply()
    path.unlink()
    new = shop.write("new")
    _, err = shop.run("plan", "--prune")
    assert "an apply of this plan is refused" in err
    _, err = shop.apply("--prune", expect=3)
    assert "all that stack shop owns would be deleted: Endpoint/one" in err
    assert "--max-deletes 1 allows it" in err
    new.unlink()
    for words in ([], ["--max-deletes", "1"]):
        shop.apply("--prune", *words, expect=1)  # no manifest at all is an error before anything else
    assert list(shop.live()) == ["one"]
    shop.write("new")
    shop.apply("--prune", "--max-deletes", "1")
    assert list(shop.live()) == ["new"]


def test_a_kept_plan_prunes_what_was_reviewed_and_nothing_since(left_over: Shop) -> None:
    left_over.run("plan", "--prune", "--out", "p.json")
    content = json.loads(Path("p.json").read_text())
    fits(content, "plan_file")
    assert content["prune"] is True
    out, _ = left_over.run("show", "p.json")
    assert "no longer declared" in out
    _, err = left_over.apply("p.json", "--prune", expect=1)
    assert "--prune has no place beside a plan file" in err

    left_over.by_hand("late", **{STACK_TAG: "shop"})
    _, err = left_over.run("apply", "p.json", expect=3)
    assert "Endpoint/late: the live side changed: it is there, and no longer declared" in err
    with connect("local:w.db") as client:
        client.delete_endpoint("late")
        client.update_endpoint_tags("left", {"add_tags": [{"key": "new", "value": "1"}]})
    _, err = left_over.run("apply", "p.json", expect=3)
    assert "Endpoint/left: the live side changed: tags.new" in err
    with connect("local:w.db") as client:
        client.update_endpoint_tags("left", {"delete_tags": ["new"]})
    left_over.run("apply", "p.json", "--receipt", "r.json")
    assert list(left_over.live()) == ["kept"]
    receipt = json.loads(Path("r.json").read_text())
    fits(receipt, "receipt")
    pruned = receipt["resources"][-1]
    assert (pruned["address"], pruned["action"], pruned["status"]) == ("Endpoint/left", "delete", "done")
    assert pruned["live"] is None


def test_a_kept_plan_is_stale_once_what_it_prunes_is_declared_again(left_over: Shop) -> None:
    left_over.run("plan", "--prune", "--out", "p.json")
    left_over.write("left")
    _, err = left_over.run("apply", "p.json", expect=3)
    assert "Endpoint/left: no plan was made for it: it is declared since" in err
    assert "left" in left_over.live()


def test_a_snapshot_without_what_would_be_pruned_is_refused(left_over: Shop) -> None:
    left_over.run("plan", "--save-snapshot", "s.json")
    _, err = left_over.run("plan", "--prune", "--snapshot", "s.json", expect=1)
    assert "does not hold Endpoint/left" in err
    now, _ = left_over.run("plan", "--prune", "--save-snapshot", "s.json")
    assert left_over.run("plan", "--prune", "--snapshot", "s.json")[0] == now


def test_a_pruned_endpoint_comes_back_with_its_marker(left_over: Shop) -> None:
    before = left_over.live()
    left_over.apply("--prune")
    left_over.run("rollback", "--auto-approve")
    assert left_over.live() == before


@pytest.mark.parametrize("format", ["json", "markdown", "html", "junit", "sarif", "github"])
def test_every_report_tells_of_prune_and_move(left_over: Shop, format: str) -> None:
    left_over.write("new", lifecycle={"moved_from": "kept"})
    (left_over.folder / "manifests" / "kept.yaml").unlink()
    out, _ = left_over.run("plan", "--prune", "-o", format)
    assert "Endpoint/left" in out
    assert "no longer declared" in out
    assert "moved to Endpoint/new" in out
    if format == "json":
        plan = json.loads(out)
        fits(plan, "plan")
        beyond = {s["address"]: (s.get("undeclared"), s.get("moved_to")) for s in plan["steps"]}
        assert beyond == {
            "Endpoint/new": (None, None),
            "Endpoint/kept": (None, "Endpoint/new"),
            "Endpoint/left": (True, None),
        }
    out, _ = left_over.apply("--prune", "--allow-replace", "-o", format)
    assert "Endpoint/left" in out


# ---- adoption ---------------------------------------------------------------------------------------------


def test_what_somebody_made_by_hand_is_adopted_in_sight(shop: Shop) -> None:
    shop.by_hand("chat", team="y")
    shop.write("chat")
    out, _ = shop.run("plan", expect=3)
    assert "= Endpoint/chat will be adopted" in out
    assert "refused: Endpoint/chat was not made by this stack" in out
    _, err = shop.apply(expect=3)
    assert "next: --adopt takes it over" in err
    assert shop.live() == {"chat": {"team": "y"}}
    shop.apply("--adopt")
    assert shop.live() == {"chat": {"team": "x", STACK_TAG: "shop"}}
    shop.run("plan", "--detailed-exitcode")

    shop.run("rollback", "--auto-approve")
    assert shop.live() == {"chat": {"team": "y"}}, "what was nobody's is nobody's again"


def test_adopt_takes_the_marker_and_nothing_else(shop: Shop) -> None:
    shop.by_hand("chat", team="y")
    shop.by_hand("bank", **{STACK_TAG: "bank"})
    for name in ("chat", "bank"):
        shop.write(name, lifecycle={"prevent_destroy": True})
    out, _ = shop.run("adopt", "Endpoint/chat", "--auto-approve", "--receipt", "r.json")
    assert "✓ Endpoint/chat adopted" in out
    assert shop.live()["chat"] == {"team": "y", STACK_TAG: "shop"}
    assert json.loads(Path("r.json").read_text())["command"] == "adopt"
    _, err = shop.run("adopt", "Endpoint/*", "--auto-approve", expect=3)
    assert "Endpoint/bank belongs to stack bank" in err
    assert "let its stack release it first" in err
    _, err = shop.run("adopt", "Endpoint/nobody", "--auto-approve", expect=1)
    assert "error: Endpoint/nobody is declared nowhere" in err
    assert "reconciler export --select Endpoint/nobody --out manifests" in err
    assert "error: 'nobody' is no selection" in shop.run("adopt", "nobody", expect=1)[1]
    out, _ = shop.run("adopt", "Endpoint/chat", "--auto-approve")
    assert "it belongs to this stack already" in out
    shop.run("rollback", "--auto-approve")
    assert shop.live()["chat"] == {"team": "y"}


def test_release_and_adopt_hand_over_between_two_stacks(shop: Shop) -> None:
    path = shop.write("chat", lifecycle={"prevent_destroy": True})
    shop.apply()
    path.unlink()
    _, err = shop.run("release", "Endpoint/chat", expect=3)
    assert "nobody to ask" in err
    out, _ = shop.run("release", "Endpoint/chat", "--auto-approve", "-o", "json")
    assert json.loads(out)["converged"] is True
    assert shop.live() == {"chat": {"team": "x", PROTECTED_TAG: "true"}}, "protected all the way"
    out, _ = shop.run("release", "Endpoint/chat", "--auto-approve")
    assert "it belongs to no stack" in out

    shop.write("chat", lifecycle={"prevent_destroy": True})
    shop.run("adopt", "Endpoint/chat", "--auto-approve", "--stack", "bank")
    assert shop.live()["chat"][STACK_TAG] == "bank"
    _, err = shop.run("release", "Endpoint/chat", "--auto-approve", expect=3)
    assert "Endpoint/chat belongs to stack bank" in err
    shop.run("release", "Endpoint/chat", "--auto-approve", "--stack", "bank")
    shop.run("rollback", "--auto-approve")
    assert shop.live()["chat"][STACK_TAG] == "bank", "the release was undone"
    out, _ = shop.run("plan", "--stack", "bank", "--detailed-exitcode")
    assert "No changes" in out


def test_release_of_what_does_not_exist(shop: Shop) -> None:
    _, err = shop.run("release", "Endpoint/none", "--auto-approve", expect=1)
    assert "Endpoint/none does not exist" in err
    _, err = shop.run("release", "GatewayModel/none", "--auto-approve", expect=1)
    assert "cannot be released" in err


def test_what_is_exported_plans_to_nothing_but_adoptions(shop: Shop) -> None:
    shop.by_hand("hand", team="y")
    shop.by_hand("safe", **{PROTECTED_TAG: "true", STACK_TAG: "bank", "team": "z"})
    shop.by_hand("bare", **{STACK_TAG: "bank"})
    shop.run("export", "--out", "manifests")
    text = "".join(path.read_text() for path in (shop.folder / "manifests").rglob("*.yaml"))
    assert "reconciler.stack" not in text
    assert text.count("prevent_destroy: true") == 1
    for name in ("safe", "bare"):
        shop.run("release", f"Endpoint/{name}", "--auto-approve", "--stack", "bank")
    out, _ = shop.run("plan", "--adopt", "-o", "json")
    plan = json.loads(out)
    assert plan["summary"] == {"create": 0, "update": 0, "replace": 0, "delete": 0, "adopt": 3, "no_op": 0}
    assert {c["path"] for s in plan["steps"] for c in s["changes"]} == {"owner"}
    shop.apply("--adopt")
    shop.run("plan", "--prune", "--detailed-exitcode")


# ---- protection -------------------------------------------------------------------------------------------


def test_protection_outlives_its_line_and_is_lifted_in_a_step_of_its_own(shop: Shop) -> None:
    shop.write("kept")
    path = shop.write("precious", lifecycle={"prevent_destroy": True})
    shop.apply()
    assert shop.live()["precious"][PROTECTED_TAG] == "true"
    path.unlink()
    _, err = shop.apply("--prune", expect=3)
    assert "Endpoint/precious is protected, and would be deleted" in err
    shop.write("precious", description="new")  # would be replaced, and the line is gone
    _, err = shop.apply("--allow-replace", expect=3)
    assert "Endpoint/precious is protected, and would be deleted and created again" in err
    shop.write("precious")
    _, err = shop.run("destroy", "--auto-approve", expect=3)
    assert "precious is protected" in err

    out, _ = shop.apply()
    assert "protection lifted" in out
    assert PROTECTED_TAG not in shop.live()["precious"]
    shop.run("rollback", "--auto-approve")
    assert shop.live()["precious"][PROTECTED_TAG] == "true", "lifting is undone too"
    shop.apply()
    path.unlink()
    shop.apply("--prune")
    assert list(shop.live()) == ["kept"]


def test_one_tag_too_many_is_said_at_its_line(shop: Shop) -> None:
    shop.write("chat", tags={f"t{n}": "1" for n in range(20)})
    _, err = shop.run("plan", expect=1)
    assert "20 tags and 1 of the stack's own: the API takes 20" in err
    assert "manifests/chat.yaml:1" in err


# ---- moves ------------------------------------------------------------------------------------------------


def test_a_move_is_asked_for_and_undone_in_its_order(shop: Shop) -> None:
    path = shop.write("old")
    shop.apply()
    path.unlink()
    shop.write("new", lifecycle={"moved_from": "old"})
    _, err = shop.apply(expect=3)
    assert "Endpoint/old would be deleted once Endpoint/new is live" in err
    assert "--allow-replace allows it" in err
    shop.run("plan", "--out", "p.json")
    shop.run("apply", "p.json", "--allow-replace")
    assert list(shop.live()) == ["new"]
    out, _ = shop.run("plan")
    assert "lifecycle.moved_from can be taken out" in out
    _, err = shop.run("rollback", "--auto-approve", expect=3)
    assert "Endpoint/new would be deleted once Endpoint/old is live" in err
    out, _ = shop.run("rollback", "--auto-approve", "--allow-replace")
    assert list(shop.live()) == ["old"]
    assert shop.live()["old"][STACK_TAG] == "shop"


def test_a_fleet_is_adopted_without_raising_the_limit_of_changes(shop: Shop) -> None:
    for n in range(12):
        shop.by_hand(f"e{n}", team="x")
        shop.write(f"e{n}")
    out, _ = shop.apply("--adopt")
    assert "12 adopted" in out
