"""Chapters, and what the outputs of one depend on."""

import fnmatch
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dltlib import elsewhere, paths
from dltlib.errors import UserError

Fingerprint = dict[str, str]
"""Hashes of a chapter's inputs by kind: `code`, `library`, `records`."""

METADATA_KEY = "dltlib_execution"
_KEPT_CELL_METADATA = {"tags", "mystnb"}
# Without the interpreter's version: the notebook should not change with it.
_LANGUAGE = {
    "name": "python",
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "pygments_lexer": "ipython3",
}
# Modules that decide no output of a chapter; it may depend on any other.
_APART = (
    "book", "cli", "cluster", "elsewhere", "executions", "forecast", "interactive", "landing",
    "progress", "sharing", "terms", "verification",
)  # fmt: skip


def chapters(root: Path | None = None) -> list[str]:
    """Names of the chapters in the order of ``_toc.yml`` (pages without code are none)."""
    return [Path(page).stem for page in page_files(root_of(root)) if page.endswith(".ipynb")]


def pages(root: Path | None = None) -> list[str]:
    """Names of all pages, with code or without, in the order of ``_toc.yml``."""
    return [Path(page).stem for page in page_files(root_of(root))]


def fingerprint(name: str, root: Path | None = None) -> Fingerprint:
    """Hashes of all that the outputs of chapter `name` depend on."""
    root = root_of(root)
    notebook = written_notebook(root, name)
    return {
        "code": digest(cell.source for cell in code_cells(notebook)),
        "library": digest(text_of(path) for path in _library(root)),
        "records": digest(
            f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in records_of(root, notebook)
        ),
    }


def executed_with(name: str, root: Path | None = None) -> Fingerprint:
    """The fingerprint that chapter `name` had when its notebook was executed; empty if never."""
    path = notebook_path(root_of(root), name)
    if not path.exists():
        return {}
    stored: Fingerprint = json.loads(text_of(path))["metadata"].get(METADATA_KEY, {})
    return stored


def root_of(root: Path | None) -> Path:
    """The book's folder: this checkout, if none is named."""
    return paths.REPOSITORY if root is None else Path(root).resolve()


def text_of(path: Path) -> str:
    """What a file says, every kind of line end being one."""
    return path.read_text(encoding="utf-8")


def digest(parts: Any) -> str:
    """A hash of some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def page_files(root: Path) -> list[str]:
    """Every file that ``_toc.yml`` names, in order, relative to `root`."""
    import yaml

    toc = root / "_toc.yml"
    if not toc.exists():
        raise UserError(f"no {toc}: run this in a checkout of the book")

    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, list):
            for item in node:
                yield from walk(item)
        elif isinstance(node, dict):
            for key, value in node.items():
                if key in ("root", "file"):
                    yield str(value)
                else:
                    yield from walk(value)

    return [
        page if (root / page).suffix else f"{page}.md"
        for page in walk(yaml.safe_load(text_of(toc)))
    ]


def _source_path(root: Path, name: str) -> Path:
    return root / "book" / f"{name}.py"


def notebook_path(root: Path, name: str) -> Path:
    """Where a chapter's executed notebook is."""
    return root / "book" / f"{name}.ipynb"


def select(root: Path, names: Sequence[str] | None) -> list[str]:
    """These chapters, or all, in the book's order; `UserError` for one that it has not."""
    known = chapters(root)
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise UserError(
            f"no chapter {', '.join(unknown)}: _toc.yml names {', '.join(known) or 'none'}"
        )
    return [name for name in known if not names or name in names]


def written_notebook(root: Path, name: str) -> Any:
    """The notebook that the chapter's text describes, as it goes to papermill: without outputs."""
    import jupytext
    import nbformat

    path = _source_path(root, name)
    if not path.exists():
        raise UserError(f"chapter {name}: no {path.relative_to(root)}")
    notebook = jupytext.read(path, fmt="py:percent")
    if "kernelspec" not in notebook.metadata:
        raise UserError(
            f"chapter {name}: its header names no kernel; "
            f"run: jupytext --set-kernel python3 {path.relative_to(root)}"
        )
    declared = notebook.metadata.get("dltlib", {})
    if set(declared) - {"records"}:
        raise UserError(f"chapter {name}: unknown dltlib setting in its header; valid: records")
    notebook.metadata = type(notebook.metadata)(
        kernelspec=notebook.metadata["kernelspec"], language_info=dict(_LANGUAGE)
    )
    if declared:
        notebook.metadata["dltlib"] = declared
    for cell in notebook.cells:
        cell.metadata = tidy_metadata(cell.metadata)
    if address := elsewhere.repository(root):
        # Neither executed nor an input: the address may change, and the outputs stay.
        tags = {"tags": [elsewhere.FETCHING, "remove-cell"]}
        cell = nbformat.v4.new_code_cell(elsewhere.first_cell(address), metadata=tags)
        notebook.cells.insert(0, cell)
    name_cells(notebook)
    return notebook


def code_cells(notebook: Any) -> list[Any]:
    """The code cells of a chapter's own: not the one that fetches the library."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and elsewhere.FETCHING not in cell.metadata.get("tags", [])
    ]


def tidy_metadata(metadata: Any) -> Any:
    """A cell's metadata without what tools note; what sets parameters is taken off the page."""
    # Papermill gives every cell a list of tags, an empty one too.
    kept = {key: value for key, value in metadata.items() if key in _KEPT_CELL_METADATA and value}
    tags = list(kept.get("tags", []))
    # The page shows the configuration that was used, which the chapter prints: never the cells
    # that set it, since a default in one may have been overridden in the other.
    if {"parameters", "injected-parameters"} & set(tags) and "remove-cell" not in tags:
        kept["tags"] = [*tags, "remove-cell"]
    return type(metadata)(kept)


def name_cells(notebook: Any) -> None:
    """Give each cell an id made of what it says, in place of jupytext's random ones."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        name = hashlib.sha256(f"{cell.cell_type} {cell.source}".encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell["id"] = f"{name}-{seen[name]}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5


def package_of(root: Path) -> Path:
    """Where the book's `dltlib` lies: beside it, or installed."""
    package = root / "dltlib"
    return package if package.is_dir() else Path(__file__).parents[1]


def _library(root: Path) -> list[Path]:
    """Files of `dltlib` on which a chapter's outputs may depend, sorted."""
    package = package_of(root)
    files = (path.relative_to(package) for path in package.rglob("*.py"))
    return [package / path for path in sorted(files) if path.parts[0].split(".")[0] not in _APART]


def record_patterns(notebook: Any) -> list[str]:
    """By which the chapter names the records that it reads: all, if it names none."""
    patterns: list[str] = notebook.metadata.get("dltlib", {}).get("records", ["*"])
    return patterns


def records_of(root: Path, notebook: Any) -> list[Path]:
    """Files below ``book/records`` that the chapter may read, sorted."""
    patterns = record_patterns(notebook)
    folder = root / "book" / "records"
    return [
        path
        for path in sorted(folder.glob("*"))
        if path.is_file() and any(fnmatch.fnmatch(path.stem, pattern) for pattern in patterns)
    ]
