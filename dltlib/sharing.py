"""What a page says of itself to those who link to it: a Sphinx extension of the book.

Every page gets a description, its first paragraph of some length. Where the site's address is known
(`dltlib.elsewhere.repository`) it also gets a card, the picture that a link to it is shown with,
and the site a map for search engines: both need whole addresses. ``404.html`` is what GitHub Pages
shows for an address that leads nowhere.
"""

import html
import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltlib import elsewhere

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

LONGEST, SHORTEST = 200, 60
"""Characters of a description: more are cut by those who show it, less say nothing."""
NOT_FOUND = """\
<h1>There is no such page</h1>
<p>The address leads nowhere: a page may have been moved or renamed. The menu has all that there
are, <a href="book/intro.html">the first page</a> says what was found, and
<a href="search.html">the search</a> knows every word.</p>
"""


def setup(app: "Sphinx") -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("html-page-context", _describe)
    app.connect("html-collect-pages", _not_found)
    app.connect("build-finished", _map)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def site_address(root: Path) -> str | None:
    """Where GitHub Pages puts the site of the repository, or None as long as that is unknown."""
    repository = elsewhere.repository(root)
    if repository is None:
        return None
    owner, name = repository.split("/")[-2:]
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def description(doctree: "nodes.document") -> str:
    """The first paragraph of some length, as one line of plain text, cut between words."""
    from docutils import nodes

    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) >= SHORTEST:
            return textwrap.shorten(text, LONGEST, placeholder=" …")
    return ""


def tags(title: str, about: str, page: str, card: str | None) -> str:
    """Elements for a page's head. ``card`` is the picture's address, ``page`` the page's own."""
    properties = {"og:type": "article", "og:title": title, "og:description": about}
    if card:
        properties |= {"og:url": page, "og:image": card}
    lines = [f'<meta name="description" content="{html.escape(about, quote=True)}" />']
    lines += [
        f'<meta property="{name}" content="{html.escape(value, quote=True)}" />'
        for name, value in properties.items()
    ]
    if card:
        lines.append('<meta name="twitter:card" content="summary_large_image" />')
    return "\n".join(lines)


def card(title: str, about: str) -> bytes:
    """A PNG of 1200 x 630 pixels with a page's title and what it is about."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.3), dpi=100, facecolor="#14181e")
    pale, blue = "#eef2f6", "#7fb8e0"
    figure.text(0.06, 0.86, "Deconstructing lottery tickets", size=22, color=blue)
    heading = textwrap.fill(title, 30)
    figure.text(0.06, 0.76, heading, size=44, color=pale, weight="bold", va="top", parse_math=False)
    body = textwrap.fill(about, 62)
    figure.text(0.06, 0.1, body, size=22, color=pale, va="bottom", parse_math=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def site_map(address: str, pages: list[str]) -> str:
    """The addresses of all pages, as search engines read them."""
    places = "".join(f"<url><loc>{html.escape(address + page)}</loc></url>\n" for page in pages)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{places}</urlset>\n'
    )


# --- Sphinx --------------------------------------------------------------------------------------


def _describe(
    app: "Sphinx", name: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    address = site_address(Path(app.srcdir))
    before = context.get("metatags") or ""
    if name == "404" and address:  # shown at any address, from which nothing relative is found
        context["metatags"] = f'{before}\n<base href="{address}" />'
    if doctree is None:
        return
    from docutils import nodes

    title = next((node.astext() for node in doctree.findall(nodes.title)), app.config.project)
    about = description(doctree)
    picture = None
    if address:
        file = Path(app.outdir) / "_cards" / f"{name.replace('/', '-')}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(card(title, about))
        picture = f"{address}_cards/{file.name}"
    own = f"{address}{name}.html" if address else ""
    context["metatags"] = f"{before}\n{tags(title, about, own, picture)}"


def _not_found(app: "Sphinx") -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "404", {"title": "There is no such page", "body": NOT_FOUND}, "page.html"


def _map(app: "Sphinx", failed: Exception | None) -> None:
    address = site_address(Path(app.srcdir))
    if address and not failed:
        pages = [f"{name}.html" for name in sorted(app.env.found_docs)]
        text = site_map(address, pages)
        (Path(app.outdir) / "sitemap.xml").write_text(text, encoding="utf-8")
