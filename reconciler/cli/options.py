"""Options that several commands share."""

from __future__ import annotations

import enum
import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.scope import (
    AllEnvironments,
    ChangedSince,
    Environments,
    Exclude,
    Scope,
    Select,
    each_environment,
    said,
)
from reconciler.errors import UsageError
from reconciler.values import Address

if TYPE_CHECKING:
    pass

__all__ = [
    "Adopt",
    "AllEnvironments",
    "AllowCommands",
    "ChangedSince",
    "CheckModels",
    "ConfigPath",
    "DetailedExitcode",
    "Environments",
    "Exclude",
    "Format",
    "Output",
    "Paths",
    "ProjectFile",
    "Prune",
    "Rendered",
    "Resend",
    "Scope",
    "Select",
    "Since",
    "Stack",
    "Target",
    "Verbose",
    "each_environment",
    "parse_duration",
    "parse_resend",
    "taken_at",
]


class Format(enum.StrEnum):
    """Output formats."""

    TEXT = "text"
    JSON = "json"


class Rendered(enum.StrEnum):
    """Output formats of manifests."""

    YAML = "yaml"
    JSON = "json"


Paths = Annotated[
    list[str] | None,
    typer.Argument(
        help="Manifest files and folders, - for stdin. Left out: reconciler.yaml's, else manifests/.",
        show_default=False,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="TARGET",
        help="Where to: databricks, databricks://PROFILE, local, local:PATH, http://HOST:PORT … "
        "(reconciler targets). Left out: the environment's, else reconciler.yaml's, else "
        "$MLFLOW_DEPLOYMENTS_TARGET.",
        show_default=False,
        callback=said("--target", "the target is that of reconciler.yaml, then"),
    ),
]
ConfigPath = Annotated[
    str | None,
    typer.Option(
        "--config-path",
        metavar="FILE",
        help="The file that an http(s):// gateway serves: it is written, then. Left out: reconciler.yaml's, "
        "else $MLFLOW_GATEWAY_CONFIG.",
        show_default=False,
    ),
]
Stack = Annotated[
    str | None,
    typer.Option("--stack", metavar="NAME", help="Name of the stack, instead of reconciler.yaml's."),
]
ProjectFile = Annotated[
    str | None, typer.Option("--project", metavar="FILE", help="Project file. Left out: ./reconciler.yaml.")
]
Output = Annotated[Format, typer.Option("--output", "-o", help="Format of the answer on stdout.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also the bodies of the calls and every field left out.")
]
DetailedExitcode = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes (0: none).")
]
Resend = Annotated[
    list[str] | None,
    typer.Option(
        "--resend-secrets",
        metavar="[ADDRESS…]",
        help="Send write-only values again: of these addresses, or of all when none is named.",
        show_default=False,
    ),
]

Adopt = Annotated[
    bool,
    typer.Option("--adopt", help="Also take over what manifests name and no stack owns."),
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Also delete what the stack owns and no manifest names any more."),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="REV",
        help="Compare with the manifests at a git revision too: say of each change whether we made it "
        "(intended) or somebody in the workspace (drift), and delete what is declared no more.",
        show_default=False,
        callback=said("--since", "what is live is compared with the manifests alone, then"),
    ),
]
AllowCommands = Annotated[
    bool | None,
    typer.Option(
        "--allow-commands/--no-allow-commands",
        help="Run the programs of ${cmd:…} in manifests, or do not. Left out: as reconciler.yaml says, "
        "else not.",
        show_default=False,
    ),
]
CheckModels = Annotated[
    bool,
    typer.Option(
        "--check-models",
        help="Also check that OpenAI has the models that endpoints name (one request, $OPENAI_API_KEY).",
    ),
]


def parse_resend(values: list[str] | None, known: list[Address]) -> frozenset[Address] | bool:
    """What --resend-secrets means: True for all. Raises UsageError for an address no manifest names."""
    if not values:
        return False
    if "*" in values:
        return True
    wanted = frozenset(map(Address.parse, values))
    for address in sorted(wanted - set(known)):
        raise UsageError(
            f"--resend-secrets: no manifest names {address}", fix="write an address that the plan shows"
        )
    return wanted


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str, option: str) -> float:
    """Seconds of ``45m``, ``90s``, ``1h``, ``250ms`` or a plain number of seconds. Raises UsageError."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{option}: {text!r} is not a duration", fix="write it like 45m, 90s or 1h")
    return float(found[1]) * _SECONDS[found[2]]


def taken_at() -> str:
    """Now, RFC 3339, UTC."""
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def is_interactive() -> bool:
    """Somebody can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()
