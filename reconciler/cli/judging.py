"""Policies and freezes at the command line: which are in force, what they say, and who approves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import options as opt
from reconciler.cli.output import everything_known
from reconciler.cli.probing import probes_for
from reconciler.errors import ManifestError, Problem, UsageError
from reconciler.values import Plan, PolicyLevel

if TYPE_CHECKING:
    from reconciler.cli.inputs import Input
    from reconciler.engine.policy import Context, Policies
    from reconciler.manifest.freezes import DeclaredFreeze
    from reconciler.manifest.project import Project
    from reconciler.values import Resource, Violation

__all__ = ["Approve", "Judge", "judge_of", "problems_of", "who"]

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
    freezes: tuple[DeclaredFreeze, ...] = ()
    approve: tuple[str, ...] = ()

    def manifests(self) -> tuple[list[Problem], list[Problem]]:
        """What policies over resources say of the manifests, and what is wrong with freezes and probes."""
        problems: list[Problem] = []
        warnings: list[Problem] = []
        try:
            probes_for(self.read)
        except ManifestError as error:
            problems += error.problems
        if self.policies is not None:
            context = self._context(opt.taken_at())
            problems += self.policies.trial(self.read.loaded.resources, context)
            for violation in self.policies.of_resources(self.read.loaded.resources, context):
                denies = violation.level is PolicyLevel.DENY
                (problems if denies else warnings).append(_problem(violation))
        return problems, [*warnings, *self._of_freezes()]

    def _of_freezes(self) -> list[Problem]:
        """Freezes that are over, or that fit nothing: what nobody takes out is read as if it still held."""
        told = []
        for freeze in self.freezes:
            place = freeze.source
            where = (place.file, place.line, place.column, "")
            if freeze.ends <= _seconds(opt.taken_at()):
                what = f"the freeze of {freeze.what} is over: it was until {freeze.until}"
                told.append(Problem(*where, what, "take it out", "freeze"))
            elif freeze.terms and not any(t(r) for t in freeze.terms for r in self.read.loaded.resources):
                what = f"the freeze of {freeze.what} fits no manifest"
                told.append(Problem(*where, what, "look at its select:", "freeze"))
        return told

    def plan(self, plan: Plan, *, only_acting: bool = False, only_steps: bool = False) -> Plan:
        """The plan with what policies say of it, and the approvals of the command line.

        Rules over resources judge all that is declared; with ``only_acting`` what the plan writes to, with
        ``only_steps`` none: what is wrong may be deleted, and its owner's mark may change.
        """
        now = opt.taken_at()
        if self.freezes:
            from reconciler.engine.freezing import with_freezes

            plan = with_freezes(plan, self.freezes, self.read.resources, _seconds(now))
        if self.policies is None:
            return plan
        from reconciler.engine.policy import acting
        from reconciler.engine.verdicts import approved

        resources: Sequence[Resource] = self.read.loaded.resources
        judged: Sequence[Resource] = () if only_steps else resources
        if only_acting:
            written = acting(plan)
            judged = [resource for resource in resources if resource.address in written]
        found = self.policies.of_plan(plan, resources, self._context(now), judged=judged)
        return approved(replace(plan, violations=found), self.approve, who(), now)

    def _context(self, now: str) -> Context:
        from reconciler.engine.policy import Context

        return Context(now, self.read.environment, self.read.stack, everything_known())


def judge_of(read: Input, approve: Sequence[str] | None = None) -> Judge:
    """Reads the policies in force. Raises ManifestError for what is wrong with them, UsageError for an
    approval of a policy that is not among them."""
    environment = read.project.environments.get(read.environment) if read.project else None
    holders = (
        read.project.document.value if read.project and read.project.document else {},
        environment.settings if environment else {},
    )
    if approve:
        _known(read, approve)
    if not any(name in holder for holder in holders for name in ("policies", "freeze")):
        return Judge(read, None)  # most projects: nothing of it is imported
    from reconciler.manifest.freezes import freezes_of
    from reconciler.manifest.policies import policies_of

    declared = policies_of(read.project, environment)
    freezes = freezes_of(read.project, environment)
    if not declared:
        return Judge(read, None, freezes)
    from reconciler.engine.policy import compiled

    return Judge(read, compiled(declared), freezes, tuple(approve or ()))


def _seconds(now: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(now).timestamp()


def problems_of(project: Project | None, environment: str | None) -> list[Problem]:
    """What is wrong with policies, freezes and probes, where the manifests cannot be read."""
    from reconciler.cli.inputs import Input
    from reconciler.manifest.document import Loaded
    from reconciler.manifest.environments import choose

    if project is None:
        return []
    chosen = choose(project, environment) if environment or project.environments else None
    read = Input(Loaded(()), project, project.stack, environment=chosen.name if chosen else "")
    try:
        return judge_of(read).manifests()[0]
    except ManifestError as error:
        return list(error.problems)


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
