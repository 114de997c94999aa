"""``reconciler validate``: are the manifests right? Asks no server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.judging import judge_of, problems_of
from reconciler.cli.output import answer_json, known, sum_up, tell
from reconciler.cli.reports import Output, ReportFormat, Reports, ReportTo
from reconciler.errors import ManifestError, Problem


@opt.each_environment()
def validate(
    paths: opt.Paths = None,
    environment: opt.Environments = None,
    all_environments: opt.AllEnvironments = False,
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    changed_since: opt.ChangedSince = None,
    project: opt.ProjectFile = None,
    output: Output = ReportFormat.TEXT,
    report: ReportTo = None,
    allow_unset: Annotated[
        bool,
        typer.Option(
            "--allow-unset",
            help="Unset ${env:…} and missing ${file:…} are no errors: for CI without secrets.",
        ),
    ] = False,
) -> int:
    """Check manifests against the schemas and each other; report every problem of every file at once.

    No server is asked, and no command is run.
    """
    reports = Reports.of(output, report, "check")
    try:
        scope = opt.Scope.of(environment, select, exclude, changed_since)
        try:
            read = inputs.load(paths, project, scope=scope, allow_unset=allow_unset, needs_secrets=False)
        except ManifestError as error:
            settings = inputs.project_of(project)  # raises the same where it is what cannot be read
            raise ManifestError(
                [*error.problems, *problems_of(settings, scope.environment)], error.warnings
            ) from error
        problems, told = judge_of(read).manifests()
        warnings = (*read.loaded.warnings, *told)
        if problems:
            raise ManifestError(problems, warnings)
    except ManifestError as error:
        sum_up(error.what)
        _tell(error.warnings, output)
        found = known().value(
            {
                "valid": False,
                "problems": [_problem(p) for p in error.problems],
                "warnings": [_problem(p) for p in error.warnings],
                "resources": [],
            }
        )
        reports.failed(error, found)
        if output is ReportFormat.JSON:
            answer_json(found)
            return error.exit_code
        raise
    _tell(warnings, output)
    addresses = [str(resource.address) for resource in read.loaded.resources]
    manifests = f"{len(addresses)} manifest{'s' if len(addresses) != 1 else ''}"
    files = f"{len(read.loaded.files)} file{'s' if len(read.loaded.files) != 1 else ''}"

    def content() -> object:
        told = [_problem(problem) for problem in warnings]
        return known().value({"valid": True, "problems": [], "warnings": told, "resources": addresses})

    text = f"{manifests} in {files}: valid"
    reports.checked(warnings, text, text, content)
    return 0


def _tell(warnings: Sequence[Problem], output: ReportFormat) -> None:
    if output in (ReportFormat.TEXT, ReportFormat.GITHUB):
        for warning in warnings:
            tell(f"warning: {warning}")


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.what,
        "fix": problem.fix,
        "rule": problem.rule,
    }
