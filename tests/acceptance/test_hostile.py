"""A server and manifests that mean no good, met by the whole program.

It gives an error or a right answer; never a traceback, a hang, a sign that a terminal obeys, or more than
200 MB.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.client.wire import Seen, Server, answer
from tests.unit.memory import Measured, program

_MANIFEST = """\
apiVersion: reconciler/v1
kind: Endpoint
metadata: {name: chat}
spec:
  config:
    served_entities: [{name: m, entity_name: main.ml.ranker, entity_version: "1"}]
  tags: {team: a}
  permissions: [{group_name: users, permission_level: CAN_QUERY}]
"""
_EVIL = "a\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp\u2028\r\n\x00\u200b\U000e0041b"
_READS = (
    ("plan", "-v"),
    ("plan", "-o", "json"),
    ("plan", "--save-snapshot", "s.json"),
    ("get",),
    ("get", "-o", "json"),
    ("get", "chat"),
    ("get", "chat", "-o", "json"),
    ("apply", "-y", "--wait-timeout", "1s"),
    ("destroy", "-y"),
    ("query", "chat", "-m", "hi"),
    ("query", "chat", "-m", "hi", "-o", "json"),
    ("query", "chat", "-m", "hi", "--stream"),
    ("auth", "check"),
)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def _run(server: Server, folder: Path, *words: str, code: tuple[int, ...] = (0, 1, 2, 3)) -> Measured:
    (folder / "manifests").mkdir(exist_ok=True)
    manifest = folder / "manifests" / "m.yaml"
    if not manifest.exists():
        manifest.write_text(_MANIFEST, encoding="utf-8")
    done = program(
        *words,
        folder=folder,
        DATABRICKS_HOST=server.url,
        DATABRICKS_TOKEN="dapi-0123456789",
        MLFLOW_DEPLOYMENTS_TARGET="databricks",
        MLFLOW_HTTP_REQUEST_TIMEOUT="20",
        PYTHONUTF8="1",
    )
    said = done.out + done.err
    assert done.code in code, said[-2000:]
    assert "Traceback" not in said, said[-3000:]
    assert "This is a bug" not in said
    assert done.peak < 200, f"{done.peak} MB"
    return done


def _harmless(text: str) -> None:
    bad = {
        c
        for c in text
        if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2028\u200b\U000e0041"
    }
    assert not bad, bad


def _endpoint(name: str = "chat", **more: Any) -> dict[str, Any]:
    entity = {"name": "m", "entity_name": "main.ml.ranker", "entity_version": "2"}
    state = {"ready": "READY", "config_update": "NOT_UPDATING"}
    return {"name": name, "id": "1", "state": state, "config": {"served_entities": [entity]}, **more}


def _answers(endpoint: dict[str, Any]) -> Callable[[Seen], bytes]:
    """A server that has this one endpoint, and says the same to everything."""

    def respond(seen: Seen) -> bytes:
        if "/permissions/" in seen.path:
            return answer(200, {"access_control_list": [{"group_name": _EVIL, "all_permissions": [{}]}]})
        if seen.path.endswith("serving-endpoints") and seen.method == "GET":
            return answer(200, {"endpoints": [endpoint]})
        return answer(200, endpoint)

    return respond


# -- signs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", _READS, ids=" ".join)
def test_no_answer_reaches_the_terminal_as_a_command(
    server: Server, tmp_path: Path, words: tuple[str, ...]
) -> None:
    evil = _endpoint(
        creator=_EVIL,
        task=_EVIL,
        description=_EVIL,
        tags=[{"key": _EVIL, "value": _EVIL}],
        userName=_EVIL,
        choices=[{"message": {"content": _EVIL}}],
        newer={_EVIL: [_EVIL]},
        state={"ready": _EVIL, "config_update": _EVIL, _EVIL: 1},
    )
    evil["config"]["served_entities"][0]["state"] = {"deployment": _EVIL, "deployment_state_message": _EVIL}
    server.respond = _answers(evil)
    done = _run(server, tmp_path, *words)
    out = done.out.replace("\r\n", "\n") if words[0] == "query" else done.out
    _harmless(out)
    _harmless(done.err)
    if "json" in words and done.code == 0 and words[0] != "query":
        json.loads(done.out)


@pytest.mark.parametrize("status", [400, 404, 409, 500])
@pytest.mark.parametrize(
    "words", [("plan",), ("get", "chat"), ("apply", "-y"), ("query", "chat", "-m", "hi")], ids=" ".join
)
def test_no_refusal_does_either(server: Server, tmp_path: Path, words: tuple[str, ...], status: int) -> None:
    body = {"error_code": _EVIL, "message": _EVIL}
    server.otherwise = answer(status, body, {"x-request-id": "r\x9b2J", "Retry-After": "0"})
    done = _run(server, tmp_path, *words)
    _harmless(done.out)
    _harmless(done.err)
    assert f"HTTP {status}" in done.err or status == 404


# -- sizes ------------------------------------------------------------------------------------------------


def _tags(count: int) -> list[dict[str, str]]:
    return [{"key": f"k{number}", "value": "v"} for number in range(count)]


@pytest.mark.parametrize(
    "words", [("plan",), ("get",), ("get", "chat", "-o", "json"), ("plan", "-o", "json")], ids=" ".join
)
def test_very_many_tags_are_an_error_or_a_plan(
    server: Server, tmp_path: Path, words: tuple[str, ...]
) -> None:
    for count in (20_000, 300_000):
        server.respond = _answers(_endpoint(tags=_tags(count)))
        done = _run(server, tmp_path, *words)
        if count == 300_000:
            assert done.code == 1
            assert re.search("too long|more than 200,000 values", done.err)
        else:
            assert done.code == 0


def test_a_list_without_end_is_an_error(server: Server, tmp_path: Path) -> None:
    server.otherwise = answer(200, b'{"endpoints": [' + b'{"name": "x"},' * 2_000_000 + b"{}]}")
    assert _run(server, tmp_path, "plan").code == 1


@pytest.mark.parametrize(
    "body", [b"[" * 5_000_000, b'{"a":' * 1_000_000, b'{"endpoints":' + b"[" * 90 + b"]" * 90 + b"}"]
)
def test_deep_nesting_is_an_error(server: Server, tmp_path: Path, body: bytes) -> None:
    server.otherwise = answer(200, body)
    assert _run(server, tmp_path, "plan").code == 1
    assert _run(server, tmp_path, "get").code == 1


def test_what_is_deep_and_unknown_is_left_alone(server: Server, tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(80):
        deep = {"a": [deep]} if isinstance(deep, int) else [deep]
    server.respond = _answers(_endpoint(newer=deep, tags={"team": "a"}))
    for words in (("plan",), ("plan", "-o", "json"), ("get", "chat"), ("plan", "--save-snapshot", "s.json")):
        assert _run(server, tmp_path, *words).code == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "chat", "name": "other"}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\xff\xfe",
    ],
)
def test_what_is_not_quite_json_is_an_error(server: Server, tmp_path: Path, body: bytes) -> None:
    server.otherwise = answer(200, body)
    done = _run(server, tmp_path, "get", "chat")
    assert done.code == 1
    assert re.search("the answer (cannot be read|is not JSON)", done.err)


def test_half_characters_can_be_shown_and_saved(server: Server, tmp_path: Path) -> None:
    body = json.dumps(_endpoint(description="half \ud800", tags=[{"key": "\udc00", "value": ""}]))
    server.respond = lambda seen: answer(
        200,
        f'{{"endpoints": [{body}]}}'.encode() if seen.path.endswith("serving-endpoints") else body.encode(),
    )
    for words in _READS[:7]:
        assert _run(server, tmp_path, *words).code in (0, 1)
    assert _run(server, tmp_path, "get", "chat").code == 0


# -- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../admin", "a/b", "a?b#c", "a%2Fb", "..", "a\nb", "a b", "é", "\x1b[2J", "a" * 500]
)
def test_a_manifests_name_never_becomes_another_path(server: Server, tmp_path: Path, name: str) -> None:
    (tmp_path / "manifests").mkdir()
    text = _MANIFEST.replace("{name: chat}", json.dumps({"name": name}))
    (tmp_path / "manifests" / "m.yaml").write_text(text, encoding="utf-8")
    done = _run(server, tmp_path, "apply", "-y")
    assert done.code == 1
    _harmless(done.err)
    assert server.seen == [], "refused before anything was sent"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("../../admin", "..%2F..%2Fadmin"),
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a%2Fb", "a%252Fb"),
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        ("\x1b[2J", "%1B%5B2J"),
    ],
)
def test_a_name_on_the_command_line_is_one_segment(
    server: Server, tmp_path: Path, name: str, path: str
) -> None:
    server.otherwise = answer(200, _endpoint(name))
    done = _run(server, tmp_path, "get", f"Endpoint/{name}")
    _harmless(done.err)
    assert [seen.path for seen in server.seen] == [f"/api/2.0/serving-endpoints/{path}"]


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_would_climb_is_none(server: Server, tmp_path: Path, name: str) -> None:
    assert _run(server, tmp_path, "get", f"Endpoint/{name}").code == 1
    assert server.seen == []


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "/proc/self/environ", "link", "manifests/../../x", "."]
)
def test_a_file_reference_does_not_leave_the_project(server: Server, tmp_path: Path, path: str) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "manifests").mkdir()
    text = _MANIFEST.replace("team: a", f'team: "${{file:{path}}}"')
    (tmp_path / "manifests" / "m.yaml").write_text(text, encoding="utf-8")
    done = _run(server, tmp_path, "plan")
    assert done.code == 1
    assert "root:" not in done.out + done.err
    assert server.seen == []


# -- manifests --------------------------------------------------------------------------------------------

_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)

_BOMBS = "bomb lists objects items huge twice keys tags documents itself keys-of-keys python binary comment"


@pytest.mark.parametrize(
    "text",
    [
        _BOMB,
        "a: " + "[" * 100_000,
        "a: " + "{b: " * 100_000,
        "- " * 200_000,
        "x: '" + "y" * 9_000_000 + "'",
        "a: 1\n" * 500_000,
        "".join(f"k{n}: v\n" for n in range(500_000)),
        _MANIFEST.replace("team: a", ", ".join(f"k{n}: v" for n in range(100_000))),
        "---\n" * 500_000,
        _MANIFEST.replace("team: a", "team: &x [*x]"),
        "? " * 50_000,
        "!!python/object/apply:os.system ['touch owned']",
        "a: !!binary " + "A" * 1_000_000,
        "# " + "x" * 7_000_000,
    ],
    ids=_BOMBS.split(),
)  # fmt: skip
def test_a_manifest_is_read_in_bounds(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "m.yaml").write_text(text, encoding="utf-8")
    done = program("validate", folder=tmp_path, seconds=30)
    assert done.code in (0, 1)
    assert "Traceback" not in done.err
    assert done.peak < 200, f"{done.peak} MB"
    assert not (tmp_path / "owned").exists()
