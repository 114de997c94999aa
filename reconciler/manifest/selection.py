"""Which resources are meant: terms of ``--select`` and ``--exclude`` over desired resources. Pure.

    Endpoint/chat                     that address
    Endpoint/ch*, */chat              addresses like it
    kind=Endpoint                     all of a kind
    label:team=support                by labels: =, !=, in (a,b), notin (a,b), name, !name; a comma means and
    file:manifests/chat.yaml          what stands in that file, in that folder, or in files like it

Several terms select what any of them selects; what ``--exclude`` names is taken out again. A term that
nothing fits is a mistake and told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from reconciler import schema
from reconciler.errors import UsageError
from reconciler.manifest.suggest import did_you_mean
from reconciler.values import Resource

__all__ = ["Term", "parse_term", "select"]

Term = Callable[[Resource], bool]

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_VALUE: Final = r"[^,()\s=!]*"
_EQUAL: Final = re.compile(rf"({_NAME})\s*(==?|!=)\s*({_VALUE})\Z")
_AMONG: Final = re.compile(rf"({_NAME})\s+(in|notin)\s*\(([^()]*)\)\Z")
_THERE: Final = re.compile(rf"(!?)\s*({_NAME})\Z")
_FORMS: Final = (
    "write Kind/name, a pattern such as Endpoint/ch*, kind=Endpoint, label:team=support or file:PATH"
)


def select(
    resources: Sequence[Resource], wanted: Sequence[str] = (), unwanted: Sequence[str] = ()
) -> tuple[Resource, ...]:
    """The resources that ``wanted`` selects (all when it is empty) without those of ``unwanted``, in order.

    Raises UsageError for a term that cannot be read or fits nothing, and when nothing is left.
    """
    chosen = _fitting(resources, wanted, "--select") if wanted else set(range(len(resources)))
    chosen -= _fitting(resources, unwanted, "--exclude")
    if resources and not chosen:
        raise UsageError(
            "nothing is selected", why="--exclude takes out all of it", fix="leave one of the two out"
        )
    return tuple(resource for at, resource in enumerate(resources) if at in chosen)


def _fitting(resources: Sequence[Resource], terms: Sequence[str], option: str) -> set[int]:
    found: set[int] = set()
    for text in terms:
        fits = parse_term(text, option)
        here = {at for at, resource in enumerate(resources) if fits(resource)}
        if not here:
            raise _nothing(resources, text, option)
        found |= here
    return found


def _nothing(resources: Sequence[Resource], text: str, option: str) -> UsageError:
    known = [str(resource.address) for resource in resources]
    near = did_you_mean(text, known) if "/" in text and ":" not in text else ""
    told = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    return UsageError(f"{option} {text}: fits no manifest", why=f"there are: {told or 'none'}", fix=near)


def parse_term(text: str, option: str = "--select") -> Term:
    """What a term says of one resource. Raises UsageError for one that cannot be read."""
    text = text.strip()
    if text.startswith("label:"):
        return _labels(text.removeprefix("label:"), option)
    if text.startswith("file:"):
        return _file(text.removeprefix("file:"), option)
    if text.startswith("kind="):
        kind = text.removeprefix("kind=")
        if kind not in schema.kinds():
            known = ", ".join(schema.kinds())
            fix = did_you_mean(kind, schema.kinds()) or f"known: {known}"
            raise UsageError(f"{option}: there is no kind {kind!r}", fix=fix)
        return lambda resource: resource.address.kind == kind
    kind, slash, name = text.partition("/")
    if not (kind and slash and name):
        raise UsageError(f"{option}: {text!r} is no selection", fix=_FORMS)
    return lambda resource: (
        str(resource.address) == text
        or (fnmatchcase(resource.address.kind, kind) and fnmatchcase(resource.address.name, name))
    )


def _file(path: str, option: str) -> Term:
    wanted = path.removeprefix("./").rstrip("/")
    if not wanted:
        raise UsageError(f"{option}: file: names no file", fix="write file:manifests/chat.yaml")

    def fits(resource: Resource) -> bool:
        file = resource.source.file.removeprefix("./")
        return file == wanted or file.startswith(wanted + "/") or fnmatchcase(file, wanted)

    return fits


def _labels(expression: str, option: str) -> Term:
    """A label expression: requirements, a comma between them, as Kubernetes writes its selectors
    (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors)."""
    parts = re.split(r",(?![^(]*\))", expression)
    requirements = [_requirement(part.strip(), expression, option) for part in parts]
    return lambda resource: all(holds(resource.labels) for holds in requirements)


def _requirement(part: str, expression: str, option: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _EQUAL.match(part):
        name, sign, value = found.groups()
        if sign == "!=":
            return lambda labels: labels.get(name) != value
        return lambda labels: labels.get(name) == value
    if found := _AMONG.match(part):
        name, word, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        if word == "in":
            return lambda labels: labels.get(name) in values
        return lambda labels: labels.get(name) not in values
    if found := _THERE.match(part):
        sign, name = found.groups()
        return lambda labels: (name in labels) is not bool(sign)
    raise UsageError(
        f"{option}: cannot read {part!r} in label:{expression}",
        fix="write label:team=support, label:team!=support, label:team in (a,b), label:team or label:!team",
    )
