"""The one way out for text and values that may hold secrets, or signs that a terminal would obey.

Three nets, one behind the other: a resolved secret is a type (:class:`Secret`) and shows as its reference;
what the schema marks as secret or sensitive is masked by where it stands (:func:`shown`, :func:`shown_body`);
and :class:`Redactor` searches finished text for the values that are known.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Final
from urllib.parse import quote, quote_plus

from reconciler import schema
from reconciler.terminal import control
from reconciler.values import MASK, FieldChange, Masked, Secret, Step

__all__ = [
    "RedactingFormatter",
    "Redactor",
    "control",
    "plain",
    "secrets_in",
    "shown",
    "shown_body",
    "shown_exchange",
]

_SHORTEST: Final = 4
_SHORTEST_LINE: Final = 16
_SHORTEST_BASE64: Final = 8
_MANY: Final = 64
_LONGEST_BODY: Final = 4000  # characters of a body in a log
_ENDS: Final = (_SHORTEST, 12)


# ---- searching text -------------------------------------------------------------------------------------


class Redactor:
    """Takes known secret values out of text, in the forms in which text carries them.

    Values shorter than four characters are not searched for: they stand in half of all words ("a", "on",
    "443"), and a text full of masks tells where the value is. Such a value is still masked wherever it is a
    :class:`Secret` or stands in a marked field. ``more``: secrets that are found out later; asked for with
    each text, and only ever longer.
    """

    def __init__(
        self, secrets: Iterable[Secret] = (), *, more: Callable[[], Sequence[Secret]] = tuple
    ) -> None:
        self._forms: tuple[str, ...] = ()
        self._more = more
        self._taken = 0
        self.add(*secrets)

    @classmethod
    def of(cls, *values: Any) -> Redactor:
        """A redactor that knows every Secret anywhere inside these values (steps, bodies, specs)."""
        return cls(secret for value in values for secret in secrets_in(value))

    def add(self, *secrets: Secret) -> None:
        """Know more secrets from now on."""
        forms = set(self._forms)
        for secret in secrets:
            forms.update(_forms(secret.reveal()))
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def text(self, text: str) -> str:
        """``text`` with every known value replaced by the mask; values that overlap are masked together."""
        self._catch_up()
        return _without(_found(self._forms, text), text)

    def value(self, value: Any) -> Any:
        """``value`` in plain JSON form (see :func:`plain`), with known values taken out of all its text."""
        self._catch_up()
        shape = plain(value)
        # Searched once as a whole: leaf by leaf it would cost every form for every leaf.
        found = _found(self._forms, "\0".join(_texts(shape))) if self._forms else ()
        return _each_without(found, shape) if found else shape

    def document(self, document: Any, words: Set[str], free: Set[str]) -> Any:
        """A document of ours in plain JSON form, with known values taken out of what others put into it.

        ``words``: fields that hold a word of ours, which stays though it be somebody's secret too; ``free``:
        fields below which the names are the user's as well.
        """
        self._catch_up()
        found = _found(self._forms, "\0".join(_texts(document))) if self._forms else ()
        return _document_without(found, document, words, free) if found else document

    def _catch_up(self) -> None:
        more = self._more()
        if len(more) > self._taken:
            self.add(*more[self._taken :])
            self._taken = len(more)

    def formatter(self, fmt: str | None = None) -> logging.Formatter:
        """A formatter for log handlers through which nothing known gets out."""
        return RedactingFormatter(self, fmt)


def _found(forms: Sequence[str], text: str) -> Sequence[str]:
    """Those of the forms that stand in ``text``. Of many, most are ruled out by how they begin and end."""
    if len(forms) > _MANY:
        ends = {size: {text[at : at + size] for at in range(len(text) - size + 1)} for size in _ENDS}
        forms = [form for form in forms if _may_stand(form, ends)]
    return [form for form in forms if form in text]


def _may_stand(form: str, ends: Mapping[int, Set[str]]) -> bool:
    size = max(size for size in _ENDS if size <= len(form))
    return form[:size] in ends[size] and form[-size:] in ends[size]


def _without(forms: Sequence[str], text: str) -> str:
    spans: list[tuple[int, int]] = []
    for form in forms:
        at = text.find(form)
        while at >= 0:
            spans.append((at, at + len(form)))
            at = text.find(form, at + 1)
    if not spans:
        return text
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start >= done:
            parts += (text[done:start], MASK)
        done = max(done, end)
    return "".join([*parts, text[done:]])


def _each_without(forms: Sequence[str], value: Any) -> Any:
    if isinstance(value, str):
        return _without(forms, value)
    if isinstance(value, dict):
        return {_without(forms, key): _each_without(forms, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_each_without(forms, item) for item in value]
    return value


def _document_without(forms: Sequence[str], value: Any, words: Set[str], free: Set[str]) -> Any:
    if isinstance(value, str):
        return _without(forms, value)
    if isinstance(value, list):
        return [_document_without(forms, item, words, free) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: item
        if name in words and isinstance(item, str)
        else _each_without(forms, item)
        if name in free
        else _document_without(forms, item, words, free)
        for name, item in value.items()
    }


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _forms(value: str) -> Iterator[str]:
    """The forms in which a value turns up in text: as it is, in JSON, in a URL, escaped, in base64."""
    if len(value) < _SHORTEST:
        return
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    yield control(value)
    data = value.encode("utf-8", "surrogatepass")
    for safe in ("", "/"):
        yield quote(data, safe=safe)
    yield quote_plus(data)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(data).decode().rstrip("=")
        # Inside a longer text ("user:password") base64 has three alignments; the characters at the edges
        # mix with the neighbours and are left out.
        for offset in range(3):
            inner = encode(b"\0" * offset + data).decode().rstrip("=")
            inner = inner[math.ceil(offset * 8 / 6) : (offset + len(data)) * 8 // 6]
            if len(inner) >= _SHORTEST_BASE64:
                yield inner
    lines = value.splitlines()
    if len(lines) > 1:  # a key file that is logged line by line
        yield from (line.strip() for line in lines if len(line.strip()) >= _SHORTEST_LINE)


def secrets_in(value: Any) -> Iterator[Secret]:
    """Every Secret inside a JSON-like structure, or in the changes and calls of a Step."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Step):
        for change in value.changes:
            yield from secrets_in(change.before)
            yield from secrets_in(change.after)
        for call in value.calls:
            yield from secrets_in(call.body)
            yield from secrets_in(call.arguments)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from secrets_in(item)


# ---- values ---------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """``value`` as JSON can say it: secrets as references, digests masked, no NaN, keys as text."""
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, Masked):
        return MASK
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Set):
        return sorted((plain(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, (bytes, bytearray)):
        return MASK  # nothing in a plan is binary; what is, is nobody's to read
    return str(value)


def shown(change: FieldChange, kind: str) -> tuple[Any, Any]:
    """Both sides of a change of a resource of this kind, fit to be shown, in JSON form.

    Masked is what the change or the schema calls sensitive, and what stands where the other side has a
    secret: the value before a rotation is a secret too. References are shown.
    """
    names = tuple(part for part in change.path if isinstance(part, str))
    sides = [_beside(change.before, change.after), _beside(change.after, change.before)]
    if not change.sensitive:
        return _masked(kind, sides[0], names), _masked(kind, sides[1], names)
    marks = _marks(kind)
    below = any(_has_mark(marks, side, names) for side in sides)
    if below and not any(_is_marked(marks, names[: i + 1]) for i in range(len(names))):
        # A whole object came or went: only its marked parts are sensitive.
        return _masked(kind, sides[0], names), _masked(kind, sides[1], names)
    return _veiled(sides[0]), _veiled(sides[1])


def shown_body(body: Any, kind: str, section: str = "") -> Any:
    """A request's body fit to be shown, in JSON form: marked fields are masked, secrets are references."""
    return _masked(kind, body, (section,) if section else ())


_SECRET_NAME = re.compile(
    r"(?i)token\Z|secret|password|passphrase|api_?key|credential|authorization|plaintext"
)


def shown_exchange(body: Any) -> Any:
    """A request's or an answer's body of whatever API, fit for a log, in JSON form.

    Masked is what any kind's schema marks, and text under a name that looks secret (``access_token``).
    """
    marks = frozenset(mark for kind in schema.kinds() for mark in _marks(kind))

    def walked(value: Any, names: tuple[str, ...]) -> Any:
        if isinstance(value, Mapping):
            return {str(key): item(str(key), each, names) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [walked(each, names) for each in value]
        return plain(value)

    def item(key: str, value: Any, names: tuple[str, ...]) -> Any:
        is_secret = isinstance(value, str) and _SECRET_NAME.search(key)
        if is_secret or _is_marked(marks, (*names, key)):
            return _veiled(value)
        return walked(value, (*names, key))

    return walked(body, ())


def _masked(kind: str, value: Any, names: tuple[str, ...]) -> Any:
    marks = _marks(kind)
    if any(_is_marked(marks, names[: i + 1]) for i in range(len(names))):
        return _veiled(value)
    return _walked(marks, value, names)


def _walked(marks: frozenset[tuple[str, str]], value: Any, names: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): _veiled(item)
            if _is_marked(marks, (*names, str(key)))
            else _walked(marks, item, (*names, str(key)))
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_walked(marks, item, names) for item in value]
    return plain(value)


def _has_mark(marks: frozenset[tuple[str, str]], value: Any, names: tuple[str, ...]) -> bool:
    if isinstance(value, Mapping):
        return any(
            _is_marked(marks, (*names, str(key))) or _has_mark(marks, item, (*names, str(key)))
            for key, item in value.items()
        )
    return isinstance(value, (list, tuple)) and any(_has_mark(marks, item, names) for item in value)


def _veiled(value: Any) -> Any:
    """Every scalar below is masked; names stay, and so do references and absence."""
    if isinstance(value, Mapping):
        return {str(key): _veiled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_veiled(item) for item in value]
    if value is None or isinstance(value, Secret) or _is_reference(value):
        return plain(value)
    return MASK


def _beside(value: Any, other: Any) -> Any:
    """``value`` with everything masked that stands where ``other`` has a Secret."""
    if isinstance(value, Secret):
        return value
    if isinstance(other, Secret):
        return _veiled(value)
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return {key: _beside(item, other.get(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)):
        # Items are not paired here: a secret among them makes all of them suspect.
        return _veiled(value) if any(secrets_in(other)) and not any(secrets_in(value)) else list(value)
    return value


_REFERENCE = re.compile(r"\{\{secrets/[^/{}]+/[^/{}]+\}\}")


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


@functools.cache
def _marks(kind: str) -> frozenset[tuple[str, str]]:
    """The marked fields of a kind as (name above, name): how a body finds them, whatever it is wrapped in."""
    if kind not in schema.kinds():
        return frozenset()
    marks = set()
    for path, field in schema.spec_fields(kind).walk():
        if field.sensitive or field.secret or field.secret_reference:
            names = [part for part in path if part != "*"]
            marks.add((names[-2] if len(names) > 1 else "", names[-1]))
    return frozenset(marks)


def _is_marked(marks: frozenset[tuple[str, str]], names: tuple[str, ...]) -> bool:
    above = names[-2] if len(names) > 1 else ""
    return (above, names[-1]) in marks or ("", names[-1]) in marks


# ---- logs -----------------------------------------------------------------------------------------------


class RedactingFormatter(logging.Formatter):
    """Formats a record, traceback included, and passes the whole text through a Redactor and :func:`control`.

    Lines after the first are indented: a message from a server cannot pretend to be a record of its own. The
    bodies of a request (``sent``, ``answered`` of the record) are shown as :func:`shown_exchange` shows them.
    """

    def __init__(self, redactor: Redactor, fmt: str | None = None) -> None:
        super().__init__(fmt)
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The finished text of the record."""
        try:
            text = super().format(record)
        except Exception:  # another library's broken logging call must not end ours
            text = f"{record.levelname} {record.name}: {record.msg!s}"
        for name in ("sent", "answered"):
            if line := _body_line(getattr(record, name, None)):
                text += f"\n{name}: {line}"
        return control(self._redactor.text(text), keep="\n\t").replace("\n", "\n    ")


def _body_line(body: Any) -> str:
    """A body on one line, "" when there is none. ``body``: a JSON value, or bytes that may be JSON."""
    if isinstance(body, bytes):
        if not body or body.isspace():
            return ""
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return f"{len(body):,} bytes that are not JSON"  # what is not understood cannot be masked by name
    if body is None:
        return ""
    try:
        text = json.dumps(shown_exchange(body), ensure_ascii=False)
    except RecursionError:
        return "JSON that is nested too deeply to be shown"
    return (
        text if len(text) <= _LONGEST_BODY else f"{text[:_LONGEST_BODY]}… ({len(text):,} characters in all)"
    )
