"""Secrets are planted wherever one may come from, every command is run, and none is printed or written.

The world, and how it is searched: ``canaries.py``.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import typer.main

from reconciler.cli import main as cli
from tests.acceptance.canaries import DEBUG, SECRETS, Program, World, forms, served

pytestmark = pytest.mark.canaries


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    program = Program()
    yield program
    program.close()


@pytest.fixture
def world(tmp_path: Path, program: Program) -> Iterator[World]:
    with served() as (echo, url):
        yield World(tmp_path, echo, url, program)


# -- every command ----------------------------------------------------------------------------------------

# In the order of a project's life. `-o *` and `--report *`: once for each format that the command has. NAME=…
# before a command: the environment is another one; later commands cannot know the values LIVE and ROTATED.
JOURNEY = """
init new
schema
schema endpoint
schema --out schemas
targets -o *
targets --no-check
auth check -e prod -o *
fmt
fmt bad.yaml
validate bad.yaml -o *
validate -e prod -o *
validate -e prod --report *
validate --all-environments
render -e prod -o *
render -e prod --origins
diff dev prod -o *
OVERLAY_TOKEN=$LIVE apply -e prod -y manifests/custom.yaml
plan -e prod -o *
plan -e prod -v --out plan.json --save-snapshot before.json --report *
drift -e prod -o *
drift -e prod --refresh fast -o json
drift -e prod --refresh fast -v --report *
show plan.json -o *
show plan.json -v --report *
plan --rebase plan.json
plan --rebase plan.json -o json
PROD_KEY=$ROTATED plan --rebase plan.json
plan -e prod --snapshot before.json
apply plan.json --receipt receipt.json --report *
apply plan.json
PROD_KEY=$ROTATED apply plan.json --skip-stale -o json
apply -e dev -y
release Endpoint/custom Endpoint/openai -e prod -y -v --receipt receipt.json --report *
adopt Endpoint/custom -e prod -y -o *
adopt Endpoint/openai -e prod -y --receipt receipt.json --report *
release Endpoint/custom -e prod -y -o *
adopt Endpoint/custom -e prod -y
plan -e prod --prune
apply -e prod -y --resend-secrets -o *
apply -e prod -y --resend-secrets -v --receipt receipt.json --report *
plan --all-environments -o json
plan --all-environments -o markdown
diff dev prod --live -o *
promote --from dev --to prod --check -o *
promote --from dev --to prod
get -e prod -o *
get custom -e prod -o *
query openai -e prod -m hello -o *
query openai -e prod -m hello --stream
export -e prod --out exported --permissions --force -o *
history
history -o *
history show $RUN -o *
rollback --dry-run -o *
rollback -y -v --receipt receipt.json --report *
destroy -e dev -y -o *
destroy -e prod -y --receipt receipt.json --report *
rollback -y -o *
"""
_ELSEWHERE = {"emulator serve"}
"""Commands with a test of their own."""


def _commands(group: Any = None, above: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every registered command by its words; a group that does something by itself is one, too."""
    group = typer.main.get_command(cli.program()) if group is None else group
    for name, command in group.commands.items():
        words = (*above, name)
        if not hasattr(command, "commands"):
            yield " ".join(words), command
            continue
        if command.invoke_without_command:
            yield " ".join(words), command
        yield from _commands(command, words)


def _formats(line: str) -> list[str]:
    """The formats that the command of a line has."""
    known = dict(_commands())
    words = [word for word in shlex.split(line) if "=" not in word]
    command = known.get(" ".join(words[:2])) or known[words[0]]
    output = next(option for option in command.params if "--output" in option.opts)
    return [str(form.value) for form in type(output.default)]


def _journey() -> Iterator[str]:
    for line in JOURNEY.strip().splitlines():
        if "-o *" in line:
            yield from (line.replace("-o *", f"-o {form}") for form in _formats(line))
        elif "--report *" in line:
            reports = " ".join(f"--report {form}=reports/{form}" for form in _formats(line))
            yield line.replace("--report *", reports)
        else:
            yield line


def test_the_journey_has_every_command() -> None:
    lines = [" ".join(word for word in shlex.split(line) if "=" not in word or word[0] == "-")
             for line in JOURNEY.strip().splitlines()]  # fmt: skip
    known = dict(_commands())
    assert len(known) >= 20
    for name, command in known.items():
        mine = [line for line in lines if f"{line} ".startswith(f"{name} ")]
        if name in _ELSEWHERE:
            continue
        assert mine, f"`{name}` is not among the commands that the canaries are run through"
        options = {option for param in command.params for option in param.opts}
        for option, how in (("--output", "-o *"), ("--report", "--report *")):
            if option in options:
                assert any(how in line for line in mine), f"`{name}` is not run with {how}"


@pytest.mark.parametrize("where", ["local", "http"])
def test_every_command_in_every_format(world: World, where: str) -> None:
    unlike = []
    with served() as (_, other):
        targets = {
            "PROD_TARGET": "local:prod.db?provisioning=0s",
            "DEV_TARGET": "local:dev.db?provisioning=0s",
        }
        if where == "http":
            targets = {"PROD_TARGET": "databricks", "DEV_TARGET": "databricks://canary"}
            world.profile(other)
        # One that logs and one that does not may leak in different places: each turn has the other half.
        debug = itertools.cycle([DEBUG, ()] if where == "local" else [(), DEBUG])
        for line in _journey():
            words = shlex.split(line)
            given = {
                w.partition("=")[0]: w.partition("=")[2] for w in itertools.takewhile(_is_setting, words)
            }
            given = {name: SECRETS[value.removeprefix("$")] for name, value in given.items()}
            words = [world.last_run() if w == "$RUN" else w for w in words if not _is_setting(w)]
            told = world.run(
                *next(debug), *words, folder="envs", MLFLOW_DEPLOYMENTS_TARGET="", **targets, **given
            )
            if world.code != _code(line):
                unlike.append(f"{line}: exit {world.code}\n{told}")
    assert world.hits() == []
    assert not unlike, "\n".join(unlike)
    written = {file.name for file in (world.project / "envs").rglob("*")}
    assert {"plan.json", "receipt.json", "before.json", "html", "sarif", "runs", "openai.yaml"} <= written
    if where == "http":
        sent = "".join(world.echo.seen)
        for name in ("PROD_KEY", "OVERLAY_TOKEN", "COHERE_KEY", "prod.pem", "LIVE"):
            assert json.dumps(SECRETS[name])[1:-1] in sent, f"{name} was sent"


def _is_setting(word: str) -> bool:
    return re.match(r"[A-Z_]+=", word) is not None


def _code(line: str) -> int:
    """The exit code that a line ends with."""
    if line.startswith("validate bad.yaml"):
        return 1
    if line.startswith("drift"):
        return 2
    return 3 if "apply plan.json" in line and "--receipt" not in line else 0


def test_the_emulators_own_server(world: World) -> None:
    words = [*DEBUG, "emulator", "serve", "--port", "0", "--db", "served.db", "--provisioning", "0s"]
    words += ["--fault", "500@PUT config*1"]
    server = subprocess.Popen(
        [sys.executable, "-m", "reconciler", *words],
        cwd=world.project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        said = ""
        while "use it: DATABRICKS_HOST" not in said:  # the last line of what it says at its start
            line = server.stdout.readline()
            assert line, said
            said += line
        url = re.findall(r"http://\S+", said)[-1]
        for secret in ("OPENAI_KEY", "ENV_TOKEN", "COHERE_KEY"):
            world.run("apply", "-y", "--resend-secrets", DATABRICKS_HOST=url, **{secret: SECRETS["ROTATED"]})
        world.run("get", "custom", DATABRICKS_HOST=url)
    finally:
        server.send_signal(signal.SIGINT)
        rest, _ = server.communicate(timeout=20)
    world.output += said + rest
    assert "faults: 500@PUT config*1" in world.output
    assert world.hits() == []


def test_every_provider_and_target(world: World) -> None:
    world.put_by_hand()
    world.run(*DEBUG, "init", "new")
    world.run(*DEBUG, "validate")
    world.run(*DEBUG, "validate", "bad.yaml")
    world.run(*DEBUG, "plan", "bad.yaml", "-v")
    world.run(*DEBUG, "plan", "-v", "--save-snapshot", "before.json")
    world.run(*DEBUG, "apply", "-y", "-v")
    for value in ("OPENAI_KEY", "COHERE_KEY", "AWS_SECRET_KEY", "ENTRA_SECRET", "ENV_TOKEN"):
        assert any(json.dumps(SECRETS[value])[1:-1] in body for body in world.echo.seen), f"{value} was sent"
    assert any("CANARY2" in body for body in world.echo.seen)
    world.run(*DEBUG, "plan", "-v", "--save-snapshot", "after.json")
    world.run(*DEBUG, "plan", "-v", "--snapshot", "before.json")
    world.run(*DEBUG, "plan", "-v", "--resend-secrets", ENV_TOKEN="canary-rotated-0123456")
    world.run(*DEBUG, "apply", "-y", "-v", "--resend-secrets")
    world.run(*DEBUG, "apply", "-y", "-v", "--target", "local:w.db?provisioning=0s")
    world.run(*DEBUG, "get")
    for name in ("custom", "openai", "cohere"):
        world.run(*DEBUG, "get", name)
    world.run(*DEBUG, "query", "openai", "-m", "hello")
    world.run(*DEBUG, "query", "openai", "-m", "hello", "--stream")
    world.run(*DEBUG, "targets")
    world.run(*DEBUG, "auth", "check")
    world.run(*DEBUG, "schema", "endpoint")
    world.run(*DEBUG, "plan", "--check-models", "-v")
    world.run(*DEBUG, "get", "--target", "openai")
    world.run(*DEBUG, "get", "--target", world.url)
    world.run(*DEBUG, "destroy", "-y", "-v")
    assert world.hits() == []
    assert re.search(
        r"DEBUG reconciler\.client: POST /api/2\.0/serving-endpoints 200 \d+ ms\n +sent: \{", world.output
    )


_EVIL = ["refuse writes", "fail writes", "refuse reads", "html", "not json", "echo"]


@pytest.mark.parametrize("mode", _EVIL)
def test_a_server_that_repeats_what_it_was_sent(world: World, mode: str) -> None:
    files = [f"manifests/{name}.yaml" for name in ("openai", "cohere", "google", "custom")]
    world.run("apply", "-y", files[0])
    world.run("plan", *files, "--out", "plan.json")
    world.run("plan", *files, "--save-snapshot", "seen.json")
    world.echo.mode = mode
    unlimited = ["--write-limit", "none"]
    (world.project / "reports").mkdir()
    formats = _formats("plan -o *")
    every = [word for form in formats for word in ("--report", f"{form}=reports/{mode}.{form}")]
    for number, form in enumerate(formats):
        debug = DEBUG if number % 2 else ()
        world.run(*debug, "apply", "-y", "--resend-secrets", "-o", form, *unlimited, *files)
    for words in (
        ["apply", "-y", "--resend-secrets", *every, "--receipt", "receipt.json", *unlimited, *files],
        ["plan", *every, "--out", "again.json", *files],
        ["plan", "-v", *files],
        ["plan", "--rebase", "plan.json"],
        ["apply", "plan.json", "--receipt", "receipt.json", "--skip-stale", *unlimited],
        ["rollback", "--dry-run", "-v"],
        ["rollback", "-y", *every, *unlimited],
        ["destroy", "-y", *every, files[0]],
        ["export", "--out", "exported", "--force", "--permissions"],
        ["export", "--out", "exported", "--force", "-o", "json"],
        ["history"],
        *(
            [*words, "-o", form]
            for form in ("text", "json")
            for words in (["get"], ["get", "openai"], ["auth", "check"], ["query", "openai", "-m", "hi"])
        ),
    ):
        world.run(*DEBUG, *words)
    world.run(*DEBUG, "history", "show", world.last_run("."))
    world.run(*DEBUG, "get", "--target", "databricks://canary", DATABRICKS_HOST="", DATABRICKS_TOKEN="")
    assert world.hits() == []


@pytest.mark.parametrize("mode", ["", "refuse reads", "echo"])
def test_every_login(world: World, mode: str) -> None:
    world.echo.mode = mode
    logins = (
        {
            "DATABRICKS_TOKEN": "",
            "DATABRICKS_CLIENT_ID": "id",
            "DATABRICKS_CLIENT_SECRET": SECRETS["CLIENT_SECRET"],
        },
        {"DATABRICKS_HOST": "", "DATABRICKS_TOKEN": "", "DATABRICKS_CONFIG_PROFILE": "canary"},
        {"DATABRICKS_TOKEN": f"{SECRETS['DATABRICKS_TOKEN']}\nnot a token"},
        {"DATABRICKS_HOST": f"https://u:{SECRETS['CLIENT_SECRET']}@127.0.0.1:9"},
    )
    for login in logins:
        for words in (
            ["plan", "-o", "json"],
            ["get"],
            ["auth", "check"],
        ):
            world.run(*DEBUG, *words, **login)
        world.run(*DEBUG, "targets", **login)
    assert any(token.startswith("local-") for token in world.echo.tokens), "OAuth gave a token"
    assert SECRETS["PROFILE"] in world.echo.tokens
    assert world.hits() == []


def test_a_plugin_that_tells_its_arguments(world: World) -> None:
    for words in (
        ["plan", "-v"],
        ["apply", "-y"],
        ["apply", "-y", "-o", "json"],
        ["get", "fraud"],
        ["destroy", "-y"],
    ):
        said = world.run(*DEBUG, *words, folder="plugin", PYTHONPATH=".", MLFLOW_DEPLOYMENTS_TARGET="")
        if words[0] == "apply":
            assert "memory must be a number" in said
    assert world.hits() == []


def test_a_bug_of_ours(world: World) -> None:
    code = (
        "import os, sys\n"
        "import reconciler.engine.readers as readers\n"
        "from reconciler.cli.main import main\n"
        "def broken(client, *rest):\n"
        "    list(client.list_endpoints())\n"
        "    names = ('OPENAI_KEY', 'COHERE_KEY', 'ENV_TOKEN', 'DATABRICKS_TOKEN', 'OPENAI_API_KEY')\n"
        "    held = {name: os.environ[name] for name in names}\n"
        "    raise ZeroDivisionError(held, open('manifests/google.pem').read())\n"
        "readers.list_names.__code__ = broken.__code__\n"
        "readers.os = os\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    told = world.run(*DEBUG, "plan", code=code)
    assert "This is a bug in reconciler" in told
    assert world.hits() == []


def test_the_search_finds_what_is_there() -> None:
    for value in SECRETS.values():
        for text in (value, json.dumps({"k": value}), f"?k={quote(value)}", repr([value])):
            assert any(form in text.encode() for form in forms(value)), text
        for user in ("", "u:", "us:", "user:"):
            assert any(form in base64.b64encode(f"{user}{value}".encode()) for form in forms(value))
