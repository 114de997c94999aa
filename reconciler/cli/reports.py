"""Where reports go: the answer on stdout (``-o``), files (``--report``), a step's summary on GitHub."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from reconciler.cli.output import (
    answer,
    answer_report,
    is_ascii,
    known,
    put,
    redacted,
    sum_up,
    wants_colour,
    width_of,
)
from reconciler.errors import ReconcilerError, UsageError

if TYPE_CHECKING:
    from reconciler.engine.apply import Applied
    from reconciler.errors import Problem
    from reconciler.report.page import Page
    from reconciler.values import Plan
    from reconciler.verdict import Drift

__all__ = [
    "GROWING",
    "Gathered",
    "Output",
    "ReportFormat",
    "ReportTo",
    "Reports",
    "forget",
    "gathering",
    "report_failure",
]


class ReportFormat(enum.StrEnum):
    """Formats of a plan, an outcome, a check of drift or of manifests."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    JUNIT = "junit"
    SARIF = "sarif"
    GITHUB = "github"


Output = Annotated[ReportFormat, typer.Option("--output", "-o", help="Format of the answer on stdout.")]
ReportTo = Annotated[
    list[str] | None,
    typer.Option(
        "--report",
        metavar="FORMAT=FILE",
        help="Also write a report into a file; may be given several times: --report html=plan.html.",
        show_default=False,
    ),
]

_SUMMARY: Final = 900_000
"""Bytes. GitHub takes 1 MiB of summary from a step, and drops a longer one."""


@dataclass(slots=True)
class Reports:
    """What one run reports, and where to. Made by :meth:`of` before anything is read.

    ``purpose``: what the run is for, a Purpose by its word.
    """

    output: ReportFormat
    files: tuple[tuple[ReportFormat, Path], ...] = ()
    purpose: str = "plan"
    verbose: bool = False
    _is_done: bool = field(default=False, init=False)

    @classmethod
    def of(
        cls, output: ReportFormat, to: list[str] | None, purpose: str, *, verbose: bool = False
    ) -> Reports:
        """Read ``--report`` options; from here on an error of this run is reported, too.

        Raises UsageError for a format or a folder that does not exist.
        """
        global _asked
        _asked = cls(output, _destinations(to or ()), purpose, verbose)
        return _asked

    def import_ahead(self) -> None:
        """Import what the report of a plan is made with: for a moment in which a server is waited for."""
        if self.output is ReportFormat.TEXT:
            import reconciler.report.text  # noqa: F401

    def announce(self, plan: Plan) -> None:
        """A plan before it is carried out, for outputs that people read as they grow."""
        if self.output is ReportFormat.TEXT:
            answer(self._plan_text(plan, True))
        elif self.output is ReportFormat.GITHUB:
            from reconciler.report.github import guarded

            answer(guarded(redacted(self._plan_text(plan, True))))

    def plan(
        self, plan: Plan, *, is_announced: bool = False, is_answered: bool = False, is_refused: bool = False
    ) -> None:
        """A plan (in a drift check: what drifted) as the answer, and in the files.

        ``is_announced``: people have read its text already; ``is_answered``: stdout has its answer.
        ``is_refused``: it is that of an apply that was refused.
        """
        self.plans([plan], is_announced=is_announced, is_answered=is_answered, is_refused=is_refused)

    def plans(
        self,
        plans: Sequence[Plan],
        *,
        is_announced: bool = False,
        is_answered: bool = False,
        is_refused: bool = False,
    ) -> None:
        """Several plans in one report; as JSON a list of them."""
        from reconciler.engine.safety import counts

        sum_up(", ".join("nothing to do" if plan.is_empty else counts(plan) for plan in plans))

        def pages() -> list[Page]:
            from reconciler.report.page import Purpose, page_of_plan

            drift = Purpose.DRIFT if self.purpose == Purpose.DRIFT else Purpose.PLAN
            return [page_of_plan(plan, purpose=drift, known=known(), is_refused=is_refused) for plan in plans]

        self._report(
            pages,
            lambda on_terminal: "\n".join(self._plan_text(plan, on_terminal) for plan in plans),
            lambda: _plans_json(plans),
            is_announced=is_announced,
            is_answered=is_answered,
        )

    def drift(self, found: Drift) -> None:
        """A check of drift as the answer, and in the files."""
        from reconciler.report import drift as told

        sum_up(told.headline(found))
        self._report(
            lambda: [told.page_of_drift(found, known=known())],
            lambda on_terminal: told.drift_text(found, verbose=self.verbose, **_terminal(on_terminal)),
            lambda: told.drift_json(found),
        )

    def outcome(self, applied: Applied) -> None:
        """The outcome of an apply as the answer, and in the files."""
        sum_up("converged" if applied.converged else "not converged")
        self._report(
            lambda: [_outcome_page(applied)],
            lambda on_terminal: self._outcome_text(applied, on_terminal),
            lambda: _outcome_json(applied),
        )

    def checked(self, warnings: Sequence[Problem], valid: str, text: str, content: Callable[[], Any]) -> None:
        """Manifests that are right, in words: ``valid`` as a headline, ``text`` as the answer."""
        from reconciler.report.endings import page_of_problems

        sum_up(valid)
        self._report(
            lambda: [page_of_problems((), warnings, valid=valid, known=known())],
            lambda on_terminal: text,
            content,
        )

    def failed(self, error: ReconcilerError, content: Any = None) -> None:
        """An error, where there is no report yet: what reads one shall not find an old one, or none.

        As JSON only with a ``content``: what has a schema knows no errors.
        """
        from reconciler.report.endings import page_of_error
        from reconciler.report.page import Purpose

        if self._is_done:
            return
        self._is_done = True
        pages = [page_of_error(error, purpose=Purpose(self.purpose), known=known())]
        if _gathered is not None:
            from reconciler.report.text import error_text

            _gathered.take(self, pages, error_text(error, redactor=known()), content)
            return
        for form, path in self.files:
            if form is ReportFormat.TEXT:
                from reconciler.report.text import error_text

                _write(path, error_text(error, redactor=known()))
            elif form is not ReportFormat.JSON:
                _write(path, _rendered(form, pages))
            elif content is not None:
                from reconciler.report.json import dumps

                _write(path, dumps(content) + "\n")
        if self.output not in _SPOKEN:
            self._answer_pages(pages)
        self._summarise(pages)

    def _report(
        self,
        pages: Callable[[], list[Page]],
        text: Callable[[bool], str],
        content: Callable[[], Any],
        *,
        is_announced: bool = False,
        is_answered: bool = False,
    ) -> None:
        self._is_done = True
        made = pages() if any(form not in _SPOKEN for form in self._formats()) else []
        if _gathered is not None:
            is_wanted = any(form is ReportFormat.JSON for form, _ in self.files)
            told = redacted(text(False)) if any(form is ReportFormat.TEXT for form, _ in self.files) else ""
            _gathered.take(self, made, told, content() if is_wanted else None)
            if self.output in GROWING:
                self._answer(text, content, made, is_announced)
            return
        for form, path in self.files:
            if form is ReportFormat.TEXT:
                _write(path, redacted(text(False)))
            elif form is ReportFormat.JSON:
                from reconciler.report.json import dumps, masked

                _write(path, dumps(masked(content(), known())) + "\n")
            else:
                _write(path, _rendered(form, made))
        if not is_answered:
            self._answer(text, content, made, is_announced)
        self._summarise(made)

    def _answer(
        self, text: Callable[[bool], str], content: Callable[[], Any], made: list[Page], is_announced: bool
    ) -> None:
        match self.output:
            case ReportFormat.TEXT:
                if not is_announced:
                    answer(text(True))
            case ReportFormat.JSON:
                answer_report(content())
            case ReportFormat.GITHUB:
                if not is_announced:
                    from reconciler.report.github import guarded

                    answer(guarded(redacted(text(True))))
                self._answer_pages(made)
            case _:
                self._answer_pages(made)

    def _formats(self) -> list[ReportFormat]:
        return [self.output, *(form for form, _ in self.files)]

    def _answer_pages(self, pages: list[Page]) -> None:
        # A page is redacted where it is made: searched here again, a short secret could take its markup.
        put(_rendered(self.output, pages), is_document=True)

    def _summarise(self, pages: list[Page]) -> None:
        """On GitHub, also the summary of the step (https://docs.github.com, GITHUB_STEP_SUMMARY)."""
        file = os.environ.get("GITHUB_STEP_SUMMARY")
        if not file or ReportFormat.GITHUB not in self._formats():
            return
        from reconciler.report.markdown import markdown

        with suppress(OSError), Path(file).open("a", encoding="utf-8") as summary:
            summary.write(markdown(pages, _SUMMARY) + "\n")

    def _plan_text(self, plan: Plan, on_terminal: bool) -> str:
        from reconciler.report.text import plan_text

        return plan_text(plan, verbose=self.verbose, **_terminal(on_terminal))

    def _outcome_text(self, applied: Applied, on_terminal: bool) -> str:
        from reconciler.report.text import outcome_text

        return outcome_text(
            applied.plan,
            applied.outcomes,
            converged=applied.converged,
            remaining=applied.remaining,
            unverified=applied.unverified,
            verbose=self.verbose,
            **_terminal(on_terminal),
        )


GROWING: Final = (ReportFormat.TEXT, ReportFormat.JSON, ReportFormat.GITHUB)
"""Formats that several runs answer one after the other; the others are one document of all."""


@dataclass(slots=True)
class Gathered:
    """Reports of several runs, kept to be written as one. ``name``: of the run that is on now, for people."""

    name: str = ""
    _reports: Reports | None = field(default=None, init=False)
    _pages: list[Page] = field(default_factory=list, init=False)
    _texts: list[str] = field(default_factory=list, init=False)
    _contents: dict[str, Any] = field(default_factory=dict, init=False)

    def take(self, reports: Reports, pages: list[Page], text: str, content: Any) -> None:
        """What one run reports; ``content``: as JSON, None when it is not wanted or there is none."""
        self._reports = reports
        self._pages += [replace(page, target=f"{self.name} ({page.target})") for page in pages]
        self._texts.append(f"== environment {self.name} ==\n{text}")
        self._contents[self.name] = content

    def finish(self, results: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the files of all runs, and the answer where it is one document. Raises UsageError.

        ``results``: of each run, for JSON.
        """
        from reconciler.report.json import dumps, masked

        if self._reports is None:
            return
        for form, path in self._reports.files:
            if form is ReportFormat.TEXT:
                _write(path, "\n".join(self._texts))
            elif form is ReportFormat.JSON:
                content = {name: {**r, "result": self._contents.get(name)} for name, r in results.items()}
                _write(path, dumps(masked({"environments": content}, known())) + "\n")
            else:
                _write(path, _rendered(form, self._pages))
        if self._reports.output not in GROWING:
            self._reports._answer_pages(self._pages)
        self._reports._summarise(self._pages)


_gathered: Gathered | None = None


@contextmanager
def gathering() -> Iterator[Gathered]:
    """Meanwhile reports are kept, for one report of several runs."""
    global _gathered
    _gathered = Gathered()
    try:
        yield _gathered
    finally:
        _gathered = None


_asked: Reports | None = None


def forget() -> None:
    """A new run begins: what an earlier one of this process asked for is of no concern."""
    global _asked
    _asked = None


def report_failure(error: ReconcilerError) -> None:
    """An error ends the run: it goes where the run's reports go. Never raises."""
    if _asked is not None:
        with suppress(ReconcilerError):
            _asked.failed(error)


_SPOKEN: Final = (ReportFormat.TEXT, ReportFormat.JSON)
"""Formats that have a renderer of their own, and no page."""


def _terminal(on_terminal: bool) -> dict[str, Any]:
    if not on_terminal:
        return {}
    return {
        "colour": wants_colour(sys.stdout),
        "width": width_of(sys.stdout),
        "ascii_only": is_ascii(sys.stdout),
    }


def _plans_json(plans: Sequence[Plan]) -> Any:
    from reconciler.report.json import plan_json

    documents = [plan_json(plan) for plan in plans]
    return documents[0] if len(documents) == 1 else documents


def _outcome_json(applied: Applied) -> Any:
    from reconciler.report.json import outcome_json

    return outcome_json(
        applied.plan,
        applied.outcomes,
        converged=applied.converged,
        remaining=applied.remaining,
        unverified=applied.unverified,
    )


def _outcome_page(applied: Applied) -> Page:
    from reconciler.report.endings import page_of_outcome

    return page_of_outcome(
        applied.plan,
        applied.outcomes,
        converged=applied.converged,
        remaining=applied.remaining,
        unverified=applied.unverified,
        known=known(),
    )


def _rendered(form: ReportFormat, pages: list[Page]) -> str:
    match form:
        case ReportFormat.MARKDOWN:
            from reconciler.report.markdown import markdown

            return markdown(pages)
        case ReportFormat.HTML:
            from reconciler.report.html import html

            return html(pages)
        case ReportFormat.JUNIT:
            from reconciler.report.junit import junit

            return junit(pages)
        case ReportFormat.SARIF:
            from reconciler.report.sarif import sarif

            return sarif(pages) + "\n"
        case ReportFormat.GITHUB:
            from reconciler.report.github import github

            return github(pages)
    raise AssertionError(form)


def _destinations(texts: Sequence[str]) -> tuple[tuple[ReportFormat, Path], ...]:
    """Raises UsageError for what is no destination, and for two reports of which one would be lost."""
    found = tuple(_destination(text) for text in texts)
    taken: dict[Path, str] = {}
    for text, (_, path) in zip(texts, found, strict=True):
        # /dev/stderr and the like take several.
        if (path.is_file() or not path.exists()) and (
            other := taken.setdefault(path.resolve(), text)
        ) != text:
            raise UsageError(
                f"--report {text} and --report {other} go to one file", fix="name a file for each of them"
            )
    return found


def _destination(text: str) -> tuple[ReportFormat, Path]:
    name, equals, file = text.partition("=")
    if not (equals and file) or name not in list(ReportFormat):
        raise UsageError(
            f"--report {text!r} is not FORMAT=FILE",
            why=f"the formats are {', '.join(ReportFormat)}",
            fix="write it like --report markdown=plan.md",
        )
    path = Path(file)
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise UsageError(f"--report {text}: the file cannot be written", why=why, fix="name a file")
    return ReportFormat(name), path


def _write(path: Path, text: str) -> None:
    """The whole file or, after a crash or on a full disk, the one that was there."""
    from reconciler.cli.files import write_whole

    try:
        write_whole(path, text)
    except OSError as error:
        raise UsageError(
            f"the report cannot be written: {error.strerror or error}", where=str(path)
        ) from error
