"""Keeps the start quick: typer (0.29) imports pydantic, 0.1 s and more, to turn text into text.

Values that are what they should be already need no conversion; typer's own way is taken for all others, so
that its errors stay. Where typer's inside is not as known here, nothing is changed and only time is lost.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import typer.core

__all__ = ["convert_only_when_needed"]


class _AsItIs:
    """Stands in for typer's conversion of one parameter; ``build`` makes typer's own."""

    def __init__(self, build: Callable[[Any], Any], descriptor: Any) -> None:
        self._build = build
        self._descriptor = descriptor
        self._real: Any = None

    def coerce(self, value: Any, *, param: Any, ctx: Any) -> Any:
        """The value as the command wants it."""
        wanted = self._descriptor.annotation
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        if many:
            if wanted == list[str] and all(isinstance(item, str) for item in value):
                return list(value)
        elif isinstance(wanted, type):
            if type(value) is wanted:
                return value
            if issubclass(wanted, enum.StrEnum) and value in list(wanted):
                return wanted(value)
        if self._real is None:
            self._real = self._build(self._descriptor)
        return self._real.coerce(value, param=param, ctx=ctx)


def convert_only_when_needed() -> None:
    """From here on parameters are converted only when they must be."""
    build = getattr(typer.core, "build_runtime_param", None)
    if build is not None and not hasattr(build, "is_quick"):

        def quick(descriptor: Any) -> _AsItIs:
            return _AsItIs(build, descriptor)

        quick.is_quick = True  # type: ignore[attr-defined]
        setattr(typer.core, "build_runtime_param", quick)  # noqa: B010 - mypy would see a wrong type
