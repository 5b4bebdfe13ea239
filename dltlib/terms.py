"""What a word means, where a reader points at it: a Sphinx extension.

Every link to the glossary gets the word's meaning as its title, which browsers show on hover and
screen readers can read out. No script, no request, and the same bytes each time.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

GLOSSARY = "book/glossary"


def setup(app: "Sphinx") -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-resolved", explain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def explain(app: "Sphinx", doctree: "nodes.document", name: str) -> None:
    """Give each link to a word of the glossary the word's meaning."""
    from docutils import nodes

    if GLOSSARY not in app.env.found_docs:
        return
    meanings = dict(_meanings(app.env.get_doctree(GLOSSARY)))
    for link in doctree.findall(nodes.reference):
        anchor = link.get("refid") or link.get("refuri", "").partition("#")[2]
        if anchor in meanings:
            link["reftitle"] = meanings[anchor]


def _meanings(glossary: "nodes.document") -> Iterator[tuple[str, str]]:
    """The anchor of every word, and its meaning as one line of plain text."""
    from docutils import nodes

    for item in glossary.findall(nodes.definition_list_item):
        (definition,) = item.findall(nodes.definition)
        meaning = " ".join("".join(map(_plain, definition.children)).split())
        for term in item.findall(nodes.term):
            yield from ((anchor, meaning) for anchor in term["ids"])


def _plain(node: Any) -> str:
    """A node's text, without the keys of citations."""
    from docutils import nodes

    if getattr(node, "attributes", {}).get("refdomain") == "cite":
        return ""
    if isinstance(node, nodes.Text):
        return str(node)
    return "".join(map(_plain, node.children))
