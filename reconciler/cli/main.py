"""The program: registers the commands, and turns every error into text and an exit code in one place."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from reconciler import __version__
from reconciler.cli import (
    apply,
    auth,
    diff,
    emulator,
    export,
    fmt,
    get,
    history,
    init,
    ownership,
    plan,
    plan_files,
    promote,
    query,
    render,
    rollback,
    schema,
    targets,
    validate,
)
from reconciler.cli.output import setup_logging, stderr_text
from reconciler.cli.reports import forget, report_failure
from reconciler.cli.startup import convert_only_when_needed
from reconciler.errors import ReconcilerError

__all__ = ["app", "main"]

app = typer.Typer(
    name="reconciler",
    help="Keep model-serving endpoints in git: write manifests, see the plan, apply it, see it proven.\n\n"
    "Try it without an account: reconciler init demo && cd demo && reconciler apply --target local",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    rich_markup_mode=None,
    epilog="Exit codes: 0 fine, 1 error, 2 changes found (with --detailed-exitcode), 3 refused for safety.",
)
app.command(name="init")(init.init)
app.command(name="validate")(validate.validate)
app.command(name="render")(render.render)
app.command(name="diff")(diff.diff)
app.command(name="fmt")(fmt.fmt)
app.command(name="plan")(plan.plan)
app.command(name="show")(plan_files.show)
app.command(name="apply")(apply.apply)
app.command(name="destroy")(apply.destroy)
app.command(name="adopt")(ownership.adopt)
app.command(name="release")(ownership.release)
app.command(name="promote")(promote.promote)
app.command(name="rollback")(rollback.rollback)
app.command(name="get")(get.get)
app.command(name="export")(export.export)
app.command(name="query")(query.query)
app.command(name="targets")(targets.targets)
app.command(name="schema")(schema.schema)
app.add_typer(history.app, name="history")
app.add_typer(emulator.app, name="emulator")
app.add_typer(auth.app, name="auth")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"reconciler {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    log_level: Annotated[
        str, typer.Option("--log-level", help="What is logged on stderr: debug, info, warning or error.")
    ] = "warning",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    setup_logging(log_level)


_ADDRESS = re.compile(r"[A-Z]\w*/.+")


def with_optional_values(arguments: Sequence[str]) -> list[str]:
    """``--resend-secrets [ADDRESS…]`` and ``--select ADDRESS…`` as options that each take one value: the
    first alone means all (``*``)."""
    result: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*result, word, *rest]
        if word not in ("--resend-secrets", "--select"):
            result.append(word)
            continue
        addresses = []
        while rest and _ADDRESS.fullmatch(rest[0]) and not os.path.exists(rest[0]):  # noqa: PTH110
            addresses.append(rest.pop(0))
        if word == "--select" and not addresses:
            result.append(word)  # what follows is no address, and the command says so
            continue
        result += [f"{word}={address}" for address in addresses or ["*"]]
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; gives the exit code. A traceback from here is our bug, and says so."""
    words = with_optional_values(sys.argv[1:] if arguments is None else arguments)
    convert_only_when_needed()
    forget()
    try:
        code = app(words, prog_name="reconciler", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ReconcilerError as error:
        report_failure(error)
        stderr_text(error)
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("stopped\n")
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to tell anybody, and nobody to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "show"):  # typer's own usage errors
            error.show()
            return 1  # not 2: that means "there are changes" (--detailed-exitcode)
        from reconciler.cli.output import bug_report

        bug_report(error)
        return 1


def run() -> None:
    """The console script."""
    # Most runs are short and make few circles: looking for them costs a tenth of a plan. What may
    # run for long (apply, the emulator) turns it on again.
    gc.disable()
    sys.exit(main())
