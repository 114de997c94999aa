"""Target strings: ``local:PATH?provisioning=2s&write_limit=50/5m&latency=40ms`` → a workspace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from reconciler.emulator.workspace import USER, Workspace, WriteLimit
from reconciler.errors import UsageError

__all__ = ["DEFAULT_PATH", "open_folder", "open_local", "parse_duration", "parse_write_limit", "path_of"]

DEFAULT_PATH: Final = ".reconciler/local.db"
_DEFAULT_PROVISIONING: Final = 1.0
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


def open_local(spec: str = "") -> Workspace:
    """The workspace that a target string names; missing folders are made.

    ``PATH`` defaults to ``.reconciler/local.db``; ``:memory:`` keeps nothing. Options: ``provisioning`` (1s),
    ``write_limit`` (none), ``latency`` (none), ``user``.
    """
    path, query = path_of(spec), spec.partition("?")[2]
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = {"provisioning", "write_limit", "latency", "user"}
    if unknown := sorted(set(options) - known):
        raise UsageError(
            f"unknown option {unknown[0]!r} of a local target",
            where=f"local:{path}",
            fix=f"known are {', '.join(sorted(known))}",
        )
    provisioning = options.get("provisioning")
    limit = options.get("write_limit")
    latency = options.get("latency")
    delay = parse_duration(provisioning) if provisioning is not None else _DEFAULT_PROVISIONING
    budget = parse_write_limit(limit) if limit is not None else None
    wait = parse_duration(latency) if latency is not None else 0.0
    user = options.get("user") or USER
    return Workspace(open_folder(path), provisioning=delay, write_limit=budget, latency=wait, user=user)


def path_of(spec: str) -> str:
    """The file that a target string names, or ``:memory:``."""
    return unquote(spec.removeprefix("local:").partition("?")[0]) or DEFAULT_PATH


def open_folder(path: str) -> str:
    """The same path, with its folder made when it is missing."""
    if path != ":memory:":
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                "the folder of the local workspace cannot be made", where=path, why=str(error)
            ) from error
    return path


def parse_duration(text: str) -> float:
    """Seconds of ``40ms``, ``2s``, ``5m``; a bare number counts seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)?", text.strip())
    if match is None:
        raise UsageError(f"not a duration: {text!r}", fix="write it as 40ms, 2s or 5m")
    return float(match[1]) * _UNITS[match[2] or "s"]


def parse_write_limit(text: str) -> WriteLimit:
    """``50/5m``: so many calls in so much time."""
    calls, slash, period = text.partition("/")
    if not slash or not calls.strip().isascii() or not calls.strip().isdigit() or int(calls) < 1:
        raise UsageError(f"not a write limit: {text!r}", fix="write it as 50/5m")
    seconds = parse_duration(period)
    if seconds <= 0:
        raise UsageError(f"not a write limit: {text!r}", fix="the period must be longer than nothing")
    return WriteLimit(int(calls), seconds)
