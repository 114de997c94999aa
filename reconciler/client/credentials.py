"""Credentials, and how they become headers: a token, a client secret, none. Found by :mod:`client.auth`."""

from __future__ import annotations

import abc
import base64
import binascii
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.errors import APIError, AuthError, NotFound, ReconcilerError
from reconciler.values import Secret

if TYPE_CHECKING:
    from reconciler.client.http import HttpSession

__all__ = [
    "Anonymous",
    "ClientSecret",
    "Credentials",
    "Token",
    "claims_of",
    "end_of",
    "normalise_host",
]


class Credentials(abc.ABC):
    """Something that signs requests; safe to use from several threads."""

    @abc.abstractmethod
    def headers(self) -> dict[str, str]:
        """The headers that sign one request. Raises AuthError when there are none to be had."""

    @abc.abstractmethod
    def describe(self) -> str:
        """What it is and where it came from, never the credential itself."""

    def refused(self, headers: Mapping[str, str]) -> bool:
        """A request with ``headers`` was answered 401: may the next :meth:`headers` fare better?"""
        return False

    def expires(self) -> datetime | None:
        """When what :meth:`headers` gave last ends, where that is known. Asks nobody."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()})"


class Anonymous(Credentials):
    """No credential at all, for targets that ask for none."""

    def headers(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def describe(self) -> str:
        """``none``."""
        return "none"


class Token(Credentials):
    """A bearer token that does not change. ``source``: where it came from, for messages."""

    def __init__(self, token: str | Secret, source: str = "a token given by the caller") -> None:
        text = (token.reveal() if isinstance(token, Secret) else token).strip()
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise AuthError(f"{source} is not a token", why="it is empty, or has characters no token has")
        self._token = Secret(text)
        self._source = source

    def headers(self) -> dict[str, str]:
        """``Authorization: Bearer …``."""
        return {"Authorization": f"Bearer {self._token.reveal()}"}

    def describe(self) -> str:
        """Where the token came from."""
        return self._source

    def expires(self) -> datetime | None:
        """The end that stands in it, when it is a JWT."""
        return end_of(self.headers()["Authorization"])


class _Basic(Credentials):
    def __init__(self, user: str, password: Secret) -> None:
        self._pair = Secret(f"{user}:{password.reveal()}")

    def headers(self) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(self._pair.reveal().encode()).decode("ascii")}

    def describe(self) -> str:
        return "client id and secret"


class ClientSecret(Credentials):
    """OAuth for service principals: a client id and secret, turned into tokens that are renewed in time.

    The token route is what ``{host}/oidc/.well-known/oauth-authorization-server`` names, or
    ``{host}/oidc/v1/token`` where that does not exist (Databricks docs, "OAuth M2M"). However many threads
    ask, one token is fetched at a time. ``now`` (seconds from any fixed point) is replaced in tests;
    ``open_session`` makes the session that a token is fetched with.
    """

    EARLY = 60.0  # seconds before its end from which on a token is renewed
    LIFETIME = 3600.0  # seconds, for an answer without a usable expires_in

    def __init__(
        self,
        host: str,
        client_id: str,
        client_secret: str | Secret,
        source: str = "a client id and secret given by the caller",
        *,
        now: Callable[[], float] = time.monotonic,
        open_session: Callable[..., HttpSession] | None = None,
    ) -> None:
        self.host = normalise_host(host)
        self._client_id = client_id.strip()
        secret = client_secret.reveal() if isinstance(client_secret, Secret) else client_secret
        self._secret = Secret(secret.strip())
        if not self._client_id or not self._secret.reveal():
            raise AuthError(f"{source}: the client id or the client secret is empty")
        self._source = source
        self._now = now
        self._open_session = open_session
        self._lock = threading.Lock()
        # token, renewed from this moment on, unusable from that moment on
        self._token: tuple[Secret, float, float] | None = None
        self._route = ""

    def headers(self) -> dict[str, str]:
        """``Authorization: Bearer …``, fetching or renewing the token where it is time. Raises AuthError."""
        held = self._token
        if held is None or self._now() >= held[1]:
            held = self._renewed(held)
        return {"Authorization": f"Bearer {held[0].reveal()}"}

    def describe(self) -> str:
        """Where the client id came from; the id is no secret and is shown."""
        return f"{self._source}, client id {self._client_id}"

    def expires(self) -> datetime | None:
        """The end of the token at hand, None before the first one."""
        held = self._token
        return datetime.now(UTC) + timedelta(seconds=held[2] - self._now()) if held is not None else None

    def refused(self, headers: Mapping[str, str]) -> bool:
        """Drop the token of the refused request, unless another thread has renewed it already."""
        with self._lock:
            held = self._token
            if held is not None and headers.get("Authorization") == f"Bearer {held[0].reveal()}":
                self._token = None
        return True

    def _renewed(self, seen: tuple[Secret, float, float] | None) -> tuple[Secret, float, float]:
        with self._lock:
            held = self._token
            if held is not None and self._now() < held[1]:
                return held  # another thread was here first
            try:
                held = self._fetch()
            except ReconcilerError as error:
                if held is not None and self._now() < held[2]:
                    return held  # still good: whoever asks next tries again
                raise self._failure(error) from error
            self._token = held
            return held

    def _failure(self, error: ReconcilerError) -> AuthError:
        if isinstance(error, AuthError):
            return error
        hint = (
            "check DATABRICKS_HOST" if not isinstance(error, APIError) else "check the client id and secret"
        )
        return AuthError(f"{self.host} gave no token for {self.describe()}", why=str(error), fix=hint)

    def _fetch(self) -> tuple[Secret, float, float]:
        self._route = self._route or self._discovered()
        parts = urlsplit(self._route)
        began = self._now()
        with_basic = _Basic(self._client_id, self._secret)
        form = {"grant_type": "client_credentials", "scope": "all-apis"}
        session = self._session(f"{parts.scheme}://{parts.netloc}", with_basic)
        try:
            answer = session.request("POST", parts.path or "/", form=form, retry_safe=True, total=120.0)
        finally:
            session.close()
        token = answer.get("access_token") if isinstance(answer, dict) else None
        kind = answer.get("token_type", "Bearer") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not isinstance(kind, str) or kind.lower() != "bearer":
            raise AuthError(f"the token route of {self.host} answered without a bearer token")
        Token(token, f"the answer of the token route of {self.host}")
        life = _lifetime(answer.get("expires_in"))
        return Secret(token), began + life - min(self.EARLY, life / 2), began + life

    def _discovered(self) -> str:
        session = self._session(self.host, None)
        try:
            answer = session.request("GET", "/oidc/.well-known/oauth-authorization-server")
        except NotFound:
            return f"{self.host}/oidc/v1/token"
        finally:
            session.close()
        route = answer.get("token_endpoint") if isinstance(answer, dict) else None
        if not isinstance(route, str) or not _is_trusted(route, self.host):
            raise AuthError(
                f"{self.host} names a token route that the client secret is not sent to",
                why="it must be https, or lie on the workspace's own host",
            )
        return route

    def _session(self, base_url: str, credentials: Credentials | None) -> HttpSession:
        if self._open_session is not None:
            return self._open_session(base_url, credentials=credentials)
        from reconciler.client.http import HttpSession  # requests is slow to import

        return HttpSession(base_url, credentials=credentials, pool_size=1)


def _lifetime(expires_in: Any) -> float:
    try:
        seconds = float(expires_in)
    except (TypeError, ValueError):
        return ClientSecret.LIFETIME
    return seconds if 0 < seconds < 1e9 else ClientSecret.LIFETIME


def _is_trusted(route: str, host: str) -> bool:
    try:
        to, here = urlsplit(route), urlsplit(host)
        if to.username is not None or to.query or to.fragment or not to.hostname:
            return False
        same = (to.hostname, to.port) == (here.hostname, here.port)
    except ValueError:
        return False
    # Plain http only where the workspace itself is plain http (emulators on loopback): never a step down.
    return to.scheme == "https" or (to.scheme == "http" == here.scheme and same)


def normalise_host(text: str) -> str:
    """``https://host[:port]`` from what people write: scheme added when missing, path and query dropped.

    Raises AuthError when it is no host, when it has a scheme but http and https, or a user in it.
    """
    written = text.strip()
    try:
        parts = urlsplit(written if "://" in written else f"https://{written}")
        _ = parts.port  # raises when it is no number
    except ValueError:
        parts = urlsplit("")
    fix = "write it as https://<workspace>"
    if parts.username is not None:
        raise AuthError("the workspace host holds a user or a password", fix=fix)
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname or " " in parts.netloc:
        raise AuthError(f"{written[:200]!r} is not a workspace host", fix=fix)
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}"


def claims_of(header: str) -> Mapping[str, Any]:
    """The claims of a bearer token that is a JWT (RFC 7519), else none. They are read to be shown, so the
    signature is no matter. ``header``: the value of ``Authorization``."""
    parts = header.partition(" ")[2].split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def end_of(header: str) -> datetime | None:
    """When a bearer token ends that says so itself (the claim ``exp``, seconds since 1970)."""
    try:
        return datetime.fromtimestamp(claims_of(header)["exp"], UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
