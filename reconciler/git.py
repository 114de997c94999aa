"""Manifests at a revision, who last set a line, what changed since: the git command in one module.

Nothing here changes a repository. Facts: git(1), git-ls-tree(1), git-checkout-index(1), git-blame(1) (the
porcelain format, blame.ignoreRevsFile), git-diff(1), githooks(5) (what a hook finds in its environment).
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import UsageError
from reconciler.values import Source

__all__ = ["Commit", "Repository"]

_TIMEOUT = 60.0  # seconds for one command
# A hook's git tells its own place, and takes the folder where it runs for the root of the work tree: one in a
# subfolder would be taken for all there is. Ours is found from the folder instead.
_OF_A_HOOK = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_PREFIX")
# What may be read of a revision, in bytes: manifests, and whatever else a manifest may refer to. A
# repository may hold gigabytes besides.
_MANIFEST = re.compile(r"\.(ya?ml|json)$", re.IGNORECASE)
_MAX_MANIFEST = 8 * 1024 * 1024
_MAX_OTHER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Commit:
    """Who last set a line. ``sha``: all 40 digits; ``date``: YYYY-MM-DD, of the author; ``line``: in that
    commit's file. A line that is not committed has an empty ``sha``. ``is_end``: the history of a shallow
    clone ends here, so it may have been an earlier one."""

    sha: str
    author: str
    date: str
    summary: str
    line: int
    is_end: bool = False

    def __str__(self) -> str:
        if not self.sha:
            return "not committed yet"
        if self.is_end:
            return f"{self.sha[:9]} or an earlier commit: the history of this shallow clone ends there"
        return f"{self.sha[:9]} {self.author}, {self.date}: {self.summary}"


class Repository:
    """The git repository that holds ``folder``. Raises UsageError when there is none, or no git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
        """A temporary folder with the repository's files as they were at a revision, gone afterwards; with
        those of submodules, as far as they are checked out.

        Links that lead out of the repository are left out, and what is too large to be read. Raises
        UsageError.
        """
        with tempfile.TemporaryDirectory(prefix="reconciler-") as name:
            folder = Path(name) / "files"
            folder.mkdir()
            self._write(self.resolve(revision), folder, Path(name) / "index")
            yield folder

    def _write(self, commit: str, folder: Path, index: Path) -> None:
        """Not git-archive: that leaves out what .gitattributes keep from releases."""
        wanted: list[str] = []
        links: list[str] = []
        modules: list[tuple[Path, str]] = []
        for mode, sha, size, path in self._tree(commit):
            if mode == "160000":
                modules.append((Path(path), sha))
            elif mode == "120000" or size <= (_MAX_MANIFEST if _MANIFEST.search(path) else _MAX_OTHER):
                wanted.append(path)
                links += [path] * (mode == "120000")
        own = {"GIT_INDEX_FILE": str(index), "GIT_LFS_SKIP_SMUDGE": "1"}
        self._run("read-tree", commit, where=self.root, environ=own)
        names = "".join(f"{path}\0" for path in wanted).encode(errors="surrogateescape")
        words = ("checkout-index", "-z", "--stdin", f"--prefix={folder}/")
        self._run(*words, where=self.root, environ=own, given=names)
        index.unlink()
        for link in links:
            if _leads_out(folder, Path(link)):
                (folder / link).unlink()
        for place, sha in modules:
            if (module := self._module(place)) is not None and module.has(sha):
                (folder / place).mkdir(parents=True, exist_ok=True)
                module._write(sha, folder / place, index)

    def _tree(self, commit: str) -> Iterator[tuple[str, str, int, str]]:
        """All entries of a commit: mode, object, size in bytes (0 where it has none), path from the root."""
        told = self._run("ls-tree", "-r", "-z", "-l", "--full-tree", commit, where=self.root)
        for entry in filter(None, told.decode(errors="surrogateescape").split("\0")):
            head, path = entry.split("\t", 1)
            mode, _, sha, size = head.split()
            yield mode, sha, int(size) if size.isdigit() else 0, path

    def _module(self, path: Path) -> Repository | None:
        """The submodule at a path from the root; None while it is not checked out."""
        if not os.path.lexists(self.root / path / ".git"):
            return None
        module = Repository(self.root / path)
        return module if os.path.realpath(module.root) == os.path.realpath(self.root / path) else None

    def has(self, commit: str) -> bool:
        """Whether a commit is here: a submodule may never have fetched it."""
        try:
            self._run("cat-file", "-e", f"{commit}^{{commit}}")
        except UsageError:
            return False
        return True

    def inside(self, path: Path) -> Path:
        """Where a path stands in the repository, relative to its root. Raises UsageError when outside."""
        real = Path(os.path.realpath(path))
        try:
            return real.relative_to(os.path.realpath(self.root))
        except ValueError:
            raise UsageError(f"{path} is not in the git repository {self.root}") from None

    def changed_since(self, revision: str) -> frozenset[Path]:
        """The files that differ from a revision, also what is not committed or not added yet, and those of
        submodules; absolute."""
        return frozenset(Path(os.path.realpath(path)) for path in self._changed(self.resolve(revision)))

    def _changed(self, commit: str) -> Iterator[Path]:
        words = ("diff", "--name-only", "-z", "--no-renames", "--ignore-submodules=all", commit, "--")
        changed = self._run(*words, where=self.root)
        new = self._run("ls-files", "--others", "--exclude-standard", "-z", where=self.root)
        names = (changed + new).decode(errors="surrogateescape").split("\0")
        yield from (self.root / name for name in names if name)
        then = {path: sha for mode, sha, _, path in self._tree(commit) if mode == "160000"}
        for name in dict.fromkeys([*then, *self._modules()]):
            if (module := self._module(Path(name))) is None:
                continue
            if name in then and module.has(then[name]):
                yield from module._changed(then[name])
            else:  # new, or from a commit that is not here: all of it
                files = module._run("ls-files", "-z", where=module.root).decode(errors="surrogateescape")
                yield from (module.root / file for file in files.split("\0") if file)

    def _modules(self) -> Iterator[str]:
        """The submodules of today, as paths from the root."""
        if not (self.root / ".gitmodules").is_file():
            return
        told = self._run("ls-files", "--stage", "-z", where=self.root).decode(errors="surrogateescape")
        for entry in filter(None, told.split("\0")):
            head, path = entry.split("\t", 1)
            if head.startswith("160000"):
                yield path

    def content(self, path: Path, revision: str) -> bytes:
        """A file as it was at a revision; nothing when it was not there. Raises UsageError."""
        name = f"{self.resolve(revision)}:{self.inside(path).as_posix()}"
        try:
            return self._run("cat-file", "blob", name, where=self.root)
        except UsageError:
            return b""

    def last_touched(
        self, path: Path, since: str, word: str = "", *, but: Path | None = None
    ) -> Commit | None:
        """The last commit that touched a file after a revision: of a file that is gone, who took it away.
        ``word``: one that changed how often this stands in the file. ``but``: not one of this file alone.

        None when no commit did: then it is not committed yet. Commits of a merged branch count as such.
        """
        commit = self.resolve(since)
        where = self.inside(path)
        for mode, sha, _, name in self._tree(commit):
            if mode == "160000" and where.is_relative_to(name) and (module := self._module(Path(name))):
                return module.last_touched(path, sha, word) if module.has(sha) else None
        words = (
            "log",
            "-1",
            "--no-show-signature",
            "--format=%H%x00%an%x00%ad%x00%s",
            "--date=short",
            *([f"-S{word}"] if word else []),
            f"{commit}..HEAD",
            "--",
            str(where),
            *([f":(exclude,top){self.inside(but)}"] if but is not None else []),
        )
        told = self._run(*words, where=self.root).decode(errors="replace").strip("\n")
        if not told:
            return None
        sha, author, date, summary = told.split("\0", 3)
        return Commit(sha, author, date, summary, 0)

    def last_set(self, source: Source) -> Commit | None:
        """Who last set the line of a source; None when git does not track its file."""
        lines = self._blame(os.path.realpath(self.folder / source.file))
        return lines[source.line - 1] if 0 < source.line <= len(lines) else None

    def latest(self, commits: Sequence[Commit]) -> Commit:
        """The one that came last: what is not committed yet, else what has the others before it, else the
        youngest. At least one is given."""
        found, *others = commits
        for other in others:
            if (
                found.sha
                and other.sha != found.sha
                and (not other.sha or self._precedes(found.sha, other.sha))
            ):
                found = other
        return found

    def _precedes(self, one: str, other: str) -> bool:
        if self.contains(other, one) or self.contains(one, other):
            return self.contains(other, one)
        try:
            words = ("rev-list", "--no-walk=sorted", "--max-count=1", one, other)
            return self._run(*words, where=self.root).decode().strip() == other
        except UsageError:  # of a submodule, and not known here
            return False

    @functools.lru_cache(maxsize=4096)  # noqa: B019 - one repository lives as long as its run
    def contains(self, commit: str, earlier: str) -> bool:
        """Whether one commit is another, or has it before it; False of one that is not known here."""
        try:
            self._run("merge-base", "--is-ancestor", earlier, commit, where=self.root)
        except UsageError:
            return False
        return True

    @functools.lru_cache(maxsize=256)  # noqa: B019 - one repository lives as long as its run
    def _blame(self, file: str) -> tuple[Commit, ...]:
        """Every line of a file: one command, however many lines are asked for. It runs where the file stands,
        for that may be a submodule."""
        words = ("--line-porcelain", "--", os.path.basename(file))  # noqa: PTH119
        folder = Path(file).parent
        try:
            text = self._run("blame", *words, where=folder)
        except UsageError:
            # One that somebody set for all repositories is missing in many, and git gives up, then.
            try:
                text = self._run("blame", "--no-ignore-revs-file", *words, where=folder)
            except UsageError:
                return self._uncommitted(Path(file))
        return tuple(_commits(text.decode(errors="replace").split("\n"), self._ends(folder)))

    def _uncommitted(self, file: Path) -> tuple[Commit, ...]:
        """The lines of a file that is in no commit yet; none of one that git is not to know, or does not."""
        words = ("ls-files", "--cached", "--others", "--exclude-standard", "--", file.name)
        try:
            known = self._run(*words, where=file.parent)
            count = file.read_bytes().count(b"\n") + 1 if known else 0
        except (UsageError, OSError):
            return ()
        return (Commit("", "", "", "", 0),) * count

    @functools.lru_cache(maxsize=256)  # noqa: B019 - one repository lives as long as its run
    def _ends(self, folder: Path) -> frozenset[str]:
        """The commits where a shallow clone's history ends: git takes them for the first ones."""
        name = self._run("rev-parse", "--git-path", "shallow", where=folder).decode().rstrip("\n")
        file = folder / name
        return frozenset(file.read_text().split()) if file.is_file() else frozenset()

    def _run(
        self,
        *words: str,
        where: Path | None = None,
        environ: Mapping[str, str] | None = None,
        given: bytes = b"",
    ) -> bytes:
        try:
            done = subprocess.run(  # noqa: S603 - git with fixed words, no shell
                ["git", "-C", str(where or self.folder), *words],  # noqa: S607 - the user's own git
                capture_output=True,
                input=given,
                timeout=_TIMEOUT,
                env={**_environment(), **(environ or {})},
                check=False,
            )
        except FileNotFoundError:
            raise UsageError("git is needed for this, and not installed") from None
        except subprocess.TimeoutExpired:
            raise UsageError(f"git {words[0]} took longer than {_TIMEOUT:g} s") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = said[0] if said else f"exit code {done.returncode}"
            # git says itself what to do about a folder of somebody else's (safe.directory).
            fix = next((line.strip() for line in said[1:] if "git config" in line), "")
            raise UsageError(f"git {words[0]} failed", why=why, fix=fix)
        return done.stdout


def _environment() -> dict[str, str]:
    """That of a git command: the user's, but for what a hook's git says of its own place. Somebody who names
    both a repository and its work tree is no hook, and means it.
    """
    kept = dict(os.environ)
    if "GIT_WORK_TREE" in kept:
        named = {name: os.path.abspath(kept[name]) for name in ("GIT_DIR", "GIT_WORK_TREE") if kept.get(name)}  # noqa: PTH100
        kept |= named
    else:
        kept = {name: value for name, value in kept.items() if name not in _OF_A_HOOK}
    return kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def _leads_out(folder: Path, link: Path) -> bool:
    """A link to somewhere outside of the repository: a commit may hold one, and it is not ours to follow."""
    try:
        target = os.readlink(folder / link)  # noqa: PTH115
    except OSError:  # a system without links has a file there
        return False
    led = os.path.normpath(os.path.join(link.parent, target))  # noqa: PTH118
    return target.startswith("/") or led.startswith("..")


_HEAD = re.compile(r"^([0-9a-f]{40,64}) (\d+) \d+")


def _commits(lines: Sequence[str], ends: frozenset[str]) -> Iterator[Commit]:
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
                sha in ends,
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
