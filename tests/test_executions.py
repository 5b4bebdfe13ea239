"""What the site says of how its chapters were executed."""

import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from dltlib import book, executions, paths
from dltlib.errors import UserError

HEADER = (
    "# ---\n# jupyter:\n#   kernelspec:\n#     display_name: Python 3\n#     language: python\n"
    "#     name: python3\n#   dltlib:\n#     records: [signs-*]\n# ---\n\n"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A book of two chapters, of which one has been executed; nothing runs here."""

    def run(root: Path, name: str, written: Any, parameters: dict[str, Any]) -> Any:
        for count, cell in enumerate(book.sources.code_cells(written), 1):
            cell.execution_count = count
        return written

    monkeypatch.setattr(book.execution, "_run", run)
    (tmp_path / "book").mkdir()
    for name in ("one", "two"):
        (tmp_path / "book" / f"{name}.py").write_text(f"{HEADER}# %%\nprint({name!r})\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/one.ipynb\nchapters:\n  - file: book/two.ipynb\n"
    )
    book.execute(["one"], root=tmp_path)
    return tmp_path


def _table(root: Path) -> str:
    made = {name: book.executed_with(name, root) for name in book.chapters(root)}
    return executions.table(root, made)


def _row(root: Path, name: str) -> list[str]:
    (row,) = [line for line in _table(root).splitlines() if f"/book/{name}`" in line]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_an_execution_is_noted_and_told(root: Path) -> None:
    from dltlib import records

    _, took, day, read = _row(root, "one")
    assert took == "0 s"
    assert day.startswith("20")
    assert read == "`signs-*`"
    assert f"torch {records.versions()['torch']}" in _table(root)
    assert _row(root, "two")[1] == "not noted"


def test_what_was_noted_of_an_older_notebook_is_not_told(root: Path) -> None:
    path = root / "book" / "one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["dltlib_execution"]["library"] = "another"
    nbformat.write(notebook, path)
    assert _row(root, "one")[1] == "not noted"


def test_damaged_notes_are_named_before_anything_is_executed(root: Path) -> None:
    executions.path(root).write_text("<<<<<<< HEAD")
    with pytest.raises(UserError, match=r"executions\.json is damaged .* restore it with git"):
        book.execute(["two"], root=root)
    assert not (root / "book" / "two.ipynb").exists()


def test_variants_and_prose_leave_the_note_as_it_is(root: Path) -> None:
    before = executions.path(root).read_text()
    text = root / "book" / "one.py"
    text.write_text(text.read_text() + "\n# %% [markdown]\n# More words.\n")
    book.execute(["one"], root=root)
    book.execute(["one"], parameters={"seeds": 1}, root=root)
    assert executions.path(root).read_text() == before
    assert _row(root, "one")[1] == "0 s"


def test_only_chapters_are_noted() -> None:
    """In the committed file."""
    noted = json.loads(executions.path(paths.REPOSITORY).read_text())
    assert set(noted) <= set(book.chapters())


def test_the_page_shows_the_table(site: Path) -> None:
    page = (site / "book" / "status.html").read_text()
    assert page.count("<tr") == len(book.chapters()) + 1
    assert "not noted" not in page


def _note(root: Path, name: str) -> None:
    executions.note(root, name, 1.0, [], {})


def test_no_note_is_lost_where_two_processes_make_them(root: Path) -> None:
    """`dltlib book one` beside `dltlib book two`: each reads all notes and writes them back."""
    names = ["three", "four"]
    begin = multiprocessing.get_context("fork")
    writers = [begin.Process(target=_note, args=(root, name)) for name in names]
    with executions.alone(root, "executions"):
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(timeout=2)
            assert writer.is_alive()  # it waits
    for writer in writers:
        writer.join(timeout=120)
        assert writer.exitcode == 0
    assert {"one", *names} <= json.loads(executions.path(root).read_text()).keys()
