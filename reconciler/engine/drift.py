"""What of a plan is drift: terms of ``--ignore`` and ``--only``, which kinds fail a check. Pure.

    Endpoint/chat                     that resource, whatever drifted
    Endpoint/ch*, */chat, Endpoint    resources like it, all of a kind
    *                                 every resource
    Endpoint/chat:tags.owner          that field of it, and all below
    *:config.served_entities[*].workload_size, *:tags.*

A star in a field path stands for one name or one item. A term that fits nothing declared, or names a field
that the kind does not have, is a mistake and told: a slip must not hide drift.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from reconciler import schema
from reconciler.errors import UsageError
from reconciler.kinds.marks import SECTIONS
from reconciler.manifest.suggest import did_you_mean
from reconciler.values import Action, Address, FieldPath, ItemKey, Plan, Step
from reconciler.verdict import KINDS, Aside, kind_of_drift

__all__ = ["Term", "parse_kinds", "parse_terms", "sifted"]

_FORMS: Final = "write Kind/name, a pattern such as Endpoint/ch*, a kind, or *; and :field.path behind it"


@dataclass(frozen=True, slots=True)
class Term:
    """One ``--ignore`` or ``--only``. ``path``: None when it is about whole resources."""

    option: str
    text: str
    kind: str
    name: str
    path: FieldPath | None = None

    def fits(self, address: Address) -> bool:
        """It is about this resource, or a field of it."""
        return fnmatchcase(address.kind, self.kind) and fnmatchcase(address.name, self.name)

    def covers(self, address: Address, path: FieldPath) -> bool:
        """It is about this field, or about something that the field is a part of."""
        return self.fits(address) and (self.path is None or self.path.covers(path))

    def __str__(self) -> str:
        return f"{self.option} {self.text}"


def parse_terms(texts: Sequence[str], option: str, known: Sequence[Address]) -> tuple[Term, ...]:
    """Read terms. Raises UsageError for one that cannot be read, fits none of what is ``known``, or names no
    field."""
    return tuple(_checked(_parsed(text.strip(), option), known) for text in texts)


def _parsed(text: str, option: str) -> Term:
    who, colon, where = text.partition(":")
    kind, slash, name = who.partition("/")
    if not kind or (slash and not name) or (colon and not where):
        raise UsageError(f"{option}: {text!r} is no term", fix=_FORMS)
    path = None
    if colon:
        try:
            path = FieldPath.parse(_STAR.sub("[*]", where))
        except UsageError as error:
            raise UsageError(f"{option} {text}: {error.what}", fix=error.fix) from None
        # What stands for everything below a field is that field: it may come or go as a whole.
        while len(path) > 1 and path[-1] == ItemKey("*"):
            path = FieldPath(path[:-1])
    return Term(option, text, kind, name or "*", path)


_STAR = re.compile(r"(?<=[\w\]\"])\.\*(?=[.\[]|\Z)")


def _checked(term: Term, known: Sequence[Address]) -> Term:
    """The term, when it can mean something here; its path in the one spelling of the schema."""
    fitting = [address for address in known if term.fits(address)]
    if not fitting:
        names = list(map(str, known))
        told = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        near = did_you_mean(term.text.partition(":")[0], [*names, *{address.kind for address in known}])
        raise UsageError(f"{term}: fits no manifest", why=f"there are: {told or 'none'}", fix=near or _FORMS)
    if term.path is None or (len(term.path) == 1 and term.path[0] in SECTIONS):
        return term
    for address in fitting:
        fields = schema.spec_fields(address.kind)
        if found := _spelt(fields, term.path):
            return replace(term, path=found)
    raise UsageError(
        f"{term}: {fitting[0].kind} has no such field",
        fix="write a path below spec as a plan shows it, e.g. config.served_entities[*].workload_size",
    )


def _spelt(fields: schema.Field, path: FieldPath) -> FieldPath | None:
    """The path with each name in its main spelling, None when the schema has no such field."""
    here: schema.Field | None = fields
    parts: list[str | int | ItemKey] = []
    for part in path:
        if here is None:
            return None
        if isinstance(part, str) and here.items is not None and not here.properties and here.extra is None:
            return None  # a name below a list is a field of its items: [*] stands between
        parts.append(here.aliases.get(part, part) if isinstance(part, str) else part)
        below = here.at(part.text if isinstance(part, ItemKey) else part)
        if part == ItemKey("*") and below is None and here.properties:
            return FieldPath((*parts, *path[len(parts) :]))  # any of its fields: nothing to check further
        here = below
    return FieldPath(parts) if here is not None else None


def parse_kinds(texts: Sequence[str]) -> frozenset[str]:
    """What ``--fail-on`` lists, with commas or given several times. Raises UsageError for anything else."""
    words = [word.strip() for text in texts for word in text.split(",")]
    for word in words:
        if word not in KINDS:
            near = did_you_mean(word, KINDS)
            raise UsageError(
                f"--fail-on: {word!r} is no kind of drift", fix=near or f"write {', '.join(KINDS)}"
            )
    return frozenset(words)


def sifted(plan: Plan, ignore: Sequence[Term], only: Sequence[Term]) -> tuple[Plan, tuple[Aside, ...]]:
    """The plan without what ``ignore`` covers and what ``only`` leaves out, and what that is.

    Calls are taken out of every step: a check of drift makes none. A step of which nothing is left stays, and
    does nothing.
    """
    steps: list[Step] = []
    aside: list[Aside] = []
    for step in plan.steps:
        bare = replace(step, calls=(), protected=False, refusal="", notice="")
        if not kind_of_drift(step):
            steps.append(bare)
            continue
        kept, taken = _sifted(bare, ignore, only)
        steps.append(kept)
        aside += taken
    return replace(plan, steps=tuple(steps)), tuple(aside)


def _sifted(step: Step, ignore: Sequence[Term], only: Sequence[Term]) -> tuple[Step, list[Aside]]:
    address = step.address
    about = [term for term in only if term.fits(address)]
    whole = next((str(term) for term in ignore if term.path is None and term.fits(address)), "")
    if only and not about:
        whole = whole or _NOT_ASKED
    nothing = replace(step, action=Action.NO_OP, changes=(), failure="")
    if whole:
        return nothing, [Aside(address, None, whole)]
    if step.action not in (Action.UPDATE, Action.REPLACE, Action.ADOPT):
        return step, []  # what is not there differs in every field
    kept, aside = [], []
    for change in step.changes:
        why = next((str(term) for term in ignore if term.covers(address, change.path)), "")
        if not why and about and not any(term.covers(address, change.path) for term in about):
            why = _NOT_ASKED
        if why:
            aside.append(Aside(address, change.path, why))
        else:
            kept.append(change)
    if not kept and aside:
        return nothing, aside
    action = step.action
    if action is Action.REPLACE and not any(change.forces_replace for change in kept):
        action = Action.UPDATE
    return replace(step, action=action, changes=tuple(kept)), aside


_NOT_ASKED: Final = "not named by --only"
