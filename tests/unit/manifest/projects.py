"""Projects with environments, made in a folder, and what their environments come to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.errors import ManifestError, Problem
from reconciler.manifest import Loaded, load, load_project
from reconciler.manifest.environments import choose
from reconciler.manifest.layers import Layers

HEAD = "apiVersion: reconciler/v1\nkind: Project\nstack: shop\nmanifests: [manifests]\n"
OVERLAY = "apiVersion: reconciler/v1\nkind: Overlay\naddress: Endpoint/ranker\n"
RANKER = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: ranker}
spec:
  config:
    served_entities:
      - name: champion
        entity_name: main.ml.ranker
        entity_version: "7"
        workload_size: Small
      - name: challenger
        entity_name: main.ml.ranker
        entity_version: "8"
        workload_size: Small
    traffic_config:
      routes:
        - {served_entity_name: champion, traffic_percentage: 80}
        - {served_entity_name: challenger, traffic_percentage: 20}
"""
PROD_OVERLAY = f"""\
# What prod has otherwise.
{OVERLAY}spec:
  config:
    served_entities:
      - name: champion      # the one that most see
        entity_version: "6"
  tags: {{tier: gold}}
"""


class Shop:
    """A project in the current folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("manifests/ranker.yaml", RANKER)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def project(self, text: str) -> None:
        self.write("reconciler.yaml", HEAD + text)

    def load(self, name: str | None = None, paths: list[str] | None = None, **options: Any) -> Loaded:
        project = load_project(Path("reconciler.yaml"))
        layers = Layers(project, choose(project, name), is_whole=not paths)
        options.setdefault("environ", {"KEY": "sk-canary-0123456789"})
        return load(paths or project.manifests, root=Path(), layers=layers, **options)

    def spec(self, name: str | None = None) -> Mapping[str, Any]:
        return self.load(name).resources[0].spec

    def problems(self, name: str | None = None) -> list[Problem]:
        try:
            self.load(name)
        except ManifestError as error:
            return list(error.problems)
        return []

    def told(self, name: str | None = None) -> list[str]:
        return [f"{p.file}:{p.line} {p.rule}" for p in self.problems(name)]
