"""The AI Gateway in an MLflow tracking server: secrets, model definitions, endpoints, budgets, guardrails.

Its methods are those of mlflow's own tracking store, with the same names and arguments; each makes one
request and gives the object inside the answer. Facts: mlflow 3.17, ``/api/3.0/mlflow/gateway/``, seen on a
running server.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Final

import requests
from requests.adapters import BaseAdapter

from reconciler import errors
from reconciler.client.answers import clean, joined
from reconciler.client.auth import Credentials, Login
from reconciler.client.http import HttpSession, quote
from reconciler.client.mlflow import own_tls, tracking_credentials, tracking_login
from reconciler.client.over_http import OverHttp
from reconciler.client.queries import EVENT_STREAM, SSE_FIELDS, as_object, parts, query_times

__all__ = ["SCHEME", "MlflowGatewayClient"]

SCHEME: Final = "mlflow-gateway+"
_API: Final = "/api/3.0/mlflow/gateway"
_PAGE: Final = 1000
_MOST_PAGES: Final = 10_000
_EVERY_PLAN: Final = {
    "secrets/list": "secrets",
    "model-definitions/list": "model_definitions",
    "endpoints/list": "endpoints",
}
_Fields = dict[str, Any]

# How databases say that a name is taken; the gateway passes their words on as 400 BAD_REQUEST for endpoints.
_TAKEN: Final = re.compile(
    r"UNIQUE constraint failed|duplicate key value|Duplicate entry|Violation of UNIQUE KEY", re.IGNORECASE
)


class MlflowGatewayClient(OverHttp):
    """The gateway of the tracking server at ``target_uri`` (``mlflow-gateway+http://host:port``).

    Signed with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, else MLFLOW_TRACKING_TOKEN, else not at
    all; ``credentials`` go before that. ``adapter``, ``pool_size``, ``stop`` and the settings for TLS: as for
    :class:`reconciler.client.MlflowDeploymentClient`. Safe to use from several threads.

    Every method raises APIError (NotFound, AlreadyExists where a name is taken, Conflict where something is
    in use …) or TransportError.
    """

    def __init__(
        self,
        target_uri: str,
        *,
        credentials: Credentials | None = None,
        adapter: BaseAdapter | None = None,
        pool_size: int = 64,
        stop: threading.Event | None = None,
    ) -> None:
        self.target_uri = target_uri
        self.http = HttpSession(
            target_uri.removeprefix(SCHEME),
            credentials=credentials if credentials is not None else tracking_credentials(),
            adapter=adapter if adapter is not None else own_tls(pool_size),
            pool_size=pool_size,
            stop=stop,
        )
        self._ahead: dict[str, Future[list[_Fields]]] = {}

    def read_ahead(self) -> None:
        """Begin to fetch the lists that every plan reads; the next call for each of them takes what came.

        The server works on a long list for as long as a program parses its manifests: both at a time.
        """
        for route, inner in _EVERY_PLAN.items():
            future: Future[list[_Fields]] = Future()
            self._ahead[route] = future
            # Not a pool: its threads would be waited for at the end of a program that failed meanwhile.
            threading.Thread(target=self._fetch, args=(future, route, inner), daemon=True).start()

    def _fetch(self, future: Future[list[_Fields]], route: str, inner: str) -> None:
        try:
            future.set_result(self._fetched(route, inner))
        except BaseException as error:
            future.set_exception(error)

    # -- the login ---------------------------------------------------------------------------------------

    def login(self) -> Login:
        """How requests are signed, for people; asks nobody."""
        return tracking_login(self.host, self.http.credentials)

    def prove_login(self) -> str:
        """One read, of the endpoints; says what was asked. Raises when it is refused."""
        found = self._fetched("endpoints/list", "endpoints")
        return f"GET {_API}/endpoints/list: {len(found)} endpoint{'' if len(found) == 1 else 's'}"

    # -- secrets -----------------------------------------------------------------------------------------

    def list_gateway_secrets(self) -> list[_Fields]:
        """All secrets; of their values only a mask (``masked_values``)."""
        return self._list("secrets/list", "secrets")

    def create_gateway_secret(self, **fields: Any) -> _Fields:
        """``secret_name``, ``secret_value`` (a dict), ``provider``, ``auth_config``, ``created_by``."""
        return self._write("POST", "secrets/create", fields, "secret")

    def update_gateway_secret(self, **fields: Any) -> _Fields:
        """``secret_id``, and what changes: ``secret_value``, ``auth_config``, ``updated_by``.

        An empty ``auth_config`` means no change; one with a blank ``api_base`` alone clears it.
        """
        return self._write("POST", "secrets/update", fields, "secret")

    def delete_gateway_secret(self, *, secret_id: str) -> _Fields:
        """Succeeds also for a secret in use, and leaves its model definitions without one: look first."""
        return self._write("DELETE", "secrets/delete", {"secret_id": secret_id})

    # -- model definitions -------------------------------------------------------------------------------

    def list_gateway_model_definitions(self, *, secret_id: str = "") -> list[_Fields]:
        """All model definitions, or those that use a secret."""
        if not secret_id:
            return self._list("model-definitions/list", "model_definitions")
        return self._list("model-definitions/list", "model_definitions", secret_id=secret_id)

    def create_gateway_model_definition(self, **fields: Any) -> _Fields:
        """``name``, ``secret_id``, ``provider``, ``model_name``, ``created_by``."""
        return self._write("POST", "model-definitions/create", fields, "model_definition")

    def update_gateway_model_definition(self, **fields: Any) -> _Fields:
        """``model_definition_id``, and what changes."""
        return self._write("POST", "model-definitions/update", fields, "model_definition")

    def delete_gateway_model_definition(self, *, model_definition_id: str) -> _Fields:
        """Raises Conflict while endpoints use it (the server's 500 INVALID_STATE)."""
        fields = {"model_definition_id": model_definition_id}
        return self._write("DELETE", "model-definitions/delete", fields)

    # -- endpoints ---------------------------------------------------------------------------------------

    def list_gateway_endpoints(self) -> list[_Fields]:
        """All endpoints that have a model, with their models and tags."""
        return self._list("endpoints/list", "endpoints")

    def get_gateway_endpoint(self, *, name: str) -> _Fields:
        """One endpoint by name. Raises NotFound."""
        return self._get("endpoints/get", "endpoint", name=name)

    def create_gateway_endpoint(self, **fields: Any) -> _Fields:
        """``name``, ``model_configs``, ``routing_strategy``, ``fallback_config``, ``usage_tracking`` …"""
        return self._write("POST", "endpoints/create", fields, "endpoint")

    def update_gateway_endpoint(self, **fields: Any) -> _Fields:
        """``endpoint_id``, and what changes. ``model_configs`` replaces the whole list, and resets
        ``fallback_config`` where that is not sent along."""
        return self._write("POST", "endpoints/update", fields, "endpoint")

    def delete_gateway_endpoint(self, *, endpoint_id: str) -> _Fields:
        """Its models and bindings are cut loose with it. Raises NotFound."""
        return self._write("DELETE", "endpoints/delete", {"endpoint_id": endpoint_id})

    def set_gateway_endpoint_tag(self, *, endpoint_id: str, key: str, value: str) -> _Fields:
        """Add or change one tag."""
        return self._write(
            "POST", "endpoints/set-tag", {"endpoint_id": endpoint_id, "key": key, "value": value}
        )

    def delete_gateway_endpoint_tag(self, *, endpoint_id: str, key: str) -> _Fields:
        """Take one tag away; that there is none is no error."""
        return self._write("DELETE", "endpoints/delete-tag", {"endpoint_id": endpoint_id, "key": key})

    def list_endpoint_bindings(self) -> list[_Fields]:
        """What other parts of MLflow hold on to endpoints (scorers): ``endpoint_id``, ``resource_type`` …"""
        return self._list("endpoints/bindings/list", "bindings")

    # -- budgets -----------------------------------------------------------------------------------------

    def list_gateway_budget_policies(self) -> list[_Fields]:
        """All budget policies, from all pages."""
        return self._list("budgets/list", "budget_policies", paged=True)

    def create_gateway_budget_policy(self, **fields: Any) -> _Fields:
        """``budget_unit``, ``budget_amount``, ``duration``, ``target_scope``, ``target_value`` …"""
        return self._write("POST", "budgets/create", fields, "budget_policy")

    def update_gateway_budget_policy(self, **fields: Any) -> _Fields:
        """``budget_policy_id``, and what changes."""
        return self._write("POST", "budgets/update", fields, "budget_policy")

    def delete_gateway_budget_policy(self, *, budget_policy_id: str) -> _Fields:
        """Raises NotFound."""
        return self._write("DELETE", "budgets/delete", {"budget_policy_id": budget_policy_id})

    # -- guardrails --------------------------------------------------------------------------------------

    def list_scorers(self) -> list[_Fields]:
        """The newest version of every registered scorer, of all experiments."""
        answer = as_object("GET", _SCORERS, self.http.request("GET", _SCORERS), is_safe=True)
        return _items(answer, "scorers", _SCORERS)

    def list_gateway_guardrails(self) -> list[_Fields]:
        """All guardrails, from all pages."""
        return self._list("guardrails/list", "guardrails", paged=True)

    def create_gateway_guardrail(self, **fields: Any) -> _Fields:
        """``name``, ``scorer_id``, ``scorer_version``, ``stage``, ``action``, ``action_endpoint_id``."""
        return self._write("POST", "guardrails/create", fields, "guardrail")

    def delete_gateway_guardrail(self, *, guardrail_id: str) -> _Fields:
        """Takes it silently from every endpoint that runs it: look first."""
        return self._write("DELETE", "guardrails/delete", {"guardrail_id": guardrail_id})

    def list_endpoint_guardrail_configs(self, *, endpoint_id: str) -> list[_Fields]:
        """The guardrails of an endpoint in the order in which they run."""
        return self._list("guardrails/list-for-endpoint", "configs", endpoint_id=endpoint_id)

    def add_guardrail_to_endpoint(self, **fields: Any) -> _Fields:
        """``endpoint_id``, ``guardrail_id``, ``execution_order``. Raises AlreadyExists."""
        return self._write("POST", "guardrails/add-to-endpoint", fields, "config")

    def remove_guardrail_from_endpoint(self, *, endpoint_id: str, guardrail_id: str) -> _Fields:
        """Raises NotFound when the endpoint does not run it."""
        fields = {"endpoint_id": endpoint_id, "guardrail_id": guardrail_id}
        return self._write("DELETE", "guardrails/remove-from-endpoint", fields)

    def update_endpoint_guardrail_config(self, **fields: Any) -> _Fields:
        """``endpoint_id``, ``guardrail_id`` and its new ``execution_order``."""
        return self._write("PATCH", "guardrails/update-config", fields, "config")

    # -- queries -----------------------------------------------------------------------------------------

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> _Fields:
        """Query an endpoint with ``inputs`` (the body, a dict); ``deployment_name`` is not used."""
        path = _invocations(endpoint)
        answer = self.http.request("POST", path, json=inputs, retry_safe=True, **query_times())
        return as_object("POST", path, answer, is_safe=True)

    def predict_stream(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Iterator[_Fields]:
        """The same with ``"stream": true``: the parts of the answer as they arrive."""
        path = _invocations(endpoint)
        times = query_times()
        body = {**(inputs or {}), "stream": True}
        lines = self.http.lines("POST", path, json=body, headers=EVENT_STREAM, retry_safe=True, **times)
        yield from parts(lines, path, patience=times["total"], skipped=SSE_FIELDS, has_errors=True)

    # -- inside ------------------------------------------------------------------------------------------

    def _get(self, route: str, inner: str, **params: str) -> _Fields:
        path = f"{_API}/{route}"
        answer = as_object("GET", path, self.http.request("GET", path, params=params), is_safe=True)
        return as_object("GET", path, answer.get(inner), is_safe=True)

    def _list(self, route: str, inner: str, *, paged: bool = False, **params: str) -> list[_Fields]:
        """Every item of a list; what was read ahead is taken once."""
        ahead = None if params or paged else self._ahead.pop(route, None)
        return ahead.result() if ahead is not None else self._fetched(route, inner, paged=paged, **params)

    def _fetched(self, route: str, inner: str, *, paged: bool = False, **params: str) -> list[_Fields]:
        """Every item of a list; a list of nothing is ``{}``."""
        path = f"{_API}/{route}"
        wanted: _Fields = dict(params)
        if paged:
            wanted["max_results"] = _PAGE
        found: list[_Fields] = []
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            answer = as_object("GET", path, self.http.request("GET", path, params=wanted), is_safe=True)
            found += _items(answer, inner, path)
            token = answer.get("next_page_token")
            if not (paged and token):
                return found
            if token in seen:
                break
            seen.add(token)
            wanted["page_token"] = token
        raise errors.BadAnswer("the pages never end", method="GET", path=path)

    def _write(self, method: str, route: str, fields: _Fields, inner: str = "") -> _Fields:
        path = f"{_API}/{route}"
        try:
            answer = as_object(method, path, self.http.request(method, path, json=fields))
        except (errors.InvalidRequest, errors.ServerFault) as error:
            raise _told_apart(error) from error
        return as_object(method, path, answer.get(inner)) if inner else answer


_SCORERS: Final = "/api/3.0/mlflow/scorers/list"


def _items(answer: _Fields, inner: str, path: str) -> list[_Fields]:
    items = answer.get(inner, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise errors.BadAnswer(f"{inner!r} is not a list of objects", method="GET", path=path)
    return items


def _invocations(endpoint: str | None) -> str:
    if not endpoint:
        raise errors.UsageError("a query needs the name of an endpoint", fix="pass endpoint=<name>")
    return f"/gateway/{quote(endpoint)}/mlflow/invocations"


def _told_apart(error: errors.APIError) -> errors.APIError:
    """What the server means by its 400 with a database's words and its 500 "in use"."""
    if error.status == 400 and _TAKEN.search(error.message):
        ours: type[errors.APIError] = errors.AlreadyExists
        code, message = "RESOURCE_ALREADY_EXISTS", "the name is in use"
        fix = "choose another name, or adopt what is there"
    elif error.status == 500 and error.error_code == "INVALID_STATE":
        ours, code, message = errors.Conflict, error.error_code, clean(error.message, 300)
        fix = "take it from everything that uses it first"
    else:
        return error
    return joined(ours, requests.HTTPError)(
        status=error.status,
        error_code=code,
        message=message,
        method=error.method,
        path=error.path,
        request_id=error.request_id,
        fix=fix,
    )
