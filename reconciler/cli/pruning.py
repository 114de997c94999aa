"""What ``--prune`` needs: that the manifests are all that a stack has, and lists that tell an owner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import UsageError
from reconciler.targets import prunable

if TYPE_CHECKING:
    from reconciler.cli.inputs import Input
    from reconciler.engine.options import PlanOptions
    from reconciler.engine.snapshot import Prune
    from reconciler.manifest.environments import Environment
    from reconciler.manifest.project import Project

__all__ = ["check_prune", "part_of", "prune_of"]


def part_of(read: Input) -> str:
    """Why these are not all manifests of the stack, as far as can be known; "" when they are."""
    if not read.scope.is_whole:
        scope = read.scope
        return "--select" if scope.select else "--exclude" if scope.exclude else "--changed-since"
    named = list(read.project.manifests) if read.project else []
    if not named and Path("manifests").is_dir():
        named = ["manifests"]
    given = [Path(path).resolve() for path in read.paths]
    left = [one for one in map(Path, named) if not any(one.resolve().is_relative_to(g) for g in given)]
    return f"PATHS without {left[0]}" if given and left else ""


def check_prune(read: Input) -> None:
    """Raises UsageError where it cannot be told what is no longer declared."""
    if not read.stack:
        raise UsageError(
            "--prune deletes what a stack owns, and no stack is named",
            fix="name it: stack: in reconciler.yaml, or --stack",
        )
    if part := part_of(read):
        raise UsageError(
            f"--prune goes with all manifests of the stack, not with {part}",
            why="what only the others declare would be deleted",
            fix="leave it out, or leave --prune out",
        )
    if not prunable(read.target, read.config_path):
        raise UsageError(
            f"--prune: no list of {read.target} tells which stack owns what",
            fix="delete with destroy what is no longer wanted, before its manifest goes",
        )
    if read.project is not None and (twins := _sharing(read.project, read.environment, read.stack)):
        raise UsageError(
            f"--prune: the environments {' and '.join(twins)} share target and stack {read.stack}",
            why="what one declares, the other would delete",
            fix="give each a stack of its own: stack: in its environment",
        )


def prune_of(read: Input, options: PlanOptions) -> Prune | None:
    """What is read for a plan that prunes; None for another."""
    if not options.prune:
        return None
    from reconciler.engine.snapshot import Prune

    return Prune(read.stack, prunable(read.target, read.config_path))


def _sharing(project: Project, chosen: str, stack: str) -> tuple[str, ...]:
    """The environments that have this one's target and stack, itself among them; none when it is alone."""
    of = project.environments
    if chosen not in of:
        return ()

    def place(one: Environment) -> tuple[str, str]:
        return str(one.settings.get("target") or project.target), one.stack or project.stack

    here = (place(of[chosen])[0], stack)
    found = tuple(name for name, one in of.items() if name == chosen or place(one) == here)
    return found if len(found) > 1 else ()
