"""Every way to log in that databricks-sdk knows and we do not: Azure, Google, OIDC of runners, commands.

The SDK is the optional extra ``databricks``. It is imported when the first request is signed, never before:
that takes seconds. Which way it goes is decided here, from the settings of one source, and the SDK is told
so by name: left to itself it would mix the environment into a profile, and send the token of the one to the
host of the other. (Facts: databricks-sdk 0.156, ``config.py`` and ``credentials_provider.py``.)
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reconciler.client.credentials import Credentials, end_of, normalise_host
from reconciler.errors import AuthError
from reconciler.values import Secret

__all__ = [
    "EXTRA",
    "VARIABLES",
    "SdkCredentials",
    "Way",
    "chosen",
    "fallbacks",
    "is_installed",
    "open_without_host",
    "require",
]

EXTRA = "pip install 'reconciler[databricks]'"

# The keys of a profile that belong to these ways, with their variables.
VARIABLES = {
    "username": "DATABRICKS_USERNAME",
    "password": "DATABRICKS_PASSWORD",
    "metadata_service_url": "DATABRICKS_METADATA_SERVICE_URL",
    "oidc_token_env": "DATABRICKS_OIDC_TOKEN_ENV",
    "oidc_token_filepath": "DATABRICKS_OIDC_TOKEN_FILEPATH",
    "azure_workspace_resource_id": "DATABRICKS_AZURE_RESOURCE_ID",
    "azure_client_id": "ARM_CLIENT_ID",
    "azure_client_secret": "ARM_CLIENT_SECRET",
    "azure_tenant_id": "ARM_TENANT_ID",
    "azure_use_msi": "ARM_USE_MSI",
    "google_credentials": "GOOGLE_CREDENTIALS",
    "google_service_account": "DATABRICKS_GOOGLE_SERVICE_ACCOUNT",
}
_GITHUB = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_DEVOPS = "SYSTEM_ACCESSTOKEN"
_OIDC_TOKEN = "DATABRICKS_OIDC_TOKEN"  # noqa: S105 - the name of a variable
_RUNTIME = "DATABRICKS_RUNTIME_VERSION"
_SECRET_KEYS = ("token", "client_secret", "password", "azure_client_secret", "google_credentials")
_SECRET_VARIABLES = (_GITHUB, _DEVOPS, _OIDC_TOKEN)
_COMMANDS = {"azure-cli": "az", "databricks-cli": "databricks"}
_AZURE_HOSTS = (".azuredatabricks.net", ".databricks.azure.us", ".databricks.azure.cn")
# No secrets; and where the SDK asks "is it None?" of them, an empty text in their place would break a login.
_MAY_COME_FROM_ELSEWHERE = frozenset({"azure_tenant_id", "token_audience"})
_NEEDS_PROFILE = frozenset({"databricks-cli", "external-browser"})
_GIVES_HOST = frozenset({"runtime", "runtime-oauth", "model-serving"})
_NEXT = {
    "azure-cli": "run az login (on a machine with a managed identity: az login --identity)",
    "azure-msi": "databricks-sdk for Python has no managed identity of its own: run az login --identity "
    "and set DATABRICKS_AUTH_TYPE=azure-cli",
    "azure-client-secret": "check ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID",
    "databricks-cli": "run databricks auth login --host {host}",
    "github-oidc": "give the job the permission id-token: write, and check DATABRICKS_CLIENT_ID",
    "azure-devops-oidc": "map SYSTEM_ACCESSTOKEN into the step, and check DATABRICKS_CLIENT_ID",
    "google-credentials": "check GOOGLE_CREDENTIALS: a service account's key as JSON, or the path of one",
}
_ELSE = "check what the docs of Databricks ask for this way, or use a token"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of the SDK (its ``auth_type``) and the keys of the source that ask for it."""

    auth_type: str
    keys: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()

    @property
    def gives_host(self) -> bool:
        """The SDK finds the workspace by itself."""
        return self.auth_type in _GIVES_HOST or "azure_workspace_resource_id" in self.keys


def is_installed() -> bool:
    """The extra is there; finding out imports nothing of it."""
    try:
        return importlib.util.find_spec("databricks.sdk") is not None
    except (ImportError, ValueError):
        return False


def require(way: str, asked_by: str) -> None:
    """Raises AuthError when the extra is missing. ``asked_by``: the settings that need it."""
    if not is_installed():
        raise AuthError(
            f"{asked_by} asks for the login {way!r}, which needs databricks-sdk, and that is not installed",
            why="built in are only tokens and OAuth with a client id and secret",
            fix=f"{EXTRA}; or set a token, or a client id and a client secret",
        )


def chosen(values: Mapping[str, str], env: Mapping[str, str]) -> Way | None:
    """The way that the settings of one source ask for; None when they ask for none of the SDK's.

    The order is the SDK's own. ``env`` is looked at for what only runners set.
    """

    def has(*keys: str) -> bool:
        return all(values.get(key, "").strip() for key in keys)

    azure = tuple(key for key in values if key.startswith("azure_") and key != "azure_tenant_id" and has(key))
    if has("auth_type"):
        return Way(values["auth_type"].strip(), ("auth_type", *azure))
    if has("username", "password"):
        return Way("basic", ("username", "password"))
    if has("metadata_service_url"):
        return Way("metadata-service", ("metadata_service_url",))
    if has("oidc_token_env"):
        return Way("env-oidc", ("oidc_token_env",))
    if env.get(_OIDC_TOKEN):
        return Way("env-oidc", (), (_OIDC_TOKEN,))
    if has("oidc_token_filepath"):
        return Way("file-oidc", ("oidc_token_filepath",))
    if has("client_id") and not has("client_secret") and env.get(_GITHUB):
        return Way("github-oidc", ("client_id",), (_GITHUB,))
    if has("azure_client_id", "azure_client_secret"):
        return Way("azure-client-secret", azure)
    if _is_true(values.get("azure_use_msi", "")):
        return Way("azure-msi", azure)
    if has("azure_client_id") and env.get(_GITHUB):
        return Way("github-oidc-azure", azure, (_GITHUB,))
    if has("azure_client_id") or has("azure_workspace_resource_id"):
        return Way("azure-cli", azure)
    if has("client_id") and not has("client_secret") and env.get(_DEVOPS):
        return Way("azure-devops-oidc", ("client_id",), (_DEVOPS,))
    for name, key in (("google-credentials", "google_credentials"), ("google-id", "google_service_account")):
        if has(key):
            return Way(name, (key,))
    return None


def fallbacks(host: str | None, env: Mapping[str, str], gaps: list[str]) -> list[Way]:
    """What may work where a host is all that is known: logins of commands, and of a Databricks machine.

    A command that is not there is not asked; ``gaps`` gets a sentence for it.
    """
    ways = [Way("runtime", (), (_RUNTIME,))] if env.get(_RUNTIME) else []
    if env.get("IS_IN_DB_MODEL_SERVING_ENV") or env.get("IS_IN_DATABRICKS_MODEL_SERVING_ENV"):
        ways.append(Way("model-serving"))
    if host is not None:
        for name, command in _COMMANDS.items():
            if name == "azure-cli" and not host.endswith(_AZURE_HOSTS):
                continue
            own = env.get("DATABRICKS_CLI_PATH", "").strip() if command == "databricks" else ""
            if shutil.which(own or command, path=env.get("PATH", "")):
                ways.append(Way(name))
            else:
                gaps.append(f"{name}: the command {own or command} is not installed")
    if ways and not is_installed():
        gaps.append(f"{', '.join(way.auth_type for way in ways)}: needs {EXTRA}")
        return []
    return ways


class SdkCredentials(Credentials):
    """What the SDK signs requests with. It is asked for every request, by one thread at a time, and renews
    its tokens itself. The login begins with the first request.

    ``ways`` are tried in order until one works. ``values``: the settings of one source, under the keys of a
    profile. ``source``: where they came from. ``profile``: its name and its file, when it is one.
    ``others``: what was tried before, for the text of errors. ``make``: in place of the SDK's ``Config``.
    """

    def __init__(
        self,
        host: str | None,
        ways: Sequence[Way],
        values: Mapping[str, str],
        source: str,
        *,
        profile: tuple[str, str] | None = None,
        others: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        make: Callable[..., Any] | None = None,
    ) -> None:
        self.host = host or ""
        self._ways = tuple(ways)
        self._values = {key: Secret(value) for key, value in values.items()}
        self._source = source
        self._profile = profile
        self._others = tuple(others)
        env = os.environ if env is None else env
        self._secrets = _secrets(values, env)
        self._make = make
        self._lock = threading.Lock()
        self._config: Any = None
        self._used: Way | None = None
        self._seen = Secret("")

    @property
    def auth_type(self) -> str:
        """The SDK's name of the way; of all that may be, while the first request is not signed."""
        return self._used.auth_type if self._used else " or ".join(way.auth_type for way in self._ways)

    def headers(self) -> dict[str, str]:
        """What the SDK signs a request with. Raises AuthError."""
        with self._lock:
            if self._config is None:
                self._config = self._opened()
            failure = None
            try:
                headers = {str(name): str(value) for name, value in self._config.authenticate().items()}
            except Exception as error:  # of the SDK, of google.auth, of a command …
                failure = self._failure([f"{self.auth_type}: {self._words(error)}"], self.auth_type)
            if failure is not None:  # raised out here: the SDK's error is not its context
                raise failure
            self._seen = Secret(headers.get("Authorization", ""))
            return headers

    def describe(self) -> str:
        """The way, the source and the host."""
        where = f" for {self.host}" if self.host else ""
        return f"{self.auth_type} by databricks-sdk, from {self._source}{where}"

    def expires(self) -> datetime | None:
        """The end that stands in the token, when it is a JWT; else what the SDK knows."""
        with self._lock:
            end = end_of(self._seen.reveal())
            if end is not None or self._config is None or self.auth_type in _COMMANDS:
                return end  # of a command's answer the SDK drops the time zone
            try:
                end = self._config.oauth_token().expiry
                return end.astimezone(UTC) if end is not None else None
            except Exception:
                return None

    def open(self) -> None:
        """Log in now. Raises AuthError."""
        with self._lock:
            if self._config is None:
                self._config = self._opened()

    def _opened(self) -> Any:
        make = self._make or _config_class()
        said: list[str] = []
        for way in self._ways:
            try:
                config = make(**self._arguments(way, make))
                host = normalise_host(config.host or "")
            except Exception as error:
                said.append(f"{way.auth_type}: {self._words(error)}")
                continue
            if self.host and host != self.host.removesuffix(":443"):
                said.append(f"{way.auth_type}: it is for {host}, not for {self.host}")
                continue
            self.host, self._used = self.host or host, way
            return config
        raise self._failure(said, self._ways[-1].auth_type)

    def _arguments(self, way: Way, make: Any) -> dict[str, Any]:
        """What the SDK's Config is made with: this source's values, and nothing of the environment's where
        another source was chosen."""
        attributes = list(make.attributes())
        known = {each.name for each in attributes}
        values = {key: value.reveal() for key, value in self._values.items() if key in known}
        if not _is_true(values.get("azure_use_msi", "")):
            values.pop("azure_use_msi", None)  # the SDK takes any text for yes
        foreign = {
            each.name: ""
            for each in attributes
            if each.auth and each.name not in _MAY_COME_FROM_ELSEWHERE and _is_set(each)
        }
        profile: dict[str, str] = {"profile": ""}
        if self._profile is not None and way.auth_type in _NEEDS_PROFILE:
            profile = {"profile": self._profile[0], "config_file": self._profile[1]}
        if self.host or os.environ.get("DATABRICKS_HOST"):
            values["host"] = self.host  # left out, not empty, where the SDK is to find it
        return {
            **foreign,
            **values,
            **profile,
            "auth_type": way.auth_type,
            "retry_timeout_seconds": 8,  # of looking at the host's metadata; else 300
            "http_timeout_seconds": 8,
        }

    def _words(self, error: Exception) -> str:
        from reconciler.client.answers import reason_of

        # Config appends all its settings to what it raises.
        text = re.split(r"\. (?:Config|Env): ", str(error) or type(error).__name__)[0]
        text = re.sub(r"^default auth: ([\w-]+: )?", "", text)
        if "cannot configure default credentials" in text:
            text = "databricks-sdk finds nothing it could log in with this way"
        return reason_of(ValueError(text), [each.reveal() for each in self._secrets])

    def _failure(self, said: Sequence[str], auth_type: str) -> AuthError:
        fix = _NEXT.get(auth_type, _ELSE).format(host=self.host or "<workspace>")
        what = f"no login to {self.host or 'Databricks'} with {self.auth_type} (from {self._source})"
        return AuthError(what, why="; ".join([*said, *self._others]), fix=fix)


def open_without_host(credentials: SdkCredentials) -> str:
    """Log in where the SDK must find the workspace; gives its host. Raises AuthError."""
    credentials.open()
    return credentials.host


def _is_true(text: str) -> bool:
    return text.strip().lower() in {"1", "true", "yes"}


def _is_set(attribute: Any) -> bool:
    names = (attribute.env, *getattr(attribute, "env_aliases", ()))
    return any(name and os.environ.get(name) for name in names)


def _config_class() -> Any:
    try:
        from databricks.sdk.config import Config
    except ImportError as error:
        raise AuthError("databricks-sdk cannot be imported", why=str(error), fix=EXTRA) from None
    return Config


def _secrets(values: Mapping[str, str], env: Mapping[str, str]) -> tuple[Secret, ...]:
    found = {values.get(key, "") for key in _SECRET_KEYS} | {env.get(name, "") for name in _SECRET_VARIABLES}
    found.add(env.get(values.get("oidc_token_env", "") or _OIDC_TOKEN, ""))
    try:
        account = json.loads(values.get("google_credentials", ""))
        found |= {str(value) for key, value in account.items() if key.startswith("private_key")}
    except (ValueError, AttributeError):
        pass  # a path
    return tuple(Secret(each.strip()) for each in found if each.strip())
