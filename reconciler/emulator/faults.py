"""Faults that the emulator can be told to have, and the small language in which they are told.

``FAULT[=VALUE][:OPTION…][@WHERE][#N][*COUNT][%CHANCE]``, as ``500@PUT config#2`` or ``reset-after@create*1``.
How they are carried out stands in ``troubled.py``.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from reconciler.emulator.routes import ROUTES, Route
from reconciler.errors import UsageError

__all__ = ["FAULTS", "GRAMMAR", "Fault", "Sort", "Where", "parse_fault"]


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort of fault. ``value``: what stands after ``=`` ("" for nothing); ``default``: when it is left
    out, None when it may not be. ``options``: what may stand after ``:``. ``where``: the routes meant when
    the spec names none, "" for all.
    """

    says: str
    value: str = ""
    default: float | str | None = None
    options: tuple[str, ...] = ()
    where: tuple[str, ...] = ()


FAULTS: Final[dict[str, Sort]] = {
    "reset-before": Sort("the connection is reset, and nothing was done"),
    "reset-after": Sort("it is done, and the connection is reset before the answer"),
    "reset-during": Sort("it is done, and the connection is reset in the middle of the answer"),
    "refuse": Sort(
        "the connection is reset, nothing was done, and new connections are refused for that long"
        " (`:acted`: it is answered first)",
        "seconds",
        1.0,
        ("acted",),
    ),
    "timeout": Sort(
        "nothing comes for that long, then the connection is reset; nothing was done",
        "seconds",
        None,
        ("acted",),
    ),
    "STATUS": Sort(
        "any status from 400 to 599 with an error of the API; nothing was done."
        " `:retry-after=SECONDS`, or `=date` or `=date+SECONDS` for an HTTP date (of 1 s when left out)",
        options=("acted", "retry-after"),
    ),
    "truncated": Sort("it is done, and the JSON of the answer ends in the middle"),
    "not-json": Sort("it is done, and the answer is no JSON"),
    "html": Sort(
        "a proxy answers with a page, with that status; nothing was done", "status", 200.0, ("acted",)
    ),
    "redirect": Sort("307 to that URL; nothing was done", "url"),
    "clock-skew": Sort(
        "the server's clock, in `Date` and in dates of `Retry-After`, is so far ahead", "seconds"
    ),
    "stale-read": Sort("a read tells what was so long ago", "seconds", where=("list", "get", "permissions")),
    "deleted": Sort("somebody deletes the endpoint just before"),
    "recreated": Sort("somebody deletes the endpoint just before and makes the same again, with another id"),
    "update-failed": Sort(
        "it is taken up, and the update ends UPDATE_FAILED",
        where=("create", "create-pt", "config", "config-pt"),
    ),
    "never-ready": Sort(
        "it is taken up, and the update never ends", where=("create", "create-pt", "config", "config-pt")
    ),
}

GRAMMAR: Final = (
    "FAULT[=VALUE][:OPTION][@WHERE][#N][*COUNT][%CHANCE]; WHERE is [METHOD ]ROUTE[[ENDPOINT]], a METHOD "
    "alone, read, write or *; #N: the Nth such request only, *COUNT: so many times, %CHANCE: each with that "
    "chance"
)

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ROUTES: Final = tuple(dict.fromkeys(route.name for route in ROUTES))
_WORDS: Final = ("*", "read", "write", *_ROUTES)
_WHERE: Final = re.compile(
    rf"(?:(?P<method>{'|'.join(_METHODS)})(?:\ |(?=[#*%]|$)))?"
    r"(?P<route>\*(?!\d)|[a-z-]+)?(?:\[(?P<endpoint>[^\]]+)\])?"
    r"(?:\#(?P<nth>[1-9]\d{0,8}))?(?:\*(?P<count>[1-9]\d{0,8}))?(?:%(?P<chance>\d*\.?\d+))?"
)
_SECONDS: Final = re.compile(r"-?\d{1,9}(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Where:
    """Which requests are meant. ``routes``: their names, none for all; ``method``, ``endpoint``: "" for any.

    ``nth``: from that one on, counted from 1, among those that fit. ``count``: so many of them, None for all.
    ``chance``: 0 to 1.
    """

    routes: tuple[str, ...] = ()
    method: str = ""
    endpoint: str = ""
    nth: int = 1
    count: int | None = None
    chance: float = 1.0

    def fits(self, route: Route, endpoint: str) -> bool:
        """The request is one of those meant; counting and chance are for the caller."""
        if self.method not in ("", route.method) or self.endpoint not in ("", endpoint):
            return False
        if not self.routes or route.name in self.routes:
            return True
        return ("read" in self.routes and route.method == "GET") or (
            "write" in self.routes and route.method != "GET" and not route.public and route.name != "query"
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``name``: of :data:`FAULTS`; ``value``: seconds, a status or a URL; ``acted``: the request
    is carried out all the same. ``retry_after``: seconds, ``as_date``: told as a date.
    """

    spec: str
    name: str
    value: float | str = ""
    acted: bool = False
    retry_after: float | None = None
    as_date: bool = False
    where: Where = Where()

    @property
    def seconds(self) -> float:
        """The value as a number (of seconds, or a status)."""
        return float(self.value)


def parse_fault(spec: str) -> Fault:
    """The fault that a spec means. Raises UsageError that says what of it is not understood."""
    what, at, where = spec.strip().rpartition("@")
    if not at:
        what, where = spec.strip(), ""
    name, value, options = _taken_apart(spec, what)
    sort = FAULTS[name]
    for option in options:
        if option.partition("=")[0] not in sort.options:
            takes = " and ".join(f":{known}" for known in sort.options) or "no option"
            raise _unclear(spec, f"{name} takes {takes}, not {option!r}")
    retry_after, as_date = _retry_after(spec, options)
    return Fault(
        spec.strip(),
        name,
        _value(spec, name, value, sort),
        "acted" in options,
        retry_after,
        as_date,
        _where(spec, where, sort) if at else Where(sort.where),
    )


def _taken_apart(spec: str, what: str) -> tuple[str, str, list[str]]:
    if what.startswith("redirect="):  # a URL has colons of its own
        return "redirect", what.partition("=")[2], []
    head, *options = what.split(":")
    name, _, value = head.partition("=")
    if re.fullmatch(r"[45]\d\d", name) and not value:
        return "STATUS", name, options
    if name not in FAULTS or name == "STATUS":
        near = difflib.get_close_matches(name, FAULTS, 1)
        known = f"did you mean {near[0]}?" if near else f"known are {', '.join(FAULTS)}"
        raise _unclear(spec, f"there is no fault {name[:40]!r}; {known}")
    return name, value, options


def _value(spec: str, name: str, value: str, sort: Sort) -> float | str:
    if name == "STATUS":
        return float(value)
    if not value and sort.default is not None:
        return sort.default
    if bool(value) != bool(sort.value):
        raise _unclear(spec, f"write {name}={sort.value.upper()}" if sort.value else f"{name} takes no value")
    if sort.value == "url":
        if not _is_url(value):
            raise _unclear(spec, f"{value!r} is not an http or https URL")
        return value
    if not sort.value:
        return ""
    if not _SECONDS.fullmatch(value) or (value.startswith("-") and name != "clock-skew"):
        raise _unclear(spec, f"{value!r} is not a number of {sort.value}")
    if sort.value == "status" and not 200 <= float(value) <= 599:
        raise _unclear(spec, f"{value} is not a status")
    return float(value)


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _retry_after(spec: str, options: list[str]) -> tuple[float | None, bool]:
    for option in options:
        key, _, value = option.partition("=")
        if key != "retry-after":
            continue
        is_date = value.startswith("date")
        seconds = value.removeprefix("date").removeprefix("+") if is_date else value
        if is_date and not seconds:
            return 1.0, True
        if not _SECONDS.fullmatch(seconds) or seconds.startswith("-"):
            raise _unclear(spec, f"retry-after takes seconds, date or date+SECONDS, not {value!r}")
        return float(seconds), is_date
    return None, False


def _where(spec: str, where: str, sort: Sort) -> Where:
    found = _WHERE.fullmatch(where)
    if found is None or not where:
        raise _unclear(spec, f"{where!r} does not say where")
    route = found["route"] or ""
    if route and route not in _WORDS:
        near = difflib.get_close_matches(route, _WORDS, 1)
        known = f"did you mean {near[0]}?" if near else f"known are {', '.join(_WORDS)}"
        raise _unclear(spec, f"there is no route {route!r}; {known}")
    if route in _ROUTES and sort.where and route not in sort.where:
        raise _unclear(spec, f"it is a fault of {', '.join(sort.where)} only")
    chance = float(found["chance"] or 1)
    if chance > 1:
        raise _unclear(spec, f"a chance is at most 1, not {found['chance']}")
    count = int(found["count"]) if found["count"] else 1 if found["nth"] else None
    routes = sort.where if route in ("", "*") else (route,)
    nth = int(found["nth"] or 1)
    return Where(routes, found["method"] or "", found["endpoint"] or "", nth, count, chance)


def _unclear(spec: str, why: str) -> UsageError:
    return UsageError(f"--fault {spec!r} is not understood", why=why, fix=f"write {GRAMMAR}")
