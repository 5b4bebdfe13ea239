"""The built site, as a reader meets it: on a phone, a desk, in the dark, on paper; by eye,
by keyboard, by a screen reader; without a network.

``axe/`` holds axe-core (Deque Systems, MPL 2.0), which looks for what keeps people out.
"""

import contextlib
import dataclasses
import functools
import html.parser
import http.server
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dltlib import book

# How a page is opened: the browser's size and mode.
DEVICES: dict[str, dict[str, Any]] = {
    "phone": {"viewport": {"width": 360, "height": 780}, "color_scheme": "dark"},
    "tablet": {
        "viewport": {"width": 768, "height": 1024},
        "color_scheme": "light",
        "reduced_motion": "reduce",
    },
    "desk": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "laptop": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
}
SERVED = "laptop"  # by a server on this machine; the others open files
AXE = Path(__file__).with_name("axe") / "axe.min.js"
SOON = 3_000  # milliseconds to a page that can be used
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
        self.headings: list[int] = []  # of the article, by their level
        self._in_article = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._in_article |= tag == "article"
        if self._in_article and re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        for name in ("id", "name"):
            if attributes.get(name) and tag != "meta":
                self.anchors.add(str(attributes[name]))
        for name in ("href", "src"):
            if attributes.get(name) is not None:
                self.links.append((tag, str(attributes[name])))
        if tag == "img":
            self.pictures.append(attributes)

    def handle_endtag(self, tag: str) -> None:
        self._in_article &= tag != "article"


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
            # There lies what chapters show; the rest belongs to the theme.
            wanted = SHORTEST_ALT if "_images" in source or "_figures" in source else 5
            if len(alt) < wanted or Path(source).stem in alt:
                found.append(f"{path.relative_to(site)}: {source} has the alt text {alt!r}")
    return found


def disordered_headings(site: Path) -> list[str]:
    """Pages of `site` whose article has not one heading of the first level, or skips a level."""
    found = []
    for path, page in _read(site).items():
        levels = page.headings
        steps = zip(levels, levels[1:], strict=False)
        if levels and (levels.count(1) != 1 or levels[0] != 1 or any(b > a + 1 for a, b in steps)):
            found.append(f"{path.relative_to(site)}: {levels}")
    return found


def test_every_chapter_is_executed_and_up_to_date() -> None:
    book.check()


def test_every_link_leads_somewhere(site: Path) -> None:
    assert broken_links(site) == []


def test_every_picture_has_an_alt_text(site: Path) -> None:
    assert poor_alt_texts(site) == []


def test_headings_are_in_order(site: Path) -> None:
    assert disordered_headings(site) == []


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
    (tmp_path / "b.html").write_text("<article><h1>a</h1><h3>b</h3></article><h1>c</h1>")
    assert disordered_headings(tmp_path) == ["b.html: [1, 3]"]


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
    # Every text of the article that is neither code nor a formula, nor a row of question marks.
    text = page.evaluate(
        """() => { const article = document.querySelector('article') ?? document.body;
                   const coded = 'pre, code, .math, script, style, .landing-tally';
                   const copy = article.cloneNode(true);
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


def _names(site: Path) -> list[str]:
    """Every page; index.html only leads to the first: test_the_first_page_opens."""
    return [path.relative_to(site).as_posix() for path in _read(site) if path.stem != "index"]


_HARMS = """async () => (await axe.run(
    // The theme's picture fonts are taken for text that the button's name should have.
    { exclude: [[".theme-switch-button"]] },
    { resultTypes: ["violations"] },
)).violations.filter((one) => ["serious", "critical"].includes(one.impact))
  .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`)"""


@dataclasses.dataclass
class _Look:
    """What is amiss in a page that was opened once, by what was asked; and how soon it was there.

    Opening a page is what takes long, so that all questions are put to one that is open.
    """

    faults: list[str]
    milliseconds: float
    harms: list[str]
    moves: list[str]
    wide_tables: list[tuple[str, int, int]]
    on_paper: list[str]


def _loaded_after(page: Any) -> float:
    return page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")


def _moves(page: Any) -> list[str]:
    running = page.evaluate("document.getAnimations().length")
    smooth = page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "smooth"
    return [f"{running} animations"] * bool(running) + ["smooth scrolling"] * smooth


def _harms(page: Any) -> list[str]:
    page.add_script_tag(path=AXE)
    return page.evaluate(_HARMS)


def _wide_tables(page: Any) -> list[tuple[str, int, int]]:
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    return page.evaluate(
        """() => [...document.querySelectorAll('.table-region')]
            .filter((one) => one.scrollWidth > one.clientWidth)
            .map((one) => [one.ariaLabel, one.scrollWidth, one.clientWidth])"""
    )


def _on_paper(page: Any) -> list[str]:
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1047})  # A4 less its margins
    wide = page.evaluate("document.documentElement.scrollWidth")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = page.locator("img.only-dark:visible").count()
    found = [f"{wide} pixels wide"] * (wide > 718)
    found += [f"on {paper}"] * (paper not in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"))
    return found + [f"{dark} figures for the dark"] * bool(dark)


def _look(page: Any, address: str, origin: str, device: str) -> _Look:
    return _Look(
        faults=_faults(page, address, origin),
        milliseconds=_loaded_after(page),
        moves=_moves(page) if "reduced_motion" in DEVICES[device] else [],
        harms=_harms(page) if device in ("phone", "laptop") else [],
        wide_tables=_wide_tables(page) if device == "laptop" else [],
        on_paper=_on_paper(page),
    )


Looks = Callable[[str], dict[str, _Look]]


@pytest.fixture(scope="module")
def looks(site: Path, chromium: Any) -> Looks:
    """Every page as it is on a device, by its name; opened when first asked for."""

    @functools.cache
    def on(device: str) -> dict[str, _Look]:
        found = {}
        with contextlib.ExitStack() as stack:
            served = device == SERVED
            origin = stack.enter_context(_served(site)) if served else site.as_uri()
            context = stack.enter_context(
                contextlib.closing(chromium.new_context(**DEVICES[device]))
            )
            for name in _names(site):
                with contextlib.closing(context.new_page()) as page:
                    found[name] = _look(page, f"{origin}/{name}", origin, device)
        return found

    return on


def _amiss(looks: dict[str, _Look], what: str) -> dict[str, Any]:
    return {name: found for name, look in looks.items() if (found := getattr(look, what))}


@pytest.mark.parametrize("device", DEVICES)
def test_pages_work_offline(looks: Looks, device: str) -> None:
    assert _amiss(looks(device), "faults") == {}


@pytest.mark.parametrize("device", DEVICES)
def test_pages_print(looks: Looks, device: str) -> None:
    """On paper: black on white whatever the screen was, nothing wider than the page."""
    assert _amiss(looks(device), "on_paper") == {}


@pytest.mark.parametrize("device", ["phone", "laptop"])
def test_nobody_is_kept_out(looks: Looks, device: str) -> None:
    assert _amiss(looks(device), "harms") == {}


def test_nothing_moves_for_those_who_ask_for_it(looks: Looks) -> None:
    assert _amiss(looks("tablet"), "moves") == {}


def test_tables_fit_a_laptop(looks: Looks) -> None:
    assert _amiss(looks("laptop"), "wide_tables") == {}


def test_pages_are_soon_ready(looks: Looks, site: Path, chromium: Any) -> None:
    """The better of two looks: other work on the machine is no fault of the page."""
    slow = {}
    for name, look in looks("laptop").items():
        times = [look.milliseconds]
        if look.milliseconds >= SOON:
            with contextlib.closing(chromium.new_page(**DEVICES["laptop"])) as page:
                page.goto(f"{site.as_uri()}/{name}", wait_until="load")
                times.append(_loaded_after(page))
        if min(times) >= SOON:
            slow[name] = times
    assert slow == {}


def test_the_accessibility_check_notices_what_it_looks_for(chromium: Any) -> None:
    with contextlib.closing(chromium.new_page()) as page:
        page.set_content('<html lang="en"><title>x</title><img src="data:,"><button></button>')
        found = " ".join(_harms(page))
    assert "image-alt" in found
    assert "button-name" in found


def test_the_checks_of_motion_tables_and_paper_notice_what_they_look_for(chromium: Any) -> None:
    with contextlib.closing(chromium.new_page()) as page:
        page.set_content(
            "<style>html { scroll-behavior: smooth } body { background: #111 }"
            "@keyframes turn { to { rotate: 1turn } } p { animation: turn 9s infinite }</style>"
            '<p>turns</p><img class="only-dark" alt="" width="9" height="9">'
            '<details><div class="table-region" aria-label="wide" style="width: 90px;'
            ' overflow: auto"><div style="width: 3000px">wide</div></div></details>'
        )
        assert _moves(page) == ["1 animations", "smooth scrolling"]
        assert _wide_tables(page) == [["wide", 3000, 90]]
        page.add_style_tag(content="details { width: 2000px }")
        assert _on_paper(page) == [
            "2008 pixels wide", "on rgb(17, 17, 17)", "1 figures for the dark"
        ]  # fmt: skip


# --- figures and tables ---------------------------------------------------------------------------


def _with(site: Path, pattern: str) -> list[str]:
    """Names of the pages in which a pattern is found."""
    return [name for name in _names(site) if re.search(pattern, (site / name).read_text())]


def test_every_figure_hands_over_its_forms(site: Path) -> None:
    shown = 0
    for name in _with(site, 'class="figure-picture"'):
        text = (site / name).read_text()
        figures = re.findall(r'class="figure-picture" href="[./]*_figures/([\w-]+)\.svg"', text)
        for figure in figures:
            shown += 1
            files = {kind: site / "_figures" / f"{figure}.{kind}" for kind in ("svg", "csv", "txt")}
            assert all(path.stat().st_size for path in files.values())
            assert len(files["csv"].read_text().splitlines()) > 1
            code = files["txt"].read_text()
            assert code.startswith("# At commit ")
            assert "def " in code
            assert f'name="{figure}"' in code
    assert shown >= 10


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_figure_fits_the_mode_and_is_enlarged(site: Path, chromium: Any, mode: str) -> None:
    (name, *_) = _with(site, 'class="figure-picture"')
    other = {"light": "dark", "dark": "light"}[mode]
    device = DEVICES["phone"] | {"color_scheme": mode}
    with contextlib.closing(chromium.new_context(**device)) as context:
        page = context.new_page()
        page.goto(f"{site.as_uri()}/{name}", wait_until="load")
        figure = page.locator("figure:has(.figure-picture)").first
        assert figure.locator(f"img.only-{mode}").is_visible()
        assert figure.locator(f"img.only-{other}").is_hidden()
        image = figure.locator(f"img.only-{mode}")
        image.scroll_into_view_if_needed()  # it is loaded when it is near
        narrow = f"-narrow{'-dark' * (mode == 'dark')}.svg"
        page.wait_for_function(
            "([image, end]) => image.currentSrc.endsWith(end)",
            arg=[image.element_handle(), narrow],
        )
        # By a tap on the picture, and closed by the key that closes windows.
        figure.locator(".figure-picture").click()
        window = page.locator("dialog.figure-window")
        picture = window.locator(f"img.only-{mode}")
        assert picture.bounding_box()["width"] > 2 * device["viewport"]["width"]
        page.keyboard.press("Escape")
        assert window.is_hidden()
        # By keyboard alone.
        figure.locator(".figure-larger").focus()
        page.keyboard.press("Enter")
        assert window.is_visible()
        window.get_by_role("button", name="Close").click()
        assert window.is_hidden()


@pytest.mark.parametrize("width", [390, 900, 1440])
def test_menus_open(site: Path, chromium: Any, width: int) -> None:
    """The buttons that are seen do what they say: the theme's script listens to hidden ones."""
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto((site / "book" / "criteria.html").as_uri())
    page.wait_for_timeout(300)
    tried = 0
    for kind in ("primary", "secondary"):
        for button in page.query_selector_all(f".{kind}-toggle"):
            if not button.is_visible():
                continue
            sidebar = page.locator(f"#pst-{kind}-sidebar")
            before = sidebar.is_visible()
            button.click()
            page.wait_for_timeout(600)
            opened = page.locator(f"#pst-{kind}-sidebar-modal[open]").count() > 0
            assert opened or sidebar.is_visible() != before
            tried += 1
            page.keyboard.press("Escape")
            page.wait_for_timeout(300)
    assert tried
    page.close()


def test_a_link_into_a_fold_opens_it(site: Path, chromium: Any) -> None:
    page = chromium.new_page()
    page.goto((site / "book" / "scorecard.html").as_uri() + "#criteria-3")
    page.wait_for_timeout(300)
    assert page.evaluate("document.getElementById('criteria-3').closest('details').open")
    page.close()


def test_a_table_that_goes_on_shows_it_and_keeps_its_first_column(
    site: Path, chromium: Any
) -> None:
    with contextlib.closing(chromium.new_context(**DEVICES["phone"])) as context:
        page = context.new_page()
        page.goto(f"{site.as_uri()}/book/criteria.html", wait_until="load")
        region = page.locator(".table-region.goes-on").first
        first = region.locator("tbody th").first
        before = first.bounding_box()["x"]
        region.evaluate("(one) => { one.scrollLeft = 60; }")
        assert first.bounding_box()["x"] == pytest.approx(before, abs=1)
        region.evaluate("(one) => { one.scrollLeft = one.scrollWidth; }")
        page.wait_for_function(
            "() => !document.querySelector('.table-region').classList.contains('goes-on')"
        )


@pytest.mark.parametrize("device", ["phone", "laptop"])
def test_a_row_of_words_is_a_block_on_a_phone(site: Path, chromium: Any, device: str) -> None:
    """Nothing of it is beyond the edge, and each cell says what it is; a laptop shows a table."""
    with contextlib.closing(chromium.new_context(**DEVICES[device])) as context:
        page = context.new_page()
        page.goto(f"{site.as_uri()}/book/criteria.html", wait_until="load")
        table = page.locator("table", has=page.locator("thead th", has_text="threshold")).first
        region = page.locator(".table-region", has=table)
        row = table.locator("tbody tr").first
        assert region.evaluate("(one) => one.scrollWidth <= one.clientWidth")
        said = row.inner_text()
        on_a_phone = device == "phone"
        assert table.locator("thead").is_visible() != on_a_phone
        for name in ("claim: ", "effect: ", "threshold: ", "verdict: "):
            assert (name in said) == on_a_phone


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


def test_search_puts_chapters_before_the_reference(site: Path, chromium: Any) -> None:
    with contextlib.closing(chromium.new_page()) as page:
        page.goto(f"{site.as_uri()}/search.html?q=supermask")
        page.wait_for_selector("#search-results li a", timeout=10_000)
        page.wait_for_timeout(1_000)  # results come one after the other
        links = page.locator("#search-results li > a")
        found = [links.nth(n).get_attribute("href") for n in range(links.count())]
        of_chapters = [n for n, link in enumerate(found) if "/supermasks.html" in link]
        of_reference = [n for n, link in enumerate(found) if "/api.html" in link]
        assert of_reference
        assert max(of_chapters) < min(of_reference)
