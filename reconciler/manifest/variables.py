"""``${env:NAME}``, ``${file:path}`` and ``${cmd:command}`` in a document's values → what they stand for.

What goes into a field that holds secrets becomes a :class:`Secret`; the schema says which fields do. Every
other value stays plain text, because it must compare with what the server answers; when the name of its
variable or file looks secret it is remembered, so that outputs can mask it all the same.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reconciler.errors import Problem
from reconciler.manifest.commands import CommandProblem, Commands, Mode
from reconciler.manifest.positions import Document, Parts
from reconciler.manifest.scalars import plain, shown
from reconciler.schema import Field
from reconciler.values import Origin, Secret

__all__ = ["Reference", "Resolver", "looks_secret", "with_secrets"]

MAX_FILE_BYTES: Final = 64 * 1024

_BEGIN: Final = re.compile(r"\$\$\{|\$\{")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_VARIABLE: Final = re.compile(r"var\.[A-Za-z0-9][A-Za-z0-9_-]*\Z")
_SECRET_WORD: Final = re.compile(
    r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|PRIVATE)S?(?![A-Z0-9])", re.IGNORECASE
)
_LITERAL: Final = "write $${ for a literal ${"


@dataclass(frozen=True, slots=True)
class Reference:
    """What one value of a document was made of.

    ``text``: as it stands in the manifest, fit to be shown (literal text around references is left out).
    ``value``: what it resolves to. ``is_secret``: it goes into a field that holds secrets. ``is_unset``: a
    part of it could not be resolved, and that is allowed. ``has_text``: literal text stands around it.
    ``origin``: where the whole value comes from, None when it is put together.
    """

    text: str
    value: str
    is_secret: bool = False
    is_unset: bool = False
    has_text: bool = False
    origin: Origin | None = None

    def __repr__(self) -> str:
        return f"Reference({self.text})"


class _Unresolved(Exception):
    """Why a reference gives no value; ``can_wait``: it would give one elsewhere (unset, missing);
    ``is_skipped``: nobody wants to know it now."""

    def __init__(
        self, what: str, fix: str, rule: str, *, can_wait: bool = False, is_skipped: bool = False
    ) -> None:
        self.what = what
        self.fix = fix
        self.rule = rule
        self.can_wait = can_wait
        self.is_skipped = is_skipped
        super().__init__()


class Resolver:
    """Resolves the references of documents, and remembers every secret that it came by.

    ``environ``: the environment variables. ``root``: files outside of it and of the manifest's own folder are
    refused. ``allow_unset``: what is unset or missing is no problem; its value stays a placeholder.
    ``variables``: the project's, put in already where they may stand.
    ``looked_up``, ``opened``: the environment variables and files that were asked for so far.
    ``commands``: what is done with ``${cmd:…}``; they run in ``root``.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        root: Path,
        *,
        allow_unset: bool = False,
        variables: Collection[str] = (),
        commands: Mode = "refuse",
    ) -> None:
        self._secrets: dict[Secret, None] = {}
        self._environ = environ
        self._root = Path(os.path.realpath(root))
        self.allow_unset = allow_unset
        self.variables = variables
        self._files: dict[tuple[Path, str], str] = {}
        self._trimmed: set[tuple[Path, str]] = set()
        self.looked_up: dict[str, None] = {}
        self.opened: dict[str, None] = {}
        hidden = [v for name, v in environ.items() if looks_secret(name)] if commands == "run" else []
        self._commands = Commands(commands, self._root, environ, hidden=hidden)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret so far, in the order of appearance."""
        return tuple(self._secrets)

    def remember(self, value: str, reference: str) -> None:
        """Keep a secret for masking."""
        self._secrets.setdefault(Secret(value, reference))

    def resolve(
        self, document: Document, fields: Field | None, folder: Path
    ) -> tuple[dict[Parts, Reference], list[Problem]]:
        """Resolve the values of a document in place; its references by path, and what is wrong.

        Secrets and unset references keep their text for now, so that the document can be checked and its
        values shown (:func:`with_secrets` puts them in). ``folder``: where the manifest stands.
        """
        walk = _Walk(self, document, Path(os.path.realpath(folder)))
        for name, value in document.value.items():
            if name not in ("apiVersion", "kind"):
                child = fields.properties.get(name) if fields else None
                walk.entry(document.value, name, value, child, (name,), False)
        return walk.references, walk.problems

    def part(self, scheme: str, argument: str, folder: Path, is_secret: bool) -> str:
        """The value of one reference in a field that holds secrets, or not. Raises _Unresolved."""
        if scheme == "env":
            return self._variable(argument)
        if scheme == "file":
            key = (folder, argument)
            if key not in self._files:
                self._files[key] = self._file(argument, folder)
            return self._files[key]
        if _VARIABLE.match(scheme) and not argument:
            raise _undefined(scheme.removeprefix("var."), self.variables)
        if scheme == "cmd":
            return self._command(argument, is_secret)
        raise _unknown(scheme)

    def origin(self, scheme: str, argument: str, folder: Path) -> Origin:
        """Where one reference leads, for who looks its value up himself."""
        if scheme == "file":
            path = os.path.normpath(folder / argument)  # links stay: what they lead to may change
            return Origin(scheme, path, (folder, argument) not in self._trimmed)
        return Origin(scheme, argument)

    def _command(self, text: str, is_secret: bool) -> str:
        """What a command prints is a secret, and goes only where nothing is compared with it or shows it."""
        if not is_secret:
            what = "${cmd:…} gives a secret, and this field does not hold any"
            raise _Unresolved(what, "use ${env:NAME} or ${file:path} here", "command-misplaced")
        try:
            return self._commands.value(text)
        except CommandProblem as problem:
            raise _Unresolved(
                problem.what, problem.fix, problem.rule, is_skipped=problem.is_skipped
            ) from None

    def _variable(self, name: str) -> str:
        if not _ENV_NAME.match(name):
            what = "${env:…} takes the name of an environment variable: letters, digits and _"
            raise _Unresolved(what, "write ${env:NAME}", "unknown-reference")
        self.looked_up[name] = None
        value = self._environ.get(name)
        if value is None:
            near = difflib.get_close_matches(name, self._environ, 1, 0.8) if len(name) < 100 else []
            fix = f"did you mean {near[0]}?" if near else f"set it; {_LITERAL}"
            what = f"environment variable {_short(name)} is not set"
            raise _Unresolved(what, fix, "unset-variable", can_wait=True)
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            what = f"environment variable {_short(name)} is not UTF-8"
            raise _Unresolved(what, "", "bad-variable") from None
        return value

    def _file(self, name: str, folder: Path) -> str:
        told = f"file {shown(name)}"
        try:
            path = Path(os.path.realpath(folder / name))
            if not (path.is_relative_to(self._root) or path.is_relative_to(folder)):
                what = f"{told} is outside of the project's folder and of the manifest's"
                raise _Unresolved(what, "move it there", "file-outside")
            self.opened[str(path)] = None
            content = _read(path)
        except FileNotFoundError:
            what = f"{told} does not exist"
            raise _Unresolved(
                what, "the path is relative to the manifest", "missing-file", can_wait=True
            ) from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "its name is not valid"
            raise _Unresolved(f"{told} cannot be read: {why}", "", "bad-file") from None
        if content is None:
            raise _Unresolved(f"{told} is not a regular file", "name a file", "bad-file")
        if len(content) > MAX_FILE_BYTES:
            raise _Unresolved(f"{told} is larger than {MAX_FILE_BYTES // 1024} KB", "", "bad-file")
        try:
            value = content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise _Unresolved(f"{told} is not UTF-8", "save it as UTF-8", "bad-file") from None
        if value.encode() != content:
            self._trimmed.add((folder, name))
        return value


def looks_secret(name: str) -> bool:
    """A variable or file of that name most likely holds a secret (``OPENAI_API_KEY``, ``keys/token.txt``)."""
    return _SECRET_WORD.search(name) is not None


def _unknown(scheme: str) -> _Unresolved:
    """Why that is no reference. What stands in it is not repeated: it may be a part of a password."""
    word = re.split(r"[^A-Za-z]", scheme[:100], maxsplit=1)[0].lower()
    if word == "var":
        what, fix = "this ${…} is not a reference", "a variable of the project is written ${var.name}"
        return _Unresolved(what, fix, "unknown-reference")
    fix = "use ${env:NAME} or ${file:path}; " + _LITERAL
    if word in ("secret", "secrets"):
        fix = 'for a Databricks secret write "{{secrets/scope/key}}"'
    elif near := difflib.get_close_matches(word, ("env", "file", "cmd"), 1, 0.5):
        fix = f"did you mean ${{{near[0]}:…}}? {_LITERAL}"
    return _Unresolved("this ${…} is not a reference", fix, "unknown-reference")


def _undefined(name: str, known: Collection[str]) -> _Unresolved:
    """What is still ``${var.…}`` here could not be put in."""
    if name in known:
        what = f"variable {_short(name)} is no text, and text stands around it"
        return _Unresolved(what, "let it stand alone in its value", "bad-variable")
    near = difflib.get_close_matches(name, known, 1, 0.6) if len(name) < 100 else []
    fix = f"did you mean {near[0]}?" if near else "declare it under variables: in reconciler.yaml"
    return _Unresolved(f"there is no variable {_short(name)}", fix, "undefined-variable")


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:59] + "…"


def _read(path: Path) -> bytes | None:
    """At most one byte more than is allowed; None when it is no regular file (it is never waited for)."""
    opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(opened, "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return None
        return stream.read(MAX_FILE_BYTES + 1)


class _Walk:
    """One document's references, led by the schema."""

    def __init__(self, resolver: Resolver, document: Document, folder: Path) -> None:
        self.references: dict[Parts, Reference] = {}
        self.problems: list[Problem] = []
        self._resolver = resolver
        self._document = document
        self._folder = folder

    def entry(self, holder: Any, key: Any, value: Any, field: Field | None, path: Parts, masks: bool) -> None:
        """Resolve one value where it stands. ``masks``: what is above it is sensitive."""
        masks = masks or (field is not None and field.takes_secrets)
        if isinstance(value, str):
            if "${" in value:
                holder[key] = self._text(value, field, path, masks)
        elif isinstance(value, dict):
            for name, item in value.items():
                below = None if field is None else field.properties.get(name) or field.extra
                if "${" in name:
                    self._problem((*path, name), "references are not allowed in keys", "", "reference-in-key")
                self.entry(value, name, item, below, (*path, name), masks)
        elif isinstance(value, list):
            below = None if field is None else field.items
            for at, item in enumerate(value):
                self.entry(value, at, item, below, (*path, at), masks)

    def _text(self, text: str, field: Field | None, path: Parts, masks: bool) -> Any:
        try:
            reference, found = self._resolved(text, path, masks)
            if reference is None:
                return found
            self.references[path] = reference
            if reference.is_unset:
                return text
            if masks and not found:
                what = f"{reference.text} is empty, and a secret is expected"
                raise _Unresolved(what, "set it to the secret", "empty-secret")
            if masks:
                self._resolver.remember(found, reference.text)
                return text
            return self._converted(found, field, reference)
        except _Unresolved as problem:
            self.references[path] = Reference("${…}", text, is_secret=masks, is_unset=True)
            self._problem(path, problem.what, problem.fix, problem.rule)
            return text

    def _folder_of(self, path: Parts) -> Path:
        """Where the file stands that a value comes from."""
        folders = self._document.folders
        place = self._document.positions.nearest(path) if folders else None
        return folders.get(place.file, self._folder) if place else self._folder

    def _resolved(self, text: str, path: Parts, masks: bool) -> tuple[Reference | None, str]:
        """The value of a text, and how it was made; no Reference when it holds escapes only."""
        value: list[str] = []
        told: list[str] = []
        literal = ""
        is_unset = has_text = has_reference = False
        origins: list[Origin] = []
        at = 0
        for begin in _BEGIN.finditer(text):
            if begin.start() < at:
                continue  # inside the reference before
            literal = text[at : begin.start()]
            if begin.group() == "$${":
                value += (literal, "${")
                at = begin.end()
                has_text = True
                continue
            end = text.find("}", begin.end())
            if end < 0:
                raise _Unresolved("a reference is not closed", f"add }}; {_LITERAL}", "unknown-reference")
            scheme, _, argument = text[begin.end() : end].partition(":")
            has_reference = True
            has_text = has_text or bool(literal)
            told += ("…" if literal else "", f"${{{scheme}:{_short(argument)}}}")
            try:
                folder = self._folder_of(path)
                part = self._resolver.part(scheme, argument, folder, masks)
            except _Unresolved as problem:
                if not (problem.is_skipped or (problem.can_wait and self._resolver.allow_unset)):
                    raise
                is_unset = True
                part = ""
            origins.append(self._resolver.origin(scheme, argument, folder))
            if part and (scheme == "cmd" or looks_secret(argument)):
                self._resolver.remember(part, f"${{{scheme}:{_short(argument)}}}")
            value += (literal, part)
            at = end + 1
        rest = text[at:]
        whole = "".join(value) + rest
        if not has_reference:
            return None, whole
        shown_text = "".join(told) + ("…" if rest else "")
        has_text = has_text or bool(rest)
        origin = origins[0] if len(origins) == 1 and not has_text else None
        return Reference(shown_text, whole, masks, is_unset, has_text, origin), whole

    def _converted(self, found: str, field: Field | None, reference: Reference) -> Any:
        """A whole value in a field that takes no text becomes what the field takes."""
        if field is None or reference.has_text or "string" in field.types:
            return found
        wanted = [name for name in ("integer", "number", "boolean") if name in field.types]
        if not wanted:
            return found
        value = plain(found.strip())
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = {"integer": is_number and value == int(value), "number": is_number}
        for name in wanted:
            if fits.get(name, isinstance(value, bool)):
                return int(value) if name == "integer" else value
        words = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
        what = f"{reference.text} must give {words[wanted[0]]}"
        raise _Unresolved(what, "its value is not shown here", "bad-variable")

    def _problem(self, path: Parts, what: str, fix: str, rule: str) -> None:
        self.problems.append(self._document.problem(path, what, fix, rule))


def with_secrets(value: Any, references: Mapping[Parts, Reference]) -> Any:
    """``value`` (a document's root) with a :class:`Secret` where a secret or an unset reference stands."""
    for path, reference in references.items():
        if reference.is_secret or reference.is_unset:
            holder = value
            for part in path[:-1]:
                holder = holder[part]
            text = reference.value if not reference.is_unset else reference.text
            holder[path[-1]] = Secret(text, reference.text, reference.origin)
    return value
