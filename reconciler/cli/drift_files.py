"""What checks of drift leave under ``.reconciler/drift``: the cache, and the last verdicts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler import __version__
from reconciler.values import Masked

if TYPE_CHECKING:
    from reconciler.engine.drift_cache import Cache
    from reconciler.redact import Redactor

__all__ = [
    "Ground",
    "Verdict",
    "cache_path",
    "digest_of_list",
    "ground_of",
    "load_cache",
    "program",
    "reader",
    "save_cache",
    "verdict_path",
    "write_verdict",
]

_FOLDER: Final = "drift"
_PROJECT_FILE: Final = "reconciler.yaml"  # reconciler.manifest reads YAML, and takes its time to be imported
_LARGEST: Final = 64 * 1024 * 1024
"""Bytes; a cache of 1,000 endpoints takes a tenth of it."""
_MOST_VERDICTS: Final = 20
FORMAT: Final = 1


def program() -> str:
    """What this installation is, by the names, sizes and times of its files: what another one has concluded
    is not taken for granted."""
    digest = hashlib.sha256(__version__.encode())
    package = Path(__file__).parent.parent
    schemas = package / "_schemas"
    for folder in (package, schemas if schemas.is_dir() else package.parent / "schemas"):
        for entry in _below(str(folder), (".py", ".json")):
            found = entry.stat()
            digest.update(f"{entry.path} {found.st_size} {found.st_mtime_ns}\n".encode("utf-8", "replace"))
    return digest.hexdigest()


def reader() -> str:
    """By what endpoints are read and masked: the version, and the schema."""
    from reconciler import schema

    text = json.dumps(schema.read("endpoint"), sort_keys=True)
    return f"{__version__} {hashlib.sha256(text.encode()).hexdigest()}"


def _below(folder: str, suffixes: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    """The files below a folder by the ends of their names, in order; hidden ones are left out."""
    waiting, seen = [folder], set()
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                real = os.path.realpath(entry.path)
                if real not in seen:
                    seen.add(real)
                    waiting.append(entry.path)
            elif entry.name.lower().endswith(suffixes):
                yield entry


def _content(file: str) -> bytes:
    # A thousand of them: the quickest way.
    opened = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        with open(opened, "rb", buffering=0, closefd=False) as stream:
            content = stream.read()
    finally:
        os.close(opened)
    return f"{file}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content


def cache_path(home: Path, *parts: str) -> Path:
    """The cache of one target: ``parts`` are its name, host, environment and stack."""
    text = json.dumps(parts)
    return home / _FOLDER / f"{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:20]}.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """A cache with its file. ``stamp``: which state of the file it is, "" for none; a file is only ever
    replaced, and only when what it holds of endpoints has changed."""

    cache: Cache
    path: Path
    stamp: str = ""

    @property
    def seen_path(self) -> Path:
        """The sightings: they change with every check, and stand beside."""
        return self.path.with_suffix(".seen")


def load_cache(path: Path, *, target: str, program: str, now: str) -> Kept:
    """The cache; an empty one for a file that is not there, broken, or of another version."""
    from reconciler.engine.drift_cache import Cache, from_json

    content, stamp = _read(path)
    seen, _ = _read(path.with_suffix(".seen"))
    if isinstance(content, dict):
        is_ours = isinstance(seen, dict) and seen.get("target") == target
        found = from_json(
            {**content, "seen": seen.get("seen") if is_ours else {}}, target=target, program=program, now=now
        )
        if found is not None:
            return Kept(found, path, stamp)
    return Kept(Cache(secrets.token_hex(16)), path)


def save_cache(
    before: Kept, cache: Cache, *, target: str, program: str, redactor: Redactor
) -> tuple[str, str]:
    """Write it, each file whole or not at all. What went wrong, "" when nothing did; and the stamp then."""
    from reconciler.engine.drift_cache import to_json

    content = to_json(cache, target=target, program=program, redactor=redactor)
    seen = {"target": target, "seen": content.pop("seen")}
    trouble, stamp = "", before.stamp
    held = before.cache.held
    if not stamp or len(held) != len(cache.held) or any(held.get(a) is not h for a, h in cache.held.items()):
        trouble, stamp = _write(before.path, content)
    return trouble or _write(before.seen_path, seen)[0], stamp


def stamp_of(path: str) -> str:
    """Which state of a cache's file this is, "" when there is none."""
    try:
        return _stamp(os.stat(path))  # noqa: PTH116
    except OSError:
        return ""


def _stamp(found: os.stat_result) -> str:
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"


def _read(path: Path) -> tuple[Any, str]:
    """What a file holds, None for what is no JSON; and its stamp."""
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            content = json.loads(stream.read()) if found.st_size <= _LARGEST else None
        return content, _stamp(found)
    except (OSError, ValueError, RecursionError):
        return None, ""


def _write(path: Path, content: Any) -> tuple[str, str]:
    """A private file in a private folder: it tells what is served where. Readers see the old or the new.

    Not synced: what a power cut tears is no cache. Gives what went wrong, "" when nothing did, and the stamp.
    """
    text = json.dumps(content, ensure_ascii=False, default=str)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
        try:
            with os.fdopen(number, "wb") as stream:
                stream.write(text.encode("utf-8", "backslashreplace"))
                stream.flush()
                stamp = _stamp(os.fstat(number))
            os.replace(name, path)  # noqa: PTH105
        except BaseException:
            with suppress(OSError):
                os.unlink(name)  # noqa: PTH108
            raise
    except OSError as error:
        return f"{path}: {error.strerror or error}", ""
    return "", stamp


# ---- what a verdict stands on ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run reads besides the live side.

    ``project``: the project file, "" for none. ``paths``: files and folders of manifests and overlays.
    ``variables``: of the environment, that references name.
    """

    project: str
    paths: tuple[str, ...]
    variables: tuple[str, ...]

    def files_digest(self) -> str:
        """Digest of every file with its name; "" when one cannot be read."""
        digest = hashlib.sha256()
        try:
            for path in (self.project, *self.paths) if self.project else self.paths:
                if os.path.isdir(path):  # noqa: PTH112
                    digest.update(f"{path}/\0".encode("utf-8", "surrogateescape"))
                    for entry in _below(path, (".yaml", ".yml", ".json")):
                        digest.update(_content(entry.path))
                else:
                    digest.update(_content(path))
        except OSError:
            return ""
        return digest.hexdigest()

    def values_digest(self, salt: str) -> str:
        """Digest of what references stand for: slow on purpose, for there are secrets among them."""
        if not self.variables:
            return "none"
        return Masked.of(json.dumps([os.environ.get(name) for name in self.variables]), salt).digest


def ground_of(project: str, paths: Iterable[str]) -> Ground | None:
    """The ground of a run that reads these files; None when what it reads cannot be told from them.

    A project file whose references may be written in signs that stand for others is not searched for them.
    """
    paths = tuple(paths)
    if "-" in paths:
        return None
    names: list[str] = []
    if project:
        try:
            text = Path(project).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None
        if "\\" in text or "${cmd:" in text or "${file:" in text:
            return None
        names = re.findall(r"\$\{env:([^{}]*)\}", text)
    return Ground(project, paths, tuple(dict.fromkeys(names)))


_NO_TEXTS: Final = ("ground", "addresses")


@dataclass(frozen=True, slots=True)
class Verdict:
    """That nothing had drifted, and on what that stands. Good for as long as nothing of it changes.

    ``cache``, ``stamp``: the cache's file, and its state: another check may have seen since what this one did
    not look at. ``addresses``: what was looked at. ``listed``: digest of LIST. ``read_at``: when the oldest
    part was read in detail. ``seen_at``: the last check that found everything as declared. ``answer``,
    ``summary``: what is told on stdout, and in a table.
    """

    target: str
    host: str
    environment: str
    cache: str
    stamp: str
    addresses: tuple[str, ...]
    ground: Ground
    files: str
    values: str
    salt: str
    listed: str
    read_at: str
    seen_at: str
    answer: str
    summary: str

    @classmethod
    def load(cls, path: Path, program: str | None) -> Verdict | None:
        """The verdict of a file, None for anything else. ``program``: the one that must have made it, None
        for any."""
        content, _ = _read(path)
        try:
            if content["verdict"] != FORMAT or program not in (None, content["program"]):
                return None
            told = content["ground"]
            names = (tuple(map(str, told[name])) for name in ("paths", "variables"))
            ground = Ground(str(told["project"]), *names)
            rest = {name: str(content[name]) for name in cls.__slots__ if name not in _NO_TEXTS}
            return cls(ground=ground, addresses=tuple(map(str, content["addresses"])), **rest)
        except (KeyError, TypeError, AttributeError):
            return None

    def stands(self) -> bool:
        """Files, references and the cache are what they were."""
        is_new = not self.ground.project and Path(_PROJECT_FILE).is_file()
        return (
            not is_new
            and bool(self.stamp)
            and stamp_of(self.cache) == self.stamp
            and bool(self.files)
            and self.ground.files_digest() == self.files
            and self.ground.values_digest(self.salt) == self.values
        )

    def content(self, program: str) -> Mapping[str, Any]:
        """As a file has it."""
        mine = {name: getattr(self, name) for name in self.__slots__ if name not in _NO_TEXTS}
        of = self.ground
        ground = {"project": of.project, "paths": list(of.paths), "variables": list(of.variables)}
        return {
            "verdict": FORMAT,
            "program": program,
            "ground": ground,
            "addresses": list(self.addresses),
            **mine,
        }


def verdict_path(home: Path, asked: Mapping[str, Any]) -> Path:
    """Where the verdict of a run stands that is asked for in these words, from this folder."""
    text = json.dumps({**asked, "cwd": os.getcwd()}, sort_keys=True, default=str)  # noqa: PTH109
    return home / _FOLDER / f"{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:20]}.verdict"


def write_verdict(path: Path, verdict: Verdict | None, program: str, redactor: Redactor) -> None:
    """Keep a verdict, or that there is none. That it cannot be written costs time only."""
    if verdict is None:
        with suppress(OSError):
            path.unlink()
        return
    content = verdict.content(program)
    if redactor.value(content) == content:
        _write(path, content)
    with suppress(OSError):
        others = sorted(path.parent.glob("*.verdict"), key=lambda one: one.stat().st_mtime)
        for old in others[:-_MOST_VERDICTS]:
            old.unlink()


def digest_of_list(entries: Any) -> str:
    """Digest of a LIST as it came."""
    text = json.dumps(entries, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
