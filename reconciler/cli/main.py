"""The program: knows the commands, and turns every error into text and an exit code in one place."""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import typer

from reconciler import __version__
from reconciler.cli.output import setup_logging, stderr_text
from reconciler.cli.reports import forget, report_failure
from reconciler.cli.startup import convert_only_when_needed
from reconciler.errors import ReconcilerError

__all__ = ["main", "program"]

_COMMANDS: Final = {
    "init": ("init", "init"),
    "validate": ("validate", "validate"),
    "render": ("render", "render"),
    "diff": ("diff", "diff"),
    "fmt": ("fmt", "fmt"),
    "plan": ("plan", "plan"),
    "drift": ("drift", "drift"),
    "show": ("plan_files", "show"),
    "apply": ("apply", "apply"),
    "destroy": ("apply", "destroy"),
    "adopt": ("ownership", "adopt"),
    "release": ("ownership", "release"),
    "promote": ("promote", "promote"),
    "rollback": ("rollback", "rollback"),
    "get": ("get", "get"),
    "export": ("export", "export"),
    "query": ("query", "query"),
    "targets": ("targets", "targets"),
    "schema": ("schema", "schema"),
    "history": ("history", "app"),
    "emulator": ("emulator", "app"),
    "auth": ("auth", "app"),
}
"""Command → its module here and the function in it; ``app``: it has commands of its own."""


def program(names: Iterable[str] = tuple(_COMMANDS)) -> typer.Typer:
    """The program, with these commands. One alone starts in half the time: the others are not imported."""
    app = typer.Typer(
        name="reconciler",
        help="Keep model-serving endpoints in git: write manifests, see the plan, apply it, see it "
        "proven.\n\n"
        "Try it without an account: reconciler init demo && cd demo && reconciler apply --target local",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        rich_markup_mode=None,
        epilog="Exit codes: 0 fine, 1 error, 2 drift, or changes found (with --detailed-exitcode), 3 refused "
        "for safety.",
    )
    for name in names:
        module, function = _COMMANDS[name]
        found = getattr(importlib.import_module(f"reconciler.cli.{module}"), function)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name=name)(found)
    app.callback()(_root)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"reconciler {__version__}")
        raise typer.Exit


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
        app = program(words[:1] if words[:1] and words[0] in _COMMANDS else _COMMANDS)
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
    code = main()
    gc.freeze()  # nor does the end of the process look for them
    sys.exit(code)
