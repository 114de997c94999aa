"""The MLflow AI Gateway that serves a configuration file, with that file at hand: read over HTTP, written by
file.

Facts: mlflow 3.17, ``mlflow gateway start --config-path``; it watches the file and reads it again when it is
replaced. What it makes of a file that it does not like: an entry that is not valid is logged, and the old
configuration goes on serving; ``$NAME`` of a variable that its own environment lacks ends the whole gateway.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from requests.adapters import BaseAdapter

from reconciler.client.config_edit import edited
from reconciler.client.config_file import ConfigFile
from reconciler.client.config_text import Entry, objections, read_entries
from reconciler.client.http import quote
from reconciler.client.mlflow import MlflowDeploymentClient
from reconciler.errors import NotFound, UsageError

__all__ = ["ConfigView", "FileGatewayClient", "Written"]

_ROUTES: Final = "/api/3.0/gateway/route/"


@dataclass(frozen=True, slots=True)
class ConfigView:
    """The file at one moment."""

    digest: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What a write replaced (``text``, ``digest``) and by what (``new_digest``, ``entries``)."""

    text: str
    digest: str
    new_digest: str
    entries: tuple[Entry, ...]


class FileGatewayClient(MlflowDeploymentClient):
    """A gateway at ``target_uri`` that serves the file ``config_path``; otherwise as
    :class:`~reconciler.client.mlflow.MlflowDeploymentClient`.

    ``patience``: seconds for all tries of a read together.
    """

    def __init__(
        self,
        target_uri: str,
        config_path: str,
        *,
        adapter: BaseAdapter | None = None,
        pool_size: int = 64,
        stop: threading.Event | None = None,
        patience: float = 5.0,
    ) -> None:
        super().__init__(target_uri, adapter=adapter, pool_size=pool_size, stop=stop)
        self.config = ConfigFile(config_path)
        self.patience = patience

    def read_config(self) -> ConfigView:
        """The file's entries. Raises UsageError when it cannot be read or is not one."""
        text, digest = self.config.read()
        return ConfigView(digest, read_entries(text, self.config.path))

    def write_config(self, bodies: Iterable[Mapping[str, Any]]) -> Written:
        """Make all these changes by one replacement of the file.

        A body: ``if_match`` (digest), ``stack``, ``put`` ({list: [entry as a merge patch]}), ``part_of``
        ({name: the entry that it belongs to}), ``remove`` ({list: [name]}), ``rename`` ({list: {old: new}}).
        Raises StaleError when the file changed, UsageError when the gateway would not take the result.
        """
        bodies = list(bodies)
        text, digest = self.config.read()
        puts: list[Entry] = []
        removals: list[tuple[str, str]] = []
        renames: dict[tuple[str, str], str] = {}
        for body in bodies:
            whole = body.get("part_of") or {}
            for kind, patches in (body.get("put") or {}).items():
                for patch in patches:
                    name = str(patch["name"])
                    puts.append(Entry(kind, name, patch, str(body["stack"]), str(whole.get(name, ""))))
            removals += [(kind, str(n)) for kind, names in (body.get("remove") or {}).items() for n in names]
            for kind, names in (body.get("rename") or {}).items():
                renames |= {(kind, str(old)): str(new) for old, new in names.items()}
        new = edited(text, puts, removals, renames, where=self.config.path)
        entries = read_entries(new, self.config.path)
        if found := objections(entries):
            raise UsageError(
                "; ".join(found),
                where=self.config.path,
                why="the gateway refuses such a file as a whole; it was not written",
                fix="change what clashes: the manifest, or the entry in the file that is not from here",
            )
        if_match = {str(body["if_match"]) for body in bodies}
        new_digest = self.config.replace(new, if_match.pop() if len(if_match) == 1 else "")
        return Written(text, digest, new_digest, entries)

    def put_back(self, written: Written) -> bool:
        """Undo a write, if the file is still as it left it; whether it was so."""
        return self.config.restore(written.text, written.digest, written.new_digest)

    def get_route(self, name: str) -> dict[str, Any]:
        """One route by name: task_type, destinations, routing_strategy. Raises NotFound."""
        return dict(self._read(f"{_ROUTES}{quote(name)}"))

    def gaps(self, entries: Iterable[Entry], routes: Sequence[str] = ()) -> dict[str, str]:
        """Where what the gateway serves is not what these entries say: name → in words; empty when it is so.

        Endpoints are compared by one list, whole; of the routes those that are named, by one request each.
        What a gateway never tells is not compared: credentials and addresses. Raises TargetError.
        """
        told = {endpoint.name: _told(endpoint.dict()) for endpoint in self.list_endpoints()}
        found: dict[str, str] = {}
        by_name = {entry.name: entry for entry in entries}
        for name, entry in by_name.items():
            if entry.kind == "endpoints" and told.get(name) != _told(entry.content):
                shown = told.get(name)
                found[name] = "it does not serve it" if shown is None else f"it serves {_words(shown)}"
        for name in told:
            if name not in by_name or by_name[name].kind != "endpoints":
                found[name] = f"it still serves {_words(told[name])}"
        for name in routes:
            wanted = by_name.get(name)
            gap = self._route_gap(wanted) if wanted is not None and wanted.kind == "routes" else ""
            if gap:
                found[name] = gap
        return found

    def _route_gap(self, wanted: Entry) -> str:
        try:
            route = self.get_route(wanted.name)
        except NotFound:
            return "it does not serve it"
        if _split(route) == _split(wanted.content):
            return ""
        return "it splits the traffic " + ", ".join(f"{n} {share}" for n, share in _split(route)[1])

    def _read(self, path: str, params: dict[str, Any] | None = None) -> Any:
        # A gateway that reads its file again answers late, one that ended not at all: no minutes for either.
        return self.http.request("GET", path, params=params, timeout=self.patience, total=self.patience)


def _told(content: Mapping[str, Any]) -> tuple[Any, ...]:
    model, limit = content.get("model") or {}, content.get("limit")
    provider = str(model.get("provider")).replace("-", "_").lower()
    limits = (str(limit.get("calls")), limit.get("renewal_period")) if limit else None
    return content.get("endpoint_type"), provider, model.get("name"), limits


def _words(told: tuple[Any, ...]) -> str:
    kind, provider, name, limits = told
    limit = f", {limits[0]} calls a {limits[1]}" if limits else ""
    return f"{name} of {provider} ({kind}{limit})"


def _split(route: Mapping[str, Any]) -> tuple[Any, list[tuple[Any, Any]]]:
    shares = [(d.get("name"), d.get("traffic_percentage")) for d in route.get("destinations") or ()]
    return route.get("task_type"), sorted(shares, key=str)
