"""What holds for every body that the schema allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reconciler.emulator import Workspace
from tests.unit.emulator import bodies
from tests.unit.emulator.conftest import API, Clock

PROVIDERS = {
    "provider": "openai",
    "name": "gpt",
    "task": "llm/v1/chat",
    "openai_config": {"openai_api_key_plaintext": bodies.CANARY},
}
SECRET = {"name": "one", "config": {"served_entities": [{"name": "e", "external_model": PROVIDERS}]}}
WORDS = [
    "name",
    "config",
    "served_entities",
    "traffic_config",
    "routes",
    "key",
    "tags",
    "enabled",
    "ai_gateway",
    "rate_limits",
    "external_model",
    "telemetry_config",
    "add_tags",
]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=150)


def fresh(path: str = ":memory:") -> API:
    clock = Clock()
    return API(Workspace(path, clock=clock, provisioning=10), clock)


@RELAXED
@given(bodies.endpoint())
@example({"name": "one", "ai_gateway": {"rate_limits": []}, "tags": [], "email_notifications": {}})
def test_get_shows_what_was_sent_and_adds_only_defaults(body: dict[str, Any]) -> None:
    shown = fresh().create(**body)

    sent = {name: value for name, value in body.items() if name != "name"}
    for section in ("tags", "ai_gateway", "email_notifications", "telemetry_config"):
        if section in sent and section not in shown:
            # One that says nothing is the same as none.
            value = sent.pop(section)
            assert not any(value.values() if isinstance(value, dict) else value)
    assert list(bodies.missing(bodies.SPEC, sent, shown)) == []


@RELAXED
@given(bodies.endpoint())
def test_what_get_shows_can_be_sent_again_and_changes_nothing(body: dict[str, Any]) -> None:
    """No default contradicts another, and defaults are stable."""
    api = fresh()
    before = api.create(**body)
    if "ai_gateway" in before:
        api.ok("PUT", "one/ai-gateway", before["ai_gateway"])
    if "tags" in before:
        api.ok("PATCH", "one/tags", {"add_tags": before["tags"]})
    if "email_notifications" in before:
        api.ok("PATCH", "one/notifications", {"email_notifications": before["email_notifications"]})

    assert api.ok("GET", "one") == before


@RELAXED
@given(bodies.endpoint(), bodies.endpoint())
def test_two_ways_to_the_same_config(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Created with it or changed to it: an endpoint forgets what it had before."""

    def kind(body: dict[str, Any]) -> bool | None:
        entities = body.get("config", {}).get("served_entities")
        return None if entities is None else "external_model" in entities[0]

    if kind(second) is None or kind(first) not in (None, kind(second)):
        return
    for body in (first, second):
        body["config"] = {n: v for n, v in body.get("config", {}).items() if n != "auto_capture_config"}
        if not body["config"]:
            del body["config"]
        for section in ("route_optimized", "telemetry_config"):
            body.pop(section, None)
    changed, made = fresh(), fresh()
    changed.create(**first)
    changed.ok("PUT", "one/config", second["config"])
    changed.ok("PUT", "one/ai-gateway", {})  # an inference table that is on cannot move
    changed.ok("PUT", "one/ai-gateway", second.get("ai_gateway", {}))
    changed.clock.pass_by(10)
    made.create(**second)

    def without_stamps(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: without_stamps(child)
                for name, child in value.items()
                if name not in ("creation_timestamp", "config_version", "creator")
            }
        return [without_stamps(item) for item in value] if isinstance(value, list) else value

    for section in ("config", "ai_gateway"):
        found, wanted = changed.ok("GET", "one").get(section), made.ok("GET", "one").get(section)
        assert without_stamps(found) == without_stamps(wanted)


@settings(RELAXED, max_examples=60)
@given(bodies.endpoint(), st.integers())
@example(SECRET, 0)
def test_a_plaintext_secret_is_never_seen_again(
    tmp_path_factory: Any, body: dict[str, Any], number: int
) -> None:
    path: Path = tmp_path_factory.mktemp("canary") / "w.db"
    api = fresh(str(path))
    answers = [api.send("POST", "", {"name": "one", **body}), api.send("GET", "one"), api.send("GET", "")]
    api.clock.pass_by(10)
    answers += [api.send("GET", "one"), api.send("GET", "")]
    config = body.get("config", {})
    answers += [
        api.send("PUT", "one/config", config),
        api.send("PUT", "one/config", {**config, "served_entities": "wrong"}),
        api.send("PUT", "one/ai-gateway", body.get("ai_gateway", {})),
        api.send("GET", "one"),
    ]

    canary = bodies.CANARY.encode()
    assert canary in json.dumps(SECRET).encode()
    assert not [answer for answer in answers if isinstance(answer.body, bytes) and canary in answer.body]
    for file in path.parent.iterdir():
        assert canary not in file.read_bytes(), file.name
    api.workspace.close()


def test_the_marker_of_a_secret_is_all_that_is_kept() -> None:
    api = fresh()
    api.create(**SECRET)

    record = api.workspace.record("one")
    assert record.secrets == [
        "config.served_entities[0].external_model.openai_config.openai_api_key_plaintext"
    ]


def test_a_secret_newer_than_the_schema_is_known_by_its_name() -> None:
    api = fresh()
    key = {"openai_api_key": "{{secrets/a/b}}", "newer_plaintext": bodies.CANARY}
    model = {**PROVIDERS, "openai_config": key}
    config = {"served_entities": [{"name": "e", "external_model": model}]}
    deep = {"list": [{"a_plaintext": bodies.CANARY, "b": 1}]}
    shown = api.create(config=config, x_plaintext=bodies.CANARY, x_deep=deep)

    assert bodies.CANARY not in json.dumps(shown)
    assert bodies.CANARY not in str(api.workspace.record("one"))
    assert shown["x_deep"] == {"list": [{"b": 1}]}
    assert sorted(path.rpartition(".")[2] for path in api.workspace.record("one").secrets) == [
        "a_plaintext",
        "newer_plaintext",
        "x_plaintext",
    ]


@settings(RELAXED, max_examples=200)
@given(st.data())
def test_nothing_that_is_sent_makes_it_fail(data: Any) -> None:
    """Any JSON at all is answered, with a refusal or not, and never by a fault of ours."""
    junk = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(WORDS),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=12,
    )
    body = data.draw(st.dictionaries(st.sampled_from(sorted(bodies.SPEC.properties)), junk, max_size=5))
    api = fresh()
    api.create()
    for method, path in (
        ("POST", ""),
        ("POST", "pt"),
        ("PUT", "one/config"),
        ("PUT", "pt/one/config"),
        ("PATCH", "one/tags"),
        ("PUT", "one/rate-limits"),
        ("PUT", "one/ai-gateway"),
        ("PATCH", "one/notifications"),
        ("PATCH", "one/telemetry-config"),
        ("POST", "/serving-endpoints/one/invocations"),
        ("PATCH", f"/api/2.0/permissions/serving-endpoints/{api.ok('GET', 'one')['id']}"),
    ):
        assert api.send(method, path, {"name": "two", **body}).status < 500, (method, path)
    api.clock.pass_by(10)
    api.ok("GET", "one")
    api.ok("GET", "")


@RELAXED
@given(bodies.endpoint(), st.data())
def test_one_wrong_thing_anywhere_is_refused_or_ignored_but_never_breaks(body: Any, data: Any) -> None:
    """A good body with one value of another type in some place."""
    places = [path for path in _places(body) if path]
    path = data.draw(st.sampled_from(places))
    wrong = data.draw(st.sampled_from([None, 0, "", [], {}, [{}], {"": 1}, True, -1.5, "a\n"]))
    target = body
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = wrong
    api = fresh()

    response = api.send("POST", "", body)

    assert response.status in (200, 400)
    if response.status == 200:
        api.clock.pass_by(10)
        name = body["name"] if isinstance(body.get("name"), str) else "one"
        assert api.send("GET", name).status == 200
        assert api.send("GET", "").status == 200
        assert api.send("GET", f"{name}/metrics").status == 200


def _places(value: Any) -> list[tuple[Any, ...]]:
    here: list[tuple[Any, ...]] = [()]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, child in items:
        here += [(part, *rest) for rest in _places(child)]
    return here
