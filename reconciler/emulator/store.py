"""SQLite: the only module that knows it. One file is one workspace.

Safe for threads of one process (one connection behind a lock) and for processes that share the file (WAL,
every change is one ``BEGIN IMMEDIATE`` transaction). Endpoints are JSON documents with a version that grows
with every change, which is what answers are cached by.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from reconciler.emulator.wire import Refusal
from reconciler.errors import ReconcilerError, UsageError

__all__ = ["Store"]

_FORMAT: Final = 1  # PRAGMA user_version of the files that this module reads
_BUSY_SECONDS: Final = 30.0

_TABLES: Final = """
CREATE TABLE endpoints (
    name      TEXT PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    number    INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    settles   REAL,
    document  TEXT NOT NULL
);
CREATE INDEX endpoints_settles ON endpoints (settles) WHERE settles IS NOT NULL;
CREATE TABLE versions (last INTEGER NOT NULL);
INSERT INTO versions VALUES (0);
CREATE TABLE counters (
    endpoint  TEXT NOT NULL,
    key       TEXT NOT NULL,
    count     INTEGER NOT NULL,
    since     REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (endpoint, key)
);
CREATE TABLE writes (at REAL NOT NULL);
CREATE INDEX writes_at ON writes (at);
"""


class Store:
    """The documents of one workspace. ``path``: a file, or ``:memory:``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._inside = False
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._prepare()
        except sqlite3.OperationalError as error:
            raise ReconcilerError(
                "the local workspace cannot be opened", where=path, why=str(error), fix="check the path"
            ) from error
        except sqlite3.DatabaseError as error:
            raise ReconcilerError(
                "this file is not a local workspace",
                where=path,
                why=str(error),
                fix="name another file, or remove this one",
            ) from error

    def _prepare(self) -> None:
        self._switch_to_wal()
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with self.changing():
            (found,) = self._connection.execute("PRAGMA user_version").fetchone()
            if found == 0:
                for statement in _TABLES.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {_FORMAT}")
            elif found != _FORMAT:
                raise UsageError(
                    f"the local workspace has format {found}, this version reads {_FORMAT}",
                    where=self.path,
                    fix="name another file, or remove this one",
                )

    def _switch_to_wal(self) -> None:
        # Switching needs the file alone for a moment, and SQLite's own waiting does not cover it.
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    def close(self) -> None:
        """Closes the file. The store cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One read-modify-write, alone among threads and processes; undone when it raises.

        Inside another one it is part of that one.
        """
        with self._lock:
            if self._inside:
                yield
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise Refusal(503, "TEMPORARILY_UNAVAILABLE", f"the workspace is busy: {error}") from error
            self._inside = True
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            else:
                self._connection.execute("COMMIT")
            finally:
                self._inside = False

    # endpoints ---------------------------------------------------------------------------------------

    def stamp(self, name: str) -> tuple[int, float | None] | None:
        """Version of an endpoint, and when it has to be settled; None when there is none."""
        with self._lock:
            row: tuple[int, float | None] | None = self._connection.execute(
                "SELECT version, settles FROM endpoints WHERE name = ?", (name,)
            ).fetchone()
        return row

    def stamps(self) -> list[tuple[str, int]]:
        """Name and version of every endpoint, oldest endpoint first."""
        with self._lock:
            return self._connection.execute("SELECT name, version FROM endpoints ORDER BY number").fetchall()

    def due(self, now: float) -> list[str]:
        """Names of the endpoints that have to be settled by ``now``."""
        with self._lock:
            rows = self._connection.execute("SELECT name FROM endpoints WHERE settles <= ?", (now,))
            return [name for (name,) in rows.fetchall()]

    def load(self, name: str) -> tuple[dict[str, Any], int] | None:
        """Document and version of an endpoint."""
        with self._lock:
            row = self._connection.execute(
                "SELECT document, version FROM endpoints WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else (json.loads(row[0]), row[1])

    def name_of(self, identifier: str) -> str | None:
        """The endpoint that has this id."""
        with self._lock:
            row = self._connection.execute(
                "SELECT name FROM endpoints WHERE id = ?", (identifier,)
            ).fetchone()
        return None if row is None else str(row[0])

    def count(self) -> int:
        """How many endpoints there are."""
        with self._lock:
            (number,) = self._connection.execute("SELECT count(*) FROM endpoints").fetchone()
        return int(number)

    def save(self, document: dict[str, Any], settles: float | None) -> int:
        """Creates or replaces an endpoint by its ``name``; gives its new version.

        Versions are never used twice, not even for an endpoint that was deleted and made again.
        """
        with self.changing():
            self._connection.execute("UPDATE versions SET last = last + 1")
            (version,) = self._connection.execute("SELECT last FROM versions").fetchone()
            self._connection.execute(
                "INSERT INTO endpoints (name, id, number, version, settles, document)"
                " VALUES (:name, :id, :version, :version, :settles, :document)"
                " ON CONFLICT (name) DO UPDATE"
                " SET version = :version, settles = :settles, document = :document",
                {
                    "name": document["name"],
                    "id": document["id"],
                    "version": version,
                    "settles": settles,
                    "document": json.dumps(document, separators=(",", ":")),
                },
            )
        return int(version)

    def remove(self, name: str) -> bool:
        """Deletes an endpoint with its counters; False when there was none."""
        with self.changing():
            gone = self._connection.execute("DELETE FROM endpoints WHERE name = ?", (name,)).rowcount
            self._connection.execute("DELETE FROM counters WHERE endpoint = ?", (name,))
        return gone > 0

    # counting ----------------------------------------------------------------------------------------

    def counter(self, endpoint: str, key: str, since: float = 0) -> int:
        """What was counted under a key since that moment (0: ever)."""
        with self._lock:
            row = self._connection.execute(
                "SELECT count FROM counters WHERE endpoint = ? AND key = ? AND since >= ?",
                (endpoint, key, since),
            ).fetchone()
        return 0 if row is None else int(row[0])

    def counters(self, endpoint: str) -> dict[str, int]:
        """All counters of an endpoint."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT key, count FROM counters WHERE endpoint = ? ORDER BY key", (endpoint,)
            ).fetchall()
        return dict(rows)

    def add(self, endpoint: str, key: str, amount: int = 1, since: float = 0) -> int:
        """Adds to a counter and gives what it was before; a later ``since`` starts it anew."""
        with self.changing():
            before = self.counter(endpoint, key, since)
            self._connection.execute(
                "INSERT OR REPLACE INTO counters VALUES (?, ?, ?, ?)",
                (endpoint, key, before + amount, since),
            )
        return before

    def write_times(self, after: float) -> list[float]:
        """When the writes after that moment were made, oldest first; older ones are forgotten."""
        with self.changing():
            self._connection.execute("DELETE FROM writes WHERE at <= ?", (after,))
            return [at for (at,) in self._connection.execute("SELECT at FROM writes ORDER BY at").fetchall()]

    def note_write(self, at: float) -> None:
        """Records one write for :meth:`write_times`."""
        with self.changing():
            self._connection.execute("INSERT INTO writes VALUES (?)", (at,))
