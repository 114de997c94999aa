"""The edge: words in, exit codes and streams out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli import options
from reconciler.cli.acting import exit_code
from reconciler.cli.main import main, with_optional_values
from reconciler.engine.apply import Applied
from reconciler.errors import UsageError
from reconciler.values import Action, Address, Outcome, Plan, Step, StepStatus

_MANIFEST = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: e}
spec: {tags: {a: b}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET", raising=False)
    (tmp_path / "manifests").mkdir(exist_ok=True)
    (tmp_path / "manifests" / "e.yaml").write_text(_MANIFEST)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["plan", "--resend-secrets"], ["plan", "--resend-secrets=*"]),
        (["plan", "--resend-secrets", "manifests"], ["plan", "--resend-secrets=*", "manifests"]),
        (
            ["plan", "--resend-secrets", "Endpoint/a", "Endpoint/b", "m.yaml"],
            ["plan", "--resend-secrets=Endpoint/a", "--resend-secrets=Endpoint/b", "m.yaml"],
        ),
        (["plan", "--resend-secrets=Endpoint/a"], ["plan", "--resend-secrets=Endpoint/a"]),
        (["plan", "--", "--resend-secrets"], ["plan", "--", "--resend-secrets"]),
    ],
)
def test_resend_secrets_takes_any_number_of_addresses(words: list[str], expected: list[str]) -> None:
    assert with_optional_values(words) == expected


@pytest.mark.parametrize(
    ("text", "seconds"), [("45m", 2700), ("90s", 90), ("1h", 3600), ("250ms", 0.25), ("30", 30)]
)
def test_durations(text: str, seconds: float) -> None:
    assert options.parse_duration(text, "--x") == seconds


def test_a_duration_that_is_none() -> None:
    with pytest.raises(UsageError, match="soon"):
        options.parse_duration("soon", "--wait-timeout")


def test_exit_codes_of_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    local = ["--target", "local:w.db?provisioning=0s"]
    assert main(["plan", *local]) == 0
    assert main(["plan", "--detailed-exitcode", *local]) == 2
    assert main(["apply", "--auto-approve", *local]) == 0
    assert main(["plan", "--detailed-exitcode", *local]) == 0
    assert main(["destroy", "--auto-approve", *local]) == 0
    assert main(["get", "e", *local]) == 1
    capsys.readouterr()


def test_stdout_carries_the_answer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "-o", "json", "--target", "local:w.db"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["summary"]["create"] == 1
    assert streams.err.splitlines()[0].startswith("target: local")


def test_the_first_line_on_stderr_names_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    (Path("manifests") / "e.yaml").write_text(
        _MANIFEST.replace("{name: e}", "{name: e, allow_unknown_fields: true}").replace(
            "{tags", "{shiny: 1, tags"
        )
    )
    assert main(["plan", "--target", "local:w.db"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("target: local")
    assert lines[1].startswith("warning: manifests/e.yaml:4:8")

    (Path("manifests") / "e.yaml").write_text("nonsense: 1")
    for command in ("plan", "apply", "destroy"):
        assert main([command, "--target", "local:other.db"]) == 1
        assert capsys.readouterr().err.splitlines()[0] == "target: local:other.db"
    assert not Path("other.db").exists(), "bad input changes nothing"


def test_apply_without_a_terminal_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "--target", "local:w.db"]) == 3
    assert "--auto-approve" in capsys.readouterr().err


def test_nothing_to_do_needs_no_approval(capsys: pytest.CaptureFixture[str]) -> None:
    local = ["--target", "local:w.db?provisioning=0s"]
    assert main(["apply", "--auto-approve", *local]) == 0
    assert main(["apply", *local]) == 0
    assert "No changes" in capsys.readouterr().out


def test_wrong_words_are_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    """2 means "there are changes": a typing error must not look like that in CI."""
    assert main(["plan", "--no-such-option"]) == 1
    assert main(["no-such-command"]) == 1
    assert main(["plan", "--log-level"]) == 1
    assert "No such option" in capsys.readouterr().err


def test_log_level_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--log-level", "loud", "plan"]) == 1
    assert "use debug, info" in capsys.readouterr().err


def test_a_bug_says_that_it_is_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError("with canary-4711 in it")

    monkeypatch.setenv("CANARY_TOKEN", "canary-4711")
    (Path("manifests") / "e.yaml").write_text(_MANIFEST.replace("a: b", "a: '${env:CANARY_TOKEN}'"))
    monkeypatch.setattr("reconciler.engine.planning.read_and_plan", broken)
    assert main(["plan", "--target", "local:w.db"]) == 1
    told = capsys.readouterr().err
    assert "This is a bug in reconciler" in told
    assert "canary-4711" not in told


def test_init_makes_a_project_that_plans(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["init", "shop"]) == 0
    assert main(["init", "shop"]) == 1, "overwrites nothing"
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "plan"], cwd=folder / "shop", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "+ Endpoint/support-chat will be created" in done.stdout
    assert done.stderr.startswith("target: local")


def test_schema_prints_and_writes(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["schema", "Endpoint"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Endpoint"
    assert main(["schema", "endpont"]) == 1
    assert "did you mean endpoint?" in capsys.readouterr().err
    assert main(["schema", "--out", "editor"]) == 0
    assert (folder / "editor" / "endpoint.schema.json").is_file()


def test_importing_the_program_imports_nothing_heavy() -> None:
    code = (
        "import sys; from reconciler.cli.main import program; program(); "
        "print([m for m in ('requests', 'deepdiff', 'jsonschema', 'rich', 'uvicorn', 'databricks', 'mlflow', "
        "'yaml', 'sqlite3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_command_is_run_without_the_others() -> None:
    """Building all of them takes as long again: what is run every five minutes shall not pay for it."""
    code = (
        "import sys; from reconciler.cli.main import main; main(['drift', '--help']); "
        "print([m for m in ('apply', 'rollback', 'promote', 'emulator') "
        "if f'reconciler.cli.{m}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stdout.startswith("Usage: reconciler drift ")


def test_running_a_command_imports_no_pydantic(folder: Path) -> None:
    """typer would, for 0.1 s: see cli/startup.py."""
    code = (
        "import sys; from reconciler.cli.main import main; "
        "main(['apply', 'manifests', '--target', 'local:w.db', '-o', 'text', '--parallelism', '2']); "
        "print('pydantic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    assert done.stdout.splitlines()[-1] == "True", "a number needs a conversion"
    code = code.replace(", '--parallelism', '2'", "")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_wrong_values_are_typers_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "-o", "xml", "--target", "local:w.db"]) == 1
    assert "xml" in capsys.readouterr().err
    assert main(["apply", "--parallelism", "many", "--target", "local:w.db"]) == 1
    assert main(["apply", "--parallelism", "0", "--target", "local:w.db"]) == 1
    assert "parallelism" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("statuses", "converged", "code"),
    [
        ([StepStatus.DONE, StepStatus.UNCHANGED], True, 0),
        ([StepStatus.DONE], False, 1),
        ([StepStatus.NOT_WAITED], False, 0),
        ([StepStatus.REFUSED, StepStatus.DONE], False, 3),
        ([StepStatus.REFUSED, StepStatus.FAILED], False, 1),
        ([StepStatus.NOT_BEGUN], False, 1),
    ],
)
def test_exit_code_of_an_apply(statuses: list[StepStatus], converged: bool, code: int) -> None:
    step = Step(Address("Endpoint", "e"), Action.UPDATE)
    outcomes = tuple(Outcome(step, status) for status in statuses)
    assert exit_code(Applied(Plan("t", (step,)), outcomes, None, converged)) == code


def test_the_debug_log_shows_each_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--log-level", "debug", "apply", "-y", "--target", "local:w.db?provisioning=0s"]) == 0
    streams = capsys.readouterr()
    assert re.search(
        r"DEBUG reconciler\.client: POST /api/2\.0/serving-endpoints 200 \d+ ms\n"
        r'    sent: \{"name": "\w+", .*\}\n'
        r'    answered: \{"name": "\w+", ',
        streams.err,
    )
    assert "DEBUG" not in streams.out


@pytest.mark.parametrize(
    ("words", "at", "offered"),
    [
        ("reconciler pl", 1, ["plan"]),
        ("reconciler plan -e ", 3, ["dev", "prod"]),
        ("reconciler plan -e p", 3, ["prod"]),
        ("reconciler apply --select Endpoint/a", 3, ["Endpoint/a"]),
        ("reconciler destroy --exclude Gateway", 3, ["GatewayModel/m"]),
        ("reconciler promote --from ", 3, ["dev", "prod"]),
        ("reconciler promote --from dev --to p", 5, ["prod"]),
        ("reconciler diff ", 2, ["dev", "prod"]),
        ("reconciler diff dev p", 3, ["prod"]),
        ("reconciler get Endpoint/a", 2, ["Endpoint/a"]),
        ("reconciler query Endpoint/a", 2, ["Endpoint/a"]),
    ],
)
def test_a_shell_offers_commands_environments_and_addresses(
    tmp_path: Path, words: str, at: int, offered: list[str]
) -> None:
    (tmp_path / "reconciler.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Project\nstack: s\nenvironments: {dev: {}, prod: {}}\n"
    )
    (tmp_path / "manifests").mkdir(exist_ok=True)
    (tmp_path / "manifests/a.yaml").write_text(
        "kind: Endpoint\nmetadata: {name: a}\n---\nkind: GatewayModel\nmetadata: {name: m}\n---\nkind: [no\n"
    )
    (tmp_path / "manifests/b.yaml").write_text("kind: Endpoint\nmetadata: {name: a}\n---\n{")
    environ = {"_RECONCILER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    done = subprocess.run(
        [sys.executable, "-m", "reconciler"],
        cwd=tmp_path,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == offered
    assert done.stderr == ""
