"""``reconciler emulator serve``: the embedded workspace over real HTTP."""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from reconciler.cli import options as opt
from reconciler.cli.output import answer, tell
from reconciler.errors import UsageError

app = typer.Typer(
    help="The embedded workspace over HTTP, for other clients.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def _group() -> None:
    """A group, though it has one command today."""


@app.command()
def serve(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 8787,
    db: Annotated[
        str, typer.Option(metavar="FILE", help="SQLite file of the workspace, or :memory:.")
    ] = ".reconciler/local.db",
    latency: Annotated[str, typer.Option(metavar="DURATION", help="Added to every answer: 40ms.")] = "0ms",
    provisioning: Annotated[
        str, typer.Option(metavar="DURATION", help="How long an endpoint takes to come up: 2s.")
    ] = "2s",
    write_limit: Annotated[
        str | None,
        typer.Option(
            metavar="CALLS/TIME", help="Create/update calls in a period, as the real API has: 50/5m."
        ),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC", help="A fault to have, any number of times: 500@PUT config#2.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the faults that come by chance; left out: another one each time.")
    ] = None,
) -> int:
    """Serve an emulated workspace on 127.0.0.1 until stopped. Any token is accepted, also OAuth.

    Point any client at it: DATABRICKS_HOST=http://127.0.0.1:PORT DATABRICKS_TOKEN=x

    With --fault it misbehaves as told, to see what a client makes of it. SPEC is
    FAULT[=VALUE][:OPTION][@WHERE][#N][*COUNT][%CHANCE]. WHERE: [METHOD ]ROUTE[[ENDPOINT]], a METHOD alone,
    read, write or *. #N: the Nth such request only. *COUNT: so many times. %CHANCE: each with that chance.

    Faults: reset-before, reset-after, reset-during, refuse=SECONDS, timeout=SECONDS, any status from 400 on
    (429:retry-after=2, 429:retry-after=date+2), truncated, not-json, html=STATUS, redirect=URL,
    clock-skew=SECONDS, stale-read=SECONDS, deleted, recreated, update-failed, never-ready. With :acted the
    request is carried out all the same. docs/faults.md says more.

    Examples: --fault reset-after@create*1, --fault 429:retry-after=1@write%0.2, --fault "500@PUT config#2"
    """
    import random

    from reconciler.emulator.faults import parse_fault
    from reconciler.emulator.local import open_folder, parse_write_limit

    faults = list(fault or ())
    for spec in faults:
        parse_fault(spec)  # a wrong one is told before a port is taken
    chosen = random.SystemRandom().randrange(10**6) if seed is None else seed

    try:
        from reconciler.emulator.server import serve as run
    except ImportError as error:
        raise UsageError(
            "the emulator's server is not installed", why=str(error), fix="pip install 'reconciler[emulator]'"
        ) from error

    def ready(listening: int) -> None:
        url = f"http://127.0.0.1:{listening}"
        answer(f"listening on {url}")
        if faults:
            tell(f"faults: {', '.join(faults)} (--seed {chosen} repeats them)")
        tell(f"use it: DATABRICKS_HOST={url} DATABRICKS_TOKEN=x reconciler plan --target databricks")

    gc.enable()
    run(
        open_folder(db),
        port=port,
        latency=opt.parse_duration(latency, "--latency"),
        provisioning=opt.parse_duration(provisioning, "--provisioning"),
        write_limit=parse_write_limit(write_limit) if write_limit else None,
        faults=faults,
        seed=chosen,
        ready=ready,
    )
    return 0
