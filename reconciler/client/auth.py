"""Who we are to a Databricks workspace: where credentials are found, and how they become headers.

Looked for in this order, the first complete source wins and sources are never mixed (a token found in one
place is not sent to a host found in another): what the caller gives; DATABRICKS_HOST with DATABRICKS_TOKEN;
DATABRICKS_HOST with DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET; a profile of ~/.databrickscfg
(DATABRICKS_CONFIG_FILE, DATABRICKS_CONFIG_PROFILE). A profile that is named by the caller goes before the
environment. Variables, file and keys are those of the Databricks tools (docs: "unified authentication").

More ways to authenticate are added to :data:`METHODS`.
"""

from __future__ import annotations

import abc
import base64
import configparser
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.errors import APIError, AuthError, NotFound, ReconcilerError
from reconciler.values import Secret

if TYPE_CHECKING:
    from reconciler.client.http import HttpSession

__all__ = [
    "METHODS",
    "Anonymous",
    "ClientSecret",
    "Credentials",
    "Login",
    "Settings",
    "Token",
    "normalise_host",
    "resolve",
]

_VARIABLES = {
    "host": "DATABRICKS_HOST",
    "token": "DATABRICKS_TOKEN",
    "client_id": "DATABRICKS_CLIENT_ID",
    "client_secret": "DATABRICKS_CLIENT_SECRET",
    "auth_type": "DATABRICKS_AUTH_TYPE",
}
_SDK_EXTRA = "reconciler[databricks-sdk]"
_HOW = (
    "set DATABRICKS_HOST with DATABRICKS_TOKEN, or with DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, "
    "or write a profile with these keys to ~/.databrickscfg"
)


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


@dataclass(frozen=True, slots=True)
class Settings:
    """What one source says: ``values`` under the keys of a profile; ``names`` of the same, for messages."""

    source: str
    values: Mapping[str, str] = field(repr=False)
    names: Mapping[str, str] = field(default_factory=dict)

    def get(self, key: str) -> str:
        """The value of a key, "" when the source does not give it."""
        return self.values.get(key, "").strip()

    def name(self, key: str) -> str:
        """What the user calls this key there."""
        return self.names.get(key, key)


@dataclass(frozen=True, slots=True)
class Login:
    """A workspace (``https://host``) and the credentials for it."""

    host: str
    credentials: Credentials


Method = Callable[[Settings, str], "Credentials | None"]


def _by_token(settings: Settings, host: str) -> Credentials | None:
    token = settings.get("token")
    return Token(token, f"{settings.name('token')} of {settings.source}") if token else None


def _by_client_secret(settings: Settings, host: str) -> Credentials | None:
    client_id, secret = settings.get("client_id"), settings.get("client_secret")
    if not (client_id and secret):
        return None
    return ClientSecret(host, client_id, secret, f"{settings.name('client_secret')} of {settings.source}")


# How credentials are made from one source, by auth_type, in order of preference. A way that needs another
# package joins here: a function that returns None where the source does not speak to it.
METHODS: dict[str, Method] = {"pat": _by_token, "oauth-m2m": _by_client_secret}


def resolve(
    profile: str | None = None,
    *,
    host: str | None = None,
    credentials: Credentials | None = None,
    env: Mapping[str, str] | None = None,
) -> Login:
    """Find the workspace and its credentials, in the order at the top of this file.

    ``profile``: a profile named by the caller: then nothing but it is looked at. ``host``: the workspace
    the caller wants; sources for another host are passed over. ``env``: instead of ``os.environ``.
    Raises AuthError that lists every source and what it lacks.
    """
    env = os.environ if env is None else env
    wanted = normalise_host(host) if host else None
    if credentials is not None and wanted is not None:
        return Login(wanted, credentials)
    gaps: list[str] = []
    if credentials is not None:
        for settings in _sources(profile, env, gaps):
            if settings.get("host"):
                return Login(normalise_host(settings.get("host")), credentials)
        raise AuthError("credentials were given, but no host", why="; ".join(gaps), fix="set DATABRICKS_HOST")
    for settings in _sources(profile, env, gaps):
        login = _login(settings, wanted, gaps)
        if login is not None:
            return login
    where = f"profile {profile}" if profile else (wanted or "Databricks")
    raise AuthError(f"no credentials for {where}", why="tried " + "; ".join(gaps), fix=_HOW)


def _sources(profile: str | None, env: Mapping[str, str], gaps: list[str]) -> list[Settings]:
    found = []
    if not profile:
        values = {key: env[variable] for key, variable in _VARIABLES.items() if env.get(variable, "").strip()}
        found.append(Settings("the environment", values, _VARIABLES))
    named = profile or env.get("DATABRICKS_CONFIG_PROFILE", "").strip() or None
    path = Path(env.get("DATABRICKS_CONFIG_FILE", "").strip() or "~/.databrickscfg")
    settings = _profile(path, named, gaps)
    return [*found, settings] if settings is not None else found


def _login(settings: Settings, wanted: str | None, gaps: list[str]) -> Login | None:
    own = normalise_host(settings.get("host")) if settings.get("host") else None
    if wanted is not None and own is not None and own != wanted:
        gaps.append(f"{settings.source}: is for {own}, not for {wanted}")
        return None
    host = own or wanted
    if host is None:
        gaps.append(f"{settings.source}: no {settings.name('host')}")
        return None
    kind = settings.get("auth_type")
    if kind and kind not in METHODS:
        raise AuthError(
            f"{settings.source} asks for {settings.name('auth_type')} {kind!r}, which is not built in",
            why=f"only {' and '.join(METHODS)} are; the others will need the extra {_SDK_EXTRA}",
            fix="give it a token, or a client_id and a client_secret",
        )
    for name, method in METHODS.items():
        if kind in {"", name} and (credentials := method(settings, host)) is not None:
            return Login(host, credentials)
    needs = [settings.name(key) for key in ("token", "client_id", "client_secret")]
    gaps.append(f"{settings.source}: has no {needs[0]}, and not both of {needs[1]} and {needs[2]}")
    return None


def _profile(path: Path, named: str | None, gaps: list[str]) -> Settings | None:
    # Sections stand for themselves, [DEFAULT] too: the Databricks tools do not inherit from it.
    parser = configparser.ConfigParser(interpolation=None, default_section="\n")
    try:
        path = path.expanduser()
        parser.read_string(path.read_text(encoding="utf-8-sig"), str(path))
    except FileNotFoundError:
        gaps.append(f"{path}: does not exist")
        return None
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise AuthError(f"{path} cannot be read", why=type(error).__name__) from None
    except configparser.Error as error:
        # The parser's own words quote the line, which may be a token.
        lines = [number for number, _ in getattr(error, "errors", ())] or [getattr(error, "lineno", 0)]
        raise AuthError(
            f"{path} is not a file of profiles", where=f"{path}:{lines[0]}", why=type(error).__name__
        ) from None
    name = named or parser.get("__settings__", "default_profile", fallback="").strip() or "DEFAULT"
    if name == "__settings__" or not parser.has_section(name):
        if not named:
            gaps.append(f"{path}: has no profile {name}")
            return None
        names = ", ".join(s for s in parser.sections() if s != "__settings__") or "none"
        raise AuthError(f"{path} has no profile {name}", why=f"its profiles: {names}", fix=_HOW)
    return Settings(f"profile {name} of {path}", dict(parser.items(name)))
