"""OpenAI, Azure OpenAI and servers of that API, with the methods of mlflow's OpenAIDeploymentClient.

On ``requests`` alone: the package ``openai`` is not needed. Facts: the API reference of OpenAI (models, chat
completions), Azure's ("chat completions", api-version), and the variables mlflow 3.17 reads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from requests.adapters import BaseAdapter

from reconciler.client.auth import Credentials, Login, Token
from reconciler.client.base import NotOffered
from reconciler.client.http import HttpSession, quote
from reconciler.client.over_http import EndpointsOnly
from reconciler.client.queries import EVENT_STREAM, SSE_FIELDS, as_object, parts, query_times
from reconciler.errors import AuthError, BadAnswer, UsageError

__all__ = ["OpenAIDeploymentClient"]

_PUBLIC = "https://api.openai.com/v1"
_AZURE = frozenset({"azure", "azure_ad", "azuread"})
_TYPES = frozenset({"", "openai", "open_ai"}) | _AZURE
_HEADERS = {"OPENAI_ORG_ID": "OpenAI-Organization", "OPENAI_PROJECT_ID": "OpenAI-Project"}


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the environment says now."""

    kind: str
    base_url: str
    version: str
    deployment: str
    headers: tuple[tuple[str, str], ...]

    @property
    def is_azure(self) -> bool:
        return self.kind in _AZURE


class _Key(Credentials):
    """OPENAI_API_KEY, looked up for every request."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def headers(self) -> dict[str, str]:
        token = Token(_key(), "OPENAI_API_KEY").headers()
        # Azure takes its own keys in a header of their own, and tokens of Entra ID as everybody does.
        return {"api-key": token["Authorization"].removeprefix("Bearer ")} if self._kind == "azure" else token

    def describe(self) -> str:
        return "OPENAI_API_KEY"

    def expires(self) -> datetime | None:
        return Token(_key()).expires()


class OpenAIDeploymentClient(EndpointsOnly):
    """Models of OpenAI or Azure OpenAI, read and queried; safe to use from several threads.

    Read from the environment with every call: OPENAI_API_KEY; OPENAI_API_BASE, else OPENAI_BASE_URL, else
    ``https://api.openai.com/v1``, for every call; OPENAI_ORG_ID, OPENAI_PROJECT_ID. OPENAI_API_TYPE ``azure``
    or ``azure_ad``: OPENAI_API_BASE, OPENAI_API_VERSION and OPENAI_DEPLOYMENT_NAME. ``adapter``,
    ``pool_size``, ``stop``: as for :class:`reconciler.client.DatabricksDeploymentClient`. Errors are those
    of that client too; AuthError without a key. What writes raises NotImplementedError.
    """

    def __init__(
        self,
        target_uri: str = "openai",
        *,
        adapter: BaseAdapter | None = None,
        pool_size: int = 64,
        stop: threading.Event | None = None,
    ) -> None:
        super().__init__(target_uri)
        self._given = (adapter, stop)
        self._adapter = adapter
        self._pool_size = pool_size
        self._stop = stop
        self._lock = threading.Lock()
        self._open: tuple[_Settings, HttpSession] | None = None

    @property
    def http(self) -> HttpSession:
        """The session to the server that the environment names now."""
        return self._session(_settings())

    @property
    def host(self) -> str:
        """The base URL of the API."""
        return _settings().base_url

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            if self._open is not None:
                self._open[1].close()

    def __enter__(self) -> OpenAIDeploymentClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- the login ---------------------------------------------------------------------------------------

    def login(self) -> Login:
        """How requests are signed, for people; asks nobody. Raises AuthError without a key."""
        _key()
        settings = _settings()
        bases = ("OPENAI_API_BASE", "AZURE_OPENAI_ENDPOINT" if settings.is_azure else "OPENAI_BASE_URL")
        base = [name for name in bases if _variable(name)][:1]
        azure = ("OPENAI_API_VERSION", "OPENAI_DEPLOYMENT_NAME") if settings.is_azure else ()
        names = ("OPENAI_API_KEY", "OPENAI_API_TYPE", *base, *azure, *_HEADERS)
        way = "entra-token" if settings.is_azure and settings.kind != "azure" else "api-key"
        used = tuple(name for name in names if _variable(name))
        return Login(settings.base_url, _Key(settings.kind), way, "the environment", used)

    def prove_login(self) -> str:
        """One read, of the models (on Azure those of the resource); says what was asked. Raises when it is
        refused. Source for Azure: its data-plane REST reference, "Models - List"."""
        _key()
        settings = _settings()
        path = "/openai/models" if settings.is_azure else "/models"
        params = {"api-version": settings.version} if settings.is_azure else None
        found = as_object(
            "GET", path, self._session(settings).request("GET", path, params=params), is_safe=True
        ).get("data")
        if not isinstance(found, list):
            raise BadAnswer("the answer lists no models", method="GET", path=path)
        return f"GET {path}: {len(found)} model{'' if len(found) == 1 else 's'}"

    # -- reads and queries -------------------------------------------------------------------------------

    def list_endpoints(self) -> dict[str, Any]:
        """The models this key may use, as the API answers: ``{"object": "list", "data": […]}``.

        Not offered for Azure: NotImplementedError.
        """
        return self._read("/models", "list_endpoints")

    def get_endpoint(self, endpoint: str) -> dict[str, Any]:
        """One model by name. Raises NotFound. Not offered for Azure: NotImplementedError."""
        return self._read(f"/models/{quote(endpoint)}", "get_endpoint")

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> dict[str, Any]:
        """Ask the model ``endpoint`` with the chat completions API; ``deployment_name`` is not used.

        ``inputs``: ``messages``, and whatever else the API takes. Repeats and times as for
        :meth:`reconciler.client.DatabricksDeploymentClient.predict`.
        """
        session, path, options = self._query(inputs, endpoint)
        answer = session.request("POST", path, **options, **query_times())
        return as_object("POST", path, answer, is_safe=True)

    def predict_stream(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """The same with ``"stream": true``: yields the parts of the answer as they arrive.

        mlflow's own client has no such method. Raises BadAnswer when the server reports an error inside the
        stream, else as the Databricks client.
        """
        session, path, options = self._query({**(inputs or {}), "stream": True}, endpoint)
        times = query_times()
        lines = session.lines("POST", path, headers=EVENT_STREAM, **options, **times)
        yield from parts(lines, path, patience=times["total"], skipped=SSE_FIELDS, has_errors=True)

    # -- inside ------------------------------------------------------------------------------------------

    def _read(self, path: str, method: str) -> dict[str, Any]:
        _key()
        settings = _settings()
        if settings.is_azure:
            raise NotOffered(f"Azure OpenAI does not offer {method}", why="its deployments belong to ARM")
        return as_object("GET", path, self._session(settings).request("GET", path), is_safe=True)

    def _query(self, inputs: Any, endpoint: str | None) -> tuple[HttpSession, str, dict[str, Any]]:
        """The session, the path and the arguments of a chat completion."""
        _key()
        settings = _settings()
        model = endpoint or settings.deployment
        if not model:
            raise UsageError("a query needs the name of a model", fix="pass endpoint=<model>")
        if not isinstance(inputs, dict) or "messages" not in inputs:
            raise UsageError("a query needs messages", fix='pass inputs={"messages": […]}')
        options: dict[str, Any] = {"json": {**inputs, "model": model}, "retry_safe": True}
        path = "/chat/completions"
        if settings.is_azure:
            path = f"/openai/deployments/{quote(settings.deployment or model)}{path}"
            options["params"] = {"api-version": settings.version}
        return self._session(settings), path, options

    def _session(self, settings: _Settings) -> HttpSession:
        with self._lock:
            if self._open is None or self._open[0] != settings:
                session = HttpSession(
                    settings.base_url,
                    credentials=_Key(settings.kind),
                    headers=dict(settings.headers),
                    adapter=self._adapter,
                    pool_size=self._pool_size,
                    stop=self._stop,
                )
                self._open = (settings, session)
            return self._open[1]


def _key() -> str:
    key = _variable("OPENAI_API_KEY")
    if not key:
        raise AuthError("OPENAI_API_KEY is not set", fix="set OPENAI_API_KEY to a key of OpenAI or Azure")
    return key


def _settings() -> _Settings:
    kind = _variable("OPENAI_API_TYPE").lower()
    if kind not in _TYPES:
        raise UsageError(f"OPENAI_API_TYPE={kind!r} is unknown", fix="set openai, azure or azure_ad")
    base, version = _variable("OPENAI_API_BASE"), _variable("OPENAI_API_VERSION")
    deployment = ""
    if kind in _AZURE:
        base = base or _variable("AZURE_OPENAI_ENDPOINT")
        deployment = _variable("OPENAI_DEPLOYMENT_NAME")
        missing = [
            name for name, text in (("OPENAI_API_BASE", base), ("OPENAI_API_VERSION", version)) if not text
        ]
        if missing:
            raise UsageError(f"Azure OpenAI needs {' and '.join(missing)}")
    headers = tuple((name, text) for key, name in _HEADERS.items() if (text := _variable(key)))
    base = base or _variable("OPENAI_BASE_URL") or _PUBLIC
    return _Settings(kind, base.rstrip("/"), version, deployment, headers)


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()
