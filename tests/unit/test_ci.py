"""What others build on: the Action, examples for CI, hooks, the container file, the catalogue of schemas."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import etree

from docs.generate import catalogue
from reconciler import schema
from reconciler.cli.catalog import catalog
from reconciler.cli.main import main

_ROOT = Path(__file__).parent.parent.parent
_CI = _ROOT / "examples" / "ci"
_BIN = Path(sys.executable).parent
_MANIFEST = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata:
  name: chat
spec:
  config:
    served_entities:
      - name: main
        entity_name: main.support.chat
        entity_version: "3"
        workload_size: Small
        scale_to_zero_enabled: true
  tags: {team: support}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(("GITHUB_", "DATABRICKS_", "MLFLOW_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "project with spaces"
    (folder / "manifests").mkdir(parents=True)
    (folder / "manifests" / "chat.yaml").write_text(_MANIFEST)
    (folder / "reconciler.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Project\nstack: shop\ntarget: local\nmanifests: [manifests]\n"
    )
    return folder


# ---- the Action -----------------------------------------------------------------------------------------


class Runner:
    """Runs the steps of a composite action as GitHub's runner does, in bash, on this machine.

    ``-e`` and ``pipefail`` as its shell has them; values of ``${{ … }}`` come from inputs, outputs of earlier
    steps and the event. An expression that is not known here is a mistake of the action.
    """

    def __init__(self, home: Path, project: Path, **inputs: str) -> None:
        self.action = yaml.safe_load((_ROOT / "action.yml").read_text(encoding="utf-8"))
        self.home = home
        self.project = project
        self.inputs: dict[str, str] = {}
        self.outputs: dict[str, dict[str, str]] = {}
        for name, one in self.action["inputs"].items():
            self.inputs[name] = self._value(str(one["default"]))
        self.inputs |= {name.replace("_", "-"): value for name, value in inputs.items()}
        self.inputs["working-directory"] = str(project)
        self.ran: list[str] = []
        self.log = ""
        for name in ("temp", "stub"):
            (home / name).mkdir(parents=True, exist_ok=True)

    def run(self, event: str = "push", *, installs: bool = False) -> int:
        """All steps, until one fails; gives the exit code of the last."""
        if not installs:
            self._link_program()
        for step in self.action["runs"]["steps"]:
            condition = step.get("if")
            wanted = self.inputs["comment"] == "true" and event == "pull_request"
            if (condition and not wanted) or (step["name"].startswith("Install") and not installs):
                continue
            self.ran.append(step["name"])
            code = self._step(step)
            if code:
                return code
        return 0

    def _link_program(self) -> None:
        place = self.home / "temp" / "reconciler" / "bin"
        place.mkdir(parents=True, exist_ok=True)
        link = place / "reconciler"
        if not link.exists():
            link.symlink_to(_BIN / "reconciler")

    def _step(self, step: dict[str, Any]) -> int:
        script = self.home / "script.sh"
        assert "${{" not in step["run"], "a value in a script's text is an injection"
        script.write_text(step["run"])
        output, summary = self.home / "output", self.home / "summary.md"
        output.write_text("")
        summary.touch()
        environment = {name: self._value(str(text)) for name, text in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self._value(step.get("working-directory", str(self.project))),
            env={
                **os.environ,
                **environment,
                "PATH": f"{self.home / 'stub'}:{_BIN}:{os.environ['PATH']}",
                "RUNNER_TEMP": str(self.home / "temp"),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
                "GITHUB_REPOSITORY": "octo/shop",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        self.log += done.stdout + done.stderr
        found = dict(line.split("=", 1) for line in output.read_text().splitlines())
        self.outputs.setdefault(step.get("id", ""), {}).update(found)
        return done.returncode

    def _value(self, text: str) -> str:
        def told(found: re.Match[str]) -> str:
            match found[1].split("."):
                case ["inputs", name]:
                    return self.inputs[name]
                case ["steps", step, "outputs", name]:
                    return self.outputs[step][name]
                case ["github", "action_path"]:
                    return str(_ROOT)
                case ["github", "event", "pull_request", "number"]:
                    return "7"
                case ["github", "token"]:
                    return "a-token"
            raise AssertionError(found[0])

        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", told, text)


def test_the_action_plans_and_reports(project: Path, tmp_path: Path) -> None:
    runner = Runner(tmp_path / "runner", project)
    assert runner.run() == 0, runner.log
    outputs = runner.outputs["plan"]
    reports = Path(outputs["reports"])
    assert outputs | {"reports": ""} == {"changes": "true", "exit-code": "2", "reports": ""}
    assert sorted(path.name for path in reports.iterdir()) == [
        "plan.html",
        "plan.json",
        "plan.md",
        "plan.sarif",
        "plan.xml",
    ]
    assert "::notice file=manifests/chat.yaml,line=1," in runner.log
    assert "### reconciler plan: 1 to create" in (tmp_path / "runner" / "summary.md").read_text()
    assert etree.parse(reports / "plan.xml").getroot().get("failures") == "0"
    assert runner.ran == ["Check and plan", "Verdict"]


def test_the_action_fails_on_changes_when_asked_and_not_without_any(project: Path, tmp_path: Path) -> None:
    assert Runner(tmp_path / "one", project, fail_on_changes="true").run() == 2
    command = [_BIN / "reconciler", "apply", "--auto-approve"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    runner = Runner(tmp_path / "two", project, fail_on_changes="true")
    assert runner.run() == 0, runner.log
    assert runner.outputs["plan"]["changes"] == "false"


def test_the_action_checks_for_drift(project: Path, tmp_path: Path) -> None:
    command = [_BIN / "reconciler", "apply", "--auto-approve"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    asked = {"command": "drift", "fail_on_changes": "true", "arguments": "--refresh\nfast\n"}
    runner = Runner(tmp_path / "one", project, **asked)
    assert runner.run() == 0, runner.log
    assert runner.outputs["plan"]["changes"] == "false"
    manifest = project / "manifests" / "chat.yaml"
    manifest.write_text(_MANIFEST.replace("team: support", "team: other"))
    runner = Runner(tmp_path / "two", project, **asked)
    assert runner.run() == 2
    assert runner.outputs["plan"]["changes"] == "true"
    reports = Path(runner.outputs["plan"]["reports"])
    assert sorted(path.name for path in reports.iterdir()) == [
        "drift.html",
        "drift.json",
        "drift.md",
        "drift.sarif",
        "drift.xml",
    ]
    assert "::warning file=manifests/chat.yaml,line=13," in runner.log
    assert etree.parse(reports / "drift.xml").getroot().get("failures") == "1"
    assert Runner(tmp_path / "three", project, command="apply").run() == 1


def test_the_action_takes_paths_targets_and_arguments_line_by_line(project: Path, tmp_path: Path) -> None:
    (project / "one more.yaml").write_text(_MANIFEST.replace("chat", "more"))
    (project / "$(touch evil).yaml").write_text(_MANIFEST.replace("chat", "evil"))
    runner = Runner(
        tmp_path / "runner",
        project,
        paths="one more.yaml\n\n$(touch evil).yaml\n",
        target="local:other.db",
        arguments="--stack\nnight shift\n",
    )
    assert runner.run() == 0, runner.log
    plan = json.loads((Path(runner.outputs["plan"]["reports"]) / "plan.json").read_text())
    assert {step["address"] for step in plan["steps"]} == {"Endpoint/evil", "Endpoint/more"}
    assert plan["stack"] == "night shift"
    assert not (project / "evil").exists()
    assert (project / "other.db").exists()


@pytest.mark.parametrize(
    ("environments", "told"),
    [("prod", ["prod.db"]), ("dev\n\nprod\n", ["dev.db", "prod.db"]), ("*", ["dev.db", "prod.db"])],
)
def test_the_action_checks_and_plans_environments(
    environments: str, told: list[str], project: Path, tmp_path: Path
) -> None:
    with (project / "reconciler.yaml").open("a") as file:
        file.write("environments: {dev: {target: 'local:dev.db'}, prod: {target: 'local:prod.db'}}\n")
    runner = Runner(tmp_path / "none", project)
    assert runner.run() == 1
    assert "which environment is not said" in runner.log
    runner = Runner(tmp_path / "runner", project, environments=environments)
    assert runner.run() == 0, runner.log
    assert sorted(file.name for file in project.glob("*.db")) == told
    text = (Path(runner.outputs["plan"]["reports"]) / "plan.md").read_text()
    assert [f"local&#58;{name}" in text for name in ("dev.db", "prod.db")].count(True) == len(told)
    assert runner.outputs["plan"]["changes"] == "true"


def test_the_action_shows_wrong_manifests_and_fails(project: Path, tmp_path: Path) -> None:
    _stub_gh(tmp_path / "runner", [])
    (project / "manifests" / "chat.yaml").write_text(_MANIFEST.replace("tags", "tagz"))
    runner = Runner(tmp_path / "runner", project, comment="true")
    assert runner.run("pull_request") == 1
    assert "::error file=manifests/chat.yaml,line=13,col=3," in runner.log
    assert runner.outputs["plan"]["changes"] == "false"
    (comment,) = _comments(tmp_path / "runner")
    assert "1 problem in 1 file" in comment["body"]


# A stand-in for GitHub's program, with as much of its api command as the action uses.
_GH = """\
#!{python}
import json, os, pathlib, sys
assert os.environ["GH_TOKEN"] == "a-token"
store = pathlib.Path({store!r})
comments = json.loads(store.read_text())
words = sys.argv[1:]
assert words.pop(0) == "api"
method = words[words.index("--method") + 1] if "--method" in words else "GET"
path = next(word for word in words if word.startswith("repos/octo/shop/issues/"))
if method == "GET":
    assert path.endswith("/7/comments") and "--paginate" in words
    wanted = '.[] | select(.user.type == "Bot" and (.body | startswith(env.MARKER))) | .id'
    assert words[words.index("--jq") + 1] == wanted
    for one in comments:
        if one["user"]["type"] == "Bot" and one["body"].startswith(os.environ["MARKER"]):
            print(one["id"])
else:
    body = pathlib.Path(words[words.index("-F") + 1].removeprefix("body=@")).read_text()
    if method == "POST":
        comments.append({{"id": len(comments) + 1, "user": {{"type": "Bot"}}, "body": body}})
    else:
        found = next(one for one in comments if str(one["id"]) == path.rsplit("/", 1)[1])
        found["body"] = body
    store.write_text(json.dumps(comments))
"""


def _stub_gh(home: Path, comments: list[dict[str, Any]]) -> None:
    (home / "stub").mkdir(parents=True)
    store = home / "comments.json"
    store.write_text(json.dumps(comments))
    program = home / "stub" / "gh"
    program.write_text(_GH.format(python=sys.executable, store=str(store)))
    program.chmod(0o755)


def _comments(home: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((home / "comments.json").read_text())
    return found


def test_the_action_writes_one_comment_and_renews_it(project: Path, tmp_path: Path) -> None:
    home = tmp_path / "runner"
    marker = "<!-- reconciler comment prod_ -->"
    person = {"id": 1, "user": {"type": "User"}, "body": f"{marker}\nnot the action's"}
    other = {"id": 2, "user": {"type": "Bot"}, "body": "<!-- reconciler comment dev -->\nanother plan"}
    _stub_gh(home, [person, other])
    runner = Runner(home, project, comment="true", name="prod>")
    assert runner.run("pull_request") == 0, runner.log
    assert [one["body"].split("\n")[0] for one in _comments(home)] == [
        marker,
        "<!-- reconciler comment dev -->",
        marker,
    ]
    (project / "manifests" / "chat.yaml").write_text(_MANIFEST.replace("chat", "talk"))
    runner = Runner(home, project, comment="true", name="prod>")
    assert runner.run("pull_request") == 0, runner.log
    comments = _comments(home)
    assert len(comments) == 3
    assert comments[0]["body"].endswith("not the action's")
    assert "Endpoint/talk" in comments[2]["body"]
    assert "Endpoint/chat" not in comments[2]["body"]


@pytest.mark.package
def test_the_action_installs_this_repository(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is installed here already in place of what a runner would fetch."""
    monkeypatch.setenv("PIP_NO_DEPS", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip reads this one the other way round
    monkeypatch.setenv("PYTHONPATH", str(Path(yaml.__file__).parent.parent))
    runner = Runner(tmp_path / "runner", project)
    assert runner.run(installs=True) == 0, runner.log
    assert re.search(r"^reconciler \d+\.\d+", runner.log, re.M)
    assert runner.outputs["plan"]["changes"] == "true"


# ---- examples -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file", "more"),
    [
        ("github-actions", _ROOT / "action.yml", []),
        ("github-workflows", _CI / "github.yml", []),
        ("gitlab-ci", _CI / "gitlab.yml", ["--data-transform=gitlab-ci"]),
        # Its schema has patterns that only .NET reads strictly.
        (
            "azure-pipelines",
            _CI / "azure-pipelines.yml",
            ["--data-transform=azure-pipelines", "--regex-variant=nonunicode"],
        ),
    ],
)
def test_files_for_ci_are_valid_by_their_published_schemas(name: str, file: Path, more: list[str]) -> None:
    schema_file = str(files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{name}.json")
    words = [sys.executable, "-m", "check_jsonschema", "--schemafile", schema_file, *more, str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _scripts() -> list[tuple[str, str]]:
    gitlab = yaml.safe_load((_CI / "gitlab.yml").read_text(encoding="utf-8"))
    found = [
        (f"gitlab {name}", "\n".join([*gitlab["default"]["before_script"], *gitlab[name]["script"]]))
        for name in gitlab["stages"] + ["drift"]
    ]
    azure = (_CI / "azure-pipelines.yml").read_text(encoding="utf-8")
    for stage in yaml.safe_load(azure)["stages"]:
        (job,) = stage["jobs"]
        steps = job.get("steps") or job["strategy"]["runOnce"]["deploy"]["steps"]
        found.append((f"azure {stage['stage']}", "\n".join(step["bash"] for step in steps if "bash" in step)))
    github = yaml.safe_load((_CI / "github.yml").read_text(encoding="utf-8"))
    runs = [step["run"] for step in github["jobs"]["apply"]["steps"] if "run" in step]
    return [*found, ("github apply", "\n".join(runs))]


@pytest.mark.parametrize(("name", "script"), _scripts(), ids=[name for name, _ in _scripts()])
def test_the_scripts_of_the_examples_run(name: str, script: str, project: Path, tmp_path: Path) -> None:
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for installer in ("pip", "pipx"):  # what would be fetched is here already
        (stubs / installer).write_text('#!/bin/sh\n[ "$1" = install ]\n')
        (stubs / installer).chmod(0o755)
    environment = {**os.environ, "PATH": f"{stubs}:{_BIN}:{os.environ['PATH']}", "RECONCILER": "reconciler"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (2 if "drift" in name else 0), done.stdout + done.stderr
    written = re.findall(r"--report \w+=(\S+)", script)
    assert written
    assert all((project / file).stat().st_size > 100 for file in written)


def test_hooks_run_what_they_say(project: Path) -> None:
    hooks = yaml.safe_load((_ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks] == ["reconciler-validate", "reconciler-fmt"]
    for hook in hooks:
        assert {"id", "name", "entry", "language"} <= set(hook)
        program, *words = shlex.split(hook["entry"])
        done = subprocess.run([_BIN / program, *words], cwd=project, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.package
def test_the_container_file_names_all_that_the_wheel_needs(tmp_path: Path) -> None:
    text = (_ROOT / "Containerfile").read_text(encoding="utf-8")
    source = tmp_path / "source"
    source.mkdir()
    for words in re.findall(r"^COPY (?!--from)(.+)$", text, re.M):
        *names, to = words.split()
        for name in names:
            place = source / (Path(name).name if to == "./" else to)
            copy = shutil.copytree if (_ROOT / name).is_dir() else shutil.copy
            copy(_ROOT / name, place)
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(build, check=True, capture_output=True)
    assert len(list(tmp_path.glob("reconciler-*.whl"))) == 1
    assert 'ENTRYPOINT ["reconciler"]' in text
    assert re.search(r"^USER 1000$", text, re.M)


# ---- the catalogue --------------------------------------------------------------------------------------


def test_the_catalogue_is_up_to_date() -> None:
    text = (_ROOT / "schemas" / "catalog.json").read_text(encoding="utf-8")
    assert text == catalogue(), "run make docs"


def test_the_catalogue_knows_every_kind_by_its_files() -> None:
    content = catalog()
    assert content["version"] == 1
    matches = {entry["url"]: entry["fileMatch"] for entry in content["schemas"]}
    assert set(matches) == {
        f"{name}.schema.json" for name in ("project", "policies", *schema.kinds().values())
    }
    assert matches["gateway_endpoint.schema.json"][0] == "*.gateway-endpoint.yaml"
    assert matches["project.schema.json"] == ["reconciler.yaml"]
    assert all(entry["name"] and entry["description"] for entry in content["schemas"])
    assert all((_ROOT / "schemas" / url).is_file() for url in matches)


def test_schemas_are_written_with_a_catalogue(tmp_path: Path) -> None:
    assert main(["schema", "--out", str(tmp_path), "--base-url", "https://git.example.com/schemas/"]) == 0
    content = json.loads((tmp_path / "catalog.json").read_text())
    urls = [entry["url"] for entry in content["schemas"]]
    assert "https://git.example.com/schemas/endpoint.schema.json" in urls
    assert all((tmp_path / url.rsplit("/", 1)[1]).is_file() for url in urls)
