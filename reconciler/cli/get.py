"""``reconciler get``: what is live."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from reconciler.cli import completion, inputs
from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json, tell
from reconciler.cli.plain import plain
from reconciler.errors import NotFound, UsageError
from reconciler.values import Address


def get(
    address: Annotated[
        str | None,
        typer.Argument(
            help="Endpoint/NAME, Deployment/NAME, Model/NAME, GatewaySecret/NAME and the like, or the name "
            "alone. Left out: all of them.",
            show_default=False,
            autocompletion=completion.addresses,
        ),
    ] = None,
    target: opt.Target = None,
    environment: opt.Environments = None,
    project: opt.ProjectFile = None,
    output: opt.Output = opt.Format.TEXT,
) -> int:
    """Show what a target has, or one of it with every field that it answers, known here or not."""
    from reconciler.targets import connect, describe, family

    where = inputs.where(target, project, environment)
    with connect(where) as client:
        tell(f"target: {describe(where, client)}")
        if address is None and family(where) == "mlflow-gateway":
            _show_gateway(client, output)
            return 0
        if address is None:
            _show_all(_everything(client, where), output)
            return 0
        wanted = Address.parse(address) if "/" in address else Address(_default_kind(where), address)
        found = _one(client, wanted, where)
    if output is opt.Format.JSON:
        answer_json(found)
    else:
        answer(_yaml(found))
    return 0


def _yaml(found: dict[str, Any]) -> str:
    """As YAML; all beyond ASCII escaped when something of it is not to be seen, or turns text around."""
    import yaml

    from reconciler.redact import control

    text: str = yaml.safe_dump(found, sort_keys=False, allow_unicode=True)
    if control(text, keep="\n") == text:
        return text
    return str(yaml.safe_dump(found, sort_keys=False, allow_unicode=False))


def _default_kind(target: str) -> str:
    from reconciler.targets import family

    named = {"openai": "Model", "plugin": "Deployment", "mlflow-gateway": "GatewayEndpoint"}
    return named.get(family(target), "Endpoint")


def _one(client: Any, wanted: Address, target: str) -> dict[str, Any]:
    from reconciler.targets import family

    try:
        if family(target) == "mlflow-gateway":
            from reconciler.cli import gateway

            return gateway.shown(gateway.one(client, wanted))
        if wanted.kind == "Deployment":
            return _safe(_raw(client.get_deployment(wanted.name)), wanted.kind)
        if wanted.kind in ("Endpoint", "Model"):
            return _safe(_raw(client.get_endpoint(wanted.name)), wanted.kind)
    except NotFound as error:
        error.fix = "reconciler get lists what there is"
        raise
    raise UsageError(
        f"{wanted}: there is no kind {wanted.kind}", fix=f"Endpoint/{wanted.name}, for an endpoint"
    )


def _show_gateway(client: Any, output: opt.Format) -> None:
    from reconciler.cli import gateway
    from reconciler.report.gateway_tables import gateway_tables

    lives = gateway.everything(client)
    if output is opt.Format.JSON:
        answer_json([{"address": str(live.address), **gateway.shown(live)} for live in lives])
    else:
        answer(gateway_tables(lives) or "nothing there")


def _raw(found: Any) -> dict[str, Any]:
    """An answer as a dict: some clients give dicts, mlflow's gateways objects with dict()."""
    return dict(plain(found))


def _everything(client: Any, target: str) -> list[tuple[Address, dict[str, Any]]]:
    kind = _default_kind(target)
    if kind == "Deployment":
        from reconciler.engine.readers import list_names

        lists = {kind: list_names(client, kind, ())}
        if endpoints := client.endpoints():
            lists["Endpoint"] = {str(item.get("name")): item for item in endpoints}
    else:
        items = client.list_endpoints()
        items = items.get("data") or () if isinstance(items, dict) else items
        lists = {kind: {str(item.get("name") or item.get("id")): item for item in map(_raw, items)}}
    found = [(Address(k, name), _safe(_raw(item), k)) for k in lists for name, item in lists[k].items()]
    return sorted(found, key=lambda pair: pair[0])


def _safe(raw: dict[str, Any], kind_name: str) -> dict[str, Any]:
    """The answer with what may hold a secret masked; unknown fields are kept."""
    from reconciler.kinds import kind
    from reconciler.shape import masked

    fields = kind(kind_name).fields
    shown: dict[str, Any] = masked(fields, raw)
    if "pending_config" in raw:
        shown["pending_config"] = masked(fields.properties["config"], raw["pending_config"])
    return shown


def _show_all(found: list[tuple[Address, dict[str, Any]]], output: opt.Format) -> None:
    if output is opt.Format.JSON:
        is_mixed = len({address.kind for address, _ in found}) > 1
        answer_json([{"address": str(address), **raw} if is_mixed else raw for address, raw in found])
        return
    rows = [("NAME", "STATE", "TASK", "CREATOR")]
    for address, raw in found:
        state = raw.get("state")
        state = state if isinstance(state, dict) else {"ready": state} if state else {}
        shown = str(state.get("ready", "-"))
        if state.get("config_update") not in (None, "NOT_UPDATING"):
            shown += f" ({state['config_update']})"
        task = raw.get("task") or raw.get("endpoint_type") or "-"
        rows.append((str(address), shown, str(task), str(raw.get("creator") or raw.get("owned_by") or "-")))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    from reconciler.redact import control

    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    answer("\n".join(control(line) for line in lines) if found else "nothing there")
