"""A gateway in memory, with the methods of ``MlflowGatewayClient``: the shapes of answers of mlflow 3.17."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any

from reconciler.errors import NotFound
from reconciler.values import Address, Lifecycle, Resource, Source

__all__ = ["Gateway", "resource"]


def resource(address: str, spec: Mapping[str, Any], *, stack: str = "shop", **lifecycle: Any) -> Resource:
    """A desired resource of stack ``shop``."""
    kind, _, name = address.partition("/")
    place = Source("m.yaml", 1)
    return Resource(Address(kind, name), spec, place, stack=stack, lifecycle=Lifecycle(**lifecycle))


class Gateway:
    """Lists as the server gives them; ``asked`` counts the reads by method."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.secrets: list[dict[str, Any]] = []
        self.models: list[dict[str, Any]] = []
        self.endpoints: list[dict[str, Any]] = []
        self.budgets: list[dict[str, Any]] = []
        self.guardrails: list[dict[str, Any]] = []
        self.scorers: list[dict[str, Any]] = []
        self.bindings: list[dict[str, Any]] = []
        self.configs: dict[str, list[dict[str, Any]]] = {}
        self._times = itertools.count(1)

    def _stamp(self, by: str) -> dict[str, Any]:
        time = next(self._times)
        return {"created_by": by, "last_updated_by": by, "created_at": time, "last_updated_at": time}

    def secret(self, name: str, by: str = "reconciler:shop", **more: Any) -> str:
        made = {"secret_id": f"s-{name}", "secret_name": name, "provider": "openai", **self._stamp(by)}
        self.secrets.append({"masked_values": {"api_key": "sk-...cdef"}, **made, **more})
        return f"s-{name}"

    def model(self, name: str, secret: str, by: str = "reconciler:shop", **more: Any) -> str:
        secret_name = next((s["secret_name"] for s in self.secrets if s["secret_id"] == secret), None)
        made = {
            "model_definition_id": f"d-{name}",
            "name": name,
            "provider": "openai",
            "model_name": "gpt-4o",
        }
        link = {"secret_id": secret, "secret_name": secret_name} if secret_name else {}
        self.models.append({**made, **link, **self._stamp(by), **more})
        return f"d-{name}"

    def endpoint(self, name: str, *models: str, by: str = "reconciler:shop", **more: Any) -> str:
        mappings = [self.mapping(model) for model in models]
        tags = [{"key": "reconciler.stack", "value": "shop"}] if by == "reconciler:shop" else []
        made = {"endpoint_id": f"e-{name}", "name": name, "model_mappings": mappings, "tags": tags}
        self.endpoints.append(
            {**made, "usage_tracking": True, "experiment_id": "1", **self._stamp(by), **more}
        )
        return f"e-{name}"

    def mapping(
        self, model: str, linkage: str = "PRIMARY", order: int | None = None, weight: float = 1.0
    ) -> dict[str, Any]:
        found = next(m for m in self.models if m["model_definition_id"] == model)
        number = next(self._times)
        mapping = {
            "mapping_id": f"m-{number}",
            "model_definition_id": model,
            "model_definition": found,
            "linkage_type": linkage,
            "weight": weight,
        }
        return mapping if order is None else {**mapping, "fallback_order": order}

    def budget(self, scope: str = "GLOBAL", target: str = "", by: str = "", **more: Any) -> str:
        made = {"budget_policy_id": f"bp-{len(self.budgets)}", "budget_unit": "USD", "budget_amount": 100.0}
        made |= {"duration": {"unit": "DAYS", "value": 1}, "target_scope": scope, "budget_action": "ALERT"}
        self.budgets.append(
            {**made, **({"target_value": target} if target else {}), **self._stamp(by), **more}
        )
        return str(made["budget_policy_id"])

    def guardrail(self, name: str, scorer: str = "pii", number: int = 0, **more: Any) -> str:
        guardrail_id = f"gr-{name}" + (f"-{number}" if number else "")
        made = {"guardrail_id": guardrail_id, "name": name, "stage": "BEFORE", "action": "VALIDATION"}
        judge = {"experiment_id": 2, "scorer_name": scorer, "scorer_version": 1, "scorer_id": f"sc-{scorer}"}
        self.guardrails.append({**made, "scorer": judge, **self._stamp("root"), **more})
        return guardrail_id

    def guard(self, endpoint: str, guardrail: str, order: int | None) -> None:
        found = next(g for g in self.guardrails if g["guardrail_id"] == guardrail)
        config = {"endpoint_id": endpoint, "guardrail_id": guardrail, "guardrail": found}
        config |= {} if order is None else {"execution_order": order}
        self.configs.setdefault(endpoint, []).append(config)

    def scorer(self, name: str, experiment: int = 2) -> None:
        self.scorers.append(
            {"experiment_id": experiment, "scorer_name": name, "scorer_id": f"sc-{experiment}-{name}"}
        )

    # ---- the client's methods -------------------------------------------------------------------------

    def _read(self, method: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.asked[method] += 1
        return [dict(item) for item in items]

    def list_gateway_secrets(self) -> list[dict[str, Any]]:
        return self._read("secrets", self.secrets)

    def list_gateway_model_definitions(self) -> list[dict[str, Any]]:
        return self._read("models", self.models)

    def list_gateway_endpoints(self) -> list[dict[str, Any]]:
        return self._read("endpoints", self.endpoints)

    def list_gateway_budget_policies(self) -> list[dict[str, Any]]:
        return self._read("budgets", self.budgets)

    def list_gateway_guardrails(self) -> list[dict[str, Any]]:
        return self._read("guardrails", self.guardrails)

    def list_scorers(self) -> list[dict[str, Any]]:
        return self._read("scorers", self.scorers)

    def list_endpoint_bindings(self) -> list[dict[str, Any]]:
        return self._read("bindings", self.bindings)

    def list_endpoint_guardrail_configs(self, *, endpoint_id: str) -> list[dict[str, Any]]:
        found = self._read("configs", self.configs.get(endpoint_id, []))
        return sorted(
            found,
            key=lambda c: (
                c.get("execution_order") is None,
                c.get("execution_order") or 0,
                c["guardrail_id"],
            ),
        )

    def get_gateway_endpoint(self, *, name: str) -> dict[str, Any]:
        self.asked["endpoint"] += 1
        for item in self.endpoints:
            if item["name"] == name:
                return dict(item)
        raise NotFound(status=404)
