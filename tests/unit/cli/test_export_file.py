"""``reconciler export`` of a gateway's configuration file: read back, its plan has nothing but adoptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.cli.main import main

# Nothing listens there, and nothing is asked: the file is what is exported and compared.
_AT = ["--target", "http://127.0.0.1:1", "--config-path", "gateway.yaml"]
_LITERAL = "sk-that-stands-in-the-file"


def _entry(name: str, provider: str = "openai", model: str = "gpt-4o", **config: Any) -> dict[str, Any]:
    config = config or {"openai_api_key": "$OPENAI_API_KEY"}
    return {
        "name": name,
        "endpoint_type": "llm/v1/chat",
        "model": {"provider": provider, "name": model, "config": config},
    }


def _route(name: str, **shares: int) -> dict[str, Any]:
    led_to = [{"name": one.replace("__", "."), "traffic_percentage": n} for one, n in shares.items()]
    return {
        "name": name,
        "task_type": "llm/v1/chat",
        "routing_strategy": "TRAFFIC_SPLIT",
        "destinations": led_to,
    }


def _export(folder: Path, content: dict[str, Any], *words: str) -> int:
    (folder / "gateway.yaml").write_text(yaml.safe_dump(content))
    return main(["export", *_AT, "--out", "out", *words])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _spec(folder: Path, path: str) -> Any:
    return yaml.safe_load((folder / "out" / path).read_text())["spec"]


def test_endpoints_splits_and_what_they_need(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    azure = {
        "openai_api_type": "azure",
        "openai_api_key": "$AZURE_KEY",
        "openai_api_base": "https://x.openai.azure.com",
        "openai_api_version": "2024-02-01",
        "openai_deployment_name": "gpt-35",
    }
    content = {
        "endpoints": [
            _entry("chat") | {"limit": {"calls": 100, "renewal_period": "minute"}},
            _entry("old", "azure", "gpt-35", **azure),
            _entry("again", openai_api_key="$OTHER_KEY"),
            _entry("ab.one"),
            _entry("ab.two", "anthropic", "claude", anthropic_api_key="$ANTHROPIC_API_KEY"),
        ],
        "routes": [_route("ab", ab__one=80, ab__two=20), _route("either", chat=50, again=50)],
    }
    assert _export(folder, content, "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["left_out"] == []
    assert {one["address"] for one in told["files"] if "Endpoint/" in one["address"]} == {
        "GatewayEndpoint/ab",
        "GatewayEndpoint/again",
        "GatewayEndpoint/chat",
        "GatewayEndpoint/either",
        "GatewayEndpoint/old",
    }
    assert _spec(folder, "gateway-endpoints/chat.yaml") == {
        "endpoint_type": "llm/v1/chat",
        "models": [{"model": "gpt-4o"}],
        "limit": {"calls": 100, "renewal_period": "minute"},
    }
    assert _spec(folder, "gateway-endpoints/ab.yaml")["models"] == [
        {"model": "one", "weight": 80},
        {"model": "two", "weight": 20},
    ]
    assert _spec(folder, "gateway-secrets/azure.yaml") == {
        "provider": "azure",
        "secret_value": {"api_key": "${env:AZURE_KEY}"},
        "auth_config": {"api_base": "https://x.openai.azure.com", "api_version": "2024-02-01"},
    }
    secrets = {path.name for path in (folder / "out" / "gateway-secrets").iterdir()}
    assert secrets == {"azure.yaml", "anthropic.yaml", "openai.yaml", "openai-2.yaml"}, "alike ones are one"
    before = (folder / "gateway.yaml").read_bytes()
    assert main(["plan", "out", *_AT, "--stack", "shop", "--detailed-exitcode"]) == 0
    assert "No changes. 5 gateway endpoints are as declared." in capsys.readouterr().out
    code = main(["plan", "out", *_AT, "--stack", "shop", "--adopt", "-o", "json"])
    plan = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {step["action"] for step in plan["steps"]} == {"adopt"}
    assert (folder / "gateway.yaml").read_bytes() == before


def test_what_no_manifest_can_say_is_left_out_with_its_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {
        "endpoints": [
            _entry("good"),
            _entry("literal", openai_api_key=_LITERAL),
            _entry("cloud", "bedrock", aws_config={"aws_region": "eu-west-1"}),
            _entry("odd", openai_api_key="$OPENAI_API_KEY", openai_deployment_name=["x"]),
            _entry("keyless", "openai", "gpt-4o", openai_api_base="https://llm.example.com/v1"),
            _entry("a.one"),
            _entry("b.one", "openai", "another"),
            _entry("a.two"),
            _entry("b.two"),
        ],
        "routes": [_route("a", a__one=50, a__two=50), _route("b", b__one=50, b__two=50)],
    }
    assert _export(folder, content, "-o", "json") == 0
    out, err = capsys.readouterr()
    left = {one["address"]: one["why"] for one in json.loads(out)["left_out"]}
    assert left == {
        "GatewayEndpoint/b": "another endpoint has a model called one that is not the same",
        "GatewayEndpoint/cloud": "this gateway looks up neither $NAME nor a path for bedrock: "
        "the credentials would have to stand in its file",
        "GatewayEndpoint/keyless": "no credential stands in it, and a GatewayModel has one",
        "GatewayEndpoint/literal": "openai_api_key stands in the file as a value: put it into the gateway's "
        "environment first",
        "GatewayEndpoint/odd": "nothing in a manifest becomes openai_deployment_name of openai",
    }
    written = "".join(path.read_text() for path in (folder / "out").rglob("*.yaml"))
    assert _LITERAL not in out + err + written
    assert "another" not in written, "what was left out leaves no parts behind"
    assert main(["plan", "out", *_AT, "--stack", "shop", "--detailed-exitcode"]) == 0


def test_a_selected_endpoint_takes_its_parts_along(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {
        "endpoints": [_entry("chat"), _entry("other", "anthropic", "claude", anthropic_api_key="$A")],
    }
    assert _export(folder, content, "--select", "GatewayEndpoint/ch*") == 0
    assert {str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*.yaml")} == {
        "gateway-endpoints/chat.yaml",
        "gateway-models/gpt-4o.yaml",
        "gateway-secrets/openai.yaml",
    }
    assert _export(folder, content, "--select", "GatewayModel/gpt-4o") == 1
    assert "no endpoint of the file fits GatewayModel/gpt-4o" in capsys.readouterr().err


def test_credentials_in_files_must_be_in_the_project(folder: Path) -> None:
    key = folder / "key"
    key.write_text("sk-in-a-file")
    (folder / "broken").write_text("sk-with-a-line-break\n")
    content = {
        "endpoints": [
            _entry("inside", openai_api_key=str(key)),
            _entry("broken", openai_api_key=str(folder / "broken")),
            _entry("outside", openai_api_key="/etc/hostname"),
        ]
    }
    assert _export(folder, content) == 0
    assert [path.name for path in (folder / "out" / "gateway-endpoints").iterdir()] == ["inside.yaml"]
    secret = _spec(folder, "gateway-secrets/openai.yaml")
    assert secret["secret_value"] == {"api_key": f"${{file:{key}}}"}
    assert main(["plan", "out", *_AT, "--stack", "shop", "--detailed-exitcode"]) == 0


_NAMES = st.sampled_from(["a", "b-1", "c.d", "x_y", "true", "7"])
_MODELS = st.one_of(
    st.builds(
        lambda model, key, base: ("openai", model, {"openai_api_key": key, **base}),
        st.sampled_from(["gpt-4o", "ft:gpt:x/1", "${env:NOT}", "null"]),
        st.sampled_from(["$A", "$B", "value", "$not a name", "/nowhere"]),
        st.sampled_from([{}, {"openai_api_base": "https://api.openai.com/v1"}, {"openai_organization": "7"}]),
    ),
    st.just(("anthropic", "claude", {"anthropic_api_key": "$C", "anthropic_version": "2023-06-01"})),
    st.just(("cohere", "command", {})),
)


@st.composite
def _files(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(_NAMES, min_size=1, max_size=4, unique=True))
    entries, routes = [], []
    for name in names:
        parts = draw(st.sampled_from([[], [], ["m", "n"]]))
        for one in [f"{name}.{part}" for part in parts] or [name]:
            provider, model, config = draw(_MODELS)
            entries.append(
                {
                    "name": one,
                    "endpoint_type": "llm/v1/chat",
                    "model": {"provider": provider, "name": model, "config": config},
                }
            )
        if parts:
            share = draw(st.sampled_from([0, 1, 50, 80]))
            routes.append(_route(name, **{f"{name}.m": share, f"{name}.n": 100 - share}))
    return {"endpoints": entries, **({"routes": routes} if routes else {})}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=_files())
def test_the_plan_of_any_export_has_nothing_to_do(
    content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("any")
    monkeypatch.chdir(folder)
    code = _export(folder, content)
    if code == 0:
        assert main(["plan", "out", *_AT, "--stack", "shop", "--detailed-exitcode"]) == 0
    else:
        assert code == 1
        assert not (folder / "out").exists(), "nothing of it could be said"
