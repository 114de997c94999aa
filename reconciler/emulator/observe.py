"""What can be seen of a running endpoint: build logs, server logs, metrics, the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.emulator.record import Record, Rollout
from reconciler.emulator.wire import Refusal, Request, Response, answer

if TYPE_CHECKING:
    from reconciler.emulator.workspace import Workspace

__all__ = ["build_logs", "metrics", "openapi", "server_logs"]


def build_logs(workspace: Workspace, request: Request, name: str, model: str) -> Response:
    """GET …/served-models/{model}/build-logs: the newest attempt, with the reason when it failed."""
    entity, rollout = _served(workspace.record(name), model)
    what = entity.get("entity_name", "an external model")
    lines = [
        f"Building the container of '{model}' ({what}), configuration version {rollout.version}.",
        "Installing dependencies.",
    ]
    if model in rollout.failed:
        lines.append(f"ERROR: {rollout.failed[model]}")
    elif rollout.canceled or rollout.failed:
        lines.append("The update was stopped.")
    elif rollout.settles is None:
        lines.append("The container is ready.")
    return answer({"logs": "\n".join(lines) + "\n"})


def server_logs(workspace: Workspace, request: Request, name: str, model: str) -> Response:
    """GET …/served-models/{model}/logs."""
    record = workspace.record(name)
    _, rollout = _served(record, model)
    if rollout is not record.live:
        return answer({"logs": rollout.failed.get(model, "The server has not started.") + "\n"})
    served = workspace.store.counter(name, f"served:{model}")
    return answer({"logs": f"The server of '{model}' is listening.\n{served} requests were answered.\n"})


def metrics(workspace: Workspace, request: Request, name: str) -> Response:
    """GET …/{name}/metrics, in the OpenMetrics text format."""
    record = workspace.record(name)
    counters = workspace.store.counters(name)
    lines = ["# TYPE request_count_total counter"]
    for entity in record.live.config["served_entities"] if record.live else []:
        labels = f'{{endpoint_name="{name}",served_model_name="{_label(entity["name"])}"}}'
        lines.append(f"request_count_total{labels} {counters.get('served:' + entity['name'], 0)}")
    text = "\n".join([*lines, "# EOF"]) + "\n"
    return Response(200, {"content-type": "text/plain; version=0.0.4; charset=utf-8"}, text.encode())


def openapi(workspace: Workspace, request: Request, name: str) -> Response:
    """GET …/{name}/openapi: one path for each served entity."""
    record = workspace.record(name)
    if record.live is None:
        raise Refusal(400, "BAD_REQUEST", f"Endpoint '{name}' serves nothing yet.")
    paths = {
        f"/served-models/{entity['name']}/invocations": {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
                "responses": {"200": {"description": "Successful operation"}},
            }
        }
        for entity in record.live.config["served_entities"]
    }
    return answer(
        {
            "openapi": "3.1.0",
            "info": {"title": name, "version": str(record.live.version)},
            "servers": [{"url": f"{request.base_url}/serving-endpoints/{name}"}],
            "paths": paths,
        }
    )


def _served(record: Record, model: str) -> tuple[dict[str, Any], Rollout]:
    """The newest rollout that holds this entity."""
    rollouts = [rollout for rollout in (record.pending, record.live) if rollout is not None]
    for rollout in rollouts:
        for entity in rollout.config["served_entities"]:
            if entity["name"] == model:
                return entity, rollout
    raise Refusal.absent(f"Served model '{model}' does not exist on endpoint '{record.name}'.")


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
