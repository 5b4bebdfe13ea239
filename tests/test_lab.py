"""`make lab`, as a reader meets it: a start page that leads on, rendered text, files in step."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

from dltlib import book, paths

TOKEN = "for-this-test"
RAW = re.compile(r"\{[a-z:]+\}`|^\([a-z-]+\)=|^:::", flags=re.M)
"""Roles, targets and directives of MyST as they look where nothing renders them."""


def _start_page() -> str:
    return (paths.book() / "start.md").read_text()


def _title(name: str) -> str:
    """The first heading of a chapter."""
    (title, *_) = re.findall(r"(?m)^# # (.+)$", (paths.book() / f"{name}.py").read_text())
    return title


def test_the_start_page_leads_to_every_chapter_by_its_title() -> None:
    linked = re.findall(r"(?m)^\d+\. \[(.+?)\]\((\w+)\.ipynb\)", _start_page())
    assert linked[: len(book.chapters())] == [(_title(name), name) for name in book.chapters()]
    for target in re.findall(r"\]\((.+?)\)", _start_page()):
        assert (paths.book() / target).exists()


def test_the_criterion_that_the_start_page_gives_fits_its_chapter() -> None:
    """The line runs where the page says it goes, and scores weights."""
    import torch

    (line,) = re.findall(r"(?m)^   (\"\w+\": lambda w_i, w_f: .+),$", _start_page())
    (score,) = eval(f"{{{line}}}").values()
    assert score(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 1.0])).argmax() == 0
    text = (paths.book() / "criteria.py").read_text()
    assert "## Your turn" in text
    assert re.search(
        r'(?m)^scores = \{\n    "\w+": lambda w_i, w_f: ', text.split("## Your turn")[1]
    )


# --- two files ----------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path) -> Any:
    """What JupyterLab opens and saves files with, on a copy of one chapter."""
    (tmp_path / "book").mkdir()
    for name in ("jupytext.toml", "algorithm.py", "algorithm.ipynb"):
        shutil.copyfile(paths.book() / name, tmp_path / "book" / name)
    contents = jupytext.TextFileContentsManager()
    contents.root_dir = str(tmp_path)
    return contents


def _opened(manager: Any, name: str) -> dict[str, Any]:
    return manager.get(f"book/algorithm.{name}", type="notebook", content=True)


def _sources(model: dict[str, Any]) -> list[str]:
    return [cell["source"] for cell in model["content"]["cells"]]


@pytest.mark.parametrize(("edited", "other"), [("ipynb", "py"), ("py", "ipynb")])
def test_saving_either_file_keeps_both_in_step(manager: Any, edited: str, other: str) -> None:
    opened = _opened(manager, edited)
    cells = opened["content"]["cells"]
    assert any(cell.get("outputs") for cell in cells)  # from the notebook, whichever is opened
    (number,) = [n for n, cell in enumerate(cells) if "seed_count = 3" in cell["source"]]
    cells[number]["source"] = cells[number]["source"].replace("= 3", "= 4")
    manager.save(opened, f"book/algorithm.{edited}")

    again = _opened(manager, other)
    assert _sources(again) == _sources(opened)
    folder = Path(manager.root_dir) / "book"
    assert "seed_count = 4" in (folder / "algorithm.py").read_text()
    notebook = nbformat.read(folder / "algorithm.ipynb", as_version=4)
    assert "seed_count = 4" in notebook.cells[number].source
    assert sum(bool(cell.get("outputs")) for cell in notebook.cells) >= 5


def test_opening_and_saving_changes_nothing_in_the_text(manager: Any) -> None:
    text = Path(manager.root_dir) / "book" / "algorithm.py"
    before = text.read_text()
    manager.save(_opened(manager, "ipynb"), "book/algorithm.ipynb")
    assert text.read_text() == before


# --- in a browser -------------------------------------------------------------------------------


def _addresses(runtime: Path) -> set[str]:
    """What the page leads to that the server leaves for a browser; none while it is written."""
    pages = runtime.glob("jpserver-*-open.html")
    return {one for page in pages for one in re.findall(r'http://[^"\s]+', page.read_text())}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """JupyterLab as `make lab` starts it, on a copy; the address that it would open."""
    (line,) = re.findall(
        r"(?m)^\t\$\(BIN\)/jupyter lab (.+)$", (paths.REPOSITORY / "Makefile").read_text()
    )
    ignored = shutil.ignore_patterns("records", "mathjax", ".ipynb_checkpoints")
    shutil.copytree(paths.book(), tmp_path / "book", ignore=ignored)
    shutil.copytree(paths.REPOSITORY / "tools" / "lab", tmp_path / "tools" / "lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        variable: str(tmp_path / variable.split("_")[1].lower())
        for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    }
    options = [
        *line.replace("$(ARGS)", "").split(),
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
    ]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", *options),
                *(f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}"),
            ],
            cwd=tmp_path,
            env=os.environ | own,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 120
        while not (addresses := _addresses(tmp_path / "runtime")):
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        (address,) = addresses
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={TOKEN}").close()
                break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def _read_to_the_end(page: Any) -> set[str]:
    """Every Markdown cell's text, scrolled past as a reader does: Lab renders what is in view."""
    notebook = page.locator(".jp-WindowedPanel-outer:has(.jp-MarkdownCell)").first
    position = "panel => [panel.scrollTop, panel.scrollHeight - panel.clientHeight]"
    seen: set[str] = set()
    deadline = time.monotonic() + 120
    while True:
        assert time.monotonic() < deadline, f"no end after {len(seen)} cells"
        for _ in range(40):  # a cell comes as its source first, and is rendered a moment later
            texts = page.locator(".jp-MarkdownCell:visible").all_inner_texts()
            if not any(map(RAW.search, texts)):
                break
            page.wait_for_timeout(500)
        seen.update(texts)
        top, last = notebook.evaluate(position)
        if top >= last - 1:
            return seen - {""}
        notebook.evaluate("panel => panel.scrollBy(0, panel.clientHeight / 2)")
        page.wait_for_timeout(200)


def test_lab_opens_the_start_page_and_renders_a_chapter(lab: str, chromium: Any) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    foreign: list[str] = []
    page.on(
        "request",
        lambda request: (
            foreign.append(request.url)
            if not request.url.startswith((lab.split("/lab")[0], "data:", "blob:", "ws:"))
            else None
        ),
    )
    page.goto(lab)
    page.wait_for_selector(".jp-MarkdownViewer h1", timeout=60_000)
    assert page.locator(".jp-MarkdownViewer h1").inner_text() == "Start here"

    # Links lead somewhere once JupyterLab has looked their targets up.
    link = page.locator(".jp-MarkdownViewer a[href*='/files/']", has_text=_title("algorithm"))
    link.first.click(timeout=60_000)
    page.wait_for_selector(".jp-MarkdownCell h1", timeout=60_000)
    page.wait_for_selector(".jp-OutputArea-output", timeout=60_000)
    first = page.locator(".jp-MarkdownCell").first
    assert _title("algorithm") in first.inner_text()
    assert "frankle2019lottery" in first.inner_text()  # the key stands where the site has names
    rendered = _read_to_the_end(page)
    assert len(rendered) > 3
    assert RAW.search((paths.book() / "algorithm.py").read_text())
    assert [match[0] for text in rendered if (match := RAW.search(text))] == []
    assert page.locator(".jp-MarkdownCell .katex").count() > 0
    context.close()
    assert foreign == []
