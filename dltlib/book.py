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

import argparse
import ast
import contextlib
import copy
import fnmatch
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dltlib import elsewhere, executions, files, paths
from dltlib.errors import UserError

Fingerprint = dict[str, str]
"""Hashes of a chapter's inputs by kind: `code`, `library`, `records`."""

_METADATA_KEY = "dltlib_execution"
_KEPT_CELL_METADATA = {"tags", "mystnb"}
# Without the interpreter's version: the notebook should not change with it.
_LANGUAGE = {
    "name": "python",
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "pygments_lexer": "ipython3",
}
# By the interpreter at hand: which `jupyter-book` is first on the path is another question.
_JUPYTER_BOOK = "from jupyter_book.cli.main import main; main(prog_name='jupyter-book')"
_BUILD_FLAGS = ["--all", "-n", "-W", "--keep-going", "-q"]
_COMPLAINT = re.compile("WARNING|ERROR|CRITICAL|Error")


# --- chapters and their inputs ------------------------------------------------------------------


def chapters(root: Path | None = None) -> list[str]:
    """Names of the chapters in the order of ``_toc.yml`` (pages without code are none)."""
    return [Path(page).stem for page in _pages(_root(root)) if page.endswith(".ipynb")]


def pages(root: Path | None = None) -> list[str]:
    """Names of all pages, with code or without, in the order of ``_toc.yml``."""
    return [Path(page).stem for page in _pages(_root(root))]


def fingerprint(name: str, root: Path | None = None) -> Fingerprint:
    """Hashes of all that the outputs of chapter `name` depend on."""
    root = _root(root)
    notebook = _written(root, name)
    return {
        "code": _digest(cell.source for cell in _code(notebook)),
        "library": _digest(_text(path) for path in _library(root)),
        "records": _digest(
            f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
            for path in _records(root, notebook)
        ),
    }


def executed_with(name: str, root: Path | None = None) -> Fingerprint:
    """The fingerprint that chapter `name` had when its notebook was executed; empty if never."""
    path = _notebook_path(_root(root), name)
    if not path.exists():
        return {}
    stored: Fingerprint = json.loads(_text(path))["metadata"].get(_METADATA_KEY, {})
    return stored


def _root(root: Path | None) -> Path:
    return paths.REPOSITORY if root is None else Path(root).resolve()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")  # every kind of line end reads as \n


def _digest(parts: Any) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _pages(root: Path) -> list[str]:
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
        page if (root / page).suffix else f"{page}.md" for page in walk(yaml.safe_load(_text(toc)))
    ]


def _source_path(root: Path, name: str) -> Path:
    return root / "book" / f"{name}.py"


def _notebook_path(root: Path, name: str) -> Path:
    return root / "book" / f"{name}.ipynb"


def _select(root: Path, names: Sequence[str] | None) -> list[str]:
    known = chapters(root)
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise UserError(
            f"no chapter {', '.join(unknown)}: _toc.yml names {', '.join(known) or 'none'}"
        )
    return [name for name in known if not names or name in names]


def _written(root: Path, name: str) -> Any:
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
        cell.metadata = _tidy_metadata(cell.metadata)
    if address := elsewhere.repository(root):
        # Neither executed nor an input: the address may change, and the outputs stay.
        tags = {"tags": [elsewhere.FETCHING, "remove-cell"]}
        cell = nbformat.v4.new_code_cell(elsewhere.first_cell(address), metadata=tags)
        notebook.cells.insert(0, cell)
    _name_cells(notebook)
    return notebook


def _code(notebook: Any) -> list[Any]:
    """The code cells of a chapter's own: not the one that fetches the library."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and elsewhere.FETCHING not in cell.metadata.get("tags", [])
    ]


def _tidy_metadata(metadata: Any) -> Any:
    # Papermill gives every cell a list of tags, an empty one too.
    kept = {key: value for key, value in metadata.items() if key in _KEPT_CELL_METADATA and value}
    tags = list(kept.get("tags", []))
    # The page shows the configuration that was used, which the chapter prints: never the cells
    # that set it, since a default in one may have been overridden in the other.
    if {"parameters", "injected-parameters"} & set(tags) and "remove-cell" not in tags:
        kept["tags"] = [*tags, "remove-cell"]
    return type(metadata)(kept)


def _name_cells(notebook: Any) -> None:
    """Give each cell an id made of what it says, in place of jupytext's random ones."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        name = hashlib.sha256(f"{cell.cell_type} {cell.source}".encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell["id"] = f"{name}-{seen[name]}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5


# Modules that decide no output of a chapter; it may depend on any other.
_APART = (
    "book", "cli", "cluster", "elsewhere", "executions", "forecast", "interactive", "landing",
    "progress", "sharing", "terms", "verification",
)  # fmt: skip


def _package(root: Path) -> Path:
    """Where the book's `dltlib` lies: beside it, or installed."""
    package = root / "dltlib"
    return package if package.is_dir() else Path(__file__).parent


def _library(root: Path) -> list[Path]:
    """Files of `dltlib` on which a chapter's outputs may depend, sorted."""
    package = _package(root)
    files = (path.relative_to(package) for path in package.rglob("*.py"))
    return [package / path for path in sorted(files) if path.parts[0].split(".")[0] not in _APART]


def _patterns(notebook: Any) -> list[str]:
    """By which the chapter names the records that it reads: all, if it names none."""
    patterns: list[str] = notebook.metadata.get("dltlib", {}).get("records", ["*"])
    return patterns


def _records(root: Path, notebook: Any) -> list[Path]:
    """Files below ``book/records`` that the chapter may read, sorted."""
    patterns = _patterns(notebook)
    folder = root / "book" / "records"
    return [
        path
        for path in sorted(folder.glob("*"))
        if path.is_file() and any(fnmatch.fnmatch(path.stem, pattern) for pattern in patterns)
    ]


# --- execution ----------------------------------------------------------------------------------


def execute(
    names: Sequence[str] | None = None,
    *,
    force: bool = False,
    parameters: dict[str, Any] | None = None,
    root: Path | None = None,
) -> list[str]:
    """Execute the chapters (all, or `names`) whose inputs changed; return those executed.

    `force` executes them anyway. With `parameters`, for the cell tagged ``parameters``, the result
    goes to ``_build/variants/NAME.ipynb``: the committed notebook is what the text says.
    A notebook is replaced in one step, when all of its cells have run and what they left is fit for
    a page; until then, and after a failure, the old one stays.

    Raises `UserError` naming chapter, cell and error, after all chapters have had their turn.
    """
    root = _root(root)
    executions.read(root)  # damaged, it stops what could not be noted in it
    executed, failures = [], []
    for name in _select(root, names):
        try:
            written, inputs = _written(root, name), fingerprint(name, root)
            if not (parameters or force):
                _hold_edits(root, name, inputs["code"])
            if parameters:
                target = root / "_build" / "variants" / f"{name}.ipynb"
                _save(_run(root, name, written, parameters), target)
                print(f"{name}: wrote {target.relative_to(root)}")
            elif force or _execution_problems(root, name):
                begin = time.perf_counter()
                notebook = _run(root, name, written, {})
                seconds = time.perf_counter() - begin
                notebook.metadata[_METADATA_KEY] = inputs
                _save(notebook, _notebook_path(root, name))
                executions.note(root, name, seconds, _patterns(written), inputs)
            else:
                _update_prose(root, name, written)
                continue
            executed.append(name)
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError("\n".join(failures))
    return executed


def _hold_edits(root: Path, name: str, code: str) -> None:
    """Raise `UserError` where a notebook holds code that was changed in it alone, since it was
    executed: it would be lost."""
    import nbformat

    try:
        notebook = nbformat.read(_notebook_path(root, name), as_version=4)
        executed = notebook.metadata[_METADATA_KEY]["code"]
    except Exception:  # none, or damaged: there is nothing to lose
        return
    shown = _digest(cell.source for cell in _code(notebook))
    if shown not in (executed, code):
        path = f"book/{name}.ipynb"
        raise UserError(
            f"chapter {name}: its notebook has code that its text lacks: `jupytext --to py:percent "
            f"{path}` takes it over into the text, `dltlib book {name} --force` drops it"
        )


def _run(root: Path, name: str, written: Any, parameters: dict[str, Any]) -> Any:
    """Execute a notebook in a scratch folder and return it, tidied; `UserError` if it fails."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillException, PapermillExecutionError

    tags = [tag for cell in written.cells for tag in cell.metadata.get("tags", [])]
    if parameters and "parameters" not in tags:
        raise UserError(f"chapter {name}: no cell is tagged parameters, so none can be set")
    known = _parameters(written) if parameters else []
    if unknown := set(parameters) - set(known):
        raise UserError(
            f"chapter {name} has no parameter {', '.join(sorted(unknown))}: it has "
            f"{', '.join(known)}"
        )
    scratch = root / "_build" / "execution"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        given, result = Path(folder) / f"{name}.ipynb", Path(folder) / "result.ipynb"
        nbformat.write(written, given)
        try:
            with _environment(root, written, Path(folder)):
                papermill.execute_notebook(
                    given,
                    result,
                    parameters=parameters,
                    kernel_name=written.metadata["kernelspec"]["name"],
                    cwd=root / "book",
                    progress_bar={"desc": name, "unit": "cell"},
                    coalesce_streams=True,  # else an output is cut up as time goes by
                    # The kernel warns of its own transport, which is this machine's.
                    extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
                )
        except PapermillExecutionError as error:
            kept = scratch / f"{name}.ipynb"
            shutil.copyfile(result, kept)
            raise UserError(
                f"chapter {name}: cell {error.cell_index + 1} ({_first_line(error.source)!r}) "
                f"raised {error.ename}: {error.evalue} (see {kept.relative_to(root)})"
            ) from error
        except DeadKernelError as error:
            raise UserError(
                f"chapter {name}: its kernel died (out of memory?); the old notebook is unchanged"
            ) from error
        except PapermillException as error:
            raise UserError(f"chapter {name}: {error}") from error
        notebook = _tidied(nbformat.read(result, as_version=4), written)
    unfit = _output_problems(root, name, notebook)
    if unfit:
        raise UserError("\n".join(unfit))
    return notebook


@contextlib.contextmanager
def _environment(root: Path, written: Any, folder: Path) -> Iterator[None]:
    """What the kernel inherits: among it the place of the records, those that the chapter names,
    and one for the runs that it makes, in which no earlier one lies."""
    given = folder / "records"
    given.mkdir()
    for path in _records(root, written):
        shutil.copyfile(path, given / path.name)
    changes = {
        "DLTLIB_RECORDS": str(given),
        "DLTLIB_RUNS": str(folder / "runs"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _tidied(notebook: Any, written: Any) -> Any:
    """Drop what papermill and the kernel noted of times, places and versions."""
    notebook.metadata = copy.deepcopy(written.metadata)
    count = 0
    for cell in notebook.cells:
        cell.metadata = _tidy_metadata(cell.metadata)
        if cell.cell_type == "code":
            if elsewhere.FETCHING in cell.metadata.get("tags", []):
                cell.execution_count = None  # the count is the same without it
            elif cell.execution_count is not None:
                count += 1
                cell.execution_count = count
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = cell.execution_count
    _name_cells(notebook)
    return notebook


def _parameters(written: Any) -> list[str]:
    """The names that a chapter's cell tagged parameters gives values."""
    (cell,) = (one for one in written.cells if "parameters" in one.metadata.get("tags", []))
    return [
        target.id
        for line in ast.parse(cell.source).body
        if isinstance(line, ast.Assign)
        for target in line.targets
        if isinstance(target, ast.Name)
    ]


def _update_prose(root: Path, name: str, written: Any) -> None:
    """Bring cells that are no code, and the tags, up to date in an executed notebook."""
    import nbformat

    path = _notebook_path(root, name)
    notebook = nbformat.read(path, as_version=4)
    as_it_is = _text(path)
    same = _same_cells(notebook, written)
    _with_outputs(written, notebook)
    if nbformat.writes(written) != as_it_is:
        _save(written, path)
        if not same:
            print(f"{name}: text updated, outputs kept")


def _with_outputs(written: Any, executed: Any) -> None:
    """Move the outputs of `executed`, whose code cells are the same, into `written`."""
    written.metadata[_METADATA_KEY] = executed.metadata[_METADATA_KEY]
    for cell, before in zip(_code(written), _code(executed), strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count


def _same_cells(notebook: Any, written: Any) -> bool:
    """Whether two notebooks say the same, but for what JupyterLab adds when it saves one."""

    def said(book: Any) -> list[Any]:
        return [
            (cell.cell_type, cell.source, dict(_tidy_metadata(cell.metadata)))
            for cell in book.cells
        ]

    return said(notebook) == said(written)


def _save(notebook: Any, path: Path) -> None:
    """Write a notebook so that `path` holds the old one or the new one, never a part."""
    import nbformat

    files.replace_file(
        path, lambda temporary: temporary.write_text(nbformat.writes(notebook), encoding="utf-8")
    )


def _first_line(source: str) -> str:
    lines = [line.strip() for line in source.splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), "empty")


# --- checks -------------------------------------------------------------------------------------


def check(names: Sequence[str] | None = None, *, root: Path | None = None) -> None:
    """Raise `UserError` with one line for each reason why a notebook cannot be trusted."""
    root = _root(root)
    found = [line for name in _select(root, names) for line in problems(name, root)]
    if found:
        found.append("run `dltlib book` (or `make book`) to bring them up to date")
        raise UserError("\n".join(found))


def behind(names: Sequence[str], root: Path | None = None) -> list[str]:
    """The chapters that are not up to date, besides ``names``."""
    root = _root(root)
    return [name for name in chapters(root) if name not in names and problems(name, root)]


def problems(name: str, root: Path | None = None) -> list[str]:
    """What is wrong with the executed notebook of chapter `name`, one line for each thing."""
    import nbformat

    root = _root(root)
    found = _execution_problems(root, name)
    if found:
        return found
    notebook = nbformat.read(_notebook_path(root, name), as_version=4)
    if not _same_cells(notebook, _written(root, name)):
        found.append(
            f"chapter {name}: its notebook says other things than its text: "
            f"'dltlib book {name}' brings it up to date, and executes it if its code changed"
        )
    return found + _output_problems(root, name, notebook)


def _execution_problems(root: Path, name: str) -> list[str]:
    """Reasons to execute the chapter (again)."""
    import nbformat

    path = _notebook_path(root, name)
    if not path.exists():
        return [f"chapter {name}: never executed"]
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises many kinds for a file that is no notebook
        return [f"chapter {name}: {path.name} is damaged ({type(error).__name__})"]
    code = _code(notebook)
    missing = [number for number, cell in enumerate(code, 1) if cell.execution_count is None]
    if missing:
        return [f"chapter {name}: not executed: code cells {', '.join(map(str, missing))}"]
    for number, cell in enumerate(code, 1):
        for output in cell.outputs:
            if output.output_type == "error":
                return [f"chapter {name}: failed: code cell {number} raised {output.ename}"]
    stored = notebook.metadata.get(_METADATA_KEY)
    if stored is None:
        return [f"chapter {name}: stale: nothing says what its notebook was made from"]
    # The code is compared as it stands in the notebook too: somebody may have edited that.
    shown = _digest(cell.source for cell in code)
    current = fingerprint(name, root)
    changed = [kind for kind, value in current.items() if stored.get(kind) != value]
    if shown != current["code"] and "code" not in changed:
        changed.append("code")
    return [f"chapter {name}: stale: its {', '.join(changed)} changed"] if changed else []


def _output_problems(root: Path, name: str, notebook: Any) -> list[str]:
    """Outputs that no page should show, or that no other run would give."""
    found = []
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            found += [
                f"chapter {name}: cell {number} ({_first_line(cell.source)!r}) {complaint}"
                for complaint in _complaints(root, output)
            ]
    return found


def _complaints(root: Path, output: Any) -> Iterator[str]:
    if output.output_type == "stream" and output.name == "stderr":
        yield f"writes to stderr, as progress bars and warnings do: {_first_line(output.text)!r}"
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


# --- the site -----------------------------------------------------------------------------------


def build(
    names: Sequence[str] | None = None, *, force: bool = False, root: Path | None = None
) -> Path:
    """Check the chapters (all, or `names`), build the site and return its first page.

    The pages are built anew only where one of them, the configuration or the theme changed, or with
    `force`. Every warning of the build is an error: `UserError`.
    """
    root = _root(root)
    check(names, root=root)
    index, stamp = root / "_build" / "html" / "index.html", root / "_build" / "site.json"
    with executions.alone(root, "site"):
        state = json.dumps(_site_inputs(root), indent=1)
        if not force and index.exists() and stamp.exists() and _text(stamp) == state:
            return index
        _jupyter_book(root)
        stamp.write_text(state, encoding="utf-8")
    print(f"{len(_pages(root))} pages")
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
            page for page in _pages(root) if not (built / page).with_suffix(".html").exists()
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
    if not stamp.exists() or not folder.exists() or _text(stamp) != state:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        interactive.write(pages(root), root / "book" / "records", folder)
        stamp.write_text(state, encoding="utf-8")
    shutil.copytree(folder, site, dirs_exist_ok=True)


def _data_inputs(root: Path) -> list[Path]:
    """What the data of interactive pages are made by, and from."""
    records = [path for path in (root / "book" / "records").glob("*") if path.is_file()]
    return [*_package(root).rglob("*.py"), *records]


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
    pages = [root / page for page in _pages(root)]
    around = [root / name for name in ("_config.yml", "_toc.yml", "CITATION.cff")]
    around += [*(root / "book").glob("*.bib"), executions.path(root)]
    static = [path for path in (root / "book" / "_static").rglob("*") if path.is_file()]
    inputs = _hashes(root, [*pages, *around, *static, *_data_inputs(root)])
    for tool in ("jupyter-book", "myst-nb", "sphinx", "sphinx-book-theme"):
        inputs[tool] = importlib.metadata.version(tool)
    inputs["address"] = elsewhere.repository(root) or "none yet"
    return inputs


# --- command line -------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``dltlib book``, which `main` obeys."""
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="default: all of _toc.yml")
    parser.add_argument("--force", action="store_true", help="even where nothing changed")
    parser.add_argument(
        "--check", action="store_true", help="only say which notebooks are out of date, and why"
    )
    parser.add_argument("--no-site", action="store_true", help="execute, but build no pages")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the chapter; its notebook goes to _build/variants",
    )


def main(arguments: argparse.Namespace) -> None:
    """Run ``dltlib book``."""
    if arguments.check:
        check(arguments.chapters)
        print("every chapter is executed and up to date")
        return
    parameters = dict(_parameter(text) for text in arguments.set)
    execute(arguments.chapters, force=arguments.force, parameters=parameters)
    if not parameters and not arguments.no_site:
        print(f"the book: {build(arguments.chapters, force=arguments.force)}")
    if arguments.chapters and (others := behind(arguments.chapters)):
        print(
            f"not up to date: {', '.join(others)} (`dltlib book` without names executes them too)"
        )


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UserError(f"--set {text}: write NAME=VALUE")
    with contextlib.suppress(json.JSONDecodeError):
        return name, json.loads(value)
    return name, value


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
