"""Plugins: found, judged, used; with mlflow out of reach too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reconciler import errors
from reconciler.client import available_targets, get_deploy_client, plugins, run_local, target_help
from reconciler.client.base import NotOffered

GOOD = """
from reconciler.client import BaseDeploymentClient
made = {}
class Toy(BaseDeploymentClient):
    def create_deployment(self, name, model_uri, flavor=None, config=None, endpoint=None):
        made[name] = {"name": name, "model_uri": model_uri}
        return made[name]
    def update_deployment(self, name, model_uri=None, flavor=None, config=None, endpoint=None): ...
    def delete_deployment(self, name, config=None, endpoint=None): made.pop(name, None)
    def list_deployments(self, endpoint=None): return list(made.values())
    def get_deployment(self, name, endpoint=None): return made[name]
    def predict(self, deployment_name=None, inputs=None, endpoint=None): return {"predictions": inputs}
def run_local(name, model_uri, flavor=None, config=None): return [name, model_uri, flavor, config]
def target_help(): return "write toy:/anything"
"""
BARE = "from reconciler.client import BaseDeploymentClient\n"
THEIRS = GOOD.replace("reconciler.client", "mlflow.deployments")
# Whoever imports mlflow here finds that there is none.
BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
sys.path.insert(0, sys.argv[1])
"""


def install(folder: Path, target: str, source: str, package: str = "") -> None:
    """A distribution as pip leaves it: a module, and a dist-info folder with its entry point."""
    package = package or f"toy_{target}"
    (folder / f"{package}.py").write_text(source, encoding="utf-8")
    info = folder / f"{package}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n", encoding="utf-8"
    )
    text = f"[mlflow.deployments]\n{target} = {package}\n"
    (info / "entry_points.txt").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path


def without_mlflow(folder: Path, code: str) -> str:
    """What a fresh process prints in which mlflow cannot be imported."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + code, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_plugin_of_ours_works_without_mlflow(folder: Path) -> None:
    install(folder, "free", GOOD)
    code = """
from reconciler.client import available_targets, get_deploy_client, run_local, target_help
client = get_deploy_client("free:/x")
client.create_deployment("m", "models:/m/1")
print(client.target_uri, client.list_deployments(), client.predict("m", [1]))
print(run_local("free", "n", "u", config={"a": 1}), target_help("free:/x"))
print([(t.name, t.available, t.origin) for t in available_targets(check=True) if t.kind == "plugin"])
assert not any(name.partition(".")[0] == "mlflow" for name in sys.modules)
"""
    assert without_mlflow(folder, code).splitlines() == [
        "free:/x [{'name': 'm', 'model_uri': 'models:/m/1'}] {'predictions': [1]}",
        "['n', 'u', None, {'a': 1}] write toy:/anything",
        "[('free', True, 'toy_free 1.2')]",
    ]


def test_a_plugin_of_mlflows_says_that_mlflow_is_missing(folder: Path) -> None:
    install(folder, "bound", THEIRS)
    code = """
from reconciler.client import available_targets, get_deploy_client
try:
    get_deploy_client("bound")
except Exception as error:
    print(type(error).__name__, error.fix)
print([t.why for t in available_targets(check=True) if t.name == "bound"])
"""
    first, second = without_mlflow(folder, code).splitlines()
    assert first == "UsageError install mlflow: this plugin is written for its base class"
    assert "No module named 'mlflow" in second


@pytest.mark.parametrize(
    ("target", "source", "why"),
    [
        ("empty", "", ["found: none", "missing: run_local() and target_help()"]),
        ("nohelp", GOOD.replace("def target_help", "def other"), ["missing: target_help()"]),
        ("norun", GOOD.replace("def run_local", "def other"), ["missing: run_local()"]),
        ("two", GOOD + "\nclass Second(Toy): ...\n", ["found: Second, Toy"]),
        ("base", BARE + "run_local = target_help = print\n", ["found: none"]),
    ],
)
def test_what_is_missing_is_named(folder: Path, target: str, source: str, why: list[str]) -> None:
    install(folder, target, source)
    for use in (get_deploy_client, target_help, lambda name: run_local(name, "n", "u")):
        with pytest.raises(errors.UsageError, match="not complete") as caught:
            use(target)
        for each in why:
            assert each in caught.value.why
    info = next(each for each in available_targets(check=True) if each.name == target)
    assert not info.available
    assert why[0] in info.why
    assert next(each for each in available_targets() if each.name == target).available  # not looked at


def test_methods_that_a_client_must_have_are_named(folder: Path) -> None:
    source = GOOD.replace("def update_deployment", "def other").replace("def predict(", "def another(")
    install(folder, "short", source)
    said = "missing: Toy.predict() and Toy.update_deployment()"
    with pytest.raises(errors.UsageError, match="not complete") as caught:
        get_deploy_client("short:/x")
    assert caught.value.why == said
    [info] = [each for each in available_targets(check=True) if each.name == "short"]
    assert (info.available, info.why.endswith(said)) == (False, True)
    assert run_local("short", "n", "u") == ["n", "u", None, None]  # makes no client, with mlflow neither


@pytest.mark.parametrize(
    ("target", "source", "why"),
    [
        ("crash", "1 / 0", "ZeroDivisionError"),
        ("needs", "import no_such_thing", "no_such_thing"),
        ("leave", "raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_plugin_that_cannot_be_imported(folder: Path, target: str, source: str, why: str) -> None:
    install(folder, target, source)
    with pytest.raises(errors.UsageError, match="cannot be loaded") as caught:
        get_deploy_client(target)
    assert why in caught.value.why


def test_two_packages_for_one_target(folder: Path) -> None:
    install(folder, "both", GOOD, "toy_one")
    install(folder, "both", GOOD, "toy_two")
    with pytest.raises(errors.UsageError, match="more than one plugin") as caught:
        get_deploy_client("both")
    assert caught.value.why == "found: toy_one of toy_one 1.2, toy_two of toy_two 1.2"
    assert not next(each for each in available_targets() if each.name == "both").available


def test_ours_win_over_plugins_of_the_same_name(folder: Path) -> None:
    install(folder, "http", GOOD, "toy_http")
    assert type(get_deploy_client("http://h.example")).__name__ == "MlflowDeploymentClient"
    (info,) = (each for each in available_targets() if each.name == "http")
    assert (info.kind, info.origin, info.available) == ("built-in", "reconciler", True)


def test_nothing_is_imported_by_listing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(folder, "lazy", "1 / 0")
    names = [each.name for each in available_targets()]
    assert names == sorted(names)
    assert {"databricks", "http", "https", "lazy", "openai"} <= set(names)
    openai = next(each for each in available_targets() if each.name == "openai")
    assert (openai.available, openai.why) == (False, "OPENAI_API_KEY is not set")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert next(each for each in available_targets() if each.name == "openai").available
    (folder / "toy_lazy.py").unlink()
    lazy = next(each for each in available_targets() if each.name == "lazy")
    assert (lazy.available, lazy.why) == (False, "the module toy_lazy is not there")


def test_databricks_is_checked_for_credentials(folder: Path) -> None:
    def databricks() -> plugins.TargetInfo:
        return next(each for each in available_targets(check=True) if each.name == "databricks")

    assert not databricks().available
    assert "no credentials" in databricks().why


@pytest.mark.parametrize("target", ["databricks", "http://h", "https://h", "openai"])
def test_built_in_targets_help_and_run_nothing(target: str) -> None:
    assert target.partition(":")[0] in target_help(target)
    with pytest.raises(NotOffered, match="does not offer run_local"):
        run_local(target, "n", "models:/m/1")
