"""A workspace over HTTP that can be set back to where it was, and kills whoever is at the chosen call."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.emulator.server import Running
from reconciler.emulator.wire import Request, Response
from reconciler.emulator.workspace import Workspace

__all__ = ["Bench", "Killing", "bench"]

_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_ROOT = Path(__file__).parents[2]


class Killing:
    """Around a workspace: notes what it carried out; kills the client of the ``at``-th write after acting."""

    def __init__(self) -> None:
        self.inner: Workspace | None = None
        self.acted: list[tuple[str, str]] = []
        self.seen = 0
        self.at: int | None = None
        self.hold: threading.Event | None = None
        self.arrived = threading.Event()
        self._lock = threading.Lock()

    def handle(self, request: Request) -> Response:
        assert self.inner is not None
        if request.method not in _WRITES:
            return self.inner.handle(request)
        with self._lock:
            self.seen += 1
            mine = self.seen == self.at
        self.arrived.set()
        if self.hold is not None:
            self.hold.wait(60)
        response = self.inner.handle(request)
        if response.status < 300:
            with self._lock:
                self.acted.append(_effect(request))
        if mine:
            os.kill(int(request.headers["x-pid"]), signal.SIGKILL)
        return response


def _effect(request: Request) -> tuple[str, str]:
    """What a write does: which resource, which part of it. Adding and setting permissions come to one."""
    found = re.fullmatch(r"/api/2\.0/(?:permissions/)?serving-endpoints(?:/([^/]+))?(?:/(.+))?", request.path)
    assert found is not None
    if request.path.startswith("/api/2.0/permissions"):
        grants = json.loads(request.body)["access_control_list"]  # the creator's own may be among them
        return "permissions", json.dumps(sorted(str(grant) for grant in grants if "group_name" in grant))
    if request.method == "POST":
        return "create", str(json.loads(request.body)["name"])
    return (request.method if found[2] is None else found[2]), found[1]


class Bench:
    """The workspace at its URL, and the launcher that runs the program against it."""

    def __init__(self, folder: Path, layer: Killing, url: str, launcher: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.layer = layer
        self.url = url
        self._launcher = launcher
        self._case = 0

    def set_back(self, saved: Path | None) -> Path:
        """A workspace as saved (None: empty) and a fresh folder of work, which is given."""
        self._case += 1
        work = self.folder / f"case-{self._case}"
        work.mkdir()
        path = work / "workspace.db"
        if saved is not None:
            shutil.copy(saved, path)
        if self.layer.inner is not None:
            self.layer.inner.close()
        self.layer.inner = Workspace(str(path))
        self.layer.acted, self.layer.seen, self.layer.at = [], 0, None
        return work

    def run(self, work: Path, *words: str, boundary: str = "none", number: int = 0) -> tuple[int, str]:
        """The program's exit code (−9: killed) and what it said."""
        self.layer.seen = 0
        self.layer.at = number if boundary == "acted" else None
        output = work / "output.txt"
        output.write_text("")
        order = {
            "words": words,
            "folder": str(work),
            "output": str(output),
            "boundary": boundary,
            "number": number,
        }
        assert self._launcher.stdin is not None
        assert self._launcher.stdout is not None
        self._launcher.stdin.write(json.dumps(order) + "\n")
        self._launcher.stdin.flush()
        answer = json.loads(self._launcher.stdout.readline())
        return int(answer["code"]), output.read_text(encoding="utf-8")

    @property
    def effects(self) -> Counter[tuple[str, str]]:
        """What the workspace carried out since it was set back, and how often."""
        return Counter(self.layer.acted)

    def state(self) -> Any:
        """Every endpoint as it is, without what differs from one run to the next."""
        assert self.layer.inner is not None
        listed = json.loads(self._get("/api/2.0/serving-endpoints"))["endpoints"]
        found = {}
        for entry in listed:
            raw = json.loads(self._get(f"/api/2.0/serving-endpoints/{entry['name']}"))
            grants = json.loads(self._get(f"/api/2.0/permissions/serving-endpoints/{raw['id']}"))
            found[entry["name"]] = _neutral({"raw": raw, "grants": grants["access_control_list"]})
        return found

    def _get(self, path: str) -> bytes:
        assert self.layer.inner is not None
        asked = Request("GET", path, headers={"authorization": "Bearer hand"})
        body = self.layer.inner.handle(asked).body
        assert isinstance(body, bytes)
        return body


_OWN = re.compile(r"id|.*timestamp.*|endpoint_url|config_version")


def _neutral(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _neutral(item) for name, item in sorted(value.items()) if not _OWN.fullmatch(name)}
    if isinstance(value, list):
        return sorted((_neutral(item) for item in value), key=str)
    return value


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A server in a thread of this process, a launcher beside it."""
    layer = Killing()
    server = Running(layer)
    thread = threading.Thread(target=server.run, name="emulator", daemon=True)
    thread.start()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DATABRICKS_HOST": server.url,
        "DATABRICKS_TOKEN": "token",
        "OPENAI_KEY": "canary-of-the-crash",
        "PYTHONPATH": str(_ROOT),
        "PYTHONUTF8": "1",
    }
    launcher = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.launcher"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=_ROOT,
        text=True,
    )
    try:
        yield Bench(folder, layer, server.url, launcher)
    finally:
        assert launcher.stdin is not None
        launcher.stdin.close()
        launcher.wait(timeout=30)
        server.stop()
        thread.join(timeout=10)
        if layer.inner is not None:
            layer.inner.close()
