"""The book as one PDF: links between its pages stay inside it, and the site leads to it."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from dltlib import paths

sys.path.insert(0, str(paths.REPOSITORY / "tools"))

import make_pdf

HEAD = '<html lang="en"><head><title>Book</title><script>theme()</script></head><body>'
ONE = (
    '<div class="landing-buttons docutils"><p><a href="two.html">Read</a></p></div>'
    '<h1 id="a">One</h1><a href="two.html#b">two</a><a href="#a">up</a>'
    '<a href="https://example.org/x.html#y">out</a><script>play()</script>'
)
TWO = '<h1 id="b">Two</h1><p>text</p>'
GAME = '<h1>Game</h1><div class="dlt-app dlt-wide"></div>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of two pages and one that is played with."""
    (tmp_path / "book").mkdir()
    for name, text in (("one", ONE), ("two", TWO), ("game", GAME)):
        page = f'{HEAD}<article class="bd-article">{text}</article></body></html>'
        (tmp_path / "book" / f"{name}.html").write_text(page)
    return tmp_path


def test_links_lead_into_the_document(site: Path) -> None:
    whole = make_pdf.document(site, ["one", "two", "game"])
    anchors = set(re.findall(r'\bid="([^"]+)"', whole))
    inside = re.findall(r'href="#([^"]*)"', whole)
    assert set(inside) == {"two", "two--b", "one--a"}
    assert set(inside) <= anchors
    assert 'href="https://example.org/x.html#y"' in whole
    assert "play()" not in whole
    assert "theme()" not in whole
    assert "Game" not in whole
    assert "Only on the screen: game." in whole


def test_the_first_page_leads_to_it_once(site: Path) -> None:
    first = site / "book" / "one.html"
    make_pdf.link_from(first)
    make_pdf.link_from(first)
    assert first.read_text().count(f'href="../{make_pdf.NAME}"') == 1
    with pytest.raises(ValueError, match="no buttons"):
        make_pdf.link_from(site / "book" / "two.html")


def test_the_books_first_page_has_the_buttons() -> None:
    assert "{div} landing-buttons" in (paths.book() / "intro.md").read_text()


def test_a_pdf_is_printed_with_an_outline(site: Path, chromium: Any) -> None:
    target = site / "book.pdf"
    make_pdf.make(chromium, site, ["one", "two"], target)
    content = target.read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) == 2  # every article begins a page
    assert b"/Outlines" in content
    assert sorted(path.name for path in (site / "book").iterdir()) == [
        "game.html",
        "one.html",
        "two.html",
    ]
