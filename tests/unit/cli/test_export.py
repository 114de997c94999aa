"""``reconciler export``: files that nobody's work is lost to, and an empty plan after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.cli.main import main

_CANARY = "sk-canary-0123456789abcdef"
_TARGET = "local:w.db"
_MANIFEST = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: ranker}
spec:
  config:
    served_entities:
      - name: m
        entity_name: main.ml.ranker
        entity_version: "1"
        environment_vars: {API_KEY: "${env:A_KEY}", FROM: "{{secrets/a/b}}"}
  tags: {team: search}
  permissions: [{group_name: analysts, permission_level: CAN_QUERY}]
---
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: chat}
spec:
  tags: {team: support}
"""
_RANKER = """\
# yaml-language-server: $schema=../../schemas/endpoint.schema.json
apiVersion: reconciler/v1
kind: Endpoint
metadata:
  name: ranker
spec:
  config:
    served_entities:
      - name: m
        entity_name: main.ml.ranker
        entity_version: '1'
        scale_to_zero_enabled: false
        min_provisioned_concurrency: 4
        max_provisioned_concurrency: 4
        environment_vars:
          API_KEY: ${env:RANKER_M_API_KEY}
          FROM: '{{secrets/a/b}}'
  tags:
    team: search
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two endpoints live on the embedded workspace of a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_KEY", _CANARY)
    Path("m.yaml").write_text(_MANIFEST)
    assert main(["apply", "m.yaml", "--target", _TARGET, "--auto-approve"]) == 0
    capsys.readouterr()


def _export(*words: str) -> int:
    return main(["export", "--target", _TARGET, "--out", "out", *words])


def test_what_is_live_becomes_manifests_whose_plan_is_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _export() == 0

    streams = capsys.readouterr()
    assert streams.out.splitlines() == ["wrote out/endpoints/chat.yaml", "wrote out/endpoints/ranker.yaml"]
    assert "RANKER_M_API_KEY  (Endpoint/ranker)" in streams.err
    assert "reconciler schema --out schemas" in streams.err
    assert Path("out/endpoints/ranker.yaml").read_text() == _RANKER
    assert _CANARY not in streams.out + streams.err
    assert main(["plan", "out", "--target", _TARGET]) == 1, "the variables are not set yet"
    assert "RANKER_M_API_KEY is not set" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setenv("RANKER_M_API_KEY", _CANARY)
    assert main(["plan", "out", "--target", _TARGET, "--detailed-exitcode"]) == 0


def test_the_schema_comment_finds_the_projects_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--out", "schemas"]) == 0
    assert main(["export", "--target", _TARGET, "--out", "a/b"]) == 0
    assert "for your editor" not in capsys.readouterr().err
    first = Path("a/b/endpoints/chat.yaml").read_text().splitlines()[0]
    relative = first.removeprefix("# yaml-language-server: $schema=")
    assert (Path("a/b/endpoints") / relative).is_file()


def test_permissions_on_request() -> None:
    assert _export("--permissions", "--select", "Endpoint/ranker") == 0
    text = Path("out/endpoints/ranker.yaml").read_text()
    assert "permissions:\n    - group_name: analysts\n      permission_level: CAN_QUERY\n" in text
    assert not Path("out/endpoints/chat.yaml").exists()


def test_no_file_is_overwritten_and_none_is_written_then(capsys: pytest.CaptureFixture[str]) -> None:
    mine = Path("out/endpoints/ranker.yaml")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert _export() == 3
    told = capsys.readouterr().err
    assert "out/endpoints/ranker.yaml is there already" in told
    assert "--force" in told
    assert mine.read_text() == "mine"
    assert not Path("out/endpoints/chat.yaml").exists()

    assert _export("--force") == 0
    assert mine.read_text() == _RANKER
    assert sorted(p.name for p in mine.parent.iterdir()) == ["chat.yaml", "ranker.yaml"], (
        "nothing is left over"
    )


def test_a_link_to_nowhere_is_in_the_way_too() -> None:
    place = Path("out/endpoints/ranker.yaml")
    place.parent.mkdir(parents=True)
    place.symlink_to("../../elsewhere.yaml")
    assert _export() == 3
    assert not Path("elsewhere.yaml").exists()


def test_several_addresses_after_one_select() -> None:
    assert _export("--select", "Endpoint/ran*", "Endpoint/ch?t") == 0
    assert sorted(p.name for p in Path("out/endpoints").iterdir()) == ["chat.yaml", "ranker.yaml"]


def test_a_selection_that_fits_nothing_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert _export("--select", "Endpoint/rankr") == 1
    assert "nothing on the target fits Endpoint/rankr" in capsys.readouterr().err
    assert not Path("out").exists()


def test_json_tells_files_variables_and_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert _export("-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "files": [
            {"address": "Endpoint/chat", "path": "out/endpoints/chat.yaml"},
            {"address": "Endpoint/ranker", "path": "out/endpoints/ranker.yaml"},
        ],
        "variables": [{"name": "RANKER_M_API_KEY", "address": "Endpoint/ranker"}],
        "left_out": [],
    }


def test_targets_that_hold_no_manifests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--target", "openai", "--out", "out"]) == 1
    assert "openai cannot be exported" in capsys.readouterr().err


def test_a_file_that_appears_meanwhile_is_not_overwritten_either(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Path("out/endpoints/ranker.yaml")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    monkeypatch.setattr("os.path.lexists", lambda path: False)  # it was looked for just before
    assert _export() == 3
    assert mine.read_text() == "mine"
