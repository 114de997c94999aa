"""``reconciler query``: send one request to what is live."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from reconciler.cli import completion, inputs
from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json, put, redacted, tell
from reconciler.cli.plain import plain
from reconciler.errors import UsageError
from reconciler.redact import control
from reconciler.values import Address

__all__ = ["framed", "query", "text_of"]


_QUERIED = ("Endpoint", "Deployment", "Model", "GatewayEndpoint")


def query(
    address: Annotated[
        str,
        typer.Argument(
            help="Endpoint/NAME, Deployment/NAME, Model/NAME, GatewayEndpoint/NAME or the name alone.",
            autocompletion=completion.addresses,
        ),
    ],
    message: Annotated[
        str | None,
        typer.Option(
            "--message", "-m", metavar="TEXT", help="One user message of a chat.", show_default=False
        ),
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="File with the whole request as JSON, - for stdin.",
            show_default=False,
        ),
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Show the answer while it is being made.")] = False,
    target: opt.Target = None,
    environment: opt.Environments = None,
    project: opt.ProjectFile = None,
    output: opt.Output = opt.Format.TEXT,
) -> int:
    """Ask an endpoint, and show the answer, how long it took and how many tokens it cost.

    The answer is on stdout, latency and tokens on stderr.
    """
    from reconciler.targets import connect, describe, family

    where = inputs.where(target, project, environment)
    is_plugin = family(where) == "plugin"
    sent = _inputs(message, json_file, takes_lists=is_plugin)
    if is_plugin:
        sent = framed(sent)
    usual = {"plugin": "Deployment", "mlflow-gateway": "GatewayEndpoint"}.get(family(where), "Endpoint")
    asked = Address.parse(address) if "/" in address or not address else Address(usual, address)
    subject = {"deployment_name" if asked.kind == "Deployment" else "endpoint": asked.name}
    if family(where) == "mlflow-gateway" and asked.kind != "GatewayEndpoint":
        raise UsageError(f"{asked} is not queried", fix="ask a GatewayEndpoint")
    if asked.kind not in _QUERIED:
        fix = f"write {usual}/{asked.name}, or {usual}/{address} when that is the name"
        raise UsageError(f"{asked.kind} is no kind that can be queried", fix=fix)
    with connect(where) as client:
        tell(f"target: {describe(where, client)}")
        began = time.perf_counter()
        if stream:
            _streamed(client.predict_stream(inputs=sent, **subject), output, began)
            return 0
        found = client.predict(inputs=sent, **subject)
        seconds = time.perf_counter() - began
    content = plain(found)
    text = text_of(content) if output is opt.Format.TEXT else None
    if text is None:
        answer_json(content)
    else:
        answer(control(text, keep="\n\t"))
    tell(f"latency: {_duration(seconds)}{_tokens(content)}")
    return 0


def _inputs(message: str | None, json_file: str | None, *, takes_lists: bool) -> Any:
    if (message is None) == (json_file is None):
        raise UsageError("say what to ask", fix="--message TEXT, or --json FILE with the whole request")
    if message is not None:
        return {"messages": [{"role": "user", "content": message}]}
    assert json_file is not None
    try:
        text = sys.stdin.read() if json_file == "-" else Path(json_file).read_text(encoding="utf-8-sig")
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"the request cannot be read: {error}", where=json_file) from error
    if not isinstance(content, dict) and not (takes_lists and isinstance(content, list)):
        raise UsageError("a request is a JSON object", where=json_file, fix='{"messages": [...]}, for a chat')
    return content


def framed(sent: Any) -> Any:
    """A plugin's client takes a DataFrame where mlflow's model servers take ``dataframe_split`` or
    ``dataframe_records`` (mlflow's docs, "inference request formats"); everything else goes as it is."""
    if not (isinstance(sent, dict) and len(sent) == 1):
        return sent
    [(form, content)] = sent.items()
    if form not in ("dataframe_split", "dataframe_records"):
        return sent
    try:
        frame = importlib.import_module("pandas").DataFrame
        return frame(**content) if form == "dataframe_split" else frame(content)
    except ImportError:
        return sent
    except (TypeError, ValueError) as error:
        raise UsageError(f"{form} is no table", why=str(error)) from error


def text_of(content: Any) -> str | None:
    """The words of a chat or a completion; None when the answer is of another sort."""
    choices = content.get("choices") if isinstance(content, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    first = choices[0]
    said = (first.get("message") or first.get("delta") or {}).get("content", first.get("text"))
    return said if isinstance(said, str) else None


def _streamed(chunks: Any, output: opt.Format, began: float) -> None:
    first: float | None = None
    last: Any = {}
    for chunk in chunks:
        if first is None:
            first = time.perf_counter() - began
        if isinstance(chunk, dict) and chunk.get("usage"):
            last = chunk
        text = text_of(chunk) if output is opt.Format.TEXT else None
        shown = (
            json.dumps(plain(chunk), ensure_ascii=False) + "\n"
            if text is None
            else control(text, keep="\n\t")
        )
        if text is not None or output is opt.Format.JSON:
            put(redacted(shown), is_document=output is opt.Format.JSON)
    put("\n" if output is opt.Format.TEXT else "")
    seconds = time.perf_counter() - began
    begin = f"first chunk {_duration(first)}, " if first is not None else ""
    tell(f"latency: {begin}{_duration(seconds)} in all{_tokens(last)}")


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def _tokens(content: Any) -> str:
    usage = content.get("usage") if isinstance(content, dict) else None
    if not isinstance(usage, dict):
        return ""
    parts = [
        f"{usage[key]} {word}"
        for key, word in (("prompt_tokens", "in"), ("completion_tokens", "out"), ("total_tokens", "in all"))
        if isinstance(usage.get(key), int)
    ]
    return f"; tokens: {', '.join(parts)}" if parts else ""
