"""The client in an environment of its own, where nothing but requests is installed: no mlflow, no pandas."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

import reconciler
from tests.unit.client.test_plugins import GOOD, install

_NEEDED = ("requests", "urllib3", "certifi", "idna", "charset-normalizer")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with requests and what that needs, and this package."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    for name in _NEEDED:
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if ".." not in file.parts}:
            (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    (site / "reconciler").symlink_to(Path(reconciler.__file__).parent)
    install(site, "free", GOOD.replace("\ndef run_local", _EXPLAIN))
    return folder / "bin" / "python"


_EXPLAIN = """
    def explain(self, deployment_name=None, df=None, endpoint=None):
        return {"explained": [deployment_name, df]}
    def predict_stream(self, deployment_name=None, inputs=None, endpoint=None): yield from inputs
def run_local"""


def run(python: Path, code: str, **environment: str) -> str:
    """What the code prints there."""
    done = subprocess.run(
        [str(python), "-W", "error", "-c", code],
        env={"HOME": str(python.parent), "PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_is_alone(python: Path) -> None:
    found = run(
        python,
        "import importlib.util as u\n"
        "print([n for n in ('mlflow', 'pandas', 'numpy', 'yaml', 'typer', 'databricks', 'requests') "
        "if u.find_spec(n)])",
    )
    assert found == "['requests']"


def test_the_one_import_that_is_changed(python: Path) -> None:
    assert run(python, "from reconciler.client import get_deploy_client") == ""


def test_every_public_name_and_every_client(python: Path) -> None:
    code = """
import reconciler.client as c
for name in c.__all__:
    getattr(c, name)
for uri in ("databricks", "http://127.0.0.1:1", "https://gateway.example", "openai"):
    print(type(c.get_deploy_client(uri)).__name__)
print(c.PredictionsResponse.from_json('{"predictions": [1]}')["predictions"])
for form in ("dataframe", "ndarray"):
    try:
        c.PredictionsResponse({"predictions": [1]}).get_predictions(form)
    except Exception as error:
        print(type(error).__name__, error.fix)
print([(t.name, t.available) for t in c.available_targets(check=True)])
"""
    expected = [
        "DatabricksDeploymentClient",
        "MlflowDeploymentClient",
        "MlflowDeploymentClient",
        "OpenAIDeploymentClient",
        "[1]",
        "UsageError pip install pandas, or read the key 'predictions'",
        "UsageError pip install numpy, or read the key 'predictions'",
        "[('databricks', True), ('free', True), ('http', True), ('https', True), ('openai', True)]",
    ]
    environment = {"DATABRICKS_HOST": "https://w.example", "DATABRICKS_TOKEN": "t", "OPENAI_API_KEY": "k"}
    assert run(python, code, **environment).splitlines() == expected


def test_a_plugin_of_ours(python: Path) -> None:
    code = """
from reconciler.client import get_deploy_client, run_local, target_help
client = get_deploy_client("free:/x")
client.create_deployment("m", "models:/m/1")
print(client.list_deployments(), client.predict("m", [1]), list(client.predict_stream("m", [2, 3])))
print(client.explain("m", "a frame"))
print(run_local("free", "n", "u"), target_help("free:/x"))
"""
    assert run(python, code).splitlines() == [
        "[{'name': 'm', 'model_uri': 'models:/m/1'}] {'predictions': [1]} [2, 3]",
        "{'explained': ['m', 'a frame']}",
        "['n', 'u', None, None] write toy:/anything",
    ]
