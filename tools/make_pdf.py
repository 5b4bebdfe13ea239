"""Print the built book as one PDF: make pdf. Needs Chromium.

The articles of all pages, in the book's order, become one document, so that links between chapters
work on paper too (on a screen, that is); code is hidden, figures are vectors, and the headings make
the PDF's outline. Pages that are played with are left out, with a word. The PDF goes to _build and
into the site, whose first page then links to it.
"""

import html
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import browser  # noqa: E402

from dltlib import book  # noqa: E402

NAME = "deconstructing-lottery-tickets.pdf"
LINK = '<a class="landing-pdf" href="../{name}">The book as PDF</a>'
_BUTTONS = re.compile(r'(<div class="landing-buttons[^>]*>\s*<p>.*?)(</p>)', re.DOTALL)
_STYLE = """
.cell_input, details.hide, .cell_output .stream, .headerlink, .figure-forms, .dlt-app {
  display: none !important;
}
article.bd-article { break-before: page; padding: 0; }
article.bd-article:first-of-type { break-before: auto; }
body { font-size: 10.5pt; background: #fff; }
img { max-width: 100%; height: auto; }
.table-region { overflow: visible !important; font-size: 0.8rem; }
.book-table :is(td, th) { min-width: 0 !important; }
"""


def article(page: str, text: str) -> str:
    """A page's article, its anchors and its links to other pages made fit for one document."""
    found = re.search(r'<article class="bd-article".*?</article>', text, re.DOTALL)
    if found is None:
        raise ValueError(f"{page} has no article")
    said = re.sub(r"<script.*?</script>|<link [^>]*>", "", found[0], flags=re.DOTALL)
    said = re.sub(r'\bid="([^"]+)"', rf'id="{page}--\1"', said)

    def target(link: re.Match[str]) -> str:
        other, anchor = link[1] or page, link[2]
        return f'href="#{other}--{anchor}"' if anchor else f'href="#{other}"'

    said = re.sub(r'href="(?:([\w-]+)\.html)?(?:#([^"]*))?"', target, said)
    return said.replace("<article ", f'<article id="{page}" ', 1)


def document(site: Path, pages: list[str]) -> str:
    """All pages as one, in the head of the first, which knows the style sheets and MathJax."""
    texts = {page: (site / "book" / f"{page}.html").read_text(encoding="utf-8") for page in pages}
    printed = {page: text for page, text in texts.items() if "dlt-wide" not in text}
    # A page with formulas has MathJax in its head.
    head = next((text for text in printed.values() if "tex-chtml.js" in text), texts[pages[0]])
    head = head[: head.index("</head>")].replace("<html ", '<html data-theme="light" ', 1)
    # Of the scripts only MathJax's: the theme's would choose the mode anew.
    head = re.sub(
        r"<script(?![^>]*tex-chtml)(?:(?!MathJax).)*?</script>", "", head, flags=re.DOTALL
    )
    left_out = ", ".join(page for page in pages if page not in printed)
    note = f"<p>Only on the screen: {html.escape(left_out)}.</p>" if left_out else ""
    body = "".join(article(page, text) for page, text in printed.items())
    return f"{head}<style>{_STYLE}</style></head><body>{body}{note}</body></html>"


def link_from(first: Path) -> None:
    """Let the first page lead to the PDF, once."""
    text = first.read_text(encoding="utf-8")
    link = LINK.format(name=NAME)
    if link not in text:
        text, changed = _BUTTONS.subn(lambda match: f"{match[1]} {link}{match[2]}", text, count=1)
        if not changed:
            raise ValueError(f"{first} has no buttons to put the link beside")
        first.write_text(text, encoding="utf-8")


def make(chromium: Any, site: Path, pages: list[str], target: Path) -> None:
    """Let the running browser print ``pages`` of ``site`` to ``target``."""
    whole = site / "book" / "print.html"  # beside the pages, whose pictures and styles it uses
    whole.write_text(document(site, pages), encoding="utf-8")
    try:
        page = chromium.new_page(color_scheme="light")
        page.goto(whole.as_uri(), wait_until="load")
        page.evaluate("window.MathJax?.startup?.promise")
        # Pictures wait until they are scrolled to; on paper nobody scrolls.
        page.evaluate(
            """() => Promise.all([...document.images].map((image) => {
                image.loading = 'eager';
                return image.matches('.only-dark') || image.decode();
            }))"""
        )
        page.pdf(
            path=target,
            format="A4",
            margin=dict.fromkeys(("top", "bottom", "left", "right"), "18mm"),
            outline=True,
            tagged=True,
            print_background=True,
        )
        page.close()
    finally:
        whole.unlink()


if __name__ == "__main__":
    site = book.build().parent
    target = ROOT / "_build" / NAME
    with browser.chromium() as running:
        make(running, site, book.pages(), target)
    (site / NAME).write_bytes(target.read_bytes())
    link_from(site / "book" / "intro.html")
    print(target.relative_to(ROOT))
