"""A target's name → a client for it. The one place where a client and the embedded workspace meet.

``local`` and ``local:PATH`` are the embedded workspace, ``databricks`` and ``databricks://profile`` a
Databricks workspace, ``openai`` a read-only list of models, ``mlflow-gateway+http(s)://…`` the AI Gateway in
an MLflow tracking server, ``http(s)://…`` one that serves a configuration file: read-only without the path of
that file, writable with it. Anything else is looked up among the installed plugins.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import ManifestError, PluginFailed, Problem, ReconcilerError, UsageError
from reconciler.seal import SealKey
from reconciler.values import Resource

if TYPE_CHECKING:
    from reconciler.client.pacing import WritePacer

__all__ = [
    "DEFAULT_STACK",
    "HOW_TO_TRY",
    "LOCAL_HOST",
    "connect",
    "describe",
    "family",
    "for_target",
    "is_local",
    "place_of",
    "prunable",
]

LOCAL_HOST = "http://local.workspace"
"""The embedded workspace's host in URLs. No request to it leaves the process."""

HOW_TO_TRY = "try it without an account: --target local"

DEFAULT_STACK = "default"
"""Owner of what is applied without a project file, where a target carries who owns what."""

# What may be declared on which family of targets. A gateway is read-only through its deployments API.
_KINDS: Final = {
    "local": ("Endpoint",),
    "databricks": ("Endpoint",),
    "openai": ("Model",),
    "gateway": (),
    "config-file": ("GatewaySecret", "GatewayModel", "GatewayEndpoint"),
    "mlflow-gateway": (
        "GatewaySecret",
        "GatewayModel",
        "GatewayEndpoint",
        "GatewayBudget",
        "GatewayGuardrail",
    ),
    "plugin": ("Deployment", "Endpoint"),
}


def is_local(target: str) -> bool:
    """The target is the embedded workspace."""
    return target == "local" or target.startswith("local:")


# What carries whose it is in the lists of a target. A guardrail carries nothing that decides.
_LISTED: Final = {
    "local": ("Endpoint",),
    "databricks": ("Endpoint",),
    "mlflow-gateway": ("GatewaySecret", "GatewayModel", "GatewayEndpoint", "GatewayBudget"),
}


def family(target: str, config_path: str = "") -> str:
    """The sort of a target: local, databricks, openai, gateway, config-file, mlflow-gateway or plugin.

    ``config_path``: the file that a gateway serves, "" when it is not at hand.
    Raises UsageError for a gateway of a tracking server whose scheme says neither http nor https.
    """
    if is_local(target):
        return "local"
    scheme, _, rest = target.partition(":")
    named = {
        "databricks": "databricks",
        "openai": "openai",
        "http": "config-file" if config_path else "gateway",
        "https": "config-file" if config_path else "gateway",
        "mlflow-gateway+http": "mlflow-gateway",
        "mlflow-gateway+https": "mlflow-gateway",
    }
    if scheme.startswith("mlflow-gateway") and scheme not in named:
        where = rest.lstrip("/") or "host:port"
        raise UsageError(
            f"target {target}: how the tracking server is reached stands in its scheme",
            fix=f"write mlflow-gateway+http://{where} or mlflow-gateway+https://{where}",
        )
    return named.get(scheme, "plugin")


def for_target(
    target: str,
    resources: Sequence[Resource],
    *,
    stack: str = "",
    seal_key: SealKey | None = None,
    config_path: str = "",
) -> tuple[Resource, ...]:
    """The resources as this target speaks of them. Raises ManifestError with what it does not have.

    ``stack``: who owns them, where the target carries that (a plugin's, where it keeps tags). ``seal_key``:
    for fingerprints of what cannot be read back, None when there is no key. ``config_path``: as for
    :func:`family`.
    """
    sort = family(target, config_path)
    known = _KINDS[sort]
    fix = f"it takes {' and '.join(known)}" if known else "it is read-only here"
    if sort == "gateway":
        fix += (
            "; to write it, say which file it serves: --config-path FILE, or config_path: in reconciler.yaml"
            f"; the gateway in a tracking server is mlflow-gateway+{target}"
        )
    problems = [
        Problem(
            r.source.file,
            r.source.line,
            r.source.column,
            "kind",
            f"{r.address} cannot live on target {target}",
            fix,
            "kind-of-target",
        )
        for r in resources
        if r.address.kind not in known
    ]
    if problems:
        raise ManifestError(problems)
    if sort == "config-file":
        from reconciler.kinds.file_parts import in_file

        return in_file(resources, stack=stack or DEFAULT_STACK, config_path=config_path)
    if sort == "mlflow-gateway":
        if problems := [problem for r in resources for problem in _only_in_file(r)]:
            raise ManifestError(problems)
        return tuple(
            replace(r, stack=stack or DEFAULT_STACK, seal=seal_key.seal(r) if seal_key else "")
            for r in resources
        )
    if sort in ("local", "databricks"):
        return _marked(resources, stack)
    if sort != "plugin":
        return tuple(resources)
    if stack and _keeps_tags(target):
        from reconciler.kinds.deployment import MARKED, marked

        owned = (replace(r, address=replace(r.address, dialect=MARKED), stack=stack) for r in resources)
        return tuple(marked(resource, stack) for resource in owned)
    return tuple(replace(r, address=replace(r.address, dialect="plugin")) for r in resources)


def prunable(target: str, config_path: str = "") -> tuple[str, ...]:
    """The kinds whose lists tell on this target whose each of them is; empty where none does."""
    return _LISTED.get(family(target, config_path), ())


def _marked(resources: Sequence[Resource], stack: str) -> tuple[Resource, ...]:
    """The endpoints as their stack's. Raises ManifestError where its marks are one tag too many."""
    from reconciler.kinds.marks import MOST_TAGS, wanted

    owned = tuple(replace(resource, stack=stack) for resource in resources)
    problems = []
    for resource in owned:
        ours = sum(1 for value in wanted(resource).values() if value is not None)
        written = len(resource.spec.get("tags") or ())
        if ours and written + ours > MOST_TAGS:
            place = resource.source_of(("tags",))
            what = f"{written} tags and {ours} of the stack's own: the API takes {MOST_TAGS}"
            problems.append(
                Problem(
                    place.file, place.line, place.column, "spec.tags", what, "remove some", "too-many-tags"
                )
            )
    if problems:
        raise ManifestError(problems)
    return owned


def _keeps_tags(target: str) -> bool:
    from reconciler.client.base import target_of
    from reconciler.client.plugins import plugin_client
    from reconciler.plugin_target import printing_to_stderr

    try:
        with printing_to_stderr():  # a plugin may print while it is loaded
            return getattr(plugin_client(target_of(target)), "keeps_tags", False) is True
    except UsageError:
        return False  # connecting says what is wrong with it; a saved snapshot needs no plugin


def _only_in_file(resource: Resource) -> Iterator[Problem]:
    """Fields of an endpoint that the tracking server's gateway does not have."""
    if resource.address.kind != "GatewayEndpoint":
        return
    why = {
        "endpoint_type": "the tracking server's gateway does not ask what an endpoint is for",
        "limit": "the tracking server's gateway has no limits; a GatewayBudget bounds what is spent",
    }
    for name, what in why.items():
        if name in resource.spec:
            place = resource.source_of((name,))
            fix = "leave it out; it is for a gateway with a configuration file (http://… with config_path)"
            yield Problem(place.file, place.line, place.column, f"spec.{name}", what, fix, "only-in-file")


def connect(
    target: str,
    *,
    pool_size: int = 16,
    stop: threading.Event | None = None,
    pacer: WritePacer | None = None,
    config_path: str = "",
) -> Any:
    """A client for ``target``, to be closed by the caller (it is a context manager).

    ``pool_size``: connections kept open. ``stop``: once set, the client stops waiting to repeat a request.
    ``config_path``: as for :func:`family`.
    ``pacer``: the budget of writes to a Databricks workspace, or to the embedded one.
    Raises UsageError for a target that is not known here, AuthError when there are no credentials for it.
    """
    match family(target, config_path):
        case "local":
            return _local(target, pool_size, stop, pacer)
        case "databricks":
            from reconciler.client.databricks import DatabricksDeploymentClient

            return DatabricksDeploymentClient(target, pool_size=pool_size, stop=stop, pacer=pacer)
        case "config-file":
            from reconciler.client.file_gateway import FileGatewayClient

            return FileGatewayClient(target, config_path, pool_size=pool_size, stop=stop)
        case "mlflow-gateway":
            from reconciler.client.gateway import MlflowGatewayClient

            return MlflowGatewayClient(target, pool_size=pool_size, stop=stop)
        case _:
            return _plugin(target)


def place_of(target: str, client: Any, config_path: str = "") -> str:
    """What is written when ``target`` is, by whatever name it goes: a host, or a file by its real path.

    Two targets of one place are one thing to whoever keeps writers apart.
    """
    match family(target, config_path):
        case "local":
            from reconciler.emulator.local import path_of

            path = path_of(target.removeprefix("local").removeprefix(":"))
            # What is in memory is this process's own.
            return f"local:{path}{os.getpid()}" if path == ":memory:" else f"local:{os.path.realpath(path)}"
        case "config-file":
            return f"file:{os.path.realpath(config_path)}"
        case _:
            return str(getattr(client, "host", "") or target).rstrip("/").lower()


def _local(target: str, pool_size: int, stop: threading.Event | None, pacer: WritePacer | None = None) -> Any:
    from reconciler.client.auth import Token
    from reconciler.client.databricks import DatabricksDeploymentClient
    from reconciler.emulator.adapter import EmulatorAdapter
    from reconciler.emulator.local import open_local

    workspace = open_local(target.removeprefix("local").removeprefix(":"))
    return DatabricksDeploymentClient(
        "databricks",
        host=LOCAL_HOST,
        credentials=Token("local"),
        adapter=EmulatorAdapter(workspace),
        pool_size=pool_size,
        stop=stop,
        pacer=pacer,
    )


def _plugin(target: str) -> Any:
    from reconciler.client.base import get_deploy_client
    from reconciler.plugin_target import PluginTarget, printing_to_stderr

    try:
        with printing_to_stderr():
            return PluginTarget(get_deploy_client(target), target)
    except UsageError as error:
        if not error.fix or "install the plugin" in error.fix:
            error.fix = (
                f"use databricks, databricks://PROFILE, local, local:PATH, openai or an installed plugin "
                f"(reconciler targets lists them); {HOW_TO_TRY}"
            )
        raise
    except ReconcilerError:
        raise
    except (Exception, SystemExit) as error:  # whatever the plugin's constructor raises
        said = f"{type(error).__name__}: {error}"
        raise PluginFailed(f"the plugin gave no client for {target}: {said}", where=target) from None


def describe(target: str, client: Any) -> str:
    """The target for people: its name and where it is. Never a credential."""
    if is_local(target):
        path = target.removeprefix("local").removeprefix(":").partition("?")[0]
        return f"local (embedded workspace, {path or '.reconciler/local.db'})"
    if config := getattr(client, "config", None):
        return f"{target} (file {config.path})"
    return f"{target} ({client.host})" if client.host else target
