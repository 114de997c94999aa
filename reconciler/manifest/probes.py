"""Probes of a project and an environment: what is asked of a source before anything is promoted from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.errors import ManifestError, Problem, UsageError
from reconciler.manifest.environments import Environment
from reconciler.manifest.positions import Parts
from reconciler.manifest.project import Project
from reconciler.manifest.selection import Term, parse_term
from reconciler.values import Resource, Source

__all__ = ["ASKED", "Probe", "probes_of"]

ASKED = ("Endpoint", "Deployment", "GatewayEndpoint")
"""Kinds that answer requests."""
_UNITS: Mapping[str, float] = {"ms": 0.001, "s": 1, "m": 60}


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """One probe. ``sent``: the request, as JSON. ``expect``: an expression, "" when any answer will do, and
    ``place``, where it stands. ``timeout``: seconds. ``terms``: whom it is sent to, empty for everybody.
    """

    name: str
    sent: Mapping[str, Any]
    source: Source
    expect: str = ""
    place: Source | None = None
    timeout: float = 60
    terms: tuple[Term, ...] = ()

    def chosen(self, resources: Sequence[Resource]) -> list[Resource]:
        """Those of the resources that it is sent to."""
        asked = [resource for resource in resources if resource.address.kind in ASKED]
        return [one for one in asked if not self.terms or any(term(one) for term in self.terms)]


def probes_of(project: Project | None, environment: Environment | None) -> tuple[Probe, ...]:
    """The project's probes and the environment's. Raises ManifestError with all that is wrong with them."""
    if project is None or project.document is None:
        return ()
    document = project.document
    holders: list[Parts] = [("probes",)]
    if environment is not None:
        holders.append(("environments", environment.name, "probes"))
    problems: list[Problem] = []
    found: dict[str, Probe] = {}
    for holder in holders:
        value: Any = document.value
        for part in holder:
            value = (value or {}).get(part)
        for at, entry in enumerate(value or ()):
            path = (*holder, at)
            source = document.positions.nearest(path) or project.source
            if ("message" in entry) == ("json" in entry):
                what = "a probe sends either a message or json"
                problems.append(document.problem(path, what, "write one of the two", "probe"))
                continue
            if entry["name"] in found:
                what = f"there is a probe {entry['name']} already, at {found[entry['name']].source}"
                problems.append(document.problem((*path, "name"), what, "give it another name", "probe"))
                continue
            terms = []
            for number, text in enumerate(entry.get("select", ())):
                try:
                    terms.append(parse_term(text, "select"))
                except UsageError as error:
                    where = (*path, "select", number)
                    problems.append(document.problem(where, error.what, error.fix, "probe"))
            sent = entry.get("json") or {"messages": [{"role": "user", "content": entry.get("message")}]}
            found[entry["name"]] = Probe(
                entry["name"],
                sent,
                source,
                entry.get("expect", ""),
                document.positions.nearest((*path, "expect")) if "expect" in entry else None,
                _seconds(entry.get("timeout", "60s")),
                tuple(terms),
            )
    if problems:
        raise ManifestError(problems)
    return tuple(found.values())


def _seconds(text: str) -> float:
    unit = next(unit for unit in _UNITS if text.endswith(unit))
    return float(text.removesuffix(unit)) * _UNITS[unit]
