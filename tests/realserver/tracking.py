"""A real ``mlflow server`` with its AI Gateway, on loopback; and a project that is applied to it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests

_API = "/api/3.0/mlflow/gateway"
_READY = 180.0  # seconds; it takes 7 to 35
_LISTS = {
    "secrets": ("secrets/list", "secrets", "secret_id"),
    "models": ("model-definitions/list", "model_definitions", "model_definition_id"),
    "endpoints": ("endpoints/list", "endpoints", "endpoint_id"),
    "budgets": ("budgets/list", "budget_policies", "budget_policy_id"),
    "guardrails": ("guardrails/list", "guardrails", "guardrail_id"),
}
_DELETES = {
    "secrets": "secrets/delete",
    "models": "model-definitions/delete",
    "endpoints": "endpoints/delete",
    "budgets": "budgets/delete",
    "guardrails": "guardrails/delete",
}


def free_port() -> int:
    """A port of loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Tracking:
    """The server, spoken to by plain requests: what other people do to it, and what is really there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    @property
    def target(self) -> str:
        return f"mlflow-gateway+{self.url}"

    def call(self, method: str, route: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request of somebody else; its answer as JSON. Fails on a refusal."""
        answer = self.session.request(method, f"{self.url}{_API}/{route}", json=body, timeout=60)
        assert answer.ok, f"{method} {route}: {answer.status_code} {answer.text}"
        return answer.json()

    def list(self, what: str) -> list[dict[str, Any]]:
        """Everything of one sort: secrets, models, endpoints, budgets, guardrails."""
        route, inner, _ = _LISTS[what]
        return list(self.call("GET", route).get(inner, []))

    def one(self, what: str, name: str) -> dict[str, Any]:
        """The one of that name."""
        return next(i for i in self.list(what) if name in (i.get("name"), i.get("secret_name")))

    def names(self, what: str) -> list[str]:
        return sorted(
            str(i.get("name") or i.get("secret_name") or i["target_scope"]) for i in self.list(what)
        )

    def secret(self, name: str, value: str = "sk-somebody-elses-key", **more: Any) -> str:
        body = {"secret_name": name, "secret_value": {"api_key": value}, "provider": "openai", **more}
        return str(self.call("POST", "secrets/create", body)["secret"]["secret_id"])

    def model(self, name: str, secret_id: str, model_name: str = "gpt-4o") -> str:
        body = {"name": name, "secret_id": secret_id, "provider": "openai", "model_name": model_name}
        made = self.call("POST", "model-definitions/create", body)
        return str(made["model_definition"]["model_definition_id"])

    def endpoint(self, name: str, model_id: str, **more: Any) -> str:
        config = {"model_definition_id": model_id, "linkage_type": "PRIMARY"}
        body = {"name": name, "model_configs": [config], "usage_tracking": False, **more}
        return str(self.call("POST", "endpoints/create", body)["endpoint"]["endpoint_id"])

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """All that there is, for comparing before and after."""
        return {what: sorted(self.list(what), key=json.dumps) for what in _LISTS}

    def clear(self) -> None:
        """Delete all of it."""
        for what in ("budgets", "endpoints", "guardrails", "models", "secrets"):
            _, _, key = _LISTS[what]
            for item in self.list(what):
                self.call("DELETE", _DELETES[what], {key: item[key]})


@contextlib.contextmanager
def tracking_server(folder: Path, *, basic_auth: bool = False) -> Iterator[Tracking]:
    """The server for as long as the block lasts. It stores everything below ``folder``."""
    url = f"http://127.0.0.1:{free_port()}"
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
            *("--artifacts-destination", str(folder / "artifacts")),
            *("--host", "127.0.0.1", "--port", url.rpartition(":")[2], "--workers", "1"),
            *(("--app-name", "basic-auth") if basic_auth else ()),
        ],
        cwd=folder,
        env={
            **os.environ,
            "MLFLOW_CRYPTO_KEK_PASSPHRASE": "a passphrase for tests only",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key for tests only",
            "MLFLOW_AUTH_CONFIG_PATH": str(_auth_config(folder)),
        },
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _await_ready(process, url, folder / "server.log")
        yield Tracking(url)
    finally:
        # The server leads a group of its own: its workers end with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
        log.close()


def _auth_config(folder: Path) -> Path:
    path = folder / "auth.ini"
    path.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder / 'auth.db'}\n"
        "admin_username = admin\nadmin_password = not-the-default-one-9\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    return path


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _READY
    pause = 0.2
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/health", timeout=2).ok:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(pause)
    raise AssertionError("the server did not become ready: " + log.read_text(errors="replace")[-3000:])


class Project:
    """A folder with a project file and manifests, and our program in it."""

    def __init__(self, folder: Path, target: str, stack: str = "shop") -> None:
        self.folder = folder
        self.stack = stack
        (folder / "manifests").mkdir(exist_ok=True)
        (folder / "reconciler.yaml").write_text(
            f"apiVersion: reconciler/v1\nkind: Project\nstack: {stack}\ntarget: {target}\n"
            "manifests: [manifests]\n"
        )
        self.environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}
        self.environment["PYTHONUTF8"] = "1"

    def write(self, text: str, file: str = "gateway.yaml") -> None:
        (self.folder / "manifests" / file).write_text(text)

    def process(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "reconciler", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, code: int = 0) -> str:
        """What the command prints, on both streams, on one line; it must exit with ``code``."""
        process = self.process(*words)
        out, err = process.communicate(timeout=120)
        text = out.decode() + err.decode()
        assert process.returncode == code, text
        return " ".join(text.split())

    def json(self, *words: str, code: int = 0) -> Any:
        process = self.process(*words, "-o", "json")
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, out.decode() + err.decode()
        return json.loads(out)

    def apply(self, *words: str, code: int = 0) -> Any:
        """Apply; the outcome. With exit code 0 it has converged."""
        told = self.json("apply", "--auto-approve", *words, code=code)
        assert told["converged"] is (code == 0)
        return told

    def assert_nothing_to_do(self) -> None:
        plan = self.json("plan", "--detailed-exitcode")
        assert plan["totals"]["write_calls"] == 0


def called(told: Any) -> list[str]:
    """The writes of an outcome, as ``METHOD route``, in the order of its steps."""
    return [
        f"{call['method']} {call['path'].removeprefix(_API + '/')}"
        for outcome in told["outcomes"]
        for call in outcome["results"]
    ]
