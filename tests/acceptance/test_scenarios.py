"""Runs each folder beside this file as a user would: see README.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs import tutorial
from reconciler.emulator.testing import Logged, running

_HERE = Path(__file__).parent
_SCENARIOS = sorted(path.parent for path in _HERE.glob("*/script"))
_UPDATE = bool(os.environ.get("ACCEPT_UPDATE"))
_PRELUDE = """\
code() {
    want=$1; shift
    got=0
    "$@" || got=$?
    [ "$got" = "$want" ] || { echo "EXPECTED EXIT CODE $want, GOT $got"; exit 99; }
}
run() { printf '$ %s\\n' "$*"; "$@"; }
"""


# The same commits in every run, by somebody who has no settings.
_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{role}_NAME": "Ana" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "ana@shop.test" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_DATE": "2026-01-05T09:00:00Z" for role in ("AUTHOR", "COMMITTER")},
}


def test_there_are_scenarios() -> None:
    assert len(_SCENARIOS) >= 5


@pytest.mark.parametrize("scenario", _SCENARIOS, ids=lambda path: path.name)
def test_scenario(scenario: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(scenario, folder, ignore=shutil.ignore_patterns("script", "output.txt", "requests.txt"))
    shutil.copytree(_HERE.parent.parent / "examples", folder / "examples")
    script = (scenario / "script").read_text(encoding="utf-8")
    # A minute late, so that nothing is too young for a check of drift to be taken for read.
    with running(provisioning=0.05, clock=lambda: time.time() - 60) as server:
        environment = {
            "PATH": f"{_HERE / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": "/home/nobody",
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "DATABRICKS_HOST": server.url,
            "DATABRICKS_TOKEN": "token",
            "PYTHONUTF8": "1",
            **_GIT,
        }
        done = subprocess.run(
            ["sh", "-eu", "-c", _PRELUDE + script],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        requests = _told(server.log)
    output = _neutral(done.stdout.decode(), server.url, folder)

    assert done.returncode == 0, output
    _compare(scenario / "output.txt", output)
    _compare(scenario / "requests.txt", requests)


def test_the_tutorial_is_what_its_scenario_does() -> None:
    assert tutorial.PAGE.read_text(encoding="utf-8") == tutorial.tutorial(), "make docs writes it anew"


def _compare(file: Path, text: str) -> None:
    if _UPDATE:
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"{file} is missing: run with ACCEPT_UPDATE=1 and review it"
    assert text == file.read_text(encoding="utf-8")


_NEUTRAL = (
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"\b[0-9a-f]{32}\b", "ID"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "ID"),
    (r"\b\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{4}\b", "RUN"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", "TIME"),
    (r"(?<=_timestamp: )\d{13}", "TIME"),
    (r'(?<=_timestamp": )\d{13}', "TIME"),
    (r'(?<="seconds": )[\d.e-]+', "SECONDS"),
    (r"\b\d+(?:\.\d+)?\s?m?s\b(?! limit)", "DURATION"),
)


def _neutral(text: str, url: str, folder: Path) -> str:
    text = text.replace(url, "http://WORKSPACE").replace(str(folder), "FOLDER")
    for pattern, name in _NEUTRAL:
        text = re.sub(pattern, name, text)
    # Which endpoint was told of first, and how often, depends on the machine.
    lines = [line for line in text.splitlines() if not re.match(r"[>…✓✗] \w+/\S+  DURATION", line)]
    return "\n".join(lines) + "\n"


def _told(log: list[Logged]) -> str:
    """What our program sent, grouped by endpoint: runs side by side have no order among them."""
    groups: dict[str, list[str]] = {}
    for entry in log:
        name = _endpoint(entry)
        path = re.sub(r"(?<=/permissions/serving-endpoints/)[^/]+", "ID", entry.path)
        line = f"{entry.method} {path}"
        if entry.body:
            line += f" {entry.body.decode()}"
        lines = groups.setdefault(name, [])
        if not (lines and lines[-1] == line and entry.method == "GET"):
            lines.append(line)
    return "".join(f"# {name}\n" + "".join(f"{line}\n" for line in groups[name]) for name in sorted(groups))


def _endpoint(entry: Logged) -> str:
    if entry.method == "POST":
        return str(json.loads(entry.body).get("name"))
    found = re.match(r"/api/2\.0/serving-endpoints/(?:pt/)?([^/]+)", entry.path)
    if found:
        return unquote(found[1])
    return "permissions" if "/permissions/" in entry.path else "workspace"
