"""``pytest --nbval`` tells the truth: what turns it red, and what must not."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from dltlib import book, paths, records

SHOWN = str(records.largest("criteria", "fc"))  # the record that the chapter on criteria shows
ELSEWHERE = {
    # Another kind of processor: no AVX2 for PyTorch, oneDNN, MKL, NumPy and the compiled kernel.
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "NUMBA_CPU_NAME": "nehalem",
    "NUMBA_CPU_FEATURES": "",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
    # And another number of threads than any chapter was executed with.
    "OMP_NUM_THREADS": "3",
    "MKL_NUM_THREADS": "3",
}


def _nbval(*arguments: str | Path, root: Path = paths.REPOSITORY, **environment: str) -> str:
    """The output of pytest --nbval, which ends with its verdict."""
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-x"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *map(str, arguments)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "NO_COLOR": "1"} | environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: a test failed
    return done.stdout


def _records(**extra: str) -> dict[str, str]:
    return {"DLTLIB_RECORDS": str(paths.book() / "records")} | extra


def _red(report: str) -> str:
    """The cell, or the question, that failed; the report says so in its last lines."""
    found = re.search(r"(?m)^FAILED \S*::(.*?)(?: - .*)?$", report)
    assert found, report
    return found[1]


def _green(report: str) -> bool:
    return "FAILED" not in report and re.search(r"\d+ passed", report) is not None


def test_another_processor_computes_other_bits() -> None:
    """Or the next test would show nothing."""
    program = (
        "import torch; draw = torch.Generator().manual_seed(0);"
        "x = torch.randn(97, 303, generator=draw);"
        "print((x.log_softmax(1).exp().sum(0) + (x @ x.T).sum()).numpy().tobytes().hex())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | extra,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for extra in ({}, ELSEWHERE)
    ]
    here, there = (hashlib.sha256(text.encode()).hexdigest() for text in said)
    if here == there:
        pytest.skip("this processor has none of what is switched off")


def test_green_on_another_processor_with_other_threads() -> None:
    """The first chapter is live from end to end: all of its numbers are computed there."""
    chapter = paths.book() / f"{book.chapters()[0]}.ipynb"
    assert _green(_nbval(chapter, **_records(), **ELSEWHERE))


def test_red_where_a_record_is_changed(tmp_path: Path) -> None:
    """By its outputs alone: the copy's records are no longer those that the notebook shows."""
    from pyarrow import compute, parquet

    shutil.copytree(paths.book() / "records", tmp_path / "records")
    path = tmp_path / "records" / f"{SHOWN}.parquet"
    table = parquet.read_table(path)
    where = table.schema.get_field_index("test_accuracy")
    # One seed of one arm, by one point: less than a reader would see in a figure.
    lower = compute.and_(
        compute.equal(table["arm"], "large_final/rewind/zero"), compute.equal(table["seed"], 0)
    )
    accuracy = table["test_accuracy"]
    changed = compute.if_else(lower, compute.subtract(accuracy, 0.01), accuracy)
    field = table.schema.field(where)
    parquet.write_table(table.set_column(where, field, changed.cast(field.type)), path)
    report = _nbval(paths.book() / "criteria.ipynb", DLTLIB_RECORDS=str(tmp_path / "records"))
    assert "Cell" in _red(report)


def test_red_where_a_library_function_is_changed(tmp_path: Path) -> None:
    """One more weight is kept in each layer: what IPython runs first changes the function."""
    startup = tmp_path / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-change.py").write_text(
        "from dltlib import pruning\n"
        "_count = pruning.kept_count\n"
        "pruning.kept_count = lambda *arguments: _count(*arguments) + 1\n"
    )
    chapter = paths.book() / f"{book.chapters()[0]}.ipynb"
    assert "Cell" in _red(_nbval(chapter, **_records(IPYTHONDIR=str(tmp_path))))


def test_red_where_a_cell_of_the_notebook_is_changed(tmp_path: Path) -> None:
    name = book.chapters()[0]
    notebook = nbformat.read(paths.book() / f"{name}.ipynb", as_version=4)
    (parameters, *_) = [
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
    ]
    assert "seed_count = 3" in parameters.source
    parameters.source = parameters.source.replace("seed_count = 3", "seed_count = 2")
    nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    assert "Cell" in _red(_nbval(tmp_path / f"{name}.ipynb", **_records()))


# --- what no output need show -------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what a notebook is made from, to be changed."""
    for name in ("dltlib", "book"):
        shutil.copytree(
            paths.REPOSITORY / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "mathjax"),
        )
    for name in ("conftest.py", "_toc.yml", "pyproject.toml"):
        shutil.copyfile(paths.REPOSITORY / name, tmp_path / name)
    return tmp_path


def _up_to_date(root: Path, name: str) -> str:
    return _nbval(f"book/{name}.ipynb::up to date", root=root, **_records())


def test_every_chapter_has_the_question_whether_it_is_up_to_date(copy: Path) -> None:
    listed = _nbval("--collect-only", "book", root=copy)
    for name in book.chapters():
        assert f"book/{name}.ipynb::up to date" in listed
    assert _green(_up_to_date(copy, "criteria"))


@pytest.mark.parametrize("changed", ["record", "library", "text"])
def test_red_for_a_change_that_no_output_shows(copy: Path, changed: str) -> None:
    path = {
        "record": copy / "book" / "records" / f"{SHOWN}.json",
        "library": copy / "dltlib" / "pruning.py",
        "text": copy / "book" / "criteria.py",
    }[changed]
    path.write_text(path.read_text() + "\n")
    if changed == "text":
        path.write_text(path.read_text().replace('layer = "dense2"', 'layer = "dense1"'))
    report = _up_to_date(copy, "criteria")
    assert _red(report) == "up to date"
    kind = {"record": "records", "library": "library", "text": "code"}[changed]
    assert f"stale: its {kind} changed" in report
