"""From chapters to a site: execute the notebooks, check them, build the pages.

A chapter is ``book/NAME.py`` (jupytext's py:percent, what is written) and ``book/NAME.ipynb``
(executed, committed, what came out); ``_toc.yml`` lists the latter. Three steps, each of which
does nothing where nothing changed:

`execute`  runs the chapters whose inputs changed, by papermill, and keeps a notebook whole or not;
`check`    says of every chapter why its notebook cannot be trusted, if it cannot;
`build`    lets Jupyter Book turn the notebooks into ``_build/html``; a warning is an error.

The inputs of a chapter are the code of its cells, the modules of `dltlib` (save those that decide
no output), and the records that it reads; hashes of the three lie in the notebook's metadata. Prose
is no input: a change to it is copied into the notebook without execution. A chapter names its
records by patterns in its header, ``dltlib: {records: ["criteria-*"]}``, or reads them all; while
it is executed it is given only those, so that a forgotten name is noticed at once, and not when a
record has changed.

Nothing is imported here before it is needed, so that ``dltlib --help`` stays quick.
"""

from pathlib import Path
from typing import Any

from dltlib import executions
from dltlib.book.checks import behind, check, problems
from dltlib.book.command import add_arguments, main
from dltlib.book.execution import execute
from dltlib.book.site import build
from dltlib.book.sources import chapters, executed_with, fingerprint, pages


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx know the directive ``executions``: the table of how the chapters were executed."""
    from sphinx.util.docutils import SphinxDirective

    class Executions(SphinxDirective):
        def run(self) -> list[Any]:
            root = Path(app.srcdir)
            made = {name: executed_with(name, root) for name in chapters(root)}
            return list(self.parse_text_to_nodes(executions.table(root, made)))

    app.add_directive("executions", Executions)
    return {"parallel_read_safe": True}
