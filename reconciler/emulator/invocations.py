"""Queries: a made-up but well-formed answer by whichever served entity is due, under the AI gateway's
limits.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.emulator.record import Record
from reconciler.emulator.wire import Refusal, Request, Response, answer, dumps, json_body

if TYPE_CHECKING:
    from reconciler.emulator.workspace import Workspace

__all__ = ["invoke", "shares"]

_MINUTE: Final = 60
_TURNS: Final = 100  # percentages are whole numbers
_TABULAR: Final = ("dataframe_split", "dataframe_records", "inputs", "instances")
_FIELD_OF_TASK: Final = {
    "llm/v1/chat": ("messages",),
    "llm/v1/completions": ("prompt",),
    "llm/v1/embeddings": ("input",),
}
_GROUPS: Final = ("admins", "users")  # of the one user, as the SCIM route says


def invoke(workspace: Workspace, request: Request, name: str) -> Response:
    """POST /serving-endpoints/{name}/invocations."""
    record = workspace.record(name)
    body = json_body(request)
    if record.live is None:
        raise Refusal(400, "BAD_REQUEST", f"Endpoint '{name}' is not ready to be queried.")
    entities = record.live.config["served_entities"]
    asked = _asked(entities[0], body)
    prompt_tokens = _words(body[asked])
    with workspace.store.changing():
        _count_against_limits(workspace, record, prompt_tokens + _answer_tokens(asked))
        turn = workspace.store.add(name, "turn")
        entity = shares(record.live.config)[turn % _TURNS]
        workspace.store.add(name, f"served:{entity}")
    headers = {"served-model-name": entity}
    if asked in _TABULAR:
        return answer({"predictions": _predictions(asked, body[asked])}, headers=headers)
    head = {"id": f"local-{turn}", "created": int(workspace.clock()), "model": entity}
    usage = _usage(prompt_tokens, _answer_tokens(asked))
    if body.get("stream") is True and asked in ("messages", "prompt"):
        events = {"content-type": "text/event-stream", "cache-control": "no-cache"}
        return Response(200, {**events, **headers}, _events(asked, head, usage))
    return answer(_whole(asked, body[asked], head, usage), headers=headers)


def shares(config: Mapping[str, Any]) -> list[str]:
    """The entity of each of a hundred turns: any hundred requests in a row are split exactly as the routes
    say.

    Smooth weighted round robin: whoever is furthest behind its share is next.
    """
    weights = {
        route["served_entity_name"]: route["traffic_percentage"]
        for route in config["traffic_config"]["routes"]
    }
    behind = dict.fromkeys(weights, 0)
    turns = []
    for _ in range(_TURNS):
        for entity, weight in weights.items():
            behind[entity] += weight
        chosen = max(behind, key=lambda entity: behind[entity])
        behind[chosen] -= _TURNS
        turns.append(chosen)
    return turns


def _asked(entity: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """Which field holds the query: one that the endpoint's task takes."""
    task = entity.get("external_model", {}).get("task", "")
    wanted = _FIELD_OF_TASK.get(task, ("messages", "prompt", "input", *_TABULAR))
    for field in wanted:
        if body.get(field) is not None:
            return field
    raise Refusal(400, "BAD_REQUEST", f"The request must hold one of {', '.join(wanted)}.")


# limits ----------------------------------------------------------------------------------------------


def _count_against_limits(workspace: Workspace, record: Record, tokens: int) -> None:
    """Refuses when a limit is used up. A call that is refused is not counted against any."""
    now = workspace.clock()
    window = math.floor(now / _MINUTE) * _MINUTE
    counted = []
    gateway = record.sections.get("ai_gateway", {}).get("rate_limits", [])
    for limit in [*gateway, *record.sections.get("rate_limits", [])]:
        if not _concerns(limit, workspace.user):
            continue
        for unit, amount in (("calls", 1), ("tokens", tokens)):
            if unit not in limit:
                continue
            if limit[unit] == 0:
                # terraform-provider-databricks#5362: zero switches the endpoint off
                raise Refusal(
                    403, "PERMISSION_DENIED", "The endpoint is disabled due to a rate limit set to 0."
                )
            key = f"limit:{unit}:{limit['key']}:{limit.get('principal', '')}"
            if workspace.store.counter(record.name, key, since=window) >= limit[unit]:
                raise Refusal(
                    429,
                    "REQUEST_LIMIT_EXCEEDED",
                    f"The {limit['key']} limit of {limit[unit]} {unit} a minute is exceeded.",
                    headers={"retry-after": str(max(1, math.ceil(window + _MINUTE - now)))},
                )
            counted.append((key, amount))
    for key, amount in dict(counted).items():
        workspace.store.add(record.name, key, amount, since=window)


def _concerns(limit: Mapping[str, Any], user: str) -> bool:
    principal = limit.get("principal")
    match limit["key"]:
        case "endpoint":
            return True
        case "user":
            return principal in (None, user)
        case "user_group":
            return principal in _GROUPS
        case _:
            return False  # the caller is a user, no service principal


# answers ---------------------------------------------------------------------------------------------

_WORDS: Final = ("This", " is", " an", " answer", " of", " the", " local", " workspace", ".")


def _whole(asked: str, query: Any, head: Mapping[str, Any], usage: Mapping[str, int]) -> dict[str, Any]:
    if asked == "input":
        items = query if isinstance(query, list) else [query]
        vectors = [
            {"object": "embedding", "index": index, "embedding": _vector(item)}
            for index, item in enumerate(items)
        ]
        return {"object": "list", "model": head["model"], "data": vectors, "usage": usage}
    text = "".join(_WORDS)
    choice = (
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        if asked == "messages"
        else {"index": 0, "finish_reason": "stop", "text": text}
    )
    kind = "chat.completion" if asked == "messages" else "text_completion"
    return {**head, "object": kind, "choices": [choice], "usage": usage}


def _events(asked: str, head: Mapping[str, Any], usage: Mapping[str, int]) -> Iterator[bytes]:
    kind = "chat.completion.chunk" if asked == "messages" else "text_completion"
    for position, word in enumerate(_WORDS):
        is_last = position == len(_WORDS) - 1
        said: dict[str, Any] = (
            {"delta": {"role": "assistant", "content": word}} if asked == "messages" else {"text": word}
        )
        choice = {"index": 0, **said, "finish_reason": "stop" if is_last else None}
        chunk: dict[str, Any] = {**head, "object": kind, "choices": [choice]}
        if is_last:
            chunk["usage"] = usage
        yield b"data: " + dumps(chunk) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _answer_tokens(asked: str) -> int:
    return len(_WORDS) if asked in ("messages", "prompt") else 0


def _words(query: Any) -> int:
    if isinstance(query, str):
        return len(query.split())
    if isinstance(query, list):
        return sum(_words(item) for item in query)
    if isinstance(query, dict):
        return _words(query.get("content", ""))
    return 0


def _predictions(asked: str, query: Any) -> list[float]:
    """One number a row."""
    if asked == "dataframe_split":
        rows = query.get("data") if isinstance(query, dict) else None
        if not isinstance(rows, list):
            raise Refusal(400, "BAD_REQUEST", "dataframe_split must hold a list 'data'.")
    elif asked == "inputs" and isinstance(query, dict):
        columns = [column for column in query.values() if isinstance(column, list)]
        rows = list(zip(*columns, strict=False)) if columns else [query]
    elif isinstance(query, list):
        rows = query
    elif asked == "inputs":
        rows = [query]
    else:
        raise Refusal(400, "BAD_REQUEST", f"{asked} must be a list.")
    return [_number(row) for row in rows]


def _vector(item: Any) -> list[float]:
    return [_number([item, dimension]) for dimension in range(8)]


def _number(value: Any) -> float:
    return round(zlib.crc32(json.dumps(value, sort_keys=True).encode()) / 2**32, 6)
