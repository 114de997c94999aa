"""A real ``mlflow gateway start`` on loopback, and the reconciler's commands against it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

READY = 120.0  # seconds; importing mlflow takes a while on two busy cores


def until(what: Callable[[], Any], seconds: float = READY) -> Any:
    """What ``what`` gives, once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s")


class Gateway:
    """A gateway that serves ``path``; started at once, ``stop`` ends it and its workers and nothing else."""

    def __init__(self, path: Path, log: Path, **environment: str) -> None:
        self.path = path
        self.log = log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            str(Path(sys.executable).with_name("mlflow")),
            "gateway",
            "start",
            "--config-path",
            str(path),
        ]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", **environment},
                start_new_session=True,  # a group of its own: its workers are ended with it
            )
        until(lambda: self.get("/health"))

    def get(self, path: str) -> Any:
        """The answer, None when there is none that says yes."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def served(self) -> dict[str, Any]:
        """Name → what is served, by the gateway's own list."""
        found = self.get("/api/2.0/endpoints/") or {}
        return {endpoint["name"]: endpoint for endpoint in found.get("endpoints", ())}

    def route(self, name: str) -> dict[str, int]:
        """The shares of a route, by endpoint."""
        found = self.get(f"/api/3.0/gateway/route/{name}") or {}
        return {one["name"]: one["traffic_percentage"] for one in found.get("destinations", ())}

    def is_alive(self) -> bool:
        """It takes connections."""
        try:
            with urllib.request.urlopen(self.url + "/health", timeout=20):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End it, by its own process group."""
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(20)


class Shop:
    """A project folder whose target is a gateway's file."""

    def __init__(self, folder: Path, gateway: Gateway | None, config_path: Path, url: str = "") -> None:
        self.folder = folder
        self.gateway = gateway
        self.config = config_path
        (folder / "manifests").mkdir(parents=True)
        (folder / "reconciler.yaml").write_text(
            "apiVersion: reconciler/v1\nkind: Project\nstack: shop\n"
            f"target: {gateway.url if gateway else url}\nconfig_path: {config_path}\nmanifests: [manifests]\n"
        )

    def write(self, text: str) -> None:
        """The manifests are this, from now on."""
        (self.folder / "manifests" / "gateway.yaml").write_text(text)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The reconciler as a user runs it. The credentials of the gateway are not in its environment."""
        return subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def plan(self, *arguments: str) -> dict[str, Any]:
        """The plan as JSON."""
        done = self.run("plan", "-o", "json", *arguments)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def apply(self, *arguments: str) -> dict[str, Any]:
        """An apply that must converge, as JSON."""
        done = self.run("apply", "-y", "-o", "json", *arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["converged"] is True
        return found
