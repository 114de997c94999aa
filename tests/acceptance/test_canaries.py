"""Secrets are planted wherever one may come from, every command is run, and none is printed or written.

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from reconciler.emulator.server import Running
from reconciler.emulator.wire import Request, Response, answer
from reconciler.emulator.workspace import Workspace

pytestmark = pytest.mark.canaries
_HERE = Path(__file__).parent
_KEY_LINES = "MIIEvQIBADANBgkqhkiG9w0CANARY1\nAQEFAASCBKcwggSjAgEAAoCANARY2\nq83vEjRWeJCrze8SNFZ4kKvNCANARY3"

SECRETS = {
    "OPENAI_KEY": "sk-canary-openai-4711",  # an environment variable in a plaintext twin
    "anthropic.txt": "sk-canary-anthropic-0815",  # a file
    "COHERE_KEY": r"""c"a'n\a/r&y%2B+$^.*[({ é <k>""",  # signs of regular expressions, JSON, URLs, HTML
    "google.pem": f"-----BEGIN PRIVATE KEY-----\n{_KEY_LINES}\n-----END PRIVATE KEY-----",  # many lines
    "AWS_SECRET_KEY": "canary/aws+secret=key0123",
    "ENTRA_SECRET": "canary~entra~8Q~secret",
    "ENV_TOKEN": "canary-environment-variable",  # environment_vars of a model
    "LIVE": "canary-that-only-the-server-knew",  # put there by hand: no manifest knows it
    "LITERAL": "sk-canary-literal-in-a-manifest",  # refused, and not repeated
    "DATABRICKS_TOKEN": "dapi-canary-token-31337",
    "PROFILE": "dapi-canary-profile-token-42",
    "CLIENT_SECRET": "dose-canary-client-secret",
    "PLUGIN_PASSWORD": "canary-plugin-password-99",  # a plugin's exception tells it
    "OPENAI_API_KEY": "sk-canary-for-the-models-api",
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


# Nothing is waited for: what is looked at is what is said.
_AT_ONCE = """
import sys, time
import reconciler.client.http, reconciler.engine.apply, reconciler.engine.waiting
reconciler.client.http.backoff = lambda repeat, chance: 0.0
reconciler.engine.apply._LATER = ()
from reconciler.cli.main import main
"""
_PROGRAM = "sys.exit(main(sys.argv[1:]))"

# -- the world --------------------------------------------------------------------------------------------


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

    def __init__(self, folder: Path, echo: Echo, url: str) -> None:
        self.project, self.home, self.echo, self.url = folder / "shop", folder / "home", echo, url
        self.output = ""
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
        profile = f"[canary]\nhost = {url}\ntoken = {SECRETS['PROFILE']}\n"
        (self.home / ".databrickscfg").write_text(profile, encoding="utf-8")
        plugin = _HERE / "plugin-deployments"
        shutil.copytree(plugin, self.project / "plugin")
        deployment = self.project / "plugin" / "manifests" / "fraud.yaml"
        text = deployment.read_text(encoding="utf-8")
        deployment.write_text(
            text.replace("memory: 4", 'memory: "x"').replace("env:HOME", "env:PLUGIN_PASSWORD")
        )

    def run(self, *words: str, code: str = "", folder: str = ".", **environment: str) -> str:
        """Run the program, or Python ``code`` instead; keeps and returns what it printed."""
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
        done = subprocess.run(
            [sys.executable, "-c", _AT_ONCE + (code or _PROGRAM), *words],
            cwd=self.project / folder,
            env={name: value for name, value in variables.items() if value},
            capture_output=True,
            timeout=60,
            check=False,
        )
        told = (done.stdout + done.stderr).decode("utf-8", "surrogateescape")
        assert done.returncode in (0, 1, 2, 3), told
        assert code or "Traceback" not in told, told
        self.output += f"\n$ {' '.join(words)}\n{told}"
        return told

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
        given = {"anthropic.txt", "google.pem", ".databrickscfg", "bad.yaml"}
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


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with _served() as (echo, url):
        yield World(tmp_path, echo, url)


@contextmanager
def _served() -> Iterator[tuple[Echo, str]]:
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


_DEBUG = ("--log-level", "debug")

# -- the runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "debug"),
    [(("-o", "text"), ()), (("-o", "json"), _DEBUG), (("-v",), _DEBUG)],
    ids=["text", "json, debug", "verbose, debug"],
)
def test_every_command(world: World, form: tuple[str, ...], debug: tuple[str, ...]) -> None:
    plain = () if form == ("-v",) else form
    world.put_by_hand()
    world.run(*debug, "init", "new")
    world.run(*debug, "validate", *plain)
    world.run(*debug, "validate", "bad.yaml", *plain)
    world.run(*debug, "plan", "bad.yaml", *form)
    world.run(*debug, "plan", *form, "--save-snapshot", "before.json")
    world.run(*debug, "apply", "-y", *form)
    for value in ("OPENAI_KEY", "COHERE_KEY", "AWS_SECRET_KEY", "ENTRA_SECRET", "ENV_TOKEN"):
        assert any(json.dumps(SECRETS[value])[1:-1] in body for body in world.echo.seen), f"{value} was sent"
    assert any("CANARY2" in body for body in world.echo.seen)
    world.run(*debug, "plan", *form, "--save-snapshot", "after.json")
    world.run(*debug, "plan", *form, "--snapshot", "before.json")
    world.run(*debug, "plan", *form, "--resend-secrets", ENV_TOKEN="canary-rotated-0123456")
    world.run(*debug, "apply", "-y", *form, "--resend-secrets")
    world.run(*debug, "apply", "-y", *form, "--target", "local:w.db?provisioning=0s")
    world.run(*debug, "get", *plain)
    for name in ("custom", "openai", "cohere"):
        world.run(*debug, "get", name, *plain)
    world.run(*debug, "query", "openai", "-m", "hello", *plain)
    world.run(*debug, "query", "openai", "-m", "hello", "--stream", *plain)
    world.run(*debug, "targets", *plain)
    world.run(*debug, "auth", "check", *plain)
    world.run(*debug, "schema", "endpoint")
    world.run(*debug, "plan", "--check-models", *form)
    world.run(*debug, "get", "--target", "openai", *plain)
    world.run(*debug, "get", "--target", world.url, *plain)
    world.run(*debug, "destroy", "-y", *form)
    assert world.hits() == []
    if debug:
        assert re.search(
            r"DEBUG reconciler\.client: POST /api/2\.0/serving-endpoints 200 \d+ ms\n +sent: \{", world.output
        )


@pytest.mark.parametrize("mode", ["refuse writes", "fail writes", "refuse reads", "html", "not json", "echo"])
def test_a_server_that_repeats_what_it_was_sent(world: World, mode: str) -> None:
    world.echo.mode = mode
    for form in (("-o", "text"), ("-o", "json")):
        manifests = [
            "manifests/openai.yaml",
            "manifests/cohere.yaml",
            "manifests/google.yaml",
            "manifests/custom.yaml",
        ]
        world.run(*_DEBUG, "apply", "-y", *form, *manifests)
        world.run(*_DEBUG, "plan", *form, *manifests)
        world.run(*_DEBUG, "get", *form)
        world.run(*_DEBUG, "get", "openai", *form)
        world.run(*_DEBUG, "auth", "check", *form)
        world.run(*_DEBUG, "query", "openai", "-m", "hi", *form)
        world.run(
            *_DEBUG, "get", *form, "--target", "databricks://canary", DATABRICKS_HOST="", DATABRICKS_TOKEN=""
        )
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
            ["plan"],
            ["plan", "-o", "json"],
            ["get"],
            ["auth", "check"],
            ["auth", "check", "-o", "json"],
        ):
            world.run(*_DEBUG, *words, **login)
        world.run(*_DEBUG, "targets", **login)
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
        said = world.run(*_DEBUG, *words, folder="plugin", PYTHONPATH=".", MLFLOW_DEPLOYMENTS_TARGET="")
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
    told = world.run(*_DEBUG, "plan", code=code)
    assert "This is a bug in reconciler" in told
    assert world.hits() == []


def test_the_search_finds_what_is_there() -> None:
    for value in SECRETS.values():
        for text in (value, json.dumps({"k": value}), f"?k={quote(value)}", repr([value])):
            assert any(form in text.encode() for form in forms(value)), text
        for user in ("", "u:", "us:", "user:"):
            assert any(form in base64.b64encode(f"{user}{value}".encode()) for form in forms(value))
