"""No secret of a manifest, literal or resolved, ever shows: in messages, warnings or reprs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler import schema
from reconciler.errors import ManifestError, Problem
from reconciler.manifest.document import masked
from reconciler.values import Secret
from tests.unit.manifest.conftest import HEAD, Loader

_SECRET = "correct-horse-battery-staple"
_ENTITY = "external_model: {provider: openai, name: gpt, task: llm/v1/chat, openai_config: {%s}}"


def _secret_fields() -> Iterator[tuple[str, ...]]:
    for path, field in schema.spec_fields("Endpoint").walk():
        if (field.secret or field.secret_reference) and "served_models" not in path:
            yield path


def _nested(path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    below = _nested(path[1:], value)
    return [below] if path[0] == "*" else {path[0]: below}


def _everything(loader: Loader, text: str, **options: Any) -> str:
    """All that a run says about a text, whichever way it ends."""
    try:
        loaded = loader(text, **options)
    except ManifestError as error:
        return f"{error}{error!r}{error.problems!r}{error.args!r}"
    return f"{loaded!r}{loaded.secrets!r}{[str(warning) for warning in loaded.warnings]}"


@pytest.mark.parametrize("path", list(_secret_fields()), ids=".".join)
@pytest.mark.parametrize(
    "value",
    [
        _SECRET,
        f"{_SECRET}${{env:A}}",
        f"${{{_SECRET}}}",
        f"${{env:{_SECRET}}}",
        f"${{{_SECRET}",
        [_SECRET],
        {_SECRET: 1},
    ],
    ids=["literal", "in part", "no scheme", "no name", "unclosed", "list", "key"],
)
def test_a_literal_secret_is_refused_and_not_shown(loader: Loader, path: tuple[str, ...], value: Any) -> None:
    document = {
        "apiVersion": "reconciler/v1",
        "kind": "Endpoint",
        "metadata": {"name": "chat"},
        "spec": _nested(path, value),
    }
    with pytest.raises(ManifestError) as caught:
        loader(json.dumps(document), environ={"A": "x"})
    assert _SECRET not in f"{caught.value}{caught.value!r}{caught.value.problems!r}"
    if value == _SECRET:
        rules = {problem.rule for problem in caught.value.problems}
        assert rules & {"plaintext-secret", "secret-reference"}


@pytest.mark.parametrize("field", ["openai_api_key", "openai_api_key_plaintext"])
def test_a_literal_number_in_a_secret_field_is_not_shown(loader: Loader, field: str) -> None:
    text = f"{HEAD}spec:\n  config:\n    served_entities:\n      - {_ENTITY % f'{field}: 86753091'}\n"
    (problem,) = loader.problems(text)
    assert problem.rule == "wrong-type"
    assert "8675" not in str(problem)


@pytest.mark.parametrize(
    "body",
    [
        _ENTITY % "openai_api_key_plaintext: '${env:KEY}'",
        _ENTITY % "openai_api_key: '${env:KEY}'",
        _ENTITY % "openai_api_key_plaintext: '${env:KEY}', openai_api_type: '${env:KEY}'",
        _ENTITY % "openai_api_key_plaintext: '${env:KEY}', openai_api_key: '${env:KEY}'",
        _ENTITY % "'${env:KEY}': 1",
        "external_model: '${env:KEY}'",
        "external_model: {provider: '${env:KEY}', name: '${env:KEY}', openai_config: '${env:KEY}'}",
        "external_model: {task: '${env:KEY}'}",
        "{entity_name: m, entity_version: 1, environment_vars: {A: '${env:KEY}', B: 'x${env:KEY}'}}",
        "{entity_name: m, entity_version: 1, environment_vars: ['${env:KEY}']}",
        "{entity_name: m, entity_version: 1, environment_vars: '${env:KEY}'}",
        "{name: '${env:KEY}', workload_type: '${env:KEY}', scale_to_zero_enabled: '${env:KEY}'}",
        "{min_provisioned_concurrency: '${env:KEY}', nope: '${env:KEY}'}",
    ],
)
@pytest.mark.parametrize("secret", [_SECRET, f"{_SECRET} {_SECRET * 5}", "{{secrets/a/" + _SECRET])
def test_a_resolved_secret_is_not_shown(loader: Loader, body: str, secret: str) -> None:
    text = f"{HEAD}spec:\n  config:\n    served_entities:\n      - {body}\n"
    assert _SECRET not in _everything(loader, text, environ={"KEY": secret})
    assert _SECRET not in _everything(loader, text, environ={"GREETING": secret}).replace("KEY", "GREETING")


@pytest.mark.parametrize(
    "body",
    [
        "openai_config: %s",
        "openai_config: [%s]",
        "environment_vars: %s",
        "environment_vars: [%s]",
        "environment_vars: {A: [%s]}",
        "external_model: %s",
    ],
)
def test_a_literal_in_the_wrong_shape_is_not_shown(loader: Loader, body: str) -> None:
    text = f"{HEAD}spec:\n  config:\n    served_entities:\n      - name: x\n        {body % _SECRET}\n"
    if body.startswith("openai"):
        text = text.replace("openai_config", "external_model: {provider: openai, openai_config")[:-1] + "}\n"
    assert _SECRET not in _everything(loader, text)


def test_the_second_net_masks_what_slipped() -> None:
    problem = Problem("f", 1, 1, f"tags.{_SECRET}", f"is {_SECRET}", f"not {_SECRET}", "x")
    (safe,) = masked([problem], [Secret(_SECRET), Secret("is")])
    assert (safe.path, safe.what, safe.fix) == ("tags.***", "is ***", "not ***")


def test_files_of_the_examples_hold_no_secret_in_their_expectations() -> None:
    for path in (Path(__file__).parent / "bad").glob("*.txt"):
        assert "canary" not in path.read_text(encoding="utf-8")
