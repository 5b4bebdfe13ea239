"""Chapters executed by papermill, each notebook kept whole or not at all."""

import ast
import contextlib
import copy
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dltlib import elsewhere, executions, files
from dltlib.book.checks import execution_problems, first_line, output_problems, same_cells
from dltlib.book.sources import (
    METADATA_KEY,
    code_cells,
    digest,
    fingerprint,
    name_cells,
    notebook_path,
    record_patterns,
    records_of,
    root_of,
    select,
    text_of,
    tidy_metadata,
    written_notebook,
)
from dltlib.errors import UserError


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
    root = root_of(root)
    executions.read(root)  # damaged, it stops what could not be noted in it
    executed, failures = [], []
    for name in select(root, names):
        try:
            written, inputs = written_notebook(root, name), fingerprint(name, root)
            if not (parameters or force):
                _hold_edits(root, name, inputs["code"])
            if parameters:
                target = root / "_build" / "variants" / f"{name}.ipynb"
                _save(_run(root, name, written, parameters), target)
                print(f"{name}: wrote {target.relative_to(root)}")
            elif force or execution_problems(root, name):
                begin = time.perf_counter()
                notebook = _run(root, name, written, {})
                seconds = time.perf_counter() - begin
                notebook.metadata[METADATA_KEY] = inputs
                _save(notebook, notebook_path(root, name))
                executions.note(root, name, seconds, record_patterns(written), inputs)
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
        notebook = nbformat.read(notebook_path(root, name), as_version=4)
        executed = notebook.metadata[METADATA_KEY]["code"]
    except Exception:  # none, or damaged: there is nothing to lose
        return
    shown = digest(cell.source for cell in code_cells(notebook))
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
                f"chapter {name}: cell {error.cell_index + 1} ({first_line(error.source)!r}) "
                f"raised {error.ename}: {error.evalue} (see {kept.relative_to(root)})"
            ) from error
        except DeadKernelError as error:
            raise UserError(
                f"chapter {name}: its kernel died (out of memory?); the old notebook is unchanged"
            ) from error
        except PapermillException as error:
            raise UserError(f"chapter {name}: {error}") from error
        notebook = _tidied(nbformat.read(result, as_version=4), written)
    unfit = output_problems(root, name, notebook)
    if unfit:
        raise UserError("\n".join(unfit))
    return notebook


@contextlib.contextmanager
def _environment(root: Path, written: Any, folder: Path) -> Iterator[None]:
    """What the kernel inherits: among it the place of the records, those that the chapter names,
    and one for the runs that it makes, in which no earlier one lies."""
    given = folder / "records"
    given.mkdir()
    for path in records_of(root, written):
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
        cell.metadata = tidy_metadata(cell.metadata)
        if cell.cell_type == "code":
            if elsewhere.FETCHING in cell.metadata.get("tags", []):
                cell.execution_count = None  # the count is the same without it
            elif cell.execution_count is not None:
                count += 1
                cell.execution_count = count
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = cell.execution_count
    name_cells(notebook)
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

    path = notebook_path(root, name)
    notebook = nbformat.read(path, as_version=4)
    as_it_is = text_of(path)
    same = same_cells(notebook, written)
    _with_outputs(written, notebook)
    if nbformat.writes(written) != as_it_is:
        _save(written, path)
        if not same:
            print(f"{name}: text updated, outputs kept")


def _with_outputs(written: Any, executed: Any) -> None:
    """Move the outputs of `executed`, whose code cells are the same, into `written`."""
    written.metadata[METADATA_KEY] = executed.metadata[METADATA_KEY]
    for cell, before in zip(code_cells(written), code_cells(executed), strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count


def _save(notebook: Any, path: Path) -> None:
    """Write a notebook so that `path` holds the old one or the new one, never a part."""
    import nbformat

    files.replace_file(
        path, lambda temporary: temporary.write_text(nbformat.writes(notebook), encoding="utf-8")
    )
