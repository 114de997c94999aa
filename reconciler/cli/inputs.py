"""What commands work on: target, stack, project file and manifests, as options and files say."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli.options import parse_resend
from reconciler.cli.output import know, tell
from reconciler.cli.pruning import check_prune, part_of
from reconciler.cli.scope import Scope
from reconciler.errors import ReconcilerError, UsageError, UserError
from reconciler.targets import HOW_TO_TRY, beside, connect, family, for_target
from reconciler.values import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reconciler.cli.since import Base
    from reconciler.engine.options import PlanOptions
    from reconciler.manifest.document import Loaded
    from reconciler.manifest.environments import Environment
    from reconciler.manifest.project import Project
    from reconciler.manifest.substitute import Variable
    from reconciler.seal import SealKey
    from reconciler.values import Plan, Resource, Snapshot

__all__ = [
    "Input",
    "check_models",
    "chosen",
    "config_of",
    "find_config",
    "find_target",
    "load",
    "load_for",
    "project_of",
    "read_ahead",
    "seal_key",
    "variables_of",
    "where",
    "without_manifests",
]

_AHEAD_POOL: Final = 8  # connections; a gateway's plan reads a handful of lists


@dataclass(frozen=True, slots=True)
class Input:
    """What a command works on.

    ``base``: what was declared at a git revision, None when nobody asked; ``gone``: of that, what is declared
    no more; ``is_part``: it was selected of more that is declared.
    """

    loaded: Loaded
    project: Project | None
    stack: str
    target: str = ""
    config_path: str = ""
    environment: str = ""
    scope: Scope = field(default_factory=Scope)
    paths: tuple[str, ...] = ()
    base: Base | None = None
    gone: tuple[Resource, ...] = ()
    is_part: bool = False

    @property
    def resources(self) -> tuple[Resource, ...]:
        """All that is to be read and held against the live side."""
        return (*self.loaded.resources, *self.gone)

    def plan(self, snapshot: Snapshot, options: PlanOptions) -> Plan:
        """The plan of these manifests. Raises ManifestError as ``make_plan`` does."""
        from reconciler.engine.planner import make_plan

        if self.base is None:
            return make_plan(self.loaded.resources, snapshot, options)
        from reconciler.cli.authors import Authors
        from reconciler.engine.three_way import plan_since

        base = self.base
        authors = Authors(base.repository, base.commit, self.loaded.resources, variables_of(self))
        return plan_since(
            self.loaded.resources,
            base.resources,
            self.gone,
            snapshot,
            options,
            since=base.name,
            set_by=authors.of,
            removed_by=lambda resource: authors.removed_from(resource.source.file),
        )

    @property
    def aside(self) -> str:
        """The environment, for behind the target's name."""
        return f", environment {self.environment}" if self.environment else ""

    @property
    def limits(self) -> Mapping[str, str]:
        """The limits that the project file writes; the environment's go before the project's."""
        if self.project is None:
            return {}
        chosen = self.project.environments.get(self.environment)
        return {**self.project.limits, **(chosen.limits if chosen else {})}

    def plan_options(
        self, resend: list[str] | None = None, *, adopt: bool = False, prune: bool = False
    ) -> PlanOptions:
        """What the command line asks of a plan. Raises UsageError for an address that no manifest names, and
        for a prune that could delete what is declared elsewhere."""
        from reconciler.engine.options import PlanOptions

        wanted = parse_resend(resend, [resource.address for resource in self.loaded.resources])
        if prune:
            check_prune(self)
        return PlanOptions(self.stack, wanted, adopt, prune, is_whole=not part_of(self))

    def tell_warnings(self) -> None:
        """The warnings, on stderr; after the line that names the target."""
        for warning in self.loaded.warnings:
            tell(f"warning: {warning}")


def load(
    paths: list[str] | None,
    project_file: str | None,
    stack: str | None = None,
    *,
    scope: Scope = Scope(),  # noqa: B008 a frozen value
    allow_unset: bool = False,
    allow_commands: bool | None = None,
    needs_secrets: bool = True,
    keep_documents: bool = False,
) -> Input:
    """Read the project file and the manifests; from here on every output masks their secrets.

    ``allow_commands``: run the commands of manifests, None as the project file says. ``needs_secrets``: when
    not, no command is run.

    Raises ManifestError with all problems, UsageError when there is nothing to read.
    """
    from reconciler.manifest.document import load as load_documents

    project = _project(project_file)
    environment = _environment(project, scope)
    named = list(paths or ()) or (list(project.manifests) if project else [])
    if not named:
        if not Path("manifests").is_dir():
            raise UsageError(
                "no manifests were named",
                fix="name files or folders, or list them under manifests: in reconciler.yaml; "
                "reconciler init writes a first one",
            )
        named = ["manifests"]
    root = project.root if project else Path.cwd()
    is_allowed = bool(project and project.allow_commands) if allow_commands is None else allow_commands
    layers = None
    if project is not None and (project.environments or project.variables):
        from reconciler.manifest.layers import Layers

        layers = Layers(project, environment, is_whole=not paths)
    loaded = load_documents(
        named,
        environ=os.environ,
        root=root,
        allow_unset=allow_unset,
        commands="skip" if not needs_secrets else "run" if is_allowed else "refuse",
        layers=layers,
        keep_documents=keep_documents,
    )
    know(loaded.secrets)
    if not scope.is_whole:
        loaded = _selected(loaded, scope, project)
    stacks = (stack, environment.stack if environment else "", project.stack if project else "")
    return Input(
        loaded,
        project,
        next(filter(None, stacks), ""),
        environment=environment.name if environment else "",
        scope=scope,
        paths=tuple(paths or ()),
    )


def _selected(loaded: Loaded, scope: Scope, project: Project | None) -> Loaded:
    found = chosen(loaded.resources, scope, project)
    kept = {id(resource) for resource in found}
    documents = tuple(
        document
        for resource, document in zip(loaded.resources, loaded.documents, strict=False)
        if id(resource) in kept
    )
    return replace(loaded, resources=found, documents=documents)


def chosen(resources: Sequence[Resource], scope: Scope, project: Project | None) -> tuple[Resource, ...]:
    """What a scope selects. Raises UsageError for terms that fit nothing."""
    from reconciler.manifest.selection import select

    found = select(resources, scope.select, scope.exclude)
    if scope.changed_since:
        from reconciler.cli.since import touched

        kept = touched(found, project, scope, scope.changed_since)
        found = tuple(resource for at, resource in enumerate(found) if at in kept)
        if not found:
            tell(f"note: nothing was touched since {scope.changed_since}")
    return found


def load_for(
    target_option: str | None,
    paths: list[str] | None,
    project_file: str | None,
    stack: str | None,
    *,
    scope: Scope = Scope(),  # noqa: B008 a frozen value
    allow_unset: bool = False,
    allow_commands: bool | None = None,
    makes_key: bool = False,
    is_told: bool = False,
    config_path: str | None = None,
    keep_documents: bool = False,
    since: str = "",
) -> Input:
    """The same for a command that goes to a target, which stands in the result. ``allow_unset``: what cannot
    be resolved is no error, and no command is run. ``makes_key``: a key for fingerprints is made when there
    is none. ``is_told``: the target has been named already. ``since``: a git revision to compare with.

    The first line on stderr names the target, also when the manifests are wrong: it is told here, then.
    """
    if since and "-" in (paths or ()):
        raise UsageError("--since does not go with manifests from the standard input", fix="name their files")
    project = _project(project_file)
    environment = _environment(project, scope)
    target = find_target(target_option, project, environment)
    config = find_config(config_path, target, project, environment)
    try:
        # A gateway with a file looks its credentials up by itself: they need not be known here.
        allow_unset = allow_unset or bool(config)
        read = load(
            paths,
            project_file,
            stack,
            # What was taken away since is selected like what is there.
            scope=Scope(scope.environment) if since else scope,
            allow_unset=allow_unset,
            allow_commands=allow_commands,
            needs_secrets=not allow_unset,
            keep_documents=keep_documents,
        )
        key = None if config else seal_key(read.loaded.resources, makes_key)

        def fit(resources: tuple[Resource, ...]) -> tuple[Resource, ...]:
            return for_target(target, resources, stack=read.stack, seal_key=key, config_path=config)

        fitting = fit(read.loaded.resources)
        if since:
            read = _since(replace(read, scope=scope), fitting, since, paths or (), fit)
            fitting = read.loaded.resources
    except UserError:
        if not is_told:
            tell(f"target: {target}")
        raise
    loaded = replace(read.loaded, resources=fitting)
    return replace(read, loaded=loaded, target=target, config_path=config)


def _since(
    read: Input,
    declared: tuple[Resource, ...],
    revision: str,
    paths: Sequence[str],
    fit: Callable[[tuple[Resource, ...]], tuple[Resource, ...]],
) -> Input:
    """With what was declared at a revision, and what is gone since: a section as one that is cleared."""
    from reconciler.cli.since import base_of
    from reconciler.engine.three_way import removed, with_removed_sections

    base = base_of(revision, paths, read.project, read.scope, fit)
    gone = removed(declared, base.resources)
    everything = (*with_removed_sections(declared, base.resources), *gone)
    if not read.scope.is_whole:
        everything = chosen(everything, read.scope, read.project)
    away = {resource.address for resource in gone}
    kept = tuple(resource for resource in everything if resource.address not in away)
    return replace(
        read,
        loaded=replace(read.loaded, resources=kept),
        base=base,
        gone=tuple(r for r in everything if r.address in away),
        is_part=len(kept) < len(declared),
    )


def without_manifests(
    target_option: str | None, project_file: str | None, stack: str | None, scope: Scope
) -> Input:
    """Target and stack for a command that needs no manifest; its resources are empty."""
    from reconciler.manifest.document import Loaded

    project = _project(project_file)
    environment = _environment(project, scope)
    target = find_target(target_option, project, environment)
    stacks = (stack, environment.stack if environment else "", project.stack if project else "")
    return Input(
        Loaded(()),
        project,
        next(filter(None, stacks), ""),
        target,
        environment=environment.name if environment else "",
        scope=scope,
    )


def read_ahead(
    target_option: str | None,
    project_file: str | None,
    scope: Scope = Scope(),  # noqa: B008 a frozen value
) -> Any:
    """A client whose reading has begun, for a target where that saves time; else None. The caller closes it.

    What is wrong with target or login is found again, and told, when the command itself comes to it.
    """
    try:
        if target_option is not None:  # the project file is read later: that costs more than it tells here
            target = target_option
        else:
            project = _project(project_file)
            target = find_target(None, project, _environment(project, scope))
        if family(target) != "mlflow-gateway":
            return None
        client = connect(target, pool_size=_AHEAD_POOL)
    except ReconcilerError:
        return None
    client.read_ahead()
    return client


def seal_key(resources: Sequence[Resource], make: bool) -> SealKey | None:
    """The key for fingerprints, when something needs one."""
    if not any(resource.address.kind == "GatewaySecret" for resource in resources):
        return None
    from reconciler.seal import load_key

    key = load_key(os.environ, make=make)
    if key is not None:
        know([key.key])
    return key


def check_models(read: Input) -> None:
    """Ask OpenAI for its models, once, when an endpoint names one. Raises ManifestError with the missing."""
    from reconciler.engine.readers import list_names
    from reconciler.errors import ManifestError
    from reconciler.kinds.external_models import missing_models, names_a_model

    if not names_a_model(read.loaded.resources):
        return
    with connect("openai") as client:
        known = list_names(client, "Model", ())
    if problems := missing_models(read.loaded.resources, known):
        raise ManifestError(problems)


def _project(project_file: str | None) -> Project | None:
    from reconciler.manifest.project import find_project, load_project

    if project_file is not None:
        return load_project(Path(project_file), environ=os.environ)
    found = find_project(Path())
    return load_project(found, environ=os.environ) if found else None


def _environment(project: Project | None, scope: Scope) -> Environment | None:
    if scope.environment is None and (project is None or not project.environments):
        return None
    from reconciler.manifest.environments import choose

    return choose(project, scope.environment)


def find_target(option: str | None, project: Project | None, environment: Environment | None = None) -> str:
    """The target: the option, else that of the project's environment, else the project's, else
    $MLFLOW_DEPLOYMENTS_TARGET. Raises UsageError."""
    target = option
    if not target and project is not None and environment is not None:
        from reconciler.manifest.project import target_of

        target = target_of(project, environment, os.environ)
    if not target and project is not None:
        target = project.target
    if not option and target and project is not None:
        target = beside(target, project.root)
    target = target or os.environ.get("MLFLOW_DEPLOYMENTS_TARGET")
    if not target:
        raise UsageError(
            "no target was given",
            why="there is no --target, no target: in reconciler.yaml and no MLFLOW_DEPLOYMENTS_TARGET",
            fix=f"--target databricks with DATABRICKS_HOST and DATABRICKS_TOKEN set; or {HOW_TO_TRY}",
        )
    return _kept_secret(target)


def _kept_secret(target: str) -> str:
    """The target; a login that stands in it is shown from here on nowhere (most targets refuse one)."""
    login, found, _ = target.partition("://")[2].partition("/")[0].rpartition("@")
    if found:
        know([Secret(login.partition(":")[2] or login)])
    return target


def find_config(
    option: str | None, target: str, project: Project | None, environment: Environment | None = None
) -> str:
    """The file that the target's gateway serves: the option, else the project file's, else the environment's
    (mlflow's own variable); "" for another target. Raises UsageError for an option that means nothing."""
    if not target.startswith(("http://", "https://")):
        if option:
            raise UsageError(
                f"--config-path goes with a gateway that serves a file, and the target is {target}",
                fix="leave it out, or name the gateway: --target http://HOST:PORT",
            )
        return ""
    written = project.config_path if project else ""
    if project is not None and environment is not None:
        from reconciler.manifest.project import config_path_of

        written = config_path_of(project, environment, os.environ)
    return option or written or os.environ.get("MLFLOW_GATEWAY_CONFIG", "")


def config_of(
    option: str | None, target: str, project_file: str | None, environments: Sequence[str] | None = None
) -> str:
    """The file that the target's gateway serves, as :func:`find_config`, of a command without manifests."""
    project = _project(project_file)
    return find_config(option, target, project, _environment(project, Scope.of(environments)))


def project_of(project_file: str | None) -> Project | None:
    """The project file alone, for commands without manifests."""
    return _project(project_file)


def variables_of(read: Input) -> Mapping[str, Variable]:
    """The variables that manifests and overlays of a run may use."""
    if read.project is None:
        return {}
    chosen = read.project.environments.get(read.environment)
    return {**read.project.variables, **(chosen.variables if chosen else {})}


def where(
    target_option: str | None, project_file: str | None, environments: Sequence[str] | None = None
) -> str:
    """The target of a command that reads no manifests."""
    project = _project(project_file)
    if target_option and not environments:
        return _kept_secret(target_option)
    return find_target(target_option, project, _environment(project, Scope.of(environments)))
