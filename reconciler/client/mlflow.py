"""The MLflow AI Gateway that serves a configuration file, with the methods of mlflow's client.

It is read and queried; what it serves is written in its own file. Facts: mlflow 3.17 (the documented API of
``MlflowDeploymentClient`` and what that client sends).
"""

from __future__ import annotations

import base64
import configparser
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from reconciler.client.answers import clean, joined
from reconciler.client.auth import Anonymous, Credentials, Login, Token, client_certificate
from reconciler.client.http import HttpSession, quote, seconds_from_environment
from reconciler.client.over_http import EndpointsOnly, OverHttp
from reconciler.client.queries import EVENT_STREAM, SSE_FIELDS, as_object, parts, query_times
from reconciler.errors import AnswerLost, BadAnswer, ReconcilerError, TransportError, UsageError
from reconciler.values import Secret

__all__ = [
    "Endpoint",
    "EndpointModelInfo",
    "Limit",
    "MlflowDeploymentClient",
    "own_tls",
    "tracking_credentials",
    "tracking_login",
]

_ENDPOINTS = "/api/2.0/endpoints/"  # with the slash: the gateway sends other spellings elsewhere
_READ_TIMEOUT = "MLFLOW_DEPLOYMENT_CLIENT_HTTP_REQUEST_TIMEOUT"
_QUERY_TIMEOUT = "MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT"
_Fields = dict[str, Any]


class _Fielded:
    """The two spellings by which mlflow's objects (pydantic models) become dicts."""

    __slots__ = ()

    def dict(self) -> _Fields:
        """All fields, nested ones too, in the API's names."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    def model_dump(self) -> _Fields:
        """The same."""
        return self.dict()


@dataclass(frozen=True, slots=True)
class EndpointModelInfo(_Fielded):
    """The model behind an endpoint."""

    name: str | None
    provider: str


@dataclass(frozen=True, slots=True)
class Limit(_Fielded):
    """So many calls in a ``renewal_period`` (``minute``, ``hour`` …), for each ``key`` where there is one."""

    calls: int
    key: str | None
    renewal_period: str


@dataclass(frozen=True, slots=True)
class Endpoint(_Fielded):
    """An endpoint of the gateway; ``endpoint_url`` is absolute."""

    name: str
    endpoint_type: str
    model: EndpointModelInfo
    endpoint_url: str
    limit: Limit | None


class MlflowDeploymentClient(OverHttp, EndpointsOnly):
    """An AI Gateway at ``target_uri`` (``http://host:port``); safe to use from several threads.

    Signed with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or those of ~/.mlflow/credentials),
    else MLFLOW_TRACKING_TOKEN, else not at all; ``credentials`` go before that. ``adapter``,
    ``pool_size``, ``stop``: as for :class:`reconciler.client.DatabricksDeploymentClient`. TLS:
    MLFLOW_TRACKING_SERVER_CERT_PATH, MLFLOW_TRACKING_CLIENT_CERT_PATH, MLFLOW_TRACKING_INSECURE_TLS.
    Errors are those of that client too. What writes raises NotImplementedError: the gateway cannot.
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
        super().__init__(target_uri)
        self._given = (credentials, adapter, stop)
        self.http = HttpSession(
            target_uri,
            credentials=credentials if credentials is not None else tracking_credentials(),
            adapter=adapter if adapter is not None else own_tls(pool_size),
            pool_size=pool_size,
            stop=stop,
        )

    # -- the login ---------------------------------------------------------------------------------------

    def login(self) -> Login:
        """How requests are signed, for people; asks nobody."""
        return tracking_login(self.host, self.http.credentials)

    def prove_login(self) -> str:
        """One read, of the first page of endpoints; says what was asked. Raises when it is refused."""
        answer = as_object("GET", _ENDPOINTS, self._read(_ENDPOINTS), is_safe=True)
        found = answer.get("endpoints")
        if not isinstance(found, list):
            raise _broken(_ENDPOINTS, "'endpoints' is not a list", f"check that {self.host} is a gateway")
        return f"GET {_ENDPOINTS}: {len(found)} endpoint{'' if len(found) == 1 else 's'}"

    # -- reads and queries -------------------------------------------------------------------------------

    def get_endpoint(self, endpoint: str) -> Endpoint:
        """One endpoint by name. Raises NotFound."""
        path = f"{_ENDPOINTS}{quote(endpoint)}"
        return _endpoint(as_object("GET", path, self._read(path), is_safe=True), path, self.host)

    def list_endpoints(self) -> list[Endpoint]:
        """All endpoints, from all pages."""
        found: list[Endpoint] = []
        token: Any = None
        seen: set[Any] = set()
        while True:
            params = None if token is None else {"page_token": token}
            answer = as_object("GET", _ENDPOINTS, self._read(_ENDPOINTS, params), is_safe=True)
            page = answer.get("endpoints", [])
            if not isinstance(page, list):
                raise _broken(_ENDPOINTS, "'endpoints' is not a list")
            found += [_endpoint(each, _ENDPOINTS, self.host) for each in page]
            token = answer.get("next_page_token")
            if token is None:
                return found
            if not isinstance(token, str | int) or token in seen:
                raise _broken(
                    _ENDPOINTS, "the pages never end", f"next_page_token is {clean(str(token), 60)}"
                )
            seen.add(token)

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> _Fields:
        """Query an endpoint with ``inputs`` (the body, a dict); ``deployment_name`` is not used.

        Repeated after 429, 500, 502, 503 and broken connections, not after a timeout: that is an error which
        names the setting (MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT, 120 seconds).
        """
        path = _invocations(endpoint)
        times = query_times()
        try:
            answer = self.http.request("POST", path, json=inputs, retry_safe=True, **times)
        except TransportError as error:
            raise _slow(error, _QUERY_TIMEOUT, times["timeout"], "or ask for a shorter answer") from error
        return as_object("POST", path, answer, is_safe=True)

    def predict_stream(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Iterator[_Fields]:
        """Query with ``"stream": true`` and yield the parts of the answer as they arrive.

        mlflow's own client has no such method; its gateway answers chat and completions this way. Raises
        BadAnswer when the gateway reports an error inside the stream, else as the Databricks client.
        """
        path = _invocations(endpoint)
        body = {**(inputs or {}), "stream": True}
        times = query_times()
        lines = self.http.lines("POST", path, json=body, headers=EVENT_STREAM, retry_safe=True, **times)
        yield from parts(lines, path, patience=times["total"], skipped=SSE_FIELDS, has_errors=True)

    # -- inside ------------------------------------------------------------------------------------------

    def _read(self, path: str, params: _Fields | None = None) -> Any:
        seconds = seconds_from_environment(_READ_TIMEOUT, 300.0)
        try:
            return self.http.request("GET", path, params=params, timeout=seconds)
        except TransportError as error:
            raise _slow(error, _READ_TIMEOUT, seconds) from error


def _slow(error: TransportError, variable: str, seconds: float, other: str = "") -> ReconcilerError:
    """``error``; when it is a timeout, one that says which setting to raise."""
    if not isinstance(error, requests.ReadTimeout):
        return error
    return joined(AnswerLost, requests.ReadTimeout)(
        f"the gateway gave no answer within {seconds:g} s",
        method=error.method,
        path=error.path,
        fix=", ".join(filter(None, [f"raise {variable} (now {seconds:g} seconds)", other])),
    )


def _invocations(endpoint: str | None) -> str:
    if not endpoint:
        raise UsageError("a query needs the name of an endpoint", fix="pass endpoint=<name>")
    return f"/endpoints/{quote(endpoint)}/invocations"


def _endpoint(fields: Any, path: str, host: str) -> Endpoint:
    """One endpoint of an answer; what mlflow does not know is passed over, as its client does."""
    try:
        model, limit = fields["model"], fields.get("limit")
        return Endpoint(
            name=_text(fields["name"]),
            endpoint_type=_text(fields["endpoint_type"]),
            model=EndpointModelInfo(name=model.get("name"), provider=_text(model["provider"])),
            endpoint_url=_absolute(host, _text(fields["endpoint_url"])),
            limit=None
            if limit is None
            else Limit(limit["calls"], limit.get("key"), _text(limit["renewal_period"])),
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        shown = clean(str(fields), 200)
        raise _broken(path, f"an endpoint lacks what the API promises: {shown}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _absolute(host: str, url: str) -> str:
    parts = urlsplit(url)
    return url if parts.scheme and parts.netloc else f"{host.rstrip('/')}/{url.lstrip('/')}"


def _broken(path: str, what: str, why: str = "") -> BadAnswer:
    return joined(BadAnswer, requests.RequestException)(what, method="GET", path=path, why=why)


# -- what mlflow's users have set ------------------------------------------------------------------------


_VARIABLES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


class _UserAndPassword(Credentials):
    """``source``: where both were found; ``settings``: by which names."""

    def __init__(self, user: str, password: str, source: str, settings: tuple[str, ...]) -> None:
        self.user = user
        self.source = source
        self.settings = settings
        self._pair = Secret(f"{user}:{password}")

    def headers(self) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(self._pair.reveal().encode()).decode("ascii")}

    def describe(self) -> str:
        return f"{' and '.join(self.settings)} of {self.source}"


def tracking_credentials() -> Credentials:
    """The login for an MLflow server: of the environment or ~/.mlflow/credentials, else Anonymous."""
    user, password = _setting("USERNAME"), _setting("PASSWORD")
    source, settings = "the environment", _VARIABLES
    if not (user and password):
        path = Path("~/.mlflow/credentials").expanduser()
        file = configparser.ConfigParser(interpolation=None)
        try:
            file.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read", why=type(error).__name__) from None
        # What the environment does not say is looked up there, as mlflow does.
        keys = ("mlflow_tracking_username", "mlflow_tracking_password")
        settings = (_VARIABLES[0] if user else keys[0], _VARIABLES[1] if password else keys[1])
        user = user or file.get("mlflow", keys[0], fallback="")
        password = password or file.get("mlflow", keys[1], fallback="")
        source = str(path)
    if user and password:
        return _UserAndPassword(user, password, source, settings)
    token = _setting("TOKEN")
    return Token(token, "MLFLOW_TRACKING_TOKEN") if token else Anonymous()


def tracking_login(host: str, credentials: Credentials | None) -> Login:
    """How these credentials were found, for people."""
    if isinstance(credentials, _UserAndPassword):
        return Login(host, credentials, "basic", credentials.source, credentials.settings)
    if credentials is None or isinstance(credentials, Anonymous):
        return Login(host, Anonymous(), "none", "nowhere")
    return Login(host, credentials, "token", "the environment", (credentials.describe(),))


def _setting(name: str) -> str:
    return os.environ.get(f"MLFLOW_TRACKING_{name}", "").strip()


class _TlsAdapter(HTTPAdapter):
    """The network, with a bundle and a client certificate of its own."""

    def __init__(self, pool_size: int, verify: str | bool | None, cert: str | tuple[str, str] | None) -> None:
        super().__init__(pool_connections=4, pool_maxsize=max(1, pool_size))
        self._verify, self._cert = verify, cert

    def send(self, request: Any, *arguments: Any, **options: Any) -> requests.Response:
        if self._verify is not None:
            options["verify"] = self._verify
        if self._cert is not None:
            options["cert"] = self._cert
        return super().send(request, *arguments, **options)


def own_tls(pool_size: int) -> BaseAdapter | None:
    """The network with MLflow's own settings for TLS; None when there are none. Raises UsageError."""
    bundle, cert = _setting("SERVER_CERT_PATH"), _setting("CLIENT_CERT_PATH")
    is_open = _setting("INSECURE_TLS").lower() in {"true", "1"}
    if bundle and is_open:
        raise UsageError(
            "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH exclude each other"
        )
    for path in filter(None, (bundle, cert)):
        if not Path(path).exists():
            raise UsageError(f"there is no certificate at {path}")
    if not (bundle or cert or is_open):
        return None
    return _TlsAdapter(pool_size, False if is_open else (bundle or None), cert or client_certificate())
