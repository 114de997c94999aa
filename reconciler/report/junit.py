"""Pages as JUnit XML, which every CI shows: a suite for each page, a test case for each resource.

The shape is that of Jenkins' junit-10.xsd, the strictest in use: ``testsuite`` must count tests, failures and
errors; ``time`` is seconds with three decimals at most; a case holds failure, error or skipped, then output.
GitLab, Azure and GitHub's reporters read the same. A change of a plan is no failure; in a drift check it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from reconciler.report.page import Item, Level, Page, Purpose
from reconciler.report.policies import POLICY

__all__ = ["junit"]

_ERRORS: Final = ("error", "failed")
"""What went wrong by itself; everything else that fails is a verdict."""


def junit(pages: Page | Sequence[Page]) -> str:
    """The document, with an XML declaration."""
    pages = [pages] if isinstance(pages, Page) else list(pages)
    suites = [_suite(page) for page in pages]
    root = ElementTree.Element("testsuites", {"name": _clean(pages[0].title) if pages else "reconciler"})
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.extend(suites)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(page: Page) -> ElementTree.Element:
    name = " ".join(part for part in (page.title, page.about) if part)
    cases = [_case(item, page) for item in (*page.items, *page.quiet)]
    if page.purpose is Purpose.APPLY and page.converged is not None:
        cases.append(_proof(page))
    if not cases:
        cases.append(ElementTree.Element("testcase", {"name": page.headline, "classname": page.title}))
    suite = ElementTree.Element("testsuite", {"name": _clean(name), "tests": str(len(cases))})
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(sum(1 for case in cases if case.find(tag) is not None)))
    suite.set("time", _time(sum(item.seconds for item in page.items if math.isfinite(item.seconds))))
    if page.target or page.stack:
        properties = ElementTree.SubElement(suite, "properties")
        for key, value in (("target", page.target), ("stack", page.stack)):
            if value:
                ElementTree.SubElement(properties, "property", {"name": key, "value": _clean(value)})
    suite.extend(cases)
    notes = [*page.notes, *page.closing]
    if notes:
        ElementTree.SubElement(suite, "system-out").text = _clean("\n".join(notes))
    return suite


def _case(item: Item, page: Page) -> ElementTree.Element:
    kind = item.kind or (item.file or "manifests")
    name = item.address if item.kind else item.title
    if item.kind and item.what.startswith(POLICY):
        name += f" {item.what}"
    if item.what == "left":
        name += " (read again)"
    case = ElementTree.Element(
        "testcase",
        {"name": _clean(name), "classname": _clean(f"{page.title}.{kind}"), "time": _time(item.seconds)},
    )
    text = _text(item)
    if item.fails:
        tag = "error" if item.what in _ERRORS else "failure"
        message = {"message": _clean(item.title), "type": _clean(item.what)}
        ElementTree.SubElement(case, tag, message).text = text
    elif item.skipped:
        ElementTree.SubElement(case, "skipped", {"message": _clean(item.ending)})
    if not item.fails and (item.told or item.level is not Level.QUIET):
        ElementTree.SubElement(case, "system-out").text = text
    return case


def _proof(page: Page) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {"name": "converged", "classname": page.title, "time": "0.000"})
    if not page.converged:
        told = _clean(page.closing[-1] if page.closing else page.headline)
        ElementTree.SubElement(case, "failure", {"message": told, "type": "not_converged"}).text = told
    return case


def _text(item: Item) -> str:
    lines = [f"{item.title}  {item.place}".strip()]
    for change in item.changes:
        where = f"   {change.file}:{change.line}" if change.file else ""
        path = f"   {change.path}" if change.path else ""
        lines += [f"  {change.sign} {change.text}{path}{where}", *(f"      {line}" for line in change.below)]
    lines += [f"{label}: {text}" for label, text in item.told]
    lines += [f"call: {request}" for request in item.requests]
    lines += [f"log: {line}" for line in item.log]
    return _clean("\n".join(lines))


def _time(seconds: float) -> str:
    return f"{min(max(seconds, 0.0), 10**9):.3f}" if math.isfinite(seconds) else "0.000"


def _clean(text: str) -> str:
    """``text`` without what XML 1.0 cannot hold (https://www.w3.org/TR/xml/#charsets)."""
    return _NO_XML.sub("\ufffd", text)


_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
