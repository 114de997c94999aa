"""Files → resources: which files, in which order, what a resource holds, and all problems in one run."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.errors import ManifestError
from reconciler.manifest import Loaded, load
from reconciler.manifest.rules import PROBLEMS
from reconciler.values import Address, Lifecycle, Source
from tests.unit.manifest.conftest import ENVIRON, HEAD, Loader

Write = Callable[[str, str], Path]

_PLAIN = f"{HEAD}spec: {{}}\n"


def _named(name: str) -> str:
    return _PLAIN.replace("chat", name)


def _names(loaded: Loaded) -> list[str]:
    return [resource.address.name for resource in loaded.resources]


def _load(*paths: str | Path) -> Loaded:
    return load(paths, environ=ENVIRON, root=Path.cwd())


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---- which files --------------------------------------------------------------------------------------


def test_folders_are_searched_in_the_order_of_names(write: Write) -> None:
    for name in ("m/b.yaml", "m/a.yml", "m/c/d.json", "m/b/x.YAML"):
        write(name, _named(name.replace("/", "-").replace(".", "-")))
    write("m/.hidden.yaml", "[")
    write("m/.git/x.yaml", "[")
    write("m/notes.txt", "[")
    write("m/reconciler.yaml", "[")
    loaded = _load("m")
    assert loaded.files == ("m/a.yml", "m/b/x.YAML", "m/b.yaml", "m/c/d.json")
    assert _names(loaded) == ["m-a-yml", "m-b-x-YAML", "m-b-yaml", "m-c-d-json"]


def test_paths_keep_their_order_and_each_file_counts_once(write: Write) -> None:
    for name in "abc":
        write(f"m/{name}.yaml", _named(name))
    assert _names(_load("m/c.yaml", "./m", "m/a.yaml", Path("m"))) == ["c", "a", "b"]


def test_messages_name_files_as_the_user_did(write: Write, tmp_path: Path) -> None:
    write("m/sub/a.yaml", "[")
    for given_path, told in (
        ("m", "m/sub/a.yaml"),
        ("./m/", "m/sub/a.yaml"),
        (".", "m/sub/a.yaml"),
        ("m/sub/a.yaml", "m/sub/a.yaml"),
        (str(tmp_path / "m"), f"{tmp_path}/m/sub/a.yaml"),
    ):
        with pytest.raises(ManifestError) as caught:
            _load(given_path)
        assert [problem.file for problem in caught.value.problems] == [told]


def test_links_are_followed_and_loops_end(write: Write, tmp_path: Path) -> None:
    write("real/a.yaml", _PLAIN)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "m")
    (tmp_path / "m" / "dangling.yaml").symlink_to("nowhere")
    with pytest.raises(ManifestError) as caught:
        _load("m")
    (problem,) = caught.value.problems
    assert (problem.file, problem.rule) == ("m/dangling.yaml", "unreadable-file")
    (tmp_path / "m" / "dangling.yaml").unlink()
    for n in range(3):  # without a memory of what was seen, 3 to the power of 40 ways
        (tmp_path / "m" / f"self{n}").symlink_to(tmp_path / "m")
    assert _names(_load("m")) == ["chat"]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("gone.yaml", "no-such-path"),
        ("gone", "no-such-path"),
        ("a\0b", "no-such-path"),
        ("x" * 5000, "no-such-path"),
        ("empty", "no-manifest"),
        ("notes.txt", "no-manifest"),
        ("reconciler.yaml", "no-manifest"),
        ("nothing.yaml", "no-manifest"),
        ("pipe.yaml", "unreadable-file"),
    ],
)
def test_a_path_that_is_no_manifest_is_told(write: Write, tmp_path: Path, name: str, rule: str) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    write("notes.txt", "")
    write("reconciler.yaml", "")
    write("nothing.yaml", "# nothing\n---\n")
    with pytest.raises(ManifestError) as caught:
        _load(name)
    assert [problem.rule for problem in caught.value.problems] == [rule]


def test_an_empty_file_among_others_is_fine(write: Write) -> None:
    write("m/a.yaml", "")
    write("m/b.yaml", _PLAIN)
    assert _names(_load("m")) == ["chat"]


def test_standard_input_is_a_file_too() -> None:
    def from_stdin(content: bytes) -> Loaded:
        return load(["-"], environ=ENVIRON, root=Path.cwd(), stdin=io.BytesIO(content))

    loaded = from_stdin(_PLAIN.encode())
    assert loaded.files == ("<stdin>",)
    with pytest.raises(ManifestError, match="<stdin>:2:1"):
        from_stdin(b"[")
    with pytest.raises(ManifestError, match="larger than 8 MB"):
        from_stdin(b"#" * (9 * 1024 * 1024))


def test_file_names_cannot_play_tricks_on_the_terminal(write: Write) -> None:
    write("m/\x1b[31m\n.yaml", "[")
    with pytest.raises(ManifestError) as caught:
        _load("m")
    assert "\x1b" not in str(caught.value)
    assert caught.value.problems[0].file == "m/\\u001b[31m\\u000a.yaml"


# ---- what a resource holds ----------------------------------------------------------------------------


def test_a_resource_holds_everything_of_its_document(loader: Loader) -> None:
    loaded = loader(
        "# comment\n\n"
        + HEAD
        + "  labels: {team: ml}\n  allow_unknown_fields: true\n"
        + "lifecycle: {prevent_destroy: true, ignore_changes: [tags]}\n"
        + "spec:\n  tags:\n    cost: 12\n  ai_gateway:\n    rate_limits:\n"
        + "      - {calls: 4.0, renewal_period: minute}\n"
    )
    (resource,) = loaded.resources
    assert resource.address == Address("Endpoint", "chat")
    assert resource.labels == {"team": "ml"}
    assert resource.lifecycle == Lifecycle(prevent_destroy=True, ignore_changes=("tags",))
    assert resource.allow_unknown_fields is True
    file = str(loader.folder / "m.yaml")
    assert resource.source == Source(file, 3, 1)
    assert resource.positions[("tags", "cost")] == Source(file, 12, 5)
    assert resource.source_of(("ai_gateway", "rate_limits", 0, "gone")) == Source(file, 15, 9)
    assert ("metadata",) not in resource.positions


def test_numbers_become_what_the_api_takes(loader: Loader) -> None:
    spec = loader.spec(
        "  tags: {a: 1, b: null, c: '2', d: 3.0}\n"
        "  config:\n    served_entities:\n      - {entity_name: m, entity_version: 3}\n"
        "  ai_gateway: {rate_limits: [{calls: 1e3, renewal_period: minute}]}\n"
        "  telemetry_config: {inference_table_config: {sampling_fraction: 1}}\n"
    )
    assert spec["tags"] == {"a": "1", "b": None, "c": "2", "d": "3"}
    assert spec["config"]["served_entities"][0]["entity_version"] == "3"
    calls = spec["ai_gateway"]["rate_limits"][0]["calls"]
    assert calls == 1000
    assert type(calls) is int
    assert type(spec["telemetry_config"]["inference_table_config"]["sampling_fraction"]) is int


def test_lists_of_pairs_become_text_too(loader: Loader) -> None:
    spec = loader.spec("  tags: [{key: a, value: 1}, {key: b}]\n")
    assert spec["tags"] == [{"key": "a", "value": "1"}, {"key": "b"}]


# ---- all problems -------------------------------------------------------------------------------------


def test_all_problems_of_all_files_come_in_one_run(write: Write) -> None:
    write("m/a.yaml", f"{HEAD}spec:\n  tags: {{a: 1, a: 2}}\n  nope: 1\n---\nkind: Nope\n---\n- x\n")
    write("m/b.yaml", "a: [\n")
    write("m/c.yaml", f"{HEAD}spec:\n  description: ${{env:GONE}}\n  id: 1\n")
    with pytest.raises(ManifestError) as caught:
        _load("m", "gone.yaml")
    told = [(problem.file, problem.line, problem.rule) for problem in caught.value.problems]
    assert told == [
        ("gone.yaml", 0, "no-such-path"),
        ("m/a.yaml", 6, "duplicate-key"),
        ("m/a.yaml", 7, "unknown-field"),
        ("m/a.yaml", 9, "unknown-kind"),
        ("m/a.yaml", 11, "not-a-manifest"),
        ("m/b.yaml", 2, "yaml-syntax"),
        ("m/c.yaml", 4, "duplicate-name"),
        ("m/c.yaml", 6, "unset-variable"),
        ("m/c.yaml", 7, "computed-field"),
    ]


def test_a_name_is_declared_once_over_all_files(write: Write) -> None:
    write("a.yaml", _PLAIN)
    write("b.yaml", f"{_named('other')}---\n{_PLAIN}")
    with pytest.raises(ManifestError) as caught:
        _load("b.yaml", "a.yaml")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("a.yaml", 4, 3)
    assert problem.what.endswith("first at b.yaml:10:3")


def test_one_mistake_in_many_places_is_told_at_each(loader: Loader) -> None:
    text = "---\n".join(_named(f"e{n}").replace("{}", "{nope: 1}") for n in range(300))
    assert loader.rules(text) == ["unknown-field"] * 300


# ---- unknown fields -----------------------------------------------------------------------------------

_NEWER = f"{HEAD}  allow_unknown_fields: true\nspec:\n  new_section: {{a: '${{env:REGION}}'}}\n"


def test_unknown_fields_pass_when_allowed_and_are_warned_of(loader: Loader) -> None:
    loaded = loader(
        _NEWER
        + "  config:\n    served_entities:\n      - {entity_name: m, entity_version: 1, new_field: [1]}\n"
    )
    spec = loaded.resources[0].spec
    assert spec["new_section"] == {"a": "eu"}
    assert spec["config"]["served_entities"][0]["new_field"] == [1]
    told = [(warning.line, warning.path, warning.rule) for warning in loaded.warnings]
    assert told == [
        (7, "spec.new_section", "unknown-field-passed"),
        (10, "spec.config.served_entities[0].new_field", "unknown-field-passed"),
    ]


def test_what_is_known_stays_strict_when_unknown_fields_are_allowed(loader: Loader) -> None:
    text = _NEWER.replace("metadata:\n", "metadata:\n  nope: 1\n") + "  description: 5\n  id: x\n"
    assert loader.rules(text) == ["unknown-field", "wrong-type", "computed-field"]
    assert loader.rules(f"{HEAD}  allow_unknown_fields: false\nspec:\n  nope: 1\n") == ["unknown-field"]


# ---- warnings -----------------------------------------------------------------------------------------

_EXTERNAL = """  config:
    served_entities:
      - external_model:
          provider: openai
          name: gpt-4o
          task: llm/v1/chat
          openai_config: {openai_api_key: "{{secrets/a/b}}", openai_api_type: azur}
"""


def test_a_word_that_is_not_known_is_warned_of(loader: Loader) -> None:
    (warning,) = loader(f"{HEAD}spec:\n{_EXTERNAL}").warnings
    assert (warning.line, warning.rule, warning.fix) == (12, "unknown-word", "did you mean azure?")


def test_fallback_with_one_entity_is_warned_of(loader: Loader) -> None:
    body = _EXTERNAL.replace("azur}", "azure}") + "  ai_gateway: {fallback_config: {enabled: true}}\n"
    (warning,) = loader(f"{HEAD}spec:\n{body}").warnings
    assert (warning.line, warning.rule) == (13, "fallback-needs-several")


def test_plain_text_under_a_secret_looking_name_is_warned_of(loader: Loader) -> None:
    loaded = loader(
        f"{HEAD}spec:\n  config:\n    served_entities:\n      - entity_name: m\n        entity_version: 1\n"
        "        environment_vars:\n          DB_PASSWORD: canary-canary-canary\n          LOG_LEVEL: info\n"
        "          EOS_TOKEN: </s>\n          A_TOKEN: '{{secrets/a/b}}'\n"
        "          B_TOKEN: '${env:REGION}'\n"
    )
    (warning,) = loaded.warnings
    assert (warning.line, warning.rule) == (11, "maybe-secret")
    assert "canary" not in str(warning)


# ---- any text -----------------------------------------------------------------------------------------

_NAMES = """
config served_entities served_models traffic_config routes name entity_name external_model provider
openai_config openai_api_key tags key value ai_gateway rate_limits traffic_percentage
served_entity_name environment_vars permissions user_name fallback_config enabled x
"""
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 200)
    | st.floats(-2, 2)
    | st.text("a$ {}:env\x00", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES.split()), inner, max_size=5)
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=_values, metadata=_values, lifecycle=_values, loose=st.booleans())
def test_no_document_raises_anything_else(
    loader: Loader, spec: object, metadata: object, lifecycle: object, loose: bool
) -> None:
    head = {"name": "chat", "allow_unknown_fields": loose}
    document = {"apiVersion": "reconciler/v1", "kind": "Endpoint", "spec": spec}
    for more in ({"metadata": head}, {"metadata": metadata, "lifecycle": lifecycle}):
        for allow_unset in (False, True):
            try:
                loader(json.dumps({**document, **more}), "m.json", allow_unset=allow_unset)
            except ManifestError as error:
                rules = {problem.rule for problem in error.problems}
            else:
                rules = set()
            assert rules <= set(PROBLEMS)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_file_raises_anything_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.yaml").write_bytes(content)
    with pytest.raises(ManifestError):
        _load("m.yaml")
