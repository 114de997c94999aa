"""Checks that only the kinds of an MLflow AI Gateway have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reconciler.manifest.findings import Findings
from reconciler.manifest.positions import Parts
from reconciler.schema import Field
from reconciler.values import STACK_TAG

__all__ = ["check_gateway_budget", "check_gateway_endpoint"]

_TARGETED: Final = {"ENDPOINT": "the name of a GatewayEndpoint", "USER": "the name of a user"}


def check_gateway_endpoint(spec: Mapping[str, Any], fields: Field, findings: Findings) -> None:
    """What the schema cannot say about an endpoint. Shapes that the schema refused are passed over."""
    tags = spec.get("tags")
    if isinstance(tags, dict) and STACK_TAG in tags:
        _reserved(("spec", "tags", STACK_TAG), findings)
    for at, pair in enumerate(tags if isinstance(tags, list) else ()):
        if isinstance(pair, dict) and pair.get("key") == STACK_TAG:
            _reserved(("spec", "tags", at, "key"), findings)
    models = spec.get("models")
    weights = [m.get("weight", 1) if isinstance(m, dict) else 1 for m in models or ()] if models else []
    if weights and all(weight == 0 for weight in weights):
        what = "every model has weight 0: none would answer"
        findings.problem(("spec", "models"), what, "give one of them a weight", "no-weight")


def _reserved(path: Parts, findings: Findings) -> None:
    what = f"the tag {STACK_TAG} says which stack owns the endpoint; it is set by itself"
    findings.problem(path, what, "remove it", "reserved-tag")


def check_gateway_budget(spec: Mapping[str, Any], fields: Field, findings: Findings) -> None:
    """A target goes with the scopes that have one, and with no other."""
    scope, target = spec.get("target_scope"), spec.get("target_value")
    if scope in _TARGETED and target is None:
        what = f"target_scope {scope} needs target_value"
        findings.problem(("spec",), what, f"write {_TARGETED[scope]}", "budget-target")
    elif isinstance(scope, str) and scope not in _TARGETED and target is not None:
        what = f"target_scope {scope} takes no target_value"
        findings.problem(("spec", "target_value"), what, "remove it", "budget-target")
