"""References: what they resolve to, what becomes a Secret, what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.errors import ManifestError
from reconciler.manifest import load
from reconciler.manifest.variables import looks_secret
from reconciler.values import Secret
from tests.unit.manifest.conftest import CANARY, ENVIRON, HEAD, Loader

_ENTITY = """  config:
    served_entities:
      - name: gpt
        external_model:
          provider: openai
          name: gpt-4o
          task: llm/v1/chat
          openai_config:
"""


def _openai(loader: Loader, line: str, **options: object) -> object:
    spec = loader.spec(f"{_ENTITY}            {line}\n", **options)
    config = spec["config"]["served_entities"][0]["external_model"]["openai_config"]
    return config[line.partition(":")[0]]


def test_a_secret_field_holds_a_secret_with_its_reference(loader: Loader) -> None:
    value = _openai(loader, "openai_api_key_plaintext: ${env:OPENAI_API_KEY}")
    assert isinstance(value, Secret)
    assert value.reveal() == CANARY
    assert value.reference == "${env:OPENAI_API_KEY}"


def test_a_sensitive_map_holds_secrets_and_plain_literals(loader: Loader) -> None:
    spec = loader.spec(
        "  config:\n    served_entities:\n      - entity_name: m\n        entity_version: 1\n"
        "        environment_vars: {A: '${env:REGION}', B: text, C: 'x-${env:REGION}-y', D: '$${D}'}\n"
    )
    found = spec["config"]["served_entities"][0]["environment_vars"]
    assert found["A"] == Secret("eu")
    assert found["B"] == "text"
    assert found["C"] == Secret("x-eu-y")
    assert found["D"] == "${D}"
    assert found["C"].reference == "…${env:REGION}…"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${env:REGION}", "eu"),
        ("a ${env:REGION} b ${env:CALLS}", "a eu b 7"),
        ("${env:REGION}${env:REGION}", "eueu"),
        ("${env:EMPTY}", ""),
        ("$${env:REGION}", "${env:REGION}"),
        ("$$${env:REGION}", "$${env:REGION}"),
        ("$${a} ${env:REGION}", "${a} eu"),
        ("${env:REGION} $${a}", "eu ${a}"),
        ("costs $5 {x} $ {y} }", "costs $5 {x} $ {y} }"),
        ("{{secrets/scope/key}}", "{{secrets/scope/key}}"),
        ("{{secrets/${env:REGION}/key}}", "{{secrets/eu/key}}"),
    ],
)
def test_references_in_text(loader: Loader, written: str, meant: str) -> None:
    assert loader.spec(f"  description: '{written}'\n")["description"] == meant


def test_what_a_reference_gives_is_not_resolved_again(loader: Loader) -> None:
    environ = {"A": "${env:B}", "B": "no"}
    assert loader.spec("  description: ${env:A}\n", environ=environ)["description"] == "${env:B}"


def test_a_secret_reference_may_be_put_together(loader: Loader) -> None:
    value = _openai(loader, 'openai_api_key: "{{secrets/${env:REGION}/key}}"')
    assert value == "{{secrets/eu/key}}"
    assert type(value) is str


def test_a_whole_value_becomes_what_its_field_takes(loader: Loader) -> None:
    spec = loader.spec(
        "  route_optimized: ${env:YES}\n"
        "  telemetry_config: {inference_table_config: {sampling_fraction: '${env:HALF}'}}\n"
        "  ai_gateway: {rate_limits: [{calls: '${env:CALLS}', renewal_period: minute}]}\n"
        "  tags: {calls: '${env:CALLS}'}\n",
        environ={"YES": "True", "HALF": "0.5", "CALLS": " 7 "},
    )
    assert spec["route_optimized"] is True
    assert spec["telemetry_config"]["inference_table_config"]["sampling_fraction"] == 0.5
    assert spec["ai_gateway"]["rate_limits"][0]["calls"] == 7
    assert spec["tags"]["calls"] == " 7 "


@pytest.mark.parametrize("value", ["canary", "7.5", "", "true", ".inf", "9" * 40])
def test_a_value_of_the_wrong_type_is_told_by_its_reference_only(loader: Loader, value: str) -> None:
    (problem,) = loader.problems(
        f"{HEAD}spec:\n  ai_gateway:\n    rate_limits:\n      - renewal_period: minute\n"
        "        calls: ${env:LIMIT}\n",
        environ={"LIMIT": value},
    )
    assert (problem.rule, problem.line, problem.column) == ("bad-variable", 9, 9)
    assert problem.what == "${env:LIMIT} must give a whole number"
    assert not value or value not in str(problem)


def test_text_where_a_mapping_belongs_is_told_by_its_reference_only(loader: Loader) -> None:
    (problem,) = loader.problems(f"{HEAD}spec:\n  ai_gateway: ${{env:REGION}}\n")
    assert problem.what == "must be a mapping, is text from ${env:REGION}"


def test_name_and_lifecycle_take_references(loader: Loader) -> None:
    loaded = loader(
        HEAD.replace("chat", "chat-${env:REGION}") + "lifecycle: {prevent_destroy: '${env:P}'}\nspec: {}\n",
        environ={"P": "true", "REGION": "eu"},
    )
    assert str(loaded.resources[0].address) == "Endpoint/chat-eu"
    assert loaded.resources[0].lifecycle.prevent_destroy is True


# ---- what is remembered -------------------------------------------------------------------------------


def test_secrets_are_gathered_for_masking_wherever_they_went(loader: Loader) -> None:
    environ = {"KEY": "k-value", "GREETING": "hello", "DB_PASSWORD": "p-value", "HOST": "h-value"}
    loaded = loader(
        f"{HEAD}spec:\n  description: ${{env:KEY}} ${{env:GREETING}}\n  config:\n    served_entities:\n"
        "      - entity_name: m\n        entity_version: 1\n"
        "        environment_vars: {URL: 'pg://${env:DB_PASSWORD}@${env:HOST}'}\n",
        environ=environ,
    )
    assert {secret.reveal() for secret in loaded.secrets} == {"k-value", "p-value", "pg://p-value@h-value"}
    assert loaded.resources[0].spec["description"] == "k-value hello"
    assert "pg:" not in repr(loaded)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True),
        ("apikey", True),
        ("DB_PASSWORD_2", True),
        ("TOKENS", True),
        ("keys/openai.txt", True),
        ("MY_PRIVATE_THING", True),
        ("KEYBOARD", False),
        ("REGION", False),
        ("TOKENIZER", False),
    ],
)
def test_names_that_look_secret(name: str, secret: bool) -> None:
    assert looks_secret(name) is secret


# ---- files --------------------------------------------------------------------------------------------


def test_a_file_is_read_relative_to_its_manifest(loader: Loader, write: Callable[[str, str], Path]) -> None:
    write("a/keys/openai.txt", f"{CANARY}\n")
    write("shared.txt", "shared\r\n")
    path = write(
        "a/m.yaml",
        f"{HEAD}spec:\n  description: ${{file:../shared.txt}}\n{_ENTITY}"
        "            openai_api_key_plaintext: ${file:keys/openai.txt}\n",
    )
    loaded = load([path], environ={}, root=loader.folder)
    spec = loaded.resources[0].spec
    assert spec["description"] == "shared"
    model = spec["config"]["served_entities"][0]["external_model"]
    assert model["openai_config"]["openai_api_key_plaintext"].reveal() == CANARY
    assert [secret.reveal() for secret in loaded.secrets] == [CANARY]


def test_only_one_newline_is_taken_off(loader: Loader, write: Callable[[str, str], Path]) -> None:
    write("x.txt", " a\n\n")
    assert loader.spec("  description: ${file:x.txt}\n")["description"] == " a\n"


def test_a_file_outside_is_refused_even_by_a_link(loader: Loader, write: Callable[[str, str], Path]) -> None:
    outside = write("outside/secret.txt", CANARY)
    folder = write("project/m.yaml", "").parent
    (folder / "link.txt").symlink_to(outside)
    (folder / "up").symlink_to(outside.parent)
    for name in (
        "../outside/secret.txt",
        str(outside),
        "link.txt",
        "up/secret.txt",
        "../outside/missing.txt",
    ):
        (folder / "m.yaml").write_text(f"{HEAD}spec:\n  description: ${{file:{name}}}\n")
        with pytest.raises(ManifestError) as caught:
            load([folder / "m.yaml"], environ={}, root=folder)
        assert [problem.rule for problem in caught.value.problems] == ["file-outside"], name


def test_files_that_are_none_are_refused(loader: Loader) -> None:
    (loader.folder / "big.txt").write_bytes(b"x" * (64 * 1024 + 1))
    (loader.folder / "binary.txt").write_bytes(b"\xff\xfe\x00canary")
    os.mkfifo(loader.folder / "pipe.txt")
    (loader.folder / "folder.txt").mkdir()
    for name in ("big.txt", "binary.txt", "pipe.txt", "folder.txt", "m.yaml/x", "x" * 5000):
        (problem,) = loader.problems(f"{HEAD}spec:\n  description: ${{file:{name}}}\n")
        assert problem.rule == "bad-file", name
        assert "canary" not in str(problem)


def test_a_variable_that_is_not_utf8_is_refused(loader: Loader) -> None:
    text = f"{HEAD}spec:\n  description: ${{env:ODD}}\n"
    assert loader.rules(text, environ={"ODD": "a\udcff"}) == ["bad-variable"]


# ---- checks without secrets -----------------------------------------------------------------------------


def test_unset_may_be_allowed_for_checks(loader: Loader) -> None:
    loaded = loader(
        HEAD.replace("chat", "${env:STAGE}-chat") + f"spec:\n  description: ${{env:GONE}} x\n{_ENTITY}"
        "            openai_api_key_plaintext: ${env:GONE}\n"
        "            openai_organization: ${file:gone.txt}\n"
        "  ai_gateway: {rate_limits: [{calls: '${env:GONE}', renewal_period: minute}]}\n",
        environ={},
        allow_unset=True,
    )
    spec = loaded.resources[0].spec
    for value in (spec["description"], spec["ai_gateway"]["rate_limits"][0]["calls"]):
        assert isinstance(value, Secret)
    assert loaded.secrets == ()


def test_unset_allowed_hides_no_other_problem(loader: Loader) -> None:
    text = (
        f"{HEAD}spec:\n  config:\n    served_entities:\n"
        "      - {name: a, entity_name: m, entity_version: '${env:GONE}', workload_typ: CPU}\n"
        "    traffic_config:\n      routes:\n"
        "        - {served_entity_name: '${env:GONE}', traffic_percentage: '${env:GONE}'}\n"
        "        - {served_entity_name: b, traffic_percentage: 1}\n"
    )
    assert loader.rules(text, environ={}, allow_unset=True) == ["unknown-field", "unknown-entity"]


def test_every_reference_of_a_run_is_told(loader: Loader) -> None:
    text = f"{HEAD}spec:\n  description: ${{env:A}}\n  tags: {{a: '${{env:B}}', b: '${{file:c}}'}}\n"
    assert loader.rules(text, environ=ENVIRON) == ["unset-variable", "unset-variable", "missing-file"]
