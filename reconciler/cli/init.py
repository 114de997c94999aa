"""``reconciler init``: a first project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.output import answer
from reconciler.errors import UsageError

_PROJECT = """\
# yaml-language-server: $schema={schema}
apiVersion: reconciler/v1
kind: Project
stack: {stack}
# Where plan and apply go to. local is an embedded workspace in .reconciler/local.db: no account, no network.
# For Databricks write databricks (with DATABRICKS_HOST and DATABRICKS_TOKEN set) or databricks://PROFILE.
target: local
manifests: [manifests]
"""

_MANIFEST = """\
# yaml-language-server: $schema=../schemas/endpoint.schema.json
apiVersion: reconciler/v1
kind: Endpoint
metadata:
  name: support-chat
  labels: {team: support}
spec:
  config:
    served_entities:
      - name: gpt-4o
        external_model:
          provider: openai
          name: gpt-4o
          task: llm/v1/chat
          openai_config:
            openai_api_key: "{{secrets/serving/openai}}"
  ai_gateway:
    usage_tracking_config: {enabled: true}
    rate_limits:
      - {key: user, calls: 60, renewal_period: minute}
  tags: {team: support}
"""


def init(
    folder: Annotated[str, typer.Argument(help="Where to.")] = ".",
    stack: Annotated[
        str | None,
        typer.Option("--stack", metavar="NAME", help="Name of the stack; the folder's name by default."),
    ] = None,
) -> int:
    """Write a first project: reconciler.yaml, a manifest, the schemas for your editor. Overwrites nothing."""
    from reconciler.schema import names, read

    root = Path(folder)
    name = stack or root.resolve().name.lower().replace(" ", "-") or "main"
    files = {
        "reconciler.yaml": _PROJECT.format(schema="schemas/project.schema.json", stack=name),
        "manifests/support-chat.yaml": _MANIFEST,
        ".gitignore": ".reconciler/\n",
    }
    import json

    for one in names():
        files[f"schemas/{one}.schema.json"] = json.dumps(read(one), indent=2, ensure_ascii=False) + "\n"
    there = [path for path in ("reconciler.yaml", "manifests/support-chat.yaml") if (root / path).exists()]
    if there:
        raise UsageError(
            f"{', '.join(there)} is there already", where=folder, fix="init only makes new projects"
        )
    written = []
    for path, text in files.items():
        place = root / path
        if place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        written.append(path)
    where = "" if folder == "." else f"cd {folder} && "
    answer(
        "\n".join(
            [*(f"wrote {path}" for path in written if not path.startswith("schemas/")), "wrote schemas/"]
        )
        + f"\nnext: {where}reconciler plan"
    )
    return 0
