"""Databricks serving endpoints, with the methods of mlflow's DatabricksDeploymentClient and those it lacks.

Facts: the REST reference of Databricks ("Serving endpoints", "Permissions"), databricks-sdk 0.162
(``service/serving.py``) and what mlflow 3.17 sends. Unlike mlflow's client, this one sends one request for
each call: it does not ask for the host's metadata first.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import BaseAdapter

from reconciler.client.answers import NOT_JSON
from reconciler.client.auth import Credentials, resolve
from reconciler.client.http import HttpSession, quote
from reconciler.client.over_http import EndpointsOnly, OverHttp
from reconciler.client.pacing import WritePacer
from reconciler.client.queries import EVENT_STREAM, as_object, parts, query_times
from reconciler.errors import BadAnswer, NotFound, UsageError

__all__ = ["DatabricksDeploymentClient", "DatabricksEndpoint", "Deprecated"]

_ENDPOINTS = "/api/2.0/serving-endpoints"
_PERMISSIONS = "/api/2.0/permissions/serving-endpoints"
# How the client of mlflow names itself; Databricks tells deployment clients apart by it.
_CLIENT_HEADER = {"X-Databricks-Endpoints-API-Client": "Databricks Deployment Client"}
# A 404 with another code is about the route or the feature (ENDPOINT_NOT_FOUND, FEATURE_DISABLED).
_GONE = frozenset({"", "RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})


class Deprecated(FutureWarning, UserWarning):
    """Of a whole method: mlflow warns of it in both categories, and filters of either hold here too."""


class DatabricksEndpoint(dict[str, Any]):
    """An answer of the API: a dict whose keys can be read as attributes, nested ones too.

    >>> DatabricksEndpoint({"name": "chat", "state": {"ready": "READY"}}).state.ready
    'READY'
    """

    def __getattr__(self, name: str) -> Any:
        try:
            value = self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None
        return DatabricksEndpoint(value) if isinstance(value, dict) else value

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None


class DatabricksDeploymentClient(OverHttp, EndpointsOnly):
    """Serving endpoints of one Databricks workspace; safe to use from several threads.

    ``target_uri``: ``databricks``, or ``databricks://profile`` for a profile of ``~/.databrickscfg``. Where
    host and credentials come from otherwise: :mod:`reconciler.client.auth`. ``host`` and ``credentials``
    go before that; ``adapter`` answers instead of the network; ``pool_size``: connections kept open;
    ``pacer``: the workspace's write budget; ``stop``: once set, nothing waits any more. Raises AuthError
    when there are no credentials, UsageError for another target.

    All methods raise APIError (NotFound, Conflict, RateLimited …) for an answer that says no,
    ConnectionFailed, BadAnswer, and AnswerLost when a write may have been carried out. Every one of them is
    a ``requests`` exception too (``HTTPError`` with ``.response``, ``ConnectionError``, ``Timeout``).
    ``config`` is sent exactly as it is given and may hold :class:`reconciler.values.Secret` values.
    """

    def __init__(
        self,
        target_uri: str = "databricks",
        *,
        host: str | None = None,
        credentials: Credentials | None = None,
        adapter: BaseAdapter | None = None,
        pool_size: int = 64,
        pacer: WritePacer | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        super().__init__(target_uri)
        self._given = (host, credentials, adapter, pacer, stop)
        login = resolve(_profile_of(target_uri), host=host, credentials=credentials)
        self._host = login.host
        self.http = HttpSession(
            login.host,
            credentials=login.credentials,
            headers=_CLIENT_HEADER,
            adapter=adapter,
            pool_size=pool_size,
            pacer=pacer,
            stop=stop,
        )

    @property
    def host(self) -> str:
        """The workspace, as ``https://host``."""
        return self._host

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target_uri!r}, host={self._host!r})"

    # -- queries -----------------------------------------------------------------------------------------

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> DatabricksEndpoint:
        """Query an endpoint with ``inputs`` (the body, a dict); ``deployment_name`` is not used.

        Repeated after 429, 500, 502, 503 and broken connections, not after a timeout. Seconds for one try:
        MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT (120); for all: MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT (600).
        """
        path = _invocations(endpoint)
        return self._object("POST", path, json=inputs, retry_safe=True, **query_times())

    def predict_stream(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Query an endpoint with ``"stream": true`` and yield the parts of the answer as they arrive.

        The query is sent when the first part is asked for. Raises BadAnswer that names the line when a
        line is not ``data: <JSON>``, AnswerLost when the stream breaks off.
        """
        path = _invocations(endpoint)
        body = {**(inputs or {}), "stream": True}
        times = query_times()
        lines = self.http.lines("POST", path, json=body, headers=EVENT_STREAM, retry_safe=True, **times)
        yield from parts(lines, path, patience=times["total"])

    # -- endpoints: what mlflow's client has -------------------------------------------------------------

    def create_endpoint(
        self, name: str | None = None, config: dict[str, Any] | None = None, route_optimized: bool = False
    ) -> DatabricksEndpoint:
        """Create an endpoint from ``config``, the whole payload of the API; returns it, not yet ready.

        Deprecated, with a UserWarning: ``name`` and ``route_optimized`` beside such a payload (UsageError
        where they contradict it), and the older form ``create_endpoint(name, {"served_entities": …},
        route_optimized)``, whose ``tags`` and ``rate_limits`` are lifted out of ``config``.

        Where this differs from mlflow's client: a payload without ``config`` is taken as one when no
        ``name`` stands beside it, and ``route_optimized: true`` in a payload needs no argument.
        """
        payload, notices = _creation(name, config, route_optimized)
        if notices:
            warnings.warn("\n".join(notices), UserWarning, stacklevel=2)
        return self._object("POST", _ENDPOINTS, json=payload)

    def update_endpoint(self, endpoint: str, config: dict[str, Any] | None = None) -> DatabricksEndpoint:
        """Deprecated, with a warning: replace the rate limits when ``config`` is exactly
        ``{"rate_limits": …}``, else the configuration."""
        warnings.warn(
            "update_endpoint is deprecated: use update_endpoint_config, update_endpoint_tags, "
            "update_endpoint_rate_limits or update_endpoint_ai_gateway",
            Deprecated,
            stacklevel=2,
        )
        if config is None:
            raise UsageError("update_endpoint needs a config")
        section = "rate-limits" if list(config) == ["rate_limits"] else "config"
        return self._object("PUT", f"{_of(endpoint)}/{section}", json=config)

    def update_endpoint_config(self, endpoint: str, config: Mapping[str, Any]) -> DatabricksEndpoint:
        """Replace the configuration; returns the endpoint, with the new one under ``pending_config``."""
        return self._object("PUT", f"{_of(endpoint)}/config", json=config)

    def update_endpoint_tags(self, endpoint: str, config: Mapping[str, Any]) -> DatabricksEndpoint:
        """Add and delete tags: ``{"add_tags": [{"key", "value"}], "delete_tags": ["key"]}``.

        Returns ``{"tags": […]}``, from older servers too, which answer with the bare list.
        """
        path = f"{_of(endpoint)}/tags"
        answer = self.http.request("PATCH", path, json=config)
        return _as_object("PATCH", path, {"tags": answer} if isinstance(answer, list) else answer)

    def update_endpoint_rate_limits(self, endpoint: str, config: Mapping[str, Any]) -> DatabricksEndpoint:
        """Replace the (legacy) rate limits: ``{"rate_limits": […]}``."""
        return self._object("PUT", f"{_of(endpoint)}/rate-limits", json=config)

    def update_endpoint_ai_gateway(self, endpoint: str, config: Mapping[str, Any]) -> DatabricksEndpoint:
        """Replace the AI gateway as a whole; what ``config`` leaves out is cleared."""
        return self._object("PUT", f"{_of(endpoint)}/ai-gateway", json=config)

    def delete_endpoint(self, endpoint: str) -> DatabricksEndpoint:
        """Delete an endpoint; returns ``{}``.

        Idempotent, as the base class promises: ``{}`` too when there is no such endpoint (mlflow's client
        raises there). A 404 that is about something else, a wrong host or a missing route, still raises.
        """
        try:
            return self._object("DELETE", _of(endpoint))
        except NotFound as error:
            if error.error_code in _GONE and not error.message.startswith(NOT_JSON):
                return DatabricksEndpoint()
            raise

    def list_endpoints(self) -> list[DatabricksEndpoint]:
        """All endpoints, as summaries: sizes, traffic, environment variables and more are left out."""
        found = self._object("GET", _ENDPOINTS).get("endpoints")
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise BadAnswer("'endpoints' is not a list of objects", method="GET", path=_ENDPOINTS)
        return [DatabricksEndpoint(each) for each in found]

    def get_endpoint(self, endpoint: str) -> DatabricksEndpoint:
        """One endpoint in full. Raises NotFound."""
        return self._object("GET", _of(endpoint))

    # -- endpoints: what mlflow's client lacks -----------------------------------------------------------

    def create_provisioned_throughput_endpoint(self, config: Mapping[str, Any]) -> DatabricksEndpoint:
        """Create an endpoint that is paid by model units; ``config`` is the whole payload."""
        return self._object("POST", f"{_ENDPOINTS}/pt", json=config)

    def update_provisioned_throughput_endpoint_config(
        self, endpoint: str, config: Mapping[str, Any]
    ) -> DatabricksEndpoint:
        """Replace the configuration of such an endpoint: ``{"config": {…}}``."""
        return self._object("PUT", f"{_ENDPOINTS}/pt/{quote(endpoint)}/config", json=config)

    def update_endpoint_notifications(self, endpoint: str, config: Mapping[str, Any]) -> DatabricksEndpoint:
        """Replace who is told of updates: ``{"email_notifications": {"on_update_success": […], …}}``."""
        return self._object("PATCH", f"{_of(endpoint)}/notifications", json=config)

    def update_endpoint_telemetry(self, endpoint: str, config: Mapping[str, Any]) -> DatabricksEndpoint:
        """Replace the telemetry: ``{"telemetry_config": {…}}``; without the key it is removed.

        Raises Conflict while an update is in progress.
        """
        return self._object("PATCH", f"{_of(endpoint)}/telemetry-config", json=config)

    def get_endpoint_permissions(self, endpoint_id: str) -> DatabricksEndpoint:
        """The access control list of an endpoint, by the endpoint's **id**, not its name."""
        return self._object("GET", f"{_PERMISSIONS}/{quote(endpoint_id)}")

    def set_endpoint_permissions(self, endpoint_id: str, config: Mapping[str, Any]) -> DatabricksEndpoint:
        """Replace the access control list: ``{"access_control_list": […]}``; by the endpoint's id."""
        return self._object("PUT", f"{_PERMISSIONS}/{quote(endpoint_id)}", json=config)

    def update_endpoint_permissions(self, endpoint_id: str, config: Mapping[str, Any]) -> DatabricksEndpoint:
        """Add grants to those an endpoint has: ``{"access_control_list": […]}``, by the endpoint's id."""
        return self._object("PATCH", f"{_PERMISSIONS}/{quote(endpoint_id)}", json=config)

    def get_endpoint_permission_levels(self, endpoint_id: str) -> DatabricksEndpoint:
        """The permission levels that can be given: ``{"permission_levels": […]}``; by the endpoint's id."""
        return self._object("GET", f"{_PERMISSIONS}/{quote(endpoint_id)}/permissionLevels")

    def get_endpoint_build_logs(self, endpoint: str, served_model: str) -> DatabricksEndpoint:
        """How the container of a served model was built: ``{"logs": "…"}``."""
        return self._object("GET", f"{_of(endpoint)}/served-models/{quote(served_model)}/build-logs")

    def get_endpoint_logs(self, endpoint: str, served_model: str) -> DatabricksEndpoint:
        """The newest lines a served model wrote: ``{"logs": "…"}``."""
        return self._object("GET", f"{_of(endpoint)}/served-models/{quote(served_model)}/logs")

    def get_endpoint_metrics(self, endpoint: str) -> str:
        """The metrics of an endpoint, as Prometheus or OpenMetrics text."""
        return str(self.http.request("GET", f"{_of(endpoint)}/metrics", text=True))

    def get_endpoint_openapi(self, endpoint: str) -> DatabricksEndpoint:
        """The OpenAPI document of an endpoint's query route."""
        # databricks-sdk asks for text/plain on this route; the document is JSON either way
        headers = {"Accept": "application/json, text/plain"}
        return self._object("GET", f"{_of(endpoint)}/openapi", headers=headers)

    # -- inside ------------------------------------------------------------------------------------------

    def _object(self, method: str, path: str, **options: Any) -> DatabricksEndpoint:
        return _as_object(
            method,
            path,
            self.http.request(method, path, **options),
            options.get("retry_safe", method == "GET"),
        )


def _as_object(method: str, path: str, answer: Any, is_safe: bool = False) -> DatabricksEndpoint:
    return DatabricksEndpoint(as_object(method, path, answer, is_safe))


def _of(endpoint: str) -> str:
    return f"{_ENDPOINTS}/{quote(endpoint)}"


def _invocations(endpoint: str | None) -> str:
    if not endpoint:
        raise UsageError("a query needs the name of an endpoint", fix="pass endpoint=<name>")
    return f"/serving-endpoints/{quote(endpoint)}/invocations"


def _profile_of(target_uri: str) -> str | None:
    if target_uri == "databricks":
        return None
    parts = urlsplit(target_uri)
    profile = parts.netloc
    if parts.scheme != "databricks" or not profile or parts.path.strip("/") or parts.query:
        raise UsageError(f"{target_uri!r} is not databricks or databricks://profile")
    if ":" in profile:
        raise UsageError(
            f"{target_uri!r} names a Databricks secret scope, which is not supported",
            fix="use a profile, or DATABRICKS_HOST with DATABRICKS_TOKEN",
        )
    return profile


def _creation(
    name: str | None, config: dict[str, Any] | None, route_optimized: bool | None
) -> tuple[dict[str, Any], list[str]]:
    """The payload of a create call and the deprecations to warn of, from all the forms mlflow accepts."""
    config = dict(config or {})
    if "config" not in config and name is not None:
        lifted = {key: value for key in ("tags", "rate_limits") if (value := config.pop(key, None))}
        payload = {"name": name, "config": config, "route_optimized": route_optimized, **lifted}
        return payload, [
            "Passing name, config and route_optimized separately is deprecated: "
            "pass the whole payload of the API as config."
        ]
    notices = []
    for key, given in (("name", name), ("route_optimized", route_optimized or None)):
        if given is None:
            continue
        if config.setdefault(key, given) != given:
            raise UsageError(
                f"{key} is {given!r} as an argument and {config[key]!r} in config",
                fix=f"give {key} in config only; the argument is deprecated",
            )
        notices.append(f"Passing {key} as an argument is deprecated: give it in config.")
    if not config.get("name"):
        raise UsageError("the payload has no name", fix="give name in config")
    return config, notices
