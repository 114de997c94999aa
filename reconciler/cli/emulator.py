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
        str, typer.Option(help="SQLite file of the workspace, or :memory:.")
    ] = ".reconciler/local.db",
    latency: Annotated[str, typer.Option(help="Added to every answer: 40ms.")] = "0ms",
    provisioning: Annotated[str, typer.Option(help="How long an endpoint takes to come up: 2s.")] = "2s",
    write_limit: Annotated[
        str | None, typer.Option(help="Create/update calls in a period, as the real API has: 50/5m.")
    ] = None,
) -> int:
    """Serve an emulated workspace on 127.0.0.1 until stopped. Any token is accepted, also OAuth.

    Point any client at it: DATABRICKS_HOST=http://127.0.0.1:PORT DATABRICKS_TOKEN=x
    """
    from reconciler.emulator.local import open_folder, parse_write_limit

    try:
        from reconciler.emulator.server import serve as run
    except ImportError as error:
        raise UsageError(
            "the emulator's server is not installed", why=str(error), fix="pip install 'reconciler[emulator]'"
        ) from error

    def ready(listening: int) -> None:
        url = f"http://127.0.0.1:{listening}"
        answer(f"listening on {url}")
        tell(f"use it: DATABRICKS_HOST={url} DATABRICKS_TOKEN=x reconciler plan --target databricks")

    gc.enable()
    run(
        open_folder(db),
        port=port,
        latency=opt.parse_duration(latency, "--latency"),
        provisioning=opt.parse_duration(provisioning, "--provisioning"),
        write_limit=parse_write_limit(write_limit) if write_limit else None,
        ready=ready,
    )
    return 0
