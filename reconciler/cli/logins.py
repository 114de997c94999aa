"""Who we are to each family of targets: how the login is found, and one cheap read that proves it.

Each function fills a report as it goes, so that a failure further on is shown with what was known by then.
Never the credential.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.cli.output import know
from reconciler.errors import BadAnswer, UsageError
from reconciler.values import Secret

if TYPE_CHECKING:
    from reconciler.client.auth import Login
    from reconciler.client.credentials import Credentials

__all__ = ["LOGINS", "Report"]

Report = dict[str, Any]
_ME = "/api/2.0/preview/scim/v2/Me"
# Claims of a token that say whom it is for, the one that people know best first (OpenID Connect Core 1.0,
# section 5.1; access tokens of Entra ID: upn, appid).
_NAMES = ("upn", "preferred_username", "email", "sub", "appid")


def databricks(report: Report, target: str) -> None:
    """A workspace: who it says that we are."""
    from reconciler.client.auth import resolve
    from reconciler.client.http import HttpSession

    login = resolve(_profile(target))
    _sign(report, login)
    session = HttpSession(login.host, credentials=login.credentials, pool_size=1)
    try:
        me = session.request("GET", _ME)
    finally:
        session.close()
    if not isinstance(me, dict) or not isinstance(me.get("userName"), str):
        raise BadAnswer("the answer names no user", method="GET", path=_ME, fix=f"check {login.host}")
    name = me.get("displayName")
    report["user"] = {"user_name": me["userName"], "display_name": name if isinstance(name, str) else ""}
    report["proof"] = f"GET {_ME}"


def gateway(report: Report, target: str) -> None:
    """An MLflow AI Gateway: the user of Basic, or whom a token names; it has no route that says."""
    from reconciler.client.mlflow import MlflowDeploymentClient

    with MlflowDeploymentClient(target, pool_size=1) as client:
        _prove(report, client)


def mlflow_gateway(report: Report, target: str) -> None:
    """The AI Gateway in a tracking server: the login of MLflow's users, as for the other one."""
    from reconciler.client.gateway import MlflowGatewayClient

    with MlflowGatewayClient(target, pool_size=1) as client:
        _prove(report, client)


def openai(report: Report, target: str) -> None:
    """OpenAI or Azure OpenAI: no route says whose a key is; an organization and a project may be set."""
    from reconciler.client.openai import OpenAIDeploymentClient

    with OpenAIDeploymentClient(target, pool_size=1) as client:
        _prove(report, client)


def plugin(report: Report, target: str) -> None:
    """A plugin logs in by itself; what can be told is whether it can be loaded, and whose it is."""
    from reconciler.client.base import target_of
    from reconciler.client.plugins import plugin_client, plugin_origin
    from reconciler.plugin_target import printing_to_stderr

    name = target_of(target)
    report |= {"way": "plugin", "plugin": plugin_origin(name)}
    with printing_to_stderr():
        plugin_client(name)


LOGINS: Mapping[str, Callable[[Report, str], None]] = {
    "databricks": databricks,
    "gateway": gateway,
    "mlflow-gateway": mlflow_gateway,
    "openai": openai,
    "plugin": plugin,
}
"""By ``reconciler.targets.family``. A client with ``login()`` and ``prove_login()`` takes one line."""


def _prove(report: Report, client: Any) -> None:
    login = client.login()
    _sign(report, login)
    if user := _user_of(login.credentials):
        report["user"] = {"user_name": user, "display_name": ""}
    report["proof"] = client.prove_login()


def _sign(report: Report, login: Login) -> None:
    """The report of a login, after it signed once; from here on every output masks the credential."""
    from reconciler.client.answers import secrets_in_header

    report |= _found(login)
    values = login.credentials.headers().values()
    know([Secret(text) for value in values for text in {value, *secrets_in_header(value)} if text])
    report |= _found(login)  # of several ways that may work, it is known now which one did


def _user_of(credentials: Credentials) -> str:
    from reconciler.client.credentials import claims_of

    if user := getattr(credentials, "user", ""):
        return str(user)
    claims = claims_of(credentials.headers().get("Authorization", ""))
    return next((str(claims[name]) for name in _NAMES if isinstance(claims.get(name), str)), "")


def _found(login: Login) -> Report:
    end = login.credentials.expires()
    return {
        "host": login.host,
        "way": getattr(login.credentials, "auth_type", login.way),
        "source": login.source,
        "settings": list(login.settings),
        "credential": login.credentials.describe(),
        "expires": end.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if end else None,
        "passed_over": list(login.passed_over),
    }


def _profile(target: str) -> str | None:
    parts = urlsplit(target)
    if target == "databricks":
        return None
    if parts.scheme == "databricks" and parts.netloc and ":" not in parts.netloc:
        return parts.netloc
    raise UsageError(f"{target!r} names no profile", fix="use databricks, or databricks://PROFILE")
