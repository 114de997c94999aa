"""``reconciler get``: what is live."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json, tell
from reconciler.errors import NotFound, UsageError
from reconciler.values import Address


def get(
    address: Annotated[
        str | None,
        typer.Argument(help="Endpoint/NAME, or the name alone. Left out: all endpoints.", show_default=False),
    ] = None,
    target: opt.Target = None,
    project: opt.ProjectFile = None,
    output: opt.Output = opt.Format.TEXT,
) -> int:
    """Show the endpoints of a target, or one of them with every field the API answers, known here or not."""
    from reconciler.targets import connect, describe

    where = opt.find_target(target, opt.project_of(project))
    with connect(where) as client:
        tell(f"target: {describe(where, client)}")
        if address is None:
            endpoints = sorted(client.list_endpoints(), key=lambda e: str(e.get("name")))
            _show_all([_safe(dict(endpoint)) for endpoint in endpoints], output)
            return 0
        name = _name(address)
        try:
            found = _safe(dict(client.get_endpoint(name)))
        except NotFound as error:
            error.fix = "reconciler get lists what there is"
            raise
    if output is opt.Format.JSON:
        answer_json(found)
    else:
        import yaml

        answer(yaml.safe_dump(found, sort_keys=False, allow_unicode=True))
    return 0


def _name(text: str) -> str:
    if "/" not in text:
        return text
    address = Address.parse(text)
    if address.kind != "Endpoint":
        raise UsageError(f"{address}: this target has no kind {address.kind}", fix=f"Endpoint/{address.name}")
    return address.name


def _safe(raw: dict[str, Any]) -> dict[str, Any]:
    """The answer with what may hold a secret masked; unknown fields are kept."""
    from reconciler.kinds import kind
    from reconciler.shape import masked

    fields = kind("Endpoint").fields
    shown: dict[str, Any] = masked(fields, raw)
    if "pending_config" in raw:
        shown["pending_config"] = masked(fields.properties["config"], raw["pending_config"])
    return shown


def _show_all(endpoints: list[dict[str, Any]], output: opt.Format) -> None:
    if output is opt.Format.JSON:
        answer_json(endpoints)
        return
    rows = [("NAME", "STATE", "TASK", "CREATOR")]
    for endpoint in endpoints:
        state = endpoint.get("state") or {}
        shown = str(state.get("ready", "?"))
        if state.get("config_update") not in (None, "NOT_UPDATING"):
            shown += f" ({state['config_update']})"
        rows.append(
            (
                f"Endpoint/{endpoint.get('name')}",
                shown,
                str(endpoint.get("task") or "-"),
                str(endpoint.get("creator") or "-"),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    from reconciler.redact import control

    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    answer("\n".join(control(line) for line in lines) if endpoints else "no endpoints")
