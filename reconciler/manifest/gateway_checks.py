"""Checks that only the kinds of an MLflow AI Gateway have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reconciler.manifest.findings import Findings
from reconciler.manifest.positions import Parts
from reconciler.schema import Field
from reconciler.values import PROTECTED_TAG, STACK_TAG

__all__ = ["check_gateway_budget", "check_gateway_endpoint", "check_reserved_tags"]

_TARGETED: Final = {"ENDPOINT": "the name of a GatewayEndpoint", "USER": "the name of a user"}


def check_gateway_endpoint(spec: Mapping[str, Any], fields: Field, findings: Findings) -> None:
    """What the schema cannot say about an endpoint. Shapes that the schema refused are passed over."""
    check_reserved_tags(spec.get("tags"), findings)
    models = spec.get("models")
    weights = [m.get("weight", 1) if isinstance(m, dict) else 1 for m in models or ()] if models else []
    if weights and all(weight == 0 for weight in weights):
        what = "every model has weight 0: none would answer"
        findings.problem(("spec", "models"), what, "give one of them a weight", "no-weight")


_RESERVED: Final = {
    STACK_TAG: ("says which stack owns the endpoint", "remove it"),
    PROTECTED_TAG: ("says that the endpoint is protected", "remove it, and write lifecycle.prevent_destroy"),
}


def check_reserved_tags(tags: Any, findings: Findings) -> None:
    """Tags that are set by themselves are written by nobody; ``tags``: a map, or a list of pairs."""
    places: list[tuple[Parts, Any]] = []
    if isinstance(tags, dict):
        places = [(("spec", "tags", key), key) for key in tags]
    elif isinstance(tags, list):
        pairs = [(at, pair) for at, pair in enumerate(tags) if isinstance(pair, dict)]
        places = [(("spec", "tags", at, "key"), pair.get("key")) for at, pair in pairs]
    for path, key in places:
        if isinstance(key, str) and key in _RESERVED:
            meaning, fix = _RESERVED[key]
            findings.problem(path, f"the tag {key} {meaning}; it is set by itself", fix, "reserved-tag")


def check_gateway_budget(spec: Mapping[str, Any], fields: Field, findings: Findings) -> None:
    """A target goes with the scopes that have one, and with no other."""
    scope, target = spec.get("target_scope"), spec.get("target_value")
    if scope in _TARGETED and target is None:
        what = f"target_scope {scope} needs target_value"
        findings.problem(("spec",), what, f"write {_TARGETED[scope]}", "budget-target")
    elif isinstance(scope, str) and scope not in _TARGETED and target is not None:
        what = f"target_scope {scope} takes no target_value"
        findings.problem(("spec", "target_value"), what, "remove it", "budget-target")
