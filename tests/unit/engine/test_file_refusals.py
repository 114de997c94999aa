"""What a gateway with a configuration file cannot do: each with its place, and what to do instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import ManifestError
from reconciler.kinds.file_providers import PROVIDERS
from reconciler.targets import for_target
from reconciler.values import Origin, Secret
from tests.unit.engine.file_gateway import TARGET, Bench
from tests.unit.engine.test_file_gateway import PARTS, endpoint

SERVER = "(leave it out, or use the gateway of a tracking server (mlflow-gateway+http://…))"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exact.txt").write_text("sk-canary")
    (tmp_path / "line.txt").write_text("sk-canary\n")
    return Bench(tmp_path, OPENAI_KEY="sk-canary")


def said(bench: Bench, manifests: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        bench.desired(manifests)
    assert "sk-canary" not in str(caught.value)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("fallbacks: [small]", f"m.yaml:24:3: spec.fallbacks: this gateway has no fallbacks {SERVER}"),
        (
            "fallback_config: {max_attempts: 1}",
            f"m.yaml:24:3: spec.fallback_config: this gateway has no fallbacks {SERVER}",
        ),
        (
            "usage_tracking: false",
            f"m.yaml:24:3: spec.usage_tracking: this gateway traces no requests {SERVER}",
        ),
        ("experiment_id: '3'", f"m.yaml:24:3: spec.experiment_id: this gateway traces no requests {SERVER}"),
        ("tags: {team: a}", f"m.yaml:24:3: spec.tags: this gateway keeps no tags {SERVER}"),
        ("guardrails: [pii]", f"m.yaml:24:3: spec.guardrails: this gateway has no guardrails {SERVER}"),
    ],
)
def test_fields_that_it_does_not_have(bench: Bench, more: str, problem: str) -> None:
    assert said(bench, PARTS + endpoint(more=f"  {more}\n")) == [problem]


def test_what_is_empty_asks_for_nothing(bench: Bench) -> None:
    more = (
        "  fallbacks: []\n  tags: {}\n  guardrails: null\n  routing_strategy: REQUEST_BASED_TRAFFIC_SPLIT\n"
    )
    assert bench.apply(PARTS + endpoint(more=more)).converged


@pytest.mark.parametrize(
    ("manifests", "problems"),
    [
        (
            endpoint().replace("  endpoint_type: llm/v1/chat\n", ""),
            [
                "m.yaml:18:1: spec: endpoint_type is missing: this gateway must know what is asked "
                "of an endpoint "
                "(add endpoint_type: llm/v1/chat, llm/v1/completions or llm/v1/embeddings)"
            ],
        ),
        (
            endpoint("[{model: big}, {model: small}]", more="  limit: {calls: 1, renewal_period: day}\n"),
            [
                "m.yaml:24:3: spec.limit: this gateway limits endpoints with one model only: a split "
                "among several "
                "has no limit (leave it out, or keep one model)"
            ],
        ),
        (
            endpoint("[{model: big, weight: 2}, {model: small}]"),
            [
                "m.yaml:23:3: spec.models: the weights come to 66.67 %, 33.33 %, and this gateway "
                "takes whole "
                "percentages that sum to 100 (write weights that do, like 67, 33)"
            ],
        ),
        (
            endpoint("[{model: big, weight: 0}]"),
            [
                "m.yaml:23:3: spec.models: every model has weight 0: none would answer "
                "(give one of them a weight)"
            ],
        ),
        (
            endpoint("[{model: none}]"),
            [
                "m.yaml:23:13: spec.models[0].model: there is no GatewayModel/none among the "
                "manifests, and this "
                "gateway keeps none of its own (declare it beside this one)"
            ],
        ),
        (
            endpoint("[{model: big}, {model: small}]") + endpoint(name="chat.big"),
            [
                "m.yaml:23:12: spec.models[0]: it would be called chat.big in the file, as "
                "GatewayEndpoint/chat.big is (rename one of them)"
            ],
        ),
    ],
)
def test_endpoints_that_do_not_fit(bench: Bench, manifests: str, problems: list[str]) -> None:
    assert said(bench, PARTS + manifests) == problems


def test_weights_are_ratios_and_read_exactly(bench: Bench) -> None:
    (one,) = bench.desired(PARTS + endpoint("[{model: big, weight: 0.7}, {model: small, weight: 0.3}]"))
    assert [model["weight"] for model in one.spec["models"]] == [70, 30]


@pytest.mark.parametrize(
    ("old", "new", "problems"),
    [
        (
            "${env:OPENAI_KEY}",
            "${env:OPENAI_KEY}${env:OPENAI_KEY}",
            [
                "m.yaml:6:18: spec.secret_value.api_key: this gateway looks a credential up in its "
                "environment or in "
                "a file, and not in a text put together (write ${env:NAME} or ${file:path} and "
                "nothing else; no "
                "secret is ever written into the file)"
            ],
        ),
        (
            "${env:OPENAI_KEY}",
            "${file:line.txt}",
            [
                "m.yaml:6:18: spec.secret_value.api_key: this gateway takes the whole of "
                "{folder}/line.txt, and that "
                "ends with a line break (write the file without it (printf %s), or the provider "
                "refuses the key)"
            ],
        ),
        (
            "secret_value: {api_key",
            "auth_config: {region: eu, auth_mode: api_key}\n  secret_value: {api_key",
            [
                "m.yaml:6:17: spec.auth_config.region: this gateway knows no region of openai (leave "
                "it out; it takes "
                "api_base, api_type, api_version, deployment_name, organization)"
            ],
        ),
        (
            "secret_value: {api_key",
            'auth_config: {api_base: "https://u:sk-canary@h"}\n  secret_value: {api_key',
            [
                "m.yaml:6:17: spec.auth_config.api_base: an address with a user and a password would "
                "stand in the "
                "file (take them out of it)"
            ],
        ),
        (
            "secret_value: {api_key",
            "auth_config: {api_base: '${env:NOT_SET}'}\n  secret_value: {api_key",
            [
                "m.yaml:6:17: spec.auth_config.api_base: ${env:NOT_SET} is not set, and its value "
                "stands in the file "
                "(set it)"
            ],
        ),
        (
            "secret_value: {api_key",
            "secret_value: {token",
            [
                "m.yaml:6:3: spec.secret_value: openai needs an api_key (add it)",
                "m.yaml:6:18: spec.secret_value.token: this gateway knows no token of openai (leave "
                "it out; it takes "
                "api_key)",
            ],
        ),
        (
            "{secret: openai, provider: openai, model_name: gpt-4o}",
            "{secret: openai, provider: bedrock, model_name: titan}",
            [
                "m.yaml:11:24: spec.provider: this gateway looks up neither $NAME nor a path for "
                "bedrock: the "
                "credentials would have to stand in its file (write its entry into the file by hand: "
                "what is not "
                "from here is left alone)"
            ],
        ),
        (
            "{secret: openai, provider: openai, model_name: gpt-4o}",
            "{secret: none, provider: openai, model_name: gpt-4o}",
            [
                "m.yaml:11:8: spec.secret: there is no GatewaySecret/none among the manifests, and "
                "this gateway keeps "
                "none of its own (declare it beside this one)"
            ],
        ),
        (
            "{secret: openai, provider: openai, model_name: gpt-4o}",
            "{secret: openai, provider: azure, model_name: gpt-4o}",
            [
                "m.yaml:1:1: spec.auth_config: azure needs api_base in auth_config (add it)",
                "m.yaml:1:1: spec.auth_config: azure needs api_version in auth_config (add it)",
            ],
        ),
    ],
)
def test_secrets_and_models_that_do_not_fit(bench: Bench, old: str, new: str, problems: list[str]) -> None:
    told = said(bench, PARTS.replace(old, new, 1) + endpoint())
    assert [line.replace(str(bench.folder), "{folder}") for line in told] == problems


def test_a_command_is_refused(bench: Bench) -> None:
    (one,) = bench.desired(PARTS + endpoint())
    from dataclasses import replace

    from reconciler.manifest import load

    found = load(["m.yaml"], environ={}, root=bench.folder, allow_unset=True).resources
    secret = Secret("sk-canary", "${cmd:pass openai}", Origin("cmd", "pass openai"))
    changed = [
        replace(r, spec={**r.spec, "secret_value": {"api_key": secret}})
        if r.address.kind == "GatewaySecret"
        else r
        for r in found
    ]
    with pytest.raises(ManifestError, match=r"and not in \$\{cmd:…\} \(write \$\{env:NAME\}"):
        for_target(TARGET, changed, config_path="g.yaml")
    assert one.address.dialect == "file"


def test_kinds_that_it_does_not_have(bench: Bench) -> None:
    budget = (
        "apiVersion: reconciler/v1\nkind: GatewayBudget\nmetadata: {name: b}\nspec: {budget_amount: 1, "
        "duration: {unit: DAYS, value: 1}, target_scope: GLOBAL, budget_action: ALERT}\n"
    )
    assert said(bench, budget) == [
        "m.yaml:1:1: kind: GatewayBudget/b cannot live on target http://127.0.0.1:1 (it takes "
        "GatewaySecret and "
        "GatewayModel and GatewayEndpoint)"
    ]


def test_without_its_file_it_stays_read_only(bench: Bench) -> None:
    bench.desired(PARTS + endpoint())
    from reconciler.manifest import load

    found = load(["m.yaml"], environ={}, root=bench.folder, allow_unset=True).resources
    with pytest.raises(ManifestError) as caught:
        for_target(TARGET, found)
    assert caught.value.problems[0].fix == (
        "it is read-only here; to write it, say which file it serves: --config-path FILE, or config_path: in "
        f"reconciler.yaml; the gateway in a tracking server is mlflow-gateway+{TARGET}"
    )


def test_the_tracking_server_refuses_what_only_the_file_has(bench: Bench) -> None:
    bench.desired(PARTS + endpoint(more="  limit: {calls: 1, renewal_period: day}\n"))
    from reconciler.manifest import load

    found = load(["m.yaml"], environ={"OPENAI_KEY": "x"}, root=bench.folder).resources
    with pytest.raises(ManifestError) as caught:
        for_target("mlflow-gateway+http://127.0.0.1:1", found)
    fix = "(leave it out; it is for a gateway with a configuration file (http://… with config_path))"
    assert [str(problem) for problem in caught.value.problems] == [
        "m.yaml:22:3: spec.endpoint_type: the tracking server's gateway does not ask what an endpoint is for "
        + fix,
        "m.yaml:24:3: spec.limit: the tracking server's gateway has no limits; a GatewayBudget "
        "bounds what is spent " + fix,
    ]


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_every_provider_that_is_known_makes_a_configuration_that_mlflow_takes(
    bench: Bench, provider: str
) -> None:
    auth = (
        "auth_config: {api_base: 'https://h.example/v1', api_version: 2024-01-01}"
        if provider == "azure"
        else ""
    )
    name = {"ai21labs": "j2-mid", "mosaicml": "llama2-70b-chat"}.get(provider, "a-model")
    manifests = (
        f"apiVersion: reconciler/v1\nkind: GatewaySecret\nmetadata: {{name: s}}\nspec:\n  provider: "
        f"{provider}\n"
        f"  secret_value: {{api_key: '${{env:KEY}}'}}\n  {auth}\n---\napiVersion: reconciler/v1\n"
        "kind: GatewayModel\nmetadata: {name: big}\n"
        f"spec: {{secret: s, provider: {provider}, model_name: {name}}}\n"
    )
    assert bench.apply(manifests + endpoint()).converged
    config = pytest.importorskip("mlflow.gateway.config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_GATEWAY_RESOLVE_API_KEY_FROM_ENV", "true")
        patch.setenv("KEY", "sk-of-the-gateway")
        (one,) = config._load_gateway_config(str(bench.path)).endpoints
    assert one.model.provider.value == provider
    assert "sk-of-the-gateway" in str(one.model.config.model_dump())
