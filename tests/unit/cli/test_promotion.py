"""Promotions between random environments: only what may travel changes, and all of it arrives."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cli.promote import Destination
from reconciler.engine.differences import differences
from reconciler.engine.promotion import beyond, moves
from reconciler.manifest import load_project
from reconciler.manifest.sides import Pair
from reconciler.values import FieldPath

_MANIFEST = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: chat}
spec:
  description: of all
  config:
    served_entities:
      - {name: a, entity_name: main.ml.a, entity_version: "1", workload_size: Small}
      - {name: b, entity_name: main.ml.b, entity_version: "1", workload_size: Small}
    traffic_config:
      routes:
        - {served_entity_name: a, traffic_percentage: 60}
        - {served_entity_name: b, traffic_percentage: 40}
  ai_gateway:
    rate_limits:
      - {key: user, calls: 10, renewal_period: minute}
  tags: {team: ml, tier: base}
"""
_PROJECT = """\
apiVersion: reconciler/v1
kind: Project
stack: s
manifests: [m.yaml]
environments: {one: {overlays: [one.yaml]}, two: {overlays: [two.yaml]}}
"""
_REMOVED = {"$remove": True}
_VERSIONS = st.sampled_from(["1", "2", "3"])
_ENTITIES = st.fixed_dictionaries(
    {},
    optional={
        name: st.fixed_dictionaries(
            {}, optional={"entity_version": _VERSIONS, "workload_size": st.sampled_from(["Small", "Large"])}
        )
        for name in "ab"
    },
).map(lambda by_name: [{"name": name, **fields} for name, fields in by_name.items()])
_LIMIT = st.builds(
    lambda key, calls, gone: {
        "key": key,
        **(_REMOVED if gone else {"calls": calls, "renewal_period": "minute"}),
    },
    st.sampled_from(["user", "endpoint"]),
    st.integers(1, 9),
    st.booleans(),
).filter(lambda limit: limit["key"] == "user" or "$remove" not in limit)
_TAG = st.sampled_from(["x", "y"])
_TAGS = st.fixed_dictionaries(
    {}, optional={"team": _TAG | st.just(_REMOVED), "tier": _TAG | st.just(_REMOVED), "new": _TAG}
)
_PATCH = st.fixed_dictionaries(
    {},
    optional={
        "description": st.sampled_from(["p", "q"]) | st.just(_REMOVED),
        "tags": _TAGS.filter(bool) | st.just([{"key": "team", "value": "pairs"}]) | st.just(_REMOVED),
        "config": _ENTITIES.filter(bool).map(lambda items: {"served_entities": items}),
        "ai_gateway": st.lists(_LIMIT, min_size=1, max_size=2, unique_by=lambda one: one["key"]).map(
            lambda limits: {"rate_limits": limits}
        )
        | st.just(_REMOVED),
    },
)
_ALLOWED = st.sets(
    st.sampled_from(
        [
            "config.served_entities[*].entity_version",
            "config.served_entities",
            "ai_gateway.rate_limits",
            "ai_gateway",
            "tags",
            "tags.tier",
            "description",
        ]
    ),
    min_size=1,
)


def _overlay(patch: Any) -> str:
    head = {"apiVersion": "reconciler/v1", "kind": "Overlay", "address": "Endpoint/chat"}
    dumped = yaml.safe_dump({**head, **({"spec": patch} if patch else {})}, sort_keys=False)
    return "# a word about it\n" + dumped.replace("spec:\n", "spec:  # of this environment\n")


@settings(deadline=None, max_examples=150)
@given(_PATCH, _PATCH, _ALLOWED)
def test_only_what_may_travel_changes_and_all_of_it_arrives(one: Any, two: Any, allowed: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        Path("m.yaml").write_text(_MANIFEST)
        Path("reconciler.yaml").write_text(_PROJECT)
        Path("one.yaml").write_text(_overlay(one))
        Path("two.yaml").write_text(_overlay(two))
        project = load_project(Path("reconciler.yaml"))
        source, destination = (Destination(project, project.environments[name]) for name in ("one", "two"))
        wanted, before = source.sides({}), destination.sides({})
        paths = {"Endpoint": sorted(allowed)}

        texts, _ = destination.written(wanted, paths)

        after = destination.sides(texts)
        assert not [m for m in moves([Pair(after[0], wanted[0])], paths) if m.travelling], "all of it arrives"
        assert not beyond(before[0], after[0], [FieldPath.parse(path) for path in allowed])
        assert bool(differences(before[0], after[0])) == bool(texts)
        for text in texts.values():
            assert text.startswith("# a word about it\n"), "comments stay"
        assert Path("two.yaml").read_text() == _overlay(two), "nothing is written yet"
