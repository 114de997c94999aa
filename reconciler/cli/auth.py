"""``reconciler auth check``: who we are to a target, found how, until when. Never the credential."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer

from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json, know, tell
from reconciler.errors import BadAnswer, ReconcilerError, UsageError
from reconciler.values import Secret

if TYPE_CHECKING:
    from reconciler.client.auth import Login

__all__ = ["app", "check"]

_ME = "/api/2.0/preview/scim/v2/Me"

app = typer.Typer(help="Who you are to a target.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Who you are to a target."""


@app.command(name="check")
def check(
    target: opt.Target = None,
    environment: opt.Environments = None,
    project: opt.ProjectFile = None,
    output: opt.Output = opt.Format.TEXT,
) -> int:
    """Log in and say how: the way, where it comes from, for whom, until when. Never shows the credential."""
    from reconciler.targets import is_local

    where = opt.where(target, project, environment)
    tell(f"target: {where}")
    report: dict[str, Any] = {"ok": True, "target": where}
    if is_local(where):
        report["login"] = "none"
        _show(report, "no login is needed: the embedded workspace runs in this process", output)
        return 0
    try:
        _fill(report, where)
    except ReconcilerError as error:
        if output is opt.Format.JSON:
            failed = {"what": error.what, "where": error.where, "why": error.why, "next": error.fix}
            answer_json({**report, "ok": False, "error": failed})
        elif "way" in report:
            answer(_text(report))
        raise
    _show(report, _text(report), output)
    return 0


def _fill(report: dict[str, Any], where: str) -> None:
    """What is known, as soon as it is: a failure further on is shown with it. Raises ReconcilerError."""
    from reconciler.client.auth import resolve
    from reconciler.client.http import HttpSession

    login = resolve(_profile(where))
    report |= _found(login)
    secret = login.credentials.headers().get("Authorization", "")
    know([Secret(secret), Secret(secret.partition(" ")[2])])
    report |= _found(login)  # of several ways that may work, it is known now which one did
    session = HttpSession(login.host, credentials=login.credentials, pool_size=1)
    try:
        me = session.request("GET", _ME)
    finally:
        session.close()
    if not isinstance(me, dict) or not isinstance(me.get("userName"), str):
        raise BadAnswer("the answer names no user", method="GET", path=_ME, fix=f"check {login.host}")
    name = me.get("displayName")
    report["user"] = {"user_name": me["userName"], "display_name": name if isinstance(name, str) else ""}


def _profile(where: str) -> str | None:
    parts = urlsplit(where)
    if where == "databricks":
        return None
    if parts.scheme == "databricks" and parts.netloc and ":" not in parts.netloc:
        return parts.netloc
    raise UsageError(
        f"auth check does not know the login of {where!r}",
        fix="use databricks, databricks://PROFILE or local",
    )


def _found(login: Login) -> dict[str, Any]:
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


_WAYS = {"pat": "a token", "oauth-m2m": "OAuth with a client id and secret"}


def _text(report: dict[str, Any]) -> str:
    from reconciler.redact import control

    way = report["way"]
    rows = [
        ("host", report["host"]),
        ("way", f"{way} ({_WAYS.get(way, 'databricks-sdk')})"),
        ("from", f"{report['source']}: {', '.join(report['settings'])}".rstrip(": ")),
    ]
    if user := report.get("user"):
        name = f" ({user['display_name']})" if user["display_name"] else ""
        rows.append(("as", user["user_name"] + name))
    rows.append(("until", _until(report)))
    rows += [("passed over", sentence) for sentence in report["passed_over"]]
    return "\n".join(f"{label:<12} {control(text)}" for label, text in rows)


def _until(report: dict[str, Any]) -> str:
    if report["expires"] is None:
        return "no expiry known"
    left = datetime.fromisoformat(report["expires"]) - datetime.now(UTC)
    renewed = "; renewed before that" if report["way"] != "pat" else ""
    return f"{report['expires']} (in {max(0, round(left.total_seconds() / 60))} min{renewed})"


def _show(report: dict[str, Any], text: str, output: opt.Format) -> None:
    if output is opt.Format.JSON:
        answer_json(report)
    else:
        answer(text)
