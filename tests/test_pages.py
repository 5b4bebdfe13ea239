"""The built site, as a reader meets it: links, alt texts, formulas, phones, no network."""

import contextlib
import functools
import html.parser
import http.server
import re
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dltlib import book

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
SHORTEST_ALT = 30
PLACEHOLDERS = re.compile(r"\{(numref|glue|cite|doc|ref|term|eq)[^}\s]*\}|\bnan\b|\?\?\?")
RAW_MATH = re.compile(r"\$[^$\n]{1,80}\$|\\\(|\\\[")


class _Page(html.parser.HTMLParser):
    """What a checker wants of a page: its anchors, its links, its pictures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, str]] = []  # (tag, address)
        self.pictures: list[dict[str, str | None]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        for name in ("id", "name"):
            if attributes.get(name) and tag != "meta":
                self.anchors.add(str(attributes[name]))
        for name in ("href", "src"):
            if attributes.get(name) is not None:
                self.links.append((tag, str(attributes[name])))
        if tag == "img":
            self.pictures.append(attributes)


def _read(site: Path) -> dict[Path, _Page]:
    return {
        path: _Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts
    }


def broken_links(site: Path) -> list[str]:
    """Addresses in the pages of `site` that lead to no file or anchor, or load from elsewhere."""
    pages = _read(site)
    found = []
    for path, page in pages.items():
        for tag, address in page.links:
            parts = urllib.parse.urlsplit(address)
            if parts.scheme in ("mailto", "data", "javascript"):
                continue
            if parts.scheme or parts.netloc:
                if tag != "a":  # a reader may follow a link; a page may not load from there
                    found.append(f"{path.relative_to(site)}: <{tag}> loads {address}")
                continue
            target = path if not parts.path else path.parent / urllib.parse.unquote(parts.path)
            target = target.resolve()
            if target.is_dir():
                target /= "index.html"
            if not target.is_relative_to(site.resolve()) or not target.exists():
                found.append(f"{path.relative_to(site)}: no file for {address}")
            elif "=" in parts.fragment:  # what a page to play with is to show: no anchor
                continue
            elif parts.fragment and target in pages:
                anchor = urllib.parse.unquote(parts.fragment)
                if anchor not in pages[target].anchors:
                    found.append(f"{path.relative_to(site)}: no anchor for {address}")
    return found


def poor_alt_texts(site: Path) -> list[str]:
    """Pictures of `site` without an alt text that says what they show."""
    found = []
    for path, page in _read(site).items():
        for picture in page.pictures:
            source, alt = picture.get("src") or "", (picture.get("alt") or "").strip()
            # Below _images lies what chapters show; the rest belongs to the theme.
            wanted = SHORTEST_ALT if "_images" in source else 5
            if len(alt) < wanted or Path(source).stem in alt:
                found.append(f"{path.relative_to(site)}: {source} has the alt text {alt!r}")
    return found


def test_every_chapter_is_executed_and_up_to_date() -> None:
    book.check()


def test_every_link_leads_somewhere(site: Path) -> None:
    assert broken_links(site) == []


def test_every_picture_has_an_alt_text(site: Path) -> None:
    assert poor_alt_texts(site) == []


def test_the_checkers_notice_what_they_look_for(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html">ok</a> <a href="b.html#here">ok</a> <a href="#up" id="up">ok</a>'
        '<a href="https://example.org">ok</a>'
        '<a href="c.html">1</a> <a href="b.html#there">2</a>'
        '<script src="//example.org/x.js"></script><img src="_images/x.png">'
        '<img src="_images/y.png" alt="y.png, which is a picture of something">'
    )
    (tmp_path / "b.html").write_text('<p id="here"></p>')
    assert broken_links(tmp_path) == [
        "a.html: no file for c.html",
        "a.html: no anchor for b.html#there",
        "a.html: <script> loads //example.org/x.js",
        "a.html: no file for _images/x.png",
        "a.html: no file for _images/y.png",
    ]
    assert len(poor_alt_texts(tmp_path)) == 2


@contextlib.contextmanager
def _served(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _faults(page: Any, address: str, origin: str) -> list[str]:
    """Open `address` and return what a reader would stumble over."""
    found: list[str] = []

    def requested(request: Any) -> None:
        if not request.url.startswith((origin, "data:", "blob:")):
            found.append(f"asks {request.url}")

    handlers = {
        "request": requested,
        "requestfailed": lambda request: found.append(f"cannot load {request.url}"),
        "response": lambda answer: (
            found.append(f"{answer.status} for {answer.url}") if answer.status >= 400 else None
        ),
        "console": lambda message: (
            found.append(f"console: {message.text}") if message.type == "error" else None
        ),
        "pageerror": lambda error: found.append(f"script: {error}"),
    }
    for event, handler in handlers.items():
        page.on(event, handler)
    page.goto(address, wait_until="load")
    page.evaluate("window.MathJax?.startup?.promise")
    for event, handler in handlers.items():
        page.remove_listener(event, handler)

    formulas, rendered = page.evaluate(
        """() => [document.querySelectorAll('.math').length,
                  document.querySelectorAll('.math mjx-container').length]"""
    )
    if formulas != rendered:
        found.append(f"{rendered} of {formulas} formulas rendered")
    if page.locator("mjx-merror").count():
        found.append("a formula has an error in it")
    # Every text of the article that is neither code nor a formula.
    text = page.evaluate(
        """() => { const article = document.querySelector('article') ?? document.body;
                   const copy = article.cloneNode(true), coded = 'pre, code, .math, script, style';
                   copy.querySelectorAll(coded).forEach(element => element.remove());
                   return copy.textContent; }"""
    )
    for pattern, complaint in ((PLACEHOLDERS, "left in the text"), (RAW_MATH, "a raw formula")):
        if match := pattern.search(text):
            found.append(f"{complaint}: {match[0]!r}")
    wide, room = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    if wide > room:
        found.append(f"{wide} pixels wide on a screen of {room}")
    blank = page.evaluate(
        """() => [...document.images].filter(i => i.loading !== 'lazy' && !i.naturalWidth)
                                     .map(i => i.src)"""
    )
    return found + [f"does not show {source}" for source in blank]


@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("scheme", ["http", "file"])
def test_pages_work_offline(site: Path, chromium: Any, scheme: str, device: str) -> None:
    width, height = WIDTHS[device]
    # index.html only leads to the first page: test_the_first_page_opens.
    pages = [path.relative_to(site).as_posix() for path in _read(site) if path.stem != "index"]
    faults = {}
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(_served(site)) if scheme == "http" else site.as_uri()
        context = chromium.new_context(viewport={"width": width, "height": height})
        stack.callback(context.close)
        for name in pages:
            page = context.new_page()
            found = _faults(page, f"{origin}/{name}", origin)
            page.close()
            if found:
                faults[name] = found
    assert faults == {}


def test_the_browser_checks_notice_what_they_look_for(tmp_path: Path, chromium: Any) -> None:
    (tmp_path / "a.html").write_text(
        '<article><span class="math">\\(x\\)</span> $y$ {numref}`x` '
        '<div style="width: 3000px">wide</div><img src="missing.png">'
        '<script src="https://example.invalid/x.js"></script></article>'
    )
    with _served(tmp_path) as origin, contextlib.closing(chromium.new_page()) as page:
        found = "\n".join(_faults(page, f"{origin}/a.html", origin))
    for complaint in (
        "asks https://example.invalid/x.js",
        "404 for",
        "0 of 1 formulas",
        "left in the text",
        "a raw formula: '$y$'",
        "pixels wide",
        "does not show",
    ):
        assert complaint in found


def test_the_first_page_opens(site: Path, chromium: Any) -> None:
    with contextlib.closing(chromium.new_page()) as page:
        page.goto((site / "index.html").as_uri())
        page.wait_for_url("**/intro.html")
        assert "lottery tickets" in page.locator("article h1").inner_text()


def test_search_finds_a_word_of_the_introduction(site: Path, chromium: Any) -> None:
    with contextlib.closing(chromium.new_page()) as page:
        page.goto(f"{site.as_uri()}/search.html?q=lottery")
        page.wait_for_selector("#search-results li a", timeout=10_000)
        assert "intro.html" in page.locator("#search-results li a").first.get_attribute("href")
