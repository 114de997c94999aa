"""Do the models that endpoints stand before exist? Desired resources and known names in, problems out."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from reconciler.errors import Problem
from reconciler.schema import spec_fields
from reconciler.shape import canonical, canonical_sources
from reconciler.values import Resource

__all__ = ["missing_models", "names_a_model"]

_PROVIDER = "openai"


def names_a_model(desired: Sequence[Resource]) -> bool:
    """Some endpoint stands before a model that OpenAI's list can tell of."""
    return any(True for resource in desired for _ in _models(resource))


def missing_models(desired: Sequence[Resource], known: Collection[str]) -> list[Problem]:
    """A problem for each external model of OpenAI that is not among ``known``, at its line."""
    problems = []
    for resource in desired:
        places = canonical_sources(_fields(), dict(resource.spec), resource.positions)
        for at, name in _models(resource):
            if name in known:
                continue
            path: tuple[str | int, ...] = ("config", "served_entities", at, "external_model", "name")
            found = [places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in places]
            place = (found or [resource.source])[0]
            near = difflib.get_close_matches(name, known, 1)
            problems.append(
                Problem(
                    place.file,
                    place.line,
                    place.column,
                    f"spec.config.served_entities[{at}].external_model.name",
                    f"OpenAI has no model {name!r} for this key",
                    f"did you mean {near[0]}?" if near else "",
                    "no-such-model",
                )
            )
    return problems


def _fields() -> Any:
    return spec_fields("Endpoint")


def _models(resource: Resource) -> Iterator[tuple[int, str]]:
    """Position and name of the models that OpenAI itself serves: not Azure's, not another server's."""
    if resource.address.kind != "Endpoint":
        return
    config = canonical(_fields(), {"config": resource.spec.get("config") or {}})["config"]
    for at, entity in enumerate(config.get("served_entities") or ()):
        external = entity.get("external_model") or {}
        settings = external.get("openai_config") or {}
        elsewhere = settings.get("openai_api_base") or settings.get("openai_api_type", _PROVIDER) != _PROVIDER
        if external.get("provider") == _PROVIDER and not elsewhere:
            yield at, str(external.get("name"))
