"""``reconciler auth check``: who we are to a target, found how, until when. Never the credential."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from reconciler.cli import inputs
from reconciler.cli import options as opt
from reconciler.cli.logins import LOGINS, Report
from reconciler.cli.output import answer, answer_json, tell
from reconciler.errors import ReconcilerError

__all__ = ["app", "check"]

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
    """Log in and say how: the way, where it comes from, for whom, until when. Never shows the credential.

    One cheap read proves it. A plugin logs in by itself: said is whether it can be loaded, and whose it is.
    """
    from reconciler.targets import family, is_local

    where = inputs.where(target, project, environment)
    tell(f"target: {where}")
    report: Report = {"ok": True, "target": where}
    if is_local(where):
        report["login"] = "none"
        _show(report, "no login is needed: the embedded workspace runs in this process", output)
        return 0
    try:
        LOGINS[family(where)](report, where)
    except ReconcilerError as error:
        if output is opt.Format.JSON:
            failed = {"what": error.what, "where": error.where, "why": error.why, "next": error.fix}
            answer_json({**report, "ok": False, "error": failed})
        elif "way" in report:
            answer(_text(report))
        raise
    _show(report, _text(report), output)
    return 0


_WAYS = {
    "pat": "a token",
    "oauth-m2m": "OAuth with a client id and secret",
    "basic": "user and password",
    "token": "a token",
    "none": "nothing is sent",
    "api-key": "a key",
    "entra-token": "a token of Entra ID",
    "plugin": "it logs in by itself; nothing was asked",
}
_LASTING = frozenset({"pat", "basic", "token", "api-key", "entra-token"})
"""Ways whose credential is used as it is until its end."""


def _text(report: Report) -> str:
    from reconciler.redact import control

    way = report["way"]
    if way == "plugin":
        rows = [("way", f"{way} ({_WAYS[way]})"), ("from", report["plugin"])]
        return "\n".join(f"{label:<12} {control(text)}" for label, text in rows)
    rows = [
        ("host", report["host"]),
        ("way", f"{way} ({_WAYS.get(way, 'databricks-sdk')})"),
        ("from", f"{report['source']}: {', '.join(report['settings'])}".rstrip(": ")),
    ]
    if user := report.get("user"):
        name = f" ({user['display_name']})" if user["display_name"] else ""
        rows.append(("as", user["user_name"] + name))
    elif "proof" in report:
        rows.append(("as", "not told: this API does not say" if way != "none" else "anybody"))
    rows.append(("until", _until(report)))
    if proof := report.get("proof"):
        rows.append(("proved by", proof))
    rows += [("passed over", sentence) for sentence in report["passed_over"]]
    return "\n".join(f"{label:<12} {control(text)}" for label, text in rows)


def _until(report: Report) -> str:
    if report["expires"] is None:
        return "no expiry known"
    left = datetime.fromisoformat(report["expires"]) - datetime.now(UTC)
    renewed = "" if report["way"] in _LASTING else "; renewed before that"
    return f"{report['expires']} (in {max(0, round(left.total_seconds() / 60))} min{renewed})"


def _show(report: Report, text: str, output: opt.Format) -> None:
    if output is opt.Format.JSON:
        answer_json(report)
    else:
        answer(text)
