"""The policies of a project and an environment, as they are declared: in reconciler.yaml and in files of
policies.

What their expressions mean is judged by :mod:`reconciler.engine.policy`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reconciler.errors import ManifestError, Problem
from reconciler.manifest import text
from reconciler.manifest.builtin_policies import BUILTIN, Builtin, Parameter
from reconciler.manifest.environments import Environment
from reconciler.manifest.files import file_name
from reconciler.manifest.judge import schema_problems
from reconciler.manifest.positions import Document, Parts
from reconciler.manifest.project import Project
from reconciler.manifest.scalars import shown
from reconciler.manifest.suggest import did_you_mean
from reconciler.values import PolicyLevel, Source

__all__ = ["EXPRESSIONS", "Policy", "policies_of"]

EXPRESSIONS: Final = ("when", "each", "rule", "at")
"""Fields of a policy that hold one expression."""
_RULE: Final = "policy"


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy. ``on``: resource, step or plan, "" when its expressions say it. ``when``, ``each``,
    ``at``: "" when there is none. ``params``: what ``with:`` gives, defaults included. ``places``: field →
    where it stands, of those that the user wrote.
    """

    id: str
    level: PolicyLevel
    rule: str
    source: Source
    on: str = ""
    when: str = ""
    each: str = ""
    at: str = ""
    message: str = ""
    fix: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, Source] = field(default_factory=dict)

    def place_of(self, name: str) -> Source:
        """Where a field stands; of a built-in policy, where it is taken."""
        return self.places.get(name, self.source)


def policies_of(project: Project | None, environment: Environment | None) -> tuple[Policy, ...]:
    """The policies that are in force: the project's, and the environment's, which replace those of the same
    id.

    One of ``level: off`` is in force nowhere. Reads the files that they name. Raises ManifestError with all
    that is wrong.
    """
    if project is None or project.document is None:
        return ()
    document = project.document
    holders: list[Parts] = [("policies",)]
    if environment is not None:
        holders.append(("environments", environment.name, "policies"))
    problems: list[Problem] = []
    found: dict[str, Policy] = {}
    is_off: set[str] = set()
    for holder in holders:
        here: dict[str, Policy] = {}
        for entry in _entries(document, holder, project.root, problems):
            policy, off = _policy(*entry, problems)
            if policy is None:
                continue
            if policy.id in here:
                what = f"there is a policy {shown(policy.id)} already, at {here[policy.id].source}"
                problems.append(entry[0].problem(entry[1], what, "give it an id of its own", _RULE))
            here[policy.id] = policy
            is_off.discard(policy.id)
            if off:
                is_off.add(policy.id)
        found.update(here)
    if problems:
        raise ManifestError(problems)
    return tuple(policy for policy in found.values() if policy.id not in is_off)


Entry = tuple[Document, Parts, Mapping[str, Any]]


def _entries(document: Document, holder: Parts, root: Path, problems: list[Problem]) -> Iterator[Entry]:
    value: Any = document.value
    for part in holder:
        value = (value or {}).get(part)
    for at, entry in enumerate(value or ()):
        path = (*holder, at)
        if "file" not in entry:
            yield document, path, entry
            continue
        if more := sorted(entry.keys() - {"file"}):
            what = f"{', '.join(more)} has no place beside file"
            problems.append(document.problem(path, what, "write it in the file", _RULE))
        yield from _of_file(document, (*path, "file"), root / entry["file"], problems)


def _of_file(document: Document, path: Parts, file: Path, problems: list[Problem]) -> Iterator[Entry]:
    name = file_name(file)
    if not file.is_file():
        problems.append(document.problem(path, f"there is no file {name}", "name a file of policies", _RULE))
        return
    content, unreadable = text.read(file, name)
    parsed = text.Parsed((), unreadable) if unreadable else text.parse(content, name)
    problems += parsed.problems
    for one in parsed.documents:
        if one.is_broken:
            continue
        told = schema_problems(one, "policies", {})
        problems += told
        if told:
            continue
        for at, entry in enumerate(one.value["policies"]):
            if "file" in entry:
                what = "a file of policies names no other files"
                problems.append(one.problem(("policies", at, "file"), what, "", _RULE))
            else:
                yield one, ("policies", at), entry


def _policy(
    document: Document, path: Parts, entry: Mapping[str, Any], problems: list[Problem]
) -> tuple[Policy | None, bool]:
    """The policy, and whether it is switched off."""

    def wrong(name: str, what: str, fix: str = "") -> None:
        problems.append(document.problem((*path, name) if name else path, what, fix, _RULE))

    known: Builtin | None = None
    count = len(problems)
    if (used := entry.get("use")) is not None:
        known = BUILTIN.get(used)
        if known is None:
            fix = did_you_mean(used, BUILTIN) or f"known: {', '.join(BUILTIN)}"
            wrong("use", f"there is no built-in policy {shown(used)}", fix)
        for name in ("rule", "when", "each", "at", "on"):
            if name in entry:
                wrong(name, f"{name} has no place beside use", "write a policy of your own, with rule")
    elif entry.get("level") != "off":
        if "rule" not in entry:
            wrong(
                "", "a policy has rule, use or file", "write what must be true: rule: <an expression in CEL>"
            )
        for name in ("id", "message"):
            if "rule" in entry and name not in entry:
                wrong("", f"{name} is missing", "name the policy" if name == "id" else "say what is wrong")
    elif "id" not in entry:
        wrong("", "which policy is off is not said", "write its id")
    params = _params(known, entry, wrong) if known else dict(entry.get("with") or {})
    if len(problems) > count:
        return None, False
    level = entry.get("level", known.level if known else "deny")
    source = document.positions.nearest(path) or Source(document.file, document.line, document.column)
    return Policy(
        id=entry.get("id", used),
        level=PolicyLevel.DENY if level == "off" else PolicyLevel(level),
        rule=known.rule if known else entry.get("rule", "true"),
        source=source,
        on=known.on if known else entry.get("on", ""),
        when=known.when if known else entry.get("when", ""),
        each=known.each if known else entry.get("each", ""),
        at=known.at if known else entry.get("at", ""),
        message=entry.get("message", known.message if known else ""),
        fix=entry.get("fix", known.fix if known else ""),
        params=params,
        places={
            name: document.positions.nearest((*path, name)) or source
            for name in (*EXPRESSIONS, "message", "fix", "with")
            if name in entry
        },
    ), level == "off"


def _params(known: Builtin, entry: Mapping[str, Any], wrong: Any) -> dict[str, Any]:
    given = dict(entry.get("with") or {})
    for name in given.keys() - known.params.keys():
        fix = did_you_mean(name, known.params) or f"known: {', '.join(known.params) or 'none'}"
        wrong("with", f"{entry['use']} has no parameter {shown(name)}", fix)
    if entry.get("level") == "off":
        return {}
    found = {}
    for name, parameter in known.params.items():
        value = given.get(name, parameter.default)
        if value is None:
            wrong("with", f"{entry['use']} needs {name}: {parameter.about}", f"write with: {{{name}: …}}")
        elif not isinstance(value, parameter.kind) or (
            isinstance(value, list) and not all(isinstance(item, str) for item in value)
        ):
            kind = "a list of texts" if parameter.kind is list else "text"
            wrong("with", f"{name} of {entry['use']} is {kind}", parameter.about)
        elif slips := _slips(parameter, value):
            what = f"{name} of {entry['use']}: {' and '.join(map(shown, slips))} cannot be meant"
            wrong("with", what, _meant(parameter))
        found[name] = value
    return found


def _slips(parameter: Parameter, value: Any) -> list[str]:
    """The texts of a parameter that are none of those it may be."""
    texts = value if isinstance(value, list) else [value]
    return [text for text in texts if parameter.form and not re.fullmatch(parameter.form, text)]


def _meant(parameter: Parameter) -> str:
    words = parameter.form.split("|")
    return f"known: {', '.join(words)}" if all(map(str.isidentifier, words)) else parameter.about
