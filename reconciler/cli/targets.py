"""``reconciler targets``: where a plan may go to, and why somewhere it may not."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli import options as opt
from reconciler.cli.output import answer, answer_json

Check = Annotated[
    bool,
    typer.Option(
        "--check/--no-check",
        help="Load every plugin and look for the credentials of Databricks (no target is asked); "
        "--no-check lists what is installed, which is quicker.",
    ),
]


def targets(check: Check = True, output: opt.Output = opt.Format.TEXT) -> int:
    """List the targets that can be used here: built in and installed plugins, with what is wrong with one."""
    from reconciler.client.plugins import TargetInfo, available_targets
    from reconciler.plugin_target import printing_to_stderr

    ours = [
        TargetInfo(name, "built-in", True, "", "reconciler")
        for name in ("local", "mlflow-gateway+http", "mlflow-gateway+https")
    ]
    with printing_to_stderr():  # a plugin may print while it is loaded
        found = sorted([*ours, *available_targets(check=check)])
    if output is opt.Format.JSON:
        answer_json(
            [
                {"name": t.name, "kind": t.kind, "available": t.available, "why": t.why, "origin": t.origin}
                for t in found
            ]
        )
        return 0
    from reconciler.redact import control

    rows = [("TARGET", "KIND", "FROM", "")]
    rows += [(t.name, t.kind, t.origin, t.why if t.available else f"not available: {t.why}") for t in found]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
    answer("\n".join(control(line.rstrip()) for line in lines))
    return 0
