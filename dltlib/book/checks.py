"""Why a chapter's notebook cannot be trusted, if it cannot."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dltlib.book.sources import (
    METADATA_KEY,
    chapters,
    code_cells,
    digest,
    fingerprint,
    notebook_path,
    root_of,
    select,
    tidy_metadata,
    written_notebook,
)
from dltlib.errors import UserError


def check(names: Sequence[str] | None = None, *, root: Path | None = None) -> None:
    """Raise `UserError` with one line for each reason why a notebook cannot be trusted."""
    root = root_of(root)
    found = [line for name in select(root, names) for line in problems(name, root)]
    if found:
        found.append("run `dltlib book` (or `make book`) to bring them up to date")
        raise UserError("\n".join(found))


def behind(names: Sequence[str], root: Path | None = None) -> list[str]:
    """The chapters that are not up to date, besides ``names``."""
    root = root_of(root)
    return [name for name in chapters(root) if name not in names and problems(name, root)]


def problems(name: str, root: Path | None = None) -> list[str]:
    """What is wrong with the executed notebook of chapter `name`, one line for each thing."""
    import nbformat

    root = root_of(root)
    found = execution_problems(root, name)
    if found:
        return found
    notebook = nbformat.read(notebook_path(root, name), as_version=4)
    if not same_cells(notebook, written_notebook(root, name)):
        found.append(
            f"chapter {name}: its notebook says other things than its text: "
            f"'dltlib book {name}' brings it up to date, and executes it if its code changed"
        )
    return found + output_problems(root, name, notebook)


def execution_problems(root: Path, name: str) -> list[str]:
    """Reasons to execute the chapter (again)."""
    import nbformat

    path = notebook_path(root, name)
    if not path.exists():
        return [f"chapter {name}: never executed"]
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises many kinds for a file that is no notebook
        return [f"chapter {name}: {path.name} is damaged ({type(error).__name__})"]
    code = code_cells(notebook)
    missing = [number for number, cell in enumerate(code, 1) if cell.execution_count is None]
    if missing:
        return [f"chapter {name}: not executed: code cells {', '.join(map(str, missing))}"]
    for number, cell in enumerate(code, 1):
        for output in cell.outputs:
            if output.output_type == "error":
                return [f"chapter {name}: failed: code cell {number} raised {output.ename}"]
    stored = notebook.metadata.get(METADATA_KEY)
    if stored is None:
        return [f"chapter {name}: stale: nothing says what its notebook was made from"]
    # The code is compared as it stands in the notebook too: somebody may have edited that.
    shown = digest(cell.source for cell in code)
    current = fingerprint(name, root)
    changed = [kind for kind, value in current.items() if stored.get(kind) != value]
    if shown != current["code"] and "code" not in changed:
        changed.append("code")
    return [f"chapter {name}: stale: its {', '.join(changed)} changed"] if changed else []


def same_cells(notebook: Any, written: Any) -> bool:
    """Whether two notebooks say the same, but for what JupyterLab adds when it saves one."""

    def said(book: Any) -> list[Any]:
        return [
            (cell.cell_type, cell.source, dict(tidy_metadata(cell.metadata))) for cell in book.cells
        ]

    return said(notebook) == said(written)


def output_problems(root: Path, name: str, notebook: Any) -> list[str]:
    """Outputs that no page should show, or that no other run would give."""
    found = []
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            found += [
                f"chapter {name}: cell {number} ({first_line(cell.source)!r}) {complaint}"
                for complaint in _complaints(root, output)
            ]
    return found


def _complaints(root: Path, output: Any) -> Iterator[str]:
    if output.output_type == "stream" and output.name == "stderr":
        yield f"writes to stderr, as progress bars and warnings do: {first_line(output.text)!r}"
    texts = [output.text] if output.output_type == "stream" else []
    for kind, value in output.get("data", {}).items():
        if kind.startswith("image/"):
            if not output.metadata.get(kind, {}).get("alt"):
                yield "shows a picture without alt text: use dltlib.page.show"
        elif isinstance(value, str):
            texts.append(value)
            if kind.startswith("application/papermill.record") and value in ("nan", "inf", "-inf"):
                yield f"glues {value}"
    for text in texts:
        if re.search(r"\b0x[0-9a-f]{6,}", text):
            yield "prints a memory address, another one in every run"
        if str(root) in text or str(Path.home()) + os.sep in text:
            yield "prints a path of this machine"


def first_line(source: str) -> str:
    """The first line that says something: what a cell is called in a message."""
    lines = [line.strip() for line in source.splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), "empty")
