"""What the queries of all clients share: how long they may take, and how a streamed answer is read."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import requests

from reconciler.client.answers import clean, joined
from reconciler.client.http import seconds_from_environment
from reconciler.errors import AnswerLost, BadAnswer, TransportError

__all__ = ["EVENT_STREAM", "SSE_FIELDS", "as_object", "parts", "query_times"]

EVENT_STREAM = {"Accept": "text/event-stream"}
# Fields beside ``data`` that a stream may hold (HTML standard, server-sent events).
SSE_FIELDS = frozenset({"event", "id", "retry"})


def query_times() -> dict[str, Any]:
    """Seconds for one try and for all of them, as the arguments of ``HttpSession.request``."""
    one = seconds_from_environment("MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT", 120.0)
    total = seconds_from_environment("MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT", 600.0)
    if total < one:
        warnings.warn(
            f"MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT ({total:g} s) is less than "
            f"MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT ({one:g} s): a query may fail that still had time",
            UserWarning,
            stacklevel=3,
        )
    return {"timeout": one, "total": total}


def as_object(method: str, path: str, answer: Any, is_safe: bool = False) -> dict[str, Any]:
    """``answer`` when it is a JSON object; ``is_safe``: nothing was changed by asking. Raises otherwise."""
    if isinstance(answer, dict):
        return answer
    what = f"the answer is a JSON {type(answer).__name__} where the API promises an object"
    # A write with such an answer may well have been carried out.
    kind: type[TransportError] = BadAnswer if is_safe else AnswerLost
    raise joined(kind, requests.RequestException)(what, method=method, path=path)


def parts(
    lines: Iterable[str],
    path: str,
    *,
    patience: float,
    skipped: Collection[str] = (),
    has_errors: bool = False,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Any]:
    """The values of ``data: <JSON>`` lines, until ``[DONE]`` or the end.

    ``patience``: seconds that keep-alive lines may fill without a part between them. ``skipped``: fields
    that are passed over; any other line raises BadAnswer that names it. ``has_errors``: a part with the key
    ``error`` is the server's way to say that it failed (the AI Gateway of mlflow, OpenAI): raises BadAnswer.
    """
    heard = now()
    for line in lines:
        key, colon, value = line.partition(":")
        key = key.strip()
        if not key or (key in skipped and colon):  # a blank line, a comment, a field without meaning here
            if now() - heard > patience:
                raise joined(AnswerLost, requests.ReadTimeout)(
                    f"no part of the answer within {patience:g} s, only keep-alive lines",
                    method="POST",
                    path=path,
                    fix="raise MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT if the model needs longer",
                )
            continue
        if key != "data" or not colon:
            raise _bad(path, f"unknown line in the stream: {clean(line, 200)!r}", "expected 'data: <value>'")
        if value.strip() == "[DONE]":
            return
        try:
            part = json.loads(value)
        except (ValueError, RecursionError):
            what = f"unknown line in the stream: {clean(line, 200)!r}"
            raise _bad(path, what, "its value is not JSON") from None
        if has_errors and isinstance(part, dict) and part.get("error"):
            error = part["error"]
            said = error.get("message") if isinstance(error, dict) else error
            raise _bad(path, "the server gave up in the middle of its answer", clean(str(said), 500))
        yield part
        heard = now()


def _bad(path: str, what: str, why: str) -> BadAnswer:
    return joined(BadAnswer, requests.RequestException)(what, method="POST", path=path, why=why)
