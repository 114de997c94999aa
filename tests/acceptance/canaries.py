"""A world full of planted secrets, a program that is run in it, and a search through all that it left.

Searched is every byte of stdout, stderr and of every file below the project and the home, for each secret as
it is, in JSON, in URLs and in base64. Left out are the files that hold the secrets to begin with, and
``*.db``, the embedded workspace: it is the server's side, and the API tells environment variables again.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from reconciler.emulator.server import Running
from reconciler.emulator.wire import Request, Response, answer
from reconciler.emulator.workspace import Workspace

__all__ = ["DEBUG", "SECRETS", "Echo", "Program", "World", "forms", "served"]

DEBUG = ("--log-level", "debug")

_HERE = Path(__file__).parent
_KEY_LINES = "MIIEvQIBADANBgkqhkiG9w0CANARY1\nAQEFAASCBKcwggSjAgEAAoCANARY2\nq83vEjRWeJCrze8SNFZ4kKvNCANARY3"
_PEM = f"-----BEGIN PRIVATE KEY-----\n{_KEY_LINES}\n-----END PRIVATE KEY-----"

SECRETS = {
    "OPENAI_KEY": "sk-canary-openai-4711",  # an environment variable in a plaintext twin
    "anthropic.txt": "sk-canary-anthropic-0815",  # a file
    "COHERE_KEY": r"""c"a'n\a/r&y%2B+$^.*[({ é <k>""",  # signs of regular expressions, JSON, URLs, HTML
    "google.pem": _PEM,  # many lines
    "AWS_SECRET_KEY": "canary/aws+secret=key0123",
    "ENTRA_SECRET": "canary~entra~8Q~secret",
    "ENV_TOKEN": "canary-environment-variable",  # environment_vars of a model
    "ROTATED": "sk-canary-of-another-day",
    "LIVE": "canary-that-only-the-server-knew",  # put there by hand: no manifest knows it
    "LITERAL": "sk-canary-literal-in-a-manifest",  # refused, and not repeated
    "DATABRICKS_TOKEN": "dapi-canary-token-31337",
    "PROFILE": "dapi-canary-profile-token-42",
    "CLIENT_SECRET": "dose-canary-client-secret",
    "PLUGIN_PASSWORD": "canary-plugin-password-99",  # a plugin's exception tells it
    "OPENAI_API_KEY": "sk-canary-for-the-models-api",
    "DEV_KEY": "sk-canary-in-a-variable-of-dev",  # ${env:} inside an environment's variable
    "PROD_KEY": "sk-canary&in=a%variable<of>'prod\"",
    "OVERLAY_TOKEN": "canary-token-of-an-overlay",
    "prod.pem": _PEM.replace("CANARY", "CANPRO"),
}

_ENTITY = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {{name: {name}}}
spec:
  config:
    served_entities:
      - name: m
        external_model:
          provider: {provider}
          name: x-1
          task: llm/v1/chat
          {block}: {keys}
  tags: {{team: a}}
"""
_CUSTOM = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: custom}
spec:
  config:
    served_entities:
      - name: m
        entity_name: main.ml.ranker
        entity_version: "1"
        environment_vars: {TOKEN: "${env:ENV_TOKEN}", MODE: fast}
"""
_PROJECT = """\
apiVersion: reconciler/v1
kind: Project
stack: shop
manifests: [manifests]
limits: {max_deletes: 100%, max_changes: 100%}
variables: {key: "${env:OPENAI_KEY}", pem: "${file:google.pem}"}
environments:
  dev:
    target: "${env:DEV_TARGET}"
    variables: {key: "${env:DEV_KEY}"}
  prod:
    target: "${env:PROD_TARGET}"
    variables: {key: "${env:PROD_KEY}", pem: "${file:prod.pem}"}
    overlays: [overlays/prod]
promote:
  Endpoint: ["config.served_entities[*].entity_version", tags]
policies:
  - {id: all-of-it, level: warn, rule: "false", message: "{resource} {resource.spec}"}
  - {id: all-of-a-step, on: step, level: warn, rule: "false", message: "{step} {resource} {plan}"}
  - {use: no-plaintext-keys, level: warn}
probes:
  - {name: hello, select: [Endpoint/openai], message: hello, expect: "answer.size() > 0"}
"""
_OVERLAY = """\
apiVersion: reconciler/v1
kind: Overlay
address: Endpoint/custom
spec:
  config:
    served_entities:
      - name: m
        entity_version: "2"
        environment_vars: {TOKEN: "${env:OVERLAY_TOKEN}", MORE: "${env:COHERE_KEY}"}
"""
_PROVIDERS = (
    ("openai", "openai", "openai_config", '{openai_api_key_plaintext: "${env:OPENAI_KEY}"}'),
    ("anthropic", "anthropic", "anthropic_config", '{anthropic_api_key_plaintext: "${file:anthropic.txt}"}'),
    ("cohere", "cohere", "cohere_config", '{cohere_api_key_plaintext: "${env:COHERE_KEY}"}'),
    (
        "google",
        "google-cloud-vertex-ai",
        "google_cloud_vertex_ai_config",
        '{private_key_plaintext: "${file:google.pem}", region: eu, project_id: p}',
    ),
    (
        "bedrock",
        "amazon-bedrock",
        "amazon_bedrock_config",
        '{aws_region: eu, bedrock_provider: cohere, aws_access_key_id: "{{secrets/a/b}}",'
        ' aws_secret_access_key_plaintext: "${env:AWS_SECRET_KEY}"}',
    ),
    (
        "azure",
        "openai",
        "openai_config",
        '{openai_api_type: azuread, openai_api_base: "https://x.test", openai_api_version: v1,'
        " openai_deployment_name: d, microsoft_entra_tenant_id: t, microsoft_entra_client_id: c,"
        ' microsoft_entra_client_secret_plaintext: "${env:ENTRA_SECRET}"}',
    ),
)


# Nothing is waited for: what is looked at is what is said. Each command is a process of its own, forked from
# one in which everything is imported: nothing that one learnt is known to the next.
_FORKING = """
import json, os, signal, sys
import deepdiff, jinja2, jsonschema, jsonschema_rs, requests, ruamel.yaml
import reconciler.client.http, reconciler.client.databricks, reconciler.engine.apply
import reconciler.engine.rollback, reconciler.engine.waiting, reconciler.targets, reconciler.emulator.local
import reconciler.report.html, reconciler.report.junit, reconciler.report.markdown, reconciler.report.sarif
try:
    import databricks.sdk
except ImportError:
    pass
reconciler.client.http.backoff = lambda repeat, chance: 0.0
reconciler.engine.apply._LATER = ()
from reconciler.cli.main import main
# Schemas and templates are read once.
main(["validate", "--allow-unset", *sys.argv[1:], "--report", "html=/dev/null"])
sys.stdout.flush()

def run(job):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in ((1, job["out"]), (2, job["err"])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    signal.alarm(60)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    sys.path[:0] = [path for path in [job["environment"].get("PYTHONPATH")] if path]
    sys.argv[1:] = job["words"]
    if job["code"]:
        exec(job["code"])
    return main(job["words"])

for line in sys.stdin:
    child = os.fork()
    if not child:
        code = 70
        try:
            code = run(json.loads(line))
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Program:
    """``reconciler``, ready to be run many times."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORKING, str(_HERE.parent.parent / "examples" / "manifests")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1"},
        )
        assert self._process.stdout is not None
        assert "valid" in self._process.stdout.readline()

    def run(
        self, words: Sequence[str], folder: Path, environment: dict[str, str], said: Path, code: str = ""
    ) -> tuple[int, bytes]:
        """Run it once; gives the exit code and all that it printed. ``said``: a folder for that meanwhile."""
        out, err = said / "out", said / "err"
        job = {
            "words": list(words), "folder": str(folder), "environment": environment,
            "out": str(out), "err": str(err), "code": code,
        }  # fmt: skip
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        to.write(json.dumps(job) + "\n")
        to.flush()
        code_of = int(back.readline())
        return code_of, out.read_bytes() + err.read_bytes()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


# -- the world ---------------------------------------------------------------------------------------------


@dataclass
class Echo:
    """A workspace whose refusals and texts repeat what they were sent: the body, and the credential."""

    workspace: Workspace
    mode: str = ""
    seen: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def handle(self, request: Request) -> Response:
        """Answers, badly where the mode says so."""
        credential = request.headers.get("authorization", "")
        self.seen.append(request.body.decode("utf-8", "replace"))
        if credential.startswith("Bearer "):
            self.tokens.add(credential.removeprefix("Bearer "))
        body = request.body.decode("utf-8", "replace")
        is_write = request.method != "GET" and "/api/" in request.path
        if self.mode == "refuse writes" and is_write:
            return answer({"error_code": "BAD", "message": f"{body} is bad, {credential}"}, 400)
        if self.mode == "fail writes" and is_write:
            return answer({"error_code": "INTERNAL", "message": f"{credential} {body}"}, 500)
        if self.mode == "html" and "/api/" in request.path:
            return Response(502, {"content-type": "text/html"}, f"<p>{credential}</p><pre>{body}".encode())
        if self.mode == "not json" and "/api/" in request.path:
            return Response(200, {"content-type": "text/plain"}, f"{credential} {body}".encode())
        if self.mode == "refuse reads" and "/api/" in request.path:
            return answer({"error_code": "DENIED", "message": credential}, 403, {"x-request-id": credential})
        answered = self.workspace.handle(request)
        if self.mode == "echo" and answered.status == 200 and isinstance(answered.body, bytes):
            told = json.loads(answered.body) if answered.body.startswith(b"{") else {}
            return answer({**told, "description": credential, "newer": {"x": [credential, body]}})
        return answered


class World:
    """A project with secrets all over, a home with a profile, and the server."""

    def __init__(self, folder: Path, echo: Echo, url: str, program: Program) -> None:
        self.project, self.home, self.said = folder / "shop", folder / "home", folder / "said"
        self.echo, self.url, self.program = echo, url, program
        self.output = ""
        self.code = 0
        self.said.mkdir()
        manifests = self.project / "manifests"
        manifests.mkdir(parents=True)
        self.home.mkdir()
        for name, provider, block, keys in _PROVIDERS:
            text = _ENTITY.format(name=name, provider=provider, block=block, keys=keys)
            (manifests / f"{name}.yaml").write_text(text, encoding="utf-8")
        (manifests / "custom.yaml").write_text(_CUSTOM, encoding="utf-8")
        literal = _ENTITY.format(
            name="bad", provider="openai", block="openai_config",
            keys=json.dumps({"openai_api_key_plaintext": SECRETS["LITERAL"]}),
        )  # fmt: skip
        (self.project / "bad.yaml").write_text(literal, encoding="utf-8")
        for name in ("anthropic.txt", "google.pem"):
            (manifests / name).write_text(SECRETS[name] + "\n", encoding="utf-8")
        self.profile(url)
        self._write_environments()
        plugin = _HERE / "plugin-deployments"
        shutil.copytree(plugin, self.project / "plugin")
        deployment = self.project / "plugin" / "manifests" / "fraud.yaml"
        text = deployment.read_text(encoding="utf-8")
        deployment.write_text(
            text.replace("memory: 4", 'memory: "x"').replace("env:HOME", "env:PLUGIN_PASSWORD")
        )

    def run(self, *words: str, code: str = "", folder: str = ".", **environment: str) -> str:
        """Run the program, or Python ``code`` instead; keeps and gives what it printed."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONUTF8": "1",
            "DATABRICKS_HOST": self.url,
            "MLFLOW_DEPLOYMENTS_TARGET": "databricks",
            "OPENAI_API_BASE": f"{self.url}/openai",
            **{name: value for name, value in SECRETS.items() if name.isupper() and "_" in name},
        }
        variables.pop("CLIENT_SECRET")
        variables.update(environment)
        given = {name: value for name, value in variables.items() if value}
        ended, printed = self.program.run(words, self.project / folder, given, self.said, code)
        told = printed.decode("utf-8", "surrogateescape")
        self.output += f"\n$ {' '.join(words)}\n{told}"
        assert ended in (0, 1, 2, 3), told
        assert code or "Traceback" not in told, told
        self.code = ended
        return told

    def _write_environments(self) -> None:
        """A project whose secrets stand in variables of environments and in an overlay."""
        folder = self.project / "envs"
        key = '{openai_api_key_plaintext: "${var.key}"}'
        pem = '{private_key_plaintext: "${var.pem}", region: eu, project_id: p}'
        texts = {
            "reconciler.yaml": _PROJECT,
            "manifests/openai.yaml": _ENTITY.format(
                name="openai", provider="openai", block="openai_config", keys=key
            ),
            "manifests/google.yaml": _ENTITY.format(
                name="google",
                provider="google-cloud-vertex-ai",
                block="google_cloud_vertex_ai_config",
                keys=pem,
            ),
            "manifests/custom.yaml": _CUSTOM,
            "manifests/google.pem": SECRETS["google.pem"],
            "manifests/prod.pem": SECRETS["prod.pem"],
            "overlays/prod/custom.yaml": _OVERLAY,
            "bad.yaml": (self.project / "bad.yaml").read_text(encoding="utf-8"),
            "reports/.keep": "",
        }
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def profile(self, url: str) -> None:
        """The home's login is for that server."""
        text = f"[canary]\nhost = {url}\ntoken = {SECRETS['PROFILE']}\n"
        (self.home / ".databrickscfg").write_text(text, encoding="utf-8")

    def last_run(self, folder: str = "envs") -> str:
        """The name of the last run on record."""
        return max((self.project / folder / ".reconciler" / "runs").iterdir()).stem

    def put_by_hand(self) -> None:
        """A value of which no manifest knows."""
        body = {
            "name": "custom",
            "config": {
                "served_entities": [
                    {
                        "name": "m",
                        "entity_name": "main.ml.ranker",
                        "entity_version": "1",
                        "environment_vars": {"TOKEN": SECRETS["LIVE"], "OTHER": SECRETS["LIVE"]},
                    }
                ]
            },
        }
        request = Request(
            "POST", "/api/2.0/serving-endpoints", {}, {"authorization": "x"}, json.dumps(body).encode()
        )
        assert self.echo.workspace.handle(request).status == 200

    def hits(self) -> list[str]:
        """Where a secret stands that should stand nowhere."""
        places = {"the output": self.output.encode("utf-8", "surrogateescape")}
        given = {"anthropic.txt", "google.pem", "prod.pem", ".databrickscfg", "bad.yaml"}
        for top in (self.project, self.home):
            for file in top.rglob("*"):
                if file.is_file() and file.name not in given and not re.search(r"\.db(-\w+)?$", file.name):
                    places[str(file.relative_to(top.parent))] = file.read_bytes()
        secrets = {**SECRETS, **{f"token {n}": token for n, token in enumerate(sorted(self.echo.tokens))}}
        found = []
        for place, content in places.items():
            for name, value in secrets.items():
                for form in forms(value):
                    at = content.find(form)
                    if at >= 0:
                        around = content[max(0, at - 300) : at + len(form) + 40].decode("utf-8", "replace")
                        found.append(f"{name} in {place}: …{around}…")
                        break
        return found


def forms(value: str) -> set[bytes]:
    """A secret as it may stand somewhere; lines of a long one count by themselves."""
    texts = {value, repr(value)[1:-1], quote(value), quote(value, safe=""), quote_plus(value)}
    texts |= {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    texts |= {line for line in value.splitlines() if len(line) >= 16 and "PRIVATE KEY" not in line}
    raw = value.encode()
    for prefix in (b"", b"x", b"xx", b"id:"):
        whole = base64.b64encode(prefix + raw).decode().rstrip("=")
        start = -(-len(prefix) * 8 // 6)
        texts |= {whole[start : start + len(raw) * 8 // 6 - 1]}
        texts |= {
            base64.urlsafe_b64encode(prefix + raw).decode().rstrip("=")[start : start + len(raw) * 8 // 6 - 1]
        }
    return {text.encode() for text in texts if len(text) >= 8}


@contextmanager
def served() -> Iterator[tuple[Echo, str]]:
    workspace = Workspace()
    echo = Echo(workspace)
    server = Running(echo)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield echo, server.url
    finally:
        server.stop()
        thread.join(timeout=10)
        workspace.close()
