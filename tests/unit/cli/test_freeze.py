"""Freezes at the edge: plans show them, applies, destroys and rollbacks refuse, and past their end they are
over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler import schema
from reconciler.cli.main import main
from tests.unit.cli.test_policies import answered, clock, live, told
from tests.unit.manifest.projects import RANKER, Shop

_LOCAL = "target: local:w.db?provisioning=0s\n"
_FREEZE = "freeze: {until: 2026-12-31, reason: end of the year}\n"
_LABELLED = "freeze:\n  - until: 2026-12-31\n    reason: a launch\n    select: ['label:team=search']\n"
_OTHER = RANKER.replace("{name: ranker}", "{name: other}")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET", raising=False)
    clock(monkeypatch, "2026-12-31T12:00:00Z")
    made = Shop(tmp_path)
    made.write(
        "manifests/ranker.yaml", RANKER.replace("{name: ranker}", "{name: ranker, labels: {team: search}}")
    )
    made.project(_LOCAL + _FREEZE)
    return made


def test_a_plan_shows_a_freeze_and_an_apply_refuses(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = told(capsys, 2, "plan", "--detailed-exitcode")
    assert "✗ the stack shop is frozen until 2026-12-31 (UTC)  reconciler.yaml:6" in out
    assert "why: end of the year" in out
    assert "an apply of this plan is refused" in err
    _, err = told(capsys, 3, "apply", "-y")
    assert "the stack shop is frozen until 2026-12-31 (UTC): Endpoint/ranker would be written" in " ".join(
        err.split()
    )
    assert "why:   end of the year" in err
    assert (
        '<failure message="the stack shop is frozen until' in told(capsys, 3, "apply", "-y", "-o", "junit")[0]
    )
    assert not live(capsys)
    clock(monkeypatch, "2027-01-01T00:00:00Z")
    told(capsys, 0, "apply", "-y")
    assert live(capsys)


def test_destroy_rollback_and_plan_files_refuse_too(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(_LOCAL)
    told(capsys, 0, "apply", "-y")
    shop.write("manifests/other.yaml", _OTHER)
    told(capsys, 0, "plan", "--out", "p.json")
    shop.project(_LOCAL + _FREEZE)
    for words in (["destroy", "-y"], ["rollback", "-y"], ["apply", "p.json"]):
        _, err = told(capsys, 3, *words)
        assert "is frozen until 2026-12-31 (UTC)" in err
    assert live(capsys)


def test_nothing_to_write_is_nothing_to_refuse(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(_LOCAL)
    told(capsys, 0, "apply", "-y")
    shop.project(_LOCAL + _FREEZE)
    out, _ = told(capsys, 0, "apply", "-y")
    assert "nothing of it would be written" in out


def test_a_label_is_frozen_and_the_rest_goes_with_exclude(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.project(_LOCAL + _LABELLED)
    shop.write("manifests/other.yaml", _OTHER)
    _, err = told(capsys, 3, "apply", "-y")
    told_in_words = " ".join(err.split())
    assert (
        "label:team=search in the stack shop is frozen until 2026-12-31 (UTC): Endpoint/ranker would"
        in told_in_words
    )
    assert "Endpoint/other" not in err
    assert "the rest goes with --exclude 'label:team=search'" in told_in_words
    assert main(["get", "other"]) == 1, "all of it was refused"
    told(capsys, 0, "apply", "-y", "--exclude", "label:team=search")
    assert main(["get", "other"]) == 0
    assert not live(capsys)


def test_a_rollback_knows_the_labels_of_manifests(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(_LOCAL)
    told(capsys, 0, "apply", "-y")
    shop.project(_LOCAL + _LABELLED)
    _, err = told(capsys, 3, "rollback", "-y")
    assert "label:team=search" in err


def test_an_environment_is_frozen_by_itself(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.project(
        "environments:\n  dev: {target: 'local:d.db?provisioning=0s'}\n"
        "  prod:\n    target: local:p.db?provisioning=0s\n    freeze: {until: 2026-12-31, reason: launch}\n"
    )
    told(capsys, 0, "apply", "-e", "dev", "-y")
    _, err = told(capsys, 3, "apply", "-e", "prod", "-y")
    assert "the environment prod is frozen" in err


def test_every_report_shows_a_freeze(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    from jsonschema import Draft202012Validator

    names = ["text", "json", "markdown", "html", "junit", "sarif", "github"]
    told(capsys, 0, "plan", *(word for name in names for word in ("--report", f"{name}={name}.out")))
    for name in names:
        text = Path(f"{name}.out").read_text()
        assert "end of the year" in text, name
        assert "2026" in text, name
    document = json.loads(Path("json.out").read_text())
    Draft202012Validator(schema.read("plan")).validate(document)
    assert document["freezes"] == [
        {
            "what": "the stack shop",
            "until": "2026-12-31 (UTC)",
            "reason": "end of the year",
            "source": "reconciler.yaml:6",
            "stops": ["Endpoint/ranker"],
        }
    ]
    results = json.loads(Path("sarif.out").read_text())["runs"][0]["results"]
    (result,) = [one for one in results if one["ruleId"] == "plan/freeze"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "reconciler.yaml"
    assert "freezes" not in answered(capsys, 0, "plan", "--project", _bare())


def _bare() -> str:
    text = Path("reconciler.yaml").read_text().replace(_FREEZE, "")
    Path("bare.yaml").write_text(text)
    return "bare.yaml"


def test_validate_warns_of_what_is_over_or_fits_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "freeze" not in told(capsys, 0, "validate")[1]
    clock(monkeypatch, "2027-01-01T00:00:00Z")
    _, err = told(capsys, 0, "validate")
    assert "warning: reconciler.yaml:6:1: the freeze of the stack shop is over" in err
    assert "frozen" not in told(capsys, 0, "plan")[0]
    clock(monkeypatch, "2026-12-01T00:00:00Z")
    shop.project(_LOCAL + _LABELLED.replace("search", "nobody"))
    assert "fits no manifest" in told(capsys, 0, "validate")[1]


def test_a_plan_file_shows_the_freeze_it_was_made_under(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, 0, "plan", "--out", "p.json")
    assert "is frozen until 2026-12-31 (UTC)" in told(capsys, 0, "show", "p.json")[0]
