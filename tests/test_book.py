"""The pipeline on a small project of its own: what is executed, what is refused, what survives."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib
import nbformat
import pandas
import pytest
from matplotlib.figure import Figure

from dltlib import book, page, paths
from dltlib.errors import UserError

HEADER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   dltlib:
#     records: ["signs-*"]
# ---
"""
CHAPTER = (
    HEADER
    + """
# %% [markdown]
# # One
#
# The answer is {glue:text}`answer:.1f`, as {numref}`fig-one-line` shows, for $w_i$.

# %% tags=["parameters"]
answer = 42.0

# %% tags=["hide-input"]
import os
from pathlib import Path

from matplotlib.figure import Figure

from dltlib import page

print("records:", sorted(path.name for path in Path(os.environ["DLTLIB_RECORDS"]).glob("*")))
page.glue(answer=answer)

# %%
figure = Figure(figsize=(4, 2))
figure.subplots().plot([0, 1], [0, answer])
page.show(
    figure,
    name="fig-one-line",
    alt="A straight line from zero up to the answer.",
    caption="A line, with $w_f$ and *words*.",
    source="Remake: `dltlib run signs --preset tiny`.",
)
"""
)


def _project(folder: Path) -> Path:
    (folder / "book" / "records").mkdir(parents=True)
    (folder / "book" / "records" / "signs-fc-tiny.json").write_text("{}")
    (folder / "book" / "records" / "zeros-fc-tiny.json").write_text("{}")
    (folder / "book" / "one.py").write_text(CHAPTER)
    (folder / "book" / "intro.md").write_text("# Intro\n\nSee {numref}`fig-one-line`.\n")
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n  - file: book/one.ipynb\n"
    )
    (folder / "_config.yml").write_text(
        'title: Small\nonly_build_toc_files: true\nexecute: {execute_notebooks: "off"}\n'
    )
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A book of one chapter, never executed."""
    return _project(tmp_path / "project")


@pytest.fixture(scope="module")
def executed_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the chapter's notebook says after an execution, done once for all tests."""
    project = _project(tmp_path_factory.mktemp("once") / "project")
    assert book.execute(root=project) == ["one"]
    return (project / "book" / "one.ipynb").read_text()


@pytest.fixture
def executed(root: Path, executed_text: str) -> Path:
    """A book of one chapter, executed."""
    (root / "book" / "one.ipynb").write_text(executed_text)
    return root


def _edit(root: Path, change: Any) -> None:
    path = root / "book" / "one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)


def _replace(root: Path, old: str, new: str) -> None:
    path = root / "book" / "one.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _complaint(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        book.check(root=root)
    return str(caught.value)


def test_an_executed_chapter_is_whole_and_says_nothing_of_its_execution(executed: Path) -> None:
    book.check(root=executed)
    path = executed / "book" / "one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3]
    assert code[0].metadata.tags == ["parameters", "remove-cell"]
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info", "dltlib", "dltlib_execution"}
    for trace in ("papermill", "duration", "start_time", str(executed), sys.prefix):
        assert trace not in path.read_text().replace("papermill.record", "")
    assert [item.name for item in path.parent.iterdir() if item.name.startswith(".")] == []


def test_execution_gives_the_same_bytes_again(executed: Path, executed_text: str) -> None:
    assert book.execute(force=True, root=executed) == ["one"]
    assert (executed / "book" / "one.ipynb").read_text() == executed_text


def test_a_chapter_is_given_the_records_that_it_names(executed: Path) -> None:
    notebook = nbformat.read(executed / "book" / "one.ipynb", as_version=4)
    assert notebook.cells[2].outputs[0].text == "records: ['signs-fc-tiny.json']\n"


def test_what_is_up_to_date_is_not_executed(
    executed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book.execution, "_run", lambda *_: pytest.fail("executed"))
    path = executed / "book" / "one.ipynb"
    before = path.read_text(), path.stat().st_mtime_ns
    assert book.execute(root=executed) == []
    assert (path.read_text(), path.stat().st_mtime_ns) == before


def test_prose_and_tags_are_updated_without_execution(
    executed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book.execution, "_run", lambda *_: pytest.fail("executed"))
    _replace(executed, "# # One", "# # First")
    _replace(executed, "hide-input", "remove-input")
    assert "says other things than its text" in _complaint(executed)
    assert book.execute(root=executed) == []
    book.check(root=executed)
    notebook = nbformat.read(executed / "book" / "one.ipynb", as_version=4)
    assert notebook.cells[0].source.startswith("# First")
    assert notebook.cells[2].metadata.tags == ["remove-input"]
    assert notebook.cells[3].outputs


def test_what_makes_a_chapter_stale(executed: Path) -> None:
    book.check(root=executed)
    _replace(executed, "42.0", "43.0")
    assert "one: stale: its code changed" in _complaint(executed)
    _replace(executed, "43.0", "42.0")
    (executed / "book" / "records" / "zeros-fc-tiny.json").write_text('{"not": "its record"}')
    book.check(root=executed)
    (executed / "book" / "records" / "signs-fc-tiny.json").write_text('{"another": "run"}')
    assert "one: stale: its records changed" in _complaint(executed)
    (executed / "book" / "records" / "signs-fc-tiny.json").write_text("{}")
    (executed / "book" / "records" / "signs-fc-cpu.json").write_text("{}")
    assert "one: stale: its records changed" in _complaint(executed)


def test_a_chapter_is_stale_where_the_library_that_it_reaches_changed(root: Path) -> None:
    library = root / "dltlib"
    library.mkdir()
    for name, text in {
        "__init__": "",
        "page": "from dltlib import errors",
        "errors": "def fail():\n    from dltlib.paths import book",
        "paths": "",
        "cli": "import dltlib.page",
    }.items():
        (library / f"{name}.py").write_text(text)
    before = book.fingerprint("one", root)
    (library / "cli.py").write_text("import dltlib.page, dltlib.errors")
    assert book.fingerprint("one", root) == before
    (library / "paths.py").write_text("changed = True")
    after = book.fingerprint("one", root)
    assert {kind for kind in before if before[kind] != after[kind]} == {"library"}


def test_an_edit_of_the_notebook_alone_is_noticed(executed: Path) -> None:
    _edit(executed, lambda book_: book_.cells[1].update(source="answer = 7.0"))
    assert "one: stale: its code changed" in _complaint(executed)


def test_code_that_is_in_the_notebook_alone_is_not_overwritten(executed: Path) -> None:
    _edit(executed, lambda book_: book_.cells[1].update(source="answer = 7.0"))
    edited = (executed / "book" / "one.ipynb").read_text()
    with pytest.raises(UserError, match="jupytext --to py:percent book/one.ipynb"):
        book.execute(root=executed)
    assert (executed / "book" / "one.ipynb").read_text() == edited
    # Taken over into the text, it is the chapter's.
    text = executed / "book" / "one.py"
    text.write_text(text.read_text().replace("answer = 42.0", "answer = 7.0"))
    assert book.execute(root=executed) == ["one"]
    _edit(executed, lambda book_: book_.cells[1].update(source="answer = 8.0"))
    assert book.execute(root=executed, force=True) == ["one"]
    assert "answer = 7.0" in (executed / "book" / "one.ipynb").read_text()


def test_what_jupyterlab_adds_to_a_notebook_is_no_difference(
    executed: Path, executed_text: str
) -> None:
    def saved(notebook: Any) -> None:
        notebook.metadata["jupytext"] = {"formats": "ipynb,py:percent"}
        for cell in notebook.cells:
            cell.metadata["lines_to_next_cell"] = 2
            if "parameters" in cell.metadata.get("tags", []):
                cell.metadata["tags"] = ["parameters"]

    _edit(executed, saved)
    book.check(root=executed)
    assert book.execute(root=executed) == []
    assert (executed / "book" / "one.ipynb").read_text() == executed_text


def test_an_unexecuted_notebook_is_refused(executed: Path) -> None:
    def forget(notebook: Any) -> None:
        notebook.cells[3].execution_count, notebook.cells[3].outputs = None, []

    _edit(executed, forget)
    assert "one: not executed: code cells 3" in _complaint(executed)
    with pytest.raises(UserError, match="not executed"):
        book.build(root=executed)
    (executed / "book" / "one.ipynb").unlink()
    assert "one: never executed" in _complaint(executed)


def test_a_notebook_that_holds_an_error_is_refused(executed: Path) -> None:
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    _edit(executed, lambda notebook: notebook.cells[3].outputs.append(error))
    assert "one: failed: code cell 3 raised ValueError" in _complaint(executed)


def test_a_damaged_notebook_is_refused_and_mended(executed: Path, executed_text: str) -> None:
    path = executed / "book" / "one.ipynb"
    path.write_text(executed_text[:500])
    assert "one.ipynb is damaged" in _complaint(executed)
    assert book.execute(root=executed) == ["one"]
    assert path.read_text() == executed_text


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (nbformat.v4.new_output("stream", name="stderr", text="40%|####"), "writes to stderr"),
        (nbformat.v4.new_output("stream", text="<object at 0x7f0c86237d50>"), "memory address"),
        (
            nbformat.v4.new_output("display_data", {"image/png": "iVBO", "text/plain": ""}),
            "without alt text",
        ),
        (
            nbformat.v4.new_output(
                "display_data", {"application/papermill.record/text/plain": "nan"}
            ),
            "glues nan",
        ),
        (
            nbformat.v4.new_output("stream", text=f"wrote {Path.home()}/runs/x"),
            "a path of this machine",
        ),
    ],
)
def test_outputs_that_are_unfit_for_a_page_are_refused(
    executed: Path, output: Any, complaint: str
) -> None:
    _edit(executed, lambda notebook: notebook.cells[2].outputs.append(output))
    assert complaint in _complaint(executed)


def test_a_failing_cell_is_named_and_the_old_notebook_kept(
    executed: Path, executed_text: str
) -> None:
    _replace(executed, "page.glue(answer=answer)", "page.glue(answer=answer)\nanswer / 0")
    with pytest.raises(UserError, match=r"one: cell 3 \('import os'\) raised ZeroDivisionError"):
        book.execute(root=executed)
    assert (executed / "book" / "one.ipynb").read_text() == executed_text
    assert "stale" in _complaint(executed)
    kept = nbformat.read(executed / "_build" / "execution" / "one.ipynb", as_version=4)
    assert any(
        output.output_type == "error" for cell in kept.cells for output in cell.get("outputs", [])
    )


def test_a_killed_kernel_or_execution_leaves_the_old_notebook(
    executed: Path, executed_text: str
) -> None:
    _replace(executed, "page.glue(answer=answer)", "os.kill(os.getpid(), 9)")
    with pytest.raises(UserError, match="one: its kernel died"):
        book.execute(root=executed)
    assert (executed / "book" / "one.ipynb").read_text() == executed_text

    started = executed / "started"
    _replace(
        executed,
        "os.kill(os.getpid(), 9)",
        f"import time; Path({str(started)!r}).touch(); time.sleep(60)",
    )
    program = f"from dltlib import book; book.execute(root={str(executed)!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", program], start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert started.exists()
    assert (executed / "book" / "one.ipynb").read_text() == executed_text
    assert [path.name for path in (executed / "book").glob("*.ipynb")] == ["one.ipynb"]


def test_parameters_make_a_variant_and_leave_the_chapter_alone(
    executed: Path, executed_text: str
) -> None:
    assert book.execute(["one"], parameters={"answer": 7.5}, root=executed) == ["one"]
    assert (executed / "book" / "one.ipynb").read_text() == executed_text
    variant = nbformat.read(executed / "_build" / "variants" / "one.ipynb", as_version=4)
    injected = [
        cell for cell in variant.cells if "injected-parameters" in cell.metadata.get("tags", [])
    ]
    assert len(injected) == 1
    assert "remove-cell" in injected[0].metadata.tags
    assert any(
        output.get("data", {}).get("application/papermill.record/text/plain") == "7.5"
        for cell in variant.cells
        for output in cell.get("outputs", [])
    )


def test_bad_names_and_headers_are_refused(root: Path) -> None:
    with pytest.raises(UserError, match="one has no parameter anser: it has answer"):
        book.execute(["one"], parameters={"anser": 7.5}, root=root)
    with pytest.raises(UserError, match="no chapter two: _toc.yml names one"):
        book.execute(["two"], root=root)
    _replace(root, "#   kernelspec:", "#   kernel:")
    with pytest.raises(UserError, match="names no kernel"):
        book.execute(root=root)
    (root / "book" / "one.py").write_text(CHAPTER.replace("    records:", "    record:"))
    with pytest.raises(UserError, match="valid: records"):
        book.execute(root=root)
    (root / "_toc.yml").unlink()
    with pytest.raises(UserError, match="_toc.yml"):
        book.chapters(root)


def test_the_site_shows_figure_alt_text_caption_and_number(
    executed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    html = book.build(root=executed).parent
    chapter = (html / "book" / "one.html").read_text()
    assert 'alt="A straight line from zero up to the answer."' in chapter
    assert "The answer is <span" in chapter
    assert ">42.0</span>" in chapter
    assert 'id="fig-one-line"' in chapter
    assert "Fig. 1" in chapter
    assert "<em>words</em>" in chapter
    assert "dltlib</span> <span" in chapter  # the command, set as code
    assert 'href="one.html#fig-one-line"' in (html / "book" / "intro.html").read_text()

    # Nothing changed: nothing is built. A page changed: it is.
    monkeypatch.setattr(book.site.subprocess, "run", lambda *_, **__: pytest.fail("built"))
    book.build(root=executed)
    monkeypatch.undo()
    (executed / "book" / "intro.md").write_text("# Intro\n\nSee {numref}`fig-missing`.\n")
    with pytest.raises(UserError, match=r"not built.*:\nbook/intro.md:3: WARNING: .*fig-missing"):
        book.build(root=executed)
    assert (html / "book" / "one.html").read_text() == chapter
    built: list[Path] = []  # and it is not taken for built
    monkeypatch.setattr(book.site, "_jupyter_book", built.append)
    book.build(root=executed)
    assert built == [executed]


def _displayed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict, dict]]:
    shown: list[tuple[dict, dict]] = []

    def display(bundle: dict, *, raw: bool, metadata: dict | None = None) -> None:
        assert raw
        shown.append((bundle, metadata or {}))

    monkeypatch.setattr("IPython.display.display", display)
    return shown


def test_show_refuses_what_says_too_little_and_gives_a_png(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("agg")
    shown = _displayed(monkeypatch)
    good = {"name": "fig-a", "alt": "Two curves that cross at one half.", "caption": "Curves."}
    for bad in ({"name": "a"}, {"name": "fig A"}, {"alt": "a plot"}, {"caption": " "}):
        with pytest.raises(UserError):
            page.show(Figure(), **(good | bad))
    page.show(Figure(figsize=(4, 3)), **good)
    ((bundle, metadata),) = shown
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"] == metadata["image/png"]["alt"] == good["alt"]
    page.show(Figure(figsize=(4, 3)), **good)
    assert shown[1] == shown[0]  # bit for bit


def test_glue_refuses_nan_and_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _displayed(monkeypatch)
    with pytest.raises(UserError, match="glue accuracy=nan"):
        page.glue(accuracy=float("nan"))
    with pytest.raises(UserError, match="glue accuracy"):
        page.glue(accuracy=pandas.Series([1.0, float("inf")]).max())
    page.glue(accuracy=2 / 3, arms=9, name="rewind", holds=True)
    texts = [bundle["application/papermill.record/text/plain"] for bundle, _ in shown]
    assert texts == ["0.666667", "9", "'rewind'", "True"]
    assert [metadata["scrapbook"]["name"] for _, metadata in shown] == [
        "accuracy",
        "arms",
        "name",
        "holds",
    ]


def test_table_escapes_rounds_and_has_no_random_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _displayed(monkeypatch)
    frame = pandas.DataFrame({"accuracy": [0.98765, None]}, index=["a & b", "c"])
    page.table(frame, caption='Accuracy, "early" & late', decimals=2)
    page.table(frame, caption='Accuracy, "early" & late', decimals=2)
    assert shown[0] == shown[1]
    html = shown[0][0]["text/html"]
    assert "a &amp; b" in html
    assert "0.99" in html
    assert "nan" not in html.lower()
    assert "&quot;early&quot; &amp; late" in html
    assert "nan" not in shown[0][0]["text/plain"].lower()


def test_chapters_that_were_not_asked_for_and_are_behind_are_named(executed: Path) -> None:
    assert book.behind(["one"], executed) == []
    shutil.copyfile(executed / "book" / "one.py", executed / "book" / "two.py")
    with (executed / "_toc.yml").open("a") as toc:
        toc.write("  - file: book/two.ipynb\n")
    assert book.behind(["one"], executed) == ["two"]  # never executed
    assert book.behind(["two"], executed) == []


def test_command_line_parameters() -> None:
    assert book.command._parameter("seeds=5") == ("seeds", 5)
    assert book.command._parameter("arm=rewind") == ("arm", "rewind")
    with pytest.raises(UserError, match="NAME=VALUE"):
        book.command._parameter("seeds")


def test_the_book_has_text_for_every_chapter_and_every_chapter_is_in_it() -> None:
    names = book.chapters()
    assert sorted(path.stem for path in paths.book().glob("*.py")) == sorted(names)
    assert sorted(path.stem for path in paths.book().glob("*.ipynb")) == sorted(names)


def test_jupytext_pairs_the_chapters_and_lets_the_text_win(executed: Path) -> None:
    """What JupyterLab does on opening and saving, by jupytext's own contents manager."""
    from jupytext import TextFileContentsManager

    (executed / "book" / "jupytext.toml").write_text((paths.book() / "jupytext.toml").read_text())
    manager = TextFileContentsManager()
    manager.root_dir = str(executed)
    text, notebook = executed / "book" / "one.py", executed / "book" / "one.ipynb"
    os.utime(text, (1, 1))  # far older than the notebook
    opened = manager.get("book/one.ipynb")
    opened["content"]["cells"][0]["source"] = "# Edited in the notebook"
    manager.save(opened, "book/one.ipynb")
    assert "# # Edited in the notebook" in text.read_text()
    assert 'records: ["signs-*"]' in text.read_text() or "- signs-*" in text.read_text()
    assert "dltlib_execution" not in text.read_text()
    assert "metadata" in json.loads(notebook.read_text())
