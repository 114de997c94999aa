"""``${cmd:command}``: what a program prints becomes a secret, where allowed; nothing leaks, nothing hangs."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import Problem
from reconciler.manifest.commands import MAX_BYTES, CommandProblem, Commands
from reconciler.values import Secret
from tests.unit.manifest.conftest import Loader

_CANARY = "sk-canary-0123456789abcdef"
_ENVIRON = {"PATH": os.environ.get("PATH", ""), "VAULT_TOKEN": "hvs.canary-of-the-vault"}
_HEAD = (
    "apiVersion: reconciler/v1\nkind: GatewaySecret\nmetadata: {name: openai}\nspec:\n  provider: openai\n"
)


def _python(code: str) -> str:
    """A command line that runs a piece of Python."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


def _commands(folder: Path, **options: Any) -> Commands:
    return Commands("run", folder, _ENVIRON, hidden=[_ENVIRON["VAULT_TOKEN"]], **options)


def _problem(folder: Path, command: str, **options: Any) -> CommandProblem:
    with pytest.raises(CommandProblem) as caught:
        _commands(folder, **options).value(command)
    return caught.value


# ---- what a command gives -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "value"),
    [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("", ""), ("ключ", "ключ")],
)
def test_the_value_is_what_is_printed_without_its_last_end_of_line(
    tmp_path: Path, printed: str, value: str
) -> None:
    code = f"import sys; sys.stdout.buffer.write({printed.encode()!r})"
    assert _commands(tmp_path).value(_python(code)) == value


def test_no_shell_reads_the_words(tmp_path: Path) -> None:
    code = _python("import sys; print(sys.argv[1:], end='')") + " '$HOME' '*' '; echo x' \"`id`\" a'b'c"
    assert _commands(tmp_path).value(code) == "['$HOME', '*', '; echo x', '`id`', 'abc']"


def test_it_runs_in_the_projects_folder_with_the_environment_and_no_input(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), os.environ['VAULT_TOKEN'][:3], repr(sys.stdin.read()), end='')"
    assert _commands(tmp_path).value(_python(code)) == f"{os.path.realpath(tmp_path)} hvs ''"


def test_a_command_runs_once_a_run_also_when_it_fails(tmp_path: Path) -> None:
    count = _python("import sys; open('n', 'a').write('x'); print('v'); sys.exit(len(sys.argv) - 1)")
    commands = _commands(tmp_path)
    assert [commands.value(count), commands.value(count)] == ["v", "v"]
    for _ in range(2):
        with pytest.raises(CommandProblem, match="exit code 1"):
            commands.value(f"{count} fail")
    assert (tmp_path / "n").read_text() == "xx"


def test_what_a_program_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    """As gpg-agent does: it keeps the pipe open after the program has ended."""
    code = "import subprocess, sys; print('v', flush=True); "
    code += "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    code += "open('pid', 'w').write(str(p.pid))"
    try:
        assert _commands(tmp_path, timeout=30).value(_python(code)) == "v"
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


# ---- what goes wrong ------------------------------------------------------------------------------------


def test_a_command_that_hangs_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    code = "import subprocess, sys, time; "
    code += "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    code += "open('pid', 'w').write(str(p.pid)); time.sleep(60)"

    problem = _problem(tmp_path, _python(code), timeout=2.0)

    assert problem.what.endswith("did not end within 2 seconds, and was stopped")
    assert "closed" in problem.fix
    _await_gone(int((tmp_path / "pid").read_text()))


def _await_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        threading.Event().wait(0.02)
    pytest.fail("what the command started runs on")


def test_a_flood_is_stopped_at_64_kb(tmp_path: Path) -> None:
    problem = _problem(tmp_path, _python("while True: print('y' * 1000)"))
    assert problem.what.endswith("printed more than 64 KB, and was stopped")


def test_64_kb_are_taken_and_one_byte_more_is_not(tmp_path: Path) -> None:
    commands = _commands(tmp_path)
    assert len(commands.value(_python(f"print('y' * {MAX_BYTES}, end='')"))) == MAX_BYTES
    with pytest.raises(CommandProblem, match="more than 64 KB"):
        commands.value(_python(f"print('y' * {MAX_BYTES + 1}, end='')"))


def test_a_flood_of_errors_does_not_block_the_program(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('e' * 1_000_000); print('v')"
    assert _commands(tmp_path).value(_python(code)) == "v"


@pytest.mark.parametrize("printed", [b"\xff\xfe\x00s", b"a\0b", b"\x80"])
def test_binary_output_is_refused_and_not_shown(tmp_path: Path, printed: bytes) -> None:
    problem = _problem(tmp_path, _python(f"import sys; sys.stdout.buffer.write({printed!r})"))
    assert problem.what.endswith("printed is not UTF-8 text")


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("no-such-program-at-all --now", "there is no program no-such-program-at-all"),
        ("./missing", "there is no program ./missing"),
        ("./folder", "./folder cannot be run: Permission denied"),
        ("pass 'show", "a quote is not closed"),
        ("", "names no program"),
        ("  ", "names no program"),
        ("''", "names no program"),
    ],
)
def test_what_cannot_be_run_is_told(tmp_path: Path, command: str, what: str) -> None:
    (tmp_path / "folder").mkdir()
    assert what in _problem(tmp_path, command).what


def test_a_failure_tells_program_code_and_first_line_but_not_the_arguments(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('not logged \\x1b[31min\\nsecond line\\n'); sys.exit(7)"
    problem = _problem(tmp_path, _python(code) + " --pin 123456")
    assert problem.what.endswith(" failed with exit code 7: not logged \\x1b[31min")
    assert "123456" not in problem.what
    assert "second" not in problem.what


def test_a_program_ended_by_a_signal(tmp_path: Path) -> None:
    problem = _problem(tmp_path, _python("import os; os.kill(os.getpid(), 15)"))
    assert problem.what.endswith("failed with signal 15")


def test_no_secret_of_output_or_environment_is_shown_from_stderr(tmp_path: Path) -> None:
    code = f"import os, sys; print({_CANARY!r}); "
    code += f"sys.stderr.write('got {_CANARY} with ' + os.environ['VAULT_TOKEN']); sys.exit(1)"
    problem = _problem(tmp_path, _python(code))
    assert problem.what.endswith("exit code 1: got *** with ***")


# ---- in manifests ---------------------------------------------------------------------------------------


def _manifest(command: str) -> str:
    quoted = command.replace("'", "''")
    return f"{_HEAD}  secret_value:\n    api_key: '${{cmd:{quoted}}}'\n"


def test_what_it_prints_is_a_secret_and_is_known_for_masking(loader: Loader) -> None:
    command = _python(f"print('{_CANARY}')")
    loaded = loader(_manifest(command), commands="run", environ=_ENVIRON)
    value = loaded.resources[0].spec["secret_value"]["api_key"]
    assert isinstance(value, Secret)
    assert value.reveal() == _CANARY
    assert value.reference.startswith("${cmd:")
    assert _CANARY in [secret.reveal() for secret in loaded.secrets]


def test_a_part_of_a_secret_in_the_manifest_is_refused_and_not_shown(loader: Loader) -> None:
    command = _python(f"print('{_CANARY}')").replace("'", "''")
    text = f"{_HEAD}  secret_value:\n    api_key: 'Bearer ${{cmd:{command}}}'\n"
    (problem,) = loader.problems(text, commands="run", environ=_ENVIRON)
    assert problem.rule == "plaintext-secret"
    assert _CANARY not in str(problem).replace(command, "")


def test_unless_allowed_nothing_runs(loader: Loader) -> None:
    command = _python("open('ran', 'w')")
    problems = loader.problems(_manifest(command))
    assert [problem.rule for problem in problems] == ["command-not-allowed"]
    assert (problems[0].line, problems[0].path) == (7, "spec.secret_value.api_key")
    assert "--allow-commands" in problems[0].fix
    assert "allow_commands: true in reconciler.yaml" in problems[0].fix
    assert not (loader.folder / "ran").exists()


def test_checks_alone_run_nothing_and_do_not_mind(loader: Loader) -> None:
    loaded = loader(_manifest(_python("open('ran', 'w')")), commands="skip")
    assert isinstance(loaded.resources[0].spec["secret_value"]["api_key"], Secret)
    assert not (loader.folder / "ran").exists()


@pytest.mark.parametrize("commands", ["refuse", "skip", "run"])
def test_a_field_without_secrets_takes_no_command(loader: Loader, commands: str) -> None:
    command = _python("open('ran', 'w')").replace("'", "''")
    key = "  secret_value: {api_key: '${env:VAULT_TOKEN}'}\n"
    text = _HEAD.replace("provider: openai", f"provider: '${{cmd:{command}}}'") + key
    problems = loader.problems(text, commands=commands, environ=_ENVIRON)
    assert "command-misplaced" in [problem.rule for problem in problems]
    assert not (loader.folder / "ran").exists()


def test_a_failure_is_told_at_its_line(loader: Loader) -> None:
    problems = loader.problems(_manifest("no-such-program-at-all"), commands="run", environ=_ENVIRON)
    assert [(p.line, p.rule) for p in problems] == [(7, "command-failed")]


def test_nothing_printed_is_no_secret(loader: Loader) -> None:
    problems: list[Problem] = loader.problems(_manifest(_python("pass")), commands="run", environ=_ENVIRON)
    assert [problem.rule for problem in problems] == ["empty-secret"]
