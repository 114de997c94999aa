"""What promote makes of overlays: line ends, and entities that come and go with their routes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.cli.main import main
from tests.unit.manifest.projects import OVERLAY, PROD_OVERLAY, RANKER, Shop

_PROJECT = """\
environments:
  dev: {target: 'local:dev.db?provisioning=0s'}
  prod: {target: local:prod.db, overlays: [overlays/prod.yaml]}
promote:
  Endpoint:
    - config.served_entities[*].entity_version
    - tags
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET", raising=False)
    made = Shop(tmp_path)
    made.write("manifests/ranker.yaml", RANKER)
    made.project(_PROJECT)
    made.write("overlays/prod.yaml", PROD_OVERLAY)
    return made


def test_promote_keeps_the_line_ends_of_the_overlay(shop: Shop) -> None:
    file = shop.folder / "overlays" / "prod.yaml"
    file.write_bytes(PROD_OVERLAY.replace("\n", "\r\n").encode())
    assert main(["apply", "-e", "dev", "-y"]) == 0
    assert main(["promote", "--from", "dev", "--to", "prod"]) == 0
    wanted = PROD_OVERLAY.replace('"6"', '"7"').replace("  tags: {tier: gold}\n", "")
    assert file.read_bytes() == wanted.replace("\n", "\r\n").encode()


_THIRD = """\
spec:
  config:
    served_entities:
      - {name: challenger, $remove: true}
      - {name: third, entity_name: main.shop.ranker, entity_version: "9", workload_size: Small}
    traffic_config:
      routes:
        - {served_entity_name: challenger, $remove: true}
        - {served_entity_name: third, traffic_percentage: 20}
"""


def test_promote_exchanges_an_entity_with_its_route(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """On the way there the overlay's shares sum to more than 100: only the end is judged."""
    shop.write("overlays/dev.yaml", OVERLAY + _THIRD)
    shop.write(
        "overlays/prod.yaml",
        PROD_OVERLAY.replace(
            "  tags:",
            "    traffic_config: {routes: [{served_entity_name: challenger, "
            "traffic_percentage: 20}]}\n  tags:",
        ),
    )
    project = _PROJECT.replace("provisioning=0s'}", "provisioning=0s', overlays: [overlays/dev.yaml]}")
    shop.project(project.replace("served_entities[*].entity_version", "served_entities"))
    assert main(["apply", "-e", "dev", "-y"]) == 0
    before = (shop.folder / "overlays" / "prod.yaml").read_text()
    capsys.readouterr()

    assert main(["promote", "--from", "dev", "--to", "prod"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "what may travel, and nothing else, makes no valid manifests of prod" in told
    assert 'no served entity is named "challenger"' in told
    assert (shop.folder / "overlays" / "prod.yaml").read_text() == before

    shop.project(
        project.replace("served_entities[*].entity_version", "served_entities\n    - config.traffic_config")
    )
    assert main(["promote", "--from", "dev", "--to", "prod"]) == 0
    capsys.readouterr()
    assert main(["render", "-e", "prod", "-o", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["manifest"]["spec"]["config"]["served_entities"]] == [
        "champion",
        "third",
    ]
    routes = found["manifest"]["spec"]["config"]["traffic_config"]["routes"]
    assert routes[1] == {"served_entity_name": "third", "traffic_percentage": 20}
