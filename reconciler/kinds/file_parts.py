"""Manifests of a gateway → the endpoints of its configuration file, each with its models and credentials
inside.

Whatever this gateway cannot do is a problem with its place: nothing is left out in silence. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler.errors import ManifestError, Problem
from reconciler.kinds.file_providers import PROVIDERS, is_default, why_not
from reconciler.values import Address, FieldPath, Resource, Secret, Source

__all__ = ["DIALECT", "KINDS", "in_file"]

DIALECT: Final = "file"
KINDS: Final = ("GatewaySecret", "GatewayModel", "GatewayEndpoint")

_CANNOT: Final = {
    "fallbacks": "this gateway has no fallbacks",
    "fallback_config": "this gateway has no fallbacks",
    "usage_tracking": "this gateway traces no requests",
    "experiment_id": "this gateway traces no requests",
    "tags": "this gateway keeps no tags",
    "guardrails": "this gateway has no guardrails",
}
_STRATEGY: Final = "REQUEST_BASED_TRAFFIC_SPLIT"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+\Z")
_SERVER: Final = "leave it out, or use the gateway of a tracking server (mlflow-gateway+http://…)"
_Path = tuple[str | int, ...]
_Places = dict[_Path, Source]


def in_file(resources: Sequence[Resource], *, stack: str, config_path: str) -> tuple[Resource, ...]:
    """The endpoints as the file holds them, in the shape ``ConfigFileEndpoint``: for each what it is called
    there.

    Raises ManifestError with everything that this gateway cannot do.
    """
    parts = {r.address: r for r in resources if r.address.kind in KINDS}
    made, problems = [], []
    for resource in parts.values():
        if resource.address.kind == "GatewayEndpoint":
            one, found = _endpoint(resource, parts)
            problems += found
            made.append(replace(one, stack=stack, kept_in=config_path))
        elif resource.address.kind == "GatewaySecret":
            problems += _secret_problems(resource)
    problems += _collisions(made)
    if problems:
        raise ManifestError(problems)
    return tuple(made)


def _problem(resource: Resource, path: _Path, what: str, fix: str, rule: str = "cannot-in-file") -> Problem:
    place = resource.source_of(path)
    shown = str(FieldPath(("spec", *path)))
    return Problem(place.file, place.line, place.column, shown, what, fix, rule)


# ---- endpoints ------------------------------------------------------------------------------------------


def _endpoint(resource: Resource, parts: Mapping[Address, Resource]) -> tuple[Resource, list[Problem]]:
    spec = resource.spec
    problems = [
        _problem(resource, (name,), why, _SERVER)
        for name, why in _CANNOT.items()
        if spec.get(name) not in (None, {}, [])
    ]
    problems += _unset(resource, spec, ())
    if problems and any(p.rule == "unset-variable" for p in problems):
        return resource, problems
    if spec.get("routing_strategy") not in (None, _STRATEGY):
        what = f"this gateway has one strategy, the traffic split, which is called {_STRATEGY} here"
        problems.append(_problem(resource, ("routing_strategy",), what, "leave it out"))
    if "endpoint_type" not in spec:
        what = "endpoint_type is missing: this gateway must know what is asked of an endpoint"
        fix = "add endpoint_type: llm/v1/chat, llm/v1/completions or llm/v1/embeddings"
        problems.append(_problem(resource, (), what, fix, "needed-in-file"))
    is_split = len(spec["models"]) > 1
    if is_split and spec.get("limit"):
        what = "this gateway limits endpoints with one model only: a split among several has no limit"
        problems.append(_problem(resource, ("limit",), what, "leave it out, or keep one model"))
    shares, found = _shares(resource)
    problems += found
    models, places = [], dict(resource.positions)
    for at, item in enumerate(spec["models"]):
        model, found = _model(resource, at, str(item["model"]), parts, places, is_split)
        problems += found
        models.append({"model": item["model"], "weight": shares[at], **model})
    shape: dict[str, Any] = {"endpoint_type": spec.get("endpoint_type"), "models": models}
    if "limit" in spec:
        shape["limit"] = spec["limit"]
    if is_split:
        shape |= {"limit": None, "routing_strategy": "TRAFFIC_SPLIT"}
    else:
        shape["routing_strategy"] = None
    address = replace(resource.address, dialect=DIALECT)
    return replace(resource, address=address, spec=shape, positions=places), problems


def _shares(resource: Resource) -> tuple[list[int], list[Problem]]:
    """The weights as whole percentages: the gateway takes no others, and they must sum to 100."""
    items = resource.spec["models"]
    from fractions import Fraction  # 6 ms, and only for files with weights

    weights = [Fraction(str(item.get("weight", 1))) for item in items]
    total = sum(weights) or Fraction(1)  # that one has a weight is checked with the manifest
    exact = [weight * 100 / total for weight in weights]
    if all(share.denominator == 1 for share in exact):
        return [int(share) for share in exact], []
    shown = ", ".join(f"{float(share):.4g} %" for share in exact)
    whole = [int(share) for share in exact]
    whole[0] += 100 - sum(whole)
    what = f"the weights come to {shown}, and this gateway takes whole percentages that sum to 100"
    fix = f"write weights that do, like {', '.join(map(str, whole))}"
    return whole, [_problem(resource, ("models",), what, fix, "shares-in-file")]


def _model(
    resource: Resource,
    at: int,
    name: str,
    parts: Mapping[Address, Resource],
    places: _Places,
    is_split: bool,
) -> tuple[dict[str, Any], list[Problem]]:
    """Provider, model and configuration of one model; ``places`` gets where they are written."""
    path: _Path = ("models", at, "model")
    model = parts.get(Address("GatewayModel", name))
    if model is None:
        return {}, [_missing(resource, path, "GatewayModel", name)]
    problems = []
    if is_split and not _NAME.match(name):
        what = f"GatewayModel/{name} becomes a part of an endpoint's name here: letters, digits, _ . - only"
        problems.append(_problem(resource, path, what, "give it such a name"))
    if found := _unset(model, model.spec, ()):
        return {}, [*problems, *found]
    secret = parts.get(Address("GatewaySecret", str(model.spec["secret"])))
    if secret is None:
        return {}, [*problems, _missing(model, ("secret",), "GatewaySecret", str(model.spec["secret"]))]
    for field in ("provider", "model_name"):
        places["models", at, field] = model.source_of((field,))
    provider = PROVIDERS.get(model.spec["provider"])
    if provider is None:
        fix = "write its entry into the file by hand: what is not from here is left alone"
        problems.append(_problem(model, ("provider",), why_not(model.spec["provider"]), fix))
        return {}, problems
    config: dict[str, Any] = {}

    def put(key: str, value: Any, source: Source) -> None:
        config[key] = value
        places["models", at, "config", key] = source

    for key, value in provider.fixed.items():
        put(key, value.format(model_name=model.spec["model_name"]), model.source_of(("model_name",)))
    for field, key, value in _named(secret, "secret_value", provider.secrets, model, problems):
        put(key, _reference(value), secret.source_of(("secret_value", field)))
    for field, key, value in _named(secret, "auth_config", provider.settings, model, problems):
        if not is_default(key, value):
            put(key, value, secret.source_of(("auth_config", field)))
    told = secret.spec.get("auth_config") or {}
    for needed in [name for name in provider.needs if not told.get(name)]:
        what = f"{model.spec['provider']} needs {needed} in auth_config"
        problems.append(_problem(secret, ("auth_config",), what, "add it", "needed-in-file"))
    if "api_key" not in secret.spec["secret_value"]:
        what = f"{model.spec['provider']} needs an api_key"
        problems.append(_problem(secret, ("secret_value",), what, "add it", "needed-in-file"))
    shape = {"provider": model.spec["provider"], "model_name": model.spec["model_name"], "config": config}
    return shape, problems


def _named(
    secret: Resource, section: str, keys: Mapping[str, str], model: Resource, problems: list[Problem]
) -> Iterator[tuple[str, str, Any]]:
    """The fields of a secret's section with their keys in the file; what has none is a problem."""
    provider = model.spec["provider"]
    for field, value in (secret.spec.get(section) or {}).items():
        if field in keys:
            yield field, keys[field], value
        elif (section, field, value) != ("auth_config", "auth_mode", "api_key"):
            what = f"this gateway knows no {field} of {provider}"
            known = ", ".join(keys) or "nothing"
            problems.append(_problem(secret, (section, field), what, f"leave it out; it takes {known}"))


def _missing(resource: Resource, path: _Path, kind: str, name: str) -> Problem:
    what = f"there is no {kind}/{name} among the manifests, and this gateway keeps none of its own"
    return _problem(resource, path, what, "declare it beside this one", "missing-reference")


def _collisions(endpoints: Iterable[Resource]) -> list[Problem]:
    """Endpoints whose name is that of another one's part."""
    whole = {endpoint.address.name: endpoint for endpoint in endpoints}
    problems = []
    for endpoint in whole.values():
        for at, item in enumerate(endpoint.spec["models"] if len(endpoint.spec["models"]) > 1 else ()):
            if other := whole.get(f"{endpoint.address.name}.{item['model']}"):
                what = f"it would be called {other.address.name} in the file, as {other.address} is"
                problems.append(_problem(endpoint, ("models", at), what, "rename one of them"))
    return problems


# ---- secrets --------------------------------------------------------------------------------------------


def _secret_problems(resource: Resource) -> list[Problem]:
    problems = _unset(resource, resource.spec.get("auth_config"), ("auth_config",))
    problems += _unset(resource, resource.spec.get("provider"), ("provider",))
    for name, value in resource.spec["secret_value"].items():
        path = ("secret_value", name)
        origin = value.origin if isinstance(value, Secret) else None
        if origin is None or origin.scheme not in ("env", "file"):
            told = f"${{{origin.scheme}:…}}" if origin else "a text put together"
            what = f"this gateway looks a credential up in its environment or in a file, and not in {told}"
            fix = (
                "write ${env:NAME} or ${file:path} and nothing else; no secret is ever written into the file"
            )
            problems.append(_problem(resource, path, what, fix))
        elif not origin.is_exact:
            what = f"this gateway takes the whole of {origin.argument}, and that ends with a line break"
            fix = "write the file without it (printf %s), or the provider refuses the key"
            problems.append(_problem(resource, path, what, fix))
    for name, value in (resource.spec.get("auth_config") or {}).items():
        if isinstance(value, str) and re.match(r"[a-z+]+://[^/@]*@", value):
            what = "an address with a user and a password would stand in the file"
            problems.append(_problem(resource, ("auth_config", name), what, "take them out of it"))
    return problems


def _reference(value: Any) -> str:
    """A credential as the file says it; "" for what is a problem already."""
    origin = value.origin if isinstance(value, Secret) else None
    if origin is None:
        return ""
    return f"${origin.argument}" if origin.scheme == "env" else str(origin.argument)


def _unset(resource: Resource, value: Any, path: _Path) -> list[Problem]:
    """Values that are not known here. Only credentials need not be: the gateway looks them up."""
    if isinstance(value, Secret):
        what = f"{value.reference} is not set, and its value stands in the file"
        return [_problem(resource, path, what, "set it", "unset-variable")]
    if isinstance(value, Mapping):
        return [p for name, item in value.items() for p in _unset(resource, item, (*path, name))]
    if isinstance(value, (list, tuple)):
        return [p for at, item in enumerate(value) for p in _unset(resource, item, (*path, at))]
    return []
