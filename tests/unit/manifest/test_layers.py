"""What an environment comes to: its variables and overlays, and where each value stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import ManifestError, UsageError
from reconciler.manifest import load_project
from reconciler.manifest.environments import choose
from reconciler.manifest.project import target_of
from reconciler.values import Secret, Source
from tests.unit.manifest.projects import OVERLAY, RANKER, Shop

_PROD = "environments:\n  dev: {}\n  prod: {overlays: [overlays/prod.yaml]}\n"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path)


def test_one_entity_and_one_route_are_changed_and_the_rest_stays(shop: Shop) -> None:
    shop.project(_PROD)
    shop.write(
        "overlays/prod.yaml",
        f'{OVERLAY}spec:\n  config:\n    served_entities:\n    - {{name: champion, entity_version: "9"}}\n',
    )
    dev, prod = shop.spec("dev"), shop.spec("prod")
    assert [e["entity_version"] for e in dev["config"]["served_entities"]] == ["7", "8"]
    assert [e["entity_version"] for e in prod["config"]["served_entities"]] == ["9", "8"]
    assert prod["config"]["served_entities"][0]["workload_size"] == "Small"
    assert prod["config"]["traffic_config"] == dev["config"]["traffic_config"]


def test_a_value_stands_where_it_was_written(shop: Shop) -> None:
    shop.project(_PROD)
    shop.write(
        "overlays/prod.yaml",
        f"# prod\n{OVERLAY}spec:\n  config:\n    served_entities:\n"
        '    - name: champion\n      entity_version: "9"\n'
        "    - {name: third, entity_name: main.ml.other, entity_version: 1, workload_size: Small}\n"
        "  tags: {tier: gold}\n",
    )
    resource = shop.load("prod").resources[0]
    entity = ("config", "served_entities", 0)
    assert resource.source == Source("manifests/ranker.yaml", 1, 1)
    assert resource.source_of((*entity, "entity_version")) == Source("overlays/prod.yaml", 9, 7)
    assert resource.source_of((*entity, "workload_size")) == Source("manifests/ranker.yaml", 10, 9)
    assert resource.source_of(entity).file == "manifests/ranker.yaml"
    assert resource.source_of(("config", "served_entities", 2, "entity_name")).line == 10
    assert resource.source_of(("tags", "tier")) == Source("overlays/prod.yaml", 11, 10)


def test_problems_of_patched_values_are_told_in_the_overlay(shop: Shop) -> None:
    shop.project(_PROD)
    shop.write(
        "overlays/prod.yaml",
        f"{OVERLAY}spec:\n  config:\n    served_entities:\n"
        "    - {name: champion, workload_siz: Large}\n"
        "    - {name: challenger, entity_version: [8]}\n"
        "    traffic_config:\n      routes:\n"
        "      - {served_entity_name: champion, traffic_percentage: 90}\n",
    )
    assert sorted(shop.told("prod")) == [
        "manifests/ranker.yaml:16 traffic-sum",
        "overlays/prod.yaml:7 unknown-field",
        "overlays/prod.yaml:8 wrong-type",
    ]
    assert shop.told("dev") == []


def test_an_overlay_of_nothing_is_told_with_the_nearest_name(shop: Shop) -> None:
    shop.project(_PROD)
    shop.write("overlays/prod.yaml", OVERLAY.replace("/ranker", "/rankr") + "spec: {tags: {a: b}}\n")
    (problem,) = shop.problems("prod")
    assert (problem.where, problem.rule) == ("overlays/prod.yaml:3:1", "overlay-of-nothing")
    assert "Endpoint/rankr" in problem.what
    assert problem.fix == "did you mean Endpoint/ranker?"


def test_a_part_of_a_project_leaves_the_other_overlays_alone(shop: Shop) -> None:
    shop.project(_PROD + "variables: {size: Small}\n")
    shop.write("manifests/other.yaml", RANKER.replace("ranker}", "other}").replace("Small", "${var.size}"))
    shop.write("overlays/prod.yaml", OVERLAY + "spec: {tags: {a: b}}\n")
    assert [str(r.address) for r in shop.load("prod", ["manifests/other.yaml"]).resources] == [
        "Endpoint/other"
    ]
    assert shop.load("prod", ["manifests/ranker.yaml"]).resources[0].spec["tags"] == {"a": "b"}


def test_a_manifest_can_be_left_out_and_one_added(shop: Shop) -> None:
    shop.project("environments:\n  dev: {overlays: [overlays]}\n  prod: {}\n")
    shop.write("overlays/dev/ranker.yaml", OVERLAY + "$remove: true\n")
    shop.write("overlays/dev/extra.yaml", RANKER.replace("ranker}", "extra}"))
    assert [str(r.address) for r in shop.load("dev").resources] == ["Endpoint/extra"]
    assert [str(r.address) for r in shop.load("prod").resources] == ["Endpoint/ranker"]


def test_overlays_within_the_folder_of_manifests_are_no_manifests(shop: Shop) -> None:
    shop.project("environments:\n  dev: {}\n  prod: {overlays: [manifests/prod.yaml]}\n")
    shop.write("manifests/prod.yaml", OVERLAY + "spec: {tags: {a: b}}\n")
    assert len(shop.load("dev").resources) == 1
    assert shop.spec("prod")["tags"] == {"a": "b"}


def test_an_overlay_that_no_environment_lists_is_told(shop: Shop) -> None:
    shop.project("environments: {dev: {}}\n")
    shop.write("manifests/x.yaml", OVERLAY)
    (problem,) = shop.problems("dev")
    assert problem.rule == "unknown-kind"
    assert "overlays: of an environment" in problem.fix


def test_later_overlays_go_over_earlier_ones(shop: Shop) -> None:
    shop.project("environments:\n  prod: {overlays: [a.yaml, b.yaml]}\n")
    shop.write("b.yaml", OVERLAY + "spec: {tags: {x: b}}\n")
    shop.write("a.yaml", OVERLAY + "spec: {tags: {x: a, y: a}}\n")
    resource = shop.load("prod").resources[0]
    assert resource.spec["tags"] == {"x": "b", "y": "a"}
    assert resource.source_of(("tags", "x")).file == "b.yaml"
    assert resource.source_of(("tags", "y")).file == "a.yaml"


def test_every_problem_of_every_overlay_is_told_at_once(shop: Shop) -> None:
    shop.project("environments:\n  prod: {overlays: [a.yaml, b.yaml, gone.yaml]}\n")
    shop.write(
        "a.yaml", OVERLAY + "metadata: {name: other}\nspec: x\n---\napiVersion: reconciler/v1\nkind: Over\n"
    )
    shop.write("b.yaml", "a: [\n")
    assert sorted(shop.told("prod")) == [
        "a.yaml:4 unknown-field",
        "a.yaml:5 wrong-type",
        "a.yaml:8 unknown-kind",
        "b.yaml:2 yaml-syntax",
        "gone.yaml:0 no-such-path",
    ]


# ---- variables ------------------------------------------------------------------------------------------


def test_a_variable_keeps_its_type_where_it_stands_alone(shop: Shop) -> None:
    shop.project(
        "variables: {share: 80, rest: 20, tags: {a: b}, on: true, who: [x@y.z]}\nenvironments: {dev: {}}\n"
    )
    text = RANKER.replace(": 80", ": '${var.share}'").replace(": 20", ": '${var.rest}'")
    shop.write(
        "manifests/ranker.yaml",
        f"{text}  tags: ${{var.tags}}\n  description: '${{var.share}} is ${{var.on}}, not $${{var.x}}'\n"
        "  email_notifications: {on_update_failure: '${var.who}'}\n",
    )
    resource = shop.load("dev").resources[0]
    assert [r["traffic_percentage"] for r in resource.spec["config"]["traffic_config"]["routes"]] == [80, 20]
    assert resource.spec["tags"] == {"a": "b"}
    assert resource.spec["description"] == "80 is true, not ${var.x}"
    assert resource.spec["email_notifications"]["on_update_failure"] == ["x@y.z"]
    assert resource.source_of(("tags", "a")).line == 19, "the place that uses it"


def test_an_environments_variable_goes_before_the_projects(shop: Shop) -> None:
    shop.project("variables: {size: Small}\nenvironments:\n  dev: {}\n  prod: {variables: {size: Large}}\n")
    shop.write("manifests/ranker.yaml", RANKER.replace("Small", "${var.size}"))
    sizes = [shop.spec(name)["config"]["served_entities"][0]["workload_size"] for name in ("dev", "prod")]
    assert sizes == ["Small", "Large"]


def test_a_name_may_hold_a_variable_and_the_overlay_too(shop: Shop) -> None:
    shop.project("environments:\n  dev: {variables: {suffix: -dev}, overlays: [o.yaml]}\n")
    shop.write("manifests/ranker.yaml", RANKER.replace("name: ranker", "name: 'ranker${var.suffix}'"))
    shop.write("o.yaml", OVERLAY.replace("ranker", "ranker${var.suffix}") + "spec: {tags: {a: b}}\n")
    (resource,) = shop.load("dev").resources
    assert (resource.address.name, resource.spec["tags"]) == ("ranker-dev", {"a": "b"})


def test_a_variable_may_hold_a_reference_and_a_secret_stays_one(shop: Shop) -> None:
    shop.project("environments:\n  prod: {variables: {key: '${env:KEY}'}}\n")
    shop.write(
        "manifests/ranker.yaml",
        "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {name: chat}\nspec:\n  config:\n"
        "    served_entities:\n    - name: gpt\n      external_model:\n        provider: openai\n"
        "        name: gpt-4o\n        task: llm/v1/chat\n"
        "        openai_config: {openai_api_key_plaintext: '${var.key}'}\n",
    )
    loaded = shop.load("prod")
    config = loaded.resources[0].spec["config"]["served_entities"][0]["external_model"]["openai_config"]
    assert isinstance(config["openai_api_key_plaintext"], Secret)
    assert config["openai_api_key_plaintext"].reference == "${env:KEY}"


def test_a_plain_secret_in_a_variable_is_refused_and_not_shown(shop: Shop) -> None:
    shop.project("environments:\n  prod: {variables: {key: sk-canary-0123456789}}\n")
    shop.write(
        "manifests/ranker.yaml",
        "apiVersion: reconciler/v1\nkind: Endpoint\nmetadata: {name: chat}\nspec:\n  config:\n"
        "    served_entities:\n    - name: gpt\n      external_model:\n        provider: openai\n"
        "        name: gpt-4o\n        task: llm/v1/chat\n"
        "        openai_config: {openai_api_key_plaintext: '${var.key}'}\n",
    )
    (problem,) = shop.problems("prod")
    assert problem.rule == "plaintext-secret"
    assert "canary" not in str(problem)


def test_a_file_is_relative_to_where_its_reference_stands(shop: Shop) -> None:
    shop.project(_PROD)
    shop.write("overlays/prod.yaml", OVERLAY + "spec: {description: '${file:text.txt}'}\n")
    shop.write("overlays/text.txt", "from the overlay's folder\n")
    assert shop.spec("prod")["description"] == "from the overlay's folder"


def test_undefined_variables_are_told_with_the_nearest(shop: Shop) -> None:
    shop.project("variables: {size: Small}\nenvironments:\n  prod: {overlays: [o.yaml]}\n")
    shop.write(
        "manifests/ranker.yaml", RANKER.replace("Small", "${var.size}").replace('"7"', "${var.version}")
    )
    shop.write("o.yaml", OVERLAY + "spec: {description: '${var.sise} x'}\n")
    problems = shop.problems("prod")
    assert [(p.where, p.rule) for p in problems] == [
        ("manifests/ranker.yaml:9:9", "undefined-variable"),
        ("o.yaml:4:8", "undefined-variable"),
    ]
    assert problems[1].fix == "did you mean size?"


def test_a_list_cannot_stand_inside_text(shop: Shop) -> None:
    shop.project("variables: {who: [a]}\nenvironments: {dev: {}}\n")
    shop.write("manifests/ranker.yaml", RANKER + "  description: 'for ${var.who}'\n")
    (problem,) = shop.problems("dev")
    assert problem.rule == "bad-variable"


def test_a_variable_is_used_in_one_environment_at_least(shop: Shop) -> None:
    shop.project(
        "variables: {a: 1, b: 2}\nenvironments:\n  dev: {variables: {c: 3}}\n  prod: {overlays: [o.yaml]}\n"
    )
    shop.write("o.yaml", OVERLAY + "spec: {description: 'a ${var.a}'}\n")
    assert shop.told("dev") == ["reconciler.yaml:5 unused-variable", "reconciler.yaml:7 unused-variable"]
    assert shop.told("prod") == shop.told("dev")


def test_without_a_project_a_variable_is_undefined(shop: Shop) -> None:
    from reconciler.manifest import load

    shop.write("manifests/ranker.yaml", RANKER.replace("Small", "${var.size}"))
    with pytest.raises(ManifestError, match="there is no variable size"):
        load(["manifests"], environ={}, root=Path())


# ---- the project file -----------------------------------------------------------------------------------


def test_which_environment_is_meant(shop: Shop) -> None:
    shop.project("environments: {dev: {}, prod: {}}\n")
    project = load_project(Path("reconciler.yaml"))
    with pytest.raises(UsageError, match="which environment") as caught:
        choose(project, None)
    assert "dev, prod" in caught.value.why
    with pytest.raises(UsageError, match="'prd'") as caught:
        choose(project, "prd")
    assert caught.value.fix == "did you mean prod?"
    shop.project("default_environment: dev\nenvironments: {dev: {}, prod: {}}\n")
    chosen = choose(load_project(Path("reconciler.yaml")), None)
    assert chosen is not None
    assert chosen.name == "dev"


def test_a_project_without_environments_knows_no_name(shop: Shop) -> None:
    shop.project("")
    project = load_project(Path("reconciler.yaml"))
    assert choose(project, None) is None
    assert choose(None, None) is None
    for none in (project, None):
        with pytest.raises(UsageError, match="no environment 'prod'"):
            choose(none, "prod")


def test_a_target_is_resolved_only_where_it_is_used(shop: Shop) -> None:
    shop.project(
        "target: local\nenvironments:\n  dev: {}\n  prod: {target: 'databricks://${env:PROFILE}', stack: p}\n"
    )
    project = load_project(Path("reconciler.yaml"))
    dev, prod = project.environments.values()
    assert target_of(project, dev, {}) == "local"
    assert target_of(project, prod, {"PROFILE": "live"}) == "databricks://live"
    with pytest.raises(ManifestError) as caught:
        target_of(project, prod, {})
    assert caught.value.problems[0].where == "reconciler.yaml:8:10"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("default_environment: x\nenvironments: {dev: {}}\n", "unknown-environment"),
        ("variables: {a: 1, b: '${var.a}'}\n", "variable-of-variable"),
        ("environments: {dev: {variables: {b: ['${var.a}']}}}\n", "variable-of-variable"),
        ("environments: {dev: {overlay: [x]}}\n", "unknown-field"),
        ("environments: {'a b': {}}\n", "wrong-length"),
        ("environments: {}\n", "too-few"),
        ("promote: {Endpont: [tags]}\n", "unknown-kind"),
        ("promote: {Endpoint: [config.servd_entities]}\n", "promoted-path"),
        ("promote: {Endpoint: ['[']}\n", "promoted-path"),
    ],
)
def test_what_is_wrong_with_environments_is_told(shop: Shop, text: str, told: str) -> None:
    shop.project(text)
    with pytest.raises(ManifestError) as caught:
        load_project(Path("reconciler.yaml"))
    assert [problem.rule for problem in caught.value.problems] == [told]
    assert caught.value.problems[0].line >= 5
