"""Probes: a source is promoted when it answers as the project says, and not otherwise."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import RateLimited
from tests.unit.cli.test_policies import answered, told
from tests.unit.manifest.projects import Shop

_CHAT = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: chat, labels: {task: chat}}
spec:
  config:
    served_entities:
      - name: gpt
        external_model:
          provider: openai
          name: gpt-4o
          task: llm/v1/chat
          openai_config: {openai_api_key_plaintext: "${env:KEY}"}
  tags: {v: "2"}
"""
_PROJECT = """\
environments:
  dev: {target: 'local:dev.db?provisioning=0s'}
  prod: {target: local:prod.db, overlays: [overlays]}
promote: {Endpoint: [tags]}
"""
_PROMOTE = ("promote", "--from", "dev", "--to", "prod")
_SECRET = "sk-canary-0123456789"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shop:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_DEPLOYMENTS_TARGET", raising=False)
    monkeypatch.setenv("KEY", _SECRET)
    made = Shop(tmp_path)
    made.write("manifests/chat.yaml", _CHAT)
    made.write("overlays/chat.yaml", "apiVersion: reconciler/v1\nkind: Overlay\naddress: Endpoint/chat\n"
               "spec: {tags: {v: '1'}}\n")  # fmt: skip
    made.project(_PROJECT)
    told(capsys, 0, "apply", "-e", "dev", "-y")
    return made


def probes(shop: Shop, text: str) -> None:
    shop.project(_PROJECT + f"probes:\n{text}")


def overlay() -> str:
    return Path("overlays/chat.yaml").read_text()


_EXPECT = "text != '' && seconds < 50.0"
_HELLO = f"  - {{name: hello, select: ['label:task=chat'], message: Say hello, expect: \"{_EXPECT}\"}}\n"


def test_a_source_that_answers_is_promoted_and_said_so(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    probes(shop, _HELLO + "  - {name: rows, select: [Endpoint/ranker], json: {dataframe_records: [{a: 1}]},"
                          " expect: answer.predictions.size() == 1}\n")  # fmt: skip
    out, err = told(capsys, 0, *_PROMOTE)
    assert "probe hello: Endpoint/chat answers" in err
    assert "probe rows: Endpoint/ranker answers" in err
    assert "dev was converged, ready and answering (probes: hello, rows) at" in out
    assert '"2"' in overlay() or "'2'" in overlay() or "v" not in overlay()


def test_json_names_what_was_asked(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    probes(shop, _HELLO)
    document = answered(capsys, 0, *_PROMOTE, "--check")
    assert [(one["probe"], one["address"]) for one in document["probes"]] == [("hello", "Endpoint/chat")]


@pytest.mark.parametrize(
    ("expect", "why"),
    [
        ("text == 'no'", "it is not as expected: text == 'no'"),
        ("answer.nope == 1", "the expectation cannot be evaluated: there is no 'nope' here"),
        ("text", "true or false is needed"),
        ("seconds < 0.0", "it is not as expected"),
    ],
)
def test_an_answer_that_is_not_as_expected_stops_it(
    expect: str, why: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    probes(shop, f'  - {{name: hello, select: [Endpoint/chat], message: Say hello, expect: "{expect}"}}\n')
    before = overlay()
    _, err = told(capsys, 3, *_PROMOTE)
    said = " ".join(err.split())
    assert "dev does not answer as it should Endpoint/chat fails the probe hello" in said
    assert why in said
    assert 'sent: {"messages": [{"role": "user", "content": "Say hello"}]}' in said
    assert 'got: {"id": "local-' in said
    assert overlay() == before, "nothing was written"

    told(capsys, 0, *_PROMOTE, "--no-probes")
    assert overlay() != before


def test_an_error_of_the_endpoint_fails_the_probe_and_all_are_told(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    probes(shop, "  - {name: wrong, json: {nonsense: 1}}\n" + _HELLO)
    _, err = told(capsys, 3, *_PROMOTE)
    assert "Endpoint/ranker fails the probe wrong: HTTP 400" in " ".join(err.split())
    assert "Endpoint/chat fails the probe wrong: HTTP 400" in " ".join(err.split())
    assert "probe hello: Endpoint/chat answers" in err, "the others were asked as well"


def test_a_source_that_is_not_converged_is_not_asked(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    probes(shop, _HELLO)
    shop.write("manifests/chat.yaml", _CHAT.replace('"2"', '"3"'))
    _, err = told(capsys, 3, *_PROMOTE)
    assert "not converged" in err
    assert "probe" not in err


def test_what_is_not_selected_is_not_asked(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    probes(shop, "  - {name: wrong, select: [Endpoint/ranker], message: x}\n")
    _, err = told(capsys, 0, *_PROMOTE, "--select", "Endpoint/chat")
    assert "probe" not in err


def test_a_probe_that_fits_nothing_is_told(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    probes(shop, "  - {name: lost, select: ['label:task=none'], message: x}\n")
    _, err = told(capsys, 0, *_PROMOTE)
    assert "warning: reconciler.yaml:10:5: the probe lost fits nothing that could be asked" in err


def test_an_environment_has_probes_of_its_own(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    probe = "{name: d, message: x, select: [Endpoint/chat]}"
    shop.project(_PROJECT.replace("provisioning=0s'}", f"provisioning=0s', probes: [{probe}]}}"))
    assert "probe d: Endpoint/chat answers" in told(capsys, 0, *_PROMOTE)[1]


def test_an_answer_has_its_time(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reconciler.client.databricks import DatabricksDeploymentClient

    asked = threading.Event()
    over = threading.Event()

    def silent(*given: Any, **named: Any) -> None:
        asked.set()
        over.wait(30)

    monkeypatch.setattr(DatabricksDeploymentClient, "predict", silent)
    probes(shop, _HELLO.replace("message:", "timeout: 100ms, message:"))
    began = time.monotonic()
    _, err = told(capsys, 3, *_PROMOTE)
    over.set()
    assert asked.is_set()
    assert "no answer within 0.1 s" in err
    assert time.monotonic() - began < 20


def test_no_secret_is_told_of_what_was_sent_and_got(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reconciler.client.databricks import DatabricksDeploymentClient

    def predict(*given: Any, **named: Any) -> Any:
        return {"choices": [{"message": {"content": f"my key is {_SECRET}{'.' * 322} {_SECRET}"}}]}

    monkeypatch.setattr(DatabricksDeploymentClient, "predict", predict)
    probes(
        shop,
        f"  - {{name: leak, select: [Endpoint/chat], message: 'is it {_SECRET}?', expect: text == ''}}\n",
    )
    out, err = told(capsys, 3, *_PROMOTE)
    assert _SECRET[:6] not in out + err, "nor the begin of one, where an answer is cut"
    assert "my key is ***" in " ".join(err.split())

    def refuses(*given: Any, **named: Any) -> Any:
        raise RateLimited(status=429, message=f"key {_SECRET} has no budget")

    monkeypatch.setattr(DatabricksDeploymentClient, "predict", refuses)
    out, err = told(capsys, 3, *_PROMOTE)
    assert _SECRET not in out + err
    assert "HTTP 429" in err


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("{name: a}", "a probe sends either a message or json"),
        ("{name: a, message: x, json: {}}", "a probe sends either a message or json"),
        ("{name: a, message: x, select: [chat]}", "'chat' is no selection"),
        ("{name: a, message: x, expect: text ==}", "expect of the probe a: it ends too early"),
        ("{name: a, message: x, expect: txt == ''}", "there is no txt here; did you mean text?"),
        ("{name: a, message: x, timeout: soon}", "timeout"),
    ],
)
def test_a_probe_that_is_wrong_is_found_by_validate_and_before_anything_is_asked(
    entry: str, what: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    probes(shop, f"  - {entry}\n")
    for words in (("validate", "-e", "dev"), _PROMOTE):
        _, err = told(capsys, 1, *words)
        assert what in " ".join(err.split())
        assert "reconciler.yaml:10:" in err


def test_nothing_of_a_probe_is_ever_sent_as_a_spec(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    probes(shop, _HELLO)
    told(capsys, 0, "plan", "-e", "dev", "--detailed-exitcode")
    out, _ = told(capsys, 0, "get", "chat", "-e", "dev", "-o", "json")
    assert "hello" not in json.dumps(json.loads(out))
