"""``reconciler validate``: are the manifests right? Asks no server."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json, sum_up
from reconciler.errors import ManifestError, Problem


@opt.each_environment()
def validate(
    paths: opt.Paths = None,
    environment: opt.Environments = None,
    all_environments: opt.AllEnvironments = False,
    select: opt.Select = None,
    exclude: opt.Exclude = None,
    project: opt.ProjectFile = None,
    output: opt.Output = opt.Format.TEXT,
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
    try:
        scope = opt.Scope.of(environment, select, exclude)
        read = opt.load(paths, project, scope=scope, allow_unset=allow_unset, needs_secrets=False)
    except ManifestError as error:
        sum_up(error.what)
        if output is opt.Format.JSON:
            answer_json({"valid": False, "problems": [_problem(p) for p in error.problems], "resources": []})
            return error.exit_code
        raise
    if output is opt.Format.TEXT:
        read.tell_warnings()
    addresses = [str(resource.address) for resource in read.loaded.resources]
    if output is opt.Format.JSON:
        warnings = [_problem(p) for p in read.loaded.warnings]
        answer_json({"valid": True, "problems": [], "warnings": warnings, "resources": addresses})
    else:
        count, files = len(addresses), len(read.loaded.files)
        said = (
            f"{count} manifest{'s' if count != 1 else ''} in {files} file{'s' if files != 1 else ''}: valid"
        )
        sum_up(said)
        answer(said)
    return 0


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
