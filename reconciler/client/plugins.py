"""Plugins: deployment clients that other packages bring, found by the entry point group of mlflow.

A plugin is a module with the functions ``run_local(name, model_uri, flavor, config)`` and ``target_help()``
and exactly one subclass of :class:`reconciler.client.BaseDeploymentClient` or of mlflow's class of that name
(mlflow's documentation, "Writing your own MLflow plugins", deployment plugins). It is imported when its
target is asked for, and not before.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

from reconciler.client.base import BaseDeploymentClient, NotOffered, client_of, target_of, targets
from reconciler.errors import ReconcilerError, UsageError

__all__ = [
    "GROUP",
    "TargetInfo",
    "available_targets",
    "base_classes",
    "plugin_client",
    "plugin_origin",
    "run_local",
    "target_help",
]

GROUP = "mlflow.deployments"
_FUNCTIONS = ("run_local", "target_help")
# mlflow knows this target without an entry point (mlflow 3.17, mlflow/deployments/interface.py).
_SAGEMAKER = EntryPoint("sagemaker", "mlflow.sagemaker", GROUP)
_HELP = {
    "databricks": (
        "databricks, or databricks://PROFILE for a profile of ~/.databrickscfg. The config of an endpoint is "
        "the payload of the Databricks REST API, POST /api/2.0/serving-endpoints."
    ),
    "http": "http://HOST of an MLflow AI Gateway, read and queried; written where its file is at hand.",
    "https": "https://HOST of an MLflow AI Gateway, read and queried; written where its file is at hand.",
    "openai": (
        "openai, with OPENAI_API_KEY; OPENAI_API_BASE for another server of that API. For Azure: "
        "OPENAI_API_TYPE=azure, OPENAI_API_BASE, OPENAI_API_VERSION and OPENAI_DEPLOYMENT_NAME. "
        "Models are read and queried."
    ),
}


@dataclass(frozen=True, slots=True, order=True)
class TargetInfo:
    """One deployments target.

    ``kind``: built-in or plugin. ``why``: what is missing, "" when it is available. ``origin``: the package
    it comes from, with its version where it is another than ours.
    """

    name: str
    kind: str
    available: bool
    why: str
    origin: str


def available_targets(check: bool = False) -> list[TargetInfo]:
    """All targets that are built in or installed, by name.

    Nothing is imported and no credential is looked for but OPENAI_API_KEY: a plugin counts as available
    when its package is there. With ``check`` every plugin is imported and judged, and the credentials of
    Databricks are resolved.
    """
    ours = set(targets())
    found = [_built_in(name, check) for name in ours]
    by_name: dict[str, list[EntryPoint]] = {}
    for entry in _installed():
        if entry.name not in ours:
            by_name.setdefault(entry.name, []).append(entry)
    found += [_plugin(entries, check) for entries in by_name.values()]
    return sorted(found)


def plugin_origin(target: str) -> str:
    """The package that offers a target, with its version, and the module in it. Raises UsageError when there
    is none, or more than one. Nothing is imported."""
    found = [entry for entry in _installed() if entry.name == target]
    if not found:
        raise _unknown(target)
    entry = _one(found)
    return f"{_origin(entry)} ({entry.value})"


def plugin_client(target: str) -> type[Any]:
    """The client class of the plugin for a target. Raises UsageError that says what is missing."""
    return _judged(_plugin_module(target), target)


def run_local(
    target: str,
    name: str,
    model_uri: str,
    flavor: str | None = None,
    config: dict[str, Any] | None = None,
) -> Any:
    """Deploy a model on this machine, for trying it; ``target`` is a name or a URI.

    Raises UsageError for an unknown target, NotOffered for one that is built in: none of them can.
    """
    wanted = target_of(target)
    if wanted in targets():
        raise NotOffered(f"the target {wanted!r} does not offer run_local")
    module, _ = _checked_module(wanted)
    return module.run_local(name, model_uri, flavor, config)


def target_help(target: str) -> Any:
    """How to write a target's URI and the config of its deployments, as text of its plugin."""
    wanted = target_of(target)
    if wanted in targets():
        return _HELP.get(wanted) or (client_of(wanted).__doc__ or "")
    module, _ = _checked_module(wanted)
    return module.target_help()


# -- inside ----------------------------------------------------------------------------------------------


def _installed() -> list[EntryPoint]:
    """The entry points of the group, and the target that mlflow registers by itself."""
    entries = list(importlib.metadata.entry_points(group=GROUP))
    if _is_there("mlflow") and all(entry.name != _SAGEMAKER.name for entry in entries):
        entries.append(_SAGEMAKER)
    return entries


def _is_there(package: str) -> bool:
    try:
        return package in sys.modules or importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _origin(entry: EntryPoint) -> str:
    distribution = getattr(entry, "dist", None)
    if distribution is not None:
        return f"{distribution.name} {distribution.version}"
    if entry is not _SAGEMAKER:
        return "unknown"
    for name in ("mlflow", "mlflow-skinny"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "mlflow"


def _one(entries: list[EntryPoint]) -> EntryPoint:
    """The entry point of a target; the same one may be listed twice (mlflow and mlflow-skinny)."""
    if len({entry.value for entry in entries}) > 1:
        offers = ", ".join(sorted(f"{entry.value} of {_origin(entry)}" for entry in entries))
        raise UsageError(
            f"more than one plugin offers the target {entries[0].name!r}",
            why=f"found: {offers}",
            fix="uninstall all but one",
        )
    return entries[0]


def _plugin_module(target: str) -> Any:
    found = [entry for entry in _installed() if entry.name == target]
    if not found:
        raise _unknown(target)
    return _loaded(_one(found))


def _unknown(target: str) -> UsageError:
    known = ", ".join(sorted({*targets(), *(entry.name for entry in _installed())}))
    return UsageError(
        f"there is no client for the deployments target {target!r}",
        why=f"known targets: {known}",
        fix="check its spelling, or install the plugin that offers it",
    )


def _checked_module(target: str) -> tuple[Any, type[Any]]:
    module = _plugin_module(target)
    return module, _judged(module, target, is_made=False)


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        missing = getattr(error, "name", None) or ""
        is_mlflow = missing == "mlflow" or missing.startswith("mlflow.")
        raise UsageError(
            f"the plugin for {entry.name!r} cannot be loaded",
            where=entry.value,
            why=str(error),
            fix="install mlflow: this plugin is written for its base class" if is_mlflow else "",
        ) from error
    except (Exception, SystemExit) as error:  # whatever the plugin's own code raises while it is imported
        raise UsageError(
            f"the plugin for {entry.name!r} cannot be loaded",
            where=entry.value,
            why=f"{type(error).__name__}: {error}",
        ) from error


def base_classes() -> tuple[type[Any], ...]:
    """What a plugin's class may be a subclass of: ours, and mlflow's once it is imported."""
    # Published plugins subclass mlflow's class; whoever does so has imported it by now.
    theirs = sys.modules.get("mlflow.deployments.base")
    return (BaseDeploymentClient,) if theirs is None else (BaseDeploymentClient, theirs.BaseDeploymentClient)


def _judged(module: Any, target: str, is_made: bool = True) -> type[Any]:
    """The one client class of a plugin's module. Raises UsageError naming everything that is wrong.

    ``is_made``: a client is to be made of it, which takes all abstract methods of its base.
    """
    bases = base_classes()
    classes = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, bases) and value not in bases
    }
    missing = [name for name in _FUNCTIONS if not callable(getattr(module, name, None))]
    if is_made and len(classes) == 1:
        [found] = classes
        undefined = sorted(getattr(found, "__abstractmethods__", ()))
        missing += [f"{found.__name__}.{name}" for name in undefined]
    wrong = []
    if len(classes) != 1:
        names = ", ".join(sorted(value.__name__ for value in classes)) or "none"
        wrong.append(f"it must hold exactly one subclass of BaseDeploymentClient, found: {names}")
    if missing:
        wrong.append(f"missing: {_listed(missing)}")
    if wrong:
        raise UsageError(
            f"the plugin for {target!r} is not complete",
            where=str(getattr(module, "__name__", "")),
            why="; ".join(wrong),
            fix="tell its authors",
        )
    return classes.pop()


def _listed(names: Iterable[str]) -> str:
    *most, last = (f"{name}()" for name in names)
    return f"{', '.join(most)} and {last}" if most else last


def _built_in(name: str, check: bool) -> TargetInfo:
    why = ""
    if name == "openai" and not os.environ.get("OPENAI_API_KEY", "").strip():
        why = "OPENAI_API_KEY is not set"
    elif name == "databricks" and check:
        from reconciler.client.auth import resolve

        try:
            resolve()
        except ReconcilerError as error:
            why = f"{error.what}: {error.why}" if error.why else error.what
    return TargetInfo(name, "built-in", not why, why, "reconciler")


def _plugin(entries: list[EntryPoint], check: bool) -> TargetInfo:
    entry = entries[0]
    package = entry.value.partition(":")[0].strip().partition(".")[0]
    why = ""
    try:
        entry = _one(entries)
        if check:
            _judged(_loaded(entry), entry.name)
        elif not _is_there(package):
            why = f"the module {package} is not there"
    except UsageError as error:
        why = f"{error.what}: {error.why}" if error.why else error.what
    return TargetInfo(entry.name, "plugin", not why, why, _origin(entry))
