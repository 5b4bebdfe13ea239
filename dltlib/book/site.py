"""The pages, built by Jupyter Book, and the data of the interactive ones."""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dltlib import elsewhere, executions
from dltlib.book.checks import check
from dltlib.book.sources import package_of, page_files, pages, root_of, text_of
from dltlib.errors import UserError

# By the interpreter at hand: which `jupyter-book` is first on the path is another question.
_JUPYTER_BOOK = "from jupyter_book.cli.main import main; main(prog_name='jupyter-book')"
_BUILD_FLAGS = ["--all", "-n", "-W", "--keep-going", "-q"]
_COMPLAINT = re.compile("WARNING|ERROR|CRITICAL|Error")


def build(
    names: Sequence[str] | None = None, *, force: bool = False, root: Path | None = None
) -> Path:
    """Check the chapters (all, or `names`), build the site and return its first page.

    The pages are built anew only where one of them, the configuration or the theme changed, or with
    `force`. Every warning of the build is an error: `UserError`.
    """
    root = root_of(root)
    check(names, root=root)
    index, stamp = root / "_build" / "html" / "index.html", root / "_build" / "site.json"
    with executions.alone(root, "site"):
        state = json.dumps(_site_inputs(root), indent=1)
        if not force and index.exists() and stamp.exists() and text_of(stamp) == state:
            return index
        _jupyter_book(root)
        stamp.write_text(state, encoding="utf-8")
    print(f"{len(page_files(root))} pages")
    return index


def _jupyter_book(root: Path) -> None:
    """Build all pages in a scratch folder and put them in the place of ``_build/html``."""
    folder = root / "_build"
    folder.mkdir(exist_ok=True)
    print("building the pages, which takes about a minute ...", flush=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="site-") as scratch:
        command = [sys.executable, "-c", _JUPYTER_BOOK, "build", str(root), *_BUILD_FLAGS]
        done = subprocess.run(
            [*command, "--path-output", scratch],
            cwd=root,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            env=os.environ | {"NO_COLOR": "1"},
        )
        if done.returncode:
            said = re.sub("\x1b\\[[0-9;]*m", "", done.stdout).replace(f"{root}{os.sep}", "")
            # myst-nb counts lines cell by cell: 110002 is the second of the eleventh cell.
            said = re.sub(r"(?<=\.ipynb):(\d+)(\d{4})(?=:)", _cell_and_line, said)
            complaints = [line for line in said.splitlines() if _COMPLAINT.search(line)]
            said = "\n".join(complaints) or said
            raise UserError(f"the site was not built, and the old one is unchanged:\n{said}")
        built = Path(scratch) / "_build" / "html"
        # Jupyter Book 2 would end well and have built none of these.
        missing = [
            page for page in page_files(root) if not (built / page).with_suffix(".html").exists()
        ]
        if missing:
            raise UserError(f"the site was not built: no page came of {', '.join(missing)}")
        _add_data(root, built)
        for template in (built / "_static").glob("*webpack-macros.html"):
            template.unlink()  # the theme's own, and no page
        # Pages that no longer exist go with the old folder.
        (folder / "site.json").unlink(missing_ok=True)
        if (folder / "html").exists():
            (folder / "html").rename(Path(scratch) / "old")
        built.rename(folder / "html")


def _add_data(root: Path, site: Path) -> None:
    """Copy the data of interactive pages into the site, made anew where their inputs changed."""
    from dltlib import interactive

    folder, stamp = root / "_build" / "interactive", root / "_build" / "interactive.json"
    state = json.dumps({"pages": pages(root), **_hashes(root, _data_inputs(root))}, indent=1)
    if not stamp.exists() or not folder.exists() or text_of(stamp) != state:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        interactive.write(pages(root), root / "book" / "records", folder)
        stamp.write_text(state, encoding="utf-8")
    shutil.copytree(folder, site, dirs_exist_ok=True)


def _data_inputs(root: Path) -> list[Path]:
    """What the data of interactive pages are made by, and from."""
    records = [path for path in (root / "book" / "records").glob("*") if path.is_file()]
    return [*package_of(root).rglob("*.py"), *records]


def _hashes(root: Path, files: Sequence[Path]) -> dict[str, str]:
    return {
        os.path.relpath(path, root): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(files)
        if path.exists()
    }


def _cell_and_line(match: re.Match[str]) -> str:
    return f", cell {match[1]}, line {int(match[2])}"


def _site_inputs(root: Path) -> dict[str, str]:
    """Hashes of the files, and versions of the tools, that decide what the pages look like."""
    pages = [root / page for page in page_files(root)]
    around = [root / name for name in ("_config.yml", "_toc.yml", "CITATION.cff")]
    around += [*(root / "book").glob("*.bib"), executions.path(root)]
    static = [path for path in (root / "book" / "_static").rglob("*") if path.is_file()]
    inputs = _hashes(root, [*pages, *around, *static, *_data_inputs(root)])
    for tool in ("jupyter-book", "myst-nb", "sphinx", "sphinx-book-theme"):
        inputs[tool] = importlib.metadata.version(tool)
    inputs["address"] = elsewhere.repository(root) or "none yet"
    return inputs
