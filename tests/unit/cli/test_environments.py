"""Environments at the edge: words in, exit codes and streams out."""

from __future__ import annotations

import html
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from reconciler.cli.main import main
from tests.unit.manifest.projects import OVERLAY, PROD_OVERLAY, RANKER, Shop

_PROJECT = """\
variables: {size: Small}
environments:
  dev: {target: 'local:dev.db?provisioning=0s'}
  prod:
    target: local:prod.db?provisioning=0s
    variables: {size: Large}
    overlays: [overlays/prod.yaml]
promote:
  Endpoint:
    - config.served_entities[*].entity_version
    - tags
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET", raising=False)
    made = Shop(tmp_path)
    made.write("manifests/ranker.yaml", RANKER.replace("Small", "${var.size}", 1))
    made.project(_PROJECT)
    made.write("overlays/prod.yaml", PROD_OVERLAY)
    return made


def _json(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> Any:
    capsys.readouterr()
    assert main([*words, "-o", "json"]) == code
    return json.loads(capsys.readouterr().out)


def test_each_environment_has_its_own_target(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "-e", "dev", "-y"]) == 0
    streams = capsys.readouterr()
    assert streams.err.startswith("target: local (embedded workspace, dev.db), environment dev\n")
    assert main(["get", "ranker", "-e", "dev"]) == 0
    assert main(["get", "ranker", "-e", "prod"]) == 1
    assert main(["plan", "-e", "dev", "--detailed-exitcode"]) == 0
    assert main(["plan", "-e", "prod", "--detailed-exitcode"]) == 2
    assert main(["destroy", "-e", "dev", "-y"]) == 0
    assert main(["get", "ranker", "-e", "dev"]) == 1


@pytest.mark.parametrize("command", ["plan", "validate", "apply", "destroy", "get", "render"])
def test_an_environment_must_be_known_and_said(
    shop: Shop, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 1
    assert "dev, prod" in capsys.readouterr().err
    assert main([command, "-e", "prd"]) == 1
    assert "did you mean prod?" in capsys.readouterr().err


def test_get_of_a_target_needs_no_environment(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "--target", "local:x.db"]) == 0


def test_a_plan_names_the_overlay_that_wants_a_change(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "-e", "prod", "-y"]) == 0
    shop.write("overlays/prod.yaml", PROD_OVERLAY.replace('"6"', '"5"'))
    plan = _json(capsys, 2, "plan", "-e", "prod", "--detailed-exitcode")
    assert plan["steps"][0]["changes"][0]["source"] == "overlays/prod.yaml:9"


def test_an_environment_may_have_a_stack_of_its_own(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(_PROJECT.replace("  prod:\n", "  prod:\n    stack: shop-prod\n"))
    assert _json(capsys, 0, "plan", "-e", "dev")["stack"] == "shop"
    assert _json(capsys, 0, "plan", "-e", "prod")["stack"] == "shop-prod"
    assert _json(capsys, 0, "plan", "-e", "prod", "--stack", "x")["stack"] == "x"


# ---- several ----------------------------------------------------------------------------------------------


def test_several_environments_each_have_a_result_and_the_worst_code_wins(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["apply", "-e", "dev", "-y"]) == 0
    both = _json(capsys, 2, "plan", "--all-environments", "--detailed-exitcode")["environments"]
    assert list(both) == ["dev", "prod"]
    assert [both[name]["exit_code"] for name in both] == [0, 2]
    assert [both[name]["result"]["summary"]["create"] for name in both] == [0, 1]

    shop.write("overlays/prod.yaml", PROD_OVERLAY.replace("tags:", "tgs:"))
    both = _json(capsys, 1, "plan", "-e", "prod", "-e", "dev", "--detailed-exitcode")["environments"]
    assert [(name, both[name]["exit_code"]) for name in both] == [("prod", 1), ("dev", 0)]
    assert "did you mean tags?" in both["prod"]["error"]["problems"][0]
    assert "result" not in both["prod"]


def test_several_environments_as_text_end_in_a_table(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--all-environments"]) == 0
    out = capsys.readouterr().out
    assert out.index("== environment dev ==") < out.index("Plan: 1 to create")
    assert out.splitlines()[-3:] == [
        "ENVIRONMENT  EXIT  RESULT",
        "dev          0     1 to create",
        "prod         0     1 to create",
    ]
    assert main(["validate", "--all-environments"]) == 0
    assert "prod         0     1 manifest in 2 files: valid" in capsys.readouterr().out


def test_an_apply_begins_no_environment_after_one_that_failed(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    protected = RANKER.replace("name: ranker}", "name: ranker}\nlifecycle: {prevent_destroy: true}")
    shop.project("environments:\n  a: {target: 'local:a.db?provisioning=0s'}\n  b: {target: 'local:b.db'}\n")
    shop.write("manifests/ranker.yaml", protected)
    assert main(["apply", "-e", "a", "-y"]) == 0
    external = (
        "      - name: champion\n        external_model:\n          provider: openai\n"
        "          name: gpt-4o\n          task: llm/v1/chat\n"
        "          openai_config: {openai_api_key: '{{secrets/a/b}}'}\n"
    )
    shop.write("manifests/ranker.yaml", protected[: protected.index("      - name: champion")] + external)
    found = _json(capsys, 1, "apply", "--all-environments", "-y")["environments"]
    assert found["a"]["exit_code"] == 3, "it would have to be replaced"
    assert found["b"] == {"exit_code": 1, "not_begun": "a failed"}
    assert main(["get", "ranker", "-e", "b"]) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["plan", "--all-environments", "-t", "local"], "--target is for one environment"),
        (["plan", "--all-environments", "--save-snapshot", "x"], "--save-snapshot is for one environment"),
        (["plan", "--all-environments", "-e", "dev"], "different things"),
        (["plan", "-e", "dev", "-e", "prod", "-"], "read once only"),
        (["plan", "-e", "dev", "-e", "prd"], "did you mean prod?"),
        (["destroy", "-e", "dev", "-e", "prod"], "one environment at a time"),
        (["render", "-e", "dev", "-e", "prod"], "one environment at a time"),
    ],
)
def test_what_several_environments_cannot_have(
    shop: Shop, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("form", ["markdown", "html", "junit", "sarif"])
def test_several_environments_are_one_document(
    shop: Shop, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["apply", "-e", "dev", "-y"]) == 0
    capsys.readouterr()
    words = ["plan", "--all-environments", "-o", form, "--report", f"{form}=of-all"]
    assert main(words) == 0
    streams = capsys.readouterr()
    assert streams.out == Path("of-all").read_text()
    for name in ("dev", "prod"):
        assert f"{name} (local:{name}.db" in unquote(html.unescape(streams.out))
    assert "ENVIRONMENT  EXIT  RESULT" in streams.err
    if form == "sarif":
        assert [len(run["results"]) for run in json.loads(streams.out)["runs"]] == [0, 1]


def test_reports_of_several_environments_hold_all_of_them_also_one_that_fails(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.write("overlays/prod.yaml", PROD_OVERLAY.replace("tags:", "tgs:"))
    reports = [f"--report={form}=r.{form}" for form in ("text", "json", "junit", "markdown")]
    assert main(["plan", "--all-environments", *reports]) == 1
    text = Path("r.text").read_text()
    assert text.index("== environment dev ==") < text.index("Plan: 1 to create")
    assert "did you mean tags?" in text[text.index("== environment prod ==") :]
    found = json.loads(Path("r.json").read_text())["environments"]
    assert found["dev"]["result"]["summary"]["create"] == 1
    assert (found["prod"]["exit_code"], found["prod"]["result"]) == (1, None)
    assert "did you mean tags?" in Path("r.junit").read_text()
    assert "1 to create" in Path("r.markdown").read_text()


# ---- what outlives a run ----------------------------------------------------------------------------------


def test_a_plan_file_knows_its_environment_and_selection(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.write("manifests/other.yaml", RANKER.replace("ranker}", "other}"))
    assert main(["plan", "-e", "prod", "--select", "Endpoint/ranker", "--out", "plan.json"]) == 0
    assert main(["apply", "plan.json", "-e", "dev"]) == 1
    assert "the plan file was made for environment prod" in capsys.readouterr().err
    assert main(["apply", "plan.json"]) == 0
    assert "environment prod" in capsys.readouterr().err
    assert main(["get", "ranker", "-e", "prod"]) == 0
    assert main(["get", "other", "-e", "prod"]) == 1
    assert main(["plan", "-e", "prod", "--select", "Endpoint/ranker", "--detailed-exitcode"]) == 0


def test_a_run_is_undone_in_its_environment(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "-e", "prod", "-y"]) == 0
    shop.write("overlays/prod.yaml", PROD_OVERLAY.replace('"6"', '"5"'))
    assert main(["apply", "-e", "prod", "-y"]) == 0
    capsys.readouterr()
    assert main(["rollback", "-y"]) == 0
    streams = capsys.readouterr()
    assert "environment prod" in streams.err
    assert "warning" not in streams.err
    shop.write("overlays/prod.yaml", PROD_OVERLAY)
    assert main(["plan", "-e", "prod", "--detailed-exitcode"]) == 0


def test_an_environment_has_limits_of_its_own(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "-e", "dev", "-e", "prod", "-y"]) == 0
    shop.project(
        "limits: {max_changes: 5}\n"
        + _PROJECT.replace("  prod:\n", "  prod:\n    limits: {max_changes: 0}\n")
    )
    shop.write("manifests/ranker.yaml", RANKER.replace("Small", "${var.size}", 1) + "  tags: {new: tag}\n")
    assert main(["apply", "-e", "dev", "-y"]) == 0
    assert main(["apply", "-e", "prod", "-y"]) == 3


# ---- selection --------------------------------------------------------------------------------------------


def test_a_selection_narrows_plan_apply_and_destroy(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.write("manifests/other.yaml", RANKER.replace("ranker}", "other, labels: {team: a}}"))
    plan = _json(capsys, 0, "plan", "-e", "dev", "--select", "label:team=a")
    assert [step["address"] for step in plan["steps"]] == ["Endpoint/other"]
    assert main(["apply", "-e", "dev", "-y", "--exclude", "Endpoint/rank*"]) == 0
    assert main(["get", "ranker", "-e", "dev"]) == 1
    assert main(["apply", "-e", "dev", "-y"]) == 0
    assert main(["destroy", "-e", "dev", "-y", "--select", "file:manifests/other.yaml"]) == 0
    assert main(["get", "ranker", "-e", "dev"]) == 0
    assert main(["get", "other", "-e", "dev"]) == 1
    assert main(["plan", "-e", "dev", "--select", "Endpoint/othr"]) == 1
    assert "did you mean Endpoint/other?" in capsys.readouterr().err


# ---- render, diff -----------------------------------------------------------------------------------------


def test_render_tells_origins(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "-e", "prod", "--origins"]) == 0
    out = capsys.readouterr().out
    assert 'entity_version: "6"' in out
    lines = {
        line.split("#")[0].strip(): line.split("#")[1].strip() for line in out.splitlines() if "#" in line
    }
    assert lines['entity_version: "6"'] == "overlays/prod.yaml:9"
    assert lines["workload_size: Large"] == "manifests/ranker.yaml:10, ${var.size} reconciler.yaml:10"
    (found,) = _json(capsys, 0, "render", "-e", "prod", "--origins")
    assert found["origins"]["spec.tags.tier"] == {"file": "overlays/prod.yaml", "line": 10, "column": 10}
    assert found["manifest"]["spec"]["config"]["served_entities"][0]["entity_version"] == "6"


def test_what_render_gives_is_a_manifest_that_needs_no_environment(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "sk-canary-0123456789")
    shop.write(
        "overlays/prod.yaml",
        PROD_OVERLAY.replace(
            'entity_version: "6"', "entity_version: \"6\"\n        environment_vars: {A: '${env:CANARY}'}"
        ),
    )
    assert main(["render", "-e", "prod"]) == 0
    first = capsys.readouterr().out
    assert "canary" not in first
    assert "${env:CANARY}" in first
    (shop.folder / "out").mkdir()
    shop.write("out/m.yaml", first)
    shop.write(
        "out/reconciler.yaml", "apiVersion: reconciler/v1\nkind: Project\nstack: x\nmanifests: [m.yaml]\n"
    )
    monkeypatch.chdir(shop.folder / "out")
    assert main(["render"]) == 0
    assert capsys.readouterr().out == first, "without overlays it is the identity"


def test_diff_tells_both_places(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, 2, "diff", "dev", "prod", "--detailed-exitcode")
    told = {d["path"]: d for d in found["resources"][0]["differences"]}
    assert told["config.served_entities[champion].entity_version"] == {
        "path": "config.served_entities[champion].entity_version",
        "left": "7",
        "left_source": "manifests/ranker.yaml:9",
        "right": "6",
        "right_source": "overlays/prod.yaml:9",
    }
    size = told["config.served_entities[champion].workload_size"]
    assert (size["left_source"], size["right_source"]) == ("reconciler.yaml:5", "reconciler.yaml:10")
    assert "left" not in told["tags.tier"]
    assert main(["diff", "dev", "dev", "--detailed-exitcode"]) == 0
    capsys.readouterr()
    assert main(["diff", "dev", "prod"]) == 0
    assert "dev → prod: 3 fields differ, in 1 of 1 resource." in capsys.readouterr().out


def test_diff_of_what_is_live(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "-e", "dev", "-e", "prod", "-y"]) == 0
    found = _json(capsys, 0, "diff", "dev", "prod", "--live")
    paths = {d["path"] for d in found["resources"][0]["differences"]}
    assert {"config.served_entities[champion].entity_version", "tags.tier"} <= paths
    assert not any("timestamp" in path or path == "id" for path in paths)


@pytest.mark.parametrize("live", [(), ("--live",)])
def test_diff_selects_by_either_side(
    shop: Shop, live: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    shop.write("overlays/prod.yaml", f"{PROD_OVERLAY}---\n{RANKER.replace('ranker', 'extra')}")
    shop.write("manifests/other.yaml", RANKER.replace("name: ranker", "name: 'other-${var.size}'"))
    assert main(["apply", "-e", "dev", "-e", "prod", "-y"]) == 0

    def told(*terms: str) -> dict[str, list[str]]:
        found = _json(capsys, 0, "diff", "dev", "prod", *live, *terms)
        return {one["address"]: one["in"] for one in found["resources"]}

    assert told("--select", "Endpoint/extra") == {"Endpoint/extra": ["prod"]}
    assert told("--select", "Endpoint/other-Large") == (
        {} if live else {"Endpoint/other-Small": ["dev", "prod"]}
    ), "what is live has no other name in its spec"
    assert told("--select", "Endpoint/other-Large") == told("--select", "Endpoint/other-Small")
    left = told("--exclude", "Endpoint/extra", "--exclude", "Endpoint/other-Large")
    assert left == {"Endpoint/ranker": ["dev", "prod"]}
    assert main(["diff", "dev", "prod", *live, "--select", "Endpoint/extr"]) == 1
    assert "did you mean Endpoint/extra?" in capsys.readouterr().err
    assert main(["diff", "dev", "prod", *live, "--select", "*/extra", "--exclude", "*/extra"]) == 1
    assert "nothing is selected" in capsys.readouterr().err


# ---- promote ----------------------------------------------------------------------------------------------


def test_promote_writes_what_may_travel_and_keeps_the_rest(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["promote", "--from", "dev", "--to", "prod"]) == 3
    assert "dev is not converged: Endpoint/ranker" in capsys.readouterr().err
    assert main(["apply", "-e", "dev", "-y"]) == 0
    capsys.readouterr()

    assert main(["promote", "--from", "dev", "--to", "prod", "--check", "--detailed-exitcode"]) == 2
    assert (shop.folder / "overlays" / "prod.yaml").read_text() == PROD_OVERLAY, "--check writes nothing"
    capsys.readouterr()

    assert main(["promote", "--from", "dev", "--to", "prod"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "Promote dev to prod: Endpoint/ranker"
    assert '- `config.served_entities[champion].entity_version`: "6" → "7"' in text
    assert '`config.served_entities[champion].workload_size`: "Large" (dev: "Small")' in text
    written = (shop.folder / "overlays" / "prod.yaml").read_text()
    assert written == PROD_OVERLAY.replace('"6"', '"7"').replace("  tags: {tier: gold}\n", "")
    assert [p.name for p in (shop.folder / "overlays").iterdir()] == ["prod.yaml"]

    assert main(["promote", "--from", "dev", "--to", "prod", "--detailed-exitcode"]) == 0
    assert "Nothing to promote from dev to prod." in capsys.readouterr().out
    assert main(["get", "ranker", "-e", "prod"]) == 1, "nothing is applied"


def test_promote_makes_an_overlay_where_there_is_none(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    (shop.folder / "overlays" / "prod.yaml").unlink()
    shop.project(
        _PROJECT.replace("provisioning=0s'}", "provisioning=0s', overlays: [dev]}").replace("/prod.yaml", "")
    )
    shop.write("dev/ranker.yaml", f'{OVERLAY}spec: {{tags: {{a: "1"}}}}\n')
    assert main(["apply", "-e", "dev", "-y"]) == 0
    assert main(["promote", "--from", "dev", "--to", "prod"]) == 0
    assert (shop.folder / "overlays" / "ranker.yaml").read_text() == f"{OVERLAY}spec:\n  tags:\n    a: '1'\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (_PROJECT[_PROJECT.index("promote:") :], "", "nothing may be promoted"),
        (
            "    overlays: [overlays/prod.yaml]\npromote:\n  Endpoint:\n",
            "promote:\n  Endpoint:\n    - 'config.served_entities[*].workload_size'\n",
            "environment prod has no overlays to write to",
        ),
    ],
)
def test_what_promote_needs(
    shop: Shop, old: str, new: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["apply", "-e", "dev", "-y"]) == 0
    assert old in _PROJECT
    shop.project(_PROJECT.replace(old, new))
    capsys.readouterr()
    assert main(["promote", "--from", "dev", "--to", "prod"]) == 1
    assert told in capsys.readouterr().err


def test_an_endpoint_that_is_not_ready_proves_nothing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(_PROJECT.replace("local:dev.db?provisioning=0s", "local:dev.db?provisioning=60m"))
    assert main(["apply", "-e", "dev", "-y", "--no-wait"]) == 0
    capsys.readouterr()
    assert main(["promote", "--from", "dev", "--to", "prod"]) == 3
    assert "dev is not ready: Endpoint/ranker" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["local:../w d.db?provisioning=0s", "local"])
def test_the_workspace_that_a_project_names_is_beside_it_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    folder = tmp_path / "here" / "a+b %20"
    (folder / "manifests").mkdir(parents=True)
    project = (
        f"apiVersion: reconciler/v1\nkind: Project\nstack: s\nmanifests: [manifests]\ntarget: {target}\n"
    )
    (folder / "reconciler.yaml").write_text(project)
    (folder / "manifests" / "a.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {name: a}\nspec: {tags: {a: b}}\n"
    )
    monkeypatch.chdir(folder)
    assert main(["apply", "--auto-approve"]) == 0
    for place in (tmp_path, folder / "manifests"):
        monkeypatch.chdir(place)
        file = os.path.relpath(folder / "reconciler.yaml")
        capsys.readouterr()
        assert main(["plan", "--project", file]) == 0
        assert "No changes" in capsys.readouterr().out
        assert not list(place.glob("*.db"))
        assert main(["get", "--target", "local:other.db", "--project", file]) == 0
        assert (place / "other.db").exists(), "what the command line names is where one stands"
        (place / "other.db").unlink()
