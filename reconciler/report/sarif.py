"""Pages as SARIF 2.1.0, for code scanning: each change, refusal or problem at its ``file:line``.

The format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/. GitHub shows results by rule, file and line,
recognises one again by its partial fingerprint, and replaces what a category (``automationDetails.id``) had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote

from reconciler import __version__
from reconciler.report.json import dumps
from reconciler.report.page import Change, Item, Level, Page, Purpose
from reconciler.report.policies import POLICY

__all__ = ["sarif"]

_LEVELS: Final = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTICE: "note", Level.QUIET: "none"}
_MOST: Final = 5_000
"""GitHub takes 25,000 results of a run and shows 5,000 of them."""
_PROJECT: Final = "reconciler.yaml"
_RULES: Final = {
    "create": "Declared, and does not exist",
    "update": "Differs from what is declared",
    "replace": "Differs in a way that only a new one can mend",
    "delete": "Exists, and is to be deleted",
    "adopt": "Exists, is declared, and has no owner",
    "freeze": "Must not be changed now",
    "no_op": "Is as declared, with a note",
    "refused": "Refused for safety",
    "failed": "Failed",
    "left": "Still differs after the apply",
    "not_begun": "Was not begun",
    "unchanged": "Is as declared",
    "error": "The run came to nothing",
}


def sarif(pages: Page | Sequence[Page]) -> str:
    """The document: one run for each page."""
    pages = [pages] if isinstance(pages, Page) else list(pages)
    return dumps(
        {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [_run(page) for page in pages],
        }
    )


def _run(page: Page) -> dict[str, Any]:
    items = sorted(page.items, key=lambda item: -item.level)
    results = [result for item in items for result in _results(item, page)]
    rules = sorted({(result["ruleId"], _described(result["ruleId"], page)) for result in results})
    category = "/".join(quote(part, safe="") for part in (page.stack, page.target) if part)
    return {
        "tool": {
            "driver": {
                "name": "reconciler",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [
                    {"id": rule, "name": _name(rule), "shortDescription": {"text": text}}
                    for rule, text in rules
                ],
            }
        },
        "automationDetails": {"id": f"reconciler/{page.purpose}/{category}".rstrip("/") + "/"},
        "columnKind": "unicodeCodePoints",
        **_invocation(page),
        "results": results[:_MOST],
        "properties": {
            "headline": page.headline,
            "results_left_out": max(len(results) - _MOST, 0),
        },
    }


def _invocation(page: Page) -> dict[str, Any]:
    """What the run did not look at: else its silence would mean that all is well there."""
    if not page.unseen:
        return {}
    told = [{"level": "note", "message": {"text": _plain(text)}} for text in page.unseen]
    return {"invocations": [{"executionSuccessful": True, "toolExecutionNotifications": told}]}


def _described(rule: str, page: Page) -> str:
    word = rule.partition("/")[2]
    if rule.startswith(POLICY):
        return f"Policy {word}"
    if page.purpose is Purpose.CHECK or word not in _RULES:
        return f"Manifests: {word.replace('-', ' ')}"
    return _RULES[word]


def _name(rule: str) -> str:
    words = rule.replace("/", " ").replace("-", " ").replace("_", " ").split()
    return "".join(word[:1].upper() + word[1:] for word in words)


def _results(item: Item, page: Page) -> Iterable[dict[str, Any]]:
    """One result for each change that has a place of its own, else one for the item."""
    # A policy is one rule, whoever tells of it: a plan, an apply, a check.
    rule = item.what if item.what.startswith(POLICY) else f"{page.purpose}/{item.what}"
    is_drift = page.purpose is Purpose.DRIFT
    if not item.placed or (item.fails and item.told and not is_drift):
        yield _result(rule, item, None)
        return
    for change in item.placed:
        yield _result(rule, item, change, item.told if is_drift else ())


def _result(
    rule: str, item: Item, change: Change | None, besides: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    if change is None:
        told = [change.sentence for change in item.changes]
        told += [f"{label}: {text}" for label, text in item.told]
        message = "\n".join([item.title, *told])
        file, line, column, key = item.file, item.line, item.column, item.title
    else:
        told = [f"{label}: {text}" for label, text in besides]
        message = "\n".join([f"{item.address}: {change.sentence}", *told])
        file, line, column = change.file, change.line, 0
        key = f"{item.address} {change.path or change.text.partition(':')[0]}"
    result: dict[str, Any] = {
        "ruleId": rule,
        "level": _LEVELS[item.level],
        "message": {"text": _plain(message) or item.what},
        "partialFingerprints": {"primaryLocationLineHash": _digest(rule, file, key)},
    }
    logical = [{"fullyQualifiedName": item.address, "kind": "resource"}] if item.kind else []
    # What no file declares any more is shown at the project file: GitHub takes no result without a place.
    uri = _uri(file or _PROJECT)
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"}}
    if file and line:
        physical["region"] = {"startLine": line, **({"startColumn": column} if column else {})}
    place: dict[str, Any] = {"physicalLocation": physical}
    result["locations"] = [{**place, "logicalLocations": logical} if logical else place]
    return result


def _plain(text: str) -> str:
    """Text in which SARIF sees no ``[link](…)`` (3.11.6: a backslash takes a bracket's meaning)."""
    return text.replace("](", "\\](")


def _uri(file: str) -> str:
    """A relative reference: percent-encoded, so that no name is a scheme, a query or a fragment."""
    return quote(file, safe="/")


def _digest(*parts: str) -> str:
    text = "\0".join(parts)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
