"""Manifests at a revision, who last set a line, what changed since: the git command in one module.

Nothing here changes a repository. Facts: git-archive(1), git-blame(1) (the porcelain format), git-diff(1).
"""

from __future__ import annotations

import functools
import io
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import UsageError
from reconciler.values import Source

__all__ = ["Commit", "Repository"]

_TIMEOUT = 60.0  # seconds for one command


@dataclass(frozen=True, slots=True)
class Commit:
    """Who last set a line. ``sha``: all 40 digits; ``date``: YYYY-MM-DD, of the author; ``line``: in that
    commit's file. A line that is not committed has an empty ``sha``."""

    sha: str
    author: str
    date: str
    summary: str
    line: int

    def __str__(self) -> str:
        if not self.sha:
            return "not committed yet"
        return f"{self.sha[:9]} {self.author}, {self.date}: {self.summary}"


class Repository:
    """The git repository that holds ``folder``. Raises UsageError when there is none, or no git."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = Path(self._run("rev-parse", "--show-toplevel").decode().rstrip("\n"))

    def resolve(self, revision: str) -> str:
        """The commit that a revision means, all 40 digits. Raises UsageError when it means none."""
        if revision.startswith("-"):
            raise UsageError(f"{revision!r} is no revision")
        try:
            found = self._run(
                "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
            )
        except UsageError:
            raise UsageError(
                f"git knows no revision {revision!r}",
                fix="in CI a shallow clone lacks history: fetch it (fetch-depth: 0)",
            ) from None
        return found.decode().strip()

    @contextmanager
    def at(self, revision: str) -> Iterator[Path]:
        """A temporary folder with the repository's files as they were at a revision, gone afterwards.

        Links that lead out of the repository are left out. Raises UsageError.
        """
        content = self._run("archive", "--format=tar", self.resolve(revision), where=self.root)
        with tempfile.TemporaryDirectory(prefix="reconciler-") as name:
            folder = Path(name)
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                for member in archive:
                    if not _leads_out(member):
                        archive.extract(member, folder, filter="data")
            yield folder

    def inside(self, path: Path) -> Path:
        """Where a path stands in the repository, relative to its root. Raises UsageError when outside."""
        real = Path(os.path.realpath(path))
        try:
            return real.relative_to(os.path.realpath(self.root))
        except ValueError:
            raise UsageError(f"{path} is not in the git repository {self.root}") from None

    def changed_since(self, revision: str) -> frozenset[Path]:
        """The files that differ from a revision, also what is not committed or not added yet; absolute."""
        commit = self.resolve(revision)
        changed = self._run("diff", "--name-only", "-z", "--no-renames", commit, "--", where=self.root)
        new = self._run("ls-files", "--others", "--exclude-standard", "-z", where=self.root)
        names = (changed + new).decode(errors="surrogateescape").split("\0")
        return frozenset(Path(os.path.realpath(self.root / name)) for name in names if name)

    def last_touched(self, path: Path, since: str) -> Commit | None:
        """The last commit that touched a file after a revision: of a file that is gone, who took it away.

        None when no commit did: then it is not committed yet. Commits of a merged branch count as such.
        """
        commit = self.resolve(since)
        where = str(self.inside(path))
        words = (
            "log",
            "-1",
            "--format=%H%x00%an%x00%ad%x00%s",
            "--date=short",
            f"{commit}..HEAD",
            "--",
            where,
        )
        told = self._run(*words, where=self.root).decode(errors="replace").strip("\n")
        if not told:
            return None
        sha, author, date, summary = told.split("\0", 3)
        return Commit(sha, author, date, summary, 0)

    def last_set(self, source: Source) -> Commit | None:
        """Who last set the line of a source; None when git does not track its file."""
        lines = self._blame(str(self._folder / source.file))
        return lines[source.line - 1] if 0 < source.line <= len(lines) else None

    @functools.lru_cache(maxsize=256)  # noqa: B019 - one repository lives as long as its run
    def _blame(self, file: str) -> tuple[Commit, ...]:
        """Every line of a file: one command, however many lines are asked for."""
        try:
            text = self._run("blame", "--line-porcelain", "--", file)
        except UsageError:
            return ()
        return tuple(_commits(text.decode(errors="replace").splitlines()))

    def _run(self, *words: str, where: Path | None = None) -> bytes:
        environment = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
        try:
            done = subprocess.run(  # noqa: S603 - git with fixed words, no shell
                ["git", "-C", str(where or self._folder), *words],  # noqa: S607 - the user's own git
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_TIMEOUT,
                env=environment,
                check=False,
            )
        except FileNotFoundError:
            raise UsageError("git is needed for this, and not installed") from None
        except subprocess.TimeoutExpired:
            raise UsageError(f"git {words[0]} took longer than {_TIMEOUT:g} s") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise UsageError(
                f"git {words[0]} failed", why=said[0] if said else f"exit code {done.returncode}"
            )
        return done.stdout


def _leads_out(member: tarfile.TarInfo) -> bool:
    """A link to somewhere outside of the archive: a commit may hold one, and it is not ours to follow."""
    if not (member.issym() or member.islnk()):
        return False
    target = os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname))  # noqa: PTH118, PTH120
    return member.linkname.startswith("/") or target.startswith("..")


_HEAD = re.compile(r"^([0-9a-f]{40}) (\d+) \d+")


def _commits(lines: Sequence[str]) -> Iterator[Commit]:
    sha, number, fields = "", 0, dict[str, str]()
    for line in lines:
        if line.startswith("\t"):
            is_committed = set(sha) != {"0"}
            date = _day(fields.get("author-time", "0"), fields.get("author-tz", "+0000"))
            yield Commit(
                sha if is_committed else "",
                fields.get("author", "?"),
                date,
                fields.get("summary", ""),
                number,
            )
            fields = {}
        elif found := _HEAD.match(line):
            sha, number = found[1], int(found[2])
        else:
            name, _, value = line.partition(" ")
            fields[name] = value


def _day(seconds: str, zone: str) -> str:
    from datetime import UTC, datetime, timedelta

    sign = -1 if zone.startswith("-") else 1
    digits = zone.lstrip("+-")
    offset = sign * timedelta(hours=int(digits[:2] or 0), minutes=int(digits[2:] or 0))
    return (datetime.fromtimestamp(int(seconds), UTC) + offset).date().isoformat()
