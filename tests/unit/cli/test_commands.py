"""``${cmd:command}`` at the command line: who may allow it, and which commands run none."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from reconciler.cli.main import main

_CANARY = "sk-canary-0123456789abcdef"
_MANIFEST = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {{name: chat}}
spec:
  config:
    served_entities:
      - name: gpt
        external_model:
          provider: openai
          name: gpt-4o
          task: llm/v1/chat
          openai_config: {{openai_api_key_plaintext: '${{cmd:{command}}}'}}
"""
_PROJECT = "apiVersion: reconciler/v1\nkind: Project\nstack: s\ntarget: local\nmanifests: [m.yaml]\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose only secret comes from a command that counts how often it ran."""
    monkeypatch.chdir(tmp_path)
    code = f'open("ran", "a").write("x"); print("{_CANARY}")'
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}".replace("'", "''")
    Path("m.yaml").write_text(_MANIFEST.format(command=command))
    Path("reconciler.yaml").write_text(_PROJECT)
    return tmp_path


def _runs() -> int:
    return len(Path("ran").read_text()) if Path("ran").exists() else 0


def test_off_by_default_with_the_way_to_allow_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan"]) == 1
    told = capsys.readouterr().err
    assert "m.yaml:12:" in told
    assert "--allow-commands" in told
    assert "allow_commands: true" in told
    assert _runs() == 0


def test_the_option_allows_it_for_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "--allow-commands", "--auto-approve"]) == 0
    streams = capsys.readouterr()
    assert _runs() == 1
    assert _CANARY not in streams.out + streams.err


def test_the_project_file_allows_it_and_the_option_forbids_it() -> None:
    Path("reconciler.yaml").write_text(_PROJECT + "allow_commands: true\n")
    assert main(["plan"]) == 0
    assert _runs() == 1
    assert main(["plan", "--no-allow-commands"]) == 1
    assert _runs() == 1


def test_a_manifest_cannot_allow_itself() -> None:
    text = Path("m.yaml").read_text()
    Path("m.yaml").write_text(text + "allow_commands: true\n")
    assert main(["plan"]) == 1
    assert _runs() == 0


def test_the_project_file_itself_takes_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    Path("reconciler.yaml").write_text(
        _PROJECT.replace("target: local", "target: '${cmd:touch ran}'") + "allow_commands: true\n"
    )
    assert main(["plan"]) == 1
    assert "reconciler.yaml:4" in capsys.readouterr().err
    assert _runs() == 0


def test_validate_and_destroy_run_nothing() -> None:
    Path("reconciler.yaml").write_text(_PROJECT + "allow_commands: true\n")
    assert main(["apply", "--auto-approve"]) == 0
    ran = _runs()
    assert main(["validate"]) == 0
    assert main(["destroy", "--auto-approve"]) == 0
    assert _runs() == ran
