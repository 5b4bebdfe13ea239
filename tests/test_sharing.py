"""What pages say of themselves, with an address and without."""

import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from docutils.core import publish_doctree
from PIL import Image

from dltlib import sharing

WORDS = "A paragraph that says at some length what the page is about, and goes on. "


def test_the_first_paragraph_of_some_length_describes_a_page() -> None:
    tree = publish_doctree(f"Title\n=====\n\nShort.\n\n{WORDS * 5}\n\nAnother one.")
    about = sharing.description(tree)
    assert about.startswith(WORDS.strip()[:40])
    assert sharing.SHORTEST <= len(about) <= sharing.LONGEST
    assert about.endswith(" …")
    assert sharing.description(publish_doctree("Short.")) == ""


def test_an_address_is_needed_for_a_card() -> None:
    without = sharing.tags('A "title"', "About <it>", "", None)
    assert 'content="A &quot;title&quot;"' in without
    assert "og:image" not in without
    assert "og:url" not in without
    given = sharing.tags("A", "B", "https://x.github.io/y/a.html", "https://x.github.io/y/a.png")
    assert '<meta property="og:image" content="https://x.github.io/y/a.png" />' in given
    assert "summary_large_image" in given


def test_the_address_is_that_of_github_pages(tmp_path: Path) -> None:
    assert sharing.site_address(tmp_path) is None
    project = '[project]\nname = "x"\n[project.urls]\nRepository = "https://github.com/Me/book"\n'
    (tmp_path / "pyproject.toml").write_text(project)
    assert sharing.site_address(tmp_path) == "https://me.github.io/book/"
    own = project.replace("Me/book", "Me/me.github.io")  # which is served at the root
    (tmp_path / "pyproject.toml").write_text(own)
    assert sharing.site_address(tmp_path) == "https://me.github.io/"


def test_a_card_is_as_large_as_those_who_show_it_ask_for() -> None:
    content = sharing.card("A title that needs more than one line of a card", WORDS * 2)
    assert Image.open(io.BytesIO(content)).size == (1200, 630)
    assert content == sharing.card("A title that needs more than one line of a card", WORDS * 2)


def test_the_map_names_every_page() -> None:
    root = ElementTree.fromstring(
        sharing.site_map("https://x.github.io/y/", ["a.html", "b.html"]).encode()
    )
    places = [place.text for place in root.iter() if place.tag.endswith("loc")]
    assert places == ["https://x.github.io/y/a.html", "https://x.github.io/y/b.html"]


@pytest.mark.parametrize("link", re.findall(r'href="([^"]+)"', sharing.NOT_FOUND))
def test_links_of_the_page_for_what_is_not_found_are_the_sites(link: str, site: Path) -> None:
    assert (site / link).exists()


def test_every_page_describes_itself(site: Path) -> None:
    for path in sorted((site / "book").glob("*.html")):
        found = re.search(r'<meta name="description" content="([^"]*)"', path.read_text())
        assert found, path.name
        assert len(found[1]) >= sharing.SHORTEST, path.name
    assert "There is no such page" in (site / "404.html").read_text()
