"""The calls on serving endpoints, one function each, in the order of the reference's table of routes.

Choices where the API's words leave room: a section that a create call does not take is refused, not dropped;
fields newer than our schema are stored and echoed; a config PUT replaces the config, so what it leaves out is
gone.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.emulator import configs, echo, states
from reconciler.emulator.check import check, check_excludes, check_name, check_sections, without_nulls
from reconciler.emulator.fill import completed, kept, without_secrets
from reconciler.emulator.record import Record
from reconciler.emulator.wire import Refusal, Request, Response, answer, json_body
from reconciler.schema import Field, spec_fields

if TYPE_CHECKING:
    from reconciler.emulator.workspace import Workspace

__all__ = [
    "MAX_ENDPOINTS",
    "create_endpoint",
    "create_throughput_endpoint",
    "delete_endpoint",
    "get_endpoint",
    "list_endpoints",
    "patch_notifications",
    "patch_tags",
    "patch_telemetry",
    "put_ai_gateway",
    "put_config",
    "put_rate_limits",
    "put_throughput_config",
]

MAX_ENDPOINTS: Final = 1000


def list_endpoints(workspace: Workspace, request: Request) -> Response:
    """GET /api/2.0/serving-endpoints."""
    return answer(workspace.summaries())


def get_endpoint(workspace: Workspace, request: Request, name: str) -> Response:
    """GET /api/2.0/serving-endpoints/{name}."""
    return answer(workspace.detailed(name, request.base_url))


def create_endpoint(workspace: Workspace, request: Request) -> Response:
    """POST /api/2.0/serving-endpoints."""
    return _create(workspace, request, "standard")


def create_throughput_endpoint(workspace: Workspace, request: Request) -> Response:
    """POST /api/2.0/serving-endpoints/pt."""
    return _create(workspace, request, "pt")


def _create(workspace: Workspace, request: Request, call: str) -> Response:
    spec = spec_fields("Endpoint")
    body = without_nulls(json_body(request))
    check_name(body.get("name"))
    check_sections(spec, body, call)
    now = workspace.clock()
    record = Record(
        name=body["name"],
        id=uuid.uuid4().hex,
        creator=workspace.user,
        created=int(now * 1000),
        updated=int(now * 1000) - 1,
        grants=[("user_name", workspace.user, "CAN_MANAGE")],
    )
    config = body.pop("config", None)
    for section, value in body.items():
        if section not in spec.properties or not spec.properties[section].computed:
            _set_section(record, spec, section, value)
    record.sections = completed(spec, record.sections, record.whole())
    if config is not None:
        config = configs.prepared(record, config, throughput=call == "pt")
    check_excludes(spec, {**record.whole(), "config": config})
    if config is None:
        record.touch(now)
    else:
        states.begin(record, config, now, workspace.provisioning)
    with workspace.store.changing():
        if workspace.store.stamp(record.name) is not None:
            raise Refusal(
                409, "RESOURCE_ALREADY_EXISTS", f"Endpoint with name '{record.name}' already exists."
            )
        if workspace.store.count() >= MAX_ENDPOINTS:
            raise Refusal(
                400, "RESOURCE_LIMIT_EXCEEDED", f"The workspace has {MAX_ENDPOINTS} endpoints already."
            )
        workspace.save(record)
    return _detailed(record, request)


def put_config(workspace: Workspace, request: Request, name: str) -> Response:
    """PUT /api/2.0/serving-endpoints/{name}/config."""
    return _put_config(workspace, request, name, without_nulls(json_body(request)), throughput=False)


def put_throughput_config(workspace: Workspace, request: Request, name: str) -> Response:
    """PUT /api/2.0/serving-endpoints/pt/{name}/config."""
    config = without_nulls(json_body(request)).get("config", {})
    return _put_config(workspace, request, name, config, throughput=True)


def _put_config(
    workspace: Workspace, request: Request, name: str, body: Mapping[str, Any], *, throughput: bool
) -> Response:
    spec = spec_fields("Endpoint")
    check(spec.properties["config"], body, "config")
    with workspace.changing(name) as record:
        config = configs.prepared(record, body, throughput=throughput)
        check_excludes(spec, {**record.whole(), "config": config})
        states.begin(record, config, workspace.clock(), workspace.provisioning)
    return _detailed(record, request)


def patch_tags(workspace: Workspace, request: Request, name: str) -> Response:
    """PATCH /api/2.0/serving-endpoints/{name}/tags: adds, then deletes; a key that is not there is no
    fault.
    """
    body = without_nulls(json_body(request))
    field = spec_fields("Endpoint").properties["tags"]
    added, deleted = body.get("add_tags", []), body.get("delete_tags", [])
    check(field, added, "add_tags")
    kept(field, added, [], "add_tags")
    if not isinstance(deleted, list) or not all(isinstance(key, str) for key in deleted):
        raise Refusal.invalid("Field 'delete_tags' must be a list of keys.")
    with workspace.changing(name) as record:
        tags = {tag["key"]: tag for tag in [*record.sections.get("tags", []), *added]}
        for key in deleted:
            tags.pop(key, None)
        _set_section(record, spec_fields("Endpoint"), "tags", list(tags.values()))
    return answer({"tags": echo.section(field, record.sections.get("tags", []), record)})


def put_rate_limits(workspace: Workspace, request: Request, name: str) -> Response:
    """PUT /api/2.0/serving-endpoints/{name}/rate-limits (legacy): the only answer that shows them."""
    return _replace(workspace, request, name, "rate_limits")


def put_ai_gateway(workspace: Workspace, request: Request, name: str) -> Response:
    """PUT /api/2.0/serving-endpoints/{name}/ai-gateway: replaces the whole; an empty body clears it."""
    field = spec_fields("Endpoint").properties["ai_gateway"]
    body = without_nulls(json_body(request))
    check(field, body, "ai_gateway")
    with workspace.changing(name) as record:
        before = record.sections.get("ai_gateway", {}).get("inference_table_config", {})
        _set_section(record, spec_fields("Endpoint"), "ai_gateway", body)
        after = record.sections.get("ai_gateway", {})
        _refuse_moved_table(before, after.get("inference_table_config", {}))
    return answer(echo.section(field, after, record))


def patch_notifications(workspace: Workspace, request: Request, name: str) -> Response:
    """PATCH /api/2.0/serving-endpoints/{name}/notifications: replaces both lists."""
    return _replace(workspace, request, name, "email_notifications", with_name=True)


def patch_telemetry(workspace: Workspace, request: Request, name: str) -> Response:
    """PATCH /api/2.0/serving-endpoints/{name}/telemetry-config: replaces it; omitted means removed."""
    spec = spec_fields("Endpoint")
    config = without_nulls(json_body(request)).get("telemetry_config", {})
    check(spec.properties["telemetry_config"], config, "telemetry_config")
    with workspace.changing(name) as record:
        if not record.entities or "external_model" in record.entities[0]:
            kind = "EXTERNAL_MODELS" if record.entities else "NO_CONFIG"
            raise Refusal.invalid(f"Telemetry configuration is not supported for endpoint type '{kind}'.")
        record.refuse_while_updating("changing its telemetry configuration")
        _set_section(record, spec, "telemetry_config", config)
        record.touch(workspace.clock())
    return _detailed(record, request)


def delete_endpoint(workspace: Workspace, request: Request, name: str) -> Response:
    """DELETE /api/2.0/serving-endpoints/{name}, whatever it is doing."""
    if not workspace.store.remove(name):
        raise Refusal.absent(f"Endpoint with name '{name}' does not exist.")
    return answer({})


def _replace(
    workspace: Workspace, request: Request, name: str, section: str, *, with_name: bool = False
) -> Response:
    spec = spec_fields("Endpoint")
    field = spec.properties[section]
    empty: Any = [] if "array" in field.types else {}
    value = without_nulls(json_body(request)).get(section, empty)
    check(field, value, section)
    with workspace.changing(name) as record:
        _set_section(record, spec, section, value)
    shown = echo.section(field, record.sections.get(section, empty), record)
    return answer({"name": name, section: shown} if with_name else {section: shown})


def _set_section(record: Record, spec: Field, section: str, value: Any) -> None:
    """Stores a checked section with its defaults; one that says nothing is the same as none."""
    secrets: list[str] = []
    field = spec.properties.get(section)
    if field is None:
        record.sections.update(without_secrets({section: value}, secrets, ""))
    else:
        stored = kept(field, _named_table(section, value), secrets, section)
        record.sections.pop(section, None)
        if secrets or not _says_nothing(stored):
            record.sections[section] = completed(field, stored, record.whole(), (section,))
    record.secrets = [path for path in record.secrets if path.split(".")[0] != section] + secrets


def _says_nothing(stored: Any) -> bool:
    values = stored.values() if isinstance(stored, dict) else [stored]
    return all(value == [] for value in values)


def _named_table(section: str, value: Any) -> Any:
    # The backend names the payload table after the logs table (databricks/cli, libs/testserver).
    if section == "telemetry_config" and "inference_table_config" in value:
        logs = value.get("table_names", {}).get("logs_table")
        if logs:
            return {
                **value,
                "inference_table_config": {"name": f"{logs}_payload", **value["inference_table_config"]},
            }
    return value


def _refuse_moved_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    # The SDK's words: to change catalog or schema, disable the inference table first.
    if not (before.get("enabled") and after.get("enabled")):
        return
    for place in ("catalog_name", "schema_name", "table_name_prefix"):
        if before.get(place) != after.get(place):
            raise Refusal.invalid(f"Disable the inference table before changing its '{place}'.")


def _detailed(record: Record, request: Request) -> Response:
    return answer(echo.detailed(record, request.base_url))
