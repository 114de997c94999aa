"""The HTML report in a real browser: headless Chromium takes a picture of it, and gives back what it read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from lxml import html as lxml_html

from reconciler.report.html import html

from .pages import ENDED, PAGE, hostile_pages

_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not _BROWSER, reason="no Chromium here (Debian: apt install chromium)"),
    pytest.mark.xdist_group("browser"),
]


def browse(profile: Path, page: Path, *words: str) -> str:
    """Open the page without a network; gives what the browser printed."""
    command = [
        _BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--proxy-server=127.0.0.1:9",  # nothing listens there: a request of the page would fail
        "--enable-logging=stderr",
        "--v=0",
        f"--user-data-dir={profile}",
        *words,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "Content Security Policy" not in done.stderr, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def pixels(picture: Path) -> tuple[int, int]:
    """Width and height of a PNG file, from its header (RFC 2083, 4.1.1)."""
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def test_a_picture_is_taken_in_light_dark_and_on_a_phone(tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    page.write_text(html([PAGE, ENDED]), encoding="utf-8")
    pictures = {}
    for name, size, more in (
        ("light", "1100,2600", ()),
        ("dark", "1100,2600", ("--blink-settings=preferredColorScheme=0",)),
        ("phone", "500,2600", ()),
    ):
        pictures[name] = tmp_path / f"{name}.png"
        browse(tmp_path / "profile", page, f"--window-size={size}", f"--screenshot={pictures[name]}", *more)
        assert pixels(pictures[name]) == tuple(map(int, size.split(",")))
        assert pictures[name].stat().st_size > 30_000, "an empty page makes a small picture"
    assert pictures["light"].read_bytes() != pictures["dark"].read_bytes()


def test_the_browser_reads_what_the_report_says(tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    page.write_text(html(PAGE), encoding="utf-8")
    tree = lxml_html.document_fromstring(browse(tmp_path / "profile", page, "--dump-dom"))
    assert tree.find(".//h1").text_content() == PAGE.headline
    names = [
        name.text_content() for name in tree.xpath("//details[contains(@class,'item')]//*[@class='name']")
    ]
    assert names == [item.address for item in PAGE.items]
    opened = tree.xpath("//details[contains(@class,'item')]/@open")
    assert len(opened) == len(PAGE.items)
    assert tree.xpath("//figure//i/@title") == [
        "champion: 90",
        "challenger: 10",
        "champion: 70",
        "challenger: 30",
    ]


def test_no_text_runs_in_the_browser(tmp_path: Path) -> None:
    text = "</title></style></script><script>document.title='broken'</script><img src=x onerror=alert(1)>"
    page = tmp_path / "plan.html"
    page.write_text(html(hostile_pages(text)), encoding="utf-8")
    tree = lxml_html.document_fromstring(browse(tmp_path / "profile", page, "--dump-dom"))
    assert tree.find(".//title").text.startswith("reconciler plan: ")
    assert not tree.xpath("//script | //img")
