"""Who we are to a Databricks workspace: where credentials are found.

Looked for in this order, the first complete source wins and sources are never mixed (a token found in one
place is not sent to a host found in another): what the caller gives; the environment; a profile of
~/.databrickscfg (DATABRICKS_CONFIG_FILE, DATABRICKS_CONFIG_PROFILE). A profile that is named by the caller
goes before the environment. Within a source: a token, a client id and secret, whatever else it asks
databricks-sdk for (:mod:`reconciler.client.sdk_auth`). A source that gives a host and nothing more is served
last, by the logins of the commands ``databricks`` and ``az``. Variables, file and keys are those of the
Databricks tools (docs: "unified authentication").

Nothing here asks the network, except where only databricks-sdk can say which workspace is meant.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.client import sdk_auth
from reconciler.client.credentials import Anonymous, ClientSecret, Credentials, Token, normalise_host
from reconciler.client.sdk_auth import SdkCredentials, Way
from reconciler.errors import AuthError, UsageError

__all__ = [
    "METHODS",
    "Anonymous",
    "ClientSecret",
    "Credentials",
    "Login",
    "Settings",
    "Token",
    "client_certificate",
    "normalise_host",
    "resolve",
]

_VARIABLES = {
    "host": "DATABRICKS_HOST",
    "token": "DATABRICKS_TOKEN",
    "client_id": "DATABRICKS_CLIENT_ID",
    "client_secret": "DATABRICKS_CLIENT_SECRET",
    "auth_type": "DATABRICKS_AUTH_TYPE",
    **sdk_auth.VARIABLES,
}
_HOW = (
    "set DATABRICKS_HOST with DATABRICKS_TOKEN, or with DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, "
    "or write a profile with these keys to ~/.databrickscfg"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What one source says: ``values`` under the keys of a profile; ``names`` of the same, for messages;
    ``profile``: its name and its file, when it is one."""

    source: str
    values: Mapping[str, str] = field(repr=False)
    names: Mapping[str, str] = field(default_factory=dict)
    profile: tuple[str, str] | None = None

    def get(self, key: str) -> str:
        """The value of a key, "" when the source does not give it."""
        return self.values.get(key, "").strip()

    def name(self, key: str) -> str:
        """What the user calls this key there."""
        return self.names.get(key, key)


@dataclass(frozen=True, slots=True)
class Login:
    """A workspace (``https://host``) and the credentials for it; the rest says how they were found.

    ``way``: pat, oauth-m2m or an auth_type of databricks-sdk. ``source``: where from; ``settings``: what was
    used of it. ``passed_over``: a sentence for each other source, why it was not taken.
    """

    host: str
    credentials: Credentials
    way: str = ""
    source: str = "the caller"
    settings: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


Method = Callable[[Settings, str], "Credentials | None"]


def _by_token(settings: Settings, host: str) -> Credentials | None:
    token = settings.get("token")
    return Token(token, f"{settings.name('token')} of {settings.source}") if token else None


def _by_client_secret(settings: Settings, host: str) -> Credentials | None:
    client_id, secret = settings.get("client_id"), settings.get("client_secret")
    if not (client_id and secret):
        return None
    return ClientSecret(host, client_id, secret, f"{settings.name('client_secret')} of {settings.source}")


# How credentials are made from one source, by auth_type, in order of preference, before databricks-sdk is
# thought of: a function that returns None where the source does not speak to it.
METHODS: dict[str, Method] = {"pat": _by_token, "oauth-m2m": _by_client_secret}
_KEYS = {"pat": ("token",), "oauth-m2m": ("client_id", "client_secret")}


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
    tried: list[str] = []
    sources = _sources(profile, env, tried)
    if credentials is not None:
        for settings in sources:
            if settings.get("host"):
                return Login(normalise_host(settings.get("host")), credentials)
        raise AuthError(
            "credentials were given, but no host", why="; ".join(tried), fix="set DATABRICKS_HOST"
        )
    for number, settings in enumerate(sources):
        login = _login(settings, wanted, env, tried)
        if login is not None:
            later = [
                f"{each.source}: not looked at, {settings.source} comes first"
                for each in sources[number + 1 :]
            ]
            return replace(login, passed_over=(*tried, *later))
    for settings in sources or [Settings("this machine", {})]:
        login = _by_command(settings, wanted, env, tried)
        if login is not None:
            return replace(login, passed_over=tuple(tried))
    where = f"profile {profile}" if profile else (wanted or "Databricks")
    raise AuthError(f"no credentials for {where}", why="tried " + "; ".join(tried), fix=_HOW)


def _sources(profile: str | None, env: Mapping[str, str], tried: list[str]) -> list[Settings]:
    found = []
    if not profile:
        values = {key: env[variable] for key, variable in _VARIABLES.items() if env.get(variable, "").strip()}
        found.append(Settings("the environment", values, _VARIABLES))
    named = profile or env.get("DATABRICKS_CONFIG_PROFILE", "").strip() or None
    path = Path(env.get("DATABRICKS_CONFIG_FILE", "").strip() or "~/.databrickscfg")
    settings = _profile(path, named, tried)
    return [*found, settings] if settings is not None else found


def _login(settings: Settings, wanted: str | None, env: Mapping[str, str], tried: list[str]) -> Login | None:
    own = normalise_host(settings.get("host")) if settings.get("host") else None
    if wanted is not None and own is not None and own != wanted:
        tried.append(f"{settings.source}: is for {own}, not for {wanted}")
        return None
    host = own or wanted
    kind = settings.get("auth_type")
    if host is not None:
        for name, method in METHODS.items():
            if kind in {"", name} and (credentials := method(settings, host)) is not None:
                keys = (*(("host",) if own else ()), *_KEYS.get(name, ("auth_type",)))
                used = tuple(settings.name(key) for key in keys)
                return Login(host, credentials, name, settings.source, used)
    way = None if kind in METHODS else sdk_auth.chosen(settings.values, env)
    if host is None and (way is None or not way.gives_host):
        tried.append(f"{settings.source}: no {settings.name('host')}")
        return None
    if way is not None:
        asking = (*(settings.name(key) for key in way.keys), *way.variables)
        sdk_auth.require(way.auth_type, f"{', '.join(asking)} of {settings.source}")
        used = (settings.name("host"), *asking) if own else asking
        return _by_sdk(settings, host, [way], used, env, tried)
    needs = [settings.name(key) for key in ("token", "client_id", "client_secret")]
    tried.append(f"{settings.source}: has no {needs[0]}, and not both of {needs[1]} and {needs[2]}")
    return None


def _by_command(
    settings: Settings, wanted: str | None, env: Mapping[str, str], tried: list[str]
) -> Login | None:
    """What is left where a source names a host and no way: the logins of commands, and of this machine."""
    own = normalise_host(settings.get("host")) if settings.get("host") else None
    if settings.get("auth_type") or (wanted is not None and own not in {None, wanted}):
        return None
    ways = sdk_auth.fallbacks(own or wanted, env, tried)
    if not ways:
        return None
    used = (settings.name("host"),) if own else tuple(name for way in ways for name in way.variables)
    return _by_sdk(settings, own or wanted, ways, used, env, tried)


def _by_sdk(
    settings: Settings,
    host: str | None,
    ways: Sequence[Way],
    used: tuple[str, ...],
    env: Mapping[str, str],
    tried: Sequence[str],
) -> Login:
    credentials = SdkCredentials(
        host, ways, settings.values, settings.source, profile=settings.profile, others=tried, env=env
    )
    host = host or sdk_auth.open_without_host(credentials)
    return Login(host, credentials, credentials.auth_type, settings.source, used)


def client_certificate() -> str | tuple[str, str] | None:
    """What RECONCILER_CLIENT_CERT names: one PEM file with certificate and key, or ``cert,key``.

    ``requests`` takes such a pair and has no variable for it. Raises UsageError for a file that is not there.
    """
    paths = [part.strip() for part in os.environ.get("RECONCILER_CLIENT_CERT", "").split(",")]
    if paths == [""]:
        return None
    for path in paths:
        if len(paths) > 2 or not Path(path).is_file():
            raise UsageError(
                f"RECONCILER_CLIENT_CERT: there is no file {path!r}",
                fix="set it to a PEM file with certificate and key, or to <certificate>,<key>",
            )
    return paths[0] if len(paths) == 1 else (paths[0], paths[1])


def _profile(path: Path, named: str | None, tried: list[str]) -> Settings | None:
    # Sections stand for themselves, [DEFAULT] too: the Databricks tools do not inherit from it.
    parser = configparser.ConfigParser(interpolation=None, default_section="\n")
    try:
        path = path.expanduser()
        parser.read_string(path.read_text(encoding="utf-8-sig"), str(path))
    except FileNotFoundError:
        tried.append(f"{path}: does not exist")
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
            tried.append(f"{path}: has no profile {name}")
            return None
        names = ", ".join(s for s in parser.sections() if s != "__settings__") or "none"
        raise AuthError(f"{path} has no profile {name}", why=f"its profiles: {names}", fix=_HOW)
    return Settings(f"profile {name} of {path}", dict(parser.items(name)), {}, (name, str(path)))
