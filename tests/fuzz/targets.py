"""What is fuzzed: each target takes any input, and must come to an answer or to an error of ours.

An input is JSON, or bytes; so that one that broke something can be kept as a file (``cases/``).
"""

from __future__ import annotations

import copy
import functools
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.response import HTTPResponse

from reconciler.client.auth import Token
from reconciler.client.databricks import DatabricksDeploymentClient
from reconciler.client.http import HttpSession
from reconciler.emulator import Request, Workspace
from reconciler.emulator.faults import parse_fault
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_plan, plan_destroy
from reconciler.engine.snapshot import read_snapshot, snapshot_from_json, snapshot_to_json
from reconciler.errors import ReconcilerError
from reconciler.kinds import kind_of
from reconciler.manifest import load
from reconciler.redact import Redactor
from reconciler.values import Address, FieldPath, Live, Resource, Snapshot, Source
from tests.fuzz.ends import CANARY, Target, shown, told
from tests.fuzz.files import FILES
from tests.fuzz.mutations import ODD, spoilt, spoilt_bytes
from tests.unit.engine.specs import specs

__all__ = ["TARGETS", "Target"]

_ENVIRON = {"OPENAI_API_KEY": CANARY, "COHERE_API_KEY": CANARY, "EMPTY": ""}
_EXAMPLES = Path(__file__).parent.parent.parent / "examples"


# -- manifests --------------------------------------------------------------------------------------------


@functools.cache
def _manifests() -> list[bytes]:
    files = sorted(file for file in _EXAMPLES.glob("*/*.yaml") if not file.match("*.policies.yaml"))
    return [file.read_bytes() for file in files]


@functools.cache
def _documents() -> list[Any]:
    return [document for text in _manifests() for document in yaml.safe_load_all(text)]


def _load(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        for allow_unset in (False, True):
            try:
                loaded = load([file], environ=_ENVIRON, root=file.parent, allow_unset=allow_unset)
            except ReconcilerError as error:
                told(error)
                continue
            empty = Snapshot("t", "now", {})
            known = Redactor(loaded.secrets)
            shown(make_plan(loaded.resources, empty), known)
            shown(plan_destroy(loaded.resources, empty), known)


def _check_document(document: Any) -> None:
    _load(json.dumps(document).encode(), "m.json")


# -- planner ----------------------------------------------------------------------------------------------


@functools.cache
def _answers() -> list[dict[str, Any]]:
    """What the emulator says of endpoints of every sort, with their grants; some updating, some failed."""
    found = []
    for provisioning in (0.0, 1e9):
        workspace = Workspace(provisioning=provisioning)
        headers = {"authorization": "Bearer x", "host": "local"}

        def ask(
            method: str, path: str, body: Any = None, workspace: Any = workspace, headers: Any = headers
        ) -> Any:
            content = b"" if body is None else json.dumps(body).encode()
            return json.loads(workspace.handle(Request(method, path, {}, headers, content)).body)

        for number, document in enumerate(_documents()):
            spec = dict(document["spec"])
            spec.pop("permissions", None)
            body = {"name": f"e{number}", **json.loads(json.dumps(spec).replace("_plaintext", ""))}
            if isinstance(body.get("tags"), dict):
                body["tags"] = [{"key": key, "value": value} for key, value in body["tags"].items()]
            path = "/api/2.0/serving-endpoints"
            for route in (path, f"{path}/pt"):
                ask("POST", route, body)
            live = ask("GET", f"{path}/e{number}")
            if "id" in live:
                grants = ask("GET", f"/api/2.0/permissions/serving-endpoints/{live['id']}")
                found.append({"raw": {**live, "name": "chat"}, "permissions": grants})
        workspace.close()
    assert len(found) > 10
    return found


@st.composite
def _plannings(draw: st.DrawFn) -> Any:
    wanted = draw(specs()) if draw(st.booleans()) else draw(st.sampled_from(_documents()))["spec"]
    live = draw(spoilt(_answers()))
    return {"spec": wanted, "live": live, "ignore": draw(st.lists(st.text(max_size=10), max_size=1))}


def _check_planner(given: Any) -> None:
    try:
        ignore = [str(FieldPath.parse(text)) for text in given["ignore"]]
    except ReconcilerError:
        ignore = []
    address = Address("Endpoint", "chat")
    resource = Resource(address, {"tags": None, **given["spec"]}, Source("m.yaml", 1))
    if ignore:
        resource = _ignoring(resource, ignore)
    answered = given["live"]
    _plan_against(resource, answered.get("raw"), answered.get("permissions"))


def _ignoring(resource: Resource, ignore: list[str]) -> Resource:
    from dataclasses import replace

    return replace(resource, lifecycle=replace(resource.lifecycle, ignore_changes=tuple(ignore)))


def _plan_against(resource: Resource, raw: Any, grants: Any) -> None:
    """As read_live and make_plan do it, through a client that gives these answers."""
    client = _Fixed({"get_endpoint": raw, "get_endpoint_permissions": grants, "list_endpoints": [raw]})
    try:
        snapshot = read_snapshot(client, [resource], target="t", taken_at="now")
        for resend in (False, True):
            plan = make_plan([resource], snapshot, PlanOptions(resend=resend))
            shown(plan)
        shown(plan_destroy([resource], snapshot))
        for live in snapshot.resources.values():
            kind_of(live.address).status(live.raw)
            kind_of(live.address).fingerprint(live, kind_of(live.address).normalise(live))
        text = json.dumps(snapshot_to_json(snapshot, salt="s"))
        again = snapshot_from_json(json.loads(text), where="f")
        assert make_plan([resource], again).is_empty == make_plan([resource], snapshot).is_empty
    except ReconcilerError as error:
        told(error)


class _Fixed:
    """A client whose answers are given; as the real one, it lets nothing through but objects."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    def list_endpoints(self) -> Any:
        return [each for each in self._answers["list_endpoints"] if isinstance(each, dict)]

    def get_endpoint(self, name: str) -> Any:
        return self._object("get_endpoint")

    def get_endpoint_permissions(self, identifier: str) -> Any:
        return self._object("get_endpoint_permissions")

    def _object(self, name: str) -> Any:
        from reconciler.client.queries import as_object

        return as_object("GET", "/x", copy.deepcopy(self._answers[name]), True)


# -- snapshot files ---------------------------------------------------------------------------------------


@functools.cache
def _snapshots() -> list[Any]:
    address = Address("Endpoint", "chat")
    return [
        snapshot_to_json(
            Snapshot("t", "now", {address: Live(address, each["raw"], each["permissions"])}, (address,)),
            salt="s",
        )
        for each in _answers()
    ]


def _check_snapshot(content: Any) -> None:
    resource = Resource(Address("Endpoint", "chat"), _documents()[0]["spec"], Source("m.yaml", 1))
    try:
        snapshot = snapshot_from_json(content, where="snapshot.json")
        shown(make_plan([resource], snapshot))
        shown(plan_destroy([resource], snapshot))
    except ReconcilerError as error:
        told(error)


# -- answers ----------------------------------------------------------------------------------------------


class _Bytes(BaseAdapter):
    """Answers every request with the same bytes."""

    def __init__(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        super().__init__()
        self.status, self.content, self.given = status, content, headers

    def send(self, request: PreparedRequest, *arguments: Any, **named: Any) -> Response:
        response = Response()
        response.status_code = self.status
        response.headers = CaseInsensitiveDict(self.given)
        body = io.BytesIO(self.content)
        response.raw = HTTPResponse(body=body, headers=self.given, status=self.status, preload_content=False)
        response.url, response.request = request.url or "", request
        return response

    def close(self) -> None:
        pass


@st.composite
def _wire(draw: st.DrawFn) -> Any:
    status = draw(st.sampled_from([200, 200, 200, 201, 204, 301, 307, 400, 404, 409, 429, 500, 503]))
    answers = [json.dumps(each["raw"]).encode() for each in _answers()[:6]]
    answers += [b'{"endpoints":[' + answer + b"]}" for answer in answers]
    answers += [b'{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"no"}', b"<html><b>no</b>", b""]
    names = ["Retry-After", "Location", "Date", "Content-Type", "x-request-id", "Content-Length"]
    headers = st.dictionaries(
        st.sampled_from(names), st.text(st.characters(max_codepoint=255), max_size=20), max_size=2
    )
    return {
        "status": status,
        "headers": draw(headers),
        "content": draw(spoilt_bytes(answers)).decode("latin-1"),
    }


def _check_answer(given: Any) -> None:
    client = DatabricksDeploymentClient(host="http://fuzz.test", credentials=Token(CANARY))
    adapter = _Bytes(given["status"], given["content"].encode("latin-1"), given["headers"])
    client.http = HttpSession(
        "http://fuzz.test",
        credentials=Token(CANARY),
        adapter=adapter,
        sleep=lambda _: None,
        chance=lambda: 0.0,
    )
    resource = Resource(
        Address("Endpoint", "e0"), {"tags": {"a": "b"}, "permissions": []}, Source("m.yaml", 1)
    )
    for call in (
        client.list_endpoints,
        lambda: client.get_endpoint("e0"),
        lambda: client.create_endpoint(config={"name": "e0"}),
        lambda: client.update_endpoint_tags("e0", {}),
        lambda: client.delete_endpoint("e0"),
        lambda: client.predict(endpoint="e0", inputs={}),
        lambda: list(client.predict_stream(endpoint="e0", inputs={})),
        lambda: client.get_endpoint_metrics("e0"),
        lambda: shown(make_plan([resource], read_snapshot(client, [resource], target="t", taken_at="now"))),
    ):
        try:
            call()
        except ReconcilerError as error:
            told(error)


# -- small languages --------------------------------------------------------------------------------------


def _check_words(given: Any) -> None:
    for parse in (parse_fault, Address.parse, FieldPath.parse):
        try:
            parse(given)
        except ReconcilerError as error:
            told(error)


_PARTS = "500 429 :acted :retry-after= date + @ # * % create PUT [ ] = redirect= http:// timeout 1 . /"
_WORDS = st.lists(st.sampled_from(_PARTS.split()), max_size=8).map("".join)

TARGETS = {
    target.name: target
    for target in (
        Target("loader", lambda: spoilt_bytes(_manifests()), lambda content: _load(content, "m.yaml")),
        Target("documents", lambda: spoilt(_documents()), _check_document),
        Target("planner", _plannings, _check_planner),
        Target("snapshots", lambda: spoilt(_snapshots()) | ODD, _check_snapshot),
        Target("answers", _wire, _check_answer),
        *FILES,
        Target("words", lambda: _WORDS | st.text(max_size=30), _check_words),
    )
}
