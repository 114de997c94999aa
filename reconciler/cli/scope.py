"""What a run is about: environments and resources; the options, and runs over several environments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from reconciler.cli import completion
from reconciler.errors import ManifestError, ReconcilerError, UsageError

if TYPE_CHECKING:
    from reconciler.cli.reports import Gathered

__all__ = [
    "AllEnvironments",
    "ChangedSince",
    "Environments",
    "Exclude",
    "Scope",
    "Select",
    "each_environment",
    "said",
]


def said(option: str, meaning: str) -> Callable[[str | None], str | None]:
    """A callback for an option that must not be empty: a variable that is not set (``--since "$BASE"``) is no
    option left out. ``meaning``: what that would mean. Raises UsageError."""

    def check(value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise UsageError(
                f"{option} is given, and empty",
                why="a variable that is not set?",
                fix=f"name one, or leave {option} out: {meaning}",
            )
        return value

    return check


Environments = Annotated[
    list[str] | None,
    typer.Option(
        "--environment",
        "-e",
        metavar="NAME",
        help="Environment of reconciler.yaml. Left out: its default_environment.",
        show_default=False,
        autocompletion=completion.environments,
    ),
]
AllEnvironments = Annotated[
    bool,
    typer.Option(
        "--all-environments", help="All environments, one after the other; so does -e several times."
    ),
]
Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="TERM",
        help="Only these: Kind/name, Kind/na*, kind=KIND, label:team=a, file:PATH. Several add up.",
        show_default=False,
        autocompletion=completion.addresses,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="TERM",
        help="Not these; written like --select.",
        show_default=False,
        autocompletion=completion.addresses,
    ),
]
ChangedSince = Annotated[
    str | None,
    typer.Option(
        "--changed-since",
        metavar="REV",
        help="Only what was touched since a git revision: its manifest, an overlay of it, a file that it "
        "names; all of it when the project file was.",
        show_default=False,
        callback=said("--changed-since", "everything is meant, then"),
    ),
]

_WORST: Final = (1, 3, 2, 0)  # exit codes: an error is worse than a refusal, and that than changes


@dataclass(frozen=True, slots=True)
class Scope:
    """One environment ("" for none, None for the default one), and what selects resources: terms, and the git
    revision since which they were touched ("" for all)."""

    environment: str | None = None
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    changed_since: str = ""

    @property
    def is_whole(self) -> bool:
        """Nothing is left out."""
        return not (self.select or self.exclude or self.changed_since)

    @classmethod
    def of(
        cls,
        environments: Sequence[str] | None = None,
        select: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        changed_since: str | None = None,
    ) -> Scope:
        """From a command's options. Raises UsageError when several environments are named."""
        names = list(environments or ())
        if len(names) > 1:
            raise UsageError(
                f"one environment at a time, not {' and '.join(names)}",
                fix="run the command for each of them",
            )
        return cls(
            names[0] if names else None, tuple(select or ()), tuple(exclude or ()), changed_since or ""
        )


def each_environment(*, stops: bool = False) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A command that takes one environment becomes one that takes several, each with a result of its own.

    ``stops``: after an environment that failed no other is begun.
    """

    def of(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def run(**given: Any) -> int:
            named = list(dict.fromkeys(given.get("environment") or ()))
            if len(named) < 2 and not given.get("all_environments"):
                return command(**given | ({"environment": named} if named else {}))
            return _each(command, _meant(named, given), given, stops)

        return run

    return of


def _meant(named: Sequence[str], given: dict[str, Any]) -> list[str]:
    """The environments of a run over several. Raises UsageError for options that are about one only."""
    from reconciler.cli.inputs import project_of
    from reconciler.manifest.environments import choose

    for option in (
        "target",
        "stack",
        "config_path",
        "snapshot",
        "save_snapshot",
        "out",
        "rebase",
        "receipt",
    ):
        if given.get(option):
            shown = "--" + option.replace("_", "-")
            raise UsageError(f"{shown} is for one environment", fix=f"name one with -e, or leave {shown} out")
    if "-" in (given.get("paths") or ()):
        raise UsageError("the standard input can be read once only", fix="name one environment with -e")
    project = project_of(given.get("project"))
    if not given.get("all_environments"):
        for name in named:
            choose(project, name)
        return list(named)
    if named:
        raise UsageError("-e and --all-environments say different things", fix="leave one of the two out")
    if project is None or not project.environments:
        raise UsageError(
            "there are no environments", fix="declare them under environments: in reconciler.yaml"
        )
    return list(project.environments)


def _each(command: Callable[..., int], names: Sequence[str], given: dict[str, Any], stops: bool) -> int:
    from reconciler.cli.reports import gathering

    with gathering() as gathered:
        return _gather(command, names, given, stops, gathered)


def _gather(
    command: Callable[..., int],
    names: Sequence[str],
    given: dict[str, Any],
    stops: bool,
    gathered: Gathered,
) -> int:
    from reconciler.cli import output
    from reconciler.cli.reports import GROWING, report_failure

    is_json = str(given.get("output")) == "json"
    is_growing = str(given.get("output")) in list(map(str, GROWING))
    results: dict[str, dict[str, Any]] = {}
    told: dict[str, str] = {}
    failed = ""
    for name in names:
        if failed and stops:
            results[name] = {"exit_code": 1, "not_begun": f"{failed} failed"}
            told[name] = f"not begun: {failed} failed"
            continue
        gathered.name = name
        if is_growing and not is_json:
            output.answer(f"{'' if name == names[0] else chr(10)}== environment {name} ==\n")
        with output.collected(is_json) as kept:
            result: dict[str, Any] = {"exit_code": 0}
            try:
                result["exit_code"] = command(**{**given, "environment": [name], "all_environments": False})
            except ReconcilerError as error:
                report_failure(error)
                output.stderr_text(error)
                result |= {"exit_code": error.exit_code, "error": _error(error)}
                told[name] = error.what
        if kept.reports:
            result["result"] = kept.reports[-1]
        results[name] = result
        told.setdefault(name, kept.summary)
        if result["exit_code"] not in (0, 2):
            failed = name
    gathered.finish(results)
    if is_json:
        output.answer_report({"environments": results})
    else:
        (output.answer if is_growing else output.tell)("\n" + _table(results, told))
    return next(code for code in _WORST if any(r["exit_code"] == code for r in results.values()))


def _error(error: ReconcilerError) -> dict[str, Any]:
    from reconciler.cli.output import redacted

    parts = {"what": error.what, "where": error.where, "why": error.why, "next": error.fix}
    told: dict[str, Any] = {name: redacted(text) for name, text in parts.items()}
    if isinstance(error, ManifestError):
        told["problems"] = [redacted(str(problem)) for problem in error.problems]
    return told


def _table(results: dict[str, dict[str, Any]], told: dict[str, str]) -> str:
    width = max(len("ENVIRONMENT"), *map(len, results))
    lines = [f"{'ENVIRONMENT':<{width}}  EXIT  RESULT"]
    lines += [
        f"{name:<{width}}  {result['exit_code']:<4}  {told[name]}".rstrip()
        for name, result in results.items()
    ]
    return "\n".join(lines)
