"""What a probe expects of an answer: an expression in CEL, read before anything is sent. Pure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

from reconciler.engine import cel
from reconciler.errors import ManifestError, Problem
from reconciler.manifest.probes import Probe
from reconciler.manifest.suggest import did_you_mean

__all__ = ["checked", "unmet"]

_KNOWN: Final = ("answer", "text", "seconds", "address", "environment")


def checked(probes: Sequence[Probe]) -> None:
    """Raises ManifestError with the expectations that cannot be read, or name what is not there."""
    problems = []
    for probe in probes:
        if not probe.expect:
            continue
        try:
            for chain in _read(probe.expect).chains:
                if chain.parts[0] not in _KNOWN:
                    fix = did_you_mean(chain.parts[0], _KNOWN) or f"known: {', '.join(_KNOWN)}"
                    raise cel.CelError(f"there is no {chain.parts[0]} here; {fix}", chain.line, chain.column)
        except cel.CelError as error:
            place = probe.place or probe.source
            what = f"expect of the probe {probe.name}: {error.what}{cel.marked(probe.expect, error)}"
            problems.append(Problem(place.file, place.line, place.column, "", what, "", "probe"))
    if problems:
        raise ManifestError(problems)


_read = functools.cache(cel.parse)


def unmet(probe: Probe, answer: Any, text: str, seconds: float, address: str, environment: str) -> str:
    """Why an answer is not what the probe expects; "" when it is. ``answer``: JSON."""
    if not probe.expect:
        return ""
    known = {"answer": answer, "text": text, "seconds": float(seconds), "address": address}
    variables = {name: cel.to_cel(value) for name, value in {**known, "environment": environment}.items()}
    try:
        value = cel.evaluate(_read(probe.expect), variables, cel.Budget())
    except cel.CelError as error:
        return f"the expectation cannot be evaluated: {error.what}"
    if not cel.is_truth(value):
        return f"the expectation gives {cel.shown(value)[:40]!r}, and true or false is needed"
    return "" if value else f"it is not as expected: {probe.expect}"
