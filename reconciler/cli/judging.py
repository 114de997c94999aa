"""Policies at the command line: which are in force, what they say of manifests and plans, who approves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import options as opt
from reconciler.cli.output import everything_known
from reconciler.errors import Problem, UsageError
from reconciler.values import Plan, PolicyLevel

if TYPE_CHECKING:
    from reconciler.cli.inputs import Input
    from reconciler.engine.policy import Context, Policies
    from reconciler.values import Resource, Violation

__all__ = ["Approve", "Judge", "judge_of", "who"]

Approve = Annotated[
    list[str] | None,
    typer.Option(
        "--approve",
        metavar="POLICY",
        help="Approve what this policy asks an approval for; may be given several times.",
        show_default=False,
    ),
]


def who() -> str:
    """Who runs this, as the system says, for the record."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


@dataclass(frozen=True, slots=True)
class Judge:
    """What manifests and plans of a run are judged by. ``approve``: policies that the command line
    approves."""

    read: Input
    policies: Policies | None
    approve: tuple[str, ...] = ()

    def manifests(self) -> tuple[list[Problem], list[Problem]]:
        """What the policies over resources say of the manifests: problems, and warnings."""
        problems: list[Problem] = []
        warnings: list[Problem] = []
        if self.policies is not None:
            context = self._context(opt.taken_at())
            problems += self.policies.trial(self.read.loaded.resources, context)
            for violation in self.policies.of_resources(self.read.loaded.resources, context):
                denies = violation.level is PolicyLevel.DENY
                (problems if denies else warnings).append(_problem(violation))
        return problems, warnings

    def plan(self, plan: Plan, *, only_acting: bool = False, only_steps: bool = False) -> Plan:
        """The plan with what policies say of it, and the approvals of the command line.

        Rules over resources judge all that is declared; with ``only_acting`` what the plan writes to, with
        ``only_steps`` none: what is wrong may be deleted, and its owner's mark may change.
        """
        if self.policies is None:
            return plan
        from reconciler.engine.policy import acting
        from reconciler.engine.verdicts import approved

        resources: Sequence[Resource] = self.read.loaded.resources
        judged: Sequence[Resource] = () if only_steps else resources
        if only_acting:
            written = acting(plan)
            judged = [resource for resource in resources if resource.address in written]
        now = opt.taken_at()
        found = self.policies.of_plan(plan, resources, self._context(now), judged=judged)
        return approved(replace(plan, violations=found), self.approve, who(), now)

    def _context(self, now: str) -> Context:
        from reconciler.engine.policy import Context

        return Context(now, self.read.environment, self.read.stack, everything_known())


def judge_of(read: Input, approve: Sequence[str] | None = None) -> Judge:
    """Reads the policies in force. Raises ManifestError for what is wrong with them, UsageError for an
    approval of a policy that is not among them."""
    from reconciler.manifest.policies import policies_of

    environment = read.project.environments.get(read.environment) if read.project else None
    declared = policies_of(read.project, environment)
    if approve:
        _known(read, approve)
    if not declared:
        return Judge(read, None)
    from reconciler.engine.policy import compiled

    return Judge(read, compiled(declared), tuple(approve or ()))


def _known(read: Input, approve: Sequence[str]) -> None:
    """Raises UsageError for a name that is no policy of the project, in no environment."""
    from reconciler.manifest.policies import policies_of
    from reconciler.manifest.suggest import did_you_mean

    environments = read.project.environments.values() if read.project else ()
    names = {policy.id for one in (None, *environments) for policy in policies_of(read.project, one)}
    for name in approve:
        if name not in names:
            fix = did_you_mean(name, names) or f"declared: {', '.join(sorted(names)) or 'none'}"
            raise UsageError(f"--approve {name}: there is no such policy", fix=fix)


def _problem(violation: Violation) -> Problem:
    place = violation.source
    file, line, column = (place.file, place.line, place.column) if place else ("", 0, 0)
    asks = violation.level is PolicyLevel.REQUIRE_APPROVAL
    what = violation.message + (" (needs approval)" if asks else "")
    return Problem(file, line, column, "", what, violation.fix, f"policy/{violation.policy}")
