"""One workspace: a store, a clock, and the reading and changing of endpoints that every route is made of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from reconciler.emulator import echo, routes, states
from reconciler.emulator.record import Record
from reconciler.emulator.store import Store
from reconciler.emulator.wire import Refusal, Request, Response, dumps

__all__ = ["USER", "Workspace", "WriteLimit"]

USER: Final = "local-user@example.com"
_CACHED: Final = 5000  # answers; a workspace has at most 1,000 endpoints


@dataclass(frozen=True, slots=True)
class WriteLimit:
    """So many create and update calls in so many seconds, as a sliding window. The API's own is 50 in 300."""

    calls: int
    seconds: float


class Workspace:
    """An emulated Databricks workspace.

    ``path``: a SQLite file, or ``:memory:``. ``clock``: seconds since the epoch. ``provisioning``: seconds
    from a create or config change until it is live. ``write_limit``: None for no limit. ``user``: who every
    caller is. ``latency``: seconds that the doors (adapter, server) wait before each answer; ``handle``
    itself never waits.
    """

    def __init__(
        self,
        path: str = ":memory:",
        *,
        clock: Callable[[], float] = time.time,
        provisioning: float = 0.0,
        write_limit: WriteLimit | None = None,
        user: str = USER,
        latency: float = 0.0,
    ) -> None:
        self.store = Store(path)
        self.clock = clock
        self.provisioning = provisioning
        self.write_limit = write_limit
        self.user = user
        self.latency = latency
        self._details: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._summaries: dict[str, tuple[int, bytes]] = {}

    def handle(self, request: Request) -> Response:
        """Answers one request. Safe to call from several threads."""
        return routes.dispatch(self, request)

    def close(self) -> None:
        """Closes the file."""
        self.store.close()

    # reading -----------------------------------------------------------------------------------------

    def detailed(self, name: str, base_url: str) -> bytes:
        """The answer of GET, as JSON. Cached by the endpoint's version, so it costs one look into the
        index.
        """
        stamp = self._settled_stamp(name)
        cached = self._details.get((name, base_url))
        if cached is not None and cached[0] == stamp:
            return cached[1]
        record, version = self._load(name)
        body = dumps(echo.detailed(record, base_url))
        if len(self._details) >= _CACHED:
            self._details.clear()
        self._details[name, base_url] = (version, body)
        return body

    def summaries(self) -> bytes:
        """The answer of LIST, as JSON."""
        for name in self.store.due(self.clock()):
            self._settle(name)
        parts = []
        for name, version in self.store.stamps():
            cached = self._summaries.get(name)
            if cached is None or cached[0] != version:
                found = self.store.load(name)
                if found is None:
                    continue  # another process deleted it meanwhile
                if len(self._summaries) >= _CACHED:
                    self._summaries.clear()
                cached = (found[1], dumps(echo.summary(Record.from_json(found[0]))))
                self._summaries[name] = cached
            parts.append(cached[1])
        return b'{"endpoints":[' + b",".join(parts) + b"]}"

    def record(self, name: str) -> Record:
        """The endpoint as it is now."""
        self._settled_stamp(name)
        return self._load(name)[0]

    def record_of(self, identifier: str) -> Record:
        """The endpoint that has this id."""
        name = self.store.name_of(identifier)
        if name is None:
            raise Refusal.absent(f"Serving endpoint with id '{identifier}' does not exist.")
        return self.record(name)

    def _load(self, name: str) -> tuple[Record, int]:
        found = self.store.load(name)
        if found is None:
            raise Refusal.absent(f"Endpoint with name '{name}' does not exist.")
        return Record.from_json(found[0]), found[1]

    def _settled_stamp(self, name: str) -> int:
        stamp = self.store.stamp(name)
        if stamp is not None and stamp[1] is not None and stamp[1] <= self.clock():
            self._settle(name)
            stamp = self.store.stamp(name)
        if stamp is None:
            raise Refusal.absent(f"Endpoint with name '{name}' does not exist.")
        return stamp[0]

    def _settle(self, name: str) -> None:
        with self.store.changing():
            found = self.store.load(name)
            if found is None:
                return
            record = Record.from_json(found[0])
            if states.settle(record, self.clock()):
                self.store.save(record.as_json(), record.settles)

    # changing ----------------------------------------------------------------------------------------

    @contextmanager
    def changing(self, name: str) -> Iterator[Record]:
        """The endpoint, settled and alone; what is changed in it is stored when the block ends well."""
        with self.store.changing():
            record, _ = self._load(name)
            states.settle(record, self.clock())
            yield record
            self.save(record)

    def save(self, record: Record) -> None:
        """Stores a record as it is."""
        self.store.save(record.as_json(), record.settles)

    def spend_write(self) -> None:
        """Takes one call from the write budget, or refuses. A call that is refused here costs nothing."""
        limit = self.write_limit
        if limit is None:
            return
        now = self.clock()
        with self.store.changing():
            times = self.store.write_times(after=now - limit.seconds)
            if len(times) >= limit.calls:
                wait = max(1, math.ceil(times[len(times) - limit.calls] + limit.seconds - now))
                raise Refusal(
                    429,
                    "REQUEST_LIMIT_EXCEEDED",
                    f"Exceeded the limit of {limit.calls} create and update operations"
                    f" in {limit.seconds:g} seconds for this workspace.",
                    headers={"retry-after": str(wait)},
                )
            self.store.note_write(now)
