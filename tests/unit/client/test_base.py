"""From a target URI to a client, and what a client that offers nothing says."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
import sys
import types
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

import reconciler.client as client
from reconciler.client import base
from reconciler.client.auth import Token
from reconciler.client.base import BaseDeploymentClient, NotOffered, get_deploy_client
from reconciler.errors import AuthError, UsageError


@pytest.fixture(autouse=True)
def _no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_target", None)
    monkeypatch.setattr(base, "_clients", dict(base._clients))


class Bare(BaseDeploymentClient):
    """Only what must be there."""

    def create_deployment(self, name: str, model_uri: str, *rest: Any, **more: Any) -> Any: ...
    def update_deployment(self, name: str, *rest: Any, **more: Any) -> Any: ...
    def delete_deployment(self, name: str, *rest: Any, **more: Any) -> Any: ...
    def list_deployments(self, endpoint: str | None = None) -> Any: ...
    def get_deployment(self, name: str, endpoint: str | None = None) -> Any: ...
    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Any: ...


def test_everything_public_is_there() -> None:
    assert sorted(client.__all__) == client.__all__
    for name in client.__all__:
        assert getattr(client, name) is not None
        assert name in dir(client)
    with pytest.raises(AttributeError, match="nothing"):
        _ = client.nothing


def test_the_abstract_methods_are_mlflows() -> None:
    assert set(vars(BaseDeploymentClient)["__abstractmethods__"]) == {
        "create_deployment",
        "update_deployment",
        "delete_deployment",
        "list_deployments",
        "get_deployment",
        "predict",
    }
    with pytest.raises(TypeError):
        BaseDeploymentClient("x")  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("create_deployment", "name, model_uri, flavor=None, config=None, endpoint=None"),
        ("update_deployment", "name, model_uri=None, flavor=None, config=None, endpoint=None"),
        ("delete_deployment", "name, config=None, endpoint=None"),
        ("list_deployments", "endpoint=None"),
        ("get_deployment", "name, endpoint=None"),
        ("predict", "deployment_name=None, inputs=None, endpoint=None"),
        ("predict_stream", "deployment_name=None, inputs=None, endpoint=None"),
        ("explain", "deployment_name=None, df=None, endpoint=None"),
        ("create_endpoint", "name, config=None"),
        ("update_endpoint", "endpoint, config=None"),
        ("delete_endpoint", "endpoint"),
        ("list_endpoints", ""),
        ("get_endpoint", "endpoint"),
    ],
)
def test_the_arguments_are_mlflows(method: str, arguments: str) -> None:
    parameters = list(inspect.signature(getattr(BaseDeploymentClient, method)).parameters.values())[1:]
    shown = [
        each.name if each.default is inspect.Parameter.empty else f"{each.name}={each.default}"
        for each in parameters
    ]
    assert ", ".join(shown) == arguments


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("predict_stream", ()),
        ("explain", ()),
        ("create_endpoint", ("x",)),
        ("update_endpoint", ("x",)),
        ("delete_endpoint", ("x",)),
        ("list_endpoints", ()),
        ("get_endpoint", ("x",)),
    ],
)
def test_what_is_not_offered_is_said(method: str, arguments: tuple[str, ...]) -> None:
    with pytest.raises(NotOffered, match=f"Bare does not offer {method}") as caught:
        getattr(Bare("x"), method)(*arguments)
    assert isinstance(caught.value, NotImplementedError)
    assert isinstance(caught.value, UsageError)


# -- targets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["databricks", "databricks://prod"])
def test_databricks_is_built_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, target: str) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "a.example")
    monkeypatch.setenv("DATABRICKS_TOKEN", "t")
    (tmp_path / ".databrickscfg").write_text("[prod]\nhost=b.example\ntoken=p\n", encoding="utf-8")
    found = get_deploy_client(target)
    assert isinstance(found, client.DatabricksDeploymentClient)
    assert found.target_uri == target
    assert found.host == {"databricks": "https://a.example", "databricks://prod": "https://b.example"}[target]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
@pytest.mark.parametrize("target", ["databricks", "http://127.0.0.1:1", "openai"])
def test_a_client_reaches_another_process_as_its_target(
    target: str, copied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "a.example")
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-canary")
    found = get_deploy_client(target)
    assert b"canary" not in pickle.dumps(found)
    again = copied(found)
    assert (type(again), again.target_uri, again.host) == (type(found), target, found.host)


def test_a_client_with_a_login_of_the_callers_is_not_pickled() -> None:
    made = client.DatabricksDeploymentClient(host="a.example", credentials=Token("dapi-canary"))
    with pytest.raises(TypeError, match="make it over there"):
        pickle.dumps(made)


def test_no_credentials_are_told_when_the_client_is_made() -> None:
    with pytest.raises(AuthError):
        get_deploy_client("databricks")


def test_without_any_target_there_is_a_hint_and_no_client(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "reconciler.client"):
        assert get_deploy_client() is None
        assert get_deploy_client("") is None
    assert "MLFLOW_DEPLOYMENTS_TARGET" in caplog.text
    with pytest.raises(UsageError, match="MLFLOW_DEPLOYMENTS_TARGET"):
        base.get_deployments_target()


def test_the_set_target_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    base.register_client("first", f"{__name__}:Bare")
    base.register_client("second", f"{__name__}:Bare")
    monkeypatch.setenv("MLFLOW_DEPLOYMENTS_TARGET", "first")
    assert base.get_deployments_target() == "first"
    assert get_deploy_client().target_uri == "first"
    base.set_deployments_target("second://host")
    assert base.get_deployments_target() == "second://host"
    assert get_deploy_client().target_uri == "second://host"
    assert get_deploy_client("first:/x").target_uri == "first:/x"


@pytest.mark.parametrize("target", ["databricks", "databricks://prod", "http://127.0.0.1:5000", "https://h"])
def test_a_target_is_databricks_or_has_a_host(target: str) -> None:
    base.set_deployments_target(target)
    assert base.get_deployments_target() == target


@pytest.mark.parametrize("target", ["", "host", "databricks:/x", "http://", "http://[x"])
def test_another_target_is_not_set(target: str) -> None:
    with pytest.raises(UsageError):
        base.set_deployments_target(target)
    with pytest.raises(UsageError):
        base.get_deployments_target()


@pytest.mark.parametrize("target", ["//host", "http://[x", "?x", "#"])
def test_a_uri_without_a_target_is_refused(target: str) -> None:
    with pytest.raises(UsageError, match="is not a deployments target"):
        get_deploy_client(target)


# -- plugins ----------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module installed as the plugin ``toy`` (and ``broken``, which does not exist)."""
    module = types.ModuleType("toy_plugin")
    module.BaseDeploymentClient = BaseDeploymentClient  # type: ignore[attr-defined]
    module.run_local = module.target_help = print  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_plugin", module)
    installed = EntryPoints(
        [
            EntryPoint("toy", "toy_plugin", "mlflow.deployments"),
            EntryPoint("broken", "no_such_plugin", "mlflow.deployments"),
            EntryPoint("elsewhere", "toy_plugin", "another.group"),
        ]
    )
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: installed.select(group=group))
    return module


@pytest.mark.parametrize("uri", ["toy", "toy:/suffix", "toy://host/x"])
def test_an_installed_plugin_is_found(plugin: types.ModuleType, uri: str) -> None:
    plugin.Toy = type("Toy", (Bare,), {})  # type: ignore[attr-defined]
    plugin.Alias = plugin.Toy  # type: ignore[attr-defined]
    found = get_deploy_client(uri)
    assert type(found).__name__ == "Toy"
    assert found.target_uri == uri


def test_a_plugin_of_mlflows_class_is_found(
    plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = types.ModuleType("mlflow.deployments.base")
    theirs.BaseDeploymentClient = type("BaseDeploymentClient", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow.deployments.base", theirs)
    plugin.BaseDeploymentClient = theirs.BaseDeploymentClient  # type: ignore[attr-defined]
    plugin.Toy = type(  # type: ignore[attr-defined]
        "Toy", (theirs.BaseDeploymentClient,), {"__init__": lambda self, uri: setattr(self, "uri", uri)}
    )
    assert get_deploy_client("toy").uri == "toy"


def test_a_plugin_holds_exactly_one_client(plugin: types.ModuleType) -> None:
    with pytest.raises(UsageError, match="found: none"):
        get_deploy_client("toy")
    plugin.A, plugin.B = type("A", (Bare,), {}), type("B", (Bare,), {})  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="found: A, B"):
        get_deploy_client("toy")


@pytest.mark.usefixtures("plugin")
def test_a_target_nothing_is_installed_for() -> None:
    with pytest.raises(UsageError, match="no client for the deployments target 'elsewhere'") as caught:
        get_deploy_client("elsewhere://x")
    assert "broken, databricks" in caught.value.why
    with pytest.raises(UsageError, match="cannot be loaded"):
        get_deploy_client("broken")
